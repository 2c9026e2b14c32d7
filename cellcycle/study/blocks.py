"""Computed blocks of Markdown files: each stands between `<!-- NAME -->` and `<!-- /NAME -->`."""

import pandas as pd

from cellcycle import files
from cellcycle.errors import RecordError


def refresh(file, blocks: dict[str, str]) -> None:
    """Replace the named blocks of a Markdown file; RecordError if the file lacks one of them."""
    text = file.read_text(encoding="utf-8")
    for name, content in blocks.items():
        text = replace_block(text, name, content)
    with files.whole_file(file) as work:
        work.write_text(text, encoding="utf-8")


def replace_block(text: str, name: str, content: str) -> str:
    """Return `text` with new content between `<!-- name -->` and `<!-- /name -->`; RecordError if a mark is missing."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in text or end not in text:
        raise RecordError(name, "no such block in the text", f"put {start} and {end} where it belongs")
    before, after = text.split(start)[0], text.split(end)[1]
    return f"{before}{start}\n{content.strip()}\n{end}{after}"


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table as Markdown: the index is the first column, numbers have two decimals, NaN is an empty cell."""
    rows = [[table.index.name or "", *map(str, table.columns)], ["---"] * (table.shape[1] + 1)]
    for name, row in table.iterrows():
        cells = ["" if pd.isna(v) else v if isinstance(v, str) else f"{v:.2f}" for v in row]
        rows.append([str(name), *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)

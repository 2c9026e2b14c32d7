"""Tables in README and data card that are computed: from records, from the simulator, from real measurements."""

import os

import pandas as pd

from cellcycle import metrics, paths, results, summaries
from cellcycle.errors import RecordError
from cellcycle.phases import PHASES

MITOSES = ("prometaphase", "metaphase", "anaphase")
SEEN = {
    "DNA, area, contrast": {},
    "the same, stain of the slide known": {"slide_known": True},
    "DNA and area": {"sees": ("integrated_dna", "area_um2")},
    "DNA alone": {"sees": ("integrated_dna",)},
}


def replace_block(text: str, name: str, content: str) -> str:
    """Return `text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced.

    Raises
    ------
    RecordError
        If the text has no such block.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in text or end not in text:
        raise RecordError(name, "no such block in the text", f"put {start} and {end} where it belongs")
    before, after = text.split(start)[0], text.split(end)[1]
    return f"{before}{start}\n{content.strip()}\n{end}{after}"


def markdown_table(table: pd.DataFrame, digits: int = 2) -> str:
    """Return a table as Markdown, its index first, numbers with `digits` decimals, NaN empty."""
    rows = [[table.index.name or "", *map(str, table.columns)], ["---"] * (table.shape[1] + 1)]
    for name, row in table.iterrows():
        cells = ["" if pd.isna(v) else v if isinstance(v, str) else f"{v:.{digits}f}" for v in row]
        rows.append([str(name), *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def validation_blocks() -> dict[str, str]:
    """Return the data card's tables of simulated beside real nuclei: VALIDATION and MITOSIS."""
    from cellcycle.datasets import make_simulated
    from cellcycle.simulation import validation

    compared = validation.compare(make_simulated("validation", validation.COUNTS))
    headline = validation.headline(compared).T[["simulated", "jurkat", "rpe1"]].rename_axis("quantity")
    median = compared.set_index(["source", "phase", "quantity"])["p50"]
    rows = {
        f"{quantity}, {phase}": {s: median[(s, phase, quantity)] for s in ("simulated", "mitocheck")}
        for phase in MITOSES
        for quantity in ("eccentricity", "solidity", "texture")
    }
    mitosis = pd.DataFrame.from_dict(rows, orient="index").rename_axis("mitosis by shape")
    return {"VALIDATION": markdown_table(headline), "MITOSIS": markdown_table(mitosis)}


def ceiling_block() -> str:
    """Return the data card's table of the ceiling, by what the best classifier sees."""
    from cellcycle.simulation import ceiling

    rows = {}
    for name, options in SEEN.items():
        found = ceiling(**options)
        recalls = {f"recall {phase}": found.recall[phase] for phase in PHASES}
        rows[name] = {"accuracy": found.accuracy, "macro F1": found.macro_f1, **recalls}
    return markdown_table(pd.DataFrame.from_dict(rows, orient="index").rename_axis("sees"))


def transfer_block(root=None) -> str:
    """Return the table of the experiment between simulated and real cells, computed from its records."""
    root = root or paths.repository() / "data" / "results" / "simulated_to_real"
    lines = [
        "| trained on | tested on | model | intensities | accuracy | balanced accuracy | recall G1 | S | G2 | M |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = []
    for record in results.load_runs(root):
        config, row = record.config, summaries.score_table([record]).iloc[0]
        if config["experiment"] == "across":
            trained, order = f"{config['train_name']}", 0
        else:
            trained = f"{'simulated, then ' if config['pretrain'] else ''}{config['n_labels']} real a phase"
            order = config["n_labels"]
        scores = [
            f"{metrics.Estimate(row[s], row[f'{s}_low'], row[f'{s}_high'])}" for s in ("accuracy", "balanced_accuracy")
        ]
        recalls = [f"{row[f'recall_{phase}']:.2f}" for phase in PHASES]
        cells = [trained, record.data["name"], config["model"], config.get("intensity", "absolute"), *scores, *recalls]
        rows.append(((order, record.data["origin"], trained, config["model"]), f"| {' | '.join(cells)} |"))
    return "\n".join(lines + [line for _, line in sorted(rows)])


def card_blocks() -> dict[str, str]:
    """Return every computed block of the data card."""
    return {**validation_blocks(), "CEILING": ceiling_block(), "TRANSFER": transfer_block()}


def refresh(file, blocks: dict[str, str]) -> None:
    """Write computed blocks into a Markdown file."""
    text = file.read_text(encoding="utf-8")
    for name, content in blocks.items():
        text = replace_block(text, name, content)
    replace_text(file, text)


def replace_text(file, text: str) -> None:
    """Write a text file whole or not at all."""
    work = file.with_name(f".unfinished-{file.name}")
    work.write_text(text, encoding="utf-8")
    os.replace(work, file)


def refresh_card() -> None:
    """Write the computed blocks of the data card."""
    refresh(paths.repository() / "data" / "README.md", card_blocks())

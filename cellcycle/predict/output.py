"""Writers of prediction tables, image by image; each file is written completely or not at all."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cellcycle.errors import SettingError
from cellcycle.files import FULL, is_stream, whole_file
from cellcycle.names import cell
from cellcycle.predict.h5ad import h5ad_rows

# Six significant digits; whole numbers have no decimal point.
DIGITS = "%.6g"


@contextlib.contextmanager
def row_writer(name: str, output: Path | None) -> Iterator[Callable[[object], None]]:
    """Open a file, or standard output without one, for rows; a file appears when all rows are written.

    Yields a function that takes one `DataFrame` after the other, all with the same columns. If the disk is full, a
    `SettingError` names the file beside it that keeps the complete rows written so far.
    """
    if output is None:
        if hasattr(sys.stdout, "reconfigure"):
            # Tables are UTF-8 in any locale.
            sys.stdout.reconfigure(encoding="utf-8")
        with text_rows(name, sys.stdout) as write:
            yield write
        sys.stdout.flush()
        return
    with whole_file(output) as unfinished:
        try:
            if name in _BINARY:
                with _BINARY[name](unfinished) as write:
                    yield lambda table: write(_harmless(table))
            else:
                with open(unfinished, "w", encoding="utf-8", newline="") as stream, text_rows(name, stream) as write:
                    yield write
        except OSError as error:
            if error.errno not in FULL or not (kept := _keep_finished(name, unfinished, output)):
                raise
            finding = f"cannot be written ({error.strerror})"
            raise SettingError(output, finding, f"finished rows are in {kept}") from error


def _keep_finished(name: str, unfinished: Path, output: Path) -> Path | None:
    """Move the complete rows of a file on a full disk to a file beside it; return that, None without rows."""
    if name in _BINARY or is_stream(output):
        return None
    text, kept = unfinished.read_bytes(), output.with_name(f"{output.stem}.part{output.suffix}")
    whole = text[: text.rfind(b"\n") + 1]
    if whole.count(b"\n") < 2 or kept.exists():
        return None
    os.truncate(unfinished, len(whole))
    if name == "json":
        # The end of the list replaces the incomplete row.
        with open(unfinished, "r+b") as stream:
            stream.seek(len(whole.rstrip(b",\n")))
            stream.write(b"\n]\n")
            stream.truncate()
    os.replace(unfinished, kept)
    return kept


def _harmless(table):
    """Return a table with texts and column names that no spreadsheet takes for formulas, nor a terminal for codes.

    Numbers have only meaningful digits: probabilities four decimals, others those of `DIGITS`.
    """
    from pandas.api.types import is_float_dtype, is_numeric_dtype

    table = table.rename(columns=cell)
    table = table.round({name: 4 for name in table.columns if name.startswith("p_") or name == "confidence"})
    made = {name: values.map(lambda n: float(DIGITS % n)) for name, values in table.items() if is_float_dtype(values)}
    # Not by text type: pandas before 3 has none.
    made |= {name: values.map(cell) for name, values in table.items() if not is_numeric_dtype(values)}
    return table.assign(**made)


@contextlib.contextmanager
def text_rows(name: str, stream):
    """As `row_writer`, for an open stream: CSV, TSV or JSON."""
    is_empty = True

    def write(table) -> None:
        nonlocal is_empty
        table = _harmless(table)
        if name == "json":
            # Not pandas' own JSON, which rounds to 15 decimals: all formats have the same numbers.
            for row in table.astype(object).where(table.notna(), None).to_dict("records"):
                stream.write(("[\n" if is_empty else ",\n") + json.dumps(row, ensure_ascii=False))
                is_empty = False
        else:
            separator = "\t" if name == "tsv" else ","
            table.to_csv(stream, sep=separator, index=False, header=is_empty, lineterminator="\n", float_format=DIGITS)
            is_empty = False

    yield write
    if name == "json":
        stream.write("[]\n" if is_empty else "\n]\n")


@contextlib.contextmanager
def _parquet_rows(path: Path):
    import pyarrow
    import pyarrow.parquet

    with contextlib.ExitStack() as stack:
        writer = None

        def write(table) -> None:
            nonlocal writer
            rows = pyarrow.Table.from_pandas(table, preserve_index=False)
            writer = writer or stack.enter_context(pyarrow.parquet.ParquetWriter(path, rows.schema))
            writer.write_table(rows)

        yield write


_BINARY = {"parquet": _parquet_rows, "h5ad": h5ad_rows}

"""Write prediction tables as they come, each file whole or not at all."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from cellcycle.errors import SettingError

FORMATS = ("table", "csv", "json", "parquet")


def format_of(chosen: str | None, output: Path | None) -> str:
    """Return the format that was chosen, or that the name of the output file says; "table" without either.

    Raises
    ------
    SettingError
        Unknown format, or Parquet without a file or without pyarrow.

    Examples
    --------
    >>> format_of(None, Path("cells.csv"))
    'csv'
    """
    named = "" if output is None else output.suffix.lstrip(".").lower()
    name = chosen or (named if named in FORMATS else "table" if output is None else "csv")
    if name not in FORMATS:
        raise SettingError("format", f"{name!r} is unknown", f"use one of {', '.join(FORMATS)}")
    if name == "parquet":
        if output is None:
            raise SettingError("format", "parquet is no text", "name a file with --output")
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise SettingError("format", "parquet needs the package pyarrow", "run: pip install pyarrow") from error
    return name


@contextlib.contextmanager
def row_writer(name: str, output: Path | None) -> Iterator[Callable[[object], None]]:
    """Open a file or standard output for rows; a file appears when everything was written.

    Parameters
    ----------
    name : {"csv", "json", "parquet"}
    output : Path or None
        None is standard output.

    Yields
    ------
    callable
        Takes one `pandas.DataFrame` after the other, all with the same columns.

    Raises
    ------
    SettingError
        The folder of the file is missing or cannot be written to.
    """
    writers = {"csv": _csv_rows, "json": _json_rows, "parquet": _parquet_rows}
    if output is None:
        with writers[name](sys.stdout) as write:
            yield write
        return
    with whole_file(output) as unfinished:
        if name == "parquet":
            with _parquet_rows(unfinished) as write:
                yield write
            return
        with open(unfinished, "w", encoding="utf-8", newline="") as stream, writers[name](stream) as write:
            yield write


@contextlib.contextmanager
def whole_file(output: Path) -> Iterator[Path]:
    """Give a temporary file in the folder of `output`, which takes its name when the block ends well.

    Raises
    ------
    SettingError
        The folder is missing or cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".unfinished-{output.name}-", dir=output.parent)
    except OSError as error:
        raise SettingError(output, f"cannot be written ({error.strerror})", "check the folder") from error
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, output)
    except IsADirectoryError as error:
        raise SettingError(output, "this is a folder", "name a file") from error
    finally:
        Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def _csv_rows(stream):
    is_first = True

    def write(table) -> None:
        nonlocal is_first
        table.to_csv(stream, index=False, header=is_first, lineterminator="\n")
        is_first = False

    yield write


@contextlib.contextmanager
def _json_rows(stream):
    separator = "[\n"

    def write(table) -> None:
        nonlocal separator
        # pandas' own JSON rounds to 15 decimals; every format holds the same numbers here.
        for row in table.astype(object).where(table.notna(), None).to_dict("records"):
            stream.write(separator + json.dumps(row, ensure_ascii=False))
            separator = ",\n"

    yield write
    stream.write("[]\n" if separator == "[\n" else "\n]\n")


@contextlib.contextmanager
def _parquet_rows(path: Path):
    import pyarrow
    import pyarrow.parquet

    writer = None

    def write(table) -> None:
        nonlocal writer
        rows = pyarrow.Table.from_pandas(table, preserve_index=False)
        if writer is None:
            writer = pyarrow.parquet.ParquetWriter(path, rows.schema)
        writer.write_table(rows)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()

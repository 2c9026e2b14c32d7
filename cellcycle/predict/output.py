"""Write prediction tables as they come, each file whole or not at all."""

import contextlib
import errno
import json
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from cellcycle.errors import SettingError
from cellcycle.names import cell
from cellcycle.predict.target import is_stream

# What a disk says that takes no more.
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@contextlib.contextmanager
def row_writer(name: str, output: Path | None) -> Iterator[Callable[[object], None]]:
    """Open a file or standard output for rows; a file appears when everything was written.

    Parameters
    ----------
    name : {"csv", "tsv", "json", "parquet"}
    output : Path or None
        None is standard output.

    Yields
    ------
    callable
        Takes one `pandas.DataFrame` after the other, all with the same columns.

    Raises
    ------
    SettingError
        The folder of the file is missing or cannot be written to, or the disk is full: whole rows that were
        written by then are kept in a file beside it, which the error names.
    """
    writers = {
        "csv": _csv_rows,
        "tsv": partial(_csv_rows, separator="\t"),
        "json": _json_rows,
        "parquet": _parquet_rows,
    }
    if output is None:
        if sys.stdout is None or sys.stdout.closed:
            raise SettingError("standard output", "it is closed", "name a file with --output")
        if hasattr(sys.stdout, "reconfigure"):
            # Tables are UTF-8 whatever the locale is.
            sys.stdout.reconfigure(encoding="utf-8")
        with writers[name](sys.stdout) as write:
            yield write
        sys.stdout.flush()
        return
    with whole_file(output) as unfinished:
        try:
            if name == "parquet":
                with _parquet_rows(unfinished) as write:
                    yield write
            else:
                with open(unfinished, "w", encoding="utf-8", newline="") as stream, writers[name](stream) as write:
                    yield write
        except OSError as error:
            if error.errno not in _FULL or not (kept := _keep_finished(name, unfinished, output)):
                raise
            raise SettingError(
                output, f"cannot be written ({error.strerror})", f"finished rows are in {kept}"
            ) from error


def _keep_finished(name: str, unfinished: Path, output: Path) -> Path | None:
    """Keep the whole rows of a file for which the disk was too small, beside it; return their file."""
    if name == "parquet" or is_stream(output):
        return None
    text = unfinished.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole.count(b"\n") < 2:
        return None
    kept = output.with_name(f"{output.stem}.part{output.suffix}")
    if kept.exists():
        return None
    os.truncate(unfinished, len(whole))
    if name == "json":
        # In the place of the row that was begun.
        with open(unfinished, "r+b") as stream:
            stream.seek(len(whole.rstrip(b",\n")))
            stream.write(b"\n]\n")
            stream.truncate()
    os.replace(unfinished, kept)
    return kept


@contextlib.contextmanager
def whole_file(output: Path) -> Iterator[Path]:
    """Give a temporary file in the folder of `output`, which takes its name when the block ends well.

    The mode of a file that stood there stays, a new one has that of the umask; a link stays and its target is
    replaced. A device or a pipe is given itself.

    Raises
    ------
    SettingError
        The folder is missing or cannot be written to, or the disk is full.
    """
    if is_stream(output):
        with _said(output):
            yield output
        return
    final = Path(os.path.realpath(output))
    work = final.with_name(f".unfinished-{secrets.token_hex(6)}{final.suffix}")
    with _said(output):
        os.close(os.open(work, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield work
            if final.exists():
                os.chmod(work, stat.S_IMODE(final.stat().st_mode))
            os.replace(work, final)
        finally:
            work.unlink(missing_ok=True)


@contextlib.contextmanager
def _said(output: Path) -> Iterator[None]:
    """Turn what the system says of a file that takes no more, or none, into one line."""
    try:
        yield
    except IsADirectoryError as error:
        raise SettingError(output, "this is a folder", "name a file") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SettingError(output, f"cannot be written ({error.strerror or error})", "check the disk") from error


def _harmless(table):
    """Return a table whose texts and names of columns no spreadsheet takes for formulas, nor a terminal for codes."""
    table = table.rename(columns=cell)
    return table.assign(**{name: table[name].map(cell) for name in table.columns if table[name].dtype == "str"})


@contextlib.contextmanager
def _csv_rows(stream, separator: str = ","):
    is_first = True

    def write(table) -> None:
        nonlocal is_first
        _harmless(table).to_csv(stream, sep=separator, index=False, header=is_first, lineterminator="\n")
        is_first = False

    yield write


@contextlib.contextmanager
def _json_rows(stream):
    separator = "[\n"

    def write(table) -> None:
        nonlocal separator
        # pandas' own JSON rounds to 15 decimals; every format holds the same numbers here.
        table = _harmless(table)
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
        rows = pyarrow.Table.from_pandas(_harmless(table), preserve_index=False)
        if writer is None:
            writer = pyarrow.parquet.ParquetWriter(path, rows.schema)
        writer.write_table(rows)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()

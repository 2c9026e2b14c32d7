"""Checks of the output before the work begins: whether it can be written, and may be replaced."""

import contextlib
import csv
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cellcycle.errors import SettingError, check_choice, needing
from cellcycle.files import is_stream
from cellcycle.predict.h5ad import was_written_here
from cellcycle.predict.table import NUMBERS_OF_MAP, TEXTS_OF_MAP, table_columns

FORMATS = ("table", "csv", "tsv", "json", "parquet", "h5ad")
# Binary formats: the package that each needs, and the extra that installs it.
_PACKAGES = {"parquet": ("pyarrow", "parquet"), "h5ad": ("h5py", "anndata")}
# Suffixes of each format; a file whose suffix says none is comma-separated.
_SUFFIXES = {name: (f".{name}",) for name in FORMATS} | {"table": ("", ".txt"), "csv": (".csv", "", ".txt")}
# Beginnings of files that were written here (JSON, Parquet, reports), or are empty.
_HEADS = re.compile(rb"\[\s*(\{\"image\": |\]\s*$)|PAR1|Images: |Model: |Predicted Phase: |no nucleus found|\n?$")
_MOST_HEADER = 1 << 16


def format_of(chosen: str | None, output: Path | None) -> str:
    """Return the chosen format, else that of the suffix of the output file, else "table"; "csv" for a stream.

    Examples
    --------
    >>> format_of(None, Path("cells.csv"))
    'csv'
    """
    if chosen is not None:
        check_choice("format", chosen, FORMATS)
    if output is None or is_stream(output):
        name = chosen or ("table" if output is None else "csv")
    else:
        suffix = output.suffix.lower()
        named = next((name for name, suffixes in _SUFFIXES.items() if suffix in suffixes and name != "table"), None)
        if named is None:
            remedy = f"end the name in .{', .'.join(FORMATS[1:])}"
            raise SettingError(output, f"tables are not written as {suffix}", remedy)
        if chosen is not None and suffix not in _SUFFIXES[chosen]:
            raise SettingError(output, f"the name does not fit {chosen}", f"end it in {_SUFFIXES[chosen][0] or '.txt'}")
        name = chosen or named
    if name in _PACKAGES:
        if output is None or is_stream(output):
            raise SettingError("format", f"{name} is a binary format", "name a file with --output")
        package, extra = _PACKAGES[name]
        with needing("format", f"{name} needs the package {package}", f"run: pip install 'cellcycle[{extra}]'"):
            importlib.import_module(package)
    return name


def check_target(output: Path, images: Iterable) -> None:
    """Raise a `SettingError` if an output cannot be written, or would replace anything but an earlier table.

    It never replaces one of the images, under any name or link.
    """
    try:
        if is_stream(output):
            if not os.access(output, os.W_OK):
                raise SettingError(output, "cannot be written to", "name another file")
            return
        if output.is_dir():
            raise SettingError(output, "this is a folder", "name a file")
        folder = Path(os.path.realpath(output)).parent
        if not folder.is_dir():
            raise SettingError(output, f"there is no folder {folder}", "make the folder, or check the path")
        if output.exists():
            _check_replaced(output, images)
        try_to_write(output, folder)
    except OSError as error:
        raise SettingError(output, f"cannot be written ({error.strerror})", "name another file") from error


def _check_replaced(output: Path, images: Iterable) -> None:
    there = output.stat()
    if _is_among(there, images):
        raise SettingError(output, "it is one of the images to predict", "name a new file")
    with open(output, "rb") as stream:
        first = stream.readline(_MOST_HEADER)
        is_table = _HEADS.match(first + stream.read(200)) or _is_ours(first.decode("utf-8", "replace"))
    if not (is_table or (output.suffix.lower() == ".h5ad" and was_written_here(output))):
        raise SettingError(output, "it exists and is not a table of predictions", "name a new file")
    if not (there.st_mode & 0o222 and os.access(output, os.W_OK)):
        raise SettingError(output, "it is read-only", "name a new file, or make it writable")


def _is_ours(header: str) -> bool:
    """Return whether a table has only columns of predictions, and no labels or notes that a person added."""
    names = next(csv.reader([header], delimiter="\t" if "\t" in header else ","), [])
    known = {*table_columns(()), *TEXTS_OF_MAP, *NUMBERS_OF_MAP}
    return names[:2] == ["image", "nucleus_id"] and "call" in names and all(n in known or n[:2] == "p_" for n in names)


def try_to_write(output: Path, folder: Path) -> None:
    """Write and remove a small file beside the output, so that a full or read-only disk raises its OSError now."""
    if not output.exists():
        # The name may be too long, or contain characters that the disk refuses.
        final = os.path.realpath(output)
        os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        os.unlink(final)
    with tempfile.TemporaryFile(prefix=".unfinished-", dir=folder, buffering=0) as trial:
        trial.write(bytes(4096))


def _is_among(there: os.stat_result, images: Iterable) -> bool:
    """Return whether a file is one of the images, by any name or link."""
    for image in images:
        with contextlib.suppress(OSError, ValueError):
            if os.path.samestat(there, os.stat(str(image))):
                return True
    return False


def is_standard_output(path) -> bool:
    """Return whether a path is standard output, under any of its names, or the file to which it is redirected."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.path.samestat(os.stat(path), os.fstat(sys.stdout.fileno()))
    return str(path) in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")

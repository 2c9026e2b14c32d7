"""Names of files and classes that are safe in tables and terminals: fully visible, and never run as a formula."""

import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path, PurePosixPath

from cellcycle.errors import shown

# Characters that begin a formula; the last four are full-width forms, which some spreadsheets accept too.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# Names of devices in Windows, with any suffix.
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[1-9\u00b9\u00b2\u00b3]) *(\.|$)", re.IGNORECASE)

_UPLOAD_LENGTH = 120


def shown_name(path) -> str:
    """Return the path of a file for tables and terminals; different paths never get the same name.

    It is escaped as by `shown`, backslashes in names are doubled, and "./" precedes what would begin a formula.

    Examples
    --------
    >>> print(shown_name("=1+1.png"), shown_name("plate/a.png"))
    ./=1+1.png plate/a.png
    """
    name = os.fsdecode(path)
    if name.startswith(_FORMULA):
        name = os.path.join(os.curdir, name)
    return shown(name.replace("\\", "\\\\") if os.sep == "/" else name)


def cell(text: str) -> str:
    """Return text for the cell of a table: escaped as by `shown`, with an apostrophe before a formula.

    Examples
    --------
    >>> cell("=1+1"), cell("G1")
    ("'=1+1", 'G1')
    """
    return guarded(shown(text))


def guarded(text: str) -> str:
    """Return text, with an apostrophe before it if it begins like a formula, perhaps after other apostrophes.

    Examples
    --------
    >>> guarded("=1+1"), guarded("'=1+1")
    ("'=1+1", "''=1+1")
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def from_cell(text: str) -> str:
    """Return the text of a cell without the apostrophe that `guarded` added, or without an enclosing ="...".

    Examples
    --------
    >>> from_cell("'=1+1"), from_cell("'G1"), from_cell('="A01"')
    ('=1+1', "'G1", 'A01')
    """
    if text.startswith("'") and text.lstrip("'").startswith(_FORMULA):
        return text[1:]
    return text[2:-1] if len(text) > 2 and text.startswith('="') and text.endswith('"') else text


def telling_names(paths) -> list[str]:
    """Return a unique file name without suffix for each path; if names are equal, distinguishing folders precede them.

    An image in an OME-Zarr has only a number for a name, so it gets its whole path from the .zarr on.

    Examples
    --------
    >>> telling_names(["a/x.tif", "b/x.tif", "b/y.tif", "a/p.zarr/B/2/0"])
    ['a__x', 'b__x', 'y', 'p.zarr__B__2__0']
    """
    paths = [Path(path) for path in paths]
    alike = defaultdict(list)
    for path in paths:
        alike[_stem(path).casefold()].append(path)
    names, taken = [], set()
    for path in paths:
        name = plain_name(_telling(path, alike[_stem(path).casefold()]))
        if name.casefold() in taken:
            name += "-" + hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
        taken.add(name.casefold())
        names.append(name)
    return names


def _stem(path: Path) -> str:
    """Return the name of a file without suffix; for an image in an OME-Zarr, with the folders from the .zarr on."""
    stores = [k for k, part in enumerate(path.parts[:-1]) if part.lower().endswith(".zarr")]
    return "__".join(path.parts[stores[-1] :]) if stores and not path.suffix else path.stem


def _telling(path: Path, others: list[Path]) -> str:
    """Return the shortest end of a path that no other path of its stem has, without suffix if all have the same."""
    if len(others) == 1:
        return _stem(path)
    suffixes = {other.suffix.casefold() for other in others}
    for depth in range(1, min(len(path.parts), 6) + 1):
        ends = Counter("__".join(other.parts[-depth:]).casefold() for other in others)
        end = "__".join(path.parts[-depth:])
        if ends[end.casefold()] == 1:
            return end if len(suffixes) > 1 else end.removesuffix(path.suffix)
    return path.name


def plain_name(name: str) -> str:
    """Return a name that is valid on every file system; a hash is appended if anything was cut off or replaced."""
    # NFC: in names from a Mac, a letter and its accent are two characters.
    name = unicodedata.normalize("NFC", name)
    kept = re.sub(r"[^\w .,()+=@#%~-]", "_", "".join(c if c.isprintable() else "_" for c in name)).lstrip("-=+@.")
    kept = f"_{kept}" if not kept or _DEVICE.match(kept) else kept
    kept = kept.encode("utf-8", "replace")[:150].decode("utf-8", "ignore")
    return kept if kept == name else f"{kept}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def clean_name(given: str) -> str:
    """Return a name for an uploaded file: the last part of its path, on one line, of at most 120 characters."""
    last = given.replace("\\", "/").rpartition("/")[2]
    kept = "".join(c if c.isprintable() else " " if unicodedata.category(c) == "Zs" else "" for c in last).strip()
    if len(kept) > _UPLOAD_LENGTH:
        kept = kept[: _UPLOAD_LENGTH - 20] + "..." + kept[-17:]
    return kept or "image"


def apart(names: list[str]) -> list[str]:
    """Return the names made unique: repeated ones get a number, as in "a (2).tif"."""
    taken: list[str] = []
    for name in names:
        path, number, free = PurePosixPath(name), 1, name
        while free in taken or (number > 1 and free in names):
            number += 1
            free = f"{path.stem} ({number}){path.suffix}"
        taken.append(free)
    return taken


def n_alike(lists: Iterable[list[str]]) -> int:
    """Return the number of leading entries that all lists share, such as folders of files."""
    return sum(1 for _ in takewhile(lambda entries: len(set(entries)) == 1, zip(*lists, strict=False)))

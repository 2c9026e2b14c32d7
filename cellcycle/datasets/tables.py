"""Read tables with any common separator, encoding and header, and find repeated rows."""

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd

from cellcycle.datasets.spelling import NOTHING, clean, says_nothing
from cellcycle.errors import DataError
from cellcycle.names import from_cell

# Other names of the columns for files and for classes in use.
FILES = ("file", "filename", "file_name", "file_path", "filepath", "image_file", "image_path", "img")
CLASSES = ("class", "phase", "class_name", "classification", "cell_cycle_phase", "category")
_SEPARATORS = (",", ";", "\t", "|")
_FRACTION = re.compile(r"-?\d*[.,]\d*[1-9]\d*")
# What words of other scripts become when read as Windows-1252; a repeated letter or sign may be intended.
_OTHER_SCRIPT = re.compile(r"([^\0-\x7f\xa0])(?!\1{3})[^\0-\x7f\xa0]{3}")


def read_table(file: Path, columns: dict[str, tuple[str, ...]], required: tuple[str, ...], is_all: bool = False):
    """Read the wanted columns of a text table; return them and notes on corrections.

    The table may be separated by commas, semicolons, tabs or bars, in UTF-8, UTF-16 or Windows-1252, with comment lines
    above the header, and below it if nothing else is in them. `columns` are the wanted ones with their other possible
    names, in any case. The table is refused if one of `required` is missing, or if two columns could be the same one
    and differ; these checks are off if nothing is required. With `is_all`, `columns` are all known ones: a repeated one
    and a name close to a missing one are refused, other columns are noted. The columns are text, "" for an empty cell;
    the index holds the line numbers of the file. `attrs` holds the separator, the whole header in lower case, the lines
    that repeat another exactly (`repeats`), and other columns that may be groups (`like_groups`).
    """
    text, notes = decoded(file)
    readings = {separator: _rows(file, text, separator) for separator in _SEPARATORS}
    headers = {separator: list(islice(rows, 1)) for separator, rows in readings.items()}
    separator = max(headers, key=lambda separator: len(_places(headers[separator], columns)))
    rows, places = [*headers[separator], *readings[separator]], _places(headers[separator], columns)
    if not rows:
        raise DataError(file, "the file is empty", "list one image per row, below a header")
    if is_all:
        notes += _others(file, _header(rows), columns)
    missing = [name for name in required if name not in places]
    if missing:
        finding = f"no column {' and '.join(missing)}; its first line is {_short(separator.join(rows[0][1]))!r}"
        raise DataError(file, finding, f"put a header above: {','.join(required)}")
    for column, at in places.items() if required else ():
        if column == "label":
            # A column "label" may hold the numbers of a label image, beside a column with the class: compare both.
            at = [k for k, name in enumerate(_header(rows)) if name in (column, *columns[column])]
        said = ({clean(cells[k]) if k < len(cells) else "" for k in at} for _, cells in rows[1:])
        if any(len(different) > 1 for different in said):
            one, two = (clean(rows[0][1][k]) for k in at[:2])
            remedy = f"rename the right one to {column}, and the other to another name"
            raise DataError(file, f"two columns could be the {column}: {one} and {two}", remedy)
    width, kept, same = len(rows[0][1]), {}, {}
    for line, cells in rows[1:]:
        if any(clean(cell) for cell in cells[width:]):
            row = _short(separator.join(cells))
            finding = f"line {line} has {len(cells)} cells where the header has {width}: {row!r}"
            remedy = "begin with the names of columns, and put text that holds the separator in quotes"
            raise DataError(file, finding, remedy)
        same.setdefault(tuple(cells), line)
        kept[line] = [from_cell(cells[at[0]]) if at[0] < len(cells) else "" for at in places.values()]
    if not kept:
        raise DataError(file, "no rows below the header", "list one image per row")
    table = pd.DataFrame.from_dict(kept, orient="index", columns=list(places), dtype=str)
    # pandas copies `attrs` at every selection from the table, so nothing as long as the table may be in it.
    repeats = sorted(kept.keys() - same.values())
    table.attrs |= {"separator": separator, "header": _header(rows), "repeats": repeats}
    table.attrs["like_groups"] = _like_groups(rows, places) if required else []
    return table, notes


def _rows(file: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each row that is not empty; the first row is the header."""
    header = None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        for cells in reader:
            first = clean("".join(cells[:1]))
            is_comment = first.startswith("#") and (header is None or not any(map(clean, cells[1:])))
            is_comment |= header is None and first.startswith("sep=")
            if any(map(clean, cells)) and not is_comment and cells != header:
                header = header or cells
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(file, f"line {reader.line_num} is not readable as CSV ({error})", "save it again") from error


def _others(file: Path, names: list[str], known) -> list[str]:
    """Return a note on unknown columns; refuse a repeated known one, and one whose name is close to a missing one."""
    unknown = []
    for name, n in Counter(filter(None, names)).items():
        if n > 1 and name in known:
            raise DataError(file, f"the column {name} occurs {n} times", "keep one of them")
        if name not in known:
            unknown.append(name[:40])
            near = difflib.get_close_matches(name, known, 1, 0.75)
            near += [other for other in known if name.startswith(other) or other.startswith(name)]
            if near and near[0] not in names:
                raise DataError(file, f"the column {name[:40]!r} is unknown", f"did you mean {near[0]}?")
    said = f"{', '.join(unknown)}; known are {', '.join(known)}"
    return [f"columns of {file.name} that are not read: {said}"] if unknown else []


def _header(rows) -> list[str]:
    return [clean(from_cell(cell)).casefold().replace(" ", "_") for cell in rows[0][1]] if rows else []


def _like_groups(rows, places: dict[str, list[int]]) -> list[str]:
    """Return the names of unread columns whose values may be groups, whatever their names.

    Their values repeat, are the same for all rows of an image, are no measurements, and do not follow from the label.
    If groups are stated, a value must hold for whole groups and for several of them, as a donor for several slides.
    """

    def cells_of(k: int) -> list[str]:
        return [cells[k].strip() if k < len(cells) else "" for _, cells in rows[1:]]

    read, found = {k for at in places.values() for k in at}, []
    told = {name: cells_of(places[name][0]) for name in ("path", "image", "label") if name in places}
    groups = cells_of(places["group"][0]) if "group" in places else []
    groups = [] if all(map(says_nothing, groups)) else groups
    for k, name in enumerate(_header(rows)):
        values = cells_of(k)
        n_said = len(set(values) - NOTHING)
        if k in read or not name or not 2 <= n_said <= len(values) / 2 or any(map(_FRACTION.fullmatch, values)):
            continue
        n_groups = len(set(groups))
        if n_groups and not n_said < n_groups == len(set(zip(groups, values, strict=True))):
            continue
        is_more = {of: len(set(zip(said, values, strict=True))) > len(set(said)) for of, said in told.items()}
        if all(is_more[of] == (of == "label") for of in told):
            found.append(name)
    return found


def _places(rows, columns: dict[str, tuple[str, ...]]) -> dict[str, list[int]]:
    """Return the positions of each wanted column in the header, by its own name, else by its other names."""
    names = _header(rows)
    at = {
        column: [k for k, n in enumerate(names) if n == column] or [k for k, n in enumerate(names) if n in others]
        for column, others in columns.items()
    }
    return {column: places for column, places in at.items() if places}


def decoded(file: Path) -> tuple[str, list[str]]:
    """Return the text of a file, and a note if its encoding had to be guessed."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(file, f"cannot be read ({error.strerror})", "check path and permissions") from error
    if raw.startswith(b"PK\x03\x04"):
        raise DataError(file, "it is a workbook or an archive, not text", "save the sheet as CSV")
    encodings = ("utf-16",) if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252")
    if b"\0" in raw[:2]:
        encodings = ("utf-16-le" if raw[1:2] == b"\0" else "utf-16-be",)
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text or (encoding == "cp1252" and _OTHER_SCRIPT.search(text)):
            break
        return text, [f"{file.name} is not UTF-8: read as Windows-1252"] if encoding == "cp1252" else []
    raise DataError(file, "not a text in UTF-8, UTF-16 or Windows-1252", "save the table as CSV in UTF-8")


def drop_repeats(file: Path, table: pd.DataFrame, keys, columns: tuple[str, ...], called: pd.Series, on_error: str):
    """Leave out rows that repeat the key of an earlier row; refuse or skip them all if they differ in `columns`.

    `keys`, and `called`, the names of the rows in errors, have one entry per row. Returns the table and notes.
    """
    first, kept, cells, doubtful = {}, {}, {column: dict(table[column]) for column in columns}, {}
    for line, key in zip(table.index, keys, strict=True):
        same = first.setdefault(key, line)
        kept[line] = same == line
        for column in () if same == line else columns:
            one, two = clean(cells[column][same]), clean(cells[column][line])
            if one.casefold() != two.casefold():
                said = f"{called[line]} has the {column} {one!r} in line {same} and {two!r} in line {line}"
                doubtful.setdefault(same, said)
    n_repeats = len(kept) - len(first)
    notes = [f"{n_repeats} rows repeat another and are left out"] if n_repeats else []
    if doubtful:
        finding = next(iter(doubtful.values())) + (f"; and {len(doubtful) - 1} more" if len(doubtful) > 1 else "")
        if on_error == "raise" or len(doubtful) == len(first):
            rest = ', or leave such ones out: on_error="skip"' * (len(doubtful) < len(first))
            raise DataError(file, finding, f"keep one row of each{rest}")
        notes.append(f"skipped {finding}")
    return table[[kept[line] and line not in doubtful for line in table.index]], notes


def other_groups(table: pd.DataFrame) -> list[str]:
    """Return a note if a table of `read_table` has unread columns that may be groups, or hold several of its groups."""
    found = table.attrs["like_groups"]
    if not found:
        return []
    one = f"the column {found[0]} is not read: rename it to" if len(found) == 1 else (
        f"the columns {', '.join(found)} are not read: rename one of them to"
    )  # fmt: skip
    return [f"{one} group, if nuclei that share it must stay together"]


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."

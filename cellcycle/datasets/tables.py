"""Tables and names as people write them: separators, encodings, headers, and the spelling of labels and groups."""

import csv
import io
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd

from cellcycle.errors import DataError
from cellcycle.phases import PHASES

# What a cell holds where there is nothing to say.
_NOTHING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "-", "?"}
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_SEPARATORS = (",", ";", "\t", "|")


def read_table(file: Path, columns: dict[str, tuple[str, ...]], required: tuple[str, ...]):
    """Read a table of text, however it was saved, and notes on what was mended.

    It may be separated by commas, semicolons, tabs or bars, in UTF-8, UTF-16 or Windows-1252, with comment lines above
    the header. `columns` are the wanted ones, each with the names under which it may stand besides its own, whatever
    their case; without those `required` the table is refused. Returned are the wanted columns that are there, as text,
    "" where a cell is empty; the index holds the line numbers of the file.
    """
    text, notes = _decoded(file)
    readings = {separator: _rows(file, text, separator) for separator in _SEPARATORS}
    separator = max(readings, key=lambda separator: len(_places(readings[separator], columns)))
    rows, places = readings[separator], _places(readings[separator], columns)
    if not rows:
        raise DataError(file, "the file is empty", "list one image a row, below a header")
    missing = [name for name in required if name not in places]
    if missing:
        finding = f"no column {' and '.join(missing)}; its first line is {_short(separator.join(rows[0][1]))!r}"
        raise DataError(file, finding, f"put a header above: {','.join(required)}")
    repeated = [name for name, at in places.items() if len(at) > 1]
    if repeated:
        raise DataError(file, f"two columns are called {repeated[0]}", "keep one of them")
    width, kept = len(rows[0][1]), {}
    for line, cells in rows[1:]:
        if any(clean(cell) for cell in cells[width:]):
            row = _short(separator.join(cells))
            finding = f"line {line} has {len(cells)} cells where the header has {width}: {row!r}"
            raise DataError(file, finding, "put text that holds the separator in quotes")
        kept[line] = [cells[at[0]] if at[0] < len(cells) else "" for at in places.values()]
    if not kept:
        raise DataError(file, "no rows below the header", "list one image a row")
    return pd.DataFrame.from_dict(kept, orient="index", columns=list(places), dtype=str), notes


def _rows(file: Path, text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Return the rows of a text that hold anything, with the numbers of their lines; the first is the header."""
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        for cells in reader:
            is_comment = not rows and cells and clean(cells[0]).startswith(("#", "sep="))
            if any(clean(cell) for cell in cells) and not is_comment:
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise DataError(file, f"line {reader.line_num} is not readable as CSV ({error})", "save it anew") from error
    return rows


def _places(rows, columns: dict[str, tuple[str, ...]]) -> dict[str, list[int]]:
    """Return where the wanted columns stand in the header."""
    names = [clean(cell).casefold().replace(" ", "_") for cell in rows[0][1]] if rows else []
    spelt = {column: next((n for n in (column, *others) if n in names), None) for column, others in columns.items()}
    return {column: [k for k, n in enumerate(names) if n == name] for column, name in spelt.items() if name}


def _decoded(file: Path) -> tuple[str, list[str]]:
    """Return the text of a file, and a note where its encoding had to be guessed."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(file, f"cannot be read ({error.strerror})", "check the path and its rights") from error
    if raw.startswith(b"PK\x03\x04"):
        raise DataError(file, "a workbook or an archive, not text", "save the sheet as CSV")
    encodings = ("utf-16",) if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252")
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text, [f"{file.name} is not UTF-8: read as Windows-1252"] if encoding == "cp1252" else []
    raise DataError(file, "not a text in UTF-8, UTF-16 or Windows-1252", "save the table as CSV in UTF-8")


def drop_repeats(file: Path, table: pd.DataFrame, keys, columns: tuple[str, ...], called: pd.Series) -> pd.DataFrame:
    """Leave out rows whose key stood in an earlier one; refuse them where they say something else in `columns`.

    `keys` and the names by which the error calls the rows go with the rows of the table.
    """
    first, kept = {}, []
    for line, key in zip(table.index, keys, strict=True):
        same = first.setdefault(key, line)
        kept.append(same == line)
        for column in columns:
            one, two = clean(table.loc[same, column]), clean(table.loc[line, column])
            if one.casefold() != two.casefold():
                finding = f"{called[line]} has the {column} {one!r} in line {same} and {two!r} in line {line}"
                raise DataError(file, finding, "keep one of the two rows")
    return table[kept]


def clean(text: str) -> str:
    r"""Return a name without what the eye does not see: odd blanks, zero-width marks, compatibility forms.

    Examples
    --------
    >>> clean(" S\u00a0 phase\u200b"), clean("G₁")
    ('S phase', 'G1')
    """
    return " ".join(unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).split())


def clean_names(names: pd.Series, what: str, source) -> tuple[pd.Series, list[str]]:
    """Bring labels or groups (`what`) to one spelling each, where it is certain that they mean the same; say so.

    Labels that differ by blanks, dashes or underscores alone are refused. Such groups are left as they are: joining
    them is not certain, and harmless.
    """
    cleaned, notes = names.map(clean), []
    n_mended = int((cleaned != names).sum())
    if n_mended:
        notes.append(f"blanks and invisible characters were taken off {n_mended} {what}s")
    spelling = _one_spelling(cleaned) | (_as_phases(cleaned) if what == "label" else {})
    for old, new in sorted(spelling.items()):
        notes.append(f"{what} {old!r} ({(cleaned == old).sum()}) is read as {new!r}")
    cleaned = cleaned.replace(spelling) if spelling else cleaned
    seen: dict[str, str] = {}
    for name in cleaned.unique() if what == "label" else ():
        other = seen.setdefault(re.sub(r"(?<=\w)[\s_-]+(?=\w)", "", name).casefold(), name)
        if other != name:
            finding = f"the labels {other!r} and {name!r} differ by a blank, dash or underscore alone"
            raise DataError(source, finding, "give one class one name, or two classes names that differ")
    return cleaned, notes


def _one_spelling(names: pd.Series) -> dict[str, str]:
    """Return the spellings to replace: those that differ from another in case alone."""
    counts, by_key = Counter(names), defaultdict(list)
    for name in counts:
        by_key[name.casefold()].append(name)
    best = {key: min(same, key=lambda n: (n not in PHASES, -counts[n], n)) for key, same in by_key.items()}
    return {name: best[name.casefold()] for name in counts if name != best[name.casefold()]}


def _as_phases(names: pd.Series) -> dict[str, str]:
    """Return g1, s, g2, m as the phases that they are, where all classes are phases and one of them is G1 or G2."""
    found = {name.upper() for name in names}
    if not found <= set(PHASES) or not found & {"G1", "G2"}:
        return {}
    return {name: name.upper() for name in set(names) if name != name.upper()}


def says_nothing(name: str) -> bool:
    """Tell whether a cell is empty, or says so: NA, nan, none, a dash.

    Examples
    --------
    >>> says_nothing(" N/A"), says_nothing("G1")
    (True, False)
    """
    return clean(name).casefold() in _NOTHING


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."

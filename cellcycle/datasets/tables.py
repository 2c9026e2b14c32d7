"""Tables and names as people write them: separators, encodings, headers, and the spelling of labels and groups."""

import csv
import io
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pandas as pd

from cellcycle.errors import DataError
from cellcycle.phases import PHASES

# What a cell holds where there is nothing to say.
NOTHING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "-", "?"}
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_SEPARATORS = (",", ";", "\t", "|")


def read_table(file: Path, columns: dict[str, tuple[str, ...]], required: tuple[str, ...]):
    """Read a table of text, however it was saved.

    Parameters
    ----------
    file : Path
        Separated by commas, semicolons, tabs or bars; UTF-8, UTF-16 or Windows-1252; comment lines above the header.
    columns : dict of str to tuple of str
        Wanted column to the names under which it may stand, besides its own, whatever their case.
    required : tuple of str
        Columns without which the table is refused.

    Returns
    -------
    table : DataFrame of str
        Wanted columns that are there, "" where a cell is empty; the index holds the line numbers of the file.
    notes : list of str

    Raises
    ------
    DataError
        Naming the line and what stands there.
    """
    text, notes = _decoded(file)
    best = max((_parsed(file, text, separator, columns) for separator in _SEPARATORS), key=lambda p: len(p.header))
    if not best.rows:
        raise DataError(file, "the file is empty", "list one image a row, below a header")
    missing = [name for name in required if name not in best.header]
    if missing:
        first = _short(best.separator.join(best.rows[0][1]))
        finding = f"no column {' and '.join(missing)}; its first line is {first!r}"
        raise DataError(file, finding, f"put a header above: {','.join(required)}")
    repeated = [name for name, at in best.header.items() if len(at) > 1]
    if repeated:
        raise DataError(file, f"two columns are called {repeated[0]}", "keep one of them")
    width, lines, kept = len(best.rows[0][1]), [], []
    for line, cells in best.rows[1:]:
        if any(clean(cell) for cell in cells[width:]):
            row = _short(best.separator.join(cells))
            finding = f"line {line} has {len(cells)} cells where the header has {width}: {row!r}"
            raise DataError(file, finding, "put text that holds the separator in quotes")
        if any(clean(cell) for cell in cells):
            lines.append(line)
            kept.append([cells[at[0]] if at[0] < len(cells) else "" for at in best.header.values()])
    if not kept:
        raise DataError(file, "no rows below the header", "list one image a row")
    return pd.DataFrame(kept, columns=list(best.header), index=lines, dtype=str), notes


class _parsed:  # noqa: N801 - a reading, compared with others
    """The rows of a text under one separator, and where the wanted columns stand."""

    def __init__(self, file: Path, text: str, separator: str, columns: dict[str, tuple[str, ...]]):
        self.separator, self.rows, self.header = separator, [], {}
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        try:
            for cells in reader:
                is_comment = not self.rows and cells and clean(cells[0]).startswith(("#", "sep="))
                if any(clean(cell) for cell in cells) and not is_comment:
                    self.rows.append((reader.line_num, cells))
        except csv.Error as error:
            raise DataError(file, f"line {reader.line_num} is not readable as CSV ({error})", "save it anew") from error
        if self.rows:
            names = [clean(cell).casefold().replace(" ", "_") for cell in self.rows[0][1]]
            for column, others in columns.items():
                spelling = next((name for name in (column, *others) if name in names), None)
                if spelling:
                    self.header[column] = [k for k, name in enumerate(names) if name == spelling]


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


def clean(text: str) -> str:
    r"""Return a name without what the eye does not see: odd blanks, zero-width marks, compatibility forms.

    Examples
    --------
    >>> clean(" S\u00a0 phase\u200b"), clean("G₁")
    ('S phase', 'G1')
    """
    return " ".join(unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).split())


def clean_names(names: pd.Series, what: str, source) -> tuple[pd.Series, list[str]]:
    """Bring labels or groups to one spelling each, where it is certain that they mean the same.

    Parameters
    ----------
    names : Series of str
    what : {"label", "group"}
        Groups that differ in punctuation alone are left as they are: joining them is not certain, and harmless.
    source : path-like
        Named in the error.

    Returns
    -------
    names : Series of str
    notes : list of str
        What was mended.

    Raises
    ------
    DataError
        Two labels differ by blanks, dashes or underscores alone.
    """
    cleaned, notes = names.map(clean), []
    n_mended = int((cleaned != names).sum())
    if n_mended:
        notes.append(f"blanks and invisible characters were taken off {n_mended} {what}s")
    spelling = _one_spelling(cleaned) | (_as_phases(cleaned) if what == "label" else {})
    for old, new in sorted(spelling.items()):
        notes.append(f"{what} {old!r} ({(cleaned == old).sum()}) is read as {new!r}")
    cleaned = cleaned.replace(spelling) if spelling else cleaned
    if what == "label":
        _refuse_near_misses(cleaned, source)
    return cleaned, notes


def _one_spelling(names: pd.Series) -> dict[str, str]:
    """Return the spellings to replace: those that differ from another in case alone."""
    by_key: dict[str, Counter] = {}
    for name, n in Counter(names).items():
        by_key.setdefault(name.casefold(), Counter())[name] = n
    replaced = {}
    for spellings in by_key.values():
        best = min(spellings, key=lambda name: (name not in PHASES, -spellings[name], name))
        replaced |= {name: best for name in spellings if name != best}
    return replaced


def _as_phases(names: pd.Series) -> dict[str, str]:
    """Return g1, s, g2, m as the phases that they are, where all classes are phases and one of them is G1 or G2."""
    found = {name.upper() for name in names}
    if not found <= set(PHASES) or not found & {"G1", "G2"}:
        return {}
    return {name: name.upper() for name in set(names) if name != name.upper()}


def _refuse_near_misses(names: pd.Series, source) -> None:
    seen: dict[str, str] = {}
    for name in dict.fromkeys(names):
        key = re.sub(r"(?<=\w)[\s_-]+(?=\w)", "", name).casefold()
        other = seen.setdefault(key, name)
        if other != name:
            finding = f"the labels {other!r} and {name!r} differ by a blank, dash or underscore alone"
            raise DataError(source, finding, "give one class one name, or two classes names that differ")


def says_nothing(name: str) -> bool:
    """Tell whether a cell is empty, or says so: NA, nan, none, a dash.

    Examples
    --------
    >>> says_nothing(" N/A"), says_nothing("G1")
    (True, False)
    """
    return clean(name).casefold() in NOTHING


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."

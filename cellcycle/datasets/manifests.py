"""Lists of labelled images: a CSV with the columns path, label and optionally group."""

import unicodedata
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd

from cellcycle.datasets.tables import clean, read_table, says_nothing
from cellcycle.errors import DataError, shown

COLUMNS = {"path": ("file", "filename", "image"), "label": ("class", "phase"), "group": ()}


def manifest_entries(file: Path, on_error: str = "raise") -> tuple[pd.DataFrame, list[str]]:
    """List the images of a manifest.

    Parameters
    ----------
    file : Path
    on_error : {"raise", "skip"}
        What rows without a path or a label do.

    Returns
    -------
    entries : DataFrame
        path, label, sample_id (the path from the manifest's folder), and group where the file names any.
    notes : list of str

    Raises
    ------
    DataError
        One line: no table, no such columns, rows without a label, or one picture with two labels or groups.
    """
    table, notes = read_table(file, COLUMNS, ("path", "label"))
    empty = table["path"].map(says_nothing) | table["label"].map(says_nothing)
    if empty.any():
        line = table.index[empty][0]
        where = f"line {line} has no path or no label ({table.loc[line, 'path']!r}, {table.loc[line, 'label']!r})"
        if on_error == "raise" or empty.all():
            finding = where + (f", nor have {empty.sum() - 1} others" if empty.sum() > 1 else "")
            raise DataError(file, finding, "fill it in, delete the row, or leave such rows out: --skip-unreadable")
        notes.append(f"{empty.sum()} rows without a path or a label are left out: {where}")
        table = table[~empty]
    paths = [find_file(file.parent, text) for text in table["path"]]
    entries = pd.DataFrame({"path": paths, "label": table["label"].to_numpy()}, index=table.index)
    entries["sample_id"] = [sample_id(file.parent, path) for path in paths]
    entries["group"] = ["" if says_nothing(g) else g for g in table["group"]] if "group" in table else ""
    entries, n_repeated = _without_repeats(file, entries)
    if n_repeated:
        notes.append(f"{n_repeated} rows repeat another and are left out")
    if not entries["group"].any():
        return entries.drop(columns="group"), notes
    # A nucleus without a group stands for itself.
    entries["group"] = entries["group"].where(entries["group"] != "", "single:" + entries["sample_id"])
    return entries, notes


def _without_repeats(file: Path, entries: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Leave out rows that name a picture again; refuse them where they say something else of it."""
    first: dict[Path, int] = {}
    kept = []
    for line, row in entries.iterrows():
        same = first.setdefault(row["path"].resolve(), line)
        kept.append(same == line)
        for column in ("label", "group"):
            one, two = clean(entries.loc[same, column]), clean(row[column])
            if one.casefold() != two.casefold():
                finding = f"{row['sample_id']} has the {column} {one!r} in line {same} and {two!r} in line {line}"
                raise DataError(file, finding, "keep one of the two rows")
    return entries[kept], len(kept) - sum(kept)


def find_file(folder: Path, text: str) -> Path:
    """Return the file that a cell of a table means, as seen from the table's folder.

    Backslashes, blanks at the ends, quotes, file:// and the two ways to write an accent are mended where the file
    is found so; otherwise the path is returned as it stands.
    """
    plain = text.strip().strip("\"'")
    if plain.lower().startswith("file:"):
        plain = unquote(urlsplit(plain).path)
    forms = [text, plain, clean(plain), unicodedata.normalize("NFC", plain), unicodedata.normalize("NFD", plain)]
    for form in forms + [form.replace("\\", "/") for form in forms]:
        path = folder / Path(form).expanduser()
        if _is_file(path):
            return path
    return folder / plain


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, a NUL
        return False


def sample_id(folder: Path, path: Path) -> str:
    """Return the path from a folder, or the whole path of a file outside it."""
    try:
        return shown(path.resolve().relative_to(folder.resolve()).as_posix())
    except ValueError:
        return shown(path.as_posix())

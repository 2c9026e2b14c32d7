"""Tables of labelled nuclei: what a person said of single nuclei of whole fields, for training.

A row names a nucleus by its image and its number or place, and gives its class, or `none` for an object that is
no nucleus. `cellcycle review` and the website write such tables, `cellcycle train` reads them.
"""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from cellcycle.errors import DataError
from cellcycle.predict.output import whole_file

# What a person says of an object that is no nucleus; training leaves it out.
NONE = "none"
LABEL_COLUMNS = ("image", "nucleus_id", "centroid_y_px", "centroid_x_px", "label")
# Kept of a prediction table that has them: where a nucleus comes from, and what the model said.
MORE_COLUMNS = ("group", "call", "model", "version", "image_sha256", "pixel_size_um")
_NUMBERS = ("nucleus_id", "centroid_y_px", "centroid_x_px", "pixel_size_um")


def labelled_rows(columns, said: Mapping[int, str]) -> list[dict]:
    """Return the rows of a labels table for what was said of rows of a prediction table.

    Parameters
    ----------
    columns : pandas.DataFrame or dict of str to list
        The prediction table.
    said : dict of int to str
        Position of a row -> class, or `NONE`; an empty text is left out.

    Returns
    -------
    list of dict
        In the order of the table, with the keys `LABEL_COLUMNS` and those of `MORE_COLUMNS` that the table has.
    """
    kept = [name for name in (*LABEL_COLUMNS, *MORE_COLUMNS) if name == "label" or name in columns]
    values = {name: list(columns[name]) for name in {*kept, "flags"} - {"label"} if name in columns}
    rows = []
    for k, label in sorted(said.items()):
        if not label:
            continue
        row = {name: label if name == "label" else values[name][k] for name in kept}
        row["nucleus_id"] = int(row["nucleus_id"])
        if "pixel_size_um" in row and "scale_unknown" in values.get("flags", [""] * (k + 1))[k].split(";"):
            row["pixel_size_um"] = math.nan  # it was guessed from the nuclei, the image does not state it
        rows.append(row)
    return rows


def labels_text(rows: list[dict]) -> str:
    """Return rows of `labelled_rows` as CSV."""
    names = list(rows[0]) if rows else list(LABEL_COLUMNS)
    return "".join(map(csv_line, [names, *(row.values() for row in rows)]))


def csv_line(cells) -> str:
    r"""Return one line of CSV; a missing number is empty.

    Examples
    --------
    >>> csv_line(["a, b.tif", 3, 1.5, float("nan")])
    '"a, b.tif",3,1.5,\n'
    """
    line = io.StringIO()
    # A number is missing as NaN; numpy's own numbers are written as Python's.
    plain = (c.item() if hasattr(c, "item") else c for c in cells)
    csv.writer(line, lineterminator="\n").writerow("" if c is None or c != c else c for c in plain)
    return line.getvalue()


def write_labels(path, rows: list[dict]) -> None:
    """Write rows of `labelled_rows` as a labels table, whole or not at all."""
    with whole_file(Path(path)) as unfinished:
        unfinished.write_text(labels_text(rows), encoding="utf-8", newline="")


def read_labels(path):
    """Read a table of labelled nuclei, as a spreadsheet may have left it: commas, semicolons or tabs, any case.

    Parameters
    ----------
    path : str or Path
        With the columns `image`, `label`, and `nucleus_id` or `centroid_y_px` and `centroid_x_px`.

    Returns
    -------
    pandas.DataFrame
        `LABEL_COLUMNS` and all other columns; a number that is not given is NaN, a text "". Rows without a label
        are left out; `NONE` is spelt so.

    Raises
    ------
    DataError
        The file is missing, is no such table, or says two things of one nucleus.
    """
    import pandas as pd

    names, lines = _cells(Path(path))
    table = pd.DataFrame(lines, columns=names, dtype=str)
    has_place = {"centroid_y_px", "centroid_x_px"} <= set(names)
    missing = [name for name in ("image", "label") if name not in names]
    if missing or not (has_place or "nucleus_id" in names):
        lacks = " and ".join(missing) or "nucleus_id (or centroid_y_px and centroid_x_px)"
        raise DataError(path, f"it has no column {lacks}", f"name the columns {', '.join(LABEL_COLUMNS)}")
    for name in _NUMBERS:
        table[name] = _as_numbers(table[name], path) if name in names else math.nan
    table["label"] = table["label"].where(table["label"].str.lower() != NONE, NONE)
    table = table[table["label"] != ""].drop_duplicates(ignore_index=True)
    if not len(table):
        raise DataError(path, "no row has a label", "label some nuclei, then save the table again")
    _check(table, path)
    return table[[*LABEL_COLUMNS, *(name for name in table if name not in LABEL_COLUMNS)]]


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns, in lower case, and the cells of the other lines, without blanks around."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(path, f"it cannot be read ({error.strerror})", "check the path") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        lines = [[c.strip() for c in line] for line in csv.reader(io.StringIO(text), delimiter=separator) if any(line)]
    except csv.Error as error:
        raise DataError(path, f"it is no table ({error})", "save it as CSV") from error
    if not lines:
        raise DataError(path, "it is empty", "label some nuclei, then save the table again")
    names, *rest = lines
    for number, line in enumerate(rest, start=2):
        if len(line) != len(names):
            raise DataError(path, f"line {number} has {len(line)} cells, the first {len(names)}", "save it as CSV")
    return [name.lower() for name in names], rest


def _as_numbers(column, path):
    import pandas as pd

    # Where semicolons part the cells, a comma often stands for the decimal point.
    numbers = pd.to_numeric(column.str.replace(",", "."), errors="coerce")
    wrong = numbers.isna() & (column != "")
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(path, f"{column.name} of row {row + 1} is {column.iloc[row]!r}", "give a number")
    return numbers


def _check(table, path) -> None:
    """Refuse rows that name no nucleus, and two labels of one."""
    has_number = table["nucleus_id"].notna()
    nameless = (table["image"] == "") | ~(has_number | table[["centroid_y_px", "centroid_x_px"]].notna().all(axis=1))
    if nameless.any():
        finding = f"the nucleus of row {int(nameless.to_numpy().argmax()) + 1} has no image, or no number and no place"
        raise DataError(path, finding, "fill image and nucleus_id, or the centroid")
    for rows, key in ((has_number, ["image", "nucleus_id"]), (~has_number, ["image", *LABEL_COLUMNS[2:4]])):
        part = table[rows]
        twice = part.groupby(key)["label"].nunique()
        if (twice > 1).any():
            image, *which = twice.index[twice > 1][0]
            labels = " and ".join(part.loc[(part[key] == [image, *which]).all(axis=1), "label"].unique())
            which = ", ".join(f"{w:g}" for w in which)
            raise DataError(path, f"nucleus {which} of {image} is labelled {labels}", "keep one of the rows")

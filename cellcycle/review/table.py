"""Read a prediction table of `cellcycle predict`, in any of its formats, also after a spreadsheet saved it."""

import csv
import io
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.datasets.labels import NONE, stated
from cellcycle.datasets.spelling import clean
from cellcycle.datasets.tables import decoded
from cellcycle.errors import DataError
from cellcycle.names import from_cell
from cellcycle.predict.table import NUMBERS_OF_MAP, TEXT_COLUMNS, table_columns
from cellcycle.review.doubt import classes_of

# Bounding box of a nucleus in its image: first row and column, and those after the last.
BOX_COLUMNS = ("bbox_top_px", "bbox_left_px", "bbox_bottom_px", "bbox_right_px")
_NEEDED = ("image", "nucleus_id", "centroid_y_px", "centroid_x_px", "call", "flags", *BOX_COLUMNS)
_TEXTS = TEXT_COLUMNS | {"group", "image_sha256"}
_KNOWN = {*table_columns(()), *_TEXTS, *NUMBERS_OF_MAP}
# Rows of a sheet: a spreadsheet drops those below, also when it saves.
_MOST_LINES = 2**20
# Text that other programs, e.g. R, write into empty cells.
_EMPTY = ("NA", "NaN", "nan", "<NA>")
_REMARKS = ("flags", "review", "error")


def read_table(path, needs_nuclei: bool = True):
    """Read a prediction table (CSV, TSV, JSON or Parquet) as a `DataFrame`; an empty text is "", an empty number NaN.

    Raises `DataError` if the file is missing, no prediction table, of another version, edited so that it is
    inconsistent, or without a nucleus although `needs_nuclei`.
    """
    path = Path(path)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise DataError(path, "this is a pipe or device, not a file", "save the table as a file")
        table = _as_text(path)
    except OSError as error:
        raise DataError(path, f"it cannot be read ({error.strerror or error})", "check the path") from error
    except UnicodeDecodeError as error:
        is_text = path.suffix.lower() == ".json"
        finding = "it is not in UTF-8" if is_text else f"{path.suffix or 'a file of this kind'} is not read"
        remedy = "save it in UTF-8" if is_text else "give its CSV, TSV, JSON or Parquet file"
        raise DataError(path, finding, remedy) from error
    except (ValueError, csv.Error, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(path, f"it is no table of cellcycle predict ({reason})", "give its CSV or JSON file") from error
    _check_columns(path, list(table))
    table = _without_na(table)
    if "version" in table:
        # Beside an image without one, pandas writes version 4 as 4.0.
        table["version"] = table["version"].str.replace(r"^(\d+)\.0$", r"\1", regex=True)
    numbers = [name for name in table if name not in _TEXTS]
    for name in numbers:
        table[name] = _as_numbers(path, table[name], name in _KNOWN or name.startswith("p_"))
    _check_rows(path, table, needs_nuclei)
    return table


def _as_text(path: Path):
    """Return the table with cells as they are in the file: CSV and TSV as text, JSON and Parquet with their types."""
    separator = ""
    if path.suffix.lower() in (".parquet", ".pq"):
        table = pd.read_parquet(path)
    elif path.suffix.lower() == ".json":
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("not a list of rows")
        table = pd.DataFrame(rows)
    else:
        table, separator = _from_lines(path)
    table = _spelled(path, table)
    if separator:
        # Spreadsheets also save rows whose cells were cleared.
        table = table[(table.fillna("") != "").any(axis=1)].reset_index(drop=True)
        table = _with_points(path, table, separator)
    return table.assign(**{n: cells.map(lambda cell: from_cell(str(cell))) for n, cells in texts_of(table).items()})


def _from_lines(path: Path):
    """Return the cells of a CSV or TSV as text, and what separates them; refuse a table that was cut off."""
    is_text = path.suffix.lower() in (".csv", ".tsv", ".txt")
    text = decoded(path)[0] if is_text else path.read_text(encoding="utf-8-sig")
    head, last = text.partition("\n")[0], text.rpartition("\n")[2]
    separator = max(",;\t", key=head.count)
    if separator != ";" and head.rstrip().endswith(";"):
        # A spreadsheet that did not divide the lines adds empty cells behind them.
        text = re.sub(r";+(?=\r?$)", "", text, flags=re.MULTILINE)
    if last and last.count(separator) < head.count(separator):
        raise DataError(path, "its last row is cut off", "copy the whole file, or predict the images again")
    # pandas must not guess missing values, because a class or a file may be called NA: see `_without_na`.
    table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    if len(table) + 1 == _MOST_LINES:
        finding = f"it has {_MOST_LINES:,} lines, as many as a spreadsheet holds, which drops those below"
        raise DataError(path, finding, "give the table as cellcycle predict wrote it")
    return table, separator


def _with_points(path: Path, table, separator: str):
    """Return the table with decimal points: a comma is the mark if probabilities contain one, or if they are whole and
    no comma separates cells. A number with both marks is refused.
    """
    marks = "".join(table[[f"p_{name}" for name in classes_of(table)]].fillna("").to_numpy().ravel())
    if "," not in marks and ("." in marks or separator == ","):
        return table
    numbers = [name for name in table if name not in _TEXTS]
    for name in numbers if "," in marks else ():
        if (is_wrong := table[name].str.contains(".", regex=False, na=False)).any() and name in _KNOWN:
            cell = table[name][is_wrong].iloc[0]
            finding = f"{name} of row {is_wrong.idxmax() + 1} is {cell!r}, and commas mark decimals elsewhere"
            raise DataError(path, finding, "save numbers without marks of thousands")
    return table.assign(**table[numbers].replace(",", ".", regex=True))


def _spelled(path: Path, table):
    """Return the table with known columns under their own names, whatever their capitals and blanks."""
    called = defaultdict(list)
    for name in map(str, table):
        # pandas numbers columns of one name: dose, dose.1.
        called[re.sub(r"\.\d+$", "", clean(name).casefold().replace(" ", "_"))].append(name)
    for known in sorted(_KNOWN & called.keys()):
        if len(called[known]) > 1:
            finding = f"its columns {' and '.join(called[known])} have one name"
            raise DataError(path, finding, "call the one that is not meant otherwise")
    return table.rename(columns={called[name][0]: name for name in _KNOWN & called.keys()})


def _without_na(table):
    """Return the table with words for missing values, which another program wrote, replaced by empty cells.

    They are recognised in columns that hold no names, because a class or a file may be called NA.
    """
    if not any(table[name].isin(_EMPTY).any() for name in table if name not in _TEXTS or name in _REMARKS):
        return table
    names = [name for name in table if name != "image" and not (name == "call" and set(_EMPTY) & {*classes_of(table)})]
    return table.assign(**{name: table[name].where(~table[name].isin(_EMPTY), "") for name in names})


def texts_of(table) -> dict:
    """Return the text columns with "" in empty cells, which pandas reads as NaN."""
    return {name: table[name].astype(object).where(table[name].notna(), "") for name in table if name in _TEXTS}


def _check_columns(path: Path, names: list[str]) -> None:
    missing = [name for name in _NEEDED if name not in names]
    if not {"image", "call"} <= set(names):
        raise DataError(path, "it is no table of cellcycle predict: no columns image and call", "give its CSV file")
    if missing:
        finding = f"it comes from another version of cellcycle: no column {', '.join(missing)}"
        raise DataError(path, finding, "predict the images again")
    classes = classes_of(names)
    if len(classes) < 2:
        raise DataError(path, "it has no probabilities of two classes or more (p_...)", "predict the images again")
    if NONE in classes:
        raise DataError(path, f"a class is called {NONE}, which means that there is no nucleus", "rename the class")


def _as_numbers(path: Path, column, is_needed: bool):
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    wrong = numbers.isna() & column.notna() & (column.astype(str) != "")
    if is_needed and wrong.any():
        row = int(wrong.to_numpy().argmax())
        finding = f"{column.name} of row {row + 1} is {column.iloc[row]!r}"
        raise DataError(path, finding, "write the number as 0.5, or predict the images again")
    return numbers


def _check_rows(path: Path, table, needs_nuclei: bool) -> None:
    if not len(table):
        raise DataError(path, "it has no rows", "predict some images first")
    where = ["nucleus_id", "centroid_y_px", "centroid_x_px", *BOX_COLUMNS]
    nuclei = table[table[where].notna().any(axis=1) | (table["call"] != "")]
    if needs_nuclei and not len(nuclei):
        counts = table["flags"].value_counts().items()
        found = ", ".join(f"{n} {flags.replace(';', ' ').replace('_', ' ')}" for flags, n in counts)
        raise DataError(path, f"none of its rows holds a nucleus ({found})", "look at the images")
    classes = classes_of(table)
    unknown = ~table["call"].isin(["", *classes])
    if unknown.any():
        row = int(unknown.to_numpy().argmax())
        finding = f"the call of row {row + 1} is {table['call'].iloc[row]!r}, not one of {', '.join(classes)}"
        raise DataError(path, finding, "write one of these, or leave it empty")
    y, x, top, left, bottom, right = (nuclei[name] for name in where[1:])
    is_there = np.isfinite(nuclei[where]).all(axis=1) & (nuclei["image"] != "")
    # A number that is not whole had a thousands comma that was taken for the decimal mark; a place outside its box had
    # a decimal mark that was taken for that of thousands.
    is_there &= (nuclei[["nucleus_id", *BOX_COLUMNS]] % 1 == 0).all(axis=1)
    is_there &= (top - 1 <= y) & (y <= bottom) & (left - 1 <= x) & (x <= right)
    is_there &= (top >= 0) & (left >= 0) & (top < bottom) & (left < right) & (np.maximum(bottom, right) < 2**31)
    if not is_there.all():
        finding = f"row {int(nuclei.index[~is_there][0]) + 1} does not say where its nucleus lies"
        raise DataError(path, finding, "predict the images again")
    # A file may have been read several times, in other channels or time points.
    twice = stated(nuclei).assign(image=nuclei["image"], nucleus_id=nuclei["nucleus_id"]).duplicated()
    if twice.any():
        row = nuclei[twice].iloc[0]
        finding = f"nucleus {row['nucleus_id']:g} of {row['image']} is listed twice"
        raise DataError(path, finding, "give the table of one run")

"""Read tables of labelled nuclei: what a person said of single nuclei of whole fields, for training.

A row names a nucleus by its image and its number or place, and gives its class, or `none` for an object that is
no nucleus. `cellcycle review` and the website write such tables, `cellcycle train` reads them.
"""

from pathlib import Path

from cellcycle.datasets.tables import CLASSES, FILES, clean, clean_names, drop_repeats, read_table, says_nothing
from cellcycle.errors import DataError

# What a person says of an object that is no nucleus; training leaves it out.
NONE = "none"
LABEL_COLUMNS = ("image", "nucleus_id", "centroid_y_px", "centroid_x_px", "label")
# Kept of a prediction table that has them: where a nucleus comes from, and what the model said.
MORE_COLUMNS = ("group", "call", "model", "version", "image_sha256", "pixel_size_um")
# Other names under which people have these columns.
_SPELLINGS = dict.fromkeys(LABEL_COLUMNS + MORE_COLUMNS, ()) | {
    "image": (*FILES, "path"),
    "label": CLASSES,
    "nucleus_id": ("nucleus", "id"),
    "centroid_y_px": ("centroid_y", "y_px", "y"),
    "centroid_x_px": ("centroid_x", "x_px", "x"),
}
_NUMBERS = ("nucleus_id", "centroid_y_px", "centroid_x_px", "pixel_size_um")


def names_nuclei(path: Path) -> bool:
    """Tell whether a table names nuclei of images, by number or place, and not whole images."""
    table, _ = read_table(path, _SPELLINGS | {"nucleus_id": ("nucleus",), "id": ()}, ())
    if _says_which(table) or not {"image", "id"} <= set(table):
        return _says_which(table)
    # A column id, where every image stands once, counts the rows if it runs or is no number.
    ids = [clean(cell) for cell in table["id"]]
    counts_rows = any(ids == [str(k + first) for k in range(len(ids))] for first in (0, 1))
    return table["image"].duplicated().any() or not (counts_rows or not all(text.isdecimal() for text in ids))


def _says_which(table) -> bool:
    return "image" in table and ("nucleus_id" in table or {"centroid_y_px", "centroid_x_px"} <= set(table))


def read_labels(path):
    """Read a table of labelled nuclei as people have it: any separator, encoding, case and order of columns.

    Returns `LABEL_COLUMNS` and those of `MORE_COLUMNS` that the file has, and notes on what was mended. A number that
    is not given is NaN, a text "". The index holds the line numbers of the file. Rows without a label and repeated
    rows are left out; `NONE` is spelt so.
    """
    path = Path(path)
    table, notes = read_table(path, _SPELLINGS, ("image", "label"))
    if not _says_which(table):
        raise DataError(path, "no column nucleus_id, nor centroid_y_px and centroid_x_px", "say which nucleus is meant")
    is_none = table["label"].map(lambda cell: clean(cell).casefold() == NONE)
    is_open = ~is_none & table["label"].map(says_nothing)
    table = table.assign(label=table["label"].where(~is_none, NONE))[~is_open]
    if not len(table):
        raise DataError(path, "no row has a label", "label some nuclei, then save the table again")
    if is_open.any():
        notes.append(f"{is_open.sum()} rows without a label are left out")
    labels, mended = clean_names(table.loc[table["label"] != NONE, "label"], "label", path)
    table.loc[labels.index, "label"] = labels
    for name in table:
        table[name] = _as_numbers(table, name, path) if name in _NUMBERS else table[name].str.strip()
    table = table.reindex(columns=[*LABEL_COLUMNS, *(name for name in MORE_COLUMNS if name in table)])
    has_number = table["nucleus_id"].notna()
    nameless = (table["image"] == "") | ~(has_number | table[["centroid_y_px", "centroid_x_px"]].notna().all(axis=1))
    if nameless.any():
        finding = f"line {nameless.idxmax()} names no image, or no number and no place of a nucleus"
        raise DataError(path, finding, "fill in image and nucleus_id, or the centroid")
    which = table[["image", "nucleus_id", "centroid_y_px", "centroid_x_px"]].copy()
    which.loc[has_number, ["centroid_y_px", "centroid_x_px"]] = 0.0
    which["sha256"] = table.get("image_sha256", "")
    keys = which.fillna(0.0).apply(tuple, axis=1)
    return drop_repeats(path, table, keys, ("label",), "a nucleus of " + table["image"]), notes + mended


def _as_numbers(table, name: str, path: Path):
    import pandas as pd

    # Where semicolons part the cells, a comma often stands for the decimal point.
    cells = table[name].where(~table[name].map(says_nothing), "").str.strip().str.replace(",", ".")
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    wrong = numbers.isna() & (cells != "")
    if wrong.any():
        line = wrong.idxmax()
        raise DataError(path, f"{name} in line {line} is {table.loc[line, name]!r}", "give a number")
    return numbers

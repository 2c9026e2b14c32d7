"""Read tables of nuclei that a person labelled in whole fields, for training.

A row names a nucleus by its image and its number or place, and gives its class, or `none` for an object that is
no nucleus. `cellcycle review` and the website write such tables, `cellcycle train` reads them. Like a prediction
table, it may name the channel and planes of an image; `read_stated` reads these.
"""

import contextlib
import re
from pathlib import Path

import pandas as pd

from cellcycle.datasets.spelling import clean, clean_names, says_nothing
from cellcycle.datasets.tables import CLASSES, FILES, drop_repeats, other_groups, read_table
from cellcycle.errors import DataError, ImageError
from cellcycle.images import Plane, read_plane
from cellcycle.names import from_cell

# Label of an object that is no nucleus; training leaves it out.
NONE = "none"
LABEL_COLUMNS = ("image", "nucleus_id", "centroid_y_px", "centroid_x_px", "label")
# Channel and planes that were read of an image, in the words of `Plane`; with the image they identify a picture.
READ_COLUMNS = ("channel", "planes")
# Columns kept from a prediction table, if present: the origin of a nucleus and the call of the model.
MORE_COLUMNS = ("group", "call", "model", "version", "image_sha256", "pixel_size_um", *READ_COLUMNS)
# Other names of these columns in use.
_SPELLINGS = dict.fromkeys(LABEL_COLUMNS + MORE_COLUMNS, ()) | {
    "image": (*FILES, "path"),
    "label": CLASSES,
    "nucleus_id": ("nucleus", "id"),
    "centroid_y_px": ("centroid_y", "y_px", "y"),
    "centroid_x_px": ("centroid_x", "x_px", "x"),
    "flags": (),
}
_NUMBERS = ("nucleus_id", "centroid_y_px", "centroid_x_px", "pixel_size_um")
# Forms of `Plane.planes`: a time point, one plane, or a maximum projection (read by default); or an index alone, as
# people write it.
_PLANES = re.compile(
    r"(?:t|z|page) ([0-9]{1,6})|t ([0-9]{1,6}), maximum of (?:z|page) [0-9]+-[0-9]+|([0-9]{1,6})"
    r"|maximum of (?:z|page) [0-9]+-[0-9]+",
    re.IGNORECASE,
)


def names_nuclei(path: Path) -> bool:
    """Return whether a table names nuclei in images, by number or place, and not whole images."""
    table, _ = read_table(path, _SPELLINGS | {"nucleus_id": ("nucleus",), "id": ()}, ())
    if _says_which(table) or not {"image", "id"} <= set(table):
        return _says_which(table)
    # If each image occurs once, a column id whose values are consecutive or not numbers just numbers the rows.
    ids = [_plain(clean(cell)) for cell in table["id"]]
    numbers = sorted(int(text) for text in ids if text.isdecimal() and len(text) < 19)
    counts_rows = numbers == list(range(numbers[0], numbers[0] + len(ids))) if numbers else True
    return table["image"].duplicated().any() or not (counts_rows or len(numbers) < len(ids))


def _says_which(table) -> bool:
    return "image" in table and ("nucleus_id" in table or {"centroid_y_px", "centroid_x_px"} <= set(table))


def read_labels(path, on_error: str = "raise"):
    """Read a table of labelled nuclei with the separators and encodings of `read_table`, columns in any case and order.

    Returns `LABEL_COLUMNS` and those of `MORE_COLUMNS` that the file has, and notes on corrections. A missing number is
    NaN, a missing text "". The index holds the line numbers of the file. Rows without a label and repeated rows are
    left out, with `on_error` "skip" also nuclei with contradicting labels; `NONE` is spelt in small letters.
    """
    path = Path(path)
    table, notes = read_table(path, _SPELLINGS, ("image", "label"))
    separator, notes = table.attrs["separator"], notes + other_groups(table)
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
    images = table.loc[labels.index, "image"]
    once = images.duplicated().any() and not (images + "\n" + labels).duplicated().any()
    if once and labels.str.fullmatch(r"\d+([.,]0+)?").all():
        finding = "its labels number the nuclei of an image, as those of a mask do"
        raise DataError(path, finding, "put classes there, as words, and the numbers in nucleus_id")
    table.loc[labels.index, "label"] = labels
    for name in table:
        table[name] = _as_numbers(table, name, path, separator) if name in _NUMBERS else table[name].str.strip()
    if {"flags", "pixel_size_um"} <= set(table):
        # `predict` estimated this size from the nuclei; the image does not state it.
        is_guess = table["flags"].str.split(r"\s*;\s*").map(set).map({"scale_unknown"}.issubset)
        table["pixel_size_um"] = table["pixel_size_um"].mask(is_guess)
    table = table.reindex(columns=[*LABEL_COLUMNS, *(name for name in MORE_COLUMNS if name in table)])
    said = stated(table)
    table = table.assign(**{name: said[name] for name in READ_COLUMNS if name in table})
    has_place = table[["centroid_y_px", "centroid_x_px"]].notna().all(axis=1)
    nameless = (table["image"] == "") | ~(table["nucleus_id"].notna() | has_place)
    if nameless.any():
        finding = f"line {nameless.idxmax()} names no image, or no number and no place of a nucleus"
        raise DataError(path, finding, "fill in image, centroid_y_px and centroid_x_px")
    which = table[["image", "nucleus_id", "centroid_y_px", "centroid_x_px"]].copy()
    # As in `fields.nucleus_of`, the place identifies a nucleus, or the number if there is no place.
    which.loc[has_place, "nucleus_id"] = which.loc[~has_place, ["centroid_y_px", "centroid_x_px"]] = 0.0
    which["sha256"] = table.get("image_sha256", "")
    which[list(READ_COLUMNS)] = said
    keys = which.fillna(0.0).itertuples(index=False, name=None)
    kept, said = drop_repeats(path, table, keys, ("label",), "a nucleus of " + table["image"], on_error)
    return kept, notes + mended + said


def _as_numbers(table, name: str, path: Path, separator: str):
    cells = table[name].where(~table[name].map(says_nothing), "").str.strip()
    # A comma is often the decimal mark if another separator divides the cells; in a comma-separated table it may
    # group thousands, so it stays and is refused.
    if separator != ",":
        cells = cells.str.replace(",", ".")
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    wrong = numbers.isna() & (cells != "")
    if wrong.any():
        line = wrong.idxmax()
        raise DataError(path, f"{name} in line {line} is {table.loc[line, name]!r}", "give a number")
    return numbers


def stated(table):
    """Return the columns `READ_COLUMNS` (N) of a table as text, "" if a cell is empty or the column is absent."""
    said = {name: list(map(_plain, table[name])) if name in table else "" for name in READ_COLUMNS}
    return pd.DataFrame(said, index=table.index, dtype=object)


def _plain(cell) -> str:
    if cell is None or cell != cell:
        return ""
    # An index comes back from spreadsheets and pandas as 1.0.
    return from_cell(re.sub(r"^([0-9]+)\.0+$", r"\1", str(cell).strip()))


def picture_names(pictures) -> dict[tuple[str, str, str], str]:
    """Return the name of each picture (image, channel, planes): its image and what distinguishes several of one image.

    Examples
    --------
    >>> list(picture_names([("a.tif", "0", "t 0"), ("a.tif", "0", "t 1"), ("b.tif", "DAPI", "")]).values())
    ['a.tif (t 0)', 'a.tif (t 1)', 'b.tif']
    """
    of_image, names = {}, {}
    for image, *said in dict.fromkeys(map(tuple, pictures)):
        of_image.setdefault(image, []).append(said)
    for image, several in of_image.items():
        differs = [len(set(values)) > 1 for values in zip(*several, strict=True)]
        for channel, planes in several:
            words = [f"channel {channel}" if differs[0] and channel else "", planes if differs[1] else ""]
            words = ", ".join(filter(None, words))
            names[image, channel, planes] = f"{image} ({words})" if words else image
    return names


def pictures_of(table) -> list[str]:
    """Return the name of the picture of each row of a prediction table; see `picture_names`."""
    rows = list(zip(table["image"], *stated(table).to_numpy().T, strict=True))
    names = picture_names(rows)
    return [names[row] for row in rows]


def read_stated(path, said_channel: str, said_planes: str, channel=None, plane=None) -> Plane:
    """Read the channel and planes of an image file that a table states (`stated`); without them as `read_plane` does.

    `channel` and `plane`, as for `read_plane`, take precedence over the table. An `ImageError` is raised if the image
    has no such channel or plane, several channels of that name, or other planes than the table states.
    """
    said_channel, said_planes = ("" if says_nothing(said) else said for said in (said_channel, said_planes))
    by_table = []
    if channel is None and said_channel:
        channel = said_channel
        # "0" stands for the only, unnamed channel, which is read anyway.
        by_table += [] if channel == "0" else [f"channel {channel}"]
    if by_planes := plane is None and bool(said_planes):
        plane = _plane_of(path, said_planes)
        by_table.append(said_planes)
    try:
        # The table holds names of channels: quotes keep a name that is a number from being read as an index.
        asked = f'"{channel}"' if by_table and channel == said_channel else channel
        found = _read_one(path, asked, plane, bool(said_channel) and not said_planes)
    except ImageError as error:
        if not by_table:
            raise
        finding = f"{error.finding} (its table says {', '.join(by_table)})"
        raise ImageError(error.subject, finding, error.remedy) from None
    if by_planes and not said_planes.isdecimal() and not found.planes.casefold().startswith(said_planes.casefold()):
        finding = f"its table says {said_planes}, but the image has {found.planes or 'a single plane'}"
        raise ImageError(path, finding, "give the image that was meant, or correct the column planes")
    return found


def _read_one(path, channel, plane: int | None, is_single: bool) -> Plane:
    """Read a plane; `is_single`: the table names the channel but no plane, so the image had only one plane."""
    try:
        return read_plane(path, channel, plane)
    except ImageError:
        if plane is not None or not is_single:
            raise
        # One file of a z-stack with one file per plane can be read only if the plane is given.
        with contextlib.suppress(ImageError):
            found = read_plane(path, channel, 0)
            if not found.planes:
                return found
        raise


def _plane_of(path, planes: str) -> int | None:
    """Return the index of a plane or time point for `read_plane`; None for a projection of all z planes."""
    said = _PLANES.fullmatch(planes)
    if not said:
        finding = f"the planes {planes!r} of its table cannot be understood"
        raise ImageError(path, finding, "write t 1, z 1, page 1 or an index from 0 in the column planes, or nothing")
    index = next(filter(None, said.groups()), None)
    return None if index is None else int(index)

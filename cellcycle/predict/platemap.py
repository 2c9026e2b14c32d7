"""A plate map: a table that says of images or wells which condition, dose or replicate they are."""

import os
import re
import unicodedata
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np

from cellcycle.datasets.tables import clean, refuse_twins
from cellcycle.datasets.tables import read_table as read_text
from cellcycle.errors import DataError, ImageError
from cellcycle.images.wells import Place, well_name
from cellcycle.predict.table import NUMBERS_OF_MAP, TEXTS_OF_MAP

DOSE_REMEDY = "write it as 0.5 or 1e-6, not as a logarithm, its unit into the condition"
_AMOUNT = re.compile(r"[+]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_KEYS = ("image", "plate", "well")
_COLUMNS = (*_KEYS, *TEXTS_OF_MAP, *NUMBERS_OF_MAP)


def read_map(file: Path, images: list, places: list[Place]) -> tuple[list[dict], list[str]]:
    """Return what a map says of each image, by its columns without `image`, and notes on how it was read.

    The column `image` holds paths, or names that no other image has; without it `well`, with `plate` where there are
    several, is looked up in the `places` of the images. Each image is in one row, and each row is of an image; else,
    and where a column is unknown or doubled, a well or number none, or a well another than the image's own place, a
    `DataError` says so, as of a well that several plates of the metadata have where the map has no `plate`, and of a
    plate another than the metadata's. An image that could not be listed has no row.
    """
    file = Path(file)
    if not file.exists() or file.is_dir():
        raise DataError(file, "there is no such file", "name a table with the columns image or well, and condition")
    table, notes = read_text(file, dict.fromkeys(_COLUMNS, ()), (), is_all=True)
    if not {"image", "well"} & set(table):
        raise DataError(file, "it has no column image or well", "add one, so that each row finds its images")
    if len(table.columns) < 2:
        raise DataError(file, f"it has no column but {table.columns[0]}", "add a column such as condition")
    rows = {line: _checked(file, line, dict(row)) for line, row in table.iterrows()}
    refuse_twins(file, "condition", [row["condition"] for row in rows.values() if row.get("condition")])
    listed = [k for k, image in enumerate(images) if not isinstance(image, ImageError)]
    find = _by_image(file, images, listed) if "image" in table else _by_well(file, table, places, notes)
    at: dict[int, dict] = {}
    line_of: dict[int, int] = {}
    for line, row in rows.items():
        for k in find(line, row):
            if k in at:
                what = row.get("image") or row["well"]
                raise DataError(file, f"lines {line_of[k]} and {line} both are of {what}", "keep one of them")
            at[k], line_of[k] = row, line
    left = [images[k] for k in listed if k not in at]
    if left:
        more = f" and {len(left) - 1} more images" if len(left) > 1 else ""
        raise DataError(file, f"it leaves out {left[0]}{more}", "add them to the map, or do not predict them")
    for k, row in at.items():
        by = "metadata" if "OME" in places[k].rule else "name"
        # What a folder or file is called is not always the name of its plate.
        for what in ("plate", "well") if by == "metadata" else ("well",):
            said, own = row.get(what), getattr(places[k], what)
            if said and own and said != own:
                finding = f"line {line_of[k]} puts {images[k]} into {what} {said}, its {by} into {own}"
                raise DataError(file, finding, f"correct the map, or the {by}")
    blank = {name: float("nan") if name in NUMBERS_OF_MAP else "" for name in table if name != "image"}
    return [{name: at.get(k, blank)[name] for name in blank} for k in range(len(images))], notes


def _checked(file: Path, line: int, row: dict[str, str]) -> dict:
    """Return a row with clean texts, wells in one spelling, and numbers as such."""
    found: dict = {name: clean(value) for name, value in row.items() if name != "image"}
    if "image" in row:
        found["image"] = row["image"].strip()
    if found.get("well"):
        found["well"] = well_name(found["well"])
        if not found["well"]:
            raise DataError(file, f"line {line}: {row['well']!r} is no well", "write it as A01")
    for name in NUMBERS_OF_MAP & found.keys():
        said = row[name].strip()
        if said and not (_AMOUNT.fullmatch(said) and np.isfinite(float(said))):
            raise DataError(file, f"line {line}: the {name} {said!r} is no amount", DOSE_REMEDY)
        found[name] = float(said or "nan")
    return found


def _by_image(file: Path, images: list, listed: list[int]):
    """Return what finds the image of a row: by its path as seen from here or from the map, or by its name alone."""
    by_path, by_name, normal = {}, defaultdict(list), partial(unicodedata.normalize, "NFC")
    for k in listed:
        by_path[os.path.realpath(images[k])] = k
        by_name[os.path.basename(os.path.normpath(images[k]))].append(k)

    def find(line: int, row: dict) -> list[int]:
        name = row["image"].replace("\\", "/") if os.sep == "/" and "\\" in row["image"] else row["image"]
        for path in (name, file.parent / name):
            if (k := by_path.get(os.path.realpath(path))) is not None:
                return [k]
        # Accents may be letters of their own, or marks on them: the eye sees no difference.
        same = by_name.get(name) or [k for own, ks in by_name.items() if normal(own) == normal(name) for k in ks]
        if len(same) > 1:
            finding = f"line {line}: {len(same)} images are called {name}"
            raise DataError(file, finding, "write their paths")
        if not same:
            raise DataError(file, f"line {line}: {name or 'an empty name'} is none of the images", "correct the name")
        return same

    return find


def _by_well(file: Path, table, places: list[Place], notes: list[str]):
    """Return what finds the images of a row by its well, and by its plate where the map has a column for it.

    Plates that metadata name are refused without that column; folders and names may be times or sites of one plate.
    """
    keys = ("plate", "well") if "plate" in table else ("well",)
    at = defaultdict(list)
    for k, place in enumerate(places):
        if place.well:
            at[tuple(getattr(place, key) for key in keys)].append(k)
    if not at:
        remedy = "add a column image, or name the files as A01_s1.tif"
        raise DataError(file, "it names wells, but the names of the images do not say theirs", remedy)

    def find(line: int, row: dict) -> list[int]:
        key = tuple(row[name] for name in keys)
        if key not in at:
            raise DataError(file, f"line {line}: no image is of well {' '.join(key)}", "correct it, or take it out")
        plates = sorted({places[k].plate for k in at[key]})
        if len(plates) > 1 and any("OME" in places[k].rule for k in at[key]):
            finding = f"line {line}: the plates {' and '.join(plates[:2])} both have a well {row['well']}"
            raise DataError(file, finding, "add a column plate, with a row for each")
        if len(plates) > 1:
            said = f"wells of {' and '.join(plates[:2])} (by folders and names) share the rows of {file.name}: "
            said += "add a column plate where they differ"
            notes.extend([said] * (said not in notes))
        return at[key]

    return find

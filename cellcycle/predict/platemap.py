"""Plate maps: tables that give condition, dose, replicate ... of images or wells."""

import os
import re
import unicodedata
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.datasets.spelling import clean, refuse_twins
from cellcycle.datasets.tables import read_table as read_text
from cellcycle.errors import DataError
from cellcycle.images.makers import ALONE
from cellcycle.images.wells import Place, well_name
from cellcycle.predict.given import Given
from cellcycle.predict.table import NUMBERS_OF_MAP, TEXTS_OF_MAP

DOSE_REMEDY = "write it as 0.5 or 1e-6, not as a logarithm, or leave it empty; put its unit into the condition"
_AMOUNT = re.compile(r"[+]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_THOUSAND = re.compile(r"[+]?[1-9]\d{0,2}[.,]\d{3}")
_FROM_ROOT = re.compile(r"^(?:[A-Za-z]:)?[\\/](?:.*[\\/])?")
_ENDING = re.compile(r"(\.ome)?\.[a-z]\w{1,4}$")
_COLUMNS = ("image", "plate", "well", *TEXTS_OF_MAP, *NUMBERS_OF_MAP)


def read_map(file: Path, images: list, places: list[Place]) -> tuple[list[dict], list[str]]:
    """Return for each image a dict of the columns of a map, without `image`, and notes on how the map was read.

    The column `image` has paths, or unique names of images. Without it, `well`, and `plate` if there are several, are
    looked up in the `places` of the images. Each image must be in one row, and each row with an `image` must match one.
    If not, or if a column seems misspelt or occurs twice, a well or number is invalid, or a place contradicts that of
    the image, a `DataError` is raised. An image that could not be listed needs no row.
    """
    file, images = Path(file), list(map(Given.of, images))
    if not file.exists() or file.is_dir():
        raise DataError(file, "there is no such file", "name a table with the columns image or well, and condition")
    table, notes = read_text(file, dict.fromkeys(_COLUMNS, ()), (), is_all=True)
    if not {"image", "well"} & set(table):
        raise DataError(file, "it has no column image or well", "add one, so that each row can find its images")
    if len(table.columns) < 2:
        raise DataError(file, f"only its column {table.columns[0]} can be read", "add a column such as condition")
    for name in NUMBERS_OF_MAP & {*table}:
        table[name] = _with_points(file, table[name].str.strip(), table.attrs["separator"])
    rows = {line: _checked(file, line, row) for line, row in table.to_dict("index").items()}
    _check_names(file, rows)
    find = _by_image(file, images, notes) if "image" in table else _by_well(file, rows, places, notes)
    line_of: dict[int, int] = {}
    absent = []
    for line, row in rows.items():
        found = find(line, row)
        absent += [] if found else [line]
        for k in found:
            if k in line_of and _said(row) != _said(rows[line_of[k]]):
                what = row.get("image") or row["well"]
                raise DataError(file, f"lines {line_of[k]} and {line} differ about {what}", "keep one of them")
            line_of[k] = line
    if left := [k for k, image in enumerate(images) if image.error is None and k not in line_of]:
        more = f" and {len(left) - 1} more image{'s' * (len(left) > 2)}" if len(left) > 1 else ""
        none = f"line {absent[0]}: no image is from {_well_of(rows[absent[0]])}; " if not line_of else ""
        place = "" if "image" in table else _told(places[left[0]])
        finding = f"{none}it leaves out {images[left[0]]}{place}{more}"
        raise DataError(file, finding, "correct the map" if none else "add them to the map, or do not predict them")
    if absent:
        some = ", ".join(_well_of(rows[line]) for line in absent[:3]) + ", ..." * (len(absent) > 3)
        notes.append(f"no image fits {len(absent)} row{'s' * (len(absent) > 1)} of {file.name} ({some})")
    _check_places(file, images, places, rows, line_of)
    blank = {name: float("nan") if name in NUMBERS_OF_MAP else "" for name in table if name != "image"}
    return [{name: rows.get(line_of.get(k), blank)[name] for name in blank} for k in range(len(images))], notes


def images_in(file: Path, images: list) -> set[str]:
    """Return the paths of images that rows of a map name; empty if it cannot be read: `read_map` then says why."""
    images, found = list(map(Given.of, images)), set()
    with suppress(DataError, OSError):
        table = read_text(Path(file), dict.fromkeys(_COLUMNS, ()), (), is_all=True)[0]
        if "image" in table:
            find = _by_image(Path(file), images, [])
            for line, row in table.iterrows():
                with suppress(DataError):
                    found.update(str(images[k]) for k in find(line, {"image": row["image"].strip()}))
    return found


def _check_names(file: Path, rows: dict[int, dict]) -> None:
    """Refuse names that differ only by capitals, and a row without a plate or slide if others like it have one."""
    # Replicates and donors are compared within conditions: the report takes donors for replicates.
    for name in ("plate", "slide", "condition", "replicate", "donor"):
        said = defaultdict(list)
        for row in rows.values():
            said[row.get("condition") if name in ("replicate", "donor") else ""] += [row[name]] if row.get(name) else []
        for names in said.values():
            refuse_twins(file, name, names)
    for name, other in (("plate", "slide"), ("slide", "plate")):
        beside: dict[str | None, dict[int, bool]] = defaultdict(dict)
        for line, row in rows.items():
            beside[row.get(other)][line] = bool(row.get(name))
        for has in beside.values():
            # Only the first of merged spreadsheet cells keeps their text.
            if len({*has.values()}) > 1:
                line = next(line for line, is_said in has.items() if not is_said)
                raise DataError(file, f"line {line}: it names no {name}, but other lines do", "add it")


def _check_places(file: Path, images, places: list[Place], rows: dict[int, dict], line_of: dict[int, int]) -> None:
    """Refuse a row that contradicts the well in an image's name, or the plate or well in its metadata."""
    for k, line in line_of.items():
        place = places[k]
        by = "metadata" if place.is_stated else "name"
        # The name of a folder or file need not be that of its plate, nor a name like a1 that of a well.
        for what in ("plate", "well") if by == "metadata" else () if place.rule == ALONE else ("well",):
            said, own = rows[line].get(what), place.own if what == "plate" else place.well
            if said and own and not (place.is_on(said) if what == "plate" else said == own):
                finding = f"line {line} puts {images[k]} into {what} {said}, but its {by} says {own}"
                raise DataError(file, finding, f"correct the map, or the {by}")


def _said(row: dict) -> str:
    # As text, because NaN differs from NaN.
    return repr({name: value for name, value in row.items() if name != "image"})


def _well_of(row: dict) -> str:
    return "well " + " ".join(filter(None, (row.get("plate"), row["well"])))


def _told(place: Place) -> str:
    if not place.well:
        return ""
    by = "metadata" if place.is_stated else "name and folder"
    return f" (well {place.well}{f' of plate {place.plate}' if place.plate else ''}, by its {by})"


def _with_points(file: Path, said: pd.Series, separator: str) -> pd.Series:
    """Return a column of numbers with decimal points; refuse mixed decimal marks, and what may be marks of thousands.

    Spreadsheets that write 0,5 separate cells by semicolons or tabs. So do others, which write 1,000 for a thousand.
    """
    if separator not in (";", "\t"):
        return said
    points = said.str.replace(",", ".")
    is_amount = points.map(_is_amount)
    marked = said[is_amount & said.str.contains("[.,]")]
    sure = marked[~marked.map(lambda cell: bool(_THOUSAND.fullmatch(cell)))]
    for line, cell in marked.items():
        if not len(sure):
            finding = f"may be {re.sub('[.,]', '', cell)} or {float(points[line]):g}"
            raise DataError(file, f"line {line}: the {said.name} {cell!r} {finding}", "write it as one of these")
        if ("," in cell) != ("," in sure.iloc[0]):
            finding = f"line {line}: the {said.name} {cell!r} has another decimal mark than {sure.iloc[0]!r}"
            raise DataError(file, finding, "use one decimal mark, and write a thousand as 1000")
    return points.where(is_amount, said)


def _is_amount(said: str) -> bool:
    return bool(_AMOUNT.fullmatch(said)) and np.isfinite(float(said))


def _checked(file: Path, line: int, row: dict[str, str]) -> dict:
    """Return a row with clean texts, wells spelled like A01, and numbers as float."""
    found: dict = {name: clean(value) for name, value in row.items() if name != "image"}
    if "image" in row:
        found["image"] = row["image"].strip()
    if found.get("well"):
        found["well"] = well_name(found["well"])
        if not found["well"]:
            raise DataError(file, f"line {line}: {row['well']!r} is not a well", "write it as A01")
    for name in NUMBERS_OF_MAP & found.keys():
        said = row[name].strip()
        if said and not _is_amount(said):
            raise DataError(file, f"line {line}: the {name} {said!r} is not an amount", DOSE_REMEDY)
        found[name] = float(said or "nan")
    return found


def _by_image(file: Path, images: list[Given], notes: list[str]):
    """Return a function that finds the image of a row, by its path relative to here or to the map, or by its name.

    Last, it takes the only image of that name with other capitals, another suffix or another folder, with a note.
    """
    # Accented letters may be one character or two; they look the same.
    spellings = (str, partial(unicodedata.normalize, "NFC"), _loosely)
    known, near = {spelled: defaultdict(set) for spelled in spellings}, []
    for k, image in enumerate(map(str, images)):
        for key in (os.path.realpath(image), os.path.basename(os.path.normpath(image))):
            for spelled in spellings if images[k].error is None else ():
                known[spelled][spelled(key)].add(k)

    def find(line: int, row: dict) -> list[int]:
        name = row["image"].replace("\\", "/") if os.sep == "/" and "\\" in row["image"] else row["image"]
        # An absolute path without an image is from another computer.
        keys = [*map(os.path.realpath, (name, file.parent / name)), _FROM_ROOT.sub("", name)] if name else []
        for spelled, key in product(spellings, keys):
            same = [*known[spelled].get(spelled(key), ())]
            if len(same) > 1:
                raise DataError(file, f"line {line}: {len(same)} images are called {name}", "write their paths")
            if same and (spelled is _loosely or (key is keys[-1] and key != name)):
                near.append(f"{name} for {images[same[0]]}")
                notes.extend([f"{file.name} has names that nearly fit images, such as {near[0]}"] * (len(near) == 1))
            if same:
                return same
        bad = [f" ({image.path}: {image.error.finding})" for image in images if image.error is not None]
        finding = f"line {line}: {name or 'an empty name'} is not one of the images{''.join(bad[:1])}"
        raise DataError(file, finding, "correct the name, or delete the row")

    return find


def _loosely(name: str) -> str:
    return _ENDING.sub("", unicodedata.normalize("NFC", name).casefold())


def _by_well(file: Path, rows: dict[int, dict], places: list[Place], notes: list[str]):
    """Return a function that finds the images of a row by its well, and by its plate if the map has that column.

    If several plates share a name, a row with the extended name of one comes before rows with the common name, which
    match all of them. Several plates in metadata need that column. Folders and names may be times or sites of one
    plate; if they give a single plate, the map may name it otherwise.
    """
    placed = [k for k, place in enumerate(places) if place.well]
    if not placed:
        remedy = "add a column image, or name all files of a folder like A01_s1.tif"
        raise DataError(file, "it names wells, but the names of the images state none", remedy)
    has_plate = "plate" in next(iter(rows.values()))
    said = {(row.get("plate"), row["well"]) for row in rows.values()}
    # Once per plate, not per well: with many plates it takes long.
    plates = {k: replace(places[k], well="") for k in placed}
    names = {name for name, _ in said if has_plate}
    called = {plate: _called(plate, names) for plate in {*plates.values()}}
    is_stated = any(plate.is_stated and plate.own for plate in called)
    is_renamed = len({plate.own for plate in called}) == 1 and not is_stated and {*called.values()} == {None}
    is_by_well = not has_plate or (is_renamed and len(said) == len({w for _, w in said}))
    at = defaultdict(list)
    for k in placed:
        at[None if is_by_well else called[plates[k]], places[k].well].append(k)

    def find(line: int, row: dict) -> list[int]:
        if not row["well"]:
            raise DataError(file, f"line {line}: it names no well", "add it, or delete the line")
        found = at.get((None if is_by_well else row["plate"], row["well"]), [])
        plates = sorted({places[k].plate for k in found})
        two = " and ".join(plates[:2])
        if len(plates) > 1 and not has_plate and any(places[k].is_stated for k in found):
            owns = {places[k].own for k in found}
            remedy = f"add a column plate, with a row for each{f', or {owns.pop()} for both' if len(owns) == 1 else ''}"
            raise DataError(file, f"line {line}: the plates {two} both have a well {row['well']}", remedy)
        if len(plates) > 1:
            note = f"wells of {two} (by folders and names) share the rows of {file.name}: "
            note += "if these plates differ, add a column plate"
            note = f"{two} are one plate in {file.name}: name them like this if they differ" if has_plate else note
            notes.extend([note] * (note not in notes))
        return found

    return find


def _called(place: Place, names: set[str]) -> str | None:
    """Return which of the `names` of plates in a map is that of a place; None if none is, or if two could be."""
    fitting = set(filter(place.is_on, names))
    for closest in ({place.plate} - {place.own}) & fitting, fitting - {place.own}, fitting:
        if closest:
            return closest.pop() if len(closest) == 1 else None
    return None

"""Find the plate and well of an image from its OME metadata and from the file names of microscopes."""

import os
import re
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from string import ascii_uppercase

from cellcycle.errors import DataError, ImageError
from cellcycle.images.bounded import read_bounded
from cellcycle.images.formats import is_tiff, one_line
from cellcycle.images.makers import ALONE, FIELD_NUMBER, PART_OF_PLATE, WELL_RULES
from cellcycle.images.omezarr import PLATE_REMEDY, told_in, wells_told
from cellcycle.images.remote import is_of_file, is_url, told_above
from cellcycle.images.tiff import stated_well
from cellcycle.names import n_alike, shown_name

_OF_ZARR, _OF_XML = "plate of OME-Zarr", "OME-XML"
ROWS = [*ascii_uppercase, *(f"A{letter}" for letter in "ABCDEF")]


@dataclass(frozen=True)
class Place:
    """Where an image was taken: plate, well such as "C02", and the rule that found them; "" for unknown.

    `own` is the plate's own name; `plate` may add text to distinguish it from others of that name. `folder` is that of
    the plate, with its acquisition.
    """

    plate: str = ""
    well: str = ""
    rule: str = ""
    own: str = ""
    folder: str = ""

    @property
    def is_stated(self) -> bool:
        """Whether the place comes from metadata, not from the name of a file or folder."""
        return self.rule in (_OF_ZARR, _OF_XML)

    def is_on(self, plate: str) -> bool:
        """Return whether `plate` means this plate: its name, alone or followed by folders of its path in brackets.

        Examples
        --------
        >>> place = Place("P", "A01", own="P", folder="x/day 1/Images")
        >>> [place.is_on(plate) for plate in ("P", "P (day 1)", "P (x/Images)", "P (day 2)", "Q")]
        [True, True, True, False, False]
        """
        if plate in (self.plate, self.own):
            return True
        inside = re.fullmatch(rf"{re.escape(self.own)} \((.+)\)" if self.own else "(.+)", plate)
        folders = iter(shown_name(self.folder).split(os.sep))
        return bool(inside) and all(folder in folders for folder in inside[1].split(os.sep))


def whole_path(path: str) -> str:
    """Return the absolute path of a file, so that its plate does not depend on the working folder; URLs stay."""
    return path if not path or is_url(path) else os.path.abspath(path)


def folder_of(path: str) -> str:
    """Return the folder of a file as given, but absolute if it is relative to the working folder: `.` or `../p`."""
    folder = os.path.dirname(path)
    is_from_here = os.path.normpath(folder).split(os.sep)[0] in (os.curdir, os.pardir)
    return os.path.dirname(whole_path(path)) if is_from_here else folder


def places_of(paths) -> list[Place]:
    """Return the place of each image file by the first rule of `WELL_RULES` that the names in its folder follow.

    The plate is the text before the well in a name, without a field number, else the folder. A folder of one well is
    not a plate, but the folder above it is. Prefixes in one folder are not plates if no two of them share a well. One
    prefix in several folders means several plates if these share a well. Folders named after parts or times of a plate
    belong to the plate above them. Without a rule, a folder named after a well counts if all folders beside it are too.

    Examples
    --------
    >>> [place.well for place in places_of(["p/r03c02f01.tif", "p/r03c12f01.tif", "x_A01_s1.tif", "a.tif"])]
    ['C02', 'C12', '', '']
    >>> [place.plate for place in places_of(["p/A05/ctrl_A05_s1.tif", "p/A06/drug_A06_s1.tif"])]
    ['p', 'p']
    """
    folders = [os.path.dirname(path) for path in paths]
    places, wells, inside = [Place()] * len(paths), defaultdict(set), defaultdict(list)
    for k, folder in enumerate(folders):
        inside[folder].append(k)
    whole = {folder: _whole_of(folder) for folder in inside}
    for folder, members in inside.items():
        stems = {k: Path(paths[k]).stem for k in members}
        for rule, pattern in WELL_RULES.items():
            found = {k: match for k, stem in stems.items() if (match := re.match(pattern, stem))}
            named = {k: _named(match["row"].upper(), match["column"]) for k, match in found.items()}
            if _is_followed(rule, set(named.values()), len(found), len(members)):
                for k, well in named.items():
                    places[k] = Place(FIELD_NUMBER.sub("", found[k]["plate"] or ""), well, rule)
                wells[whole[folder]].update(named.values())
                break
    unknown = [folder for folder, members in inside.items() if not any(places[k].well for k in members)]
    for folder, well in _called_wells(unknown, whole).items():
        wells[whole[folder]].add(well)
        for k in inside[folder]:
            places[k] = Place("", well, "called after its folder: A02")
    found = _above_wells(wells)
    above = {folder: found.get(of, of) for folder, of in whole.items()}
    names, prefixes = _plates(set(above.values())), defaultdict(lambda: defaultdict(set))
    for folder, place in zip(folders, places, strict=True):
        if place.well:
            prefixes[above[folder]][place.plate].add(place.well)
    for k, (folder, place) in enumerate(zip(folders, places, strict=True)):
        if place.well:
            own = prefixes[above[folder]]
            prefix = "" if len(own) > 1 and share_no_well(own) else place.plate
            # Without a name, nothing would tell that fields of several folders are of one plate.
            here = names[above[folder]] or os.curdir * (above[folder] != folder)
            is_below = above[folder] != whole[folder]
            places[k] = replace(place, plate=prefix or here, folder=above[folder] if is_below else folder)
    return _told_apart(places)


def _is_followed(rule: str, wells: set[str], n_found: int, n_names: int) -> bool:
    """Return whether the names in a folder follow a rule. A well alone may be a sample or day (C1, M2, d1): such names
    must fill several columns and adjacent rows from A or B on, as on a plate.
    """
    if rule not in [*WELL_RULES][-2:]:
        return 2 * n_found > n_names
    rows, columns = sorted({well[0] for well in wells}), {well[1:] for well in wells}
    is_plate = rule != ALONE or (len(rows) > 1 < len(columns) and "".join(rows) in "ABCDEFGHIJKLMNOP" and rows[0] < "C")
    return n_found == n_names and is_plate


def _called_wells(folders: list[str], whole: dict[str, str]) -> dict[str, str]:
    """Return the well of each folder named after one (A01; A1 may be a tissue block), if all folders beside it are."""
    beside = defaultdict(dict)
    for folder in folders:
        above, name = os.path.split(whole[folder])
        beside[above][folder] = name if re.fullmatch(r"[A-P](0[1-9]|1\d|2[0-4])", name) else ""
    return {f: well for of in beside.values() if all(of.values()) and len({*of.values()}) > 1 for f, well in of.items()}


@lru_cache(1 << 16)
def _whole_of(folder: str) -> str:
    """Return the path of a folder without the folders for parts or times of a plate."""
    return os.sep.join(part for part in folder.split(os.sep) if not PART_OF_PLATE.fullmatch(part))


def share_no_well(wells: dict[str, set[str]]) -> bool:
    """Return whether no two plates have a well in common."""
    return sum(map(len, wells.values())) == len(set().union(*wells.values()))


def _above_wells(wells: dict[str, set[str]]) -> dict[str, str]:
    """Return the folder of the plate for each folder of one well, known by its name or by other such folders beside it.

    Examples
    --------
    >>> _above_wells({"p/A5": {"A05"}, "q/x": {"A01"}, "q/y": {"A02"}, "r": {"A01", "A02"}, "d1": {"D01"}})
    {'p/A5': 'p', 'q/x': 'q', 'q/y': 'q'}
    """
    above, beside, alike = {}, defaultdict(dict), Counter(map(os.path.basename, wells))
    for folder, own in wells.items():
        parts = folder.split(os.sep)
        # The same subfolder (Images) may be in each well's folder. Small letters are days: d1.
        at = range(len(parts)) if alike[parts[-1]] > 1 else [len(parts) - 1]
        named = [k for k in at if own == {well_name(parts[k])} and parts[k].isupper()]
        if named:
            above[folder] = os.sep.join(parts[: named[-1]])
        elif folder:
            beside[os.path.dirname(folder)][folder] = own
    for parent, of in beside.items():
        if len(of) > 1 and share_no_well(of) and all(len(own) == 1 for own in of.values()):
            above |= dict.fromkeys(of, parent)
    return above


def _plates(folders: set[str]) -> dict[str, str]:
    """Return the name of each folder; for equal names (Images, TimePoint_1), that of the next one above that differs.

    Examples
    --------
    >>> sorted(_plates({"a/Images", "b/Images", "c"}).items())
    [('a/Images', 'a'), ('b/Images', 'b'), ('c', 'c')]
    """
    alike, names = defaultdict(list), {}
    for folder in sorted(folders):
        alike[os.path.basename(folder)].append(folder)
    for same in alike.values():
        parts = [folder.split(os.sep)[::-1] for folder in same]
        differing = (level for level in zip(*parts, strict=False) if len(set(level)) == len(same))
        names |= zip(same, next(differing, same), strict=True)
    return names


def _told_apart(places: list[Place]) -> list[Place]:
    """Return the places, where plates with one name in several folders get the differing part of the path added.

    They are one plate if no well is in two of them, or if the folders are named after parts of a plate.

    Examples
    --------
    >>> at = [("A01", "x/d1/Images"), ("A02", "x/d1/Images"), ("A01", "x/d2/site1"), ("A01", "x/d2/site2")]
    >>> [place.plate for place in _told_apart([Place("P", well, folder=folder) for well, folder in at])]
    ['P (d1)', 'P (d1)', 'P (d2)', 'P (d2)']
    """
    origins = [place.folder if place.rule == _OF_ZARR else _whole_of(place.folder) for place in places]
    wells: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for place, origin in zip(places, origins, strict=True):
        if place.well:
            wells[place.plate][origin].add(place.well)
    own_name = {}
    for plate, of in wells.items():
        if not share_no_well(of):
            above = _above_wells(of)
            parts = {origin: above.get(origin, origin).split(os.sep) for origin in of}
            start = n_alike(parts.values())
            end = n_alike(part[start:][::-1] for part in parts.values())
            for origin, part in parts.items():
                differing = shown_name(os.sep.join(part[start : len(part) - end]))
                own_name[plate, origin] = f"{plate} ({differing})" if plate and differing else plate or differing
    return [
        replace(place, plate=own_name.get((place.plate, origin), place.plate), own=place.plate)
        for place, origin in zip(places, origins, strict=True)
    ]


def stated_places(paths, named: list[Place]) -> list[Place]:
    """Return the place of each image file from its OME metadata, or its place in `named` if they state none.

    Plates of one name, and acquisitions of one plate, that share a well get different names, as by `places_of`. A
    `DataError` says that name and metadata state different wells, that the plate does not list the well, or that the
    server of the plate does not answer.
    """
    of_folders: dict[str, dict] = {}
    places = []
    for path, place in zip(paths, named, strict=True):
        stated = _stated(path, of_folders)
        if place.well and stated.well and place.well != stated.well:
            finding = f"its name says well {place.well}, but its metadata says {stated.well}"
            raise DataError(path, finding, "correct the one that is wrong")
        places.append(stated)
    # An image of an OME-Zarr plate belongs to it even if its well has no name like A1.
    own_places = zip(_told_apart(places), named, strict=True)
    return [own if own.well or own.rule == _OF_ZARR else place for own, place in own_places]


def group_of(folder: str, columns: dict, of_map: str = "") -> str:
    """Return the group that an image is read with: plate and slide in its `columns`, else the map, else the folder."""
    named = " ".join(filter(None, (columns.get("plate"), columns.get("slide"))))
    return named or shown_name(of_map or folder or os.curdir)


def _stated(name: str, of_folders: dict[str, dict]) -> Place:
    """Return the place of an image from its metadata, an empty one if they cannot be read."""
    path = Path(name)
    # Errors in the file are raised when it is read.
    with suppress(ImageError), one_line(path):
        if is_tiff(path):
            plate, row, column = read_bounded(stated_well, path) or ("", -1, -1)
            well = well_name(f"{ROWS[row]}{column + 1}") if 0 <= row < len(ROWS) else ""
            return Place(shown_name(plate), well, _OF_XML, folder=os.path.dirname(whole_path(name)))
        if path.is_dir() or (is_url(name) and not is_of_file(name)):
            return _in_plate(name, of_folders)
    return Place()


def _told(folder: str, well: str, of_folders: dict[str, dict]) -> dict:
    """Return the OME metadata of a folder or URL around a `well` ("" if it has no well's name), read only once."""
    if folder not in of_folders:
        of_folders[folder] = told_above(folder, bool(well)) if is_url(folder) else told_in(folder)
    return of_folders[folder]


def _in_plate(name: str, of_folders: dict[str, dict]) -> Place:
    """Return the place of an image of an OME-Zarr plate, whose path ends in plate, row, column and field."""
    path = Path(whole_path(name))
    if len(path.parts) < 4:
        return Place()
    root = name.rsplit("/", 3)[0] if is_url(name) else str(path.parents[2])
    row, column, field = path.parts[-3:]
    own = f"{row}/{column}"
    well = well_name(row + column)
    plate = _told(root, well, of_folders).get("plate")
    if plate is None:
        return Place()
    at = wells_told(name, plate)
    if at and at.get(own) != own:
        finding = f"its plate describes {own} as {at[own]}" if own in at else f"{own} is not a well of its plate"
        raise DataError(name, finding, PLATE_REMEDY)
    stated = Place(shown_name(str(plate.get("name") or Path(root).stem)), well, _OF_ZARR, folder=root)
    # If the description of the well cannot be read, that of the plate is still used.
    with suppress(ImageError), one_line(name):
        named = {step["id"]: step.get("name") for step in plate.get("acquisitions", ())}
        # If a plate at a URL has one acquisition, the description of every well need not be fetched.
        told = {} if len(named) == 1 and is_url(root) else _told(f"{root}/{own}", well, of_folders).get("well", {})
        for image in told.get("images", ()):
            if str(image["path"]).strip("/") == field and (number := image.get("acquisition")) is not None:
                called, *others = [name for name in named.values() if name and name == named.get(number)] or [number]
                return replace(stated, folder=f"{root}{os.sep}{number if others else called}")
    return stated


def well_name(text: str) -> str:
    """Return the name of a well as in tables, "" if the text is no well.

    Examples
    --------
    >>> well_name("a1"), well_name("C012"), well_name("AB3"), well_name("AG9")
    ('A01', 'C12', 'AB03', '')
    """
    found = re.fullmatch(r"([A-Z]{1,2})-?0*([1-9]\d?)", text.strip().upper())
    return _named(*found.groups()) if found and found[1] in ROWS else ""


def _named(row: str, column: str) -> str:
    letters = ROWS[int(row) - 1] if row.isdecimal() and 0 < int(row) <= len(ROWS) else row
    return f"{letters}{int(column):02d}"

"""Which well of which plate an image is of, by the names that microscopes give their files."""

import os
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

_WELL = r"(?P<row>[A-P]|A[A-F])(?P<column>0?[1-9]|[1-3]\d|4[0-8])"
# Each stands for a maker's rule; the last only where a whole folder follows it.
_RULES = {
    "Opera, Operetta: r01c02f03": r"(?:(?P<plate>.+?)[_-])?r(?P<row>\d{2})c(?P<column>\d{2})f\d{2,}",
    "ImageXpress: A02_s3": rf"(?:(?P<plate>.+)_)?{_WELL}_s\d+(?:_|$)",
    "CellVoyager: A02_T0001F003": rf"(?:(?P<plate>.+)_)?{_WELL}_T\d{{4}}F\d{{3}}L",
    "Cellomics: A02f03d0": rf"(?:(?P<plate>.+)_)?{_WELL}f\d{{2,}}(?:d\d+)?(?:_|$)",
    "Incucyte: A2_3_2020y01m02d_03h04m": rf"(?:(?P<plate>.+)_)?{_WELL}_\d+_\d{{4}}y\d\dm\d\dd",
    "InCell: A - 2(fld 3": r"(?:(?P<plate>.+)_)?(?P<row>[A-P]) - (?P<column>\d{1,2})\(fld \d+",
    "well in the name: A02": r"(?:(?P<plate>.+?)[_-])?(?P<row>[A-P])(?P<column>0[1-9]|1\d|2[0-4])(?:[_. -]|$)",
}
_ROWS = [*"ABCDEFGHIJKLMNOP", *(f"A{letter}" for letter in "ABCDEFGHIJKLMNOP")]


@dataclass(frozen=True)
class Place:
    """Where an image was taken, "" where that is not known: plate, well as in "C02", and the rule that says so."""

    plate: str = ""
    well: str = ""
    rule: str = ""


def places_of(paths) -> list[Place]:
    """Return the place of each image file: by the first rule that all images of its folder follow.

    Examples
    --------
    >>> [place.well for place in places_of(["p/r03c02f01.tif", "p/r03c12f01.tif", "x_A01_s1.tif", "a.tif"])]
    ['C02', 'C12', '', '']
    """
    order = sorted(range(len(paths)), key=lambda k: os.path.dirname(paths[k]))
    places = [Place()] * len(paths)
    for folder, members in groupby(order, key=lambda k: os.path.dirname(paths[k])):
        members = list(members)
        stems = [Path(paths[k]).stem for k in members]
        for rule, pattern in _RULES.items():
            found = [re.match(pattern, stem) for stem in stems]
            if all(found):
                for k, match in zip(members, found, strict=True):
                    plate = match["plate"] or os.path.basename(folder)
                    places[k] = Place(plate, _named(match["row"], match["column"]), rule)
                break
    return places


def well_name(text: str) -> str:
    """Return a well as tables name it, "" for what is none.

    Examples
    --------
    >>> well_name("a1"), well_name("C012"), well_name("AB3"), well_name("Z9")
    ('A01', 'C12', 'AB03', '')
    """
    found = re.fullmatch(r"([A-P]|A[A-P])-?0*([1-9]\d?)", text.strip().upper())
    return _named(*found.groups()) if found else ""


def _named(row: str, column: str) -> str:
    letters = _ROWS[int(row) - 1] if row.isdigit() and 0 < int(row) <= len(_ROWS) else row
    return f"{letters}{int(column):02d}"

"""The edge of a pixel as a TIFF states it outside OME-XML: in what its maker wrote, in its resolution, or beside it."""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cellcycle.images.stacks import UM_PER_UNIT, um_of, usable_size

_METAMORPH = re.compile(r'<prop id="spatial-calibration-(x|y|units|state)"[^>]*? value="([^"]*)"')
_APERIO = re.compile(r"^Aperio [^\0]*?\|\s*MPP\s*=\s*([\d.]+)")
# A name that Opera and Operetta give, and what the index beside such images says of each: sides, and edges in m.
_OF_HARMONY = re.compile(r"r\d\dc\d\df\d{2,4}p\d{2,3}-ch\d+", re.IGNORECASE)
_INDICES = ("Index.xml", "Index.idx.xml", "Index.ref.xml")
_OF_INDEX = re.compile(rb"<Image(SizeX|SizeY|ResolutionX|ResolutionY)\b[^>]*>([^<]*)<")
_MOST_INDEX_BYTES = 30_000_000
Sizes = tuple[float | None, float | None]


def stated_um(tiff, page, unit: str) -> Sizes:
    """Return the edges of a pixel in x and y, in um, None where nothing is stated; `unit` is what ImageJ says."""
    for *edges, name in _of_makers(tiff, page):
        found = [um_of(edge, name.strip("\0 ").lower()) or 0 for edge in edges]
        if all(edge > 0 for edge in found):
            return tuple(found)
    sizes = _resolution_um(page, unit)
    return sizes if any(sizes) else _of_index(Path(tiff.filehandle.path), page.shape)


def _of_makers(tiff, page) -> Iterator[tuple]:
    """Yield the edges of a pixel in x and y and their unit, as makers have them in tags and texts of their own."""
    tag = page.tags.get("MicroManagerMetadata")
    if tag is not None and isinstance(tag.value, dict):
        yield *[tag.value.get("PixelSizeUm")] * 2, "um"
    told = dict(_METAMORPH.findall(page.description))
    if told.get("state", "on") == "on":
        yield told.get("x"), told.get("y", told.get("x")), told.get("units", "")
    if found := _APERIO.match(page.description):
        yield found[1], found[1], "um"
    stk, lsm, sis = tiff.stk_metadata or {}, tiff.lsm_metadata or {}, tiff.sis_metadata or {}
    if stk.get("SpatialCalibration", 1):
        yield stk.get("XCalibration"), stk.get("YCalibration"), str(stk.get("CalibrationUnits", ""))
    yield lsm.get("VoxelSizeX"), lsm.get("VoxelSizeY"), "m"
    yield sis.get("pixelsizex"), sis.get("pixelsizey"), "m"
    axes = {axis[0].upper(): axis for axis in (tiff.fluoview_metadata or {}).get("Dimensions", ())}
    if {"X", "Y"} <= axes.keys():
        yield axes["X"][3], axes["Y"][3], axes["X"][4]


def _number(said) -> float:
    """Return what a maker states as a number, 0 for what is none."""
    try:
        return float(said)
    except (TypeError, ValueError):
        return 0.0


def _resolution_um(page, unit: str) -> Sizes:
    """Return the pixel sizes of the resolution tags; None where they are missing, or meant for printing."""
    # Some write what they divide by.
    unit = re.sub(r" ?(?:/|per) ?(?:px|pixels?)$", "", unit)
    um_per_unit = UM_PER_UNIT.get(unit) or {2: 25_400.0, 3: 1e4}.get(int(page.resolutionunit))
    sizes = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        pixels, units = (0, 0) if tag is None else tag.value
        sizes.append(um_per_unit * units / pixels if pixels and units and um_per_unit else None)
    if unit not in UM_PER_UNIT and usable_size(sizes[0])[0] is None:
        return None, None
    return tuple(sizes)


def _of_index(path: Path, shape: tuple[int, ...]) -> Sizes:
    """Return what the index of Harmony beside an image says, where it is the same for all images and fits this one."""
    # A folder of so many files is not searched for each of them.
    for file in (path.parent / name for name in _INDICES) if _OF_HARMONY.match(path.name) else ():
        said = _said_in(file, file.stat().st_mtime_ns) if file.is_file() else {}
        if all(len(said.get(name, ())) == 1 for name in ("SizeX", "SizeY", "ResolutionX", "ResolutionY")):
            height, width, *edges = (max(said[name]) for name in ("SizeY", "SizeX", "ResolutionX", "ResolutionY"))
            if (height, width) == shape[:2] and min(edges) > 0:
                return edges[0] * UM_PER_UNIT["m"], edges[1] * UM_PER_UNIT["m"]
    return None, None


# One index is beside thousands of images.
@lru_cache(maxsize=8)
def _said_in(file: Path, _changed: int) -> dict[str, set[float]]:
    """Return all numbers that an index states, by their names."""
    said: dict[str, set[float]] = {}
    is_small = file.stat().st_size <= _MOST_INDEX_BYTES
    for name, number in _OF_INDEX.findall(file.read_bytes()) if is_small else ():
        said.setdefault(name.decode(), set()).add(_number(number))
    return said

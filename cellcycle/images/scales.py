"""Read the pixel size of a TIFF without OME-XML: from makers' metadata, resolution tags, or an index file beside it."""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cellcycle.images.stacks import UM_PER_UNIT, um_of, usable_size

_METAMORPH = re.compile(r'<prop id="spatial-calibration-(x|y|units|state)"[^>]*? value="([^"]*)"')
_APERIO = re.compile(r"^Aperio [^\0]*?\|\s*MPP\s*=\s*([\d.]+)")
# File names of Opera and Operetta, and the entries in the index beside such images: sides in pixels, pixel sizes in m.
_OF_HARMONY = re.compile(r"r\d\dc\d\df\d{2,4}p\d{2,3}-ch\d+", re.IGNORECASE)
_INDICES = ("Index.xml", "Index.idx.xml", "Index.ref.xml")
_OF_INDEX = re.compile(rb"<Image(SizeX|SizeY|ResolutionX|ResolutionY)\b[^>]*>([^<]*)<")
_MOST_INDEX_BYTES = 30_000_000
Sizes = tuple[float | None, float | None]


def stated_um(tiff, page, unit: str) -> Sizes:
    """Return the pixel size (x, y) in um, None where nothing is stated; `unit` is that of ImageJ's metadata."""
    for *edges, name in _of_makers(tiff, page):
        found = [um_of(edge, name.strip("\0 ").lower()) or 0 for edge in edges]
        if all(edge > 0 for edge in found):
            return tuple(found)
    sizes = _resolution_um(page, unit)
    return sizes if any(sizes) else _of_index(Path(tiff.filehandle.path), page.shape)


def _of_makers(tiff, page) -> Iterator[tuple]:
    """Yield the pixel size in x and y and its unit from each maker's own tags and texts."""
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
    """Return a stated value as a number, 0 if it is none."""
    try:
        return float(said)
    except (TypeError, ValueError):
        return 0.0


def _resolution_um(page, unit: str) -> Sizes:
    """Return the pixel sizes from the resolution tags; None if they are missing, or meant for printing."""
    # Some programs write the unit as "um/pixel".
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
    """Return the pixel size in Harmony's index beside an image, if it is the same for all images and fits this one."""
    # Only fixed names are tried: searching the folder for each of its many files would take long.
    for file in (path.parent / name for name in _INDICES) if _OF_HARMONY.match(path.name) else ():
        said = _said_in(file, file.stat().st_mtime_ns) if file.is_file() else {}
        if all(len(said.get(name, ())) == 1 for name in ("SizeX", "SizeY", "ResolutionX", "ResolutionY")):
            height, width, *edges = (max(said[name]) for name in ("SizeY", "SizeX", "ResolutionX", "ResolutionY"))
            if (height, width) == shape[:2] and min(edges) > 0:
                return edges[0] * UM_PER_UNIT["m"], edges[1] * UM_PER_UNIT["m"]
    return None, None


# Cached, as thousands of images share one index.
@lru_cache(maxsize=8)
def _said_in(file: Path, _changed: int) -> dict[str, set[float]]:
    """Return all values that an index states for each entry."""
    said: dict[str, set[float]] = {}
    is_small = file.stat().st_size <= _MOST_INDEX_BYTES
    for name, number in _OF_INDEX.findall(file.read_bytes()) if is_small else ():
        said.setdefault(name.decode(), set()).add(_number(number))
    return said

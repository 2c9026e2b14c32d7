"""Read the OME-XML of a TIFF file; for a file of a set, reduce it to the planes in this file.

Each file of a set has the header of all of them, or names the companion file that has it. It is cut here to the images,
channels, z planes and time points that this file holds, as if it had been written for this file alone.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np

from cellcycle.errors import ImageError
from cellcycle.images.descriptions import MOST_BYTES, check_description
from cellcycle.images.stacks import STACK, um_of

Place = tuple[int, int, int]


@dataclass(frozen=True)
class Header:
    """The OME-XML of one file; `is_cut` if it is a file of a set and `root` was reduced to its planes.

    `whole` is the XML of the set; `images` are the IDs of those in this file. `elsewhere` maps channels of the same
    field to the other files that hold them, and `note` says what is missing, as in a `Stack`.
    """

    root: ElementTree.Element
    whole: ElementTree.Element
    images: frozenset[str]
    n_pages: int
    is_cut: bool = False
    elsewhere: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def described(self, index: int, shape: tuple[int, int]) -> tuple[list[str], tuple, str]:
        """Return channel names, pixel sizes (x, y, z) in um and a note, as stated for one of the images in this file.

        Names are empty and sizes None where nothing is stated. If the stated shape is not `shape` (H, W), the image was
        resized since: then x and y are None, and the note says so.
        """
        images = self.root.findall("{*}Image/{*}Pixels")
        here = [pixels for pixels in images
                if any(int(data.get("IFD", 0)) < self.n_pages for data in pixels.findall("{*}TiffData"))]  # fmt: skip
        # A header need not state where the planes are.
        images = here or images
        if index >= len(images):
            return [], (None, None, None), ""
        pixels = images[index]
        names = [channel.get("Name", "") for channel in pixels.findall("{*}Channel")]
        sizes = (f"PhysicalSize{axis}" for axis in "XYZ")
        x_um, y_um, z_um = (um_of(pixels.get(size), pixels.get(f"{size}Unit", "\u00b5m")) for size in sizes)
        stated = tuple(int(pixels.get(f"Size{axis}", size)) for axis, size in zip("YX", shape, strict=True))
        if stated != shape:
            header, own = (f"{height} x {width}" for height, width in (stated, shape))
            note = f"its header says {header} pixels, but it has {own}: its scale counts as unknown"
            return names, (None, None, z_um), note
        return names, (x_um, y_um, z_um), ""

    def well(self) -> tuple[str, int, int] | None:
        """Return the stated plate, row and column (from 0) of the images; None if none or several wells are stated."""
        found = [
            (plate.get("Name") or plate.get("ID", ""), int(well.get("Row")), int(well.get("Column")))
            for plate in self.whole.findall("{*}Plate")
            for well in plate.findall("{*}Well")
            if not self.images.isdisjoint(ref.get("ID") for ref in well.findall("{*}WellSample/{*}ImageRef"))
        ]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class _Run:
    """Consecutive planes in one file of a set; `uuid` is "" if they are in the file with this header."""

    pixels: ElementTree.Element
    data: ElementTree.Element
    uuid: str
    file: str

    def planes(self, n_pages: int) -> dict[Place, int]:
        """Return the page of each plane, by (channel, z, time); a run without a count or page has `n_pages` planes."""
        order = self.pixels.get("DimensionOrder", "XYZCT")[2:]
        sizes = [_size(self.pixels, axis) for axis in order]
        first = [int(self.data.get(f"First{axis}", 0)) for axis in order]
        if any(at >= size for at, size in zip(first, sizes, strict=True)):
            return {}
        start, page = int(np.ravel_multi_index(first, sizes, order="F")), int(self.data.get("IFD", 0))
        n = int(self.data.get("PlaneCount", self.data.get("NumPlanes", 1 if "IFD" in self.data.attrib else n_pages)))
        found = np.unravel_index(np.arange(start, min(start + n, prod(sizes))), sizes, order="F")
        c, z, t = (found[order.index(axis)].tolist() for axis in "CZT")
        return {at: page + k for k, at in enumerate(zip(c, z, t, strict=True))}


def read_header(path: Path, tiff) -> Header:
    """Return the OME-XML of an opened OME-TIFF; refuse a file of a set if it is not known which of them it is."""
    root = ElementTree.fromstring(tiff.ome_metadata)
    if (binary := root.find("{*}BinaryOnly")) is not None:
        # Only a companion in the same folder is opened: an untrusted file may name any path.
        companion = path.parent / (_base(binary.get("MetadataFile", "")) or path.name)
        lacking = "there" if not companion.is_file() else "read" if companion.suffix.lower() != ".ome" else ""
        if lacking:
            note = f"its channels and pixel size are unknown: {companion.name}, which states them, is not {lacking}"
            return Header(root, root, frozenset(), len(tiff.pages), note=note)
        with open(companion, "rb") as file:
            text = file.read(MOST_BYTES + 1)
        check_description(companion, text)
        own, root = root.get("UUID", ""), ElementTree.fromstring(text)
        root.set("UUID", own)
    runs = list(_runs(root))
    own = root.get("UUID", "").strip().lower()
    if not runs or (binary is None and {run.uuid for run in runs} <= {"", own}):
        images = frozenset(image.get("ID") for image in root.findall("{*}Image"))
        return Header(root, root, images, len(tiff.pages))
    uuids = {"", own}
    if not any(run.uuid in uuids for run in runs):
        # Not every writer states the UUID of this file; then its name may identify it.
        uuids = {run.uuid for run in runs if run.file.lower() == path.name.lower()}
    return _cut(root, runs, uuids, len(tiff.pages)) if uuids else _common(path, root, runs, len(tiff.pages))


def _runs(root) -> Iterator[_Run]:
    for pixels in root.findall("{*}Image/{*}Pixels"):
        for data in pixels.findall("{*}TiffData"):
            uuid = data.find("{*}UUID")
            said, file = ("", "") if uuid is None else (uuid.text or "", uuid.get("FileName", ""))
            yield _Run(pixels, data, said.strip().lower(), _base(file))


def _cut(root, runs: list[_Run], uuids: set[str], n_pages: int) -> Header:
    """Return the header with only the planes in the file of these UUIDs, with all indices counted from 0."""
    mine, others = defaultdict(dict), []
    for run in runs:
        if run.uuid in uuids:
            mine[run.pixels] |= run.planes(n_pages)
        else:
            others.append(run)
    cut = ElementTree.Element("OME")
    for pixels, planes in mine.items():
        ElementTree.SubElement(cut, "Image").append(_cut_pixels(pixels, planes))
    images = frozenset(image.get("ID") for image in root.findall("{*}Image") if image.find("{*}Pixels") in mine)
    elsewhere: dict[str, str] = {}
    pixels, planes = next(iter(mine.items()), (None, {}))
    channels, z_planes, times = (set(part) for part in zip(*planes, strict=True)) if planes else ((), (), ())
    for run in others:
        for c, z, t in run.planes(1) if run.pixels is pixels else ():
            file = run.file or "another file of its set"
            if c not in channels:
                elsewhere.setdefault(_channel_name(pixels, c) or f"number {c}", file)
            elif t in times and z not in z_planes:
                elsewhere.setdefault(STACK, file)
    return Header(cut, root, images, n_pages, True, elsewhere)


def _cut_pixels(pixels, planes: dict[Place, int]) -> ElementTree.Element:
    """Return the `Pixels` element with only these planes, each with its page."""
    kept = [sorted(set(along)) for along in zip(*planes, strict=True)] or [[], [], []]
    at = [{place: k for k, place in enumerate(along)} for along in kept]
    cut = ElementTree.Element("Pixels", {name: value for name, value in pixels.attrib.items() if name != "ID"})
    for axis, along in zip("CZT", kept, strict=True):
        cut.set(f"Size{axis}", str(len(along) * (_samples(pixels) if axis == "C" else 1)))
    for c in kept[0]:
        samples = {"Name": _channel_name(pixels, c), "SamplesPerPixel": str(_samples(pixels))}
        ElementTree.SubElement(cut, "Channel", samples)
    for place, page in planes.items():
        first = {f"First{axis}": str(at[k][place[k]]) for k, axis in enumerate("CZT")}
        ElementTree.SubElement(cut, "TiffData", {"IFD": str(page), "PlaneCount": "1", **first})
    return cut


def _common(path: Path, root, runs: list[_Run], n_pages: int) -> Header:
    """Return the header of a file that may be any of its set; refuse it if the files have different descriptions."""
    # The first in the order of the header stands for all.
    cuts = [_cut(root, runs, {uuid}, n_pages) for uuid in dict.fromkeys(run.uuid for run in runs)]
    if len({ElementTree.tostring(cut.root) for cut in cuts}) > 1:
        some = f"{len(cuts)} files of a set ({runs[0].file or 'unnamed'} and others)"
        finding = f"it is one of {some}, but nothing says which one"
        raise ImageError(path, finding, "give it its original name again, or export it alone")
    return cuts[0] if len(cuts) == 1 else replace(cuts[0], images=frozenset(), elsewhere={})


def _base(file: str) -> str:
    return re.split(r"[/\\]", file)[-1]


def _size(pixels, axis: str) -> int:
    size = int(pixels.get(f"Size{axis}", 1))
    return max(1, size // _samples(pixels)) if axis == "C" else size


def _samples(pixels) -> int:
    channel = pixels.find("{*}Channel")
    return 1 if channel is None else int(channel.get("SamplesPerPixel", 1))


def _channel_name(pixels, index: int) -> str:
    channels = pixels.findall("{*}Channel")
    return channels[index].get("Name", "") if index < len(channels) else ""

"""Open TIFF, BigTIFF, ImageJ and OME-TIFF files page by page."""

import logging
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from cellcycle.errors import ImageError
from cellcycle.images.bounded import quiet
from cellcycle.images.channels import by_name, is_known, words
from cellcycle.images.naming import WELL
from cellcycle.images.ome import Header, read_header
from cellcycle.images.pages import is_shrunken
from cellcycle.images.scales import stated_um
from cellcycle.images.stacks import Stack, channel_names, pages_as_channels, refuse_oversize, um_of, usable_size

_ALPHA = (1, 2)
# Each level of a pyramid has at most half the side of the previous one; a larger image is separate (fraction of area).
_LIKE_AREA = 0.3
# A side of at most this many pixels, fewer than planes, shows that channels were saved as a side.
_MOST_SAMPLES = 4
_MOST_LETTERS, _MOST_LOOKED_AT = 80, 5
_ORIGIN = re.compile(rf"{WELL.pattern}|.+\.(?:tiff?|png|jpe?g|bmp)\b", re.IGNORECASE)
# Photometric tags: gray (0 is white or black), RGB, palette, and YCbCr of JPEG, which the decoder converts to RGB.
_READ = (0, 1, 2, 3, 6)


@contextmanager
def open_tiff(path: Path, as_numbers: bool = False) -> Iterator[Stack]:
    """Open a TIFF file of any kind as a `Stack`, whose planes can be loaded while the context is open."""
    with _opened(path) as tiff:
        header = read_header(path, tiff) if tiff.is_ome else None
        if header is None or not header.is_cut:
            yield _stack(path, tiff, header, as_numbers)
            return
    with _opened(path, ElementTree.tostring(header.root, "unicode")) as tiff:
        yield _stack(path, tiff, header, as_numbers)


@contextmanager
def _opened(path: Path, omexml: str | None = None):
    """Open a file with `tifffile` without its log of odd tags: an error of ours says what is wrong."""
    import tifffile

    logger = logging.getLogger("tifffile")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        # Files that this one names are not opened: an untrusted file may name any path.
        with tifffile.TiffFile(path, _multifile=False, omexml=omexml) as tiff:
            yield tiff
    finally:
        logger.setLevel(level)


def _stack(path: Path, tiff, header: Header | None, as_numbers: bool) -> Stack:
    index = _largest_series(path, tiff, as_numbers)
    series = tiff.series[index]
    planes = _Planes(tiff, series, as_numbers)
    sizes = planes.sizes
    refuse_oversize(path, sizes["Y"], sizes["X"], prod(series.shape) * series.dtype.itemsize, path.stat().st_size)
    colours = series.keyframe.photometric
    if colours not in _READ:
        name = getattr(colours, "name", colours)
        raise ImageError(path, f"its samples are colours of the kind {name}", "export it as gray or RGB")
    if "C" in sizes and "S" in sizes:
        raise ImageError(path, "several of its channels are colour pictures", "export the channels as gray")
    if (tiff.mdgel_metadata or {}).get("FileTag") == 2:
        raise ImageError(path, "its numbers are square roots, as scanners of gels write them", "export intensities")
    if min(sizes["Y"], sizes["X"]) <= _MOST_SAMPLES < planes.n:
        finding = f"its {planes.n} planes have {sizes['Y']} x {sizes['X']} pixels, as if saved as (H, W, channels)"
        raise ImageError(path, finding, "save it with its channels first, as (channels, H, W)")
    imagej = tiff.imagej_metadata or {}
    _check_planes(path, tiff, series, int(imagej.get("images", 1)), planes.n)
    if header and not header.is_cut and not planes.holds_first_time():
        held = sum(page is not None for page in series.pages)
        finding = f"its header announces {planes.n} planes, but it holds {held}: it was cut off, or is part of another"
        raise ImageError(path, finding, "export it again, with a header of its own")
    labels, shape = imagej.get("Labels") or [], (sizes["Y"], sizes["X"])
    said = header.described(index, shape) if header else _described(tiff, series, planes.n_channels)
    names, (x_um, y_um, z_um), stale = said
    pixel_size_um, note = usable_size(x_um, y_um)
    # Slices whose labels are different file names or wells were put together, so a stated spacing is not trusted.
    origins = {tuple(_ORIGIN.findall(str(label)[:_MOST_LETTERS])) for label in labels if planes.n_channels == 1}
    z_um = np.nan if z_um is None or (len(origins) > 1 and () not in origins) else z_um
    # ImageJ also calls pages slices that were put together; only a z-stack has a stated spacing.
    is_any = tiff.is_imagej and not imagej.get("spacing")
    is_labelled = all(axis in "TCZSYX" or size == 1 for axis, size in sizes.items()) and not is_any
    stack = Stack(
        str(path),
        planes.load,
        n_times=sizes.get("T", 1),
        n_z=prod(size for axis, size in sizes.items() if axis not in "TCSYX"),
        channel_names=channel_names(planes.n_channels, names, planes.is_colour),
        pixel_size_um=pixel_size_um,
        is_colour=planes.is_colour,
        is_labelled=is_labelled,
        z_um=z_um,
        elsewhere=header.elsewhere if header else {},
        note="; ".join(filter(None, (header.note if header else "", stale, note))),
        missing=planes.missing,
    )
    return _slices_as_channels(stack, labels)


def _described(tiff, series, n_channels: int) -> tuple[list[str], tuple, str]:
    """Return channel names, sizes and a note of an image without OME-XML, as `Header.described` does."""
    imagej = tiff.imagej_metadata or {}
    spacing, unit = imagej.get("spacing"), str(imagej.get("unit", "")).strip("\0 ").lower()
    labels = (imagej.get("Labels") or [])[:n_channels] if n_channels > 1 else []
    names = _qpi_names(series) if tiff.is_qpi else labels
    return names, (*stated_um(tiff, series.keyframe, unit), um_of(spacing, unit)), ""


def _check_planes(path: Path, tiff, series, announced: int, n: int) -> None:
    """Refuse a file with fewer or more pages than its header states: they cannot be assigned to planes."""
    if announced > n:
        finding = f"it announces {announced} planes, but holds {n}: it was cut off, or is part of another file"
        raise ImageError(path, finding, "export it again")
    if not tiff.is_ome:
        return
    held = {page.index for one in tiff.series for level in one.levels for page in level.pages if page is not None}
    rest = (tiff.pages.get(k) for k in range(len(tiff.pages)) if k not in held)
    if any(page.shape == series.keyframe.shape and not page.is_reduced for page in rest):
        finding = f"its header describes {n} planes, but it holds more of the same size"
        raise ImageError(path, finding, "export it again, with a header of its own")


def _slices_as_channels(stack: Stack, labels: list[str]) -> Stack:
    """Return ImageJ's slices as channels if all have labels and these name different stains, or some, not all, DNA."""
    names = tuple(" ".join(str(label).split())[:_MOST_LETTERS] for label in labels)
    is_each = stack.n_channels == stack.n_times == 1 < stack.n_z == len(names) and all(names)
    if not is_each or all(by_name([name]) for name in names):
        return stack
    others = {tuple(word for word in words(name) if is_known(word)) for name in names}
    is_other = len(others) > 1 and () not in others
    return pages_as_channels(stack, names) if is_other or by_name(names) else stack


def _largest_series(path: Path, tiff, as_numbers: bool) -> int:
    """Return the index of the series with most pixels per plane; much smaller ones are thumbnails or pyramid levels.

    A smaller series that is not marked as such must show the same: it may be another stain, binned by its camera.
    """
    axes = [dict(zip(series.axes, series.shape, strict=True)) for series in tiff.series]
    sizes = {index: (of.get("Y", 0), of.get("X", 0)) for index, of in enumerate(axes)}
    if not sizes:
        raise ImageError(path, "it holds no image", "export the image again")
    full = {index: size for index, size in sizes.items() if not tiff.series[index].keyframe.is_reduced} or sizes
    largest = max(full, key=lambda index: prod(full[index]))
    like = [size for size in full.values() if prod(size) >= _LIKE_AREA * prod(full[largest])]
    if len(like) > 1:
        what = " and ".join(f"{height} x {width}" for height, width in dict.fromkeys(like[:3]))
        finding = f"it holds {len(like)} separate images, of {what} pixels"
        raise ImageError(path, finding, "export one file per field")
    smaller = [tiff.series[index] for index in full if index != largest] + list(tiff.series[largest].levels[1:])
    for series in () if as_numbers else smaller:
        if not _is_level(series.keyframe, tiff.series[largest]):
            finding = "it holds images of {} x {} and {} x {} pixels that show different things"
            finding = finding.format(*full[largest], *series.keyframe.shape)
            raise ImageError(path, finding, "export one file per image")
    return largest


def _is_level(small, large) -> bool:
    """Return whether a page shows what the pages of a series show; true if it is marked as reduced or not gray."""
    is_marked = small.is_reduced or isinstance(small.index, tuple)
    if is_marked or {small.axes, large.keyframe.axes} != {"YX"}:
        return True
    if any(a > b for a, b in zip(small.shape, large.keyframe.shape, strict=True)):
        return False
    pages = [page for page in large.pages if page is not None]
    with quiet():
        looked_at = pages[:: -(-len(pages) // _MOST_LOOKED_AT)]
        shown = small.asarray()
        if _is_white_0(small) != _is_white_0(large.keyframe):
            # In one of the two, 0 is white: it is the inverse of the other.
            shown = shown.max() - shown
        return is_shrunken(shown, (page.asarray() for page in looked_at))


def _is_white_0(page) -> bool:
    """Return whether a page states that 0 is white; `tifffile` also reports this if nothing is stated."""
    return page.photometric == 0 and "PhotometricInterpretation" in page.tags


class _Planes:
    """Load single planes of a series; memory holds one page at a time where the file allows it."""

    def __init__(self, tiff, series, as_numbers: bool):
        self.series, self.page, self.path = series, series.keyframe, tiff.filehandle.path
        # `tifffile` calls all unlabelled axes Q, as of an array (5, 2, H, W); each gets a name of its own.
        self.axes = "".join(chr(ord("a") + k) if axis == "Q" else axis for k, axis in enumerate(series.axes))
        self.leading = [axis for axis in self.axes if axis not in self.page.axes]
        self.inner = [axis for axis in self.axes if axis in self.page.axes]
        self.sizes = dict(zip(self.axes, series.shape, strict=True))
        # In ImageJ, "0 is white" concerns the display only.
        self.is_white_0 = _is_white_0(self.page) and not (as_numbers or tiff.is_imagej)
        # ImageJ and OME use a palette for the display colour; the stored numbers are the intensities.
        has_palette = self.page.photometric == 3 and self.page.colormap is not None
        self.palette = self.page.colormap if has_palette and not (as_numbers or tiff.is_imagej or tiff.is_ome) else None
        n_alpha = sum(int(extra) in _ALPHA for extra in self.page.extrasamples)
        n_samples = self.sizes.get("S", 1) - n_alpha
        self.n_channels = 3 if self.palette is not None else self.sizes.get("C", 1) * n_samples
        has_colours = self.palette is not None or self.page.photometric in (2, 6)
        self.is_colour = self.n_channels == 3 and has_colours
        self.n = prod(self.sizes[axis] for axis in self.leading)
        self.is_paged = self.n == len(series.pages) and self.axes.startswith("".join(self.leading))
        self.cache: dict[int, np.ndarray] = {}

    def holds_first_time(self) -> bool:
        """Return whether all planes of the first time point are stored: a stopped acquisition lacks only later ones."""
        pages = np.array([page is not None for page in self.series.pages])
        if not self.is_paged or "T" not in self.leading:
            return bool(pages.all())
        pages = pages.reshape([self.sizes[axis] for axis in self.leading])
        return bool(pages.take(0, self.leading.index("T")).all())

    def load(self, t: int, c: int, z: int) -> np.ndarray:
        """Return the plane (H, W) of a time point, channel and z position."""
        position = self._position(t, c, z)
        pixels, axes = self._block(position)
        pixels = pixels[tuple(slice(None) if axis in "YX" else position[axis] for axis in axes)]
        pixels = pixels if axes.index("Y") < axes.index("X") else pixels.T
        return self._upright(pixels) if self.palette is None else self.palette[c][pixels]

    def missing(self, t: int, c: int, z_planes: Iterable[int]) -> str:
        """Return a note on tiles or strips that are not stored, as a stopped writer leaves them; "" if all are."""
        if not self.is_paged:
            return ""
        pages = {self._number(self._position(t, c, z)) for z in z_planes}
        sizes = [n for k in pages if self.series.pages[k] is not None for n in self.series.pages[k].databytecounts]
        n_missing, what = sizes.count(0), "tiles" if self.page.is_tiled else "strips"
        said = f"{n_missing} of {len(sizes)} {what} of what is read are not stored: they are read as 0"
        return said if n_missing else ""

    def _position(self, t: int, c: int, z: int) -> dict[str, int]:
        """Return the index of a plane along each axis of the file except Y and X."""
        z_axes = [axis for axis in self.axes if axis not in "TCSYX"]
        at = np.unravel_index(z, [self.sizes[axis] for axis in z_axes]) if z_axes else ()
        return {"T": t, "C": c, "S": c} | dict(zip(z_axes, at, strict=True))

    def _number(self, position: dict[str, int]) -> int:
        at, sizes = ([of[axis] for axis in self.leading] for of in (position, self.sizes))
        return int(np.ravel_multi_index(at, sizes)) if at else 0

    def _block(self, position: dict[str, int]) -> tuple[np.ndarray, Sequence[str]]:
        """Return the page at a position, or the whole series if its pages are not planes, and its axes."""
        if not self.is_paged:
            # A contiguous series without one page per plane is memory-mapped, not copied; for others tifffile would
            # create a temporary file.
            is_mapped = self.leading and self.series.dataoffset is not None
            with quiet():
                return self.series.asarray(out="memmap" if is_mapped else None), self.axes
        index = self._number(position)
        page = self.series.pages[index]
        if page is None:
            finding = "it lacks the plane asked for: recording stopped before, or another file of its set has it"
            raise ImageError(self.path, finding, "give the file that holds it, or export the set as one file")
        if index not in self.cache:
            with quiet():
                self.cache = {index: page.asarray()}
        return self.cache[index], self.inner

    def _upright(self, pixels: np.ndarray) -> np.ndarray:
        """Return intensities: pixels stored as "0 is white" are inverted."""
        if not self.is_white_0:
            return pixels
        if pixels.dtype.kind == "f":
            finding = "its numbers are fractions with 0 marked as white, which programs read in two ways"
            raise ImageError(self.path, finding, 'export it with "0 is black", or as 16 bits')
        if pixels.dtype.kind in "bi":
            return ~pixels
        bits = min(int(np.max(self.page.bitspersample)), 8 * pixels.itemsize)
        return np.array(2**bits - 1, pixels.dtype) - pixels


def _qpi_names(series) -> list[str]:
    """Return the channel names that PerkinElmer and Akoya write into the description of each page."""
    told = [page.description for page in series.pages]
    try:
        # XML entities are not parsed: they could expand without limit.
        roots = [ElementTree.fromstring("<none/>" if "<!" in text else text) for text in told]
    except ElementTree.ParseError:
        return []
    return [root.findtext("Biomarker") or root.findtext("Name") or "" for root in roots]


def stated_well(path: Path) -> tuple[str, int, int] | None:
    """Return the plate, row and column (from 0) that the OME-XML of a file states for its image, None if none."""
    with _opened(path) as tiff:
        return read_header(path, tiff).well() if tiff.is_ome else None

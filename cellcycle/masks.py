"""Read and check a user's masks, and write masks.

A mask is a label image: 0 is background; every other number is one nucleus and becomes its `nucleus_id`.
"""

import os
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects
from skimage.measure import label as label_parts

from cellcycle.arrays import whole_numbers
from cellcycle.errors import ImageError
from cellcycle.images import read_numbers, write_image
from cellcycle.images.writing import has_mark, mark_of, refuse_unmarked
from cellcycle.segmentation.fields import MOST_NUCLEI
from cellcycle.segmentation.regions import without_holes

BLACK_AND_WHITE = "black and white: each connected part counts as one nucleus, also where nuclei touch"
INVERTED = "black nuclei on white: it is inverted, and each connected part counts as one nucleus"
MASK_SUFFIX = "_mask.tif"
# Mark in every mask written by this package.
_MARK = "cellcycle mask"
# Most connected parts per number, as anaphases have two, and most of the area outside the largest parts. If both are
# exceeded, the mask has classes, is blurred, or has 8 bits for more than 255 nuclei.
_MOST_PARTS, _MOST_APART = 1.5, 0.05
# Parts with at least this fraction of the area of the largest part must lie within this many diameters of the nucleus.
_LIKE_SHARE, _MOST_DIAMETERS = 0.25, 4
# Filling holes enlarges a nucleus by less than this factor: median of the largest nuclei, at most 50.
_HOLLOW, _N_FILLED = 1.4, 50
# Chance that a pixel of a nucleus is brighter than one of the background: 0.95 to 1 on 100 real fields with their own
# masks, below 0.7 on 97 of 100 with the mask of another field.
_LEAST_BRIGHTER, _N_COMPARED = 0.7, 4_000
_KEEP = "give it 0 for background and one whole number per nucleus, as 16-bit TIFF or PNG"


def read_mask(mask, pixels: np.ndarray, is_one: bool = False) -> tuple[np.ndarray, str]:
    """Return a mask, a path or array (H, W), as a label image (H, W) int32, and a remark on how it was interpreted.

    `pixels` (H, W) are those of its image; an `ImageError` says why the mask cannot be a label image of it. `is_one`:
    the image is a crop of one nucleus, so a single number is one nucleus even in several parts.
    """
    is_file = isinstance(mask, str | Path)
    name = str(mask) if is_file else "mask"
    if is_file and _is_jpeg(mask):
        raise ImageError(name, "JPEG changes the numbers of a mask", _KEEP)
    numbers = read_numbers(mask) if is_file else np.asarray(mask)
    if numbers.shape != pixels.shape:
        sizes = " and the image ".join(" x ".join(map(str, shape)) for shape in (numbers.shape, pixels.shape))
        raise ImageError(name, f"it is {sizes} pixels (height x width)", "save it at the size of the image, uncut")
    labels = whole_numbers(numbers, name, _KEEP)
    counts = np.bincount(labels.ravel())
    n_numbers = np.count_nonzero(counts[1:])
    if not n_numbers:
        return labels, "empty"
    labels, remark = _labelled(name, labels, counts, n_numbers, is_one, pixels)
    _refuse_hollow(name, labels)
    _refuse_dark(name, labels, pixels)
    return labels, remark


def _is_jpeg(path) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(2) == b"\xff\xd8"


def _labelled(name: str, labels: np.ndarray, counts: np.ndarray, n_numbers: int, is_one: bool, pixels: np.ndarray):
    """Return labels with one number per nucleus, and a remark if they were computed from a black-and-white mask."""
    is_inverted = False
    at_corners, times = np.unique(labels[[0, 0, -1, -1], [0, -1, 0, -1]], return_counts=True)
    if times.max() >= 3 and at_corners[times.argmax()] and (counts[0] or not is_one):
        background = at_corners[times.argmax()]
        if n_numbers > 1 or not counts[0]:
            finding = f"its corners have the number {background}, but background must be 0"
            raise ImageError(name, finding, _KEEP)
        # Nuclei may touch the corners, so brightness decides which of the two are the nuclei.
        is_inverted = _brighter(labels > 0, pixels) < 0.5
        labels = (labels == 0).astype(np.int32) if is_inverted else labels
    if not counts[0] and not is_one:
        raise ImageError(name, "it has no background: each of its pixels has the number of a nucleus", _KEEP)
    parts = label_parts(labels, connectivity=1)
    areas = np.bincount(parts.ravel())
    if len(areas) - 1 > MOST_NUCLEI:
        raise ImageError(name, f"it shows more than {MOST_NUCLEI:,} objects", "cut it into smaller fields")
    if is_inverted:
        return parts.astype(np.int32), INVERTED
    if n_numbers == 1:
        is_several = len(areas) > 2 and not is_one
        is_white = counts[1:].argmax() + 1 in (255, 65535)
        return (parts.astype(np.int32), BLACK_AND_WHITE) if is_several or is_white else (labels, "")
    _refuse_apart(name, labels, parts, areas, n_numbers)
    return labels, ""


def _refuse_apart(name: str, labels: np.ndarray, parts: np.ndarray, areas: np.ndarray, n_numbers: int) -> None:
    """Refuse labels in which one number is used for several nuclei."""
    number_of = np.zeros(len(areas), np.int64)
    number_of[parts.ravel()] = labels.ravel()
    areas[0], largest = 0, np.zeros(labels.max() + 1, np.int64)
    np.maximum.at(largest, number_of, areas)
    apart = 1 - largest.sum() / areas.sum()
    if len(areas) - 1 > _MOST_PARTS * n_numbers + 2 and apart > _MOST_APART:
        finding = f"its {n_numbers} numbers mark {len(areas) - 1} separate objects"
        raise ImageError(name, f"{finding}: classes, a blurred mask, or 8 bits for over 255 nuclei?", _KEEP)
    is_like = areas >= _LIKE_SHARE * largest[number_of]
    of_parts = np.flatnonzero(np.bincount(number_of[is_like & (areas > 0)], minlength=len(largest)) > 1)
    boxes = find_objects(np.where(np.isin(labels, of_parts) & is_like[parts], labels, 0)) if len(of_parts) else []
    for number in of_parts:
        length = max(side.stop - side.start for side in boxes[number - 1])
        if length > _MOST_DIAMETERS * np.sqrt(4 / np.pi * areas[is_like & (number_of == number)].sum()):
            raise ImageError(name, f"its number {number} marks objects far from each other", _KEEP)


def _refuse_hollow(name: str, labels: np.ndarray) -> None:
    """Refuse a mask that shows outlines instead of areas."""
    areas = np.bincount(labels.ravel())[1:]
    largest = np.argsort(areas)[-_N_FILLED:]
    boxes = find_objects(labels)
    ratios = [without_holes(labels[boxes[k]] == k + 1).sum() / areas[k] for k in largest if areas[k]]
    if np.median(ratios) > _HOLLOW:
        raise ImageError(name, "it shows outlines, not areas", "fill them (in ImageJ: Process > Binary > Fill Holes)")


def _refuse_dark(name: str, labels: np.ndarray, pixels: np.ndarray) -> None:
    """Refuse a mask whose nuclei are hardly brighter than the rest of the image: it may belong to another image."""
    is_nucleus = labels > 0
    if not is_nucleus.all() and _brighter(is_nucleus, pixels) < _LEAST_BRIGHTER:
        finding = "what it outlines is hardly brighter than the rest of the image"
        raise ImageError(name, finding, "check that it belongs to this image, and that the image shows DNA")


def _brighter(is_nucleus: np.ndarray, pixels: np.ndarray) -> float:
    """Return the probability that a pixel of a nucleus is brighter than one of the background; ties count half."""
    luck = np.random.default_rng(0)
    inside, outside = (luck.choice(pixels[where], _N_COMPARED) for where in (is_nucleus, ~is_nucleus))
    ranks = sum(np.searchsorted(np.sort(outside), inside, side) for side in ("left", "right"))
    return ranks.mean() / (2 * _N_COMPARED)


def write_mask(path: Path, labels: np.ndarray, ids, pixel_size_um: float | None, origin: str = "") -> None:
    """Write a label TIFF with 0 and the `ids`, marked with its image's path (`origin`); replace only an older mask."""
    refuse_unmarked(path, _MARK, "mask of an earlier run", "name another folder")
    shown = nuclei_alone(labels, ids)
    kind = np.uint16 if shown.max(initial=0) < 2**16 else np.uint32
    write_image(path, shown.astype(kind), pixel_size_um, mark=mark_of(_MARK, origin))


def nuclei_alone(labels: np.ndarray, ids) -> np.ndarray:
    """Return labels (H, W) with 0 for all numbers not in `ids`, such as neighbours in a crop."""
    return np.where(np.isin(labels, np.asarray(ids, dtype=int)), labels, 0)


def is_mask(path) -> bool:
    """Return whether a file is called `..._mask.tif` and was written by `write_mask`, so that it is no image."""
    return str(path).endswith(MASK_SUFFIX) and has_mark(path, _MARK)

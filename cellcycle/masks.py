"""A user's own masks: which file belongs to which image, and its numbers, judged before they are taken for nuclei.

A mask is a label image: 0 is background, and every other number one nucleus, whose `nucleus_id` it becomes.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cellcycle.errors import ImageError, SettingError
from cellcycle.images import list_images, read_numbers, write_image
from cellcycle.images.writing import has_mark
from cellcycle.names import plain_name
from cellcycle.segmentation.fields import MOST_NUCLEI

BLACK_AND_WHITE = "black and white: its connected parts are taken for the nuclei, those that touch for one"
INVERTED = "black nuclei on white: it is taken inverted, its connected parts for the nuclei"
# Stands in every mask that was written here.
_MARK = "cellcycle mask"
MASK_SUFFIX = "_mask.tif"
# Ends of the names that Cellpose, StarDist, CellProfiler, QuPath and others give to masks.
_WORD = re.compile(
    r"[-_. ]*(cp|masks?|labels?|labell?ed|labeled|nuclei|nucleus|objects|seg|segmented|segmentation|stardist|cellpose)$"
)
_PICKLE = "_seg.npy"
# Larger numbers are no count of nuclei: tables of all numbers up to the largest are made.
_MOST_NUMBER = 2**24
# Of a nucleus in several parts those of a like size count; halves of anaphases do not make so many more than numbers.
_PART_SHARE, _MOST_PARTS = 0.25, 1.5
_DEPTH = 6
_KEEP = "give it 0 for background and one whole number a nucleus, as 16-bit TIFF or PNG"


# --- which mask belongs to which image ---


def find_masks(images: Iterable, folder) -> list[Path | ImageError]:
    """Return the mask of each image: by its name, with a word like `_masks` or `-labels` or without, in a folder.

    Where images lie in several folders, masks lie in folders named so, or have the folder's name before theirs.

    Parameters
    ----------
    images : iterable of path or ImageError

    Returns
    -------
    list of Path or ImageError
        What is wrong where there is no mask, or none that is clear.

    Raises
    ------
    SettingError
        There is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SettingError("--use-masks", f"{folder} is no folder", "name the folder of the masks")
    there, images = _by_name(folder), list(images)
    found = [_mask_of(image, folder, there) for image in images]
    takers = defaultdict(list)
    for k, (_, mask) in enumerate(found):
        if not isinstance(mask, ImageError):
            takers[mask].append(k)
    masks = [mask for _, mask in found]
    for mask, rivals in takers.items():
        best = min(found[k][0] for k in rivals)
        first = [k for k in rivals if found[k][0] == best]
        for k in rivals:
            if k not in first:
                masks[k] = _missing(images[k], folder)
            elif len({os.path.abspath(images[i]) for i in first}) > 1:
                others = " and ".join(str(images[i]) for i in first[:2])
                masks[k] = ImageError(mask, f"it could belong to {others}", "put masks into folders named like theirs")
    return masks


def unused_masks(images: Iterable, masks: Iterable, folder) -> list[Path]:
    """Return the masks of a folder that belong to no image."""
    taken = {os.path.realpath(file) for file in [*images, *masks] if not isinstance(file, ImageError)}
    return [file for file in list_images(folder) if os.path.realpath(file) not in taken]


def _by_name(folder: Path) -> dict[tuple, list[tuple[int, Path]]]:
    """Return the files below a folder by their folder and the name of the image they could be of."""
    there = defaultdict(list)
    pickles = folder.rglob(f"*{_PICKLE}")
    for file in [*list_images(folder), *pickles]:
        place = tuple(part.casefold() for part in file.relative_to(folder).parts[:-1])
        name, n_words = file.stem.casefold(), 0
        while name:
            there[place, name].append((n_words, file))
            shorter = _WORD.sub("", name)
            if shorter == name:
                break
            # "cp" belongs to "masks": both are one word.
            name, n_words = shorter, n_words + (name.removeprefix(shorter).strip("-_. ") != "cp")
    return there


def _mask_of(image, folder: Path, there: dict) -> tuple[tuple, Path | ImageError]:
    """Return the mask of an image and how far its place and name are from the image's: the nearest are taken."""
    if isinstance(image, ImageError):
        return (), image
    path = Path(os.path.abspath(image))
    names = {path.stem.casefold(), path.name.casefold()}
    for depth in range(min(len(path.parts) - 1, _DEPTH), -1, -1):
        above = path.parts[len(path.parts) - 1 - depth : -1]
        joined = {plain_name("__".join([*above, name])).casefold() for name in (path.stem, path.name)}
        keys = {(tuple(part.casefold() for part in above), name) for name in names} | {((), name) for name in joined}
        candidates = {file: n for key in keys for n, file in there.get(key, ()) if _can_be(file, n, path)}
        if not candidates:
            continue
        least = max(min(candidates.values()), 1)
        nearest = sorted(file for file, n in candidates.items() if n <= least)
        readable = [file for file in nearest if not file.name.endswith(_PICKLE)]
        if not readable:
            remedy = "save the masks as PNG or TIFF in Cellpose (File menu), and give these"
            return (), ImageError(nearest[0], "this is a Python pickle, which can run code and is not read", remedy)
        if len(readable) > 1:
            finding = f"{readable[0]} and {readable[1]} could both be its mask"
            return (), ImageError(image, finding, "keep one of them in the folder of masks")
        return (-depth, least), readable[0]
    return (), _missing(image, folder)


def _can_be(file: Path, n_words: int, image: Path) -> bool:
    """Say whether a file can be the mask of an image: not by a plain name beside it, where images lie too."""
    return n_words > 0 or os.path.realpath(file.parent) != os.path.realpath(image.parent)


def _missing(image, folder: Path) -> ImageError:
    name = f"{Path(image).stem}_masks.tif"
    return ImageError(image, f"{folder} holds no mask of it", f"add {name}, or predict it without --use-masks")


# --- what a mask says ---


def read_mask(mask, pixels: np.ndarray, is_one: bool = False) -> tuple[np.ndarray, str]:
    """Return the label image (H, W) int32 that a mask is, and what had to be understood in it.

    Parameters
    ----------
    mask : path or array (H, W)
    pixels : ndarray (H, W)
        Of the image that it belongs to.
    is_one : bool, optional
        The image is a crop of one nucleus: a single number stays one nucleus, also in several parts.

    Raises
    ------
    ImageError
        It is no label image of this image.
    """
    is_file = isinstance(mask, str | Path)
    name = str(mask) if is_file else "mask"
    if is_file and _is_jpeg(mask):
        raise ImageError(name, "JPEG changes the numbers of a mask", _KEEP)
    numbers = read_numbers(mask) if is_file else np.asarray(mask)
    if numbers.shape != pixels.shape:
        sizes = " and the image ".join(" x ".join(map(str, shape)) for shape in (numbers.shape, pixels.shape))
        raise ImageError(name, f"it is {sizes} pixels (height x width)", "save it at the size of the image, uncut")
    labels = _whole_numbers(name, numbers)
    counts = np.bincount(labels.ravel())
    n_numbers = np.count_nonzero(counts[1:])
    if not n_numbers:
        return labels, ""
    labels, remark = _labelled(name, labels, counts, n_numbers, is_one)
    _refuse_dark(name, labels, pixels)
    return labels, remark


def _is_jpeg(path) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(2) == b"\xff\xd8"


def _whole_numbers(name: str, numbers: np.ndarray) -> np.ndarray:
    """Return numbers as int32, where they can be numbers of nuclei."""
    if numbers.dtype.kind not in "buif":
        raise ImageError(name, f"its pixels are of type {numbers.dtype}", _KEEP)
    if numbers.dtype.kind == "f" and not (np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()):
        raise ImageError(name, "it has fractions, as probabilities have, not numbers of nuclei", _KEEP)
    if numbers.min() < 0:
        raise ImageError(name, f"it has negative numbers, down to {numbers.min():g}", _KEEP)
    if numbers.max() > _MOST_NUMBER:
        remedy = "number the nuclei from 1, as skimage.segmentation.relabel_sequential does"
        raise ImageError(name, f"its largest number is {numbers.max():g}, which no nucleus has", remedy)
    return numbers.astype(np.int32)


def _labelled(name: str, labels: np.ndarray, counts: np.ndarray, n_numbers: int, is_one: bool):
    """Return labels in which each number is one nucleus, and a remark where they were made here."""
    from skimage.measure import label as label_parts

    is_inverted = False
    at_corners, times = np.unique(labels[[0, 0, -1, -1], [0, -1, 0, -1]], return_counts=True)
    if times.max() >= 3 and at_corners[times.argmax()]:
        background = at_corners[times.argmax()]
        is_inverted = n_numbers == 1 and counts[0] > 0
        if not is_inverted:
            finding = f"the number {background} is at its corners, where background is 0"
            raise ImageError(name, finding, _KEEP)
        labels = (labels == 0).astype(np.int32)
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
    number_of = np.zeros(len(areas), np.int64)
    number_of[parts.ravel()] = labels.ravel()
    largest = np.zeros(len(counts), np.int64)
    np.maximum.at(largest, number_of[1:], areas[1:])
    n_parts = int((areas[1:] >= _PART_SHARE * largest[number_of[1:]]).sum())
    if n_parts > _MOST_PARTS * n_numbers:
        finding = f"its {n_numbers} numbers stand on {n_parts} separate objects: classes, or 8 bit for more than 255"
        raise ImageError(name, finding, _KEEP)
    return labels, ""


def _refuse_dark(name: str, labels: np.ndarray, pixels: np.ndarray) -> None:
    """Refuse a mask whose nuclei are darker than the rest of the image, as those of another image are."""
    is_nucleus = labels > 0
    if not is_nucleus.all() and pixels[is_nucleus].mean() <= pixels[~is_nucleus].mean():
        finding = "what it outlines is no brighter than the rest of the image"
        raise ImageError(name, finding, "check that it is of this image, and that the image shows DNA")


# --- masks that are written ---


def write_mask(path: Path, labels: np.ndarray, ids, pixel_size_um: float | None) -> None:
    """Write a label TIFF: 0, and the `nucleus_id` of each nucleus; only an earlier mask is replaced.

    Raises
    ------
    ImageError
        It cannot be written, or another file has its name.
    """
    if os.path.lexists(path) and not is_mask(path):
        raise ImageError(path, "a file that is no mask of an earlier run has this name", "name another folder")
    shown = nuclei_alone(labels, ids)
    kind = np.uint16 if shown.max(initial=0) < 2**16 else np.uint32
    write_image(path, shown.astype(kind), pixel_size_um, mark=_MARK)


def nuclei_alone(labels: np.ndarray, ids) -> np.ndarray:
    """Return labels (H, W) without what is no nucleus of the table, such as the neighbours in a crop."""
    is_kept = np.zeros(int(labels.max(initial=0)) + 1, bool)
    is_kept[np.asarray(ids, dtype=int)] = True
    return np.where(is_kept[labels], labels, 0)


def is_mask(path) -> bool:
    """Say whether `write_mask` wrote a file, which is no image of nuclei then."""
    return str(path).endswith(MASK_SUFFIX) and has_mark(path, _MARK)

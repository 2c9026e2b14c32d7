"""Pairing of images with their masks in a folder, by names."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from cellcycle.errors import ImageError, SettingError
from cellcycle.images import list_images
from cellcycle.images.maps import MASK_WORD
from cellcycle.names import plain_name
from cellcycle.predict.given import Given

_PICKLE = "_seg.npy"
_DEPTH = 6


def with_masks(images: list[Given], named: Iterable, folder) -> tuple[list[Given], list[Path]]:
    """Return the images that are not masks of others, each with its mask, and the masks that belong to no image.

    Images in `named` are always kept. Others may be masks, because a folder of images may contain masks, too.
    """
    for image, mask in zip(images, find_masks(images, folder), strict=True):
        image.mask = mask
    used = {os.path.realpath(image.mask) for image in images if not isinstance(image.mask, ImageError)}
    below, named = os.path.join(os.path.realpath(folder), ""), set(map(str, named))
    real = {image: os.path.realpath(image.path) for image in images if image.is_file}
    # A folder of masks inside the folder of images contains no image.
    has_others = not all(path.startswith(below) for path in real.values())
    masks = used | {path for path in real.values() if has_others and path.startswith(below)}
    kept = [image for image in images if str(image) in named or real.get(image) not in masks]
    used |= {real.get(image) for image in kept}
    return kept, [file for file in list_images(folder) if os.path.realpath(file) not in used]


def find_masks(images: Iterable, folder) -> list[Path | ImageError]:
    """Return the mask of each image from a folder, by its name, with or without a word like `_masks` or `-labels`.

    If images are in several folders, masks are in folders of the same names, or their names begin with that of the
    folder. If an image has no mask, or no clear one, an ImageError says so.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SettingError("masks", f"{folder} is not a folder", "name the folder of the masks")
    there, images = _by_name(folder), list(map(Given.of, images))
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
            elif len({os.path.abspath(images[i].path) for i in first}) > 1:
                others = " and ".join(str(images[i]) for i in first[:2])
                masks[k] = ImageError(mask, f"it could belong to {others}", "name folders of masks like image folders")
    return masks


def _by_name(folder: Path) -> dict[tuple, list[tuple[int, Path]]]:
    """Return the files below a folder, by folder and possible name of their image, with their number of mask words."""
    there = defaultdict(list)
    pickles = folder.rglob(f"*{_PICKLE}")
    for file in [*list_images(folder), *pickles]:
        place = tuple(map(_same, file.relative_to(folder).parts[:-1]))
        name, n_words = _same(file.stem), 0
        while name:
            there[place, name].append((n_words, file))
            shorter = MASK_WORD.sub("", name).removesuffix(".ome")
            if shorter == name:
                break
            # "cp" belongs to "masks": both are one word.
            name, n_words = shorter, n_words + (name.removeprefix(shorter).strip("-_. ") != "cp")
    return there


def _same(name: str) -> str:
    """Return a name in the form for comparison: some systems store accents as separate characters."""
    return unicodedata.normalize("NFC", name).casefold()


def _mask_of(image: Given, folder: Path, there: dict) -> tuple[tuple, Path | ImageError]:
    """Return the rank of an image's mask, by likeness of folders and names (the least is nearest), and the mask."""
    if image.error is not None:
        return (), image.error
    if not image.is_file:
        return (), ImageError(image, "it has no name by which a mask is found", "give the masks in a list")
    path = Path(os.path.abspath(image.path))
    stem = path.stem.removesuffix(".ome")
    names = {_same(name) for name in (stem, path.stem, path.name)}
    for depth in range(min(len(path.parts) - 1, _DEPTH), -1, -1):
        above = path.parts[len(path.parts) - 1 - depth : -1]
        joined = {_same(plain_name("__".join([*above, name]))) for name in (stem, path.stem, path.name)}
        keys = {(tuple(map(_same, above)), name) for name in names} | {((), name) for name in joined}
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
    """Return whether a file can be the mask of an image: in the image's own folder it needs a mask word."""
    return n_words > 0 or os.path.realpath(file.parent) != os.path.realpath(image.parent)


def _missing(image: Given, folder: Path) -> ImageError:
    name = f"{Path(image.path).stem}_masks.tif"
    return ImageError(image, f"{folder} holds no mask of it", f"add {name}, or predict it without --use-masks")

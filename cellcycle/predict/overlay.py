"""Outlines of nuclei on their image, in the colours of their phases."""

import hashlib
import os
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from cellcycle.errors import ImageError
from cellcycle.images import write_image
from cellcycle.phases import class_colours
from cellcycle.predict.predictor import ImagePrediction

# Stands in every overlay, so that none is taken for an image of nuclei or replaces one.
_MARK = "cellcycle overlay"
_NO_CALL = "#999999"
_LEGEND_PX = 16


def draw_overlay(prediction: ImagePrediction, classes: tuple[str, ...]) -> np.ndarray:
    """Draw the outlines of an image's nuclei.

    Parameters
    ----------
    prediction : ImagePrediction
        Of an image that could be read.
    classes : tuple of str
        Of the model; each has a colour, nuclei without a call are gray.

    Returns
    -------
    ndarray (H, W, 3) uint8
        The image stretched to its 0.5 and 99.8 percentiles, with outlines and, where there is room, a legend.
    """
    from scipy.ndimage import binary_dilation
    from skimage.segmentation import find_boundaries

    pixels = prediction.plane.pixels
    step = max(1, int(np.sqrt(pixels.size / 1e6)))
    low, high = np.percentile(pixels[::step, ::step], [0.5, 99.8])
    gray = np.clip((pixels - low) * np.float32(255 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)
    picture = np.repeat(gray[..., np.newaxis], 3, axis=2)
    nuclei, colours = prediction.nuclei, class_colours(classes)
    palette = np.zeros((int(nuclei.labels.max()) + 1, 3), np.uint8)
    if prediction.n_nuclei:
        for label, call in zip(prediction.columns["nucleus_id"], prediction.columns["call"], strict=True):
            palette[int(label)] = _rgb(colours.get(call, _NO_CALL))
    labels = np.where(nuclei.labels < 2, nuclei.labels, 0) if nuclei.kind == "nucleus" else nuclei.labels
    rim = find_boundaries(labels, mode="inner")
    if min(pixels.shape) > 1200:
        rim = binary_dilation(rim) & (labels > 0)
    picture[rim] = palette[labels[rim]]
    return _with_legend(picture, colours)


def write_overlay(path: Path, prediction: ImagePrediction, classes: tuple[str, ...]) -> None:
    """Write the overlay of an image as PNG, whole or not at all; only an earlier overlay is replaced.

    Raises
    ------
    ImageError
        It cannot be written, or another file has its name.
    """
    if os.path.lexists(path) and not is_overlay(path):
        raise ImageError(path, "a file that is no overlay has this name", "name another folder with --overlay")
    write_image(path, draw_overlay(prediction, classes), mark=_MARK)


def is_overlay(path) -> bool:
    """Say whether a file is a picture that `write_overlay` wrote, and so none of nuclei to predict."""
    try:
        if not str(path).endswith("_phases.png") or not os.path.isfile(path):
            return False
        with open(path, "rb") as stream:
            stream.seek(-min(200, os.path.getsize(path)), os.SEEK_END)
            return _MARK.encode() in stream.read()
    except (OSError, ValueError):
        return False


def overlay_names(images, folder: Path | None) -> list[Path | None]:
    """Return the name of the PNG of each image; those of images of one name begin with what tells them apart.

    Examples
    --------
    >>> [path.name for path in overlay_names(["a/x.tif", "b/x.tif", "b/y.tif"], Path("out"))]
    ['a__x_phases.png', 'b__x_phases.png', 'y_phases.png']
    """
    if folder is None:
        return [None] * len(images)
    paths = [Path(image.subject if isinstance(image, ImageError) else str(image)) for image in images]
    alike = defaultdict(list)
    for path in paths:
        alike[path.stem.casefold()].append(path)
    names, taken = [], set()
    for path in paths:
        name = _plain(_telling(path, alike[path.stem.casefold()]))
        if name.casefold() in taken or not name:
            name += "-" + hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
        taken.add(name.casefold())
        names.append(folder / f"{name}_phases.png")
    return names


def _telling(path: Path, others: list[Path]) -> str:
    """Return the shortest end of a path that no other path of the same stem has; it may lack the suffix."""
    if len(others) == 1:
        return path.stem
    suffixes = {other.suffix.casefold() for other in others}
    for depth in range(1, min(len(path.parts), 6) + 1):
        ends = Counter("__".join(other.parts[-depth:]).casefold() for other in others)
        end = "__".join(path.parts[-depth:])
        if ends[end.casefold()] == 1:
            return end if len(suffixes) > 1 else end.removesuffix(path.suffix)
    return path.name


def _plain(name: str) -> str:
    """Return a name that every file system takes, with a hash in place of what is cut off or replaced."""
    kept = re.sub(r"[^\w .,()+=@#%~-]", "_", "".join(c if c.isprintable() else "_" for c in name)).lstrip("-=+@.")
    kept = kept.encode("utf-8", "replace")[:150].decode("utf-8", "ignore")
    return kept if kept == name else f"{kept}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _with_legend(picture: np.ndarray, colours: dict[str, str]) -> np.ndarray:
    """Put a strip with the classes and their colours below the picture, where it is wide enough."""
    from PIL import Image, ImageDraw

    width_px = sum(_LEGEND_PX + 9 * len(name) + 8 for name in colours)
    if picture.shape[1] < width_px:
        return picture
    strip = Image.new("RGB", (picture.shape[1], _LEGEND_PX + 4))
    draw, left = ImageDraw.Draw(strip), 4
    for name, colour in colours.items():
        draw.rectangle([left, 4, left + 10, 14], fill=colour)
        draw.text((left + 15, 4), name, fill="white")
        left += _LEGEND_PX + 9 * len(name) + 8
    return np.concatenate([picture, np.asarray(strip)])

"""Images as they are given in Python: paths, planes or arrays."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import IOBase
from numbers import Real
from pathlib import Path

import numpy as np

from cellcycle.errors import ImageError, SettingError
from cellcycle.images import Plane, read_plane
from cellcycle.images.intensities import scale_to_unit
from cellcycle.names import shown_name
from cellcycle.predict.settings import Settings


@dataclass(frozen=True, eq=False)
class NamedArray:
    """An array (H, W) as an image, and what a table calls it."""

    pixels: np.ndarray
    name: str

    def __str__(self) -> str:
        return self.name


def image_name(image) -> str:
    """Return what a table calls an image: its path, its name, or "array"."""
    if isinstance(image, ImageError | Plane):
        return shown_name(image.path if isinstance(image, Plane) else image.subject)
    if isinstance(image, NamedArray):
        return image.name
    return shown_name(image) if isinstance(image, str | Path) else "array"


def as_plane(image, settings: Settings) -> Plane:
    """Return an image as a `Plane`: read from its file, or made of an array (H, W) float in [0, 1]."""
    if isinstance(image, Plane):
        return image
    if isinstance(image, str | Path):
        return read_plane(image, settings.channel, settings.plane)

    name, pixels = image_name(image), image.pixels if isinstance(image, NamedArray) else image
    if np.ma.is_masked(pixels):
        raise ImageError(name, "some of its pixels are masked", "cut out a part without any, or fill them")
    pixels = np.asarray(pixels)
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise ImageError(name, f"its shape is {pixels.shape}", "give one gray image (H, W)")
    return Plane(*scale_to_unit(pixels, name), None, name)


def as_list(given) -> list:
    """Return what holds several in one dimension, as a set, a generator or a column does, as a list; else one alone."""
    is_several = isinstance(given, Iterable) and not isinstance(given, str | bytes | IOBase)
    return list(given) if is_several and getattr(given, "ndim", 1) == 1 else [given]


def as_images(given) -> list:
    """Return an image, or several, as a list in which arrays have names; refuse one of none, or of no images."""
    images = as_list(given)
    if not images:
        raise SettingError("images", "the list is empty", "name at least one image")
    if any(isinstance(image, list | tuple | Real) for image in images):
        raise SettingError("images", "a list of numbers is no image", "give an array (H, W), or a list of arrays")
    arrays = [k for k, image in enumerate(images) if not isinstance(image, str | Path | Plane | ImageError)]
    for number, k in enumerate(arrays, start=1):
        images[k] = NamedArray(images[k], f"array {number}" if len(arrays) > 1 else "array")
    return images

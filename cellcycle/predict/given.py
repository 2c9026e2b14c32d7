"""What is given in Python: images as paths, planes or arrays, and how they are read, nuclei found, and calls made."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from io import IOBase
from math import nan
from numbers import Real
from pathlib import Path

import numpy as np

from cellcycle.arrays import one_plane
from cellcycle.errors import ImageError, SettingError, check_choice, check_size, check_whole
from cellcycle.images import Plane, read_plane
from cellcycle.images.intensities import scale_to_unit
from cellcycle.names import shown_name
from cellcycle.nuclei import KINDS, Anchor
from cellcycle.predict.priors import PRIORS
from cellcycle.segmentation.fields import BACKENDS

# Sizes that a pixel can have.
PIXELS_UM = (1e-3, 1e3)


@dataclass(frozen=True)
class Settings:
    """How images are read and nuclei found; an unknown name or a size that cannot be is a `SettingError`.

    Parameters
    ----------
    kind
        "auto", "field" or "nucleus": what the images are; "auto" decides by a stated rule.
    channel
        DNA channel, by index from 0 or name.
    plane
        Time point or z plane; z-stacks are projected without it.
    pixel_size_um
        Edge of a pixel in the sample; overrides what the files say.
    segmentation
        Segmentation of fields: "trained", "classical", "cellpose" or "stardist".
    g1_position, g1_quality, g1_area_px
        The `Anchor` of the slide, where it is not to be fitted to each field.
    prior
        What is taken to be known of phases beforehand, see `cellcycle.predict.priors`; "auto" takes "culture" for
        fields and "equal" for single nuclei.
    """

    kind: str = "auto"
    channel: int | str | None = None
    plane: int | None = None
    pixel_size_um: float | None = None
    segmentation: str = "trained"
    g1_position: float | None = None
    g1_quality: float = nan
    g1_area_px: float | None = None
    prior: str = "auto"

    def __post_init__(self):
        # Named by words that a user of the command line, of the page and of Python knows.
        check_choice("kind", self.kind, KINDS)
        check_choice("segmentation", self.segmentation, BACKENDS)
        check_choice("prior", self.prior, ("auto", *PRIORS))
        sizes = {"pixel size": self.pixel_size_um, "G1 position": self.g1_position, "G1 area": self.g1_area_px}
        for option, value in sizes.items():
            check_size(option, value, or_none=True)
        if self.pixel_size_um is not None and not PIXELS_UM[0] <= self.pixel_size_um <= PIXELS_UM[1]:
            finding = f"{self.pixel_size_um:g} um is the size of no pixel"
            raise SettingError("pixel size", finding, "give micrometres, from {:g} to {:g}".format(*PIXELS_UM))
        for option, value in {"channel": self.channel, "plane": self.plane}.items():
            if value is not None and not (option == "channel" and isinstance(value, str)):
                check_whole(option, value)
        if isinstance(self.channel, str) and not 0 < len(self.channel) <= 200:
            raise SettingError("channel", f"{len(self.channel)} letters are no name", "give an index or a name")

    @property
    def anchor(self) -> Anchor | None:
        """What was given of the slide's G1 peak."""
        return None if self.g1_position is None else Anchor(self.g1_position, self.g1_quality, self.g1_area_px)


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
    return Plane(*scale_to_unit(one_plane(pixels, name), name), None, name)


def as_list(given) -> list:
    """Return what holds several in one dimension, as a set, a generator or a column does, as a list; else one alone."""
    is_several = isinstance(given, Iterable) and not isinstance(given, str | bytes | IOBase)
    return list(given) if is_several and getattr(given, "ndim", 1) == 1 else [given]


def as_images(given) -> list:
    """Return an image, or several, as a list in which arrays have names; refuse one of none, or of no images."""
    images = as_list(given)
    if not images:
        raise SettingError("images", "the list is empty", "name at least one image")
    images = [Path(image) if isinstance(image, os.PathLike) else image for image in images]
    if any(isinstance(image, list | tuple | Real) for image in images):
        raise SettingError("images", "a list of numbers is no image", "give an array (H, W), or a list of arrays")
    arrays = [k for k, image in enumerate(images) if not isinstance(image, str | Path | Plane | ImageError)]
    for number, k in enumerate(arrays, start=1):
        images[k] = NamedArray(images[k], f"array {number}" if len(arrays) > 1 else "array")
    return images

"""Images as paths, planes or arrays, and the settings by which they are read, segmented and predicted."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from io import IOBase
from math import nan
from numbers import Real
from pathlib import Path

import numpy as np

from cellcycle.arrays import one_plane
from cellcycle.errors import ImageError, SettingError, check_choice, check_size, check_whole
from cellcycle.images import Plane, read_plane
from cellcycle.images.intensities import scale_to_unit
from cellcycle.images.wells import whole_path
from cellcycle.light import Light
from cellcycle.names import shown_name
from cellcycle.nuclei import KINDS, Anchor, Nuclei
from cellcycle.predict.priors import PRIORS
from cellcycle.segmentation.fields import BACKENDS

# Least and greatest pixel size.
PIXELS_UM = (1e-3, 1e3)


@dataclass(frozen=True)
class Settings:
    """How images are read and nuclei found; an unknown name or an impossible size is a `SettingError`.

    Parameters
    ----------
    kind
        "auto", "field" or "nucleus" (crop of one); "auto" decides by the rule of `looks_like_nucleus_crop`.
    channel
        DNA channel, by index from 0 or name.
    plane
        Time point or z plane; z-stacks are projected without it.
    pixel_size_um
        Side of a pixel in the sample; overrides that of the files, unless it alone cannot be true.
    segmentation
        Segmentation of fields: "trained", "classical", "cellpose" or "stardist".
    g1_position, g1_quality, g1_area_px
        The `Anchor` of the slide, if it is not to be fitted to the images.
    prior
        Prior of the phases, see `cellcycle.predict.priors`; "auto" is "culture" for fields and "equal" for crops.
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
        # Options have the words that users of the command line, of the page and of Python know.
        check_choice("kind", self.kind, KINDS)
        check_choice("segmentation", self.segmentation, BACKENDS)
        check_choice("prior", self.prior, ("auto", *PRIORS))
        sizes = {"pixel size": self.pixel_size_um, "G1 position": self.g1_position, "G1 area": self.g1_area_px}
        for option, value in sizes.items():
            check_size(option, value, or_none=True)
        if self.pixel_size_um is not None and not PIXELS_UM[0] <= self.pixel_size_um <= PIXELS_UM[1]:
            finding = f"{self.pixel_size_um:g} um cannot be the size of a pixel"
            raise SettingError("pixel size", finding, "give micrometres, from {:g} to {:g}".format(*PIXELS_UM))
        for option, value in {"channel": self.channel, "plane": self.plane}.items():
            if value is not None and not (option == "channel" and isinstance(value, str)):
                check_whole(option, value)
        if isinstance(self.channel, str) and not 0 < len(self.channel) <= 200:
            raise SettingError("channel", f"its name has {len(self.channel)} letters", "give an index or a name")

    @property
    def anchor(self) -> Anchor | None:
        """The given G1 peak of the slide, None without."""
        return None if self.g1_position is None else Anchor(self.g1_position, self.g1_quality, self.g1_area_px)


@dataclass
class Shared:
    """What an image gets from those read with it: columns of the table, anchor, scale, flags, light or `refusal`.

    A refusal is finding and remedy.
    """

    columns: dict = field(default_factory=dict)
    anchor: Anchor | None = None
    pixel_size_um: float | None = None
    flag: str = ""
    light: Light | None = None
    refusal: tuple[str, ...] = ()

    def doubt(self, flag: str) -> None:
        """Add a flag to all nuclei of the image, "" for none."""
        self.flag = f"{self.flag};{flag}".strip(";")


@dataclass(eq=False)
class Given:
    """An image in any form, and what is known of it before its nuclei are called.

    `name` is its name in the table; `path` its file or URL, or that of its `Plane` or error, "" for an array. Unless it
    is a file, it has `pixels`, a `Plane` or array (H, W), or an `error`, why there are none. `mask`, a path or array
    (H, W), outlines its nuclei, or is the error why none does. `file` is its cache (`cellcycle.predict.kept`),
    `targets` are the files beside its rows. From the nuclei `seen` in all images of a `group` follows what each is
    `told`.
    """

    name: str
    path: str = ""
    pixels: Plane | np.ndarray | None = None
    error: ImageError | None = None
    mask: Path | np.ndarray | ImageError | None = None
    file: Path | None = None
    targets: dict[str, Path] = field(default_factory=dict)
    group: str = ""
    told: Shared = field(default_factory=Shared)
    seen: Nuclei | None = None

    @classmethod
    def of(cls, image, name: str = "array", **known) -> "Given":
        """Return an image in any form as a `Given`; `name` is for an array, `known` sets more fields."""
        if isinstance(image, cls):
            return image
        if isinstance(image, ImageError):
            return cls(shown_name(image.subject), image.subject, error=image, **known)
        if isinstance(image, Plane):
            return cls(shown_name(image.path), image.path, image, **known)
        if isinstance(image, str | Path):
            return cls(shown_name(image), str(image), **known)
        return cls(name, pixels=image, **known)

    def __str__(self) -> str:
        return self.path or self.name

    @property
    def is_file(self) -> bool:
        """Whether it is read from its path."""
        return self.pixels is None and self.error is None

    def shows(self, kind: str) -> bool:
        """Return whether nuclei were seen in it, and it is of this kind, "field" or "nucleus"."""
        return self.seen is not None and self.seen.kind == kind and len(self.seen) > 0

    def read(self, settings: Settings) -> Plane:
        """Return its plane, with intensities in [0, 1], or raise its error."""
        if self.error is not None:
            raise self.error
        if self.is_file:
            return read_plane(self.path, settings.channel, settings.plane)
        if isinstance(self.pixels, Plane):
            return self.pixels
        return Plane(*scale_to_unit(one_plane(self.pixels, self.name), self.name), None, self.name)

    def from_root(self) -> "Given":
        """Return it with absolute paths, because workers of a cluster have other working folders."""

        def whole(path):
            return type(path)(whole_path(path)) if isinstance(path, str | Path) else path

        targets = {what: whole(path) for what, path in self.targets.items()}
        return replace(self, path=whole(self.path), mask=whole(self.mask), file=whole(self.file), targets=targets)


def as_list(given) -> list:
    """Return a one-dimensional collection (list, set, generator, column) as a list; anything else as a list of one."""
    is_several = isinstance(given, Iterable) and not isinstance(given, str | bytes | IOBase)
    return list(given) if is_several and getattr(given, "ndim", 1) == 1 else [given]


def as_images(given) -> list[str | Given]:
    """Return one or several images as `expand` takes them; an empty list, or one of numbers, is a `SettingError`."""
    images = as_list(given)
    if not images:
        raise SettingError("images", "the list is empty", "name at least one image")
    if any(isinstance(image, list | tuple | Real) for image in images):
        raise SettingError("images", "a list of numbers is not an image", "give an array (H, W), or a list of arrays")
    images = [str(Path(image)) if isinstance(image, os.PathLike) else image for image in images]
    arrays = [k for k, image in enumerate(images) if not isinstance(image, str | Plane | ImageError)]
    for number, k in enumerate(arrays, start=1):
        images[k] = Given.of(images[k], f"array {number}" if len(arrays) > 1 else "array")
    return [image if isinstance(image, str) else Given.of(image) for image in images]

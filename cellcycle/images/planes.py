"""Read one DNA plane of an image file."""

from dataclasses import dataclass, field

import numpy as np

from cellcycle.errors import ImageError
from cellcycle.images.bounded import read_bounded
from cellcycle.images.channels import choose_channel
from cellcycle.images.formats import judge, open_stack
from cellcycle.images.stacks import Stack


@dataclass(frozen=True)
class Plane:
    """One 2-D plane of DNA stain with what its file says about it.

    Parameters
    ----------
    pixels : ndarray (H, W) float32 in [0, 1]
        Intensities; 1 is the full range of the file's number type.
    bit_depth : int
        Bits of a pixel in the file: 8, 16, 32 or 64.
    pixel_size_um : float or None
        Edge of a pixel in the sample, if the file says it.
    path : str
        The file.
    channel : str
        Name (or index, as text) of the channel that was taken.
    channels : tuple of str
        Names of all channels of the file.
    n_planes : int
        Number of z planes that went into the pixels: 1, or more for a maximum projection.
    """

    pixels: np.ndarray = field(repr=False)
    bit_depth: int
    pixel_size_um: float | None
    path: str
    channel: str = "0"
    channels: tuple[str, ...] = ("0",)
    n_planes: int = 1


def read_plane(path, channel: int | str | None = None, plane: int | None = None) -> Plane:
    """Read the DNA plane of any readable image file.

    The rules for channel and plane stand at the head of `cellcycle.images`.

    Parameters
    ----------
    path : str or Path
        PNG, JPEG, BMP, TIFF or OME-TIFF; vendor formats with the package `bioio`.
    channel : int or str, optional
        Index from 0, name, or part of a name of the DNA channel.
    plane : int, optional
        Index from 0 of the time point, or of the z plane where there is one time point.

    Returns
    -------
    Plane
        Pixels as float32 in [0, 1], shape (H, W).

    Raises
    ------
    ImageError
        The file cannot be read, or its DNA channel or plane is not clear.
    """
    return read_bounded(_read_plane, path, judge(path).is_plain, channel, plane)


def _read_plane(path, channel: int | str | None, plane: int | None) -> Plane:
    with open_stack(path) as stack:
        time, z_planes = _choose_planes(stack, plane)
        index = choose_channel(stack, channel, lambda c: _project(stack, time, c, z_planes))
        raw = _project(stack, time, index, z_planes)
        if raw.ndim != 2 or 0 in raw.shape:
            raise ImageError(path, f"its planes have the shape {raw.shape}", "export it as one gray image")
        pixels = scale_to_unit(raw, stack.path)
    return Plane(
        pixels=pixels,
        bit_depth=8 if raw.dtype == bool else 8 * raw.dtype.itemsize,
        pixel_size_um=stack.pixel_size_um,
        path=stack.path,
        channel=stack.channel_names[index],
        channels=stack.channel_names,
        n_planes=len(z_planes),
    )


def read_numbers(path) -> np.ndarray:
    """Read the numbers (H, W) of a picture that shows no intensities, such as a label image: as stored, not scaled.

    Raises
    ------
    ImageError
        The file cannot be read, or holds more than one plane or colours.
    """
    return read_bounded(_read_numbers, path, judge(path).is_plain)


def _read_numbers(path) -> np.ndarray:
    with open_stack(path, as_numbers=True) as stack:
        if stack.n_times * stack.n_z > 1 or not (stack.n_channels == 1 or stack.is_colour):
            n = stack.n_times * stack.n_z * stack.n_channels
            raise ImageError(path, f"it holds {n} planes", "save the one that belongs to the image")
        first, *others = (stack.load(0, c, 0) for c in range(stack.n_channels))
        if any(not np.array_equal(first, other) for other in others):
            raise ImageError(path, "it is a colour picture, whose colours are no numbers", "save it as 16-bit gray")
        # A plane may lie in the file itself, which is closed now.
        return np.array(first)


def scale_to_unit(raw: np.ndarray, path="image") -> np.ndarray:
    """Scale a file's numbers to float32 in [0, 1] without looking at how bright the picture is.

    Integers are divided by the full range of their type. Floats within [0, 1] stay; larger ones are taken as
    camera counts and divided by the smallest full range (8, 16 or 32 bits) that holds them. Numbers below 0,
    which background subtraction leaves behind, become 0.

    Parameters
    ----------
    raw : ndarray
        Boolean, integer or float pixels of any shape.
    path : str or Path, optional
        Named in the error.

    Returns
    -------
    ndarray float32
        Same shape.

    Raises
    ------
    ImageError
        Pixels that are not finite, or not numbers.

    Examples
    --------
    >>> scale_to_unit(np.array([0, 13107, 65535], np.uint16))
    array([0. , 0.2, 1. ], dtype=float32)
    """
    if raw.dtype == bool:
        return raw.astype(np.float32)
    if raw.dtype.kind not in "uif":
        raise ImageError(path, f"its pixels are of type {raw.dtype}", "export it as 8-bit, 16-bit or float")
    with np.errstate(over="ignore"):
        pixels = raw.astype(np.float32)
    if raw.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise ImageError(path, "some pixels are NaN or infinite", "replace them, then export the image again")
        full_range = next((r for r in (1, 2**8 - 1, 2**16 - 1, 2**32 - 1) if pixels.max() <= r), pixels.max())
    else:
        full_range = np.iinfo(raw.dtype).max
    pixels /= np.float32(full_range)
    return np.clip(pixels, 0, 1, out=pixels)


def _choose_planes(stack: Stack, plane: int | None) -> tuple[int, range]:
    """Return the time point and the z planes to project."""
    n_choices = stack.n_times if stack.n_times > 1 else stack.n_z
    if plane is not None and not 0 <= plane < n_choices:
        raise ImageError(stack.path, f"it has no plane {plane}", f"planes are counted from 0 to {n_choices - 1}")
    if stack.n_times > 1:
        if plane is None:
            raise ImageError(
                stack.path,
                f"it is a time series of {stack.n_times} images",
                "choose one time point with plane=0 or another index, or export it as a file of its own",
            )
        return plane, range(stack.n_z)
    return 0, range(stack.n_z) if plane is None else range(plane, plane + 1)


def _project(stack: Stack, time: int, channel: int, z_planes: range) -> np.ndarray:
    """Return the maximum over the z planes, loaded one after the other."""
    projection = stack.load(time, channel, z_planes[0])
    for z in z_planes[1:]:
        projection = np.maximum(projection, stack.load(time, channel, z))
    return projection

"""An opened image file: its axes, channels and pixel size, before any pixel is chosen."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from cellcycle.errors import ImageError

# A plane of 500 million pixels is 2 GB as float32; larger ones are slides, to be cut into fields first.
MAX_PIXELS = 500_000_000
# Deflate packs at most 1032 : 1, so a larger ratio announces pixels that the file cannot hold.
MAX_RATIO = 1_100
_SMALL_BYTES = 64_000_000
# What one page may take in memory whatever the size of its file, and times that size for larger files.
_AFFORDABLE, _AFFORDABLE_RATIO = 1_400_000_000, 100


@dataclass(frozen=True)
class Stack:
    """Planes of one field of view, loaded one at a time.

    Parameters
    ----------
    path : str
        The file.
    load : callable (t, c, z) -> ndarray (H, W)
        Reads one plane in the file's own numbers.
    n_times, n_channels, n_z : int
        Sizes of the three axes.
    channel_names : tuple of str, length n_channels
        Names from the file, "red", "green", "blue" for colours, otherwise "0", "1", ...
    pixel_size_um : float or None
        Edge of a pixel in the sample.
    is_colour : bool
        The channels are the red, green and blue of a colour picture.
    elsewhere : dict of str to str
        Name of a channel of the same field -> file that holds it, for one file of a set.
    """

    path: str
    load: Callable[[int, int, int], np.ndarray]
    n_times: int = 1
    n_channels: int = 1
    n_z: int = 1
    channel_names: tuple[str, ...] = ("0",)
    pixel_size_um: float | None = None
    is_colour: bool = False
    elsewhere: dict[str, str] = field(default_factory=dict)


def stack_of_array(path: str, array: np.ndarray, pixel_size_um: float | None = None) -> Stack:
    """Return the stack of a gray (H, W), gray and alpha (H, W, 2), RGB (H, W, 3) or RGBA (H, W, 4) array.

    Parameters
    ----------
    path : str
        The file it came from.
    array : ndarray
        Pixels in the file's own numbers.
    pixel_size_um : float or None, optional
        Edge of a pixel in the sample.

    Returns
    -------
    Stack
        Alpha is left out.
    """
    if array.ndim == 2:
        array = array[..., np.newaxis]
    n_channels = 3 if array.shape[-1] >= 3 else 1
    return Stack(
        path,
        lambda t, c, z: array[..., c],
        n_channels=n_channels,
        channel_names=channel_names(n_channels, is_colour=n_channels == 3),
        pixel_size_um=pixel_size_um,
        is_colour=n_channels == 3,
    )


def channel_names(n_channels: int, names: list[str] | None = None, is_colour: bool = False) -> tuple[str, ...]:
    """Return one name a channel: the file's where it gives one, a colour, or the index.

    Parameters
    ----------
    n_channels : int
        Number of channels.
    names : list of str, optional
        Names found in the file, perhaps too few or empty.
    is_colour : bool, optional
        The channels are red, green and blue.

    Returns
    -------
    tuple of str
        `n_channels` names.

    Examples
    --------
    >>> channel_names(3, ["DAPI", ""])
    ('DAPI', '1', '2')
    """
    found = ["red", "green", "blue"] if is_colour else [str(name or "") for name in names or []]
    return tuple((found[i] if i < len(found) else "") or str(i) for i in range(n_channels))


def refuse_oversize(path, height: int, width: int, n_bytes: int, file_bytes: int) -> None:
    """Refuse an announced size that is zero, too large or more than the file can hold.

    Parameters
    ----------
    path : str or Path
        The file.
    height, width : int
        Announced size of one plane in pixels.
    n_bytes : int
        Announced size of all planes, unpacked.
    file_bytes : int
        Size of the file.

    Raises
    ------
    ImageError
        With the finding and what to do.
    """
    if height < 1 or width < 1:
        raise ImageError(path, f"the image has no pixels ({height} x {width})", "export the image again")
    if height * width > MAX_PIXELS:
        raise ImageError(
            path,
            f"its header announces {height} x {width} pixels, more than {MAX_PIXELS:,}",
            "cut the slide into smaller fields, or export the image again if that size is wrong",
        )
    if n_bytes > _SMALL_BYTES and n_bytes > MAX_RATIO * file_bytes:
        raise ImageError(
            path,
            f"its header announces {height} x {width} pixels, but the file has only {file_bytes:,} bytes",
            "the file is damaged: export the image again",
        )


def refuse_unaffordable(path, height: int, width: int, page_bytes: int, file_bytes: int) -> None:
    """Refuse a page that takes gigabytes where the file is not large itself: it was made to do so, or is damaged.

    Parameters
    ----------
    path : str or Path
    height, width : int
        Of the page.
    page_bytes : int
        Of all its samples, unpacked.
    file_bytes : int

    Raises
    ------
    ImageError
    """
    # Beside the page itself stands its plane in single precision.
    needed = page_bytes + 4 * height * width
    if needed > max(_AFFORDABLE, _AFFORDABLE_RATIO * file_bytes):
        raise ImageError(
            path,
            f"one page of it takes {needed / 1e9:.1f} GB, but the file has only {file_bytes:,} bytes",
            "the file is damaged: export the image again",
        )

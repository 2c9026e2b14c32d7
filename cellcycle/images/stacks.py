"""The `Stack` of an opened image file: its axes, channels and pixel size, before a plane is chosen."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from cellcycle.errors import ImageError

# A plane of 500 million pixels takes 2 GB as float32; larger ones are slides, which must be cut into fields first.
MAX_PIXELS = 500_000_000
# Deflate compresses by at most 1032 : 1, so a file with a larger ratio cannot hold the pixels that it announces.
MAX_RATIO = 1_100
UM_PER_UNIT = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "\\u00b5m": 1.0, "\\u03bcm": 1.0, "\u00c5": 1e-4, "\u212b": 1e-4, "\\u00c5": 1e-4,
    "pm": 1e-6, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "in": 25_400.0, "inches": 25_400.0,
}  # fmt: skip
_METERS = {"pico": 1e-6, "nano": 1e-3, "micro": 1.0, "milli": 1e3, "centi": 1e4, "": 1e6}
_NAMED = {f"{prefix}met{end}": um for prefix, um in _METERS.items() for end in ("er", "re")}
_NAMED |= {"micron": 1.0, "angstrom": 1e-4, "inch": 25_400.0}
UM_PER_UNIT |= _NAMED | {f"{name}s": um for name, um in _NAMED.items()}
# Key in `Stack.elsewhere` of a file with more z planes of the same channel.
STACK = "z-stack"
_SMALL_BYTES = 64_000_000
# Pixel sizes outside this range are for printing (72 per inch is 353 um), or invalid.
_PLAUSIBLE_UM = (0.005, 20.0)
# Bytes of memory that one page may take for any file, and as a multiple of the size of a larger file.
_AFFORDABLE, _AFFORDABLE_RATIO = 1_400_000_000, 100
DAMAGED = "the file is damaged: export the image again"


@dataclass(frozen=True)
class Stack:
    """Planes of one field of view; `load(t, c, z)` returns one of them, (H, W) in the file's own numbers.

    `channel_names` has one name per channel: from the file, "red", "green", "blue" for colours, otherwise "0", "1", ...
    `is_labelled`: the file labels the z axis as z; otherwise its pages may be anything. `z_um` is the stated distance
    of z planes, NaN if it is not stated, infinite if the format excludes that unrelated planes were put together.
    `elsewhere` maps other channels of the same field to their file, for a file of a set. `note` says what the file
    states that is impossible; `missing(t, c, z_planes)` returns what is not stored of some planes, "" for nothing.
    """

    path: str
    load: Callable[[int, int, int], np.ndarray]
    n_times: int = 1
    n_z: int = 1
    channel_names: tuple[str, ...] = ("0",)
    pixel_size_um: float | None = None
    is_colour: bool = False
    is_labelled: bool = True
    z_um: float = np.inf
    elsewhere: dict[str, str] = field(default_factory=dict)
    note: str = ""
    missing: Callable[[int, int, range], str] = lambda t, c, z_planes: ""

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.channel_names)


def pages_as_channels(stack: Stack, names: tuple[str, ...]) -> Stack:
    """Return the stack with its pages as channels of these names instead of z planes."""
    return replace(stack, load=lambda t, c, z: stack.load(t, 0, c), n_z=1, channel_names=names, is_labelled=True,
                   missing=lambda t, c, z_planes: stack.missing(t, 0, range(c, c + 1)))  # fmt: skip


def stack_of_array(path: str, array: np.ndarray) -> Stack:
    """Return the stack of a gray (H, W), gray and alpha (H, W, 2), RGB (H, W, 3) or RGBA (H, W, 4) picture."""
    if array.ndim == 2:
        array = array[..., np.newaxis]
    is_colour = array.shape[-1] >= 3
    names = channel_names(3 if is_colour else 1, [], is_colour)
    return Stack(path, lambda t, c, z: array[..., c], channel_names=names, is_colour=is_colour)


def channel_names(n_channels: int, names: list[str], is_colour: bool = False) -> tuple[str, ...]:
    """Return one name per channel: that in the file, a colour, or the index.

    If the number of names is not that of channels, they cannot be assigned, and indices are used.

    Examples
    --------
    >>> channel_names(2, ["DAPI", ""]), channel_names(2, ["DAPI", "GFP", "BF"])
    (('DAPI', '1'), ('0', '1'))
    """
    found = ["red", "green", "blue"] if is_colour else names
    found = found if len(found) == n_channels else [""] * n_channels
    return tuple(str(name or i) for i, name in enumerate(found))


def um_of(stated, unit: str) -> float | None:
    """Return a stated length in um, NaN if it is no number, None if nothing is stated or the unit is unknown."""
    um_per_unit = UM_PER_UNIT.get(unit)
    if stated is None or um_per_unit is None:
        return None
    try:
        return float(stated) * um_per_unit
    except (TypeError, ValueError):
        return np.nan


def usable_size(x_um: float | None, y_um: float | None = None) -> tuple[float | None, str]:
    """Return the pixel size in um and "", or None and a note if the stated size is implausible or not square.

    Examples
    --------
    >>> usable_size(0.325), usable_size(None)
    ((0.325, ''), (None, ''))
    >>> usable_size(-1.0)
    (None, 'it states a pixel size of -1 um, which is not plausible: its scale counts as unknown')
    """
    if x_um is None:
        return None, ""
    y_um = x_um if y_um is None else y_um
    if not all(_PLAUSIBLE_UM[0] <= size <= _PLAUSIBLE_UM[1] for size in (x_um, y_um)):
        wrong = f"{x_um:g}" if x_um == y_um or x_um != x_um else f"{x_um:g} x {y_um:g}"
        return None, f"it states a pixel size of {wrong} um, which is not plausible: its scale counts as unknown"
    if abs(y_um / x_um - 1) > 0.1:
        return None, f"it states pixels of {x_um:g} x {y_um:g} um, not square: its scale counts as unknown"
    return x_um, ""


def refuse_oversize(
    path, height: int, width: int, n_bytes: int, file_bytes: int, page_bytes: int | None = None
) -> None:
    """Refuse an announced plane size, or `n_bytes` of all planes uncompressed, that a file of `file_bytes` cannot hold.

    A page of `page_bytes` that takes gigabytes of memory is refused too, unless the file is large itself.
    """
    if height < 1 or width < 1:
        raise ImageError(path, f"the image has no pixels ({height} x {width})", "export the image again")
    announced = f"its header announces {height} x {width} pixels"
    if height * width > MAX_PIXELS:
        remedy = "cut the slide into smaller fields, or export the image again if that size is wrong"
        raise ImageError(path, f"{announced}, more than {MAX_PIXELS:,}", remedy)
    if n_bytes > _SMALL_BYTES and n_bytes > MAX_RATIO * file_bytes:
        raise ImageError(path, f"{announced}, but the file has only {file_bytes:,} bytes", DAMAGED)
    # Memory holds the page and its plane in single precision.
    needed = 0 if page_bytes is None else page_bytes + 4 * height * width
    if needed > max(_AFFORDABLE, _AFFORDABLE_RATIO * file_bytes):
        finding = f"one page of it takes {needed / 1e9:.1f} GB, but the file has only {file_bytes:,} bytes"
        raise ImageError(path, finding, DAMAGED)

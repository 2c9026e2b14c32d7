"""The numbers of a file become intensities in [0, 1], whatever its type calls dark and full."""

import numpy as np
from skimage.measure import label
from skimage.morphology import dilation

from cellcycle.errors import ImageError

_SAMPLES = 1_000_000
# Logarithms to any base of the largest count of 32 bits stay below this, and no camera's counts do.
_LOGARITHM = 32.5
# A picture lies in the last part of its numbers that is smaller than this, on top of an offset; as large ones say "no
# data" in maps and registered pictures.
_OFFSET, _FILLING = 1e-3, 1e19
_SINGLE = np.finfo(np.float32).min, np.finfo(np.float32).max
# So few pixels, so many times brighter than all others, are no light: a cosmic ray, or a failed division.
_SPIKE_SHARE, _SPIKE_RATIO = 1e-5, 1e4
# What flat-fielding or deconvolution lifts above the full range of a file is no more than so many pixels and times.
_PASSED_SHARE, _PASSED_RATIO, _PASSED = 5e-4, 2.0, (1, 2**16 - 1)
# Fractions of what are so small as this is not known. Those of 32 bits may come from counts of 16.
_LEAST_FULL, _DEEP_FRACTIONS = 2.0**-32, 2.0**-16
# Of a mask: a row has at most so many edges; an area has so many pixels, such areas are so many of its areas, and hold
# nearly all that is not background.
_MOST_EDGES, _LEAST_AREA_PX, _LEAST_AREAS, _LEAST_COVERED = 0.25, 8, 0.7, 0.98
_LARGEST_LOOK_PX = 1024
# Of pixels that are hot, dead or drawn no more stand alone in their row at the other end of the range.
_MOST_ALONE, _LEAST_APART = 0.01, 2
# At the rim of what went round lie more pixels; of 352 fields and 2,805 crops none has a fifth of it. Bits that this
# share of the pixels has otherwise than the others change; of so few values a bit may be the same in all.
_MOST_RIM, _LEAST_CHANGING, _LEAST_VALUES, _LEAST_DENSE = 5e-4, 0.01, 24, 0.4
# Signed counts of 16 bits begin at this; they may have been stored as floats, or in more bits, since.
_LEAST_OF_16 = -(2.0**15)


def scale_to_unit(raw: np.ndarray, path="image") -> tuple[np.ndarray, int]:
    """Scale a file's numbers of any shape to float32 in [0, 1] without looking at how bright the picture is.

    Integers of 8 and 16 bits are divided by the full range of their type; signed ones may begin at their least number.
    Floats within [0, 1] stay, those from -1 to 1 are moved there; larger ones, and integers of 32 and 64 bits, are
    taken as camera counts and divided by the smallest full range (8, 16, 24 or 32 bits; of integers of 32 bits no 8)
    that holds all but a few of them. The bits of that range are returned, too: only pictures of one range compare. An
    offset beside which the picture is next to nothing is taken off; numbers that no count reaches fill what was not
    pictured; a few floats ten thousand times as large as all others become as bright as the brightest of these. The few
    numbers just below 0 that background subtraction leaves behind become 0; where darkness itself lies below 0, as in
    z-scores, it becomes 0. Refused are pixels that are not finite or no numbers, unsigned ones stored as signed,
    logarithms, masks, and unsigned ones of which so much was taken off that those below 0 became the largest.

    Examples
    --------
    >>> scale_to_unit(np.array([0, 13107, 65535], np.uint16))
    (array([0. , 0.2, 1. ], dtype=float32), 16)
    """
    if raw.ndim == 2 and shows_areas(raw):
        remedy = "leave it out, or give the folder of such masks with --use-masks, beside their images"
        raise ImageError(path, "it is a mask, not a picture: each of its objects is of one value", remedy)
    kind = raw.dtype.kind
    if kind == "b":
        return raw.astype(np.float32), 8
    if kind not in "uif":
        raise ImageError(path, f"its pixels are of type {raw.dtype}", "export it as 8-bit, 16-bit or float")
    least, largest = (raw.min().item(), raw.max().item()) if raw.size else (0, 0)
    if kind == "i" and raw.ndim == 2 and least < 0 < largest and _is_wrapped(raw):
        finding = "where it is brightest its numbers jump from above to below 0, as unsigned ones stored as signed do"
        raise ImageError(path, finding, f"export it as unsigned {8 * raw.dtype.itemsize} bits")
    if kind == "u" and raw.ndim == 2 and _is_underrun(raw):
        ends = "pixels at the top of its range lie amid those at its bottom"
        finding = f"{ends}, as where large numbers went round, or unsigned numbers fell below 0"
        remedy = "take the background off in signed numbers or fractions, or not at all; scale counts to fewer bits"
        raise ImageError(path, finding, remedy)
    if kind == "u" and raw.ndim == 2 and (stuck := _stuck_bits(raw)):
        finding = f"its numbers change above and below bit {stuck[0]}, which is the same in all of them: it is stuck"
        raise ImageError(path, finding, "give what the camera wrote, or have it looked at")
    is_offset = 0 < largest - least < _OFFSET * least
    # Of 32 bits that begin at a large number, single precision would keep every 128th.
    wide = np.float64 if raw.dtype.itemsize >= 4 and (kind == "i" or is_offset) else np.float32
    if kind == "f" and not np.isfinite(raw).all():
        raise ImageError(path, "some pixels are NaN or infinite", "replace them, then export the image again")
    # What single precision cannot hold fills what was not pictured.
    pixels = (np.clip(raw, *_SINGLE) if kind == "f" and raw.dtype.itemsize > 4 else raw).astype(wide)
    if kind == "f" and (is_filling := pixels >= _FILLING).any() and not is_filling.all():
        pixels[is_filling] = pixels[~is_filling].min()
    if kind == "f" and pixels.size:
        np.minimum(pixels, _brightest(pixels), out=pixels)
    dark = least if is_offset else 0.0 if kind == "u" or not raw.size else _dark(raw.dtype, pixels, path)
    if dark:
        pixels -= wide(dark)
    # Counts of 12 bits in a millionth of the range of 32 would pass for rounding.
    if kind == "f" or dark > 0 or raw.dtype.itemsize >= 4:
        ranges = (_DEEP_FRACTIONS, 2 if dark == -1 else 1) if kind == "f" else ()
        # Few photons are no picture of 8 bits: of fields of one plate some have more than 255, some have not.
        has_no_8 = dark == _LEAST_OF_16 or (kind != "f" and raw.dtype.itemsize == 4)
        ranges += (2**8 - 1, 2**16 - 1, 2**24 - 1, 2**32 - 1)[has_no_8:]
        largest = pixels.max()
        full_range = next((r for r in ranges if _LEAST_FULL < largest <= r or _is_passed(r, pixels)), largest or 1)
    else:
        limits = np.iinfo(raw.dtype)
        full_range = limits.max - limits.min if dark == limits.min else limits.max
    pixels /= wide(full_range)
    known = {_DEEP_FRACTIONS: 16} | {2**bits - 1: bits for bits in (8, 16, 24, 32)}
    bits = known.get(full_range, 8 * raw.dtype.itemsize)
    return np.clip(pixels, 0, 1, out=pixels).astype(np.float32, copy=False), bits


def _brightest(pixels: np.ndarray):
    """Return the largest number that is no spike."""
    n = min(pixels.size, 2 + int(_SPIKE_SHARE * pixels.size))
    top = np.sort(np.partition(pixels.ravel(), -n)[-n:])
    is_jump = (top[:-1] > 0) & (top[1:] > _SPIKE_RATIO * top[:-1])
    return top[is_jump.argmax()] if is_jump.any() else top[-1]


def _is_passed(full_range: float, pixels: np.ndarray) -> bool:
    """Say whether a few pixels alone are a little above a full range, which is that of the picture all the same."""
    is_near = full_range in _PASSED and full_range < pixels.max() <= _PASSED_RATIO * full_range
    return is_near and np.count_nonzero(pixels > full_range) <= _PASSED_SHARE * pixels.size


def _dark(dtype, pixels: np.ndarray, path) -> float:
    """Return the number that stands for no light: 0, or less where the picture says so."""
    some = pixels.ravel()[:: max(1, pixels.size // _SAMPLES)]
    # One number in many pixels below all others fills what was not pictured; it says nothing of darkness.
    pictured = some[some > some.min()]
    some = pictured if 0 < pictured.size < 0.98 * some.size else some
    least, low, middle, high = np.percentile(some, (0.1, 1, 50, 99.9))
    largest = pixels.max()
    for first in (_LEAST_OF_16, float(np.iinfo(dtype).min)) if dtype.kind == "i" else (_LEAST_OF_16,):
        if first <= pixels.min() and low <= first / 2 and largest < -first:
            return first
    if low < 0 and largest <= 0:
        finding = "all of its numbers are below 0, as those of logarithms are"
        raise ImageError(path, finding, "export intensities, best as the 16 bits of the camera")
    if dtype.kind == "f" and 1 < largest <= _LOGARITHM and low > 0.25 * largest:
        finding = f"its numbers, {low:.3g} to {largest:.3g}, are those of logarithms or ratios"
        raise ImageError(path, finding, "export intensities, best as the 16 bits of the camera")
    # Of noise about 0 half is above it; where the background itself is below, or much is, 0 is no darkness.
    if low < 0 and (middle < 0.1 * low or -low > 0.25 * high):
        return -1.0 if dtype.kind == "f" and pixels.min() >= -1 and largest <= 1 else float(least)
    return 0.0


def _is_wrapped(raw: np.ndarray) -> bool:
    """Say whether most neighbours (H, W) of unlike sign are near each other as unsigned numbers, and far as signed."""
    unsigned = raw.view(raw.dtype.str.replace("i", "u"))
    is_crossing = (raw[:, 1:] < 0) != (raw[:, :-1] < 0)
    a, b = unsigned[:, 1:][is_crossing], unsigned[:, :-1][is_crossing]
    is_near = np.maximum(a, b) - np.minimum(a, b) < 2 ** (8 * raw.dtype.itemsize - 2)
    return bool(2 * np.count_nonzero(is_near) > is_near.size)


def _is_underrun(raw: np.ndarray) -> bool:
    """Say whether many pixels (H, W) of several values lie at the other end of the unsigned range than both beside.

    Between the ends few numbers occur, as in mere noise many do. Or than one beside, as at the rim of what went round;
    few then differ by half of the range, and few are its largest number, as at sharp edges of what was overexposed.
    """
    some, quarter = _some_rows(raw), (np.iinfo(raw.dtype).max + 1) // 4
    lies_in = (some // quarter).astype(np.int8)
    beside = np.sort([lies_in[:, :-2], lies_in[:, 2:]], axis=0)
    is_rim = (lies_in[:, 1:-1] == 3) & (beside[0] == 0) & (beside[1] >= 2)
    n_half, n_full = (np.count_nonzero(of) for of in (np.abs(np.diff(lies_in, axis=1)) == 2, some == 4 * quarter - 1))
    rim = some[:, 1:-1][is_rim]
    if len(rim) > max(_MOST_RIM * some.size, n_half, n_full) and len(np.unique(rim)) > 2:
        return True
    _, *between, n_top = np.bincount(lies_in.ravel(), minlength=4)
    if n_top < _LEAST_APART * min(between):
        return False
    is_top, is_low = lies_in == 3, lies_in == 0
    is_jump = (is_top[:, 1:] & is_low[:, :-1]) | (is_low[:, 1:] & is_top[:, :-1])
    is_alone = is_jump[:, 1:] & is_jump[:, :-1]
    return np.count_nonzero(is_alone) > _MOST_ALONE * some.size and len(np.unique(some[:, 1:-1][is_alone])) > 2


def _stuck_bits(raw: np.ndarray) -> list[int]:
    """Return the bits that all counts (H, W) have alike while many differ in one above and in one below.

    From one brightness to another all counts between them occur, but for what was painted in one value; of counts that
    were multiplied not even half of the ground's do.
    """
    values, counts = np.unique(_some_rows(raw), return_counts=True)
    values, counts = np.delete(values // max(np.gcd.reduce(values), 1), i := counts.argmax()), np.delete(counts, i)
    if len(values) < _LEAST_VALUES:
        return []
    low, high = np.quantile(values, (0.05, 0.75), weights=counts, method="inverted_cdf")
    ones = [np.average((values >> bit) & 1, weights=counts) for bit in range(8 * raw.dtype.itemsize)]
    rarer = np.minimum(ones, 1 - np.array(ones))
    changing = np.flatnonzero(rarer > _LEAST_CHANGING)
    is_thin = np.count_nonzero((values >= low) & (values <= high)) < _LEAST_DENSE * (int(high) - int(low) + 1)
    # Between ground and nuclei of a small picture few counts occur; a bit leaves just that many out.
    stuck = [k for k in np.flatnonzero(rarer == 0).tolist() if (np.diff(values) == (1 << k) + 1).any()]
    return [k for k in stuck if not is_thin and changing[0] < k < changing[-1]]


def _some_rows(raw: np.ndarray) -> np.ndarray:
    return raw[:: max(1, raw.shape[0] // 256)]


def shows_areas(raw: np.ndarray) -> bool:
    """Say whether a plane shows areas of one value on a background of one value: labels, or black and white.

    Around nuclei of a picture with few levels one level lies in the next: most do not touch the background.
    """
    step = max(1, raw.shape[0] // 256)
    edges = raw[::step, 1:] != raw[::step, :-1]
    if not edges.size or np.count_nonzero(edges) > _MOST_EDGES * edges.size:
        return False
    # Of a large plane the part with most edges is looked at, for its numbers are sorted.
    tops, lefts = (np.arange(0, size, _LARGEST_LOOK_PX) for size in (raw.shape[0], edges.shape[1]))
    n_edges = np.add.reduceat(np.add.reduceat(edges, tops // step, axis=0, dtype=int), lefts, axis=1)
    top, left = (_LARGEST_LOOK_PX * k for k in np.unravel_index(n_edges.argmax(), n_edges.shape))
    part = raw[top : top + _LARGEST_LOOK_PX, left : left + _LARGEST_LOOK_PX]
    values, numbers = np.unique(part, return_inverse=True)
    counts = np.bincount(numbers.ravel())
    background = int(counts.argmax())
    if len(values) < 2:
        return False
    areas = np.bincount(label(numbers, background=background, connectivity=1).ravel())[1:]
    is_area = areas >= _LEAST_AREA_PX
    if is_area.mean() < _LEAST_AREAS or areas[is_area].sum() < _LEAST_COVERED * areas.sum():
        return False
    is_ground = numbers == background
    beside = np.unique(numbers[dilation(is_ground) & ~is_ground])
    return 2 * len(beside) > len(values) - 1

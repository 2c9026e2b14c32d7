"""Scale the numbers of an image file to intensities in [0, 1], for any data type and dark level."""

import numpy as np
from skimage.measure import label
from skimage.morphology import dilation

from cellcycle.errors import ImageError

_SAMPLES = 1_000_000
# Logarithms to base 2 or more of counts of 32 bits stay below this; counts of cameras do not.
_LOGARITHM = 32.5
# If the range of a picture is less than this fraction of its minimum, the minimum is an offset; floats from this value
# on mean "no data" in maps and registered pictures.
_OFFSET, _FILLING = 1e-3, 1e19
_SINGLE = np.finfo(np.float32).min, np.finfo(np.float32).max
# At most this fraction of pixels, this many times brighter than all others, are spikes: cosmic rays, failed divisions.
_SPIKE_SHARE, _SPIKE_RATIO = 1e-5, 1e4
# Flat-fielding or deconvolution lifts at most this fraction of pixels above the full range, to at most twice of it.
_PASSED_SHARE, _PASSED_RATIO, _PASSED = 5e-4, 2.0, (1, 2**16 - 1)
# Fractions up to the first have no known full range; those up to the second may be 16-bit counts over that of 32 bits.
_LEAST_FULL, _DEEP_FRACTIONS = 2.0**-32, 2.0**-16
# A mask has at most this fraction of edges between neighbours in rows. An area has at least 8 pixels; at least these
# fractions of its objects, and of the pixels that are not background, are areas.
_MOST_EDGES, _LEAST_AREA_PX, _LEAST_AREAS, _LEAST_COVERED = 0.25, 8, 0.7, 0.98
_LARGEST_LOOK_PX = 1024
# Largest fraction of hot, dead or drawn pixels that are alone in their row at the other end of the range.
_MOST_ALONE, _LEAST_APART = 0.01, 2
# Where numbers wrapped around, a larger fraction is rim pixels; of 352 fields and 2,805 crops none has a fifth of it. A
# bit varies if more than this fraction of pixels has its rarer state; among fewer values one may be constant by chance.
_MOST_RIM, _LEAST_CHANGING, _LEAST_VALUES, _LEAST_DENSE = 5e-4, 0.01, 24, 0.4
# Least number of signed 16-bit counts, which may have been stored as floats or in more bits since.
_LEAST_OF_16 = -(2.0**15)


def scale_to_unit(raw: np.ndarray, path="image") -> tuple[np.ndarray, int]:
    """Return a file's numbers, of any shape, as float32 in [0, 1], and the bits of their full range.

    Integers of 8 and 16 bits are divided by the full range of their type; for signed ones dark may be its minimum.
    Floats in [0, 1] stay, but all up to 2**-16 count as 16 bits; those in [-1, 1] with dark below 0 are mapped to it.
    Larger floats, and integers of 32 and 64 bits, are counts: they are divided by the smallest full range (8, 16, 24 or
    32 bits; for 32-bit integers not 8) that holds all but a few of them. Brightness within a range does not change the
    scale; only pictures of one range can be compared. An offset over 1,000 times the picture's range is subtracted.
    Floats from 1e19 on mean "no data" and become the minimum. A few floats 10,000 times as large as all others get the
    largest value of these. Numbers below dark become 0: dark is 0, but for z-scores and the like their minimum. Refused
    (`ImageError`) are masks, logarithms, numbers that are not finite or not real, unsigned numbers stored as signed or
    wrapped around at an end of their range, and counts in which one bit is stuck.

    Examples
    --------
    >>> scale_to_unit(np.array([0, 13107, 65535], np.uint16))
    (array([0. , 0.2, 1. ], dtype=float32), 16)
    """
    if raw.ndim == 2 and shows_areas(raw):
        remedy = "leave it out, or give the images, and the folder of their masks with --use-masks"
        raise ImageError(path, "it is a mask, not a picture: each of its objects has a single value", remedy)
    kind = raw.dtype.kind
    if kind == "b":
        return raw.astype(np.float32), 8
    if kind not in "uif":
        raise ImageError(path, f"its pixels are of type {raw.dtype}", "export it as 8-bit, 16-bit or float")
    least, largest = (raw.min().item(), raw.max().item()) if raw.size else (0, 0)
    if kind == "i" and raw.ndim == 2 and least < 0 < largest and _is_wrapped(raw):
        finding = "its brightest parts jump from above to below 0, as unsigned numbers that are stored as signed do"
        raise ImageError(path, finding, f"export it as unsigned {8 * raw.dtype.itemsize} bits")
    if kind == "u" and raw.ndim == 2 and _is_underrun(raw):
        ends = "pixels at the top of its range lie among pixels at its bottom"
        finding = f"{ends}, as after an overflow, or where unsigned numbers fell below 0"
        remedy = "subtract the background in signed numbers or fractions, or not at all; scale counts to fewer bits"
        raise ImageError(path, finding, remedy)
    if kind == "u" and raw.ndim == 2 and (stuck := _stuck_bits(raw)):
        finding = f"bit {stuck[0]} is the same in all of its numbers, while bits above and below change: it is stuck"
        raise ImageError(path, finding, "give the file that the camera wrote, or have the camera checked")
    is_offset = 0 < largest - least < _OFFSET * least
    # Of 32-bit numbers on a large offset, single precision would keep every 128th only.
    wide = np.float64 if raw.dtype.itemsize >= 4 and (kind == "i" or is_offset) else np.float32
    if kind == "f" and not np.isfinite(raw).all():
        raise ImageError(path, "some pixels are NaN or infinite", "replace them, then export the image again")
    # Numbers beyond single precision mean "no data".
    pixels = (np.clip(raw, *_SINGLE) if kind == "f" and raw.dtype.itemsize > 4 else raw).astype(wide)
    if kind == "f" and (is_filling := pixels >= _FILLING).any() and not is_filling.all():
        pixels[is_filling] = pixels[~is_filling].min()
    if kind == "f" and pixels.size:
        np.minimum(pixels, _brightest(pixels), out=pixels)
    dark = least if is_offset else 0.0 if kind == "u" or not raw.size else _dark(raw.dtype, pixels, path)
    if dark:
        pixels -= wide(dark)
    # Counts of 12 bits, divided by the range of 32 bits, would be below 1e-6 and pass for rounding errors.
    if kind == "f" or dark > 0 or raw.dtype.itemsize >= 4:
        ranges = (_DEEP_FRACTIONS, 2 if dark == -1 else 1) if kind == "f" else ()
        # Low photon counts are not 8-bit: some fields of a plate exceed 255, others do not; they must stay comparable.
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
    """Return the largest number that is not a spike."""
    n = min(pixels.size, 2 + int(_SPIKE_SHARE * pixels.size))
    top = np.sort(np.partition(pixels.ravel(), -n)[-n:])
    is_jump = (top[:-1] > 0) & (top[1:] > _SPIKE_RATIO * top[:-1])
    return top[is_jump.argmax()] if is_jump.any() else top[-1]


def _is_passed(full_range: float, pixels: np.ndarray) -> bool:
    """Return whether only a few pixels exceed a full range, and by at most twice: it is still that of the picture."""
    is_near = full_range in _PASSED and full_range < pixels.max() <= _PASSED_RATIO * full_range
    return is_near and np.count_nonzero(pixels > full_range) <= _PASSED_SHARE * pixels.size


def _dark(dtype, pixels: np.ndarray, path) -> float:
    """Return the number that means no light: 0, or less if the picture shows it; refuse logarithms."""
    some = pixels.ravel()[:: max(1, pixels.size // _SAMPLES)]
    # If over 2 % of the pixels have the minimum, it means "no data" and does not tell what is dark.
    pictured = some[some > some.min()]
    some = pictured if 0 < pictured.size < 0.98 * some.size else some
    least, low, middle, high = np.percentile(some, (0.1, 1, 50, 99.9))
    largest = pixels.max()
    for first in (_LEAST_OF_16, float(np.iinfo(dtype).min)) if dtype.kind == "i" else (_LEAST_OF_16,):
        if first <= pixels.min() and low <= first / 2 and largest < -first:
            return first
    if low < 0 and largest <= 0:
        finding = "all of its numbers are below 0, as logarithms are"
        raise ImageError(path, finding, "export intensities, best in the 16 bits of the camera")
    if dtype.kind == "f" and 1 < largest <= _LOGARITHM and low > 0.25 * largest:
        finding = f"its numbers, {low:.3g} to {largest:.3g}, look like logarithms or ratios"
        raise ImageError(path, finding, "export intensities, best in the 16 bits of the camera")
    # Half of the noise around 0 is above it; if the background, or much of the range, is below 0, then 0 is not dark.
    if low < 0 and (middle < 0.1 * low or -low > 0.25 * high):
        return -1.0 if dtype.kind == "f" and pixels.min() >= -1 and largest <= 1 else float(least)
    return 0.0


def _is_wrapped(raw: np.ndarray) -> bool:
    """Return whether most neighbours of unlike sign in rows of `raw` (H, W) are close if read as unsigned numbers."""
    unsigned = raw.view(raw.dtype.str.replace("i", "u"))
    is_crossing = (raw[:, 1:] < 0) != (raw[:, :-1] < 0)
    a, b = unsigned[:, 1:][is_crossing], unsigned[:, :-1][is_crossing]
    is_near = np.maximum(a, b) - np.minimum(a, b) < 2 ** (8 * raw.dtype.itemsize - 2)
    return bool(2 * np.count_nonzero(is_near) > is_near.size)


def _is_underrun(raw: np.ndarray) -> bool:
    """Return whether many numbers in `raw` (H, W) wrapped around at an end of the unsigned range.

    Either pixels of several values are at one end, both neighbours in the row at the other, and few numbers between
    (noise has many). Or rims of wrapped areas are found: a pixel in the highest quarter and one neighbour in the
    lowest, more often than steps of half the range and maximal pixels, which sharp overexposed edges have.
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
    """Return the stuck bits of a camera: bits that are the same in all counts (H, W) while higher and lower ones vary.

    Counts of a real picture are dense between two brightnesses, apart from areas painted in one value. If less than 0.4
    of the counts of the background occur, they were multiplied, and no bit is returned.
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
    # A small picture has gaps between background and nuclei; bit k leaves out exactly 2**k in a row.
    stuck = [k for k in np.flatnonzero(rarer == 0).tolist() if (np.diff(values) == (1 << k) + 1).any()]
    return [k for k in stuck if not is_thin and changing[0] < k < changing[-1]]


def _some_rows(raw: np.ndarray) -> np.ndarray:
    return raw[:: max(1, raw.shape[0] // 256)]


def shows_areas(raw: np.ndarray) -> bool:
    """Return whether a plane (H, W) is a mask: areas of one value, labels or white, on a background of one value.

    In an image with few grey levels the levels are nested around nuclei, so most do not touch the background.
    """
    step = max(1, raw.shape[0] // 256)
    edges = raw[::step, 1:] != raw[::step, :-1]
    if not edges.size or np.count_nonzero(edges) > _MOST_EDGES * edges.size:
        return False
    # Of a large plane only the part with most edges is examined, as sorting all its numbers takes long.
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

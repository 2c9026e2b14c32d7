"""Functions of label images and pictures; most work on a band of rows at a time, so that no copy is large."""

import ctypes
import sys
from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from skimage.morphology import h_maxima

from cellcycle.segmentation.ranks import percentiles_of

# An area is flat where a square of this side has one value.
FLAT_PX = 3
# A crop of at most this many pixels a side is not tested for several nuclei.
PLAIN_CROP_PX = 128
_BAND_PX, _MOST_PX = 1_000_000, 4_000_000
# Connectivity with corners: 8 neighbours.
EIGHT = np.ones((3, 3))


def bands(pixels: np.ndarray) -> Iterator[slice]:
    """Return slices of the rows of a picture (H, W), from top to bottom, of about a million pixels each."""
    rows = max(1, _BAND_PX // max(pixels.shape[1], 1))
    return (slice(top, top + rows) for top in range(0, pixels.shape[0], rows))


def give_back(pixels: np.ndarray) -> None:
    """Return freed memory to the system (glibc only), for pictures above 4 million pixels: up to a quarter of a GB."""
    if pixels.size > _MOST_PX and sys.platform == "linux":
        # Only the C library of GNU has this function.
        getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)(0)


def areas_of(labels: np.ndarray) -> np.ndarray:
    """Return the number of pixels of each label from 0 to K of (H, W) int, (K + 1,) int.

    Examples
    --------
    >>> areas_of(np.array([[0, 2, 2], [2, 0, 1]])).tolist()
    [2, 1, 3]
    """
    least = int(labels.max(initial=0)) + 1
    return sum((np.bincount(labels[b].ravel(), minlength=least) for b in bands(labels)), np.zeros(least, int))


def sums_of(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the sum of values (H, W) over each label from 0 to K, (K + 1,) float."""
    least, made = int(labels.max(initial=0)) + 1, 0.0
    for band in bands(labels):
        made = made + np.bincount(labels[band].ravel(), values[band].ravel(), least)
    return made


def renumbered(labels: np.ndarray, new: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
    """Replace each label k of (H, W) int32 by `new[k]`, `new` (K + 1,), in place or `into` another array; return it."""
    made = labels if into is None else into
    for band in bands(labels):
        made[band] = new[labels[band]]
    return made


def boxes_of(labels: np.ndarray) -> list[tuple[int, tuple[slice, slice]]]:
    """Return the labels above 0 that occur in (H, W) int, each with its bounding box."""
    return [(label, box) for label, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None]


def about(box, px: int) -> tuple[slice, ...]:
    """Return a box enlarged by `px` pixels on each side; it may end beyond the picture, as slices can."""
    return tuple(slice(max(side.start - px, 0), side.stop + px) for side in box)


def block_means(pixels: np.ndarray, px: int) -> np.ndarray:
    """Return the means of square blocks of `px` pixels; rows and columns that fill no block are left out."""
    height, width = (size // px for size in pixels.shape)
    return pixels[: height * px, : width * px].reshape(height, px, width, px).mean(axis=(1, 3))


def contrast_of(pixels: np.ndarray) -> float:
    """Return the contrast of a picture: from its percentile 1 to its percentile 99.5."""
    low, high = percentiles_of(pixels[::4, ::4] if pixels.size > 1e5 else pixels, [1, 99.5])
    return float(high - low)


def border_of(plane: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of a plane (H, W) as one array; corners occur twice."""
    return np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected piece of a mask (H, W) bool."""
    pieces, n_pieces = ndimage.label(mask)
    return pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])) if n_pieces > 1 else pieces > 0


def without_holes(mask: np.ndarray) -> np.ndarray:
    """Return a mask (H, W) bool with its holes filled, as SciPy's `binary_fill_holes` in a third of its time."""
    outside, _ = ndimage.label(~np.pad(mask, 1))
    return outside[1:-1, 1:-1] != outside[0, 0]


def of_median_pixel(values: np.ndarray, areas: np.ndarray) -> float:
    """Return the median of values (N,) weighted by areas (N,), so that small nuclei, however many, count little."""
    return float(np.quantile(values, 0.5, weights=areas, method="inverted_cdf"))


def thinned(pixels: np.ndarray) -> np.ndarray:
    """Return a picture (H, W), or of a large one every n-th row, so that 4 to 8 million pixels are left."""
    return pixels[:: _thinning(pixels)]


def _thinning(pixels: np.ndarray) -> int:
    return max(1, pixels.size // _MOST_PX)


def extreme(values: np.ndarray, side: int, of: np.ufunc, mirrored: bool = False) -> np.ndarray:
    """Return the minimum (`of` is `np.minimum`) or maximum of values (H, W) in a square around each pixel.

    SciPy's `minimum_filter` and `maximum_filter` in a fifth of their time. A square of an even side extends one pixel
    farther up and left, with `mirrored` down and right.
    """
    reach = (side // 2, (side - 1) // 2)
    for _ in range(2):
        values, reached = np.pad(values, [reach[::-1] if mirrored else reach, (0, 0)], mode="edge"), 1
        while reached < side:
            # The extreme of a large square is that of smaller ones that overlap or touch.
            step = min(reached, side - reached)
            values, reached = of(values[:-step], values[step:]), reached + step
        values = values.T
    return values


def tops_of(height: np.ndarray, dip: float, where: np.ndarray) -> np.ndarray:
    """Return the `h_maxima` of a float height (H, W) that lie in a mask `where`, (H, W) bool.

    As `h_maxima` sorts all pixels, it is called only for connected areas of several peaks, one by one.
    """
    least = height.min(where=where, initial=np.inf)
    floor = height.dtype.type(least - 1.1 * dip)
    areas, n_areas = ndimage.label(height > floor, EIGHT)
    peaks = (height >= least) & (extreme(height, 3, np.maximum) == height)
    n_peaks = np.bincount(areas[peaks], minlength=n_areas + 1)
    tops, boxes = peaks & (n_peaks == 1)[areas], ndimage.find_objects(areas)
    for k in np.flatnonzero(n_peaks > 1):
        box = boxes[k - 1]
        # Without a lower rim, an area that fills its box would have no maximum.
        own = np.pad(np.where(areas[box] == k, height[box], floor), 1, constant_values=floor)
        tops[box] |= h_maxima(own, dip).astype(bool)[1:-1, 1:-1]
    return tops & where


def thinned_extreme(labels: np.ndarray, px: int, of: np.ufunc) -> np.ndarray:
    """Return the `extreme` of the mask of labels (H, W), in squares that extend `px` pixels, at the rows of `thinned`.

    With `np.minimum` it is true where all of a square is labelled, with `np.maximum` where some of it is.
    """
    step, rows = _thinning(labels), []
    for band in bands(labels):
        top, first = max(band.start - px, 0), -(-band.start // step) * step
        found = extreme(labels[top : band.stop + px] > 0, 2 * px + 1, of)
        rows.append(found[first - top : band.stop - top : step])
    return np.concatenate(rows)


def flat_areas(pixels: np.ndarray, most: float = 0.0) -> np.ndarray:
    """Label the areas (H, W) int32 of squares of 3 px in which pixels differ by at most `most`."""
    core = np.empty(pixels.shape, bool)
    for band in bands(pixels):
        top = max(band.start - FLAT_PX // 2, 0)
        part = pixels[top : band.stop + FLAT_PX // 2]
        is_flat = extreme(part, FLAT_PX, np.maximum) - extreme(part, FLAT_PX, np.minimum) <= most
        core[band] = is_flat[band.start - top :][: band.stop - band.start]
    if not core.any():
        return np.zeros(pixels.shape, np.int32)
    labels, _ = ndimage.label(core)
    # Two constant areas that touch have cores two pixels apart, so that each window contains one label.
    return ndimage.maximum_filter(labels, (FLAT_PX, FLAT_PX), output=labels)

"""Filled-in areas of a picture: zeros, another constant, or its mirror image, around a stitched or rotated picture."""

import numpy as np
from scipy import ndimage

from cellcycle.segmentation.ranks import median_of, middle_and_deviation
from cellcycle.segmentation.regions import EIGHT, PLAIN_CROP_PX, about, areas_of, contrast_of, flat_areas, thinned
from cellcycle.segmentation.stops import stopped
from cellcycle.segmentation.survey import has_objects, threshold_of

# A constant area with a sharp edge is filled in if it is at least this fraction of the picture.
_LEAST_FILL_SHARE = 0.004
# A value this far below the darkest pixels beside it (in spreads of their darkest quarter) is no clipped background.
_BELOW = 1.0
# At a sharp edge, the neighbouring pixels already show at least this fraction of the step to pixels farther away.
_LEAST_STEP = 0.7
# The step at an edge is more than this fraction of the contrast of the picture.
_LEAST_JUMP = 0.02
# Surroundings of an area: pixels from the first to the second distance beyond its edge.
RING_PX = (3, 6)
# If more than this fraction of the rest lies near the filling, nuclei were cut out and there is no background.
_MOST_RIM_SHARE = 0.6
# A constant area amid noise is at most this many deviations from the level of the noise; less than this fraction of
# pixels beside it has its value; their middle eight tenths have at least this many values.
_AMID, _SAME, _LEAST_VALUES = 4.0, 0.15, 6
# More than this fraction of them is darker and a tenth of it brighter, unlike clipped background; or less is as dark.
_BESIDE = 0.005
# In a filled area of several values, neighbours differ by at most this fraction of the noise.
_EVEN = 0.25
# In pictures of at least this many pixels, the smallest filled area is wider than this.
_LARGE_PX, _RUN_PX = 50_000, 8
# A tile, bar or disc fills at least this fraction of its bounding box.
_LEAST_OF_BOX = 0.75
# Black bars, lines and holes: least pixels of one, greatest fraction of the picture, number that is examined, and least
# fraction of the black pixels.
_LEAST_BLACK_PX, _MOST_BLACK, _MOST_PARTS, _MOST_OF_BLACK = 24, 0.05, 200, 0.8
# Mirrored padding is at least this wide: the 4 pixels of half a JPEG block may mirror the others. It has noise: more
# than this fraction of its pixels is brighter, or darker, than both neighbours in the row.
_LEAST_MIRROR_PX, _LEAST_UNLIKE = 5, 0.1
# In a picture with noise, less than this fraction is flat, apart from filled areas.
_FLAT_BY_CHANCE = 1e-4


def beside(pixels: np.ndarray, labels: np.ndarray, index: int, box, near_px: int = 2):
    """Return the value of a constant area, the pixels `near_px` beyond its edge, and those farther out."""
    window = about(box, RING_PX[1] + 1)
    area = labels[window] == index
    away = ndimage.distance_transform_cdt(~area, "chessboard")
    local = pixels[window]
    far = local[(away >= RING_PX[0]) & (away <= RING_PX[1])]
    return float(np.median(local[area])), local[away == near_px], far


def is_sharp(value: float, near: np.ndarray, far: np.ndarray, contrast: float) -> bool:
    """Return whether an edge is a sharp step, down or up, that no lens has blurred."""
    if not far.size or not near.size:
        return False
    level, deviation = middle_and_deviation(far)
    jump = abs(level - value)
    if jump <= max(4 * deviation, _LEAST_JUMP * contrast):
        return False
    return abs(median_of(near) - value) >= _LEAST_STEP * jump


def _is_below(value: float, near: np.ndarray, far: np.ndarray, least: float) -> bool:
    """Return whether a value is farther below the darkest pixels beside it than noise can be, also beside nuclei.

    It must be more than `least` below: the levels of a smoothed picture are farther apart than its noise.
    """
    if not near.size or not far.size:
        return False
    darkest, dark = np.percentile(near, (1, 25))
    # Where light fades gradually, pixels farther away are far brighter.
    is_cut = dark - value >= _LEAST_STEP * (np.percentile(far, 25) - value)
    return bool(is_cut and darkest - value > max(_BELOW * (dark - darkest), least))


def _is_compact(size: int, box) -> bool:
    """Return whether an area is a tile, bar or disc, unlike the dark background of a smoothed picture."""
    return size >= _LEAST_OF_BOX * np.prod([side.stop - side.start for side in box])


def _is_amid(value: float, near: np.ndarray, far: np.ndarray) -> bool:
    """Return whether a value is amid the noise beside it, of which few pixels share it: no background is so even."""
    around = np.concatenate([near, far])
    if not around.size:
        return False
    level, low, high = np.percentile(around, (50, 10, 90))
    deviation = 1.4826 * np.median(np.abs(around - level))
    is_both = min((around < value).mean(), 10 * (around > value).mean()) > _BESIDE
    is_lowest = (around <= value).mean() < _BESIDE
    n_values = len(np.unique(around[(around > low) & (around < high)]))
    is_rare = (around == value).mean() < _SAME and n_values >= _LEAST_VALUES
    return bool((is_both or is_lowest) and is_rare and abs(value - level) <= _AMID * deviation)


def filled(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Return the mask of filled-in areas of a picture (H, W), given its flat areas `labels` (H, W); None without."""
    found = _of_areas(pixels, labels)
    if found is None and (most := _EVEN * _noise_of(pixels)) and _has_runs(pixels, most):
        found = _of_areas(pixels, flat_areas(pixels, most))
    if (noisy := stopped(pixels)) is not None:
        # The rim of such an area is soft.
        noisy = ndimage.binary_dilation(noisy, EIGHT, iterations=3)
        found = noisy if found is None else found | noisy
    return _with_black(pixels, _with_mirrored(pixels, found))


def _with_mirrored(pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
    """Return a mask (or None) extended by the sides of a picture that mirror the rows or columns next to them."""
    mirrored = np.zeros(pixels.shape, bool)
    for rows, found in ((pixels, mirrored), (pixels.T, mirrored.T)):
        for way in (1, -1):
            found[::way][: _mirrored_px(rows[::way])] = True
    if not mirrored.any():
        return mask
    return mirrored if mask is None else mask | mirrored


def _mirrored_px(rows: np.ndarray) -> int:
    """Return the number of first rows that mirror the next ones bit for bit, which noise never does; 0 without."""
    some = rows[:, :: max(1, rows.shape[1] // 64)]
    # Rows that are equal from end to end were copied.
    for last in 1 + np.flatnonzero((some[1:-1] == some[0]).all(axis=1)):
        n = (last + 1) // 2
        # Pair by pair, because in a picture that is mostly black, as a thresholded one, most rows equal the first.
        pairs = zip(rows[:n], rows[last : last - n : -1], strict=True)
        if n >= _LEAST_MIRROR_PX and all(np.array_equal(one, two) for one, two in pairs):
            steps = np.diff(rows[:n].astype(np.float32), axis=1)
            has_noise = np.mean(steps[:, 1:] * steps[:, :-1] < 0) > _LEAST_UNLIKE and (rows[0] != rows[1]).any()
            return n if has_noise else 0
    return 0


def _noise_of(pixels: np.ndarray) -> float:
    """Return the standard deviation of the noise of a picture (H, W), from the differences of neighbours."""
    some = thinned(pixels)
    return median_of(np.abs(some[:, 1:] - some[:, :-1])) / (0.6745 * 2**0.5)


def _has_runs(pixels: np.ndarray, most: float) -> bool:
    """Return whether, in every eighth row, neighbours differ by at most `most` over the width of a filling anywhere.

    So few pictures need the search for all areas, which takes many times as long. Small pictures always have it.
    """
    if pixels.size < _LARGE_PX:
        return True
    is_even = np.abs(np.diff(pixels[::_RUN_PX], axis=1)) <= most
    return bool(ndimage.minimum_filter1d(is_even.view(np.uint8), _RUN_PX, axis=1).any())


def _with_black(pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
    """Return a mask (or None) extended by bars, lines and holes of the lowest value, if that is far below the rest."""
    black = pixels == pixels.min()
    if not _LEAST_BLACK_PX <= np.count_nonzero(black) <= _MOST_BLACK * pixels.size:
        return mask
    # The opening ignores single rows of dead pixels, which cut no nucleus in two.
    parts, _ = ndimage.label(ndimage.binary_opening(black, np.ones((2, 2))), EIGHT)
    sizes, boxes, least = areas_of(parts), ndimage.find_objects(parts), _LEAST_JUMP * contrast_of(pixels)
    large = [k for k in 1 + np.argsort(sizes[1:], kind="stable")[::-1][:_MOST_PARTS] if sizes[k] >= _LEAST_BLACK_PX]
    chosen = [k for k in large if _is_below(*beside(pixels, parts, k, boxes[k - 1]), least)]
    # The darkest blocks of a JPEG contain only some of the pixels of the lowest value.
    if sizes[chosen].sum() < _MOST_OF_BLACK * np.count_nonzero(black):
        return mask
    black = ndimage.binary_dilation(np.isin(parts, chosen), EIGHT, iterations=2)
    return black if mask is None else mask | black


def _of_areas(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    sizes = areas_of(labels)
    large = 1 + np.flatnonzero(sizes[1:] >= max(_LEAST_FILL_SHARE * pixels.size, 50))
    if not large.size:
        return None
    contrast = contrast_of(pixels)
    # JPEG blocks and smoothed pictures are flat in places. The padding of a crop at background level does no harm, but
    # painting over the two pixels beside it would.
    n_rest = pixels.size - sizes[large].sum()
    has_noise = n_rest > PLAIN_CROP_PX**2 and sizes[1:].sum() - sizes[large].sum() < _FLAT_BY_CHANCE * pixels.size
    mask = np.zeros(pixels.shape, bool)
    boxes = ndimage.find_objects(labels)
    for index in large:
        value, near, far = beside(pixels, labels, index, boxes[index - 1])
        # Bright areas with a sharp edge may be overexposed nuclei; a filling lies in a corner.
        corners = labels[[0, 0, -1, -1], [0, -1, 0, -1]] == index
        least = 0.0 if corners.any() else _LEAST_JUMP * contrast
        is_below = (corners.any() or _is_compact(sizes[index], boxes[index - 1])) and _is_below(value, near, far, least)
        is_cut = is_below or is_sharp(value, near, far, contrast)
        if (is_cut and (value < np.median(far) or corners.any())) or (has_noise and _is_amid(value, near, far)):
            mask |= labels == index
    if not mask.any():
        return None
    # Rotating a picture leaves one or two mixed pixels between filling and picture.
    mask = ndimage.binary_dilation(mask, EIGHT, iterations=2)
    if not (rest := ~mask).any():
        return None
    is_label_image = (labels[rest] > 0).mean() > 0.5
    rim = ndimage.distance_transform_edt(rest)[rest]
    is_cut_out = (rim <= RING_PX[1]).mean() > _MOST_RIM_SHARE
    sample = pixels[rest]
    if is_label_image or is_cut_out or not (has_objects(sample, threshold_of(sample)) or rim.max() > 90):
        return None
    return mask

"""What of a picture is filled in: zeros, another constant, or its mirror image, round a stitched or turned picture."""

import numpy as np
from scipy import ndimage

from cellcycle.segmentation.ranks import median_of, middle_and_deviation
from cellcycle.segmentation.regions import EIGHT, PLAIN_CROP_PX, about, areas_of, contrast_of, flat_areas, thinned
from cellcycle.segmentation.stops import stopped
from cellcycle.segmentation.survey import has_objects, threshold_of

# A constant area of at least this share of the picture, with a sharp edge, is filled in.
_LEAST_FILL_SHARE = 0.004
# Of the spread of the darkest quarter beside an area, so far below it is no background that was cut off.
_BELOW = 1.0
# Beside an area that is cut lies at least this share of the step to what is further away.
_LEAST_STEP = 0.7
# The step is at least this share of the contrast of the picture.
_LEAST_JUMP = 0.02
# What surrounds an area is looked at from here to there beyond its edge.
RING_PX = (3, 6)
# More than this share of the rest within reach of the filling: then nuclei were cut out, and there is no background.
_MOST_RIM_SHARE = 0.6
# A constant amid noise lies no farther from its level than this many deviations, and so few of those beside it are the
# same; between the first and the last tenth of them lie so many others.
_AMID, _SAME, _LEAST_VALUES = 4.0, 0.15, 6
# Of them at least this share is darker, and a tenth of it brighter, for below what was cut off nothing lies; or less
# than this share is as dark.
_BESIDE = 0.005
# In what is filled with more than one value, neighbours differ by less than this share of the noise.
_EVEN = 0.25
# The least filling of a picture of so many pixels is wider than this.
_LARGE_PX, _RUN_PX = 50_000, 8
# A tile, bar or disc fills so much of its box.
_LEAST_OF_BOX = 0.75
# A black bar, line or hole has so many pixels, all of them no larger share of a picture; so many are looked at.
_LEAST_BLACK_PX, _MOST_BLACK, _MOST_PARTS, _MOST_OF_BLACK = 24, 0.05, 200, 0.8
# A padding that mirrors a picture is so wide, for 4 pixels are half a block of JPEG, which may mirror the other half;
# and shows noise: at least this share of it is brighter, or darker, than both neighbours in its row.
_LEAST_MIRROR_PX, _LEAST_UNLIKE = 5, 0.1
# Where there is noise, no larger share of a picture is flat, but for what is filled in.
_FLAT_BY_CHANCE = 1e-4


def beside(pixels: np.ndarray, labels: np.ndarray, index: int, box, near_px: int = 2):
    """Return the value of a constant area, the pixels just beyond its edge, and those further out."""
    window = about(box, RING_PX[1] + 1)
    area = labels[window] == index
    away = ndimage.distance_transform_cdt(~area, "chessboard")
    local = pixels[window]
    far = local[(away >= RING_PX[0]) & (away <= RING_PX[1])]
    return float(np.median(local[area])), local[away == near_px], far


def is_sharp(value: float, near: np.ndarray, far: np.ndarray, contrast: float) -> bool:
    """Say whether an edge is cut, not blurred by a lens, and goes down or up to another level."""
    if not far.size or not near.size:
        return False
    level, deviation = middle_and_deviation(far)
    jump = abs(level - value)
    if jump <= max(4 * deviation, _LEAST_JUMP * contrast):
        return False
    return abs(median_of(near) - value) >= _LEAST_STEP * jump


def _is_below(value: float, near: np.ndarray, far: np.ndarray, least: float) -> bool:
    """Say whether a value lies as far below the darkest beside it as no noise does, whatever nuclei lie there.

    By `least` it does in any case: the levels of a smoothed picture are farther apart than its noise.
    """
    if not near.size or not far.size:
        return False
    darkest, dark = np.percentile(near, (1, 25))
    # Where light fades out, what is further away is brighter by far.
    is_cut = dark - value >= _LEAST_STEP * (np.percentile(far, 25) - value)
    return bool(is_cut and darkest - value > max(_BELOW * (dark - darkest), least))


def _is_compact(size: int, box) -> bool:
    """Say whether an area is a tile, bar or disc; the dark ground of a smoothed picture, of one level, is none."""
    return size >= _LEAST_OF_BOX * np.prod([side.stop - side.start for side in box])


def _is_amid(value: float, near: np.ndarray, far: np.ndarray) -> bool:
    """Say whether a value lies amid the noise beside it, of which hardly any is the same: no background is so even."""
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
    """Return where a picture (H, W) is filled in, of its flat areas `labels` (H, W); None where it is not."""
    found = _of_areas(pixels, labels)
    if found is None and (most := _EVEN * _noise_of(pixels)) and _has_runs(pixels, most):
        found = _of_areas(pixels, flat_areas(pixels, most))
    if (noisy := stopped(pixels)) is not None:
        # With the pixels of a soft rim.
        noisy = ndimage.binary_dilation(noisy, EIGHT, iterations=3)
        found = noisy if found is None else found | noisy
    return _with_black(pixels, _with_mirrored(pixels, found))


def _with_mirrored(pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
    """Return a mask or None with the sides of a picture that show what lies beside them once more."""
    mirrored = np.zeros(pixels.shape, bool)
    for rows, found in ((pixels, mirrored), (pixels.T, mirrored.T)):
        for way in (1, -1):
            found[::way][: _mirrored_px(rows[::way])] = True
    if not mirrored.any():
        return mask
    return mirrored if mask is None else mask | mirrored


def _mirrored_px(rows: np.ndarray) -> int:
    """Return how many of the first rows are the next ones in a mirror, to the last bit: noise never is."""
    some = rows[:, :: max(1, rows.shape[1] // 64)]
    # What is the same from end to end was made so.
    for last in 1 + np.flatnonzero((some[1:-1] == some[0]).all(axis=1)):
        n = (last + 1) // 2
        # Pair by pair, for where much is black, as in a thresholded picture, most rows seem the first once more.
        pairs = zip(rows[:n], rows[last : last - n : -1], strict=True)
        if n >= _LEAST_MIRROR_PX and all(np.array_equal(one, two) for one, two in pairs):
            steps = np.diff(rows[:n].astype(np.float32), axis=1)
            has_noise = np.mean(steps[:, 1:] * steps[:, :-1] < 0) > _LEAST_UNLIKE and (rows[0] != rows[1]).any()
            return n if has_noise else 0
    return 0


def _noise_of(pixels: np.ndarray) -> float:
    """Return the deviation of the noise of a picture (H, W), by what neighbours differ."""
    some = thinned(pixels)
    return median_of(np.abs(some[:, 1:] - some[:, :-1])) / (0.6745 * 2**0.5)


def _has_runs(pixels: np.ndarray, most: float) -> bool:
    """Say whether neighbours in a row, of every few rows, differ by `most` at most for as long as a filling is wide.

    So hardly a picture needs the look at all areas, which takes many times as long; a small one may as well have it.
    """
    if pixels.size < _LARGE_PX:
        return True
    is_even = np.abs(np.diff(pixels[::_RUN_PX], axis=1)) <= most
    return bool(ndimage.minimum_filter1d(is_even.view(np.uint8), _RUN_PX, axis=1).any())


def _with_black(pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
    """Return a mask or None with bars, lines and holes of the least value of a picture, if that lies below all else."""
    black = pixels == pixels.min()
    if not _LEAST_BLACK_PX <= np.count_nonzero(black) <= _MOST_BLACK * pixels.size:
        return mask
    # A row of dead pixels cuts no nucleus in two.
    parts, _ = ndimage.label(ndimage.binary_opening(black, np.ones((2, 2))), EIGHT)
    sizes, boxes, least = areas_of(parts), ndimage.find_objects(parts), _LEAST_JUMP * contrast_of(pixels)
    large = [k for k in 1 + np.argsort(sizes[1:], kind="stable")[::-1][:_MOST_PARTS] if sizes[k] >= _LEAST_BLACK_PX]
    chosen = [k for k in large if _is_below(*beside(pixels, parts, k, boxes[k - 1]), least)]
    # The darkest blocks of a JPEG are some of what is as dark.
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
    # Blocks of a JPEG, and what was smoothed, are flat here and there. The padding of a crop at its own level does no
    # harm: the two pixels beside it, which are taken for part of a filling, would.
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
    # With the pixel or two that turning a picture makes between filling and picture.
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

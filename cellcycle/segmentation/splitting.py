"""Classical segmentation of a window: foreground, splitting of touching nuclei, outline of each."""

import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import watershed

from cellcycle.segmentation.regions import areas_of, boxes_of, largest_piece, tops_of, without_holes
from cellcycle.segmentation.survey import Survey

# A pixel must also exceed this multiple of the mean of its surroundings (Gaussian, this many diameters wide).
_LOCAL_SHARE = 0.9
_LOCAL_DIAMETERS = 0.4
# Touching nuclei are split where distance x intensity dips by more than this (natural logarithm).
_DIP = 0.15
_INTENSITY_WEIGHT = 0.8
_SEED_SMOOTHING = 0.1
_SEED_STEP = 0.16
# The outline of a nucleus is at this fraction of its own brightness (75th percentile above background).
_OUTLINE_SHARE = 0.375
# Objects below this fraction of the area of a typical nucleus are dirt or fragments.
_LEAST_AREA_SHARE = 0.05
_LEAST_AREA_PX = 25
# A nucleus exceeds the background by this many of its standard deviations.
_LEAST_CONTRAST = 5.0


def seed_step_px(survey: Survey) -> int:
    """Return the spacing of the grid on which seeds are sought, at least 1 px; tiles must begin on it."""
    return max(1, int(_SEED_STEP * survey.radius_px))


def nuclei_of(signal: np.ndarray, survey: Survey) -> np.ndarray:
    """Return labels (h, w) int32 of the nuclei of a window, given its `Survey.signal` (h, w); 0 is background."""
    mask = _foreground(signal, survey)
    if not mask.any():
        return np.zeros(signal.shape, dtype=np.int32)
    return _outlined(signal, _split(signal, mask, survey), survey)


def _foreground(signal: np.ndarray, survey: Survey) -> np.ndarray:
    surroundings = ndimage.gaussian_filter(signal, _LOCAL_DIAMETERS * 2 * survey.radius_px)
    mask = signal > np.maximum(survey.threshold, _LOCAL_SHARE * surroundings)
    return ndimage.binary_opening(without_holes(mask), iterations=1)


def _split(signal: np.ndarray, mask: np.ndarray, survey: Survey) -> np.ndarray:
    """Split touching nuclei by a watershed on distance to the outside times intensity, both smoothed.

    The logarithm makes the depth of a dip relative, so that one value serves small and large, dim and bright
    nuclei.
    """
    width = max(_SEED_SMOOTHING * survey.radius_px, 0.5)
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask).astype(np.float32), width)
    brightness = ndimage.gaussian_filter(signal, width)
    height = np.log(np.maximum(distance, 0.5))
    height += _INTENSITY_WEIGHT * np.log(np.maximum(brightness / survey.threshold, 1e-3))
    # As the surface is smooth, a coarser grid has the same maxima, and the search is much faster.
    step = seed_step_px(survey)
    seeds = np.zeros(mask.shape, dtype=np.int32)
    seeds[::step, ::step] = label(tops_of(height[::step, ::step], _DIP, mask[::step, ::step]))
    return watershed(-height, seeds, mask=mask)


def _outlined(signal: np.ndarray, labels: np.ndarray, survey: Survey) -> np.ndarray:
    """Outline each nucleus at a fixed fraction of its brightness; remove objects that are too small or too faint."""
    outlined = np.zeros(labels.shape, dtype=np.int32)
    least_area = max(_LEAST_AREA_PX, _LEAST_AREA_SHARE * np.pi * survey.radius_px**2)
    n_kept, areas = 0, areas_of(labels)
    for index, window in boxes_of(labels):
        # The outline only shrinks an object. So specks, of which there may be hundreds of thousands, are skipped first.
        if areas[index] < least_area:
            continue
        inside, local = labels[window] == index, signal[window]
        contrast = float(np.percentile(local[inside], 75)) - survey.level
        nucleus = largest_piece(without_holes(inside & (local > survey.level + _OUTLINE_SHARE * contrast)))
        if nucleus.sum() < least_area or local[nucleus].mean() - survey.level < _LEAST_CONTRAST * survey.spread:
            continue
        n_kept += 1
        outlined[window][nucleus] = n_kept
    return outlined

"""Properties of a whole field: size of nuclei, background, threshold.

A large field is surveyed once, on a few windows and a coarse background grid; its tiles then use the same
numbers, so a nucleus does not depend on the tile it lies in.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from cellcycle.segmentation.ranks import median_of, middle_and_deviation, percentiles_of
from cellcycle.segmentation.regions import areas_of, block_means, extreme

SMOOTHING_PX = 1.0
# Greatest diameter of a nucleus; a larger object in the first look is uneven light.
LARGEST_DIAMETER_PX = 180
# Radii of the nuclei of cultured cells and tissues, which limit the estimate if the pixel size is known.
_RADIUS_UM = (1.5, 20.0)
# Bright and dark pixels of pure noise, smoothed or not, lie 3 robust deviations of the dark ones apart; in
# fields of nuclei it is 12 and more (100 fields of BBBC038), in simulated crowds 8.
_LEAST_CONTRAST = 5.0
# In a nearly empty field, nuclei are at least this many robust deviations above background; one has this many pixels.
_FEW_DEVIATIONS, _LEAST_NUCLEUS_PX = 12.0, 20
_WINDOW_PX = 1024
_MOST_WINDOWS = 16
# The background is the picture opened by a square of this many nuclear diameters.
_BACKGROUND_DIAMETERS = 3
_OTSU_BINS = 256


@dataclass(frozen=True)
class Survey:
    """Numbers of a field that its tiles share.

    `radius_px` is the typical radius of nuclei; `threshold` the intensity above background that separates nuclei from
    the rest; `level` and `spread` are median and standard deviation of the smoothed intensity outside nuclei,
    background subtracted; `background` (h, w) is on a grid of cells of side `cell_px`.
    """

    radius_px: float
    threshold: float
    level: float
    spread: float
    background: np.ndarray
    cell_px: int

    def signal(self, pixels: np.ndarray, top: int = 0, left: int = 0) -> np.ndarray:
        """Return the smoothed intensity above background, (h, w) float32, of a window of the field at (top, left)."""
        rows = (np.arange(pixels.shape[0]) + top + 0.5) / self.cell_px - 0.5
        columns = (np.arange(pixels.shape[1]) + left + 0.5) / self.cell_px - 0.5
        signal = ndimage.gaussian_filter(np.asarray(pixels, np.float32), SMOOTHING_PX)
        signal -= _bilinear(self.background, rows, columns)
        return np.maximum(signal, 0, out=signal)


def survey_field(
    pixels: np.ndarray, pixel_size_um: float | None = None, diameter_px: float | None = None
) -> Survey | None:
    """Return the `Survey` of a field (H, W), None for one without nuclei: a constant, noise or uneven light.

    The pixel size limits the estimated size to that of real nuclei; `diameter_px` replaces the estimate.
    """
    windows = [ndimage.gaussian_filter(np.asarray(part, np.float32), SMOOTHING_PX) for *_, part in _windows(pixels)]
    if _is_constant(min(window.min() for window in windows), max(window.max() for window in windows)):
        return None
    survey, signals = _first_look(pixels, windows, pixel_size_um, diameter_px, threshold_of)
    sample = np.concatenate([signal.ravel() for signal in signals])
    threshold, linear = threshold_of(sample), otsu(sample)
    if has_objects(sample, threshold) or has_objects(sample, linear):
        ceiling = _noise_ceiling(sample[sample <= linear])
    else:
        # Where nuclei cover a tiny part of the field, these thresholds fall into the noise: nearly all is dark.
        survey, signals = _first_look(pixels, windows, pixel_size_um, diameter_px, _noise_ceiling)
        sample = np.concatenate([signal.ravel() for signal in signals])
        if not _has_few(signals, _noise_ceiling(sample, _FEW_DEVIATIONS)):
            return None
        # With few photons, more noise than nuclear pixels exceeds four deviations.
        ceiling = _noise_ceiling(sample, _FEW_DEVIATIONS / 2)
    threshold = max(threshold, ceiling)
    radius_px = survey.radius_px if diameter_px else _clipped(_radius(signals, threshold), pixel_size_um)
    dark = sample[sample <= threshold]
    spread = float(np.std(dark))
    return replace(survey, radius_px=radius_px, threshold=threshold, level=median_of(dark), spread=spread)


def _first_look(pixels, windows, pixel_size_um, diameter_px, threshold_by) -> tuple[Survey, list[np.ndarray]]:
    """Return a survey without thresholds, and the signals of the windows above its background."""
    radius_px = diameter_px / 2 if diameter_px else _first_radius(windows, pixel_size_um, threshold_by)
    cell_px = max(1, int(radius_px / 4))
    survey = Survey(radius_px, 0.0, 0.0, 0.0, _background(pixels, radius_px, cell_px), cell_px)
    return survey, [survey.signal(window, top, left) for top, left, window in _windows(pixels)]


def otsu(sample: np.ndarray) -> float:
    """Return Otsu's threshold of a sample; its maximum, which nothing exceeds, if it is constant but for rounding."""
    low, high = sample.min(), sample.max()
    if _is_constant(low, high):
        return float(high)
    # Given its bounds, NumPy sorts; else it looks for the bin of each value, in three times as long.
    counts, bounds = np.histogram(sample, np.histogram_bin_edges(sample, _OTSU_BINS))
    return float(threshold_otsu(hist=(counts, (bounds[1:] + bounds[:-1]) / 2)))


def _is_constant(low: np.floating, high: np.floating) -> bool:
    """Return whether values between these differ by rounding only, too little for a histogram."""
    return bool(high - low <= _OTSU_BINS * np.spacing(max(abs(low), abs(high))))


def threshold_of(sample: np.ndarray) -> float:
    """Return Otsu's threshold on a scale that is linear for weak and logarithmic for strong intensities.

    On the linear scale a few bright nuclei raise the threshold above the dim ones; on the logarithmic scale
    the noise of the background lowers it into the background. The crossover lies at the linear threshold.
    """
    low, linear = float(percentiles_of(sample, 1)), otsu(sample)
    if not low < linear < sample.max():
        return max(low, linear)
    crossover = linear - low
    return float(np.exp(otsu(np.log(np.maximum(sample - low, 0) + crossover)))) - crossover + low


def has_objects(sample: np.ndarray, threshold: float) -> bool:
    """Return whether the bright pixels differ from the dark ones by more than in noise."""
    dark, bright = sample[sample <= threshold], sample[sample > threshold]
    if not bright.size:
        return False
    middle, deviation = middle_and_deviation(dark)
    return bool(bright.mean() - middle >= _LEAST_CONTRAST * deviation)


def _noise_ceiling(dark: np.ndarray, n_deviations: float = 4.0) -> float:
    """Return a value that background noise seldom exceeds: this many robust deviations above its median."""
    middle, deviation = middle_and_deviation(dark)
    return middle + n_deviations * deviation


def _has_few(signals: list[np.ndarray], threshold: float) -> bool:
    """Return whether an object above a threshold that noise never exceeds is as large as the smallest nuclei."""
    parts = (ndimage.label(signal > threshold)[0] for signal in signals)
    return any(areas_of(part)[1:].max(initial=0) >= _LEAST_NUCLEUS_PX for part in parts)


def _windows(pixels: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """Return the whole field if it is small, else up to 16 windows from greatest to least contrast: top, left, pixels.

    The window of greatest contrast ensures that nuclei in one corner of a large field are seen.
    """
    if pixels.size <= _MOST_WINDOWS * _WINDOW_PX**2 // 4:
        return [(0, 0, pixels)]
    windows = [
        (top, left, pixels[top : top + _WINDOW_PX, left : left + _WINDOW_PX])
        for top in range(0, pixels.shape[0], _WINDOW_PX)
        for left in range(0, pixels.shape[1], _WINDOW_PX)
    ]
    windows.sort(key=lambda window: -float(window[2][::8, ::8].std()))
    chosen = np.linspace(0, len(windows) - 1, min(_MOST_WINDOWS, len(windows))).astype(int)
    return [windows[index] for index in chosen]


def _first_radius(windows: list[np.ndarray], pixel_size_um: float | None, threshold_by) -> float:
    """Estimate the nuclear radius before the background is known."""
    side = max(min(window.shape) for window in windows)
    radius = _radius(windows, threshold_by(np.concatenate([window.ravel() for window in windows])))
    if 2 * radius > min(LARGEST_DIAMETER_PX, side / 2):
        # This is uneven light: subtract what is wider than the largest nucleus and estimate again.
        size = max(3, int(min(side / 4, 2 * LARGEST_DIAMETER_PX)))
        windows = [window - opened(window, size) for window in windows]
        radius = _radius(windows, threshold_by(np.concatenate([window.ravel() for window in windows])))
    return _clipped(radius, pixel_size_um)


def _radius(windows: list[np.ndarray], threshold: float) -> float:
    """Return the typical radius of bright objects: 3.4 times the median distance of their pixels to the outside."""
    distances = []
    for window in windows:
        mask = window > threshold
        nearest = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
        # The distances of all pixels would take twice as long.
        squares = sum((at - to[mask]) ** 2 for at, to in zip(np.nonzero(mask), nearest, strict=True))
        distances.append(np.sqrt(squares))
    distances = np.concatenate(distances)
    # Half of a disc's area lies within 1 - sqrt(1/2) of its radius from the rim.
    return median_of(distances) / (1 - np.sqrt(0.5)) if distances.size else 5.0


def _clipped(radius_px: float, pixel_size_um: float | None) -> float:
    if pixel_size_um:
        radius_px = float(np.clip(radius_px, _RADIUS_UM[0] / pixel_size_um, _RADIUS_UM[1] / pixel_size_um))
    return float(np.clip(radius_px, 3.0, LARGEST_DIAMETER_PX / 2))


def _background(pixels: np.ndarray, radius_px: float, cell_px: int) -> np.ndarray:
    """Return the background on a grid of cells: cell means, opened and smoothed."""
    if cell_px > 1:
        # Row bands keep the padded copy of a large field small.
        rows = cell_px * max(1, _WINDOW_PX // cell_px)
        bands = (np.asarray(pixels[top : top + rows], np.float32) for top in range(0, pixels.shape[0], rows))
        whole = (np.pad(band, [(0, -size % cell_px) for size in band.shape], mode="edge") for band in bands)
        cells = np.concatenate([block_means(band, cell_px) for band in whole])
    else:
        cells = ndimage.gaussian_filter(np.asarray(pixels, np.float32), 1.5)
    size = 2 * int(_BACKGROUND_DIAMETERS * radius_px / cell_px) + 1
    return ndimage.gaussian_filter(opened(cells, size), size / 3)


def opened(values: np.ndarray, side: int) -> np.ndarray:
    """Return values (H, W) opened by a square, as SciPy's `grey_opening` does."""
    return extreme(extreme(values, side, np.minimum), side, np.maximum, mirrored=True)


def _bilinear(grid: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Interpolate a grid bilinearly at the crossings of rows and columns; outside, its rim values continue."""
    for axis, at in enumerate((rows, columns)):
        last = grid.shape[axis] - 1
        at = np.clip(at, 0, last)
        before = np.clip(at.astype(int), 0, max(last - 1, 0))
        share = (at - before).astype(np.float32).reshape((-1, 1) if axis == 0 else -1)
        after = np.minimum(before + 1, last)
        grid = grid.take(before, axis) * (1 - share) + grid.take(after, axis) * share
    return grid

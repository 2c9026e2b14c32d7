"""Nuclei of a field by a small network that is shipped: which pixels are nucleus, how deep inside, where two touch.

The network sees nuclei at one size, to which the field is resampled, in windows that overlap by more than it sees
about a pixel, so that no seam shows. How it was trained: `cellcycle.training.finder`.
"""

import json
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.segmentation import expand_labels, watershed
from skimage.transform import resize

from cellcycle.graphs import check_hash, giving_back, open_graph
from cellcycle.segmentation.ground import roughness
from cellcycle.segmentation.ranks import percentiles_of
from cellcycle.segmentation.regions import (
    EIGHT,
    areas_of,
    boxes_of,
    largest_piece,
    of_median_pixel,
    thinned,
    thinned_extreme,
    tops_of,
    without_holes,
)

FOLDER = Path(__file__).parent / "weights"
# Size of a typical nucleus as the network sees it, in pixels of the resampled field: about that of training. At 20 px
# outlines are no better, more is found that is no nucleus, and a field of small nuclei takes nearly twice as long.
DIAMETER_PX = 14.0
# The field is never made larger than this, nor smaller: nuclei of 7 to 200 px are seen as those of training were.
SCALES = (0.1, 3.0)
# Scales are fractions of this, so that tiles can begin at whole pixels of both grids.
_FRACTIONS = 16
# A second look where the first one finds nuclei of another size than it was made for.
_WRONG_SIZE = 1.6
# Mean probability of what it takes for nuclei, below which the network sees them at a wrong size.
_UNSURE = 0.85
# Intensities at which the network sees 0 and 1, percentiles of the field.
_LEVELS = (1.0, 99.8)
_BRIGHT = 80
_WINDOW_PX, _HALO_PX, _STEP_PX = 800, 64, 8
# Pitch on which tiles must begin, so that each is resampled, and seen, as a part of the whole is.
TILE_STEP_PX = _STEP_PX * _FRACTIONS
# The network knows grounds with the noise of a camera, and takes the blocks of a JPEG for nuclei: where there is none,
# it gets this much, of the contrast that it sees. F1 at IoU 0.5 of 46 fields of BBBC038 as JPEG of quality 75: 0.67
# without, 0.93 with it, 0.92 before they were compressed. The roughness of the ground, so many pixels from nuclei, is
# 0.85 and more in 350 fields, and less in nine of ten JPEGs.
_GRAIN, _LEAST_ROUGH, _GLOW_PX = 0.03, 0.8, 10
# The survey of a field says so many times the diameter that is found (median of 72 fields of BBBC038).
SURVEY_OVER = 1.28
_IS_NUCLEUS, _IS_SURE, _DIP, _TOUCHING_COST, _LEAST_DEPTH, _SMOOTHING_PX = 0.55, 0.7, 0.25, 0.5, 0.3, 0.7
_SEED_STEP_PX = 2
_LEAST_AREA_SHARE, _LEAST_AREA_PX = 0.06, 8


@dataclass(frozen=True)
class Look:
    """Numbers of a field that its tiles share: intensities seen as 0 and 1, diameter of a typical nucleus.

    `grain` is the deviation of the noise that is added, 0 where the ground has its own.
    """

    low: float
    high: float
    diameter_px: float
    grain: float

    @property
    def scale(self) -> float:
        """Pixels of the resampled field for one of the field."""
        return float(np.round(np.clip(DIAMETER_PX / self.diameter_px, *SCALES) * _FRACTIONS) / _FRACTIONS)


def look_at(pixels: np.ndarray, diameter_px: float, threshold: float) -> Look:
    """Return how a field is looked at whose nuclei have about this diameter, and are brighter than a threshold."""
    sample = pixels[:: 1 + pixels.shape[0] // 2000, :: 1 + pixels.shape[1] // 2000]
    low, high = percentiles_of(sample, _LEVELS)
    bright = sample[sample > low + threshold]
    if bright.size:
        # Where nuclei cover next to nothing, the percentile of the field is that of its background.
        high = max(high, float(percentiles_of(bright, _BRIGHT)))
    ground = ~thinned_extreme(pixels > low + threshold, _GLOW_PX, np.maximum)
    # Every fourth line tells enough.
    grain = _GRAIN if roughness(thinned(pixels)[::4], ground[::4]) < _LEAST_ROUGH else 0.0
    return Look(float(low), float(max(high, low + 1e-6)), diameter_px, grain)


def nuclei_of(window: np.ndarray, look: Look) -> tuple[np.ndarray, float]:
    """Find the nuclei of a window: labels (h, w) int32, 0 is background; and how sure the network is of its nuclei."""
    maps = _maps(_grained(resampled(window, look.scale, look.low, look.high), look))
    is_nucleus = maps[0] > _IS_NUCLEUS
    sure = float(maps[0][is_nucleus].mean()) if is_nucleus.any() else np.nan
    return _whole(_at_pixels(_parted(maps), maps[0], window.shape), look.diameter_px), sure


def better_diameter(diameter_px: float, labels: np.ndarray, certainty: float) -> float | None:
    """Return half of a diameter where the network is unsure, else that of what it found, if it is of another size."""
    if certainty < _UNSURE and diameter_px > DIAMETER_PX:
        # Many small nuclei close together look like few large ones.
        return diameter_px / 2
    seen = typical_diameter(labels)
    return seen if seen and not 1 / _WRONG_SIZE < seen / diameter_px < _WRONG_SIZE else None


def typical_diameter(labels: np.ndarray) -> float | None:
    """Return the diameter of a typical nucleus, None without any.

    The geometric mean of the median nucleus' and of that in which the median pixel lies: where fragments
    outnumber nuclei, the nuclei count; where one giant lies among many, the many.
    """
    areas = areas_of(labels)[1:]
    areas = areas[areas > 0]
    if not len(areas):
        return None
    return float(np.sqrt(4 / np.pi * np.sqrt(np.median(areas) * of_median_pixel(areas, areas))))


def resampled(pixels: np.ndarray, scale: float, low: float, high: float) -> np.ndarray:
    """Return a field at another scale, with `low` brought to 0 and `high` to 1: float32."""
    shape = [max(_STEP_PX, round(side * scale)) for side in pixels.shape]
    image = resize(pixels.astype(np.float32), shape, order=1, anti_aliasing=scale < 1, preserve_range=True)
    return (image - np.float32(low)) / np.float32(high - low)


def _grained(image: np.ndarray, look: Look) -> np.ndarray:
    """Add the grain of a look to a resampled window; where windows overlap it is the same in each."""
    if not look.grain:
        return image
    # Windows begin at multiples of this.
    side = round(TILE_STEP_PX * look.scale)
    grain = np.random.default_rng(0).normal(0, look.grain, (side, side)).astype(np.float32)
    rows, columns = (np.arange(size) % side for size in image.shape)
    return image + grain[np.ix_(rows, columns)]


def _maps(image: np.ndarray) -> np.ndarray:
    """Return what the network says of each pixel, (3, h, w) in [0, 1]: nucleus, depth inside, two touch."""
    height, width = image.shape
    padding = [(_STEP_PX, -side % _STEP_PX + _STEP_PX) for side in image.shape]
    image = np.pad(image, padding, mode="reflect")
    maps = np.empty((3, *image.shape), np.float32)
    places = list(product(_windows(image.shape[0]), _windows(image.shape[1])))
    for k, ((top, bottom), (left, right)) in enumerate(places, start=1):
        row, column = max(top - _HALO_PX, 0), max(left - _HALO_PX, 0)
        window = image[row : bottom + _HALO_PX, column : right + _HALO_PX]
        # What comes after needs the memory: it is as much as all the rest of a usual field takes.
        (said,) = _session().run(None, {"field": window[None, None]}, giving_back() if k == len(places) else None)
        inside = np.s_[:, top - row : bottom - row, left - column : right - column]
        maps[:, top:bottom, left:right] = said[0][inside]
    return maps[:, _STEP_PX : _STEP_PX + height, _STEP_PX : _STEP_PX + width]


def _windows(side: int) -> list[tuple[int, int]]:
    """Return where the fewest windows of like size along a side begin and end: the halo of each is seen twice."""
    n = -(-side // _WINDOW_PX)
    ends = [round(side / _STEP_PX * k / n) * _STEP_PX for k in range(n + 1)]
    return list(pairwise(ends))


def _parted(maps: np.ndarray) -> np.ndarray:
    """Part the nuclei by a watershed on their depth, from each top that rises enough above the way to the next."""
    nucleus, depth, touching = maps
    mask = nucleus > _IS_NUCLEUS
    depth = ndimage.gaussian_filter(depth * (1 - _TOUCHING_COST * touching), _SMOOTHING_PX)
    seeds, step = np.zeros(mask.shape, np.int32), np.s_[::_SEED_STEP_PX, ::_SEED_STEP_PX]
    seeds[step] = ndimage.label(tops_of(depth[step], _DIP, mask[step] & (depth[step] > _LEAST_DEPTH)), EIGHT)[0]
    labels = watershed(-depth, seeds, mask=mask)
    sure = np.concatenate([[0], ndimage.mean(nucleus, labels, np.arange(1, labels.max() + 1))]) >= _IS_SURE
    return np.where(sure, np.arange(len(sure)), 0).astype(np.int32)[labels]


def _at_pixels(labels: np.ndarray, nucleus: np.ndarray, shape) -> np.ndarray:
    """Bring labels to the pixels of the field; where these are finer, outlines follow the probability between."""
    sides = zip(shape, labels.shape, strict=True)
    at = [np.minimum(((np.arange(n) + 0.5) / n * m).astype(int), m - 1) for n, m in sides]
    if shape[0] <= labels.shape[0]:
        return labels[np.ix_(*at)]
    return expand_labels(labels, 1.5)[np.ix_(*at)] * (resize(nucleus, shape, order=1) > _IS_NUCLEUS)


def _whole(labels: np.ndarray, diameter_px: float) -> np.ndarray:
    """Keep the largest piece of each nucleus, without holes, and leave specks out."""
    whole, n_kept = np.zeros(labels.shape, np.int32), 0
    least = max(_LEAST_AREA_PX, _LEAST_AREA_SHARE * np.pi / 4 * diameter_px**2)
    for index, box in boxes_of(labels):
        inside = without_holes(largest_piece(labels[box] == index))
        if inside.sum() >= least:
            n_kept += 1
            place = whole[box]
            place[inside & (place == 0)] = n_kept
    return whole


def read_card() -> dict:
    """Return what the network learned from, how it does on fields not seen, its limits, and the hash of its file."""
    return json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))


@cache
def _session():
    """Load the network, once."""
    graph = FOLDER / "model.onnx"
    check_hash(graph, read_card())
    return open_graph(graph, plans_memory=False)

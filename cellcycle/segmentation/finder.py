"""Segmentation of fields by a small shipped network: which pixels are nucleus, how deep inside, where two touch.

The field is resampled to nuclei of one size, and processed in windows that overlap by more than the receptive field, so
that there are no seams. How it was trained: `cellcycle.training.finder`.
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
# Diameter of a typical nucleus in pixels of the resampled field, about that of training. At 20 px outlines are no
# better, there are more false nuclei, and a field of small nuclei takes nearly twice as long.
DIAMETER_PX = 14.0
# Least and greatest scale of resampling: nuclei of 7 to 200 px are then about as large as in training.
SCALES = (0.125, 3.0)
# Scales are multiples of one over this, so that tiles can begin at whole pixels of both grids.
_FRACTIONS = 16
# The network runs again if the nuclei found differ in diameter by more than this factor from the diameter assumed.
_WRONG_SIZE = 1.6
# Below this mean probability of the nuclear pixels, the network sees nuclei at a wrong size.
_UNSURE = 0.85
# Percentiles of the field that are scaled to 0 and 1.
_LEVELS = (1.0, 99.8)
_BRIGHT = 80
_WINDOW_PX, _HALO_PX, _STEP_PX = 800, 64, 8
# Tiles must begin at multiples of this, so that each is resampled as part of the whole field would be.
TILE_STEP_PX = _STEP_PX * _FRACTIONS
# The network learned from backgrounds with camera noise, and takes JPEG blocks for nuclei. Where the noise is missing,
# noise of this deviation, relative to the contrast, is added. F1 at IoU 0.5 of 46 fields of BBBC038 as JPEG of quality
# 75: 0.67 without, 0.93 with it, 0.92 before compression. The roughness of the background, this many pixels from
# nuclei, is 0.85 and more in 350 fields, and less in nine of ten JPEGs.
_GRAIN, _LEAST_ROUGH, _GLOW_PX = 0.03, 0.8, 10
# The diameter that the survey of a field estimates, over that which the network finds (median of 72 fields of BBBC038).
SURVEY_OVER = 1.28
_IS_NUCLEUS, _IS_SURE, _DIP, _TOUCHING_COST, _LEAST_DEPTH, _SMOOTHING_PX = 0.55, 0.7, 0.25, 0.5, 0.3, 0.7
_SEED_STEP_PX = 2
_LEAST_AREA_SHARE, _LEAST_AREA_PX = 0.06, 8


@dataclass(frozen=True)
class Look:
    """Numbers of a field that its tiles share: intensities scaled to 0 and 1, and diameter of a typical nucleus.

    `grain` is the standard deviation of the noise that is added; 0 if the background has its own.
    """

    low: float
    high: float
    diameter_px: float
    grain: float

    @property
    def scale(self) -> float:
        """Number of pixels of the resampled field per pixel of the field."""
        return float(np.round(np.clip(DIAMETER_PX / self.diameter_px, *SCALES) * _FRACTIONS) / _FRACTIONS)


def look_at(pixels: np.ndarray, diameter_px: float, threshold: float) -> Look:
    """Return the `Look` at a field whose nuclei have about this diameter and exceed the background by `threshold`."""
    sample = pixels[:: 1 + pixels.shape[0] // 2000, :: 1 + pixels.shape[1] // 2000]
    low, high = percentiles_of(sample, _LEVELS)
    bright = sample[sample > low + threshold]
    if bright.size:
        # Where nuclei cover a tiny part of the field, its percentile lies within the background.
        high = max(high, float(percentiles_of(bright, _BRIGHT)))
    ground = ~thinned_extreme(pixels > low + threshold, _GLOW_PX, np.maximum)
    # Every fourth row is enough for an estimate.
    grain = _GRAIN if roughness(thinned(pixels)[::4], ground[::4]) < _LEAST_ROUGH else 0.0
    return Look(float(low), float(max(high, low + 1e-6)), diameter_px, grain)


def nuclei_of(window: np.ndarray, look: Look) -> tuple[np.ndarray, float]:
    """Return labels (h, w) int32 of a window, and the mean probability of its nuclear pixels, NaN without any."""
    maps = _maps(_grained(resampled(window, look.scale, look.low, look.high), look))
    is_nucleus = maps[0] > _IS_NUCLEUS
    sure = float(maps[0][is_nucleus].mean()) if is_nucleus.any() else np.nan
    return _whole(_at_pixels(_parted(maps), maps[0], window.shape), look.diameter_px), sure


def better_diameter(diameter_px: float, labels: np.ndarray, certainty: float) -> float | None:
    """Return the diameter for the next run: half if the network is unsure, else that found if other, else None."""
    if certainty < _UNSURE and diameter_px > DIAMETER_PX:
        # Many small nuclei close together look like few large ones.
        return diameter_px / 2
    seen = typical_diameter(labels)
    return seen if seen and not 1 / _WRONG_SIZE < seen / diameter_px < _WRONG_SIZE else None


def typical_diameter(labels: np.ndarray) -> float | None:
    """Return the diameter of a typical nucleus, None without any.

    Its area is the geometric mean of the median area and that of the nucleus which contains the median pixel. Neither
    many fragments nor one giant nucleus shifts it far.
    """
    areas = areas_of(labels)[1:]
    areas = areas[areas > 0]
    if not len(areas):
        return None
    return float(np.sqrt(4 / np.pi * np.sqrt(np.median(areas) * of_median_pixel(areas, areas))))


def resampled(pixels: np.ndarray, scale: float, low: float, high: float) -> np.ndarray:
    """Return a field resampled by `scale`, with `low` scaled to 0 and `high` to 1, float32."""
    shape = [max(_STEP_PX, round(side * scale)) for side in pixels.shape]
    image = resize(pixels.astype(np.float32), shape, order=1, anti_aliasing=scale < 1, preserve_range=True)
    return (image - np.float32(low)) / np.float32(high - low)


def _grained(image: np.ndarray, look: Look) -> np.ndarray:
    """Add the noise of a look to a resampled window; in overlaps of windows it is the same in each."""
    if not look.grain:
        return image
    # Windows begin at multiples of this.
    side = round(TILE_STEP_PX * look.scale)
    grain = np.random.default_rng(0).normal(0, look.grain, (side, side)).astype(np.float32)
    rows, columns = (np.arange(size) % side for size in image.shape)
    return image + grain[np.ix_(rows, columns)]


def _maps(image: np.ndarray) -> np.ndarray:
    """Return what the network predicts for each pixel, (3, h, w) in [0, 1]: nucleus, depth inside, two touch."""
    height, width = image.shape
    padding = [(_STEP_PX, -side % _STEP_PX + _STEP_PX) for side in image.shape]
    image = np.pad(image, padding, mode="reflect")
    maps = np.empty((3, *image.shape), np.float32)
    places = list(product(_windows(image.shape[0]), _windows(image.shape[1])))
    for k, ((top, bottom), (left, right)) in enumerate(places, start=1):
        row, column = max(top - _HALO_PX, 0), max(left - _HALO_PX, 0)
        window = image[row : bottom + _HALO_PX, column : right + _HALO_PX]
        # The last run gives its memory back for the steps that follow: as much as all the rest takes for a usual field.
        (said,) = _session().run(None, {"field": window[None, None]}, giving_back() if k == len(places) else None)
        inside = np.s_[:, top - row : bottom - row, left - column : right - column]
        maps[:, top:bottom, left:right] = said[0][inside]
    return maps[:, _STEP_PX : _STEP_PX + height, _STEP_PX : _STEP_PX + width]


def _windows(side: int) -> list[tuple[int, int]]:
    """Return begin and end of the fewest windows of like size along a side: the halo of each is computed twice."""
    n = -(-side // _WINDOW_PX)
    ends = [round(side / _STEP_PX * k / n) * _STEP_PX for k in range(n + 1)]
    return list(pairwise(ends))


def _parted(maps: np.ndarray) -> np.ndarray:
    """Separate nuclei by a watershed on their depth, from each maximum that is high enough above the next saddle."""
    nucleus, depth, touching = maps
    mask = nucleus > _IS_NUCLEUS
    depth = ndimage.gaussian_filter(depth * (1 - _TOUCHING_COST * touching), _SMOOTHING_PX)
    seeds, step = np.zeros(mask.shape, np.int32), np.s_[::_SEED_STEP_PX, ::_SEED_STEP_PX]
    seeds[step] = ndimage.label(tops_of(depth[step], _DIP, mask[step] & (depth[step] > _LEAST_DEPTH)), EIGHT)[0]
    labels = watershed(-depth, seeds, mask=mask)
    sure = np.concatenate([[0], ndimage.mean(nucleus, labels, np.arange(1, labels.max() + 1))]) >= _IS_SURE
    return np.where(sure, np.arange(len(sure)), 0).astype(np.int32)[labels]


def _at_pixels(labels: np.ndarray, nucleus: np.ndarray, shape) -> np.ndarray:
    """Return labels at the pixels of the field; where these are finer, outlines follow the interpolated probability."""
    sides = zip(shape, labels.shape, strict=True)
    at = [np.minimum(((np.arange(n) + 0.5) / n * m).astype(int), m - 1) for n, m in sides]
    if shape[0] <= labels.shape[0]:
        return labels[np.ix_(*at)]
    return expand_labels(labels, 1.5)[np.ix_(*at)] * (resize(nucleus, shape, order=1) > _IS_NUCLEUS)


def _whole(labels: np.ndarray, diameter_px: float) -> np.ndarray:
    """Keep the largest piece of each nucleus with its holes filled, and remove specks."""
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
    """Return the card of the network: training data, scores on held-out fields, limits, and hash of its file."""
    return json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))


@cache
def _session():
    """Load the network, once."""
    graph = FOLDER / "model.onnx"
    check_hash(graph, read_card())
    return open_graph(graph, plans_memory=False)

"""What in a picture is no picture of nuclei: it is painted over before anything is thresholded.

Filled areas (zeros or another constant round a stitched, turned or round picture), scale bars, lines and letters,
hot pixels, and objects far brighter and larger than nuclei (fibres, dirt). Each gives way to background like that
around it, noise included, so that every finder of nuclei, and the G1 peak, see the nuclei alone. A picture without
any of it stays as it is, bit by bit.
"""

from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
from scipy import ndimage

from cellcycle.segmentation.filled import RING_PX, beside, filled, is_sharp
from cellcycle.segmentation.ranks import median_of, middle_and_deviation, percentiles_of
from cellcycle.segmentation.regions import (
    EIGHT,
    FLAT_PX,
    about,
    areas_of,
    bands,
    boxes_of,
    contrast_of,
    flat_areas,
    give_back,
    renumbered,
    sums_of,
    thinned,
)
from cellcycle.segmentation.survey import SMOOTHING_PX, has_objects, opened, threshold_of

# A drawn line is this many times longer than wide.
_LEAST_LENGTH = 3
# A hot pixel is this many times brighter than what is three pixels wide around it, and lies this far (of the
# contrast of the picture) above it. A point in perfect focus is 2 times brighter.
_HOT_RATIO, _HOT_CONTRAST = 3.0, 0.5
_MOST_HOT_SHARE = 0.01
# Hot pixels of a picture that was enlarged are squares of one value, of up to so many pixels a side.
_SPECK_PX = 5
# Dirt is brighter than a typical nucleus by the first and holds more light than the second; chromosomes in mitosis
# are up to 6 times brighter but hold 4 times the light at most.
_DIRT_BRIGHTNESS, _DIRT_LIGHT = 4.0, 6.0
# A fibre is brighter than a typical nucleus and longer than this many of them.
_FIBRE_BRIGHTNESS, _FIBRE_LENGTH = 2.0, 5.0
# A faint one stands out from what a square of its width leaves by the first, and is longer than the second; of 350
# fields of BBBC038, two of RPE-1 and 20 simulated ones only that with a fibre has any. It is narrower than this many.
_FAINT, _FAINT_WIDTH = ((0.12, 5.0), (0.2, 3.3)), 0.35
# Nothing in a nucleus is this many times brighter than a typical one, however small.
_NEVER_BRIGHTNESS = 10.0
# Its glow goes with it. No nucleus has a bounding box whose diagonal is longer than this many diameters.
_GLOW_PX, _ROUND_LENGTH = 4, 3.0
# Nuclei below dirt are alike in area (quartiles) and stand out from the rest by so many standard deviations; haze and
# noise below nuclei do not.
_LEAST_NUCLEI, _ALIKE, _LEAST_CONTRAST = 4, 4.0, 10.0
# Larger pictures are looked at for typical nuclei on every second pixel.
_LEAST_COARSE_PX = 200_000
# What a nucleus is called that lies within this of what was painted over.
_FLAGS = {"filled": "edge", "drawn": "debris", "dirt": "debris", "fibre": "debris", "hot": "hot_pixel"}
_TOUCHING_PX = 2
# A filling of no larger share of the picture may lie in one nucleus, and is painted like that; nuclei stand out from
# ground by this share of the contrast at least.
_LARGE_SHARE, _STEP_TO_NUCLEI = 0.004, 0.05
_LEAST_AREA_PX = 15


@dataclass(frozen=True, eq=False)
class Picture:
    """A plane (H, W) float32 as finders and networks see it, itself where nothing had to be painted over.

    `painted` says where it was, by kind: "filled", "drawn", "hot", "dirt"; only kinds that occur. Each is
    a mask (H, W) whose rows `numpy.packbits` has packed, for it is held as long as the picture.
    """

    pixels: np.ndarray = field(repr=False)
    painted: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def flags(self, labels: np.ndarray) -> dict[str, set[int]]:
        """Return by flag the labels of the nuclei that touch what was painted over, or a fibre too faint for that."""
        give_back(labels)
        touched: dict[str, set[int]] = {}
        masks = ((kind, np.unpackbits(bits, 1, labels.shape[1]).view(bool)) for kind, bits in self.painted.items())
        for kind, mask in chain(masks, [("fibre", _faint_fibres(self.pixels, labels))]):
            near = mask if kind == "hot" or not mask.any() else ndimage.binary_dilation(mask, iterations=_TOUCHING_PX)
            touched.setdefault(_FLAGS[kind], set()).update(np.unique(labels[near]).tolist())
        return touched

    def n_bright(self, areas: np.ndarray) -> int:
        """Return how many objects painted over as dirt may be nuclei by their size, beside others with areas (N,)."""
        if "dirt" not in self.painted or not areas.size:
            return 0
        mask = np.unpackbits(self.painted["dirt"], 1, self.pixels.shape[1]).view(bool)
        dirt, _ = ndimage.label(ndimage.binary_erosion(mask, iterations=_GLOW_PX, border_value=1))
        diameter = np.sqrt(4 / np.pi * np.median(areas))
        is_alike = (areas_of(dirt)[1:] > np.median(areas) / _ALIKE) & (_lengths(dirt) < _ROUND_LENGTH * diameter)
        return int(np.count_nonzero(is_alike))


def look_over(pixels: np.ndarray) -> Picture:
    """Paint over what is no picture of nuclei; pixels (H, W) float."""
    pixels = np.asarray(pixels, dtype=np.float32)
    painted: dict[str, np.ndarray] = {}
    if min(pixels.shape, default=0) < 3 * FLAT_PX:
        return Picture(pixels)
    pixels, lines = _with_mended_lines(pixels)
    if lines.any():
        painted["hot"] = np.packbits(lines, axis=1)
    flat = flat_areas(pixels)
    for name, mask_of in (("filled", filled), ("drawn", _drawn), ("hot", _hot), ("dirt", _dirt)):
        mask = mask_of(pixels, flat) if flat is not None else mask_of(pixels)
        if mask is not None and not mask.all():
            painted[name] = np.packbits(mask, axis=1) | painted.get(name, np.uint8(0))
            pixels = _painted_over(pixels, mask, name == "filled")
            if flat is not None:
                flat[mask] = 0
        # It is as large as the picture, and not looked at again.
        flat = None if name == "drawn" else flat
        give_back(pixels)
    return Picture(pixels, painted)


def _with_mended_lines(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels with dead or hot rows and columns as what lies beside them, and where these are, (H, W) bool.

    Such a line is one pixel wide, of one value from end to end, and darker or brighter than the lines beside it: one at
    the border would hide that the picture cuts nuclei.
    """
    mended, lines = pixels, np.zeros(pixels.shape, bool)
    for axis in (0, 1):
        # A column that a mended row crosses is of one value again.
        is_flat = mended.min(axis=1 - axis) == mended.max(axis=1 - axis)
        around = np.pad(is_flat, 1)
        for k in np.flatnonzero(is_flat & ~around[2:] & ~around[:-2]):
            next_to = [at for at in (k - 1, k + 1) if 0 <= at < len(is_flat)]
            beside, value = np.take(mended, next_to, axis), np.take(mended, k, axis)[0]
            low, high = np.percentile(beside, (1, 99))
            if not low <= value <= high:
                mended = pixels.copy() if mended is pixels else mended
                np.moveaxis(mended, axis, 0)[k] = beside.mean(axis)
                np.moveaxis(lines, axis, 0)[k] = True
    return mended, lines


def _painted_over(pixels: np.ndarray, mask: np.ndarray, is_filled: bool) -> np.ndarray:
    """Return the pixels with each area of the mask as its surroundings are: drawn from their darker half."""
    rng = np.random.default_rng(0)
    painted = pixels.copy()
    areas, _ = ndimage.label(mask, EIGHT)
    everything, least_px, least = None, np.inf, np.inf
    if is_filled:
        least_px, least = _LARGE_SHARE * pixels.size, _STEP_TO_NUCLEI * contrast_of(pixels)
    for index, box in boxes_of(areas):
        window = about(box, 2 * RING_PX[1])
        area = areas[window] == index
        # Of a large area the ring is thin; of a pixel it is a few pixels wide.
        ring = ndimage.binary_dilation(area, iterations=2 if area.sum() < 10 else RING_PX[1]) & ~mask[window]
        around = pixels[window][ring]
        if around.size < 3:
            everything = pixels[~mask] if everything is None else everything
            around = everything
        if area.sum() < 10:
            painted[window][area] = np.median(around)
        else:
            # Where nuclei are most of what is around, its darker half is not ground alone.
            if area.sum() > least_px and np.ptp(np.percentile(around, (10, 50))) > least:
                threshold = threshold_of(around)
                around = around[around <= threshold] if has_objects(around, threshold) else around
            around = around[around <= np.median(around)]
            # The darker half of the noise, and its mirror image.
            noise = rng.choice(around, int(area.sum())) - around.max()
            painted[window][area] = np.maximum(around.max() + noise * rng.choice([-1, 1], noise.size), 0)
    return painted


def _drawn(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Find bars, lines and letters: of one value, brighter than what is around, sharp, and longer than wide or tiny."""
    areas = areas_of(labels)
    if len(areas) == 1:
        return None
    contrast, drawn, values = contrast_of(pixels), np.zeros(pixels.shape, bool), set()
    # A picture of few levels is flat all over its dark half, one of JPEG in blocks up to 0.03 of the contrast above it.
    level = median_of(pixels[::2, ::2]) + 0.1 * contrast
    least_of_speck = float(pixels.min()) + _HOT_CONTRAST * contrast
    value_of = np.zeros(len(areas), np.float32)
    value_of[labels] = pixels
    is_possible = (areas >= 9) & (areas <= 0.1 * pixels.size) & (value_of > level)

    def is_bright(index: int, box) -> bool:
        n_brighter = np.count_nonzero(pixels[box] > value_of[index])
        return 2 * n_brighter < pixels[box].size or areas[index] >= 0.5 * pixels[box].size

    candidates = ((index, box) for index, box in boxes_of(labels) if is_possible[index] and is_bright(index, box))
    # A picture of few levels is flat in a thousand places, none of which is brighter than its surroundings.
    for index, box in islice(candidates, 2000):
        mask = labels[box] == index
        width = 2 * ndimage.distance_transform_edt(np.pad(mask, 1)).max()
        is_other = np.hypot(*mask.shape) < _LEAST_LENGTH * width and value_of[index] not in values
        is_speck = is_other and max(mask.shape) <= _SPECK_PX and value_of[index] > least_of_speck and mask.all()
        if is_other and not is_speck:
            continue
        # An overexposed plate of chromosomes is flat and long too, but neither a rectangle nor cut at one pixel.
        is_bar = mask.mean() > 0.95 and not is_speck
        value, near, far = beside(pixels, labels, index, box, 2 if is_bar else 1)
        least = _HOT_CONTRAST * contrast if is_speck else 0
        if far.size and value - np.median(far) > least and is_sharp(value, near, far, contrast):
            drawn[box] |= mask
            if not is_speck:
                values.add(value_of[index])
    return ndimage.binary_dilation(drawn, EIGHT, iterations=2) if drawn.any() else None


def _hot(pixels: np.ndarray) -> np.ndarray | None:
    """Find what is bright and one or two pixels wide: hot pixels, cosmic rays, camera lines."""
    ground = opened(pixels, 3)
    low, high = percentiles_of(ground[::2, ::2], [50, 99.5])
    above = pixels - ground
    hot = above > max(_HOT_CONTRAST * float(high - low), np.finfo(np.float32).tiny)
    for band in bands(pixels):
        hot[band] &= pixels[band] - low > _HOT_RATIO * np.maximum(ground[band] - low, 0)
    if not hot.any():
        return None
    hot &= above > 12 * middle_and_deviation(thinned(above))[1]
    return hot if 0 < hot.mean() <= _MOST_HOT_SHARE else None


def _dirt(pixels: np.ndarray) -> np.ndarray | None:
    """Find fibres, and objects far brighter and larger than the nuclei, of which there must be some."""
    smooth = ndimage.gaussian_filter(pixels, SMOOTHING_PX)
    level = median_of(smooth[::2, ::2])
    typical = _typical_nucleus(smooth, level, 2 if pixels.size > _LEAST_COARSE_PX else 1)
    if typical is None:
        return None
    brightness, light, diameter = typical
    bright, n_bright = ndimage.label(smooth > level + _FIBRE_BRIGHTNESS * brightness)
    if not n_bright:
        return None
    areas, lengths = areas_of(bright)[1:], _lengths(bright)
    lights = sums_of(smooth, bright)[1:] - level * areas
    is_fibre = (lengths > _FIBRE_LENGTH * diameter) & (areas / lengths < 0.7 * diameter)
    is_dirt = (lights > _DIRT_BRIGHTNESS * brightness * areas) & (lights > _DIRT_LIGHT * light)
    is_dirt |= lights > _NEVER_BRIGHTNESS * brightness * areas
    if not (is_fibre | is_dirt).any():
        return None
    chosen = renumbered(bright, np.concatenate([[False], is_fibre | is_dirt]), np.empty(bright.shape, bool))
    return ndimage.binary_dilation(chosen, iterations=_GLOW_PX)


def _faint_fibres(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Find what is long and thin, a third as bright as the nuclei `labels` (H, W) or more, whatever it crosses."""
    areas, some, is_nucleus = areas_of(labels)[1:], thinned(pixels), thinned(labels) > 0
    if np.count_nonzero(areas) < _LEAST_NUCLEI or is_nucleus.all() or not is_nucleus.any():
        return np.zeros(labels.shape, bool)
    diameter = np.sqrt(4 / np.pi * np.median(areas[areas > 0]))
    brightness = median_of(some[is_nucleus]) - median_of(some[~is_nucleus])
    n_reached, side = np.zeros(labels.shape, np.uint8), max(3, round(_FAINT_WIDTH * diameter))
    for band in bands(pixels):
        top, beyond = max(band.start - 2 * side, 0), band.stop + 2 * side
        smooth = ndimage.gaussian_filter(pixels[top:beyond], SMOOTHING_PX)
        smooth -= opened(smooth, side)
        ridges = smooth[band.start - top :][: band.stop - band.start]
        n_reached[band] = sum(ridges > share * brightness for share, _ in _FAINT)
    fibres = np.zeros((1, 1), bool)
    for k, (_, length) in enumerate(_FAINT):
        n_reached[n_reached <= k] = 0
        thin, _ = ndimage.label(n_reached, EIGHT)
        n_px = areas_of(thin)
        # Nothing has fewer pixels than its box is long: most are grain, whose boxes would fill the memory.
        renumbered(thin, np.where(n_px < length * diameter / np.sqrt(2), 0, np.arange(len(n_px))))
        lengths = _lengths(thin)
        is_fibre = (lengths > length * diameter) & (n_px[1 : 1 + len(lengths)] < _FAINT_WIDTH * diameter * lengths)
        if is_fibre.any():
            fibres = fibres | renumbered(thin, np.concatenate([[False], is_fibre]), np.empty(thin.shape, bool))
        # Of a large field the next ones would be made beside these.
        del thin
    return np.broadcast_to(fibres, labels.shape)


def _lengths(labels: np.ndarray) -> np.ndarray:
    """Return the diagonals of the bounding boxes of labels 1 to K (H, W), (K,); 0 of one that is not there."""
    boxes = ndimage.find_objects(labels)
    return np.array([0.0 if box is None else np.hypot(*(side.stop - side.start for side in box)) for box in boxes])


def _typical_nucleus(smooth: np.ndarray, level: float, step: int) -> tuple[float, float, float] | None:
    """Return brightness above the level, light and diameter of a typical nucleus; None where there are few."""
    smooth = smooth[::step, ::step]
    free = np.ones(smooth.shape, bool)
    found = None
    for _ in range(3):
        sample = smooth[free]
        if sample.size < 100 or np.ptp(sample) == 0:
            break
        threshold = threshold_of(sample)
        if not has_objects(sample, threshold):
            break
        objects, _ = ndimage.label((smooth > threshold) & free)
        areas = areas_of(objects)[1:]
        if found is not None:
            # What touches an object that was set aside is its glow.
            areas[np.setdiff1d(objects[ndimage.binary_dilation(~free)], [0]) - 1] = 0
        large = 1 + np.flatnonzero(areas >= _LEAST_AREA_PX / step**2)
        if not large.size:
            break
        areas = areas[large - 1]
        lights = sums_of(smooth, objects)[large] - level * areas
        brightness = lights / areas
        each = brightness, lights * step**2, np.sqrt(4 * areas / np.pi) * step
        this = tuple(float(np.median(values)) for values in each)
        # Below the first objects are many more, far darker: those are the nuclei, and the first were dirt.
        if found is not None:
            ratio, times = found[0][0] / this[0], large.size / found[1]
            low, high = np.quantile(areas, [0.25, 0.75])
            is_alike = high < _ALIKE * low and areas.sum() > 0.8 * (objects > 0).sum()
            dark = sample[sample <= threshold]
            stands_out = this[0] > _LEAST_CONTRAST * np.std(dark)
            if ratio < _DIRT_BRIGHTNESS or times < 3 or not (is_alike and stands_out):
                break
        found = this, large.size
        free &= ~ndimage.binary_dilation(objects > 0, iterations=5 // step)
    return found[0] if found is not None and found[1] >= _LEAST_NUCLEI else None

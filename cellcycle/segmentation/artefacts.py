"""Artefacts of a picture, which are painted over before anything is thresholded.

They are filled areas (a constant, noise or a mirror image around a stitched, rotated or round picture), scale bars,
lines, letters, hot pixels, and objects far brighter and larger than nuclei (fibres, dirt). Background like that around
each replaces it, noise included, so that finders of nuclei and the G1 peak see only nuclei. A picture without artefacts
is returned unchanged, bit for bit.
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

# A drawn line is at least this many times longer than wide.
_LEAST_LENGTH = 3
# A hot pixel is more than this many times brighter than its surroundings (the picture opened by 3 px), and exceeds them
# by more than this fraction of the contrast. A point source in perfect focus is 2 times brighter.
_HOT_RATIO, _HOT_CONTRAST = 3.0, 0.5
_MOST_HOT_SHARE = 0.01
# In an enlarged picture, hot pixels are squares of one value with sides of at most this many pixels.
_SPECK_PX = 5
# Dirt has more than the first times the brightness and the second times the integrated intensity of a typical nucleus.
# Chromosomes in mitosis are up to 6 times brighter, but have at most 4 times the integrated intensity.
_DIRT_BRIGHTNESS, _DIRT_LIGHT = 4.0, 6.0
# A fibre is more than 2 times as bright as a typical nucleus and longer than this many of its diameters.
_FIBRE_BRIGHTNESS, _FIBRE_LENGTH = 2.0, 5.0
# Faint fibres: least excess over the picture opened by a square (in brightnesses of nuclei), with least length;
# greatest width (in diameters). Of 350 fields of BBBC038, 2 of RPE-1 and 20 simulated ones only one with a fibre has.
_FAINT, _FAINT_WIDTH = ((0.12, 5.0), (0.2, 3.3)), 0.35
# An object of more than this many times the brightness of a typical nucleus is dirt, however small.
_NEVER_BRIGHTNESS = 10.0
# Dirt is painted over with this many pixels of glow. The bounding box of a nucleus has a shorter diagonal than this.
_GLOW_PX, _ROUND_LENGTH = 4, 3.0
# Least number of nuclei; objects below dirt are nuclei if the quartiles of their areas differ by less than this factor,
# and they exceed the background by this many standard deviations. Haze and noise do not.
_LEAST_NUCLEI, _ALIKE, _LEAST_CONTRAST = 4, 4.0, 10.0
# In pictures of more pixels than this, typical nuclei are measured on every second row and column.
_LEAST_COARSE_PX = 200_000
# Flags of nuclei that lie within this many pixels of an artefact (hot pixels: that contain one), by its kind.
_FLAGS = {"filled": "edge", "drawn": "debris", "dirt": "debris", "fibre": "debris", "hot": "hot_pixel"}
_TOUCHING_PX = 2
# A filled area of at most this fraction of the picture may lie inside a nucleus, and is painted like that nucleus.
# Nuclei exceed the background by at least this fraction of the contrast.
_LARGE_SHARE, _STEP_TO_NUCLEI = 0.004, 0.05
_LEAST_AREA_PX = 15


@dataclass(frozen=True, eq=False)
class Picture:
    """A plane (H, W) float32 with its artefacts painted over, as finders and networks see it; unchanged if it has none.

    `painted` holds a mask (H, W) for each kind of artefact that occurs: "filled", "drawn", "hot", "dirt". The rows of
    masks are packed by `numpy.packbits`, because they stay in memory as long as the picture.
    """

    pixels: np.ndarray = field(repr=False)
    painted: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def flags(self, labels: np.ndarray) -> dict[str, set[int]]:
        """Return, per flag, the labels of nuclei that touch an artefact, or a fibre too faint to be painted over."""
        give_back(labels)
        touched: dict[str, set[int]] = {}
        masks = ((kind, np.unpackbits(bits, 1, labels.shape[1]).view(bool)) for kind, bits in self.painted.items())
        for kind, mask in chain(masks, [("fibre", _faint_fibres(self.pixels, labels))]):
            near = mask if kind == "hot" or not mask.any() else ndimage.binary_dilation(mask, iterations=_TOUCHING_PX)
            touched.setdefault(_FLAGS[kind], set()).update(np.unique(labels[near]).tolist())
        return touched

    def n_bright(self, areas: np.ndarray) -> int:
        """Return the number of objects painted over as dirt that are as large as nuclei of areas (N,)."""
        if "dirt" not in self.painted or not areas.size:
            return 0
        mask = np.unpackbits(self.painted["dirt"], 1, self.pixels.shape[1]).view(bool)
        dirt, _ = ndimage.label(ndimage.binary_erosion(mask, iterations=_GLOW_PX, border_value=1))
        diameter = np.sqrt(4 / np.pi * np.median(areas))
        is_alike = (areas_of(dirt)[1:] > np.median(areas) / _ALIKE) & (_lengths(dirt) < _ROUND_LENGTH * diameter)
        return int(np.count_nonzero(is_alike))


def look_over(pixels: np.ndarray) -> Picture:
    """Return a picture (H, W) float with its artefacts painted over; pictures of less than 9 px a side as they are."""
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
        # The label image is as large as the picture, and not needed any more.
        flat = None if name == "drawn" else flat
        give_back(pixels)
    return Picture(pixels, painted)


def _with_mended_lines(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels with dead or hot rows and columns replaced by the mean of their neighbours, and their mask (H, W).

    Such a line is one pixel wide, has one value from end to end, and is darker or brighter than the lines beside it. A
    line at the border would hide that the picture cuts nuclei.
    """
    mended, lines = pixels, np.zeros(pixels.shape, bool)
    for axis in (0, 1):
        # A dead column that was crossed by a dead row has one value again when the row is mended.
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
    """Return pixels with each area of the mask filled by values drawn from the darker half of its surroundings."""
    rng = np.random.default_rng(0)
    painted = pixels.copy()
    areas, _ = ndimage.label(mask, EIGHT)
    everything, least_px, least = None, np.inf, np.inf
    if is_filled:
        least_px, least = _LARGE_SHARE * pixels.size, _STEP_TO_NUCLEI * contrast_of(pixels)
    for index, box in boxes_of(areas):
        window = about(box, 2 * RING_PX[1])
        area = areas[window] == index
        # The surroundings are a ring: two pixels wide about a tiny area, wider about others.
        ring = ndimage.binary_dilation(area, iterations=2 if area.sum() < 10 else RING_PX[1]) & ~mask[window]
        around = pixels[window][ring]
        if around.size < 3:
            everything = pixels[~mask] if everything is None else everything
            around = everything
        if area.sum() < 10:
            painted[window][area] = np.median(around)
        else:
            # Where most of the surroundings are nuclei, their darker half is not only background.
            if area.sum() > least_px and np.ptp(np.percentile(around, (10, 50))) > least:
                threshold = threshold_of(around)
                around = around[around <= threshold] if has_objects(around, threshold) else around
            around = around[around <= np.median(around)]
            # The darker half of the noise, and its mirror image.
            noise = rng.choice(around, int(area.sum())) - around.max()
            painted[window][area] = np.maximum(around.max() + noise * rng.choice([-1, 1], noise.size), 0)
    return painted


def _drawn(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Return the mask of bars, lines and letters (of one value, bright, sharp, long or tiny), None without."""
    areas = areas_of(labels)
    if len(areas) == 1:
        return None
    contrast, drawn, values = contrast_of(pixels), np.zeros(pixels.shape, bool), set()
    # The dark half of a picture of few levels is flat; a JPEG has flat blocks up to 0.03 of the contrast above it.
    level = median_of(pixels[::2, ::2]) + 0.1 * contrast
    least_of_speck = float(pixels.min()) + _HOT_CONTRAST * contrast
    value_of = np.zeros(len(areas), np.float32)
    value_of[labels] = pixels
    is_possible = (areas >= 9) & (areas <= 0.1 * pixels.size) & (value_of > level)

    def is_bright(index: int, box) -> bool:
        n_brighter = np.count_nonzero(pixels[box] > value_of[index])
        return 2 * n_brighter < pixels[box].size or areas[index] >= 0.5 * pixels[box].size

    possible = sorted((one for one in boxes_of(labels) if is_possible[one[0]]), key=lambda one: -areas[one[0]])
    # A picture of few levels has thousands of flat areas, none of them brighter than its surroundings.
    for index, box in islice((one for one in possible if is_bright(*one)), 2000):
        mask = labels[box] == index
        width = 2 * ndimage.distance_transform_edt(np.pad(mask, 1)).max()
        is_other = np.hypot(*mask.shape) < _LEAST_LENGTH * width and value_of[index] not in values
        is_speck = is_other and max(mask.shape) <= _SPECK_PX and value_of[index] > least_of_speck and mask.all()
        if is_other and not is_speck:
            continue
        # An overexposed metaphase plate is flat and long, too, but no rectangle, and its edge is not sharp.
        is_bar = mask.mean() > 0.95 and not is_speck
        value, near, far = beside(pixels, labels, index, box, 2 if is_bar else 1)
        least = _HOT_CONTRAST * contrast if is_speck else 0
        if far.size and value - np.median(far) > least and is_sharp(value, near, far, contrast):
            drawn[box] |= mask
            if not is_speck:
                values.add(value_of[index])
    return ndimage.binary_dilation(drawn, EIGHT, iterations=2) if drawn.any() else None


def _hot(pixels: np.ndarray) -> np.ndarray | None:
    """Return the mask of bright spots one or two pixels wide (hot pixels, cosmic rays, camera lines); None without."""
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
    """Return the mask of fibres and of objects far brighter and larger than nuclei; None without, or of few nuclei."""
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
    """Return the mask of long thin objects, a third as bright as the nuclei `labels` (H, W) or more."""
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
        # No object has fewer pixels than the longer side of its box. Most are grain, whose boxes would fill the memory.
        renumbered(thin, np.where(n_px < length * diameter / np.sqrt(2), 0, np.arange(len(n_px))))
        lengths = _lengths(thin)
        is_fibre = (lengths > length * diameter) & (n_px[1 : 1 + len(lengths)] < _FAINT_WIDTH * diameter * lengths)
        if is_fibre.any():
            fibres = fibres | renumbered(thin, np.concatenate([[False], is_fibre]), np.empty(thin.shape, bool))
        # In a large field, these labels and the next ones would be in memory at the same time.
        del thin
    return np.broadcast_to(fibres, labels.shape)


def _lengths(labels: np.ndarray) -> np.ndarray:
    """Return the diagonals (K,) of the bounding boxes of labels 1 to K in (H, W); 0 for a label that does not occur."""
    boxes = ndimage.find_objects(labels)
    return np.array([0.0 if box is None else np.hypot(*(side.stop - side.start for side in box)) for box in boxes])


def _typical_nucleus(smooth: np.ndarray, level: float, step: int) -> tuple[float, float, float] | None:
    """Return brightness above `level`, integrated intensity and diameter of a typical nucleus, None of few."""
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
            # An object that touches one set aside before is the glow of that.
            areas[np.setdiff1d(objects[ndimage.binary_dilation(~free)], [0]) - 1] = 0
        large = 1 + np.flatnonzero(areas >= _LEAST_AREA_PX / step**2)
        if not large.size:
            break
        areas = areas[large - 1]
        lights = sums_of(smooth, objects)[large] - level * areas
        brightness = lights / areas
        each = brightness, lights * step**2, np.sqrt(4 * areas / np.pi) * step
        this = tuple(float(np.median(values)) for values in each)
        # If the next objects are far darker and many more, they are the nuclei, and the first ones were dirt.
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

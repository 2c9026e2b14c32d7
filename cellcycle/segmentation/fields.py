"""Segmentation of whole fields: from pixels to a label image, in tiles if the field is large."""

import contextlib
import sys
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.polynomial.polynomial import polygrid2d, polyvander2d
from scipy import ndimage

from cellcycle.arrays import as_picture
from cellcycle.errors import ImageError, SettingError, check_choice, check_size, check_whole
from cellcycle.segmentation import finder
from cellcycle.segmentation.artefacts import look_over
from cellcycle.segmentation.measurements import measure_nucleus
from cellcycle.segmentation.ranks import median_of, percentiles_of
from cellcycle.segmentation.regions import about, areas_of, boxes_of, give_back, renumbered, thinned
from cellcycle.segmentation.sisters import joined_sisters
from cellcycle.segmentation.splitting import nuclei_of, seed_step_px
from cellcycle.segmentation.survey import Survey, survey_field

BACKENDS = ("trained", "classical", "cellpose", "stardist")
TILE_PX, _LEAST_TILE_PX = 2048, 128
# A field of 10,000 px a side has about 20,000 nuclei. Ten times as many are specks, and each would be measured.
MOST_NUCLEI = 200_000
# Overlap around a tile, in nuclear radii: wider than the widest filter and than a clump of several nuclei.
_HALO_RADII = 12
# The network runs at most this many times: at the estimated diameter of nuclei, half of it, and a quarter.
_LOOKS = 3
# Least contrast of objects over the noise of the mean of their pixels, and number of objects that are compared. Medians
# are below 10 in empty fields with uneven light and stripes, above 32 in 350 fields of BBBC038.
_LEAST_OVER_NOISE, _N_COMPARED = 20.0, 100
# Where most objects are noise, a nucleus has at least this many times their median contrast over noise.
_UNUSUAL = 5
_RING_PX = 3
# Nuclei with fewer pixels are small. Background is clipped if at least this fraction of it has the lowest value.
_SMALL_PX, _MOST_DARKEST = 50, 0.2
# Uneven light is wider than this fraction of the field, and its edge wider than the second fraction of its diameter;
# the edge of a nucleus in focus is below the third fraction. The logarithms of like diameters differ by less than the
# last.
_LARGE_SHARE, _WIDE_SHARE, _SHARP_SHARE, _ALIKE = 0.25, 0.3, 0.15, 0.4
# Least step from background to nuclei, as a fraction of that from the darkest pixels to nuclei: 0.79 and more in 350
# fields of BBBC038, near 0 in an empty field with dust. Slopes of the light are fitted to about this many pixels.
_LEAST_BRIGHTER, _MOST_FITTED = 0.4, 10_000
# An object without an outline is a nucleus if its area is at least this fraction of the median of the outlined nuclei.
_LEAST_NEIGHBOUR = 0.2
# In an inverted picture, the darkest pixels are more than this many times farther from the median than the brightest.
_DARK_SIDE = 3


def segment(
    pixels: np.ndarray,
    pixel_size_um: float | None = None,
    *,
    segmentation: str = "trained",
    diameter_px: float | None = None,
    tile_px: int = TILE_PX,
) -> np.ndarray:
    """Return a label image of the nuclei of a field of DNA stain.

    "trained" predicts by a small network (`cellcycle.segmentation.finder`) which pixels are nucleus, how deep inside,
    and where two touch. "classical" subtracts the background (opening at three nuclear diameters), thresholds (Otsu
    over the field and a local mean), parts touching nuclei by a watershed on distance and intensity, and outlines each
    nucleus at a share of its own brightness. Both estimate the size of nuclei first and need no pixel size.

    Parameters
    ----------
    pixels : ndarray (H, W) float in [0, 1]
        Bright nuclei on a dark background.
    pixel_size_um : float, optional
        Side of a pixel in the sample; limits the estimated size of nuclei to that of real ones.
    segmentation : {"trained", "classical", "cellpose", "stardist"}, optional
        The last two need their packages and fetch their weights at first use.
    diameter_px : float, optional
        Typical diameter of a nucleus; by default it is estimated, between 6 and 180 px.
    tile_px : int, optional
        Fields with a longer side are segmented in overlapping tiles of this size.

    Returns
    -------
    ndarray (H, W) int32
        0 is background; nuclei are numbered from 1 without gaps. All 0 for an image without nuclei, such as a constant
        one or noise.

    Raises
    ------
    SettingError
        An unknown segmentation, or its package or weights are missing; an impossible size.
    ImageError
        More than 200,000 objects; pixels that are no picture of finite numbers.
    """
    pixels = as_picture(pixels)
    for name, size in {"pixel_size_um": pixel_size_um, "diameter_px": diameter_px}.items():
        check_size(name, size, or_none=True)
    if diameter_px is not None and diameter_px > min(pixels.shape):
        raise SettingError("diameter_px", f"{diameter_px} px are more than the field has", "give that of one nucleus")
    check_whole("tile_px", tile_px, _LEAST_TILE_PX)
    return find_in_field(look_over(pixels).pixels, pixel_size_um, segmentation, diameter_px, tile_px)


def find_in_field(
    pixels: np.ndarray,
    pixel_size_um: float | None,
    segmentation: str,
    diameter_px: float | None = None,
    tile_px: int = TILE_PX,
) -> np.ndarray:
    """Return the label image of a field whose artefacts were painted over, as `segment` does after that."""
    check_choice("segmentation", segmentation, BACKENDS)
    if segmentation in ("trained", "classical"):
        survey = survey_field(pixels, pixel_size_um, diameter_px)
        if survey is None:
            return np.zeros(pixels.shape, dtype=np.int32)
        labels = _by_network(pixels, survey, tile_px) if segmentation == "trained" else None
        if labels is None or not labels.any():
            # Objects in which the network sees no nucleus are outlined all the same; their flags tell what they are.
            labels = _by_watershed(pixels, survey, tile_px)
        give_back(pixels)
        labels = _without_ground(pixels, _without_glow(pixels, _without_noise(pixels, _numbered(labels))))
        labels = joined_sisters(pixels, labels)
    else:
        from cellcycle.segmentation import backends

        # Both packages print to standard output, to which the rows of a prediction may be written.
        with contextlib.redirect_stdout(sys.stderr):
            labels = getattr(backends, segmentation)(pixels, diameter_px)
    if labels.max() > MOST_NUCLEI:
        raise ImageError("the image", f"it shows more than {MOST_NUCLEI:,} objects", "cut it into smaller fields")
    return labels


def _by_watershed(pixels: np.ndarray, survey: Survey, tile_px: int) -> np.ndarray:
    def nuclei_at(window, row, column):
        return nuclei_of(survey.signal(pixels[window], row, column), survey)

    return _tiled(nuclei_at, pixels.shape, int(_HALO_RADII * survey.radius_px) + 16, seed_step_px(survey), tile_px)


def _by_network(pixels: np.ndarray, survey: Survey, tile_px: int) -> np.ndarray:
    """Return labels by the network, which runs again if the nuclei are of another size than estimated."""
    labels, best = None, -1.0
    look = finder.look_at(pixels, 2 * survey.radius_px / finder.SURVEY_OVER, survey.threshold)
    for _ in range(_LOOKS):
        found, certainty = _seen_at(pixels, look, tile_px)
        if certainty > best:
            labels, best = found, certainty
        diameter_px = finder.better_diameter(look.diameter_px, found, certainty)
        if diameter_px is None:
            break
        look = replace(look, diameter_px=diameter_px)
    return labels


def _seen_at(pixels: np.ndarray, look: finder.Look, tile_px: int) -> tuple[np.ndarray, float]:
    """Return the labels that the network finds at a look, and its mean certainty, 0 where it finds none."""
    sure = []

    def nuclei_at(window, row, column):
        found, how_sure = finder.nuclei_of(pixels[window], look)
        sure.append(how_sure)
        return found

    halo = int(_HALO_RADII * look.diameter_px / 2) + finder.TILE_STEP_PX
    found = _tiled(nuclei_at, pixels.shape, halo, finder.TILE_STEP_PX, tile_px)
    return found, float(np.nanmean(sure)) if np.isfinite(sure).any() else 0.0


def _tiled(nuclei_at, shape, halo: int, step: int, tile_px: int) -> np.ndarray:
    """Segment tile by tile; a nucleus belongs to the tile that contains the centre of its bounding box."""
    height, width = shape
    if max(height, width) <= tile_px:
        return nuclei_at(np.s_[:, :], 0, 0)
    labels, n_nuclei = np.zeros(shape, dtype=np.int32), 0
    for top, left in product(range(0, height, tile_px), range(0, width, tile_px)):
        row, column = (max(start - halo, 0) // step * step for start in (top, left))
        window = np.s_[row : top + tile_px + halo, column : left + tile_px + halo]
        found = nuclei_at(window, row, column)
        for index, box in boxes_of(found):
            y, x = ((side.start + side.stop) / 2 for side in box)
            if top <= row + y < top + tile_px and left <= column + x < left + tile_px:
                n_nuclei += 1
                place = labels[window][box]
                place[(found[box] == index) & (place == 0)] = n_nuclei
    return labels


def _numbered(labels: np.ndarray) -> np.ndarray:
    """Remove objects that reach from border to border (uneven light), and number the others from 1 without gaps."""
    is_nucleus = areas_of(labels) > 0
    for first, last in ((labels[0], labels[-1]), (labels[:, 0], labels[:, -1])):
        is_nucleus[np.intersect1d(first, last)] = False
    return _kept(labels, is_nucleus[1:])


def _without_noise(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Remove objects that differ from their surroundings no more than noise does, if most objects do not."""
    objects = boxes_of(labels)
    some = objects[:: -(-len(objects) // _N_COMPARED)] if objects else []
    usual = np.median(_over_noise(pixels, labels, some)) if some else np.inf
    if usual >= _LEAST_OVER_NOISE:
        return labels
    over_noise = _over_noise(pixels, labels, objects)
    # Noise may be as dense as a crowd; the contrast of an object without background beside it is unknown.
    return _kept(labels, np.isfinite(over_noise) & (over_noise >= max(_LEAST_OVER_NOISE, _UNUSUAL * usual)))


def _over_noise(pixels: np.ndarray, labels: np.ndarray, objects: list) -> np.ndarray:
    """Return the contrast of each object over the noise of the mean of its pixels, (N,); inf without background."""
    contrasts, areas, steps = [], [], []
    for label, box in objects:
        window = about(box, _RING_PX)
        local, own = pixels[window].astype(np.float64), labels[window] == label
        ring = ndimage.binary_dilation(own, iterations=_RING_PX) & (labels[window] == 0)
        # An object without background beside it lies in a crowd, where noise seldom lies.
        level = local[ring].mean() if ring.any() else -np.inf
        areas.append(own.sum())
        contrasts.append((local[own].mean() - level) * np.sqrt(areas[-1]))
        steps.append(_steps(local, own))
    noise = max(median_of(np.abs(np.concatenate(way))) for way in zip(*steps, strict=True)) * 1.4826 / np.sqrt(2)
    if np.median(areas) < _SMALL_PX:
        # A nucleus of few pixels is all rim, whose slope would be taken for noise.
        noise = min(noise, _noise_beside(pixels, labels, objects))
    return np.array(contrasts) / max(noise, np.finfo(np.float32).eps)


def _steps(local: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the differences of neighbouring pixels of a mask (h, w), down columns and along rows."""
    return np.diff(local, axis=0)[mask[1:] & mask[:-1]], np.diff(local, axis=1)[mask[:, 1:] & mask[:, :-1]]


def _noise_beside(pixels: np.ndarray, labels: np.ndarray, objects: list) -> float:
    """Return the noise of the background beside objects; infinite where there is none, or where it was clipped."""
    levels, steps = [], []
    for _, box in objects:
        window = about(box, 4 * _RING_PX)
        local = pixels[window].astype(np.float64)
        ground = ~ndimage.binary_dilation(labels[window] > 0, iterations=_RING_PX)
        levels.append(local[ground])
        steps.append(_steps(local, ground))
    levels, ways = np.concatenate(levels), [np.abs(np.concatenate(way)) for way in zip(*steps, strict=True)]
    if not all(way.size for way in ways) or np.mean(levels == levels.min()) >= _MOST_DARKEST:
        return np.inf
    return float(max(way.mean() for way in ways) * np.sqrt(np.pi) / 2)


def _without_glow(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Remove objects that are large in the field and have no sharp edge: they are uneven light, however bright.

    If another object of like size has a sharp edge, such an object is a nucleus out of focus, and stays.
    """
    sizes = np.sqrt(4 / np.pi * areas_of(labels)[1:])
    large = np.flatnonzero(sizes > _LARGE_SHARE * min(labels.shape))
    rims = np.array([measure_nucleus(pixels, labels, k + 1)["edge_width_px"] / sizes[k] for k in large])
    sharp, is_kept = sizes[large[rims < _SHARP_SHARE]], np.ones(len(sizes), bool)
    for k in large[rims > _WIDE_SHARE]:
        is_kept[k] = (np.abs(np.log(sharp / sizes[k])) < _ALIKE).any()
    return labels if is_kept.all() else _kept(labels, is_kept)


def _without_ground(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Remove all objects if they are hardly brighter than the rest: background, divided by the dark rings of dust."""
    some, is_found = thinned(pixels), thinned(labels) > 0
    if is_found.all() or not is_found.any():
        return labels
    # Uneven light makes one side of a field brighter than the nuclei of the other.
    some = some - _slope_of(some, ~is_found)
    found, rest = some[is_found], some[~is_found]
    bright, (darkest, usual) = median_of(found), percentiles_of(rest, (1, 50))
    return labels if bright - usual > _LEAST_BRIGHTER * (bright - darkest) else np.zeros_like(labels)


def _slope_of(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the quadratic surface (H, W) fitted by least squares to the values (H, W) of a mask."""
    within = np.flatnonzero(mask)
    at = np.unravel_index(within[:: -(-within.size // _MOST_FITTED)], mask.shape)
    sides = [np.linspace(-1, 1, size) for size in mask.shape]
    places = polyvander2d(*(side[k] for side, k in zip(sides, at, strict=True)), (2, 2))
    return polygrid2d(*sides, np.linalg.lstsq(places, values[at], rcond=None)[0].reshape(3, 3))


def looks_inverted(pixels: np.ndarray) -> bool:
    """Return whether a picture (H, W) without bright nuclei has dark ones on a bright background."""
    pixels = as_picture(pixels)
    low, middle, high = percentiles_of(pixels, (1, 50, 99))
    return bool(middle - low > _DARK_SIDE * (high - middle) and segment(pixels.max() - pixels).any())


def with_neighbours(pixels: np.ndarray, labels: np.ndarray, pixel_size_um: float | None) -> np.ndarray:
    """Return labels (H, W) int32 with further numbers for bright objects of a field that touch no labelled nucleus.

    People who outline nuclei may leave some out, such as those cut by the border. These are no background.
    """
    areas, survey = areas_of(labels)[1:], survey_field(pixels, pixel_size_um)
    if survey is None or not areas.any():
        return labels
    parts, _ = ndimage.label(survey.signal(pixels) > survey.threshold)
    is_other = areas_of(parts) >= _LEAST_NEIGHBOUR * np.median(areas[areas > 0])
    is_other[np.unique(parts[labels > 0])] = is_other[0] = False
    numbers = np.where(is_other, len(areas) + np.cumsum(is_other), 0)
    return labels + numbers.astype(np.int32)[parts]


def _kept(labels: np.ndarray, is_kept: np.ndarray) -> np.ndarray:
    """Keep the labels for which `is_kept` (K,) is true, numbered from 1 without gaps, in place."""
    return renumbered(labels, np.concatenate([[0], np.cumsum(is_kept) * is_kept]))

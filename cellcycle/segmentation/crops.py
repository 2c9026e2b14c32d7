"""Cropped nuclei: one nucleus at the centre of a small image."""

import numpy as np
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import clear_border, watershed

from cellcycle.arrays import as_picture
from cellcycle.errors import ImageError
from cellcycle.segmentation.fields import segment
from cellcycle.segmentation.flags import flag_nuclei
from cellcycle.segmentation.measurements import (
    NUCLEUS_COLUMNS,
    RAW_COLUMNS,
    eccentricity_of,
    in_original_px,
    measure_nucleus,
    plateau_of,
)
from cellcycle.segmentation.regions import EIGHT, PLAIN_CROP_PX, areas_of, block_means, border_of, without_holes
from cellcycle.segmentation.survey import otsu

_SMOOTHING_SHARE = 0.02
# A nucleus is outlined in a square that extends this many nuclear lengths from its middle; usual crops extend less.
_REACH = 1.3
# The nucleus for which the crop was made lies at most this far from its centre, as a fraction of the shorter side.
_CENTRAL_SHARE = 0.2
# Of two sister chromatid sets, the smaller has at least this fraction of the area of the larger.
_LEAST_SISTER_SHARE = 0.4
_MOST_ROUNDS = 3
_LEAST_AREA_PX = 15
_LARGEST_MEASURED_PX = 160
_LARGEST_CROP_PX = 512
_LEAST_DIAMETER_SHARE = 0.18
# If a picture above 128 px shows two whole nuclei of like size, it can be a crop only if the larger has at least this
# diameter, as a fraction of the side.
_CROP_DIAMETER_SHARE = 0.35
_MOST_OBJECTS = 8
_MOST_NEIGHBOURS = 3
# Two touching nuclei: greatest eccentricity, least ratio of areas, least relative depth of the waist, smoothing. Halves
# of a division are longer, or apart: of 466 mitoses of Jurkat, 3 are taken for two nuclei, of 2,400 other cells none.
_ROUND, _LEAST_PAIR_SHARE, _WAIST, _WAIST_SMOOTHING_PX = 0.65, 0.5, 0.15, 1.0
_BORDER_PX = 2
# Least contrast of objects in standard deviations of the darker pixels; noise split by Otsu's threshold has 2.7.
_LEAST_CONTRAST = 3.8
# The mean of the lower half of a normal distribution lies this many standard deviations below its median.
_LOWER_HALF = np.sqrt(2 / np.pi)


def central_nucleus(pixels: np.ndarray) -> np.ndarray:
    """Return the pixels of the nucleus of a crop (H, W), bool, perhaps in several pieces; all False where none is.

    It is the object nearest the centre after smoothing and Otsu's threshold. If that is far from the centre, because a
    brighter neighbour raised the threshold, the neighbour is set aside and the rest is thresholded again. Pieces of
    like size, as the halves of an anaphase, are joined if that moves the centre of mass nearer the centre of the crop.
    """
    return _nucleus_and_neighbours(as_picture(pixels)) == 1


def _nucleus_and_neighbours(pixels: np.ndarray) -> np.ndarray:
    """Label the central nucleus 1 and all else that is bright 2; the margin of the crop has no influence."""
    pixels = np.asarray(pixels, dtype=np.float32)
    labels = _parted_at_once(pixels)
    # In a wide crop, the large background would shift the threshold, and the long side would increase the smoothing.
    for box in ndimage.find_objects((labels == 1).astype(np.uint8)):
        half = _REACH * max(side.stop - side.start for side in box)
        middle = [(side.start + side.stop) / 2 for side in box]
        window = tuple(slice(max(round(m - half), 0), round(m + half)) for m in middle)
        if pixels[window].shape != pixels.shape and ((closer := _parted_at_once(pixels[window])) == 1).any():
            labels[labels == 1] = 0
            labels[window] = closer
    return labels


def _parted_at_once(pixels: np.ndarray) -> np.ndarray:
    smooth = ndimage.gaussian_filter(pixels, max(_SMOOTHING_SHARE * min(pixels.shape), 0.7))
    free = np.ones(pixels.shape, dtype=bool)
    nucleus, bright = np.zeros(pixels.shape, dtype=bool), np.zeros(pixels.shape, dtype=bool)
    for _ in range(_MOST_ROUNDS):
        objects = _objects(smooth, free)
        if not objects.any():
            break
        bright |= objects > 0
        candidate = _joined(objects)
        if not nucleus.any() or _off_centre(candidate) <= _CENTRAL_SHARE * min(pixels.shape):
            nucleus = candidate
        if _off_centre(nucleus) <= _CENTRAL_SHARE * min(pixels.shape):
            break
        # The glow around a bright neighbour is set aside with it.
        free &= ~ndimage.binary_dilation(objects > 0, iterations=max(2, min(pixels.shape) // 20))
    return np.where(nucleus, 1, 2 * bright).astype(np.int32)


def _objects(smooth: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Label the objects above Otsu's threshold of the free pixels; all 0 if these are noise."""
    sample = smooth[free]
    if sample.size < _LEAST_AREA_PX:
        return np.zeros(smooth.shape, dtype=np.int32)
    threshold = otsu(sample)
    dark, bright = sample[sample <= threshold], sample[sample > threshold]
    if not bright.size or bright.mean() - dark.mean() < _LEAST_CONTRAST * dark.std():
        return np.zeros(smooth.shape, dtype=np.int32)
    objects, _ = ndimage.label(without_holes((smooth > threshold) & free))
    is_large = areas_of(objects) >= _LEAST_AREA_PX
    is_large[0] = False
    return np.where(is_large[objects], objects, 0)


def _joined(objects: np.ndarray) -> np.ndarray:
    """Return the object nearest the centre with the pieces that belong to it."""
    labels = np.unique(objects[objects > 0])
    nearest = labels[int(np.argmin([_gap_to_centre(objects == label) for label in labels]))]
    nucleus = objects == nearest
    area = nucleus.sum()
    away = ndimage.distance_transform_edt(~nucleus)
    for label in labels[labels != nearest]:
        piece = objects == label
        is_like = _LEAST_SISTER_SHARE <= piece.sum() / area <= 1 / _LEAST_SISTER_SHARE
        is_near = away[piece].min() <= np.sqrt(4 * area / np.pi)
        if is_like and is_near and _off_centre(nucleus | piece) < _off_centre(nucleus):
            nucleus = nucleus | piece
    return nucleus


def _gap_to_centre(mask: np.ndarray) -> float:
    """Return the distance in pixels from the centre of the crop to the nearest pixel of the mask."""
    positions = np.argwhere(mask) - (np.array(mask.shape) - 1) / 2
    return float(np.hypot(*positions.T).min())


def _off_centre(mask: np.ndarray) -> float:
    """Return the distance in pixels from the centre of the crop to the centre of mass of the mask."""
    return float(np.hypot(*(np.argwhere(mask).mean(axis=0) - (np.array(mask.shape) - 1) / 2)))


def looks_like_nucleus_crop(pixels: np.ndarray) -> bool:
    """Return whether an image is a crop of one nucleus rather than a field.

    It is a crop if all of these hold: no side is longer than 512 px nor twice the other; the central nucleus lies
    within a fifth of the shorter side of the centre, in one piece or two; its diameter is at least 18 % of that side;
    there are at most eight other objects, and at most three of a third of its area or more that lie wholly inside the
    image; and an image above 128 px shows neither three whole nuclei of like size, nor two that are small in the frame,
    nor two neighbours that touch its largest nucleus. An image without a nucleus is no crop.
    """
    pixels = as_picture(pixels)
    short, long = sorted(pixels.shape)
    if long > _LARGEST_CROP_PX or long > 2 * short:
        return False
    block_px = -(-long // _LARGEST_MEASURED_PX)
    labels = _nucleus_and_neighbours(block_means(pixels, block_px))
    nucleus = labels == 1
    if not nucleus.any() or _off_centre(nucleus) > _CENTRAL_SHARE * min(labels.shape):
        return False
    # An anaphase has two pieces; more are several nuclei around the centre.
    if ndimage.label(nucleus)[1] > 2:
        return False
    diameter = np.sqrt(4 * nucleus.sum() / np.pi)
    n_others, n_whole = others_in(labels)
    is_alone = n_others <= _MOST_OBJECTS and n_whole <= _MOST_NEIGHBOURS
    if diameter < _LEAST_DIAMETER_SHARE * min(labels.shape) or not is_alone:
        return False
    return long <= PLAIN_CROP_PX or not _shows_several(pixels)


def others_in(labels: np.ndarray) -> tuple[int, int]:
    """Return the number of other objects in a crop, and of those that are whole and above a third of its nucleus.

    `labels` are those of `find_in_crop`.
    """
    others, n_others = ndimage.label(labels == 2)
    return n_others, int((areas_of(clear_border(others))[1:] > (labels == 1).sum() / 3).sum())


def _shows_several(pixels: np.ndarray) -> bool:
    """Return whether a picture shows several whole nuclei of like size, apart or touching each other."""
    labels = segment(pixels)
    inside = np.setdiff1d(labels, np.append(border_of(labels), 0))
    if len(inside) < 2:
        return False
    areas = areas_of(labels)[inside]
    largest, n_alike = inside[areas.argmax()], np.count_nonzero(areas > areas.max() / 3)
    diameter = np.sqrt(4 * areas.max() / np.pi)
    # In a colony, only a few nuclei at its rim are separate from the rest.
    beside = np.setdiff1d(labels[ndimage.binary_dilation(labels == largest, iterations=3)], [0, largest])
    is_small = n_alike == 2 and diameter < _CROP_DIAMETER_SHARE * min(labels.shape)
    return n_alike > 2 or is_small or np.isin(beside, inside).sum() > 1


def measure_crops(images: np.ndarray, pixel_size_um: float | None = None):
    """Measure the central nucleus of each crop (N, C, H, W) float in [0, 1], in the channel of greatest contrast.

    Crops with a side above 160 px are measured on means of square blocks (300 px: 2 x 2); the results are in original
    pixels. Returns a `pandas.DataFrame` of N rows in the order of the images, with the columns of `measure` and
    `crop_columns`. A crop without a nucleus has NaN in the columns of `measure`, and the flag "no_nucleus". Two round
    nuclei that touch are a "clump"; flags that compare nuclei of a field, as "debris", are not raised.
    """
    import pandas as pd

    # Not asarray: it would drop the mask of a masked array, which `as_picture` refuses.
    images = np.asanyarray(images)
    if images.ndim != 4:
        raise ImageError("images", f"their shape is {images.shape}", "give crops (N, C, H, W)")
    block_px = -(-max(images.shape[-2:]) // _LARGEST_MEASURED_PX)
    planes = stained(images)
    rows = [_measured(block_means(as_picture(pixels), block_px))[0] for pixels in planes]
    columns = _as_columns(rows, images.shape[-2:], block_px, pixel_size_um)
    return pd.DataFrame(columns | crop_columns(planes))


def stained(images: np.ndarray) -> np.ndarray:
    """Return the channel of greatest contrast of each crop (N, C, H, W): (N, H, W)."""
    if images.shape[1] == 1:
        return images[:, 0]
    return images[np.arange(len(images)), np.ptp(images, axis=(2, 3)).argmax(axis=1)]


def find_in_crop(pixels: np.ndarray, pixel_size_um: float | None = None) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the measurements of the central nucleus of one crop (H, W), and labels of it and its neighbours.

    The columns are those of `measure_crops`, of length 0 if there is no nucleus. In the labels (H, W) int32, 1 is the
    nucleus, 2 all else that is bright, 0 background.
    """
    pixels = as_picture(pixels)
    block_px = -(-max(pixels.shape) // _LARGEST_MEASURED_PX)
    row, small = _measured(block_means(pixels, block_px))
    labels = np.zeros(pixels.shape, dtype=np.int32)
    full = small.repeat(block_px, axis=0).repeat(block_px, axis=1)
    labels[: full.shape[0], : full.shape[1]] = full
    columns = _as_columns([row] if row else [], pixels.shape, block_px, pixel_size_um)
    return columns | (crop_columns(pixels[np.newaxis]) if row else {}), labels


def _measured(pixels: np.ndarray) -> tuple[dict, np.ndarray]:
    labels = _nucleus_and_neighbours(pixels)
    if not (labels == 1).any():
        return {}, labels
    row = measure_nucleus(pixels, labels, 1, plateau=plateau_of(pixels, labels == 1))
    return row | {"is_pair": _is_pair(labels == 1)}, labels


def _is_pair(mask: np.ndarray) -> bool:
    """Return whether a mask (H, W) is one piece whose waist divides it into two round nuclei."""
    mask = np.pad(mask[ndimage.find_objects(mask.astype(np.uint8))[0]], 2)
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), _WAIST_SMOOTHING_PX)
    tops, n_tops = ndimage.label(h_maxima(depth, _WAIST * depth.max()), EIGHT)
    if n_tops != 2 or ndimage.label(mask)[1] != 1:
        return False
    parts = watershed(-depth, tops, mask=mask)
    places = [np.argwhere(parts == label) for label in (1, 2)]
    areas = [len(at) for at in places]
    is_round = max(eccentricity_of(at - at.mean(axis=0)) for at in places) < _ROUND
    return is_round and min(areas) >= _LEAST_PAIR_SHARE * max(areas)


def _as_columns(rows: list[dict], shape, block_px: int, pixel_size_um: float | None) -> dict[str, np.ndarray]:
    values = {name: np.array([row.get(name, np.nan) for row in rows], float) for name in (*RAW_COLUMNS, "is_pair")}
    columns = in_original_px(values, block_px, pixel_size_um)
    flags = flag_nuclei(columns, tuple(size // block_px * block_px for size in shape), is_field=False)
    texts = [text if row else "no_nucleus" for text, row in zip(flags, rows, strict=True)]
    columns["flags"] = np.array(texts, dtype=object)
    return {name: columns[name] for name in NUCLEUS_COLUMNS}


def crop_columns(planes: np.ndarray) -> dict[str, np.ndarray]:
    """Measure whole crops relative to their border, without an outline.

    `planes` are (N, H, W) in [0, 1], columns (N,) float64. The border, two pixels wide, shows background:

    - `crop_dna` : sum of the intensity above the lower quartile of the border. For a single cell a better measure of
      DNA content than any outline;
    - `border_noise` : standard deviation of the noise by the darker half of the border, without glow and neighbours;
    - `border_level` : mean of the darker half of the border;
    - `background_noise` : the same by all pixels of the crop that are darker than the border's median.

    Examples
    --------
    >>> plane = np.zeros((1, 8, 8)); plane[0, 3:5, 3:5] = 0.5
    >>> {name: float(values[0]) for name, values in crop_columns(plane).items()}
    {'crop_dna': 2.0, 'border_noise': 0.0, 'border_level': 0.0, 'background_noise': 0.0}
    """
    inside = np.zeros(planes.shape[1:], bool)
    inside[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = True
    border = np.sort(planes[:, ~inside].astype(np.float64), axis=1)
    median, level = np.median(border, axis=1), border[:, : border.shape[1] // 2].mean(axis=1)
    depth = np.maximum(median[:, None, None] - planes, 0)
    n_darker = np.maximum((depth > 0).sum(axis=(1, 2)), 1)
    return {
        "crop_dna": (planes - np.percentile(border, 25, axis=1)[:, None, None]).sum(axis=(1, 2)),
        "border_noise": (median - level) / _LOWER_HALF,
        "border_level": level,
        "background_noise": depth.sum(axis=(1, 2)) / n_darker / _LOWER_HALF,
    }

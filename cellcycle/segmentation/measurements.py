"""One row of measurements per nucleus.

They are a dict of arrays, one per column, because importing pandas takes longer than measuring a nucleus.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.morphology import convex_hull_image

from cellcycle.arrays import as_labels, as_picture
from cellcycle.errors import check_name, check_size
from cellcycle.segmentation.flags import flag_nuclei
from cellcycle.segmentation.ranks import percentiles_of
from cellcycle.segmentation.regions import about, bands, boxes_of

NUCLEUS_COLUMNS = [
    "nucleus_id", "centroid_y_px", "centroid_x_px",
    "bbox_top_px", "bbox_left_px", "bbox_bottom_px", "bbox_right_px",
    "area_px", "area_um2", "integrated_dna", "mean_dna", "background", "texture", "skewness",
    "eccentricity", "solidity", "edge_width_px", "flags",
]  # fmt: skip
RAW_COLUMNS = [*NUCLEUS_COLUMNS[:-1], "touching_share", "saturated_share", "ground_slope"]
# Columns that networks may read; true for amounts, of which networks get the logarithm.
READABLE = dict.fromkeys(("area_px", "area_um2", "integrated_dna", "mean_dna", "edge_width_px"), True)
READABLE |= dict.fromkeys(("texture", "skewness", "eccentricity", "solidity"), False)
_REGISTERED: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {}
# Out-of-focus light of a nucleus extends about this many diameters beyond its outline.
_GLOW = 0.25
_BACKGROUND = 0.5
_LEAST_RING_PX = 20
# The background of a nucleus is a slope if a plane leaves less than this fraction of its variance, after smoothing over
# the second fraction of a diameter against noise.
_MOST_UNEVEN, _EVENED = 0.1, 0.1
_LEAST_PLATEAU_PX = 10
# Percentile of the brightest pixels, without hot ones; fractions of it where a noisy plateau, and the band below,
# begin.
_TOP_PERCENTILE, _TOP, _NEXT = 99.9, 0.98, 0.94
_LEAST_CUT_OFF = 3
# A nucleus is clipped if more than this fraction of its pixels is above the second fraction of its 99th percentile; a
# tenth is without clipping. Nuclei are compared if there are this many, with this many intensity values.
_FLAT, _NEAR_OWN, _LEAST_COMPARED, _LEAST_STEPS = 0.2, 0.97, 8, 50
# Gradients are smoothed by 1 px, for diameters above this by more, or noise would be taken for the edge of uneven
# light.
_WIDE_PX = 80
# Lower standard deviations of intensities in [0, 1] are rounding.
_LEAST_SPREAD = 1e-6


def register_measurement(name: str, measure: Callable[[np.ndarray, np.ndarray], float], is_amount: bool = True) -> None:
    """Register a measurement of your own, which is measured on every nucleus and which networks can read by its name.

    `measure` gets the pixels around a nucleus, background subtracted, and the mask of the nucleus, both (H, W). A large
    crop is measured on block means. Register it wherever a model that reads it is trained or used.
    """
    check_name("measurement", name, {*NUCLEUS_COLUMNS, *RAW_COLUMNS} - _REGISTERED.keys())
    if name not in _REGISTERED:
        for columns in (NUCLEUS_COLUMNS, RAW_COLUMNS):
            columns.insert(-1, name)
    _REGISTERED[name], READABLE[name] = measure, is_amount


def measure(pixels: np.ndarray, labels: np.ndarray, pixel_size_um: float | None = None):
    """Measure every nucleus of a label image.

    Parameters
    ----------
    pixels : ndarray (H, W) float in [0, 1]
        DNA stain, not smoothed.
    labels : ndarray (H, W) of int
        0 is background.
    pixel_size_um : float, optional
        Side of a pixel in the sample; without it `area_um2` is NaN.

    Returns
    -------
    pandas.DataFrame
        One row per nucleus, in the order of the labels:

        - `nucleus_id` : the label; `centroid_*_px`, `bbox_*_px` : its position (bottom and right are exclusive);
        - `area_px`, `area_um2` : area of the outline;
        - `integrated_dna` : sum of intensity above `background` over the nucleus and its glow, the pixels within a
          quarter of its diameter that are nearer to it than to another nucleus. Proportional to DNA content, also out
          of focus;
        - `mean_dna` : mean intensity above `background` within the outline;
        - `background` : lower quartile of the intensity between a quarter and half a diameter away;
        - `texture` : coefficient of variation inside, more than a tenth of the diameter from the rim. 0 for even
          chromatin;
        - `skewness` : of the intensity there. Near 0 for chromatin, above 3 if the light comes from a few bright spots;
        - `eccentricity`, `solidity` : of the ellipse of the outline (0 is a circle); area over that of the convex hull;
        - `edge_width_px` : contrast over the mean gradient at the rim; larger out of focus;
        - `flags` : quality flags joined by ";", see `cellcycle.segmentation.flags`.

    Raises
    ------
    ImageError, SettingError
        Pixels that are no picture of finite numbers; labels of another shape, or not whole; an impossible pixel size.
    """
    import pandas as pd

    pixels = as_picture(pixels)
    check_size("pixel_size_um", pixel_size_um, or_none=True)
    return pd.DataFrame(measured_columns(pixels, as_labels(labels, pixels), pixel_size_um))


def measured_columns(
    pixels: np.ndarray, labels: np.ndarray, pixel_size_um: float | None = None
) -> dict[str, np.ndarray]:
    """Return the columns of `measure` as arrays (N,)."""
    present = boxes_of(labels)
    plateau = plateau_of(pixels, labels)
    rows = [measure_nucleus(pixels, labels, label, box, plateau) for label, box in present]
    columns = in_original_px({name: np.array([row[name] for row in rows]) for name in RAW_COLUMNS}, 1, pixel_size_um)
    shares = _cut_off_shares(pixels, labels, present, columns["mean_dna"])
    columns["saturated_share"] = np.maximum(columns["saturated_share"], shares)
    columns["flags"] = np.array(flag_nuclei(columns, labels.shape), dtype=object)
    return {name: columns[name] for name in NUCLEUS_COLUMNS}


def in_original_px(columns: dict[str, np.ndarray], block_px: int, pixel_size_um: float | None) -> dict[str, np.ndarray]:
    """Convert columns (N,) measured on means of square blocks to original pixels, and add areas in um2."""
    converted = dict(columns)
    if block_px > 1:
        for name in ("centroid_y_px", "centroid_x_px"):
            converted[name] = (columns[name] + 0.5) * block_px - 0.5
        for name in (*(c for c in columns if c.startswith("bbox")), "edge_width_px"):
            converted[name] = columns[name] * block_px
        for name in ("area_px", "integrated_dna"):
            converted[name] = columns[name] * block_px**2
    converted["area_um2"] = converted["area_px"] * (np.nan if pixel_size_um is None else pixel_size_um**2)
    return converted


def measure_nucleus(pixels: np.ndarray, labels: np.ndarray, label: int, box=None, plateau: float = np.inf) -> dict:
    """Return the `RAW_COLUMNS` of the nucleus `label`, as of `measure`; the other labels are its neighbours.

    `box` is its bounding box (two slices), if known; `plateau` is the value at which the picture was clipped.
    """
    box = box or ndimage.find_objects((labels == label).astype(np.uint8))[0]
    top, left, bottom, right = box[0].start, box[1].start, box[0].stop, box[1].stop
    own = labels[box] == label
    at = np.argwhere(own)
    centre, area = at.mean(axis=0), len(at)
    diameter = np.sqrt(4 * area / np.pi)
    reach = int(np.ceil(_BACKGROUND * diameter)) + 3
    window = about(box, reach)
    local, nearby = pixels[window].astype(np.float64), labels[window]
    nucleus = nearby == label
    away = ndimage.distance_transform_edt(~nucleus)
    others = (nearby != 0) & ~nucleus
    away_from_others = ndimage.distance_transform_edt(~others) if others.any() else np.full(local.shape, np.inf)
    glow = (away <= _GLOW * diameter) & (away < away_from_others)
    ring = (away > _GLOW * diameter) & (away <= reach) & (away_from_others > _GLOW * diameter)
    # In a crowd or a tight crop no ring is left; the darkest pixels around are then the background.
    background = float(percentiles_of(local[ring], 25) if ring.sum() >= _LEAST_RING_PX else percentiles_of(local, 5))
    mean_dna = float(local[nucleus].mean()) - background
    # Up to one pixel of a watershed line may lie between touching nuclei.
    beside = others[(away > 1) & (away <= 2)]
    inside = ndimage.distance_transform_edt(np.pad(own, 1))[1:-1, 1:-1]
    inner = pixels[box].astype(np.float64)[inside > 0.1 * diameter]
    return {
        "nucleus_id": label,
        "centroid_y_px": top + centre[0],
        "centroid_x_px": left + centre[1],
        "bbox_top_px": top,
        "bbox_left_px": left,
        "bbox_bottom_px": bottom,
        "bbox_right_px": right,
        "area_px": area,
        "area_um2": np.nan,
        "integrated_dna": float((local[glow] - background).sum()),
        "mean_dna": mean_dna,
        "background": background,
        "texture": _texture(inner, background),
        "skewness": _skewness(inner),
        "eccentricity": eccentricity_of(at - centre),
        "solidity": area / convex_hull_image(own).sum(),
        "edge_width_px": _edge_width_px(local, nucleus, away_from_others, mean_dna, max(1.0, diameter / _WIDE_PX)),
        "touching_share": beside.mean() if beside.any() else 0.0,
        "saturated_share": _saturated_share(local[nucleus], plateau),
        "ground_slope": _slope(local, ring, diameter) * diameter / mean_dna if mean_dna > 0 else 0.0,
        **{name: float(of(local - background, nucleus)) for name, of in _REGISTERED.items()},
    }


def eccentricity_of(away: np.ndarray) -> float:
    """Return the eccentricity of the ellipse with the second moments of pixels (N, 2) about their centre; 0 for one."""
    (yy, yx), (_, xx) = away.T @ away
    unequal = np.hypot(yy - xx, 2 * yx)
    return float(np.sqrt(2 * unequal / (yy + xx + unequal))) if yy + xx > 0 else 0.0


def _texture(inner: np.ndarray, background: float) -> float:
    """Return the coefficient of variation above background; NaN without pixels, or if their mean is not above it."""
    if not inner.size or inner.mean() <= background:
        return np.nan
    return float(inner.std() / (inner.mean() - background))


def _skewness(inner: np.ndarray) -> float:
    """Return the third standardised moment of pixels; 0 if all are equal, NaN without any."""
    if not inner.size:
        return np.nan
    away, spread = inner - inner.mean(), inner.std()
    return float((away**3).mean() / spread**3) if spread > _LEAST_SPREAD else 0.0


def _edge_width_px(local: np.ndarray, nucleus: np.ndarray, away_from_others, contrast: float, blur_px: float) -> float:
    """Return contrast over the mean gradient along the free part of the outline; NaN without either."""
    rim = ndimage.binary_dilation(nucleus) & ~ndimage.binary_erosion(nucleus, border_value=1) & (away_from_others > 3)
    if not rim.any() or contrast <= 0:
        return np.nan
    slope = ndimage.gaussian_gradient_magnitude(local, blur_px)[rim].mean()
    return float(contrast / slope) if slope > 0 else np.nan


def _slope(local: np.ndarray, ring: np.ndarray, diameter: float) -> float:
    """Return the rise of the background in a ring (h, w) per pixel; 0 if it is no slope."""
    at = np.argwhere(ring)
    if len(at) < _LEAST_RING_PX:
        return 0.0
    values = ndimage.gaussian_filter(local, max(1.0, _EVENED * diameter))[ring]
    plane, left, *_ = np.linalg.lstsq(np.column_stack([at, np.ones(len(at))]), values, rcond=None)
    is_slope = left.sum() < _MOST_UNEVEN * values.var() * values.size
    return float(np.hypot(*plane[:2])) if is_slope else 0.0


def plateau_of(pixels: np.ndarray, labels: np.ndarray) -> float:
    """Return the value at which the brightest pixels of the nuclei were clipped; inf if they were not.

    In a clipped picture, in any unit, many pixels share the highest value, and few have the next lower one.
    """
    inside = np.concatenate([pixels[band][labels[band] > 0] for band in bands(labels)])
    if np.isfinite(plateau := _even_plateau(inside)) or np.isinf(plateau := _noisy_plateau(inside)):
        return plateau
    above = (labels[band][(labels[band] > 0) & (pixels[band] >= plateau)] for band in bands(labels))
    # A single nucleus may be as even as a plateau.
    n_even = np.count_nonzero(np.bincount(np.concatenate([*above])) >= _LEAST_PLATEAU_PX)
    return plateau if n_even >= _LEAST_CUT_OFF else np.inf


def _noisy_plateau(inside: np.ndarray) -> float:
    """Return the lower bound of a noisy plateau of pixels (N,), as of a clipped and then smoothed picture; inf without.

    Without clipping, the number of pixels decreases with their brightness.
    """
    if not inside.size:
        return np.inf
    highest = float(percentiles_of(inside, _TOP_PERCENTILE))
    n_beyond = np.count_nonzero(inside > highest / _TOP)
    n_near = np.count_nonzero(inside >= _TOP * highest) - n_beyond
    below = inside[(inside >= _NEXT * highest) & (inside < _TOP * highest)]
    # In a picture of few levels there may be no value between; the few nuclei in mitosis are far brighter.
    is_piled = n_near >= 2 * max(below.size, n_beyond) and len(np.unique(below)) > 1
    return _TOP * highest if is_piled else np.inf


def _even_plateau(inside: np.ndarray) -> float:
    """Return the highest value, if many pixels (N,) share it and few have the next lower one; else inf."""
    highest = inside.max(initial=0)
    values, counts = np.unique(inside[inside >= 0.98 * highest], return_counts=True)
    if not values.size or counts.max() < _LEAST_PLATEAU_PX:
        return np.inf
    # A few hot pixels may be brighter.
    k = int(counts.argmax())
    below = inside[inside < values[k]].max(initial=-np.inf)
    if np.isinf(below):
        # All pixels have one value: this is a label image or a mask, not a camera image.
        return np.inf
    # The two highest values differ by one step of an 8-bit or a 16-bit camera.
    is_near = (inside < values[k]) & (inside >= values[k] - max(values[k] - below, highest / 250))
    others = np.count_nonzero(is_near) + counts[k + 1 :].sum()
    return float(values[k]) if counts[k] > 2 * others else np.inf


def _cut_off_shares(pixels: np.ndarray, labels: np.ndarray, present, brightness: np.ndarray) -> np.ndarray:
    """Return the clipped fraction of each nucleus (N,), if clipping came before correction of uneven light; 0 without.

    Then no value is common to all, but the brightest nuclei are flat at the top, each at its own level, and the dimmest
    quarter is not.
    """
    none = np.zeros(len(present))
    if len(present) < _LEAST_COMPARED:
        return none
    own = [pixels[box][labels[box] == label] for label, box in present]
    flat = np.array([np.mean(inside >= _NEAR_OWN * percentiles_of(inside, 99)) for inside in own])
    is_large = np.array([inside.size >= 4 * _LEAST_PLATEAU_PX for inside in own])
    brightest = np.sort(brightness)[-max(_LEAST_CUT_OFF, len(own) // 10)]
    is_dim = brightness <= np.quantile(brightness, 0.25)
    is_bright = is_large & (brightness >= brightest)
    if not (is_dim & is_large).any() or not is_bright.any() or np.median(flat[is_dim & is_large]) >= _FLAT / 2:
        return none
    if np.median(flat[is_bright]) <= _FLAT or len(np.unique(np.concatenate(own))) < _LEAST_STEPS:
        return none
    return np.where(is_large & ~is_dim & (flat > _FLAT), flat, 0.0)


def _saturated_share(inside: np.ndarray, plateau: float) -> float:
    """Return the fraction of pixels at the plateau, or at the top of all bits of a file or of 10, 12 or 14 of 16."""
    if np.count_nonzero(inside >= plateau) > 0.01 * inside.size:
        return float(np.mean(inside >= plateau))
    brightest = inside.max()
    tops = np.array([1.0, *((2**bits - 1) / 65535 for bits in (10, 12, 14))])
    if not (np.abs(brightest - tops) <= 1e-6 * tops).any():
        return 0.0
    return float(np.mean(inside >= brightest * (1 - 1e-6)))

"""Measure the texture of DNA in the picture of a nucleus, without an outline.

Out of focus or in prophase the outline says little; grain and spatial frequencies show condensed chromatin.
"""

from itertools import pairwise

import numpy as np
from scipy import ndimage

# Amounts of DNA above the 5th percentile of the picture: of all pixels, and of those more than twice as bright as it.
GRAIN_AMOUNTS = ("picture_dna", "bright_dna")
# Widths of grains (sigma in pixels), and limits of the bands of the power spectrum (cycles per pixel).
_WIDTHS = (0.7, 1.0, 1.5, 2.0, 3.0)
_BANDS = (0.02, 0.05, 0.08, 0.11, 0.15, 0.2, 0.27, 0.35, 0.5)
# Columns that do not depend on exposure or offset.
GRAIN = (
    *(f"{name}_{k}" for k in range(1, len(_WIDTHS) + 1) for name in ("spot", "hole", "skew")),
    *(f"power_{k}" for k in range(1, len(_BANDS))),
)
_CHUNK = 256
_LEAST = 1e-12


def grain_columns(planes: np.ndarray, names=GRAIN) -> dict[str, np.ndarray]:
    """Return the columns `GRAIN_AMOUNTS` and `GRAIN` of pictures (N, H, W), each (N,) float64; {} if `names` has none.

    `spot_k` and `hole_k` are the maximum and minimum of a difference of Gaussians, the narrower with the k-th width;
    `skew_k` is its third moment; `power_k` is the logarithm of the mean power in the k-th band of frequencies.

    Examples
    --------
    >>> plane = np.zeros((1, 40, 40)); plane[0, 10:30, 10:30] = 0.5
    >>> columns = grain_columns(plane)
    >>> columns["picture_dna"].tolist(), set(columns) == {*GRAIN, *GRAIN_AMOUNTS}
    ([200.0], True)
    >>> grain_columns(plane, ["area_um2"])
    {}
    """
    if not any(name in GRAIN or name.startswith(GRAIN_AMOUNTS) for name in names):
        return {}
    parts = [_columns(planes[at : at + _CHUNK].astype(np.float64)) for at in range(0, len(planes), _CHUNK)]
    return {name: np.concatenate([[], *(part[name] for part in parts)]) for name in (*GRAIN_AMOUNTS, *GRAIN)}


def _columns(planes: np.ndarray) -> dict[str, np.ndarray]:
    _, height, width = planes.shape
    dark = np.percentile(planes, 5, axis=(1, 2))[:, None, None]
    light = planes - dark
    total = light.sum(axis=(1, 2))
    # A uniform picture becomes 0 everywhere: its columns are those of an empty picture.
    light = light / np.maximum(total, _LEAST)[:, None, None] * (height * width)
    made = {"picture_dna": total, "bright_dna": np.where(planes > 2 * dark, planes - dark, 0).sum(axis=(1, 2))}
    for k, sigma in enumerate(_WIDTHS, start=1):
        grain = ndimage.gaussian_filter(light, (0, sigma, sigma))
        grain = grain - ndimage.gaussian_filter(light, (0, 1.6 * sigma, 1.6 * sigma))
        energy = np.maximum((grain**2).sum(axis=(1, 2)), _LEAST)
        made |= {f"spot_{k}": grain.max(axis=(1, 2)), f"hole_{k}": grain.min(axis=(1, 2))}
        made[f"skew_{k}"] = (grain**3).sum(axis=(1, 2)) / energy**1.5
    power = np.abs(np.fft.fft2(light / (height * width))) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    for k, (low, high) in enumerate(pairwise(_BANDS), start=1):
        band = power[:, (frequency >= low) & (frequency < high)]
        made[f"power_{k}"] = np.log(band.sum(axis=1) / max(band.shape[1], 1) + _LEAST)
    return made

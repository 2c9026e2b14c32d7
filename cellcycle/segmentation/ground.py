"""Tests, by background and noise, of whether the intensities of a picture are still proportional to light.

A model scales the brightness of a nucleus by the noise of the background, or by the DNA of all nuclei. Both fail in
pictures that were clipped, rounded, smoothed, sharpened or put on a brightness curve. The numbers beside the bounds
were measured on 350 fields of BBBC038 and 2 of RPE-1.
"""

from typing import NamedTuple

import numpy as np

from cellcycle.segmentation.ranks import median_of, percentiles_of
from cellcycle.segmentation.regions import bands, thinned, thinned_extreme

# Greatest fraction of the background at its lowest value. A half is harmless; at 0.7, a third of G1 is called G2.
_MOST_DARKEST = 0.6
# Least number of intensity values within nuclei: 27 and more in real fields; 7 in a picture of 8 levels.
_LEAST_STEPS = 12
# Least noise between neighbours over that between pixels 3 apart: 0.8 and more but for 6 fields, 0.6 and less in JPEG.
_LEAST_ROUGH = 0.7
# Greatest excess of that ratio over 1, in rows and columns both: 0.005 and less, 0.02 and more after sharpening on even
# background. Chance adds up to the second number over the square root of the number of pixels.
_MOST_ROUGH, _CHANCE = 0.02, 4.0
# Least noise within nuclei over that beside them: 1.3 and more, because photon noise grows with intensity. It is less
# in nine of ten fields after a gamma of 0.5, in half of them after 0.7.
_LEAST_INSIDE = 1.25
# Least intensity just beyond the glow minus that farther out, relative to the contrast: 0.01 and more; sharpened -0.02.
_DARK_RING = -0.01
# Least brightness of nuclei over the noise beside them: 32 and more; 11 and more in the simulated slides from which the
# shipped models learned.
_LEAST_SIGNAL = 10.0
# Distances in px beyond the outline at which glow, ring, gap and outer ring end.
_REACHES = (2, 5, 7, 10)
_LEAST_PX = 100
# Factor by which second differences along both axes increase the deviation of noise.
_BENT_TWICE = 6.0
# Greatest difference of neighbouring lines over that of lines 2 apart: 0.99 and less; 1.4 and more if lines were
# shifted or belong to a colour mosaic. Greatest log ratio of the differences 2 apart along and across: 0.27 and less;
# 0.35 and more for pixels 1.6 times as wide as high, two pictures added, or stripes.
_MOST_COMBED, _MOST_UNEQUAL = 1.25, 0.3


class Ground(NamedTuple):
    """How a picture was changed: noise clipped or rounded; smoothed; sharpened, stretched or put on a brightness curve;
    lines of several pictures; nuclei hardly above the noise.
    """

    is_cut: bool
    is_smooth: bool
    is_bent: bool
    is_combed: bool
    is_noisy: bool


def ground_of(pixels: np.ndarray, labels: np.ndarray) -> Ground:
    """Return how a picture (H, W) was changed, by its background and nuclei (`labels`); few pixels show nothing."""
    glow, ring, gap, far = (thinned_extreme(labels, px, np.maximum) for px in _REACHES)
    inside = thinned_extreme(labels, _REACHES[0], np.minimum)
    (down, along), (down_2, along_2) = _steps(pixels, 1), _steps(pixels, 2)
    pixels, is_nucleus = thinned(pixels), thinned(labels) > 0
    beside, own = pixels[~is_nucleus], pixels[is_nucleus]
    is_cut = beside.size > 0 and np.mean(beside <= percentiles_of(beside, 1)) > _MOST_DARKEST
    is_cut |= own.size > 0 and len(np.unique(own)) < _LEAST_STEPS
    rough, noise = roughness(pixels, ~ring), _grain(pixels, ~ring)
    is_bent = _grain(pixels, inside) < _LEAST_INSIDE * noise
    # Both directions, because a camera may have stripes along one; a background of few values has hardly any noise.
    excess = max(_MOST_ROUGH, _CHANCE / np.sqrt(max(np.count_nonzero(~ring), 1)))
    is_bent |= not is_cut and rough > 1 + excess and roughness(pixels.T, ~ring.T) > 1 + excess
    rim, around = pixels[ring & ~glow], pixels[far & ~gap]
    if min(rim.size, around.size) >= _LEAST_PX:
        is_bent |= rim.mean() - around.mean() < _DARK_RING * (median_of(own) - median_of(around))
    is_combed = down > _MOST_COMBED * down_2 or along > _MOST_COMBED * along_2
    tiny = np.finfo(np.float32).tiny
    is_bent |= abs(np.log(max(down_2, tiny) / max(along_2, tiny))) > _MOST_UNEQUAL
    # Without background there is no noise to compare with.
    is_noisy = bool(own.size and noise > 0 and median_of(own) - median_of(pixels[~ring]) < _LEAST_SIGNAL * noise)
    # The strongest JPEG compression leaves blocks of one value, without noise; such a picture is clipped, not smooth.
    is_smooth = rough < _LEAST_ROUGH and not (rough == 0 and is_cut)
    return Ground(bool(is_cut), bool(is_smooth), bool(is_bent), bool(is_combed), is_noisy)


def _steps(pixels: np.ndarray, n: int) -> np.ndarray:
    """Return the mean differences of rows, and of columns, that are n apart, (2,); 0 where there are few."""
    total = np.zeros(2)
    for band in bands(pixels):
        rows, part = pixels[band.start : band.stop + n], pixels[band]
        total += np.abs(rows[n:] - rows[:-n]).sum(dtype=float), np.abs(part[:, n:] - part[:, :-n]).sum(dtype=float)
    (height, width), is_enough = pixels.shape, np.array(pixels.shape) > 2
    return np.where(is_enough, total / np.maximum([(height - n) * width, height * (width - n)], 1), 0.0)


def roughness(pixels: np.ndarray, is_ground: np.ndarray) -> float:
    """Return the noise of the background of a picture (H, W) between neighbours, over that between pixels 3 apart.

    It is 1 in a camera image, less after smoothing, 0 without noise, NaN below 100 pixels.
    """
    noise, wide = (_spread(*_bends(pixels, is_ground, apart)) for apart in (1, 3))
    return noise / wide if wide else noise


def _grain(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Return the standard deviation of noise in a mask, to which the texture of nuclei adds little; NaN below 100 px.

    Source: Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding 64 (1996).
    """
    return _spread(*_bends(*(turned.T for turned in _bends(pixels, mask, 1)), 1)) / _BENT_TWICE


def _bends(pixels: np.ndarray, mask: np.ndarray, apart: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the second differences along rows, of pixels `apart`, and where all three pixels are in the mask."""
    width = max(pixels.shape[1] - 2 * apart, 0)
    left, middle, right = (np.s_[:, at : at + width] for at in (0, apart, 2 * apart))
    return pixels[left] - 2 * pixels[middle] + pixels[right], mask[left] & mask[middle] & mask[right]


def _spread(bends: np.ndarray, is_inside: np.ndarray) -> float:
    """Return the root mean square of the `bends` inside, clipped to percentiles 2 and 98; NaN below 100."""
    bends = bends[is_inside]
    if bends.size < _LEAST_PX:
        return np.nan
    return float(np.sqrt(np.mean(np.clip(bends, *percentiles_of(bends, (2, 98))) ** 2)))

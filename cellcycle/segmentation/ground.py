"""Does a picture show light as a camera counts it? The ground beside its nuclei, and its noise, tell.

How bright a nucleus is, a model tells by the noise of that ground, or by the light of all nuclei. Both fail in pictures
that a program cut off, rounded, smoothed, sharpened or put on a curve of brightness. The numbers beside the bounds are
those of 350 fields of BBBC038 and two of RPE-1.
"""

from typing import NamedTuple

import numpy as np

from cellcycle.segmentation.ranks import median_of, percentiles_of
from cellcycle.segmentation.regions import bands, thinned, thinned_extreme

# Half of the ground as dark as its darkest is harmless; of seven tenths cut off, a third of G1 is called G2.
_MOST_DARKEST = 0.6
# Brightness steps in all nuclei together: 27 and more; of a picture in 8 steps 7.
_LEAST_STEPS = 12
# Noise from pixel to pixel over that from one to the third next: 0.8 and more, but in six fields; of JPEG 0.6 and less.
_LEAST_ROUGH = 0.7
# Both along and down a picture, less 1: 0.005 and less; sharpened 0.02 and more, where its ground is even. What chance
# adds to that of few pixels is this over the root of their number.
_MOST_ROUGH, _CHANCE = 0.02, 4.0
# Noise in nuclei over that beside them: 1.3 and more, for light is counted; under a gamma of 0.5 it is less in nine of
# ten fields, under 0.7 in half of them.
_LEAST_INSIDE = 1.25
# Brightness just beyond the glow over that of farther out, in units of the contrast: 0.01 and more; sharpened -0.02.
_DARK_RING = -0.01
# Brightness of nuclei over the deviation of the noise beside them: 32 and more, of simulated slides that the shipped
# models learned from 11 and more.
_LEAST_SIGNAL = 10.0
# Pixels beyond the outline: glow, ring, gap, farther out.
_REACHES = (2, 5, 7, 10)
_LEAST_PX = 100
# What noise becomes by bending along and down.
_BENT_TWICE = 6.0
# Of what every second lines differ by, neighbouring ones do by 0.99 and less; by 1.4 and more if they were moved or are
# of a mosaic of colours. Along and across a picture the logarithms of the former are 0.27 apart at most, of pixels 1.6
# times as wide as high, two that were added, or stripes 0.35 and more.
_MOST_COMBED, _MOST_UNEQUAL = 1.25, 0.3


class Ground(NamedTuple):
    """What was done to a picture: noise cut off or rounded; smoothed; sharpened, stretched, or put on a curve of
    brightness; made of lines that do not belong together; so little light that nuclei hardly stand out from noise.
    """

    is_cut: bool
    is_smooth: bool
    is_bent: bool
    is_combed: bool
    is_noisy: bool


def ground_of(pixels: np.ndarray, labels: np.ndarray) -> Ground:
    """Judge a picture (H, W) float by its ground and its nuclei, `labels` (H, W) int; few pixels tell nothing."""
    glow, ring, gap, far = (thinned_extreme(labels, px, np.maximum) for px in _REACHES)
    inside = thinned_extreme(labels, _REACHES[0], np.minimum)
    (down, along), (down_2, along_2) = _steps(pixels, 1), _steps(pixels, 2)
    pixels, is_nucleus = thinned(pixels), thinned(labels) > 0
    beside, own = pixels[~is_nucleus], pixels[is_nucleus]
    is_cut = beside.size > 0 and np.mean(beside <= percentiles_of(beside, 1)) > _MOST_DARKEST
    is_cut |= own.size > 0 and len(np.unique(own)) < _LEAST_STEPS
    rough, noise = roughness(pixels, ~ring), _grain(pixels, ~ring)
    is_bent = _grain(pixels, inside) < _LEAST_INSIDE * noise
    # Cameras have lines of their own along one side; a ground of few values has hardly any noise to compare.
    excess = max(_MOST_ROUGH, _CHANCE / np.sqrt(max(np.count_nonzero(~ring), 1)))
    is_bent |= not is_cut and rough > 1 + excess and roughness(pixels.T, ~ring.T) > 1 + excess
    rim, around = pixels[ring & ~glow], pixels[far & ~gap]
    if min(rim.size, around.size) >= _LEAST_PX:
        is_bent |= rim.mean() - around.mean() < _DARK_RING * (median_of(own) - median_of(around))
    is_combed = down > _MOST_COMBED * down_2 or along > _MOST_COMBED * along_2
    tiny = np.finfo(np.float32).tiny
    is_bent |= abs(np.log(max(down_2, tiny) / max(along_2, tiny))) > _MOST_UNEQUAL
    # Without a ground there is no noise to compare with.
    is_noisy = bool(own.size and noise > 0 and median_of(own) - median_of(pixels[~ring]) < _LEAST_SIGNAL * noise)
    # JPEG at its strongest leaves blocks of one value each, and no noise at all.
    is_smooth = rough < _LEAST_ROUGH and not (rough == 0 and is_cut)
    return Ground(bool(is_cut), bool(is_smooth), bool(is_bent), bool(is_combed), is_noisy)


def _steps(pixels: np.ndarray, n: int) -> np.ndarray:
    """Return how much every n-th of the rows of a picture (H, W) differ, and of its columns; 0 where there are few."""
    total = np.zeros(2)
    for band in bands(pixels):
        rows, part = pixels[band.start : band.stop + n], pixels[band]
        total += np.abs(rows[n:] - rows[:-n]).sum(dtype=float), np.abs(part[:, n:] - part[:, :-n]).sum(dtype=float)
    (height, width), is_enough = pixels.shape, np.array(pixels.shape) > 2
    return np.where(is_enough, total / np.maximum([(height - n) * width, height * (width - n)], 1), 0.0)


def roughness(pixels: np.ndarray, is_ground: np.ndarray) -> float:
    """Return the noise of the ground of a picture (H, W) from pixel to pixel over that to the third next.

    That of a camera has 1, one that was smoothed less, a ground without any noise 0; NaN of few pixels.
    """
    noise, wide = (_spread(*_bends(pixels, is_ground, apart)) for apart in (1, 3))
    return noise / wide if wide else noise


def _grain(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Return the deviation of the noise of pixels of the mask, to which the texture of nuclei adds little; NaN of few.

    Source: Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding 64 (1996).
    """
    return _spread(*_bends(*(turned.T for turned in _bends(pixels, mask, 1)), 1)) / _BENT_TWICE


def _bends(pixels: np.ndarray, mask: np.ndarray, apart: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how much each pixel lies below those as far to its left and right, and where all three are of the mask."""
    width = max(pixels.shape[1] - 2 * apart, 0)
    left, middle, right = (np.s_[:, at : at + width] for at in (0, apart, 2 * apart))
    return pixels[left] - 2 * pixels[middle] + pixels[right], mask[left] & mask[middle] & mask[right]


def _spread(bends: np.ndarray, is_inside: np.ndarray) -> float:
    """Return the noise of which bends inside tell; NaN of few."""
    bends = bends[is_inside]
    if bends.size < _LEAST_PX:
        return np.nan
    return float(np.sqrt(np.mean(np.clip(bends, *percentiles_of(bends, (2, 98))) ** 2)))

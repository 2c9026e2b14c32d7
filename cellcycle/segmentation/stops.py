"""Areas of a picture filled with noise: by a field stop, or by a program that compressed, rotated or dithered them.

Neighbouring pixels there differ, but the means of blocks are as even as in background, at another level. If two even
areas meet along straight lines, or a circle as large as the picture, this is due neither to cells nor to light.
"""

import numpy as np
from scipy import ndimage

from cellcycle.segmentation.regions import EIGHT, PLAIN_CROP_PX, areas_of, block_means, contrast_of, extreme, thinned
from cellcycle.segmentation.survey import opened

_BLOCK_PX = 4
# A block is even if it and its neighbours differ by at most this many deviations of noise, this fraction of the
# contrast, or one intensity level. An area is at least the last fraction of the picture.
_DEVIATIONS, _EVEN, _LEAST_SHARE = 6.0, 0.01, 0.004
# Areas differ by this fraction of the contrast, nearly two intensity levels, and this many times the spread of their
# own blocks; but by at most the last fraction of the contrast, for nuclei differ by more.
_LEAST_JUMP, _LEAST_LEVELS, _TIMES, _MOST_JUMP = 0.02, 1.8, 4, 0.5
# A picture of fewer intensity levels than this is even in steps.
_LEAST_STEPS = 25
# Within this many blocks of an area, at least this fraction is even at another level; just beyond the rim, at most the
# last fraction has its own level. Otherwise the rim is glow of nuclei.
_REACH, _LEAST_BEYOND, _MOST_ALIKE = 4, 0.025, 0.15
# A bridge narrower than this many pixels to the glow of a nucleus does not belong to the area.
_BRIDGE_PX = 7
# At a straight rim, half of a square about a pixel is inside; the numbers are reach of the square (of the shorter
# side), tolerance, and least fraction of such pixels. The outline of a nucleus a third as wide as the picture bends
# more.
_SQUARE, _HALF, _LEAST_STRAIGHT = 1 / 20, 0.03, 0.55


def stopped(pixels: np.ndarray) -> np.ndarray | None:
    """Return the mask (H, W) of even areas at a level of their own with straight or round rims, None without."""
    if min(pixels.shape) <= PLAIN_CROP_PX:
        return None
    blocks = block_means(pixels, _BLOCK_PX)
    # The least difference of values in some rows is one intensity level, in a picture of few.
    contrast, step = contrast_of(blocks), float(np.diff(np.unique(thinned(pixels)[::16])).min(initial=np.inf))
    if contrast < _LEAST_STEPS * step:
        return None
    # The quartile of differences, because in a crowd most are those of nuclei.
    noise = float(np.percentile(np.abs(np.diff(blocks, axis=1)), 25)) / (0.3186 * 2**0.5)
    spans = extreme(blocks, 3, np.maximum) - extreme(blocks, 3, np.minimum)
    even, _ = ndimage.label(spans <= max(_DEVIATIONS * noise, _EVEN * contrast, step))
    large = 1 + np.flatnonzero(areas_of(even)[1:] >= _LEAST_SHARE * blocks.size)
    if len(large) < 2:
        return None
    levels = np.array(ndimage.median(blocks, even, large))
    order, least = np.argsort(levels), max(_LEAST_JUMP * contrast, _LEAST_LEVELS * step)
    groups = np.split(large[order], 1 + np.flatnonzero(np.diff(levels[order]) > least))
    if len(groups) < 2:
        return None
    found = [mask for group in groups if (mask := _area(pixels, blocks, even, group, least, contrast)) is not None]
    return np.logical_or.reduce(found) if found else None


def _area(pixels: np.ndarray, blocks: np.ndarray, even: np.ndarray, group, least: float, contrast: float):
    """Return the mask (H, W) of the even blocks of a group of labels; None if cells or light may end there."""
    core = np.isin(even, group)
    low, level, high = np.percentile(blocks[core], (2, 50, 98))
    whole = ndimage.binary_dilation(core, EIGHT)
    away = ndimage.distance_transform_cdt(~whole, "chessboard")
    off, reach = np.abs(blocks - level), (away > 0) & (away <= _REACH)
    near, beyond = off[away == 2], off[reach & (even > 0) & (off > least)]
    if len(beyond) < max(_LEAST_BEYOND * np.count_nonzero(reach), 1) or np.mean(near < least) > _MOST_ALIKE:
        return None
    jump = np.median(beyond)
    if high - low > min(least, jump / _TIMES) or jump > _MOST_JUMP * contrast:
        return None
    # Up to half of the way to the level just beyond.
    is_level = np.abs(ndimage.gaussian_filter(pixels, 1.0) - level) < np.percentile(near, 5) / 2
    about = np.kron(ndimage.binary_dilation(whole, EIGHT, iterations=2), np.ones((_BLOCK_PX, _BLOCK_PX), bool))
    missing = [(0, side - of) for side, of in zip(pixels.shape, about.shape, strict=True)]
    mask = opened(is_level & np.pad(about, missing, mode="edge"), _BRIDGE_PX)
    return mask if _straightness(mask) >= _LEAST_STRAIGHT else None


def _straightness(mask: np.ndarray) -> float:
    """Return the fraction of the rim of a mask (H, W) that is straight: half of a square about a pixel is inside."""
    side = 2 * round(_SQUARE * min(mask.shape)) + 1
    rim = mask & ~ndimage.binary_erosion(mask, border_value=1)
    shares = ndimage.uniform_filter(mask.astype(np.float32), side, mode="nearest")[rim]
    # The pixels of the rim are inside.
    return float(np.mean(np.abs(shares - 0.5 - 0.5 / side) < _HALF)) if shares.size else 0.0

"""What of a picture is filled with noise: by a field stop, or by a program that compressed, turned or dithered it.

Hardly a pixel there equals the next. But the means of blocks are as even as those of the ground, and lie at another
level; and where two even grounds lie side by side, along straight lines or a circle as large as the picture, neither
cells nor light have parted them.
"""

import numpy as np
from scipy import ndimage

from cellcycle.segmentation.regions import EIGHT, PLAIN_CROP_PX, areas_of, block_means, contrast_of, extreme, thinned
from cellcycle.segmentation.survey import opened

_BLOCK_PX = 4
# Blocks are even that differ from those around by less than this many deviations of their noise, or than this share of
# the contrast, or than one level of brightness; so large a share of the picture is an area.
_DEVIATIONS, _EVEN, _LEAST_SHARE = 6.0, 0.01, 0.004
# Levels of areas differ by at least this share of the contrast, and nearly two levels of brightness; and by more than
# so many times what nearly all blocks of an area differ by. From ground to nuclei it is a larger share than the last.
_LEAST_JUMP, _LEAST_LEVELS, _TIMES, _MOST_JUMP = 0.02, 1.8, 4, 0.5
# A picture of fewer levels of brightness than this is even in steps.
_LEAST_STEPS = 25
# Of what lies within so many blocks of an area at least this share is even ground of another level, and beyond its very
# rim less than the last has its own: glow of nuclei.
_REACH, _LEAST_BEYOND, _MOST_ALIKE = 4, 0.025, 0.15
# A bridge of so many pixels to the glow of a nucleus is none of the area.
_BRIDGE_PX = 7
# About most of the pixels of its rim half of a square is area, give or take; the square reaches this share of the
# shorter side of the picture. The outline of a nucleus a third as wide as the picture bends more.
_SQUARE, _HALF, _LEAST_STRAIGHT = 1 / 20, 0.03, 0.55


def stopped(pixels: np.ndarray) -> np.ndarray | None:
    """Return where a picture (H, W) is even at a level of its own, up to straight or round rims; None where nowhere."""
    if min(pixels.shape) <= PLAIN_CROP_PX:
        return None
    blocks = block_means(pixels, _BLOCK_PX)
    # The least difference of values in some rows: one level of brightness of a picture of few.
    contrast, step = contrast_of(blocks), float(np.diff(np.unique(thinned(pixels)[::16])).min(initial=np.inf))
    if contrast < _LEAST_STEPS * step:
        return None
    # The smallest differences, for in a crowd most are those of nuclei.
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
    """Return where the even blocks of a group of labels lie, (H, W) bool; None where cells or light may end there."""
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
    # Halfway to what lies beyond.
    is_level = np.abs(ndimage.gaussian_filter(pixels, 1.0) - level) < np.percentile(near, 5) / 2
    about = np.kron(ndimage.binary_dilation(whole, EIGHT, iterations=2), np.ones((_BLOCK_PX, _BLOCK_PX), bool))
    missing = [(0, side - of) for side, of in zip(pixels.shape, about.shape, strict=True)]
    mask = opened(is_level & np.pad(about, missing, mode="edge"), _BRIDGE_PX)
    return mask if _straightness(mask) >= _LEAST_STRAIGHT else None


def _straightness(mask: np.ndarray) -> float:
    """Return of how much of the rim of a mask (H, W) half of a square about it is inside, so that it goes straight."""
    side = 2 * round(_SQUARE * min(mask.shape)) + 1
    rim = mask & ~ndimage.binary_erosion(mask, border_value=1)
    shares = ndimage.uniform_filter(mask.astype(np.float32), side, mode="nearest")[rim]
    # The pixels of the rim are inside.
    return float(np.mean(np.abs(shares - 0.5 - 0.5 / side) < _HALF)) if shares.size else 0.0

"""Where a field stop, or a tile that was not taken, left camera noise alone: darker than the background, sharply cut.

No value is shared by such pixels, so that nothing of it is flat. The picture is looked at on means of blocks. Uneven
light has no sharp edge, the ground between nuclei no smooth one.
"""

import numpy as np

from cellcycle.segmentation.survey import otsu

_BLOCK_PX, _LEAST_BLOCKS = 4, 32
_LEAST_SHARE = 0.02
# Thresholds that are tried, each within what is darker than the one before.
_LOOKS = 5
# The step exceeds the noise of the blocks by the first; the darker third on both sides varies by less of it than the
# second. Nuclei are in the brighter part.
_LEAST_CONTRAST, _MOST_VARIED, _DARKER = 4.0, 0.25, (10, 25, 35)
# In blocks from the edge: where the level within is taken, and where that of the background.
_INSIDE, _BEYOND = 3, (5, 7)
# So many blocks beyond the edge the step is over but for this share of it; a bright rim ends by the last.
_STEP_OVER, _NEARLY, _MOST_RIM = 2, 0.15, 4
# Where an area is blurred by the first, its edge moves by less than the second, in blocks.
_BLUR, _MOST_ROUGH = 3.0, 0.3
# Half of the picture beyond is farther from the edge than this: of a disc, where it is wider than the largest nuclei.
_LEAST_DEPTH = 7
# What is lit is of one piece, but for this share, and as long as this share of the picture: enlarged nuclei are not.
_ONE_PIECE, _LEAST_EXTENT = 0.9, 0.7


def unlit(pixels: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """Find what of a picture (H, W) float is camera noise alone, and the bright rim of a stop; both masks (H, W) bool.

    Of what is `filled` with a constant the rim alone is looked for.
    """
    found = np.zeros(pixels.shape, bool)
    height, width = (side // _BLOCK_PX for side in pixels.shape)
    if min(height, width) < _LEAST_BLOCKS:
        return found
    whole = pixels[: height * _BLOCK_PX, : width * _BLOCK_PX]
    blocks = whole.reshape(height, _BLOCK_PX, width, _BLOCK_PX).mean(axis=(1, 3))
    is_filled = filled[_BLOCK_PX // 2 :: _BLOCK_PX, _BLOCK_PX // 2 :: _BLOCK_PX][:height, :width]
    noise = 1.4826 * float(np.median(np.abs(np.diff(blocks, axis=1)))) / np.sqrt(2)
    sample = blocks.ravel()
    for _ in range(_LOOKS):
        threshold = otsu(sample)
        dark = sample[sample <= threshold]
        if dark.size < max(_LEAST_SHARE * blocks.size, _LEAST_BLOCKS) or dark.size == sample.size:
            break
        for area, middle, rim in _areas(blocks, is_filled, threshold, noise):
            if rim or is_filled[area].mean() < 0.5:
                found |= _at_pixels(pixels, area, middle, rim)
        sample = dark
    return found


def _areas(blocks: np.ndarray, is_filled: np.ndarray, threshold: float, noise: float):
    """Go through the dark areas (h, w) bool of blocks that are cut off, the level half way up, the width of a rim."""
    from scipy import ndimage

    labels, _ = ndimage.label(ndimage.binary_opening(blocks <= threshold, np.ones((3, 3))))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    for index in np.flatnonzero(sizes >= max(_LEAST_SHARE * blocks.size, _LEAST_BLOCKS)):
        area = labels == index
        away = ndimage.distance_transform_cdt(~area, "chessboard")
        deep = blocks[ndimage.distance_transform_cdt(np.pad(area, 1, "edge"), "chessboard")[1:-1, 1:-1] >= _INSIDE]
        beyond = blocks[(away >= _BEYOND[0]) & (away <= _BEYOND[1]) & ~is_filled]
        if not deep.size or not beyond.size or np.median(away[~area & ~is_filled]) < _LEAST_DEPTH:
            continue
        if not _is_one_picture(~area & ~is_filled):
            continue
        lowest, level, high = np.percentile(deep, _DARKER)
        dark, ground, bright = np.percentile(beyond, _DARKER)
        step = ground - level
        if step < _LEAST_CONTRAST * noise or max(high - lowest, bright - dark) > _MOST_VARIED * step:
            continue
        near = np.array([np.percentile(blocks[away == k], 25) - ground for k in range(1, _MOST_RIM + 1)])
        n_rising = int(np.max(np.flatnonzero(np.abs(near) > _NEARLY * step), initial=-1)) + 1
        has_rim = near.max() > step
        moved = area ^ (ndimage.gaussian_filter(area.astype(np.float32), _BLUR, mode="nearest") > 0.5)
        is_smooth = moved.sum() <= _MOST_ROUGH * np.count_nonzero(away == 1)
        if is_smooth and n_rising < (_MOST_RIM if has_rim else _STEP_OVER):
            yield area, (level + ground) / 2, n_rising + 1 if has_rim else 0


def _is_one_picture(lit: np.ndarray) -> bool:
    """Say whether what is lit (h, w) bool lies together and goes through most of the picture."""
    from scipy import ndimage

    pieces, _ = ndimage.label(lit)
    sizes = np.bincount(pieces[lit])
    piece = pieces == sizes.argmax()
    extent = max(np.count_nonzero(piece.any(axis=axis)) / side for axis, side in zip((1, 0), lit.shape, strict=True))
    return sizes.max() >= _ONE_PIECE * sizes.sum() and extent >= _LEAST_EXTENT


def _at_pixels(pixels: np.ndarray, area: np.ndarray, middle: float, rim: int) -> np.ndarray:
    """Bring an area of blocks to the pixels, with its rim."""
    from scipy import ndimage

    mask = ndimage.binary_dilation(area, np.ones((3, 3))).repeat(_BLOCK_PX, axis=0).repeat(_BLOCK_PX, axis=1)
    mask = np.pad(mask, [(0, a - b) for a, b in zip(pixels.shape, mask.shape, strict=True)], "edge")
    mask &= ndimage.gaussian_filter(pixels, _BLOCK_PX / 3) <= middle
    return ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=rim * _BLOCK_PX) if rim else mask

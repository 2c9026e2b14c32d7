"""Cut one nucleus out of a plane, and make crops square."""

import numpy as np
from scipy import ndimage
from skimage.transform import resize

from cellcycle.segmentation.regions import border_of

# Reach of a neighbour's glow beyond its outline, in diameters of the nucleus that is cut out.
_PAINT_REACH = 0.06


def cut_nucleus(pixels, labels, label: int, centre, background: float, step: float, size_px: int, painted: bool):
    """Return a square of `size_px` x `size_px`, float32, centred on the nucleus `label` of pixels (H, W).

    `centre` is (row, column). A pixel of the result is `step` image pixels wide; outside the image, the local
    `background` is filled in. `painted`: the background is subtracted and neighbours are set to 0.
    """
    # Margin: four standard deviations of the filter, and a pixel for linear interpolation.
    blur = 0.5 * np.sqrt(max(step**2 - 1, 0.0))
    reach = int(np.ceil(size_px * step / 2 + 4 * blur)) + 2
    corner, side = [round(c) - reach for c in centre], 2 * reach + 1
    local = window_of(pixels, corner, side, background).astype(np.float32) - np.float32(background)
    if painted:
        local[_neighbours(window_of(labels, corner, side), label)] = 0
    if blur > 0:
        local = ndimage.gaussian_filter(local, blur, mode="constant")
    offsets = (np.arange(size_px) - (size_px - 1) / 2) * step
    rows, columns = (offsets + c - at for c, at in zip(centre, corner, strict=True))
    grid = np.meshgrid(rows, columns, indexing="ij")
    cut = ndimage.map_coordinates(local, grid, order=1, mode="constant").astype(np.float32)
    return cut if painted else cut + np.float32(background)


def window_of(pixels: np.ndarray, corner, side: int, outside=0) -> np.ndarray:
    """Return the square of pixels (H, W) from a corner (row, column), which may be outside, filled with `outside`."""
    top, left = corner
    made = np.full((side, side), outside, pixels.dtype)
    inside = pixels[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    made[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]] = inside
    return made


def _neighbours(labels: np.ndarray, label: int) -> np.ndarray:
    """Return a mask of the other nuclei and their glow, where that is nearer to them than to this nucleus."""
    nucleus = labels == label
    others = (labels != 0) & ~nucleus
    if not others.any():
        return others
    to_others = ndimage.distance_transform_edt(~others)
    glow = _PAINT_REACH * np.sqrt(4 * nucleus.sum() / np.pi) + 1
    return (to_others <= glow) & (to_others < ndimage.distance_transform_edt(~nucleus))


def fitted(images: np.ndarray, size_px: int) -> np.ndarray:
    """Return images (N, C, H, W) as squares of `size_px`: padded with the median of their border, then resized.

    Examples
    --------
    >>> fitted(np.ones((1, 1, 6, 4), np.float32), 8).shape
    (1, 1, 8, 8)
    """
    height, width = images.shape[2:]
    if (height, width) == (size_px, size_px):
        return images
    side = max(height, width, size_px)
    made = np.empty((*images.shape[:2], size_px, size_px), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    for at in np.ndindex(images.shape[:2]):
        square = np.full((side, side), np.median(border_of(images[at])), np.float32)
        square[top : top + height, left : left + width] = images[at]
        made[at] = square if side == size_px else resize(square, (size_px, size_px), anti_aliasing=True)
    return made

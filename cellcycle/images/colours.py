"""Whether all channels of a picture show one picture, in colours or not; whatever somebody drew into it."""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

# A channel of less contrast than this share is empty, in 8 bits also one of so many grey levels, if these are less than
# that share: JPEG leaves up to 5 levels of a pure colour in the other two (quality 30, half as many pixels of colour).
_EMPTY_SHARE, _JPEG_LEVELS, _JPEG_SHARE = 0.003, 6, 0.15
_BLOCK_PX = 16
# One picture in one artificial colour has channels in proportion; two stains of the same cells have not.
_SAME_PICTURE = 0.99
_MAX_SAMPLES = 1_000_000
# A drawing is full of its colour, as JPEG leaves it, and with what lies about it takes little of a picture.
_FULL, _MOST_DRAWN, _MOST_AROUND = 0.95, 0.01, 0.25
# Beside a nucleus that is too bright for the camera two pixels on there is more light than this, beside a letter none.
_MOST_FADING = 0.02
# JPEG blurs the edges of a bar: it is known by its length, by how slim it is, and that it fills its box.
_LEAST_LENGTH_PX, _LEAST_SLIM, _LEAST_FILLED = 20, 4, 0.95


def _sample(pixels: np.ndarray) -> np.ndarray:
    """Return about a million pixels on a regular grid, as float."""
    step = int(np.ceil(np.sqrt(pixels.size / _MAX_SAMPLES)))
    return pixels[::step, ::step].astype(np.float64).ravel()


def _contrast(pixels: np.ndarray) -> float:
    """Return how far the means of blocks as large as those of JPEG, over which its errors add up to nothing, differ."""
    side = max(1, min(_BLOCK_PX, min(pixels.shape) // 3))
    height, width = (n // side for n in pixels.shape)
    blocks = pixels[: height * side, : width * side].reshape(height, side, width, side)
    return float(np.ptp(blocks.mean(axis=(1, 3), dtype=np.float64)))


def only_picture(channels: Iterable[np.ndarray]) -> int | None:
    """Return the channel (H, W) of most contrast if all that are not empty show the same picture."""
    # A channel of a large file is held alone.
    found = [(_contrast(pixels), _sample(pixels), pixels.dtype) for pixels in channels]
    contrasts, samples, (kind, *_) = zip(*found, strict=True)
    brightest = int(np.argmax(contrasts))
    most = contrasts[brightest]
    least = min(_JPEG_LEVELS, _JPEG_SHARE * most) if kind == np.uint8 else _EMPTY_SHARE * most
    for contrast, sample in zip(contrasts, samples, strict=True):
        if contrast > least and np.corrcoef(sample, samples[brightest])[0, 1] < _SAME_PICTURE:
            return None
    return brightest


def without_drawings(channels: list[np.ndarray]) -> list[np.ndarray]:
    """Return the three channels (H, W) of a picture in colours, as dark as its ground where it was drawn upon.

    Drawn are bars and letters of one colour that is full in two channels or all, as white or yellow.
    """
    kind = channels[0].dtype
    if kind.kind != "u":
        return channels
    full = np.iinfo(kind).max
    least, middle = np.sort(np.stack(channels), axis=0)[:2]
    is_plain = (middle >= _FULL * full) & ((least >= _FULL * full) | (least <= (1 - _FULL) * full))
    if not 0 < np.count_nonzero(is_plain) <= _MOST_DRAWN * is_plain.size:
        return channels
    parts, n_parts = ndimage.label(is_plain, np.ones((3, 3)))
    is_drawn = (_fading(middle, parts, n_parts) <= _MOST_FADING * full) | _are_bars(parts)
    about = ndimage.maximum_filter(np.append(False, is_drawn)[parts], 4 * _BLOCK_PX + 1)
    if about.mean() > _MOST_AROUND:
        return channels
    return [np.where(about, np.median(pixels).astype(kind), pixels) for pixels in channels]


def _fading(light: np.ndarray, parts: np.ndarray, n_parts: int) -> np.ndarray:
    """Return how much more light than the ground lies around each part: next to it letters are softened."""
    touched, near = (ndimage.maximum_filter(parts, size) for size in (3, 5))
    is_around = (touched == 0) & (near > 0)
    numbers = np.arange(1, n_parts + 1)
    return ndimage.median(light[is_around], near[is_around], numbers) - np.median(light)


def _are_bars(parts: np.ndarray) -> np.ndarray:
    sides = np.array([[side.stop - side.start for side in box] for box in ndimage.find_objects(parts)])
    is_filled = np.bincount(parts.ravel())[1:] >= _LEAST_FILLED * sides.prod(axis=1)
    length, width = sides.max(axis=1), sides.min(axis=1)
    return is_filled & (length >= _LEAST_LENGTH_PX) & (length >= _LEAST_SLIM * width)

"""Find out whether all channels of a file show the same picture, and remove scale bars and letters drawn into it."""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

# A channel is empty if its contrast is at most this fraction of the highest; in 8 bits, at most 6 grey levels or 0.15
# of the highest: JPEG leaks up to 5 levels of a pure colour into the other two (quality 30, chroma subsampled).
_EMPTY_SHARE, _JPEG_LEVELS, _JPEG_SHARE = 0.003, 6, 0.15
_BLOCK_PX = 16
# Least correlation of channels that show the same picture in one artificial colour; two stains of a cell have less.
_SAME_PICTURE = 0.99
_MAX_SAMPLES = 1_000_000
# Drawings have at least this fraction of the full range (after JPEG), and cover at most these fractions of a picture.
_FULL, _MOST_DRAWN, _MOST_AROUND = 0.95, 0.01, 0.25
# Two pixels outside an overexposed nucleus there is more light than this fraction of the range; outside a letter none.
_MOST_FADING = 0.02
# JPEG blurs the edges of a bar, so a bar is recognized by its length, slimness and fraction of its bounding box.
_LEAST_LENGTH_PX, _LEAST_SLIM, _LEAST_FILLED = 20, 4, 0.95


def _sample(pixels: np.ndarray) -> np.ndarray:
    """Return at most about a million pixels on a regular grid, as float64."""
    step = int(np.ceil(np.sqrt(pixels.size / _MAX_SAMPLES)))
    return pixels[::step, ::step].astype(np.float64).ravel()


def _contrast(pixels: np.ndarray) -> float:
    """Return the range of the means of blocks as large as those of JPEG (16 x 16), over which its errors cancel."""
    side = max(1, min(_BLOCK_PX, min(pixels.shape) // 3))
    height, width = (n // side for n in pixels.shape)
    blocks = pixels[: height * side, : width * side].reshape(height, side, width, side)
    return float(np.ptp(blocks.mean(axis=(1, 3), dtype=np.float64)))


def only_picture(channels: Iterable[np.ndarray]) -> int | None:
    """Return the index of the channel (H, W) with most contrast if all non-empty ones show one picture, else None."""
    # Only one channel is in memory at a time: those of a large file may not fit together.
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
    """Return the three channels (H, W) of a colour picture with drawings replaced by the median of each channel.

    Drawings are bars and letters in one colour that is full in two or three channels, such as white or yellow.
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
    """Return how much brighter than the background the ring two pixels around each part is: letters have soft edges."""
    touched, near = (ndimage.maximum_filter(parts, size) for size in (3, 5))
    is_around = (touched == 0) & (near > 0)
    numbers = np.arange(1, n_parts + 1)
    return ndimage.median(light[is_around], near[is_around], numbers) - np.median(light)


def _are_bars(parts: np.ndarray) -> np.ndarray:
    sides = np.array([[side.stop - side.start for side in box] for box in ndimage.find_objects(parts)])
    is_filled = np.bincount(parts.ravel())[1:] >= _LEAST_FILLED * sides.prod(axis=1)
    length, width = sides.max(axis=1), sides.min(axis=1)
    return is_filled & (length >= _LEAST_LENGTH_PX) & (length >= _LEAST_SLIM * width)

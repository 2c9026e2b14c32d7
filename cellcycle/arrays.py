"""Check and convert arrays given by a caller; what does not fit is refused in one line."""

import numpy as np

from cellcycle.errors import CellCycleError, ImageError, SettingError

# Largest label: arrays with an entry for every number up to the largest are allocated.
_MOST_NUMBER = 2**24
# Number of crops examined to see whether pixels are counts.
_LOOKED_AT = 1000
# Rounding tolerance: half-precision probabilities may be slightly above 1, and 1 minus others slightly below 0.
_ROUNDED = 1e-3


def unmasked(pixels, name: str = "pixels") -> np.ndarray:
    """Return pixels as an array; refuse masked pixels, since no code here uses the mask."""
    if np.ma.is_masked(pixels):
        raise ImageError(name, "some of its pixels are masked", "cut out a part without any, or fill them")
    return np.asarray(pixels)


def one_plane(pixels, name: str = "pixels") -> np.ndarray:
    """Return pixels as an array (H, W) of any dtype; refuse another shape, no pixels, and masked pixels."""
    pixels = unmasked(pixels, name)
    if pixels.ndim != 2 or not pixels.size:
        whose = "their" if name == "pixels" else "its"
        raise ImageError(name, f"{whose} shape is {pixels.shape}", "give one gray image (H, W)")
    return pixels


def whole_numbers(numbers: np.ndarray, name: str, remedy: str, copy: bool = True) -> np.ndarray:
    """Return label numbers (H, W) as int32, or refuse them; without `copy`, an int32 array is returned itself."""
    if numbers.dtype.kind not in "buif":
        raise ImageError(name, f"its pixels are of type {numbers.dtype}", remedy)
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise ImageError(name, "it has pixels that are not finite (NaN or infinite)", remedy)
    if numbers.dtype.kind == "f" and not (numbers == np.rint(numbers)).all():
        raise ImageError(name, "it has fractions, as probabilities have, not numbers of nuclei", remedy)
    if numbers.min() < 0:
        raise ImageError(name, f"it has negative numbers, down to {numbers.min():g}", remedy)
    # `item`: a Python int can safely be compared with a number beyond 16 bits.
    if numbers.max().item() > _MOST_NUMBER:
        remedy = "number the nuclei from 1, as skimage.segmentation.relabel_sequential does"
        raise ImageError(name, f"its largest number is {numbers.max():.0f}, and {_MOST_NUMBER} the most", remedy)
    return numbers.astype(np.int32, copy=copy)


def as_labels(labels, pixels: np.ndarray) -> np.ndarray:
    """Return labels (H, W) as int32; refuse other shapes than that of `pixels`, and other than whole numbers."""
    labels, remedy = np.asarray(labels), "give a whole number for each pixel, as skimage.measure.label does"
    if labels.dtype.kind not in "iu" or labels.shape != pixels.shape:
        raise SettingError("labels", f"{labels.dtype} {labels.shape} for pixels {pixels.shape}", remedy)
    # No copy: the labels of a large field should be in memory only once.
    return whole_numbers(labels, "labels", remedy, copy=False)


def as_picture(pixels) -> np.ndarray:
    """Return pixels (H, W) as an array of floats; refuse other shapes and pixels that are not finite real numbers."""
    pixels = one_plane(pixels)
    if pixels.dtype.kind not in "fiub":
        raise ImageError("pixels", f"they are of the type {pixels.dtype}", "give real numbers")
    if not np.isfinite(pixels).all():
        raise ImageError("pixels", "some are NaN or infinite", "replace them, or cut out a part without any")
    # Floats, since a difference of unsigned integers wraps around below 0.
    return pixels if pixels.dtype.kind == "f" else pixels.astype(np.result_type(pixels, np.float32))


def as_crops(images, name: str, kind: type[CellCycleError] = SettingError, most: float = 1) -> np.ndarray:
    """Return crops as an array (N, C, H, W) float32; refuse integers, and counts: median of crop means above `most`."""
    images = unmasked(images, name)
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise kind(name, f"images of shape {images.shape}", "give them as (N, C, H, W)")
    few = images[:: len(images) // _LOOKED_AT + 1]
    if images.dtype.kind != "f" or (len(few) and most < np.median(few.mean(axis=(1, 2, 3))) < np.inf):
        raise kind(name, f"counts of {images.dtype}", "give floats, the file's full range brought to 0 to 1")
    return images.astype(np.float32, copy=False)


def as_dna(given) -> np.ndarray:
    """Return DNA (N,) as float64, NaN where it is masked, not finite or not positive."""
    dna = np.ma.filled(np.ma.asarray(given, dtype=np.float64), np.nan).ravel()
    return np.where((dna > 0) & (dna < np.inf), dna, np.nan)


def as_probabilities(given) -> np.ndarray:
    """Return probabilities (N, K) as float64, NaN rows allowed; refuse other numbers, such as logits or per cent."""
    made = np.asarray(given, dtype=np.float64)
    if made.ndim != 2 or (made < -_ROUNDED).any() or (made > 1 + _ROUNDED).any():
        ends = f" from {np.nanmin(made):.3g} to {np.nanmax(made):.3g}" if made.ndim == 2 else ""
        remedy = "give one from 0 to 1 for each cell and class (N, K)"
        raise SettingError("probabilities", f"they are {made.shape}{ends}", remedy)
    return np.maximum(made, 0)

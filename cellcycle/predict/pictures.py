"""From a nucleus in an image to the picture and the measurements that a model takes, by its input rule."""

import numpy as np

from cellcycle.checkpoint import InputRule
from cellcycle.images import standardise

# The glow of a neighbour reaches this far beyond its outline, in diameters of the nucleus in question.
_PAINT_REACH = 0.06
# Of debris and failed outlines, before the logarithm.
_LEAST_MEASURED = 0.05


def cut_picture(
    pixels: np.ndarray,
    labels: np.ndarray,
    label: int,
    centre: tuple[float, float],
    background: float,
    pixel_size_um: float,
    rule: InputRule,
) -> np.ndarray:
    """Cut one nucleus out at the model's field of view and pixel size.

    Parameters
    ----------
    pixels : ndarray (H, W) float32
        The image.
    labels : ndarray (H, W) of int
        0 is background.
    label : int
        The nucleus.
    centre : tuple of float
        Row and column of its centre.
    background : float
        Local background: it is subtracted, and stands where the picture reaches beyond the image.
    pixel_size_um : float
        Edge of a pixel of the image in the sample.
    rule : InputRule

    Returns
    -------
    ndarray (size_px, size_px) float32
        Intensity above background, in the unit of `pixels`.
    """
    from scipy import ndimage

    step = rule.pixel_size_um / pixel_size_um
    # Four standard deviations of the filter, and the pixel that linear interpolation looks at.
    blur = 0.5 * np.sqrt(max(step**2 - 1, 0.0))
    reach = int(np.ceil(rule.size_px * step / 2 + 4 * blur)) + 2
    corner = [round(c) - reach for c in centre]
    window = tuple(slice(max(c, 0), max(c + 2 * reach + 1, 0)) for c in corner)
    local = pixels[window].astype(np.float32) - np.float32(background)
    if rule.neighbours == "painted":
        local[_neighbours(labels[window], label)] = 0
    local = np.pad(local, [_outside(c, reach, size) for c, size in zip(corner, pixels.shape, strict=True)])
    if blur > 0:
        local = ndimage.gaussian_filter(local, blur, mode="constant")
    offsets = (np.arange(rule.size_px) - (rule.size_px - 1) / 2) * step
    rows, columns = (offsets + c - at for c, at in zip(centre, corner, strict=True))
    grid = np.meshgrid(rows, columns, indexing="ij")
    return ndimage.map_coordinates(local, grid, order=1, mode="constant").astype(np.float32)


def _outside(corner: int, reach: int, size: int) -> tuple[int, int]:
    """Return how many pixels a window that begins at `corner` lacks at either end of an axis."""
    end = corner + 2 * reach + 1
    before = min(max(-corner, 0), 2 * reach + 1)
    return before, 2 * reach + 1 - before - max(min(end, size) - max(corner, 0), 0)


def _neighbours(labels: np.ndarray, label: int) -> np.ndarray:
    """Return the other nuclei and their glow, as far as it is nearer to them than to this nucleus."""
    from scipy import ndimage

    nucleus = labels == label
    others = (labels != 0) & ~nucleus
    if not others.any():
        return others
    to_others = ndimage.distance_transform_edt(~others)
    glow = _PAINT_REACH * np.sqrt(4 * nucleus.sum() / np.pi) + 1
    return (to_others <= glow) & (to_others < ndimage.distance_transform_edt(~nucleus))


def normalise(
    pictures: np.ndarray, rule: InputRule, pixel_size_um: float, g1_position: float | None = None
) -> np.ndarray:
    """Bring cut pictures to the intensities that the model was trained on.

    Parameters
    ----------
    pictures : ndarray (N, size_px, size_px) float32
        Intensity above background.
    rule : InputRule
    pixel_size_um : float
        Edge of a pixel of the image they were cut from.
    g1_position : float, optional
        Integrated DNA of a G1 nucleus in that image; needed by the rule "g1-peak" alone.

    Returns
    -------
    ndarray (N, 1, size_px, size_px) float32
    """
    pictures = pictures[:, np.newaxis]
    if rule.intensity == "per-image":
        return standardise(pictures)
    return ((scaled(pictures, rule, pixel_size_um, g1_position) - rule.mean) / rule.deviation).astype(np.float32)


def scaled(pictures: np.ndarray, rule: InputRule, pixel_size_um: float, g1_position: float | None) -> np.ndarray:
    """Return intensities in the unit whose mean and deviation the rule holds.

    Genome copies a um2 under "g1-peak", where a G1 nucleus has two copies; otherwise as they are.
    Parameters are those of `normalise`.
    """
    if rule.intensity != "g1-peak":
        return pictures
    return pictures * np.float32(2 / (g1_position * pixel_size_um**2))


def log_measurements(columns, rule: InputRule) -> np.ndarray:
    """Return the logarithms to base 2, (N, M) float64, of the measurements that a model takes.

    Parameters
    ----------
    columns : mapping of str to sequence (N,)
        With the columns of the prediction table that `rule.measurements` names.
    rule : InputRule
    """
    found = np.column_stack([np.asarray(columns[name], dtype=np.float64) for name in rule.measurements])
    return np.log2(np.maximum(found, _LEAST_MEASURED))


def normalise_measurements(columns, rule: InputRule) -> np.ndarray | None:
    """Bring measurements to the scale on which the model was trained.

    Parameters
    ----------
    columns : mapping of str to sequence (N,)
        As `log_measurements` takes them, e.g. `ImagePrediction.columns`.
    rule : InputRule

    Returns
    -------
    ndarray (N, M) float32 or None
        A missing measurement stands at the mean of the training nuclei; None for a model that takes none.
    """
    if not rule.measurements:
        return None
    scaled_logs = (log_measurements(columns, rule) - rule.measurement_means) / rule.measurement_deviations
    return np.nan_to_num(scaled_logs).astype(np.float32)

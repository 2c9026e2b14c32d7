"""Optional segmentation by trained networks, behind the same function; each needs its own packages."""

import numpy as np

from cellcycle.errors import SettingError


def cellpose(pixels: np.ndarray, diameter_px: float | None) -> np.ndarray:
    """Segment with Cellpose (Stringer et al. 2021; Pachitariu et al. 2025), version 4 or later.

    Parameters
    ----------
    pixels : ndarray (H, W) float
        The field.
    diameter_px : float or None
        Typical diameter of a nucleus.

    Returns
    -------
    ndarray (H, W) int32
        Labels, 0 is background.

    Raises
    ------
    SettingError
        Cellpose is not installed.
    """
    try:
        from cellpose import models
    except ImportError as error:
        raise SettingError("cellpose", "the package is not installed", "run: pip install cellpose") from error
    masks, *_ = models.CellposeModel(gpu=False).eval(np.asarray(pixels, np.float32), diameter=diameter_px)
    return masks.astype(np.int32)


def stardist(pixels: np.ndarray, diameter_px: float | None) -> np.ndarray:
    """Segment with StarDist's model for fluorescent nuclei (Schmidt et al. 2018).

    Parameters
    ----------
    pixels : ndarray (H, W) float
        The field.
    diameter_px : float or None
        Typical diameter of a nucleus; the picture is scaled to the model's 30 px.

    Returns
    -------
    ndarray (H, W) int32
        Labels, 0 is background.

    Raises
    ------
    SettingError
        StarDist or TensorFlow is not installed.
    """
    try:
        from csbdeep.utils import normalize
        from stardist.models import StarDist2D
    except ImportError as error:
        raise SettingError(
            "stardist", "the package or TensorFlow is not installed", "run: pip install stardist tensorflow"
        ) from error
    model = StarDist2D.from_pretrained("2D_versatile_fluo")
    scale = None if diameter_px is None else 30 / diameter_px
    labels, _ = model.predict_instances(normalize(np.asarray(pixels, np.float32), 1, 99.8), scale=scale)
    return labels.astype(np.int32)

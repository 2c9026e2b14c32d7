"""Optional segmentation by Cellpose or StarDist; each needs its own packages."""

from functools import cache

import numpy as np

from cellcycle.errors import SettingError, needing, reason_of

# StarDist works on tiles of about this side, so that a large field fits into memory.
_TILE_PX = 2048
_STARDIST_DIAMETER_PX = 30


def cellpose(pixels: np.ndarray, diameter_px: float | None) -> np.ndarray:
    """Return labels (H, W) int32 by Cellpose (Stringer et al. 2021; Pachitariu et al. 2025), version 4 or later.

    Raises `SettingError` where it is not installed, or its weights cannot be fetched.
    """
    masks, *_ = _cellpose_model().eval(np.asarray(pixels, np.float32), diameter=diameter_px)
    return np.asarray(masks).astype(np.int32)


def stardist(pixels: np.ndarray, diameter_px: float | None) -> np.ndarray:
    """Return labels (H, W) int32 by StarDist's model for fluorescent nuclei (Schmidt et al. 2018).

    Where `diameter_px` is given, the picture is scaled from that typical diameter of a nucleus to the model's 30 px.
    Raises `SettingError` where StarDist or TensorFlow is not installed, or its weights cannot be fetched.
    """
    model = _stardist_model()
    from csbdeep.utils import normalize

    scale = None if diameter_px is None else _STARDIST_DIAMETER_PX / diameter_px
    tiles = tuple(-(-int(side * (scale or 1)) // _TILE_PX) for side in pixels.shape)
    scaled = normalize(np.asarray(pixels, np.float32), 1, 99.8)
    labels, _ = model.predict_instances(scaled, scale=scale, n_tiles=tiles, show_tile_progress=False)
    return labels.astype(np.int32)


@cache
def _cellpose_model():
    with needing("cellpose", "the package is not installed", "run: pip install 'cellcycle[cellpose]'"):
        from cellpose import models
    return _fetched("cellpose", lambda: models.CellposeModel(gpu=False))


@cache
def _stardist_model():
    remedy = "run: pip install 'cellcycle[stardist]'"
    with needing("stardist", "the package or TensorFlow is not installed", remedy):
        from stardist.models import StarDist2D
    return _fetched("stardist", lambda: StarDist2D.from_pretrained("2D_versatile_fluo"))


def _fetched(name: str, load):
    """Load a model; its weights are downloaded at first use."""
    try:
        return load()
    except Exception as error:
        # Each package, and each downloader, raises exceptions of its own.
        finding = f"its weights cannot be read ({reason_of(error)})"
        raise SettingError(name, finding, "connect to the network once") from error

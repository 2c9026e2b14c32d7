"""Pictures that the page shows. All are 8-bit and for the eye; no number is computed from them."""

from dataclasses import replace

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from cellcycle.app.corrections import cut_nucleus
from cellcycle.predict import ImagePrediction
from cellcycle.predict.overlay import draw_overlay

# Overlays are scaled to sides between these for the browser; a click is scaled back.
_LEAST_PX, _MOST_PX = 512, 1400
_NUCLEUS_PX = 240
# Blue to yellow, read alike with any common colour-vision deficiency.
_HEAT = np.array([[0, 32, 77], [124, 123, 120], [255, 234, 70]], np.float64)


def overlay_picture(
    prediction: ImagePrediction, classes: tuple[str, ...], brightness: float = 1, marked: pd.Series | None = None
) -> Image.Image:
    """Draw an image with the outlines of its nuclei by phase.

    Parameters
    ----------
    prediction : ImagePrediction
        Of an image that could be read.
    classes : tuple of str
    brightness : float, optional
        1 shows the brightest 0.2 % of pixels as white; with 4 what is a quarter as bright is white already.
    marked : pandas.Series, optional
        Row of a nucleus to put a frame around.

    Returns
    -------
    PIL.Image.Image
        At `overlay_scale` of the image.
    """
    pixels = prediction.plane.pixels
    low, high = np.percentile(pixels[::4, ::4], [0.5, 99.8])
    brighter = np.minimum(pixels, low + (high - low) / brightness) if brightness > 1 else pixels
    shown = replace(prediction, plane=replace(prediction.plane, pixels=brighter))
    picture = Image.fromarray(draw_overlay(shown, classes))
    scale = overlay_scale(pixels.shape)
    if scale != 1:
        how = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), how)
    if marked is not None and prediction.nuclei.kind == "field":
        sides = ("left", "top", "right", "bottom")
        left, top, right, bottom = (scale * marked[f"bbox_{side}_px"] for side in sides)
        ImageDraw.Draw(picture).rectangle([left - 4, top - 4, right + 3, bottom + 3], outline="white", width=2)
    return picture


def overlay_scale(shape: tuple[int, int]) -> float:
    """Return the pixels of an overlay for a pixel of the image.

    Examples
    --------
    >>> overlay_scale((512, 512)), overlay_scale((2800, 1400)), overlay_scale((64, 64))
    (1.0, 0.5, 8.0)
    """
    side = max(shape)
    return _MOST_PX / side if side > _MOST_PX else float(max(1, _LEAST_PX // side))


def nucleus_picture(prediction: ImagePrediction, nucleus: pd.Series, brightness: float = 1) -> Image.Image:
    """Cut out one nucleus with its surroundings and stretch its intensities to the range of the screen."""
    pixels = cut_nucleus(prediction, nucleus)
    low, high = np.percentile(pixels, [0.5, 99.8])
    return _enlarged(np.clip((pixels - low) * brightness / max(high - low, 1e-9), 0, 1))


def occlusion_picture(picture: np.ndarray, fall: np.ndarray) -> Image.Image:
    """Colour a nucleus by what its call rests on: yellow where hiding it costs most, blue where nothing is lost.

    Parameters
    ----------
    picture, fall : ndarray (H, W)
        As `occlusion_map` gives them.
    """
    heat = np.clip(fall / max(float(fall.max()), 1e-9), 0, 1)
    colours = np.stack([np.interp(heat, [0, 0.5, 1], _HEAT[:, k]) for k in range(3)], axis=-1)
    light = np.clip(picture / max(float(np.percentile(picture, 99.8)), 1e-9), 0, 1)
    blended = (0.35 * 255 * light[..., np.newaxis] + 0.65 * colours).astype(np.uint8)
    return Image.fromarray(blended).resize((_NUCLEUS_PX, _NUCLEUS_PX), Image.Resampling.NEAREST)


def _enlarged(unit: np.ndarray) -> Image.Image:
    picture = Image.fromarray((255 * unit).astype(np.uint8))
    scale = _NUCLEUS_PX / max(picture.size)
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))

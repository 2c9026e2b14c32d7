"""Outlines of nuclei on their image, in the colours of their phases."""

from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation
from skimage.segmentation import find_boundaries

from cellcycle.images import write_image
from cellcycle.images.writing import has_mark, mark_of, refuse_unmarked
from cellcycle.masks import nuclei_alone
from cellcycle.phases import NO_CALL_COLOUR, class_colours, rgb
from cellcycle.predict.predictor import ImagePrediction

OVERLAY_SUFFIX = "_phases.png"
# The mark in every overlay, so that none is taken for an image of nuclei or replaces one.
_MARK = "cellcycle overlay"
_LEGEND_PX = 16
_NUMBER_PX = 11


def stretched(pixels: np.ndarray) -> np.ndarray:
    """Return an image as uint8, stretched from percentile 0.5 to 99.8."""
    step = max(1, int(np.sqrt(pixels.size / 1e6)))
    low, high = np.percentile(pixels[::step, ::step], [0.5, 99.8])
    return np.clip((pixels - low) * np.float32(255 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)


def draw_overlay(prediction: ImagePrediction, classes: tuple[str, ...]) -> np.ndarray:
    """Return an image with outlines of its nuclei in the colours of the classes, uint8 (H, W, 3).

    Nuclei without a call are gray. If there are several nuclei, each that is wide enough contains its `nucleus_id`. An
    image that is wide enough gets a legend below it (20 rows more), with "no call" if that occurs.
    """
    pixels = prediction.plane.pixels
    picture = np.repeat(stretched(pixels)[..., np.newaxis], 3, axis=2)
    nuclei, colours = prediction.nuclei, class_colours(classes)
    palette = np.zeros((int(nuclei.labels.max()) + 1, 3), np.uint8)
    calls = prediction.columns["call"][: len(prediction.ids)]
    for label, call in zip(prediction.ids, calls, strict=True):
        palette[label] = rgb(colours.get(call, NO_CALL_COLOUR))
    labels = nuclei_alone(nuclei.labels, prediction.ids)
    rim = find_boundaries(labels, mode="inner")
    if min(pixels.shape) > 1200:
        rim = binary_dilation(rim) & (labels > 0)
    picture[rim] = palette[labels[rim]]
    if len(prediction.ids) > 1:
        picture = _with_numbers(picture, prediction)
    return _with_legend(picture, colours | ({} if set(calls) <= set(colours) else {"no call": NO_CALL_COLOUR}))


def write_overlay(path: Path, prediction: ImagePrediction, classes: tuple[str, ...], origin: str = "") -> None:
    """Write the overlay of an image, which records its `origin`, as PNG; only an earlier overlay is replaced."""
    refuse_unmarked(path, _MARK, "overlay", "name another folder with --overlay")
    write_image(path, draw_overlay(prediction, classes), mark=mark_of(_MARK, origin))


def is_overlay(path) -> bool:
    """Return whether a file is a picture that `write_overlay` wrote, and no image to predict."""
    return str(path).endswith(OVERLAY_SUFFIX) and has_mark(path, _MARK)


def _with_numbers(picture: np.ndarray, prediction: ImagePrediction) -> np.ndarray:
    """Write the number of each nucleus at its centre, if there is a margin to the outline."""
    from PIL import Image, ImageDraw, ImageFont

    columns, font = prediction.columns, ImageFont.load_default(_NUMBER_PX)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    sides = (columns[f"bbox_{side}_px"] for side in ("left", "right"))
    places = zip(columns["centroid_x_px"], columns["centroid_y_px"], *sides, strict=True)
    for label, (x, y, left, right) in zip(prediction.ids, places, strict=False):
        if draw.textlength(str(label), font) < 0.7 * (right - left):
            draw.text((x, y), str(label), "white", font, "mm", stroke_width=1, stroke_fill="black")
    return np.asarray(image)


def _with_legend(picture: np.ndarray, colours: dict[str, str]) -> np.ndarray:
    """Add a strip with the classes and their colours below the picture, if it is wide enough."""
    from PIL import Image, ImageDraw

    width_px = sum(_LEGEND_PX + 9 * len(name) + 8 for name in colours)
    if picture.shape[1] < width_px:
        return picture
    strip = Image.new("RGB", (picture.shape[1], _LEGEND_PX + 4))
    draw, left = ImageDraw.Draw(strip), 4
    for name, colour in colours.items():
        draw.rectangle([left, 4, left + 10, 14], fill=colour)
        draw.text((left + 15, 4), name, fill="white")
        left += _LEGEND_PX + 9 * len(name) + 8
    return np.concatenate([picture, np.asarray(strip)])

"""What a call rests on: how far it falls when a part of the nucleus is hidden. By ONNX Runtime alone."""

from dataclasses import replace

import numpy as np

from cellcycle.inputs import Inputs, inputs_of
from cellcycle.nuclei import Anchor
from cellcycle.predict import ImagePrediction
from cellcycle.predict.runtime import Runtime

_STEPS = 12
_PATCH_SHARE = 0.16
# Blue to yellow, read alike with any common colour-vision deficiency.
_HEAT = np.array([[0, 32, 77], [124, 123, 120], [255, 234, 70]], np.float64)


def occlusion_map(prediction: ImagePrediction, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Hide one part of a nucleus after the other and note how much the probability of its call falls.

    A hidden part gets the intensity of the background, so the map answers: what would the model say if there
    were no DNA here? A model that also takes measurements keeps those of the whole nucleus: the map is about the
    picture alone. Probabilities are those of the network before calibration, which keeps their order. Source of the
    method: Zeiler and Fergus, ECCV 2014, doi:10.1007/978-3-319-10590-1_53.

    Returns
    -------
    picture : ndarray (size_px, size_px) float32
        The nucleus, whose row has a call, at the model's scale; intensity above background.
    fall : ndarray (size_px, size_px) float64
        Mean fall of the probability over the patches that cover each pixel; below 0 where hiding helps.
    """
    nucleus = {name: values[row] for name, values in prediction.columns.items()}
    checkpoint = prediction.checkpoint
    rule, copies = checkpoint.input_rule, nucleus["dna_copies"]
    anchor = Anchor(2 * nucleus["integrated_dna"] / copies) if np.isfinite(copies) else None
    # Of a prediction that was kept, the columns alone say what was measured.
    alone = {name: np.array([value]) for name, value in nucleus.items()}
    nuclei = replace(prediction.nuclei, measured=alone, pixel_size_um=float(nucleus["pixel_size_um"]))
    inputs = inputs_of(prediction.plane.pixels, nuclei, rule, anchor)
    picture, patches, side = inputs.images[0, 0], patch_corners(rule.size_px), round(rule.size_px * _PATCH_SHARE)
    level = 0 if rule.surroundings == "painted" else nucleus["background"]
    hidden = np.repeat(inputs.images, len(patches) + 1, axis=0)
    for k, (top, left) in enumerate(patches):
        hidden[k, :, top : top + side, left : left + side] = level
    own = [float(nucleus[name]) if name in nucleus else np.nan for name in rule.measurements]
    measured = np.tile(np.where(np.isfinite(own), own, inputs.measurements[0]), (len(hidden), 1)).astype(np.float32)
    scores = Runtime(checkpoint).probabilities(Inputs(hidden, measured, rule.measurements))
    scores = scores[:, checkpoint.classes.index(nucleus["call"])]
    falls, covers = np.zeros(picture.shape), np.zeros(picture.shape)
    for (top, left), score in zip(patches, scores[:-1], strict=True):
        falls[top : top + side, left : left + side] += scores[-1] - score
        covers[top : top + side, left : left + side] += 1
    return picture, falls / covers


def patch_corners(size_px: int) -> list[tuple[int, int]]:
    """Return top and left of overlapping square patches that cover a picture evenly.

    Examples
    --------
    >>> len(patch_corners(64)), patch_corners(64)[0], patch_corners(64)[-1]
    (144, (0, 0), (54, 54))
    """
    starts = np.rint(np.linspace(0, size_px - round(size_px * _PATCH_SHARE), _STEPS)).astype(int).tolist()
    return [(top, left) for top in starts for left in starts]


def coloured(picture: np.ndarray, fall: np.ndarray) -> np.ndarray:
    """Return a nucleus in colours, (H, W, 3) uint8: yellow where hiding it costs most, blue where nothing is lost."""
    heat = np.clip(fall / max(float(fall.max()), 1e-9), 0, 1)
    colours = np.stack([np.interp(heat, [0, 0.5, 1], _HEAT[:, k]) for k in range(3)], axis=-1)
    light = np.clip(picture / max(float(np.percentile(picture, 99.8)), 1e-9), 0, 1)
    return (0.35 * 255 * light[..., np.newaxis] + 0.65 * colours).astype(np.uint8)

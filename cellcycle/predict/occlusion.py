"""Occlusion maps: by how much the probability of a call falls if a part of the nucleus is hidden. Needs no torch."""

from dataclasses import replace
from itertools import product

import numpy as np

from cellcycle.inputs import Inputs, inputs_of
from cellcycle.nuclei import Anchor
from cellcycle.predict.predictor import ImagePrediction
from cellcycle.predict.runtime import runtime_of

_STEPS, _PATCH_SHARE = 12, 0.16
# Blue to yellow, distinguishable with any common colour-vision deficiency.
_HEAT = np.array([[0, 32, 77], [124, 123, 120], [255, 234, 70]], np.float64)


def occlusion_map(prediction: ImagePrediction, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much the probability of a nucleus' call falls when parts of it are hidden, one after the other.

    A hidden part gets the intensity of the background, as if there were no DNA. Measurements remain those of the whole
    nucleus, so the map concerns the picture only. A model that rotates nuclei upright does so again without the hidden
    part. Probabilities are those before calibration, which keeps their order. Source of the method: Zeiler and Fergus,
    ECCV 2014, doi:10.1007/978-3-319-10590-1_53.

    Returns the picture (S, S) of the nucleus at the model's scale, and, for each of its pixels, the mean fall over the
    patches that cover it, below 0 where hiding raises the probability.
    """
    nucleus = {name: values[row] for name, values in prediction.columns.items()}
    checkpoint = prediction.checkpoint
    rule, copies = checkpoint.input_rule, nucleus["dna_copies"]
    anchor = Anchor(2 * nucleus["integrated_dna"] / copies) if np.isfinite(copies) else None
    # A prediction from a file has its measurements only in its columns.
    alone = {name: np.array([value]) for name, value in nucleus.items()}
    nuclei = replace(prediction.nuclei, measured=alone, pixel_size_um=float(nucleus["pixel_size_um"]))
    inputs = inputs_of(prediction.plane.pixels, nuclei, rule, anchor)
    side = round(rule.size_px * _PATCH_SHARE)
    starts = np.rint(np.linspace(0, rule.size_px - side, _STEPS)).astype(int)
    patches = [np.s_[y : y + side, x : x + side] for y, x in product(starts, starts)]
    hidden = np.repeat(inputs.images, len(patches) + 1, axis=0)
    for k, patch in enumerate(patches):
        hidden[k][:, *patch] = 0 if rule.surroundings == "painted" else nucleus["background"]
    # For crops without a scale, measurements were made on the input itself.
    kept = nucleus if rule.pixel_size_um is not None else {}
    own = [float(kept[name]) if name in kept else np.nan for name in rule.measurements]
    measured = np.tile(np.where(np.isfinite(own), own, inputs.measurements[0]), (len(hidden), 1)).astype(np.float32)
    scores = runtime_of(checkpoint).probabilities(Inputs(hidden, measured, rule.measurements))
    scores = scores[:, checkpoint.classes.index(nucleus["call"])]
    picture = inputs.images[0, 0]
    falls, covers = np.zeros(picture.shape), np.zeros(picture.shape)
    for patch, score in zip(patches, scores[:-1], strict=True):
        falls[patch] += scores[-1] - score
        covers[patch] += 1
    return picture, falls / covers


def coloured(picture: np.ndarray, fall: np.ndarray) -> np.ndarray:
    """Return a nucleus coloured by fall, (H, W, 3) uint8: yellow at the greatest fall, blue at none or a rise."""
    heat = np.clip(fall / max(float(fall.max()), 1e-9), 0, 1)
    colours = np.stack([np.interp(heat, [0, 0.5, 1], _HEAT[:, k]) for k in range(3)], axis=-1)
    light = np.clip(picture / max(float(np.percentile(picture, 99.8)), 1e-9), 0, 1)
    return (0.35 * 255 * light[..., np.newaxis] + 0.65 * colours).astype(np.uint8)

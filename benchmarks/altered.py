"""Measure how often a sharpened picture, and a fibre among nuclei, is flagged, on real fields altered by a program.

    CELLCYCLE_REAL_DATA=<folder> python -m benchmarks.altered    # ten minutes; writes data/results/altered.csv

The fields are a hundred of BBBC038, each of another laboratory, stain or tissue. One row per change: the number of
fields to which it was made, and of those in which it was flagged. A change of brightness is flagged if a nucleus gets
the review reason `changed_picture`; so do some unchanged fields. A fibre is drawn from one nucleus to another at least
three nuclei away, a quarter of a nucleus wide, and is flagged if a nucleus that it crosses becomes `debris`.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from cellcycle import files, tasks
from cellcycle.images import read_plane
from cellcycle.predict import Predictor, Settings
from cellcycle.study.texts import ALTERED

_SHARPEN = np.array([[-1, -1, -1], [-1, 12, -1], [-1, -1, -1]]) / 4
BRIGHTNESS = {
    "as it is": lambda pixels: pixels,
    "ImageJ's Sharpen": lambda pixels: ndimage.convolve(pixels, _SHARPEN),
    "unsharp mask, 1 px, weight 0.5": lambda pixels: unsharp(pixels, 1),
    "unsharp mask, 2 px, weight 0.5": lambda pixels: unsharp(pixels, 2),
}
FIBRES = {"fibre as bright as nuclei": 1.0, "fibre half as bright": 1 / 2, "fibre a third as bright": 1 / 3}


def main() -> None:
    pictures = sorted((Path(os.environ["CELLCYCLE_REAL_DATA"]) / "fields" / "images").iterdir())
    made = tasks.run(
        told_of, pictures, os.cpu_count() or 1, start=Predictor, start_arguments=("auto", Settings("field"))
    )
    rows = pd.concat(tasks.with_bar(made, pictures, "field"))
    found = rows.groupby("change", sort=False)["told"].agg(fields="count", told="sum").astype(int)
    with files.whole_file(files.repository() / ALTERED) as work:
        found.to_csv(work)


def unsharp(pixels: np.ndarray, radius_px: float) -> np.ndarray:
    """Return pixels sharpened as by ImageJ's Unsharp Mask with a weight of 0.5."""
    return (pixels - 0.5 * ndimage.gaussian_filter(pixels, radius_px)) / 0.5


def told_of(predictor: Predictor, file: Path) -> pd.DataFrame:
    """Return whether each change that was made to a field is flagged."""
    plane = read_plane(file)

    def predicted(pixels):
        # Round to the 8 bits of the file.
        pixels = (np.round(pixels.clip(0, 1) * 255) / 255).astype(np.float32)
        return predictor.predict(replace(plane, pixels=pixels))

    found = {name: predicted(change(plane.pixels)) for name, change in BRIGHTNESS.items()}
    told = {name: one.table["review"].str.contains("changed_picture").any() for name, one in found.items()}
    before = found["as it is"]
    rng = np.random.default_rng(list(file.stem.encode()))
    for name, share in FIBRES.items():
        drawn = with_fibre(plane.pixels, before, share, rng)
        if drawn is not None:
            pixels, is_fibre = drawn
            told[name] = (debris(predicted(pixels)) & ~debris(before))[is_fibre].any()
    return pd.DataFrame({"change": list(told), "told": list(told.values())})


def with_fibre(pixels: np.ndarray, before, share: float, rng: np.random.Generator):
    """Return pixels with a curved fibre between two distant nuclei, and its mask; None if no two are distant."""
    centres, labels = before.nuclei.centres, before.nuclei.labels
    if len(centres) < 2:
        return None
    diameter = np.sqrt(np.median(np.bincount(labels.ravel())[1:]) * 4 / np.pi)
    apart = np.hypot(*np.moveaxis(centres[:, None] - centres, -1, 0))
    pairs = np.argwhere(apart > 3 * diameter)
    if not len(pairs):
        return None
    start, end = centres[pairs[rng.integers(len(pairs))]]
    middle = (start + end) / 2 + rng.uniform(-0.15, 0.15) * np.array([end[1] - start[1], start[0] - end[0]])
    t = np.linspace(0, 1, 4 * int(np.hypot(*(end - start))))[:, None]
    path = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
    line = np.ones(pixels.shape, bool)
    line[tuple(path.round().astype(int).clip(0, np.array(pixels.shape) - 1).T)] = False
    is_fibre = ndimage.distance_transform_edt(line) <= diameter / 8
    ground = np.median(pixels[labels == 0])
    light = share * (np.median(pixels[labels > 0]) - ground)
    return pixels + light * ndimage.gaussian_filter(is_fibre.astype(np.float32), 0.7), is_fibre


def debris(found) -> np.ndarray:
    """Return the mask (H, W) of the nuclei of a field that are flagged `debris`."""
    rows = found.table[found.table["flags"].str.contains("debris")]
    return np.isin(found.nuclei.labels, rows["nucleus_id"].astype(int))


if __name__ == "__main__":
    main()

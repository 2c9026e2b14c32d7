"""Measure real nuclei for the simulator's validation: numbers only, no pictures.

Usage: python benchmarks/measure_real_cells.py REAL_DATA [--out data/results/real_cells/measurements.csv]

REAL_DATA holds jurkat/{G1,S,G2,M}/*.tif, mitocheck/{Interphase,...}/*.png and rpe1/*_{DAPI,EdU}.tif.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from skimage import io

from cellcycle.segmentation import measure, measure_crops, segment
from cellcycle.simulation.validation import REAL_MEASUREMENTS, dimensionless, summarise


def read_crops(folder: Path, suffix: str) -> tuple[np.ndarray, list[str], list[str]]:
    """Return images (N, 1, H, W) float32 in [0, 1], folder names and file names."""
    images, classes, names = [], [], []
    for path in sorted(folder.glob(f"*/*{suffix}")):
        image = io.imread(path)
        images.append(image[None] / np.float32(np.iinfo(image.dtype).max))
        classes.append(path.parent.name)
        names.append(path.stem)
    return np.stack(images), classes, names


def measure_jurkat(folder: Path) -> pd.DataFrame:
    """Jurkat cells, propidium iodide, imaging flow cytometry; M also by its sub-phase."""
    images, phases, names = read_crops(folder, ".tif")
    values = dimensionless(measure_crops(images), np.array(phases) == "G1")
    mitotic = np.array(phases) == "M"
    subphases = [name.split("_")[0].rstrip("0123456789-") for name in names]
    return pd.concat(
        [
            summarise(values, phases, "jurkat"),
            summarise(values[mitotic], np.array(subphases)[mitotic], "jurkat"),
        ]
    )


def measure_mitocheck(folder: Path) -> pd.DataFrame:
    """HeLa cells, H2B-GFP; relative to all of interphase, since G1 is not marked."""
    images, classes, _ = read_crops(folder, ".png")
    values = dimensionless(measure_crops(images), np.array(classes) == "Interphase")
    return summarise(values, [name.lower() for name in classes], "mitocheck")


def measure_rpe1(folder: Path) -> pd.DataFrame:
    """RPE-1 cells, DAPI: S by EdU, G1 and G2 (with M) by DNA below and above 1.5 times the G1 peak."""
    dapi, edu = (io.imread(next(folder.glob(f"*_{name}.tif"))).astype(np.float32) for name in ("DAPI", "EdU"))
    labels = segment(dapi / dapi.max())
    cells = measure(dapi, labels)
    mean_edu = measure(edu, labels)["mean_dna"].to_numpy()
    top, left = cells["bbox_top_px"], cells["bbox_left_px"]
    inside = (
        (top > 0) & (left > 0) & (cells["bbox_bottom_px"] < dapi.shape[0]) & (cells["bbox_right_px"] < dapi.shape[1])
    )
    single = (cells["solidity"] > 0.9) & inside & (cells["area_px"] > 0.4 * cells["area_px"].median())
    cells, mean_edu = cells[single].reset_index(drop=True), mean_edu[single.to_numpy()]
    in_s = mean_edu > threshold(mean_edu)
    dna = cells["integrated_dna"].to_numpy()
    peak = densest(dna[~in_s])
    phase = np.select([in_s, dna < 1.5 * peak, dna < 2.6 * peak], ["S", "G1", "G2"], "clump")
    single_g1 = (phase == "G1") & (dna > 0.6 * peak)
    keep = single_g1 | np.isin(phase, ["S", "G2"])
    values = dimensionless(cells, single_g1)
    return summarise(values[keep], phase[keep], "rpe1")


def threshold(mean_edu: np.ndarray) -> float:
    """Return the EdU level between unlabelled and labelled nuclei (Otsu on the log scale)."""
    from skimage.filters import threshold_otsu

    return float(np.exp(threshold_otsu(np.log(np.clip(mean_edu, np.percentile(mean_edu, 1).clip(1), None)))))


def densest(dna: np.ndarray) -> float:
    """Return the mode of the DNA content: the G1 peak."""
    from scipy.stats import gaussian_kde

    grid = np.linspace(*np.quantile(dna, (0.02, 0.98)), 400)
    return float(grid[np.argmax(gaussian_kde(dna, 0.15)(grid))])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real_data", type=Path)
    parser.add_argument("--out", type=Path, default=REAL_MEASUREMENTS)
    arguments = parser.parse_args()
    table = pd.concat(
        [
            measure_jurkat(arguments.real_data / "jurkat"),
            measure_mitocheck(arguments.real_data / "mitocheck"),
            measure_rpe1(arguments.real_data / "rpe1"),
        ]
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = arguments.out.with_suffix(".part")
    table.round(4).to_csv(unfinished, index=False)
    os.replace(unfinished, arguments.out)
    print(f"{len(table)} rows in {arguments.out}")


if __name__ == "__main__":
    main()

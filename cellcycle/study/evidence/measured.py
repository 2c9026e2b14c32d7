"""Measurements of real nuclei for the validation of the simulator: quantiles only, no images."""

from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import files
from cellcycle.datasets import load_dataset
from cellcycle.errors import DataError
from cellcycle.images import read_plane
from cellcycle.light import fit_in_even_light
from cellcycle.nuclei import find_nuclei
from cellcycle.segmentation import measure_crops
from cellcycle.simulation.validation import REAL_MEASUREMENTS, dimensionless, summarise
from cellcycle.study.evidence.sources import EDU, SOURCES, with_truth
from cellcycle.study.shipped.cells import SCALE

# Genome copies of a whole, single nucleus lie between the first and the last; the middle one parts G1 from G2.
_LEAST_COPIES, _MIDDLE_COPIES, _MOST_COPIES = 1.2, 3.0, 5.2


def measure_real(real: Path, fresh: bool = False) -> None:
    """Write the file of quantiles if it is missing, or again if `fresh`."""
    if REAL_MEASUREMENTS.exists() and not fresh:
        return
    table = pd.concat([*_crops(real, "jurkat", "G1"), *_crops(real, "mitocheck", "Interphase"), _rpe1(real)])
    with files.whole_file(REAL_MEASUREMENTS) as work:
        table.round(4).to_csv(work, index=False)


def _crops(real: Path, name: str, reference: str) -> list[pd.DataFrame]:
    """Return quantiles of crops per class, relative to `reference`; for Jurkat also per kind of mitosis (file name)."""
    cells = load_dataset(real / name)
    classes = np.array(cells.classes)[cells.labels]
    values = dimensionless(measure_crops(cells.images), classes == reference)
    made = [summarise(values, classes if name == "jurkat" else np.char.lower(classes), name)]
    if name == "jurkat":
        kinds = [Path(one).stem.split("_")[0].rstrip("0123456789-") for one in cells.sample_ids[classes == "M"]]
        made.append(summarise(values[classes == "M"], kinds, name))
    return made


def _rpe1(real: Path) -> pd.DataFrame:
    """Return quantiles per phase of both fields: S by EdU, G1 and G2 (with M) by DNA, relative to their G1 peak."""
    images = SOURCES["rpe1"].images(real)
    planes = [read_plane(path).pixels for path in images]
    found = [find_nuclei(pixels, None, SCALE, "field") for pixels in planes]
    found, anchor, peak, _ = fit_in_even_light(found)
    if anchor is None:
        raise DataError(images[0].parent, peak.reason, "measure fields in which G1 is seen")
    tables = [pd.DataFrame(n.measured).assign(image=str(path)) for n, path in zip(found, images, strict=True)]
    table = with_truth("rpe1", pd.concat(tables, ignore_index=True))
    copies = 2 * table["integrated_dna"] / anchor.position
    is_whole = np.concatenate([n.is_sound for n in found]) & copies.between(_LEAST_COPIES, _MOST_COPIES)
    phase = np.where(table["truth"] == EDU[1], "S", np.where(copies < _MIDDLE_COPIES, "G1", "G2"))[is_whole]
    return summarise(dimensionless(table[is_whole].reset_index(drop=True), phase == "G1"), phase, "rpe1")

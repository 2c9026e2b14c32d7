"""Measure the calls of unusual cells and pictures: each kind alone, beside the usual one.

    python -m benchmarks.unusual        # ten minutes of one core; writes data/results/unusual.csv

Crops of simulated microscopes and laboratories from which no model learned, each predicted by its picture alone, as
`auto` does. One row per kind: the fraction of nuclei without a call, and, of those with one, balanced accuracy, and the
fractions of M and of other phases that are called M. Late mitoses are drawn whole and with lagging chromosomes.
`python -c "from cellcycle.study.evidence.text import refresh_evidence as r; r()"` writes the table of
`docs/evidence.md` from the rows.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from cellcycle import files, tasks
from cellcycle.images import Plane
from cellcycle.phases import PHASES
from cellcycle.predict import Predictor, Settings
from cellcycle.study.evidence.text import UNUSUAL
from cellcycle.study.shipped.cells import microscope, other_laboratory, simulated_slide

SEED, N_OF_EACH, N_PER_PHASE = 3700, 8, 15
_LATE = {"anaphase_min": 60.0, "telophase_min": 60.0}
KINDS = {
    "usual": {},
    "rounded interphase": {"rounded_fraction": 1.0},
    "dying": {"dying_fraction": 1.0},
    "late mitosis": _LATE,
    "late mitosis, lagging chromosomes": _LATE | {"lagging_fraction": 1.0},
    "confocal, 1 um": {"section_um": 1.0},
    "gamma 0.5": {"export_gamma": 0.5},
    "gamma 2": {"export_gamma": 2.0},
    "stretched, 0.3 % clipped, 8 bit": {"export_clipped": 0.003, "bits": 8},
    "stretched, 2 % clipped, 8 bit": {"export_clipped": 0.02, "bits": 8},
}


def main() -> None:
    rows = list(tasks.run(row_of, KINDS, 2))
    with files.whole_file(files.repository() / UNUSUAL) as work:
        pd.DataFrame(rows).round(4).to_csv(work, index=False)


def row_of(kind: str) -> dict:
    """Return the row of one kind: the scores of its crops."""
    truth, calls = map(np.concatenate, zip(*(slide_of(kind, number) for number in range(2 * N_OF_EACH)), strict=True))
    is_m, has_call = truth == "M", calls != ""
    right = [(calls == truth)[has_call & (truth == phase)].mean() for phase in PHASES]
    row = {
        "kind": kind,
        "nuclei": len(truth),
        "no_call": 1 - has_call.mean(),
        "balanced_accuracy": np.mean(right),
        "m_called_m": right[-1],
        "others_called_m": (calls == "M")[has_call & ~is_m].mean(),
    }
    print(row, flush=True)
    return row


def slide_of(kind: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return phases and calls, (N,) str, of the crops of one microscope; half of these are of other laboratories."""
    usual, size_px = (microscope if number < N_OF_EACH else other_laboratory)(number, SEED)
    parameters = replace(usual, **KINDS[kind])
    slide = simulated_slide(kind, dict.fromkeys(PHASES, N_PER_PHASE), size_px, SEED + number, parameters)
    size_um = float(slide.pixel_sizes_um[0])
    predictor = Predictor(settings=Settings("nucleus", pixel_size_um=size_um))
    planes = (Plane(image[0], parameters.bits, size_um, "crop") for image in slide.images)
    calls = [predictor.predict(plane).columns["call"] for plane in planes]
    return np.array(PHASES)[slide.labels], np.array([own[0] if own else "" for own in calls])


if __name__ == "__main__":
    main()

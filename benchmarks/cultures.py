"""Measure the effect of `--prior` on calls and shares, and the calls of arrested cultures, on simulated fields.

    python -m benchmarks.cultures        # a quarter of an hour of one core; writes data/results/cultures.csv

Fields of microscopes from which no model learned, each predicted by itself with `auto`, with the pixel size known or
not. *Growing* cultures have varying durations of phases; the others are arrested in one phase, or lack G1. With
CELLCYCLE_REAL_DATA also the two RPE-1 fields, read together, whose S is measured by EdU.
`python -c "from cellcycle.study.evidence.text import refresh_evidence as r; r()"` writes the tables of
`docs/evidence.md` from the rows.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from cellcycle import files
from cellcycle.images import Plane
from cellcycle.phases import PHASES
from cellcycle.predict import Predictor, Settings, predict
from cellcycle.predict.priors import PRIORS
from cellcycle.simulation import simulate_field
from cellcycle.study.evidence.scores import FIELDS
from cellcycle.study.evidence.sources import EDU, SOURCES, with_truth
from cellcycle.study.evidence.text import CULTURES
from cellcycle.study.shipped.cells import microscope

SEED, N_GROWING, N_STILL, N_NUCLEI, SIDE_UM = 2600, 24, 6, 140, 330
_NONE_H, _LONG_H, _SPREAD, _NEAR_UM = 0.05, 30.0, 0.4, 4.0
# Durations of the phases in arrested cultures, in hours.
STILL = {
    "all in G1": (_LONG_H, _NONE_H, _NONE_H, _NONE_H),
    "all in G2": (_NONE_H, _NONE_H, _LONG_H, _NONE_H),
    "no G1, little S": (_NONE_H, 4.0, 16.0, _NONE_H),
    "no G1, much S": (_NONE_H, 14.0, 6.0, _NONE_H),
    "all in S": (_NONE_H, _LONG_H, _NONE_H, _NONE_H),
    "little G1, much S": (4.0, 26.0, _NONE_H, _NONE_H),
    "all in M": (_NONE_H, _NONE_H, _NONE_H, _LONG_H),
    "G2 and M": (_NONE_H, _NONE_H, 12.0, 8.0),
}


def main() -> None:
    """Measure, and write one row per field, scale and prior."""
    durations = [("growing", None)] * N_GROWING + [item for item in STILL.items() for _ in range(N_STILL)]
    rows = []
    for number, (culture, hours) in enumerate(durations):
        rows += one_field(number, culture, hours)
        print({name: rows[-1][name] for name in ("culture", "number", "no_call", "right")}, flush=True)
    rows += rpe1_rows()
    with files.whole_file(files.repository() / CULTURES) as work:
        pd.DataFrame(rows).round(4).to_csv(work, index=False)


def one_field(number: int, culture: str, hours) -> list[dict]:
    """Return the rows of one field: its calls with each prior, with the pixel size known and not."""
    rng, (parameters, _) = np.random.default_rng([SEED, number]), microscope(number, SEED)
    usual = (parameters.g1_h, parameters.s_h, parameters.g2_h, parameters.m_h)
    hours = hours or np.array(usual) * np.exp(rng.normal(0, _SPREAD, 4))
    parameters = replace(parameters, **dict(zip(("g1_h", "s_h", "g2_h", "m_h"), map(float, hours), strict=True)))
    side = round(SIDE_UM / parameters.pixel_size_um)
    field = simulate_field((side, side), N_NUCLEI, SEED + number, parameters)
    pixels = field.image.astype(np.float32) / np.iinfo(field.image.dtype).max
    truth, rows = field.truth[~field.truth["touches_border"]], []
    for size_um in (field.pixel_size_um, None):
        plane, nuclei = Plane(pixels, parameters.bits, size_um, f"{culture} {number}"), None
        for prior in PRIORS if culture == "growing" else ("culture",):
            predictor = Predictor(settings=Settings("field", prior=prior))
            nuclei = nuclei or predictor.find(plane)
            called = predictor.call(plane, nuclei).table
            about = {"culture": culture, "number": number, "scale_known": size_um is not None, "prior": prior}
            rows.append(about | scored(called, truth, field.pixel_size_um))
    return rows


def scored(called, truth: pd.DataFrame, pixel_size_um: float) -> dict:
    """Return true and called shares of the nuclei that were found, and fractions right, wrong and without a call."""
    at = ["centroid_y_px", "centroid_x_px"]
    away, nearest = cKDTree(called[at]).query(truth[at])
    is_found = away * pixel_size_um < _NEAR_UM
    calls, phases = called["call"].to_numpy(str)[nearest[is_found]], truth["phase"].to_numpy(str)[is_found]
    made = {"model": called["model"].iloc[0], "n": len(calls), "no_call": np.mean(calls == "")}
    made |= {"right": np.mean(calls == phases), "wrong": np.mean((calls != phases) & (calls != ""))}
    n_called = max(np.count_nonzero(calls != ""), 1)
    return made | {f"true_{p}": np.mean(phases == p) for p in PHASES} | {
        f"called_{p}": np.count_nonzero(calls == p) / n_called for p in PHASES
    }  # fmt: skip


def rpe1_rows() -> list[dict]:
    """Return the rows of the RPE-1 fields with each prior; their true share of S is that of EdU-positive nuclei."""
    real, rows = os.environ.get("CELLCYCLE_REAL_DATA"), []
    if not real:
        return rows
    images = SOURCES["rpe1"].images(Path(real))
    for prior in PRIORS:
        table = with_truth("rpe1", predict(images, kind="field", prior=prior))
        for name, group in FIELDS.items():
            own = table[table["group"] == group]
            row = {"culture": f"RPE-1, {name}", "prior": prior, "n": len(own), "no_call": (own["call"] == "").mean()}
            calls = own["call"][own["call"] != ""]
            row |= {f"called_{p}": (calls == p).mean() for p in PHASES}
            rows.append(row | {"true_S": (own["truth"] == EDU[1]).mean()})
    return rows


if __name__ == "__main__":
    main()

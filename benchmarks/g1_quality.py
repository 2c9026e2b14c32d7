"""Measure how clear a G1 peak must be for the anchored model to do better than the one that needs the picture alone.

    python benchmarks/g1_quality.py

Slides of 60 to 240 simulated nuclei, each of a microscope and a spread of the stain of its own, in the shares of a
growing population. Writes one row a slide to data/results/g1_quality.csv and prints both models by quality of the peak.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from cellcycle import files, metrics
from cellcycle.checkpoint import ANCHORED, DEFAULT, load_checkpoint
from cellcycle.nuclei import g1_peak_of
from cellcycle.phases import PHASES
from cellcycle.study.shipped.cells import microscope, simulated_slide
from cellcycle.study.shipped.scoring import Slide

SEED = 1500
N_SLIDES = 60
SHARES = {"G1": 0.45, "S": 0.3, "G2": 0.17, "M": 0.08}
EDGES = (0, 0.02, 0.05, 0.1, 0.2, 1)


def main():
    models = {role: load_checkpoint(name) for role, name in (("anchored", ANCHORED), ("picture", DEFAULT))}
    rows, calls = [], []
    for number in range(N_SLIDES):
        row, answers = one_slide(number, models)
        rows.append(row)
        calls.append(answers.assign(quality=row["quality"], usable=row["usable"]))
        print(row, flush=True)
    file = files.repository() / "data" / "results" / "g1_quality.csv"
    pd.DataFrame(rows).round(4).to_csv(file, index=False)
    print(by_quality(pd.concat(calls)).to_string())


def one_slide(number: int, models: dict) -> tuple[dict, pd.DataFrame]:
    """Return facts of one slide, and truth and both models' calls of its nuclei."""
    rng = np.random.default_rng([SEED, number])
    parameters, size_px = microscope(number, SEED)
    parameters = replace(parameters, stain_cv=rng.uniform(0.04, 0.25), n_slides=1)
    n = int(rng.integers(60, 241))
    counts = {phase: max(2, round(n * share)) for phase, share in SHARES.items()}
    slide = Slide(simulated_slide(f"quality{number}", counts, size_px, SEED + 1 + number, parameters))
    peak = g1_peak_of(slide.nuclei)
    answers = {"truth": np.array(PHASES)[slide.dataset.labels], "picture": calls_of(models["picture"], slide)}
    if peak.is_usable:
        answers["anchored"] = calls_of(models["anchored"], slide)
    facts = {"n": sum(counts.values()), "stain_cv": parameters.stain_cv, "quality": peak.quality}
    facts |= {"usable": peak.is_usable}
    facts |= {f"accuracy_{name}": np.mean(answers[name] == answers["truth"]) for name in answers if name != "truth"}
    return facts, pd.DataFrame(answers)


def calls_of(checkpoint, slide) -> np.ndarray:
    """Return the call of every nucleus (N,), empty where there is none."""
    scores = slide.probabilities(checkpoint)
    return np.where(np.isfinite(scores[:, 0]), np.array(PHASES)[scores.argmax(axis=1)], "")


def by_quality(calls: pd.DataFrame) -> pd.DataFrame:
    """Return balanced accuracy of both models, over the nuclei of usable slides, by the quality of the peak."""
    calls = calls[calls["usable"]]
    rows = {}
    for interval, part in calls.groupby(pd.cut(calls["quality"], EDGES), observed=True):
        rows[str(interval)] = {"nuclei": len(part)} | {m: _balanced(part, m) for m in ("anchored", "picture")}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("quality")


def _balanced(part: pd.DataFrame, model: str) -> float:
    # A nucleus without a call counts as wrong: its code is that of no class.
    codes = [pd.Categorical(part[c], categories=[*PHASES, ""]).codes for c in ("truth", model)]
    matrix = metrics.confusion_matrix(*codes, len(PHASES) + 1)
    return round(float(metrics.balanced_accuracy(matrix)), 3)


if __name__ == "__main__":
    main()

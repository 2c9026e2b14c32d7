"""Measure how clear a G1 peak must be for the anchored model, and how well the histogram of DNA alone does.

    python benchmarks/g1_quality.py

Simulated slides of 150 to 600 nuclei, of microscopes and of other laboratories that no model learned from, with varying
shares; and some of 500 to 800 nuclei with faint peaks: the stain varies much, or all phases are equally frequent, as
in hand-picked crops. Writes one row per slide to data/results/g1_quality.csv: the fit; balanced accuracy of the model
for pictures, of the anchored one, and of histogram times picture (`cellcycle.study.evidence.product`); the true share
of S, that of the anchored model's calls, and the fitted one.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from cellcycle import files, metrics
from cellcycle.checkpoint import ANCHORED, DEFAULT, load_checkpoint
from cellcycle.dna_content import fit_g1_peak, phase_likelihoods
from cellcycle.phases import PHASES
from cellcycle.report.shares import estimated_shares
from cellcycle.study.evidence.product import PRODUCTS, product
from cellcycle.study.shipped.cells import microscope, other_laboratory, simulated_slide
from cellcycle.study.shipped.scoring import Slide

SEED = 1500
N_SLIDES, N_FAINT, N_EVEN = 12, 8, 6
# Approximate weights of G1, S, G2 and M in a growing population, and their variation between slides.
SHARES = (6.0, 4.0, 2.5, 1.5)


def main():
    models = {name: load_checkpoint(model) for name, model in (("picture", DEFAULT), ("anchored", ANCHORED))}
    file, rows = files.repository() / "data" / "results" / "g1_quality.csv", []
    for number in range(N_SLIDES + N_FAINT + N_EVEN):
        rows.append(one_slide(number, models))
        print(rows[-1], flush=True)
        with files.whole_file(file) as work:
            pd.DataFrame(rows).round(4).to_csv(work, index=False)


def one_slide(number: int, models: dict) -> dict:
    """Return the row of one slide: its fit, and the scores of each method."""
    rng, is_wide = np.random.default_rng([SEED, number]), number % 2 == 1
    parameters, size_px = (other_laboratory if is_wide else microscope)(number, SEED)
    if not is_wide:
        parameters = replace(parameters, stain_cv=rng.uniform(0.04, 0.25), n_slides=1)
    n = int(rng.integers(150, 601))
    is_even = number >= N_SLIDES + N_FAINT
    if number >= N_SLIDES:
        spread = (0.06, 0.14) if is_even else (0.13, 0.2)
        parameters, n = replace(parameters, stain_cv=rng.uniform(*spread)), int(rng.integers(500, 801))
    shares = np.full(len(PHASES), 1 / len(PHASES)) if is_even else rng.dirichlet(SHARES)
    counts = {phase: max(2, round(n * share)) for phase, share in zip(PHASES, shares, strict=True)}
    slide = Slide(simulated_slide(f"quality{number}", counts, size_px, SEED + 1 + number, parameters))
    found = ((one.measured["integrated_dna"], one.is_sound) for one in slide.nuclei)
    dna = np.array([amounts[0] if len(amounts) and is_sound[0] else np.nan for amounts, is_sound in found])
    peak, truth = fit_g1_peak(dna), slide.dataset.labels
    row = {"n": len(truth), "is_wide": is_wide, "stain_cv": parameters.stain_cv, "quality": peak.quality}
    row |= {"usable": peak.is_usable, "cv": peak.cv, "g2_ratio": peak.g2_ratio}
    said = {"picture": slide.probabilities(models["picture"])}
    if peak.is_usable:
        likely = phase_likelihoods(dna, peak.position)
        said["anchored"] = slide.probabilities(models["anchored"])
        for which in PRODUCTS:
            made = product(likely, said["picture"], which)
            # Nuclei without a likelihood of DNA are called by their picture.
            said[f"product_{which}"] = np.where(made.any(axis=1, keepdims=True), made, said["picture"])
        fitted = estimated_shares(likely, np.ones((1, len(likely))))[0, :3]
        calls = said["anchored"][np.isfinite(dna)].argmax(axis=1)
        row |= {"S": np.mean(truth[np.isfinite(dna)] == 1), "S_counted": np.mean(calls == 1)}
        row |= {"S_fitted": fitted[1] / fitted.sum()}
    return row | {f"score_{name}": _balanced(truth, scores) for name, scores in said.items()}


def _balanced(truth: np.ndarray, scores: np.ndarray) -> float:
    # A nucleus without a call counts as wrong: it gets the code of no class.
    calls = np.where(np.isfinite(scores).all(axis=1), np.nan_to_num(scores).argmax(axis=1), len(PHASES))
    matrix = metrics.confusion_matrix(truth, calls, len(PHASES) + 1)[: len(PHASES)]
    return float(metrics.balanced_accuracy(matrix))


if __name__ == "__main__":
    main()

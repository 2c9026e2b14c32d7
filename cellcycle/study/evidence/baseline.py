"""The baseline of the shipped models: how much DNA by the slide's histogram, and mitoses by the picture."""

import numpy as np
import pandas as pd

from cellcycle import comparisons, metrics
from cellcycle.checkpoint import ANCHORED
from cellcycle.phases import PHASES
from cellcycle.results import Record
from cellcycle.study.evidence.scores import auc_of, rows_of
from cellcycle.study.evidence.sources import EDU

# Its name in records.
BASELINE = "product_M"


def histogram_and_picture(likely: np.ndarray, pictured: np.ndarray) -> np.ndarray:
    """Return probabilities (N, 4) of the phases under equal shares.

    `likely` is what DNA tells of G1, S and G2, of which M has as much: the `dna_content.phase_likelihoods`. Of
    `pictured` (N, 4), what a network says of the picture, M is taken against the rest. Both are taken to err
    independently.
    """
    rest = (1 - pictured[:, 3:]) / 3
    joined = likely[:, [0, 1, 2, 2]] * np.hstack([rest, rest, rest, pictured[:, 3:]])
    return joined / np.maximum(joined.sum(axis=1, keepdims=True), 1e-300)


def beside_the_baseline(slides: pd.DataFrame, records: list[Record]) -> str:
    """Return how far one network for all phases lies above the baseline, paired, as a sentence.

    `slides` are the rows of `benchmarks/g1_quality.py`; of real cells those are asked that both answer, with the DNA
    of their slide.
    """
    slides = slides[slides["usable"].astype(bool)]
    lead = (slides["score_anchored"] - slides["score_product_M"]).to_numpy()
    found = metrics.bootstrap(lambda weights: float(np.average(lead, weights=weights)), len(lead))
    told = [f"simulated slides, balanced accuracy {comparisons.verdict(found)}"]
    for title, source, way, minus in (
        ("Jurkat, balanced accuracy", "jurkat", "slide", _balanced_accuracy),
        ("RPE-1, AUC of S", "rpe1", "together", _auc_of_s),
    ):
        tables = {
            r.config["model"]: rows_of(r) for r in records if (r.config["source"], r.config["way"]) == (source, way)
        }
        # Both name the same nuclei in one order.
        both = [tables[model] for model in (ANCHORED, BASELINE)]
        is_asked = np.all([table.filter(like="p_").notna().all(axis=1) for table in both], axis=0)
        told.append(f"{title} {comparisons.verdict(minus(*(table[is_asked] for table in both)))}")
    return f"`{ANCHORED}` minus the DNA histogram, paired: {'; '.join(told)}."


def _balanced_accuracy(rows: pd.DataFrame, base: pd.DataFrame) -> metrics.Estimate:
    truth = rows["truth"].map(PHASES.index).to_numpy()
    calls, minus = (of[[f"p_{phase}" for phase in PHASES]].to_numpy().argmax(axis=1) for of in (rows, base))
    return metrics.estimate(metrics.balanced_accuracy, truth, calls, len(PHASES), minus=minus)


def _auc_of_s(rows: pd.DataFrame, base: pd.DataFrame) -> metrics.Estimate:
    own, other = (auc_of(of["truth"] == EDU[1], of["p_S"]) for of in (rows, base))
    return metrics.bootstrap(lambda weights: own(weights) - other(weights), len(rows))

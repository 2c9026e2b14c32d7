"""An ablation: a ladder of models, each compared with the one above it on the same cells."""

import numpy as np
import pandas as pd

from cellcycle import comparisons, metrics
from cellcycle.checkpoint import ANCHORED, DEFAULT
from cellcycle.phases import PHASES
from cellcycle.results import Record
from cellcycle.study.evidence.board import FOREST
from cellcycle.study.evidence.scores import auc_of, rows_of
from cellcycle.study.evidence.sources import EDU

# Rung -> its column in the table of `benchmarks/g1_quality.py`, and its model in the records on real cells.
RUNGS = {
    "picture alone (`nagao6`)": ("score_picture", DEFAULT),
    "DNA histogram, M by picture": ("score_product_M", "product_M"),
    "DNA histogram times picture": ("score_product_all", "product_all"),
    "one network for all (`best`)": ("score_anchored", ANCHORED),
    "*forest*, given the labels": (None, FOREST),
}


def ladder_table(slides: pd.DataFrame, records: list[Record]) -> pd.DataFrame:
    """Return one row per rung: its scores, and their paired differences to the rung above, as text.

    `slides` is the table of `benchmarks/g1_quality.py`. Of the real cells, only those count for which every rung has
    probabilities, read with the DNA of their slide.
    """
    table = pd.DataFrame("", index=pd.Index(RUNGS, name="what is added"), columns=[])
    for name, (score, answers) in _scored(slides, records).items():
        for rung, own in answers.items():
            table.loc[rung, name] = f"{score(own, None).value:.2f}"
        for above, rung in zip(answers, [*answers][1:], strict=False):
            lead = score(answers[rung], answers[above])
            table.loc[rung, f"{name.split(',')[0]}, minus the row above"] = comparisons.verdict(lead)
    return table.fillna("")


def beside_the_product(slides: pd.DataFrame, records: list[Record]) -> str:
    """Return a sentence: the paired differences between one network for all phases and the product for M alone."""
    product, network = [rung for rung, (_, model) in RUNGS.items() if model in ("product_M", ANCHORED)]
    told = []
    for name, (score, answers) in _scored(slides, records).items():
        if {network, product} <= answers.keys():
            told.append(f"{name} {comparisons.verdict(score(answers[network], answers[product]))}")
    return f"One network for all minus *{product}*, paired: {'; '.join(told)}."


def _scored(slides: pd.DataFrame, records: list[Record]) -> dict[str, tuple]:
    """Return, by the name of each score, its function and the data of each rung that it takes."""
    slides = slides[slides["usable"].astype(bool)]
    simulated = {rung: slides[column].to_numpy() for rung, (column, _) in RUNGS.items() if column}
    return {
        "simulated slides, balanced accuracy": (_mean, simulated),
        "Jurkat, balanced accuracy": (_balanced_accuracy, _answers(records, "jurkat", "slide")),
        "RPE-1, AUC of S": (_auc_of_s, _answers(records, "rpe1", "together")),
    }


def _answers(records: list[Record], source: str, way: str) -> dict[str, pd.DataFrame]:
    """Return each rung's predictions for the nuclei for which all rungs have probabilities, in one order."""
    tables = {r.config["model"]: rows_of(r) for r in records if (r.config["source"], r.config["way"]) == (source, way)}
    tables = {rung: tables[model] for rung, (_, model) in RUNGS.items() if model in tables}
    # All tables have the same nuclei in the same order.
    is_asked = [table.filter(like="p_").notna().all(axis=1).to_numpy() for table in tables.values()]
    return {rung: table[np.all(is_asked, axis=0)] for rung, table in tables.items()}


def _mean(scores: np.ndarray, above: np.ndarray | None) -> metrics.Estimate:
    """Return the mean score (or difference to `above`) over slides; the bootstrap draws slides."""
    less = scores - (0 if above is None else above)
    limits = metrics.SHARE if above is None else metrics.DIFFERENCE
    return metrics.bootstrap(lambda weights: float(np.average(less, weights=weights)), len(less), limits=limits)


def _balanced_accuracy(rows: pd.DataFrame, above: pd.DataFrame | None) -> metrics.Estimate:
    truth, minus = rows["truth"].map(PHASES.index).to_numpy(), None if above is None else _most_probable(above)
    return metrics.estimate(metrics.balanced_accuracy, truth, _most_probable(rows), len(PHASES), minus=minus)


def _most_probable(rows: pd.DataFrame) -> np.ndarray:
    """Return the code of each nucleus's most probable phase (N,)."""
    return rows[[f"p_{phase}" for phase in PHASES]].to_numpy().argmax(axis=1)


def _auc_of_s(rows: pd.DataFrame, above: pd.DataFrame | None) -> metrics.Estimate:
    tables = [rows] if above is None else [rows, above]
    own, *other = (auc_of(of["truth"] == EDU[1], of["p_S" if "p_S" in of else f"p_{EDU[1]}"]) for of in tables)

    def lead(weights) -> float:
        return own(weights) - sum(auc(weights) for auc in other)

    return metrics.bootstrap(lead, len(rows), limits=metrics.DIFFERENCE)

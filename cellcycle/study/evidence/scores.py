"""What a record of real cells comes to: the scores of each source, with 95 % intervals."""

import numpy as np
import pandas as pd

from cellcycle import metrics
from cellcycle.confidence.evaluation import calibration_error
from cellcycle.metrics import Estimate, bootstrap
from cellcycle.phases import PHASES
from cellcycle.report.numbers import is_spoilt
from cellcycle.report.shares import FITTED, samples_of, with_likelihoods
from cellcycle.results import Record
from cellcycle.study.evidence.sources import EDU, MITOTIC

# A field of fewer nuclei says little of a share.
LEAST_NUCLEI = 20
MOST_MITOSES = 0.1
FIELDS = {"control": "SCR_f1", "knock-down": "siCDK4_f3"}
_ONE_PLACE = {"replicate": "", "unit": "", "image": ""}


def rows_of(record: Record) -> pd.DataFrame:
    """Return the nuclei of a record; their probabilities are NaN where no phase was called."""
    table = record.predictions
    numbers = [c for c in table if c.startswith("p_") or c in ("edu", "dna_copies")]
    return table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in numbers})


def scores_of(record: Record) -> dict[str, Estimate]:
    """Return the scores of a record by the source of its cells; what a model cannot be asked is left out."""
    table, name = rows_of(record), record.config["source"]
    made = {"no call": _share(table["call"] == "")}
    if name == "rpe1":
        # Of all nuclei, called or not: it is what the shares of calls are held against.
        is_s = table["truth"] == EDU[1]
        made |= {f"EdU+, {told}": _share(is_s[table["group"] == field]) for told, field in FIELDS.items()}
    called = table[table["call"] != ""]
    if not len(called):
        return made
    return made | {"jurkat": _phases, "mitocheck": _mitoses, "rpe1": _edu, "fields": _fields}[name](called)


def _phases(table: pd.DataFrame) -> dict[str, Estimate]:
    """Four phases: balanced accuracy, recalls, M against the rest, how honest confidence and sets are."""
    made = {"AUC of M": _auc(table["truth"] == "M", _mitotic(table))}
    scores = [f"p_{phase}" for phase in PHASES]
    if not set(scores) <= set(table):
        return made
    truth, calls = (table[column].map(PHASES.index).to_numpy() for column in ("truth", "call"))
    n = len(PHASES)
    made = {"balanced accuracy": metrics.estimate(metrics.balanced_accuracy, truth, calls, n)} | made
    for k, phase in enumerate(PHASES):
        made[f"recall {phase}"] = metrics.estimate(lambda m, k=k: metrics.recall(m)[..., k], truth, calls, n)
    made["calibration error"] = calibration_error(table[scores].to_numpy(), truth)
    if "prediction_set" in table:
        held = [phase in text.split(";") for phase, text in zip(table["truth"], table["prediction_set"], strict=True)]
        made["set holds the phase"] = _share(pd.Series(held))
        by_phase = [_share(pd.Series(held)[(table["truth"] == phase).to_numpy()]) for phase in PHASES]
        made["the same, of the phase held least"] = min(by_phase, key=lambda share: np.nan_to_num(share.value, nan=2))
    return made


def _mitoses(table: pd.DataFrame) -> dict[str, Estimate]:
    """Mitoses by eye: M against interphase, and by kind of mitosis."""
    score = _mitotic(table)
    is_called = table["call"].isin(("M", *MITOTIC))
    is_mitosis = table["truth"] != "Interphase"
    made = {"AUC of M": _auc(is_mitosis, score), "calibration error of M": _calibration(is_mitosis, score)}
    for kind in MITOTIC:
        made[f"{kind.lower()} called M"] = _share(is_called[table["truth"] == kind])
    return made | {"interphase called M": _share(is_called[table["truth"] == "Interphase"])}


def _edu(table: pd.DataFrame) -> dict[str, Estimate]:
    """S by EdU: AUC, and the shares of S and G1 in control and knock-down beside the share that took up EdU."""
    is_s = table["truth"] == EDU[1]
    is_forest = "p_S" not in table and "p_EdU+" in table
    if "p_S" not in table and not is_forest:
        return {}
    score = table["p_EdU+" if is_forest else "p_S"]
    made = {"AUC of S by EdU": _auc(is_s, score), "calibration error of S": _calibration(is_s, score)}
    for name, field in FIELDS.items():
        inside = table["group"] == field
        made[f"S, {name}"] = _share(table["call"][inside].isin(("S", EDU[1])))
        if not is_forest:
            made[f"G1, {name}"] = _share(table["call"][inside] == "G1")
    return made | (_fitted(table) if "flags" in table else {})


def _fitted(table: pd.DataFrame) -> dict[str, Estimate]:
    """Shares fitted to the histogram of both fields, as the report has them."""
    rows = table.assign(field=table["group"], group="", is_counted=~table["flags"].map(is_spoilt), **_ONE_PLACE)
    rows = with_likelihoods(rows.assign(**{f"l_{phase}": rows[f"p_{phase}"] for phase in PHASES}))
    rows, made = rows[rows["is_counted"]], {}
    for name, field in FIELDS.items():
        g1, s, _ = samples_of(rows[rows["field"] == field], PHASES, 0, 500).interval(FITTED)
        made |= {f"S fitted, {name}": s, f"G1 fitted, {name}": g1}
    return made


def _fields(table: pd.DataFrame) -> dict[str, Estimate]:
    """Nuclei called M: of all, and the share of fields in which they are more than a culture has."""
    is_m, groups = table["call"].isin(("M", *MITOTIC)), table["group"]
    by_field = is_m.groupby(groups).agg(["size", "mean"])
    crowded = by_field[by_field["size"] >= LEAST_NUCLEI]
    return {
        "called M": bootstrap(lambda w: float(np.average(is_m, weights=w)), len(is_m), groups),
        f"fields with more than {MOST_MITOSES:.0%} M": _share(crowded["mean"] > MOST_MITOSES),
    }


def _mitotic(table: pd.DataFrame) -> pd.Series:
    names = [c for c in table if c.startswith("p_") and c[2:] in ("M", *MITOTIC)]
    return table[names].sum(axis=1)


def _calibration(is_true: pd.Series, score: pd.Series) -> Estimate:
    """Return how far the probability of one class lies from how often it is right."""
    return calibration_error(np.column_stack([1 - score, score]), np.asarray(is_true, dtype=int))


def _auc(is_true: pd.Series, score: pd.Series) -> Estimate:
    """Area under the ROC: how often a true cell scores above another, ties counting half."""
    values, place = np.unique(score, return_inverse=True)
    truth = np.asarray(is_true, dtype=float)

    def auc(weights) -> float:
        true, other = (np.bincount(place, weights * part, len(values)) for part in (truth, 1 - truth))
        pairs = true.sum() * other.sum()
        return float(true @ (np.cumsum(other) - other / 2) / pairs) if pairs else np.nan

    return bootstrap(auc, len(score)) if len(score) else Estimate(np.nan, np.nan, np.nan)


def _share(is_so: pd.Series) -> Estimate:
    values = np.asarray(is_so, dtype=float)
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan)
    return bootstrap(lambda weights: float(values @ weights / weights.sum()), len(values))

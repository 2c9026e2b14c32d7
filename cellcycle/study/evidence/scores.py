"""Scores of a record on real cells, by source, with 95 % intervals."""

import numpy as np
import pandas as pd

from cellcycle import metrics
from cellcycle.confidence.evaluation import calibration_error, share
from cellcycle.metrics import Estimate, bootstrap
from cellcycle.phases import PHASES
from cellcycle.report.numbers import is_spoilt
from cellcycle.report.shares import FITTED, samples_of, with_likelihoods
from cellcycle.results import Record
from cellcycle.study.evidence.sources import EDU, MITOTIC

# A share is computed only for fields with at least this number of nuclei.
LEAST_NUCLEI = 20
MOST_MITOSES = 0.1
FIELDS = {"control": "SCR_f1", "knock-down": "siCDK4_f3"}
_ONE_PLACE = {"place": "", "replicate": "", "unit": "", "image": ""}


def rows_of(record: Record) -> pd.DataFrame:
    """Return the rows of a record with its numeric columns as float; an empty cell (no probability) is NaN."""
    table = record.predictions
    numbers = [c for c in table if c.startswith("p_") or c in ("edu", "dna_copies")]
    return table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in numbers})


def scores_of(record: Record) -> dict[str, Estimate]:
    """Return the scores of a record that suit the source of its cells; those that the model cannot give are omitted."""
    table, name = rows_of(record), record.config["source"]
    made = {"no call": share(table["call"] == "")}
    if name == "rpe1":
        # Over all nuclei, called or not: this is the reference for the shares of calls.
        is_s = table["truth"] == EDU[1]
        made |= {f"EdU+, {told}": share(is_s[table["group"] == field]) for told, field in FIELDS.items()}
    if not (table["call"] != "").any():
        return made
    if name in ("jurkat", "mitocheck"):
        table = table[table["call"] != ""]
    return made | {"jurkat": _phases, "mitocheck": _mitoses, "rpe1": _edu, "fields": _fields}[name](table)


def _phases(table: pd.DataFrame) -> dict[str, Estimate]:
    """Return scores of four phases: balanced accuracy, recalls, AUC of M, calibration and coverage of the sets."""
    made = {"AUC of M": _auc(table["truth"] == "M", _mitotic(table))}
    scores = [f"p_{phase}" for phase in PHASES]
    if not set(scores) <= set(table):
        return made
    truth, calls = (table[column].map(PHASES.index).to_numpy() for column in ("truth", "call"))
    made = {"balanced accuracy": metrics.estimate(metrics.balanced_accuracy, truth, calls, len(PHASES))} | made
    for phase in PHASES:
        made[f"recall {phase}"] = share(table["call"][table["truth"] == phase] == phase)
    made["calibration error"] = calibration_error(table[scores].to_numpy(), truth)
    if "prediction_set" in table:
        held = [phase in text.split(";") for phase, text in zip(table["truth"], table["prediction_set"], strict=True)]
        made["set holds the phase"] = share(pd.Series(held))
        by_phase = [share(pd.Series(held)[(table["truth"] == phase).to_numpy()]) for phase in PHASES]
        made["the same, of the phase held least"] = min(by_phase, key=lambda share: np.nan_to_num(share.value, nan=2))
    return made


def _mitoses(table: pd.DataFrame) -> dict[str, Estimate]:
    """Return scores of mitoses labelled by eye: M against interphase, and recall per kind of mitosis."""
    score = _mitotic(table)
    is_called = table["call"].isin(("M", *MITOTIC))
    is_mitosis = table["truth"] != "Interphase"
    made = {"AUC of M": _auc(is_mitosis, score), "calibration error of M": _calibration(is_mitosis, score)}
    for kind in MITOTIC:
        made[f"{kind.lower()} called M"] = share(is_called[table["truth"] == kind])
    return made | {"interphase called M": share(is_called[table["truth"] == "Interphase"])}


def _edu(table: pd.DataFrame) -> dict[str, Estimate]:
    """Return scores of S by EdU: AUC and calibration error, and the shares of S and G1 in control and knock-down.

    The AUC uses all nuclei with a probability, also those without a call; shares use nuclei with a call.
    """
    column = next((name for name in ("p_S", f"p_{EDU[1]}") if name in table), None)
    if column is None:
        return {}
    asked = table[table[column].notna()]
    is_s = asked["truth"] == EDU[1]
    made = {"AUC of S by EdU": _auc(is_s, asked[column]), "calibration error of S": _calibration(is_s, asked[column])}
    called = table[table["call"] != ""]
    for name, field in FIELDS.items():
        calls = called["call"][called["group"] == field]
        made[f"S, {name}"] = share(calls.isin(("S", EDU[1])))
        if column == "p_S":
            made[f"G1, {name}"] = share(calls == "G1")
    return made | (_fitted(called) if "flags" in table else {})


def _fitted(table: pd.DataFrame) -> dict[str, Estimate]:
    """Return the shares of S and G1 of each field, fitted to the histogram of both fields as in the report."""
    rows = table.assign(field=table["group"], group="", is_counted=~table["flags"].map(is_spoilt), **_ONE_PLACE)
    rows = with_likelihoods(rows.assign(**{f"l_{phase}": rows[f"p_{phase}"] for phase in PHASES}))
    rows, made = rows[rows["is_counted"]], {}
    for name, field in FIELDS.items():
        g1, s, _ = samples_of(rows[rows["field"] == field], PHASES, 0, 500).interval(FITTED)
        made |= {f"S fitted, {name}": s, f"G1 fitted, {name}": g1}
    return made


def _fields(table: pd.DataFrame) -> dict[str, Estimate]:
    """Return the share of M among calls, and the fraction of fields in which it exceeds `MOST_MITOSES`."""
    called = table[table["call"] != ""]
    is_m = called["call"].isin(("M", *MITOTIC))
    shares = is_m.groupby(called["group"]).mean().reindex(large_fields(table), fill_value=0.0)
    return {
        "called M": share(is_m, called["group"]),
        f"fields with more than {MOST_MITOSES:.0%} M": share(shares > MOST_MITOSES),
    }


def large_fields(table: pd.DataFrame) -> pd.Index:
    """Return the fields with at least `LEAST_NUCLEI` nuclei, called or not."""
    found = table.groupby("group").size()
    return found[found >= LEAST_NUCLEI].index


def _mitotic(table: pd.DataFrame) -> pd.Series:
    names = [c for c in table if c.startswith("p_") and c[2:] in ("M", *MITOTIC)]
    return table[names].sum(axis=1)


def _calibration(is_true: pd.Series, score: pd.Series) -> Estimate:
    """Return the calibration error of the probability of one class."""
    return calibration_error(np.column_stack([1 - score, score]), np.asarray(is_true, dtype=int))


def auc_of(is_true: pd.Series, score: pd.Series):
    """Return a function of weights (N,) that gives the area under the ROC curve; ties count half, NaN for one class."""
    values, place = np.unique(score, return_inverse=True)
    truth = np.asarray(is_true, dtype=float)

    def auc(weights) -> float:
        true, other = (np.bincount(place, weights * part, len(values)) for part in (truth, 1 - truth))
        pairs = true.sum() * other.sum()
        return float(true @ (np.cumsum(other) - other / 2) / pairs) if pairs else np.nan

    return auc


def _auc(is_true: pd.Series, score: pd.Series) -> Estimate:
    return bootstrap(auc_of(is_true, score), len(score)) if len(score) else Estimate(np.nan, np.nan, np.nan)

"""Judge the confidence of a recorded run on cells that were not used for calibration."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from cellcycle.confidence import evaluation
from cellcycle.confidence.assessment import COVERAGE
from cellcycle.confidence.calibration import fit_temperature, with_temperature
from cellcycle.confidence.sets import class_thresholds, prediction_sets, written_sets
from cellcycle.errors import DataError
from cellcycle.metrics import Estimate
from cellcycle.results import Record

EXPERT_SHARE = 0.2


@dataclass(frozen=True)
class Judged:
    """A record with calibrated probabilities (rows, K), prediction sets (rows, K) bool and the mean temperature."""

    record: Record
    probabilities: np.ndarray
    sets: np.ndarray
    temperature: float

    @property
    def sure(self) -> np.ndarray:
        """Calibrated probability of each call, (rows,)."""
        return self.probabilities.max(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Whether each call is right, (rows,) bool."""
        return self.probabilities.argmax(axis=1) == self.record.labels

    @cached_property
    def coverage(self) -> pd.DataFrame:
        """Coverage of the sets, overall and by class; see `evaluation.coverage_table`."""
        return evaluation.coverage_table(self.sets, self.record.labels, self.record.classes, self.record.units)


def cross_fit(probabilities, labels, parts, coverage: float = COVERAGE):
    """Calibrate each part with the other parts; a single part is calibrated with itself.

    `probabilities` (N, K) are those of cells on which the network was not trained, such as the test folds of a record.
    Each fold has its own network, so sets reach `coverage` only as far as these networks agree. `parts` (N,) name what
    is left out together: fold, slide or microscope; rows of one cell must share a part. Returns probabilities (N, K),
    thresholds of sets (N, K), and the temperature of each part.
    """
    given, labels, parts = np.asarray(probabilities, dtype=np.float64), np.asarray(labels), np.asarray(parts)
    calibrated, thresholds, temperatures = np.empty_like(given), np.empty_like(given), []
    for name in np.unique(parts):
        own = parts == name
        others = own if own.all() else ~own
        temperatures.append(fit_temperature(given[others], labels[others]))
        calibrated[own] = with_temperature(given[own], temperatures[-1])
        taught = with_temperature(given[others], temperatures[-1])
        thresholds[own] = class_thresholds(taught, labels[others], coverage)
    return calibrated, thresholds, temperatures


def judge(record: Record, coverage: float = COVERAGE, parts=None) -> Judged:
    """Calibrate each part of a record, by default each fold of each repeat, with the other parts."""
    repeats = record.predictions["repeat"].to_numpy()
    parts = record.predictions["fold"].to_numpy() if parts is None else np.asarray(parts)
    probabilities, temperatures = np.empty(record.probabilities.shape), []
    sets = np.empty(probabilities.shape, bool)
    # Each repeat alone, because in another repeat the cells of this fold are in other folds.
    for repeat in np.unique(repeats):
        rows = repeats == repeat
        if len(np.unique(parts[rows])) < 2:
            raise DataError("calibration", "all cells are in one part", "give two or more folds or slides")
        fitted = cross_fit(record.probabilities[rows], record.labels[rows], parts[rows], coverage)
        probabilities[rows], sets[rows] = fitted[0], prediction_sets(*fitted[:2])
        temperatures += fitted[2]
    return Judged(record, probabilities, sets, float(np.mean(temperatures)))


def calibration_row(judged: Judged) -> dict:
    """Return one row of scores before and after calibration.

    n, accuracy, temperature; ece_before, ece_after, errors_caught (among the least sure 20 %) each with `_low` and
    `_high` (95 % interval); ece_by_chance, the error of perfectly calibrated probabilities.
    """
    record, units = judged.record, judged.record.units
    row = {"n": len(units), "accuracy": judged.right.mean(), "temperature": judged.temperature}
    found = {
        "ece_before": evaluation.calibration_error(record.probabilities, record.labels, units),
        "ece_after": evaluation.calibration_error(judged.probabilities, record.labels, units),
        "errors_caught": evaluation.errors_caught(judged.sure, judged.right, EXPERT_SHARE, units),
    }
    for name, estimate in found.items():
        row |= estimate.columns(name)
    return row | {"ece_by_chance": evaluation.calibration_error_by_chance(judged.probabilities)}


def show_calibration(judged: dict[str, Judged]) -> pd.DataFrame:
    """Return `calibration_row` of several runs as a table of text, intervals in brackets."""
    rows = {}
    for name, one in judged.items():
        row = calibration_row(one)
        shown = {"accuracy": f"{row['accuracy']:.2f}", "temperature": f"{row['temperature']:.2f}"}
        for column, text in (
            ("ece_before", "calibration error before"),
            ("ece_after", "after"),
            ("errors_caught", f"of all errors, in the least sure {EXPERT_SHARE:.0%}"),
        ):
            shown[text] = str(Estimate(*(row[f"{column}{end}"] for end in ("", "_low", "_high"))))
            if column == "ece_after":
                shown["by chance"] = f"{row['ece_by_chance']:.2f}"
        rows[name] = shown
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def review_queue(judged: Judged, n: int = 12) -> pd.DataFrame:
    """Return the n cells with the least sure calls: sample_id, prediction_set, call, confidence, truth."""
    table = judged.record.predictions[["sample_id", "truth"]].copy()
    classes = judged.record.classes
    table["prediction_set"] = written_sets(judged.sets, classes)
    table["call"] = np.array(classes)[judged.probabilities.argmax(axis=1)]
    table["confidence"] = judged.sure
    first = table.sort_values("confidence", kind="stable").drop_duplicates("sample_id").head(n)
    return first[["sample_id", "prediction_set", "call", "confidence", "truth"]].reset_index(drop=True)

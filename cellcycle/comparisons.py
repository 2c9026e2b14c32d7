"""Compare runs with calls made for the score that is shown, by the same rule for all, paired on the same folds."""

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from cellcycle import metrics
from cellcycle.errors import DataError, check_choice
from cellcycle.results import Record

# Training sets in which every class has the same number of images, and so the same share.
BALANCED = ("D3", "D3-before-split")
_RECALL = "recall_"


def readable(score: str) -> str:
    """Return the name of a score for readers.

    Examples
    --------
    >>> readable("macro_f1"), readable("recall_G1")
    ('macro F1', 'recall G1')
    """
    return score.replace("_", " ").replace("f1", "F1")


def calls(record: Record, score: str, as_trained=False) -> np.ndarray:
    """Return the calls (rows,) of a run for one score, by the rule of `metrics.call`.

    The prior are the shares of its test images; a run on D3 was trained with equal shares, any other with those of its
    data. `score` is a key of `metrics.SCORES`, or `recall_<class>`, called as for their mean, balanced accuracy.
    `as_trained` gives the most probable class with the shares of training instead.
    """
    if as_trained:
        return record.predicted
    check_choice("score", score, (*metrics.SCORES, *(_RECALL + name for name in record.classes)))
    score = "balanced_accuracy" if score.startswith(_RECALL) else score
    n_classes = len(record.classes)
    shares = np.bincount(record.labels, minlength=n_classes) / len(record.labels)
    trained = np.full(n_classes, 1 / n_classes) if record.config.get("training_set") in BALANCED else shares
    if score in ("accuracy", "balanced_accuracy"):
        return metrics.call(record.probabilities, score, trained, shares)
    called = np.empty(len(record.labels), dtype=np.int64)
    for repeat in record.predictions["repeat"].unique():
        rows = np.flatnonzero(record.predictions["repeat"] == repeat)
        parts = record.predictions["fold"].to_numpy()[rows]
        if len(np.unique(parts)) == 1:
            # There are no other folds to choose the power on, so two halves of the units replace them.
            units = record.units[rows]
            # A single unit is divided by images.
            parts = np.unique(units if len(np.unique(units)) > 1 else rows, return_inverse=True)[1] % 2
        called[rows] = metrics.call(record.probabilities[rows], score, trained, shares, record.labels[rows], parts)
    return called


def estimate(record: Record, score: str, as_trained=False) -> metrics.Estimate:
    """Return a score of a run with its 95 % interval; arguments as in `calls`.

    A recall of 0 or 1 does not vary in a bootstrap: its interval is the exact binomial one, with as many trials as
    there are units with the class.
    """
    found = _estimate(record, score, calls(record, score, as_trained))
    if score.startswith(_RECALL) and found.value in (0, 1):
        is_class = record.labels == record.classes.index(score.removeprefix(_RECALL))
        n_units = len(np.unique(record.units[is_class]))
        exact = binomtest(int(found.value) * n_units, n_units).proportion_ci()
        return metrics.Estimate(found.value, float(exact.low), float(exact.high))
    return found


def compare(better: Record, worse: Record, score: str, as_trained=False, n_samples=1000) -> metrics.Estimate:
    """Return score(better) - score(worse) with its paired bootstrap interval; other arguments as in `calls`.

    It is a `DataError` if the runs did not predict the same images of the same classes in the same folds.
    """
    keys = ["sample_id", "repeat", "fold", "truth"]
    a, b = better.predictions, worse.predictions
    if better.classes != worse.classes or len(a) != len(b) or not a[keys].equals(b[keys]):
        finding = f"not the same test folds as {worse.folder.name}"
        raise DataError(better.folder, finding, "compare runs of one data set")
    called = (calls(one, score, as_trained) for one in (better, worse))
    return _estimate(better, score, *called, n_samples=n_samples)


def gained(record: Record, score: str) -> metrics.Estimate:
    """Return the gain of a run's score if its calls are made for that score instead of as trained."""
    return _estimate(record, score, calls(record, score), record.predicted)


def _estimate(record: Record, score: str, called, minus=None, n_samples=1000) -> metrics.Estimate:
    def of_class(matrix):
        return metrics.recall(matrix)[..., k]

    function, rows = metrics.SCORES.get(score, of_class), slice(None)
    if score.startswith(_RECALL):
        k = record.classes.index(score.removeprefix(_RECALL))
        # Only rows of the class count, so the interval follows from the number of their units; without any it is NaN.
        rows = record.labels == k if k in record.labels else rows
    called, minus = called[rows], None if minus is None else minus[rows]
    drawn = {"units": record.units[rows], "trainings": record.trainings[rows], "n_samples": n_samples}
    return metrics.estimate(function, record.labels[rows], called, len(record.classes), minus=minus, **drawn)


def differences(pairs: dict, as_trained=False) -> pd.DataFrame:
    """Return the paired difference of each run to its reference, with a verdict from its interval.

    `pairs` maps a row's name to the run and its reference, which predict the same test images in the same folds. Each
    of `metrics.SCORES` has a column: the difference, its 95 % interval and the verdict, "better", "worse", or
    "undecided" (the interval contains 0).
    """
    rows = {
        name: {readable(score): verdict(compare(*pair, score, as_trained)) for score in metrics.SCORES}
        for name, pair in pairs.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def verdict(found: metrics.Estimate) -> str:
    """Return a difference with its interval and the verdict "better", "worse" or "undecided" as text."""
    return f"{found:+.2f} {'better' if found.low > 0 else 'worse' if found.high < 0 else 'undecided'}"


def told(table: pd.DataFrame) -> list[str]:
    """Return one sentence per row of `differences`."""
    return [f"{name}: " + "; ".join(f"{s} {text}" for s, text in row.items()) + "." for name, row in table.iterrows()]


def decided(row, verdict: str = "better") -> str:
    """Return the names of the scores for which a row of `differences` has the given verdict, as text.

    Examples
    --------
    >>> row = pd.Series({"accuracy": "+0.10 [+0.02, +0.20] better", "macro F1": "+0.01 [-0.02, +0.03] undecided"})
    >>> decided(row), decided(row, "worse"), decided(row[["macro F1"] * 3], "undecided")
    ('accuracy', 'no score', 'macro F1, macro F1 and macro F1')
    """
    named = [score for score, text in row.items() if text.endswith(verdict)]
    return " and ".join(part for part in (", ".join(named[:-1]), *named[-1:]) if part) or "no score"


def references(records: dict[str, Record], score: str = "accuracy") -> dict[str, float]:
    """Return one score of named runs for reference lines in a figure; the first is always calling the largest class.

    `score` is a key of `metrics.SCORES`; the calls are made for it, as for the models in the figure.
    """

    def value(record: Record, called) -> float:
        return float(metrics.SCORES[score](metrics.confusion_matrix(record.labels, called, len(record.classes))))

    first = next(iter(records.values()))
    largest = np.full_like(first.labels, np.bincount(first.labels).argmax())
    lines = {name: value(record, calls(record, score)) for name, record in records.items()}
    return {"largest class": value(first, largest)} | lines

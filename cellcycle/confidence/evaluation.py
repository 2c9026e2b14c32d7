"""Scores of the confidence: calibration error, coverage of sets, risk at a coverage, errors caught.

Scores are functions of the confidence of each cell and of whether its call is right, with bootstrap intervals. The
bootstrap draws `units`: all rows of a cell, or of a slide, together.

Here `probabilities` are (N, K), `labels` (N,) class indices, `units` (N,) or None for single rows, `confidence` (N,)
the probability of each call and `right` (N,) whether it is right; `n_samples` and `seed` are those of
`metrics.bootstrap`.
"""

from functools import partial

import numpy as np
import pandas as pd

from cellcycle import metrics
from cellcycle.metrics import Estimate, bootstrap

_BINS = 10
# Number of simulated samples of calls for the calibration error by chance.
_BY_CHANCE = 200


def reliability(probabilities, labels) -> pd.DataFrame:
    """Return the accuracy of calls in bins of similar confidence with about equally many cells.

    One row per bin: n, confidence (mean), accuracy, and its 95 % Wilson interval low, high.
    """
    confidence, right = _confidence(probabilities, labels)
    bins = _bins(confidence)
    grouped = pd.DataFrame({"confidence": confidence, "accuracy": right.astype(float)}).groupby(bins)
    table = grouped.mean()
    table.insert(0, "n", grouped.size())
    table["low"], table["high"] = metrics.wilson(table["accuracy"].to_numpy(), table["n"].to_numpy())
    return table.reset_index(drop=True)


def calibration_error(probabilities, labels, units=None, n_samples=500, seed=0) -> Estimate:
    """Return the expected calibration error of the calls, with its 95 % interval.

    This is the mean distance between mean confidence and accuracy over bins of similar confidence with about equally
    many cells (Guo et al. 2017). Chance alone makes it larger than 0, see `calibration_error_by_chance`, and
    resampling increases it further. The basic bootstrap interval corrects for that and may begin far below the value.
    It begins at 0 if 1 in 40 samples of calibrated probabilities has as large an error. In simulations it covers the
    truth in about 90 of 100 cases, in 75 to 90 if 3 to 20 groups differ: it then ends too low.
    """
    confidence, right = _confidence(probabilities, labels)
    bins = _bins(confidence)
    of_weights = partial(_error, bins, confidence - right)
    found = bootstrap(of_weights, len(right), units, n_samples, seed, (-np.inf, np.inf))
    value = found.value
    low, high = np.clip(2 * value - found.high, 0, value), np.clip(2 * value - found.low, value, 1)
    is_chance = value <= np.quantile(_errors_by_chance(confidence), 0.975)
    return Estimate(value, 0.0 if is_chance else float(low), float(high))


def calibration_error_by_chance(probabilities) -> float:
    """Return the mean calibration error of N cells if their probabilities (N, K) were perfectly calibrated."""
    return float(np.mean(_errors_by_chance(np.asarray(probabilities, dtype=np.float64).max(axis=1))))


def share(is_so, units=None) -> Estimate:
    """Return the fraction of True in `is_so` (N,), with Wilson's interval, or that over units if it is wider."""
    values = np.asarray(is_so, dtype=float)
    if not values.size:
        return Estimate(np.nan, np.nan, np.nan)
    found = Estimate(values.mean(), np.nan, np.nan)
    if units is not None:
        found = bootstrap(lambda weights: np.average(values, weights=weights), len(values), units)
    return metrics.no_narrower(found, len(values))


def coverage_table(sets, labels, classes, units=None) -> pd.DataFrame:
    """Return the fraction of cells whose set (N, K) bool contains their class, overall and by class.

    Rows "all" and the classes that occur: n, coverage, low, high (95 % interval), mean_size, single (fraction of sets
    with one class), empty (fraction of empty sets).
    """
    sets, labels = np.asarray(sets, dtype=bool), np.asarray(labels)
    covered, size = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    rows = {}
    for name, of in (("all", np.ones(len(labels), bool)), *((c, labels == k) for k, c in enumerate(classes))):
        if not of.any():
            continue
        found = share(covered[of], None if units is None else np.asarray(units)[of])
        rows[name] = {"n": of.sum(), "coverage": found.value, "low": found.low, "high": found.high}
        rows[name] |= {"mean_size": size[of].mean(), "single": (size[of] == 1).mean(), "empty": (size[of] == 0).mean()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("phase")


def risk_coverage(confidence, right) -> pd.DataFrame:
    """Return the fraction of wrong calls among the surest cells, for every number of cells kept.

    N rows: coverage (fraction of cells kept) and risk (fraction of these with a wrong call).

    Examples
    --------
    >>> risk_coverage([0.9, 0.8, 0.5], [True, True, False]).round(2).to_numpy().tolist()
    [[0.33, 0.0], [0.67, 0.0], [1.0, 0.33]]
    """
    surest = -np.asarray(confidence, dtype=float)
    # Equally sure cells have no order, so each counts with their mean risk.
    wrong = pd.Series(~np.asarray(right, dtype=bool)).groupby(surest).transform("mean").to_numpy()
    kept = np.arange(1, len(wrong) + 1)
    return pd.DataFrame({"coverage": kept / len(wrong), "risk": np.cumsum(wrong[np.argsort(surest)]) / kept})


def errors_caught(confidence, right, share: float = 0.2, units=None, n_samples=500, seed=0) -> Estimate:
    """Return the fraction of all wrong calls that are among the least sure cells, the `share` that an expert reviews.

    If only some of equally sure cells are reviewed, each is with the same probability.
    """
    sure, wrong = pd.Series(np.asarray(confidence, dtype=float)), ~np.asarray(right, dtype=bool)
    n_less_sure, n_alike = sure.rank(method="min") - 1, sure.groupby(sure).transform("size")
    sent = ((round(share * len(sure)) - n_less_sure) / n_alike).clip(0, 1).to_numpy()

    def of_weights(weights):
        with np.errstate(invalid="ignore"):
            return weights @ (sent * wrong) / (weights @ wrong)

    found = bootstrap(of_weights, len(sure), units, n_samples, seed)
    # If all wrong calls are caught, or none, a bootstrap has no variation.
    return metrics.no_narrower(found, wrong.sum()) if found.value in (0, 1) else found


def _confidence(probabilities, labels) -> tuple[np.ndarray, np.ndarray]:
    probabilities = np.asarray(probabilities, dtype=np.float64)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == np.asarray(labels)


def _errors_by_chance(confidence: np.ndarray) -> list[float]:
    bins, rng = _bins(confidence), np.random.default_rng(0)
    drawn = (rng.random(len(confidence)) < confidence for _ in range(_BY_CHANCE))
    return [_error(bins, confidence - right, np.ones(len(right))) for right in drawn]


def _bins(confidence) -> np.ndarray:
    """Return the bin (N,) of each cell: equal confidences share a bin, bins have about equally many cells."""
    edges = np.quantile(confidence, np.linspace(0, 1, _BINS + 1)[1:-1])
    return np.searchsorted(edges, confidence, side="right")


def _error(bins, gap, weights) -> float:
    return float(np.abs(np.bincount(bins, weights * gap)).sum() / weights.sum())

"""Scores of a classifier, as pure functions of true labels and predicted classes or probabilities.

All are computed from confusion matrices, so that thousands of bootstrap samples cost one matrix product. `labels` are
(N,) int in [0, K), a `matrix` (..., K, K) holds counts, the truth in rows. `call` makes the calls for a score.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtri, stdtrit

from cellcycle.arrays import as_probabilities
from cellcycle.errors import SettingError, check_choice, check_whole


def confusion_matrix(labels, predicted, n_classes: int) -> np.ndarray:
    """Return the number of images by true class (rows) and predicted class (columns), (K, K) int64.

    Examples
    --------
    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2)
    array([[1, 1],
           [0, 1]])
    """
    return np.bincount(_cells(labels, predicted, n_classes), minlength=n_classes**2).reshape(n_classes, n_classes)


def accuracy(matrix) -> np.ndarray:
    """Return the fraction of images with a right call (...,), from confusion matrices (..., K, K)."""
    matrix = np.asarray(matrix)
    return np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1))


def recall(matrix) -> np.ndarray:
    """Return the fraction of each class that was called right, (..., K); NaN for a class without images."""
    matrix = np.asarray(matrix, dtype=float)
    with np.errstate(invalid="ignore"):
        return np.diagonal(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=-1)


def precision(matrix) -> np.ndarray:
    """Return the fraction of right calls among the calls of each class, (..., K); 0 for a class never called."""
    matrix = np.asarray(matrix, dtype=float)
    called = matrix.sum(axis=-2)
    return np.diagonal(matrix, axis1=-2, axis2=-1) / np.where(called == 0, 1, called)


def macro_f1(matrix) -> np.ndarray:
    """Return the mean of the classes' F1 scores; a class that neither occurs nor is called does not count."""
    matrix = np.asarray(matrix, dtype=float)
    both = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        return np.nanmean(2 * np.diagonal(matrix, axis1=-2, axis2=-1) / both, axis=-1)


def balanced_accuracy(matrix) -> np.ndarray:
    """Return the mean of the classes' recalls, each class counting the same."""
    return np.nanmean(recall(matrix), axis=-1)


SCORES = {"accuracy": accuracy, "macro_f1": macro_f1, "balanced_accuracy": balanced_accuracy}
# Exponents of the prior in `call`. One for all classes, because a threshold per class would be fitted to few images.
_POWERS = np.linspace(0, 1, 11)
# Quantiles at the ends of every interval, which covers 95 %.
_ENDS = [(1 - 0.95) / 2, (1 + 0.95) / 2]
# Limits of intervals.
SHARE, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)


def call(probabilities, score: str, trained_shares, test_shares, labels=None, parts=None) -> np.ndarray:
    """Return the calls (N,) that are best for a score, one of `SCORES`, by the same rule for every model.

    For accuracy the call is the most probable class with the shares of the tested population as prior, for balanced
    accuracy with equal shares. For others, such as macro F1, the shares are raised to a power in [0, 1], which is
    chosen on the other parts of the images, so that no image affects its own call. Of the powers whose score is within
    one standard error over parts of the highest, the middle one is taken, because the highest alone may be by chance.

    `trained_shares` (K,) are the shares of the classes under which the probabilities (N, K) were made (equal after
    balancing), `test_shares` (K,) those in the population to be called: a stated prior. Other scores than these two
    need the true classes `labels` (N,) and the test fold `parts` (N,) of each image, of which there are at least two.

    Elkan, The foundations of cost-sensitive learning, IJCAI 2001: probabilities under other shares. Lipton, Elkan and
    Naryanaswamy, Optimal thresholding of classifiers to maximize F1 measure, ECML 2014: F1 wants a class called more
    readily than accuracy does.

    Examples
    --------
    >>> call([[0.6, 0.4]], "balanced_accuracy", [0.8, 0.2], [0.8, 0.2])
    array([1])
    """
    check_choice("score", score, SCORES)
    probabilities = as_probabilities(probabilities)
    if not np.isfinite(probabilities).all():
        raise SettingError("probabilities", "some are not finite", "leave images without a call out")
    trained_shares, test_shares = (np.asarray(shares, dtype=float) for shares in (trained_shares, test_shares))
    for name, shares in {"trained_shares": trained_shares, "test_shares": test_shares}.items():
        if shares.shape != probabilities.shape[1:] or not (shares >= 0).all():
            raise SettingError(name, f"{shares.tolist()} are no shares", "give a number of 0 or more for each class")
    # A class without training images is never called.
    evidence = np.divide(probabilities, trained_shares, out=np.zeros_like(probabilities), where=trained_shares > 0)
    if score in ("accuracy", "balanced_accuracy"):
        return (evidence * (test_shares if score == "accuracy" else 1)).argmax(axis=1)
    labels, parts = np.asarray(labels), np.asarray(parts)
    if not len(evidence) == labels.size == parts.size:
        raise SettingError(score, f"{labels.size} labels, {parts.size} parts", f"give {len(evidence)} of each")
    by_power = np.stack([(evidence * np.power(test_shares, power)).argmax(axis=1) for power in _POWERS])
    part_of = np.unique(parts, return_inverse=True)[1]
    n_classes, called = evidence.shape[1], np.empty(len(evidence), dtype=np.int64)
    by_part = np.array([
        [confusion_matrix(labels[part_of == part], c[part_of == part], n_classes) for c in by_power]
        for part in range(part_of.max() + 1)
    ])  # fmt: skip
    for part in range(len(by_part)):
        others = np.delete(by_part, part, axis=0)
        called[part_of == part] = by_power[_middle_power(others, SCORES[score]), part_of == part]
    return called


def _middle_power(matrices: np.ndarray, score: Callable) -> int:
    """Return the index of the power to use for a score, from confusion matrices of parts (P, powers, K, K)."""
    whole, single = score(matrices.sum(axis=0)), score(matrices)
    best = int(whole.argmax())
    if len(matrices) == 1:
        return best
    error = (single[:, best, np.newaxis] - single).std(axis=0, ddof=1) / np.sqrt(len(matrices))
    return round(np.flatnonzero(whole[best] - whole <= error).mean())


@dataclass(frozen=True)
class Estimate:
    """A score with its 95 % bootstrap interval, see `with_interval`; NaN for what is unknown."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self}"

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        value, low, high = ("-" if of != of else f"{of:{spec}}" for of in (self.value, self.low, self.high))
        if spec[0] == "+" and spec[-1] == "f" and (self.low > 0 == float(low) or self.high < 0 == float(high)):
            # If an interval excludes 0 but a bound would round to 0, all numbers get more digits.
            return format(self, f"+.{int(spec[2:-1]) + 1}f")
        ends = "-" if "-" in (low, high) else f"{low}, {high}"
        return f"{value} [{ends}]"

    def columns(self, name: str) -> dict[str, float]:
        """Return the columns of a table row: `<name>`, `<name>_low` and `<name>_high`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def bootstrap(statistic: Callable, n_rows: int, units=None, n_samples=500, seed=0, limits=SHARE) -> Estimate:
    """Return the value of a statistic of weighted rows with its bootstrap interval, clipped to `limits`.

    The statistic takes weights (n_rows,) float64, the number of times that each row was drawn. `units` (n_rows,) are
    drawn with replacement, all rows of one together: the group if it is known, the sample id if repeated
    cross-validation predicts each image several times; None draws single rows.
    """
    unit_of, drawn = draws(n_rows, units, n_samples, seed)
    samples = np.array([statistic(row[unit_of].astype(float)) for row in drawn])
    return with_interval(statistic(np.ones(n_rows)), samples, drawn.shape[1], limits)


def bootstrap_matrices(labels, predicted, n_classes: int, units=None, n_samples=1000, seed=0) -> np.ndarray:
    """Return confusion matrices (n_samples, K, K) int64 of bootstrap samples; `units` as in `bootstrap`.

    Units are drawn over all classes, so that class counts vary: with 21 images of M that is part of the uncertainty.
    """
    unit_of, drawn = draws(len(labels), units, n_samples, seed)
    n_cells = n_classes**2
    at = unit_of * n_cells + _cells(labels, predicted, n_classes)
    per_unit = np.bincount(at, minlength=drawn.shape[1] * n_cells).reshape(-1, n_cells)
    # Whole numbers up to there are exact in single precision, which is multiplied in a third of the time.
    number = np.float32 if int(drawn.max()) * len(labels) < 2**24 else np.float64
    return (drawn.astype(number) @ per_unit.astype(number)).astype(np.int64).reshape(-1, n_classes, n_classes)


def drawn_by(groups, labels) -> np.ndarray | None:
    """Return groups (N,) as `units` of `bootstrap`; None if each has one row, or a class is in two or fewer."""
    groups, labels = None if groups is None else np.asarray(groups), np.asarray(labels)
    if groups is None or len(np.unique(groups)) == len(groups):
        return None
    return groups if min(len(np.unique(groups[labels == k])) for k in np.unique(labels)) > 2 else None


def estimate(
    score: Callable, labels, predicted, n_classes: int, units=None, minus=None, n_samples=1000, seed=0, trainings=None
) -> Estimate:
    """Return a score of calls with its interval, or its difference to the score of the calls `minus`.

    `score` maps confusion matrices (..., K, K) to one number each; `units` are those of `bootstrap`. A difference is
    paired (both use the same samples), so that the difficulty of images cancels. `trainings` (N,) name the training
    (repeat and fold) that called each row: the interval then covers the variance of trainings as well as of units.
    """

    def less_other(statistic):
        return statistic(predicted) - (statistic(minus) if minus is not None else 0.0)

    def samples(drawn, seed):
        return less_other(lambda c: score(bootstrap_matrices(labels, c, n_classes, drawn, n_samples, seed)))

    value = less_other(lambda called: score(confusion_matrix(labels, called, n_classes)))
    by_unit, limits = samples(units, seed), SHARE if minus is None else DIFFERENCE
    _, unit_of = np.unique(np.arange(len(labels)) if units is None else np.asarray(units), return_inverse=True)
    _, training_of = np.unique(np.zeros(len(labels)) if trainings is None else trainings, return_inverse=True)
    if not unit_of.any() or not training_of.any():
        return with_interval(value, by_unit, unit_of.max() + 1, limits)
    cells = unit_of * (training_of.max() + 1) + training_of
    numbers = [len(np.unique(of)) for of in (unit_of, training_of, cells)]
    return _two_ways(value, [by_unit, samples(training_of, seed + 1), samples(cells, seed + 2)], numbers, limits)


def _two_ways(value, samples, numbers, limits) -> Estimate:
    """Return the interval of a score from samples of units, of trainings, and of their combinations (cells).

    The variance that units and trainings share is in both of their variances, so it is subtracted once (Cameron,
    Gelbach and Miller, Robust inference with multiway clustering, J. Business & Economic Statistics 2011). The rest is
    as in `with_interval`.
    """
    by_unit, by_training, by_cell = (np.nanvar(s) * n / (n - 1) for s, n in zip(samples, numbers, strict=True))
    deviations = (samples[0] - value) + (samples[1] - value)
    spread = np.nanvar(deviations)
    if not spread > 0:
        return with_interval(value, samples[0], limits=limits)
    variance = max(by_unit, by_training, by_unit + by_training - by_cell)
    freedom = (by_unit + by_training) ** 2 / (by_unit**2 / (numbers[0] - 1) + by_training**2 / (numbers[1] - 1))
    wider = np.sqrt(variance / spread) * stdtrit(freedom, _ENDS[1]) / ndtri(_ENDS[1])
    return with_interval(value, value + wider * deviations, limits=limits)


def _cells(labels, predicted, n_classes: int) -> np.ndarray:
    """Return the index (N,) of each image in the flattened confusion matrix; refuse codes outside of 0 to K - 1."""
    codes = {"labels": np.asarray(labels), "predicted": np.asarray(predicted)}
    if np.ndim(labels) != 1 or np.shape(labels) != np.shape(predicted):
        finding = f"{np.shape(predicted)} calls for {np.shape(labels)} labels"
        raise SettingError("predicted", finding, "give one call an image")
    for name, given in codes.items():
        if given.dtype.kind == "i" and given.min(initial=0) >= 0 and given.max(initial=0) < n_classes:
            continue
        outside = np.setdiff1d(given, np.arange(n_classes))
        if outside.size:
            raise SettingError(name, f"{outside[0]} is the code of no class", f"give 0 to {n_classes - 1}")
    labels, predicted = (given.astype(np.int64) for given in codes.values())
    return labels * n_classes + predicted


def draws(n_rows: int, units, n_samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the unit of each row (n_rows,), and how often each unit is drawn (n_samples, U)."""
    seed, n_samples = check_whole("seed", seed), check_whole("n_samples", n_samples, 1)
    units = np.arange(n_rows) if units is None else np.asarray(units)
    if units.shape != (n_rows,) or not n_rows:
        # A single value for all rows would draw the same sample each time, with an interval of width 0.
        raise SettingError("units", f"their shape is {units.shape}, of {n_rows} rows", "give one a row")
    _, unit_of = np.unique(units, return_inverse=True)
    return unit_of, _times(int(unit_of.max()) + 1, n_samples, seed)


# Cached, because all scores of a table use the same units, and its recalls those of a class; drawing these (and the
# trainings, and both) is most of the work.
@lru_cache(maxsize=12)
def _times(n_units: int, n_samples: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).multinomial(n_units, np.full(n_units, 1 / n_units), size=n_samples)
    drawn = drawn.astype(np.min_scalar_type(drawn.max()))
    drawn.flags.writeable = False
    return drawn


def with_interval(value, samples, n_units=np.inf, limits=(-np.inf, np.inf)) -> Estimate:
    """Return a number with the 95 % interval of its bootstrap samples, in which NaN are ignored.

    Samples of n units deviate too little, by the factor sqrt((n - 1) / n), and with few units the deviation itself is
    uncertain. Both are corrected, the latter by Student's t, and the ends clipped to `limits`. One unit gives NaN.
    """
    if np.isnan(samples).all() or n_units < 2:
        return Estimate(float(value), float("nan"), float("nan"))
    wider = stdtrit(n_units - 1, _ENDS[1]) / ndtri(_ENDS[1]) / np.sqrt(1 - 1 / n_units)
    ends = np.clip(value + wider * (np.nanquantile(samples, _ENDS) - value), *limits)
    return Estimate(float(value), *ends.tolist())


def wilson(share: np.ndarray, n) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of Wilson's 95 % interval of shares (K,), each of n nuclei; n is a number or (K,).

    Examples
    --------
    >>> [end.round(3).item() for end in wilson(np.array(0.0), 10)]
    [0.0, 0.278]
    """
    z2, share, n = ndtri(0.975) ** 2, np.asarray(share, dtype=float), np.maximum(np.asarray(n, dtype=float), 1)
    middle = share + z2 / (2 * n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2)))
    # Clipped, because rounding must not move an end beyond a share of 0 or 1.
    return np.clip((middle - half) / (1 + z2 / n), 0, share), np.clip((middle + half) / (1 + z2 / n), share, 1)


def no_narrower(found: Estimate, n_of, shares=None) -> Estimate:
    """Return an estimate, the mean of `shares` (C,) of n_of (C,) images, with an interval at least as wide as Wilson's.

    With few equal images or groups the bootstrap interval is too narrow. Without `shares` the value is the only share.
    """
    shares = np.atleast_1d(found.value if shares is None else shares)
    ends = np.array(wilson(shares, np.atleast_1d(n_of))) - shares
    low, high = shares.mean() + np.array([-1, 1]) * np.sqrt((ends**2).sum(axis=1)) / len(shares)
    return Estimate(found.value, float(np.fmin(found.low, low)), float(np.fmax(found.high, high)))


def means_of_shares(matrix: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each of `SCORES` the shares (C,) of which it is the mean, and the number of images (C,) of each share.

    F1 is the share of right calls in the mean of the numbers of images and of calls of a class.
    """
    truth, calls, right = matrix.sum(axis=1), matrix.sum(axis=0), np.diagonal(matrix)
    number = {"accuracy": matrix.sum()[np.newaxis], "macro_f1": (truth + calls) / 2, "balanced_accuracy": truth}
    rights = {"accuracy": right.sum()[np.newaxis]}
    return {name: (rights.get(name, right)[n > 0] / n[n > 0], n[n > 0]) for name, n in number.items()}

"""Temperature scaling: probabilities that equal the frequency of right calls.

Of all calls with a calibrated probability of 80 %, four in five are right. One number, the temperature, divides all
logits: above 1 it makes every call less sure, below 1 surer; it never changes the most probable class.

Source: Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML (2017).
"""

import numpy as np

from cellcycle.arrays import as_probabilities
from cellcycle.errors import DataError, check_size

_LEAST_PROBABILITY = 1e-6
_LOG_RANGE = (-3.0, 3.0)


def softmax(logits) -> np.ndarray:
    """Return probabilities of logits (N, K).

    Examples
    --------
    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    logits = np.asarray(logits, dtype=np.float64)
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def logits_of(probabilities) -> np.ndarray:
    """Return logits (N, K) whose softmax is `probabilities (N, K)`; probabilities below 1e-6 are raised to it.

    Examples
    --------
    >>> softmax(logits_of([[0.2, 0.8]])).round(3).tolist()
    [[0.2, 0.8]]
    """
    return np.log(np.maximum(as_probabilities(probabilities), _LEAST_PROBABILITY))


def with_temperature(probabilities, temperature: float) -> np.ndarray:
    """Return calibrated probabilities (N, K): rows add up to 1 and keep the rank of their classes; NaN stays NaN.

    Examples
    --------
    >>> with_temperature([[0.9, 0.1]], 2.0).round(2).tolist()
    [[0.75, 0.25]]
    """
    check_size("temperature", temperature)
    return softmax(logits_of(probabilities) / temperature)


def with_weights(probabilities, weights=None) -> np.ndarray:
    """Return probabilities (N, K), made for equally frequent classes, reweighted for prior shares `weights` (K,).

    Examples
    --------
    >>> with_weights(np.array([[0.5, 0.5]]), [0.9, 0.1]).round(2).tolist()
    [[0.9, 0.1]]
    """
    probabilities = as_probabilities(probabilities)
    if weights is None:
        return probabilities
    weighed = probabilities * np.asarray(weights)
    return weighed / weighed.sum(axis=1, keepdims=True)


def held_out(probabilities, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (N, K) float64 and labels (N,) int64; refuse no cells, other shapes, NaN, unknown labels."""
    probabilities, labels = as_probabilities(probabilities), np.asarray(labels)
    remedy = "give held-out predictions with their true classes"
    if not labels.size:
        raise DataError("calibration", "there are no cells", remedy)
    if labels.shape != probabilities.shape[:1]:
        raise DataError("calibration", f"probabilities {probabilities.shape} for labels {labels.shape}", remedy)
    if not np.isfinite(probabilities).all():
        raise DataError("calibration", "some probabilities are not finite", "leave cells without a call out")
    outside = np.setdiff1d(labels, np.arange(probabilities.shape[1]))
    if outside.size:
        raise DataError("calibration", f"the label {outside[0]} is the code of no class", remedy)
    return probabilities, labels.astype(np.int64)


def fit_temperature(probabilities, labels) -> float:
    """Return the temperature, from exp(-3) to exp(3), that maximises the likelihood of the labels (N,).

    `probabilities` (N, K) are those of cells on which the network was not trained.

    Examples
    --------
    >>> round(fit_temperature([[0.99, 0.01]] * 10, [0] * 8 + [1] * 2), 1)
    3.3
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    probabilities, labels = held_out(probabilities, labels)
    logits, rows = logits_of(probabilities), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded", options={"xatol": 1e-4}).x))

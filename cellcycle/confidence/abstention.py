"""Call a class or ask an expert: the decision with the lowest expected cost.

Calibrated probabilities give the expected cost of every call; if even the cheapest call is expected to cost more than
asking an expert, the cell goes to the expert.

Source: Chow CK. On optimum recognition error and reject tradeoff. IEEE Trans. Information Theory 16:41 (1970).
"""

from dataclasses import dataclass

import numpy as np

from cellcycle.arrays import as_probabilities
from cellcycle.errors import SettingError


@dataclass(frozen=True)
class Decision:
    """The decision for each cell (N,): the class of lowest expected cost, that cost, and whether asking costs less."""

    call: np.ndarray
    expected_cost: np.ndarray
    ask: np.ndarray


def equal_costs(n_classes: int) -> np.ndarray:
    """Return the cost matrix in which every wrong call costs 1."""
    return 1.0 - np.eye(n_classes)


def cheapest(probabilities: np.ndarray, costs=None, price: float = 0.5) -> Decision:
    """Return for each cell the call of lowest expected cost by calibrated probabilities (N, K), and whether to ask.

    `costs` (K, K) has the truth in rows and the call in columns; every wrong call costs 1 by default. `price` is the
    cost of asking the expert, in the same unit: with the default costs the expert is asked if the probability of the
    call is below 1 - price.

    Examples
    --------
    >>> cheapest([[0.9, 0.1], [0.6, 0.4]], price=0.2).ask.tolist()
    [False, True]
    >>> cheapest([[0.9, 0.1]], costs=[[0, 1], [20, 0]], price=5).call.tolist()
    [1]
    """
    probabilities = as_probabilities(probabilities)
    n_classes = probabilities.shape[1]
    costs = equal_costs(n_classes) if costs is None else np.asarray(costs, dtype=np.float64)
    if costs.shape != (n_classes, n_classes) or not (costs >= 0).all():
        raise SettingError("costs", f"shape {costs.shape} or a negative cost", f"give {n_classes} x {n_classes} costs")
    if not price >= 0:
        raise SettingError("price", f"{price} is no price", "give 0 or more")
    expected = probabilities @ costs
    lowest = expected.min(axis=1)
    return Decision(expected.argmin(axis=1), lowest, lowest > price)

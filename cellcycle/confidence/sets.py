"""Prediction sets with a guaranteed coverage for each class.

Of the cells of each phase 90 %, or another coverage, get a set that contains their phase. An empty set means that the
cell is typical of no phase.

How: the threshold of a class is the probability that 90 % of its held-out cells reach for their class. A new cell's
set contains every class whose probability reaches the threshold of that class. The guarantee holds for any network if
the same one calls held-out and new cells and both come from the same source; because each class has its own
threshold, it does not depend on the shares of the classes among new cells.

Source: Vovk V, Gammerman A, Shafer G. Algorithmic learning in a random world. Springer (2005), label-conditional
(Mondrian) conformal predictors; the score is that of Sadinle M, Lei J, Wasserman L, JASA 114:223 (2019).
"""

import numpy as np

from cellcycle.arrays import as_probabilities
from cellcycle.confidence.calibration import held_out
from cellcycle.errors import SettingError


def class_thresholds(probabilities, labels, coverage: float = 0.9) -> np.ndarray:
    """Return the lowest probability (K,) with which each class joins a set, from held-out cells (N, K).

    `coverage` is the fraction of the cells of each class whose set should contain their class. A class with too few
    held-out cells for a guarantee gets 0, so it joins every set.

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    >>> class_thresholds(probabilities, [0, 0, 0, 1], coverage=0.5).tolist()
    [0.8, 0.7]
    """
    if not 0 < coverage < 1:
        raise SettingError("coverage", f"{coverage} is no share", "give a number between 0 and 1")
    probabilities, labels = held_out(probabilities, labels)
    thresholds = np.zeros(probabilities.shape[1])
    for k in range(probabilities.shape[1]):
        own = np.sort(probabilities[labels == k, k])[::-1]
        # n + 1 because the new cell counts, too. The small number keeps 0.9 of 9 + 1 cells from being rounded up to
        # ten.
        rank = int(np.ceil((len(own) + 1) * coverage - 1e-9))
        if rank <= len(own):
            thresholds[k] = own[rank - 1]
    return thresholds


def prediction_sets(probabilities, thresholds) -> np.ndarray:
    """Return which classes the set of each cell contains, (N, K) bool; rows of NaN give empty sets.

    The thresholds (K,) or (N, K) are those of `class_thresholds`, from probabilities of the same kind.

    Examples
    --------
    >>> prediction_sets([[0.5, 0.5], [0.1, 0.9]], [0.4, 0.6]).tolist()
    [[True, False], [False, True]]
    """
    return as_probabilities(probabilities) >= np.asarray(thresholds, dtype=np.float64)


def written_sets(sets, classes) -> list[str]:
    """Return sets (N, K) bool as text, "" for an empty one.

    Examples
    --------
    >>> written_sets([[True, True], [False, False]], ("G1", "S"))
    ['G1;S', '']
    """
    return [";".join(name for name, is_in in zip(classes, row, strict=True) if is_in) for row in np.asarray(sets)]

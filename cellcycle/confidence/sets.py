"""Prediction sets with a promised coverage, for each class.

Of the cells of each phase 90 %, or what was asked, get a set that holds their phase; an empty one means that the cell
is typical of none.

How: of held-out cells of a class, the share 0.9 had a probability for their class above some threshold. A new cell's
set holds every class whose probability reaches the threshold of that class. The promise holds for whatever network, as
long as the same one calls both and new cells come from where the held-out ones came from; with one threshold a class,
whatever shares the classes have among the new cells.

Source: Vovk V, Gammerman A, Shafer G. Algorithmic learning in a random world. Springer (2005), label-conditional
(Mondrian) conformal predictors; the score is that of Sadinle M, Lei J, Wasserman L, JASA 114:223 (2019).
"""

import numpy as np

from cellcycle.arrays import as_probabilities
from cellcycle.confidence.calibration import held_out
from cellcycle.errors import SettingError


def class_thresholds(probabilities, labels, coverage: float = 0.9) -> np.ndarray:
    """Return the least probability (K,) with which each class joins a set, from held-out cells (N, K).

    `coverage` is the share of the cells of each class whose set shall hold their class. A class with too few held-out
    cells to promise anything gets 0: it then joins every set.

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
        # One cell more than the share asks for: the new cell itself counts among them. The small number keeps
        # 0.9 of 9 + 1 cells from rounding up to ten.
        rank = int(np.ceil((len(own) + 1) * coverage - 1e-9))
        if rank <= len(own):
            thresholds[k] = own[rank - 1]
    return thresholds


def prediction_sets(probabilities, thresholds) -> np.ndarray:
    """Return which classes each cell's set holds, (N, K) bool; rows of NaN give empty sets.

    The thresholds are those of `class_thresholds`, from probabilities of the same kind.

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

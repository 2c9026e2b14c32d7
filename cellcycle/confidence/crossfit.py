"""Judge calibration and sets on cells that neither has seen: fit on all parts but one, apply to that one."""

from dataclasses import dataclass

import numpy as np

from cellcycle.confidence.calibration import fit_temperature, with_temperature
from cellcycle.confidence.sets import class_thresholds, prediction_sets
from cellcycle.errors import DataError


@dataclass(frozen=True)
class CrossFitted:
    """Held-out predictions after cross-fitting.

    Attributes
    ----------
    scores : (N, K) float64
        Calibrated probabilities.
    sets : (N, K) bool
        Prediction sets.
    temperatures : dict of str to float
        The temperature that each part was calibrated with.
    """

    scores: np.ndarray
    sets: np.ndarray
    temperatures: dict[str, float]


def cross_fit(scores, labels, parts, coverage: float = 0.9) -> CrossFitted:
    """Calibrate every part with what the other parts teach.

    Parameters
    ----------
    scores : (N, K) float
        Predictions of cells that the network was not trained on, such as the test folds of a record.
    labels : (N,) int
    parts : (N,)
        What is left out together: the fold, the slide or the microscope. Rows of one cell must share a part.
    coverage : float in (0, 1)
        Asked of the sets.

    Returns
    -------
    CrossFitted

    Raises
    ------
    DataError
        There is only one part.
    """
    scores, labels, parts = np.asarray(scores, dtype=np.float64), np.asarray(labels), np.asarray(parts)
    names = np.unique(parts)
    if len(names) < 2:
        raise DataError("calibration", "all cells are in one part", "give two or more folds or slides")
    calibrated, sets = np.empty_like(scores), np.empty(scores.shape, dtype=bool)
    temperatures = {}
    for name in names:
        out = parts == name
        temperature = temperatures[str(name)] = fit_temperature(scores[~out], labels[~out])
        calibrated[out] = with_temperature(scores[out], temperature)
        taught = with_temperature(scores[~out], temperature)
        sets[out] = prediction_sets(calibrated[out], class_thresholds(taught, labels[~out], coverage))
    return CrossFitted(calibrated, sets, temperatures)

"""A continuous position in the cycle, with its uncertainty, from phase probabilities and DNA content.

The position runs from 0 at the birth of a cell to 1 at its division, as a fraction of the cycle's duration. Phase
probabilities distribute the belief over the phases; within S the DNA content shows the progress of replication. In the
other phases only the age distribution of a growing population is known, in which young cells are more frequent (Powell
1956).
"""

import numpy as np

from cellcycle.arrays import as_probabilities
from cellcycle.errors import SettingError
from cellcycle.phases import PHASES

_STEPS = 400
# Coefficient of variation of measured DNA content between nuclei of the same content: a usual width of the G1 peak.
DNA_CV = 0.15


def cycle_positions(probabilities, dna_copies=None, parameters=None, dna_cv: float = DNA_CV, level: float = 0.9):
    """Return the position of cells in their cycle, a DataFrame with one row per cell.

    `position` (median of the belief), `position_low`, `position_high`; `replicated` (mean fraction of the genome that
    is copied, 0 in G1 and 1 in G2 and M), `replicated_low`, `replicated_high`; intervals have the given `level`.

    `probabilities` (N, 4) are calibrated ones of G1, S, G2 and M; rows of NaN give NaN. `dna_copies` (N,) is the DNA
    content in genome copies, 2 for a G1 nucleus, as in a prediction table; if it is NaN or absent, cells of S may be
    anywhere in S. `parameters` of the simulation give the durations of the phases and the course of replication, by
    default of a human cell line; `dna_cv` is the coefficient of variation of `dna_copies` at the same DNA content.

    Examples
    --------
    >>> found = cycle_positions([[0, 1, 0, 0], [0, 1, 0, 0]], [2.2, 3.8])
    >>> bool(found["replicated"][0] < 0.3 < 0.6 < found["replicated"][1])
    True
    """
    import pandas as pd

    from cellcycle.simulation.biology import dna_content, phase_bounds
    from cellcycle.simulation.parameters import SimulationParameters

    probabilities = as_probabilities(probabilities)
    if probabilities.shape[1] != len(PHASES):
        remedy = f"give probabilities of {', '.join(PHASES)}"
        raise SettingError("probabilities", f"shape {probabilities.shape}", remedy)
    if not dna_cv > 0 or not 0 < level < 1:
        raise SettingError("dna_cv, level", f"{dna_cv}, {level}", "give a spread above 0 and a level between 0 and 1")
    parameters = parameters or SimulationParameters()
    ages = (np.arange(_STEPS) + 0.5) / _STEPS
    phase_of = np.searchsorted(phase_bounds(parameters), ages, side="right") - 1
    copies = dna_content(ages, parameters)
    belief = np.repeat(2.0 ** -ages[None], len(probabilities), axis=0)
    if dna_copies is not None:
        belief *= _likelihood(np.asarray(dna_copies, dtype=np.float64), copies, dna_cv)
    for k in range(len(PHASES)):
        part = belief[:, phase_of == k]
        belief[:, phase_of == k] = probabilities[:, [k]] * part / part.sum(axis=1, keepdims=True)
    shares = (copies - 2) / 2
    tails = (1 - level) / 2, (1 + level) / 2
    position, low, high = _quantiles(belief, ages, (0.5, *tails))
    replicated_low, replicated_high = _quantiles(belief, shares, tails)
    made = {"position": position, "position_low": low, "position_high": high, "replicated": belief @ shares}
    return pd.DataFrame(made | {"replicated_low": replicated_low, "replicated_high": replicated_high})


def _likelihood(dna_copies, copies, dna_cv) -> np.ndarray:
    """Return the relative likelihood of each age (columns) by the DNA content of each cell (rows), 1 if unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = (np.log(dna_copies)[:, None] - np.log(copies)[None]) ** 2 / (2 * np.log1p(dna_cv**2))
        # Only ratios within a phase matter; relative to the nearest age, cells far off do not get zeros everywhere.
        distance -= distance.min(axis=1, keepdims=True)
    return np.where(np.isfinite(distance), np.exp(-np.minimum(distance, 500)), 1.0)


def _quantiles(belief, values, shares) -> list[np.ndarray]:
    """Return quantiles of ascending `values` under each row's belief; NaN rows stay NaN."""
    cumulative = np.cumsum(belief, axis=1)
    cumulative /= cumulative[:, -1:]
    known = np.isfinite(cumulative).all(axis=1)
    index = [np.minimum((cumulative < share).sum(axis=1), len(values) - 1) for share in shares]
    return [np.where(known, values[i], np.nan) for i in index]

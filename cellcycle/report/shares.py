"""Shares of phases among nuclei, from calls, probabilities or DNA content, with bootstrap samples."""

from functools import partial

import numpy as np
import pandas as pd

from cellcycle.dna_content import phase_likelihoods
from cellcycle.phases import PHASES
from cellcycle.report.intervals import ALIKE, Parts, Samples
from cellcycle.review.doubt import classes_of

FITTED = "fitted"
# Below this quality of the G1 peak the fitted share of S was no better than the counted one on simulated slides
# (benchmarks/g1_quality.py).
LEAST_QUALITY = 0.3
# Classes that a histogram of DNA can separate, and columns of likelihoods, also of outliers and parts of nuclei.
BY_DNA = ("G1", "S", "G2 and M")
LIKELY = ("f_G1", "f_S", "f_G2", "f_outside", "f_part")
# Number of refits of the peaks to bootstrap samples of the nuclei: the share of S depends mostly on their positions.
_N_REFITS = 12
_COLUMNS = [*LIKELY, *(f"{name}/{k}" for k in range(1, 1 + _N_REFITS) for name in LIKELY)]
# Nuclei are grouped into types: probabilities are rounded to 1 / _STEPS, log2 of genome copies to 1 / _COPY_STEPS.
_STEPS, _COPY_STEPS = 10, 40
# Interior point method: number of steps, factor by which the barrier shrinks per step, and its smallest value.
_ROUNDS, _NEARER, _NEAREST = 20, 0.1, 1e-10
# Change of a well's weights for the numerical derivative of the shares.
_NUDGE = 1e-3


def with_likelihoods(table) -> pd.DataFrame:
    """Return the table with the columns `LIKELY`: likelihoods of each nucleus's DNA in G1, S, G2 (with M), and others.

    One histogram is fitted per group of images that are read together (slide, plate), to the counted nuclei: its peaks
    have one coefficient of variation, and the position of G2 is fitted too. 0 if a group has too few nuclei, NaN for
    nuclei not counted or without copies; unchanged if no class or no copies fit. `f_<name>/<k>` are those of refits.
    """
    if "dna_copies" not in table or tuple(classes_of(table)) != PHASES:
        return table
    found, copies = np.full((len(table), len(_COLUMNS)), np.nan), table["dna_copies"].to_numpy(dtype=float)
    is_known = (table["is_counted"] & table["dna_copies"].notna()).to_numpy()
    for rows in table.groupby("group").indices.values():
        rows = rows[is_known[rows]]
        found[rows] = np.hstack(phase_likelihoods(copies[rows], 2.0, n_samples=_N_REFITS))
    return table.drop(columns=_COLUMNS, errors="ignore").join(pd.DataFrame(found, table.index, _COLUMNS))


def estimated_shares(probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the maximum likelihood shares (B, K) of classes from probabilities (T, K) that assume equal shares.

    `weights` (B, T) are the counts of each row of probabilities. Counting calls overestimates rare classes and
    underestimates frequent ones, because mistakes go both ways; this corrects the mistakes that the probabilities
    predict (Saerens, Latinne and Decaestecker 2002, Neural Computation 14:21). Their EM algorithm hardly converges for
    uncertain probabilities, so this is an interior point method, for the same problem as Kim et al. 2020 (Journal of
    Computational and Graphical Statistics 29:261), without the constraint on the sum, which is 1 at the optimum.

    Examples
    --------
    >>> sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    >>> estimated_shares(sure, np.array([[90.0, 10.0], [50.0, 50.0]])).round(2).tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    n = probabilities.shape[1]
    likely = probabilities / np.maximum(probabilities.max(axis=1, keepdims=True), 1e-300)
    parts = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    pairs = (likely[:, :, np.newaxis] * likely[:, np.newaxis]).reshape(-1, n * n)
    shares, slopes = np.full((len(weights), n), 1 / n), np.ones((len(weights), n))

    def moved(values, step):
        return values + step / np.maximum((-step / values).max(axis=1, keepdims=True) / 0.9, 1)

    for _ in range(_ROUNDS):
        mixed = np.maximum(shares @ likely.T, 1e-12)
        edge = np.maximum(_NEARER * (shares * slopes).mean(axis=1, keepdims=True), _NEAREST)
        bent = (parts / mixed**2 @ pairs).reshape(-1, n, n) + (slopes / shares)[:, :, np.newaxis] * np.eye(n)
        off = (parts / mixed) @ likely - 1 + edge / shares
        step = np.linalg.solve(bent, off[:, :, np.newaxis])[:, :, 0]
        shares, slopes = moved(shares, step), moved(slopes, edge / shares - slopes * (1 + step / shares))
    return (shares / shares.sum(axis=1, keepdims=True)).round(9)


def samples_of(
    rows: pd.DataFrame, classes, seed: int, n_samples: int, ways=("counted", "estimated", FITTED)
) -> Samples:
    """Return the shares of counted nuclei (`rows`), in each of `ways`, with bootstrap samples and clusters."""
    value, n_nuclei, drawn, parts, moved = {}, {}, {}, {}, {}
    place = np.unique(rows["place"].to_numpy(), return_inverse=True)
    units = {level: np.unique(rows[level].to_numpy(str), return_inverse=True)[1] for level in ALIKE if n_samples}
    found = _by_calls(rows, classes) | (_by_dna(rows) if FITTED in ways and LIKELY[0] in rows else {})
    for how, (type_of, (shares, *refits), is_known) in ((how, found[how]) for how in ways if how in found):
        n_of = np.bincount(type_of).astype(float)
        own, *again = (fit(n_of[np.newaxis])[0] for fit in (shares, *refits))
        value[how], n_nuclei[how] = own, int(is_known.sum())
        if n_samples and len(rows) > 1:
            times = np.random.default_rng(seed).multinomial(len(rows), n_of / n_of.sum(), n_samples)
            drawn[how] = np.sqrt(len(rows) / (len(rows) - 1)) * (shares(times.astype(float)) - own)
        for level, unit_of in units.items():
            by_unit = np.zeros((unit_of.max() + 1, len(n_of)))
            np.add.at(by_unit, (unit_of, type_of), 1)
            n_known, lies_on = np.bincount(unit_of, is_known), _one_place(unit_of, *place)
            is_any = n_known > 0
            off = (shares(n_of + _NUDGE * by_unit) - own)[is_any] / _NUDGE
            on = None if lies_on is None else lies_on[is_any]
            parts[how, level] = Parts(n_known[is_any] / n_known.sum(), off, on)
        if again and n_samples:
            # The order is the same for all arms, because they share the refits of their peaks.
            moved[how] = np.resize([one - own for one in again], (n_samples, len(own)))
    return Samples(value, n_nuclei, drawn, parts, moved, frozenset(rows["place"]) if n_samples else frozenset())


def _one_place(unit_of: np.ndarray, names: np.ndarray, code: np.ndarray) -> np.ndarray | None:
    """Return the plate of each unit, from plate names and each nucleus's code (N,); None if a unit is on several."""
    first = np.zeros(unit_of.max() + 1, dtype=int)
    first[unit_of] = code
    return names[first] if (first[unit_of] == code).all() else None


def _types(values: np.ndarray, alike: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the type of each row (N,), equal for equal rows of `alike` (N, A), and the mean values (T, K) per type.

    Estimates by type are much faster than by nucleus.
    """
    _, type_of, n_of = np.unique(alike, axis=0, return_inverse=True, return_counts=True)
    type_of = type_of.ravel()
    return type_of, np.column_stack([np.bincount(type_of, own) for own in values.T]) / n_of[:, None]


def _by_calls(rows: pd.DataFrame, classes) -> dict[str, tuple]:
    """Return, for "counted" and "estimated": the type of each nucleus (N,), by call and rounded probabilities; a list
    of functions from weights (B, T) to shares (B, K); and a mask (N,) of the nuclei that count.
    """
    scores = rows[[f"l_{name}" for name in classes]].to_numpy(dtype=float)
    called = pd.Index(classes).get_indexer(rows["call"])[:, np.newaxis]
    # No call has the code -1, which equals no class.
    values = np.hstack([scores, called == np.arange(len(classes))])
    type_of, typical = _types(values, np.hstack([np.rint(scores * _STEPS), called]))
    typical, is_called = np.hsplit(typical, 2)
    return {
        "counted": (type_of, [lambda weights: _over_sum(weights @ is_called)], called[:, 0] >= 0),
        "estimated": (type_of, [partial(estimated_shares, typical)], np.ones(len(rows), bool)),
    }


def _by_dna(rows: pd.DataFrame) -> dict[str, tuple]:
    """Return the same as `_by_calls` for "fitted": types are nuclei of one group with nearly the same DNA.

    The first function uses the fit to all nuclei of the group, the others use the refits to bootstrap samples.
    """
    likely = rows[_COLUMNS].fillna(0).to_numpy(dtype=float)
    copies = np.log2(rows["dna_copies"].to_numpy(dtype=float), out=np.zeros(len(rows)), where=likely.any(axis=1))
    group = np.unique(rows["group"], return_inverse=True)[1]
    type_of, typical = _types(likely, np.column_stack([np.rint(_COPY_STEPS * copies), group]))
    typical = typical.reshape(len(typical), -1, len(LIKELY)).swapaxes(0, 1)

    def shares(fit, weights):
        known = weights * fit.any(axis=1)
        return _over_sum(estimated_shares(fit, known)[:, :3] * known.any(axis=1, keepdims=True))

    return {FITTED: (type_of, [partial(shares, fit) for fit in typical], likely.any(axis=1))}


def _over_sum(parts: np.ndarray) -> np.ndarray:
    """Return parts (B, K) divided by their sum per row; NaN if it is 0."""
    whole = parts.sum(axis=1, keepdims=True)
    return np.divide(parts, whole, out=np.full_like(parts, np.nan, dtype=float), where=whole > 0)

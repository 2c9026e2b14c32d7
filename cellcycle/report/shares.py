"""Shares of phases of nuclei, from their calls, their probabilities and their DNA, with bootstrap samples."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from cellcycle.dna_content import phase_likelihoods
from cellcycle.metrics import Estimate, draws, wilson, with_interval
from cellcycle.phases import PHASES
from cellcycle.review.doubt import classes_of

FITTED = "fitted"
# Below this quality of the G1 peak a fitted share of S was no nearer to the truth than a counted one, on simulated
# slides (benchmarks/g1_quality.py).
LEAST_QUALITY = 0.3
# What a histogram of DNA tells apart, and the likelihoods of a nucleus, which may also lie outside, or be cut or torn.
BY_DNA = ("G1", "S", "G2 and M")
LIKELY = ("f_G1", "f_S", "f_G2", "f_outside", "f_part")
# So often the peaks are fitted again, to bootstrap samples of the nuclei: where they lie decides most about S.
_N_REFITS = 12
_COLUMNS = [*LIKELY, *(f"{name}/{k}" for k in range(1, 1 + _N_REFITS) for name in LIKELY)]
# Probabilities are rounded to so many steps, genome copies to so many a doubling: nuclei that look alike are one type.
_STEPS, _COPY_STEPS = 10, 40
_EM_ROUNDS = 100
# What bootstrap samples are drawn of, see `Samples`. Of the first few are there, so it is shared how much they differ.
_BETWEEN = ("replicate", "unit")
_LEVELS = (*_BETWEEN, "image", "nucleus")
# Wells of an experiment count with so many more, of which the odds of a phase differ by this much (a deviation of their
# logarithm): where each condition has two wells, they say little of that themselves.
_KNOWN_WELLS, _KNOWN_DEVIATION = 4, 0.25


def with_likelihoods(table) -> pd.DataFrame:
    """Return the table with how likely the DNA of each nucleus is in G1, S and G2 (with M), and outside: `f_<phase>`.

    One histogram a group of images that are read together (slide, plate), of the nuclei that are counted: its peaks
    have one coefficient of variation, and where G2 lies is fitted, too. 0 where nuclei are too few, NaN where there are
    no copies; no columns for classes that are not the four phases. `f_<phase>/<k>` are those of fits made again.
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
    """Return the shares (B, K) of classes under which probabilities (T, K), made under equal shares, are likeliest.

    `weights` (B, T) say how often each row of probabilities is there. Counting calls makes a rare class more frequent
    than it is and a frequent one rarer, for mistakes go both ways; this takes the mistakes out that the probabilities
    admit (Saerens, Latinne and Decaestecker 2002, Neural Computation 14:21).

    Examples
    --------
    >>> sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    >>> estimated_shares(sure, np.array([[90.0, 10.0], [50.0, 50.0]])).round(2).tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    shares = np.full((len(weights), probabilities.shape[1]), 1 / probabilities.shape[1])
    for _ in range(_EM_ROUNDS):
        odds = weights / np.maximum(shares @ probabilities.T, 1e-12)
        shares = shares * (odds @ probabilities)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    return shares


@dataclass(frozen=True)
class Samples:
    """Shares of an arm and bootstrap samples of them, by "counted" and "estimated".

    `value` (K,); `n`, how many nuclei it is of; `n_drawn` by what was drawn, "replicate", "unit", "image" or "nucleus",
    how many there are; `spread` by both: deviations from the value (B, K), none where there is but one to draw. What is
    drawn counts as n / (n - 1) in their variance. `moved` are the deviations that fits made again add to these.
    """

    value: dict[str, np.ndarray]
    n: dict[str, int]
    n_drawn: dict[str, int]
    spread: dict[tuple[str, str], np.ndarray]
    moved: dict[str, np.ndarray]

    def interval(self, how: str, minus: "Samples | None" = None, scatter=None) -> list[Estimate]:
        """Return the share of each class, or what it is more than in another arm, with the widest of its intervals.

        Cells of a field, and fields of a well, are alike: the interval of what differs most is the one that holds. That
        of wells, and replicates, is by their `scatter` (see `scatter_of`); without it they count for nothing, and the
        interval is that of these wells alone. None is narrower than Wilson's (a difference's than Newcombe's) for as
        many nuclei: without one nucleus in S every sample drawn again has none, and yet the share may be a few in a
        hundred (Newcombe 1998, Statistics in Medicine 17:873).
        """
        arms = [self] if minus is None else [self, minus]
        value = self.value[how] - (0 if minus is None else minus.value[how])
        moved = self.moved.get(how, 0) - (0 if minus is None else minus.moved.get(how, 0))
        found = []
        for level in ("image", "nucleus"):
            if any((how, level) in own.spread for own in arms):
                more = self.spread.get((how, level), 0) - (minus.spread.get((how, level), 0) if minus else 0) + moved
                found.append([with_interval(v, v + more[:, k]) for k, v in enumerate(value)])
        for relative, freedom, level in (scatter or {}).get(how, ()):
            variance = sum(relative * own.variance(how) / own.n_drawn[level] for own in arms)
            reach = stdtrit(freedom, 0.975) * np.sqrt(variance + _variance(np.atleast_2d(moved)))
            found.append([Estimate(float(v), float(v - r), float(v + r)) for v, r in zip(value, reach, strict=True)])
        if not found:
            return [Estimate(float(v), np.nan, np.nan) for v in value]
        widest = [max(same, key=lambda one: one.high - one.low) for same in zip(*found, strict=True)]
        least, ends = 0.0 if minus is None else -1.0, zip(*self._by_number(how, minus), strict=True)
        return [
            Estimate(one.value, max(min(one.low, low), least), min(max(one.high, high), 1.0))
            for one, (low, high) in zip(widest, ends, strict=True)
        ]

    def variance(self, how: str) -> np.ndarray:
        """Return the variance (K,) of being of a class, of a nucleus; none is 0 (Agresti and Coull 1998)."""
        shares = (self.value[how] * self.n[how] + 2) / (self.n[how] + 4)
        return shares * (1 - shares)

    def _by_number(self, how: str, minus: "Samples | None") -> tuple[np.ndarray, np.ndarray]:
        """Return both ends (K,) of the intervals that as many nuclei would have if no two were alike."""
        low, high = wilson(self.value[how], self.n[how])
        if minus is None:
            return low, high
        own, other = self.value[how], minus.value[how]
        other_low, other_high = wilson(other, minus.n[how])
        return (
            own - other - np.hypot(own - low, other_high - other),
            own - other + np.hypot(high - own, other - other_low),
        )


def scatter_of(arms: list[Samples]) -> dict[str, list[tuple[np.ndarray, float, str]]]:
    """Return how much wells of one arm differ, and replicates where there are some, taken to be alike in all arms.

    By "counted", "estimated", ...: the variance (K,) between wells over that of a nucleus, its degrees of freedom, and
    the level. One variance for all arms, as in an analysis of variance, moderated by what is known of wells (Smyth
    2004, Statistical Applications in Genetics and Molecular Biology 3:3).
    """
    found: dict = {}
    for level in _BETWEEN:
        if level == "replicate" and all(one.n_drawn[level] == 1 for one in arms):
            continue
        for how in arms[0].value:
            own = [one for one in arms if one.n[how] and how in one.value]
            known = [one.n_drawn[level] / one.n[how] + _KNOWN_DEVIATION**2 * one.variance(how) for one in own]
            total, freedom = _KNOWN_WELLS * np.mean(known or [np.nan], axis=0), float(_KNOWN_WELLS)
            for one in (one for one in own if (how, level) in one.spread):
                n = one.n_drawn[level]
                total = total + (n - 1) * n * _variance(one.spread[how, level]) / one.variance(how)
                freedom += n - 1
            found.setdefault(how, []).append((total / freedom, freedom, level))
    return found


def samples_of(rows: pd.DataFrame, classes, seed: int, n_samples: int) -> Samples:
    """Return the shares of nuclei, rows that are counted, with bootstrap samples."""
    value, n_nuclei, n_drawn, spread, moved = {}, {}, {}, {}, {}
    for type_of, (shares, *refits), n_known in (
        _by_calls(rows, classes),
        *([_by_dna(rows)] if LIKELY[0] in rows else []),
    ):
        n_of = np.bincount(type_of)
        own, *again = (
            {how: found[0] for how, found in fit(n_of[np.newaxis].astype(float)).items()} for fit in (shares, *refits)
        )
        value, n_nuclei = value | own, n_nuclei | n_known
        for level in _LEVELS if n_samples else ():
            if level == "nucleus":
                n, drawn = len(rows), np.random.default_rng(seed).multinomial(len(rows), n_of / n_of.sum(), n_samples)
            else:
                unit_of, times = draws(len(rows), rows[level].to_numpy(str), n_samples, seed)
                n, by_unit = times.shape[1], np.zeros((times.shape[1], len(n_of)))
                np.add.at(by_unit, (unit_of, type_of), 1)
                drawn = times @ by_unit
            n_drawn[level] = n
            if n > 1:
                factor = np.sqrt(n / (n - 1))
                for how, found in shares(drawn.astype(float)).items():
                    spread[how, level] = factor * (found - own[how])
        if again and n_samples:
            # In the same order for all arms, whose peaks are one fit.
            moved |= {how: np.resize([one[how] - own[how] for one in again], (n_samples, len(own[how]))) for how in own}
    return Samples(value, n_nuclei, n_drawn, spread, moved)


def _types(values: np.ndarray, alike: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the type of each row (N,), those with the same numbers `alike` (N, A), and mean values (T, K) of a type.

    So much faster than row by row, and as exact.
    """
    _, type_of, n_of = np.unique(alike, axis=0, return_inverse=True, return_counts=True)
    type_of = type_of.ravel()
    return type_of, np.column_stack([np.bincount(type_of, own) for own in values.T]) / n_of[:, None]


def _by_calls(rows: pd.DataFrame, classes):
    """Return types of nuclei of one call and nearly the same probabilities, in a list what gives shares of weights
    (B, T), and of how many nuclei these are.
    """
    scores = rows[[f"l_{name}" for name in classes]].to_numpy(dtype=float)
    called = pd.Index(classes).get_indexer(rows["call"])[:, np.newaxis]
    # A call left open, -1, is none.
    values = np.hstack([scores, called == np.arange(len(classes))])
    type_of, typical = _types(values, np.hstack([np.rint(scores * _STEPS), called]))
    typical, is_called = np.hsplit(typical, 2)

    def shares(weights):
        return {"counted": _over_sum(weights @ is_called), "estimated": estimated_shares(typical, weights)}

    return type_of, [shares], {"counted": int((called >= 0).sum()), "estimated": len(rows)}


def _by_dna(rows: pd.DataFrame):
    """Return types of nuclei of a group with nearly the same DNA, what gives the shares fitted to its histogram, and of
    how many nuclei these are.

    First by the fit to all nuclei of the group, whose peaks samples keep, then by those to samples of them.
    """
    likely = rows[_COLUMNS].fillna(0).to_numpy(dtype=float)
    copies = np.log2(rows["dna_copies"].to_numpy(dtype=float), out=np.zeros(len(rows)), where=likely.any(axis=1))
    group = np.unique(rows["group"], return_inverse=True)[1]
    type_of, typical = _types(likely, np.column_stack([np.rint(_COPY_STEPS * copies), group]))
    typical = typical.reshape(len(typical), -1, len(LIKELY)).swapaxes(0, 1)

    def shares(fit, weights):
        known = weights * fit.any(axis=1)
        return {FITTED: _over_sum(estimated_shares(fit, known)[:, :3] * known.any(axis=1, keepdims=True))}

    return type_of, [partial(shares, fit) for fit in typical], {FITTED: int(likely.any(axis=1).sum())}


def _variance(samples: np.ndarray) -> np.ndarray:
    """Return the variance (K,) of samples (B, K), NaN among which count for nothing; NaN without any."""
    return pd.DataFrame(samples).var(ddof=0).to_numpy()


def _over_sum(parts: np.ndarray) -> np.ndarray:
    """Return parts (B, K) of their sum; NaN where that is 0."""
    whole = parts.sum(axis=1, keepdims=True)
    return np.divide(parts, whole, out=np.full_like(parts, np.nan, dtype=float), where=whole > 0)

"""Shares of phases of nuclei, from their calls, their probabilities and their DNA, with bootstrap samples."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from cellcycle.dna_content import phase_likelihoods
from cellcycle.metrics import Estimate, wilson, with_interval
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
# So often an estimate of shares steps, each time so much nearer to the edge, at 0, until it is so near.
_ROUNDS, _NEARER, _NEAREST = 20, 0.1, 1e-10
# What nuclei are alike in, and how many wells are added to those of an experiment, of which the odds of a phase differ
# by this much (a deviation of their logarithm): where each condition has two wells, they say little of that themselves.
# Plates, other days or cells, differ like wells at least, also where wells of each are numbered as replicates. Of
# fields of one well nothing is known.
_KNOWN_WELLS, _KNOWN_DEVIATION = {"place": 4, "replicate": 4, "unit": 4, "image": 0}, 0.25
# How far weights of a well are moved to see how far it draws the shares.
_NUDGE = 1e-3


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
    admit (Saerens, Latinne and Decaestecker 2002, Neural Computation 14:21). Their rounds do not come to an end where
    probabilities are unsure: this is an interior point method, of the same problem as by Kim et al. 2020 (Journal of
    Computational and Graphical Statistics 29:261), without the bound on the sum of shares, which is 1 at its end.

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


@dataclass(frozen=True)
class Interval(Estimate):
    """A number with its 95 % interval, and the degrees of freedom of the Student's t that this is of."""

    freedom: float = np.inf

    def by_chance(self) -> float:
        """Return how probable it is to come so far from 0 where that is the truth: two-sided p, by the same t."""
        reach = self.value - self.low if self.value > 0 else self.high - self.value
        return float(2 * stdtr(self.freedom, -stdtrit(self.freedom, 0.975) * abs(self.value) / reach))


@dataclass(frozen=True)
class Samples:
    """Shares of an arm and how they would differ if drawn again, by "counted" and "estimated".

    `value` (K,); `n`, how many nuclei it is of; `drawn` how deviations from the value (B, K) of bootstrap samples of
    nuclei, none where there is but one, with n / (n - 1) in their variance; `parts`, also by what nuclei are alike in
    ("place", "replicate", "unit", "image"), which part of the nuclei is of each (n,), and how far it draws the value
    off the others' (n, K); `moved` are the deviations that fits made again add to these; `places` are plates by name.
    """

    value: dict[str, np.ndarray]
    n: dict[str, int]
    drawn: dict[str, np.ndarray]
    parts: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]
    moved: dict[str, np.ndarray]
    places: frozenset

    def interval(self, how: str, minus: "Samples | None" = None, scatter=None) -> list[Interval]:
        """Return the share of each class, or what it is more than in another arm, as far as any of its intervals goes.

        Cells of a field, and fields of a well, are alike: the interval of what differs most is the one that holds. That
        of fields, wells, replicates and plates is by their `scatter` (see `scatter_of`); what is not in it counts for
        nothing, nor does a plate on which both arms stand alone.
        None is narrower than Wilson's (a difference's than Newcombe's) for as many nuclei: without one nucleus in S
        every sample drawn again has none, and yet the share may be a few in a hundred (Newcombe 1998, Statistics in
        Medicine 17:873).
        """
        arms = [self] if minus is None else [self, minus]
        value = self.value[how] - (0 if minus is None else minus.value[how])
        moved = self.moved.get(how, 0) - (0 if minus is None else minus.moved.get(how, 0))
        found = []
        if any(how in own.drawn for own in arms):
            more = self.drawn.get(how, 0) - (minus.drawn.get(how, 0) if minus else 0) + moved
            found.append([Interval(**vars(with_interval(v, v + more[:, k]))) for k, v in enumerate(value)])
        within = sum(own.sampling(how) for own in arms) + _variance(np.atleast_2d(moved))
        is_within = minus is not None and len(self.places | minus.places) == 1
        for differing, freedom, level in (scatter or {}).get(how, ()):
            if level == "place" and is_within:
                continue
            between = differing * sum(own.variance(how) ** 2 * own.unevenness(how, level) for own in arms)
            # What is known surely, of many nuclei, is no matter of few wells (Satterthwaite 1946, Biometrics 2:110).
            freedom = freedom * ((between + within) / np.maximum(between, 1e-9 * within)) ** 2
            reach = stdtrit(freedom, 0.975) * np.sqrt(between + within)
            found.append([*map(Interval, value, value - reach, value + reach, freedom)])
        if not found:
            return [Interval(float(v), np.nan, np.nan) for v in value]
        least, ends = 0.0 if minus is None else -1.0, zip(*self._by_number(how, minus), strict=True)
        made = []
        for (low, high), *same in zip(ends, *found, strict=True):
            widest = max(same, key=lambda one: one.high - one.low)
            # At a share of 0 one that is even reaches below, where nothing is, and less high than a narrower one.
            low, high = min(low, *(one.low for one in same)), max(high, *(one.high for one in same))
            made.append(replace(widest, low=max(low, least), high=min(high, 1.0)))
        return made

    def variance(self, how: str) -> np.ndarray:
        """Return the variance (K,) of being of a class, of a nucleus; none is 0 (Agresti and Coull 1998)."""
        shares = (self.value[how] * self.n[how] + 2) / (self.n[how] + 4)
        return shares * (1 - shares)

    def sampling(self, how: str) -> np.ndarray:
        """Return the variance (K,) of the shares that nuclei would have if no two were alike."""
        return np.maximum(self.variance(how) / max(self.n[how], 1), _variance(self.drawn.get(how, np.zeros((1, 1)))))

    def unevenness(self, how: str, level: str) -> float:
        """Return one over the number of wells (or fields ...) of one size that would say as much."""
        return float(np.sum(self.parts[how, level][0] ** 2)) if (how, level) in self.parts else np.nan

    def between(self, how: str, level: str) -> tuple[np.ndarray, np.ndarray]:
        """Return how much the log odds of wells differ beyond what so few nuclei would (variance, K), which may be
        below 0, and its degrees of freedom, fewer where wells are uneven or small (DerSimonian and Laird 1986,
        Controlled Clinical Trials 7:177).
        """
        part, off = self.parts[how, level]
        part, of_nucleus = part[:, np.newaxis], self.variance(how) ** 2
        even, sampled = 1 - np.sum(part**2), self.sampling(how)
        found = (np.sum(off**2 / part, axis=0) - (len(part) - 1) * sampled) / (even * of_nucleus)
        expected = _KNOWN_DEVIATION**2 + sampled / (part * of_nucleus)
        varying = np.sum((part**2 - 2 * part**3) * expected**2, axis=0) + np.sum(part**2 * expected, axis=0) ** 2
        return found, (even * _KNOWN_DEVIATION**2) ** 2 / varying

    def _by_number(self, how: str, minus: "Samples | None") -> tuple[np.ndarray, np.ndarray]:
        """Return both ends (K,) of the intervals that as many nuclei would have if no two were alike."""
        low, high = wilson(self.value[how], self.n[how])
        if minus is None:
            return low, high
        own, other = self.value[how], minus.value[how]
        other_low, other_high = wilson(other, minus.n[how])
        below, above = np.hypot(own - low, other_high - other), np.hypot(high - own, other - other_low)
        return own - other - below, own - other + above


def scatter_of(arms: list[Samples], levels=tuple(_KNOWN_WELLS)) -> dict[str, list[tuple[np.ndarray, np.ndarray, str]]]:
    """Return how much wells of one arm differ, and plates, replicates and fields where there are several, in all alike.

    By "counted", "estimated", ...: the variance (K,) of log odds, its degrees of freedom (K,), and the level. One
    variance for all arms, as in an analysis of variance, moderated by what is known of wells (Smyth 2004, Statistical
    Applications in Genetics and Molecular Biology 3:3).
    """
    found: dict = {}
    # Plates differ also where each has conditions of its own, as wells do.
    places = frozenset().union(*(one.places for one in arms))
    assumed = ("unit", "place") if len(places) > 1 else ("unit",)
    for level in levels:
        for how in arms[0].value if arms else ():
            several = [one for one in arms if len(one.parts.get((how, level), ((), ()))[0]) > 1]
            if not several and level not in assumed:
                continue
            seen, more = np.zeros((2, len(arms[0].value[how])))
            for variance, weight in (one.between(how, level) for one in several):
                seen, more = seen + weight * variance, more + weight
            known = _KNOWN_WELLS[level]
            freedom = np.maximum(more + known, 1)
            moderated = (seen + known * _KNOWN_DEVIATION**2) / freedom
            # Wells that differ more than is known of wells are believed, where they say as much as two large ones.
            variance = np.maximum(np.maximum(moderated, seen / np.maximum(more, 1)), 0)
            found.setdefault(how, []).append((variance, freedom, level))
    return found


def samples_of(rows: pd.DataFrame, classes, seed: int, n_samples: int) -> Samples:
    """Return the shares of nuclei, rows that are counted, with bootstrap samples."""
    value, n_nuclei, drawn, parts, moved = {}, {}, {}, {}, {}
    ways = [_by_calls(rows, classes), *([_by_dna(rows)] if LIKELY[0] in rows else [])]
    for type_of, (shares, *refits), is_known in ways:
        n_of = np.bincount(type_of).astype(float)
        own, *again = ({how: found[0] for how, found in fit(n_of[np.newaxis]).items()} for fit in (shares, *refits))
        value, n_nuclei = value | own, n_nuclei | {how: int(known.sum()) for how, known in is_known.items()}
        if n_samples and len(rows) > 1:
            times = np.random.default_rng(seed).multinomial(len(rows), n_of / n_of.sum(), n_samples)
            factor = np.sqrt(len(rows) / (len(rows) - 1))
            drawn |= {how: factor * (found - own[how]) for how, found in shares(times.astype(float)).items()}
        for level in _KNOWN_WELLS if n_samples else ():
            unit_of = np.unique(rows[level].to_numpy(str), return_inverse=True)[1]
            by_unit = np.zeros((unit_of.max() + 1, len(n_of)))
            np.add.at(by_unit, (unit_of, type_of), 1)
            for how, found in shares(n_of + _NUDGE * by_unit).items():
                n_known = np.bincount(unit_of, is_known[how])
                is_any = n_known > 0
                parts[how, level] = n_known[is_any] / n_known.sum(), (found - own[how])[is_any] / _NUDGE
        if again and n_samples:
            # In the same order for all arms, whose peaks are one fit.
            moved |= {how: np.resize([one[how] - own[how] for one in again], (n_samples, len(own[how]))) for how in own}
    return Samples(value, n_nuclei, drawn, parts, moved, frozenset(rows["place"]) if n_samples else frozenset())


def _types(values: np.ndarray, alike: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the type of each row (N,), those with the same numbers `alike` (N, A), and mean values (T, K) of a type.

    So much faster than row by row, and as exact.
    """
    _, type_of, n_of = np.unique(alike, axis=0, return_inverse=True, return_counts=True)
    type_of = type_of.ravel()
    return type_of, np.column_stack([np.bincount(type_of, own) for own in values.T]) / n_of[:, None]


def _by_calls(rows: pd.DataFrame, classes):
    """Return types of nuclei of one call and nearly the same probabilities, in a list what gives shares of weights
    (B, T), and of which nuclei (N,) these are.
    """
    scores = rows[[f"l_{name}" for name in classes]].to_numpy(dtype=float)
    called = pd.Index(classes).get_indexer(rows["call"])[:, np.newaxis]
    # A call left open, -1, is none.
    values = np.hstack([scores, called == np.arange(len(classes))])
    type_of, typical = _types(values, np.hstack([np.rint(scores * _STEPS), called]))
    typical, is_called = np.hsplit(typical, 2)

    def shares(weights):
        return {"counted": _over_sum(weights @ is_called), "estimated": estimated_shares(typical, weights)}

    return type_of, [shares], {"counted": called[:, 0] >= 0, "estimated": np.ones(len(rows), bool)}


def _by_dna(rows: pd.DataFrame):
    """Return types of nuclei of a group with nearly the same DNA, what gives the shares fitted to its histogram, and of
    which nuclei (N,) these are.

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

    return type_of, [partial(shares, fit) for fit in typical], {FITTED: likely.any(axis=1)}


def _variance(samples: np.ndarray) -> np.ndarray:
    """Return the variance (K,) of samples (B, K), NaN among which count for nothing; NaN without any."""
    return pd.DataFrame(samples).var(ddof=0).to_numpy()


def _over_sum(parts: np.ndarray) -> np.ndarray:
    """Return parts (B, K) of their sum; NaN where that is 0."""
    whole = parts.sum(axis=1, keepdims=True)
    return np.divide(parts, whole, out=np.full_like(parts, np.nan, dtype=float), where=whole > 0)

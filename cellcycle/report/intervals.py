"""Intervals of shares, and of how they differ: of nuclei, fields, wells, replicates and plates that are not alike."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from cellcycle.metrics import Estimate, wilson, with_interval

# What nuclei are alike in, and how many wells are added to those of an experiment, of which the odds of a phase differ
# by this much (a deviation of their logarithm): where each condition has two wells, they say little of that themselves.
# Plates, other days or cells, differ like wells at least, also where wells of each are numbered as replicates. Of
# fields of one well nothing is known.
_KNOWN_WELLS, _KNOWN_DEVIATION = {"place": 4, "replicate": 4, "unit": 4, "image": 0}, 0.25
ALIKE = tuple(_KNOWN_WELLS)


@dataclass(frozen=True)
class Interval(Estimate):
    """A number with its 95 % interval, and the degrees of freedom of the Student's t that this is of."""

    freedom: float = np.inf

    def by_chance(self) -> float:
        """Return how probable it is to come so far from 0 where that is the truth: two-sided p, by the same t."""
        reach = self.value - self.low if self.value > 0 else self.high - self.value
        return float(2 * stdtr(self.freedom, -stdtrit(self.freedom, 0.975) * abs(self.value) / reach))


@dataclass(frozen=True)
class Parts:
    """What nuclei of an arm are alike in, such as wells: which part of the nuclei is of each (n,), how far it draws the
    value off the others' (n, K), and on which plate it lies (n,): None where one lies on several.
    """

    part: np.ndarray
    off: np.ndarray
    place: np.ndarray | None


@dataclass(frozen=True)
class Scatter:
    """How much the log odds of a phase differ between wells (or fields ...): variance and degrees of freedom (K,).

    Of differences `variance` is what is left when that of plates, `of_places`, has been taken out, which two arms share
    where they stand on the same ones.
    """

    level: str
    variance: np.ndarray
    freedom: np.ndarray
    of_places: "Scatter | None" = None


@dataclass(frozen=True)
class Samples:
    """Shares of an arm and how they would differ if drawn again, by "counted" and "estimated".

    `value` (K,); `n`, how many nuclei it is of; `drawn` how deviations from the value (B, K) of bootstrap samples of
    nuclei, none where there is but one, with n / (n - 1) in their variance; `parts`, also by what nuclei are alike in
    ("place", "replicate", "unit", "image"); `moved` are the deviations that fits made again add to these; `places` are
    plates by name.
    """

    value: dict[str, np.ndarray]
    n: dict[str, int]
    drawn: dict[str, np.ndarray]
    parts: dict[tuple[str, str], Parts]
    moved: dict[str, np.ndarray]
    places: frozenset

    def interval(self, how: str, minus: "Samples | None" = None, scatter=None) -> list[Interval]:
        """Return the share of each class, or what it is more than in another arm, as far as any of its intervals goes.

        Cells of a field, and fields of a well, are alike: the interval of what differs most is the one that holds. That
        of fields, wells, replicates and plates is by their `scatter` (see `scatter_of`, and for differences
        `scatter_within`); what is not in it counts for nothing, nor does a plate on which both arms stand alone.
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
        for differing in (scatter or {}).get(how, ()):
            if differing.level == "place" and is_within:
                continue
            between, freedom = self._variance_of(how, differing, minus)
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

    def between(self, how: str, level: str) -> tuple[np.ndarray, np.ndarray]:
        """Return how much the log odds of wells differ beyond what so few nuclei would (variance, K), which may be
        below 0, and its degrees of freedom, fewer where wells are uneven or small (DerSimonian and Laird 1986,
        Controlled Clinical Trials 7:177).
        """
        part, off = self.parts[how, level].part[:, np.newaxis], self.parts[how, level].off
        of_nucleus = self.variance(how) ** 2
        even, sampled = 1 - np.sum(part**2), self.sampling(how)
        found = (np.sum(off**2 / part, axis=0) - (len(part) - 1) * sampled) / (even * of_nucleus)
        expected = _KNOWN_DEVIATION**2 + sampled / (part * of_nucleus)
        varying = np.sum((part**2 - 2 * part**3) * expected**2, axis=0) + np.sum(part**2 * expected, axis=0) ** 2
        return found, (even * _KNOWN_DEVIATION**2) ** 2 / varying

    def _variance_of(self, how: str, scatter: Scatter, minus: "Samples | None") -> tuple[np.ndarray, np.ndarray]:
        """Return the variance (K,) of a share, or of a difference, by wells that differ, and its degrees of freedom."""
        arms, shared = [self] if minus is None else [self, minus], scatter.of_places
        own = sum(arm.variance(how) ** 2 * arm._unevenness(how, scatter.level) for arm in arms)
        # Above 0, for nothing has no degrees of freedom.
        own = np.maximum(scatter.variance, 1e-12) * own
        if shared is None:
            return own, scatter.freedom
        of_places = [arm.parts[how, "place"] for arm in arms]
        place = np.unique(np.concatenate([one.place for one in of_places]), return_inverse=True)[1]
        drawn = [sign * one.part[:, np.newaxis] * arm.variance(how)
                 for sign, arm, one in zip((1, -1), arms, of_places, strict=True)]  # fmt: skip
        by_place = np.array([np.bincount(place, column) for column in np.concatenate(drawn).T])
        both = shared.variance * np.sum(by_place**2, axis=1)
        return own + both, (own + both) ** 2 / (own**2 / scatter.freedom + both**2 / shared.freedom)

    def _unevenness(self, how: str, level: str) -> float:
        """Return one over the number of wells (or fields ...) of one size that would say as much."""
        return float(np.sum(self.parts[how, level].part ** 2)) if (how, level) in self.parts else np.nan

    def _by_number(self, how: str, minus: "Samples | None") -> tuple[np.ndarray, np.ndarray]:
        """Return both ends (K,) of the intervals that as many nuclei would have if no two were alike."""
        low, high = wilson(self.value[how], self.n[how])
        if minus is None:
            return low, high
        own, other = self.value[how], minus.value[how]
        other_low, other_high = wilson(other, minus.n[how])
        below, above = np.hypot(own - low, other_high - other), np.hypot(high - own, other - other_low)
        return own - other - below, own - other + above


def scatter_of(arms: list[Samples], levels=ALIKE) -> dict[str, list[Scatter]]:
    """Return how much wells of one arm differ, and plates, replicates and fields where there are several, in all alike.

    By "counted", "estimated", ...; one variance for all arms, as in an analysis of variance, moderated by what is known
    of wells (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3:3).
    """
    found: dict = {}
    # Plates differ also where each has conditions of its own, as wells do.
    assumed = ("unit", "place") if len(_places(arms)) > 1 else ("unit",)
    for level in levels:
        for how in arms[0].value if arms else ():
            several = [one for one in arms if (how, level) in one.parts and len(one.parts[how, level].part) > 1]
            if several or level in assumed:
                told, k = [one.between(how, level) for one in several], len(arms[0].value[how])
                # Arms share their plates: twelve arms on two of them have seen two days, not twelve times two.
                most = len(_places(arms)) - 1 if level == "place" else np.inf
                found.setdefault(how, []).append(_moderated(level, told, k, most))
    return found


def scatter_within(arms: list[Samples], scatter: dict[str, list[Scatter]]) -> dict[str, list[Scatter]]:
    """Return how much wells of one arm differ within plates, and plates beside that, for differences of arms.

    `scatter` is that of the same arms by `scatter_of`.

    What a plate does to all of its wells, as another day or stain does, is in no difference of two arms that stand on
    the same plates in the same parts. Where a replicate lies on several plates, nothing is taken out of replicates.
    """
    if len(_places(arms)) < 2:
        return scatter
    found = {}
    for how, of_all in scatter.items():
        k = len(arms[0].value[how])
        own = {}
        for one in of_all:
            if all(arm.parts[how, one.level].place is not None for arm in arms if (how, one.level) in arm.parts):
                own[one.level] = _moderated(one.level, [_left(arms, how, one.level)], k)
        plates = next(one for one in of_all if one.level == "place")
        shared = replace(plates, variance=np.maximum(plates.variance - own["place"].variance, 0))
        found[how] = [replace(own[o.level], of_places=shared) if o.level in own else o for o in of_all]
    return found


def _moderated(level: str, told: list[tuple[np.ndarray, np.ndarray]], n_classes: int, most=np.inf) -> Scatter:
    """Return what variances (K,), and their degrees of freedom (K,), come to together with what is known of wells.

    All of them together have at `most` so many degrees of freedom.
    """
    seen, more = np.zeros((2, n_classes))
    for variance, weight in told:
        seen, more = seen + weight * variance, more + weight
    kept = np.minimum(most / np.maximum(more, 1), 1)
    seen, more, known = seen * kept, more * kept, _KNOWN_WELLS[level]
    freedom = np.maximum(more + known, 1)
    moderated = (seen + known * _KNOWN_DEVIATION**2) / freedom
    # Wells that differ more than is known of wells are believed, where they say as much as two large ones.
    return Scatter(level, np.maximum(np.maximum(moderated, seen / np.maximum(more, 1)), 0), freedom)


def _left(arms: list[Samples], how: str, level: str) -> tuple[np.ndarray, np.ndarray]:
    """Return how much the log odds of wells differ when those of arms and of plates are taken out (variance, K), beyond
    what so few nuclei would, and its degrees of freedom: by the moments of what two factors leave.
    """
    # Of an arm with one well nothing is left.
    several = [arm for arm in arms if (how, level) in arm.parts and len(arm.parts[how, level].part) > 1]
    parts = [arm.parts[how, level] for arm in several]
    if not parts:
        return np.zeros((2, len(arms[0].value[how])))
    arm_of = np.repeat(np.arange(len(parts)), [len(one.part) for one in parts])
    place = np.unique(np.concatenate([one.place for one in parts]), return_inverse=True)[1]
    part = np.concatenate([one.part for one in parts])[:, np.newaxis]
    of_nucleus = np.array([arm.variance(how) for arm in several])[arm_of]
    odds = np.concatenate([one.off for one in parts]) / (part * of_nucleus)
    sampled = np.array([arm.sampling(how) for arm in several])[arm_of] / (part * of_nucleus**2)
    weight = 1 / (_KNOWN_DEVIATION**2 + sampled)
    # What has more levels is taken out by means, the other by a fit.
    few, many = sorted((arm_of, place), key=np.max)
    on_few = (few[:, np.newaxis] == np.arange(few.max() + 1)).astype(float)
    variance, freedom = np.zeros((2, odds.shape[1]))
    for k, w in enumerate(weight.T):
        total = np.bincount(many, w)[many]

        def beside(values, w=w, total=total):
            means = [np.bincount(many, w * column)[many] / total for column in values.T]
            return np.sqrt(w)[:, np.newaxis] * (values - np.column_stack(means))

        of_few, of_odds = beside(on_few), beside(odds[:, [k]])[:, 0]
        inner = np.linalg.pinv(of_few.T @ of_few, hermitian=True)
        left = of_odds - of_few @ (inner @ (of_few.T @ of_odds))
        free = np.clip(1 - w / total - np.sum(of_few @ inner * of_few, axis=1), 0, None)
        if free.sum() > 1e-6:
            variance[k] = (np.sum(left**2) - np.sum(free * w * sampled[:, k])) / np.sum(free * w)
            freedom[k] = (_KNOWN_DEVIATION**2 * np.sum(free * w)) ** 2 / free.sum()
    return variance, freedom


def _places(arms: list[Samples]) -> frozenset:
    return frozenset().union(*(one.places for one in arms))


def _variance(samples: np.ndarray) -> np.ndarray:
    """Return the variance (K,) of samples (B, K), NaN among which count for nothing; NaN without any."""
    return pd.DataFrame(samples).var(ddof=0).to_numpy()

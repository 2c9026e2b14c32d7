"""Intervals of shares and of differences: over nuclei, fields, wells, replicates and plates, which all vary."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from cellcycle.metrics import Estimate, wilson, with_interval

# Prior on the variance between clusters: degrees of freedom per level, and the assumed standard deviation of the log
# odds of a phase. It is needed because two wells per condition say little of the variance. Plates (other days or cells)
# vary at least like wells, also if wells are numbered as replicates. There is no prior for fields within a well.
_KNOWN_WELLS, _KNOWN_DEVIATION = {"place": 4, "replicate": 4, "unit": 4, "image": 0}, 0.25
ALIKE = tuple(_KNOWN_WELLS)


@dataclass(frozen=True)
class Interval(Estimate):
    """A number with its 95 % interval, and the degrees of freedom of its Student's t."""

    freedom: float = np.inf

    def by_chance(self) -> float:
        """Return the two-sided p value of the hypothesis that the true value is 0, by the same t distribution."""
        reach = self.value - self.low if self.value > 0 else self.high - self.value
        return float(2 * stdtr(self.freedom, -stdtrit(self.freedom, 0.975) * abs(self.value) / reach))


@dataclass(frozen=True)
class Parts:
    """The clusters of an arm at one level, such as wells: `part` (n,), the fraction of the nuclei in each; `off`
    (n, K), how far each moves the shares; `place` (n,), the plate of each, None if one lies on several plates.
    """

    part: np.ndarray
    off: np.ndarray
    place: np.ndarray | None


@dataclass(frozen=True)
class Scatter:
    """Variance (K,) of the log odds of each phase between wells (or fields ...), and its degrees of freedom (K,).

    For differences, `variance` is the rest without that of plates, which is in `of_places`: two arms on the same plates
    share the effect of these.
    """

    level: str
    variance: np.ndarray
    freedom: np.ndarray
    of_places: "Scatter | None" = None


@dataclass(frozen=True)
class Samples:
    """Shares of an arm and how they vary if sampled again; keys are "counted", "estimated" and "fitted".

    `value` (K,) are the shares, `n` the number of nuclei. `drawn` (B, K) are deviations from `value` in bootstrap
    samples of nuclei, with n / (n - 1) in their variance; missing for a single nucleus. `parts` are the clusters, also
    keyed by level ("place", "replicate", "unit", "image"). `moved` (B, K) are the deviations that refitted peaks add;
    `places` are the names of the plates.
    """

    value: dict[str, np.ndarray]
    n: dict[str, int]
    drawn: dict[str, np.ndarray]
    parts: dict[tuple[str, str], Parts]
    moved: dict[str, np.ndarray]
    places: frozenset

    def interval(self, how: str, minus: "Samples | None" = None, scatter=None) -> list[Interval]:
        """Return the share of each class, or its difference to the arm `minus`, with the union of all its intervals.

        Cells of a field, and fields of a well, are correlated, so the level that varies most decides. Intervals over
        fields, wells, replicates and plates use `scatter` (from `scatter_of`, for differences `scatter_within`); levels
        that it lacks are ignored, and so are plates if both arms lie on one and the same. No interval is narrower than
        Wilson's (for a difference Newcombe's) for as many nuclei: without any nucleus in S every bootstrap sample has
        none, and yet the true share may be a few per cent (Newcombe 1998, Statistics in Medicine 17:873). Without
        bootstrap samples and `scatter` the interval is NaN.
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
            # Variance from many nuclei is well known even with few wells (Satterthwaite 1946, Biometrics 2:110).
            freedom = freedom * ((between + within) / np.maximum(between, 1e-9 * within)) ** 2
            reach = stdtrit(freedom, 0.975) * np.sqrt(between + within)
            found.append([*map(Interval, value, value - reach, value + reach, freedom)])
        if not found:
            return [Interval(float(v), np.nan, np.nan) for v in value]
        least, ends = 0.0 if minus is None else -1.0, zip(*self._by_number(how, minus), strict=True)
        made = []
        for (low, high), *same in zip(ends, *found, strict=True):
            widest = max(same, key=lambda one: one.high - one.low)
            # At a share of 0 a symmetric interval reaches below 0, and may reach less high than a narrower one.
            low, high = min(low, *(one.low for one in same)), max(high, *(one.high for one in same))
            made.append(replace(widest, low=max(low, least), high=min(high, 1.0)))
        return made

    def variance(self, how: str) -> np.ndarray:
        """Return the variance (K,) of one nucleus's membership of each class; never 0 (Agresti and Coull 1998)."""
        shares = (self.value[how] * self.n[how] + 2) / (self.n[how] + 4)
        return shares * (1 - shares)

    def sampling(self, how: str) -> np.ndarray:
        """Return the variance (K,) of the shares if all nuclei were independent."""
        return np.maximum(self.variance(how) / max(self.n[how], 1), _variance(self.drawn.get(how, np.zeros((1, 1)))))

    def between(self, how: str, level: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the variance (K,) of the log odds between wells beyond that of sampling nuclei, which may be negative,
        and its degrees of freedom (K,), fewer if wells are uneven or small (DerSimonian and Laird 1986, Controlled
        Clinical Trials 7:177).
        """
        part, off = self.parts[how, level].part[:, np.newaxis], self.parts[how, level].off
        of_nucleus = self.variance(how) ** 2
        even, sampled = 1 - np.sum(part**2), self.sampling(how)
        found = (np.sum(off**2 / part, axis=0) - (len(part) - 1) * sampled) / (even * of_nucleus)
        expected = _KNOWN_DEVIATION**2 + sampled / (part * of_nucleus)
        varying = np.sum((part**2 - 2 * part**3) * expected**2, axis=0) + np.sum(part**2 * expected, axis=0) ** 2
        return found, (even * _KNOWN_DEVIATION**2) ** 2 / varying

    def _variance_of(self, how: str, scatter: Scatter, minus: "Samples | None") -> tuple[np.ndarray, np.ndarray]:
        """Return the variance (K,) of a share, or of a difference, between wells, and its degrees of freedom (K,)."""
        arms, shared = [self] if minus is None else [self, minus], scatter.of_places
        own = sum(arm.variance(how) ** 2 * arm._unevenness(how, scatter.level) for arm in arms)
        # Kept above 0, because a variance of 0 has no degrees of freedom.
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
        """Return 1 / (effective number of equally large wells, or fields ...); NaN if the level is missing."""
        return float(np.sum(self.parts[how, level].part ** 2)) if (how, level) in self.parts else np.nan

    def _by_number(self, how: str, minus: "Samples | None") -> tuple[np.ndarray, np.ndarray]:
        """Return both ends (K,) of the intervals for this number of independent nuclei (Wilson, Newcombe)."""
        low, high = wilson(self.value[how], self.n[how])
        if minus is None:
            return low, high
        own, other = self.value[how], minus.value[how]
        other_low, other_high = wilson(other, minus.n[how])
        below, above = np.hypot(own - low, other_high - other), np.hypot(high - own, other - other_low)
        return own - other - below, own - other + above


def scatter_of(arms: list[Samples], levels=ALIKE) -> dict[str, list[Scatter]]:
    """Return the variances between wells of one arm, and between plates, replicates and fields if there are several.

    Keys are "counted", "estimated", ...; all arms have one variance, as in an analysis of variance, moderated by the
    prior on wells (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3:3).
    """
    found: dict = {}
    # Plates vary, like wells, also if each condition is on one plate only, where this cannot be measured.
    assumed = ("unit", "place") if len(_places(arms)) > 1 else ("unit",)
    for level in levels:
        for how in arms[0].value if arms else ():
            several = [one for one in arms if (how, level) in one.parts and len(one.parts[how, level].part) > 1]
            if several or level in assumed:
                told, k = [one.between(how, level) for one in several], len(arms[0].value[how])
                # Arms share their plates: twelve arms on two plates give two observations of a plate, not 24.
                most = len(_places(arms)) - 1 if level == "place" else np.inf
                found.setdefault(how, []).append(_moderated(level, told, k, most))
    return found


def scatter_within(arms: list[Samples], scatter: dict[str, list[Scatter]]) -> dict[str, list[Scatter]]:
    """Return the variances for differences of arms: between wells within plates, and apart from it between plates.

    `scatter` is that of the same arms by `scatter_of`.

    The effect of a plate on all its wells, e.g. of another day or stain, cancels in the difference of two arms with the
    same fractions on the same plates. If a replicate lies on several plates, replicates keep their whole variance.
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
    """Return the pooled variance of (variance (K,), degrees of freedom (K,)) pairs, moderated by the prior on wells.

    The pairs together count for at most `most` degrees of freedom.
    """
    seen, more = np.zeros((2, n_classes))
    for variance, weight in told:
        seen, more = seen + weight * variance, more + weight
    kept = np.minimum(most / np.maximum(more, 1), 1)
    seen, more, known = seen * kept, more * kept, _KNOWN_WELLS[level]
    freedom = np.maximum(more + known, 1)
    moderated = (seen + known * _KNOWN_DEVIATION**2) / freedom
    # A measured variance above the moderated one is used; with less than one degree of freedom it is scaled down.
    return Scatter(level, np.maximum(np.maximum(moderated, seen / np.maximum(more, 1)), 0), freedom)


def _left(arms: list[Samples], how: str, level: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance (K,) of the log odds between wells after the effects of arms and plates are removed, beyond
    that of sampling nuclei, and its degrees of freedom (K,): moment estimates from the residuals of two factors.
    """
    # An arm with one well has no residual.
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
    # The factor with more levels is removed by subtracting means, the other by a fit.
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
    """Return the variance (K,) of samples (B, K), ignoring NaN; NaN if there is no sample."""
    return pd.DataFrame(samples).var(ddof=0).to_numpy()

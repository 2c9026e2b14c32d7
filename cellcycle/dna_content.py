"""Fit of the G1 peak of a DNA histogram, the anchor that converts intensities to genome copies.

The histogram of integrated DNA of a growing population has a peak at G1, another at about twice that (G2 and M), and S
between. The position of the G1 peak depends on stain and exposure; relative to it, the DNA contents of different slides
are comparable. The model is one of flow cytometry, a peak for G1, one for G2 and a broadened S between (Dean and Jett
1974, Journal of Cell Biology 60:523), with S flat where theirs is a polynomial of second degree.
"""

from dataclasses import dataclass, field

import numpy as np

from cellcycle.arrays import as_dna

LEAST_NUCLEI = 60
_BINS = 240
# Half width of the histogram about the median, and width of a bin (log).
_REACH = np.log(8.2)
_STEP = 2 * _REACH / _BINS
_S_STEPS = 16
_EM_ROUNDS = 25
_COARSE_RATIOS = (1.75, 1.9, 2.0)
_COARSE_CVS = (0.05, 0.09, 0.14)
# Position of G2 over G1: glow, saturation and dye shift it below 2; a ratio outside is another pair of peaks.
_RATIO_RANGE = (1.7, 2.15)
_CV_RANGE = (0.02, 0.2)
# Parts of nuclei lack up to this fraction of the DNA of G1; a known peak is fitted within this distance (log).
_PARTS, _NEAR_KNOWN = 0.6, 0.15
_LEAST_PEAK_SHARE = 0.12
_MOST_OUTLIERS = 0.2
_LEAST_BIC_GAIN, _ABOUT_ALIKE = 10.0, 0.1
# Least gain by a G1 peak, as twice the log-likelihood per nucleus; a smaller one, in many nuclei, is misfit of S and
# G2.
_LEAST_GAIN_EACH = 0.03
# Parameters that the model has more than a single hump: two shares and the ratio of the peaks.
_MORE_PARAMETERS = 3
_LEAST_SECOND = 0.04
# Greatest share of growing nuclei in one phase, or within this distance (log) of the median, even with 75 % in G1. A
# culture is arrested if more are, by this level of chance: all of 21 nuclei, nine in ten of 60.
_ALIKE, _NARROW, _CHANCE = 0.8, 0.25, 0.01
_MOST_SHARE = 1 - 1e-9
# Stain of a well relative to its plate (log): standard deviation, greatest shift, steps. DNA relative to G1, bins, CVs.
_NEAR_SPREAD, _NEAR_REACH, _NEAR_STEPS = 0.1, 0.25, 41
_NEAR_RANGE, _NEAR_BINS, _NEAR_CVS = (0.75, 2.7), 60, (0.05, 0.07, 0.09, 0.12)


@dataclass(frozen=True)
class G1Peak:
    """The fitted G1 peak and its reliability.

    `position` is the integrated DNA of a G1 nucleus, NaN if the fit is not usable; `reason` says why it is not. `cv` is
    the coefficient of variation of the peaks, `g2_ratio` the position of the G2 peak over that of G1. `fractions` of
    G1, S and G2 (M included), by DNA content only, and of outliers add up to 1. `quality` in [0, 1] is Cox and Snell's
    pseudo-R2 against one log-normal hump: 0 is no better than that, above 0.3 are two clear peaks. `is_arrested`: by
    DNA the culture does not grow: the nuclei have one peak (which 21 can show, too few for a fit), or none of G1.
    """

    position: float = np.nan
    cv: float = np.nan
    g2_ratio: float = np.nan
    fractions: dict[str, float] = field(default_factory=dict)
    quality: float = 0.0
    n_nuclei: int = 0
    reason: str = ""
    is_arrested: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether DNA may be normalised to this peak."""
        return not self.reason


def fit_g1_peak(integrated_dna: np.ndarray) -> G1Peak:
    """Return the G1 peak of a population of nuclei, fitted to their integrated intensity (N,) in any unit.

    It is a maximum likelihood fit of a mixture in the logarithm of DNA: a peak at G1, one of the same coefficient of
    variation at `g2_ratio` times that, S evenly between, and a flat share of outliers (debris, clumps). The fit is not
    usable, with a `reason`, if there are fewer than 60 nuclei, one peak, too many outliers, too few nuclei in G1 or G2,
    too broad peaks, or no G1 peak: if S and G2 alone explain the nuclei as well, as in a culture without G1, the lowest
    are not taken for G1. Intensities are above background; those not finite or not positive are ignored. Exclude nuclei
    at the edge of the image beforehand.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> peak = fit_g1_peak(np.concatenate([rng.normal(50, 4, 300), rng.normal(100, 8, 150)]))
    >>> abs(peak.position - 50) < 1.5, peak.is_usable
    (True, True)
    """
    dna = as_dna(integrated_dna)
    dna = dna[dna > 0]
    if len(dna) < LEAST_NUCLEI:
        n_alike = np.count_nonzero(np.abs(np.log(dna / np.median(dna))) < _NARROW) if len(dna) else 0
        reason = f"{len(dna)} sound nuclei are fewer than the {LEAST_NUCLEI} that a histogram needs"
        return G1Peak(n_nuclei=len(dna), reason=reason, is_arrested=_stand_still(n_alike, len(dna)))
    counts, centres = _histogram(dna)
    if np.ptp(centres) == 0:
        return G1Peak(n_nuclei=len(dna), reason="all nuclei have the same DNA")
    position, cv, ratio = _refined(counts, centres, _coarse(counts, centres))
    log_likelihood, weights = _mixture(counts, centres, position, cv, ratio)
    hump, without_g1 = _single_hump(counts, centres), _without_g1(counts, centres)
    gain = log_likelihood - hump
    has_g1 = 2 * (log_likelihood - without_g1) >= max(_LEAST_BIC_GAIN, _LEAST_GAIN_EACH * len(dna))
    fractions = dict(zip(("G1", "S", "G2", "outliers"), (float(w) for w in weights), strict=True))
    quality = float(max(0.0, 1 - np.exp(-2 * gain / len(dna))))
    bic_gain = 2 * gain - _MORE_PARAMETERS * np.log(len(dna))
    reason = _reason(fractions, cv, bic_gain, has_g1)
    position = float(np.exp(position)) if not reason else float("nan")
    has_second = bic_gain >= _LEAST_BIC_GAIN and min(fractions["G1"], fractions["G2"]) >= _LEAST_SECOND
    is_one = not has_second and _stand_still(len(dna) * max(fractions[p] for p in ("G1", "S", "G2")), len(dna))
    lacks_g1 = fractions["G1"] < _LEAST_PEAK_SHARE or (not has_g1 and hump - without_g1 < _ABOUT_ALIKE)
    is_arrested = is_one or (bool(reason) and lacks_g1 and fractions["outliers"] <= _MOST_OUTLIERS)
    return G1Peak(position, float(cv), float(ratio), fractions, quality, len(dna), reason, is_arrested)


def fit_near(
    integrated_dna: np.ndarray, position: float, g2_ratio: float, reach: float = _NEAR_REACH
) -> tuple[float, dict[str, float]]:
    """Return the G1 peak of a few nuclei, as of a well, fitted near the known one of many, as of its plate.

    The stain of a well is assumed to differ from that of the plate by a tenth (one standard deviation), at most by
    `reach` (log), so that few nuclei hardly shift the peak. Many nuclei in one part of S shift it there, so a peak
    farther away than stains differ is doubtful. `position` and `g2_ratio` are those of the `G1Peak` of many; returns
    the position, and the shares of G1, S, G2 and outliers among all nuclei.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> position, shares = fit_near(rng.normal(55, 4, 80), 50.0, 2.0)
    >>> round(position), shares["G1"] > 0.8
    (55, True)
    """
    dna = as_dna(integrated_dna)
    dna = dna[dna > 0] / position
    counts, edges = np.histogram(np.log(dna), bins=_NEAR_BINS, range=np.log(_NEAR_RANGE))
    if not counts.any():
        return position, dict.fromkeys(("G1", "S", "G2"), 0.0) | {"outliers": 1.0}
    centres = (edges[1:] + edges[:-1]) / 2
    shifts, cvs = np.meshgrid(np.linspace(-reach, reach, _NEAR_STEPS if reach else 1), _NEAR_CVS, indexing="ij")
    ratios = np.full(shifts.shape, g2_ratio)
    found, weights = _mixture(counts.astype(float), centres, shifts, cvs, ratios, rounds=_EM_ROUNDS)
    best = np.unravel_index(np.argmax(found - 0.5 * (shifts / _NEAR_SPREAD) ** 2), shifts.shape)
    shift, shares = shifts[best], weights[best]
    shares = shares * counts.sum() / len(dna)
    shares[3] += 1 - shares.sum()
    return position * float(np.exp(shift)), dict(zip(("G1", "S", "G2", "outliers"), map(float, shares), strict=True))


def count_near(integrated_dna: np.ndarray, position: float, g2_ratio: float) -> tuple[float, float, float]:
    """Return the numbers of nuclei in G1, S and G2 by the histogram of their positive DNA, given the G1 peak."""
    shares, n_nuclei = fit_near(integrated_dna, position, g2_ratio, reach=0)[1], (as_dna(integrated_dna) > 0).sum()
    return tuple(n_nuclei * shares[phase] for phase in ("G1", "S", "G2"))


def phase_likelihoods(integrated_dna: np.ndarray, position: float, is_sound=True, n_samples: int = 0) -> np.ndarray:
    """Return the likelihood of each nucleus' DNA in each component of a histogram fitted near a known G1 peak.

    The model is that of `fit_g1_peak`, with one more component for parts of nuclei (cut, out of focus, or torn) with
    0.4 to 1 of the DNA of G1. Without it the peaks would become so broad that nothing is left for S.

    Parameters
    ----------
    integrated_dna : ndarray (N,)
        Values that are not finite or not positive have likelihood 0.
    position : float
        DNA of a G1 nucleus, known to 15 %.
    is_sound : ndarray (N,) bool, optional
        The nuclei to which the histogram is fitted; by default all.
    n_samples : int
        Number of bootstrap samples to which the fit is repeated.

    Returns
    -------
    ndarray (N, 5), or (1 + n_samples, N, 5)
        For G1, S, G2 (M included), outliers and parts, up to a common factor; 0 if there are too few nuclei for a fit.
        With samples, the first is of the fit to all nuclei.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> dna = np.concatenate([rng.normal(2, 0.1, 90), rng.uniform(2, 4, 60), rng.normal(4, 0.2, 50), [3.0, 9.0, 1.2]])
    >>> phase_likelihoods(dna, 2.0)[[0, -3, -4, -2, -1]].argmax(axis=1).tolist()
    [0, 1, 2, 3, 4]
    """
    is_known = (dna := as_dna(integrated_dna)) > 0
    found, fitted_to = np.zeros((1 + n_samples, len(dna), 5)), dna[is_known & is_sound]
    if len(fitted_to) >= LEAST_NUCLEI:
        starts, rng = [(np.log(position), cv, 1.95) for cv in _COARSE_CVS], np.random.default_rng(0)
        for k in range(1 + n_samples):
            best = _with_parts(rng.choice(fitted_to, len(fitted_to)) if k else fitted_to, np.log(position), starts)
            starts = starts if k else [best]
            found[k, is_known] = _densities(np.log(dna[is_known]), _STEP, 1 / _BINS, *best, has_parts=True).T
    return found if n_samples else found[0]


def _with_parts(dna: np.ndarray, near: float, starts) -> np.ndarray:
    """Return position (log), coefficient of variation and ratio of peaks near a known one, parts of nuclei aside."""
    counts, centres = _histogram(dna)
    reach = (near - _NEAR_KNOWN, near + _NEAR_KNOWN)
    at = [_refined(counts, centres, start, reach, has_parts=True) for start in starts]
    return max(at, key=lambda one: _mixture(counts, centres, *one, has_parts=True)[0])


def _stand_still(n_alike: float, n_nuclei: int) -> bool:
    """Return whether more nuclei are alike than growing ones are by chance."""
    from scipy.special import bdtrc

    return bool(bdtrc(np.ceil(n_alike) - 1, n_nuclei, _ALIKE) < _CHANCE)


def _reason(fractions: dict[str, float], cv: float, bic_gain: float, has_g1: bool) -> str:
    """Return why a fit cannot be used, "" if it can."""
    if bic_gain < _LEAST_BIC_GAIN:
        return "the histogram has no two peaks (one hump explains it as well)"
    if fractions["outliers"] > _MOST_OUTLIERS:
        return f"{fractions['outliers']:.0%} of the nuclei lie outside G1, S and G2"
    for phase, least in (("G1", _LEAST_PEAK_SHARE), ("G2", _LEAST_SECOND)):
        if fractions[phase] < least:
            return f"there is no {phase} peak ({fractions[phase]:.0%} of the nuclei)"
    if not has_g1:
        return "there is no G1 peak (S and G2 alone explain the histogram as well)"
    if cv >= 0.99 * _CV_RANGE[1]:
        return f"the peaks are too broad (coefficient of variation above {_CV_RANGE[1]})"
    return ""


def _histogram(dna: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and bin centres of log DNA, clipped to a factor of 8 from the median."""
    logs = np.log(dna)
    middle = np.median(logs)
    logs = np.clip(logs, middle - np.log(8), middle + np.log(8))
    counts, edges = np.histogram(logs, bins=_BINS, range=(middle - _REACH, middle + _REACH))
    return counts.astype(np.float64), (edges[1:] + edges[:-1]) / 2 if np.ptp(logs) else np.full(_BINS, middle)


def _densities(logs: np.ndarray, step: float, flat: float, position, cv, ratio, has_parts: bool = False) -> np.ndarray:
    """Return the probability of bins of width `step` at log DNA (N,) under G1, S, G2 and outliers, (..., 4, N).

    `flat` is that of each bin under outliers; `has_parts` adds parts of nuclei as a fifth. `position`, `cv` and `ratio`
    are numbers, or arrays (...) of several mixtures.
    """
    position, cv, ratio = (np.asarray(value, dtype=np.float64)[..., np.newaxis] for value in (position, cv, ratio))
    even = (np.arange(_S_STEPS) + 0.5) / _S_STEPS
    steps = [1 + even * (ratio - 1), *([np.broadcast_to(1 - even * _PARTS, (*ratio.shape[:-1], _S_STEPS))] * has_parts)]
    means = position + np.log(np.concatenate([np.ones_like(ratio), ratio, *steps], axis=-1))
    width = np.hypot(cv, step / np.sqrt(12))[..., np.newaxis]
    bells = np.exp(-0.5 * ((logs - means[..., np.newaxis]) / width) ** 2) + 1e-300
    bells /= width * np.sqrt(2 * np.pi) / step
    s, *parts = (bells[..., at : at + _S_STEPS, :].mean(axis=-2) for at in range(2, bells.shape[-2], _S_STEPS))
    return np.stack([bells[..., 0, :], s, bells[..., 1, :], np.full(s.shape, flat), *parts], axis=-2)


def _mixture(
    counts: np.ndarray, centres: np.ndarray, position, cv, ratio, rounds: int = 4 * _EM_ROUNDS, has_parts: bool = False,
    has_g1: bool = True,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the log-likelihood (...) and the shares (..., 4) of G1, S, G2 and outliers; with parts (..., 5).

    By expectation maximisation, for several mixtures at once if the parameters are arrays (...). Without `has_g1`, G1
    is missing, (..., 3).
    """
    used = counts > 0
    step = centres[1] - centres[0]
    densities = _densities(centres[used], step, 1 / len(centres), position, cv, ratio, has_parts)
    densities, counts = densities[..., int(not has_g1) :, :], counts[used]
    # A round is two matrix products, of weights (..., 1, 4); for a single mixture `dot` takes half of the time.
    is_one, turned, shares = densities.ndim == 2, np.swapaxes(densities, -1, -2), counts / counts.sum()
    weights = np.array([0.5, 0.2, 0.25, 0.05, 0.05][int(not has_g1) :][: densities.shape[-2]])
    product, weights = (np.ndarray.dot, weights) if is_one else (np.matmul, weights[np.newaxis])
    for _ in range(rounds):
        weights = weights * product(shares / product(weights, densities), turned)
    found = np.log(product(weights, densities)) @ counts
    return (found, weights) if is_one else (found[..., 0], weights[..., 0, :])


def _coarse(counts: np.ndarray, centres: np.ndarray, **parts: bool) -> tuple[float, float, float]:
    """Return the best of a grid of positions (log), widths and ratios; `parts` are options of `_mixture`."""
    share = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(share, [0.02, 0.98])
    if not parts.get("has_g1", True):  # no nucleus need be near where G1 would be
        low = max(low - round(np.log(2) / _STEP), 0)
    at = np.meshgrid(centres[low : high + 1 : 2], _COARSE_CVS, _COARSE_RATIOS, indexing="ij")
    best = np.argmax(_mixture(counts, centres, *at, rounds=_EM_ROUNDS, **parts)[0])
    return tuple(float(axis.flat[best]) for axis in at)


def _without_g1(counts: np.ndarray, centres: np.ndarray) -> float:
    """Return the log-likelihood of the best mixture of S, G2 and outliers alone."""
    best = _refined(counts, centres, _coarse(counts, centres, has_g1=False), has_g1=False, rounds=_EM_ROUNDS)
    return float(_mixture(counts, centres, *best, has_g1=False)[0])


def _refined(counts: np.ndarray, centres: np.ndarray, start, reach=None, **parts) -> np.ndarray:
    from scipy.optimize import minimize

    result = minimize(
        lambda at: -_mixture(counts, centres, *at, **parts)[0],
        start,
        method="Nelder-Mead",
        bounds=[reach or (centres[0], centres[-1]), _CV_RANGE, _RATIO_RANGE],
        options={"xatol": 1e-4, "fatol": 1e-3, "maxiter": 150},
    )
    return result.x


def _single_hump(counts: np.ndarray, centres: np.ndarray) -> float:
    """Return the log-likelihood of one log-normal hump with a flat share of outliers."""
    mean = counts @ centres / counts.sum()
    width = np.sqrt(counts @ (centres - mean) ** 2 / counts.sum())
    share = 0.95
    for _ in range(_EM_ROUNDS):
        bell = np.exp(-0.5 * ((centres - mean) / width) ** 2) / (width * np.sqrt(2 * np.pi)) * (centres[1] - centres[0])
        in_hump = share * bell / (share * bell + (1 - share) / len(centres))
        members = counts * in_hump
        # Outliers keep a share, because a bin far from the hump would otherwise have probability 0.
        share = min(members.sum() / counts.sum(), _MOST_SHARE)
        mean = members @ centres / members.sum()
        width = max(np.sqrt(members @ (centres - mean) ** 2 / members.sum()), centres[1] - centres[0])
    return float(counts @ np.log(share * bell + (1 - share) / len(centres)))

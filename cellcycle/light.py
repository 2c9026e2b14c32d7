"""Estimate uneven light of fields that are read together from the DNA of their nuclei, and correct the DNA for it.

In a dim corner a nucleus seems to have less DNA. Its position says nothing of its phase, so any dependence of DNA on
position, over the nuclei of all fields, is light. The logarithm of light is a quadratic function of position, fitted by
least squares to all sound nuclei, then to those near the peaks of G1 and G2. The background shows uneven light too, but
only if the offset of the camera is known. (BaSiCPy, which uses the background, needs torch.)
"""

from dataclasses import dataclass, replace

import numpy as np

from cellcycle.dna_content import G1Peak, fit_g1_peak
from cellcycle.nuclei import Anchor, Nuclei, fit_anchor, sound_dna

# From this many sound nuclei on, light is estimated well and hardly ever creates a false peak (benchmarks/light.py).
_LEAST_NUCLEI = 80
# Nuclei within this many coefficients of variation of a peak belong to it.
_NEAR = 2.5
# Least gain (`_gain`) in twice the log-likelihood by the narrower peak, after the penalty for five parameters.
_LEAST_GAIN = 10.0


@dataclass(frozen=True)
class Light:
    """Relative light over fields (H, W), geometric mean 1: five `slopes` of its logarithm; CVs of G1, NaN: no peak."""

    slopes: tuple[float, ...]
    shape: tuple[int, int]
    cv_before: float = np.nan
    cv: float = np.nan

    def at(self, centres: np.ndarray) -> np.ndarray:
        """Return the light (N,) at rows and columns (N, 2)."""
        return np.exp(_terms(centres, self.shape) @ self.slopes)

    def taken_out(self, nuclei: Nuclei) -> Nuclei:
        """Return the nuclei with their DNA divided by the light, which becomes the measurement `light`."""
        light = self.at(nuclei.centres)
        even = {name: nuclei.measured[name] / light for name in {"integrated_dna", "mean_dna"} & nuclei.measured.keys()}
        return replace(nuclei, measured=nuclei.measured | even | {"light": light})

    @property
    def note(self) -> str:
        """The correction in words."""
        # The brightest place may be anywhere, so light is evaluated on a grid.
        grid = np.stack(np.meshgrid(*(np.linspace(0, size - 1, 65) for size in self.shape)), axis=-1)
        light = self.at(grid.reshape(-1, 2))
        before = f"{self.cv_before:.3f}" if np.isfinite(self.cv_before) else "no peak"
        told = f"uneven light, {light.min():.2f} to {light.max():.2f} of its mean, is removed from the DNA"
        return f"{told}: coefficient of variation of the G1 peak {before} before, {self.cv:.3f} after"


def fit_in_even_light(nuclei) -> tuple[list[Nuclei], Anchor | None, G1Peak, Light | None]:
    """Fit the G1 peak of a group, the `Nuclei` of its images, corrected for uneven light if that narrows it enough.

    Returned are the corrected nuclei, their anchor and peak as by `fit_anchor`, and the light; without a correction,
    the nuclei as given and None.
    """
    nuclei = list(nuclei)
    anchor, peak = fit_anchor(nuclei)
    light = uneven_light(nuclei)
    if light is not None:
        even = list(map(light.taken_out, nuclei))
        even_anchor, even_peak = fit_anchor(even)
        if even_peak.is_usable and not (peak.is_usable and _gain(peak, even_peak, len(light.slopes)) < _LEAST_GAIN):
            light = replace(light, cv_before=peak.cv if peak.is_usable else np.nan, cv=even_peak.cv)
            return even, even_anchor, even_peak, light
    return nuclei, anchor, peak, None


def _gain(before: G1Peak, after: G1Peak, n_numbers: int) -> float:
    """Return twice the gain in log-likelihood by a narrower peak, less the penalty (BIC) for so many parameters."""
    n_in_peaks = after.n_nuclei * (after.fractions["G1"] + after.fractions["G2"])
    return 2 * n_in_peaks * np.log(before.cv / after.cv) - n_numbers * np.log(after.n_nuclei)


def uneven_light(nuclei: list[Nuclei]) -> Light | None:
    """Return the light of fields of one shape, fitted to their DNA, even if a correction gains nothing; else None."""
    shapes = {own.shape for own in nuclei}
    # Crops lie anywhere in their fields.
    if len(shapes) != 1 or any(own.kind != "field" for own in nuclei):
        return None
    dna, shape = sound_dna(nuclei), *shapes
    terms = np.concatenate([_terms(own.centres[own.is_sound], shape) for own in nuclei])
    is_known = np.isfinite(dna) & (dna > 0)
    if np.count_nonzero(is_known) < _LEAST_NUCLEI:
        return None
    logs, terms = np.log(dna[is_known]), terms[is_known]
    slopes = _least_squares(terms, logs)
    even = logs - terms @ slopes
    peak = fit_g1_peak(np.exp(even))
    if not peak.is_usable:
        return None
    away = even - np.log(peak.position)
    # Distance from the nearer of the peaks G1 and G2.
    away -= np.log(peak.g2_ratio) * (away > np.log(peak.g2_ratio) / 2)
    near = np.abs(away) < _NEAR * peak.cv
    slopes = slopes + _least_squares(terms[near], away[near])
    return Light(tuple(slopes.tolist()), shape)


def _terms(centres: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the linear and quadratic terms (N, 5) of positions in a field, each with mean 0 over the field."""
    y, x = (2 * (centres + 0.5) / shape - 1).T
    return np.column_stack([y, x, y * x, y**2 - 1 / 3, x**2 - 1 / 3])


def _least_squares(terms: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the least-squares coefficients of the terms; the intercept is fitted and dropped."""
    found = np.linalg.lstsq(np.column_stack([terms, np.ones(len(terms))]), values, rcond=None)
    return found[0][:-1]

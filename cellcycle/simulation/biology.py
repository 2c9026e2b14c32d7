"""The hidden state of a cell: its position in the cycle, and the DNA content, area and texture that follow from it."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.special import betainc

from cellcycle.phases import PHASES
from cellcycle.simulation.parameters import SUBPHASES, SimulationParameters


@dataclass(frozen=True)
class Cell:
    """The true state of one cell before an image is taken (areas in um2, DNA content in N)."""

    phase: str
    subphase: str
    cycle_position: float
    progress: float  # 0..1 within the phase, or within the sub-phase of M
    dna_content: float
    replicated: float
    area_um2: float
    aspect_ratio: float
    chromatin_contrast: float
    stain_factor: float
    polar_view: bool
    focus_um: float
    look: str = "usual"  # or "rounded" or "dying" in interphase, "lagging" chromosomes in M

    @property
    def is_rounded(self) -> bool:
        """Whether the nuclear envelope is gone and the cell has rounded up."""
        return self.phase == "M" and self.subphase != "prophase"

    @property
    def is_high(self) -> bool:
        """Whether its DNA is as high along the optical axis as that of a cell in mitosis."""
        return self.is_rounded or self.look in ("rounded", "dying")


@cache
def phase_bounds(parameters: SimulationParameters) -> np.ndarray:
    """Return the beginning of G1, S, G2 and M and the end of M in the cycle, (5,) float from 0 to 1."""
    hours = np.array([parameters.g1_h, parameters.s_h, parameters.g2_h, parameters.m_h])
    return np.concatenate([[0.0], np.cumsum(hours) / hours.sum()])


def age_quantile(u, start: float = 0.0, end: float = 1.0):
    """Return ages of an exponentially growing population, from `start` to `end`, for uniform numbers `u` in [0, 1].

    In such a population newborn cells are twice as frequent as dividing ones: the age a (0 at birth, 1 at
    division) has the density ln(2) * 2**(1 - a) (Powell 1956).

    Examples
    --------
    >>> age_quantile([0.0, 1.0], 0.5, 0.8).round(6).tolist()
    [0.5, 0.8]
    """
    young, old = 2.0**-start, 2.0**-end
    return -np.log2(young - np.asarray(u) * (young - old))


def dna_content(cycle_position, parameters: SimulationParameters):
    """Return the DNA content in N (2 in G1, rising to 4 through S, 4 in G2 and M) at a cycle position."""
    _, start, end, _, _ = phase_bounds(parameters)
    through_s = np.clip((np.asarray(cycle_position) - start) / (end - start), 0, 1)
    return 2.0 + 2.0 * betainc(parameters.replication_shape, parameters.replication_shape, through_s)


def mean_area(cycle_position, parameters: SimulationParameters):
    """Return the median nuclear area in um2 of interphase cells at a cycle position.

    The area grows by the factor 2**`area_growth` from the middle of G1 to the end of G2, after the daughters'
    fast expansion in the first hours of G1.
    """
    a = np.asarray(cycle_position, float)
    bounds = phase_bounds(parameters)
    middle = bounds[1] / 2
    growth = 2.0 ** (parameters.area_growth * (a - middle) / (bounds[3] - middle))
    young = (1 - parameters.daughter_area) * np.exp(-a * parameters.cycle_h / parameters.daughter_growth_h)
    return parameters.g1_area_um2 * growth * (1 - young)


def mean_contrast(cycle_position, parameters: SimulationParameters):
    """Return the median chromatin contrast (spread of log density): constant, then rising through G2."""
    _, _, start, end, _ = phase_bounds(parameters)
    through_g2 = np.clip((np.asarray(cycle_position, float) - start) / (end - start), 0, 1)
    return parameters.chromatin_contrast * (1 + parameters.g2_contrast_gain * through_g2**2)


def subphase_at(through_m: float, parameters: SimulationParameters) -> tuple[str, float]:
    """Return the part of mitosis and the progress within it (0..1) at a point 0..1 of M."""
    minutes = np.array(list(parameters.subphase_min.values()))
    edges = np.concatenate([[0.0], np.cumsum(minutes) / minutes.sum()])
    k = min(int(np.searchsorted(edges, through_m, side="right")) - 1, len(SUBPHASES) - 1)
    return SUBPHASES[k], float((through_m - edges[k]) / (edges[k + 1] - edges[k]))


def spread(rng: np.random.Generator, cv: float, size: int | None = None):
    """Draw one log-normal factor, or `size` of them, with median 1 and the given coefficient of variation."""
    return np.exp(rng.normal(0.0, np.sqrt(np.log1p(cv**2)), size))


def draw_cell(rng: np.random.Generator, parameters: SimulationParameters, phase: str | None = None) -> Cell:
    """Draw one cell of a phase, or of the whole growing population if `phase` is None."""
    bounds = phase_bounds(parameters)
    if phase is None:
        position = float(age_quantile(rng.random()))
        k = min(int(np.searchsorted(bounds, position, side="right")) - 1, 3)
    else:
        k = PHASES.index(phase)
        position = float(age_quantile(rng.random(), bounds[k], bounds[k + 1]))
    phase = subphase = PHASES[k]
    progress = (position - bounds[k]) / (bounds[k + 1] - bounds[k])
    if phase == "M":
        subphase, progress = subphase_at(progress, parameters)
    dna = float(dna_content(position, parameters))
    interphase_position = min(position, float(bounds[3]))
    usual = Cell(
        phase=phase,
        subphase=subphase,
        cycle_position=position,
        progress=float(progress),
        dna_content=dna,
        replicated=(dna - 2.0) / 2.0,
        area_um2=float(mean_area(interphase_position, parameters) * spread(rng, parameters.area_cv)),
        aspect_ratio=max(1.0, float(parameters.aspect_ratio * spread(rng, parameters.aspect_ratio_cv))),
        chromatin_contrast=float(
            mean_contrast(interphase_position, parameters) * spread(rng, parameters.chromatin_contrast_cv)
        ),
        stain_factor=float(spread(rng, parameters.stain_cv)),
        polar_view=bool(rng.random() < parameters.polar_view_fraction),
        focus_um=float(rng.normal(0, parameters.focus_spread_um))
        + (parameters.defocus_um if rng.random() < parameters.defocused_fraction else 0.0),
    )
    return _maybe_unusual(rng, usual, parameters)


def _maybe_unusual(rng, cell: Cell, parameters: SimulationParameters) -> Cell:
    """Return the cell, or with the probabilities of the parameters an unusual one; if 0, no random number is drawn.

    A rounded cell has a small, high nucleus; a dying one has lost part of its DNA (Kerr et al. 1972; sub-G1 in flow
    cytometry, Darzynkiewicz et al. 1997).
    """
    if cell.subphase in ("anaphase", "telophase"):
        is_lagging = parameters.lagging_fraction and rng.random() < parameters.lagging_fraction
        return replace(cell, look="lagging") if is_lagging else cell
    if cell.phase == "M":
        return cell
    if parameters.rounded_fraction and rng.random() < parameters.rounded_fraction:
        area, contrast = cell.area_um2 * rng.uniform(0.45, 0.75), 0.8 * cell.chromatin_contrast
        aspect = 1 + 0.3 * (cell.aspect_ratio - 1)
        return replace(cell, look="rounded", area_um2=area, aspect_ratio=aspect, chromatin_contrast=contrast)
    if parameters.dying_fraction and rng.random() < parameters.dying_fraction:
        return replace(cell, look="dying", stain_factor=cell.stain_factor * rng.uniform(0.4, 1.0))
    return cell


def interphase_reach_um(cell: Cell) -> float:
    """Return the radius in um around the centre that other nuclei must not overlap; dividing cells need more room."""
    reach = float(np.sqrt(cell.area_um2 * cell.aspect_ratio / np.pi))
    return max(reach, 9.0) if cell.subphase in ("anaphase", "telophase") else reach

"""The best possible accuracy of phase calls, from the hidden state of cells seen with staining noise."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cellcycle import metrics
from cellcycle.errors import SettingError, check_choice
from cellcycle.phases import PHASES
from cellcycle.simulation import biology
from cellcycle.simulation.parameters import STUDY_COUNTS, SUBPHASES, SimulationParameters

OBSERVABLES = ("integrated_dna", "area_um2", "chromatin_contrast")
_AGES = 400  # points per phase over which the posterior is averaged
# Exponents of the prior: equal shares (0) are best for balanced accuracy, the population's (1) for accuracy; the best
# for macro F1 lies between.
_POWERS = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Ceiling:
    """Scores of the best classifier of the hidden state, each with the prior that is best for it.

    The recalls of the phases belong to the balanced accuracy, which is their mean.
    """

    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    recall: dict[str, float]


def posterior(
    hidden: pd.DataFrame,
    counts: dict[str, int] = STUDY_COUNTS,
    parameters: SimulationParameters | None = None,
    sees: tuple[str, ...] = OBSERVABLES,
    slide_known: bool = False,
) -> np.ndarray:
    """Return the exact probability of each phase, (N, 4) in phase order, given the observed part of the hidden state.

    `hidden` has rows such as those of `SimulatedNuclei.truth`. Observed are, if `sees` names them, the integrated DNA
    signal (content times the stain uptake of cell and slide), the nuclear area and the chromatin contrast, and always
    whether the cell is in M. With `slide_known` the slide's stain uptake is divided out, which is possible with whole
    slides but not with a single crop. `counts` of the phases are the prior. Given a cell's age, these quantities are
    independent and log-normal, so Bayes' rule only needs an average over the ages of each phase.

    Not included are camera noise, blur and neighbours, which only make an image worse; and the pattern of
    replication in S and a newborn's sister, from which an image could in principle tell a little more.
    """
    parameters = parameters or SimulationParameters()
    for name in sees:
        check_choice("sees", name, OBSERVABLES)
    in_m = hidden["subphase"].isin(SUBPHASES).to_numpy()
    rest, shares = hidden[~in_m], _shares(counts)
    slide = 1.0 if slide_known else rest["slide_factor"]
    seen = {name: rest[name] for name in ("area_um2", "chromatin_contrast")}
    seen["integrated_dna"] = rest["dna_content"] * rest["stain_factor"] * slide
    scores = np.zeros((len(hidden), len(PHASES)))
    scores[in_m, PHASES.index("M")] = 1.0
    for k in range(3):
        distance = np.zeros((len(rest), _AGES))
        known = _log_normals(k, parameters, slide_known)
        for name in sees:
            medians, variance = known[name]
            distance += (np.log(seen[name].to_numpy(float))[:, None] - np.log(medians)) ** 2 / (2 * variance)
        scores[~in_m, k] = shares[k] * np.exp(-distance).mean(1) + 1e-300
    return scores / scores.sum(1, keepdims=True)


def _shares(counts) -> np.ndarray:
    counts = np.array([counts.get(phase, 0) for phase in PHASES], float)
    if counts.sum() <= 0:
        raise SettingError("counts", "no nuclei", "give at least one phase a positive number")
    return counts / counts.sum()


def _log_normals(phase: int, parameters: SimulationParameters, slide_known: bool) -> dict:
    """Return the medians (ages,) of each observable in a phase, and the variance of its logarithm around them."""
    bounds = biology.phase_bounds(parameters)
    ages = biology.age_quantile((np.arange(_AGES) + 0.5) / _AGES, bounds[phase], bounds[phase + 1])
    stain = np.log1p(parameters.stain_cv**2) + (0 if slide_known else np.log1p(parameters.slide_cv**2))
    return {
        "integrated_dna": (biology.dna_content(ages, parameters), stain),
        "area_um2": (biology.mean_area(ages, parameters), np.log1p(parameters.area_cv**2)),
        "chromatin_contrast": (biology.mean_contrast(ages, parameters), np.log1p(parameters.chromatin_contrast_cv**2)),
    }


def draw_hidden(n_per_phase: int, seed: int, parameters: SimulationParameters) -> pd.DataFrame:
    """Draw the hidden state of many cells, `n_per_phase` of each phase, without making images."""
    rng, tables = np.random.default_rng([seed, 15485863]), []
    bounds, n = biology.phase_bounds(parameters), n_per_phase
    for k, phase in enumerate(PHASES):
        age = biology.age_quantile(rng.random(n), bounds[k], bounds[k + 1])
        interphase = np.minimum(age, bounds[3])
        state = {
            "phase": phase,
            "subphase": SUBPHASES[0] if phase == "M" else phase,
            "cycle_position": age,
            "dna_content": biology.dna_content(age, parameters),
            "stain_factor": biology.spread(rng, parameters.stain_cv, n),
            "slide_factor": biology.spread(rng, parameters.slide_cv, n),
            "area_um2": biology.mean_area(interphase, parameters) * biology.spread(rng, parameters.area_cv, n),
            "chromatin_contrast": biology.mean_contrast(interphase, parameters),
        }
        state["chromatin_contrast"] *= biology.spread(rng, parameters.chromatin_contrast_cv, n)
        tables.append(pd.DataFrame(state))
    return pd.concat(tables, ignore_index=True)


def ceiling(
    counts: dict[str, int] = STUDY_COUNTS,
    parameters: SimulationParameters | None = None,
    sees: tuple[str, ...] = OBSERVABLES,
    slide_known: bool = False,
    n_per_phase: int = 4000,
) -> Ceiling:
    """Return the scores of the Bayes classifier of `posterior` on a large simulated population.

    `counts` are its prior and the weights of the phases; 4000 cells per phase give the accuracy to about 0.005.

    Examples
    --------
    >>> best = ceiling(n_per_phase=500)
    >>> 0.7 < best.accuracy < 1 and best.recall["M"] == 1
    True
    """
    parameters = parameters or SimulationParameters()
    hidden = draw_hidden(n_per_phase, 0, parameters)
    shares = _shares(counts)
    evidence = posterior(hidden, dict.fromkeys(PHASES, 1), parameters, sees, slide_known)
    truth = np.repeat(np.arange(len(PHASES)), n_per_phase)

    calls = [(evidence * shares**power).argmax(1) for power in _POWERS]
    # Confusion matrices as fractions of the cells of each phase (rows).
    by_power = [metrics.confusion_matrix(truth, call, len(PHASES)) / n_per_phase for call in calls]
    weighted = [made * shares[:, None] for made in by_power]
    recall = np.diag(by_power[0])
    return Ceiling(
        accuracy=float(metrics.accuracy(weighted[-1])),
        macro_f1=float(max(map(metrics.macro_f1, weighted))),
        balanced_accuracy=float(recall.mean()),
        recall=dict(zip(PHASES, recall.round(12).tolist(), strict=True)),
    )

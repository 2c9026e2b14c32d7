"""How well the phases can be told apart at all, when the hidden state is seen through the staining noise."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cellcycle.errors import SettingError
from cellcycle.phases import PHASES
from cellcycle.simulation.biology import age_quantile, dna_content, mean_area, mean_contrast, phase_bounds
from cellcycle.simulation.parameters import STUDY_COUNTS, SUBPHASES, SimulationParameters

OBSERVABLES = ("integrated_dna", "area_um2", "chromatin_contrast")
_AGES = 400  # points per phase over which the posterior is averaged
# Equal shares (0) are best for balanced accuracy, the population's (1) for accuracy; macro F1 lies between.
_POWERS = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Ceiling:
    """What the best classifier of the hidden state reaches, under the class shares asked for.

    Attributes
    ----------
    accuracy, macro_f1, balanced_accuracy : float in [0, 1]
        Each from the calls that are best for it.
    recall : dict of str to float
        Per phase, from the calls for balanced accuracy, which is their mean.
    confusion : (4, 4) float array
        Of the calls for accuracy. Rows truth, columns call, in phase order; all entries sum to 1.
    """

    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    recall: dict[str, float]
    confusion: np.ndarray


def posterior(
    hidden: pd.DataFrame,
    counts: dict[str, int] = STUDY_COUNTS,
    parameters: SimulationParameters | None = None,
    sees: tuple[str, ...] = OBSERVABLES,
    slide_known: bool = False,
) -> np.ndarray:
    """Return the exact probability of each phase, given what is seen of the hidden state.

    Seen are the integrated DNA signal (content times the stain uptake of cell and slide), the nuclear
    area and the chromatin contrast, as far as `sees` names them, and whether the chromosomes are those
    of mitosis: M is recognised without fail. Given a cell's age these quantities are
    independent and log-normal, so Bayes' rule needs only an average over the ages of each phase.

    Not seen: camera noise, blur and neighbours, which only make an image worse; nor the pattern of
    replication in S and a newborn's sister, from which an image could in principle tell a little more.

    Parameters
    ----------
    hidden : pandas.DataFrame, N rows
        Columns dna_content, stain_factor, slide_factor, area_um2, chromatin_contrast and subphase, such as
        `SimulatedNuclei.truth`.
    counts : dict of str to int
        Nuclei per phase: the prior.
    parameters : SimulationParameters, optional
        Those of the nuclei.
    sees : tuple of str
        Some of `OBSERVABLES`.
    slide_known : bool
        True: the slide's stain uptake has been divided out, as one can do with whole slides and not with
        a single crop.

    Returns
    -------
    (N, 4) float array
        Rows sum to 1, columns in phase order.

    Raises
    ------
    SettingError
        `sees` names something unknown.
    """
    parameters = parameters or SimulationParameters()
    unknown = [name for name in sees if name not in OBSERVABLES]
    if unknown:
        raise SettingError("sees", f"{unknown[0]!r} is unknown", f"use some of {', '.join(OBSERVABLES)}")
    slide = 1.0 if slide_known else hidden["slide_factor"]
    seen = {
        "integrated_dna": hidden["dna_content"] * hidden["stain_factor"] * slide,
        "area_um2": hidden["area_um2"],
        "chromatin_contrast": hidden["chromatin_contrast"],
    }
    log_seen = np.log(np.stack([np.asarray(seen[name], float) for name in sees], 1)) if sees else None
    in_m = hidden["subphase"].isin(SUBPHASES).to_numpy()
    scores = np.zeros((len(hidden), len(PHASES)))
    scores[in_m, PHASES.index("M")] = 1.0
    shares = _shares(counts)
    for k, phase in enumerate(PHASES[:3]):
        likelihood = np.ones((~in_m).sum())
        if sees:
            means, variances = _log_normals(phase, sees, parameters, slide_known)
            distance = (log_seen[~in_m][:, None, :] - means[None]) ** 2 / (2 * variances)
            likelihood = np.exp(-distance.sum(2)).mean(1)
        scores[~in_m, k] = shares[k] * likelihood + 1e-300
    return scores / scores.sum(1, keepdims=True)


def _shares(counts) -> np.ndarray:
    counts = np.array([counts.get(phase, 0) for phase in PHASES], float)
    if counts.sum() <= 0:
        raise SettingError("counts", "no nuclei", "give at least one phase a positive number")
    return counts / counts.sum()


def _log_normals(phase, sees, parameters, slide_known) -> tuple[np.ndarray, np.ndarray]:
    """Means (ages, observables) and variances (observables,) of the logarithms in one phase."""
    k = PHASES.index(phase)
    bounds = phase_bounds(parameters)
    ages = age_quantile((np.arange(_AGES) + 0.5) / _AGES, bounds[k], bounds[k + 1])
    stain = np.log1p(parameters.stain_cv**2) + (0 if slide_known else np.log1p(parameters.slide_cv**2))
    known = {
        "integrated_dna": (dna_content(ages, parameters), stain),
        "area_um2": (mean_area(ages, parameters), np.log1p(parameters.area_cv**2)),
        "chromatin_contrast": (
            mean_contrast(ages, parameters),
            np.log1p(parameters.chromatin_contrast_cv**2),
        ),
    }
    means = np.log(np.stack([known[name][0] for name in sees], 1))
    return means, np.array([known[name][1] for name in sees])


def draw_hidden(n_per_phase: int, seed: int, parameters: SimulationParameters) -> pd.DataFrame:
    """Draw the hidden state of many cells, `n_per_phase` of each phase, without making images."""
    rng, tables = np.random.default_rng([seed, 15485863]), []
    bounds = phase_bounds(parameters)

    def spread(cv):
        return np.exp(rng.normal(0, np.sqrt(np.log1p(cv**2)), n_per_phase))

    for k, phase in enumerate(PHASES):
        age = age_quantile(rng.random(n_per_phase), bounds[k], bounds[k + 1])
        interphase = np.minimum(age, bounds[3])
        tables.append(
            pd.DataFrame(
                {
                    "phase": phase,
                    "subphase": SUBPHASES[0] if phase == "M" else phase,
                    "cycle_position": age,
                    "dna_content": dna_content(age, parameters),
                    "stain_factor": spread(parameters.stain_cv),
                    "slide_factor": spread(parameters.slide_cv),
                    "area_um2": mean_area(interphase, parameters) * spread(parameters.area_cv),
                    "chromatin_contrast": mean_contrast(interphase, parameters)
                    * spread(parameters.chromatin_contrast_cv),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def ceiling(
    counts: dict[str, int] = STUDY_COUNTS,
    parameters: SimulationParameters | None = None,
    sees: tuple[str, ...] = OBSERVABLES,
    slide_known: bool = False,
    n_per_phase: int = 4000,
    seed: int = 0,
) -> Ceiling:
    """Return what the Bayes classifier of the hidden state reaches on a large simulated population.

    Parameters
    ----------
    counts : dict of str to int
        Nuclei per phase: prior of the classifier and weights of the phases in the accuracy.
    parameters, sees, slide_known
        As in `posterior`, which says what is seen and what is not.
    n_per_phase : int
        Cells drawn per phase; 4000 give the accuracy to about 0.005.
    seed : int

    Returns
    -------
    Ceiling

    Examples
    --------
    >>> best = ceiling(n_per_phase=500)
    >>> 0.7 < best.accuracy < 1 and best.recall["M"] == 1
    True
    """
    parameters = parameters or SimulationParameters()
    hidden = draw_hidden(n_per_phase, seed, parameters)
    shares = _shares(counts)
    evidence = posterior(hidden, dict.fromkeys(PHASES, 1), parameters, sees, slide_known)
    truth = np.repeat(np.arange(len(PHASES)), n_per_phase)

    def rates(power: float) -> np.ndarray:
        """Share of each phase's cells (rows) called each phase, under the shares raised to a power."""
        made = np.zeros((len(PHASES), len(PHASES)))
        np.add.at(made, (truth, (evidence * shares**power).argmax(1)), 1 / n_per_phase)
        return made

    def macro_f1(confusion) -> float:
        return float((2 * np.diag(confusion) / np.maximum(confusion.sum(0) + confusion.sum(1), 1e-12)).mean())

    by_power = [rates(power) for power in _POWERS]
    recall, confusion = np.diag(by_power[0]), by_power[-1] * shares[:, None]
    return Ceiling(
        accuracy=float(np.trace(confusion)),
        macro_f1=max(macro_f1(made * shares[:, None]) for made in by_power),
        balanced_accuracy=float(recall.mean()),
        recall=dict(zip(PHASES, recall.round(12).tolist(), strict=True)),
        confusion=confusion,
    )

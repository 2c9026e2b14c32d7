"""The confidence that a checkpoint stores: calibration, sets, costs and strangeness; and how `predict` applies it."""

from dataclasses import dataclass

import numpy as np

from cellcycle.confidence.abstention import cheapest, equal_costs
from cellcycle.confidence.calibration import fit_temperature, held_out, with_temperature, with_weights
from cellcycle.confidence.sets import class_thresholds, prediction_sets, written_sets
from cellcycle.confidence.strangeness import LEAST_P_VALUE, Strangeness, fit_strangeness, shape_features
from cellcycle.errors import CheckpointError

COVERAGE = 0.9
# Asking the expert costs 0.4 of a wrong call, so a call with a probability below 60 % goes to review.
PRICE = 0.4
_MOST_COST = 1e6
# Flags of a whole picture, explained in `cellcycle.predict.reasons`.
BY_MARGIN, BY_FEW, BY_GUESS = "scale_by_margin", "scale_by_few", "scale_by_guess"
# Flags about noise, by which a network judges the brightness of a nucleus: it was clipped; it, or the background, is
# not that of a camera; or pixels are noisier because they are finer, or because they hold little light.
CLIPPED, CHANGED, FINE, NOISY = "clipped_background", "changed_picture", "fine_pixels", "noisy"
SEVERAL = "several_nuclei"
# Flags for which a call should be reviewed.
SPOILT = (
    BY_FEW, BY_GUESS, BY_MARGIN, CHANGED, CLIPPED, FINE, NOISY, SEVERAL, "edge", "clump", "debris", "out_of_focus",
    "saturated", "uneven_ground", "no_g1_peak", "one_dna_peak", "no_nucleus", "other_g1_peak", "same_field",
    "unreadable",
)  # fmt: skip
# Reasons besides flags: the call costs more than asking; nine in ten cells of the called phase had a higher probability
# for it; the measurements are unlike those of the cells of calibration; or so unlike that no phase is called.
UNCERTAIN, UNTYPICAL = "uncertain", "untypical_of_its_phase"
STRANGE, NO_CALL = "unlike_training_cells", "unlike_any_nucleus"


@dataclass(frozen=True)
class Assessment:
    """The confidence of N calls.

    Calibrated `probabilities` (N, K), NaN if no phase is called; `call` (N,), the class of lowest expected cost, and
    its probability `confidence`; `sets`, prediction sets, which contain the call, and `review`, the reasons for a
    review, each joined by ";"; `strangeness` (N,), the fraction of usual nuclei at least as unusual as this one (a
    p-value), NaN if it was not fitted or no measurements were given.
    """

    probabilities: np.ndarray
    call: np.ndarray
    confidence: np.ndarray
    sets: list[str]
    review: list[str]
    strangeness: np.ndarray


@dataclass(frozen=True)
class Confidence:
    """Calibration, set thresholds, costs and strangeness of one model.

    `coverage` is that asked of the prediction sets; `thresholds` (K,) are those of `class_thresholds`; `costs` (K, K)
    have the truth in rows, the call in columns; `price` is that of asking the expert; `fitted_on` describes the cells.
    """

    temperature: float
    coverage: float
    thresholds: tuple
    costs: tuple
    price: float
    strangeness: Strangeness | None
    fitted_on: dict

    def assess(self, probabilities, flags, classes, measurements=None, weights=None) -> Assessment:
        """Calibrate the probabilities (N, K) of a network and say which calls to review; a row of NaN gets no call.

        An object too strange to be a nucleus gets no call; less strangeness moves probabilities towards the `weights`.
        `flags` are quality flags (N,), joined by ";"; `measurements` is a table for `shape_features`; `weights` (K,)
        are prior shares of the classes, which change the calls, but not the coverage of the sets.
        """
        p_values, doubt = np.full(len(probabilities), np.nan), np.zeros(len(probabilities))
        if self.strangeness is not None and measurements is not None:
            features = shape_features(measurements)
            p_values, doubt = self.strangeness.p_values(features), self.strangeness.doubt(features)
        said = with_temperature(probabilities, self.temperature)
        # With growing strangeness all phases become equally likely. The weights are applied afterwards, because shares
        # of the culture stay known; so the result divided by the weights is that without them.
        known = np.where(doubt < 1, 1 - doubt, np.nan)[:, None]
        alike = known * said + (1 - known) / said.shape[1]
        weighed = with_weights(alike, weights)
        decision, is_called = cheapest(weighed, self.costs, self.price), np.isfinite(weighed).all(axis=1)
        sets, rows = prediction_sets(alike, known * np.asarray(self.thresholds)), np.arange(len(said))
        reasons = {
            UNCERTAIN: is_called & decision.ask,
            UNTYPICAL: is_called & ~sets[rows, decision.call],
            STRANGE: is_called & (p_values < LEAST_P_VALUE),
            NO_CALL: np.isfinite(said).all(axis=1) & ~is_called,
        }
        sets[rows, decision.call] |= is_called
        review = [
            ";".join(
                [name for name, is_so in reasons.items() if is_so[i]] + [f for f in text.split(";") if f in SPOILT]
            )
            for i, text in enumerate(flags)
        ]
        chosen = weighed[rows, decision.call]
        return Assessment(weighed, decision.call, chosen, written_sets(sets, classes), review, p_values)

    def to_dict(self) -> dict:
        """Return the entry "confidence" of `model.json`."""
        return {
            "temperature": round(self.temperature, 6),
            "coverage": self.coverage,
            # Rounded slightly down, because many cells with a sure call lie exactly at a threshold.
            "thresholds": [float(f"{t * (1 - 1e-5):.6g}") for t in self.thresholds],
            "costs": np.asarray(self.costs).tolist(),
            "price": self.price,
            "strangeness": None if self.strangeness is None else self.strangeness.to_dict(),
            "fitted_on": self.fitted_on,
        }

    @classmethod
    def from_dict(cls, stored: dict, source="model.json") -> "Confidence":
        """Return the confidence that `to_dict` stored; missing or inconsistent values are a `CheckpointError`."""
        try:
            costs, thresholds = (np.array(stored[name], dtype=float) for name in ("costs", "thresholds"))
            temperature, coverage, price = (float(stored[name]) for name in ("temperature", "coverage", "price"))
            if not 0 < temperature < np.inf or costs.shape != thresholds.shape * 2:
                raise ValueError("temperature, thresholds or costs")
            # These comparisons also refuse NaN, which a null has become.
            if not (_lie(thresholds, 1) and _lie(costs, _MOST_COST) and _lie(price, _MOST_COST) and 0 < coverage <= 1):
                raise ValueError("thresholds, costs, price or coverage")
            if not isinstance(stored["fitted_on"], dict) or not isinstance(stored["fitted_on"]["description"], str):
                raise ValueError("description of what it was fitted on")
            strange = None if stored["strangeness"] is None else Strangeness.from_dict(stored["strangeness"])
            rows = tuple(map(tuple, costs.tolist()))
            return cls(temperature, coverage, tuple(thresholds.tolist()), rows, price, strange, stored["fitted_on"])
        except (KeyError, TypeError, ValueError) as error:
            finding = f"its confidence lacks a usable {error}"
            raise CheckpointError(source, finding, "install the model again") from error


def fit_confidence(probabilities, labels, parts, measurements=None, fitted_on: str = "") -> Confidence:
    """Fit the confidence of a checkpoint on predictions (N, K) for cells on which the network was not trained.

    `parts` (N,) are their slides, microscopes or folds. Without `measurements`, a table for `shape_features`,
    strangeness is not fitted. Every wrong call costs 1. `fitted_on` describes the cells.
    """
    probabilities, labels = held_out(probabilities, labels)
    temperature = fit_temperature(probabilities, labels)
    thresholds = class_thresholds(with_temperature(probabilities, temperature), labels, COVERAGE)
    strangeness = None if measurements is None else fit_strangeness(shape_features(measurements), labels, parts)
    described = {"description": fitted_on, "n": len(labels), "n_parts": len(np.unique(parts))}
    rows = tuple(map(tuple, equal_costs(probabilities.shape[1]).tolist()))
    return Confidence(temperature, COVERAGE, tuple(thresholds.tolist()), rows, PRICE, strangeness, described)


def _lie(numbers, most: float) -> bool:
    return bool(np.all((numbers >= np.float64(0)) & (numbers <= np.float64(most))))

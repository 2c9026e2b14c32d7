"""How far to trust a call: calibrated probabilities, prediction sets, abstention and strangeness. Needs no torch."""

from cellcycle.confidence.abstention import Decision, cheapest, equal_costs
from cellcycle.confidence.assessment import COVERAGE, PRICE, Assessment, Confidence, fit_confidence
from cellcycle.confidence.calibration import fit_temperature, logits_of, softmax, with_temperature, with_weights
from cellcycle.confidence.position import cycle_positions
from cellcycle.confidence.sets import class_thresholds, prediction_sets, written_sets
from cellcycle.confidence.strangeness import (
    LEAST_P_VALUE,
    Strangeness,
    fit_strangeness,
    measured_nuclei,
    shape_features,
)

import contextlib
import shutil
import subprocess
import sys
from dataclasses import replace
from unittest.mock import ANY

import numpy as np
import pandas as pd
import pytest

from cellcycle import confidence, results
from cellcycle.confidence import evaluation, records
from cellcycle.confidence.abstention import cheapest
from cellcycle.confidence.assessment import NO_CALL, STRANGE, UNCERTAIN, UNTYPICAL
from cellcycle.confidence.strangeness import FEATURES, TAILS
from cellcycle.errors import CellCycleError, CheckpointError, DataError, ImageError, SettingError
from cellcycle.phases import PHASES
from cellcycle.predict import predict
from cellcycle.predict.priors import MANY_MITOSES
from cellcycle.simulation import simulate_field


def draw(n=4000, sharpness=1.0, seed=0, n_classes=4):
    """Scores whose true probabilities are softmax(logits); shown are those of `sharpness` times the logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, n_classes))
    true = confidence.softmax(logits)
    labels = (rng.random((n, 1)) > np.cumsum(true, axis=1)).sum(axis=1).clip(0, n_classes - 1)
    return confidence.softmax(sharpness * logits), labels


@pytest.fixture(scope="module")
def nuclei():
    """Measured features of usual nuclei in four slides, with phases."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), 250)
    table = pd.DataFrame(
        {
            "area_um2": np.array([200, 250, 300, 150])[labels] * np.exp(rng.normal(0, 0.15, 1000)),
            "texture": 0.2 * np.exp(rng.normal(0, 0.2, 1000)),
            "eccentricity": rng.uniform(0.3, 0.8, 1000),
            "solidity": 0.96 - rng.uniform(0, 0.04, 1000),
            "edge_width_px": rng.uniform(3, 5, 1000),
            "skewness": rng.normal(0, 0.3, 1000),
        }
    )
    table["area_px"] = table["area_um2"] / 0.25
    return table, labels, np.tile(np.arange(4), 250)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_temperature_undoes_how_much_too_sure_the_scores_are(sharpness):
    scores, labels = draw(sharpness=sharpness)
    temperature = confidence.fit_temperature(scores, labels)
    assert temperature == pytest.approx(sharpness, rel=0.08)
    calibrated = confidence.with_temperature(scores, temperature)
    assert np.array_equal(calibrated.argmax(axis=1), scores.argmax(axis=1))
    assert calibrated.sum(axis=1) == pytest.approx(1)
    if sharpness != 1:
        before, after = (evaluation.calibration_error(s, labels, n_samples=20).value for s in (scores, calibrated))
        assert after < 0.02 < 0.08 < before


def test_calibration_needs_cells():
    with pytest.raises(DataError, match="no cells"):
        confidence.fit_temperature(np.empty((0, 4)), [])


@pytest.mark.parametrize("labels", [[0, 4], [-1, 0], ["G1", "S"], [0.5, 1], [0]])
def test_what_is_no_label_teaches_no_confidence(labels):
    for fit in (confidence.fit_temperature, confidence.class_thresholds):
        with pytest.raises(DataError, match=r"no class|for labels"):
            fit(np.full((2, 4), 0.25), labels)
        with pytest.raises(DataError, match="not finite"):
            fit([[np.nan] * 4, [0.25] * 4], [0, 1])


@pytest.mark.slow
def test_sets_cover_what_was_asked_in_every_class_whatever_the_shares():
    scores, labels = draw(8000, sharpness=2.0)
    thresholds = confidence.class_thresholds(scores[:4000], labels[:4000], 0.9)
    # New cells with other class shares: the promise is for each class.
    rare = np.flatnonzero((np.arange(8000) >= 4000) & ((labels != 0) | (np.arange(8000) % 10 == 0)))
    sets = confidence.prediction_sets(scores[rare], thresholds)
    table = evaluation.coverage_table(sets, labels[rare], PHASES)
    assert (abs(table["coverage"] - 0.9) < 0.05).all()
    assert table.loc["G1", "n"] < 150
    assert table.loc["all", "n"] == len(rare)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:WARNING. your conformalization")
def test_sets_are_those_of_mapie_class_by_class():
    mapie = pytest.importorskip("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Told(ClassifierMixin, BaseEstimator):
        """Gives back the scores that it is asked about."""

        def __init__(self):
            self.classes_, self.is_fitted_ = np.arange(4), True

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            return np.asarray(X)

        def predict(self, X):
            return np.asarray(X).argmax(axis=1)

    scores, labels = draw(800, seed=3)
    known, new = slice(0, 400), slice(400, 800)
    ours = confidence.prediction_sets(scores[new], confidence.class_thresholds(scores[known], labels[known], 0.8))
    for k in range(4):
        own = labels[known] == k
        rival = mapie.SplitConformalClassifier(Told(), confidence_level=0.8, conformity_score="lac")
        rival.conformalize(scores[known][own], labels[known][own])
        _, sets = rival.predict_set(scores[new])
        assert np.array_equal(ours[:, k], sets[:, k, 0])


def test_a_class_with_too_few_cells_joins_every_set():
    scores = np.tile([0.9, 0.1], (30, 1))
    labels = np.r_[np.zeros(22, int), np.ones(8, int)]
    assert confidence.class_thresholds(scores, labels, 0.9)[1] == 0
    assert confidence.class_thresholds(scores, np.r_[np.zeros(21, int), np.ones(9, int)], 0.9)[1] == 0.1
    with pytest.raises(SettingError, match="coverage"):
        confidence.class_thresholds(scores, labels, 1.0)


def test_cross_fitting_never_shows_a_part_its_own_labels():
    scores, labels = draw(600, sharpness=2.0)
    parts = np.arange(600) % 3
    first, first_least, first_found = records.cross_fit(scores, labels, parts)
    # Other labels in one part change every other part, and nothing of its own.
    other = np.where(parts == 1, (labels + 1) % 4, labels)
    second, second_least, second_found = records.cross_fit(scores, other, parts)
    assert np.array_equal(first[parts == 1], second[parts == 1])
    assert np.array_equal(first_least[parts == 1], second_least[parts == 1])
    assert first_found[0] != second_found[0]


def test_decisions_follow_the_costs():
    scores = np.array([[0.7, 0.3], [0.55, 0.45]])
    even = cheapest(scores, price=0.4)
    assert even.call.tolist() == [0, 0]
    assert even.expected_cost == pytest.approx([0.3, 0.45])
    assert even.ask.tolist() == [False, True]
    # To miss class 1 is ten times as bad: then it is called from 9 % on.
    wary = cheapest(scores, costs=[[0, 1], [10, 0]], price=2)
    assert wary.call.tolist() == [1, 1]
    assert not wary.ask.any()
    for options in ({"costs": np.ones((3, 3))}, {"costs": [[0, -1], [1, 0]]}, {"price": -1.0}):
        with pytest.raises(SettingError):
            cheapest(scores, **options)


def test_strangeness_is_a_p_value_and_finds_what_is_unlike(nuclei):
    table, labels, slides = nuclei
    features = confidence.shape_features(table)
    assert features.shape == (1000, len(FEATURES))
    usual = confidence.fit_strangeness(features[slides < 2], labels[slides < 2], slides[slides < 2])
    new = usual.p_values(features[slides >= 2])
    assert abs((new < 0.1).mean() - 0.1) < 0.05
    debris = table.assign(area_um2=8.0, area_px=32.0)
    blurred = table.assign(edge_width_px=40.0)
    unmeasured = table.assign(texture=np.nan)
    for odd in (debris, blurred, unmeasured, table.assign(skewness=4.0)):
        assert usual.p_values(confidence.shape_features(odd)) == pytest.approx(TAILS[-1])
        assert (usual.doubt(confidence.shape_features(odd)) == 1).all() or odd is unmeasured
    # What could not be measured sends to review, but costs no call.
    assert (usual.doubt(confidence.shape_features(unmeasured)) == 0).mean() > 0.97
    assert (usual.doubt(features) == 1).mean() < 0.005
    assert confidence.Strangeness.from_dict(usual.to_dict()) == usual


def test_a_card_of_before_a_feature_was_added_compares_by_those_it_knows(nuclei):
    table, labels, slides = nuclei
    features = confidence.shape_features(table)
    stored = confidence.fit_strangeness(features, labels, slides).to_dict()
    known = {"features": list(FEATURES[:-1]), "means": [row[:-1] for row in stored["means"]]}
    known["covariance"] = [row[:-1] for row in stored["covariance"][:-1]]
    older = confidence.Strangeness.from_dict(stored | known)
    odd = confidence.shape_features(table.assign(skewness=9.0))
    assert np.array_equal(older.distances(odd), older.distances(features))
    for wrong in (["unknown", *FEATURES[1:-1]], ["eccentricity", *FEATURES[1:-1]], []):
        with pytest.raises(ValueError):
            confidence.Strangeness.from_dict(stored | known | {"features": wrong})
    with pytest.raises(DataError, match="1 parts"):
        confidence.fit_strangeness(features, labels, np.zeros(1000))


@pytest.mark.parametrize("n_others", [1, 5, 10, 20])
def test_strangeness_is_not_learned_where_few_nuclei_lie_outside_of_one_part(nuclei, n_others):
    table, labels, _ = nuclei
    features = confidence.shape_features(table)[:200]
    parts = np.arange(200) < n_others
    if n_others < 15:
        with pytest.raises(DataError, match=f" {n_others} of them outside of the largest"):
            confidence.fit_strangeness(features, labels[:200], parts)
        return
    usual = confidence.fit_strangeness(features, labels[:200], parts)
    assert (usual.doubt(confidence.shape_features(table.assign(area_um2=8.0, area_px=32.0))) == 1).all()


def test_strangeness_does_not_depend_on_units(nuclei):
    table, _, _ = nuclei
    finer = table.assign(area_px=table["area_px"] * 4, edge_width_px=table["edge_width_px"] * 2)
    assert np.allclose(confidence.shape_features(table), confidence.shape_features(finer))


def test_an_assessment_says_why_to_look(nuclei):
    table, _, slides = nuclei
    scores, truth = draw(1000)
    fitted = confidence.fit_confidence(scores, labels=truth, parts=slides, measurements=table)
    shown = table.iloc[:4].assign(area_um2=[220, 220, 5, 220], area_px=[880, 880, 20, 880])
    asked = [[0.97, 0.01, 0.01, 0.01], [0.3, 0.3, 0.2, 0.2], [0.97, 0.01, 0.01, 0.01], [np.nan] * 4]
    found = fitted.assess(asked, ["", "edge;scale_unknown", "", "no_g1_peak"], PHASES, shown)
    assert found.review[0] == ""
    assert found.review[1].split(";")[0] == UNCERTAIN
    assert found.review[1].endswith("edge")
    assert (found.review[2], found.sets[2]) == (NO_CALL, "") and np.isnan(found.probabilities[2]).all()
    assert found.review[3] == "no_g1_peak"
    assert found.sets[0] == "G1"
    assert len(found.sets[1].split(";")) >= 2
    assert found.sets[3] == ""
    assert found.confidence[:2] == pytest.approx(found.probabilities[:2].max(axis=1))
    assert np.isnan(found.confidence[2:]).all()


def test_a_call_that_its_own_set_lacks_is_reviewed():
    strict = confidence.Confidence(1.0, 0.9, (0.8, 0.2), ((0, 1), (1, 0)), 0.9, None, {})
    found = strict.assess([[0.7, 0.3], [0.79, 0.21], [0.85, 0.15], [0.1, 0.9]], [""] * 4, ("A", "B"))
    assert found.sets == ["A;B", "A;B", "A", "B"]
    assert found.review == [UNTYPICAL, UNTYPICAL, "", ""]
    stricter = confidence.Confidence(1.0, 0.9, (0.8, 0.8), ((0, 1), (1, 0)), 0.9, None, {})
    found = stricter.assess([[0.7, 0.3]], [""], ("A", "B"))
    assert (found.sets, found.review) == (["A"], [UNTYPICAL])


def test_calls_grow_unsure_and_sets_large_with_strangeness_until_none_is_left(nuclei):
    table, _, slides = nuclei
    scores, truth = draw(1000)
    fitted = confidence.fit_confidence(scores, truth, slides, table)
    steps = table.iloc[[0] * 60].assign(skewness=np.linspace(0, 4, 60))
    found = fitted.assess([[0.97, 0.01, 0.01, 0.01]] * 60, [""] * 60, PHASES, steps)
    is_called = np.isfinite(found.confidence)
    n_called, sizes = is_called.sum(), [len(text.split(";")) if text else 0 for text in found.sets]
    assert 10 < n_called < 50 and is_called[:n_called].all()
    assert (np.diff(found.confidence[:n_called]) <= 0).all() and found.confidence[n_called - 1] < 0.35
    assert (np.diff(sizes[:n_called]) >= 0).all() and (sizes[0], sizes[n_called - 1]) == (1, len(PHASES))
    assert all("G1" in text.split(";") for text in found.sets[:n_called])
    assert found.review[n_called - 1] == f"{UNCERTAIN};{STRANGE}" and set(found.review[n_called:]) == {NO_CALL}


def test_weights_can_be_taken_out_of_the_probabilities_of_strange_nuclei_too(nuclei):
    table, _, slides = nuclei
    fitted = confidence.fit_confidence(*draw(1000), slides, table)
    steps = table.iloc[[0] * 60].assign(skewness=np.linspace(0, 4, 60))
    said, weights = [[0.7, 0.2, 0.09, 0.01]] * 60, np.array([0.32, 0.32, 0.32, 0.04])
    alike, weighed = (fitted.assess(said, [""] * 60, PHASES, steps, w).probabilities for w in (None, weights))
    likely = weighed / weights
    np.testing.assert_allclose(likely / likely.sum(axis=1, keepdims=True), alike, atol=1e-12)
    assert np.ptp(alike[np.isfinite(alike[:, 3]), 3]) > 0.1


def test_the_interval_of_a_coverage_is_over_units_whose_cells_are_alike():
    slides = np.repeat(np.arange(10), 40)
    sets = np.stack([slides < 8, slides >= 8], axis=1)
    alone, by_slide = (evaluation.coverage_table(sets, np.zeros(400, int), "AB", units).loc["all"]
                       for units in (None, slides))  # fmt: skip
    assert alone["coverage"] == by_slide["coverage"] == 0.8
    assert by_slide["high"] - by_slide["low"] > 3 * (alone["high"] - alone["low"])


def test_what_is_stored_comes_back_and_gaps_are_named(nuclei):
    table, _, slides = nuclei
    scores, truth = draw(1000, sharpness=2)
    fitted = confidence.fit_confidence(scores, truth, slides, table, fitted_on="toy")
    again = confidence.Confidence.from_dict(fitted.to_dict())
    first, second = (c.assess(scores, [""] * 1000, PHASES, table) for c in (fitted, again))
    assert np.allclose(first.probabilities, second.probabilities, atol=1e-4)
    assert first.review == second.review
    assert fitted.to_dict()["fitted_on"] == {"description": "toy", "n": 1000, "n_parts": 4}
    whole = fitted.to_dict()
    broken = [{k: v for k, v in whole.items() if k != "thresholds"}]
    broken += [
        whole | {name: value} for name in ("temperature", "thresholds", "costs") for value in (None, "x", [], -1)
    ]
    broken += [whole | {"costs": [[0.0]]}, whole | {"strangeness": {"means": []}}, whole | {"strangeness": [1]}]
    beyond = {"thresholds": [0.1, 0.1, 0.1, 2.0], "price": -1, "coverage": 0.0, "costs": [[np.nan] * 4] * 4}
    broken += [whole | {name: value} for name, value in beyond.items()]
    n_features = len(whole["strangeness"]["features"])
    broken += [whole | {"strangeness": whole["strangeness"] | {"covariance": covariance}}
               for covariance in ([[1.0]], (-np.eye(n_features)).tolist())]  # fmt: skip
    broken += [[], None, "text"]
    for stored in broken:
        with pytest.raises(CheckpointError, match="its confidence lacks a usable") as error:
            confidence.Confidence.from_dict(stored)
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("n_wrong", range(1, 11))
def test_what_a_network_is_surest_of_is_typical_also_when_its_thresholds_were_stored(n_wrong):
    truth = np.arange(400) % 4
    scores = np.eye(4)[np.where(np.arange(400) < n_wrong, (truth + 1) % 4, truth)]
    scores[:n_wrong] = 0.1 + 0.6 * scores[:n_wrong]
    fitted = confidence.fit_confidence(scores, truth, np.zeros(400))
    # All cells but a few stand exactly at the threshold of their class.
    again = confidence.Confidence.from_dict(fitted.to_dict())
    assert again.assess(np.eye(4), [""] * 4, PHASES).review == [""] * 4
    assert np.allclose(again.thresholds, fitted.thresholds, rtol=2e-5)


def test_positions_run_through_the_cycle_and_follow_the_dna():
    sure = confidence.cycle_positions(np.eye(4))
    assert sure["position"].is_monotonic_increasing
    assert sure["replicated"].iloc[[0, 2, 3]].tolist() == [0, 1, 1]
    assert ((sure["position_low"] < sure["position"]) & (sure["position"] < sure["position_high"])).all()
    in_s = np.tile([0, 1.0, 0, 0], (3, 1))
    copied = confidence.cycle_positions(in_s, [2.1, 3.0, np.nan], dna_cv=0.05)
    assert copied["replicated"].iloc[0] < 0.2 < 0.35 < copied["replicated"].iloc[1] < 0.6
    wide = copied["position_high"] - copied["position_low"]
    assert wide.iloc[2] > 2 * wide.iloc[1]
    assert confidence.cycle_positions([[np.nan] * 4]).isna().all(axis=None)
    # A speck beside a bright nucleus may have no DNA at all.
    assert confidence.cycle_positions([[0, 1, 0, 0]], [0.0]).equals(confidence.cycle_positions([[0, 1, 0, 0]]))
    with pytest.raises(CellCycleError, match="probabilities of G1"):
        confidence.cycle_positions([[0.5, 0.5]])


def test_position_intervals_hold_the_truth_of_simulated_cells():
    from cellcycle.simulation import SimulationParameters, posterior
    from cellcycle.simulation.limits import draw_hidden

    hidden = draw_hidden(150, 5, SimulationParameters())
    scores = posterior(hidden, dict.fromkeys(PHASES, 1), slide_known=True)
    dna = hidden["dna_content"] * hidden["stain_factor"]
    found = confidence.cycle_positions(scores, dna, dna_cv=0.11)
    truth = hidden["cycle_position"]
    held = (found["position_low"] <= truth) & (truth <= found["position_high"])
    assert held.mean() > 0.85
    assert np.corrcoef(found["position"], truth)[0, 1] > 0.9


def no_nuclei(labels) -> dict[str, np.ndarray]:
    """Return pictures (H, W) in [0, 1] that hold no stained nucleus; some have its outlines, (H, W) of int."""
    from scipy.ndimage import binary_erosion, gaussian_filter

    rng = np.random.default_rng(0)
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]]
    dots = np.zeros(labels.shape)
    dots[rng.integers(5, 315, 1200), rng.integers(5, 315, 1200)] = 1
    inside = binary_erosion(labels > 0, iterations=3)
    foci = gaussian_filter(np.where(inside, rng.random(labels.shape) < 0.006, 0.0), 1.2)
    body = gaussian_filter((labels > 0).astype(float), 1.5)
    made = {
        "dots of single pixels": dots,
        "chessboard": 0.1 + 0.8 * ((y // 20 + x // 20) % 2),
        "squares": 0.05 + 0.7 * ((y % 45 > 12) & (x % 45 > 12)) + rng.normal(0, 0.002, labels.shape),
        "triangles": np.where(y % 50 < 30, x % 50 < y % 50, 0) * 0.7,
        "label image": labels / labels.max(),
        "mask": (labels > 0).astype(float),
        "foci in nuclei": 0.02 + 0.1 * body + 0.8 * foci / foci.max() + rng.normal(0, 0.003, labels.shape),
    }
    return {name: np.clip(picture, 0, 1).astype(np.float32) for name, picture in made.items()}


@pytest.mark.slow
def test_what_is_no_nucleus_gets_no_phase_and_nuclei_keep_theirs():
    field = simulate_field((320, 320), 30, seed=5)
    true = predict(field.image.astype(np.float32), kind="field")
    assert len(true) > 15 and (true["call"] != "").all() and true["confidence"].notna().all()
    for name, picture in no_nuclei(field.labels).items():
        try:
            table = predict(picture, kind="field")
        except ImageError as error:
            assert "it is a mask" in str(error) and name in {"chessboard", "label image", "mask", "triangles"}
            continue
        called = table["call"] != ""
        assert called.mean() <= 0.1, name
        assert table["confidence"][~called].isna().all() and (table["prediction_set"][~called] == "").all()
        assert table["review"][~called].str.contains(f"{NO_CALL}|no_nucleus|{MANY_MITOSES}").all()


@pytest.mark.slow
@pytest.mark.realdata
def test_few_real_nuclei_are_left_without_a_phase(real_data):
    crops = [*sorted(real_data.glob("mitocheck/*/*.png"))[::8], *sorted(real_data.glob("jurkat/*/*.tif"))[::50]]
    table = predict(crops, kind="nucleus")
    assert (table["call"] == "").mean() < 0.02


def test_equally_sure_cells_are_looked_at_in_no_order():
    sure, right = np.array([1.0, 1.0, 1.0, 1.0, 0.5]), np.array([False, True, True, True, False])
    for order in ([0, 1, 2, 3, 4], [3, 2, 1, 0, 4]):
        # Of the four surest one more is looked at, the wrong one in one of four orders.
        caught = evaluation.errors_caught(sure[order], right[order], 0.4)
        assert caught.value == pytest.approx((1 + 1 / 4) / 2)
        risk = evaluation.risk_coverage(sure[order], right[order])["risk"]
        np.testing.assert_allclose(risk, [1 / 4, 1 / 4, 1 / 4, 1 / 4, 2 / 5])
    assert np.isnan(evaluation.errors_caught(sure, np.ones(5, dtype=bool)).value)
    # That the only error is among them says little of others.
    caught = evaluation.errors_caught([0.5, 0.9, 0.9, 0.9, 0.9], [False, True, True, True, True])
    assert (caught.value, caught.high) == (1, 1) and caught.low < 0.3


def test_evaluation_of_perfect_and_useless_confidence():
    scores, labels = draw(3000)
    right = scores.argmax(axis=1) == labels
    sure = np.where(right, 0.9, 0.1)
    caught = evaluation.errors_caught(sure, right, share=(~right).mean())
    assert caught.value == pytest.approx(1)
    assert abs(evaluation.errors_caught(np.arange(3000) % 7, right, 0.2).value - 0.2) < 0.05
    curve = evaluation.risk_coverage(scores.max(axis=1), right)
    assert curve["risk"].iloc[-1] == pytest.approx((~right).mean())
    assert curve["risk"].iloc[299] < curve["risk"].iloc[-1] / 2
    table = evaluation.reliability(scores, labels)
    assert table["n"].sum() == 3000
    assert ((table["low"] <= table["accuracy"]) & (table["accuracy"] <= table["high"])).all()
    error = evaluation.calibration_error(scores, labels, n_samples=50)
    assert error.value < 2 * evaluation.calibration_error_by_chance(scores)
    assert error.low <= error.high


def test_an_error_of_calibration_that_chance_may_have_made_may_be_none():
    rng, lows = np.random.default_rng(4), []
    for _ in range(40):
        scores = rng.dirichlet(np.ones(4), 300)
        labels = np.array([rng.choice(4, p=row) for row in scores])
        lows.append(evaluation.calibration_error(scores, labels, n_samples=100).low)
    # By the bootstrap alone about half of them.
    assert np.mean(np.array(lows) == 0) > 0.9
    sharper = scores**3 / (scores**3).sum(axis=1, keepdims=True)
    assert evaluation.calibration_error(sharper, labels, n_samples=100).low > 0.05


def test_calibration_error_of_known_cases():
    scores, labels = np.tile([0.8, 0.2], (1000, 1)), np.r_[np.zeros(600, int), np.ones(400, int)]
    assert evaluation.calibration_error(scores, labels, n_samples=2).value == pytest.approx(0.2)
    # Of other slides one says nothing.
    found = evaluation.calibration_error(scores, labels, np.zeros(len(labels)), n_samples=2)
    assert np.isnan([found.low, found.high]).all()


def test_judging_calls_needs_neither_torch_nor_scikit_learn():
    code = (
        "import sys, cellcycle.confidence as c; c.Confidence(1., .9, (.5, .5), ((0, 1), (1, 0)), .4, None, {})"
        ".assess([[.7, .3]], [''], ('A', 'B')); sys.exit(any(m in sys.modules for m in ('torch', 'sklearn', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def make_record(root, n=400, n_folds=4, n_repeats=1):
    """Too sure by a factor of 2."""
    tables = []
    for repeat in range(n_repeats):
        scores, labels = draw(n, sharpness=2.0, seed=repeat)
        names, truth = [f"cell{i}" for i in range(n)], np.array(PHASES)[labels]
        table = results.prediction_table(names, None, truth, scores, PHASES, repeat)
        tables.append(table.assign(fold=np.arange(n) % n_folds))
    data = {"name": "toy", "origin": "simulated", "identity": f"toy{n_repeats}", "classes": list(PHASES), "counts": []}
    return results.write_run(
        root, {"model": "toy", "n_folds": n_folds, "n_repeats": n_repeats}, data, pd.concat(tables)
    )


def test_a_record_is_judged_fold_by_fold_and_repeat_by_repeat(tmp_path):
    judged = records.judge(make_record(tmp_path, n_repeats=2))
    assert judged.probabilities.shape == judged.sets.shape == (800, 4)
    assert judged.temperature == pytest.approx(2, rel=0.25)
    alone = records.judge(make_record(tmp_path))
    # The second repeat teaches the first one nothing.
    assert np.array_equal(judged.probabilities[:400], alone.probabilities)
    row = records.calibration_row(alone)
    assert row["ece_after"] < row["ece_before"]
    assert row["ece_before_low"] <= row["ece_before"] <= row["ece_before_high"]
    assert row["errors_caught"] > 0.25
    assert "[" in records.show_calibration({"toy": alone}).loc["toy", "after"]


def test_the_review_queue_begins_with_the_least_sure_cell(tmp_path):
    judged = records.judge(make_record(tmp_path))
    queue = records.review_queue(judged, 5)
    assert queue["confidence"].is_monotonic_increasing
    assert queue["confidence"].iloc[0] == judged.sure.min()
    assert (queue["prediction_set"].str.count(";") >= 1).all()
    assert queue["sample_id"].is_unique


@pytest.fixture(scope="module")
def calibrated_model(tmp_path_factory):
    """A copy of a shipped model with a confidence fitted on a few simulated nuclei."""
    from cellcycle.checkpoint import shipped_dir
    from cellcycle.study.shipped.scoring import calibrate, slides_of

    folder = tmp_path_factory.mktemp("models") / "lr"
    shutil.copytree(shipped_dir() / "lr", folder)
    slides = slides_of("toy", 2, 700, dict.fromkeys(PHASES, 5))
    return calibrate(folder, slides), slides


@pytest.mark.slow
def test_prediction_applies_what_the_checkpoint_stores(calibrated_model):
    from cellcycle.images import Plane
    from cellcycle.predict import Predictor

    checkpoint, slides = calibrated_model
    assert checkpoint.confidence.fitted_on["n"] > 30
    without = replace(checkpoint, card={k: v for k, v in checkpoint.card.items() if k != "confidence"})
    for image, nuclei in list(zip(slides[0].dataset.images, slides[0].nuclei, strict=True))[:6]:
        plane = Plane(image[0], 16, slides[0].dataset.pixel_size_um, "crop")
        found, raw = (Predictor(model).call(plane, nuclei).table.iloc[0] for model in (checkpoint, without))
        names = [f"p_{c}" for c in PHASES]
        expected = confidence.with_temperature([raw[names].to_numpy(float)], checkpoint.confidence.temperature)[0]
        assert np.allclose(found[names].to_numpy(float), expected)
        assert found["call"] == raw["call"]
        assert found["confidence"] == found[f"p_{found['call']}"]
        in_set = [c for c, t in zip(PHASES, checkpoint.confidence.thresholds, strict=True) if found[f"p_{c}"] >= t]
        assert found["prediction_set"] == ";".join(in_set)
        assert np.isnan(raw["confidence"])
        assert raw["prediction_set"] == ""


@pytest.mark.slow
def test_a_shipped_model_is_scored_into_its_card(calibrated_model, tmp_path, monkeypatch):
    from cellcycle.predict import Predictor, Settings
    from cellcycle.study.shipped import fields, flips
    from cellcycle.study.shipped.fields import found_fields
    from cellcycle.study.shipped.flips import CHANGES, field_variants
    from cellcycle.study.shipped.scoring import HeldOut, score_checkpoint

    for module, side, n in ((fields, 600, 120), (flips, 320, 38)):
        monkeypatch.setattr(module, "FIELD_PX", side)
        monkeypatch.setattr(module, "N_NUCLEI", n)
    checkpoint, slides = calibrated_model
    folder, finder = shutil.copytree(checkpoint.folder, tmp_path / "lr"), Predictor(checkpoint, Settings("field"))
    tests = [HeldOut("simulated", "a slide", (slides[0],)), HeldOut("slides", "two slides", tuple(slides))]
    made = score_checkpoint(
        folder, tests, field_variants(finder.find, 1), found_fields(finder, 1), tmp_path / "records"
    )
    scores, changed = made.card["scores"], made.card["flip_rates"]
    assert {name: entry["n"] for name, entry in scores.items()} == {"simulated": 20, "slides": 40, "fields": ANY}
    assert scores["fields"]["n"] <= scores["fields"]["n_found"] <= scores["fields"]["n_nuclei"]
    assert {entry["record"] for entry in scores.values()} == {f.name for f in (tmp_path / "records").iterdir()}
    for entry in scores.values():
        assert entry["balanced_accuracy"]["low"] <= entry["balanced_accuracy"]["value"] <= 1
        assert 0 <= entry["calibration_error"]["value"] <= 1
        assert "all" in entry["coverage"]
    assert set(changed) == {"fields", "simulated"}
    assert all(0 <= found[change] <= 0.5 for found in changed.values() for change in CHANGES)


@pytest.mark.slow
def test_command_and_api_give_the_same_confidence(calibrated_model, tmp_path, monkeypatch, capsys):
    from cellcycle import cli
    from cellcycle.images import write_image

    checkpoint, slides = calibrated_model
    image, table = tmp_path / "cell.tif", tmp_path / "rows.csv"
    pixels = np.round(slides[0].dataset.images[0, 0] * 65535).astype(np.uint16)
    write_image(image, pixels, slides[0].dataset.pixel_size_um)
    command = ["predict", str(image), "--model", str(checkpoint.folder), "--nucleus", "--output", str(table)]
    monkeypatch.setattr("sys.argv", ["cellcycle", *command])
    with contextlib.suppress(SystemExit):
        cli.main()
    told = pd.read_csv(table, keep_default_na=False)
    own = predict(image, checkpoint.folder, kind="nucleus")
    for name in ("prediction_set", "review"):
        assert told[name].tolist() == own[name].tolist()
    # A file holds four digits.
    for name in ("p_G1", "confidence"):
        assert told[name].tolist() == pytest.approx(own[name].tolist(), abs=5e-4)
    assert "Predicted Phase" in capsys.readouterr().out
    trust = ["confidence", "prediction_set", "review", "model", "model_reason", "version", "prior", "error"]
    assert [name for name in own.columns if name in trust] == trust


@pytest.mark.slow
def test_figures_show_what_was_measured(tmp_path):
    from cellcycle import plots

    judged = records.judge(make_record(tmp_path))
    figure = plots.reliability({"calibrated": evaluation.reliability(judged.probabilities, judged.record.labels)})
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["means what it says", "calibrated"]
    figure = plots.coverage({"toy": judged.coverage}, 0.9)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["all", *PHASES]
    bars = plots.set_sizes(judged.sets, judged.record.labels, PHASES).axes[0].patches
    assert sum(bar.get_width() for bar in bars) == pytest.approx(4)
    curve = plots.risk_coverage({"toy": evaluation.risk_coverage(judged.sure, judged.right)}).axes[0].lines[0]
    assert curve.get_ydata()[-1] == pytest.approx((~judged.right).mean())
    found = confidence.cycle_positions(judged.probabilities)
    dots = plots.positions(found, np.linspace(0, 1, 400), judged.record.labels, PHASES).axes[0].collections[1:]
    assert sum(len(d.get_offsets()) for d in dots) == 400


def test_the_picture_queue_shows_every_cell_with_its_set(tmp_path, blobs):
    from cellcycle import plots
    from cellcycle.datasets import NucleusDataset

    images, labels = blobs
    names = np.array([f"cell{i}" for i in range(len(labels))])
    dataset = NucleusDataset("toy", images, labels, PHASES, names, "toy", "simulated")
    queue = pd.DataFrame(
        {"sample_id": names[:3], "prediction_set": ["G1;S", "", "S;G2"], "call": "S", "confidence": 0.4}
    )
    titles = [ax.get_title() for ax in plots.review_queue(dataset, queue).axes]
    assert titles[:2] == ["G1 or S\nS 0.40", "no phase\nS 0.40"]

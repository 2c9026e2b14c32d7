import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from cellcycle import metrics
from cellcycle.confidence import with_weights
from cellcycle.errors import SettingError


@pytest.fixture
def calls():
    rng = np.random.default_rng(3)
    labels = rng.choice(4, 300, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(300) < 0.6, labels, rng.integers(0, 4, 300))
    return labels, predicted


def test_scores_agree_with_scikit_learn(calls):
    labels, predicted = calls
    matrix = metrics.confusion_matrix(labels, predicted, 4)
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(labels, predicted))
    assert metrics.accuracy(matrix) == pytest.approx(sk.accuracy_score(labels, predicted))
    assert metrics.macro_f1(matrix) == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert metrics.balanced_accuracy(matrix) == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    np.testing.assert_allclose(metrics.recall(matrix), sk.recall_score(labels, predicted, average=None))
    np.testing.assert_allclose(metrics.precision(matrix), sk.precision_score(labels, predicted, average=None))


def test_a_class_never_called_has_zero_precision_and_f1():
    matrix = metrics.confusion_matrix([0, 0, 1], [0, 0, 0], 2)
    assert metrics.precision(matrix)[1] == 0
    assert metrics.macro_f1(matrix) == pytest.approx((0.8 + 0) / 2)


def test_absent_class_does_not_count_in_means():
    matrix = metrics.confusion_matrix([0, 0, 1], [0, 1, 1], 3)
    assert metrics.balanced_accuracy(matrix) == pytest.approx(0.75)
    assert np.isfinite(metrics.macro_f1(matrix))


def test_bootstrap_matrices_keep_the_number_of_units(calls):
    labels, predicted = calls
    samples = metrics.bootstrap_matrices(labels, predicted, 4, n_samples=50)
    np.testing.assert_array_equal(samples.sum(axis=(1, 2)), 300)
    assert samples.std(axis=0).max() > 0


def test_bootstrap_draws_all_rows_of_a_unit_together():
    samples = metrics.bootstrap_matrices([0, 0, 1, 1], [0, 0, 1, 0], 2, units=["a", "a", "b", "b"], n_samples=200)
    assert (samples[:, 0, 0] % 2 == 0).all()
    np.testing.assert_array_equal(samples[:, 1, 0], samples[:, 1, 1])


def test_interval_holds_the_value_and_narrows_with_more_images(calls):
    labels, predicted = calls
    few = metrics.estimate(metrics.accuracy, labels[:60], predicted[:60], 4)
    many = metrics.estimate(metrics.accuracy, np.tile(labels, 10), np.tile(predicted, 10), 4)
    assert few.low <= few.value <= few.high
    assert many.high - many.low < few.high - few.low


def test_paired_difference_is_tighter_than_two_separate_intervals(calls):
    labels, predicted = calls
    other = predicted.copy()
    other[:10] = labels[:10]
    paired = metrics.estimate(metrics.accuracy, labels, other, 4, minus=predicted)
    single = metrics.estimate(metrics.accuracy, labels, predicted, 4)
    assert paired.value > 0
    assert paired.high - paired.low < single.high - single.low


def test_same_classifier_differs_by_nothing(calls):
    labels, predicted = calls
    assert metrics.estimate(metrics.macro_f1, labels, predicted, 4, minus=predicted) == metrics.Estimate(0, 0, 0)


def test_a_difference_in_per_cent_is_written_as_asked():
    assert f"{metrics.Estimate(0.1, 0.00001, 0.2):+.1%}" == "+10.0% [+0.0%, +20.0%]"


def test_a_decided_difference_shows_on_which_side_of_0_it_lies():
    shown = {
        (0.012, 0.003, 0.021): "+0.012 [+0.003, +0.021]",
        (-0.004, -0.009, -0.0004): "-0.0040 [-0.0090, -0.0004]",
        (0.012, 0.0, 0.021): "+0.01 [+0.00, +0.02]",
        (0.012, -0.001, 0.021): "+0.01 [-0.00, +0.02]",
        (0.1, 0.05, 0.2): "+0.10 [+0.05, +0.20]",
        (0.1, np.nan, np.nan): "+0.10 [-]",
    }
    assert [f"{metrics.Estimate(*numbers):+.2f}" for numbers in shown] == list(shown.values())
    assert str(metrics.Estimate(0.01, 0.003, 0.02)) == "0.01 [0.00, 0.02]"


def test_intervals_draw_whole_units():
    # Ten slides, each all right or all wrong: the interval must be that of ten, not of a thousand.
    right = np.repeat([1.0, 0.0] * 5, 100)
    by_row = metrics.bootstrap(lambda w: np.average(right, weights=w), 1000)
    by_slide = metrics.bootstrap(lambda w: np.average(right, weights=w), 1000, np.repeat(np.arange(10), 100))
    assert by_slide.high - by_slide.low > 5 * (by_row.high - by_row.low)


def test_weights_and_matrices_are_drawn_alike(calls):
    labels, predicted = calls
    units, right = np.arange(300) // 4, labels == predicted
    options = {"units": units, "n_samples": 200, "seed": 5}
    by_weight = metrics.bootstrap(lambda w: np.average(right, weights=w), 300, **options)
    by_matrix = metrics.estimate(metrics.accuracy, labels, predicted, 4, **options)
    assert (by_weight.value, by_weight.low, by_weight.high) == pytest.approx(
        (by_matrix.value, by_matrix.low, by_matrix.high)
    )


SHARES = np.array([0.6, 0.3, 0.1])


@pytest.fixture
def told_apart():
    """Probabilities (6000, 3) of a classifier under SHARES, exact, and their labels."""
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 6000, p=SHARES)
    seen = rng.normal(labels, 0.8)
    odds = SHARES * np.exp(-((seen[:, None] - np.arange(3)) ** 2) / (2 * 0.8**2))
    return odds / odds.sum(axis=1, keepdims=True), labels


def test_a_call_fits_its_score_whatever_the_shares_of_training(told_apart):
    probabilities, labels = told_apart
    balanced = probabilities / SHARES
    balanced /= balanced.sum(axis=1, keepdims=True)
    parts = np.arange(6000) % 5
    reached = {}
    for score in metrics.SCORES:
        a = metrics.call(probabilities, score, SHARES, SHARES, labels, parts)
        b = metrics.call(balanced, score, np.full(3, 1 / 3), SHARES, labels, parts)
        np.testing.assert_array_equal(a, b)
        reached[score] = {s: f(metrics.confusion_matrix(labels, a, 3)) for s, f in metrics.SCORES.items()}
    assert reached["accuracy"]["accuracy"] == max(r["accuracy"] for r in reached.values())
    assert reached["balanced_accuracy"]["balanced_accuracy"] == max(r["balanced_accuracy"] for r in reached.values())
    assert reached["macro_f1"]["macro_f1"] >= max(r["macro_f1"] for r in reached.values()) - 0.01


def test_a_class_that_was_not_trained_on_is_not_called():
    shares, labels = [0.6, 0.4, 0.0], [0, 1, 0, 1]
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]] * 2)
    for score in metrics.SCORES:
        called = metrics.call(probabilities, score, shares, shares, labels, [0, 0, 1, 1])
        assert called.tolist() == labels


def test_the_power_of_macro_f1_is_the_middle_of_those_that_the_other_parts_do_not_tell_apart():
    even = np.array([[8, 2], [2, 8]])
    parts = np.array([[even + k] * 11 for k in range(4)])
    assert metrics._middle_power(parts, metrics.macro_f1) == 5
    # A tiny lead of one part is luck, one of every part is not.
    parts[0, 0] = [[9, 1], [2, 8]]
    assert metrics._middle_power(parts, metrics.macro_f1) == 5
    parts[:, 2] = [[9, 1], [1, 9]]
    assert metrics._middle_power(parts, metrics.macro_f1) == 2


def test_no_image_helps_to_choose_its_own_call(told_apart):
    probabilities, labels = told_apart
    parts = np.arange(6000) % 2
    other = labels.copy()
    other[parts == 0] = np.random.default_rng(1).permutation(other[parts == 0])
    a, b = (metrics.call(probabilities, "macro_f1", SHARES, SHARES, y, parts) for y in (labels, other))
    np.testing.assert_array_equal(a[parts == 0], b[parts == 0])


def test_a_class_without_images_has_no_interval():
    found = metrics.estimate(lambda m: metrics.recall(m)[..., 2], [0, 1, 1], [0, 1, 0], 3)
    assert np.isnan([found.value, found.low, found.high]).all()


def drawn_calls(rng, n_seeds, luck, n_slides=20, n_each=25):
    """Return labels, calls, slides and trainings of a model whose hits depend on slide, training and nucleus."""
    labels = rng.choice(4, (n_slides, n_each), p=[0.5, 0.35, 0.1, 0.05])
    slides = np.broadcast_to(np.arange(n_slides)[:, None], labels.shape)
    hard = rng.normal(0, 0.4, (n_slides, 1)) + rng.normal(0, 1, labels.shape)
    rows = []
    for seed in range(n_seeds):
        fold = rng.permutation(np.arange(n_slides) % (5 if n_slides == 20 else 4000))
        skill = rng.normal(0.8, luck, fold.max() + 1)[fold][:, None]
        calls = np.where(skill + hard + rng.normal(0, 0.5, labels.shape) > 0, labels, (labels + 1) % 4)
        rows.append((labels, calls, slides, np.broadcast_to(seed * 5 + fold[:, None], labels.shape)))
    return [np.concatenate(part, axis=None) for part in zip(*rows, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(("n_seeds", "luck"), [(1, 0.3), (3, 0.0), (3, 0.6)])
def test_an_interval_of_95_percent_holds_the_truth_19_times_of_20(n_seeds, luck):
    rng = np.random.default_rng(2)
    truth = {}
    labels, calls, *_ = drawn_calls(rng, 1, luck, n_slides=8000)
    for name, score in metrics.SCORES.items():
        truth[name] = score(metrics.confusion_matrix(labels, calls, 4))
    n, held, held_by_slides = 200, dict.fromkeys(truth, 0), 0
    for _ in range(n):
        labels, calls, slides, trainings = drawn_calls(rng, n_seeds, luck)
        options = {"units": slides, "n_samples": 200}
        for name, score in metrics.SCORES.items():
            found = metrics.estimate(score, labels, calls, 4, trainings=trainings, **options)
            held[name] += found.low <= truth[name] <= found.high
        alone = metrics.estimate(metrics.accuracy, labels, calls, 4, **options)
        held_by_slides += alone.low <= truth["accuracy"] <= alone.high
    assert all(0.91 <= h / n <= 0.995 for h in held.values()), held
    if luck == 0.6:
        assert held_by_slides / n < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("n_slides", [3, 5])
def test_an_interval_over_a_few_slides_holds_the_truth_as_often(n_slides):
    rng = np.random.default_rng(3)
    labels, calls, *_ = drawn_calls(rng, 1, 0, n_slides=8000)
    truth, n, held = metrics.accuracy(metrics.confusion_matrix(labels, calls, 4)), 300, 0
    for _ in range(n):
        labels, calls, slides, _ = drawn_calls(rng, 1, 0, n_slides)
        found = metrics.estimate(metrics.accuracy, labels, calls, 4, slides, n_samples=300)
        held += found.low <= truth <= found.high
    # Percentiles of the samples hold it in 72 and 82 of 100.
    assert 0.9 <= held / n <= 0.98


def test_one_slide_says_nothing_of_others():
    found = metrics.estimate(metrics.accuracy, [0, 1, 1], [0, 1, 0], 2, units=["a", "a", "a"])
    assert found.value == pytest.approx(2 / 3) and np.isnan([found.low, found.high]).all()
    # Two say little; a share ends at 0 and 1.
    found = metrics.estimate(metrics.accuracy, [0, 1, 1], [0, 1, 0], 2, units=["a", "a", "b"])
    assert (found.low, found.high) == (0, 1)
    less = metrics.estimate(metrics.accuracy, [0, 1, 1], [0, 1, 0], 2, ["a", "a", "b"], minus=[1, 0, 1])
    assert -1 <= less.low < 0 and less.high == 1
    # Several trainings say nothing of other slides, either.
    found = metrics.estimate(metrics.accuracy, [0, 1, 1], [0, 1, 0], 2, ["a", "a", "a"], trainings=[0, 1, 2])
    assert np.isnan([found.low, found.high]).all() and str(found) == "0.67 [-]"
    assert str(metrics.Estimate(np.nan, np.nan, np.nan)) == "- [-]"


@pytest.mark.parametrize(("labels", "calls"), [([0, 0], [5, 1]), ([0, 0], [-1, 1]), ([0, 0], [0.5, 1]), ([0, 1], [1])])
def test_calls_that_are_of_no_class_or_no_image_are_refused(labels, calls):
    with pytest.raises((SettingError, ValueError), match=r"no class|one call an image"):
        metrics.confusion_matrix(labels, calls, 4)
    with pytest.raises((SettingError, ValueError), match=r"no class|one call an image"):
        metrics.estimate(metrics.accuracy, labels, labels, 4, minus=calls)


def test_no_call_is_made_for_an_unknown_score_or_without_probabilities():
    with pytest.raises(SettingError, match="acuracy"):
        metrics.call([[0.4, 0.6]], "acuracy", [0.5, 0.5], [0.5, 0.5])
    with pytest.raises(SettingError, match="not finite"):
        metrics.call([[np.nan, np.nan]], "accuracy", [0.5, 0.5], [0.5, 0.5])


@pytest.mark.parametrize("units", ["group", 3, [0, 1], [[0], [1], [1], [0]], []])
def test_units_that_are_not_one_a_row_draw_no_interval_of_no_width(units):
    with pytest.raises(SettingError, match=r"units: their shape is .* of 4 rows"):
        metrics.estimate(metrics.accuracy, [0, 1, 1, 0], [0, 1, 0, 0], 2, units)


def test_shares_are_one_a_class_in_whatever_they_are_held():
    found, shares = [[0.6, 0.4], [0.3, 0.7], [0.55, 0.45]], [0.2, 0.8]
    for score in metrics.SCORES:
        expected = metrics.call(found, score, shares, shares, [0, 1, 1], [0, 1, 1])
        series = pd.Series(shares, index=["G1", "S"])
        np.testing.assert_array_equal(metrics.call(found, score, series, series, [0, 1, 1], [0, 1, 1]), expected)
        for wrong in (0.5, [1.0], [np.nan, 1.0], [-1.0, 2.0]):
            with pytest.raises(SettingError, match=r"test_shares: .* are no shares"):
                metrics.call(found, score, shares, wrong, [0, 1, 1], [0, 1, 1])


def test_wilsons_interval_does_not_depend_on_the_bits_of_its_numbers():
    expected = metrics.wilson(np.array([0.1, 0.5]), [100, 200])
    for n in (np.array([100, 200], np.uint8), pd.Series([100, 200])):
        np.testing.assert_allclose(metrics.wilson([0.1, 0.5], n), expected)


def test_a_table_of_probabilities_is_called_as_an_array_of_them():
    found = np.array([[0.6, 0.4], [0.3, 0.7], [0.5, 0.5]])
    table, labels = pd.DataFrame(found, columns=["p_G1", "p_S"], index=[4, 5, 6]), pd.Series([0, 1, 1])
    for score in metrics.SCORES:
        given = score, [0.5, 0.5], [0.8, 0.2], labels, [0, 1, 1]
        np.testing.assert_array_equal(metrics.call(table, *given), metrics.call(found, *given))
    for weights in (None, [0.8, 0.2]):
        np.testing.assert_array_equal(with_weights(table, weights), with_weights(found, weights))

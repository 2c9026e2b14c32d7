import numpy as np
import pandas as pd
import pytest

from cellcycle import results, summaries
from cellcycle.errors import DataError

CLASSES = ("G1", "S", "G2", "M")


def make_record(root, accuracy, seed=0, name="toy"):
    """A record whose share of right calls is about `accuracy`."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), [50, 30, 12, 8])
    calls = np.where(rng.random(100) < accuracy, labels, (labels + 1) % 4)
    scores = np.full((100, 4), 0.1)
    scores[np.arange(100), calls] = 0.7
    ids = [f"cell{i:03d}" for i in range(100)]
    table = results.prediction_table(ids, None, np.array(CLASSES)[labels], scores, CLASSES)
    config = {"model": name, "training_set": "D1", "seed": seed, "n_folds": 1, "n_repeats": 1, "a": accuracy}
    data = {"name": "toy", "origin": "simulated", "identity": "toy", "classes": list(CLASSES), "counts": []}
    return results.write_run(root, config, data, table, train_s=2.0, predict_s=0.1, n_parameters=10)


def test_score_table_has_values_inside_their_intervals(tmp_path):
    table = summaries.score_table([make_record(tmp_path, a) for a in (0.5, 0.9)], ["poor", "good"])
    assert list(table.index) == ["poor", "good"]
    for score in summaries.SCORES:
        assert (table[f"{score}_low"] <= table[score]).all()
        assert (table[score] <= table[f"{score}_high"]).all()
        assert table.loc["good", score] > table.loc["poor", score]
    assert table["ms_per_nucleus"].iloc[0] == pytest.approx(1.0)


def test_shown_table_is_text_with_intervals(tmp_path):
    shown = summaries.show_scores(summaries.score_table([make_record(tmp_path, 0.9)]))
    assert shown["accuracy"].str.fullmatch(r"0\.\d\d \[0\.\d\d, [01]\.\d\d\]").all()
    assert "recall M" in shown


def test_comparison_is_paired_and_refuses_other_folds(tmp_path):
    good, poor = make_record(tmp_path, 0.95), make_record(tmp_path, 0.5)
    assert summaries.compare(good, poor).low > 0
    other = poor.predictions.assign(fold=1)
    moved = results.write_run(tmp_path, {**poor.config, "model": "moved"}, poor.data, other)
    with pytest.raises(DataError, match="not the same test folds"):
        summaries.compare(good, moved)


def test_confusion_and_majority_follow_from_the_predictions(tmp_path):
    record = make_record(tmp_path, 0.8)
    table = summaries.confusion(record)
    assert table.to_numpy().sum() == 100
    assert list(table.index) == list(CLASSES)
    assert summaries.majority_accuracy(record) == 0.5


def test_worst_mistakes_are_wrong_and_sure(tmp_path):
    wrong = summaries.worst_mistakes(make_record(tmp_path, 0.5), 5)
    assert len(wrong) == 5
    assert (wrong["truth"] != wrong["call"]).all()


def test_sentence_is_computed(tmp_path):
    text = summaries.sentence(make_record(tmp_path, 1.0), "A model")
    assert "accuracy 1.00 [1.00, 1.00]" in text
    assert "simulated cells" in text


def test_published_tables_are_there():
    assert summaries.published("table1_phases")["images"].sum() == 493
    assert len(summaries.published("table2_models")) == 4
    assert len(summaries.published("table3_resnet")) == 6
    assert isinstance(summaries.published("text_claims"), pd.DataFrame)
    with pytest.raises(DataError, match="no such published table"):
        summaries.published("table9")


def test_differences_say_what_their_interval_allows(tmp_path):
    good, poor = make_record(tmp_path, 0.95), make_record(tmp_path, 0.5)
    table = summaries.differences({"up": (good, poor), "down": (poor, good), "same": (good, good)})
    assert table["verdict"].to_dict() == {"up": "better", "down": "worse", "same": "undecided"}
    assert table.loc["same", "difference"] == "+0.00 [+0.00, +0.00]"
    by_accuracy = summaries.differences({"up": (good, poor)}, "accuracy")
    gained = (good.predicted == good.labels).mean() - (poor.predicted == poor.labels).mean()
    assert by_accuracy.loc["up", "difference"].startswith(f"{gained:+.2f} [")

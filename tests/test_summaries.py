import numpy as np
import pandas as pd
import pytest

from cellcycle import comparisons, metrics, results, summaries
from cellcycle.datasets import NucleusDataset
from cellcycle.errors import DataError, SettingError
from cellcycle.phases import PHASES

FACTS = ("train_s", "predict_s", "n_parameters")


def test_score_table_has_values_inside_their_intervals(make_record):
    table = summaries.score_table([make_record(a) for a in (0.5, 0.9)], ["poor", "good"])
    assert list(table.index) == ["poor", "good"]
    for score in metrics.SCORES:
        assert (table[f"{score}_low"] <= table[score]).all()
        assert (table[score] <= table[f"{score}_high"]).all()
        assert table.loc["good", score] > table.loc["poor", score]
    assert table["ms_per_nucleus"].iloc[0] == pytest.approx(1.0)


def test_records_may_come_one_by_one_and_a_class_that_is_none_is_refused(make_record):
    records = [make_record(a) for a in (0.5, 0.9)]
    pd.testing.assert_frame_equal(summaries.score_table(r for r in records), summaries.score_table(records))
    for score in ("recall_X", "accuracies"):
        with pytest.raises(SettingError, match=f"score: '{score}' is unknown"):
            comparisons.compare(*records, score)


def test_shown_table_is_text_with_intervals(make_record):
    shown = summaries.show_scores(summaries.score_table([make_record(0.9)]))
    assert shown["accuracy"].str.fullmatch(r"0\.\d\d \[0\.\d\d, [01]\.\d\d\]").all()
    assert shown["recall M"].str.fullmatch(r"[01]\.\d\d \[[01]\.\d\d, [01]\.\d\d\]").all()


def test_a_score_that_is_added_in_one_place_is_in_tables_and_comparisons(make_record, monkeypatch):
    monkeypatch.setitem(metrics.SCORES, "worst_recall", lambda matrix: metrics.recall(matrix).min(axis=-1))
    good, poor = make_record(0.95), make_record(0.5)
    table = summaries.score_table([good])
    lowest = min(table[f"recall_{phase}"].item() for phase in PHASES)
    assert table["worst_recall_low"].item() <= table["worst_recall"].item() == pytest.approx(lowest, abs=0.2)
    assert "worst recall" in summaries.show_scores(table)
    assert comparisons.compare(good, poor, "worst_recall").value > 0


def test_comparison_is_paired_and_refuses_other_folds(make_record, tmp_path):
    good, poor = make_record(0.95), make_record(0.5)
    assert comparisons.compare(good, poor, "accuracy").low > 0
    other = poor.predictions.assign(fold=1)
    moved = results.write_run(tmp_path, {**poor.config, "model": "moved"}, poor.data, other)
    with pytest.raises(DataError, match="not the same test folds"):
        comparisons.compare(good, moved, "accuracy")


def test_comparison_refuses_the_classes_in_another_order(make_record, tmp_path):
    record = make_record(1.0)
    data = record.data | {"classes": list(PHASES[::-1]), "identity": "turned"}
    turned = results.write_run(tmp_path, record.config, data, record.predictions)
    with pytest.raises(DataError, match="compare runs of one data set"):
        comparisons.compare(record, turned, "accuracy")


def test_cells_of_one_group_and_fold_are_called_for_macro_f1(make_record, tmp_path):
    record = make_record(0.8)
    table = record.predictions.assign(group="slide 1")
    alone = results.write_run(tmp_path, record.config | {"model": "alone"}, record.data, table)
    assert np.array_equal(comparisons.calls(alone, "macro_f1"), comparisons.calls(record, "macro_f1"))


def test_confusion_and_majority_follow_from_the_predictions(make_record):
    record = make_record(0.8)
    table = summaries.confusion(record)
    assert table.to_numpy().sum() == 100
    assert list(table.index) == list(PHASES)
    assert np.array_equal(table, metrics.confusion_matrix(record.labels, record.predicted, len(PHASES)))
    assert summaries.majority_accuracy(record) == 0.5


def test_confusion_counts_the_calls_made_for_a_score(make_record, tmp_path):
    record = make_record(0.8)
    names = [f"p_{c}" for c in PHASES]
    flatter = record.predictions.assign(**(0.5 * record.predictions[names] + 0.125))
    unsure = results.write_run(tmp_path, {**record.config, "model": "unsure"}, record.data, flatter)
    trained, alike = summaries.confusion(unsure), summaries.confusion(unsure, "balanced_accuracy")
    called = comparisons.calls(unsure, "balanced_accuracy")
    assert np.array_equal(alike, metrics.confusion_matrix(record.labels, called, len(PHASES)))
    assert (trained.columns.name, alike.columns.name) == ("call, as trained", "call for balanced accuracy")
    assert not np.array_equal(alike, trained)


def test_worst_mistakes_are_wrong_and_sure(make_record):
    wrong = summaries.worst_mistakes(make_record(0.5), 5)
    assert len(wrong) == 5
    assert (wrong["truth"] != wrong["call"]).all()


def test_sentence_is_computed(make_record):
    text = summaries.sentence(make_record(1.0), "A model")
    assert "accuracy 1.00 [1.00, 1.00]" in text
    assert "simulated cells" in text


def test_published_tables_are_there():
    assert summaries.published("table1_phases")["images"].sum() == 493
    assert len(summaries.published("table2_models")) == 4
    assert len(summaries.published("table3_resnet")) == 6
    assert isinstance(summaries.published("text_claims"), pd.DataFrame)
    with pytest.raises(DataError, match="no such published table"):
        summaries.published("table9")


def test_differences_say_what_their_interval_allows_on_every_score(make_record):
    good, poor = make_record(0.95), make_record(0.5)
    table = comparisons.differences({"up": (good, poor), "down": (poor, good), "same": (good, good)})
    assert list(table) == ["accuracy", "macro F1", "balanced accuracy"]
    for name, verdict in {"up": "better", "down": "worse", "same": "undecided"}.items():
        assert table.loc[name].str.endswith(f"] {verdict}").all()
    assert table.loc["same", "accuracy"] == "+0.00 [+0.00, +0.00] undecided"
    gained = (good.predicted == good.labels).mean() - (poor.predicted == poor.labels).mean()
    assert table.loc["up", "accuracy"].startswith(f"{gained:+.2f} [")
    assert comparisons.told(table.iloc[2:, :1]) == ["same: accuracy +0.00 [+0.00, +0.00] undecided."]


def test_recalls_are_those_of_the_calls_for_balanced_accuracy(make_record):
    table = summaries.score_table([make_record(0.7)])
    recalls = table[summaries.recalls_in(table)]
    assert recalls.shape == (1, 4)
    assert recalls.mean(axis=1).iloc[0] == pytest.approx(table["balanced_accuracy"].iloc[0])
    for name in recalls:
        assert (table[f"{name}_low"] <= table[name]).all()


def test_a_recall_of_one_from_few_nuclei_is_not_certain(make_record):
    found = comparisons.estimate(make_record(1.0), "recall_M")
    assert (found.value, found.high) == (1, 1)
    # Eight nuclei, each a unit of its own: one in forty times all are found where the share is 0.63.
    assert found.low == pytest.approx(0.025 ** (1 / 8))
    nothing = comparisons.estimate(make_record(0.0), "recall_M")
    assert (nothing.value, nothing.low) == (0, 0) and 0.3 < nothing.high < 0.4


def test_a_recall_is_as_sure_as_the_groups_that_hold_its_class_are_many(make_record, tmp_path):
    record = make_record(0.5)
    rows = record.predictions.copy()
    is_m = (rows["truth"] == "M").to_numpy()
    rows["group"] = np.where(is_m, np.cumsum(is_m) % 2, np.arange(len(rows)) % 20).astype(str)
    rows.loc[is_m, [f"p_{c}" for c in PHASES]] = np.eye(4)[np.where(np.cumsum(is_m)[is_m] < 4, 3, 0)]
    few = results.write_run(tmp_path / "few", record.config, record.data, rows, **{k: record.run[k] for k in FACTS})
    found = comparisons.estimate(few, "recall_M")
    # M lies in two groups of twenty, which say next to nothing of others.
    assert 0 < found.value < 1 and (found.low, found.high) == (0, 1)


def test_a_balanced_run_and_one_under_the_shares_of_the_cells_are_called_alike(make_record, tmp_path):
    record = make_record(0.6)
    shares = np.bincount(record.labels) / len(record.labels)
    columns = [f"p_{c}" for c in record.classes]
    balanced = record.predictions.copy()
    balanced[columns] = balanced[columns] / shares / (balanced[columns] / shares).sum(axis=1).to_numpy()[:, None]
    config = {**record.config, "training_set": "D3"}
    other = results.write_run(tmp_path, config, record.data, balanced, **{k: record.run[k] for k in FACTS})
    for score in metrics.SCORES:
        assert comparisons.estimate(other, score) == comparisons.estimate(record, score)
    assert comparisons.references({"a": other})["a"] == comparisons.estimate(record, "accuracy").value


def test_d2_without_copies_is_named_as_the_raw_images_that_it_is(make_record, tmp_path):
    record = make_record(0.9)
    config = record.config | {"training_set": "D2", "transforms": [], "copies": 0}
    raw = results.write_run(tmp_path, config, record.data, record.predictions, **dict.fromkeys(FACTS, 1.0))
    assert summaries.score_table([raw])["training_set"].tolist() == ["D1"]
    assert "(D1, " in summaries.sentence(raw, "Nagao 6")


def test_one_image_moves_a_recall_by_its_share_of_the_class_not_of_a_fold():
    labels = np.repeat([0, 1], [60, 20])
    ids = np.array([f"cell{i}" for i in range(80)])
    images = np.zeros((80, 1, 8, 8), np.float32)
    told = summaries.rarest_class(NucleusDataset("toy", images, labels, ("G1", "M"), ids, "toy", "simulated"), 5)
    assert told.endswith(
        "M, has 20 of 80 images, so one more or less moves its recall by 0.05; a test fold has about 4 of them."
    )

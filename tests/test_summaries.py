import pandas as pd
import pytest

from cellcycle import results, summaries
from cellcycle.errors import DataError
from cellcycle.phases import PHASES


def test_score_table_has_values_inside_their_intervals(make_record):
    table = summaries.score_table([make_record(a) for a in (0.5, 0.9)], ["poor", "good"])
    assert list(table.index) == ["poor", "good"]
    for score in summaries.SCORES:
        assert (table[f"{score}_low"] <= table[score]).all()
        assert (table[score] <= table[f"{score}_high"]).all()
        assert table.loc["good", score] > table.loc["poor", score]
    assert table["ms_per_nucleus"].iloc[0] == pytest.approx(1.0)


def test_shown_table_is_text_with_intervals(make_record):
    shown = summaries.show_scores(summaries.score_table([make_record(0.9)]))
    assert shown["accuracy"].str.fullmatch(r"0\.\d\d \[0\.\d\d, [01]\.\d\d\]").all()
    assert "recall M" in shown


def test_comparison_is_paired_and_refuses_other_folds(make_record, tmp_path):
    good, poor = make_record(0.95), make_record(0.5)
    assert summaries.compare(good, poor).low > 0
    other = poor.predictions.assign(fold=1)
    moved = results.write_run(tmp_path, {**poor.config, "model": "moved"}, poor.data, other)
    with pytest.raises(DataError, match="not the same test folds"):
        summaries.compare(good, moved)


def test_confusion_and_majority_follow_from_the_predictions(make_record):
    record = make_record(0.8)
    table = summaries.confusion(record)
    assert table.to_numpy().sum() == 100
    assert list(table.index) == list(PHASES)
    assert summaries.majority_accuracy(record) == 0.5


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


def test_differences_say_what_their_interval_allows(make_record):
    good, poor = make_record(0.95), make_record(0.5)
    table = summaries.differences({"up": (good, poor), "down": (poor, good), "same": (good, good)})
    assert table["verdict"].to_dict() == {"up": "better", "down": "worse", "same": "undecided"}
    assert table.loc["same", "difference"] == "+0.00 [+0.00, +0.00]"
    by_accuracy = summaries.differences({"up": (good, poor)}, "accuracy")
    gained = (good.predicted == good.labels).mean() - (poor.predicted == poor.labels).mean()
    assert by_accuracy.loc["up", "difference"].startswith(f"{gained:+.2f} [")

import json

import numpy as np
import pandas as pd
import pytest

from cellcycle import results
from cellcycle.errors import RecordError

CONFIG = {"model": "toy", "training_set": "D1", "seed": 0, "n_folds": 2, "n_repeats": 1}
DATA = {"name": "toy", "origin": "simulated", "identity": "toy-1", "classes": ["G1", "M"], "counts": [2, 2]}


@pytest.fixture
def predictions():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    return results.prediction_table(["NA", "b", "c", "d"], None, ["G1", "M", "M", "G1"], scores, ("G1", "M"))


@pytest.fixture
def record(tmp_path, predictions):
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [1.0, 0.5], "fold": 0})
    return results.write_run(tmp_path, CONFIG, DATA, predictions, history, train_s=1.5, predict_s=0.1, n_parameters=7)


def test_a_record_reads_back_as_written(record, predictions):
    again = results.read_run(record.folder)
    assert again.config == CONFIG
    assert again.run["train_s"] == 1.5
    assert "numpy" in again.run["versions"]
    pd.testing.assert_frame_equal(again.predictions, predictions, check_dtype=False)
    np.testing.assert_array_equal(again.labels, [0, 1, 1, 0])
    np.testing.assert_array_equal(again.predicted, [0, 1, 0, 1])
    assert list(again.history["train_loss"]) == [1.0, 0.5]


def test_columns_are_those_of_the_design(record):
    header = (record.folder / "predictions.csv").read_text().splitlines()[0]
    assert header == "sample_id,group,repeat,fold,truth,p_G1,p_M"


def test_a_record_is_found_by_configuration_and_data(record):
    root = record.folder.parent
    assert results.find_run(root, CONFIG, "toy-1").folder == record.folder
    assert results.find_run(root, CONFIG | {"seed": 1}, "toy-1") is None
    assert results.find_run(root, CONFIG, "toy-2") is None


@pytest.mark.parametrize("name", ["predictions.csv", "history.csv", "run.json"])
def test_a_damaged_record_is_refused_and_not_found(record, name):
    file = record.folder / name
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(RecordError, match=name):
        results.read_run(record.folder)
    assert results.find_run(record.folder.parent, CONFIG, "toy-1") is None


def test_a_missing_file_is_named(record):
    (record.folder / "history.csv").unlink()
    with pytest.raises(RecordError, match=r"history.csv: the file is missing"):
        results.read_run(record.folder)


def test_an_interrupted_write_leaves_nothing(tmp_path, predictions, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(results.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        results.write_run(tmp_path, CONFIG, DATA, predictions)
    assert not list(tmp_path.iterdir())
    assert results.load_runs(tmp_path) == []


def test_a_whole_record_stays_and_a_damaged_one_is_replaced(record, predictions):
    root = record.folder.parent
    results.write_run(root, CONFIG, DATA, predictions, train_s=9.0)
    assert [r.run["train_s"] for r in results.load_runs(root)] == [1.5]
    (record.folder / "history.csv").unlink()
    results.write_run(root, CONFIG, DATA, predictions, train_s=9.0)
    assert [r.run["train_s"] for r in results.load_runs(root)] == [9.0]


def test_bootstrap_units_are_groups_where_known(tmp_path, predictions):
    table = predictions.assign(group=["field1", "", "field1", ""])
    record = results.write_run(tmp_path, CONFIG, DATA, table)
    assert list(record.units) == ["group field1", "b", "group field1", "d"]


def test_run_json_is_plain_json(record):
    assert json.loads((record.folder / "run.json").read_text())["data"]["name"] == "toy"

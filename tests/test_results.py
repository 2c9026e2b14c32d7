import json
import os
import sys

import numpy as np
import pandas as pd
import pytest

from cellcycle import files, results
from cellcycle.datasets import NucleusDataset
from cellcycle.errors import RecordError
from cellcycle.phases import PHASES
from cellcycle.training import cross_validate
from cellcycle.training.runs import defaults_of

RESULTS = files.repository() / "data" / "results"

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


def test_a_setting_with_its_default_does_not_name_a_record(record, predictions):
    root, defaults = record.folder.parent, {"epochs": 20, "transforms": ("turn", "blur")}
    # As if both settings had been added after the record was made.
    config = CONFIG | defaults
    assert results.find_run(root, config, "toy-1", defaults).folder == record.folder
    assert results.find_run(root, config | {"epochs": 30}, "toy-1", defaults) is None
    other = results.write_run(root, config | {"epochs": 30}, DATA, predictions, defaults=defaults)
    assert other.folder != record.folder
    assert other.config["transforms"] == ["turn", "blur"]


def test_a_default_that_changed_makes_it_another_run(tmp_path, predictions):
    before, after = {"epochs": 20}, {"epochs": 30}
    old = results.write_run(tmp_path, CONFIG | before, DATA, predictions, defaults=before)
    assert results.find_run(tmp_path, CONFIG | after, "toy-1", after) is None
    new = results.write_run(tmp_path, CONFIG | after, DATA, predictions, defaults=after)
    assert new.folder == old.folder
    assert new.config["epochs"] == 30


@pytest.mark.slow
@pytest.mark.parametrize("root", sorted({f.parent.parent for f in RESULTS.rglob("run.json")}), ids=lambda f: f.name)
def test_every_committed_record_is_found_from_its_settings(root):
    records = results.load_runs(root)
    assert records
    for record in records:
        defaults = defaults_of(record.config["model"])
        assert results.find_run(root, record.config, record.data["identity"], defaults).folder == record.folder


@pytest.mark.parametrize("name", ["predictions.csv", "history.csv", "run.json"])
def test_a_damaged_record_is_refused_by_name(record, name):
    file = record.folder / name
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(RecordError, match=name):
        results.read_run(record.folder)
    with pytest.raises(RecordError, match=name):
        results.find_run(record.folder.parent, CONFIG, "toy-1")


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run | {"train_s": 0.1},
        lambda run: run | {"config": run["config"] | {"seed": 1}},
        lambda run: run | {"sha256": {}},
        lambda run: run | {"sha256": ["predictions.csv"]},
        lambda run: run | {"facts_sha256": None},
        lambda run: {k: v for k, v in run.items() if k != "facts_sha256"},
        lambda run: [run],
        lambda _: None,
        lambda _: "run",
    ],
)
def test_altered_facts_are_noticed_in_one_line(record, change):
    file = record.folder / "run.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(RecordError, match=r"run\.json: ") as error:
        results.read_run(record.folder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["config", "data", "sha256"])
@pytest.mark.parametrize("value", [None, [], {}, "x", 1, [["a", "b"]], {"../../x": "y"}, {"predictions.csv": ["a"]}])
def test_a_record_altered_with_its_hash_made_anew_is_one_line(record, name, value):
    if name == "config" and isinstance(value, dict):
        pytest.skip("settings may be any; such a record is that of other settings")
    run = json.loads((record.folder / "run.json").read_text("utf-8"))
    results.write_facts(record.folder, run | {name: value})
    with pytest.raises(RecordError, match=r": (it lacks|the file is not of)"):
        results.read_run(record.folder)


def test_a_file_added_to_a_record_is_noticed(record):
    (record.folder / "extra.csv").write_text("epoch,loss\n1,0\n", "utf-8")
    with pytest.raises(RecordError, match=r"extra\.csv: the file is not of this record"):
        results.read_run(record.folder)


@pytest.mark.slow
def test_a_damaged_run_is_made_again_and_said_so(tmp_path, blobs, capsys, monkeypatch):
    # Where a notebook runs, bars are drawn.
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    images, labels = blobs
    names = np.array([f"cell{i}" for i in range(len(labels))])
    dataset = NucleusDataset("toy", images, labels, PHASES, names, "toy", "simulated")
    (first,) = cross_validate(dataset, [{"model": "dna-content"}], tmp_path, n_folds=2)
    (first.folder / "predictions.csv").write_text("sample_id\n")
    assert capsys.readouterr().err == ""
    (again,) = cross_validate(dataset, [{"model": "dna-content"}], tmp_path, n_folds=2)
    assert again.folder == first.folder
    assert len(again.predictions) == len(labels)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(str(first.folder / "predictions.csv"))
    assert line.endswith("the run is made again")


def test_a_missing_file_is_named(record):
    (record.folder / "history.csv").unlink()
    with pytest.raises(RecordError, match=r"history.csv: the file is missing"):
        results.read_run(record.folder)


def test_an_interrupted_write_leaves_nothing(tmp_path, predictions, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
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


def test_a_record_that_another_process_wrote_meanwhile_stays(tmp_path, predictions, monkeypatch):
    versions = results.package_versions

    def meanwhile():
        monkeypatch.setattr(results, "package_versions", versions)
        results.write_run(tmp_path, CONFIG, DATA, predictions, train_s=1.0)
        return versions()

    monkeypatch.setattr(results, "package_versions", meanwhile)
    record = results.write_run(tmp_path, CONFIG, DATA, predictions, train_s=9.0)
    assert record.run["train_s"] == 1.0
    assert list(tmp_path.iterdir()) == [record.folder]


def test_bootstrap_units_are_groups_where_known(tmp_path, predictions):
    table = predictions.assign(group=["field1", "", "field1", ""])
    record = results.write_run(tmp_path, CONFIG, DATA, table)
    assert list(record.units) == ["group field1", "b", "group field1", "d"]


def test_run_json_is_plain_json(record):
    assert json.loads((record.folder / "run.json").read_text())["data"]["name"] == "toy"

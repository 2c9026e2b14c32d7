"""From labelled nuclei to a judged model and round the loop."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cellcycle.checkpoint import load_checkpoint
from cellcycle.cli import app
from cellcycle.datasets import NucleusDataset
from cellcycle.errors import DataError, SettingError
from cellcycle.evaluate import evaluate
from cellcycle.train import train

QUICK = {"network": "logistic", "epochs": 2, "folds": 2, "size": 32, "device": "cpu"}


@pytest.fixture
def cells(blobs):
    images, labels = blobs
    ids = np.array([f"cell{i:03d}" for i in range(len(labels))])
    return NucleusDataset("toy", images, labels, ("G1", "S", "G2", "M"), ids, "toy-1", "simulated")


@pytest.mark.slow
def test_a_model_is_trained_judged_and_trained_further(cells, tmp_path):
    said = []
    first = train(cells, tmp_path / "first", **QUICK, say=said.append)
    assert any("no groups" in line for line in said)
    names = {f.name for f in first.folder.iterdir()}
    assert {"held_out.csv", "held_out_confusion.csv", "held_out_confusion.png", "trained_images.txt"} <= names
    scores = first.card["scores"]["held_out"]
    assert scores["n"] == len(cells) and set(scores["recall"]) == set(cells.classes)
    assert first.confidence is not None and not list(tmp_path.glob(".*"))
    found = evaluate(first, cells, tmp_path / "predictions.csv")
    assert len(found.trained_on) == len(cells) and found.scores()["accuracy"] > 0.5
    assert (tmp_path / "predictions.csv").is_file() and (tmp_path / "predictions_confusion.png").is_file()
    second = train(cells, tmp_path / "second", from_model=first.folder, folds=2, epochs=1, device="cpu")
    assert {"before", "after", "from"} <= set(second.card["training"])
    kept = second.card["training"]["before"] >= second.card["training"]["after"]
    held = second.card["scores"]["held_out"]["balanced_accuracy"]
    assert held == pytest.approx(second.card["training"]["before" if kept else "after"], abs=1e-3)


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_stopped(cells, tmp_path):
    whole = train(cells, tmp_path / "whole", **QUICK)
    lines = []

    def stop(line):
        lines.append(line)
        if "epochs" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(cells, tmp_path / "again", **QUICK, say=stop)
    assert list(tmp_path.glob(".again.training/fold0/*.safetensors"))
    with pytest.raises(SettingError, match="other arguments"):
        train(cells, tmp_path / "again", **QUICK | {"epochs": 3}, resume=True)
    again = train(cells, tmp_path / "again", **QUICK, resume=True)
    assert again.card["scores"] == whole.card["scores"]
    assert again.card["sha256"] == whole.card["sha256"]


@pytest.mark.parametrize(
    ("keep", "options", "message"),
    [
        (lambda labels: labels == 0, {}, "one class only"),
        (lambda labels: (labels != 3) | (np.cumsum(labels == 3) < 4), {}, "class M has 3 images"),
        (slice(None), {"intensity": "dim"}, "dim"),
        (slice(None), {"folds": 1}, "folds"),
        (slice(None), {"network": "vgg"}, "vgg"),
        (slice(None), {"device": "tpu"}, "tpu"),
        (slice(None), {"from_model": "no such"}, "no such"),
    ],
)
def test_what_cannot_be_trained_is_one_line_before_the_work(cells, tmp_path, keep, options, message):
    kept = cells.select(np.flatnonzero(keep(cells.labels)) if callable(keep) else keep)
    if message == "one class only":
        kept = kept.relabel(dict.fromkeys(cells.classes, "G1"), "one")
    with pytest.raises((DataError, SettingError), match=message) as refused:
        train(kept, tmp_path / "x", **QUICK | options)
    assert "\n" not in str(refused.value) and not (tmp_path / "x").exists()


def test_classes_that_a_model_does_not_know_are_refused(cells, tmp_path):
    other = cells.relabel({"G1": "resting", "S": "growing", "G2": "growing", "M": "growing"}, "two")
    with pytest.raises(DataError, match="'resting' is not known to lr, which knows G1, S, G2, M"):
        evaluate("lr", other)
    with pytest.raises(DataError, match="resting"):
        train(other, tmp_path / "x", **QUICK | {"network": None, "from_model": "lr"})


def test_evaluation_speaks_json(sample_folder):
    answer = CliRunner().invoke(app, ["evaluate", "lr", str(sample_folder), "--format", "json"])
    assert answer.exit_code == 0, answer.output
    scores = json.loads(answer.stdout)
    assert {"accuracy", "balanced_accuracy", "macro_f1", "recall", "n", "precision", "coverage"} <= set(scores)
    assert scores["n"] > 0 and load_checkpoint("lr").classes == tuple(scores["recall"])


@pytest.fixture
def sample_folder():
    from cellcycle import files

    return files.repository() / "data" / "sample" / "nuclei"

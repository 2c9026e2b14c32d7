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


@pytest.mark.slow
def test_round_the_loop_from_prediction_to_correction_to_a_better_model(tmp_path):
    """Predict -> corrections -> train from -> evaluate -> predict, of whole fields."""
    from cellcycle.images import write_image
    from cellcycle.predict import predict
    from cellcycle.review import labelled_rows, write_labels
    from cellcycle.simulation import simulate_field

    names = []
    for number in range(2):
        made = simulate_field((420, 420), 70, 40 + number)
        names.append(tmp_path / f"field{number}.tif")
        write_image(names[-1], made.image, made.pixel_size_um)
    table = predict([str(name) for name in names], model="lr")
    table = table[table["call"] != ""].reset_index(drop=True)
    # A person says of every nucleus that it is larger or smaller than most: two of the model's classes.
    large = table["area_px"] > table["area_px"].median()
    said = {row: "G2" if is_large else "G1" for row, is_large in enumerate(large)}
    write_labels(tmp_path / "labels.csv", labelled_rows(table, said))
    tuned = train(tmp_path / "labels.csv", tmp_path / "tuned", from_model="lr", folds=2, epochs=3, device="cpu")
    assert {"before", "after"} <= set(tuned.card["training"]) and tuned.classes == ("G1", "S", "G2", "M")
    found = evaluate(tuned, tmp_path / "labels.csv")
    assert found.scores()["n"] == len(table) and len(found.trained_on) == len(table)
    again = predict([str(name) for name in names], model=str(tuned.folder))
    assert set(again["model"]) == {"tuned"} and (again["call"] != "").sum() >= len(table) - 2


@pytest.mark.slow
def test_a_model_of_labelled_fields_predicts_fields(tmp_path):
    from cellcycle.images import write_image
    from cellcycle.predict import predict
    from cellcycle.review import labelled_rows, write_labels
    from cellcycle.simulation import simulate_field

    made = simulate_field((420, 420), 70, 44)
    write_image(tmp_path / "field.tif", made.image, made.pixel_size_um)
    table = predict(str(tmp_path / "field.tif"), model="lr")
    said = {row: "large" if area > table["area_px"].median() else "small" for row, area in enumerate(table["area_px"])}
    write_labels(tmp_path / "labels.csv", labelled_rows(table, said))
    model = train(tmp_path / "labels.csv", tmp_path / "sizes", **QUICK | {"network": "nn", "epochs": 12})
    assert evaluate(model, tmp_path / "labels.csv").scores()["accuracy"] > 0.8
    assert set(predict(str(tmp_path / "field.tif"), model=str(model.folder))["call"]) == {"large", "small"}

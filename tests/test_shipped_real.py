"""The shipped model that learned from real cells: made by the command of a lab, and used by name only."""

import numpy as np
import pytest

from cellcycle import files
from cellcycle.checkpoint import load_checkpoint
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.evaluate import evaluate
from cellcycle.predict import Predictor, predict
from cellcycle.predict.words import nucleus_report
from cellcycle.simulation import simulate_nuclei
from cellcycle.study.shipped import __main__ as making
from cellcycle.study.shipped.real import REAL, ship
from cellcycle.train import train

pytestmark = pytest.mark.slow

SAMPLE = files.repository() / "data" / "sample"
NAMES = ("Anaphase", "Interphase", "Metaphase", "Prometaphase")


def test_a_model_that_train_made_is_shipped_with_source_licence_and_limits(tmp_path, blobs):
    images, labels = blobs
    ids = np.arange(len(labels)).astype(str)
    cells = NucleusDataset("cells", images, labels, NAMES, ids, "cells-1", "folder")
    made = train(cells, tmp_path / "made", network="logistic", epochs=1, n_folds=2, device="cpu", intensity="per-image")
    shipped = ship("mitocheck", made, tmp_path / "shipped")
    card = shipped.card
    assert shipped.name == "mitocheck" and shipped.classes == NAMES
    assert card["licence"].startswith("CC BY 4.0") and "Neumann" in card["trained_on"]["source"]
    assert card["limits"][: len(REAL["mitocheck"]["limits"])] == list(REAL["mitocheck"]["limits"])
    assert set(made.card["limits"]) < set(card["limits"])
    held_out = card["scores"]["held_out"]["balanced_accuracy"]
    assert held_out["low"] <= held_out["value"] <= held_out["high"]
    # What it was trained on is known to whoever scores it.
    assert len(evaluate(shipped.folder, cells).trained_on) == len(cells)


def test_real_cells_are_asked_for_where_a_model_learns_from_them(monkeypatch, capsys):
    monkeypatch.delenv("CELLCYCLE_REAL_DATA", raising=False)
    monkeypatch.setattr("sys.argv", ["shipped", "mitocheck"])
    with pytest.raises(SystemExit):
        making.main()
    assert "CELLCYCLE_REAL_DATA" in capsys.readouterr().err


def test_mitocheck_calls_crops_and_fields_by_name():
    crops = predict(SAMPLE / "nuclei", model="mitocheck")
    field = predict(SAMPLE / "fields" / "fields", model="mitocheck")
    for table in (crops, field):
        called = table[table["call"] != ""]
        assert len(called) > 0.9 * len(table) > 20
        assert set(called["call"]) <= set(NAMES)
        assert set(table["model"]) == {"mitocheck"}
        np.testing.assert_allclose(called[[f"p_{name}" for name in NAMES]].sum(axis=1), 1, atol=1e-3)


def test_mitocheck_tells_simulated_mitoses_from_simulated_interphases():
    made = simulate_nuclei({"G1": 12, "S": 6, "G2": 6, "M": 24}, 64, 3)
    planes = (image[0].astype(np.float32) for image in made.images)
    called = np.array([predict(plane, model="mitocheck", kind="nucleus")["p_Interphase"].iloc[0] for plane in planes])
    is_mitosis = made.labels == 3
    assert np.median(called[~is_mitosis]) > 0.5 > np.median(called[is_mitosis])


def test_no_image_is_given_to_it_unasked():
    for folder in ("nuclei", "fields"):
        assert "mitocheck" not in set(predict(SAMPLE / folder)["model"])


def test_columns_of_the_report_stand_below_each_other_whatever_the_length_of_a_name():
    prediction = Predictor(load_checkpoint("mitocheck")).predict(next((SAMPLE / "nuclei").glob("*/*.png")))
    rows = [line for line in nucleus_report(prediction).splitlines() if "|" in line]
    assert len(rows) == 2 + len(NAMES) and len({row.index("|") for row in rows}) == 1


@pytest.mark.realdata
def test_its_calls_of_the_cells_it_learned_from_are_right(real_data):
    cells = load_dataset(real_data / "mitocheck")
    found = evaluate(load_checkpoint("mitocheck").folder, cells.select(np.arange(0, len(cells), 4)))
    # Learned by heart in part: the card tells what held-out cells come to.
    assert found.scores()["balanced_accuracy"] > 0.95

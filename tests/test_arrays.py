"""Arrays in the forms that scripts have them: taken for what they are, or refused in one line, and never changed."""

import json

import numpy as np
import pandas as pd
import pytest

from cellcycle.checkpoint import load_checkpoint
from cellcycle.confidence import cheapest, cycle_positions, fit_temperature, prediction_sets, with_temperature
from cellcycle.datasets import NucleusDataset
from cellcycle.dna_content import fit_g1_peak, phase_likelihoods
from cellcycle.errors import CellCycleError, DataError, ImageError, SettingError
from cellcycle.inputs import InputRule, Inputs, prepare
from cellcycle.masks import nuclei_alone
from cellcycle.nuclei import Scale, find_nuclei, outlined_nuclei
from cellcycle.outlines import write_geojson, write_rois
from cellcycle.predict import Predictor, predict
from cellcycle.results import prediction_table
from cellcycle.segmentation import central_nucleus, measure, measure_crops, segment
from cellcycle.simulation import simulate_field, simulate_nuclei

CELLS = simulate_nuclei({"G1": 3, "S": 2, "G2": 2, "M": 2}, size_px=48, seed=4)
SHOWN = simulate_field((200, 220), 12, seed=1)
PIXELS = (SHOWN.image / 4095).astype(np.float32)


def of_cells(images=CELLS.images, labels=CELLS.labels):
    return NucleusDataset("mine", images, labels, ("G1", "S", "G2", "M"), np.arange(len(CELLS.labels)), "x", "real")


@pytest.mark.parametrize(
    "reads",
    [segment, central_nucleus, predict, lambda pixels: measure(pixels, SHOWN.labels),
     lambda pixels: find_nuclei(pixels, 0.3, Scale(200.0))],
)  # fmt: skip
def test_a_masked_picture_is_refused_wherever_it_is_given(reads):
    with pytest.raises(ImageError, match="masked"):
        reads(np.ma.masked_greater(PIXELS, 0.2))


@pytest.mark.parametrize("reads", [measure_crops, of_cells, Inputs.of])
def test_masked_crops_are_refused_wherever_they_are_given(reads):
    with pytest.raises(ImageError, match="masked"):
        reads(np.ma.masked_greater(CELLS.images, 0.2))


@pytest.mark.parametrize("form", [np.float64, np.float16, ">f4", "list"])
def test_a_data_set_holds_its_images_as_networks_read_them(form):
    dataset = of_cells(list(CELLS.images) if form == "list" else CELLS.images.astype(form))
    assert dataset.images.dtype == np.float32 and dataset.images.dtype.isnative
    assert prepare(dataset, InputRule(32)).images.dtype == np.float32
    if form != np.float16:
        # By its marks a picture is known again that a model has learned from.
        assert dataset.known_by().tolist() == of_cells().known_by().tolist()


@pytest.mark.parametrize("wrong", [CELLS.images * 255, (CELLS.images * 255).astype(np.uint8), CELLS.images > 0.1])
def test_a_data_set_of_counts_is_one_line(wrong):
    with pytest.raises(DataError, match="counts"):
        of_cells(wrong)
    with pytest.raises(DataError, match="labels"):
        of_cells(labels=CELLS.labels[:, np.newaxis])


@pytest.mark.parametrize(
    ("given", "said"),
    [({"kind": "Field"}, "did you mean 'field'"), ({"kind": "crop"}, "kind"), ({"pixel_size_um": "0.3"}, "size"),
     ({"pixel_size_um": np.nan}, "size"), ({"pixels": np.where(PIXELS > 0.2, np.nan, PIXELS)}, "NaN")],
)  # fmt: skip
def test_nuclei_are_found_by_settings_that_can_be(given, said):
    with pytest.raises(CellCycleError, match=said):
        find_nuclei(**{"pixels": PIXELS, "pixel_size_um": 0.3, "scale": Scale(200.0)} | given)


@pytest.mark.parametrize("reads", [measure, lambda *given: outlined_nuclei(*given, 0.3, Scale(200.0), "field")])
def test_labels_are_whole_numbers_of_the_picture(reads):
    labels = SHOWN.labels.astype(np.int64)
    assert len(reads(PIXELS, labels.tolist())) == len(np.unique(labels)) - 1
    for wrong in (labels > 0, labels / 2, labels[1:], -labels, labels * 2**40):
        with pytest.raises(CellCycleError, match="labels"):
            reads(PIXELS, wrong)


def test_outlines_are_written_of_the_table_that_predict_returns(tmp_path):
    found = Predictor().predict(PIXELS)
    table, labels, classes = predict(PIXELS), found.nuclei.labels, found.checkpoint.classes
    for write in (write_geojson, write_rois):
        write(tmp_path / "columns", labels, found.columns, classes)
        write(tmp_path / "table", labels, table, list(classes))
        assert (tmp_path / "columns").read_bytes() == (tmp_path / "table").read_bytes()
    some = table[table["area_px"] > table["area_px"].median()]
    write_geojson(tmp_path / "some.geojson", labels.tolist(), some, classes)
    names = [each["properties"]["name"] for each in json.loads((tmp_path / "some.geojson").read_text())["features"]]
    assert names == some["nucleus_id"].astype(str).tolist()
    assert np.unique(nuclei_alone(labels.tolist(), [1, 9_999])).tolist() == [0, 1]


@pytest.mark.parametrize(
    "reads",
    [cheapest, cycle_positions, lambda p: prediction_sets(p, [0.2] * 4), lambda p: with_temperature(p, 2.0),
     lambda p: fit_temperature(p, np.zeros(20, int))],
)  # fmt: skip
def test_logits_and_per_cent_are_no_probabilities(reads):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    # What three leave of 1 is less than 0 by rounding.
    left = np.vstack([probabilities[1:], [0.3, 0.2, 0.5, 1 - 0.3 - 0.2 - 0.5]])
    assert left.min() < 0
    for form in (probabilities.astype(np.float16), pd.DataFrame(probabilities), probabilities.tolist(), left):
        reads(form)
    for wrong in (np.log(probabilities), 100 * probabilities, probabilities[:, 0], None):
        with pytest.raises(SettingError, match="probabilities"):
            reads(wrong)


@pytest.mark.parametrize("wrong", [-1.0, 0, np.nan])
def test_no_temperature_turns_calls_around(wrong):
    with pytest.raises(SettingError, match="temperature"):
        with_temperature([[0.9, 0.1]], wrong)


def test_columns_of_a_table_are_predictions_in_their_order():
    truth, probabilities = pd.Series([0, 1, 1], index=[2, 1, 0]), np.eye(2)[[0, 1, 1]]
    made = prediction_table(pd.Series(["a", "b", "c"]), None, truth, pd.DataFrame(probabilities), ("G1", "S"))
    assert made["truth"].tolist() == [0, 1, 1] and made["p_G1"].tolist() == [1, 0, 0]


def test_masked_dna_is_left_out():
    rng = np.random.default_rng(1)
    dna = np.concatenate([rng.normal(50, 4, 300), rng.normal(100, 8, 150), [5e3] * 50])
    assert fit_g1_peak(np.ma.masked_greater(dna, 1e3)).n_nuclei == 450
    assert not phase_likelihoods(np.ma.masked_greater(dna, 1e3)[:, np.newaxis], 50.0)[450:].any()


def test_a_model_that_was_loaded_is_a_model():
    found = load_checkpoint()
    assert load_checkpoint(found) is found
    for wrong in (None, 3):
        with pytest.raises(SettingError, match="model"):
            load_checkpoint(wrong)

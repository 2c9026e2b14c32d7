"""What is refused before a training or an evaluation, how both are scored, and that crops and fields are seen alike."""

import contextlib
import csv
import json
import re
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cellcycle import metrics, review
from cellcycle.confidence import fit_temperature, prediction_sets, with_temperature
from cellcycle.confidence.records import cross_fit
from cellcycle.datasets import NucleusDataset
from cellcycle.errors import CheckpointError, DataError, SettingError
from cellcycle.evaluate import Evaluation, evaluate, report, write_evaluation
from cellcycle.images import write_image
from cellcycle.images.listing import list_images
from cellcycle.inputs import TYPICAL, InputRule, inputs_of, prepare
from cellcycle.nuclei import find_nuclei
from cellcycle.predict.given import Given
from cellcycle.predict.groups import are_unlike_training, at_one_scale, compare_with_training
from cellcycle.predict.output import text_rows
from cellcycle.scale import each_crop_of, is_of_other_pixels, nuclei_of
from cellcycle.train import train
from cellcycle.training import NetworkClassifier
from cellcycle.training.parts import Clock, state_of
from cellcycle.training.recipes import as_seen, input_rule
from tests.conftest import QUICK

pytestmark = pytest.mark.slow


def judged(cells, labels, calls, classes) -> Evaluation:
    labels = np.array(labels)
    some = replace(cells.select(np.arange(len(labels))), labels=labels, classes=classes)
    return Evaluation(some, classes, labels, 0.98 * np.eye(len(classes))[calls] + 0.01, thresholds=[0.5] * len(classes))


def test_a_perfect_score_of_few_cells_is_not_certain(cells):
    labels = [0] * 13 + [1] * 10 + [2] * 3
    scores = judged(cells, labels, labels, ("A", "B", "C")).scores()
    low, high = scores["intervals"]["accuracy"]
    assert (low, high) == (round(float(metrics.wilson(np.array(1.0), 26)[0]), 4), 1.0)
    low, high = scores["intervals"]["macro_f1"]
    assert (low, high) == tuple(scores["intervals"]["balanced_accuracy"]) and low < 0.9 and high == 1


def test_a_score_that_is_added_in_one_place_is_in_an_evaluation_and_its_report(cells, monkeypatch):
    monkeypatch.setitem(metrics.SCORES, "worst_recall", lambda matrix: metrics.recall(matrix).min(axis=-1))
    found = judged(cells, [0] * 10 + [1] * 10, [0] * 14 + [1] * 6, ("A", "B"))
    scores = found.scores()
    assert scores["worst_recall"] == scores["recall"]["B"] == 0.6
    assert re.search(r"worst recall +0\.600  \(0\.\d+ to [01]\.\d+\)", report(found))


def test_a_resample_without_a_class_says_nothing_of_its_precision(cells):
    labels = [0] * 40 + [1] * 3
    low, high = judged(cells, labels, labels, ("A", "B")).scores()["intervals"]["precision"]["B"]
    assert (low, high) == (round(float(metrics.wilson(np.array(1.0), 3)[0]), 4), 1.0)
    never = judged(cells, labels, [0] * 43, ("A", "B")).scores()
    assert never["precision"]["B"] == 0 and never["intervals"]["precision"]["B"][0] == 0


def test_intervals_are_over_groups_only_where_each_class_lies_in_several_and_it_is_said(cells):
    labels = [0] * 20 + [1] * 20
    found = judged(cells, labels, [0] * 18 + [1] * 22, ("A", "B"))
    for groups, drawn in (
        ([*"abcde"] * 8, "5 groups"),
        ([*"abcd"] * 10, "4 groups"),
        # Two tell too little.
        ([*"ab"] * 20, "cells"),
        # Cells that nothing joins.
        (range(40), "cells"),
        # Samples of these would lack a class.
        (["a"] * 20 + ["b"] * 20, "cells"),
        (["a", "b"] * 10 + ["c"] * 20, "cells"),
    ):
        grouped = replace(found, dataset=replace(found.dataset, groups=np.array(groups)))
        assert grouped.scores()["drawn"] == drawn and f"computed over {drawn}" in report(grouped)
    for groups in ([*"ab"] * 20, range(40)):
        few = replace(found, dataset=replace(found.dataset, groups=np.array(groups)))
        assert few.scores() == found.scores()


def test_cells_of_one_class_have_a_recall(cells, tmp_path):
    for k in range(6):
        (tmp_path / "cells" / "G1").mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "cells" / "G1" / f"{k}.png", (cells.images[k, 0] * 255).astype(np.uint8))
    found = evaluate("lr", tmp_path / "cells")
    assert found.scores()["n"] == 6 and 0 <= found.scores()["recall"]["G1"] <= 1
    assert "G1" in report(found)
    with pytest.raises(DataError, match="only one class"):
        train(tmp_path / "cells", tmp_path / "model", **QUICK)


def test_confidence_is_judged_on_cells_that_it_was_not_fitted_on():
    rng = np.random.default_rng(0)
    labels, parts = rng.integers(0, 2, 400), np.arange(400) % 4
    said = 1 / (1 + np.exp(-2 * rng.normal(2 * labels - 1, 1.5)))
    said = np.column_stack([1 - said, said])
    calibrated, thresholds, _ = cross_fit(said, labels, parts)
    others = parts != 2
    expected = with_temperature(said[~others], fit_temperature(said[others], labels[others]))
    np.testing.assert_allclose(calibrated[~others], expected)
    assert (calibrated.argmax(axis=1) == said.argmax(axis=1)).all() and len(np.unique(thresholds, axis=0)) == 4
    assert 0.85 < prediction_sets(calibrated, thresholds)[np.arange(400), labels].mean() < 0.95
    alone, *_ = cross_fit(said, labels, np.zeros(400))
    np.testing.assert_allclose(alone, with_temperature(said, fit_temperature(said, labels)))


@pytest.mark.parametrize("name", ["none", "NaN", "x" * 61, "a;b", " a"])
def test_a_class_that_no_table_can_hold_is_refused_before_the_work(cells, tmp_path, name):
    named = replace(cells, classes=("G1", "S", "G2", name))
    with pytest.raises(DataError, match=r"toy: 'classes' holds .* rename the class") as refused:
        train(named, tmp_path / "x", **QUICK)
    assert "\n" not in str(refused.value) and repr(name[:40]) in str(refused.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("a\\b", {}, "'name' holds .*, which is a path; name another folder"),
        ("a\nb", {}, "name another folder"),
        ("x", {"seed": -1}, "seed"),
        ("x", {"seed": 2**40}, "seed"),
        ("x", {"seed": 1.5}, "seed"),
        ("x", {"epochs": 1.5}, "epochs"),
        ("x", {"size_px": "32"}, "size_px"),
        ("x", {"n_jobs": 1.5}, "n_jobs"),
        ("x", {"n_folds": 70}, "24 images for 70 folds"),
        ("x", {"network": None, "from_model": "lr"}, "size_px: lr uses 64, not 32; leave it out"),
        ("x", {"network": None, "size_px": None, "from_model": "lr", "intensity": "per-image"}, "lr uses absolute"),
        ("x", {"network": None, "size_px": None, "from_model": "mitocheck", "intensity": "absolute"}, "uses per-image"),
    ],
)
def test_what_cannot_be_asked_of_a_training_is_one_line_and_leaves_nothing(
    cells, tmp_path, monkeypatch, output, options, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((DataError, SettingError), match=message) as refused:
        train(cells, output, **QUICK | options)
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"device": "tpu"}, "tpu"), ({"network": "nosuch"}, "nosuch"), ({"n_jobs": 0}, "n_jobs"), ({}, "this is a file")],
)
def test_what_needs_no_data_is_refused_before_they_are_read(cells, tmp_path, monkeypatch, options, message):
    monkeypatch.setattr(sys.modules["cellcycle.train"], "load_dataset", lambda *_, **__: pytest.fail("it reads"))
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(SettingError, match=message):
        train(tmp_path / "cells", tmp_path / ("x" if options else "model.json"), **QUICK | options)


def test_nothing_is_written_over_or_among_the_data(cells, tmp_path):
    rows = ["path,label"]
    for k in range(0, 96, 12):
        name = f"{cells.classes[cells.labels[k]]}/{k}.png"
        (tmp_path / "cells" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "cells" / name, (cells.images[k, 0] * 255).astype(np.uint8))
        rows.append(f"cells/{name},{cells.classes[cells.labels[k]]}")
    write_image(tmp_path / "s_mistakes.png", (cells.images[5, 0] * 255).astype(np.uint8))
    (tmp_path / "t.csv").write_text("\n".join([*rows, "s_mistakes.png,G1"]) + "\n")
    (tmp_path / "labels.csv").write_text("path,label\n")
    (tmp_path / "notes.csv").write_text("sample_id,group,truth,call,p_G1,my notes\n")
    shutil.copy(tmp_path / "s_mistakes.png", tmp_path / "own_mistakes.png")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for name in ("cells", "cells/model", "cells/G1/model"):
        with pytest.raises(SettingError, match="it lies in the folder of the data"):
            train(tmp_path / "cells", tmp_path / name, **QUICK)
    refused = {
        "t.csv": "belongs to the data",
        "s.csv": "s_mistakes.png belongs to the data",
        "s.png": "end the name in .csv",
    }
    refused |= {f"{name}.csv": f"{name}.* exists and is not of an evaluation" for name in ("labels", "notes", "own")}
    for name, message in refused.items():
        with pytest.raises(SettingError, match=message):
            evaluate("lr", tmp_path / "t.csv", tmp_path / name)
    with pytest.raises(SettingError, match="it lies in the folder of the data"):
        evaluate("lr", tmp_path / "cells", tmp_path / "cells" / "G1" / "scored.csv")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_place_that_takes_no_table_is_told_before_the_work(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["cellcycle.evaluate"], "called", lambda *given: pytest.fail("it works already"))
    with pytest.raises(SettingError, match="cannot be written"):
        evaluate("lr", cells, tmp_path / "none" / "s.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(SettingError, match="this is a folder"):
        evaluate("lr", cells, tmp_path / "d.csv")


@pytest.mark.filterwarnings("error")
def test_pictures_of_mistakes_go_and_names_of_classes_are_no_formulas(cells, tmp_path):
    labels, classes = [0, 1] * 8, ("=1+1", "+EdU" + 50 * "x")
    with_mistakes = judged(cells, labels, [1, *labels[1:]], classes)
    write_evaluation(with_mistakes, tmp_path / "s.csv")
    assert (tmp_path / "s_mistakes.png").is_file()
    # Beside images, they are none.
    assert list_images(tmp_path) == []
    write_evaluation(judged(cells, labels, labels, classes), tmp_path / "s.csv")
    assert not (tmp_path / "s_mistakes.png").exists()
    for name in ("s.csv", "s_confusion.csv"):
        for row in csv.reader((tmp_path / name).read_text().splitlines()):
            assert not any(cell.startswith(("=", "+")) for cell in row), row


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_classes_that_begin_like_formulas_go_round(tmp_path, suffix):
    names = ["+EdU", "'=x"]
    sides = {"bbox_top_px": 0.0, "bbox_left_px": 0.0, "bbox_bottom_px": 99.0, "bbox_right_px": 99.0}
    nuclei = pd.DataFrame({"image": ["a.tif", "a.tif"], "nucleus_id": [1, 2], "call": names, "flags": ["", ""]})
    nuclei = nuclei.assign(**sides, centroid_x_px=5.0, centroid_y_px=[5.0, 50.0], prediction_set=names)
    nuclei = nuclei.assign(**{f"p_{name}": 0.5 for name in names})
    with open(tmp_path / f"t.{suffix}", "w") as stream, text_rows(suffix, stream) as write:
        write(nuclei)
    assert {"'+EdU", "''=x"} <= set(re.findall(r"'+[+=]\w+", (tmp_path / f"t.{suffix}").read_text()))
    found = review.read_table(tmp_path / f"t.{suffix}")
    assert found["call"].tolist() == found["prediction_set"].tolist() == names
    review.write_labels(tmp_path / "labels.csv", review.labelled_rows(found, dict(enumerate(names))))
    assert ",'+EdU" in (tmp_path / "labels.csv").read_text()
    assert review.read_labels(tmp_path / "labels.csv")[0]["label"].tolist() == names


FACTS = {"data": "d", "--from": None, "--epochs": 3, "groups": "g"}


@pytest.mark.parametrize(
    ("differs", "named"),
    [({"--epochs": 4}, "epochs"), ({"data": "e", "groups": "h"}, "data"), ({"groups": "h"}, "groups")],
)
def test_what_differs_from_a_stopped_training_is_named_and_its_state_kept(tmp_path, differs, named):
    said = []

    def begin(facts, resume=True):
        with state_of(tmp_path / "m", facts, resume, said.append) as state:
            # A second training to the same place, under way at once, would mix its weights with these.
            with pytest.raises(SettingError, match="m: another run is writing it"), contextlib.ExitStack() as stack:
                stack.enter_context(state_of(tmp_path / "m", facts | differs, False, said.append))
            (state / "fold0").mkdir(exist_ok=True)
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            begin(FACTS)
        assert "no stopped training" in said[0] and len(said) == 1
    state = tmp_path / ".m.training"
    with pytest.raises(SettingError, match=f"kept in .*m.training, differs in {named};") as refused:
        begin(FACTS | differs)
    assert "\n" not in str(refused.value) and (state / "fold0").is_dir()
    (state / "arguments.json").write_text("{")
    with pytest.raises(SettingError, match="cannot be read"):
        begin(FACTS)
    with state_of(tmp_path / "m", FACTS, False, said.append):
        assert not (state / "fold0").exists()
    assert not state.exists()


def test_a_stopped_training_says_how_it_goes_on_and_a_finished_one_nothing_of_time(tmp_path):
    said = []
    with pytest.raises(KeyboardInterrupt), Clock(said.append, tmp_path, 6) as clock:
        (tmp_path / "all").mkdir()
        (tmp_path / "all" / "epochs").write_text("6")
        assert clock.line() == "6 of 6 epochs (all 6)"
        raise KeyboardInterrupt
    assert "run the same with resume=True" in said[-1] and str(tmp_path) in said[-1]


def test_a_damaged_state_is_named(cells, tmp_path):
    classifier = NetworkClassifier("logistic", epochs=1)
    classifier.fit(cells.images, cells.labels, None, tmp_path)
    (state,) = tmp_path.glob("*.safetensors")
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"member0\.safetensors: .*leave resume=True out"):
        classifier.fit(cells.images, cells.labels, None, tmp_path)


def crops(side: int, pixel_size_um=None, n: int = 4) -> NucleusDataset:
    """Return disks of one size, with the noise of a camera, in crops of a side."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] - 47.5
    wide = np.stack([0.1 + 0.5 * (np.hypot(y, x) < 9 + k) + rng.normal(0, 0.01, (96, 96)) for k in range(n)])
    cut = (96 - side) // 2
    images = wide[:, None, cut : cut + side, cut : cut + side].astype(np.float32)
    sizes = None if pixel_size_um is None else np.full(n, pixel_size_um)
    ids = np.arange(n).astype(str)
    return NucleusDataset("disks", images, np.arange(n) % 2, ("A", "B"), ids, "i", "real", pixel_sizes_um=sizes)


def test_a_field_is_cut_as_wide_as_the_crops_that_a_model_learned_from():
    small = crops(48)
    rule = input_rule(small, 32, "absolute")
    assert (rule.size_px, rule.crop_px, rule.crop_um) == (32, 48, None)
    assert (
        InputRule.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule and "crop_px" not in InputRule().to_dict()
    )
    expected = prepare(small, rule)
    field = np.block([[image[0] for image in small.images[:2]], [image[0] for image in small.images[2:]]])
    nuclei = find_nuclei(field, None, rule.scale, "field", "classical")
    assert len(nuclei) == 4
    found = inputs_of(field, nuclei, rule)
    order = np.lexsort(np.round(nuclei.centres / 48).T[::-1])
    np.testing.assert_allclose(found.images[order], expected.images, atol=0.12)
    area = rule.measurements.index("area_px")
    np.testing.assert_allclose(found.measurements[order, area], expected.measurements[:, area], rtol=0.1)


def test_crops_of_another_margin_are_cut_as_those_that_a_model_learned_from():
    rule = input_rule(crops(48, 0.5), 32, "absolute")
    expected = prepare(crops(48, 0.5), rule)
    np.testing.assert_array_equal(prepare(crops(72, 0.5), rule).images, expected.images)
    # One whose size in the sample is not known is filled up, as in training; a larger one may have finer pixels.
    tight = prepare(crops(36), rule).images
    np.testing.assert_allclose(tight[:, :, 8:24, 8:24], expected.images[:, :, 8:24, 8:24], atol=1e-3)


def test_crops_without_a_pixel_size_are_evaluated_at_the_scale_of_a_prediction():
    disks, scale = crops(48, n=8), InputRule(pixel_size_um=0.5, surroundings="painted").scale
    images = [Given("a.png", seen=nuclei) for nuclei in each_crop_of(disks, scale)]
    at_one_scale(images, scale)
    (told,) = {image.told.pixel_size_um for image in images}
    assert {nuclei.pixel_size_um for nuclei in nuclei_of(disks, scale)} == {told}
    # A model of crops as they are sees pixels, and each nucleus has the usual area.
    assert {round(nuclei.measured["area_um2"][0]) for nuclei in nuclei_of(disks, TYPICAL)} == {200}


def test_pictures_of_another_magnification_or_exposure_than_those_of_the_training_are_told():
    disks = crops(48, n=8)
    rule = as_seen(input_rule(disks, 24, "absolute"), disks, prepare(disks, input_rule(disks, 24, "absolute")))
    assert InputRule.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule
    found = each_crop_of(disks, rule.scale)
    areas = [nuclei.measured["area_px"][0] for nuclei in found]
    assert rule.scale.area_px == pytest.approx(np.median(areas), rel=0.1)
    assert 0.3 < rule.scale.dimmest <= rule.scale.brightest < 0.6

    def unlike(images) -> tuple[bool, bool]:
        return are_unlike_training(each_crop_of(replace(disks, images=images), rule.scale), rule)

    binned = disks.images.reshape(8, 1, 24, 2, 24, 2).mean(axis=(3, 5))
    assert unlike(disks.images) == (False, False) and unlike(binned) == (True, False)
    assert unlike(0.4 * disks.images) == unlike(2 * disks.images) == (False, True)
    # One by itself may be small, or a mitosis.
    assert are_unlike_training(each_crop_of(replace(disks, images=2 * disks.images), rule.scale)[:1], rule)[1] is False
    seen = each_crop_of(replace(disks, images=0.4 * binned), rule.scale)
    images = [Given("a.png", seen=one) for one in [*seen, None]]
    compare_with_training(images, rule)
    assert [image.told.flag for image in images] == ["scale_by_margin;changed_picture"] * 8 + [""]
    # Where each picture is scaled by itself, brightness is of no account; cards from before know nothing of either.
    by_itself = input_rule(disks, 24, "per-image")
    without_area = replace(rule, measurements=("integrated_dna", "texture"))
    for other in (by_itself, without_area):
        assert as_seen(other, disks, prepare(disks, other)).scale.brightest == 0
    assert are_unlike_training(each_crop_of(replace(disks, images=0.4 * binned), TYPICAL), by_itself) == (False, False)


def test_pixels_coarser_than_any_of_the_training_are_told_however_crops_were_resampled():
    disks = replace(crops(48, 0.5, n=8), stated_um=np.array([0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, np.nan]))
    rule = input_rule(disks, 24, "absolute")
    seen = as_seen(rule, disks, prepare(disks, rule))
    assert InputRule.from_dict(json.loads(json.dumps(seen.to_dict()))) == seen
    one = find_nuclei(disks.images[0, 0], 0.5, seen.scale, "nucleus")
    told = [is_of_other_pixels(replace(one, pixel_size_um=um), seen.scale) for um in (0.2, 0.5, 0.62, 0.64)]
    assert told == [False, False, False, True]
    assert not is_of_other_pixels(replace(one, pixel_size_um=2.0, scale_is_known=False), seen.scale)
    # A model that is trained further has learned from both; of one that says nothing, nothing is known.
    coarser = replace(disks, stated_um=np.full(8, 0.9))
    assert as_seen(seen, coarser, prepare(coarser, rule)).scale.coarsest_um == 0.9
    assert as_seen(replace(rule, scale=TYPICAL), coarser, prepare(coarser, rule)).scale.coarsest_um == 0
    # Classical gates see no grain.
    assert input_rule(disks, 24, "absolute", "dna-content").scale.coarsest_um == 0


def test_the_pixel_size_of_fields_is_shown_as_their_files_state_it():
    shown = SimpleNamespace(nuclei=SimpleNamespace(pixel_size_um=0.325))
    assert "pixel size: 0.325 um" in replace(crops(48, 0.57, n=12), fields=(shown,)).report()

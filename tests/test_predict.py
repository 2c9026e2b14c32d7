import contextlib
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter, zoom

from cellcycle import files, nuclei, tasks
from cellcycle.checkpoint import ANCHORED, load_checkpoint
from cellcycle.cutting import cut_nucleus
from cellcycle.dna_content import G1Peak
from cellcycle.errors import CheckpointError, ImageError, SettingError
from cellcycle.images import Plane, read_plane, write_image
from cellcycle.inputs import InputRule, inputs_of
from cellcycle.nuclei import Anchor, Nuclei
from cellcycle.phases import PHASES
from cellcycle.predict import Predictor, Settings, expand, predict, predictor
from cellcycle.predict.extras import Extras
from cellcycle.predict.given import Given, as_images, as_list
from cellcycle.predict.many import run_batch, workers_of
from cellcycle.predict.predictor import LEAST_QUALITY, ModelChoice
from cellcycle.scale import are_stretched
from cellcycle.segmentation import central_nucleus
from cellcycle.segmentation.measurements import measured_columns
from cellcycle.simulation import SimulationParameters, simulate_field, simulate_nuclei

SAMPLE = files.repository() / "data" / "sample"
FIELD = SAMPLE / "fields" / "fields" / "field_001.tif"
MITOSIS = SAMPLE / "nuclei" / "M" / "M_0002.png"
SCORES = [f"p_{phase}" for phase in PHASES]
RULE = InputRule(32, 0.5, "painted")


def cut(pixels, labels, label, centre, background, pixel_size_um, rule):
    return cut_nucleus(
        pixels, labels, label, centre, background, rule.pixel_size_um / pixel_size_um, rule.size_px, True
    )


@pytest.fixture(scope="module")
def field():
    return predict(FIELD)


@pytest.fixture(scope="module")
def unknown():
    """The same where nothing states the size of a pixel."""
    return predict(Plane(read_plane(FIELD).pixels, 16, None, "unknown"))


def disk(size_px=96, pixel_size_um=0.5, radius_um=7.0, centre_um=None, level=0.4):
    """Return pixels with one bright disk on a background of 0.1, and its labels."""
    centre = np.array(centre_um or (size_px * pixel_size_um / 2,) * 2) / pixel_size_um - 0.5
    y, x = np.mgrid[:size_px, :size_px]
    inside = np.hypot(y - centre[0], x - centre[1]) * pixel_size_um < radius_um
    return (0.1 + level * inside).astype(np.float32), inside.astype(np.int32), tuple(centre)


def taken(table):
    """Return the models of a table, each with its reason."""
    return set(zip(table["model"], table["model_reason"], strict=True))


@pytest.mark.slow
def test_the_table_has_the_columns_of_the_design(field):
    first = ["image", "nucleus_id", "centroid_y_px", "centroid_x_px", "call", *SCORES, "flags"]
    assert list(field.columns[: len(first)]) == first
    measured = ("bbox_top_px", "area_um2", "integrated_dna", "texture", "solidity", "model", "version", "error")
    assert set(measured) <= set(field.columns)


@pytest.mark.slow
def test_a_field_gives_one_row_a_nucleus_with_probabilities(field):
    assert len(field) > 40
    np.testing.assert_allclose(field[SCORES].sum(axis=1), 1)
    assert (field["call"] == field[SCORES].idxmax(axis=1).str.removeprefix("p_")).all()
    assert (field["kind"] == "field").all()
    assert field["nucleus_id"].tolist() == list(range(1, len(field) + 1))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["auto", "nagao6"])
def test_calls_of_a_field_agree_with_the_simulated_truth_in_every_phase(model, field):
    """Balanced over the three phases of this field: one that always gives the same answer gets a third."""
    field, truth = field if model == "auto" else predict(FIELD, model), pd.read_csv(SAMPLE / "fields" / "truth.csv")
    there, here = (t[["centroid_y_px", "centroid_x_px"]].to_numpy() for t in (truth, field))
    gaps = np.hypot(*(there[:, None] - here[None]).transpose(2, 0, 1))
    nearest = gaps.argmin(axis=1)
    matched = gaps.min(axis=1) < 5
    assert matched.mean() > 0.9
    phase, call = truth["phase"].to_numpy()[matched], field["call"].to_numpy()[nearest[matched]]
    recall = {p: (call[phase == p] == p).mean() for p in PHASES if p in phase}
    assert len(recall) == 3 and np.mean(list(recall.values())) > 0.5


def test_path_plane_and_array_give_the_same_numbers():
    plane = read_plane(MITOSIS)
    tables = [predict(image) for image in (MITOSIS, str(MITOSIS), plane, plane.pixels)]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table.drop(columns="image"), tables[0].drop(columns="image"))


@pytest.mark.slow
def test_the_batch_and_its_processes_change_no_number():
    images = expand([SAMPLE / "nuclei" / "M"])
    alone = pd.concat([predict(image) for image in images], ignore_index=True)
    pd.testing.assert_frame_equal(predict(SAMPLE / "nuclei" / "M"), alone)
    pd.testing.assert_frame_equal(predict([*images, images[0]], n_jobs=2), alone)
    shared = predict([read_plane(image) for image in images[:3]], n_jobs=None)
    pd.testing.assert_frame_equal(shared.drop(columns="image"), alone[:3].drop(columns="image"))


def test_a_worker_with_another_working_folder_reads_and_writes_what_was_meant(tmp_path, monkeypatch):
    shutil.copy(MITOSIS, tmp_path / "a.png")
    shutil.copytree(load_checkpoint("lr").folder, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    expected = predict("a.png", "mine", kind="nucleus")

    @contextlib.contextmanager
    def elsewhere(*_, start, start_arguments, client):
        with contextlib.chdir("/"):
            started = start(*start_arguments)

        def do(function, items):
            for item in items:
                with contextlib.chdir("/"):
                    made = function(started, item)
                yield made

        yield do

    monkeypatch.setattr(tasks, "workers", elsewhere)
    choice, settings = ModelChoice.of("mine"), Settings(kind="nucleus")
    with workers_of(choice, settings, client="a cluster") as do:
        image, extras = Given.of("a.png"), Extras(masks=Path("labels"))
        extras.prepare([image])
        (made,) = run_batch([image], do, extras)
    assert (made.error, made.note, made.image) == (None, "", "a.png")
    pd.testing.assert_frame_equal(made.table, expected)
    assert Path("labels/a_mask.tif").exists()


@pytest.mark.parametrize(
    "turn", [lambda p: np.rot90(p), lambda p: p[:, ::-1], lambda p: p.T], ids=["90", "mirror", "T"]
)
def test_a_turned_or_mirrored_nucleus_keeps_its_probabilities(turn):
    pixels = read_plane(MITOSIS).pixels
    before, after = predict(pixels), predict(np.ascontiguousarray(turn(pixels)))
    np.testing.assert_allclose(after[SCORES], before[SCORES], atol=1e-3)


@pytest.mark.slow
def test_half_the_exposure_keeps_the_calls_of_a_field(field, tmp_path):
    counts = np.round(read_plane(FIELD).pixels * 65535).astype(np.uint16)
    write_image(tmp_path / "half.tif", counts // 2, 0.325)
    half = predict(tmp_path / "half.tif")
    assert abs(len(half) - len(field)) <= 1
    gaps = field[["centroid_y_px"]].to_numpy() - half[["centroid_y_px"]].to_numpy().T
    gaps = np.hypot(gaps, field[["centroid_x_px"]].to_numpy() - half[["centroid_x_px"]].to_numpy().T)
    same = field["call"].to_numpy() == half["call"].to_numpy()[gaps.argmin(axis=1)]
    assert same.mean() > 0.95


@pytest.mark.slow
def test_a_field_whose_nuclei_cannot_be_told_any_more_says_that_it_was_changed():
    image = simulate_field((420, 420), 34, seed=5).image.astype(float)
    banded = gaussian_filter(image, 1) - gaussian_filter(image, 8)
    table = predict(np.rint(255 * (banded - banded.min()) / np.ptp(banded)).astype(np.uint8))
    assert table["flags"].tolist() == ["no_nucleus;changed_picture"]


@pytest.mark.slow
def test_a_crop_that_was_cut_tight_and_padded_with_the_mean_of_it_goes_to_review():
    for image in simulate_nuclei({"G1": 2, "S": 2}, seed=4).images:
        crop = np.rint(255 * image[0]).astype(np.uint8)
        rows, columns = np.nonzero(central_nucleus(crop))
        tight = crop[rows.min() + 1 : rows.max(), columns.min() + 1 : columns.max()]
        padded = np.pad(tight, 8, constant_values=int(crop.mean()))
        assert predict(padded, kind="nucleus")["review"].str.contains("clipped_background").all()


@pytest.mark.slow
def test_crops_that_are_longer_than_wide_or_of_moved_lines_go_to_review():
    crops = [image[0] for image in simulate_nuclei({"G1": 6, "S": 3, "G2": 3}, 64, 3).images]
    for change, flag in (
        (lambda crop: zoom(crop, (1, 1.6), order=1), "changed_picture"),
        (lambda crop: np.where(np.arange(64)[:, None] % 2, np.roll(crop, 9, 1), crop), "changed_picture"),
    ):
        assert not predict(crops)["flags"].str.contains(flag).any()
        assert predict([change(crop) for crop in crops])["review"].str.contains(flag).all()


def test_a_few_plates_of_chromosomes_that_lie_alike_by_chance_are_not_stretched():
    def crops(heights, widths):
        boxes = [{"top": 0, "left": 0, "bottom": y, "right": x} for y, x in zip(heights, widths, strict=True)]
        return [SimpleNamespace(measured={f"bbox_{k}_px": np.array([v]) for k, v in one.items()}, is_sound=[True])
                for one in boxes]  # fmt: skip

    plates = np.array([(30, 12)] * 7 + [(12, 30)] * 3)
    assert not are_stretched(crops(*plates.T)) and are_stretched(crops(*np.tile(plates, (9, 1)).T))
    assert are_stretched(crops([30, 26, 28, 30] * 2, [18, 19, 18, 22] * 2))


@pytest.mark.parametrize("kind", ["auto", "field", "nucleus"])
@pytest.mark.parametrize("what", ["black", "white", "noise", "gray"])
def test_an_image_without_a_nucleus_gets_no_phase(kind, what):
    noise = np.random.default_rng(0).integers(0, 2**16, (128, 128)).astype(np.uint16)
    images = {"black": 0 * noise, "white": 0 * noise + 65535, "noise": noise, "gray": 0 * noise + 9000}
    table = predict(images[what], kind=kind)
    assert table["flags"].tolist() == ["no_nucleus"]
    assert table["call"].tolist() == [""]
    assert table[SCORES].isna().all(axis=None)
    assert table["nucleus_id"].isna().all()


@pytest.mark.slow
def test_nuclei_whose_background_was_cut_off_go_to_review_where_no_g1_peak_tells_how_bright_they_are(tmp_path):
    counts = np.round(read_plane(FIELD).pixels * 65535)[:300, :300]
    for name, dark in (("raw", 0), ("cut", np.percentile(counts, 70))):
        write_image(tmp_path / f"{name}.tif", np.maximum(counts - dark, 0).astype(np.uint16))
    raw, cut = (predict(tmp_path / f"{name}.tif") for name in ("raw", "cut"))
    assert not raw["flags"].str.contains("clipped_background").any()
    assert len(cut) > 8 and cut["review"].str.contains("clipped_background").all()
    own = predict(tmp_path / "cut.tif", g1_position=float(cut["integrated_dna"].median()))
    assert not own["flags"].str.contains("clipped_background").any()


@pytest.mark.slow
def test_few_nuclei_in_a_field_tell_no_scale(tmp_path):
    pixels = read_plane(FIELD).pixels[:130, :130]
    alone, stated = predict(pixels, kind="field"), predict(pixels, kind="field", pixel_size_um=0.325)
    assert 1 < len(alone) < 8
    assert alone["review"].str.contains("scale_by_few").all()
    assert not stated["review"].str.contains("scale_by_few").any()


@pytest.mark.slow
def test_without_a_g1_peak_calls_by_a_guessed_scale_go_to_review():
    pixels = read_plane(FIELD).pixels[:300, :300]
    guessed, stated = predict(pixels, kind="field"), predict(pixels, kind="field", pixel_size_um=0.325)
    peak = float(guessed["integrated_dna"].median())
    assert len(guessed) > 8 and guessed["review"].str.contains("scale_by_guess").all()
    for told in (stated, predict(pixels, kind="field", g1_position=peak)):
        assert not told["review"].str.contains("scale_by_guess").any()


@pytest.mark.slow
def test_pixels_finer_than_the_model_learned_from_go_to_review_without_a_g1_peak():
    """Of nuclei of 58 px without one, 13 of 20 in G1 were called S, most of them surely."""
    pixels = read_plane(FIELD).pixels[:130, :130]
    for size_um, own, is_said in ((0.325, {}, False), (0.2, {}, True), (0.2, {"g1_position": 20.0}, False)):
        table = predict(pixels, kind="field", pixel_size_um=size_um, **own)
        assert len(table) > 1 and table["review"].str.contains("fine_pixels").eq(is_said).all()


@pytest.mark.slow
def test_what_is_out_of_focus_in_coarse_pixels_goes_to_review_without_a_g1_peak():
    """Rims of 6 to 8 of these px are no wider than 8: of 100 nuclei half were called wrongly, most in G1 as G2."""
    sharp = SimulationParameters(pixel_size_um=0.65, defocused_fraction=0)
    blurred = replace(sharp, defocused_fraction=1, defocus_um=6)
    for parameters, own, is_said in ((sharp, {}, False), (blurred, {}, True), (blurred, {"g1_position": 20.0}, False)):
        made = simulate_field((250, 250), 16, seed=50, parameters=parameters)
        table = predict(made.image, pixel_size_um=0.65, **own)
        assert len(table) > 8 and table["flags"].str.count("out_of_focus").eq(int(is_said)).all()
    for parameters, is_said in ((sharp, False), (blurred, True)):
        made = simulate_nuclei({"G1": 4, "G2": 4}, 50, 3, parameters)
        crops = [Plane(image[0], 12, made.pixel_size_um, f"crop {k}") for k, image in enumerate(made.images)]
        assert (predict(crops)["flags"].str.contains("out_of_focus").mean() > 0.8) == is_said


@pytest.mark.slow
def test_what_is_noisier_than_any_picture_learned_from_goes_to_review_without_a_g1_peak():
    """Of 100 crops 46 were called wrongly and surely, nearly all in G1, for nuclei look dim beside more noise."""
    rng, crops = np.random.default_rng(0), [0.1 + 0.8 * i[0] for i in simulate_nuclei({"G1": 3, "G2": 3}, 64, 3).images]
    field = read_plane(FIELD).pixels[:300, :300]
    noisy = [(crop + rng.normal(0, 0.02, crop.shape)).astype(np.float32) for crop in crops]
    dim = (field + rng.normal(0, field.max() / 8, field.shape)).clip(0).astype(np.float32)
    for pictures, own, is_said in (
        (crops, {}, False),
        (noisy, {}, True),
        (field, {}, False),
        (dim, {}, True),
        (dim, {"g1_position": 20.0}, False),
    ):
        table = predict(pictures, **own)
        assert len(table) > 1 and table["review"].str.contains("noisy").eq(is_said).all()


@pytest.mark.slow
def test_a_picture_that_was_changed_goes_to_review_with_a_g1_peak_too():
    pixels = read_plane(FIELD).pixels[:300, :300]
    for own in ({}, {"g1_position": 20.0}):
        for changed in (np.log(65535 * pixels + 1) / 12, np.sqrt(pixels)):
            assert predict(changed, **own)["review"].str.contains("changed_picture").all()
        assert not predict(pixels, **own)["review"].str.contains("changed_picture").any()


def test_the_maximum_of_a_stack_goes_to_review_and_one_of_its_planes_does_not():
    """Of 36 nuclei 6 calls were wrong in one plane, 13 to 19 in the maximum of 3 to 15."""
    plane = replace(read_plane(FIELD), pixels=read_plane(FIELD).pixels[:130, :130])
    for n_planes in (1, 7):
        table = predict(replace(plane, n_planes=n_planes))
        assert table["review"].str.contains("changed_picture").eq(n_planes > 1).all()


def test_an_inverted_picture_has_no_nucleus_and_says_how_it_looks(tmp_path):
    counts = np.round(read_plane(FIELD).pixels * 65535).astype(np.uint16)[:300, :300]
    write_image(tmp_path / "white.tif", 65535 - counts)
    with pytest.warns(UserWarning, match="dark objects on a bright background"):
        table = predict(tmp_path / "white.tif")
    assert table["flags"].tolist() == ["no_nucleus;inverted"] and table["call"].tolist() == [""]


@pytest.mark.slow
def test_a_crop_is_told_from_a_field(field):
    crop = predict(MITOSIS)
    assert crop["kind"].tolist() == ["nucleus"]
    assert field["kind"].iloc[0] == "field"
    assert len(predict(FIELD, kind="nucleus")) == 1


@pytest.mark.slow
def test_an_unknown_scale_is_flagged_and_a_known_one_is_not(field, unknown):
    assert predict(MITOSIS)["flags"].str.contains("scale_unknown").all()
    assert not predict(MITOSIS, pixel_size_um=0.50625)["flags"].str.contains("scale_unknown").any()
    assert not field["flags"].str.contains("scale_unknown").any()
    assert unknown["flags"].str.contains("scale_unknown").all()
    assert unknown["pixel_size_um"].iloc[0] == pytest.approx(0.325, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.1, 0.5, 2, 15])
def test_a_pixel_size_that_cannot_be_is_said_and_changes_no_call(ratio, unknown):
    plane = read_plane(FIELD)
    with pytest.warns(UserWarning, match="its scale counts as unknown"):
        table = predict(Plane(plane.pixels, 16, ratio * plane.pixel_size_um, "wrong"))
    assert table["flags"].str.contains("scale_unknown").all()
    assert (table["call"] == unknown["call"]).all()


@pytest.mark.slow
def test_nuclei_are_looked_for_once_where_the_size_of_a_pixel_is_that_of_the_camera(monkeypatch):
    plane, told = read_plane(FIELD), []
    find = nuclei.find_in_field
    monkeypatch.setattr(
        nuclei, "find_in_field", lambda pixels, um, backend: told.append(um) or find(pixels, um, backend)
    )
    with pytest.warns(UserWarning, match="its scale counts as unknown"):
        predict(Plane(plane.pixels, 16, 6.45, "camera"), "lr")
    assert told == [None]


@pytest.mark.slow
def test_bad_files_among_good_ones_are_rows(tmp_path):
    (tmp_path / "bad.png").write_text("text")
    found = list(map(Predictor("lr").predict, [MITOSIS, tmp_path / "bad.png", FIELD]))
    assert [p.error is None for p in found] == [True, False, True]
    row = found[1].table.iloc[0]
    assert row["flags"] == "unreadable"
    assert "no image in a known format" in row["error"]
    assert row["call"] == ""
    table = predict([MITOSIS, tmp_path / "bad.png"])
    assert table["error"].ne("").tolist() == [False, True]


def test_the_only_image_is_refused(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        predict(tmp_path / "none.png")
    with pytest.raises(ImageError, match="holds no image"):
        predict(tmp_path)
    with pytest.raises(SettingError, match="kind"):
        predict(MITOSIS, kind="cell")
    with pytest.raises(SettingError, match=r"pixel size: -1\.0"):
        predict(MITOSIS, pixel_size_um=-1.0)

    with pytest.raises(SettingError, match="segmentation: 'otsu' is unknown"):
        predict(MITOSIS, segmentation="otsu")


@pytest.mark.slow
def test_a_pixel_size_that_was_asked_for_and_cannot_be_gives_way_to_the_stated_one(found_once):
    """At twice the size nuclei would have four times the area: what cannot be is not said to be taken."""
    model, plane = Predictor("lr", Settings(pixel_size_um=0.65)), read_plane(FIELD)
    made = model.predict(plane)
    assert set(made.columns["pixel_size_um"]) == {plane.pixel_size_um} and made.nuclei.scale_is_known
    assert made.plane_note.endswith("0.65 um was asked for, but is not plausible: the stated one is used")
    made = model.predict(replace(plane, pixel_size_um=6.5))
    assert "0.65 um was asked for, but is not plausible; at 0.65 um a pixel its nuclei would have" in made.plane_note
    areas = re.search(r"have ([\d,]+) um2", Predictor("lr").predict(replace(plane, pixel_size_um=6.5)).plane_note)
    assert len(areas[1]) > 4 and "," in areas[1]


def test_paths_are_listed_once_and_in_order(tmp_path):
    for name in ("b.png", "a.png", "notes.txt"):
        (tmp_path / name).write_text("x")
    both = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert expand([tmp_path]) == both
    assert expand([tmp_path / "b.png", tmp_path / "*.png"]) == both[::-1]
    (nothing,) = expand([tmp_path / "*.tif"])
    assert "no file matches" in str(nothing)


@pytest.mark.slow
def test_a_list_counts_each_file_once_and_no_other_stain_with_the_masks_of_what_is_left(tmp_path):
    paths, masks, rng = [], [], np.random.default_rng(0)
    for k, name in enumerate(("A01_DAPI", "A01_Ki67", "A02_DAPI", "A02_Ki67")):
        pixels, labels, _ = disk(radius_um=6 + k)
        paths.append(tmp_path / f"{name}.tif")
        write_image(paths[-1], (65535 * pixels + rng.integers(0, 99, pixels.shape)).astype(np.uint16), 0.5)
        masks.append(labels)
    with pytest.warns(UserWarning, match=r"left out: 2 files of other channels .*Ki67"):
        table = predict([paths[0], *paths], "lr", masks=[masks[0], *masks])
        with pytest.raises(SettingError, match="2 for 4 images"):
            predict(paths, masks=masks[:2])
        assert len(predict(tmp_path, "lr", masks=masks[:2])) == 2
    assert table["image"].tolist() == [str(paths[0]), str(paths[2])]
    assert table["area_px"].tolist() == [masks[0].sum(), masks[2].sum()]


def test_arrays_keep_their_places_in_a_list_and_are_told_apart():
    pixels = read_plane(MITOSIS).pixels
    masked = np.ma.masked_array(pixels, pixels > np.median(pixels))
    table = predict([pixels, MITOSIS, masked, pixels[0]], "lr")
    assert table["image"].tolist() == ["array 1", str(MITOSIS), "array 2", "array 3"]
    assert [text.partition(";")[0] for text in table["error"][2:]] == [
        "some of its pixels are masked", f"its shape is {pixels[0].shape}"
    ]  # fmt: skip
    assert predict([pixels], "lr")["image"].tolist() == ["array"]
    for numbers in (pixels.tolist(), [0.1, 0.2]):
        with pytest.raises(SettingError, match="a list of numbers is not an image"):
            predict(numbers)


@pytest.mark.parametrize(
    "several",
    [iter, pd.Series, np.array, lambda paths: pd.Series(paths).unique(), lambda paths: dict.fromkeys(paths).keys()],
)
def test_paths_are_taken_from_whatever_holds_them_in_order(several):
    assert as_images(several(["a.png", "b.png"])) == ["a.png", "b.png"] and as_list(several([MITOSIS])) == [MITOSIS]


def test_one_image_is_not_taken_apart():
    pixels = np.zeros((2, 2))
    assert [image.pixels is pixels for image in as_images(pixels)] == [True]
    assert as_list("a.png") == ["a.png"] and as_list(MITOSIS) == [MITOSIS]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("pixelsize", 0.3), ("pixel_size_um", "0.3"), ("pixel_size_um", True), ("g1_position", "1"), ("model", None),
     ("plate_map", pd.DataFrame()), ("plane", "0"), ("plane", True), ("channel", 1.0)],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_one_line(setting, value):
    with pytest.raises(SettingError):
        predict(MITOSIS, **{setting: value})


def test_numbers_of_numpy_are_numbers():
    assert Settings(plane=np.int64(0), pixel_size_um=np.float32(0.5)).pixel_size_um == 0.5
    rule = InputRule(np.int64(32), np.float32(0.5), scale=nuclei.Scale(np.float32(200)))
    assert InputRule.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule


def test_what_holds_pixels_is_compared_as_one_thing():
    plane = read_plane(MITOSIS)
    found = Predictor("lr").predict(plane)
    for one in (plane, found, found.nuclei):
        other = copy.copy(one)
        assert one == one and one != other and one not in [other] and len({one, other}) == 2


@pytest.mark.slow
def test_a_model_by_dna_content_needs_the_g1_peak(field):
    model = load_checkpoint("nagao6-g1")
    crop = predict(MITOSIS, model)
    assert crop["call"].tolist() == [""]
    assert "no_g1_peak" in crop["flags"].iloc[0]
    # Twice the DNA by the same picture must move calls towards later phases.
    dna = field["integrated_dna"].median()
    low, high = (predict(FIELD, model, g1_position=dna * factor)[SCORES].mean() for factor in (2.0, 0.5))
    assert high["p_G2"] + high["p_M"] > low["p_G2"] + low["p_M"] + 0.2


@pytest.fixture(scope="module")
def crowd():
    """Return a field of enough nuclei for a G1 peak."""
    made = simulate_field((640, 640), 150, seed=11)
    return Plane((made.image / np.float32(4095)).astype(np.float32), 16, made.pixel_size_um, "crowd.tif")


@pytest.mark.slow
def test_auto_takes_the_anchored_model_where_the_g1_peak_is_clear(crowd):
    plane = read_plane(FIELD)
    few = predict(Plane(plane.pixels[:320, :320], 16, plane.pixel_size_um, "few"), kind="field")
    assert taken(few) == {("nagao6", "no clear G1 peak")}
    assert taken(predict(MITOSIS)) == {("nagao6", "one nucleus")}
    chosen, named = predict(crowd), predict(crowd, ANCHORED)
    assert chosen["g1_quality"].iloc[0] > LEAST_QUALITY
    assert taken(chosen) == {(ANCHORED, "G1 peak of the field")}
    assert taken(named) == {(ANCHORED, "")}
    pd.testing.assert_frame_equal(chosen.drop(columns="model_reason"), named.drop(columns="model_reason"))


def test_auto_takes_a_g1_peak_that_is_given_for_crops_too():
    dna = predict(MITOSIS)["integrated_dna"].iloc[0]
    table = predict(MITOSIS, g1_position=dna / 2)
    assert taken(table) == {(ANCHORED, "G1 peak of the slide")}
    assert table["dna_copies"].tolist() == [pytest.approx(4)]


def test_a_blurred_peak_is_not_taken():
    choice = ModelChoice.of("auto")
    for quality, reason in ((LEAST_QUALITY / 2, ""), (0.9, "one hump")):
        peak = G1Peak(1.0, 0.1, 2.0, quality=quality, reason=reason)
        assert choice.take("field", "", peak)[0].name == "nagao6"


@pytest.mark.slow
def test_a_slide_lends_its_peak_to_crops():
    made = simulate_nuclei({"G1": 45, "S": 10, "G2": 25, "M": 2}, 48, seed=8)
    planes = [Plane(image[0], 16, made.pixel_size_um, str(k)) for k, image in enumerate(made.images)]
    table = predict(planes, is_slide=True)
    assert taken(table) == {(ANCHORED, "G1 peak of the slide")}
    truth = np.array(PHASES)[made.labels]
    assert (table["call"].to_numpy() == truth).mean() > 0.65
    few = predict(planes[:3], is_slide=True)
    assert taken(few) == {("nagao6", "one nucleus")}
    with pytest.raises(SettingError, match="fewer than the 60"):
        predict(planes[:3], ANCHORED, is_slide=True)
    # One that needs no peak calls them without it.
    assert (predict(planes[:3], "nagao6", is_slide=True)["call"] == few["call"]).all()


def test_images_are_not_of_one_slide_and_each_by_itself():
    with pytest.raises(SettingError, match="is_each: is_slide was given too"):
        predict(FIELD, is_slide=True, is_each=True)


def test_a_setting_that_no_image_can_satisfy_stops_a_batch(monkeypatch):
    monkeypatch.setitem(sys.modules, "stardist", None)
    with pytest.raises(SettingError, match="stardist"):
        predict([FIELD, FIELD], kind="field", segmentation="stardist")


def test_an_image_that_does_not_fit_into_memory_is_a_row(monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(predictor, "find_nuclei", full)
    table = predict([FIELD, MITOSIS])
    assert table["flags"].tolist() == ["unreadable"] * 2
    assert "not enough memory" in table["error"].iloc[0]


@pytest.mark.slow
def test_a_caller_who_has_faults_of_numbers_raised_gets_the_same_rows():
    with np.errstate(all="raise"):
        found = predict([FIELD, MITOSIS])
    pd.testing.assert_frame_equal(found, predict([FIELD, MITOSIS]))


def test_nothing_to_predict_is_said():
    with pytest.raises(SettingError, match="the list is empty"):
        predict([])
    with pytest.raises(ImageError, match="gray image"):
        predict(np.zeros((4, 4, 3)))


_PEAK_OF_MANY = """
import resource, sys
from cellcycle.predict import Predictor
for k, found in enumerate(map(Predictor("lr").predict, (f"{sys.argv[1]}/{k % 4}.png" for k in range(400)))):
    assert found.n_nuclei == 1
    if k in (39, 399):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_stays_flat_over_any_number_of_images(tmp_path):
    made = simulate_nuclei({"G1": 2, "M": 2}, 48, seed=4)
    for k, image in enumerate(made.images):
        write_image(tmp_path / f"{k}.png", np.round(image[0] * 65535).astype(np.uint16))
    # A child of its own: only there is the peak that of the images and of nothing else.
    call = [sys.executable, "-c", _PEAK_OF_MANY, str(tmp_path)]
    few, many = map(int, subprocess.run(call, capture_output=True, check=True).stdout.split())
    assert many < few + 6 * 1024 * (1 if sys.platform != "darwin" else 1024)


def test_the_runtime_is_refused_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(CheckpointError):
        Predictor(tmp_path)


def test_pictures_have_the_models_scale_whatever_the_images_has():
    areas = []
    for size_px, pixel_size_um in ((48, 1.0), (96, 0.5), (240, 0.2)):
        pixels, labels, centre = disk(size_px, pixel_size_um)
        picture = cut(pixels, labels, 1, centre, 0.1, pixel_size_um, RULE)
        assert picture.shape == (32, 32)
        areas.append(picture.sum() / 0.4 * RULE.pixel_size_um**2)
    # A disk of 7 um in a picture of 16 um: 154 um2.
    np.testing.assert_allclose(areas, np.pi * 49, rtol=0.05)


def test_beyond_the_image_lies_background():
    pixels, labels, centre = disk(40, 0.5, radius_um=4, centre_um=(2.0, 18.0))
    picture = cut(pixels, labels, 1, centre, 0.1, 0.5, RULE)
    assert picture[:11].max() == pytest.approx(0, abs=1e-6)
    assert picture[16, 16] == pytest.approx(0.4, abs=1e-3)


def test_neighbours_are_painted_over_with_background():
    pixels, labels, centre = disk()
    alone = cut(pixels, labels, 1, centre, 0.1, 0.5, RULE)
    crowded, crowd = pixels.copy(), labels.copy()
    crowded[40:56, 66:80], crowd[40:56, 66:80] = 0.9, 2
    np.testing.assert_allclose(cut(crowded, crowd, 1, centre, 0.1, 0.5, RULE), alone, atol=1e-6)


def test_the_unit_g1_counts_genome_copies():
    pixels, labels, _ = disk()
    measured = measured_columns(pixels, labels)
    rule = InputRule(32, 0.5, "painted", "g1", ("dna_copies",))
    nuclei = Nuclei("field", measured, labels, 0.5, True)
    inputs = inputs_of(pixels, nuclei, rule, Anchor(float(measured["integrated_dna"][0]) / 2))
    assert inputs.images.sum() * rule.pixel_size_um**2 == pytest.approx(4, rel=0.02)
    assert inputs.measurements[0, 0] == pytest.approx(4)
    assert np.isnan(inputs_of(pixels, nuclei, rule).images).all()


@pytest.mark.slow
@pytest.mark.realdata
def test_real_cells_keep_their_calls_when_turned_or_half_exposed(real_data):
    images = sorted((real_data / "jurkat").glob("*/*.tif"))[::40]
    auto = Predictor("auto", Settings("nucleus"))
    flips = []
    for file in images:
        plane = read_plane(file)
        counts = np.round(plane.pixels * 65535).astype(np.uint16)
        variants = [plane.pixels, np.rot90(plane.pixels), plane.pixels[:, ::-1], (counts // 2) / np.float32(65535)]
        calls = [auto.predict(np.ascontiguousarray(v)).table["call"].iloc[0] for v in variants]
        flips.append([call != calls[0] for call in calls[1:]])
    assert np.mean(flips, axis=0).max() < 0.05


def test_whatever_names_a_file_is_a_path(tmp_path):
    shutil.copy(MITOSIS, tmp_path / "a.png")
    with os.scandir(tmp_path) as found:
        assert predict(next(found))["error"].tolist() == [""]

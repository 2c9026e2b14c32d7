"""Masks and outlines that go out come back in other programs; masks of others come in, or are refused in one line."""

import json
import math
import os
import shutil
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import zoom
from skimage.draw import polygon2mask
from skimage.morphology import erosion

from cellcycle import cli, files
from cellcycle.errors import ImageError, SettingError
from cellcycle.images import expand, read_plane, write_image
from cellcycle.masks import read_mask
from cellcycle.outlines import outlines_of, write_geojson, write_rois
from cellcycle.phases import PHASE_COLOURS, PHASES, rgb
from cellcycle.predict import Predictor, predict
from cellcycle.predict.pairs import find_masks
from cellcycle.simulation import simulate_field

FIELD = files.repository() / "data" / "sample" / "fields" / "fields" / "field_001.tif"
MITOSIS = files.repository() / "data" / "sample" / "nuclei" / "M" / "M_0002.png"


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Return a function that runs `cellcycle predict` in an empty folder: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cellcycle", "predict", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture(scope="module")
def found():
    """Return the prediction of a field."""
    return Predictor().predict(FIELD)


@pytest.fixture(scope="module")
def small():
    """Return a picture of twelve discs (H, W) float32, and its labels."""
    y, x = np.mgrid[:120, :160]
    labels = np.zeros((120, 160), np.int32)
    for k in range(12):
        cy, cx = 20 + 40 * (k // 4), 20 + 40 * (k % 4)
        labels[(y - cy) ** 2 + (x - cx) ** 2 <= (6 + k % 5) ** 2] = k + 1
    noise = np.random.default_rng(0).normal(0, 0.01, labels.shape)
    return np.clip(0.1 + 0.4 * (labels > 0) + noise, 0, 1).astype(np.float32), labels


def iou_of(rings, mask) -> float:
    """Return how well polygons, filled at the centres of pixels, cover a mask (H, W) bool."""
    # `polygon2mask` has pixel centres at whole numbers, files have them at halves; rows come first there.
    filled = np.any([polygon2mask(mask.shape, np.asarray(ring)[:, ::-1] - 0.5) for ring in rings], axis=0)
    return (filled & mask).sum() / (filled | mask).sum()


# --- out ---


@pytest.mark.slow
def test_a_written_mask_holds_the_numbers_of_the_table_and_the_pixel_size(run, found):
    assert run(FIELD, "--output", "rows.csv", "--masks", "masks")[0] == 0
    rows = pd.read_csv("rows.csv")
    with tifffile.TiffFile("masks/field_001_mask.tif") as tiff:
        labels, page = tiff.asarray(), tiff.pages[0]
    assert labels.dtype == np.uint16 and page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    assert set(np.unique(labels)) - {0} == set(rows["nucleus_id"])
    assert np.array_equal(labels, found.nuclei.labels)
    assert (np.bincount(labels.ravel())[rows["nucleus_id"]] == rows["area_px"]).all()
    (n, per), unit = page.tags["XResolution"].value, page.tags["ResolutionUnit"].value
    assert (unit, 1e4 * per / n) == (tifffile.RESUNIT.CENTIMETER, pytest.approx(rows["pixel_size_um"][0], rel=1e-4))


@pytest.mark.slow
def test_a_written_mask_gives_the_same_rows_again(run):
    pixels = tifffile.imread(FIELD)[:320, :320]
    write_image("a.tif", pixels, 0.5)
    write_image("b.tif", pixels[:, ::-1], 0.5)
    assert run("a.tif", "b.tif", "--output", "rows.csv", "--masks", "masks")[0] == 0
    assert run("a.tif", "b.tif", "--output", "again.csv", "--use-masks", "masks")[0] == 0
    pd.testing.assert_frame_equal(pd.read_csv("again.csv"), pd.read_csv("rows.csv"))


def test_a_crop_is_written_without_its_neighbours(run):
    y, x = np.mgrid[:80, :80]
    picture = 200 * np.exp(-((np.hypot(y - 40, x - 40) / 14) ** 8)) + 180 * np.exp(-((np.hypot(y - 8, x - 8) / 7) ** 8))
    write_image("crop.png", (picture + 10).astype(np.uint8))
    assert run("crop.png", "--nucleus", "--masks", "masks", "--outlines", "o.geojson", "--rois", "r.zip")[0] == 0
    labels = tifffile.imread("masks/crop_mask.tif")
    assert set(np.unique(labels)) == {0, 1} and not labels[8, 8]
    assert len(json.loads(Path("o.geojson").read_text())["features"]) == 1


def test_more_nuclei_than_16_bits_count(tmp_path):
    from cellcycle.masks import write_mask

    labels = np.zeros((5, 5), np.int32)
    labels[1, 1], labels[3, 3] = 3, 70_000
    write_mask(tmp_path / "x_mask.tif", labels, [3, 70_000], None)
    read = tifffile.imread(tmp_path / "x_mask.tif")
    assert read.dtype == np.uint32 and np.array_equal(read, labels)


@pytest.mark.slow
def test_geojson_has_the_form_of_qupath_and_the_shapes_of_the_labels(run, found):
    assert run(FIELD, "--output", "rows.csv", "--outlines", "cells.geojson")[0] == 0
    rows = pd.read_csv("rows.csv", keep_default_na=False, na_values=[""]).set_index("nucleus_id")
    made = json.loads(Path("cells.geojson").read_text("utf-8"), parse_constant=pytest.fail)
    assert made["type"] == "FeatureCollection" and len(made["features"]) == len(rows)
    for feature in made["features"]:
        about, geometry = feature["properties"], feature["geometry"]
        number = int(about["name"])
        assert feature["type"] == "Feature" and about["objectType"] == "detection"
        assert about["classification"] == {
            "name": rows["call"][number],
            "color": list(rgb(PHASE_COLOURS[rows["call"][number]])),
        }
        assert all(isinstance(value, float) and math.isfinite(value) for value in about["measurements"].values())
        assert about["measurements"]["p_S"] == pytest.approx(rows["p_S"][number], abs=1e-4)
        assert all(isinstance(value, str) for value in about["metadata"].values())
        polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
        assert geometry["type"] in ("Polygon", "MultiPolygon") and all(len(p) == 1 for p in polygons)
        assert all(ring[0] == ring[-1] and len(ring) >= 4 for (ring,) in polygons)
        assert iou_of([ring for (ring,) in polygons], found.nuclei.labels == number) > 0.99


@pytest.mark.slow
def test_rois_come_back_in_their_reader_with_name_colour_and_group(run, found):
    roifile = pytest.importorskip("roifile")
    assert run(FIELD, "--output", "rows.csv", "--rois", "cells.zip")[0] == 0
    rows = pd.read_csv("rows.csv")
    rois = roifile.roiread("cells.zip")
    for roi, number, call in zip(rois, rows["nucleus_id"], rows["call"], strict=True):
        assert roi.name == f"{number:05d}-{call}"
        assert roi.group == PHASES.index(call) + 1 and roi.stroke_color == bytes((255, *rgb(PHASE_COLOURS[call])))
        assert iou_of([roi.coordinates()], found.nuclei.labels == number) > 0.99


def test_odd_shapes_keep_their_pixels_in_both_formats(tmp_path):
    import roifile

    labels = np.zeros((12, 20), np.int32)
    labels[1, 1] = 2  # one pixel
    labels[3, 3:9] = 5  # a line
    labels[6:9, 1:4], labels[6:9, 6:9] = 9, 9  # two parts
    labels[5:12, 11:18], labels[7:9, 13:15] = 12, 0  # a hole
    labels[0, 19] = labels[1, 18] = 14  # touching at a corner, at the rim of the image
    ids = [2, 5, 9, 12, 14]
    columns = {"nucleus_id": [*map(float, ids), math.nan], "call": ["G1", "", "M", "S", "G2", ""]}
    columns |= {
        name: [0.5, math.nan, 1, 1, 1, 1] for name in ("confidence", "area_um2", "integrated_dna", "dna_copies")
    }
    columns |= {name: [""] * 6 for name in ("flags", "prediction_set", "review")} | {"p_G1": [1.0] * 6}
    write_geojson(tmp_path / "a.geojson", labels, columns, PHASES)
    write_rois(tmp_path / "a.zip", labels, columns, PHASES)
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert "classification" not in features[1]["properties"]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}, "it holds the clock"
    rois, filled = roifile.roiread(tmp_path / "a.zip"), labels.copy()
    filled[7:9, 13:15] = 12
    for number, feature, roi, rings in zip(ids, features, rois, outlines_of(labels, ids), strict=True):
        parts = feature["geometry"]["coordinates"]
        parts = parts if feature["geometry"]["type"] == "MultiPolygon" else [parts]
        multi = roi.coordinates(multi=True)
        for shapes in ([ring for (ring,) in parts], multi, rings):
            assert iou_of(shapes, filled == number) == 1
        assert (roi.left, roi.top) <= tuple(np.concatenate(multi).min(axis=0))


@pytest.mark.parametrize("seed", range(3))
def test_other_readers_find_valid_outlines_with_the_area_of_the_labels(tmp_path, small, seed):
    import roifile
    from scipy.ndimage import binary_fill_holes
    from shapely.geometry import Polygon, shape

    labels, luck = small[1].copy(), np.random.default_rng(seed)
    # Ragged nuclei, in parts that touch at corners alone.
    labels[luck.random(labels.shape) < 0.4] = 0
    ids = list(range(1, 13))
    calls = [*PHASES, "", *PHASES, *PHASES[:3]]
    columns = {"nucleus_id": [*map(float, ids)], "call": calls}
    columns |= {name: [1.0] * 12 for name in ("confidence", "area_um2", "integrated_dna", "dna_copies", "p_G1")}
    columns |= {name: [""] * 12 for name in ("flags", "prediction_set", "review")}
    write_geojson(tmp_path / "a.geojson", labels, columns, PHASES)
    write_rois(tmp_path / "a.zip", labels, columns, PHASES)
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    for number, feature, roi in zip(ids, features, roifile.roiread(tmp_path / "a.zip"), strict=True):
        filled, outline = binary_fill_holes(labels == number), shape(feature["geometry"])
        parts = [Polygon(ring) for ring in roi.coordinates(multi=True)]
        assert outline.is_valid and all(part.is_valid for part in parts)
        # An outline cuts every corner of a pixel by an eighth of its area: half a pixel a ring, whatever its shape.
        n_rings = len(getattr(outline, "geoms", [outline]))
        assert outline.area == pytest.approx(filled.sum() - 0.5 * n_rings)
        assert sum(part.area for part in parts) == pytest.approx(outline.area)


def test_a_written_mask_is_read_by_scikit_image_with_the_areas_of_the_labels(tmp_path, small):
    from skimage import io, measure

    from cellcycle.masks import write_mask

    write_mask(tmp_path / "x_mask.tif", small[1], range(1, 13), 0.5)
    regions = measure.regionprops(io.imread(tmp_path / "x_mask.tif"))
    assert [region.label for region in regions] == list(range(1, 13))
    assert [region.area for region in regions] == np.bincount(small[1].ravel())[1:].tolist()


@pytest.mark.slow
def test_of_several_images_there_is_one_file_each_and_a_single_file_is_refused(run):
    for folder in ("p1", "p2"):
        os.mkdir(folder)
        shutil.copy(MITOSIS, f"{folder}/x.png")
    assert run("p1", "p2", "--outlines", "o", "--rois", "r", "--masks", "m", "--output", "rows.csv")[0] == 0
    assert sorted(os.listdir("o")) == ["p1__x.geojson", "p2__x.geojson"]
    assert sorted(os.listdir("r")) == ["p1__x.zip", "p2__x.zip"]
    assert sorted(os.listdir("m")) == ["p1__x_mask.tif", "p2__x_mask.tif"]
    code, _, err = run("p1", "p2", "--outlines", "all.geojson")
    assert code == 2 and "name a folder" in err and not os.path.exists("all.geojson")
    for wrong in (
        ["--outlines", "o.zip"],
        ["--rois", "r.geojson"],
        ["--masks", "m.tif"],
        ["--rois", "/dev/null/r.zip"],
    ):
        code, _, err = run("p1/x.png", *wrong)
        assert code == 2 and err.count("\n") == 1 and not os.path.exists(wrong[1])
    assert run("p1", "p2", "--use-masks", "m", "--output", "again.csv")[0] == 0
    pd.testing.assert_frame_equal(pd.read_csv("again.csv"), pd.read_csv("rows.csv"), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--masks", "--outlines", "--rois"])
def test_only_what_an_earlier_run_wrote_is_replaced(run, option):
    shutil.copy(MITOSIS, "x.png")
    name = {"--masks": "x_mask.tif", "--outlines": "x.geojson", "--rois": "x.zip"}[option]
    for _ in range(2):
        assert run("x.png", option, "out")[2].count("Error") == 0
    assert os.listdir("out") == [name]
    Path("out", name).write_bytes(b"mine")
    code, _, err = run("x.png", option, "out", "--output", "rows.csv")
    assert code == 1 and err.count("Error: no ") == 1
    assert Path("out", name).read_bytes() == b"mine"
    if option != "--masks":
        code, _, err = run("x.png", option, f"out/{name}")
        assert code == 2 and "new file" in err and Path("out", name).read_bytes() == b"mine"


def test_masks_beside_their_images_are_no_images_of_the_next_run(run):
    shutil.copy(MITOSIS, "x.png")
    for _ in range(2):
        assert run(".", "--masks", ".", "--output", "rows.csv")[0] == 0
        assert len(pd.read_csv("rows.csv")) == 1


@pytest.mark.slow
def test_the_commands_of_the_docs_do_what_it_says(run):
    text = (files.repository() / "docs" / "predict.md").read_text("utf-8")
    block = text.split("## Your masks, and ours")[1].split("```")[1]
    pixels = tifffile.imread(FIELD)[:300, :300]
    write_image("field.tif", pixels)
    os.mkdir("masks")
    write_image("masks/field_cp_masks.png", Predictor().find(read_plane("field.tif")).labels.astype(np.uint16))
    commands = [line.split("#")[0].split() for line in block.strip().splitlines()]
    assert [command[:2] for command in commands] == [["cellcycle", "predict"]] * 4
    for command in commands:
        code, _, err = run(*command[2:])
        assert code == 0 and "Error" not in err
    assert sorted(os.listdir()) == ["field.geojson", "field.tif", "field.zip", "labels", "masks", "nuclei.csv"]
    assert set(np.unique(tifffile.imread("labels/field_mask.tif"))) - {0} == set(
        pd.read_csv("nuclei.csv")["nucleus_id"]
    )


# --- in: which mask ---


@pytest.mark.parametrize(
    "mask",
    ["x_cp_masks.png", "x_cp_masks.tif", "x.tif", "x_mask.tif", "x-labels.png", "x-labels.tif", "xNuclei.tiff",
     "x_Nuclei.png", "x.tif_labels.png", "X_MASKS.TIF", "x_nuclei_masks.tif", "x.stardist.tif", "plate/x_mask.tif",
     "plate__x_mask.tif", "x_Maske.tif", "x_ground_truth.tif"],
)  # fmt: skip
def test_masks_are_found_by_the_names_that_programs_give(tmp_path, mask):
    file = tmp_path / "masks" / mask
    file.parent.mkdir(parents=True)
    write_image(tmp_path / "a.tif", np.ones((3, 3), np.uint8))
    shutil.copy(tmp_path / "a.tif", file)
    assert find_masks([tmp_path / "plate" / "x.tif"], tmp_path / "masks") == [file]


@pytest.mark.parametrize(
    ("masks", "images", "finding"),
    [
        ([], ["x.tif"], "holds no mask of it"),
        (["y_mask.tif", "xy_mask.tif", "x_flows.tif"], ["x.tif"], "holds no mask of it"),
        (["x_mask.tif", "x_cp_masks.tif"], ["x.tif"], "could both be its mask"),
        (["x_mask.tif"], ["a/x.tif", "b/x.tif"], "it could belong to"),
        (["x_seg.npy"], ["x.tif"], "pickle"),
        (["a/x_mask.tif"], ["b/x.tif"], "holds no mask of it"),
    ],
)
def test_no_mask_or_two_are_one_line_for_each_image(tmp_path, masks, images, finding):
    for name in masks:
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "a.tif", np.ones((3, 3), np.uint8))
        shutil.copy(tmp_path / "a.tif", tmp_path / "m" / name)
    (tmp_path / "m").mkdir(exist_ok=True)
    for error in find_masks([tmp_path / name for name in images], tmp_path / "m"):
        assert finding in str(error) and "\n" not in str(error)


def test_the_nearest_name_and_folder_win(tmp_path):
    names = ["x_mask.tif", "x_nuclei_mask.tif", "a/x_mask.tif", "y_cp_masks.png", "y_seg.npy", "z/x_masks.tif"]
    for name in names:
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(b"1")
    images = ["q/x.tif", "q/x_nuclei.tif", "a/x.tif", "y.png"]
    found = find_masks([tmp_path / name for name in images], tmp_path / "m")
    assert [file.relative_to(tmp_path / "m").as_posix() for file in found] == names[:4]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["x.tif", "y.tif"], ["x_cp_masks.png", "x_cp_outlines.png", "x_cp_output.png", "x_flows.tif", "y_seg.tif"]),
        (["x.tif"], ["x_Probabilities.tif", "x_Simple Segmentation.tif", "x_prob1.tif", "x_labels_rgb.png"]),
        (["x_raw.tif", "y.ome.tif"], ["x_mask.tif", "X-labels.png", "y_cp_masks.png", "y.ome.tif_label.png"]),
        (["A01_DAPI.tif"], ["A01_DAPI_label.tif"]),
        (["x.tif", "y.tif"], ["x_gt.tif", "y_contours.png", "y_Segmentierung.tif"]),
        (["p/images/x.tif", "p/images/y.tif"], ["p/masks/x.tif", "p/Labels/y_label.tif"]),
        (["p/x.tif", "q/y.tif"], ["p/masks/x.tif", "q/cp_masks/y.tif"]),
        (["images/p/x.tif", "q/images/x.tif"], ["masks/p/x.tif", "q/masks/x.tif"]),
        # Without an image of the rest of the name, and words that are no masks.
        (["x_mask.tif", "y_label.tif"], []),
        (["masks/x.tif", "masks/y.tif"], []),
        (["masks/x.tif", "images/y.tif"], []),
        (["x.tif", "x_nuclei.tif", "x_labelled.tif", "x_flow.tif", "x_1.tif"], []),
    ],
)
def test_masks_and_maps_beside_their_images_are_left_out(tmp_path, monkeypatch, small, images, masks):
    monkeypatch.chdir(tmp_path)
    for name in (*images, *masks):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    for name in masks:
        write_image(name, small[1].astype(np.uint16))
    told = []
    assert sorted(os.path.relpath(file) for file in expand(["."], told.append)) == sorted(images)
    assert [line.startswith(f"left out: {len(masks)} mask") for line in told] == ([True] if masks else [])


@pytest.mark.parametrize("name", ["x_label.tif", "x_seg.tif", "x_dist.tif", "label/x.tif", "seg/x.tif"])
def test_pictures_are_no_masks_for_a_word_that_conditions_have_too(small, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    for file in ("x.tif", name):
        write_image(tmp_path / file, (small[0] * 5000).astype(np.uint16))
    assert len(expand([tmp_path])) == 2


def test_a_map_makes_fields_of_what_would_be_left_out_by_its_name(small, tmp_path):
    files = [str(tmp_path / name) for name in ("x.tif", "x_prob.tif", "MAX_x.tif", "x_8bit.tif")]
    for file in files:
        write_image(file, (small[0] * 5000).astype(np.uint16))
    assert expand(files) == files[:1] and expand(files, settle=set) == files


def test_nuclei_beside_an_image_are_its_mask_where_they_are_areas_of_one_value(small, tmp_path):
    for name, pixels in (("x.tif", small[0]), ("x_nuclei.tif", small[0]), ("xObjects.tif", small[1])):
        write_image(tmp_path / name, (pixels * 5000).astype(np.uint16))
    assert [Path(file).name for file in expand([tmp_path])] == ["x.tif", "x_nuclei.tif"]


@pytest.mark.slow
def test_masks_among_the_images_are_not_predicted_and_strays_are_named(run, small):
    pixels, labels = small
    for name in ("a", "b"):
        write_image(f"{name}.tif", (pixels * 65535).astype(np.uint16))
        write_image(f"{name}_cp_masks.png", labels.astype(np.uint16))
    os.mkdir("other")
    write_image("c_masks.tif", labels.astype(np.uint16))
    code, _, err = run(".", "--output", "plain.csv")
    rows = pd.read_csv("plain.csv", keep_default_na=False).set_index("image")
    assert code == 1 and "left out: 2 masks of other images, or maps made from them (a_cp_masks.png, b_" in err
    assert err.count("mask, not a picture") == 1 and set(rows.index) == {"a.tif", "b.tif", "c_masks.tif"}
    masks = rows[rows["error"] != ""]
    assert len(masks) == 1 and (masks["call"] == "").all() and masks["error"].str.contains("--use-masks").all()
    code, _, err = run(".", "--use-masks", ".", "--output", "rows.csv")
    rows = pd.read_csv("rows.csv")
    assert rows.groupby("image").size().to_dict() == {"a.tif": 12, "b.tif": 12, "c_masks.tif": 1}
    assert code == 1 and err.count("Error") == 1 and "c_masks.tif: it is a mask, not a picture" in err
    code, _, err = run("a.tif", "b.tif", "--use-masks", ".", "--output", "rows.csv")
    assert code == 0 and "Note: the mask c_masks.tif belongs to none of the images" in err


@pytest.mark.slow
def test_a_folder_of_masks_within_that_of_the_images_holds_no_images(run, small):
    pixels, labels = small
    os.makedirs("in/masks")
    write_image("in/zelle a\u0308.tif", (pixels * 65535).astype(np.uint16))
    write_image("in/masks/zelle \u00e4_masks.tif", labels.astype(np.uint16))
    write_image("in/masks/y.tif", labels.astype(np.uint16))
    code, _, err = run("in", "--use-masks", "in/masks", "--output", "rows.csv")
    assert code == 0 and "Note: the mask in/masks/y.tif belongs to none" in err
    assert len(pd.read_csv("rows.csv")) == 12
    code, _, err = run("gone.tif", "--use-masks", "in/masks")
    assert code == 2 and "no such file" in err
    for wrong in (["--segmentation", "cellpose"], ["--masks", "in/masks"]):
        assert run("in", "--use-masks", "in/masks", *wrong)[0] == 2


# --- in: what it says ---


def as_file(path, numbers):
    tifffile.imwrite(path, numbers, photometric="minisblack", metadata=None)
    return path


@pytest.mark.slow
def test_numbers_of_any_type_and_with_gaps_are_kept(small, tmp_path):
    pixels, labels = small
    gaps = np.where(labels > 0, labels * 100 + 7, 0)
    for kind in (np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64):
        read, remark = read_mask(as_file(tmp_path / "m.tif", gaps.astype(kind)), pixels)
        assert np.array_equal(read, gaps) and not remark
    table = predict(pixels, masks=gaps)
    assert table["nucleus_id"].tolist() == [100 * k + 7 for k in range(1, 13)]
    assert (table["area_px"] == np.bincount(labels.ravel())[1:]).all()
    # Discs that were drawn are no nuclei.
    assert set(table["call"]) <= {*PHASES, ""}


def test_gray_stored_as_colour_is_taken(small, tmp_path):
    pixels, labels = small
    Image.fromarray(np.repeat(labels.astype(np.uint8)[..., None], 3, axis=2)).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png", pixels)[0], labels)


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_black_and_white_becomes_its_connected_parts_and_says_so(small, tmp_path, white):
    pixels, labels = small
    mask = as_file(tmp_path / "m.tif", np.where(labels > 0, white, 0).astype(np.uint16))
    read, remark = read_mask(mask, pixels)
    assert "connected part" in remark
    assert len(np.unique(read)) == 13 and np.array_equal(read > 0, labels > 0)


def test_the_numbers_count_whatever_colours_show_them(small, tmp_path):
    pixels, labels = small
    colours = np.random.default_rng(0).integers(0, 255, (3, 256)).astype(np.uint8)
    palette = Image.fromarray(labels.astype(np.uint8), "P")
    palette.putpalette(colours.T.ravel().tolist())
    palette.save(tmp_path / "a.png")
    tifffile.imwrite(
        tmp_path / "b.tif", labels.astype(np.uint8), photometric="palette", colormap=colours * np.uint16(257)
    )
    tifffile.imwrite(tmp_path / "c.tif", labels.astype(np.uint8), imagej=True, metadata={"LUTs": [colours]})
    tifffile.imwrite(tmp_path / "d.tif", labels.astype(np.uint16), photometric="miniswhite")
    for name in ("a.png", "b.tif", "c.tif", "d.tif"):
        assert np.array_equal(read_mask(tmp_path / name, pixels)[0], labels), name


def test_white_background_is_seen_through(small, tmp_path):
    """ImageJ writes masks so: black on white, or white on black with 0 shown as white."""
    pixels, labels = small
    mask = np.where(labels > 0, 0, 255).astype(np.uint8)
    assert np.array_equal(read_mask(as_file(tmp_path / "m.tif", mask), pixels)[0] > 0, labels > 0)
    tifffile.imwrite(tmp_path / "w.tif", 255 - mask, photometric="miniswhite")
    read, remark = read_mask(tmp_path / "w.tif", pixels)
    assert np.array_equal(read > 0, labels > 0) and "connected part" in remark


def test_black_and_white_is_taken_as_it_is_where_nuclei_lie_at_the_corners(small):
    """White at the corners is background where it is darker, and nuclei where it is brighter."""
    pixels, labels = (array.copy() for array in small)
    for y, x in ((0, 0), (0, -30), (-20, 0), (-20, -30)):
        at = np.s_[y : y + 20 or None, x : x + 30 or None]
        labels[at], pixels[at] = 13, 0.5
    mask = np.where(labels > 0, 255, 0).astype(np.uint8)
    read, remark = read_mask(mask, pixels)
    assert np.array_equal(read > 0, labels > 0) and "inverted" not in remark


def test_a_mask_of_a_field_without_background_is_refused_and_one_of_half_precision_taken(small):
    """Its background is numbered as a nucleus; nuclei at the corners hide that."""
    pixels, labels = small
    full = np.where(labels > 0, labels, 13)
    full[:9, :9], full[-9:, :9], full[:9, -9:] = 14, 15, 16
    with pytest.raises(ImageError, match="it has no background"):
        read_mask(full.astype(np.uint16), pixels)
    with pytest.raises(ImageError, match="not finite"):
        read_mask(np.where(labels > 0, labels, np.nan), pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_mask(labels.astype(np.float16), pixels)[0], labels)


def odd(kind, labels):
    rgb_of = np.random.default_rng(1).integers(50, 255, (13, 3), dtype=np.uint8)
    rgb_of[0] = 0
    return {
        "another size": labels[:, :-1].astype(np.uint16),
        "turned": labels.T.astype(np.uint16),
        "fractions": (labels / 12).astype(np.float32),
        "not a number": np.where(labels > 0, labels, np.nan).astype(np.float32),
        "negative": np.where(labels > 0, labels, -1).astype(np.int16),
        "colour": rgb_of[labels],
        "several planes": np.stack([labels.astype(np.uint16)] * 4),
        "huge numbers": np.where(labels > 0, labels + np.int64(2**31), 0).astype(np.uint32),
        "all one": np.ones(labels.shape, np.uint8),
        "background 1": (labels + 1).astype(np.uint16),
        "classes": np.where(labels > 0, 1 + labels % 2, 0).astype(np.uint8),
        "outlines": np.where(labels - erosion(labels, np.ones((3, 3))) > 0, labels, 0).astype(np.uint16),
        "blurred": zoom(zoom(labels.astype(float), 0.5, order=1), 2, order=1).round().astype(np.uint16),
        "one number twice": np.where(labels == 12, 1, labels).astype(np.uint16),
        "another image": np.roll(labels, 20, axis=(0, 1)).astype(np.uint16),
        "complex": labels.astype(np.complex64),
    }[kind]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["another size", "turned", "fractions", "not a number", "negative", "colour", "several planes", "huge numbers",
     "all one", "background 1", "classes", "outlines", "blurred", "one number twice",
     "another image", "complex", "jpeg", "text", "cut off"],
)  # fmt: skip
def test_what_is_no_mask_of_the_image_is_one_line_and_costs_no_other_row(run, small, kind):
    pixels, labels = small
    os.mkdir("m")
    for name in ("bad", "good"):
        write_image(f"{name}.tif", (pixels * 65535).astype(np.uint16))
        write_image(f"m/{name}.tif", labels.astype(np.uint16))
    if kind == "jpeg":
        os.remove("m/bad.tif")
        Image.fromarray(labels.astype(np.uint8)).save("m/bad.jpg")
    elif kind in ("text", "cut off"):
        content = Path("m/bad.tif").read_bytes()
        Path("m/bad.tif").write_bytes(b"no pixels" if kind == "text" else content[: len(content) // 2])
    else:
        made = odd(kind, labels)
        tifffile.imwrite("m/bad.tif", made, photometric="rgb" if kind == "colour" else "minisblack")
    code, _, err = run("bad.tif", "good.tif", "--use-masks", "m", "--output", "rows.csv")
    rows = pd.read_csv("rows.csv")
    assert code == 1 and err.count("Error: ") == 1, err
    assert rows.groupby("image").size().to_dict() == {"bad.tif": 1, "good.tif": 12}
    assert rows["flags"][0] == "unreadable" and ";" in rows["error"][0]
    code, _, err = run("bad.tif", "--use-masks", "m")
    assert code == 2 and [line.split(":")[0] for line in err.splitlines()] == ["Note", "Error"]


def test_an_empty_mask_is_an_image_without_nuclei(small):
    table = predict(small[0], masks=np.zeros(small[1].shape, np.uint8))
    assert table["flags"].tolist() == ["no_nucleus"]


def test_a_mask_may_fill_a_crop_of_one_nucleus():
    pixels = np.random.default_rng(0).random((32, 32), np.float32)
    labels, _ = read_mask(np.ones((32, 32), int), pixels, is_one=True)
    assert labels.all()


def test_a_crop_with_its_own_mask_is_one_nucleus_also_in_two_parts():
    plane = read_plane(MITOSIS)
    nuclei = Predictor().find(plane)
    mask = np.where(nuclei.labels == 1, 7, 0)
    mask[mask.shape[0] // 2] = 0
    table = predict(plane, masks=mask)
    assert table["kind"].tolist() == ["nucleus"] and table["nucleus_id"].tolist() == [7]
    assert table["call"][0] == predict(plane)["call"][0]


@pytest.mark.slow
@pytest.mark.parametrize("is_stitched", [False, True])
def test_masks_change_nothing_that_they_should_not(is_stitched):
    """A field with the outlines that are found in it has the rows that it has without, where it was filled up, too."""
    pixels = read_plane(FIELD).pixels[:320, :320].copy()
    if is_stitched:
        pixels[:70, :90] = 0
    found = Predictor().predict(pixels)
    pd.testing.assert_frame_equal(predict(pixels, masks=found.nuclei.labels), found.table)


def test_one_mask_for_two_images_of_python_is_refused(small):
    with pytest.raises(SettingError, match="2 images"):
        predict([small[0], small[0]], masks=[small[1]])


@pytest.mark.slow
def test_a_stopped_run_with_masks_goes_on_and_notices_a_changed_mask(run, small, monkeypatch):
    from cellcycle.predict import command
    from cellcycle.predict.many import run_batch

    pixels, labels = small
    os.mkdir("m")
    for name in "abc":
        write_image(f"{name}.tif", (pixels * 65535).astype(np.uint16))
        write_image(f"m/{name}_masks.tif", np.where(labels > 0, 255, 0).astype(np.uint8))
    call = ["a.tif", "b.tif", "c.tif", "--use-masks", "m", "--masks", "out", "--output", "rows.csv"]

    def stopped(*arguments):
        yield next(run_batch(*arguments))
        raise KeyboardInterrupt

    for is_changed in (False, True):
        with monkeypatch.context() as patched:
            patched.setattr(command, "run_batch", stopped)
            assert run(*call)[0] != 0
        if is_changed:
            write_image("m/a_masks.tif", np.where(labels == 3, 255, 0).astype(np.uint8))
        code, _, err = run(*call)
        assert code == 0 and ("1 of 3 images were finished" in err) is not is_changed
        assert "the mask of a.tif and of 2 other images is black and white" in err
        assert len(pd.read_csv("rows.csv")) == (25 if is_changed else 36)
        assert len(os.listdir("out")) == 3
        os.remove("rows.csv")


@pytest.mark.parametrize("number", [0, -1, 1, 3, 9, np.nan, pd.NA])
def test_a_number_that_no_nucleus_has_is_refused_as_an_outline(number):
    labels = np.array([[2, 2, 0, 4]])
    assert len(outlines_of(labels, pd.Series([2, 4], dtype="Int64"))) == len(outlines_of(labels, [2.0, 4.0])) == 2
    with pytest.raises(SettingError, match="no nucleus has the number"):
        outlines_of(labels, [2, number])


@pytest.mark.slow
def test_nuclei_that_nobody_outlined_are_no_background():
    """Many programs leave out those that the border cuts: calls and flags of the others are as if all were outlined."""
    field = simulate_field((420, 420), 34, seed=5)
    pixels, labels = field.image.astype(np.float32) / 65535, field.labels
    cut = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    whole, part = (
        predict(pixels, pixel_size_um=field.pixel_size_um, masks=mask).set_index("nucleus_id")
        for mask in (labels, np.where(np.isin(labels, cut), 0, labels))
    )
    assert set(part.index) == set(whole.index) - set(cut)
    assert part["flags"].fillna("").eq(whole.loc[part.index, "flags"].fillna("")).all()
    assert part["call"].eq(whole.loc[part.index, "call"]).all()

"""Round the loop by the command line: predict, look at the doubtful, correct, and load what was said."""

import sys

import numpy as np
import pandas as pd
import pytest

from cellcycle import cli, review
from cellcycle.datasets import load_dataset
from cellcycle.images import read_plane, write_image
from cellcycle.simulation import simulate_field

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """Four fields with the phase of every nucleus that was simulated there: (folder, truth by image)."""
    folder, truth = tmp_path_factory.mktemp("plate"), {}
    for seed in (1, 2, 3, 10):  # with enough cells in mitosis
        made = simulate_field((420, 420), 45, seed=seed)
        write_image(folder / f"field{seed}.tif", made.image, made.pixel_size_um)
        truth[f"field{seed}.tif"] = made.truth
    return folder, truth


@pytest.fixture
def run(plate, monkeypatch, capsys):
    """Return a function that runs a command in the folder of the images and returns what it printed."""
    monkeypatch.chdir(plate[0])

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cellcycle", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as stop:
            assert not stop.code, capsys.readouterr().err
        return capsys.readouterr().out

    return call


def corrections(table: pd.DataFrame, truth: dict) -> dict[int, str]:
    """Say of each nucleus what the simulator knows of the one at its place."""
    said = {}
    for row, nucleus in table.iterrows():
        there = truth[nucleus["image"]]
        gaps = np.hypot(*(there[f"centroid_{axis}_px"] - nucleus[f"centroid_{axis}_px"] for axis in "yx"))
        said[row] = there["phase"].iloc[gaps.argmin()] if gaps.min() < 6 else review.NONE
    return said


def test_corrections_come_back_as_labelled_data(plate, run):
    truth = plate[1]
    run("predict", ".", "--model", "nagao6", "--output", "nuclei.csv")
    run("review", "nuclei.csv", "--images", ".", "--output", "review.html")
    table = review.read_table("nuclei.csv")
    said = corrections(table, truth)
    review.write_labels("labels.csv", review.labelled_rows(table, said))
    dataset = load_dataset("labels.csv")
    labels = [label for label in said.values() if label != review.NONE]
    assert sorted(np.array(dataset.classes)[dataset.labels]) == sorted(labels)


def test_the_channel_and_time_that_were_predicted_are_reviewed_reported_and_learned_from(plate, run):
    import tifffile

    folder, truth = plate
    (folder / "several").mkdir()
    fields = [tifffile.imread(folder / f"field{seed}.tif") for seed in (1, 2)]
    size = 1 / read_plane(folder / "field1.tif").pixel_size_um
    described = {"axes": "TCYX", "mode": "composite", "unit": "um", "Labels": ["GFP", "DAPI"] * 2}
    empty = np.zeros_like(fields[0])
    pixels = np.array([[empty, empty], [fields[1], fields[0]]])
    tifffile.imwrite(folder / "several/s.tif", pixels, imagej=True, resolution=(size, size), metadata=described)
    run("predict", "several", "--model", "nagao6", "--channel", "0", "--plane", "1", "--output", "s.csv", "--jobs", "1")
    run("review", "s.csv", "--images", "several", "--output", "review.html")
    run("report", "s.csv", "--images", "several", "--output", "report.html")
    assert "not found or read" not in (folder / "report.html").read_text(encoding="utf-8")
    table = review.read_table("s.csv")
    said = corrections(table, dict.fromkeys(table["image"], truth["field2.tif"]))
    review.write_labels("several/labels.csv", review.labelled_rows(table, said))
    run("evaluate", "nagao6", "several/labels.csv", "--output", "scored.csv")
    assert len(pd.read_csv("scored.csv")) == sum(label != review.NONE for label in said.values())
    (field,) = load_dataset("several/labels.csv").fields
    np.testing.assert_array_equal(field.pixels, read_plane("field2.tif").pixels)

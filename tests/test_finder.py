"""The network that finds nuclei: what it finds, that tiles leave no trace, and that it can be made again."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cellcycle import files
from cellcycle.errors import CheckpointError
from cellcycle.segmentation import finder, segment
from cellcycle.segmentation.matching import matches
from cellcycle.simulation import SimulationParameters, simulate_field
from cellcycle.study.texts import FINDERS

pytestmark = pytest.mark.slow


def simulated(shape=(300, 300), n=40, seed=1, **changed):
    made = simulate_field(shape, n, seed, SimulationParameters(**changed))
    return made.image.astype(np.float32) / np.iinfo(made.image.dtype).max, made


def f1(truth, found, least_iou=0.5):
    right, surplus, missed = matches(truth, found, least_iou)
    return 2 * right / (2 * right + surplus + missed)


@pytest.mark.parametrize("pixel_um", [0.2, 0.5, 1.0])
def test_simulated_nuclei_of_any_size_are_found_and_outlined(pixel_um):
    pixels, made = simulated(pixel_size_um=pixel_um, n=int(40 * pixel_um / 0.325), camera_field_um=300 * pixel_um)
    labels = segment(pixels)
    assert f1(made.labels, labels) > 0.93 and f1(made.labels, labels, 0.7) > 0.85


def test_a_field_found_in_tiles_is_the_field_found_whole():
    pixels, _ = simulated((420, 500), 110)
    whole, tiled = segment(pixels), segment(pixels, tile_px=200)
    assert whole.max() > 50
    np.testing.assert_array_equal(whole > 0, tiled > 0)
    assert f1(whole, tiled, 0.99) == 1


@pytest.mark.parametrize(("seed", "pixel_um", "quality"), [(2, 1.0, 75), (1, 0.65, 50)])
def test_blocks_of_a_jpeg_are_no_nuclei_and_hide_none(seed, pixel_um, quality):
    pixels, made = simulated((360, 420), 15, seed, pixel_size_um=pixel_um, camera_field_um=400 * pixel_um)
    file = io.BytesIO()
    Image.fromarray(np.rint(255 * pixels / pixels.max()).astype(np.uint8)).save(file, "JPEG", quality=quality)
    compressed = np.asarray(Image.open(file), np.float32) / 255
    labels = segment(compressed)
    assert f1(made.labels, labels) == 1
    assert f1(labels, segment(compressed, tile_px=200), 0.95) == 1


def test_overexposed_nuclei_are_nuclei():
    pixels, made = simulated()
    assert f1(made.labels, segment(np.minimum(pixels, np.percentile(pixels[made.labels > 0], 40)))) > 0.9


def test_a_second_run_finds_the_same():
    pixels, _ = simulated()
    np.testing.assert_array_equal(segment(pixels), segment(pixels))


def test_fragments_and_a_giant_leave_the_typical_diameter_of_nuclei():
    labels = np.zeros((200, 200), np.int32)
    squares = [(0, 0, 20), (30, 0, 20), (60, 0, 20), *[(100, 4 * k, 3) for k in range(20)]]
    for n, (y, x, side) in enumerate(squares, start=1):
        labels[y : y + side, x : x + side] = n
    assert 6 < finder.typical_diameter(labels) < 20
    assert finder.typical_diameter(np.zeros((9, 9), int)) is None


def test_an_altered_network_is_refused(tmp_path, monkeypatch):
    shutil.copytree(finder.FOLDER, tmp_path / "finder")
    graph = tmp_path / "finder" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(finder, "FOLDER", tmp_path / "finder")
    finder._session.cache_clear()
    try:
        with pytest.raises(CheckpointError, match="damaged or altered"):
            finder._session()
    finally:
        finder._session.cache_clear()


def test_its_card_says_what_it_learned_from_and_how_it_does_on_fields_not_seen():
    card = json.loads((finder.FOLDER / "model.json").read_text(encoding="utf-8"))
    assert {"trained_on", "licence", "held_out", "limits", "scores"} <= set(card)
    trained, classical = card["scores"]["trained"], card["scores"]["classical"]
    assert trained["n_fields"] == classical["n_fields"]
    assert all(trained[name][0] > classical[name][0] for name in ("f1_0.5", "f1_0.7", "f1_0.8", "ap_0.5"))


def test_the_finders_were_set_side_by_side_as_they_are_shipped():
    record = json.loads((files.repository() / FINDERS).read_text(encoding="utf-8"))
    assert finder.read_card()["sha256"]["model.onnx"].startswith(record["network"])
    assert record["diameter_px"] == finder.DIAMETER_PX and set(record["finders"]) == {"plain", "classical", "trained"}


def test_the_network_is_trained_and_written_and_finds(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from cellcycle.training import finder as training
    from cellcycle.training.outlined import simulated_fields, targets

    monkeypatch.setattr(training, "BATCH", 8)
    fields = simulated_fields(3)
    torch.manual_seed(0)  # four steps teach little: what eight bits lose of it hangs on where the weights began
    network = training.fit(training.UNet(), fields, 4, 1e-3, 0)
    training.save(network, {"name": "finder"}, fields, tmp_path / "finder")
    seen = targets(fields[0])[None, :1, :96, :104]
    monkeypatch.setattr(finder, "FOLDER", tmp_path / "finder")
    finder._session.cache_clear()
    try:
        said = finder._maps(np.zeros((70, 90), np.float32))
        (in_eight_bits,) = finder._session().run(None, {"field": seen.numpy()})
    finally:
        finder._session.cache_clear()
    assert said.shape == (3, 70, 90) and (said >= 0).all() and (said <= 1).all()
    with torch.no_grad():
        exact = torch.sigmoid(network(seen)).numpy()
    assert 0 < np.abs(in_eight_bits - exact).max() < 0.1 * np.ptp(exact, axis=(0, 2, 3)).max()


@pytest.mark.parametrize("backend", ["trained", "classical"])
def test_halves_of_an_anaphase_are_one_nucleus_and_neighbours_are_two(backend):
    rng, (y, x) = np.random.default_rng(0), np.indices((260, 260))
    pixels = rng.normal(0.05, 0.005, (260, 260))
    places = [(30 + 50 * k, 30 + 50 * m) for k in range(5) for m in range(5) if (k, m) != (2, 2)]
    for row, column in places:
        pixels[(y - row) ** 2 + (x - column) ** 2 <= 13**2] += rng.uniform(0.18, 0.22)
    halves = [((y - row) / 4) ** 2 + ((x - 130) / 9) ** 2 <= 1 for row in (122, 138)]
    pixels[halves[0] | halves[1]] += 0.6
    labels = segment(ndimage.gaussian_filter(pixels, 1).astype(np.float32), segmentation=backend)
    assert labels.max() == len(places) + 1
    assert labels[122, 130] == labels[138, 130] > 0

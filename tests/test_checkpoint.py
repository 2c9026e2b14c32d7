import json
import shutil

import numpy as np
import pytest

from cellcycle.checkpoint import InputRule, load_checkpoint, save_checkpoint
from cellcycle.errors import CheckpointError, SettingError
from cellcycle.phases import PHASES
from cellcycle.predict.pictures import normalise_measurements
from cellcycle.predict.runtime import Runtime
from cellcycle.recipes import training
from cellcycle.recipes.networks import trained_network


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the smallest shipped model's folder."""
    return shutil.copytree(load_checkpoint("lr").folder, tmp_path / "mine")


@pytest.mark.parametrize("file", ["weights.safetensors", "model.onnx"])
@pytest.mark.parametrize("damage", ["altered", "cut", "missing"])
def test_a_damaged_file_is_refused_by_name(copy, file, damage):
    content = (copy / file).read_bytes()
    if damage == "missing":
        (copy / file).unlink()
    else:
        changed = bytes([content[-1] ^ 1])
        (copy / file).write_bytes(content[:-1] + changed if damage == "altered" else content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=file):
        load_checkpoint(copy)


@pytest.mark.parametrize("change", [{"classes": ["M", "G2", "S", "G1"]}, {"format": 99}, {"sha256": {}}])
def test_an_altered_card_is_refused(copy, change):
    card = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(card | change))
    with pytest.raises(CheckpointError, match=r"model\.json"):
        load_checkpoint(copy)


@pytest.mark.parametrize("content", ["", "not json", "[]", "{}"])
def test_a_card_that_is_none_is_refused(copy, content):
    (copy / "model.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"model\.json"):
        load_checkpoint(copy)


def test_a_folder_without_a_card_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no model\.json"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(("word", "name"), [("Nagao", "nagao6"), ("ResNet", "resnet8"), ("LR", "lr"), ("NN", "nn")])
def test_the_words_of_the_study_name_models(word, name):
    assert load_checkpoint(word).name == name


def test_an_unknown_model_is_answered_with_the_nearest_name():
    with pytest.raises(SettingError, match="did you mean 'nagao6'"):
        load_checkpoint("nagoa6")


@pytest.fixture(scope="module")
def recipe_model(tmp_path_factory):
    """The recipe "best", trained for a moment on meaningless pictures."""
    rng = np.random.default_rng(0)
    n, size = 16, training.SIZE_PX
    cut = training.Pictures(
        pictures=rng.random((n, size, size), np.float32),
        labels=np.arange(n) % 4,
        sample_ids=np.arange(n).astype(str),
        pixel_size_um=np.full(n, 0.5),
        area_um2=rng.uniform(150, 400, n),
        g1_position=np.full(n, 900.0),
        dna_copies=np.linspace(1.8, 4.2, n),
        area_over_g1=rng.uniform(0.7, 2, n),
    )
    return cut, training.train("best", cut, tmp_path_factory.mktemp("models"), scale=0.01)


@pytest.mark.slow
def test_a_recipe_trains_saves_and_gives_its_network_back(recipe_model):
    import torch

    cut, checkpoint = recipe_model
    rule = checkpoint.input_rule
    assert rule.measurements == ("dna_copies", "area_over_g1")
    pictures, measured = training.network_inputs(cut, rule), normalise_measurements(vars(cut), rule)
    np.testing.assert_allclose(measured.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(measured.std(axis=0), 1, atol=1e-5)
    network, given = trained_network(checkpoint), torch.from_numpy(measured)
    with torch.inference_mode():
        turned = [torch.rot90(torch.from_numpy(pictures), k, (2, 3)) for k in range(4)]
        logits = torch.stack([network(view, given) for t in turned for view in (t, t.flip(3))]).mean(dim=0)
    expected = torch.softmax(logits, dim=1).numpy()
    runtime = Runtime(checkpoint)
    np.testing.assert_allclose(runtime.probabilities(pictures, measured), expected, atol=1e-5)
    assert np.abs(runtime.probabilities(pictures, measured + 1) - expected).max() > 1e-5


@pytest.mark.slow
def test_a_missing_measurement_stands_at_the_mean(recipe_model):
    _, checkpoint = recipe_model
    columns = {"dna_copies": [np.nan, 4.0], "area_over_g1": [1.0, np.nan]}
    found = normalise_measurements(columns, checkpoint.input_rule)
    assert found[0, 0] == found[1, 1] == 0
    assert found[1, 0] > 0
    assert normalise_measurements(columns, load_checkpoint("lr").input_rule) is None


@pytest.mark.slow
def test_files_of_a_model_can_be_read_by_everybody(recipe_model):
    _, checkpoint = recipe_model
    assert all(f.stat().st_mode & 0o044 == 0o044 for f in checkpoint.folder.iterdir())


def test_a_saved_model_gives_the_logits_of_its_network(tmp_path):
    import torch

    from cellcycle.models import build_network

    torch.manual_seed(0)
    network = build_network("nagao2", size_px=16).eval()
    card = {"title": "T", "version": "1", "classes": list(PHASES), "network": {}, "licence": "", "limits": []}
    rule = InputRule(16, 0.5, "per-image", 200.0)
    (tmp_path / "tiny").mkdir()
    saved = save_checkpoint(tmp_path / "tiny", network, rule, card | {"trained_on": {"origin": "none"}})
    assert saved.input_rule == rule
    assert [f.name for f in tmp_path.iterdir()] == ["tiny"]
    pictures = np.random.default_rng(0).normal(size=(3, 1, 16, 16)).astype(np.float32)
    with torch.inference_mode():
        turned = [torch.rot90(torch.from_numpy(pictures), k, (2, 3)) for k in range(4)]
        logits = torch.stack([network(view) for t in turned for view in (t, t.flip(3))]).mean(dim=0)
    expected = torch.softmax(logits, dim=1).numpy()
    np.testing.assert_allclose(Runtime(saved).probabilities(pictures), expected, atol=1e-5)

import json
import shutil

import numpy as np
import pytest

from cellcycle.checkpoint import InputRule, load_checkpoint, save_checkpoint
from cellcycle.errors import CheckpointError, SettingError
from cellcycle.phases import PHASES
from cellcycle.predict.runtime import Runtime


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


def test_a_saved_model_gives_the_logits_of_its_network(tmp_path):
    import torch

    from cellcycle.networks import build_network

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

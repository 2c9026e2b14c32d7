import errno
import hashlib
import json
import os
import shutil
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from scipy.ndimage import gaussian_filter

from cellcycle import checkpoint
from cellcycle.card import card_sha256, external_files
from cellcycle.checkpoint import load_checkpoint, save_checkpoint, write_card
from cellcycle.errors import CheckpointError, SettingError
from cellcycle.graphs import open_graph
from cellcycle.inputs import InputRule, Inputs
from cellcycle.nuclei import Scale
from cellcycle.predict import Predictor
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
    with pytest.raises(SettingError, match=r"'m_nothere' is unknown; there are nagao6.*, or name the folder of yours"):
        load_checkpoint("m_nothere")


def test_a_card_names_its_folder_and_another_file_is_no_model(copy, tmp_path):
    assert load_checkpoint(str(copy / "model.json")).folder == copy
    (tmp_path / "mine.zip").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"mine\.zip: no model\.json lies in it; .* unpacked"):
        load_checkpoint(tmp_path / "mine.zip")


@pytest.mark.parametrize("name", ["best", "LR"])
def test_a_name_is_one_model_wherever_it_is_said(copy, monkeypatch, name):
    monkeypatch.chdir(copy.parent)
    copy.rename(name)
    with pytest.raises(SettingError, match=rf"give \./{name}"):
        load_checkpoint(name)
    assert load_checkpoint(f"./{name}").name == "lr" and Predictor("auto").checkpoint.name == "nagao6"


@pytest.mark.parametrize("name", ["best", "NN", "auto"])
def test_no_model_is_trained_under_the_name_of_another(tmp_path, name):
    from cellcycle.train import train

    with pytest.raises(SettingError, match="a model of cellcycle has this name"):
        train(tmp_path / "cells", tmp_path / name)


@pytest.fixture(scope="module", params=[True, "upright"])
def fitted(request):
    """Return a classifier of two members, its inputs and their rule."""
    from cellcycle.training import NetworkClassifier

    rng = np.random.default_rng(0)
    images = rng.random((24, 1, 16, 16), dtype=np.float32)
    measurements = np.column_stack([rng.random(24) * 4, rng.random(24)]).astype(np.float32)
    measurements[3, 0] = np.nan
    rule = InputRule(16, 0.5, "painted", "g1", ("dna_copies", "texture"), Scale(180.0, 150.0))
    inputs = Inputs(images, measurements, rule.measurements)
    settings = {
        "views": ("scaled", "shape"),
        "turns": request.param,
        "epochs": 1,
        "training_set": "D1",
        "batch_norm": True,
    }
    return NetworkClassifier("nagao2", width=16, **settings).fit(inputs, np.arange(24) % 3), inputs, rule


ABOUT = {
    "title": "Three kinds",
    "version": "1",
    "classes": ["A", "B", "C"],
    "trained_on": {"origin": "none"},
    "licence": "BSD-3-Clause",
    "limits": [],
}


@pytest.mark.slow
def test_a_saved_classifier_answers_alike_by_graph_and_by_torch_and_can_be_trained_on(tmp_path, fitted):
    classifier, inputs, rule = fitted
    (tmp_path / "tiny").mkdir()
    saved = save_checkpoint(tmp_path / "tiny", classifier, rule, ABOUT)
    assert saved.input_rule == rule
    assert [f.name for f in tmp_path.iterdir()] == ["tiny"]
    again = saved.classifier()
    assert len(again.networks_) == 2
    by_graph = Runtime(saved).probabilities(inputs)
    np.testing.assert_allclose(by_graph, again.predict_proba(inputs), atol=1e-5)
    # Weights are kept in half precision.
    np.testing.assert_allclose(by_graph, classifier.predict_proba(inputs), atol=5e-3)
    turned = Inputs(np.rot90(inputs.images, axes=(2, 3)).copy(), inputs.measurements, inputs.names)
    np.testing.assert_allclose(Runtime(saved).probabilities(turned), by_graph, atol=1e-5)
    again.set_params(epochs=1, training_set="D1").fit(inputs, np.arange(24) % 3, start=again)
    # What the graph holds, also times the factors of a batch normalisation, is not stored a second time.
    with safe_open(saved.folder / "weights.safetensors", "numpy") as stored:
        assert max(stored.get_tensor(name).size for name in stored.keys()) < 1000  # noqa: SIM118


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [{"turns": "upside"}, {"turns": "True"}, {"batch_norm": "no"}, {"views": []}])
def test_a_network_whose_settings_are_unknown_is_not_taken_for_the_one_of_the_graph(copy, wrong):
    card = json.loads((copy / "model.json").read_text())
    write_card(copy, card | {"network": card["network"] | wrong})
    # Any word would do for yes, and the maps would be of another model than the calls.
    with pytest.raises((CheckpointError, SettingError), match=r"turns: .* is unknown|weights of another network"):
        load_checkpoint(copy).classifier()


@pytest.mark.slow
def test_a_network_from_outside_is_registered_trained_saved_loaded_and_predicts(tmp_path, blobs):
    from torch import nn

    from cellcycle.networks import register_network
    from cellcycle.predict import predict
    from cellcycle.training import NetworkClassifier

    def mine(channels, size_px, **options):
        return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(channels * (size_px // 4) ** 2, 8)), 8

    register_network("mine", mine)
    images, labels = blobs
    # Smooth: a bright pixel of noise would be painted over as a hot one before prediction.
    images = gaussian_filter(images, (0, 0, 2, 2))
    classifier = NetworkClassifier("mine", epochs=1).fit(images, labels % 3)
    saved = save_checkpoint(tmp_path / "of_mine", classifier, InputRule(32), ABOUT)
    expected = load_checkpoint(saved.folder).classifier().predict_proba(images[:1])
    found = predict(images[0, 0], model=saved.folder, kind="nucleus")
    assert found["call"].iloc[0] == "ABC"[expected[0].argmax()]
    np.testing.assert_allclose(found[["p_A", "p_B", "p_C"]].to_numpy()[0], expected[0], atol=1e-4)


@pytest.mark.slow
def test_a_network_of_which_no_graph_can_be_made_is_refused_in_one_line(tmp_path, monkeypatch, blobs):
    from torch import nn

    from cellcycle.networks import NETWORKS
    from cellcycle.training import NetworkClassifier

    class Undecided(nn.Flatten):
        def forward(self, images):
            return super().forward(images if images.mean() > 0 else -images)

    monkeypatch.setitem(NETWORKS, "mine", lambda channels, size_px: (Undecided(), channels * size_px**2))
    images, labels = blobs
    classifier = NetworkClassifier("mine", epochs=0).fit(images, labels % 3)
    with pytest.raises(SettingError, match=r"^network: it cannot be written as a graph \(.*\); let its body"):
        save_checkpoint(tmp_path / "mine", classifier, InputRule(32), ABOUT)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_measurement_registered_in_one_place_is_trained_on_saved_and_predicted_with(tmp_path, monkeypatch):
    from cellcycle.datasets import NucleusDataset
    from cellcycle.inputs import prepare
    from cellcycle.predict import predict
    from cellcycle.segmentation import measurements
    from cellcycle.training import NetworkClassifier

    for table in ("NUCLEUS_COLUMNS", "RAW_COLUMNS", "READABLE", "_REGISTERED"):
        monkeypatch.setattr(measurements, table, getattr(measurements, table).copy())
    monkeypatch.setattr("cellcycle.inputs.READABLE", measurements.READABLE)
    monkeypatch.setattr("cellcycle.segmentation.crops.NUCLEUS_COLUMNS", measurements.NUCLEUS_COLUMNS)
    monkeypatch.setattr("cellcycle.segmentation.crops.RAW_COLUMNS", measurements.RAW_COLUMNS)
    monkeypatch.setattr("cellcycle.predict.table.NUCLEUS_COLUMNS", measurements.NUCLEUS_COLUMNS)
    for name in ("texture", "saturated_share"):
        with pytest.raises(SettingError, match=f"'{name}' is taken"):
            measurements.register_measurement(name, lambda pixels, outline: 0.0)
    measurements.register_measurement("brightest", lambda pixels, outline: pixels[outline].max(), is_amount=False)
    y, x = np.mgrid[:32, :32] - 15.5
    images = np.repeat(np.where(np.hypot(y, x) < 9, 0.4, 0.05).astype(np.float32)[None, None], 20, axis=0)
    images += np.random.default_rng(0).normal(0, 0.004, images.shape).astype(np.float32)
    labels = np.arange(20) % 2
    images[labels == 1] = np.where(np.hypot(y, x) < 4, 0.9, images[labels == 1]).astype(np.float32)
    ids, sizes = np.arange(20).astype(str), np.full(20, 0.8)
    data = NucleusDataset("dots", images, labels, ("A", "B"), ids, "dots", "real", pixel_sizes_um=sizes)
    rule = InputRule(16, 1.6, "painted", measurements=("brightest",))
    inputs = prepare(data, rule)
    np.testing.assert_allclose(inputs.measurements[:, 0], np.where(labels, 0.85, 0.36), atol=0.03)
    settings = {"views": ("shape",), "training_set": "D1", "epochs": 3, "learning_rate": 1e-2}
    classifier = NetworkClassifier("logistic", **settings).fit(inputs, labels)
    saved = save_checkpoint(tmp_path / "dots", classifier, rule, ABOUT | {"classes": ["A", "B"]})
    expected = classifier.predict_proba(inputs)[:4]
    found = predict(list(images[:4, 0]), model=saved.folder, kind="nucleus", pixel_size_um=0.8)
    np.testing.assert_allclose(found["p_B"], expected[:, 1], atol=5e-3)
    # Whenever the table was imported.
    np.testing.assert_allclose(found["brightest"], inputs.measurements[:4, 0], atol=0.1)
    swapped = Inputs(inputs.images[:4], inputs.measurements[[1, 0, 3, 2]], inputs.names)
    assert (abs(classifier.predict_proba(swapped) - expected) > 0.05).all()


@pytest.mark.parametrize("name", ["light", "dna_copies", "kind"])
def test_a_measurement_is_not_registered_by_the_name_of_another_column(monkeypatch, name):
    from cellcycle.predict import table_columns

    # By that of light, pictures would be divided by it.
    monkeypatch.setattr("cellcycle.predict.table.NUCLEUS_COLUMNS", ["area_px", name, "flags"])
    with pytest.raises(SettingError, match=f"^measurement: '{name}' is a column of every table"):
        table_columns(("A", "B"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logistic", "dna-content"])
def test_a_classifier_of_names_is_saved_in_the_order_of_the_card(tmp_path, blobs, name):
    from cellcycle.inputs import prepare_images
    from cellcycle.training import make_estimator

    images, labels = blobs
    rule = InputRule(32, measurements=("integrated_dna", "area_px"))
    inputs, names = prepare_images(images, rule.measurements), ["G1", "S", "G2", "M"]
    settings = {"epochs": 3, "views": ("shape",)} if name == "logistic" else {}
    fitted = make_estimator(name, **settings).fit(inputs, np.array(names)[labels])
    saved = save_checkpoint(tmp_path / "named", fitted, rule, ABOUT | {"classes": names})
    expected = fitted.predict_proba(inputs)[:, [fitted.classes_.tolist().index(name) for name in names]]
    np.testing.assert_allclose(Runtime(saved).probabilities(inputs), expected, atol=5e-3)
    np.testing.assert_allclose(saved.classifier().predict_proba(inputs), expected, atol=5e-3)
    # As it was.
    assert fitted.score(inputs, np.array(names)[labels]) > 0.6


@pytest.mark.slow
def test_a_model_that_cannot_be_used_does_not_take_the_place_of_one_that_can(copy, blobs):
    from cellcycle.inputs import prepare_images
    from cellcycle.training import NetworkClassifier

    images, labels = blobs
    rule, before = InputRule(32, measurements=("crop_dna", "area_px")), load_checkpoint(copy).card
    inputs = prepare_images(images, rule.measurements)
    classifier = NetworkClassifier("logistic", views=("shape",), epochs=0).fit(inputs, labels % 3)

    def attempt(about=ABOUT, rule=rule, **changes):
        made = deepcopy(classifier)
        vars(made).update(changes)
        with pytest.raises(SettingError) as refused:
            save_checkpoint(copy, made, rule, about)
        assert load_checkpoint(copy).card == before
        return str(refused.value)

    for classes in (["A", "B"], [*"ABCD"], None):
        assert "fitted on [0, 1, 2], named" in attempt(ABOUT | {"classes": classes})
    for known in ([1, 2, 3], ["A", "B", "D"], [0, 1]):
        assert f"fitted on {known}, named" in attempt(classes_=np.array(known))
    assert "rule.size_px: not 32" in attempt(rule=replace(rule, size_px=64))
    assert "rule.measurements: not" in attempt(rule=replace(rule, measurements=rule.measurements[::-1]))
    assert "about: the classes of its confidence" in attempt(ABOUT | {"confidence": before["confidence"]})
    for beside in (copy / "pipe", copy / "notes" / "pipe"):
        beside.parent.mkdir(exist_ok=True)
        os.mkfifo(beside)
        assert f"{beside.relative_to(copy).parts[0]} in it, which is not of the model, cannot be" in attempt()
        beside.unlink()
    classifier.networks_[0].head.bias.data[0] = np.nan
    assert "not finite" in attempt()


def test_a_disk_that_fills_up_with_what_lies_below_a_model_is_told_as_such(tmp_path, monkeypatch):
    def full(source, target, **_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    (tmp_path / "model" / "notes").mkdir(parents=True)
    (tmp_path / "model" / "notes" / "a.txt").write_text("mine")
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as told:
        checkpoint._keep_others(tmp_path / "model", tmp_path / "work")
    assert told.value.errno == errno.ENOSPC


def test_what_is_not_fitted_cannot_be_saved(tmp_path):
    from cellcycle.training.baseline import DnaContentClassifier

    with pytest.raises(SettingError, match="DnaContentClassifier is not fitted"):
        save_checkpoint(tmp_path / "x", DnaContentClassifier(), InputRule(), ABOUT)


WRONG = [
    ("input", {"size_px": 0}),
    ("input", {"size_px": -5}),
    ("input", {"size_px": "64"}),
    ("input", {"size_px": True}),
    ("input", {"size_px": None}),
    ("input", {"pixel_size_um": -1}),
    ("input", {"pixel_size_um": float("nan")}),
    ("input", {"scale": {"median_area_um2": 0}}),
    ("input", {"scale": [1, 2]}),
    ("input", {"scale": {"colour": 3}}),
    ("input", {"unit": "g1peak"}),
    ("input", {"surroundings": "painted "}),
    ("input", {"measurements": ["colour"]}),
    ("input", {"measurements": "area_px"}),
    ("input", {"more": 1}),
    ("input", []),
    ("classes", []),
    ("classes", ["A"]),
    ("classes", None),
    ("classes", ["A", "a", "B", "C"]),
    ("classes", ["A", "B", "C", "\x1b[2J"]),
    ("classes", ["A", "B", "C", 4]),
    ("classes", ["A", "B", "C", "x" * 100]),
    ("trained_on", "cells"),
    ("trained_on", {"warning": 3}),
    ("sha256", []),
    ("sha256", {}),
    ("name", ""),
    ("name", "../a"),
    ("name", "a\\b"),
    ("name", ".."),
    ("limits", [3]),
    ("licence", 1),
    ("surprise", 1),
    ("scores", 3),
    ("scores", {"simulated": {"accuracy": {"value": None, "low": 0, "high": 1}}}),
    ("scores", {"simulated": {"accuracy": {"value": 0.5, "low": "0", "high": 1}}}),
    ("scores", {"simulated": {"accuracy": {"value": 1e300, "low": 0, "high": 1}}}),
    ("scores", {"jurkat": 3}),
    ("scores", {"held_out": {"accuracy": 7, "intervals": {"accuracy": [0.1, 0.2]}}}),
    ("scores", {"held_out": {"accuracy": 0.1, "intervals": {"accuracy": [0.1, -2]}}}),
    ("scores", {"held_out": {"intervals": {"accuracy": [0.1, 0.2]}}}),
    ("scores", {"held_out": {"accuracy": 0.1, "intervals": [0.1, 0.2]}}),
    ("confidence", {"thresholds": [None, 0.2, 0.2, 0.2]}),
    ("confidence", {"thresholds": [-5, 0.2, 0.2, 0.2]}),
    ("confidence", {"thresholds": [1e300, 0.2, 0.2, 0.2]}),
    ("confidence", {"thresholds": [0.2], "costs": [[0.0]]}),
    ("confidence", {"costs": [[1e300] * 4] * 4}),
    ("confidence", {"costs": [[-1.0] * 4] * 4}),
    ("confidence", {"price": -1}),
    ("confidence", {"coverage": 0}),
    ("confidence", {"temperature": 0}),
    ("confidence", {"fitted_on": "cells"}),
    ("confidence", {"strangeness": {"means": [], "covariance": [], "tail_distances": []}}),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=str)
def test_a_card_that_cannot_be_true_is_one_line_that_names_the_key(copy, key, value):
    card = json.loads((copy / "model.json").read_text())
    card[key] = card[key] | value if key in ("input", "confidence") and isinstance(value, dict) else value
    card["card_sha256"] = card_sha256(card)
    (copy / "model.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError) as refused:
        load_checkpoint(copy)
    assert "\n" not in str(refused.value) and (key in str(refused.value) or "readable" in str(refused.value))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_card_with_other_classes_than_the_graph_is_refused(copy, n):
    card = json.loads((copy / "model.json").read_text())
    del card["confidence"]
    card["classes"] = [f"C{k}" for k in range(n)]
    card["card_sha256"] = card_sha256(card)
    (copy / "model.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="does not give one number a class and nucleus"):
        Runtime(load_checkpoint(copy))


def graph(nodes, weights=None, **ends):
    """A model of one layer from images (N, 1, 64, 64) to logits (N, 4), with these nodes instead, as bytes."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    weights = np.zeros((4096, 4), np.float32) if weights is None else weights
    given = helper.make_tensor_value_info("images", ends.get("takes", kinds.FLOAT), [ends.get("n", "n"), 1, 64, 64])
    answer = helper.make_tensor_value_info("logits", ends.get("gives", kinds.FLOAT), ["m", 4])
    nodes = [helper.make_node(name, inputs, [output], **more) for name, inputs, output, more in nodes]
    made = helper.make_graph(nodes, "g", [given], [answer], [onnx.numpy_helper.from_array(weights, "w")])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString()


FLAT, LAYER = ("Flatten", ["images"], "flat", {}), ("MatMul", ["flat", "w"], "logits", {})
INNER = ("MatMul", ["flat", "w"], "inner", {})


@pytest.mark.parametrize(
    ("nodes", "more", "words"),
    [
        ([FLAT, LAYER], {"weights": np.full((4096, 4), np.nan, np.float32)}, "not finite"),
        ([FLAT, LAYER], {"weights": np.full((4096, 4), np.inf, np.float32)}, "not finite"),
        ([FLAT, INNER, ("Concat", ["inner", "inner"], "logits", {"axis": 0})], {}, "one number a class and nucleus"),
        ([FLAT, INNER, ("Cast", ["inner"], "logits", {"to": 6})], {"gives": 6}, "one number a class and nucleus"),
        ([FLAT, INNER, ("Cast", ["inner"], "logits", {"to": 8})], {"gives": 8}, "one number a class and nucleus"),
        ([("Cast", ["images"], "c", {"to": 1}), ("Flatten", ["c"], "flat", {}), LAYER], {"takes": 11}, "cannot run it"),
        ([FLAT, LAYER], {"n": 1}, "cannot run it"),
        ([FLAT, ("Strange", ["flat"], "logits", {"domain": "mine"})], {}, "cannot load it"),
    ],
    ids=["nan", "inf", "rows", "int", "text", "double", "one", "custom"],
)
def test_a_graph_that_does_not_do_what_the_card_says_is_one_line(copy, nodes, more, words, capfd):
    (copy / "model.onnx").write_bytes(graph(nodes, **more))
    card = json.loads((copy / "model.json").read_text())
    card["sha256"]["model.onnx"] = hashlib.sha256((copy / "model.onnx").read_bytes()).hexdigest()
    card["card_sha256"] = card_sha256(card)
    (copy / "model.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=words) as refused:
        Runtime(load_checkpoint(copy))
    assert "\n" not in str(refused.value) and capfd.readouterr() == ("", "")


def test_a_card_of_brackets_or_of_gigabytes_is_refused(copy):
    (copy / "model.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="too deep"):
        load_checkpoint(copy)
    (copy / "model.json").write_text(" " * 5_000_000)
    with pytest.raises(CheckpointError, match="larger"):
        load_checkpoint(copy)


def test_weights_in_other_files_are_refused_wherever_the_graph_names_them():
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    def outside():
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="w.bin")
        return tensor

    def graph(nodes=(), tensors=()):
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        return helper.make_graph(list(nodes), "g", [], [out], initializer=list(tensors))

    constant = helper.make_node("Constant", [], ["y"], value=outside())
    branch = helper.make_node("If", ["c"], ["y"], then_branch=graph([constant]), else_branch=graph())
    inside = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    bytes_of = [
        helper.make_model(g).SerializeToString()
        for g in (graph(tensors=[outside()]), graph([constant]), graph([branch]))
    ]
    assert all(external_files(content) for content in bytes_of)
    assert not external_files(helper.make_model(graph(tensors=[inside])).SerializeToString())


def test_a_graph_that_a_version_cannot_make_faster_is_run_as_it_is(monkeypatch):
    import onnxruntime

    whole, asked = onnxruntime.InferenceSession, []

    def as_before_1_24(file, options, **more):
        asked.append(options.graph_optimization_level)
        if asked[-1] != onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC:
            raise RuntimeError("Should be unreachable")
        return whole(file, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", as_before_1_24)
    assert open_graph(load_checkpoint("lr").folder / "model.onnx").get_inputs() and len(asked) == 2

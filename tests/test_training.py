import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from cellcycle import results
from cellcycle.datasets import NucleusDataset, make_simulated
from cellcycle.errors import DataError, SettingError
from cellcycle.inputs import MEASURED, MEASURED_PER_IMAGE, Inputs, prepare_images
from cellcycle.networks import UPRIGHT, Network
from cellcycle.networks.positions import Position, positions_of
from cellcycle.splits import image_fingerprints
from cellcycle.training import NetworkClassifier, cross_validate, make_estimator
from cellcycle.training import classifier as classifier_module
from cellcycle.training.baseline import DnaContentClassifier
from cellcycle.training.loop import moved

pytestmark = pytest.mark.slow

FAST = {
    "logistic": {"epochs": 30, "learning_rate": 5e-3},
    "nn": {"epochs": 20, "width": 32},
    "resnet8": {"epochs": 10, "stem_stride": 2, "learning_rate": 3e-3},
    "resnet14-plain": {"epochs": 20, "stem_stride": 2, "width": 8, "learning_rate": 3e-3},
    "nagao3": {"epochs": 15, "learning_rate": 2e-3},
    "dna-content": {},
}


@pytest.fixture
def dataset(blobs):
    images, labels = blobs
    ids = np.array([f"cell{i:03d}" for i in range(len(labels))])
    return NucleusDataset("toy", images, labels, ("G1", "S", "G2", "M"), ids, "toy-1", "simulated")


@pytest.mark.parametrize("model", FAST)
def test_every_model_learns_a_toy_problem(model, blobs):
    images, labels = blobs
    settings = FAST[model] if model == "dna-content" else {"training_set": "D1", **FAST[model]}
    estimator = make_estimator(model, **settings).fit(images[::2], labels[::2])
    scores = estimator.predict_proba(images[1::2])
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (estimator.predict(images[1::2]) == labels[1::2]).mean() > 0.9


def test_same_seed_gives_the_same_predictions(blobs):
    images, labels = blobs
    a, b, c = (
        NetworkClassifier("nagao3", epochs=2, width=4, seed=s).fit(images, labels).predict_proba(images)
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)


def test_whatever_torch_makes_by_default_networks_are_float32(blobs):
    images, labels = blobs
    torch.set_default_dtype(torch.float64)
    try:
        fitted = NetworkClassifier("nagao2", views=("scaled", "shape"), epochs=1, copies=1).fit(images, labels)
        probabilities = fitted.predict_proba(images)
    finally:
        torch.set_default_dtype(torch.float32)
    assert probabilities.dtype == np.float32 and np.isfinite(probabilities).all()


def test_trainings_in_threads_draw_by_their_own_seeds(blobs):
    images, labels = blobs

    def trained(seed):
        return NetworkClassifier("nagao2", epochs=3, width=4, seed=seed).fit(images, labels).predict_proba(images)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(trained, range(4)))
    np.testing.assert_array_equal(together, [trained(seed) for seed in range(4)])


@pytest.mark.parametrize("settings", [{"training_set": "D1"}, {"transforms": (), "views": ("shape",)}])
def test_a_large_set_on_disk_is_drawn_batch_by_batch_and_learned_as_one_in_memory(
    blobs, settings, tmp_path, monkeypatch
):
    images, labels = blobs
    np.save(tmp_path / "images.npy", images)
    settings = {"epochs": 2, "width": 4, "turns": True} | settings
    usual = NetworkClassifier("nagao3", **settings).fit(images, labels)
    monkeypatch.setattr(classifier_module, "_LARGE_BYTES", 0)
    monkeypatch.setattr(classifier_module, "make_training_set", None)  # copies them all
    on_disk = np.load(tmp_path / "images.npy", mmap_mode="c")
    drawn = NetworkClassifier("nagao3", **settings).fit(on_disk, labels)
    np.testing.assert_array_equal(drawn.predict_proba(images), usual.predict_proba(images))


def test_copies_of_a_large_set_are_altered_when_they_are_drawn_and_the_images_themselves_are_not(blobs, monkeypatch):
    images, labels = blobs
    monkeypatch.setattr(classifier_module, "_LARGE_BYTES", 0)
    drawn = []

    def watched(self, images, measurements=None):
        drawn.append(images.detach().clone())
        return forward(self, images, measurements)

    forward = Network.forward
    monkeypatch.setattr(Network, "forward", watched)
    fit = [NetworkClassifier("nagao3", epochs=2, width=4, copies=1, seed=1).fit(images, labels) for _ in range(2)]
    np.testing.assert_array_equal(*(made.predict_proba(images) for made in fit))
    given = {image.tobytes() for image in fit[0].model_.scalings[0](torch.from_numpy(images)).numpy()}
    seen = torch.cat(drawn[: len(drawn) // 2])[: 2 * len(images)].numpy()
    as_given = np.mean([image.tobytes() in given for image in seen])
    # Of each image itself and one altered copy, classes being equal.
    assert 0.3 < as_given < 0.7


def test_history_has_one_row_an_epoch_and_the_loss_falls(blobs):
    history = NetworkClassifier("nn", epochs=6, width=16, training_set="D1").fit(*blobs).history_
    assert list(history["epoch"]) == [1, 2, 3, 4, 5, 6]
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


def test_inputs_held_out_of_which_no_class_is_learned_have_no_loss_and_stop_nothing(blobs):
    images, labels = blobs
    first, others = labels == 0, labels > 0
    held_out = images[first], labels[first]
    fitted = NetworkClassifier("logistic", epochs=1).fit(images[others], labels[others], held_out=held_out)
    assert fitted.history_["held_out_loss"].isna().all()


def test_per_image_intensity_ignores_exposure(blobs):
    images, labels = blobs
    fitted = NetworkClassifier("nagao3", epochs=2, width=4, views=("shape",)).fit(images, labels)
    np.testing.assert_allclose(fitted.predict_proba(images * 0.5), fitted.predict_proba(images), atol=1e-4)


def test_absolute_intensity_sees_exposure(blobs):
    images, labels = blobs
    fitted = NetworkClassifier("nn", epochs=2, width=16).fit(images, labels)
    assert np.abs(fitted.predict_proba(images * 0.5) - fitted.predict_proba(images)).max() > 1e-3


@pytest.mark.parametrize("turns", [True, UPRIGHT])
def test_turned_nuclei_get_the_same_call(blobs, turns):
    images, labels = blobs
    rng = np.random.default_rng(0)
    uneven = np.clip(images + 0.3 * rng.random(images.shape, dtype=np.float32), 0, 1)
    fitted = NetworkClassifier("nagao3", epochs=2, width=4, training_set="D1", turns=turns).fit(uneven, labels)
    expected = fitted.predict_proba(uneven[:8])
    for turned in (np.rot90(uneven[:8], 1, (2, 3)), uneven[:8, :, ::-1], uneven[:8, :, :, ::-1]):
        np.testing.assert_allclose(fitted.predict_proba(turned.copy()), expected, atol=1e-5)


def test_an_image_is_upright_down_its_length_with_its_tails_up_and_left_and_comes_back():
    comet = torch.zeros(1, 1, 16, 16)
    comet[0, 0, 3:11, 9:12] = 0.5
    comet[0, 0, 9:11, 10:12] = 1.0
    among = torch.cat([way.upright(comet + 0.1) for way in positions_of(comet, True)])
    assert len(torch.unique(among, dim=0)) == 8
    position = Position.of(among)
    for image in position.upright(among):
        torch.testing.assert_close(image, comet[0] + 0.1, rtol=0, atol=0)
    torch.testing.assert_close(position.back(position.upright(among)), among, rtol=0, atol=0)
    constant = torch.full((2, 1, 16, 16), 0.3)
    assert torch.equal(Position.of(constant).upright(constant), constant)


def test_one_of_three_ways_to_turn_is_asked_for(blobs):
    with pytest.raises(SettingError, match="use one of False, True, upright"):
        NetworkClassifier("logistic", epochs=1, turns="down").fit(*blobs)


def measured(images, names=MEASURED):
    return prepare_images(images, names)


def test_measurements_reach_the_head(blobs):
    images, labels = blobs
    settings = {"views": ("shape",), "epochs": 1, "width": 4, "training_set": "D1"}
    fitted = NetworkClassifier("nagao3", **settings).fit(measured(images), labels)
    (network,) = fitted.networks_
    assert network.side[0].in_features == fitted.model_.encoding.n_outputs == 128
    # Nothing but the measurements can tell these disks apart for a body that sees only zeros.
    for parameter in network.body.parameters():
        parameter.data.zero_()
    assert np.ptp(fitted.predict_proba(measured(images)), axis=0).max() > 1e-3
    assert np.isfinite(fitted.predict_proba(measured(np.zeros((2, 1, 32, 32), np.float32)))).all()


def test_members_are_averaged(blobs):
    images, labels = blobs
    settings = {"network": "nagao3", "epochs": 1, "width": 4, "training_set": "D1"}
    both = NetworkClassifier(**settings, views=("scaled", "scaled"), seed=5).fit(images, labels)
    alone = [NetworkClassifier(**settings, seed=s).fit(images, labels).logits(images) for s in (5, 1005)]
    np.testing.assert_allclose(both.logits(images), np.mean(alone, axis=0), atol=1e-5)
    assert len(both.history_) == 2


def test_standardisation_comes_from_the_training_images_alone(blobs):
    images, labels = blobs
    fitted = NetworkClassifier("logistic", epochs=1).fit(images[:48], labels[:48] % 2)
    assert float(fitted.model_.scalings[0].mean) == pytest.approx(images[:48].mean())


def test_a_stopped_training_goes_on_to_the_same_numbers(blobs, tmp_path):
    images, labels = blobs
    settings = {"network": "nagao3", "views": ("scaled", "shape"), "epochs": 3, "width": 4, "schedule": "cosine"}
    settings |= {"turns": True, "batch_norm": True}

    def stop(epoch):
        if epoch == 5:
            raise KeyboardInterrupt

    whole = NetworkClassifier(**settings).fit(measured(images), labels)
    with pytest.raises(KeyboardInterrupt):
        NetworkClassifier(**settings).fit(measured(images), labels, state=tmp_path, after_epoch=stop)
    seen = []
    again = NetworkClassifier(**settings).fit(measured(images), labels, state=tmp_path, after_epoch=seen.append)
    assert seen == [6]
    np.testing.assert_array_equal(again.logits(measured(images)), whole.logits(measured(images)))
    assert list(again.history_["train_loss"]) == list(whole.history_["train_loss"])


def test_fine_tuning_begins_where_the_first_training_ended(blobs):
    images, labels = blobs
    settings = {"network": "nagao3", "epochs": 1, "width": 4, "training_set": "D1"}
    first = NetworkClassifier(**settings).fit(images, labels)
    tuned = NetworkClassifier(**settings, learning_rate=0.0).fit(images[::2] / 2, labels[::2], start=first)
    np.testing.assert_allclose(tuned.logits(images), first.logits(images), atol=1e-6)
    with pytest.raises(SettingError, match="not called as those of `start`"):
        NetworkClassifier(**settings).fit(images, labels.astype(str), start=first)
    other = NetworkClassifier(**settings, learning_rate=0.0).fit(images, labels % 2 + 10, start=first)
    assert list(other.classes_) == [10, 11]


def test_scikit_learn_tools_work_on_it(blobs):
    images, labels = blobs
    estimator = NetworkClassifier("logistic", training_set="D1", epochs=10, learning_rate=5e-3)
    assert clone(estimator).get_params() == estimator.get_params()
    assert cross_val_score(estimator, images, labels, cv=2).mean() > 0.5
    inputs = Inputs(images, labels[:, None].astype(np.float32), ("area_px",))
    assert cross_val_score(estimator.set_params(views=("shape",)), inputs, labels, cv=2).mean() > 0.9
    estimator.set_params(views=("scaled",))
    search = GridSearchCV(estimator, {"learning_rate": [1e-7, 5e-3]}, cv=2).fit(images, labels)
    assert search.best_params_["learning_rate"] == 5e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views": ("log",)}, "views"),
        ({"schedule": "step"}, "schedule"),
        ({"training_set": "D9"}, "D9"),
        ({"network": "vgg"}, "vgg"),
    ],
)
def test_unknown_settings_are_one_clear_line(blobs, settings, message):
    with pytest.raises(SettingError, match=message):
        NetworkClassifier(**{"network": "logistic", "epochs": 1, **settings}).fit(*blobs)


@pytest.mark.parametrize("setting", [{"views": ()}, {"epochs": -1}, {"batch_size": 0}, {"copies": -1}, {"seed": -1}])
def test_numbers_out_of_range_are_refused_by_name(blobs, setting):
    with pytest.raises((SettingError, ValueError), match=f"{next(iter(setting))}(: .* is out of range| == )"):
        NetworkClassifier("logistic", **{"training_set": "D2", "epochs": 1, **setting}).fit(*blobs)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images, labels: (np.where(images == images.max(), np.inf, images), labels), "X contains infinity"),
        (lambda images, labels: (images * 255, labels), "counts of float32"),
        (lambda images, labels: (images[:0], labels[:0]), "no images"),
        (lambda images, labels: (images[:, :0], labels), "shape"),
        (lambda images, labels: (images, labels[:33]), "inconsistent"),
        (lambda images, labels: (images, np.eye(4)[labels]), "1d array"),
        (lambda images, labels: (images, np.where(labels == 1, np.nan, labels)), "y contains NaN"),
        (lambda images, labels: (images, labels + 0.5), "continuous"),
        (lambda images, labels: (Inputs(images, images[:, 0, 0] / 0, ("area_px",) * 32), labels), "infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_what_cannot_be_learned_from_is_refused(blobs, spoil, message):
    with pytest.raises((ValueError, SettingError), match=message):
        NetworkClassifier("logistic", epochs=1).fit(*spoil(*blobs))


def test_numbers_of_numpy_find_the_record_of_the_same_run(tmp_path, dataset):
    run = {"model": "nn", "width": 8, "epochs": 1}
    (made,) = cross_validate(dataset, [run], tmp_path, n_folds=2, seed=3)
    given = {"model": "nn", "width": np.int64(8), "epochs": np.int32(1)}
    (found,) = cross_validate(dataset, (g for g in [given]), tmp_path, n_folds=np.int64(2), seed=np.int64(3))
    assert found.folder == made.folder and [f.name for f in tmp_path.iterdir()] == [made.folder.name]
    (first,) = cross_validate(dataset, [given], tmp_path / "other", n_folds=np.int64(2), seed=np.int64(3))
    assert first.run["config"] == made.run["config"] and first.folder.name == made.folder.name


@pytest.mark.parametrize("device", ["tpu", "cuda", "cuda:1", "gpu", 0])
def test_a_device_that_is_not_here_is_refused_in_one_line(blobs, monkeypatch, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SettingError, match=r"^device: (there is no GPU|.* is unknown; use one of cpu, cuda)"):
        NetworkClassifier("logistic", epochs=1, device=device).fit(*blobs)


@pytest.mark.parametrize("estimator", [NetworkClassifier("logistic", epochs=1), DnaContentClassifier()])
def test_images_and_labels_are_taken_as_scikit_learn_takes_them(blobs, estimator):
    images, labels = blobs
    estimator = clone(estimator)
    with pytest.raises(NotFittedError):
        estimator.predict(images)
    with pytest.raises(SettingError, match="uint8"):
        estimator.fit((images * 255).astype(np.uint8), labels)
    with pytest.raises(ValueError, match="inconsistent"):
        estimator.fit(images, labels[:33])
    with pytest.warns(match="column-vector"):
        estimator.fit(images, labels[:, None])
    assert estimator.score(images, labels) == clone(estimator).fit(images, labels).score(images, labels)


def test_an_image_that_is_not_finite_gets_no_class(blobs):
    images, labels = blobs
    fitted = NetworkClassifier("logistic", epochs=1).fit(images, labels)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(images)), fitted.predict_proba(images), rtol=1e-5)
    some = images[:3].copy()
    some[1, 0, 5, 5] = np.nan
    assert np.isnan(fitted.predict_proba(some)).all(axis=1).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="X contains NaN"):
        fitted.predict(some)


def test_images_unlike_those_of_the_training_get_no_call_and_those_on_disk_get_theirs(blobs):
    images, labels = blobs
    fitted = NetworkClassifier("resnet8", width=2, epochs=1, training_set="D1").fit(images, labels)
    few = images[:3]
    for other in (few[..., ::2, ::2], few[..., 2:-2, 2:-2], np.repeat(few, 3, axis=1)):
        with pytest.raises(SettingError, match=r"as in training, \(1, 32, 32\)"):
            fitted.predict_proba(other)
    with pytest.raises(SettingError, match="counts of float32"):
        fitted.predict_proba(few * 65535)
    expected = fitted.predict_proba(few)
    few.setflags(write=False)
    np.testing.assert_array_equal(fitted.predict_proba(few), expected)


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        (NetworkClassifier("logistic", views=("shape",), epochs=5), ("area_px", "crop_dna")),
        (DnaContentClassifier(), ("dna_copies", "area_over_g1")),
    ],
)
def test_measurements_are_found_by_their_names(blobs, estimator, names):
    images, labels = blobs
    values = np.column_stack([1.0 + labels, 50 + labels % 2 + np.linspace(0, 9, len(labels))]).astype(np.float32)
    fitted = clone(estimator).fit(Inputs(images, values, names), labels)
    expected = fitted.predict_proba(Inputs(images, values, names))
    others = np.column_stack([values[:, 1], 9 - values, values[:, 0]])
    more = Inputs(images, others, (names[1], "texture", "solidity", names[0]))
    np.testing.assert_array_equal(fitted.predict_proba(more), expected)
    with pytest.raises(SettingError, match=f"no {names[0]}"):
        fitted.predict(Inputs(images, values[:, 1:], names[1:]))
    with pytest.raises(SettingError, match=f"no {names[0]}"):
        fitted.predict_proba(images)


def test_images_of_wrong_shape_are_refused():
    with pytest.raises(SettingError, match=r"\(4, 32, 32\)"):
        NetworkClassifier().fit(np.zeros((4, 32, 32)), [0, 1, 0, 1])


@pytest.mark.parametrize("estimator", [NetworkClassifier("logistic", epochs=1), DnaContentClassifier()])
def test_images_of_another_shape_than_in_training_are_refused(blobs, estimator):
    fitted = estimator.fit(*blobs)
    for images in (blobs[0][:, :, 4:-4, 4:-4], blobs[0].repeat(3, axis=1)):
        with pytest.raises(SettingError, match="give them as in training"):
            fitted.predict(images)


@pytest.mark.parametrize(
    "setting",
    [{"moves": "no"}, {"batch_norm": "yes"}, {"views": None}, {"learning_rate": "0.1"}, {"weight_decay": "0"}],
)
def test_settings_of_another_kind_are_refused(blobs, setting):
    with pytest.raises(TypeError, match=f"{next(iter(setting))} must be an instance of"):
        NetworkClassifier("logistic", epochs=1, **setting).fit(*blobs)


def test_pretrained_weights_start_the_training(blobs, tmp_path):
    images, labels = blobs
    first = NetworkClassifier("nagao3", epochs=3, width=4).fit(images, labels % 2)
    file = first.save_network(tmp_path / "pretrained.safetensors")
    tuned = NetworkClassifier("nagao3", epochs=1, width=4, learning_rate=0.0, pretrained=file).fit(images, labels)
    for a, b in zip(first.networks_[0].body.parameters(), tuned.networks_[0].body.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach(), b.detach())
    assert tuned.networks_[0].head.out_features == 4


def test_pretrained_weights_of_another_network_are_refused(blobs, tmp_path):
    file = NetworkClassifier("nagao3", epochs=1, width=4).fit(*blobs).save_network(tmp_path / "w.safetensors")
    with pytest.raises(SettingError, match="another network"):
        NetworkClassifier("nagao3", epochs=1, width=8, pretrained=file).fit(*blobs)
    (tmp_path / "broken.safetensors").write_text("not weights")
    with pytest.raises(SettingError, match=r"broken.safetensors: not a readable"):
        NetworkClassifier("nagao3", epochs=1, width=4, pretrained=tmp_path / "broken.safetensors").fit(*blobs)


def test_cross_validation_writes_records_and_does_not_run_twice(dataset, tmp_path, monkeypatch):
    configs = [{"model": "dna-content"}, {"model": "logistic", "epochs": 2}]
    first = cross_validate(dataset, configs, tmp_path, n_folds=3)
    assert [r.config["model"] for r in first] == ["dna-content", "logistic"]
    assert sorted(first[0].predictions["sample_id"]) == sorted(dataset.sample_ids)
    assert first[1].history["fold"].nunique() == 3

    def must_not_run(*_):
        raise AssertionError("a recorded run was run again")

    for estimator in (DnaContentClassifier, NetworkClassifier):
        monkeypatch.setattr(estimator, "fit", must_not_run)
    again = cross_validate(dataset, configs, tmp_path, n_folds=3)
    assert [r.folder for r in again] == [r.folder for r in first]


def test_parallel_processes_give_the_same_predictions(dataset, tmp_path):
    configs = [{"model": "nagao3", "epochs": 1, "width": 4}]
    one, two = (cross_validate(dataset, configs, tmp_path / str(n), n_folds=2, n_jobs=n)[0] for n in (1, 2))
    assert (one.folder / "predictions.csv").read_bytes() == (two.folder / "predictions.csv").read_bytes()


def test_training_never_sees_a_test_image_nor_a_copy_of_one(dataset, tmp_path, monkeypatch):
    seen = []
    make = classifier_module.make_training_set

    def watched(images, labels, *rest):
        made = make(images, labels, *rest)
        seen.append((set(image_fingerprints(images)), set(image_fingerprints(made.images)), made.source, len(images)))
        return made

    monkeypatch.setattr(classifier_module, "make_training_set", watched)
    record = cross_validate(dataset, [{"model": "logistic", "epochs": 1}], tmp_path, n_folds=2)[0]
    all_prints = dict(zip(dataset.sample_ids, image_fingerprints(dataset.images), strict=True))
    for fold, (given, made, source, n_given) in enumerate(seen):
        rows = record.predictions[record.predictions["fold"] == fold]
        tested = {all_prints[s] for s in rows["sample_id"]}
        assert tested
        assert not tested & given
        assert not tested & made
        assert set(source) == set(range(n_given))


def test_a_test_image_is_predicted_as_the_microscope_gave_it(dataset, tmp_path, monkeypatch):
    predicted = []
    original = NetworkClassifier.predict_proba

    def watched(self, images):
        predicted.append(images)
        return original(self, images)

    monkeypatch.setattr(NetworkClassifier, "predict_proba", watched)
    cross_validate(dataset, [{"model": "logistic", "epochs": 1}], tmp_path, n_folds=2)
    shown = image_fingerprints(np.concatenate([inputs.images for inputs in predicted]))
    assert sorted(shown) == sorted(image_fingerprints(dataset.images))


def test_copies_in_a_data_set_without_groups_are_refused(dataset, tmp_path):
    doubled = dataset.select(np.repeat(np.arange(len(dataset)), 2))
    with pytest.raises(DataError, match="copies in training"):
        cross_validate(doubled, [{"model": "dna-content"}], tmp_path, n_folds=2)


def test_share_of_the_labels_is_part_of_the_configuration(dataset, tmp_path):
    full, half = cross_validate(
        dataset, [{"model": "nn", "epochs": 1, "width": 8, "train_share": s} for s in (1.0, 0.5)], tmp_path, n_folds=2
    )
    assert full.folder != half.folder
    assert len(half.predictions) == len(full.predictions)
    for share in (1.5, 0, "half"):
        with pytest.raises(SettingError, match=f"^train_share: {share!r} is not a share"):
            cross_validate(dataset, [{"model": "nn", "train_share": share}], tmp_path, n_folds=2)
    for share in (0.01, 0.99):
        with pytest.raises(DataError, match=f"a share of {share} of a training fold"):
            cross_validate(dataset, [{"model": "nn", "train_share": share}], tmp_path, n_folds=2)


def test_a_killed_cross_validation_goes_on_where_it_stopped(dataset, tmp_path, monkeypatch):
    configs = [{"model": "dna-content"}, {"model": "logistic", "epochs": 1}]
    fit = DnaContentClassifier.fit

    def killed(self, X, y, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(NetworkClassifier, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(dataset, configs, tmp_path, n_folds=2)
    assert [r.config["model"] for r in results.load_runs(tmp_path)] == ["dna-content"]
    monkeypatch.undo()
    monkeypatch.setattr(DnaContentClassifier, "fit", killed)
    assert len(cross_validate(dataset, configs, tmp_path, n_folds=2)) == 2
    monkeypatch.setattr(DnaContentClassifier, "fit", fit)


def test_a_crop_without_a_nucleus_gets_the_class_shares(blobs):
    images, labels = blobs
    fitted = DnaContentClassifier().fit(images[:60], labels[:60])
    scores = fitted.predict_proba(np.zeros((1, 1, 32, 32), np.float32))
    np.testing.assert_allclose(scores[0], np.bincount(labels[:60]) / 60)


@pytest.mark.parametrize("n_of_last", [0, 1])
def test_a_class_of_one_nucleus_or_of_none_that_is_found_is_called_as_widely_as_others_spread(n_of_last):
    """Simulated nuclei; of M one is there, or its picture is empty."""
    nuclei = make_simulated("few", {"G1": 40, "S": 30, "G2": 20, "M": 1}, seed=3)
    images = nuclei.images.copy()
    if not n_of_last:
        images[nuclei.labels == 3] = 0
    fitted = DnaContentClassifier().fit(images, nuclei.labels)
    probabilities = fitted.predict_proba(images)
    assert probabilities.shape == (91, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    whole = DnaContentClassifier().fit(images[nuclei.labels < 3], nuclei.labels[nuclei.labels < 3])
    others = nuclei.labels < 3
    same = fitted.predict(images[others]) == whole.predict(images[others])
    assert same.mean() > 0.9
    if n_of_last:
        mitosis = images[nuclei.labels == 3]
        assert fitted.predict_proba(mitosis)[0, 3] > 5 / 91
        spreads = (1 / fitted.model_.maps.square().sum(dim=1)).mean(dim=1).numpy()
        assert spreads[:3].min() / 2 < spreads[3] < 2 * spreads[:3].max()


@pytest.mark.realdata
def test_real_cells_are_learned_better_than_chance(real_data, tmp_path):
    from cellcycle import metrics
    from cellcycle.datasets import load_dataset

    for file in sorted(real_data.glob("jurkat/*/*.tif"))[::5]:
        (tmp_path / "cells" / file.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cells" / file.parent.name / file.name).symlink_to(file)
    cells = load_dataset(tmp_path / "cells")
    assert len(cells) > 400
    record = cross_validate(cells, [{"model": "logistic", "epochs": 15}], tmp_path / "records", n_folds=2)[0]
    matrix = metrics.confusion_matrix(record.labels, record.predicted, 4)
    assert metrics.balanced_accuracy(matrix) > 0.68


def test_per_image_measurements_are_the_same_at_any_exposure(blobs):
    images, labels = blobs
    images = images + np.float32(0.02)
    settings = {"views": ("shape",), "epochs": 1, "width": 4, "training_set": "D1"}
    fitted = NetworkClassifier("nagao3", **settings).fit(measured(images, MEASURED_PER_IMAGE), labels)
    expected = fitted.predict_proba(measured(images, MEASURED_PER_IMAGE))
    darker, brighter = (fitted.predict_proba(measured(x, MEASURED_PER_IMAGE)) for x in (images / 2, images * 0.5 + 0.4))
    np.testing.assert_allclose(darker, expected, atol=1e-3)
    assert not np.allclose(brighter, expected, atol=1e-3)


def test_the_shape_hides_exposure_and_measurements_tell_it(blobs):
    images, labels = blobs
    settings = {"views": ("shape",), "epochs": 1, "width": 4, "training_set": "D1"}
    picture = NetworkClassifier("nagao3", **settings).fit(images, labels)
    np.testing.assert_allclose(picture.predict_proba(images / 2), picture.predict_proba(images), atol=1e-4)
    both = NetworkClassifier("nagao3", **settings).fit(measured(images), labels)
    assert not np.allclose(both.predict_proba(measured(images / 2)), both.predict_proba(measured(images)), atol=1e-4)


def test_moved_images_keep_their_background_their_nucleus_and_come_again_by_seed():
    y, x = np.mgrid[:32, :32] - 15.5
    disk = torch.from_numpy((0.2 + (np.hypot(y, x) < 8)).astype(np.float32)).repeat(20, 1, 1, 1)
    made = moved(disk, np.random.default_rng(1))
    assert torch.equal(made, moved(disk, np.random.default_rng(1)))
    assert not torch.allclose(made[0], made[1])
    assert torch.allclose(made[:, :, 0], disk[:, :, 0])
    areas = (made > 0.7).sum(dim=(1, 2, 3)) / (disk[0] > 0.7).sum()
    assert 0.75 < areas.min() < 0.95 < 1.05 < areas.max() < 1.3
    rows, columns = (
        ((made - 0.2).sum(dim=d) * torch.arange(32)).sum(-1) / (made - 0.2).sum(dim=(2, 3)) for d in (3, 2)
    )
    assert (torch.stack([rows, columns]) - 15.5).abs().max() < 1.6


# Pages of memory that a step asks the system for, once the first training of a process is over, and what that imported.
PAGES_A_STEP = """
import resource, sys
import numpy as np
from cellcycle.training import make_estimator
images, labels = np.random.default_rng(0).random((64, 1, 48, 48), dtype=np.float32), np.arange(64) % 4
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    make_estimator("nagao3", training_set="D1", epochs=6, batch_size=16).fit(images, labels)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (6 * 4), "torch._dynamo" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_a_training_asks_the_system_for_memory_once_not_at_every_step_and_imports_no_compiler():
    said = subprocess.run([sys.executable, "-c", PAGES_A_STEP], capture_output=True, text=True, check=True)
    pages, has_compiler = said.stdout.split()
    # 340 where each step gives its arrays back.
    assert float(pages) < 100
    assert has_compiler == "False"

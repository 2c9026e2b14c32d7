import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from cellcycle import explain
from cellcycle.errors import SettingError
from cellcycle.inputs import Inputs, prepare_images
from cellcycle.training import NetworkClassifier

pytestmark = pytest.mark.slow

NETWORKS = {
    "logistic": {},
    "nn": {"width": 16},
    "resnet8": {"width": 4},
    "nagao3": {"width": 4},
    "nagao6": {"width": 2},
}


def quick(model, images, labels, **settings):
    settings = {"training_set": "D1", "epochs": 1, **NETWORKS.get(model, {}), **settings}
    return NetworkClassifier(model, **settings).fit(images, labels)


@pytest.fixture(scope="module")
def marked():
    """Dim disks of any size, half of them with a spot beside them, and a network that tells the two apart."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    images = np.stack([0.1 + 0.3 * (np.hypot(y - 15.5, x - 15.5) < rng.uniform(4, 7)) for _ in range(240)])
    images = (images + rng.normal(0, 0.02, images.shape))[:, None].clip(0, 1).astype(np.float32)
    images, labels, regions = explain.plant_marks(images)
    classifier = quick("resnet8", images[:160], labels[:160], epochs=8, learning_rate=5e-3)
    assert (classifier.predict(images[160:]) == labels[160:]).mean() > 0.9
    shown = np.flatnonzero(labels[160:] == 1)[:20] + 160
    return classifier, images[shown], regions[shown]


@pytest.mark.parametrize("model", NETWORKS)
def test_every_network_gives_maps(model, blobs):
    images, labels = blobs
    classifier = quick(model, images, labels)
    for method in (explain.grad_cam, explain.occlusion):
        maps = method(classifier, images[:3])
        assert maps.shape == (3, 32, 32)
        assert maps.dtype == np.float32
        assert 0 <= maps.min() <= maps.max() <= 1


def test_a_fall_by_rounding_draws_no_map(blobs):
    images, labels = blobs
    classifier = quick("logistic", images, labels)
    with torch.no_grad():
        for weights in classifier.networks_[0].parameters():
            weights *= 1e-6
    assert explain.occlusion(classifier, images[:3]).max() == 0
    assert explain.grad_cam(classifier, images[:3]).max() == 1


@pytest.mark.parametrize("method", [explain.grad_cam, explain.occlusion])
def test_maps_point_to_what_is_known_to_matter(method, marked):
    classifier, images, regions = marked
    maps = method(classifier, images, np.ones(len(images), int))
    by_chance = regions.mean()
    assert np.nanmean(explain.share_inside(maps, regions)) > 3 * by_chance
    peaks = [region.ravel()[found.argmax()] for found, region in zip(maps, regions, strict=True)]
    assert np.mean(peaks) > 0.7


def test_random_weights_change_the_maps_and_not_the_classifier(marked):
    classifier, images, regions = marked
    calls = np.ones(len(images), int)
    before = {k: v.clone() for k, v in classifier.networks_[0].state_dict().items()}
    maps = explain.grad_cam(classifier, images, calls)
    for part in ("head", "all"):
        other = explain.with_random_weights(classifier, part)
        kept = torch.equal(other.networks_[0].body[0].weight, classifier.networks_[0].body[0].weight)
        assert kept == (part == "head")
        assert not torch.equal(other.networks_[0].head.weight, classifier.networks_[0].head.weight)
    assert all(torch.equal(v, before[k]) for k, v in classifier.networks_[0].state_dict().items())
    blind = explain.grad_cam(other, images, calls)
    assert np.nan_to_num(explain.share_inside(blind, regions)).mean() < explain.share_inside(maps, regions).mean() / 2
    assert explain.similarity(maps, blind).mean() < 0.5
    with pytest.raises(SettingError, match="use one of head, all"):
        explain.with_random_weights(classifier, "tail")


def test_occlusion_finds_the_pixels_that_a_linear_network_reads(blobs):
    images, labels = blobs
    classifier = quick("logistic", images, labels)
    with torch.no_grad():
        weights = torch.zeros(4, 1, 32, 32)
        weights[2, 0, 12:20, 12:20] = 0.05
        classifier.networks_[0].head.weight.copy_(weights.reshape(4, -1))
        classifier.networks_[0].head.bias.zero_()
    maps = explain.occlusion(classifier, images[-4:], np.full(4, 2), window_px=4)
    assert maps[:, :8].max() == 0
    assert (maps[:, 12:20, 12:20].mean(axis=(1, 2)) > 0.2).all()


@pytest.mark.parametrize("turns", [True, "upright"])
def test_maps_of_a_turning_network_turn_with_the_picture(blobs, turns):
    images, labels = blobs
    lopsided = images.copy()
    lopsided[:, :, 4:9, 20:28] += 0.2
    inputs = prepare_images(lopsided.clip(0, 1), ("area_px", "crop_dna"))
    classifier = quick("nagao3", inputs, labels, turns=turns, views=("shape", "scaled"), epochs=5)
    calls = classifier.predict(inputs[:3])
    upright = explain.grad_cam(classifier, inputs[:3], calls)
    again = Inputs(np.rot90(inputs.images[:3], axes=(2, 3)).copy(), inputs.measurements[:3], inputs.names)
    turned = explain.grad_cam(classifier, again, calls)
    assert upright.max() > 0
    swapped = Inputs(inputs.images[:3], inputs.measurements[:3, ::-1], inputs.names[::-1])
    assert np.array_equal(explain.grad_cam(classifier, swapped, calls), upright)
    assert np.allclose(np.rot90(upright, axes=(1, 2)), turned, atol=1e-3)


def test_marks_are_where_they_are_said_to_be(blobs):
    images, _ = blobs
    marked, labels, regions = explain.plant_marks(images)
    assert labels.sum() == len(images) // 2
    assert np.array_equal(marked[labels == 0], images[labels == 0])
    added = (marked - images)[labels == 1, 0]
    assert explain.share_inside(added, regions[labels == 1]).min() > 0.9
    assert 0 <= marked.min() <= marked.max() <= 1


def test_what_explains_finds_the_feature_that_made_the_calls():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 3)), columns=["area", "dna", "texture"])
    calls = (table["area"] > 0).to_numpy(int) + 2
    table.loc[:4, "dna"] = np.nan
    found = explain.what_explains(table, calls, {"area": ["area"], "DNA content": ["dna"], "texture": ["texture"]})
    assert found.loc["area", "alone"] > 0.95
    assert found.loc["area", "lost_without_low"] > 0.2
    assert abs(found.loc["texture", "lost_without"]) < 0.05
    assert found.loc["DNA content", "alone"] < 0.65
    assert list(found.index) == ["area", "DNA content", "texture", "all"]
    # Cells of two slides have two folds.
    by_slide = explain.what_explains(table, calls, {"area": ["area"], "DNA content": ["dna"]}, np.arange(200) % 2)
    assert by_slide.loc["area", "alone"] > 0.95


def test_images_must_be_a_stack(blobs):
    images, labels = blobs
    with pytest.raises(SettingError, match="N, C, H, W"):
        explain.grad_cam(quick("logistic", images, labels), images[0])


def test_map_rows_have_a_row_a_method(blobs):
    from cellcycle import plots

    images, _ = blobs
    maps = np.zeros((3, 32, 32), np.float32)
    figure = plots.map_rows(images[:3], {"Grad-CAM": maps, "occlusion": maps}, ["a", "b", "c"], images[:3, 0] > 0.4)
    assert len(figure.axes) == 9
    assert [ax.get_title() for ax in figure.axes[:3]] == ["a", "b", "c"]


def test_explained_calls_are_drawn_as_measured():
    from cellcycle import plots

    row = {"alone": 0.7, "alone_low": 0.6, "alone_high": 0.8}
    row |= {"lost_without": 0.1, "lost_without_low": 0.0, "lost_without_high": 0.2}
    figure = plots.explained_calls(pd.DataFrame([row, row], index=["area", "all"]))
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.7, 0.7]


@pytest.mark.parametrize("wrong", [[9] * 4, [-1] * 4, [0, 1], [0.5] * 4, ["G1"] * 4])
def test_what_cannot_be_explained_is_refused_in_one_line(blobs, wrong):
    images, labels = blobs[0][:4], blobs[1][:4]
    classifier = quick("nagao3", images, labels)
    for method in (explain.grad_cam, explain.occlusion):
        with pytest.raises(SettingError, match=r"^classes: "):
            method(classifier, images, wrong)
        with pytest.raises(SettingError, match="no image"):
            method(classifier, images[:0])
        with pytest.raises(NotFittedError):
            method(NetworkClassifier(), images)
        np.testing.assert_array_equal(method(classifier, images, 0), method(classifier, images, [0] * 4))
    for side in (0, 33, 4.0):
        with pytest.raises(SettingError, match=r"^window_px: "):
            explain.occlusion(classifier, images, window_px=side)

import numpy as np
import pytest
from skimage.data import binary_blobs

from cellcycle.errors import SettingError
from cellcycle.training.augmentation import STUDY_TRANSFORMS, augment
from cellcycle.training.balancing import make_training_set


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    image = binary_blobs(32, blob_size_fraction=0.3, rng=1).astype(np.float32) * 0.5
    return np.stack([image[None] * rng.uniform(0.6, 1) + 0.05 for _ in range(9)]).astype(np.float32)


@pytest.fixture
def labels():
    return np.array([0, 0, 0, 0, 0, 1, 1, 1, 2])


def test_d1_is_the_images_themselves(images, labels):
    made = make_training_set(images, labels, "D1")
    np.testing.assert_array_equal(made.images, images)
    np.testing.assert_array_equal(made.source, np.arange(9))


def test_d2_keeps_each_image_and_adds_copies(images, labels):
    made = make_training_set(images, labels, "D2", copies=3)
    np.testing.assert_array_equal(np.bincount(made.source), 4)
    np.testing.assert_array_equal(made.labels, labels[made.source])
    for i in range(len(images)):
        same = [np.array_equal(m, images[i]) for m in made.images[made.source == i]]
        assert same[0]
        assert sum(same) == 1


@pytest.mark.parametrize("copies", [0, 1, 3])
def test_d3_is_balanced_exactly(images, labels, copies):
    made = make_training_set(images, labels, "D3", copies=copies)
    np.testing.assert_array_equal(np.bincount(made.labels), 5 * (1 + copies))
    assert set(made.source) == set(range(9))


def test_d3_uses_the_images_of_a_class_evenly(images, labels):
    made = make_training_set(images, labels, "D3", copies=2)
    used = np.bincount(made.source)
    for k in range(3):
        assert np.ptp(used[labels == k]) <= 1


def test_seed_decides_the_copies(images, labels):
    a, b, c = (make_training_set(images, labels, "D3", seed=s).images for s in (5, 5, 6))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_unknown_set_and_transform_are_refused(images, labels):
    with pytest.raises(SettingError, match="D4"):
        make_training_set(images, labels, "D4")
    with pytest.raises(SettingError, match="zoom"):
        augment(images, ("zoom",))


@pytest.mark.parametrize("transform", STUDY_TRANSFORMS)
def test_transforms_keep_shape_and_range(images, transform):
    colour = np.repeat(images, 3, axis=1) * np.array([0.2, 0.4, 1], np.float32)[:, None, None]
    for given in (images, colour):
        made = augment(given, (transform,), seed=1)
        assert made.shape == given.shape
        assert made.dtype == np.float32
        assert made.min() >= 0
        assert made.max() <= 1


def test_flips_move_pixels_and_change_none(images):
    made = augment(images, ("flips",), seed=0)
    np.testing.assert_allclose(np.sort(made.ravel()), np.sort(images.ravel()))
    assert not np.array_equal(made, images)


def test_rotation_fills_corners_with_the_background():
    y, x = np.mgrid[:33, :33]
    disk = np.where(np.hypot(y - 16, x - 16) < 8, 0.9, 0.3).astype(np.float32)
    made = augment(np.tile(disk, (6, 1, 1, 1)), ("rotation",), seed=2)
    # Size and DNA content stay: only interpolation at the rim differs, and no dark corner appears.
    assert made.min() >= 0.3 - 1e-4
    np.testing.assert_allclose(made.sum(axis=(1, 2, 3)), disk.sum(), rtol=0.02)


def test_grayscale_makes_channels_equal_in_half_of_the_images():
    rng = np.random.default_rng(0)
    made = augment(rng.random((40, 3, 8, 8), dtype=np.float32), ("grayscale",), seed=0)
    gray = np.ptp(made, axis=1).max(axis=(1, 2)) < 1e-6
    assert 8 < gray.sum() < 32


def test_augmenting_leaves_the_global_random_state_alone(images):
    import torch

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    augment(images[:2])
    assert torch.equal(torch.rand(3), expected)

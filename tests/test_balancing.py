import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.data import binary_blobs
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from cellcycle.errors import SettingError
from cellcycle.training.augmentation import STUDY_TRANSFORMS, augment, blurred, jittered, rotated, warped
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


@pytest.fixture
def coloured():
    rng = np.random.default_rng(3)
    return torch.from_numpy(gaussian_filter(rng.random((5, 3, 21, 21), dtype=np.float32), (0, 0, 1, 1)))


def test_a_batch_is_turned_and_blurred_as_torchvision_does_it_image_by_image(coloured):
    degrees, sigma = np.array([-170.0, -40, 0, 33, 90]), np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    above = coloured - coloured.amin(dim=(2, 3), keepdim=True)
    above[:, :, [0, -1]] = above[:, :, :, [0, -1]] = 0  # its background is 0, as torchvision's filling
    bilinear = v2.InterpolationMode.BILINEAR
    by_one = torch.stack([functional.rotate(image, d, bilinear) for image, d in zip(above, degrees, strict=True)])
    torch.testing.assert_close(rotated(above, np.deg2rad(degrees)), by_one, rtol=0, atol=1e-5)
    by_one = [functional.gaussian_blur(image, [5, 5], [s, s]) for image, s in zip(coloured, sigma, strict=True)]
    torch.testing.assert_close(blurred(coloured, sigma), torch.stack(by_one), rtol=0, atol=1e-6)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_a_batch_is_turned_zoomed_and_moved_as_torch_does_it_by_matrices(coloured, padding):
    angle, zoom = np.array([-3.0, -0.7, 0, 0.6, 1.5]), np.array([0.9, 0.95, 1, 1.05, 1.1])
    shift = np.array([[0.06, -0.06], [0.02, 0.05], [0, 0], [-0.03, 0.01], [-0.06, -0.06]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    matrix = torch.from_numpy(np.concatenate([turn * zoom[:, None, None], shift[..., None]], axis=2))
    grid = torch.nn.functional.affine_grid(matrix.float(), list(coloured.shape), align_corners=False)
    asked = torch.nn.functional.grid_sample(coloured, grid, padding_mode=padding, align_corners=False)
    torch.testing.assert_close(warped(coloured, angle, zoom, shift, padding), asked, rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_jittered_as_torchvision_does_it_image_by_image(coloured, channels):
    images = coloured[:, :channels]
    factors = np.random.default_rng(0).uniform([0.9, 0.9, 0.7, -0.5], [1.1, 1.1, 1.3, 0.5], (5, 4))
    steps = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]
    by_one = []
    for image, of_image in zip(images, factors, strict=True):
        for step, factor in zip([*steps, functional.adjust_hue], of_image, strict=True):
            image = step(image, factor)
        by_one.append(image)
    torch.testing.assert_close(jittered(images, *factors.T), torch.stack(by_one), rtol=0, atol=1e-5)


def test_augmenting_leaves_the_global_random_state_alone(images):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    augment(images[:2])
    assert torch.equal(torch.rand(3), expected)

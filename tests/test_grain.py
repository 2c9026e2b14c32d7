"""The grain of pictures: the same at any exposure and position, and of each picture alone."""

import numpy as np
import pytest
import torch

from cellcycle.grain import GRAIN, GRAIN_AMOUNTS, grain_columns
from cellcycle.inputs import InputRule, Inputs, prepare_images
from cellcycle.networks import Encoding
from cellcycle.simulation import simulate_nuclei
from cellcycle.training import NetworkClassifier


@pytest.fixture(scope="module")
def nuclei():
    return simulate_nuclei({"G1": 6, "S": 6, "G2": 6, "M": 6}, 48, 5)


@pytest.fixture(scope="module")
def planes(nuclei):
    return nuclei.images[:, 0].astype(np.float64)


def matrix(planes, names=GRAIN):
    columns = grain_columns(planes)
    return np.column_stack([columns[name] for name in names])


@pytest.mark.slow
def test_no_column_of_a_picture_depends_on_the_others(planes):
    together = matrix(planes, (*GRAIN_AMOUNTS, *GRAIN))
    for row in (0, 7, len(planes) - 1):
        np.testing.assert_allclose(matrix(planes[row : row + 1], (*GRAIN_AMOUNTS, *GRAIN))[0], together[row], rtol=1e-9)


@pytest.mark.slow
def test_exposure_offset_and_turns_leave_the_grain_as_it_is(planes):
    for changed in (planes * 0.3, planes + 0.1, np.rot90(planes, axes=(1, 2)), planes[:, :, ::-1]):
        np.testing.assert_allclose(matrix(changed), matrix(planes), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(matrix(planes * 0.3, GRAIN_AMOUNTS), 0.3 * matrix(planes, GRAIN_AMOUNTS))


@pytest.mark.parametrize("size_px", [4, 9, 64])
def test_pictures_without_contrast_and_of_any_size_have_numbers(size_px):
    assert np.isfinite(matrix(np.stack([np.zeros((size_px, size_px)), np.full((size_px, size_px), 0.5)]))).all()


def test_condensed_chromatin_has_a_coarser_grain(nuclei, planes):
    power = grain_columns(planes)["power_3"]
    assert power[nuclei.labels == 3].mean() > power[nuclei.labels == 0].mean()


def test_a_rule_keeps_the_grain_last_and_a_network_reads_it(nuclei):
    rule = InputRule(48, measurements=("spot_1", "area_px", "power_2", "picture_dna"))
    assert rule.measurements == ("area_px", "picture_dna", "spot_1", "power_2")
    images = nuclei.images.astype(np.float32)
    inputs = prepare_images(images, rule.measurements)
    assert inputs.n_grain == 2 and inputs.is_amount == [True, True, False, False]
    fitted = NetworkClassifier("nagao2", views=("shape",), copies=0, epochs=1, moves=True).fit(inputs, nuclei.labels)
    coarser = Inputs(images, inputs.measurements + np.float32([0, 0, 0, 5]), rule.measurements)
    assert not np.allclose(fitted.logits(inputs), fitted.logits(coarser))


def test_a_coloured_crop_is_measured_in_the_channel_of_the_stain(nuclei):
    gray = nuclei.images[:4].astype(np.float32)
    blue = np.concatenate([np.zeros_like(gray), 0.2 * gray, gray], axis=1)
    names = ("area_px", "picture_dna", "spot_1", "power_2")
    np.testing.assert_array_equal(*(prepare_images(images, names).measurements for images in (blue, gray)))


def test_the_grain_is_encoded_as_deviations_that_end():
    values = np.float32([[1, 0], [2, 10], [4, 20]])
    encoding = Encoding.of(values, [True, False], n_bins=2, n_grain=1)
    assert encoding.n_outputs == 3
    encoded = encoding(torch.tensor([[2.0, 10.0], [2.0, 1e6], [2.0, torch.nan]]))
    np.testing.assert_allclose(encoded[:, -1], [0, 3, 0], atol=1e-6)
    # One that is missing in training spoils no other.
    missing = Encoding.of(np.vstack([values, np.float32([[3, np.nan]])]), [True, False], n_bins=2, n_grain=1)
    np.testing.assert_allclose(missing.mean, [10])

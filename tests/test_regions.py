"""Numbers of regions by bands of rows are those of the whole picture, and take no copy as large as it."""

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import grayreconstruct, h_maxima

from cellcycle.arrays import as_labels
from cellcycle.segmentation import regions, segment
from cellcycle.segmentation.artefacts import look_over
from cellcycle.segmentation.ground import ground_of
from cellcycle.segmentation.sisters import joined_sisters
from cellcycle.segmentation.survey import opened
from cellcycle.simulation import simulate_field


@pytest.mark.parametrize("band_px", [1, 40, 10_000])
def test_regions_are_summed_over_all_bands(monkeypatch, band_px):
    monkeypatch.setattr(regions, "_BAND_PX", band_px)
    rng = np.random.default_rng(0)
    labels, values = rng.integers(0, 7, (23, 17)).astype(np.int32), rng.random((23, 17)).astype(np.float32)
    labels[labels == 4] = 5
    assert regions.areas_of(labels).tolist() == np.bincount(labels.ravel()).tolist()
    np.testing.assert_allclose(regions.sums_of(values, labels), ndimage.sum_labels(values, labels, range(7)))
    assert sum(labels[band].size for band in regions.bands(labels)) == labels.size


def test_a_small_picture_is_looked_at_whole_and_a_large_one_in_every_nth_row(monkeypatch):
    pixels = np.arange(60).reshape(12, 5)
    assert regions.thinned(pixels) is not None and np.shares_memory(regions.thinned(pixels), pixels)
    assert regions.thinned(pixels).shape == (12, 5)
    monkeypatch.setattr(regions, "_MOST_PX", 20)
    assert regions.thinned(pixels)[:, 0].tolist() == [0, 15, 30, 45]


@pytest.mark.parametrize("of", [np.maximum, np.minimum])
@pytest.mark.parametrize(("band_px", "most_px"), [(1, 300), (40, 90), (150, 10_000), (10_000, 150)])
def test_surroundings_of_nuclei_are_those_of_the_whole_picture(monkeypatch, band_px, most_px, of):
    labels = (np.random.default_rng(0).random((61, 37)) < 0.3) * 5
    labels[20:45, 5:20] = 7
    monkeypatch.setattr(regions, "_BAND_PX", band_px)
    monkeypatch.setattr(regions, "_MOST_PX", most_px)
    whole = (ndimage.maximum_filter if of is np.maximum else ndimage.minimum_filter)(labels > 0, 5)
    found = regions.thinned_extreme(labels, 2, of)
    np.testing.assert_array_equal(found, regions.thinned(whole))
    assert 0 < found.mean() < 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 3), (30, 41)])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 16, 45])
def test_extremes_and_openings_are_those_of_scipy(shape, side):
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    least, greatest = (regions.extreme(values, side, of) for of in (np.minimum, np.maximum))
    np.testing.assert_array_equal(least, ndimage.minimum_filter(values, side))
    np.testing.assert_array_equal(greatest, ndimage.maximum_filter(values, side))
    np.testing.assert_array_equal(opened(values, side), ndimage.grey_opening(values, (side, side)))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("blur_px", [0, 1, 3])
def test_tops_in_a_mask_are_the_h_maxima_there(share, blur_px):
    noise = np.random.default_rng(7).random((90, 70), np.float32)
    height = np.log(ndimage.gaussian_filter(noise, blur_px))
    where, dip = height > np.quantile(height, 1 - share), float(np.ptp(height)) / 9
    np.testing.assert_array_equal(regions.tops_of(height, dip, where), h_maxima(height, dip).astype(bool) & where)


def test_a_level_top_that_fills_its_box_is_found():
    height = np.zeros((20, 20), np.float32)
    height[5:7, 5:9] = 1
    np.testing.assert_array_equal(regions.tops_of(height, 0.15, height > 0), height > 0)


@pytest.mark.parametrize("backend", ["trained", "classical"])
def test_pixels_are_sorted_only_where_nuclei_have_several_peaks(monkeypatch, backend):
    sorted_px, of_image = [], grayreconstruct.reconstruction
    monkeypatch.setattr(
        grayreconstruct,
        "reconstruction",
        lambda seed, *rest, **more: sorted_px.append(seed.size) or of_image(seed, *rest, **more),
    )
    field = simulate_field((256, 256), 12, seed=1)
    assert segment(field.image / np.float32(field.image.max()), segmentation=backend).max() > 6
    assert sum(sorted_px) < field.image.size / 20


def test_flat_areas_are_those_of_the_whole_picture(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 2, (97, 53)).astype(np.float32)
    whole = regions.flat_areas(pixels)
    monkeypatch.setattr(regions, "_BAND_PX", 4 * 53)
    assert whole.max() > 3 and (regions.flat_areas(pixels) == whole).all()


@pytest.mark.slow
def test_a_large_picture_is_looked_over_within_a_few_bytes_a_pixel():
    """Of 10,000 pixels a side, 20 bytes a pixel are what two gigabytes hold."""
    rng, side = np.random.default_rng(0), 3000
    pixels = rng.normal(0.1, 0.01, (side, side)).astype(np.float32)
    labels = np.zeros((side, side), np.int32)
    for number, (top, left) in enumerate(rng.integers(0, side - 40, (400, 2)), start=1):
        pixels[top : top + 30, left : left + 30] += 0.3 if number % 40 else 0.9
        labels[top : top + 30, left : left + 30] = number
    _, labels = np.unique(labels, return_inverse=True)
    labels = labels.reshape(side, side).astype(np.int32)
    pixels[5, 5] = 1
    tracemalloc.start()
    try:
        look_over(pixels)
        joined_sisters(pixels, labels)
        assert tracemalloc.get_traced_memory()[1] < 16 * pixels.size
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_the_ground_of_a_large_picture_is_judged_without_a_copy_of_it(monkeypatch):
    monkeypatch.setattr(regions, "_MOST_PX", 200_000)
    pixels = np.random.default_rng(0).normal(0.1, 0.01, (3000, 3000)).astype(np.float32)
    labels = np.zeros(pixels.shape, np.int32)
    labels[:300, :300] = 1
    tracemalloc.start()
    try:
        ground_of(pixels, labels)
        assert tracemalloc.get_traced_memory()[1] < 4 * pixels.size
    finally:
        tracemalloc.stop()
    # Nor are labels held twice.
    assert as_labels(labels, pixels) is labels


@pytest.mark.parametrize("n_anaphases", [2, 40])
def test_halves_of_anaphases_are_one_nucleus_also_where_they_are_most_of_a_field(n_anaphases):
    """Nuclei of 20 px, and plates of 6 x 16 px with 8 px between them, on a grid of 60 px."""
    labels, number = np.zeros((480, 480), np.int32), 0
    pixels = np.full(labels.shape, 0.1, np.float32)
    places = [(row, column) for row in range(10, 480, 60) for column in range(10, 480, 60)]
    for k, (row, column) in enumerate(places):
        boxes = [(20, 20, 0)] if k >= n_anaphases else [(6, 16, 0), (6, 16, 14)]
        for height, width, below in boxes:
            number += 1
            part = np.s_[row + below : row + below + height, column : column + width]
            labels[part], pixels[part] = number, 0.3 if len(boxes) == 1 else 0.9
    assert joined_sisters(pixels, labels).max() == len(places)

"""Channels, planes and copies of one field are found by their nuclei, whatever they are called."""

import time

import numpy as np
import pytest
import tifffile

from cellcycle.predict import predict
from cellcycle.segmentation.same_field import same_fields, shows_twice
from cellcycle.simulation import simulate_field

SHAPE = (1040, 1388)


def field(n, seed, shape=SHAPE, least=18.0):
    """Return the centres of about n nuclei that do not lie upon each other."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, shape, (2 * n, 2))
    grid = {}
    for place in places:
        cell = tuple((place // least).astype(int))
        around = (grid.get((cell[0] + a, cell[1] + b)) for a in (-1, 0, 1) for b in (-1, 0, 1))
        if all(other is None or np.hypot(*(other - place)) >= least for other in around):
            grid[cell] = place
    return np.array(list(grid.values())[:n])


def again(centres, seed, missing=0.1, jitter=1.0, shift=(0, 0)):
    """Return the same nuclei as another channel or plane shows them: some are not found, others are."""
    rng = np.random.default_rng(seed)
    kept = centres[rng.random(len(centres)) >= missing]
    return rng.permutation(kept + rng.normal(0, jitter, kept.shape) + shift)


@pytest.mark.parametrize("n", [12, 100, 600, 1500])
def test_the_same_nuclei_are_found_and_only_these(n):
    fields = [field(n, seed) for seed in range(6)]
    images = [*fields, again(fields[2], 1), again(fields[0], 2), again(fields[2], 3)]
    assert same_fields(images, [SHAPE] * 9) == [(0, 7), (2, 6), (2, 8), (6, 8)]


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 400, 1200])
def test_a_marker_of_half_the_cells_and_a_lens_that_shifts_colours_hide_nothing(n):
    fields = [field(n, seed) for seed in range(8)]
    images = [*fields, *(again(one, 90 + k, missing=0.5) for k, one in enumerate(fields))]
    assert same_fields(images, [SHAPE] * 16) == [(k, 8 + k) for k in range(8)]
    images = [*fields, *(again(one, 50 + k, shift=(1.5, -1.5)) for k, one in enumerate(fields))]
    assert same_fields(images, [SHAPE] * 16) == [(k, 8 + k) for k in range(8)]


def test_a_marker_of_few_cells_is_found_in_its_field():
    fields = [field(n, seed) for seed, n in enumerate((100, 200, 400, 800, 150, 300))]
    marked = [again(one, 70 + k, missing=1 - 12 / len(one)) for k, one in enumerate(fields)]
    assert min(map(len, marked)) >= 8
    assert same_fields([*fields, *marked], [SHAPE] * 12) == [(k, 6 + k) for k in range(6)]


@pytest.mark.slow
def test_unlike_fields_are_no_pair_however_dense():
    shape = (500, 500)
    for n, least in ((400, 12.0), (900, 9.0), (1500, 8.0)):
        assert same_fields([field(n, seed, shape, least) for seed in range(12)], [shape] * 12) == []
    # In clusters at the same places, as on a pattern of glue.
    rng = np.random.default_rng(0)
    spots = rng.uniform(50, 450, (12, 2))
    clusters = [np.concatenate([spot + rng.normal(0, 9, (12, 2)) for spot in spots]) for _ in range(20)]
    assert same_fields(clusters, [shape] * 20) == []


def test_few_nuclei_say_nothing_and_other_sizes_are_other_fields():
    few = field(7, 0)
    assert same_fields([few, few], [SHAPE] * 2) == []
    eight = field(8, 1)
    assert same_fields([eight, again(eight, 0, missing=0)], [SHAPE] * 2) == [(0, 1)]
    one = field(100, 2)
    assert same_fields([one, one], [SHAPE, (1040, 1392)]) == []
    assert same_fields([one, np.empty((0, 2))], [SHAPE] * 2) == []
    assert same_fields([], []) == []


@pytest.mark.slow
def test_one_image_of_many_copies_stands_in_a_pair():
    one = field(200, 0)
    pairs = same_fields([field(200, 1), *(again(one, k) for k in range(40))], [SHAPE] * 41)
    assert {k for pair in pairs for k in pair} == set(range(1, 41))


@pytest.mark.slow
def test_thousands_of_fields_take_seconds():
    rng = np.random.default_rng(0)
    images = [rng.uniform(0, SHAPE, (200, 2)) for _ in range(2000)]
    images[1500:1900] = [rng.uniform(0, SHAPE, (30, 2)) for _ in range(400)]
    images[1999], images[7] = again(images[3], 0), again(images[1000], 1)
    start = time.perf_counter()
    assert same_fields(images, [SHAPE] * 2000) == [(3, 1999), (7, 1000)]
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 2), (3, 1), (4, 4)])
def test_a_montage_of_planes_or_channels_shows_its_nuclei_twice(rows, columns):
    rng, side = np.random.default_rng(3), 420.0
    nuclei = rng.uniform(0, side, (34, 2))
    # Of each panel a few are not found, and the others not to the pixel.
    panels = [
        nuclei[rng.random(len(nuclei)) < 0.9] + rng.normal(0, 0.7, 2) + (side * row, side * column)
        for row in range(rows)
        for column in range(columns)
    ]
    assert shows_twice(np.concatenate(panels), (rows * side, columns * side))


def test_fields_and_printed_patterns_are_no_montage():
    lattice = np.stack(np.meshgrid(np.arange(18, 800, 34.0), np.arange(18, 800, 34.0)), -1).reshape(-1, 2)
    assert not shows_twice(lattice, (820, 820)) and not shows_twice(lattice[:60], (820, 820))
    for n in (0, 1, 20, 150, 3000):
        side = 60 * max(n, 1) ** 0.5
        assert not shows_twice(np.random.default_rng(n).uniform(0, side, (n, 2)), (side, side))


@pytest.mark.slow
@pytest.mark.parametrize("names", ["HeLa_dye1 HeLa_dye2", "x-A x-B", "niebieski DAPI_1"])
def test_channels_are_refused_by_their_pictures_whatever_they_are_called(tmp_path, names):
    seen, other = (simulate_field((320, 320), 14, seed=seed) for seed in (1, 2))
    light = np.random.default_rng(0).uniform(0.2, 2, seen.labels.max() + 1)
    files = [tmp_path / f"{name}.tif" for name in [*names.split(), "other"]]
    pictures = [seen.image, (seen.image * light[seen.labels]).astype(np.uint16), other.image]
    for file, pixels in zip(files, pictures, strict=True):
        tifffile.imwrite(file, pixels)
    table = predict(files)
    refused = table[table["flags"] == "unreadable"]
    # Whose name says that it is the one of DNA stays.
    assert list(refused["image"]) == [str(file) for file in files[:2] if "DAPI" not in file.name]
    assert refused["error"].str.contains("unequally bright: another channel.*give the files of DNA alone").all()
    assert not table["flags"].str.contains("same_field").any()
    assert (predict(files, is_each=True)["flags"] != "unreadable").all()


def test_all_nuclei_of_a_montage_go_to_review():
    seen = simulate_field((300, 300), 20, seed=4)
    pixels = seen.image.astype(np.float32) / 65535
    once, twice = (predict(p, pixel_size_um=seen.pixel_size_um) for p in (pixels, np.hstack([pixels, 0.6 * pixels])))
    assert twice["review"].str.contains("same_field").all() and not once["review"].str.contains("same_field").any()

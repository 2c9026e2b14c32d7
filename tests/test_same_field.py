"""Channels, planes and copies of one field are found by their nuclei, whatever they are called."""

import time

import numpy as np
import pytest

from cellcycle.predict.same_field import same_fields

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

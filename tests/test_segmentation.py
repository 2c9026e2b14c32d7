"""Fields, crops, measurements, flags and backends of the segmentation."""

import sys
import types
import warnings
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from cellcycle.errors import ImageError, SettingError
from cellcycle.segmentation import (
    backends,
    central_nucleus,
    fields,
    find_in_crop,
    looks_inverted,
    looks_like_nucleus_crop,
    measure,
    measure_crops,
    segment,
)
from cellcycle.segmentation.fields import _numbered
from cellcycle.segmentation.ground import ground_of


def ellipse(shape, centre, radii, angle=0.0):
    """Return a filled ellipse, bool (H, W)."""
    y, x = np.indices(shape, dtype=float)
    y, x = y - centre[0], x - centre[1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (u / radii[1]) ** 2 + (v / radii[0]) ** 2 <= 1


def field(shape=(400, 500), diameter=24, spacing=2.0, seed=0, blur=1.0, noise=0.01, slope=0.1):
    """Return a field of nuclei on uneven light with its true labels."""
    rng = np.random.default_rng(seed)
    truth, pixels = np.zeros(shape, np.int32), np.zeros(shape)
    step = spacing * diameter
    for y in np.arange(step / 2, shape[0], step):
        for x in np.arange(step / 2, shape[1], step):
            centre = np.array([y, x]) + rng.uniform(-0.2, 0.2, 2) * diameter
            radii = diameter / 2 * rng.uniform(0.8, 1.2, 2)
            nucleus = ellipse(shape, centre, radii, rng.uniform(0, np.pi))
            truth[nucleus] = truth.max() + 1
            pixels[nucleus] = rng.uniform(0.2, 0.6)
    pixels = ndimage.gaussian_filter(pixels, blur) + 0.05 + np.linspace(0, slope, shape[1])
    return np.clip(pixels + rng.normal(0, noise, shape), 0, 1).astype(np.float32), truth


def f1(truth, found, least_iou=0.5):
    """Return F1 at an intersection over union above 0.5."""
    overlap = np.zeros((truth.max() + 1, found.max() + 1))
    np.add.at(overlap, (truth.ravel(), found.ravel()), 1)
    union = overlap.sum(1, keepdims=True) + overlap.sum(0, keepdims=True) - overlap
    right = (overlap > least_iou * union)[1:, 1:].sum()
    return 2 * right / max(1, truth.max() + found.max())


@pytest.mark.slow
@pytest.mark.parametrize("diameter", [10, 24, 60, 140])
def test_nuclei_of_any_size_without_the_pixel_size(diameter):
    side = max(200, 4 * diameter)
    pixels, truth = field((side, side + 40), diameter)
    assert f1(truth, segment(pixels)) > 0.95


@pytest.mark.slow
def test_labels_are_consecutive_int32_over_dark_background():
    pixels, _ = field()
    labels = segment(pixels)
    assert labels.dtype == np.int32 and labels.shape == pixels.shape
    np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
    for index in range(1, labels.max() + 1):
        assert ndimage.label(labels == index)[1] == 1


@pytest.mark.slow
def test_exposure_and_bit_depth_do_not_matter():
    pixels, _ = field()
    labels = segment(pixels)
    np.testing.assert_array_equal(segment(pixels * np.float32(0.5)), labels)
    assert f1(labels, segment((np.round(pixels * 200) / 255).astype(np.float32))) > 0.98


def test_touching_nuclei_are_split_and_one_nucleus_is_not():
    pixels, truth = field((300, 300), 30, spacing=2.5)
    pair = ellipse((300, 300), (150, 135), (15, 15)) | ellipse((300, 300), (150, 163), (15, 15))
    pixels[145:160, 110:190] = 0.06
    pixels = np.where(ndimage.binary_dilation(truth == 0) & pair, 0.4, pixels).astype(np.float32)
    labels = segment(pixels)
    assert labels[150, 130] and labels[150, 168] and labels[150, 130] != labels[150, 168]


def noise_images(side=256):
    rng = np.random.default_rng(0)
    return {
        "black": np.zeros((side, side)),
        "white": np.ones((side, side)),
        "uniform": rng.random((side, side)),
        "gaussian": np.clip(rng.normal(0.5, 0.1, (side, side)), 0, 1),
        "dark camera": np.clip(rng.normal(0.01, 0.003, (side, side)), 0, 1),
        "photons": rng.poisson(2, (side, side)) / 255,
        "blurred": ndimage.gaussian_filter(rng.random((side, side)), 1.5),
        "clouds": ndimage.gaussian_filter(rng.random((side, side)), 4),
        "slope": np.linspace(0, 1, side) * np.ones((side, 1)),
        "8-bit noise": np.clip(np.round(rng.normal(3, 1, (side, side))), 0, 255) / 255,
    }


@pytest.mark.parametrize("side", [64, 256])
@pytest.mark.parametrize("name", noise_images(2))
def test_images_without_nuclei_have_none(side, name):
    pixels = noise_images(side)[name].astype(np.float32)
    assert not segment(pixels).any()
    assert not central_nucleus(pixels).any()
    assert not looks_like_nucleus_crop(pixels)
    row = measure_crops(pixels[None, None]).iloc[0]
    assert row["flags"] == "no_nucleus" and np.isnan(row["area_px"])


@pytest.mark.slow
@pytest.mark.parametrize(("fall", "stripes", "seed"), [(1.8, 0, 4), (0.9, 8, 8), (1.4, 8, 4)])
def test_an_empty_field_with_uneven_light_or_stripes_has_no_nucleus(fall, stripes, seed):
    rng, side = np.random.default_rng(seed), 512
    y, x = np.mgrid[:side, :side] / side - 0.5
    counts = rng.poisson((500 if fall > 1 else 100) * (1 - fall * (y**2 + x**2))) + rng.normal(0, stripes, side)
    low, high = counts.min(), np.percentile(counts, 99.9)
    assert not segment(np.round(255 * np.clip((counts - low) / (high - low), 0, 1)) / 255).any()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "counts"), [(300, 1000), (300, 3000), (200, 1000)])
def test_light_without_a_rim_is_no_nucleus_however_bright(width, counts):
    y, x = np.mgrid[:512, :512] - 256
    light = counts * np.exp(-(y**2 + x**2) / width**2)
    assert not segment(np.random.default_rng(0).poisson(light) / 65535).any()


@pytest.mark.slow
@pytest.mark.parametrize("blur", [8, 16])
def test_large_nuclei_out_of_focus_are_not_taken_for_light(blur):
    pixels, truth = field((512, 512), 64, spacing=2.5, blur=blur, slope=0)
    assert segment(pixels).max() >= 0.8 * truth.max()


@pytest.mark.slow
def test_nuclei_out_of_focus_beside_sharp_ones_of_their_size_are_found_in_a_narrow_field():
    y, x = np.mgrid[:200, :760]
    middles = [(60, 80), (130, 200), (60, 320), (130, 440), (60, 560), (130, 680)]
    discs = [2000.0 * (np.hypot(y - row, x - column) < 30) for row, column in middles]
    sharp, blurred = (ndimage.gaussian_filter(sum(discs[k::2]), sigma) for k, sigma in ((0, 1.5), (1, 14)))
    pixels = (np.random.default_rng(0).poisson(300 + sharp + blurred) / 65535).astype(np.float32)
    assert segment(pixels).max() == 6


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4])
def test_rings_that_dust_casts_are_no_nuclei_and_nuclei_beside_them_are(seed):
    pixels, truth = field((400, 400), 28, spacing=3, seed=2, slope=0)
    rng, shade = np.random.default_rng(seed), np.ones(pixels.shape)
    y, x = np.indices(pixels.shape)
    for centre in rng.uniform(20, 380, (20, 2)):
        shade -= 0.3 * np.exp(-(((np.hypot(y - centre[0], x - centre[1]) - rng.uniform(7, 13)) / 2) ** 2))
    lit = 0.3 + rng.normal(0, 0.003, pixels.shape)
    assert not segment((lit * shade).astype(np.float32)).any()
    assert f1(truth, segment((lit * shade / 3 + pixels).astype(np.float32))) > 0.95


@pytest.mark.parametrize("times", [4, 8])
def test_nuclei_are_found_on_ground_that_slopes_by_more_than_they_stand_out(times):
    pixels, truth = field((400, 500), 24, spacing=3, slope=0, noise=0.005)
    sloped = pixels + np.linspace(0, 0.4 * times, 500)
    assert f1(truth, segment(sloped / sloped.max())) > 0.95


@pytest.mark.parametrize("counts", [100, 4000])
def test_nuclei_on_the_slope_of_a_glow_have_too_much_dna_and_are_told(counts):
    pixels, truth = field((400, 500), 24, spacing=3, slope=0, noise=0)
    y, x = np.mgrid[:400, :500]
    glow = 1.5 * np.exp(-((y - 200) ** 2 + (x - 250) ** 2) / (2 * 60**2))
    lit = [np.random.default_rng(0).poisson(counts * light) / counts / 3 for light in (pixels, pixels + glow)]
    even, uneven = (measure(light, truth) for light in lit)
    is_told, excess = uneven["flags"].eq("uneven_ground"), uneven["integrated_dna"] / even["integrated_dna"]
    assert not even["flags"].str.contains("uneven_ground").any() and 5 < is_told.sum() < len(uneven) / 2
    assert excess[~is_told].max() < 1.3 and np.median(excess[is_told]) > 1.3


def test_a_picture_with_dark_nuclei_on_white_is_told_from_an_empty_one():
    pixels, _ = field((260, 260), 24)
    empty = np.random.default_rng(0).normal(0.5, 0.05, (260, 260)).astype(np.float32)
    assert looks_inverted(1 - pixels) and not looks_inverted(empty) and not looks_inverted(0 * empty)


def test_faint_nuclei_are_no_noise():
    pixels, truth = field((300, 300), 24, spacing=2.4, seed=5, slope=0)
    rng, faint = np.random.default_rng(0), pixels / pixels.max()
    labels = segment((100 + 25 * faint + rng.normal(0, 5, pixels.shape)) / 4095)
    assert truth.max() > 20 and f1(truth, labels) > 0.95


def test_nuclei_of_five_pixels_are_no_noise():
    y, x = np.mgrid[:160, :160]
    grid = np.stack(np.mgrid[8:160:16, 8:160:16], axis=-1).reshape(100, 2)
    centres = grid + np.random.default_rng(0).uniform(-1, 1, grid.shape)
    discs = sum((np.hypot(y - row, x - column) < 2.5).astype(float) for row, column in centres)
    light = 200 + 1500 * ndimage.gaussian_filter(discs, 0.8)
    assert segment((np.random.default_rng(0).poisson(light) / 65535).astype(np.float32)).max() == 100


@pytest.mark.slow
@pytest.mark.parametrize("segmentation", ["trained", "classical"])
@pytest.mark.parametrize(("radius", "n_nuclei", "noise"), [(5, 4, 0.03), (9, 1, 0.06), (30, 1, 0.06)])
def test_few_nuclei_in_a_large_noisy_field_are_found(radius, n_nuclei, noise, segmentation):
    rng, truth = np.random.default_rng(3), np.zeros((900, 900))
    for y, x in rng.integers(60, 840, (n_nuclei, 2)):
        truth[y - 40 : y + 41, x - 40 : x + 41][ellipse((81, 81), (40, 40), (radius, radius))] = 1
    pixels = 0.1 + 0.4 * ndimage.gaussian_filter(truth, 1) + rng.normal(0, noise, truth.shape)
    labels = segment(pixels.astype(np.float32), segmentation=segmentation)
    assert labels.max() == n_nuclei and f1(ndimage.label(truth)[0], labels) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_one_nucleus_of_few_photons_is_outlined_not_its_fragments(seed):
    y, x = np.mgrid[:700, :700]
    truth = np.hypot(y - 300, x - 400) < 7
    light = 2 + 8 * ndimage.gaussian_filter(truth.astype(float), 1)
    labels = segment(np.minimum(np.random.default_rng(seed).poisson(light) / 20, 1))
    assert labels.max() == 1 and f1(truth.astype(int), labels) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("side", "seed"), [(500, 1), (600, 0)])
def test_noise_as_close_as_a_crowd_has_no_nuclei(side, seed):
    y, x = np.mgrid[:side, :side] / side - 0.5
    light = 20 * (0.2 + 0.8 * np.exp(-(y**2 + x**2) / 0.3))
    assert not segment(np.random.default_rng(seed).poisson(light) / 60).any()


@pytest.mark.slow
def test_one_small_nucleus_in_a_large_empty_field_is_found(monkeypatch):
    monkeypatch.setattr("cellcycle.segmentation.survey._WINDOW_PX", 128)
    pixels = np.random.default_rng(0).normal(0.05, 0.01, (600, 640)).astype(np.float32)
    pixels[540:590, 560:610][ellipse((50, 50), (25, 25), (12, 12))] += 0.4
    labels = segment(pixels)
    assert labels.max() == 1 and labels[565, 585] == 1


@pytest.mark.slow
def test_tiles_cut_no_nucleus_and_agree_with_the_whole():
    pixels, _ = field((400, 440), 16, spacing=1.5, seed=3)
    whole, tiled = segment(pixels), segment(pixels, tile_px=230)
    assert abs(int(whole.max()) - int(tiled.max())) <= 0.005 * whole.max()
    assert f1(whole, tiled, least_iou=0.95) > 0.99
    assert ((whole > 0) == (tiled > 0)).mean() > 0.999


def test_measurements_of_a_known_disc():
    disc = ellipse((100, 120), (48, 61), (20, 20))
    pixels = (0.1 + 0.3 * disc).astype(np.float32)
    row = measure(pixels, disc.astype(np.int32), pixel_size_um=0.5).iloc[0]
    assert (row["nucleus_id"], row["area_px"]) == (1, disc.sum())
    assert (row["centroid_y_px"], row["centroid_x_px"]) == pytest.approx((48, 61))
    assert row["area_um2"] == pytest.approx(disc.sum() / 4)
    assert row["integrated_dna"] == pytest.approx(0.3 * disc.sum(), rel=1e-3)
    assert row["mean_dna"] == pytest.approx(0.3, rel=1e-3) and row["background"] == pytest.approx(0.1, rel=1e-3)
    assert row["texture"] == pytest.approx(0, abs=1e-4)
    assert row["eccentricity"] < 0.1 and row["solidity"] > 0.95 and row["flags"] == ""
    assert [row[f"bbox_{side}_px"] for side in ("top", "left", "bottom", "right")] == [28, 41, 69, 82]
    assert np.isnan(measure(pixels, disc.astype(np.int32))["area_um2"][0])


@pytest.mark.parametrize("blur", [1.0, 2.5, 4.0])
def test_integrated_dna_does_not_depend_on_focus_or_background(blur):
    disc = ellipse((120, 120), (60, 60), (18, 18))
    pixels = (ndimage.gaussian_filter(0.3 * disc.astype(float), blur) + 0.2).astype(np.float32)
    labels = segment(np.pad(pixels, 40, mode="edge"))
    assert labels.max() == 1
    row = measure(np.pad(pixels, 40, mode="edge"), labels).iloc[0]
    assert row["integrated_dna"] == pytest.approx(0.3 * disc.sum(), rel=0.05)


@pytest.mark.parametrize("level", [1e-30, 0.2, 0.9])
@pytest.mark.parametrize("rounded", [1, 3, 200])
def test_a_field_that_is_constant_but_for_rounding_has_no_nucleus(level, rounded):
    pixels = np.full((200, 200), level, np.float32)
    pixels[90:110, 90:110] += rounded * np.spacing(np.float32(level))
    assert not segment(pixels).any() and not central_nucleus(pixels).any()


@pytest.mark.slow
def test_a_nucleus_on_a_background_without_noise_is_found_whatever_the_background_rounds_to():
    disc = ellipse((200, 200), (100, 100), (18, 18))
    nucleus = ndimage.gaussian_filter(0.3 * disc.astype(float), 1.0)
    for level in np.linspace(0, 0.3, 13):
        assert segment((nucleus + level).astype(np.float32)).max() == 1


def test_neighbours_keep_their_own_dna():
    left, right = ellipse((90, 140), (45, 50), (15, 15)), ellipse((90, 140), (45, 84), (15, 15))
    labels = (left + 2 * right).astype(np.int32)
    table = measure((0.1 + 0.2 * left + 0.6 * right).astype(np.float32), labels)
    np.testing.assert_allclose(table["integrated_dna"], [0.2 * left.sum(), 0.6 * right.sum()], rtol=0.02)


def test_labels_may_have_gaps_and_may_be_absent():
    disc = ellipse((60, 60), (30, 30), (10, 10))
    assert list(measure(disc.astype(np.float32), 7 * disc.astype(np.int32))["nucleus_id"]) == [7]
    empty = measure(np.zeros((60, 60), np.float32), np.zeros((60, 60), np.int32))
    assert len(empty) == 0 and "flags" in empty.columns


def test_flags():
    shape, discs = (300, 420), []
    for row in range(3):
        for column in range(4):
            discs.append(ellipse(shape, (50 + 90 * row, 50 + 90 * column), (14, 14)))
    discs[0] = ellipse(shape, (5, 50), (14, 14))
    discs[1] = ellipse(shape, (50, 140), (5, 5))
    discs[2] = ellipse(shape, (50, 220), (14, 14)) | ellipse(shape, (50, 245), (14, 14))
    labels, pixels = np.zeros(shape, np.int32), np.full(shape, 0.05)
    for index, disc in enumerate(discs, start=1):
        labels[disc], pixels[disc] = index, 0.4
    pixels[discs[3]] = 1.4
    pixels = ndimage.gaussian_filter(pixels, 1)
    blurred = ndimage.gaussian_filter(np.where(discs[7], 0.4, 0.05), 7)
    pixels[100:180, 280:370] = blurred[100:180, 280:370]
    flags = measure(np.clip(pixels, 0, 1).astype(np.float32), labels)["flags"]
    expected = ["edge", "debris", "clump", "saturated", "", "", "", "out_of_focus", "", "", "", ""]
    assert list(flags) == expected


def test_nuclei_of_a_field_out_of_focus_are_flagged_all():
    pixels, labels = np.full((300, 420), 0.05), np.zeros((300, 420), np.int32)
    for k in range(12):
        disc = ellipse(pixels.shape, (50 + 90 * (k // 4), 50 + 90 * (k % 4)), (17, 19))
        labels[disc], pixels[disc] = k + 1, 0.3
    for blur in (2, 4):
        table = measure(ndimage.gaussian_filter(pixels, blur).astype(np.float32), labels)
        assert (table["flags"].str.contains("out_of_focus") == (blur == 4)).all()
        assert (table["edge_width_px"] < 0.4 * 36).all()


def test_a_neighbour_one_pixel_wide_leaves_nothing_to_wonder_at():
    labels = np.ones((12, 12), int)
    labels[:, -1] = 2
    assert len(measure(np.random.default_rng(0).random((12, 12)), labels)) == 2


def test_nuclei_outlined_on_a_blank_picture_have_no_dna_and_no_warning():
    table = measure(np.zeros((120, 120)), np.kron(np.arange(1, 10).reshape(3, 3), np.pad(np.ones((20, 20), int), 10)))
    assert list(table["integrated_dna"]) == [0] * 9 and list(table["flags"]) == [""] * 9


@pytest.mark.parametrize("gap", [0, 1])
def test_the_outlines_of_a_heap_that_is_alone_in_its_field_are_clumps(gap):
    """A round nucleus that touches another is none, nor a lobed one that touches none."""
    shape, labels = (300, 300), np.zeros((300, 300), np.int32)
    heaped, lobed = (
        ellipse(shape, (y, x), (13, 30)) | ellipse(shape, (y, x), (30, 13)) for y, x in ((80, 80), (220, 90))
    )
    round_one = ellipse(shape, (97, 97), (24, 24))
    labels[lobed], labels[heaped], labels[ndimage.binary_dilation(round_one, iterations=gap + 1)] = 3, 2, 0
    labels[ndimage.binary_dilation(round_one)] = 1
    table = measure(np.where(labels > 0, 0.4, 0.05).astype(np.float32), labels)
    assert list(table["flags"]) == ["", "clump", ""] and table["solidity"][2] < 0.93


def test_a_dense_piece_of_a_dying_nucleus_is_debris_and_half_an_anaphase_is_not():
    shape, labels = (300, 420), np.zeros((300, 420), np.int32)
    pixels = np.full(shape, 0.05)
    for k in range(12):
        radius, height = {5: (6, 0.6), 6: (9, 0.5)}.get(k, (14, 0.2))
        disc = ellipse(shape, (50 + 90 * (k // 4), 50 + 90 * (k % 4)), (radius, radius))
        labels[disc], pixels[disc] = k + 1, 0.05 + height
    table = measure(ndimage.gaussian_filter(pixels, 1).astype(np.float32), labels)
    assert list(table["flags"]) == [*[""] * 5, "debris", *[""] * 6]
    assert table["integrated_dna"][5] > 0.4 * table["integrated_dna"][0]


@pytest.mark.slow
@pytest.mark.parametrize("distance", [18, 20, 22, 24])
def test_two_touching_nuclei_are_parted_or_called_a_clump(distance):
    """Each pair has twice the DNA of most nuclei; a large round nucleus with as much is none."""
    shape, angles = (330, 330), np.random.default_rng(1).uniform(0, np.pi, 36)
    pixels, pairs, large = np.zeros(shape), [], []
    for k, angle in enumerate(angles):
        y, x = 35 + 52 * (k // 6), 35 + 52 * (k % 6)
        if k % 6 == 2:
            large.append((y, x))
            pixels += 1.25 * ellipse(shape, (y, x), (18, 17.5), angle)
            continue
        apart = np.array([np.sin(angle), np.cos(angle)]) * distance / 2 * (k % 4 == 0)
        pairs += [(y, x)] * (k % 4 == 0)
        for centre in {(y + apart[0], x + apart[1]), (y - apart[0], x - apart[1])}:
            pixels += ellipse(shape, centre, (14, 13.5), angle)
    pixels = ndimage.gaussian_filter(pixels, 1.2) * 0.1 + np.random.default_rng(0).normal(0.02, 0.002, shape)
    labels = segment(pixels.astype(np.float32))
    flags = measure(pixels, labels)["flags"]
    for y, x in pairs:
        window = labels[y - 20 : y + 21, x - 20 : x + 21]
        found = [i for i in np.unique(window[window > 0]) if (window == i).sum() > 150]
        assert len(found) == 2 or "clump" in flags[found[0] - 1]
    assert all("clump" not in flags[labels[y, x] - 1] for y, x in large)


def test_saturation_of_a_12_bit_camera_is_seen_in_16_bits():
    disc = ellipse((80, 80), (40, 40), (15, 15))
    counts = np.where(disc, 4095, 300)
    crops = np.stack([counts, np.where(disc, 4000, 300)])[:, None] / 65535
    assert list(measure_crops(crops.astype(np.float32))["flags"]) == ["saturated", ""]


def crop_of(*masks, levels=None, shape=(64, 64), blur=1.0):
    pixels = np.full(shape, 0.05)
    for mask, level in zip(masks, levels or [0.5] * len(masks), strict=True):
        pixels[mask] = level
    noise = np.random.default_rng(0).normal(0, 0.005, shape)
    return (ndimage.gaussian_filter(pixels, blur) + noise).astype(np.float32)


def test_central_nucleus_among_neighbours_even_brighter_ones():
    centre, corner = ellipse((64, 64), (31, 33), (10, 12)), ellipse((64, 64), (60, 58), (14, 14))
    for level in (0.3, 0.9):
        found = central_nucleus(crop_of(centre, corner, levels=[0.25, level]))
        assert (found & centre).sum() / (found | centre).sum() > 0.75


def test_both_halves_of_an_anaphase_in_a_crop_around_both():
    top, bottom = ellipse((64, 64), (20, 32), (5, 11)), ellipse((64, 64), (43, 32), (5, 11))
    found = central_nucleus(crop_of(top, bottom))
    assert ndimage.label(found)[1] == 2
    assert (found & (top | bottom)).sum() > 0.8 * (top | bottom).sum()


@pytest.mark.parametrize(
    ("radii", "apart", "is_clump"),
    [((14, 14), 27, True), ((13, 13), 32, False), ((13, 15), 26, True), ((7, 16), 20, False), ((13, 20), 0, False)],
)
def test_two_round_nuclei_that_touch_in_a_crop_are_a_clump_and_halves_of_a_division_are_not(radii, apart, is_clump):
    both = [ellipse((96, 96), (47.5 + side * apart / 2, 47.5), radii) for side in (-1, 1)]
    flags = measure_crops(crop_of(*both, shape=(96, 96))[np.newaxis, np.newaxis])["flags"]
    assert ("clump" in flags[0]) == is_clump


def test_a_crop_around_one_half_leaves_the_other_out():
    centre, sister = ellipse((64, 64), (32, 32), (5, 11)), ellipse((64, 64), (55, 32), (5, 11))
    found = central_nucleus(crop_of(centre, sister))
    assert not (found & sister).any() and (found & centre).any()


@pytest.mark.slow
def test_crops_and_fields_are_told_apart():
    assert looks_like_nucleus_crop(crop_of(ellipse((64, 64), (31, 33), (10, 12))))
    assert looks_like_nucleus_crop(np.kron(crop_of(ellipse((64, 64), (31, 33), (16, 14))), np.ones((5, 5))))
    for diameter in (14, 30):
        assert not looks_like_nucleus_crop(field((256, 256), diameter)[0])
    assert not looks_like_nucleus_crop(field((600, 600), 100)[0])


def test_nuclei_about_the_middle_of_a_tiny_frame_are_a_field():
    discs = [ellipse((100, 100), (y, x), (11, 12)) for y in (30, 70) for x in (28, 70)]
    assert not looks_like_nucleus_crop(crop_of(*discs, shape=(100, 100)))
    halves = [ellipse((100, 100), (50, x), (16, 8)) for x in (38, 62)]
    assert looks_like_nucleus_crop(crop_of(*halves, shape=(100, 100)))


@pytest.mark.parametrize("centres", [
    [(128, 125), (50, 60), (200, 60), (60, 205)],
    [(128, 96), (128, 160)],
    [(128, 128), (100, 118), (106, 152), (146, 104), (158, 140), (128, 178)],
])  # fmt: skip
def test_several_nuclei_in_a_small_frame_are_a_field(centres):
    """Apart, side by side, or a colony in the middle."""
    discs = [ellipse((256, 256), centre, (18, 15), k) for k, centre in enumerate(centres)]
    pixels = crop_of(*discs, shape=(256, 256), blur=1.5)
    assert not looks_like_nucleus_crop(pixels)


def test_measure_crops_keeps_order_and_takes_the_stained_channel():
    small, large = ellipse((64, 64), (32, 32), (8, 8)), ellipse((64, 64), (32, 32), (16, 16))
    crops = np.zeros((3, 3, 64, 64), np.float32)
    crops[0, 2], crops[2, 2] = crop_of(large), crop_of(small)
    table = measure_crops(crops, pixel_size_um=0.5)
    assert list(table["flags"]) == ["", "no_nucleus", ""]
    assert table["area_px"][0] > 3 * table["area_px"][2] and np.isnan(table["area_px"][1])
    assert table["area_um2"][0] == pytest.approx(table["area_px"][0] / 4)
    pd.testing.assert_frame_equal(table, measure_crops(crops.max(axis=1, keepdims=True), pixel_size_um=0.5))


def test_large_crops_are_measured_in_original_pixels():
    disc = ellipse((300, 300), (150, 140), (60, 60))
    pixels = crop_of(disc, shape=(300, 300))
    row = measure_crops(pixels[None, None]).iloc[0]
    assert row["area_px"] == pytest.approx(disc.sum(), rel=0.05)
    assert row["integrated_dna"] == pytest.approx(0.45 * disc.sum(), rel=0.05)
    assert (row["centroid_y_px"], row["centroid_x_px"]) == pytest.approx((150, 140), abs=1)


def test_turning_a_crop_changes_nothing():
    pixels = crop_of(ellipse((64, 64), (30, 34), (10, 14), 0.6))
    turned = np.stack([np.rot90(pixels, k) for k in range(4)] + [pixels[:, ::-1]])[:, None]
    table = measure_crops(turned)
    for column in ("area_px", "integrated_dna", "texture", "solidity"):
        np.testing.assert_allclose(table[column], table[column][0], rtol=1e-3)


@pytest.fixture
def packages(monkeypatch):
    """Stand-ins for Cellpose 4 and StarDist 0.9, with their calls and their talk; they count what they load."""
    loaded = []

    class CellposeModel:
        def __init__(self, gpu=False):
            loaded.append("cellpose")
            print("welcome")

        def eval(self, x, *, diameter=None):
            return (x > x.mean()).astype(np.uint16), [], np.zeros(256)

    class StarDist2D:
        @classmethod
        def from_pretrained(cls, name):
            assert name == "2D_versatile_fluo"
            loaded.append("stardist")
            return cls()

        def predict_instances(self, img, scale=None, n_tiles=None, show_tile_progress=True):
            print("found model")
            assert len(n_tiles) == 2
            return (img > img.mean()).astype(np.int64), {}

    contents = {
        "cellpose": {},
        "cellpose.models": {"CellposeModel": CellposeModel},
        "stardist": {},
        "stardist.models": {"StarDist2D": StarDist2D},
        "csbdeep": {},
        "csbdeep.utils": {"normalize": lambda x, low, high: x / np.percentile(x, high)},
    }
    for name, content in contents.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["cellpose"].models = sys.modules["cellpose.models"]
    backends._cellpose_model.cache_clear()
    backends._stardist_model.cache_clear()
    yield loaded
    backends._cellpose_model.cache_clear()
    backends._stardist_model.cache_clear()


@pytest.mark.parametrize("backend", ["cellpose", "stardist"])
def test_backends_load_once_and_keep_standard_output_clean(packages, capsys, backend):
    pixels = field()[0]
    first, second = (segment(pixels, segmentation=backend, diameter_px=size) for size in (None, 20.0))
    assert first.dtype == np.int32 and first.shape == pixels.shape and first.any()
    np.testing.assert_array_equal(first, second)
    assert packages == [backend]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("backend", ["cellpose", "stardist"])
def test_weights_that_cannot_be_fetched_are_one_line(packages, monkeypatch, backend):
    def fails(*_, **__):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(sys.modules["cellpose.models"], "CellposeModel", fails)
    monkeypatch.setattr(sys.modules["stardist.models"].StarDist2D, "from_pretrained", fails)
    with pytest.raises(SettingError, match=r"URL fetch failure.*connect to the network"):
        segment(field()[0], segmentation=backend)


@pytest.mark.parametrize("backend", ["cellpose", "stardist"])
def test_missing_backend_names_the_remedy(monkeypatch, backend):
    monkeypatch.setitem(sys.modules, backend, None)
    monkeypatch.setitem(sys.modules, f"{backend}.models", None)
    with pytest.raises(SettingError, match=rf"pip install 'cellcycle\[{backend}\]'"):
        segment(field()[0], segmentation=backend)


def test_unknown_backend_and_wrong_shape():
    with pytest.raises(SettingError, match="trained, classical, cellpose, stardist"):
        segment(field()[0], segmentation="magic")
    with pytest.raises(ImageError, match="shape"):
        segment(np.zeros((3, 10, 10)))


@pytest.mark.parametrize(
    "asked", [{"tile_px": -1}, {"tile_px": 1}, {"diameter_px": 1000}, {"diameter_px": -5}, {"pixel_size_um": -1.0}]
)
def test_sizes_that_cannot_be_are_one_line(asked):
    with pytest.raises(SettingError, match=next(iter(asked))):
        segment(np.zeros((200, 200), np.float32), **asked)


def test_what_cannot_be_measured_is_one_line():
    pixels, labels = np.zeros((60, 60), np.float32), np.zeros((60, 60), np.int32)
    for wrong in (labels > 0, labels.astype(float), labels[1:]):
        with pytest.raises(SettingError, match="labels"):
            measure(pixels, wrong)
    with pytest.raises(SettingError, match="pixel_size_um"):
        measure(pixels, labels, -1)
    pixels[0, 0] = np.nan
    for call in (segment, lambda pixels: measure(pixels, labels)):
        with pytest.raises(ImageError, match="NaN"):
            call(pixels)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("quality", [None, 75], ids=["as they are", "JPEG"])
def test_real_fields_reach_the_published_f1(real_data, quality):
    import tifffile

    from cellcycle.images import list_images, read_plane

    paths = list_images(real_data / "fields" / "images")[:: 10 if quality else 5]
    truths = [tifffile.imread(real_data / "fields" / "labels" / f"{path.stem}.tif").astype(int) for path in paths]
    pictures = [read_plane(path).pixels for path in paths]
    if quality:
        # Dim ones keep few levels, and their ground none.
        pictures = [jpeg(pixels, quality, most=1).astype(np.float32) / 255 for pixels in pictures]
    scores = [f1(_renumbered(t), segment(pixels)) for pixels, t in zip(pictures, truths, strict=True)]
    assert np.mean(scores) > 0.88


def _renumbered(labels):
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


@pytest.mark.slow
@pytest.mark.realdata
def test_real_crops_have_a_nucleus_and_integrated_dna_orders_the_phases(real_data):
    from cellcycle.images import list_images, read_plane

    medians = []
    for phase in ("G1", "S", "G2"):
        crops = [read_plane(path).pixels for path in list_images(real_data / "jurkat" / phase)[:60]]
        assert all(looks_like_nucleus_crop(crop) for crop in crops[::6])
        table = measure_crops(np.stack(crops)[:, None])
        assert table["area_px"].notna().all()
        medians.append(table["integrated_dna"].median())
    assert 1.2 < medians[1] / medians[0] < 1.7 and 1.6 < medians[2] / medians[0] < 2.1


def test_a_speck_is_measured_without_a_warning():
    pixels, labels = np.zeros((9, 9)), np.zeros((9, 9), np.int32)
    pixels[4, 4] = labels[4, 4] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = measure(pixels, labels).iloc[0]
    assert row["area_px"] == 1 and row["integrated_dna"] > 0


def test_the_background_of_a_crop_is_measured_beside_its_nucleus():
    from cellcycle.segmentation.crops import crop_columns

    rng = np.random.default_rng(0)
    planes = 0.1 + 0.01 * rng.standard_normal((3, 40, 40))
    planes[:, 12:28, 12:28] += 0.5
    found, darker = crop_columns(planes), crop_columns(planes / 4)
    # The darker half of the border lies 0.8 standard deviations below its mean.
    np.testing.assert_allclose(found["border_level"], 0.1 - 0.008, atol=0.002)
    np.testing.assert_allclose(found["background_noise"], 0.01, rtol=0.15)
    for name, values in found.items():
        np.testing.assert_allclose(darker[name], values / 4)


def test_labels_that_are_missing_leave_no_gap():
    # A nucleus may be lost after its label was given: where the next one covers it, or where little of it is left.
    labels = np.zeros((12, 12), np.int32)
    labels[2:5, 2:5], labels[7:10, 7:10] = 1, 3
    assert np.unique(_numbered(labels)).tolist() == [0, 1, 2]


@pytest.mark.slow
def test_more_objects_than_a_field_has_are_refused_from_any_finder(packages, monkeypatch):
    """Each is measured: a picture of specks may not take minutes."""
    pixels, _ = field(seed=1)
    n_nuclei = fields.segment(pixels).max()
    monkeypatch.setattr(fields, "MOST_NUCLEI", n_nuclei)
    assert fields.segment(pixels).max() == n_nuclei
    monkeypatch.setattr(fields, "MOST_NUCLEI", n_nuclei - 1)
    with pytest.raises(ImageError, match="objects; cut it into smaller fields"):
        fields.segment(pixels)
    monkeypatch.setattr(fields, "MOST_NUCLEI", 0)
    with pytest.raises(ImageError, match="more than 0 objects"):
        fields.segment(pixels, segmentation="stardist")


def jpeg(pixels, quality, most=None):
    """Return a picture of eight bits, whose brightest are `most`, as JPEG gives it back."""
    file = BytesIO()
    levels = np.clip(pixels / (most or pixels.max()) * 255, 0, 255).astype(np.uint8)
    Image.fromarray(levels).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file)).astype(float)


def counted(seed=0):
    """Return a field as a camera counts its light, (H, W), and its labels."""
    pixels, truth = field((200, 240), blur=1.2, noise=0.0, slope=0.02, seed=seed)
    rng = np.random.default_rng(seed)
    return rng.poisson(2000 * (pixels + 0.05)) + rng.normal(0, 4, pixels.shape), truth


_CENTRE = np.arange(9).reshape(3, 3) == 4
CHANGED = {
    "as counted": (lambda p: p, ""),
    "of eight bits": (lambda p: np.round(p / 8), ""),
    "binned": (lambda p: p.reshape(100, 2, 120, 2).mean(axis=(1, 3)), ""),
    "background cut off": (lambda p: np.maximum(p - np.percentile(p, 70), 0), "is_cut"),
    "in seven steps": (lambda p: np.floor(p / p.max() * 7), "is_cut"),
    "smoothed": (lambda p: ndimage.gaussian_filter(p, 0.8), "is_smooth"),
    "of medians": (lambda p: ndimage.median_filter(p, 3), "is_smooth"),
    "as JPEG": (lambda p: jpeg(p, 75), "is_smooth"),
    "as strong JPEG": (lambda p: jpeg(p, 30), "is_smooth"),
    "as the strongest JPEG": (lambda p: jpeg(p, 10), "is_smooth"),
    "made larger": (lambda p: ndimage.zoom(p, 2, order=1), "is_smooth"),
    "sharpened": (lambda p: p + 2 * (p - ndimage.gaussian_filter(p, 3)), "is_bent"),
    "sharpened by one pixel": (lambda p: p + 1.5 * (p - ndimage.gaussian_filter(p, 1)), "is_bent"),
    "sharpened as by ImageJ": (lambda p: ndimage.convolve(p, (12.0 * _CENTRE - ~_CENTRE) / 4), "is_bent"),
    "with lines of a camera": (lambda p: p + 40 * (np.arange(p.shape[1]) % 2), ""),
    "wide pixels": (lambda p: ndimage.zoom(p, (1, 1.6), order=1), "is_bent"),
    "pixels of two": (lambda p: p.reshape(100, 2, 240).sum(axis=1), "is_bent"),
    "every second line moved": (lambda p: np.where(np.arange(len(p))[:, None] % 2, np.roll(p, 3, 1), p), "is_combed"),
    "a mosaic of colours": (lambda p: p * (1 - 0.6 * (np.add.outer(*map(np.arange, p.shape)) % 2)), "is_combed"),
    "a difference of Gaussians": (lambda p: p - ndimage.gaussian_filter(p, 5), "is_bent"),
    "a logarithm": (lambda p: np.log(np.maximum(p, 1)), "is_bent"),
    "under a gamma": (lambda p: np.maximum(p, 0) ** 0.45, "is_bent"),
    "a square root": (lambda p: np.sqrt(np.maximum(p, 0)), "is_bent"),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_a_picture_that_a_program_changed_is_told_from_one_of_a_camera(kind):
    change, expected = CHANGED[kind]
    for seed in range(3):
        pixels, truth = counted(seed)
        pixels = change(pixels)
        rows, columns = (np.arange(n) * m // n for n, m in zip(pixels.shape, truth.shape, strict=True))
        ground = ground_of(pixels, truth[np.ix_(rows, columns)])
        assert getattr(ground, expected) if expected else not any(ground)


@pytest.mark.parametrize(
    "held", [np.ndarray.tolist, np.asfortranarray, lambda p: p.astype(">f8"), lambda p: p[::-1][::-1]]
)
def test_a_picture_is_measured_alike_in_whatever_it_is_held(held):
    pixels = field((96, 96))[0]
    labels = segment(pixels)
    given = held(pixels)
    np.testing.assert_array_equal(segment(given), labels)
    np.testing.assert_allclose(measure(given, labels)["integrated_dna"], measure(pixels, labels)["integrated_dna"])
    crop = np.where(ellipse((40, 40), (20, 20), (9, 9)), 0.5, 0.1).astype(np.float32)
    given = held(crop)
    np.testing.assert_array_equal(central_nucleus(given), central_nucleus(crop))
    np.testing.assert_allclose(find_in_crop(given)[0]["crop_dna"], find_in_crop(crop)[0]["crop_dna"], rtol=1e-6)
    assert looks_like_nucleus_crop(given) and not looks_inverted(given)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, bool])
def test_whole_numbers_are_measured_as_the_floats_that_they_are(kind):
    truth = np.zeros((40, 40), np.int32)
    truth[ellipse(truth.shape, (20, 20), (9, 9))] = 1
    # Even, as where a camera was cut off.
    pixels = (truth if kind is bool else 20 + 80 * truth).astype(kind)
    found, expected = measure(pixels, truth), measure(pixels.astype(np.float64), truth)
    for name in ("integrated_dna", "mean_dna", "background", "flags"):
        assert found[name].tolist() == expected[name].tolist()
    assert not looks_inverted(pixels) and central_nucleus(pixels).any()


@pytest.mark.parametrize("wrong", [None, "a.tif", 3, [], np.zeros((0, 5)), np.zeros((4, 4, 3)), np.full((40, 40), 1j)])
def test_what_is_no_picture_is_refused_in_one_line(wrong):
    for look in (segment, central_nucleus, find_in_crop, looks_like_nucleus_crop, looks_inverted):
        with pytest.raises(ImageError, match=r"^pixels: th"):
            look(wrong)
    with pytest.raises(ImageError, match=r"^images: their shape is \(2, 40, 40\); give crops \(N, C, H, W\)"):
        measure_crops(np.zeros((2, 40, 40)))
    with pytest.raises(ImageError, match="NaN"):
        measure_crops(np.full((1, 1, 40, 40), np.nan))

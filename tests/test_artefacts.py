"""What is no picture of nuclei is painted over, flagged where it touches a nucleus, and leaves the rest alone."""

import io
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cellcycle.images import Plane
from cellcycle.nuclei import Scale, find_nuclei
from cellcycle.predict.predictor import Predictor
from cellcycle.segmentation import filled, measure
from cellcycle.segmentation.artefacts import look_over
from cellcycle.simulation import SimulationParameters, simulate_field, simulate_nuclei

pytestmark = pytest.mark.slow
LEVEL, SHAPE = 520, (320, 320)
Y, X = np.indices(SHAPE)
CENTRES = [(y, x) for y in range(30, 300, 52) for x in range(30, 300, 52)]


def counts(rng=None):
    """Return camera counts of 36 nuclei, each 1000 above the background of 520."""
    rng = np.random.default_rng(0) if rng is None else rng
    nuclei = sum((np.hypot(Y - y, X - x) < 11).astype(float) for y, x in CENTRES)
    return rng.poisson(LEVEL + 1000 * ndimage.gaussian_filter(nuclei, 1.2)).astype(float)


def found(pixels):
    return find_nuclei((np.clip(pixels, 0, 65535) / 65535).astype(np.float32), 0.5, Scale(200.0))


@cache
def plain():
    """The nuclei of `counts`, which no test changes."""
    return found(counts())


def near(nuclei, centres, column):
    """Return a column of the nuclei nearest the centres."""
    rows = [np.hypot(*(nuclei.centres - centre).T).argmin() for centre in centres]
    assert np.hypot(*(nuclei.centres[rows] - centres).T).max() < 4
    return nuclei.measured[column][rows]


def far_from(mask, away=22):
    distance = ndimage.distance_transform_edt(~mask)
    return [c for c in CENTRES if distance[c] > away]


def disc(y, x, radius, edge=5):
    return np.clip((1 - np.hypot(Y - y, X - x) / radius) * edge, 0, 1)


def fill(value, mask):
    return lambda pixels: np.where(mask, value, pixels)


CORNERS = (Y < 100) & (X < 110) | (Y > 250) & (X > 180)
ROUND = np.hypot(Y - 160, X - 160) > 158
HOLE = (abs(Y - 160) < 40) & (abs(X - 170) < 40)
BAR = (abs(Y - 290) < 4) & (abs(X - 240) < 40)
CROSS = (abs(Y - 160) < 3) | (abs(X - 160) < 3)
FIBRE = np.exp(-(((Y - 0.6 * X - 40) / 3) ** 2))
ARC = np.exp(-(((np.hypot(Y - 200, X - 40) - 110) / 2.5) ** 2))
CASES = {
    "zeros in corners": (fill(0, CORNERS), CORNERS, "filled"),
    "white corners": (fill(65535, CORNERS), CORNERS, "filled"),
    "a constant in corners": (fill(300, CORNERS), CORNERS, "filled"),
    "the level of the ground in corners": (fill(LEVEL, CORNERS), CORNERS, "filled"),
    "the level of the ground round a field": (fill(LEVEL - 30, ROUND), ROUND, "filled"),
    "the level of the ground for a tile": (fill(LEVEL + 30, HOLE), HOLE, "filled"),
    "zeros in corners of a dark ground": (lambda p: np.where(CORNERS, 0, p - LEVEL + 80), CORNERS, "filled"),
    "two values in corners": (lambda p: np.where(CORNERS, 300 + (X + Y // 2) % 2, p), CORNERS, "filled"),
    "a slope in corners": (lambda p: np.where(CORNERS, X / 2, p), CORNERS, "filled"),
    "a mirror image at one side": (lambda p: np.vstack([p[79:39:-1], p[40:]]), Y < 40, "filled"),
    "a black bar": (fill(0, BAR & (abs(Y - 290) < 2)), BAR, "filled"),
    "black lines of a panel": (fill(0, (Y // 2 == 80) | (X // 2 == 80)), CROSS, "filled"),
    "a round field": (fill(0, ROUND), ROUND, "filled"),
    "a missing tile": (fill(0, HOLE), HOLE, "filled"),
    "a scale bar": (fill(4095, BAR), BAR, "drawn"),
    "a thin scale bar": (fill(65535, BAR & (abs(Y - 290) < 2)), BAR, "drawn"),
    "lines of a panel": (fill(65535, CROSS), CROSS, "drawn"),
    "dirt 8 times as bright": (lambda p: p + 8000 * disc(165, 175, 20), disc(165, 175, 20) > 0, "dirt"),
    "dirt 25 times as bright": (lambda p: p + 25000 * disc(165, 175, 20), disc(165, 175, 20) > 0, "dirt"),
    "blurred dirt": (lambda p: p + 25000 * np.exp(-(np.hypot(Y - 165, X - 175) ** 2) / 200), HOLE, "dirt"),
    "a bead 60 times as bright": (lambda p: p + 60000 * disc(165, 175, 3), disc(165, 175, 3) > 0, "dirt"),
    "a fibre": (lambda p: p + 25000 * FIBRE, FIBRE > 0.01, "dirt"),
    "a bent fibre": (lambda p: p + 4000 * ARC, ARC > 0.01, "dirt"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_other_nuclei_stay_as_they_were(name):
    change, mask, kind = CASES[name]
    changed = found(change(counts()))
    assert (plain().kind, changed.kind) == ("field", "field") and kind in changed.picture.painted
    rest = far_from(mask)
    assert len(rest) >= 8
    for column in ("area_px", "integrated_dna", "edge_width_px"):
        np.testing.assert_allclose(near(changed, rest, column), near(plain(), rest, column), rtol=0.05)
    assert set(near(changed, rest, "flags")) == {""} and changed.n_bright == name.startswith("dirt")
    # Whatever else was found touches what was painted over, and says so.
    away = np.array([min(np.hypot(*(centre - np.array(CENTRES)).T)) for centre in changed.centres])
    assert ((away < 5) | (changed.measured["flags"] != "")).all()


@pytest.mark.parametrize("share, fibre", [(0.5, FIBRE), (1, FIBRE), (0.5, ARC)], ids=["half", "as bright", "bent"])
def test_a_fibre_no_brighter_than_nuclei_is_left_and_flags_those_that_it_crosses(share, fibre):
    nuclei = found(counts() + 1000 * share * fibre)
    assert not nuclei.picture.painted
    away = ndimage.distance_transform_edt(fibre < 0.9)
    crossed = [c for c in CENTRES if away[c] < 8]
    assert crossed and set(near(nuclei, crossed, "flags")) == {"debris"}
    assert set(near(nuclei, far_from(fibre > 0.01), "flags")) == {""}


@pytest.mark.parametrize("times", [12, 30])
def test_nuclei_that_are_left_out_as_far_too_bright_are_counted_and_told(times):
    bright = [CENTRES[k] for k in (4, 21, 27)]
    counted = np.random.default_rng(0).poisson(counts() + sum(1000 * times * disc(y, x, 11) for y, x in bright))
    prediction = Predictor().predict(Plane((counted / 65535).astype(np.float32), 16, 0.5, "a.tif"))
    assert prediction.n_nuclei == 33 and prediction.nuclei.n_bright == 3
    assert prediction.plane_note.endswith("left out as dirt: 3")
    assert "dirt" not in Predictor().predict(Plane((counts() / 65535).astype(np.float32), 16, 0.5, "a.tif")).plane_note


@pytest.mark.parametrize("order", [1, 3])
def test_a_turned_picture_is_a_field(order):
    turned = ndimage.rotate(counts(), 20, order=order, cval=0)
    nuclei = found(turned)
    assert nuclei.kind == "field" and len(nuclei) == 36
    assert np.median(nuclei.measured["area_px"]) == pytest.approx(np.median(plain().measured["area_px"]), rel=0.05)


@pytest.mark.parametrize("value", [2600, 6000, 12000, 65535])
def test_hot_pixels_change_no_nucleus(value):
    pixels = counts()
    rng = np.random.default_rng(3)
    y, x = rng.integers(1, 318, (2, 40))
    pixels[y, x] = pixels[y[:9] + 1, x[:9]] = value
    pixels[tuple(CENTRES[7])] = value
    hot = found(pixels)
    assert len(hot) == 36
    for column in ("area_px", "integrated_dna", "mean_dna"):
        np.testing.assert_allclose(hot.measured[column], plain().measured[column], rtol=0.02)
    if value > 5000:
        assert near(hot, [CENTRES[7]], "flags")[0] == "hot_pixel" and hot.is_sound.all()


@pytest.mark.parametrize("side, value", [(3, 65535), (5, 4095)])
def test_hot_pixels_of_an_enlarged_picture_change_no_other_nucleus_and_are_told(side, value):
    pixels = counts()
    for y, x in [CENTRES[7], CENTRES[20], (56, 56)]:
        pixels[y : y + side, x : x + side] = value
    hot, rest = found(pixels), [c for c in CENTRES if c not in (CENTRES[7], CENTRES[20])]
    assert len(hot) == 36 and all("debris" in flags for flags in near(hot, [CENTRES[7], CENTRES[20]], "flags"))
    assert set(near(hot, rest, "flags")) == {""}
    np.testing.assert_allclose(hot.measured["integrated_dna"], plain().measured["integrated_dna"], rtol=0.15)


@pytest.mark.parametrize("offset", [0, 400])
def test_nuclei_that_a_round_field_cuts_are_at_its_edge_also_where_the_background_is_dark(offset):
    y, x = np.indices((640, 640))
    field = simulate_field((640, 640), 90, seed=1).image
    outside = np.hypot(y - 320, x - 320) > 310
    pixels = np.where(outside, 0, field + offset)
    nuclei, whole = (find_nuclei((p / 4095).astype(np.float32), 0.325, Scale(200.0)) for p in (pixels, field))
    # Nuclei of the whole field of which a part is left.
    shares = [1 - outside[whole.labels == k].mean() for k in whole.measured["nucleus_id"].astype(int)]
    cut = [at for at, share in zip(whole.centres, shares, strict=True) if 0.4 < share < 0.85]
    nearest = [np.hypot(*(nuclei.centres - at).T).argmin() for at in cut]
    assert len(cut) >= 4
    assert np.mean(["edge" in nuclei.measured["flags"][k] for k in nearest]) > 0.7


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
def test_nuclei_that_a_padding_mirrors_are_counted_once_and_those_that_it_cuts_are_at_its_edge(mode):
    # The first row of pixels goes through nuclei, which seem whole beside their mirror images.
    nuclei = found(np.pad(counts()[27:], ((45, 0), (40, 60)), mode=mode))
    assert (nuclei.kind, len(nuclei)) == ("field", 36)
    is_cut = nuclei.centres[:, 0] < 60
    assert is_cut.sum() == 6 and all(
        ("edge" in of) == cut for of, cut in zip(nuclei.measured["flags"], is_cut, strict=True)
    )


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
def test_the_nucleus_of_a_crop_that_a_padding_mirrors_is_at_its_edge(mode):
    (y, x), pixels = CENTRES[7], counts()
    for top, flags in ((y - 2, "edge"), (y - 24, "")):
        crop = found(np.pad(pixels[top : y + 24, x - 24 : x + 24], ((24 - y + top, 0), (0, 0)), mode=mode))
        assert crop.kind == "nucleus" and list(crop.measured["flags"]) == [flags]


@pytest.mark.parametrize("value", [0, 40])
def test_the_outline_of_a_nucleus_that_was_cut_tight_and_then_padded_is_as_it_was(value):
    nuclei = simulate_nuclei({"G1": 3, "G2": 4}, size_px=64, seed=11)

    def area_in(pixels):
        return find_nuclei(pixels, nuclei.pixel_size_um, Scale(200.0)).measured["area_px"][0]

    for pixels, mask in zip(nuclei.images[:, 0], nuclei.masks, strict=True):
        (box,), whole_px = ndimage.find_objects(mask.astype(int)), area_in(pixels)
        for margin in (1, 2, 10):
            tight = pixels[tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in box)]
            sides = [((96 - n) // 2, 96 - n - (96 - n) // 2) for n in tight.shape]
            # What was painted over the padding was drawn from the rim of the nucleus, and its outline too small.
            assert area_in(np.pad(tight, sides, constant_values=value / 4095)) > 0.95 * whole_px


def test_pictures_that_repeat_themselves_otherwise_are_not_padded():
    one = counts()[:40, :40]
    gap = np.where(abs(Y - 8) < 8, 300, counts())
    for pixels in (np.kron(one, np.ones((8, 8))), np.vstack([one, one[::-1]]), np.hypot(Y - 20, X - 160), gap[8:]):
        assert filled._with_mirrored(pixels.astype(np.float32), None) is None


def test_a_block_of_jpeg_whose_halves_mirror_each_other_is_no_padding():
    noise = np.random.default_rng(0).poisson(LEVEL, (48, 48)).astype(np.float32)
    assert filled._with_mirrored(np.vstack([noise[3::-1], noise]), None) is None


def test_blocks_of_jpeg_a_step_above_the_ground_are_not_drawn():
    """Of these nuclei 11 were debris, of another field all 80, and its G1 peak was lost."""
    pixels = jpeg(simulate_field((400, 400), 30, 7, SimulationParameters(shading=0)).image / 2, 80)
    assert not look_over(pixels).painted
    assert not any("debris" in flags for flags in found(pixels).measured["flags"])


def test_a_scale_bar_is_found_below_thousands_of_flat_areas():
    """They were examined from the top, and no more than 2,000 of them."""
    pixels = np.random.default_rng(0).poisson(LEVEL, (400, 400)).astype(np.float32)
    y, x = np.indices((400, 400))
    pixels[(y < 300) & (y % 6 < 4) & (x % 6 < 4)] = 1500
    pixels[370:378, 250:380] = 3000
    bar = np.unpackbits(look_over(pixels).painted["drawn"], axis=1)[:, :400]
    assert bar[370:378, 250:380].all()


def test_looking_for_a_mirror_image_takes_no_longer_where_most_is_black():
    pixels = np.zeros((2000, 2000), np.float32)
    pixels[2, 5], pixels[5, 2], pixels[700:730, 1301:1309] = 1, 1, 1
    start = time.process_time()
    assert filled._with_mirrored(pixels, None) is None
    looked = time.process_time()
    ndimage.gaussian_filter(pixels, 3)
    assert looked - start < 4 * (time.process_time() - looked)


def test_a_round_field_without_nuclei_has_none():
    pixels = np.random.default_rng(0).poisson(np.full(SHAPE, LEVEL)).astype(float)
    assert len(found(np.where(ROUND, 0, pixels))) == 0


def jpeg(pixels, quality=40):
    stream = io.BytesIO()
    Image.fromarray((pixels / 8).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)).astype(np.float32)


@pytest.mark.parametrize(
    "change",
    [lambda p: jpeg(p - 360), lambda p: jpeg((p - LEVEL) / 0.75 + 80),
     lambda p: np.maximum(p, LEVEL + 15), lambda p: np.minimum(p, 1200),
     lambda p: ndimage.median_filter(p // 16, 7), lambda p: ndimage.gaussian_filter(np.maximum(p, LEVEL + 40), 1)],
    ids=["JPEG", "dim JPEG", "cut off", "overexposed", "few levels, smoothed", "cut off and smoothed"],
)  # fmt: skip
def test_ground_that_is_flat_here_and_there_is_not_filled_in(change):
    assert "filled" not in look_over(change(counts()).astype(np.float32)).painted


@pytest.mark.parametrize("margin_px", [1, 2, 4])
def test_the_black_about_nuclei_that_were_cut_out_is_no_filling_that_cuts_them(margin_px):
    is_near = np.min([np.hypot(Y - y, X - x) for y, x in CENTRES], axis=0) < 11 + margin_px
    nuclei = found(np.where(is_near, counts(), 0))
    assert len(nuclei) == 36 and not nuclei.picture.painted and set(nuclei.measured["flags"]) == {""}


def test_a_missing_tile_amid_bright_nuclei_is_seen():
    pixels = simulate_field((400, 400), 60, seed=1).image.astype(np.float32)
    pixels[150:270, 130:290] = 0
    assert "filled" in look_over(pixels).painted


@pytest.mark.parametrize("value", [0, 65535])
@pytest.mark.parametrize("along", [Y, X], ids=["row", "column"])
def test_a_row_or_column_of_dead_or_hot_pixels_cuts_no_nucleus(along, value):
    nuclei, plain = found(np.where(along == 134, value, counts())), found(counts())
    assert len(nuclei) == 36 and list(nuclei.picture.painted) == ["hot"]
    np.testing.assert_allclose(nuclei.measured["integrated_dna"], plain.measured["integrated_dna"], rtol=0.02)
    assert np.count_nonzero(nuclei.measured["flags"] == "hot_pixel") == 6 and nuclei.is_sound.all()


@pytest.mark.parametrize("value", [0, 65535])
def test_a_dead_column_that_crosses_a_dead_or_hot_row_is_mended_with_it(value):
    over = look_over(np.where(Y == 134, value, np.where(X == 82, 0, counts())).astype(np.float32))
    assert over.painted.keys() == {"hot"} and 0.8 * LEVEL < over.pixels.min() <= over.pixels.max() < 4 * LEVEL


@pytest.mark.parametrize("value", [0, 300, 65535])
def test_a_black_or_white_line_round_a_picture_hides_no_nucleus_that_is_cut(value):
    framed = counts()[30:, 30:]
    framed[[0, -1]] = framed[:, [0, -1]] = value
    assert sum("edge" in flags.split(";") for flags in found(framed).measured["flags"]) == 11


def test_a_strip_between_fillings_that_is_no_wider_than_their_edges_is_looked_at():
    pixels = np.zeros((60, 60), np.float32)
    pixels[:, 28:31] = np.random.default_rng(0).uniform(0.2, 0.9, (60, 3))
    assert "filled" not in look_over(pixels).painted


def test_pictures_without_artefacts_stay_as_they_are():
    masks = np.zeros(SHAPE)
    for k, (y, x) in enumerate(CENTRES, start=1):
        masks[np.hypot(Y - y, X - x) < 11] = k
    cut_out = np.where(masks > 0, counts(), 0)
    # Chromosomes in mitosis are bright, not dirt; an overexposed plate of them is flat and long, not a scale bar.
    mitoses = counts() + 6000 * ndimage.gaussian_filter(((abs(Y - 82) < 5) & (abs(X - 82) < 10)).astype(float), 1)
    plate = counts() + 20000 * ndimage.gaussian_filter(((abs(Y - X) < 6) & (abs(Y + X - 164) < 22)).astype(float), 1.5)
    few_levels = np.floor(counts() / 200)
    clipped = np.clip(counts() - LEVEL - 10, 0, 255)
    for pixels in (counts(), masks, masks > 0, cut_out, mitoses, np.clip(plate, 0, 4000), few_levels, clipped):
        pixels = (pixels / np.max(pixels)).astype(np.float32)
        assert look_over(pixels).pixels is pixels


CONTAINERS = {
    "12 of 16 bits": lambda p: p / 65535,
    "the upper 12 bits": lambda p: p * 16 / 65535,
    "less an offset": lambda p: (p - 400) / 65535,
    "32 bits": lambda p: p / (2**32 - 1),
    "floats": lambda p: p / 4095 * 0.7,
    "8 bits": lambda p: np.floor(p / 16) / 255,
}


def test_glow_in_pieces_does_not_make_large_nuclei_dirt():
    centres = [(y, x) for y in (80, 240) for x in (80, 240)]
    discs = sum((np.hypot(Y - y, X - x) < 45).astype(float) for y, x in centres)
    around = [(y + 53 * np.cos(a), x + 53 * np.sin(a)) for y, x in centres for a in np.arange(0, 2 * np.pi, 0.4)]
    glow = sum((np.hypot(Y - y, X - x) < 5).astype(float) for y, x in around)
    pixels = np.random.default_rng(3).poisson(120 + ndimage.gaussian_filter(1200 * discs + 100 * glow, 1))
    assert not look_over((pixels / 65535).astype(np.float32)).painted


@pytest.mark.parametrize("container", CONTAINERS)
def test_saturation_is_seen_in_any_container(container):
    exposed = LEVEL + 4.5 * (counts() - LEVEL)
    for pixels, expected in ((exposed, "saturated"), (0.4 * exposed, "")):
        unit = CONTAINERS[container](np.floor(np.clip(pixels, 0, 4095))).astype(np.float32)
        nuclei = find_nuclei(unit, 0.5, Scale(200.0))
        assert len(nuclei) == 36 and set(nuclei.measured["flags"]) == {expected}


@pytest.mark.parametrize("level", [0.05, 0.8])
def test_a_plateau_under_light_that_was_evened_afterwards_is_seen(level):
    # Each nucleus that the camera cut off has a height of its own then: no two share a highest value.
    parameters = replace(SimulationParameters(), g1_level=level, bits=16)
    made = simulate_field((480, 480), 60, 3, parameters)
    y, x = np.mgrid[-1:1:480j, -1:1:480j]
    even = ((made.image / 65535 - 0.01) / (1 - 0.15 * (x**2 + y**2)) / 1.5).astype(np.float32)
    flags = measure(even, made.labels)["flags"].str.contains("saturated").to_numpy()
    is_cut = made.image == 65535
    shares = np.array([is_cut[made.labels == k].mean() for k in range(1, made.labels.max() + 1)])
    if level == 0.05:
        assert not flags.any()
    else:
        assert flags[shares > 0.3].mean() > 0.7 and not flags[shares < 0.01].any() and (shares > 0.3).sum() >= 20


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_a_plateau_that_was_smoothed_afterwards_is_seen(scale):
    exposed = np.clip(LEVEL + 4.5 * (counts() - LEVEL) * scale, 0, 4095)
    noise = np.random.default_rng(5).normal(0, 4, exposed.shape)
    nuclei = find_nuclei(((exposed + noise) / 65535).astype(np.float32), 0.5, Scale(200.0))
    assert len(nuclei) == 36 and set(nuclei.measured["flags"]) == {"saturated" if scale == 1 else ""}


def test_a_black_bar_is_told_and_the_darkest_blocks_of_a_jpeg_are_none():
    pixels = np.random.default_rng(0).normal(0.3, 0.02, (120, 120)).astype(np.float32)
    pixels[40:48, 30:80] = 0.1
    assert filled._with_black(pixels, None)[44, 50]
    pixels[::7, ::7] = 0.1
    assert filled._with_black(pixels, None) is None

"""What the numbers, names, pages and sizes of a file mean: read rightly, or refused in one line."""

import json
import os
from itertools import pairwise

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from tifffile.tifffile import TIFF

from cellcycle.errors import ImageError
from cellcycle.images import expand, intensities, read_plane, write_image
from cellcycle.images.channels import by_name
from cellcycle.predict import Predictor, Settings, predict
from cellcycle.predict.extras import Extras
from cellcycle.predict.journal import key_of
from cellcycle.predict.predictor import ImagePrediction, ModelChoice
from cellcycle.predict.words import Tally, counted
from cellcycle.simulation import simulate_field

DISCS = [(20, 24), (24, 80), (70, 30), (78, 84), (50, 56)]


def discs(moved=0, blur=1.0, seed=0, size=104):
    """Counts of five nuclei on a dark background, as a camera of 12 bits gives them."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:size, :size]
    picture = np.full((size, size), 100.0)
    for k, (cy, cx) in enumerate(DISCS):
        distance = np.hypot(y - cy - moved * (k - 2), x - cx - moved)
        picture += 900 * np.clip((10 - distance) / blur / 2 + 0.5, 0, 1) / blur**0.5
    return rng.poisson(picture).astype(np.uint16)


BASE = discs()
FLOATS = BASE.astype(np.float64)


def write(path, pixels, **options):
    tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **options})
    return path


def scale_to_unit(raw):
    return intensities.scale_to_unit(raw)[0]


def signed(values):
    return np.clip(values, -32768, 32767).astype(np.int16)


def is_linear(pixels):
    """Say whether a picture is the base times a number above 0, plus a number."""
    return np.corrcoef(pixels.ravel(), FLOATS.ravel())[0, 1] > 0.9999


RIGHT = {
    "white 16": (65535 - BASE, {"photometric": "miniswhite"}),
    "white signed": (~BASE.astype(np.int16), {"photometric": "miniswhite"}),
    "white signed, from the top": ((32767 - BASE).astype(np.int16), {"photometric": "miniswhite"}),
    "white 12 bits of 16": (4095 - BASE, {"photometric": "miniswhite"}),
    "white, by ImageJ of its display": (BASE, {"photometric": "miniswhite", "imagej": True}),
    "white floats, by ImageJ": (FLOATS.astype(np.float32), {"photometric": "miniswhite", "imagej": True}),
    "signed from its least": (signed(FLOATS - 32768), {}),
    "signed from its least, bright": (signed(FLOATS * 40 - 32768), {}),
    "signed 8 from its least": ((BASE // 8 - 128).astype(np.int8), {}),
    "z-score": (((FLOATS - FLOATS.mean()) / FLOATS.std()).astype(np.float32), {}),
    "z-score as integers": (signed((FLOATS - FLOATS.mean()) / FLOATS.std() * 1000), {}),
    "signed from its least, as floats": ((FLOATS - 32768).astype(np.float32), {}),
    "signed from its least, in more bits": ((BASE.astype(np.int32) - 32768), {}),
    "-1 to 1": ((2 * FLOATS / FLOATS.max() - 1).astype(np.float32), {}),
    "signed 32 from its least": ((BASE.astype(np.int64) - 2**31).astype(np.int32), {}),
    "signed 64": (BASE.astype(np.int64), {}),
    "unsigned 64": (BASE.astype(np.uint64), {}),
    "unsigned 64 in the upper bits": (BASE.astype(np.uint64) << 40, {}),
    "unsigned 32 on an offset": ((BASE.astype(np.int64) + 2**31).astype(np.uint32), {}),
    "signed 64 on an offset": (BASE.astype(np.int64) + 2**40, {}),
    "floats on an offset": (FLOATS / 4095 + 1e6, {}),
    "tiny floats": (FLOATS * 1e-14, {}),
    "background taken off": ((FLOATS - 110).astype(np.float32), {}),
    "background taken off, whole": (signed(FLOATS - 110), {}),
    "camera offset taken off": ((FLOATS * 0.3 - 296).astype(np.float32), {}),
}
REFUSED = {
    "logarithms": (np.log10(FLOATS), "logarithms"),
    "logarithms of shares": (np.log(FLOATS / FLOATS.max()), "below 0"),
    "all below 0": (FLOATS - 40_000, "below 0"),
    "-1 to nearly -1": (2 * FLOATS / 65535 - 1, "below 0"),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_numbers_are_read_for_what_they_mean(tmp_path, kind):
    pixels, options = RIGHT[kind]
    read = read_plane(write(tmp_path / "a.tif", pixels, **options)).pixels
    # A whole eighth of a count is lost where 12 bits are stored as 8.
    assert is_linear(read) or (pixels.dtype == np.int8 and np.corrcoef(read.ravel(), FLOATS.ravel())[0, 1] > 0.99)
    assert read.min() >= 0 and read.max() <= 1


@pytest.mark.parametrize("kind", REFUSED)
def test_numbers_of_unknown_meaning_are_refused(tmp_path, kind):
    pixels, finding = REFUSED[kind]
    with pytest.raises(ImageError, match=finding):
        read_plane(write(tmp_path / "a.tif", pixels.astype(np.float32)))


def labels(kind):
    """Return what other programs write beside the picture of `discs`."""
    y, x = np.mgrid[:104, :104]
    away = [np.hypot(y - cy, x - cx) for cy, cx in DISCS]
    numbers = np.select([d < 10 for d in away], range(1, 6), 0)
    cells = np.where(np.min(away, 0) < 40, np.argmin(away, 0) + 1, 0)
    return {
        "numbers": numbers.astype(np.uint16),
        "numbers with gaps": (numbers * 37).astype(np.int32),
        "numbers as floats": numbers.astype(np.float32),
        "cells that touch": cells.astype(np.uint8),
        "of one nucleus": (numbers == 5)[30:70, 36:76].astype(np.uint8),
        "tiny": (np.kron(np.arange(256).reshape(16, 16), np.pad(np.ones((3, 3)), 1))).astype(np.uint16),
        "black and white": (255 * (numbers > 0)).astype(np.uint8),
        "0 and 1": numbers > 0,
        "white background": np.where(numbers > 0, 0, 255).astype(np.uint8),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["numbers", "numbers with gaps", "numbers as floats", "cells that touch", "of one nucleus", "tiny",
     "black and white", "0 and 1", "white background"],
)  # fmt: skip
def test_masks_are_refused_as_pictures(tmp_path, kind):
    with pytest.raises(ImageError, match=r"it is a mask, not a picture.*--use-masks"):
        read_plane(write(tmp_path / "a.tif", labels(kind)))
    with pytest.raises(ImageError, match="it is a mask"):
        predict(labels(kind))


@pytest.mark.parametrize("n_levels", [2, 3, 8])
def test_pictures_of_few_levels_are_pictures(n_levels):
    smooth = np.exp(-np.min([np.hypot(*(np.mgrid[:104, :104] - np.reshape(c, (2, 1, 1)))) for c in DISCS], 0) / 9)
    for picture in (np.floor(n_levels * smooth), (BASE - 60) * n_levels // 1000):
        assert scale_to_unit(picture.astype(np.uint8)).any()


def test_fractions_of_which_0_is_white_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", (1 - FLOATS / 65535).astype(np.float32), photometric="miniswhite")
    with pytest.raises(ImageError, match="0 is black"):
        read_plane(path)


def test_where_nothing_is_stated_0_is_black(tmp_path):
    path = write(tmp_path / "a.tif", BASE)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags[262].offset
    content = bytearray(path.read_bytes())
    content[place : place + 2] = (65_000).to_bytes(2, "little")
    path.write_bytes(content)
    np.testing.assert_array_equal(read_plane(path).pixels, scale_to_unit(BASE))


def test_square_roots_of_a_scanner_of_gels_are_refused(tmp_path):
    tags = [(33445, 4, 1, 2, True), (33446, 5, 1, (1, 65535), True)]
    with pytest.raises(ImageError, match="its numbers are square roots"):
        read_plane(write(tmp_path / "a.gel", np.sqrt(FLOATS * 65535).astype(np.uint16), extratags=tags, metadata=None))


@pytest.mark.parametrize("kind", ["i2", ">i2", "i4"])
def test_unsigned_counts_that_were_stored_as_signed_are_said(tmp_path, kind):
    counts = (FLOATS * 2 ** (8 * int(kind[-1]) - 11)).astype(kind.replace("i", "u"))
    with pytest.raises(ImageError, match=f"export it as unsigned {8 * int(kind[-1])} bits"):
        read_plane(write(tmp_path / "a.tif", counts.view(kind), byteorder=">" if kind[0] == ">" else "<"))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("share", [5, 50, 90])
def test_unsigned_counts_that_fell_below_0_are_said(kind, share):
    counts = (BASE // (8 if kind is np.uint8 else 1)).astype(kind)
    with pytest.raises(ImageError, match=r"unsigned numbers fell below 0; subtract the background in signed"):
        scale_to_unit(counts - np.percentile(counts, share).astype(kind))


def test_what_is_hot_drawn_or_dead_is_no_count_below_0():
    rng = np.random.default_rng(0)
    hot = np.where(rng.random(BASE.shape) < 0.008, rng.integers(50_000, 65_536, BASE.shape), BASE)
    for raw in (hot, np.where(np.mgrid[:104, :104][1] % 8 == 0, 65535, BASE), BASE.astype(np.uint16) + 64_000):
        assert scale_to_unit(raw.astype(np.uint16)).any()


def test_sharp_edges_of_what_was_overexposed_did_not_go_round():
    sharp = ndimage.gaussian_filter((discs(blur=0.01) > 1000).astype(float), 0.5)
    for times in (300, 400, 800, 2000, 6000):
        assert scale_to_unit(np.clip(10 + times * sharp + BASE % 4, 0, 255).astype(np.uint8)).any()


def test_counts_that_went_round_or_have_a_stuck_bit_are_said():
    eight = (FLOATS / FLOATS.max() * 255).astype(np.uint8)
    with pytest.raises(ImageError, match="as after an overflow"):
        scale_to_unit((FLOATS / FLOATS.max() * 300).astype(int).astype(np.uint8))
    for raw, bit in ((BASE | 256, 8), (BASE & ~np.uint16(256), 8), (eight | 32, 5), ((BASE | 256) << 4, 8)):
        with pytest.raises(ImageError, match=f"bit {bit} is the same in all of its numbers"):
            scale_to_unit(raw)
    # What was multiplied, inverted, or cut off and painted has every bit that it had.
    for raw in (BASE * 16, eight * np.uint16(257), np.rint(FLOATS * 65535 / 4095).astype(np.uint16), 4095 - BASE,
                np.where(BASE < 130, 0, BASE), (FLOATS * 7.3).astype(np.uint16)):  # fmt: skip
        assert scale_to_unit(raw).any()


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
def test_complex_numbers_are_named_as_such(tmp_path, kind):
    with pytest.raises(ImageError, match="its pixels are of type complex"):
        read_plane(write(tmp_path / "a.tif", BASE.astype(kind)))


def test_an_animation_is_refused(tmp_path):
    first, *others = (Image.fromarray((discs(moved=k) // 8).astype(np.uint8)) for k in range(3))
    first.save(tmp_path / "a.png", save_all=True, append_images=others)
    with pytest.raises(ImageError, match="animation of 3 pictures"):
        read_plane(tmp_path / "a.png")


@pytest.mark.parametrize("unit", ["micrometers", "Micrometres", "microns", "um", "nanometers", "metres", "inches"])
def test_units_are_known_by_all_their_names(tmp_path, unit):
    size = {"n": 325.0, "me": 325e-9, "in": 0.325 / 25_400}.get(unit[: 1 + (unit[0] != "n")], 0.325)
    options = {"imagej": True, "resolution": (1 / size, 1 / size), "metadata": {"unit": unit}}
    assert read_plane(write(tmp_path / "a.tif", BASE, **options)).pixel_size_um == pytest.approx(0.325, rel=1e-3)


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "float32", "float64"])
def test_signed_counts_keep_their_full_range(dtype):
    # Some of the brightest are above 0.
    counts = np.clip(np.rint(FLOATS * 40), 0, 65535)
    np.testing.assert_allclose(scale_to_unit((counts - 32768).astype(dtype)), counts / 65535, atol=1e-6)
    # A dim field of the plate is as dim beside the others.
    dim = counts * (250 / counts.max())
    np.testing.assert_allclose(scale_to_unit((dim - 32768).astype(dtype)), dim / 65535, atol=2e-5)


@pytest.mark.parametrize("dtype", ["uint32", "int32", "int64", "float32", "float64"])
def test_counts_are_those_of_a_camera_in_whatever_holds_them(dtype):
    expected = scale_to_unit(BASE)
    np.testing.assert_array_equal(scale_to_unit(BASE.astype(dtype)), expected)
    if dtype == "int32":
        np.testing.assert_array_equal(scale_to_unit((BASE.astype(np.int64) - 2**31).astype(np.int32)), expected)
    # A sum of frames, and fractions of 32 bits, are no rounding either.
    assert scale_to_unit(BASE.astype(dtype) * 500).max() > 0.01
    assert scale_to_unit(FLOATS / 2**32).max() > 0.01


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32", "float32"])
def test_counts_of_one_plate_are_of_one_range_or_said_to_be_of_another(tmp_path, dtype):
    """Of dim fields, and of sums of frames, some have more than a range holds, and some have not."""
    read = []
    for k, most in enumerate((200, 300, 60_000, 200_000)):
        counts = np.minimum(np.rint(FLOATS / FLOATS.max() * most), 65535 if dtype == "uint16" else np.inf)
        read.append((most, read_plane(write(tmp_path / f"{k}.tif", counts.astype(dtype)))))
    for (a, one), (b, other) in pairwise(read):
        if one.bit_depth == other.bit_depth:
            assert other.pixels.max() / one.pixels.max() == pytest.approx(min(b, 65535) / a, rel=0.01)
    depths = [plane.bit_depth for _, plane in read]
    assert depths == ([16] * 4 if dtype == "uint16" else [8 if dtype == "float32" else 16, 16, 16, 24])


@pytest.mark.parametrize("filled", [-1.0, -9999.0])
def test_noise_about_0_and_fill_below_it_move_nothing(filled):
    around_0 = FLOATS / FLOATS.max() - np.median(FLOATS / FLOATS.max())
    assert scale_to_unit(around_0).max() == pytest.approx(around_0.max(), rel=1e-6)
    shares = FLOATS / FLOATS.max()
    shares[:12] = filled
    np.testing.assert_allclose(scale_to_unit(shares)[12:], shares[12:], atol=1e-6)


@pytest.mark.parametrize(
    ("dead", "all_cells"), [("SYTOX Green", "H2B-mCherry"), ("DRAQ7", "H2B GFP"), ("PI", "H2B-CFP")]
)
def test_a_stain_of_the_dead_is_not_chosen_over_a_histone_that_glows_in_all(dead, all_cells):
    assert by_name([dead, all_cells]) == [0, 1] and by_name([all_cells]) == [0] and by_name([dead, "phase"]) == [0]


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["GFP", "DAPI"], 1),
        (["DNAJB6-GFP", "Hoechst 33342"], 1),
        (["GFP nuclear envelope", "DAPI"], 1),
        (["H2B-mCherry", "dapi_1"], 1),
        (["ex405 GFP", "confDAPI"], 1),
        (["rDNA-FISH", "w2DNA"], 1),
        (["DAPI mask", "DAPI"], 1),
        (["no DAPI", "DAPI-405"], 1),
        (["Cy5", "H2B-GFP"], 1),
        (["405 nm", "488 nm"], 0),
        (["SiR-DNA", "lamin"], 0),
        (["DRAQ5", "405"], 0),
        (["DAPI Ki67", "DAPI 405 widefield"], 1),
        (["CD45-BV421", "DAPI (Zeiss set 49)"], 1),
        (["LifeAct-TagBFP (DAPI)", "H2B-mCherry"], 1),
        (["AMCA DAPI", "PI"], 1),
        (["Oct4 (DAPI)", "Propidium Iodide"], 1),
        (["DAPI leak", "nuclei"], 1),
        (["SYTOX Green", "Hoechst 33342"], 1),
        *(([wrong, "Blue"], None) for wrong in (
            "DNAJB6", "ex405", "lamin A nuclear", "nonDNA", "non-DNA", "DNase1", "rDNA", "DNA-PKcs", "mtDNA",
            "anti-DNA",
            "GFP nuclear envelope", "NLS-GFP nucleus", "nucleolin", "EdU (DNA synthesis)", "DAPI/FITC", "gH2AX",
            "DAPI secondary only", "DAPI autofluorescence", "DAPI flatfield", "DAPI Ki67", "BV421-CD4 DAPI", "sub DAPI",
            "DAPI quenched", "Hoechst off", "DAPI dark", "DAPI control?", "DAPI 2nd Ab", "Ki-67 (DAPI)", "DAPI_LaminB1",
        )),
    ],
)  # fmt: skip
def test_channels_are_taken_by_whole_words_and_the_stain_first(tmp_path, names, taken):
    assert by_name(names) == ([] if taken is None else [taken])
    stack = np.stack([BASE, BASE]) if taken is None else np.stack([BASE if k == taken else BASE.T for k in range(2)])
    stack[0 if taken is None else 1 - taken] = discs(moved=9, seed=1)
    write(tmp_path / "a.ome.tif", stack, metadata={"axes": "CYX", "Channel": {"Name": names}})
    if taken is None:
        with pytest.raises(ImageError, match="none is clearly the DNA stain"):
            read_plane(tmp_path / "a.ome.tif")
    else:
        plane = read_plane(tmp_path / "a.ome.tif")
        assert plane.channel == names[taken] and is_linear(plane.pixels)


def test_two_channels_of_the_stain_are_refused(tmp_path):
    stack = np.stack([BASE, discs(moved=9)])
    write(tmp_path / "a.ome.tif", stack, metadata={"axes": "CYX", "Channel": {"Name": ["DNA 1", "DNA 2"]}})
    with pytest.raises(ImageError, match="2 of them are named after a DNA stain"):
        read_plane(tmp_path / "a.ome.tif")


def pages(path, stack):
    with tifffile.TiffWriter(path) as writer:
        for page in stack:
            writer.write(page, photometric="minisblack", metadata=None, contiguous=False)
    return path


def brighter(times, counts):
    """Return a picture of so many times the light on the same background, with the noise of a camera."""
    return np.random.default_rng(9).poisson(100 + times * np.clip(counts - 100.0, 0, None)).astype(np.uint16)


UNLIKE = {
    "stains": [BASE, discs(moved=9), 3 * BASE.T],
    "two stains": [BASE, discs(moved=-12)],
    "times": [discs(moved=2 * k, seed=k) for k in range(6)],
    "slow times": [discs(moved=k, seed=k) for k in range(6)],
    "stain, nothing, stain": [BASE, np.full_like(BASE, 100), BASE],
    "a far brighter stain": [BASE, brighter(9, discs(moved=-12))],
    "far brighter first": [brighter(9, discs(moved=-12)), BASE],
    "three, one far brighter": [discs(moved=4), brighter(9, discs(moved=-12)), BASE],
    "a far dimmer stain": [BASE, brighter(1 / 20, discs(moved=-12))],
    "seven, the last a far dimmer stain": [*[BASE] * 6, brighter(1 / 10, discs(moved=-12))],
    "a bright page without nuclei": [BASE, np.random.default_rng(1).poisson(20_000.0, BASE.shape).astype(np.uint16)],
}


@pytest.mark.parametrize("kind", UNLIKE)
def test_pages_that_are_no_stack_are_refused_with_the_way_out(tmp_path, kind):
    path = pages(tmp_path / "a.tif", UNLIKE[kind])
    with pytest.raises(ImageError, match=r"pages without a label.*--plane"):
        read_plane(path)
    for plane in (read_plane(path, plane=0), read_plane(path, channel=0)):
        np.testing.assert_allclose(plane.pixels, UNLIKE[kind][0] / 65535, atol=1e-6)
    assert read_plane(path, plane=0).planes == "page 0"


@pytest.mark.parametrize("shape", [(12,), (3, 4), (4, 3), (2, 3, 2), (12, 1)])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_of_an_array_of_several_axes_each_plane_is_a_page(tmp_path, shape, compression):
    """Nothing is said of its axes; planes and channels, or times, may be what it holds."""
    stack = np.stack([discs(moved=9 * (k % 2), seed=k) for k in range(12)])
    array = stack.reshape(*shape, *BASE.shape)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", compression=compression)
    with pytest.raises(ImageError, match=r"12 pages without a label.*--plane"):
        read_plane(tmp_path / "a.tif")
    for k in (0, 5, 11):
        np.testing.assert_allclose(read_plane(tmp_path / "a.tif", plane=k).pixels, stack[k] / 65535, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"compression": "zlib"}])
def test_an_array_with_its_channels_last_is_refused_with_the_way_out(tmp_path, options):
    """Its rows became pages, of which each shows two columns."""
    array = np.dstack([BASE, discs(moved=9)])
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    with pytest.raises(ImageError, match=r"104 planes have 104 x 2 pixels.*channels first"):
        read_plane(tmp_path / "a.tif")


def test_pages_that_look_like_one_stack_are_projected_and_said(tmp_path):
    stack = [discs(blur=1 + 2 * abs(k), seed=k + 3) for k in range(-3, 4)]
    plane = read_plane(pages(tmp_path / "a.tif", stack))
    assert (plane.n_planes, plane.planes) == (7, "maximum of page 0-6")
    np.testing.assert_allclose(plane.pixels, np.max(stack, axis=0) / 65535, atol=1e-6)


@pytest.mark.parametrize("n_pages", [3, 4, 7, 9])
def test_ends_of_a_stack_that_are_blurred_or_empty_belong_to_it(tmp_path, n_pages):
    empty = np.random.default_rng(1).poisson(130.0, BASE.shape).astype(np.uint16)
    ends = [brighter(share, ndimage.gaussian_filter(BASE.astype(float), 6)) for share in (0.5, 0.2)]
    middle = [BASE] * (n_pages - 2 * (1 + len(ends[: n_pages // 4])))
    stack = [empty, *ends[::-1][: n_pages // 4], *middle, *ends[: n_pages // 4], empty]
    assert read_plane(pages(tmp_path / "a.tif", stack)).n_planes == len(stack)


def slices(path, stack, **stated):
    write(path, np.stack(stack), imagej=True, metadata={"axes": "ZYX", **stated})
    return path


@pytest.mark.parametrize("kind", UNLIKE)
def test_slices_without_a_distance_are_no_stack_unless_they_look_like_one(tmp_path, kind):
    with pytest.raises(ImageError, match="do not look like one z-stack"):
        read_plane(slices(tmp_path / "a.tif", UNLIKE[kind]))
    assert read_plane(tmp_path / "a.tif", plane=0).planes == "page 0"


@pytest.mark.parametrize("kind", ["stains", "two stains", "a far dimmer stain", "a far brighter stain"])
def test_fields_and_stains_that_are_said_to_be_a_z_stack_are_refused(tmp_path, kind):
    write(tmp_path / "a.ome.tif", np.stack(UNLIKE[kind]), metadata={"axes": "ZYX"})
    slices(tmp_path / "a.tif", UNLIKE[kind], spacing=0.5, unit="um")
    for path in (tmp_path / "a.ome.tif", tmp_path / "a.tif", slices(tmp_path / "b.tif", UNLIKE[kind], spacing=9.0)):
        with pytest.raises(ImageError, match=f"{len(UNLIKE[kind])} z planes, but neighbours show different.*--plane"):
            read_plane(path)
        assert read_plane(path, plane=0).planes == "z 0"
    # Of planes as far apart as nuclei are high each may show its own.
    assert read_plane(slices(tmp_path / "c.tif", UNLIKE[kind], spacing=6.0, unit="um")).n_planes == len(UNLIKE[kind])
    for labels in ([f"A{k}_DAPI" for k in range(1, 4)], ["a.tif", "b.tif", "c.tif"]):
        with pytest.raises(ImageError, match="neighbours show different"):
            stated = {"spacing": 6.0, "unit": "um", "Labels": labels[: len(UNLIKE[kind])]}
            read_plane(slices(tmp_path / "d.tif", UNLIKE[kind], **stated))
    write(tmp_path / "b.ome.tif", np.stack(UNLIKE[kind]), metadata={"axes": "ZYX", "PhysicalSizeZ": 6.0})
    assert read_plane(tmp_path / "b.ome.tif").n_planes == len(UNLIKE[kind])


@pytest.mark.parametrize("blurs", [(0, 6), (9, 0, 4), (12, 4, 0, 4, 12)])
def test_planes_of_a_z_stack_may_be_as_blurred_as_they_like(tmp_path, blurs):
    planes = (ndimage.gaussian_filter(FLOATS, blur) for blur in blurs)
    stack = np.stack([np.random.default_rng(k).poisson(plane) for k, plane in enumerate(planes)]).astype(np.uint16)
    write(tmp_path / "a.ome.tif", stack, metadata={"axes": "ZYX"})
    for path in (tmp_path / "a.ome.tif", slices(tmp_path / "a.tif", stack, spacing=0.5, unit="um")):
        assert read_plane(path).n_planes == len(blurs)


def test_slices_that_look_like_one_stack_are_projected(tmp_path):
    stack = [discs(blur=1 + 2 * abs(k), seed=k + 3) for k in range(-3, 4)]
    for stated in ({}, {"Labels": [f"DAPI z{k}" for k in range(7)]}, {"Labels": ["DAPI", *6 * [""]]}):
        plane = read_plane(slices(tmp_path / "a.tif", stack, **stated))
        assert plane.n_planes == 7
        np.testing.assert_allclose(plane.pixels, np.max(stack, axis=0) / 65535, atol=1e-6)


def test_slices_that_are_named_after_stains_are_channels(tmp_path):
    stack = [discs(moved=9, seed=1), BASE]
    plane = read_plane(slices(tmp_path / "a.tif", stack, Labels=["A01_Ki67", "A01_DAPI"]))
    assert (plane.channel, plane.channels, plane.planes) == ("A01_DAPI", ("A01_Ki67", "A01_DAPI"), "")
    np.testing.assert_allclose(plane.pixels, BASE / 65535, atol=1e-6)
    assert read_plane(tmp_path / "a.tif", channel="Ki67").channel == "A01_Ki67"
    with pytest.raises(ImageError, match="2 of them are named after a DNA stain"):
        read_plane(slices(tmp_path / "b.tif", [*stack, BASE.T], Labels=["Ki67", "DAPI 1", "DAPI 2"]))
    # Some state a distance for whatever they put together.
    assert read_plane(slices(tmp_path / "c.tif", stack, Labels=["GFP", "DAPI"], spacing=1.0)).channel == "DAPI"
    with pytest.raises(ImageError, match="none is clearly the DNA stain"):
        read_plane(slices(tmp_path / "d.tif", stack, Labels=["GFP", "RFP"], spacing=1.0))
    for labels in (["GFP z1", "GFP z2"], ["DAPI z1", "DAPI z2"], ["z 1", "z 2"]):
        plane = read_plane(slices(tmp_path / "e.tif", [BASE, discs(blur=3)], Labels=labels, spacing=1.0))
        assert plane.planes == "maximum of z 0-1"


def binned(counts, n=2):
    height, width = (size // n for size in counts.shape)
    return counts.reshape(height, n, width, n).sum(axis=(1, 3), dtype=np.uint16)


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("form", ["pages", "series"])
def test_a_smaller_page_that_shows_something_else_is_no_thumbnail(tmp_path, form, n):
    name, told = ("a.ome.tif", {"axes": "YX"}) if form == "series" else ("a.tif", None)
    other = discs(moved=9)
    for images in ((other, binned(BASE, n)), (binned(BASE, n), other)):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            for image in images:
                writer.write(image, photometric="minisblack", metadata=told, contiguous=False)
        with pytest.raises(ImageError, match=f"104 x 104 and {104 // n} x .* show different things"):
            read_plane(tmp_path / name)
    dark = np.random.default_rng(1).poisson(130.0, BASE.shape).astype(np.uint16)
    for large, small, marked in ((BASE, BASE[::n, ::n] // 8, {}), (dark, dark[::n, ::n], {}),
                                 (other, binned(BASE, n), {"subfiletype": 1})):  # fmt: skip
        with tifffile.TiffWriter(tmp_path / name) as writer:
            writer.write(large, photometric="minisblack", metadata=told)
            writer.write(small, photometric="minisblack", metadata=told, **marked)
        assert read_plane(tmp_path / name).pixels.shape == BASE.shape


SIZES = [
    ("nan", None, "nan"), ("-0.3", None, "-0.3"), ("inf", None, "inf"), ("0", None, "of 0 um"), ("1e9", None, "1e"),
    ("1e-9", None, "1e-09"), ("big", None, "nan"), ("0.325", 0.325, ""),
]  # fmt: skip


@pytest.mark.parametrize(("stated", "expected", "said"), SIZES)
def test_a_size_that_cannot_be_is_unknown_and_said(tmp_path, stated, expected, said):
    path = write(tmp_path / "a.ome.tif", BASE, metadata={"axes": "YX", "PhysicalSizeX": "0.123456789"})
    filled = stated.ljust(11) if stated not in ("nan", "inf", "big") else stated.rjust(11)
    path.write_bytes(path.read_bytes().replace(b"0.123456789", filled.encode()))
    plane = read_plane(path)
    assert plane.pixel_size_um == expected and said in plane.note and bool(said) == bool(plane.note)


def test_pixels_that_are_not_square_have_no_known_size(tmp_path):
    sizes = {"PhysicalSizeX": 0.3, "PhysicalSizeY": 3.0}
    plane = read_plane(write(tmp_path / "a.ome.tif", BASE, metadata={"axes": "YX", **sizes}))
    assert plane.pixel_size_um is None and "not square" in plane.note


SET = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{own}">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="104" SizeY="104"
SizeZ="{z}" SizeC="{c}" SizeT="1">{channels}{data}</Pixels></Image></OME>"""


def write_set(folder, axis, names, planes):
    """Write one OME-TIFF a plane, each with the header of all."""
    files = [folder / f"part_{k}.ome.tif" for k in range(len(planes))]
    channels = "".join(f'<Channel ID="C:{k}" Name="{name}" SamplesPerPixel="1"/>' for k, name in enumerate(names))
    data = "".join(
        f'<TiffData First{axis}="{k}" PlaneCount="1"><UUID FileName="{file.name}">urn:uuid:{k}</UUID></TiffData>'
        for k, file in enumerate(files)
    )
    for k, (file, plane) in enumerate(zip(files, planes, strict=True)):
        sizes = {"z": len(planes) if axis == "Z" else 1, "c": len(names)}
        write(
            file,
            plane,
            metadata=None,
            description=SET.format(own=f"urn:uuid:{k}", channels=channels, data=data, **sizes),
        )
    return files


def test_a_set_of_channels_is_counted_once_and_its_sister_named(tmp_path):
    files = write_set(tmp_path, "C", ["DAPI", "GFP"], [BASE, discs(moved=9)])
    assert is_linear(read_plane(files[0]).pixels)
    with pytest.raises(ImageError, match=r"DAPI of this field lies in part_0"):
        read_plane(files[1])
    assert read_plane(files[1], channel="GFP").channel == "GFP"


def test_of_a_set_without_names_no_file_is_taken_for_the_stain(tmp_path):
    for file in write_set(tmp_path, "C", ["", ""], [BASE, discs(moved=9)]):
        with pytest.raises(ImageError, match=r"other channels of this field lie in part_.*--channel"):
            read_plane(file)


def test_planes_of_a_stack_in_several_files_are_not_each_a_field(tmp_path):
    for file in write_set(tmp_path, "Z", ["DAPI"], [BASE, BASE, BASE]):
        with pytest.raises(ImageError, match=r"other z planes of this field lie in part_.*--plane"):
            read_plane(file)
        assert is_linear(read_plane(file, plane=0).pixels)


def test_the_table_says_which_channel_and_planes_were_read(tmp_path):
    stack = np.zeros((2, 3, 64, 64), np.uint16)
    names = {"axes": "CZYX", "Channel": {"Name": ["GFP", "DAPI"]}, "PhysicalSizeX": -1.0}
    path = write(tmp_path / "a.ome.tif", stack, metadata=names)
    with pytest.warns(UserWarning, match="pixel size of -1 um"):
        table = predict(path)
    assert table[["channel", "planes", "flags"]].to_numpy().tolist() == [["DAPI", "maximum of z 0-2", "no_nucleus"]]
    tally = Tally(())
    tally.add(ImagePrediction("a", {name: table[name].tolist() for name in table}))
    assert ", ".join(counted(tally.taken)) == "channel DAPI, maximum of z 0-2"


@pytest.mark.parametrize("spike", [1e8, 1e11, 1e15])
@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_a_spike_among_floats_leaves_the_picture_as_it_is(factor, spike):
    picture = (factor * FLOATS).astype(np.float32)
    with_spike = picture.copy()
    with_spike[5, 5] = spike * factor
    expected, made = scale_to_unit(picture), scale_to_unit(with_spike)
    assert made[5, 5] == expected.max()
    made[5, 5] = expected[5, 5]
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("full", [1.0, 65535.0])
def test_a_few_pixels_above_the_full_range_leave_the_scale_as_it_is(full):
    picture = (full * FLOATS / (1.1 * FLOATS.max())).astype(np.float32)
    lifted = picture.copy()
    lifted[4:6, 4:6] = 1.2 * full
    made, expected = scale_to_unit(lifted), scale_to_unit(picture)
    assert (made[4:6, 4:6] == 1).all()
    made[4:6, 4:6] = expected[4:6, 4:6]
    np.testing.assert_array_equal(made, expected)
    # Where nuclei reach beyond it, it is that of a wider one.
    assert scale_to_unit((1.5 * full * FLOATS / FLOATS.max()).astype(np.float32)).max() < 0.01


@pytest.mark.parametrize("no_data", [-9999.0, 1e20, 3.4e38])
def test_numbers_that_say_no_data_leave_the_picture_as_it_is(no_data):
    y, x = np.mgrid[:104, :104]
    inside = np.hypot(y - 52, x - 52) < 50
    pixels = scale_to_unit(np.where(inside, FLOATS, no_data).astype(np.float32))
    assert np.corrcoef(pixels[inside], FLOATS[inside])[0, 1] > 0.9999
    assert pixels[~inside].max() <= pixels[inside].min() + 1e-6


def leave_out_last_piece(file, page):
    with tifffile.TiffFile(file, mode="r+b") as tiff:
        for name in ("Offsets", "ByteCounts"):
            tag = next(tag for tag in tiff.pages[page].tags if tag.name.endswith(name))
            tag.overwrite((*tag.value[:-1], 0))


@pytest.mark.parametrize(
    ("options", "what"), [({"tile": (64, 64)}, "1 of 4 tiles"), ({"rowsperstrip": 26}, "1 of 4 strips")]
)
def test_tiles_and_strips_that_are_not_stored_are_told(tmp_path, options, what):
    file = write(tmp_path / "a.tif", np.pad(BASE, ((0, 0), (0, 24))), **options)
    assert read_plane(file).note == ""
    leave_out_last_piece(file, 0)
    assert read_plane(file).note == f"{what} of what is read are not stored: they are read as 0"
    # Of pages that are no stack, those of the page that is read.
    two = write(tmp_path / "b.tif", np.pad(UNLIKE["two stains"], ((0, 0), (0, 0), (0, 24))), metadata=None, **options)
    leave_out_last_piece(two, 1)
    assert read_plane(two, channel=0).note == ""
    assert read_plane(two, channel=1).note == f"{what} of what is read are not stored: they are read as 0"


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (["s1_PI.tif", "s1_FITC.tif", "s2_PI.tif", "s2_FITC.tif"], ["s1_PI.tif", "s2_PI.tif"]),
        (["s1_nuc.tif", "s1_GFP.tif"], ["s1_nuc.tif"]),
        (["PI_1.tif", "PI_2.tif"], ["PI_1.tif", "PI_2.tif"]),
        (["pi_day1_DAPI.tif", "pi_day1_GFP.tif"], ["pi_day1_DAPI.tif"]),
    ],
)
def test_files_of_a_dna_marker_beside_those_of_another_stain_are_the_fields(tmp_path, names, left):
    for k, name in enumerate(names):
        write(tmp_path / name, discs(seed=k))
    assert [file.rsplit("/")[-1] for file in expand([tmp_path], lambda said: None)] == left


@pytest.mark.slow
def test_a_size_that_overrides_the_stated_one_is_told(tmp_path):
    file = tmp_path / "field.tif"
    field = simulate_field((400, 400), 30, seed=7)
    write_image(file, field.image, field.pixel_size_um)
    told = Predictor("lr", Settings(pixel_size_um=0.36)).predict(str(file)).plane_note
    assert told.startswith(f"it states {field.pixel_size_um:.3g} um a pixel; 0.36 um was asked for and is used")
    assert Predictor("lr", Settings(pixel_size_um=field.pixel_size_um)).predict(str(file)).plane_note == ""


def test_an_image_in_a_folder_is_another_one_when_a_file_in_it_was_written(tmp_path):
    (tmp_path / "a.zarr" / "0").mkdir(parents=True)
    chunk = tmp_path / "a.zarr" / "0" / "0.0"
    chunk.write_bytes(b"1")
    given = [tmp_path / "a.zarr"], [], ModelChoice.of("lr"), Settings(), Extras()
    before = key_of(*given)
    assert key_of(*given) == before
    chunk.write_bytes(b"12")
    assert key_of(*given) != before
    # Also one that came back from a copy, with the time that it had, among newer ones.
    (tmp_path / "a.zarr" / "0" / "0.1").write_bytes(b"1")
    before = key_of(*given)
    os.utime(chunk, (1, 1))
    assert key_of(*given) != before


def test_a_header_that_does_not_fit_its_pages_names_nothing(tmp_path):
    planes = np.random.default_rng(0).integers(0, 999, (3, 64, 64), np.uint16)
    image = (
        '<Image ID="Image:{k}"><Pixels ID="Pixels:{k}" DimensionOrder="XYCZT" Type="uint16" SizeX="{side}" SizeY="64" '
        'SizeC="{c}" SizeZ="1" SizeT="1" PhysicalSizeX="{um}" PhysicalSizeY="{um}">{rest}</Pixels></Image>'
    )

    def written(images, n=2):
        with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
            for k, plane in enumerate(planes[:n]):
                said = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{images}</OME>'
                tiff.write(plane, metadata=None, contiguous=False, description=None if k else said)
        return tmp_path / "a.ome.tif"

    def rest(*names, data='<TiffData IFD="0" PlaneCount="2"/>'):
        return "".join(f'<Channel ID="C:{k}" Name="{name}"/>' for k, name in enumerate(names)) + data

    first = image.format(k=0, side=64, c=2, um=0.3, rest=rest("DAPI", "GFP", data="<MetadataOnly/>"))
    plane = read_plane(written(first + image.format(k=1, side=64, c=2, um=0.5, rest=rest("GFP", "DAPI"))))
    assert (plane.channel, plane.pixel_size_um) == ("DAPI", 0.5)
    np.testing.assert_allclose(plane.pixels * 65535, planes[1], atol=0.01)
    for names in (("DAPI", "GFP", "BF"), ("DAPI",)):
        with pytest.raises(ImageError, match="2 channels"):
            read_plane(written(image.format(k=0, side=64, c=2, um=0.5, rest=rest(*names))))
    with pytest.raises(ImageError, match="holds more of the same size"):
        read_plane(written(image.format(k=0, side=64, c=1, um=0.5, rest=rest("DAPI", data="<TiffData/>")), 3))
    one = rest("DAPI", data='<TiffData IFD="0"/>')
    plane = read_plane(written(image.format(k=0, side=80, c=1, um=0.5, rest=one), 1))
    assert plane.pixel_size_um is None and "64 x 80 pixels, but it has 64 x 64" in plane.note


@pytest.mark.parametrize(("axes", "n"), [("CYX", 1), ("ZYX", 4), ("TCYX", 1)])
def test_a_part_of_an_ome_file_under_the_header_of_the_whole_is_refused(tmp_path, axes, n):
    file = tmp_path / "a.ome.tif"
    shape = {"CYX": (2,), "ZYX": (6,), "TCYX": (3, 2)}[axes]
    planes = np.random.default_rng(0).integers(0, 999, (*shape, 64, 64), "u2")
    names = {"Channel": {"Name": ["DAPI", "GFP"]}} if "C" in axes else {}
    tifffile.imwrite(file, planes, metadata={"axes": axes, **names})
    with tifffile.TiffFile(file) as tiff:
        header = tiff.ome_metadata.encode()
    with tifffile.TiffWriter(file) as tiff:
        for k in range(n):
            tiff.write(planes.reshape(-1, 64, 64)[-k - 1], description=None if k else header, metadata=None)
    with pytest.raises(ImageError, match=f"announces {planes.size // 64**2} planes, but it holds {n}"):
        read_plane(file)


def test_of_a_run_that_was_stopped_the_times_that_are_there_are_read(tmp_path):
    file, planes = tmp_path / "a.ome.tif", np.random.default_rng(0).integers(0, 999, (3, 2, 64, 64), "u2")
    tifffile.imwrite(file, planes, metadata={"axes": "TCYX", "Channel": {"Name": ["GFP", "DAPI"]}})
    with tifffile.TiffFile(file) as tiff:
        header = tiff.ome_metadata.encode()
    with tifffile.TiffWriter(file) as tiff:
        for k, plane in enumerate(planes.reshape(-1, 64, 64)[:4]):
            tiff.write(plane, description=None if k else header, metadata=None, contiguous=False)
    np.testing.assert_allclose(read_plane(file, plane=1).pixels * 65535, planes[1, 1], atol=0.01)
    with pytest.raises(ImageError, match="lacks the plane asked for: recording stopped"):
        read_plane(file, plane=2)


def test_a_stack_that_was_cut_off_is_no_single_picture(tmp_path):
    planes = np.random.default_rng(0).integers(0, 999, (3, 64, 64), np.uint16)
    for axes in ("CYX", "ZYX", "TYX"):
        with tifffile.TiffWriter(tmp_path / "a.tif", imagej=True) as tiff:
            tiff.write(planes, truncate=True, metadata={"axes": axes})
        whole = (tmp_path / "a.tif").read_bytes()
        (tmp_path / "cut.tif").write_bytes(whole[: len(whole) * 6 // 10])
        with pytest.raises(ImageError, match="announces 3 planes, but holds 1: it was cut off"):
            read_plane(tmp_path / "cut.tif")


def test_numbers_that_no_camera_gives_hide_no_picture():
    picture = np.random.default_rng(0).poisson(100, (64, 200)).astype(np.float32)
    picture[20:40, 20:40] += 1000
    expected = scale_to_unit(picture)
    filled = picture.astype(np.float64)
    filled[:, :5] = -np.finfo(np.float64).max
    np.testing.assert_allclose(scale_to_unit(filled)[:, 5:], expected[:, 5:], atol=1e-6)


def test_a_file_whose_one_channel_is_another_stain_says_so(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 999, (64, 64), np.uint16)
    for name in ("GFP", "H2B-GFP", "Cy5 (DRAQ5)", "DAPI", "Channel 1"):
        tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata={"axes": "YX", "Channel": {"Name": [name]}})
        assert ("unless it shows DNA" in read_plane(tmp_path / "a.ome.tif").note) == (name == "GFP")
    assert read_plane(tmp_path / "a.ome.tif", channel=0).note == ""


@pytest.mark.parametrize(("unit", "edge_um"), [("\\u00B5m", 0.5), ("\\u03BCm", 0.5), ("\\u00C5", 0.5), ("micron", 0.5)])
def test_units_are_known_as_imagej_escapes_them(tmp_path, unit, edge_um):
    per_unit = 2e-4 if "C5" in unit else 2
    pixels = np.random.default_rng(0).integers(0, 999, (64, 64), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, resolution=(per_unit,) * 2, metadata={"unit": unit})
    assert read_plane(tmp_path / "a.tif").pixel_size_um == pytest.approx(edge_um)


@pytest.mark.parametrize(
    ("said", "size_um"), [({"PixelSizeUm": 0.325}, 0.325), ({"PixelSizeUm": 0}, None), ([1], None)]
)
def test_micro_manager_states_the_size_of_a_pixel_in_a_tag_of_its_own(tmp_path, said, size_um):
    tag = (51123, 2, 0, json.dumps(said).encode(), True)
    tifffile.imwrite(tmp_path / "a.tif", np.eye(64, dtype=np.uint16), extratags=[tag], metadata=None)
    assert read_plane(tmp_path / "a.tif").pixel_size_um == size_um


METAMORPH = (
    '<MetaData><PlaneInfo><prop id="spatial-calibration-state" type="bool" value="{}"/>'
    '<prop id="spatial-calibration-x" type="float" value="{}"/>'
    '<prop id="spatial-calibration-units" type="string" value="{}"/></PlaneInfo></MetaData>'
)
APERIO = "Aperio Image Library v12\r\n80x64 [0,0 80x64]|AppMag = 20|MPP = {}|Left = 3"


@pytest.mark.parametrize(
    ("said", "size_um"),
    [(METAMORPH.format("on", 0.65, "um"), 0.65), (METAMORPH.format("on", 650, "nm"), 0.65),
     (METAMORPH.format("on", 1, "pixel"), None), (METAMORPH.format("off", 0.65, "um"), None),
     (METAMORPH.format("on", "?", "um"), None),
     (APERIO.format(0.499), 0.499), (APERIO.format(0), None)],
)  # fmt: skip
def test_metamorph_and_aperio_state_the_size_of_a_pixel_in_their_descriptions(tmp_path, said, size_um):
    tifffile.imwrite(tmp_path / "a.tif", np.eye(64, dtype=np.uint16), metadata=None, description=said)
    plane = read_plane(tmp_path / "a.tif")
    assert (plane.pixel_size_um, plane.note) == (pytest.approx(size_um), "")


def test_zeiss_and_olympus_state_the_size_of_a_pixel_in_records_of_their_own(tmp_path):
    lsm = np.zeros(1, TIFF.CZ_LSMINFO)
    lsm[["MagicNumber", "StructureSize", "VoxelSizeX", "VoxelSizeY"]] = (67127628, lsm.itemsize, 3.25e-7, 3.25e-7)
    for axis in ("X", "Y", "Z", "Channels", "Time"):
        lsm[f"Dimension{axis}"] = 64 if axis in "XY" else 1
    header = np.zeros(1, TIFF.MM_HEADER)
    axes = header["Dimensions"][0]
    axes["Name"][:2], axes["Size"], axes["Resolution"], axes["Unit"] = (b"x", b"y"), [64] * 2 + [1] * 8, 0.325, b"um"
    for tags in ([(34412, 1, lsm.nbytes, lsm.tobytes())],
                 [(34361, 1, header.nbytes, header.tobytes()), (34362, 12, 8, [0.0] * 8)]):  # fmt: skip
        with tifffile.TiffWriter(tmp_path / "a.tif", byteorder="<") as file:
            file.write(np.eye(64, dtype=np.uint16), metadata=None, extratags=[(*tag, True) for tag in tags])
            if len(tags) == 1:
                file.write(np.zeros((8, 8, 3), np.uint8), metadata=None, photometric="rgb", subfiletype=1)
        assert read_plane(tmp_path / "a.tif").pixel_size_um == pytest.approx(0.325)


def test_the_index_of_harmony_states_the_size_of_a_pixel_of_the_images_beside_it(tmp_path):
    entry = (
        "<Image><ImageSizeX>{0}</ImageSizeX><ImageSizeY>{0}</ImageSizeY>"
        '<ImageResolutionX Unit="m">{1}</ImageResolutionX><ImageResolutionY Unit="m">{1}</ImageResolutionY></Image>'
    )
    two = [(64, 5.9e-7), (64, 2.9e-7)]
    cases = ([[(64, 5.9e-7)] * 2, 0.59], [[(128, 5.9e-7)], None], [two, None], [[(64, "")], None], [[], None])
    for k, (said, size_um) in enumerate(cases):
        for name, stated_um in (("r01c02f01p01-ch1sk1fk1fl1.tiff", size_um), ("a.tiff", None)):
            file = tmp_path / str(k) / name
            file.parent.mkdir(exist_ok=True)
            (file.parent / "Index.idx.xml").write_text("".join(entry.format(*one) for one in said))
            tifffile.imwrite(file, np.eye(64, dtype=np.uint16), metadata=None)
            assert read_plane(file).pixel_size_um == pytest.approx(stated_um)


@pytest.mark.parametrize("unit", ["um/pixel", "microns per px", "micron"])
def test_a_unit_that_says_what_it_is_divided_by_is_known(tmp_path, unit):
    image = np.eye(64, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, imagej=True, resolution=(2, 2), metadata={"unit": unit})
    assert read_plane(tmp_path / "a.tif").pixel_size_um == 0.5

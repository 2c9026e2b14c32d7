"""Fields that are read together: who belongs to whom, what they lend each other, and what a plate map says."""

import unicodedata
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellcycle.datasets import spelling
from cellcycle.errors import DataError, ImageError
from cellcycle.files import repository
from cellcycle.images import Plane, expand, write_image
from cellcycle.images.wells import places_of
from cellcycle.light import Light, fit_in_even_light
from cellcycle.nuclei import Anchor, Nuclei, Scale, fit_anchor
from cellcycle.predict import groups, predict
from cellcycle.predict.given import Given, Shared
from cellcycle.predict.groups import OTHER_PEAK, SAME_FIELD, layout, named_in
from cellcycle.predict.platemap import read_map
from cellcycle.simulation import simulate_field
from cellcycle.stain import _own_anchor, anchored

SCALE = Scale(250.0, 200.0)
NAMES = {
    "Opera, Operetta": ("r02c03f01p01-ch1sk1fk1fl1.tiff", "", "B03"),
    "ImageXpress": ("trial_B03_s1_w1.tif", "trial", "B03"),
    "ImageXpress, no plate": ("B03_s1.tif", "", "B03"),
    "CellVoyager": ("AS_B03_T0001F001L01A01Z01C01.tif", "AS", "B03"),
    "Cellomics": ("MFGTMP_B03f00d0.TIF", "MFGTMP", "B03"),
    "Incucyte": ("VID7_B3_1_2020y01m02d_03h04m.tif", "VID7", "B03"),
    "Incucyte, elapsed": ("VID12_B3_1_00d00h00m.tif", "VID12", "B03"),
    "Gen5": ("B3_01_1_1_DAPI_001.tif", "", "B03"),
    "Gen5, stitched": ("P1_B3_-1_1_1_Stitched[DAPI 377,447]_001.tif", "P1", "B03"),
    "Columbus": ("002003-1-001001001.tif", "", "B03"),
    "ScanR": ("B3--W00015--P00002--Z00000--T00000--DAPI.tif", "", "B03"),
    "ScanR, plate": ("P1_B3--W00015--P00002--Z00000--T00000--DAPI.tif", "P1", "B03"),
    "InCell": ("B - 3(fld 1 wv DAPI - DAPI).tif", "", "B03"),
    "1536 wells": ("AF48_s1.tif", "", "AF48"),
    "1536 wells, Opera": ("r17c48f01p01-ch1sk1fk1fl1.tiff", "", "Q48"),
    "1536 wells, Columbus": ("032048-1-001001001.tif", "", "AF48"),
    "1536 wells, CellVoyager": ("AS_Z03_T0001F001L01A01Z01C01.tif", "AS", "Z03"),
    "1536 wells, ScanR": ("Q3--W00771--P00002--Z00000--T00000--DAPI.tif", "", "Q03"),
    "1536 wells, Gen5": ("Z3_01_1_1_DAPI_001.tif", "", "Z03"),
    "in the name": ("drug-B03.tif", "drug", "B03"),
    "Nikon": ("P1_WellB03_PointB03_0000_ChannelDAPI_Seq0000.tif", "P1", "B03"),
    "Nikon, no plate": ("WellB03_Seq0000.tif", "", "B03"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_the_well_is_read_from_the_names_of_every_maker(kind):
    name, plate, well = NAMES[kind]
    (place,) = places_of([f"plate 1/{name}"])
    assert (place.plate, place.well) == (plate or "plate 1", well)
    assert place.rule


@pytest.mark.parametrize("name", ["M_0002.png", "G1_c01.tif", "G2_0001.tif", "SCR_f1_DAPI.tif", "field_001.tif"])
def test_phases_and_numbers_are_no_wells(name):
    assert places_of([f"a/{name}", "a/G1_7.tif"])[0].well == ""


@pytest.mark.parametrize(
    ("names", "wells"),
    [
        (["A1", "A2", "B1", "B2"], ["A01", "A02", "B01", "B02"]),
        (["b2", "b03", "c10", "d2"], ["B02", "B03", "C10", "D02"]),
        (["a01_s1", "a01_s2", "a02_s1", "b01_s1"], ["A01", "A01", "A02", "B01"]),
        # Days, fields, channels or channels of samples, phases, mice: no plate begins with these.
        *((names, [""] * len(names)) for names in (
            ["d1", "d2", "d3"], ["C1", "C2", "D1", "D2"], ["A1", "A2", "M1", "M2"], ["A1", "B1", "C1"],
            ["G1", "G2", "M1"], ["A1", "A2", "B1", "B2", "overview"], ["d1_s1", "d1_s2", "d2_s1"],
            ["a1", "a2", "b1", "b25"],
        )),
    ],
)  # fmt: skip
def test_names_that_are_a_well_alone_are_one_where_all_of_a_folder_are_of_a_plate(names, wells):
    assert [place.well for place in places_of([f"p/{name}.tif" for name in names])] == wells


@pytest.mark.parametrize(
    ("folders", "wells"),
    [
        (["p/A01", "p/A02"], ["p A01", "p A02"]),
        (["A01/Images", "A01/Images", "B12/Images"], ["A01", "A01", "B12"]),
        (["p/A01/field_0", "p/A01/field_1", "p/C03/field_0"], ["p A01", "p A01", "p C03"]),
        # Blocks of tissue, days, one well alone, samples beside wells.
        *((names, [""] * len(names)) for names in (["A1", "A2", "B1", "B2"], ["d01", "d02"], ["p/A01"], ["A01", "wt"])),
    ],
)  # fmt: skip
def test_folders_that_are_called_after_wells_are_wells_of_what_lies_above_them(folders, wells):
    found = places_of([f"{folder}/img_{k}.tif" for k, folder in enumerate(folders)])
    assert [f"{place.plate.strip('.')} {place.well}".strip() for place in found] == wells


def test_the_job_of_a_screen_is_no_well():
    assert places_of(["image--L0000--S00--U00--V00--J08--E00--O00--X00--Y00--T0000--Z00--C00.ome.tif"])[0].well == ""


def test_a_picture_that_no_rule_names_takes_no_wells_from_a_plate_and_is_told():
    names = ["p/P_A01_s1.tif", "p/P_A02_s1.tif", "p/overview.tif"]
    found, notes = layout(names, has_files=False)
    assert [(one["plate"], one["well"], one["group"]) for one in found] == [
        ("P", "A01", "P"), ("P", "A02", "P"), ("", "", "p")
    ]  # fmt: skip
    assert notes[1:] == ["1 of 3 images have no well, such as p/overview.tif"]
    # Names of conditions may look like one.
    assert {place.well for place in places_of(["p/e_A5_s1.tif", "p/e_ctrl_s1.tif"])} == {""}


def falling(y, x):
    """Return light that falls to three quarters of its mean in a corner."""
    return 1.1 - 0.25 * (y - 0.4) ** 2 - 0.6 * (x - 0.3) ** 2


def field_of(*humps, n=300, seed=0, pixel_size_um=None, bits=16, light=None, shape=(400, 500)) -> Nuclei:
    """Return a field with nuclei of DNA around (position, share) humps, under a light of their place in [0, 1]."""
    rng = np.random.default_rng(seed)
    dna = np.concatenate([rng.normal(at, 0.07 * at, round(n * share)) for at, share in humps])
    y, x = rng.uniform(size=(2, len(dna)))
    measured = {
        "nucleus_id": np.arange(len(dna)) + 1.0,
        "centroid_y_px": y * shape[0],
        "centroid_x_px": x * shape[1],
        "integrated_dna": dna * (light(y, x) if light else 1),
        "area_px": 100 + 5 * rng.normal(size=len(dna)),
        "flags": np.full(len(dna), "", object),
    }
    known = pixel_size_um is not None
    size_um = pixel_size_um or np.nan
    return Nuclei("field", measured, None, pixel_size_um or 0.5, known, size_um, shape=shape, bit_depth=bits)


def columns(n, **more):
    return [{"plate": "", "well": "", "group": "p"} | {name: v[k] for name, v in more.items()} for k in range(n)]


def given(seen, names=None):
    """Return images of which this was seen."""
    return [Given(names[k] if names else f"{k}", seen=one) for k, one in enumerate(seen)]


def share(columns, seen, scale, least_quality):
    """Return what fields of such places are told, and notes."""
    images = given(seen)
    for image, own in zip(images, columns, strict=True):
        image.group, image.told = own["group"], Shared(own | {"group": ""})
    notes = groups.share(images, scale, least_quality)
    return [image.told for image in images], notes


GROWING = ((10, 0.6), (20, 0.3), (15, 0.1))


@pytest.mark.parametrize(("stated", "counts"), [(None, False), (0.2, False), (1.58, True), (6.5, False)])
def test_a_pixel_size_that_crops_of_one_call_state_has_to_be_likely_for_all_of_them(stated, counts):
    one = field_of((10, 1.0), n=1, pixel_size_um=stated)
    crops = [replace(one, kind="nucleus") for _ in range(8)]
    images = given(crops)
    notes = groups.at_one_scale(images, SCALE)
    (told,) = {image.told.pixel_size_um for image in images}
    assert told is None and not notes if counts else told == pytest.approx(1.58, rel=0.1) and len(notes) == 1
    # Of fewer, one may be as large as it says.
    assert groups.at_one_scale(given(crops[:7]), SCALE) == []


@pytest.mark.slow
def test_fields_without_a_pixel_size_are_trained_at_the_scale_of_a_prediction():
    fields = [field_of(*GROWING), field_of(*GROWING, seed=1), field_of((19.5, 1), n=8, seed=3)]
    fields[1].measured["area_px"] *= 1.5
    fields = [one.scaled(0.4 + 0.1 * k) for k, one in enumerate(fields)]
    lent, _ = share(columns(3), fields, SCALE, 0.1)
    read = anchored(fields, [0, 1, 2], SCALE)
    assert [nuclei.pixel_size_um for nuclei, _ in read] == [one.pixel_size_um for one in lent]
    assert len({one.pixel_size_um for one in lent}) == 1 and lent[0].pixel_size_um > 0


@pytest.mark.slow
def test_a_sparse_field_borrows_the_peak_and_the_pixel_size_of_its_group():
    sparse = field_of((19.5, 1), n=8, seed=3)
    shared, notes = share(columns(3), [field_of(*GROWING), field_of(*GROWING, seed=1), sparse], SCALE, 0.1)
    assert shared[2].anchor.position == pytest.approx(10, rel=0.03)
    assert len({one.pixel_size_um for one in shared}) == 1 and shared[0].pixel_size_um == pytest.approx(1.58, rel=0.02)
    assert {one.columns["group"] for one in shared} == {"p"}
    assert "quality" in notes[0]


@pytest.mark.slow
def test_fields_of_a_plate_are_of_one_scale_where_some_could_be_of_the_stated_one():
    large = [field_of(*GROWING, seed=k, pixel_size_um=2.2) for k in range(3)]
    for one, ratio in zip(large, (1.0, 1.1, 1.1), strict=True):
        one.measured["area_px"] *= ratio
    shared, _ = share(columns(3), large, SCALE, 0.1)
    (size_um,) = {one.pixel_size_um for one in shared}
    assert size_um == pytest.approx(np.sqrt(250 / 110), rel=0.05)


@pytest.mark.slow
def test_a_field_that_states_what_cannot_be_is_read_with_those_that_state_nothing():
    camera = field_of(*GROWING, seed=2, pixel_size_um=6.45)
    camera = replace(camera, scale_is_known=False)
    shared, _ = share(columns(3), [field_of(*GROWING), field_of(*GROWING, seed=1), camera], SCALE, 0.1)
    assert {one.columns["group"] for one in shared} == {"p"} and len({one.pixel_size_um for one in shared}) == 1


@pytest.mark.slow
def test_a_well_stained_a_tenth_brighter_is_read_by_its_own_peak():
    brighter = [(at * 1.1, share) for at, share in ((10, 0.9), (20, 0.1))]
    fields = [field_of(*GROWING), field_of(*GROWING, seed=1), field_of(*brighter)]
    shared, _ = share(columns(3), fields, SCALE, 0.1)
    assert [one.anchor.position for one in shared] == pytest.approx([10, 10, 11], rel=0.02)
    # For a prior by the slide: as many in G1, S and G2 as each well by itself has.
    counts = np.array([one.anchor.n_by_dna for one in shared])
    np.testing.assert_allclose(counts.sum(axis=1), [len(one) for one in fields], rtol=0.12)
    assert (counts[:, 0] / counts.sum(axis=1)).tolist() == pytest.approx([0.6, 0.6, 0.9], abs=0.05)


@pytest.mark.slow
def test_a_well_arrested_in_g2_is_not_stretched_to_g1():
    shared, _ = share(columns(3), [field_of(*GROWING), field_of(*GROWING, seed=1), field_of((20, 1))], SCALE, 0.1)
    assert shared[2].anchor.position == pytest.approx(10, rel=0.06)
    assert shared[2].flag == OTHER_PEAK, "G1 of twice the exposure looks so, too"


def test_a_well_that_is_not_where_its_plate_is_and_shows_no_peak_of_its_own_is_flagged():
    """Many nuclei of one hump: of another exposure, which cells in S alone are not, for early in S is the DNA of G1."""
    anchor = Anchor(10.0, 0.4)
    even = np.linspace(10, 20, 80)
    wells = {"G1 twice as bright": np.linspace(19, 21, 80), "S": even, "S half as bright": even / 2}
    nuclei = [field_of((10, 1), n=80) for _ in wells]
    for own, dna in zip(nuclei, wells.values(), strict=True):
        own.measured["integrated_dna"] = dna
    told = [_own_anchor([own], anchor, 2.0)[1] for own in nuclei]
    assert [ratio is not None and np.isnan(ratio) for ratio in told] == [True, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("n_mixed", [1, 4])
def test_wells_in_which_some_cells_have_twice_the_genome_go_to_review_and_keep_the_peak(n_mixed):
    """G1 of these has the DNA of G2, by which it is called; what has more tells."""
    doubled = [(times * at, part * share) for times, part in ((1, 0.65), (2, 0.35)) for at, share in GROWING]
    fields = [field_of(*(doubled if k < n_mixed else GROWING), n=100, seed=k) for k in range(4)]
    shared, (note,) = share(columns(4), fields, SCALE, 0.1)
    assert [one.flag for one in shared] == [OTHER_PEAK] * n_mixed + [""] * (4 - n_mixed)
    assert [one.anchor.position for one in shared] == pytest.approx([10] * 4, rel=0.05)
    assert "; 0 does not fit the common G1 peak" in note and "nan" not in note


@pytest.mark.slow
def test_a_single_field_with_many_nuclei_above_g2_goes_to_review():
    field = simulate_field((512, 512), 60, seed=4)
    plane = Plane((field.image / field.image.max()).astype(np.float32), 12, field.pixel_size_um, "field")
    g1 = np.median(predict(plane, kind="field")["integrated_dna"]) / 1.2
    for position, is_told in ((g1, False), (g1 / 2, True)):
        flags = predict(plane, kind="field", g1_position=position)["flags"]
        assert flags.str.contains(OTHER_PEAK).all() == flags.str.contains(OTHER_PEAK).any() == is_told


@pytest.mark.parametrize("n", [6, 19])
def test_a_well_of_few_nuclei_many_of_which_lie_far_below_g1_goes_to_review(n):
    """As of a fainter exposure, of which G2 seems to be G1."""
    faint = field_of((6, 0.6), (12, 0.4), n=n)
    assert np.isnan(_own_anchor([faint], Anchor(10.0, 0.4), 1.95)[1])
    assert _own_anchor([field_of(*GROWING, n=n)], Anchor(10.0, 0.4), 1.95)[1] is None


@pytest.mark.parametrize("in_g1", [0.02, 0.25])
@pytest.mark.parametrize("copies", [1.3, 1.5])
def test_cells_together_in_s_do_not_move_the_peak_of_their_well(in_g1, copies):
    """To a histogram they are G1 of a brighter stain, or G2 of a fainter one."""
    held = field_of((10, in_g1), (10 * copies, 1 - in_g1), n=200)
    found, ratio = _own_anchor([held], Anchor(10.0, 0.4), 1.95)
    assert found.position == 10 and np.isnan(ratio)


@pytest.mark.slow
def test_a_well_with_both_peaks_elsewhere_is_followed_and_named_beyond_what_wells_differ_in():
    brighter = [(at * 1.2, share) for at, share in GROWING]
    fields = [*(field_of(*GROWING, n=150, seed=k) for k in range(3)), field_of(*brighter, n=150, seed=9)]
    shared, (note,) = share(columns(4, well=["A01", "A02", "A03", "A04"]), fields, SCALE, 0.1)
    assert shared[3].anchor.position == pytest.approx(12, rel=0.03) and shared[3].flag == ""
    assert "; A04 is read by its own G1 and G2 peaks, 1.1" in note and "A03" not in note


@pytest.mark.slow
def test_half_a_plate_of_another_exposure_is_judged_by_itself():
    """One bright well shows its own peak, the other has no G2."""
    bright = [field_of((20, 0.6), (40, 0.4), n=150), field_of((20, 1), n=150, seed=1)]
    shared, (note,) = share(columns(4), [*bright, *(field_of(*GROWING, n=150, seed=k) for k in (2, 3))], SCALE, 0.1)
    assert all(one.anchor is None for one in shared) and "2 of 4 lie elsewhere" in note


@pytest.mark.slow
def test_a_drug_that_empties_g1_in_half_of_a_plate_does_not_part_it_from_its_control():
    """Nothing shows another exposure where no well has a peak of its own elsewhere."""
    fields = [
        *(field_of(*GROWING, n=150, seed=k) for k in range(3)),
        *(field_of((20, 1), n=150, seed=k) for k in (4, 5, 6)),
    ]
    shared, notes = share(columns(6), fields, SCALE, 0.1)
    assert [one.anchor.position for one in shared] == pytest.approx([10] * 6, rel=0.08)
    assert not any("differ" in note for note in notes)


@pytest.mark.slow
def test_one_polyploid_well_does_not_part_wells_without_g1_from_their_control():
    doubled = [(2 * at, share) for at, share in GROWING]
    fields = [
        *(field_of(*GROWING, n=150, seed=k) for k in range(3)),
        *(field_of((20, 1), n=150, seed=k) for k in (4, 5)),
        field_of(*doubled, n=150, seed=6),
    ]
    shared, notes = share(columns(6), fields, SCALE, 0.1)
    assert [one.anchor.position for one in shared] == pytest.approx([10] * 6, rel=0.08)
    assert [one.flag for one in shared] == [""] * 3 + [OTHER_PEAK] * 3 and not any("differ" in note for note in notes)


@pytest.mark.slow
def test_a_well_whose_peak_lies_elsewhere_is_flagged_and_keeps_the_common_one():
    doubled = [(2 * at, share) for at, share in GROWING]
    fields = [field_of(*GROWING, seed=k) for k in range(4)] + [field_of(*doubled)]
    shared, notes = share(columns(5, well=["A01", "A01", "A02", "A02", "A03"]), fields, SCALE, 0.1)
    assert [one.flag for one in shared] == [""] * 4 + [OTHER_PEAK]
    assert shared[4].anchor.position == pytest.approx(10, rel=0.06)
    assert "A03 has its own peak at 2.0" in notes[0]


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize("times", [1.5, 2.0])
def test_a_well_of_few_nuclei_none_of_which_is_in_g1_goes_to_review_and_is_not_called_alike(n, times):
    brighter = [(times * at, share) for at, share in GROWING]
    fields = [*(field_of(*GROWING, n=150, seed=k) for k in range(3)), field_of(*brighter, n=n, seed=9)]
    shared, (note,) = share(columns(4), fields, SCALE, 0.1)
    assert [one.flag for one in shared] == ["", "", "", OTHER_PEAK]
    assert "; 3 does not fit the common G1 peak" in note
    assert shared[3].anchor.position == pytest.approx(10, rel=0.06)
    # As many of the same exposure are called without a word.
    fields[3] = field_of(*GROWING, n=n, seed=9)
    assert [one.flag for one in share(columns(4), fields, SCALE, 0.1)[0]] == [""] * 4


def test_plates_whose_folders_have_one_name_stay_apart():
    names = [f"{plate}/Images/r01c0{column}f01p01-ch1sk1fk1fl1.tiff" for plate in ("a/x", "a/y") for column in (1, 2)]
    assert [(place.plate, place.well) for place in places_of(names)] == [
        ("x", "A01"), ("x", "A02"), ("y", "A01"), ("y", "A02")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "plates"),
    [
        (["p/A05/A05_s1.tif", "p/A06/A06_s1.tif"], ["p", "p"]),
        (["p/A5/Images/A05_s1.tif", "q/A5/Images/A05_s1.tif"], ["p", "q"]),
        (["A05/A05_s1.tif", "A06/A06_s1.tif"], [".", "."]),
        (["p/drug/A05_s1.tif", "p/control/A06_s1.tif"], ["p", "p"]),
        (["p/A05/drug_A05_s1.tif", "p/A06/control_A06_s1.tif"], ["p", "p"]),
        (["p/drug_A05_s1.tif", "p/drug_A06_s1.tif", "p/control_D01_s1.tif"], ["p"] * 3),
        (["x/e-01-Scene-01-P1-A01.tif", "x/e-01-Scene-02-P2-A01.tif", "x/e-01-Scene-03-P1-A02.tif"], ["e-01"] * 3),
        *((["x/" + f"e_{of}1_A01.tif", f"x/e_{of}2_A01.tif"], ["e", "e"]) for of in ("Pos", "site")),
        # Samples are called so, too.
        (["x/e_S1_A01_s1.tif", "x/e_S2_A01_s1.tif"], ["e_S1", "e_S2"]),
        (["x/Pos1_A01.tif", "x/Pos2_A01.tif"], ["x", "x"]),
        # One name in several folders is of several plates where these share a well.
        (["x/d1/P_A01_s1.tif", "x/d1/P_A02_s1.tif", "x/d2/P_A01_s1.tif"], ["P (d1)", "P (d1)", "P (d2)"]),
        (["x/d1/P_A01_s1.tif", "x/d1/P_A02_s1.tif", "x/d2/P_A03_s1.tif"], ["P"] * 3),
        (["d1/A01/P_A01_s1.tif", "d1/A02/P_A02_s1.tif", "d2/A01/P_A01_s1.tif"], ["P (d1)", "P (d1)", "P (d2)"]),
        # Unless they are called after its parts or times.
        *(
            ([f"x/{of}1/P_A01.tif", f"x/{of}2/P_A01.tif"], ["P", "P"])
            for of in ("site", "TimePoint_", "Pos-1-00", "T000")
        ),
        *(([f"e/{of}1/A01_s1.tif", f"e/{of}2/A01_s1.tif"], ["e", "e"]) for of in ("site", "TimePoint_", "T1/Pos")),
        (["e/Images/r01c01f01.tif"], ["e"]),
        (["site1/A01_s1.tif", "site2/A01_s1.tif"], [".", "."]),
        (["scan 2026-01-02/P_A01.tif", "scan 2026-01-03/P_A01.tif"], [f"P (scan 2026-01-0{day})" for day in (2, 3)]),
        (["a/site1/P_A01.tif", "a/site2/P_A01.tif", "b/site1/P_A01.tif"], ["P (a)", "P (a)", "P (b)"]),
        # Two plates share wells, or have several in a folder of their own.
        (["x/P1_A01_s1.tif", "x/P2_A01_s1.tif"], ["P1", "P2"]),
        (["x/a/A01_s1.tif", "x/b/A01_s1.tif"], ["a", "b"]),
        (["d1/D01_s1.tif"], ["d1"]),
        (["D1/p/D01_s1.tif"], ["p"]),
        (["x/a/A01_s1.tif", "x/b/A02_s1.tif", "x/b/A03_s1.tif"], ["a", "b", "b"]),
    ],
)
def test_folders_of_one_well_and_prefixes_that_go_with_the_well_are_no_plates(names, plates):
    assert [place.plate for place in places_of(names)] == plates


def test_a_plate_and_a_group_are_called_alike_wherever_one_stands(tmp_path, monkeypatch):
    (tmp_path / "ex" / "P1").mkdir(parents=True)
    table = tmp_path / "map.csv"
    table.write_text("plate,well,condition\nP1,A01,a\nP2,A01,b\n")
    for here, folders in ((".", ("ex/P1/", "ex/P2/")), ("ex/P1", ("", "../P2/")), ("ex/P1", ("./", "../../ex/P2/"))):
        monkeypatch.chdir(tmp_path / here)
        images = [f"{folder}A01_s1.tif" for folder in folders]
        for plate_map in (None, table):
            found, _ = layout(images, plate_map)
            assert [(one["plate"], one["group"]) for one in found] == [("P1", "P1"), ("P2", "P2")]
        # As the folder was named, unless that says where one stands.
        groups = [f"{tmp_path}/ex/P1", f"{tmp_path}/ex/P2"] if here != "." else ["ex/P1", "ex/P2"]
        assert [one["group"] for one in layout([f"{folder}x.tif" for folder in folders])[0]] == groups
        # However its parts are spelled.
        twice = [f"{folders[1]}x.tif", f"./{folders[1]}y.tif", str(tmp_path / "ex" / "P2" / "z.tif")]
        assert {one["group"] for one in layout(twice)[0]} == {groups[1]}
    assert layout(["x.tif"], has_files=False)[0][0]["group"] == ".", "a visitor's file has no folder here"


def test_a_map_without_plates_is_one_group_unless_a_well_stands_in_two(tmp_path):
    table, names = tmp_path / "map.csv", [f"x/{name}_s1.tif" for name in ("a/A01", "b/A02", "b/A03")]
    table.write_text("well,condition\nA01,x\nA02,y\nA03,y\n")
    assert [one["group"] for one in layout(names, table, has_files=False)[0]] == ["map"] * 3
    table.write_text("well,plate,condition\nA01,a,x\nA02,b,y\nA03,b,y\n")
    assert [one["group"] for one in layout(names, table, has_files=False)[0]] == ["a", "b", "b"]
    table.write_text("well,condition\nA01,x\n")
    found, notes = layout(["x/a/A01_s1.tif", "x/b/A01_s1.tif"], table, has_files=False)
    assert [one["group"] for one in found] == ["a", "b"]
    assert "2 plates (by folders and names) have one well each" in notes[-1]


def test_a_well_of_a_map_whose_images_lie_in_two_folders_is_told(tmp_path):
    names, table = ["a/1.tif", "a/2.tif", "b/3.tif"], tmp_path / "map.csv"
    rows = [("1.tif", "A1", "x"), ("2.tif", "A2", "x"), ("3.tif", "A1", "y")]
    table.write_text("image,well,condition\n" + "".join(f"{image},{well},c\n" for image, well, _ in rows))
    told = "well A01 lies in a and b, and is one well by the map: where they are of several plates, add a column plate"
    assert layout(names, table, has_files=False)[1] == [told]
    for column in ("plate", "slide"):
        cells = "".join(f"{image},{well},{of}\n" for image, well, of in rows)
        table.write_text(f"image,well,{column}\n{cells}")
        assert layout(names, table, has_files=False)[1] == []


def test_names_that_are_a_well_alone_part_no_images_and_contradict_no_map(tmp_path):
    """Field 1 of coverslip A under the control, and under the drug, may be called so, too."""
    table = tmp_path / "map.csv"
    names = [f"{of}/{name}.tif" for of in ("ctrl", "drug") for name in ("a1", "a2", "b1", "b2")]
    table.write_text("image,condition\n" + "".join(f"{name},{name[:4]}\n" for name in names))
    found, notes = layout(names, table, has_files=False)
    assert {(one["group"], one["plate"], one["well"]) for one in found} == {("map", "", "")} and not notes
    table.write_text("well,plate,condition\n" + "".join(f"{name[5:7]},{name[:4]},x\n" for name in names))
    assert {one["group"] for one in layout(names, table, has_files=False)[0]} == {"ctrl", "drug"}
    table.write_text("image,well,condition\n" + "".join(f"{name},C0{k},x\n" for k, name in enumerate(names[:4], 1)))
    assert [one["well"] for one in layout(names[:4], table, has_files=False)[0]] == ["C01", "C02", "C03", "C04"]


@pytest.mark.slow
def test_uneven_light_is_told_by_the_dna_of_all_fields_and_taken_out():
    fields = [field_of(*GROWING, n=150, seed=k, light=falling) for k in range(4)]
    shared, (note,) = share(columns(4), fields, SCALE, 0.1)
    y, x = np.random.default_rng(9).uniform(size=(2, 2000))
    found = shared[0].light.at(np.column_stack([y * 400, x * 500]))
    true = falling(y, x)
    np.testing.assert_allclose(found / found.mean(), true / true.mean(), atol=0.04)
    assert shared[0].light.cv < 0.08 < shared[0].light.cv_before
    assert "uneven light, 0.7" in note and "is removed" in note
    nuclei = shared[0].light.taken_out(fields[0]).measured
    np.testing.assert_allclose(nuclei["integrated_dna"] * nuclei["light"], fields[0].measured["integrated_dna"])
    assert len({one.light for one in shared}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        [field_of(*GROWING, seed=k) for k in range(4)],
        [field_of(*GROWING, n=25, seed=k, light=falling) for k in range(3)],
        [field_of(*GROWING, seed=k, light=falling, shape=(400, 500 + k)) for k in range(2)],
    ],
    ids=["even", "few", "of two cameras"],
)
def test_light_that_is_even_or_cannot_be_told_is_left_as_it_is(fields):
    shared, (note,) = share(columns(len(fields)), fields, SCALE, 0.1)
    assert {one.light for one in shared} == {None} and "light" not in note


@pytest.mark.slow
def test_light_of_one_field_is_told_by_its_own_nuclei_and_made_no_peak_of():
    growing, still = (field_of(*humps, n=n, light=falling) for humps, n in ((GROWING, 200), (((20, 1),), 200)))
    (even,), anchor, peak, light = fit_in_even_light([growing])
    assert anchor.position == peak.position == pytest.approx(10, rel=0.1)
    assert light.cv < 0.08 and not fit_anchor([growing])[1].cv < 0.1
    np.testing.assert_allclose(even.measured["integrated_dna"] * even.measured["light"],
                               growing.measured["integrated_dna"])  # fmt: skip
    (same,), anchor, peak, light = fit_in_even_light([still])
    assert anchor is None and light is None and peak.is_arrested and same is still


@pytest.mark.parametrize(("humps", "is_growing"), [(GROWING, True), (((10, 1),), False)])
def test_a_field_whose_brightest_nuclei_are_overexposed_is_not_said_to_stand_still(humps, is_growing):
    nuclei = field_of(*humps)
    dna = nuclei.measured["integrated_dna"]
    flags = np.where(dna > np.quantile(dna, 0.6), "edge;saturated", "").astype(object)
    over = replace(nuclei, measured=nuclei.measured | {"flags": np.where(flags != "", "saturated", "").astype(object)})
    assert over.is_overexposed and over.is_sound.all()
    anchor, peak = fit_anchor([over])
    assert (anchor is not None) == is_growing and not peak.is_arrested
    # One nucleus of a sparse field is few of its group.
    sparse = field_of((10, 1), n=4)
    spoilt = replace(sparse, measured=sparse.measured | {"flags": np.array(["saturated", "", "", ""], object)})
    still = field_of((10, 1))
    assert spoilt.is_overexposed and fit_anchor([still, spoilt])[1].is_arrested
    # Other flags spoil them all the same, and few are left out.
    assert not replace(nuclei, measured=nuclei.measured | {"flags": flags}).is_sound[flags != ""].any()
    few = np.where(dna > np.quantile(dna, 0.95), "saturated", "").astype(object)
    assert not replace(nuclei, measured=nuclei.measured | {"flags": few}).is_sound[few != ""].any()


def test_the_note_on_light_tells_its_brightest_place_wherever_it_lies():
    """Its top lies between the corners, the edges and the middle."""
    light = Light((0.0, 0.4, 0.0, 0.0, -0.4), (100, 100), 0.2, 0.1)
    y, x = np.divmod(np.arange(100 * 100), 100)
    everywhere = light.at(np.column_stack([y, x]))
    assert f"{everywhere.min():.2f} to {everywhere.max():.2f} of its mean" in light.note


def test_crops_of_one_shape_have_no_light_in_common():
    crops = [replace(field_of(*GROWING, n=300, light=falling), kind="nucleus")]
    assert fit_in_even_light(crops)[3] is None


def test_light_taken_out_of_one_field_was_measured_to_find_peaks_and_to_make_none():
    record = pd.read_csv(repository() / "data" / "results" / "light.csv")
    growing, still = record[record["culture"] == "growing"], record[record["culture"] != "growing"]
    assert (growing["peak_after"] >= growing["peak_before"]).all()
    dim = growing[growing["uneven"] == growing["uneven"].max()]
    assert dim["peak_after"].mean() > 1.5 * dim["peak_before"].mean()
    assert (record["elsewhere_after"] <= record["elsewhere_before"] + 0.05).all()
    arrested = still[still["culture"] != "all in G1"]
    assert arrested["peak_after"].mean() < arrested["peak_before"].mean() + 0.03


@pytest.mark.slow
def test_what_is_recorded_in_two_ways_is_told_and_read_apart():
    fields = [field_of(*GROWING, seed=k) for k in (0, 1)]
    fields += [field_of((3, 0.6), (6, 0.4), bits=8, seed=k) for k in (2, 3)]
    shared, notes = share(columns(4), fields, SCALE, 0.1)
    assert "of several kinds" in notes[0] and "2 of 8 bits" in notes[0]
    assert [round(one.anchor.position) for one in shared] == [10, 10, 3, 3]


@pytest.mark.slow
def test_fields_of_many_exposures_are_judged_by_themselves():
    fields = [field_of(*((at * 1.7**k, share) for at, share in GROWING), seed=k) for k in range(6)]
    shared, notes = share(columns(6), fields, SCALE, 0.1)
    assert all(one.anchor is None and not one.columns["group"] for one in shared)
    assert "by itself" in notes[0]


def test_groups_are_slides_of_a_map_plates_of_names_or_folders(tmp_path):
    images = ["a/P1_A01_s1.tif", "a/P2_A01_s1.tif", "b/x.tif"]
    assert [one["group"] for one in layout(images)[0]] == ["P1", "P2", "b"]
    table = tmp_path / "map.csv"
    table.write_text("image,slide,dose\nP1_A01_s1.tif,one,0.5\nP2_A01_s1.tif,one,\nx.tif,two,2\n")
    found, notes = layout(images, table)
    assert [one["slide"] for one in found] == ["one", "one", "two"]
    assert notes[-1] == (
        "slide one lies on 2 plates, and is read as 2 slides: P1 one, P2 one; if it is one slide, add a column plate"
    )
    assert len({tuple(one) for one in found}) == 1, "rows of one table have other columns"
    assert [one["dose"] for one in found] == pytest.approx([0.5, np.nan, 2], nan_ok=True)
    # Plates that a map names are plates also where no well is known.
    table.write_text("image,plate\nx1.tif,one\nx2.tif,one\nx3.tif,two\n")
    found, _ = layout(["x1.tif", "x2.tif", "x3.tif"], table, has_files=False)
    assert [one["group"] for one in found] == ["one", "one", "two"]


def test_folders_of_one_image_each_are_told_to_be_read_by_themselves():
    _, notes = layout(["A01-Site_0/x.tif", "A02-Site_0/x.tif"], has_files=False)
    assert [note[:26] for note in notes] == ["2 folders have one image e"]
    assert not layout(["a/x.tif", "a/y.tif", "b/x.tif"], has_files=False)[1]


def test_times_of_one_field_are_told_unless_a_map_tells_them_apart(tmp_path):
    names = ["TimePoint_1/A01_s1.tif", "TimePoint_2/A01_s1.tif", "TimePoint_2/A01_s2.tif"]
    assert "2 images are times of one field by their names" in layout(names, has_files=False)[1][-1]
    rows = "\n".join(f"{name},{name[10]} h" for name in names)
    (tmp_path / "map.csv").write_text(f"image,condition\n{rows}")
    plates = ["T1234/A01_s1.tif", "T1235/A01_s1.tif", "T01_s1.tif", "T02_s1.tif"]
    for _, notes in (layout(names, tmp_path / "map.csv", False), layout(plates, has_files=False)):
        assert not any("times of one" in note for note in notes)


IMAGES = ["p/A01_s1.tif", "p/A01_s2.tif", "p/A02_s1.tif"]
OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Plate ID="Plate:0" Name="trial">
<Well ID="Well:0" Row="1" Column="{column}"><WellSample ID="W:0" Index="0"><ImageRef ID="Image:7"/></WellSample></Well>
</Plate><Image ID="Image:7"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="8" SizeY="8" SizeZ="1"
SizeC="1" SizeT="1"><Channel ID="Channel:0"/><TiffData/></Pixels></Image></OME>"""


def ome_tiff(path, column):
    tifffile.imwrite(path, np.zeros((8, 8), np.uint16), description=OME.format(column=column), metadata=None)
    return str(path)


def test_files_of_a_stated_plate_in_folders_of_its_sites_are_of_one(tmp_path):
    for folder in ("field1", "field2", "day1"):
        (tmp_path / folder).mkdir()
        ome_tiff(tmp_path / folder / "w.ome.tif", 2)
    assert {one["plate"] for one in layout(sorted(map(str, tmp_path.glob("f*/*"))))[0]} == {"trial"}
    images = sorted(map(str, tmp_path.glob("*/*")))
    assert [one["plate"] for one in layout(images)[0]] == ["trial (day1)", "trial", "trial"]


def test_wells_and_plate_are_those_of_ome_metadata(tmp_path):
    images = [ome_tiff(tmp_path / f"{name}.ome.tif", column) for name, column in (("x", 2), ("B12_s1", 11))]
    (tmp_path / "broken.ome.tif").write_bytes(b"II*\0")
    images += [str(tmp_path / "broken.ome.tif"), str(tmp_path / "missing.ome.tif")]
    found, notes = layout(images)
    assert [(one["plate"], one["well"], one["group"]) for one in found[:2]] == [
        ("trial", "B03", "trial"),
        ("trial", "B12", "trial"),
    ]
    assert notes == ["wells read from the metadata of 2 images (OME-XML)"]
    assert [one["well"] for one in found[2:]] == ["", ""]
    assert layout(images, has_files=False)[0][0]["well"] == "", "a visitor's names are no files to look into"
    (tmp_path / "map.csv").write_text("image,well,condition\nx.ome.tif,B04,drug\nB12_s1.ome.tif,B12,drug\n")
    with pytest.raises(DataError, match="into well B04, but its metadata says B03"):
        layout(images[:2], tmp_path / "map.csv")
    (tmp_path / "map.csv").write_text("image,plate,condition\nx.ome.tif,trial,drug\nB12_s1.ome.tif,other,drug\n")
    with pytest.raises(DataError, match=r"B12_s1\.ome\.tif into plate other, but its metadata says trial"):
        layout(images[:2], tmp_path / "map.csv")


def test_a_name_that_metadata_contradict_is_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match="its name says well A01, but its metadata says B03") as refused:
        layout([ome_tiff(tmp_path / "A01_s1.ome.tif", 2)])
    assert "\n" not in str(refused.value)


GOOD_MAPS = {
    "by well": "well,condition\nA1,DMSO\nA2,drug\n",
    "by path": "image,condition\np/A01_s1.tif,DMSO\np/A01_s2.tif,DMSO\np/A02_s1.tif,drug\n",
    "semicolons, byte-order mark": "\ufeffImage;Condition\nA01_s1.tif;DMSO\nA01_s2.tif;DMSO\nA02_s1.tif;drug\n",
    "well of a plate": "plate,well,condition\np,A01,DMSO\np,A02,drug\n",
    "a plate under its own name": "plate,well,condition\nP7,A01,DMSO\nP7,A02,drug\n",
    "wells without an image": "well,condition\nA01,DMSO\nA02,drug\nA03,drug\n",
    "further columns": "well,Well ID,row,comment,condition\nA01,1,A,x,DMSO\nA02,2,A,y,drug\n",
    "lines that say the same": "well,condition,dose\nA1,DMSO,\nA01,DMSO,\nA02,drug,\n",
    "comments below": "well,condition\n# morning\nA01,DMSO\nA02,drug\n# end,\n",
    "cells as formulas": '"=""well""",condition\n="A01","=""DMSO"""\n="A02",drug\n',
    "no ending, capitals, another ending": "image,condition\nA01_s1,DMSO\na01_S2.TIF,DMSO\np/A02_s1.tiff,drug\n",
    "of another computer": "image,condition\nC:\\x\\A01_s1.tif,DMSO\n/y/A01_s2.tif,DMSO\n\\\\s\\A02_s1.tif,drug\n",
}
BAD_MAPS = {
    "image,condition\nA01_s1.tif,a\nA01_s2.tif,a\nA02_s1.tif,b\nA09.tif,b\n": "A09.tif is not one of the images",
    "image,condition\nA01_s1.tif,a\nA02_s1.tif,b\n": "leaves out p/A01_s2.tif",
    "well,condition\nA01,a\n": "leaves out p/A02_s1.tif",
    "well,condition\nA01,a\nA02,b\nA01,c\n": "lines 2 and 4 differ about A01",
    "well,conditon\nA01,a\nA02,b\n": "did you mean condition",
    "well,condition,condition\nA01,a,b\nA02,b,b\n": "condition occurs 2 times",
    "well,condition\nB01,a\nB02,b\n": "line 2: no image is from well B01; it leaves out p/A01_s1.tif (well A01 of",
    "plate,well,condition\np,A01,a\nq,A02,b\n": "leaves out p/A02_s1.tif (well A02 of plate p, by its name and folder)",
    "plate,well,condition\np,A01,a\nP,A02,b\n": "the plates 'p' and 'P' differ only by capitals, blanks or the like",
    "plate,well,condition\nx,A01,a\nx,A02,b\ny,A01,b\n": "no image is from well x A01; it leaves out p/A01_s1.tif",
    "well,condition\nA01,a\nA02,b\n,b\n": "line 4: it names no well",
    "plate,well,condition\nP7,A01,a\n,A02,b\n": "line 3: it names no plate, but other lines do",
    "image,slide\nA01_s1.tif,1\nA01_s2.tif,\nA02_s1.tif,2\n": "line 3: it names no slide, but other lines do",
    "image,slide\nA01_s1.tif,S1\nA01_s2.tif,s1\nA02_s1.tif,S1\n": "the slides 'S1' and 's1' differ only by capitals",
    "image,plate,slide\nA01_s1.tif,p,1\nA01_s2.tif,p,\nA02_s1.tif,p,2\n": "line 3: it names no slide, but other",
    "well,condition,replicate\nA01,a,r1\nA02,a,R1\n": "the replicates 'r1' and 'R1' differ only by capitals",
    "well,condition,donor\nA01,a,d1\nA02,a,D1\n": "the donors 'd1' and 'D1' differ only by capitals",
    "well,dose_uM\nA01,1\nA02,2\n": "did you mean dose",
    "well,rep\nA01,1\nA02,2\n": "did you mean replicate",
    "image,condition\nq/A01_s1.tif,a\nA01_s2.tif,a\nA02_s1.tif,b\n": "q/A01_s1.tif is not one of the images",
    "well\tdose\nA01\t1,000\nA02\t2\n": "line 2: the dose '1,000' may be 1000 or 1; write it as one of these",
    "well;dose\nA01;+2.500\nA02;2\n": "line 2: the dose '+2.500' may be +2500 or 2.5",
    "well;dose\nA01;2.500\nA02;2\n": "line 2: the dose '2.500' may be 2500 or 2.5",
    "well;dose\nA01;1.000\nA02;0,5\n": "line 2: the dose '1.000' has another decimal mark than '0,5'",
    "well\tdose\nA01\t0.5\nA02\t1,000\n": "line 3: the dose '1,000' has another decimal mark than '0.5'",
    "well;dose\nA01;0,5 uM\nA02;2\n": "the dose '0,5 uM' is not an amount",
    "well,treatment\nA01,a\nA02,b\n": "only its column well can be read",
    "well,condition\nA01,a\nAG02,b\n": "'AG02' is not a well",
    "well,condition\nA01,Drug\nA02,drug\n": "'Drug' and 'drug' differ only by capitals, blanks or the like",
    "well,condition\nA01,1 uM\nA02,1uM\n": "'1 uM' and '1uM' differ only by capitals, blanks or the like",
    "well,condition\nA01,siX-1\nA02,siX\u20131\n": "'siX-1' and 'siX\u20131' differ only by capitals",
    "well,dose\nA01,1\nA02,2 uM\n": "the dose '2 uM' is not an amount",
    **{f"well,dose\nA01,1\nA02,{dose}\n": "not as a logarithm" for dose in ("-6", "inf", "1e400", "nan", "1_0", "1₀")},
    "condition,dose\na,1\n": "no column image or well",
    "well\nA01\nA02\n": "only its column well",
    "image,well,condition\nA01_s1.tif,B01,a\nA01_s2.tif,A01,a\nA02_s1.tif,A02,b\n": "but its name says A01",
    "": "is empty",
    "well,condition\n": "no rows",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("kind", GOOD_MAPS)
def test_a_map_finds_its_images_however_it_was_saved(tmp_path, kind, encoding):
    (tmp_path / "map.csv").write_text(GOOD_MAPS[kind].removeprefix("\ufeff" * (encoding == "utf-16")), encoding)
    found, _ = read_map(tmp_path / "map.csv", [*IMAGES, ImageError("x", "a", "b")], places_of([*IMAGES, "x"]))
    assert [row["condition"] for row in found] == ["DMSO", "DMSO", "drug", ""]


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("wells without an image", "no image fits 1 row of map.csv (well A03)"),
        ("further columns", "columns of map.csv that are not read: well_id, row, comment; known are image,"),
        ("of another computer", "map.csv has names that nearly fit images, such as C:/x/A01_s1.tif for p/A01_s1.tif"),
    ],
)
def test_what_a_map_has_beyond_its_images_is_told(tmp_path, kind, note):
    (tmp_path / "map.csv").write_text(GOOD_MAPS[kind])
    _, notes = read_map(tmp_path / "map.csv", IMAGES, places_of(IMAGES))
    assert len(notes) == 1 and notes[0].startswith(note)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_column_has_one_decimal_mark_which_may_be_a_comma_that_parts_no_cells(tmp_path, separator):
    for mark in ",.":
        text = "well,dose\nA01,0:5\nA02,1:500\n".replace(",", separator).replace(":", mark)
        (tmp_path / "map.csv").write_text(text)
        found, _ = read_map(tmp_path / "map.csv", IMAGES, places_of(IMAGES))
        assert [row["dose"] for row in found] == [0.5, 0.5, 1.5]


def test_the_only_plate_is_called_as_the_map_says_unless_metadata_name_it(tmp_path):
    (tmp_path / "map.csv").write_text("plate,well,condition\nP7,A01,a\nP7,A02,b\n")
    assert {(one["plate"], one["group"]) for one in layout(IMAGES, tmp_path / "map.csv", False)[0]} == {("P7", "P7")}
    stated = [replace(place, rule="OME-XML") for place in places_of(IMAGES)]
    with pytest.raises(DataError, match=r"no image is from well P7 A01; .* \(well A01 of plate p, by its metadata\)"):
        read_map(tmp_path / "map.csv", IMAGES, stated)


def test_a_name_is_found_however_its_accents_are_written(tmp_path):
    images = [f"p/{unicodedata.normalize('NFC', 'é1.tif')}", "p/e2.tif"]
    text = f"image,condition\n{unicodedata.normalize('NFD', 'é1.tif')},a\ne2.tif,b\n"
    (tmp_path / "map.csv").write_text(text, encoding="utf-8")
    found, _ = read_map(tmp_path / "map.csv", images, places_of(images))
    assert [row["condition"] for row in found] == ["a", "b"]


def test_numbers_that_are_raised_or_fractions_are_not_taken_for_their_digits(tmp_path):
    (tmp_path / "map.csv").write_text("well,condition\nA01,10⁵ cells\nA02,105 cells\n", encoding="utf-8")
    found, _ = read_map(tmp_path / "map.csv", IMAGES, places_of(IMAGES))
    assert [row["condition"] for row in found] == ["10⁵ cells", "10⁵ cells", "105 cells"]
    assert spelling.clean("1½ uM") != spelling.clean("11/2 uM")
    # Nor is a sign before a word a dash.
    spelling.refuse_twins("map.csv", "condition", ["siRNA -dox", "siRNA +dox", "siRNA dox"])


def test_a_dose_in_another_spelling_of_its_unit_is_no_condition_of_its_own():
    for twin in ("5 uM", "5uM", "5 \u03bcM", "5 um"):
        with pytest.raises(
            DataError, match=r"the conditions '5 \u00b5M' and .* differ only by capitals, blanks or the like"
        ):
            spelling.refuse_twins("map.csv", "condition", ["5 \u00b5M", "DMSO", twin])
    spelling.refuse_twins("map.csv", "condition", ["5 \u00b5M", "5 mM", "5 nM", "50 \u00b5M"])


@pytest.mark.parametrize("text", BAD_MAPS)
def test_a_map_that_does_not_fit_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "map.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as refused:
        layout(IMAGES, tmp_path / "map.csv", has_files=False)
    assert BAD_MAPS[text] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_wrong_with_images_is_told_before_a_map_that_does_not_fit(tmp_path):
    """Images that do not exist are no fault of the map; names of a visitor's are no files."""
    (tmp_path / "map.csv").write_text("image,condition\na.tif,x\n")
    for images in ([ImageError("w1", "its files are channels", "name those of DNA")], [str(tmp_path / "w1")]):
        with pytest.raises(ImageError, match=r"w1: (its files|there is no such file)"):
            layout(images, tmp_path / "map.csv")
    with pytest.raises(DataError, match=r"a\.tif is not one of the images; correct the name, or delete the row"):
        layout([str(tmp_path / "w1")], tmp_path / "map.csv", has_files=False)
    # What a plate of others lacks may not be had, and is told where it may be the reason.
    images = [str(tmp_path / "A01.tif"), ImageError("p.zarr/A/3", "it has no such image", "copy it again")]
    (tmp_path / "A01.tif").touch()
    with pytest.raises(DataError, match=r"a\.tif is not one of the images \(p\.zarr/A/3: it has no such image\)"):
        layout(images, tmp_path / "map.csv")
    (tmp_path / "map.csv").write_text("well,condition\nA01,c\nA2x,d\n")
    with pytest.raises(DataError, match="line 3: 'A2x' is not a well"):
        layout(images, tmp_path / "map.csv")


@pytest.mark.parametrize("names", [
    "c1_0 c1_1 c2_0 c2_1", "siCtrl_c1_01 siCtrl_c2_01", "c1/1 c2/1", "w1/1 w2/1", "z1/1 z2/1", "A01_z1 A01_z2",
])  # fmt: skip
def test_each_image_of_a_map_is_a_field_where_names_leave_that_open(tmp_path, names):
    files = [tmp_path / f"{name}.tif" for name in names.split()]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(file.name.encode())
    lines = [f"{file.relative_to(tmp_path)},x" for file in files]
    (tmp_path / "map.csv").write_text("\n".join(["image,condition", *lines]))
    assert expand([tmp_path], settle=partial(named_in, tmp_path / "map.csv")) == [str(file) for file in files]
    (tmp_path / "map.csv").write_text("\n".join(["image,condition", *lines[:-1]]))
    assert isinstance(expand([tmp_path], settle=partial(named_in, tmp_path / "map.csv"))[-1], ImageError)


def test_a_map_makes_no_field_of_what_is_known_for_another_channel(tmp_path):
    (tmp_path / "map.csv").write_text("image,condition\nA01_DAPI.tif,x\nA01_GFP.tif,x\n")
    names = [str(tmp_path / f"A01_{stain}.tif") for stain in ("DAPI", "GFP")]
    assert expand(names, settle=partial(named_in, tmp_path / "map.csv")) == names[:1]


def test_a_map_of_wells_that_two_plates_have_says_which_plate(tmp_path):
    images = ["pa/A01_s1.tif", "pb/A01_s1.tif", "pb/B01_s1.tif"]
    (tmp_path / "map.csv").write_text("well,condition\nA01,x\nB01,y\n")
    # Folders may be times or sites of one plate; what metadata call a plate is one.
    found, notes = read_map(tmp_path / "map.csv", images, places_of(images))
    assert [row["condition"] for row in found] == ["x", "x", "y"]
    assert notes == ["wells of pa and pb (by folders and names) share the rows of map.csv: "
                     "if these plates differ, add a column plate"]  # fmt: skip
    stated = [replace(place, rule="OME-XML") for place in places_of(images)]
    with pytest.raises(DataError, match="line 2: the plates pa and pb both have a well A01; add a column plate"):
        read_map(tmp_path / "map.csv", images, stated)
    # Wells that one plate has each need none.
    found, _ = read_map(tmp_path / "map.csv", images[::2], places_of(images[::2]))
    assert [row["condition"] for row in found] == ["x", "y"]


DAYS = ["day1/P_A01.tif", "day2/P_A01.tif"]


@pytest.mark.parametrize(("names", "text", "plates"), [
    (DAYS, "P,A01,a", ["P", "P"]),
    (DAYS, "Q,A01,a", ["Q", "Q"]),
    (DAYS, "P (day1),A01,a\nP (day2),A01,b", ["P (day1)", "P (day2)"]),
    # The name does not depend on what else is predicted.
    (DAYS[:1], "P (day1),A01,a\nP (day2),A01,b", ["P (day1)"]),
    ([DAYS[0], "day2/P_A02.tif"], "P (day1),A01,a\nP (day2),A02,b", ["P (day1)", "P (day2)"]),
    # What says more of a plate counts before what says less.
    (DAYS, "P,A01,a\nP (day2),A01,b", ["P", "P (day2)"]),
    (DAYS[1:], "P,A01,b\nP (day2),A01,a", ["P (day2)"]),
    (["site1/P_A01.tif", "site2/P_A01.tif"], "P (site1),A01,a\nP (site2),A01,b", ["P (site1)", "P (site2)"]),
    (["e/T1/A01.tif", "e/T2/A01.tif"], "e (T1),A01,a\ne (T2),A01,b", ["e (T1)", "e (T2)"]),
])  # fmt: skip
def test_a_map_joins_plates_told_apart_by_their_name_and_tells_them_apart_by_folders(tmp_path, names, text, plates):
    (tmp_path / "map.csv").write_text(f"plate,well,condition\n{text}\n")
    found, _ = layout([f"x/{name}" for name in names], tmp_path / "map.csv", has_files=False)
    assert [(one["plate"], one["group"]) for one in found] == [(plate, plate) for plate in plates]
    assert [one["condition"] for one in found] == list("ab" if len({*plates}) > 1 else "aa")[: len(names)]


def test_a_map_that_may_mean_two_plates_by_folders_is_refused(tmp_path):
    (tmp_path / "map.csv").write_text("plate,well,condition\nP (x),A01,a\nP (day1),A01,b\n")
    with pytest.raises(DataError, match=r"it leaves out x/day1/P_A01\.tif \(well A01 of plate P, by its name"):
        layout([f"x/{DAYS[0]}"], tmp_path / "map.csv", has_files=False)


@pytest.mark.slow
def test_fields_of_a_folder_are_read_together_unless_each_is_asked_for(tmp_path, found_once):
    made = simulate_field((640, 960), 180, seed=1)
    halves = {"left": made.image[:, :640], "right": made.image[:, 640:]}
    for name, half in halves.items():
        write_image(tmp_path / f"{name}.tif", half, made.pixel_size_um)
    together, each = predict(tmp_path), predict(tmp_path, is_each=True)
    assert set(together["model_reason"]) == {"G1 peak of the group"}
    assert len(set(together["g1_quality"])) == 1
    assert f"2 fields of {tmp_path}: G1 peak of quality" in together.attrs["notes"][0] and each.attrs["notes"] == []
    assert set(together["group"]) == {str(tmp_path)}
    alone = pd.concat([predict(tmp_path / f"{name}.tif") for name in halves], ignore_index=True)
    pd.testing.assert_frame_equal(each, alone)
    assert "no clear G1 peak" in set(each["model_reason"]), "the small field was to need the other one"


@pytest.mark.realdata
@pytest.mark.slow
def test_a_knock_down_that_stops_cells_in_g1_shows_more_g1_and_less_s_or_alone_no_phase(real_data, found_once):
    """Its one peak of DNA may be G1 or G2: without the control nothing says which, so nothing is called."""
    control, treated = sorted((real_data / "rpe1").glob("*_DAPI.tif"))
    assert "siCDK4" in treated.name
    table = predict([control, treated])
    shares = pd.crosstab(table["image"], table["call"], normalize="index")
    assert shares.loc[str(treated), "G1"] > shares.loc[str(control), "G1"] + 0.1
    assert shares.loc[str(treated), "S"] < shares.loc[str(control), "S"]
    alone = predict(control)
    shares = alone["call"].value_counts(normalize=True)
    assert set(alone["model_reason"]) == {"G1 peak of the field"}
    assert alone["light"].min() < 0.8 < 1.05 < alone["light"].max()
    assert shares["G1"] > 0.5 and shares["G1"] > 2 * shares["G2"] and shares["M"] < 0.05
    alone = predict(treated)
    assert set(alone["call"]) <= {"", "M"}
    assert alone.loc[alone["call"] == "", "flags"].str.contains("one_dna_peak").all()


def test_images_of_one_field_are_told():
    one, other = field_of((2.0, 0.6), (4.0, 0.4), n=80), field_of((2.0, 0.6), (4.0, 0.4), n=80, seed=1)
    moved = {name: one.measured[name] + 0.7 for name in ("centroid_y_px", "centroid_x_px")}
    again = replace(one, measured=one.measured | moved)
    images = given([one, other, None, again], "abcd")
    images[0].told.flag = OTHER_PEAK
    pairs = groups.pairs_of_one_field(images)
    groups.refuse_other_light(pairs)
    notes = groups.tell_apart(pairs)
    assert [image.told.flag for image in images] == [f"{OTHER_PEAK};{SAME_FIELD}", "", "", SAME_FIELD]
    assert len(notes) == 1 and "2 images" in notes[0] and "a and d" in notes[0]
    assert groups.tell_apart(groups.pairs_of_one_field(images[:2])) == []
    assert pairs == [(images[0], images[3])] and not any(image.told.refusal for image in images)
    dna = again.measured["integrated_dna"]
    stained = np.random.default_rng(0).permutation(dna)
    marked = replace(again, measured=again.measured | {"integrated_dna": stained})
    for names, refused in {"abcd": [0, 3], ("x_DAPI.tif", *"bcd"): [3], ("DAPI 1", *"bc", "DAPI 2"): [0, 3]}.items():
        images = given([one, other, None, marked], names)
        pairs = groups.pairs_of_one_field(images)
        groups.refuse_other_light(pairs)
        assert [k for k, image in enumerate(images) if image.told.refusal] == refused
        assert groups.tell_apart(pairs) == []


@pytest.mark.slow
def test_a_second_channel_without_a_name_goes_to_review(tmp_path):
    """The names say nothing: `a` and `b` are two stains of one field, `c` is another field."""
    field, other = (simulate_field((420, 420), 40, seed=seed) for seed in (3, 4))
    dim = 0.4 * field.image + np.random.default_rng(0).normal(300, 12, field.image.shape)
    for name, pixels in (("a", field.image), ("b", dim.astype(np.uint16)), ("c", other.image)):
        write_image(tmp_path / f"{name}.tif", pixels, field.pixel_size_um)
    table = predict([tmp_path / f"{name}.tif" for name in "abc"])
    is_c = table["image"].str.endswith("c.tif")
    assert table["review"][~is_c].str.contains(SAME_FIELD).all() and not table["flags"][is_c].str.contains("same").any()

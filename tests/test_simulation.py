"""The physical facts that the simulator must keep."""

import hashlib
import inspect
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from skimage import io

from cellcycle import files, simulation
from cellcycle.datasets import load_dataset
from cellcycle.errors import DataError, SettingError
from cellcycle.phases import PHASES
from cellcycle.segmentation import measure_crops
from cellcycle.simulation import SimulationParameters, limits, validation
from cellcycle.simulation.biology import age_quantile, dna_content, draw_cell, mean_area, phase_bounds, subphase_at
from cellcycle.simulation.chromatin import draw_patch
from cellcycle.simulation.plate import Well, write_plate
from cellcycle.simulation.scene import blur, exported, expose, illumination, sample

PARAMETERS = SimulationParameters()
# Alone, in focus, evenly lit and without stain spread: what is left is DNA, optics and noise.
CLEAN = replace(
    PARAMETERS,
    neighbours_per_mm2=0.0,
    debris_fraction=0.0,
    defocused_fraction=0.0,
    shading=0.0,
    stain_cv=0.0,
    slide_cv=0.0,
)


def light(nuclei, parameters):
    """Background-corrected sum of each image, as a fraction of full scale times pixels."""
    images = nuclei.images[:, 0].astype(float) - parameters.camera_offset
    return images.sum((1, 2)) - np.median(images, (1, 2)) * images[0].size


@pytest.fixture(scope="module")
def nuclei():
    return simulation.simulate_nuclei({"G1": 40, "S": 30, "G2": 30, "M": 30}, seed=3)


@pytest.fixture(scope="module")
def clean():
    return simulation.simulate_nuclei({"G1": 25, "S": 15, "G2": 25, "M": 20}, seed=4, parameters=CLEAN)


# --- the cell cycle -------------------------------------------------------------------------------


def test_dna_doubles_through_s():
    g1, s, g2, m = phase_bounds(PARAMETERS)[:4]
    assert dna_content([g1, s / 2, s], PARAMETERS).tolist() == [2, 2, 2]
    assert dna_content([g2, m, 1.0], PARAMETERS) == pytest.approx([4, 4, 4])
    rising = dna_content(np.linspace(s, g2, 50), PARAMETERS)
    assert (np.diff(rising) > 0).all()
    assert dna_content((s + g2) / 2, PARAMETERS) == pytest.approx(3)


def test_replication_shape_slows_both_ends():
    _, s, g2, _, _ = phase_bounds(PARAMETERS)
    early = s + 0.1 * (g2 - s)
    constant = dna_content(early, replace(PARAMETERS, replication_shape=1.0))
    assert constant == pytest.approx(2.2)
    assert dna_content(early, replace(PARAMETERS, replication_shape=2.0)) < constant


def test_age_distribution_is_that_of_exponential_growth():
    ages = age_quantile(np.random.default_rng(0).random(40_000))
    counted, edges = np.histogram(ages, bins=10, range=(0, 1))
    expected = np.diff(2 * (1 - 2.0**-edges))
    assert counted / ages.size == pytest.approx(expected, abs=0.008)
    assert counted[0] / counted[-1] == pytest.approx(2**0.9, rel=0.1)


@pytest.mark.slow
def test_cells_within_a_class_are_not_uniform():
    rng = np.random.default_rng(2)
    progress = np.array([draw_cell(rng, PARAMETERS, "G1").progress for _ in range(4000)])
    assert 0.46 < progress.mean() < 0.49  # young cells are more frequent


def test_parts_of_mitosis_have_their_relative_durations():
    drawn = pd.Series([subphase_at(u, PARAMETERS)[0] for u in np.linspace(0, 0.9999, 6000)])
    shares = drawn.value_counts(normalize=True)
    minutes = pd.Series(PARAMETERS.subphase_min)
    assert shares[minutes.index].to_numpy() == pytest.approx((minutes / minutes.sum()).to_numpy(), abs=0.002)
    assert list(drawn.unique()) == list(simulation.SUBPHASES)


def test_area_grows_and_newborn_nuclei_are_small():
    middle, end = phase_bounds(PARAMETERS)[1] / 2, phase_bounds(PARAMETERS)[3]
    assert mean_area(end, PARAMETERS) / mean_area(middle, PARAMETERS) == pytest.approx(2**0.67, rel=0.02)
    assert mean_area(0.0, PARAMETERS) < 0.8 * mean_area(middle, PARAMETERS)


# --- DNA in the image -----------------------------------------------------------------------------


@pytest.mark.slow
def test_g2_has_twice_the_dna_of_g1_within_the_stains_spread(nuclei):
    truth = nuclei.truth
    g1, g2 = (truth.loc[truth["phase"] == phase, "integrated_dna"] for phase in ("G1", "G2"))
    assert g2.median() / g1.median() == pytest.approx(2, rel=0.1)
    spread = np.hypot(PARAMETERS.stain_cv, PARAMETERS.slide_cv)
    assert g1.std() / g1.mean() == pytest.approx(spread, rel=0.5)


@pytest.mark.slow
def test_the_image_holds_that_dna(clean):
    per_n = light(clean, CLEAN) / clean.truth["dna_content"]
    alone = (clean.truth["phase"] != "M") & (clean.truth["n_neighbours"] == 0)  # no newborn's sister
    per_n = per_n[alone]
    assert per_n.std() / per_n.mean() < 0.06
    pixels_per_um2 = clean.pixel_size_um**-2
    assert per_n.median() == pytest.approx(CLEAN.g1_level * CLEAN.g1_area_um2 * pixels_per_um2 / 2, rel=0.06)


@pytest.mark.slow
def test_measured_dna_of_g2_is_twice_that_of_g1(clean):
    measured = measure_crops(clean.images)["integrated_dna"]
    g1, g2 = (measured[clean.labels == PHASES.index(phase)].median() for phase in ("G1", "G2"))
    assert g2 / g1 == pytest.approx(2, rel=0.12)


@pytest.mark.slow
def test_stain_spread_is_what_was_asked_for():
    wide = replace(CLEAN, stain_cv=0.2)
    rng = np.random.default_rng(5)
    factors = np.array([draw_cell(rng, wide, "G1").stain_factor for _ in range(3000)])
    assert factors.std() / factors.mean() == pytest.approx(0.2, rel=0.1)
    assert np.median(factors) == pytest.approx(1, rel=0.03)


@pytest.mark.slow
def test_slides_share_their_staining(nuclei):
    factors = nuclei.truth.groupby("slide")["slide_factor"].nunique()
    assert (factors == 1).all() and len(factors) == PARAMETERS.n_slides


@pytest.mark.parametrize("phase", PHASES)
def test_area_and_density_of_a_patch(phase):
    rng = np.random.default_rng(6)
    cell = draw_cell(rng, PARAMETERS, phase)
    patch = draw_patch(rng, cell, PARAMETERS)
    assert patch.density.sum() == pytest.approx(1, rel=1e-4) and (patch.density >= 0).all()
    assert patch.density[patch.support].sum() > 0.85
    edge = np.concatenate([patch.support[0], patch.support[-1], patch.support[:, 0], patch.support[:, -1]])
    assert not edge.any()


def test_interphase_area_is_the_cells_area(clean):
    interphase = clean.truth[clean.truth["phase"] != "M"]
    pixels = clean.masks[interphase.index].sum((1, 2)) * clean.pixel_size_um**2
    assert pixels == pytest.approx(interphase["area_um2"].to_numpy(), rel=0.03)


@pytest.mark.slow
def test_mitosis_is_brighter_and_smaller_than_interphase(nuclei):
    measured = measure_crops(nuclei.images)
    rounded = nuclei.truth["subphase"].isin(("metaphase", "anaphase", "telophase")).to_numpy()
    g1 = (nuclei.truth["phase"] == "G1").to_numpy()
    assert measured["mean_dna"][rounded].median() > 2 * measured["mean_dna"][g1].median()
    assert measured["area_px"][rounded].median() < 0.5 * measured["area_px"][g1].median()


def test_a_plate_is_a_bar_from_the_side_and_round_from_the_pole():
    from cellcycle.segmentation import measure

    measured = {}
    for view in (0.0, 1.0):
        parameters = replace(
            CLEAN,
            polar_view_fraction=view,
            prophase_min=1e-3,
            prometaphase_min=1e-3,
            anaphase_min=1e-3,
            telophase_min=1e-3,
        )
        made = simulation.simulate_nuclei({"M": 8}, seed=7, parameters=parameters)
        shapes = [measure(image[0], mask.astype(np.int32)) for image, mask in zip(made.images, made.masks, strict=True)]
        measured[view] = pd.concat(shapes)["eccentricity"].median()
    assert measured[0.0] > 0.85 > 0.7 > measured[1.0]


# --- cells that are not as others of their phase ---------------------------------------------------


@pytest.mark.slow
def test_unusual_cells_are_drawn_only_where_they_are_asked_for():
    # A fraction of 0 takes no random number: what was simulated before stays as it was.
    usual, asked = np.random.default_rng(3), np.random.default_rng(3)
    few = replace(PARAMETERS, rounded_fraction=0.2, dying_fraction=0.2, lagging_fraction=0.4)
    assert draw_cell(usual, PARAMETERS, "G1").dna_content == draw_cell(asked, few, "G1").dna_content
    rng = np.random.default_rng(4)
    drawn = pd.DataFrame([vars(draw_cell(rng, few, phase)) for phase in PHASES for _ in range(600)])
    share = drawn.groupby(drawn["phase"] == "M")["look"].value_counts(normalize=True)
    assert share[False]["rounded"] == pytest.approx(0.2, abs=0.03)
    assert share[False]["dying"] == pytest.approx(0.8 * 0.2, abs=0.03)
    assert set(drawn.loc[drawn["look"] == "lagging", "subphase"]) == {"anaphase", "telophase"}
    assert not {draw_cell(rng, PARAMETERS).look for _ in range(50)} - {"usual"}


def test_what_is_not_asked_for_does_not_part_data_from_its_records():
    asked = [replace(PARAMETERS, dying_fraction=0.1), replace(PARAMETERS, export_gamma=0.5)]
    said = [repr(parameters) for parameters in (PARAMETERS, *asked)]
    assert "fraction=0.1," in said[1] and "export_gamma=0.5" in said[2] and len(set(said)) == 3
    assert not {"look", "gamma", "dying", "rounded", "lagging", "section"} & set(re.split(r"\W|_", said[0]))
    # As it was when the study was recorded.
    assert hashlib.blake2b(said[0].encode(), digest_size=8).hexdigest() == "dcf8038ed5ed821e"


@pytest.mark.slow
def test_a_rounded_nucleus_is_smaller_and_brighter_and_holds_the_same_dna():
    usual, rounded = (
        simulation.simulate_nuclei({"G2": 12}, 96, 2, replace(CLEAN, rounded_fraction=share)) for share in (0.0, 1.0)
    )
    before, after = (measure_crops(made.images).median(numeric_only=True) for made in (usual, rounded))
    assert after["area_px"] < 0.75 * before["area_px"] and after["mean_dna"] > 1.3 * before["mean_dna"]
    assert after["integrated_dna"] == pytest.approx(before["integrated_dna"], rel=0.1)
    assert set(rounded.truth["look"]) == {"rounded"}


def test_a_dying_cell_is_dense_balls_of_part_of_its_dna():
    rng = np.random.default_rng(1)
    cells = [draw_cell(rng, replace(CLEAN, dying_fraction=1.0), "G1") for _ in range(12)]
    patches = [draw_patch(rng, cell, CLEAN) for cell in cells]
    areas = [patch.support.sum() * 0.2**2 / cell.area_um2 for cell, patch in zip(cells, patches, strict=True)]
    assert max(areas) < 0.6
    balls = [ndimage.label(patch.support)[1] for patch in patches]
    assert min(balls) == 1 and max(balls) > 2
    usual = [draw_cell(rng, CLEAN, "G1").stain_factor for _ in range(200)]
    assert np.median([cell.stain_factor for cell in cells]) < 0.9 * np.median(usual)


def test_lagging_chromosomes_lie_between_the_sets():
    late = {"prophase_min": 1e-3, "prometaphase_min": 1e-3, "metaphase_min": 1e-3, "telophase_min": 1e-3}
    parameters = replace(CLEAN, **late, polar_view_fraction=0.0)
    rng, between = np.random.default_rng(9), {0.0: [], 1.0: []}
    for share, found in between.items():
        for _ in range(30):
            cell = draw_cell(rng, replace(parameters, lagging_fraction=share), "M")
            if cell.progress > 0.7:
                density = draw_patch(rng, cell, parameters).density
                middle, spread = len(density) // 2, round(2 / 0.2)
                found.append(
                    density[middle - spread : middle + spread + 1, middle - spread : middle + spread + 1].sum()
                )
    assert np.mean(between[1.0]) > 2 * np.mean(between[0.0])


def test_a_confocal_sees_its_section_sharper_and_as_bright():
    scene = np.random.default_rng(8).random((96, 80)).astype(np.float32)
    wide, thin = (blur(scene, 0.2, replace(PARAMETERS, section_um=um), PARAMETERS.thickness_um) for um in (0.0, 1.0))
    assert thin.sum() == pytest.approx(wide.sum(), rel=1e-3) and thin.std() > 1.5 * wide.std()
    away = blur(scene, 0.2, replace(PARAMETERS, section_um=1.0), PARAMETERS.thickness_um, 4.0)
    assert away.sum() < 0.2 * thin.sum()


def test_an_export_bends_and_stretches_the_numbers():
    levels = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)
    bent = exported(levels, replace(PARAMETERS, export_gamma=0.5))
    assert bent[0, 0] == 0 and bent[-1, -1] == 4095 and bent[16, 0] == round(4095 * (1024 / 4095) ** 0.5)
    cut = exported(levels // 4, replace(PARAMETERS, export_clipped=0.01))
    assert (cut == 0).mean() == pytest.approx(0.01, abs=0.005) and (cut == 4095).mean() == pytest.approx(
        0.01, abs=0.005
    )
    assert (exported(levels, PARAMETERS) == levels).all()


# --- optics and camera ----------------------------------------------------------------------------


def test_blur_conserves_intensity_and_spreads_it():
    scene = np.zeros((96, 80), np.float32)
    scene[40:50, 30:44] = np.random.default_rng(8).random((10, 14))
    sharp, defocused = (blur(scene, 0.2, PARAMETERS, 5.0, z) for z in (0.0, 4.0))
    assert sharp.sum() == pytest.approx(scene.sum(), rel=1e-4)
    assert defocused.sum() == pytest.approx(scene.sum(), rel=1e-4)
    assert scene.max() > sharp.max() > 1.5 * defocused.max()


def test_a_larger_aperture_resolves_more():
    point = np.zeros((64, 64), np.float32)
    point[32, 32] = 1
    low, high = (blur(point, 0.1, replace(PARAMETERS, numerical_aperture=na), 0.0).max() for na in (0.4, 0.95))
    assert high > 3 * low


@pytest.mark.parametrize("size", [16, 61, 64, 150, 300])
def test_sampling_conserves_intensity_at_any_size(size):
    scene = blur(np.random.default_rng(9).random((162, 162)), 0.2, PARAMETERS, 5.0)
    assert sample(scene, (size, size)).sum() == pytest.approx(scene.sum(), rel=1e-4)


def test_noise_variance_grows_with_the_signal():
    rng, bare = np.random.default_rng(10), replace(PARAMETERS, bits=16)
    levels = [0.0, 0.1, 0.4, 0.8]
    variance = [(expose(np.full((200, 200), x), rng, bare) / bare.full_scale).var() for x in levels]
    electrons = bare.full_scale_electrons
    expected = [(x * electrons + bare.read_noise_electrons**2) / electrons**2 for x in levels]
    assert variance == pytest.approx(expected, rel=0.06)


def test_more_light_gives_less_noise():
    few, many = (replace(PARAMETERS, full_scale_electrons=e) for e in (500.0, 50_000.0))
    noise = [(expose(np.full((99, 99), 0.3), np.random.default_rng(11), p) / p.full_scale).std() for p in (few, many)]
    assert noise[0] > 8 * noise[1]


def test_shading_darkens_the_corners():
    steps = np.array([0.0, 166.5, 333.0])
    field = illumination(steps, steps, (166.5, 166.5), PARAMETERS)
    assert field[1, 1] == 1 and field[0, 0] == pytest.approx(1 - PARAMETERS.shading)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_bits_of_the_camera(bits):
    made = simulation.simulate_nuclei({"G1": 2, "M": 1}, seed=1, parameters=replace(PARAMETERS, bits=bits))
    assert made.images.dtype == np.float32 and made.images.min() >= 0 and made.images.max() <= 1
    steps = made.images.astype(float) * (2**bits - 1)
    assert np.abs(steps - np.rint(steps)).max() < 0.01
    field = simulation.simulate_field((64, 64), 2, parameters=replace(PARAMETERS, bits=bits))
    assert field.image.dtype == (np.uint8 if bits == 8 else np.uint16) and field.image.max() < 2**bits


# --- what changing a parameter does ---------------------------------------------------------------


def _texture(parameters, phase="G2"):
    made = simulation.simulate_nuclei({phase: 12}, seed=12, parameters=parameters)
    inside = [image[0][mask] for image, mask in zip(made.images, made.masks, strict=True)]
    return np.median([x.std() / x.mean() for x in inside])


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("chromatin_contrast", 0.1, 0.5),
        ("nucleolus_depth", 0.0, 0.9),
        ("g2_contrast_gain", 0.0, 2.0),
        ("n_chromocentres", 0.0, 20.0),
    ],
)
def test_texture_parameters_raise_the_texture(name, low, high):
    assert _texture(replace(CLEAN, **{name: high})) > 1.05 * _texture(replace(CLEAN, **{name: low}))


def test_the_rim_brightens_the_border():
    from scipy.ndimage import binary_erosion

    def border(strength):
        made = simulation.simulate_nuclei({"G1": 6}, seed=12, parameters=replace(CLEAN, rim_strength=strength))
        pairs = [(i[0], m, binary_erosion(m, iterations=4)) for i, m in zip(made.images, made.masks, strict=True)]
        return np.median([image[mask & ~core].mean() / image[core].mean() for image, mask, core in pairs])

    assert border(1.5) > 1.1 * border(0.0)


@pytest.mark.slow
def test_neighbours_debris_and_background_add_light():
    def total(**changes):
        made = simulation.simulate_nuclei({"G1": 10}, seed=13, parameters=replace(CLEAN, **changes))
        return made.images.sum(), made.truth

    alone, truth = total()
    assert truth["n_neighbours"].sum() <= 2 and not truth["debris"].any()  # newborns have a sister
    crowded, truth = total(neighbours_per_mm2=3000.0)
    assert crowded > 1.1 * alone and truth["n_neighbours"].sum() > 5
    dirty, truth = total(debris_fraction=1.0)
    assert dirty > alone and truth["debris"].all()
    assert total(background=0.1)[0] > 1.5 * alone


def test_out_of_focus_nuclei_are_flatter():
    def steepest(fraction):
        made = simulation.simulate_nuclei({"G1": 8}, seed=14, parameters=replace(CLEAN, defocused_fraction=fraction))
        return np.median([np.abs(np.diff(i[0], axis=0)).max() for i in made.images])

    assert steepest(1.0) < 0.75 * steepest(0.0)


@pytest.mark.parametrize(
    ("name", "value", "column", "factor"),
    [("g1_area_um2", 260.0, "area_um2", 1.3), ("area_growth", 1.0, "area_um2", 2**0.33)],
)
def test_area_parameters_scale_the_area(name, value, column, factor):
    before, after = (
        simulation.simulate_nuclei({"G2": 15}, seed=15, parameters=p).truth[column].median()
        for p in (CLEAN, replace(CLEAN, **{name: value}))
    )
    assert after / before == pytest.approx(factor, rel=0.05)


def test_wrong_parameters_are_refused():
    wrong = {"bits": 10, "g1_h": 0.0, "debris_fraction": 1.5, "numerical_aperture": 1.4, "n_slides": 0}
    wrong |= {"stain_cv": -0.1, "area_cv": float("nan"), "full_scale_electrons": float("inf"), "export_gamma": -1.0}
    wrong |= {"shading": 2.0, "pixel_size_um": 0.0, "n_chromosomes": 1.5, "neighbours_per_mm2": "many"}
    for name, value in wrong.items():
        with pytest.raises(SettingError, match=name):
            replace(PARAMETERS, **{name: value})


def test_the_data_card_lists_every_parameter_as_it_is():
    card = (Path(__file__).parents[1] / "data" / "README.md").read_text(encoding="utf-8")
    code = inspect.getsource(SimulationParameters)
    for f in fields(SimulationParameters):
        unit, meaning, source = re.search(rf"^    {f.name}: .+  # (.+) \| (.+) \| (.+)$", code, re.M).groups()
        assert f"| `{f.name}` | {f.default} | {unit} | {meaning} | {source} |" in card


# --- sets of nuclei -------------------------------------------------------------------------------


@pytest.mark.slow
def test_shapes_labels_and_truth(nuclei):
    n = 130
    assert nuclei.images.shape == (n, 1, 64, 64) and nuclei.masks.shape == (n, 64, 64)
    assert nuclei.labels.dtype == np.int64 and np.bincount(nuclei.labels).tolist() == [40, 30, 30, 30]
    assert (nuclei.truth["phase"] == np.array(PHASES)[nuclei.labels]).all()
    assert nuclei.truth["sample_id"].is_unique and not nuclei.truth.isna().any(axis=None)
    assert nuclei.truth["dna_content"].between(2, 4).all()
    assert nuclei.pixel_size_um == pytest.approx(32.4 / 64, rel=0.01)


def test_masks_lie_on_the_nuclei(clean):
    for image, mask in zip(clean.images[:, 0], clean.masks, strict=True):
        assert mask.any() and image[mask].mean() > 2 * image[~mask].mean()


def test_a_nucleus_depends_on_seed_phase_and_number_only():
    small = simulation.simulate_nuclei({"G2": 2}, size_px=32, seed=22)
    large = simulation.simulate_nuclei({"G1": 1, "G2": 4}, size_px=32, seed=22)
    assert (small.images == large.images[1:3]).all()
    assert not (small.images == simulation.simulate_nuclei({"G2": 2}, size_px=32, seed=23).images).all()


def test_another_size_shows_the_same_cells():
    coarse, fine = (simulation.simulate_nuclei({"S": 4}, size_px=size, seed=24) for size in (32, 128))
    assert coarse.truth.equals(fine.truth)
    assert coarse.pixel_size_um == pytest.approx(4 * fine.pixel_size_um)
    areas = [made.masks.sum((1, 2)) * made.pixel_size_um**2 for made in (coarse, fine)]
    assert areas[0] == pytest.approx(areas[1], rel=0.05)


@pytest.mark.slow
def test_stain_colours(nuclei):
    made = simulation.simulate_nuclei({"G1": 20}, seed=25, size_px=32, stain="colour")
    assert made.images.shape == (20, 3, 32, 32)
    # One colour an image: the channels of an image are multiples of one another, and images differ.
    flat = made.images.reshape(20, 3, -1).astype(float)
    shares = flat.mean(2) / flat.mean(2).max(1, keepdims=True)
    assert len(np.unique(shares.round(1), axis=0)) > 2


@pytest.mark.parametrize(
    "arguments",
    [{"counts": {"G0": 1}}, {"counts": {"G1": -1}}, {"counts": {}}, {"size_px": 4}, {"stain": "red"}, {"seed": -1}],
)
def test_wrong_requests_are_refused_in_one_line(arguments):
    with pytest.raises(SettingError) as caught:
        simulation.simulate_nuclei(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_second_domain_differs(nuclei):
    other = simulation.simulate_nuclei({"G1": 30}, seed=3, parameters=simulation.NAGAO_PARAMETERS)
    ours = nuclei.truth["phase"] == "G1"
    assert other.truth["area_um2"].median() < 0.85 * nuclei.truth.loc[ours, "area_um2"].median()
    assert other.pixel_size_um < 0.9 * nuclei.pixel_size_um
    assert sum(simulation.NAGAO_COUNTS.values()) == 600


# --- fields ---------------------------------------------------------------------------------------


def test_field_masks_match_the_nuclei():
    field = simulation.simulate_field((200, 260), 15, seed=31)
    assert field.image.shape == field.labels.shape == (200, 260) and field.labels.dtype == np.int32
    assert sorted(np.unique(field.labels))[1:] == field.truth["nucleus_id"].tolist()
    background = np.median(field.image[field.labels == 0])
    for row in field.truth.itertuples():
        inside = field.labels == row.nucleus_id
        assert field.image[inside].mean() > 2 * background
        if not row.touches_border:
            assert inside.sum() * field.pixel_size_um**2 == pytest.approx(row.area_um2, rel=0.1)
            assert np.argwhere(inside).mean(0) == pytest.approx((row.centroid_y_px, row.centroid_x_px))
    again = simulation.simulate_field((200, 260), 15, seed=31)
    assert (again.image == field.image).all()


@pytest.mark.slow
def test_field_phases_have_the_shares_of_a_growing_population():
    rng = np.random.default_rng(32)
    drawn = pd.Series([draw_cell(rng, PARAMETERS).phase for _ in range(4000)]).value_counts(normalize=True)
    expected = np.diff(2 * (1 - 2.0 ** -phase_bounds(PARAMETERS)))
    assert drawn[list(PHASES)].to_numpy() == pytest.approx(expected, abs=0.025)


def test_an_empty_field_is_background():
    field = simulation.simulate_field((64, 64), 0)
    assert field.labels.max() == 0 and len(field.truth) == 0
    with_one = simulation.simulate_field((64, 64), 1).truth
    pd.testing.assert_series_equal(field.truth.dtypes, with_one.dtypes)


# --- ceiling --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ceiling_is_deterministic_and_ordered():
    blind, dna, all_seen = (
        simulation.ceiling(sees=s, n_per_phase=800) for s in ((), ("integrated_dna",), limits.OBSERVABLES)
    )
    assert blind.accuracy < dna.accuracy < all_seen.accuracy < 1
    assert simulation.ceiling(n_per_phase=800).accuracy == all_seen.accuracy
    assert all_seen.accuracy < simulation.ceiling(n_per_phase=800, slide_known=True).accuracy
    assert list(all_seen.recall) == list(PHASES)
    assert all_seen.balanced_accuracy == pytest.approx(np.mean(list(all_seen.recall.values())))


def test_without_staining_noise_dna_alone_separates_the_phases():
    sharp = replace(PARAMETERS, stain_cv=1e-3, slide_cv=0.0)
    assert simulation.ceiling(parameters=sharp, n_per_phase=800).accuracy > 0.97


@pytest.mark.slow
def test_the_posterior_is_calibrated():
    hidden = limits.draw_hidden(3000, 1, PARAMETERS)
    scores = simulation.posterior(hidden, dict.fromkeys(PHASES, 1))
    said_s, is_s = scores[:, 1], (hidden["phase"] == "S").to_numpy()
    for low in (0.2, 0.4, 0.6):
        chosen = (said_s >= low) & (said_s < low + 0.2)
        assert is_s[chosen].mean() == pytest.approx(said_s[chosen].mean(), abs=0.05)


@pytest.mark.slow
def test_no_call_from_the_same_variables_beats_the_ceiling():
    """A plain classifier of the hidden variables, fitted on other cells, stays below Bayes' rule."""
    from sklearn.linear_model import LogisticRegression

    features, truth = [], []
    for seed in (2, 3):
        hidden = limits.draw_hidden(1500, seed, PARAMETERS)
        hidden = hidden[hidden["phase"] != "M"]
        dna = hidden["dna_content"] * hidden["stain_factor"] * hidden["slide_factor"]
        features.append(np.log(np.stack([dna, hidden["area_um2"], hidden["chromatin_contrast"]], 1)))
        truth.append(hidden["phase"].to_numpy())
    plain = LogisticRegression(max_iter=1000).fit(features[0], truth[0]).score(features[1], truth[1])
    best = simulation.ceiling({"G1": 1, "S": 1, "G2": 1}, n_per_phase=1500).accuracy
    assert plain < best + 0.01


# --- beside real cells ----------------------------------------------------------------------------


@pytest.mark.slow
def test_validation_table(nuclei):
    table = validation.headline(validation.compare(nuclei))
    assert {"simulated", "jurkat", "mitocheck", "rpe1"} <= set(table.index)
    simulated = table.loc["simulated"]
    assert 1.8 < simulated["DNA G2/G1"] < 2.25
    real = table.loc[["jurkat", "rpe1"]]
    low, high = real["CV of DNA in G1"].min() * 0.6, real["CV of DNA in G1"].max() * 1.4
    assert low < simulated["CV of DNA in G1"] < high
    assert real["area G2/G1"].min() * 0.9 < simulated["area G2/G1"] < real["area G2/G1"].max() * 1.1


def test_validation_needs_the_real_measurements(nuclei, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "REAL_MEASUREMENTS", tmp_path / "none.csv")
    with pytest.raises(DataError, match="make evidence"):
        validation.compare(nuclei)


@pytest.mark.slow
@pytest.mark.realdata
def test_the_kept_measurements_are_those_of_the_real_cells(real_data):
    kept = pd.read_csv(validation.REAL_MEASUREMENTS)
    files = sorted((real_data / "jurkat" / "G1").glob("*.tif"))[:150]
    images = np.stack([io.imread(file)[None] / np.float32(65535) for file in files])
    texture = measure_crops(images)["texture"].median()
    row = kept.query("source == 'jurkat' and phase == 'G1' and quantity == 'texture'").iloc[0]
    assert row["p25"] < texture < row["p75"]


# --- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "suffix"), [(8, ".png"), (12, ".tif")])
def test_write_nuclei(tmp_path, bits, suffix):
    out = simulation.write_folder(tmp_path / "made", n_nuclei=6, size_px=32, bits=bits)
    manifest = pd.read_csv(out / "manifest.csv")
    assert list(manifest.columns[:3]) == ["path", "label", "group"] and len(manifest) == 6
    assert set(manifest["label"]) == set(PHASES)
    assert all((out / path).is_file() and path.endswith(suffix) for path in manifest["path"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"]
    with pytest.raises(SettingError, match="empty"):
        simulation.write_folder(out, n_nuclei=6)


def test_write_fields(tmp_path):
    import tifffile

    out = simulation.write_folder(tmp_path / "made", n_fields=2, size_px=96, seed=5)
    truth = pd.read_csv(out / "truth.csv")
    assert truth["slide"].nunique() == truth["slide_factor"].nunique() == 2
    for name, rows in truth.groupby("field"):
        labels = tifffile.imread(out / "labels" / name)
        assert tifffile.imread(out / "fields" / name).shape == labels.shape == (96, 96)
        assert sorted(np.unique(labels))[1:] == rows["nucleus_id"].tolist()


@pytest.mark.slow
def test_the_truth_of_fields_is_a_table_of_labelled_nuclei(tmp_path):
    out = simulation.write_folder(tmp_path / "made", n_fields=2, size_px=256)
    labelled, truth = load_dataset(out / "truth.csv", on_error="skip"), pd.read_csv(out / "truth.csv")
    assert labelled.origin == "simulated" and len(labelled.fields) == 2 and len(labelled) > 0.9 * len(truth)
    with pytest.raises(DataError, match=r"labels/ beside fields/.*give the table truth\.csv"):
        load_dataset(out)


@pytest.mark.slow
def test_the_truth_of_a_plate_with_an_empty_well_is_a_table_of_labelled_nuclei(tmp_path):
    write_plate(tmp_path, 1, 256, 0, PARAMETERS, [[Well(), Well(crowd=0.0)]])
    truth = pd.read_csv(tmp_path / "truth.csv")
    assert truth["nucleus_id"].dtype == int and set(truth["well"]) == {"A01"}
    (tmp_path / "simulated.json").write_text("{}")
    (tmp_path / "elsewhere").mkdir()
    truth.assign(image="../" + truth["image"]).to_csv(tmp_path / "elsewhere" / "labels.csv")
    for table in (tmp_path / "truth.csv", tmp_path / "elsewhere" / "labels.csv"):
        labelled = load_dataset(table, on_error="skip")
        assert labelled.origin == "simulated" and len(labelled) > 0.9 * len(truth)


@pytest.mark.slow
def test_the_sample_is_what_the_commands_of_the_data_card_write(tmp_path):
    card = (files.repository() / "data" / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^cellcycle data simulate --output data/sample/(\w+) (.*)$", card, re.MULTILINE)
    assert [name for name, _ in commands] == ["nuclei", "fields"]
    for name, options in commands:
        asked = dict(zip(*[iter(options.split())] * 2, strict=True))
        names = {"--nuclei": "n_nuclei", "--fields": "n_fields", "--size": "size_px"}
        asked = {names.get(option, option.strip("-")): int(value) for option, value in asked.items()}
        made, sample = simulation.write_folder(tmp_path / name, **asked), files.repository() / "data" / "sample" / name
        there = [{p.relative_to(of) for p in of.rglob("*") if p.is_file()} for of in (made, sample)]
        assert there[0] == there[1]
        for path in there[0]:
            if path.suffix == ".csv":
                # Of another processor a few last digits differ, and with them the noise of some pixels.
                pd.testing.assert_frame_equal(pd.read_csv(made / path), pd.read_csv(sample / path))
            elif path.suffix in (".png", ".tif"):
                assert (io.imread(made / path) == io.imread(sample / path)).mean() > 0.5, path


@pytest.mark.parametrize("arguments", [{"n_nuclei": 1, "n_fields": 1}, {"n_nuclei": 0}, {"n_nuclei": 4, "bits": 9},
                                       {"n_fields": 1, "seed": -1}, {"is_plate": True, "seed": -1}])  # fmt: skip
def test_wrong_folders_are_refused_and_leave_nothing(tmp_path, arguments):
    with pytest.raises(SettingError, match=r"both given|at least 1|depth|seed: -1 is out of range"):
        simulation.write_folder(tmp_path / "made", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_fields_of_two_seeds_have_no_picture_in_common(tmp_path):
    for seed in (1, 2):
        simulation.write_folder(tmp_path / str(seed), n_fields=3, size_px=128, seed=seed)
    files = list(tmp_path.glob("*/fields/*.tif"))
    assert len({file.read_bytes() for file in files}) == len(files) == 6

"""What is taken to be known of a culture: its prior, cultures that stand still, more mitoses than there can be."""

import numpy as np
import pytest

from cellcycle.dna_content import fit_g1_peak
from cellcycle.errors import SettingError
from cellcycle.images import Plane
from cellcycle.nuclei import Anchor, Nuclei
from cellcycle.phases import PHASES
from cellcycle.predict import Predictor, Settings, predict
from cellcycle.predict.priors import MANY_MITOSES, ONE_PEAK, left_open, prior_of, weights_of
from cellcycle.simulation import images, simulate_field

RNG = np.random.default_rng(0)


def histogram(**counts):
    """DNA of a culture in genome copies, with a tenth of spread."""
    copies = {"G1": 2.0, "G2": 4.0}
    parts = [np.full(n, copies[p]) if p in copies else RNG.uniform(2, 4, n) for p, n in counts.items()]
    made = np.concatenate(parts)
    return made * np.exp(RNG.normal(0, 0.1, len(made)))


@pytest.mark.parametrize(
    ("counts", "stands_still"),
    [
        ({"G1": 140}, True),
        ({"G2": 140}, True),
        ({"S": 80, "G2": 70}, True),
        ({"G1": 110, "S": 60, "G2": 30}, False),
        ({"G1": 80, "S": 80, "G2": 40}, False),
        ({"G1": 40, "G2": 40}, False),
        ({"G2": 36}, True),
        ({"G1": 20, "S": 8, "G2": 8}, False),
        ({"G2": 15}, False),
        ({"G1": 27, "S": 1, "G2": 2}, False),
        ({"G1": 570, "S": 30}, True),
    ],
)
def test_a_culture_that_stands_still_is_told_from_one_that_grows(counts, stands_still):
    assert fit_g1_peak(histogram(**counts)).is_arrested == stands_still


def test_growing_fields_of_unlike_exposures_do_not_seem_to_stand_still():
    rng, humps = (
        np.random.default_rng(2),
        [(at * light, n) for light in (1, 0.3) for at, n in ((10, 180), (20, 90), (15, 30))],
    )
    dna = np.concatenate([rng.normal(at, 0.07 * at, n) for at, n in humps])
    peak = fit_g1_peak(dna)
    assert peak.fractions["outliers"] > 0.5 and not peak.is_usable and not peak.is_arrested


@pytest.fixture(scope="module")
def arrested():
    """A field of nuclei that all stand in G2."""
    with pytest.MonkeyPatch.context() as patch:
        draw = images.draw_cell
        patch.setattr(images, "draw_cell", lambda rng, parameters, phase=None: draw(rng, parameters, "G2"))
        return simulate_field((760, 760), 120, seed=10)


@pytest.mark.slow
@pytest.mark.parametrize("is_known", [False, True])
def test_an_arrested_culture_gets_no_phase_and_says_why(arrested, is_known, found_once):
    size_um = arrested.pixel_size_um if is_known else None
    table = predict(Plane((arrested.image / 65535).astype(np.float32), 16, size_um, "arrested"), kind="field")
    assert len(table) > 70 and (table["call"] == "").mean() > 0.95
    assert table["flags"].str.contains(ONE_PEAK).all() and table["review"].str.contains(ONE_PEAK).all()
    assert table["confidence"].notna().sum() == (table["call"] != "").sum()


@pytest.mark.slow
def test_an_arrested_field_that_is_there_twice_gets_no_phase_either(arrested, found_once):
    pixels = (arrested.image / 65535).astype(np.float32)
    table = predict([Plane(pixels, 16, None, f"{folder}/x.tif") for folder in "ab"], kind="field")
    assert table["flags"].str.contains(f"{ONE_PEAK};same_field|same_field;{ONE_PEAK}").all()
    assert (table["call"] == "").mean() > 0.9


@pytest.mark.slow
def test_an_arrested_culture_is_recognised_over_many_fields(arrested):
    pixels = (arrested.image / 65535).astype(np.float32)
    parts = [Plane(np.ascontiguousarray(part), 16, None, f"well/{k}.tif") for k, part in enumerate(np.split(pixels, 2))]
    table = predict(parts, kind="field")
    assert table["flags"].str.contains(ONE_PEAK).all() and (table["call"] == "").mean() > 0.9
    # As one slide, too, of which each tile holds too few to tell.
    tiles = [tile for part in np.split(pixels, 4) for tile in np.split(part, 4, axis=1)]
    tiles = [Plane(np.ascontiguousarray(tile), 16, None, f"slide/{k}.tif") for k, tile in enumerate(tiles)]
    whole = predict(tiles, kind="field", is_slide=True)
    assert whole["flags"].str.contains(ONE_PEAK).all() and (whole["call"] == "").mean() > 0.9


def test_fields_are_taken_for_a_growing_culture_and_crops_for_nothing():
    assert (prior_of("auto", "field", None), prior_of("auto", "nucleus", None)) == ("culture", "equal")
    assert (prior_of("slide", "field", Anchor(2.0)), prior_of("slide", "field", None)) == ("slide", "culture")
    # The DNA of one crop is no histogram.
    assert prior_of("slide", "nucleus", Anchor(2.0)) == "equal"
    nuclei = Nuclei("field", {"integrated_dna": histogram(G1=160, G2=40), "flags": [""] * 200}, None, 1.0, True)
    assert weights_of("equal", PHASES, nuclei, None) is None
    assert weights_of("culture", ("Interphase", "Metaphase"), nuclei, None) is None
    culture, slide = (weights_of(prior, PHASES, nuclei, Anchor(2.0)) for prior in ("culture", "slide"))
    for weights in (culture, slide):
        assert weights.sum() == pytest.approx(1) and weights[3] == pytest.approx(0.04)
    assert culture[0] == culture[1] == culture[2]
    # As by 160, 0 and 40 nuclei and 100 of even shares.
    assert slide[:3] == pytest.approx(0.96 * np.array([193, 33, 73]) / 300, abs=0.03)
    few = weights_of("slide", PHASES, nuclei, Anchor(2.0, n_by_dna=(9, 0, 0)))
    assert few[:3] == pytest.approx(0.96 * np.array([42.3, 33.3, 33.3]) / 109, abs=1e-3)


def test_phases_are_weighed_and_left_open_with_other_classes_beside_them():
    classes = ("debris", "G1", "S", "G2", "M")
    weights = weights_of("culture", classes, None, None)
    assert weights.tolist() == [0.25, *weights_of("culture", PHASES, None, None)]
    # Of 20 cells a third and more are mitoses; debris is no cell.
    given = columns(["M"] * 10 + ["G1"] * 10 + ["debris"] * 40, p_debris=np.repeat([0.0, 0.95], [20, 40]))
    assert set(left_open(given, "culture", "", weights, classes)["call"]) == {"", "debris"}
    still = left_open(given, "culture", ONE_PEAK, weights, classes)["call"]
    assert still.tolist() == [""] * 20 + ["debris"] * 40


def test_a_prior_that_weighs_no_class_of_a_model_is_refused():
    for prior in ("culture", "slide"):
        with pytest.raises(SettingError, match="weighs G1, S, G2, M, but mitocheck lacks some"):
            Predictor("mitocheck", Settings(prior=prior))
    assert Predictor("mitocheck", Settings(prior="equal")) and Predictor("mitocheck")


def test_a_prior_that_is_unknown_is_refused():
    with pytest.raises(SettingError, match="prior"):
        predict(np.zeros((64, 64), np.float32), prior="flat")


def test_of_more_mitoses_than_a_culture_has_the_surest_stay():
    p_mitosis = np.linspace(0.6, 0.99, 50)
    names = np.where(np.arange(50) % 4 == 3, "M", "G1")
    others = {f"p_{phase}": (1 - p_mitosis) / 3 for phase in PHASES[:3]}
    given = others | {
        "call": names,
        "p_M": np.where(names == "M", p_mitosis, 0.001),
        "flags": [""] * 50,
        "confidence": p_mitosis,
        "prediction_set": ["M"] * 50,
        "review": [""] * 50,
    }
    made = left_open(dict(given), "culture", "", WEIGHTS)
    left = np.flatnonzero(made["call"] == "M")
    assert left.tolist() == [35, 39, 43, 47]
    out = np.flatnonzero(made["call"] == "")
    assert len(out) == 8 and {made["review"][k] for k in out} == {MANY_MITOSES}
    assert np.isnan(made["confidence"][out]).all() and {made["prediction_set"][k] for k in out} == {""}
    assert (left_open(dict(given), "slide", "", WEIGHTS)["call"] == made["call"]).all()
    assert (left_open(dict(given), "equal", "")["call"] == names).all()
    # A piece that the border left of a nucleus is no evidence for a mitosis as long as there are whole ones.
    cut = left_open(given | {"flags": [""] * 47 + ["edge;scale_unknown"] * 3}, "culture", "", WEIGHTS)
    assert np.flatnonzero(cut["call"] == "M").tolist() == [31, 35, 39, 43]
    alone = columns(["M"], flags=["edge"])
    assert left_open(alone, "culture", "", WEIGHTS)["call"].tolist() == ["M"]


WEIGHTS = np.array([0.32, 0.32, 0.32, 0.04])


def columns(calls, **scores):
    """Return columns of calls that are sure, or with the `scores` (weighed) of some."""
    calls = np.array(calls)
    made = {f"p_{phase}": np.where(calls == phase, 0.91, 0.03) for phase in PHASES}
    made |= {"confidence": np.full(len(calls), 0.9), "prediction_set": [*calls], "review": [""] * len(calls)}
    return made | {"call": calls, "flags": [""] * len(calls)} | scores


@pytest.mark.parametrize(
    ("n_mitoses", "n_others", "prior", "n_left"),
    [
        (20, 20, "culture", 0),
        (20, 20, "slide", 0),
        (20, 20, "equal", 40),
        (12, 28, "culture", 28 + 3),
        (4, 4, "culture", 4 + 1),
        (1, 0, "culture", 1),
    ],
)
def test_a_culture_arrested_in_mitosis_gets_no_phase(n_mitoses, n_others, prior, n_left):
    made = left_open(columns(["M"] * n_mitoses + ["G2"] * n_others), prior, "", WEIGHTS)
    assert np.count_nonzero(made["call"]) == n_left


@pytest.mark.parametrize(("n_alike", "n_left", "n_doubted"), [(10, 30 + 3, 10), (20, 0, 0)])
def test_what_is_a_mitosis_but_for_the_prior_goes_to_review_where_there_are_many(n_alike, n_left, n_doubted):
    given = columns(["M"] * 10 + ["G2"] * 30)
    alike = np.arange(10, 10 + n_alike)
    for name, score in (("p_G1", 0.05), ("p_S", 0.05), ("p_G2", 0.6), ("p_M", 0.3)):
        given[name][alike] = score
    made = left_open(given, "culture", "", WEIGHTS)
    assert np.count_nonzero(made["call"]) == n_left
    assert sum(MANY_MITOSES in made["review"][k] and made["call"][k] == "G2" for k in alike) == n_doubted
    few = left_open(columns(["M"] * 2 + ["G2"] * 38), "culture", "", WEIGHTS)
    assert not any(few["review"])


@pytest.mark.parametrize(("prior", "left"), [("culture", set()), ("slide", set()), ("equal", {"M"})])
def test_one_peak_leaves_the_phases_open_under_every_prior(prior, left):
    made = left_open(columns(["G1", "S", "G2", "M"] * 5), prior, f"scale_unknown;{ONE_PEAK}", WEIGHTS)
    assert set(made["call"]) - {""} == left


@pytest.mark.slow
def test_an_equal_prior_does_not_call_an_arrested_culture(arrested, found_once):
    pixels = (arrested.image / 65535).astype(np.float32)
    table = predict(Plane(pixels, 16, arrested.pixel_size_um, "arrested"), kind="field", prior="equal")
    assert not table["call"].isin(["G1", "S", "G2"]).any() and table["review"].str.contains(ONE_PEAK).all()


@pytest.mark.slow
def test_a_field_under_an_equal_prior_keeps_what_the_model_says(found_once):
    field = simulate_field((320, 320), 30, seed=3)
    pixels = (field.image / 65535).astype(np.float32)
    equal, culture = (predict(pixels, kind="field", prior=prior) for prior in ("equal", "culture"))
    called = equal["p_M"].notna()
    assert called.mean() > 0.9 and (called == culture["p_M"].notna()).all()
    assert (culture["p_M"] <= equal["p_M"] + 1e-9)[called].all() and culture["p_M"].sum() < equal["p_M"].sum()
    interphase = ["p_G1", "p_S", "p_G2"]
    shares = [t[interphase].div(t[interphase].sum(axis=1), axis=0) for t in (equal, culture)]
    np.testing.assert_allclose(shares[0], shares[1], atol=1e-6)

"""The report of an experiment: its numbers, its intervals, its page, and that it finds what was done to a plate."""

import base64
import errno
import html
import io
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image
from scipy.stats import binomtest

from benchmarks import intervals as simulated
from benchmarks import plates
from cellcycle import cli
from cellcycle.errors import DataError, SettingError
from cellcycle.images import write_image
from cellcycle.metrics import wilson
from cellcycle.phases import PHASES, S_BY_DNA
from cellcycle.plots.style import new_figure
from cellcycle.predict.priors import MANY_MITOSES
from cellcycle.predict.table import as_frame, full_columns
from cellcycle.report import figures, intervals, read_experiment, write_report
from cellcycle.report.intervals import scatter_of, scatter_within
from cellcycle.report.numbers import Experiment, _holm, all_numbers, without_prior
from cellcycle.report.parts import is_certain, share
from cellcycle.report.shares import BY_DNA, estimated_shares, samples_of, with_likelihoods
from cellcycle.report.summary import _on_other_plates, summary
from cellcycle.simulation import SimulationParameters
from cellcycle.simulation.plate import Well, expected_shares
from tests.app_states import launch

SCORES = [f"p_{phase}" for phase in PHASES]
# Of 100 nuclei of a phase in a row, so many are called each.
MISTAKES = np.array([[80, 20, 0, 0], [25, 55, 20, 0], [0, 20, 80, 0], [0, 0, 5, 95]]) / 100


def nuclei_of(shares, n=200, seed=0, wells=("A01",), condition="", dose=np.nan, prior="equal", **more) -> pd.DataFrame:
    """Return rows of a prediction table with known shares, called as `MISTAKES` say."""
    rng = np.random.default_rng(seed)
    tables = []
    for k, well in enumerate(wells):
        own = np.atleast_2d(shares)[k % len(np.atleast_2d(shares))]
        truth = rng.choice(4, n, p=own)
        calls = (rng.random(n)[:, np.newaxis] >= MISTAKES.cumsum(axis=1)[truth]).sum(axis=1).clip(max=3)
        # The probability of each phase under equal shares, given the call.
        likely = MISTAKES[:, calls].T + 1e-4
        scores = likely / likely.sum(axis=1, keepdims=True)
        values = {f"p_{phase}": scores[:, j] for j, phase in enumerate(PHASES)}
        copies = 2 + 1.0 * truth.clip(0, 2)
        for sides, axis in ((("top", "bottom"), "y"), (("left", "right"), "x")):
            middle = np.floor(more.get(f"centroid_{axis}_px", 20.0))
            values |= {f"bbox_{sides[0]}_px": np.maximum(middle - 10, 0), f"bbox_{sides[1]}_px": middle + 10}
        values |= {"image": f"{well}_s1.tif", "nucleus_id": np.arange(n) + 1.0, "call": np.array(PHASES)[calls]}
        values |= {"centroid_y_px": 20.0, "centroid_x_px": 20.0, "edge_width_px": 4.0, "pixel_size_um": 0.3}
        values |= {"integrated_dna": 5 * copies, "dna_copies": copies, "confidence": scores.max(axis=1)}
        values |= {"area_px": 100.0 + truth + seed}
        values |= {
            "kind": "field",
            "model": "best",
            "version": "1",
            "prior": prior,
            "group": "p",
            "plate": "p",
            "well": well,
        }
        values |= {"condition": condition, "dose": dose} | more
        tables.append(as_frame(full_columns(values, PHASES, n)))
    return pd.concat(tables, ignore_index=True)


CONTROL, ARREST = [0.5, 0.3, 0.15, 0.05], [0.8, 0.1, 0.08, 0.02]
ONE_PLACE = {"place": "", "replicate": "", "unit": ""}
CULTURE = "culture 0.32 0.32 0.32 0.04"


def write_plate(file):
    """Write the table of a plate with a control, one drug at two doses, and an empty well; return its file."""
    empty = {
        "image": "C01_s1.tif",
        "flags": "no_nucleus",
        "kind": "field",
        "well": "C01",
        "plate": "p",
        "condition": "DMSO",
    }
    rows = [
        nuclei_of(CONTROL, wells=("A01", "A02", "A03"), condition="DMSO", dose=0.0),
        nuclei_of(CONTROL, seed=1, wells=("B01", "B02"), condition="drug", dose=0.1),
        nuclei_of(ARREST, seed=2, wells=("B03", "B04"), condition="drug", dose=10.0),
        as_frame(full_columns(empty | {"condition": "DMSO", "dose": 0.0}, PHASES, 1)),
    ]
    pd.concat(rows).to_csv(file, index=False)
    return file


@pytest.fixture
def plate(tmp_path):
    """Return the file of `write_plate`."""
    return write_plate(tmp_path / "plate.csv")


@pytest.mark.slow
def test_estimated_shares_take_out_the_mistakes_that_probabilities_admit():
    for shares in (CONTROL, ARREST, [0.1, 0.8, 0.05, 0.05]):
        table = nuclei_of(shares, n=4000)
        counted = table["call"].value_counts(normalize=True).reindex(PHASES).to_numpy()
        (estimated,) = estimated_shares(table[SCORES].to_numpy(), np.ones((1, len(table))))
        np.testing.assert_allclose(estimated, shares, atol=0.05)
        assert np.abs(estimated - shares).max() < np.abs(counted - shares).max()


def unsure(shares, n: int, seed: int) -> np.ndarray:
    """Return probabilities (N, 4) of nuclei of which G1, S and G2 are hardly told apart."""
    rng = np.random.default_rng(seed)
    likely = np.array([[70, 25, 5, 0], [30, 40, 29, 1], [5, 25, 69, 1], [0, 1, 9, 90]]).T / 100 + 1e-4
    of_calls = likely / likely.sum(axis=1, keepdims=True)
    return of_calls[rng.choice(4, n, p=likely @ shares / (likely @ shares).sum())]


@pytest.mark.parametrize("n", [1, 300, 5000])
def test_estimated_shares_are_the_likeliest_also_where_probabilities_are_unsure(n):
    """At the likeliest no class has a slope upwards, and those that are there have none."""
    scores = np.random.default_rng(0).dirichlet([1, 1, 1, 0.1], 50) if n == 300 else unsure([0.6, 0, 0.36, 0.04], n, 0)
    times = np.random.default_rng(1).multinomial(n, np.full(len(scores), 1 / len(scores)), 100)
    shares = estimated_shares(scores, times.astype(float))
    slopes = (times / (shares @ scores.T)) @ scores / n - 1
    assert slopes.max() < 1e-6 and np.abs(slopes * shares).max() < 1e-6
    assert estimated_shares(np.full((1, 4), 0.25), np.ones((1, 1))).tolist() == [[0.25] * 4]


def test_an_interval_over_wells_reaches_as_high_as_one_over_their_nuclei():
    scores = unsure([0.6, 0.03, 0.33, 0.04], 300, 2)
    rows = pd.DataFrame({f"l_{phase}": scores[:, k] for k, phase in enumerate(PHASES)})
    rows = rows.assign(call=np.array(PHASES)[scores.argmax(1)], **ONE_PLACE | {"unit": np.arange(300) % 3}, image="")
    found = samples_of(rows, PHASES, 0, 200)
    assert found.value["estimated"][1] < 0.01
    over_wells, over_nuclei = (found.interval("estimated", scatter=of)[1] for of in (scatter_of([found]), None))
    assert over_wells.high >= over_nuclei.high > 0.1


def test_the_prior_of_the_calls_is_taken_out_of_the_shares():
    table, weights = nuclei_of(CONTROL), np.array([0.32, 0.32, 0.32, 0.04])
    scores = table[SCORES].to_numpy() * weights
    weighed = table.assign(**dict(zip(SCORES, (scores / scores.sum(axis=1, keepdims=True)).T, strict=True)))
    likely = without_prior(weighed.assign(prior="culture 0.32 0.32 0.32 0.04"))
    np.testing.assert_allclose(likely[[f"l_{phase}" for phase in PHASES]], table[SCORES])
    with pytest.raises(DataError, match="not as it was written"):
        without_prior(weighed.assign(prior="culture 0.32"))


def test_probabilities_in_another_order_than_the_weights_of_their_prior_are_refused(tmp_path):
    table = nuclei_of(CONTROL, 20, prior=CULTURE)
    table[sorted(table)].to_csv(tmp_path / "sorted.csv", index=False)
    with pytest.raises(DataError, match="prior: its weights are not those of G1, G2, M, S: the columns"):
        read_experiment(tmp_path / "sorted.csv")
    # Any other order of columns is none of the probabilities', nor has an equal prior any.
    table[sorted(set(table) - set(SCORES)) + SCORES].to_csv(tmp_path / "sorted.csv", index=False)
    assert read_experiment(tmp_path / "sorted.csv").table["l_M"].equals(without_prior(table)["l_M"])
    nuclei_of(CONTROL, 20)[sorted(table)].to_csv(tmp_path / "sorted.csv", index=False)
    assert read_experiment(tmp_path / "sorted.csv").classes == ("G1", "G2", "M", "S")


def test_images_of_one_name_in_two_folders_are_two_arms_and_any_name_is_put_in_order(tmp_path):
    table = pd.concat([nuclei_of([0.4, 0.3, 0.2, 0.1], 20, well=""), nuclei_of([0.1, 0.2, 0.3, 0.4], 20, well="")])
    table["image"] = np.repeat(["day1/f.tif", "day2/f.tif"], 20)
    table.to_csv(tmp_path / "t.csv", index=False)
    assert read_experiment([tmp_path / "t.csv"]).arms == ["day1/f.tif", "day2/f.tif"]
    table["condition"] = np.repeat(["10⁵ cells", "dose 9"], 20)
    table.to_csv(tmp_path / "t.csv", index=False)
    assert read_experiment(str(tmp_path / "t.csv")).arms == ["10⁵ cells", "dose 9"]


@pytest.mark.slow
def test_doses_and_conditions_that_nearly_share_a_name_are_not_mixed(tmp_path):
    parts = [nuclei_of(CONTROL, 9, seed=k, condition="drug", dose=d) for k, d in enumerate((1e6, 1000001, np.nan))]
    table = pd.concat([part.assign(image=f"{k}.tif") for k, part in enumerate(parts)])
    table.to_csv(tmp_path / "t.csv", index=False)
    assert read_experiment([tmp_path / "t.csv"]).arms == ["drug, no dose", "drug 1e+06", "drug 1000001.0"]
    table["condition"] = np.repeat(["drug", "drug", "drug 1e+06"], 9)
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="'drug 1e\\+06' is a condition, and also a dose of 'drug'"):
        read_experiment([tmp_path / "t.csv"])


def test_a_control_of_one_name_is_that_arm_and_an_empty_dose_beside_another_is_one(tmp_path):
    doses = {"drug": (np.nan, 10.0), "DMSO": (np.nan, 0.0)}
    parts = [nuclei_of(CONTROL, 20, condition=drug, dose=dose) for drug, of in doses.items() for dose in of]
    pd.concat([p.assign(image=f"{k}.tif") for k, p in enumerate(parts)]).to_csv(tmp_path / "t.csv", index=False)
    experiment = read_experiment([tmp_path / "t.csv"], "drug, no dose")
    assert experiment.arms == ["drug, no dose", "DMSO", "drug 10"]
    numbers = all_numbers(experiment, 20)
    assert set(numbers.loc[numbers["table"] == "counted, minus control", "condition"]) == {"DMSO", "drug"}


def test_plates_that_one_table_spells_as_numbers_are_apart_by_their_folders(tmp_path):
    for k, (name, plate) in enumerate((("a", "1"), ("b", "1.0"))):
        rows = nuclei_of(CONTROL, 10, k, condition="drug").assign(plate=plate, image=f"{tmp_path}/{name}/A01_s1.tif")
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    together = read_experiment([tmp_path / "a.csv", tmp_path / "b.csv"]).table
    assert together["unit"].nunique() == 2


@pytest.mark.slow
def test_a_well_of_two_times_counts_for_each_and_what_is_pooled_is_told(tmp_path):
    fields = [(CONTROL, "0h", "HeLa"), (CONTROL, "0h", "RPE1"), (ARREST, "24h", "RPE1")]
    parts = [
        nuclei_of(shares, 40, seed=k, condition=time, cell_line=line).assign(image=f"A01_s{k}.tif")
        for k, (shares, time, line) in enumerate(fields)
    ]
    pd.concat(parts).to_csv(tmp_path / "t.csv", index=False)
    experiment = read_experiment([tmp_path / "t.csv"], "0h")
    numbers = all_numbers(experiment, 20)
    wells = numbers[(numbers["table"] == "wells") & (numbers["quantity"] == "found")]
    assert dict(zip(wells["unit"], wells["value"], strict=True)) == {"A01 (0h)": 80, "A01 (24h)": 40}
    write_report(tmp_path / "r.html", experiment, [tmp_path / "t.csv"])
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "wells of several conditions" in page and "cell line differs within 0h" in page
    assert "counts again" not in page


TIMES = [
    {"image": ["A01_s1.tif"] * 2, "planes": ["t 0", "t 1"]},
    {"image": ["TimePoint_1/A01_s1.tif", "TimePoint_2/A01_s1.tif"]},
    {"image": ["A01_T0001F001L01A01Z01C01.tif", "A01_T0012F001L01A01Z01C01.tif"]},
    {"image": ["r01c01f01p01-ch1sk1fk1fl1.tiff", "r01c01f01p01-ch1sk2fk1fl1.tiff"]},
    {"image": ["A1_1_2020y01m02d_03h04m.tif", "A1_1_2020y01m02d_05h04m.tif"]},
    {"image": ["x.tif", "y.tif"], "flags": ["same_field"] * 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("said", TIMES, ids=lambda said: said["image"][1])
def test_cells_that_count_anew_at_each_time_of_a_condition_are_told(tmp_path, said):
    def told(condition):
        parts = [nuclei_of(CONTROL, 40, seed=k, condition=condition.format(k), dna_copies=np.nan,
                           **{name: values[k] for name, values in said.items()}) for k in (0, 1)]  # fmt: skip
        pd.concat(parts).to_csv(tmp_path / "t.csv", index=False)
        experiment = read_experiment([tmp_path / "t.csv"])
        return "so intervals are too narrow, in A01" in summary(all_numbers(experiment, 2), experiment)

    assert told("drug")
    assert "flags" in said or not told("drug {}h")


@pytest.mark.slow
def test_plates_of_one_name_in_two_tables_are_two(tmp_path):
    files = []
    for k, day in enumerate(("day1", "day2")):
        table = nuclei_of(CONTROL, 20, k, wells=("A01",), condition="DMSO", plate="plate", group="plate")
        files.append(tmp_path / f"{day}.csv")
        table.assign(image=f"{day}/plate/A01.tif").to_csv(files[-1], index=False)
    experiment = read_experiment(files)
    assert set(experiment.table["unit"]) == {"plate (day1, 1) A01", "plate (day2, 2) A01"}
    assert experiment.table["group"].nunique() == 2
    # Parts of one plate, predicted one after the other, are of one folder, however it is spelled.
    part = pd.read_csv(files[1], keep_default_na=False)
    part.assign(image="./day1/plate/A01_s2.tif").to_csv(files[1], index=False)
    assert set(read_experiment(files).table["unit"]) == {"A01"}
    # No plate may be named, either.
    for file in files:
        pd.read_csv(file, keep_default_na=False).assign(plate="").to_csv(file, index=False)
    assert set(read_experiment(files).table["unit"]) == {"A01"}
    part.assign(plate="").to_csv(files[1], index=False)
    assert set(read_experiment(files).table["unit"]) == {"unnamed (day1, 1) A01", "unnamed (day2, 2) A01"}


def test_a_plate_that_was_predicted_in_parts_is_one_also_beside_another_of_its_name(tmp_path):
    def units(*parts, plate="plate"):
        files = []
        for k, (folder, well) in enumerate(parts):
            table = nuclei_of(CONTROL, 10, k, wells=(well,), condition="DMSO", plate=plate)
            files.append(tmp_path / f"t{k}.csv")
            table.assign(image=f"{folder}/s{k}.tif").to_csv(files[-1], index=False)
        return list(dict.fromkeys(read_experiment(files).table["unit"]))

    assert units(("a", "A01"), ("a", "A01"), ("b", "A01")) == ["plate (t0, 1) A01", "plate (t2, 3) A01"]
    # Folder by folder: no well stands in two tables.
    assert units(("w/A01", "A01"), ("w/A02", "A02"), ("w/A03", "A03"), plate="") == ["A01", "A02", "A03"]


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("dose", "0,1", "dose of row 3 is '0,1'"),
        ("dose", "-6", "the dose -6 is not an amount"),
        ("dose", "inf", "dose"),
        ("call", "g1", "the call of row 3 is 'g1', not one of G1, S, G2, M"),
        ("condition", "Drug", "'drug' and 'Drug' differ only by capitals, blanks or the like"),
        ("condition", "", "A01_s1.tif has the condition drug in one row, and none in another; give it one"),
        ("dose", "10", "A01_s1.tif has the dose 1.0 in one row, and 10.0 in another"),
        ("well", "A02", "A01_s1.tif has the well A01 in one row, and A02 in another"),
        ("dna_copies", None, "no column dna_copies"),
        ("edge_width_px", None, "no column edge_width_px"),
        ("prior", None, "no column prior"),
        ("p_S", "", "row 3 has no probabilities that add up to 1 .*p_S nan"),
        ("p_S", "2.5", "row 3 has no probabilities that add up to 1 .*p_S 2.5"),
        ("p_M", "-1", "row 3 has no probabilities that add up to 1 .*p_M -1"),
        ("nucleus_id", "", "row 3 does not say where its nucleus lies"),
        ("image", "", "row 3 does not say where its nucleus lies"),
        # As where 20.455 is taken for 20,455.
        ("centroid_x_px", "20455", "row 3 does not say where its nucleus lies"),
    ],
)
def test_a_table_that_was_changed_by_hand_is_not_misread(tmp_path, name, text, finding):
    table = nuclei_of([0.4, 0.3, 0.2, 0.1], 20, condition="drug", dose=1.0).astype({name: object})
    if text is None:
        table = table.drop(columns=name)
    else:
        table.loc[2, name] = text
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=finding):
        read_experiment([tmp_path / "t.csv"])


def test_a_version_that_pandas_wrote_as_a_fraction_is_that_version(tmp_path):
    for name, version in (("A01", "1"), ("B01", "1.0")):
        nuclei_of(CONTROL, 20, wells=(name,)).assign(version=version).to_csv(tmp_path / f"{name}.csv", index=False)
    assert set(read_experiment([tmp_path / "A01.csv", tmp_path / "B01.csv"]).table["version"]) == {"1"}


@pytest.mark.slow
def test_columns_are_known_whatever_their_capitals_and_blanks(tmp_path):
    table = nuclei_of([0.4, 0.3, 0.2, 0.1], 20, condition="1 µM, drug", dose=0.5)
    table.to_csv(tmp_path / "t.csv", index=False)
    names = {"condition": " Condition", "dose": "DOSE", "well": "Well", "nucleus_id": "Nucleus ID"}
    table.rename(columns=names).to_csv(tmp_path / "t2.csv", index=False, sep=";", decimal=",")
    one, other = (read_experiment([tmp_path / name]).table for name in ("t.csv", "t2.csv"))
    pd.testing.assert_frame_equal(one, other)
    undivided = (tmp_path / "t.csv").read_text(encoding="utf-8").replace("\n", ";;\r\n")
    (tmp_path / "t2.csv").write_text(undivided, encoding="utf-8", newline="")
    pd.testing.assert_frame_equal(one, read_experiment([tmp_path / "t2.csv"]).table)
    for twin in ("Dose", "dose"):
        table.assign(twin=2.0).rename(columns={"twin": twin}).to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(DataError, match=r"its columns dose and (Dose|dose.1) have one name"):
            read_experiment([tmp_path / "t.csv"])


@pytest.mark.slow
def test_calls_that_were_changed_or_sorted_by_themselves_are_told(tmp_path):
    table = nuclei_of(CONTROL, 40, condition="drug")
    for changed in (False, True):
        if changed:
            table.loc[2, "call"] = "M" if table.loc[2, "call"] != "M" else "G1"
        table.to_csv(tmp_path / "t.csv", index=False)
        experiment = read_experiment([tmp_path / "t.csv"])
        told = summary(all_numbers(experiment, 2), experiment)
        assert ("calls are not the most probable phase of their row" in told) == changed


def test_a_table_as_long_as_a_sheet_may_have_lost_its_end(tmp_path, monkeypatch):
    nuclei_of(CONTROL, 20, condition="drug").to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.setattr("cellcycle.review.table._MOST_LINES", 21)
    with pytest.raises(DataError, match="it has 21 lines, as many as a spreadsheet holds"):
        read_experiment([tmp_path / "t.csv"])


def test_a_table_without_a_nucleus_is_read_beside_others_and_refused_alone(tmp_path):
    nuclei_of(CONTROL, 20, condition="DMSO").to_csv(tmp_path / "a.csv", index=False)
    empty = {"image": "C01_s1.tif", "flags": "no_nucleus", "kind": "field", "well": "C01", "condition": "DMSO"}
    as_frame(full_columns(empty, PHASES, 1)).to_csv(tmp_path / "b.csv", index=False)
    assert len(read_experiment([tmp_path / "a.csv", tmp_path / "b.csv"]).nuclei) == 20
    with pytest.raises(DataError, match=r"none of its rows holds a nucleus \(1 no nucleus\)"):
        read_experiment([tmp_path / "b.csv"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_a_table_is_read_as_a_spreadsheet_of_decimal_commas_saves_it(tmp_path, encoding, separator):
    table = nuclei_of([0.4, 0.3, 0.2, 0.1], 20, condition="1 µM, drug", dose=0.5)
    table.to_csv(tmp_path / "t.csv", index=False)
    text = table.to_csv(index=False, sep=separator, decimal=",", lineterminator="\r\n")
    (tmp_path / "t2.csv").write_bytes(text.encode(encoding))
    one, other = (read_experiment([tmp_path / name]).table for name in ("t.csv", "t2.csv"))
    pd.testing.assert_frame_equal(one, other)
    assert other["condition"].str.fullmatch("1 .M, drug").all() and set(other["dose"]) == {0.5}


def test_a_comma_of_thousands_is_not_read_as_that_of_a_fraction(tmp_path):
    table = nuclei_of(CONTROL, 20).astype({"nucleus_id": object})
    table.loc[2, "nucleus_id"] = "1,210"
    table.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    with pytest.raises(DataError, match="nucleus_id of row 3 is '1,210'"):
        read_experiment([tmp_path / "t.tsv"])


def test_a_mark_of_thousands_is_not_read_as_that_of_decimals_where_these_are_commas(tmp_path):
    table = nuclei_of(CONTROL, 20, condition="drug", dose=1000.0)
    text = table.to_csv(index=False, sep=";", decimal=",")
    (tmp_path / "t.csv").write_text(text.replace(";1000,0", ";1.000"), encoding="utf-8")
    with pytest.raises(DataError, match=r"dose of row 1 is '1.000', and commas mark decimals elsewhere"):
        read_experiment([tmp_path / "t.csv"])


def test_a_column_of_a_map_that_one_of_several_tables_has_is_empty_in_the_others(tmp_path):
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    nuclei_of(CONTROL, 20, slide="s1", time="1").to_csv(files[0], index=False)
    nuclei_of(CONTROL, 20, 1, ("B01",), plate="", group="").to_csv(files[1], index=False)
    table = read_experiment(files).table
    assert table[["slide", "time"]].drop_duplicates().to_numpy().tolist() == [["s1", "1"], ["", ""]]


@pytest.mark.parametrize(("spoilt", "remedy"), [("DMSO", "name another control"), ("DMSO|drug", "no condition has")])
def test_a_control_without_nuclei_is_told_from_a_table_without_any(tmp_path, spoilt, remedy):
    parts = [nuclei_of(CONTROL, 10, k, (f"A0{k + 1}",), name) for k, name in enumerate(("DMSO", "drug"))]
    table = pd.concat(parts)
    table["flags"] = np.where(table["condition"].str.fullmatch(spoilt), "clump", "")
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=f"the control has no nucleus that can be counted; {remedy}"):
        all_numbers(read_experiment([tmp_path / "t.csv"], "DMSO"), 20)


def test_rows_that_a_spreadsheet_left_empty_are_no_images(tmp_path):
    text = nuclei_of(CONTROL, 20, condition="drug").to_csv(index=False)
    rows = text.splitlines()
    empty = "," * rows[0].count(",")
    (tmp_path / "t.csv").write_text("\n".join([*rows[:5], empty, *rows[5:], empty, empty, ""]), encoding="utf-8")
    experiment = read_experiment([tmp_path / "t.csv"])
    assert experiment.arms == ["drug"] and len(experiment.table) == 20


def test_a_table_whose_end_is_cut_off_is_refused_and_one_without_its_last_line_break_is_not(tmp_path):
    text = nuclei_of(CONTROL, 20, condition="drug").to_csv(index=False)
    for end in (1, 2):
        (tmp_path / "t.csv").write_text(text.rstrip("\n") + "\n" * (2 - end), encoding="utf-8")
        assert len(read_experiment([tmp_path / "t.csv"]).nuclei) == 20
    (tmp_path / "t.csv").write_text(text[:-40], encoding="utf-8")
    with pytest.raises(DataError, match="its last row is cut off; copy the whole file"):
        read_experiment([tmp_path / "t.csv"])


def test_long_names_above_histograms_do_not_stand_on_each_other(tmp_path):
    names = ("DMSO", "Palbociclib hydrochloride 1 uM", "Nutlin-3a 10 uM 24 h", "nocodazole 100 ng")
    pd.concat([nuclei_of(CONTROL, 20, k, (f"A0{k + 1}",), name) for k, name in enumerate(names)]).to_csv(
        tmp_path / "t.csv", index=False
    )
    figure = figures.histograms(read_experiment([tmp_path / "t.csv"]))
    FigureCanvasAgg(figure).draw()
    titles = sorted((text.get_window_extent().extents for text in figure.findobj(Text) if "(n =" in text.get_text()),
                    key=tuple)  # fmt: skip
    assert len(titles) == 4 and all(right[0] > left[2] for left, right in pairwise(titles))


@pytest.mark.slow
@pytest.mark.parametrize(
    "doses",
    [[0.1, 1000.0], list(10.0 ** np.linspace(-9, -5, 10)), [2.0**k for k in range(-3, 4)], [1, 1.02, 1.04], [0.1]],
)
def test_doses_below_a_panel_do_not_stand_on_each_other(tmp_path, doses):
    parts = [nuclei_of(CONTROL, 5, k, (f"A{k + 1:02d}",), "drug", dose=dose) for k, dose in enumerate([0.0, *doses])]
    # Without a dose 0, of its own or the control's, none is named.
    for tables in (parts, parts[1:]) if len(doses) > 1 else (parts,):
        pd.concat(tables).to_csv(tmp_path / "t.csv", index=False)
        experiment = read_experiment([tmp_path / "t.csv"])
        figure = figures.dose_response(all_numbers(experiment, 0), experiment)
        FigureCanvasAgg(figure).draw()
        names = [text for text in figure.axes[0].get_xticklabels() if text.get_text()]
        at = sorted(tuple(text.get_window_extent().extents) for text in names)
        assert len(at) == len(tables) and all(right[0] > left[2] for left, right in pairwise(at))
        assert len(doses) != 2 or names[-1].get_text() == "1000"


def test_a_name_in_letters_that_no_font_here_has_is_left_to_the_browser(recwarn):
    for name, is_left in (("Nutlin 10 \u00b5M", False), ("\uf8ff", True)):
        figure, _ = new_figure(2, 1)
        figure.text(0, 0, name)
        assert (b"<text" in figures.svg(figure)) == is_left
    assert not recwarn.list


def test_a_control_that_begins_like_a_formula_is_found(tmp_path):
    parts = [nuclei_of([0.4, 0.3, 0.2, 0.1], 10, wells=(well,), condition=name) for well, name in
             (("A01", "'-dox"), ("A02", "'+dox"))]  # fmt: skip
    pd.concat(parts).to_csv(tmp_path / "t.csv", index=False)
    for control in ("-dox", "'-dox"):
        assert read_experiment([tmp_path / "t.csv"], control).control == "-dox"


@pytest.mark.slow
def test_mitoses_without_a_call_are_estimated_and_not_counted(tmp_path):
    table = nuclei_of([0.4, 0.1, 0.1, 0.4], n=400, dna_copies=np.nan)
    is_open = table["call"].eq("M") & (np.arange(400) % 2 == 0)
    table.loc[is_open, ["call", "review"]] = "", MANY_MITOSES
    table.to_csv(tmp_path / "t.csv", index=False)
    numbers = all_numbers(read_experiment([tmp_path / "t.csv"]), 50).set_index(["table", "quantity"])
    found, n_called = numbers["value"], (table["call"] != "").sum()
    assert numbers.loc[("counted", "M"), "n_nuclei"].item() == n_called
    assert found["counted", "M"] < 0.3 < 0.36 < found["estimated", "M"] < 0.48
    page = tmp_path / "r.html"
    write_report(page, read_experiment([tmp_path / "t.csv"]), [tmp_path / "t.csv"], tmp_path)
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert "--prior equal, in A01" in text
    assert f"400 found; {n_called} counted; {400 - n_called} more estimated, without a call" in text
    assert f"<td>{n_called} of 400</td>" in text


def with_noise(table, ratio=2.0, cv=0.08, seed=3):
    """Return rows whose copies are those of their phase as measured: S anywhere between G1 and a G2 at a ratio."""
    rng = np.random.default_rng(seed)
    position = (table["dna_copies"] - 2) / 2
    is_s = position == 0.5
    position = position.where(~is_s, rng.uniform(0, 1, len(table)))
    return table.assign(dna_copies=2 * (1 + (ratio - 1) * position) * rng.normal(1, cv, len(table)))


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [1.85, 2.0])
def test_fitted_shares_are_those_of_the_dna_whatever_was_called(tmp_path, ratio):
    arms = [
        nuclei_of(s, n=900, seed=k, condition=c, wells=(w,))
        for k, (s, c, w) in enumerate(((CONTROL, "DMSO", "A01"), (ARREST, "drug", "B01")))
    ]
    table = with_noise(pd.concat(arms), ratio)
    # A clump counts as found, not into any share; two images of another slide are too few for a histogram.
    doublets = table.head(100).assign(flags="clump", dna_copies=8.0, nucleus_id=np.arange(100) + 5000.0)
    other = nuclei_of(CONTROL, n=30, condition="other", wells=("C01",), group="q")
    pd.concat([table, doublets, other]).to_csv(tmp_path / "t.csv", index=False)
    found = all_numbers(read_experiment([tmp_path / "t.csv"], "DMSO"), 100)
    fitted = found[found["table"] == "fitted"].set_index(["arm", "quantity"])
    for arm, (g1, s, g2, m) in (("DMSO", CONTROL), ("drug", ARREST)):
        for name, true in zip(BY_DNA, (g1, s, g2 + m), strict=True):
            row = fitted.loc[(arm, name)]
            assert row["value"] == pytest.approx(true, abs=0.05) and row["low"] < row["value"] < row["high"]
        assert fitted.loc[arm, "value"].sum() == pytest.approx(1)
    assert fitted.loc["other", "value"].isna().all()
    differing = found[found["table"] == "fitted, minus control"].set_index(["arm", "quantity"])
    assert differing.loc[("drug", "S"), "high"] < 0


@pytest.mark.slow
def test_the_page_says_where_peaks_are_too_broad_for_a_fitted_share(tmp_path):
    table = with_noise(nuclei_of(CONTROL, n=300, wells=("A01", "B01")))
    table["g1_quality"] = np.where(table["well"] == "A01", 0.5, 0.2)
    table["light"] = np.where(table["well"] == "A01", 0.8, 1.1)
    table.to_csv(tmp_path / "t.csv", index=False)
    write_report(tmp_path / "r.html", read_experiment([tmp_path / "t.csv"]), [tmp_path / "t.csv"])
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "G2 and M fitted" in page and S_BY_DNA in page
    assert "fitted shares of S are no more reliable than counted ones, in B01" in page
    assert "0.80 to 1.10 of its mean, removed from the DNA of 2 images" in page


def test_the_page_says_where_phases_are_told_without_a_peak_of_dna(tmp_path):
    rows = [nuclei_of(CONTROL, wells=("A01", "A02")), nuclei_of(ARREST, wells=("B01",), dna_copies=np.nan)]
    rows.append(nuclei_of(ARREST, wells=("C01",), dna_copies=np.nan, kind="nucleus"))
    pd.concat(rows).to_csv(tmp_path / "table.csv", index=False)
    experiment = read_experiment(tmp_path / "table.csv")
    text = summary(all_numbers(experiment, n_samples=0), experiment)
    assert "no G1 peak was found, so that larger nuclei, also of other cells, may be called G2, in B01<" in text


def test_an_interval_of_wells_that_differ_holds_what_one_of_single_cells_would_not():
    differing = [[0.3, 0.5, 0.15, 0.05], [0.7, 0.1, 0.15, 0.05]]
    table = nuclei_of(differing, n=400, wells=tuple("ABCDEF")).assign(place="", replicate="")
    wells = samples_of(without_prior(table.assign(unit=table["well"])), PHASES, 0, 300)
    by_well = wells.interval("counted", scatter=scatter_of([wells]))[0]
    by_cell = samples_of(without_prior(table.assign(unit="", image="")), PHASES, 0, 300).interval("counted")[0]
    assert by_well.value == by_cell.value
    assert by_well.high - by_well.low > 2 * (by_cell.high - by_cell.low)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 10), (3, 10), (231, 231)])
def test_the_interval_of_a_share_is_wilsons(k, n):
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert [end.item() for end in wilson(np.array([k / n]), n)] == pytest.approx(expected)


def test_a_phase_of_which_no_nucleus_is_there_may_all_the_same_be():
    """Newcombe 1998, table II: 56 of 70 against 48 of 80, and 0 of 10 against 0 of 10, by his method 10."""

    def called(n_g1: int, n: int):
        rows = nuclei_of([[1.0, 0.0, 0.0, 0.0]], n=n, wells=("A",)).assign(**ONE_PLACE, image="")
        rows["call"] = np.where(np.arange(n) < n_g1, "G1", "G2")
        return samples_of(without_prior(rows), PHASES, 0, 300)

    none = called(0, 10)
    assert (none.interval("counted")[0].low, none.interval("counted")[0].high) == pytest.approx((0, 0.2775), abs=1e-4)
    both = none.interval("counted", called(0, 10))[0]
    assert (both.low, both.high) == pytest.approx((-0.2775, 0.2775), abs=1e-4)
    one, other = called(56, 70), called(48, 80)
    assert one._by_number("counted", other)[0][0] == pytest.approx(0.0524, abs=1e-4)
    assert one._by_number("counted", other)[1][0] == pytest.approx(0.3339, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("n_wells", [(1, 6), (2, 2), (4, 4)])
def test_differences_of_wells_that_were_treated_alike_hold_0_as_often_as_they_say(n_wells):
    rng, held = np.random.default_rng(0), []

    def arm(n, seed):
        # The odds of a phase differ from well to well by a third.
        shares = np.array([0.6, 0.2, 0.15, 0.05]) * np.exp(rng.normal(0, 0.3, (n, 4)))
        table = nuclei_of(shares / shares.sum(1, keepdims=True), n=100, seed=seed, wells=tuple("ABCDEF"[:n]))
        return samples_of(without_prior(table.assign(unit=table["well"], place="", replicate="")), PHASES, seed, 60)

    for k in range(40):
        one, other = (arm(n, 2 * k + i) for i, n in enumerate(n_wells))
        found = one.interval("counted", other, scatter_of([one, other]))
        held += [estimate.low <= 0 <= estimate.high for estimate in found]
    assert np.mean(held) > 0.91


def arm_of(rng, sizes, deviation, shares=(0.55, 0.25, 0.16, 0.04), n_plates=1, shared=None, first=0):
    """Return the samples of an arm with wells of so many nuclei, whose calls are sure; they or their plates differ.

    `shared` (n_plates, 4) is what each plate does to all its wells; then wells differ, too. The first plate is `first`.
    """
    plate = np.arange(len(sizes)) % n_plates
    off = rng.normal(0, deviation, (len(sizes), 4))
    off = off + shared[plate] if shared is not None else off if n_plates == 1 else off[plate]
    own = np.array(shares) * np.exp(off)
    truth = np.concatenate([rng.choice(4, n, p=p / p.sum()) for n, p in zip(sizes, own, strict=True)])
    rows = pd.DataFrame({"call": np.array(PHASES)[truth], "unit": np.repeat(np.arange(len(sizes)), sizes)})
    rows["place"] = first + plate[rows["unit"]]
    likely = {f"l_{phase}": (truth == k) * 1.0 for k, phase in enumerate(PHASES)}
    return samples_of(rows.assign(image=rows["unit"], replicate="", **likely), PHASES, 0, 100)


def within_plates(arms):
    return scatter_within(arms, scatter_of(arms))


def widths(found):
    return np.array([one.high - one.low for one in found])


@pytest.mark.parametrize("sizes", [(300,), (300, 3, 3), (20, 20, 20), (3,) * 9])
def test_the_interval_of_a_condition_is_of_its_own_wells_whatever_the_sizes_of_others(sizes):
    rng = np.random.default_rng(1)
    arms = [arm_of(rng, size, 0.15) for size in ((300,) * 3, (300,) * 3, sizes)]
    alone, beside = (widths(arms[0].interval("counted", arms[1], scatter_of(arms[:n]))) for n in (2, 3))
    np.testing.assert_allclose(alone, beside, rtol=0.2)


@pytest.mark.parametrize("n_small", [4, 20])
def test_wells_of_three_nuclei_say_nothing_of_how_much_wells_differ(n_small):
    rng = np.random.default_rng(1)
    control, large = (arm_of(rng, (1000,), 0.0) for _ in range(2))
    arms = [control, large], [control, arm_of(rng, (1000, *(3,) * n_small), 0.0)]
    for minus in (None, control):
        alone, more = (widths(own[1].interval("counted", minus, scatter_of(own))) for own in arms)
        np.testing.assert_allclose(more, alone, rtol=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "deviation", "n_arms", "n_plates"),
    [
        ((900, 20, 20, 20, 20), 0.5, 2, 1),
        ((300, 100, 30), 0.25, 2, 1),
        ((200,) * 3, 0.25, 8, 1),
        ((100,) * 6, 0.0, 8, 1),
        ((100,) * 8, 0.4, 4, 2),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say_also_of_uneven_wells(sizes, deviation, n_arms, n_plates):
    """Of two conditions whose wells differ twice as much as is known of wells, 0.92 by simulation.

    Of eight wells on two plates that differ, under each condition otherwise, 0.7 if they count as eight.
    """
    rng, held = np.random.default_rng(0), []
    for _ in range(80 // n_arms):
        first, *others = arms = [arm_of(rng, sizes, deviation, n_plates=n_plates) for _ in range(n_arms)]
        scatter = scatter_of(arms)
        held += [one.low <= 0 <= one.high for own in others for one in own.interval("counted", first, scatter)]
    assert np.mean(held) > 0.89


@pytest.mark.slow
@pytest.mark.parametrize(("n_plates", "n_wells", "n_arms"), [(2, 4, 3), (3, 3, 2), (4, 8, 4)])
def test_what_a_plate_does_to_all_its_wells_widens_no_difference_of_conditions_that_share_it(n_plates, n_wells, n_arms):
    rng, held, narrower = np.random.default_rng(0), [], []
    for _ in range(60 // n_arms):
        shared = rng.normal(0, 0.6, (n_plates, 4))
        first, *others = arms = [
            arm_of(rng, (120,) * n_wells, 0.2, n_plates=n_plates, shared=shared) for _ in range(n_arms)
        ]
        apart, within = scatter_of(arms), within_plates(arms)
        for own in others:
            found = own.interval("counted", first, within)
            held += [one.low <= 0 <= one.high for one in found]
            narrower.append(widths(found)[:3].mean() / widths(own.interval("counted", first, apart))[:3].mean())
    assert np.mean(held) > 0.92
    assert np.mean(narrower) < 0.7


def test_conditions_on_plates_of_their_own_are_compared_as_if_plates_were_wells():
    rng, found = np.random.default_rng(3), []
    for _ in range(10):
        arms = [arm_of(rng, (200,) * 6, 0.3, n_plates=3, first=3 * k) for k in range(2)]
        found.append([widths(arms[1].interval("counted", arms[0], of(arms))) for of in (scatter_of, within_plates)])
    apart, within = np.mean(found, axis=0)
    np.testing.assert_allclose(within, apart, rtol=0.2)


def test_what_conditions_and_plates_leave_is_that_of_a_plain_fit_to_both():
    rng = np.random.default_rng(5)
    shared = rng.normal(0, 0.5, (3, 4))
    arms = [arm_of(rng, sizes, 0.3, n_plates=3, shared=shared) for sizes in ((90, 200, 40, 120), (300, 60, 80))]
    variance, freedom = intervals._left(arms, "counted", "unit")
    cells = [(k, place, part, off[1]) for k, arm in enumerate(arms) for one in [arm.parts["counted", "unit"]]
             for place, part, off in zip(one.place, one.part, one.off, strict=True)]  # fmt: skip
    k, place, part, off = (np.array(column) for column in zip(*cells, strict=True))
    binomial, sampling = (np.array([getattr(arm, name)("counted")[1] for arm in arms])[k]
                          for name in ("variance", "sampling"))  # fmt: skip
    odds, sampled = off / part / binomial, sampling / part / binomial**2
    root = np.sqrt(1 / (0.25**2 + sampled))
    factors = root[:, np.newaxis] * np.column_stack([k == 0, k == 1, *(place == at for at in range(3))])
    maker = np.eye(len(k)) - factors @ np.linalg.pinv(factors)
    free = np.diag(maker) * root**2
    assert variance[1] == pytest.approx((np.sum((maker @ (root * odds)) ** 2) - np.sum(free * sampled)) / free.sum())
    assert freedom[1] == pytest.approx((0.25**2 * free.sum()) ** 2 / np.trace(maker))


def test_many_conditions_on_two_plates_know_two_plates():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.5, (2, 4))
    arms = [arm_of(rng, (60,) * 2, 0.1, n_plates=2, shared=shared) for _ in range(12)]
    of_places = [next(one for one in of(arms)["counted"] if one.level == "place") for of in (scatter_of, within_plates)]
    # One that they show, and four wells that are known.
    assert (of_places[0].freedom <= 5).all() and (of_places[1].of_places.freedom <= 5).all()
    assert (of_places[1].freedom > 5).any()


@pytest.mark.slow
def test_hundreds_of_slides_that_two_conditions_share_are_no_hundreds_of_unknowns(monkeypatch):
    rng, asked, inverse = np.random.default_rng(0), [], np.linalg.pinv
    arms = [arm_of(rng, (5,) * 200, 0.1, n_plates=200) for _ in range(2)]
    arms += [arm_of(rng, (5,), 0.1, first=k) for k in range(100)]
    monkeypatch.setattr(np.linalg, "pinv", lambda of, **more: asked.append(len(of)) or inverse(of, **more))
    within_plates(arms)
    assert set(asked) == {2}


def test_fields_and_plates_that_do_not_differ_leave_an_interval():
    rng = np.random.default_rng(0)
    one, other = (arm_of(rng, (100,) * 4, 0.0, n_plates=2) for _ in range(2))
    nothing = intervals.Scatter("image", np.zeros(4), np.ones(4), intervals.Scatter("place", np.zeros(4), np.ones(4)))
    found = replace(other, drawn={}).interval("counted", replace(one, drawn={}), {"counted": [nothing]})
    assert all(interval.freedom > 0 and np.isfinite(interval.low) for interval in found)


def test_a_difference_says_of_how_many_nuclei_it_is_also_where_a_plate_has_no_fit(tmp_path):
    parts = [nuclei_of(CONTROL, 40, k, (f"A0{k + 1}",), ("DMSO", "drug")[k % 2]) for k in range(4)]
    parts = [part.assign(plate=name, group=name) for part, name in zip(parts, "AABB", strict=True)]
    parts[2:] = [part.assign(dna_copies=np.nan) for part in parts[2:]]
    pd.concat(parts).to_csv(tmp_path / "t.csv", index=False)
    numbers = all_numbers(read_experiment([tmp_path / "t.csv"], "DMSO"), 20)
    told = numbers[numbers["arm"] == "drug"].groupby("table")["n_nuclei"].first()
    assert told["fitted, minus control"] == told["fitted"] == 40 and told["counted, minus control"] == 80


@pytest.mark.parametrize("place", ["plate", "group", "slide"])
def test_wells_of_two_plates_say_less_than_those_of_one_whatever_replicates_they_are(tmp_path, place):
    def width(names) -> float:
        parts = []
        for k, name in enumerate(names):
            where = {"plate": "", "group": ""} | {place: name}
            wells = [f"{'ABCD'[well]}0{k + 1}" for well in range(4)]
            part = nuclei_of(CONTROL, 60, k, wells, "drug", **where)
            parts.append(part.assign(replicate=part["well"].str[0], integrated_dna=np.nan, dna_copies=np.nan))
        pd.concat(parts).to_csv(tmp_path / "t.csv", index=False)
        numbers = all_numbers(read_experiment([tmp_path / "t.csv"]), 60).set_index(["table", "quantity"])
        return float(numbers["high"]["counted", "G1"] - numbers["low"]["counted", "G1"])

    assert width(["1", "2"]) > 1.2 * width(["1", "1"])


def test_a_difference_between_plates_says_less_than_one_within_a_plate_whatever_others_stand_on():
    rng = np.random.default_rng(0)
    one, beside = (arm_of(rng, (60,) * 4, 0.2) for _ in range(2))
    assert one.places == beside.places == {0}
    elsewhere = replace(beside, places=frozenset({1}))

    def width(first, second, *others) -> float:
        (found, *_) = second.interval("counted", first, scatter_of([first, second, *others]))
        return found.high - found.low

    assert width(one, elsewhere) > 1.2 * width(one, beside)
    assert width(one, beside, elsewhere) == pytest.approx(width(one, beside, beside))


@pytest.mark.slow
def test_of_many_differences_those_are_starred_that_stand_corrected_for_their_number(tmp_path):
    corrected = _holm(pd.Series([0.01, np.nan, 0.04, 0.03]))
    np.testing.assert_allclose(corrected, [0.03, np.nan, 0.06, 0.06])
    arms = {"DMSO": CONTROL, **{f"idle {k}": CONTROL for k in range(12)}, "drug": [0.97, 0.01, 0.01, 0.01]}
    wells = [(f"{'ABCDEFGH'[k % 8]}{k // 8 + 1:02d}", f"{'ABCDEFGH'[k % 8]}{k // 8 + 5:02d}") for k in range(14)]
    parts = [nuclei_of(shares, 150, k, own, condition=name, dna_copies=np.nan)
             for k, ((name, shares), own) in enumerate(zip(arms.items(), wells, strict=True))]  # fmt: skip
    pd.concat(parts).to_csv(tmp_path / "t.csv", index=False)
    experiment = read_experiment([tmp_path / "t.csv"], "DMSO")
    numbers = all_numbers(experiment, 100)
    found = numbers[numbers["table"] == "estimated, minus control"]
    stands = found["p_holm"] < 0.05
    assert ((found["p"] < 0.05) == ((found["low"] > 0) | (found["high"] < 0))).all()
    assert set(found["arm"][stands]) == {"drug"} and (found["p_holm"] >= found["p"]).all()
    told = summary(numbers, experiment)
    assert "of 52 differences about 2.6" in told and told.count("</small>*)") == stands.sum()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 4])
def test_where_the_peaks_lie_is_part_of_a_fitted_interval(seed):
    """With peaks that stay as they were fitted, the intervals of the first seed are wrong, by simulation."""
    rng, n = np.random.default_rng(seed), 150
    truth = rng.choice(4, n, p=[0.45, 0.3, 0.2, 0.05])
    copies = np.choose(truth, [2.0, rng.uniform(2, 3.8, n), 3.8, 3.8]) * np.exp(rng.normal(0, 0.09, n))
    rows = nuclei_of([[1.0, 0.0, 0.0, 0.0]], n=n).assign(dna_copies=copies, is_counted=True, **ONE_PLACE)
    found = samples_of(with_likelihoods(without_prior(rows)), PHASES, 0, 200).interval("fitted")
    for one, true in zip(found, (0.45, 0.3, 0.25), strict=True):
        assert one.low <= true <= one.high and one.high - one.low < 0.65


@pytest.mark.slow
def test_numbers_are_those_of_the_table(plate):
    experiment = read_experiment([plate], "dmso")
    assert experiment.arms == ["DMSO", "drug 0.1", "drug 10"] and experiment.control == "DMSO"
    numbers = all_numbers(experiment, 200)
    table = pd.read_csv(plate, keep_default_na=False)
    drug = table[table["dose"].astype(str) == "10.0"]
    found = numbers[(numbers["table"] == "counted") & (numbers["arm"] == "drug 10")].set_index("quantity")
    assert found["value"]["G1"] == pytest.approx((drug["call"] == "G1").mean())
    assert (found["n_wells"] == 2).all() and (found["n_nuclei"] == 400).all()
    minus = numbers[numbers["table"] == "estimated, minus control"].set_index(["arm", "quantity"])
    assert minus["low"]["drug 10", "G1"] > 0 > minus["high"]["drug 10", "S"]
    assert minus["low"]["drug 10", "G1"] < 0.3 < minus["high"]["drug 10", "G1"]
    assert minus["low"]["drug 0.1", "G1"] < 0 < minus["high"]["drug 0.1", "G1"]
    wells = numbers[numbers["table"] == "wells"]
    assert wells[wells["quantity"] == "found"].set_index("unit")["value"]["C01"] == 0


def test_samples_of_the_control_are_drawn_apart_from_those_of_any_arm(tmp_path, monkeypatch):
    table = pd.concat([nuclei_of(CONTROL, 20, k, condition=name) for k, name in enumerate(("DMSO", "a", "b"))])
    # An arm without a nucleus that counts has no samples, and yet its number.
    table.loc[table["condition"] == "a", "flags"] = "edge"
    table.assign(image=table["condition"] + ".tif", well="").to_csv(tmp_path / "t.csv", index=False)
    experiment, seeds = read_experiment(tmp_path / "t.csv", "DMSO"), []

    def spied(rows, classes, seed, *more):
        seeds.extend([seed] * (len(more) == 1))
        return samples_of(rows, classes, seed, *more)

    monkeypatch.setattr("cellcycle.report.numbers.samples_of", spied)
    all_numbers(experiment, 10)
    assert len(seeds) == len(set(seeds)) == 3


@pytest.mark.parametrize("flag", ["edge", "clump", "debris", "out_of_focus"])
def test_nuclei_whose_dna_is_spoilt_are_found_but_not_counted(tmp_path, flag):
    table = nuclei_of(CONTROL, n=50)
    table.loc[:9, "flags"] = f"{flag};scale_unknown"
    table.to_csv(tmp_path / "t.csv", index=False)
    experiment = read_experiment([tmp_path / "t.csv"])
    assert (int(experiment.table["is_nucleus"].sum()), len(experiment.nuclei)) == (50, 40)


@pytest.mark.slow
def test_arms_are_conditions_else_wells_else_images(tmp_path):
    for columns, arms in (
        ({"condition": "a"}, ["a"]), ({}, ["B2", "B10"]), ({"well": "", "plate": ""}, ["B2_s1.tif", "B10_s1.tif"]),
    ):  # fmt: skip
        nuclei_of(CONTROL, n=20, wells=("B10", "B2"), **columns).to_csv(tmp_path / "t.csv", index=False)
        assert read_experiment([tmp_path / "t.csv"]).arms == arms


def test_doses_that_stand_in_names_are_put_in_order_and_computed_ones_are_one(tmp_path):
    conditions, file = ["10 nM", "ctrl", "100 nM", "2 nM"], tmp_path / "t.csv"
    wells = dict(zip("ABCD", conditions, strict=True))
    pd.concat([nuclei_of(CONTROL, n=5, wells=w, condition=c) for w, c in wells.items()]).to_csv(file, index=False)
    assert read_experiment([file], "ctrl").arms == ["ctrl", "2 nM", "10 nM", "100 nM"]
    doses = [0.3, 0.1 + 0.2, 1.0]
    tables = [nuclei_of(CONTROL, n=5, condition="x", dose=dose, wells=(f"A0{k + 1}",)) for k, dose in enumerate(doses)]
    pd.concat(tables).to_csv(file, index=False)
    assert read_experiment([file]).arms == ["x 0.3", "x 1"]
    assert read_experiment([file], "x 1.0").control == "x 1"


def test_wells_of_two_chamber_slides_are_wells_of_their_own(tmp_path):
    conditions = {("1", "A01"): "control", ("1", "A02"): "drug", ("2", "A01"): "drug", ("2", "A02"): "control"}
    tables = [nuclei_of(CONTROL, 40, k, (well,), condition, plate="", slide=slide, group=slide, image=f"{k}.tif")
              for k, ((slide, well), condition) in enumerate(conditions.items())]  # fmt: skip
    pd.concat(tables).to_csv(tmp_path / "t.csv", index=False)
    experiment = read_experiment([tmp_path / "t.csv"], "control")
    assert set(experiment.table["unit"]) == {"1 A01", "1 A02", "2 A01", "2 A02"}
    assert set(experiment.table["plate"]) == {"1", "2"} == set(experiment.table["place"])


def test_doses_without_a_condition_are_compared_and_not_their_wells(tmp_path):
    doses, file = [0.0, 0.0, 10.0, 10.0, np.nan], tmp_path / "t.csv"
    tables = [nuclei_of(CONTROL, 5, k, (f"A0{k + 1}",), dose=dose) for k, dose in enumerate(doses)]
    pd.concat(tables).to_csv(file, index=False)
    experiment = read_experiment([file], "dose 0")
    assert experiment.arms == ["dose 0", "dose, no dose", "dose 10"]
    assert list(experiment.of_arm("dose 10")["well"].unique()) == ["A03", "A04"]
    pd.concat(tables[:2]).to_csv(file, index=False)
    assert read_experiment([file]).arms == ["A01", "A02"]


@pytest.mark.slow
def test_a_control_is_a_well_under_any_name_of_it_and_a_plate_shows_the_wells_between(tmp_path):
    nuclei_of(CONTROL, n=5, wells=("A01", "D05")).to_csv(tmp_path / "t.csv", index=False)
    experiment = read_experiment([tmp_path / "t.csv"], "d5")
    assert experiment.control == "D05"
    ((_, figure),) = figures.heat_maps(all_numbers(experiment, 10), experiment)
    ax = figure.axes[0]
    assert [[t.get_text() for t in axis.get_ticklabels()] for axis in (ax.yaxis, ax.xaxis)] == [[*"ABCD"], [*"12345"]]


@pytest.mark.slow
@pytest.mark.parametrize("last", ["P24", "AF48"])
def test_rows_and_columns_beside_a_map_of_a_plate_do_not_stand_on_each_other(tmp_path, last):
    pd.concat(nuclei_of(CONTROL, 5, wells=(well,)) for well in ("A01", last)).to_csv(tmp_path / "t.csv", index=False)
    experiment = read_experiment([tmp_path / "t.csv"])
    ((_, figure),) = figures.heat_maps(all_numbers(experiment, 0), experiment)
    FigureCanvasAgg(figure).draw()
    columns, rows = figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()
    assert (rows[-1].get_text(), columns[-1].get_text()) == (last[:-2], last[-2:])
    for side, labels in enumerate((columns, rows[::-1])):
        at = [text.get_window_extent().extents for text in labels]
        assert all(after[side] > before[side + 2] for before, after in pairwise(at))


def test_what_is_no_well_is_on_no_map_of_a_plate(tmp_path):
    nuclei_of(CONTROL, n=5, wells=("A01", "AG09", "none")).to_csv(tmp_path / "t.csv", index=False)
    experiment = read_experiment([tmp_path / "t.csv"])
    ((_, figure),) = figures.heat_maps(all_numbers(experiment, 0), experiment)
    assert [label.get_text() for label in figure.axes[0].yaxis.get_ticklabels()] == ["A"]


@pytest.mark.parametrize(
    ("wells_of", "finding"),
    [
        ({("x", "DMSO"): "AB", ("y", "drug"): "CD"}, "lies on other {} than the control"),
        ({("x", "DMSO"): "AB", ("x", "drug"): "CD", ("y", "drug"): "A"}, "lies on other {} than the control"),
        (
            {("x", "DMSO"): "ABC", ("y", "DMSO"): "A", ("x", "drug"): "D", ("y", "drug"): "BCD"},
            "is distributed over the {} differently from the control",
        ),
        ({("x", "DMSO"): "AB", ("y", "DMSO"): "AB", ("x", "drug"): "CD", ("y", "drug"): "C"}, ""),
    ],
)
def test_a_condition_that_does_not_share_its_plates_with_the_control_is_told(tmp_path, wells_of, finding):
    parts = [nuclei_of(CONTROL, 20, k, [f"{row}01" for row in rows], condition, plate=plate, dna_copies=np.nan)
             for k, ((plate, condition), rows) in enumerate(wells_of.items())]  # fmt: skip
    table = pd.concat([part.assign(image=part["plate"] + "/" + part["image"], group=part["plate"]) for part in parts])
    # Where names tell no plate, it is what was read together.
    grouped = table.assign(plate="", well="")
    for named, what in ((table, "plates"), (grouped, "groups that are read together")):
        named.to_csv(tmp_path / "t.csv", index=False)
        told = [f"{finding.format(what)}, which may be why they differ: drug"] if finding else []
        assert _on_other_plates(read_experiment([tmp_path / "t.csv"], "DMSO")) == told
    assert _on_other_plates(read_experiment([tmp_path / "t.csv"])) == []


def test_folders_that_are_read_together_as_conditions_of_one_plate_are_no_plates(tmp_path):
    parts = [nuclei_of(CONTROL, 9, k, wells, name, plate=name, group="map")
             for k, (name, wells) in enumerate({"DMSO": ("A01",), "drug": ("B01",)}.items())]  # fmt: skip
    pd.concat(parts).to_csv(tmp_path / "t.csv", index=False)
    experiment = read_experiment([tmp_path / "t.csv"], "DMSO")
    assert {*experiment.table["place"]} == {"map"} and _on_other_plates(experiment) == []


@pytest.mark.slow
def test_tables_that_do_not_belong_together_are_refused_in_one_line(tmp_path, plate):
    nuclei_of(CONTROL, wells=("X01",), model="nagao6").to_csv(tmp_path / "model.csv", index=False)
    nuclei_of(CONTROL, wells=("X01",), version="0").to_csv(tmp_path / "version.csv", index=False)
    nuclei_of(CONTROL, wells=("X01",), prior=CULTURE).to_csv(tmp_path / "prior.csv", index=False)
    mixed = nuclei_of(CONTROL, wells=("X01",)).assign(image=["x.tif", "y.tif"] * 100)
    for column, two in (("version", ["1", "2"]), ("prior", ["equal", CULTURE])):
        mixed.assign(**{column: two * 100}).to_csv(tmp_path / f"{column}s.csv", index=False)
    shutil.copy(plate, tmp_path / "again.csv")
    for name, finding in (
        ("model", "its model is nagao6"),
        ("prior", "prior of its field images is culture, but in .* it is equal"),
        ("versions", "the version of best is 1 and 2"),
        ("priors", "prior of its field images is culture and equal"),
        ("version", "the version of best is 0"),
        ("again", "is also in"),
    ):
        with pytest.raises(DataError, match=finding):
            read_experiment([plate, tmp_path / f"{name}.csv"])
    with pytest.raises(SettingError, match="there is no condition 'DSMO'; use one of DMSO"):
        read_experiment([plate], "DSMO")


@pytest.mark.slow
def test_an_image_counts_once_under_whatever_spelling_and_its_times_for_themselves(tmp_path):
    y, x = np.random.default_rng(0).uniform(0, 900, (2, 20))
    table = nuclei_of(CONTROL, 20, planes="t 0", centroid_y_px=y, centroid_x_px=x)
    first, other = tmp_path / "a.csv", tmp_path / "b.csv"
    table.to_csv(first, index=False)
    with pytest.raises(DataError, match=r"A01_s1.tif is also in .*a.csv; give each image once"):
        read_experiment([first, first])
    again = nuclei_of(CONTROL, 20, seed=1, planes="t 0", centroid_y_px=y, centroid_x_px=x)
    (tmp_path / "A01_s1.tif").touch()
    copy = ("q/A01_s1.tif", table), ("q/A01_s1.tif", table.sort_values("p_G2"))
    for image, rows in (("./A01_s1.tif", again), (str(tmp_path / "A01_s1.tif"), again), *copy):
        rows.assign(image=image).to_csv(other, index=False)
        with pytest.raises(DataError, match=r"is also in .*a.csv as A01_s1.tif"):
            read_experiment([first, other])
        pd.concat([table, rows.assign(image=image)]).to_csv(other, index=False)
        with pytest.raises(DataError, match=r"is also in it as A01_s1.tif"):
            read_experiment([other])
    # Times of a file that is there are of one field, so that it is told that its cells count anew.
    again.assign(planes="t 1").to_csv(other, index=False)
    experiment = read_experiment([first, other])
    assert len(experiment.nuclei) == 40 and set(experiment.table["image"]) == {"A01_s1.tif"}
    assert "so intervals are too narrow" in summary(all_numbers(experiment, 2), experiment)


@pytest.mark.slow
def test_tables_of_two_folders_may_lie_in_one_unless_their_images_show_the_same(tmp_path):
    files, luck = [tmp_path / "d1.csv", tmp_path / "d2.csv"], np.random.default_rng(0)
    places = luck.uniform(0, 900, (3, 2, 40))

    def written(file, k, moved=0.0, n=40, **more):
        y, x = places[k, :, :n] + moved
        table = nuclei_of(CONTROL, n, k, condition="DMSO", centroid_y_px=y, centroid_x_px=x)
        table.assign(**{"image": "p/A01_s1.tif"} | more).to_csv(file, index=False)

    for k, file in enumerate(files):
        written(file, k)
    for _ in range(2):
        table = read_experiment(files).table
        assert set(table["image"]) == {f"{file}: p/A01_s1.tif" for file in files}
        assert set(table["unit"]) == {"p (d1, 1) A01", "p (d2, 2) A01"}
        # So it is where they lie in one of the folders.
        (tmp_path / "p").mkdir(exist_ok=True)
        (tmp_path / "p" / "A01_s1.tif").touch()
    # Too few nuclei do not tell an image that is there from itself.
    written(files[1], 1, n=7)
    with pytest.raises(DataError, match=r"p/A01_s1.tif is also in .*d1.csv"):
        read_experiment(files)
    (tmp_path / "p" / "A01_s1.tif").unlink()
    assert len(read_experiment(files).table) == 47
    # Found in another way, the nuclei of one picture lie where they lay; so does one that is named from the root.
    for more in ({}, {"image": str(tmp_path / "p" / "A01_s1.tif")}):
        written(files[1], 0, moved=0.7, area_px=99.0, **more)
        with pytest.raises(DataError, match=r"d2.csv: \S*p/A01_s1.tif is also in .*d1.csv"):
            read_experiment(files)
    # Each is asked of all before it.
    written(files[1], 1)
    written(tmp_path / "d3.csv", 1, moved=0.7)
    with pytest.raises(DataError, match=r"d3.csv: p/A01_s1.tif is also in .*d2.csv"):
        read_experiment([*files, tmp_path / "d3.csv"])


@pytest.mark.slow
def test_images_of_one_path_from_the_folders_of_two_tables_are_two_unless_they_show_the_same(tmp_path, monkeypatch):
    files = [tmp_path / day / "n.csv" for day in ("d1", "d2")]
    y, x = np.random.default_rng(0).uniform(0, 900, (2, 20))
    for k, file in enumerate(files):
        (file.parent / "p").mkdir(parents=True)
        table = nuclei_of(CONTROL, 20, k, condition="DMSO", centroid_y_px=y, centroid_x_px=x)
        table.assign(image="p/A01_s1.tif").to_csv(file, index=False)
    for _ in range(2):
        table = read_experiment(files).table
        assert set(map(Path, table["image"])) == {file.parent / "p" / "A01_s1.tif" for file in files}
        assert set(table["unit"]) == {"p (n, 1) A01", "p (n, 2) A01"}
        for file in files:
            (file.parent / "p" / "A01_s1.tif").touch()
    # Where they lie as seen from here alone, they are one image.
    for file in files:
        (file.parent / "p" / "A01_s1.tif").unlink()
    monkeypatch.chdir(tmp_path)
    Path("p").mkdir()
    Path("p/A01_s1.tif").touch()
    with pytest.raises(DataError, match=r"p/A01_s1.tif is also in .*n.csv"):
        read_experiment(files)
    Path("p/A01_s1.tif").unlink()
    # Light that is taken out in one of them changes the DNA alone.
    copy = pd.read_csv(files[0])
    copy.assign(integrated_dna=1.02 * copy["integrated_dna"], light=0.9804).to_csv(files[1], index=False)
    with pytest.raises(DataError, match=r"d2.n.csv: p/A01_s1.tif is also in .*d1.n.csv"):
        read_experiment(files)
    # Two pictures with the outlines of one, and no background.
    copy.assign(integrated_dna=copy["integrated_dna"].to_numpy()[::-1]).to_csv(files[1], index=False)
    assert len(read_experiment(files).table) == 2 * len(copy)


def test_an_image_that_was_read_in_another_table_is_not_told_as_unreadable(tmp_path):
    first, second = nuclei_of(CONTROL, 20), nuclei_of(CONTROL, 20, 1, wells=("A02",))
    gone = {"image": "./A02_s1.tif", "flags": "unreadable", "well": "A02", "plate": "p"}
    pd.concat([first, as_frame(full_columns(gone, PHASES, 1))]).to_csv(tmp_path / "a.csv", index=False)
    second.to_csv(tmp_path / "b.csv", index=False)
    assert read_experiment([tmp_path / "a.csv"]).table["flags"].str.contains("unreadable").sum() == 1
    assert len(read_experiment([tmp_path / "a.csv", tmp_path / "b.csv"]).table) == 40


@pytest.mark.slow
def test_a_table_of_empty_wells_is_joined_and_what_is_empty_is_not_counted(tmp_path):
    table = nuclei_of(CONTROL, 20, condition="DMSO", wells=("A01", "A02"), prior=CULTURE)
    table.loc[table["well"] == "A02", "flags"] = "edge"
    empty = {"image": "A03_s1.tif", "flags": "no_nucleus", "well": "A03", "plate": "p", "condition": "DMSO"}
    files = [tmp_path / "empty.csv", tmp_path / "t.csv"]
    as_frame(full_columns(empty, PHASES, 1)).to_csv(files[0], index=False)
    table.to_csv(files[1], index=False)
    numbers = all_numbers(read_experiment(files), 0)
    counted = numbers.loc[numbers["table"] == "counted", ["n_nuclei", "n_fields", "n_wells"]]
    assert (counted == [20, 1, 1]).all(axis=None)
    for alone in (files[:1], files[:1] * 2):
        with pytest.raises(DataError, match=r"none of (its|their) rows holds a nucleus"):
            read_experiment(alone)


def test_names_with_slashes_are_shown_whole(tmp_path):
    parts = [nuclei_of(CONTROL, 10, k, plate=f"{k}/11/2026", image=f"{k}/A01.tif") for k in (24, 25)]
    pd.concat(parts).to_csv(tmp_path / "t.csv", index=False)
    assert read_experiment([tmp_path / "t.csv"]).arms == ["24/11/2026 A01", "25/11/2026 A01"]
    parts = [part.assign(well="", plate="", image="d/f.tif", planes=f"t {k}") for k, part in enumerate(parts)]
    pd.concat(parts).assign(condition=["in v/v"] * 10 + ["none"] * 10).to_csv(tmp_path / "t.csv", index=False)
    found = read_experiment([tmp_path / "t.csv"]).table
    assert set(found["unit_name"]) == {"f.tif (in v/v)", "f.tif (none)"}


@pytest.mark.slow
def test_replicates_are_told_apart_by_what_they_say_and_rows_without_a_condition_are_told(tmp_path):
    table, file = nuclei_of(CONTROL, 10, condition="drug").assign(replicate=["1", "1.0"] * 5), tmp_path / "t.csv"
    table.to_csv(file, index=False)
    assert set(read_experiment([file], " Drug ").table["replicate"]) == {"1"}
    table.assign(replicate=["Rep1", "rep1"] * 5).to_csv(file, index=False)
    with pytest.raises(DataError, match="the replicates 'Rep1' and 'rep1' differ only by capitals, blanks or"):
        read_experiment([file])
    table = table.assign(image=["a.tif", "b.tif"] * 5)
    table.assign(condition=["", "drug"] * 5).to_csv(file, index=False)
    experiment = read_experiment([file])
    assert experiment.arms == ["drug", "no condition"] and experiment.table["is_bare"].sum() == 5
    table.assign(condition=["", "no condition"] * 5).to_csv(file, index=False)
    with pytest.raises(DataError, match="a condition is called 'no condition', but other rows have none"):
        read_experiment([file])


@pytest.mark.slow
def test_a_control_that_is_all_rows_is_refused_and_a_dose_panel_begins_at_the_dose_0_of_its_drug(tmp_path):
    parts = [nuclei_of(CONTROL, 10, k, (f"A0{k}",), "drug", dose) for k, dose in enumerate((0.0, 1.0, 10.0))]
    pd.concat(parts).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(SettingError, match=r"all rows are of 'drug'.*name one dose of it: drug 0, drug 1, drug 10"):
        read_experiment([tmp_path / "t.csv"], "drug")
    experiment = read_experiment([tmp_path / "t.csv"])
    (panel,) = figures.dose_response(all_numbers(experiment, 0), experiment).axes
    drawn = {x for line in panel.lines for x in line.get_xdata()}
    assert drawn == {0.1, 1.0, 10.0} and [text.get_text() for text in panel.get_xticklabels()] == ["0", "1", "10"]


def test_a_difference_is_certain_where_the_interval_that_is_shown_leaves_out_0():
    for low, high, is_so, shown in ((-0.24, -0.003, True, "-13 <small>[-24, -0.3]</small>"),
                                    (-0.24, 0.004, False, "-13 <small>[-24, +0.4]</small>"),
                                    (-0.24, -0.0001, False, "-13 <small>[-24, 0]</small>")):  # fmt: skip
        row = {"value": -0.13, "low": low, "high": high}
        assert share(row, "+") == shown and is_certain(row) == is_so


def test_a_table_of_another_kind_is_named(tmp_path):
    (tmp_path / "n.h5ad").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(DataError, match=r"n.h5ad: .h5ad is not read; give its CSV, TSV, JSON or Parquet file"):
        read_experiment([tmp_path / "n.h5ad"])


def test_no_file_is_replaced_but_an_earlier_report(tmp_path):
    plate = tmp_path / "plate_numbers.csv"
    nuclei_of(CONTROL, 5).to_csv(plate, index=False)
    (tmp_path / "thesis.html").write_text("<html>mine")
    (tmp_path / "mine_numbers.csv").write_text("well,n\nA01,2\n")
    experiment, before = read_experiment([plate]), {file: file.read_bytes() for file in tmp_path.iterdir()}
    for name, file, finding in (("plate", plate, "it would replace the table"), ("thesis", "thesis.html", "it exists"),
                                ("mine", "mine_numbers.csv", "it exists and is not an earlier report")):  # fmt: skip
        with pytest.raises(SettingError, match=f"{file}: {finding}"):
            write_report(tmp_path / f"{name}.html", experiment, [plate])
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "file"), [(Path, "write_text", "r.html"), (pd.DataFrame, "to_csv", "r_numbers.csv")]
)
def test_a_full_disk_is_one_line_and_leaves_the_earlier_page(tmp_path, monkeypatch, kind, name, file):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    nuclei_of(CONTROL, 5, well="", plate="").to_csv(tmp_path / "t.csv", index=False)
    experiment, page = read_experiment([tmp_path / "t.csv"]), tmp_path / "r.html"
    page.write_text(before := '<meta name="generator" content="cellcycle report">the earlier one', encoding="utf-8")
    monkeypatch.setattr(kind, name, full)
    with pytest.raises(SettingError, match=f"{re.escape(file)}: the disk is full"):
        write_report(page, experiment, [tmp_path / "t.csv"], None)
    assert page.read_text(encoding="utf-8") == before


def numbers_of(page):
    """Return the file of the numbers of a page."""
    return page.with_name(f"{page.stem}_numbers.csv")


class Page(HTMLParser):
    """What a page names, and what it says."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.said, self.is_style = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        self.is_style = tag == "style"
        assert tag != "script"

    def handle_data(self, data):
        if not self.is_style:
            self.said.append(data)


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["cellcycle", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
        raise SystemExit(0)
    return ended.value.code or 0


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Make the report of the plate once, with pictures of all but one image; return its folder."""
    tmp_path, rng = tmp_path_factory.mktemp("reported"), np.random.default_rng(0)
    plate = write_plate(tmp_path / "plate.csv")
    for well in ("A02", "A03", "B01", "B02", "B03", "B04"):
        write_image(tmp_path / f"{well}_s1.tif", rng.integers(0, 4000, (64, 64)).astype(np.uint16), 0.3)
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, "report", plate, "--output", tmp_path / "report.html", "--control", "DMSO",
                   "--images", tmp_path) == 0  # fmt: skip
    return tmp_path


@pytest.fixture
def page(reported, tmp_path):
    """Return the report of `reported`, in a folder of its own."""
    shutil.copytree(reported, tmp_path, dirs_exist_ok=True)
    return tmp_path / "report.html"


@pytest.mark.slow
def test_the_page_stands_alone_and_every_number_is_in_its_table(page):
    read = Page(page.read_text(encoding="utf-8"))
    assert all(source.startswith("data:") for source in read.sources)
    assert sum(source.startswith("data:image/svg+xml") for source in read.sources) == 5
    assert sum(source.startswith("data:image/jpeg") for source in read.sources) > 10
    said = "".join(read.said)
    assert "default-src 'none'" in page.read_text(encoding="utf-8")
    for word in ("drug 10: G1", "more G1", "no nucleus can be counted, in C01", "sha256", "no such image"):
        assert word in said
    numbers = pd.read_csv(numbers_of(page))
    for _, row in numbers[numbers["table"] == "counted"].iterrows():
        assert re.sub("<.*?>", "", share(row)) in said


@pytest.mark.slow
def test_the_same_table_gives_the_same_page_and_no_other_file_is_replaced(reported, tmp_path, monkeypatch, capsys):
    page, plate, few = reported / "report.html", reported / "plate.csv", tmp_path / "few.csv"
    before = page.read_bytes(), numbers_of(page).read_bytes()
    experiment = read_experiment([plate], "DMSO")
    # Of an earlier version, and a spreadsheet had them.
    earlier = before[1].replace(b",p_holm", b"")
    numbers_of(page).write_bytes(b"\xef\xbb\xbf" + earlier.replace(b",", b";").replace(b"\n", b"\r\n"))
    write_report(page, experiment, [plate], reported)
    assert (page.read_bytes(), numbers_of(page).read_bytes()) == before
    with pytest.raises(SettingError, match="end the name in"):
        write_report(plate, experiment, [plate])
    assert run(monkeypatch, "report", tmp_path / "none.csv", "--output", page) == 2
    assert page.read_bytes() == before[0]
    nuclei_of(CONTROL, 5).to_csv(few, index=False)
    assert run(monkeypatch, "report", few, "--output", tmp_path / "r.html", "--images", tmp_path / "nowhere") == 0
    told = f"Note: no pictures of nuclei: {tmp_path / 'nowhere'}: there is no such folder; name"
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_classes_that_are_no_phases_and_no_dna_make_a_page_too(tmp_path):
    table = (
        nuclei_of(CONTROL, n=60, wells=("A01", "A02"))
        .drop(columns=["condition", "dose", "group"])
        .assign(dna_copies=np.nan)
    )
    names = dict(zip(PHASES, ("Interphase", "Prophase", "<Metaphase>", "Anaphase"), strict=True))
    table = table.rename(columns={f"p_{old}": f"p_{new}" for old, new in names.items()})
    table["call"] = table["call"].map(names)
    # And a table may be called as a part of the page is.
    file = tmp_path / "{{BODY}}.csv"
    table.to_csv(file, index=False)
    write_report(tmp_path / "r.html", read_experiment([file]), [file], tmp_path)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<Metaphase>" not in text and "&lt;Metaphase&gt;" in text
    assert "<h1>Cell-cycle phases of {{BODY}}.csv</h1>" in text


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as tool:
        browser = launch(tool, "chromium")
        if browser is None:
            pytest.skip("no Chromium is installed")
        with browser:
            yield browser


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1000])
def test_the_page_asks_no_host_and_reads_well_in_a_browser(page, browser, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    opened = browser.new_page(viewport={"width": width, "height": 900})
    asked, told = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: told.append(message.text))
    opened.goto(page.as_uri())
    assert opened.evaluate("[...document.images].every(picture => picture.naturalWidth > 0)")
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not [url for url in asked[1:] if not url.startswith("data:")] and not told
    found = axe.Axe().run(opened).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []


# How much of its own size each figure has, and the most by which a part is wider than its box.
SIZES = """() => [
    [...document.querySelectorAll('.plot')].map(plot => plot.clientWidth / plot.naturalWidth),
    Math.max(...[...document.querySelectorAll('.wide')].map(box => box.scrollWidth - box.clientWidth))]"""
# How far the names of rows stand from the left of their box after it was scrolled, and that at most; and stars from the
# lines of their intervals.
PLACES = """() => {
    const boxes = [...document.querySelectorAll('.wide')].filter(box => box.querySelector('tbody'));
    const [left, range] = [part => part.getBoundingClientRect().left, document.createRange()];
    const [scrolled, names] = [[], []];
    for (const box of boxes) {
        box.scrollLeft = 150;
        scrolled.push(box.scrollLeft);
        names.push(left(box.querySelector('tbody th')) - left(box));
    }
    const stars = [...document.querySelectorAll('td small')].filter(small => small.nextSibling).map(small => {
        range.selectNode(small.nextSibling);
        return range.getBoundingClientRect().top - [...small.getClientRects()].at(-1).top;
    });
    return [scrolled, names, stars];
}"""


@pytest.mark.slow
def test_on_a_phone_figures_keep_their_size_and_rows_their_names_and_paper_holds_all(page, browser):
    opened = browser.new_page(viewport={"width": 390, "height": 844})
    opened.goto(page.as_uri())
    shares, over = opened.evaluate(SIZES)
    assert len(shares) == 5 and min(shares) == 1 and over > 200
    scrolled, names, stars = opened.evaluate(PLACES)
    assert max(scrolled) == 150 and max(map(abs, names)) < 1
    assert stars and max(map(abs, stars)) < 8
    opened.set_viewport_size({"width": 718, "height": 1000})  # of A4 between its margins
    opened.emulate_media(media="print")
    shares, over = opened.evaluate(SIZES)
    assert min(shares) > 0.7 and over == 0
    # What a figure shows is not parted from it by the end of a page.
    breaks = "parts => parts.map(part => getComputedStyle(part)).map(style => [style.breakInside, style.breakAfter])"
    assert set(map(tuple, opened.locator("section > p").evaluate_all(breaks))) == {("avoid", "avoid")}


def test_the_shares_that_a_drug_brings_are_those_of_a_slower_phase():
    usual = SimulationParameters()
    for condition, phase in (("G1 arrest", "G1"), ("S block", "S"), ("mitotic arrest", "M")):
        shares = [expected_shares(Well(condition, dose).parameters(usual))[phase] for dose in (0.0, 0.1, 1.0, 10.0)]
        assert shares == sorted(shares) and shares[3] > 1.5 * shares[0]
        assert sum(expected_shares(Well(condition, 1.0).parameters(usual)).values()) == pytest.approx(1)


def test_ten_plates_had_their_effects_inside_the_intervals_as_often_as_these_say():
    record = pd.read_csv(plates.RECORD)
    assert sorted(set(record["seed"])) == list(plates.SEEDS) and len(record) == 3 * len(plates.SEEDS)
    held = (record["low"] < record["truth"]) & (record["truth"] < record["high"])
    # Of thirty intervals of 95 % fewer than 27 hold in 6 of 100 cases.
    assert held.sum() >= 27 and (record["value"] > 0).all()


@pytest.mark.parametrize("stand", [simulated.SHARED, simulated.OWN])
def test_intervals_that_are_counted_by_simulation_are_those_of_the_report(stand):
    design = simulated.Design(stand, 2, 2, 1, 0.25, 0.7)
    nuclei = simulated.drawn(design, np.random.default_rng(0))
    arm = nuclei["condition"].map(str)
    table = nuclei.assign(arm=arm, condition=arm, dose=np.nan, plate=nuclei["place"], well="", flags="", review="")
    table = table.assign(is_nucleus=True, is_counted=True, edge_width_px=4.0, dna_copies=2.0)
    numbers = all_numbers(Experiment(table, PHASES, sorted(set(arm)), "0"), simulated.N_SAMPLES).set_index("table")
    names = simulated.HOW, f"{simulated.HOW}, minus control"
    for name, ends in zip(names, simulated.found(nuclei), strict=True):
        np.testing.assert_allclose(ends.reshape(2, -1), numbers.loc[name, ["low", "high"]].T, atol=0.01)
    row = simulated.row_of(design, 2)
    assert all(0 <= row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] <= 1 for name in ("shares", "differences"))


def test_simulated_wells_differ_as_their_design_says():
    design = simulated.Design(simulated.SHARED, 200, 1, 1, 0.3, 0.4)
    nuclei = simulated.drawn(design, np.random.default_rng(0))
    shares = pd.crosstab(nuclei["unit"], nuclei["call"], normalize="index")[list(PHASES[:3])]
    np.testing.assert_allclose(np.log(shares / (1 - shares)).std(), np.hypot(0.3, 0.4), rtol=0.1)
    np.testing.assert_allclose(shares.mean(), simulated.true_shares(design)[0, :3], atol=0.01)


@pytest.mark.slow
def test_the_report_of_a_simulated_plate_finds_what_was_done_to_it(tmp_path):
    table = plates.predicted(tmp_path, 4)
    assert set(table.loc[table["call"] != "", "model_reason"]) == {"G1 peak of the group"}
    found = plates.effects(tmp_path)
    assert (found["low"] < found["truth"]).all() and (found["truth"] < found["high"]).all() and (found["low"] > 0).all()
    recorded = pd.read_csv(plates.RECORD).query("seed == 4")
    assert np.allclose(found[["truth", "value"]], recorded[["truth", "value"]], atol=0.02), "run benchmarks/plates.py"
    experiment = read_experiment([tmp_path / "table.csv"], "vehicle")
    numbers = all_numbers(experiment, 0)
    wells = numbers[numbers["table"] == "wells"].set_index(["unit", "quantity"])["value"]
    assert wells["D03", "found"] == 0 and wells["D05", "found"] < 20
    assert wells["D04", "found"] > 20
    assert "out of focus, in D04" in summary(numbers, experiment)


@pytest.mark.slow
def test_pictures_of_nuclei_are_of_the_channel_and_time_that_were_predicted(tmp_path):
    import tifffile

    # A bright square in the first channel of the first time, a thin bar in the second of the second, else noise.
    pixels = np.random.default_rng(0).integers(0, 300, (2, 2, 64, 64)).astype(np.uint16)
    pixels[0, 0, 10:30, 10:30] += 20000
    pixels[1, 1, 18:22, 10:30] += 20000
    tifffile.imwrite(tmp_path / "A01_s1.tif", pixels, imagej=True, metadata={"axes": "TCYX"})
    said = {"channel 0, t 0": {"channel": "0", "planes": "t 0"}, "channel 1, t 1": {"channel": "1", "planes": "t 1"}}
    said["channel 2, t 0"] = {"channel": "2", "planes": "t 0"}
    pd.concat(nuclei_of(CONTROL, n=30, **columns) for columns in said.values()).to_csv(tmp_path / "t.csv", index=False)
    write_report(tmp_path / "r.html", read_experiment([tmp_path / "t.csv"]), [tmp_path / "t.csv"], tmp_path)
    text = html.unescape((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert 'no channel matches "2" (its table says channel 2, t 0)' in text
    figures = re.findall(r"base64,([^']*)'><figcaption>.*?<small>A01_s1.tif \((.*?)\), nucleus \d+</small>", text)
    means = {name: [] for _, name in figures}
    for jpeg, name in figures:
        means[name].append(np.asarray(Image.open(io.BytesIO(base64.b64decode(jpeg)))).mean())
    assert set(means) == {"channel 0, t 0", "channel 1, t 1"}
    assert min(means["channel 0, t 0"]) > 2 * max(means["channel 1, t 1"])


@pytest.mark.slow
def test_plates_with_files_of_one_name_are_named_and_coloured_alike(tmp_path):
    rng, parts = np.random.default_rng(0), []
    for k, (plate, site) in enumerate((plate, site) for plate in ("P1", "P2") for site in (1, 2)):
        image = f"{plate}/A01_s{site}.tif"
        flags = "edge" if image == "P2/A01_s2.tif" else ""
        parts.append(nuclei_of(CONTROL if k < 2 else ARREST, 20 + 20 * k, k, plate=plate, image=image, flags=flags))
        (tmp_path / plate).mkdir(exist_ok=True)
        write_image(tmp_path / image, rng.integers(0, 4000, (64, 64)).astype(np.uint16), 0.3)
    table, page = tmp_path / "t.csv", tmp_path / "r.html"
    pd.concat(parts).to_csv(table, index=False)
    experiment = read_experiment([table])
    made = [figure for _, figure in figures.heat_maps(all_numbers(experiment, 0), experiment)]
    limits = [[mesh.get_clim() for ax in figure.axes for mesh in ax.collections[:1]] for figure in made]
    assert len(limits) == 2 and limits[0] == limits[1]
    write_report(page, experiment, [table], tmp_path)
    text = page.read_text(encoding="utf-8")
    assert re.findall("<h3>Plate (P.)</h3><div [^>]*><img ", text) == ["P1", "P2"]
    assert re.search("<small>P1/A01_s1.tif, nucleus", text) and "<small>A01_s1.tif" not in text
    assert "no nucleus is counted in 1 field: P2/A01_s2.tif" in text

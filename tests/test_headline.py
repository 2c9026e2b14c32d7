"""What README, figures and ethics say of the study follows from the committed records."""

import re
from itertools import pairwise

import nbformat
import numpy as np
import pytest

from cellcycle import paths, results, summaries
from cellcycle.errors import RecordError
from cellcycle.study import experiments, headline, load_profile
from cellcycle.study.status import StatusLine

ROOT = paths.repository()


@pytest.fixture
def profile(monkeypatch):
    monkeypatch.delenv("CELLCYCLE_OUTPUT", raising=False)
    return load_profile("study", "simulated")


@pytest.fixture
def dataset(profile):
    return profile.load_dataset()


def block(file, name):
    return file.read_text(encoding="utf-8").split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0].strip()


@pytest.mark.slow
def test_the_readme_follows_from_the_records(profile):
    for name, made in headline.readme_blocks().items():
        assert block(ROOT / "README.md", name) == made


def test_the_figures_are_those_of_notebook_13(profile):
    notebook = nbformat.read(ROOT / "notebooks" / "13_figures.ipynb", as_version=4)
    named = set(re.findall(r'figures\["(\w+)"\]', "\n".join(c.source for c in notebook.cells)))
    assert named == {f.stem for f in (ROOT / "figures").glob("*.png")}
    assert len(named) == 7


@pytest.mark.slow
def test_the_tables_of_notebook_13_follow_from_the_records(profile, dataset):
    shown = "\n".join(_texts(nbformat.read(ROOT / "notebooks" / "13_figures.ipynb", as_version=4)))
    records = profile.recorded(dataset, experiments.table_2(profile))
    for i, model in enumerate(experiments.TABLE_2_MODELS.values()):
        assert summaries.sentence(records[3 * i + 2], model) in shown
    for table in (
        headline.headline_table(headline.headline_records(profile, dataset, train=False)),
        headline.real_table(headline.real_records()),
    ):
        for cell in table.astype(str).to_numpy().ravel():
            assert cell in shown


def _texts(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield from (str(v) for k, v in output.get("data", {}).items() if k.startswith("text/"))
            yield output.get("text", "")


def test_every_committed_record_of_the_study_is_whole_and_of_one_data_set(dataset):
    records = results.load_runs(ROOT / "data" / "results" / "study")
    assert any(r.data["identity"] == dataset.identity for r in records)
    assert {r.data["origin"] for r in records} == {"simulated"}


def test_repeats_differ_in_their_seed_alone(tmp_path):
    def run(seed, model="m"):
        table = results.prediction_table(["a", "b"], None, ["x", "y"], np.eye(2), ("x", "y"))
        data = {"name": "d", "origin": "simulated", "identity": "d", "classes": ["x", "y"]}
        config = {"model": model, "seed": seed, "n_repeats": 1, "n_folds": 1}
        return results.write_run(tmp_path, config, data, table, train_s=1.5, predict_s=0.5, n_parameters=3)

    joined = results.join_repeats([run(0), run(100)])
    assert joined.config["n_repeats"] == 2
    assert joined.run["train_s"] == 3.0
    assert joined.predictions["repeat"].tolist() == [0, 0, 1, 1]
    with pytest.raises(RecordError, match="not a repeat"):
        results.join_repeats([run(0), run(0, "other")])


def test_the_steps_to_best_start_at_the_study_and_end_at_best(profile):
    steps = list(experiments.ingredients(profile).values())
    assert steps[-1] == experiments.best(profile)
    study = profile.config("nagao6")
    assert {k: steps[0][k] for k in study} == {**study, "copies": 0}
    for before, after in pairwise(steps):
        assert before != after


def test_the_time_left_follows_the_pace_of_the_finished_notebooks(tmp_path):
    status = StatusLine(["01", "02", "03"], tmp_path / "p", {"01": 10.0, "02": 20.0, "03": 30.0})
    assert status.left_s() is None
    status.took_s["01"] = 5.0
    assert status.left_s() == pytest.approx(25.0)
    status.workers = 2
    assert status.left_s() == pytest.approx(12.5)
    assert StatusLine(["01", "02"], tmp_path / "p").left_s() is None


def test_distances_are_fresh_minus_committed(tmp_path):
    def run(folder, scores):
        table = results.prediction_table(["a", "b"], None, ["x", "y"], np.array(scores), ("x", "y"))
        data = {"name": "d", "origin": "simulated", "identity": "d", "classes": ["x", "y"]}
        config = {"model": "m", "seed": 0, "n_repeats": 1, "n_folds": 1}
        return results.write_run(tmp_path / folder, config, data, table, train_s=1, predict_s=1, n_parameters=1)

    found = headline.distances(
        {"m": run("new", [[1, 0], [1, 0]])},
        {"m": run("old", [[1, 0], [0, 1]]), "only committed": run("old", np.eye(2))},
    )
    assert headline.show_distances(found).loc["m", "accuracy"].endswith("]  -0.5000")
    assert list(found.index) == ["m"]


def test_the_second_run_is_compared_with_the_records_as_they_are(profile, dataset):
    found = headline.second_run()
    records = headline.headline_records(profile, dataset, train=False)
    again = headline.distances(records, records)
    kept = [f"{score}{end}" for score in headline.SHOWN_SCORES for end in ("", "_low", "_high")]
    assert found[kept].to_numpy() == pytest.approx(again.loc[found.index, kept].to_numpy(), abs=1e-5)
    shown = "\n".join(_texts(nbformat.read(ROOT / "notebooks" / "13_figures.ipynb", as_version=4)))
    for cell in headline.show_distances(found).to_numpy().ravel():
        assert cell in shown

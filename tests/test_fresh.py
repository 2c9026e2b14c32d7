"""Computing the recorded study anew: beside the record, resumable, and compared with it."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from cellcycle import paths
from cellcycle.datasets import make_simulated
from cellcycle.phases import PHASES
from cellcycle.study import experiments, fresh, load_profile

pytestmark = pytest.mark.slow


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Make the whole study a stand-in that notes where its output would go."""
    monkeypatch.setenv("CELLCYCLE_OUTPUT", str(tmp_path))
    went = []

    def run_study(_profile, _data):
        went.append(os.environ["CELLCYCLE_OUTPUT"])
        return [SimpleNamespace(error=went_wrong.pop() if went_wrong else None)]

    went_wrong = []
    monkeypatch.setattr(fresh, "run_study", run_study)
    monkeypatch.setattr(fresh, "load_profile", lambda *_: load_profile("smoke"))
    monkeypatch.setattr(fresh, "headline_records", lambda *_, train: {"folder": paths.build_dir()})
    monkeypatch.setattr(fresh, "distances", lambda made, kept: pd.DataFrame({"made": [made], "kept": [kept]}))
    return SimpleNamespace(went=went, went_wrong=went_wrong, output=tmp_path)


def test_a_fresh_run_leaves_the_record_alone_and_is_compared_with_it(quick):
    outcomes, found = fresh.run_fresh()
    assert quick.went == [str(quick.output / "fresh")]
    assert found["kept"][0]["folder"] == quick.output
    assert found["made"][0]["folder"] == quick.output / "fresh"
    assert os.environ["CELLCYCLE_OUTPUT"] == str(quick.output)
    assert len(outcomes) == 1


def test_a_stopped_run_goes_on_and_a_finished_one_starts_anew(quick):
    quick.went_wrong.append("killed")
    _, found = fresh.run_fresh()
    assert found is None
    (quick.output / "fresh" / "record").touch()
    fresh.run_fresh()
    assert (quick.output / "fresh" / "record").exists()
    fresh.run_fresh()
    assert not (quick.output / "fresh" / "record").exists()


def test_the_paper_profile_trains_a_fold_at_the_size_of_the_study(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLCYCLE_OUTPUT", str(tmp_path))
    short = replace(load_profile("paper"), n_folds=2, epochs={"nagao": 1}, copies=0, n_jobs=1)
    dataset = make_simulated("few", dict.fromkeys(PHASES, 4), size_px=300)
    (record,) = short.cross_validate(dataset, [experiments.training_sets(short, "nagao6")[0]])
    assert record.data["shape"] == [1, 300, 300]
    assert len(record.predictions) == len(dataset)

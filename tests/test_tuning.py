"""Searches: spread over their ranges, halved by rounds, nested in the folds, and replayed from records."""

from dataclasses import replace

import numpy as np
import pytest

from cellcycle import results, tuning
from cellcycle.errors import SettingError
from cellcycle.study import load_profile
from cellcycle.training import runs

pytestmark = pytest.mark.slow


def test_draws_spread_over_the_whole_of_every_range():
    drawn = tuning.draw_nagao(51, seed=1)
    assert {d["width"] for d in drawn} >= {2, 50}
    assert {d["model"] for d in drawn} == {f"nagao{n}" for n in range(1, 8)}
    assert min(d["dropout"] for d in drawn) < 0.03
    assert max(d["dropout"] for d in drawn) > 0.87
    assert all(4 <= d["batch_size"] <= 100 for d in drawn)
    rates = sorted(d["learning_rate"] for d in tuning.draw_rate_and_batch(20, (1e-4, 1e-2), (8, 16), seed=1))
    # One in each twentieth of the logarithmic range.
    assert np.diff(np.log10(rates)).max() < 2 * 2 / 20 + 0.02


def test_the_same_seed_draws_the_same_settings_and_another_does_not():
    assert tuning.draw_nagao(4, 1) == tuning.draw_nagao(4, 1) != tuning.draw_nagao(4, 2)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search among three rates, of which only the first learns anything."""
    root = tmp_path_factory.mktemp("records")
    dataset = load_profile("smoke").load_dataset()
    base = {"model": "logistic", "training_set": "D1", "epochs": 8}
    settings = [base | {"learning_rate": rate} for rate in (1e-3, 1e-9, 2e-9)]
    rounds = ((1 / 4, 2), (1, 1))
    return root, dataset, settings, rounds, tuning.search(dataset, settings, rounds, root, n_folds=2)


@pytest.mark.parametrize(
    ("rounds", "finding"),
    [
        (((2, 1),), "2 is not a share"),
        (((1, 0),), "0 is out of range"),
        (((1, 2),), "leave no single one"),
        ((), "leave no"),
    ],
)
def test_rounds_that_choose_nothing_are_refused_before_any_is_trained(found, tmp_path, rounds, finding):
    _, dataset, settings, *_ = found
    with pytest.raises(SettingError, match=f"^rounds: .*{finding}"):
        tuning.search(dataset, settings, rounds, tmp_path / "none", n_folds=2)
    assert not (tmp_path / "none").exists()


def test_rounds_train_fewer_settings_for_longer(found):
    *_, search = found
    by_round = search.trials.groupby(["fold", "round"])
    assert by_round.size().tolist() == [3, 2, 3, 2]
    assert by_round["epochs"].unique().map(list).tolist() == [[2], [8], [2], [8]]
    last = search.trials[search.trials["round"] == 2]
    for fold, rows in last.groupby("fold"):
        assert rows["macro_f1"].max() == rows.loc[rows["trial"] == search.chosen[fold], "macro_f1"].item()


def test_no_search_sees_a_test_image_of_its_fold(found):
    root, dataset, *_, search = found
    tested = search.record.predictions.groupby("fold")["sample_id"].agg(set)
    inner = [r for r in results.load_runs(root) if r.config["experiment"] == "search, inner"]
    assert len(inner) == 5
    for record in inner:
        for fold, ids in record.predictions.groupby("fold")["sample_id"].agg(set).items():
            assert ids
            assert not ids & tested[fold]
    assert set().union(*tested) == set(dataset.sample_ids)


def test_inner_parts_share_no_group_with_each_other_or_the_test_fold(found):
    _, dataset, *_ = found
    for fold in tuning.stratified_folds(dataset.labels, 2, groups=dataset.groups):
        parts = [set(dataset.groups[part]) for part in (*tuning._inner(dataset, fold, 0), fold.test)]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def test_of_one_group_to_train_on_images_are_parted(found):
    _, dataset, *_ = found
    halved = replace(dataset, groups=np.arange(len(dataset)) % 2)
    for fold in tuning.stratified_folds(halved.labels, 2, groups=halved.groups):
        parts = tuning._inner(halved, fold, 0)
        assert all(map(len, parts)) and sorted(np.concatenate(parts)) == fold.train.tolist()


def test_a_finished_search_is_replayed_without_training(found, monkeypatch):
    root, dataset, settings, rounds, search = found
    monkeypatch.setattr(runs, "_fit_held", None)
    again = tuning.search(dataset, settings, rounds, root, n_folds=2)
    assert again.chosen == search.chosen
    assert again.trials.equals(search.trials)

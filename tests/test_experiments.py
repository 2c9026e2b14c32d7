"""Experiments beyond plain cross-validation: leaks, ceilings, other cells to train on."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from cellcycle import comparisons, metrics, results
from cellcycle.datasets import make_simulated
from cellcycle.errors import RecordError
from cellcycle.phases import PHASES
from cellcycle.splits import stratified_folds
from cellcycle.study import experiments, leaks, load_profile, transfers
from cellcycle.training.balancing import make_training_set
from cellcycle.training.runs import record_runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair():
    """Return nuclei to train on, and others that are half as bright."""
    train, other = (make_simulated(name, dict.fromkeys(PHASES, 12), 32, seed) for name, seed in (("a", 4), ("b", 5)))
    return train, replace(other, images=other.images * np.float32(0.5))


def test_training_across_domains_is_recorded_once(pair, tmp_path):
    run = transfers.across(pair[0], pair[1], {"model": "dna-content"})
    (record,) = record_runs([run], tmp_path)
    assert sorted(record.predictions["sample_id"]) == sorted(pair[1].sample_ids)
    assert record.config["train"] == pair[0].identity
    stamp = (record.folder / "run.json").stat().st_mtime_ns
    (again,) = record_runs([run], tmp_path)
    assert again.folder == record.folder
    assert (again.folder / "run.json").stat().st_mtime_ns == stamp


def test_intervals_are_over_slides_where_the_cells_of_another_set_have_slides(pair, tmp_path):
    slides = np.array([f"slide {i % 3}" for i in range(len(pair[1]))])
    run = transfers.across(pair[0], replace(pair[1], groups=slides), {"model": "dna-content"})
    (record,) = record_runs([run], tmp_path)
    assert set(record.units) == {f"group slide {i}" for i in range(3)}
    by_id = record.predictions.set_index("sample_id")["group"]
    assert list(by_id.loc[pair[1].sample_ids]) == list(slides)


@pytest.mark.parametrize(("name", "n_labels"), [("smoke", 32), ("study", 493)])
def test_a_larger_number_of_labels_follows_the_studys(name, n_labels):
    assert load_profile(name).study_labels == n_labels


def test_a_leaky_run_says_so_and_no_honest_search_finds_it(own_output):
    profile = load_profile("smoke")
    dataset = profile.load_dataset()
    before, inside = leaks.balance_before_split(profile, dataset, "logistic")
    assert before.config["leaky"] is True
    assert "leaky" not in inside.config
    assert before.predictions["sample_id"].duplicated().any()
    (honest,) = experiments.cross_validate(
        profile, leaks.without_groups(dataset), [experiments.settings(profile, "logistic")]
    )
    assert honest.folder == inside.folder


def test_a_memory_is_flattered_by_copies_of_the_images_it_is_asked_about(own_output):
    profile = load_profile("smoke")
    dataset = profile.load_dataset()
    before, inside = leaks.memorised(profile, dataset)
    assert before.config["leaky"] and "leaky" not in inside.config
    assert sorted(before.predictions["sample_id"]) == sorted(dataset.sample_ids)
    assert comparisons.compare(before, inside, "balanced_accuracy").value > 0.1


def test_folds_that_know_no_groups_part_copies():
    dataset = load_profile("smoke").load_dataset()
    balanced = make_training_set(dataset.images, dataset.labels, "D3", copies=1)
    fold = stratified_folds(balanced.labels, 2)[0]
    assert set(balanced.source[fold.train]) & set(balanced.source[fold.test])


def test_the_pretrained_network_fits_the_target_and_is_kept(own_output):
    profile = load_profile("smoke")
    source = transfers.transfer_source(profile, profile.load_dataset())
    assert source.classes == ("G2", "not-G2")
    file = transfers.pretrained_network(profile, source, "nagao3")
    made = file.stat().st_mtime_ns
    assert transfers.pretrained_network(profile, source, "nagao3") == file
    assert file.stat().st_mtime_ns == made


def test_the_ceiling_is_recorded_in_the_folds_of_the_models(own_output):
    profile = load_profile("smoke")
    dataset = profile.load_dataset()
    record = experiments.ceiling_record(profile, dataset)
    (baseline,) = experiments.cross_validate(profile, dataset, experiments.baseline(profile))
    assert list(record.predictions["sample_id"]) == list(baseline.predictions["sample_id"])
    assert isinstance(comparisons.compare(record, baseline, "accuracy"), metrics.Estimate)
    recall = metrics.recall(metrics.confusion_matrix(record.labels, record.predicted, 4))
    assert recall[3] == 1
    assert recall[:3].min() < 1
    assert experiments.ceiling_record(profile, dataset).folder == record.folder


def test_real_cells_have_no_known_ceiling():
    profile = load_profile("smoke")
    dataset = profile.load_dataset().select(np.arange(20))
    assert experiments.ceiling_record(profile, replace(dataset, truth=None)) is None


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


def test_the_steps_to_best_start_at_the_study_and_end_at_best():
    profile = load_profile("study", "simulated")
    steps = list(experiments.ingredients(profile).values())
    assert steps[-1] == experiments.best(profile)
    study = experiments.settings(profile, "nagao6")
    assert {k: steps[0][k] for k in study} == {**study, "copies": 0}
    for before, after in pairwise(steps):
        assert before != after


def test_the_paper_profile_trains_a_fold_at_the_size_of_the_study(own_output):
    short = replace(load_profile("paper"), n_folds=2, epochs={"nagao": 1}, copies=0, n_jobs=1)
    dataset = make_simulated("few", dict.fromkeys(PHASES, 4), size_px=300)
    (record,) = experiments.cross_validate(short, dataset, [experiments.training_sets(short, "nagao6")[0]])
    assert record.data["shape"] == [1, 300, 300]
    assert len(record.predictions) == len(dataset)

import numpy as np
import pytest

from cellcycle.datasets import make_simulated
from cellcycle.errors import DataError
from cellcycle.phases import PHASES
from cellcycle.segmentation import measure_crops
from cellcycle.study import domains
from cellcycle.study.leak import balance_before_split, naive_folds, without_groups
from cellcycle.study.pretraining import pretrained_network, transfer_source
from cellcycle.study.profiles import load_profile

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair():
    # Stands for real cells: half as bright, in smaller images.
    real = make_simulated("stand-in", dict.fromkeys(PHASES, 12), size_px=32, seed=5)
    object.__setattr__(real, "images", real.images * np.float32(0.5))
    return domains.match_domains(real, n_per_phase=12)


def test_matched_domains_share_size_and_dna_without_labels(pair):
    assert pair.simulated.images.shape[1:] == pair.real.images.shape[1:]
    dna = [measure_crops(d.images)["integrated_dna"].median() for d in (pair.simulated, pair.real)]
    area = [measure_crops(d.images)["area_px"].median() for d in (pair.simulated, pair.real)]
    assert dna[0] == pytest.approx(dna[1], rel=0.05)
    assert area[0] == pytest.approx(area[1], rel=0.25)
    assert max(pair.simulated.images.max(), pair.real.images.max()) == pytest.approx(1)


def test_training_across_domains_is_recorded_once(pair, tmp_path):
    record = domains.across(pair.simulated, pair.real, {"model": "dna-content"}, tmp_path)
    assert sorted(record.predictions["sample_id"]) == sorted(pair.real.sample_ids)
    assert record.config["train"] == pair.simulated.identity
    again = domains.across(pair.simulated, pair.real, {"model": "dna-content"}, tmp_path)
    assert again.folder == record.folder


@pytest.mark.parametrize("pretrain", [False, True])
def test_few_labels_are_never_tested_on(pair, tmp_path, pretrain):
    config = {"model": "nagao3", "training_set": "D1", "epochs": 1, "width": 4}
    record = domains.few_labels(pair, config, 3, pretrain, tmp_path, n_repeats=2)
    for _, rows in record.predictions.groupby("repeat"):
        assert rows["sample_id"].is_unique
        assert len(rows) == len(pair.real) - 3 * len(PHASES)


def test_other_classes_cannot_be_matched():
    nagao = make_simulated("n", dict.fromkeys(PHASES, 4), 32).relabel(
        {"G1": "not-G2", "S": "not-G2", "G2": "G2", "M": "not-G2"}, "n"
    )
    with pytest.raises(DataError, match="G1, S, G2 and M"):
        domains.match_domains(nagao)


def test_a_leaky_run_says_so_and_no_honest_search_finds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLCYCLE_OUTPUT", str(tmp_path))
    profile = load_profile("smoke")
    dataset = profile.load_dataset()
    before, inside = balance_before_split(profile, dataset, "logistic")
    assert before.config["leaky"] is True
    assert "leaky" not in inside.config
    assert before.predictions["sample_id"].duplicated().any()
    (honest,) = profile.cross_validate(without_groups(dataset), [profile.config("logistic")])
    assert honest.folder == inside.folder


def test_naive_folds_part_copies(tmp_path):
    from cellcycle.balancing import make_training_set

    profile = load_profile("smoke")
    dataset = profile.load_dataset()
    balanced = make_training_set(dataset.images, dataset.labels, "D3", copies=1)
    fold = naive_folds(balanced, profile)[0]
    assert set(balanced.source[fold.train]) & set(balanced.source[fold.test])


def test_the_pretrained_network_fits_the_target_and_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLCYCLE_OUTPUT", str(tmp_path))
    profile = load_profile("smoke")
    source = transfer_source(profile, profile.load_dataset())
    assert source.classes == ("G2", "not-G2")
    file = pretrained_network(profile, source, "nagao3")
    made = file.stat().st_mtime_ns
    assert pretrained_network(profile, source, "nagao3") == file
    assert file.stat().st_mtime_ns == made

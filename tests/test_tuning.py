"""Searches: seeded, bounded, and replayed from records."""

from types import SimpleNamespace

import numpy as np
import pytest

from cellcycle import tuning


class Fake:
    """Stands for a cross-validated record whose score falls with the distance from a known best setting."""

    classes = ("G1", "S")

    def __init__(self, settings):
        right = 100 - min(90, int(30 * abs(np.log10(settings["learning_rate"] / 1e-3))))
        self.labels = np.repeat([0, 1], 100)
        self.predicted = np.concatenate(
            [np.repeat([0, 1], [right, 100 - right]), np.repeat([0, 1], [100 - right, right])]
        )


def rates(trial):
    return tuning.rate_and_batch(trial, (1e-4, 1e-1), (8, 64))


def test_the_same_seed_tries_the_same_settings_and_another_does_not():
    tried = [tuning.search(rates, Fake, 5, seed=s).trials["learning_rate"].tolist() for s in (3, 3, 4)]
    assert tried[0] == tried[1] != tried[2]


def test_the_first_trial_is_the_given_one_and_the_best_is_found():
    found = tuning.search(rates, Fake, 6, first={"learning_rate": 0.1, "batch_size": 16})
    assert found.trials.loc[0, ["learning_rate", "batch_size"]].tolist() == [0.1, 16]
    best = found.trials["balanced_accuracy"].idxmax()
    assert found.best is found.records[best]
    assert found.trials.loc[best, "balanced_accuracy"] > found.trials.loc[0, "balanced_accuracy"]


def test_settings_stay_inside_their_bounds():
    table = tuning.search(rates, Fake, 12).trials
    assert table["learning_rate"].between(1e-4, 1e-1).all()
    assert table["batch_size"].between(8, 64).all()


def test_a_network_too_large_is_noted_and_never_trained():
    trained = []

    def evaluate(settings):
        trained.append(settings["width"])
        return Fake({"learning_rate": 1e-3})

    found = tuning.search(tuning.nagao_network, evaluate, 3, cost=lambda s: s["width"], max_mega_flops=30)
    assert len(trained) == len(found.records) == 3
    assert max(trained) <= 30
    too_large = found.trials[found.trials["mega_flops"] > 30]
    assert len(too_large)
    assert too_large["balanced_accuracy"].isna().all()


def test_the_space_is_that_of_nagao():
    fixed = {"hidden_stages": 6, "width": 50, "dropout": 0.9, "batch_size": 100}
    trial = SimpleNamespace(
        suggest_int=lambda name, low, high: fixed[name], suggest_float=lambda name, low, high: fixed[name]
    )
    assert tuning.nagao_network(trial) == {"model": "nagao7", "width": 50, "dropout": 0.9, "batch_size": 100}


def test_operations_grow_with_the_square_of_the_width():
    narrow, wide = (tuning.mega_flops("nagao3", 32, width=w) for w in (8, 32))
    assert 8 < wide / narrow < 16
    assert tuning.mega_flops("logistic", 8) == pytest.approx(2 * 8 * 8 * 4 / 1e6)

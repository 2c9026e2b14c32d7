"""Search for hyperparameters by successive halving, inside each training fold; every training is recorded.

Many settings are trained for a few epochs each, the best of them for longer, until one is left: Jamieson and Talwalkar,
Non-stochastic best arm identification and hyperparameter optimization, AISTATS 2016. The search of a fold sees its
training images alone: *nested* cross-validation. One that was stopped goes on, a finished one is replayed.
"""

import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from cellcycle.datasets import NucleusDataset
from cellcycle.errors import SettingError, check_share, check_whole
from cellcycle.metrics import confusion_matrix, macro_f1
from cellcycle.results import Record
from cellcycle.splits import Fold, stratified_folds
from cellcycle.tasks import jobs_of
from cellcycle.training.runs import Fit, Run, full_config, record_runs

# The ranges in which Nagao et al. (2020) searched for their network.
NAGAO_SPACE = {"width": (2, 50), "hidden_stages": (0, 6), "dropout": (0.0, 0.9), "batch_size": (4, 100)}
_SEARCHED = ("model", "width", "dropout", "learning_rate", "batch_size")
# Of a fold's training images, one in so many is held out inside it, to choose by.
_INNER_FOLDS = 4


@dataclass(frozen=True)
class Search:
    """A finished search.

    A row of `trials` is one setting in one round of one fold: `fold`, `round`, `trial` (the number of the setting),
    `epochs` and `macro_f1`, on images held out inside the training fold. `settings` are those that were searched,
    `chosen` the number of that of each fold, `record` what these, trained on whole training folds, say of test folds.
    """

    settings: list[dict]
    trials: pd.DataFrame
    chosen: list[int]
    record: Record

    def table(self) -> pd.DataFrame:
        """Return one row a setting: what is searched, its mean score in each round and its folds, then winners."""
        shown = pd.DataFrame(self.settings).rename_axis("trial")
        shown = shown[[name for name in _SEARCHED if name in shown]]
        for number, rows in self.trials.groupby("round"):
            score = f"round {number}: macro F1"
            shown[score] = rows.groupby("trial")["macro_f1"].mean()
            shown[f"round {number}: folds"] = rows.groupby("trial").size()
        return shown.assign(**{"chosen in folds": pd.Series(self.chosen).value_counts()})


def draw_rate_and_batch(
    n_trials: int, learning_rates: tuple[float, float], batch_sizes: tuple[int, ...], seed: int = 0
) -> list[dict]:
    """Return `n_trials` draws of a learning rate (two digits, even on a logarithmic scale) and a batch size.

    Examples
    --------
    >>> draw_rate_and_batch(1, (1e-3, 1e-3), (16,))
    [{'learning_rate': 0.001, 'batch_size': 16}]
    """
    low, high = learning_rates
    return [
        {"learning_rate": float(f"{low * (high / low) ** u:.1e}"), "batch_size": batch_sizes[int(v * len(batch_sizes))]}
        for u, v in _spread(n_trials, 2, seed)
    ]


def draw_nagao(n_trials: int, seed: int = 0) -> list[dict]:
    """Return `n_trials` draws of a network and batch size from the ranges of Nagao et al. (2020)."""

    def whole(name: str, u: float) -> int:
        low, high = NAGAO_SPACE[name]
        return low + int(u * (high - low + 1))

    low, high = NAGAO_SPACE["dropout"]
    return [
        {
            "model": f"nagao{whole('hidden_stages', stages) + 1}",
            "width": whole("width", width),
            "dropout": round(low + float(dropout) * (high - low), 2),
            "batch_size": whole("batch_size", batch),
        }
        for stages, width, dropout, batch in _spread(n_trials, 4, seed)
    ]


def _spread(n: int, n_ranges: int, seed: int) -> np.ndarray:
    """Return n random points (n, n_ranges) in [0, 1), one in each n-th of every range (a Latin hypercube)."""
    rng = np.random.default_rng(check_whole("seed", seed))
    parts = rng.permuted(np.tile(np.arange(n), (n_ranges, 1)), axis=1).T
    return (parts + rng.random((n, n_ranges))) / n


def search(dataset: NucleusDataset, settings, rounds, root, n_folds=5, seed=0, n_jobs=1, client=None) -> Search:
    """Search in each fold for the settings with the highest macro F1, and record what is chosen on the test folds.

    `settings` are dicts of arguments of `make_estimator`, with the whole epochs of each. `rounds` are pairs: the share
    of the epochs that a setting still in the race gets, and how many of them stay after it; the last keeps one.
    Trials and folds run in `n_jobs` processes (None: one a core), or on the workers of a `client`.
    """
    n_folds, seed, n_jobs = check_whole("n_folds", n_folds), check_whole("seed", seed), jobs_of(n_jobs)
    settings, rounds = list(settings), tuple(rounds)
    for share, n_kept in rounds:
        check_share("rounds", share)
        check_whole("rounds", n_kept, 1)
    if not settings or not rounds or rounds[-1][1] != 1:
        raise SettingError("rounds", f"{rounds} leave no single one of {len(settings)} settings", "end them with 1")
    folds = stratified_folds(dataset.labels, n_folds, 1, seed, dataset.groups, dataset.classes)
    inner = [_inner(dataset, fold, seed) for fold in folds]
    racing, rows = [list(range(len(settings))) for _ in folds], []
    for number, (share, n_kept) in enumerate(rounds, start=1):
        made = _round(dataset, settings, share, inner, racing, root, seed, n_jobs, client)
        for f, trials in enumerate(racing):
            scores = {trial: _score(made[trial], f) for trial in trials}
            rows += [(f, number, t, _shortened(settings[t], share)["epochs"], s) for t, s in scores.items()]
            # Of equals the one that was drawn first.
            racing[f] = sorted(scores, key=lambda t: (-scores[t], t))[:n_kept]
    chosen = [trials[0] for trials in racing]
    trials = pd.DataFrame(rows, columns=["fold", "round", "trial", "epochs", "macro_f1"])
    facts = {"experiment": "search", "n_folds": n_folds, "n_repeats": 1, "seed": seed, "rounds": rounds}
    full = full_config(settings[0], **facts, searched=settings, chosen=chosen)
    pairs = zip(chosen, folds, strict=True)
    fits = [Fit(settings[t], dataset, f.train, f.test, seed + f.fold, fold=f.fold) for t, f in pairs]
    (record,) = record_runs([Run(full, dataset, lambda: fits)], root, n_jobs, client=client)
    return Search(settings, trials, chosen, record)


def _inner(dataset: NucleusDataset, fold: Fold, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return those images of a training fold that are trained on, and those that are held out to choose by."""
    labels, groups = dataset.labels[fold.train], fold.train
    # Of one group alone images are parted: nothing else is left to choose by.
    if dataset.groups is not None and len(np.unique(dataset.groups[fold.train])) > 1:
        groups = dataset.groups[fold.train]
    splitter = StratifiedGroupKFold(min(_INNER_FOLDS, len(np.unique(groups))), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer nuclei than parts is in some of them only, which a search can bear.
        warnings.simplefilter("ignore", UserWarning)
        known, held_out = next(splitter.split(labels, labels, groups))
    return fold.train[known], fold.train[held_out]


def _round(dataset, settings, share, inner, racing, root, seed, n_jobs, client) -> dict[int, Record]:
    """Return the record of each setting that is still in the race, trained in the folds that kept it."""

    def fits(config, folds):
        for f in folds:
            yield Fit(config, dataset, *inner[f], seed + f, fold=f)

    runs = {}
    for trial in sorted({t for trials in racing for t in trials}):
        config, folds = _shortened(settings[trial], share), [f for f, trials in enumerate(racing) if trial in trials]
        facts = {"experiment": "search, inner", "n_folds": len(inner), "n_repeats": 1, "seed": seed, "folds": folds}
        runs[trial] = Run(full_config(config, **facts), dataset, partial(fits, config, folds))
    return dict(zip(runs, record_runs(list(runs.values()), root, n_jobs, client=client), strict=True))


def _shortened(config: dict, share: float) -> dict:
    return config | {"epochs": max(1, round(share * config["epochs"]))}


def _score(record: Record, fold: int) -> float:
    rows = record.predictions["fold"].to_numpy() == fold
    return float(macro_f1(confusion_matrix(record.labels[rows], record.predicted[rows], len(record.classes))))

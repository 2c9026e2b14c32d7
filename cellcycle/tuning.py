"""Search for hyperparameters by successive halving, inside each training fold; every training is recorded.

Many settings are trained for a few epochs each, the best of them for longer, until one is left: Jamieson and Talwalkar,
Non-stochastic best arm identification and hyperparameter optimization, AISTATS 2016. The search of a fold uses only its
training images (*nested* cross-validation). Recorded trainings are not repeated, so a stopped search can be resumed.
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
# One part in this many of a fold's training images is held out to choose the settings.
_INNER_FOLDS = 4


@dataclass(frozen=True)
class Search:
    """A finished search.

    A row of `trials` is one setting in one round of one fold: `fold`, `round`, `trial` (the number of the setting),
    `epochs` and `macro_f1`, on images held out inside the training fold. `settings` are those that were searched,
    `chosen` the number of the best one in each fold, `record` their test predictions after training on whole folds.
    """

    settings: list[dict]
    trials: pd.DataFrame
    chosen: list[int]
    record: Record

    def table(self) -> pd.DataFrame:
        """Return one row per setting: its values, mean score and number of folds per round, and folds that chose it."""
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
    """Return `n_trials` draws of a learning rate (two digits, uniform on a logarithmic scale) and a batch size.

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
    """Return a Latin hypercube: n random points (n, n_ranges) in [0, 1), one in each n-th of every range."""
    rng = np.random.default_rng(check_whole("seed", seed))
    parts = rng.permuted(np.tile(np.arange(n), (n_ranges, 1)), axis=1).T
    return (parts + rng.random((n, n_ranges))) / n


def search(dataset: NucleusDataset, settings, rounds, root, n_folds=5, seed=0, n_jobs=1, client=None) -> Search:
    """Search in each fold for the settings with the highest macro F1, and record the chosen ones on the test folds.

    `settings` are dicts of arguments of `make_estimator`, with the full number of epochs. `rounds` are pairs: the
    fraction of the epochs for which remaining settings are trained, and the number of settings kept; the last keeps 1.
    Trials and folds run in `n_jobs` processes (None: one per core), or on the workers of a `client`.
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
            # Of equal scores the setting that was drawn first wins.
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
    """Return the indices of a training fold to train on, and those held out to choose the settings."""
    labels, groups = dataset.labels[fold.train], fold.train
    # A single group is divided by images, because no other group could be held out.
    if dataset.groups is not None and len(np.unique(dataset.groups[fold.train])) > 1:
        groups = dataset.groups[fold.train]
    splitter = StratifiedGroupKFold(min(_INNER_FOLDS, len(np.unique(groups))), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer nuclei than parts is absent from some parts, which a search can tolerate.
        warnings.simplefilter("ignore", UserWarning)
        known, held_out = next(splitter.split(labels, labels, groups))
    return fold.train[known], fold.train[held_out]


def _round(dataset, settings, share, inner, racing, root, seed, n_jobs, client) -> dict[int, Record]:
    """Return the record of each remaining setting by its number, trained in the folds that kept it."""

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

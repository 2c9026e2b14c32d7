"""Search for hyperparameters by Optuna, seeded; every trial is a cross-validated run with a record of its own.

So a search that was stopped goes on where it stopped, and a finished one is replayed from its records.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from tqdm import TqdmWarning

from cellcycle.metrics import balanced_accuracy, confusion_matrix
from cellcycle.results import Record

# The ranges in which Nagao et al. (2020) searched for their network.
NAGAO_SPACE = {"width": (2, 50), "hidden_stages": (0, 6), "dropout": (0.0, 0.9), "batch_size": (4, 100)}


@dataclass(frozen=True)
class Search:
    """A finished search: its trials in the order tried, and the records of those that were trained, by number.

    A row of `trials` holds the settings, `mega_flops` (floating-point operations for one image, in millions) and
    `balanced_accuracy`, which is NaN for a network too large to be trained.
    """

    trials: pd.DataFrame
    records: dict[int, Record]

    @property
    def best(self) -> Record:
        """The run with the highest balanced accuracy."""
        return self.records[int(self.trials["balanced_accuracy"].idxmax())]


def rate_and_batch(trial, rates: tuple[float, float], batches: tuple[int, int]) -> dict:
    """Suggest a learning rate (two digits, on a logarithmic scale) and a batch size between the given bounds."""
    rate = trial.suggest_float("learning_rate", *rates, log=True)
    return {"learning_rate": float(f"{rate:.1e}"), "batch_size": trial.suggest_int("batch_size", *batches, log=True)}


def nagao_network(trial) -> dict:
    """Suggest a network and batch size in the ranges of Nagao et al. (2020)."""
    hidden = trial.suggest_int("hidden_stages", *NAGAO_SPACE["hidden_stages"])
    return {
        "model": f"nagao{hidden + 1}",
        "width": trial.suggest_int("width", *NAGAO_SPACE["width"]),
        "dropout": round(trial.suggest_float("dropout", *NAGAO_SPACE["dropout"]), 2),
        "batch_size": trial.suggest_int("batch_size", *NAGAO_SPACE["batch_size"]),
    }


def search(
    suggest: Callable[..., dict],
    evaluate: Callable[[dict], Record],
    n_trained: int,
    seed: int = 0,
    first: dict | None = None,
    cost: Callable[[dict], float] | None = None,
    max_mega_flops: float = float("inf"),
) -> Search:
    """Search by Optuna's tree-structured Parzen estimator for the highest balanced accuracy.

    `suggest` takes an Optuna trial and returns settings; the parameters of the first trial can be given, by the names
    that `suggest` uses. `evaluate` takes settings and returns their cross-validated record, found again if there is
    one, else computed, until `n_trained` are trained. `cost` takes settings and returns millions of floating-point
    operations for one image; a trial above `max_mega_flops` is recorded as too large, and not trained.
    """
    with warnings.catch_warnings():
        # Optuna loads a progress bar for notebooks that is not used here and asks for a package that is not needed.
        warnings.simplefilter("ignore", TqdmWarning)
        import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Few trials: a third of them at random, then the estimator leads.
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, n_trained // 3))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    if first is not None:
        study.enqueue_trial(first)
    rows, records = [], {}
    while len(records) < n_trained:
        trial = study.ask()
        settings = suggest(trial)
        row = settings | {"mega_flops": cost(settings) if cost else float("nan"), "balanced_accuracy": float("nan")}
        if cost and row["mega_flops"] > max_mega_flops:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            record = records[trial.number] = evaluate(settings)
            matrix = confusion_matrix(record.labels, record.predicted, len(record.classes))
            row["balanced_accuracy"] = float(balanced_accuracy(matrix))
            study.tell(trial, row["balanced_accuracy"])
        rows.append(row)
    return Search(pd.DataFrame(rows).rename_axis("trial"), records)


def mega_flops(model: str, size_px: int, channels: int = 1, n_classes: int = 4, width: int | None = None) -> float:
    """Return the floating-point operations of one network, as `build_network` makes it, on one image, in millions.

    Examples
    --------
    >>> mega_flops("logistic", 10)
    0.0008
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cellcycle.networks import build_network

    network = build_network(model, n_classes, channels, size_px, width=width).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, channels, size_px, size_px))
    return counter.get_total_flops() / 1e6

"""Fit, predict and record: the one place where experiments train models and store their predictions.

Folds are trained in parallel processes; each model becomes one record.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from cellcycle import results, segmentation, tasks
from cellcycle.datasets import NucleusDataset
from cellcycle.errors import DataError, RecordError, check_choice, check_keywords, check_share, check_whole
from cellcycle.files import check_path, replace_json
from cellcycle.inputs import InputRule, Inputs, prepare
from cellcycle.networks import DNA_CONTENT
from cellcycle.splits import check_no_leak, image_fingerprints, stratified_folds
from cellcycle.training.baseline import MEASUREMENTS, DnaContentClassifier
from cellcycle.training.classifier import NetworkClassifier

# Set by `cellcycle study` for the notebooks that it runs, whose output must not contain progress bars.
_PROGRESS_FILE = "CELLCYCLE_PROGRESS_FILE"


def make_estimator(model="nagao6", **settings):
    """Return an unfitted `DnaContentClassifier` ("dna-content"), or `NetworkClassifier` of that network."""
    taker = DnaContentClassifier if model == DNA_CONTENT else partial(NetworkClassifier, model)
    check_keywords(settings, make_estimator, taker)
    return taker(**settings)


def rule_of(settings: dict, size_px: int) -> InputRule:
    """Return the input rule of a run: crops as they are, and the measurements that its settings name."""
    by_dna = settings.get("model") == DNA_CONTENT
    return InputRule(size_px, measurements=MEASUREMENTS[0] if by_dna else settings.get("measurements", ()))


@dataclass(frozen=True)
class Fit:
    """One training and its test images.

    `settings` are arguments of `make_estimator`, and the `measurements` of the input rule; `train` (n,) are indices of
    `dataset`, `test` (m,) of the run's test data; `inputs` are those of both, prepared once for all fits.
    """

    settings: dict
    dataset: NucleusDataset
    train: np.ndarray
    test: np.ndarray
    seed: int = 0
    repeat: int = 0
    fold: int = 0
    inputs: tuple[Inputs, Inputs] | None = None


@dataclass(frozen=True)
class Run:
    """The content of one record: its full configuration, the test data, and a function that makes its fits."""

    config: dict
    test: NucleusDataset
    fits: Callable[[], Iterable[Fit]]


@dataclass(frozen=True)
class Outcome:
    """The result of one fit: probabilities (m, K) of its test images, losses by epoch, times, number of weights."""

    probabilities: np.ndarray
    history: pd.DataFrame
    train_s: float = 0.0
    predict_s: float = 0.0
    n_parameters: int | None = None


def fit_estimator(fit: Fit, test: NucleusDataset) -> Outcome:
    """Train the estimator of one fit and predict its test images."""
    estimator, watched = make_estimator(**{k: v for k, v in fit.settings.items() if k != "measurements"}), {}
    training, tested = fit.inputs
    # On a CPU measure the CPU time of this process, which other work on the machine does not lengthen.
    clock = time.process_time if fit.settings.get("device", "cpu") == "cpu" else time.perf_counter
    started = clock()
    if isinstance(estimator, NetworkClassifier):
        estimator.set_params(seed=fit.seed)
        watched["held_out"] = tested[fit.test], test.labels[fit.test]
    estimator.fit(training[fit.train], fit.dataset.labels[fit.train], **watched)
    trained = clock()
    called = estimator.predict_proba(tested[fit.test])
    predicted = clock()
    probabilities = np.zeros((len(fit.test), len(test.classes)))
    probabilities[:, estimator.classes_] = called
    history = getattr(estimator, "history_", pd.DataFrame()).assign(repeat=fit.repeat, fold=fit.fold)
    n_parameters = getattr(estimator, "n_parameters_", None)
    return Outcome(probabilities, history, trained - started, predicted - trained, n_parameters)


def record_runs(runs, root, n_jobs=1, fit=fit_estimator, client=None) -> list[results.Record]:
    """Return the record of each run; runs that are already recorded in the folder `root` are not computed again.

    Each of `n_jobs` processes (None: one per core) uses one thread; or the workers of a `client` compute, see
    `cellcycle.tasks`. `fit` takes a `Fit` and the test data, and returns an `Outcome`.
    """
    check_path(root)
    n_jobs = tasks.jobs_of(n_jobs)
    found = [_found(root, run) for run in runs]
    pending = {i: list(run.fits()) for i, run in enumerate(runs) if found[i] is None}
    waiting = [(i, one) for i, fits in pending.items() for one in fits]
    if not waiting:
        return found
    fits = [(one, runs[i].test) for i, one in waiting]
    if fit is fit_estimator:
        fits = _with_inputs(fits)
    # Pickled together, so that data shared by fits are sent to each process only once.
    begun = fit, fits, n_jobs > 1 or client is not None
    outcomes = tasks.run(_fit_held, range(len(fits)), n_jobs, start=_hold, start_arguments=begun, client=client)
    outcomes = _with_progress(outcomes, len(fits), f"{runs[0].test.name}: folds")
    made = {i: [] for i in pending}
    for (i, _), outcome in zip(waiting, outcomes, strict=True):
        made[i].append(outcome)
        if len(made[i]) == len(pending[i]):
            # Write a record as soon as its last fold is done, so that an interruption loses unfinished models only.
            found[i] = _write(root, runs[i], pending[i], made.pop(i))
    return found


def _with_inputs(fits: list[tuple[Fit, NucleusDataset]]) -> list[tuple[Fit, NucleusDataset]]:
    """Return fits with their inputs; each data set is prepared once per input rule."""
    once = cache(prepare)
    pairs = ([once(data, rule_of(one.settings, data.size_px)) for data in (one.dataset, test)] for one, test in fits)
    return [(replace(one, inputs=tuple(pair)), test) for (one, test), pair in zip(fits, pairs, strict=True)]


def _hold(fit, fits, is_one_of_many):
    if is_one_of_many:
        threadpool_limits(1)
    return fit, fits


def _fit_held(started, number: int) -> Outcome:
    fit, fits = started
    return fit(*fits[number])


def _found(root, run: Run) -> results.Record | None:
    """Return the record of a run, or None; a damaged one is reported and counts as none."""
    try:
        return results.find_run(root, run.config, run.test.identity, defaults_of(run.config["model"]))
    except RecordError as error:
        _say(f"{error.subject}: {error.finding}; the run is made again")
        return None


def _say(line: str) -> None:
    """Print a line on standard error; under `cellcycle study` append it to a file, not to the notebook's output."""
    if file := os.environ.get(_PROGRESS_FILE):
        with Path(file).with_suffix(".txt").open("a", encoding="utf-8") as notes:
            notes.write(f"{line}\n")
    else:
        print(line, file=sys.stderr, flush=True)


def _with_progress(outcomes: Iterable, total: int, title: str) -> Iterator:
    """Yield outcomes as they arrive, and show their number on a terminal, in a notebook or to `cellcycle study`."""
    file = os.environ.get(_PROGRESS_FILE)
    visible = not file and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    outcomes = tqdm(outcomes, title, total, unit="fold", disable=not visible, leave=False)
    for done, outcome in enumerate(chain([None], outcomes)):
        if file:
            replace_json(Path(file), {"title": title, "done": done, "total": total})
        if done:
            yield outcome


def _write(root, run: Run, fits, outcomes) -> results.Record:
    test, names = run.test, np.array(run.test.classes)
    tables = [
        results.prediction_table(
            test.sample_ids[fit.test],
            None if test.groups is None else test.groups[fit.test],
            names[test.labels[fit.test]],
            outcome.probabilities,
            test.classes,
            fit.repeat,
            fit.fold,
        )
        for fit, outcome in zip(fits, outcomes, strict=True)
    ]
    return results.write_run(
        root,
        run.config,
        test.describe(),
        pd.concat(tables, ignore_index=True),
        pd.concat([o.history for o in outcomes], ignore_index=True),
        defaults_of(run.config["model"]),
        train_s=round(sum(o.train_s for o in outcomes), 2),
        predict_s=round(sum(o.predict_s for o in outcomes), 3),
        n_parameters=outcomes[0].n_parameters,
        cpu_count=os.cpu_count(),
    )


def full_config(settings: dict, **facts) -> dict:
    """Return the full configuration of a run for JSON, with all defaults, and files by their names.

    `settings` are arguments of `make_estimator`; `facts` are what else identifies the run: n_folds, seed, ...
    """
    defaults = defaults_of(settings.get("model", "nagao6"))
    for name in settings:
        check_choice("settings", name, defaults)
    full = defaults | settings | facts
    if full["model"] == DNA_CONTENT or full.get("measurements"):
        full["measured_by"] = f"segmentation {segmentation.VERSION}"
    if full.get("pretrained") is not None:
        # By name, not by hash: the same training may differ in the last bit on another machine.
        full["pretrained"] = Path(full["pretrained"]).stem
    return {k: list(v) if isinstance(v, tuple) else v for k, v in full.items()}


def defaults_of(model: str) -> dict:
    """Return the default settings, which do not identify a record: those of the estimator, and `train_share` 1."""
    defaults = {"model": model} | make_estimator(model).get_params(deep=False) | {"train_share": 1.0}
    if defaults.pop("network", None):
        defaults["measurements"] = ()
    # The seed of a run is that of its folds, from which the seed of each estimator follows.
    return {k: v for k, v in defaults.items() if k != "seed"}


def cross_validate(
    dataset: NucleusDataset, settings, root, n_folds=5, n_repeats=1, seed=0, n_jobs=1, client=None
) -> list[results.Record]:
    """Cross-validate models and return their records; models already recorded are not trained again.

    Each of `settings` is a dict of arguments of `make_estimator`, and optionally `train_share` in (0, 1]: the fraction
    of each training fold that is used (stratified), for learning curves. `root` is the folder of the records. Folds
    never divide groups of the data set. Fold f of repeat r trains with the seed `seed + r * n_folds + f`. Each of
    `n_jobs` processes (None: one per core), or each worker of a `client`, uses one thread.

    A class too small for the folds or the share, or a copy of a test image among the training images, is a `DataError`.
    """
    n_folds, n_repeats = check_whole("n_folds", n_folds), check_whole("n_repeats", n_repeats)
    seed, n_jobs = check_whole("seed", seed), tasks.jobs_of(n_jobs)

    @cache
    def folds():
        made = stratified_folds(dataset.labels, n_folds, n_repeats, seed, dataset.groups, dataset.classes)
        fingerprints = image_fingerprints(dataset.images)
        for fold in made:
            check_no_leak(fold, fingerprints, dataset.groups)
        return made

    def runs():
        for given in settings:
            full = full_config(given, n_folds=n_folds, n_repeats=n_repeats, seed=seed)
            check_share("train_share", full["train_share"])
            own = {k: v for k, v in given.items() if k != "train_share"}
            yield Run(full, dataset, partial(fits, own, full["train_share"]))

    def fits(own, share):
        for fold in folds():
            train, fold_seed = fold.train, seed + fold.repeat * n_folds + fold.fold
            if share < 1:
                labels = dataset.labels[train]
                try:
                    train, _ = train_test_split(train, train_size=share, stratify=labels, random_state=fold_seed)
                except ValueError as error:
                    finding = f"a share of {share:g} of a training fold, or what it leaves, cannot hold every class"
                    raise DataError(dataset.name, finding, "give another share, or more images") from error
            yield Fit(own, dataset, train, fold.test, fold_seed, fold.repeat, fold.fold)

    return record_runs(list(runs()), root, n_jobs, client=client)

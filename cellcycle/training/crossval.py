"""Cross-validation of many models at once: folds in parallel processes, one record a model."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from sklearn.model_selection import train_test_split

from cellcycle import results, segmentation
from cellcycle.baseline import DnaContentClassifier
from cellcycle.datasets import NucleusDataset
from cellcycle.errors import RecordError
from cellcycle.splits import check_no_leak, image_fingerprints, stratified_folds
from cellcycle.training.classifier import NetworkClassifier
from cellcycle.training.progress import Progress


def make_estimator(model="nagao6", **settings):
    """Return an unfitted scikit-learn classifier by model name.

    Parameters
    ----------
    model : str
        "dna-content" or a name of `cellcycle.models.NETWORKS`.
    **settings
        Parameters of `DnaContentClassifier` or `NetworkClassifier`.
    """
    if model == "dna-content":
        return DnaContentClassifier(**settings)
    return NetworkClassifier(model=model, **settings)


def cross_validate(
    dataset: NucleusDataset,
    configs,
    root,
    n_folds=5,
    n_repeats=1,
    seed=0,
    n_jobs=1,
    progress=True,
) -> list[results.Record]:
    """Cross-validate models and return their records; those already recorded are not run again.

    Parameters
    ----------
    dataset : NucleusDataset
    configs : list of dict
        Arguments of `make_estimator`, and optionally `train_share` in (0, 1]: the share of each training
        fold that is used (stratified), for learning curves.
    root : path-like
        Folder of the records.
    n_folds, n_repeats, seed
        Of the stratified folds; groups of the data set are never parted. Fold f of repeat r trains with
        the seed `seed + r * n_folds + f`.
    n_jobs : int
        Processes; each computes with one thread.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    list of Record, in the order of `configs`

    Raises
    ------
    DataError
        If a class is too small for the folds, or a test image or a copy of one would be trained on.
    """
    identity = dataset.identity
    full = [full_config(c, n_folds=n_folds, n_repeats=n_repeats, seed=seed) for c in configs]
    found = [find_or_say(root, config, identity) for config in full]
    pending = [i for i, record in enumerate(found) if record is None]
    if not pending:
        return found
    folds = stratified_folds(dataset.labels, n_folds, n_repeats, seed, dataset.groups, dataset.classes)
    fingerprints = image_fingerprints(dataset.images)
    for fold in folds:
        check_no_leak(fold, fingerprints, dataset.groups)
    tasks = [(i, fold) for i in pending for fold in folds]
    made = {i: [] for i in pending}
    bar = Progress(len(tasks), f"{dataset.name}: folds", enabled=progress)
    for i, outcome in _run_tasks(dataset, configs, tasks, seed, n_folds, n_jobs):
        made[i].append(outcome)
        bar.advance(configs[i].get("model", "nagao6"))
        if len(made[i]) == len(folds):
            # A record is written as soon as its last fold is done, so a kill loses unfinished models only.
            found[i] = _write(root, full[i], dataset, made.pop(i))
    bar.close()
    return found


def _run_tasks(dataset, configs, tasks, seed, n_folds, n_jobs):
    """Yield (index of config, outcome of one fold), in the order in which they finish."""
    n_jobs = min(n_jobs, len(tasks))
    jobs = (
        delayed(_fit_fold)(
            i, configs[i], dataset.images, dataset.labels, fold, seed + fold.repeat * n_folds + fold.fold
        )
        for i, fold in tasks
    )
    if n_jobs == 1:
        for function, arguments, _ in jobs:
            yield function(*arguments)
        return
    with parallel_config(backend="loky", inner_max_num_threads=1):
        yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch="2*n_jobs")(jobs)


def _fit_fold(i, config, images, labels, fold, seed):
    """Fit one model on one training fold and predict its test fold."""
    settings = dict(config)
    share = settings.pop("train_share", 1.0)
    train = fold.train
    if share < 1:
        train, _ = train_test_split(train, train_size=share, stratify=labels[train], random_state=seed)
    estimator = make_estimator(**settings)
    if "seed" in estimator.get_params():
        estimator.set_params(seed=seed)
    clock = clock_for(settings)
    started = clock()
    estimator.fit(images[train], labels[train])
    trained = clock()
    scores = estimator.predict_proba(images[fold.test])
    predicted = clock()
    all_scores = np.zeros((len(fold.test), labels.max() + 1), dtype=np.float64)
    all_scores[:, estimator.classes_] = scores
    history = getattr(estimator, "history_", pd.DataFrame()).assign(repeat=fold.repeat, fold=fold.fold)
    facts = {
        "train_s": trained - started,
        "predict_s": predicted - trained,
        "n_parameters": getattr(estimator, "n_parameters_", None),
    }
    return i, (fold, all_scores, history, facts)


def clock_for(settings: dict):
    """Return the clock by which a run is timed.

    On a CPU the time that this process computed, which other work on the machine does not lengthen.
    """
    return time.process_time if settings.get("device", "cpu") == "cpu" else time.perf_counter


def _write(root, config, dataset, outcomes) -> results.Record:
    outcomes = sorted(outcomes, key=lambda o: (o[0].repeat, o[0].fold))
    tables = [
        results.prediction_table(
            dataset.sample_ids[fold.test],
            None if dataset.groups is None else dataset.groups[fold.test],
            np.array(dataset.classes)[dataset.labels[fold.test]],
            scores,
            dataset.classes,
            fold.repeat,
            fold.fold,
        )
        for fold, scores, _, _ in outcomes
    ]
    facts = [o[3] for o in outcomes]
    return results.write_run(
        root,
        config,
        dataset.describe(),
        pd.concat(tables, ignore_index=True),
        pd.concat([o[2] for o in outcomes], ignore_index=True),
        defaults_of(config["model"]),
        train_s=round(sum(f["train_s"] for f in facts), 2),
        predict_s=round(sum(f["predict_s"] for f in facts), 3),
        n_parameters=facts[0]["n_parameters"],
        cpu_count=os.cpu_count(),
    )


def full_config(settings: dict, **facts) -> dict:
    """Return the whole JSON-able configuration of a run: every default spelled out, files by their name.

    Parameters
    ----------
    settings : dict
        As `cross_validate` takes them.
    **facts
        What else tells the run from others: n_folds, n_repeats, seed, ...
    """
    full = defaults_of(settings.get("model", "nagao6")) | settings | facts
    if full["model"] == "dna-content" or full.get("measurements"):
        full["measured_by"] = f"segmentation {segmentation.VERSION}"
    if full.get("pretrained") is not None:
        # By name, which says what was trained on what: the same training may differ in a last bit elsewhere.
        full["pretrained"] = Path(full["pretrained"]).stem
    return {k: list(v) if isinstance(v, tuple) else v for k, v in full.items()}


def defaults_of(model: str) -> dict:
    """Return the settings that need not name a record: an estimator's defaults, and training on whole folds."""
    defaults = {"model": model} | make_estimator(model).get_params(deep=False) | {"train_share": 1.0}
    # The seed of a run is that of its folds; an estimator's own follows from it.
    return {k: v for k, v in defaults.items() if k != "seed"}


def find_or_say(root, config: dict, data_identity: str) -> results.Record | None:
    """Return the record of a whole configuration, or None; a damaged one is named, for it is made again."""
    try:
        return results.find_run(root, config, data_identity, defaults_of(config["model"]))
    except RecordError as error:
        print(f"{error.subject}: {error.finding}; the run is made again")
        return None

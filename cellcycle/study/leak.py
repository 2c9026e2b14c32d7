"""What a leak would flatter: balancing before the split, done wrong on purpose and recorded as such."""

from dataclasses import replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from sklearn.model_selection import StratifiedKFold

from cellcycle import results
from cellcycle.balancing import TrainingSet, make_training_set
from cellcycle.datasets import NucleusDataset
from cellcycle.splits import Fold, image_fingerprints, join_copies
from cellcycle.study.profiles import Profile
from cellcycle.training.crossval import defaults_of, find_or_say, full_config

LEAKY_SET = "D3-before-split"


def without_groups(dataset: NucleusDataset) -> NucleusDataset:
    """Return the data set with its groups forgotten (all but copies of one image), under an identity of its own."""
    if dataset.groups is None:
        return dataset
    return replace(
        dataset,
        name=f"{dataset.name}, groups ignored",
        groups=join_copies(None, image_fingerprints(dataset.images)),
        identity=f"{dataset.identity}>groups ignored",
    )


def naive_folds(balanced: TrainingSet, profile: Profile) -> list[Fold]:
    """Return stratified folds of a balanced set that ignore which images are copies of one nucleus."""
    splitter = StratifiedKFold(profile.n_folds, shuffle=True, random_state=profile.seed)
    parts = splitter.split(np.zeros(len(balanced.labels)), balanced.labels)
    return [Fold(0, fold, train, test) for fold, (train, test) in enumerate(parts)]


def balance_before_split(profile: Profile, dataset: NucleusDataset, model: str = "nagao6"):
    """Cross-validate one model with the data balanced before the split, and inside the folds.

    Parameters
    ----------
    profile : Profile
    dataset : NucleusDataset
    model : str
        A name of `cellcycle.models.NETWORKS`.

    Returns
    -------
    before, inside : Record
        Balanced before the split and inside the folds. The configuration of the first says
        `"leaky": true`, so that no table of honest runs finds it. Both forget the groups of the data set,
        so that nothing but the balancing differs, and train for about the same number of steps: the
        balanced set is larger, so its epochs are fewer.
    """
    dataset = without_groups(dataset)
    (inside,) = profile.cross_validate(dataset, [profile.config(model)])
    balanced = make_training_set(dataset.images, dataset.labels, "D3", copies=profile.copies, seed=profile.seed)
    settings = profile.config(model, "D1")
    epochs = profile.epochs_for(model, len(dataset))
    settings["epochs"] = max(1, round(epochs * len(dataset) / len(balanced.labels)))
    config = full_config(
        settings, leaky=True, training_set=LEAKY_SET, n_folds=profile.n_folds, n_repeats=1, seed=profile.seed
    )
    leaky = find_or_say(profile.results_dir(), config, dataset.identity)
    return leaky or _run_leaky(profile, dataset, balanced, settings, config), inside


def _run_leaky(profile, dataset, balanced, settings, config) -> results.Record:
    """Fit and score the naive folds, and write their record; copies keep the sample id of their nucleus."""
    folds = naive_folds(balanced, profile)
    with parallel_config(backend="loky", inner_max_num_threads=1):
        outcomes = Parallel(n_jobs=min(profile.n_jobs, len(folds)))(
            delayed(_fit_fold)(settings, balanced, fold, profile.seed + fold.fold) for fold in folds
        )
    copies_of = replace(dataset.select(balanced.source), identity=dataset.identity)
    tables = [
        results.prediction_table(
            copies_of.sample_ids[fold.test],
            None if copies_of.groups is None else copies_of.groups[fold.test],
            np.array(dataset.classes)[balanced.labels[fold.test]],
            scores,
            dataset.classes,
            fold=fold.fold,
        )
        for fold, (scores, _) in zip(folds, outcomes, strict=True)
    ]
    return results.write_run(
        profile.results_dir(),
        config,
        copies_of.describe(),
        pd.concat(tables, ignore_index=True),
        defaults=defaults_of(config["model"]),
        train_s=round(sum(seconds for _, seconds in outcomes), 2),
        predict_s=0.0,
        n_parameters=None,
    )


def _fit_fold(settings, balanced, fold, seed):
    """Return scores (M, K) of one naive test fold, and the seconds of fit and prediction together."""
    from cellcycle.training import clock_for, make_estimator

    clock = clock_for(settings)
    started = clock()
    estimator = make_estimator(**settings, seed=seed)
    estimator.fit(balanced.images[fold.train], balanced.labels[fold.train])
    return estimator.predict_proba(balanced.images[fold.test]), clock() - started

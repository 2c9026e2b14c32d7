"""How much balancing before the split inflates scores: runs with a deliberate leak, each beside the correct run."""

import time
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.neighbors import KNeighborsClassifier

from cellcycle.comparisons import BALANCED
from cellcycle.datasets import NucleusDataset
from cellcycle.results import Record
from cellcycle.splits import image_fingerprints, joined, stratified_folds
from cellcycle.study import experiments
from cellcycle.study.profiles import Profile
from cellcycle.training.balancing import make_training_set
from cellcycle.training.runs import Fit, Outcome, Run, full_config, record_runs

INSIDE_SET, LEAKY_SET = BALANCED


def without_groups(dataset: NucleusDataset) -> NucleusDataset:
    """Return the data set without its groups, under a new identity; only copies of one image stay grouped."""
    if dataset.groups is None:
        return dataset
    copy_of = joined(image_fingerprints(dataset.images)[:, np.newaxis])
    return replace(
        dataset,
        name=f"{dataset.name}, groups ignored",
        groups=copy_of if len(np.unique(copy_of)) < len(dataset) else None,
        groups_are_copies=True,
        identity=f"{dataset.identity}>groups ignored",
    )


def _balanced(profile: Profile, dataset: NucleusDataset) -> tuple[NucleusDataset, np.ndarray, list]:
    """Return the whole set balanced, the index of each image's nucleus (n,), and folds that may part its copies."""
    made = make_training_set(dataset.images, dataset.labels, "D3", copies=profile.copies, seed=profile.seed)
    # Each copy keeps the sample id of its nucleus.
    copies = replace(dataset.select(made.source), images=made.images, identity=dataset.identity)
    return copies, made.source, stratified_folds(copies.labels, profile.n_folds, seed=profile.seed)


def balance_before_split(profile: Profile, dataset: NucleusDataset, model: str = "nagao6") -> tuple[Record, Record]:
    """Return two records: the set balanced before the split (a leak), and the same model balanced inside the folds.

    The configuration of the first has `"leaky": true`, so that no table of correct runs includes it. Both ignore the
    groups of the data set, so that only the balancing differs. Both train for about the same number of steps: the
    balanced set is larger, so it gets fewer epochs.
    """
    dataset = without_groups(dataset)
    (inside,) = experiments.cross_validate(profile, dataset, [experiments.settings(profile, model)])
    copies, _, folds = _balanced(profile, dataset)
    epochs = round(profile.epochs_for(model, len(dataset)) * len(dataset) / len(copies))
    chosen = experiments.settings(profile, model, "D1", epochs=max(1, epochs))
    fits = [Fit(chosen, copies, f.train, f.test, profile.seed + f.fold, fold=f.fold) for f in folds]
    facts = {"leaky": True, "training_set": LEAKY_SET, "n_folds": profile.n_folds, "n_repeats": 1}
    run = Run(full_config(chosen, **facts, seed=profile.seed), copies, lambda: fits)
    return record_runs([run], profile.results_dir(), profile.n_jobs)[0], inside


def memorised(profile: Profile, dataset: NucleusDataset) -> tuple[Record, Record]:
    """Return two records of a nearest-neighbour model, which memorises its training images: with the leak and without.

    The model predicts the class of the training image with the nearest pixels. Both are tested on the same original
    images in the same folds. With the leak, altered copies of the test images are in training. Groups are ignored, so
    that nothing else differs.
    """
    dataset = without_groups(dataset)
    copies, source, folds = _balanced(profile, dataset)
    # The first image of every nucleus in the balanced set is the original.
    _, originals = np.unique(source, return_index=True)

    def fits(is_leaky: bool):
        for f in folds:
            test = source[np.intersect1d(f.test, originals)]
            known = f.train if is_leaky else np.flatnonzero(~np.isin(source, test))
            yield Fit({}, copies, known, test, fold=f.fold)

    def run(is_leaky: bool) -> Run:
        facts = {"leaky": True, "training_set": LEAKY_SET} if is_leaky else {"training_set": INSIDE_SET}
        facts |= {"copies": profile.copies, "n_folds": profile.n_folds, "n_repeats": 1, "seed": profile.seed}
        return Run({"model": "nearest-pixels", **facts}, dataset, lambda: fits(is_leaky))

    before, inside = record_runs([run(True), run(False)], profile.results_dir(), fit=_nearest)
    return before, inside


def _nearest(fit: Fit, test: NucleusDataset) -> Outcome:
    started = time.process_time()
    pixels = fit.dataset.images[fit.train].reshape(len(fit.train), -1)
    asked = test.images[fit.test].reshape(len(fit.test), -1)
    called = KNeighborsClassifier(1).fit(pixels, fit.dataset.labels[fit.train]).predict(asked)
    probabilities = np.eye(len(test.classes))[called]
    return Outcome(probabilities, pd.DataFrame(), predict_s=time.process_time() - started)

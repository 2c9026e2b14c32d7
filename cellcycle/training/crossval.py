"""Cross-validation of many models at once: folds in parallel processes, one record a model."""

from functools import cache, partial

from sklearn.model_selection import train_test_split

from cellcycle import results
from cellcycle.datasets import NucleusDataset
from cellcycle.splits import check_no_leak, image_fingerprints, stratified_folds
from cellcycle.training.runs import Fit, Run, full_config, record_runs


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

    Each of `configs` is a dict of arguments of `make_estimator`, and optionally `train_share` in (0, 1]: the share of
    each training fold that is used (stratified), for learning curves. `root` is the folder of the records. Groups of
    the data set are never parted. Fold f of repeat r trains with the seed `seed + r * n_folds + f`. Each of `n_jobs`
    processes computes with one thread.

    A class too small for the folds, or a test image or a copy of one that would be trained on, is a `DataError`.
    """

    @cache
    def folds():
        made = stratified_folds(dataset.labels, n_folds, n_repeats, seed, dataset.groups, dataset.classes)
        fingerprints = image_fingerprints(dataset.images)
        for fold in made:
            check_no_leak(fold, fingerprints, dataset.groups)
        return made

    def runs():
        for config in configs:
            full = full_config(config, n_folds=n_folds, n_repeats=n_repeats, seed=seed)
            settings = {k: v for k, v in config.items() if k != "train_share"}
            yield Run(full, dataset, partial(fits, settings, full["train_share"]))

    def fits(settings, share):
        for fold in folds():
            train, fold_seed = fold.train, seed + fold.repeat * n_folds + fold.fold
            if share < 1:
                labels = dataset.labels[train]
                train, _ = train_test_split(train, train_size=share, stratify=labels, random_state=fold_seed)
            yield Fit(settings, dataset, train, fold.test, fold_seed, fold.repeat, fold.fold)

    return record_runs(list(runs()), root, n_jobs, progress)

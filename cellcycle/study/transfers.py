"""Experiments that train on other cells than they test on: larger sets, other tasks or other stain colours."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cellcycle import comparisons, files, metrics, results
from cellcycle.datasets import NucleusDataset, make_simulated
from cellcycle.results import Record
from cellcycle.simulation import STUDY_COUNTS
from cellcycle.splits import stratified_folds
from cellcycle.study.experiments import TABLE_2_MODELS, best, completed, settings
from cellcycle.study.profiles import STUDY_IMAGES, Profile
from cellcycle.training.runs import Fit, Run, defaults_of, full_config, make_estimator, record_runs

# (red, green, blue) of artificial stains; the first is the most common one among simulated coloured nuclei.
COLOURS = {"blue": (0.1, 0.2, 1.0), "green": (0.1, 1.0, 0.2), "gray": (1.0, 1.0, 1.0)}
# Augmentations meant to make a model independent of the stain's colour.
BLINDING = {"none": (), "jitter": ("jitter",), "grayscale": ("grayscale",), "both": ("jitter", "grayscale")}
# Number of test nuclei of the learning curves, as a multiple of the study's set: large enough that no score depends
# on the calls of a few mitoses.
_TEST_SHARE = 6
# Added to the profile's seed, so that neither set shares a nucleus or a slide with the study's.
_TRAIN_SEED, _TEST_SEED = 1000, 2000


def transfer_source(profile: Profile, dataset: NucleusDataset) -> NucleusDataset:
    """Return the profile's G2 / not-G2 set in the image size and number of channels of `dataset`."""
    source = profile.load_dataset(profile.source, size_px=dataset.size_px)
    channels = dataset.images.shape[1]
    if source.images.shape[1] == channels:
        return source
    images = np.repeat(source.images[:, :1], channels, axis=1)
    return replace(source, images=images, identity=f"{source.identity}x{channels}")


def pretrained_network(profile: Profile, source: NucleusDataset, model="nagao6", train=True) -> Path:
    """Train a network on all images of a source data set, once, and return the `.safetensors` file of its weights.

    With `train=False` only the path is returned, to look up records that start from it; the file may not exist.
    """
    config = completed(profile, source, settings(profile, model))
    key = results.key_of(full_config(config, seed=profile.seed), defaults_of(config["model"]))
    name = f"{files.slug(source.name)}-{results.run_id(key, source.identity)}"
    file = files.build_dir() / "pretrained" / f"{name}.safetensors"
    if train and not file.exists():
        make_estimator(**config, seed=profile.seed).fit(source.images, source.labels).save_network(file)
    return file


def transfer(profile: Profile, pretrained) -> list[dict]:
    """Return the settings of Section III-E: the Nagao network from scratch and fine-tuned, per share of the labels."""
    return [
        settings(profile, "nagao6", pretrained=start, train_share=share)
        for share in profile.label_shares
        for start in (None, pretrained)
    ]


def scratch_at_equal_steps(profile: Profile, source: NucleusDataset, dataset: NucleusDataset) -> list[dict]:
    """Return settings to train from scratch on the three smallest shares, for as many steps as when fine-tuned.

    The fine-tuned network makes steps on the source and on the share. An epoch draws as many images as the set has, so
    with equal epochs a small share means few steps, which alone could explain a lower score.
    """
    batch_size = defaults_of("nagao6")["batch_size"]
    chosen = settings(profile, "nagao6")
    on_source = completed(profile, source, chosen)["epochs"] * -(-len(source) // batch_size)
    in_fold = len(dataset) * (1 - 1 / profile.n_folds)
    made = []
    for share in profile.label_shares[:3]:
        steps_an_epoch = -(-int(share * in_fold) // batch_size)
        epochs = completed(profile, dataset, chosen)["epochs"] + round(on_source / steps_an_epoch)
        made.append(settings(profile, "nagao6", train_share=share, epochs=epochs))
    return made


def across(train: NucleusDataset, test: NucleusDataset, config: dict, n_repeats: int = 1) -> Run:
    """Return the run that trains on one data set, once or under several seeds, and tests on another."""
    facts = {"experiment": "across", "train": train.identity, "train_name": train.name}
    full = full_config(config, **facts, seed=0, n_folds=1, n_repeats=n_repeats)
    rows = np.arange(len(train)), np.arange(len(test))
    return Run(full, test, lambda: [Fit(config, train, *rows, seed=i, repeat=i) for i in range(n_repeats)])


def learning_sets(profile: Profile) -> tuple[list[NucleusDataset], NucleusDataset]:
    """Return simulated training sets of `learning_sizes`, subsets of the largest, and a test set of other slides."""

    def scaled(factor: float, seed: int, name: str) -> NucleusDataset:
        counts = {phase: max(2, round(n * factor)) for phase, n in STUDY_COUNTS.items()}
        return make_simulated(name, counts, profile.size_px, profile.seed + seed)

    sizes = profile.learning_sizes
    largest = scaled(max(sizes) / STUDY_IMAGES, _TRAIN_SEED, "simulated, more labels")
    n_test = min(_TEST_SHARE * STUDY_IMAGES, profile.max_images or _TEST_SHARE * STUDY_IMAGES)
    test = scaled(n_test / STUDY_IMAGES, _TEST_SEED, "simulated, other slides")
    return [largest.subsample(n, profile.seed, least=2) for n in sizes], test


def learning_curves(profile: Profile) -> dict[str, list[Record]]:
    """Return, per model, its records for each training size, under `n_seeds` seeds, tested on the same nuclei."""
    sets, test = learning_sets(profile)
    configs = {"DNA content": settings(profile, "dna-content")}
    configs |= {TABLE_2_MODELS[m]: settings(profile, m) for m in ("logistic", "nagao6")}
    # One network instead of several: the shape of the curve matters, not its last hundredth.
    configs["best, one network"] = best(profile, views=("shape",))
    runs = [
        across(each, test, _enough_epochs(profile, each, config), profile.n_seeds)
        for config in configs.values()
        for each in sets
    ]
    records = iter(record_runs(runs, profile.results_dir(), profile.n_jobs))
    return {name: [next(records) for _ in sets] for name in configs}


def settling(profile: Profile) -> dict[str, tuple[Record, Record, Record]]:
    """Return, per network, its records after half of its epochs, all, and twice as many, to see if it has settled.

    Networks train under `n_seeds` seeds on about as many nuclei as the study has and are tested on others. All are
    simulated and in no table of the study, so the number of epochs is not fitted to its folds.
    """
    sets, test = learning_sets(profile)
    training = sets[profile.learning_sizes.index(profile.study_labels)]
    models = TABLE_2_MODELS | {"resnet20-plain": "ResNet 20, plain", "resnet20": "ResNet 20"}
    configs = {name: settings(profile, model) for model, name in models.items()}
    configs["best, one network"] = best(profile, views=("shape",))
    whole = [_enough_epochs(profile, training, config) for config in configs.values()]
    each = [c | {"epochs": max(1, round(times * c["epochs"]))} for c in whole for times in (0.5, 1, 2)]
    runs = [across(training, test, config, profile.n_seeds) for config in each]
    records = iter(record_runs(runs, profile.results_dir(), profile.n_jobs))
    return {name: (next(records), next(records), next(records)) for name in configs}


def in_colour(dataset: NucleusDataset, colours) -> NucleusDataset:
    """Return the nuclei of a data set (each pixel's strongest channel) in each of the named stain colours in turn."""
    stain = dataset.images.max(axis=1, keepdims=True)
    images = [stain * np.reshape(COLOURS[c], (3, 1, 1)).astype(np.float32) for c in colours]
    return replace(
        dataset.select(np.tile(np.arange(len(dataset)), len(colours))),
        name=f"{dataset.name}, {', '.join(colours)}",
        images=np.concatenate(images),
        sample_ids=np.array([f"{i}, {c}" for c in colours for i in dataset.sample_ids]),
        identity=f"{dataset.identity}>{'>'.join(colours)}",
        truth=None,
    )


def across_colours(profile: Profile, dataset: NucleusDataset) -> dict[tuple[str, str], Record]:
    """Return records of the Nagao network trained on blue nuclei and tested on its test folds in each of `COLOURS`.

    Keys are (name in `BLINDING`, colour). They show whether these transforms make it independent of the stain colour.
    """
    blue, shown = in_colour(dataset, ["blue"]), in_colour(dataset, COLOURS)
    folds = stratified_folds(dataset.labels, **profile.folds, groups=dataset.groups, classes=dataset.classes)
    n = len(dataset)

    def run(transforms) -> Run:
        copies = profile.copies if transforms else 0
        config = completed(profile, dataset, settings(profile, "nagao6", "D2", transforms=transforms, copies=copies))
        fits = []
        for f in folds:
            test = np.concatenate([f.test + k * n for k in range(len(COLOURS))])
            fits.append(Fit(config, blue, f.train, test, profile.seed + f.fold, f.repeat, f.fold))
        return Run(full_config(config, experiment="colours", **profile.folds), shown, lambda: fits)

    runs = [run(transforms) for transforms in BLINDING.values()]
    found = {}
    for name, record in zip(BLINDING, record_runs(runs, profile.results_dir(), profile.n_jobs), strict=True):
        of = record.predictions["sample_id"].str.rpartition(", ")[2]
        found |= {(name, c): replace(record, rows=np.flatnonzero(of == c)) for c in COLOURS}
    return found


def _enough_epochs(profile: Profile, training: NucleusDataset, config: dict) -> dict:
    """Return settings with their epochs: sets smaller than the study's get more, so that the steps stay as many."""
    made, usual = completed(profile, training, config), profile.study_labels
    if "epochs" in made and len(training) < usual:
        made["epochs"] = round(made["epochs"] * usual / len(training))
    return made


def has_settled(whole: Record, double: Record, as_trained=False) -> bool:
    """Return whether doubling the epochs does not help: no score rises by more than 0.02, or decidedly by 0.01 or more.

    "Decidedly" means that the 95 % interval lies above 0. `as_trained` is that of `comparisons.calls`.
    """
    gains = [comparisons.compare(double, whole, score, as_trained) for score in metrics.SCORES]
    return all(gain.value <= 0.02 and (gain.low <= 0 or gain.value < 0.01) for gain in gains)

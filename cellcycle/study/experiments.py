"""The study's experiments on one data set: settings of each table and figure. `transfers` has those on other cells."""

from dataclasses import replace
from functools import cache

import pandas as pd

from cellcycle import results, training
from cellcycle.datasets import NucleusDataset
from cellcycle.errors import RecordError
from cellcycle.inputs import MEASURED
from cellcycle.networks import BLOCKS, RESNET_DEPTHS
from cellcycle.phases import PHASES
from cellcycle.results import Record
from cellcycle.splits import stratified_folds
from cellcycle.study.profiles import Profile
from cellcycle.summaries import score_table
from cellcycle.training import recipes
from cellcycle.training.augmentation import STUDY_TRANSFORMS
from cellcycle.training.balancing import TRAINING_SETS
from cellcycle.training.runs import Fit, Outcome, Run, defaults_of, full_config, record_runs
from cellcycle.tuning import Search, draw_nagao, draw_rate_and_batch, search

# Channels of the first stage of the Nagao network, where an experiment does not vary them.
NAGAO_WIDTH = 8
# The recipe `best`, which is not the study's. Notebook 09 measures what each part of it adds.
BEST = {"model": recipes.BEST["network"], "measurements": MEASURED}
BEST |= {name: value for name, value in recipes.BEST.items() if name != "network"}
# Learning rate and batch size are the study's. A ResNet normalises each batch, so it gets larger batches; that makes
# fewer steps per epoch, and at half this rate it had not settled.
STUDY_STEPS = {"learning_rate": 5e-4, "batch_size": 16}
_RESNET_STEPS = {"learning_rate": 4e-3, "batch_size": 32}
# The ResNet 8 that the study compares has no skip paths ("plain"); the one with skip paths stands beside it.
TABLE_2_MODELS = {
    "logistic": "LR",
    "nn": "NN",
    "resnet8-plain": "ResNet 8, plain",
    "resnet8": "ResNet 8",
    "nagao6": "Nagao 6",
}
BASELINE = {"dna-content": "DNA content"}


def intensities_of(config: dict) -> str:
    """Return "per-image" if the settings make a model independent of each image's exposure, else "absolute".

    Examples
    --------
    >>> intensities_of({"views": ["shape"]}), intensities_of({"views": ["shape"], "measurements": ["crop_dna"]})
    ('per-image', 'absolute')
    """
    tells_amounts = {"integrated_dna", "mean_dna", "crop_dna"} & set(config.get("measurements", ()))
    return "absolute" if tells_amounts or "scaled" in config.get("views", ["scaled"]) else "per-image"


def settings(profile: Profile, model: str, training_set: str = "D3", **changes) -> dict:
    """Return the settings of one model: those of the profile, updated by `changes`."""
    if model == "dna-content":
        return {"model": model}
    made = {"model": model, "training_set": training_set, "copies": profile.copies, "device": profile.device}
    # The learning rate falls to zero, so that the weights settle instead of jumping until the last step.
    made["schedule"] = "cosine"
    if model.startswith("resnet"):
        made |= _RESNET_STEPS | {"stem_stride": profile.stem_stride}
    if model.startswith("nagao"):
        made["width"] = NAGAO_WIDTH
    return made | changes


def completed(profile: Profile, dataset: NucleusDataset, config: dict) -> dict:
    """Return settings with the number of epochs for this data set; those in `config` are meant for the study's size."""
    if config["model"] == "dna-content":
        return config
    return config | {"epochs": profile.epochs_for(config["model"], len(dataset), config.get("epochs"))}


def cross_validate(profile: Profile, dataset: NucleusDataset, configs) -> list[Record]:
    """Cross-validate the models that have no record yet, and return the records of all."""
    configs = [completed(profile, dataset, config) for config in configs]
    root, n_jobs = profile.results_dir(), profile.n_jobs
    return training.cross_validate(dataset, configs, root, **profile.folds, n_jobs=n_jobs)


def recorded(profile: Profile, dataset: NucleusDataset, configs) -> list[Record]:
    """Return the existing records of cross-validated models; nothing is trained; RecordError if one is missing."""
    found = []
    for config in configs:
        full = full_config(completed(profile, dataset, config), **profile.folds)
        record = results.find_run(profile.results_dir(), full, dataset.identity, defaults_of(config["model"]))
        if record is None:
            name = f"{config['model']} {config.get('training_set', '')}".strip()
            command = f"cellcycle study --profile {profile.name} --data {profile.data}"
            remedy = f"run the notebooks before this one: {command}"
            raise RecordError(profile.results_dir(), f"no whole record of {name}", remedy)
        found.append(record)
    return found


def repeat(profile: Profile, dataset: NucleusDataset, configs, run=cross_validate) -> list[Record]:
    """Return one record per model, of its cross-validations under `n_seeds` seeds; the first seed is the profile's.

    `run` is `cross_validate`, or `recorded` where nothing is to be trained.
    """
    # Steps of 100, because each fold adds its number to the seed of its profile.
    seeds = [replace(profile, seed=profile.seed + 100 * i) for i in range(profile.n_seeds)]
    runs = [run(each, dataset, configs) for each in seeds]
    return [results.join_repeats(parts) for parts in zip(*runs, strict=True)]


def baseline(profile: Profile) -> list[dict]:
    """Return the settings of the classical DNA-content method, which every model must beat."""
    return [settings(profile, "dna-content")]


def training_sets(profile: Profile, model: str) -> list[dict]:
    """Return the settings of one model on D1, D2 and D3: a row of Table II, and Figures 3, 5 and 6."""
    return [settings(profile, model, kind) for kind in TRAINING_SETS]


def table_2(profile: Profile) -> list[dict]:
    """Return the settings of Table II: its models on three training sets."""
    return [config for model in TABLE_2_MODELS for config in training_sets(profile, model)]


def table_3(profile: Profile) -> list[dict]:
    """Return the settings of Table III and more, on D3: ResNets of all depths with each kind of block in `BLOCKS`."""
    return [settings(profile, f"resnet{depth}{block}") for depth in RESNET_DEPTHS for block in BLOCKS]


def single_transforms(profile: Profile) -> list[dict]:
    """Return the settings of Figure 4: the Nagao network on D1, and on D2 with each transform alone and with all."""
    chosen = [(), *((t,) for t in STUDY_TRANSFORMS), STUDY_TRANSFORMS]
    # Without a transform, copies would repeat the images: D2 without copies is D1.
    copies = [profile.copies if t else 0 for t in chosen]
    return [settings(profile, "nagao6", "D2", transforms=t, copies=n) for t, n in zip(chosen, copies, strict=True)]


def design_space(profile: Profile) -> list[dict]:
    """Return the settings of Figure 7: Nagao networks of several depths and widths, on D3."""
    return [
        settings(profile, f"nagao{stages}", width=width)
        for stages in profile.nagao_stages
        for width in profile.nagao_widths
    ]


def design_table(records) -> pd.DataFrame:
    """Return the scores of the networks of `design_space`, with `stages` and `width`; the index is e.g. "6 x 8"."""
    sizes = [(int(r.config["model"].removeprefix("nagao")), r.config["width"]) for r in records]
    table = score_table(records, [f"{stages} x {width}" for stages, width in sizes])
    return table.assign(stages=[s for s, _ in sizes], width=[w for _, w in sizes])


def best(profile: Profile, **changes) -> dict:
    """Return the settings of the recipe `best`, updated by `changes`."""
    return settings(profile, **{**BEST, "epochs": profile.epochs["best"], **changes})


def ingredients(profile: Profile) -> dict[str, dict]:
    """Return the settings on the way from the study's Nagao network to `best`, by the ingredient that each adds."""
    network = {"model": "nagao6", "width": 8, "dropout": None, "batch_norm": False}
    study_training = {"weight_decay": 0.0} | STUDY_STEPS
    study_training["epochs"] = profile.epochs["nagao"]
    full = BEST | {"epochs": profile.epochs["best"]}
    off = {"views": ("scaled",), "measurements": (), "turns": False, **network, **study_training}
    steps = {
        "balanced by repetition, not by altered copies": {},
        "turning, in training and in prediction": {"turns": True},
        "weight decay, higher rate, larger batches": {name: full[name] for name in study_training},
        "fewer, wider stages and batch normalisation": {name: full[name] for name in network},
        "measured features beside the picture": {"views": ("shape",), "measurements": MEASURED},
        "two networks averaged": {"views": BEST["views"]},
        "laid upright, not called in all eight positions": {"turns": BEST["turns"]},
    }
    made, changes = {}, off
    for name, change in steps.items():
        changes = changes | change
        made[name] = best(profile, **changes)
    return made


def headline_records(profile: Profile, dataset: NucleusDataset, run=cross_validate) -> dict[str, Record]:
    """Return the records of Table II on D3, `best` and DNA content, repeated under seeds, and the ceiling if known."""
    configs = {name: settings(profile, model) for model, name in TABLE_2_MODELS.items()}
    configs |= {"best": best(profile)} | dict(zip(BASELINE.values(), baseline(profile), strict=True))
    records = dict(zip(configs, repeat(profile, dataset, configs.values(), run), strict=True))
    ceiling = ceiling_record(profile, dataset)
    return records if ceiling is None else records | {"ceiling": ceiling}


def search_rate_and_batch(profile: Profile, dataset: NucleusDataset) -> Search:
    """Search learning rate and batch size of the Nagao network on D3 (Section III-F); the study's are tried first."""
    drawn = draw_rate_and_batch(profile.n_trials - 1, profile.learning_rates, profile.batch_sizes, profile.seed)
    return _search(profile, dataset, [settings(profile, "nagao6", **d) for d in [STUDY_STEPS, *drawn]])


def search_nagao_space(profile: Profile, dataset: NucleusDataset) -> Search:
    """Search network and batch size in the ranges of Nagao et al. (2020) on D3; the study's network is tried first."""
    drawn = draw_nagao(profile.n_trials - 1, profile.seed)
    given = {"model": "nagao6", "dropout": 0.5} | STUDY_STEPS
    return _search(profile, dataset, [settings(profile, **d) for d in (given, *drawn)])


def _search(profile: Profile, dataset: NucleusDataset, configs) -> Search:
    configs = [completed(profile, dataset, config) for config in configs]
    where = {"root": profile.results_dir(), "n_jobs": profile.n_jobs}
    return search(dataset, configs, profile.rounds, n_folds=profile.n_folds, seed=profile.seed, **where)


def ceiling_record(profile: Profile, dataset: NucleusDataset) -> Record | None:
    """Return the record of the best possible classifier, `simulation.posterior`, in the same folds as the models.

    It knows DNA content (with staining noise), nuclear area and chromatin contrast of every nucleus, and always
    recognises mitosis. Nothing is trained. None if the true state is unknown (real cells), or if the classes are not
    the four phases.
    """
    if dataset.truth is None or dataset.classes != PHASES:
        return None
    from cellcycle.simulation import posterior

    def fits():
        made = stratified_folds(dataset.labels, **profile.folds, groups=dataset.groups)
        return [Fit({}, dataset, f.train, f.test, repeat=f.repeat, fold=f.fold) for f in made]

    probabilities = cache(lambda: posterior(dataset.truth, counts=dict(dataset.counts())))

    def known(fit: Fit, _: NucleusDataset) -> Outcome:
        return Outcome(probabilities()[fit.test], pd.DataFrame())

    run = Run({"model": "ceiling", **profile.folds}, dataset, fits)
    return record_runs([run], profile.results_dir(), fit=known)[0]

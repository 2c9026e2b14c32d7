"""The study's experiments: which models each table and figure compares, under any profile.

A notebook runs its experiment and shows it; notebook 13 finds the same runs again in the records.
"""

from cellcycle.augmentation import STUDY_TRANSFORMS
from cellcycle.balancing import TRAINING_SETS
from cellcycle.models import RESNET_DEPTHS
from cellcycle.study.profiles import Profile
from cellcycle.tuning import Search, mega_flops, nagao_network, rate_and_batch, search

# The recipe that beats the study's; what each part of it adds is measured in notebook 09.
BEST = {
    "model": "nagao4",
    "width": 16,
    "dropout": 0.3,
    "batch_norm": True,
    "intensity": "measured",
    "measurements": True,
    "turns": True,
    "schedule": "cosine",
    "weight_decay": 1e-2,
    "learning_rate": 1e-3,
    "batch_size": 32,
    "members": 2,
}
TABLE_2_MODELS = {"logistic": "LR", "nn": "NN", "resnet8": "ResNet 8", "nagao6": "Nagao 6"}
BASELINE = {"dna-content": "DNA content"}


def baseline(profile: Profile) -> list[dict]:
    """The classical DNA-content method, the line every model must beat."""
    return [profile.config("dna-content")]


def training_sets(profile: Profile, model: str) -> list[dict]:
    """One model on D1, D2 and D3: a row of Table II, and Figures 3, 5 and 6."""
    return [profile.config(model, kind) for kind in TRAINING_SETS]


def table_2(profile: Profile) -> list[dict]:
    """All of Table II: four models on three training sets."""
    return [config for model in TABLE_2_MODELS for config in training_sets(profile, model)]


def table_3(profile: Profile) -> list[dict]:
    """All of Table III: ResNets of three depths with residual and plain blocks, on D3."""
    return [profile.config(f"resnet{depth}{block}") for depth in RESNET_DEPTHS for block in ("", "-plain")]


def single_transforms(profile: Profile) -> list[dict]:
    """Figure 4: the Nagao network on D2 made with no transform, each one alone, and all five."""
    chosen = [(), *((t,) for t in STUDY_TRANSFORMS), STUDY_TRANSFORMS]
    # Copies that no transform changes would be the images again.
    copies = [profile.copies if t else 0 for t in chosen]
    return [profile.config("nagao6", "D2", transforms=t, copies=n) for t, n in zip(chosen, copies, strict=True)]


def design_space(profile: Profile) -> list[dict]:
    """Figure 7: Nagao networks of several depths and widths, on D3."""
    return [
        profile.config(f"nagao{stages}", width=width)
        for stages in profile.nagao_stages
        for width in profile.nagao_widths
    ]


def best(profile: Profile, **changes) -> dict:
    """Return the configuration of the recipe `best`: balanced by repetition alone, or with changes."""
    return profile.config(**{**BEST, "training_set": "D3", "copies": 0, "epochs": profile.epochs["best"], **changes})


def ingredients(profile: Profile) -> dict[str, dict]:
    """Return the steps from the study's Nagao network on D3 to `best`, each with one ingredient more."""
    network = {"model": "nagao6", "width": 8, "dropout": None, "batch_norm": False}
    study_training = {"schedule": "constant", "weight_decay": 0.0, "learning_rate": 5e-4, "batch_size": 16}
    study_training["epochs"] = profile.epochs["nagao"]
    full = BEST | {"epochs": profile.epochs["best"]}
    off = {"intensity": "absolute", "measurements": False, "turns": False, "members": 1, **network, **study_training}
    steps = {
        "balanced by repetition, not by altered copies": {},
        "turning, in training and in prediction": {"turns": True},
        "a falling learning rate, weight decay, larger batches": {name: full[name] for name in study_training},
        "fewer, wider stages and batch normalisation": {name: full[name] for name in network},
        "measured features beside the picture": {"intensity": "measured", "measurements": True},
        "two networks averaged": {"members": BEST["members"]},
    }
    made, changes = {}, off
    for name, change in steps.items():
        changes = changes | change
        made[name] = best(profile, **changes)
    return made


def headline(profile: Profile) -> dict[str, dict]:
    """Return the runs that are repeated under several seeds: four models on D3, `best` and DNA content."""
    models = {name: profile.config(model) for model, name in TABLE_2_MODELS.items()}
    return models | {"best": best(profile)} | dict(zip(BASELINE.values(), baseline(profile), strict=True))


def search_rate_and_batch(profile: Profile, dataset, train: bool = True) -> Search:
    """Section III-F: search learning rate and batch size of the Nagao network on D3; the study's are tried first.

    Without `train`, a trial that has no record raises RecordError.
    """
    run = profile.cross_validate if train else profile.recorded
    rates, batches = ((min(v), max(v)) for v in (profile.learning_rates, profile.batch_sizes))
    return search(
        lambda trial: rate_and_batch(trial, rates, batches),
        lambda settings: run(dataset, [profile.config("nagao6", **settings)])[0],
        profile.n_trials,
        profile.seed,
        first={"learning_rate": 5e-4, "batch_size": 16},
    )


def search_nagao_space(profile: Profile, dataset) -> Search:
    """Search network and batch size in the ranges of Nagao et al. (2020), on D3, as far as the profile can pay."""
    _, channels, _, size_px = dataset.images.shape

    return search(
        nagao_network,
        lambda settings: profile.cross_validate(dataset, [profile.config(**settings)])[0],
        profile.n_trials,
        profile.seed,
        cost=lambda s: mega_flops(s["model"], size_px, channels, len(dataset.classes), s["width"]),
        max_mega_flops=profile.max_mega_flops,
    )


def transfer(profile: Profile, pretrained) -> list[dict]:
    """Section III-E: the Nagao network from scratch and fine-tuned, on growing shares of the labels."""
    return [
        profile.config("nagao6", pretrained=start, train_share=share)
        for share in profile.label_shares
        for start in (None, pretrained)
    ]

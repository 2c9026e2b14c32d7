"""Train and export the shipped checkpoints."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from cellcycle.checkpoint import NETWORK_SETTINGS, Checkpoint, save_checkpoint, shipped_dir
from cellcycle.datasets import NucleusDataset
from cellcycle.inputs import InputRule, Inputs, prepare
from cellcycle.nuclei import Scale
from cellcycle.phases import PHASES
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.simulation import SimulationParameters, simulate_nuclei

SIZE_PX = 64
FIELD_OF_VIEW_UM = 32.4
N_MICROSCOPES = 16
N_PER_PHASE = 80
TEST_SEED, TRAIN_SEED = 900, 100
# Typical areas of the simulated cells, in a growing population and in G1.
SCALE = Scale(199.0, 175.8)
# About the shares of a growing population, with more of the rare phases, so that each has nuclei to score.
SLIDE_COUNTS = {"G1": 50, "S": 35, "G2": 30, "M": 15}
WARNING = "trained on simulated nuclei: fine-tune before you trust it on yours"
LIMITS = [
    "Learned from simulated nuclei of adherent human cells in widefield DAPI; real cells look different.",
    "Trained on equal numbers of each phase, so in a growing population it calls rare phases too often.",
    "Real cells of another kind (Jurkat, see scores) are called worse; by picture alone, little better than chance.",
    "S and G2 look alike in one picture; calls between neighbouring phases are the least certain.",
    "Without a pixel size the scale is guessed from the nuclei (flag scale_unknown) and calls get worse.",
    "Confidence and prediction sets were fitted to simulated nuclei; on cells of another kind they do not hold.",
    "What can go wrong, and for whom, stands in docs/ethics.md.",
]
LOOKED_AT = "Jurkat cells were looked at, not trained on, while its inputs were chosen: their score may flatter it."


@dataclass(frozen=True)
class Recipe:
    """What to train: arguments of `NetworkClassifier`, the unit and measurements of the input rule, own limits.

    `version` is that of the weights, bumped whenever they change.
    """

    title: str
    settings: dict
    unit: str = "full-range"
    measurements: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    version: str = "2"


# D1: phases are balanced as they are drawn.
_ALIKE = {"training_set": "D1", "schedule": "cosine", "turns": True, "batch_size": 32}
_BY_ITSELF = _ALIKE | {"views": ("shape",)}
RECIPES = {
    "nagao6": Recipe("Nagao", _BY_ITSELF | {"network": "nagao6", "epochs": 14}),
    "nagao6-g1": Recipe(
        "Nagao, by DNA content", _ALIKE | {"network": "nagao6", "epochs": 12, "views": ("scaled",)}, "g1"
    ),
    "best": Recipe(
        "Nagao, DNA and form",
        _ALIKE
        | {
            "network": "nagao6",
            "epochs": 12,
            "learning_rate": 1e-3,
            "weight_decay": 1e-2,
            "views": ("scaled", "shape"),
        },
        "g1",
        ("dna_copies", "area_over_g1"),
        (LOOKED_AT,),
    ),
    "lr": Recipe("LR", _BY_ITSELF | {"network": "logistic", "epochs": 20, "weight_decay": 0.1}),
    "nn": Recipe("NN", _BY_ITSELF | {"network": "nn", "epochs": 16}, version="3"),
    "resnet8": Recipe(
        "ResNet 8", _BY_ITSELF | {"network": "resnet8", "stem_stride": 2, "epochs": 10, "learning_rate": 1e-3}
    ),
}


def rule_of(recipe: Recipe) -> InputRule:
    """Return how the nuclei of an image become inputs: cut at one scale, neighbours painted over."""
    return InputRule(SIZE_PX, FIELD_OF_VIEW_UM / SIZE_PX, "painted", recipe.unit, recipe.measurements, SCALE)


@cache
def training_set(rule: InputRule, scale: float = 1.0) -> tuple[Inputs, np.ndarray]:
    """Simulate the training nuclei; return their inputs by a rule, each microscope anchored without labels, and labels.

    Nuclei have the shares of the calibration slides, in which the G1 peak is found as in a user's field; of each
    phase as many are kept as of the rarest. A `scale` below 1 makes fewer.
    """
    parts, labels = [], []
    for number in range(max(2, round(N_MICROSCOPES * min(scale, 1)))):
        parameters, size_px = microscope(number)
        counts = {
            phase: round(n * N_PER_PHASE / SLIDE_COUNTS["M"] * max(scale, 0.4)) for phase, n in SLIDE_COUNTS.items()
        }
        data = simulated_slide(f"training{number}", counts, size_px, TRAIN_SEED + number, parameters)
        inputs = prepare(data, rule)
        usable = np.isfinite(inputs.images).all(axis=(1, 2, 3))
        least = min(np.bincount(data.labels[usable], minlength=len(PHASES)))
        kept = [np.flatnonzero(usable & (data.labels == k))[:least] for k in range(len(PHASES))]
        kept = np.sort(np.concatenate(kept))
        parts.append(inputs[kept])
        labels.append(data.labels[kept])
    return Inputs.joined(parts), np.concatenate(labels)


def train_shipped(name: str, folder: Path | None = None, scale: float = 1.0) -> Checkpoint:
    """Train a model of `RECIPES` and save it, without scores; a `scale` below 1 is for trials."""
    from cellcycle.training import NetworkClassifier

    recipe = RECIPES[name]
    rule, settings = rule_of(recipe), recipe.settings
    inputs, labels = training_set(rule, scale)
    settings = settings | {"epochs": max(1, round(settings["epochs"] * min(scale, 1)))}
    classifier = NetworkClassifier(**settings).fit(inputs, labels)
    trained_on = {
        "origin": "simulated",
        "warning": WARNING,
        "description": f"{len(labels)} nuclei simulated by cellcycle.simulation {SIMULATOR}, "
        f"in {N_MICROSCOPES} microscopes of different sharpness, noise and pixel size",
        "counts": dict(zip(PHASES, np.bincount(labels, minlength=len(PHASES)).tolist(), strict=True)),
        "seed": TRAIN_SEED,
    }
    about = {"title": recipe.title, "version": recipe.version, "classes": list(PHASES)}
    about |= {"training": {k: v for k, v in settings.items() if k not in NETWORK_SETTINGS}}
    about |= {"trained_on": trained_on, "licence": "BSD-3-Clause", "limits": [*LIMITS, *recipe.limits]}
    return save_checkpoint((folder or shipped_dir()) / name, classifier, rule, about)


def simulated_slide(name: str, counts, size_px: int, seed: int, parameters=None) -> NucleusDataset:
    """Return simulated nuclei as one slide, whatever their stains, with the true size of their pixels."""
    made = simulate_nuclei(counts, size_px, seed, parameters)
    ids = np.array([f"{name}-{sample}" for sample in made.truth["sample_id"]])
    identity = f"simulated-{SIMULATOR}-checkpoint-{name}-{len(ids)}-{seed}"
    sizes_um = np.full(len(ids), made.pixel_size_um)
    return NucleusDataset(
        name, made.images, made.labels, PHASES, ids, identity, "simulated", pixel_sizes_um=sizes_um, truth=made.truth
    )


def microscope(number: int, seed: int = TRAIN_SEED) -> tuple[SimulationParameters, int]:
    """Return the parameters of one simulated microscope and sample, and the size of its crops in pixels."""
    rng = np.random.default_rng([seed, number])
    base = SimulationParameters()
    parameters = replace(
        base,
        field_of_view_um=40.0,
        g1_area_um2=base.g1_area_um2 * rng.uniform(0.85, 1.15),
        numerical_aperture=rng.uniform(0.4, 1.1),
        aspect_ratio=rng.uniform(1.1, 1.45),
        chromatin_contrast=base.chromatin_contrast * rng.uniform(0.7, 1.5),
        n_nucleoli=rng.uniform(1.5, 4.0),
        neighbours_per_mm2=rng.uniform(0, 2400),
        background=rng.uniform(0.005, 0.04),
        g1_level=rng.uniform(0.05, 0.16),
        full_scale_electrons=np.exp(rng.uniform(np.log(2000), np.log(20000))),
        bits=16,
    )
    return parameters, int(rng.integers(56, 150))

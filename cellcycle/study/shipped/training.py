"""Train and export the shipped checkpoints."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cellcycle.card import NETWORK_SETTINGS
from cellcycle.checkpoint import Checkpoint, save_checkpoint, shipped_dir
from cellcycle.evaluate import write_trained_images
from cellcycle.inputs import InputRule, Inputs
from cellcycle.networks import UPRIGHT
from cellcycle.phases import PHASES
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.study.shipped.cells import (
    LABORATORIES,
    MICROSCOPES,
    SCALE,
    SOURCES,
    TRAIN_SEED,
    UNUSUAL,
    Learned,
    framed,
    real_training_set,
    simulated_training_set,
)
from cellcycle.training import NetworkClassifier

SIZE_PX = 64
FIELD_OF_VIEW_UM = 32.4
WARNING = "trained on simulated nuclei: fine-tune before you trust it on yours"
REAL_WARNING = "trained on simulated nuclei and few kinds of real ones: fine-tune before you trust it on yours"
LIMITS = [
    "Trained on about equal numbers of each phase: with --prior equal, as for crops, it calls too many of a growing "
    "population M.",
    "S and G2 look alike in one picture; calls between neighbouring phases are the least certain.",
    "Without a pixel size the scale is guessed from the nuclei (flag scale_unknown) and calls get worse.",
    "Confidence and prediction sets were fitted to simulated nuclei; on cells of another kind they do not hold.",
    "What can go wrong, and for whom, stands in docs/ethics.md.",
]
SIMULATED_ONLY = (
    "Learned from simulated nuclei of adherent human cells in widefield DAPI; real cells look different "
    "and are called worse (see scores)."
)
REAL_TOO = (
    "Learned from simulated nuclei and from few kinds of real ones; its scores on these kinds are of cells it did not "
    "learn from, but of the same culture and instrument. Other kinds are called worse (docs/evidence.md)."
)


@dataclass(frozen=True)
class Recipe:
    """How to train a model: `settings` of `NetworkClassifier`, unit and measurements of the input rule.

    `is_wide` adds simulated nuclei of other laboratories; `real` names `cells.SOURCES` to learn from. After the usual
    epochs come `framed_epochs`, from half the learning rate on, in which half of the simulated nuclei are shown as in
    narrow crops, and `unusual_epochs`, which add the nuclei of `cells.unusual`. `limits` apply to this model alone.
    `version` is that of the weights, raised whenever they change.
    """

    title: str
    settings: dict
    unit: str = "full-range"
    measurements: tuple[str, ...] = ()
    is_wide: bool = False
    real: tuple[str, ...] = ()
    framed_epochs: int = 0
    unusual_epochs: int = 0
    limits: tuple[str, ...] = ()
    version: str = "2"


# D1, because the simulated phases are already balanced.
_ALIKE = {"training_set": "D1", "schedule": "cosine", "turns": True, "batch_size": 32}
_BY_ITSELF = _ALIKE | {"views": ("shape",)}
# For the models that `auto` uses: batch normalisation as in notebook 09, random shifts, and epochs until they settle.
_SETTLED = _ALIKE | {"batch_norm": True, "width": 12, "moves": True, "batch_size": 64, "learning_rate": 1.5e-3}
_SETTLED |= {"network": "nagao6", "weight_decay": 1e-2, "epochs": 24}
RECIPES = {
    "nagao6": Recipe(
        "Nagao",
        _SETTLED | {"views": ("shape",), "epochs": 40},
        is_wide=True,
        real=("jurkat", "mitocheck"),
        framed_epochs=16,
        unusual_epochs=10,
        limits=(
            "Of Jurkat cells by their pictures alone it is too sure, and its prediction sets are too small (see "
            "scores): it calls too many of them G1.",
            "Dying cells, thin confocal sections and pictures that went through a gamma above 1 still give it false "
            "mitoses (docs/evidence.md).",
        ),
        version="5",
    ),
    "nagao6-g1": Recipe(
        "Nagao, by DNA content", _ALIKE | {"network": "nagao6", "epochs": 12, "views": ("scaled",)}, "g1"
    ),
    "best": Recipe(
        "Nagao, DNA and form",
        _SETTLED | {"views": ("scaled", "shape"), "turns": UPRIGHT},
        "g1",
        ("dna_copies", "area_over_g1"),
        is_wide=True,
        real=("jurkat",),
        version="4",
    ),
    "lr": Recipe("LR", _BY_ITSELF | {"network": "logistic", "epochs": 20, "weight_decay": 0.1}),
    "nn": Recipe("NN", _BY_ITSELF | {"network": "nn", "epochs": 16}, version="3"),
    "resnet8": Recipe(
        "ResNet 8", _BY_ITSELF | {"network": "resnet8", "stem_stride": 2, "epochs": 10, "learning_rate": 1e-3}
    ),
}


def rule_of(recipe: Recipe) -> InputRule:
    """Return the input rule of a recipe: crops at one scale, neighbours painted over."""
    return InputRule(SIZE_PX, FIELD_OF_VIEW_UM / SIZE_PX, "painted", recipe.unit, recipe.measurements, SCALE)


def train_shipped(name: str, real: Path | None = None) -> Checkpoint:
    """Train a model of `RECIPES` and save it, without scores; `real` is the folder of real cells, if it needs them."""
    recipe = RECIPES[name]
    rule, settings = rule_of(recipe), recipe.settings | {"device": "cpu"}
    numbers = range(LABORATORIES.stop) if recipe.is_wide else MICROSCOPES
    simulated = simulated_training_set(rule, numbers)
    cells = [real_training_set(source, real, rule) for source in recipe.real]
    learned = Learned.joined([simulated, *cells])
    possible = learned.possible if recipe.real else None
    classifier = NetworkClassifier(**settings).fit(learned.inputs, learned.possible.argmax(axis=1), possible=possible)
    highest = classifier.learning_rate / 2
    if recipe.framed_epochs:
        settings = settings | {"framed_epochs": recipe.framed_epochs}
        classifier = in_frames(classifier, simulated, cells, recipe.framed_epochs, highest)
    if recipe.unusual_epochs:
        settings = settings | {"unusual_epochs": recipe.unusual_epochs}
        simulated = Learned.joined([simulated, simulated_training_set(rule, UNUSUAL)])
        learned = Learned.joined([simulated, *cells])
        classifier = in_frames(classifier, simulated, evened(cells), recipe.unusual_epochs, highest, TRAIN_SEED)
    n_real = len(learned.inputs) - len(simulated.inputs)
    about, target = about_of(recipe, settings, learned, n_real), shipped_dir() / name
    write_list = {"more": partial(write_trained_images, marks=np.ravel(learned.marks).tolist())} if n_real else {}
    return save_checkpoint(target, classifier, rule, about, **write_list)


def evened(parts: list[Learned]) -> list[Learned]:
    """Return the sets, the smaller ones repeated until each has about as many nuclei as the largest.

    Otherwise the network forgets a few hundred real mitoses among many simulated cells that look like mitoses.
    """
    most = max((len(part.inputs) for part in parts), default=0)
    return [part for part in parts if len(part.inputs) for _ in range(round(most / len(part.inputs)))]


def in_frames(classifier, simulated: Learned, real: list[Learned], epochs: int, highest: float, seed: int = 0):
    """Return the classifier after more epochs with the simulated nuclei in frames, see `cells.framed`.

    Frames are drawn anew for each epoch, so that a nucleus is seen in different ones and without. The learning rate
    falls from `highest` along a cosine.
    """
    learned = Learned.joined([simulated, *real])
    for epoch in range(epochs):
        rate = highest * (0.5 + 0.5 * np.cos(np.pi * epoch / epochs))
        settings = {"epochs": 1, "schedule": "constant", "learning_rate": float(rate), "seed": seed + epoch}
        images = Inputs.joined([framed(simulated.inputs, TRAIN_SEED + seed + epoch), *(cells.inputs for cells in real)])
        again = type(classifier)(**classifier.get_params() | settings)
        classifier = again.fit(images, learned.possible.argmax(axis=1), start=classifier, possible=learned.possible)
    return classifier


def about_of(recipe: Recipe, settings: dict, learned: Learned, n_real: int) -> dict:
    """Return the entries of the card on a model's training; the last `n_real` inputs are real cells."""
    counts = learned.possible[learned.possible.sum(axis=1) == 1].sum(axis=0)
    description = f"{len(learned.inputs) - n_real} nuclei simulated by cellcycle.simulation {SIMULATOR}"
    if n_real:
        description += f"; {len(learned.marks)} real ones: " + "; ".join(SOURCES[name] for name in recipe.real)
    trained_on = {
        "origin": "simulated and real" if n_real else "simulated",
        "warning": REAL_WARNING if n_real else WARNING,
        "description": description,
        "counts": dict(zip(PHASES, counts.tolist(), strict=True)),
        "seed": TRAIN_SEED,
    }
    return {
        "title": recipe.title,
        "version": recipe.version,
        "classes": list(PHASES),
        "training": {k: v for k, v in settings.items() if k not in NETWORK_SETTINGS},
        "trained_on": trained_on,
        "licence": "BSD-3-Clause" + ("; real cells under the licences named with them" if n_real else ""),
        "limits": [REAL_TOO if n_real else SIMULATED_ONLY, *recipe.limits, *LIMITS],
    }

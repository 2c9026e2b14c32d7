"""Train and export the shipped checkpoints."""

from dataclasses import dataclass, replace

import numpy as np

from cellcycle.simulation import SimulationParameters

# Of the weights; bumped whenever they change.
VERSION = "2"
SIZE_PX = 64
FIELD_OF_VIEW_UM = 32.4
N_MICROSCOPES = 16
N_PER_PHASE = 80
TEST_SEED, TRAIN_SEED = 900, 100
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
    """What to train, and on what.

    Parameters
    ----------
    title : str
    network : dict
        Arguments of `cellcycle.networks.build_network`.
    training : dict
        Settings of `cellcycle.training.NetworkClassifier`.
    intensity, measurements
        See `cellcycle.checkpoint.InputRule`.
    views : tuple of {"given", "shape"}
        What each member of the model sees, whose logits are averaged; see `cellcycle.recipes.networks`.
    limits : tuple of str
        Of this model alone, beside `LIMITS`.
    """

    title: str
    network: dict
    training: dict
    intensity: str = "per-image"
    measurements: tuple[str, ...] = ()
    views: tuple[str, ...] = ("given",)
    limits: tuple[str, ...] = ()


RECIPES = {
    "nagao6": Recipe("Nagao", {"model": "nagao6"}, {"epochs": 14}),
    "nagao6-g1": Recipe("Nagao, by DNA content", {"model": "nagao6"}, {"epochs": 12}, "g1-peak"),
    "best": Recipe(
        "Nagao, DNA and form",
        {"model": "nagao6"},
        {"epochs": 12, "learning_rate": 1e-3, "weight_decay": 1e-2},
        "g1-peak",
        ("dna_copies", "area_over_g1"),
        ("given", "shape"),
        (LOOKED_AT,),
    ),
    "lr": Recipe("LR", {"model": "logistic"}, {"epochs": 20, "weight_decay": 0.1}),
    "nn": Recipe("NN", {"model": "nn", "width": 96}, {"epochs": 16}),
    "resnet8": Recipe("ResNet 8", {"model": "resnet8", "stem_stride": 2}, {"epochs": 10, "learning_rate": 1e-3}),
}


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

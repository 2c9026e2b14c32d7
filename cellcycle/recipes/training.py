"""Train and export the shipped checkpoints."""

from dataclasses import dataclass, replace

import numpy as np

from cellcycle.checkpoint import InputRule
from cellcycle.images import DatasetScale
from cellcycle.nuclei import has_g1_dna
from cellcycle.phases import PHASES
from cellcycle.predict.pictures import cut_picture, log_measurements, normalise, scaled
from cellcycle.segmentation import find_in_crop
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.simulation import SimulationParameters, simulate_nuclei

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


@dataclass(frozen=True)
class Pictures:
    """Cut pictures (N, size, size) above background with what is known about them, each (N,)."""

    pictures: np.ndarray
    labels: np.ndarray
    sample_ids: np.ndarray
    pixel_size_um: np.ndarray
    area_um2: np.ndarray
    g1_position: np.ndarray
    dna_copies: np.ndarray
    area_over_g1: np.ndarray


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


def cut_all(nuclei, rule: InputRule) -> Pictures:
    """Find and cut the nuclei of simulated crops; those in which none is found are left out."""
    rows = []
    for image, label, name in zip(nuclei.images, nuclei.labels, nuclei.truth["sample_id"], strict=True):
        columns, labels = find_in_crop(image[0], nuclei.pixel_size_um)
        if not len(columns["flags"]):
            continue
        nucleus = {name: values[0] for name, values in columns.items()}
        centre = nucleus["centroid_y_px"], nucleus["centroid_x_px"]
        picture = cut_picture(image[0], labels, 1, centre, nucleus["background"], nuclei.pixel_size_um, rule)
        rows.append((picture, label, name, nucleus["area_um2"], nucleus["integrated_dna"]))
    pictures, labels, names, areas, dna = (np.array(column) for column in zip(*rows, strict=True))
    g1 = np.median(dna[labels == PHASES.index("G1")])
    copies = 2 * dna / g1
    size, position = np.full(len(rows), nuclei.pixel_size_um), np.full(len(rows), g1)
    relative = areas / np.median(areas[has_g1_dna(copies)])
    return Pictures(pictures, labels, names, size, areas, position, copies, relative)


def training_pictures(rule: InputRule, scale: float = 1.0) -> Pictures:
    """Simulate and cut the training nuclei."""
    counts = dict.fromkeys(PHASES, max(2, round(N_PER_PHASE * scale)))
    parts = []
    for number in range(max(2, round(N_MICROSCOPES * min(scale, 1)))):
        parameters, size_px = microscope(number)
        parts.append(cut_all(simulate_nuclei(counts, size_px, TRAIN_SEED + number, parameters), rule))
    return Pictures(*(np.concatenate([getattr(p, f) for p in parts]) for f in Pictures.__dataclass_fields__))


def network_inputs(cut: Pictures, rule: InputRule) -> np.ndarray:
    """Return normalised pictures (N, 1, size, size), each by the scale of its own microscope."""
    made = np.empty((len(cut.pictures), 1, rule.size_px, rule.size_px), np.float32)
    for size_um, g1 in sorted(set(zip(cut.pixel_size_um.tolist(), cut.g1_position.tolist(), strict=True))):
        mine = (cut.pixel_size_um == size_um) & (cut.g1_position == g1)
        made[mine] = normalise(cut.pictures[mine], rule, size_um, g1)
    return made


def with_scale(rule: InputRule, cut: Pictures) -> InputRule:
    """Return the rule with what is measured on the training nuclei: typical areas, means and deviations."""
    g1_area = float(np.median(cut.area_um2[has_g1_dna(cut.dna_copies)]))
    rule = replace(rule, median_area_um2=round(population_median(cut), 1), g1_area_um2=round(g1_area, 1))
    if rule.measurements:
        logs = log_measurements(vars(cut), rule)
        rule = replace(rule, measurement_means=logs.mean(axis=0), measurement_deviations=logs.std(axis=0))
    if rule.intensity == "per-image":
        return rule
    copies = [scaled(p, rule, s, g) for p, s, g in zip(cut.pictures, cut.pixel_size_um, cut.g1_position, strict=True)]
    scale = DatasetScale.of(np.stack(copies))
    return replace(rule, mean=scale.mean, deviation=scale.deviation)


def population_median(cut: Pictures) -> float:
    """Return the median area when phases have the shares of a growing population, not equal ones."""
    base = SimulationParameters()
    hours = np.array([base.g1_h, base.s_h, base.g2_h, base.m_h])
    weights = (hours / np.bincount(cut.labels, minlength=len(PHASES)))[cut.labels]
    order = np.argsort(cut.area_um2)
    share = np.cumsum(weights[order]) / weights.sum()
    return float(cut.area_um2[order][np.searchsorted(share, 0.5)])


def base_rule(intensity: str = "per-image", measurements: tuple[str, ...] = ()) -> InputRule:
    """Return the input rule before anything was measured on training pictures."""
    return InputRule(SIZE_PX, FIELD_OF_VIEW_UM / SIZE_PX, intensity, 1.0, measurements=measurements)


def trained_on(cut: Pictures) -> dict:
    """Describe the training nuclei."""
    return {
        "origin": "simulated",
        "warning": WARNING,
        "description": f"{len(cut.labels)} nuclei simulated by cellcycle.simulation {SIMULATOR}, "
        f"in {len(set(cut.g1_position.tolist()))} microscopes of different sharpness, noise and pixel size",
        "counts": dict(zip(PHASES, np.bincount(cut.labels, minlength=len(PHASES)).tolist(), strict=True)),
        "seed": TRAIN_SEED,
    }

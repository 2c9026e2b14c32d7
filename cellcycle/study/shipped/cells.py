"""Nuclei for training and scoring the shipped models: of simulated microscopes, and of real cells."""

import os
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from cellcycle import tasks
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.inputs import InputRule, Inputs, prepare
from cellcycle.nuclei import Scale
from cellcycle.phases import PHASES
from cellcycle.scale import each_crop_of
from cellcycle.segmentation import measure_crops
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.simulation import SimulationParameters, simulate_nuclei
from cellcycle.splits import overlapping

# Numbers (seeds) of microscopes like those of the tests, of other laboratories, and of unusual cells and exports.
MICROSCOPES, LABORATORIES, UNUSUAL = range(16), range(16, 48), range(48, 64)
N_PER_PHASE = 80
TEST_SEED, TRAIN_SEED = 900, 100
# Median areas of simulated nuclei in square micrometres, in a growing population and in G1.
SCALE = Scale(199.0, 175.8)
# Nuclei per phase of a slide: roughly a growing population, with more of rare phases, so that each can be scored.
SLIDE_COUNTS = {"G1": 50, "S": 35, "G2": 30, "M": 15}
# Folder of real cells -> their source and licence.
SOURCES = {
    "jurkat": "Jurkat cells, propidium iodide, imaging flow cytometry: repository minh-doan/MLCP, BSD-3 (Blasi et al. "
    "2016, Nature Communications, 10.1038/ncomms10256); also in BBBC048, there under CC BY-NC-SA 3.0",
    "mitocheck": "HeLa cells, H2B-GFP, labelled by biologists: repository WayScience/phenotypic_profiling, CC BY 4.0 "
    "(Neumann et al. 2010, Nature, 10.1038/nature08869)",
}
# Fraction of nuclei shown in a frame; pixels above this fraction of the brightest one belong to the nucleus.
_FRAMED, _BRIGHT = 0.5, 0.25
# Phases that a cell may have, by its label given by eye.
MITOTIC = ("Prometaphase", "Metaphase", "Anaphase")
MAY_BE = {"Interphase": PHASES[:3]} | dict.fromkeys(MITOTIC, PHASES[3:])


@dataclass(frozen=True)
class Learned:
    """Nuclei to learn from: `inputs`, and the phases that each may have, `possible` (N, 4) bool; one if it is known.

    `marks` identify real images (`splits.marks_of`), one tuple per image.
    """

    inputs: Inputs
    possible: np.ndarray
    marks: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def joined(cls, parts) -> "Learned":
        """Return several sets as one."""
        parts = list(parts)
        marks = tuple(sorted({one for p in parts for one in p.marks}))
        return cls(Inputs.joined(p.inputs for p in parts), np.concatenate([p.possible for p in parts]), marks)


def training_slide(number: int, rule: InputRule) -> Learned:
    """Simulate the nuclei of one microscope, anchored without labels; return their inputs by a rule.

    They have the shares of the calibration slides, in which the G1 peak is found as in a user's field; then each phase
    is cut to the number of the rarest. A dying cell may have any phase except M.
    """
    draw = microscope if number in MICROSCOPES else unusual if number in UNUSUAL else other_laboratory
    parameters, size_px = draw(number)
    counts = {phase: round(n * N_PER_PHASE / SLIDE_COUNTS["M"]) for phase, n in SLIDE_COUNTS.items()}
    data = simulated_slide(f"training{number}", counts, size_px, TRAIN_SEED + number, parameters)
    inputs = prepare(data, rule, each_crop_of(data, rule.scale))
    usable = np.isfinite(inputs.images).all(axis=(1, 2, 3))
    least = min(np.bincount(data.labels[usable], minlength=len(PHASES)))
    kept = [np.flatnonzero(usable & (data.labels == k))[:least] for k in range(len(PHASES))]
    kept = np.sort(np.concatenate(kept))
    possible = np.eye(len(PHASES), dtype=bool)[data.labels[kept]]
    possible[(data.truth["look"] == "dying").to_numpy()[kept], : PHASES.index("M")] = True
    return Learned(inputs[kept], possible)


@cache
def simulated_training_set(rule: InputRule, numbers: range) -> Learned:
    """Return the simulated nuclei of the microscopes with these numbers."""
    return Learned.joined(tasks.run(partial(training_slide, rule=rule), numbers, os.cpu_count() or 1))


def real_cells(name: str, real: Path, is_held_out: bool) -> NucleusDataset:
    """Return a source's cells for training (two of three), or for scoring (the rest, if they overlap none of these)."""
    dataset = load_dataset(real / name)
    third, part_of = np.arange(len(dataset)) % 3 == 0, overlapping(dataset.images)
    kept = third & ~np.isin(part_of, part_of[~third]) if is_held_out else ~third
    return replace(dataset.select(np.flatnonzero(kept)), groups=None)


def our_pixel_size_um(images: np.ndarray) -> float:
    """Return the pixel size that gives the median nucleus of crops (N, 1, H, W) the median area that models know."""
    return float(np.sqrt(SCALE.median_area_um2 / measure_crops(images)["area_px"].median()))


def at_our_size(dataset: NucleusDataset) -> NucleusDataset:
    """Return crops with the pixel size of `our_pixel_size_um`."""
    return replace(dataset, pixel_sizes_um=np.full(len(dataset), our_pixel_size_um(dataset.images)))


def real_training_set(name: str, real: Path, rule: InputRule) -> Learned:
    """Return the training cells of a source, each prepared once without a pixel size and once with one.

    If the rule needs an anchor, each is prepared twice in both ways, in random half slides, because the G1 peak is
    found at a slightly different place on each slide. A slide without an anchor is left out.
    """
    cells, parts, rng = real_cells(name, real, is_held_out=False), [], np.random.default_rng(TRAIN_SEED)
    marks = cells.known_by()
    may_be = np.array([[phase in MAY_BE.get(c, (c,)) for phase in PHASES] for c in cells.classes])
    for reading in range(4 if rule.needs_anchor else 2):
        for half in np.array_split(rng.permutation(len(cells)), 2):
            half = np.sort(half)
            slide = cells.select(half)
            sized = at_our_size(slide) if reading % 2 else slide
            inputs = prepare(sized, rule, each_crop_of(sized, rule.scale))
            usable = np.flatnonzero(np.isfinite(inputs.images).all(axis=(1, 2, 3)))
            known_by = tuple(map(tuple, marks[half][usable].tolist()))
            parts.append(Learned(inputs[usable], may_be[slide.labels[usable]], known_by))
    return Learned.joined(parts)


def framed(inputs: Inputs, seed: int) -> Inputs:
    """Return inputs with painted surroundings, half of them as if cut from a narrower crop with a random margin.

    Pixels outside the frame are 0, without camera noise. Real cells come in narrow crops, simulated ones did not:
    without this a network takes the frame itself as a sign of the phases that it saw framed.
    """
    rng, images = np.random.default_rng([seed, 2]), inputs.images.copy()
    for image in map(images.__getitem__, np.flatnonzero(rng.random(len(images)) < _FRAMED)):
        is_bright = image[0] > _BRIGHT * image[0].max()
        for axis, side in enumerate(image[0].shape):
            inside = np.flatnonzero(is_bright.any(axis=1 - axis))
            first, last = inside[[0, -1]] + rng.integers(1, side // 3, 2) * (-1, 1)
            place = np.arange(side)
            image[:] = np.where(np.expand_dims((place >= first) & (place <= last), (0, 2 - axis)), image, 0)
    return replace(inputs, images=images)


def simulated_slide(name: str, counts, size_px: int, seed: int, parameters=None) -> NucleusDataset:
    """Return simulated nuclei as one slide, ignoring their stain groups, with their true pixel size."""
    made = simulate_nuclei(counts, size_px, seed, parameters)
    ids = np.array([f"{name}-{sample}" for sample in made.truth["sample_id"]])
    identity = f"simulated-{SIMULATOR}-checkpoint-{name}-{len(ids)}-{seed}"
    sizes_um = np.full(len(ids), made.pixel_size_um)
    return NucleusDataset(
        name, made.images, made.labels, PHASES, ids, identity, "simulated", pixel_sizes_um=sizes_um, truth=made.truth
    )


def microscope(number: int, seed: int = TRAIN_SEED) -> tuple[SimulationParameters, int]:
    """Return the parameters of one simulated microscope and sample, and the side of its crops in pixels."""
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


def other_laboratory(number: int, seed: int = TRAIN_SEED) -> tuple[SimulationParameters, int]:
    """Return one from a wider range: few pixels per nucleus, round cells, mouse cells, uneven stain.

    Area may be independent of DNA, because cells that a drug arrests in one phase keep growing. The ranges are those
    of cultures, objectives and cameras in use; nothing is fitted to a score.
    """
    rng = np.random.default_rng([seed, number, 1])
    parameters, _ = microscope(number, seed)
    is_round, is_mouse = rng.random() < 0.3, rng.random() < 0.15
    if is_round:
        # In suspension: as high as wide, no flat top, few neighbours.
        parameters = replace(parameters, thickness_um=10.0, mitotic_thickness_um=12.0, flatness=2.0, aspect_ratio=1.08)
        parameters = replace(parameters, neighbours_per_mm2=rng.uniform(0, 300), plate_radius_um=5.5)
    if is_mouse:
        parameters = replace(parameters, n_chromocentres=rng.uniform(8, 20), n_chromosomes=40)
    parameters = replace(
        parameters,
        numerical_aperture=rng.uniform(0.2, 1.2),
        focus_spread_um=rng.uniform(0.3, 2.5),
        stain_cv=rng.uniform(0.03, 0.16),
        area_growth=rng.uniform(0.0, 0.7),
        area_cv=rng.uniform(0.1, 0.35),
        anaphase_distance_um=rng.uniform(9, 14),
        debris_fraction=rng.uniform(0.0, 0.15),
        full_scale_electrons=np.exp(rng.uniform(np.log(500), np.log(20000))),
        bits=int(rng.choice([8, 12, 16])),
    )
    return parameters, round(np.exp(rng.uniform(np.log(28), np.log(150))))


def unusual(number: int, seed: int = TRAIN_SEED) -> tuple[SimulationParameters, int]:
    """Return one with cells that look like mitoses, lagging chromosomes, or an unusual picture.

    Unusual pictures are confocal sections, a gamma, or a contrast stretched for export. They do not preserve amounts
    of DNA, so only models that read the picture alone learn from them.
    """
    rng = np.random.default_rng([seed, number, 2])
    parameters, size_px = (other_laboratory if rng.random() < 0.6 else microscope)(number, seed)
    is_confocal, has_gamma, is_stretched = rng.random(3) < [0.35, 0.5, 0.4]
    changes = {
        "rounded_fraction": rng.uniform(0.0, 0.25),
        "dying_fraction": rng.uniform(0.05, 0.25),
        "lagging_fraction": rng.uniform(0.0, 0.5),
        "section_um": is_confocal * rng.uniform(0.8, 3.0),
        "export_gamma": np.exp(has_gamma * rng.uniform(-0.8, 0.8)),
        "export_clipped": is_stretched * np.exp(rng.uniform(np.log(5e-4), np.log(0.03))),
    }
    return replace(parameters, **{name: float(value) for name, value in changes.items()}), size_px

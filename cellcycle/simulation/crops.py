"""Single nuclei in crops of fixed physical size, as the study's images are."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cellcycle.errors import SettingError
from cellcycle.phases import PHASES
from cellcycle.simulation.biology import Cell, draw_cell, interphase_reach_um
from cellcycle.simulation.nucleus import RENDER_UM, Patch
from cellcycle.simulation.optics import expose, illumination, sample
from cellcycle.simulation.parameters import STUDY_COUNTS, SimulationParameters
from cellcycle.simulation.scene import (
    Scene,
    Slide,
    add_debris,
    draw_patch,
    light_per_n,
    make_slide,
    overlap,
    thickness_um,
)

# Artificial colours that microscope software gives a DNA channel: blues, cyan, green, magenta, grey.
_STAIN_COLOURS = np.array(
    [[0.1, 0.2, 1.0], [0.0, 0.4, 1.0], [0.0, 0.9, 1.0], [0.1, 1.0, 0.2], [1.0, 0.1, 0.9], [1.0, 1.0, 1.0]]
)
_STAIN_SHARES = np.array([0.45, 0.25, 0.1, 0.08, 0.06, 0.06])


@dataclass(frozen=True)
class SimulatedNuclei:
    """Simulated crops of single nuclei with their truth.

    Attributes
    ----------
    images : (N, C, H, W) float32 in [0, 1]
        Whole numbers of the camera divided by its full scale; C is 1, or 3 with a stain colour.
    labels : (N,) int64
        Index of the phase in `phases.PHASES`.
    masks : (N, H, W) bool
        The nucleus; of a cell in M all its chromosomes.
    truth : pandas.DataFrame, N rows
        Hidden state: sample_id, phase, subphase, cycle_position, progress, dna_content (N), area_um2, ...
    pixel_size_um : float
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    truth: pd.DataFrame
    pixel_size_um: float


def simulate_nuclei(
    counts: dict[str, int] = STUDY_COUNTS,
    size_px: int = 64,
    seed: int = 0,
    parameters: SimulationParameters | None = None,
    stain: str = "gray",
) -> SimulatedNuclei:
    """Simulate crops of single DAPI-stained nuclei.

    Nucleus k of a phase depends only on the seed, the phase and k: more nuclei or another size in pixels
    leave its cell biology as it is.

    Parameters
    ----------
    counts : dict of str to int
        Number of nuclei per phase; a phase left out has none.
    size_px : int
        Side of the crops. Their side in um is `parameters.field_of_view_um`, so this sets the pixel size.
    seed : int
        Non-negative.
    parameters : SimulationParameters, optional
        The defaults when None.
    stain : {"gray", "colour"}
        "colour" gives each image the artificial colour of a microscope's software, C = 3.

    Returns
    -------
    SimulatedNuclei
        In the order G1, S, G2, M.

    Raises
    ------
    SettingError
        An unknown phase, a negative count, no nucleus at all, or a size below 16 px.

    Examples
    --------
    >>> nuclei = simulate_nuclei({"G1": 2, "M": 1}, size_px=32, seed=1)
    >>> nuclei.images.shape, nuclei.labels.tolist(), nuclei.truth["dna_content"].tolist()
    ((3, 1, 32, 32), [0, 0, 3], [2.0, 2.0, 4.0])
    """
    parameters = parameters or SimulationParameters()
    _check(counts, size_px, seed, stain)
    slides = [make_slide(seed, k, parameters) for k in range(parameters.n_slides)]
    jobs = [(phase, k) for phase in PHASES for k in range(int(counts.get(phase, 0)))]
    made = [_one_nucleus(phase, k, size_px, seed, parameters, slides, stain) for phase, k in jobs]
    return SimulatedNuclei(
        images=np.stack([m[0] for m in made]),
        labels=np.array([PHASES.index(phase) for phase, _ in jobs], np.int64),
        masks=np.stack([m[1] for m in made]),
        truth=pd.DataFrame([m[2] for m in made]),
        pixel_size_um=_grid_px(parameters) * RENDER_UM / size_px,
    )


def _check(counts, size_px, seed, stain):
    unknown = [phase for phase in counts if phase not in PHASES]
    if unknown:
        raise SettingError("counts", f"unknown phase {unknown[0]!r}", f"use {', '.join(PHASES)}")
    if any(n < 0 for n in counts.values()) or sum(counts.values()) == 0:
        raise SettingError("counts", f"{dict(counts)} asks for no nuclei", "give at least one phase a positive number")
    if not 16 <= size_px <= 1024:
        raise SettingError("size_px", f"{size_px} px", "choose a size from 16 to 1024")
    if seed < 0:
        raise SettingError("seed", f"{seed} is negative", "choose 0 or a positive whole number")
    if stain not in ("gray", "colour"):
        raise SettingError("stain", f"{stain!r} is unknown", 'choose "gray" or "colour"')


def _grid_px(parameters: SimulationParameters) -> int:
    return round(parameters.field_of_view_um / RENDER_UM)


def _one_nucleus(phase, k, size_px, seed, parameters, slides, stain):
    """Image (C, H, W) float32, mask (H, W) bool and truth of one nucleus."""
    rng = np.random.default_rng([seed, PHASES.index(phase), k])
    slide = slides[rng.integers(len(slides))]
    cell = draw_cell(rng, parameters, phase)
    patch = draw_patch(rng, cell, parameters)
    n = _grid_px(parameters)
    centre = n * RENDER_UM / 2 + rng.normal(0, 0.25, 2)
    pixel_um = n * RENDER_UM / size_px
    unit = light_per_n(parameters, pixel_um)
    scene = Scene((n, n), parameters, focus_step_um=0.1)
    amount = cell.dna_content * cell.stain_factor * slide.stain_factor
    scene.place(patch.density, unit * amount, centre, thickness_um(cell, parameters), cell.focus_um)
    n_neighbours = _add_neighbours(scene, rng, cell, patch, centre, unit * slide.stain_factor, parameters)
    debris = rng.random() < parameters.debris_fraction
    if debris:
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.36, 0.55) * parameters.field_of_view_um
        where = centre + distance * np.array([np.sin(angle), np.cos(angle)])
        add_debris(scene, rng, where, unit * slide.stain_factor, parameters)
    levels = _photograph(scene.light(), (size_px, size_px), rng, slide, parameters)
    support = np.zeros((n, n), np.float32)
    inside, part = overlap(support.shape, patch.support.shape, centre / RENDER_UM)
    support[inside] = patch.support[part]
    mask = sample(support, (size_px, size_px)) > 0.5 * (pixel_um / RENDER_UM) ** 2
    truth = {
        "sample_id": f"{phase}_{k + 1:04d}",
        **truth_of(cell, patch, slide),
        "n_neighbours": n_neighbours,
        "debris": debris,
    }
    return _coloured(levels, rng, stain, parameters.full_scale), mask, truth


def truth_of(cell: Cell, patch: Patch, slide: Slide) -> dict:
    """Return the truth columns that crops and fields share."""
    return {
        "phase": cell.phase,
        "subphase": cell.subphase,
        "cycle_position": cell.cycle_position,
        "progress": cell.progress,
        "dna_content": cell.dna_content,
        "stain_factor": cell.stain_factor,
        "slide_factor": slide.stain_factor,
        "integrated_dna": cell.dna_content * cell.stain_factor * slide.stain_factor,
        "area_um2": float(patch.support.sum()) * RENDER_UM**2,
        "chromatin_contrast": cell.chromatin_contrast,
        "n_nucleoli": patch.n_nucleoli,
        "polar_view": cell.polar_view and cell.phase == "M",
        "focus_um": cell.focus_um,
        "slide": slide.name,
    }


def _add_neighbours(scene, rng, cell, patch, centre, unit, parameters) -> int:
    """Put nuclei of the growing population around the middle one; a newborn has its sister beside it."""
    own = np.sqrt(patch.support.sum() / np.pi) * RENDER_UM
    if cell.phase == "M" and cell.subphase != "prophase":
        own = max(patch.support.shape) / 2 * RENDER_UM - 1.0
    side = parameters.field_of_view_um
    reach = side / 2 + 9.0
    places, n_seen = [(np.zeros(2), own)], 0
    cycle_h = parameters.g1_h + parameters.s_h + parameters.g2_h + parameters.m_h
    newborn = cell.phase == "G1" and cell.cycle_position * cycle_h < 1.5
    n = int(rng.poisson(parameters.neighbours_per_mm2 * 1e-6 * (2 * reach) ** 2))
    for number in range(n + newborn):
        sister = newborn and number == 0
        other = replace(cell, focus_um=cell.focus_um + 0.3) if sister else draw_cell(rng, parameters)
        size = interphase_reach_um(other)
        where = rng.uniform(-reach, reach, 2)
        if sister:
            angle = rng.uniform(0, 2 * np.pi)
            where = (own + size) * rng.uniform(1.05, 1.6) * np.array([np.sin(angle), np.cos(angle)])
        if any(np.hypot(*(where - at)) < 1.02 * (r + size) for at, r in places):
            continue
        places.append((where, size))
        if np.abs(where).max() > side / 2 + size:
            continue
        other_patch = draw_patch(rng, other, parameters)
        scene.place(
            other_patch.density,
            unit * other.dna_content * other.stain_factor,
            centre + where,
            thickness_um(other, parameters),
            round(other.focus_um),
        )
        n_seen += 1
    return n_seen


def _photograph(light, size_px, rng, slide, parameters) -> np.ndarray:
    """Camera image (H, W) uint16 of a crop that lay anywhere in the camera's field."""
    side = parameters.field_of_view_um
    corner = rng.uniform(0, max(parameters.camera_field_um - side, 0), 2)
    steps = (np.arange(size_px[0]) + 0.5) / size_px[0] * side
    light_here = illumination(corner[0] + steps, corner[1] + steps, slide.bright_centre_um, parameters)
    return expose((sample(light, size_px) + slide.background) * light_here, rng, parameters)


def _coloured(levels, rng, stain, full_scale) -> np.ndarray:
    """Image (C, H, W) float32 in [0, 1] of whole steps of the camera, in gray or in an artificial colour."""
    image = (levels / np.float32(full_scale)).astype(np.float32)[None]
    if stain == "gray":
        return image
    colour = _STAIN_COLOURS[rng.choice(len(_STAIN_COLOURS), p=_STAIN_SHARES)]
    return np.round(image * colour[:, None, None] * full_scale).astype(np.float32) / np.float32(full_scale)

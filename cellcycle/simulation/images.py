"""Simulated images: crops of single nuclei, as in the study, and whole fields with label images."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy import ndimage

from cellcycle.errors import SettingError, check_choice, check_whole
from cellcycle.phases import PHASES
from cellcycle.simulation.biology import Cell, draw_cell, interphase_reach_um
from cellcycle.simulation.chromatin import RENDER_UM, Patch, draw_patch
from cellcycle.simulation.parameters import STUDY_COUNTS, SimulationParameters
from cellcycle.simulation.scene import Scene, Slide, light_per_n, make_slide, overlap, photograph, sample

# RGB colours that microscope software gives to a DNA channel: blues, cyan, green, magenta, grey.
_STAIN_COLOURS = np.array(
    [[0.1, 0.2, 1.0], [0.0, 0.4, 1.0], [0.0, 0.9, 1.0], [0.1, 1.0, 0.2], [1.0, 0.1, 0.9], [1.0, 1.0, 1.0]]
)
_STAIN_SHARES = np.array([0.45, 0.25, 0.1, 0.08, 0.06, 0.06])


@dataclass(frozen=True, eq=False)
class SimulatedNuclei:
    """Simulated crops of single nuclei with their truth.

    `images` (N, C, H, W) float32 in [0, 1] are integer camera values divided by the full scale; C is 1, or 3 with a
    stain colour. `labels` (N,) int64 index `phases.PHASES`, `masks` (N, H, W) bool are the nucleus, or all chromosomes
    of a cell in M, and `truth` has one row of hidden state per nucleus.
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
    stain: Literal["gray", "colour"] = "gray",
) -> SimulatedNuclei:
    """Simulate crops of single DAPI-stained nuclei, `counts` of each phase, in the order G1, S, G2, M.

    Nucleus k of a phase depends only on the seed, the phase and k, so the number of nuclei and their size in pixels do
    not change its cell biology. Crops are `parameters.field_of_view_um` wide, so `size_px` sets the pixel size. With
    the stain "colour" each image has an artificial colour, as microscope software gives it.

    Examples
    --------
    >>> nuclei = simulate_nuclei({"G1": 2, "M": 1}, size_px=32, seed=1)
    >>> nuclei.images.shape, nuclei.labels.tolist(), nuclei.truth["dna_content"].tolist()
    ((3, 1, 32, 32), [0, 0, 3], [2.0, 2.0, 4.0])
    """
    parameters = parameters or SimulationParameters()
    seed, size_px = check_whole("seed", seed), check_whole("size_px", size_px, 16, 1024)
    check_choice("stain", stain, ("gray", "colour"))
    for phase in counts:
        check_choice("counts", phase, PHASES)
    if any(n < 0 for n in counts.values()) or sum(counts.values()) == 0:
        raise SettingError("counts", f"{dict(counts)} asks for no nuclei", "give at least one phase a positive number")
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


def _grid_px(parameters: SimulationParameters) -> int:
    return round(parameters.field_of_view_um / RENDER_UM)


def _one_nucleus(phase, k, size_px, seed, parameters, slides, stain):
    """Return the image (C, H, W) float32, mask (H, W) bool and truth of one nucleus."""
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
    scene.place(patch.density, unit * amount, centre, cell.focus_um, cell.is_high)
    n_neighbours = _add_neighbours(scene, rng, cell, patch, centre, unit * slide.stain_factor, parameters)
    debris = rng.random() < parameters.debris_fraction
    if debris:
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.36, 0.55) * parameters.field_of_view_um
        where = centre + distance * np.array([np.sin(angle), np.cos(angle)])
        scene.place_debris(rng, where, unit * slide.stain_factor)
    # The crop comes from a random place in the camera's field, which sets its illumination.
    side = parameters.field_of_view_um
    corner = rng.uniform(0, max(parameters.camera_field_um - side, 0), 2)
    levels = photograph(scene.light(), (size_px, size_px), rng, slide, parameters, side, corner)
    support = np.zeros((n, n), np.float32)
    inside, part = overlap(support.shape, patch.support.shape, centre / RENDER_UM)
    support[inside] = patch.support[part]
    mask = sample(support, (size_px, size_px)) > 0.5 * (pixel_um / RENDER_UM) ** 2
    truth = {"sample_id": f"{phase}_{k + 1:04d}"} | truth_of(cell, patch, slide)
    truth |= {"n_neighbours": n_neighbours, "debris": debris}
    return _coloured(levels, rng, stain, parameters.full_scale), mask, truth


def truth_of(cell: Cell, patch: Patch, slide: Slide) -> dict:
    """Return the truth columns that crops and fields share."""
    names = ("phase", "subphase", "cycle_position", "progress", "dna_content", "stain_factor")
    return {name: getattr(cell, name) for name in names} | {
        "slide_factor": slide.stain_factor,
        "integrated_dna": cell.dna_content * cell.stain_factor * slide.stain_factor,
        "area_um2": float(patch.support.sum()) * RENDER_UM**2,
        "chromatin_contrast": cell.chromatin_contrast,
        "n_nucleoli": patch.n_nucleoli,
        "polar_view": cell.polar_view and cell.phase == "M",
        "look": cell.look,
        "focus_um": cell.focus_um,
        "slide": slide.name,
    }


def _add_neighbours(scene, rng, cell, patch, centre, unit, parameters) -> int:
    """Add nuclei of the growing population around the central one, and a newborn's sister; return their number."""
    own = np.sqrt(patch.support.sum() / np.pi) * RENDER_UM
    if cell.is_rounded:
        own = max(patch.support.shape) / 2 * RENDER_UM - 1.0
    side = parameters.field_of_view_um
    reach = side / 2 + 9.0
    places, n_seen = [(np.zeros(2), own)], 0
    newborn = cell.phase == "G1" and cell.cycle_position * parameters.cycle_h < 1.5
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
        density = draw_patch(rng, other, parameters).density
        amount = unit * other.dna_content * other.stain_factor
        scene.place(density, amount, centre + where, round(other.focus_um), other.is_high)
        n_seen += 1
    return n_seen


def _coloured(levels, rng, stain, full_scale) -> np.ndarray:
    """Return the image (C, H, W) float32 in [0, 1], in whole camera steps, in gray or in an artificial colour."""
    image = (levels / np.float32(full_scale)).astype(np.float32)[None]
    if stain == "gray":
        return image
    colour = _STAIN_COLOURS[rng.choice(len(_STAIN_COLOURS), p=_STAIN_SHARES)]
    return np.round(image * colour[:, None, None] * full_scale).astype(np.float32) / np.float32(full_scale)


@dataclass(frozen=True, eq=False)
class SimulatedField:
    """A simulated field of view.

    `image` (H, W) holds the camera values, uint8 or for 12 and 16 bits uint16. In `labels` (H, W) int32, 0 is
    background and k the nucleus of row k - 1 of `truth`; both halves of a dividing cell share k. `truth` has the
    columns nucleus_id, centroid_y_px, centroid_x_px, touches_border and those of `truth_of`.
    """

    image: np.ndarray
    labels: np.ndarray
    truth: pd.DataFrame
    pixel_size_um: float


def simulate_field(
    shape: tuple[int, int] = (512, 512),
    n_nuclei: int = 60,
    seed: int = 0,
    parameters: SimulationParameters | None = None,
    slide: Slide | None = None,
) -> SimulatedField:
    """Simulate a field of nuclei from a growing population.

    `shape` is in pixels of `parameters.pixel_size_um`. A full field holds fewer than `n_nuclei`; mainly large nuclei
    are missing then. Without `slide` the field gets a slide of its own.
    """
    parameters = parameters or SimulationParameters()
    # Large seeds are allowed, because `write_folder` numbers its fields in steps of 2**32.
    seed, n_nuclei = check_whole("seed", seed, most=2**63), check_whole("n_nuclei", n_nuclei)
    if min(shape) < 32:
        raise SettingError("field", f"shape {tuple(shape)}", "give sides of 32 px or more")
    rng = np.random.default_rng([seed, 104729])
    slide = slide or replace(make_slide(seed, 0, parameters), name=f"slide{seed + 1}")
    grid = tuple(round(n * parameters.pixel_size_um / RENDER_UM) for n in shape)
    scene = Scene(grid, parameters, focus_step_um=1.0)
    ids, rows = np.zeros(grid, np.int32), []
    unit = light_per_n(parameters, parameters.pixel_size_um) * slide.stain_factor
    for cell, centre in _lay_out(rng, n_nuclei, grid, parameters):
        patch = draw_patch(rng, cell, parameters)
        amount = unit * cell.dna_content * cell.stain_factor
        scene.place(patch.density, amount, centre, cell.focus_um, cell.is_high)
        inside, part = overlap(grid, patch.support.shape, [c / RENDER_UM for c in centre])
        seen, free = patch.support[part], ids[inside] == 0
        ids[inside][seen & free] = len(rows) + 1
        rows.append(truth_of(cell, patch, slide))
    for _ in range(int(rng.poisson(parameters.debris_fraction * n_nuclei))):
        scene.place_debris(rng, rng.uniform(0, 1, 2) * np.array(grid) * RENDER_UM, unit)
    image = photograph(scene.light(), shape, rng, slide, parameters, parameters.camera_field_um)
    if parameters.bits == 8:
        image = image.astype(np.uint8)
    labels, truth = _at_camera_pixels(ids, shape, rows)
    if truth.empty:
        # An empty table has the same columns and dtypes.
        truth = simulate_field((32, 32), 1).truth[:0]
    return SimulatedField(image, labels, truth, parameters.pixel_size_um)


def _lay_out(rng, n_nuclei, grid, parameters):
    """Return cells with centres (y, x) um, each at a random place that hardly overlaps an earlier cell."""
    places, sizes, laid = np.empty((2, n_nuclei)), np.empty(n_nuclei), []
    for _ in range(n_nuclei):
        cell = draw_cell(rng, parameters)
        size, n = interphase_reach_um(cell), len(laid)
        for _ in range(200):
            centre = rng.uniform(0, 1, 2) * np.array(grid) * RENDER_UM
            away = np.hypot(centre[0] - places[0, :n], centre[1] - places[1, :n])
            if (away > 0.92 * (size + sizes[:n])).all():
                places[:, n], sizes[n] = centre, size
                laid.append((cell, centre))
                break
    return laid


def _at_camera_pixels(ids, shape, rows) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the label image at camera resolution (nearest grid point), and the truth of the nuclei in it."""
    y, x = (
        np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1) for n, m in zip(shape, ids.shape, strict=True)
    )
    seen = ids[np.ix_(y, x)]
    found = np.union1d(0, seen)
    labels, truth = np.searchsorted(found, seen).astype(np.int32), []
    for k, (old, box) in enumerate(zip(found[1:], ndimage.find_objects(labels), strict=True), start=1):
        yx = np.argwhere(labels[box] == k) + [side.start for side in box]
        y, x = yx.mean(0)
        border = bool((yx == 0).any() or (yx == np.array(shape) - 1).any())
        place = {"nucleus_id": k, "centroid_y_px": y, "centroid_x_px": x, "touches_border": border}
        truth.append(place | rows[old - 1])
    return labels, pd.DataFrame(truth)

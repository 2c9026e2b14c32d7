"""Whole fields of many nuclei with instance masks."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cellcycle.errors import SettingError
from cellcycle.simulation.biology import draw_cell, interphase_reach_um
from cellcycle.simulation.crops import truth_of
from cellcycle.simulation.nucleus import RENDER_UM
from cellcycle.simulation.optics import expose, illumination, sample
from cellcycle.simulation.parameters import SimulationParameters
from cellcycle.simulation.scene import (
    Scene,
    add_debris,
    draw_patch,
    light_per_n,
    make_slide,
    overlap,
    thickness_um,
)


@dataclass(frozen=True)
class SimulatedField:
    """A simulated field of view.

    Attributes
    ----------
    image : (H, W) uint8 or uint16
        Camera image; uint16 for 12 and 16 bits.
    labels : (H, W) int32
        0 is background, k the nucleus of row k - 1 of `truth`; both halves of a dividing cell share k.
    truth : pandas.DataFrame
        One row per nucleus: nucleus_id, centroid_y_px, centroid_x_px, touches_border and the truth columns
        of `simulate_nuclei`.
    pixel_size_um : float
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
) -> SimulatedField:
    """Simulate a field of nuclei whose phases have the shares of a growing population.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels of `parameters.pixel_size_um`.
    n_nuclei : int
        Nuclei to place; fewer when the field is full.
    seed : int
        Non-negative.
    parameters : SimulationParameters, optional
        The defaults when None.

    Returns
    -------
    SimulatedField

    Raises
    ------
    SettingError
        A side below 32 px, or a negative number.
    """
    parameters = parameters or SimulationParameters()
    if min(shape) < 32 or n_nuclei < 0 or seed < 0:
        raise SettingError(
            "field",
            f"shape {tuple(shape)}, {n_nuclei} nuclei, seed {seed}",
            "give sides of 32 px or more and no negative number",
        )
    rng = np.random.default_rng([seed, 104729])
    slide = make_slide(seed, 0, parameters)
    grid = tuple(round(n * parameters.pixel_size_um / RENDER_UM) for n in shape)
    scene = Scene(grid, parameters, focus_step_um=1.0)
    ids, rows = np.zeros(grid, np.int32), []
    unit = light_per_n(parameters, parameters.pixel_size_um) * slide.stain_factor
    for cell, centre in _lay_out(rng, n_nuclei, grid, parameters):
        patch = draw_patch(rng, cell, parameters)
        where = overlap(grid, patch.support.shape, [c / RENDER_UM for c in centre])
        scene.place(
            patch.density,
            unit * cell.dna_content * cell.stain_factor,
            centre,
            thickness_um(cell, parameters),
            cell.focus_um,
        )
        if where is None:
            continue
        seen, free = patch.support[where[1]], ids[where[0]] == 0
        ids[where[0]][seen & free] = len(rows) + 1
        rows.append(truth_of(cell, patch, slide))
    for _ in range(int(rng.poisson(parameters.debris_fraction * n_nuclei))):
        add_debris(scene, rng, rng.uniform(0, 1, 2) * np.array(grid) * RENDER_UM, unit, parameters)
    light = sample(scene.light(), shape)
    y_um, x_um = ((np.arange(n) + 0.5) / n * parameters.camera_field_um for n in shape)
    light = (light + slide.background) * illumination(y_um, x_um, slide.bright_centre_um, parameters)
    image = expose(light, rng, parameters)
    if parameters.bits == 8:
        image = image.astype(np.uint8)
    labels, truth = _at_camera_pixels(ids, shape, rows)
    return SimulatedField(image, labels, truth, parameters.pixel_size_um)


def _lay_out(rng, n_nuclei, grid, parameters):
    """Draw cells and give each a centre (y, x) um where it overlaps no earlier one, by throwing darts."""
    placed, laid = [], []
    for _ in range(n_nuclei):
        cell = draw_cell(rng, parameters)
        size = interphase_reach_um(cell)
        for _ in range(200):
            centre = rng.uniform(0, 1, 2) * np.array(grid) * RENDER_UM
            if all(np.hypot(*(centre - at)) > 0.92 * (size + r) for at, r in placed):
                placed.append((centre, size))
                laid.append((cell, centre))
                break
    return laid


def _at_camera_pixels(ids, shape, rows) -> tuple[np.ndarray, pd.DataFrame]:
    """Label image at camera resolution (nearest grid point), and the truth of the nuclei that it shows."""
    y, x = (
        np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1) for n, m in zip(shape, ids.shape, strict=True)
    )
    labels = ids[np.ix_(y, x)]
    found = np.unique(labels[labels > 0])
    renumber = np.zeros(len(rows) + 1, np.int32)
    renumber[found] = np.arange(1, found.size + 1)
    labels = renumber[labels]
    truth = []
    for k, old in enumerate(found, start=1):
        yx = np.argwhere(labels == k)
        border = bool((yx == 0).any() or (yx[:, 0] == shape[0] - 1).any() or (yx[:, 1] == shape[1] - 1).any())
        truth.append(
            {
                "nucleus_id": k,
                "centroid_y_px": yx[:, 0].mean(),
                "centroid_x_px": yx[:, 1].mean(),
                "touches_border": border,
                **rows[old - 1],
            }
        )
    return labels, pd.DataFrame(truth)

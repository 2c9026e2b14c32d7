"""Cells laid out on a slide: the slide's own staining and light, patches of DNA put in their places."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len

from cellcycle.simulation.biology import Cell
from cellcycle.simulation.mitosis import mitotic_patch
from cellcycle.simulation.nucleus import RENDER_UM, Patch, interphase_patch
from cellcycle.simulation.optics import blur
from cellcycle.simulation.parameters import SimulationParameters

MARGIN_PX = 20  # of the render grid around a scene: blur wraps there, and the camera does not see it


@dataclass(frozen=True)
class Slide:
    """What the cells of one slide share."""

    name: str
    stain_factor: float
    background: float
    bright_centre_um: tuple[float, float]


def make_slide(seed: int, number: int, parameters: SimulationParameters) -> Slide:
    """Return slide `number` of a seed: its stain uptake, background and centre of illumination."""
    rng = np.random.default_rng([seed, 7919, number])
    middle = parameters.camera_field_um / 2
    return Slide(
        name=f"slide{number + 1}",
        stain_factor=float(np.exp(rng.normal(0, np.sqrt(np.log1p(parameters.slide_cv**2))))),
        background=float(parameters.background * np.exp(rng.normal(0, 0.2))),
        bright_centre_um=tuple((middle * (1 + rng.normal(0, 0.15, 2))).tolist()),
    )


def draw_patch(rng: np.random.Generator, cell: Cell, parameters: SimulationParameters) -> Patch:
    """Lay out the DNA of any cell."""
    has_envelope = cell.phase != "M" or cell.subphase == "prophase"
    return (interphase_patch if has_envelope else mitotic_patch)(rng, cell, parameters)


def thickness_um(cell: Cell, parameters: SimulationParameters) -> float:
    """Return the height of the cell's DNA: cells round up when the envelope is gone."""
    rounded = cell.phase == "M" and cell.subphase != "prophase"
    return parameters.mitotic_thickness_um if rounded else parameters.thickness_um


def light_per_n(parameters: SimulationParameters, camera_pixel_um: float) -> float:
    """Return the light (camera full scale times pixels) that 1 N of DNA of median stain gives.

    The exposure is set once for all cells: a G1 nucleus of median area has the mean brightness
    `g1_level`, whatever the magnification.
    """
    return parameters.g1_level * parameters.g1_area_um2 / camera_pixel_um**2 / 2.0


def overlap(scene_shape, patch_shape, centre_px) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return where a patch centred at `centre_px` meets a scene: slices of both, or None if it does not."""
    inside, part = [], []
    for n, m, c in zip(scene_shape, patch_shape, centre_px, strict=True):
        start = round(float(c)) - m // 2
        low, high = max(start, 0), min(start + m, n)
        if low >= high:
            return None
        inside.append(slice(low, high))
        part.append(slice(low - start, high - start))
    return tuple(inside), tuple(part)


class Scene:
    """Light of many cells, each blurred by its own height and distance from the focal plane.

    `place` adds a cell; `light` returns the blurred sum. Cells of nearly the same height and focus
    are blurred together.
    """

    def __init__(self, shape_px: tuple[int, int], parameters: SimulationParameters, focus_step_um: float):
        self._seen = tuple(slice(MARGIN_PX, MARGIN_PX + n) for n in shape_px)
        self.shape = tuple(next_fast_len(n + 2 * MARGIN_PX, real=True) for n in shape_px)
        self.parameters, self.focus_step_um = parameters, focus_step_um
        self._layers: dict[tuple[float, float], np.ndarray] = {}

    def place(self, density: np.ndarray, amount: float, centre_um, height_um: float, focus_um: float):
        """Add `amount` of light spread as `density`, centred at (y, x) um from the scene's corner."""
        centre = [c / RENDER_UM + MARGIN_PX for c in centre_um]
        where = overlap(self.shape, density.shape, centre)
        if where is None:
            return
        key = (height_um, abs(round(focus_um / self.focus_step_um)) * self.focus_step_um)
        layer = self._layers.setdefault(key, np.zeros(self.shape, np.float32))
        layer[where[0]] += np.float32(amount) * density[where[1]]

    def light(self) -> np.ndarray:
        """Return the blurred light of all cells, margin removed."""
        total = np.zeros(self.shape, np.float32)
        for (height_um, focus_um), layer in self._layers.items():
            total += blur(layer, RENDER_UM, self.parameters, height_um, focus_um)
        return total[self._seen]


def add_debris(scene: Scene, rng: np.random.Generator, where_um, unit: float, parameters: SimulationParameters):
    """Put a small bright fragment of a dead cell, 0.1 to 0.5 N of DNA, into a scene."""
    size = rng.uniform(0.5, 1.3)
    axis = np.arange(-25, 26) * RENDER_UM
    spot = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * size**2)).astype(np.float32)
    scene.place(spot / spot.sum(), unit * rng.uniform(0.1, 0.5), where_um, parameters.thickness_um, 1.0)

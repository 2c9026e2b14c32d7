"""Where the DNA lies once the nuclear envelope is gone: chromosomes as threads in space, seen from above."""

import numpy as np
from scipy.ndimage import gaussian_filter

from cellcycle.simulation.biology import Cell
from cellcycle.simulation.nucleus import RENDER_UM, Patch
from cellcycle.simulation.parameters import SimulationParameters

_POINTS = 24  # points along one chromosome


def _directions(rng, n: int) -> np.ndarray:
    """Random unit vectors, (n, 3) float."""
    v = rng.standard_normal((n, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def _rods(rng, centres, directions, lengths) -> np.ndarray:
    """Points along chromosomes that bend a little, (n * _POINTS, 3) um."""
    along = np.linspace(-0.5, 0.5, _POINTS)[None, :, None]
    lengths = lengths[:, None, None]
    bend = _directions(rng, len(centres))[:, None] * 0.35 * lengths * (4 * along**2 - 1 / 3)
    return (centres[:, None] + along * lengths * directions[:, None] + bend).reshape(-1, 3)


def _plate(rng, parameters: SimulationParameters, radius: float, thickness: float, ring: float) -> np.ndarray:
    """Chromosomes in a plate across the spindle (the z axis); `ring` 0 fills its middle, 1 empties it."""
    n = parameters.n_chromosomes
    distance = radius * np.sqrt(rng.uniform(0.4 * ring**2, 0.6, n))
    angle = rng.uniform(0, 2 * np.pi, n)
    outward = np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], 1)
    centres = outward * distance[:, None]
    centres[:, 2] = rng.normal(0, thickness / 4, n)
    directions = outward + 0.45 * _directions(rng, n)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return _rods(rng, centres, directions, rng.uniform(2.0, 5.0, n))


def _prometaphase(rng, cell: Cell, parameters: SimulationParameters) -> np.ndarray:
    """Chromosomes let out of the nucleus, gathering around the spindle into a ring and then a plate."""
    n, done = parameters.n_chromosomes, cell.progress
    reach = np.sqrt(cell.area_um2 / np.pi) * (0.80 - 0.17 * done)
    centres = _directions(rng, n) * (reach * rng.uniform(0.35 + 0.2 * (1 - done), 1.0, n) ** 0.5)[:, None]
    centres[:, 2] *= 0.95 - 0.4 * done
    centres += rng.normal(0, 0.5, (n, 3))
    directions = centres / np.linalg.norm(centres, axis=1, keepdims=True) + 0.9 * _directions(rng, n)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return _rods(rng, centres, directions, rng.uniform(2.5, 6.0, n))


def _anaphase(rng, cell: Cell, parameters: SimulationParameters) -> np.ndarray:
    """Two sets of chromatids drawn apart, their arms trailing behind."""
    apart = 3.0 + (parameters.anaphase_distance_um - 3.0) * cell.progress
    radius = parameters.plate_radius_um * (0.9 - 0.2 * cell.progress)
    sets = []
    for side in (-1, 1):
        points = _plate(rng, parameters, radius, 0.6 * parameters.plate_thickness_um, 0.0)
        bend = np.hypot(points[:, 0], points[:, 1]) ** 2 / radius**2
        points[:, 2] += side * (apart / 2 - 1.1 * cell.progress * bend)
        sets.append(points)
    return np.concatenate(sets)


def _telophase(rng, cell: Cell, parameters: SimulationParameters) -> np.ndarray:
    """Two daughters, first dense plates, then rounding up and swelling."""
    apart = parameters.anaphase_distance_um + 3.0 * cell.progress
    n = 6 * parameters.n_chromosomes
    sets = []
    for side in (-1, 1):
        inside = _directions(rng, n) * rng.random((n, 1)) ** (1 / 3)
        axes = np.array([4.3 + 0.5 * cell.progress, 4.3 + 0.5 * cell.progress, 2.0 + 1.8 * cell.progress])
        centres = inside * axes + [0, 0, side * apart / 2]
        sets.append(_rods(rng, centres, _directions(rng, n), np.full(n, 0.9)))
    return np.concatenate(sets)


def _seen_from_above(rng, points: np.ndarray, polar: bool) -> np.ndarray:
    """Turn the spindle axis (z) into the image plane, or nearly upright for a polar view; (n, 2) um."""
    tilt = rng.normal(0, 0.15) if polar else np.pi / 2 + rng.normal(0, 0.17)
    turn = rng.uniform(0, 2 * np.pi)
    lying = points[:, 0] * np.cos(tilt) + points[:, 2] * np.sin(tilt)
    across = points[:, 1]
    return np.stack([lying * np.sin(turn) + across * np.cos(turn), lying * np.cos(turn) - across * np.sin(turn)], 1)


def mitotic_patch(rng: np.random.Generator, cell: Cell, parameters: SimulationParameters) -> Patch:
    """Lay out the chromosomes from prometaphase to telophase; both sets of a dividing cell are one object."""
    if cell.subphase == "prometaphase":
        points = _prometaphase(rng, cell, parameters)
    elif cell.subphase == "metaphase":
        points = _plate(rng, parameters, parameters.plate_radius_um, parameters.plate_thickness_um, 0.6)
    elif cell.subphase == "anaphase":
        points = _anaphase(rng, cell, parameters)
    else:
        points = _telophase(rng, cell, parameters)
    yx = _seen_from_above(rng, points, cell.polar_view)
    n = int(np.ceil((np.abs(yx).max() + 2.0) / RENDER_UM))
    bins = np.rint(yx / RENDER_UM).astype(int) + n
    size = 2 * n + 1
    density = np.bincount(bins[:, 0] * size + bins[:, 1], minlength=size * size).reshape(size, size)
    density = gaussian_filter(density.astype(np.float32), parameters.chromosome_width_um / 2.355 / RENDER_UM)
    smooth = gaussian_filter(density, 0.3 / RENDER_UM)
    support = smooth > 0.2 * np.percentile(smooth[smooth > 0.02 * smooth.max()], 90)
    return Patch(density / density.sum(), support)

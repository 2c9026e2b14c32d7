"""The projected distribution of the DNA of a cell: chromatin in a nucleus, or condensed chromosomes."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from cellcycle.simulation.biology import Cell
from cellcycle.simulation.parameters import SimulationParameters

RENDER_UM = 0.2  # pixel of the grid on which DNA is drawn: finer than the resolution of the simulated objectives
_POINTS = 24  # points along one chromosome


@dataclass(frozen=True)
class Patch:
    """DNA of one cell on the render grid, centred in the array.

    `density` (n, n) float32 sums to 1; `support` (n, n) bool is the mask of the nucleus, or of the chromosomes in M.
    """

    density: np.ndarray
    support: np.ndarray
    n_nucleoli: int = 0


def _noise(rng, shape, sigma_um: float) -> np.ndarray:
    """Return smooth Gaussian noise (n, n) float32 of mean 0 and variance 1."""
    whole = [fft.next_fast_len(n, real=True) for n in shape]
    spectrum = fft.rfft2(rng.standard_normal(whole, dtype=np.float32))
    scale = -2 * (np.pi * sigma_um / RENDER_UM) ** 2
    spectrum *= np.exp(scale * fft.fftfreq(whole[0]) ** 2).astype(np.float32)[:, None]
    spectrum *= np.exp(scale * fft.rfftfreq(whole[1]) ** 2).astype(np.float32)[None, :]
    noise = fft.irfft2(spectrum, s=whole)[: shape[0], : shape[1]]
    return (noise - noise.mean()) / noise.std()


def _outline(rng, parameters: SimulationParameters) -> np.ndarray:
    """Return the radius of the nucleus relative to its ellipse at 720 angles from -pi to pi, (720,) float32."""
    angle = np.linspace(-np.pi, np.pi, 720, endpoint=False)
    orders = np.arange(2, 7)[:, None]
    waves = parameters.outline_roughness * rng.standard_normal((5, 1)) * 2.0 / orders
    outline = 1 + (waves * np.cos(orders * angle + rng.uniform(0, 2 * np.pi, (5, 1)))).sum(0)
    dented = rng.random() < parameters.dented_fraction
    where, depth = rng.uniform(-np.pi, np.pi), rng.uniform(0.1, 0.25)
    if dented:
        outline -= depth * np.exp(-((np.angle(np.exp(1j * (angle - where))) / 0.45) ** 2))
    # Normalised, so that every outline has the area of the ellipse.
    return (outline / np.sqrt((outline**2).mean())).astype(np.float32)


def _radius(rng, cell: Cell, parameters: SimulationParameters, y, x) -> np.ndarray:
    """Return the distance from the centre relative to the outline, (n, n) float32, below 1 inside the nucleus."""
    turn = rng.uniform(0, np.pi)
    sine, cosine = float(np.sin(turn)), float(np.cos(turn))
    short = float(np.sqrt(cell.area_um2 / np.pi / cell.aspect_ratio))
    u = (x * cosine + y * sine) / (short * cell.aspect_ratio)
    v = (y * cosine - x * sine) / short
    outline = _outline(rng, parameters)
    angle = (np.arctan2(v, u) * np.float32(360 / np.pi) + np.float32(360)).astype(np.int16) % 720
    return np.hypot(u, v) / outline[angle]


def _nucleoli(rng, cell: Cell, parameters: SimulationParameters, radius, y, x) -> tuple[np.ndarray, int]:
    """Return how far nucleoli cover each point, (n, n) float32 in [0, 1], and their number."""
    cover = np.zeros(radius.shape, np.float32)
    n = int(rng.poisson(max(parameters.n_nucleoli - 1, 0))) + (parameters.n_nucleoli >= 1)
    reach = np.sqrt(cell.area_um2 / np.pi)
    for _ in range(n):
        distance, where = 0.65 * reach * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        size = parameters.nucleolus_um * np.exp(rng.normal(0, 0.3)) * np.sqrt(2.0 / max(n, 2))
        stretch = np.exp(rng.normal(0, 0.15))
        centre_y, centre_x = distance * np.sin(where), distance * np.cos(where)
        near_y, near_x = np.abs(y[:, 0] - centre_y) < 2.2 * size, np.abs(x[0] - centre_x) < 2.2 * size
        dy = (y[near_y] - np.float32(centre_y)) * np.float32(stretch / size)
        dx = (x[:, near_x] - np.float32(centre_x)) / np.float32(stretch * size)
        window = np.ix_(near_y, near_x)
        cover[window] = np.maximum(cover[window], expit((1 - np.hypot(dy, dx)) * np.float32(6)))
    return cover, n


def _copies(rng, cell: Cell, parameters: SimulationParameters, compaction) -> np.ndarray:
    """Return the local copy number in S, (n, n) float32 from 1 to 2: open chromatin is copied before dense chromatin.

    The nucleus is several replication domains high, so the projection of a point is copied gradually.
    """
    shared = np.float32(parameters.timing_correlation)
    own = np.float32(np.sqrt(1 - parameters.timing_correlation**2))
    timing = expit(np.float32(1.7) * (shared * compaction + own * _noise(rng, compaction.shape, 0.7)))
    return 1 + expit((np.float32(cell.replicated) - timing) / np.float32(0.2))


def _threads(rng, shape) -> np.ndarray:
    """Return condensing chromosomes of prophase, (n, n) float32 of mean about 1: curved threads in two layers."""
    layers = [np.exp(-((_noise(rng, shape, size) / np.float32(0.4)) ** 2)) for size in (0.5, 0.65)]
    return np.float32(1.9) * (layers[0] + np.float32(0.7) * layers[1])


def _interphase_patch(rng: np.random.Generator, cell: Cell, parameters: SimulationParameters) -> Patch:
    """Return the DNA of a nucleus with an envelope: G1, S, G2 or prophase.

    Euchromatin and heterochromatin are a smooth log-normal field. In S the open chromatin is copied
    first and the dense chromatin last (Dimitrova and Berezney 2002), so the local copy number, and with
    it the texture, depends on the progress of replication. In prophase the DNA condenses into threads.
    """
    half = 1.15 * np.sqrt(cell.area_um2 * cell.aspect_ratio / np.pi) + 0.7
    n = int(np.ceil(half / RENDER_UM))
    axis = (np.arange(-n, n + 1) * RENDER_UM).astype(np.float32)
    y, x = axis[:, None], axis[None, :]
    radius = _radius(rng, cell, parameters, y, x)
    support = radius < 1
    fine = _noise(rng, radius.shape, parameters.focus_size_um)
    coarse = _noise(rng, radius.shape, parameters.domain_size_um)
    compaction = 0.8 * fine + 0.6 * coarse
    cover, n_nucleoli = _nucleoli(rng, cell, parameters, radius, y, x)
    rim = np.exp(-(((1 - radius) / np.float32(0.08)) ** 2))
    density = np.exp(np.float32(cell.chromatin_contrast) * compaction)
    density += np.float32(parameters.rim_strength) * rim
    if 0 < cell.replicated < 1:
        density *= _copies(rng, cell, parameters, compaction)
    condensed = cell.progress if cell.subphase == "prophase" else 0.0
    if condensed:
        weight = np.float32(0.05 + 0.75 * condensed)
        density *= (1 - weight) + weight * _threads(rng, radius.shape)
    density *= 1 - np.float32(parameters.nucleolus_depth * (1 - 0.8 * condensed)) * cover
    for _ in range(int(rng.poisson(parameters.n_chromocentres))):
        distance, where = 0.7 * half * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        r2 = (y - distance * np.sin(where)) ** 2 + (x - distance * np.cos(where)) ** 2
        density += 2.0 * np.exp(-r2 / np.float32(2 * 0.5**2))
    density *= np.sqrt(np.clip(1 - np.minimum(radius, 1) ** np.float32(parameters.flatness), 0, 1))
    return Patch(density / density.sum(), support, n_nucleoli)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _directions(rng, n: int) -> np.ndarray:
    """Return random unit vectors, (n, 3) float."""
    return _unit(rng.standard_normal((n, 3)))


def _rods(rng, centres, directions, lengths) -> np.ndarray:
    """Return points along slightly bent chromosomes, (n * _POINTS, 3) um."""
    along = np.linspace(-0.5, 0.5, _POINTS)[None, :, None]
    lengths = lengths[:, None, None]
    bend = _directions(rng, len(centres))[:, None] * 0.35 * lengths * (4 * along**2 - 1 / 3)
    return (centres[:, None] + along * lengths * directions[:, None] + bend).reshape(-1, 3)


def _plate(rng, parameters: SimulationParameters, radius: float, thickness: float, ring: float) -> np.ndarray:
    """Return chromosomes in a plate across the spindle (the z axis); a larger `ring` (0 to 1) empties its middle."""
    n = parameters.n_chromosomes
    distance = radius * np.sqrt(rng.uniform(0.4 * ring**2, 0.6, n))
    angle = rng.uniform(0, 2 * np.pi, n)
    outward = np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], 1)
    centres = outward * distance[:, None]
    centres[:, 2] = rng.normal(0, thickness / 4, n)
    directions = _unit(outward + 0.45 * _directions(rng, n))
    return _rods(rng, centres, directions, rng.uniform(2.0, 5.0, n))


def _prometaphase(rng, cell: Cell, parameters: SimulationParameters) -> np.ndarray:
    """Return chromosomes after envelope breakdown, which gather around the spindle into a ring and then a plate."""
    n, done = parameters.n_chromosomes, cell.progress
    reach = np.sqrt(cell.area_um2 / np.pi) * (0.80 - 0.17 * done)
    centres = _directions(rng, n) * (reach * rng.uniform(0.35 + 0.2 * (1 - done), 1.0, n) ** 0.5)[:, None]
    centres[:, 2] *= 0.95 - 0.4 * done
    centres += rng.normal(0, 0.5, (n, 3))
    directions = _unit(_unit(centres) + 0.9 * _directions(rng, n))
    return _rods(rng, centres, directions, rng.uniform(2.5, 6.0, n))


def _anaphase(rng, cell: Cell, parameters: SimulationParameters) -> np.ndarray:
    """Return two separating sets of chromatids whose arms trail behind."""
    apart = 3.0 + (parameters.anaphase_distance_um - 3.0) * cell.progress
    radius = parameters.plate_radius_um * (0.9 - 0.2 * cell.progress)
    sets = []
    for side in (-1, 1):
        points = _plate(rng, parameters, radius, 0.6 * parameters.plate_thickness_um, 0.0)
        bend = np.hypot(points[:, 0], points[:, 1]) ** 2 / radius**2
        points[:, 2] += side * (apart / 2 - 1.1 * cell.progress * bend)
        sets.append(points)
    return np.concatenate(sets)


def _lagging(rng, cell: Cell, parameters: SimulationParameters, points: np.ndarray) -> np.ndarray:
    """Return the given chromosomes with one to three of them left between the two sets, (N, 3) um."""
    n = int(rng.integers(1, 4))
    centres = rng.normal(0, 1, (n, 3)) * [1.5, 1.5, 0.15 * parameters.anaphase_distance_um]
    return np.concatenate([points[n * _POINTS :], _rods(rng, centres, _directions(rng, n), rng.uniform(1.5, 4.0, n))])


def _telophase(rng, cell: Cell, parameters: SimulationParameters) -> np.ndarray:
    """Return two daughter nuclei, first dense plates, which then become round and larger."""
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
    """Return points projected to (n, 2) um, the spindle axis (z) turned into the image plane, or upright if `polar`."""
    tilt = rng.normal(0, 0.15) if polar else np.pi / 2 + rng.normal(0, 0.17)
    turn = rng.uniform(0, 2 * np.pi)
    lying = points[:, 0] * np.cos(tilt) + points[:, 2] * np.sin(tilt)
    across = points[:, 1]
    return np.stack([lying * np.sin(turn) + across * np.cos(turn), lying * np.cos(turn) - across * np.sin(turn)], 1)


def _mitotic_patch(rng: np.random.Generator, cell: Cell, parameters: SimulationParameters) -> Patch:
    """Return the chromosomes from prometaphase to telophase; both sets of a dividing cell are one object."""
    if cell.subphase == "prometaphase":
        points = _prometaphase(rng, cell, parameters)
    elif cell.subphase == "metaphase":
        points = _plate(rng, parameters, parameters.plate_radius_um, parameters.plate_thickness_um, 0.6)
    elif cell.subphase == "anaphase":
        points = _anaphase(rng, cell, parameters)
    else:
        points = _telophase(rng, cell, parameters)
    if cell.look == "lagging":
        points = _lagging(rng, cell, parameters, points)
    yx = _seen_from_above(rng, points, cell.polar_view)
    n = int(np.ceil((np.abs(yx).max() + 2.0) / RENDER_UM))
    bins = np.rint(yx / RENDER_UM).astype(int) + n
    size = 2 * n + 1
    density = np.bincount(bins[:, 0] * size + bins[:, 1], minlength=size * size).reshape(size, size)
    density = gaussian_filter(density.astype(np.float32), parameters.chromosome_width_um / 2.355 / RENDER_UM)
    smooth = gaussian_filter(density, 0.3 / RENDER_UM)
    support = smooth > 0.2 * np.percentile(smooth[smooth > 0.02 * smooth.max()], 90)
    return Patch(density / density.sum(), support)


def _dying_patch(rng: np.random.Generator, cell: Cell, parameters: SimulationParameters) -> Patch:
    """Return the DNA of a dying cell: shrunk to one dense ball, or broken into up to eight balls of different sizes."""
    reach = float(np.sqrt(cell.area_um2 / np.pi))
    n_balls = 1 if rng.random() < 0.4 else int(rng.integers(2, 9))
    whole = reach * rng.uniform(0.45, 0.7)
    radii = whole * np.sqrt(rng.dirichlet(np.full(n_balls, 1.5)))
    n = int(np.ceil((reach + whole) / RENDER_UM))
    axis = (np.arange(-n, n + 1) * RENDER_UM).astype(np.float32)
    density = np.zeros((2 * n + 1, 2 * n + 1), np.float32)
    for radius in radii:
        angle, away = rng.uniform(0, 2 * np.pi), (n_balls > 1) * 0.8 * reach * np.sqrt(rng.random())
        r2 = (axis[:, None] - away * np.sin(angle)) ** 2 + (axis[None, :] - away * np.cos(angle)) ** 2
        density += np.sqrt(np.clip(radius**2 - r2, 0, None)).astype(np.float32)
    return Patch(density / density.sum(), density > 0)


def draw_patch(rng: np.random.Generator, cell: Cell, parameters: SimulationParameters) -> Patch:
    """Return the DNA of any cell."""
    if cell.look == "dying":
        return _dying_patch(rng, cell, parameters)
    if cell.look == "rounded":
        parameters = replace(parameters, flatness=2.0, outline_roughness=0.5 * parameters.outline_roughness)
    return (_mitotic_patch if cell.is_rounded else _interphase_patch)(rng, cell, parameters)

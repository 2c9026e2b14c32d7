"""Where the DNA lies in a nucleus of interphase or prophase, seen from above."""

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.special import expit

from cellcycle.simulation.biology import Cell
from cellcycle.simulation.parameters import SimulationParameters

RENDER_UM = 0.2  # grid on which DNA is laid out: finer than the resolution of the objectives simulated


@dataclass(frozen=True)
class Patch:
    """DNA of one cell on the render grid, its centre in the middle of the array.

    `density` (n, n) float32 sums to 1; `support` (n, n) bool is the nucleus, or the chromosomes of M.
    """

    density: np.ndarray
    support: np.ndarray
    n_nucleoli: int = 0


def _grid(half_um: float) -> tuple[np.ndarray, np.ndarray]:
    n = int(np.ceil(half_um / RENDER_UM))
    axis = (np.arange(-n, n + 1) * RENDER_UM).astype(np.float32)
    return axis[:, None], axis[None, :]


def _noise(rng, shape, sigma_um: float) -> np.ndarray:
    """Smooth Gaussian noise (n, n) float32 of mean 0 and variance 1."""
    whole = [fft.next_fast_len(n, real=True) for n in shape]
    spectrum = fft.rfft2(rng.standard_normal(whole, dtype=np.float32))
    scale = -2 * (np.pi * sigma_um / RENDER_UM) ** 2
    spectrum *= np.exp(scale * fft.fftfreq(whole[0]) ** 2).astype(np.float32)[:, None]
    spectrum *= np.exp(scale * fft.rfftfreq(whole[1]) ** 2).astype(np.float32)[None, :]
    noise = fft.irfft2(spectrum, s=whole)[: shape[0], : shape[1]]
    return (noise - noise.mean()) / noise.std()


def _outline(rng, parameters: SimulationParameters) -> np.ndarray:
    """Radius of the nucleus relative to its ellipse at 720 angles from -pi to pi, (720,) float32."""
    angle = np.linspace(-np.pi, np.pi, 720, endpoint=False)
    orders = np.arange(2, 7)[:, None]
    waves = parameters.outline_roughness * rng.standard_normal((5, 1)) * 2.0 / orders
    outline = 1 + (waves * np.cos(orders * angle + rng.uniform(0, 2 * np.pi, (5, 1)))).sum(0)
    dented, where, depth = (
        rng.random() < parameters.dented_fraction,
        rng.uniform(-np.pi, np.pi),
        rng.uniform(0.1, 0.25),
    )
    if dented:
        outline -= depth * np.exp(-((np.angle(np.exp(1j * (angle - where))) / 0.45) ** 2))
    # The area stays that of the ellipse, whatever the outline.
    return (outline / np.sqrt((outline**2).mean())).astype(np.float32)


def _radius(rng, cell: Cell, parameters: SimulationParameters, y, x) -> np.ndarray:
    """Distance from the centre relative to the outline: below 1 inside the nucleus, (n, n) float32."""
    turn = rng.uniform(0, np.pi)
    sine, cosine = float(np.sin(turn)), float(np.cos(turn))
    short = float(np.sqrt(cell.area_um2 / np.pi / cell.aspect_ratio))
    u = (x * cosine + y * sine) / (short * cell.aspect_ratio)
    v = (y * cosine - x * sine) / short
    outline = _outline(rng, parameters)
    angle = (np.arctan2(v, u) * np.float32(360 / np.pi) + np.float32(360)).astype(np.int16) % 720
    return np.hypot(u, v) / outline[angle]


def _nucleoli(rng, cell: Cell, parameters: SimulationParameters, radius, y, x) -> tuple[np.ndarray, int]:
    """Cover of each point by nucleoli, (n, n) float32 in [0, 1], and their number."""
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
    """Local copy number in S, (n, n) float32 from 1 to 2: open chromatin is copied before dense chromatin.

    The nucleus is several replication domains high, so a point seen from above is copied gradually.
    """
    shared = np.float32(parameters.timing_correlation)
    own = np.float32(np.sqrt(1 - parameters.timing_correlation**2))
    timing = expit(np.float32(1.7) * (shared * compaction + own * _noise(rng, compaction.shape, 0.7)))
    return 1 + expit((np.float32(cell.replicated) - timing) / np.float32(0.2))


def _threads(rng, shape) -> np.ndarray:
    """Condensing chromosomes of prophase: curved threads at two heights, (n, n) float32 of mean about 1."""
    layers = [np.exp(-((_noise(rng, shape, size) / np.float32(0.4)) ** 2)) for size in (0.5, 0.65)]
    return np.float32(1.9) * (layers[0] + np.float32(0.7) * layers[1])


def interphase_patch(rng: np.random.Generator, cell: Cell, parameters: SimulationParameters) -> Patch:
    """Lay out the DNA of a nucleus with an envelope: G1, S, G2 or prophase.

    Euchromatin and heterochromatin are a smooth log-normal field. In S the open chromatin is copied
    first and the dense chromatin last (Dimitrova and Berezney 2002), so the local copy number, and with
    it the texture, depends on how far replication has come. In prophase the DNA gathers into threads.
    """
    half = 1.15 * np.sqrt(cell.area_um2 * cell.aspect_ratio / np.pi) + 0.7
    y, x = _grid(half)
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

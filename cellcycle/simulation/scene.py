"""Imaging of cells on a slide: staining, blur, sampling, uneven illumination, camera noise."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft
from scipy.interpolate import CubicSpline

from cellcycle.simulation.biology import spread
from cellcycle.simulation.chromatin import RENDER_UM
from cellcycle.simulation.parameters import SimulationParameters

MARGIN_PX = 20  # margin of a scene on the render grid, outside of the image: blur wraps around there


@dataclass(frozen=True)
class Slide:
    """Properties that all cells of one slide share."""

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
        stain_factor=float(spread(rng, parameters.slide_cv)),
        background=float(parameters.background * np.exp(rng.normal(0, 0.2))),
        bright_centre_um=tuple((middle * (1 + rng.normal(0, 0.15, 2))).tolist()),
    )


def light_per_n(parameters: SimulationParameters, camera_pixel_um: float) -> float:
    """Return the integrated intensity (camera full scale times pixels) of 1 N of DNA with median stain.

    The exposure is the same for all cells: a G1 nucleus of median area has the mean brightness
    `g1_level` at any magnification.
    """
    return parameters.g1_level * parameters.g1_area_um2 / camera_pixel_um**2 / 2.0


def overlap(scene_shape, patch_shape, centre_px) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return the slices of a scene and of a patch centred at `centre_px` where they overlap, or None."""
    inside, part = [], []
    for n, m, c in zip(scene_shape, patch_shape, centre_px, strict=True):
        start = round(float(c)) - m // 2
        low, high = max(start, 0), min(start + m, n)
        if low >= high:
            return None
        inside.append(slice(low, high))
        part.append(slice(low - start, high - start))
    return tuple(inside), tuple(part)


def blur(scene, pixel_um: float, parameters: SimulationParameters, thickness_um: float, focus_um: float = 0.0):
    """Return a projected object, light (H, W) per pixel, blurred as by a microscope; in widefield its sum is kept.

    The in-focus spot is a Gaussian of sigma 0.21 wavelength / NA (Zhang et al. 2007). Layers of the object above and
    below its middle, which lies `focus_um` from the focal plane, are blurred more by the objective's light cone. A
    confocal shows layers outside of its section darker; it is normalised so that a usual nucleus in focus is as bright
    as in widefield. The image wraps around at the borders, so leave a margin.
    """
    transfer = _transfer(scene.shape, pixel_um, parameters, round(thickness_um, 1), round(abs(focus_um), 1))
    return fft.irfft2(fft.rfft2(scene.astype(np.float32)) * transfer, s=scene.shape)


@lru_cache(maxsize=64)
def _transfer(shape, pixel_um, parameters, thickness_um, focus_um) -> np.ndarray:
    """Return the optical transfer function averaged over the object's height, (H, W // 2 + 1) float32."""
    aperture = parameters.numerical_aperture
    fy, fx = fft.fftfreq(shape[0], pixel_um), fft.rfftfreq(shape[1], pixel_um)
    f2 = fy[:, None] ** 2 + fx[None, :] ** 2
    nodes, weights = np.polynomial.legendre.leggauss(9)
    z = focus_um + nodes * thickness_um / 2
    cone = aperture / np.sqrt(parameters.refractive_index**2 - aperture**2)
    sigma2 = (0.21 * parameters.emission_um / aperture) ** 2 + (z * cone / 2) ** 2
    radial = np.linspace(0, f2.max(), 4096)
    seen = weights / 2 * _in_section(z, parameters) if parameters.section_um else weights / 2
    profile = (seen[:, None] * np.exp(-2 * np.pi**2 * sigma2[:, None] * radial)).sum(0)
    if parameters.section_um:
        profile /= (weights / 2 * _in_section(nodes * parameters.thickness_um / 2, parameters)).sum()
    return np.interp(f2, radial, profile).astype(np.float32)


def _in_section(z_um: np.ndarray, parameters: SimulationParameters) -> np.ndarray:
    """Return the fraction of light that a confocal passes, for distances from the focal plane in um."""
    return np.exp(-4 * np.log(2) * (z_um / parameters.section_um) ** 2)


@lru_cache(maxsize=16)
def _sampling(n_in: int, n_out: int) -> np.ndarray:
    """Return weights (n_out, n_in) that sum the light of `n_in` grid points over `n_out` camera pixels."""
    cumulative = np.vstack([np.zeros(n_in), np.tril(np.ones((n_in, n_in)))])
    spline = CubicSpline(np.arange(n_in + 1), cumulative, axis=0)
    return np.diff(spline(np.linspace(0, n_in, n_out + 1)), axis=0).astype(np.float32)


def sample(scene: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Return the light on each camera pixel, (H, W) of `size_px`; the pixels may be smaller or larger than the grid's.

    Examples
    --------
    >>> sample(np.ones((8, 8)), (2, 4)).tolist()
    [[8.0, 8.0, 8.0, 8.0], [8.0, 8.0, 8.0, 8.0]]
    """
    down, across = _sampling(scene.shape[0], size_px[0]), _sampling(scene.shape[1], size_px[1])
    return down @ scene.astype(np.float32) @ across.T


def illumination(y_um, x_um, centre_um, parameters: SimulationParameters) -> np.ndarray:
    """Return the relative illumination at points of the camera's field: 1 at the bright centre, less at the corners."""
    corner = parameters.camera_field_um / np.sqrt(2)
    away = ((y_um[:, None] - centre_um[0]) ** 2 + (x_um[None, :] - centre_um[1]) ** 2) / corner**2
    return 1 - parameters.shading * away


def expose(light: np.ndarray, rng: np.random.Generator, parameters: SimulationParameters) -> np.ndarray:
    """Return camera values (uint16) for expected light as a fraction of full scale.

    Photo-electrons are Poisson distributed; read noise is normal; the sum with the dark level is rounded and clipped.
    """
    electrons = rng.poisson(np.maximum(light, 0) * parameters.full_scale_electrons)
    electrons = electrons + rng.normal(0, parameters.read_noise_electrons, light.shape)
    level = electrons / parameters.full_scale_electrons + parameters.camera_offset
    return np.clip(np.rint(level * parameters.full_scale), 0, parameters.full_scale).astype(np.uint16)


def exported(levels: np.ndarray, parameters: SimulationParameters) -> np.ndarray:
    """Return camera values (uint16) as in an export: contrast stretched by percentiles of the image, then a gamma."""
    share = levels / parameters.full_scale
    if parameters.export_clipped:
        black, white = np.quantile(share, [parameters.export_clipped, 1 - parameters.export_clipped])
        share = np.clip((share - black) / max(white - black, 1 / parameters.full_scale), 0, 1)
    return np.rint(share**parameters.export_gamma * parameters.full_scale).astype(np.uint16)


class Scene:
    """The light of many cells, blurred according to their height and distance from the focal plane.

    Cells of the same height and nearly the same focus are blurred together.
    """

    def __init__(self, shape_px: tuple[int, int], parameters: SimulationParameters, focus_step_um: float):
        self._seen = tuple(slice(MARGIN_PX, MARGIN_PX + n) for n in shape_px)
        self.shape = tuple(fft.next_fast_len(n + 2 * MARGIN_PX, real=True) for n in shape_px)
        self.parameters, self.focus_step_um = parameters, focus_step_um
        self._layers: dict[tuple[float, float], np.ndarray] = {}

    def place(self, density: np.ndarray, amount: float, centre_um, focus_um: float, is_high: bool = False):
        """Add `amount` of light distributed as `density`, centred at (y, x) um from the scene's corner."""
        centre = [c / RENDER_UM + MARGIN_PX for c in centre_um]
        where = overlap(self.shape, density.shape, centre)
        if where is None:
            return
        height_um = self.parameters.mitotic_thickness_um if is_high else self.parameters.thickness_um
        key = (height_um, abs(round(focus_um / self.focus_step_um)) * self.focus_step_um)
        layer = self._layers.setdefault(key, np.zeros(self.shape, np.float32))
        layer[where[0]] += np.float32(amount) * density[where[1]]

    def place_debris(self, rng: np.random.Generator, where_um, unit: float):
        """Add a small bright fragment of a dead cell, 0.1 to 0.5 N of DNA."""
        size = rng.uniform(0.5, 1.3)
        axis = np.arange(-25, 26) * RENDER_UM
        spot = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * size**2)).astype(np.float32)
        self.place(spot / spot.sum(), unit * rng.uniform(0.1, 0.5), where_um, 1.0)

    def light(self) -> np.ndarray:
        """Return the blurred light of all cells without the margin."""
        total = np.zeros(self.shape, np.float32)
        for (height_um, focus_um), layer in self._layers.items():
            total += blur(layer, RENDER_UM, self.parameters, height_um, focus_um)
        return total[self._seen]


def photograph(light, shape, rng, slide: Slide, parameters: SimulationParameters, side_um: float, corner_um=(0, 0)):
    """Return the camera image, uint16 of `shape`, of light (`side_um` wide) with its corner (y, x) at `corner_um`."""
    y_um, x_um = (c + (np.arange(n) + 0.5) / n * side_um for c, n in zip(corner_um, shape, strict=True))
    bright = illumination(y_um, x_um, slide.bright_centre_um, parameters)
    levels = expose((sample(light, shape) + slide.background) * bright, rng, parameters)
    is_camera = parameters.export_gamma == 1 and parameters.export_clipped == 0
    return levels if is_camera else exported(levels, parameters)

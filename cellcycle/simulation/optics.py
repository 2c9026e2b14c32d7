"""From DNA in space to the camera's numbers: blur, sampling, shading, noise."""

from functools import lru_cache

import numpy as np
from scipy import fft
from scipy.interpolate import CubicSpline

from cellcycle.simulation.parameters import SimulationParameters


def blur(
    scene: np.ndarray,
    pixel_um: float,
    parameters: SimulationParameters,
    thickness_um: float,
    focus_um: float = 0.0,
) -> np.ndarray:
    """Blur a projected object as a widefield microscope does; the total intensity stays the same.

    The in-focus spot is a Gaussian of sigma 0.21 wavelength / NA (Zhang et al. 2007). Layers of the
    object above and below the focal plane are spread further by the objective's light cone.

    Parameters
    ----------
    scene : (H, W) float array
        Light per pixel; wraps around at the borders, so leave a margin.
    pixel_um : float
        Pixel size of `scene`.
    parameters : SimulationParameters
        Gives numerical aperture, emission wavelength and refractive index.
    thickness_um : float
        Height of the object along the optical axis.
    focus_um : float
        Distance of the object's middle from the focal plane.

    Returns
    -------
    (H, W) float32 array
    """
    transfer = _transfer(
        scene.shape,
        pixel_um,
        parameters.numerical_aperture,
        parameters.emission_um,
        parameters.refractive_index,
        round(thickness_um, 1),
        round(abs(focus_um), 1),
    )
    return fft.irfft2(fft.rfft2(scene.astype(np.float32)) * transfer, s=scene.shape)


@lru_cache(maxsize=64)
def _transfer(shape, pixel_um, aperture, emission_um, index, thickness_um, focus_um) -> np.ndarray:
    """Optical transfer function averaged over the object's height, (H, W // 2 + 1) float32."""
    fy, fx = fft.fftfreq(shape[0], pixel_um), fft.rfftfreq(shape[1], pixel_um)
    f2 = fy[:, None] ** 2 + fx[None, :] ** 2
    nodes, weights = np.polynomial.legendre.leggauss(9)
    z = focus_um + nodes * thickness_um / 2
    cone = aperture / np.sqrt(index**2 - aperture**2)
    sigma2 = (0.21 * emission_um / aperture) ** 2 + (z * cone / 2) ** 2
    radial = np.linspace(0, f2.max(), 4096)
    profile = (weights[:, None] / 2 * np.exp(-2 * np.pi**2 * sigma2[:, None] * radial)).sum(0)
    return np.interp(f2, radial, profile).astype(np.float32)


@lru_cache(maxsize=16)
def _sampling(n_in: int, n_out: int) -> np.ndarray:
    """Weights (n_out, n_in) that sum light over `n_out` camera pixels laid over `n_in` grid points."""
    cumulative = np.vstack([np.zeros(n_in), np.tril(np.ones((n_in, n_in)))])
    spline = CubicSpline(np.arange(n_in + 1), cumulative, axis=0)
    return np.diff(spline(np.linspace(0, n_in, n_out + 1)), axis=0).astype(np.float32)


def sample(scene: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Sum the light that falls on each camera pixel; the total intensity stays the same.

    Works for pixels smaller and larger than the grid's, in any ratio.

    Examples
    --------
    >>> sample(np.ones((8, 8)), (2, 4)).tolist()
    [[8.0, 8.0, 8.0, 8.0], [8.0, 8.0, 8.0, 8.0]]
    """
    down, across = _sampling(scene.shape[0], size_px[0]), _sampling(scene.shape[1], size_px[1])
    return down @ scene.astype(np.float32) @ across.T


def illumination(y_um, x_um, centre_um, parameters: SimulationParameters) -> np.ndarray:
    """Relative light at points of the camera's field: 1 at the bright centre, less towards the corners."""
    corner = parameters.camera_field_um / np.sqrt(2)
    away = ((y_um[:, None] - centre_um[0]) ** 2 + (x_um[None, :] - centre_um[1]) ** 2) / corner**2
    return 1 - parameters.shading * away


def expose(light: np.ndarray, rng: np.random.Generator, parameters: SimulationParameters) -> np.ndarray:
    """Turn expected light into the camera's whole numbers.

    Photo-electrons are Poisson; read noise is normal; the sum with the dark level is rounded and clipped.

    Parameters
    ----------
    light : (H, W) array
        Expected signal as a fraction of full scale.

    Returns
    -------
    (H, W) uint16 array
        From 0 to `parameters.full_scale`.
    """
    electrons = rng.poisson(np.maximum(light, 0) * parameters.full_scale_electrons)
    electrons = electrons + rng.normal(0, parameters.read_noise_electrons, light.shape)
    level = electrons / parameters.full_scale_electrons + parameters.camera_offset
    return np.clip(np.rint(level * parameters.full_scale), 0, parameters.full_scale).astype(np.uint16)

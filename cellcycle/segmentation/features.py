"""What is measured on a nucleus, as numbers for a network beside its picture."""

from dataclasses import dataclass

import numpy as np

from cellcycle.segmentation.crops import measure_crops

FEATURES = {
    "absolute": (
        "log_area",
        "texture",
        "eccentricity",
        "solidity",
        "log_dna_over_noise",
        "log_dna",
        "log_mean_dna",
        "log_crop_dna",
    ),
    "per-image": (
        "log_area",
        "texture",
        "eccentricity",
        "solidity",
        "log_dna_over_background",
        "log_mean_dna_over_background",
        "log_dna_over_background_noise",
    ),
}
_LEAST = 1e-6
# The mean of the lower half of a normal distribution lies this many standard deviations below its median.
_LOWER_HALF = np.sqrt(2 / np.pi)


def nucleus_features(images: np.ndarray, intensity: str = "absolute") -> np.ndarray:
    """Measure the nucleus in the middle of each crop.

    Parameters
    ----------
    images : ndarray (N, C, H, W) float32 in [0, 1]
        The first channel is measured.
    intensity : {"absolute", "per-image"}
        "per-image" leaves out what a change of the single image's exposure would change.

    Returns
    -------
    ndarray (N, F) float32
        Columns as `FEATURES[intensity]`. NaN where no nucleus is found, but for those of the whole crop.

    Notes
    -----
    `log_crop_dna` sums the whole crop above the lower quartile of its border: for a cell that is alone, a
    better measure of DNA content than any outline. Divided by the level of the same image's background, or by its
    noise, it is the same at any scaling of the intensities: where all images have the same background, because
    one camera took them through one medium, an image scaled by its own range still tells its DNA content.
    """
    table = measure_crops(images)
    total, noise = crop_totals(images[:, 0])
    level, level_noise = (np.maximum(values, _LEAST) for values in background(images[:, 0]))
    columns = {
        "log_area": np.log(table["area_px"]),
        "texture": table["texture"],
        "eccentricity": table["eccentricity"],
        "solidity": table["solidity"],
        "log_dna_over_noise": _log(total / np.maximum(noise, _LEAST)),
        "log_dna": _log(table["integrated_dna"]),
        "log_mean_dna": _log(table["mean_dna"]),
        "log_crop_dna": _log(total),
        "log_dna_over_background": _log(total / level),
        "log_mean_dna_over_background": _log(table["mean_dna"] / level),
        "log_dna_over_background_noise": _log(total / level_noise),
    }
    return np.stack([columns[name] for name in FEATURES[intensity]], axis=1).astype(np.float32)


def crop_totals(planes: np.ndarray, border_px: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return the summed intensity above the border's background, and the border's noise.

    Parameters
    ----------
    planes : ndarray (N, H, W) float in [0, 1]
    border_px : int
        Width of the border that shows background.

    Returns
    -------
    total, noise : ndarray (N,) float64
        Noise is the standard deviation of the lower half of the border: glow and neighbours are in the upper.

    Examples
    --------
    >>> plane = np.zeros((1, 8, 8)); plane[0, 3:5, 3:5] = 0.5
    >>> total, noise = crop_totals(plane)
    >>> float(total[0]), float(noise[0])
    (2.0, 0.0)
    """
    border = _sorted_border(planes, border_px)
    quartile = np.percentile(border, 25, axis=1)
    lower = border[:, : border.shape[1] // 2]
    noise = (np.median(border, axis=1) - lower.mean(axis=1)) / _LOWER_HALF
    return (planes - quartile[:, None, None]).sum(axis=(1, 2)), noise


def background(planes: np.ndarray, border_px: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return the level of the background and its noise, from every pixel that is as dark as the border.

    Parameters
    ----------
    planes, border_px
        As in `crop_totals`.

    Returns
    -------
    level, noise : ndarray (N,) float64
        Mean of the darker half of the border; standard deviation by all pixels below the border's median.

    Examples
    --------
    >>> level, noise = background(np.full((1, 8, 8), 0.25))
    >>> float(level[0]), float(noise[0])
    (0.25, 0.0)
    """
    border = _sorted_border(planes, border_px)
    depth = np.maximum(np.median(border, axis=1)[:, None, None] - planes, 0)
    n_darker = np.maximum((depth > 0).sum(axis=(1, 2)), 1)
    return border[:, : border.shape[1] // 2].mean(axis=1), depth.sum(axis=(1, 2)) / n_darker / _LOWER_HALF


def _sorted_border(planes: np.ndarray, border_px: int) -> np.ndarray:
    """Return the pixels of the border (N, B) float64, each row from dark to bright."""
    inside = np.zeros(planes.shape[1:], bool)
    inside[border_px:-border_px, border_px:-border_px] = True
    return np.sort(planes[:, ~inside].astype(np.float64), axis=1)


@dataclass(frozen=True)
class PiecewiseLinear:
    """Each feature as a staircase of ramps between its quantiles, so that a network can draw a sharp line anywhere.

    Source: Gorishniy Y, Rubachev I, Babenko A. On Embeddings for Numerical Features in Tabular Deep Learning.
    NeurIPS (2022).

    Attributes
    ----------
    edges : ndarray (B + 1, F) float32
        Quantiles of each feature among the training nuclei, the lowest first.
    """

    edges: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, n_bins: int = 16) -> "PiecewiseLinear":
        """Return the encoding of features (N, F), NaN left out, with `n_bins` ramps a feature."""
        levels = np.linspace(0, 1, n_bins + 1)
        edges = [np.nanquantile(column, levels) for column in values.T]
        return cls(np.array(edges, dtype=np.float32).reshape(-1, n_bins + 1).T)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return features (N, F) as (N, F * B) float32 in [-1, 1]: a ramp is -1 below its bin and 1 above it.

        A missing feature (NaN) counts as the median of the training nuclei.

        Examples
        --------
        >>> encoding = PiecewiseLinear.of(np.array([[0.0], [1.0], [2.0]]), n_bins=2)
        >>> encoding.apply(np.array([[0.5], [2.0], [np.nan]])).tolist()
        [[0.0, -1.0], [1.0, 1.0], [1.0, -1.0]]
        """
        low, high = self.edges[:-1], self.edges[1:]
        middle = self.edges[len(self.edges) // 2]
        known = np.where(np.isnan(values), middle, values)[:, None, :]
        ramps = np.clip((known - low) / np.maximum(high - low, _LEAST), 0, 1) * 2 - 1
        return ramps.transpose(0, 2, 1).reshape(len(values), -1).astype(np.float32)


def _log(values) -> np.ndarray:
    return np.log(np.maximum(values, _LEAST))

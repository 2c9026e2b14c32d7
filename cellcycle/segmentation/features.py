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
    "per-image": ("log_area", "texture", "eccentricity", "solidity", "log_dna_over_noise"),
}
_LEAST = 1e-6


def nucleus_features(images: np.ndarray, intensity: str = "absolute") -> np.ndarray:
    """Measure the nucleus in the middle of each crop.

    Parameters
    ----------
    images : ndarray (N, C, H, W) float32 in [0, 1]
        The first channel is measured.
    intensity : {"absolute", "per-image"}
        "per-image" leaves out what a change of exposure or offset of the single image would change.

    Returns
    -------
    ndarray (N, F) float32
        Columns as `FEATURES[intensity]`. NaN where no nucleus is found, but for those of the whole crop.

    Notes
    -----
    `log_crop_dna` sums the whole crop above the lower quartile of its border: for a cell that is alone, a
    better measure of DNA content than any outline. `log_dna_over_noise` divides it by the noise of the border,
    which every scaling of the intensities leaves as it is: with one camera at one exposure, an image scaled by its
    own range still tells its DNA content.
    """
    table = measure_crops(images)
    total, noise = crop_totals(images[:, 0])
    columns = {
        "log_area": np.log(table["area_px"]),
        "texture": table["texture"],
        "eccentricity": table["eccentricity"],
        "solidity": table["solidity"],
        "log_dna_over_noise": _log(total / np.maximum(noise, _LEAST)),
        "log_dna": _log(table["integrated_dna"]),
        "log_mean_dna": _log(table["mean_dna"]),
        "log_crop_dna": _log(total),
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
    inside = np.zeros(planes.shape[1:], bool)
    inside[border_px:-border_px, border_px:-border_px] = True
    border = np.sort(planes[:, ~inside].astype(np.float64), axis=1)
    background = np.percentile(border, 25, axis=1)
    lower = border[:, : border.shape[1] // 2]
    # The mean of the lower half of a normal distribution lies 0.8 standard deviations below its median.
    noise = (np.median(border, axis=1) - lower.mean(axis=1)) / np.sqrt(2 / np.pi)
    return (planes - background[:, None, None]).sum(axis=(1, 2)), noise


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

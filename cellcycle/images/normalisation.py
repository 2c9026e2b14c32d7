"""Intensity normalisation: per image, per data set, or to the G1 peak of the DNA histogram."""

from dataclasses import dataclass

import numpy as np


def standardise(images: np.ndarray) -> np.ndarray:
    """Give every image zero mean and unit variance, all its channels together.

    Brightness and contrast of the exposure drop out; so does the total DNA that they carry.

    Parameters
    ----------
    images : ndarray (N, C, H, W) or (H, W)
        Intensities of any range.

    Returns
    -------
    ndarray float32
        Same shape. A constant image becomes zeros.

    Examples
    --------
    >>> standardise(np.array([[0.0, 1.0], [1.0, 0.0]]))
    array([[-1.,  1.],
           [ 1., -1.]], dtype=float32)
    """
    images = np.asarray(images)
    axes = tuple(range(images.ndim)) if images.ndim == 2 else tuple(range(1, images.ndim))
    mean = images.mean(axis=axes, keepdims=True, dtype=np.float64)
    deviation = images.std(axis=axes, keepdims=True, dtype=np.float64)
    # Rounding gives a constant image a deviation of about 1e-9 of its level; that is not contrast.
    is_constant = deviation <= 1e-7 * np.abs(mean)
    return np.where(is_constant, 0, (images - mean) / np.where(is_constant, 1, deviation)).astype(np.float32)


@dataclass(frozen=True)
class DatasetScale:
    """Mean and standard deviation of a data set, to be stored with the model that was trained on it.

    Parameters
    ----------
    mean, deviation : float
        Over all pixels of all training images.

    Examples
    --------
    >>> scale = DatasetScale.of(np.array([[[[0.0, 0.5], [0.5, 1.0]]]]))
    >>> scale.mean
    0.5
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, images: np.ndarray) -> "DatasetScale":
        """Measure training images (N, C, H, W); a constant data set has deviation 1.

        Parameters
        ----------
        images : ndarray (N, C, H, W)
            Training images only: test images must not set the scale.

        Returns
        -------
        DatasetScale
            To apply to training and test images alike.
        """
        deviation = float(np.std(images, dtype=np.float64))
        return cls(float(np.mean(images, dtype=np.float64)), deviation if deviation > 0 else 1.0)

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Subtract the mean and divide by the deviation.

        Parameters
        ----------
        images : ndarray of any shape
            Intensities on the scale of the training images.

        Returns
        -------
        ndarray float32
            Same shape. Differences of brightness between images stay.
        """
        return ((np.asarray(images) - self.mean) / self.deviation).astype(np.float32)


def scale_to_g1(images: np.ndarray, g1_position: float, background: float = 0.0) -> np.ndarray:
    """Scale intensities so that a G1 nucleus of the same field or slide has an integrated DNA of 2.

    After this the integrated intensity of a nucleus counts genome copies: 2 in G1, 4 in G2, whatever the
    exposure was.

    Parameters
    ----------
    images : ndarray of any shape
        Intensities of the same field or slide, in the units of `g1_position` per pixel.
    g1_position : float
        Integrated DNA of the G1 peak, e.g. `cellcycle.dna_content.fit_g1_peak(...).position`.
    background : float, optional
        Intensity outside the nuclei.

    Returns
    -------
    ndarray float32
        Same shape.

    Raises
    ------
    ValueError
        `g1_position` is not a positive number.
    """
    if not (np.isfinite(g1_position) and g1_position > 0):
        raise ValueError(f"the G1 peak must lie at a positive number, not {g1_position}")
    return ((np.asarray(images) - background) * (2 / g1_position)).astype(np.float32)

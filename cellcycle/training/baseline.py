"""The classical method as a classifier: DNA content and nuclear area, measured from the image.

Source: Roukos V, Pegoraro G, Voss TC, Misteli T. Cell cycle staging of individual cells by fluorescence
microscopy. Nature Protocols 10, 334-348 (2015). There the phases are gated by hand on the histogram of
integrated DAPI; here the gates are fitted to labelled training nuclei.
"""

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.utils.validation import check_is_fitted
from torch import nn

from cellcycle.errors import DataError
from cellcycle.inputs import InputRule, Inputs, prepare_images
from cellcycle.training.classifier import checked_labels, of_shape

# Measurements for crops under one exposure, and for nuclei whose group has a known G1 peak.
MEASUREMENTS = (("integrated_dna", "area_px"), ("dna_copies", "area_over_g1"))


class Gates(nn.Module):
    """K Gaussians in the logarithms of two measurements; a nucleus that lacks one gets the shares of the classes.

    Its buffers are those of `_GATES`, float64. Like any model of a checkpoint it takes images, too, but ignores them.
    """

    reads_measurements = True

    def __init__(self, **buffers: np.ndarray):
        super().__init__()
        for name in _GATES:
            self.register_buffer(name, torch.as_tensor(np.asarray(buffers[name], np.float64)))

    def forward(self, images: torch.Tensor | None, measurements: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K) of measurements (N, 2)."""
        values = measurements.double()
        found = ((values > 0) & (values < torch.inf)).all(dim=1, keepdim=True)
        points = (torch.where(found, values, 1.0).log() - self.centre) / self.scale
        away = ((points[:, None] - self.means)[..., None] * self.maps).sum(dim=2)
        return torch.where(found, self.offsets - away.square().sum(dim=2) / 2, self.log_shares)

    def reorder(self, order) -> None:
        """Put the classes in another order (K,)."""
        for name in _OF_CLASSES:
            setattr(self, name, getattr(self, name)[order])


# `maps` whiten deviations from the mean of a class; `offsets` hold log priors and log determinants of the Gaussians.
_OF_CLASSES = ("means", "maps", "offsets", "log_shares")
_GATES = ("centre", "scale", *_OF_CLASSES)


class DnaContentClassifier(ClassifierMixin, BaseEstimator):
    """Quadratic discriminant analysis of log integrated DNA and log nuclear area.

    `regularisation`, in [0, 1], shrinks each class's covariance towards a sphere; a class with few nuclei needs some. A
    class with one measured nucleus in training gets the pooled covariance of the classes; one with none that of all
    nuclei. A nucleus that cannot be measured gets the shares of the classes in training as probabilities. The
    classifier measures one pair of `MEASUREMENTS`, the first for plain images; after `fit` it is `measurements_`.
    """

    def __init__(self, regularisation: float = 0.01):
        self.regularisation = regularisation

    def fit(self, X, y):
        """Fit to `Inputs` with its measurements (or images (N, C, H, W)) with labels `y (N,)`; return self."""
        X = _measured(X)
        y, known = checked_labels(X, y), [pair for pair in MEASUREMENTS if set(pair) <= set(X.names)]
        # Inputs without measurements are measured as plain images.
        self.measurements_ = (known or MEASUREMENTS)[0]
        values = self._measure(X)
        found = np.isfinite(values).all(axis=1) & (values > 0).all(axis=1)
        if not found.any():
            finding = "no nucleus has a known amount of DNA: none was found, or the fields show no G1 peak"
            raise DataError("nuclei", finding, "give crops under one exposure, or fields of 60 nuclei or more")
        features = np.log(values[found])
        self.channels_, self.size_px_ = X.shape[1], X.shape[-1]
        self.classes_, counts = np.unique(y, return_counts=True)
        shares = counts / counts.sum()
        gates = QuadraticDiscriminantAnalysis(priors=shares, reg_param=self.regularisation)
        centre, scale = features.mean(axis=0), features.std(axis=0)
        gates.fit(*self._with_width((features - centre) / scale, y[found]))
        self.model_ = Gates(
            centre=centre,
            scale=scale,
            means=gates.means_,
            maps=[turn / np.sqrt(wide) for turn, wide in zip(gates.rotations_, gates.scalings_, strict=True)],
            offsets=np.log(shares) - [np.log(wide).sum() / 2 for wide in gates.scalings_],
            log_shares=np.log(shares),
        )
        return self

    def restore(self, weights: dict, channels: int, rule: InputRule, n_classes: int):
        """Make this the fitted classifier of stored weights; return self."""
        self.model_ = Gates(**{name: weights[name] for name in _GATES})
        self.channels_, self.size_px_, self.classes_ = channels, rule.size_px, np.arange(n_classes)
        self.measurements_ = rule.measurements
        return self

    def predict_proba(self, X) -> np.ndarray:
        """Return probabilities (N, K) of `Inputs` or images (N, C, H, W) as in `fit`, columns as `classes_`."""
        check_is_fitted(self)
        measured = self._measure(of_shape(self, X))
        return torch.softmax(self.model_(None, torch.from_numpy(measured)), dim=1).numpy()

    def predict(self, X) -> np.ndarray:
        """Return the most probable class (N,) of `Inputs` or images (N, C, H, W)."""
        called = self.predict_proba(X).argmax(axis=1)
        return self.classes_[called]

    def _with_width(self, points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return points (N, D) and labels in which classes with fewer than two points have made-up ones instead."""
        known, counts = np.unique(labels, return_counts=True)
        several = known[counts > 1]
        inside = [points[labels == k] - points[labels == k].mean(axis=0) for k in several]
        pooled = np.concatenate(inside) if inside else points
        for k in np.setdiff1d(self.classes_, several):
            middle = points[labels == k].mean(axis=0) if k in known else points.mean(axis=0)
            of = pooled if k in known else points
            variance, axes = np.linalg.eigh(of.T @ of / max(len(of) - 1, 1))
            # The sample covariance of these 2 D points, two along each axis, equals that of `of`.
            steps = axes * np.sqrt(np.maximum(variance, 0) * (2 * len(axes) - 1) / 2)
            made = np.concatenate([middle + steps.T, middle - steps.T])
            points = np.concatenate([points[labels != k], made])
            labels = np.concatenate([labels[labels != k], np.full(len(made), k)])
        return points, labels

    def _measure(self, X) -> np.ndarray:
        """Return the measurements (N, 2)."""
        return _measured(X).measured_by(self.measurements_).measurements.astype(float)


def _measured(X) -> Inputs:
    X = Inputs.of(X)
    return X if X.names else prepare_images(X.images, MEASUREMENTS[0])

"""The classical method as a classifier: DNA content and nuclear area, measured from the image.

Source: Roukos V, Pegoraro G, Voss TC, Misteli T. Cell cycle staging of individual cells by fluorescence
microscopy. Nature Protocols 10, 334-348 (2015). There the phases are gated by hand on the histogram of
integrated DAPI; here the gates are fitted to labelled training nuclei.
"""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.utils.validation import check_is_fitted

from cellcycle.errors import SettingError
from cellcycle.inputs import Inputs, prepare_images


class DnaContentClassifier(ClassifierMixin, BaseEstimator):
    """Quadratic discriminant analysis of log integrated DNA and log nuclear area.

    `regularisation`, in [0, 1], shrinks each class's covariance towards the sphere; a class with few nuclei needs some.
    A class with one nucleus in training is taken for as wide as the classes are on average; one with none that could be
    found, for as wide as all nuclei. A nucleus that cannot be found in its crop gets the shares of the classes in
    training as probabilities.
    """

    measurements = ("integrated_dna", "area_px")

    def __init__(self, regularisation: float = 0.01):
        self.regularisation = regularisation

    def fit(self, X, y):
        """Fit to `Inputs` with its measurements (or images (N, C, H, W)) with labels `y (N,)`; return self."""
        features, found = self._measure(X)
        y = np.asarray(y)
        self.classes_, counts = np.unique(y, return_counts=True)
        self.prior_ = counts / counts.sum()
        self.gates_ = QuadraticDiscriminantAnalysis(priors=self.prior_, reg_param=self.regularisation)
        self.centre_, self.scale_ = features[found].mean(axis=0), features[found].std(axis=0)
        self.gates_.fit(*self._with_width((features[found] - self.centre_) / self.scale_, y[found]))
        return self

    def predict_proba(self, X) -> np.ndarray:
        """Return probabilities (N, K) of `Inputs` or images (N, C, H, W), columns as `classes_`."""
        check_is_fitted(self)
        features, found = self._measure(X)
        scores = np.tile(self.prior_, (len(features), 1))
        if found.any():
            scores[found] = self.gates_.predict_proba((features[found] - self.centre_) / self.scale_)
        return scores

    def predict(self, X) -> np.ndarray:
        """Return the most probable class (N,) of `Inputs` or images (N, C, H, W)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _with_width(self, points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return points (N, D) and labels in which a class of fewer than two has points that span a covariance."""
        known, counts = np.unique(labels, return_counts=True)
        several = known[counts > 1]
        inside = [points[labels == k] - points[labels == k].mean(axis=0) for k in several]
        pooled = np.concatenate(inside) if inside else points
        for k in np.setdiff1d(self.classes_, several):
            middle = points[labels == k].mean(axis=0) if k in known else points.mean(axis=0)
            of = pooled if k in known else points
            variance, axes = np.linalg.eigh(of.T @ of / max(len(of) - 1, 1))
            # Of 2 D points, two along each axis, the sample covariance is that of `of`.
            steps = axes * np.sqrt(np.maximum(variance, 0) * (2 * len(axes) - 1) / 2)
            made = np.concatenate([middle + steps.T, middle - steps.T])
            points = np.concatenate([points[labels != k], made])
            labels = np.concatenate([labels[labels != k], np.full(len(made), k)])
        return points, labels

    @classmethod
    def _measure(cls, X) -> tuple[np.ndarray, np.ndarray]:
        """Return log measurements (N, 2), and which nuclei were found (N,) bool."""
        X = Inputs.of(X)
        if not X.names:
            X = prepare_images(X.images, cls.measurements)
        if not set(cls.measurements) <= set(X.names):
            raise SettingError("X", f"no {' and '.join(cls.measurements)}", "prepare inputs with these")
        values = X.measurements[:, [X.names.index(name) for name in cls.measurements]].astype(float)
        found = np.isfinite(values).all(axis=1) & (values > 0).all(axis=1)
        return np.log(np.where(found[:, None], values, 1.0)), found

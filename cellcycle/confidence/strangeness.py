"""Strangeness: how far the measurements of a nucleus are from those of labelled nuclei, as a p-value.

A network calls any image, also debris, blur and cells of another kind, and its confidence does not warn of that. The
strangeness is the Mahalanobis distance to the nearest phase in area, texture, skewness, shape and sharpness of the rim,
measurements that do not depend on exposure or stain. Held-out nuclei turn the distance into a p-value: at 0.01, one
usual nucleus in a hundred is as far out.

Source: Lee K, Lee K, Lee H, Shin J. A simple unified framework for detecting out-of-distribution samples and
adversarial attacks. NeurIPS (2018); there the features are those of the network. Measured features separate
debris, blur and other cells better here, see benchmarks/confidence.py.
"""

from dataclasses import asdict, dataclass

import numpy as np

from cellcycle.errors import DataError

FEATURES = ("log_area_um2", "log_texture", "eccentricity", "log_concavity", "log_rim_width", "skewness")
# Upper tail probabilities at which the distances of held-out nuclei are stored; p-values between are interpolated.
TAILS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
# Columns of the table of measurements from which `FEATURES` are computed.
MEASURED = ("area_um2", "area_px", "texture", "eccentricity", "solidity", "edge_width_px", "skewness")
# Below this p-value (one usual nucleus in a hundred) calls become less sure.
LEAST_P_VALUE = 0.01
# Beyond the distance of this p-value no phase is called: that concerns few cells of any kind, and most non-nuclei.
CALLED_P_VALUE = 0.002
# That distance is at least this large, because cells of one source vary less than nuclei in general.
_LEAST_STRANGE = 7.5
_LEAST = 1e-4
# Variance given to a feature that is constant among the training nuclei, e.g. an area without a known scale, so that it
# does not count for other nuclei.
_SAYS_NOTHING = 1e6


def shape_features(table) -> np.ndarray:
    """Return the features (N, 6) of nuclei, columns as `FEATURES`, from the columns `MEASURED` of a table.

    Logarithms of area, of texture, of the concavity (1 - solidity) and of the width of the rim relative to the
    diameter; the eccentricity; and the skewness of the intensity. NaN if one cannot be measured.
    """
    area_um2, area_px, texture, eccentricity, solidity, width, skewness = (
        np.asarray(table[name], dtype=np.float64) for name in MEASURED
    )
    with np.errstate(invalid="ignore"):
        columns = [
            np.log(np.maximum(area_um2, _LEAST)),
            np.log(np.maximum(texture, _LEAST)),
            eccentricity,
            np.log(np.maximum(1 - solidity, 0) + 0.01),
            np.log(np.maximum(width, _LEAST) / np.sqrt(4 * area_px / np.pi)),
            skewness,
        ]
    return np.stack(columns, axis=1)


def measured_nuclei(found, rows=None) -> dict[str, np.ndarray]:
    """Return the columns `MEASURED` (N,) of labelled nuclei, NaN if none was found.

    `found` holds the `Nuclei` of fields or crops, `rows` (N, 2) the index of each nucleus in `found` and among the
    nuclei there; by default the first nucleus of each.
    """
    rows = [(at, 0) for at in range(len(found))] if rows is None else rows
    return {n: np.array([found[a].measured[n][k] if len(found[a]) else np.nan for a, k in rows]) for n in MEASURED}


@dataclass(frozen=True)
class Strangeness:
    """The distribution of usual nuclei: mean features of each phase (K, F), and their covariance within phases (F, F).

    `tail_distances` are the distances that the fractions `TAILS` of held-out nuclei exceed; `features` are the F of
    `FEATURES` that were used.
    """

    features: tuple
    means: tuple
    covariance: tuple
    tail_distances: tuple

    def distances(self, features) -> np.ndarray:
        """Return the Mahalanobis distance (N,) of `FEATURES` (N, 6) to the nearest phase; inf if a feature is NaN."""
        features = self._compared(features)
        return np.where(np.isnan(features).any(axis=1), np.inf, _nearest(features, self.means, self.covariance))

    def _compared(self, features) -> np.ndarray:
        return np.asarray(features, dtype=np.float64)[:, [FEATURES.index(name) for name in self.features]]

    def p_values(self, features) -> np.ndarray:
        """Return the fraction (N,) of usual nuclei at least as far out; not below the smallest of `TAILS`."""
        distances = np.minimum(self.distances(features), self.tail_distances[-1])
        return np.exp(np.interp(distances, self.tail_distances, np.log(TAILS)))

    def doubt(self, features) -> np.ndarray:
        """Return the doubt (N,) about nuclei, from 0 for the distance of usual ones to 1 where no phase may be called.

        Features that could not be measured, e.g. of very small nuclei, are ignored.
        """
        usual, most = (self.tail_distances[TAILS.index(share)] for share in (LEAST_P_VALUE, CALLED_P_VALUE))
        most = max(most, _LEAST_STRANGE, usual + 1)
        distances = _nearest(self._compared(features), self.means, self.covariance)
        return np.clip((distances - usual) / (most - usual), 0, 1)

    def to_dict(self) -> dict:
        """Return plain numbers for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict) -> "Strangeness":
        """Return what `to_dict` stored."""
        numbers = [stored[name] for name in ("means", "covariance", "tail_distances")]
        made, arrays = cls(tuple(stored["features"]), *numbers), [np.array(v, dtype=float) for v in numbers]
        n = len(made.features)
        is_known = 0 < n == len(set(made.features) & set(FEATURES))
        fit = [v.shape for v in arrays] == [(len(made.means), n), (n, n), (len(TAILS),)]
        if not (is_known and fit and all(np.isfinite(v).all() for v in arrays)):
            raise ValueError("strangeness")
        # Raises an error if the covariance is not positive definite, as distances need.
        np.linalg.cholesky(arrays[1])
        return made


def fit_strangeness(features, labels, parts) -> Strangeness:
    """Fit the distribution of usual nuclei to features (N, F) of `shape_features`; rows with NaN are left out.

    `parts` (N,) are slides, microscopes or folds. The distances behind the p-values are those of each part to the
    distribution of the other parts, so that they are distances of new nuclei.
    """
    features, labels, parts = np.asarray(features, dtype=np.float64), np.asarray(labels), np.asarray(parts)
    whole = np.isfinite(features).all(axis=1)
    features, labels, parts = features[whole], labels[whole], parts[whole]
    names, n_of = np.unique(parts, return_counts=True)
    # From fewer nuclei outside of a part no covariance can be fitted: all of the part, or none, would seem far out.
    least, n_others = 5 * features.shape[1], len(features) - n_of.max(initial=0)
    if len(features) < least or n_others < least / 2:
        finding = f"{len(features)} nuclei in {len(names)} parts, {n_others} of them outside of the largest"
        raise DataError("strangeness", finding, f"give {least} nuclei or more, half as many outside of any one part")
    held_out = np.empty(len(features))
    for name in names:
        out = parts == name
        held_out[out] = _nearest(features[out], *_within(features[~out], labels[~out]))
    means, covariance = _within(features, labels)
    tails = np.quantile(held_out, 1 - np.array(TAILS))
    rounded = [[[float(f"{v:.6g}") for v in row] for row in matrix] for matrix in (means, covariance)]
    return Strangeness(FEATURES, *rounded, [float(f"{v:.6g}") for v in tails])


def _within(features, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of the phases (K, F) and the covariance within phases (F, F), regularised to be invertible."""
    names, phase_of = np.unique(labels, return_inverse=True)
    means = np.stack([features[phase_of == k].mean(axis=0) for k in range(len(names))])
    covariance = np.cov((features - means[phase_of]).T)
    covariance += np.diag(np.where(np.diag(covariance) < _LEAST**2, _SAYS_NOTHING, 0.0))
    return means, covariance + 1e-3 * np.diag(np.diag(covariance)) + 1e-9 * np.eye(len(covariance))


def _nearest(features, means, covariance) -> np.ndarray:
    """Return the distance (N,) to the nearest of the means (K, F); a feature that is NaN adds nothing to it."""
    away = np.nan_to_num(features[:, None, :] - np.asarray(means))
    squared = np.einsum("nkf,fg,nkg->nk", away, np.linalg.inv(covariance), away).min(axis=1)
    return np.sqrt(np.maximum(squared, 0))

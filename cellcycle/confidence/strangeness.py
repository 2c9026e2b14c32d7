"""Is this cell like those the model learned from? A distance in what is measured, as a p-value.

A network calls whatever it is shown, debris, blur, cells of another kind, and its confidence does not warn of that. A
nucleus is compared with those of known phase by size, texture, bright spots, shape and sharpness of the rim, numbers
that neither exposure nor stain changes: the Mahalanobis distance to the nearest phase. How unusual the distance is, is
read off held-out nuclei: with a p-value of 0.01, one usual nucleus in a hundred is as far out.

Source: Lee K, Lee K, Lee H, Shin J. A simple unified framework for detecting out-of-distribution samples and
adversarial attacks. NeurIPS (2018); there the features are those of the network. Measured features separate
debris, blur and other cells better here, see benchmarks/confidence.py.
"""

from dataclasses import asdict, dataclass

import numpy as np

from cellcycle.errors import DataError

FEATURES = ("log_area_um2", "log_texture", "eccentricity", "log_concavity", "log_rim_width", "skewness")
# Upper tail shares at which the distances of held-out nuclei are kept; between them p-values are interpolated.
TAILS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
# Columns of the table of measurements that they are made of.
MEASURED = ("area_um2", "area_px", "texture", "eccentricity", "solidity", "edge_width_px", "skewness")
# One usual nucleus in a hundred is as unlike the others as this: from here on calls are less sure.
LEAST_P_VALUE = 0.01
# No phase is called as far out as this share of usual nuclei: few of any kind of cells, and most that is no nucleus.
CALLED_P_VALUE = 0.002
# Nor nearer than this: cells of one source are narrower than nuclei are.
_LEAST_STRANGE = 7.5
_LEAST = 1e-4
# Variance of a feature that does not vary among the training nuclei, such as an area where no scale is known: it
# tells nothing of another nucleus.
_SAYS_NOTHING = 1e6


def shape_features(table) -> np.ndarray:
    """Return what nuclei are compared by, (N, 6) with columns as `FEATURES`, from the columns `MEASURED` of a table.

    Logarithms of area, of texture, of the share missing to the convex hull and of the width of the rim relative to the
    diameter; the eccentricity; and the skewness of the intensity. NaN where one cannot be measured.
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
    """Return what labelled nuclei are compared by, (N,) each: NaN where none was found.

    `found` holds the `Nuclei` of fields or crops, `rows` (N, 2) the place of each nucleus in `found` and among the
    nuclei there; by default the first of each.
    """
    rows = [(at, 0) for at in range(len(found))] if rows is None else rows
    return {n: np.array([found[a].measured[n][k] if len(found[a]) else np.nan for a, k in rows]) for n in MEASURED}


@dataclass(frozen=True)
class Strangeness:
    """What usual nuclei are like: mean features of each phase (K, F), and their covariance within a phase (F, F).

    `tail_distances` are those that the shares `TAILS` of held-out nuclei exceed; `features` are the F of `FEATURES`
    that they were compared by.
    """

    features: tuple
    means: tuple
    covariance: tuple
    tail_distances: tuple

    def distances(self, features) -> np.ndarray:
        """Return the Mahalanobis distance (N,) of `FEATURES` (N, F) to the nearest phase; inf where one is NaN."""
        features = self._compared(features)
        return np.where(np.isnan(features).any(axis=1), np.inf, _nearest(features, self.means, self.covariance))

    def _compared(self, features) -> np.ndarray:
        return np.asarray(features, dtype=np.float64)[:, [FEATURES.index(name) for name in self.features]]

    def p_values(self, features) -> np.ndarray:
        """Return the share (N,) of usual nuclei that lie as far out; at least the smallest of `TAILS`."""
        distances = np.minimum(self.distances(features), self.tail_distances[-1])
        return np.exp(np.interp(distances, self.tail_distances, np.log(TAILS)))

    def doubt(self, features) -> np.ndarray:
        """Return how little is known of nuclei (N,): 0 as far out as the usual ones, 1 where no phase may be called.

        What could not be measured, as on very small nuclei, tells nothing.
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
        # Distances are measured by it.
        np.linalg.cholesky(arrays[1])
        return made


def fit_strangeness(features, labels, parts) -> Strangeness:
    """Learn what usual nuclei are like, by features (N, F) of `shape_features`; rows with NaN are left out.

    `parts` (N,) are slides, microscopes or folds. The distances that p-values are read off are those of each part to
    what the other parts taught, so that they are distances of new nuclei.
    """
    features, labels, parts = np.asarray(features, dtype=np.float64), np.asarray(labels), np.asarray(parts)
    whole = np.isfinite(features).all(axis=1)
    features, labels, parts = features[whole], labels[whole], parts[whole]
    names, n_of = np.unique(parts, return_counts=True)
    # Of fewer the others would teach no covariance: all of a large part would seem far out, or nothing ever.
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
    """Return the means of the phases (K, F) and the covariance within them, shrunk a little to be invertible."""
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

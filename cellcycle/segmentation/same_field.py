"""Detection of images that show the same nuclei at the same places: channels, planes or copies of one field.

It finds montages, too, and uses no names. Images are divided into squares; two images are compared nucleus by nucleus
if far more squares than by chance contain nuclei of both. Thousands of images take seconds.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_array, triu
from scipy.spatial import cKDTree

# Side of a square in px; least shared fraction of squares, above chance, as a part of what chance leaves; number of
# others, those that share most, with which an image is compared; number of images per sparse product.
_CELL, _SHARED, _MOST_COMPARED, _AT_A_TIME = 12.0, 0.25, 16, 500
_NEAR, MIN_NUCLEI = 4.0, 8
# The fraction of near nuclei exceeds chance by this part of what chance leaves, and by this many standard deviations.
_LEAST_SHARE, _LEAST_SIGMA = 0.5, 5.0
# Least rank correlation of copies. DNA and EdU of RPE-1 nuclei have 0.5 to 0.66, copies and blurred ones 0.81 to 0.98.
_LEAST_ALIKE = 0.75
# Chance is estimated by shifts (px) of one image, by less than the width of a nucleus, but by more than `_NEAR`.
_MOVED = ((11.0, 0.0), (-11.0, 0.0), (0.0, 11.0), (0.0, -11.0), (8.0, 8.0), (-8.0, 8.0), (8.0, -8.0), (-8.0, -8.0))
# Least distance of montage panels in distances of neighbours; numbers of nuclei compared with all, and of shifts tried.
_LEAST_APART, _MOST_FROM, _MOST_MOVES = 4.0, 100, 3


def same_fields(centroids: Sequence[np.ndarray], shapes: Sequence[tuple]) -> list[tuple[int, int]]:
    """Return the pairs (i, j), i < j, of images with the same nuclei at the same places, by centroids (N, 2) px.

    Only images of equal shape (H, W), with 8 nuclei or more, are compared. Among more than a dozen images of one field,
    each is in a pair with some of the others.
    """
    trees = [cKDTree(found) if len(found) >= MIN_NUCLEI else None for found in centroids]
    alike, pairs = defaultdict(list), []
    for k, shape in enumerate(shapes):
        if trees[k] is not None:
            alike[tuple(shape[:2])].append(k)
    for shape, ks in alike.items():
        likely = _candidates([centroids[k] for k in ks], shape)
        pairs += [(ks[i], ks[j]) for i, j in likely if _are_same(centroids, trees, shape, ks[i], ks[j])]
    return sorted(pairs)


def are_bright_otherwise(one: tuple, other: tuple) -> bool:
    """Return whether nuclei at the same places have another order of brightness in each image; (N, 2) px, (N,) light.

    Channels of several stains have; in copies, planes and times the brightest nuclei remain the brightest.
    """
    distances, at = cKDTree(other[0]).query(one[0], distance_upper_bound=_NEAR)
    is_near = np.isfinite(distances)
    # Ranks; the import of SciPy's rank correlation would take as long as the rest of a prediction.
    ranks = [np.asarray(light).argsort().argsort() for light in (one[1][is_near], other[1][at[is_near]])]
    return bool(np.corrcoef(ranks)[0, 1] < _LEAST_ALIKE)


def shows_twice(points: np.ndarray, shape: tuple) -> bool:
    """Return whether a picture shows the same nuclei, (N, 2) px, in several of its parts, as a montage of planes does.

    A picture whose nuclei coincide after short shifts, too, as cells in rows on a printed pattern, is no montage.
    """
    if len(points) < 2 * MIN_NUCLEI:
        return False
    tree, size = cKDTree(points), np.array(shape[:2], dtype=np.float64)
    some = np.random.default_rng(0).permutation(points)[:_MOST_FROM]
    apart = (points[None] - some[:, None]).reshape(-1, 2)
    far = np.hypot(*apart.T)
    least = _LEAST_APART * float(np.median(tree.query(points, 2)[0][:, 1]))

    def is_found_again(moves: np.ndarray) -> bool:
        cells = np.round(moves / _CELL).astype(np.int64)
        _, which, counts = np.unique(cells @ (1 << 20, 1), return_index=True, return_counts=True)
        for cell in cells[which[np.argsort(counts)[-_MOST_MOVES:]]]:
            near = moves[(np.abs(moves - cell * _CELL) <= _CELL).all(axis=1)]
            moved = points + np.median(near, axis=0)
            inside = ((moved >= 0) & (moved < size)).all(axis=1)
            if inside.sum() >= MIN_NUCLEI and _are_same([moved[inside], points], [None, tree], shape, 0, 1):
                return True
        return False

    return is_found_again(apart[far > least]) and not is_found_again(apart[(far > 0) & (far <= least)])


def _candidates(points: list[np.ndarray], shape: tuple) -> Iterator[tuple[int, int]]:
    """Yield the pairs (i, j), i < j, of images of a shape that share many squares, for each those that share most."""
    width = int(shape[1] // _CELL) + 1
    cells = [np.unique(np.maximum(found // _CELL, 0).astype(np.int64) @ (width, 1)) for found in points]
    n_of = np.array(list(map(len, cells)))
    at = np.repeat(np.arange(len(cells)), n_of), np.concatenate(cells)
    held = csr_array((np.ones(n_of.sum(), np.int32), at))
    for first in range(0, len(cells), _AT_A_TIME):
        shared = triu(held[first : first + _AT_A_TIME] @ held.T, first + 1, format="coo")
        i, j = shared.row + first, shared.col
        chance = np.maximum(n_of[i], n_of[j]) * _CELL**2 / np.prod(shape, dtype=float)
        above = shared.data / np.minimum(n_of[i], n_of[j]) - chance
        likely = np.flatnonzero(above > _SHARED * (1 - chance))
        likely = likely[np.lexsort((-above[likely], i[likely]))]
        rank = np.arange(len(likely)) - np.searchsorted(i[likely], i[likely])
        likely = likely[rank < _MOST_COMPARED]
        yield from zip(i[likely].tolist(), j[likely].tolist(), strict=True)


def _are_same(points, trees, shape, i: int, j: int) -> bool:
    """Return whether far more nuclei of the image with fewer lie near one of the other than by chance."""
    few, many = (i, j) if len(points[i]) <= len(points[j]) else (j, i)
    n, size = len(points[few]), np.array(shape, dtype=np.float64)
    share = _share_near(points[few], trees[many])
    by_density = 1 - np.exp(-len(points[many]) * np.pi * _NEAR**2 / size.prod())
    # Where cells form clusters, more nuclei are near than by the mean density.
    moved = [_share_near((points[few] + shift) % size, trees[many]) for shift in _MOVED]
    chance = max(by_density, float(np.mean(moved)))
    sigma = np.sqrt(max(chance * (1 - chance), 1 / n) / n)
    return share > chance + _LEAST_SHARE * (1 - chance) and share > chance + _LEAST_SIGMA * sigma


def _share_near(points: np.ndarray, tree: cKDTree) -> float:
    distances, _ = tree.query(points, distance_upper_bound=_NEAR)
    return float(np.mean(np.isfinite(distances)))

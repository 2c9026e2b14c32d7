"""Which images show the same nuclei at the same places: channels, planes or copies of one field, counted anew.

No name is looked at. Two nuclei that lie so to one another, and there, are seldom found in another field; so each image
is known by a fixed number of such pairs, the same ones in each image that shows them, and images that share several
are compared nucleus by nucleus. The few cells that a marker shows have other neighbours than in the channel of DNA, and
are looked up place by place. Thousands of images take seconds.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

# Centres are told in cells of so many px, and from one nucleus to the next in finer ones.
_CELL, _STEP = 12.0, 6.0
_N_NEIGHBOURS = 4
# Pairs of nuclei by which an image is known, and of those how many two images share before they are compared; in
# images of few nuclei hardly any are shared by chance.
_SKETCH, _SHARED, _SHARED_BY_FEW = 128, 4, 2
# An image is compared with the next ones of those that share a pair, and with those that share most.
_WINDOW, _MOST_COMPARED = 12, 16
# Images with so few nuclei are looked up by so many places, and compared with so many images that have most of them.
_FEW_NUCLEI, _PLACES, _SHARED_PLACES, _MOST_BY_PLACE = 60, 12, 4, 4
_NEAR, _MIN_NUCLEI = 4.0, 8
# More than half of what chance leaves must be near, and more than chance makes by so many standard deviations.
_LEAST_SHARE, _LEAST_SIGMA = 0.5, 5.0
# By chance as many are near as where one image is moved by less than a nucleus is wide, but by more than is near.
_MOVED = ((11.0, 0.0), (-11.0, 0.0), (0.0, 11.0), (0.0, -11.0), (8.0, 8.0), (-8.0, 8.0), (8.0, -8.0), (-8.0, -8.0))


def same_fields(centroids: Sequence[np.ndarray], shapes: Sequence[tuple]) -> list[tuple[int, int]]:
    """Return the pairs (i, j), i < j, of images that show the same nuclei at the same places.

    Compared are images of one size, with 8 nuclei or more. Of more than a dozen images of one field, each stands in a
    pair with some of the others.

    Parameters
    ----------
    centroids : list of (N, 2) arrays
        Row and column of the nuclei of each image, in px.
    shapes : list of tuples
        Height and width of each image.
    """
    points = [_finite(centres) for centres in centroids]
    sizes = {shape: k for k, shape in enumerate(sorted({tuple(shape[:2]) for shape in shapes}))}
    of_size = [sizes[tuple(shape[:2])] for shape in shapes]
    trees = [cKDTree(found) if len(found) >= _MIN_NUCLEI else None for found in points]
    sketches = [
        np.empty(0, np.uint64) if tree is None else _sketch(found, tree, size)
        for found, tree, size in zip(points, trees, of_size, strict=True)
    ]
    pairs = {*_by_neighbours(sketches), *_by_places(points, of_size)}
    return [(i, j) for i, j in sorted(pairs) if of_size[i] == of_size[j] and _are_same(points, trees, shapes[i], i, j)]


def _finite(centres) -> np.ndarray:
    centres = np.asarray(centres, dtype=np.float64).reshape(-1, 2)
    return centres[np.isfinite(centres).all(axis=1)]


def _sketch(points: np.ndarray, tree: cKDTree, size: int) -> np.ndarray:
    """Return the least hashes of where nuclei lie and where their neighbours lie from there."""
    _, near = tree.query(points, k=_N_NEIGHBOURS + 1)
    cells = np.floor(points / _CELL)
    steps = np.round((points[near[:, 1:]] - points[:, np.newaxis]) / _STEP)
    hashed = np.full(steps.shape[:2], size, np.uint64)
    for numbers in (cells[:, np.newaxis, 0], cells[:, np.newaxis, 1], steps[..., 0], steps[..., 1]):
        hashed = _mixed(hashed ^ numbers.astype(np.int64).astype(np.uint64))
    return np.unique(hashed)[:_SKETCH]


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Return numbers that look like chance, by the finalizer of splitmix64."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _by_neighbours(sketches: list[np.ndarray]) -> list[tuple[int, int]]:
    """Return the pairs of images that share several hashes."""
    n_of = np.array([len(sketch) for sketch in sketches], dtype=np.int64)
    images, hashes = np.repeat(np.arange(len(sketches)), n_of), np.concatenate([*sketches, np.empty(0, np.uint64)])
    order = np.lexsort((images, hashes))
    images, hashes = images[order], hashes[order]
    found = []
    for step in range(1, _WINDOW + 1):
        alike = hashes[step:] == hashes[:-step]
        found.append(images[:-step][alike] * len(sketches) + images[step:][alike])
    pairs, n_shared = np.unique(np.concatenate(found), return_counts=True)
    first, second = np.divmod(pairs, max(len(sketches), 1))
    needed = np.where(np.minimum(n_of[first], n_of[second]) < _SKETCH, _SHARED_BY_FEW, _SHARED) if len(pairs) else 0
    kept = np.flatnonzero(n_shared >= needed)
    kept = kept[np.lexsort((-n_shared[kept], first[kept]))]
    starts = np.searchsorted(first[kept], first[kept])
    kept = kept[np.arange(len(kept)) - starts < _MOST_COMPARED]
    return list(zip(first[kept].tolist(), second[kept].tolist(), strict=True))


def _by_places(points: list[np.ndarray], of_size: list[int]) -> list[tuple[int, int]]:
    """Return the pairs of an image with few nuclei and one that has some where it has; its rarest places count."""
    usable = [k for k, found in enumerate(points) if len(found) >= _MIN_NUCLEI]
    places = {}
    for k in usable:
        rows, columns = np.floor(points[k] / _CELL).astype(np.int64).T
        # Both lie well within 20 bits, for a plane has at most some 10^8 px.
        places[k] = np.unique((of_size[k] << 40) + ((rows & 0xFFFFF) << 20) + (columns & 0xFFFFF))
    everywhere = np.concatenate([*places.values(), np.empty(0, np.int64)])
    images = np.repeat(np.array(usable, dtype=np.int64), [len(places[k]) for k in usable])
    order = np.argsort(everywhere, kind="stable")
    everywhere, images = everywhere[order], images[order]
    pairs = []
    for k in usable:
        if len(points[k]) > _FEW_NUCLEI:
            continue
        starts, ends = (np.searchsorted(everywhere, places[k], side) for side in ("left", "right"))
        rarest = [at for at in np.argsort(ends - starts, kind="stable") if ends[at] - starts[at] > 1][:_PLACES]
        if len(rarest) < _SHARED_PLACES:
            continue
        others, n_shared = np.unique(
            np.concatenate([images[starts[at] : ends[at]] for at in rarest]), return_counts=True
        )
        likely = np.flatnonzero((n_shared >= _SHARED_PLACES) & (others != k))
        likely = likely[np.argsort(-n_shared[likely], kind="stable")][:_MOST_BY_PLACE]
        pairs += [(min(k, other), max(k, other)) for other in others[likely].tolist()]
    return pairs


def _are_same(points, trees, shape, i: int, j: int) -> bool:
    """Say whether far more nuclei of the image with fewer lie beside one of the other than would by chance."""
    few, many = (i, j) if len(points[i]) <= len(points[j]) else (j, i)
    n, size = len(points[few]), np.array(shape[:2], dtype=np.float64)
    share = _share_near(points[few], trees[many])
    by_density = 1 - np.exp(-len(points[many]) * np.pi * _NEAR**2 / size.prod())
    # Where cells lie in clusters, more are near than their number says.
    moved = [_share_near((points[few] + shift) % size, trees[many]) for shift in _MOVED]
    chance = max(by_density, float(np.mean(moved)))
    sigma = np.sqrt(max(chance * (1 - chance), 1 / n) / n)
    return share > chance + _LEAST_SHARE * (1 - chance) and share > chance + _LEAST_SIGMA * sigma


def _share_near(points: np.ndarray, tree: cKDTree) -> float:
    distances, _ = tree.query(points, distance_upper_bound=_NEAR)
    return float(np.mean(np.isfinite(distances)))

"""Folds for cross-validation, and checks that no test image, copy of one, or image of its group is in training."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import center_of_mass, gaussian_filter, map_coordinates
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cellcycle.errors import DataError, check_whole
from cellcycle.segmentation.regions import border_of

# The fingerprint of the centre of an image: its side in px, its least number of different values, and the least share
# of local extrema for the fingerprint of the order of its values.
_MIDDLE_PX, _LEAST_VALUES, _LEAST_NOISE = 24, 16, 0.02
# Images overlap if they share a square of this side in px with enough values. One square in 16 is compared, chosen by
# its hash, so that every image chooses the same. A square that occurs more than 10 times, and more often than a tenth
# of the number of images, is ignored.
_SQUARE_PX, _ONE_IN, _MOST_SHARING = 10, 16, 10
# Two images are alike if their intensities along circles around the nucleus correlate at least this much: at most 5 %
# of 445 Jurkat, 584 HeLa and 500 simulated cells, and at least 75 % of copies with noise, blurred or as JPEG.
_ALIKE, _N_LOOKED_AT = 0.98, 300
_ANGLES, _RADII = (np.linspace(0, most, n, endpoint=False) for most, n in ((2 * np.pi, 32), (1.6, 12)))


@dataclass(frozen=True, eq=False)
class Fold:
    """One train/test split: the indices (int64, 1-D) of the images on each side."""

    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray


def stratified_folds(labels, n_folds=5, n_repeats=1, seed=0, groups=None, classes=None, least=None) -> list[Fold]:
    """Return stratified folds, with about the same share of every class, for `n_repeats` different divisions.

    `labels` (N,) are the classes of the images, `classes` their names for messages. Images with the same group (a
    field, a well, copies of one nucleus) stay on one side. It is a `DataError` if fewer than two classes occur, or if a
    class has fewer images (or groups) than there are folds, or than `least` if given; without `least` also if a fold
    has no image of a class to train on, because groups stay whole.
    """
    from sklearn.model_selection import StratifiedKFold
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_consistent_length, column_or_1d

    n_folds, n_repeats = check_whole("n_folds", n_folds), check_whole("n_repeats", n_repeats)
    seed = check_whole("seed", seed)
    check_consistent_length(labels, groups)
    check_classification_targets(labels)
    present, labels = np.unique(column_or_1d(labels), return_inverse=True)
    units = np.arange(len(labels)) if groups is None else np.asarray(groups)
    name = (lambda k: classes[k]) if classes is not None and present.dtype.kind in "iu" else str
    if len(present) < 2:
        raise DataError("labels", f"only {len(present)} class(es) occur", "give images of two or more classes")
    # The rarest class, so that the number of folds in the remedy suits all.
    n_units, k = min((len(np.unique(units[labels == code])), k) for code, k in enumerate(present))
    if n_units < (least or n_folds):
        what = "images" if groups is None else "groups"
        remedy = "add images or leave the class out" + (f", or use {n_units} folds" if n_units > 1 else "")
        raise DataError(f"class {name(k)}", f"{n_units} {what} for {n_folds} folds", remedy)
    folds = []
    for repeat in range(n_repeats):
        if groups is None:
            splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed + repeat)
            parts = splitter.split(np.zeros(len(labels)), labels)
        else:
            parts = _grouped_parts(labels, units, n_folds, seed + repeat)
            for train, _ in parts if least is None else ():
                if len(lacking := np.setdiff1d(labels, labels[train])):
                    finding = "all its groups fell into one fold, and none is left to train on"
                    raise DataError(f"class {name(present[lacking[0]])}", finding, "give another seed or more groups")
        folds += [Fold(repeat, fold, train, test) for fold, (train, test) in enumerate(parts)]
    return folds


def _grouped_parts(labels, groups, n_folds: int, seed: int):
    """Return (train, test) indices of each fold, with whole groups and classes spread evenly.

    Seed 0 uses scikit-learn, which assigns the most uneven groups first and so gives the same folds for any seed. Other
    seeds assign the groups in random order.
    """
    if seed == 0:
        from sklearn.model_selection import StratifiedGroupKFold

        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
        return list(splitter.split(np.zeros(len(labels)), labels, groups))
    _, group_of = np.unique(groups, return_inverse=True)
    counts = np.zeros((group_of.max() + 1, labels.max() + 1))
    np.add.at(counts, (group_of, labels), 1)
    shares = counts / counts.sum(axis=0)
    held = np.zeros((n_folds, shares.shape[1]))
    fold_of = np.empty(len(shares), dtype=np.int64)
    for group in np.random.default_rng(seed).permutation(len(shares)):
        # Choose the fold that leaves the classes spread most evenly, and the emptiest of equal ones.
        spread = [(held + np.outer(np.arange(n_folds) == f, shares[group])).std(axis=0).mean() for f in range(n_folds)]
        fold_of[group] = np.lexsort((held.sum(axis=1), np.round(spread, 12)))[0]
        held[fold_of[group]] += shares[group]
    test_fold = fold_of[group_of]
    return [(np.flatnonzero(test_fold != f), np.flatnonzero(test_fold == f)) for f in range(n_folds)]


def image_fingerprints(images) -> np.ndarray:
    """Return one fingerprint (N,) per image (C, H, W), the same for its quarter turns and mirror images."""
    prints = []
    for image in map(np.asarray, images):
        turned = (np.rot90(image, k, axes=(1, 2)) for k in range(4))
        versions = (v for t in turned for v in (t, t[:, :, ::-1]))
        prints.append(min(hashlib.blake2b(np.ascontiguousarray(v), digest_size=12).hexdigest() for v in versions))
    return np.array(prints, dtype=object).astype(str)


def _middle(image: np.ndarray) -> np.ndarray:
    """Return the centre of an image, which does not depend on the width of the crop; the whole if it has few values."""
    (above, left) = (max(side - _MIDDLE_PX, 0) // 2 for side in image.shape[1:])
    middle = image[:, above : image.shape[1] - above, left : image.shape[2] - left]
    return middle if len(np.unique(middle)) >= _LEAST_VALUES else image


def marks_of(images, about=None) -> np.ndarray:
    """Return three fingerprints (N, 3) of each image (C, H, W): of its pixels, its centre, and the order of values.

    The order is that in the centre of the image, or of its image in `about`, of the same nucleus. It does not change
    with brightness or bit depth; it is "" for images without noise, in which different nuclei have the same order.
    """
    middles = [_middle(np.asarray(image)) for image in (images if about is None else about)]
    orders = [np.unique(m, return_inverse=True)[1].reshape(m.shape).astype("<i4") for m in middles]
    of_order = np.where([_is_noisy(m) for m in middles], image_fingerprints(orders), "")
    return np.column_stack([image_fingerprints(images), image_fingerprints(map(_middle, images)), of_order])


def _is_noisy(image: np.ndarray) -> bool:
    """Return whether many pixels (C, H, W) are local extrema of their four neighbours: two in five in pure noise."""
    inner = image[:, 1:-1, 1:-1]
    if not inner.size:
        return False
    beside = np.stack([image[:, :-2, 1:-1], image[:, 2:, 1:-1], image[:, 1:-1, :-2], image[:, 1:-1, 2:]])
    return bool(((inner > beside.max(axis=0)) | (inner < beside.min(axis=0))).mean() > _LEAST_NOISE)


def overlapping(images) -> np.ndarray:
    """Return a number (N,) for each image (C, H, W), the same for crops that overlap in one picture.

    Examples are crops around two neighbours or the halves of one division: they share all pixels of a square in their
    first channel. Squares shared by very many images (`_MOST_SHARING`) were drawn on them and are ignored.
    """
    weights = np.random.default_rng(0).integers(0, 2**63, (2, _SQUARE_PX), np.uint64) * np.uint64(2) + np.uint64(1)
    squares = [_squares(np.asarray(image[0], dtype=np.float32), weights) for image in images]
    n_images, of_image = len(squares), np.repeat(np.arange(len(squares)), list(map(len, squares)))
    hashes = np.concatenate([np.empty(0, np.uint64), *squares])
    _, square, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    is_of_picture = counts[square] <= max(_MOST_SHARING, n_images / 10)
    of_image, square = of_image[is_of_picture], square[is_of_picture]
    n_nodes = n_images + (square.max() + 1 if len(square) else 0)
    edges = coo_array((np.ones(len(square)), (of_image, n_images + square)), shape=(n_nodes, n_nodes))
    return np.unique(connected_components(edges, directed=False)[1][:n_images], return_inverse=True)[1]


def _squares(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the hashes (M,) uint64 of chosen squares of an image (H, W) float32; they do not depend on the place.

    A hash is the sum over columns and rows with odd `weights` (2, side).
    """
    if min(image.shape) < _SQUARE_PX:
        return np.empty(0, np.uint64)
    rows = sliding_window_view(np.ascontiguousarray(image).view(np.uint32).astype(np.uint64), _SQUARE_PX, axis=1)
    hashes = sliding_window_view(rows @ weights[0], _SQUARE_PX, axis=0) @ weights[1]
    is_chosen = (hashes >> np.uint64(40)) % np.uint64(_ONE_IN) == 0
    squares = sliding_window_view(image, (_SQUARE_PX, _SQUARE_PX))[is_chosen].reshape(-1, _SQUARE_PX**2)
    n_values = (np.diff(np.sort(squares, axis=1), axis=1) > 0).sum(axis=1) + 1
    return hashes[is_chosen][n_values >= _LEAST_VALUES]


def share_alike(images, fold_of) -> float:
    """Return the fraction of images (N, C, H, W), in up to 300 drawn, that look like one of another fold, (N,) int.

    Look-alikes are copies that were turned, shifted, blurred, brightened or saved as JPEG, and one cell at two times;
    many copies turned by other than quarter turns are missed.
    """
    rounds, fold_of = np.stack([_round(np.asarray(image[0], np.float64)) for image in images]), np.asarray(fold_of)
    drawn, n_alike = np.random.default_rng(0).permutation(len(rounds))[:_N_LOOKED_AT], 0
    for fold in np.unique(fold_of):
        others = rounds[fold_of != fold].conj()
        for one in rounds[drawn[fold_of[drawn] == fold]]:
            # The correlation over all rotations, also of the mirror image; the highest counts.
            turned = [np.fft.irfft((others * of).sum(axis=2), len(_ANGLES), axis=1) for of in (one, one.conj())]
            n_alike += np.max(turned, initial=0) >= _ALIKE
    return n_alike / len(drawn)


def _round(image: np.ndarray) -> np.ndarray:
    """Return normalised Fourier coefficients (angles, radii) of the intensity (H, W) along circles around a nucleus."""
    light = gaussian_filter(image - np.median(border_of(image)), 1)
    above = np.clip(light - light.max() / 4, 0, None)
    if not above.any():
        return np.zeros((len(_ANGLES) // 2 + 1, len(_RADII)), np.complex64)
    radii, angles = _RADII * np.sqrt(np.count_nonzero(above) / np.pi), _ANGLES[:, np.newaxis]
    down, right = center_of_mass(above)
    circles = map_coordinates(
        light, [down + radii * np.sin(angles), right + radii * np.cos(angles)], order=1, mode="nearest"
    )
    circles = (circles - circles.mean(axis=0)) * np.sqrt(_RADII)
    return np.fft.rfft(circles / max(np.linalg.norm(circles), 1e-9), axis=0).astype(np.complex64)


def joined(keys) -> np.ndarray:
    """Return a number (N,) for each row of `keys` (N, K), the same for rows linked by equal keys in a column.

    Empty keys link nothing. Numbers run from 0 in the order of the keys of the first column, empty ones last.

    Examples
    --------
    >>> joined([["a", "1"], ["b", "2"], ["c", "1"], ["", "3"], ["", "4"]]).tolist()
    [0, 1, 0, 2, 3]
    """
    keys = np.asarray(keys).astype(str)
    n_rows, n_columns = keys.shape
    # Connected components of the bipartite graph of keys and rows; the nodes of the keys come first.
    key_of = [k * n_rows + np.unique(column, return_inverse=True)[1] for k, column in enumerate(keys.T)]
    is_said = keys.T != ""
    ends = np.array(key_of)[is_said], n_columns * n_rows + np.nonzero(is_said)[1]
    edges = coo_array((np.ones(is_said.sum()), ends), shape=((n_columns + 1) * n_rows,) * 2)
    _, component = connected_components(edges, directed=False)
    return np.unique(component[n_columns * n_rows :], return_inverse=True)[1]


def check_no_leak(fold: Fold, fingerprints, groups=None) -> None:
    """Raise a `DataError` if an image of the test fold, a copy of one, or one of its group is in training.

    `fingerprints`, of `image_fingerprints` or `marks_of`, and `groups` are those of all images.
    """
    where = f"fold {fold.fold}"
    if n := len(np.intersect1d(fold.train, fold.test)):
        raise DataError(where, f"{n} images are on both sides", "split again")
    copy_of = joined(np.reshape(fingerprints, (len(fingerprints), -1)))
    if n := np.isin(copy_of[fold.test], copy_of[fold.train]).sum():
        raise DataError(where, f"{n} test images have copies in training", "give copies of one nucleus the same group")
    groups = None if groups is None else np.asarray(groups)
    if groups is not None and (n := np.isin(groups[fold.test], groups[fold.train]).sum()):
        raise DataError(where, f"{n} test images share a group with training", "split again by group")

"""Folds for cross-validation, and the checks that nothing of a test fold reaches training."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import center_of_mass, gaussian_filter, map_coordinates
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cellcycle.errors import DataError, check_whole
from cellcycle.segmentation.regions import border_of

# An image is known again by so much of its middle, if that has so many values.
_MIDDLE_PX, _LEAST_VALUES, _LEAST_NOISE = 24, 16, 0.02
# Images overlap that share a square of so many pixels a side, with as many values; of all squares one in so many is
# compared, chosen by what it holds, so that every image chooses the same.
_SQUARE_PX, _ONE_IN, _MOST_SHARING = 10, 16, 10
# Two images are alike of which what differs round the nucleus is so much correlated: of 445 Jurkat, 584 HeLa and 500
# simulated cells at most 5 % are like another, of their copies with noise, blurred or as JPEG three in four or more.
_ALIKE, _N_LOOKED_AT = 0.98, 300
_ANGLES, _RADII = (np.linspace(0, most, n, endpoint=False) for most, n in ((2 * np.pi, 32), (1.6, 12)))


@dataclass(frozen=True, eq=False)
class Fold:
    """One train/test division: the indices (int64, 1-D) of the images on each side."""

    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray


def stratified_folds(labels, n_folds=5, n_repeats=1, seed=0, groups=None, classes=None, least=None) -> list[Fold]:
    """Divide images into folds with the same share of every class in each, `n_repeats` times in different ways.

    `labels` (N,) are the classes of the images, `classes` their names for messages. Images with the same group (a
    field, a well, copies of one nucleus) stay on one side. DataError says that fewer than two classes occur, or that a
    class has fewer images (or groups) than there are folds, or than `least`; without `least` also that whole groups
    leave a fold no image of a class to train on.
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
    for code, k in enumerate(present):
        n_units = len(np.unique(units[labels == code]))
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
    """Return (train, test) indices of each fold, groups whole and classes shared out evenly.

    Division 0 is scikit-learn's, which deals the most uneven groups first, and so gives the same folds under any seed.
    Further divisions deal the groups in random order.
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
        # The fold that leaves the classes spread most evenly, the emptiest of these.
        spread = [(held + np.outer(np.arange(n_folds) == f, shares[group])).std(axis=0).mean() for f in range(n_folds)]
        fold_of[group] = np.lexsort((held.sum(axis=1), np.round(spread, 12)))[0]
        held[fold_of[group]] += shares[group]
    test_fold = fold_of[group_of]
    return [(np.flatnonzero(test_fold != f), np.flatnonzero(test_fold == f)) for f in range(n_folds)]


def image_fingerprints(images) -> np.ndarray:
    """Return one fingerprint (N,) an image (C, H, W), the same for quarter turns and mirror images of its pixels."""
    prints = []
    for image in map(np.asarray, images):
        turned = (np.rot90(image, k, axes=(1, 2)) for k in range(4))
        versions = (v for t in turned for v in (t, t[:, :, ::-1]))
        prints.append(min(hashlib.blake2b(np.ascontiguousarray(v), digest_size=12).hexdigest() for v in versions))
    return np.array(prints, dtype=object).astype(str)


def _middle(image: np.ndarray) -> np.ndarray:
    """Return the middle of an image, the same however wide it was cut; the whole where that has few values."""
    (above, left) = (max(side - _MIDDLE_PX, 0) // 2 for side in image.shape[1:])
    middle = image[:, above : image.shape[1] - above, left : image.shape[2] - left]
    return middle if len(np.unique(middle)) >= _LEAST_VALUES else image


def marks_of(images, about=None) -> np.ndarray:
    """Return by what each image (C, H, W) is known again (N, 3): fingerprints of it and of its middle, and of an order.

    That is the order of the values in its middle, or in that of the image `about` the same nucleus, which a brightness
    or more bits leave as it is; "" where there is no noise, so that other nuclei have the same.
    """
    middles = [_middle(np.asarray(image)) for image in (images if about is None else about)]
    orders = [np.unique(m, return_inverse=True)[1].reshape(m.shape).astype("<i4") for m in middles]
    of_order = np.where([_is_noisy(m) for m in middles], image_fingerprints(orders), "")
    return np.column_stack([image_fingerprints(images), image_fingerprints(map(_middle, images)), of_order])


def _is_noisy(image: np.ndarray) -> bool:
    """Say whether many pixels (C, H, W) are brighter or darker than all four beside them: two in five of pure noise."""
    inner = image[:, 1:-1, 1:-1]
    if not inner.size:
        return False
    beside = np.stack([image[:, :-2, 1:-1], image[:, 2:, 1:-1], image[:, 1:-1, :-2], image[:, 1:-1, 2:]])
    return bool(((inner > beside.max(axis=0)) | (inner < beside.min(axis=0))).mean() > _LEAST_NOISE)


def overlapping(images) -> np.ndarray:
    """Return a number (N,) of each image (C, H, W), the same for images that show a part of one picture.

    Such are crops about two neighbours, or about either half of one division: pixel by pixel they share a square of
    their first channel. What a tenth of all images share was written on them.
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
    """Return the hashes (M,) uint64 of some squares of an image (H, W) float32, wherever in it they lie.

    Columns and rows of a square are added up by `weights` (2, side), odd numbers.
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
    """Return the share of images (N, C, H, W), of up to 300 drawn, that look like one of another fold, (N,) int.

    Alike are copies that were turned, shifted, blurred, made brighter or saved as JPEG, and one cell at two times; of
    those turned by other than quarters many are missed.
    """
    rounds, fold_of = np.stack([_round(np.asarray(image[0], np.float64)) for image in images]), np.asarray(fold_of)
    drawn, n_alike = np.random.default_rng(0).permutation(len(rounds))[:_N_LOOKED_AT], 0
    for fold in np.unique(fold_of):
        others = rounds[fold_of != fold].conj()
        for one in rounds[drawn[fold_of[drawn] == fold]]:
            # By how much it is turned, and mirrored, is found out.
            turned = [np.fft.irfft((others * of).sum(axis=2), len(_ANGLES), axis=1) for of in (one, one.conj())]
            n_alike += np.max(turned, initial=0) >= _ALIKE
    return n_alike / len(drawn)


def _round(image: np.ndarray) -> np.ndarray:
    """Return how light (H, W) differs along circles about a nucleus, of length 1: its waves (angles, radii) complex."""
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
    """Return a number (N,) of each row of `keys` (N, K), the same for rows linked by a key that they share in a column.

    An empty key is shared with none. Numbers run from 0 in the order of the keys of the first column, empty ones last.

    Examples
    --------
    >>> joined([["a", "1"], ["b", "2"], ["c", "1"], ["", "3"], ["", "4"]]).tolist()
    [0, 1, 0, 2, 3]
    """
    keys = np.asarray(keys).astype(str)
    n_rows, n_columns = keys.shape
    # The connected parts of the graph key - row; the nodes of the keys come first.
    key_of = [k * n_rows + np.unique(column, return_inverse=True)[1] for k, column in enumerate(keys.T)]
    is_said = keys.T != ""
    ends = np.array(key_of)[is_said], n_columns * n_rows + np.nonzero(is_said)[1]
    edges = coo_array((np.ones(is_said.sum()), ends), shape=((n_columns + 1) * n_rows,) * 2)
    _, component = connected_components(edges, directed=False)
    return np.unique(component[n_columns * n_rows :], return_inverse=True)[1]


def check_no_leak(fold: Fold, fingerprints, groups=None) -> None:
    """Raise DataError when an image of the test fold, a copy of one, or one of its group is trained on.

    `fingerprints`, as `image_fingerprints` gives them or `marks_of`, and groups are those of all images.
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

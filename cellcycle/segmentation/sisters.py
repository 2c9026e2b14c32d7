"""Halves of one dividing cell, and parts of one condensed plate: bright, alike, close together, one nucleus."""

import numpy as np

# Condensed DNA is so much brighter than the median nucleus of the field, above its background.
_BRIGHTER = 1.5
_LEAST_AREA_SHARE = 0.4
# Together no more than an interphase nucleus is large, and no farther apart than this many of their mean diameters.
_MOST_AREA, _MOST_GAP = 1.25, 0.9
_LEAST_NUCLEI = 8


def joined_sisters(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return labels (H, W) int32 in which the halves of an anaphase are one; pixels (H, W) float above any background.

    Two nuclei are halves of one cell where both are far brighter than the field's nuclei, alike in size, nearer to each
    other than to be two cells, and together no larger than one nucleus. With few nuclei nothing is joined.
    """
    from scipy import ndimage
    from scipy.spatial import cKDTree

    n = int(labels.max())
    if n < _LEAST_NUCLEI:
        return labels
    ids = np.arange(1, n + 1)
    areas = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    brightness = ndimage.mean(pixels, labels, ids) - float(np.median(pixels[labels == 0]))
    bright = np.flatnonzero(brightness > _BRIGHTER * np.median(brightness))
    if len(bright) < 2:
        return labels
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, ids[bright]))
    typical, taken, new = float(np.median(areas)), set(), np.arange(n + 1)
    pairs = cKDTree(centres).query_pairs(3 * np.sqrt(typical))
    for i, j in sorted(pairs, key=lambda pair: np.hypot(*(centres[pair[0]] - centres[pair[1]]))):
        first, second = bright[i], bright[j]
        share = min(areas[first], areas[second]) / max(areas[first], areas[second])
        together = areas[first] + areas[second]
        if taken & {i, j} or share < _LEAST_AREA_SHARE or together > _MOST_AREA * typical:
            continue
        if _gap_px(labels, first + 1, second + 1) <= _MOST_GAP * np.sqrt(2 * together / np.pi):
            new[second + 1] = new[first + 1]
            taken |= {i, j}
    _, new = np.unique(new, return_inverse=True)
    return new.astype(np.int32)[labels] if taken else labels


def _gap_px(labels: np.ndarray, first: int, second: int) -> float:
    """Return the least distance between pixels of two nuclei."""
    from scipy.spatial import cKDTree

    places = [np.argwhere(labels == k) for k in (first, second)]
    return float(cKDTree(places[0]).query(places[1])[0].min())

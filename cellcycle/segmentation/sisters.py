"""Joining of the two halves of a dividing cell, or two parts of a metaphase plate, into one nucleus."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from cellcycle.segmentation.ranks import median_of
from cellcycle.segmentation.regions import areas_of, of_median_pixel, renumbered, sums_of, thinned

# Condensed DNA is more than this many times as bright as a typical nucleus of the field, above the background.
_BRIGHTER = 1.5
_LEAST_AREA_SHARE = 0.4
# Both together have at most this many times the area of a typical nucleus; the gap is at most this many mean diameters.
_MOST_AREA, _MOST_GAP = 1.25, 0.9
# If the area-weighted median brightness is below this fraction of the median, small bright halves outnumber nuclei.
_OUTNUMBERED = 0.75
_LEAST_NUCLEI = 8


def joined_sisters(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Join the halves of each anaphase in labels (H, W) int32, in place; return them. Pixels (H, W) are float.

    Two nuclei are halves of one cell if both are far brighter than the field's nuclei, alike in size, closer together
    than two cells, and together no larger than 1.25 nuclei. Below 8 nuclei nothing is joined.
    """
    n = int(labels.max())
    if n < _LEAST_NUCLEI:
        return labels
    areas = areas_of(labels)[1:]
    ground = median_of(thinned(pixels)[thinned(labels) == 0])
    brightness = sums_of(pixels, labels)[1:] / areas - ground
    of_median, of_pixel = np.median(brightness), of_median_pixel(brightness, areas)
    is_crowded = of_pixel < _OUTNUMBERED * of_median
    bright = np.flatnonzero(brightness > _BRIGHTER * (of_pixel if is_crowded else of_median))
    if len(bright) < 2:
        return labels
    boxes = ndimage.find_objects(labels)
    places = {k: np.argwhere(labels[boxes[k]] == 1 + k) + [side.start for side in boxes[k]] for k in bright}
    centres = np.array([places[k].mean(axis=0) for k in bright])
    typical = of_median_pixel(areas, areas) if is_crowded else float(np.median(areas))
    taken, new = set(), np.arange(n + 1)
    pairs = cKDTree(centres).query_pairs(3 * np.sqrt(typical))
    for i, j in sorted(pairs, key=lambda pair: np.hypot(*(centres[pair[0]] - centres[pair[1]]))):
        first, second = bright[i], bright[j]
        share = min(areas[first], areas[second]) / max(areas[first], areas[second])
        together = areas[first] + areas[second]
        if taken & {i, j} or share < _LEAST_AREA_SHARE or together > _MOST_AREA * typical:
            continue
        if cKDTree(places[first]).query(places[second])[0].min() <= _MOST_GAP * np.sqrt(2 * together / np.pi):
            new[second + 1] = new[first + 1]
            taken |= {i, j}
    return renumbered(labels, np.unique(new, return_inverse=True)[1]) if taken else labels

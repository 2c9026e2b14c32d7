"""Mean F1 of the default segmentation on hand-annotated fields, with a bootstrap interval.

Run: CELLCYCLE_REAL_DATA=folder python benchmarks/segmentation_fields.py [--worst N]

The folder holds `fields/images/` and `fields/labels/`, matched by name; labels are instance masks with 0 as
background. A predicted nucleus is right if its intersection over union with an annotated one is above 0.5,
which makes matches unique. F1 is taken per field, then averaged; the interval resamples fields.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import tifffile

from cellcycle.images import list_images, read_plane
from cellcycle.segmentation import segment

N_BOOTSTRAP = 2000


def matches(truth: np.ndarray, found: np.ndarray, least_iou: float = 0.5) -> tuple[int, int, int]:
    """Count right, surplus and missed nuclei of two label images (H, W) of integers.

    Parameters
    ----------
    truth, found : ndarray (H, W) of int
        Label images, 0 is background.
    least_iou : float, optional
        Intersection over union that a match must exceed, at least 0.5.

    Returns
    -------
    tuple of int
        True positives, false positives, false negatives.
    """
    truth_ids, truth = np.unique(truth, return_inverse=True)
    found_ids, found = np.unique(found, return_inverse=True)
    overlap = np.zeros((len(truth_ids), len(found_ids)), dtype=np.int64)
    np.add.at(overlap, (truth.ravel(), found.ravel()), 1)
    union = overlap.sum(axis=1)[:, None] + overlap.sum(axis=0)[None] - overlap
    is_match = (overlap > least_iou * union)[truth_ids != 0][:, found_ids != 0]
    right = int(is_match.sum())
    return right, is_match.shape[1] - right, is_match.shape[0] - right


def main() -> None:
    """Segment every field and print the mean F1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worst", type=int, default=5, help="number of worst fields to list")
    arguments = parser.parse_args()
    if "CELLCYCLE_REAL_DATA" not in os.environ:
        sys.exit("CELLCYCLE_REAL_DATA: not set; set it to the folder that holds fields/images and fields/labels")
    fields = Path(os.environ["CELLCYCLE_REAL_DATA"]) / "fields"
    rows, start = [], time.perf_counter()
    for path in list_images(fields / "images"):
        found = segment(read_plane(path).pixels)
        counts = matches(tifffile.imread(fields / "labels" / f"{path.stem}.tif"), found)
        rows.append((2 * counts[0] / (2 * counts[0] + counts[1] + counts[2] or 1), path.stem, *counts))
    seconds = time.perf_counter() - start
    scores = np.array([row[0] for row in rows])
    resampled = np.random.default_rng(0).choice(scores, (N_BOOTSTRAP, len(scores))).mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    print(f"{len(scores)} fields: mean F1 at IoU 0.5 = {scores.mean():.3f} (95 %: {low:.3f} to {high:.3f})")
    print(f"median {np.median(scores):.3f}, {np.mean(scores < 0.8):.0%} of fields below 0.8, {seconds:.1f} s")
    right, surplus, missed = (sum(row[i] for row in rows) for i in (2, 3, 4))
    print(f"all nuclei: {right} right, {surplus} surplus, {missed} missed")
    for score, name, *counts in sorted(rows)[: arguments.worst]:
        print(f"  {name}: F1 {score:.2f}, right {counts[0]}, surplus {counts[1]}, missed {counts[2]}")


if __name__ == "__main__":
    main()

"""Evaluation of segmentation: the nuclei of two label images, matched by intersection over union."""

import numpy as np

IOUS = (0.5, 0.7, 0.8)


def matches(truth: np.ndarray, found: np.ndarray, least_iou: float = 0.5) -> tuple[int, int, int]:
    """Return the numbers of correct, surplus and missed nuclei of two label images (H, W), where 0 is background.

    A nucleus is correct if its intersection over union with a true one exceeds `least_iou`, at least 0.5, so that each
    nucleus has at most one match.

    Examples
    --------
    >>> matches(np.array([[1, 1, 1, 0, 2]]), np.array([[1, 1, 0, 3, 0]]))
    (1, 1, 1)
    """
    truth_ids, truth = np.unique(truth, return_inverse=True)
    found_ids, found = np.unique(found, return_inverse=True)
    overlap = np.zeros((len(truth_ids), len(found_ids)), dtype=np.int64)
    np.add.at(overlap, (truth.ravel(), found.ravel()), 1)
    union = overlap.sum(axis=1)[:, None] + overlap.sum(axis=0)[None] - overlap
    is_match = (overlap > least_iou * union)[truth_ids != 0][:, found_ids != 0]
    right = int(is_match.sum())
    return right, is_match.shape[1] - right, is_match.shape[0] - right

"""The study's three training sets: D1 raw, D2 augmented, D3 balanced and augmented.

They are made from the training images of one fold, inside that fold. Source: section II-B of the study.
"""

from dataclasses import dataclass

import numpy as np
import torch

from cellcycle.errors import check_choice
from cellcycle.training.augmentation import STUDY_TRANSFORMS, altered, augment_rows

TRAINING_SETS: tuple[str, ...] = ("D1", "D2", "D3")


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Images to train on, and in `source (M,)` the index of the given image that each one copies."""

    images: np.ndarray
    labels: np.ndarray
    source: np.ndarray


def balanced_source(labels, copies: int, rng: np.random.Generator) -> np.ndarray:
    """Return image indices in which every class occurs as often as the largest class with all its copies.

    The images of a class occur equally often, up to one.
    """
    labels = np.asarray(labels)
    classes, counts = np.unique(labels, return_counts=True)
    target = counts.max() * (1 + copies)
    chosen = []
    for k, n in zip(classes, counts, strict=True):
        members = np.flatnonzero(labels == k)
        rest = rng.choice(members, target % n, replace=False)
        chosen.append(np.concatenate([np.repeat(members, target // n), rest]))
    return np.concatenate(chosen)


def training_source(labels, kind: str, copies: int, rng: np.random.Generator) -> np.ndarray:
    """Return for each image of D1, D2 or D3 the index (M,) of the image that it copies; see `make_training_set`."""
    check_choice("training_set", kind, TRAINING_SETS)
    if kind == "D3":
        return balanced_source(labels, copies, rng)
    return np.repeat(np.arange(len(labels)), 1 + copies * (kind == "D2"))


def is_copy(source) -> np.ndarray:
    """Return which rows of a training set (M,) are copies to be altered: all but the first of each image, bool (M,)."""
    again = np.ones(len(source), bool)
    again[np.unique(source, return_index=True)[1]] = False
    return again


def make_training_set(images, labels, kind="D3", transforms=STUDY_TRANSFORMS, copies=3, seed=0) -> TrainingSet:
    """Return D1, D2 or D3 of the given training images.

    D1: the images (N, C, H, W) as they are. D2: each image and `copies` augmented copies of it. D3: copies are added
    until every class has as many images as the largest class has in D2. The first copy of every image is the image
    itself, unchanged.
    """
    images, labels = np.asarray(images, dtype=np.float32), np.asarray(labels)
    rng = np.random.default_rng([seed, 3])
    source = training_source(labels, kind, copies, rng)
    made = images[source]
    augment_rows(made, np.flatnonzero(is_copy(source)), transforms, seed=int(rng.integers(2**31)))
    return TrainingSet(made, labels[source], source)


class DrawnSet:
    """Images of a large set, e.g. on disk, that are altered and scaled only when a batch is drawn."""

    def __init__(self, images: np.ndarray, source: np.ndarray, transforms, scaling, seed: int):
        self._images, self._source, self._scaling = images, source, scaling
        self._is_copy, self._transforms, self._seed = is_copy(source), transforms, seed

    def __getitem__(self, rows: np.ndarray) -> torch.Tensor:
        images = torch.from_numpy(np.asarray(self._images[self._source[rows]], np.float32))
        again = self._is_copy[rows]
        if again.any():
            # Seeded by the rows, so that a resumed training draws the same random numbers.
            rng = np.random.default_rng([self._seed, *rows.tolist()])
            images[again] = altered(images[again], self._transforms, rng)
        return self._scaling(images)

    def to(self, device: str) -> "DrawnSet":
        """Return itself: the images stay on the CPU."""
        return self

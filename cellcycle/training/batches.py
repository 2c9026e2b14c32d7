"""Batches of a training set, indexed whole."""

import numpy as np
import torch


class BatchStream:
    """Endless shuffled passes over a training set, cut into epochs of `n_batches` whole batches.

    skorch makes one and iterates over it once an epoch. Batches are indexed at once, where torch's default
    loader would collect them image by image.

    Parameters
    ----------
    dataset : skorch.dataset.Dataset
        `X` holds "images" (N, C, H, W) and "measurements" (N, F) float32, `y` labels (N,).
    batch_size, n_batches : int
    rng : numpy.random.Generator
    turn : bool
        Give each batch a random quarter turn and mirroring of its own.
    """

    def __init__(self, dataset, batch_size: int, n_batches: int, rng: np.random.Generator, turn: bool = False):
        self.inputs = {name: torch.from_numpy(values) for name, values in dataset.X.items()}
        self.labels = torch.from_numpy(dataset.y)
        self.batch_size, self.n_batches, self.rng, self.turn = batch_size, n_batches, rng, turn
        self.waiting = np.empty(0, dtype=np.int64)

    def __iter__(self):
        needed = self.n_batches * self.batch_size
        while len(self.waiting) < needed:
            self.waiting = np.concatenate([self.waiting, self.rng.permutation(len(self.labels))])
        epoch, self.waiting = np.split(self.waiting, [needed])
        for batch in epoch.reshape(self.n_batches, self.batch_size):
            chosen = {name: values[batch] for name, values in self.inputs.items()}
            if self.turn:
                chosen["images"] = turned(chosen["images"], int(self.rng.integers(8)))
            chosen["images"] = chosen["images"].contiguous(memory_format=torch.channels_last)
            yield chosen, self.labels[batch]


def turned(images: torch.Tensor, which: int) -> torch.Tensor:
    """Return images (N, C, H, W) in one of the eight positions of a square: 0 to 3 turned, 4 to 7 mirrored too."""
    made = torch.rot90(images, which % 4, dims=(2, 3))
    return made.flip(3) if which >= 4 else made

"""Training at the limit: what a fold costs beside its pure steps, in parallel, and beside the loop of a tutorial.

Run: python benchmarks/training.py [--sizes 64 128 300] [--epochs 4]

For each size and network (Nagao 6 and ResNet 8 at batches of 16, on D3), in one run:

- *fold / steps*: CPU time of a whole fold, the making of D3 and all else included, over that of the forward, backward
  and optimiser steps of the same network on tensors that are in memory already;
- *two folds*: wall time of two folds one after the other over that of two processes side by side;
- *tutorial / ours*: CPU time of the usual loop (files through Pillow, a `Dataset` that applies torchvision's transforms
  image by image, a `DataLoader`) over that of the same fold here, for as many images and epochs. The tutorial makes its
  altered copies anew each time an image is drawn, we make D3 once a fold: the same draws, not the same work.
- *bfloat16 - float32*: what the short numbers change in balanced accuracy, where the processor has them.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cellcycle.datasets import load_dataset
from cellcycle.metrics import balanced_accuracy, confusion_matrix
from cellcycle.networks import build_network
from cellcycle.splits import stratified_folds
from cellcycle.training import loop, make_estimator
from cellcycle.training.augmentation import compose
from cellcycle.training.balancing import balanced_source, make_training_set

NETWORKS = {"nagao6": {}, "resnet8": {"stem_stride": 2}}
BATCH, COPIES = 16, 2


def fold_of(size_px: int):
    """Return images and labels of the training and the test side of one fold of the simulated nuclei."""
    data = load_dataset("simulated", size_px=size_px)
    fold = stratified_folds(data.labels, 5, groups=data.groups)[0]
    return (data.images[fold.train], data.labels[fold.train]), (data.images[fold.test], data.labels[fold.test])


def whole_fold(job):
    """Train one fold; return CPU seconds and the classifier."""
    name, images, labels, epochs = job
    started = time.process_time()
    made = make_estimator(name, **NETWORKS[name], copies=COPIES, batch_size=BATCH, epochs=epochs).fit(images, labels)
    return time.process_time() - started, made


def pure_steps(name: str, images, labels, epochs: int) -> float:
    """Return CPU seconds of the steps alone, on batches that lie ready."""
    made = make_training_set(images, labels, "D3", copies=COPIES)
    network = build_network(name, 4, images.shape[1], images.shape[2], **NETWORKS[name])
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    n = epochs * -(-len(images) // BATCH)
    rows = np.random.default_rng(0).integers(0, len(made.images), (n, BATCH))
    pixels = torch.from_numpy(made.images).sub(0.1).div(0.1)
    ready = [(pixels[r].contiguous(memory_format=torch.channels_last), torch.from_numpy(made.labels[r])) for r in rows]
    started = time.process_time()
    for batch, truth in ready:
        with torch.autocast("cpu", torch.bfloat16, enabled=loop.has_bfloat16()):
            loss = nn.functional.cross_entropy(network(batch), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.process_time() - started


class Files(Dataset):
    """Pictures on disk, drawn as D3 has them, each altered when it is drawn."""

    def __init__(self, folder: str, images, labels):
        self.folder, self.labels, self.transform = folder, labels, compose()
        for i, image in enumerate(images):
            Image.fromarray(np.round(image[0] * 65535).astype(np.uint16)).save(f"{folder}/{i}.png")
        self.source = balanced_source(labels, COPIES, np.random.default_rng(0))

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i):
        image = np.asarray(Image.open(f"{self.folder}/{self.source[i]}.png"), dtype=np.float32)[None] / 65535
        return self.transform(torch.from_numpy(image)), int(self.labels[self.source[i]])


def tutorial(name: str, images, labels, epochs: int) -> float:
    """Return CPU seconds of the usual loop, for as many images as `whole_fold` draws."""
    with TemporaryDirectory() as folder:
        data = Files(folder, images, labels)
        started, drawn = time.process_time(), 0
        network = build_network(name, 4, images.shape[1], images.shape[2], **NETWORKS[name]).train()
        optimizer = torch.optim.Adam(network.parameters())
        while True:
            for batch, truth in DataLoader(data, BATCH, shuffle=True):
                loss = nn.functional.cross_entropy(network((batch - 0.1) / 0.1), truth)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                drawn += len(truth)
                if drawn >= epochs * len(images):
                    return time.process_time() - started


def balanced(classifier, images, labels) -> float:
    return float(balanced_accuracy(confusion_matrix(labels, classifier.predict(images), 4)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 300])
    parser.add_argument("--epochs", type=int, default=4)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for size_px in asked.sizes:
        (images, labels), test = fold_of(size_px)
        for name in NETWORKS:
            job = (name, images, labels, asked.epochs)
            whole_s, fitted = whole_fold(job)
            line = f"{size_px:>3} px {name:<8} fold {whole_s:6.1f} s"
            line += f", fold / steps {whole_s / pure_steps(*job):.2f}"
            line += f", tutorial / ours {tutorial(*job) / whole_s:.2f}"
            with ProcessPoolExecutor(2, get_context("spawn")) as pool:
                list(pool.map(abs, range(2)))
                started = time.perf_counter()
                one = [pool.submit(whole_fold, job).result()[0] for _ in range(2)]
                apart_s, started = time.perf_counter() - started, time.perf_counter()
                list(pool.map(whole_fold, [job] * 2))
                line += f", two folds {apart_s / (time.perf_counter() - started):.2f} ({min(one):.1f} s each)"
            if loop.has_bfloat16():
                with mock.patch.object(loop, "has_bfloat16", lambda: False):
                    _, exact = whole_fold(job)
                line += f", bfloat16 - float32 {balanced(fitted, *test) - balanced(exact, *test):+.3f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()

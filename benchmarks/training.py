"""Compare the cost of a training fold with its bare optimiser steps, with two in parallel, and with a tutorial's loop.

Run: python benchmarks/training.py [--sizes 64 128 300] [--epochs 24 12 6] [--many 0] [--record]
(recorded: --epochs 24 24 12; 24 24 60 are as many as the profiles have, which takes an hour at 300 px)

For each size and network (Nagao 6 and ResNet 8 at batches of 16, on D3), in one run:

- *fold / steps*: CPU time of a whole fold, including the making of D3, divided by that of the forward, backward and
  optimiser steps of the same network on tensors in memory;
- *two folds*: wall time of two folds, of few epochs, one after the other, divided by that of two parallel processes;
- *tutorial / ours*: CPU time of the usual loop (files through Pillow, a `Dataset` that applies torchvision's transforms
  image by image, a `DataLoader`) divided by that of the same fold here, for as many images and epochs; the loop is
  timed for few epochs, which all cost the same. It makes altered copies anew each time an image is drawn, while we make
  D3 once per fold: the same draws, not the same work. Each of the three runs in its own process; the bare steps keep
  freed memory as ours do, the usual loop does not.
- *many* (`--many 100000`, minutes): memory of an epoch of the recipe `best` on this number of nuclei of 64 px, on disk.
- *bfloat16 - float32*: difference in balanced accuracy with bfloat16, if the processor supports it.
"""

import argparse
import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from cellcycle import files
from cellcycle.datasets import load_dataset
from cellcycle.metrics import balanced_accuracy, confusion_matrix
from cellcycle.networks import build_network
from cellcycle.splits import stratified_folds
from cellcycle.training import loop, make_estimator, recipes
from cellcycle.training.balancing import balanced_source, make_training_set

NETWORKS = {"nagao6": {}, "resnet8": {"stem_stride": 2}}
BATCH, COPIES = 16, 2
# Number of epochs from which the cost of one is measured.
FEW_EPOCHS = 6
# Most batches prepared in memory for the bare steps.
MOST_READY = 100
torch.set_num_threads(1)
# The study's transforms, from torchvision.
TRANSFORMS = v2.Compose(
    [
        v2.RandomRotation(180, interpolation=v2.InterpolationMode.BILINEAR),
        v2.RandomHorizontalFlip(0.5),
        v2.RandomVerticalFlip(0.5),
        v2.RandomApply([v2.GaussianBlur(kernel_size=5, sigma=(0.2, 1.0))], p=0.5),
        v2.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.3, hue=0.5),
        v2.RandomGrayscale(p=0.5),
    ]
)


def fold_of(size_px: int):
    """Return the training and test images and labels of one fold of the simulated nuclei."""
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
    """Return CPU seconds of the optimiser steps alone, on prepared batches."""
    made = make_training_set(images, labels, "D3", copies=COPIES)
    network = build_network(name, 4, images.shape[1], images.shape[2], **NETWORKS[name])
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    loop.keep_freed_memory()
    n = epochs * -(-len(images) // BATCH)
    rows = np.random.default_rng(0).integers(0, len(made.images), (min(n, MOST_READY), BATCH))
    pixels = torch.from_numpy(made.images).sub(0.1).div(0.1)
    ready = [(pixels[r].contiguous(memory_format=torch.channels_last), torch.from_numpy(made.labels[r])) for r in rows]
    started = time.process_time()
    for batch, truth in islice(cycle(ready), n):
        with torch.autocast("cpu", torch.bfloat16, enabled=loop.has_bfloat16()):
            loss = nn.functional.cross_entropy(network(batch), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.process_time() - started


class Files(Dataset):
    """Pictures on disk, drawn with the frequencies of D3, each altered when it is drawn."""

    def __init__(self, folder: str, images, labels):
        self.folder, self.labels, self.transform = folder, labels, TRANSFORMS
        for i, image in enumerate(images):
            Image.fromarray(np.round(image[0] * 65535).astype(np.uint16)).save(f"{folder}/{i}.png")
        self.source = balanced_source(labels, COPIES, np.random.default_rng(0))

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i):
        image = np.asarray(Image.open(f"{self.folder}/{self.source[i]}.png"), dtype=np.float32)[None] / 65535
        return self.transform(torch.from_numpy(image)), int(self.labels[self.source[i]])


def tutorial(name: str, images, labels, epochs: int) -> float:
    """Return CPU seconds of the tutorial's loop, for as many images as `whole_fold` draws."""
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


def many(n: int) -> tuple[float, float]:
    """Train one epoch on `n` images on disk; return CPU seconds and the peak memory of this process in GB."""
    rng, settings = np.random.default_rng(0), {**recipes.BEST, "views": ("shape",), "epochs": 1, "batch_size": 256}
    with TemporaryDirectory() as folder:
        images = np.lib.format.open_memmap(f"{folder}/images.npy", "w+", np.float32, (n, 1, 64, 64))
        for part in np.array_split(images, -(-n // 1000)):
            part[:] = rng.random(part.shape, dtype=np.float32)
        # Else the written pages would count as memory in addition to those that are read.
        del images, part
        started = time.process_time()
        made = make_estimator(settings.pop("network"), **settings, transforms=())
        made.fit(np.load(f"{folder}/images.npy", mmap_mode="c"), rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05]))
    return time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def apart(function, *arguments):
    """Return the result of a function in a fresh process, whose memory earlier work has not affected."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measured(name: str, size_px: int, epochs: int) -> dict:
    """Return the measurements of a network at one image size; see the top of this file."""
    (images, labels), test = fold_of(size_px)
    few = min(epochs, FEW_EPOCHS)
    job, short = (name, images, labels, epochs), (name, images, labels, few)
    whole_s, fitted = apart(whole_fold, job)
    row = {"network": name, "size_px": size_px, "epochs": epochs, "fold_s": whole_s}
    row["fold / steps"] = whole_s / apart(pure_steps, *job)
    row["tutorial / ours"] = apart(tutorial, *short) / few * epochs / whole_s
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(abs, range(2)))
        started = time.perf_counter()
        for _ in range(2):
            pool.submit(whole_fold, short).result()
        in_turn_s, started = time.perf_counter() - started, time.perf_counter()
        list(pool.map(whole_fold, [short] * 2))
        row["two folds"] = in_turn_s / (time.perf_counter() - started)
    if loop.has_bfloat16():
        with mock.patch.object(loop, "has_bfloat16", lambda: False):
            _, exact = whole_fold(job)
        row["bfloat16 - float32"] = balanced(fitted, *test) - balanced(exact, *test)
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 300])
    # As many epochs as in the profile `study` if that takes minutes: fewer give the making of D3 too much weight.
    parser.add_argument("--epochs", type=int, nargs="+", default=[24, 12, 6])
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="keep the numbers in data/results/training.json")
    asked = parser.parse_args()
    found = {"rows": []}
    if asked.many:
        took_s, memory_gb = apart(many, asked.many)
        found["many"] = {"nuclei": asked.many, "epoch_s": round(took_s), "memory_gb": round(memory_gb, 1)}
        print(found["many"], flush=True)
    for size_px, epochs in zip(asked.sizes, asked.epochs, strict=True):
        for name in NETWORKS:
            found["rows"].append(measured(name, size_px, epochs))
            print(found["rows"][-1], flush=True)
    if asked.record:
        record = files.repository() / "data" / "results" / "training.json"
        # Keep earlier results that were not measured now.
        found = json.loads(record.read_text(encoding="utf-8")) | found
        with files.whole_file(record) as work:
            work.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

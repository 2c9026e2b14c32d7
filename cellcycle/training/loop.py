"""The training loop for one network, in plain torch, resumable after every epoch."""

import ctypes
import inspect
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cellcycle.card import as_json
from cellcycle.errors import CheckpointError, SettingError, check_choice
from cellcycle.files import whole_file
from cellcycle.training.augmentation import warped

# About this many times per training the held-out loss is computed: enough for a curve, cheap beside training.
_LOOKS = 10
# Constants of malloc.h: the size from which a block is allocated by mmap, and the free memory that a process keeps.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _KEPT_BYTES = -3, -1, 1 << 30
# torch has one random generator per process: a thread that seeds it locks it until it is done.
_generator = threading.RLock()


def check_device(device) -> None:
    """Refuse a device name that is unknown, or a GPU that torch cannot use here."""
    name = str(device).partition(":")[0]
    check_choice("device", name, ("cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingError("device", "there is no GPU that torch can use", "use cpu")


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, so that sums are the same on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch and compute with one thread; other Python threads wait; torch's generator is restored afterwards."""
    with _generator, one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class Batches:
    """Endless shuffled passes over a training set, cut into epochs of `n_batches` whole batches.

    `tensors` are images (N, C, H, W), measurements (N, M) or None, and labels (N,). With `turn` each batch gets a
    random quarter turn and mirroring of its own; with `move` each image is changed by `moved`.
    """

    def __init__(self, tensors, batch_size: int, n_batches: int, rng: np.random.Generator, turn=False, move=False):
        self.images, self.measurements, self.labels = tensors
        self.batch_size, self.n_batches, self.rng, self.turn, self.move = batch_size, n_batches, rng, turn, move
        self.waiting = np.empty(0, dtype=np.int64)

    def __iter__(self):
        needed = self.n_batches * self.batch_size
        while len(self.waiting) < needed:
            self.waiting = np.concatenate([self.waiting, self.rng.permutation(len(self.labels))])
        epoch, self.waiting = np.split(self.waiting, [needed])
        for batch in epoch.reshape(self.n_batches, self.batch_size):
            images = self.images[batch]
            if self.turn:
                which = int(self.rng.integers(8))
                images = torch.rot90(images, which % 4, dims=(2, 3))
                images = images.flip(3) if which >= 4 else images
            if self.move:
                images = moved(images, self.rng)
            measurements = None if self.measurements is None else self.measurements[batch]
            yield images.contiguous(memory_format=torch.channels_last), measurements, self.labels[batch]


def moved(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return images (N, C, S, S), each turned by up to 45 degrees, zoomed by up to 10 % and moved by 3 % of its side.

    Pixels from outside of the image repeat its border.
    """
    n = len(images)
    angle, zoom = rng.uniform(-np.pi / 4, np.pi / 4, n), np.exp(rng.uniform(-0.1, 0.1, n))
    # `warped` takes shifts in halves of a side.
    return warped(images, angle, zoom, rng.uniform(-0.06, 0.06, (n, 2)), padding_mode="border")


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of logits (N, K) with labels (N,) int, or (N, K) bool: the possible classes.

    For a label that stands for several classes ("interphase") the loss is minus the log of their summed probability.
    """
    if labels.ndim == 1:
        return nn.functional.cross_entropy(logits, labels)
    among = logits.masked_fill(~labels, -torch.inf)
    return (logits.logsumexp(dim=1) - among.logsumexp(dim=1)).mean()


class AdamW(torch.optim.AdamW):
    """torch's AdamW without the decorators that exclude it from compilation: they import the compiler, about 1 s."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)


def train_network(
    network: nn.Module,
    batches: Batches,
    epochs: int,
    learning_rate: float,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    device: str = "cpu",
    state: Path | None = None,
    after_epoch: Callable[[int], None] | None = None,
    watch: Callable[[nn.Module], float] | None = None,
) -> list[tuple[int, float, float, float]]:
    """Train a network of images and measurements in place; return (epoch, training loss, held-out loss, seconds).

    The training loss is the mean over batches. The held-out loss is that of `watch` for the network in evaluation mode,
    in about `_LOOKS` epochs including the last, else NaN. The file `state` is written after each epoch; a training
    resumed from it gives the same numbers. `after_epoch` is called with the number of each finished epoch.
    """
    keep_freed_memory()
    network.to(device)
    # "fused" updates all weights in one step, which takes a fifth of the time for a small network.
    optimizer = AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    is_short = device == "cpu" and has_bfloat16() and any(isinstance(m, nn.Conv2d) for m in network.modules())
    falling = schedule == "cosine"
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs) if falling else None
    history: list = []
    if state is not None and state.is_file():
        history = _resume(state, network, optimizer, scheduler, batches)
    for epoch in range(len(history) + 1, epochs + 1):
        started, losses = time.perf_counter(), []
        network.train()
        for images, measurements, labels in batches:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=is_short):
                loss = cross_entropy(network(images, measurements), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        if scheduler is not None:
            scheduler.step()
        mean, took_s = float(np.mean([loss.item() for loss in losses])), time.perf_counter() - started
        is_watched = watch is not None and (epoch == epochs or epoch % max(1, epochs // _LOOKS) == 0)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_short):
            held_out = watch(network.eval()) if is_watched else float("nan")
        history.append((epoch, mean, held_out, took_s))
        if state is not None:
            _keep(state, network, optimizer, scheduler, batches, history)
        if after_epoch is not None:
            after_epoch(epoch)
    network.eval()
    return history


@cache
def has_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 in hardware, by AMX or AVX-512, so convolutions are faster.

    They take half of the time with AMX, with AVX-512 half (300 px) to four fifths (64 px). Weights, losses and
    predictions stay float32; `benchmarks/training.py` checks that scores do not change.
    """
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


@cache
def keep_freed_memory() -> None:
    """Let this process keep freed memory for its next step instead of returning it to the system.

    Each step frees memory that the next one allocates again; getting it page by page from the system takes up to a
    quarter of a step (`benchmarks/training.py`). A setting of glibc, so on Linux only; results do not change.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def under(prefix: str, tensors: dict) -> dict:
    """Return the tensors whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}


def _keep(file: Path, network, optimizer, scheduler, batches: Batches, history) -> None:
    """Write the complete state of a training in one step: weights, optimiser, random generators, order of images."""
    from safetensors.torch import save

    optimized = optimizer.state_dict()
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"optimizer.{i}.{k}": v for i, values in optimized["state"].items() for k, v in values.items()}
    tensors |= {"torch_rng": torch.get_rng_state(), "waiting": torch.from_numpy(batches.waiting)}
    facts = {
        "history": history,
        "rng": batches.rng.bit_generator.state,
        "groups": optimized["param_groups"],
        "scheduler": None if scheduler is None else scheduler.state_dict(),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    # Copied, because parameters may share memory, and channels-last ones are not contiguous.
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with whole_file(file) as work:
        work.write_bytes(save(tensors, metadata={"facts": json.dumps(as_json(facts))}))


def _resume(file: Path, network, optimizer, scheduler, batches: Batches) -> list:
    """Restore the state of a training that `_keep` wrote; return its history."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as stored:
            facts = json.loads(stored.metadata()["facts"])
            tensors = {k: stored.get_tensor(k) for k in stored.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(file, "the state of the stopped training is damaged", "leave resume=True out") from error
    network.load_state_dict(under("network.", tensors))
    kept: dict[int, dict] = {}
    for key, value in under("optimizer.", tensors).items():
        i, name = key.split(".", 1)
        # A fused step needs the same memory layout for weights and their moments.
        last = value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
        kept.setdefault(int(i), {})[name] = last
    optimizer.load_state_dict({"state": kept, "param_groups": facts["groups"]})
    if scheduler is not None:
        scheduler.load_state_dict(facts["scheduler"])
    torch.set_rng_state(tensors["torch_rng"])
    batches.rng.bit_generator.state, batches.waiting = facts["rng"], tensors["waiting"].numpy()
    return [tuple(row) for row in facts["history"]]

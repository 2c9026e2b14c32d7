"""The training loop: plain torch, one network, resumable after every epoch."""

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

# At so many epochs of a training images that are held out are looked at: enough for a curve, cheap beside training.
_LOOKS = 10
# Names of malloc.h: from which size on memory is asked of the system by itself, and how much is kept that is free.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _KEPT_BYTES = -3, -1, 1 << 30
# torch draws by one generator for the whole process: who seeds it has it alone until done.
_generator = threading.RLock()


def check_device(device) -> None:
    """Refuse what is no device, or none that torch can use here."""
    name = str(device).partition(":")[0]
    check_choice("device", name, ("cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingError("device", "there is no GPU that torch can use", "use cpu")


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums come out the same on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw and compute by a seed alone, one thread of Python after the other; torch draws on afterwards as before."""
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

    What comes in from beyond the border repeats the border.
    """
    n = len(images)
    angle, zoom = rng.uniform(-np.pi / 4, np.pi / 4, n), np.exp(rng.uniform(-0.1, 0.1, n))
    # A side is 2 long there.
    return warped(images, angle, zoom, rng.uniform(-0.06, 0.06, (n, 2)), padding_mode="border")


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of logits (N, K) with labels (N,), or with the classes (N, K) bool each may be.

    A label that stands for several classes ("interphase") asks that their probabilities add up to 1.
    """
    if labels.ndim == 1:
        return nn.functional.cross_entropy(logits, labels)
    among = logits.masked_fill(~labels, -torch.inf)
    return (logits.logsumexp(dim=1) - among.logsumexp(dim=1)).mean()


class AdamW(torch.optim.AdamW):
    """torch's AdamW without what exempts it from being compiled: that imports the compiler, a second a process."""

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
    """Train a network of images and measurements in place; return number, losses and seconds of each epoch.

    The losses are the mean one of training, and what `watch` says of the network in evaluation mode: of about
    `_LOOKS` epochs, the last among them, else NaN. In the file `state` everything is kept after each epoch; training
    goes on from there, to the same numbers. `after_epoch` is called with the number of each finished epoch.
    """
    keep_freed_memory()
    network.to(device)
    # "fused" takes a step of all weights at once: of a small network a fifth of the time.
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
    """Whether this processor multiplies bfloat16 in hardware, by AMX or by AVX-512: convolutions then take less time.

    By AMX half of it, by AVX-512 half (300 px) to four fifths (64 px). Weights, losses and predictions stay float32;
    `benchmarks/training.py` sees that scores do not change.
    """
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next step, instead of handing it back to the system.

    Each step frees what the next one asks for again; to get it anew, page by page, takes up to a quarter of a step
    (`benchmarks/training.py`). glibc's own setting, so on Linux only; numbers do not change.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def under(prefix: str, tensors: dict) -> dict:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}


def _keep(file: Path, network, optimizer, scheduler, batches: Batches, history) -> None:
    """Write all that decides the next epoch, whole or not at all: weights, optimiser, random numbers, order."""
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
    # Copies: parameters may share their memory, and channels-last ones are not contiguous.
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with whole_file(file) as work:
        work.write_bytes(save(tensors, metadata={"facts": json.dumps(as_json(facts))}))


def _resume(file: Path, network, optimizer, scheduler, batches: Batches) -> list:
    """Bring a training back to where `_keep` left it; return its history."""
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
        # A fused step reads weights and their moments side by side, so they must lie alike in memory.
        last = value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
        kept.setdefault(int(i), {})[name] = last
    optimizer.load_state_dict({"state": kept, "param_groups": facts["groups"]})
    if scheduler is not None:
        scheduler.load_state_dict(facts["scheduler"])
    torch.set_rng_state(tensors["torch_rng"])
    batches.rng.bit_generator.state, batches.waiting = facts["rng"], tensors["waiting"].numpy()
    return [tuple(row) for row in facts["history"]]

"""The trainings of one model, one per fold and one on all nuclei, in parallel processes and resumable."""

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cellcycle import tasks
from cellcycle.datasets import NucleusDataset
from cellcycle.errors import SettingError, check_choice
from cellcycle.files import held_folder, whole_file
from cellcycle.inputs import Inputs
from cellcycle.networks import DNA_CONTENT
from cellcycle.splits import Fold, check_no_leak, joined, overlapping, stratified_folds
from cellcycle.training.baseline import DnaContentClassifier
from cellcycle.training.classifier import NetworkClassifier
from cellcycle.training.loop import check_device

_TICK_S = 1.0
# Files of the state: the number of epochs done in each training, and the arguments of all.
_DONE, _ARGUMENTS = "epochs", "arguments.json"


@dataclass(frozen=True)
class Trainings:
    """What all trainings of one model share.

    `settings` are those of `NetworkClassifier`, without the seed. Each training saves its state in a sub-folder of
    `state` and resumes from there. `start` returns the fitted classifier from which all begin, if any.
    """

    settings: dict
    inputs: Inputs
    labels: np.ndarray
    n_classes: int
    state: Path
    start: Callable[[], NetworkClassifier] | None = None

    def fit(self, name: str, seed: int, rows=slice(None)) -> NetworkClassifier | DnaContentClassifier:
        """Train on the nuclei at `rows`; epochs that were done before under this name are not repeated."""
        folder = self.state / name
        folder.mkdir(exist_ok=True)
        if self.settings["network"] == DNA_CONTENT:
            fitted = DnaContentClassifier().fit(self.inputs[rows], self.labels[rows])
            _count(folder, 1)
            return fitted
        classifier, start = NetworkClassifier(**self.settings, seed=seed), self.start and self.start()
        return classifier.fit(self.inputs[rows], self.labels[rows], start, folder, partial(_count, folder))

    def called(self, parts: list[Fold], seed: int, n_jobs: int, client=None) -> np.ndarray:
        """Train in each fold, and return probabilities (N, K) of all nuclei from the training that held them out.

        Without `start`, the training on all nuclei runs beside them, with the next seed. Each of `n_jobs` processes has
        one thread. The workers of a `client`, see `cellcycle.tasks`, must reach `state` by the same path.
        """
        items = [(f"fold{k}", seed + k, part.train, part.test) for k, part in enumerate(parts)]
        if self.start is None:
            items.append(("all", seed + len(parts), np.arange(len(self.labels)), np.arange(0)))
        held_out = np.empty((len(self.labels), self.n_classes))
        # An absolute path, because the workers of a cluster have other working folders.
        shared = replace(self, state=self.state.absolute())
        made = list(tasks.run(_fit_and_call, items, n_jobs, start=_hold, start_arguments=(shared,), client=client))
        for part, probabilities in zip(parts, made, strict=False):
            held_out[part.test] = probabilities
        return held_out


def _hold(trainings: Trainings) -> Trainings:
    return trainings


def _fit_and_call(trainings: Trainings, item) -> np.ndarray:
    name, seed, train, test = item
    fitted, called = trainings.fit(name, seed, train), np.zeros((len(test), trainings.n_classes))
    if len(test):
        called[:, fitted.classes_] = fitted.predict_proba(trainings.inputs[test])
    return called


def _count(folder: Path, n_epochs: int) -> None:
    (folder / _DONE).write_text(str(n_epochs))


def folds_of(dataset: NucleusDataset, marks: np.ndarray, n_folds: int, seed: int) -> tuple[list[Fold], list[str]]:
    """Return folds that divide no copies and, if possible, no groups, and sentences on what limits the scores.

    `marks` (N, M) are those of `NucleusDataset.known_by`. Kept together are groups, else the cells of an image, else
    crops that overlap. A class in fewer of these than there are folds is tested in some folds, and trained on in all.
    """
    labels, limits = dataset.labels, []
    if not dataset.has_stated_groups:
        limits.append("No groups were known: if several images show one slide, the scores flatter.")
    for together, limit in _together(dataset, n_folds):
        # Zero-padded, so that numbers have the same order as text.
        numbers = np.char.zfill(np.unique(together, return_inverse=True)[1].astype(str), 9)
        units = joined(np.column_stack([numbers, marks]))
        if parts := _kept_whole(units, labels, n_folds, seed):
            return parts, limits
        fewer = len(np.unique(units))
        could = 1 < fewer < n_folds and _kept_whole(units, labels, fewer, seed)
        limits.append(limit + (f" With {fewer} folds none would be split." if could else ""))
    units = joined(marks)
    is_single = len(np.unique(units)) == len(units)
    parts = stratified_folds(labels, n_folds, 1, seed, None if is_single else units, dataset.classes)
    for part in parts:
        check_no_leak(part, units)
    return parts, limits


def _together(dataset: NucleusDataset, n_folds: int) -> Iterator[tuple[np.ndarray, str]]:
    """Yield units (N,) to keep together, the largest first, each with the limitation if folds divide it."""
    few = f"A class lies in fewer than {n_folds} groups: cells of one are in training and test, scores may be too high."
    if dataset.fields:
        images = np.array([one.image for one in dataset.fields])[dataset.places[:, 0]]
        n_images, n_groups = len(np.unique(images)), len(np.unique(dataset.groups))
        of_image = "Cells of one image are in training and test: the scores are too high."
        # Groups may be parts of one image, which share its illumination.
        both = joined(np.column_stack([dataset.groups, images]))
        yield both, of_image if n_groups > n_images else few
        if n_images > len(np.unique(both)):
            yield images, of_image
        if n_groups > n_images:
            yield dataset.groups, few
        return
    if dataset.has_stated_groups:
        yield dataset.groups, few
    if len(np.unique(pieces := overlapping(dataset.images))) < len(pieces):
        yield pieces, "Crops overlap so much that some in training and test share pixels: the scores are too high."


def _kept_whole(units: np.ndarray, labels: np.ndarray, n_folds: int, seed: int) -> list[Fold]:
    """Return folds that divide no units (N,) and train on two or more cells of each class; empty if impossible."""
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if min(len(np.unique(units)), *counts) < n_folds:
        return []
    parts = stratified_folds(labels, n_folds, 1, seed, units, least=1)
    n_trained = [np.bincount(labels[part.train], minlength=len(counts)).min() for part in parts]
    return parts if min(n_trained) > 1 and all(len(part.test) for part in parts) else []


@contextlib.contextmanager
def state_of(output: Path, facts: dict, resume: bool, say: Callable[[str], None]) -> Iterator[Path]:
    """Yield the state folder beside `output`; it is deleted if the block succeeds, and kept if not.

    A folder that is in use by a running training is refused. Without `resume` the folder is emptied. With `resume` its
    stored arguments must equal `facts`; the error names the first that differs.
    """
    folder = output.parent / f".{output.name}.training"
    with held_folder(folder, output):
        _begin_or_go_on(folder, json.dumps(facts, default=list), resume, say)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def _begin_or_go_on(folder: Path, text: str, resume: bool, say: Callable[[str], None]) -> None:
    """Empty the state folder and write the arguments `text`; with `resume`, check that the stored ones are equal."""
    file, kept = folder / _ARGUMENTS, list(folder.iterdir())
    if resume and kept:
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            differs = [name for name, value in json.loads(text).items() if before.get(name) != value]
        except (OSError, ValueError, AttributeError):
            differs = ["arguments, which cannot be read"]
        if not differs:
            return
        if "arguments" not in differs[0] and differs[0] not in before:
            finding = f"the training that was stopped, kept in {folder}, was begun by another version of cellcycle"
            raise SettingError("resume", finding, "go on with that one, or leave resume=True out: it is deleted then")
        finding = f"the training that was stopped, kept in {folder}, differs in {differs[0].removeprefix('--')}"
        raise SettingError("resume", finding, "give the same; without resume=True training begins anew and deletes it")
    if resume:
        say(f"resume=True: there is no stopped training ({folder} does not exist), so it begins anew")
    for old in kept:
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink()
    with whole_file(file) as work:
        work.write_text(text, encoding="utf-8")


def device_of(name: str) -> str:
    """Return the device to train on; "auto" is a GPU if torch can use one, else the CPU."""
    check_choice("device", name, ("auto", "cpu", "cuda"))
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    check_device(name)
    return name


class Clock:
    """Reports the progress of all trainings and the time left, one line every `every_s` seconds.

    The trainings count their epochs in `state`; `total` is the number of all. `progress` takes epochs done and total.
    """

    def __init__(self, say: Callable[[str], None], state: Path, total: int, progress=None, every_s: float = 10.0):
        self.say, self.state, self.total, self.every_s = say, state, total, every_s
        self.progress = progress or (lambda done, total: None)
        self._ended, self._thread = threading.Event(), threading.Thread(target=self._tell, daemon=True)

    def __enter__(self):
        self._began, self._before = time.monotonic(), sum(self.done().values())
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._ended.set()
        self._thread.join()
        if kind is KeyboardInterrupt:
            self.say(f"stopped; what was done is kept in {self.state}: to continue, run the same with resume=True")

    def done(self) -> dict[str, int]:
        """Return the number of epochs done in each training."""
        counts = {f.parent.name: f.read_text(errors="replace") for f in sorted(self.state.glob(f"*/{_DONE}"))}
        return {name: int(count) if count.isdecimal() else 0 for name, count in counts.items()}

    def line(self) -> str:
        """Return the line of progress."""
        done = self.done()
        n, text = sum(done.values()), ", ".join(f"{name} {n}" for name, n in done.items())
        left_s = (time.monotonic() - self._began) / max(n - self._before, 1) * (self.total - n)
        left = f", about {max(1, round(left_s / 60))} min left" if self._before < n < self.total else ""
        return f"{n} of {self.total} epochs ({text}){left}"

    def _tell(self) -> None:
        said, has_begun = time.monotonic(), False
        while not self._ended.wait(min(_TICK_S, self.every_s)):
            n = sum(self.done().values())
            if n > self._before and not has_begun:
                # Imports and reading before the first epoch must not count in the time per epoch.
                self._began, self._before, has_begun = time.monotonic(), n, True
            self.progress(n, self.total)
            if self.done() and time.monotonic() - said >= self.every_s:
                said = time.monotonic()
                self.say(self.line())

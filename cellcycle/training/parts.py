"""The trainings that make one model, one a fold and one of all nuclei: in processes, and resumable."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cellcycle import tasks
from cellcycle.errors import SettingError
from cellcycle.files import whole_file
from cellcycle.inputs import Inputs
from cellcycle.training.baseline import DNA_CONTENT, DnaContentClassifier
from cellcycle.training.classifier import NetworkClassifier

_TICK_S = 1.0
# In the state of each training: epochs done. In that of all: what was asked for.
_DONE, _ARGUMENTS = "epochs", "arguments.json"


@dataclass(frozen=True)
class Trainings:
    """What all trainings of one model share.

    `settings` are those of `NetworkClassifier`, without the seed. Each training keeps its state in a sub-folder of
    `state` and goes on from there. `start` returns the fitted classifier that all begin from, if any.
    """

    settings: dict
    inputs: Inputs
    labels: np.ndarray
    n_classes: int
    state: Path
    start: Callable[[], NetworkClassifier] | None = None

    def fit(self, name: str, seed: int, rows=slice(None)) -> NetworkClassifier | DnaContentClassifier:
        """Train on some nuclei; what was trained before under this name is not done again."""
        folder = self.state / name
        folder.mkdir(exist_ok=True)
        if self.settings["network"] == DNA_CONTENT:
            fitted = DnaContentClassifier().fit(self.inputs[rows], self.labels[rows])
            _count(folder, 1)
            return fitted
        classifier, start = NetworkClassifier(**self.settings, seed=seed), self.start and self.start()
        return classifier.fit(self.inputs[rows], self.labels[rows], start, folder, partial(_count, folder))

    def run(self, items, jobs: int, client=None) -> Iterator[np.ndarray]:
        """Train many, and yield the probabilities (n, K) of what each was to call.

        Each of `items` is name, seed, nuclei (m,) to train on, nuclei (n,) to call; each of `jobs` processes has one
        thread. The workers of a `client`, see `cellcycle.tasks`, reach `state` by the same path.
        """
        yield from tasks.run(_fit_and_call, items, jobs, start=_hold, start_arguments=(self,), client=client)


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


def state_of(output: Path, facts: dict, resume: bool) -> Path:
    """Return the folder of trainings under way, beside `output`; one that is not to be resumed is emptied."""
    folder = output.parent / f".{output.name}.training"
    file, text = folder / _ARGUMENTS, json.dumps(facts, sort_keys=True, default=list)
    if resume and file.is_file() and file.read_text(encoding="utf-8") == text:
        return folder
    if resume and folder.exists():
        raise SettingError("--resume", "the training that was stopped had other arguments or data", "leave it out")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise SettingError(output, f"it cannot be written ({error.strerror})", "name another folder") from error
    with whole_file(file) as work:
        work.write_text(text, encoding="utf-8")
    return folder


def jobs_of(jobs: int | None, device: str) -> int:
    """Return the number of processes: all cores by default, one where all would share a GPU."""
    if jobs is None:
        jobs = 1 if device == "cuda" else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    if jobs < 1:
        raise SettingError("jobs", f"{jobs} is too few", "give 1 or more")
    return jobs


class Clock:
    """Says now and then, in one line, how far all trainings are and how long the rest will take.

    The trainings count their epochs in `state`; `total` is that of all. `progress` takes epochs done and total.
    """

    def __init__(self, say: Callable[[str], None], state: Path, total: int, progress=None, every_s: float = 10.0):
        self.say, self.state, self.total, self.every_s = say, state, total, every_s
        self.progress = progress or (lambda done, total: None)
        self._ended, self._thread = threading.Event(), threading.Thread(target=self._tell, daemon=True)

    def __enter__(self):
        self._began, self._before = time.monotonic(), sum(self.done().values())
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def done(self) -> dict[str, int]:
        """Return the epochs done of each training."""
        return {f.parent.name: int(f.read_text() or 0) for f in sorted(self.state.glob(f"*/{_DONE}"))}

    def line(self) -> str:
        """Say how far all are."""
        done = self.done()
        n, text = sum(done.values()), ", ".join(f"{name} {n}" for name, n in done.items())
        left_s = (time.monotonic() - self._began) / max(n - self._before, 1) * (self.total - n)
        left = f", about {max(1, round(left_s / 60))} min left" if n > self._before else ""
        return f"{n} of {self.total} epochs ({text}){left}"

    def _tell(self) -> None:
        said = time.monotonic()
        while not self._ended.wait(min(_TICK_S, self.every_s)):
            self.progress(sum(self.done().values()), self.total)
            if self.done() and time.monotonic() - said >= self.every_s:
                said = time.monotonic()
                self.say(self.line())

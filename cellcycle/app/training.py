"""Trainings on visitors' corrections: one at a time in the whole server, in a child with limits, stopped on demand.

Further visitors wait in a queue, each with at most one training.
"""

import asyncio
import json
import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from cellcycle.app import fine_tune
from cellcycle.app.guard import Refusal, busy
from cellcycle.app.limits import Limits
from cellcycle.app.store import Visitor
from cellcycle.app.words import in_page_words
from cellcycle.confine import Confined
from cellcycle.datasets.nuclei import FEWEST
from cellcycle.errors import CellCycleError, LimitError, SettingError
from cellcycle.files import replace_json

# Number of visitors for whom the outcome of the last training is kept.
_MOST_KNOWN = 200
_STARTED_ANEW = "the server was restarted, which ended your training; your corrections are kept: train again"


@dataclass
class _Training:
    """A training that runs in its own child process (`child`), or waits (`child` is None)."""

    visitor: Visitor
    child: Confined | None = None
    is_stopped: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Trainings:
    """Runs the trainings of all visitors; the models are stored with their visitors."""

    def __init__(self, limits: Limits, folders, folder: Path):
        self._limits, self._folders, self._folder = limits, tuple(folders), folder
        # By visitor; the first one runs. A file keeps the queue, so that a new server knows which trainings were ended.
        self._queue: dict[str, _Training] = {}
        self._queued = folder.with_name(f"{folder.name}-queue.json")
        left = json.loads(self._queued.read_text("utf-8")) if self._queued.exists() else []
        self._ended: dict[str, str] = dict.fromkeys(left, _STARTED_ANEW)
        self._task: asyncio.Task | None = None
        self.missing = fine_tune.missing()

    def start(self, visitor: Visitor) -> None:
        """Start a training on all corrections of a visitor, or put it at the end of the queue."""
        if self.missing:
            raise Refusal(501, self.missing)
        place = self._place(visitor)
        if place == 0:
            raise Refusal(503, "your training is running; wait for its end, or stop it", {"retry-after": "60"})
        if place is not None:
            return
        if len(self._queue) > self._limits.train_waiting:
            raise busy("too many trainings are waiting")
        _given(visitor)
        # Write the file first: if the disk is full, the visitor must not get a place in the queue.
        replace_json(self._queued, [*self._queue, visitor.key])
        self._queue[visitor.key] = _Training(visitor)
        self._ended.pop(visitor.key, None)
        # One that was stopped before it began leaves a task that has yet to see that nothing waits.
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    def state(self, visitor: Visitor) -> dict:
        """Return the state of a visitor's training, the problem of the last one, and the last model's data."""
        place, trained = self._place(visitor), visitor.trained()
        return {
            "missing": self.missing,
            "running": self._progress() if place == 0 else None,
            "waiting": place or None,  # number of trainings before this one
            "problem": self._ended.get(visitor.key, ""),
            "model": trained and trained[1],
        }

    def _place(self, visitor: Visitor) -> int | None:
        return list(self._queue).index(visitor.key) if visitor.key in self._queue else None

    async def stop(self, visitor: Visitor) -> None:
        """End a visitor's training, if any; the model that was there stays."""
        training = self._queue.get(visitor.key)
        if training is not None and training.child is not None:
            training.is_stopped = True
            await anyio.to_thread.run_sync(training.child.close)
            await training.ended.wait()
        else:
            self._leave(visitor.key)

    def _leave(self, key: str) -> None:
        # At the end of the server the queue is already empty. A full disk must not stop the trainings that wait.
        if self._queue.pop(key, None):
            with suppress(OSError):
                replace_json(self._queued, list(self._queue))

    def close(self) -> None:
        """End the training that runs, and forget those that wait."""
        for training in self._queue.values():
            training.is_stopped = True
            if training.child is not None:
                training.child.close()
        self._queue.clear()

    async def _work(self) -> None:
        """Run one training after the other until none waits."""
        while self._queue:
            key, training = next(iter(self._queue.items()))
            problem = await self._train(training)
            self._leave(key)
            training.ended.set()
            if problem and not training.is_stopped:
                self._ended = dict([*self._ended.items(), (key, problem)][-_MOST_KNOWN:])

    async def _train(self, training: _Training) -> str:
        """Train; return "" if a model was made, else the reason."""
        visitor, limits, work = training.visitor, self._limits, self._folder / "work"
        try:
            given = _given(visitor)
            shutil.rmtree(self._folder, ignore_errors=True)
            work.mkdir(parents=True, mode=0o700)
            training.child = Confined(limits.train_s, limits.train_mb, fine_tune.start, (self._folders, self._folder))
            asked = given, limits.train_nuclei, limits.train_epochs, work
            await anyio.to_thread.run_sync(training.child, fine_tune.fine_tune, *asked)
            visitor.take(work / fine_tune.MADE / fine_tune.TRAINED)
            return ""
        except LimitError as error:
            return f"{error.finding}; correct nuclei of fewer images, or train by command"
        except (CellCycleError, Refusal) as error:
            return error.detail if isinstance(error, Refusal) else str(in_page_words(error))
        except FileNotFoundError:
            return "an image was removed while it was trained on"
        except Exception:
            if not training.is_stopped:
                logging.getLogger(__name__).exception("a training failed")
            return "the training failed; try it again"
        finally:
            # The next training uses the same folder, so remove everything first.
            if training.child is not None:
                await anyio.to_thread.run_sync(training.child.close)
                shutil.rmtree(work, ignore_errors=True)

    def _progress(self) -> list[int]:
        """Return [epochs done, epochs in all] of the running training; [0, 0] before the first."""
        with suppress(OSError, ValueError):
            return json.loads((self._folder / "work" / fine_tune.PROGRESS).read_text())
        return [0, 0]


def _given(visitor: Visitor) -> list:
    """Return a visitor's corrections; SettingError if fewer than two classes have enough of them."""
    given = visitor.corrected()
    if len(fine_tune.usable(given)) < 2:
        finding, remedy = f"no two phases have {FEWEST} labelled nuclei each", "label more, also those called right"
        raise SettingError("your corrections", finding, remedy)
    visitor.check_room()
    return given

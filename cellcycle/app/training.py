"""Trainings on visitors' corrections: one at a time in the whole server, in a child with limits, stopped on demand.

Who comes while another's runs is put at the end of a queue, each visitor once: nobody keeps the place.
"""

import asyncio
import json
import logging
import shutil
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import anyio.to_thread

from cellcycle.app import fine_tune
from cellcycle.app.guard import Refusal, busy
from cellcycle.app.limits import Limits
from cellcycle.app.store import Visitor
from cellcycle.confine import Confined
from cellcycle.datasets.nuclei import FEWEST
from cellcycle.errors import CellCycleError, LimitError, SettingError

# Visitors of whose last training it is known how it ended.
_MOST_KNOWN = 200


class Trainings:
    """Where trainings run; what they make is kept with its visitor."""

    def __init__(self, limits: Limits, folders, folder: Path):
        self._limits, self._folders, self._folder = limits, tuple(folders), folder
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._running: _Running | None = None
        self._waiting: OrderedDict[str, Visitor] = OrderedDict()
        self.missing = fine_tune.missing()

    def start(self, visitor: Visitor) -> None:
        """Begin a training on all that a visitor corrected, or put it at the end of the queue."""
        if self.missing:
            raise Refusal(501, self.missing)
        if self._is_of(visitor):
            raise Refusal(503, "your training is running; wait for its end, or stop it", {"retry-after": "60"})
        if visitor.key in self._waiting:
            return
        if self._running is None:
            self._begin(visitor)
        elif len(self._waiting) >= self._limits.train_waiting:
            raise busy("too many trainings are waiting")
        else:
            _given(visitor)
            self._waiting[visitor.key] = visitor
        self._ended.pop(visitor.key, None)

    def state(self, visitor: Visitor) -> dict:
        """Say how far a visitor's training is, how the last one ended, and what the last model is.

        `waiting` is the number of trainings that come first.
        """
        keys, trained = list(self._waiting), visitor.trained()
        return {
            "missing": self.missing,
            "running": self._running.progress() if self._is_of(visitor) else None,
            "waiting": keys.index(visitor.key) + 1 if visitor.key in keys else None,
            "problem": self._ended.get(visitor.key, ""),
            "model": trained and trained[1],
        }

    async def stop(self, visitor: Visitor) -> None:
        """End a visitor's training, if any; the model that was there stays."""
        self._waiting.pop(visitor.key, None)
        if self._is_of(visitor):
            task = self._running.task
            await anyio.to_thread.run_sync(self._running.stop)
            await task

    def close(self) -> None:
        """End the training that runs, and forget those that wait."""
        self._waiting.clear()
        if self._running is not None:
            self._running.stop()

    def _is_of(self, visitor: Visitor) -> bool:
        return self._running is not None and self._running.visitor.key == visitor.key

    def _begin(self, visitor: Visitor) -> None:
        given = _given(visitor)
        self._running = _Running(visitor, self._limits, self._folders, self._folder)
        self._running.task = asyncio.create_task(self._run(self._running, given))

    async def _run(self, running: "_Running", given) -> None:
        visitor, problem = running.visitor, ""
        try:
            asked = given, self._limits.train_nuclei, self._limits.train_epochs, running.work
            about = await anyio.to_thread.run_sync(running.child, fine_tune.fine_tune, *asked)
            visitor.keep_model(running.work / "model", about)
        except LimitError as error:
            problem = f"{error.finding}; correct nuclei of fewer images, or train by command"
        except CellCycleError as error:
            problem = str(error)
        except FileNotFoundError:
            problem = "an image was removed while it was trained on"
        except Exception:
            if not running.is_stopped:
                logging.getLogger(__name__).exception("a training failed")
            problem = "the training failed; try it again"
        finally:
            # All of it is gone before the next begins, in the same folder.
            await anyio.to_thread.run_sync(running.child.close)
            shutil.rmtree(running.work, ignore_errors=True)
            self._running = None
            if problem and not running.is_stopped:
                self._note(visitor.key, problem)
            self._begin_next()

    def _begin_next(self) -> None:
        while self._waiting and self._running is None:
            key, visitor = self._waiting.popitem(last=False)
            try:
                self._begin(visitor)
            except (Refusal, CellCycleError) as error:
                self._note(key, str(getattr(error, "detail", error)))

    def _note(self, key: str, problem: str) -> None:
        self._ended[key] = problem
        while len(self._ended) > _MOST_KNOWN:
            self._ended.popitem(last=False)


def _given(visitor: Visitor) -> list:
    """Return what a visitor corrected, or refuse what nothing can be learned from."""
    given = visitor.corrected()
    if len(fine_tune.usable(given)) < 2:
        finding = f"no two phases have {FEWEST} labelled nuclei each"
        raise SettingError("your corrections", finding, "label more, those that are called right too")
    visitor.check_room()
    return given


class _Running:
    """The training that runs, in a child of its own that ends with it."""

    def __init__(self, visitor: Visitor, limits: Limits, folders, folder: Path):
        self.visitor, self.work, self.is_stopped = visitor, folder / "work", False
        self._first: tuple[float, int] | None = None
        shutil.rmtree(folder, ignore_errors=True)
        self.work.mkdir(parents=True, mode=0o700)
        self.child = Confined(limits.train_s, limits.train_mb, fine_tune.start, (folders, folder))
        self.task: asyncio.Task | None = None

    def stop(self) -> None:
        """End it for its visitor, who need not be told why."""
        self.is_stopped = True
        self.child.close()

    def progress(self) -> dict:
        """Return the epochs done and in all, and about how many seconds are left; nothing of that at first."""
        with suppress(OSError, ValueError):
            done, total = json.loads((self.work / fine_tune.PROGRESS).read_text())
            # The time of the first epochs is that of starting.
            began, before = self._first = self._first or (time.monotonic(), done)
            left_s = round((time.monotonic() - began) / (done - before) * (total - done)) if done > before else None
            return {"done": done, "total": total, "left_s": left_s}
        return {"done": 0, "total": 0, "left_s": None}

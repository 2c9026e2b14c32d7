"""Trainings on visitors' corrections: one at a time in the whole server, in a child with limits, stopped on demand."""

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
from cellcycle.app.guard import Refusal
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
        self.missing = fine_tune.missing()

    def start(self, visitor: Visitor) -> None:
        """Begin a training on all that a visitor corrected."""
        if self.missing:
            raise Refusal(501, self.missing)
        if self._running is not None:
            whose = "yours" if self._running.visitor.key == visitor.key else "another visitor's"
            raise Refusal(503, f"one training runs at a time, and {whose} is running", {"retry-after": "60"})
        given = visitor.corrected()
        if len(fine_tune.usable(given)) < 2:
            finding = f"no two phases have {FEWEST} labelled nuclei each"
            raise SettingError("your corrections", finding, "label more, those that are called right too")
        visitor.check_room()
        self._ended.pop(visitor.key, None)
        self._running = _Running(visitor, self._limits, self._folders, self._folder)
        self._running.task = asyncio.create_task(self._run(self._running, given))

    def state(self, visitor: Visitor) -> dict:
        """Say how far a visitor's training is, how the last one ended, and what the last model is."""
        running, trained = self._running, visitor.trained()
        is_own = running is not None and running.visitor.key == visitor.key
        return {
            "missing": self.missing,
            "running": running.progress() if is_own else None,
            "problem": self._ended.get(visitor.key, ""),
            "model": trained and trained[1],
        }

    async def stop(self, visitor: Visitor) -> None:
        """End a visitor's training, if any; the model that was there stays."""
        running = self._running
        if running is not None and running.visitor.key == visitor.key:
            running.is_stopped = True
            await anyio.to_thread.run_sync(running.child.close)
            await running.task

    def close(self) -> None:
        """End the training that runs."""
        if self._running is not None:
            self._running.is_stopped = True
            self._running.child.close()

    async def _run(self, running: "_Running", given) -> None:
        visitor, problem = running.visitor, ""
        try:
            asked = given, self._limits.train_nuclei, self._limits.train_epochs, running.work
            about = await anyio.to_thread.run_sync(running.child, fine_tune.fine_tune, *asked)
            visitor.keep_model(running.work / "model", about)
        except LimitError as error:
            problem = (
                "" if running.is_stopped else f"{error.finding}; correct nuclei of fewer images, or train by command"
            )
        except CellCycleError as error:
            problem = str(error)
        except FileNotFoundError:
            problem = "an image was removed while it was trained on"
        except Exception:
            if not running.is_stopped:
                logging.getLogger(__name__).exception("a training failed")
                problem = "the training failed; try it again"
        finally:
            self._running = None
            if problem:
                self._ended[visitor.key] = problem
            while len(self._ended) > _MOST_KNOWN:
                self._ended.popitem(last=False)
            await anyio.to_thread.run_sync(running.child.close)
            shutil.rmtree(running.work, ignore_errors=True)


class _Running:
    """The training that runs, in a child of its own that ends with it."""

    def __init__(self, visitor: Visitor, limits: Limits, folders, folder: Path):
        self.visitor, self.work, self.is_stopped = visitor, folder / "work", False
        self._first: tuple[float, int] | None = None
        shutil.rmtree(folder, ignore_errors=True)
        self.work.mkdir(parents=True, mode=0o700)
        self.child = Confined(limits.train_s, limits.train_mb, fine_tune.start, (folders, folder))
        self.task: asyncio.Task | None = None

    def progress(self) -> dict:
        """Return the epochs done and in all, and about how many seconds are left; nothing of that at first."""
        with suppress(OSError, ValueError):
            done, total = json.loads((self.work / fine_tune.PROGRESS).read_text())
            # The time of the first epochs is that of starting.
            began, before = self._first = self._first or (time.monotonic(), done)
            left_s = round((time.monotonic() - began) / (done - before) * (total - done)) if done > before else None
            return {"done": done, "total": total, "left_s": left_s}
        return {"done": 0, "total": 0, "left_s": None}

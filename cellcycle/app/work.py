"""A bounded number of child processes that do the work, and a bounded number of requests that wait for them."""

import asyncio
import logging
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread

from cellcycle.app import worker
from cellcycle.app.guard import DISK_FULL, Refusal, busy
from cellcycle.app.limits import Limits
from cellcycle.app.words import in_page_words
from cellcycle.confine import Confined, LimitError
from cellcycle.errors import CellCycleError
from cellcycle.files import FULL

# Most requests of one visitor that run or wait, so that other visitors get their turn.
_MOST_OF_ONE = 4


class Work:
    """Runs the work of requests in child processes, with the model folders of the server's owner.

    `scratch` is the folder for temporary files of the work; what it contains at the start is from a killed run.
    """

    def __init__(self, limits: Limits, folders, scratch: Path):
        self._limits = limits
        given = limits.work_s, limits.work_mb, worker.start, (tuple(folders), scratch)
        self._all = [Confined(*given) for _ in range(limits.at_once)]
        self._idle = list(self._all)
        self._turns = asyncio.Semaphore(limits.at_once)
        self._admitted: Counter[str] = Counter()

    def refuse_excess(self, visitor: str = "") -> None:
        """Refuse a request if too many are waiting; also called before its body is received and stored."""
        n_waiting = self._admitted.total() - self._limits.at_once
        if n_waiting >= self._limits.waiting or (visitor and self._admitted[visitor] >= _MOST_OF_ONE):
            raise busy("too many images are waiting")

    @contextmanager
    def admitted(self, visitor: str = ""):
        """Admit a request while the block runs, or refuse it, see `refuse_excess`.

        The whole body must have been received: a request that never ends would keep the place of others.
        """
        self.refuse_excess(visitor)
        self._admitted[visitor] += 1
        try:
            yield
        finally:
            self._admitted[visitor] -= 1
            self._admitted += Counter()

    async def run(self, function, *arguments, is_gone=None):
        """Call a function of `cellcycle.app.worker` in a child process, when its turn comes.

        Raises Refusal if the client has left by then or the disk is full, the function's `CellCycleError` in the words
        of the page, `FileNotFoundError` if files were removed, and `LimitError` for anything else.
        """
        async with self._turns:
            if is_gone is not None and await is_gone():
                raise Refusal(499, "whoever asked has left")
            child = self._idle.pop()
            # Reading an unknown file gets less time than work on a plane that was read.
            child.seconds = self._limits.read_s if function is worker.read else self._limits.work_s
            try:
                return await anyio.to_thread.run_sync(child, function, *arguments, abandon_on_cancel=True)
            except CellCycleError as error:
                raise in_page_words(error) from None
            except FileNotFoundError:
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise busy(DISK_FULL) from None
                # Often the memory limit was reached: a new child starts with free memory.
                logging.getLogger(__name__).exception("a worker failed")
                child.renew()
                raise LimitError("image", "the work on it failed", "try it again, or export the image again") from error
            finally:
                self._idle.append(child)

    def close(self) -> None:
        """End the child processes and their work."""
        for child in self._all:
            child.close()

"""Many tasks, one after the other or in processes: results in order, memory flat, nothing left behind."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from cellcycle.errors import SettingError

# Tasks handed out before their results are wanted, for each process: none waits, and few results pile up.
_AHEAD = 2
_BAR_FROM = 4


def run(
    function: Callable,
    items: Iterable,
    n_jobs: int = 1,
    *,
    start: Callable | None = None,
    start_arguments: tuple = (),
    client=None,
    progress: str | None = None,
) -> Iterator:
    """Yield `function(item)` for each item, in their order; items are read as they are needed.

    With one job it runs here; more start fresh processes, which end with this one, however it ends, and import
    `function` by its name. `start` is called once in each; what it returns comes first: `function(started, item)`. A
    `client` (`dask.distributed.Client`) runs the tasks instead. `progress`, what one item is called, shows on a
    terminal how many are done and the time left. What a task raises is raised here, and no further one is begun; a
    process that was ended from outside, as by a system out of memory, is a `SettingError`.

    Examples
    --------
    >>> list(run(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    if hasattr(items, "__len__"):
        n_jobs = min(n_jobs, len(items))
    if client is not None:
        results = _on_client(client, function, items, start, start_arguments)
    elif n_jobs > 1:
        results = _in_processes(function, items, n_jobs, start, start_arguments)
    else:
        results = _here(function, items, start, start_arguments)
    return with_bar(results, items, progress) if progress else results


def _here(function, items, start, start_arguments) -> Iterator:
    first = () if start is None else (start(*start_arguments),)
    for item in items:
        yield function(*first, item)


def _in_processes(function, items, n_jobs: int, start, start_arguments) -> Iterator:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # "spawn": a forked copy of the threads of ONNX Runtime or torch would wait for ever.
    context = get_context("spawn")
    lease, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(n_jobs, context, _begin, (lease, start, start_arguments))
    try:
        yield from _in_order((pool.submit(_work, function, item) for item in items), _AHEAD * n_jobs)
        pool.shutdown()
    except BrokenProcessPool as error:
        finding = "a process was ended from outside, probably for lack of memory"
        raise SettingError("processes", finding, "use fewer of them") from error
    finally:
        # Letting go of the lease ends what still runs: nobody wants its result.
        held.close()
        pool.shutdown(cancel_futures=True)
        lease.close()


def _in_order(futures: Iterator, most: int) -> Iterator:
    waiting: deque = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _on_client(client, function, items, start, start_arguments) -> Iterator:
    work = (client.submit(_started_work, function, start, start_arguments, item, pure=False) for item in items)
    yield from _in_order(work, _AHEAD * max(1, sum(client.nthreads().values())))


@lru_cache(maxsize=1)
def _started(start, start_arguments):
    return start(*start_arguments)


def _started_work(function, start, start_arguments, item):
    """Do a task on a worker of a cluster, which keeps what `start` made for the next one where it can."""
    if start is None:
        return function(item)
    try:
        started = _started(start, start_arguments)
    except TypeError:  # arguments that cannot be told apart by a hash
        started = start(*start_arguments)
    return function(started, item)


_first: tuple = ()


def _begin(lease, start, start_arguments) -> None:
    """Begin a process: end it when the one that holds the lease lets go or dies, even by SIGKILL."""
    from multiprocessing.connection import wait

    def watch():
        wait([lease])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    # Ctrl-C reaches every process of a terminal; the one that holds the lease decides what comes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _first
    _first = () if start is None else (start(*start_arguments),)


def _work(function, item):
    return function(*_first, item)


def with_bar(results: Iterator, items, unit: str) -> Iterator:
    """Show on a terminal how many results of a few items or more have come, and the time left."""
    total = len(items) if hasattr(items, "__len__") else None
    if not sys.stderr.isatty() or (total is not None and total < _BAR_FROM):
        return results
    from tqdm import tqdm

    return tqdm(results, total=total, unit=unit, leave=False)

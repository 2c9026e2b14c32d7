"""Run many tasks in sequence or in processes: results in order, bounded memory, and no process left behind."""

import gc
import logging
import os
import pickle
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path

from cellcycle.errors import SettingError, check_whole, needing
from cellcycle.files import scratch_folder

# Tasks submitted ahead per process: no process waits, and few results pile up.
_AHEAD = 2
_BAR_FROM = 4
# Seconds after which a scheduler, or its first worker, counts as missing.
_ANSWER_S = 30
# Preload of each worker of a local cluster, also of replacements: it ignores Ctrl-C, as `_begin`, and does not log the
# end of other workers between our lines.
_DEAF = (
    "import logging, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "logging.getLogger('distributed').setLevel(logging.CRITICAL)"
)


def jobs_of(n_jobs: int | None, device: str = "cpu") -> int:
    """Return the number of processes: for None, one per core, or one in total with a GPU, which all would share."""
    if n_jobs is not None:
        return check_whole("n_jobs", n_jobs)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if device == "cuda" else n_cores


def run(function: Callable, items: Iterable, n_jobs: int | None = 1, **options) -> Iterator:
    """Yield `function(item)` for each item, in their order; items are read as they are needed.

    With one job it runs here; more start new processes; None means one per core. `options` are those of `workers`.

    Examples
    --------
    >>> list(run(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    if hasattr(items, "__len__"):
        n_jobs = min(jobs_of(n_jobs), len(items) or 1)
    with workers(n_jobs, **options) as do:
        yield from do(function, items)


@contextmanager
def workers(n_jobs: int | None = 1, *, start: Callable | None = None, start_arguments: tuple = (), client=None):
    """Yield a function `do(function, items)` that returns an iterator of results in order; call it for each step.

    With one job all runs in this process. More jobs start new processes, which stay for the next step, end with this
    process however it ends, and import `function` by name. `start` is called once in each; its result is the first
    argument: `function(started, item)`. A `client` (`dask.distributed.Client`) runs the tasks instead. An exception of
    a task is raised here, and no further task begins. A `SettingError` says that a process was ended from outside, as
    by lack of memory, or could not begin, as in a script without the guard `if __name__ == "__main__":`.
    """
    n_jobs = jobs_of(n_jobs)
    if client is not None:
        yield partial(_on_client, client, pickle.dumps((start, start_arguments)))
    elif n_jobs > 1:
        with scratch_folder() as folder:
            folder.chmod(0o700)
            begun = folder / "begun"
            with begun.open("wb") as file:
                pickle.dump((start, start_arguments), file)
            with _processes(n_jobs, begun) as do:
                yield do
    else:
        started = lru_cache(partial(_started, start, start_arguments))
        yield lambda function, items: (function(*started(), item) for item in items)


def _started(start: Callable | None, start_arguments: tuple) -> tuple:
    return (start(*start_arguments),) if start else ()


@contextmanager
def _processes(n_jobs: int, begun: Path):
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # "spawn": a forked process can hang on locks of the threads of ONNX Runtime or torch.
    context = get_context("spawn")
    lease, held = context.Pipe(duplex=False)
    # The arguments go by a file: if a process ends at once, writing them to its full pipe would block forever.
    pool = ProcessPoolExecutor(n_jobs, context, _begin, (lease, begun))
    try:
        yield lambda function, items: _in_order((_submitted(pool, function, begun, i) for i in items), _AHEAD * n_jobs)
        pool.shutdown()
    except BrokenProcessPool as error:
        finding = "one could not start, or was ended from outside, probably for lack of memory"
        remedy = 'use fewer of them; in a script, start them below a line: if __name__ == "__main__":'
        raise SettingError("processes", finding, remedy) from error
    finally:
        # Closing the lease ends processes that still run: their results are not needed.
        held.close()
        # If a process ends while it sends a result, the pool would wait for the rest, because this process itself holds
        # the writing end of the pipe; so it is closed here.
        with suppress(AttributeError, OSError):
            pool._result_queue._writer.close()
        pool.shutdown(cancel_futures=True)
        lease.close()


def _submitted(pool, function, begun: Path, item):
    """Submit a task; a process started for it ignores Ctrl-C from its first moment, before `_begin` sets that."""
    if not hasattr(signal, "pthread_sigmask"):
        return pool.submit(_work, function, begun, item)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_work, function, begun, item)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_order(futures: Iterator, most: int) -> Iterator:
    waiting: deque = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _on_client(client, begun: bytes, function, items) -> Iterator:
    from distributed.scheduler import KilledWorker

    with warnings.catch_warnings():
        # Sent once, as a task, so that it is computed again if its worker dies. It may be large, such as training data.
        warnings.simplefilter("ignore", UserWarning)
        begun = client.submit(bytes, begun, pure=False)
    work = (client.submit(_work, function, begun, item, pure=False) for item in items)
    try:
        yield from _in_order(work, _AHEAD * max(1, sum(client.nthreads().values())))
    except KilledWorker as error:
        finding = "its workers died repeatedly at one task, probably for lack of memory"
        raise SettingError("--dask", finding, "give each worker more memory, or fewer threads") from error
    except CancelledError as error:
        finding = "the connection to its scheduler was lost"
        raise SettingError("--dask", finding, "see that it runs, and give the same command again") from error


@lru_cache(maxsize=1)
def _begun(begun: bytes | Path):
    return _started(*pickle.loads(begun.read_bytes() if isinstance(begun, Path) else begun))


def _work(function, begun: bytes | Path, item):
    """Run a task in a process or on a worker of a cluster; the result of `start` is kept for the next task."""
    return function(*_begun(begun), item)


@contextmanager
def cluster(address: str, n_jobs: int | None = None):
    """Yield a client of the `dask.distributed` scheduler at an address; "local" starts one on this machine, "" is None.

    A `SettingError`: no scheduler answers, it has no worker, or one with another version of distributed or cellcycle.
    """
    if not address:
        yield None
        return
    with needing("--dask", "needs a further package", "run: pip install 'cellcycle[cluster]'"):
        from distributed import Client, LocalCluster
    # A lost connection is an error here, so the client's long log of it is not needed.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        own = None
        if address == "local":
            about = {"n_workers": jobs_of(n_jobs), "threads_per_worker": 1, "preload": _DEAF}
            # No dashboard; a free port for the scheduler's HTTP server.
            about |= {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
            # Processes started here always ignore Ctrl-C; this one ignores it in the meantime.
            with handled(signal.SIGINT, signal.SIG_IGN):
                own = stack.enter_context(LocalCluster(silence_logs=logging.ERROR, **about))
        client, has_answered = Client.__new__(Client), False
        with suppress(Exception):  # an invalid address or unexpected answer may raise any exception
            client.__init__(own or address, timeout=_ANSWER_S)
            has_answered = True
        if not has_answered:
            # It is collected here: if it were collected later, in the thread of another starting client, the two would
            # wait for each other.
            with suppress(Exception):
                client.close()
            del client
            gc.collect()
            remedy = "start one with: dask scheduler, or give local"
            raise SettingError(f"--dask {address}", "no scheduler of this version answers there", remedy)
        stack.enter_context(client)
        _check_workers(client, address)
        yield client


@contextmanager
def handled(number: int, handler) -> Iterator[None]:
    """Use another handler for a signal in the block; in threads other than the main one nothing changes."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(number, handler) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(number, before)


def _check_workers(client, address: str) -> None:
    from importlib.metadata import version

    try:
        client.wait_for_workers(1, timeout=_ANSWER_S)
    except TimeoutError as error:
        finding, remedy = "no worker has joined its scheduler", f"start one with: dask worker {address} --nthreads 1"
        raise SettingError(f"--dask {address}", finding, remedy) from error
    for package in ("distributed", "cellcycle"):
        try:
            found = set(client.run(version, package).values())
        except Exception as error:  # the worker lacks the package, or its answer cannot be unpickled
            finding = f"a worker does not say its version of {package} ({type(error).__name__})"
            raise SettingError(f"--dask {address}", finding, "install the same packages there") from error
        if found != {version(package)}:
            finding = f"workers have {package} {', '.join(sorted(found))}, here it is {version(package)}"
            raise SettingError(f"--dask {address}", finding, "install the same version there")


def _begin(lease, begun: Path) -> None:
    """Initialize a process: it ends when the process that holds the lease closes it or dies, even by SIGKILL."""
    from multiprocessing.connection import wait

    def watch():
        wait([lease])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    # Ctrl-C reaches every process of a terminal; only the one that holds the lease handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _begun(begun)


def with_bar(results: Iterator, items, unit: str) -> Iterator:
    """Return the results; on a terminal, a progress bar is shown unless there are fewer than four items."""
    total = len(items) if hasattr(items, "__len__") else None
    if not sys.stderr.isatty() or (total is not None and total < _BAR_FROM):
        return results
    from tqdm import tqdm

    return tqdm(results, total=total, unit=unit, leave=False)

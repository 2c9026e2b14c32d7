"""Check and decode a file within limits of time and memory.

A process that is already confined, such as a worker of the website, has limits for everything, so none is set here.
On the command line, a file with plain compression is decoded in this process: the kernel refuses memory beyond the
limit, and an alarm stops a read that takes too long. This costs microseconds. Formats with complex decoders, such as
JPEG 2000, are decoded in a child process, which can be killed at any point.
"""

import contextlib
import os
import signal
import stat
import sys
import threading
from pathlib import Path

from cellcycle.confine import Confined, LimitError, is_confined, limit_memory
from cellcycle.errors import ImageError
from cellcycle.images.judge import judge, signature_of
from cellcycle.tasks import handled

# Limits for small files, in seconds and megabytes, and per megabyte of a larger file.
_SECONDS, _SECONDS_A_MB = 15.0, 0.5
_MEGABYTES, _MEGABYTES_A_MB = 1_900.0, 120.0
MOST_FILES = 500_000
_kept: list[Confined] = []
_one_at_a_time = threading.Lock()


class _OutOfTime(BaseException):
    """Raised by the alarm; no `except Exception` of a decoder swallows it."""


def limits_of(file_bytes: int) -> tuple[float, float]:
    """Return the seconds and megabytes that a file of this size may take.

    Examples
    --------
    >>> limits_of(1_000_000)
    (15.0, 1900.0)
    """
    megabytes = file_bytes / 1e6
    return max(_SECONDS, _SECONDS_A_MB * megabytes), max(_MEGABYTES, _MEGABYTES_A_MB * megabytes)


def bytes_of(path) -> int:
    """Return the size in bytes of a file, or of all files in an OME-Zarr folder; refuse links and pipes in a folder."""
    if not os.path.isdir(path):
        return os.stat(path).st_size
    n_bytes = n_files = 0
    for root, folders, names in os.walk(path):
        for name in (*folders, *names):
            found = os.lstat(os.path.join(root, name))
            n_files += 1
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                raise ImageError(path, f"{name} in it is a link, pipe or device", "copy the whole store")
            n_bytes += found.st_size if stat.S_ISREG(found.st_mode) else 0
        if n_files > MOST_FILES:
            raise ImageError(path, f"it has more than {MOST_FILES:,} files", "export it with larger chunks")
    return n_bytes


def _child(seconds: float, megabytes: float) -> Confined:
    """Return a child process with about these limits; it is kept for the next file, since a start takes 0.3 s."""
    # Files of a folder differ a little in size; with some room one child serves them all.
    room = 1.5 if megabytes > _MEGABYTES else 1
    if not _kept or not megabytes <= _kept[0].megabytes <= 1.5 * room * megabytes:
        while _kept:
            _kept.pop().close()
        # This first call makes the child import this package before the memory limit is set.
        _kept.append(Confined(seconds, room * megabytes, signature_of, (Path(os.sep),)))
    _kept[0].seconds = seconds
    return _kept[0]


def read_bounded(function, path, *arguments):
    """Check a file by `judge`, then return `function(path, *arguments)`, both within limits, or raise `ImageError`."""
    if is_confined():
        judge(path)
        return function(path, *arguments)
    # First refuse a path that is no file or cannot be opened: it has no size.
    signature_of(Path(path))
    seconds, megabytes = limits_of(bytes_of(path))
    task = function, path, *arguments
    try:
        # The limits and standard error of a process are shared by all its threads: only the main thread sets them.
        if threading.current_thread() is threading.main_thread():
            with _alarm(seconds), _memory(megabytes):
                if judge(path):
                    return function(path, *arguments)
        else:
            task = read_bounded, *task
        with _one_at_a_time:
            return _child(seconds, megabytes)(*task)
    except _OutOfTime:
        raise ImageError(path, f"it takes more than {seconds:.0f} s to read", "export it again") from None
    except LimitError as error:
        raise ImageError(path, error.finding, error.remedy) from error


@contextlib.contextmanager
def _alarm(seconds: float):
    """Raise `_OutOfTime` in the block after `seconds`, unless another alarm is set or the system has no alarms."""
    if not hasattr(signal, "setitimer") or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def stop(*_):
        raise _OutOfTime

    with handled(signal.SIGALRM, stop):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _memory(megabytes: float):
    """Let the kernel refuse memory beyond what the process already has plus `megabytes`; on Linux only."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    limit_memory(megabytes)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def quiet():
    """Hide what C libraries print on standard error in the block: an error of ours says what is wrong with a file."""
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)

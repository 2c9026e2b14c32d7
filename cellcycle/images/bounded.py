"""Reading within limits: whatever the judgement of a file, or its decoder, does ends in time and memory.

In a process that is confined already, as those of the website are, the limits hold for everything and none is set
here. On the command line a plainly packed file is decoded in this process, inside a window: the kernel refuses
memory beyond it, and an alarm ends what takes too long; that costs microseconds. Formats whose decoders do more than
unpack, JPEG 2000 and its like, are decoded in a child, which can be ended whatever it does.
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

# Small files may take this much; larger ones as much as their own size can explain.
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
    """Return the size of a file, or of all files in the folder of an OME-Zarr; links and pipes in it are refused."""
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
    """Return a child with about these limits; it stays for the next file: to start one takes a third of a second."""
    # With room to spare: files of a folder differ a little in size.
    room = 1.5 if megabytes > _MEGABYTES else 1
    if not _kept or not megabytes <= _kept[0].megabytes <= 1.5 * room * megabytes:
        while _kept:
            _kept.pop().close()
        # What it calls first has it import this package, which no limit should count.
        _kept.append(Confined(seconds, room * megabytes, signature_of, (Path(os.sep),)))
    _kept[0].seconds = seconds
    return _kept[0]


def read_bounded(function, path, *arguments):
    """Judge a file, then return `function(path, *arguments)`, both within the limits of the file, or refuse it."""
    if is_confined():
        judge(path)
        return function(path, *arguments)
    # What is no file, or may not be opened, has no size.
    signature_of(Path(path))
    seconds, megabytes = limits_of(bytes_of(path))
    task = function, path, *arguments
    try:
        # Limits of a process, and its standard error, are those of all its threads: only the first sets them.
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
    """Raise `_OutOfTime` after some seconds, unless another alarm is set, or the system has none."""
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
    """Let the kernel refuse memory beyond what the process has and this; on Linux alone."""
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
    """Keep what a C library prints from standard error: one line of ours says what is wrong with a file."""
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

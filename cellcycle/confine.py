"""Call functions in a child process with limits on time and memory, for work on untrusted files.

The child is a new Python process, not a fork, because a caller may have threads. It answers one call at a time and
ends with its parent, however the parent ends. Its output is discarded.
"""

import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from cellcycle.errors import LimitError

_CHILD = "import sys; sys.path[:] = eval(sys.argv[1]); from cellcycle import confine; confine._serve(int(sys.argv[2]))"
# Seconds for a start: it imports from a cold disk and may take longer than the calls that follow.
_START_S = 120
_WATCH_S = 0.05
_TOO_LARGE = 77
_MEGABYTE = 1_000_000
_HAS_ASYNC = sys.platform == "linux" and hasattr(os, "O_ASYNC")
_is_child = False


class Confined(AbstractContextManager):
    """A child process that answers calls within limits; it is replaced after a `LimitError`, which reports a breach.

    Calls of several threads wait for each other. `megabytes` are in addition to the memory that the child uses after
    its start: address space on Linux, elsewhere resident memory, checked twenty times a second. `start` is called once
    in each new child before its first call, for imports or to load a model.

    Examples
    --------
    >>> import math
    >>> with Confined(seconds=60, megabytes=500) as confined:
    ...     confined(math.hypot, 3, 4)
    5.0
    """

    def __init__(self, seconds: float, megabytes: float, start=None, start_arguments: tuple = ()):
        self.seconds, self.megabytes = seconds, megabytes
        self._start = (start, tuple(start_arguments), megabytes)
        self._lock, self._is_closed = threading.Lock(), False
        self._child: _Child | None = _Child(self._start)

    def __call__(self, function, *arguments):
        """Return `function(*arguments)`; function, arguments and result are pickled. Its exceptions are raised here."""
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the child was closed")
            answer = self._ready().answer(self.seconds, (function, arguments))
            if isinstance(answer, _Breach) or isinstance(answer[1], MemoryError):
                self._end()
                if not self._is_closed:
                    self._child = _Child(self._start)
                raise self._limit_error(function, arguments, answer)
        result, error = answer
        if error is not None:
            raise error
        return result

    def renew(self) -> None:
        """End the child; the next call starts a new one."""
        with self._lock:
            self._end()

    def close(self) -> None:
        """End the child, even during a call."""
        self._is_closed = True
        if self._child is not None:
            self._child.kill()
        with self._lock:
            self._end()

    def __exit__(self, *_) -> None:
        self.close()

    def _ready(self) -> "_Child":
        """Return a child that has started successfully."""
        if self._child is not None and self._child.has_ended():
            self._end()
        self._child = self._child or _Child(self._start)
        answer = self._child.started()
        if isinstance(answer, _Breach) or answer[1] is not None:
            self._end()
            if isinstance(answer, _Breach):
                raise self._limit_error(self._start[0], (), answer)
            raise answer[1]
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _limit_error(self, function, arguments: tuple, answer) -> LimitError:
        subject = next((str(a) for a in arguments[:1] if isinstance(a, str | Path)), None)
        subject = subject or getattr(function, "__name__", "the reader")
        if isinstance(answer, _Breach) and answer.is_late:
            return LimitError(subject, f"it took longer than {self.seconds:g} s", "give a smaller or simpler one")
        if not isinstance(answer, _Breach) or answer.code == _TOO_LARGE:
            return LimitError(subject, f"it needs more than {self.megabytes:g} MB", "give a smaller or simpler one")
        return LimitError(subject, f"it ended the process that worked on it ({answer.code})", "export it again")


def is_confined() -> bool:
    """Return whether this process is the child of a `Confined`, whose limits hold for everything it does."""
    return _is_child


class _Breach:
    """No answer came: the time limit passed, or the child ended."""

    def __init__(self, is_late: bool, code: int | None):
        self.is_late, self.code = is_late, code


class _Child:
    """One child process, from its start to its end."""

    def __init__(self, start: tuple):
        # Nothing is written to this pipe; it closes when the parent ends.
        life, self._life = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, repr(sys.path), str(life)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(life,) if _HAS_ASYNC else (),
        )
        os.close(life)
        self._first = None
        with suppress(OSError):
            _write(self._process.stdin, start)

    def started(self):
        """Return the answer of the start; the first call waits for it, and its time limit begins then."""
        if self._first is None:
            self._first = self.answer(_START_S)
        return self._first

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        self._process.kill()
        life, self._life = self._life, None
        if life is not None:
            os.close(life)
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()
        self._process.wait()

    def answer(self, seconds: float, call: tuple | None = None):
        """Send a call; return (result, error), or a `_Breach` if the child ends or the timer kills it."""
        late = threading.Event()
        timer = threading.Timer(max(seconds, 0), lambda: (late.set(), self._process.kill()))
        timer.daemon = True
        timer.start()
        try:
            if call is not None:
                _write(self._process.stdin, call)
            return _read(self._process.stdout)
        except (OSError, EOFError):
            try:
                # The child is ending; its exit code tells why.
                code = self._process.wait(1)
            except subprocess.TimeoutExpired:
                self._process.kill()
                code = self._process.wait()
            return _Breach(late.is_set(), code)
        finally:
            timer.cancel()


def _write(file, value) -> None:
    """Write a pickled value, with large buffers out of band so that images are not copied in memory."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [head, *(buffer.raw() for buffer in buffers)]
    file.write(struct.pack(f"<{len(parts) + 1}Q", len(parts), *(len(part) for part in parts)))
    for part in parts:
        file.write(part)
    file.flush()


def _read(file):
    """Read a value written by `_write`; raise EOFError if the other end was closed."""
    (n_parts,) = struct.unpack("<Q", _exactly(file, 8))
    sizes = struct.unpack(f"<{n_parts}Q", _exactly(file, 8 * n_parts))
    head, *buffers = [_exactly(file, size) for size in sizes]
    return pickle.loads(head, buffers=buffers)


def _exactly(file, size: int) -> bytearray:
    part = bytearray(size)
    if file.readinto(part) != size:
        raise EOFError
    return part


def _serve(life: int) -> None:
    """Answer calls until the parent closes the pipe or ends (this runs in the child)."""
    global _is_child
    _is_child = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _HAS_ASYNC:
        _end_with_parent(life)
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    calls: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(calls,), daemon=True).start()
    start, arguments, megabytes = calls.get()
    _send_answer(answers, start or bool, arguments)
    limit_memory(megabytes)
    while True:
        _send_answer(answers, *calls.get())


def _receive(calls: queue.SimpleQueue) -> None:
    """Put the calls of the parent into the queue; end this process when the parent ends."""
    while True:
        try:
            call = _read(sys.stdin.buffer)
        except (EOFError, OSError):
            os._exit(1)
        except Exception as error:
            # A call that cannot be unpickled is an error of its own; the next one is read as usual.
            call = _raise, (error,)
        calls.put(call)


def _raise(error: Exception):
    raise error


def _send_answer(answers, function, arguments: tuple) -> None:
    try:
        answer = (function(*arguments), None)
    except MemoryError:
        answer = (None, MemoryError())
    except BaseException as error:
        answer = (None, _sendable(error))
    try:
        _write(answers, answer)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        _write(answers, (None, RuntimeError(f"the answer cannot be sent: {error!r}"[:500])))


def _sendable(error: BaseException) -> Exception:
    """Return the error itself if it can be pickled, else a RuntimeError with its message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


def _end_with_parent(life: int) -> None:
    """Let the system end this process when the parent's end of a pipe closes, even if C code holds the GIL.

    (The parent-death signal of Linux would come when the thread that created this process ends.)
    """
    import fcntl

    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def limit_memory(megabytes: float) -> None:
    """Limit this process to `megabytes` more memory than it has: on Linux the kernel refuses more, else it ends."""
    allowed = int(megabytes * _MEGABYTE)
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + allowed
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if soft < 0 else min(limit, soft), hard))
        return
    import psutil

    process = psutil.Process()
    limit = process.memory_info().rss + allowed

    def watch() -> None:
        while process.memory_info().rss <= limit:
            time.sleep(_WATCH_S)
        os._exit(_TOO_LARGE)

    threading.Thread(target=watch, daemon=True).start()

"""Calls in a child process with limits on time and memory, for what strangers' files do to decoders.

The kernel holds the limits, not the interpreter: a decoder that never returns is ended all the same, also when the
parent has died meanwhile.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable

from cellcycle.errors import CellCycleError

# A child may end a call by itself; the parent looks a little later, so that only one of them does.
_GRACE_S = 2.0
_START_S = 120.0
_is_child = False


class LimitError(CellCycleError):
    """A call took more time or memory than it was allowed, or brought its process down."""


class Confined:
    """A child process that answers calls one at a time; it is ended and replaced when a call passes a limit.

    Parameters
    ----------
    seconds : float
        Wall-clock time of one call.
    megabytes : float
        Memory that a call may take beyond what the child has after `start`. Held on Linux, where the kernel limits
        the address space; elsewhere only time is limited.
    start : callable, optional
        Called once in each child with `start_arguments`, before the first call.
    method : {"spawn", "fork"}, optional
        How the child comes to be. "fork" starts in milliseconds and is safe only where the caller has one thread.

    Examples
    --------
    >>> with Confined(seconds=10, megabytes=500) as confined:
    ...     confined(len, "abc")
    3
    """

    def __init__(self, seconds, megabytes, start: Callable | None = None, start_arguments=(), method="spawn"):
        self._limits = float(seconds), float(megabytes)
        self._start, self._context = (start, tuple(start_arguments)), multiprocessing.get_context(method)
        self._lock = threading.Lock()
        self._is_closed = False
        self._launch()

    def __call__(self, function: Callable, *arguments):
        """Return `function(*arguments)`, computed in the child; all of them must be importable or picklable.

        Raises
        ------
        LimitError
            The call passed a limit or ended the child.
        Exception
            Whatever the function raised.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the child was closed")
            try:
                if not self._is_ready:
                    # A child that failed to start says why here.
                    self._answer(_START_S)
                    self._is_ready = True
                self._pipe.send((function, arguments))
                return self._answer(self._limits[0] + _GRACE_S)
            except (EOFError, OSError):
                finding = self._end()
                self._launch()
                raise LimitError(_name(arguments), finding, "leave it out, or export it again") from None

    def _answer(self, seconds: float):
        if not self._pipe.poll(seconds):
            raise EOFError
        is_error, answer = self._pipe.recv()
        if not is_error:
            return answer
        if isinstance(answer, MemoryError):
            # What is left of the address space may be too little for the next call.
            raise EOFError from answer
        raise answer

    def _launch(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        # Nobody writes into this one: its end tells the child that the parent is gone.
        lifeline, self._lifeline = self._context.Pipe(duplex=False)
        self._process = self._context.Process(
            target=_serve, args=(theirs, lifeline, self._limits, *self._start), daemon=True
        )
        self._process.start()
        theirs.close()
        lifeline.close()
        self._is_ready = False

    def _end(self) -> str:
        """End the child; return what became of it in words."""
        self._process.join(0.2)
        code = self._process.exitcode
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._lifeline.close()
        seconds, megabytes = self._limits
        if code is None:
            return f"it takes more than {seconds:g} s or {megabytes:g} MB"
        if code == -signal.SIGALRM:
            return f"it takes more than {seconds:g} s"
        return f"it ends the process that reads it (code {code})"

    def close(self) -> None:
        """End the child."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._end()

    def __enter__(self):
        """Return the object itself."""
        return self

    def __exit__(self, *error):
        """End the child."""
        self.close()


def is_confined() -> bool:
    """Return whether this process is the child of a `Confined`, whose limits hold for everything it does."""
    return _is_child


def _name(arguments) -> str:
    named = [a for a in arguments if isinstance(a, str | os.PathLike)]
    return str(named[0]) if named else "the call"


def _serve(pipe, lifeline, limits, start, start_arguments) -> None:
    """Answer calls until the parent is gone; the body of the child."""
    global _is_child
    _is_child = True
    seconds, megabytes = limits
    # Ctrl-C reaches the whole group of processes; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    try:
        if start is not None:
            start(*start_arguments)
    except Exception as error:
        _send(pipe, True, error)
        return
    _limit_memory(megabytes)
    pipe.send((False, None))
    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            with _alarm(seconds):
                answer = False, function(*arguments)
        except Exception as error:
            answer = True, error
        _send(pipe, *answer)


def _send(pipe, is_error: bool, answer) -> None:
    try:
        pipe.send((is_error, answer))
    except (TypeError, AttributeError, ValueError, MemoryError) as error:
        pipe.send((True, RuntimeError(f"the answer cannot be sent: {error!r}"[:500])))
    except Exception:
        pipe.send((True, RuntimeError(repr(answer)[:500])))


def _die_with_parent(lifeline) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(1)


@contextlib.contextmanager
def _alarm(seconds: float):
    """Let the kernel end this process after `seconds`: no handler, which code that never returns would hold up."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _limit_memory(megabytes: float) -> None:
    if not sys.platform.startswith("linux"):
        return
    import resource

    with open("/proc/self/statm") as status:
        used = int(status.read().split()[0]) * resource.getpagesize()
    most = int(used + megabytes * 1e6)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))

"""Read one file in a child process and check that the reader behaves as promised."""

import math
import os
import resource
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellcycle.confine import Confined
from cellcycle.errors import CellCycleError, LimitError
from cellcycle.images import read_plane

SECONDS, MEGABYTES = 20, 2000
_LONGEST_LINE = 600
# Paths that may be opened: those of imports, and files of the kernel on this process.
_OWN = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), "/proc/", "/sys/", os.devnull)
_STARTS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "socket.connect")
_touched: list[str] = []


@dataclass(frozen=True)
class Verdict:
    """The outcome for one file: "read", "refused", or "finding", with the problem in `told`."""

    outcome: str
    told: str
    seconds: float = 0.0
    megabytes: float = 0.0


class Judge:
    """Reads files one at a time in a child process with limits; a context manager."""

    def __init__(self, seconds: float = SECONDS, megabytes: float = MEGABYTES):
        self._confined = Confined(seconds, megabytes, start=watch)

    def __call__(self, path: Path, reader=read_plane) -> Verdict:
        """Return the verdict on a file; `reader` must be importable."""
        started = time.perf_counter()
        try:
            return self._confined(look, path, reader)
        except LimitError as error:
            return Verdict("finding", error.finding, time.perf_counter() - started)

    def __enter__(self):
        """Return the judge."""
        return self

    def __exit__(self, *error):
        """End the child."""
        self._confined.close()


def watch() -> None:
    """Start to record what this process opens, starts and writes to standard error; call once, in the child."""
    sys.addaudithook(_note)
    warnings.simplefilter("always")
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)


def look(path: Path, reader=read_plane) -> Verdict:
    """Read a file with defaults, then with channel and plane given, which also decodes files of many planes."""
    before, started = _peak_mb(anew=True), time.perf_counter()
    _touched.clear()
    answers = [_answer(reader, path), _answer(reader, path, channel=0, plane=0)]
    touched = {name for name in _touched if not name.startswith((str(path), *_OWN))}
    seconds, megabytes = time.perf_counter() - started, max(0.0, _peak_mb() - before)
    outcome, told = next((a for a in answers if a[0] == "finding"), answers[0])
    if touched:
        outcome, told = "finding", f"it touches {', '.join(sorted(touched))}"[:300]
    elif (said := _said()) and outcome != "finding":
        outcome, told = "finding", f"it says on standard error: {said}"
    return Verdict(outcome, told, seconds, megabytes)


def _answer(reader, path: Path, **asked) -> tuple[str, str]:
    """Return the outcome of one call, and its message or problem."""
    try:
        plane = reader(path, **asked)
    except CellCycleError as error:
        fault = _fault_of_line(error, path)
        return ("finding", fault) if fault else ("refused", str(error))
    except MemoryError:
        raise
    except Exception as error:
        return "finding", f"{type(error).__name__}: {error}"[:300]
    fault = _fault_of_plane(plane)
    return ("finding", fault) if fault else ("read", "")


def _fault_of_line(error: CellCycleError, path: Path) -> str:
    """Return the problem of a refusal, "" if it is one line, names the file, and no MemoryError caused it."""
    line = str(error)
    if "\n" in line or not line.isprintable() or len(line) > _LONGEST_LINE + len(str(path)):
        return f"its refusal is not one line of text: {line[:300]!r}"
    if path.name not in line:
        return f"its refusal does not name the file: {line}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return f"it asks for more than {MEGABYTES} MB at once ({line})"
        cause = cause.__cause__ or cause.__context__
    return ""


def _fault_of_plane(plane) -> str:
    """Return the problem of a plane that was read, "" if it is valid."""
    pixels, size_um = plane.pixels, plane.pixel_size_um
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.float32 or pixels.ndim != 2 or not pixels.size:
        return f"its pixels are {getattr(pixels, 'dtype', type(pixels))} of shape {getattr(pixels, 'shape', None)}"
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        return f"its pixels lie between {pixels.min()} and {pixels.max()}"
    if size_um is not None and not (math.isfinite(size_um) and 1e-4 < size_um < 1e3):
        return f"its pixels are {size_um} um large"
    if plane.bit_depth not in (8, 16, 32, 64) or plane.channel not in plane.channels or plane.n_planes < 1:
        return f"it has {plane.bit_depth} bits, {plane.n_planes} planes and channel {plane.channel!r}"
    return ""


def _peak_mb(anew: bool = False) -> float:
    """Return the peak memory of this process in MB; `anew` resets the peak first (on Linux)."""
    if anew and sys.platform.startswith("linux"):
        Path("/proc/self/clear_refs").write_text("5")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _note(event: str, arguments) -> None:
    if event == "open" and not isinstance(arguments[0], int | None):
        _touched.append(os.fsdecode(arguments[0]))
    elif event in _STARTS:
        _touched.append(f"{event}{arguments[:2]}")


def _said() -> str:
    """Return the text on standard error since the last call, also from C code."""
    size = os.fstat(2).st_size
    if not size:
        return ""
    said = os.pread(2, 200, 0).decode(errors="replace")
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    return repr(said.strip())

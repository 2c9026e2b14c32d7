"""Calls in a child process: limits, crashes, errors that come back, and no child without its parent."""

import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cellcycle.confine import Confined, is_confined
from cellcycle.errors import ImageError, LimitError

_memory = []


def wait(seconds):
    time.sleep(seconds)


def hold(megabytes):
    _memory.append(bytearray(int(megabytes * 1e6)))
    return len(_memory)


def end(code):
    os._exit(code)


def chatter():
    os.write(1, b"to standard output")
    os.write(2, b"to standard error")
    print("printed")
    return "said"


def unreadable(path):
    raise ImageError(path, "the file is empty", "export the image again")


def remember(word):
    _memory.append(word)


def remembered():
    return list(_memory)


class Unreadable:
    def __reduce__(self):
        return int, ("no number",)


@pytest.fixture(scope="module")
def confined():
    with Confined(seconds=2, megabytes=300, start=remember, start_arguments=("ready",)) as confined:
        yield confined


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "finding"),
    [((wait, 60), "longer than 2 s"), ((hold, 400), "more than 300 MB"), ((end, 3), r"ended the process.*\(3\)")],
)
def test_a_breach_is_one_line_and_the_next_call_is_answered(confined, call, finding):
    with pytest.raises(LimitError, match=finding) as caught:
        confined(*call)
    assert "\n" not in str(caught.value)
    assert confined(math.hypot, 3, 4) == 5
    assert confined(remembered) == ["ready"], "the new child was started like the first"


@pytest.mark.slow
def test_memory_within_the_limit_is_given(confined):
    assert confined(hold, 100) >= 1


def test_errors_come_back_as_they_are(confined):
    with pytest.raises(ImageError) as caught:
        confined(unreadable, "a.png")
    assert caught.value.subject == "a.png" and caught.value.remedy == "export the image again"
    with pytest.raises(ZeroDivisionError):
        confined(divmod, 1, 0)


def unsendable():
    return lambda: None


def test_an_answer_that_cannot_be_sent_is_an_error_of_its_own(confined):
    with pytest.raises(RuntimeError, match="cannot be sent"):
        confined(unsendable)


def double(array):
    return 2 * array


@pytest.mark.slow
def test_after_a_call_that_cannot_be_read_the_next_is_answered(confined):
    with pytest.raises(ValueError, match="no number"):
        confined(len, Unreadable())
    assert confined(math.hypot, 3, 4) == 5


def test_large_arrays_go_and_come_whole(confined):
    array = np.arange(3_000_000, dtype=np.float64).reshape(1000, 3000)
    np.testing.assert_array_equal(confined(double, array), 2 * array)


def test_the_child_knows_that_it_is_one(confined):
    assert confined(is_confined) and not is_confined()


@pytest.mark.slow
def test_closing_ends_a_call_that_is_at_work():
    confined = Confined(60, 300)
    confined(math.sqrt, 4)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(confined, wait, 60)
        time.sleep(0.2)
        confined.close()
        with pytest.raises(LimitError, match="ended the process"):
            call.result(timeout=10)
    with pytest.raises(RuntimeError, match="closed"):
        confined(math.sqrt, 4)


def test_what_a_call_prints_is_dropped(confined, capfd):
    assert confined(chatter) == "said"
    assert capfd.readouterr() == ("", "")


def test_calls_of_threads_wait_for_each_other(confined):
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda n: confined(math.sqrt, n * n), range(20))) == list(range(20))


@pytest.mark.slow
def test_a_child_that_was_ended_from_outside_is_replaced(confined):
    os.kill(confined(os.getpid), signal.SIGTERM)
    time.sleep(0.2)
    assert confined(math.sqrt, 4) == 2


def test_a_child_first_asked_long_after_its_birth_answers(monkeypatch):
    born = time.monotonic()
    with Confined(60, 300) as confined:
        monkeypatch.setattr(time, "monotonic", lambda: born + 3600)
        assert confined(math.hypot, 3, 4) == 5


@pytest.mark.slow
def test_a_start_that_fails_says_why():
    with Confined(5, 300, unreadable, ("model",)) as confined:
        for _ in range(2):
            with pytest.raises(ImageError, match="model"):
                confined(math.sqrt, 4)


# The parent starts a call that never ends (in Python, and in C code that holds the GIL) and is killed.
_PARENT = """
import os, sys, threading, time
from cellcycle.confine import Confined
confined = Confined(100, 300)
print(confined(os.getpid), flush=True)
call = {"idle": None, "python": (time.sleep, 100), "c": (pow, 7, 10**9)}[sys.argv[1]]
if call:
    threading.Thread(target=confined, args=call, daemon=True).start()
time.sleep(100)
"""


@pytest.mark.slow
@pytest.mark.parametrize("work", ["idle", "python", pytest.param("c", marks=pytest.mark.skipif(
    sys.platform != "linux", reason="needs the signal of a closed pipe"))])  # fmt: skip
def test_no_child_outlives_a_parent_that_is_killed(work):
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, work], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(child)


def is_running(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process_id}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


@pytest.mark.slow
def test_how_a_child_ended_is_told_as_it_was(confined):
    with pytest.raises(LimitError, match=r"ended the process that worked on it \(3\)"):
        confined(end, 3)
    with pytest.raises(LimitError, match=rf"\({-signal.SIGTERM}\)"):
        confined(signal.raise_signal, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="how the system tells of the end of a parent")
def test_no_call_ends_its_child_however_many_follow(confined):
    """What the parent sends must never be taken for its end."""
    big = np.zeros(200_000)
    assert all(confined(len, big) == len(big) for _ in range(300))

"""Calls in a child process: limits hold, the next call is answered, and nothing outlives the parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cellcycle.confine import Confined, LimitError, is_confined
from cellcycle.errors import ImageError


@pytest.fixture(scope="module")
def confined():
    with Confined(seconds=0.5, megabytes=300, start=remember, start_arguments=(7,)) as made:
        yield made


_remembered = []


def remember(number):
    _remembered.append(number)


def remembered():
    return _remembered


def refuse(path):
    raise ImageError(path, "not an image", "give another")


def spin():
    while True:
        pass


def wait_in_c():
    # A call that holds no interpreter and runs no handler.
    time.sleep(60)


def take(megabytes):
    return len(bytearray(megabytes * 1_000_000))


def unsendable():
    return lambda: None


def test_a_call_is_answered_after_the_start(confined):
    assert confined(remembered) == [7]
    assert confined(is_confined) and not is_confined()


def test_errors_come_back_as_they_are(confined):
    with pytest.raises(ImageError, match=r"a\.png: not an image; give another"):
        confined(refuse, "a.png")
    with pytest.raises(RuntimeError, match="cannot be sent"):
        confined(unsendable)


@pytest.mark.parametrize(
    ("call", "finding"),
    [
        ((spin,), "more than 0.5 s"),
        ((wait_in_c,), "more than 0.5 s"),
        ((take, 400), "300 MB"),
        ((os._exit, 3), "code 3"),
        ((os.abort,), "ends the process"),
    ],
    ids=["loop", "outside-the-interpreter", "memory", "exit", "abort"],
)
def test_a_breach_is_one_line_and_the_next_call_is_answered(confined, call, finding):
    with pytest.raises(LimitError, match=finding) as found:
        confined(*call)
    assert "\n" not in str(found.value)
    assert confined(take, 100) == 100_000_000
    assert confined(remembered) == [7]


def test_a_failed_start_says_why():
    with Confined(1, 100, start=refuse, start_arguments=("model",)) as broken, pytest.raises(ImageError, match="model"):
        broken(len, "")


@pytest.mark.skipif(sys.platform == "win32", reason="uses SIGKILL")
def test_the_child_ends_with_a_killed_parent():
    code = (
        "import os, time\nfrom cellcycle.confine import Confined\n"
        "if __name__ == '__main__':\n"
        "    c = Confined(60, 500)\n    print(c(os.getpid), flush=True)\n    c(time.sleep, 50)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if is_zombie(child):
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child lives on")


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True

"""One runner of many tasks: in order, lazily, and no process outlives its parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cellcycle import tasks
from cellcycle.errors import DataError, SettingError


def with_start(started, item):
    return started + item


def start(base):
    return 10 * base


def shout(item):
    if item == 2:
        raise DataError("two", "was given", "give another")
    return item


def die(item):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_results_come_in_order_with_what_start_made(n_jobs):
    made = tasks.run(with_start, range(8), n_jobs, start=start, start_arguments=(7,))
    assert list(made) == list(range(70, 78))


def waits_for_ctrl_c(item):
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.slow
def test_a_process_is_deaf_to_ctrl_c_before_it_can_be_taught_so():
    assert all(tasks.run(waits_for_ctrl_c, range(2), 2))
    assert not waits_for_ctrl_c(0)


def leave_mark(folder):
    open(f"{folder}/{os.getpid()}", "w").close()


def wait_a_little(started, item):
    time.sleep(0.2)
    return item


@pytest.mark.slow
def test_processes_start_once_for_several_steps(tmp_path):
    with tasks.workers(2, start=leave_mark, start_arguments=(str(tmp_path),)) as do:
        for _ in range(2):
            assert list(do(wait_a_little, range(6))) == list(range(6))
    assert len(list(tmp_path.iterdir())) == 2


def test_items_are_read_as_they_are_needed():
    read = []
    results = tasks.run(abs, (read.append(i) or i for i in range(1000)), 2)
    next(results)
    results.close()
    assert len(read) < 10


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_arrives_as_it_was_raised(n_jobs):
    results = tasks.run(shout, range(6), n_jobs)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(DataError, match="two: was given"):
        next(results)


@pytest.mark.slow
def test_a_process_that_was_ended_is_one_line():
    with pytest.raises(SettingError, match="ended from outside"):
        list(tasks.run(die, [1, 2], 2))


@pytest.mark.slow
def test_a_script_without_the_guard_of_its_main_module_is_told_so_however_much_is_handed_over(tmp_path):
    call = "list(t.tasks.run(t.with_start, [much] * 4, 2, start=t.start, start_arguments=(much,)))"
    (tmp_path / "run.py").write_text(f"import tests.test_tasks as t\nmuch = bytes(10**6)\n{call}")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, tmp_path / "run.py"], env=environment, capture_output=True, timeout=100)
    # What tracks the resources of the processes may have its word after it.
    assert any(b"SettingError" in line and b"__main__" in line for line in ended.stderr.splitlines())


def test_nothing_is_drawn_where_no_terminal_is(capsys):
    assert list(tasks.with_bar(tasks.run(abs, range(9)), range(9), "image")) == list(range(9))
    assert capsys.readouterr() == ("", "")


def alive(pid: int) -> bool:
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_their_parent(tmp_path, end):
    code = (
        "import tests.test_tasks as t\n"
        f"if __name__ == '__main__':\n    list(t.tasks.run(t.linger, [{str(tmp_path)!r}] * 4, 2))"
    )
    (tmp_path / "run.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # What a shell starts in the background is deaf to Ctrl-C, and so is what that starts.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    quiet = {"env": environment, "stderr": subprocess.DEVNULL}
    parent = subprocess.Popen([sys.executable, tmp_path / "run.py"], **quiet, **heard)
    wait_for(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    parent.send_signal(end)
    parent.wait(30)
    pids = [int(f.name[4:]) for f in tmp_path.glob("pid-*")]
    wait_for(lambda: not any(map(alive, pids)))


def linger(folder):
    open(f"{folder}/pid-{os.getpid()}", "w").close()
    time.sleep(600)


def wait_for(condition, most_s=60):
    until = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def large(_):
    return bytes(30_000_000)


@pytest.mark.slow
def test_processes_that_end_while_they_hand_over_a_result_are_not_waited_for(tmp_path):
    code = "import tests.test_tasks as t\nif __name__ == '__main__':\n    next(t.tasks.run(t.large, range(9), 2))"
    (tmp_path / "run.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(3):
        subprocess.run([sys.executable, tmp_path / "run.py"], env=environment, check=True, timeout=60)

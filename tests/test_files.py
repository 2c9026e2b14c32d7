"""Files and folders are written whole or not at all, with their modes, and leftovers of dead runs go."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cellcycle import files
from cellcycle.datasets import load_dataset
from cellcycle.errors import ImageError, SettingError

UNFINISHED = ".unfinished-*"


def write(path, text="new"):
    with files.whole_file(path) as work:
        work.write_text(text)


def test_a_file_appears_when_it_is_whole(tmp_path):
    with files.whole_file(tmp_path / "a.csv") as work:
        work.write_text("x")
        assert work.suffix == ".csv" and not (tmp_path / "a.csv").exists()
    assert (tmp_path / "a.csv").read_text() == "x" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_stood_there_stays_when_the_work_fails(tmp_path, error):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(error), files.whole_file(tmp_path / "a.csv") as work:
        work.write_text("half")
        raise error
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("a.csv", "old")]


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write(tmp_path / "a")
        with files.whole_folder(tmp_path / "b") as work:
            (work / "c").touch()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o777 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_replaced_file_keeps_its_mode(tmp_path, mode):
    (tmp_path / "a").touch()
    (tmp_path / "a").chmod(mode)
    write(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path, exists):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "t.csv", tmp_path / "l.csv"
    if exists:
        target.write_text("old")
    link.symlink_to(target)
    write(link)
    assert link.is_symlink() and target.read_text() == "new"


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    write(tmp_path / "pipe")
    reader.join(10)
    assert got == ["new"] and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_is_written_to():
    write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "out"])
def test_standard_output_that_is_a_file_is_written_on(tmp_path, name):
    with open(tmp_path / "out", "w") as out:
        say(tmp_path / "out" if name == "out" else name, stdout=out)
    assert (tmp_path / "out").read_text() == "a\nb"


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_that_is_a_pipe_is_written_to(name):
    assert say(name, stdout=subprocess.PIPE).stdout == b"a\nb"


def say(path, stdout):
    code = f"from cellcycle import files\nprint('a')\nwith files.whole_file({str(path)!r}) as w: w.write_text('b')"
    return subprocess.run([sys.executable, "-c", code], stdout=stdout, check=True)


@pytest.mark.parametrize(
    "make", [lambda f: f / "no" / "a.csv", lambda f: f, lambda f: f / ("n" * 300), lambda f: f / "f" / "a"]
)
def test_an_impossible_place_is_said_before_the_work(tmp_path, make):
    (tmp_path / "f").touch()
    with pytest.raises(SettingError) as said, files.whole_file(make(tmp_path)):
        pytest.fail("the work was begun")
    assert "\n" not in str(said.value)


def test_a_folder_for_caches_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "f").touch()
    for place in (tmp_path / "f" / "a", tmp_path / ("n" * 260)):
        monkeypatch.setenv("CELLCYCLE_OUTPUT", str(place))
        with pytest.raises(SettingError, match=r"cannot be made .* name another in CELLCYCLE_OUTPUT"):
            load_dataset("simulated")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_up_is_one_line(tmp_path, number):
    for whole in (files.whole_file, files.whole_folder):
        with pytest.raises(SettingError, match="disk is full"), whole(tmp_path / "a"):
            raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


def test_another_error_of_the_work_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError), files.whole_file(tmp_path / "a"):
        (tmp_path / "missing").read_text()


def test_a_folder_appears_whole_and_replaces_only_when_asked(tmp_path):
    for text in ("one", "two"):
        with files.whole_folder(tmp_path / "x" / "a", replace=True) as work:
            (work / text).touch()
    assert [f.name for f in (tmp_path / "x" / "a").iterdir()] == ["two"]
    with pytest.raises(SettingError), files.whole_folder(tmp_path / "x" / "a"):
        pytest.fail("the work was begun")
    assert [f.name for f in (tmp_path / "x").iterdir()] == ["a"]


def test_a_folder_that_the_new_one_cannot_replace_is_never_without_a_name_that_stays(tmp_path, monkeypatch):
    with files.whole_folder(tmp_path / "a") as work:
        (work / "old").touch()
    replace, names = os.replace, []

    def replacing(source, target):
        if Path(target) == tmp_path / "a" and not names:
            names.extend(f.name for f in tmp_path.iterdir() if (f / "old").exists())
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replacing)
    with pytest.raises(SettingError, match="cannot be written"), files.whole_folder(tmp_path / "a", replace=True):
        pass
    # Were the run killed here, the next one would not clear it.
    assert len(names) == 1 and not files._UNFINISHED.fullmatch(names[0])
    assert [str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*")] == ["a", "a/old"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("whole", ["whole_file", "whole_folder"])
def test_the_next_run_clears_what_a_killed_one_left_and_nothing_else(tmp_path, end, whole):
    work = f"with files.{whole}({str(tmp_path / 'a.csv')!r}): print('in', flush=True); input()"
    code = f"from cellcycle import files\n{work}"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    (tmp_path / ".unfinished-notes.txt").touch()
    files.clear_leftovers(tmp_path)
    assert len(list(tmp_path.glob(UNFINISHED))) == 2, "a live run lost its file"
    child.send_signal(end)
    child.communicate()
    files.clear_leftovers(tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == [".unfinished-notes.txt"]


@pytest.mark.parametrize("whole", [files.whole_file, files.whole_folder])
def test_what_another_run_takes_for_a_leftover_before_it_is_held_is_made_anew(tmp_path, monkeypatch, whole):
    hold, taken = files.hold, []

    def hold_late(work, *flags):
        if not taken:
            taken.append(work)
            work.rmdir() if work.is_dir() else work.unlink()
        return hold(work, *flags)

    monkeypatch.setattr(files, "_cleared", {str(tmp_path)})
    monkeypatch.setattr(files, "hold", hold_late)
    with whole(tmp_path / "a") as work:
        assert work.exists() and work not in taken
    assert os.listdir(tmp_path) == ["a"]


def test_sha256_of(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_a_disk_that_fills_up_in_a_folder_is_told_by_the_name_that_was_asked_for(tmp_path):
    # Images that cannot be written have an error of their own.
    for kind in (SettingError, ImageError):
        with pytest.raises(SettingError) as told, files.whole_folder(tmp_path / "asked") as work:
            raise kind(work / "G1" / "a.png", "the disk is full", "make room, then run it again")
        assert told.value.subject == str(tmp_path / "asked") and os.listdir(tmp_path) == []
    with pytest.raises(SettingError, match=r"^b\.csv: "), files.whole_folder(tmp_path / "asked"):
        raise SettingError("b.csv", "the disk is full", "make room, then run it again")

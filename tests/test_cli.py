import errno
import os
import subprocess
import sys

import pytest
import typer

from cellcycle import cli, cnncc, ending, files

FIELD = files.repository() / "data" / "sample" / "fields" / "fields" / "field_001.tif"


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "cellcycle", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_help_lists_the_commands():
    shown = run("--help")
    assert shown.returncode == 0
    assert "study" in shown.stdout
    assert "data" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("study", "--profile", "quick"), "profile: 'quick' is unknown; use one of smoke, study, paper"),
        (("study", "--profile", "smoke", "--only", "99"), "no notebook '99'"),
        (("study", "--profile", "smoke", "-p", "seed"), "write NAME=VALUE"),
        (("study", "--profile", "smoke", "--data", "nowhere"), "nowhere: no such data set, folder or file"),
        (("data", "show", "nowhere"), "nowhere: no such data set"),
        (("train", "simulated", "--output", "new", "--folds", "1"), "--folds: 1 is out of range"),
        (("train", "simulated", "--output", "new", "--size", "2"), "--size: 2 is out of range"),
        (("train", "simulated", "--output", "new", "--jobs", "0"), "--jobs: 0 is out of range"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(arguments, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cellcycle", *arguments])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.strip().splitlines()) == 1


def test_simulate_writes_a_folder_that_show_reads(tmp_path, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["cellcycle", "data", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    code, _, said = run("simulate", "--output", tmp_path / "cells", "--nuclei", 24, "--size", 32, "--bits", 16)
    assert code == 0, said
    assert "(simulated): 24 nuclei" in run("show", tmp_path / "cells")[1]
    code, _, said = run("simulate", "--out", tmp_path / "cells", "--nuclei", 24)
    assert code == 2
    assert str(tmp_path / "cells") in said


def test_parameter_values_are_numbers_where_they_read_as_such():
    from cellcycle.study.notebooks import named_value

    assert named_value("seed=7") == ("seed", 7)
    assert named_value("data=my cells") == ("data", "my cells")


@pytest.mark.parametrize("path", ["a" * 5000, "b/" * 2500, "/proc/x"])
@pytest.mark.parametrize("command", [["data", "show"], ["data", "simulate", "--nuclei", "4", "--out"], ["review"]])
def test_a_path_that_cannot_be_is_one_line(command, path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cellcycle", *command, path])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("Error: ") and said.count("\n") == 1


def test_an_empty_address_is_not_every_address(monkeypatch, capsys):
    pytest.importorskip("uvicorn", reason="the extra `app` is not installed")
    monkeypatch.setattr("sys.argv", ["cellcycle", "app", "--host", ""])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and capsys.readouterr().err.startswith("Error: --host: it is empty")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--overlay", ""], "--overlay"), (["--masks="], "--masks"), (["-p", " "], "-p"), ([""], "an argument")],
)
def test_a_variable_of_the_shell_that_is_not_set_is_not_the_working_folder(arguments, named, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cellcycle", "predict", "a.tif", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and capsys.readouterr().err.startswith(f"Error: {named}: it is empty")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("cellcycle report a.csv --control DMSO b.csv --control=ethanol", "--control"),
        ("cellcycle data simulate out --seed 1 --seed 2", "--seed"),
        ("cellcycle predict a.tif --masks m --outlines o --masks n", "--masks"),
        ("cellcycle train a --output o --model resnet8 --network resnet8", "--network"),
        ("cnncc --image a.tif --image b.tif", "--image"),
    ],
)
def test_an_option_of_one_value_that_is_given_two_is_one_line(monkeypatch, capsys, call, named):
    monkeypatch.setattr(sys, "argv", call.split())
    with pytest.raises(SystemExit) as ended:
        (cnncc if call.startswith("cnncc") else cli).main()
    assert (ended.value.code, capsys.readouterr().err) == (2, f"Error: {named}: it was given 2 times; give it once\n")


def test_what_may_be_given_twice_is_taken_twice():
    command = typer.main.get_command(cli.app)
    for call in (
        "study --only 1 --only 2 -p a=1 -p b=2",
        "app --model a --model b",
        "predict --each a --each -- --map --map",
    ):
        ending.refuse_mistyped(command, call.split())


def test_ctrl_c_ends_any_command_without_a_traceback(capsys):
    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        ending.guarded(stopped)
    assert ended.value.code == 130 and capsys.readouterr().err == ""


def test_a_full_disk_is_one_line_where_standard_output_is_closed_too(capsys, monkeypatch):
    def command():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as ended:
        ending.guarded(command)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "Error: the output cannot be written (No space left on device); make room on the disk\n"
    )


@pytest.mark.slow
def test_a_prediction_asks_nobody_and_leaves_nothing_in_home_or_among_temporary_files(tmp_path):
    (tmp_path / "home").mkdir()
    env = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    env |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "home")}
    command = [sys.executable, "-m", "cellcycle", "predict", str(FIELD)]
    subprocess.run(command, env=env, check=True, capture_output=True)
    assert [file for file in (tmp_path / "home").rglob("*") if file.is_file()] == []


@pytest.mark.slow
def test_streams_that_are_closed_take_no_words_and_cost_no_table(tmp_path):
    nucleus = files.repository() / "data" / "sample" / "nuclei" / "G2" / "G2_0001.png"
    run = f"{sys.executable} -m cellcycle predict {nucleus} --output"
    for closed in ("2>&-", ">&-", "2>&- >&-"):
        ended = subprocess.run(f"{run} {tmp_path}/a.csv {closed}", shell=True, capture_output=True, text=True)
        assert ended.returncode == 0 and "Traceback" not in ended.stderr, closed
        text = (tmp_path / "a.csv").read_text()
        assert text.startswith("image,") and "Note" not in text
        (tmp_path / "a.csv").unlink()
    ended = subprocess.run(f"{run} - 2>&-", shell=True, capture_output=True, text=True)
    assert ended.stdout.startswith("image,") and "Note" not in ended.stdout
    nothing = f"{sys.executable} -m cellcycle predict nope.tif 2>&-"
    assert subprocess.run(nothing, shell=True, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(("missing", "extra"), [("torch", "train"), ("papermill", "study")])
def test_a_package_that_the_base_install_leaves_out_is_one_line(missing, extra, capsys):
    def command():
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    with pytest.raises(SystemExit) as ended:
        ending.guarded(command)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"Error: {missing}: this command needs the package; run: pip install 'cellcycle[{extra}]'\n"
    )


def test_a_module_of_our_own_that_is_missing_is_no_mistake_of_the_user():
    def command():
        raise ModuleNotFoundError("No module named 'cellcycle.gone'", name="cellcycle.gone")

    with pytest.raises(ModuleNotFoundError):
        ending.guarded(command)

"""What a run writes, and where: nothing is replaced that it did not write, and no name does harm."""

import contextlib
import csv
import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellcycle import cli, files, names
from cellcycle.checkpoint import load_checkpoint, write_card
from cellcycle.datasets import load_dataset
from cellcycle.errors import CellCycleError, ImageError, SettingError, shown
from cellcycle.evaluate import evaluate
from cellcycle.images import read_plane, write_image
from cellcycle.masks import write_mask
from cellcycle.nuclei import Anchor
from cellcycle.plots import save_figures
from cellcycle.predict import Settings, given, predict, predictor, target
from cellcycle.predict.extras import Extras, is_extra
from cellcycle.predict.given import Shared
from cellcycle.predict.journal import Journal, key_of
from cellcycle.predict.output import row_writer
from cellcycle.predict.predictor import ImagePrediction, ModelChoice
from cellcycle.predict.target import check_target, format_of
from cellcycle.report import write_report
from cellcycle.review import write_labels, write_sheet
from cellcycle.simulation import simulate_field, write_folder
from cellcycle.train import train
from cellcycle.training.runs import record_runs

MITOSIS = files.repository() / "data" / "sample" / "nuclei" / "M" / "M_0002.png"
# Names that files can have and that do something where they are printed or opened.
ODD = [
    "two\nlines.png", "tab\t.png", "clear\x1b[2J.png", "title\x1b]0;x\x07.png", "back\u202egnp.exe.png",
    "zero\u200bwidth.png",
    "c1\x9b2J.png", "filler\u3164.png", "line\u2028.png", b"latin\xe9.png".decode("utf-8", "surrogateescape"),
]  # fmt: skip
FORMULAS = ["=1+1.png", "+1.png", "-1.png", "@SUM(A1).png", "\uff1d1.png"]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Return a function that runs the command line here, in a folder of its own: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cellcycle", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    return call


@pytest.fixture
def never(monkeypatch):
    """Fail where any image is looked at: what is wrong must be said before the work."""
    monkeypatch.setattr(given.Given, "read", lambda *_: pytest.fail("work was done"))


def refused(answer, *words):
    code, out, err = answer
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert all(word in err for word in words), err


def alias(kind, image):
    """Give the same file another name."""
    if kind == "same":
        return image
    if kind == "dotted":
        return image.parent / "." / ".." / image.parent.name / image.name
    other = image.with_name("other.csv")
    os.link(image, other) if kind == "hard link" else other.symlink_to(image)
    return other


@pytest.mark.parametrize("kind", ["same", "dotted", "hard link", "link"])
@pytest.mark.parametrize("suffix", [".png", ".csv"])
def test_an_image_is_never_replaced_by_its_table(run, never, tmp_path, kind, suffix):
    image = tmp_path / f"image{suffix}"
    shutil.copy(MITOSIS, image)
    refused(run("predict", image, "--output", alias(kind, image)))
    assert image.read_bytes() == MITOSIS.read_bytes()


@pytest.mark.parametrize("name", ["thesis.csv", "cells.json", "notes.txt", "notes", "rows.tsv"])
@pytest.mark.parametrize(
    "work",
    ["three years of work\n", "image,nucleus_id,label\na.tif,1,M\n", "image\tnucleus_id\tcall\tmy notes\na\t1\tM\ty\n"],
)
def test_only_an_earlier_table_is_replaced(run, never, tmp_path, name, work):
    (tmp_path / name).write_text(work)
    refused(run("predict", MITOSIS, "--output", name), "not a table of predictions")
    assert (tmp_path / name).read_text() == work


@pytest.mark.parametrize(
    "output",
    ["out.png", "out.TIF", "out.xlsx", "out.onnx", "model.safetensors", ".", "", "none/rows.csv", "file/rows.csv",
     "r" * 252 + ".csv", "d/" * 2500 + "x.csv", "old.csv"],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_an_output_that_cannot_be_is_said_before_the_work(run, never, tmp_path, output):
    (tmp_path / "file").write_text("")
    (tmp_path / "old.csv").write_text("")
    (tmp_path / "old.csv").chmod(0o444)
    refused(run("predict", MITOSIS, "--output", output))
    assert sorted(os.listdir(tmp_path)) == ["file", "old.csv"]


@pytest.mark.parametrize(
    ("name", "output"), [("csv", "a.json"), ("json", "a.csv"), ("parquet", "a.csv"), ("tsv", "a.csv")]
)
def test_a_format_must_be_that_of_the_name(name, output, tmp_path):
    with pytest.raises(SettingError, match="does not fit"):
        format_of(name, tmp_path / output)


PLACE = ["centroid_x_px", "centroid_y_px"]


@pytest.mark.slow
def test_every_format_that_was_written_is_replaced_by_the_next_run(tmp_path):
    table = predict(MITOSIS)
    for name in ("csv", "tsv", "json", "parquet"):
        if name == "parquet":
            pytest.importorskip("pyarrow")
        file = tmp_path / f"rows.{name}"
        with row_writer(name, file) as write:
            write(table)
        check_target(file, [MITOSIS])
    rows = list(csv.reader((tmp_path / "rows.tsv").open(encoding="utf-8"), delimiter="\t"))
    assert rows[0] == list(table.columns)


@pytest.mark.slow
def test_anndata_reads_what_was_written_and_what_it_saved_again_is_not_replaced(tmp_path):
    h5py, anndata = pytest.importorskip("h5py"), pytest.importorskip("anndata")
    (tmp_path / "bad.png").write_bytes(b"no image")
    table, file = predict([MITOSIS, tmp_path / "bad.png"]), tmp_path / "rows.h5ad"
    for _ in range(2):
        with row_writer("h5ad", file) as write:
            for _, rows in table.groupby("image", sort=False):
                write(rows)
        # Our own file is replaced by the next run.
        check_target(file, [MITOSIS])
    found = anndata.read_h5ad(file)
    assert found.var_names[0] == "area_px" and {*found.obs, *found.var_names} | {*PLACE} == set(table.columns)
    for name in ("image", "call", "flags", "error"):
        assert found.obs[name].tolist() == table[name].tolist()
    assert found.obs["p_M"].iloc[0] == table["p_M"].iloc[0].round(4) and np.isnan(found.obs["nucleus_id"].iloc[1])
    for k, name in enumerate(found.var_names):
        np.testing.assert_allclose(found.X[:, k], table[name], rtol=5e-6)
    np.testing.assert_allclose(found.obsm["spatial"], table[PLACE], rtol=5e-6)
    with h5py.File(file, "a") as saved:
        # As after `write_h5ad` of somebody who has added results.
        del saved.attrs["writer"]
    with pytest.raises(SettingError, match="not a table of predictions"):
        check_target(file, [MITOSIS])


def test_classes_that_a_slash_alone_tells_apart_are_two_columns_of_an_h5ad(tmp_path):
    h5py = pytest.importorskip("h5py")
    given = {"image": ["a"], "p_a_b": [0.5], "p_a/b": [0.25], "p_a/b_": [0.125], "p_a_b_": [0.125]}
    with row_writer("h5ad", tmp_path / "rows.h5ad") as write:
        write(pd.DataFrame(given | {name: [1.0] for name in PLACE}))
    with h5py.File(tmp_path / "rows.h5ad") as file:
        kept = {name: file["obs"][name][0] for name in file["obs"].attrs["column-order"] if name != "image"}
    assert list(kept.values()) == [0.5, 0.25, 0.125, 0.125] and list(kept)[::3] == ["p_a_b", "p_a_b_"]


def test_an_h5ad_that_cannot_be_finished_leaves_nothing(tmp_path):
    pytest.importorskip("h5py")
    with pytest.raises(ZeroDivisionError), row_writer("h5ad", tmp_path / "rows.h5ad") as write:
        write(pd.DataFrame({"image": ["a"], "nucleus_id": [1]}))
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows.h5ad", "rows.csv"])
def test_a_disk_that_is_full_at_the_end_is_one_line_and_no_summary(run, tmp_path, monkeypatch, name):
    """What `h5py` itself writes to a full disk may end the process."""
    pytest.importorskip("h5py")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    where, what = (Path, "write_bytes") if name.endswith("h5ad") else (files.os, "replace")
    monkeypatch.setattr(where, what, full)
    code, out, err = run("predict", MITOSIS, "--output", name)
    assert (code, out) == (2, "") and "disk is full" in err
    assert os.listdir(tmp_path) == []


def test_a_table_keeps_the_mode_that_is_there_and_heeds_the_umask(tmp_path):
    def write(name):
        with row_writer("csv", tmp_path / name) as rows:
            rows(pd.DataFrame({"image": ["a"], "nucleus_id": [1]}))
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    before = os.umask(0o077)
    try:
        assert write("new.csv") == 0o600
        (tmp_path / "new.csv").chmod(0o640)
        assert write("new.csv") == 0o640
        (tmp_path / "link.csv").symlink_to("new.csv")
        assert write("link.csv") == 0o640
    finally:
        os.umask(before)
    assert (tmp_path / "link.csv").is_symlink()


def command(*arguments, **options):
    call = [sys.executable, "-m", "cellcycle", "predict", str(MITOSIS), *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=100, **options)


@pytest.mark.slow
def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        made = command("--output", pipe, "--format", "csv")
        assert reader.communicate()[0].startswith(b"image,nucleus_id")
    assert made.returncode == 0, made.stderr
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.slow
def test_rows_for_standard_output_by_name_are_rows_alone(tmp_path):
    with open(tmp_path / "rows.csv", "w") as stream:
        call = [sys.executable, "-m", "cellcycle", "predict", str(MITOSIS), "--output", "/dev/stdout"]
        subprocess.run(call, stdout=stream, stderr=subprocess.DEVNULL, check=True)
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 1


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("how", ["--output", ">"])
def test_a_full_disk_is_one_line(how):
    if how == "--output":
        made = command("--output", "/dev/full")
    else:
        with open("/dev/full", "w") as full:
            call = [sys.executable, "-m", "cellcycle", "predict", str(MITOSIS), "--format", "csv"]
            made = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert made.returncode == 2
    errors = [line for line in made.stderr.splitlines() if not line.startswith("Note: ")]
    assert len(errors) == 1 and "No space left" in errors[0]


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_one_line_and_leaves_nothing(tmp_path):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    made = command("--output", tmp_path / "rows.csv", preexec_fn=limit)
    assert made.returncode == 2
    assert "Traceback" not in made.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_shown_and_still_opened(run, tmp_path, name):
    shutil.copy(MITOSIS, tmp_path / name)
    (tmp_path / f"bad{name}").write_text("no pixels")
    code, out, err = run("predict", tmp_path, "--overlay", "pictures", "--output", "rows.csv")
    assert code == 1
    for text in (out, err, (tmp_path / "rows.csv").read_text(encoding="utf-8")):
        assert all(line.isprintable() for line in text.split("\n")), text
    table = pd.read_csv("rows.csv")
    assert len(table) == 2 and table["image"].nunique() == 2
    assert table["call"].notna().sum() == 1
    assert all(file.isprintable() for file in os.listdir(tmp_path / "pictures"))


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("how", ["csv", "json"])
def test_no_cell_begins_a_formula_and_its_path_still_opens(run, tmp_path, name, how):
    shutil.copy(MITOSIS, tmp_path / name)
    code, _, err = run("predict", "--output", f"rows.{how}", "--", name)
    assert code == 0, err
    text = (tmp_path / f"rows.{how}").read_text(encoding="utf-8")
    image = json.loads(text)[0]["image"] if how == "json" else next(csv.DictReader(text.splitlines()))["image"]
    assert not image.startswith(names._FORMULA)
    assert os.path.samefile(image, name)


@pytest.mark.parametrize("kind", ["str", object])
def test_classes_named_like_formulas_or_codes_are_harmless_in_every_format(tmp_path, kind):
    table = pd.DataFrame({"image": ["a"], "call": ["=cmd|' /C calc'!A0"], "p_\x1b[2J": [0.5], "@x": [1.0]})
    table = table.astype({"image": kind, "call": kind})
    for name in ("csv", "tsv", "json"):
        with row_writer(name, tmp_path / f"rows.{name}") as write:
            write(table)
        text = (tmp_path / f"rows.{name}").read_text()
        assert "\x1b" not in text
    row = json.loads((tmp_path / "rows.json").read_text())[0]
    assert row == {"image": "a", "call": "'=cmd|' /C calc'!A0", "p_\\x1b[2J": 0.5, "'@x": 1.0}


def test_shown_names_of_different_files_differ():
    spelled = ["a\x1b.png", "a\\x1b.png", "a\\\\x1b.png", "\x80", "\udc80", "\\u0080", "\n", "\\n"]
    assert len(set(map(names.shown_name, spelled))) == len(spelled)
    assert shown(shown("a\x1b\n")) == shown("a\x1b\n")
    assert str(CellCycleError("a\nError: b", "x\ny", "z")) == "a\\nError: b: x y; z"


def test_overlays_of_one_name_tell_which_and_none_is_too_long(tmp_path):
    images = [
        "p/A1/image.tif",
        "p/A2/image.tif",
        "p/A2/image.png",
        "q/A1/image.tif",
        f"{'x' * 250}.tif",
        "IMAGE.TIF",
        "a__b.tif",
    ]
    names_ = names.telling_names(images)
    assert len({name.casefold() for name in names_}) == len(images)
    assert all(len(os.fsencode(name)) < 190 for name in names_)
    assert "A1" in names_[0] and "A2" in names_[1] and "q" in names_[3]


def test_letters_and_accents_that_a_mac_parts_stay_readable_in_names_of_files():
    parted, whole = "o/Zellko\u0308rper.tif", "w/Zellk\u00f6rper.tif"
    assert names.telling_names([parted]) == names.telling_names([whole]) == ["Zellk\u00f6rper"]
    assert len(set(names.telling_names([parted, whole]))) == 2


@pytest.mark.parametrize("path", ["=.png", "-.tif", "..", ".", "...tif", "@-.tif", "-rf.tif"])
def test_no_name_begins_as_an_option_or_a_formula_does(path):
    (name,) = names.telling_names([path])
    assert name[0] not in "-=+@."


def test_no_file_is_called_as_a_device_of_windows_is():
    found = names.telling_names(
        ["a/con.tif", "b/aux.1.tif", "g/COM1.tif", "h/LPT\u00b2 .tif", "console.tif", "com10.tif"]
    )
    devices = ("con", "aux", "com1", "lpt\u00b2")
    assert not [name for name in found if name.partition(".")[0].strip().casefold() in devices]
    assert found[4:] == ["console", "com10"] and "con" in found[0] and "COM1" in found[2]


def test_an_overlay_that_cannot_be_written_costs_no_row_and_is_told_by_the_exit_code(run, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", f"{'b' * 245}.png"):
        shutil.copy(MITOSIS, tmp_path / "in" / name)
    (tmp_path / "in" / "a_phases.png").write_bytes(MITOSIS.read_bytes())
    code, _, err = run("predict", "in", "--overlay", "in", "--output", "rows.csv")
    assert code == 1
    assert err.count("Error: no overlay: ") == 1
    assert (tmp_path / "in" / "a_phases.png").read_bytes() == MITOSIS.read_bytes()
    assert pd.read_csv("rows.csv")["error"].isna().all()


def test_overlays_beside_their_images_are_no_images_of_the_next_run(run, tmp_path):
    shutil.copy(MITOSIS, tmp_path / "a.png")
    tables = []
    for _ in range(2):
        assert run("predict", ".", "--overlay", ".", "--output", "rows.csv")[0] == 0
        tables.append((tmp_path / "rows.csv").read_text())
    assert tables[0] == tables[1]
    assert is_extra(tmp_path / "a_phases.png")
    assert not is_extra(MITOSIS)


@pytest.mark.parametrize(
    "wrong",
    [("--pixel-size", "1e300"), ("--pixel-size", "nan"), ("--pixel-size", "1e-300"), ("--pixel-size", "inf"),
     ("--jobs", "5000"), ("--jobs", "-3"), ("--channel", "9" * 5000), ("--channel", ""), ("--plane", "9" * 30),
     ("--plane", "-1")],
    ids=lambda pair: f"{pair[0]} {pair[1][:8]}",
)  # fmt: skip
def test_absurd_numbers_are_one_line(run, wrong):
    refused(run("predict", MITOSIS, *wrong))


@pytest.mark.parametrize("path", ["", "  ", "x" * 5000, "d/" * 3000])
def test_absurd_paths_are_one_line(run, path):
    refused(run("predict", path))


WRITERS = {
    "train": (lambda path: train("no data", path), ""),
    "evaluate": (lambda path: evaluate("nagao6", MITOSIS.parent.parent, path), ".csv"),
    "report": (lambda path: write_report(path, None, []), ".html"),
    "review": (lambda path: write_sheet(path, None), ".html"),
    "labels": (lambda path: write_labels(path, []), ".csv"),
    "figures": (lambda path: save_figures({}, path), ""),
    "records": (lambda path: record_runs([], path), ""),
    "simulated": (lambda path: write_folder(path, n_nuclei=4), ""),
    "image": (lambda path: write_image(path, np.zeros((4, 4), np.uint8)), ".png"),
    "card": (lambda path: write_card(path, {}), ""),
}


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_writes_says_in_one_line_before_the_work_that_nothing_can_be_at_a_path(tmp_path, name):
    write, suffix = WRITERS[name]
    (tmp_path / "file").touch()
    for wrong in ("n" * 260, "file/a", f"{'n' * 260}/a", "a\0b", "a\ud800"):
        with pytest.raises(CellCycleError, match=r"cannot be written|is no name or text") as said:
            write(tmp_path / f"{wrong}{suffix}")
        assert "\n" not in str(said.value)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("read", [load_checkpoint, load_dataset, lambda path: predict(MITOSIS, masks=path)])
def test_a_name_that_is_too_long_is_that_of_nothing(tmp_path, read):
    with pytest.raises(CellCycleError):
        read(tmp_path / ("n" * 260))


def test_the_version_is_said_by_the_command_and_by_predict(run):
    first, second = run("--version"), run("predict", "--version")
    assert first == second
    assert first[0] == 0 and first[1].startswith("cellcycle ")


@pytest.mark.parametrize("fault", [ZeroDivisionError, KeyError, RuntimeError])
def test_whatever_goes_wrong_with_an_image_is_one_row_and_one_line(monkeypatch, tmp_path, fault):
    real = predictor.find_nuclei

    def fails_on_large(pixels, *rest):
        if pixels.shape == (7, 9):
            raise fault("a\nfault")
        return real(pixels, *rest)

    monkeypatch.setattr(predictor, "find_nuclei", fails_on_large)
    write_image(tmp_path / "odd.png", np.ones((7, 9), np.uint8))
    table = predict([tmp_path / "odd.png", MITOSIS], **vars(Settings()))
    assert table["error"].ne("").tolist() == [True, False]
    assert "\n" not in table["error"][0] and fault.__name__ in table["error"][0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["csv", "tsv", "json"])
def test_a_disk_that_fills_up_leaves_the_finished_rows(tmp_path, name):
    code = f"""
import pandas as pd, resource
from pathlib import Path
from cellcycle.predict.output import row_writer
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
with row_writer({name!r}, Path({str(tmp_path / f"rows.{name}")!r})) as write:
    for k in range(0, 10_000, 10):
        write(pd.DataFrame({{"image": [f"{{i:05d}}.tif" for i in range(k, k + 10)], "nucleus_id": range(k, k + 10)}}))
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "finished rows are in" in made.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == [f"rows.part.{name}"]
    part = tmp_path / f"rows.part.{name}"
    if name == "json":
        table = pd.DataFrame(json.loads(part.read_text()))
    else:
        table = pd.read_csv(part, sep="\t" if name == "tsv" else ",")
    assert len(table) > 100
    assert table["nucleus_id"].tolist() == list(range(len(table)))
    assert table["image"].str.fullmatch(r"\d{5}\.tif").all()


def children(pid):
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(status.parent.name))
    return found


def is_alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_workers_end_with_their_parent(tmp_path, signal_name):
    for k in range(40):
        shutil.copy(MITOSIS, tmp_path / f"{k}.png")
    call = [sys.executable, "-m", "cellcycle", "predict", str(tmp_path), "--jobs", "2", "--output", "out.csv"]
    out = tmp_path / "out"
    out.mkdir()
    # Where the tests themselves were started in the background, what they start would not hear of Ctrl-C.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with subprocess.Popen(call, cwd=out, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **heard) as process:
        for _ in range(300):
            workers = children(process.pid)
            if len(workers) >= 3:  # two, and the one that counts what they share
                break
            time.sleep(0.05)
        process.send_signal(getattr(signal, signal_name))
        said = process.communicate(timeout=60)[1]
    assert len(workers) >= 3
    for _ in range(300):
        if not any(map(is_alive, workers)):
            break
        time.sleep(0.1)
    assert not any(map(is_alive, workers))
    if signal_name != "SIGKILL":
        # What was finished is kept for the next run, and nothing else.
        assert all(name.endswith(".partial") for name in os.listdir(out))
        assert process.returncode != 0
    if signal_name == "SIGTERM":
        assert b"Traceback" not in said


def some_crops(folder):
    for k in range(20):
        shutil.copy(MITOSIS, folder / f"{k:02d}.png")


def some_fields(folder):
    """Write fields whose common G1 peak only all of them show, and one that cannot be read."""
    made = simulate_field((640, 960), 180, seed=1)
    for k in range(6):
        row, column = 320 * (k // 3), 320 * (k % 3)
        write_image(folder / f"{k}.png", made.image[row : row + 320, column : column + 320], made.pixel_size_um)
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:5000])


def files_in(folder):
    """Return names and sizes of all files, whatever goes away meanwhile as empty."""
    found = {}
    for at, folders, inside in os.walk(folder):
        for file in (os.path.join(at, name) for name in folders + inside):
            found[file] = 0
            with contextlib.suppress(FileNotFoundError):
                found[file] = os.stat(file).st_size
    return found


def n_finished(folder):
    """Return how many images the journals in a folder know."""
    return sum(file.read_bytes().count(b"\n") - 1 for file in folder.glob(".cellcycle-*.partial") if file.is_file())


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "write"), [("2", some_crops), ("1", some_fields)])
def test_a_run_that_is_killed_at_any_moment_ends_like_an_undisturbed_one(tmp_path, jobs, write):
    write(tmp_path)
    is_fields = write is some_fields
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    call = [sys.executable, "-m", "cellcycle", "predict", *sorted(map(str, tmp_path.glob("*.png")))]
    call += ["--jobs", jobs, "--output", "rows.csv", "--overlay", "pictures"]
    for folder in (out, undisturbed):
        folder.mkdir()
    expected = subprocess.run(call, cwd=undisturbed, capture_output=True, check=False)
    assert expected.returncode == int(is_fields)
    luck = np.random.default_rng(int(jobs))

    def stopped(end, n_changes, most_s):
        with subprocess.Popen(call, cwd=out, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            before = files_in(out)
            while n_changes and process.poll() is None:
                time.sleep(0.01)
                if (now := files_in(out)) != before:
                    before, n_changes = now, n_changes - 1
            time.sleep(luck.uniform(0, most_s))
            process.send_signal(end)
        (out / "rows.csv").unlink(missing_ok=True)

    # Each is to have done more than the one before it, until some images are finished; the last one just begins.
    for k, end in enumerate([signal.SIGKILL, signal.SIGTERM] * 5):
        if k < 2 or not n_finished(out):
            stopped(end, 5, 0.1)
    stopped(signal.SIGKILL, 0, 0.4)
    assert n_finished(out)
    made = subprocess.run(call, cwd=out, capture_output=True, check=False)
    assert made.stdout == expected.stdout
    if is_fields:
        assert b"G1 peak of the group" in (out / "rows.csv").read_bytes()
    assert (out / "rows.csv").read_bytes() == (undisturbed / "rows.csv").read_bytes()
    for folder in ("", "pictures"):
        assert sorted(os.listdir(out / folder)) == sorted(os.listdir(undisturbed / folder)), "something was left behind"


def test_what_a_stopped_run_has_finished_outlives_one_with_other_options(tmp_path):
    def journal(key):
        return Journal(tmp_path / "a.csv", key, ModelChoice.of("lr"), [{}, {}])

    kept = ImagePrediction("a.tif", {"image": ["a.tif"]}, None)

    def stopped(only):
        yield kept
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), journal("one") as one:
        list(one.run(stopped))
    with pytest.raises(KeyboardInterrupt), journal("two") as two:
        assert len(two) == 0
        list(two.run(stopped))
    with journal("one") as again:
        assert len(again) == 1
        assert [made.image for made in again.run(lambda only: (kept for _ in only))] == ["a.tif"] * 2
    assert os.listdir(tmp_path) == [], "a run that is done clears those of its output"


class FullDisk:
    """A stream on a disk that takes no more."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")


def stopped_after(tmp_path, predictions, **more):
    """Stop a run of four images after some of them, and return the journal of the next one."""

    def made(only):
        yield from predictions
        raise KeyboardInterrupt

    def journal():
        return Journal(tmp_path / "a.csv", "key", ModelChoice.of("lr"), [{}] * 4)

    with pytest.raises(KeyboardInterrupt), journal() as stopped:
        for what, value in more.items():
            getattr(stopped, what)(*value)
        list(stopped.run(made))
    return journal()


def test_what_was_finished_is_read_also_when_the_disk_has_become_too_full_to_keep_more(tmp_path):
    bad = ImagePrediction("b.tif", {}, None, error=ImageError("b.tif", "bad", "mend it"))
    first, second, third, fourth = (ImagePrediction(f"{name}.tif", {"image": [f"{name}.tif"]}) for name in "abcd")
    with stopped_after(tmp_path, [first, bad, third]) as journal:
        journal._stream = FullDisk(journal._stream)
        made = list(journal.run(lambda only: (one for one in (second, fourth))))
    assert [one.image for one in made] == ["a.tif", "b.tif", "c.tif", "d.tif"]
    assert os.listdir(tmp_path) == []


def test_a_disk_that_takes_a_journal_but_not_its_folder_has_none(tmp_path, monkeypatch):
    kept = ImagePrediction("a.tif", {"image": ["a.tif"]}, None)
    found = stopped_after(tmp_path, [kept])
    found.__exit__(KeyboardInterrupt)
    shutil.rmtree(found.path.with_suffix(".found.partial"))
    before = found.path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", full)
        journal = Journal(tmp_path / "a.csv", "key", ModelChoice.of("lr"), [{}] * 4)
    assert (len(journal), journal.folder) == (0, None)
    assert found.path.read_bytes() == before


def test_finished_images_are_made_anew_where_an_image_read_with_them_is_there_again(tmp_path):
    kept = [ImagePrediction(name, {"image": [name]}, None) for name in ("a.tif", "b.tif")]
    then = [Shared(anchor=Anchor(1.0)), Shared(anchor=Anchor(5.0)), Shared(), Shared()]
    with stopped_after(tmp_path, kept, heed=(then,)) as journal:
        journal.heed([Shared(anchor=Anchor(position)) for position in (1.5, 5.0, 1.5, 5.0)])
        wanted = []
        list(journal.run(lambda only: (wanted.append(k) or kept[0] for k in only)))
    assert wanted == [0, 2, 3]


@pytest.mark.parametrize("system", ["windows", "no locks"])
def test_where_files_cannot_be_locked_a_run_keeps_no_journal_and_leaves_none(tmp_path, monkeypatch, system):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if system == "windows":
        monkeypatch.setattr(files, "fcntl", None)
    else:
        monkeypatch.setattr(files.fcntl, "flock", none)
    kept = ImagePrediction("a.tif", {"image": ["a.tif"]}, None)
    with Journal(tmp_path / "a.csv", "key", ModelChoice.of("lr"), [{}]) as journal:
        assert journal.folder is None and os.listdir(tmp_path) == []
        assert list(journal.run(lambda only: (kept for _ in only))) == [kept]
    assert os.listdir(tmp_path) == []


def test_a_stopped_run_goes_on_whatever_way_the_folders_beside_its_rows_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("m").mkdir()
    Path("m/a.tif").touch()
    kept = ImagePrediction("a.tif", {"image": ["a.tif"]}, None)

    def stopped(only):
        yield kept
        raise KeyboardInterrupt

    def journal(folder):
        return Journal(tmp_path / "a.csv", "key", ModelChoice.of("lr"), [{"masks": folder / "a.tif"}] * 2)

    with pytest.raises(KeyboardInterrupt), journal(Path("m")) as one:
        list(one.run(stopped))
    with journal(tmp_path / "m") as again:
        assert len(again) == 1
    # So it is with the masks that are read.
    keys = {
        key_of([], [mask], ModelChoice.of("lr"), Settings(), Extras())
        for mask in (tmp_path / "m/a.tif", Path("m/a.tif"))
    }
    assert len(keys) == 1


def test_two_options_may_not_write_one_file(tmp_path):
    both = Extras(outlines=tmp_path / "a.json")
    with pytest.raises(SettingError, match=r"--output writes .*, too"):
        both.prepare(["a.tif"], tmp_path / "x" / ".." / "a.json")
    both.prepare(["a.tif"], tmp_path / "b.json")


def test_a_refused_run_leaves_no_new_folder(run, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    before = sorted(os.listdir())
    refused(run("predict", "bad.png", "--masks", "new/masks"), "bad.png")
    for wrong in ("m.png", "bad.png/m", f"new/more/{'m' * 300}"):
        refused(run("predict", str(MITOSIS), "--overlay", "new", "--masks", wrong), "--masks")
    few = [MITOSIS, MITOSIS.with_name("M_0003.png")]
    refused(run("predict", *few, "--slide", "--model", "best", "--output", "rows.csv"), "--slide")
    assert sorted(os.listdir()) == before
    assert run("predict", str(MITOSIS), "--overlay", "new/overlays")[0] == 0
    assert os.listdir("new/overlays") == ["M_0002_phases.png"]


def test_a_folder_that_takes_nothing_is_said_before_the_work(run, never, tmp_path, monkeypatch):
    def full(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / "there").mkdir()
    monkeypatch.setattr(target.tempfile, "TemporaryFile", full)
    for what in ("overlay", "masks", "outlines", "rois"):
        refused(run("predict", str(MITOSIS), f"--{what}", "there"), f"--{what}")


def test_a_pipe_is_no_image_and_nobody_waits_for_it(run, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refused(run("predict", "pipe.png"), "pipe or device")
    refused(run("predict", "/dev/zero"), "pipe or device")


@pytest.mark.parametrize("how", ["table", "csv"])
def test_a_closed_standard_output_is_said(run, never, monkeypatch, how):
    monkeypatch.setattr(sys, "stdout", None)
    code, _, err = run("predict", MITOSIS, "--format", how)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "standard output: it is closed" in err


@pytest.mark.slow
def test_files_beside_the_rows_of_an_image_never_give_way_to_those_of_another(run, tmp_path):
    for folder in ("d1", "d2"):
        os.makedirs(f"{folder}/é <1>")
        shutil.copy(MITOSIS, f"{folder}/é <1>/a.png")
    os.symlink("d1", "d3")
    every = [part for what in ("--masks", "--overlay", "--outlines", "--rois") for part in (what, "made")]

    def made(folder):
        return run("predict", f"{folder}/é <1>/a.png", *every)

    assert made("d1")[0] == 0
    before = {file.name: file.read_bytes() for file in Path("made").iterdir()}
    assert len(before) == 4
    refused(made("d2"), "d1/é <1>/a.png; name another folder")
    # Those of the image itself are made again, by whatever path, and after both were moved.
    assert made("d3")[0] == 0
    assert {file.name: file.read_bytes() for file in Path("made").iterdir()} == before
    os.mkdir("moved")
    for name in ("d1", "made"):
        os.rename(name, f"moved/{name}")
    os.chdir("moved")
    assert made("d1")[0] == 0
    # So they are where the image is linked, or moved with its folders, but not in the place of one that is gone.
    os.makedirs("linked/é <1>")
    os.link("d1/é <1>/a.png", "linked/é <1>/a.png")
    assert made("linked")[0] == 0
    shutil.rmtree("linked")
    os.renames("d1", "deep/d1")
    refused(made("../d2"), "linked/é <1>/a.png; name another folder")


@pytest.mark.parametrize(("axis", "what"), [("Z", "plane"), ("C", "channel")])
def test_files_of_another_plane_or_channel_of_an_image_are_not_replaced(run, tmp_path, monkeypatch, axis, what):
    monkeypatch.chdir(tmp_path)
    pixels = read_plane(MITOSIS).pixels
    stack = np.rint(np.stack([pixels, pixels / 2]) * 65535).astype(np.uint16)
    tifffile.imwrite("z.tif", stack, imagej=True, metadata={"axes": f"{axis}YX"})
    every = [part for what in ("--masks", "--overlay", "--outlines", "--rois") for part in (what, "made")]
    assert run("predict", "z.tif", f"--{what}", "0", *every)[0] == 0
    before = {file.name: file.read_bytes() for file in Path("made").iterdir()}
    assert len(before) == 4
    for more in ([f"--{what}", "1"], []):
        code, out, err = run("predict", "z.tif", *more, *every)
        assert (code, out) == (2, "") and f"was made from z.tif, read with {what} 0; name another folder" in err
        assert {file.name: file.read_bytes() for file in Path("made").iterdir()} == before
    assert run("predict", "z.tif", f"--{what}", "0", *every)[0] == 0
    assert {file.name: file.read_bytes() for file in Path("made").iterdir()} == before


def test_files_of_an_image_that_is_not_where_they_tell_are_replaced_only_where_it_may_have_been_moved(tmp_path):
    for folder in ("a", "b", "deep/a"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.tif").touch()
    # Written as m/x_mask.tif of a/x.tif; then the folder was moved.
    made = tmp_path / "sub" / "m"
    made.mkdir(parents=True)
    extras = Extras(masks=made)
    (path,) = extras.targets(["x.tif"])[0].values()
    write_mask(path, np.ones((9, 9), int), np.array([1]), None, "../a/x.tif")
    for image in (tmp_path / "b" / "x.tif", "http://127.0.0.1:1/a/x.tif"):
        with pytest.raises(SettingError, match=f"{path.name} was made from .*a/x.tif; name another folder"):
            extras.prepare([image])
    for folder in ("a", "deep/a"):
        extras.prepare([tmp_path / folder / "x.tif"])
    # It stands there, so it is none that was moved.
    (tmp_path / "sub" / "a").mkdir()
    (tmp_path / "sub" / "a" / "x.tif").touch()
    with pytest.raises(SettingError, match=r"sub/a/x.tif; name another folder"):
        extras.prepare([tmp_path / "a" / "x.tif"])

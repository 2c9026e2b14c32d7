import io
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage

from cellcycle import cli, cnncc, files
from cellcycle.card import scores_of
from cellcycle.checkpoint import load_checkpoint, shipped_names
from cellcycle.images import Plane, read_plane, write_image
from cellcycle.nuclei import Nuclei
from cellcycle.phases import PHASES
from cellcycle.predict import Predictor, command, given, many, output, predict, predictor, words
from cellcycle.predict.many import run_batch
from cellcycle.predict.overlay import draw_overlay, stretched
from cellcycle.predict.predictor import ImagePrediction
from cellcycle.simulation import simulate_field

SAMPLE = files.repository() / "data" / "sample"
FIELD = SAMPLE / "fields" / "fields" / "field_001.tif"
MITOSIS = SAMPLE / "nuclei" / "M" / "M_0002.png"
WARNING = "fine-tune before you trust it on yours"


@pytest.fixture
def run(capsys, monkeypatch):
    """Return a function that runs the command line here: (exit code, standard output, standard error)."""

    def call(*arguments, main=cli.main):
        monkeypatch.setattr(sys, "argv", ["cellcycle", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def rows(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])


def header_of_a_giant(path) -> None:
    """Write a PNG of a few bytes whose header announces 90 000 x 90 000 pixels."""
    chunk = b"IHDR" + (90_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    body = len(chunk[4:]).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def bad_file(kind, folder):
    path = folder / f"{kind}.png"
    if kind == "truncated":
        path.write_bytes(MITOSIS.read_bytes()[:900])
    elif kind == "truncated-tiff":
        path = folder / "cut.tif"
        path.write_bytes(FIELD.read_bytes()[:4000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("these are no pixels")
    elif kind == "folder":
        path = folder / "no images"
        path.mkdir()
    elif kind == "giant":
        header_of_a_giant(path)
    elif kind == "zero-size":
        content = bytearray(MITOSIS.read_bytes())
        content[16:20] = bytes(4)
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        path.write_bytes(content)
    elif kind == "nan":
        import tifffile

        path = folder / "nan.tif"
        tifffile.imwrite(path, np.full((32, 32), np.nan, np.float32))
    return path


BAD = ["truncated", "truncated-tiff", "empty", "text", "missing", "folder", "giant", "zero-size", "nan"]


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_and_exit_2(run, tmp_path, kind):
    path = bad_file(kind, tmp_path)
    code, out, err = run("predict", path)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert re.match(rf"Error: {re.escape(str(path))}: .+; .+", err)


@pytest.mark.slow
def test_in_a_batch_the_good_are_done_and_the_bad_are_listed(run, tmp_path):
    bad = [bad_file(kind, tmp_path) for kind in BAD]
    code, out, err = run("predict", MITOSIS, *bad, FIELD, "--model", "lr", "--format", "csv")
    assert code == 1
    table = rows(out)
    assert table.loc[table["error"].notna(), "image"].tolist() == [str(path) for path in bad]
    assert (table["flags"] == "unreadable").sum() == len(bad)
    assert table.loc[table["error"].isna(), "image"].nunique() == 2
    assert err.count("Error: ") == len(bad)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "nagoa"), "did you mean 'nagao'"),
        (("--format", "xml"), "use one of table, csv, tsv, json, parquet, h5ad"),
        (("--field", "--nucleus"), "choose one of them"),
        (("--channel", "GFP"), "GFP"),
        (("--jobs", "0"), "--jobs: 0 is out of range; give a whole number from 1 to"),
        (("--pixel-size", "0"), "above 0"),
        (("--segmentation", "magic"), "trained, classical, cellpose, stardist"),
        (("--output", "nowhere/rows.csv"), "nowhere"),
        (("--format", "parquet"), "--output"),
        (("--format", "h5ad"), "--output"),
    ],
)
def test_wrong_options_are_one_line_and_exit_2(run, arguments, message):
    code, out, err = run("predict", FIELD, *arguments)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert message in err


def test_one_nucleus_prints_the_table_of_the_study(run):
    code, out, err = run("predict", MITOSIS, "--pixel-size", 0.50625)
    assert code == 0
    table = predict(MITOSIS, pixel_size_um=0.50625).iloc[0]
    lines = [
        "Model: Nagao",
        f"Predicted Phase: {table['call']}",
        "",
        "Phase      | Probability",
        "-----------|------------",
    ]
    lines += [f"{phase:<11}|{100 * table[f'p_{phase}']:>10.2f} %" for phase in ("G1", "S", "G2", "M")]
    assert out.splitlines() == lines
    assert err.count(WARNING) == 1


@pytest.mark.parametrize("model", ["Nagao", "ResNet", "LR", "NN"])
def test_the_command_of_the_study_works(run, model):
    code, out, err = run("--image", MITOSIS, "--model", model, main=cnncc.main)
    assert code == 0
    assert re.match(r"Model: .+\nPredicted Phase: (G1|S|G2|M)\n\nPhase      \| Probability\n-----------\|-", out)
    assert len(re.findall(r"^(G1|S|G2|M) +\| +\d+\.\d\d %$", out, flags=re.M)) == 4
    assert WARNING in err


def test_options_for_fields_that_crops_leave_unused_are_named(run):
    for option in (("--segmentation", "classical"), ("--prior", "slide")):
        assert f"{' '.join(option)} was not used" in run("predict", MITOSIS, *option)[2]
    assert "was not used" not in run("predict", MITOSIS, "--prior", "culture")[2]


def test_the_command_of_the_study_refuses_in_one_line(run):
    code, out, err = run("--image", "none.png", main=cnncc.main)
    assert (code, out) == (2, "")
    assert err == "Error: none.png: there is no such file; check the path\n"
    assert run("--image", MITOSIS, "--model", "XYZ", main=cnncc.main)[0] == 2


@pytest.mark.slow
def test_a_field_prints_counts_and_shares(run):
    code, out, _ = run("predict", FIELD)
    assert code == 0
    counts = re.findall(r"^(G1|S|G2|M) +\| +(\d+) \| +([\d.]+) %$", out, flags=re.M)
    table = predict(FIELD)
    assert {phase: int(n) for phase, n, _ in counts} == {
        phase: int((table["call"] == phase).sum()) for phase in ("G1", "S", "G2", "M")
    }
    assert sum(float(share) for *_, share in counts) == pytest.approx(100, abs=0.3)


@pytest.mark.slow
def test_rows_hold_the_numbers_of_the_library_in_every_format(run, tmp_path):
    pytest.importorskip("pyarrow")
    expected, made = predict([FIELD, MITOSIS]), {name: tmp_path / f"rows.{name}" for name in ("csv", "json", "parquet")}
    code, out, _ = run("predict", FIELD, MITOSIS, "--output", made["csv"])
    assert code == 0
    assert "Nuclei:" in out
    for name in ("json", "parquet"):
        with output.row_writer(name, made[name]) as write:
            write(expected)
    readers = {"csv": lambda f: rows(f.read_text()), "json": lambda f: pd.DataFrame(json.loads(f.read_text()))}
    for name, file in made.items():
        found = readers.get(name, pd.read_parquet)(file)
        assert found.columns.tolist() == expected.columns.tolist()
        assert found["call"].tolist() == expected["call"].tolist()
        for column in ("p_G1", "p_M", "confidence"):
            np.testing.assert_allclose(found[column], expected[column].round(4), atol=1e-12)
        for column in ("integrated_dna", "centroid_x_px", "area_px"):
            assert found[column].tolist() == [float(f"{value:.6g}") for value in expected[column]]
    cells = made["csv"].read_text().splitlines()[1].split(",")
    assert cells[expected.columns.get_loc("area_px")].isdigit() and max(map(len, cells[13:26])) <= len("-0.000123456")
    assert sorted(tmp_path.iterdir()) == sorted(made.values())


def test_rows_go_to_standard_output_alone(run):
    code, out, err = run("predict", MITOSIS, "--format", "json")
    assert code == 0
    assert [row["image"] for row in json.loads(out)] == [str(MITOSIS)]
    assert WARNING in err


@pytest.mark.parametrize(("name", "package", "extra"), [("parquet", "pyarrow", "parquet"), ("h5ad", "h5py", "anndata")])
def test_a_format_without_its_package_says_what_to_install(run, tmp_path, monkeypatch, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run("predict", MITOSIS, "--output", tmp_path / f"rows.{name}")
    assert code == 2
    assert f"pip install 'cellcycle[{extra}]'" in err


def test_all_cores_share_a_few_large_images_or_many_small_ones(tmp_path):
    for name, size in (("a", 2), ("b", 1), ("c", 1)):
        (tmp_path / name).write_bytes(bytes(size << 20))
    much = [["a", "b"], ["a", "here/no_file"], ["b"] * 200]
    little = [["a"], ["b"], ["here/no_file"]]
    (tmp_path / "b").write_bytes(b"small")
    little += [["b"] * 199, ["b", "c"]]
    for names, expected in [(n, True) for n in much] + [(n, False) for n in little]:
        assert command._is_much([str(tmp_path / name) for name in names]) == expected, names[:2]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".json", ".txt"])
def test_a_stopped_run_goes_on_where_it_stopped(run, tmp_path, monkeypatch, suffix):
    images = sorted((SAMPLE / "nuclei" / "M").glob("*.png"))[:3]
    (tmp_path / "broken.png").write_bytes(b"no image")
    images = [*images[:2], tmp_path / "broken.png", *images[2:]]
    told = ("--format", "table") if suffix == ".txt" else ()
    whole, rows = tmp_path / f"whole{suffix}", tmp_path / f"rows{suffix}"
    expected = run("predict", *images, "--output", whole, *told)
    done = []

    def counted(*arguments):
        for prediction in run_batch(*arguments):
            if len(done) == 3:
                done.append("stop")
                raise KeyboardInterrupt
            done.append(prediction.image)
            yield prediction

    monkeypatch.setattr(command, "run_batch", counted)
    code, *_ = run("predict", *images, "--output", rows, *told)
    assert code != 0
    assert not rows.exists()
    code, out, err = run("predict", *images, "--output", rows, *told)
    assert (code, out) == expected[:2]
    assert rows.read_bytes() == whole.read_bytes()
    assert done[4:] == [str(images[2]), str(images[3])], "finished images were predicted again, or a broken one was not"
    assert "2 of 4 images were finished" in err
    assert {f.name for f in tmp_path.iterdir()} == {"broken.png", whole.name, rows.name}


@pytest.mark.slow
@pytest.mark.parametrize("change", ["image", "setting", "model", "damage", "mask that is gone", "mask of another run"])
def test_a_run_of_other_things_does_not_go_on_from_a_stopped_one(run, tmp_path, monkeypatch, change):
    for name in ("a.png", "b.png"):
        shutil.copy(MITOSIS, tmp_path / name)
    call = ["predict", tmp_path / "a.png", tmp_path / "b.png", "--nucleus", "--output", tmp_path / "rows.csv"]
    call += ["--masks", tmp_path]

    def interrupted(*arguments):
        yield next(run_batch(*arguments))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "run_batch", interrupted)
        run(*call)
    (journal,) = (file for file in tmp_path.glob(".cellcycle-*") if file.is_file())
    if change == "image":
        os.utime(tmp_path / "b.png", (1, 1))
    elif change == "damage":
        journal.write_bytes(journal.read_bytes()[:-30])
    elif change == "mask that is gone":
        (tmp_path / "a_mask.tif").unlink()
    elif change == "mask of another run":
        os.utime(tmp_path / "a_mask.tif", (1, 1))
    else:
        call += ["--pixel-size", "0.3"] if change == "setting" else ["--model", "lr"]
    code, _, err = run(*call)
    assert code == 0
    assert "were finished" not in err
    assert (tmp_path / "a_mask.tif").stat().st_mtime > 1 and not list(tmp_path.glob(".*"))


def test_a_failing_writer_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), output.row_writer("csv", tmp_path / "rows.csv") as write:
        write(pd.DataFrame({"a": [1]}))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_no_nucleus_is_an_answer(run, tmp_path):
    write_image(tmp_path / "black.png", np.zeros((64, 64), np.uint8))
    code, out, _ = run("predict", tmp_path / "black.png", "--nucleus")
    assert code == 0
    assert "none (no nucleus found)" in out
    code, out, _ = run("predict", tmp_path / "black.png")
    assert code == 0
    assert "no nucleus found" in out


@pytest.mark.slow
def test_the_overlay_outlines_nuclei_in_the_colour_of_their_phase(run, tmp_path):
    from skimage import io as skio

    code, *_ = run("predict", FIELD, MITOSIS, "--model", "lr", "--overlay", tmp_path / "pictures")
    assert code == 0
    names = sorted(f.name for f in (tmp_path / "pictures").iterdir())
    assert names == ["M_0002_phases.png", "field_001_phases.png"]
    picture = skio.imread(tmp_path / "pictures" / "field_001_phases.png")
    assert picture.shape[:2] >= (512, 512)
    coloured = (picture[:512] != picture[:512, :, :1]).any(axis=2)
    assert 0.01 < coloured.mean() < 0.2


@pytest.mark.parametrize("call", ["", "G1"])
def test_the_legend_has_the_gray_of_no_call_where_it_occurs(call):
    pixels, labels = np.zeros((40, 300), np.float32), np.zeros((40, 300), np.int32)
    labels[10:30, 10:30] = 1
    plane, nuclei = Plane(pixels, 8, None, "a"), Nuclei("field", {}, labels, 1.0, True)
    drawn = draw_overlay(ImagePrediction("a", {"nucleus_id": [1.0], "call": [call]}, None, nuclei, plane), PHASES)
    gray = (drawn == 0x99).all(axis=2)
    assert gray[:40].any() == gray[45:52].all(axis=0).any() == (not call)


@pytest.mark.slow
def test_a_picture_that_is_taken_for_a_crop_says_that_others_lie_whole_in_it(run, tmp_path):
    y, x = np.mgrid[:160, :160]
    discs = [np.hypot(y - at, x - at) < 30 for at in (64, 126)]
    pixels = 4000.0 + 20000 * np.logical_or(*discs)
    noisy = np.random.default_rng(0).poisson(ndimage.gaussian_filter(pixels, 1.5)).astype(np.uint16)
    write_image(tmp_path / "two.png", noisy)
    write_image(tmp_path / "one.png", noisy[:105, :105])
    said = "it is read as a crop of one nucleus, but shows another whole nucleus: to call all, predict it as a field"
    code, _, err = run("predict", tmp_path / "two.png", "--output", tmp_path / "two.csv")
    assert code == 0 and said in " ".join(err.split()) and len(pd.read_csv(tmp_path / "two.csv")) == 1
    code, _, err = run("predict", tmp_path / "one.png", "--output", tmp_path / "one.csv")
    assert code == 0 and "--field" not in err
    code, _, err = run("predict", tmp_path / "two.png", "--field", "--output", tmp_path / "all.csv")
    assert code == 0 and "--field" not in err and len(pd.read_csv(tmp_path / "all.csv")) == 2


def test_a_field_that_is_said_to_be_a_crop_is_told_and_flagged(run, tmp_path):
    code, out, err = run("predict", FIELD, "--nucleus", "--output", tmp_path / "rows.csv")
    assert code == 0 and re.search(r"it shows \d\d nuclei, not one: predict it as a field", err)
    (row,) = pd.read_csv(tmp_path / "rows.csv").to_dict("records")
    assert "several_nuclei" in row["flags"] and "several_nuclei" in row["review"]
    assert "none (no nucleus in the middle)" in out
    code, out, err = run("--image", MITOSIS, main=cnncc.main)
    assert "not one" not in err and "Flags: scale unknown\n" in out and "_by_margin" not in out


def test_an_empty_middle_is_told_from_a_picture_without_nuclei():
    columns = {"flags": ["no_nucleus;several_nuclei"], "kind": ["nucleus"]}
    assert "none (no nucleus in the middle)" in words.nucleus_report(ImagePrediction("a", columns))
    assert words.image_line(ImagePrediction("a", columns)) == "a: no nucleus in the middle"


def test_a_summary_says_of_which_images_nuclei_have_no_call_and_why():
    tally, checkpoint = words.Tally(PHASES), load_checkpoint("nagao6")
    for name, review in (("a.tif", "one_dna_peak;edge"), ("b.tif", "one_dna_peak"), ("c.tif", "uncertain")):
        is_open = "peak" in review
        columns = {"nucleus_id": [1.0, 2.0], "call": ["" if is_open else "S"] * 2, "review": [review] * 2}
        columns |= {what: [""] * 2 for what in ("channel", "planes", "model", "model_reason", "kind")}
        columns["flags"] = ["edge", ""]
        tally.add(ImagePrediction(name, columns, checkpoint))
    (line,) = (line for line in tally.report().splitlines() if line.startswith("No call: "))
    assert line.startswith("No call: 4 in a.tif and 1 other image: its DNA histogram has one peak")


def test_models_with_commas_in_their_names_are_parted_by_semicolons():
    tally = words.Tally(PHASES, titles=Counter({"Nagao": 10, "Nagao, DNA and form": 1}), n=Counter(nuclei=1))
    assert "Model: Nagao for 10 images; Nagao, DNA and form for 1 image\n" in tally.report()


def test_an_overlay_that_is_named_alone_is_said_to_be_one(run, tmp_path):
    write_image(tmp_path / "a_phases.png", np.zeros((20, 20, 3), np.uint8), mark="cellcycle overlay")
    code, _, err = run("predict", tmp_path / "a_phases.png")
    assert code == 2 and "it is an overlay" in err and "channel" not in err


@pytest.mark.slow
def test_several_nuclei_bear_their_numbers_in_the_overlay_and_a_single_one_none():
    model = Predictor("lr")
    for file, is_numbered in ((FIELD, True), (MITOSIS, False)):
        found = model.predict(file)
        drawn, bare = draw_overlay(found, model.checkpoint.classes), stretched(found.plane.pixels)
        for y, x in found.nuclei.centres[found.nuclei.is_sound].round().astype(int):
            middle = np.s_[y - 4 : y + 5, x - 4 : x + 5]
            assert (drawn[middle] != bare[middle][..., None]).any() == is_numbered


@pytest.mark.slow
def test_folders_and_patterns_name_images(run):
    folder = SAMPLE / "nuclei" / "M"
    first = run("predict", folder, "--format", "csv")
    second = run("predict", f"{folder}/*.png", "--format", "csv", "--jobs", 2)
    assert first[0] == second[0] == 0
    assert first[1] == second[1]
    assert len(rows(first[1])) == 3


def test_the_card_of_a_model_is_shown_by_name_or_folder(run):
    card = load_checkpoint("best").card
    code, out, _ = run("models", "best")
    assert code == 0 and out.startswith("best: Nagao, DNA and form")
    told = " ".join(out.split())
    for text in (card["trained_on"]["description"], card["licence"], *card["limits"]):
        assert " ".join(text.split()) in told
    for test, entry in card["scores"].items():
        assert f"Scores, {test}: " in out and f"cells: {entry['n']}" in told
    for test, rates in card["flip_rates"].items():
        assert f"{test}, {rates['n']} nuclei: turned {rates['turned']:.1%}" in told
    assert run("models", str(load_checkpoint("best").folder))[1] == out
    code, _, err = run("models", "bset")
    assert code == 2 and "did you mean 'best'" in err


def test_models_lists_the_shipped_ones_with_scores(run):
    code, out, _ = run("models")
    assert code == 0
    for name in ("nagao6*", "resnet8", "nn", "lr"):
        assert re.search(rf"^{re.escape(name)} .* 0\.\d\d +0\.\d\d ", out, flags=re.M)
    # Scores with and without the DNA of the slide do not compare.
    assert "Models of intensity g1 were also given the DNA of the slide" in out


@pytest.mark.slow
def test_a_slide_lends_its_g1_peak_to_its_fields(run, tmp_path):
    made = simulate_field((640, 960), 180, seed=1)
    for name, half in (("left", made.image[:, :480]), ("right", made.image[:, 480:])):
        write_image(tmp_path / f"{name}.tif", half, made.pixel_size_um)
    code, out, err = run("predict", tmp_path, "--model", "nagao6-g1", "--slide", "--format", "csv")
    assert code == 0, err
    table = rows(out)
    assert table["call"].notna().mean() > 0.95
    assert len(set(table["g1_quality"])) == 1
    near_two = table["dna_copies"].between(1.6, 2.4)
    assert 0.4 < near_two.mean() < 0.8
    code, _, err = run("predict", MITOSIS, "--model", "nagao6-g1", "--slide")
    assert code == 2
    assert "fewer than the 60" in err


def test_a_damaged_model_is_refused(run, tmp_path):
    from cellcycle.checkpoint import load_checkpoint

    folder = shutil.copytree(load_checkpoint("lr").folder, tmp_path / "mine")
    assert run("predict", MITOSIS, "--model", folder)[0] == 0
    with open(folder / "model.onnx", "ab") as file:
        file.write(b"x")
    code, out, err = run("predict", MITOSIS, "--model", folder)
    assert (code, out) == (2, "")
    assert "model.onnx: it is damaged or altered" in err


@pytest.mark.slow
def test_piped_text_is_plain_and_a_closed_pipe_no_traceback():
    call = [sys.executable, "-m", "cellcycle", "predict", str(SAMPLE / "nuclei"), "--format", "csv"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert b"\x1b" not in process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.slow
def test_a_model_is_read_and_hashed_once_a_run(run, tmp_path, monkeypatch):
    read, real = [], predictor.load_checkpoint
    monkeypatch.setattr(predictor, "load_checkpoint", lambda name: read.append(name) or real(name))
    code, *_ = run("predict", MITOSIS, FIELD, "--slide", "--output", tmp_path / "rows.csv")
    assert code == 0
    assert len(read) == len(set(read))


@pytest.mark.slow
@pytest.mark.parametrize("room", [None, 0], ids=["kept", "beyond the room"])
def test_the_images_of_a_slide_are_read_and_their_nuclei_found_once(tmp_path, monkeypatch, room):
    plane = read_plane(FIELD)
    image = np.rint(plane.pixels * 65535).astype(np.uint16)
    for name, part in (("left", image[:320, :320]), ("right", image[:320, 320:])):
        write_image(tmp_path / f"{name}.tif", part, plane.pixel_size_um)
    (tmp_path / "bad.tif").write_text("no pixels")
    count = Counter()
    for room_of, name in ((given, "read_plane"), (predictor, "find_nuclei")):
        real = getattr(room_of, name)
        monkeypatch.setattr(room_of, name, lambda *a, real=real, name=name: (count.update([name]), real(*a))[1])
    if room is not None:
        monkeypatch.setattr(many, "_MOST_KEPT_BYTES", room)
    table = predict([tmp_path], is_slide=True)
    assert count == ({"read_plane": 4, "find_nuclei": 2} if room is None else {"read_plane": 6, "find_nuclei": 2})
    pd.testing.assert_frame_equal(table, predict([tmp_path]))


def test_a_run_that_could_read_no_image_does_not_say_that_there_are_no_nuclei(run, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.tif").write_text("no pixels")
    code, out, _ = run("predict", tmp_path)
    assert code == 1 and out.endswith("no image could be read\n") and "no nucleus" not in out


@pytest.mark.parametrize("is_cut", [False, True])
def test_an_image_that_is_replaced_between_finding_and_calling_is_told(run, tmp_path, monkeypatch, is_cut):
    monkeypatch.setattr(many, "_MOST_KEPT_BYTES", 0)
    files, real = [tmp_path / "a.tif", tmp_path / "b.tif"], command.look_first
    for seed, file in enumerate(files):
        tifffile.imwrite(file, simulate_field((320, 320), 9, seed=seed).image)

    def replacing(*arguments):
        found = real(*arguments)
        tifffile.imwrite(files[1], simulate_field((300 if is_cut else 320, 320), 9, seed=5).image)
        return found

    monkeypatch.setattr(command, "look_first", replacing)
    code, out, err = run("predict", *files, "--format", "csv", "--jobs", "1")
    table = rows(out)
    assert code == 1 and f"{files[1]}: it was altered after its nuclei were found; predict it again" in err
    assert list(table["flags"][table["image"] == str(files[1])]) == ["unreadable"]
    assert (table["image"] == str(files[0])).sum() > 5


def test_scores_are_told_as_shipped_cards_have_them_and_as_train_writes_them():
    expected = {"accuracy": {"value": 0.8, "low": 0.7, "high": 0.9}}
    intervals = {"accuracy": [0.7, 0.9], "recall": {"G1": [0, 1]}}
    assert scores_of({"n": 9, "accuracy": 0.8, "recall": {"G1": 0.9}, "intervals": intervals}) == expected
    assert scores_of({"n": 9, "recall": {"G1": 0.9}} | expected) == expected
    # A shipped model that `train` made has both; what could not be measured is not told.
    assert scores_of({"intervals": intervals} | expected) == expected
    assert scores_of({"accuracy": None, "intervals": {"accuracy": [None, None]}}) == {}


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_card_is_told(run, name):
    code, out, _ = run("models", name)
    assert code == 0 and "[" in out

"""From labelled nuclei to a judged model and round the loop."""

import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from cellcycle.checkpoint import load_checkpoint
from cellcycle.cli import app, main
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.ending import in_options
from cellcycle.errors import CheckpointError, DataError, SettingError
from cellcycle.evaluate import evaluate, report
from cellcycle.images import write_image
from cellcycle.inputs import Inputs, prepare
from cellcycle.predict import predict
from cellcycle.predict.runtime import Runtime
from cellcycle.simulation import write_folder
from cellcycle.splits import share_alike
from cellcycle.train import train
from cellcycle.training import parts
from cellcycle.training.baseline import DnaContentClassifier
from cellcycle.training.parts import Clock, Trainings, folds_of
from tests.conftest import QUICK
from tests.test_tasks import alive, wait_for

pytestmark = pytest.mark.slow


def test_a_model_is_trained_judged_and_trained_further(cells, trained, tmp_path):
    first = trained
    names = {f.name for f in first.folder.iterdir()}
    assert {"held_out.csv", "held_out_confusion.csv", "held_out_confusion.png", "trained_images.txt"} <= names
    scores = first.card["scores"]["held_out"]
    assert scores["n"] == len(cells) and set(scores["recall"]) == set(cells.classes)
    assert first.confidence is not None
    found = evaluate(first, cells, tmp_path / "predictions.csv")
    assert len(found.trained_on) == len(cells) and found.scores()["accuracy"] > 0.5
    assert (tmp_path / "predictions.csv").is_file() and (tmp_path / "predictions_confusion.png").is_file()
    again = {"from_model": first.folder, "n_folds": 2, "epochs": 1, "device": "cpu"}
    with pytest.raises(DataError, match=r"model has learned from 96 of these 96 .*G1 0.*without from_model="):
        train(cells, tmp_path / "second", **again)
    noise = np.random.default_rng(1).normal(0, 0.02, cells.images.shape).astype(np.float32)
    others = replace(cells, images=np.clip(cells.images + noise, 0, 1), identity="toy-2")
    second = train(others, tmp_path / "second", **again)
    assert {"before", "after", "gain", "from"} <= set(second.card["training"]) and second.version != first.version
    low, high = second.card["training"]["gain"]
    assert low <= second.card["training"]["after"] - second.card["training"]["before"] <= high and low < high
    kept = second.card["training"]["before"] >= second.card["training"]["after"]
    held = second.card["scores"]["held_out"]["balanced_accuracy"]
    assert held == pytest.approx(second.card["training"]["before" if kept else "after"], abs=1e-3)


@pytest.fixture(scope="module")
def trained(cells, tmp_path_factory):
    """Return a model of these cells; not to be changed."""
    return train(cells, tmp_path_factory.mktemp("models") / "model", **QUICK)


@pytest.fixture
def folder(cells, tmp_path):
    """Return a folder of class folders with the same cells."""
    for i, (image, label) in enumerate(zip(cells.images, cells.labels, strict=True)):
        (tmp_path / "crops" / cells.classes[label]).mkdir(parents=True, exist_ok=True)
        pixels = (image[0] * 255).astype(np.uint8)
        write_image(tmp_path / "crops" / cells.classes[label] / f"cell{i:03d}.png", pixels)
    return tmp_path / "crops"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
def test_a_killed_training_leaves_no_process_and_keeps_its_epochs(folder, tmp_path):
    command = [sys.executable, "-m", "cellcycle", "train", folder, "--output", tmp_path / "model", "--jobs", "2"]
    command += ["--network=logistic", "--epochs=100000", "--folds=2", "--size=32", "--device=cpu"]
    parent = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    state = tmp_path / ".model.training"
    wait_for(lambda: len(list(state.glob("fold*/epochs"))) == 2)
    workers = children_of(parent.pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait(30)
    assert len(workers) >= 2
    wait_for(lambda: not any(map(alive, workers)))
    assert not (tmp_path / "model").exists()
    assert {f.parent.name for f in state.glob("fold*/member0.safetensors")} == {"fold0", "fold1"}


def test_a_stopped_training_goes_on_to_the_same_model_in_processes_and_by_numbers_of_numpy(cells, trained, tmp_path):
    fitted = []

    def stop_before_the_last(self, name, *arguments):
        if name == "all":
            raise KeyboardInterrupt
        fitted.append(name)
        return fit(self, name, *arguments)

    fit = Trainings.fit
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainings, "fit", stop_before_the_last)
        train(cells, tmp_path / "model", **QUICK)
    state = tmp_path / ".model.training"
    done = Clock(print, state, 1).done()
    assert (
        fitted == ["fold0", "fold1"]
        and done == dict.fromkeys(fitted, QUICK["epochs"])
        and not (tmp_path / "model").exists()
    )
    with pytest.raises(SettingError, match="differs in epochs"):
        train(cells, tmp_path / "model", **QUICK | {"epochs": 3}, resume=True)
    # The gates have fewer settings than networks, which is no other version.
    with pytest.raises(SettingError, match="differs in network"):
        train(cells, tmp_path / "model", **QUICK | {"network": "dna-content"}, resume=True)
    # Nuclei that the new folds hold out were trained on in the old ones.
    with pytest.raises(SettingError, match="differs in groups"):
        train(replace(cells, groups=np.arange(96) // 3), tmp_path / "model", **QUICK, resume=True)
    assert Clock(print, state, 1).done() == done
    # One fold is there, the other and the whole are fitted in processes.
    shutil.rmtree(state / "fold1")
    quick = QUICK | {name: np.int64(QUICK[name]) for name in ("epochs", "n_folds", "size_px")}
    model = train(cells, tmp_path / "model", **quick, seed=np.uint8(0), n_jobs=2, resume=True)
    assert (model.version, model.card) == (trained.version, trained.card)
    assert not state.exists()


def children_of(pid: int) -> list[int]:
    return [int(n) for f in Path(f"/proc/{pid}/task").glob("*/children") for n in f.read_text().split()]


def test_progress_is_one_line_for_all_folds_with_the_time_left(tmp_path):
    for name in ("fold0", "fold1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "epochs").write_text("3")
    with Clock(print, tmp_path, 20) as clock:
        assert clock.line() == "6 of 20 epochs (fold0 3, fold1 3)"
        (tmp_path / "fold1" / "epochs").write_text("5")
        assert clock.line() == "8 of 20 epochs (fold0 3, fold1 5), about 1 min left"
    told = []
    with Clock(print, tmp_path, 20, lambda *numbers: told.append(numbers), every_s=0.01):
        while not told:
            time.sleep(0.01)
    assert set(told) == {(8, 20)}


def test_the_time_left_counts_from_the_first_epoch_not_from_what_comes_before_it(tmp_path, monkeypatch):
    """A minute to import and read, then a second an epoch: a training that went on said half an hour."""
    now, told, epochs = [0.0], [], tmp_path / "all" / "epochs"
    epochs.parent.mkdir()
    epochs.write_text("10")
    monkeypatch.setattr(parts, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with Clock(told.append, tmp_path, 100, lambda *numbers: told.append(numbers), every_s=0.01) as clock:
        now[0] = 60.0
        epochs.write_text("11")
        while (11, 100) not in told:
            time.sleep(0.01)
        now[0] = 61.0
        epochs.write_text("12")
        assert clock.line() == "12 of 100 epochs (all 12), about 1 min left"


def test_a_model_that_is_there_is_kept_until_the_new_one_is_complete(cells, trained, tmp_path, monkeypatch):
    resource, module = pytest.importorskip("resource"), sys.modules["cellcycle.train"]
    old, said = load_checkpoint(shutil.copytree(trained.folder, tmp_path / "model")), []
    before = {f.name: f.read_bytes() for f in old.folder.iterdir()}
    assert set(old.card["sha256"]) == set(before) - {"model.json"}
    some = cells.select(np.arange(0, 96, 2))
    with pytest.raises(SettingError, match=r"model of other data; .*force=True"):
        train(some, tmp_path / "model", **QUICK)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(function):
        def on_a_full_disk(*arguments):
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
            return function(*arguments)

        return on_a_full_disk

    for owner, name in ((Trainings, "called"), (module, "write_evaluation")):
        with monkeypatch.context() as patch, pytest.raises(SettingError, match="the disk is full") as refused:
            patch.setattr(owner, name, limited(getattr(owner, name)))
            try:
                train(some, tmp_path / "model", **QUICK, force=True)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "\n" not in str(refused.value)
        assert {f.name: f.read_bytes() for f in old.folder.iterdir()} == before
        assert {f.name for f in tmp_path.iterdir()} == {"model", ".model.training"}
    # What a user put beside the model is not the model's to take away; names that it writes itself are.
    (old.folder / "plots").mkdir()
    (old.folder / "plots" / "notes.txt").write_text("mine")
    (old.folder / "plots" / "link").symlink_to("nowhere")
    new = train(some, tmp_path / "model", **QUICK, force=True, say=said.append)
    assert load_checkpoint(old.folder).card == new.card != old.card and "plots" not in new.card["sha256"]
    assert (old.folder / "plots" / "notes.txt").read_text() == "mine" and (old.folder / "plots" / "link").is_symlink()
    assert {f.name for f in new.folder.iterdir()} == {*new.card["sha256"], "model.json", "plots"}
    assert any("is replaced when the new one is complete" in line for line in said)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(SettingError, match="holds no model"):
        train(some, tmp_path / "other", **QUICK, force=True)


def test_strange_nuclei_are_told_by_a_model_of_ones_own(cells, trained):
    assert trained.confidence.strangeness is not None
    usual = predict(cells.images[60, 0], model=trained.folder, kind="nucleus")
    y, x = np.mgrid[:32, :32]
    comb = 0.1 + 0.6 * ((np.abs(y - 16) < 13) & (np.abs(x - 16) < 13) & ((y % 6 < 2) | (np.abs(x - 16) < 2)))
    comb += np.random.default_rng(0).normal(0, 0.005, comb.shape)
    odd = predict(comb.astype(np.float32), model=trained.folder, kind="nucleus")
    assert "unlike" not in usual["review"][0] and "unlike_any_nucleus" in odd["review"][0]


def test_groups_that_are_set_aside_stand_in_the_card(cells, tmp_path):
    differ = "G1 and M differ in bits (8, 16): a model can tell them apart by it"
    grouped = replace(cells, groups=np.where(np.arange(96) % 24 < 12, "slide 1", "slide 2"), exported=(differ,))
    model = train(grouped, tmp_path / "model", **QUICK | {"n_folds": 3, "network": "dna-content"})
    assert differ in model.card["limits"]
    assert any("fewer than 3 groups" in limit for limit in model.card["limits"])
    assert model.card["scores"]["held_out"]["drawn"] == "cells"


def test_an_altered_list_of_trained_images_is_refused(cells, trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "model")
    (tmp_path / "model" / "trained_images.txt").write_text("0\n")
    with pytest.raises(CheckpointError, match=r"trained_images\.txt: it is damaged or altered"):
        evaluate(tmp_path / "model", cells)
    # Without the list an evaluation on the very cells it was trained on would pass for one on others.
    (tmp_path / "model" / "trained_images.txt").unlink()
    for use in (
        lambda: evaluate(tmp_path / "model", cells),
        lambda: train(cells, tmp_path / "further", from_model=tmp_path / "model", n_folds=2, epochs=1),
    ):
        with pytest.raises(CheckpointError, match=r"trained_images\.txt: the file is missing, .*put it back"):
            use()
    assert len(predict([cells.images[0, 0]], model=tmp_path / "model"))


def test_weights_that_are_kept_are_said_to_come_from_what_they_were_learned_from(cells, trained, tmp_path, monkeypatch):
    module = sys.modules["cellcycle.train"]
    monkeypatch.setattr(module, "compared", lambda *of: {"before": 0.9, "after": 0.9, "gain": [-0.1, 0.1]})
    noise = np.random.default_rng(1).normal(0, 0.02, cells.images.shape).astype(np.float32)
    others = replace(cells, images=np.clip(cells.images + noise, 0, 1), identity="toy-2", name="others")
    # Weights that are kept forget no class, and no fold or group of these nuclei flatters them.
    others, said = replace(others.select(cells.labels < 3), classes=cells.classes[:3]), []
    further = {"from_model": trained.folder, "n_folds": 2, "epochs": 1, "device": "cpu", "say": said.append}
    kept = train(others, tmp_path / "kept", **further)
    assert kept.card["trained_on"] == trained.card["trained_on"]
    assert [limit for limit in kept.card["limits"] if "too high" in limit or "forgets" in limit] == []
    assert any("forgets these calls" in line for line in said)
    assert "Its weights are those of model, tested on 72 nuclei of others." in kept.card["limits"]
    assert not evaluate(kept, others).trained_on and kept.card["data"]["identity"] == others.identity


@pytest.mark.parametrize("where", ["classes", "rows", "group", "corrections"])
def test_contradictory_data_are_one_line_and_exit_2(folder, tmp_path, monkeypatch, capsys, where):
    paths = sorted(folder.rglob("*.png"))
    rows = ["path,label,group"]
    rows += [f"{p.relative_to(tmp_path)},{p.parent.name},slide {i % 4}" for i, p in enumerate(paths)]
    if where == "classes":  # the same picture under another name in another class
        shutil.copy(paths[0], folder / "M" / "again.png")
        finding = "are the same picture"
    elif where == "rows":
        rows.append(rows[1].replace(",G1,", ",M,"))
        finding = "has the label 'G1' in line 2 and 'M' in line 98"
    elif where == "group":  # one picture in two groups
        rows.append(rows[1].replace("slide 0", "slide 1"))
        finding = "slide 0"
    else:
        rows = ["image,y_px,x_px,label", *(f"gone.tif,{k},9,{'G1' if k < 6 else 'S'}" for k in range(1, 12))]
        finding = "gone.tif: no such image"
    (tmp_path / "cells.csv").write_text("\n".join(rows) + "\n")
    data = folder if where == "classes" else tmp_path / "cells.csv"
    command = ["cellcycle", "train", str(data), "--output", str(tmp_path / "model"), "--epochs", "1", "--folds", "2"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.count("\n") == 1 and finding in said
    assert not (tmp_path / "model").exists()


def test_cells_like_those_of_other_folds_as_altered_copies_are_told_of_and_others_not(tmp_path):
    write_folder(tmp_path / "cells", 70, seed=3)
    cells, said = replace(load_dataset(tmp_path / "cells"), groups=None), []
    quick = QUICK | {"network": "dna-content", "say": said.append}
    assert share_alike(cells.images, np.arange(70) % 2) < 0.2
    twins = []
    for image in (cells.images[:, 0] / cells.images.max() * 255).astype(np.uint8):
        file = io.BytesIO()
        Image.fromarray(image[::-1]).save(file, "JPEG", quality=90)
        twins.append(np.asarray(Image.open(file))[np.newaxis] / np.float32(255))
    images, labels = np.concatenate([cells.images, twins]), np.tile(cells.labels, 2)
    twice = NucleusDataset("twice", images, labels, cells.classes, np.arange(140).astype(str), "twice-1", "simulated")
    limits = train(twice, tmp_path / "twice", **quick).card["limits"]
    assert any("% of the nuclei look like one of another fold" in limit for limit in limits)
    assert any("look like" in line for line in said)


def test_crops_that_overlap_stay_on_one_side_and_where_they_cannot_the_card_says_so(cells):
    grain = np.random.default_rng(0).random((96, 1, 32, 32), np.float32)
    grain[1::2, :, :20] = grain[::2, :, 12:]
    pairs = replace(cells, images=grain)
    parts, limits = folds_of(pairs, pairs.known_by(), 3, 0)
    assert all(set(part.test // 2).isdisjoint(part.train // 2) for part in parts)
    assert len(limits) == 1 and "No groups were known" in limits[0]
    for above, below in pairwise(grain):
        below[:, :16] = above[:, 16:]
    parts, limits = folds_of(pairs, pairs.known_by(), 3, 0)
    assert "some in training and test share pixels" in limits[-1] and len(parts) == 3


@pytest.mark.parametrize(
    ("n_groups", "rare_in", "n_images", "by", "limit"),
    [(8, 4, 8, "both", ""), (8, 2, 8, "both", ""), (2, 2, 8, "images", "in fewer than 5 groups: "),
     (8, 1, 16, "images", "fewer than 5 groups"), (2, 2, 2, "", r"scores may be too high\. With 2 folds none would"),
     (16, 8, 8, "both", ""), (16, 8, 2, "groups", "Cells of one image are in training and test")],
)  # fmt: skip
def test_no_fold_parts_groups_where_a_class_is_rare_nor_images_where_groups_are_few(
    cells, n_groups, rare_in, n_images, by, limit
):
    cell = np.arange(96)
    groups, images = cell % n_groups, cell % n_images
    labels = np.where((groups < rare_in) & (cell // 16 % 2 == 0), 2, cell // 48)
    places = np.column_stack([images, cell])
    fields = tuple(SimpleNamespace(image=f"{k}.tif") for k in range(n_images))
    dataset = replace(cells, labels=labels, groups=groups.astype(str), fields=fields, places=places)
    parts, limits = folds_of(dataset, dataset.known_by(), 5, 0)
    assert re.search(limit, limits[-1]) if limit else not limits
    assert sorted(np.concatenate([part.test for part in parts])) == list(cell)
    for part in parts:
        assert set(labels[part.train]) == {0, 1, 2} or not by
        for unit in {"both": (groups, images), "groups": (groups,), "images": (images,)}.get(by, ()):
            assert set(unit[part.test]).isdisjoint(unit[part.train])


def test_copies_and_groups_of_two_spellings_stay_on_one_side_and_the_folder_names_the_model(
    folder, tmp_path, monkeypatch
):
    paths, said = sorted(folder.rglob("*.png")), []
    shutil.copy(paths[0], paths[0].with_name("again.png"))
    rows = [f"{p.relative_to(tmp_path)},{p.parent.name},slide {i % 4}" for i, p in enumerate(paths)]
    rows += ["crops/G1/again.png,G1,slide 1"]
    rows[-2] = rows[-2].replace("slide 3", " Slide 3")
    (tmp_path / "cells.csv").write_text("\n".join(["path,label,group", *rows]) + "\n")
    # A fold that parted them would be refused: `check_no_leak`.
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    model = train(tmp_path / "cells.csv", ".", **QUICK | {"network": "dna-content"}, say=said.append)
    assert model.name == "mine" and (tmp_path / "mine" / "model.json").is_file()
    assert any("1 images are copies of others" in line for line in said)
    groups = pd.read_csv(tmp_path / "mine" / "held_out.csv")["group"]
    assert groups.nunique() == 3  # slides 0 and 1 share a picture


@pytest.mark.parametrize(
    ("keep", "options", "message"),
    [
        (lambda labels: labels == 0, {}, "only one class"),
        (lambda labels: (labels != 3) | (np.cumsum(labels == 3) < 4), {}, "M has 3 where 5 are needed"),
        (slice(None), {"intensity": "dim"}, "dim"),
        (slice(None), {"n_folds": 1}, "folds"),
        (slice(None), {"n_jobs": 0}, "n_jobs"),
        (slice(None), {"network": "vgg"}, "vgg"),
        (slice(None), {"device": "tpu"}, "tpu"),
        (slice(None), {"from_model": "no such"}, "no such"),
    ],
)
def test_what_cannot_be_trained_is_one_line_before_the_work(cells, tmp_path, keep, options, message):
    kept = cells.select(np.flatnonzero(keep(cells.labels)) if callable(keep) else keep)
    if message == "only one class":
        kept = kept.relabel(dict.fromkeys(cells.classes, "G1"), "one")
    with pytest.raises((DataError, SettingError), match=message) as refused:
        train(kept, tmp_path / "x", **QUICK | options)
    assert "\n" not in str(refused.value) and not (tmp_path / "x").exists()


def test_classes_that_a_model_does_not_know_are_refused(cells, tmp_path):
    other = cells.relabel({"G1": "resting", "S": "growing", "G2": "growing", "M": "growing"}, "two")
    with pytest.raises(DataError, match="'resting' is not known to lr, which knows G1, S, G2, M"):
        evaluate("lr", other)
    with pytest.raises(DataError, match="resting"):
        train(other, tmp_path / "x", from_model="lr", n_folds=2)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Return a folder of class folders of simulated nuclei; not to be changed."""
    folder = tmp_path_factory.mktemp("simulated") / "cells"
    write_folder(folder, n_nuclei=140)
    (folder / "manifest.csv").unlink()
    return folder


@pytest.fixture
def broken(simulated, tmp_path):
    """Return a folder of class folders of simulated nuclei, one of which cannot be read."""
    folder = shutil.copytree(simulated, tmp_path / "cells")
    (folder / "G1" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_a_model_trained_further_is_scored_on_cells_new_to_it_and_forgets_classes_that_are_not_there(
    cells, trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        sys.modules["cellcycle.train"], "compared", lambda *of: {"before": 0.1, "after": 0.9, "gain": [0.7, 0.9]}
    )
    some = cells.select(np.isin(cells.labels, [0, 3]))
    noise = np.random.default_rng(1).normal(0, 0.02, some.images.shape).astype(np.float32)
    noise[1::2] = 0
    kept = {"labels": some.labels // 3, "classes": ("G1", "M"), "identity": "toy-2"}
    mixed, said = replace(some, images=np.clip(some.images + noise, 0, 1), **kept), []
    again = {"from_model": trained, "n_folds": 2, "epochs": 1, "device": "cpu", "say": said.append}
    second = train(mixed, tmp_path / "further", **again)
    limits = second.card["limits"]
    assert all(any("No nucleus is labelled S, G2" in line for line in lines) for lines in (said, limits))
    assert not any("No nucleus is labelled" in line for line in trained.card["limits"])
    assert second.card["scores"]["held_out"]["n"] == 24 and "model has learned from 24 of these 48" in " ".join(said)
    assert any("no groups" in line for line in said) and not list(tmp_path.glob(".*"))
    assert "model had learned from 24 of these nuclei" in " ".join(limits)
    assert len(evaluate(second, mixed).trained_on) == 48 and len(evaluate(second, cells).trained_on) == 96


def test_an_evaluation_says_what_was_left_out_and_which_classes_are_not_there(broken):
    shutil.rmtree(broken / "M")
    answer = CliRunner().invoke(app, ["evaluate", "lr", str(broken), "--skip-unreadable"])
    assert "Note: skipped" in answer.stderr and "broken.png" in answer.stderr and "broken.png" not in answer.stdout
    assert "No nucleus is of M: the scores are of the other classes." in answer.stdout


def test_no_nuclei_cannot_be_evaluated(sample_folder):
    with pytest.raises(DataError, match="it holds no nucleus"):
        evaluate("lr", load_dataset(sample_folder).select([]))


def test_evaluation_speaks_json(sample_folder):
    answer = CliRunner().invoke(app, ["evaluate", "lr", str(sample_folder), "--format", "json"])
    assert answer.exit_code == 0, answer.output
    scores = json.loads(answer.stdout)
    assert {"accuracy", "balanced_accuracy", "macro_f1", "recall", "n", "precision", "coverage"} <= set(scores)
    assert scores["n"] > 0 and load_checkpoint("lr").classes == tuple(scores["recall"])
    for name, recall in scores["recall"].items():
        # A handful of cells, all right or all wrong, is not certain.
        low, high = scores["intervals"]["recall"][name]
        assert low <= recall <= high and high - low > 0.1


@pytest.mark.parametrize(
    "command", ["evaluate lr cells", "train cells --output mine --network dna-content --folds 2 --jobs 1"]
)
def test_the_option_that_a_refusal_names_leaves_unreadable_images_out(broken, monkeypatch, command):
    monkeypatch.chdir(broken.parent)
    refused = CliRunner().invoke(app, command.split())
    assert ": --skip-unreadable" in in_options(refused.exception) and "--" not in str(refused.exception)
    answer = CliRunner().invoke(app, [*command.split(), "--skip-unreadable"])
    assert answer.exit_code == 0, answer.output


def test_a_model_that_needs_a_g1_peak_is_not_trained_on_nuclei_without_one(cells, tmp_path):
    with pytest.raises(DataError, match=r"no clear G1 peak, which best needs: .*nagao6") as refused:
        train(cells.select(np.arange(0, 96, 4)), tmp_path / "x", from_model="best", n_folds=2)
    assert "\n" not in str(refused.value) and not (tmp_path / "x").exists()


@pytest.fixture
def sample_folder():
    from cellcycle import files

    return files.repository() / "data" / "sample" / "nuclei"


def test_round_the_loop_from_prediction_to_correction_to_a_better_model(tmp_path, monkeypatch, found_once):
    """Predict -> corrections -> train from -> evaluate -> predict, of whole fields, as the guide has it."""
    from cellcycle import files
    from cellcycle.simulation import simulate_field

    monkeypatch.chdir(tmp_path)
    (tmp_path / "plate").mkdir()
    for number in range(2):
        made = simulate_field((420, 420), 70, 40 + number)
        write_image(tmp_path / "plate" / f"field{number}.tif", made.image, made.pixel_size_um)
    guide = (files.repository() / "docs" / "how_to" / "label_and_train.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    # A person says of every nucleus that it is larger or smaller than most: two of the model's classes.
    everything = 'dict(enumerate(np.where(table["area_px"] > table["area_px"].median(), "G2", "G1")))'
    quick = {'{3: "M", 8: "G2", 9: "none"}': everything, "other_labels": "labels"}
    quick['"nagao6"'] = '"lr", n_folds=2, epochs=3, device="cpu"'
    for long, short in quick.items():
        assert long in snippet
        snippet = snippet.replace(long, short)
    made = {"np": np}
    exec(snippet, made)
    tuned, table, again = made["mine"], made["table"], made["better"]
    assert {"before", "after"} <= set(tuned.card["training"]) and tuned.classes == ("G1", "S", "G2", "M")
    found = evaluate(tuned, tmp_path / "labels.csv")
    assert found.scores()["n"] == len(table) == len(found.trained_on)
    assert set(again["model"]) == {"mine"} and (again["call"] != "").sum() >= len(table) - 2


def test_a_model_of_labelled_fields_predicts_fields(tmp_path, found_once):
    from cellcycle.review import labelled_rows, write_labels
    from cellcycle.simulation import simulate_field

    made = simulate_field((420, 420), 70, 44)
    write_image(tmp_path / "field.tif", made.image, made.pixel_size_um)
    table = predict(str(tmp_path / "field.tif"), model="lr")
    said = {row: "large" if area > table["area_px"].median() else "small" for row, area in enumerate(table["area_px"])}
    write_labels(tmp_path / "labels.csv", labelled_rows(table, said))
    model = train(tmp_path / "labels.csv", tmp_path / "sizes", **QUICK | {"network": "nn", "epochs": 12})
    assert evaluate(model, tmp_path / "labels.csv").scores()["accuracy"] > 0.8
    again = predict(str(tmp_path / "field.tif"), model=str(model.folder))
    assert set(again["call"]) == {"large", "small"} and not again["flags"].str.contains("changed_picture").any()
    for factor in (0.8, 1.25):
        of_another = {"model": str(model.folder), "pixel_size_um": factor * made.pixel_size_um}
        with warnings.catch_warnings(action="ignore"):
            other = predict(str(tmp_path / "field.tif"), **of_another)
        assert other["review"].str.contains("changed_picture").all()


def test_scores_of_other_nuclei_of_the_images_that_a_model_learned_from_are_told_to_flatter(tmp_path, found_once):
    from cellcycle.simulation import simulate_field

    made = simulate_field((420, 420), 70, 44)
    write_image(tmp_path / "field.tif", made.image, made.pixel_size_um)
    halves = made.truth[["centroid_y_px", "centroid_x_px"]].assign(image="field.tif")
    halves["label"] = np.where(np.arange(len(halves)) % 4 < 2, "large", "small")
    for k, name in enumerate(("first.csv", "second.csv")):
        halves[k::2].to_csv(tmp_path / name, index=False)
    quick, said = QUICK | {"network": "logistic", "on_error": "skip"}, []
    model = train(tmp_path / "first.csv", tmp_path / "model", **quick)
    again = evaluate(model, tmp_path / "second.csv", on_error="skip")
    assert len(again.trained_on) == len(again.labels) > 20
    assert f"trained on {len(again.labels)} of these nuclei, or others of their images" in report(again)
    second = train(tmp_path / "second.csv", tmp_path / "next", **quick | {"network": None, "from_model": model},
                   say=said.append)  # fmt: skip
    assert second.card["scores"]["held_out"]["n"] == len(again.labels)
    assert "model had learned from other nuclei of the same images: the scores are too high." in said


def test_gates_on_dna_content_are_trained_saved_loaded_and_predict_like_any_model(cells, tmp_path):
    quick = QUICK | {"network": "dna-content"}
    model = train(cells, tmp_path / "gates", **quick)
    assert model.card["scores"]["held_out"]["balanced_accuracy"] > 0.9
    restored, inputs = load_checkpoint(model.folder).classifier(), prepare(cells, model.input_rule)
    expected = DnaContentClassifier().fit(inputs, cells.labels).predict_proba(inputs)
    np.testing.assert_allclose(restored.predict_proba(inputs), expected, atol=1e-12)
    np.testing.assert_allclose(Runtime(model).probabilities(inputs), expected, atol=1e-12)
    found = predict(cells.images[30, 0], model=str(model.folder), kind="nucleus")
    assert found["call"].iloc[0] == cells.classes[expected[30].argmax()] == "S"
    with pytest.raises(SettingError, match="cannot be trained further"):
        train(cells, tmp_path / "x", **quick | {"network": None, "from_model": model.folder})
    command = ["train", "simulated", "--output", tmp_path / "x", "--from", model.folder]
    assert str(CliRunner().invoke(app, list(map(str, command))).exception).startswith("from_model: dna-content cannot")
    with pytest.raises(SettingError, match="between images"):
        train(cells, tmp_path / "x", **quick, intensity="per-image")


def test_gates_without_an_amount_of_dna_are_refused_in_one_line():
    inputs = Inputs(np.zeros((4, 1, 8, 8), np.float32), np.full((4, 2), np.nan), ("dna_copies", "area_over_g1"))
    with pytest.raises(DataError, match="no nucleus has a known amount of DNA") as refused:
        DnaContentClassifier().fit(inputs, [0, 0, 1, 1])
    assert "\n" not in str(refused.value)


def test_gates_of_labelled_fields_call_fields_by_copies_of_the_genome(tmp_path, found_once):
    from cellcycle.simulation import simulate_field

    tables = []
    for number, exposure in enumerate((1.0, 0.5)):
        made = simulate_field((640, 640), 120, 50 + number)
        write_image(tmp_path / f"field{number}.tif", (made.image * exposure).astype(np.uint16), made.pixel_size_um)
        tables.append(made.truth[~made.truth["touches_border"]].assign(image=f"field{number}.tif"))
    table = pd.concat(tables).drop(columns="nucleus_id")
    table["label"] = np.where(table["dna_content"] < 3, "little", "much")
    table[["image", "centroid_y_px", "centroid_x_px", "label"]].to_csv(tmp_path / "labels.csv", index=False)
    model = train(load_dataset(tmp_path / "labels.csv", None, on_error="skip"), tmp_path / "gates",
                  **QUICK | {"network": "dna-content"})  # fmt: skip
    assert model.card["scores"]["held_out"]["balanced_accuracy"] > 0.8
    calls = [predict(str(tmp_path / f"field{k}.tif"), model=str(model.folder))["call"] for k in range(2)]
    shares = [(own == "little").mean() for own in calls]
    assert min(shares) > 0.5 and abs(shares[0] - shares[1]) < 0.2

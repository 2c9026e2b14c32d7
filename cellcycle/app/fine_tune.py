"""Corrections as a table, written and read again, and as a model, trained in the only process that imports torch."""

import os
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cellcycle.app import worker
from cellcycle.app.models import model_card
from cellcycle.datasets import load_dataset
from cellcycle.datasets.fields import nucleus_of
from cellcycle.datasets.labels import READ_COLUMNS, stated
from cellcycle.datasets.nuclei import FEWEST
from cellcycle.errors import DataError
from cellcycle.files import replace_json, slug
from cellcycle.images import write_image
from cellcycle.names import clean_name
from cellcycle.predict import ImagePrediction
from cellcycle.review import LABEL_COLUMNS, NONE, classes_of, labelled_rows, labels_text, read_labels

# Name of a visitor's own model. No model of the server can have it, because a card refuses "/".
OWN = "/own"
# Files of a training: epochs done and in all; folder `MADE` with the folder of the model and the page's data on it.
PROGRESS, MADE, MODEL, TRAINED = "progress.json", "made", "model", "trained.json"
_TABLE = "corrections.csv"
_NEEDED = ("torch", "onnx", "onnxscript", "safetensors", "matplotlib")
_FOUND_BY = ("nucleus_id", "centroid_y_px", "centroid_x_px", "area_px")
_SUBJECT = "your corrections"


def labels_csv(images: list[tuple[Path, Path, dict[str, str]]]) -> str:
    """Return the labels table (CSV) of all corrected nuclei: place in the image, and the visitor's class or "none".

    `images` are (plane folder, call folder, labels: number of a nucleus -> class).
    """
    return labels_text([row for plane, call, said in images for row in labelled(worker.stored(plane, call), said)])


def labelled(prediction: ImagePrediction, said: dict[str, str]) -> list[dict]:
    """Return the rows of a labels table for the nuclei in `said`."""
    numbers = prediction.columns["nucleus_id"]
    given = {k: said[str(int(n))] for k, n in enumerate(numbers) if np.isfinite(n) and str(int(n)) in said}
    return labelled_rows(prediction.columns, given)


def said_again(table: Path, images: list[tuple[Path, Path]]) -> list[dict[str, str]]:
    """Return the labels in a table for the nuclei of each image (plane, call): number -> class or "none".

    Rows belong to an image by the hash of its file if the table has it, else by its name, and by the channel and
    planes that they state; to a nucleus as `cellcycle.datasets.fields.nucleus_of` finds it. Rows of other images and
    nuclei are ignored. Raises `DataError` if the file is no labels table, or if an image's name fits several images in
    it.
    """
    with worker.told_as("the table", table):
        rows, _ = read_labels(table)
    hashes = rows["image_sha256"] if "image_sha256" in rows else rows["image"].map(lambda _: "")
    found, asked = [], stated(rows)
    for image in (worker.stored(*one) for one in images):
        columns, said = image.columns, {}
        measured = {name: np.asarray(columns[name], float) for name in _FOUND_BY}
        nuclei = replace(image.nuclei, measured=measured)
        is_named = (hashes == "") & (rows["image"].map(clean_name) == clean_name(image.image))
        if len(paths := {PurePosixPath(name.replace("\\", "/")) for name in rows["image"][is_named]}) > 1:
            one, two = sorted(map(str, paths))[:2]
            finding = f"its images {one} and {two} have one name, and no image_sha256 tells which of them is here"
            raise DataError("the table", finding, "keep only the rows of the image that is here")
        is_of_it = is_named | (hashes == columns["image_sha256"][0])
        # The same file may have been given several times, in other channels or time points.
        read = stated(pd.DataFrame({name: columns[name][:1] for name in READ_COLUMNS})).iloc[0]
        for name in READ_COLUMNS:
            is_of_it &= asked[name].isin(["", read[name]])
        for _, row in rows[is_of_it].iterrows():
            at = nucleus_of(nuclei, row)
            if at is not None and row["label"] in (*classes_of(columns), NONE):
                said[str(int(measured["nucleus_id"][at]))] = row["label"]
        found.append(said)
    return found


def missing() -> str:
    """Return a sentence why this server cannot train, "" if it can; imports none of the packages."""
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    return f"This server cannot train: {lacking[0]} is not installed (the extra `train`)." if lacking else ""


def start(folders, scratch: Path) -> None:
    """Load the models and packages for training before memory is limited; lower this process's priority."""
    if hasattr(os, "nice"):  # Windows has none
        os.nice(5)
    worker.start(folders, scratch)
    import onnxscript  # noqa: F401
    import torch

    import cellcycle.train  # noqa: F401

    torch.set_num_threads(1)


def fine_tune(images: list[tuple[Path, Path, dict[str, str]]], most_nuclei: int, epochs: int, work: Path) -> None:
    """Train the model that called most of the corrected nuclei on the corrections.

    `images` are those of `labels_csv`. In `work` it creates the folder `MADE`, with the folder of the model and the
    page's data on it. Training always starts from a model of this server, never from one that saw the same nuclei
    before. The message of a `DataError` is meant for the visitor.
    """
    from cellcycle.train import train

    data, notes, phases = work / "data", [], usable(images)
    data.mkdir()
    left_out = sorted({label for *_, said in images for label in said.values()} - {NONE, *phases})
    notes += [f"Too few nuclei of {' and '.join(left_out)} to learn from: left out."] if left_out else []
    given = [(worker.stored(plane, call), {n: label for n, label in said.items() if label in phases})
             for plane, call, said in images]  # fmt: skip
    with worker.told_as("", f"{work}/", ""), worker.told_as(_SUBJECT, data / _TABLE):
        name = _write_data(given, data)
        dataset = load_dataset(data / _TABLE, size_px=None, on_error="skip")
        if len(dataset) > most_nuclei:
            notes.append(f"Of {len(dataset)} nuclei {most_nuclei} were drawn at random.")
            dataset = dataset.subsample(most_nuclei, least=20)
        made = train(
            dataset,
            work / f"{name}-corrected-{len(dataset)}",
            from_model=worker.checkpoint_of(name).folder,
            epochs=epochs,
            device="cpu",
            progress=lambda *numbers: replace_json(work / PROGRESS, numbers),
        )
    (work / MADE).mkdir()
    os.rename(made.folder, work / MADE / MODEL)
    told = {name: made.card["training"][name] for name in ("from", "before", "after", "gain")} | {
        "name": made.name,
        "n": len(dataset),
        "n_images": len(dataset.fields),
        # Not the counts of the card: if a model keeps its old weights, those are of other nuclei.
        "counts": dataset.counts().to_dict(),
        "notes": [*notes, *made.card["limits"][1:]],
        "card": model_card(OWN, (made,), f"Trained on your corrections ({made.name})"),
    }
    replace_json(work / MADE / TRAINED, told)


def usable(images) -> set[str]:
    """Return the classes with at least `FEWEST` labelled nuclei, enough to learn from."""
    counts = Counter(label for *_, said in images for label in said.values() if label != NONE)
    return {label for label, n in counts.items() if n >= FEWEST}


def _write_data(given, folder: Path) -> str:
    """Write images and a table of labels for `load_dataset`; return the model that called most of the nuclei."""
    rows, callers = [], []
    for index, (prediction, said) in enumerate(given, start=1):
        file = folder / f"{index:03d}_{slug(Path(prediction.image).stem)[:80]}.tif"
        found = labelled(prediction, said)
        size_um = prediction.nuclei.pixel_size_um if prediction.nuclei.scale_is_known else None
        write_image(file, np.rint(prediction.plane.pixels * 65535).astype(np.uint16), size_um)
        # The group is the image, not all images read together, which could then only be held out as a whole.
        kept = {*LABEL_COLUMNS, "pixel_size_um"}
        rows += [{name: row[name] for name in row if name in kept} | {"image": file.name} for row in found]
        callers += filter(None, (worker.begun_from(row["model"]) for row in found))
    if not callers:
        raise DataError(_SUBJECT, "they are of models that this server lacks", "call the images with one of its models")
    (folder / _TABLE).write_text(labels_text(rows), "utf-8")
    return max(set(callers), key=callers.count)

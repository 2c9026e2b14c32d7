"""Fine-tune a model on what a visitor corrected: in a child process of its own, the only one that imports torch."""

import io
import json
import os
import zipfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cellcycle.app import worker
from cellcycle.app.models import model_card
from cellcycle.datasets.nuclei import FEWEST
from cellcycle.errors import CellCycleError, DataError
from cellcycle.files import slug
from cellcycle.review import NONE

OWN = "own"
# Files of a training under way: epochs done and in all. Of a model that was made: what the page says of it.
PROGRESS = "progress.json"
_NEEDED = ("torch", "onnx", "onnxscript", "safetensors", "matplotlib")
_SHOWN = ("before", "after", "gain")
_SUBJECT = "your corrections"


def missing() -> str:
    """Return why this server cannot train, in one sentence; "" where it can. Imports nothing."""
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    return f"This server cannot train: {lacking[0]} is not installed (the extra `train`)." if lacking else ""


def start(folders, scratch: Path) -> None:
    """Load the models, and all that training needs, before memory is limited; leave the processor to who calls."""
    os.nice(5)
    worker.start(folders, scratch)
    import onnxscript  # noqa: F401
    import torch

    import cellcycle.datasets.fields
    import cellcycle.train  # noqa: F401

    torch.set_num_threads(1)


def fine_tune(images: list[tuple[Path, Path, dict[str, str]]], most_nuclei: int, epochs: int, work: Path) -> dict:
    """Train the model that called most of the corrected nuclei on what was said of them; return what the page says.

    `images` are planes, calls and what was said, as of `worker.corrections`; the model's folder appears in `work`, as
    `model`. It always begins from a model of this server, never from one that saw the same nuclei before. A `DataError`
    is one sentence for whoever corrected.
    """
    from cellcycle.datasets import load_dataset
    from cellcycle.train import train

    (work / "data").mkdir()
    notes: list[str] = []
    try:
        phases = usable(images)
        left_out = sorted({label for *_, said in images for label in said.values()} - {NONE, *phases})
        notes += [f"Too few of {' and '.join(left_out)} to learn from: left out."] if left_out else []
        given = [
            (plane, call, {n: label for n, label in said.items() if label in phases}) for plane, call, said in images
        ]
        name = _write_data([(worker.stored(plane, call), said) for plane, call, said in given], work / "data")
        dataset = load_dataset(work / "data" / "corrections.csv", size_px=None, on_error="skip")
        if len(dataset) > most_nuclei:
            notes.append(f"Of {len(dataset)} nuclei {most_nuclei} were drawn at random.")
            dataset = dataset.subsample(most_nuclei, at_least=20)
        made = train(
            dataset,
            work / f"{name}-corrected-{len(dataset)}",
            from_model=worker.checkpoint_of(name).folder,
            epochs=epochs,
            device="cpu",
            progress=lambda *numbers: _tell(work / PROGRESS, numbers),
        )
    except CellCycleError as error:
        finding = str(error.finding).replace(str(work), "").replace(str(work / "data") + "/", "")
        raise DataError(_SUBJECT, finding, str(error.remedy).replace(str(work), "")) from None
    os.rename(made.folder, work / "model")
    about, counts = made.card["training"], made.card["trained_on"]["counts"]
    return {
        "name": made.name,
        "from": about["from"],
        "n": len(dataset),
        "n_images": len(dataset.fields),
        "counts": counts,
        "is_better": about["before"] < about["after"],
        "notes": [*notes, *made.card["limits"][1:]],
        "card": model_card(OWN, (made,)) | {"title": f"Trained on your corrections ({made.name})"},
    } | {name: about[name] for name in _SHOWN}


def usable(images) -> set[str]:
    """Return the classes of which enough nuclei were labelled to learn from."""
    counts = Counter(label for *_, said in images for label in said.values() if label != NONE)
    return {label for label, n in counts.items() if n >= FEWEST}


def _write_data(given, folder: Path) -> str:
    """Write images and a table of labels as `load_dataset` takes them; return which model called most of them."""
    from cellcycle.app.corrections import labelled
    from cellcycle.images import write_image
    from cellcycle.review import LABEL_COLUMNS, labels_text

    rows, callers = [], []
    for index, (prediction, said) in enumerate(given, start=1):
        file = folder / f"{index:03d}_{slug(Path(prediction.image).stem)[:80]}.tif"
        found = [row for _, row in labelled(prediction, said)]
        size_um = prediction.nuclei.pixel_size_um if prediction.nuclei.scale_is_known else None
        write_image(file, np.rint(prediction.plane.pixels * 65535).astype(np.uint16), size_um)
        # The image is the group: what it lends others is no reason to hold out all of them together.
        kept = (*LABEL_COLUMNS, "pixel_size_um")
        rows += [{name: row[name] for name in kept if name in row} | {"image": file.name} for row in found]
        callers += filter(None, (worker.begun_from(row["model"]) for row in found))
    if not callers:
        raise DataError(_SUBJECT, "their models are not of this server", "call the images with one of its models")
    (folder / "corrections.csv").write_text(labels_text(rows), "utf-8")
    return max(set(callers), key=callers.count)


def _tell(file: Path, numbers) -> None:
    unfinished = file.with_suffix(".new")
    unfinished.write_text(json.dumps(numbers))
    os.replace(unfinished, file)


def zipped(folder: Path, name: str) -> bytes:
    """Return a model folder, zipped under a name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{name}/{file.name}")
    return stream.getvalue()

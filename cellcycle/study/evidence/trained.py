"""Models trained on the real cells themselves: by the study's recipes, and by `cellcycle train` as a lab would."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from cellcycle import files, results
from cellcycle.checkpoint import load_checkpoint
from cellcycle.datasets import load_dataset
from cellcycle.inputs import MEASURED_PER_IMAGE
from cellcycle.study import experiments, load_profile
from cellcycle.study.texts import TRAINED
from cellcycle.training import cross_validate

_COMMANDS = (("jurkat", "absolute"), ("jurkat", "per-image"), ("mitocheck", "per-image"))


def train_on_real(real: Path, fresh: bool = False) -> None:
    """Train the models without a record (hours, if there is none); remove records of recipes that no longer exist."""
    root = files.repository() / TRAINED
    if fresh and root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    made = {record.folder for record in cross_validate(load_dataset(real / "jurkat"), recipes(), root)}
    for record in results.load_runs(root):
        if record.folder not in made:
            shutil.rmtree(record.folder)
    for cells, intensity in _COMMANDS:
        file = root / f"{cells}_{intensity}.json"
        if not file.exists():
            with files.whole_file(file) as work:
                work.write_text(json.dumps(_commanded(real, cells, intensity), indent=1) + "\n", encoding="utf-8")


def recipes() -> list[dict]:
    """Return settings: the DNA-content method; the study's models and `best`, with absolute and per-image intensities.

    All use D1: the classes are nearly balanced. The study's models get the `study` profile's epochs on this larger set.
    """
    profile = load_profile("study")
    networks = [
        {**experiments.settings(profile, model, "D1"), "epochs": profile.epochs_for(model, 1)}
        for model in experiments.TABLE_2_MODELS
    ]
    # To learn late G2 from early M takes more epochs than on the study's set.
    best = experiments.best(profile, training_set="D1", epochs=24)
    per_image = [{**config, "views": ("shape",)} for config in networks]
    return [*experiments.baseline(profile), *networks, best, *per_image, {**best, "measurements": MEASURED_PER_IMAGE}]


def _commanded(real: Path, cells: str, intensity: str) -> dict:
    """Run `cellcycle train` and return a record: its settings, its scores on held-out cells, and its minutes."""
    with tempfile.TemporaryDirectory(prefix="cellcycle-") as folder:
        started, out = time.monotonic(), Path(folder, "model")
        command = ["train", str(real / cells), "--output", str(out), "--intensity", intensity]
        subprocess.run([sys.executable, "-m", "cellcycle", *command], check=True)
        card, minutes = load_checkpoint(out).card, round((time.monotonic() - started) / 60, 1)
    return {
        "cells": cells,
        "identity": card["data"]["identity"],
        "counts": card["trained_on"]["counts"],
        "command": f"cellcycle train {cells} --intensity {intensity}",
        "date": datetime.now(UTC).date().isoformat(),
        "minutes": minutes,
        "training": card["training"],
        "held_out": card["scores"]["held_out"],
    }

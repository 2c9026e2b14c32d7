"""Train on real cells by the command line, as a lab would, and keep what it says of the cells that it held out.

Usage: python benchmarks/train_real_cells.py REAL_DATA [--models DIR] [--only mitocheck_per-image]

REAL_DATA holds jurkat/ and mitocheck/, each with a folder a class. `make study` writes the table of
docs/how_to from the records.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from cellcycle import files
from cellcycle.checkpoint import load_checkpoint
from cellcycle.study.texts import TRAINED

RUNS = (("jurkat", "absolute"), ("jurkat", "per-image"), ("mitocheck", "per-image"))


def record_of(folder: Path, cells: str, intensity: str, minutes: float, load: float) -> dict:
    """Return what is kept of a model that `cellcycle train` made, beside how many processes on how many cores."""
    card = load_checkpoint(folder).card
    return {
        "cells": cells,
        "identity": card["data"]["identity"],
        "counts": card["trained_on"]["counts"],
        "command": f"cellcycle train {cells} --intensity {intensity}",
        "date": datetime.now(UTC).date().isoformat(),
        "minutes": round(minutes, 1),
        "load": round(load, 1),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "training": card["training"],
        "held_out": card["scores"]["held_out"],
    }


def keep(record: dict, name: str) -> None:
    """Write a record among the committed ones."""
    folder = files.repository() / TRAINED
    folder.mkdir(parents=True, exist_ok=True)
    with files.whole_file(folder / f"{name}.json") as work:
        work.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Train what is asked for, and keep one record a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real_data", type=Path)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--only", default="", help="one run, e.g. jurkat_absolute")
    chosen = parser.parse_args()
    for cells, intensity in RUNS:
        name = f"{cells}_{intensity}"
        if chosen.only not in ("", name):
            continue
        folder, began = chosen.models / name, time.monotonic()
        command = ["train", str(chosen.real_data / cells), "--output", str(folder), "--intensity", intensity]
        subprocess.run([sys.executable, "-m", "cellcycle", *command], check=True)
        record = record_of(folder, cells, intensity, (time.monotonic() - began) / 60, os.getloadavg()[2])
        keep(record, name)
        print(name, record["held_out"]["balanced_accuracy"], f"{record['minutes']} min")


if __name__ == "__main__":
    main()

"""`python -m cellcycle.study.evidence [--fresh]`: hold the shipped models against real cells; write what follows."""

import argparse
import os
from pathlib import Path

from cellcycle import files
from cellcycle.ending import guarded
from cellcycle.study.evidence.board import ROOT, run_board
from cellcycle.study.evidence.measured import measure_real
from cellcycle.study.evidence.text import refresh_evidence
from cellcycle.study.evidence.trained import train_on_real


def main() -> None:
    """Make the missing records, then write document, README, figures and cards from all records."""
    parser = argparse.ArgumentParser(prog="python -m cellcycle.study.evidence", description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="run again what has a record")
    arguments = parser.parse_args()
    real = os.environ.get("CELLCYCLE_REAL_DATA")
    if not real:
        parser.error("name the folder of real cells in CELLCYCLE_REAL_DATA")
    measure_real(Path(real), arguments.fresh)
    run_board(Path(real), files.repository() / ROOT, arguments.fresh)
    train_on_real(Path(real), arguments.fresh)
    refresh_evidence()


if __name__ == "__main__":
    guarded(main)

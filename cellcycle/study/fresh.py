"""The recorded study computed again from nothing, beside the committed records."""

import os
import shutil
from pathlib import Path

import pandas as pd

from cellcycle import paths
from cellcycle.study.headline import distances, headline_records
from cellcycle.study.profiles import load_profile
from cellcycle.study.runner import Outcome, run_study

_DONE = "done"


def fresh_folder() -> Path:
    """Return the folder of the fresh run; a finished one is cleared, a stopped one goes on."""
    folder = paths.build_dir() / "fresh"
    if (folder / _DONE).exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_fresh() -> tuple[list[Outcome], pd.DataFrame | None]:
    """Run the whole `study` profile on simulated cells without the committed records.

    Returns
    -------
    outcomes : list of Outcome
    found : DataFrame or None
        Each headline number and the committed one (`headline.distances`), also as `distances.csv`; None when a
        notebook failed. Records, figures and executed copies lie under `build/fresh/`; nothing committed is touched.
    """
    profile = load_profile("study", "simulated")
    dataset = profile.load_dataset()
    committed = headline_records(profile, dataset, train=False)
    folder = fresh_folder()
    before = os.environ.get("CELLCYCLE_OUTPUT")
    os.environ["CELLCYCLE_OUTPUT"] = str(folder)
    try:
        outcomes = run_study("study", "simulated")
        if any(outcome.error for outcome in outcomes):
            return outcomes, None
        made = headline_records(profile, dataset, train=False)
    finally:
        if before is None:
            del os.environ["CELLCYCLE_OUTPUT"]
        else:
            os.environ["CELLCYCLE_OUTPUT"] = before
    found = distances(made, committed)
    found.round(5).to_csv(folder / "distances.csv")
    (folder / _DONE).touch()
    return outcomes, found

"""Costs of the study: time and memory of training, energy, and its networks at full image size on a GPU."""

import json
import re
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import files, results, summaries
from cellcycle.study import experiments
from cellcycle.study.blocks import markdown_table
from cellcycle.study.notebooks import MINUTES
from cellcycle.study.profiles import load_profile

# Assumed power of one busy core in watts, from low to high. Most servers and laptops in the table of Green Algorithms
# lie between; it takes 12 for an unknown processor (Lannelongue et al. 2021, Advanced Science, 10.1002/advs.202100707).
WATTS_A_CORE = (5, 15)
# Energy that warms one litre of water (4184 J per degree) from 20 to 100 degrees C, in watt-hours.
_LITRE_TO_BOILING_WH = 4184 * 80 / 3600
# Scores of the networks of Table II at 300 px on a GPU, by `benchmarks/paper.py`.
PAPER = Path("data", "results", "paper.csv")


def core_hours(records) -> pd.DataFrame:
    """Return the number of runs and the core-hours of each family of models, the most expensive family first.

    The records must be of runs whose processes use one thread each, so that their seconds are core-seconds. Power is
    not measured. Not included, because no record counts it: making the images, pretraining, running the notebooks,
    runs that were stopped or replaced, memory, cooling, and the idle power of the machine.
    """
    took_h = [(record.run["train_s"] + record.run["predict_s"]) / 3600 for record in records]
    # A family is the model's name without its size: "nagao6" belongs to the family "nagao".
    family = [re.match(r"\D+", record.config["model"])[0] for record in records]
    table = pd.DataFrame({"family": family, "core_h": took_h})
    # The ceiling is a formula, not a trained model: its record has no times.
    table = table[table["core_h"] > 0].groupby("family")["core_h"].agg(["size", "sum"])
    return table.set_axis(["runs", "core_h"], axis=1).sort_values("core_h", ascending=False)


def energy_block(root=None) -> str:
    """Return the block ENERGY of docs/ethics.md: runs, core-hours and energy per family of models, from records."""
    records = results.load_runs(root or files.repository() / "data" / "results" / "study")
    if not records:
        return "No run is recorded in `data/results/study` yet, so there is no energy to state."
    table = core_hours(records)
    table.loc["all"] = table.sum()
    low, high = WATTS_A_CORE
    shown = pd.DataFrame({"runs": table["runs"].map("{:.0f}".format), "core-hours": table["core_h"]})
    for watts in WATTS_A_CORE:
        shown[f"Wh at {watts} W a core"] = (watts * table["core_h"]).map("{:.1f}".format)
    litres = [f"{watts * table.loc['all', 'core_h'] / _LITRE_TO_BOILING_WH:.2g}" for watts in WATTS_A_CORE]
    return (
        f"Assumed: {low} to {high} W for one busy core. In all, this energy warms {litres[0]} to "
        f"{litres[1]} litres of water from 20 °C to boiling.\n\n{markdown_table(shown.rename_axis('models'))}"
    )


def training_block() -> str:
    """Return the block TRAINING: what `benchmarks/training.py --record` measured, and estimates for profile `paper`."""
    found = json.loads((files.repository() / "data" / "results" / "training.json").read_text(encoding="utf-8"))
    rows = [row | {"network": experiments.TABLE_2_MODELS[row["network"]]} for row in found["rows"]]
    table = pd.DataFrame(rows).set_index("network").rename(columns={"size_px": "side, px", "fold_s": "fold, s"})
    table[["side, px", "epochs"]] = table[["side, px", "epochs"]].astype(str)
    many, minutes = found["many"], pd.read_csv(files.repository() / MINUTES)["anew_s"].sum() / 60
    aims = {"fold / steps": table["fold / steps"].le(1.1), "two folds": table["two folds"].ge(1.8)}
    aims["tutorial / ours"] = table["tutorial / ours"].ge(np.where(table["side, px"] == "300", 4, 2.5))
    reached = ", ".join(f"{name} {met.sum()}" for name, met in aims.items())
    sentences = (
        f"Of the {len(table)} rows, so many reach each aim: {reached}.",
        _at_full_size(rows),
        f"An epoch of `best` on {many['nuclei']:,} nuclei of 64 px, on disk, takes {many['epoch_s'] / 60:.0f} minutes "
        f"of one core and {many['memory_gb']} GB of memory.",
        f"Running all notebooks anew (`make study FRESH=1`), two at a time, took {minutes:.0f} minutes in sum, so at "
        f"least {minutes / 2:.0f} on two cores; the aim was 45.",
    )
    return f"{markdown_table(table)}\n\n{textwrap.fill(' '.join(sentences), 120)}"


def _at_full_size(rows: list[dict]) -> str:
    """Return a sentence that extrapolates the ratios of the largest images to the epochs of the profile `paper`."""
    size_px, epochs = max(row["size_px"] for row in rows), load_profile("paper").epochs["nagao"]
    overs, tutorials = [], []
    for row in rows:
        if row["size_px"] == size_px:
            # Work done once per fold is spread over more epochs; the record does not say which work that is.
            over = 1 + (row["fold / steps"] - 1) * row["epochs"] / epochs
            overs.append(f"{over:.2f}")
            tutorials.append(f"{row['tutorial / ours'] * row['fold / steps'] / over:.1f}")
    return (
        f"With the {epochs} epochs of the profile `paper` at {size_px} px, fold / steps would be at least "
        f"{' and '.join(overs)}, tutorial / ours at most {' and '.join(tutorials)} (extrapolated, as if the whole part "
        f"above 1 were spent once a fold)."
    )


def paper_block(records) -> str:
    """Return Table II at 300 px (recorded by `benchmarks/paper.py`) beside the same models at 64 px (`records`)."""
    large, small = (
        table.set_index(["model", "training_set"])
        for table in (pd.read_csv(files.repository() / PAPER), summaries.score_table(records).reset_index())
    )
    large, names = large.reindex(small.index), [f"{experiments.TABLE_2_MODELS[m]}, {s}" for m, s in small.index]
    shown = [summaries.with_intervals(table, [score]).add_suffix(f", {side}") for score in ("accuracy", "macro_f1")
             for side, table in (("300 px", large), ("64 px", small))]  # fmt: skip
    shown.append(large["train_s"].map("{:.0f}".format).rename("a fold at 300 px, s"))
    return markdown_table(pd.concat(shown, axis=1).set_axis(pd.Index(names, name="network")))

"""Energy of the recorded study: the seconds of its runs times a stated range of power.

Nothing here measures power. The estimate leaves out what no record counts: making the images, pretraining,
running the notebooks, runs that were stopped or replaced, memory, cooling, and the idle power of the machine.
"""

import pandas as pd

from cellcycle import paths, results
from cellcycle.study import blocks

# Watts of one busy core, an assumption: where most servers and laptops lie in the table of Green Algorithms, which
# takes 12 for an unknown processor (Lannelongue, Grealey and Inouye 2021, Advanced Science, 10.1002/advs.202100707).
WATTS_A_CORE = (5, 15)
# To warm a litre of water (4184 J a degree) from 20 to 100 degrees C, in watt-hours.
_LITRE_TO_BOILING_WH = 4184 * 80 / 3600


def core_hours(records) -> pd.DataFrame:
    """Return what each family of models took, the longest first.

    Parameters
    ----------
    records : sequence of cellcycle.results.Record
        Of runs whose processes compute with one thread each, as `cellcycle.training.cross_validate` runs them:
        their `train_s` and `predict_s` are seconds of one core, waiting included.

    Returns
    -------
    DataFrame
        Index: family, a model's name without its size ("nagao6" is of the family "nagao"). Columns: runs
        (cross-validated models), core_h (hours of one core, training and prediction of all folds).
    """
    rows = [
        (family_of(record.config["model"]), (record.run["train_s"] + record.run["predict_s"]) / 3600)
        for record in records
    ]
    table = pd.DataFrame(rows, columns=["family", "core_h"])
    # The ceiling is a formula, not a model: its record holds no time.
    table = table[table["core_h"] > 0].groupby("family")["core_h"].agg(["size", "sum"])
    return table.set_axis(["runs", "core_h"], axis=1).sort_values("core_h", ascending=False)


def family_of(model: str) -> str:
    """Return a model's name up to its first digit.

    Examples
    --------
    >>> family_of("resnet14-plain"), family_of("dna-content")
    ('resnet', 'dna-content')
    """
    return next((model[:i] for i, letter in enumerate(model) if letter.isdigit()), model)


def energy_block(root=None) -> str:
    """Return the ethical assessment's table of energy, computed from the records of the study."""
    records = results.load_runs(root or paths.repository() / "data" / "results" / "study")
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
        f"Assumed: {low} to {high} W for one busy core. In all, as much as warms {litres[0]} to {litres[1]} litres "
        f"of water from 20 °C to boiling.\n\n{blocks.markdown_table(shown.rename_axis('models'))}"
    )


def refresh_ethics() -> None:
    """Write the computed block of the ethical assessment."""
    blocks.refresh(paths.repository() / "docs" / "ethics.md", {"ENERGY": energy_block()})

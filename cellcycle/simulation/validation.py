"""Compare simulated with real nuclei by the same measurements, made with the same code."""

from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.errors import DataError
from cellcycle.phases import PHASES
from cellcycle.segmentation import measure_crops

# Numbers of nuclei per phase that give stable quantiles.
COUNTS = {"G1": 250, "S": 250, "G2": 250, "M": 100}
QUANTITIES = ("relative_area", "relative_dna", "relative_brightness", "texture", "eccentricity", "solidity")
REAL_MEASUREMENTS = Path(__file__).parents[2] / "data" / "results" / "evidence" / "measurements.csv"


def dimensionless(measured: pd.DataFrame, reference: np.ndarray) -> pd.DataFrame:
    """Return the `QUANTITIES` of nuclei, independent of pixel size and exposure.

    `measured` has one row per nucleus, as from `measure_crops`; `reference` (N,) bool marks the nuclei whose median
    becomes 1: G1, or all of interphase if G1 is unknown.
    """
    relative = measured[["area_px", "integrated_dna", "mean_dna"]]
    relative = relative / relative[reference].median()
    return pd.concat([relative, measured[["texture", "eccentricity", "solidity"]]], axis=1).set_axis(QUANTITIES, axis=1)


def summarise(values: pd.DataFrame, phases, source: str) -> pd.DataFrame:
    """Return quantiles, mean and coefficient of variation per phase of (N,) `phases` and quantity.

    `values` has one column per quantity; NaN, for nuclei that could not be measured, are left out. The coefficient of
    variation is the robust one of flow cytometry, half the distance between the 16th and the 84th percentile divided by
    the median, which a few nuclei that touch a neighbour do not change.

    Examples
    --------
    >>> table = summarise(pd.DataFrame({"texture": [1.0, 2.0, 3.0]}), ["G1"] * 3, "example")
    >>> table[["n", "p50", "cv"]].round(3).values.tolist()
    [[3.0, 2.0, 0.341]]
    """
    phases, rows = np.asarray(phases, str), []
    for phase in dict.fromkeys(phases.tolist()):
        for quantity in values:
            x = values.loc[phases == phase, quantity].dropna().to_numpy(float)
            if x.size < 2:
                continue
            low, high = np.quantile(x, (0.1587, 0.8413))
            row = {"source": source, "phase": phase, "quantity": quantity, "n": x.size}
            row |= {f"p{q:02d}": float(np.quantile(x, q / 100)) for q in (5, 25, 50, 75, 95)}
            rows.append(row | {"mean": x.mean(), "cv": (high - low) / 2 / row["p50"]})
    return pd.DataFrame(rows)


def compare(nuclei) -> pd.DataFrame:
    """Return the rows of `summarise` for simulated nuclei, about as many as `COUNTS`, and for every real source."""
    if not REAL_MEASUREMENTS.is_file():
        raise DataError(REAL_MEASUREMENTS, "no such file", "run `make evidence` on the real cells")
    truth = nuclei.truth
    measured = measure_crops(nuclei.images, nuclei.pixel_size_um)
    # Each real source is one slide or one run, so divide by the stain of the simulated slides before comparing.
    measured[["integrated_dna", "mean_dna"]] = measured[["integrated_dna", "mean_dna"]].div(
        truth["slide_factor"].to_numpy(), axis=0
    )
    values = dimensionless(measured, (truth["phase"] == "G1").to_numpy())
    is_m = (truth["phase"] == "M").to_numpy()
    by_phase = summarise(values, truth["phase"], "simulated")
    by_mitosis = summarise(values[is_m], truth["subphase"][is_m], "simulated")
    return pd.concat([by_phase, by_mitosis, pd.read_csv(REAL_MEASUREMENTS)], ignore_index=True)


def headline(comparison: pd.DataFrame) -> pd.DataFrame:
    """Return the main figures of `compare` for a cell biologist, one row per source; NaN if a source has none."""
    by = comparison.pivot_table(index="source", columns=["phase", "quantity"], values=["p50", "cv"])
    by = by.reindex(comparison["source"].unique())
    median, spread = by["p50"], by["cv"]
    return pd.DataFrame(
        {
            "DNA G2/G1": median["G2", "relative_dna"] / median["G1", "relative_dna"],
            "DNA S/G1": median["S", "relative_dna"] / median["G1", "relative_dna"],
            "area G2/G1": median["G2", "relative_area"] / median["G1", "relative_area"],
            "CV of DNA in G1": spread["G1", "relative_dna"],
            "CV of area in G1": spread["G1", "relative_area"],
            **{f"texture {phase}": median[phase, "texture"] for phase in PHASES},
            **{f"eccentricity {phase}": median[phase, "eccentricity"] for phase in PHASES},
        }
    )

"""Simulated nuclei beside real ones: the same measurements, taken by the same code."""

from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.errors import DataError
from cellcycle.phases import PHASES
from cellcycle.segmentation import measure_crops

# Nuclei a phase that give steady quantiles.
COUNTS = {"G1": 250, "S": 250, "G2": 250, "M": 100}
QUANTITIES = ("relative_area", "relative_dna", "relative_brightness", "texture", "eccentricity", "solidity")
REAL_MEASUREMENTS = Path(__file__).parents[2] / "data" / "results" / "real_cells" / "measurements.csv"


def dimensionless(measured: pd.DataFrame, reference: np.ndarray) -> pd.DataFrame:
    """Free measurements of pixel size and exposure by dividing them by the median of reference nuclei.

    Parameters
    ----------
    measured : pandas.DataFrame, N rows
        With area_px, integrated_dna, mean_dna, texture, eccentricity and solidity, as `measure_crops` gives.
    reference : (N,) bool array
        Nuclei whose median is 1: G1, or all of interphase where G1 is unknown.

    Returns
    -------
    pandas.DataFrame, N rows
        The columns `QUANTITIES`.
    """

    def relative(column):
        return measured[column] / measured.loc[reference, column].median()

    return pd.DataFrame(
        {
            "relative_area": relative("area_px"),
            "relative_dna": relative("integrated_dna"),
            "relative_brightness": relative("mean_dna"),
            **{name: measured[name] for name in ("texture", "eccentricity", "solidity")},
        }
    )


def summarise(values: pd.DataFrame, phases, source: str) -> pd.DataFrame:
    """Return quantiles, mean and coefficient of variation per phase and quantity.

    The coefficient of variation is the robust one of flow cytometry, half the distance of the 16th and the 84th
    percentile over the median: a few nuclei that touch a neighbour do not change it.

    Parameters
    ----------
    values : pandas.DataFrame, N rows
        One column per quantity; nuclei that could not be measured are NaN and left out.
    phases : (N,) sequence of str
    source : str
        Goes into the column `source`.

    Returns
    -------
    pandas.DataFrame
        Columns source, phase, quantity, n, p05, p25, p50, p75, p95, mean, cv.

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


def measure_simulated(nuclei) -> pd.DataFrame:
    """Measure simulated crops as if they were real and return the dimensionless quantities.

    Parameters
    ----------
    nuclei : SimulatedNuclei or NucleusDataset
        With images, pixel_size_um and truth.

    Returns
    -------
    pandas.DataFrame, N rows
        The columns `QUANTITIES`.
    """
    measured = measure_crops(nuclei.images, nuclei.pixel_size_um)
    # Each real source is one slide or one run: take the simulated slides' stain out before comparing.
    slide = nuclei.truth["slide_factor"].to_numpy()
    measured[["integrated_dna", "mean_dna"]] = measured[["integrated_dna", "mean_dna"]].div(slide, axis=0)
    return dimensionless(measured, (nuclei.truth["phase"] == "G1").to_numpy())


def compare(nuclei, path=REAL_MEASUREMENTS) -> pd.DataFrame:
    """Set the simulated nuclei beside the real ones.

    Parameters
    ----------
    nuclei : SimulatedNuclei or NucleusDataset
        With all phases, about as many as `COUNTS`.
    path : path-like
        Table of `benchmarks/measure_real_cells.py`.

    Returns
    -------
    pandas.DataFrame
        The rows of `summarise`: sources "simulated", "jurkat", "mitocheck" and "rpe1".

    Raises
    ------
    DataError
        The table of real cells is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(path, "no such file", "run benchmarks/measure_real_cells.py on the real cells")
    values, truth = measure_simulated(nuclei), nuclei.truth
    is_m = (truth["phase"] == "M").to_numpy()
    by_phase = summarise(values, truth["phase"], "simulated")
    by_mitosis = summarise(values[is_m], truth["subphase"][is_m], "simulated")
    return pd.concat([by_phase, by_mitosis, pd.read_csv(path)], ignore_index=True)


def headline(comparison: pd.DataFrame) -> pd.DataFrame:
    """Return the figures that a cell biologist asks for first, one row a source.

    Parameters
    ----------
    comparison : pandas.DataFrame
        Of `compare`.

    Returns
    -------
    pandas.DataFrame
        Per source: DNA and area of G2 relative to G1, coefficient of variation of DNA and area in G1,
        median texture and eccentricity per phase; NaN where a source has no such nuclei.
    """
    median = comparison.set_index(["source", "phase", "quantity"])["p50"]
    spread = comparison.set_index(["source", "phase", "quantity"])["cv"]
    rows = {}
    for source in comparison["source"].unique():

        def at(table, phase, quantity, source=source):
            return table.get((source, phase, quantity), np.nan)

        rows[source] = {
            "DNA G2/G1": at(median, "G2", "relative_dna") / at(median, "G1", "relative_dna"),
            "area G2/G1": at(median, "G2", "relative_area") / at(median, "G1", "relative_area"),
            "CV of DNA in G1": at(spread, "G1", "relative_dna"),
            "CV of area in G1": at(spread, "G1", "relative_area"),
            **{f"texture {phase}": at(median, phase, "texture") for phase in PHASES},
            **{f"eccentricity {phase}": at(median, phase, "eccentricity") for phase in PHASES},
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("source")

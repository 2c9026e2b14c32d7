"""Simulate plates with known effects, and check that the report's intervals contain them.

    python -m benchmarks.plates    # some minutes of one core; keeps data/results/plates.csv, and docs/how_to/plate.md

Ten plates (seeds 0 to 9) of eleven wells: two each of a G1 arrest, an S block, a mitotic arrest and the vehicle, and
three bad ones: empty, out of focus, sparse. An effect is the share of a phase in the treated wells minus that in the
vehicle's wells, over all nuclei that lie wholly inside the images.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from benchmarks.page import ROOT
from cellcycle import files
from cellcycle.predict import predict
from cellcycle.report import read_experiment
from cellcycle.report.numbers import all_numbers
from cellcycle.simulation import SimulationParameters
from cellcycle.simulation.plate import CONTROL, PLATE, Well, write_plate
from cellcycle.study import blocks

RECORD, DOCUMENT = ROOT / "data" / "results" / "plates.csv", ROOT / "docs" / "how_to" / "plate.md"
SEEDS, DOSE, SIDE_PX, N_SAMPLES = range(10), 10.0, 448, 300
EFFECTS = {"G1 arrest": "G1", "S block": "S", "mitotic arrest": "M"}


def predicted(folder: Path, seed: int) -> pd.DataFrame:
    """Write a plate with its map and truth into a folder; return its table, which is also written to `table.csv`."""
    treated = [[Well(drug, DOSE)] * 2 for drug in EFFECTS]
    write_plate(folder, 1, SIDE_PX, seed, SimulationParameters(), [*treated, [Well(), Well(), *PLATE[-1][3:]]])
    table = predict(folder / "plate", plate_map=folder / "map.csv")
    table.to_csv(folder / "table.csv", index=False)
    return table


def effects(folder: Path) -> pd.DataFrame:
    """Return, per drug, the true effect, and that of the report on a folder's table, with its interval."""
    numbers = all_numbers(read_experiment([folder / "table.csv"], CONTROL), N_SAMPLES)
    found = numbers[numbers["table"] == "estimated, minus control"].set_index(["arm", "quantity"])
    truth = pd.read_csv(folder / "truth.csv").merge(pd.read_csv(folder / "map.csv"), on="well")
    shares = pd.crosstab(*truth.loc[~truth["touches_border"], ["condition", "phase"]].T.to_numpy(), normalize="index")
    rows = []
    for drug, phase in EFFECTS.items():
        row = found.loc[(f"{drug} {DOSE:g}", phase)]
        effect = shares.loc[drug, phase] - shares.loc[CONTROL, phase]
        rows.append({"drug": drug, "phase": phase, "truth": effect, **row[["value", "low", "high"]]})
    return pd.DataFrame(rows)


def told(record: pd.DataFrame) -> str:
    """Return the text of docs/how_to/plate.md on the record."""
    held = (record["low"] < record["truth"]) & (record["truth"] < record["high"])
    rows = [
        f"| {drug} | {phase} | {_points(own['truth'])} | {_points(own['value'])} | {held[own.index].sum()} | "
        f"{(own['low'] > 0).sum()} |"
        for (drug, phase), own in record.groupby(["drug", "phase"], sort=False)
    ]
    return "\n".join([
        f"Of {record['seed'].nunique()} simulated plates, each with two wells of each drug and two of the vehicle",
        "(`benchmarks/plates.py`, recorded in `data/results/plates.csv`):",
        "",
        "| drug | phase | true effect, points | estimated | inside the interval | interval above 0 |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        f"Of these {len(held)} intervals of 95 %, {held.sum()} hold the true effect.",
    ])  # fmt: skip


def _points(effect: pd.Series) -> str:
    return f"{100 * effect.min():.0f} to {100 * effect.max():.0f}"


def main() -> None:
    tables = []
    for seed in SEEDS:
        with TemporaryDirectory() as folder:
            predicted(Path(folder), seed)
            tables.append(effects(Path(folder)).assign(seed=seed))
        print(tables[-1].round(3).to_string(index=False), flush=True)
    record = pd.concat(tables, ignore_index=True)
    with files.whole_file(RECORD) as work:
        record.round(4).to_csv(work, index=False)
    blocks.refresh(DOCUMENT, {"EFFECTS": told(pd.read_csv(RECORD))})


if __name__ == "__main__":
    main()

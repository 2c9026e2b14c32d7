"""Measure how time and memory of a prediction grow with fields, nuclei and pixels.

    python -m benchmarks.growth                         # prints the table: about a quarter of an hour of one core
    python -m benchmarks.growth --only fields engines   # of these series alone
    python -m benchmarks.growth --leave 1               # without the largest of each series: most of the time
    python -m benchmarks.growth --record                # keeps data/results/growth.csv, figure and text of docs

Each series changes one thing: *fields*, the number of small fields in one call; *nuclei* at constant density, in one
field that grows with them; *pixels* around the same nuclei. Simulated nuclei are about 11 px large, as at low
magnification, in the series *pixels* 22 px, which the finder need not enlarge. One process runs; its processor time,
which depends little on other work of the machine, and its peak memory are measured. A slope is that between the
logarithms of the two largest points, where the start of the program matters least; 1 is proportional. Last, *engines*:
processor time of the process that distributes fields, to two processes or to two workers of a dask cluster.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.page import where
from benchmarks.speed import run
from cellcycle import files, tasks
from cellcycle.images import write_image
from cellcycle.plots.style import label, new_figure
from cellcycle.predict.command import run_predict
from cellcycle.simulation import simulate_field
from cellcycle.study import blocks

SIZES = {
    "fields": (1, 4, 20, 100, 400),
    "nuclei": (100, 1_000, 10_000, 100_000),
    "pixels": (512, 1024, 2048, 4096, 10_000),
}
# Numbers of fields that are distributed, and the options of each engine.
HANDED_OUT, ENGINES = (4, 40), {"handed to processes": {}, "handed to dask": {"dask": "local"}}
COMMAND = [sys.executable, "-m", "cellcycle"]
RECORD = files.repository() / "data" / "results" / "growth.csv"
DOCUMENT = files.repository() / "docs" / "how_to" / "plate.md"
FIGURE = files.repository() / "docs" / "images" / "growth.png"
# Tile of each series: side in pixels, number of nuclei, and simulated pixels per side of a pixel.
TILES = {"fields": (128, 8, 4), "nuclei": (512, 600, 4), "pixels": (512, 150, 2)}


def simulated(tile: tuple[int, int, int]) -> np.ndarray:
    """Return a field (side, side) uint16 of `TILES`."""
    side_px, n_nuclei, binned = tile
    made = simulate_field((side_px * binned, side_px * binned), n_nuclei, seed=3)
    return made.image.reshape(side_px, binned, side_px, binned).mean(axis=(1, 3)).astype(np.uint16) * 16


def wide(picture: np.ndarray, size_px: int) -> np.ndarray:
    """Return a picture tiled with copies of itself, cut to a size."""
    return np.tile(picture, (-(-size_px // len(picture)),) * 2)[:size_px, :size_px]


def write(folder: Path, series: str, n: int, tile: np.ndarray) -> dict[str, float]:
    """Write the images of one point; return their numbers of fields and pixels."""
    side_px, n_nuclei, binned = TILES[series]
    pictures = [tile]
    if series == "fields":
        pictures = (np.roll(tile, 7 * k, axis=k % 2) for k in range(n))
    elif series == "nuclei":
        pictures = [wide(tile, round(side_px * (n / n_nuclei) ** 0.5))]
    elif n > side_px:
        dark = np.sort(tile.ravel())[: tile.size // 4]
        pictures = [wide(np.random.default_rng(0).choice(dark, tile.shape), n)]
        pictures[0][:side_px, :side_px] = tile
    n_pixels = 0
    for k, picture in enumerate(pictures):
        write_image(folder / f"f{k:03d}.tif", picture, binned * 0.325)
        n_pixels += picture.size
    return {"fields": k + 1, "pixels": n_pixels}


def measure(series: str, sizes) -> pd.DataFrame:
    """Return one row per point: series, n, fields, pixels, nuclei found, processor seconds, peak memory."""
    # Simulate in another process: the peak memory of this one would count for the processes that it starts.
    (tile,) = tasks.run(simulated, iter([TILES[series]]), 2)
    rows: list = []
    start = run([*COMMAND, "models"], 3)["cpu_s"]
    for n in sizes:
        with TemporaryDirectory() as scratch:
            (images := Path(scratch, "images")).mkdir()
            (size,) = tasks.run(partial(write, images, series, n), iter([tile]), 2)
            table = Path(scratch, "table.csv")
            took = run([*COMMAND, "predict", images, "--output", table, "--jobs", "1"])
            nuclei = pd.read_csv(table, usecols=["nucleus_id"])["nucleus_id"].count()
        rows.append({"series": series, "n": n} | size | {"nuclei": nuclei, "start_s": start} | took)
        print(pd.DataFrame(rows[-1:]).round(2).to_string(header=len(rows) == 1, index=False), flush=True)
    return pd.DataFrame(rows).drop(columns="wall_s")


def hand_out() -> pd.DataFrame:
    """Return one row per engine and number of fields: processor seconds of this process alone."""
    rows, tile = [], simulated(TILES["fields"])
    for engine, options in ENGINES.items():
        for n in HANDED_OUT:
            with TemporaryDirectory() as scratch:
                (images := Path(scratch, "images")).mkdir()
                size, started = write(images, "fields", n, tile), time.process_time()
                run_predict([str(images)], output=Path(scratch, "table.csv"), n_jobs=2, **options)
                rows.append({"series": engine, "n": n} | size | {"cpu_s": time.process_time() - started})
    return pd.DataFrame(rows)


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Return, per series, the log-log slopes of time and memory over n (series *pixels*: over pixels) at its end."""
    found = {}
    for series, own in _series(table):
        ends = np.log(own[["pixels" if series == "pixels" else "n", "cpu_s", "peak_gb"]].to_numpy(float)[-2:])
        run, *rises = ends[1] - ends[0]
        found[series] = {"cpu_s": rises[0] / run, "peak_gb": rises[1] / run}
    return pd.DataFrame(found).T


def _series(table: pd.DataFrame):
    return table[table["series"].isin(SIZES)].groupby("series", sort=False)


def told(table: pd.DataFrame) -> str:
    """Return the text of the page on plates."""
    rows = [
        "| more | from | to | processor time, s | peak memory, GB | slope of time | of memory |",
        "| --- " * 7 + "|",
    ]
    left = []
    for series, own in _series(table):
        first, last, slope = own.iloc[0], own.iloc[-1], slopes(table).loc[series]
        unit = " px a side" if series == "pixels" else ""
        left += [f"{SIZES[series][-1]:,} {unit.strip() or series}"] * int(last["n"] < SIZES[series][-1])
        rows.append(
            f"| {series} | {first['n']:,.0f}{unit} | {last['n']:,.0f}{unit} | {first['cpu_s']:.1f} to "
            f"{last['cpu_s']:.0f} | {first['peak_gb']:.2f} to {last['peak_gb']:.2f} | {slope['cpu_s']:.2f} | "
            f"{slope['peak_gb']:.2f} |"
        )
    rows += ["", f"Not measured yet: {' and '.join(left)}."] * bool(left)
    steepest = slopes(table).max().max()
    within = "none is" if steepest <= 1.05 else f"the steepest, {steepest:.2f}, is"
    about = table.iloc[0]
    facts = (
        f"Measured with one process on a machine of {about['machine']}, {about['date']}, beside other work;",
        "recorded in `data/results/growth.csv`. Slopes are those between the two largest points on logarithms, where",
        f"the start of the program counts least. 1 is proportional; at most 1.05 was asked, and {within} beyond it.",
        "The series are fields of one call, nuclei of one field, and pixels around the same nuclei:",
    )
    return "\n".join([*facts, "", *rows])


def figure_of(table: pd.DataFrame):
    """Return a figure of time and memory over each series, on log axes, with a line of slope 1."""
    figure, axes = new_figure(10, 5.2, 2, 3, sharey="row")
    for column, (series, own) in enumerate(_series(table)):
        x = own["pixels"] / 1e6 if series == "pixels" else own["n"]
        for ax, name in zip(axes[:, column], ("cpu_s", "peak_gb"), strict=True):
            ax.loglog(x, own[name], "o-", color="#0072b2")
            if name == "cpu_s":
                ax.loglog(x, own[name].iloc[-1] * x / x.iloc[-1], "--", color="#767676", label="slope 1")
            slope = slopes(table).loc[series, name]
            ax.xaxis.set_minor_formatter("")
            ax.yaxis.set_minor_formatter("")
            label(ax, {"pixels": "megapixels"}.get(series, series), title=f"slope {slope:.2f}")
    label(axes[0, 0], "fields", "processor time, s", axes[0, 0].get_title())
    label(axes[1, 0], "fields", "peak memory, GB", axes[1, 0].get_title())
    axes[1, 0].set_ylim(0.2, 5)
    axes[1, 0].set_yticks([0.25, 0.5, 1, 2, 4], ["0.25", "0.5", "1", "2", "4"])
    axes[0, 0].legend(frameon=False)
    return figure


def main() -> None:
    """Measure, print and keep; of series that were not measured now the record stays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="keep the table, its figure and text")
    parser.add_argument("--only", nargs="+", choices=[*SIZES, "engines"], default=[*SIZES, "engines"])
    parser.add_argument("--leave", type=int, default=0, help="leave so many of the largest of each series out")
    arguments = parser.parse_args()
    sizes = {name: own[: len(own) - arguments.leave] for name, own in SIZES.items()}
    made = [hand_out() if name == "engines" else measure(name, sizes[name]) for name in arguments.only]
    table = pd.concat(made, ignore_index=True).assign(**where())
    if RECORD.exists() and len(arguments.only) <= len(SIZES):
        before = pd.read_csv(RECORD)
        table = pd.concat([table, before[~before["series"].isin(table["series"])]], ignore_index=True)
    order = {name: k for k, name in enumerate([*SIZES, *ENGINES])}
    table = table.sort_values("series", key=lambda names: names.map(order), kind="stable")
    print(slopes(table).round(2).to_string())
    if arguments.record:
        with files.whole_file(RECORD) as work:
            table.round(3).to_csv(work, index=False)
        # What a reader computes again is what stands in the file.
        table = pd.read_csv(RECORD)
        figure_of(table).savefig(FIGURE, dpi=150)
        blocks.refresh(DOCUMENT, {"MEASURED": told(table)})


if __name__ == "__main__":
    main()

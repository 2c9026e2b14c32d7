"""Measure how time and memory of a prediction grow with fields, nuclei and pixels.

    python -m benchmarks.growth            # prints the table: about fifteen minutes of one core
    python -m benchmarks.growth --quick    # without the largest of each series: five minutes
    python -m benchmarks.growth --record   # and keeps data/results/growth.csv, and its figure in docs/images

Each series changes one thing: *fields* of 512 px and 60 nuclei in one call; *nuclei* at one density, in one field that
grows with them; *pixels* about the same nuclei. Simulated nuclei, at the magnification of a 10x objective; one process,
whose processor time is taken, so that other work on the machine does not count, and its peak memory. A slope is that of
the line through the logarithms, from where the start of the program is no longer most of it; 1 is proportional. Last,
what the process that hands out fields spends itself, which no worker takes off it: beside two processes, and two
workers of a dask cluster.
"""

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.speed import run
from cellcycle import files, tasks
from cellcycle.images import write_image
from cellcycle.plots.style import label, new_figure
from cellcycle.predict.command import run_predict
from cellcycle.simulation import simulate_field

SIZES = {
    "fields": (1, 4, 20, 100, 400),
    "nuclei": (100, 1_000, 10_000, 100_000),
    "pixels": (512, 1024, 2048, 4096, 10_000),
}
# Fields that are handed out, and by what.
HANDED_OUT, ENGINES = (4, 40), {"handed to processes": {}, "handed to dask": {"dask": "local"}}
COMMAND = [sys.executable, "-m", "cellcycle"]
RECORD = files.repository() / "data" / "results" / "growth.csv"
FIGURE = files.repository() / "docs" / "images" / "growth.png"
TILE_PX, BIN, TILE_NUCLEI, SPARSE_NUCLEI = 512, 3, 260, 60
# Of the time of one field so much is needed beyond the start for a point to count in a slope.
_LEAST_SHARE = 0.5


def tile(n_nuclei: int) -> np.ndarray:
    """Return a simulated field (512, 512) uint16 at a third of its magnification."""
    made = simulate_field((TILE_PX * BIN, TILE_PX * BIN), n_nuclei, seed=3)
    return made.image.reshape(TILE_PX, BIN, TILE_PX, BIN).mean(axis=(1, 3)).astype(np.uint16) * 16


def wide(picture: np.ndarray, size_px: int) -> np.ndarray:
    """Return a picture side by side with itself, cut to a size."""
    return np.tile(picture, (-(-size_px // TILE_PX),) * 2)[:size_px, :size_px]


def write(folder: Path, series: str, n: int, crowded: np.ndarray, sparse: np.ndarray) -> int:
    """Write the images of one point; return their pixels."""
    if series == "fields":
        for k in range(n):
            write_image(folder / f"f{k:03d}.tif", np.roll(sparse, 7 * k, axis=k % 2), BIN * 0.325)
        return n * TILE_PX**2
    if series == "nuclei":
        size_px = round(TILE_PX * (n / TILE_NUCLEI) ** 0.5)
        write_image(folder / "field.tif", wide(crowded, size_px), BIN * 0.325)
        return size_px**2
    dark = np.sort(crowded.ravel())[: crowded.size // 4]
    empty = wide(np.random.default_rng(0).choice(dark, crowded.shape), n)
    empty[:TILE_PX, :TILE_PX] = crowded
    write_image(folder / "field.tif", empty, BIN * 0.325)
    return n**2


def measure(n_largest: int, crowded: np.ndarray, sparse: np.ndarray) -> pd.DataFrame:
    """Return one row a point: series, n, pixels, nuclei found, processor seconds, peak memory."""
    rows: list = []
    start = run([*COMMAND, "models"], 3)["cpu_s"]
    for series, sizes in SIZES.items():
        for n in sizes[: len(sizes) - n_largest]:
            with TemporaryDirectory() as scratch:
                (images := Path(scratch, "images")).mkdir()
                pixels, table = write(images, series, n, crowded, sparse), Path(scratch, "table.csv")
                took = run([*COMMAND, "predict", images, "--output", table, "--jobs", "1"])
                nuclei = pd.read_csv(table, usecols=["nucleus_id"])["nucleus_id"].count()
            rows.append({"series": series, "n": n, "pixels": pixels, "nuclei": nuclei, "start_s": start} | took)
            print(pd.DataFrame(rows[-1:]).round(2).to_string(header=len(rows) == 1, index=False), flush=True)
    return pd.DataFrame(rows).drop(columns="wall_s")


def hand_out(sparse: np.ndarray) -> pd.DataFrame:
    """Return one row an engine and number of fields: processor seconds of this process alone."""
    rows: list = []
    for engine, options in ENGINES.items():
        for n in HANDED_OUT:
            with TemporaryDirectory() as scratch:
                (images := Path(scratch, "images")).mkdir()
                pixels, started = write(images, "fields", n, sparse, sparse), time.process_time()
                run_predict([str(images)], output=Path(scratch, "table.csv"), n_jobs=2, **options)
                rows.append({"series": engine, "n": n, "pixels": pixels, "cpu_s": time.process_time() - started})
    return pd.DataFrame(rows)


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Return of each series the slopes of time and memory over n (over pixels, of pixels), on logarithms."""
    found = {}
    for series, own in table[table["series"].isin(SIZES)].groupby("series", sort=False):
        x = np.log(own["pixels"] if series == "pixels" else own["n"])
        counts = own["cpu_s"] - own["start_s"] > _LEAST_SHARE * own["start_s"]
        found[series] = {
            name: np.polyfit(x[counts], np.log(own.loc[counts, name]), 1)[0] for name in ("cpu_s", "peak_gb")
        }
    return pd.DataFrame(found).T


def figure_of(table: pd.DataFrame):
    """Return time and memory over each series, on logarithms, with a line of slope 1."""
    figure, axes = new_figure(10, 5.2, 2, 3, sharey="row")
    for column, (series, own) in enumerate(table[table["series"].isin(SIZES)].groupby("series", sort=False)):
        x = own["pixels"] / 1e6 if series == "pixels" else own["n"]
        for ax, name in zip(axes[:, column], ("cpu_s", "peak_gb"), strict=True):
            ax.loglog(x, own[name], "o-", color="#0072b2")
            if name == "cpu_s":
                ax.loglog(x, own[name].iloc[-1] * x / x.iloc[-1], "--", color="#767676", label="slope 1")
            slope = slopes(table).loc[series, name]
            label(ax, {"pixels": "megapixels"}.get(series, series), title=f"slope {slope:.2f}")
    label(axes[0, 0], "fields", "processor time, s", axes[0, 0].get_title())
    label(axes[1, 0], "fields", "peak memory, GB", axes[1, 0].get_title())
    axes[0, 0].legend(frameon=False)
    return figure


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="keep the table and draw its figure")
    parser.add_argument("--quick", action="store_true", help="leave the largest of each series out")
    arguments = parser.parse_args()
    # In processes of their own: what this one has held counts as memory of those that it starts.
    crowded, sparse = tasks.run(tile, [TILE_NUCLEI, SPARSE_NUCLEI], 2)
    table = pd.concat([measure(arguments.quick, crowded, sparse), hand_out(sparse)], ignore_index=True)
    print(slopes(table).round(2).to_string())
    if arguments.record:
        with files.whole_file(RECORD) as work:
            table.round(3).to_csv(work, index=False)
        figure_of(table).savefig(FIGURE, dpi=150)


if __name__ == "__main__":
    main()

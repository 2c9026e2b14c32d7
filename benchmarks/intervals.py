"""Simulate experiments with known shares, and measure how often the intervals of the report contain them.

    python -m benchmarks.intervals    # 8 minutes of one core; keeps data/results/intervals.csv, docs/how_to/plate.md

No images: each well has 200 to 600 nuclei of known phase, so that only wells, plates and the number of nuclei make a
share uncertain. The log odds of a phase vary normally between wells and between plates. Every second condition is like
the control, the others have more G1. The true share is the mean over all possible wells and plates; a true difference
is that minus the control's. One row per design: the fraction of an experiment's intervals (over phases and conditions)
that contain the truth, averaged over experiments, with Wilson's interval for the number of experiments, because the
intervals of one experiment tend to miss together.
"""

from collections import namedtuple
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import softmax

from benchmarks.page import ROOT
from cellcycle import files
from cellcycle.metrics import wilson
from cellcycle.phases import PHASES
from cellcycle.report.intervals import scatter_of, scatter_within
from cellcycle.report.shares import samples_of
from cellcycle.study import blocks

RECORD, DOCUMENT = ROOT / "data" / "results" / "intervals.csv", ROOT / "docs" / "how_to" / "plate.md"
N_EXPERIMENTS, N_SAMPLES, NUCLEI, HOW = 150, 200, (200, 601), "counted"
SHARES = np.array([[0.5, 0.3, 0.16, 0.04], [0.65, 0.2, 0.12, 0.03]])
# If the logarithms of all four weights have a standard deviation of 1, the log odds of a phase have about this one.
_OF_ODDS = 1.23
ONE, SHARED, OWN = STANDS = "one", "shared by all conditions", "one for each condition"
_ASKED = ("shares", "differences")
# Layout of conditions on plates, numbers of plates, conditions, and wells of each, deviations of wells and plates.
Design = namedtuple("Design", "stand plates conditions wells wells_differ plates_differ")


def designs() -> list[Design]:
    differing = list(product((0.25, 0.5), (0.3, 0.7), (2, 8)))
    one = [Design(ONE, 1, c, n, w, 0.0) for n, w, c in product((1, 2, 3), (0.25, 0.5), (2, 8))]
    shared = [Design(SHARED, k, c, n, w, p) for n, k, (w, p, c) in product((1, 2), (2, 3, 4), differing)]
    return one + shared + [Design(OWN, c, c, n, w, p) for n, (w, p, c) in product((1, 3), differing)]


def drawn(design: Design, rng: np.random.Generator) -> pd.DataFrame:
    """Return the nuclei of one experiment, with the columns that the shares need, and their condition."""
    pairs = [(c, p) for c in range(design.conditions) for p in range(design.plates) if design.stand != OWN or p == c]
    condition, plate = np.repeat(pairs, design.wells, axis=0).T
    off = rng.normal(0, design.plates_differ, (design.plates, len(PHASES)))[plate]
    off = off + rng.normal(0, design.wells_differ, off.shape)
    shares = softmax(np.log(SHARES[condition % 2]) + off / _OF_ODDS, axis=1)
    counts = rng.multinomial(rng.integers(*NUCLEI, len(shares)), shares)
    well, phase = (np.repeat(of.ravel(), counts.ravel()) for of in np.indices(counts.shape))
    about = {"condition": condition[well], "place": plate[well], "unit": well, "image": well, "replicate": ""}
    likely = {f"l_{name}": (phase == k) * 1.0 for k, name in enumerate(PHASES)}
    return pd.DataFrame(about | {"call": np.array(PHASES)[phase]} | likely)


def true_shares(design: Design) -> np.ndarray:
    """Return the true shares (C, 4) of the conditions: means over all possible wells and plates."""
    deviation = np.hypot(design.wells_differ, design.plates_differ) / _OF_ODDS
    off = np.random.default_rng(0).normal(0, deviation, (200_000, len(PHASES)))
    of_both = np.array([softmax(np.log(own) + off, axis=1).mean(axis=0) for own in SHARES])
    return of_both[np.arange(design.conditions) % 2]


def found(nuclei: pd.DataFrame) -> list[np.ndarray]:
    """Return the ends (2, C, 4) of the intervals of shares per condition, and (2, C - 1, 4) of those of differences to
    the first, computed as in `all_numbers`.
    """
    arms = [samples_of(own, PHASES, k, N_SAMPLES, (HOW,)) for k, own in nuclei.groupby("condition")]
    scatter = scatter_of(arms)
    within = scatter_within(arms, scatter)
    shares = [arm.interval(HOW, None, scatter) for arm in arms]
    differences = [arm.interval(HOW, arms[0], within) for arm in arms[1:]]
    return [np.moveaxis([[(i.low, i.high) for i in own] for own in of], -1, 0) for of in (shares, differences)]


def row_of(design: Design, n_experiments: int = N_EXPERIMENTS) -> dict:
    """Return how often the intervals of a design contain the truth, for shares and for differences."""
    shares, held = true_shares(design), []
    truth = shares, shares[1:] - shares[0]
    seed = [STANDS.index(design.stand), *(round(100 * number) for number in design[1:])]
    for k in range(n_experiments):
        asked = zip(found(drawn(design, np.random.default_rng([k, *seed]))), truth, strict=True)
        held.append([np.mean((low <= true) & (true <= high)) for (low, high), true in asked])
    row = design._asdict() | {"experiments": n_experiments}
    for name, part in zip(_ASKED, np.mean(held, axis=0), strict=True):
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), (part, *wilson(part, n_experiments)), strict=True))
    return row


def told(record: pd.DataFrame) -> str:
    """Return the text of docs/how_to/plate.md: the lowest and highest coverage of the designs of each kind."""
    is_own, is_single = record["stand"] == OWN, (record["wells"] == 1) & (record["stand"] != SHARED)
    rows = []
    for (stand, by, _), own in record.groupby(["stand", "plates_differ", is_single], sort=False):
        parts = [_range(100 * of[name]) for _, of in own.groupby("wells_differ") for name in _ASKED]
        rows.append(f"| {' | '.join([stand, _range(own['wells']), f'{by:g}' if by else '', *parts])} |")
    within, between = (_range(100 * record.loc[which, "differences"]) for which in (~is_own & ~is_single, is_own))
    by_wells = " | ".join(f"shares, wells differ by {by:g} | differences" for by in sorted(set(record["wells_differ"])))
    return "\n".join([
        f"In simulations, {within} % of the 95 % intervals hold the true difference of conditions that share their",
        f"plates, in two wells or more of each, and {between} % where each has a plate of its own. The table has these",
        f"parts in %, from the lowest design to the highest, of {_range(record['experiments'])} experiments each",
        "(`benchmarks/intervals.py`, recorded with Wilson's intervals in `data/results/intervals.csv`):",
        "",
        f"| plates | wells of each on a plate | plates differ by | {by_wells} |",
        "|" + " --- |" * 7,
        *rows,
    ])  # fmt: skip


def _range(numbers: pd.Series) -> str:
    low, high = f"{numbers.min():.0f}", f"{numbers.max():.0f}"
    return low if low == high else f"{low} to {high}"


def main() -> None:
    record = pd.DataFrame(map(row_of, designs()))
    with files.whole_file(RECORD) as work:
        record.round(4).to_csv(work, index=False)
    blocks.refresh(DOCUMENT, {"COVERAGE": told(pd.read_csv(RECORD))})


if __name__ == "__main__":
    main()

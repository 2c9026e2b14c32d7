"""Simulate experiments whose shares are known, and count how often the intervals of the report hold them.

    python -m benchmarks.intervals    # 8 minutes of one core; keeps data/results/intervals.csv, docs/how_to/plate.md

No pictures: of each well 200 to 600 nuclei whose phase is known, so that nothing but wells, plates and the number of
nuclei makes a share uncertain. The log odds of a phase deviate normally from well to well and from plate to plate.
Every second condition is like the control, the others hold more G1. True is the share over all wells and plates that
might have been, and for a difference that less the control's. One row a design: which part of the intervals of an
experiment holds the truth, over its phases and conditions, on average over experiments, with Wilson's interval of as
many experiments as there are, for intervals of one miss together.
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
# Where the logarithms of all four weights deviate by 1, the log odds of one of these phases do by about so much.
_OF_ODDS = 1.23
ONE, SHARED, OWN = STANDS = "one", "shared by all conditions", "one for each condition"
_ASKED = ("shares", "differences")
# How conditions stand on plates, with so many wells of each on a plate, and how wells and plates deviate.
Design = namedtuple("Design", "stand plates conditions wells wells_differ plates_differ")


def designs() -> list[Design]:
    differing = list(product((0.25, 0.5), (0.3, 0.7), (2, 8)))
    one = [Design(ONE, 1, c, n, w, 0.0) for n, w, c in product((1, 2, 3), (0.25, 0.5), (2, 8))]
    shared = [Design(SHARED, k, c, n, w, p) for n, k, (w, p, c) in product((1, 2), (2, 3, 4), differing)]
    return one + shared + [Design(OWN, c, c, n, w, p) for n, (w, p, c) in product((1, 3), differing)]


def drawn(design: Design, rng: np.random.Generator) -> pd.DataFrame:
    """Return the nuclei of one experiment, in the columns that shares are made of, each with its condition."""
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
    """Return the shares (C, 4) of the conditions over all wells and plates that might have been."""
    deviation = np.hypot(design.wells_differ, design.plates_differ) / _OF_ODDS
    off = np.random.default_rng(0).normal(0, deviation, (200_000, len(PHASES)))
    of_both = np.array([softmax(np.log(own) + off, axis=1).mean(axis=0) for own in SHARES])
    return of_both[np.arange(design.conditions) % 2]


def found(nuclei: pd.DataFrame) -> list[np.ndarray]:
    """Return, as `all_numbers` has them, both ends (2, C, 4) of the intervals of the shares under each condition, and
    (2, C - 1, 4) of what they are more than under the first.
    """
    arms = [samples_of(own, PHASES, k, N_SAMPLES, (HOW,)) for k, own in nuclei.groupby("condition")]
    scatter = scatter_of(arms)
    within = scatter_within(arms, scatter)
    shares = [arm.interval(HOW, None, scatter) for arm in arms]
    differences = [arm.interval(HOW, arms[0], within) for arm in arms[1:]]
    return [np.moveaxis([[(i.low, i.high) for i in own] for own in of], -1, 0) for of in (shares, differences)]


def row_of(design: Design, n_experiments: int = N_EXPERIMENTS) -> dict:
    """Return how often the intervals of a design hold the truth, of shares and of differences."""
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
    """Return the record as the lines of docs/how_to/plate.md: of designs of a kind the lowest part and the highest."""
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

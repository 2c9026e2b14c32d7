"""The tables of the data card, computed from the simulator and from measurements of real cells."""

import textwrap
from functools import cache
from pathlib import Path

import pandas as pd
from scipy.spatial import cKDTree

from cellcycle import files
from cellcycle.datasets import make_simulated
from cellcycle.phases import PHASES
from cellcycle.predict import predict
from cellcycle.simulation import ceiling, validation
from cellcycle.study import blocks

SAMPLE = Path("data", "sample")
MITOSES = ("prophase", "prometaphase", "metaphase", "anaphase")
MITOSES_OF = ("simulated", "jurkat", "mitocheck")
SEEN = {
    "DNA, area, contrast": {},
    "the same, stain of the slide known": {"slide_known": True},
    "DNA and area": {"sees": ("integrated_dna", "area_um2")},
    "DNA alone": {"sees": ("integrated_dna",)},
}


def card_blocks() -> dict[str, str]:
    """Return every computed block of the data card."""
    return {**validation_blocks(), "CEILING": ceiling_block(), "SAMPLES": samples_block()}


def samples_block() -> str:
    """Return a sentence: how many sample nuclei `auto` calls correctly when predicted without options."""
    crops = predict(sorted((files.repository() / SAMPLE / "nuclei").glob("*/*.png")))
    crops_right = (crops["call"] == [Path(image).parent.name for image in crops["image"]]).sum()
    right = sample_field()["is_right"]
    return textwrap.fill(
        f"Of the {len(crops)} crops, `auto` calls {crops_right} correctly, each by its picture alone and without a "
        f"pixel size. Of the {len(right)} nuclei of the field, read against its G1 peak, it calls {right.sum()} "
        "correctly.",
        120,
    )


@cache
def sample_field() -> pd.DataFrame:
    """Return one row per true nucleus of the sample field: its `phase`, and `is_right`, whether it was called so."""
    folder = files.repository() / SAMPLE / "fields"
    field, truth = predict(folder / "fields"), pd.read_csv(folder / "truth.csv")
    at, radii = ["centroid_y_px", "centroid_x_px"], truth["area_um2"].pow(0.5) / truth["pixel_size_um"] / 2
    distances, nearest = cKDTree(field[at]).query(truth[at])
    is_right = (truth["phase"] == field["call"].to_numpy()[nearest]) & (distances < radii)
    return pd.DataFrame({"phase": truth["phase"], "is_right": is_right})


def picture_block() -> str:
    """Return the caption of README's picture of the sample field."""
    found = sample_field()
    in_s = found["is_right"][found["phase"] == "S"]
    return textwrap.fill(
        "*A simulated field, as `cellcycle predict` draws it: G1 blue, S orange, G2 green. Of its "
        f"{len(found)} nuclei, {found['is_right'].sum()} are called correctly; of the {len(in_s)} in S, {in_s.sum()}. "
        "[Real cells](docs/evidence.md) may fare worse.*",
        120,
    )


def validation_blocks() -> dict[str, str]:
    """Return the blocks VALIDATION and MITOSIS of the data card: simulated beside real nuclei."""
    compared = validation.compare(make_simulated("validation", validation.COUNTS))
    headline = validation.headline(compared).T[["simulated", "jurkat", "rpe1"]].rename_axis("quantity")
    median = compared.set_index(["source", "phase", "quantity"])["p50"]
    titles = {"relative_area": "area over G1", "relative_brightness": "brightness over G1"}
    rows = {
        f"{titles.get(quantity, quantity)}, {phase}": {s: median.get((s, phase, quantity)) for s in MITOSES_OF}
        for phase in MITOSES
        for quantity in ("eccentricity", "solidity", "texture", *titles)
    }
    mitosis = pd.DataFrame.from_dict(rows, orient="index").rename_axis("mitosis by shape")
    # Each crop of mitocheck was rescaled by itself, so that brightness cannot be compared between crops.
    mitosis.loc[mitosis.index.str.startswith("brightness"), "mitocheck"] = None
    return {"VALIDATION": blocks.markdown_table(headline), "MITOSIS": blocks.markdown_table(mitosis)}


def ceiling_block() -> str:
    """Return the block CEILING: scores of the best possible classifier, one row per set of quantities that it sees."""
    rows = {}
    for name, options in SEEN.items():
        found = ceiling(**options)
        rows[name] = {"accuracy": found.accuracy, "balanced accuracy": found.balanced_accuracy}
        rows[name] |= {"macro F1": found.macro_f1, **{f"recall {phase}": found.recall[phase] for phase in PHASES}}
    return blocks.markdown_table(pd.DataFrame.from_dict(rows, orient="index").rename_axis("sees"))

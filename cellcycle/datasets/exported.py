"""Whether two classes differ in how their files were exported, or in their groups: a model could tell them by it."""

from itertools import combinations
from pathlib import Path

import pandas as pd

from cellcycle.datasets.nuclei import FEWEST
from cellcycle.images import Plane

_ONE_KIND = {".tiff": ".tif", ".jpeg": ".jpg"}


def _properties(plane: Plane) -> dict[str, str]:
    (height, width), suffix = plane.pixels.shape, Path(plane.path).suffix.casefold()
    return {
        "the kind of their files": _ONE_KIND.get(suffix, suffix),
        "bits": f"{plane.bit_depth}",
        "channels": f"{len(plane.channels)}",
        "pixel size": "none stated" if plane.pixel_size_um is None else f"{plane.pixel_size_um:.3g} um",
        "the size of their files": f"{width} x {height} px",
    }


def differences(labels, planes) -> tuple[str, ...]:
    """Return a sentence for each property of files that tells two classes apart; `labels` and `planes` are of cells.

    It does where a rule by it leaves less than half of the errors of naming the larger class. The rule knows what half
    of a class has alone: crops cut tight round nuclei have a size each, and those of larger nuclei are larger.
    """
    properties = pd.DataFrame([_properties(plane) for plane in planes])
    return tuple(filter(None, (_difference(labels, values, name) for name, values in properties.items())))


def difference_of_groups(labels, groups) -> str:
    """Return the sentence of `differences` for the groups of cells, "" where they tell no two classes apart.

    Whatever is unlike between groups, as stain and exposure, tells these classes then. Groups of a class may be many.
    """
    return _difference(labels, groups, "group", 0)


def _difference(labels, values, name: str, least_share: float = 0.5) -> str:
    counts = pd.crosstab(pd.Series(list(values)), pd.Series(list(labels)))
    # Of fewer nothing is told, and a class a row, as a dragged cell of a table makes, would be many pairs.
    counts = counts.loc[:, counts.sum() >= FEWEST]
    told = [(pair, of) for pair in combinations(counts, 2) if _tells(of := counts[list(pair)], least_share)]
    if not told:
        return ""
    pair, of = told[0]
    more = {1: "", 2: ", and so does 1 more pair"}.get(len(told), f", and so do {len(told) - 1} more pairs")
    return f"{' and '.join(pair)} differ in {name} ({', '.join(of.idxmax())}){more}: a model can tell them by it"


def _tells(counts: pd.DataFrame, least_share: float) -> bool:
    """Say whether values of a property, (V, 2) cells of two classes, tell these apart.

    Those count that `FEWEST` cells of a class have, and this share of it; classes have as many.
    """
    n_cells = counts.sum()
    is_usual = ((counts >= FEWEST) & (counts >= n_cells * least_share)).any(axis=1)
    n_wrong = counts[is_usual].min(axis=1).sum() + counts[~is_usual].sum().min()
    return 2 * n_wrong < n_cells.min()

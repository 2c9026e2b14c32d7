"""Whether the files of two classes were exported in two ways: a model could tell the classes by it, not by nuclei."""

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
    labels, said = pd.Series(list(labels)), []
    for name, values in pd.DataFrame([_properties(plane) for plane in planes]).items():
        counts = pd.crosstab(values, labels)
        told = [(pair, pair_counts) for pair in combinations(counts, 2) if _tells(pair_counts := counts[list(pair)])]
        if told:
            pair, of = told[0]
            more = {1: "", 2: ", and so does 1 more pair"}.get(len(told), f", and so do {len(told) - 1} more pairs")
            usual = ", ".join(of.idxmax())
            said.append(f"{' and '.join(pair)} differ in {name} ({usual}){more}: a model can tell them by it")
    return tuple(said)


def _tells(counts: pd.DataFrame) -> bool:
    """Say whether values of a property, (V, 2) cells of two classes, tell these apart."""
    n_cells = counts.sum()
    is_usual = ((counts >= FEWEST) & (counts >= n_cells / 2)).any(axis=1)
    n_wrong = counts[is_usual].min(axis=1).sum() + counts[~is_usual].sum().min()
    return n_cells.min() >= FEWEST and 2 * n_wrong < n_cells.min()

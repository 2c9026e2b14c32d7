"""A candidate beside one network for all four phases: how much DNA by the slide's histogram, times the picture."""

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from cellcycle.metrics import Estimate

# What the picture adds to the DNA: whether it is a mitosis, or all it says of the four phases.
PRODUCTS = ("M", "all")
_EDGES = (0, 0.1, 0.2, 0.4, 1)
_SHOWN = {
    "score_picture": "picture (`nagao6`)",
    "score_anchored": "anchored (`best`)",
    "score_product_M": "histogram, M by picture",
    "score_product_all": "histogram times picture",
    "S": "S",
    "S_counted": "S counted (`best`)",
    "S_fitted": "S fitted",
}


def product(likely: np.ndarray, pictured: np.ndarray, which: str) -> np.ndarray:
    """Return probabilities (N, 4) of the phases under equal shares.

    `likely` is what DNA tells of G1, S and G2, of which M has as much: the `dna_content.phase_likelihoods`. `pictured`
    (N, 4) is what a network says of the picture, of which `which` takes M against the rest, or all. Both are taken to
    err independently.
    """
    likely = likely[:, [0, 1, 2, 2]]
    if which == "M":
        rest = (1 - pictured[:, 3:]) / 3
        pictured = np.hstack([rest, rest, rest, pictured[:, 3:]])
    joined = likely * pictured
    return joined / np.maximum(joined.sum(axis=1, keepdims=True), 1e-300)


def by_quality(slides: pd.DataFrame) -> pd.DataFrame:
    """Return what simulated slides with a usable peak come to, by its quality: means, as text.

    `slides` are the rows of `benchmarks/g1_quality.py`.
    """
    slides = slides[slides["usable"].astype(bool)]
    slides = slides.assign(better=slides["score_anchored"] > slides["score_picture"])
    off = {"S_counted": "S counted, off by", "S_fitted": "S fitted, off by"}
    slides = slides.assign(**{title: (slides[name] - slides["S"]).abs() for name, title in off.items()})
    parts = slides.groupby(pd.cut(slides["quality"], _EDGES), observed=True)
    made = parts[["better", *_SHOWN, *off.values()]].mean().rename(columns={"better": "anchored better"} | _SHOWN)
    made = made.map("{:.2f}".format)
    less = slides[off["S_fitted"]] - slides[off["S_counted"]]
    made["off by, fitted minus counted"] = [_mean(less[part.index]) for _, part in parts]
    made.index = [f"{part.left:g} to {part.right:g}" for part in made.index]
    made.insert(0, "slides", parts.size().astype(str).to_numpy())
    return made.rename_axis("quality")


def _mean(values: pd.Series) -> str:
    """Return the mean of values, one a slide, with its interval by Student's t: so few say little in a bootstrap."""
    n = len(values)
    half = stdtrit(n - 1, 0.975) * values.std() / np.sqrt(n)
    return f"{Estimate(values.mean(), values.mean() - half, values.mean() + half):+.2f}" if n > 1 else ""

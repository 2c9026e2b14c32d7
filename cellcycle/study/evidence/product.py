"""A candidate beside one network for all four phases: how much DNA by the slide's histogram, times the picture."""

import numpy as np

# What the picture adds to the DNA: whether it is a mitosis, or all it says of the four phases.
PRODUCTS = ("M", "all")


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

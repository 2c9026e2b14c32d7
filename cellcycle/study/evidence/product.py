"""A candidate instead of one network for all phases: likelihood of the DNA histogram times that of the picture."""

import numpy as np

# What the picture adds to the DNA: only the probability of M, or those of all four phases.
PRODUCTS = ("M", "all")


def product(likely: np.ndarray, pictured: np.ndarray, which: str) -> np.ndarray:
    """Return probabilities (N, 4) of the phases under equal shares.

    `likely` (N, 3) are the `dna_content.phase_likelihoods` of G1, S and G2; M gets that of G2, for it has as much DNA.
    `pictured` (N, 4) are the network's probabilities; `which` is "M" (use only M against the rest) or "all". The errors
    of both are assumed to be independent.
    """
    likely = likely[:, [0, 1, 2, 2]]
    if which == "M":
        rest = (1 - pictured[:, 3:]) / 3
        pictured = np.hstack([rest, rest, rest, pictured[:, 3:]])
    joined = likely * pictured
    return joined / np.maximum(joined.sum(axis=1, keepdims=True), 1e-300)

"""Figures: each function returns a matplotlib `Figure`; phases have the same colours everywhere."""

from cellcycle.plots.networks import nagao_drawing
from cellcycle.plots.nuclei import distributions, dna_histogram, image_grid, mistakes, nucleus_panel
from cellcycle.plots.scores import (
    confusion_matrices,
    curves,
    design_space,
    effects,
    grid,
    history,
    recall_bars,
    score_bars,
)

__all__ = [
    "confusion_matrices",
    "curves",
    "design_space",
    "distributions",
    "dna_histogram",
    "effects",
    "grid",
    "history",
    "image_grid",
    "mistakes",
    "nagao_drawing",
    "nucleus_panel",
    "recall_bars",
    "score_bars",
]

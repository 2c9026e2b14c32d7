"""Figures: each function returns a matplotlib `Figure`; phases have the same colours everywhere."""

from cellcycle.plots.files import save_figures
from cellcycle.plots.networks import nagao_drawing
from cellcycle.plots.nuclei import (
    distributions,
    dna_histogram,
    image_grid,
    mistakes,
    nucleus_panel,
    scatter,
    variant_rows,
)
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
from cellcycle.plots.validation import validation

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
    "save_figures",
    "scatter",
    "score_bars",
    "validation",
    "variant_rows",
]

"""Figures: each function returns a matplotlib `Figure`; phases have the same colours everywhere."""

from cellcycle.plots.confidence import coverage, positions, reliability, review_queue, risk_coverage, set_sizes
from cellcycle.plots.explain import explained_calls, map_rows
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
    history,
    recall_bars,
    score_bars,
    trials,
)
from cellcycle.plots.style import save_figures
from cellcycle.plots.validation import validation

__all__ = [
    "confusion_matrices",
    "coverage",
    "curves",
    "design_space",
    "distributions",
    "dna_histogram",
    "effects",
    "explained_calls",
    "history",
    "image_grid",
    "map_rows",
    "mistakes",
    "nagao_drawing",
    "nucleus_panel",
    "positions",
    "recall_bars",
    "reliability",
    "review_queue",
    "risk_coverage",
    "save_figures",
    "scatter",
    "score_bars",
    "set_sizes",
    "trials",
    "validation",
    "variant_rows",
]

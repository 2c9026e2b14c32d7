"""Figures: each function returns a matplotlib `Figure`; phases have the same colours everywhere."""

from cellcycle.plots.confidence import coverage, positions, reliability, risk_coverage, set_sizes
from cellcycle.plots.networks import explained_calls, map_rows, nagao_drawing
from cellcycle.plots.nuclei import (
    distributions,
    dna_histogram,
    image_grid,
    mistakes,
    nucleus_panel,
    review_queue,
    scatter,
    signed_grid,
    validation,
    variant_rows,
)
from cellcycle.plots.scores import (
    confusion_matrices,
    curves,
    design_space,
    effects,
    history,
    lines,
    recall_bars,
    score_bars,
    trials,
)
from cellcycle.plots.sliders import Sliders
from cellcycle.plots.style import save_figures

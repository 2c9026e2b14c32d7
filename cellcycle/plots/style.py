"""What all figures share: sizes, type, how a bare figure is made, and how it becomes a file."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cellcycle.files import whole_file
from cellcycle.phases import class_colours

FONT_PT = 9
INK = "#333333"
QUIET = "#999999"
HEAT = "cividis"


def new_figure(width_in=7.0, height_in=3.0, rows=1, columns=1, **options):
    """Return (figure, axes) outside pyplot, so that a notebook shows the figure once.

    Parameters
    ----------
    width_in, height_in : float
        Size in inches.
    rows, columns : int
    **options
        Passed to `Figure.subplots`.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : Axes or array of Axes
    """
    figure = Figure(figsize=(width_in, height_in), dpi=100, layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for ax in figure.axes:
        ax.tick_params(labelsize=FONT_PT, colors=INK)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def line_colours(n_lines: int) -> list[str]:
    """Return one colour a line, none of them a phase's as long as there are enough."""
    return list(class_colours(tuple(f"line {i}" for i in range(n_lines))).values())


def label(ax, x="", y="", title="") -> None:
    """Write axis labels and a left-aligned title in the common type."""
    ax.set_xlabel(x, fontsize=FONT_PT, color=INK)
    ax.set_ylabel(y, fontsize=FONT_PT, color=INK)
    if title:
        ax.set_title(title, fontsize=FONT_PT + 1, color=INK, loc="left")


def legend_beside(figure) -> None:
    """Put the legend of a figure to its right."""
    figure.legend(fontsize=FONT_PT, frameon=False, loc="outside right center")


def spread_of(table, score: str) -> np.ndarray:
    """Return the lengths (2, rows) of the bars from a score down and up to the ends of its interval."""
    return np.abs(table[[f"{score}_low", f"{score}_high"]].to_numpy().T - table[score].to_numpy())


def save_figures(figures, folder, dpi: int = 100) -> list[Path]:
    """Write figures as `<name>.png`, each whole or not at all, and return their paths.

    Parameters
    ----------
    figures : dict of str to matplotlib.figure.Figure
    folder : path-like
        Created when missing.
    dpi : int
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures.items():
        with whole_file(folder / f"{name}.png") as work:
            # Without the name of the software, the same figure gives the same bytes under any version of it.
            figure.savefig(work, dpi=dpi, metadata={"Software": None})
        written.append(folder / f"{name}.png")
    return written

"""What all figures share: sizes, type, how a bare figure is made, and how it becomes a file."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cellcycle.files import told, whole_file
from cellcycle.phases import class_colours

FONT_PT = 9
INK = "#333333"
QUIET = "#999999"
REFERENCE = "#D55E00"


def new_figure(width_in: float, height_in: float, rows=1, columns=1, **options):
    """Return (figure, axes), with the options of `Figure.subplots`, outside pyplot: a notebook shows it once."""
    figure = Figure(figsize=(width_in, height_in), dpi=100, layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for ax in figure.axes:
        ax.tick_params(labelsize=FONT_PT, colors=INK)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def new_panels(n: int, across: int, width_in: float, row_in: float, top_in: float = 0.0, **options):
    """Return (figure, axes (rows, across)) with n panels, row after row; what is left of the last row stays empty."""
    rows = -(-n // across)
    figure, axes = new_figure(width_in, top_in + row_in * rows, rows, across, squeeze=False, **options)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    return figure, axes


def picture_rows(names, n_columns: int, width_in: float, height_in: float, gap: float, **words):
    """Return (figure, axes (rows, columns)) for pictures, each row named at its left in type of the options `words`."""
    figure, axes = new_figure(width_in, height_in, len(names), n_columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for name, row in zip(names, axes, strict=True):
        options = {"fontsize": FONT_PT, "color": INK} | words
        row[0].text(-gap, 0.5, name, transform=row[0].transAxes, ha="right", va="center", **options)
    return figure, axes


def coloured(lines):
    """Yield name, table and colour of each (name, table); no colour is a phase's as long as there are enough."""
    lines = list(lines)
    colours = class_colours(tuple(f"line {i}" for i in range(len(lines)))).values()
    for (name, table), colour in zip(lines, colours, strict=True):
        yield name, table, colour


def label(ax, x="", y="", title="") -> None:
    """Write axis labels and a left-aligned title in the common type."""
    ax.set_xlabel(x, fontsize=FONT_PT, color=INK)
    ax.set_ylabel(y, fontsize=FONT_PT, color=INK)
    if title:
        ax.set_title(title, fontsize=FONT_PT + 1, color=INK, loc="left")


def legend(owner, **options) -> None:
    """Put a legend into axes, or beside a figure to its right, in the common type."""
    place = {"loc": "outside right center"} if isinstance(owner, Figure) else {}
    owner.legend(fontsize=FONT_PT, frameon=False, **place | options)


def spread_of(table, score: str, ends: tuple[str, str] | None = None) -> np.ndarray:
    """Return the lengths (2, rows) of the bars from a score down and up to the columns of its interval's ends."""
    ends = ends or (f"{score}_low", f"{score}_high")
    return np.abs(table[list(ends)].to_numpy().T - table[score].to_numpy())


def save_figures(figures: dict[str, Figure], folder, mark: str | None = None) -> list[Path]:
    """Write figures as `<name>.png`, each whole or not at all, into a folder that is made, and return their paths.

    Those with a mark are known again by `cellcycle.images.writing.has_mark`.
    """
    folder = Path(folder)
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.png" for name in figures]
    for figure, file in zip(figures.values(), written, strict=True):
        with whole_file(file) as work:
            # Without the name of the software, the same figure gives the same bytes under any version of it.
            figure.savefig(work, dpi=100, metadata={"Software": None, "Description": mark})
    return written

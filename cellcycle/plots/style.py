"""Common style of all figures: sizes, fonts, empty figures, and files."""

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
    """Return (figure, axes), with options of `Figure.subplots`; without pyplot, so that a notebook shows it once."""
    figure = Figure(figsize=(width_in, height_in), dpi=100, layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for ax in figure.axes:
        ax.tick_params(labelsize=FONT_PT, colors=INK)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def new_panels(n: int, across: int, width_in: float, row_in: float, top_in: float = 0.0, **options):
    """Return (figure, axes (rows, across)) with n panels, row by row; the rest of the last row stays empty."""
    rows = -(-n // across)
    figure, axes = new_figure(width_in, top_in + row_in * rows, rows, across, squeeze=False, **options)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    return figure, axes


def picture_rows(names, n_columns: int, width_in: float, height_in: float, gap: float, **words):
    """Return (figure, axes (rows, columns)) for pictures; each row is named at its left, in the style `words`."""
    figure, axes = new_figure(width_in, height_in, len(names), n_columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for name, row in zip(names, axes, strict=True):
        options = {"fontsize": FONT_PT, "color": INK} | words
        row[0].text(-gap, 0.5, name, transform=row[0].transAxes, ha="right", va="center", **options)
    return figure, axes


def coloured(lines):
    """Yield (name, table, colour) for each (name, table); colours are not those of phases while enough are left."""
    lines = list(lines)
    colours = class_colours(tuple(f"line {i}" for i in range(len(lines)))).values()
    for (name, table), colour in zip(lines, colours, strict=True):
        yield name, table, colour


def label(ax, x="", y="", title="") -> None:
    """Write axis labels and a left-aligned title in the common font."""
    ax.set_xlabel(x, fontsize=FONT_PT, color=INK)
    ax.set_ylabel(y, fontsize=FONT_PT, color=INK)
    if title:
        ax.set_title(title, fontsize=FONT_PT + 1, color=INK, loc="left")


def legend(owner, **options) -> None:
    """Add a legend to axes, or to the right of a figure, in the common font."""
    place = {"loc": "outside right center"} if isinstance(owner, Figure) else {}
    owner.legend(fontsize=FONT_PT, frameon=False, **place | options)


def spread_of(table, score: str, ends: tuple[str, str] | None = None) -> np.ndarray:
    """Return the lengths (2, rows) of error bars, down and up, from a score and the columns of its interval's ends."""
    ends = ends or (f"{score}_low", f"{score}_high")
    return np.abs(table[list(ends)].to_numpy().T - table[score].to_numpy())


def save_figures(figures: dict[str, Figure], folder, mark: str | None = None) -> list[Path]:
    """Write figures as `<name>.png`, each atomically, into a folder (created if missing), and return their paths.

    `mark` is written into the files, where `cellcycle.images.writing.has_mark` finds it.
    """
    folder = Path(folder)
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.png" for name in figures]
    for figure, file in zip(figures.values(), written, strict=True):
        with whole_file(file) as work:
            # Without the name of the software, a figure gives the same bytes under any matplotlib version.
            figure.savefig(work, dpi=100, metadata={"Software": None, "Description": mark})
    return written

"""What all figures share: sizes, type, and how a bare figure is made."""

from matplotlib.figure import Figure

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

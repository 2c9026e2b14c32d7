"""What all figures share: sizes, type, and how a bare figure is made."""

from matplotlib.figure import Figure

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


def label(ax, x="", y="", title="") -> None:
    """Write axis labels and a left-aligned title in the common type."""
    ax.set_xlabel(x, fontsize=FONT_PT, color=INK)
    ax.set_ylabel(y, fontsize=FONT_PT, color=INK)
    if title:
        ax.set_title(title, fontsize=FONT_PT + 1, color=INK, loc="left")

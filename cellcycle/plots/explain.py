"""Figures of where networks look."""

import numpy as np

from cellcycle.plots.style import FONT_PT, INK, label, new_figure, spread_of

# From transparent to strong, so that the picture shows through where a map is low.
_STRENGTH = 0.65
_MAP_COLOURS = "magma"


def map_rows(images, maps, titles=None, regions=None):
    """Return a row of pictures, and below it one row for each kind of map, laid over the pictures.

    Parameters
    ----------
    images : (N, C, H, W) float32 in [0, 1]
        Each is stretched to its own range.
    maps : dict of str to (N, H, W) float in [0, 1]
        Name of the row -> maps.
    titles : sequence of str, optional
        One a picture.
    regions : (N, H, W) bool, optional
        Outlined in every row.
    """
    images = np.asarray(images)
    rows = {"picture": None, **maps}
    figure, axes = new_figure(1.3 + 0.95 * len(images), 0.98 * len(rows) + 0.3, len(rows), len(images), squeeze=False)
    # Colour maps over noise compress badly; a notebook with several such figures stays small.
    figure.set_dpi(72)
    for row, (name, values) in zip(axes, rows.items(), strict=True):
        for i, ax in enumerate(row):
            ax.set_axis_off()
            ax.imshow(_gray(images[i]), cmap="gray")
            if values is not None:
                ax.imshow(values[i], cmap=_MAP_COLOURS, vmin=0, vmax=1, alpha=_STRENGTH * np.sqrt(values[i]))
            if regions is not None:
                ax.contour(regions[i], [0.5], colors="#56B4E9", linewidths=0.8)
        row[0].text(-0.1, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=FONT_PT, color=INK)
    for ax, title in zip(axes[0], titles if titles is not None else [], strict=False):
        ax.set_title(title, fontsize=FONT_PT - 1, color=INK)
    return figure


def explained_calls(table, title=""):
    """Return how well measured features reproduce a network's calls, each alone and all but each.

    Parameters
    ----------
    table : DataFrame
        As `explain.what_explains` gives it.
    """
    figure, axes = new_figure(7.0, 1.2 + 0.3 * len(table), 1, 2, sharey=True)
    y = np.arange(len(table))[::-1]
    parts = {"alone": "calls reproduced by it alone", "lost_without": "calls lost without it"}
    for ax, (column, text) in zip(axes, parts.items(), strict=True):
        spread = spread_of(table, column)
        ax.barh(y, table[column], color="#bdbdbd", height=0.6)
        ax.errorbar(table[column], y, xerr=spread, fmt="none", ecolor=INK, capsize=2, linewidth=1)
        label(ax, f"{text}\n(share, 95 % interval)", "", title if column == "alone" else "")
    axes[0].set_yticks(y, table.index)
    axes[0].set_xlim(0, 1)
    return figure


def _gray(image) -> np.ndarray:
    """Return (C, H, W) as one plane stretched to [0, 1]."""
    plane = image.max(axis=0)
    return (plane - plane.min()) / max(np.ptp(plane), 1e-9)

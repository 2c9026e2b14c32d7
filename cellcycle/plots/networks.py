"""Figures of networks: the layers of a Nagao network, saliency maps, and features that explain calls."""

import numpy as np
from matplotlib.patches import Rectangle

from cellcycle.errors import check_whole
from cellcycle.plots.style import FONT_PT, INK, label, legend, new_figure, picture_rows, spread_of

COLOURS = {"input": "#dddddd", "convolution + pooling": "#56B4E9", "linear": "#E69F00", "output": "#009E73"}
# Opacity of a map at value 1; it falls to 0 with the value, so that the picture shows through.
_STRENGTH = 0.65


def nagao_drawing(stages: int, width: int, size_px: int, channels: int, n_classes: int):
    """Return a drawing of a Nagao network: heights of boxes show the side of the image, widths the channels (log)."""
    side = check_whole("size_px", size_px)
    boxes = [("input", side, channels)]
    for stage in range(stages):
        side = -(-side // 2)
        boxes.append(("convolution + pooling", side, width * 2**stage))
    boxes += [("linear", 1, width * 2**stages), ("output", 1, n_classes)]
    figure, ax = new_figure(7.2, 2.8)
    edge = {"edgecolor": INK, "linewidth": 0.8}
    x = 0.0
    for kind, side, n in boxes:
        box_width = 0.12 + 0.10 * np.log2(n + 1)
        height = 0.25 + 0.25 * np.log2(side)
        ax.add_patch(Rectangle((x, -height / 2), box_width, height, facecolor=COLOURS[kind], **edge))
        text = f"{n}" if side == 1 and kind in ("linear", "output") else f"{n} ch\n{side} px"
        ax.text(x + box_width / 2, -1.15, text, ha="center", va="top", fontsize=FONT_PT - 1, color=INK)
        x += box_width + 0.3
    handles = [Rectangle((0, 0), 1, 1, facecolor=c, **edge) for c in COLOURS.values()]
    legend(ax, handles=handles, labels=list(COLOURS), ncols=4, loc="upper left")
    ax.set(xlim=(-0.2, x), ylim=(-1.8, 1.6))
    ax.set_axis_off()
    return figure


def map_rows(images, maps: dict[str, np.ndarray], titles=(), regions=None):
    """Return a figure with a row of pictures, and below it one row per kind of map, laid over the pictures.

    Each picture of (N, C, H, W) is stretched to its own range; maps are (N, H, W) in [0, 1], by the name of their row;
    regions (N, H, W) bool are outlined in every row.
    """
    planes = np.asarray(images).max(axis=1)
    n, rows = len(planes), {"picture": None, **maps}
    figure, axes = picture_rows(rows, n, 1.3 + 0.95 * n, 0.98 * len(rows) + 0.3, 0.1)
    # Colour maps over noise compress badly: a low resolution keeps notebooks with several such figures small.
    figure.set_dpi(68)
    for row, values in zip(axes, rows.values(), strict=True):
        for i, ax in enumerate(row):
            ax.imshow((planes[i] - planes[i].min()) / max(np.ptp(planes[i]), 1e-9), cmap="gray")
            if values is not None:
                ax.imshow(values[i], cmap="magma", vmin=0, vmax=1, alpha=_STRENGTH * np.sqrt(values[i]))
            if regions is not None:
                ax.contour(regions[i], [0.5], colors="#56B4E9", linewidths=0.8)
    for ax, title in zip(axes[0], titles, strict=False):
        ax.set_title(title, fontsize=FONT_PT - 1, color=INK)
    return figure


def explained_calls(table, title=""):
    """Return bars of how well each feature alone, and all but each, reproduce calls (table of `what_explains`)."""
    figure, axes = new_figure(7.0, 1.2 + 0.3 * len(table), 1, 2, sharey=True)
    y = np.arange(len(table))[::-1]
    parts = {"alone": "calls reproduced by it alone", "lost_without": "calls lost without it"}
    for ax, (column, text) in zip(axes, parts.items(), strict=True):
        ax.barh(y, table[column], color="#bdbdbd", height=0.6)
        spread = spread_of(table, column)
        ax.errorbar(table[column], y, xerr=spread, fmt="none", ecolor=INK, capsize=2, linewidth=1)
        label(ax, f"{text}\n(share, 95 % interval)", "", title if column == "alone" else "")
    axes[0].set_yticks(y, table.index)
    axes[0].set_xlim(0, 1)
    return figure

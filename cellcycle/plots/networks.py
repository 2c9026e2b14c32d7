"""A network drawn from its own layers."""

import numpy as np
from matplotlib.patches import Rectangle

from cellcycle.plots.style import FONT_PT, INK, label, new_figure

COLOURS = {"input": "#dddddd", "convolution + pooling": "#56B4E9", "linear": "#E69F00", "output": "#009E73"}


def nagao_drawing(stages=6, width=8, size_px=64, channels=1, n_classes=4):
    """Return the Nagao network as boxes: height is the side of the image, width the number of channels.

    Parameters are those of `cellcycle.networks.build_network`.
    """
    boxes = [("input", size_px, channels)]
    side = size_px
    for stage in range(stages):
        side = -(-side // 2)
        boxes.append(("convolution + pooling", side, width * 2**stage))
    boxes += [("linear", 1, width * 2**stages), ("output", 1, n_classes)]
    figure, ax = new_figure(7.2, 2.8)
    x = 0.0
    for kind, side, n in boxes:
        box_width = 0.12 + 0.10 * np.log2(n + 1)
        height = 0.25 + 0.25 * np.log2(side)
        ax.add_patch(
            Rectangle((x, -height / 2), box_width, height, facecolor=COLOURS[kind], edgecolor=INK, linewidth=0.8)
        )
        text = f"{n}" if side == 1 and kind in ("linear", "output") else f"{n} ch\n{side} px"
        ax.text(x + box_width / 2, -1.15, text, ha="center", va="top", fontsize=FONT_PT - 1, color=INK)
        x += box_width + 0.3
    handles = [Rectangle((0, 0), 1, 1, facecolor=c, edgecolor=INK, linewidth=0.8) for c in COLOURS.values()]
    ax.legend(handles, COLOURS, fontsize=FONT_PT, frameon=False, ncols=4, loc="upper left")
    ax.set_xlim(-0.2, x)
    ax.set_ylim(-1.8, 1.6)
    ax.set_axis_off()
    label(ax, title="")
    return figure

"""The figure of real cells whose S is known: EdU over DNA, and no picture of a cell."""

import numpy as np

from cellcycle.phases import PHASES, class_colours
from cellcycle.plots.style import label, legend, new_figure


def horseshoe(table):
    """Return EdU over DNA, one panel a field, coloured by call: cells in S rise between the two peaks.

    `table` has the columns group, edu, dna_copies and call, a row a nucleus.
    """
    groups = sorted(table["group"].unique())
    figure, axes = new_figure(2.9 * len(groups) + 1, 2.8, 1, len(groups), sharey=True, sharex=True, squeeze=False)
    colours = class_colours(tuple(name for name in PHASES if (table["call"] == name).any()))
    for ax, group in zip(axes[0], groups, strict=True):
        inside = table[table["group"] == group]
        for name, colour in {**colours, "": "#bbbbbb"}.items():
            part = inside[inside["call"] == name]
            ax.scatter(part["dna_copies"], np.log10(part["edu"].clip(lower=1)), s=8, color=colour,
                       label=name or "no call")  # fmt: skip
        label(ax, "genome copies (2 is G1)", "EdU, log10 counts" if ax is axes[0][0] else "", group)
    axes[0][0].set_xlim(1, 6)
    legend(axes[0][-1], loc="upper right")
    return figure

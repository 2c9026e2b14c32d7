"""Figures of the evidence on real cells: scores with their intervals, and EdU over DNA; no picture of a cell."""

import numpy as np

from cellcycle.phases import PHASES, class_colours
from cellcycle.plots.style import INK, QUIET, REFERENCE, label, legend, new_figure

_TRUE_SHARE = {"S, control": "EdU+, control", "S, knock-down": "EdU+, knock-down"}


def scores(rows: dict[str, dict], panels):
    """Return a figure with one line per model and one panel per score in `panels`, with 95 % intervals.

    `rows` maps the name of a line to a dict of scores, `metrics.Estimate` by name. For a share that EdU also measures,
    the latter is a dotted line.
    """
    height = 0.7 + 0.21 * len(rows)
    figure, axes = new_figure(3.0 + 2.2 * len(panels), height, 1, len(panels), sharey=True, squeeze=False)
    for ax, score in zip(axes[0], panels, strict=True):
        for k, found in ((k, row[score]) for k, row in enumerate(rows.values()) if score in row):
            ax.plot([found.low, found.high], [k, k], color=QUIET, linewidth=1.5)
            ax.plot(found.value, k, "o", color=INK, markersize=4)
        measured = [row[_TRUE_SHARE[score]].value for row in rows.values() if _TRUE_SHARE.get(score) in row]
        if measured:
            ax.axvline(np.mean(measured), color=REFERENCE, linestyle=":", linewidth=1.2, label="by EdU")
            # Above the axes, where the legend covers no data.
            legend(ax, loc="lower right", bbox_to_anchor=(1, 1))
        if "AUC" in score:
            ax.axvline(0.5, color=QUIET, linestyle=":", linewidth=1)
        ax.grid(axis="y", color="#eeeeee")
        label(ax, score)
    axes[0][0].set_yticks(range(len(rows)), list(rows))
    axes[0][0].invert_yaxis()
    return figure


def horseshoe(table):
    """Return a scatter plot of EdU over DNA, one panel per group, coloured by call: S lies high between the peaks.

    `table` has the columns group, edu, dna_copies and call, one row per nucleus.
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

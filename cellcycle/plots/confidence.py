"""Figures of confidence: reliability, prediction sets, risk and coverage, positions in the cycle."""

from itertools import cycle

import numpy as np

from cellcycle.phases import class_colours
from cellcycle.plots.style import FONT_PT, INK, QUIET, REFERENCE, coloured, label, legend, new_figure, spread_of

_ENDS = ("low", "high")
# Colours and styles of models' lines, none with the hue of a phase; they repeat if there are more models.
_LINES = (("#56B4E9", "-"), (REFERENCE, "-"), ("#555555", "-"), ("#882255", "-"), ("#000000", "--"))


def reliability(tables, title=""):
    """Return a reliability diagram: the fraction of right calls against confidence; calibrated is the diagonal.

    `tables` maps the name of a line to a table of `confidence.evaluation.reliability`.
    """
    figure, ax = new_figure(5.8, 3.4)
    ax.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2, label="means what it says")
    style = {"fmt": "o-", "markersize": 4, "linewidth": 1.2, "elinewidth": 0.8, "capsize": 2}
    lowest = 1.0
    for name, table, colour in coloured(tables.items()):
        spread = spread_of(table, "accuracy", _ENDS)
        ax.errorbar(table["confidence"], table["accuracy"], spread, color=colour, label=name, **style)
        lowest = min(lowest, table["confidence"].min(), table["low"].min())
    ax.set(xlim=(max(0, lowest - 0.05), 1.01), ylim=(max(0, lowest - 0.05), 1.01))
    legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
    label(ax, "probability of the call", "share of right calls (95 % interval)", title)
    return figure


def coverage(tables, asked: float, title=""):
    """Return a figure of the fraction of cells whose set contains their phase, overall and per phase.

    `tables` maps names to tables of `confidence.evaluation.coverage_table`; `asked` is the nominal coverage.
    """
    names = list(dict.fromkeys(name for table in tables.values() for name in table.index))
    figure, ax = new_figure(4.6, 3.0)
    ax.axhline(asked, color=REFERENCE, linestyle=":", linewidth=1.2, label="asked")
    for i, (name, table, colour) in enumerate(coloured(tables.items())):
        x = np.array([names.index(row) for row in table.index]) + 0.15 * (i - (len(tables) - 1) / 2)
        spread = spread_of(table, "coverage", _ENDS)
        ax.errorbar(x, table["coverage"], spread, fmt="o", color=colour, markersize=5, capsize=2, label=name)
    ax.set_xticks(range(len(names)), names)
    ax.set_ylim(top=1.01)
    legend(figure)
    label(ax, "true phase", "set holds the true phase\n(95 % interval)", title)
    return figure


def set_sizes(sets, labels, classes, title=""):
    """Return a figure of the sizes of prediction sets (N, K) bool, as fractions of the cells of each true phase."""
    figure, ax = new_figure(5.2, 2.6)
    size, labels = np.asarray(sets).sum(axis=1), np.asarray(labels)
    is_of = {
        "one phase": (size == 1, INK),
        "two": (size == 2, QUIET),
        "three or more": (size >= 3, "#dddddd"),
        "none": (size == 0, REFERENCE),
    }
    shown = [k for k in range(len(classes)) if (labels == k).any()]
    left = np.zeros(len(shown))
    for name, (is_so, colour) in is_of.items():
        shares = np.array([is_so[labels == k].mean() for k in shown])
        ax.barh(range(len(shown)), shares, left=left, color=colour, label=name, height=0.7)
        left += shares
    ax.set_yticks(range(len(shown)), [classes[k] for k in shown])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    legend(figure)
    label(ax, "share of the cells", "true phase", title)
    return figure


def risk_coverage(curves, expert_share=0.2, title=""):
    """Return a figure of the fraction of wrong calls among the cells kept, if the least sure go to an expert.

    `curves` maps the name of a line to a table of `confidence.evaluation.risk_coverage`; a vertical line marks
    `expert_share`, the fraction of cells that the expert reviews.
    """
    figure, ax = new_figure(6.2, 3.0)
    for (name, table), (colour, line) in zip(curves.items(), cycle(_LINES), strict=False):
        # A rate over very few cells is meaningless; the curve starts with the surest 5 %.
        shown = table[table["coverage"] >= 0.05]
        ax.plot(shown["coverage"], shown["risk"], color=colour, linestyle=line, linewidth=1.5, label=name)
    ax.axvline(1 - expert_share, color=REFERENCE, linestyle=":", linewidth=1.2)
    words = {"ha": "right", "va": "top", "fontsize": FONT_PT - 1, "color": INK}
    ax.text(1 - expert_share - 0.01, ax.get_ylim()[1], f"{expert_share:.0%} to the expert", **words)
    ax.set(xlim=(0, 1), ylim=(0, None))
    legend(figure)
    label(ax, "share of the cells kept, the surest first", "share of wrong calls", title)
    return figure


def positions(found, truth, labels, classes, title=""):
    """Return estimated against true positions in the cycle (0 at birth, 1 at division), with each cell's interval.

    `found` is the table of `confidence.cycle_positions`; `labels` are the true phases.
    """
    figure, ax = new_figure(4.8, 3.6)
    truth, labels = np.asarray(truth), np.asarray(labels)
    ax.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2)
    ax.vlines(truth, found["position_low"], found["position_high"], color=QUIET, alpha=0.25, linewidth=0.6)
    for k, (name, colour) in enumerate(class_colours(tuple(classes)).items()):
        ax.scatter(truth[labels == k], found["position"][labels == k], s=12, color=colour, linewidths=0, label=name)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    legend(figure)
    label(ax, "true position in the cycle", "estimated position (90 % interval)", title)
    return figure

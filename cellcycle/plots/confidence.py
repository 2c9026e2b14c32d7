"""Figures of how far calls can be trusted: reliability, prediction sets, risk and coverage, positions."""

import numpy as np

from cellcycle.phases import class_colours
from cellcycle.plots.nuclei import image_grid
from cellcycle.plots.scores import REFERENCE
from cellcycle.plots.style import FONT_PT, INK, QUIET, label, legend_beside, line_colours, new_figure

# Sets of one class, of two, of more, and of none.
_SIZES = {"one phase": "#0072B2", "two": "#56B4E9", "three or more": "#bdbdbd", "none": "#D55E00"}


def reliability(tables, title=""):
    """Return the share of right calls against their confidence; on the diagonal a probability means what it says.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Name of the line -> table as `confidence.evaluation.reliability` gives it.
    """
    figure, ax = new_figure(4.2, 3.4)
    ax.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2, label="means what it says")
    shades = line_colours(len(tables))
    lowest = 1.0
    for (name, table), colour in zip(tables.items(), shades, strict=True):
        spread = np.abs(table[["low", "high"]].to_numpy().T - table["accuracy"].to_numpy())
        ax.errorbar(
            table["confidence"], table["accuracy"], spread, fmt="o-", color=colour, markersize=4, linewidth=1.2,
            elinewidth=0.8, capsize=2, label=name,
        )  # fmt: skip
        lowest = min(lowest, table["confidence"].min(), table["low"].min())
    ax.set_xlim(max(0, lowest - 0.05), 1.01)
    ax.set_ylim(max(0, lowest - 0.05), 1.01)
    ax.legend(fontsize=FONT_PT, frameon=False, loc="upper left")
    label(ax, "probability of the call", "share of right calls (95 % interval)", title)
    return figure


def coverage(tables, asked, title=""):
    """Return the share of cells whose set holds their phase, overall and by phase, beside what was asked.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Name -> table as `confidence.evaluation.coverage_table` gives it.
    asked : float
    """
    names = list(dict.fromkeys(name for table in tables.values() for name in table.index))
    figure, ax = new_figure(4.6, 3.0)
    ax.axhline(asked, color=REFERENCE, linestyle=":", linewidth=1.2, label="asked")
    shades = line_colours(len(tables))
    for i, ((name, table), colour) in enumerate(zip(tables.items(), shades, strict=True)):
        x = np.array([names.index(row) for row in table.index]) + 0.15 * (i - (len(tables) - 1) / 2)
        spread = np.abs(table[["low", "high"]].to_numpy().T - table["coverage"].to_numpy())
        ax.errorbar(x, table["coverage"], spread, fmt="o", color=colour, markersize=5, capsize=2, label=name)
    ax.set_xticks(range(len(names)), names)
    ax.set_ylim(top=1.01)
    legend_beside(figure)
    label(ax, "true phase", "set holds the true phase\n(95 % interval)", title)
    return figure


def set_sizes(sets, labels, classes, title=""):
    """Return how many phases the sets hold, as shares of the cells of each true phase.

    Parameters
    ----------
    sets : (N, K) bool
    labels : (N,) int
    classes : tuple of str
    """
    figure, ax = new_figure(5.2, 2.6)
    size, labels = np.asarray(sets).sum(axis=1), np.asarray(labels)
    is_of = {"one phase": size == 1, "two": size == 2, "three or more": size >= 3, "none": size == 0}
    shown = [k for k in range(len(classes)) if (labels == k).any()]
    left = np.zeros(len(shown))
    for name, colour in _SIZES.items():
        shares = np.array([is_of[name][labels == k].mean() for k in shown])
        ax.barh(range(len(shown)), shares, left=left, color=colour, label=name, height=0.7)
        left += shares
    ax.set_yticks(range(len(shown)), [classes[k] for k in shown])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    legend_beside(figure)
    label(ax, "share of the cells", "true phase", title)
    return figure


def risk_coverage(curves, expert_share=0.2, title=""):
    """Return the share of wrong calls among the cells kept, when the least sure ones go to the expert.

    Parameters
    ----------
    curves : dict of str to DataFrame
        Name of the line -> table as `confidence.evaluation.risk_coverage` gives it.
    expert_share : float
        Share of the cells that the expert looks at; drawn as a line.
    """
    figure, ax = new_figure(4.8, 3.0)
    shades = line_colours(len(curves))
    for (name, table), colour in zip(curves.items(), shades, strict=True):
        # The first few cells make a rate of nothing; the curve starts with the surest twentieth.
        shown = table[table["coverage"] >= 0.05]
        ax.plot(shown["coverage"], shown["risk"], color=colour, linewidth=1.5, label=name)
    ax.axvline(1 - expert_share, color=REFERENCE, linestyle=":", linewidth=1.2)
    ax.text(
        1 - expert_share - 0.01, ax.get_ylim()[1], f"{expert_share:.0%} to the expert", ha="right", va="top",
        fontsize=FONT_PT - 1, color=INK,
    )  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=FONT_PT, frameon=False, loc="upper left")
    label(ax, "share of the cells kept, the surest first", "share of wrong calls", title)
    return figure


def positions(found, truth, labels, classes, title=""):
    """Return estimated against true positions in the cycle, with the interval of each cell.

    Parameters
    ----------
    found : DataFrame
        As `confidence.cycle_positions` gives it.
    truth : (N,) float
        From 0 at birth to 1 at division.
    labels : (N,) int
        True phases.
    classes : tuple of str
    """
    figure, ax = new_figure(4.8, 3.6)
    truth, labels = np.asarray(truth), np.asarray(labels)
    ax.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2)
    ax.vlines(truth, found["position_low"], found["position_high"], color=QUIET, alpha=0.25, linewidth=0.6)
    for k, (name, colour) in enumerate(class_colours(tuple(classes)).items()):
        ax.scatter(truth[labels == k], found["position"][labels == k], s=12, color=colour, linewidths=0, label=name)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    legend_beside(figure)
    label(ax, "true position in the cycle", "estimated position (90 % interval)", title)
    return figure


def review_queue(dataset, queue):
    """Return the pictures of the cells that an expert should see, each with its set and probability.

    Parameters
    ----------
    dataset : NucleusDataset
    queue : DataFrame
        Columns sample_id, prediction_set, call, confidence.
    """
    where = {name: i for i, name in enumerate(dataset.sample_ids)}
    images = dataset.images[[where[s] for s in queue["sample_id"]]]
    titles = [
        f"{sets.replace(';', ' or ') or 'no phase'}\n{call} {p:.2f}"
        for sets, call, p in queue[["prediction_set", "call", "confidence"]].itertuples(index=False)
    ]
    return image_grid(images, titles, columns=min(6, max(4, len(images))), shared_scale=False)

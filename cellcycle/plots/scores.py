"""Figures of scores: training curves, confusion matrices, bars with intervals, design spaces.

Tables come from `summaries.score_table`: the interval of a score is in the columns `<score>_low` and `<score>_high`.
`references` (name -> score) are drawn as named lines, e.g. the share of the largest class, DNA content, the ceiling.
"""

from itertools import cycle

import numpy as np
from matplotlib.ticker import NullFormatter

from cellcycle import metrics
from cellcycle.comparisons import readable
from cellcycle.phases import class_colours
from cellcycle.plots.style import FONT_PT, INK, QUIET, REFERENCE, coloured, label, legend, new_figure, spread_of

SCORES = tuple(metrics.SCORES)
SET_COLOURS = {"D1": "#bdbdbd", "D2": "#7a7a7a", "D3": "#333333"}
_BALANCED = "balanced_accuracy"
_HIGHEST_LOSS = 2.0


def history(records, names=None):
    """Return the loss of runs per epoch, mean over folds: on training images (range shaded) and held-out ones.

    If a curve leaves the axis, the legend says how high it goes.
    """
    figure, ax = new_figure(6.4, 2.8)
    names = names or [f"{r.config['model']} {r.config.get('training_set', '')}" for r in records]
    for name, record, colour in coloured(zip(names, records, strict=True)):
        by_epoch = record.history.groupby("epoch")["train_loss"]
        marker = "o" if by_epoch.ngroups == 1 else None
        ax.plot(by_epoch.mean(), color=colour, label=_topped(name, by_epoch.max()), linewidth=1.5, marker=marker)
        ax.fill_between(by_epoch.min().index, by_epoch.min(), by_epoch.max(), color=colour, alpha=0.2, linewidth=0)
        if "held_out_loss" in record.history:
            held_out = record.history.groupby("epoch")["held_out_loss"].mean().dropna()
            name = _topped(f"{name}, held out", held_out)
            ax.plot(held_out, color=colour, label=name, linewidth=1.2, linestyle="--", marker=marker)
    # The first losses may be very high, but later ones matter.
    ax.set_ylim(0, min(ax.get_ylim()[1], _HIGHEST_LOSS))
    ax.xaxis.get_major_locator().set_params(integer=True)
    legend(figure)
    label(ax, "epoch", "loss (cross-entropy)")
    return figure


def _topped(name: str, losses) -> str:
    return f"{name} (up to {losses.max():.1f})" if losses.max() > _HIGHEST_LOSS else name


def confusion_matrices(tables, titles):
    """Return a figure of tables of `summaries.confusion` side by side: counts, shaded by share of the true class."""
    # Long names need room at the left and, turned, below.
    room = 0.08 * max(0, *(len(str(name)) - 12 for table in tables for name in table.columns))
    figure, axes = new_figure(2.5 * len(tables) + 0.6 + room, 2.6 + room, 1, len(tables), squeeze=False)
    for i, (ax, table, title) in enumerate(zip(axes[0], tables, titles, strict=True)):
        counts = table.to_numpy()
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        shown = ax.imshow(share, cmap="cividis", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            colour = "black" if share[row, column] > 0.5 else "white"
            ax.text(column, row, f"{count:d}", ha="center", va="center", fontsize=FONT_PT, color=colour)
        turned = 45 if max(map(len, map(str, table.columns))) > 4 else 0
        ax.set_xticks(range(len(table)), table.columns, rotation=turned, ha="right" if turned else "center")
        ax.set_yticks(range(len(table)), table.index if i == 0 else [""] * len(table))
        ax.spines[:].set_visible(False)
        label(ax, table.columns.name or "call", "truth" if i == 0 else "", title)
    bar = figure.colorbar(shown, ax=axes[0].tolist(), shrink=0.85)
    bar.set_label("share of the true phase", fontsize=FONT_PT, color=INK)
    bar.ax.tick_params(labelsize=FONT_PT)
    return figure


def score_bars(table, score="accuracy", references=None, title=""):
    """Return bars of one score, grouped by model, one bar per training set."""
    groups = {s: (table[table["training_set"] == s], score) for s in dict.fromkeys(table["training_set"])}
    colours = [SET_COLOURS.get(name, QUIET) for name in groups]
    error = {"ecolor": "#56B4E9", "elinewidth": 1.2, "capsize": 2}
    return _bars(table, groups, colours, error, references, readable(score), title)


def recall_bars(table, classes, title=""):
    """Return bars of the recall of each class, grouped by model (one training set); one may be "overall"."""
    groups = {name: (table, f"recall_{name}") for name in classes}
    colours = class_colours(tuple(classes)) | {"overall": QUIET}
    error = {"ecolor": INK, "elinewidth": 0.8, "capsize": 1.5}
    return _bars(table, groups, [colours[name] for name in classes], error, None, "share called right", title)


def _bars(table, groups, colours, error, references, y_label, title):
    """Return one group of bars per model; `groups` maps the name of a bar to its rows and the column of its score."""
    models = list(dict.fromkeys(table.index))
    figure, ax = new_figure(1.2 + 1.4 * len(models), 3.0)
    width = 0.8 / len(groups)
    for i, ((name, (rows, score)), colour) in enumerate(zip(groups.items(), colours, strict=True)):
        x = np.array([models.index(m) for m in rows.index]) + (i - (len(groups) - 1) / 2) * width
        ax.bar(x, rows[score], width * 0.92, color=colour, label=name or None)
        ax.errorbar(x, rows[score], spread_of(rows, score), fmt="none", **error)
    _reference_lines(ax.axhline, references)
    ax.set_xticks(range(len(models)), models)
    ax.set_ylim(0, 1)
    if ax.get_legend_handles_labels()[0]:
        legend(figure)
    label(ax, "", y_label, title)
    return figure


def effects(table, score=_BALANCED, reference=None, title="", references=None):
    """Return a figure with one dot and interval per row, e.g. per transform; row `reference` is also a line."""
    has_lines = reference is not None or bool(references)
    figure, ax = new_figure(5.6 + 1.2 * has_lines, 0.8 + 0.3 * len(table))
    y = np.arange(len(table))[::-1]
    ax.errorbar(table[score], y, xerr=spread_of(table, score), fmt="o", color=INK, ecolor=QUIET, capsize=2)
    ax.set_yticks(y, table.index)
    ax.set_ylim(-0.6, len(table) - 0.4)
    if reference is not None:
        ax.axvline(table.loc[reference, score], color=QUIET, linestyle=":", linewidth=1, label=reference)
    _reference_lines(ax.axvline, references)
    if has_lines:
        legend(figure)
    label(ax, f"{readable(score)} (95 % interval)", "", title)
    return figure


def design_space(table, references=None, title=""):
    """Return the scores of Nagao networks against their number of weights (Figure 7), one dot per network.

    `table` also has the columns `stages` (shape of a dot) and `width` (dots joined by a line). `references` maps a
    score to a dict: name -> value.
    """
    figure, axes = new_figure(9.6, 3.2, 1, len(SCORES))
    # Names beside the dots would hide each other: the smallest networks have nearly as many weights.
    shapes = dict(zip(sorted(table["stages"].unique()), cycle("osD^vPX*"), strict=False))
    for ax, score in zip(axes, SCORES, strict=True):
        for name, part, colour in coloured((f"first stage {w} wide", t) for w, t in table.groupby("width")):
            part = part.sort_values("n_parameters")
            at = {"fmt": "-", "capsize": 2, "elinewidth": 0.8, "linewidth": 0.8}
            ax.errorbar(part["n_parameters"], part[score], spread_of(part, score), color=colour, label=name, **at)
            for stages, own in part.groupby("stages"):
                ax.plot(own["n_parameters"], own[score], shapes[stages], color=colour, markersize=5)
        ax.set_xscale("log")
        # There is no room for labels between the powers of ten.
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.margins(x=0.12, y=0.15)
        _reference_lines(ax.axhline, (references or {}).get(score))
        label(ax, "trained parameters", readable(score), title if score == SCORES[0] else "")
    for stages, shape in shapes.items():
        axes[0].plot([], [], shape, color=QUIET, markersize=5, label=f"{stages} stages")
    legend(figure, handles=axes[0].get_legend_handles_labels()[0])
    return figure


def trials(table, x: str, y: str, label_by: str, title=""):
    """Return a figure of the trials of a search, one numbered dot each: column `y` (a score) against column `x`."""
    figure, ax = new_figure(5.6, 3.0)
    for value, part, colour in coloured(table.groupby(label_by)):
        ax.plot(part[x], part[y], "o", color=colour, label=f"{readable(label_by)} {value:g}")
    for number, row in table.iterrows():
        # Alternately above and below, so that numbers of close dots do not overlap.
        place = {"xytext": (0, 6 if number % 2 else -12), "textcoords": "offset points", "ha": "center"}
        ax.annotate(f"{number}", (row[x], row[y]), **place, fontsize=FONT_PT - 1, color=INK)
    ax.set_xscale("log")
    ax.margins(x=0.25, y=0.15)
    legend(figure)
    label(ax, readable(x), y, f"{title}; numbers: trials")
    return figure


def curves(tables, x="label_share", x_label="share of the labels", title="", log=False):
    """Return balanced accuracy against the column `x`: one line per table (by name), with its interval shaded."""
    figure, ax = new_figure(5.2, 3.0)
    for name, table, colour in coloured(tables.items()):
        low, high = table[f"{_BALANCED}_low"], table[f"{_BALANCED}_high"]
        ax.plot(table[x], table[_BALANCED], "o-", color=colour, label=name)
        ax.fill_between(table[x], low, high, color=colour, alpha=0.15, linewidth=0)
    if log:
        ax.set_xscale("log")
    legend(figure)
    label(ax, x_label, f"{readable(_BALANCED)} (95 % interval)", title)
    return figure


def lines(table, x="", y="", title="", log=False):
    """Return a figure with one line per column of a table, against its index; `log`: logarithmic index axis."""
    figure, ax = new_figure(5.2, 2.8)
    for name, column, colour in coloured(table.items()):
        ax.plot(table.index, column, "o-" if len(table) < 12 else "-", color=colour, label=name, linewidth=1.5)
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        if len(table) < 8:
            ax.set_xticks(table.index, [f"{value:g}" for value in table.index])
    elif table.index.dtype.kind == "i":
        ax.xaxis.get_major_locator().set_params(integer=True)
    if table.shape[1] > 1:
        legend(figure)
    label(ax, x, y, title)
    return figure


def _reference_lines(draw, references) -> None:
    """Draw each reference with `draw`, which is `axhline` or `axvline` of an axes."""
    for (name, value), style in zip((references or {}).items(), cycle((":", "--", "-.")), strict=False):
        draw(value, color=REFERENCE, linestyle=style, linewidth=1.2, label=name)

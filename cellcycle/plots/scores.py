"""Figures of scores: training curves, confusion matrices, bars with intervals, design spaces."""

import numpy as np
from matplotlib.ticker import NullFormatter

from cellcycle.comparisons import readable
from cellcycle.phases import class_colours
from cellcycle.plots.style import FONT_PT, HEAT, INK, QUIET, label, legend_beside, line_colours, new_figure, spread_of

INTERVAL, REFERENCE = "#56B4E9", "#D55E00"
SET_COLOURS = {"D1": "#bdbdbd", "D2": "#7a7a7a", "D3": "#333333"}


def history(records, names=None):
    """Return the training loss of runs by epoch: the mean over folds, with their range shaded."""
    figure, ax = new_figure(5.0, 2.6)
    shades = line_colours(len(records))
    for i, record in enumerate(records):
        by_epoch = record.history.groupby("epoch")["train_loss"]
        name = names[i] if names else f"{record.config['model']} {record.config.get('training_set', '')}"
        colour = shades[i]
        marker = "o" if by_epoch.ngroups == 1 else None
        ax.plot(by_epoch.mean(), color=colour, label=name, linewidth=1.5, marker=marker)
        ax.fill_between(by_epoch.min().index, by_epoch.min(), by_epoch.max(), color=colour, alpha=0.2, linewidth=0)
    ax.set_ylim(bottom=0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(fontsize=FONT_PT, frameon=False)
    label(ax, "epoch", "training loss (cross-entropy)")
    return figure


def confusion_matrices(tables, titles):
    """Return confusion matrices side by side: counts, shaded by the share of the true class.

    Parameters
    ----------
    tables : sequence of DataFrame
        As `summaries.confusion` gives them.
    titles : sequence of str
    """
    figure, axes = new_figure(2.5 * len(tables) + 0.6, 2.6, 1, len(tables), squeeze=False)
    for i, (ax, table, title) in enumerate(zip(axes[0], tables, titles, strict=True)):
        counts = table.to_numpy()
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        shown = ax.imshow(share, cmap=HEAT, vmin=0, vmax=1)
        _write_in_cells(ax, counts, "{:d}", share > 0.5)
        turned = 45 if max(map(len, map(str, table.columns))) > 4 else 0
        ax.set_xticks(range(len(table)), table.columns, rotation=turned, ha="right" if turned else "center")
        ax.set_yticks(range(len(table)), table.index if i == 0 else [""] * len(table))
        ax.spines[:].set_visible(False)
        label(ax, "call", "truth" if i == 0 else "", title)
    bar = figure.colorbar(shown, ax=axes[0].tolist(), shrink=0.85)
    bar.set_label("share of the true phase", fontsize=FONT_PT, color=INK)
    bar.ax.tick_params(labelsize=FONT_PT)
    return figure


def score_bars(table, score="accuracy", references=None, title=""):
    """Return bars of one score, grouped by model, one bar a training set, with 95 % intervals.

    Parameters
    ----------
    table : DataFrame
        As `summaries.score_table` gives it.
    score : str
        A column with `_low` and `_high` beside it.
    references : dict of str to float, optional
        Drawn as named lines, e.g. the share of the largest class, the DNA-content method, the ceiling.
    """
    models = list(dict.fromkeys(table.index))
    sets = list(dict.fromkeys(table["training_set"]))
    figure, ax = new_figure(1.2 + 1.4 * len(models), 3.0)
    width = 0.8 / len(sets)
    for i, training_set in enumerate(sets):
        rows = table[table["training_set"] == training_set]
        x = np.array([models.index(m) for m in rows.index]) + (i - (len(sets) - 1) / 2) * width
        ax.bar(x, rows[score], width * 0.92, color=SET_COLOURS.get(training_set, QUIET), label=training_set or None)
        spread = spread_of(rows, score)
        ax.errorbar(x, rows[score], spread, fmt="none", ecolor=INTERVAL, elinewidth=1.2, capsize=2)
    _finish_bars(figure, ax, models, references)
    label(ax, "", readable(score), title)
    return figure


def recall_bars(table, classes, title=""):
    """Return bars of the recall of each class with its 95 % interval, grouped by model (one training set)."""
    models = list(table.index)
    figure, ax = new_figure(1.2 + 1.4 * len(models), 3.0)
    width = 0.8 / len(classes)
    for k, (name, colour) in enumerate(class_colours(tuple(classes)).items()):
        x = np.arange(len(models)) + (k - (len(classes) - 1) / 2) * width
        ax.bar(x, table[f"recall_{name}"], width * 0.92, color=colour, label=name)
        spread = spread_of(table, f"recall_{name}")
        ax.errorbar(x, table[f"recall_{name}"], spread, fmt="none", ecolor=INK, elinewidth=0.8, capsize=1.5)
    _finish_bars(figure, ax, models, None)
    label(ax, "", "recall", title)
    return figure


def effects(table, score="balanced_accuracy", reference=None, title="", references=None):
    """Return one dot with its interval for each row, e.g. the effect of each transform.

    Parameters
    ----------
    table : DataFrame
        As `summaries.score_table` gives it; row labels are shown.
    reference : str, optional
        Row whose score is drawn as a line.
    references : dict of str to float, optional
        Further lines, named in a legend.
    """
    figure, ax = new_figure(5.6 + (1.2 if references else 0), 0.8 + 0.3 * len(table))
    y = np.arange(len(table))[::-1]
    spread = spread_of(table, score)
    ax.errorbar(table[score], y, xerr=spread, fmt="o", color=INK, ecolor=QUIET, capsize=2)
    ax.set_yticks(y, table.index)
    ax.set_ylim(-0.6, len(table) - 0.4)
    if reference is not None:
        ax.axvline(table.loc[reference, score], color=QUIET, linestyle=":", linewidth=1)
    _reference_lines(ax.axvline, references)
    if references:
        legend_beside(figure)
    label(ax, f"{readable(score)} (95 % interval)", "", title)
    return figure


def design_space(table, score="balanced_accuracy", references=None, title=""):
    """Return a score against the number of parameters, one dot a network (Figure 7's order).

    Parameters as in `score_bars`.
    """
    figure, ax = new_figure(6.2, 3.0)
    ordered = table.sort_values("n_parameters")
    spread = spread_of(ordered, score)
    ax.errorbar(ordered["n_parameters"], ordered[score], spread, fmt="o", color=INK, ecolor=QUIET, capsize=2)
    for i, (name, row) in enumerate(ordered.iterrows()):
        # Neighbours lie close: their names take turns above and below, near and far.
        up, gap = i % 2 == 0, 4 + 10 * (i % 4 // 2)
        ax.annotate(
            name,
            (row["n_parameters"], row[f"{score}_high"] if up else row[f"{score}_low"]),
            xytext=(0, gap if up else -gap),
            textcoords="offset points",
            ha="center",
            va="bottom" if up else "top",
            fontsize=FONT_PT - 1,
            color=INK,
        )
    ax.set_xscale("log")
    # Between the powers of ten there is no room for names.
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(x=0.12, y=0.25)
    _reference_lines(ax.axhline, references)
    if references:
        legend_beside(figure)
    label(ax, "trained parameters", score.replace("_", " "), title)
    return figure


def trials(table, x, label_by, score="balanced_accuracy", title=""):
    """Return the trials of a search: the score against one setting, each dot labelled by another.

    Parameters
    ----------
    table : DataFrame
        As `cellcycle.tuning.Search.trials`; trials without a score are left out.
    x, label_by : str
        Columns; `x` is drawn on a logarithmic scale.
    """
    figure, ax = new_figure(5.6, 3.0)
    trained = table.dropna(subset=[score])
    ax.plot(trained[x], trained[score], "o", color=INK)
    for number, row in trained.iterrows():
        ax.annotate(
            f"{row[label_by]:g} (trial {number})",
            (row[x], row[score]),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=FONT_PT - 1,
            color=INK,
        )
    ax.set_xscale("log")
    ax.margins(x=0.25, y=0.15)
    label(ax, x.replace("_", " "), score.replace("_", " "), f"{title}; labels: {label_by.replace('_', ' ')}")
    return figure


def curves(tables, x="label_share", score="balanced_accuracy", x_label="share of the labels", title="", log=False):
    """Return one line a table with its interval shaded, e.g. a score against the share of labels.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Name of the line -> table with the column `x`, the score and its `_low` and `_high`.
    log : bool
        Draw `x` on a logarithmic scale.
    """
    figure, ax = new_figure(5.2, 3.0)
    shades = line_colours(len(tables))
    for (name, table), colour in zip(tables.items(), shades, strict=True):
        ax.plot(table[x], table[score], "o-", color=colour, label=name)
        ax.fill_between(table[x], table[f"{score}_low"], table[f"{score}_high"], color=colour, alpha=0.15, linewidth=0)
    if log:
        ax.set_xscale("log")
    legend_beside(figure)
    label(ax, x_label, f"{score.replace('_', ' ')} (95 % interval)", title)
    return figure


def _write_in_cells(ax, values, text: str, is_light) -> None:
    """Write each value of a heat map into its cell, dark on light cells and light on dark ones."""
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if is_light[row, column] else "white"
        ax.text(column, row, text.format(value), ha="center", va="center", fontsize=FONT_PT, color=colour)


def _reference_lines(draw, references) -> None:
    """Draw each reference by `draw`, an axes' `axhline` or `axvline`."""
    for (name, value), style in zip((references or {}).items(), (":", "--", "-."), strict=False):
        draw(value, color=REFERENCE, linestyle=style, linewidth=1.2, label=name)


def _finish_bars(figure, ax, names, references) -> None:
    _reference_lines(ax.axhline, references)
    ax.set_xticks(range(len(names)), names)
    ax.set_ylim(0, 1)
    if ax.get_legend_handles_labels()[0]:
        legend_beside(figure)

"""Pictures of nuclei, and distributions of their measurements."""

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from cellcycle.errors import check_whole
from cellcycle.phases import PHASES, class_colours
from cellcycle.plots.style import FONT_PT, INK, QUIET, label, legend, new_figure, new_panels, picture_rows

# Quantities on which simulated and real nuclei are compared, and the marker of each source.
QUANTITIES = {
    "relative_area": "area\n(G1 median is 1)",
    "relative_dna": "integrated DNA\n(G1 median is 1)",
    "texture": "texture\n(spread / mean)",
    "eccentricity": "eccentricity",
}
MARKERS = {"simulated": "o", "jurkat": "s", "rpe1": "D", "mitocheck": "^"}


def nucleus_panel(dataset, n_per_class=8, seed=0, per_image=False):
    """Return a figure with random nuclei of each class, one row per class.

    `per_image` stretches each picture to its own range; otherwise all share one scale, so that brightness compares.
    """
    rng = np.random.default_rng(check_whole("seed", seed))
    top = None if per_image else float(np.quantile(dataset.images, 0.9995))
    n_rows, words = len(dataset.classes), {"fontsize": FONT_PT + 1, "fontweight": "bold"}
    figure, axes = picture_rows(dataset.classes, n_per_class, 7.2, 0.95 * n_rows, 0.12, **words)
    for k, row in enumerate(axes):
        row[0].texts[0].set_color(class_colours(dataset.classes)[dataset.classes[k]])
        members = np.flatnonzero(dataset.labels == k)
        for ax, i in zip(row, rng.choice(members, min(n_per_class, len(members)), replace=False), strict=False):
            _show(ax, dataset.images[i], top)
    return figure


def variant_rows(rows: dict[str, np.ndarray]):
    """Return a figure with one named row of images (N, C, H, W) each, all on one brightness scale."""
    n_columns = max(len(images) for images in rows.values())
    figure, axes = picture_rows(rows, n_columns, 7.2, 0.95 * len(rows), 0.12)
    top = max(float(images.max()) for images in rows.values())
    for row, images in zip(axes, rows.values(), strict=True):
        for ax, image in zip(row, images, strict=False):
            _show(ax, image, top)
    return figure


def image_grid(images, titles=None, columns=8, shared_scale=True):
    """Return a figure of images (N, C, H, W) float32 in [0, 1] with optional titles, `columns` per row."""
    figure, axes = new_panels(len(images), columns, 7.2, 0.9 if titles is None else 1.15)
    top = float(np.max(images)) if shared_scale else None
    for i, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        ax.set_axis_off()
        _show(ax, image, top)
        if titles is not None:
            ax.set_title(titles[i], fontsize=FONT_PT - 1, color=INK)
    return figure


def signed_grid(images, titles):
    """Return a row of signed images (N, 1, H, W): red above 0, blue below, on one scale, with a colour bar."""
    figure, axes = new_figure(1.5 * len(images) + 0.8, 1.7, 1, len(images), squeeze=False)
    top = float(np.abs(images).max())
    for ax, image, title in zip(axes[0], images, titles, strict=True):
        shown = ax.imshow(image[0], cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest")
        ax.set_axis_off()
        ax.set_title(title, fontsize=FONT_PT, color=INK)
    figure.colorbar(shown, ax=list(axes[0]), shrink=0.8).ax.tick_params(labelsize=FONT_PT - 1)
    return figure


def mistakes(dataset, wrong):
    """Return a figure of wrongly called nuclei; `wrong` is a table of `summaries.worst_mistakes`."""
    titles = [f"{t} called {c}\n{p:.2f}" for t, c, p in wrong[["truth", "call", "probability"]].itertuples(index=False)]
    return _named_nuclei(dataset, wrong["sample_id"], titles, max(4, len(wrong)))


def review_queue(dataset, queue):
    """Return a figure of the cells that an expert should review, each with its prediction set and probability.

    `queue` has the columns sample_id, prediction_set, call, confidence.
    """
    titles = [
        f"{sets.replace(';', ' or ') or 'no phase'}\n{call} {p:.2f}"
        for sets, call, p in queue[["prediction_set", "call", "confidence"]].itertuples(index=False)
    ]
    return _named_nuclei(dataset, queue["sample_id"], titles, min(6, max(4, len(queue))))


def _named_nuclei(dataset, sample_ids, titles, columns: int):
    where = {name: i for i, name in enumerate(dataset.sample_ids)}
    return image_grid(dataset.images[[where[s] for s in sample_ids]], titles, columns, shared_scale=False)


def distributions(table, columns: dict[str, str], labels, classes):
    """Return the density of each measured column, one curve per class; `columns` maps names to axis labels."""
    import seaborn as sns

    figure, axes = new_figure(2.5 * len(columns), 2.6, 1, len(columns), squeeze=False)
    names = pd.Series(np.array(classes)[labels], index=table.index, name="phase")
    colours = {"hue": names, "hue_order": list(classes), "palette": class_colours(classes)}
    for i, (ax, (column, text)) in enumerate(zip(axes[0], columns.items(), strict=True)):
        options = {"common_norm": False, "cut": 0, "warn_singular": False, "legend": i == 0}
        sns.kdeplot(x=table[column], **colours, **options, ax=ax)
        label(ax, text, "density of each phase" if i == 0 else "")
        ax.set_yticks([])
        ax.xaxis.set_major_locator(MaxNLocator(4))
    if axes[0][0].get_legend():
        axes[0][0].get_legend().set_title(None)
    return figure


def dna_histogram(integrated_dna, labels, classes, unit="integrated intensity, relative to the G1 median"):
    """Return the histogram of DNA content, stacked by class; NaN (no nucleus found) is left out."""
    figure, ax = new_figure(5.5, 2.8)
    values, labels = np.asarray(integrated_dna, float), np.asarray(labels)
    kept = np.isfinite(values)
    # The last bar includes the few nuclei beyond the axis, so that none is silently left out.
    top = np.quantile(values[kept], 0.995)
    stack = [np.minimum(values[kept & (labels == k)], top) for k in range(len(classes))]
    colours = class_colours(classes)
    ax.hist(stack, np.linspace(0, top, 50), stacked=True, color=[colours[c] for c in classes], label=list(classes))
    legend(ax)
    label(ax, unit, "nuclei")
    return figure


def scatter(x, y, labels, classes, x_label="", y_label=""):
    """Return a figure with one dot per image, coloured by class; those with NaN are left out."""
    figure, ax = new_figure(5.5, 3.0)
    x, y, labels = np.asarray(x, float), np.asarray(y, float), np.asarray(labels)
    for k, (name, colour) in enumerate(class_colours(classes).items()):
        ax.scatter(x[labels == k], y[labels == k], s=14, color=colour, alpha=0.6, linewidths=0, label=name)
    legend(figure)
    label(ax, x_label, y_label)
    return figure


def validation(comparison):
    """Return a figure of simulated beside real nuclei, one panel per quantity: median, middle 50 % and 90 % per phase.

    `comparison` is a table of `simulation.validation.compare`; rows of none of the four phases are left out.
    """
    found = set(comparison.loc[comparison["phase"].isin(PHASES), "source"])
    sources = [s for s in MARKERS if s in found]
    figure, axes = new_figure(7.4, 2.9, 1, len(QUANTITIES))
    colours = class_colours(PHASES)
    for ax, (quantity, text) in zip(axes, QUANTITIES.items(), strict=True):
        rows = comparison[comparison["quantity"] == quantity].set_index(["source", "phase"])
        for k, phase in enumerate(PHASES):
            for i, source in enumerate(sources):
                if (source, phase) not in rows.index:
                    continue
                row, x = rows.loc[(source, phase)], k + (i - (len(sources) - 1) / 2) * 0.2
                colour = colours[phase] if source == "simulated" else QUIET
                ax.plot([x, x], [row["p05"], row["p95"]], color=colour, linewidth=0.8)
                ax.plot([x, x], [row["p25"], row["p75"]], color=colour, linewidth=3)
                ax.plot(x, row["p50"], MARKERS[source], color=colour, markersize=5, markeredgecolor="white")
        ax.set_xticks(range(len(PHASES)), PHASES)
        label(ax, title=text)
    handles = [axes[0].plot([], [], MARKERS[s], color="black" if s == "simulated" else QUIET)[0] for s in sources]
    names = [s if s == "simulated" else f"{s} (real)" for s in sources]
    legend(figure, handles=handles, labels=names, loc="outside upper center", ncols=len(sources))
    return figure


def _show(ax, image, top) -> None:
    """Draw (C, H, W) in gray or colour; `top` is the value shown brightest (None: the image's maximum)."""
    if len(image) == 3:
        ax.imshow(np.clip(np.moveaxis(image, 0, -1) / (top or image.max() or 1), 0, 1))
    else:
        ax.imshow(image[0], cmap="gray", vmin=0 if top else None, vmax=top)

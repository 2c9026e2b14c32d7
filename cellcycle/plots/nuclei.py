"""Pictures of nuclei, and distributions of what is measured on them."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from cellcycle.phases import class_colours
from cellcycle.plots.style import FONT_PT, INK, label, legend_beside, new_figure


def nucleus_panel(dataset, n_per_class=8, seed=0, per_image=False):
    """Return a figure with random nuclei of each class, one row a class.

    Parameters
    ----------
    dataset : NucleusDataset
    n_per_class : int
    seed : int
    per_image : bool
        Stretch each picture to its own range; otherwise all share one scale, so that brightness compares.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(len(dataset.classes)):
        members = np.flatnonzero(dataset.labels == k)
        rows.append(rng.choice(members, min(n_per_class, len(members)), replace=False))
    figure, axes = new_figure(7.2, 0.95 * len(rows), len(rows), n_per_class, squeeze=False)
    top = None if per_image else float(np.quantile(dataset.images, 0.9995))
    for k, (row, members) in enumerate(zip(axes, rows, strict=True)):
        for column, ax in enumerate(row):
            ax.set_axis_off()
            if column < len(members):
                _show(ax, dataset.images[members[column]], top)
        row[0].text(
            -0.12,
            0.5,
            dataset.classes[k],
            transform=row[0].transAxes,
            ha="right",
            va="center",
            fontsize=FONT_PT + 1,
            color=class_colours(dataset.classes)[dataset.classes[k]],
            fontweight="bold",
        )
    return figure


def variant_rows(rows):
    """Return a figure with one named row of images each, e.g. one nucleus under each transform.

    Parameters
    ----------
    rows : dict of str to (N, C, H, W) float32 in [0, 1]
        All rows are shown on one brightness scale.
    """
    n_columns = max(len(images) for images in rows.values())
    figure, axes = new_figure(7.2, 0.95 * len(rows), len(rows), n_columns, squeeze=False)
    top = max(float(images.max()) for images in rows.values())
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        for ax in row:
            ax.set_axis_off()
        for ax, image in zip(row, images, strict=False):
            _show(ax, image, top)
        row[0].text(-0.12, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=FONT_PT, color=INK)
    return figure


def image_grid(images, titles=None, columns=8, shared_scale=True):
    """Return a figure of images (N, C, H, W) float32 in [0, 1] with optional titles, `columns` a row."""
    images = np.asarray(images)
    n_rows = -(-len(images) // columns)
    figure, axes = new_figure(7.2, (1.15 if titles is not None else 0.9) * n_rows, n_rows, columns, squeeze=False)
    top = float(images.max()) if shared_scale else None
    for i, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if i < len(images):
            _show(ax, images[i], top)
            if titles is not None:
                ax.set_title(titles[i], fontsize=FONT_PT - 1, color=INK)
    return figure


def mistakes(dataset, wrong):
    """Return a figure of wrongly called nuclei.

    Parameters
    ----------
    dataset : NucleusDataset
    wrong : DataFrame
        As `summaries.worst_mistakes` gives it.
    """
    where = {name: i for i, name in enumerate(dataset.sample_ids)}
    images = dataset.images[[where[s] for s in wrong["sample_id"]]]
    titles = [f"{t} called {c}\n{p:.2f}" for t, c, p in wrong[["truth", "call", "probability"]].itertuples(index=False)]
    return image_grid(images, titles, columns=max(4, len(images)), shared_scale=False)


def distributions(table, columns, labels, classes):
    """Return a figure with the distribution of each measured column, one curve a class.

    Parameters
    ----------
    table : DataFrame
        One row an image.
    columns : dict of str to str
        Column name -> axis label with its unit.
    labels : (N,) int
    classes : tuple of str
    """
    import pandas as pd
    import seaborn as sns

    figure, axes = new_figure(2.5 * len(columns), 2.6, 1, len(columns), squeeze=False)
    names = pd.Series(np.array(classes)[labels], index=table.index, name="phase")
    for i, (ax, (column, text)) in enumerate(zip(axes[0], columns.items(), strict=True)):
        sns.kdeplot(
            x=table[column],
            hue=names,
            hue_order=list(classes),
            palette=class_colours(classes),
            common_norm=False,
            cut=0,
            ax=ax,
            legend=i == 0,
            warn_singular=False,
        )
        label(ax, text, "density of each phase" if i == 0 else "")
        ax.set_yticks([])
        ax.xaxis.set_major_locator(MaxNLocator(4))
    if axes[0][0].get_legend():
        axes[0][0].get_legend().set_title(None)
    return figure


def dna_histogram(integrated_dna, labels, classes, unit="integrated intensity, relative to the G1 median"):
    """Return the histogram of DNA content, stacked by class.

    Parameters
    ----------
    integrated_dna : (N,) float
        NaN where no nucleus was found.
    labels : (N,) int
    classes : tuple of str
    """
    figure, ax = new_figure(5.5, 2.8)
    values, labels = np.asarray(integrated_dna, float), np.asarray(labels)
    kept = np.isfinite(values)
    # The last bar holds the few nuclei beyond the axis too, so that none is silently left out.
    top = np.quantile(values[kept], 0.995)
    values = np.minimum(values, top)
    bins = np.linspace(0, top, 50)
    colours = class_colours(classes)
    ax.hist(
        [values[kept & (labels == k)] for k in range(len(classes))],
        bins=bins,
        stacked=True,
        color=[colours[c] for c in classes],
        label=list(classes),
    )
    ax.legend(fontsize=FONT_PT, frameon=False)
    label(ax, unit, "nuclei")
    return figure


def scatter(x, y, labels, classes, x_label="", y_label="", title=""):
    """Return a figure with one dot an image, coloured by class.

    Parameters
    ----------
    x, y : (N,) float
        Dots with NaN are left out.
    labels : (N,) int
    classes : tuple of str
    """
    figure, ax = new_figure(5.5, 3.0)
    x, y, labels = np.asarray(x, float), np.asarray(y, float), np.asarray(labels)
    for k, (name, colour) in enumerate(class_colours(classes).items()):
        ax.scatter(x[labels == k], y[labels == k], s=14, color=colour, alpha=0.6, linewidths=0, label=name)
    legend_beside(figure)
    label(ax, x_label, y_label, title)
    return figure


def _show(ax, image, top) -> None:
    """Draw (C, H, W) in gray or colour; `top` is the value shown brightest (None: the image's own)."""
    if len(image) == 3:
        ax.imshow(np.clip(np.moveaxis(image, 0, -1) / (top or image.max() or 1), 0, 1))
    else:
        ax.imshow(image[0], cmap="gray", vmin=0 if top else None, vmax=top)

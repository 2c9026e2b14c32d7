"""Simulated beside real nuclei: medians and ranges of what is measured on both."""

import numpy as np

from cellcycle.phases import class_colours
from cellcycle.plots.style import FONT_PT, QUIET, label, new_figure

QUANTITIES = {
    "relative_area": "area\n(G1 median is 1)",
    "relative_dna": "integrated DNA\n(G1 median is 1)",
    "texture": "texture\n(spread / mean)",
    "eccentricity": "eccentricity",
}
MARKERS = {"simulated": "o", "jurkat": "s", "rpe1": "D", "mitocheck": "^"}


def validation(comparison, phases=("G1", "S", "G2", "M")):
    """Return one panel a quantity: per phase and source the median, the middle half and the middle 90 %.

    Parameters
    ----------
    comparison : DataFrame
        As `simulation.compare` gives it: source, phase, quantity, p05, p25, p50, p75, p95.
    phases : sequence of str
        Rows of `comparison` of other phases are left out.
    """
    sources = [s for s in MARKERS if s in set(comparison["source"]) and _has(comparison, s, phases)]
    figure, axes = new_figure(7.4, 2.9, 1, len(QUANTITIES))
    colours = class_colours(tuple(phases))
    for ax, (quantity, text) in zip(axes, QUANTITIES.items(), strict=True):
        rows = comparison[comparison["quantity"] == quantity].set_index(["source", "phase"])
        for k, phase in enumerate(phases):
            for i, source in enumerate(sources):
                if (source, phase) not in rows.index:
                    continue
                row, x = rows.loc[(source, phase)], k + (i - (len(sources) - 1) / 2) * 0.2
                colour = colours[phase] if source == "simulated" else QUIET
                ax.plot([x, x], [row["p05"], row["p95"]], color=colour, linewidth=0.8)
                ax.plot([x, x], [row["p25"], row["p75"]], color=colour, linewidth=3)
                ax.plot(x, row["p50"], MARKERS[source], color=colour, markersize=5, markeredgecolor="white")
        ax.set_xticks(range(len(phases)), phases)
        label(ax, "", text)
    handles = [axes[0].plot([], [], MARKERS[s], color="black" if s == "simulated" else QUIET)[0] for s in sources]
    names = [s if s == "simulated" else f"{s} (real)" for s in sources]
    figure.legend(handles, names, fontsize=FONT_PT, frameon=False, loc="outside upper center", ncols=len(sources))
    return figure


def _has(comparison, source, phases) -> bool:
    return bool(np.isin(comparison.loc[comparison["source"] == source, "phase"], phases).any())

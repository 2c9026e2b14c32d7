"""Figures of a report. Classes differ by place, hatching and marks, so that figures are readable without colour."""

import io
import warnings

import numpy as np
from matplotlib import rc_context

from cellcycle.images.wells import ROWS, well_name
from cellcycle.phases import class_colours
from cellcycle.plots.style import FONT_PT, INK, QUIET, label, new_figure, new_panels, spread_of
from cellcycle.report.numbers import Experiment, natural
from cellcycle.report.parts import per_cent

_HATCHES, _MARKS, _LINES = ("", "////", "....", "xxxx"), "os^D", ("-", "--", "-.", ":")
_BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
_COPIES = np.linspace(0, 7, 57)
# At most this number of rows or panels in a figure, so that it fits on one page; the tables have all.
MOST_ARMS = 40
# Number of characters that fit above a panel beside the number of nuclei; doses with fewer fit side by side below one.
_LONG = 16
# Heat maps of plates with more wells show no numbers.
_MOST_NUMBERS = 96


def svg(figure) -> bytes:
    """Return a figure as SVG; the same figure gives the same bytes."""

    def drawn(letters: str) -> bytes:
        written = io.BytesIO()
        with rc_context({"svg.hashsalt": "cellcycle", "svg.fonttype": letters, "hatch.linewidth": 0.6}):
            figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
        return written.getvalue()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = drawn("path")
        # Letters missing from the fonts here would be boxes: write text instead, for the browser's fonts.
        return drawn("none") if any("missing from font" in str(one.message) for one in told) else made


def _styles(classes):
    """Yield number (0 to 3), name, colour and hatching of each class."""
    for k, (name, colour) in enumerate(class_colours(classes).items()):
        yield k % 4, name, colour, _HATCHES[k % 4]


def _row(ax, y: float, row, colour: str, width: float = 1.4) -> None:
    """Draw a number with its interval."""
    ax.plot([row["low"], row["high"]], [y, y], color=INK, linewidth=width)
    ax.plot(row["value"], y, "o", color=colour, markeredgecolor=INK, markersize=5.5)


def _arm_axis(axes, arms, sign: str = "") -> None:
    """Name the arms, the first on top, and show shares in per cent."""
    axes[0].set_yticks(range(len(arms)), [_short(arm) for arm in arms])
    axes[0].set_ylim(len(arms) - 0.4, -0.6)
    for ax in axes:
        ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:{sign}.3g}" if value else "0")


def shares(numbers, experiment: Experiment):
    """Return a figure: stacked counted shares of each arm, and each phase with its interval and a dot per well."""
    arms, classes = experiment.arms[:MOST_ARMS], experiment.classes
    counted = numbers[numbers["table"] == "counted"].set_index(["arm", "quantity"])
    wells = numbers[numbers["table"] == "wells"].groupby(["arm", "quantity"])["value"]
    size = 10, 1.3 + 0.3 * len(arms)
    figure, axes = new_figure(*size, 1, 1 + len(classes), sharey=True, width_ratios=[2.2] + [1] * len(classes))
    left = np.zeros(len(arms))
    for _, name, colour, hatch in _styles(classes):
        value = np.array([counted["value"].get((arm, name), 0.0) for arm in arms])
        axes[0].barh(range(len(arms)), value, left=left, color=colour, hatch=hatch, edgecolor="white", label=name)
        for y in np.flatnonzero(value >= 0.08):
            at, text = left[y] + value[y] / 2, f"{100 * value[y]:.0f}"
            axes[0].text(at, y, text, ha="center", va="center", fontsize=7, bbox=_BOX)
        left += np.nan_to_num(value)
    axes[0].set_xlim(0, 1)
    axes[0].legend(ncols=len(classes), loc="lower left", bbox_to_anchor=(0, 1), fontsize=FONT_PT - 1, frameon=False)
    label(axes[0], "share of the nuclei, %")
    for ax, (_, name, colour, _) in zip(axes[1:], _styles(classes), strict=True):
        for y, arm in enumerate(arms):
            if (arm, name) in counted.index:
                own = wells.get_group((arm, name))
                ax.plot(own, np.full(len(own), y - 0.22), ".", color=QUIET, markersize=4)
                _row(ax, y, counted.loc[(arm, name)], colour)
        ax.set_xlim(left=0)
        ax.grid(axis="x", color="#e5e5e5", linewidth=0.6)
        label(ax, f"{name}, %")
    _arm_axis(axes, arms)
    return figure


def differences(numbers, experiment: Experiment):
    """Return a figure of each arm's differences to the control, per phase: estimated (filled) and counted (open)."""
    found = numbers[numbers["table"].str.endswith("minus control")].set_index(["table", "arm", "quantity"])
    arms = list(dict.fromkeys(found.index.get_level_values("arm")))[:MOST_ARMS]
    classes = experiment.classes
    figure, axes = new_figure(10, 1.2 + 0.36 * len(arms), 1, len(classes), sharey=True, squeeze=False)
    for ax, (_, name, colour, _) in zip(axes[0], _styles(classes), strict=True):
        ax.axvline(0, color=INK, linewidth=0.8)
        for y, arm in enumerate(arms):
            _row(ax, y - 0.13, found.loc[("estimated, minus control", arm, name)], colour)
            _row(ax, y + 0.17, found.loc[("counted, minus control", arm, name)], "white", 0.8)
        ax.grid(axis="x", color="#e5e5e5", linewidth=0.6)
        label(ax, "percentage points", title=name)
    _arm_axis(axes[0], arms, "+")
    return figure


def dose_response(numbers, experiment: Experiment):
    """Return a figure of estimated shares over the dose, one panel per condition; None if none has two doses.

    At dose 0 a panel shows the condition itself, or else the control.
    """
    found = numbers[(numbers["table"] == "estimated") & numbers["quantity"].isin(experiment.classes)]
    dosed = found.groupby("condition", sort=False)["dose"].nunique()
    panels = [*dosed.index[dosed > 1]][:MOST_ARMS]
    if not panels:
        return None
    across = min(len(panels), 4)
    figure, axes = new_panels(len(panels), across, 0.4 + 2.9 * across, 2.5, 0.5, sharey=True)
    is_control = (found["arm"] == experiment.control) | (found["condition"] == experiment.control)
    control = found[is_control & ~(found["dose"] > 0)]
    for ax, condition in zip(axes.flat, panels, strict=False):
        own = found[found["condition"] == condition].sort_values("dose")
        is_zero = (own["dose"] == 0).any()
        zero, own = own[own["dose"] == 0] if is_zero else control, own[own["dose"] > 0]
        doses = sorted(set(own["dose"]))
        # Dose 0 is drawn one mean step below the lowest dose, so that close doses have room.
        at_zero = doses[0] * (doses[0] / doses[-1]) ** (1 / (len(doses) - 1)) if len(doses) > 1 else doses[0] / 10
        for k, name, colour, _ in _styles(experiment.classes):
            style = {"color": colour, "marker": _MARKS[k], "markeredgecolor": INK, "capsize": 2, "linestyle": _LINES[k]}
            for rows_of, named in ((own, name), (zero, None)):
                part = rows_of[rows_of["quantity"] == name]
                at = part["dose"].where(part["dose"] > 0, at_zero)
                ax.errorbar(at, part["value"], spread_of(part, "value", ("low", "high")), label=named, **style)
        ax.set_xscale("log")
        names = ["0"] * (len(zero) > 0) + [min(f"{dose:g}", f"{dose:.3g}", key=len) for dose in doses]
        # Many doses, e.g. ten, have no room side by side.
        ax.set_xticks([at_zero, *doses][-len(names) :], names, rotation=90 if sum(map(len, names)) >= _LONG else 0)
        ax.minorticks_off()
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}")
        as_zero = "" if is_zero or not len(control) else f" (0: {_short(experiment.control)})"
        label(ax, "dose" + as_zero, title=_short(condition))
    axes[0][0].set_ylabel("share, %", fontsize=FONT_PT, color=INK)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", fontsize=FONT_PT, frameon=False)
    return figure


def histograms(experiment: Experiment):
    """Return histograms of DNA content, one panel per arm, stacked by phase; None if no DNA content is known."""
    nuclei = experiment.nuclei
    nuclei = nuclei[nuclei["dna_copies"].notna() & (nuclei["call"] != "")]
    of_arms = dict(iter(nuclei.groupby("arm")))
    arms = [arm for arm in experiment.arms if arm in of_arms][:MOST_ARMS]
    if not arms:
        return None
    figure, axes = new_panels(len(arms), min(4, len(arms)), 10, 1.5, 0.7, sharex=True)
    for ax, arm in zip(axes.flat, arms, strict=False):
        own, bottom = of_arms[arm], np.zeros(len(_COPIES) - 1)
        for _, name, colour, hatch in _styles(experiment.classes):
            copies = own.loc[own["call"] == name, "dna_copies"].clip(_COPIES[0], _COPIES[-1] - 1e-6)
            counts, _ = np.histogram(copies, _COPIES)
            style = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.2, "label": name}
            # One patch instead of one bar per bin, which took a third of the time of a plate's report.
            ax.stairs(bottom + counts, _COPIES, baseline=bottom, fill=True, **style)
            bottom = bottom + counts
        ax.yaxis.get_major_locator().set_params(integer=True)
        for at in (2, 4):
            ax.axvline(at, color=INK, linewidth=0.7, linestyle=":")
        ax.set_xticks([0, 2, 4, 6])
        ax.tick_params(labelbottom=True)
        # Long titles side by side would overlap.
        title = f"{_short(arm)}{' ' if len(arm) <= _LONG else chr(10)}(n = {len(own)})"
        label(ax, y="nuclei" if ax in axes[:, 0] else "", title=title)
    for ax in axes[-1]:
        ax.set_xlabel("DNA, copies of the genome", fontsize=FONT_PT, color=INK)
    named = axes[0][0].get_legend_handles_labels()
    figure.legend(*named, ncols=4, loc="outside upper right", fontsize=FONT_PT, frameon=False)
    return figure


def heat_maps(numbers, experiment: Experiment):
    """Yield each plate's name with its heat maps of wells: share of each phase, nuclei found, and width of rims.

    A colour means the same value on all plates.
    """
    wells = numbers[(numbers["table"] == "wells") & (numbers["well"] != "")]
    # An edited table may contain names that are no wells.
    place = wells["well"].map(well_name).str.extract(r"^([A-Z]+)(\d+)$")
    wells = wells.assign(row=place[0], column=place[1].astype(float)).dropna(subset="row")
    shown = [*experiment.classes, "found", "width of the rim, px"]
    plates = {}
    for plate, own in sorted(wells.groupby("plate"), key=lambda item: natural(item[0])):
        # Show rows and columns without wells too, else distant wells look like neighbours.
        used = [ROWS.index(row) for row in own["row"]]
        rows = ROWS[min(used) : max(used) + 1]
        columns = np.arange(own["column"].min(), own["column"].max() + 1)
        plates[plate] = {
            name: found.pivot_table("value", "row", "column", "sum" if name == "found" else "mean")
            .reindex(index=rows, columns=columns)
            for name, found in own.dropna(subset="value").groupby("quantity") if name in shown
        }  # fmt: skip
    for plate, grids in plates.items():
        shape = grids["found"].shape
        height = 0.7 + min(0.3 * shape[0], 5.5 * shape[0] / shape[1])
        figure, axes = new_panels(len(shown), 3 if shape[1] <= 12 else 2, 10, height)
        for ax in axes.flat[len(grids) :]:
            ax.set_axis_off()
        for ax, name in zip(axes.flat, [name for name in shown if name in grids], strict=False):
            is_share = name in experiment.classes
            factor = 100 if is_share else 1
            every = factor * np.concatenate([of[name].to_numpy(float).ravel() for of in plates.values() if name in of])
            least = 0 if is_share else np.nanmin(every)
            grid = grids[name].reindex_like(grids["found"]) * factor
            _heat_map(ax, grid, name + ", %" * is_share, is_share, least, max(np.nanmax(every), least + 1))
        yield plate, figure


def _heat_map(ax, grid, title: str, is_share: bool, least: float, most: float) -> None:
    values = grid.to_numpy(float)
    mesh = ax.pcolormesh(values, cmap="cividis", edgecolors="white", linewidth=0.8, vmin=least, vmax=most)
    for (r, c), value in np.ndenumerate(values) if values.size <= _MOST_NUMBERS else ():
        text = "–" if np.isnan(value) else f"{value:.0f}" if value >= 10 else f"{value:.2g}"
        text = per_cent(value / 100) if is_share else text
        colour = "white" if value <= (least + most) / 2 else INK
        ax.text(c + 0.5, r + 0.5, text, ha="center", va="center", fontsize=6.5, color=colour)
    # The 48 column names of a plate with 1536 wells have no room side by side.
    is_narrow = values.shape[1] > 24
    ax.set_xticks(np.arange(values.shape[1]) + 0.5, grid.columns.astype(int), rotation=90 * is_narrow)
    ax.set_yticks(np.arange(values.shape[0]) + 0.5, grid.index)
    ax.tick_params(length=0, labelsize=5.5 if is_narrow else 7)
    ax.invert_yaxis()
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02)
    bar.locator.set_params(integer=title == "found")
    bar.ax.tick_params(labelsize=7)
    label(ax, title={"found": "nuclei found"}.get(title, title))


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:13]}…{name[-14:]}"

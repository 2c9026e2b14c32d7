"""The top of the page: the result in words, and warnings."""

import html

import numpy as np

from cellcycle.images.makers import TIME
from cellcycle.phases import S_BY_DNA
from cellcycle.predict.priors import MANY_MITOSES
from cellcycle.report.numbers import LEFT_OUT, NO_CONDITION, Experiment, is_spoilt
from cellcycle.report.parts import difference, is_certain, many, named, share
from cellcycle.report.shares import LEAST_QUALITY
from cellcycle.review.doubt import in_words

# A well is out of focus if its rims are this number of times wider than those of the median well.
_BLURRED = 1.5
# Warn if more than this fraction of a condition's nuclei would have to change plate to match the control.
_MOST_UNEVEN = 0.25
# Warn of a well if a larger fraction of its nuclei has one of the flags, or if fewer nuclei are counted.
_MOST_SPOILT, _LEAST_NUCLEI = 0.3, 30


def unit_of(experiment: Experiment) -> str:
    """Return the name of the unit of nuclei: "well" if the table has wells, else "image"."""
    return "well" if (experiment.table["well"] != "").any() else "image"


def field_of(experiment: Experiment) -> str:
    """Return the name of the images: "field", "crop", or "image" if there are both."""
    kinds = set(experiment.nuclei["kind"])
    return {"field": "field", "nucleus": "crop"}.get("".join(kinds), "image")


def summary(numbers, experiment: Experiment) -> str:
    """Return the summary as HTML: the shares of each arm, their differences to the control, counts and warnings."""
    found, lines = dict(iter(numbers.groupby(["table", "arm"]))), []
    counts = {"n_nuclei": "nucleus", "n_fields": field_of(experiment)}
    counts |= {"n_wells": "well"} if unit_of(experiment) == "well" else {}
    for arm in experiment.arms:
        if ("estimated", arm) not in found:
            lines.append(f"<li><b>{html.escape(arm)}</b>: no nucleus that can be counted</li>")
            continue
        own = found["estimated", arm]
        told = ", ".join(f"{html.escape(row['quantity'])} {share(row)}" for _, row in own.iterrows())
        where = ", ".join(many(own.iloc[0][name], what) for name, what in counts.items())
        text = f"<li><b>{html.escape(arm)}</b>: {told} <small>({where})</small>"
        if ("estimated, minus control", arm) in found:
            differing = found["estimated, minus control", arm]
            clear = [f"{'more' if row['value'] > 0 else 'less'} {html.escape(row['quantity'])} ({difference(row)})"
                     for _, row in differing.iterrows() if is_certain(row)]  # fmt: skip
            beside = html.escape(experiment.control)
            text += f"<br>compared with {beside}: {', '.join(clear) or 'no difference whose interval excludes 0'}"
        lines.append(f"{text}</li>")
    warned = "".join(f"<li>{html.escape(text)}</li>" for text in _warnings(numbers, experiment))
    warned = f"<div class='warn'><b>Look at these first</b><ul>{warned}</ul></div>" if warned else ""
    note = f"<p>{S_BY_DNA}</p>" if "S" in experiment.classes else ""
    opening = f"<p>Estimated shares in per cent, with 95 % intervals in brackets. {by_chance(numbers)}</p>"
    text = html.escape(_counted(numbers, experiment))
    return f"{opening}<ul class='answer'>{''.join(lines)}</ul>{note}<p>Nuclei: {text}.</p>{warned}"


def by_chance(numbers) -> str:
    """Return sentences on multiple testing of the estimated differences; "" if there are none."""
    n = numbers.loc[numbers["table"] == "estimated, minus control", "low"].count()
    if not n:
        return ""
    return (
        f"Even where nothing differs, one interval in twenty excludes 0 by chance: of {many(n, 'difference')} about "
        f"{n / 20:.2g}. A star marks those that remain after correction for their number (Holm)."
    )


def _counted(numbers, experiment: Experiment) -> str:
    """Return the numbers of nuclei found, counted, estimated without a call, and left out by reason, as text."""
    n_of = numbers[numbers["table"] == "counts"].groupby("quantity", sort=False)["value"].sum()
    told = [f"{n_of['found']:.0f} found", f"{n_of['counted']:.0f} counted"]
    told += [f"{n:.0f} more estimated, without a call"] if (n := n_of["estimated alone"]) else []
    flags = {in_words(name): n for name in LEFT_OUT if (n := n_of[f"flag {name}"])}
    nuclei = experiment.table[experiment.table["is_nucleus"]]
    n_spoilt = nuclei["flags"].map(is_spoilt).sum()
    if n_spoilt:
        several = " (some for several reasons)" if sum(flags.values()) > n_spoilt else ""
        told.append(f"{n_spoilt} left out{several}: " + ", ".join(f"{n:.0f} {why}" for why, n in flags.items()))
    n_silent = len(nuclei) - len(experiment.nuclei) - n_spoilt
    told += [f"{n_silent} left out without a call"] if n_silent else []
    told += [many(n, "image") + " not read"] if (n := n_of["fields not read"]) else []
    return "; ".join(told)


def _warnings(numbers, experiment: Experiment) -> list[str]:
    table = experiment.table
    nuclei = table[table["is_nucleus"]]
    wells = numbers[numbers["table"] == "wells"].pivot(index="unit", columns="quantity", values="value")
    rims = wells.get("width of the rim, px", wells["found"] * np.nan)
    flagged = {name: nuclei["flags"].str.contains(name).groupby(nuclei["unit"]).mean() for name in LEFT_OUT[1:]}
    open_m = nuclei["review"].str.contains(MANY_MITOSES).groupby(nuclei["unit"]).any()
    elsewhere = nuclei["flags"].str.contains("other_g1_peak").groupby(nuclei["unit"]).any()
    again = (_is_at_several_times(nuclei) | nuclei["flags"].str.contains("same_field")).groupby(nuclei["unit"]).any()
    likely = nuclei[[f"p_{name}" for name in experiment.classes]].set_axis(experiment.classes, axis=1)
    own = np.select([nuclei["call"] == name for name in likely], [likely[name] for name in likely], np.inf)
    fitted = nuclei[nuclei["dna_copies"].notna()]
    faint = fitted.groupby("unit")["g1_quality"].min() < LEAST_QUALITY
    counted = experiment.nuclei[experiment.nuclei["kind"] == "field"]
    by_picture = counted["dna_copies"].isna().groupby(counted["unit"]).any()
    where = {
        "the G1 peak differs from that of the plate, the G1 peak of the plate does not fit, or many nuclei have more "
        "DNA than G2": elsewhere,
        "no G1 peak was found, so that larger nuclei, also of other cells, may be called G2": by_picture,
        "more nuclei look mitotic than in a growing culture: those above a tenth are estimated, but have no call and "
        "are not counted; for cells arrested in M predict with --prior equal": open_m,
        "another time, plane or copy of a field shows its nuclei again: each counts again, so intervals are too narrow":
        again,
        "calls are not the most probable phase of their row, as where some were changed, or a column sorted by itself":
        (likely.max(axis=1) > own).groupby(nuclei["unit"]).any(),
        **{f"more than {_MOST_SPOILT:.0%} of the nuclei are left out: {in_words(name)}": shares > _MOST_SPOILT
           for name, shares in flagged.items()},
        "rims are far wider than elsewhere, as if out of focus": rims > _BLURRED * rims.median(),
        "the peaks of DNA are broad: fitted shares of S are no more reliable than counted ones": faint,
        f"no condition is given: all these count as {NO_CONDITION!r}": table.groupby("unit")["is_bare"].any(),
        "no nucleus can be counted": wells["counted"] == 0,
        f"fewer than {_LEAST_NUCLEI} nuclei are counted": wells["counted"].between(1, _LEAST_NUCLEI - 1),
    }  # fmt: skip
    called = dict(zip(table["unit"], table["unit_name"], strict=True))
    units = {text: [called[unit] for unit in is_so.index[is_so]] for text, is_so in where.items()}
    told = [f"{text}, in {named(names)}" for text, names in units.items() if names]
    # Units without any counted nucleus were already named.
    empty = table[~table["unit"].isin(wells.index[wells["counted"] == 0])].groupby("image_name", sort=False)
    if images := [image for image, n in empty["is_counted"].sum().items() if not n]:
        told.append(f"no nucleus is counted in {many(len(images), field_of(experiment))}: {named(images)}")
    for name in sorted({"time", "cell_line"} & {*table}):
        kinds = table[table[name] != ""].groupby("arm", sort=False)[name].nunique()
        if arms := [*kinds.index[kinds > 1]]:
            told.append(f"{in_words(name)} differs within {named(arms)}: all are counted together; to compare them, "
                        "write it into the condition")  # fmt: skip
    arms_of = table[table["well"] != ""].groupby(["plate", "well"])["arm"].nunique()
    if wells := [" ".join(filter(None, place)) for place in arms_of.index[arms_of > 1]]:
        told.append(f"wells of several conditions count once in each, and the maps show their mean: {named(wells)}")
    told += _on_other_plates(experiment)
    models = sorted(set(table["model"]) - {""})
    if len(models) > 1:
        told.append(f"{' and '.join(models)} called different images: their shares cannot be compared")
    return told


def _is_at_several_times(nuclei):
    """Return which nuclei are of a field with several pictures in their arm, e.g. times or planes (N,) bool."""
    field = nuclei["image"].map({image: TIME.sub("", image) for image in set(nuclei["image"])})
    picture = nuclei["image"] + "\n" + nuclei["channel"] + "\n" + nuclei["planes"]
    return picture.groupby([nuclei["arm"], nuclei["plate"], field]).transform("nunique") > 1


def _on_other_plates(experiment: Experiment) -> list[str]:
    """Return warnings of arms whose difference to the control may come from plates, or other groups read together.

    The effect is limited by the fraction of nuclei that would have to change plate to match the control.
    """
    nuclei = experiment.nuclei
    is_control = experiment.is_control[nuclei.index]
    if not is_control.any() or is_control.all():
        return []
    place = nuclei["place"]
    parts = place[~is_control].groupby(nuclei["arm"]).value_counts(normalize=True).unstack(0, fill_value=0)
    of_control = place[is_control].value_counts(normalize=True).reindex(parts.index, fill_value=0)
    is_alone = parts[of_control == 0].sum() > _MOST_UNEVEN
    off = parts.sub(of_control, axis="index").clip(lower=0).sum()
    what = "plates" if (nuclei["plate"] != "").any() else "groups that are read together"
    told = {
        f"lies on other {what} than the control": is_alone,
        f"is distributed over the {what} differently from the control": ~is_alone & (off > _MOST_UNEVEN),
    }
    arms = {text: [arm for arm in experiment.arms if is_so.get(arm)] for text, is_so in told.items()}
    return [f"{text}, which may be why they differ: {named(of)}" for text, of in arms.items() if of]

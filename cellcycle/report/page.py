"""The page of a report: one file that asks no host for anything, and beside it a table of every number on it."""

import html
from importlib.resources import files
from pathlib import Path

import numpy as np

from cellcycle.checkpoint import load_checkpoint
from cellcycle.datasets.labels import pictures_of
from cellcycle.errors import CellCycleError, SettingError, needing
from cellcycle.files import sha256_of, whole_file
from cellcycle.phases import S_BY_DNA
from cellcycle.predict.priors import MANY_MITOSES
from cellcycle.report.numbers import LEFT_OUT, Experiment, all_numbers
from cellcycle.report.parts import figure_of, listed, many, named, plain, section, share, table_of
from cellcycle.report.shares import BY_DNA, FITTED, LEAST_QUALITY
from cellcycle.review.doubt import in_words, reasons, review_order, sureness
from cellcycle.review.thumbnails import thumbnails

_MOST_PICTURES, _SUREST, _OF_AN_IMAGE = 12, 4, 3
# A well with rims so many times wider than those of the median well is out of focus as a whole.
_BLURRED = 1.5
# Look at a well of which a larger part is spoilt, or fewer nuclei are counted.
_MOST_SPOILT, _LEAST_NUCLEI = 0.3, 30
_COLUMNS = ["table", "arm", "condition", "dose", "plate", "well", "unit", "quantity", "value", "low", "high"]
_PRIORS = {
    "culture": "the prior of a growing culture (M weighs little; G1, S and G2 alike)",
    "equal": "all phases weighing alike",
    "slide": "phases weighing as the DNA histogram of an image says",
}
_SHARES = (
    "<b>Counted</b>: the calls, made with {prior}. <b>Estimated</b>: the shares under which the probabilities of all "
    "nuclei are likeliest, with that prior taken out again; so mistakes cancel, as far as the probabilities admit them."
    "{fitted}"
    " Bars and large dots: counted; small dots: single {units}. An interval is the widest of those over replicates, "
    "wells, fields and nuclei, for cells of one well are alike, and never narrower than as many nuclei allow (Wilson); "
    "with one or two wells it cannot hold all that differs between wells."
)
_FITTED = (
    " <b>Fitted</b>: the shares that the histogram of DNA shows by itself, one fit a slide or plate, with a peak at "
    "G1, one at G2 where it is found, S between them; doublets and parts of nuclei are left out."
)
_DIFFERENCES = (
    "Filled: estimated; open: counted. In percentage points, with 95 % intervals; an interval that holds 0 decides "
    "nothing. Of many intervals shown, one in twenty misses."
)
_HISTOGRAMS = (
    f"Each nucleus by its integrated DNA, in copies of the genome (2 in G1, 4 in G2 and M, else S). {S_BY_DNA}"
)
_PLATE = "Counted shares, nuclei found, and the width of their rims, which grows out of focus; – where there is none."
_DONE = (
    "Intervals: 95 %, by 500 bootstrap samples each of replicates, wells, fields and nuclei; of these the widest, its "
    "variance corrected for small numbers by n / (n - 1). Estimated shares: Saerens, Latinne and Decaestecker 2002, "
    "Neural Computation 14:21. Research only, no medical device."
)


def write_report(output, experiment: Experiment, tables, images=".") -> Path:
    """Write the page of an experiment (.html), and its numbers beside it as `<name>_numbers.csv`; return their file.

    `tables` are those that the experiment was read from, to be named with their hashes; `images` is the folder of their
    images, for pictures of nuclei: what is not there is left out.
    """
    output = Path(output)
    if output.suffix.lower() not in (".html", ".htm"):
        raise SettingError(output, "a page is not called so", "end the name in .html")
    with needing("report", "its figures need the package matplotlib", "run: pip install 'cellcycle[report]'"):
        from cellcycle.report import figures
    numbers = all_numbers(experiment).reindex(columns=[*_COLUMNS, "n_nuclei", "n_fields", "n_wells"])
    sections = [_summary(numbers, experiment), _shares(figures, numbers, experiment)]
    if experiment.control:
        sections.append(_differences(figures, numbers, experiment))
    dose_response, histograms = figures.dose_response(numbers, experiment), figures.histograms(experiment)
    if dose_response:
        text = "Estimated shares over the dose, with 95 % intervals."
        sections.append(section("Dose", text, figure_of(dose_response, "Shares over the dose")))
    if histograms:
        sections.append(section("DNA content", _HISTOGRAMS, figure_of(histograms, "Histograms of DNA content")))
    plates = [figure_of(made, f"Wells of plate {plate}") for plate, made in figures.heat_maps(numbers, experiment)]
    sections += [section("Plate", _PLATE, *plates)] if plates else []
    sections += [_wells(numbers, experiment), _pictures(experiment, images), _done(experiment, tables)]
    page = (files("cellcycle.report") / "report.html").read_text(encoding="utf-8")
    style = (files("cellcycle.report") / "report.css").read_text(encoding="utf-8")
    title = html.escape(" and ".join(Path(table).name for table in tables))
    page = page.replace("{{STYLE}}", style).replace("{{TITLE}}", title).replace("{{BODY}}", "\n".join(sections))
    beside = output.with_name(f"{output.stem}_numbers.csv")
    with whole_file(output) as page_file, whole_file(beside) as csv_file:
        page_file.write_text(page, encoding="utf-8", errors="replace", newline="")
        numbers.to_csv(csv_file, index=False, float_format="%.6g", lineterminator="\n")
    return beside


def _unit(experiment: Experiment) -> str:
    return "well" if (experiment.table["well"] != "").any() else "image"


def _summary(numbers, experiment: Experiment) -> str:
    """Return the answer in words: the shares of each arm, and what is decidedly different from the control."""
    found, lines = numbers.set_index(["table", "arm"]).sort_index(), []
    for arm in experiment.arms:
        if ("estimated", arm) not in found.index:
            lines.append(f"<li><b>{html.escape(arm)}</b>: no nucleus that can be counted</li>")
            continue
        own = found.loc[("estimated", arm)]
        told = ", ".join(f"{html.escape(row['quantity'])} {share(row)}" for _, row in own.iterrows())
        n, counts = own.iloc[0], [("n_nuclei", "nucle"), ("n_fields", "field"), ("n_wells", _unit(experiment))]
        where = ", ".join(many(n[name], what) for name, what in counts[1 : 3 if _unit(experiment) == "well" else 2])
        text = f"<li><b>{html.escape(arm)}</b>: {told} <small>({n['n_nuclei']:.0f} nuclei, {where})</small>"
        if ("estimated, minus control", arm) in found.index:
            differing = found.loc[("estimated, minus control", arm)]
            clear = [f"{'more' if row['value'] > 0 else 'less'} {html.escape(row['quantity'])} ({share(row, '+')})"
                     for _, row in differing.iterrows() if row["low"] > 0 or row["high"] < 0]  # fmt: skip
            beside = html.escape(experiment.control)
            text += f"<br>beside {beside}: {', '.join(clear) or 'no difference that is certain'}"
        lines.append(f"{text}</li>")
    table = experiment.table
    told = {"found": table["is_nucleus"].sum(), "counted": table["is_counted"].sum()}
    counts = numbers[(numbers["table"] == "counts") & numbers["quantity"].str.startswith("flag ")]
    for quantity, n in counts.groupby("quantity", sort=False)["value"].sum().items():
        told |= {f"left out as {in_words(quantity.removeprefix('flag '))}": n} if n else {}
    told |= {"fields not read": n} if (n := (table["flags"] == "unreadable").sum()) else {}
    text = html.escape("; ".join(f"{n:.0f} {what}" for what, n in told.items()))
    warned = _warnings(numbers, experiment)
    warned = f"<div class='warn'><b>Look at these first</b><ul>{listed(warned)}</ul></div>" if warned else ""
    note = f"<p>{S_BY_DNA}</p>" if "S" in experiment.classes else ""
    opening = "<p>Estimated shares in per cent, in brackets 95 % intervals:</p>"
    return f"{opening}<ul class='answer'>{''.join(lines)}</ul>{note}<p>Nuclei: {text}.</p>{warned}"


def _warnings(numbers, experiment: Experiment) -> list[str]:
    table = experiment.table
    nuclei = table[table["is_nucleus"]]
    wells = numbers[numbers["table"] == "wells"].pivot(index="unit", columns="quantity", values="value")
    rims = wells.get("width of the rim, px", wells["found"] * np.nan)
    flagged = {name: nuclei["flags"].str.contains(name).groupby(nuclei["unit"]).mean() for name in LEFT_OUT[1:]}
    open_m = nuclei["review"].str.contains(MANY_MITOSES).groupby(nuclei["unit"]).any()
    elsewhere = nuclei["flags"].str.contains("other_g1_peak").groupby(nuclei["unit"]).any()
    fitted = nuclei[nuclei["dna_copies"].notna()]
    faint = fitted.groupby("unit")["g1_quality"].min() < LEAST_QUALITY
    where = {
        "the G1 peak lies elsewhere than that of the plate": elsewhere,
        "more nuclei look mitotic than in a growing culture: those above a tenth are estimated, but have no call and "
        "are not counted; for cells arrested in M predict with --prior equal": open_m,
        **{f"more than {_MOST_SPOILT:.0%} of the nuclei are left out: {in_words(name)}": shares > _MOST_SPOILT
           for name, shares in flagged.items()},
        "rims are far wider than elsewhere, as out of focus": rims > _BLURRED * rims.median(),
        "the peaks of DNA are broad: shares of S fitted to them are no surer than counted ones": faint,
        "no nucleus can be counted": wells["counted"] == 0,
        f"fewer than {_LEAST_NUCLEI} nuclei are counted": wells["counted"].between(1, _LEAST_NUCLEI - 1),
    }  # fmt: skip
    units = {text: [Path(unit).name for unit in is_so.index[is_so]] for text, is_so in where.items()}
    told = [f"{text}, in {named(names)}" for text, names in units.items() if names]
    for name in sorted({"time", "cell_line"} & {*table}):
        kinds = table[table[name] != ""].groupby("arm", sort=False)[name].nunique()
        if arms := [*kinds.index[kinds > 1]]:
            told.append(f"{in_words(name)} differs within {named(arms)}: all are counted together; to compare them, "
                        "write it into the condition")  # fmt: skip
    arms_of = table[table["well"] != ""].groupby(["plate", "well"])["arm"].nunique()
    if wells := [" ".join(filter(None, place)) for place in arms_of.index[arms_of > 1]]:
        told.append(f"wells of several conditions, each counted as one of each, in the maps their mean: {named(wells)}")
    models = sorted(set(table["model"]) - {""})
    return told + [f"{' and '.join(models)} answered for different images: their shares do not compare"] * (
        len(models) > 1
    )


def _shares(figures, numbers, experiment: Experiment) -> str:
    classes, is_well = experiment.classes, _unit(experiment) == "well"
    found = numbers[numbers["table"].isin(["counted", "estimated", FITTED])].set_index(["arm", "table", "quantity"])
    is_fitted = np.isfinite(numbers.loc[numbers["table"] == FITTED, "value"]).any()
    of_dna = BY_DNA if is_fitted else ()
    shown = [
        (name, how) for name in classes for how in ("counted", "estimated", FITTED) if how != FITTED or name in of_dna
    ]
    shown += [(name, FITTED) for name in of_dna if name not in classes]
    rows = []
    for arm in dict.fromkeys(found.index.get_level_values("arm")):
        first = found.loc[(arm, "counted", classes[0])]
        counts = [f"{first[name]:.0f}" for name in ("n_nuclei", "n_fields", "n_wells")[: 2 + is_well]]
        each = [share(found.loc[(arm, how, name)]) for name, how in shown]
        rows.append([html.escape(arm), *counts, *each])
    head = ["condition", "nuclei", "fields", "wells"][: 3 + is_well]
    head += [f"{name} {how}" for name, how in shown]
    names = sorted({text.split(" ")[0] for text in experiment.nuclei["prior"]})
    prior = " or ".join(_PRIORS.get(name, html.escape(name)) for name in names)
    figure = figure_of(figures.shares(numbers, experiment), "Shares of phases by condition")
    text = _SHARES.format(prior=prior, fitted=_FITTED if is_fitted else "", units=_unit(experiment) + "s")
    return section("Shares", text, figure, table_of(head, rows, "Shares in %, with 95 % intervals"))


def _differences(figures, numbers, experiment: Experiment) -> str:
    found = numbers[numbers["table"] == "estimated, minus control"].groupby("arm", sort=False)
    rows = [[html.escape(arm), *(share(row, "+") for _, row in own.iterrows())] for arm, own in found]
    caption = "Estimated differences in percentage points, with 95 % intervals"
    figure = figure_of(figures.differences(numbers, experiment), "Differences to the control") if rows else ""
    table = table_of(["condition", *experiment.classes], rows, caption)
    return section(f"Differences to {experiment.control}", _DIFFERENCES, figure, table)


def _wells(numbers, experiment: Experiment) -> str:
    """Return the table of wells (or images): their shares and how good their pictures are."""
    own, what, rows = numbers[numbers["table"] == "wells"], _unit(experiment), []
    quality = own[own["value"] > 0].drop_duplicates("quantity")["quantity"]
    quality = [name for name in dict.fromkeys(own["quantity"]) if name in set(quality) - set(experiment.classes)]
    for unit, found in own.groupby("unit", sort=False):
        values = found.set_index("quantity")
        shares = [share(values.loc[name]) if name in values.index else "–" for name in experiment.classes]
        named = [html.escape(Path(unit).name), html.escape(str(found["arm"].iloc[0]))]
        rows.append([*named, *shares, *(plain(values["value"].get(name, np.nan)) for name in quality)])
    head = [
        what,
        "condition",
        *experiment.classes,
        *(name.removeprefix("flag ").replace("_", " ").replace("dna", "DNA") for name in quality),
    ]
    text = f"Counted shares in %, with 95 % intervals over fields and nuclei, and the quality of each {what}."
    table = table_of(head, rows, f"Each {what}")
    return section(
        f"Each {what}", text, f"<details class='wells' open><summary>{many(len(rows), what)}</summary>{table}</details>"
    )


def _pictures(experiment: Experiment, images) -> str:
    """Return pictures of the most doubtful nuclei, and of the surest of each phase, which need not be right."""
    # One file may hold several pictures, another channel or time point each.
    table = experiment.table.assign(picture=pictures_of(experiment.table))
    is_counted, called = table["is_counted"].to_numpy(), table["call"].to_numpy()
    order = review_order(table)
    surest = np.argsort(-np.nan_to_num(sureness(table)), kind="stable")
    surest = surest[is_counted[surest] & (table["review"] == "").to_numpy()[surest]]
    wanted = [("Most doubtful", _MOST_PICTURES, order[is_counted[order]])]
    wanted += [(f"Surest of {name}", _SUREST, surest[called[surest] == name]) for name in experiment.classes]
    # From several images, with some to spare for images that are gone.
    for k, (title, most, rows) in enumerate(wanted):
        in_image = table["picture"].iloc[rows].groupby(table["picture"]).cumcount().to_numpy()
        wanted[k] = title, most, rows[in_image < _OF_AN_IMAGE][: 4 * most]
    try:
        cut = list(thumbnails(table, dict.fromkeys(row for _, _, rows in wanted for row in rows), images))
    except CellCycleError as error:
        cut = [error]
    problems = [found for found in cut if isinstance(found, CellCycleError)]
    made, parts = {found.row: found.jpeg for found in cut if not isinstance(found, CellCycleError)}, []
    for title, most, rows in wanted:
        shown = [row for row in rows if row in made][:most]
        why = reasons(table.iloc[shown])
        pictures = "".join(_picture(table.iloc[row], made[row], text) for row, text in zip(shown, why, strict=True))
        parts.append(f"<h3>{html.escape(title)}</h3><div class='pictures'>{pictures}</div>" if shown else "")
    note = f"{many(len(problems), 'image')} not found or read: {problems[0]}" if problems else ""
    return section(
        "Nuclei",
        "Each stretched to its own brightness; per cent: how sure the model is, which is not how right. "
        + html.escape(note),
        *parts,
    )


def _picture(row, jpeg: str, why: str) -> str:
    told = row["call"] or "no call"
    told += f", {100 * row['confidence']:.0f} %" if row.get("confidence", np.nan) > 0 else ""
    where = f"{Path(row['image']).name}{row['picture'].removeprefix(row['image'])}, nucleus {row['nucleus_id']:.0f}"
    alt = html.escape(f"Nucleus called {told}", quote=True)
    caption = f"<b>{html.escape(told)}</b><br>{html.escape(why)}<br><small>{html.escape(where)}</small>"
    return f"<figure><img alt='{alt}' src='data:image/jpeg;base64,{jpeg}'><figcaption>{caption}</figcaption></figure>"


def _done(experiment: Experiment, tables) -> str:
    """Return what was done: versions, models, how images were read, and what the models' cards warn of."""
    table = experiment.table
    rows = [["table", f"{html.escape(str(path))}, sha256 <code>{sha256_of(path)}</code>"] for path in tables]
    for name in ("version", "model", "model_reason", "prior", "channel", "planes", "kind", "group"):
        counts = table.loc[table[name] != "", name].value_counts().head(12)
        told = "; ".join(f"{value} ({many(n, 'row')})" for value, n in counts.items())
        rows += [[name.replace("_", " "), html.escape(told)]] if told else []
    sizes = table["pixel_size_um"].dropna().round(4)
    if len(sizes):
        is_guessed = table["flags"].str.contains("scale_unknown").any()
        guessed = ", where not stated by the size of the nuclei" if is_guessed else ""
        most = f" to {sizes.max():g}" if sizes.max() > sizes.min() else ""
        rows.append(["pixel size", f"{sizes.min():g}{most} um{guessed}"])
    lit = table[table["light"].notna()] if "light" in table else table[:0]
    if len(lit):
        told = f"{lit['light'].min():.2f} to {lit['light'].max():.2f} of its mean"
        rows.append(["uneven light", f"{told}, taken out of the DNA of {many(lit['image'].nunique(), 'image')}"])
    for model in sorted(set(table["model"]) - {""}):
        try:
            warning = load_checkpoint(model).warning
        except CellCycleError:
            warning = ""
        rows += [[f"{html.escape(model)} warns", html.escape(warning)]] if warning else []
    return section("What was done", _DONE, table_of(["what", "how"], rows, "How the images were read"))

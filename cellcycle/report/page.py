"""The page of a report: one file that loads nothing from the network, and a table of every number on it."""

import html
import os
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import numpy as np

from cellcycle.checkpoint import load_checkpoint
from cellcycle.datasets.labels import pictures_of
from cellcycle.errors import CellCycleError, SettingError, needing
from cellcycle.files import check_path, refuse_other, sha256_of, whole_file
from cellcycle.names import cell
from cellcycle.phases import S_BY_DNA
from cellcycle.report.numbers import Experiment, all_numbers
from cellcycle.report.parts import difference, figure_of, many, plain, section, share, table_of
from cellcycle.report.shares import BY_DNA, FITTED
from cellcycle.report.summary import by_chance, field_of, summary, unit_of
from cellcycle.review.doubt import reasons, review_order, sureness
from cellcycle.review.sheet import put_together
from cellcycle.review.thumbnails import thumbnails

_MOST_PICTURES, _SUREST, _OF_AN_IMAGE = 12, 4, 3
_COLUMNS = ["table", "arm", "condition", "dose", "plate", "well", "unit", "quantity", "value", "low", "high",
            "n_nuclei", "n_fields", "n_wells", "p_holm"]  # fmt: skip
# How a page and its table of numbers begin, in earlier versions too; only files that contain these are overwritten.
_MARKS = '<meta name="generator" content="cellcycle report">', ",".join(_COLUMNS[:-1])
_PRIORS = {
    "culture": "the prior of a growing culture (M weighs little; G1, S and G2 equally)",
    "equal": "all phases weighted equally",
    "slide": "phases weighted by the DNA histogram",
}
_SHARES = (
    "<b>Counted</b>: the calls, made with {prior}. <b>Estimated</b>: the shares that make the probabilities of all "
    "nuclei likeliest, after that prior is removed; mistakes then cancel, as far as the probabilities show "
    "them.{fitted} Bars and large dots: counted; small dots: single {units}. An interval covers those over plates "
    "(slides, groups), replicates, wells, fields and nuclei, because cells of one plate, well or field are alike; it "
    "is never narrower than that number of nuclei allows (Wilson). The odds of a phase are assumed to vary between "
    "wells, or plates, equally under all conditions."
)
_FITTED = (
    " <b>Fitted</b>: the shares by the DNA histogram alone, one fit per slide or plate, with a peak at G1, one at G2 "
    "where it is found, and S between them; doublets and parts of nuclei are left out. Their intervals cover other "
    "samples of nuclei, but not another distribution within S: where cells are early or late in S, the share of S is "
    "too small, by more than its interval."
)
_DIFFERENCES = (
    "Filled: estimated; open: counted. In percentage points, with 95 % intervals; one that includes 0 decides nothing. "
    "All conditions are compared with the same control: an unusual control moves all differences. What a plate does to "
    "all its wells is removed where both lie on it. "
)
_HISTOGRAMS = (
    f"Each nucleus by its integrated DNA, in copies of the genome (2 in G1, 4 in G2 and M, between in S). {S_BY_DNA}"
)
_PLATE = "Counted shares, nuclei found, and the width of their rims, which is larger out of focus; –: no value."
_DONE = (
    "Intervals are of 95 % and reach to the farthest ends of these: 500 bootstrap samples of nuclei; and Student's t "
    "over fields, wells, replicates and plates, weighted by their nuclei. For t, log odds have one variance for all "
    "conditions, beyond that of so many nuclei (DerSimonian and Laird 1986, Control. Clin. Trials 7:177). Except for "
    "fields, it is moderated by four more units whose log odds deviate by 0.25 (Smyth 2004, Stat. Appl. Genet. Mol. "
    "Biol. 3:3), but never below what the data show. For differences it is what conditions and plates, as two factors, "
    "leave. Intervals do not cover errors that all wells share: calls that are wrong alike, S that is not spread "
    "evenly. Many differences: Holm 1979, Scand. J. Stat. 6:65. Estimated shares: Saerens, Latinne and Decaestecker "
    "2002, Neural Computation 14:21. Research only, no medical device."
)


def write_report(output, experiment: Experiment, tables, images=".") -> tuple[Path, list[str]]:
    """Write the page of an experiment (.html), and its numbers beside it as `<name>_numbers.csv`.

    Returns the path of the numbers, and notes. A file that is not an earlier report is not overwritten. `tables` are
    the paths that the experiment was read from; the page names them with their hashes. `images` is the folder of their
    images, for pictures of nuclei: missing images are left out, with a note; None omits all pictures.
    """
    output = Path(output)
    if output.suffix.lower() not in (".html", ".htm"):
        raise SettingError(output, "this is not the name of a page", "end the name in .html")
    beside = output.with_name(f"{output.stem}_numbers.csv")
    for file, mark in zip((output, beside), _MARKS, strict=True):
        check_path(file)
        if file.is_file() and any(os.path.samefile(file, table) for table in tables):
            raise SettingError(file, "it would replace the table that is reported", "name another output")
        refuse_other(file, mark, "report")
    with needing("report", "its figures need the package matplotlib", "run: pip install 'cellcycle[report]'"):
        from cellcycle.report import figures
    numbers = all_numbers(experiment).reindex(columns=_COLUMNS)
    sections = [summary(numbers, experiment), _shares(figures, numbers, experiment)]
    if experiment.control:
        sections.append(_differences(figures, numbers, experiment))
    dose_response, histograms = figures.dose_response(numbers, experiment), figures.histograms(experiment)
    if dose_response:
        text = "Estimated shares over the dose, with 95 % intervals."
        sections.append(section("Dose", text, figure_of(dose_response, "Shares over the dose")))
    if histograms:
        sections.append(section("DNA content", _HISTOGRAMS, figure_of(histograms, "Histograms of DNA content")))
    plates = {plate: figure_of(made, f"Wells of plate {plate}")
              for plate, made in figures.heat_maps(numbers, experiment)}  # fmt: skip
    headed = [f"<h3>Plate {html.escape(plate or 'unnamed')}</h3>{made}" for plate, made in plates.items()]
    shown = headed if len(plates) > 1 else plates.values()
    sections += [section("Plates" if len(plates) > 1 else "Plate", _PLATE, *shown)] if plates else []
    pictures, notes = ("", []) if images is None else _pictures(experiment, images)
    sections += [_wells(numbers, experiment), pictures, _done(experiment, tables)]
    page = (files("cellcycle.report") / "report.html").read_text(encoding="utf-8")
    style = (files("cellcycle.report") / "report.css").read_text(encoding="utf-8")
    title = html.escape(" and ".join(Path(table).name for table in tables))
    page = put_together(page, {"STYLE": style, "TITLE": title, "BODY": "\n".join(sections)})
    safe = numbers.map(lambda value: cell(value) if isinstance(value, str) else value)
    with whole_file(output) as page_file:
        # Write before opening the other file, else an error of a full disk would name the wrong one.
        page_file.write_text(page, encoding="utf-8", errors="replace", newline="")
        with whole_file(beside) as csv_file:
            safe.to_csv(csv_file, index=False, float_format="%.6g", lineterminator="\n")
    return beside, notes


def _shares(figures, numbers, experiment: Experiment) -> str:
    classes, is_well = experiment.classes, unit_of(experiment) == "well"
    found = numbers[numbers["table"].isin(["counted", "estimated", FITTED])].set_index(["arm", "table", "quantity"])
    is_fitted = np.isfinite(numbers.loc[numbers["table"] == FITTED, "value"]).any()
    of_dna = BY_DNA if is_fitted else ()
    shown = [
        (name, how) for name in classes for how in ("counted", "estimated", FITTED) if how != FITTED or name in of_dna
    ]
    shown += [(name, FITTED) for name in of_dna if name not in classes]
    rows = []
    for arm in dict.fromkeys(found.index.get_level_values("arm")):
        first, n_all = (found.loc[(arm, how, classes[0])] for how in ("counted", "estimated"))
        counts = [f"{first[name]:.0f}" for name in ("n_nuclei", "n_fields", "n_wells")[: 2 + is_well]]
        counts[0] += f" of {n_all['n_nuclei']:.0f}" if n_all["n_nuclei"] > first["n_nuclei"] else ""
        each = [share(found.loc[(arm, how, name)]) for name, how in shown]
        rows.append([html.escape(arm), *counts, *each])
    head = ["condition", "nuclei", field_of(experiment) + "s", "wells"][: 3 + is_well]
    head += [f"{name} {how}" for name, how in shown]
    names = sorted({text.split(" ")[0] for text in experiment.nuclei["prior"]})
    prior = " or ".join(_PRIORS.get(name, html.escape(name)) for name in names)
    figure = figure_of(figures.shares(numbers, experiment), "Shares of phases by condition")
    text = _SHARES.format(prior=prior, fitted=_FITTED if is_fitted else "", units=unit_of(experiment) + "s")
    if (n := len(experiment.arms)) > figures.MOST_ARMS:
        text += f" <b>Figures</b> show the first {figures.MOST_ARMS} of {n}; the tables hold them all."
    return section("Shares", text, figure, table_of(head, rows, "Shares in %, with 95 % intervals"))


def _differences(figures, numbers, experiment: Experiment) -> str:
    found = numbers[numbers["table"] == "estimated, minus control"].groupby("arm", sort=False)
    rows = [[html.escape(arm), *(difference(row) for _, row in own.iterrows())] for arm, own in found]
    caption = "Estimated differences in percentage points, with 95 % intervals"
    title = f"Differences to {experiment.control}"
    if not rows:
        return section(title, "Nothing is left to compare with it: no other rows have nuclei that can be counted.")
    figure = figure_of(figures.differences(numbers, experiment), "Differences to the control")
    table = table_of(["condition", *experiment.classes], rows, caption)
    return section(title, _DIFFERENCES + by_chance(numbers), figure, table)


def _wells(numbers, experiment: Experiment) -> str:
    """Return the section of wells (or images): their shares and the quality of their pictures."""
    own, what, rows = numbers[numbers["table"] == "wells"], unit_of(experiment), []
    called = dict(zip(experiment.table["unit"], experiment.table["unit_name"], strict=True))
    told = {*own.loc[own["value"] > 0, "quantity"]} - {*experiment.classes}
    quality = [name for name in dict.fromkeys(own["quantity"]) if name in told]
    for unit, found in own.groupby("unit", sort=False):
        values = found.set_index("quantity")
        shares = [share(values.loc[name]) if name in values.index else "–" for name in experiment.classes]
        named = [html.escape(called[unit]), html.escape(str(found["arm"].iloc[0]))]
        rows.append([*named, *shares, *(plain(values["value"].get(name, np.nan)) for name in quality)])
    quality = [name.removeprefix("flag ").replace("_", " ").replace("dna", "DNA") for name in quality]
    table = table_of([what, "condition", *experiment.classes, *quality], rows, f"Each {what}")
    text = f"Counted shares in %, with 95 % intervals over fields and nuclei, and the quality of each {what}."
    table = f"<details class='wells' open><summary>{many(len(rows), what)}</summary>{table}</details>"
    return section(f"Each {what}", text, table)


def _pictures(experiment: Experiment, images) -> tuple[str, list[str]]:
    """Return the section with pictures of the most doubtful nuclei and the surest of each phase, and notes."""
    # One file may hold several pictures, e.g. of several channels or time points.
    table = experiment.table.assign(picture=pictures_of(experiment.table))
    is_counted, called = table["is_counted"].to_numpy(), table["call"].to_numpy()
    order = review_order(table)
    surest = np.argsort(-np.nan_to_num(sureness(table)), kind="stable")
    surest = surest[is_counted[surest] & (table["review"] == "").to_numpy()[surest]]
    wanted = [("Most doubtful", _MOST_PICTURES, order[is_counted[order]])]
    wanted += [(f"Surest of {name}", _SUREST, surest[called[surest] == name]) for name in experiment.classes]
    # Take few nuclei per image, and more than are shown, because some images may be missing.
    for k, (title, most, rows) in enumerate(wanted):
        in_image = table["picture"].iloc[rows].groupby(table["picture"]).cumcount().to_numpy()
        wanted[k] = title, most, rows[in_image < _OF_AN_IMAGE][: 4 * most]
    try:
        cut = list(thumbnails(table, dict.fromkeys(row for _, _, rows in wanted for row in rows), images))
    except CellCycleError as error:
        # An error that concerns all images, e.g. a missing folder.
        told = f"no pictures of nuclei: {error}"
        return section("Nuclei", html.escape(told)), [told]
    problems = [found for found in cut if isinstance(found, CellCycleError)]
    made, parts = {found.row: found.jpeg for found in cut if not isinstance(found, CellCycleError)}, []
    for title, most, rows in wanted:
        shown = [row for row in rows if row in made][:most]
        why = reasons(table.iloc[shown])
        pictures = "".join(_picture(table.iloc[row], made[row], text) for row, text in zip(shown, why, strict=True))
        parts.append(f"<h3>{html.escape(title)}</h3><div class='pictures'>{pictures}</div>" if shown else "")
    notes = [f"{many(len(problems), 'image')} not found or read: {problems[0]}"] if problems else []
    text = "Each picture is stretched to its own brightness. Per cent: how sure the model is, not how often right. "
    return section("Nuclei", text + html.escape("".join(notes)), *parts), notes


def _picture(row, jpeg: str, why: str) -> str:
    told = row["call"] or "no call"
    told += f", {100 * row['confidence']:.0f} %" if row.get("confidence", np.nan) > 0 else ""
    where = f"{row['image_name']}{row['picture'].removeprefix(row['image'])}, nucleus {row['nucleus_id']:.0f}"
    alt = html.escape(f"Nucleus called {told}", quote=True)
    caption = f"<b>{html.escape(told)}</b><br>{html.escape(why)}<br><small>{html.escape(where)}</small>"
    return f"<figure><img alt='{alt}' src='data:image/jpeg;base64,{jpeg}'><figcaption>{caption}</figcaption></figure>"


def _done(experiment: Experiment, tables) -> str:
    """Return the section on methods: tables, versions, models, how images were read, and warnings of model cards."""
    table = experiment.table
    rows = [["table", f"{html.escape(str(path))}, sha256 <code>{sha256_of(path)}</code>"] for path in tables]
    for name in ("version", "model", "model_reason", "prior", "channel", "planes", "kind", "group"):
        counts = table.loc[table[name] != "", name].value_counts().head(12)
        told = "; ".join(f"{value} ({many(n, 'row')})" for value, n in counts.items())
        rows += [[name.replace("_", " "), html.escape(told)]] if told else []
    sizes = table["pixel_size_um"].dropna().round(4)
    if len(sizes):
        is_guessed = table["flags"].str.contains("scale_unknown").any()
        guessed = ", from the size of the nuclei where a file states no plausible one" if is_guessed else ""
        most = f" to {sizes.max():g}" if sizes.max() > sizes.min() else ""
        rows.append(["pixel size", f"{sizes.min():g}{most} um{guessed}"])
    lit = table[table["light"].notna()] if "light" in table else table[:0]
    if len(lit):
        told = f"{lit['light'].min():.2f} to {lit['light'].max():.2f} of its mean"
        rows.append(["uneven light", f"{told}, removed from the DNA of {many(lit['image'].nunique(), 'image')}"])
    for model in sorted(set(table["model"]) - {""}):
        with suppress(CellCycleError):
            warning = load_checkpoint(model).warning
            rows += [[f"{html.escape(model)} warns", html.escape(warning)]] if warning else []
    return section("What was done", _DONE, table_of(["what", "how"], rows, "How the images were read"))

"""What the page says: parts of HTML, every word of a visitor or file escaped."""

import base64
import io
from html import escape

import pandas as pd

from cellcycle.checkpoint import Checkpoint
from cellcycle.phases import PHASE_NAMES, class_colours

# Reasons of `cellcycle.confidence` that are told with the phases in question.
UNCERTAIN, UNTYPICAL = "uncertain", "untypical of its phase"
REASON_WORDS = {
    "untypical_of_its_phase": UNTYPICAL,
    "unlike_training_cells": "looks unlike the cells that the model learned from",
    "edge": "cut by the image's edge",
    "clump": "perhaps several nuclei",
    "debris": "too little DNA for a whole nucleus",
    "out_of_focus": "out of focus",
    "saturated": "overexposed: its DNA content is too low",
    "scale_unknown": "pixel size unknown, guessed from the nuclei",
    "no_g1_peak": "too few nuclei to calibrate DNA content, so this model gives no answer",
    "no_nucleus": "no nucleus found",
    "unreadable": "not readable",
}
# That of the whole image is told once, above the table.
_OF_IMAGE = {"", "scale_unknown"}
_SCORES = (
    ("simulated", "Right on simulated nuclei it had not seen", "accuracy"),
    ("jurkat", "Right on real cells of another kind (Jurkat), phases weighing alike", "balanced_accuracy"),
)


def model_card(checkpoints: tuple[Checkpoint, ...]) -> str:
    """Return what is to be known of a model: what it learned from, how well it does, and its limits.

    Parameters
    ----------
    checkpoints : tuple of Checkpoint
        One, or those among which "auto" chooses: first the one for images with a clear G1 peak.
    """
    rule = (
        f"<p>Looks at each image first: where the DNA content of its nuclei shows a clear G1 peak, "
        f"<strong>{escape(checkpoints[0].title)}</strong> calls them; everywhere else "
        f"<strong>{escape(checkpoints[-1].title)}</strong>, which needs nothing but the picture.</p>"
    )
    warnings = _each("<p class='warning' role='note'>{}</p>", [_sentence(c.warning) for c in checkpoints if c.warning])
    limits = _each("<li>{}</li>", [limit for checkpoint in checkpoints for limit in checkpoint.card["limits"]])
    origins = _each("<p>Learned from {}.</p>", [c.card["trained_on"].get("description", "") for c in checkpoints])
    origins += _each("<p>{}</p>", [_calibration(c) for c in checkpoints])
    versions = ", ".join(f"{c.title}: version {c.version}, licence {c.card['licence']}" for c in checkpoints)
    return (
        f"<section class='card' aria-label='About this model'>{rule if len(checkpoints) > 1 else ''}{warnings}"
        f"{_score_table(checkpoints)}<h3>Its limits</h3><ul>{limits}</ul>{origins}"
        f"<p><small>{escape(versions)}</small></p></section>"
    )


def _calibration(checkpoint: Checkpoint) -> str:
    """Say what a model's percentages and its "could be" mean; "" where they were never fitted."""
    known = checkpoint.confidence
    if known is None:
        return ""
    return (
        f"How sure it is was measured on {known.fitted_on['description']}. What such a nucleus \u201ccould be\u201d "
        f"held its true phase in {_percent(known.coverage)} of cases; yours may differ."
    )


def _score_table(checkpoints: tuple[Checkpoint, ...]) -> str:
    """Return the measured scores, a column a model, a row a test; "" where none was measured."""
    rows = []
    for test, words, name in _SCORES:
        found = [checkpoint.card.get("scores", {}).get(test) for checkpoint in checkpoints]
        cells = [
            f"{_percent(f[name]['value'])} <small>({_percent(f[name]['low'])} to {_percent(f[name]['high'])})</small>"
            if f and name in f else "not measured" for f in found
        ]  # fmt: skip
        if any(found):
            rows.append(f"<tr><th scope='row'>{words}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = "".join(f"<th scope='col'>{escape(c.title)}</th>" for c in checkpoints)
    if not rows:
        return ""
    return f"<table class='scores'><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _each(pattern: str, texts: list[str]) -> str:
    """Fill a pattern with each text once, in their order."""
    return "".join(pattern.format(escape(text)) for text in dict.fromkeys(texts) if text)


def bars(shares: dict[str, float], values: dict[str, str]) -> str:
    """Return one labelled bar a class.

    Parameters
    ----------
    shares : dict of str to float
        Class -> length, 0 to 1.
    values : dict of str to str
        Class -> what stands behind the bar.
    """
    colours = class_colours(tuple(shares))
    rows = []
    for name, share in shares.items():
        look = f"width:{100 * share:.1f}%;background:{colours[name] if name else '#999999'}"
        rows.append(
            f"<tr><th scope='row'>{escape(name or 'no call')}</th><td class='track'><div style='{look}'></div></td>"
            f"<td class='value'>{escape(values[name])}</td></tr>"
        )
    return f"<table class='bars'><tbody>{''.join(rows)}</tbody></table>"


def phase_counts(table: pd.DataFrame, classes: tuple[str, ...], n_doubtful: int, where: str) -> str:
    """Return how many nuclei are in each phase, and how many a person should look at; "" for fewer than two."""
    nuclei = table[table["nucleus_id"].notna()]
    if len(nuclei) < 2:
        return ""
    counts = {name: int((nuclei["call"] == name).sum()) for name in classes}
    if (nuclei["call"] == "").any():
        counts[""] = int((nuclei["call"] == "").sum())
    shares = {name: n / len(nuclei) for name, n in counts.items()}
    told = {name: f"{n} ({_percent(shares[name])})" for name, n in counts.items()}
    doubt = f"{n_doubtful} of {len(nuclei)} should be looked at by you; they stand first in the table."
    head = f"<h3>{len(nuclei)} nuclei in {escape(where)}</h3>"
    return f"<section aria-label='Nuclei per phase'>{head}{bars(shares, told)}<p>{doubt}</p></section>"


def nucleus_card(nucleus: pd.Series, classes: tuple[str, ...], pictures: dict[str, object], reason: str) -> str:
    """Return one nucleus: its pictures, its phase in words, a bar a phase, and what is to be doubted.

    Parameters
    ----------
    nucleus : pandas.Series
        Row of a prediction table.
    classes : tuple of str
    pictures : dict of str to PIL.Image.Image
        Caption -> picture.
    reason : str
        Why a person should look at it; "" if there is none.
    """
    call, number = nucleus["call"], f"Nucleus {nucleus['nucleus_id']} of {nucleus['image']}"
    meaning = escape(PHASE_NAMES.get(call, ""))
    head = f"<h3><span class='call'>{escape(call or 'No call')}</span> <small>{meaning}</small></h3>"
    scores = {name: nucleus[f"p_{name}"] for name in classes}
    shown = bars(scores, {name: _percent(p) for name, p in scores.items()}) if call else ""
    doubt = f"<p class='warning' role='note'>Look at it yourself: {escape(reason)}.</p>" if reason else ""
    facts = [f"Area {nucleus['area_um2']:.0f} µm²"] if pd.notna(nucleus["area_um2"]) else []
    if pd.notna(nucleus["dna_copies"]):
        facts.append(f"DNA content {nucleus['dna_copies']:.1f} N (G1 has 2 N, G2 and M have 4 N)")
    figures = "".join(
        f"<figure><img src='{data_uri(picture)}' alt='{escape(caption)}: {escape(number)}'>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, picture in pictures.items()
    )
    return (
        f"<section class='nucleus' aria-label='{escape(number)}'><p class='name'>{escape(number)}</p>"
        f"<div class='figures'>{figures}</div>{head}{_how_sure(nucleus)}{shown}{doubt}"
        f"<p>{' · '.join(facts)}</p></section>"
    )


def _how_sure(nucleus: pd.Series) -> str:
    """Return how sure the model is of a call, and what else it could be; "" for a model that cannot tell."""
    if not nucleus["call"] or pd.isna(nucleus.get("confidence")):
        return ""
    names = str(nucleus["prediction_set"]).split(";")
    if names == [""]:
        others = ", but looks like a typical nucleus of no phase"
    else:
        others = f", could be {either(names)}" if names != [nucleus["call"]] else ", no other phase is likely"
    return f"<p class='sure'>{_percent(nucleus['confidence'])} sure{escape(others)}</p>"


def message(lines: list[str], problems: list[str], classes: tuple[str, ...] = ()) -> str:
    """Return what happened, for the eye and for screen readers.

    Parameters
    ----------
    lines : list of str
        What was found.
    problems : list of str
        What could not be done.
    classes : tuple of str, optional
        Their colours are explained.
    """
    told = "".join(f"<p>{escape(line)}</p>" for line in lines)
    swatches = "".join(
        f"<span><i style='background:{colour}'></i> {escape(name)}</span>"
        for name, colour in class_colours(classes).items()
    )
    legend = f"<p class='legend'>Colours of the outlines: {swatches}</p>" if swatches else ""
    told = f"<div class='told' role='status'>{told}{legend}</div>" if lines else ""
    wrong = "".join(f"<li>{escape(line)}</li>" for line in problems)
    return told + (f"<div class='wrong' role='alert'><ul>{wrong}</ul></div>" if problems else "")


def downloads(key: str, index: int, n_corrected: int) -> str:
    """Return the links to the files of a result; `index` is the image on the page."""
    links = [("nuclei.csv", "Table of all nuclei (CSV)"), (f"{index}/overlay.png", "Picture with outlines (PNG)")]
    if n_corrected:
        links.append(("corrections.zip", f"{_plural(n_corrected, 'correction', 'corrections')} to train from (ZIP)"))
    items = "".join(f"<li><a href='result/{key}/{end}' download>{text}</a></li>" for end, text in links)
    return f"<nav class='downloads' aria-label='Downloads'><ul>{items}</ul></nav>"


def data_uri(picture) -> str:
    """Return a picture as an address that holds it, so that no file of it lies on the server."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def either(names) -> str:
    """Return names as a choice in words.

    Examples
    --------
    >>> either(["G1", "S", "G2"])
    'G1, S or G2'
    """
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def in_words(reasons: str) -> str:
    """Return flags and reasons to look at a nucleus, which tables join by ";", in plain words.

    Examples
    --------
    >>> in_words("edge;scale_unknown")
    "cut by the image's edge"
    """
    return ", ".join(
        REASON_WORDS.get(name, name.replace("_", " ")) for name in reasons.split(";") if name not in _OF_IMAGE
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _plural(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."

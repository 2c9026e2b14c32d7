"""Reports of predictions and models as text, for a terminal or a pipe."""

import textwrap
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from cellcycle.card import scores_of
from cellcycle.checkpoint import ANCHORED, DEFAULT, Checkpoint, load_checkpoint, shipped_dir, shipped_names
from cellcycle.confidence import COVERAGE
from cellcycle.confidence.assessment import SEVERAL
from cellcycle.errors import shown
from cellcycle.metrics import Estimate
from cellcycle.phases import S_BY_DNA
from cellcycle.predict.predictor import AUTO, ImagePrediction
from cellcycle.predict.reasons import UNCALLED, in_words

NO_NUCLEUS = "no nucleus found"
# Tests of a card, with their headings in the table.
_TESTS = {"fields": "whole fields, simulated", "slides": "crops, simulated", "jurkat": "crops, Jurkat"}


def nucleus_report(prediction: ImagePrediction) -> str:
    """Return the table of the study for one nucleus: model, phase, and the probability of each phase in per cent."""
    if prediction.checkpoint is None:
        return f"Predicted Phase: none ({_nothing(prediction)})"
    row = {name: values[0] for name, values in prediction.columns.items()}
    lines = [f"Model: {prediction.checkpoint.title}"]
    if not row["call"]:
        return "\n".join([*lines, f"Predicted Phase: none ({_why_uncalled(row['review'], row['flags'])})"])
    wide = _width(prediction.checkpoint.classes)
    lines += [f"Predicted Phase: {row['call']}", "", f"{'Phase':<{wide}}| Probability", f"{'-' * wide}|------------"]
    lines += [f"{c:<{wide}}|{100 * row[f'p_{c}']:>10.2f} %" for c in prediction.checkpoint.classes]
    could_be = "" if row["prediction_set"] == row["call"] else row["prediction_set"].replace(";", ", ")
    pair = " or ".join(sorted(prediction.checkpoint.classes, key=lambda c: -row[f"p_{c}"])[:2])
    again = list(filter(None, row["review"].split(";")))
    flags = [flag for flag in row["flags"].split(";") if flag and flag not in again]
    flags, again = ("; ".join(in_words(code, row["call"], pair) for code in codes) for codes in (flags, again))
    told = {"Could be": could_be, "Flags": flags, "Look again": again}
    notes = [f"{name}: {text}" for name, text in told.items() if text]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _nothing(prediction: ImagePrediction) -> str:
    return "no nucleus in the middle" if SEVERAL in prediction.columns["flags"][0].split(";") else NO_NUCLEUS


def _why_uncalled(review: str, flags: str) -> str:
    """Return the text of the reason why a nucleus has no call."""
    codes = f"{review};{flags}".split(";")
    return in_words(next((code for code in codes if code in UNCALLED), codes[0]))


def _width(classes) -> int:
    """Return the width of the column of phases: that of the study's table, or more for longer names."""
    return max(11, *(len(name) + 1 for name in classes))


@dataclass
class Tally:
    """Counts of images and calls, added up image by image."""

    classes: tuple[str, ...]
    n: Counter = field(default_factory=Counter)
    calls: Counter = field(default_factory=Counter)
    titles: Counter = field(default_factory=Counter)
    models: Counter = field(default_factory=Counter)
    taken: Counter = field(default_factory=Counter)
    uncalled: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, prediction: ImagePrediction) -> None:
        """Count one image."""
        columns, is_read = prediction.columns, prediction.error is None
        self.n.update(images=1, unreadable=int(not is_read), unwritten=int(bool(prediction.note)))
        self.n["fields"] += columns["kind"][0] != "nucleus"
        channel, planes = (columns[c][0] for c in ("channel", "planes"))
        if channel not in ("", "0") or planes:
            self.taken[", ".join(filter(None, [f"channel {channel}", planes]))] += 1
        if prediction.checkpoint is None:
            self.n["empty"] += int(is_read)
            return
        self.titles[prediction.checkpoint.title] += 1
        self.models[model_taken(columns["model"][0], columns["model_reason"][0])] += 1
        is_flagged = [bool(set(text.split(";")) - {"", "scale_unknown"}) for text in columns["flags"]]
        self.n.update(nuclei=prediction.n_nuclei, flagged=sum(is_flagged), review=sum(map(bool, columns["review"])))
        self.calls.update(columns["call"])
        for call, *codes in zip(columns["call"], columns["review"], columns["flags"], strict=True):
            if not call:
                self.uncalled[_why_uncalled(*codes)][prediction.image] += 1

    def report(self) -> str:
        """Return the summary: counts, shares of phases, and reasons for missing calls."""
        n_nuclei, n_flagged, n_review = (self.n[what] for what in ("nuclei", "flagged", "review"))
        if not n_nuclei:
            return NO_NUCLEUS if self.n["unreadable"] < self.n["images"] else "no image could be read"
        wide = _width(self.classes)
        lines = [
            f"Model: {'; '.join(counted(self.titles))}",
            f"Nuclei: {n_nuclei} ({n_flagged} with a quality flag, {n_review} to look at again)",
            "",
            f"{'Phase':<{wide}}|  Nuclei |   Share",
            f"{'-' * wide}|---------|--------",
        ]
        for name in [*self.classes, *([""] if self.calls[""] else [])]:
            n = self.calls[name]
            lines.append(f"{name or 'no call':<{wide}}|{n:>8} |{100 * n / n_nuclei:>6.1f} %")
        lines += [""] * bool(self.uncalled)
        for why, images in self.uncalled.items():
            first, n_others = next(iter(images)), len(images) - 1
            more = f" and {n_others} other image{'s' * (n_others > 1)}" if n_others else ""
            lines.append(f"No call: {images.total()} in {first}{more}: {why}")
        if self.n["images"] > 1:
            rest = [(self.n["empty"], "without a nucleus"), (self.n["unreadable"], "not read")]
            told = "".join(f", {n} {what}" for n, what in rest if n)
            lines.insert(0, f"Images: {self.n['images']}{told}")
        if "S" in self.classes:
            lines += ["", S_BY_DNA]
        return "\n".join(lines)


def model_taken(name: str, reason: str) -> str:
    """Return the name of a model, with the reason if "auto" chose it.

    Examples
    --------
    >>> model_taken("best", "G1 peak of the field"), model_taken("best", "")
    ('best (auto: G1 peak of the field)', 'best')
    """
    return f"{name} ({AUTO}: {reason})" if reason else name


def counted(names: Counter) -> list[str]:
    """Return the names, each with its count if there are several.

    Examples
    --------
    >>> counted(Counter({"Nagao": 2})), counted(Counter({"Nagao": 2, "LR": 1}))
    (['Nagao'], ['Nagao for 2 images', 'LR for 1 image'])
    """
    if len(names) < 2:
        return list(names)
    return [f"{name} for {n} image{'' if n == 1 else 's'}" for name, n in names.most_common()]


def image_line(prediction: ImagePrediction) -> str:
    """Return one line for one of many images: its name and what was found."""
    if prediction.error is not None:
        return f"{prediction.image}: not read"
    if prediction.checkpoint is None:
        return f"{prediction.image}: {_nothing(prediction)}"
    columns, classes = prediction.columns, prediction.checkpoint.classes
    if columns["kind"][0] == "nucleus":
        if call := columns["call"][0]:
            return f"{prediction.image}: {call} {100 * columns[f'p_{call}'][0]:.1f} %"
        return f"{prediction.image}: no call: {_why_uncalled(columns['review'][0], columns['flags'][0])}"
    counts = Counter(columns["call"])
    listed = [f"{c} {counts[c]}" for c in classes] + ([f"no call {counts['']}"] if counts[""] else [])
    return f"{prediction.image}: {prediction.n_nuclei} nuclei: {', '.join(listed)}"


def models_report() -> str:
    """Return a table of the shipped models with their measured scores; those that "auto" uses are marked."""
    lines = [f"{'Name':<12}{'Model':<22}{'Intensity':<11}{'Accuracy':>9}{'Macro F1':>9}  Real cells, balanced accuracy"]
    for checkpoint in (load_checkpoint(shipped_dir() / name) for name in shipped_names()):
        scores = checkpoint.card.get("scores", {})
        simulated, real = scores.get("simulated"), scores.get("jurkat") or scores.get("held_out")
        scored = [f"{simulated[s]['value']:.2f}" if simulated else "-" for s in ("accuracy", "macro_f1")]
        own = "" if "jurkat" in scores else " (its own)"
        outside = _with_interval(real["balanced_accuracy"]) + own if real else "-"
        name = checkpoint.name + {DEFAULT: "*", ANCHORED: "**"}.get(checkpoint.name, "")
        unit = checkpoint.input_rule.unit
        lines.append(f"{name:<12}{checkpoint.title:<22}{unit:<11}{scored[0]:>9}{scored[1]:>9}  {outside}")
    return "\n".join([
        *lines,
        "",
        "The default, auto, takes ** for a field or slide with a clear G1 peak in its DNA histogram, * for the rest.",
        "Accuracy and macro F1: held-out simulated nuclei, equally many of each phase.",
        "Real cells: Jurkat, Blasi et al. 2016, held out; nagao6 and best learned from other cells of that culture.",
        "Models of intensity g1 were also given the DNA of the slide, others each picture alone: two different tests.",
        "(its own): held-out cells like those that it learned from.",
        "For what a model learned from, its limits and all its scores: cellcycle models NAME.",
    ])  # fmt: skip


def card_report(checkpoint: Checkpoint) -> str:
    """Return the card of one model as text: origin, limits, and all scores with their intervals."""
    card = checkpoint.card
    facts = {
        "Calls": ", ".join(checkpoint.classes),
        "Learned from": card["trained_on"].get("description", card["trained_on"].get("origin", "")),
        "Licence": card["licence"],
        "Folder": str(checkpoint.folder),
    }
    parts = [[f"{checkpoint.name}: {checkpoint.title}, version {checkpoint.version}"]]
    parts.append([_wrapped(f"{name}: {text}") for name, text in facts.items()])
    parts.append(["Limits", *(_wrapped(f"- {text}") for text in card["limits"])])
    for test, entry in card.get("scores", {}).items():
        estimates = [f"{name} {_with_interval(score)}" for name, score in scores_of(entry).items()]
        parts.append([_wrapped(f"Scores, {test}: {entry.get('source', '')}")])
        parts[-1] += [_wrapped(f"- {words}") for words in (_told(entry), "; ".join(estimates)) if words]
    changes = []
    for test, rates in card.get("flip_rates", {}).items():
        told = ", ".join(f"{name.replace('_', ' ')} {rate:.1%}" for name, rate in rates.items() if name != "n")
        changes.append(_wrapped(f"- {test}, {rates['n']} nuclei: {told}"))
    parts += [["Calls that change when a picture is", *changes]] if changes else []
    return "\n\n".join("\n".join(part) for part in parts)


def _told(entry: dict) -> str:
    """Return the number of cells of scores, and what the card says about them."""
    names = {"n": "cells", "label": "label", "kept_apart": "kept apart", "candidates": "chosen among models"}
    return "; ".join(f"{word}: {entry[key]}" for key, word in names.items() if key in entry)


def _wrapped(text: str) -> str:
    indent = "  " if text.startswith("-") else "    "
    return textwrap.fill(shown(text), 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def shipped_table():
    """Return a `DataFrame` of texts, one row per model with scores in `_TESTS`; "" where the card has no such score."""
    import pandas as pd

    rows = {}
    for name in shipped_names():
        scores = load_checkpoint(shipped_dir() / name).card.get("scores", {})
        if not scores.keys() & _TESTS.keys():
            continue
        rows[name] = row = {}
        for test, words in _TESTS.items():
            entry = scores.get(test, {})
            row[f"balanced accuracy ({words})"] = _with_interval(entry.get("balanced_accuracy"))
            row[f"calibration error ({words})"] = _with_interval(entry.get("calibration_error"))
            covered = entry.get("coverage", {}).get("all")
            row[f"{100 * COVERAGE:.0f} % sets hold the phase ({words})"] = "" if covered is None else f"{covered:.2f}"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _with_interval(found: dict | None) -> str:
    return "" if found is None else str(Estimate(**found))

"""Predictions in words, for a terminal or a pipe."""

from dataclasses import dataclass, field

import pandas as pd

from cellcycle.checkpoint import Checkpoint

NO_NUCLEUS = "no nucleus found"


def nucleus_report(table: pd.DataFrame, checkpoint: Checkpoint) -> str:
    """Return the study's own table for one nucleus.

    Parameters
    ----------
    table : pandas.DataFrame
        One row of a prediction table.
    checkpoint : Checkpoint

    Returns
    -------
    str
        Model, predicted phase, and a probability for each phase in per cent.
    """
    row = table.iloc[0]
    lines = [f"Model: {checkpoint.card['title']}"]
    if not row["call"]:
        reason = NO_NUCLEUS if pd.isna(row["nucleus_id"]) else row["flags"]
        return "\n".join([*lines, f"Predicted Phase: none ({reason})"])
    lines += [f"Predicted Phase: {row['call']}", "", "Phase      | Probability", "-----------|------------"]
    lines += [f"{c:<11}|{100 * row[f'p_{c}']:>10.2f} %" for c in checkpoint.classes]
    if row["flags"]:
        lines += ["", f"Flags: {row['flags'].replace(';', ', ')}"]
    return "\n".join(lines)


@dataclass
class Tally:
    """Counts of calls, added up image by image."""

    classes: tuple[str, ...]
    n_images: int = 0
    n_unreadable: int = 0
    n_empty: int = 0
    n_nuclei: int = 0
    n_flagged: int = 0
    calls: dict[str, int] = field(default_factory=dict)

    def add(self, table: pd.DataFrame) -> None:
        """Count one image's table."""
        calls, flags = table["call"].to_list(), table["flags"].to_list()
        is_unreadable, is_empty = flags == ["unreadable"], flags == ["no_nucleus"]
        self.n_images += 1
        self.n_unreadable += is_unreadable
        self.n_empty += is_empty
        if is_unreadable or is_empty:
            return
        self.n_nuclei += len(calls)
        self.n_flagged += sum(bool(set(text.split(";")) - {"", "scale_unknown"}) for text in flags)
        for call in calls:
            self.calls[call] = self.calls.get(call, 0) + 1

    def report(self, checkpoint: Checkpoint) -> str:
        """Return counts and fractions per phase."""
        if not self.n_nuclei:
            return f"Model: {checkpoint.card['title']}\n{NO_NUCLEUS}"
        lines = [
            f"Model: {checkpoint.card['title']}",
            f"Nuclei: {self.n_nuclei} ({self.n_flagged} with a quality flag)",
            "",
            "Phase      |  Nuclei |   Share",
            "-----------|---------|--------",
        ]
        names = [*self.classes, *([""] if "" in self.calls else [])]
        for name in names:
            n = self.calls.get(name, 0)
            lines.append(f"{name or 'no call':<11}|{n:>8} |{100 * n / self.n_nuclei:>6.1f} %")
        return "\n".join(lines)


def image_line(table: pd.DataFrame, classes: tuple[str, ...]) -> str:
    """Return one line on an image of many: its name and what was found."""
    first = table.iloc[0]
    if first["error"]:
        return f"{first['image']}: not read"
    found = table[table["nucleus_id"].notna()]
    if not len(found):
        return f"{first['image']}: {NO_NUCLEUS}"
    if first["kind"] == "nucleus":
        call = first["call"]
        return f"{first['image']}: " + (f"{call} {100 * first[f'p_{call}']:.1f} %" if call else first["flags"])
    counts = found["call"].value_counts()
    listed = ", ".join(f"{c} {counts.get(c, 0)}" for c in [*classes, *([""] if "" in counts else [])])
    return f"{first['image']}: {len(found)} nuclei: {listed}".replace(",  ", ", no call ")


def models_report(checkpoints: list[Checkpoint], default: str) -> str:
    """Return a table of models with their measured scores."""
    lines = [
        f"{'Name':<11}{'Model':<22}{'Intensity':<11}{'Accuracy':>9}{'Macro F1':>9}  Real cells, balanced accuracy",
    ]
    for checkpoint in checkpoints:
        scores = checkpoint.card.get("scores", {})
        simulated, real = scores.get("simulated"), scores.get("jurkat")
        shown = [f"{simulated[s]['value']:.2f}" if simulated else "-" for s in ("accuracy", "macro_f1")]
        outside = "-"
        if real:
            found = real["balanced_accuracy"]
            outside = f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
        name = checkpoint.name + ("*" if checkpoint.name == default else "")
        rule = checkpoint.input_rule.intensity
        lines.append(f"{name:<11}{checkpoint.card['title']:<22}{rule:<11}{shown[0]:>9}{shown[1]:>9}  {outside}")
    lines += ["", "* the default. Accuracy and macro F1: held-out simulated nuclei, equally many of each phase."]
    lines += ["Real cells: Jurkat, Blasi et al. 2016, never trained on. Cards: model.json of each folder."]
    return "\n".join(lines)

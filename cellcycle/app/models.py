"""The models that visitors may choose, and what the page says of them in plain words."""

from cellcycle.checkpoint import ANCHORED, DEFAULT, Checkpoint, load_checkpoint, shipped_names
from cellcycle.errors import SettingError
from cellcycle.predict import AUTO

_SCORES = (
    ("simulated", "Right on simulated nuclei it had not seen", "accuracy"),
    ("jurkat", "Right on real cells it had not seen (Jurkat), phases weighing alike", "balanced_accuracy"),
    ("held_out", "Right on cells like those it learned from, held out, classes weighing alike", "balanced_accuracy"),
)


def model_table(folders=()) -> dict[str, tuple[Checkpoint, ...]]:
    """Return what visitors may choose -> the checkpoint, or those among which "auto" chooses.

    Of the model folders of your own the first is the default instead of "auto" and stands first. An unusable one is a
    `CheckpointError`, two models of one name a `SettingError`.
    """
    models: dict[str, tuple[Checkpoint, ...]] = {}
    auto = (load_checkpoint(ANCHORED), load_checkpoint(DEFAULT))
    for name in [*folders, AUTO, *shipped_names()]:
        checkpoints = auto if name == AUTO else (load_checkpoint(name),)
        key = AUTO if name == AUTO else checkpoints[0].name
        if key in models:
            raise SettingError("--model", f"two models are called {key!r}", "rename one of them")
        models[key] = checkpoints
    return models


def model_card(name: str, checkpoints: tuple[Checkpoint, ...]) -> dict:
    """Return what is to be known of a model, in texts for the page: what it learned from, how well it does, its limits.

    `name` is what visitors choose; of several checkpoints the first is the one for images with a clear G1 peak.
    """
    is_auto = len(checkpoints) > 1
    rule = (
        f"Looks at each image first: where the DNA content of its nuclei shows a clear G1 peak, "
        f"{checkpoints[0].title} calls them; everywhere else {checkpoints[-1].title}, which needs nothing but the "
        "picture."
    )
    origins = [f"Learned from {c.card['trained_on'].get('description', '')}." for c in checkpoints]
    return {
        "name": name,
        "title": "Automatic" if is_auto else f"{checkpoints[0].title} ({name})",
        "rule": rule if is_auto else "",
        "classes": list(checkpoints[-1].classes),
        "warnings": _each(_sentence(c.warning) for c in checkpoints if c.warning),
        "scores": _scores(checkpoints),
        "limits": _each(limit for c in checkpoints for limit in c.card["limits"]),
        "origins": _each([*origins, *filter(None, map(_calibration, checkpoints))]),
        "versions": ", ".join(f"{c.title}: version {c.version}, licence {c.card['licence']}" for c in checkpoints),
    }


def _calibration(checkpoint: Checkpoint) -> str:
    """Say what a model's percentages and its "could be" mean; "" where they were never fitted."""
    known = checkpoint.confidence
    if known is None:
        return ""
    return (
        f"How sure it is was measured on {known.fitted_on['description']}. What such a nucleus \u201ccould be\u201d "
        f"held its true phase in {_percent(known.coverage)} of cases; yours may differ."
    )


def _scores(checkpoints: tuple[Checkpoint, ...]) -> dict:
    """Return the measured scores: a column a model, a row a test that any of them took."""
    rows = []
    for test, words, name in _SCORES:
        found = [checkpoint.card.get("scores", {}).get(test) or {} for checkpoint in checkpoints]
        if any(found):
            rows.append([words, *(_score(f, name) for f in found)])
    return {"heads": [c.title for c in checkpoints], "rows": rows}


def _score(found: dict, name: str) -> str:
    """Return a score with its interval: as the models that come with the package have it, or as `train` writes it."""
    if found.get(name) is None:
        return "not measured"
    known = found[name]
    if not isinstance(known, dict):
        known = dict(zip(("low", "high"), found["intervals"][name], strict=True), value=known)
    spread = "" if known["low"] is None else f" ({_percent(known['low'])} to {_percent(known['high'])})"
    return _percent(known["value"]) + spread


def _each(texts) -> list[str]:
    return list(dict.fromkeys(filter(None, texts)))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."

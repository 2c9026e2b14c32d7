"""The models that visitors may choose, and their cards on the page."""

from cellcycle.card import scores_of
from cellcycle.checkpoint import ANCHORED, DEFAULT, Checkpoint, load_checkpoint, shipped_dir, shipped_names
from cellcycle.errors import SettingError
from cellcycle.predict import AUTO

# Test in a model's card -> the score that the page shows.
_SCORES = {"simulated": "accuracy"} | dict.fromkeys(("fields", "held_out"), "balanced_accuracy")
_SCORES |= {f"real: jurkat, {way}": "balanced accuracy" for way in ("each by itself", "with the DNA of the slide")}
_SCORES |= {"real: mitocheck, each by itself": "AUC of M", "real: rpe1, fields together": "AUC of S by EdU"}
_SCORES |= {"real: fields, each by itself": "called M"}


def model_table(folders=()) -> dict[str, tuple[Checkpoint, ...]]:
    """Return the choices of visitors: name -> (checkpoint,), for "auto" the checkpoints that it chooses from.

    Those of `folders` come first; the first is the default. `CheckpointError`: unusable. `SettingError`: equal names.
    """
    models: dict[str, tuple[Checkpoint, ...]] = {}
    own = shipped_dir()
    for name in [*folders, AUTO, *(own / name for name in shipped_names())]:
        checkpoints = tuple(map(load_checkpoint, (own / ANCHORED, own / DEFAULT) if name == AUTO else (name,)))
        key = AUTO if name == AUTO else checkpoints[0].name
        if key in models:
            raise SettingError("--model", f"two models are called {key!r}", "rename one of them")
        models[key] = checkpoints
    return models


def model_card(name: str, checkpoints: tuple[Checkpoint, ...], title: str = "") -> dict:
    """Return the card of a model for the page: training data, scores and limits.

    `name` is what visitors choose; of two checkpoints the first is for images with a clear G1 peak.
    """
    title = title or ("Automatic" if len(checkpoints) > 1 else f"{checkpoints[0].title} ({name})")
    return {"name": name, "title": title, "models": list(map(_about, checkpoints))}


def _about(checkpoint: Checkpoint) -> dict:
    card, known = checkpoint.card, checkpoint.confidence
    return {
        "title": checkpoint.title,
        "warning": checkpoint.warning,
        "limits": card["limits"],
        "learned_from": card["trained_on"].get("description", ""),
        "calibrated_on": known and known.fitted_on["description"],
        "coverage": known and known.coverage,
        "version": checkpoint.version,
        "licence": card["licence"],
        "scores": {test: _score(card.get("scores", {}).get(test) or {}, name) for test, name in _SCORES.items()},
    }


def _score(found: dict, name: str) -> list | None:
    """Return [value, low, high] of a score; None if it is not known."""
    known = scores_of(found).get(name)
    return known and [known["value"], known["low"], known["high"]]

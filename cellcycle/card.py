"""Read and check the card of a model: it may come from strangers, so every value is checked before it is used."""

import hashlib
import json
from itertools import accumulate
from pathlib import Path

import numpy as np

from cellcycle.errors import CellCycleError, CheckpointError, SettingError
from cellcycle.inputs import InputRule

FORMAT = 2
_MOST_BYTES, _MOST_DEPTH, _MOST_CLASSES, _LONGEST = 4_000_000, 12, 100, 60
REMEDY = "install the model again, or ask who made it"
# Required keys of a card and their types; keys that are neither here nor in `_OPTIONAL` are refused.
_NEEDED = {
    "format": int, "name": str, "title": str, "version": str, "classes": list, "input": dict, "network": dict,
    "trained_on": dict, "licence": str, "limits": list, "sha256": dict, "card_sha256": str,
}  # fmt: skip
# Settings of a `NetworkClassifier` that define its network.
NETWORK_SETTINGS = ("network", "views", "turns", "width", "dropout", "stem_stride", "batch_norm")
_ENDS = ("value", "low", "high")
_WORDS = ("classes", "name", "title", "version", "licence", "limits")
_OPTIONAL = {"training": dict, "confidence": dict, "scores": dict, "flip_rates": dict, "data": dict}


def as_json(value):
    """Return a value after writing it to JSON and reading it: tuples become lists, NumPy numbers Python numbers."""
    return json.loads(json.dumps(value, default=np.generic.item))


def read_card(path: Path, model_files) -> dict:
    """Return the checked content of `model.json`; a `CheckpointError` names a wrong key or a file without a hash."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CheckpointError(path, f"it is larger than {_MOST_BYTES} bytes", REMEDY)
        text = path.read_text(encoding="utf-8")
        if _depth(text) > _MOST_DEPTH:
            raise CheckpointError(path, "it is nested too deep", REMEDY)
        card = json.loads(text, parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(path, "the card is missing or not readable", "install the model again") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise CheckpointError(path, f"its format is not {FORMAT}", "use the version of cellcycle that wrote it")
    kinds = _NEEDED | _OPTIONAL
    for key in [*(key for key in _NEEDED if key not in card), *card]:
        if key not in card:
            raise CheckpointError(path, f"the card has no {key!r}", REMEDY)
        if key not in kinds:
            raise CheckpointError(path, f"the card has an unknown key {key[:40]!r}", REMEDY)
        if not isinstance(card[key], kinds[key]) or isinstance(card[key], bool):
            raise CheckpointError(path, f"{key!r} is no {kinds[key].__name__}", REMEDY)
    if card["card_sha256"] != card_sha256(card):
        raise CheckpointError(path, "the card was altered (its own hash differs)", "install the model again")
    check_words(path, {key: card[key] for key in _WORDS})
    if not isinstance(card["trained_on"].get("warning", ""), str):
        raise CheckpointError(path, "'trained_on.warning' is no text", REMEDY)
    _check_scores(path, card)
    for name in model_files:
        if not isinstance(card["sha256"].get(name), str):
            raise CheckpointError(path, f"'sha256' has no hash of {name}", REMEDY)
    try:
        InputRule.from_dict(card["input"])
    except (SettingError, TypeError, AttributeError) as error:
        said = f"{error.subject}: {error.finding}" if isinstance(error, SettingError) else str(error)
        raise CheckpointError(path, f"'input' is wrong ({said})", REMEDY) from error
    return card


def check_words(subject, words: dict, remedy: str = REMEDY, kind: type[CellCycleError] = CheckpointError) -> None:
    """Refuse class names that are ambiguous or unfit for tables, and other texts of a card that are not plain text."""
    for key, texts in words.items():
        for text in texts if isinstance(texts, list) else [texts]:
            if not isinstance(text, str) or not text.strip() or len(text) > 2000 or not text.isprintable():
                raise kind(subject, f"{key!r} holds {str(text)[:40]!r}, which is no name or text", remedy)
    if not {*"/\\"}.isdisjoint(words.get("name", "")) or words.get("name") == "..":
        raise kind(subject, f"'name' holds {words['name'][:40]!r}, which is a path", remedy)
    classes = words.get("classes")
    if classes is None:
        return
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise kind(subject, f"'classes' holds {len(classes)}, not 2 to {_MOST_CLASSES}", remedy)
    for name in classes:
        # Sets of classes are written with semicolons; "none" is the label of an object that is no nucleus.
        if len(name) > _LONGEST or name != name.strip() or ";" in name or name.casefold() in ("none", "nan"):
            why = f"no class can be called (at most {_LONGEST} characters, no ;, not none or nan)"
            raise kind(subject, f"'classes' holds {name[:40]!r}, which {why}", remedy)
    if len({name.casefold() for name in classes}) < len(classes):
        raise kind(subject, "'classes' holds a name twice", remedy)


def _check_scores(file: Path, card: dict) -> None:
    """Refuse scores with an interval, which pages and tables show, if a number is not within [-1, 1]."""
    for test, found in card.get("scores", {}).items():
        try:
            known = scores_of(found) | {n: s for n, s in found.items() if isinstance(s, dict) and "value" in s}
            ends = {name: [score[key] for key in _ENDS] for name, score in known.items()}
            wrong = [name for name, of in ends.items() if any(isinstance(n, bool) or abs(n) > 1 for n in of)]
        except (AttributeError, KeyError, TypeError, ValueError):
            wrong = [""]
        if wrong:
            raise CheckpointError(file, f"'scores' holds no share under {test[:40]} {wrong[0][:40]}".strip(), REMEDY)


def card_sha256(card: dict) -> str:
    """Return the sha256 of a card's content without the entry `card_sha256`."""
    content = {key: value for key, value in card.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _depth(text: str) -> int:
    """Return an upper bound of the nesting of a JSON text, without parsing it."""
    return max(accumulate((sign in "[{") - (sign in "]}") for sign in text if sign in "[]{}"), default=0)


def _no_constant(name: str):
    raise ValueError(f"{name} is no number")


def external_files(graph: bytes) -> bool:
    """Return whether an ONNX graph may keep tensors in other files: each has its file under the key "location"."""
    return b"location" in graph


def scores_of(entry: dict) -> dict[str, dict]:
    """Return value, low and high of the scores of a test in a card, without scores that lack one of these.

    Cards of shipped models hold the three together; those of `train` hold the ends separately under "intervals".
    """
    found = {name: score for name, score in entry.items() if isinstance(score, dict)}
    for name, ends in entry.get("intervals", {}).items():
        if isinstance(ends, list) and name not in found:
            found[name] = dict(zip(_ENDS, (entry[name], *ends), strict=True))
    return {name: s for name, s in found.items() if s.keys() >= {*_ENDS} and None not in s.values()}

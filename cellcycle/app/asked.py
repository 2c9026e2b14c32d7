"""Parses and checks the settings in a request."""

import re
from collections import Counter
from math import isfinite

from cellcycle.errors import SettingError
from cellcycle.names import clean_name
from cellcycle.predict import Settings
from cellcycle.predict.given import PIXELS_UM

# Most characters of a field: the name of an image, or a text of a map, with an appended number or dose.
_NAME_LENGTH = 160
# Stricter than Python's `float`, which also reads "1_0" and digits of other scripts.
_NUMBER = re.compile(r"-?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?")
_TRUE, _FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no", "")
_MOST_PLANE = 999_999


def settings_of(given, models) -> tuple[str, Settings, str]:
    """Return model, settings and how several images are read: "together", as one "slide", or "each" by itself.

    `given` are the fields of a form or the query of a URL; the model must be a key of `models`. The message of a
    `SettingError` is meant for the client.
    """
    model = short_text(given, "model") or next(iter(models))
    if model not in models:
        raise SettingError("model", f"{model!r} is unknown", f"there are {', '.join(models)}")
    size_um = _within("pixel_size_um", short_text(given, "pixel_size_um"), float, *PIXELS_UM)
    plane = _within("plane", short_text(given, "plane"), int, 0, _MOST_PLANE)
    said = {name: short_text(given, name).lower() for name in ("slide", "each")}
    for name, text in said.items():
        if text not in (*_TRUE, *_FALSE):
            raise SettingError(name, f"{text!r} is neither true nor false", "give one of them")
    how = [name for name, text in said.items() if text in _TRUE]
    if len(how) > 1:
        raise SettingError("each", "slide was given too", "choose one of them, or neither")
    settings = Settings(short_text(given, "kind") or "auto", short_text(given, "channel") or None, plane, size_um)
    return model, settings, how[0] if how else "together"


def refuse_repeated(given, but: str = "") -> None:
    """Raise `SettingError` if a field of a form or query, except `but`, is given more than once."""
    repeated = [name for name, n in Counter(name for name, _ in given.multi_items()).items() if n > 1 and name != but]
    if repeated:
        raise SettingError(clean_name(repeated[0]), "it is given more than once", "give it once")


def short_text(given, name: str) -> str:
    """Return a field as text, "" if it is missing; SettingError if it is too long or not printable."""
    value = given.get(name, "")
    if not isinstance(value, str) or len(value) > _NAME_LENGTH or not value.isprintable():
        raise SettingError(name, "this is not a short text", "give a name or a number")
    return value.strip()


def _within(name: str, text: str, kind: type, low: float, high: float):
    """Return a number, written with a comma or a dot; None for ""; SettingError outside [low, high]."""
    try:
        number = kind(_NUMBER.fullmatch(text)[0].replace(",", ".")) if text else None
    except (TypeError, ValueError):
        number = float("nan")
    if number is None or low <= number <= high:
        return number
    if isfinite(number):
        raise SettingError(name, f"{text} is not possible", f"give a number from {low:g} to {high:g}")
    raise SettingError(name, f"{text!r} is not a valid number", "give a number, or leave it empty")

"""What a request asks for, as numbers and names that can be true."""

import unicodedata
from math import isfinite
from pathlib import PurePosixPath

from cellcycle.errors import SettingError
from cellcycle.images.formats import VENDOR_SUFFIXES
from cellcycle.predict import Settings

_NAME_LENGTH = 120
_TRUE, _FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no", "")
# A pixel between a tenth of a nanometre and a millimetre.
_PIXEL_UM = 1e-4, 1e3
_MOST_PLANE = 999_999


def clean_name(given: str) -> str:
    r"""Return what to call an uploaded file: the last part of its name, on one line, of no great length.

    Examples
    --------
    >>> clean_name("C:\\cells\\a.tif"), clean_name("../b\n.png"), clean_name("")
    ('a.tif', 'b.png', 'image')
    """
    last = given.replace("\\", "/").rpartition("/")[2]
    kept = "".join(c if c.isprintable() else " " if unicodedata.category(c) == "Zs" else "" for c in last).strip()
    if len(kept) > _NAME_LENGTH:
        kept = kept[: _NAME_LENGTH - 20] + "..." + kept[-17:]
    return kept or "image"


def apart(names: list[str]) -> list[str]:
    """Return names of which none occurs twice: those that do are numbered.

    Examples
    --------
    >>> apart(["a.tif", "b.tif", "a.tif"])
    ['a.tif', 'b.tif', 'a (2).tif']
    """
    taken: list[str] = []
    for name in names:
        path, number, free = PurePosixPath(name), 1, name
        while free in taken or (number > 1 and free in names):
            number += 1
            free = f"{path.stem} ({number}){path.suffix}"
        taken.append(free)
    return taken


def stored_suffix(name: str) -> str:
    """Return the suffix under which a file is kept: "" but for the vendors' formats, which are known by it."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in VENDOR_SUFFIXES else ""


def settings_of(given, models) -> tuple[str, Settings, str]:
    """Return model, settings and how several images are read: "together", as one "slide", or "each" by itself.

    Given are the fields of a form or the query of an address. The keys of `models` may be asked for; a `SettingError`
    is one sentence for whoever asked.
    """
    model = short_text(given, "model", next(iter(models)))
    if model not in models:
        raise SettingError("model", f"{model!r} is unknown", f"there are {', '.join(models)}")
    size_um = _within("pixel_size_um", short_text(given, "pixel_size_um"), float, *_PIXEL_UM)
    plane = _within("plane", short_text(given, "plane"), int, 0, _MOST_PLANE)
    how = [name for name in ("slide", "each") if _is_true(name, short_text(given, name))]
    if len(how) > 1:
        raise SettingError("each", "slide was given too", "choose one of them, or neither")
    settings = Settings(short_text(given, "kind", "auto"), short_text(given, "channel") or None, plane, size_um)
    return model, settings, how[0] if how else "together"


def _is_true(name: str, text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise SettingError(name, f"{text!r} is neither true nor false", "give one of them")
    return text.lower() in _TRUE


def short_text(given, name: str, default: str = "") -> str:
    """Return a field of what was asked, or refuse what is no short text."""
    value = given.get(name, "")
    if not isinstance(value, str) or len(value) > _NAME_LENGTH or not value.isprintable():
        raise SettingError(name, "this is no short text", "give a name or a number")
    return value.strip() or default


def _within(name: str, text: str, kind: type, low: float, high: float):
    """Return a number, written with a comma or a dot; None for an empty text."""
    try:
        number = kind(text.replace(",", ".")) if text else None
    except ValueError:
        number = float("nan")
    if number is None or low <= number <= high:
        return number
    if isfinite(number):
        raise SettingError(name, f"{text} cannot be true", f"give a number from {low:g} to {high:g}")
    raise SettingError(name, f"{text!r} is no such number", "give a number, or leave it empty")

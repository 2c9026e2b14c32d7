"""The errors that a user can meet, each of one line: the subject, the finding and the remedy."""

import contextlib
import os
import re
from collections.abc import Iterable
from inspect import Parameter, signature
from math import inf
from numbers import Integral, Real

# Characters that are invisible although `str.isprintable` accepts them.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

_MOST = 2**31 - 1
# Ranges of whole numbers by the name of the parameter; all others start at 0.
RANGES = {
    "n_jobs": (1, 4 * max(16, os.cpu_count() or 1)),
    "n_folds": (2, _MOST),
    "n_repeats": (1, _MOST),
    "epochs": (1, _MOST),
    "size_px": (4, 2048),
}


def shown(text) -> str:
    r"""Return text as one line in which every character is visible, for terminals, tables and pages.

    Line breaks, escape codes, marks that change the direction of writing, invisible characters and bytes that are not
    UTF-8 are escaped as `\n`, `\x1b`, `\u202e`, `\xff`. A second call changes nothing more.

    Examples
    --------
    >>> print(shown("cell\x1b[2J\n.png"), shown(b"\xff.png".decode("utf-8", "surrogateescape")))
    cell\x1b[2J\n.png \xff.png
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    with contextlib.suppress(UnicodeError):
        # A name read in a locale without UTF-8 is shown as in a locale with it.
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return "".join(c if c.isprintable() and not INVISIBLE.match(c) else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, decoded by Python to a surrogate
        return f"\\x{code - 0xDC00:02x}"
    # An escape with two digits would look like such a byte.
    return f"\\u{code:04x}" if 0x80 <= code < 0x100 else character.encode("unicode_escape").decode()


class CellCycleError(Exception):
    """An error that the user can correct: the file, folder, option or name at fault, the finding and the remedy.

    Examples
    --------
    >>> print(CellCycleError("a.png", "the file is empty", "export the image again"))
    a.png: the file is empty; export the image again
    """

    def __init__(self, subject, finding: str, remedy: str):
        self.subject, self.finding, self.remedy = str(subject), finding, remedy
        # One line, even if it includes a message of another library with several.
        said = re.sub(r"\s*[\r\n]+\s*", " ", f"{finding}; {remedy}")
        super().__init__(f"{shown(subject)}: {shown(said)}")

    def __reduce__(self):
        # Worker processes send errors to the parent by pickle; Exception's default would lose two arguments.
        return type(self), (self.subject, self.finding, self.remedy)


class ImageError(CellCycleError):
    """An image file cannot be read, or not in the way asked for."""


class DataError(CellCycleError):
    """A data set cannot be used: its folder, manifest, classes or counts."""


class SettingError(CellCycleError):
    """An option, parameter or model name is unknown or out of range."""


class RecordError(CellCycleError):
    """A run's record is missing, incomplete or does not fit what was asked."""


class CheckpointError(CellCycleError):
    """A model's folder is incomplete, damaged or altered."""


class LimitError(CellCycleError):
    """Work on a file exceeded its limit of time or memory, or ended its process."""


def check_choice(option: str, value, allowed) -> None:
    """Raise a `SettingError` that lists the allowed values if a value is not one of them."""
    from difflib import get_close_matches

    if value not in (allowed := list(allowed)):
        names = list(map(str, allowed))
        near = get_close_matches(str(value), names, n=1, cutoff=0.7)
        remedy = (f"did you mean {near[0]!r}? " if near else "") + f"use one of {', '.join(names)}"
        raise SettingError(option, f"{value!r} is unknown", remedy)


def check_name(option: str, name, taken) -> None:
    """Refuse a user-defined name that is empty, unusable in files or tables, or already taken."""
    is_name = isinstance(name, str) and re.fullmatch(r"\w[^/\\]*", name) and name.isprintable()
    if not is_name or name != name.strip():
        raise SettingError(option, f"{name!r} is not a valid name", "begin with a letter or digit, and use no / or \\")
    if name in taken:
        raise SettingError(option, f"{name!r} is taken", "choose another name")


def check_keywords(given: Iterable[str], *takers) -> None:
    """Refuse a keyword that none of `takers`, the functions or classes that get the keywords, accepts."""
    named = (each for taker in takers for each in signature(taker).parameters.values())
    known = [each.name for each in named if each.kind is not Parameter.VAR_KEYWORD]
    for name in given:
        check_choice("keyword", name, known)


def check_whole(option: str, value, least: int | None = None, most: int | None = None) -> int:
    """Return an integer of any type as int; refuse other values and those out of range, by default that of the name.

    Examples
    --------
    >>> check_whole("n_folds", True)
    Traceback (most recent call last):
    cellcycle.errors.SettingError: n_folds: True is not a plain whole number; give a whole number from 2 to 2147483647
    """
    usual = RANGES.get(option, (0, _MOST))
    least, most = (end if given is None else given for given, end in zip((least, most), usual, strict=True))
    is_plain = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_plain or not least <= value <= most:
        finding = f"{value!r} is {'out of range' if is_plain else 'not a plain whole number'}"
        raise SettingError(option, finding, f"give a whole number from {least} to {most}")
    return int(value)


def check_size(option: str, value, or_none: bool = False) -> None:
    """Refuse a value that is not a finite number above 0; `or_none` allows None."""
    if value is None and or_none:
        return
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < inf:
        raise SettingError(option, f"{value!r} is not a size", "give a number above 0")


def check_share(option: str, value) -> None:
    """Refuse a value that is not a share, a number above 0 and up to 1."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value <= 1:
        raise SettingError(option, f"{value!r} is not a share", "give a number above 0, up to 1")


def reason_of(error: Exception) -> str:
    """Return the message of another library's error on one line of at most 120 characters."""
    said = f"no {error}" if isinstance(error, KeyError) else str(error)
    return " ".join(said.split())[:120] or type(error).__name__


@contextlib.contextmanager
def needing(subject, finding: str, remedy: str, kind: type[CellCycleError] = SettingError):
    """Turn an ImportError in the block into an error of one line that a package is missing."""
    try:
        yield
    except ImportError as error:
        raise kind(subject, finding, remedy) from error

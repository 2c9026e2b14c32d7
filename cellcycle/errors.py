"""The errors a user can meet, each with one line: what, what was found, what to do."""

import contextlib
import os
import re
from collections.abc import Iterable
from inspect import Parameter, signature
from math import inf
from numbers import Integral, Real

# Characters that `str.isprintable` lets pass although nothing is seen of them.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

_MOST = 2**31 - 1
# What whole numbers of one name may be, whatever takes them; others are from 0 on.
RANGES = {
    "n_jobs": (1, 4 * max(16, os.cpu_count() or 1)),
    "n_folds": (2, _MOST),
    "n_repeats": (1, _MOST),
    "epochs": (1, _MOST),
    "size_px": (4, 2048),
}


def shown(text) -> str:
    r"""Return text as one line on which everything is seen for what it is: for terminals, tables and pages.

    Line breaks, escape codes, marks that turn the direction of writing, invisible characters and bytes that are
    not UTF-8 stand as `\n`, `\x1b`, `\u202e`, `\xff`. Done twice it changes nothing more.

    Examples
    --------
    >>> print(shown("cell\x1b[2J\n.png"), shown(b"\xff.png".decode("utf-8", "surrogateescape")))
    cell\x1b[2J\n.png \xff.png
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    with contextlib.suppress(UnicodeError):
        # A name that was read in a locale without UTF-8 is shown as in one that has it.
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return "".join(c if c.isprintable() and not INVISIBLE.match(c) else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python hands it on
        return f"\\x{code - 0xDC00:02x}"
    # With two digits it would look like such a byte.
    return f"\\u{code:04x}" if 0x80 <= code < 0x100 else character.encode("unicode_escape").decode()


class CellCycleError(Exception):
    """What the user can put right: the file, folder, option or name at fault, what was found, and what to do about it.

    Examples
    --------
    >>> print(CellCycleError("a.png", "the file is empty", "export the image again"))
    a.png: the file is empty; export the image again
    """

    def __init__(self, subject, finding: str, remedy: str):
        self.subject, self.finding, self.remedy = str(subject), finding, remedy
        # One line, also where another library's message in it has several.
        said = re.sub(r"\s*[\r\n]+\s*", " ", f"{finding}; {remedy}")
        super().__init__(f"{shown(subject)}: {shown(said)}")

    def __reduce__(self):
        # Worker processes send their errors to the parent; Exception's default would lose two arguments.
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
    """Work on a file took more time or memory than it may, or ended its process."""


def check_choice(option: str, value, allowed) -> None:
    """Refuse a value that is none of those allowed, and name them."""
    from difflib import get_close_matches

    if value not in (allowed := list(allowed)):
        names = list(map(str, allowed))
        near = get_close_matches(str(value), names, n=1, cutoff=0.7)
        remedy = (f"did you mean {near[0]!r}? " if near else "") + f"use one of {', '.join(names)}"
        raise SettingError(option, f"{value!r} is unknown", remedy)


def check_name(option: str, name, taken) -> None:
    """Refuse a name for something of one's own that is none, that no file or table can have, or that is taken."""
    is_name = isinstance(name, str) and re.fullmatch(r"\w[^/\\]*", name) and name.isprintable()
    if not is_name or name != name.strip():
        raise SettingError(option, f"{name!r} is no name", "begin with a letter or digit, and use no / or \\")
    if name in taken:
        raise SettingError(option, f"{name!r} is taken", "choose another name")


def check_keywords(given: Iterable[str], *takers) -> None:
    """Refuse a keyword that none of those takes to which they are handed on, functions or classes."""
    named = (each for taker in takers for each in signature(taker).parameters.values())
    known = [each.name for each in named if each.kind is not Parameter.VAR_KEYWORD]
    for name in given:
        check_choice("keyword", name, known)


def check_whole(option: str, value, least: int | None = None, most: int | None = None) -> int:
    """Return a whole number, whatever holds it; refuse a value that is none in a range, by default that of its name.

    Examples
    --------
    >>> check_whole("n_folds", True)
    Traceback (most recent call last):
    cellcycle.errors.SettingError: n_folds: True is no plain whole number; give a whole number from 2 to 2147483647
    """
    usual = RANGES.get(option, (0, _MOST))
    least, most = (end if given is None else given for given, end in zip((least, most), usual, strict=True))
    is_plain = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_plain or not least <= value <= most:
        finding = f"{value!r} is {'out of range' if is_plain else 'no plain whole number'}"
        raise SettingError(option, finding, f"give a whole number from {least} to {most}")
    return int(value)


def check_size(option: str, value, or_none: bool = False) -> None:
    """Refuse a value that is no finite number above 0, nor None where that may be given."""
    if value is None and or_none:
        return
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < inf:
        raise SettingError(option, f"{value!r} is not a size", "give a number above 0")


def check_share(option: str, value) -> None:
    """Refuse a value that is no share: no number above 0, up to 1."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value <= 1:
        raise SettingError(option, f"{value!r} is no share", "give a number above 0, up to 1")


def reason_of(error: Exception) -> str:
    """Return what an error of another library says, on one line of no great length."""
    said = f"no {error}" if isinstance(error, KeyError) else str(error)
    return " ".join(said.split())[:120] or type(error).__name__


@contextlib.contextmanager
def needing(subject, finding: str, remedy: str, kind: type[CellCycleError] = SettingError):
    """Say in one line that a package is missing which the block imports."""
    try:
        yield
    except ImportError as error:
        raise kind(subject, finding, remedy) from error

"""Find names that mean the same despite different blanks, capitals, dashes, or phases written in words."""

import re
import unicodedata
from collections import Counter, defaultdict

import pandas as pd

from cellcycle.errors import INVISIBLE, DataError
from cellcycle.phases import PHASES

# Contents of cells that stand for a missing value.
NOTHING = {"", "na", "n/a", "n.a.", "n.d.", "nan", "null", "none", "-", "?", "#n/a", "#name?", "#ref!", "#value!",
            "#div/0!", "#num!", "#null!"}  # fmt: skip
_OTHER_NUMBERS = ("<super>", "<fraction>")
# Names of phases in English and related languages, without blanks and dashes.
_PHASE_WORD = re.compile(
    r"((ph|f)ase)?(?P<name>g(ap)?(?P<gap>[012])|s(ynthesis)?|m|mito(sis|sen?|ses|tic|tisch|tique|tic[oa]))((ph|f)ase)?"
)
# Additions after the name of a class: the number of its images, or "copy".
_BEHIND = re.compile(r"(?i)([\s_-]*(\((n ?= ?)?\d+\)|(?<![^\W_])(n ?= ?\d+|copy|kopie|copie|copia)(?!\w)))+$")
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
# Greek and Cyrillic letters that look like Latin ones.
_LOOKALIKE = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧАВСЕНКМОРТХЅасеорхуѕ", "ABEZHIKMNOPTYXABCEHKMOPTXSaceopxys")
# A sign before a word: "-dox" may mean without the drug, "dox" with it.
_SIGN = re.compile(r"(?:^|\s)([-+])(?=[^\W\d_])")


def clean(text: str) -> str:
    r"""Return a name with single blanks, without invisible characters and compatibility forms.

    Superscripts and fractions stay, because as plain digits they would be other numbers.

    Examples
    --------
    >>> clean(" S\u00a0 phase\u200b"), clean("G₁"), clean("10⁵ cells")
    ('S phase', 'G1', '10⁵ cells')
    """
    if text.isascii() and text.isprintable():  # a fast path for nearly all names
        return " ".join(text.split())
    seen = (c for c in text if c.isspace() or not (unicodedata.category(c) in ("Cc", "Cf") or INVISIBLE.match(c)))
    plain = (c if unicodedata.decomposition(c).startswith(_OTHER_NUMBERS) else unicodedata.normalize("NFKC", c)
             for c in seen)  # fmt: skip
    return " ".join(unicodedata.normalize("NFC", "".join(plain)).split())


def refuse_twins(source, what: str, names) -> None:
    """Refuse names that differ only in capitals, blanks, dashes or forms of a number (1 and 1.0)."""
    spelled = {}
    for name in dict.fromkeys(names):
        meant = meaning_of_group(name), tuple(_SIGN.findall(name.translate(_DASHES)))
        if (other := spelled.setdefault(meant, name)) != name:
            finding = f"the {what}s {other!r} and {name!r} differ only by capitals, blanks or the like"
            raise DataError(source, finding, "write them alike, or as clearly different names")


def clean_names(names: pd.Series, what: str, source) -> tuple[pd.Series, list[str]]:
    """Return labels or groups (`what`) with one spelling for names that certainly mean the same, and notes.

    Labels that differ only in blanks, dashes and the like are refused. Such groups are joined: keeping cells in one
    group that could be divided does no harm.
    """
    cleaned, notes = names.map(clean).str.strip(" ;,").str.replace(r"^([\'\"])(.*)\1$", r"\2", regex=True), []
    n_mended = int((cleaned != names).sum())
    if n_mended:
        notes.append(f"blanks and invisible characters were removed from {n_mended} {what}s")
    is_label, seen = what == "label", {}
    for name in cleaned.unique() if is_label else ():
        other = seen.setdefault(_meaning(name), name)
        if other.casefold() != name.casefold():
            finding = f"the labels {other!r} and {name!r} differ only by a blank, dash or spelling"
            raise DataError(source, finding, "write one class in one way, and two classes clearly differently")
    spelling = _one_spelling(cleaned) | _as_phases(cleaned) if is_label else _one_spelling(cleaned, meaning_of_group)
    for old, new in sorted(spelling.items()):
        notes.append(f"{what} {old!r} ({(cleaned == old).sum()}) is read as {new!r}")
    return cleaned.replace(spelling) if spelling else cleaned, notes


def _meaning(label: str) -> str:
    """Return a key that labels of the same meaning share: G1. and phase G1, S-phase and Synthesis, 01 and 1."""
    label = label.translate(_LOOKALIKE).translate(_DASHES)
    phase = _PHASE_WORD.fullmatch(_joined(_BEHIND.sub("", label)))
    return _joined(label) if phase is None else f"g{phase['gap']}" if phase["gap"] else phase["name"][0]


def _joined(label: str) -> str:
    plain = re.sub(r"(?<=\w)[\s_-]+(?=\w)", "", label).casefold().strip(".,;:'\"?!*")
    return re.sub(r"(?<![\d.,])0+(?=\d)", "", re.sub(r"^(\d+)[.,]0+$", r"\1", plain))


def meaning_of_group(name: str) -> str:
    """Return a key that spellings of one group share: Slide 1, slide_01 and Slide1, 1 and 1.0, uM and µM.

    Separators between numbers stay, so 1-11 and 11-1 differ.
    """
    name = name.translate(_DASHES)
    # The capital of the Greek letter looks like M, but µM is not mM.
    latin = name if {*"μµ"} & {*name} else name.upper().translate(_LOOKALIKE)
    plain = (latin if latin.isascii() else name).casefold()
    plain = re.sub(r"(?<=[^\W\d_])[\s_.#-]+(?=[^\W_])|(?<=[^\W_])[\s_.#-]+(?=[^\W\d_])", "", plain)
    # People without µ on the keyboard write u.
    plain = plain.replace("μ", "u")
    # Three zeros after a mark may be thousands, so 1,000 stays.
    zeros = r"(?<![\d.,])0+(?=\d)|(?<=\d)[.,](?!000(?!\d))0+(?![\d.,])"
    return re.sub(zeros, "", re.sub(r"[\s_-]+", " ", plain))


def _one_spelling(names: pd.Series, meaning=str.casefold) -> dict[str, str]:
    """Return the spellings to replace by another of the same `meaning`, by default those that differ in capitals."""
    counts, by_key = Counter(names), defaultdict(list)
    for name in counts:
        by_key[meaning(name)].append(name)
    replaced = {}
    for same in by_key.values():
        best = min(same, key=lambda name: (name not in PHASES, -counts[name], name))
        replaced |= {name: best for name in same if name != best}
    return replaced


def _as_phases(names: pd.Series) -> dict[str, str]:
    """Return the phase for each other spelling of it (g1, S phase, Mitosis), if the names include G1 or G2."""
    # G01 is probably a well, and M? marks an uncertain label.
    meant = {name: _meaning(name).upper() for name in names.unique() if {*"0?"}.isdisjoint(_BEHIND.sub("", name))}
    if {"G1", "G2"}.isdisjoint(meant.values()):
        return {}
    return {name: phase for name, phase in meant.items() if phase in PHASES and name != phase}


def says_nothing(name: str) -> bool:
    """Return whether a cell is empty or marks a missing value: NA, nan, none, a dash.

    Examples
    --------
    >>> says_nothing(" N/A"), says_nothing("G1")
    (True, False)
    """
    return clean(name).casefold() in NOTHING

"""Names as people write them: odd blanks, capitals, dashes, phases in words; which of them mean the same."""

import re
import unicodedata
from collections import Counter, defaultdict

import pandas as pd

from cellcycle.errors import INVISIBLE, DataError
from cellcycle.phases import PHASES

# What a cell holds where there is nothing to say.
NOTHING = {"", "na", "n/a", "n.a.", "n.d.", "nan", "null", "none", "-", "?", "#n/a", "#name?", "#ref!", "#value!",
            "#div/0!", "#num!", "#null!"}  # fmt: skip
_OTHER_NUMBERS = ("<super>", "<fraction>")
# Phases as English and its neighbours have them, without blanks and dashes.
_PHASE_WORD = re.compile(
    r"((ph|f)ase)?(?P<name>g(ap)?(?P<gap>[012])|s(ynthesis)?|m|mito(sis|sen?|ses|tic|tisch|tique|tic[oa]))((ph|f)ase)?"
)
# What is written behind the name of a class: how many are in it, or that it is a copy.
_BEHIND = re.compile(r"(?i)([\s_-]*(\((n ?= ?)?\d+\)|(?<![^\W_])(n ?= ?\d+|copy|kopie|copie|copia)(?!\w)))+$")
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
# Greek and Cyrillic letters that look like Latin ones.
_LOOKALIKE = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧАВСЕНКМОРТХЅасеорхуѕ", "ABEZHIKMNOPTYXABCEHKMOPTXSaceopxys")
# A sign before a word: "-dox" may be without the drug that "dox" is with.
_SIGN = re.compile(r"(?:^|\s)([-+])(?=[^\W\d_])")


def clean(text: str) -> str:
    r"""Return a name without what the eye does not see: odd blanks, zero-width marks, compatibility forms.

    What is raised, or a fraction, says another number than its digits would, and stays.

    Examples
    --------
    >>> clean(" S\u00a0 phase\u200b"), clean("G₁"), clean("10⁵ cells")
    ('S phase', 'G1', '10⁵ cells')
    """
    if text.isascii() and text.isprintable():  # as nearly all are
        return " ".join(text.split())
    seen = (c for c in text if c.isspace() or not (unicodedata.category(c) in ("Cc", "Cf") or INVISIBLE.match(c)))
    plain = (c if unicodedata.decomposition(c).startswith(_OTHER_NUMBERS) else unicodedata.normalize("NFKC", c)
             for c in seen)  # fmt: skip
    return " ".join(unicodedata.normalize("NFC", "".join(plain)).split())


def refuse_twins(source, what: str, names) -> None:
    """Refuse names that a person reads as one: they differ by capitals, blanks, dashes, 1 and 1.0."""
    spelled = {}
    for name in dict.fromkeys(names):
        meant = meaning_of_group(name), tuple(_SIGN.findall(name.translate(_DASHES)))
        if (other := spelled.setdefault(meant, name)) != name:
            finding = f"the {what}s {other!r} and {name!r} differ by capitals, blanks or the like alone"
            raise DataError(source, finding, "write them alike, or as two names")


def clean_names(names: pd.Series, what: str, source) -> tuple[pd.Series, list[str]]:
    """Bring labels or groups (`what`) to one spelling each, where it is certain that they mean the same; say so.

    Labels that differ by blanks, dashes and the like alone are refused. Groups that a person reads as one are joined:
    to keep cells together that could be parted does no harm.
    """
    cleaned, notes = names.map(clean).str.strip(" ;,").str.replace(r"^([\'\"])(.*)\1$", r"\2", regex=True), []
    n_mended = int((cleaned != names).sum())
    if n_mended:
        notes.append(f"blanks and invisible characters were taken off {n_mended} {what}s")
    is_label, seen = what == "label", {}
    for name in cleaned.unique() if is_label else ():
        other = seen.setdefault(_meaning(name), name)
        if other.casefold() != name.casefold():
            finding = f"the labels {other!r} and {name!r} differ by a blank, dash or spelling alone"
            raise DataError(source, finding, "give one class one name, or two classes names that differ")
    spelling = _one_spelling(cleaned) | _as_phases(cleaned) if is_label else _one_spelling(cleaned, meaning_of_group)
    for old, new in sorted(spelling.items()):
        notes.append(f"{what} {old!r} ({(cleaned == old).sum()}) is read as {new!r}")
    return cleaned.replace(spelling) if spelling else cleaned, notes


def _meaning(label: str) -> str:
    """Return what labels share that nobody would tell apart: G1. and phase G1, S-phase and Synthesis, 01 and 1."""
    label = label.translate(_LOOKALIKE).translate(_DASHES)
    phase = _PHASE_WORD.fullmatch(_joined(_BEHIND.sub("", label)))
    return _joined(label) if phase is None else f"g{phase['gap']}" if phase["gap"] else phase["name"][0]


def _joined(label: str) -> str:
    plain = re.sub(r"(?<=\w)[\s_-]+(?=\w)", "", label).casefold().strip(".,;:'\"?!*")
    return re.sub(r"(?<![\d.,])0+(?=\d)", "", re.sub(r"^(\d+)[.,]0+$", r"\1", plain))


def meaning_of_group(name: str) -> str:
    """Return what spellings of one group share: Slide 1, slide_01 and Slide1, 1 and 1.0, uM and µM.

    Numbers that a separator parts stay so, 1-11 and 11-1.
    """
    name = name.translate(_DASHES)
    # The capital of the Greek letter looks like M, but a µM is no mM.
    latin = name if {*"μµ"} & {*name} else name.upper().translate(_LOOKALIKE)
    plain = (latin if latin.isascii() else name).casefold()
    plain = re.sub(r"(?<=[^\W\d_])[\s_.#-]+(?=[^\W_])|(?<=[^\W_])[\s_.#-]+(?=[^\W\d_])", "", plain)
    # Who has no µ writes a u.
    plain = plain.replace("μ", "u")
    # Three zeros may be those of a thousand.
    zeros = r"(?<![\d.,])0+(?=\d)|(?<=\d)[.,](?!000(?!\d))0+(?![\d.,])"
    return re.sub(zeros, "", re.sub(r"[\s_-]+", " ", plain))


def _one_spelling(names: pd.Series, meaning=str.casefold) -> dict[str, str]:
    """Return the spellings to replace: those of one meaning with another, by default all but for capitals."""
    counts, by_key = Counter(names), defaultdict(list)
    for name in counts:
        by_key[meaning(name)].append(name)
    replaced = {}
    for same in by_key.values():
        best = min(same, key=lambda name: (name not in PHASES, -counts[name], name))
        replaced |= {name: best for name in same if name != best}
    return replaced


def _as_phases(names: pd.Series) -> dict[str, str]:
    """Return what the names of phases are spelt as, such as g1, S phase and Mitosis, where one of them is G1 or G2."""
    # G01 is rather a well, and who writes M? is not sure.
    meant = {name: _meaning(name).upper() for name in names.unique() if {*"0?"}.isdisjoint(_BEHIND.sub("", name))}
    if {"G1", "G2"}.isdisjoint(meant.values()):
        return {}
    return {name: phase for name, phase in meant.items() if phase in PHASES and name != phase}


def says_nothing(name: str) -> bool:
    """Tell whether a cell is empty, or says so: NA, nan, none, a dash.

    Examples
    --------
    >>> says_nothing(" N/A"), says_nothing("G1")
    (True, False)
    """
    return clean(name).casefold() in NOTHING

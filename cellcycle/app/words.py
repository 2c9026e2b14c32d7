"""Rewrites messages of the command line for the page, where options are fields, or do not exist."""

import re

from cellcycle.errors import CellCycleError

_FIELDS = {"channel": "DNA channel under Settings", "plane": "Plane under Settings"}
_SUBJECTS = {"control": "Compare with", "is_slide": "All are of one slide",
             "pixel_size_um": "Pixel size under Settings"}  # fmt: skip
# Patterns in a finding or remedy and their replacements, applied in this order.
_WORDS = [
    (r" \(--\w+ on the command line\)", ""),
    (r"with (channel|plane)=(\d?)( \(--\1\))?", lambda one: f"as {_FIELDS[one[1]]}{one[2] and ': '}{one[2]}"),
    (r"--(channel|plane)( (?=\d))?", lambda one: _FIELDS[one[1]] + ": " * bool(one[2])),
    (r"there is no (condition|well|image) (?=')", "there is no condition, well or image "),
    (r"another control", "another to compare with"),
    (r"do not predict them", "remove those images"),
    (r"\bpredict (?=(all|some|the) images)", "call "),
]
_OPTION = re.compile(r"--[a-z]|\b[a-z_]+=")
_NO_MASKS = "no masks are taken here"


def in_page_words(error: CellCycleError) -> CellCycleError:
    """Return the error with options of the command replaced by fields of the page.

    Alternatives in a remedy that the page does not have are left out.
    """
    finding, remedy = (_in_words(str(text)) for text in (error.finding, error.remedy))
    ways = remedy.split(", or ")
    here = [way for way in ways if not _OPTION.search(way)]
    remedy = ", or ".join(here) or "use the command cellcycle predict"
    remedy += f": {_NO_MASKS}" * any("mask" in way for way in ways if way not in here)
    return type(error)(_SUBJECTS.get(error.subject, error.subject), finding, remedy)


def _in_words(text: str) -> str:
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return text

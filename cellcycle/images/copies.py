"""Which of many files are copies of others: in another format, or made smaller, brighter or flat for looking at."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

# A word by which programs and people name a picture made from another one, and how much of it is lost by that.
_MADE = {
    0: r"raw|orig(?:inal)?|cop(?:y|ies)(?:[ _-]?\d{1,2}|[ _-]?\(\d\))?|export(?:ed)?",
    1: r"(?:8|16)[ _-]?bits?|gr[ae]y(?:scale)?|compressed|flat(?:field)?|corrected|bg[ _-]?sub|denoised|deconv\w*",
    2: r"preview|overlays?|thumb(?:nail)?s?|low[ _-]?res|resized|scaled|enhanced|contrast|annotated|adjusted"
    r"|scale[ _-]?bar|pseudo[ _-]?colou?r|colou?r(?:ed)?|rgb|processed|edited|mip|max(?:ip|[ _-]?proj\w*)",
}
_WORD = {
    level: re.compile(rf"(?:(?<=[^\W_])[ _.-]+)(?:{made})(?=[ _.-]|$)", re.IGNORECASE) for level, made in _MADE.items()
}
_BEFORE = re.compile(r"^(?:(?:MAX|AVG|SUM|STD|MED)_|copy of )(?=.)", re.IGNORECASE)
# Folders of copies are named like them, or after their format.
_FOLDER = {level: re.compile(rf"(?:{made})s?", re.IGNORECASE) for level, made in _MADE.items()}
_OF_FORMAT = re.compile(r"small|tiff?s?|png|jpe?gs?|bmp", re.IGNORECASE)
# A small tumour is no copy of a tumour: the word counts only where the file is clearly smaller.
_SMALL = re.compile(r"(?<=[^\W_])[ _.-]+small$", re.IGNORECASE)
_SMALLER = 0.5
# The most faithful first; what only some installations read comes after what all do.
_TIFFS, _LOSSY = (".tif", ".tiff", ".btf", ".tf8", ".stk", ".lsm", ".zarr"), (".jpg", ".jpeg")


def without_copies(files: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the files of which none is a copy of another one, and those left out: the most faithful stays.

    Examples
    --------
    >>> without_copies(["s1.jpg", "s1.tif", "s1_8bit.tif", "s2_8bit.tif"])
    (['s1.tif', 's2_8bit.tif'], ['s1.jpg', 's1_8bit.tif'])
    """
    files, same = list(files), defaultdict(list)
    for file in files:
        origin, rank = _origin(file)
        same[origin].append((rank, file))
    kept = set()
    for of in same.values():
        best = min(of)[1]
        kept |= {best, *(file for _, file in of if _SMALL.search(Path(file).stem) and not _is_smaller(file, best))}
    return [file for file in files if file in kept], [file for file in files if file not in kept]


def _is_smaller(file: str, best: str) -> bool:
    try:
        return os.path.getsize(file) < _SMALLER * os.path.getsize(best)
    except (OSError, ValueError):
        return False


def _origin(file: str) -> tuple[tuple[str, str], tuple]:
    """Return folder and name of what a file may be a copy of, and how much less it would be, as a key to sort by."""
    folder, name = os.path.split(file)
    path = Path(name)
    stem, suffix = path.stem, path.suffix.lower()
    if suffix and stem.lower().endswith(".ome"):
        stem = stem[:-4]
    short, most, n_words = _BEFORE.sub("", stem), -1, 0
    if short != stem:
        most, n_words = 2, 1
    if _SMALL.search(short):
        short, most, n_words = _SMALL.sub("", short), 2, n_words + 1
    above, own = os.path.split(folder)
    named = max((level for level, kind in _FOLDER.items() if kind.fullmatch(own)), default=-1)
    if named >= 0 or _OF_FORMAT.fullmatch(own):
        folder, most, n_words = above, max(most, named), n_words + 1
    for level, word in _WORD.items():
        short, n_found = word.subn("", short)
        most, n_words = max(most, level * bool(n_found)), n_words + n_found
    is_tiff = suffix in _TIFFS
    formats = (is_tiff, suffix not in (".png", ".bmp", *_LOSSY), suffix == ".png", suffix == ".bmp", suffix in _LOSSY)
    rank = (most > 1, suffix in _LOSSY, most > 0, formats.index(True), n_words, file)
    return (folder, short.casefold()), rank

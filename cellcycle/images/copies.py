"""Which of many files are copies of others: in another format, or made smaller, brighter or flat for looking at."""

import filecmp
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cellcycle.images.makers import PROJECTED
from cellcycle.images.naming import WELL, Part

# A word by which programs and people name a picture made from another one, and how much of it is lost by that.
_MADE = {
    0: r"raw|orig(?:inal)?|(?:cop(?:y|ies?|ia)|kopie)(?:[ _-]?\d{1,2}|[ _-]?\(\d{1,2}\))?|export(?:ed)?"
    r"|\((?:another |\d{1,2}(?:st|nd|rd|th) )?copy(?: \d{1,2})?\)",
    1: r"(?:8|16)[ _-]?bits?|gr[ae]y(?:scale)?|compressed|flat(?:field)?"
    r"|(?:illum(?:ination)?|shading|bg)[ _-]?corr|(?:(?:illum(?:ination)?|shading|bg)[ _-]?)?corrected"
    r"|bg[ _-]?sub|denoised|deconv\w*",
    2: r"preview|overlays?|thumb(?:nail)?s?|low[ _-]?res|resized|scaled|enhanced|contrast|annotated|adjusted"
    r"|ma(?:ß|ss)stab|vorschau|verkleinert|miniature|aperçu"
    r"|scale[ _-]?bar|pseudo[ _-]?colou?r|colou?r(?:ed)?|rgb|processed|edited|mip|max(?:ip|[ _-]?proj\w*)",
}
_WORD = {
    level: re.compile(rf"(?:(?<=[^\W_])[ _.-]+)(?:{made})(?=[ _.-]|$)", re.IGNORECASE) for level, made in _MADE.items()
}
# Doses and conditions may be min and max, too, but not as Fiji writes them.
_BEFORE = re.compile(
    rf"^(?:(?-i:{PROJECTED})|(?:copy (?:\(\d{{1,2}}\) )?of|kopie von|cop(?:ie|ia) de) )(?=.)", re.IGNORECASE
)
# Folders of copies are named like them, or after their format.
_FOLDER = {level: re.compile(rf"(?:{made})s?", re.IGNORECASE) for level, made in _MADE.items()}
_OF_FORMAT = re.compile(r"small|tiff?s?|png|jpe?gs?|bmp", re.IGNORECASE)
# A small tumour is no copy of a tumour: the word counts only where the file is clearly smaller.
_SMALL = re.compile(r"(?<=[^\W_])[ _.-]+small$", re.IGNORECASE)
_SMALLER = 0.5
# The most faithful first; what only some installations read comes after what all do.
_FORMATS = dict.fromkeys((".tif", ".tiff", ".btf", ".tf8", ".stk", ".lsm", ".zarr"), 0)
_FORMATS |= {".png": 2, ".bmp": 3, ".jpg": 4, ".jpeg": 4}
# The words for a picture of several channels, and how ZEN and people write the channels that are in it: c1+2, DAPI+GFP.
_MERGED = re.compile(
    r"(?<![a-z])(?:merged?|overlays?|composite|c\d(?:\+c?\d)+)(?![a-z])|\*(?: ?\+ ?\*)+", re.IGNORECASE
)
# Pictures that a microscope put together of fields, or took of all of them, and the folders of both.
_STITCHED = re.compile(r"(?<![a-z])(?:stitch(?:ed|ing)?|montages?|overviews?)(?![a-z])", re.IGNORECASE)
_OF_TILES = re.compile(rf"(?:{_STITCHED.pattern}|tiles?)(?:[ _-]?images?)?", re.IGNORECASE)
# What a tile is called beyond its picture: numbers.
_TILES = re.compile(r"(?: (?:[a-z]{1,5} ?)?\d+)*")


def copies_among(files: Iterable[str]) -> set[str]:
    """Return the files that are copies of others: of those of one origin the most faithful is none.

    Examples
    --------
    >>> sorted(copies_among(["s1.jpg", "s1.tif", "s1_8bit.tif", "s2_8bit.tif"]))
    ['s1.jpg', 's1_8bit.tif']
    """
    same, copies = defaultdict(list), set()
    for file in files:
        origin, rank = origin_of(file)
        same[origin].append((rank, file))
    for of in same.values():
        best, *others = (file for _, file in sorted(of))
        copies |= {file for file in others if not _is_twin(file, best)
                   and (not _SMALL.search(Path(file).stem) or _is_smaller(file, best))}  # fmt: skip
    return copies


def _is_twin(file: str, best: str) -> bool:
    """Say whether nothing but capitals tells two files apart: one picture is seldom saved as both a.tif and A.tif.

    Nor do accents as a Mac writes them, but of these a copy of the very bytes is none.
    """
    one, other = (unicodedata.normalize("NFC", name) for name in (file, best))
    if one == other and file != best:
        return os.path.isfile(file) and os.path.isfile(best) and not filecmp.cmp(file, best, shallow=False)
    return one.casefold() == other.casefold() and Path(file).suffix == Path(best).suffix


def _is_smaller(file: str, best: str) -> bool:
    with suppress(OSError, ValueError):
        return os.path.getsize(file) < _SMALLER * os.path.getsize(best)
    return False


def origin_of(file: str) -> tuple[tuple[str, str], tuple]:
    """Return folder and name of what a file may be a copy of, and how much less it would be, as a key to sort by."""
    # A letter and its accent are one, as in names that come from a Mac they are not.
    folder, name = os.path.split(unicodedata.normalize("NFC", file))
    path = Path(name)
    stem, suffix = path.stem, path.suffix.lower()
    if suffix and stem.lower().endswith(".ome"):
        stem = stem[:-4]
    above, own = os.path.split(folder)
    levels = [level for level, kind in _FOLDER.items() if kind.fullmatch(own)]
    is_copy = bool(levels or _OF_FORMAT.fullmatch(own))
    n_words = int(is_copy)
    for level, word in ((2, _BEFORE), (2, _SMALL), *_WORD.items()):
        stem, n_found = word.subn("", stem)
        levels += [level] * n_found
        n_words += n_found
    most, kind = max(levels, default=0), _FORMATS.get(suffix, 1)
    rank = (most > 1, kind == 4, most > 0, kind, n_words, file)
    return (above if is_copy else folder, stem.casefold()), rank


def put_together(parts: dict[str, Part]) -> set[str]:
    """Return the files that show several others at once, by the parts of the name of each: channels, or tiles."""
    return _merged(parts) | _stitched(parts)


def _merged(parts: dict[str, Part]) -> set[str]:
    """Return the files that show several channels at once, beside at least two files of these."""
    merged = {file for file, part in parts.items() if _MERGED.search(part.rest)}
    channels = defaultdict(set)
    for file, part in parts.items() if merged else ():
        if file not in merged and part.channel != ("", ""):
            channels[bare(part)].add(part.channel)
    return {file for file in merged if len(channels[bare(parts[file])]) > 1}


def _stitched(parts: dict[str, Part]) -> set[str]:
    """Return the files that show what tiles beside them show, of their channel: those of the same well, or name."""
    stitched, tiles = {}, defaultdict(set)
    for file, part in parts.items():
        folder, name = os.path.split(file)
        above, own = os.path.split(folder)
        place = above if _OF_TILES.fullmatch(own) else folder, part.channel
        if _STITCHED.search(name) or (place[0] == above and _STITCHED.search(own)):
            stitched[file] = place
        else:
            tiles[place].add(bare(part)[1])
    wells = {(place, wells[:k]) for place, of in tiles.items() for wells in (map(_wells, of) if stitched else ())
             for k in range(1, len(wells) + 1)}  # fmt: skip

    def is_beside(file: str, place: tuple) -> bool:
        _, name = bare(parts[file]._replace(rest=_STITCHED.sub("", parts[file].rest)))
        name = re.sub(r"(?: \d+)+$", "", f" {name}".rstrip())
        if found := _wells(name):
            return (place, found) in wells
        said = (f" {tile}" for tile in tiles[place])
        return any(tile.startswith(name) and _TILES.fullmatch(tile[len(name) :]) for tile in said)

    return {file for file, place in stitched.items() if is_beside(file, place)}


def _wells(text: str) -> tuple[str, ...]:
    return tuple(found.replace("0", "", found[1] == "0") for found in WELL.findall(text))


def bare(part: Part) -> tuple[str, str]:
    """Return the folder and the rest of a name less marks and words for several channels: those of a merged picture."""
    return part.folder, re.sub(r"[\W_]+", " ", _MERGED.sub("", part.rest)).strip().casefold()

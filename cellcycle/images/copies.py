"""Find files that are copies of others by their names: in another format, or resized or adjusted for display."""

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

# Words in the name of a picture made from another one, by how much is lost: 0 nothing, 1 little, 2 much.
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
# MIN and MAX count only as Fiji writes them: doses and conditions may be called min and max too.
_BEFORE = re.compile(
    rf"^(?:(?-i:{PROJECTED})|(?:copy (?:\(\d{{1,2}}\) )?of|kopie von|cop(?:ie|ia) de) )(?=.)", re.IGNORECASE
)
# Folders of copies have the same words in their names, or the format.
_FOLDER = {level: re.compile(rf"(?:{made})s?", re.IGNORECASE) for level, made in _MADE.items()}
_OF_FORMAT = re.compile(r"small|tiff?s?|png|jpe?gs?|bmp", re.IGNORECASE)
# "tumour small" need not be a copy of "tumour": the word counts only if the file has less than half the bytes.
_SMALL = re.compile(r"(?<=[^\W_])[ _.-]+small$", re.IGNORECASE)
_SMALLER = 0.5
# Most faithful format first; formats that only some installations can read (1) come after those that all can (0).
_FORMATS = dict.fromkeys((".tif", ".tiff", ".btf", ".tf8", ".stk", ".lsm", ".zarr"), 0)
_FORMATS |= {".png": 2, ".bmp": 3, ".jpg": 4, ".jpeg": 4}
# Words for a picture of several channels, and the ways to list its channels: c1+2 (ZEN), DAPI+GFP ("*" is a stain).
_MERGED = re.compile(
    r"(?<![a-z])(?:merged?|overlays?|composite|c\d(?:\+c?\d)+)(?![a-z])|\*(?: ?\+ ?\*)+", re.IGNORECASE
)
# Pictures stitched from fields, or overviews of them, and the folders of these and of tiles.
_STITCHED = re.compile(r"(?<![a-z])(?:stitch(?:ed|ing)?|montages?|overviews?)(?![a-z])", re.IGNORECASE)
_OF_TILES = re.compile(rf"(?:{_STITCHED.pattern}|tiles?)(?:[ _-]?images?)?", re.IGNORECASE)
# A tile has the name of its stitched picture and numbers after it.
_TILES = re.compile(r"(?: (?:[a-z]{1,5} ?)?\d+)*")


def copies_among(files: Iterable[str]) -> set[str]:
    """Return the files that are copies of others: all files of one origin except the most faithful one.

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
    """Return whether two names differ only in capitals (a.tif, A.tif): these are seldom copies of one picture.

    Two names that differ only in how Unicode writes accents are twins if the files exist and their bytes differ.
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
    """Return the (folder, name) that a file may be a copy of, and a sort key, larger for less faithful copies."""
    # NFC: names from a Mac have letters and accents as separate characters.
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
    """Return the files that combine others, merged channels or stitched tiles; `parts` are the parsed file names."""
    return _merged(parts) | _stitched(parts)


def _merged(parts: dict[str, Part]) -> set[str]:
    """Return the files that show several channels, if files of at least two single channels are beside them."""
    merged = {file for file, part in parts.items() if _MERGED.search(part.rest)}
    channels = defaultdict(set)
    for file, part in parts.items() if merged else ():
        if file not in merged and part.channel != ("", ""):
            channels[bare(part)].add(part.channel)
    return {file for file in merged if len(channels[bare(parts[file])]) > 1}


def _stitched(parts: dict[str, Part]) -> set[str]:
    """Return the stitched pictures with tiles of the same channel beside them, which have the same well or name."""
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
    """Return the folder, and the rest of a name without punctuation and words for merged channels, in small letters."""
    return part.folder, re.sub(r"[\W_]+", " ", _MERGED.sub("", part.rest)).strip().casefold()

"""Find files that are masks of other files beside them, or maps and drawings computed from these."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from cellcycle.errors import ImageError
from cellcycle.images.copies import origin_of
from cellcycle.images.intensities import shows_areas
from cellcycle.images.naming import folders_below
from cellcycle.images.planes import read_numbers

# Words for masks and drawings, which the name of a stained image does not have, and words for masks, which it may have.
_MASKS = r"masks?|masken?|masques?|m[aá]scaras?|maschere|segmentations?|segmentierung"
_DRAWN = r"outlines?|contours?|konturen|umrisse"
_MAYBE = r"labels?|seg|anns?|annots?|annotations?|gt|ground[-_ ]?truths?|instances"
# Also with the words that Cellpose, StarDist, CellProfiler, QuPath, ilastik and others append to an image's name.
MASK_WORD = re.compile(rf"[-_. ]*({_MASKS}|{_MAYBE}|cp|labell?ed|nuclei|nucleus|objects|segmented|stardist|cellpose)$")
_SURE = re.compile(
    rf"[-_. ]*(?:{_MASKS}|{_DRAWN}|segmented|stardist|cellpose|simple[-_ ]segmentation|flows"
    r"|(?:pixel[-_ ]|object[-_ ])?(?:prob(?:s|abilit(?:y|ies))?|predictions|identities)[-_ ]?\d{0,2}"
    r"|cellprob|uncertainty|cp[-_ ]output)$"
)
# Names of folders of masks, with blanks between words. Their files often have the same names as the images.
OUTLINES = re.compile(
    r"((cell|nuclei|nucleus|nuclear|instance|semantic|binary|manual|image|img|cp|train|test) )*"
    rf"({_MASKS}|{_DRAWN}|{_MAYBE})( (images?|imgs?|files?|dir|folder|data|maps?))?"
)
# The name of a mask may include the suffix of its image.
_KIND = re.compile(r"(?:\.ome)?(?:\.(?:tiff?|png))?$")


def masks_among(files: Iterable[str]) -> list[str]:
    """Return the files named like another one plus a word for a mask, or like it but in a folder of masks beside it.

    With a word that a stain may have too, such as nuclei, the file must also show areas of one value.

    Examples
    --------
    >>> masks_among(["a.tif", "a_cp_masks.png", "a_Maske.tif", "a_prob1.tif", "b_mask.tif"])
    ['a_cp_masks.png', 'a_Maske.tif', 'a_prob1.tif']
    >>> masks_among(["p/images/a.tif", "p/masks/a.tif", "p/masks/b.tif", "p/nuclei/a.tif"])
    ['p/masks/a.tif']
    """
    origins = {file: origin_of(file)[0] for file in files}
    below = folders_below(os.path.join(*origin) for origin in origins.values())
    places = {file: (tuple(below[os.path.join(*origin)]), origin[1]) for file, origin in origins.items()}
    known = {folder: dict(_shorter(folder.casefold())) for folders, _ in places.values() for folder in folders}
    of_masks = {folder: ways[""] for folder, ways in known.items() if "" in ways}
    there = {(folders, name) for folders, name in places.values() if of_masks.keys().isdisjoint(folders)}
    # The images may be in a folder of their own too.
    above = there | {(_without(folders, k), name) for folders, name in there if of_masks for k in range(len(folders))}
    found = []
    for file, (folders, name) in places.items():
        ways, images = dict(_shorter(name)), there
        if depths := [k for k, folder in enumerate(folders) if folder in of_masks]:
            is_sure = any(of_masks[folders[k]] for k in depths)
            ways, images, folders = dict.fromkeys([name, *ways], is_sure), above, _without(folders, depths[0])
        said = [is_sure for short, is_sure in ways.items() if (folders, short) in images]
        if any(said) or (said and _shows_areas(file)):
            found.append(file)
    return found


def _without(folders: tuple[str, ...], depth: int) -> tuple[str, ...]:
    return folders[:depth] + folders[depth + 1 :]


def _shorter(name: str) -> Iterator[tuple[str, bool]]:
    """Yield a name without one more of its last words for masks, and whether one removed cannot be a stain's."""
    is_sure = False
    while name:
        made = _SURE.search(name)
        found = made or MASK_WORD.search(name)
        if not found:
            return
        name, is_sure = _KIND.sub("", name[: found.start()]), is_sure or bool(made)
        yield name, is_sure


def _shows_areas(file: str) -> bool:
    with suppress(ImageError):
        return shows_areas(read_numbers(file))
    return False

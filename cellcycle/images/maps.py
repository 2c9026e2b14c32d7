"""Which of many files are masks of others beside them, or maps and drawings that programs made of these."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from cellcycle.errors import ImageError
from cellcycle.images.copies import origin_of
from cellcycle.images.intensities import shows_areas
from cellcycle.images.naming import folders_below
from cellcycle.images.planes import read_numbers

# Ends of the names that Cellpose, StarDist, CellProfiler, QuPath and others give to masks.
MASK_WORD = re.compile(
    r"[-_. ]*(cp|masks?|labels?|labell?ed|nuclei|nucleus|objects|seg|segmented|segmentation|stardist|cellpose)$"
)
# Those that a picture of a stain does not have, with what else Cellpose and ilastik write beside an image.
_MADE = re.compile(
    r"[-_. ]*(?:masks?|masken?|masques?|m[aá]scaras?|maschere|segment(?:ed|ations?|ierung)|stardist|cellpose"
    r"|simple[-_ ]segmentation|flows|outlines|konturen|umrisse"
    r"|(?:pixel[-_ ]|object[-_ ])?(?:prob(?:s|abilit(?:y|ies))?|predictions|identities)[-_ ]?\d{0,2}"
    r"|cellprob|uncertainty|cp[-_ ]output)$"
)
# An image may have its kind in the name of its mask.
_KIND = re.compile(r"(?:\.ome)?(?:\.(?:tiff?|png))?$")


def masks_among(files: Iterable[str]) -> list[str]:
    """Return the files that are called like another one and a mask, or like it in a folder of masks beside its own.

    Words that a stain may have, too, as nuclei, say so where the file shows areas of one value.

    Examples
    --------
    >>> masks_among(["a.tif", "a_cp_masks.png", "a_Maske.tif", "a_prob1.tif", "b_mask.tif"])
    ['a_cp_masks.png', 'a_Maske.tif', 'a_prob1.tif']
    >>> masks_among(["p/images/a.tif", "p/masks/a.tif", "p/masks/b.tif", "p/nuclei/a.tif"])
    ['p/masks/a.tif']
    """
    origins = {file: origin_of(file)[0] for file in files}
    below = folders_below(os.path.join(*origin) for origin in origins.values())
    of_masks, others = {}, {}
    for file, origin in origins.items():
        folders = tuple(below[os.path.join(*origin)])
        ways = list(map(_of_masks, folders))
        depth = next((k for k, way in enumerate(ways) if way), None)
        name = origin[1]
        if depth is None:
            others[file] = folders, name
        else:
            of_masks[file] = _without(folders, depth), name, any(map(any, ways))
    there = set(others.values())
    # The images, too, may lie in a folder of their own.
    above = there | {(_without(folders, k), name) for folders, name in there if of_masks for k in range(len(folders))}
    found = {file for file, (folders, name, is_sure) in of_masks.items()
             if any((folders, short) in above for short in (name, *dict(_shorter(name))))
             and (is_sure or _shows_areas(file))}  # fmt: skip
    for file, (folders, name) in others.items():
        is_sure = [is_sure for short, is_sure in _shorter(name) if (folders, short) in there]
        if any(is_sure) or (is_sure and _shows_areas(file)):
            found.add(file)
    return [file for file in origins if file in found]


def _without(folders: tuple[str, ...], depth: int) -> tuple[str, ...]:
    return folders[:depth] + folders[depth + 1 :]


def _of_masks(folder: str) -> list[bool]:
    """Return for each way to read the name of a folder as one of masks whether its words are none for a stain."""
    return [is_sure for short, is_sure in _shorter(folder.casefold()) if not short]


def _shorter(name: str) -> Iterator[tuple[str, bool]]:
    """Yield a name without its last words for masks, and whether one of these is no word for a stain."""
    is_sure = False
    while name:
        made = _MADE.search(name)
        found = made or MASK_WORD.search(name)
        if not found:
            return
        name, is_sure = _KIND.sub("", name[: found.start()]), is_sure or bool(made)
        yield name, is_sure


def _shows_areas(file: str) -> bool:
    with suppress(ImageError):
        return shows_areas(read_numbers(file))
    return False

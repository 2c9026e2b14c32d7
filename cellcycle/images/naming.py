"""Find the channel in file and folder names, as microscopes and people write it: a number, a stain or a folder."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from cellcycle.images.channels import NUCLEI, by_name, can_be_stain, is_known, says_stain, stain_spans
from cellcycle.images.makers import CHANNEL, DYE, MAYBE_CHANNEL, by_makers, plain
from cellcycle.names import n_alike

_FOLDER = re.compile(rf"(?:w|ch|{CHANNEL})[ _-]?\d{{1,2}}|第\d(?:{CHANNEL})", re.IGNORECASE)
_MOST_FOLDERS = 6  # more numbered folders are wells, weeks or the like
# These number a channel only if nothing else is possible: c1 may also be a well or a condition.
_LONE = re.compile(
    r"(?<!(?i:clone)[_ -])(?<!(?i:coverslip)[_ -])"
    r"(?:^|(?<=[_ ./-])|(?<=[_ .-][st]\d)|(?<=[_ .-][st]\d\d)|(?<=[a-qs-z]\d\d\d))[cC]\d\d?(?=$|[_ ./-])"
)
# A stain followed by the number of a field. A number after these is not a condition, and not described by the stain.
COUNTED = r"\*(?:[_ .-]\d|.*[_ .-](?:Seq)?0\d)\d*[_ .-]"
WELL = re.compile(r"(?<![A-Za-z\d])[A-Pa-p](?:0?[1-9]|1\d|2[0-4])(?![A-Za-z\d])")
_MOST_LONE = 4
_LASERS = {385, 395, 405, 440, 445, 458, 470, 473, 475, 476, 488, 514, 532, 543, 555, 559, 561, 568, 594, 630, 633, 635,
           638, 640, 642, 647, 660, 730, 785}  # fmt: skip
_DYES = {350, 430, 546, 565, 610, 680, 700, 750, 790}
_WAVELENGTH = re.compile(
    rf"(?<![A-Za-z\d.])(?:(?:ex|ch?|w|{MAYBE_CHANNEL}|{CHANNEL})[ _-]?)?(?P<name>(?P<dye>{DYE})?(?P<nm>\d+))"
    r"(?: ?(?:nm|laser)|em\d{3}|-[4-8]\d\d)?(?![A-Za-z\d])", re.IGNORECASE)  # fmt: skip
# A number by itself, or of a channel or z plane, or of an action of CellVoyager.
_TIED = re.compile(r"(?<![A-Za-z\d])[cZz]?\d+(?![A-Za-z\d])|(?<=[LA]\d\d)[AZ]\d\d(?=[Z?])")
_RUN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
# Whole words only: DAPI contains PI.
_NUCLEI = re.compile(rf"(?<![A-Za-z\d])(?:{'|'.join(NUCLEI)})(?![A-Za-z\d])", re.IGNORECASE | re.ASCII)


class Part(NamedTuple):
    """The parsed path of a file: the `folder` shared with the other channels, the `rest`, and the channel.

    In `rest`, "?" stands for the number and "*" for the name of the channel, so that all channels of a field have the
    same. `whole` is the file name with its stains; `below` are its folders below the one that all files share.
    """

    file: str
    folder: str
    rest: str
    whole: str
    below: list[str]
    number: str = ""
    name: str = ""

    @property
    def channel(self) -> tuple[str, str]:
        """Number and name in small letters, as one run may write both DAPI and dapi."""
        return self.number.casefold(), self.name.casefold()

    @property
    def place(self) -> tuple[str, str]:
        """The folder and rest, which all channels of one field share."""
        return self.folder, self.rest

    def from_above(self, depth: int) -> "Part":
        """Return the part with `folder` above the folder at `depth` in `below`, which becomes the start of `rest`."""
        folder = self.folder
        for _ in self.below[depth:]:
            folder = os.path.dirname(folder)
        return self._replace(folder=folder, rest="/".join([*self.below[depth:], self.rest]))

    def less(self, spans: list[tuple[int, int]], sign: str, **said: str) -> "Part":
        """Return the part with a sign in place of spans of its rest, and the fields `said` set."""
        rest = self.rest
        for start, end in reversed(spans):
            rest = rest[:start] + sign + rest[end:]
        return self._replace(rest=rest, **said)


def parts_of(files: Iterable[str]) -> dict[str, Part]:
    """Return the parsed name of each file: by rules of makers, by known stains, and by words in the place of these.

    Examples
    --------
    >>> [part.channel for part in parts_of(["A01_DAPI.tif", "A01_Ki67.tif", "A02_DAPI.tif"]).values()]
    [('', 'dapi'), ('', 'ki67'), ('', 'dapi')]
    """
    below = {file: list(map(plain, folders)) for file, folders in folders_below(files).items()}
    parts = _parts(below)
    if any(map(_NUCLEI.search, below)):
        parts |= _with_nuclei(_parts(below, nuclei=True))
    return parts


def _parts(below: dict[str, list[str]], nuclei: bool = False) -> dict[str, Part]:
    parts = {file: _by_rule(file, folders, nuclei) for file, folders in below.items()}
    for rule in (_by_folder_number, _by_lone_number, _by_wavelength, _in_place_of_dna, _without_tied_numbers):
        parts |= rule(parts)
    return parts


def _with_nuclei(parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of folders that have files of "nuclei" beside files of known stains, and none of a DNA stain."""
    known = {part.place for part in parts.values() if is_known(part.name)}
    of_nuclei = {part.folder for part in parts.values() if part.name.casefold() in NUCLEI and part.place in known}
    of_nuclei -= {part.folder for part in parts.values() if says_stain(part.name)}
    return {file: part for file, part in parts.items() if part.folder in of_nuclei}


def folders_below(files: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of the folders of each file below the deepest folder that all files share."""
    split = {file: os.path.dirname(file).split(os.sep) for file in files}
    n_shared = n_alike(split.values())
    return {file: folders[n_shared:] for file, folders in split.items()}


def _by_rule(file: str, below: list[str], nuclei: bool) -> Part:
    """Return the part by rules of makers and known stains, in the name of the file or of one of its folders."""
    folder, name = os.path.split(file)
    rest, numbers, names = by_makers(plain(os.path.splitext(name)[0]))
    spans = stain_spans(rest, nuclei)
    names += [rest[start:end] for start, end in spans]
    # Nikon counts all pictures of a run; this number does not tell the field.
    rest = re.sub(r"(?<=_)Seq\d{4}$", "Seq", rest)
    part = Part(file, folder, rest, rest, below, " ".join(filter(None, numbers))).less(spans, "*")
    for depth, own in reversed([*enumerate(below)]):
        if not (found := stain_spans(own, nuclei)):
            continue
        above = part.from_above(depth).less(found, "*")
        is_alone = not re.sub(r"[\W\d_]+|channel|stain", "", above.rest.split("/")[0], flags=re.IGNORECASE)
        if is_alone or (len(found) == 1 and not any(names)):
            part, names = above, [*(own[start:end] for start, end in found), *names]
            break
    return part._replace(name=" ".join(filter(None, names)))


def _by_folder_number(parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of files in folders named after the number or laser of a channel, as in `w1/001.tif`."""
    made, numbers, stains = {}, defaultdict(set), defaultdict(set)
    for file, part in parts.items():
        depth = next((k for k, name in enumerate(part.below) if _FOLDER.fullmatch(name) or _is_laser(name)), None)
        if depth is not None and not part.number and "/" not in part.rest:
            own, above = part.below[depth], part.from_above(depth)
            numbers[above.folder].add(own)
            stains[part.place].add(part.name.casefold())
            number, name = ("", _WAVELENGTH.fullmatch(own)["name"]) if _is_laser(own) else (own, part.name)
            made[file] = above.less([(0, len(own))], "*", number=number, name=name)
    # A folder with several stains of one field is not that of a channel.
    wells = {made[file].folder for file in made if len(stains[parts[file].place]) > 1}
    return {file: part for file, part in made.items()
            if 1 < len(numbers[part.folder]) <= _MOST_FOLDERS and part.folder not in wells}  # fmt: skip


def _is_laser(name: str) -> bool:
    return _is_light(_WAVELENGTH.fullmatch(name))


def _is_light(found: re.Match | None) -> bool:
    return found is not None and int(found["nm"]) in (_LASERS | _DYES if found["dye"] else _LASERS)


def _by_lone_number(parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of files or folders numbered c1, c2 and so on, if these can only be channels.

    Wells, conditions and cells have such names too. In a folder with wells a1 and b1, c1 is a well; C1 with a capital
    is a well unless the name or folder has another one. A stain in a name is not that of the numbered channel if the
    number of the field is between them.
    """
    made, places, wells = {}, defaultdict(lambda: defaultdict(set)), set()
    for file, part in parts.items():
        found = _LONE.search(part.rest)
        is_behind = found and re.search(f"{COUNTED}$", part.rest[: found.start()])
        if part.number or (part.name and ("/" in part.rest or not is_behind)):
            continue
        whole = part._replace(rest=part.whole, name="")
        depth = next((k for k, name in enumerate(part.below) if re.fullmatch(r"[A-Pa-p]\d\d?", name)), None)
        if depth is not None and not _LONE.search(whole.rest):
            whole = whole.from_above(depth)
        if found := _LONE.search(whole.rest):
            made[file] = one = whole.less([found.span()], "?", number=found.group())
            is_well = WELL.search(f"{os.path.basename(one.folder)}/{one.rest}")
            places[one.folder][one.rest].add(one.number.lower() if is_well else one.number)
        elif WELL.search(whole.rest) and not re.search(r"[cC]\d\+[cC]?\d", whole.rest):
            wells.add(whole.folder)
    taken = {folder for folder, numbers in places.items() if folder not in wells and _look_like_channels(numbers)}
    return {file: part for file, part in made.items() if part.folder in taken}


def _look_like_channels(numbers: dict[str, set[str]]) -> bool:
    """Return whether the numbers c1, c2, ... of each field are few, count from 0 or 1, and most fields have several."""
    own = set().union(*numbers.values())
    counted = sorted({int(number[1:]) for number in own})
    is_counted = counted[0] < 2 and counted == list(range(counted[0], counted[0] + len(counted)))
    # C1 and c01 may be wells, but no well has the number 0.
    is_no_well = not counted[0] or all(re.fullmatch(r"c\d", number) for number in own)
    are_together = 2 * sum(len(of) > 1 for of in numbers.values()) > len(numbers)
    return is_counted and is_no_well and are_together and len(counted) <= _MOST_LONE


def _by_wavelength(parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of files that differ by their laser: at one place of the names all numbers are wavelengths."""
    candidates, places = [], defaultdict(set)
    for part in parts.values():
        places[part.place].add(part.name)
        for found in () if part.name else _WAVELENGTH.finditer(part.rest):
            lit, is_light = part.less([found.span()], "*", name=found["name"]), _is_light(found)
            places[lit.place].add(lit.name if is_light else int(found["nm"]))
            candidates += [lit] * is_light
    alike = {(folder, _masked(rest)) for (folder, rest), of in places.items()
             if len(of) > 1 and all(isinstance(name, str) for name in of)}  # fmt: skip
    return {part.file: part for part in candidates if (part.folder, _masked(part.rest)) in alike}


def _masked(text: str) -> str:
    """Return a name, or its part before or after a stain, with "#" for wells and numbers, in small letters."""
    return re.sub(r"(?:(?<![A-Za-z])[A-Pa-p])?\d+", "#", text).casefold()


def _in_place_of_dna(parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of files named like one of DNA, but with other words in the place of its stain."""
    places = defaultdict(lambda: defaultdict(set))
    # If there is a stain, a histone names the cells and not the channel, as in H2B_DAPI and H2B_Ki67.
    stained = {part.folder for part in parts.values() if says_stain(part.name)}
    for part in parts.values():
        is_dna = part.folder not in stained or says_stain(part.name)
        for before, after in _places_of_dna(part) if is_dna else ():
            places[part.folder][_masked(before)].add(_masked(after))
    made, bare = {}, defaultdict(dict)
    for file, part in parts.items() if places else ():
        # The words may include a known stain, as in F-actin.
        known = stain_spans(part.whole) if part.name else []
        if "/" in part.rest or (part.name and not known) or says_stain(part.name):
            continue
        above = (part.from_above(depth) for depth in range(len(part.below) - 1, -1, -1))
        for seen in [part._replace(rest=part.whole)] if known else chain([part], above):
            span = _other_words(seen.rest, places[seen.folder], bool(known)) if seen.folder in places else None
            if span:
                spans = sorted([span, *(one for one in known if one[1] <= span[0] or span[1] <= one[0])])
                other = seen.less(spans, "*", name=" ".join(seen.rest[start:end] for start, end in spans))
                (bare[other.channel] if other.rest == "*" and not known else made)[file] = other
                break
    # A name that is only this word is a stain's if it is beside DNA in several folders.
    for of in bare.values():
        made |= of if len(of) > 1 else {}
    return made


def _places_of_dna(part: Part) -> Iterator[tuple[str, str]]:
    """Yield the text before and after the DNA stain in a name, which may have other stains too."""
    if part.rest.count("*") == 1 and by_name([part.name]):
        before, after = part.rest.split("*")
        # Below a folder of the stain, files may have any name.
        yield before, after[: after.index("/") + 1] if "/" in after else after
    elif "/" not in part.rest and says_stain(part.name):
        for start, end in stain_spans(part.whole):
            if says_stain(part.whole[start:end]):
                yield part.whole[:start], part.whole[end:]


def _other_words(text: str, places: dict[str, set[str]], lasers: bool) -> tuple[int, int] | None:
    """Return the (start, end) of the shortest words in a name that are in one of the places of the stain."""
    name, found = text.split("/")[0], []
    runs = list(_RUN.finditer(name))
    for first, run in enumerate(runs):
        afters = places.get(_masked(text[: run.start()]))
        # A bracket may follow the last word.
        for end in [*(last.end() for last in runs[first:]), len(name)] if afters else ():
            after = _masked(name[end:]) + ("/" if len(name) < len(text) else "")
            words = text[run.start() : end]
            if after in afters and (can_be_stain(words) or (lasers and _is_laser(words))):
                found.append((end - run.start(), run.start(), end))
    return min(found)[1:] if found else None


def _without_tied_numbers(parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts without numbers that change with the channel, as in `A1_1_DAPI_001` and `A1_2_GFP_001`."""
    alike = defaultdict(dict)
    for file, part in parts.items():
        if part.channel != ("", "") and "/" not in part.rest:
            alike[part.folder, re.sub(r"\d+", "#", part.rest).casefold()][file] = part
    made = {}
    for of in alike.values():
        of_channel = defaultdict(set)
        for part in of.values():
            of_channel[part.channel].add(tuple(_TIED.findall(part.rest)))
        # A number is tied to the channel if each channel has only one value of it and the values differ.
        columns = [[set(column) for column in zip(*numbers, strict=False)] for numbers in of_channel.values()]
        tied = [k for k, of_each in enumerate(zip(*columns, strict=False))
                if max(map(len, of_each)) == 1 < len(set().union(*of_each))]  # fmt: skip
        for file, part in of.items():
            found = list(_TIED.finditer(part.rest))
            untied = part.less([found[k].span() for k in tied], "?")
            # Something must be left of the name.
            made |= {file: untied} if re.search(r"[A-Za-z\d]", untied.rest) else {}
    return made

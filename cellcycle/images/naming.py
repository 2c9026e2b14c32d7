"""What of the name of a file tells its channel, as microscopes and people write it: a number, a stain, a folder."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cellcycle.images.channels import NUCLEI, by_name, can_be_stain, is_known, says_stain, stain_spans
from cellcycle.images.makers import CHANNEL, DYE, MAYBE_CHANNEL, by_makers, plain
from cellcycle.names import n_alike

_FOLDER = re.compile(rf"(?:w|ch|{CHANNEL})[ _-]?\d{{1,2}}|第\d(?:{CHANNEL})", re.IGNORECASE)
_MOST_FOLDERS = 6  # more are wells, weeks or the like
# These number a channel only if nothing else could be meant: c1 is a well or a condition, too.
_LONE = re.compile(
    r"(?<!(?i:clone)[_ -])(?<!(?i:coverslip)[_ -])"
    r"(?:^|(?<=[_ ./-])|(?<=[_ .-][st]\d)|(?<=[_ .-][st]\d\d)|(?<=[a-qs-z]\d\d\d))[cC]\d\d?(?=$|[_ ./-])"
)
# A stain and the number of a field: what is numbered behind it is neither a condition nor named by the stain.
COUNTED = r"\*(?:[_ .-]\d|.*[_ .-](?:Seq)?0\d)\d*[_ .-]"
WELL = re.compile(r"(?<![A-Za-z\d])[A-Pa-p](?:0?[1-9]|1\d|2[0-4])(?![A-Za-z\d])")
_MOST_LONE = 4
_LASERS = {385, 395, 405, 440, 445, 458, 470, 473, 475, 476, 488, 514, 532, 543, 555, 559, 561, 568, 594, 630, 633, 635,
           638, 640, 642, 647, 660, 730, 785}  # fmt: skip
_DYES = {350, 430, 546, 565, 610, 680, 700, 750, 790}
_WAVELENGTH = re.compile(
    rf"(?<![A-Za-z\d.])(?:(?:ex|ch?|w|{MAYBE_CHANNEL}|{CHANNEL})[ _-]?)?(?P<name>(?P<dye>{DYE})?(?P<nm>\d+))"
    r"(?: ?(?:nm|laser)|em\d{3}|-[4-8]\d\d)?(?![A-Za-z\d])", re.IGNORECASE)  # fmt: skip
# A number by itself, or that of a channel, a plane, or an action of CellVoyager.
_TIED = re.compile(r"(?<![A-Za-z\d])[cZz]?\d+(?![A-Za-z\d])|(?<=[LA]\d\d)[AZ]\d\d(?=[Z?])")
_RUN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
# A whole word: PI is in each DAPI, too.
_NUCLEI = re.compile(rf"(?<![A-Za-z\d])(?:{'|'.join(NUCLEI)})(?![A-Za-z\d])", re.IGNORECASE | re.ASCII)


class Part(NamedTuple):
    """Number and name of the channel of a file, in the folder in which it has its like, and the rest of its path.

    In the rest "?" stands for the number and "*" for the name, so that it is that of all channels of one field. The
    whole is the name of the file with its stains.
    """

    folder: str
    rest: str
    number: str = ""
    name: str = ""
    whole: str = ""

    @property
    def channel(self) -> tuple[str, str]:
        """Number and name, in small letters, for one run writes both DAPI and dapi."""
        return self.number.casefold(), self.name.casefold()


def parts_of(files: Iterable[str]) -> dict[str, Part]:
    """Return the parts of the name of each file: by rules of makers, by known stains, by what stands in their place.

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
    parts |= _by_folder_number(below, parts)
    parts |= _by_lone_number(below, {file: part for file, part in parts.items() if not part.number})
    parts |= _by_wavelength(parts)
    parts |= _in_place_of_dna(below, parts)
    return _without_tied_numbers(parts)


def _with_nuclei(parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of the folders where files of nuclei stand beside those of known stains, and none of DNA."""
    folders, known = defaultdict(dict), defaultdict(set)
    for file, part in parts.items():
        folders[part.folder][file] = part
        known[part.folder, part.rest] |= {part.name.casefold()} if is_known(part.name) else set()
    made = {}
    for of in folders.values():
        if not any(says_stain(part.name) for part in of.values()) and any(
            part.name.casefold() in NUCLEI and known[part.folder, part.rest] for part in of.values()
        ):
            made |= of
    return made


def folders_below(files: Iterable[str]) -> dict[str, list[str]]:
    """Return the folders of each file below that which all share; what is above it says nothing of one file."""
    split = {file: os.path.dirname(file).split(os.sep) for file in files}
    n_shared = n_alike(split.values())
    return {file: folders[n_shared:] for file, folders in split.items()}


def _by_rule(file: str, folders: list[str], nuclei: bool) -> Part:
    """Return the parts by rules of makers and by stains that are known, in the name of the file or of its folder."""
    rest, numbers, names = by_makers(plain(os.path.splitext(os.path.basename(file))[0]))
    spans = stain_spans(rest, nuclei)
    names += [rest[start:end] for start, end in spans]
    if any(names) or "_Channel" in rest:
        # Nikon's number of all pictures of a run says nothing of the field.
        rest = re.sub(r"(?<=_)Seq\d{4}$", "Seq", rest)
    whole, rest = rest, _cut(rest, spans, "*")
    folder = os.path.dirname(file)
    for depth in reversed(range(len(folders))):
        found = stain_spans(name := folders[depth], nuclei)
        is_alone = not re.sub(r"[\W\d_]+|channel|stain", "", _cut(name, found), flags=re.IGNORECASE)
        if found and (is_alone or (len(found) == 1 and not any(names))):
            names = [*(name[start:end] for start, end in found), *names]
            rest = "/".join([_cut(name, found, "*"), *folders[depth + 1 :], rest])
            folder = _up(folder, len(folders) - depth)
            break
    return Part(folder, rest, " ".join(filter(None, numbers)), " ".join(filter(None, names)), whole)


def _cut(text: str, spans: list[tuple[int, int]], instead: str = "") -> str:
    for start, end in spans[::-1]:
        text = text[:start] + instead + text[end:]
    return text


def _up(folder: str, levels: int) -> str:
    for _ in range(levels):
        folder = os.path.dirname(folder)
    return folder


def _by_folder_number(below: dict[str, list[str]], parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of files whose folder is called after the number or laser of a channel, as in `w1/001.tif`."""
    made, numbers, stains = {}, defaultdict(set), defaultdict(set)
    for file, folders in below.items():
        part = parts[file]
        depth = next((k for k, name in enumerate(folders) if _FOLDER.fullmatch(name) or _is_laser(name)), None)
        if depth is not None and not part.number and "/" not in part.rest:
            folder, own = _up(part.folder, len(folders) - depth), folders[depth]
            numbers[folder].add(own)
            stains[os.path.dirname(file), part.rest].add(part.name.casefold())
            number, name = ("", _WAVELENGTH.fullmatch(own)["name"]) if _is_laser(own) else (own, part.name)
            made[file] = Part(folder, "/".join(["*", *folders[depth + 1 :], part.rest]), number, name)
    # A folder that holds several stains of one field is none of a channel.
    wells = {made[file].folder for file in made if len(stains[os.path.dirname(file), parts[file].rest]) > 1}
    return {file: part for file, part in made.items()
            if 1 < len(numbers[part.folder]) <= _MOST_FOLDERS and part.folder not in wells}  # fmt: skip


def _is_laser(name: str) -> bool:
    return _is_light(_WAVELENGTH.fullmatch(name))


def _is_light(found: re.Match | None) -> bool:
    return found is not None and int(found["nm"]) in (_LASERS | _DYES if found["dye"] else _LASERS)


def _by_lone_number(below: dict[str, list[str]], parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of files, or folders, that c1, c2 number, where these look like channels and like nothing else.

    Wells, conditions and cells are called so, too. So a folder with wells a1, b1 has wells c1, and C1 with a capital is
    one unless another well stands beside it. Stains in a name are not its channel where the number of the
    field comes between.
    """
    made, places, wells = {}, defaultdict(lambda: defaultdict(set)), set()
    for file, part in parts.items():
        folder, text, folders = part.folder, part.whole if part.name else part.rest, below[file]
        if part.name:
            found = _LONE.search(part.rest)
            if "/" in part.rest or not found or not re.search(f"{COUNTED}$", part.rest[: found.start()]):
                continue
        depth = next((k for k, name in enumerate(folders) if re.fullmatch(r"[A-Pa-p]\d\d?", name)), None)
        if depth is not None and not _LONE.search(text):
            folder, text = _up(folder, len(folders) - depth), "/".join([*folders[depth:], text])
        if found := _LONE.search(text):
            rest, number = _cut(text, [found.span()], "?"), found.group()
            made[file] = Part(folder, rest, number, whole=part.whole)
            places[folder][rest].add(number.lower() if WELL.search(f"{os.path.basename(folder)}/{rest}") else number)
        elif WELL.search(text) and not re.search(r"[cC]\d\+[cC]?\d", text):
            wells.add(folder)
    taken = {folder for folder, numbers in places.items() if folder not in wells and _look_like_channels(numbers)}
    return {file: part for file, part in made.items() if part.folder in taken}


def _look_like_channels(numbers: dict[str, set[str]]) -> bool:
    """Say whether c1, c2, by the rest of the names, are few, counted from 0 or 1, and together in most fields."""
    own = set().union(*numbers.values())
    counted = sorted({int(number[1:]) for number in own})
    is_counted = counted[0] < 2 and counted == list(range(counted[0], counted[0] + len(counted)))
    # C1 and c01 may be wells, but none is called 0.
    is_no_well = not counted[0] or all(re.fullmatch(r"c\d", number) for number in own)
    are_together = 2 * sum(len(of) > 1 for of in numbers.values()) > len(numbers)
    return is_counted and is_no_well and are_together and len(counted) <= _MOST_LONE


def _by_wavelength(parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of files that lasers tell apart: in one place of a name all numbers are wavelengths."""
    candidates, places = [], defaultdict(set)
    for file, part in parts.items():
        if part.name:
            places[part.folder, part.rest].add(part.name)
        for found in () if part.name else _WAVELENGTH.finditer(part.rest):
            rest = _cut(part.rest, [found.span()], "*")
            places[part.folder, rest].add(found["name"] if _is_light(found) else int(found["nm"]))
            if _is_light(found):
                candidates.append((file, part._replace(rest=rest, name=found["name"])))
    alike = {(folder, _masked(rest)) for (folder, rest), of in places.items()
             if len(of) > 1 and all(isinstance(name, str) for name in of)}  # fmt: skip
    return {file: part for file, part in candidates if (part.folder, _masked(part.rest)) in alike}


def _masked(text: str) -> str:
    return re.sub(r"\d+", "#", text).casefold()


def _place(text: str) -> str:
    """Return what is before or after a stain without the numbers of wells and fields."""
    return re.sub(r"(?:(?<![A-Za-z])[A-Pa-p])?\d+", "#", text).casefold()


def _in_place_of_dna(below: dict[str, list[str]], parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of files that are called like one of DNA but for other words in the place of its stain."""
    places, beside = defaultdict(lambda: defaultdict(set)), set()
    # A histone beside a stain is that of the cells, as in H2B_DAPI and H2B_Ki67.
    stained = {part.folder for part in parts.values() if says_stain(part.name)}
    for part in parts.values():
        is_dna = part.folder not in stained or says_stain(part.name)
        for before, after in _places_of_dna(part) if is_dna else ():
            places[part.folder][_place(before)].add(_place(after))
            beside.add((part.folder, part.rest))
    made, bare = {}, defaultdict(list)
    for file, part in parts.items() if places else ():
        # The words may hold a stain that is known, as in F-actin, unless the file has its place beside DNA already.
        known = stain_spans(part.whole) if part.name else []
        is_beside = (part.folder, part.rest) in beside
        if "/" in part.rest or (part.name and (not known or is_beside)) or says_stain(part.name):
            continue
        for folder, text in [(part.folder, part.whole)] if known else _levels(part, below[file]):
            span = _other_words(text, places[folder], bool(known)) if folder in places else None
            if span:
                spans = sorted([span, *(one for one in known if one[1] <= span[0] or span[1] <= one[0])])
                rest, name = _cut(text, spans, "*"), " ".join(text[start:end] for start, end in spans)
                other = Part(folder, rest, part.number, name, part.whole)
                if rest == "*" and not known:
                    bare[other.channel].append((file, other))
                else:
                    made[file] = other
                break
    # A name that is nothing but this word is one of a stain where several folders hold it beside DNA.
    for of in bare.values():
        made |= dict(of) if len(of) > 1 else {}
    return made


def _places_of_dna(part: Part) -> Iterator[tuple[str, str]]:
    """Yield what stands before and after the stain of DNA in a name, whatever other stains it holds."""
    if part.rest.count("*") == 1 and by_name([part.name]):
        before, after = part.rest.split("*")
        # Below a folder of the stain any files may lie.
        yield before, after[: after.index("/") + 1] if "/" in after else after
    elif "/" not in part.rest and says_stain(part.name):
        for start, end in stain_spans(part.whole):
            if says_stain(part.whole[start:end]):
                yield part.whole[:start], part.whole[end:]


def _levels(part: Part, folders: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the folder of a file and its name, and so for each folder above: its name with all that is below it."""
    yield part.folder, part.rest
    for depth in reversed(range(len(folders))):
        yield _up(part.folder, len(folders) - depth), "/".join([*folders[depth:], part.rest])


def _other_words(text: str, places: dict[str, set[str]], lasers: bool) -> tuple[int, int] | None:
    """Return where in a name other words stand in one of the places of the stain; the fewest that there are."""
    name, found = text.split("/")[0], []
    runs = list(_RUN.finditer(name))
    for first, run in enumerate(runs):
        afters = places.get(_place(text[: run.start()]))
        # The last word may have a bracket behind it.
        for end in [*(last.end() for last in runs[first:]), len(name)] if afters else ():
            after = _place(name[end:]) + ("/" if len(name) < len(text) else "")
            words = text[run.start() : end]
            if after in afters and (can_be_stain(words) or (lasers and _is_laser(words))):
                found.append((end - run.start(), run.start(), end))
    return min(found)[1:] if found else None


def _without_tied_numbers(parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts without the numbers that go with the channel, as in `A1_1_DAPI_001` and `A1_2_GFP_001`."""
    alike = defaultdict(list)
    for file, part in parts.items():
        if part.channel != ("", "") and "/" not in part.rest:
            alike[part.folder, _masked(part.rest)].append(file)
    made = dict(parts)
    for files in alike.values():
        numbers = {file: _TIED.findall(parts[file].rest) for file in files}
        of_channel = defaultdict(set)
        for file in files:
            of_channel[parts[file].channel].add(tuple(numbers[file]))
        # A number is tied if each channel has but one of it, and not all the same.
        tied = [
            k for k in range(min(map(len, numbers.values())))
            if all(len({found[k] for found in of}) == 1 for of in of_channel.values())
            and len({found[k] for of in of_channel.values() for found in of}) > 1
        ]  # fmt: skip
        made |= {file: _without(parts[file], tied) for file in files}
    return made


def _without(part: Part, tied: list[int]) -> Part:
    """Return a part without some of its numbers, unless nothing else is left of its name."""
    found = list(_TIED.finditer(part.rest))
    rest = _cut(part.rest, [found[k].span() for k in tied], "?")
    return part._replace(rest=rest) if re.search(r"[A-Za-z\d]", rest) else part

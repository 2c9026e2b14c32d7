"""Select the files that are fields of the DNA stain, and leave out thumbnails, copies and files of other channels."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import suppress
from functools import reduce
from operator import and_
from pathlib import Path

from cellcycle.errors import ImageError
from cellcycle.images.bounded import read_bounded
from cellcycle.images.channels import IN_NAMES, by_name, is_index, is_of_the_dead, is_of_the_living, says_stain, words
from cellcycle.images.copies import bare, copies_among, put_together
from cellcycle.images.formats import one_line, open_stack
from cellcycle.images.makers import DYE, MAYBE_CHANNEL
from cellcycle.images.naming import COUNTED, Part, parts_of

_THUMBNAIL = re.compile(r"(?:^|[^a-z])thumb(?:nail)?s?(?:$|[^a-z]|[0-9a-f-]{2,}$)", re.IGNORECASE)
# The part of a name that numbers the plane of a stack.
_PLANE = re.compile(
    "|".join((
        r"f\d{2,4}(p\d{2,3})(?=-ch)",  # Opera, Operetta
        r"^\d{6}-\d+-(\d{3})(?=\d{6}$)",  # Columbus
        r"a\d\d(z\d{2,3})(?=c\d\d|$)",  # CellVoyager
        r"c\d\d\d(z\d{3})(?=t\d|[_. -]|$)",  # Olympus
        r"[_ -](z[=_-]?\d{1,5})(?=[_. -]|$)",  # Leica, Bio-Formats, ScanR
        r"(?:(?-i:[A-Z\d])|dapi|hoechst)(z\d{1,4})(?=c\d|[_. -]|$)",  # Nikon, ZEN, and by hand
        r"^(?-i:img_0)\d{8}(?:_.*)?(_\d{3})$",  # Micro-Manager
        r"(?:^|[_ -])((?:plane|z[ _-]?(?:step|slice|plane|stack))[ _=-]?\d{1,5})(?=[_. -]|$)",  # ImageJ
        # Without a field number before it, "slice" may be a slice of tissue.
        r"(?:^|[_ -])(?:pos(?:ition)?|field|site|scene)[ _-]?\d+[_ -](slice[ _-]?\d{3,5})(?=[_. -]|$)",
    )),
    re.IGNORECASE,
)  # fmt: skip
_PLANE_FOLDER = re.compile(r"(?:plane|z(?:[ _-]?(?:step|slice|plane|stack))?)[ _=-]?\d{1,5}", re.IGNORECASE)
# Parts of names that only microscopes write: wells, fields, times, patterns of one maker, or field numbers
# before channel numbers.
_OF_MICROSCOPE = re.compile(
    r"(?:^|(?<=[\W_]))(?:[fstz]\d{1,4}|(?:pos(?:ition)?|field|site|fov|tile|scene|series|time|fld|well)[ _-]?\d+"
    r"|(?-i:(?:[Ww]ell)?[A-P](?:0?[1-9]|1\d|2[0-4])))(?=[\W_]|$)"
    r"|r\d\dc\d\df|f\d{3}l\d\d|--|wv|seq$|_channel|\d{9}|stitched|xy\d+"
    rf"|(?:(?:^|(?<=[\W_]))(?:im(?:a?ge?)?)?0\d\d+[_ .-]|{COUNTED})\?",
    re.IGNORECASE,
)
# Field number of ArrayScan or EVOS, right before the channel. The 0 excludes years such as 2023.
_BEFORE_CHANNEL = re.compile(r"(?:f\d{2,4}|_0\d{3}_)\?$", re.IGNORECASE)
# Weeks, chambers and lots have numbers like channels.
_WEEK = re.compile(rf"(?:w|ch[ _=:.-]?|{MAYBE_CHANNEL})[1-9]\d?", re.IGNORECASE)
# Files beside the images in which ImageXpress and Harmony name the channels.
_STATED = (
    ("*.HTD", re.compile(rb'"WaveName(\d+)",\s*"([^"]*)"'), "w"),
    ("Index*.xml", re.compile(rb'(?s)ChannelID(?:="|>)(\d+)(?:(?!ChannelID).){0,3000}?<ChannelName>([^<]*)<'), "ch"),
)
_BY_ITSELF = re.compile(r"(?:^|_)\*(?:_|$)|\(\*\)")
# Wavelengths of lasers and antibody dyes; no cell line is named after one.
_LIGHT = re.compile(rf"(?:{DYE})?\d+$", re.IGNORECASE)
_MOST_BYTES = 30_000_000
Channel = tuple[str, str]
# Verdicts on a file. Fields are kept, unclear files get an error, all others are left out.
_FIELD, _UNCLEAR = "a field", "not clear"
_THUMBNAILS, _OTHERS, _COPIES = "thumbnails", "files of other channels", "copies"


def fields_of(
    files: list[str | ImageError], settled: Collection[str] = ()
) -> tuple[list[str | ImageError], dict[str, list[str]]]:
    """Return the files that are fields of the DNA stain, and the files that are left out, by their kind.

    If files are channels of the same fields and nothing says which one is DNA, or planes of the same stacks, one
    `ImageError` replaces them. The user has declared the `settled` files as fields.
    """
    out = no_fields([file for file in files if isinstance(file, str)], settled)
    told = {what: [file for file in files if out.get(file) == what] for what in (_THUMBNAILS, _OTHERS, _COPIES)}
    kept = dict.fromkeys(out.get(file, file) for file in files if out.get(file) not in told)
    return list(kept), {what: of for what, of in told.items() if of}


def no_fields(named: list[str], settled: Collection[str] = ()) -> dict[str, str | ImageError]:
    """Return the files that are no fields, with the kind of each or the error that replaces it, as in `fields_of`."""
    out: dict[str, str | ImageError] = dict.fromkeys(filter(_is_thumbnail, named), _THUMBNAILS)
    if len(out) == len(named):
        return {}
    whole = [file for file in named if file not in out]
    copies = copies_among(whole).difference(settled)
    parts = parts_of([file for file in whole if file not in copies])
    together = put_together(parts)
    merged = {bare(parts[file]) for file in together}
    out |= dict.fromkeys(copies | together.difference(settled), _COPIES)
    # People write both A01 and a01 for one well.
    spelt: dict[tuple, str] = {}
    parts = {file: part._replace(rest=spelt.setdefault((part.folder, part.rest.casefold()), part.rest))
             for file, part in parts.items() if file not in out}  # fmt: skip
    out |= _no_fields(parts, merged, settled)
    return out | _planes([file for file in named if file not in out], settled)


def _is_thumbnail(file: str) -> bool:
    path = Path(file)
    return bool(_THUMBNAIL.search(path.stem) or path.parent.name.lower() in ("thumbs", "thumbnails"))


def _no_fields(
    parts: dict[str, Part], merged: set[tuple[str, str]], settled: Collection[str]
) -> dict[str, str | ImageError]:
    """Return the files of other channels, and for unclear ones the error that replaces them.

    Files beside a picture `merged` from them, given as its folder and bare name, are certainly channels.
    """
    places = defaultdict(lambda: defaultdict(dict))
    for part in parts.values():
        places[part.folder][part.rest].setdefault(part.channel, part)
    out = {}
    for folder, fields in places.items():
        stated = _stated(folder, fields)
        certain = {part.rest for of in fields.values() for part in of.values() if merged and bare(part) in merged}
        judged = _judge(fields, stated, certain)
        asked = {_number(part): part.file for field in fields.values() if len(field) > 1
                 for part in field.values() if not part.name}  # fmt: skip
        told = {number: _in_header(file) for number, file in asked.items() if number and not stated.get(number)}
        says_dna = [bool(by_name([name])) for name in told.values() if name]
        # Headers count only if they differ: files of one stain, such as weeks, state all DNA or nothing.
        is_unclear = _UNCLEAR in judged.values()
        if (says_dna and not all(says_dna)) or (is_unclear and 0 < len(says_dna) < len(told)):
            judged = _judge(fields, stated | told, certain)
        unclear = {channel: fields[rest][channel] for (rest, channel), what in judged.items() if what == _UNCLEAR}
        error = _unknown(folder, dict(sorted(unclear.items()))) if unclear else None
        out |= {(folder, *key): error if what == _UNCLEAR else what for key, what in judged.items()}
    whats = {file: out[*part.place, part.channel] for file, part in parts.items()}
    return {file: what for file, what in whats.items()
            if what == _OTHERS or (isinstance(what, ImageError) and file not in settled)}  # fmt: skip


def _judge(
    fields: dict[str, dict[Channel, Part]], stated: dict[str, str], certain: set[str]
) -> dict[tuple[str, Channel], str]:
    """Return the verdict on each file of a folder, by the rest of its name and its channel; each field is judged alone.

    If one field is unclear, another one helps: a channel that is not DNA there is not DNA here. `stated` are names of
    channels by number; `certain` are the rests of names that are certainly those of channels.
    """
    names = {channel: part.name or stated.get(_number(part), "")
             for field in fields.values() for channel, part in field.items()}  # fmt: skip
    plain = {channel for channel, name in names.items() if says_stain(name)}
    several = {rest: field for rest, field in fields.items() if len(field) > 1}
    dna = {rest: _dna_of({channel: names[channel] for channel in field}) for rest, field in several.items()}
    others = {channel for rest, field in several.items() if dna[rest] for channel in field.keys() - dna[rest]}
    # A histone is not the DNA channel if other fields have it beside a stain.
    dna = {rest: {channel for channel in of if channel in plain or channel not in others} for rest, of in dna.items()}
    taken = plain.union(*dna.values())
    unsure = {rest for rest, field in several.items() if not dna[rest] and (plain | others).isdisjoint(field)}
    may_be_clear = not plain and not any(stated.values()) and unsure.isdisjoint(certain)
    is_clear = may_be_clear and _are_conditions([several[rest] for rest in sorted(unsure)])
    made = {}
    for rest, field in several.items():
        for channel in field:
            if dna[rest]:
                made[rest, channel] = _FIELD if channel in dna[rest] else _OTHERS
            elif rest in unsure:
                made[rest, channel] = _FIELD if is_clear else _UNCLEAR
            elif not plain.isdisjoint(field):
                made[rest, channel] = _FIELD if rest not in certain and _are_weeks(rest, field) else _UNCLEAR
            else:
                made[rest, channel] = _FIELD if channel in taken else _OTHERS
    unclear = {channel for (_, channel), what in made.items() if what == _UNCLEAR}
    for rest, field in fields.items():
        for channel in field if rest not in several else ():
            is_other = channel in others and channel not in taken
            made[rest, channel] = _OTHERS if is_other else _UNCLEAR if channel in unclear - taken else _FIELD
    return made


def _dna_of(names: dict[Channel, str]) -> set[Channel]:
    """Return the channel of a field that is named after a DNA stain, or several if each is that of different cells."""
    keys, said = list(names), [Counter(words(name)) for name in names.values()]
    # A word that all channels of a field have does not name the channel, as in H2B-GFP_DAPI and H2B-GFP_GFP.
    shared = reduce(and_, said)
    for told in ([of - shared for of in said], said):
        texts = [" ".join(of.elements()) for of in told]
        plain = [k for k, text in enumerate(texts) if says_stain(text)]
        if told is not said and not plain and any(map(says_stain, names.values())):
            continue
        if len(plain) > 1 and _have_own_cells(told, plain):
            return {keys[k] for k in plain}
        candidates = plain if any(not is_of_the_dead(texts[k]) for k in plain) else range(len(keys))
        found = [candidates[k] for k in by_name([texts[k] for k in candidates])] or plain
        if len(found) == 1:
            return {keys[found[0]]}
    return set()


def _have_own_cells(told: list[Counter], plain: list[int]) -> bool:
    """Return whether DNA channels are of different cells, as in red_DAPI, red_GFP, blue_DAPI, blue_GFP."""
    cells = [Counter({word: n for word, n in told[k].items() if not says_stain(word)}) for k in plain]
    are_told_apart = all(cells) and len({frozenset(of.items()) for of in cells}) == len(cells)
    return are_told_apart and all(any(own <= of for own in cells) for of in told)


def _are_weeks(rest: str, field: dict[Channel, Part]) -> bool:
    """Return whether files of one stain are days, weeks or chambers numbered like channels, as in mouse1_DAPI_w8."""
    is_one_stain = len({name for _, name in field}) == 1 and not _OF_MICROSCOPE.search(rest)
    return _are_days(field) or (is_one_stain and all(_WEEK.fullmatch(number) for number, _ in field))


def _are_days(field: dict[Channel, Part]) -> bool:
    """Return whether files are days numbered as d1, d3: channels are d0, d1 and so on, or follow the field number."""
    numbers = sorted(number.lower() for number, _ in field)
    if any(_BEFORE_CHANNEL.search(part.rest) for part in field.values()):
        return False
    return all(re.fullmatch(r"d\d", n) for n in numbers) and numbers != [f"d{k}" for k in range(len(numbers))]


def _are_conditions(fields: list[dict[Channel, Part]]) -> bool:
    """Return whether names without a DNA stain may also be those of cell lines, conditions, weeks or chambers."""
    parts = [part for field in fields for part in field.values()]
    if fields and all(map(_are_days, fields)):
        return True
    if not parts or any("/" in part.rest or _OF_MICROSCOPE.search(part.rest) for part in parts):
        return False
    if any(part.number for part in parts):
        return all(
            _WEEK.fullmatch(part.number) and not part.name and re.search(r"[a-z]", part.rest, re.IGNORECASE)
            for part in parts
        )
    if any(_LIGHT.match(part.name) or "nm" in words(part.name) or is_of_the_living(part.name) for part in parts):
        return False
    # Cells are seldom named after three dyes or colours. ImageJ writes colours of channels in brackets.
    dyes = [[part for part in field.values() if part.name.lower() in IN_NAMES and _BY_ITSELF.search(part.rest)]
            for field in fields]  # fmt: skip
    return 2 * sum(len(of) > 2 for of in dyes) <= len(fields)


def _number(part: Part) -> str:
    return re.sub(r"(?<=[a-z])0+(?=\d)", "", part.number.lower())


def _in_header(file: str) -> str:
    """Return the channel name in the header of a file with one channel, "" if there is none."""
    with suppress(ImageError), one_line(file):
        return read_bounded(_only_name, file)
    return ""


def _only_name(path: str) -> str:
    with open_stack(path) as stack:
        return "" if stack.n_channels > 1 or is_index(stack.channel_names[0]) else stack.channel_names[0]


def _stated(folder: str, fields: dict[str, dict[Channel, Part]]) -> dict[str, str]:
    """Return the channel names stated in files beside the images, by channel number; unlike names are left out.

    Files up to two folders above count if image names begin like them: ImageXpress writes TimePoint_1/ZStep_1.
    """
    stated, here = defaultdict(set), Path(folder).absolute()
    is_numbered = any(part.number for field in fields.values() for part in field.values())
    for place in [here, *here.parents][:3] if is_numbered and any(len(field) > 1 for field in fields.values()) else ():
        for pattern, entry, prefix in _STATED:
            files = sorted(place.glob(pattern))
            own = [file for file in files if place == here or any(rest.startswith(file.stem) for rest in fields)]
            for file in own[:3]:
                if file.is_file() and file.stat().st_size <= _MOST_BYTES:
                    for number, name in entry.findall(file.read_bytes()):
                        stated[f"{prefix}{int(number)}"].add(name.decode("utf-8", "replace"))
    return {number: names.pop() for number, names in stated.items() if len(names) == 1}


def _unknown(folder: str, channels: dict[Channel, Part]) -> ImageError:
    parts = {" ".join(filter(None, (part.number, part.name))): part for part in channels.values()}
    told = next((told for told in parts if by_name([told])), next(iter(parts)))
    in_folders = any("/" in part.rest for part in channels.values())
    part = parts[told]
    first = part.number if len({part.name for part in channels.values()}) == 1 and part.number else part.name or told
    # Columbus's field and plane numbers look like the channel number, which is the last one.
    end = ".*" if first.isdigit() and any(part.number for part in channels.values()) else "*"
    some = os.path.join(folder, first, "*") if in_folders else os.path.join(folder, f"*{first}{end}")
    finding = f"its files are the channels {', '.join(parts)} of the same fields, and nothing says which one is DNA"
    remedy = f"give only the files of the DNA stain, such as '{some}'"
    return ImageError(folder or ".", finding, f"{remedy}, or if all are fields, name each in the column image of a map")


def _planes(files: list[str], settled: Collection[str]) -> dict[str, ImageError]:
    """Return, for files that are several planes of the same stacks, the error of their folder that replaces them."""
    numbered = {file: found for file in files if (found := _plane(file))}
    stacks = defaultdict(lambda: defaultdict(set))
    for folder, rest, number in numbered.values():
        stacks[folder][rest].add(number)
    highest = {folder: max(of.items(), key=lambda stack: len(stack[1])) for folder, of in stacks.items()}
    errors = {folder: _stack(folder, sorted(numbers), "/" in rest)
              for folder, (rest, numbers) in highest.items() if len(numbers) > 1}  # fmt: skip
    return {file: errors[folder] for file, (folder, *_) in numbered.items() if folder in errors and file not in settled}


def _plane(file: str) -> tuple[str, str, str] | None:
    """Return the folder of a stack, the name of its files with "*" for the plane number, and that number; else None."""
    folder, name = os.path.split(file)
    stem, suffix = os.path.splitext(name)
    if found := _PLANE.search(stem):
        start, end = found.span(found.lastindex)
        return folder, f"{stem[:start]}*{stem[end:]}{suffix}", stem[start:end]
    above, last = os.path.split(folder)
    return (above, f"*/{name}", last) if _PLANE_FOLDER.fullmatch(last) else None


def _stack(folder: str, numbers: list[str], in_folders: bool) -> ImageError:
    one = numbers[len(numbers) // 2]
    some = os.path.join(folder, one, "*") if in_folders else os.path.join(folder, f"*{one}*")
    said = ", ".join(numbers[:6])
    finding = f"its files are the planes {said} of the same stacks, so that each nucleus would count several times"
    return ImageError(folder or ".", finding, f"give the sharpest plane of each, such as '{some}', or projections")

"""Which of many files are fields: no thumbnails, no copies, and of the files of one field that of the DNA stain."""

import os
import re
from collections import defaultdict
from pathlib import Path

from cellcycle.errors import ImageError
from cellcycle.images.channels import by_name, words
from cellcycle.images.copies import without_copies
from cellcycle.images.naming import Part, parts_of

_THUMBNAIL = re.compile(r"(?:^|[^a-z])thumb(?:nail)?s?(?:$|[^a-z]|[0-9a-f-]{2,}$)", re.IGNORECASE)
# The part of a path that numbers the plane of a stack.
_PLANE = re.compile(
    "|".join((
        r"(?<=f\d\d)p\d\d(?=-ch)",  # Opera, Operetta
        r"(?<=a\d\d)z\d\d(?=c\d\d|$)",  # CellVoyager
        r"(?<=c\d\d\d)z\d{3}(?=t\d|[_. -]|$)",  # Olympus
        r"(?<=[_ -])z[=_-]?\d{1,5}(?=[_. -]|$)",  # Leica, Bio-Formats, ScanR
        r"(?:(?-i:(?<=[A-Z\d]))|(?<=dapi)|(?<=hoechst))z\d{1,4}(?=c\d|[_. -]|$)",  # Nikon, ZEN, and by hand
        r"(?:^|(?<=[_ -]))(?:slice|plane|z[ _-]?(?:slice|plane|stack))[ _=-]?\d{1,5}(?=[_. -]|$)",  # ImageJ
    )),
    re.IGNORECASE,
)  # fmt: skip
_PLANE_FOLDER = re.compile(r"(?:z|slice|plane)[ _=-]?\d{1,5}", re.IGNORECASE)
# Files beside the images in which ImageXpress and Harmony name the channels.
_STATED = (
    ("*.HTD", re.compile(rb'"WaveName(\d+)",\s*"([^"]*)"'), "w"),
    (
        "Index*.xml",
        re.compile(rb'ChannelID(?:="|>)(\d+)(?:(?!ChannelID).){0,3000}?<ChannelName>([^<]*)<', re.DOTALL),
        "ch",
    ),
)
_MOST_BYTES = 30_000_000
Channel = tuple[str, str]


def fields_of(files: list[str | ImageError]) -> tuple[list[str | ImageError], dict[str, list[str]]]:
    """Return the files that are fields of the DNA stain, and which were left out as what.

    Where files are channels of the same fields and nothing says which is DNA, an error stands in place of them; so it
    does where they are planes of the same stacks.
    """
    named = [file for file in files if isinstance(file, str)]
    thumbnails = set(filter(_is_thumbnail, named))
    if len(thumbnails) == len(files):
        return list(files), {}
    kept, copies = without_copies(file for file in named if file not in thumbnails)
    parts = parts_of(kept)
    several, dna = _channels(parts)
    fields: list[str | ImageError] = []
    refused: set[str] = set()
    others = []
    for file in files:
        if isinstance(file, ImageError):
            fields.append(file)
        elif file in parts:
            folder, channel = parts[file].folder, parts[file].channel
            if channel not in several[folder] or channel in dna.get(folder, ()):
                fields.append(file)
            elif folder in dna:
                others.append(file)
            elif folder not in refused:
                refused.add(folder)
                fields.append(_unknown(folder, several[folder]))
    left_out = {"thumbnails": [file for file in files if file in thumbnails],
                "files of other channels": others, "copies": copies}  # fmt: skip
    return _without_planes(fields), {what: of for what, of in left_out.items() if of}


def _is_thumbnail(file: str) -> bool:
    path = Path(file)
    return bool(_THUMBNAIL.search(path.stem) or path.parent.name.lower() in ("thumbs", "thumbnails"))


def _channels(parts: dict[str, Part]) -> tuple[dict[str, dict[Channel, Part]], dict[str, set[Channel]]]:
    """Return, by folder, the channels that some field has beside another one, and which of them are of DNA if known."""
    places = defaultdict(lambda: defaultdict(dict))
    for part in parts.values():
        places[part.folder][part.rest].setdefault(part.channel, part)
    several, dna = defaultdict(dict), {}
    for folder, of in places.items():
        fields = [{channel: part for channel, part in found.items() if channel != ("", "")}
                  for found in of.values() if len(found) > 1]  # fmt: skip
        for found in fields:
            several[folder] |= found
        several[folder] = dict(sorted(several[folder].items()))
        stains = _dna_of(folder, several[folder], fields)
        if stains:
            dna[folder] = stains
    return several, dna


def _dna_of(folder: str, channels: dict[Channel, Part], fields: list[dict[Channel, Part]]) -> set[Channel]:
    """Return the channels that are named after a DNA stain, by their files or a file beside them; none if not clear."""
    if not channels:
        return set()
    stated = _stated(folder) if any(number for number, _ in channels) else {}
    names = {
        channel: part.name or stated.get(re.sub(r"(?<=[a-z])0+(?=\d)", "", part.number.lower()), "")
        for channel, part in channels.items()
    }
    keys = list(channels)
    found = {keys[k] for k in by_name(list(names.values()))}
    # Several stains of DNA are clear where each has fields of its own.
    if found and all(len(found & field.keys()) < 2 for field in fields):
        return found
    # A word that all channels of a field have is no stain of this one, as in GFP-cells_DAPI and GFP-cells_RFP.
    found = set()
    for field in fields:
        shared = set.intersection(*(set(words(names[channel])) for channel in field))
        left = [" ".join(word for word in words(names[channel]) if word not in shared) for channel in field]
        stains = by_name(left)
        if not shared or len(stains) != 1:
            return set()
        found.add(list(field)[stains[0]])
    return found


def _stated(folder: str) -> dict[str, str]:
    """Return what files beside the images say the channels are, by their number."""
    stated = {}
    for pattern, entry, prefix in _STATED:
        for file in sorted(Path(folder or ".").glob(pattern))[:3]:
            if file.is_file() and file.stat().st_size <= _MOST_BYTES:
                for number, name in entry.findall(file.read_bytes()):
                    stated[f"{prefix}{int(number)}"] = name.decode("utf-8", "replace")
    return stated


def _unknown(folder: str, channels: dict[Channel, Part]) -> ImageError:
    told = [" ".join(filter(None, (part.number, part.name))) for part in channels.values()]
    first = told[next(iter(by_name(told)), 0)]
    in_folders = any("/" in part.rest for part in channels.values())
    some = os.path.join(folder, first, "*") if in_folders else os.path.join(folder, f"*{first}*")
    finding = f"its files are the channels {', '.join(told)} of the same fields, and nothing says which one is DNA"
    return ImageError(folder or ".", finding, f"name the files of the DNA stain alone, such as '{some}'")


def _without_planes(fields: list[str | ImageError]) -> list[str | ImageError]:
    """Put an error in place of the files of each folder that are several planes of the same stacks."""
    numbered = {file: found for file in fields if isinstance(file, str) and (found := _plane(file))}
    stacks = defaultdict(lambda: defaultdict(set))
    for folder, rest, number in numbered.values():
        stacks[folder][rest].add(number)
    planes = {folder: sorted(max(of.values(), key=len)) for folder, of in stacks.items()}
    made, refused = [], set()
    for file in fields:
        folder = numbered[file][0] if file in numbered else None
        if len(planes.get(folder, ())) < 2:
            made.append(file)
        elif folder not in refused:
            refused.add(folder)
            made.append(_stack(folder, planes[folder], os.path.dirname(file) != folder))
    return made


def _plane(file: str) -> tuple[str, str, str] | None:
    """Return the folder of a stack, the name of its files without the number of the plane, and that number."""
    folder, name = os.path.split(file)
    stem, suffix = os.path.splitext(name)
    found = _PLANE.search(stem)
    if found:
        return folder, f"{stem[: found.start()]}*{stem[found.end() :]}{suffix}", found.group()
    above, last = os.path.split(folder)
    return (above, name, last) if _PLANE_FOLDER.fullmatch(last) else None


def _stack(folder: str, numbers: list[str], in_folders: bool) -> ImageError:
    one = numbers[len(numbers) // 2]
    some = os.path.join(folder, one, "*") if in_folders else os.path.join(folder, f"*{one}*")
    said = ", ".join(numbers[:6])
    finding = f"its files are the planes {said} of the same stacks, which would count each nucleus anew"
    return ImageError(folder or ".", finding, f"give the sharpest plane of each, such as '{some}', or projections")

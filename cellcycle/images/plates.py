"""Which of many files are fields: not thumbnails, nor the files of other stains or planes, as microscopes write."""

import os
import re
from collections import defaultdict
from pathlib import Path

from cellcycle.errors import ImageError
from cellcycle.images.channels import by_name, says_stain

_THUMBNAIL = re.compile(r"(?:^|[^a-z])thumb(?:nail)?s?(?:$|[^a-z]|[0-9a-f-]{2,}$)", re.IGNORECASE)
_GUID = re.compile(r"[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}$", re.IGNORECASE)
# The part of a name that numbers or names the channel.
_CHANNEL = re.compile(
    "|".join((
        r"(?<=_)w\d{1,2}(?P<metamorph>[a-z][^_]*)?(?=_|$)",  # ImageXpress, MetaMorph
        r"(?<![a-z])ch\d{1,2}(?=sk\d|[_. -]|$)",  # Opera, Operetta, Columbus, Leica
        r"(?<=z\d\d)c\d\d$",  # CellVoyager
        r"(?<=f\d\d)d\d$",  # ArrayScan
        r"(?<=\d--)(?P<scanr>[^-]*[a-z][^-]*(?:-[^-]+)*)$",  # ScanR
        r"(?<=wv )(?P<incell>[^)]+)(?=\))",  # InCell
        r"^c\d(?=-)",  # ImageJ
        r"(?<![a-z])c=\d{1,2}(?=[_. -]|$)",  # Bio-Formats
    )),
    re.IGNORECASE,
)  # fmt: skip
# The part that numbers the plane of a stack.
_PLANE = re.compile(
    "|".join((
        r"(?<=f\d\d)p\d\d(?=-ch)",  # Opera, Operetta
        r"(?<=a\d\d)z\d\d(?=c\d\d|$)",  # CellVoyager
        r"(?<=[_ -])z=?\d{1,5}(?=[_. -]|$)",  # Leica, Bio-Formats, ScanR
    )),
    re.IGNORECASE,
)  # fmt: skip
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


def fields_of(files: list[str | ImageError]) -> tuple[list[str | ImageError], dict[str, int]]:
    """Return the files that are fields of the DNA stain, and how many were left out as what.

    Where files are channels of the same fields and nothing says which is DNA, an error stands in place of them; so it
    does where they are planes of the same stacks.
    """
    kept = [file for file in files if isinstance(file, ImageError) or not _is_thumbnail(file)]
    left_out = {"thumbnails": len(files) - len(kept)}
    if not kept:
        return list(files), {}
    places, channels = defaultdict(set), {file: _parted(file) for file in kept if isinstance(file, str)}
    for folder, rest, channel in channels.values():
        places[folder, rest].add(channel)
    several = defaultdict(set)
    for (folder, _), found in places.items():
        if len(found) > 1:
            several[folder] |= found - {("", "")}
    fields: list[str | ImageError] = []
    refused = set()
    stain = {folder: _stain(folder, sorted(found)) for folder, found in several.items()}
    for file in kept:
        if isinstance(file, ImageError):
            fields.append(file)
            continue
        folder, _, channel = channels[file]
        if channel not in several[folder] or channel == stain[folder]:
            fields.append(file)
        elif stain[folder] is None and folder not in refused:
            refused.add(folder)
            fields.append(_unknown(folder, sorted(several[folder])))
    fields = _without_planes(fields)
    left_out["files of other channels"] = sum(
        channel in several[folder] and stain[folder] not in (None, channel) for folder, _, channel in channels.values()
    )
    return fields, {what: n for what, n in left_out.items() if n}


def _without_planes(fields: list[str | ImageError]) -> list[str | ImageError]:
    """Put an error in place of the files of each folder that are several planes of the same stacks."""
    numbered = {file: _PLANE.search(Path(file).stem) for file in fields if isinstance(file, str)}
    stacks = defaultdict(lambda: defaultdict(set))
    for file, found in numbered.items():
        if found:
            folder, name = os.path.split(file)
            stacks[folder][name[: found.start()], name[found.end() :]].add(found.group())
    planes = {folder: sorted(max(of.values(), key=len)) for folder, of in stacks.items()}
    made, refused = [], set()
    for file in fields:
        folder = os.path.dirname(file) if numbered.get(file) else None
        if len(planes.get(folder, ())) < 2:
            made.append(file)
        elif folder not in refused:
            refused.add(folder)
            made.append(_stack(folder, planes[folder]))
    return made


def _stack(folder: str, numbers: list[str]) -> ImageError:
    some = os.path.join(folder, f"*{numbers[len(numbers) // 2]}*")
    said = ", ".join(numbers[:6])
    finding = f"its files are the planes {said} of the same stacks, which would count each nucleus anew"
    return ImageError(folder or ".", finding, f"give the sharpest plane of each, such as '{some}', or projections")


def _is_thumbnail(file: str) -> bool:
    path = Path(file)
    return bool(_THUMBNAIL.search(path.stem) or path.parent.name.lower() in ("thumbs", "thumbnails"))


def _parted(file: str) -> tuple[str, str, tuple[str, str]]:
    """Return the folder of a file, its name without what tells its channel, and number and name of the channel."""
    folder, name = os.path.split(file)
    stem, suffix = os.path.splitext(name)
    rest, numbers, names = _GUID.sub("", stem), [], []
    for found in list(_CHANNEL.finditer(rest))[::-1]:
        named = next(filter(None, found.groups()), "")
        numbers.insert(0, found.group().removesuffix(named))
        names.insert(0, named)
        rest = rest[: found.start()] + "*" + rest[found.end() :]
    for found in list(re.finditer(r"[A-Za-z0-9]+", rest))[::-1]:
        if says_stain(found.group()):
            names.insert(0, found.group())
            rest = rest[: found.start()] + "*" + rest[found.end() :]
    return folder, rest + suffix.lower(), (" ".join(filter(None, numbers)), " ".join(filter(None, names)))


def _stain(folder: str, channels: list[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the channel that is named after a DNA stain, by its files or a file beside them; None where none is."""
    stated = {}
    for pattern, entry, prefix in _STATED:
        for file in sorted(Path(folder or ".").glob(pattern))[:3]:
            if file.is_file() and file.stat().st_size <= _MOST_BYTES:
                for number, name in entry.findall(file.read_bytes()):
                    stated[f"{prefix}{int(number)}"] = name.decode("utf-8", "replace")
    names = [name or stated.get(re.sub(r"(?<=[a-z])0+(?=\d)", "", number.lower()), "") for number, name in channels]
    found = by_name(names)
    return channels[found[0]] if len(found) == 1 else None


def _unknown(folder: str, channels: list[tuple[str, str]]) -> ImageError:
    told = [" ".join(filter(None, channel)) for channel in channels]
    some = os.path.join(folder, f"*{told[0]}*")
    finding = f"its files are the channels {', '.join(told)} of the same fields, and nothing says which one is DNA"
    return ImageError(folder or ".", finding, f"name the files of the DNA stain alone, such as '{some}'")

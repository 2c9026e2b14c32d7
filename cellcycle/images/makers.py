"""By which rules the makers of microscopes number the channel in the name of a file, or name it."""

import re

_GUID = re.compile(r"(?:[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12})?(?:\.ome)?$", re.IGNORECASE)
# What Fiji writes before the name of a projection.
PROJECTED = r"(?:MAX|MIN|AVG|SUM|STD|MED)_"
# The part of a name that numbers the channel, or names it, by the rules of makers, which mean nothing else.
_NUMBERED = [re.compile(pattern, re.IGNORECASE) for pattern in (
    r"(?<=_)(?P<number>w\d{1,2})(?P<name>[a-z][^_]*)?(?=_|$)",  # ImageXpress, MetaMorph
    r"(?<![a-z])(?P<number>ch\d{1,2})(?P<name>)(?=sk\d|[_. -]|$)",  # Opera, Operetta, Columbus, Leica, Keyence
    r"(?<![a-z])(?P<number>chan(?:nel)?[ _-]?\d{1,3})(?P<name>)(?=[_. -]|$)",  # Micro-Manager
    # Nikon, CellVoyager, Fiji's sequences of stacks
    r"(?:xy\d+(?:t\d+)?|z\d+(?:_(?=c\d+_t\d))?|t\d+_z\d+_(?=c\d{3}))(?P<number>c\d{1,4})(?P<name>)(?=[_. tz-]|$)",
    r"(?:^|[_ -])(?:[bhirstvz]\d{1,4})*(?P<number>c\d{1,2})(?P<name>)(?=(?:[hmtxyz]\d[\d-]*)*(?:_ORG$|y\d+-\d))",  # ZEN
    r"(?<![a-z])(?P<number>C\d{3})(?P<name>)(?=[ZT]\d{3})",  # Olympus
    r"(?<=--)(?P<number>C\d\d)(?P<name>)(?=--|$)",  # Leica's screens
    r"(?:f\d{2,4}|(?<=_\d{4}_))(?P<number>d\d)(?P<name>)$",  # ArrayScan, EVOS
    r"^\d{6}-\d+-\d{6}(?P<number>\d{3})(?P<name>)$",  # Columbus
    r"(?:(?<=[A-Z]\d{4}--)|(?<=[A-Z]\d{5}--))(?P<number>)(?P<name>[^-]*[a-z][^-]*(?:-[^-]+)*)$",  # ScanR
    r"(?<=wv )(?P<number>)(?P<name>[^)]+)(?=\))",  # InCell
    r"(?<=_)(?P<number>)(?P<name>Fluorescence_\d{3}_nm_Ex|BF_LED_matrix_\w+)$",  # Squid
    rf"^(?:{PROJECTED})?(?P<number>c\d)(?P<name>)(?=-)",  # ImageJ
    r"(?<![a-z])(?P<number>c=\d{1,2})(?P<name>)(?=[_. -]|$)",  # Bio-Formats
)]  # fmt: skip
# Each channel has its own exposure.
_EXPOSURE = re.compile(r"[ _-]\d+(?:\.\d+)? ?ms(?=[ _.-]|$)", re.IGNORECASE)


def by_makers(stem: str) -> tuple[str, list[str], list[str]]:
    """Return a name with "?" for the numbers of its channel, and these with the names beside them, "" for none.

    Examples
    --------
    >>> by_makers("e_w1DAPI_s1_100ms")
    ('e_?_s1', ['w1'], ['DAPI'])
    """
    rest, numbers, names = _EXPOSURE.sub("", _GUID.sub("", stem)), [], []
    for pattern in _NUMBERED:
        for found in list(pattern.finditer(rest))[::-1]:
            numbers.insert(0, found["number"])
            names.insert(0, found["name"] or "")
            rest = f"{rest[: found.start('number')]}?{rest[max(found.end('number'), found.end('name')) :]}"
    return rest, numbers, names

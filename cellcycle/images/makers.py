"""Patterns of microscope makers for the channel number, channel name and well in a file name."""

import re
import unicodedata

# Suffixes that programs append to a name: a GUID, the suffix of the file that it was converted from.
_GUID = re.compile(r"(?:[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12})?(?:\.(?:ome|dib|tiff?))*$", re.IGNORECASE)
# Words for a channel in many languages: a number after one of them can only be a channel's.
CHANNEL = (
    r"chan(?:n(?:el)?)?|(?-i:[Cc]hn)|[ck]an[aá]l[ei]?|kanaal|kanał|kanava|csatorna|kênh|κανάλι|канал|チャン?ネル|[通频頻]道"
    r"|채널|قناة|ערוץ|wave(?:length)?"
)
# A number after these may also be a treatment or lot.
MAYBE_CHANNEL = r"w[lv]|dye|laser|lambda|λ|filter"
# Antibody dyes, named by the nearest laser in nm.
DYE = r"(?:af?|cf|atto|dylight|alexa(?:[ _-]?fluor)?)[ _-]?(?=\d{3})"
# Prefixes that Fiji gives to projections.
PROJECTED = r"(?:MAX|MIN|AVG|SUM|STD|MED)_"
# The part of a name with the channel number or name in a maker's format, which cannot mean anything else.
_NUMBERED = [re.compile(pattern, re.IGNORECASE) for pattern in (
    r"(?<=_)(?P<number>w\d{1,2})(?P<name>[a-z][^_]*)?(?=[_ -]|$)",  # ImageXpress, MetaMorph
    # Opera, Operetta, Columbus, Leica, Keyence
    rf"(?P<number>(?:(?<![a-z])ch|(?<=[_ -])(?:ch[ _=:.-]|{MAYBE_CHANNEL}))\d{{1,2}})(?P<name>)(?=sk\d|[_. -]|$)",
    # Micro-Manager, and by hand
    rf"(?<![a-z单双多])(?P<number>(?:{CHANNEL})[ _=:.-]?0?\d{{1,2}}|第\d(?:{CHANNEL}))(?P<name>)(?=[_. -]|$)",
    # Nikon, CellVoyager, Fiji's sequences of stacks
    r"(?:xy\d+(?:t\d+)?|z\d+(?:_(?=c\d+_t\d))?|z\d\d+_(?=c(?:\d|\d{3,4})$)|t\d+_z\d+_(?=c\d{3}))"
    r"(?P<number>c\d{1,4})(?P<name>)(?=[_. tz-]|$)",
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
_WELL = r"(?P<row>[A-P]|A[A-F])(?P<column>0?[1-9]|[1-3]\d|4[0-8])"
# Rows of 1536-well plates go on to Z. Only specific formats allow them: elsewhere T01 or Z01 may be a time or a plane.
_WELL_OF_1536 = _WELL.replace("[A-P]", "[A-Z]")
# The least specific rule: such a name may also number a sample or a field.
ALONE = "well alone: a2, A2"
# A rule holds for a folder if most of its names follow it; the last two only if all names do.
WELL_RULES = {
    "Opera, Operetta: r01c02f03": r"(?:(?P<plate>.+?)[_-])?r(?P<row>\d{2})c(?P<column>\d{2})f\d{2,}",
    "ImageXpress: A02_s3": rf"(?:(?P<plate>.+)_)?{_WELL}_s\d+(?:_|$)",
    "CellVoyager: A02_T0001F003": rf"(?:(?P<plate>.+)_)?{_WELL_OF_1536}_T\d{{4}}F\d{{3}}L",
    "Cellomics: A02f03d0": rf"(?:(?P<plate>.+)_)?{_WELL}f\d{{2,}}(?:d\d+)?(?:_|$)",
    "Incucyte: A2_3_2020y01m02d_03h04m": rf"(?:(?P<plate>.+)_)?{_WELL}_\d+_(?:\d{{4}}y\d\dm\d\dd|\d\d+d\d\dh)",
    "Gen5: A2_01_1_1_DAPI_001": rf"(?:(?P<plate>.+)_)?{_WELL_OF_1536}_(?:\d\d|-1)_\d+_\d+_.+_\d{{3}}(?:_|$)",
    "Columbus: 001002-1-001001001": r"(?P<plate>)(?P<row>0[0-4]\d)(?P<column>0[0-4]\d)-\d+-\d{9}$",
    "ScanR: A2--W00002--P00003": rf"(?:(?P<plate>.+)_)?{_WELL_OF_1536}--W\d{{5}}--P\d{{5}}",
    "InCell: A - 2(fld 3": r"(?:(?P<plate>.+)_)?(?P<row>[A-P]) - (?P<column>\d{1,2})\(fld \d+",
    # Leica's --J08 is a job, not a well; Nikon writes WellA02.
    "well in the name: A02": r"(?:(?P<plate>(?![Ww]ell[_ -]).+?)[_-](?<!--))?(?:[Ww]ell[_ -]?)?"
    r"(?P<row>[A-P])(?P<column>0[1-9]|1\d|2[0-4])(?:[_. -]|$)",
    ALONE: r"(?P<plate>)(?P<row>[A-Pa-p])(?P<column>0?[1-9]|1\d|2[0-4])(?:_s\d+)?$",
}
# Number of a field before a well.
FIELD_NUMBER = re.compile(
    r"(?:^|[ _-]+)(?:scene[ _-]?\d+(?:[ _-]p\d+)?|(?:pos(?:ition)?|site|fov|tile)[ _-]?\d+)(?=[ _-]|$)", re.IGNORECASE
)
# Names of folders with parts or time points of one plate. Others, such as days, dates or runs, may be plates.
PART_OF_PLATE = re.compile(
    r"(?:time(?:[ _-]?point)?|z[ _-]?(?:step|stack)|site|field|fld|fov|pos(?:ition)?|tile|scene|series|scan|frame|part"
    r"|images?|img|t(?=[ _-]?\d)|xy)(?:[ _-]?0*\d{1,3}(?:[_-]\d{1,3})*)?",
    re.IGNORECASE,
)
# Number or date of a time point. t1, T01 and T1234 do not match: they may be a treatment, a well or a plate.
TIME = re.compile(
    r"(?<![A-Za-z])(?:(?i:time)(?:[ _-]?(?i:point))?[ _-]?\d+|T0\d{2,4}|t0\d{1,4}"
    r"|\d{4}y\d\dm\d\dd_\d\dh\d\dm|\d{2,}d\d\dh\d\dm)(?!\d)|(?<=ch\d)sk\d+(?=fk)"
)
# Each channel has its own exposure.
_EXPOSURE = re.compile(r"[ _-]\d+(?:\.\d+)? ?ms(?=[ _.-]|$)", re.IGNORECASE)


def plain(name: str) -> str:
    """Return a name in Unicode form NFKC: a letter and its accent are one character, and full-width letters normal."""
    return unicodedata.normalize("NFKC", name)


def by_makers(stem: str) -> tuple[str, list[str], list[str]]:
    """Return a name with "?" for each channel number or name, the numbers, and the names beside them ("" for none).

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

"""Check the numbers in TIFF descriptions (OME-XML, ImageJ, tifffile's shapes) before `tifffile` allocates by them.

`tifffile` trusts them: a count of 5e8 becomes a list of as many entries.
"""

import json
import re
import xml.etree.ElementTree as ElementTree
from math import prod

from cellcycle.errors import ImageError

MOST_PLANES = 1_000_000
MOST_BYTES = 64_000_000
_IMAGEJ_COUNT = re.compile(r"^(images|channels|slices|frames)=([^\r\n]*)", re.MULTILINE)
_REMEDY = "the description is wrong: export the image again"


def check_description(path, text: bytes) -> None:
    """Raise an `ImageError` for a description whose numbers no real file can have."""
    if len(text) > MOST_BYTES:
        raise ImageError(path, f"its description has {len(text):,} bytes", "export it without its history")
    head = text.lstrip(b"\xef\xbb\xbf \t\r\n")[:200]
    # tifffile recognizes OME-XML by its end, whatever is before.
    end = text[-100:].rstrip(b"\0 \r\n")
    if b"<OME" in text or end.endswith((b"OME>", b"</scn>")) or head.startswith(b"<?xml"):
        _check_ome(path, text)
    elif head.startswith(b"ImageJ="):
        for name, number in _IMAGEJ_COUNT.findall(text[:10_000].decode("latin-1")):
            _whole(path, {name: number}, name, least=1)
    elif (head.startswith(b"{") and b'"shape"' in head) or head.startswith(b"shape=("):
        _check_shape(path, text)


def _whole(path, said, name: str, least: int = 0, most: int = MOST_PLANES) -> int:
    """Return the number stated under `name`, `least` if none; refuse all but whole numbers from `least` to `most`."""
    text = said.get(name, str(least))
    try:
        number = int(text)
    except ValueError:
        finding = f"its description says {name}={text[:40]!r}, which is no whole number"
        raise ImageError(path, finding, _REMEDY) from None
    if not least <= number <= most:
        raise ImageError(path, f"its description says {name}={text[:40]}, which is impossible", _REMEDY)
    return number


def _check_shape(path, text: bytes) -> None:
    try:
        if text.lstrip()[:1] == b"{":
            shape = json.loads(text.rstrip(b"\0 ")).get("shape", [])
        else:
            shape = re.match(rb"shape=\(([^)]*)\)", text.lstrip()).group(1).split(b",")
        sizes = [int(size) for size in shape if size not in (b"", b" ")]
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ImageError(path, "the shape in its description is not readable", _REMEDY) from None
    if min(sizes, default=1) < 1 or prod(sizes[:-2]) > MOST_PLANES * 100 or len(sizes) > 16:
        raise ImageError(path, f"its description says shape {str(sizes)[:60]}, which is impossible", _REMEDY)


def _check_ome(path, text: bytes) -> None:
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ImageError(path, "its OME-XML defines entities, which microscopes do not", _REMEDY)
    try:
        root = ElementTree.fromstring(text.rstrip(b"\0 \r\n"))
    except (ElementTree.ParseError, ValueError, LookupError):
        # tifffile then reads the pages in their order in the file, without the description.
        return
    n_all = 0
    for pixels in root.findall(".//{*}Pixels"):
        _, _, *sizes = (_whole(path, pixels, f"Size{axis}", least=1) for axis in "XYZCT")
        n_all += prod(sizes)
        for data in pixels.findall("{*}TiffData"):
            names = ("IFD", "FirstZ", "FirstC", "FirstT", "NumPlanes", "PlaneCount")
            *_, n_planes, n_more = (_whole(path, data, name) for name in names)
            n_all += n_planes + n_more
        for channel in pixels.findall("{*}Channel"):
            _whole(path, channel, "SamplesPerPixel", least=1, most=1_000)
    for plane in root.findall(".//{*}dimension"):  # of Leica's SCN
        *_, c, z = (_whole(path, plane, name) for name in ("ifd", "r", "c", "z"))
        n_all += (c + 1) * (z + 1)
    if n_all > MOST_PLANES:
        raise ImageError(path, f"its OME-XML announces {n_all:,} planes", "export fewer planes a file")
    for along in root.findall(".//{*}AlongX") + root.findall(".//{*}ModuloAlongZ") + root.findall(".//{*}ModuloAlongT"):
        _check_steps(path, along)


def _check_steps(path, along) -> None:
    """Refuse an axis of more steps than planes: tifffile counts them one by one."""
    try:
        step, start, end = (float(along.get(name, int(name == "Step"))) for name in ("Step", "Start", "End"))
        n = abs(end - start) / abs(step)
    except (ValueError, ZeroDivisionError):
        n = float("nan")
    if not n <= MOST_PLANES:
        raise ImageError(path, "an axis of its OME-XML has impossible steps", _REMEDY)

"""Read the image size from the header of a compressed stream: in a TIFF it may be larger than the page announces.

Only headers are read, in a bounded number of steps; nothing is decompressed.
"""

import re
import struct

# Second bytes after 0xFF in a JPEG: markers without a length (or no marker at all), and markers that start a frame.
_BARE = {0x00, 0x01, *range(0xD0, 0xD9), 0xFF}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HEAD_2000 = re.compile(rb"\xff\x4f\xff\x51")


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Return the (height, width) stated by a JPEG, JPEG 2000, PNG, WebP or JPEG XR; None if none can be read."""
    try:
        if is_jpeg(data):
            return _jpeg(data)
        if _HEAD_2000.match(data) or data[4:8] == b"jP  ":
            # A codestream has one header, but the boxes around it may hold bytes that look like one: take the largest.
            heads = (struct.unpack_from(">IIII", data, found.end() + 4) for found in _HEAD_2000.finditer(data))
            heights, widths = zip(*((bottom - top, right - left) for right, bottom, left, top in heads), strict=True)
            return max(heights), max(widths)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack(">II", data[16:24])
            return height, width
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:3] == b"II\xbc":
            return _jpeg_xr(data)
    except (struct.error, IndexError, ValueError):
        pass
    return None


def is_jpeg(data: bytes) -> bool:
    """Return whether `data` begins like a JPEG."""
    return data[:2] == b"\xff\xd8"


def _jpeg(data: bytes) -> tuple[int, int] | None:
    size, position = None, 2
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
        marker = data[position + 1]
        if marker in _BARE:
            position += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9 and size is not None:
            break
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            # Some decoders read a second frame and others do not: the larger one counts.
            size = (height, width) if size is None else (max(size[0], height), max(size[1], width))
        if marker == 0xDA:
            break
        position += 2 + length
    return size


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
        return height, width
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _jpeg_xr(data: bytes) -> tuple[int, int] | None:
    (start,) = struct.unpack_from("<I", data, 4)
    (n_tags,) = struct.unpack_from("<H", data, start)
    found = {}
    for i in range(min(n_tags, 256)):
        code, kind, count = struct.unpack_from("<HHI", data, start + 2 + 12 * i)
        if code in (0xBC80, 0xBC81) and count == 1:
            found[code] = struct.unpack_from("<H" if kind == 3 else "<I", data, start + 10 + 12 * i)[0]
    return (found[0xBC81], found[0xBC80]) if len(found) == 2 else None

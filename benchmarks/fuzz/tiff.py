"""The structure of TIFF, to build files that no library would write, and to find every field of a file."""

import struct
from dataclasses import dataclass

BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, SLONG, DOUBLE, LONG8 = 1, 2, 3, 4, 5, 6, 9, 12, 16
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 5: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q"}
SUBIFDS = 330
_OFFSETS, _COUNTS = {273: 279, 324: 325}, (279, 325)


def page(height=8, width=8, data=None, bits=8, compression=1, photometric=1, samples=1, **more) -> dict:
    """Return the tags of a page of one strip; `more` is _TAG=(type, values), "data" the bytes of its segments."""
    tags = {
        "data": [bytes(height * width * samples * bits // 8)] if data is None else data,
        256: (LONG, width),
        257: (LONG, height),
        258: (SHORT, [bits] * samples),
        259: (SHORT, compression),
        262: (SHORT, photometric),
        277: (SHORT, samples),
        278: (LONG, height),
        273: None,
    }
    return tags | {int(tag[1:]): value for tag, value in more.items()}


def tiled(height, width, tile, data, **more) -> dict:
    """Return the tags of a page of square tiles."""
    tags = page(height, width, data, **more)
    del tags[278], tags[273]
    return tags | {322: (LONG, tile), 323: (LONG, tile), 324: None}


def described(text: str, **more) -> dict:
    """Return the tags of a page with a description."""
    return page(_270=(ASCII, text.encode() + b"\0"), **more)


def build(*pages: dict, links: dict[int, int] | None = None) -> bytes:
    """Return a classic TIFF of these pages; `links` maps a page to the page that follows it, by default the next."""
    out = bytearray(b"II*\0") + bytes(4)
    starts, pointers = [], [4]
    for tags in pages:
        tags = dict(tags)
        segments = tags.pop("data")
        for offsets, counts in _OFFSETS.items():
            if offsets in tags and tags[offsets] is None:
                places = []
                for segment in segments:
                    places.append(len(out))
                    out += segment
                tags |= {offsets: (LONG, places)}
                tags.setdefault(counts, (LONG, [len(s) for s in segments]))
        packed = {tag: _packed(kind, value) for tag, (kind, value) in sorted(tags.items())}
        places = {}
        for tag, (_, raw) in packed.items():
            if len(raw) > 4:
                places[tag] = len(out)
                out += raw
        out += bytes(len(out) % 2)
        starts.append(len(out))
        out += struct.pack("<H", len(packed))
        for tag, (count, raw) in packed.items():
            kind = tags[tag][0]
            value = struct.pack("<I", places[tag]) if tag in places else raw.ljust(4, b"\0")
            out += struct.pack("<HHI", tag, kind, count) + value
        pointers.append(len(out))
        out += bytes(4)
    follows = {i: i + 1 for i in range(len(pages) - 1)} | (links or {})
    targets = {0: starts[0]} | {i + 1: starts[j] for i, j in follows.items()}
    for i, target in targets.items():
        struct.pack_into("<I", out, pointers[i], target)
    return bytes(out)


def _packed(kind: int, value) -> tuple[int, bytes]:
    """Return (count, bytes) of a value: bytes, a number, a list of them, or (count to claim, bytes)."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, bytes):
        return len(value) // SIZES[kind], value
    values = value if isinstance(value, list) else [value]
    return len(values) // (2 if kind == RATIONAL else 1), struct.pack(f"<{len(values)}{_CODES[kind]}", *values)


@dataclass(frozen=True)
class Entry:
    """A tag of a TIFF: offset of its entry (`place`) and of its value (`value`)."""

    place: int
    tag: int
    kind: int
    count: int
    value: int
    n_bytes: int


class Layout:
    """Every IFD, tag and pointer of a TIFF, as far as they can be followed."""

    def __init__(self, data: bytes):
        self.order = "<" if data[:2] == b"II" else ">"
        self.is_big = data[2:4] in (b"+\0", b"\0+")
        self.pointer = "Q" if self.is_big else "I"
        self.width = 8 if self.is_big else 4
        self.entries: list[Entry] = []
        self.ifds: list[int] = []
        self.nexts: list[int] = []
        waiting = [8 if self.is_big else 4]
        while waiting and len(self.ifds) < 100:
            place = waiting.pop()
            if place + self.width > len(data):
                continue
            self.nexts.append(place)
            start = self._number(data, place, self.pointer)
            if start and start not in self.ifds and start + 2 <= len(data):
                waiting += self._read_ifd(data, start)

    def _number(self, data: bytes, place: int, code: str) -> int:
        size = struct.calcsize(code)
        return struct.unpack(self.order + code, data[place : place + size].ljust(size, b"\0"))[0]

    def _read_ifd(self, data: bytes, start: int) -> list[int]:
        """Record the tags of an IFD; return the offsets of its pointers to other IFDs."""
        self.ifds.append(start)
        head, size = (8, 20) if self.is_big else (2, 12)
        n_tags = min(self._number(data, start, "Q" if self.is_big else "H"), (len(data) - start - head) // size)
        places = []
        for place in range(start + head, start + head + n_tags * size, size):
            tag, kind = self._number(data, place, "H"), self._number(data, place + 2, "H")
            count = self._number(data, place + 4, self.pointer)
            n_bytes = count * SIZES.get(kind, 1)
            inline = place + size - self.width
            value = inline if n_bytes <= self.width else self._number(data, inline, self.pointer)
            self.entries.append(Entry(place, tag, kind, count, value, n_bytes))
            if tag == SUBIFDS and kind in (4, 13, 16, 18) and count < 20:
                places += [value + i * SIZES[kind] for i in range(count)]
        return [start + head + n_tags * size, *places]

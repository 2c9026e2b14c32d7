"""Break a valid file: its bytes, the numbers in its texts, and the structure of its format."""

import random
import re
import struct
import zlib
from collections.abc import Callable

from benchmarks.fuzz import seeds, tiff

NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65500, 65535, 65536, 10**6, 5 * 10**8, 2**31 - 1, 2**31,
           2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1)  # fmt: skip
TEXTS = ("0", "-1", "1", "5", "-0", "0.5", "1e300", "-1e300", "1e-300", "1e400", "NaN", "inf", "500000000",
         "-500000000", str(2**31), str(2**63), "9" * 5000, "0x10", "²", "", "true", "[]", "null")  # fmt: skip
_NUMBER = re.compile(rb"(?<=[\"=\[ ,:|])-?\d+(\.\d+)?(?=[\"\], \n|)/]|$)")
_KNOWN_TAGS = (254, 255, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 283, 284, 296, 305, 317, 320,
               322, 323, 324, 325, 330, 338, 339, 347, 512, 513, 514, 519, 530, 532, 32997, 33550, 33628, 33629, 34361,
               34412, 34665, 34853, 37724, 42112, 43314, 50838, 50839, 51023, 51123, 65420, 65426)  # fmt: skip
_COMPRESSIONS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 32773, 32809, 32946, 33003, 33005, 34712, 34892, 34887, 34925, 34926, 34927,
                 34933, 34934, 50000, 50001, 50002, 50003, 50013, 52546, 65000)  # fmt: skip
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"gAMA", b"pHYs", b"acTL",
               b"fcTL", b"fdAT", b"eXIf", b"sBIT", b"cHRM", b"IEND")  # fmt: skip


def mutant(seed: int, number: int) -> tuple[str, str, str, bytes]:
    """Return (kind, mutators, suffix, bytes) of one broken file, which `seed` and `number` determine."""
    rng = random.Random(f"{seed}-{number}")
    made = seeds.seeds()
    kind = list(made)[number % len(made)]
    suffix, data = made[kind]
    names = []
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3))):
        name = rng.choice(_mutators(data))
        names.append(name)
        data = MUTATORS[name](data, rng)
    return kind, "+".join(names), suffix, data[:2_000_000]


def _mutators(data: bytes) -> list[str]:
    """Return the mutators for a file; those of its own format occur three times."""
    own = FORMATS.get(data[:2], [])
    return [*BY_BYTES, *own, *own, *own]


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 4, 16, 64))):
        out[_place(out, rng)] ^= 1 << rng.randrange(8)
    return bytes(out)


def set_bytes(data: bytes, rng: random.Random) -> bytes:
    out, place = bytearray(data), _place(data, rng)
    width = rng.choice((1, 2, 4, 8))
    out[place : place + width] = _pack(rng, rng.choice("<>"), width)
    return bytes(out)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: max(1, _place(data, rng))]


def splice(data: bytes, rng: random.Random) -> bytes:
    _, other = rng.choice(list(seeds.seeds().values()))
    return data[: _place(data, rng)] + other[_place(other, rng) :] or b"\0"


def repeat_block(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    end = start + rng.choice((1, 8, 64, 512))
    return data[:end] + data[start:end] * rng.choice((1, 2, 100)) + data[end:]


def remove_block(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    return data[: start or 1] + data[start + rng.choice((1, 4, 16, 200)) :]


def blank_block(data: bytes, rng: random.Random) -> bytes:
    start, width = _place(data, rng), rng.choice((4, 16, 100))
    filling = bytes([rng.choice((0, 255))]) * width
    return data[:start] + filling + data[start + width :]


def change_number_in_place(data: bytes, rng: random.Random) -> bytes:
    """Change a number in a text without changing its length."""
    found = list(_NUMBER.finditer(data))
    if not found:
        return set_bytes(data, rng)
    at = rng.choice(found)
    text = rng.choice(TEXTS).encode()[: len(at[0])].rjust(len(at[0]))
    return data[: at.start()] + text + data[at.end() :]


def change_tag(data: bytes, rng: random.Random) -> bytes:
    """Change the number, type, count or value of a tag of a TIFF."""
    layout, out = tiff.Layout(data), bytearray(data)
    if not layout.entries:
        return set_bytes(data, rng)
    entry, order, width = rng.choice(layout.entries), layout.order, layout.width
    what = rng.choice(("tag", "kind", "count", "value", "value", "value", "sign", "compression"))
    if what == "tag":
        struct.pack_into(order + "H", out, entry.place, rng.choice(_KNOWN_TAGS))
    elif what == "kind":
        struct.pack_into(order + "H", out, entry.place + 2, rng.choice((0, *tiff.SIZES, 99)))
    elif what == "count":
        out[entry.place + 4 : entry.place + 4 + width] = _pack(rng, order, width)
    elif what == "sign":  # a size of one byte, perhaps below zero
        struct.pack_into(order + "HH" + layout.pointer, out, entry.place, rng.choice((256, 257)), tiff.SBYTE, 1)
        inline = entry.place + 4 + width
        out[inline : inline + width] = bytes([rng.choice((0x80, 0xFF, 0x7F, 0x20))]).ljust(width, b"\0")
    elif what == "compression":
        for each in layout.entries:
            if each.tag == 259:
                struct.pack_into(order + "H", out, each.place + 4 + width, rng.choice(_COMPRESSIONS))
    else:
        size = tiff.SIZES.get(entry.kind, 1)
        place = entry.value + size * rng.randrange(min(max(entry.count, 1), 1000))
        out[place : place + size] = _pack(rng, order, size)
    return bytes(out)


def redirect_ifd(data: bytes, rng: random.Random) -> bytes:
    """Redirect an IFD's link, or a new tag of SubIFDs, to another IFD, itself, an earlier one or any offset."""
    layout, out = tiff.Layout(data), bytearray(data)
    targets = [*layout.ifds, *layout.ifds, _place(data, rng), len(data), 0, 1]
    if layout.entries and rng.random() < 0.4:
        entry, n = rng.choice(layout.entries), rng.choice((1, 2, 50, 1000))
        head = struct.pack(layout.order + "HH" + layout.pointer, tiff.SUBIFDS, rng.choice((4, 13, 16)), n)
        out[entry.place : entry.place + len(head) + layout.width] = head + struct.pack(
            layout.order + layout.pointer, rng.choice(targets) if n == 1 else len(out)
        )
        return bytes(out) + struct.pack(layout.order + layout.pointer, rng.choice(targets)) * n
    if not layout.nexts:
        return set_bytes(data, rng)
    place = rng.choice(layout.nexts)
    out[place : place + layout.width] = struct.pack(layout.order + layout.pointer, rng.choice(targets))
    return bytes(out)


def double_pages(data: bytes, rng: random.Random) -> bytes:
    """Append copies of the first IFD to the chain, in a line or a circle."""
    layout = tiff.Layout(data)
    if not layout.ifds:
        return set_bytes(data, rng)
    out, first = bytearray(data), min(layout.ifds)
    last = next((p for p in layout.nexts if p > first), None)
    if last is None:
        return set_bytes(data, rng)
    ifd = data[first : last + layout.width]
    link, place = layout.order + layout.pointer, last
    for _ in range(rng.choice((1, 3, 20, 150))):
        out += bytes(len(out) % 2)
        out[place : place + layout.width] = struct.pack(link, len(out))
        place = len(out) + len(ifd) - layout.width
        out += ifd
    out[place : place + layout.width] = struct.pack(link, rng.choice((0, *layout.ifds)))
    return bytes(out)


def change_text(data: bytes, rng: random.Random) -> bytes:
    """Change numbers in a text of a TIFF; the new text is appended to the file."""
    layout, out = tiff.Layout(data), bytearray(data)
    texts = [e for e in layout.entries if e.kind in (1, 2, 7) and e.n_bytes > 8]
    if not texts:
        return change_tag(data, rng)
    entry = rng.choice(texts)
    text = data[entry.value : entry.value + entry.n_bytes]
    for _ in range(rng.choice((1, 1, 2))):
        found = list(_NUMBER.finditer(text))
        if not found:
            return change_tag(data, rng)
        at = rng.choice(found)
        text = text[: at.start()] + rng.choice(TEXTS).encode() + text[at.end() :]
    fields = struct.pack(layout.order + 2 * layout.pointer, len(text), len(out))
    out[entry.place + 4 : entry.place + 4 + len(fields)] = fields
    return bytes(out) + text


def change_segment(data: bytes, rng: random.Random) -> bytes:
    """Change the JPEG, PNG or JPEG 2000 stream inside a TIFF by the structure of that format."""
    for sign, change in ((b"\xff\xd8\xff", change_jpeg), (b"\x89PNG", change_png), (b"\xff\x4f\xff\x51", change_jp2)):
        start = data.find(sign)
        if start >= 0:
            changed = change(data[start:], rng)
            # Only bytes from the stream on may move, so offsets of tags before it stay valid.
            return data[:start] + changed
    return change_tag(data, rng)


def change_png(data: bytes, rng: random.Random) -> bytes:
    """Change, add, double or remove a chunk of a PNG, and repair the checksums."""
    chunks, place = [], 8
    while place + 12 <= len(data) and len(chunks) < 100:
        size = int.from_bytes(data[place : place + 4], "big")
        if size > len(data):
            break
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    if not chunks:
        return set_bytes(data, rng)
    i = rng.randrange(len(chunks))
    name, body = chunks[i]
    what = rng.choice(("bytes", "header", "header", "pixels", "double", "remove", "move", "rename", "new"))
    if what == "header":
        head = bytearray(chunks[0][1].ljust(13, b"\0"))
        at, width = rng.choice(((0, 4), (4, 4), (8, 1), (9, 1), (10, 1), (11, 1), (12, 1)))
        values = (0, 1, 2, 3, 4, 6, 8, 16, 20, 24, 40, 1000, 13_000, 60_000, 2**31 - 1, 2**32 - 1)
        head[at : at + width] = (rng.choice(values) & (256**width - 1)).to_bytes(width, "big")
        chunks[0] = chunks[0][0], bytes(head)
    elif what == "pixels":
        chunks = [(n, _repacked(b, rng) if n == b"IDAT" else b) for n, b in chunks]
    elif what == "double":
        chunks[i:i] = [(name, body)] * rng.choice((1, 2, 500))
    elif what == "remove":
        del chunks[i]
    elif what == "move":
        chunks.insert(rng.randrange(len(chunks)), chunks.pop(i))
    elif what == "rename":
        chunks[i] = rng.choice(_PNG_CHUNKS), body
    elif what == "new":
        chunks.insert(i, (rng.choice(_PNG_CHUNKS), rng.randbytes(rng.choice((0, 1, 4, 26, 256, 768)))))
    elif body:
        chunks[i] = name, set_bytes(body, rng)[: len(body) + 8]
    return seeds.png([c for c in chunks if c[0] != b"IEND"])


def _repacked(body: bytes, rng: random.Random) -> bytes:
    """Return the compressed rows with changes to the unpacked ones: filters, lengths or values."""
    try:
        rows = bytearray(zlib.decompress(body))
    except zlib.error:
        return body
    rows = rows * rng.choice((1, 1, 2, 0, 5000)) if rng.random() < 0.3 else bytearray(flip_bits(bytes(rows), rng))
    return zlib.compress(bytes(rows))


def change_jpeg(data: bytes, rng: random.Random) -> bytes:
    """Change sizes, components or tables of a JPEG; double, remove or rename a segment."""
    segments, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        size = 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        segments.append(bytearray(data[place : place + size]))
        place += size
    rest = data[place:]
    if not segments:
        return set_bytes(data, rng)
    frames = [s for s in segments if s[1] in (0xC0, 0xC1, 0xC2)]
    what = rng.choice(("size", "size", "frame", "bytes", "double", "remove", "rename", "scans"))
    if what == "size" and frames:
        at = rng.choice((5, 7))
        frames[0][at : at + 2] = rng.choice((0, 1, 8, 19, 25, 32, 500, 65_500, 65_535)).to_bytes(2, "big")
    elif what == "frame" and frames:
        at = rng.randrange(4, len(frames[0]))
        frames[0][at : at + 1] = bytes([rng.choice((0, 1, 2, 3, 4, 8, 12, 0x11, 0x22, 0x41, 0x44, 255))])
    elif what == "double":
        segments *= rng.choice((2, 3))
    elif what == "remove":
        del segments[rng.randrange(len(segments))]
    elif what == "rename":
        rng.choice(segments)[1] = rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC9, 0xDB, 0xDD, 0xE0, 0xE1, 0xEE, 0xFE))
    elif what == "scans":
        rest = rest.removesuffix(b"\xff\xd9") * rng.choice((2, 50)) + b"\xff\xd9"
    else:
        segment = rng.choice(segments)
        segment[4:] = set_bytes(bytes(segment[4:]) or b"\0", rng)
    return data[:2] + b"".join(bytes(s) for s in segments) + rest


def change_jp2(data: bytes, rng: random.Random) -> bytes:
    """Change a size or a setting in the main header of a JPEG 2000 codestream."""
    out = bytearray(data)
    if rng.random() < 0.6:
        place = 8 + 4 * rng.randrange(8)  # Xsiz, Ysiz, XOsiz, YOsiz, XTsiz, YTsiz, XTOsiz, YTOsiz
        out[place : place + 4] = _pack(rng, ">", 4)
    else:
        place = rng.randrange(40, min(120, len(out)))
        out[place] = rng.choice((0, 1, 32, 33, 127, 255))
    return bytes(out)


def change_bmp(data: bytes, rng: random.Random) -> bytes:
    """Change a field of the two headers of a BMP."""
    out = bytearray(data)
    place, width = rng.choice(((2, 4), (10, 4), (14, 4), (18, 4), (18, 4), (22, 4), (22, 4), (26, 2), (28, 2), (30, 4),
                               (34, 4), (46, 4), (50, 4), (54, 4)))  # fmt: skip
    values = (0, 1, 2, 3, 4, 8, 12, 16, 24, 32, 40, 64, 108, 124, 1000, 13_000, 60_000, *NUMBERS, 2**32 - 24)
    out[place : place + width] = (rng.choice(values) & (256**width - 1)).to_bytes(width, "little")
    return bytes(out)


def _place(data, rng: random.Random) -> int:
    """Return a random offset; more often in the first 64 bytes, where the structure is."""
    n = len(data)
    n_head = min(n, 64) if rng.random() < 0.3 else n
    return rng.randrange(n_head) if n else 0


def _pack(rng: random.Random, order: str, width: int) -> bytes:
    number = rng.choice(NUMBERS) if rng.random() < 0.8 else rng.getrandbits(8 * width)
    return (number & (256**width - 1)).to_bytes(width, "little" if order == "<" else "big")


Mutator = Callable[[bytes, random.Random], bytes]
BY_BYTES = ["flip_bits", "set_bytes", "truncate", "splice", "repeat_block", "remove_block", "blank_block",
            "change_number_in_place"]  # fmt: skip
_BY_TIFF = ["change_tag", "change_tag", "redirect_ifd", "double_pages", "change_text", "change_text", "change_segment"]
FORMATS = {
    b"II": _BY_TIFF,
    b"MM": _BY_TIFF,
    b"\x89P": ["change_png"] * 4,
    b"\xff\xd8": ["change_jpeg"] * 4,
    b"BM": ["change_bmp"] * 4,
}
MUTATORS: dict[str, Mutator] = {name: globals()[name] for names in (BY_BYTES, *FORMATS.values()) for name in names}

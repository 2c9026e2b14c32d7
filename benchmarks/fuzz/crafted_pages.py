"""TIFFs whose chains of pages do not end, or with impossible sizes, types and offsets."""

import struct
import zlib
from collections.abc import Callable, Iterator

import imagecodecs
import numpy as np

from benchmarks.fuzz import tiff
from benchmarks.fuzz.crafted_streams import zeros
from benchmarks.fuzz.crafted_texts import FAR
from benchmarks.fuzz.seeds import lsm, ome, stk, written
from benchmarks.fuzz.tiff import ASCII, LONG, SBYTE, SHORT, SUBIFDS, build, described, page, tiled


def pages() -> Iterator[tuple[str, bytes]]:
    """Yield endless or very long chains of pages, and loops of SubIFDs."""
    for n in (1, 2, 3, 5, 99, 100, 101, 150, 1000):
        pages = [described("x")] * n
        yield f"circle of {n} pages", build(*pages, links={n - 1: 0})
        if n > 2:
            yield f"circle of the last of {n} pages", build(*pages, links={n - 1: n - 1})
            yield f"circle into the middle of {n} pages", build(*pages, links={n - 1: n // 2})
    yield "circle of 3 unlike pages", build(page(), page(4, 4), page(5, 5), links={2: 0})
    yield "circle of shaped pages", build(*[described('{"shape": [2, 8, 8]}')] * 2, links={1: 0})
    yield "circle of imagej pages", build(*[described("ImageJ=1.5\nimages=9\n")] * 2, links={1: 0})
    yield "circle of ome pages", _in_circle(ome(n_pages=2))
    yield "circle of stk pages", _in_circle(stk())
    yield "circle of lsm pages", _in_circle(lsm())
    yield "200,000 pages", _many_pages(200_000, lambda i: _one_page(8))
    yield "20,000 unlike pages", _many_pages(20_000, lambda i: _one_page(8 + i % 1000))
    yield "200,000 pages of one IFD's room", _many_pages(200_000, lambda i: b"\0\0")
    for n in (1, 2, 1000, 19_000, 100_000):
        yield f"SubIFD that is its own page, {n} times", _subifds(n)
    yield "SubIFDs in a circle", _subifd_circle()
    for n in (4000, 19_000):
        yield f"{n} SubIFDs", _own_subifds(n)
    for claimed in (FAR, 2**32 - 1):
        yield f"{claimed} SubIFDs", build(page(_330=(LONG, (claimed, bytes(8)))))
    yield "no page", b"II*\0\0\0\0\0"
    yield "page beyond the end", b"II*\0" + struct.pack("<I", 10**9)
    yield "page that is the header", b"II*\0\0\0\0\0"[:4] + struct.pack("<I", 2) + bytes(20)
    yield "65,535 tags", b"II*\0\x08\0\0\0\xff\xff" + bytes(12) * 65_535
    yield "2**60 tags", b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60)


def sizes() -> Iterator[tuple[str, bytes]]:
    """Yield pages with impossible sizes, types or offsets."""
    for width, height in (-1, 8), (8, -1), (-1, -1), (-128, -128):
        sizes = {256: (SBYTE, width), 257: (SBYTE, height)}
        yield f"{width} x {height}", build(page() | sizes)
        yield f"{width} x {height}, shaped", build(described('{"shape": [9, 9, 9]}') | sizes)
        yield f"{width} x {height}, imagej", build(described("ImageJ=1\nimages=5\n") | sizes)
        yield f"{width} x {height}, 32 bits", build(page() | {256: (tiff.SLONG, width), 257: (tiff.SLONG, height)})
    for name, kind, value in ("size as ratio", tiff.RATIONAL, [8, 0]), ("size as float", tiff.DOUBLE, 1e300):
        yield name, build(page() | {256: (kind, value)})
    yield "width of 1000 numbers", build(page() | {256: (LONG, [8] * 1000)})
    yield "size as text", build(page() | {256: (ASCII, b"8\0")})
    for size in (20_000, 60_000, 2**31 - 1, 2**32 - 1):
        yield f"{size} x {size} in no bytes", build(page(size, size, [b""]))
        yield f"{size} x {size} in 64 bytes", build(page(size, size, [bytes(64)]))
        for codec, pack in (8, zlib.compress), (32773, imagecodecs.packbits_encode), (5, imagecodecs.lzw_encode):
            yield f"{size} x {size} by codec {codec}", build(page(size, size, [pack(bytes(64))], compression=codec))
    for height, width in (1, 2**31 - 1), (2**31 - 1, 1), (1, 400_000_000):
        yield f"{height} x {width}", build(page(height, width, [bytes(64)]))
    for bits in (0, 1, 3, 7, 12, 24, 31, 63, 64, 128, 65_535):
        yield f"{bits} bits", build(page(bits=bits, data=[bytes(64)]))
    for form in (0, 2, 3, 4, 5, 6, 9, 255):
        for bits in (8, 16, 32, 64, 128):
            yield f"sample format {form} of {bits} bits", build(page(bits=bits, _339=(SHORT, form)))
    for samples in (0, 5, 20, 1000, 65_535):
        data = [bytes(min(64 * samples, 10**5))]
        yield f"{samples} samples", build(page(samples=samples, data=data) | {258: (SHORT, 8)})
    large = {"data": [zeros(30_400_000)] * 134, "bits": 64, "samples": 20, "compression": 8}
    deep = page(5000, 5000, **large, _278=(LONG, 38), _339=(SHORT, [3] * 20))
    yield "20 samples of float64 in 25 megapixels", build(deep)
    yield "5000 planes of one strip", _shared_strip(5000)
    for tile in (0, 1, 3, 16):
        yield f"tiles of {tile} in 5000 x 5000", build(tiled(5000, 5000, tile, [bytes(tile * tile)]))
    for tile in (4096, 20_000, 65_536, 2**31, 2**32 - 1):
        yield f"tile of {tile} in a page of 8", build(tiled(8, 8, tile, [bytes(64)]))
        yield f"tile of {tile}, packed", build(tiled(8, 8, tile, [zlib.compress(bytes(10**6))], compression=8))
    yield "tiles -1", build(tiled(8, 8, 16, [bytes(64)]) | {322: (SBYTE, -1), 323: (SBYTE, -1)})
    yield "tile depth", build(tiled(8, 8, 16, [bytes(64)], _32997=(LONG, FAR), _32998=(LONG, FAR)))
    yield "image depth", build(page(_32997=(LONG, FAR)))
    for rows in (0, 1, 2**32 - 1):
        yield f"{rows} rows a strip", build(page() | {278: (LONG, rows)})
    yield "a row a strip in 100 million rows", build(page(10**8, 1, [bytes(64)]) | {278: (LONG, 1)})
    for offset in (10**6, 2**31, 2**32 - 1):
        yield f"strip at {offset}", build(page() | {273: (LONG, offset)})
        yield f"strip of {offset}", build(page(_279=(LONG, offset)))
        yield f"tile at {offset}", build(tiled(8, 8, 16, []) | {324: (LONG, offset), 325: (LONG, offset)})
    for tag in (258, 270, 273, 279, 282, 305, 320, 339, 347, 33628, 33629, 34412, 34665, 43314, 50838, 50839, 51123,
                65420):  # fmt: skip
        for claimed in (FAR, 2**32 - 1):
            yield f"{claimed} values of tag {tag}", build(page() | {tag: (LONG, (claimed, bytes(8)))})
    for kind in (0, 14, 15, 99, 65_535):
        usual, other = (struct.pack("<HHI", 256, of, 1) for of in (LONG, kind))
        yield f"type {kind}", build(page()).replace(usual, other)
    for name, value in ("nothing", [0, 0]), ("by 0", [1, 0]), ("huge", [1, 2**32 - 1]), ("tiny", [2**32 - 1, 1]):
        ratio = (tiff.RATIONAL, value)
        yield f"resolution {name}", build(page(_282=ratio, _283=ratio, _296=(SHORT, 3)))
    yield "resolution unit 99", build(page(_282=(tiff.RATIONAL, [1, 1]), _296=(SHORT, 99)))
    for value in (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-320):
        yield f"pixels {value}", written(np.full((8, 8), value), metadata=None)
    yield "palette of one colour", build(page(photometric=3, _320=(SHORT, [1, 2, 3])))
    yield "palette missing", build(page(photometric=3))
    for predictor in (2, 3, 34892, 34895, 9):
        packed = [zlib.compress(bytes(64))]
        yield f"predictor {predictor}", build(page(data=packed, compression=8, _317=(SHORT, predictor)))


def _in_circle(data: bytes) -> bytes:
    layout, out = tiff.Layout(data), bytearray(data)
    struct.pack_into("<I", out, max(layout.nexts), min(layout.ifds))
    return bytes(out)


def _many_pages(n: int, page_of: Callable[[int], bytes]) -> bytes:
    """Return n consecutive pages; `page_of` gives the bytes of each by its number, without the link to the next."""
    out = bytearray(struct.pack("<2sHI", b"II", 42, 8))
    for i in range(n):
        out += page_of(i)
        out += struct.pack("<I", len(out) + 4 if i < n - 1 else 0)
    return bytes(out)


def _one_page(size: int) -> bytes:
    """Return a page of 8 tags, without its link."""
    tags = (256, size), (257, size), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (279, 64)
    entries = (struct.pack("<HHII", tag, LONG, 1, value) for tag, value in tags)
    return struct.pack("<H", len(tags)) + b"".join(entries)


def _subifds(n: int) -> bytes:
    # The page's offset does not depend on the values of its tag.
    at = int.from_bytes(build(page(_330=(LONG, [8] * n)))[4:8], "little")
    return build(page(_330=(LONG, [at] * n)))


def _own_subifds(n: int) -> bytes:
    """Return a page with n SubIFDs, each at its own offset."""
    one = _one_page(8) + bytes(4)
    # The strip comes first in the file, so the SubIFDs may lie in it.
    return build(page(data=[one * n], _330=(LONG, [8 + i * len(one) for i in range(n)])))


def _subifd_circle() -> bytes:
    """Return two pages, each a SubIFD of the other."""
    out = bytearray(build(page(_330=(LONG, 0)), page(_330=(LONG, 0))))
    layout = tiff.Layout(bytes(out))
    for entry in layout.entries:
        if entry.tag == SUBIFDS:
            struct.pack_into("<I", out, entry.value, max(i for i in layout.ifds if not i <= entry.place < i + 200))
    return bytes(out)


def _shared_strip(n: int) -> bytes:
    """Return n planes of 5000 x 5000 that all name the same strip."""
    strip = zeros(25_000_000)
    places, sizes = (LONG, [8] * n), (LONG, [len(strip)] * n)
    return build(page(5000, 5000, [strip], samples=n, compression=8, _284=(SHORT, 2), _273=places, _279=sizes))

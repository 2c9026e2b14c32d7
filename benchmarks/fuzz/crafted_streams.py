"""Compressed pictures that claim or unpack to far more than their few bytes, alone or in a TIFF; and non-images."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO

import imagecodecs
import numpy as np
from PIL import Image

from benchmarks.fuzz.seeds import bmp_head, ihdr, interlaced, picture, png, written
from benchmarks.fuzz.tiff import LONG, SHORT, build, page, tiled

_EXIF_LOOP = b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"


def streams() -> Iterator[tuple[str, bytes]]:
    """Yield pages of 64 x 64 that contain a picture far larger than the page, or broken or empty streams."""
    jpeg, jpeg_2000 = (7, 6, 34892, 33007), (34712, 33003, 33005)
    for name, data, codecs in (
        ("jpeg", _jpeg(65_500), jpeg),
        ("jpeg gray progressive", _jpeg(65_500, progressive=True), jpeg),
        ("png", _flat_png(60_000), (34933,)),
        ("jpeg 2000", _jp2(16_000), jpeg_2000),
        ("jpeg 2000 huge", _jp2(2**31 - 1), jpeg_2000),
        ("webp", _webp(16_383), (50001, 34927)),
        ("jpeg xl", imagecodecs.jpegxl_encode(np.zeros((2000, 2000), np.uint8)), (50002, 52546)),
        ("jpeg xr", _jpeg_xr(60_000), (34934, 22610)),
        ("png small stream", _flat_png(60_000, rows=10), (34933,)),
        ("png 16", _flat_png(20_000, 16), (34933,)),
    ):
        for codec in codecs:
            yield f"{name} larger than its page, codec {codec}", build(page(64, 64, [data], compression=codec))
            yield f"{name} larger than its tile, codec {codec}", build(tiled(64, 64, 64, [data], compression=codec))
    old = page(64, 64, [_jpeg(65_500)], compression=6, _512=(SHORT, 1))
    yield "old jpeg by its own tags", build(old | {513: (LONG, 8), 514: (LONG, 600)})
    yield "old jpeg of no stream", build(page(64, 64, [bytes(64)], compression=6, _513=(LONG, 10**9), _514=(LONG, 99)))
    split = _jpeg(65_500).find(b"\xff\xda")
    tables = (7, _jpeg(65_500)[:split] + b"\xff\xd9")
    yield "jpeg tables that state a size", build(page(64, 64, [_jpeg(64)], compression=7, _347=tables))
    yield "jpeg after another", build(page(64, 64, [_jpeg(64) + _jpeg(65_500)], compression=7))
    yield "jpeg 2000 in 1 x 1 tiles", build(page(64, 64, [_jp2(16_000, tile=1)], compression=34712))
    yield "jpeg 2000 of 16,384 components", build(page(64, 64, [_jp2(4000, components=16_384)], compression=34712))
    many = bytes(30_000_000)
    for codec, bomb in (
        (8, zeros(2 * 10**9)),
        (32946, zeros(2 * 10**9)),
        (50000, imagecodecs.zstd_encode(many)),
        (34925, imagecodecs.lzma_encode(many)),
        (5, imagecodecs.lzw_encode(bytes(10**6))),
        (32773, b"\x81\0" * 400_000),
    ):
        yield f"a strip of 4 KB that unpacks to more, codec {codec}", build(page(64, 64, [bomb], compression=codec))
    for codec in (2, 3, 4, 34887, 34926, 50013, 32809, 34713, 7, 6, 34712, 34934, 50001, 50002, 34933, 22610, 65000):
        yield f"codec {codec} of nothing", build(page(64, 64, [b""], compression=codec))
        yield f"codec {codec} of zeros", build(page(64, 64, [bytes(100)], compression=codec))


def pngs() -> Iterator[tuple[str, bytes]]:
    """Yield PNGs that unpack to more than they claim, or claim more than they contain."""
    bomb, small, head = zeros(2 * 10**9), zeros(2 * 10**7), ihdr(8, 8)
    rows = (b"IDAT", zlib.compress(bytes(72)))
    for name, body in ((b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb), (b"iTXt", b"a\0\1\0\0\0" + bomb)):
        yield f"png {name.decode()} bomb", png([head, (name, body), rows])
        yield f"png {name.decode()} bomb at the end", png([head, rows, (name, body)])
        yield f"png {name.decode()} 100 bombs", png([head, *[(name, body.replace(bomb, small))] * 100, rows])
        deep = [ihdr(8, 8, 16, 2), (name, body), (b"IDAT", zlib.compress(bytes(392)))]
        yield f"png {name.decode()} bomb in deep colour", png(deep)
    yield "png pixels bomb", png([head, (b"IDAT", bomb)])
    for size in (0, 13_000, 60_000, 2**31 - 1, 2**32 - 1):
        yield f"png {size} x {size}", png([ihdr(size, size), rows])
        yield f"png {size} x 1", png([ihdr(size, 1), rows])
        yield f"png {size} x {size} of 16 bits", png([ihdr(size, size, 16, 6), rows])
    yield "png 13,000 x 13,000 in truth", _flat_png(13_000)
    yield "png 11,000 x 11,000 of 16-bit colour", _flat_png(11_000, 16, 6)
    yield "png 100,000 chunks", png([head, *[(b"tEXt", b"a\0b")] * 100_000, rows])
    yield "png moving of 2**31 pictures", png([head, (b"acTL", struct.pack(">II", 2**31 - 1, 0)), rows])
    moving = (b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**31 - 1, 2**31 - 1, 5, 5, 1, 1, 9, 9))
    yield "png moving of huge pictures", png([head, (b"acTL", struct.pack(">II", 2, 0)), moving, rows])
    yield "png without palette", png([ihdr(8, 8, 8, 3), rows])
    yield "png palette of 256 in 1 bit", png([ihdr(8, 8, 1, 3), (b"PLTE", bytes(768)), rows])
    yield "png interlaced, cut", interlaced()[:200]
    yield "png exif loop", png([head, (b"eXIf", _EXIF_LOOP), rows])
    yield "png chunk of 2 GB", png([head])[:-12] + struct.pack(">I", 2**31 - 1) + b"IDAT"
    yield "png of 16 bits, header only", png([ihdr(8, 8)])[:26]
    yield "png signature", b"\x89PNG\r\n\x1a\n"
    yield "png pHYs", png([head, (b"pHYs", struct.pack(">IIB", 0, 2**32 - 1, 1)), rows])


def jpegs() -> Iterator[tuple[str, bytes]]:
    """Yield JPEGs that take far more time or memory than their size suggests, and incomplete ones."""
    for size in (0, 20_000, 65_500, 65_535):
        yield f"jpeg {size} x {size}", _jpeg(size)
    for n in (100, 10_000):
        yield f"jpeg progressive of {n} scans", _scans(8, n)
    yield "jpeg progressive of 3000 scans over 12,000 pixels a side", _scans(12_000, 3000)
    yield "jpeg of 100,000 comments", _after_start(b"\xff\xfe\x00\x04ab" * 100_000)
    profile = b"\xff\xe2\xff\xf0ICC_PROFILE\0"
    profiles = (profile + bytes([i, 255]) + bytes(65_504) for i in range(1, 256))
    yield "jpeg of 255 profiles", _after_start(b"".join(profiles))
    loop = b"Exif\0\0" + _EXIF_LOOP
    yield "jpeg exif loop", _after_start(b"\xff\xe1" + struct.pack(">H", len(loop) + 2) + loop)
    mpo = b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0" + struct.pack("<II", 2**32 - 1, 8)
    yield "jpeg of 2**32 pictures", _after_start(b"\xff\xe2" + struct.pack(">H", len(mpo) + 2) + mpo)
    yield "jpeg start only", b"\xff\xd8\xff\xe0"
    yield "jpeg of fill bytes", b"\xff\xd8" + b"\xff" * 1_000_000
    yield "jpeg without end", _jpeg(24)[:-40]


def bmps() -> Iterator[tuple[str, bytes]]:
    """Yield BMPs with impossible headers."""
    for width, height in (2**31 - 1, 2**31 - 1), (-8, 8), (8, -(2**31)), (0, 0), (60_000, 60_000), (13_000, 13_000):
        for bits, packing in (8, 0), (8, 1), (4, 2), (1, 0), (32, 3):
            name = f"bmp {width} x {height}, {bits} bits, packing {packing}"
            yield name, bmp_head(2000, 1078, width, height, bits, packing) + bytes(1100)
    jumps = bytes(1024) + b"\0\2\0\0" * 300_000
    yield "bmp of jumps", bmp_head(10**6, 1078, 13_000, 13_000, packing=1) + jumps
    for n in (0, 1, 2**31 - 1, 2**32 - 1):
        yield f"bmp of {n} colours", bmp_head(2000, 1078, 8, 8, tail=(0, 0, n, n)) + bytes(1100)
    for size in (0, 12, 13, 2**31 - 1, 2**32 - 1):
        yield f"bmp header of {size}", b"BM" + struct.pack("<IIII", 2000, 0, 1078, size) + bytes(1100)


def odd() -> Iterator[tuple[str, bytes]]:
    """Yield files that are no images, and valid TIFFs with unusual pictures."""
    yield "odd text", b"not an image\n" * 100
    yield "odd zeros", bytes(100_000)
    yield "odd byte", b"\0"
    for head in (b"GIF89a", b"RIFF\0\0\0\0WEBP", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"%PDF-1.7", b"PK\3\4", b"\x1f\x8b\x08",
                 b"8BPS", b"P5\n99999 99999\n255\n", b"\0\0\1\0", b"SIMPLE  =", b"\x93NUMPY", b"\x80\x04cos\nsystem\n",
                 b"#!/bin/sh\n", b"<svg/>", b"\0\0\0\x0cjP  \r\n\x87\n"):  # fmt: skip
        yield f"odd {head[:8]!r}", head + bytes(500)
    y, x = np.mgrid[:2000, :2000]
    yield "dots of 2000 x 2000", written(((y % 4 < 2) & (x % 4 < 2)).astype(np.uint8) * 255, compression="zlib")
    checks = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (2000, 2000))
    yield "checks of 4000 x 4000", written(checks, compression="zlib")
    yield "one pixel", written(np.full((1, 1), 7, np.uint8))
    yield "one row", written(np.arange(100_000, dtype=np.uint16)[None])


def _jpeg(size: int, progressive: bool = False) -> bytes:
    """Return a small JPEG whose header states another size."""
    out = BytesIO()
    Image.fromarray(picture()).save(out, "JPEG", progressive=progressive)
    data = bytearray(out.getvalue())
    at = next(data.find(bytes([0xFF, mark])) for mark in (0xC0, 0xC2) if bytes([0xFF, mark]) in data)
    data[at + 5 : at + 9] = struct.pack(">HH", size, size)
    return bytes(data)


def _scans(size: int, n: int) -> bytes:
    """Return a progressive JPEG whose first scan is repeated."""
    data = _jpeg(size, progressive=True)
    start = data.index(b"\xff\xda")
    following = data.find(b"\xff\xc4", start)
    end = following if following > 0 else data.index(b"\xff\xda", start + 2)
    return data[:start] + data[start:end] * n + data[end:]


def _after_start(more: bytes) -> bytes:
    data = _jpeg(24)
    return data[:2] + more + data[2:]


def _flat_png(size: int, bits: int = 8, colours: int = 0, rows: int | None = None) -> bytes:
    """Return a PNG of zeros that really contains all its rows, or only `rows` of them."""
    row = 1 + size * bits // 8 * {0: 1, 6: 4}[colours]
    return png([ihdr(size, size, bits, colours), (b"IDAT", zeros(row * (size if rows is None else rows)))])


def zeros(n: int) -> bytes:
    """Return n zeros compressed by zlib; one compressed block of a million is repeated, which saves time."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = (n % 65_521) << 16 | 1
    rest = packer.compress(bytes(n % 10**6)) + packer.flush()
    return b"\x78\xda" + block * (n // 10**6) + rest + struct.pack(">I", checksum)


def _jp2(size: int, tile: int | None = None, components: int | None = None) -> bytes:
    """Return a JPEG 2000 codestream whose header states another size."""
    data = bytearray(imagecodecs.jpeg2k_encode(picture(), codecformat="j2k"))
    at = data.index(b"\xff\x51") + 6
    data[at : at + 8] = struct.pack(">II", size, size)
    data[at + 16 : at + 24] = struct.pack(">II", tile or size, tile or size)
    if components:
        data[at + 32 : at + 34] = struct.pack(">H", components)
    return bytes(data)


def _webp(size: int) -> bytes:
    """Return a WebP of one colour, which needs no bits per pixel, with another size in its header."""
    data = bytearray(imagecodecs.webp_encode(np.zeros((8, 8, 3), np.uint8), lossless=True))
    at = data.index(b"VP8L") + 9
    fields = int.from_bytes(data[at : at + 4], "little") >> 28 << 28 | (size - 1) << 14 | size - 1
    data[at : at + 4] = fields.to_bytes(4, "little")
    return bytes(data)


def _jpeg_xr(size: int) -> bytes:
    """Return a JPEG XR whose tags of width and height state another size."""
    data = bytearray(imagecodecs.jpegxr_encode(picture()))
    start = int.from_bytes(data[4:8], "little")
    for at in range(start + 2, start + 2 + 12 * int.from_bytes(data[start : start + 2], "little"), 12):
        if struct.unpack_from("<H", data, at)[0] in (0xBC80, 0xBC81):
            data[at + 8 : at + 12] = struct.pack("<I", size)
    return bytes(data)

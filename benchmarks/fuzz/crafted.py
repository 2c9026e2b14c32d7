"""Files that somebody would have to think of: small on disk, endless, huge or curious when they are read."""

import os
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from benchmarks.fuzz import tiff
from benchmarks.fuzz.seeds import interlaced, lsm, ome, picture, png, stk, written
from benchmarks.fuzz.tiff import ASCII, LONG, SBYTE, SHORT, SUBIFDS, build, page, tiled

_FAR = 5 * 10**8
_WIDEST = ("-1", "0", "1e300", "-1e300", "1e-300", "NaN", "INF", "-INF", "1e400", "x", "", "1,5", "9" * 400)


def lay_traps(folder: Path) -> Path:
    """Return a folder to read files in, with what hostile ones name laid around it."""
    given = folder / "given"
    given.mkdir()
    for place in (folder, given):
        (place / "secret.tif").write_bytes(written(picture(np.uint16)))
        if hasattr(os, "mkfifo"):
            os.mkfifo(place / "pipe.tif")
    return given


def crafted(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, suffix, bytes) of every file; `folder` is the one that they will be read in."""
    for make in (_pages, _sizes, _streams, _texts, _omes, _pngs, _jpegs, _bmps, _odd):
        for name, data in make():
            is_tiff = data[:2] in (b"II", b"MM")
            suffix = ".ome.tif" if name.startswith("ome") else ".tif" if is_tiff else f".{make.__name__[1:-1]}"
            yield name, suffix, data
    for name, target in (
        ("absolute", folder.parent / "secret.tif"),
        ("up", "../secret.tif"),
        ("around", folder / ".." / "secret.tif"),
        ("beside", "secret.tif"),
        ("pipe", folder.parent / "pipe.tif"),
        ("pipe beside", "pipe.tif"),
        ("link to home", "~/secret.tif"),
        ("device", "/dev/zero"),
        ("passwords", "/etc/passwd"),
        ("terminal", "/dev/tty"),
        ("share", r"\\127.0.0.1\share\secret.tif"),
        ("address", "http://127.0.0.1:9/secret.tif"),
        ("address of a file", f"file://{folder.parent}/secret.tif"),
    ):
        named = f'<UUID FileName="{target}">urn:uuid:2</UUID>'
        yield f"ome names {name}", ".ome.tif", ome(other=named)
        # The first plane here, the second one there: a set of files as microscopes write it.
        yield f"ome names {name} for a plane", ".ome.tif", ome('SizeT="2"', plane='IFD="0" FirstT="1"', other=named)
    yield "ome binary only", ".ome.tif", _binary_only(str(folder.parent / "secret.tif"))
    yield "ome binary only beside", ".ome.tif", _binary_only("secret.tif")
    yield "micro-manager names files", ".tif", _micromanager(str(folder.parent / "secret.tif"))


def _pages() -> Iterator[tuple[str, bytes]]:
    """Yield chains of pages without an end, with very many, or with loops of SubIFDs."""
    for n in (1, 2, 3, 5, 99, 100, 101, 150, 1000):
        pages = [page(_270=(ASCII, b"x\0"))] * n
        yield f"circle of {n} pages", build(*pages, links={n - 1: 0})
        if n > 2:
            yield f"circle of the last of {n} pages", build(*pages, links={n - 1: n - 1})
            yield f"circle into the middle of {n} pages", build(*pages, links={n - 1: n // 2})
    yield "circle of 3 unlike pages", build(page(), page(4, 4), page(5, 5), links={2: 0})
    yield "circle of shaped pages", build(*[page(_270=(ASCII, b'{"shape": [2, 8, 8]}\0'))] * 2, links={1: 0})
    yield "circle of imagej pages", build(*[page(_270=(ASCII, b"ImageJ=1.5\nimages=9\n\0"))] * 2, links={1: 0})
    yield "circle of ome pages", _in_circle(ome(n_pages=2))
    yield "circle of stk pages", _in_circle(stk())
    yield "circle of lsm pages", _in_circle(lsm())
    yield "200,000 pages", _many_pages(200_000)
    yield "20,000 unlike pages", _many_pages(20_000, step=1)
    yield "200,000 pages of one IFD's room", _overlapping(200_000)
    for n in (1, 2, 1000, 100_000):
        yield f"SubIFD that is its own page, {n} times", _subifds(n)
    yield "SubIFDs in a circle", _subifd_circle()
    for claimed in (_FAR, 2**32 - 1):
        yield f"{claimed} SubIFDs", build(page(_330=(LONG, (claimed, bytes(8)))))
    yield "no page", b"II*\0\0\0\0\0"
    yield "page beyond the end", b"II*\0" + struct.pack("<I", 10**9)
    yield "page that is the header", b"II*\0\0\0\0\0"[:4] + struct.pack("<I", 2) + bytes(20)
    yield "65,535 tags", b"II*\0\x08\0\0\0\xff\xff" + bytes(12) * 65_535
    yield "2**60 tags", b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60)


def _sizes() -> Iterator[tuple[str, bytes]]:
    """Yield pages whose sizes, types or places cannot be."""
    text = (ASCII, b'{"shape": [9, 9, 9]}\0')
    for width, height in (-1, 8), (8, -1), (-1, -1), (-128, -128):
        sizes = {256: (SBYTE, width), 257: (SBYTE, height)}
        yield f"{width} x {height}", build(page() | sizes)
        yield f"{width} x {height}, shaped", build(page(_270=text) | sizes)
        yield f"{width} x {height}, imagej", build(page(_270=(ASCII, b"ImageJ=1\nimages=5\n\0")) | sizes)
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
    flat = zeros(30_400_000)
    yield "20 samples of float64 in 25 megapixels", build(
        page(5000, 5000, [flat] * 134, bits=64, samples=20, compression=8, _339=(SHORT, [3] * 20)) | {278: (LONG, 38)}
    )
    yield "5000 planes of one strip", _shared_strip(5000)
    for tile in (0, 1, 3, 16):
        yield f"tiles of {tile} in 5000 x 5000", build(tiled(5000, 5000, tile, [bytes(tile * tile)]))
    for tile in (4096, 20_000, 65_536, 2**31, 2**32 - 1):
        yield f"tile of {tile} in a page of 8", build(tiled(8, 8, tile, [bytes(64)]))
        yield f"tile of {tile}, packed", build(tiled(8, 8, tile, [zlib.compress(bytes(10**6))], compression=8))
    yield "tiles -1", build(tiled(8, 8, 16, [bytes(64)]) | {322: (SBYTE, -1), 323: (SBYTE, -1)})
    yield "tile depth", build(tiled(8, 8, 16, [bytes(64)], _32997=(LONG, _FAR), _32998=(LONG, _FAR)))
    yield "image depth", build(page(_32997=(LONG, _FAR)))
    for rows in (0, 1, 2**32 - 1):
        yield f"{rows} rows a strip", build(page() | {278: (LONG, rows)})
    yield "a row a strip in 100 million rows", build(page(10**8, 1, [bytes(64)]) | {278: (LONG, 1)})
    for offset in (10**6, 2**31, 2**32 - 1):
        yield f"strip at {offset}", build(page() | {273: (LONG, offset)})
        yield f"strip of {offset}", build(page(_279=(LONG, offset)))
        yield f"tile at {offset}", build(tiled(8, 8, 16, []) | {324: (LONG, offset), 325: (LONG, offset)})
    for tag in (258, 270, 273, 279, 282, 305, 320, 339, 347, 33628, 33629, 34412, 34665, 43314, 50838, 50839, 51123, 65420):
        for claimed in (_FAR, 2**32 - 1):
            yield f"{claimed} values of tag {tag}", build(page() | {tag: (LONG, (claimed, bytes(8)))})
    for kind in (0, 14, 15, 99, 65_535):
        yield f"type {kind}", build(page() | {256: (kind, (1, b"\x08\0\0\0"))} if kind in tiff.SIZES else page()).replace(
            struct.pack("<HHI", 256, LONG, 1), struct.pack("<HHI", 256, kind, 1)
        )
    for name, value in ("nothing", [0, 0]), ("by 0", [1, 0]), ("huge", [1, 2**32 - 1]), ("tiny", [2**32 - 1, 1]):
        yield f"resolution {name}", build(page(_282=(tiff.RATIONAL, value), _283=(tiff.RATIONAL, value), _296=(SHORT, 3)))
    yield "resolution unit 99", build(page(_282=(tiff.RATIONAL, [1, 1]), _296=(SHORT, 99)))
    for value in (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-320):
        yield f"pixels {value}", written(np.full((8, 8), value), metadata=None)
    yield "palette of one colour", build(page(photometric=3, _320=(SHORT, [1, 2, 3])))
    yield "palette missing", build(page(photometric=3))
    for predictor in (2, 3, 34892, 34895, 9):
        yield f"predictor {predictor}", build(page(data=[zlib.compress(bytes(64))], compression=8, _317=(SHORT, predictor)))


def _streams() -> Iterator[tuple[str, bytes]]:
    """Yield pages of 64 x 64 that wrap a picture far larger than the page."""
    big = {"jpeg": _jpeg(65_500), "jpeg gray progressive": _jpeg(65_500, progressive=True), "png": _flat_png(60_000)}
    big |= {"jpeg 2000": _jp2(16_000), "jpeg 2000 huge": _jp2(2**31 - 1), "webp": _webp(16_383), "jpeg xl": imagecodecs.jpegxl_encode(np.zeros((4000, 4000), np.uint8))}
    big |= {"jpeg xr": _jpeg_xr(60_000), "png small stream": _flat_png(60_000, rows=10), "png 16": _flat_png(20_000, 16)}
    codecs = {"jpeg": (7, 6, 34892, 33007), "png": (34933,), "jpeg 2000": (34712, 33003, 33005), "webp": (50001, 34927),
              "jpeg xl": (50002, 52546), "jpeg xr": (34934, 22610)}  # fmt: skip
    for name, data in big.items():
        for codec in next(numbers for start, numbers in reversed(codecs.items()) if name.startswith(start)):
            yield f"{name} larger than its page, codec {codec}", build(page(64, 64, [data], compression=codec))
            yield f"{name} larger than its tile, codec {codec}", build(tiled(64, 64, 64, [data], compression=codec))
    old = page(64, 64, [_jpeg(65_500)], compression=6, _512=(SHORT, 1))
    yield "old jpeg by its own tags", build(old | {513: (LONG, 8), 514: (LONG, 600)})
    yield "old jpeg of no stream", build(page(64, 64, [bytes(64)], compression=6, _513=(LONG, 10**9), _514=(LONG, 99)))
    split = _jpeg(65_500).find(b"\xff\xda")
    yield "jpeg tables that state a size", build(
        page(64, 64, [_jpeg(64)], compression=7, _347=(7, _jpeg(65_500)[:split] + b"\xff\xd9"))
    )
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


def _texts() -> Iterator[tuple[str, bytes]]:
    """Yield descriptions that lie, or that are hard to read."""
    texts = {}
    for shape in ([-1, 8, 8], [_FAR, 8, 8], [0, 8, 8], [1e300, 8, 8], [], [8], [[8, 8]], [2**63, 8, 8], ["8", 8], [1] * 70):
        texts[f"shape {str(shape)[:30]}"] = f'{{"shape": {shape}}}'.replace("'", '"')
    texts |= {
        "shape as text": '{"shape": "8,8"}',
        "shape of NaN": '{"shape": [NaN, Infinity, 8]}',
        "axes of another length": '{"shape": [8, 8], "axes": "TZCYXSQ"}',
        "axes twice": '{"shape": [1, 8, 8], "axes": "YYX"}',
        "no X": '{"shape": [8, 8], "axes": "TZ"}',
        "truncated true": f'{{"shape": [{_FAR}, 8, 8], "truncated": true}}',
        "deep lists": '{"shape": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "deep json": '{"shape": [8, 8], "a": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}",
        "a number of 100,000 digits": '{"shape": [' + "9" * 100_000 + ", 8]}",
        "shaped by old rule": f"shape=({_FAR},8,8)",
        "line breaks and escapes": '{"shape": ["\\u001b[2J\\n", 8]}',
    }
    for name in ("images", "frames", "slices", "channels"):
        for number in ("-1", "0", str(_FAR), str(2**63), "1e300", "nan", "x", "9" * 5000):
            texts[f"imagej {name}={number[:20]}"] = f"ImageJ=1.53\n{name}={number}\nhyperstack=true\n"
    texts["imagej all many"] = "ImageJ=1.53\nimages=1000000000\nframes=1000\nslices=1000\nchannels=1000\n"
    texts["imagej one page of many"] = "ImageJ=1.53\nimages=100000\nslices=100000\n"
    texts["imagej of deep indent"] = "ImageJ=1.53\n" + "a=b\n" * 200_000
    texts["scanimage"] = f"state.acq.numberOfFrames={_FAR}\nstate.acq.numberOfZSlices={_FAR}\n"
    texts["svs"] = "Aperio Image Library v1\n" + "|a = 1" * 200_000
    texts["metaseries deep"] = "<MetaData>" + "<a>" * 100_000 + "</MetaData>"
    texts["indica deep"] = "<indica>" + "<a>" * 100_000 + "</indica>"
    scn = '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection><image>'
    for name, number in ("-1", "-1"), ("far", str(_FAR)), ("x", "x"):
        dimension = f'<dimension r="0" z="{number}" c="0" sizeX="8" sizeY="8" ifd="{number}"/>'
        texts[f"scn z {name}"] = f"{scn}<pixels sizeX='{number}' sizeY='8'>{dimension}</pixels></image></collection></scn>"
    for name, text in texts.items():
        pages = [page(_270=(ASCII, text.encode() + b"\0"))] * 2
        yield f"text {name}", build(*pages)
    yield "text imagej bytes lie", build(page(_270=(ASCII, b"ImageJ=1\n\0"), _50838=(LONG, [12, _FAR]), _50839=(1, b"IJIJ")))
    yield "nih image", build(page(_43314=(1, struct.pack(">4sIHH", b"8TGN", 0, 65_535, 65_535).ljust(440, b"\xff"))))


def _omes() -> Iterator[tuple[str, bytes]]:
    """Yield OME-XML with sizes, planes and scales that cannot be, and XML bombs."""
    for axis in "TZCXY":
        for number in (_FAR, -1, 0, 2**63, "1e300", "x", "", "9" * 5000):
            yield f"ome Size{axis} {str(number)[:20]}", ome(f'Size{axis}="{number}"')
    yield "ome all sizes", ome('SizeT="1000" SizeZ="1000" SizeC="1000"')
    for name in ("FirstT", "FirstZ", "FirstC", "IFD", "PlaneCount", "NumPlanes"):
        for number in (_FAR, -1, 2**63, "1e300", "x", "9" * 5000):
            yield f"ome {name} {str(number)[:20]}", ome('SizeT="2"', plane=f'IFD="0" {name}="{number}"'.replace(
                'IFD="0" IFD', "IFD"))  # fmt: skip
    for number in _WIDEST:
        yield f"ome PhysicalSizeX {number[:10]}", ome(f'PhysicalSizeX="{number}" PhysicalSizeY="1"')
    for unit in ("m", "nm", "parsec", "pixel", "reference frame", "", "Å"):
        yield f"ome unit {unit}", ome(f'PhysicalSizeX="1" PhysicalSizeXUnit="{unit.replace(" ", "_")}"')
    for name in ("Type", "DimensionOrder"):
        for value in ("", "XYZCTQ", "double-complex", "bit", "TTTTT", "YX", "XY"):
            yield f"ome {name} {value}", ome(f'{name}="{value}"')
    yield "ome samples", ome().replace(b'SamplesPerPixel="1"', b'SamplesPerPixel="9"')
    bomb = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    yield "ome entities in entities", ome("&a9;", before=f'<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">{bomb}]>')
    yield "ome entities in text", ome(other="&a9;", before=f'<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">{bomb}]>')
    flat = f'<!DOCTYPE x [<!ENTITY a "{"a" * 100_000}">]>'
    yield "ome entity of 100,000 letters, 20,000 times", ome(other="&a;" * 20_000, before=flat)
    yield "ome entity of a file", ome(other="&a;", before='<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>')
    yield "ome doctype elsewhere", ome(before='<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">')
    yield "ome deep", ome(other="<a>" * 100_000 + "</a>" * 100_000)
    yield "ome deep text", ome(other="<UUID>" + "<a>" * 20_000)
    yield "ome 100,000 attributes", ome(" ".join(f'a{i}="1"' for i in range(100_000)))
    yield "ome 100,000 TiffData", ome('SizeT="2"', other="</TiffData>" + "<TiffData/>" * 100_000 + "<TiffData>")
    yield "ome planes of every TiffData", ome(
        'SizeT="100000"', other="</TiffData>" + '<TiffData IFD="0" PlaneCount="100000"/>' * 2000 + "<TiffData>"
    )
    yield "ome 20,000 images", ome(other="</TiffData></Pixels></Image>" + _image() * 20_000 + "<Image><Pixels><TiffData>")
    yield "ome 1000 images of 10 MB", ome(
        other="</TiffData></Pixels></Image>" + _image(1_000_000) * 1000 + "<Image><Pixels><TiffData>"
    )
    yield "ome 100,000 channels", ome(other="</TiffData>" + "<Channel/>" * 100_000 + "<TiffData>")
    yield "ome modulo", ome(other="</TiffData></Pixels></Image><StructuredAnnotations><XMLAnnotation><Value><Modulo>"
                            f'<ModuloAlongT Type="phase" Start="0" Step="1e-9" End="{_FAR}"/></Modulo></Value>'
                            "</XMLAnnotation></StructuredAnnotations><Image><Pixels><TiffData>")  # fmt: skip
    yield "ome broken", ome()[:-1].replace(b"</OME>", b"<<OME>")
    yield "ome utf-16", build(page(_270=(ASCII, '<?xml version="1.0" encoding="UTF-16"?></OME>'.encode() + b"\0")))
    yield "ome channel names", ome().replace(b'ID="Channel:0:0"', b'Name="\x1b[2J\n\xff"')


def _pngs() -> Iterator[tuple[str, bytes]]:
    """Yield PNGs that unpack to more than they say, or say more than they hold."""
    bomb, head = zeros(2 * 10**9), _ihdr(8, 8)
    rows = (b"IDAT", zlib.compress(bytes(72)))
    for name, body in ((b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb), (b"iTXt", b"a\0\1\0\0\0" + bomb)):
        yield f"png {name.decode()} bomb", png([head, (name, body), rows])
        yield f"png {name.decode()} bomb at the end", png([head, rows, (name, body)])
        yield f"png {name.decode()} 300 bombs", png([head, *[(name, body)] * 300, rows])
        deep = (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
        yield f"png {name.decode()} bomb in deep colour", png([deep, (name, body), (b"IDAT", zlib.compress(bytes(392)))])
    yield "png pixels bomb", png([head, (b"IDAT", bomb)])
    for size in (0, 13_000, 60_000, 2**31 - 1, 2**32 - 1):
        yield f"png {size} x {size}", png([_ihdr(size, size), rows])
        yield f"png {size} x 1", png([_ihdr(size, 1), rows])
        deep = (b"IHDR", struct.pack(">IIBBBBB", size, size, 16, 6, 0, 0, 0))
        yield f"png {size} x {size} of 16 bits", png([deep, rows])
    yield "png 13,000 x 13,000 in truth", _flat_png(13_000)
    yield "png 11,000 x 11,000 of 16-bit colour", _flat_png(11_000, 16, 6)
    yield "png 100,000 chunks", png([head, *[(b"tEXt", b"a\0b")] * 100_000, rows])
    yield "png moving of 2**31 pictures", png([head, (b"acTL", struct.pack(">II", 2**31 - 1, 0)), rows])
    moving = (b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**31 - 1, 2**31 - 1, 5, 5, 1, 1, 9, 9))
    yield "png moving of huge pictures", png([head, (b"acTL", struct.pack(">II", 2, 0)), moving, rows])
    yield "png without palette", png([(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 3, 0, 0, 0)), rows])
    yield "png palette of 256 in 1 bit", png(
        [(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 1, 3, 0, 0, 0)), (b"PLTE", bytes(768)), rows]
    )
    yield "png interlaced, cut", interlaced()[:200]
    yield "png exif loop", png([head, (b"eXIf", b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"), rows])
    yield "png chunk of 2 GB", png([head])[:-12] + struct.pack(">I", 2**31 - 1) + b"IDAT"
    yield "png of 16 bits, header only", png([_ihdr(8, 8)])[:26]
    yield "png signature", b"\x89PNG\r\n\x1a\n"
    yield "png pHYs", png([head, (b"pHYs", struct.pack(">IIB", 0, 2**32 - 1, 1)), rows])


def _jpegs() -> Iterator[tuple[str, bytes]]:
    """Yield JPEGs that cost more than they are."""
    for size in (0, 20_000, 65_500, 65_535):
        yield f"jpeg {size} x {size}", _jpeg(size)
    for n in (100, 10_000):
        yield f"jpeg progressive of {n} scans", _scans(8, n)
    yield "jpeg progressive of 3000 scans over 12,000 pixels a side", _scans(12_000, 3000)
    yield "jpeg of 100,000 comments", _after_start(b"\xff\xfe\x00\x04ab" * 100_000)
    yield "jpeg of 255 profiles", _after_start(b"".join(b"\xff\xe2\xff\xf0ICC_PROFILE\0" + bytes([i, 255]) + bytes(65_504)
                                                       for i in range(1, 256)))  # fmt: skip
    loop = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
    yield "jpeg exif loop", _after_start(b"\xff\xe1" + struct.pack(">H", len(loop) + 2) + loop)
    mpo = b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0" + struct.pack("<II", 2**32 - 1, 8)
    yield "jpeg of 2**32 pictures", _after_start(b"\xff\xe2" + struct.pack(">H", len(mpo) + 2) + mpo)
    yield "jpeg start only", b"\xff\xd8\xff\xe0"
    yield "jpeg of fill bytes", b"\xff\xd8" + b"\xff" * 1_000_000
    yield "jpeg without end", _jpeg(24)[:-40]


def _bmps() -> Iterator[tuple[str, bytes]]:
    """Yield BMPs whose header cannot be."""
    for width, height in (2**31 - 1, 2**31 - 1), (-8, 8), (8, -(2**31)), (0, 0), (60_000, 60_000), (13_000, 13_000):
        for bits, packing in (8, 0), (8, 1), (4, 2), (1, 0), (32, 3):
            head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, 0, 0, 0, 0, 0)
            yield f"bmp {width} x {height}, {bits} bits, packing {packing}", b"BM" + struct.pack(
                "<IIII", 2000, 0, 1078, 0)[:12] + head + bytes(1100)  # fmt: skip
    long = struct.pack("<IiiHHIIiiII", 40, 13_000, 13_000, 1, 8, 1, 0, 0, 0, 0, 0)
    yield "bmp of jumps", b"BM" + struct.pack("<III", 10**6, 0, 1078) + long + bytes(1024) + b"\0\2\0\0" * 300_000
    for n in (0, 1, 2**31 - 1, 2**32 - 1):
        head = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 8, 0, 0, 0, 0, n, n)
        yield f"bmp of {n} colours", b"BM" + struct.pack("<III", 2000, 0, 1078) + head + bytes(1100)
    for size in (0, 12, 13, 2**31 - 1, 2**32 - 1):
        yield f"bmp header of {size}", b"BM" + struct.pack("<IIII", 2000, 0, 1078, size) + bytes(1100)


def _odd() -> Iterator[tuple[str, bytes]]:
    """Yield files that are something else."""
    yield "odd text", b"not an image\n" * 100
    yield "odd zeros", bytes(100_000)
    yield "odd byte", b"\0"
    for head in (b"GIF89a", b"RIFF\0\0\0\0WEBP", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"%PDF-1.7", b"PK\3\4", b"\x1f\x8b\x08",
                 b"8BPS", b"P5\n99999 99999\n255\n", b"\0\0\1\0", b"SIMPLE  =", b"\x93NUMPY", b"\x80\x04cos\nsystem\n",
                 b"#!/bin/sh\n", b"<svg/>", b"\0\0\0\x0cjP  \r\n\x87\n"):  # fmt: skip
        yield f"odd {head[:8]!r}", head + bytes(500)
    y, x = np.mgrid[:2000, :2000]
    yield "dots of 2000 x 2000", written(((y % 4 < 2) & (x % 4 < 2)).astype(np.uint8) * 255, compression="zlib")
    yield "checks of 4000 x 4000", written(((np.add.outer(np.arange(4000), np.arange(4000)) % 2) * 255).astype(np.uint8),
                                           compression="zlib")  # fmt: skip
    yield "one pixel", written(np.full((1, 1), 7, np.uint8))
    yield "one row", written(np.arange(100_000, dtype=np.uint16)[None])


def _in_circle(data: bytes) -> bytes:
    layout, out = tiff.Layout(data), bytearray(data)
    struct.pack_into("<I", out, max(layout.nexts), min(layout.ifds))
    return bytes(out)


def _many_pages(n: int, step: int = 0) -> bytes:
    """Return n pages of 8 tags; each a little larger than the last where `step` is given."""
    out, tags = bytearray(struct.pack("<2sHI", b"II", 42, 8)), 8
    for i in range(n):
        out += struct.pack("<H", tags)
        size = 8 + step * i % 1000
        for tag, value in (256, size), (257, size), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (279, 64):
            out += struct.pack("<HHII", tag, LONG, 1, value)
        out += struct.pack("<I", len(out) + 4 if i < n - 1 else 0)
    return bytes(out)


def _overlapping(n: int) -> bytes:
    """Return n IFDs without a tag, 6 bytes each."""
    out = bytearray(struct.pack("<2sHI", b"II", 42, 8))
    for i in range(n):
        out += struct.pack("<HI", 0, len(out) + 6 if i < n - 1 else 0)
    return bytes(out)


def _subifds(n: int) -> bytes:
    data = build(page(_330=(LONG, [8] * n)))
    at = int.from_bytes(data[4:8], "little")
    return data.replace(struct.pack(f"<{n}I", *[8] * n), struct.pack(f"<{n}I", *[at] * n), 1) if n > 1 else (
        data.replace(struct.pack("<HHII", SUBIFDS, LONG, 1, 8), struct.pack("<HHII", SUBIFDS, LONG, 1, at))
    )


def _subifd_circle() -> bytes:
    """Return two pages, each a SubIFD of the other."""
    out = bytearray(build(page(_330=(LONG, 0)), page(_330=(LONG, 0))))
    layout = tiff.Layout(bytes(out))
    for entry in layout.entries:
        if entry.tag == SUBIFDS:
            struct.pack_into("<I", out, entry.value, max(i for i in layout.ifds if not i <= entry.place < i + 200))
    return bytes(out)


def _shared_strip(n: int) -> bytes:
    """Return n planes of 5000 x 5000 that are all packed into the same strip."""
    one = page(5000, 5000, [zeros(25_000_000)], samples=n, compression=8, _284=(SHORT, 2))
    data = build(one | {258: (SHORT, [8] * n)})
    entry = next(e for e in tiff.Layout(data).entries if e.tag == 273)
    counts = struct.pack("<I", len(one["data"][0]))
    return build(one | {258: (SHORT, [8] * n), 273: (LONG, [entry.value and 8] * n), 279: (LONG, (n, counts * n))})


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


def _ihdr(width: int, height: int, bits: int = 8, colours: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)


def _flat_png(size: int, bits: int = 8, colours: int = 0, rows: int | None = None) -> bytes:
    """Return a PNG whose rows are truly there, unless fewer are asked for."""
    row = 1 + size * bits // 8 * {0: 1, 6: 4}[colours]
    return png([_ihdr(size, size, bits, colours), (b"IDAT", zeros(row * (size if rows is None else rows)))])


def zeros(n: int) -> bytes:
    """Return n zeros in the form of zlib, without compressing them all: the blocks of a million each are the same."""
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
    """Return a WebP of one colour, which needs no bits a pixel, with another size in its header."""
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


def _image(size_t: int = 1) -> str:
    return (f'<Image ID="I"><Pixels SizeX="8" SizeY="8" SizeZ="1" SizeC="1" SizeT="{size_t}" Type="uint8" '
            'DimensionOrder="XYCZT"><TiffData/></Pixels></Image>')  # fmt: skip


def _binary_only(target: str) -> bytes:
    xml = ('<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
           f'<BinaryOnly MetadataFile="{target}" UUID="urn:uuid:2"/></OME>')  # fmt: skip
    return build(page(_270=(ASCII, xml.encode() + b"\0")))


def _micromanager(target: str) -> bytes:
    """Return a file with Micro-Manager's tag and a description that names another file."""
    return build(page(_51123=(ASCII, f'{{"FileName": "{target}", "Frames": {_FAR}}}'.encode() + b"\0"), _270=(
        ASCII, b"ImageJ=1.5\nimages=9\n\0")))  # fmt: skip


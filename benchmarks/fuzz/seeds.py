"""One small valid file of every kind that `cellcycle.images` reads."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from benchmarks.fuzz import tiff

_TIFF_TYPES = ("uint8", "uint16", "uint32", "int16", "float32", "float64")
_TIFF_CODECS = ("deflate", "lzw", "packbits", "zstd", "lzma", "jpeg", "jpeg2000", "jpegxr", "png", "jpegxl")


@cache
def seeds() -> dict[str, tuple[str, bytes]]:
    """Return (suffix, bytes) of each kind, always in the same order."""
    return dict(_pillow()) | dict(_png_by_hand()) | dict(_tiffs()) | dict(_microscopes())


def picture(dtype=np.uint8, height=24, width=20) -> np.ndarray:
    """Return a picture (H, W) of one nucleus in any number type."""
    y, x = np.mgrid[:height, :width]
    disc = np.exp(-(((y - 11) / 6) ** 2) - ((x - 9) / 5) ** 2)
    if dtype is bool:
        return disc > 0.5
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (disc * top).astype(dtype)


def colour(dtype=np.uint8, n_channels=3) -> np.ndarray:
    """Return a colour picture (24, 20, C) of a nucleus in the blue channel."""
    pixels = np.zeros((24, 20, n_channels), dtype)
    pixels[..., 2] = picture(dtype)
    return pixels


def _pillow() -> Iterator[tuple[str, tuple[str, bytes]]]:
    gray, rgb, rgba = Image.fromarray(picture()), Image.fromarray(colour()), Image.fromarray(colour(n_channels=4))
    palette = gray.convert("P")
    for name, image, options in (
        ("png gray", gray, {}),
        ("png rgb", rgb, {"dpi": (72, 72)}),
        ("png rgba", rgba, {}),
        ("png gray alpha", gray.convert("LA"), {}),
        ("png palette", palette, {"transparency": 3}),
        ("png 1 bit", gray.convert("1"), {}),
        ("png 16 bit", Image.fromarray(picture(np.uint16)), {}),
        ("png moving", gray, {"save_all": True, "append_images": [gray.rotate(90)], "duration": 50}),
        ("jpeg gray", gray, {"format": "JPEG"}),
        ("jpeg rgb", rgb, {"format": "JPEG", "subsampling": 2, "comment": b"a nucleus"}),
        ("jpeg progressive", rgb, {"format": "JPEG", "progressive": True}),
        ("jpeg cmyk", rgb.convert("CMYK"), {"format": "JPEG"}),
        ("bmp gray", gray, {"format": "BMP"}),
        ("bmp rgb", rgb, {"format": "BMP"}),
        ("bmp rgba", rgba, {"format": "BMP"}),
        ("bmp 1 bit", gray.convert("1"), {"format": "BMP"}),
    ):
        out = io.BytesIO()
        image.save(out, **{"format": "PNG"} | options)
        yield name, (f".{name.split()[0].replace('jpeg', 'jpg')}", out.getvalue())


def _png_by_hand() -> Iterator[tuple[str, tuple[str, bytes]]]:
    yield "png rgb 16 bit", (".png", imagecodecs.png_encode(colour(np.uint16)))
    yield "png interlaced", (".png", interlaced())
    rows = b"".join(bytes([20, value]) + b"\0\0" for value in range(0, 240, 10)) + b"\0\1"
    colours = b"".join(bytes([i, i, i, 0]) for i in range(256))
    start = 14 + 40 + len(colours)
    head = bmp_head(start + len(rows), start, 20, 24, packing=1, tail=(2835, 2835, 256, 0))
    yield "bmp rle", (".bmp", head + colours + rows)


def bmp_head(size: int, start: int, width: int, height: int, bits=8, packing=0, tail=(0, 0, 0, 0)) -> bytes:
    """Return both headers of a BMP of `size` bytes, pixels from offset `start`; `tail`: pixels per metre, colours."""
    return struct.pack("<2sIIIIiiHHIIiiII", b"BM", size, 0, start, 40, width, height, 1, bits, packing, 0, *tail)


def interlaced() -> bytes:
    """Return a gray PNG in the seven passes of Adam7, which Pillow does not write."""
    pixels, rows = picture(), bytearray()
    for y, x, dy, dx in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                         (1, 0, 2, 1)):  # fmt: skip
        for row in pixels[y::dy, x::dx]:
            rows += b"\0" + row.tobytes()
    return png([ihdr(20, 24, is_interlaced=True), (b"IDAT", zlib.compress(bytes(rows)))])


def ihdr(width: int, height: int, bits=8, colours=0, is_interlaced=False) -> tuple[bytes, bytes]:
    """Return the first chunk of a PNG."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, is_interlaced)


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG of these chunks, with correct checksums and an end chunk."""
    out = bytearray(b"\x89PNG\r\n\x1a\n")
    for name, body in [*chunks, (b"IEND", b"")]:
        out += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return bytes(out)


def written(*pixels: np.ndarray, **options) -> bytes:
    """Return a TIFF written by tifffile, with one call per picture."""
    out = io.BytesIO()
    opening = {name: options.pop(name) for name in ("bigtiff", "byteorder", "ome", "imagej") if name in options}
    with tifffile.TiffWriter(out, **opening) as writer:
        for each in pixels:
            writer.write(each, **options)
    return out.getvalue()


def _tiffs() -> Iterator[tuple[str, tuple[str, bytes]]]:
    gray, deep = picture(), picture(np.uint16)
    stack, rows = np.stack([deep, deep // 2, deep // 3]), imagecodecs.packbits_encode(bytes(32))
    plain = {"metadata": None}
    rgb, palette = plain | {"photometric": "rgb"}, np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    made: dict[str, Callable[[], bytes]] = {
        **{f"tiff {t}": lambda t=t: written(picture(np.dtype(t)), **plain) for t in _TIFF_TYPES},
        "tiff bool": lambda: written(picture(bool), **plain),
        **{f"tiff {c}": lambda c=c: written(gray, compression=c, **plain) for c in _TIFF_CODECS},
        "tiff jpeg rgb": lambda: written(colour(), compression="jpeg", **rgb),
        "tiff webp": lambda: written(colour(), compression="webp", **rgb),
        "tiff tiled": lambda: written(deep, tile=(16, 16), **plain),
        "tiff tiled deflate": lambda: written(deep, tile=(16, 16), compression="deflate", predictor=True, **plain),
        "tiff strips": lambda: written(gray, rowsperstrip=5, **plain),
        "tiff rgb": lambda: written(colour(), **rgb),
        "tiff planar": lambda: written(np.moveaxis(colour(), -1, 0), planarconfig="separate", **rgb),
        "tiff alpha": lambda: written(colour(n_channels=4), extrasamples=["unassalpha"], **rgb),
        "tiff big": lambda: written(deep, bigtiff=True, **plain),
        "tiff big-endian": lambda: written(deep, byteorder=">", **plain),
        "tiff big big-endian tiled": lambda: written(deep, byteorder=">", bigtiff=True, tile=(16, 16), **plain),
        "tiff predictor": lambda: written(deep, compression="lzw", predictor=True, **plain),
        "tiff float predictor": lambda: written(picture(np.float32), compression="deflate", predictor=3, **plain),
        "tiff min-is-white": lambda: written(gray, photometric="miniswhite", **plain),
        "tiff palette": lambda: written(gray, photometric="palette", colormap=palette, **plain),
        "tiff pages": lambda: written(deep, deep, deep, **plain),
        "tiff shaped": lambda: written(stack, photometric="minisblack"),
        "tiff shaped one plane": lambda: written(gray),
        "tiff resolution": lambda: written(deep, resolution=(4e4, 4e4), resolutionunit="CENTIMETER", **plain),
        "tiff pyramid": lambda: _pyramid(2, 4, **plain),
        "tiff 4 bit": lambda: tiff.build(tiff.page(bits=4)),
        "tiff fax": lambda: tiff.build(tiff.page(16, 16, [rows], bits=1, compression=32773, photometric=0)),
    }
    for name, make in made.items():
        yield name, (".tif", make())


def _pyramid(*steps: int, ome=None, **options) -> bytes:
    """Return a tiled TIFF whose reduced sizes are SubIFDs."""
    out, pixels = io.BytesIO(), picture(np.uint16, 64, 48)
    with tifffile.TiffWriter(out, ome=ome) as writer:
        writer.write(pixels, tile=(16, 16), subifds=len(steps), **options)
        for step in steps:
            writer.write(pixels[::step, ::step], tile=(16, 16), subfiletype=1, **options)
    return out.getvalue()


def _microscopes() -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Yield TIFFs with metadata of microscopes and their programs."""
    deep = picture(np.uint16)
    hyper = np.broadcast_to(deep, (2, 3, 2, 24, 20))  # TZCYX
    zc = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "actin"]}, "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm"}
    told = {"axes": "TZCYX", "unit": "um", "Labels": ["a"] * 12}
    yield "imagej", (".tif", written(hyper, imagej=True, metadata=told))
    yield "imagej z", (".tif", written(hyper[0, :, 0], imagej=True, metadata={"axes": "ZYX", "mode": "grayscale"}))
    yield "ome", (".ome.tif", written(hyper[0], ome=True, metadata=zc))
    yield "ome time", (".ome.tif", written(hyper[:, 0, 0], ome=True, metadata={"axes": "TYX"}))
    yield "ome big", (".ome.tif", written(deep, ome=True, bigtiff=True, metadata={"axes": "YX"}))
    yield "ome colour", (".ome.tif", written(colour(), ome=True, photometric="rgb", metadata={"axes": "YXS"}))
    yield "ome pyramid", (".ome.tif", _pyramid(2, ome=True))
    yield "ome other file", (".ome.tif", ome(other='<UUID FileName="secret.tif">urn:uuid:1</UUID>'))
    yield "stk", (".stk", stk())
    yield "lsm", (".lsm", lsm())
    for name, text in DESCRIPTIONS.items():
        yield name, (".tif", tiff.build(*[tiff.described(text)] * 2))


# Descriptions by which tifffile recognises a format; each has its own parser.
DESCRIPTIONS = {
    "metaseries": '<MetaData><PlaneInfo><prop id="spatial-calibration-x" type="float" value="0.5"/></PlaneInfo>'
    "</MetaData>",
    "svs": "Aperio Image Library v1\n8x8 [0,0 8x8] (8x8) |AppMag = 40|MPP = 0.25",
    "scn": '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection sizeX="8" '
    'sizeY="8"><image><pixels sizeX="8" sizeY="8"><dimension r="0" z="0" c="0" sizeX="8" sizeY="8" ifd="0"/></pixels>'
    "</image></collection></scn>",
    "philips": '<?xml version="1.0"?><DataObject ObjectType="DPUfsImport"><Attribute Name="PIM_DP_SCANNED_IMAGES">1'
    "</Attribute></DataObject>",
    "scanimage": "state.acq.numberOfFrames=2\nstate.acq.numberOfZSlices=1\n",
    "shaped text": '{"shape": [2, 8, 8], "axes": "ZYX"}',
    "imagej text": "ImageJ=1.53\nimages=2\nchannels=1\nslices=2\nframes=1\nspacing=0.5\nunit=um\n",
    "indica": '<indica><image><channels><channel id="0" name="DAPI"/></channels></image></indica>',
    "qpi": '<PerkinElmer-QPI-ImageDescription><ImageType>FullResolution</ImageType><Name>DAPI</Name>'
    "</PerkinElmer-QPI-ImageDescription>",
}  # fmt: skip


def ome(pixels: str = "", other: str = "", plane: str = 'IFD="0" PlaneCount="1"', before: str = "", n_pages=1) -> bytes:
    """Return an OME-TIFF made by hand; `pixels` are attributes of Pixels that replace the correct ones."""
    given = {a.split("=")[0] for a in pixels.split()}
    right = 'SizeX="8" SizeY="8" SizeZ="1" SizeC="1" SizeT="1" Type="uint8" DimensionOrder="XYCZT"'
    kept = " ".join(a for a in right.split() if a.split("=")[0] not in given)
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" {kept} {pixels}><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        f"<TiffData {plane}>{other}</TiffData></Pixels></Image></OME>"
    )
    return tiff.build(tiff.described(xml), *[tiff.page()] * (n_pages - 1))


def stk() -> bytes:
    """Return a MetaMorph stack: planes are consecutive in one strip, and the UIC tags give their number."""
    planes = 3
    uic1 = tiff.LONG, (2, struct.pack("<4I", 0, 1, 4, 0))
    uic2 = tiff.RATIONAL, (planes, struct.pack("<6I", 1, 1, 2_450_000, 0, 2_450_000, 0) * planes)
    uic3, uic4 = (tiff.RATIONAL, (planes, struct.pack("<2I", 500, 1) * planes)), (tiff.LONG, (planes, bytes(8)))
    uics = {"_33628": uic1, "_33629": uic2, "_33630": uic3, "_33631": uic4}
    return tiff.build(tiff.page(data=[bytes(64 * planes)], _279=(tiff.LONG, 64), **uics))


def lsm() -> bytes:
    """Return a Zeiss LSM file: pages alternate with thumbnails, and one block of numbers gives the sizes."""
    info = struct.pack("<Ii5i3i6d", 67127628, 500, 8, 8, 2, 1, 1, 1, 8, 8, *[2e-7] * 3, 0, 0, 0).ljust(500, b"\0")
    main, small = tiff.page(_34412=(tiff.BYTE, info)), tiff.page(4, 4, _254=(tiff.LONG, 1))
    return tiff.build(main, small, tiff.page(), small)

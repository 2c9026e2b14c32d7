"""TIFFs with false descriptions: JSON, ImageJ, OME-XML and formats of microscopes."""

import struct
from collections.abc import Iterator

from benchmarks.fuzz.seeds import ome
from benchmarks.fuzz.tiff import LONG, build, described, page

FAR = 5 * 10**8
_WIDEST = ("-1", "0", "1e300", "-1e300", "1e-300", "NaN", "INF", "-INF", "1e400", "x", "", "1,5", "9" * 400)


def texts() -> Iterator[tuple[str, bytes]]:
    """Yield TIFFs with descriptions that are false or hard to parse."""
    texts = {}
    for shape in ([-1, 8, 8], [FAR, 8, 8], [0, 8, 8], [1e300, 8, 8], [], [8], [[8, 8]], [2**63, 8, 8], ["8", 8],
                  [1] * 70):  # fmt: skip
        texts[f"shape {str(shape)[:30]}"] = f'{{"shape": {shape}}}'.replace("'", '"')
    texts |= {
        "shape as text": '{"shape": "8,8"}',
        "shape of NaN": '{"shape": [NaN, Infinity, 8]}',
        "axes of another length": '{"shape": [8, 8], "axes": "TZCYXSQ"}',
        "axes twice": '{"shape": [1, 8, 8], "axes": "YYX"}',
        "no X": '{"shape": [8, 8], "axes": "TZ"}',
        "truncated true": f'{{"shape": [{FAR}, 8, 8], "truncated": true}}',
        "deep lists": '{"shape": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "deep json": '{"shape": [8, 8], "a": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}",
        "a number of 100,000 digits": '{"shape": [' + "9" * 100_000 + ", 8]}",
        "shaped by old rule": f"shape=({FAR},8,8)",
        "line breaks and escapes": '{"shape": ["\\u001b[2J\\n", 8]}',
    }
    for name in ("images", "frames", "slices", "channels"):
        for number in ("-1", "0", str(FAR), str(2**63), "1e300", "nan", "x", "9" * 5000):
            texts[f"imagej {name}={number[:20]}"] = f"ImageJ=1.53\n{name}={number}\nhyperstack=true\n"
    texts["imagej all many"] = "ImageJ=1.53\nimages=1000000000\nframes=1000\nslices=1000\nchannels=1000\n"
    texts["imagej one page of many"] = "ImageJ=1.53\nimages=100000\nslices=100000\n"
    texts["imagej of deep indent"] = "ImageJ=1.53\n" + "a=b\n" * 200_000
    texts["scanimage"] = f"state.acq.numberOfFrames={FAR}\nstate.acq.numberOfZSlices={FAR}\n"
    texts["svs"] = "Aperio Image Library v1\n" + "|a = 1" * 200_000
    texts["metaseries deep"] = "<MetaData>" + "<a>" * 100_000 + "</MetaData>"
    texts["indica deep"] = "<indica>" + "<a>" * 100_000 + "</indica>"
    scn = '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection><image>'
    for name, number in ("-1", "-1"), ("far", str(FAR)), ("x", "x"):
        dimension = f'<dimension r="0" z="{number}" c="0" sizeX="8" sizeY="8" ifd="{number}"/>'
        pixels = f"<pixels sizeX='{number}' sizeY='8'>{dimension}</pixels>"
        texts[f"scn z {name}"] = f"{scn}{pixels}</image></collection></scn>"
    for name, text in texts.items():
        yield f"text {name}", build(*[described(text)] * 2)
    yield "text imagej bytes lie", build(described("ImageJ=1\n", _50838=(LONG, [12, FAR]), _50839=(1, b"IJIJ")))
    yield "nih image", build(page(_43314=(1, struct.pack(">4sIHH", b"8TGN", 0, 65_535, 65_535).ljust(440, b"\xff"))))


def omes() -> Iterator[tuple[str, bytes]]:
    """Yield OME-TIFFs with impossible sizes, planes and scales, and XML bombs."""
    for axis in "TZCXY":
        for number in (FAR, -1, 0, 2**63, "1e300", "x", "", "9" * 5000):
            yield f"ome Size{axis} {str(number)[:20]}", ome(f'Size{axis}="{number}"')
    yield "ome all sizes", ome('SizeT="1000" SizeZ="1000" SizeC="1000"')
    for name in ("FirstT", "FirstZ", "FirstC", "IFD", "PlaneCount", "NumPlanes"):
        for number in (FAR, -1, 2**63, "1e300", "x", "9" * 5000):
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
    planes = '<TiffData IFD="0" PlaneCount="100000"/>' * 2000
    yield "ome planes of every TiffData", ome('SizeT="100000"', other=f"</TiffData>{planes}<TiffData>")
    for name, images in ("20,000 images", _image() * 20_000), ("1000 images of 10 MB", _image(1_000_000) * 1000):
        other = f"</TiffData></Pixels></Image>{images}<Image><Pixels><TiffData>"
        yield f"ome {name}", ome(other=other)
    yield "ome 100,000 channels", ome(other="</TiffData>" + "<Channel/>" * 100_000 + "<TiffData>")
    yield "ome modulo", ome(other="</TiffData></Pixels></Image><StructuredAnnotations><XMLAnnotation><Value><Modulo>"
                            f'<ModuloAlongT Type="phase" Start="0" Step="1e-9" End="{FAR}"/></Modulo></Value>'
                            "</XMLAnnotation></StructuredAnnotations><Image><Pixels><TiffData>")  # fmt: skip
    yield "ome broken", ome()[:-1].replace(b"</OME>", b"<<OME>")
    yield "ome utf-16", build(described('<?xml version="1.0" encoding="UTF-16"?></OME>'))
    yield "ome channel names", ome().replace(b'ID="Channel:0:0"', b'Name="\x1b[2J\n\xff"')


def _image(size_t: int = 1) -> str:
    return (f'<Image ID="I"><Pixels SizeX="8" SizeY="8" SizeZ="1" SizeC="1" SizeT="{size_t}" Type="uint8" '
            'DimensionOrder="XYCZT"><TiffData/></Pixels></Image>')  # fmt: skip

"""Files are judged by their bytes before anything decodes them; what decoders do all the same is bounded."""

import errno
import os
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import imagecodecs
import numpy as np
import pytest
import tifffile

from cellcycle.errors import ImageError
from cellcycle.images import bounded, expand, list_images, planes, read_plane
from cellcycle.images.codestreams import stated_size
from cellcycle.images.judge import judge

PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
    '<Image ID="I:0"><Pixels ID="P:0" DimensionOrder="XYZCT" Type="uint16" SizeX="64" SizeY="64"'
    ' SizeZ="1" SizeC="{c}" SizeT="{t}"'
    ' PhysicalSizeX="{px}">{rest}</Pixels></Image></OME>'
)


def write_ifd(path, entries, order="<", following=None, data=b"\0" * 8192, is_big=False):
    """Write a TIFF of one directory with these (tag, type, count, value) entries; data lie right behind it."""
    sizes = {1: "B", 3: "H", 4: "I", 6: "b", 9: "i", 16: "Q"}
    inline = 8 if is_big else 4
    head = (b"II" if order == "<" else b"MM") + struct.pack(
        order + ("HHHQ" if is_big else "HI"), *((43, 8, 0, 16) if is_big else (42, 8))
    )
    table = struct.pack(order + ("Q" if is_big else "H"), len(entries))
    for tag, kind, count, value in entries:
        packed = struct.pack(order + sizes[kind], value) if not isinstance(value, bytes) else value
        table += struct.pack(order + ("HHQ" if is_big else "HHI"), tag, kind, count) + packed.ljust(inline, b"\0")
    start = len(head)
    table += struct.pack(order + ("Q" if is_big else "I"), start if following == "itself" else following or 0)
    path.write_bytes(head + table + data)


def page(**changes):
    """The entries of a gray 64 x 64 page of 8 bits, with changes by name: (type, count, value) or a value."""
    names = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "strips": 273,
             "samples": 277, "rows": 278, "strip_bytes": 279, "tile_width": 322, "tile_height": 323, "tiles": 324,
             "tile_bytes": 325, "sub_ifds": 330, "description": 270}  # fmt: skip
    values = {"width": 64, "height": 64, "bits": 8, "compression": 1, "photometric": 1, "strips": 200, "samples": 1,
              "rows": 64, "strip_bytes": 4096} | changes  # fmt: skip
    rows = [(names[n], *(v if isinstance(v, tuple) else (4, 1, v))) for n, v in values.items() if v is not None]
    return sorted(rows)


def refused(path, match):
    started = time.perf_counter()
    with pytest.raises(ImageError, match=match) as found:
        read_plane(path)
    assert "\n" not in str(found.value)
    # Far below what any of these costs where it is believed; no measure of speed.
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("is_big", [False, True])
def test_a_plain_page_passes_in_every_form(tmp_path, order, is_big):
    write_ifd(tmp_path / "a.tif", page(strips=400), order, is_big=is_big)
    assert judge(tmp_path / "a.tif")
    assert read_plane(tmp_path / "a.tif").pixels.shape == (64, 64)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"width": (6, 1, -3)}, "no positive whole number"),
        ({"height": (9, 1, -1)}, "no positive whole number"),
        ({"width": (3, 2, struct.pack("<HH", 64, 64))}, "2 values instead of one"),
        ({"width": 0}, "no pixels"),
        ({"width": 100_000, "height": 100_000}, "announces"),
        ({"samples": 8_000}, "samples"),
        ({"bits": (3, 1, 200)}, "bits"),
        ({"samples": 500, "width": 3000, "height": 3000}, "announces|GB"),
        ({"strips": 2**31}, "beyond its end"),
        ({"strip_bytes": 2**31}, "beyond its end"),
        ({"compression": 6}, "compression"),
        ({"compression": 32809}, "compression"),
        ({"rows": 1, "height": 200_000, "width": 1}, "200,000 pieces"),
        ({"tile_width": 1, "tile_height": 1, "tiles": 200, "tile_bytes": 1, "width": 5000, "height": 5000}, "pieces"),
        ({"tile_width": 60_000, "tile_height": 60_000, "tiles": 200, "tile_bytes": 9}, "tiles of 60000 x 60000"),
        ({"tile_width": 0, "tile_height": 16, "tiles": 200, "tile_bytes": 9}, "tiles of 16 x 0"),
        ({"strips": (4, 2**30, 200)}, "reaches beyond the end"),
        ({"sub_ifds": (4, 1, 2**31)}, "beyond its end"),
    ],
)
def test_what_a_page_cannot_be_is_refused(tmp_path, changes, match):
    write_ifd(tmp_path / "a.tif", page(**changes))
    refused(tmp_path / "a.tif", match)


def test_pages_in_a_circle_are_refused(tmp_path):
    write_ifd(tmp_path / "a.tif", page(), following="itself")
    refused(tmp_path / "a.tif", "circle")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((7, 8, 8), np.uint8), photometric="minisblack", metadata=None)
    data = bytearray((tmp_path / "b.tif").read_bytes())
    offsets = [p.offset for p in tifffile.TiffFile(tmp_path / "b.tif").pages]
    (n,) = struct.unpack_from("<H", data, offsets[-1])
    struct.pack_into("<I", data, offsets[-1] + 2 + 12 * n, offsets[3])
    (tmp_path / "b.tif").write_bytes(data)
    refused(tmp_path / "b.tif", "circle")


def test_a_sub_directory_may_be_reached_twice(tmp_path):
    """Levels of a pyramid are listed by their page and often follow each other too."""
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        tiff.write(PIXELS, subifds=2, tile=(16, 16))
        for step in (2, 4):
            tiff.write(PIXELS[::step, ::step].copy(), subfiletype=1, tile=(16, 16))
    assert read_plane(tmp_path / "a.ome.tif").pixels.shape == (64, 64)


INNER = {
    7: lambda n: imagecodecs.jpeg8_encode(np.zeros((n, n), np.uint8)),
    34712: lambda n: imagecodecs.jpeg2k_encode(np.zeros((n, n), np.uint8), level=0),
    34933: lambda n: imagecodecs.png_encode(np.zeros((n, n), np.uint8)),
    50001: lambda n: imagecodecs.webp_encode(np.zeros((n, n, 3), np.uint8), lossless=True),
    34934: lambda n: imagecodecs.jpegxr_encode(np.zeros((n, n), np.uint8)),
}


@pytest.mark.parametrize("code", INNER)
def test_a_picture_larger_than_its_page_is_refused(tmp_path, code):
    data = INNER[code](2000)
    assert stated_size(data) == (2000, 2000)
    refuse_packed(tmp_path / "a.tif", code, data)


@pytest.mark.parametrize("more", [b"\xff\xfe\0\x02" * 6_000, (b"\xff\xe5\xff\xff" + bytes(65_533)) * 17])
def test_no_size_hides_behind_what_stands_before_it(tmp_path, more):
    """libjpeg goes on until it finds the size, and asks for all that memory in this process."""
    data = INNER[7](2000)
    data = data[:2] + more + data[2:]
    refuse_packed(tmp_path / "a.tif", 7, data)


@pytest.mark.parametrize("is_before", [False, True])
def test_no_size_hides_behind_one_that_is_none(tmp_path, is_before):
    data = imagecodecs.jpeg2k_encode(np.zeros((2000, 2000), np.uint8), level=0, codecformat="jp2")
    head = b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 41, 0, 64, 64, 0, 0) + bytes(1_100_000)
    box, at = struct.pack(">I", 8 + len(head)) + b"free" + head, data.index(b"jp2c") - 4
    refuse_packed(tmp_path / "a.tif", 34712, data[:at] + box + data[at:] if is_before else data + box)


def refuse_packed(path, code, data):
    write_ifd(path, page(compression=code, strips=8 + 2 + 12 * 9 + 4, strip_bytes=len(data)), data=data)
    refused(path, "2000 x 2000 pixels lies in a piece of 64 x 64")


def test_a_jpeg_of_many_scans_is_refused(tmp_path):
    data = imagecodecs.jpeg8_encode(np.zeros((1200, 1200), np.uint8))
    start = data.index(b"\xff\xda")
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:start] + data[start:-2] * 500 + b"\xff\xd9")
    refused(path, "has 500 scans")
    path.write_bytes(data)
    assert read_plane(path).pixels.shape == (1200, 1200)


@pytest.mark.parametrize("text", [
    OME.format(c=1, t=500_000_000, px=0.3, rest=""),
    OME.format(c=-1, t=1, px=0.3, rest=""),
    OME.format(c=1, t="1e3", px=0.3, rest=""),
    OME.format(c=1, t=1, px=0.3, rest='<TiffData NumPlanes="500000000"/>'),
    OME.format(c=1, t=1, px=0.3, rest='<TiffData PlaneCount="500000000"/>'),
    OME.format(c=1, t=1, px=0.3, rest='<TiffData FirstT="500000000"/>'),
    OME.format(c=1, t=1, px=0.3, rest='<TiffData IFD="-1"/>'),
    OME.format(c=1, t=1, px=0.3, rest='<TiffData NumPlanes="600000"/>' * 2),
    OME.format(c=1, t=1, px=0.3, rest='<ModuloAlongT Start="0" End="1e9"/>'),
    OME.format(c=1, t=1, px=0.3, rest='<ModuloAlongZ Start="0" Step="-1e-9" End="-1"/>'),
    OME.format(c=1, t=1, px=0.3, rest='<AlongX Start="0" Step="0" End="1"/>'),
    " " * 5000 + OME.format(c=1, t=500000000, px=0.3, rest="")[21:],
    '<?xml version="1.0"?><!DOCTYPE o [<!ENTITY a "aaaa">]>' + OME.format(c=1, t=1, px=0.3, rest="")[21:],
    "ImageJ=1.53\nimages=500000000\nslices=500000000\n",
    "ImageJ=1.53\nimages=-1\n",
    '{"shape": [-1, 64, 64]}',
    '{"shape": [500000000, 64, 64, 1, 1]}',
    '{"shape": "all"}',
    "shape=(0, 64, 64)",
])  # fmt: skip
def test_numbers_of_a_description_that_cannot_be(tmp_path, text):
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, description=text, metadata=None)
    refused(tmp_path / "a.ome.tif", "its description|OME-XML|the shape in its description")


@pytest.mark.parametrize("size", ["-1", "1e300", "nan", "inf", "0", "", "big", "1e-300"])
def test_an_impossible_pixel_size_is_none(tmp_path, size):
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, description=OME.format(c=1, t=1, px=size, rest=""), metadata=None)
    assert read_plane(tmp_path / "a.ome.tif").pixel_size_um is None


@pytest.mark.parametrize("name", ["/etc/hostname", "../secret.tif", "secret.tif", "pipe.tif"])
def test_files_that_a_file_names_stay_closed(tmp_path, name):
    """A stranger's OME-TIFF may name any file of the computer, and a pipe would be waited for."""
    tifffile.imwrite(tmp_path / "secret.tif", PIXELS[::-1].copy())
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.tif")
    data = f'<TiffData IFD="0"><UUID FileName="{name}">urn:uuid:2</UUID></TiffData>'
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, description=OME.format(c=1, t=1, px=1, rest=data), metadata=None)
    np.testing.assert_array_equal(read_plane(tmp_path / "a.ome.tif").pixels, (PIXELS / 65535).astype(np.float32))


def test_one_file_of_a_set_says_where_the_dna_lies(tmp_path):
    channels = '<Channel ID="C:0" Name="DAPI"/><Channel ID="C:1" Name="GFP"/>'
    for number in (1, 2):
        data = "".join(
            f'<TiffData FirstC="{c}"><UUID FileName="ch{c}.ome.tif">urn:uuid:{c + 1}</UUID></TiffData>' for c in (0, 1)
        )
        text = OME.format(c=2, t=1, px=0.5, rest=channels + data).replace("urn:uuid:1", f"urn:uuid:{number}", 1)
        tifffile.imwrite(tmp_path / f"ch{number - 1}.ome.tif", PIXELS, description=text, metadata=None)
    assert read_plane(tmp_path / "ch0.ome.tif").channel == "DAPI"
    refused(tmp_path / "ch1.ome.tif", r"the channel DAPI of this field lies in ch0\.ome\.tif")
    assert read_plane(tmp_path / "ch1.ome.tif", channel="GFP").channel == "GFP"


def spin(path):
    while True:
        pass


def swell(path):
    # More than trainings before it may have left to this process.
    return len(bytearray(8_000_000_000))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux's")
@pytest.mark.parametrize("compression", [None, "jpeg2000"])
@pytest.mark.parametrize("work", [spin, swell])
def test_decoding_is_bounded(tmp_path, monkeypatch, compression, work):
    monkeypatch.setattr(bounded, "limits_of", lambda n: (0.3, 300.0))
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, compression=compression)
    with pytest.raises((ImageError, MemoryError)):
        bounded.read_bounded(work, tmp_path / "a.tif")
    assert bounded.read_bounded(os.path.getsize, tmp_path / "a.tif") == os.path.getsize(tmp_path / "a.tif")


@pytest.mark.slow
@pytest.mark.parametrize("in_thread", [False, True])
def test_judging_is_bounded(tmp_path, monkeypatch, in_thread):
    """Pages that share one long list of strips cost some bytes each, and all of that list to judge."""
    monkeypatch.setattr(bounded, "limits_of", lambda n: (1.0, 300.0))
    n_strips = 90_000
    entries = page(height=n_strips, width=1, rows=1, strips=(4, n_strips, 8), strip_bytes=(4, n_strips, 8))
    one = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, 4, count, value) for tag, _, count, value in entries
    )
    start, size = 8 + 4 * n_strips, len(one) + 4
    pages = [one + struct.pack("<I", start + k * size) for k in range(1, 3000)]
    (tmp_path / "a.tif").write_bytes(struct.pack("<2sHI", b"II", 42, start) + b"\1\0\0\0" * n_strips + b"".join(pages))
    if in_thread:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(refused, tmp_path / "a.tif", "longer than 1 s").result()
    else:
        refused(tmp_path / "a.tif", "more than 1 s")


def own_process(path):
    return os.getpid()


@pytest.mark.slow
def test_formats_that_do_more_than_unpack_are_read_in_a_child(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, compression="jpeg2000")
    assert not judge(tmp_path / "a.tif")
    assert bounded.read_bounded(own_process, tmp_path / "a.tif") != os.getpid()
    np.testing.assert_array_equal(read_plane(tmp_path / "a.tif").pixels, (PIXELS / 65535).astype(np.float32))


def test_whatever_a_decoder_raises_is_one_line(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS)
    for error in (
        RecursionError("deep"),
        OverflowError("big\nnumber"),
        UnicodeError("x"),
        struct.error("y"),
        KeyError(3),
    ):
        monkeypatch.setattr(planes, "choose_channel", lambda *a, e=error: (_ for _ in ()).throw(e))
        refused(tmp_path / "a.tif", "cannot be decoded")
    # Of an entry that is not there its name alone says little.
    monkeypatch.setattr(planes, "choose_channel", lambda *a: {}["DimensionOrder"])
    refused(tmp_path / "a.tif", r"cannot be decoded \(no 'DimensionOrder'\)")


def test_what_may_not_be_opened_or_looked_into_is_told_beside_the_rest(tmp_path, monkeypatch):
    for name in ("a.tif", "b.tif", "closed/c.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, PIXELS)

    def closed(real, path, *more, **named):
        if str(path).endswith(("b.tif", "closed")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *more, **named)

    monkeypatch.setattr(os, "scandir", partial(closed, os.scandir))
    first, second, error = expand([tmp_path])
    assert [first, second] == [str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]
    assert str(error) == f"{tmp_path / 'closed'}: it cannot be opened (Permission denied); check its permissions"
    with pytest.raises(ImageError, match="closed: it cannot be opened"):
        list_images(tmp_path)
    monkeypatch.setattr("builtins.open", partial(closed, open))
    with pytest.raises(ImageError, match=r"opened \(Permission denied\); check path and permissions"):
        read_plane(second)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_a_pipe_or_device_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", "a pipe or device")
    refused("/dev/zero", "a pipe or device")
    assert list_images(tmp_path) == []


@pytest.mark.parametrize("path", ["", "  ", "x" * 5000, "a/" * 3000, "a\0b.png"])
def test_what_cannot_be_a_path_is_its_error(path):
    (found,) = expand([path])
    if isinstance(found, str):
        refused(found, "cannot be opened|no such file")
    else:
        assert isinstance(found, ImageError) and len(str(found)) < 400


def test_linked_folders_are_walked_once_and_dangling_links_named(tmp_path):
    (tmp_path / "day1").mkdir()
    tifffile.imwrite(tmp_path / "day1" / "a.tif", PIXELS)
    (tmp_path / "plate").mkdir()
    (tmp_path / "plate" / "linked").symlink_to(tmp_path / "day1")
    (tmp_path / "plate" / "loop").symlink_to(tmp_path / "plate")
    (tmp_path / "plate" / "gone.tif").symlink_to(tmp_path / "nowhere.tif")
    names = [p.name for p in list_images(tmp_path / "plate")]
    assert names == ["gone.tif", "a.tif"]
    refused(tmp_path / "plate" / "gone.tif", "no such file")

"""Reading, channel and plane rules, bad input, writing and normalisation."""

import struct
import sys
import types
import zlib
from functools import cache

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw
from scipy import ndimage

from cellcycle.datasets.labels import read_stated
from cellcycle.errors import ImageError, SettingError
from cellcycle.images import list_images, read_plane, write_image
from cellcycle.images.intensities import scale_to_unit
from cellcycle.simulation import simulate_field


@pytest.fixture(scope="module")
def nucleus16():
    """A 16-bit nucleus with all 16 bits in use, shape (40, 50)."""
    y, x = np.mgrid[:40, :50]
    disc = np.exp(-(((y - 18) / 9) ** 2) - ((x - 26) / 12) ** 2)
    return (300 + 65000 * disc).astype(np.uint16)


@pytest.fixture(scope="module")
def nucleus8(nucleus16):
    return (nucleus16 // 257).astype(np.uint8)


def as_unit(array):
    return array.astype(np.float64) / np.iinfo(array.dtype).max


def coloured(gray, channel, n_channels=3):
    """Put a gray picture into one channel of a colour picture."""
    picture = np.zeros((*gray.shape, n_channels), gray.dtype)
    picture[..., channel] = gray
    return picture


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd"])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_compressions_keep_every_grey_level(tmp_path, nucleus8, nucleus16, bits, compression):
    array = {8: nucleus8, 16: nucleus16}[bits]
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression)
    plane = read_plane(tmp_path / "a.tif")
    assert plane.pixels.dtype == np.float32 and plane.bit_depth == bits
    np.testing.assert_allclose(plane.pixels, as_unit(array), atol=1e-7)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_8_bit_gray(tmp_path, nucleus8, suffix):
    Image.fromarray(nucleus8).save(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(read_plane(tmp_path / f"a.{suffix}").pixels, as_unit(nucleus8), atol=1e-7)


def test_16_bit_png_is_not_clipped(tmp_path, nucleus16):
    Image.fromarray(nucleus16).save(tmp_path / "a.png")
    plane = read_plane(tmp_path / "a.png")
    assert plane.bit_depth == 16
    np.testing.assert_allclose(plane.pixels, as_unit(nucleus16), atol=1e-7)


def test_16_bit_rgb_png_keeps_16_bits(tmp_path, nucleus16):
    write_image(tmp_path / "a.png", coloured(nucleus16, 2))
    plane = read_plane(tmp_path / "a.png")
    assert (plane.bit_depth, plane.channel) == (16, "blue")
    np.testing.assert_allclose(plane.pixels, as_unit(nucleus16), atol=1e-7)


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("alpha", [False, True])
def test_one_colour_is_taken_whole_not_by_luminance(tmp_path, nucleus8, channel, alpha):
    picture = coloured(nucleus8, channel, 4 if alpha else 3)
    if alpha:
        picture[..., 3] = 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    plane = read_plane(tmp_path / "a.png")
    assert plane.channel == ("red", "green", "blue")[channel]
    np.testing.assert_allclose(plane.pixels, as_unit(nucleus8), atol=1e-7)


def test_gray_stored_as_rgb_and_one_artificial_hue(tmp_path, nucleus8):
    Image.fromarray(np.stack([nucleus8] * 3, -1)).save(tmp_path / "gray.png")
    np.testing.assert_allclose(read_plane(tmp_path / "gray.png").pixels, as_unit(nucleus8), atol=1e-7)
    hue = np.stack([nucleus8 // 3, nucleus8 // 2, nucleus8], -1)
    Image.fromarray(hue).save(tmp_path / "hue.png")
    assert read_plane(tmp_path / "hue.png").channel == "blue"


@cache
def two_pictures():
    """Return a field of nuclei and one of other cells, float in [0, 1]."""
    nuclei, cells = (simulate_field((512, 512), 60, seed=seed).image for seed in (1, 7))
    return nuclei / nuclei.max(), ndimage.gaussian_filter(cells / cells.max(), 4)


@pytest.mark.slow
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [30, 60, 90])
@pytest.mark.parametrize(("colour", "name"), [((0, 0, 1), "blue"), ((0, 1, 0), "green")])
def test_what_jpeg_leaves_in_other_colours_is_no_picture(tmp_path, subsampling, quality, colour, name):
    field = (255 * two_pictures()[0][..., None] * colour).astype(np.uint8)
    for picture in (field, field[100:160, 100:160]):
        Image.fromarray(picture).save(tmp_path / "a.jpg", quality=quality, subsampling=subsampling)
        assert read_plane(tmp_path / "a.jpg").channel == name


@pytest.mark.slow
@pytest.mark.parametrize(("share", "bits"), [(0.06, 8), (0.02, 16), (0.005, 16)])
def test_a_dim_channel_beside_a_bright_one_is_not_taken_for_empty(tmp_path, share, bits):
    nuclei, cells = two_pictures()
    noise = np.random.default_rng(0).normal(0, 0.0005, (3, 512, 512))
    channels = np.stack([0 * cells, cells, share * nuclei]) + noise + 0.002
    counts = (np.clip(channels, 0, 1) * (2**bits - 1)).round().astype(f"uint{bits}")
    tifffile.imwrite(tmp_path / "a.tif", counts, metadata={"axes": "CYX"}, imagej=True)
    with pytest.raises(ImageError, match="none is clearly the DNA stain"):
        read_plane(tmp_path / "a.tif")
    counts[2] = counts[0]
    tifffile.imwrite(tmp_path / "a.tif", counts, metadata={"axes": "CYX"}, imagej=True)
    assert read_plane(tmp_path / "a.tif").channel == "1"


@pytest.mark.slow
@pytest.mark.parametrize("drawn", [(255, 255, 255), (255, 255, 0), (0, 255, 255)])
@pytest.mark.parametrize(("colour", "name"), [((0, 0, 1), "blue"), ((1, 1, 1), "red"), ((0.3, 0.5, 1), "blue")])
def test_bars_and_letters_that_were_drawn_do_not_hide_that_it_is_one_picture(tmp_path, colour, name, drawn):
    field = (400 * two_pictures()[0][..., None] * colour).clip(0, 255).astype(np.uint8)
    kinds = [("bar", "a.png"), ("letters", "a.png"), ("both", "a.png"), ("both", "a.tif")]
    for kind, file in (*kinds, *([("bar", "a.jpg")] if 0.3 not in colour else [])):
        picture = Image.fromarray(field)
        if kind != "letters":
            ImageDraw.Draw(picture).rectangle((400, 480, 480, 487), fill=drawn)
        if kind != "bar":
            ImageDraw.Draw(picture).text((425, 490), "50 um", fill=drawn)
        picture.save(tmp_path / file)
        plane = read_plane(tmp_path / file)
        assert plane.channel == name
        if file != "a.jpg":
            np.testing.assert_allclose(plane.pixels[:460], as_unit(field[:460, :, plane.channels.index(name)]))


@pytest.mark.slow
@pytest.mark.parametrize("gain", [1, 3, 10])
@pytest.mark.parametrize("bright", [(1, 1, 1), (1, 0, 1)])
def test_nuclei_that_are_too_bright_for_the_camera_are_no_drawing(tmp_path, gain, bright):
    nuclei = two_pictures()[0]
    marked = ndimage.gaussian_filter((nuclei > np.percentile(nuclei, 99.7)).astype(float), 1.5)[..., None]
    picture = (255 * (nuclei[..., None] * (0, 0, 1) + gain * marked * bright)).clip(0, 255).astype(np.uint8)
    assert 0 < (picture[..., 0] == 255).mean() < 0.01
    for with_bar in (False, True):
        picture[480:487, 400:480] = 255 if with_bar else picture[480:487, 400:480]
        Image.fromarray(picture).save(tmp_path / "a.png")
        with pytest.raises(ImageError, match="none is clearly the DNA stain"):
            read_plane(tmp_path / "a.png")


def test_gray_with_alpha_and_palette(tmp_path, nucleus8):
    Image.fromarray(np.stack([nucleus8, np.full_like(nucleus8, 255)], -1)).save(tmp_path / "la.png")
    np.testing.assert_allclose(read_plane(tmp_path / "la.png").pixels, as_unit(nucleus8), atol=1e-7)
    palette = Image.fromarray(nucleus8).convert("P")
    palette.putpalette([value for level in range(256) for value in (0, 0, level)])
    palette.save(tmp_path / "p.png")
    plane = read_plane(tmp_path / "p.png")
    assert plane.channel == "blue"
    np.testing.assert_allclose(plane.pixels, as_unit(nucleus8), atol=1e-7)


def test_palette_tiff(tmp_path, nucleus8):
    colormap = np.zeros((3, 256), np.uint16)
    colormap[1] = np.arange(256) * 257
    tifffile.imwrite(tmp_path / "p.tif", nucleus8, photometric="palette", colormap=colormap)
    plane = read_plane(tmp_path / "p.tif")
    assert plane.channel == "green"
    np.testing.assert_allclose(plane.pixels, as_unit(nucleus8), atol=1e-7)


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_colours_of_print_in_a_tiff_are_refused(tmp_path, nucleus8, mode):
    picture = np.stack([nucleus8] * len(mode), axis=-1)
    Image.frombytes(mode, nucleus8.shape[::-1], picture.tobytes()).save(tmp_path / "p.tif")
    with pytest.raises(ImageError, match="export it as gray or RGB"):
        read_plane(tmp_path / "p.tif")


def test_jpeg_of_a_blue_nucleus(tmp_path, nucleus8):
    Image.fromarray(coloured(nucleus8, 2)).save(tmp_path / "a.jpg", quality=95)
    plane = read_plane(tmp_path / "a.jpg")
    assert plane.channel == "blue"
    assert np.abs(plane.pixels - as_unit(nucleus8)).mean() < 0.03


def test_jpeg_inside_tiff(tmp_path, nucleus8):
    tifffile.imwrite(tmp_path / "a.tif", nucleus8, compression="jpeg")
    assert np.abs(read_plane(tmp_path / "a.tif").pixels - as_unit(nucleus8)).max() < 0.05


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_in_unit_range_stays(tmp_path, dtype):
    array = np.linspace(0, 0.8, 600, dtype=dtype).reshape(20, 30)
    tifffile.imwrite(tmp_path / "a.tif", array)
    np.testing.assert_allclose(read_plane(tmp_path / "a.tif").pixels, array, atol=1e-6)


def test_float_counts_use_the_smallest_full_range():
    assert scale_to_unit(np.array([0.0, 51.0, 102.0]))[0][2] == pytest.approx(102 / 255)
    assert scale_to_unit(np.array([-5.0, 300.0]))[0][1] == pytest.approx(300 / 65535)
    assert scale_to_unit(np.array([-5.0, 300.0]))[0][0] == 0


@pytest.mark.parametrize("options", [{"bigtiff": True}, {"byteorder": ">"}, {"tile": (16, 16)}, {"rowsperstrip": 7}])
def test_tiff_layouts(tmp_path, nucleus16, options):
    tifffile.imwrite(tmp_path / "a.tif", nucleus16, **options)
    np.testing.assert_allclose(read_plane(tmp_path / "a.tif").pixels, as_unit(nucleus16), atol=1e-7)


def test_tiff_where_zero_is_white(tmp_path, nucleus8):
    tifffile.imwrite(tmp_path / "a.tif", 255 - nucleus8, photometric="miniswhite")
    np.testing.assert_allclose(read_plane(tmp_path / "a.tif").pixels, as_unit(nucleus8), atol=1e-7)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_tiff_interleaved_or_planar(tmp_path, nucleus16, planar):
    picture = coloured(nucleus16, 2)
    picture = picture if planar == "contig" else np.moveaxis(picture, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", np.ascontiguousarray(picture), photometric="rgb", planarconfig=planar)
    plane = read_plane(tmp_path / "a.tif")
    assert plane.channel == "blue"
    np.testing.assert_allclose(plane.pixels, as_unit(nucleus16), atol=1e-7)


@pytest.mark.parametrize("imagej", [False, True])
def test_z_stack_is_projected_or_picked(tmp_path, nucleus16, imagej):
    stack = np.stack([nucleus16 // 4, nucleus16, nucleus16 // 2])
    metadata = {"axes": "ZYX"} if imagej else None
    tifffile.imwrite(tmp_path / "z.tif", stack, imagej=imagej, metadata=metadata, photometric="minisblack")
    plane = read_plane(tmp_path / "z.tif")
    assert plane.n_planes == 3
    np.testing.assert_allclose(plane.pixels, as_unit(nucleus16), atol=1e-7)
    np.testing.assert_allclose(read_plane(tmp_path / "z.tif", plane=2).pixels, as_unit(nucleus16 // 2), atol=1e-7)
    with pytest.raises(ImageError, match=r"no plane 3.*0 to 2"):
        read_plane(tmp_path / "z.tif", plane=3)


@pytest.mark.parametrize("axes", ["YXZ", "XYZ", "YZX", "ZXY", "XY"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_axes_in_any_order_give_the_picture_upright(tmp_path, nucleus16, axes, compression):
    picture = nucleus16[:40]
    pixels = np.stack([picture // 2, picture]) if "Z" in axes else picture
    pixels = np.einsum(f"{'ZYX'[-pixels.ndim :]}->{axes}", pixels)
    options = {"metadata": {"axes": axes}, "compression": compression, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", np.ascontiguousarray(pixels), **options)
    np.testing.assert_allclose(read_plane(tmp_path / "a.tif").pixels, as_unit(picture), atol=1e-7)


def test_ome_tiff_axes_names_and_pixel_size(tmp_path, nucleus16):
    stack = np.stack([np.stack([nucleus16 // 8, nucleus16 // (9 - c)]) for c in (0, 3)])
    metadata = {"axes": "CZYX", "PhysicalSizeX": 325.0, "PhysicalSizeXUnit": "nm", "Channel": {"Name": ["GFP", "DAPI"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata=metadata)
    plane = read_plane(tmp_path / "a.ome.tif")
    assert (plane.channel, plane.channels, plane.n_planes) == ("DAPI", ("GFP", "DAPI"), 2)
    assert plane.pixel_size_um == pytest.approx(0.325)
    np.testing.assert_allclose(plane.pixels, as_unit(nucleus16 // 6), atol=1e-7)
    assert read_plane(tmp_path / "a.ome.tif", channel="gfp").channel == "GFP"
    assert read_plane(tmp_path / "a.ome.tif", channel=0).channel == "GFP"


@pytest.mark.parametrize("kind", ["Name", "Biomarker"])
def test_names_of_a_qptiff_are_those_of_its_pages(tmp_path, nucleus16, kind):
    with tifffile.TiffWriter(tmp_path / "a.qptiff") as writer:
        for n, name in enumerate(("Opal 520", "DAPI"), start=1):
            said = f"<ImageType>FullResolution</ImageType><{kind}>{name}</{kind}><Scan><Name>scan</Name></Scan>"
            writer.write(nucleus16 // n, photometric="minisblack", metadata=None, software="PerkinElmer-QPI",
                         description=f"<PerkinElmer-QPI-ImageDescription>{said}</PerkinElmer-QPI-ImageDescription>",
                         contiguous=False)  # fmt: skip
    plane = read_plane(tmp_path / "a.qptiff")
    assert (plane.channel, plane.channels) == ("DAPI", ("Opal 520", "DAPI"))
    np.testing.assert_allclose(plane.pixels, as_unit(nucleus16 // 2), atol=1e-7)


def test_imagej_pixel_size(tmp_path, nucleus16):
    tifffile.imwrite(tmp_path / "a.tif", nucleus16, imagej=True, resolution=(2, 2), metadata={"unit": "um"})
    assert read_plane(tmp_path / "a.tif").pixel_size_um == pytest.approx(0.5)


def test_printing_resolution_is_no_pixel_size(tmp_path, nucleus8):
    Image.fromarray(nucleus8).save(tmp_path / "a.tif", dpi=(72, 72))
    assert read_plane(tmp_path / "a.tif").pixel_size_um is None


def test_written_pixel_size_is_read_back(tmp_path, nucleus16):
    write_image(tmp_path / "a.tif", nucleus16, pixel_size_um=0.65)
    assert read_plane(tmp_path / "a.tif").pixel_size_um == pytest.approx(0.65, rel=1e-6)


def test_unclear_channel_lists_the_channels(tmp_path, nucleus16):
    stack = np.stack([nucleus16, nucleus16[::-1], nucleus16[:, ::-1]])
    metadata = {"axes": "CYX", "Channel": {"Name": ["GFP", "Tubulin", "Cy5"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata=metadata)
    with pytest.raises(ImageError, match="0 GFP, 1 Tubulin, 2 Cy5"):
        read_plane(tmp_path / "a.ome.tif")
    assert read_plane(tmp_path / "a.ome.tif", channel="tub").channel == "Tubulin"
    for wrong in ("DAPI", "3", -1, "", "\u00b2", "\u0661", "9" * 5000):
        with pytest.raises(ImageError, match="no channel matches"):
            read_plane(tmp_path / "a.ome.tif", channel=wrong)


def test_a_number_that_names_one_channel_and_counts_another_is_refused(tmp_path, nucleus16):
    stack = np.stack([nucleus16 // n for n in (1, 2, 3)])
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata={"axes": "CYX", "Channel": {"Name": ["1", "2", "Cy5"]}})
    with pytest.raises(ImageError, match=r"""1 is the name.*0 1, 1 2, 2 Cy5.*'"1"' or '"2"'"""):
        read_plane(tmp_path / "a.ome.tif", channel="1")
    names = [read_plane(tmp_path / "a.ome.tif", channel=asked).channel for asked in ('"1"', '"2"', 1, "0", "cy5")]
    assert names == ["1", "2", "2", "1", "Cy5"]
    # A table holds names.
    assert read_stated(tmp_path / "a.ome.tif", "1", "").channel == "1"
    # A spreadsheet writes 01 as 1.
    tifffile.imwrite(tmp_path / "b.ome.tif", stack, metadata={"axes": "CYX", "Channel": {"Name": ["01", "02", "03"]}})
    with pytest.raises(ImageError, match=r"""1 is the name.*'"01"' or '"02"'"""):
        read_plane(tmp_path / "b.ome.tif", channel="1")
    assert read_stated(tmp_path / "b.ome.tif", "1", "").channel == "01"


def test_of_two_channels_of_one_name_none_is_taken_by_that_name(tmp_path, nucleus16):
    stack = np.stack([nucleus16 // n for n in (1, 2, 3)])
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "DAPI", "dapi"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata=metadata)
    for asked in ("DAPI", '"DAPI"', "Dapi"):
        with pytest.raises(ImageError, match=r"channels match .*choose one of 0 DAPI, 1 DAPI, 2 dapi, by its index"):
            read_plane(tmp_path / "a.ome.tif", channel=asked)
    for asked, n in (("1", 2), ("dapi", 3)):
        found = read_plane(tmp_path / "a.ome.tif", channel=asked)
        np.testing.assert_allclose(found.pixels, as_unit(nucleus16 // n), atol=1e-7)


def test_an_index_of_another_stain_beside_one_of_dna_is_told(tmp_path, nucleus16):
    stack = np.stack([nucleus16 // n for n in (1, 2, 3)])
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP", "spots"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata=metadata)
    said = "channel 1, counted from 0, is GFP, but 0 is DAPI"
    # By its name it was meant; a name that says nothing of a stain may be of one.
    told = {"1": said, 1: said, "0": "", "gfp": "", "2": "", None: ""}
    assert {asked: read_plane(tmp_path / "a.ome.tif", channel=asked).note for asked in told} == told


def test_two_stains_in_colours_are_refused(tmp_path, nucleus8):
    Image.fromarray(np.stack([nucleus8, nucleus8[::-1], nucleus8 * 0], -1)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="0 red, 1 green, 2 blue"):
        read_plane(tmp_path / "a.png")
    np.testing.assert_allclose(read_plane(tmp_path / "a.png", "red").pixels, as_unit(nucleus8), atol=1e-7)


def test_time_series_needs_a_time_point(tmp_path, nucleus16):
    series = np.stack([nucleus16, nucleus16 // 2])
    tifffile.imwrite(tmp_path / "t.ome.tif", series, metadata={"axes": "TYX"})
    with pytest.raises(ImageError, match="time series of 2"):
        read_plane(tmp_path / "t.ome.tif")
    np.testing.assert_allclose(read_plane(tmp_path / "t.ome.tif", plane=1).pixels, as_unit(nucleus16 // 2), atol=1e-7)


def series_of(path, *images, **options):
    with tifffile.TiffWriter(path) as writer:
        for image in images:
            writer.write(image, photometric="minisblack", **options)
    return path


@pytest.mark.parametrize("form", ["series", "pages"])
def test_several_fields_are_refused_whatever_their_sizes_but_a_thumbnail_is_not(tmp_path, nucleus16, form):
    name, options = ("a.ome.tif", {"metadata": {"axes": "YX"}}) if form == "series" else ("a.tif", {"metadata": None})
    height, width = nucleus16.shape
    for second in (
        nucleus16,
        nucleus16[:-1],
        nucleus16[:, : width // 2],
        nucleus16[: height // 3 * 2, : width // 3 * 2],
    ):
        for images in ((nucleus16, second), (second, nucleus16)):
            if form == "pages" and second is nucleus16:
                continue  # pages of one size are a stack, or are refused as none
            with pytest.raises(ImageError, match=f"2 separate images, of .*{height} x {width}"):
                read_plane(series_of(tmp_path / name, *images, **options))
    for small in (nucleus16[::2, ::2], nucleus16[::4, ::4]):
        for images in ((nucleus16, small), (small, nucleus16)):
            plane = read_plane(series_of(tmp_path / name, *images, **options))
            np.testing.assert_allclose(plane.pixels, as_unit(nucleus16), atol=1e-7)


@pytest.mark.parametrize("whites", [(True, False), (False, True), (True, True)])
def test_a_thumbnail_that_calls_0_white_is_one(tmp_path, nucleus16, whites):
    images = nucleus16, (nucleus16[::4, ::4] >> 8).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for image, is_white_0 in zip(images, whites, strict=True):
            writer.write(~image if is_white_0 else image, photometric=1 - is_white_0, metadata=None)
    np.testing.assert_allclose(read_plane(tmp_path / "a.tif").pixels, as_unit(nucleus16), atol=1e-7)


def test_pyramid_gives_its_full_resolution(tmp_path, nucleus16):
    with tifffile.TiffWriter(tmp_path / "p.ome.tif") as writer:
        writer.write(nucleus16, subifds=1, metadata={"axes": "YX"})
        writer.write(nucleus16[::2, ::2], subfiletype=1)
    assert read_plane(tmp_path / "p.ome.tif").pixels.shape == nucleus16.shape
    # Of old pyramids the levels are pages; a preview that says so may be large, as that of a small LSM is.
    levels = [nucleus16[:: 2**k, :: 2**k] for k in range(4)]
    assert read_plane(series_of(tmp_path / "o.tif", *levels, metadata=None)).pixels.shape == nucleus16.shape
    with tifffile.TiffWriter(tmp_path / "l.tif") as writer:
        writer.write(nucleus16, metadata=None)
        writer.write(nucleus16[:-8, :-8], metadata=None, subfiletype=1)
    assert read_plane(tmp_path / "l.tif").pixels.shape == nucleus16.shape


def test_content_counts_not_the_name(tmp_path, nucleus16):
    write_image(tmp_path / "a.tif", nucleus16)
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    np.testing.assert_allclose(read_plane(tmp_path / "a.png").pixels, as_unit(nucleus16), atol=1e-7)


def png_with_header(height, width):
    """Return a PNG that announces a size and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    body = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    return body + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


def bad_files(folder, array):
    """Write one file of every bad kind; return name -> path."""
    write_image(folder / "good.png", array)
    write_image(folder / "good.tif", array)
    Image.fromarray((array // 257).astype(np.uint8)).save(folder / "good.jpg")
    tifffile.imwrite(folder / "plain.tif", array)
    contents = {
        "truncated.png": (folder / "good.png").read_bytes()[:300],
        "truncated.tif": (folder / "good.tif").read_bytes()[:300],
        "truncated_plain.tif": (folder / "plain.tif").read_bytes()[:900],
        "truncated.jpg": (folder / "good.jpg").read_bytes()[:300],
        "short.tif": b"II*\0",
        "empty.png": b"",
        "text.png": b"this is not an image, whatever its name says",
        "gigapixel.png": png_with_header(60_000, 60_000),
        "bomb.png": png_with_header(12_000, 12_000),
        "zero.png": png_with_header(0, 10),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    tifffile.imwrite(folder / "gigapixel.tif", shape=(1, 1), dtype=np.uint8)
    with tifffile.TiffFile(folder / "gigapixel.tif", mode="r+b") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(200_000)
        tiff.pages[0].tags["ImageLength"].overwrite(200_000)
    tifffile.imwrite(folder / "nan.tif", np.full((9, 9), np.nan, np.float32))
    (folder / "folder.png").mkdir()
    names = [*contents, "gigapixel.tif", "nan.tif", "folder.png", "missing.png"]
    return {name: folder / name for name in names}


@pytest.mark.slow
def test_bad_input_is_one_line_that_names_the_file(tmp_path, nucleus16):
    for name, path in bad_files(tmp_path, nucleus16).items():
        with pytest.raises(ImageError) as caught:
            read_plane(path)
        message = str(caught.value)
        assert name in message and "\n" not in message and caught.value.remedy, message


def test_announced_size_is_refused_before_memory_is_taken(tmp_path, nucleus16):
    import tracemalloc

    paths = bad_files(tmp_path, nucleus16)
    tracemalloc.start()
    for name in ("gigapixel.png", "gigapixel.tif", "bomb.png"):
        with pytest.raises(ImageError, match="announces"):
            read_plane(paths[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "plugin"),
    [("a.czi", "bioio-czi"), ("a.r3d", "bioio-dv"), ("a.oib", "bioio-bioformats"), ("a.vsi", "bioio-bioformats")],
)
def test_vendor_file_without_bioio_names_the_remedy(tmp_path, monkeypatch, name, plugin):
    monkeypatch.setitem(sys.modules, "bioio", None)
    tifffile.imwrite(tmp_path / name, np.zeros((64, 64), np.uint16))
    with pytest.raises(ImageError, match=f"pip install bioio {plugin} "):
        read_plane(tmp_path / name)


@pytest.fixture
def bioio(monkeypatch):
    """A stand-in for bioio 3 with the calls that are used, and one file of two channels and three z planes."""
    planes = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(1, 2, 3, 4, 5)

    class UnsupportedFileFormatError(Exception):
        pass

    class BioImage:
        scenes = ("Image:0",)
        dims = types.SimpleNamespace(T=1, C=2, Z=3, Y=4, X=5)
        channel_names = ("GFP", "Hoechst 33342")
        physical_pixel_sizes = types.SimpleNamespace(Z=1.0, Y=0.2, X=0.2)

        def __init__(self, path):
            if path.suffix == ".lif":
                raise UnsupportedFileFormatError("BioImage", str(path))

        def get_image_dask_data(self, order, T, C, Z):
            assert order == "YX"
            return types.SimpleNamespace(compute=lambda: planes[T, C, Z])

    for name, content in {
        "bioio": {"BioImage": BioImage},
        "bioio_base": {},
        "bioio_base.exceptions": {"UnsupportedFileFormatError": UnsupportedFileFormatError},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    # Its child, in which such files are read, would not know the stand-in.
    monkeypatch.setattr("cellcycle.images.bounded.is_confined", lambda: True)
    return planes


def test_a_vendor_file_is_read_plane_by_plane(tmp_path, bioio):
    (tmp_path / "a.nd2").write_bytes(b"\xda\xce\xbe\n" + bytes(200))
    plane = read_plane(tmp_path / "a.nd2")
    assert (plane.channel, plane.n_planes, plane.pixel_size_um, plane.bit_depth) == ("Hoechst 33342", 3, 0.2, 16)
    np.testing.assert_allclose(plane.pixels * 65535, bioio[0, 1].max(axis=0), rtol=1e-6)


def test_a_vendor_file_without_its_plugin_names_the_remedy(tmp_path, bioio):
    (tmp_path / "a.lif").write_bytes(b"p\0\0\0")
    with pytest.raises(ImageError, match=r"no installed plugin.*pip install bioio bioio-lif"):
        read_plane(tmp_path / "a.lif")


def test_list_images_leaves_out_hidden_and_system_files(tmp_path, nucleus8):
    images, others = ("b.png", "a.TIF", "sub/c.jpg"), (".hidden.png", "Thumbs.db", "a.txt", "__MACOSX/b.png")
    others += tuple(f"{name}/b.png" for name in ("$RECYCLE.BIN", "System Volume Information", "lost+found"))
    for name in (*images, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert names == ["a.TIF", "b.png", "sub/c.jpg"]
    with pytest.raises(ImageError, match="no such folder"):
        list_images(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3)])
def test_written_images_come_back(tmp_path, suffix, dtype, shape):
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    write_image(tmp_path / f"a.{suffix}", array)
    decode = imagecodecs.png_decode if suffix == "png" else imagecodecs.tiff_decode
    np.testing.assert_array_equal(decode((tmp_path / f"a.{suffix}").read_bytes()), array)


@pytest.mark.parametrize("size", [0.5, np.float32(0.5), np.float64(0.5), 0.5 * np.ones(())[()]])
def test_a_pixel_size_is_written_in_whatever_number_it_is_held(tmp_path, nucleus16, size):
    write_image(tmp_path / "a.tif", nucleus16.astype(">u2"), size)
    plane = read_plane(tmp_path / "a.tif")
    assert plane.pixel_size_um == pytest.approx(0.5)
    np.testing.assert_allclose(plane.pixels, as_unit(nucleus16), atol=1e-7)


@pytest.mark.parametrize("size", [0, -1, np.nan, np.inf, "0.5", True])
def test_a_size_that_is_none_and_an_empty_picture_are_not_written(tmp_path, nucleus8, size):
    with pytest.raises(SettingError, match=r"^pixel_size_um: .* is not a size"):
        write_image(tmp_path / "a.tif", nucleus8, size)
    with pytest.raises(ImageError, match=r"cannot write pixels of .* shape \(0, "):
        write_image(tmp_path / "a.png", nucleus8[:0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("plane", ["0", 1.0, True, -1])
def test_a_plane_is_named_by_its_index(tmp_path, nucleus8, plane):
    write_image(tmp_path / "a.png", nucleus8)
    with pytest.raises(SettingError, match=r"^plane: .*whole number"):
        read_plane(tmp_path / "a.png", plane=plane)


def test_failed_write_leaves_nothing_behind(tmp_path, monkeypatch, nucleus8):
    write_image(tmp_path / "a.png", nucleus8)
    before = (tmp_path / "a.png").read_bytes()

    def full_disc(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disc)
    with pytest.raises(ImageError, match="No space left"):
        write_image(tmp_path / "a.png", nucleus8[::-1])
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before
    for path, array in ((tmp_path / "a.xyz", nucleus8), (tmp_path / "b.png", nucleus8.astype(float))):
        with pytest.raises(ImageError, match="cannot write"):
            write_image(path, array)

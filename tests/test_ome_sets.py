"""OME-TIFF files of a set, whose header describes all files: each is read for the planes that it holds."""

import numpy as np
import pytest
import tifffile

from cellcycle.errors import DataError, ImageError
from cellcycle.images import expand, read_plane
from cellcycle.predict.groups import layout

OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{own}>{body}</OME>"""
PLATE = """<Plate ID="P:0" Name="trial">{}</Plate>"""
WELL = """<Well ID="W:{0}" Row="0" Column="{0}"><WellSample ID="S:{0}" Index="0"><ImageRef ID="Image:{0}"/></WellSample>
</Well>"""
IMAGE = """<Image ID="Image:{image}"><Pixels ID="Pixels:{image}" DimensionOrder="{order}" Type="uint16" SizeX="24"
SizeY="24" SizeC="{c}" SizeZ="{z}" SizeT="{t}" PhysicalSizeX="0.3" PhysicalSizeY="0.3">{channels}{data}</Pixels></Image>
"""


def level(image=0, c=0, z=0, t=0):
    """Return the counts by which the pixels of a plane are told from those of all others."""
    return 1000 * image + 500 * c + 50 * z + 5 * t + 100


def plane_of(image, c, z, t):
    nucleus = 20 * np.clip(12 - np.hypot(*np.mgrid[-12:12, -12:12]), 0, None)
    return (level(image, c, z, t) + np.roll(nucleus, 12 * c, axis=0)).astype(np.uint16)


def write_set(folder, files, names=("GFP", "DAPI"), images=1, has_own=True, is_companion=False, count=None):
    """Write files, name -> [(image, c, z, t)] in the order of their pages; `count` of planes is said once a file."""
    sizes = [1 + max(plane[k] for planes in files.values() for plane in planes) for k in (1, 2, 3)]
    ids, body = {file: f"urn:uuid:{k}" for k, file in enumerate(files)}, ""
    for image in range(images):
        data = ""
        for file, planes in files.items():
            for page, (of, c, z, t) in enumerate(planes):
                if of == image and (count is None or page == 0):
                    data += (
                        f'<TiffData IFD="{page}" FirstC="{c}" FirstZ="{z}" FirstT="{t}" PlaneCount="{count or 1}">'
                        f'<UUID FileName="{file}">{ids[file]}</UUID></TiffData>'
                    )
        channels = "".join(f'<Channel ID="C:{image}:{k}" Name="{name}"/>' for k, name in enumerate(names))
        c, z, t = sizes
        body += IMAGE.format(image=image, order="XYCZT", c=c, z=z, t=t, channels=channels, data=data)
    body = PLATE.format("".join(map(WELL.format, range(images)))) + body
    if is_companion:
        (folder / "set.companion.ome").write_text(OME.format(own=' UUID="urn:uuid:all"', body=body))
        body = '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:all"/>'
    for file, planes in files.items():
        header = OME.format(own=f' UUID="{ids[file]}"' if has_own else "", body=body)
        with tifffile.TiffWriter(folder / file) as tiff:
            for page, plane in enumerate(planes):
                told = {"description": header} if page == 0 else {}
                tiff.write(plane_of(*plane), photometric="minisblack", metadata=None, contiguous=False, **told)
    return [folder / file for file in files]


def is_read(plane, *where):
    """Say whether a plane is that of the stain which lies there, with what its header says of it."""
    return (plane.channel, plane.pixel_size_um, darkest(plane)) == ("DAPI", 0.3, level(*where))


def darkest(plane):
    return round(float(plane.pixels.min()) * 65535)


def both(image=0, z=0, t=0):
    return [(image, 0, z, t), (image, 1, z, t)]


@pytest.mark.parametrize("count", [None, 2])
def test_a_file_of_one_z_plane_of_all_channels_gives_that_plane_of_the_stain(tmp_path, count):
    files = write_set(tmp_path, {f"a_{z}.ome.tif": both(z=z) for z in range(3)}, count=count)
    for z, file in enumerate(files):
        with pytest.raises(ImageError, match=r"other z planes of this field lie in a_.*--plane 0"):
            read_plane(file)
        for chosen in (read_plane(file, plane=0), read_plane(file, "DAPI", 0)):
            assert is_read(chosen, 0, 1, z)
        with pytest.raises(ImageError, match="no plane 1"):
            read_plane(file, plane=1)


@pytest.mark.parametrize("has_own", [True, False])
@pytest.mark.parametrize("is_companion", [True, False])
def test_a_file_of_one_field_or_time_of_all_channels_is_that_field(tmp_path, has_own, is_companion):
    options = {"has_own": has_own, "is_companion": is_companion}
    fields = write_set(tmp_path, {f"w_{k}.tif": both(image=k) for k in range(3)}, images=3, **options)
    assert all(is_read(read_plane(file), k, 1) for k, file in enumerate(fields))
    assert [one["well"] for one in layout(list(map(str, fields)))[0]] == ["A01", "A02", "A03"]
    times = write_set(tmp_path, {f"t_{k}.tif": both(t=k) for k in range(3)}, **options)
    assert all(is_read(read_plane(file), 0, 1, 0, k) for k, file in enumerate(times))


def test_channels_that_do_not_follow_each_other_keep_their_names_and_sisters(tmp_path):
    first, second = write_set(
        tmp_path, {"a.ome.tif": [(0, 2, 0, 0), (0, 0, 0, 0)], "b.ome.tif": [(0, 1, 0, 0)]}, ("RFP", "GFP", "DAPI")
    )
    assert is_read(read_plane(first), 0, 2) and read_plane(first).channels == ("RFP", "DAPI")
    assert darkest(read_plane(first, "RFP")) == level()
    with pytest.raises(ImageError, match=r"0 GFP; the channel DAPI of this field lies in a\.ome\.tif"):
        read_plane(second)


@pytest.mark.parametrize("called", ["f{}_ch0{}", "mouse {}_w{}"])
@pytest.mark.parametrize("is_companion", [False, True])
def test_of_files_that_only_number_their_channels_the_headers_say_which_is_dna(tmp_path, called, is_companion):
    files = {f"{called.format(field, c + 1)}.ome.tif": [(0, c, 0, 0)] for field in (1, 2) for c in (0, 1)}
    for field in (1, 2):
        of_field = dict(list(files.items())[2 * field - 2 : 2 * field])
        write_set(tmp_path, of_field, ("GFP", "DAPI"), is_companion=is_companion)
    names = sorted(files)
    told = []
    assert expand([tmp_path], told.append) == [str(tmp_path / name) for name in names[1::2]]
    assert told[0].startswith(f"left out: 2 files of other channels ({names[0]}, {names[2]})")
    write_set(tmp_path, {name: files[name] for name in names[:2]}, ("DNA damage", "GFP"))
    (error,) = expand([tmp_path / name for name in names[:2]])
    assert "nothing says which one is DNA" in error.finding


def test_weeks_of_one_stain_are_fields_whatever_their_headers_call_it(tmp_path):
    for week in (1, 2):
        write_set(tmp_path, {f"mouse_w{week}.ome.tif": [(0, 0, 0, 0)]}, ["DAPI"])
    assert len([file for file in expand([tmp_path]) if isinstance(file, str)]) == 2


def test_a_channel_with_its_z_stack_in_a_file_is_a_z_stack(tmp_path):
    files = write_set(tmp_path, {f"c{c}.ome.tif": [(0, c, z, 0) for z in range(3)] for c in range(2)})
    plane = read_plane(files[1])
    assert (plane.channel, plane.planes) == ("DAPI", "maximum of z 0-2")
    assert darkest(plane) == level(0, 1, 2)


def test_a_plane_that_only_a_sister_has_is_named_so(tmp_path):
    file, _ = write_set(tmp_path, {"a.ome.tif": [*both(), (0, 0, 1, 0)], "b.ome.tif": [(0, 1, 1, 0)]})
    with pytest.raises(ImageError, match="another file of its set has it"):
        read_plane(file)
    assert is_read(read_plane(file, plane=0), 0, 1)


def test_a_file_under_another_name_is_read_where_all_files_say_the_same(tmp_path):
    alone, *_ = write_set(tmp_path, {"a.ome.tif": both()}, has_own=False)
    assert is_read(read_plane(alone.rename(tmp_path / "x.ome.tif")), 0, 1)
    fields = write_set(tmp_path, {f"w_{k}.tif": both(image=k) for k in range(2)}, images=2, has_own=False)
    renamed = fields[1].rename(tmp_path / "y.tif")
    assert is_read(read_plane(renamed), 1, 1)
    assert layout([str(renamed)])[0][0]["well"] == ""
    _, file = write_set(tmp_path, {f"c{c}.tif": [(0, c, 0, 0)] for c in range(2)}, has_own=False)
    with pytest.raises(ImageError, match=r"one of 2 files of a set \(c0\.tif.*original name"):
        read_plane(file.rename(tmp_path / "z.tif"))


def test_a_companion_file_that_is_not_there_is_named(tmp_path):
    single, pair = write_set(tmp_path, {"a.tif": [(0, 0, 0, 0)], "b.tif": both()}, is_companion=True)
    (tmp_path / "set.companion.ome").unlink()
    assert "set.companion.ome, which states them, is not there" in read_plane(single).note
    with pytest.raises(ImageError, match=r"set\.companion\.ome, which states them, is not there"):
        read_plane(pair)


def test_names_of_a_header_that_places_no_planes_are_given_to_none(tmp_path):
    file = tmp_path / "a.ome.tif"
    channels = '<Channel ID="C:0" Name="DAPI"/><Channel ID="C:1" Name="GFP"/>'
    body = IMAGE.format(image=0, order="XYCZT", c=2, z=1, t=1, channels=channels, data="")
    tifffile.imwrite(file, plane_of(0, 1, 0, 0), metadata=None, description=OME.format(own="", body=body))
    assert (read_plane(file).channel, read_plane(file).pixel_size_um) == ("0", 0.3)


def test_wells_are_asked_of_every_tiff_that_has_them(tmp_path):
    (file,) = write_set(tmp_path, {"A05_s1.tif": both()})
    with pytest.raises(DataError, match="its name says well A05, but its metadata says A01"):
        layout([str(file)])


def test_odd_tags_say_nothing_where_wells_are_asked_for(tmp_path, caplog):
    file = tmp_path / "A05_s1.tif"
    tifffile.imwrite(file, plane_of(0, 1, 0, 0), metadata=None, extratags=[(65_000, 3, 1, 1, True)])
    content = file.read_bytes()
    entry = content.index((65_000).to_bytes(2, "little") + b"\3\0")
    file.write_bytes(content[: entry + 2] + b"\x63\0" + content[entry + 4 :])
    layout([str(file)])
    assert not caplog.records

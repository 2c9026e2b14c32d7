"""OME-Zarr images are read like other formats; a hostile store is refused before anything is decoded."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cellcycle.datasets.lookup import ImageFolder
from cellcycle.errors import DataError, ImageError
from cellcycle.images import expand, read_plane
from cellcycle.images.bounded import bytes_of
from cellcycle.predict.groups import layout

zarr = pytest.importorskip("zarr")

NAMES = {"0.4": ".zattrs", "0.5": "zarr.json"}
UNITS = {"um": "micrometer"}
PIXELS = np.random.default_rng(0).integers(0, 4000, (2, 3, 40, 52)).astype(np.uint16)


def store(
    path, pixels=PIXELS, version="0.4", names=("GFP", "DAPI"), axes="czyx", unit="micrometer", scale=0.5, **options
):
    """Write an image of two levels with axes, names and pixel size."""
    zarr_format = 2 if version == "0.4" else 3
    root = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    options = {"chunks": tuple(min(n, 32) for n in pixels.shape), **options}
    for level in (0, 1):
        root.create_array(str(level), data=pixels[..., :: level + 1, :: level + 1], **options)
    named = [{"name": a, **({"type": "space", "unit": UNITS.get(unit, unit)} if a in "zyx" else {})} for a in axes]
    datasets = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [scale * 2**k] * len(axes)}]}
        for k in (0, 1)
    ]
    described = {"multiscales": [{"version": version, "axes": named, "datasets": datasets}]}
    described["omero"] = {"channels": [{"label": name} for name in names]}
    root.attrs.update(described if version == "0.4" else {"ome": {"version": version, **described}})
    return path


def changed(path, name, change):
    """Change the description of a part of a store."""
    content = json.loads((path / name).read_text())
    change(content)
    (path / name).write_text(json.dumps(content))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_channel_stack_and_pixel_size_are_read(tmp_path, version):
    plane = read_plane(store(tmp_path / "a.ome.zarr", version=version))
    assert (plane.channel, plane.planes, plane.pixel_size_um, plane.bit_depth) == ("DAPI", "maximum of z 0-2", 0.5, 16)
    np.testing.assert_allclose(plane.pixels, PIXELS[1].max(axis=0) / 65535, atol=1e-6)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_largest_level_is_read_whatever_their_order(tmp_path, version):
    path = store(tmp_path / "a.zarr", version=version)

    def turn(told):
        told = told if version == "0.4" else told["attributes"]["ome"]
        told["multiscales"][0]["datasets"].reverse()

    changed(path, ".zattrs" if version == "0.4" else "zarr.json", turn)
    plane = read_plane(path)
    assert plane.pixels.shape == PIXELS.shape[2:] and plane.pixel_size_um == 0.5


def test_fields_and_stains_that_are_said_to_be_a_z_stack_are_refused(tmp_path):
    picture = np.pad(np.full((8, 8), 3000), ((10, 46), (10, 46)), constant_values=100)
    unlike = np.random.default_rng(0).poisson(np.stack([picture, np.roll(picture, 30, (0, 1))])).astype(np.uint16)
    path = store(tmp_path / "a.zarr", unlike, names=(), axes="zyx")
    with pytest.raises(ImageError, match="2 z planes, but neighbours show different things"):
        read_plane(path)
    assert read_plane(path, plane=0).planes == "z 0"
    assert read_plane(store(tmp_path / "b.zarr", unlike, names=(), axes="zyx", scale=6.0)).n_planes == 2


@pytest.mark.parametrize("scale", [["a", "b"], [0.5], [None, None], "0.5", None])
def test_a_size_that_is_no_number_is_unknown(tmp_path, scale):
    def change(described):
        described["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = scale

    path = store(tmp_path / "a.zarr", PIXELS[0, 0], names=(), axes="yx")
    read = read_plane(changed(path, ".zattrs", change))
    assert read.pixel_size_um is None and "not plausible" in read.note


@pytest.mark.parametrize(("name", "said", "told"), [
    ("axes", None, "its axes are None; export t, c, z, y, x"),
    ("axes", 5, "its axes are 5; export t, c, z, y, x"),
    ("axes", [{"name": "y"}, {}], "its axes are y, {}; export t, c, z, y, x"),
    ("datasets", None, "its multiscales are not those of one image; name the folder of one image"),
    ("datasets", [], "its multiscales are not those of one image; name the folder of one image"),
    ("datasets", [{"path": None}], "its multiscales are not those of one image; name the folder of one image"),
])  # fmt: skip
def test_a_description_of_another_kind_is_refused_in_words_of_its_own(tmp_path, name, said, told):
    path = store(tmp_path / "a.zarr", PIXELS[0, 0], names=(), axes="yx")
    changed(path, ".zattrs", lambda described: described["multiscales"][0].update({name: said}))
    with pytest.raises(ImageError) as found:
        read_plane(path)
    assert str(found.value) == f"{path}: {told}"


@pytest.mark.slow
def test_axes_units_and_shards_as_they_come(tmp_path):
    times = store(tmp_path / "t.zarr", PIXELS[0], axes="tyx", names=["DAPI"], unit="nanometer", scale=325.0)
    with pytest.raises(ImageError, match="time series of 3"):
        read_plane(times)
    plane = read_plane(times, plane=1)
    assert plane.pixel_size_um == pytest.approx(0.325) and np.allclose(plane.pixels, PIXELS[0, 1] / 65535)
    shards = {"version": "0.5", "chunks": (1, 1, 8, 13), "shards": (1, 1, 16, 26)}
    assert read_plane(store(tmp_path / "s.zarr", **shards), channel=0, plane=2).planes == "z 2"
    turned = read_plane(store(tmp_path / "x.zarr", PIXELS[0, 0], axes="xy", names=[], unit="parsec"))
    assert turned.pixel_size_um is None and np.allclose(turned.pixels, PIXELS[0, 0].T / 65535)
    absurd = read_plane(store(tmp_path / "u.zarr", PIXELS[0, 0], axes="yx", names=[], scale=-1.0))
    assert absurd.pixel_size_um is None and "-1 um" in absurd.note


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_chunks_of_the_planes_that_are_not_stored_are_said(tmp_path, version):
    path = store(tmp_path / "a.zarr", version=version, chunks=(1, 1, 32, 32))
    begin, slash = ("", ".") if version == "0.4" else ("c/", "/")
    gone = ["0.0.0.0", "1.0.0.0", "1.2.1.1"]
    for key in gone:
        (path / "0" / f"{begin}{key.replace('.', slash)}").unlink()
    plane = read_plane(path)
    assert plane.note == "2 of 12 chunks of the planes are not stored: they are read as 0"
    assert plane.pixels[32:, 32:] == pytest.approx(PIXELS[1, :2, 32:, 32:].max(axis=0) / 65535)
    assert read_plane(path, plane=0).note == "1 of 4 chunks of the plane are not stored: they are read as 0"
    assert read_plane(path, plane=1).note == ""
    if version == "0.5":
        # As a copy leaves a shard on a full disk: zarr before 3.4 takes it for an empty one.
        sharded = store(tmp_path / "s.zarr", version=version, chunks=(1, 1, 8, 8), shards=(1, 1, 32, 32))
        (sharded / "0/c/1/0/0/0").write_bytes(b"")
        try:
            said = read_plane(sharded, plane=0).note
        except ImageError as error:
            assert "shard is too short" in str(error)
        else:
            assert said == "1 of 4 chunks of the plane are not stored: they are read as 0"
    absurd = changed(path, *said_size(version, -1.0))
    assert read_plane(absurd, plane=2, channel="GFP").note.count(";") == 0
    assert read_plane(absurd, plane=2).note.count("; 1 of 4 chunks") == 1


def said_size(version, size):
    """Return how a store is made to state a pixel size."""

    def change(said):
        said = said if version == "0.4" else said["attributes"]["ome"]
        said["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = [size] * 4

    return ".zattrs" if version == "0.4" else "zarr.json", change


def test_a_store_of_a_folder_that_was_copied_in_part_is_no_file_less(tmp_path):
    whole, *broken = (store(tmp_path / f"{name}.zarr", PIXELS[0, 0], axes="yx", names=[]) for name in "abcd")
    (broken[0] / ".zattrs").unlink()
    (broken[1] / ".zattrs").write_text('{"multi')
    (broken[2] / ".zattrs").write_text("{}")
    assert expand([tmp_path]) == [str(path) for path in (whole, *broken)]
    for path in broken:
        with pytest.raises(ImageError):
            read_plane(path)
    # A folder that is called so, and a table of another program.
    os.rename(whole, broken[0] / "a.zarr")
    (broken[1] / ".zattrs").write_text('{"encoding-type": "anndata"}')
    assert expand([tmp_path]) == [str(broken[0] / "a.zarr"), str(broken[2])]


def test_images_of_a_plate_are_listed_and_none_of_their_parts(tmp_path):
    for well in ("A/1/0", "A/2/0"):
        store(tmp_path / "p.zarr" / well, PIXELS[0, 0], axes="yx", names=[])
    (tmp_path / "p.zarr" / ".zattrs").write_text('{"plate": {}}')
    expected = [str(tmp_path / "p.zarr" / well) for well in ("A/1/0", "A/2/0")]
    assert expand([tmp_path]) == expand([tmp_path / "p.zarr"]) == expected
    with pytest.raises(ImageError, match="it is a plate"):
        read_plane(tmp_path / "p.zarr")
    wells = [{"path": f"A/{n}", "rowIndex": 0, "columnIndex": n - 1} for n in (1, 2)]
    plate = {"name": "trial", "rows": [{"name": "A"}], "columns": [{"name": "1"}, {"name": "2"}], "wells": wells}
    for described, finding in (({}, ""), (plate, ""), (plate | {"wells": wells[:1]}, "A/2 is not a well"),
                               (plate | {"columns": plate["columns"][::-1]}, "describes A/1 as A/2")):  # fmt: skip
        (tmp_path / "p.zarr" / ".zattrs").write_text(json.dumps({"plate": described}))
        if finding:
            with pytest.raises(DataError, match=finding):
                layout(expected)
        else:
            found = [(one["plate"], one["well"], one["group"]) for one in layout(expected)[0]]
            name = described.get("name", "p")
            assert found == [(name, "A01", name), (name, "A02", name)]
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "empty.zarr" / ".zattrs").write_text("{}")
    (path,) = expand([tmp_path / "empty.zarr"])
    with pytest.raises(ImageError, match="no OME-Zarr image"):
        read_plane(path)


def bare_plate(folder, wells, version="0.4", **said):
    """Write the descriptions alone of a plate; each well is a list of the acquisitions of its images, or Nones."""

    def describe(path, told):
        path.mkdir(parents=True, exist_ok=True)
        told = told if version == "0.4" else {"attributes": {"ome": told}}
        (path / NAMES[version]).write_text(json.dumps(told))

    for well, acquired in wells.items():
        of = [{"path": str(k)} | ({} if step is None else {"acquisition": step}) for k, step in enumerate(acquired)]
        describe(folder / well, {"well": {"images": of}})
        for image in of:
            describe(folder / well / image["path"], {"multiscales": [{}]})
    listed = [{"path": well, "rowIndex": 0, "columnIndex": int(well[-1]) - 1} for well in wells]
    columns = [{"name": str(k)} for k in range(1, 10)]
    describe(folder, {"plate": {"rows": [{"name": "A"}], "columns": columns, "wells": listed} | said})
    return folder


def plates_of(paths):
    return [(one["plate"], one["well"]) for one in layout(paths)[0]]


NAMED = [{"id": 0, "name": "day 1"}, {"id": 1, "name": "day 2"}]
ACQUIRED = {
    "named": ({"acquisitions": NAMED}, "P (day 1)", "P (day 2)"),
    "numbers": ({"acquisitions": [{"id": 0}, {"id": 1}]}, "P (0)", "P (1)"),
    "one name": ({"acquisitions": [{"id": k, "name": "scan"} for k in (0, 1)]}, "P (0)", "P (1)"),
    "not listed": ({}, "P (0)", "P (1)"),
}


@pytest.mark.parametrize("kind", ACQUIRED)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_acquisitions_of_a_plate_are_no_fields_of_one_well(tmp_path, kind, version):
    said, *names = ACQUIRED[kind]
    images = expand([bare_plate(tmp_path / "p.zarr", {"A/1": [0, 1], "A/2": [0, 1]}, version, name="P", **said)])
    assert plates_of(images) == [(name, well) for well in ("A01", "A02") for name in names]
    (tmp_path / "map.csv").write_text("plate,well,condition\nP,A01,c\nP,A02,d\n")
    assert f"of one name that share a well are kept apart: {', '.join(names)};" in layout(images)[1][1]
    found, notes = layout(images, tmp_path / "map.csv")
    assert [(one["group"], one["condition"]) for one in found] == [("P", "c")] * 2 + [("P", "d")] * 2
    assert notes[1:] == [f"{names[0]} and {names[1]} are one plate in map.csv: name them like this if they differ"]
    # One alone is the plate.
    assert plates_of(images[::2]) == [("P", "A01"), ("P", "A02")]


@pytest.mark.parametrize("acquired", [[0, 0], [None, None], [7, 7]])
def test_fields_of_one_acquisition_stay_together_and_a_broken_well_is_of_its_plate(tmp_path, acquired):
    plate = bare_plate(tmp_path / "p.zarr", {"A/1": acquired}, name="P", acquisitions=NAMED)
    images = expand([plate])
    assert plates_of(images) == [("P", "A01")] * 2
    (plate / "A/1/.zattrs").write_text('{"well": [')
    assert plates_of(images) == [("P", "A01")] * 2


def test_a_plate_of_before_0_4_tells_its_wells_by_their_paths(tmp_path):
    plate = bare_plate(tmp_path / "p.zarr", {"A/1": [None], "A/2": [None]}, name="P")
    images = expand([plate])

    def forget(told):
        told["plate"]["wells"] = [{"path": well["path"]} for well in told["plate"]["wells"]]

    changed(plate, ".zattrs", forget)
    assert plates_of(images) == [("P", "A01"), ("P", "A02")]


@pytest.mark.parametrize("at", [{"rowIndex": 9}, {"rowIndex": "0"}, {"columnIndex": None}])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_whose_wells_cannot_be_placed_is_refused_and_not_read_well_by_well(tmp_path, version, at):
    images = expand([bare_plate(tmp_path / "p.zarr", {"A/1": [None] * 2, "A/2": [None] * 2}, version, name="P")])

    def misplace(told):
        told = told if version == "0.4" else told["attributes"]["ome"]
        told["plate"]["wells"][0].update(at)

    changed(tmp_path / "p.zarr", NAMES[version], misplace)
    with pytest.raises(DataError, match="what its plate says of its wells cannot be read") as caught:
        layout(images)
    assert "\n" not in str(caught.value) and "p.zarr" in str(caught.value)


def test_wells_called_by_no_letters_of_rows_are_of_their_plate(tmp_path):
    rows = [{"name": "1"}, {"name": "2"}]
    plate = bare_plate(tmp_path / "p.zarr", {"1/1": [None] * 2, "2/1": [None]}, rows=rows, name=5)

    def place(told):
        told["plate"]["wells"][1].update(rowIndex=1)

    changed(plate, ".zattrs", place)
    columns, notes = layout(expand([plate]))
    assert [(one["plate"], one["well"], one["group"]) for one in columns] == [("5", "", "5")] * 3
    assert "3 of 3 images have no well" in notes[0]


@pytest.mark.parametrize("said", [{}, {"name": "p"}])
def test_plates_of_one_name_that_share_a_well_are_told_apart_by_what_differs_of_their_paths(tmp_path, said):
    one, two = (bare_plate(tmp_path / d / "p.zarr", {"A/1": [None], "A/2": [None]}, **said) for d in ("d1", "d2"))
    of_first = [("p", "A01"), ("p", "A02")]
    apart = [(f"p ({d})", well) for d in ("d1", "d2") for _, well in of_first]
    images = expand([one, two])
    assert plates_of(images) == apart and layout(images)[0][2]["group"] == "p (d2)"
    assert plates_of(expand([one])) == plates_of([images[0], images[3]]) == of_first
    both = bare_plate(tmp_path / "d2/p.zarr", {"A/1": [0, 1]}, acquisitions=NAMED, **said)
    days = [("p (d2/p.zarr/day 1)", "A01"), ("p (d2/p.zarr/day 2)", "A01")]
    assert plates_of([images[0], *expand([both])[:2]]) == [("p (d1/p.zarr)", "A01"), *days]


@pytest.mark.parametrize("inside", [".", "A", "A/1", "A/1/0"])
def test_a_plate_knows_its_wells_from_inside(tmp_path, monkeypatch, inside):
    bare_plate(tmp_path / "p.zarr", {"A/1": [None]}, name="P")
    monkeypatch.chdir(tmp_path / "p.zarr" / inside)
    assert plates_of(expand(["."])) == [("P", "A01")]


def test_folders_that_match_a_pattern_are_taken_like_those_that_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for day in ("d1", "d2"):
        bare_plate(tmp_path / day / "p.zarr", {"A/1": [None], "A/2": [None]})
    (tmp_path / "d1" / "empty").mkdir()
    everything = [f"{day}/p.zarr/A/{k}/0" for day in ("d1", "d2") for k in (1, 2)]
    for pattern in ("d*", "d*/p.zarr", "*/*", "**", "d*/p.zarr/*/*", "d*/p.zarr/*/*/0"):
        assert expand([pattern]) == everything
    assert expand(["d*/p.zarr/A/1"]) == everything[::2]
    for pattern in ("d1/../**", "d1/../d*"):
        assert expand([pattern]) == [f"d1/../{image}" for image in everything]
    (error,) = expand(["*/emp*"])
    assert "no file matches" in error.finding


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_a_plate_lists_and_has_not_is_an_error_in_its_place(tmp_path, version):
    plate = bare_plate(tmp_path / "p.zarr", {"A/1": [None] * 2, "A/2": [None], "A/3": [None]}, version, name="P")
    for part in ("A/1/1", "A/2/0", "A/3"):
        shutil.rmtree(plate / part)
    (tmp_path / "map.csv").write_text("well,condition\nA01,a\nA02,b\nA03,b\n")
    for named in (plate, tmp_path):
        first, *absent = expand([named])
        assert first == str(plate / "A/1/0")
        assert [error.subject for error in absent] == [str(plate / part) for part in ("A/1/1", "A/2/0", "A/3")]
        assert layout([first, *absent], tmp_path / "map.csv")[0][0]["condition"] == "a"
    assert [one.subject for one in expand([plate / "A/2"])] == [str(plate / "A/2/0")]
    (plate / "A/2" / NAMES[version]).write_text(
        (plate / "A/1" / NAMES[version]).read_text().replace("[{", '[], "x": [{')
    )
    assert [error.subject for error in expand([plate])[1:]] == [str(plate / part) for part in ("A/1/1", "A/3")]
    # A description that is none tells of nothing.
    for told in ('{"plate": []}', '{"plate": {"wells": [1]}}', '{"plate": {"wells": null}}'):
        (tmp_path / "q.zarr").mkdir(exist_ok=True)
        (tmp_path / "q.zarr" / ".zattrs").write_text(told)
        assert expand([tmp_path / "q.zarr"]) == [str(tmp_path / "q.zarr")]


def test_a_table_finds_the_images_of_a_plate_by_the_paths_that_were_predicted(tmp_path, monkeypatch):
    plate = bare_plate(tmp_path / "d1" / "p.zarr", {"A/1": [None], "A/2": [None]})
    monkeypatch.chdir(tmp_path)
    for folder, name in ((".", "d1/p.zarr/A/1/0"), ("d1", "p.zarr/A/1/0"), ("d1/p.zarr", "d1/p.zarr/A/1/0"),
                         ("d1/p.zarr", str(plate / "A/1/0"))):  # fmt: skip
        assert ImageFolder(Path(folder), is_open=False).find(name).samefile(plate / "A/1/0")
    # A folder that is no image is none, nor is one outside.
    for folder, name in (("d1", "p.zarr/A/1"), ("d1/p.zarr/A/1", "../2/0")):
        with pytest.raises(ImageError, match="no such image"):
            ImageFolder(Path(folder), is_open=False).find(name)


@pytest.mark.parametrize("name", ["b.zarr.zip", "b.ozx"])
def test_a_packed_store_is_not_passed_over_in_silence(tmp_path, name):
    path, notes = store(tmp_path / "a.zarr", PIXELS[0, 0], axes="yx", names=[]), []
    os.rename(shutil.make_archive(str(tmp_path / "packed"), "zip", path), tmp_path / name)
    assert expand([tmp_path], notes.append) == [str(path)] and name in notes[0]
    with pytest.raises(ImageError, match=r"packed archive; unpack it"):
        read_plane(tmp_path / name)


def outside(path):
    changed(path, ".zattrs", lambda said: said["multiscales"][0]["datasets"][0].update(path="../b.zarr/0"))


def linked(path):
    (path / "0" / "1.0").unlink()
    os.symlink("/etc/hostname", path / "0" / "1.0")


def piped(path):
    os.mkfifo(path / "0" / "9.9")


def array(**entries):
    return lambda path: changed(path, "0/.zarray", lambda said: said.update(entries))


HOSTILE = {
    "pickles": (array(filters=[{"id": "pickle"}]), "codec 'pickle'"),
    "objects": (array(dtype="|O"), "type"),
    "leads out": (outside, "no folder in it"),
    "linked chunk": (linked, "link, pipe or device"),
    "pipe": (piped, "link, pipe or device"),
    "huge": (array(shape=[2**20, 2**20]), "more than"),
    "huge in no bytes": (array(shape=[20_000, 20_000]), "only"),
    "huge chunk": (array(chunks=[2**16, 2**16]), "takes"),
    "tiny chunks": (array(shape=[4000, 4000], chunks=[1, 1]), "pieces"),
    "negative": (array(chunks=[-1, 32]), "is impossible"),
    "no array": (lambda path: (path / "0" / ".zarray").write_text("[" * 100_000), "not readable"),
    "no chunks": (lambda path: [file.unlink() for file in (path / "0").glob("[0-9]*")], "not copied"),
    "cut off": (lambda path: (path / "0" / "0.0").write_bytes(b"\2\1\x21\2\xff\xff\xff\x7f"), "decoded|memory"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_store_is_refused_in_one_line(tmp_path, kind):
    path = store(tmp_path / "a.zarr", PIXELS[0, 0], axes="yx", names=[])
    store(tmp_path / "b.zarr", PIXELS[0, 0], axes="yx", names=[])
    make, finding = HOSTILE[kind]
    make(path)
    with pytest.raises(ImageError, match=finding) as caught:
        read_plane(path)
    assert "\n" not in str(caught.value) and "a.zarr" in str(caught.value)


@pytest.mark.parametrize("said", [{"attributes": [1]}, {"attributes": {"ome": [1]}}, {"attributes": "plate"}])
def test_a_description_of_another_kind_takes_no_image_beside_it(tmp_path, said):
    store(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr/zarr.json").write_text(json.dumps(said))
    assert expand([tmp_path]) == [str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")]
    with pytest.raises(ImageError, match="no OME-Zarr image"):
        read_plane(tmp_path / "b.zarr")


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    path = store(tmp_path / "a.zarr", PIXELS[0, 0], axes="yx", names=[])
    monkeypatch.setattr("cellcycle.images.bounded.is_confined", lambda: True)
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(ImageError, match=r"pip install 'cellcycle\[zarr\]'"):
        read_plane(path)


def test_a_store_is_as_large_as_all_its_files(tmp_path):
    for name, n in (("a", 7), ("0/b", 30)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(n))
    assert bytes_of(tmp_path) == 37

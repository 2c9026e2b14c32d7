"""Whole fields with a table of labelled nuclei: every row finds its nucleus, or is told of in one line."""

import hashlib
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from cellcycle.datasets import load_dataset, source_kind
from cellcycle.errors import DataError
from cellcycle.evaluate import evaluate
from cellcycle.files import sha256_of
from cellcycle.images import read_plane, write_image
from cellcycle.inputs import InputRule, prepare
from cellcycle.names import shown_name
from cellcycle.nuclei import Scale, find_nuclei
from cellcycle.predict import predict
from cellcycle.simulation import simulate_field
from cellcycle.splits import marks_of

pytestmark = pytest.mark.slow


def write_field(path, seed=0):
    """Write a field of 16 discs of several sizes, well apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256]
    pixels = rng.normal(2000, 100, (256, 256))
    for row in range(4):
        for column in range(4):
            radius = rng.uniform(9, 14)
            pixels[np.hypot(y - 32 - 64 * row, x - 32 - 64 * column) < radius] += rng.uniform(15000, 25000)
    write_image(path, np.clip(pixels, 0, 65535).astype(np.uint16), 0.5)
    return path


def write_dense(path, seed):
    """Write a field full of nuclei, and return a table of their places."""
    write_image(path, simulate_field((256, 256), 60, seed).image, 0.5)
    found = find_nuclei(read_plane(path).pixels, 0.5, Scale(200.0)).measured
    places = {name: found[name] for name in ("centroid_y_px", "centroid_x_px")}
    return pd.DataFrame({"image": path.name, **places, "label": "G1"})


@pytest.fixture(autouse=True)
def _found_once(found_once):
    """What is tested here is what rows say of nuclei."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two fields, and a table that labels all their nuclei by number and place: (folder, table)."""
    folder, rows = tmp_path_factory.mktemp("plate"), []
    for k, name in enumerate(("a.tif", "b.tif")):
        plane = read_plane(write_field(folder / name, k))
        found = find_nuclei(plane.pixels, plane.pixel_size_um, Scale(200.0)).measured
        for i, number in enumerate(found["nucleus_id"]):
            place = found["centroid_y_px"][i], found["centroid_x_px"][i]
            rows.append((name, number, *place, ("G1", "S", "G2")[i % 3]))
    columns = ["image", "nucleus_id", "centroid_y_px", "centroid_x_px", "label"]
    table = pd.DataFrame(rows, columns=columns)
    assert len(table) == 32
    table.to_csv(folder / "labels.csv", index=False)
    return folder, table


@pytest.fixture
def plate(written, tmp_path):
    """Return a copy of what was written, to be changed."""
    shutil.copytree(written[0], tmp_path, dirs_exist_ok=True)
    return tmp_path, written[1].copy()


def load(folder, table, **options):
    table.to_csv(folder / "labels.csv", index=False)
    return load_dataset(folder / "labels.csv", **options)


def refusal(folder, table) -> str:
    with pytest.raises(DataError) as error:
        load(folder, table)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("by", [["centroid_y_px", "centroid_x_px"], ["nucleus_id", "centroid_y_px", "centroid_x_px"]])
def test_rows_find_their_nuclei_by_place(plate, by):
    folder, table = plate
    kept = table[["image", *by, "label"]]
    assert source_kind(folder / "labels.csv") == "fields"
    dataset = load(folder, kept.sample(frac=1, random_state=0))
    assert dict(dataset.counts()) == dict(table["label"].value_counts())
    assert set(dataset.groups) == {"a.tif", "b.tif"}
    for k in range(len(dataset)):
        of_field, at = dataset.places[k]
        found = dataset.fields[of_field]
        row = table[(table["image"] == found.image) & (table["nucleus_id"] == found.nuclei.measured["nucleus_id"][at])]
        assert row["label"].item() == dataset.classes[dataset.labels[k]]
        # The nucleus lies in the middle of its crop.
        middle = dataset.images.shape[-1] // 2
        y, x = np.rint(found.nuclei.centres[at]).astype(int)
        assert dataset.images[k, 0, middle, middle] == pytest.approx(found.pixels[y, x], abs=0.05)


@pytest.mark.parametrize("is_dense", [True, False])
@pytest.mark.parametrize(
    ("how", "read"),
    [
        ("with x and y swapped", lambda y, x: (x, y)),
        ("if they are in um", lambda y, x: (y * 0.5, x * 0.5)),
        ("if y runs from below", lambda y, x: (255 - y, x)),
    ],
)
def test_places_that_are_read_wrongly_put_no_label_on_another_nucleus(plate, how, read, is_dense):
    folder, table = plate
    names = ["centroid_y_px", "centroid_x_px"]
    if is_dense:
        # Of such places half mean another nucleus by chance; in the grid, the same by its number.
        table = write_dense(folder / "a.tif", 1)
    wrong = table.copy()
    wrong[names] = np.stack(read(*table[names].to_numpy().T), axis=1)
    for on_error in ("raise", "skip"):
        with pytest.raises(DataError, match=f"of its {len(table)} places fit a nucleus {how}, but .*in px"):
            load(folder, wrong, on_error=on_error)


def test_places_of_another_picture_are_refused_though_many_mean_a_nucleus_by_chance(plate):
    folder, _ = plate
    other = write_dense(folder / "a.tif", 2)
    write_dense(folder / "a.tif", 1)
    right = pd.concat([write_dense(folder / f"{name}.tif", seed) for seed, name in enumerate("cdef", 3)])
    assert len(right) > 4 * len(other)
    # As well where they are few among right ones, of other pictures.
    for table in (other, pd.concat([right, other])):
        with pytest.raises(DataError, match=r"has no nucleus at .*; and .* more; give centroid_y_px, from the top"):
            load(folder, table, on_error="skip")


def test_labels_that_are_the_numbers_of_a_mask_are_no_classes(plate):
    folder, table = plate
    numbered = table.assign(label=table["nucleus_id"]).drop(columns="nucleus_id")
    assert "its labels number the nuclei of an image" in refusal(folder, numbered)
    assert len(load(folder, numbered.assign(label=table["label"].map({"G1": 0, "S": 1, "G2": 2}))).classes) == 3


def test_numbers_alone_are_refused_since_a_mask_of_another_program_has_others(plate):
    folder, table = plate
    bare = table.assign(nucleus_id=table["nucleus_id"][::-1].to_numpy())
    for name in ("centroid_y_px", "centroid_x_px"):
        bare.loc[3:, name] = np.nan
    assert "line 5 names a nucleus only by its number" in refusal(folder, bare)
    assert "line 2 names a nucleus only by its number" in refusal(folder, table[["image", "nucleus_id", "label"]])


def test_a_table_most_of_whose_rows_mean_no_nucleus_is_refused(plate):
    folder, table = plate
    table.loc[: len(table) // 2, "centroid_x_px"] += 0.5 * 64
    table = table.drop(columns="nucleus_id")
    with pytest.raises(DataError, match=r"has no nucleus at .*; and \d+ more"):
        load(folder, table, on_error="skip")


def test_a_place_may_lie_a_little_beside_the_middle(plate):
    folder, table = plate
    shifted = table.drop(columns="nucleus_id").assign(centroid_y_px=table["centroid_y_px"] + 5)
    assert len(load(folder, shifted)) == 32


@pytest.mark.parametrize("places", [(), ("Centroid X µm", "Centroid Y µm")])
def test_whole_fields_whose_nuclei_are_not_told_apart_are_no_crops(tmp_path, places):
    files = [write_field(tmp_path / c / f"{k}.tif", k) for k, c in enumerate(("control", "drug") * 2)]
    table = pd.DataFrame({"Image": files, "Class": ["a", "b"] * 2, **dict.fromkeys(places, 9.5)})
    table.to_csv(tmp_path / "labels.csv", index=False)
    for source in (tmp_path / "labels.csv", tmp_path):
        with pytest.raises(DataError, match=r"shows 16 nuclei, .* whole fields, .*centroid_y_px") as error:
            load_dataset(source)
        assert len(str(error.value).splitlines()) == 1


def test_selecting_nuclei_keeps_their_places(plate):
    folder, table = plate
    dataset = load(folder, table)
    some = dataset.select(dataset.labels == 0)
    np.testing.assert_array_equal(some.places, dataset.places[dataset.labels == 0])
    assert some.fields is dataset.fields


def test_none_is_left_out_and_groups_are_kept_where_named(plate):
    folder, table = plate
    table.loc[0, "label"] = "None "
    table["group"] = np.where(table["image"] == "a.tif", "slide1 ", "")
    dataset = load(folder, table)
    assert len(dataset) == 31
    assert set(dataset.groups) == {"slide1", "b.tif"}
    assert dataset.sample_ids[0].startswith("a.tif#")


def test_images_are_found_below_the_table_and_by_another_spelling(plate):
    folder, table = plate
    for name in ("a.tif", "b.tif"):
        (folder / "plate").mkdir(exist_ok=True)
        shutil.move(folder / name, folder / "plate" / name)
    assert len(load(folder, table.assign(image="elsewhere\\" + table["image"]))) == 32
    assert len(load(folder, table.assign(image="./plate/" + table["image"]))) == 32


@pytest.mark.parametrize("odd", ["=1+1.tif", "a\tb.tif", "back\\slash.tif", "caf\udce9.tif", " a [1] .tif"])
def test_images_are_found_by_the_names_that_a_prediction_table_shows(plate, odd, monkeypatch):
    folder, table = plate
    (folder / "a.tif").rename(folder / odd)
    monkeypatch.chdir(folder)
    dataset = load(folder, table.assign(image=table["image"].replace("a.tif", shown_name(odd))))
    assert len(dataset) == 32
    assert len(dataset.fields) == 2


def test_the_hash_tells_images_of_one_name_apart(plate):
    folder, table = plate
    table["image_sha256"] = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in table["image"]]
    assert len(load(folder, table)) == 32
    (folder / "old").mkdir()
    shutil.move(folder / "a.tif", folder / "old" / "a.tif")
    write_field(folder / "a.tif", seed=9)
    dataset = load(folder, table)
    assert set(dataset.groups) == {"old/a.tif", "b.tif"}
    (folder / "old" / "a.tif").unlink()
    assert "is another image of this name (its sha256 differs)" in refusal(folder, table)
    assert len(load(folder, table, on_error="skip")) == 16


def test_one_name_with_two_hashes_means_two_images(plate):
    folder, table = plate
    for name in ("a.tif", "b.tif"):
        (folder / name[0]).mkdir()
        shutil.move(folder / name, folder / name[0] / "field.tif")
    table["image_sha256"] = [
        hashlib.sha256((folder / name[0] / "field.tif").read_bytes()).hexdigest() for name in table["image"]
    ]
    assert set(load(folder, table.assign(image="field.tif")).groups) == {"a/field.tif", "b/field.tif"}
    bare = table.drop(columns="image_sha256")
    assert set(load(folder, bare.assign(image="elsewhere/" + bare["image"].str[0] + "/field.tif")).groups) == {
        "a/field.tif",
        "b/field.tif",
    }


def test_one_image_by_two_paths_is_one_image(plate):
    folder, table = plate
    again = table.iloc[:1].assign(image=str(folder / "a.tif"))
    assert len(load(folder, pd.concat([table, again]))) == 32
    assert "one nucleus of a.tif is 'G1' in line 2 and 'M'" in refusal(
        folder, pd.concat([table, again.assign(label="M")])
    )


def test_what_is_gone_is_one_line(plate):
    folder, table = plate
    assert "gone.tif: no such image" in refusal(folder, table.assign(image=table["image"].replace("a.tif", "gone.tif")))
    beside = table.drop(columns="nucleus_id")
    beside.loc[3, "centroid_y_px"] = 4000
    assert "line 5: a.tif has no nucleus at y 4000" in refusal(folder, beside)
    beside.loc[3, ["centroid_y_px", "centroid_x_px"]] = [64.0, 64.0]
    assert "line 5: a.tif has no nucleus at y 64, x 64" in refusal(folder, beside)
    skipped = load(folder, beside, on_error="skip")
    assert len(skipped) == 31
    assert any("has no nucleus at y 64" in note for note in skipped.notes)
    assert load(folder, table.assign(label="G1")).classes == ("G1",)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"centroid_y_px": np.inf}, "a.tif has no nucleus at y inf"),
        ({"centroid_x_px": 1e300}, "x 1e+300"),
        ({"centroid_y_px": -3.0}, "a.tif has no nucleus at y -3"),
        ({"label": "none"}, "nothing has a class"),
    ],
)
def test_numbers_that_mean_no_nucleus_are_one_line(plate, changes, finding):
    folder, table = plate
    assert finding in refusal(folder, table.iloc[:4].assign(**changes))


def test_a_stated_pixel_size_that_cannot_be_is_not_taken(plate):
    folder, table = plate
    for size in (0.0, -1.0, np.inf):
        assert load(folder, table.assign(pixel_size_um=size)).pixel_size_um == pytest.approx(0.5, rel=0.01)


def test_a_stated_pixel_size_that_no_nuclei_could_have_is_told_of(plate):
    folder, table = plate
    (note,) = load(folder, table[table["image"] == "a.tif"].assign(pixel_size_um=5.0)).notes
    assert note.startswith("1 image: at 5 um a pixel its nuclei would have")


def test_two_pixel_sizes_of_one_image_are_not_chosen_between(plate):
    """As where tables of two programs are joined: the first was taken, and all sizes were of that."""
    folder, table = plate
    said = refusal(folder, table.assign(pixel_size_um=np.where(np.arange(len(table)) == 3, 0.25, 0.5)))
    assert "a pixel of a.tif is 0.25 um in line 5 and 0.5 um in line 2; give one pixel_size_um" in said
    assert len(load(folder, table.assign(pixel_size_um=table["image"].map({"a.tif": 0.4, "b.tif": 0.5})))) == 32


def test_one_nucleus_with_two_labels_is_refused_also_where_places_differ(plate):
    folder, table = plate
    again = table.iloc[:1].assign(label="M", centroid_y_px=table["centroid_y_px"][0] + 2).drop(columns="nucleus_id")
    both = pd.concat([table.drop(columns="nucleus_id"), again])
    assert "one nucleus of a.tif is 'G1' in line 2 and 'M' in line 34" in refusal(folder, both)
    assert len(load(folder, both, on_error="skip")) == 31


def put_into_two_wells(folder):
    """Move a.tif of the plate into A1, beside another image of its name in B2."""
    for well in ("A1", "B2"):
        (folder / well).mkdir()
    shutil.move(folder / "a.tif", folder / "A1" / "a.tif")
    write_field(folder / "B2" / "a.tif", seed=5)


def test_two_images_of_one_name_without_a_hash_are_not_guessed_between(plate):
    folder, table = plate
    put_into_two_wells(folder)
    assert "a.tif: 2 images have this name" in refusal(folder, table)


def test_an_image_that_the_website_numbered_is_found_by_its_hash_alone(plate):
    folder, table = plate
    put_into_two_wells(folder)
    numbered = table[table["image"] == "a.tif"].assign(image="a (2).tif")
    known = numbered.assign(image_sha256=sha256_of(folder / "A1" / "a.tif"))
    assert {f.image for f in load(folder, known).fields} == {"A1/a.tif"}
    assert "no such image" in refusal(folder, numbered)
    assert "another image of this name" in refusal(folder, numbered.assign(image_sha256="0" * 64))


def test_one_group_for_all_keeps_the_cells_of_an_image_together(plate):
    folder, table = plate
    dataset = load(folder, table.assign(group="plate 1"))
    assert sorted(set(dataset.groups)) == ["a.tif", "b.tif"]
    assert any("all nuclei have one group" in note for note in dataset.notes)
    # They were read together, and have one G1 peak all the same; so have those of a table without groups.
    for others in (table, table.assign(group=["", "NA"] * 16)):
        alone = load(folder, others)
        assert sorted(set(alone.groups)) == ["a.tif", "b.tif"] and len(set(alone.anchored_by)) == 1
    assert set(dataset.anchored_by) == {"plate 1"} and set(dataset.select([0, -1]).anchored_by) == {"plate 1"}


def test_nuclei_of_fields_without_a_group_beside_others_are_told(plate):
    folder, table = plate
    is_bare = table["image"] == "b.tif"
    dataset = load(folder, table.assign(group=np.where(is_bare, "NA", "slide 1")))
    assert sorted(set(dataset.groups)) == ["b.tif", "slide 1"]
    told = f"{is_bare.sum()} of {len(table)} nuclei are of no group: those of one image make one"
    assert told in dataset.notes and told not in load(folder, table).notes


def test_cells_of_a_field_that_several_images_show_share_a_group_and_it_is_said(tmp_path):
    rng, tables = np.random.default_rng(0), []
    for name, seed in (("s1_t1.tif", 1), ("s1_t2.tif", 1), ("s1_t3.tif", 1), ("s2_t1.tif", 2)):
        table, drift = write_dense(tmp_path / name, seed), 3 * (int(name[4]) - 1)
        # An hour later all lies a little elsewhere, in other noise.
        pixels = np.pad(read_plane(tmp_path / name).pixels, ((drift, 0), (drift, 0)), "edge")[:256, :256]
        pixels = (pixels + rng.normal(0, 0.002, pixels.shape)).clip(0, 1)
        write_image(tmp_path / name, (pixels * 65535).astype(np.uint16), 0.5)
        table[["centroid_y_px", "centroid_x_px"]] += drift
        tables.append(table[(table["centroid_y_px"] < 240) & (table["centroid_x_px"] < 240)])
    dataset = load(tmp_path, pd.concat(tables).assign(label=lambda t: np.resize(["G1", "G2"], len(t))))
    assert set(dataset.groups) == {"s1_t1.tif", "s2_t1.tif"}
    assert any(note.startswith("2 of 4 images show nuclei of others") for note in dataset.notes)


@pytest.mark.parametrize(
    "turned",
    [
        lambda p, y, x: (p[::-1], 255 - y, x),
        lambda p, y, x: (p[:, ::-1], y, 255 - x),
        lambda p, y, x: (p[::-1, ::-1], 255 - y, 255 - x),
        lambda p, y, x: (np.rot90(p), 255 - x, y),
        lambda p, y, x: ((p >> 8).astype(np.uint8), y, x),
    ],
    ids=["upside-down", "mirrored", "half-turned", "quarter-turned", "8-bits"],
)
def test_the_nuclei_of_a_copied_field_are_known_again_however_it_was_turned_and_saved(plate, turned):
    import tifffile

    folder, table = plate
    # 8 bits in the upper half of 16, as some cameras write them.
    pixels = tifffile.imread(folder / "a.tif") >> 8 << 8
    write_image(folder / "a.tif", pixels, 0.5)
    places = ["centroid_y_px", "centroid_x_px"]
    first = table[table["image"] == "a.tif"].drop(columns="nucleus_id")
    pixels, y, x = turned(pixels, *(first[name] for name in places))
    write_image(folder / "b.tif", np.ascontiguousarray(pixels), 0.5)
    second = first.assign(image="b.tif", centroid_y_px=y, centroid_x_px=x)
    dataset = load(folder, pd.concat([first, second]))
    assert any("16 images are copies of others" in note for note in dataset.notes)
    assert "are the same picture" in refusal(folder, pd.concat([first, second.assign(label="M")]))


def test_rows_that_mean_the_nucleus_of_another_or_contradict_themselves_are_told_of(plate):
    folder, table = plate
    beside = table.iloc[[0]].assign(nucleus_id=np.nan, centroid_x_px=table["centroid_x_px"][0] + 3)
    notes = load(folder, pd.concat([table, beside, table.iloc[[1]]])).notes
    assert notes == (
        "1 rows repeat another and are left out",
        "1 rows mean the nucleus of another row, and are left out (line 34)",
    )
    # The place is what counts: a number that stands twice takes no nucleus away.
    same = load(folder, table.assign(nucleus_id=1))
    assert len(same) == 32
    assert same.notes == ("30 rows have another number than the nucleus at their place: the place counts (line 3)",)


def test_cells_that_a_model_knows_are_known_again_beside_others_and_however_wide_they_are_cut(plate, tmp_path):
    from cellcycle.evaluate import are_among

    folder, table = plate
    first = load(folder, table[table["image"] == "a.tif"])
    known = {*marks_of(first.images)[:, 1]}
    # A larger nucleus widens the crops of all, as another field does.
    wider = np.pad(first.images, ((0, 0), (0, 0), (5, 5), (5, 5)), mode="reflect")
    assert are_among(marks_of(wider), known).all() and are_among(marks_of(first.images[:, :, ::-1]), known).all()
    both = load(folder, table)
    assert are_among(both.known_by(), known).tolist() == (both.groups == "a.tif").tolist()
    # Beside a field of other pixels all are resampled.
    other = load(folder, table.assign(pixel_size_um=table["image"].map({"a.tif": 0.3, "b.tif": 0.6})))
    assert any("resampled" in note for note in other.notes)
    assert are_among(other.known_by(), known).tolist() == (other.groups == "a.tif").tolist()
    flat = np.ones((2, 1, 40, 40), np.float32) * np.array([0.5, 1.0])[:, None, None, None]
    flat[:, :, 0, 0] = [[0.1], [0.2]]
    assert len({*marks_of(flat)[:, 1]}) == 2


def write_series(path, n=2, first=0, **description):
    """Write a TIFF with as many planes, each with nuclei of its own; the axes are those of the description."""
    import tifffile

    planes = [tifffile.imread(write_field(path.parent / "one.tif", first + k)) for k in range(n)]
    (path.parent / "one.tif").unlink()
    tifffile.imwrite(path, np.stack(planes), metadata=description, imagej=description.pop("imagej", False))
    return path


def labelled(path, of=None, at=None, **columns):
    """Return rows that label all nuclei of a channel and plane, and the columns that say what was read."""
    read = read_plane(path, of, at)
    found = find_nuclei(read.pixels, 0.5, Scale(200.0)).measured
    places = {name: found[name] for name in ("centroid_y_px", "centroid_x_px")}
    labels = [("G1", "S", "G2")[k % 3] for k in range(len(found["nucleus_id"]))]
    return pd.DataFrame({"image": path.name, "nucleus_id": found["nucleus_id"], **places, "label": labels, **columns})


@pytest.fixture
def two_channels(tmp_path):
    return write_series(tmp_path / "two.ome.tif", axes="CYX", Channel={"Name": ["GFP", "DAPI"]})


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "time.tif", n=3, first=5, imagej=True, axes="TYX")


def test_a_channel_is_read_as_the_rows_say_and_without_a_word_by_the_rule(two_channels):
    folder, gfp, dapi = two_channels.parent, read_plane(two_channels, "GFP"), read_plane(two_channels)
    assert dapi.channel == "DAPI"
    named = load(folder, labelled(two_channels, "GFP", channel="GFP", planes=""))
    np.testing.assert_array_equal(named.fields[0].pixels, gfp.pixels)
    assert len(named) == 16 and named.sample_ids[0] == "two.ome.tif#1"
    for silent in ({}, {"channel": ""}, {"channel": "", "planes": "n/a"}):
        (field,) = load(folder, labelled(two_channels, **silent)).fields
        np.testing.assert_array_equal(field.pixels, dapi.pixels)
    # By index, also as pandas writes it where a cell is empty.
    for index in ("0", "0.0"):
        (field,) = load(folder, labelled(two_channels, "GFP", channel=index)).fields
        np.testing.assert_array_equal(field.pixels, gfp.pixels)


def test_a_time_point_is_read_as_the_rows_say(series):
    folder = series.parent
    for said in ("t 1", "T 1", "1"):
        dataset = load(folder, labelled(series, at=1, channel="0", planes=said))
        np.testing.assert_array_equal(dataset.fields[0].pixels, read_plane(series, plane=1).pixels)
    assert "time.tif: it is a time series of 3 images" in refusal(folder, labelled(series, at=1))


def test_z_planes_and_their_projection_are_read_as_the_rows_say(tmp_path):
    stack = write_series(tmp_path / "z.tif", imagej=True, axes="ZYX", spacing=1)
    for plane in (None, 1):
        read = read_plane(stack, plane=plane)
        (field,) = load(tmp_path, labelled(stack, at=plane, channel=read.channel, planes=read.planes)).fields
        np.testing.assert_array_equal(field.pixels, read.pixels)
    assert read_plane(stack).planes == "maximum of z 0-1" and read_plane(stack, plane=1).planes == "z 1"


def test_channels_and_times_of_one_image_are_pictures_of_their_own_in_one_group(two_channels, series):
    rows = [labelled(two_channels, name, channel=name, planes="") for name in ("GFP", "DAPI")]
    rows += [labelled(series, at=k, channel="0", planes=f"t {k}") for k in (0, 2)]
    dataset = load(two_channels.parent, pd.concat(rows))
    assert len(dataset) == 64 and len(set(dataset.sample_ids)) == 64 and len(dataset.fields) == 4
    names = {sample.partition("#")[0] for sample in dataset.sample_ids}
    channels = {"two.ome.tif (channel GFP)", "two.ome.tif (channel DAPI)"}
    assert names == channels | {"time.tif (t 0)", "time.tif (t 2)"}
    assert set(dataset.groups) == {"two.ome.tif", "time.tif"}
    one = load(two_channels.parent, pd.concat(rows[:2]).assign(group="plate"))
    assert not any("kept together" in note for note in one.notes)


@pytest.mark.parametrize(("exposures", "is_shared"), [((1, 1.07), True), ((1, 2, 1.5), False)])
def test_fields_without_a_stated_group_are_called_as_predict_calls_their_folder(tmp_path, exposures, is_shared):
    """From well to well stain differs; where exposures do, each field is judged by itself."""
    for k, exposure in enumerate(exposures):
        field = simulate_field((600, 600), 105, seed=4 + k)
        background = np.median(field.image)
        bright = background + (field.image - background) * exposure
        write_image(tmp_path / f"A0{k + 1}.tif", bright.clip(0, 65535).astype(np.uint16), field.pixel_size_um)
    said = predict(sorted(tmp_path.iterdir()), "best", prior="equal")
    assert (said["group"] != "").all() == is_shared
    table = said[["nucleus_id", "centroid_y_px", "centroid_x_px"]].assign(image=said["image"].map(os.path.basename))
    found = evaluate("best", load(tmp_path, table.assign(label=np.resize(["G1", "S"], len(said)))))
    expected = said.set_index(table["image"] + "#" + said["nucleus_id"].astype(int).astype(str))
    expected = expected.loc[found.dataset.sample_ids]
    # Of what is no usual nucleus predict takes its call back.
    is_usual = ~expected["review"].str.contains("unlike").to_numpy()
    assert is_usual.mean() > 0.8
    expected = expected.loc[is_usual, [f"p_{phase}" for phase in found.classes]]
    np.testing.assert_allclose(found.probabilities[is_usual], expected, atol=1e-6)


def test_two_stains_of_one_slide_have_an_anchor_each(tmp_path):
    """A nucleus whose light is halved in the other channel has the same DNA there."""
    import tifffile

    field = simulate_field((640, 640), 120, seed=4)
    background = np.median(field.image)
    both = np.stack([field.image, background + (field.image - background) / 2])
    path, size_um = tmp_path / "two.ome.tif", field.pixel_size_um
    said = {"axes": "CYX", "Channel": {"Name": ["DAPI", "Hoechst"]}, "PhysicalSizeX": size_um, "PhysicalSizeY": size_um}
    tifffile.imwrite(path, both.astype(np.uint16), metadata=said)
    rows = pd.concat([labelled(path, name, channel=name, planes="") for name in ("DAPI", "Hoechst")])
    made = prepare(load(tmp_path, rows.assign(group="slide")), InputRule(64, 0.5, "painted", "g1"))
    dapi, hoechst = np.nansum(made.images, axis=(1, 2, 3)).reshape(2, -1)
    assert np.isfinite(made.images).all() and len(dapi) > 80
    np.testing.assert_allclose(hoechst, dapi, rtol=0.1)


def test_rows_with_and_without_a_channel_may_mean_the_same_picture(two_channels):
    table = labelled(two_channels, channel="DAPI")
    table.loc[::2, "channel"] = ""
    dataset = load(two_channels.parent, table)
    assert len(dataset.fields) == 1 and len(set(dataset.sample_ids)) == 16
    again = table.iloc[:1].assign(channel="DAPI", label="M")
    said = "one nucleus of two.ome.tif is 'G1' in line 2 and 'M' in line 18"
    assert said in refusal(two_channels.parent, pd.concat([table, again]))


@pytest.mark.parametrize(
    ("columns", "finding"),
    [
        ({"channel": "CY5"}, 'two.ome.tif: no channel matches "CY5" (its table says channel CY5) (choose one of 0 GFP'),
        ({"planes": "t 4"}, "two.ome.tif: it has no plane 4 (its table says t 4)"),
        ({"planes": "t 0"}, "two.ome.tif: its table says t 0, but the image has a single plane"),
        ({"planes": "the best"}, "two.ome.tif: the planes 'the best' of its table cannot be understood (write t 1"),
        ({"planes": "\u0661"}, "cannot be understood"),
    ],
)
def test_what_an_image_does_not_have_is_one_line(two_channels, columns, finding):
    assert finding in refusal(two_channels.parent, labelled(two_channels, **columns))


def test_two_channels_of_the_name_that_a_table_says_are_not_guessed_between(tmp_path):
    twins = write_series(tmp_path / "t.ome.tif", axes="CYX", Channel={"Name": ["Alexa", "Alexa"]})
    said = refusal(tmp_path, labelled(twins, "1", channel="Alexa"))
    assert '2 channels match "Alexa" (its table says channel Alexa) (choose one of 0 Alexa, 1 Alexa, by its' in said
    both = load(tmp_path, pd.concat(labelled(twins, index, channel=index) for index in "01"))
    for index, field in zip("01", both.fields, strict=True):
        np.testing.assert_array_equal(field.pixels, read_plane(twins, index).pixels)
    assert len(set(both.sample_ids)) == 32


def test_one_file_of_a_stack_in_several_files_is_read_where_its_plane_was_predicted(tmp_path):
    import tifffile

    from tests.test_image_meaning import write_set

    planes = [tifffile.imread(write_field(tmp_path / "one.tif", seed)) for seed in range(2)]
    first, _ = write_set(tmp_path, "Z", ["DAPI"], planes)
    read = read_plane(first, plane=0)
    (field,) = load(tmp_path, labelled(first, at=0, channel=read.channel, planes=read.planes)).fields
    np.testing.assert_array_equal(field.pixels, read.pixels)
    assert "other z planes of this field lie in" in refusal(tmp_path, labelled(first, at=0))

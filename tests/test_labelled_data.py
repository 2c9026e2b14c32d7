"""Labelled data as people have it: mended where it is certain, else refused in one line that names what was found."""

import shutil
from dataclasses import replace
from urllib.request import pathname2url

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellcycle.datasets import load_dataset, source_kind, source_name
from cellcycle.datasets.files import differences
from cellcycle.datasets.spelling import clean_names, meaning_of_group
from cellcycle.datasets.tables import decoded, read_table
from cellcycle.errors import DataError
from cellcycle.images import read_plane

PHASES = ("G1", "S", "G2", "M")


def write_cell(path, seed, size=24, pixel_size_um=None):
    """Write a bright disc with noise of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:size, :size]
    pixels = 3000 + 20000 * (np.hypot(y - size / 2, x - size / 2) < size / 4)
    pixels = (pixels + np.random.default_rng(seed).normal(0, 200, (size, size))).astype(np.uint16)
    resolution = {} if pixel_size_um is None else {"resolution": (1e4 / pixel_size_um,) * 2, "resolutionunit": 3}
    tifffile.imwrite(path, pixels, **resolution)


def write_range(path, seed, low, high):
    """Write 8 bits of noise that goes from one value to another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(low, high, (24, 24), np.uint8, endpoint=True)
    pixels[0, :2] = low, high
    tifffile.imwrite(path, pixels)


def write_cells(root, *names):
    for seed, name in enumerate(names):
        write_cell(root / name, seed)
    return root


@pytest.fixture
def cells(tmp_path):
    """Two images of each phase in folders of the phases."""
    return write_cells(tmp_path / "cells", *(f"{p}/{i}.tif" for p in PHASES for i in range(2)))


def manifest(cells, rows, name="list.csv", encoding="utf-8", newline="\n"):
    (cells / name).write_bytes(newline.join(rows).encode(encoding))
    return cells / name


ROWS = [f"{p}/{i}.tif,{p}" for p in PHASES for i in range(2)]


def one_line(error) -> str:
    text = str(error.value)
    assert len(text.splitlines()) == 1
    return text


# --- tables


@pytest.mark.parametrize(
    "write",
    [
        lambda c: manifest(c, ["path,label", *ROWS], encoding="utf-8-sig", newline="\r\n"),
        lambda c: manifest(c, ["path,label", *ROWS], encoding="utf-16"),
        lambda c: manifest(c, [" Path ; LABEL", *(r.replace(",", ";") for r in ROWS)]),
        lambda c: manifest(c, ["path\tlabel", *(r.replace(",", "\t") for r in ROWS)], name="list.tsv"),
        lambda c: manifest(c, ["sep=;", "path;label", *(r.replace(",", ";") for r in ROWS)]),
        lambda c: manifest(c, ["# by hand", "", "path, label", *ROWS, "", ",", " , ", ""]),
        lambda c: manifest(c, ["n,file_name,path,Class", *(f"{k},x,{r}" for k, r in enumerate(ROWS))]),
        lambda c: manifest(c, ["path,label", *(f'"{r.split(",")[0]} ","{r.split(",")[1]}"' for r in ROWS)]),
        lambda c: manifest(c, ["path,label", *(r.replace("/", "\\") for r in ROWS)]),
        lambda c: manifest(c, ["path,label", *(f"{c / r}" for r in ROWS)]),
        lambda c: manifest(c, ["path,label", *("file://" + pathname2url(f"{c}/") + r for r in ROWS)]),
        lambda c: manifest(c, ["path,label", *ROWS, "./" + ROWS[0]]),
        lambda c: manifest(c, ["path,label", *(f"{r},," for r in ROWS)]),
        lambda c: manifest(c, ["path,label", *ROWS], encoding="utf-16-le"),
        lambda c: manifest(c, ["path,label", *ROWS[:4], "path,label", *ROWS[4:]]),
        lambda c: manifest(c, ["path,label", *(r.replace("tif", "TIF") for r in ROWS)]),
        lambda c: manifest(c, ["path,label", *(r.replace(",", ",'") + "';" for r in ROWS)]),
        lambda c: manifest(c, ["id,path,label", *(f"{k},{r}" for k, r in enumerate(ROWS))]),
        lambda c: manifest(c, ["file_path,Classification,id", *(f"{r},cell_{k % 3}" for k, r in enumerate(ROWS))]),
        lambda c: manifest(c, ["path,class,phase", *(f"{r},{r.split(',')[1]} " for r in ROWS)]),
    ],
    ids=[
        "bom",
        "utf-16",
        "semicolon",
        "tab",
        "sep=",
        "comment",
        "more-columns",
        "quotes",
        "backslash",
        "absolute",
        "uri",
        "repeated",
        "empty-cells",
        "utf-16-without-mark",
        "header-again",
        "suffix-in-capitals",
        "quotes-and-separator-round-labels",
        "numbered-rows",
        "other-headers",
        "two-equal-columns",
    ],
)
def test_a_table_is_read_however_it_was_saved(cells, write):
    dataset = load_dataset(write(cells))
    assert dict(dataset.counts()) == dict.fromkeys(PHASES, 2)
    assert sorted(dataset.sample_ids) == sorted(r.split(",")[0] for r in ROWS)


def test_what_a_table_carries_along_does_not_grow_with_it(tmp_path):
    """pandas copies it for each cell that is taken out, so that ten thousand labels once took a minute to read."""
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *(f"{k}.tif,G1" for k in range(50))]))
    table, _ = read_table(tmp_path / "labels.csv", {"image": (), "label": ()}, ("image", "label"))
    assert len(table) == 50 and max(map(len, table.attrs.values())) < 5


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS, r"no column path and label; its first line is 'G1/0.tif,G1'"),
        (["path,label", *ROWS[:-1], ROWS[-1] + ",why, not"], r"line 9 has 4 cells where the header has 2: 'M/1.tif"),
        (["path,label", *ROWS[:3], "S/1.tif,"], "line 5 has no path or no label"),
        (["path,label", *ROWS[:3], "S/1.tif,N/A"], r"line 5 has no path or no label \('S/1.tif', 'N/A'\)"),
        (["path,label", "G1/0.tif,G1", "./G1/0.tif,M"], "G1/0.tif has the label 'G1' in line 2 and 'M' in line 3"),
        (["path,label,group", "M/0.tif,M,a", "M/0.tif,M,b"], "M/0.tif has the group 'a' in line 2 and 'b' in line 3"),
        (["path,label,Label", *ROWS], "two columns could be the label: label and Label; rename the right one to label"),
        (["path,class,phase", *(f"{r},x" for r in ROWS)], "two columns could be the label: class and phase"),
        (["path,label,phase", *(f"{r[:6]},{k},G1" for k, r in enumerate(ROWS))], "two columns could be the label: l"),
        (["path,label", "~nobody/2.tif,G1", "M/0.tif,M"], r"~nobody/2.tif \(no such image under "),
        (["path,label", "~nobody/0.tif,G1", "M/0.tif,M"], r"~nobody/0.tif \(4 images have this name, .*cells/G1/0.tif"),
        (["path,label", "gone.tif,G1", "M/0.tif,M"], r"gone.tif \(no such image under .*cells\)"),
        (["path,label", "G1/0.tif,S phase", "M/0.tif,S-phase"], "'S phase' and 'S-phase' differ only by a blank, dash"),
        ([""], "the file is empty"),
        (["path,label"], "no rows"),
        (["path,label", "G1/0.tif,\0"], "not a text"),
    ],
)
def test_what_is_not_certain_is_one_line_that_names_it(cells, rows, message):
    with pytest.raises(DataError, match=message) as error:
        load_dataset(manifest(cells, rows))
    assert "list.csv" in one_line(error)


@pytest.mark.parametrize(("encoding", "word"), [
    ("cp1251", "контроль"), ("koi8-r", "контроль"), ("cp866", "контроль"), ("cp1253", "έλεγχος"), ("cp1255", "ביקורת"),
    ("gbk", "对照组"), ("big5", "對照組"), ("shift_jis", "コントロール"), ("euc-kr", "대조군"),
])  # fmt: skip
def test_a_table_of_another_script_is_not_read_as_if_it_were_western(tmp_path, encoding, word):
    (tmp_path / "map.csv").write_bytes(f"image,condition\na.tif,{word}\n".encode(encoding))
    with pytest.raises(DataError, match="not a text in UTF-8, UTF-16 or Windows-1252; save the table as CSV in UTF-8"):
        decoded(tmp_path / "map.csv")


@pytest.mark.parametrize("word", ["Größe µM – 37 °C", "“œuvre” créée\xa0»", "jäääär", "––––", "próba"])
def test_a_western_table_is_read_and_it_is_said_how(tmp_path, word):
    (tmp_path / "map.csv").write_bytes(f"image,condition\na.tif,{word}\n".encode("cp1252"))
    text, notes = decoded(tmp_path / "map.csv")
    assert word in text and notes == ["map.csv is not UTF-8: read as Windows-1252"]


def test_images_of_two_labels_in_one_table_may_be_left_out(cells):
    dataset = load_dataset(manifest(cells, ["path,label", *ROWS, "./G1/0.tif,M"]), on_error="skip")
    assert len(dataset) == len(ROWS) - 1 and "G1/0.tif" not in dataset.sample_ids
    assert any(note.startswith("skipped G1/0.tif has the label 'G1'") for note in dataset.notes)


@pytest.mark.parametrize("named", ["{}", "C:\\lab\\crops\\{}", "/mnt/other/crops/{}"])
def test_images_named_by_another_folder_are_found_by_their_names_and_it_is_said(cells, named):
    rows = [f"{p}{i}.tif,{p}" for p in PHASES for i in range(2)]
    for row in rows:
        name, phase = row.split(",")
        (cells / phase / f"{name[-5]}.tif").rename(cells / phase / name)
    dataset = load_dataset(manifest(cells, ["path,label", *(named.format(row) for row in rows)]))
    assert set(dataset.sample_ids) == {f"{p}/{p}{i}.tif" for p in PHASES for i in range(2)}
    assert "8 images are found by their names, not where the table says" in dataset.notes[0]


def test_images_of_one_name_are_told_apart_by_their_folders_or_left_out(cells):
    rows = [f"D:\\plate\\{row}".replace("/", "\\") for row in ROWS]
    assert len(load_dataset(manifest(cells, ["path,label", *rows]))) == 8
    some = load_dataset(manifest(cells, ["path,label", *ROWS, "2.tif,G1", "1.tif,G1"]), on_error="skip")
    assert len(some) == 8 and any("1.tif: 4 images have this name" in note for note in some.notes)


def test_an_image_that_is_gone_is_not_another_of_its_name(cells, tmp_path, monkeypatch):
    (cells / "G1" / "1.tif").rename(cells / "G1" / "7.tif")
    (cells / "M" / "1.tif").rename(cells / "M" / "8.tif")
    rest = [ROWS[0], *ROWS[2:-1]]
    for rows in (["G1/8.tif,G1", *rest], ["D:/x/8.tif,G1", *rest, "M/8.tif,M"]):
        with pytest.raises(DataError, match=r"8.tif \(no such image"):
            load_dataset(manifest(cells, ["path,label", *rows]))
    # Nor one that lies where one stands, unless there is none below the table.
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(cells / "S" / "1.tif", other / "7.tif")
    monkeypatch.chdir(other)
    dataset = load_dataset(manifest(cells, ["path,label", "7.TIF,G1", *rest]))
    assert dataset.sample_ids[0] == "G1/7.tif"


def test_rows_without_a_label_are_left_out_on_request(cells):
    dataset = load_dataset(manifest(cells, ["path,label", *ROWS[:-1], "M/1.tif,nan"]), on_error="skip")
    assert len(dataset) == 7
    assert "1 rows without a path or a label" in dataset.notes[0]


@pytest.mark.parametrize("rows", [["gone.tif,M"], ["M/0.tif,"], ["M/0.tif,M", "M/0.tif,S"]])
def test_to_leave_such_out_is_advised_where_something_would_be_left(cells, rows):
    for others, is_advised in (ROWS, True), ([], False):
        with pytest.raises(DataError) as error:
            load_dataset(manifest(cells, ["path,label", *rows, *others]), on_error="raise" if others else "skip")
        assert ('on_error="skip"' in one_line(error)) == is_advised


def test_a_workbook_is_named_as_such(cells):
    (cells / "list.csv").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(DataError, match="workbook"):
        load_dataset(cells / "list.csv")


# --- names


@pytest.mark.parametrize(
    "odd", ["{} ", "\u00a0{}", "{}\u200b", "\ufeff{}", "\t{}", "{}\u3000", "{}\u3164", "\u2800{}", "{}\ufe0f"]
)
def test_blanks_round_labels_and_groups_make_no_class_and_no_group(cells, odd):
    rows = [f"{r},{'slide1' if k % 2 else odd.format('slide1')}" for k, r in enumerate(ROWS)]
    rows[0] = f"G1/0.tif,{odd.format('G1')},slide1"
    dataset = load_dataset(manifest(cells, ["path|label|group", *(r.replace(",", "|") for r in rows)]))
    assert dataset.classes == PHASES
    assert set(dataset.groups) == {"slide1"}
    assert any("blanks" in note for note in dataset.notes)


@pytest.mark.parametrize("odd", ["G1 ", "\u00a0G1", "G1\u200b", "g1", "\uff27\uff11", "G\u034f1"])
def test_odd_names_of_class_folders_make_no_class(tmp_path, odd):
    dataset = load_dataset(write_cells(tmp_path / "c", "G1/0.tif", f"{odd}/1.tif", "M/0.tif"))
    assert dict(dataset.counts()) == {"G1": 2, "M": 1}
    assert len(dataset.notes) == 1


def test_case_is_folded_only_where_two_spellings_collide_and_it_is_said(tmp_path):
    root = write_cells(tmp_path / "c", "Mitosis/0.tif", "mitosis/1.tif", "Mitosis/2.tif", "rest/0.tif")
    dataset = load_dataset(root)
    assert dataset.classes == ("Mitosis", "rest")
    assert dict(dataset.counts()) == {"Mitosis": 3, "rest": 1}
    assert dataset.notes == ("label 'mitosis' (1) is read as 'Mitosis'",)


def test_phases_in_small_letters_are_the_phases(tmp_path):
    dataset = load_dataset(write_cells(tmp_path / "c", "m/0.tif", "g2/0.tif", "g1/0.tif", "s/0.tif"))
    assert dataset.classes == PHASES
    assert load_dataset(write_cells(tmp_path / "t", "s/0.tif", "m/0.tif", "l/0.tif")).classes == ("l", "m", "s")


def test_other_words_for_phases_are_the_phases_where_one_is_g1_or_g2_and_come_first(cells):
    for one, other in (("G1 phase", "Mitose"), ("phase G1", "Mitotic phase"), ("gap 1", "Fase M")):
        rows = [f"G1/0.tif,{one}", f"M/0.tif,{other}", "S/0.tif,debris"]
        dataset = load_dataset(manifest(cells, ["path,label", *rows]))
        assert dataset.classes == ("G1", "M", "debris") and dataset.labels.tolist() == [0, 1, 2]
        assert set(dataset.notes) == {f"label {one!r} (1) is read as 'G1'", f"label {other!r} (1) is read as 'M'"}
    wells = load_dataset(manifest(cells, ["path,label", "G1/0.tif,G01", "M/0.tif,G02", "S/0.tif,M phase"]))
    assert wells.classes == ("G01", "G02", "M phase")
    unsure = load_dataset(manifest(cells, ["path,label", "G1/0.tif,G1", "M/0.tif,M?"]))
    assert unsure.classes == ("G1", "M?")


def test_groups_that_differ_in_case_are_one(cells):
    dataset = load_dataset(
        manifest(cells, ["path,label,group", "G1/0.tif,G1,Slide1", "M/0.tif,M,slide1", "S/0.tif,S,NA"])
    )
    assert len(set(dataset.groups)) == 2
    assert any("'slide1' (1) is read as 'Slide1'" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("G1", "G1."),
        ("M", "\u041c"),
        ("G1", "G1 phase"),
        ("M", "Mitosis"),
        ("Fase S", "Synthesis"),
        ("G2", "G2?"),
        ("not G2", "not_G2"),
        ("1", "1.0"),
        ("01", "1"),
        ("G1", "G1 (120)"),
        ("S-Phase", "S\u2013Phase"),
        ("M", "M - Kopie"),
    ],
)
def test_labels_that_a_person_would_hardly_tell_apart_are_refused(cells, one, other):
    with pytest.raises(DataError, match="differ only by a blank, dash or spelling") as error:
        load_dataset(manifest(cells, ["path,label", f"G1/0.tif,{one}", f"M/0.tif,{other}", "S/0.tif,else"]))
    assert repr(one) in one_line(error) and repr(other) in str(error.value)


def test_a_decimal_comma_makes_no_class():
    with pytest.raises(DataError, match="the labels '1' and '1,0' differ only by"):
        clean_names(pd.Series(["1", "1,0"]), "label", "list.csv")


@pytest.mark.parametrize("names", [("EdU+", "EdU-"), ("stage 1", "stage 11"), ("5'", "3'"), ("a (1)", "a (2)")])
def test_labels_that_only_resemble_each_other_stay_apart(cells, names):
    rows = [f"G1/0.tif,{names[0]}", f"M/0.tif,{names[1]}"]
    assert set(load_dataset(manifest(cells, ["path,label", *rows])).classes) == set(names)


@pytest.mark.parametrize(
    "same",
    [
        ("Slide 1", "slide_1", "slide-01", "Slide1", "slide #1", "Slide.1"),
        ("1", "1.0", "01", "1,00"),
        ("w1", "w 1", "W-1"),
        ("A1", "\u04101", "\u0391 01"),
        ("\u0432\u0435\u043d\u0430 1", "\u0412\u0435\u043d\u0430_01"),
        ("2024-01-05", "2024_1_5"),
        ("slide-1", "slide\u20131"),
    ],
)
def test_groups_that_a_person_reads_as_one_are_one_and_it_is_said(same):
    joined, notes = clean_names(pd.Series(same), "group", "list.csv")
    assert len(set(joined)) == 1
    assert len(notes) == len(same) - 1 and all("is read as" in note for note in notes)


def test_groups_that_only_resemble_each_other_stay_apart():
    assert meaning_of_group("5 \u00b5M") != meaning_of_group("5 mM") != meaning_of_group("5 \u03bcM")
    names = ["1-11", "11-1", "11", "1.1", "1.05", "10", "100", "dox+", "dox-", "5 mM", "5 \u00b5M", "s/1", "s1"]
    assert len(set(clean_names(pd.Series(names), "group", "list.csv")[0])) == len(names)


def test_images_without_a_group_stand_alone_however_alike_their_names(tmp_path):
    root = write_cells(tmp_path / "c", "G1/c1.tif", "G1/c_1.tif", "M/c01.tif", "M/c 1.tif")
    rows = ["G1/c1.tif,G1,a", "G1/c_1.tif,G1,", "M/c01.tif,M,", "M/c 1.tif,M,a"]
    dataset = load_dataset(manifest(root, ["path,label,group", *rows]))
    assert len(set(dataset.groups)) == 3
    assert dataset.notes == ("2 of 4 images have no group: each is a group of its own",)


@pytest.mark.parametrize("column", ["slide", "Well", "donor_id", "groups", "Slide No.", "Mausnummer", "subject"])
def test_a_column_that_reads_like_groups_is_named(cells, column):
    rows = [f"path,label,{column}", *(f"{r},{k % 2}" for k, r in enumerate(ROWS))]
    name = column.lower().replace(" ", "_")
    note = f"the column {name} is not read: rename it to group, if nuclei that share it must stay together"
    assert load_dataset(manifest(cells, rows)).notes == (note,)


def test_a_column_that_holds_several_groups_is_named(cells):
    rows = [f"{r},slide{k % 4},{'AB'[k % 2]},{k % 3},slide {k % 4}" for k, r in enumerate(ROWS)]
    dataset = load_dataset(manifest(cells, ["path,label,group,donor,reader,again", *rows]))
    note = "the column donor is not read: rename it to group, if nuclei that share it must stay together"
    assert dataset.notes == (note,) and len(set(dataset.groups)) == 4


def test_columns_that_can_be_no_groups_are_not_named(cells):
    columns = {"one": "x", "number": "{k}", "code": "{code}", "area": "{k}.5", "empty": ""}
    rows = [",".join(["path", "label", *columns])]
    for k, row in enumerate(ROWS):
        values = [text.format(k=k if name != "area" else k % 2, code=k // 2) for name, text in columns.items()]
        rows.append(",".join([row, *values]))
    assert load_dataset(manifest(cells, rows)).notes == ()


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda at, is_b, k: write_cell(at / (f"{k}.tiff" if is_b and k % 2 else f"{k}.tif"), k), ""),
        # As they are cut tight round nuclei, of which some are larger.
        (lambda at, is_b, k: write_cell(at / f"{k}.tif", k, 24 + k % 7 + 5 * is_b), ""),
        (lambda at, is_b, k: write_cell(at / f"{k}.tif", k, 24 + 4 * is_b), "the size of their files (24 x 24 px"),
        (lambda at, is_b, k: write_cell(at / f"{k}.tif", k, 24, 0.5 if is_b and k > 1 else None), "pixel size (none"),
        # As where one class was masked, or each of its crops stretched.
        (lambda at, is_b, k: write_range(at / f"{k}.tif", k, 0 if is_b else 9, 240), "black pixels (none, some)"),
        (
            lambda at, is_b, k: write_range(at / f"{k}.tif", k, 9, 255 if is_b else 200 + k),
            "pixels of the highest value (none, s",
        ),
        (lambda at, is_b, k: write_range(at / f"{k}.tif", k, 9 - is_b, 200 + 40 * is_b), ""),
    ],
)
def test_files_that_tell_two_of_three_classes_apart_are_told_of(tmp_path, write, said):
    for k, c in enumerate("ABC" * 8):
        write(tmp_path / "c" / c, c == "B", k)
    found = [note for note in load_dataset(tmp_path / "c").notes if note.endswith("can tell them apart by it")]
    assert len(found) == bool(said)
    assert all(note.startswith(f"A and B differ in {said}") and ", and so does 1 more pair" in note for note in found)


# --- what is meant


def test_what_lies_here_under_the_name_of_a_set_is_meant_and_it_is_said(cells, monkeypatch):
    monkeypatch.chdir(cells.parent)
    assert source_kind("simulated") == "simulated"
    cells.rename("simulated")
    assert source_kind("simulated") == "folder" and source_name("simulated") == "simulated"
    assert load_dataset("simulated").notes[0].startswith("simulated is read from the path of this name")


def test_spots_of_one_shape_and_other_brightness_may_be_of_two_classes(tmp_path):
    """G2 with twice the light of G1 is what such a set means; without noise the order of all values is the same."""
    y, x = np.mgrid[:48, :48] - 24
    for k in range(6):
        for name, light in (("G1", 20000), ("G2", 40000)):
            (tmp_path / "cells" / name).mkdir(parents=True, exist_ok=True)
            spot = light * np.exp(-(y**2 + x**2) / 2 / (6 + k) ** 2)
            tifffile.imwrite(tmp_path / "cells" / name / f"{k}.tif", spot.astype(np.uint16))
    dataset = load_dataset(tmp_path / "cells")
    assert len(dataset) == 12 and dataset.groups is None


def test_crops_of_mixed_sizes_and_classes_called_test_are_read(cells):
    tifffile.imwrite(cells / "S" / "narrow.tif", np.random.default_rng(9).integers(9, 99, (24, 5)).astype(np.uint8))
    for old, new in (("G1", "control"), ("S", "test"), ("G2", "rescue"), ("M", "sham")):
        (cells / old).rename(cells / new)
    assert load_dataset(cells).classes == ("control", "rescue", "sham", "test")


@pytest.mark.parametrize(
    "places", ["y_um,x_um", "centroid-0,centroid-1", "bbox_y,bbox_x", "Location Y,Location X", "axis-0,axis-1"]
)
def test_a_table_of_nuclei_whose_places_have_other_names_is_no_table_of_crops(cells, places):
    rows = [f"{r},{k},{k}" for k, r in enumerate(ROWS)]
    assert len(load_dataset(manifest(cells, [f"image,label,{places}", *rows, rows[0]]))) == 8
    with pytest.raises(
        DataError, match="may tell their nuclei apart; give places in px, as centroid_y_px and"
    ) as error:
        load_dataset(manifest(cells, [f"image,label,{places}", *rows, "G1/0.tif,G1,9,9"]))
    one_line(error)


def test_a_manifest_of_nuclei_of_fields_is_to_be_given_itself(cells):
    table = manifest(
        cells, ["image,label,centroid_y_px,centroid_x_px", *(f"{r},9,{9 + k}" for k, r in enumerate([*ROWS, ROWS[0]]))]
    )
    table = table.rename(cells / "manifest.csv")
    with pytest.raises(DataError, match=r"may tell their nuclei apart; give the table itself, .*/manifest\.csv$"):
        load_dataset(cells)


@pytest.mark.parametrize("ids", [range(8), range(7, 15), range(14, 6, -1), ["7.0", *range(8, 15)]])
def test_a_column_id_that_numbers_the_rows_names_no_nuclei(cells, ids):
    rows = [f"{r},{i}" for r, i in zip(ROWS, ids, strict=True)]
    assert source_kind(manifest(cells, ["image,label,id", *rows])) == "manifest"
    assert source_kind(manifest(cells, ["image,label,id", *rows[:-1], "M/1.tif,M,99"])) == "fields"


@pytest.mark.parametrize("name", ["None", "NA", "-", "n\u00adan", "#NAME?"])
def test_a_name_that_says_that_there_is_no_class_is_none(tmp_path, name):
    with pytest.raises(DataError, match="cannot be the name of a class: in tables it means") as error:
        load_dataset(write_cells(tmp_path / "c", f"{name}/0.tif", "G1/0.tif", "M/0.tif"))
    one_line(error)


@pytest.mark.parametrize("name", ["all", "found", "doubt"])
def test_a_class_takes_no_name_by_which_tables_or_page_mean_something_else(tmp_path, name):
    """The coverage of one called all hid that over all; a report of one called found ended in an error."""
    with pytest.raises(DataError, match=f"'{name}' cannot be the name of a class") as error:
        load_dataset(write_cells(tmp_path / "c", f"{name}/0.tif", "G1/0.tif", "M/0.tif"))
    one_line(error)


# --- folders


def test_how_many_nuclei_a_class_folder_holds_is_no_part_of_its_name(tmp_path):
    names = [f"{s}/{c}/{i}.tif" for s in ("x", "y") for c in ("G1 (120)", "S n=4", "G2_(3)", "M (12)") for i in (0, 1)]
    dataset = load_dataset(write_cells(tmp_path / "c", *names))
    assert dataset.classes == PHASES and set(dataset.groups) == {"x", "y"}


@pytest.mark.parametrize("tops", [("slide1", "slide2"), ("new", "old")])
def test_slides_whose_class_folders_are_called_after_their_counts_are_no_classes(tmp_path, tops):
    names = [f"{s}/{c}_{n}/0.tif" for n, s in enumerate(tops) for c in PHASES]
    root = write_cells(tmp_path / "c", *names)
    if tops == ("new", "old"):
        with pytest.raises(DataError, match="not clear whether new, old or the folders in them") as error:
            load_dataset(root)
        one_line(error)
    else:
        assert len(load_dataset(root).classes) == 8


def test_train_and_test_above_the_classes_are_no_classes(tmp_path):
    dataset = load_dataset(write_cells(tmp_path / "c", *(f"{t}/{p}/0.tif" for t in ("train", "test") for p in PHASES)))
    assert dataset.classes == PHASES
    assert dataset.sample_ids[0] == "test/G1/0.tif"
    assert dataset.groups is None
    assert "are read as one set" in dataset.notes[0]


@pytest.mark.parametrize(
    "splits", [("Train", "VAL"), ("Test set", "training_set"), ("train", "dev"), ("01_train", "02_test")]
)
def test_an_earlier_split_of_any_name_is_no_class_and_no_group(tmp_path, splits):
    dataset = load_dataset(write_cells(tmp_path / "c", *(f"{s}/{c}/0.tif" for s in splits for c in ("red", "blue"))))
    assert dataset.classes == ("blue", "red")
    assert dataset.groups is None


@pytest.mark.parametrize("names", [("G1", "S"), ("Interphase", "Metaphase"), ("round", "flat")])
def test_folders_of_slides_above_the_classes_are_groups(tmp_path, names):
    root = write_cells(
        tmp_path / "c", *(f"{s}/{c}/{i}.tif" for s in ("slideA", "slideB") for c in names for i in range(2))
    )
    dataset = load_dataset(root)
    assert set(dataset.classes) == set(names)
    assert set(dataset.groups) == {"slideA", "slideB"}
    assert all(group == name.split("/")[0] for group, name in zip(dataset.groups, dataset.sample_ids, strict=True))


def test_folders_of_slides_below_the_classes_are_groups_where_their_names_recur(tmp_path):
    below = {"G1": ("slide 1", "Slide_2"), "M": ("slide1", "slide3"), "S": ("slide2",)}
    names = [f"{c}/{s}/{i}.tif" for c, slides in below.items() for s in slides for i in range(2)]
    dataset = load_dataset(write_cells(tmp_path / "c", *names, "S/0.tif", "S/1.tif"))
    assert dataset.classes == ("G1", "S", "M") and "below the classes" in dataset.notes[0]
    assert pd.Series(dataset.groups).value_counts().tolist() == [4, 4, 2, 1, 1]
    # Kinds of one class are no slides, nor is an earlier split.
    names = [f"{c}/{t}/{i}.tif" for c, kinds in {"M": ("pro", "meta"), "G1": ("early", "late")}.items()
             for t in kinds for i in range(2)]  # fmt: skip
    assert load_dataset(write_cells(tmp_path / "d", *names)).groups is None
    names = [f"{c}/{t}/{i}.tif" for c in ("M", "G1") for t in ("train", "test") for i in range(2)]
    assert load_dataset(write_cells(tmp_path / "e", *names)).groups is None


def test_split_and_slides_may_stand_above_the_classes_together(tmp_path):
    names = [f"{t}/{s}/{p}/0.tif" for t, s in (("train", "w1"), ("train", "w2"), ("test", "w3")) for p in ("G1", "M")]
    dataset = load_dataset(write_cells(tmp_path / "c", *names))
    assert dataset.classes == ("G1", "M")
    assert set(dataset.groups) == {"w1", "w2", "w3"}
    assert dataset.notes[-1] == "groups are the folders above the classes, e.g. w3"


def test_slides_of_one_donor_that_folds_may_part_are_told_of(tmp_path):
    names = [f"{donor}/{slide}/{p}/0.tif" for donor in "AB" for slide in ("s1", "s2") for p in ("G1", "M")]
    note = "e.g. A/s1; nuclei of A may be separated, unless a table has it in a column group"
    assert note in load_dataset(write_cells(tmp_path / "c", *names)).notes[-1]


def test_folders_inside_a_class_are_no_classes_and_names_may_repeat(tmp_path):
    root = write_cells(tmp_path / "c", *(f"{p}/cell_{i}/image.tif" for p in ("G1", "M") for i in range(3)))
    dataset = load_dataset(root)
    assert dict(dataset.counts()) == {"G1": 3, "M": 3}
    assert len(set(dataset.sample_ids)) == 6
    assert "G1/cell_0/image.tif" in dataset.sample_ids


def test_names_that_are_no_text_are_shown_and_read(tmp_path):
    dataset = load_dataset(write_cells(tmp_path / "c", "caf\udce9/0.tif", "M/b\udce9.tif", "M/a\nb.tif"))
    assert dataset.classes == ("M", "caf\\xe9")
    assert "M/a\\nb.tif" in dataset.sample_ids


def test_images_beside_the_class_folders_are_told_of(cells):
    write_cell(cells / "stray.tif", 99)
    dataset = load_dataset(cells)
    assert len(dataset) == 8
    assert "1 images lie in no class folder and are left out, e.g. stray.tif" in dataset.notes


@pytest.mark.parametrize(
    ("written", "note"),
    [
        (("{p}/{i}.tif", "{p}/{i}.jpg"), "8 copies are left out, e.g. G1/0.jpg"),
        (("{p}/{i}.tif", "{p}/{i}_overlay.png"), "8 copies are left out, e.g. G1/0_overlay.png"),
        (("{p}/{i}_DAPI.tif", "{p}/{i}_GFP.tif"), "8 files of other channels are left out, e.g. G1/0_GFP.tif"),
        (("{p}/DAPI/{i}.tif", "{p}/GFP/{i}.tif"), "8 files of other channels are left out, e.g. G1/GFP/0.tif"),
        (("DAPI/{p}/{i}.tif", "GFP/{p}/{i}.tif"), "8 files of other channels are left out, e.g. GFP/G1/0.tif"),
    ],
)
def test_a_nucleus_counts_once_in_however_many_files_it_lies(tmp_path, written, note):
    """A fold would train on one picture of a nucleus and test on the other, in the case of stains with no DNA in it."""
    named = [[form.format(p=p, i=i) for p in PHASES for i in range(2)] for form in written]
    dataset = load_dataset(write_cells(tmp_path / "c", *named[0], *named[1]))
    assert sorted(dataset.sample_ids) == sorted(named[0]) and dataset.groups is None and dataset.notes == (note,)
    rows = [f"{name},{p}" for p in PHASES for name in (*named[0], *named[1]) if p in name.split("/")]
    listed = load_dataset(manifest(tmp_path / "c", ["path,label", *rows]))
    assert sorted(listed.sample_ids) == sorted(named[0]) and note in listed.notes


def test_channels_or_planes_of_which_none_is_told_are_refused_and_a_table_chooses(tmp_path):
    for form, finding in (("ch0{k}", "the channels ch00, ch01 of the same fields"), ("z{k}", "the planes z0, z1 of")):
        names = [f"{p}/cell{i}_{form.format(k=k)}.tif" for p in PHASES for i in range(3) for k in (0, 1)]
        root = write_cells(tmp_path / form[0], *names)
        with pytest.raises(DataError, match=f"/G1: its files are {finding}.*; list one file of each nucleus") as error:
            load_dataset(root)
        one_line(error)
        rows = [f"{name},{name.split('/')[0]}" for name in names[::2]]
        assert len(load_dataset(manifest(root, ["path,label", *rows]))) == 12


def test_wells_above_and_cells_in_files_called_like_channels_are_none(tmp_path):
    names = [f"w{w}/{p}/c{i}.tif" for w in (1, 2) for p in PHASES for i in range(w, 7 + w)]
    dataset = load_dataset(write_cells(tmp_path / "c", *names))
    assert len(dataset) == 56 and set(dataset.groups) == {"w1", "w2"}


def test_a_folder_of_a_class_of_which_nothing_is_read_is_told_of(cells):
    for name in ("EM/0.webp", "EM/1.gif", "old/notes.txt", ".git/x", "rest.zip"):
        (cells / name).parent.mkdir(exist_ok=True)
        (cells / name).write_bytes(b"x")
    (cells / "linked").symlink_to(cells / "G1")
    assert load_dataset(cells).notes == (
        "2 files of formats that are not read are left out, e.g. EM/0.webp",
        "no images are read from EM, linked, old, rest.zip: no class",
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["G1/a.tif", "S/a.tif", "to_sort/a.tif"], "to sort: a folder of this name is not a class"),
        (["id1/images/a.tif", "id1/masks/1.tif", "id2/images/a.tif"], "id1 holds masks/ beside images/: outlines"),
        (["images/a.tif", "masks/a.tif"], "it holds masks/ beside images/"),
        (["Bilder/a.tif", "Masken/a.tif"], "it holds Masken/ beside Bilder/"),
        (["G1/images/a.tif", "G1/labels/a.tif", "S/images/a.tif"], "G1 holds labels/ beside images/"),
        (["images/a.tif", "ground_truth/a.tif"], "it holds ground_truth/ beside images/"),
        (["img_dir/a.tif", "ann_dir/a.tif"], "it holds ann_dir/ beside img_dir/"),
        (["G1/a.tif", "G1/Cell masks/a.tif", "M/b.tif"], "G1 holds Cell masks/ beside a.tif"),
        (["G1/a.tif", "G1/a_cp_masks.tif", "M/b.tif"], "G1 holds a_cp_masks.tif beside a.tif"),
        (["G1/a.tif", "S/a.tif", "unlabeled/a.tif"], "unlabeled: a folder of this name is not a class"),
        (["Training data/a.tif", "Test data/b.tif"], "test data, training data: a folder of this name is not a class"),
        (["G1/a.tif", "S/a.tif", "test/b.tif"], "test: a folder of this name is not a class"),
        (["G1/a.tif", "S/a.tif", "val/b.tif"], "val: a folder of this name is not a class"),
        (["G1/a.tif", "S/a.tif", "valid/b.tif"], "valid: a folder of this name is not a class"),
        (["train/a.tif", "test/b.tif"], "test, train: a folder of this name is not a class"),
        (["train/G1/a.tif", "train/S/a.tif", "val/b.tif"], "1 images lie above the classes, e.g. val/b.tif"),
        (["a/x/1.tif", "a/y/1.tif", "b/x/1.tif"], "two classes|only one class"),
        (["red/tall/1.tif", "red/wide/1.tif", "blue/tall/1.tif", "blue/wide/1.tif"], "not clear whether blue, red or"),
        (["G1/M/a.tif", "G1/b.tif", "M/c.tif"], "G1/M/a.tif lies under two classes"),
        (["G1/a.tif", "S/a.tif", "masks/a.tif"], "it holds masks/ beside G1/: outlines"),
        (["a.tif"], "no images in sub-folders, 1 in no folder"),
    ],
)
def test_folders_that_are_no_classes_are_refused_in_one_line(tmp_path, names, message):
    root = write_cells(tmp_path / "c", *names)
    if message.startswith("two classes"):
        assert load_dataset(root).classes == ("a", "b")
        return
    with pytest.raises(DataError, match=message) as error:
        load_dataset(root)
    one_line(error)


def test_nuclei_may_be_valid_and_invalid(tmp_path):
    assert load_dataset(write_cells(tmp_path / "c", "valid/a.tif", "invalid/b.tif")).classes == ("invalid", "valid")


def test_a_folder_with_a_manifest_counts_as_it(cells):
    manifest(cells, ["path,label,group", *(f"{r},slide{k % 2}" for k, r in enumerate(ROWS))], name="manifest.csv")
    dataset = load_dataset(cells)
    assert set(dataset.groups) == {"slide0", "slide1"}
    assert dataset.name == "cells"


def test_classes_with_numbers_keep_their_natural_order(tmp_path):
    dataset = load_dataset(write_cells(tmp_path / "c", "stage 10/0.tif", "stage 9/0.tif", "stage 1/0.tif"))
    assert dataset.classes == ("stage 1", "stage 9", "stage 10")


# --- pictures


def test_one_huge_picture_among_crops_is_named_and_shrinks_none(cells):
    write_cell(cells / "S" / "field.tif", 99, size=400)
    with pytest.raises(DataError, match=r"S/field.tif is 400 x 400 px among crops of 24 px: a whole field\?") as error:
        load_dataset(cells)
    one_line(error)
    dataset = load_dataset(cells, on_error="skip")
    assert len(dataset) == 8
    assert dataset.images.shape[-1] == 24
    assert any("S/field.tif" in note for note in dataset.notes)


@pytest.mark.parametrize(("shape", "message"), [((24, 24), "S/odd.tif is blank"), ((1, 1), "1 x 1 px: too small")])
def test_blank_and_tiny_pictures_are_no_nuclei(cells, shape, message):
    tifffile.imwrite(cells / "S" / "odd.tif", np.full(shape, 7, np.uint16))
    with pytest.raises(DataError, match=message) as error:
        load_dataset(cells)
    one_line(error)
    dataset = load_dataset(cells, on_error="skip")
    assert len(dataset) == 8 and any(message in note for note in dataset.notes)
    for path in cells.rglob("*.tif"):
        tifffile.imwrite(path, np.full((24, 24), 7, np.uint16))
    with pytest.raises(DataError, match="and 8 more"):
        load_dataset(cells, on_error="skip")


def test_a_picture_for_which_all_others_are_surrounded_is_named(cells):
    write_cell(cells / "S" / "wide.tif", 99, size=90)
    note = "S/wide.tif is 90 px wide where most are 24: all are padded to its width"
    assert load_dataset(cells).notes == (note,)


def test_other_pixel_sizes_are_brought_to_one(tmp_path):
    for k, (size, um) in enumerate([(24, 0.5), (24, 0.5), (24, 0.5), (48, 0.25)]):
        write_cell(tmp_path / "c" / ("G1" if k % 2 else "M") / f"{k}.tif", k, size, um)
    dataset = load_dataset(tmp_path / "c")
    assert dataset.images.shape[-1] == 24
    assert dataset.pixel_size_um == pytest.approx(0.5)
    bright = (dataset.images > 0.2).sum(axis=(1, 2, 3))
    assert bright.max() < 1.15 * bright.min()
    assert "resampled to 0.5 um" in dataset.notes[0]


def test_unknown_pixel_sizes_stay_unknown(tmp_path):
    write_cell(tmp_path / "c" / "G1" / "0.tif", 0, pixel_size_um=0.5)
    write_cell(tmp_path / "c" / "M" / "0.tif", 1)
    dataset = load_dataset(tmp_path / "c")
    assert dataset.pixel_size_um is None
    np.testing.assert_allclose(dataset.pixel_sizes_um, [0.5, np.nan])
    write_cell(tmp_path / "c" / "M" / "0.tif", 1, pixel_size_um=9)
    write_cell(tmp_path / "c" / "M" / "1.tif", 2, pixel_size_um=0.5)
    with pytest.raises(DataError, match=r"M/0.tif says that a pixel is 9 um wide"):
        load_dataset(tmp_path / "c")


def test_the_same_picture_in_two_classes_is_refused_with_both_names(cells):
    (cells / "M" / "again.tif").write_bytes((cells / "G1" / "0.tif").read_bytes())
    with pytest.raises(DataError, match=r"G1/0.tif \(G1\) and M/again.tif \(M\) are the same picture") as error:
        load_dataset(cells)
    one_line(error)
    dataset = load_dataset(cells, on_error="skip")
    assert dict(dataset.counts()) == {"G1": 1, "S": 2, "G2": 2, "M": 2}


def test_a_nucleus_cut_at_two_widths_is_one(cells):
    for path in list(cells.rglob("*.tif")):
        tifffile.imwrite(path.with_name(f"wide {path.name}"), np.pad(tifffile.imread(path), 6, mode="reflect"))
    dataset = load_dataset(cells)
    narrow = [name.replace("wide ", "") for name in dataset.sample_ids]
    assert (pd.factorize(dataset.groups)[0] == pd.factorize(np.array(narrow))[0]).all()
    (cells / "M" / "wide 0.tif").rename(cells / "S" / "other.tif")
    with pytest.raises(DataError, match=r"M/0.tif \(M\) and S/other.tif \(S\) are the same picture"):
        load_dataset(cells)


def test_what_reading_an_image_says_is_told_with_the_number_of_images(cells):
    pixels = tifffile.imread(cells / "M" / "0.tif")[np.newaxis]
    for name in "01":
        noise = np.random.default_rng(int(name)).integers(0, 9, pixels.shape, np.uint16)
        said = {"axes": "CYX", "Channel": {"Name": ["GFP"]}}
        tifffile.imwrite(cells / "M" / f"{name}.ome.tif", pixels + noise, metadata=said)
        (cells / "M" / f"{name}.tif").unlink()
    assert load_dataset(cells).notes == (
        "2 images: its only channel is called GFP: unless it shows DNA, its calls mean nothing",
    )


def test_copies_are_no_groups_that_were_stated(cells):
    (cells / "M" / "again.tif").write_bytes((cells / "M" / "0.tif").read_bytes())
    for k in range(30):
        write_cell(cells / PHASES[k % 4] / f"more{k}.tif", 100 + k)
    dataset = load_dataset(cells)
    assert len(set(dataset.groups)) == 38 and not dataset.has_stated_groups
    assert "scores may be too high" in dataset.check_for_training()[-1]
    rows = [f"{r},slide{k % 2}" for k, r in enumerate(ROWS)]
    rows.append(f"M/again.tif,M,slide{1 - ROWS.index('M/0.tif,M') % 2}")
    stated = load_dataset(manifest(cells, ["path,label,group", *rows]))
    # A copy in both slides keeps them on one side of a fold; their light stays that of each.
    assert stated.has_stated_groups and len(set(stated.groups)) == 1 and len(set(stated.anchored_by)) == 2


def test_without_size_nothing_is_scaled(cells):
    write_cell(cells / "M" / "larger.tif", 99, size=80)
    assert load_dataset(cells, size_px=None).images.shape[-1] == 80


# --- what training asks


def test_a_class_a_row_as_a_dragged_cell_makes_is_refused_in_one_short_line(tmp_path):
    """Only classes that are large enough are set beside each other: pairs of a thousand would take an hour."""
    write_cells(tmp_path, *(f"{k}.tif" for k in range(8)))
    table = manifest(tmp_path, ["path,label", *(f"{k}.tif,G{k + 1}" for k in range(8))])
    with pytest.raises(DataError, match="G1 has 1, G2 has 1, G3 has 1, G4 has 1 and 4 more where 5 are needed"):
        load_dataset(table).check_for_training()
    assert differences([f"G{k}" for k in range(1000)], [read_plane(tmp_path / "0.tif")] * 1000) == ()


@pytest.mark.slow
def test_rare_classes_are_refused_below_five_and_warned_about_below_twenty():
    dataset = load_dataset("simulated", size_px=32)
    few = dataset.subsample(100)
    assert few.counts()["M"] == 4
    with pytest.raises(DataError, match="too few images to train on: M has 4 where 5 are needed"):
        few.check_for_training()
    (said,) = dataset.subsample(200).check_for_training()
    assert "whose scores say little: G2" in said or "M " in said
    assert dataset.check_for_training() == ()


@pytest.mark.slow
def test_g1_and_g2_whose_labels_are_mixed_up_are_told_by_their_light():
    nuclei = load_dataset("simulated", size_px=32)
    assert not any("mixed up" in line for line in nuclei.check_for_training())
    swapped = replace(nuclei, labels=np.array([2, 1, 0, 3])[nuclei.labels])
    assert any("labelled G2 have 0.6" in line and "mixed up" in line for line in swapped.check_for_training())


def test_a_set_without_groups_warns_that_scores_may_flatter(cells):
    for k in range(30):
        write_cell(cells / PHASES[k % 4] / f"more{k}.tif", 100 + k)
    assert "scores may be too high" in load_dataset(cells).check_for_training()[-1]


def test_classes_that_lie_in_groups_of_their_own_are_told(cells):
    labels, slides = np.repeat([0, 1, 2], 30), np.repeat([f"slide {k}" for k in range(9)], 10)
    made = {"images": np.zeros((90, 1, 8, 8), np.float32), "labels": labels, "groups": slides, "marks": None}
    made |= {"classes": ("G1", "S", "M"), "sample_ids": np.arange(90).astype(str), "pixel_sizes_um": None}
    some = replace(load_dataset(cells), **made, stated_um=None)
    said = "G1 and M differ in group (slide 0, slide 6), and so do 2 more pairs: a model can tell them apart by it"
    assert some.check_for_training() == (said,) and said in some.report()
    # Slides that hold all classes tell none, nor do groups of few cells, copies or none.
    mixed = np.tile([f"slide {k}" for k in range(3)], 30)
    for others in ({"groups": mixed}, {"groups": np.arange(90)}, {"groups_are_copies": True}, {"groups": None}):
        assert replace(some, **others).told_by_groups == ()


def test_the_report_says_counts_by_class_and_group_and_bit_depths(cells):
    file = manifest(cells, ["path,label,group", *(f"{r},slide{k % 2} " for k, r in enumerate(ROWS))])
    text = load_dataset(file).report()
    for words in ("slide0", "16 bits (8)", "24 x 24 px", "blanks", "too few images"):
        assert words in text

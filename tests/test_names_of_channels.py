"""Channels, planes and pictures of several channels that microscopes number are told from fields, wells and times."""

import fnmatch

import pytest

from cellcycle.errors import ImageError
from cellcycle.images import expand, list_images
from cellcycle.images.channels import by_name
from cellcycle.images.naming import parts_of
from cellcycle.images.plates import fields_of
from cellcycle.predict.groups import layout

CHANNELS = {
    "CellVoyager, an action each": [f"P_B0{w}_T0001F001L01A0{k}Z01C0{k}.tif" for w in (2, 3) for k in (1, 2)],
    "CellVoyager, one well": [f"P_B02_T0001F001L01A0{k}Z01C0{k}.tif" for k in (1, 2)],
    "CellVoyager, two actions": [f"P_B02_T0001F001L01A0{a}Z01C0{k}.tif" for a, k in ((1, 1), (1, 2), (2, 3))],
    "CellVoyager, planes": [f"P_B02_T0001F001L01A0{k}Z0{k}C0{k}.tif" for k in (1, 2)],
    "numbers of files": ["x_1_ch00.tif", "x_2_ch01.tif"],
    "Bio-Formats": ["s1_C0.tif", "s1_C1.tif"],
    "Bio-Formats, all": [f"s1_Z0_C{k}_T0.tif" for k in range(5)],
    "Bio-Formats, from 1": [f"s1_Z1_C{k}_T1.tif" for k in (1, 2)],
    "two digits": ["f1_c00.tif", "f1_c01.tif"],
    "points": ["f1.c0.tif", "f1.c1.tif"],
    "OME": ["f1_c0.ome.tif", "f1_c1.ome.tif"],
    "folders": [f"c{k}/00{f}.tif" for k in (1, 2) for f in (1, 2)],
    "folders from 0": ["c00/p1/001.tif", "c01/p1/001.tif"],
    "folders in wells": ["B02/C1/001.tif", "B02/C2/001.tif"],
    "tiles of ZEN": [f"E_b0t0z0c{k}x{x}-512y0-512.tif" for k in (0, 1) for x in (0, 512)],
    "hundreds of fields of ArrayScan": ["M_A01f100d0.TIF", "M_A01f100d1.TIF"],
    "tiles of ZEN in wells": [f"E_s0_b0v0t0z0c{k}x0-1080y0-1080.tif" for k in (0, 1)],
    "EVOS": [f"exp_0001_d{k}.TIF" for k in (0, 1)],
    "Columbus": [f"001002-1-00100100{k}.tif" for k in (1, 2)],
    "projections by Fiji": [f"MAX_C{k}-e{f}.tif" for f in (0, 1) for k in (1, 2)],
    "dyes of antibodies": [f"Image 1_AF{nm}.tif" for nm in (405, 488, 647)],
    "two dyes": [f"Image 1_{dye}.tif" for dye in ("Atto565", "AF488")],
    "Keyence, stains of all": [f"RPE1_DAPI_EdU_00_CH{k}.tif" for k in (1, 2)],
    "MetaMorph, stains of all": [f"RPE1_DAPI_EdU_00_w{k}.tif" for k in (1, 2)],
    "numbers beside stains of all": [f"RPE1_DAPI_{s}_00_c{k}.tif" for s in ("EdU", "Ki67") for k in (1, 2)],
    "numbers behind fields of one stain": [f"RPE1_DAPI_0{f}_c{k}.tif" for f in (1, 2) for k in (1, 2)],
    "Keyence, one stain": [f"RPE1_DAPI_1_CH{k}.tif" for k in (1, 2)],
    "Keyence, captures": [f"Image_0000{f}_CH{k}.tif" for f in (1, 2) for k in (1, 2)],
    "Squid": [f"m0_0_0_Fluorescence_{nm}_nm_Ex.bmp" for nm in (488, 561)],
    "German": [f"A0{w}_Kanal{k}.tif" for w in (1, 2) for k in (1, 2)],
    "Spanish, in folders": [f"canal {k}/{w}.tif" for w in (1, 2) for k in (1, 2)],
    "colours in German": [f"A0{w}_{colour}.tif" for w in (1, 2) for colour in ("blau", "grün")],
    "colours that are other words in English": [f"A01_{colour}.tif" for colour in ("blau", "rot")],
    "colours in French": [f"A0{w}_{colour}.tif" for w in (1, 2) for colour in ("bleu", "vert")],
    "colours as a Mac writes them": ["A01_blau.tif", "A01_gru\u0308n.tif"],
    "another short form": ["s1_chn1.tif", "s1_chn2.tif"],
    "another short form, in folders": ["chn1/1.tif", "chn2/1.tif"],
    "letters in full width": ["\uff21\uff10\uff11_w1.tif", "\uff21\uff10\uff11_w2.tif"],
    "living and dead": ["HeLa_PI.tif", "HeLa_Calcein.tif"],
    "living and dead, a well": ["A01_SYTOX.tif", "A01_Calcein AM.tif"],
    "dead and a histone of all": ["f1_SYTOX.tif", "f1_H2B-GFP.tif"],
}
PLANES = {
    "Opera, Operetta": [f"r01c01f100p0{k}-ch1sk1fk1fl1.tiff" for k in (1, 2)],
    "CellVoyager": [f"P_B02_T0001F001L01A01Z{k}C01.tif" for k in ("99", "100")],
    "ImageXpress": [f"TimePoint_1/ZStep_{k}/p_A01_s1.tif" for k in (1, 2)],
    "Columbus": [f"001002-1-00{k}001001.tif" for k in (1, 2)],
    "Micro-Manager": [f"img_000000000_{s}00{k}.tif" for s in ("DAPI_", "") for k in (0, 1)],
    "slices of one place": [f"pos1_slice00{k}.tif" for k in (1, 2)],
}
FIELDS = {
    "CellVoyager": [f"P_B02_T000{t}F00{f}L01A01Z01C01.tif" for t in (1, 2) for f in (1, 2)],
    "wells C": [f"P1_C0{k}.tif" for k in (1, 2, 3)],
    "wells C, one plane": [f"z1_C0{k}_001.tif" for k in (1, 2, 3)],
    "wells C in folders": [f"C0{k}/001.tif" for k in (1, 2, 3)],
    "wells in folders": [f"{well}/001.tif" for well in ("A1", "B1", "C1", "C2")],
    "a field a folder": ["C1/a.tif", "C2/b.tif"],
    "wells of other stains": ["x_DAPI_C01_1.tif", "x_GFP_C02_1.tif"],
    "numbered weeks": [f"mouse {k}_w{k}.tif" for k in (1, 2, 3)],
    "tiles of ZEN": [f"b0t0z0c0x{x}-512y0-512.tif" for x in (0, 512)],
    "times of Micro-Manager": [f"img_00000000{k}_DAPI_000.tif" for k in (0, 1)],
    "slices of tissue": [f"{of}1_slice00{k}.tif" for of in ("mouse", "s", "f") for k in (1, 2)],
    "clones in folders": [f"C{k}/00{f}.tif" for k in (1, 2) for f in (1, 2)],
    "clones": [f"HeLa_clone_c{k}_{f}.tif" for k in (1, 2) for f in (1, 2)],
    "coverslips": [f"Coverslip-c{k}_{f}.tif" for k in (1, 2) for f in (1, 2)],
    "coverslips of one stain": [f"{of}_DAPI_c{k}_01.tif" for of in "ab" for k in (1, 2)],
    "weeks of mice": [f"mouse_{m}_w{k}.tif" for m in (1, 2) for k in (1, 2)],
    "chambers": [f"chip_ch{k}_00{f}.tif" for k in (1, 2) for f in (1, 2)],
    "days": [f"mouse1_d{k}.tif" for k in (0, 1)],
    "times of two stains": [f"DAPI_EdU_t0{k}.tif" for k in (0, 1)],
    "numbered crops": [f"{k:03d}.tif" for k in range(400, 500)],
    "lines of fluorescent proteins": ["HeLa-iRFP670_01.tif", "HeLa-RFP_01.tif"],
    "zones in folders": [f"z{k}/tail/1.tif" for k in (1, 2)],
    "patients": ["CHN1_1.tif", "CHN2_1.tif"],
    "turned pictures": ["leaf.tif", "leaf_rot.tif"],
    "dates": [f"IMG_202401011_00{k}.tif" for k in (1, 2)],
    "regions of one stain": ["A01_DAPI_ROI1.tif", "A01_DAPI_ROI2.tif"],
    "other plane of another field": ["z1/a.tif", "z2/b.tif"],
}


@pytest.mark.parametrize("kind", CHANNELS)
def test_numbered_channels_are_refused(kind):
    (error,), left_out = fields_of([f"plate/{name}" for name in CHANNELS[kind]])
    assert isinstance(error, ImageError) and "channels" in error.finding and not left_out


@pytest.mark.parametrize("kind", PLANES)
def test_numbered_planes_are_refused(kind):
    (error,), left_out = fields_of([f"plate/{name}" for name in PLANES[kind]])
    assert isinstance(error, ImageError) and "planes" in error.finding and not left_out


@pytest.mark.parametrize("above", ["", "C1/plate/", "/a/B02/x/"])
@pytest.mark.parametrize(("names", "are_fields"), [("C1_1.tif C2_1.tif", True), ("A01/C1.tif A01/C2.tif", False)])
def test_folders_far_above_do_not_decide_what_a_number_is(above, names, are_fields):
    files = [above + name for name in names.split()]
    found, _ = fields_of(files)
    assert (found == files) == are_fields


@pytest.mark.parametrize("kind", FIELDS)
def test_fields_wells_times_and_weeks_that_are_numbered_alike_stay(kind):
    assert fields_of(FIELDS[kind]) == (FIELDS[kind], {})


@pytest.mark.parametrize("merged", ["Snap-01_c1+2.tif", "Snap-01_c1+c2.tif", "f1_c1+2.tif"])
def test_a_picture_of_numbered_channels_is_a_copy(merged):
    channels = [merged.replace("+2", "").replace("+c2", ""), merged.replace("c1+2", "c2").replace("c1+c2", "c2")]
    (error,), left_out = fields_of([*channels, merged])
    assert "c1, c2 of" in error.finding and left_out == {"copies": [merged]}


@pytest.mark.parametrize("stem", ["ctrl", "Image_00001"])
def test_what_has_a_merged_picture_is_a_channel_and_no_chamber(stem):
    (error,), left_out = fields_of([f"{stem}_{kind}.tif" for kind in ("CH1", "CH2", "Overlay")])
    assert "CH1, CH2 of" in error.finding and left_out == {"copies": [f"{stem}_Overlay.tif"]}


def test_the_pattern_of_a_refusal_matches_one_channel():
    (error,), _ = fields_of(CHANNELS["Columbus"])
    assert fnmatch.filter(CHANNELS["Columbus"], error.remedy.split("'")[1]) == CHANNELS["Columbus"][:1]


def test_the_picture_of_named_channels_is_a_copy():
    names = ["s_DAPI.tif", "s_GFP.tif", "s_DAPI+GFP.tif"]
    assert fields_of(names) == (names[:1], {"files of other channels": names[1:2], "copies": names[2:]})


@pytest.mark.parametrize(
    ("dna", "others"),
    [
        ("e_w1CSU405.tif", ["e_w2CSU488.tif"]),
        ("e_w1conf405.TIF", ["e_w2conf488.TIF"]),
        ("Image 1_DAPI.tif", ["Image 1_AF405.tif"]),
        ("Image_01_c2_DAPI.tif", ["Image_01_c1_GFP.tif"]),
        ("B2_0_Fluorescence_405_nm_Ex.bmp", ["B2_0_BF_LED_matrix_full.bmp", "B2_0_Fluorescence_488_nm_Ex.bmp"]),
        ("1_DAPI_edges.tif", ["1_GFP_edges.tif"]),
        ("f1_Hoechst.tif", ["f1_DRAQ5.tif", "f1_GFP.tif"]),
        ("f1_DRAQ5.tif", ["f1_DRAQ7.tif"]),
        ("f1_Hoechst.tif", ["f1_PI.tif", "f1_Annexin V.tif"]),
    ],
)
def test_the_stain_of_all_is_taken(dna, others):
    assert fields_of([*others, dna]) == ([dna], {"files of other channels": others})


def test_letters_with_an_accent_and_in_full_width_are_read_however_they_are_written(tmp_path):
    names = ["\uff33_\uff24\uff21\uff30\uff29.tif", "\uff33_Ki67.tif"]
    assert fields_of(names) == (names[:1], {"files of other channels": names[1:]})
    assert by_name(["\uff24\uff21\uff30\uff29", "GFP"]) == [0] and by_name(["ma\u0301scara DAPI"]) == []
    names = ["s1.tif", "s1_aperc\u0327u.tif"]
    assert fields_of(names) == (names[:1], {"copies": names[1:]})


@pytest.mark.parametrize("alive", [
    "Calcein-AM", "AnnexinV-FITC", "acridine orange", "AO", "live/dead", "Caspase-3/7", "FDA", "SYTO 9", "H2B-GFP",
])  # fmt: skip
@pytest.mark.parametrize("dead", ["PI", "Propidium Iodide", "SYTOX Green", "DRAQ7", "TO-PRO-3"])
def test_a_stain_of_the_dead_is_not_chosen_beside_one_of_the_living(dead, alive):
    assert by_name([dead, alive]) == [0, 1] and by_name([dead, alive, "Hoechst"]) == [2] and by_name([dead]) == [0]


@pytest.mark.parametrize("name", [
    "DAPI_prob", "DAPI_distance", "DAPI_watershed", "DAPI edges", "DAPI-lifetime",
    "DAPI-ve", "nuclei objects", "ohne DAPI", "masque DAPI", "fondo Hoechst",
])  # fmt: skip
def test_what_is_made_from_a_stain_is_not_the_stain(name):
    assert by_name([name, "GFP"]) == [] and by_name([name, "DAPI"]) == [1]


def test_draq5_stains_all_and_a_laser_of_dna_stains_tells_it():
    assert by_name(["Draq7", "Draq5"]) == by_name(["DRAQ 7", "DRAQ 5"]) == by_name(["nuclear GFP", "405"]) == [1]


def test_the_rule_of_wells_is_told_by_one_of_the_images():
    names = [f"plate/p_{well}_s1.tif" for well in ("B03", "B04")]
    assert layout(names, has_files=False)[1] == [
        "wells read from the names of 2 images (ImageXpress: B03 in p_B03_s1.tif)"
    ]


LONG = "ctrl_t001_z001_c00{}.tif", "A01_T0001_Z0001_C000{}.tif"


@pytest.mark.parametrize("name", LONG)
def test_channels_are_known_by_long_numbers_too(name):
    found = parts_of([name.format(k) for k in (1, 2)]).values()
    assert len({part.channel for part in found}) == 2 and len({part.rest for part in found}) == 1


@pytest.mark.parametrize("name", ["t24_c{:03d}_f1.tif", "chip3_ch{:03d}_f1.tif", "G1_t0_c{:03d}.png"])
def test_doses_devices_and_cells_of_long_numbers_are_fields(tmp_path, name):
    names = [name.format(k) for k in (101, 102, 110)]
    assert fields_of(names) == (names, {})


def test_a_link_to_an_image_of_the_call_counts_no_nucleus_twice(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"1")
    (tmp_path / "b.tif").write_bytes(b"2")
    (tmp_path / "zz.tif").symlink_to("a.tif")
    told = []
    assert expand([tmp_path], told.append) == [str(tmp_path / name) for name in ("a.tif", "b.tif")]
    assert told == ["left out: 1 link to another (zz.tif)"]
    assert len(expand([tmp_path / "a.tif", f"{tmp_path}/./a.tif"], told.append)) == 1 == len(told)
    (tmp_path / "0.tif").symlink_to("a.tif")
    assert str(tmp_path / "a.tif") in expand([tmp_path]), "the file itself stays, wherever its links stand"


def test_what_is_left_out_of_the_working_directory_is_not_called_as_if_it_lay_at_the_root():
    told = []
    assert expand(["a.tif", "a_mask.tif", "sub/b.tif"], told.append) == ["a.tif", "sub/b.tif"]
    assert told == ["left out: 1 mask of another image, or map made from one (a_mask.tif)"]


@pytest.mark.parametrize("folder", ["first", "last"])
def test_an_image_is_called_as_it_lies_in_its_folder_whatever_links_to_that(tmp_path, folder):
    for name in (folder, "middle"):
        (tmp_path / name).mkdir()
    (tmp_path / folder / "a.tif").write_bytes(b"1")
    (tmp_path / "middle" / "of").symlink_to(tmp_path / folder)
    (tmp_path / "link").symlink_to(folder)
    assert list_images(tmp_path) == [tmp_path / folder / "a.tif"]


def test_pictures_of_kinds_that_are_not_read_are_told_of_a_folder(tmp_path):
    for name in ("a.tif", "b.gif", "c/d.JP2", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    told = []
    assert expand([tmp_path], told.append) == [str(tmp_path / "a.tif")]
    assert told == ["left out: 2 files of formats that are not read (b.gif, c/d.JP2)"]


def test_what_is_read_when_it_is_named_is_read_of_a_folder_too(tmp_path):
    names = [f"{k}{suffix}" for k, suffix in enumerate((".flex", ".jfif", ".qptiff", ".svs", ".tf2"))]
    for name in [*names, "notes.txt", "map.csv"]:
        (tmp_path / name).write_bytes(name.encode())
    assert expand([tmp_path]) == [str(tmp_path / name) for name in names]

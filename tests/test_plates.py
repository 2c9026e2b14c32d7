"""Of many files the fields are taken: no thumbnails, no other stains; what is left out is said."""

import pytest

from cellcycle.errors import ImageError
from cellcycle.images import expand
from cellcycle.images.plates import fields_of

GUID = "0A1B2C3D-1111-2222-3333-44445555666"
# Names of a folder -> those that are fields.
SAID = {
    "MetaMorph": (["e_w1DAPI_s1.tif", "e_w2GFP_s1.tif", "e_w1DAPI_s2.tif", "e_w2GFP_s2.tif"], [0, 2]),
    "MetaMorph, confocal": (["e_w1confGFP.TIF", "e_w2confDAPI.TIF"], [1]),
    "ScanR": ([f"--W00001--P00001--Z00000--T00000--{s}.tif" for s in ("GFP", "DAPI", "Alexa 647")], [1]),
    "InCell": ([f"A - 1(fld 1 wv {s} - {s}).tif" for s in ("FITC", "DAPI")], [1]),
    "named": (["f1_DAPI.tif", "f1_GFP.tif", "f2_DAPI.tif", "f2_GFP.tif"], [0, 2]),
    "numbered and named": (["f1_w1_Hoechst.tif", "f1_w2_mCherry.tif"], [0]),
    "histone": (["f1_H2B.tif", "f1_Cy5.tif"], [0]),
}
UNSAID = {
    "ImageXpress": ["p_A01_s1_w1.tif", "p_A01_s1_w2.tif", "p_A01_s2_w1.tif", "p_A01_s2_w2.tif"],
    "ImageXpress, GUIDs": [f"p_A01_s1_w{k}{GUID}{k}.tif" for k in (1, 2)],
    "Opera, Operetta": [f"r01c01f0{f}p01-ch{k}sk1fk1fl1.tiff" for f in (1, 2) for k in (1, 2)],
    "CellVoyager": [f"AS_A01_T0001F001L01A01Z01C0{k}.tif" for k in (1, 2)],
    "ArrayScan": [f"M_A01f00d{k}.TIF" for k in (0, 1)],
    "Leica": [f"x_ch0{k}.tif" for k in (0, 1)],
    "ImageJ": ["C1-x.tif", "C2-x.tif"],
    "Bio-Formats": ["f1_C=0.tif", "f1_C=1.tif"],
    "colours": ["f1_blue.tif", "f1_green.tif"],
    "no DNA": ["f1_GFP.tif", "f1_RFP.tif"],
    "two of DNA": ["f1_DAPI.tif", "f1_Hoechst.tif"],
}
FIELDS = {
    "plain": ["f1.tif", "f2.tif", "image_405.tif", "G1_c01.tif", "r01c01f01.tif", "r01c02f01.tif", "thumbelina.tif"],
    "one channel": ["p_A01_s1_w1.tif", "p_A01_s2_w1.tif"],
    "wells of other stains": ["a_DAPI.tif", "b_GFP.tif"],
}


@pytest.mark.parametrize("kind", SAID)
def test_the_files_of_the_dna_stain_are_taken_where_it_is_said(kind):
    names, fields = SAID[kind]
    assert fields_of(names) == ([names[k] for k in fields], {"files of other channels": len(names) - len(fields)})


@pytest.mark.parametrize("kind", UNSAID)
def test_channels_of_which_none_is_said_to_be_dna_are_refused_with_the_way_out(kind):
    (error,), left_out = fields_of([f"plate/{name}" for name in UNSAID[kind]])
    assert isinstance(error, ImageError) and error.subject == "plate" and not left_out
    assert "channels" in error.finding and "plate/*" in error.remedy


@pytest.mark.parametrize(
    "names",
    [
        ["r01c01f01p01-ch1sk1fk1fl1.tiff", "r01c01f01p02-ch1sk1fk1fl1.tiff"],
        ["p_A01_T0001F001L01A01Z01C01.tif", "p_A01_T0001F001L01A01Z02C01.tif"],
        ["A01_f1_z0.tif", "A01_f1_z1.tif", "A01_f1_z2.tif", "A01_f2_z0.tif"],
        ["img1_Z=0.tif", "img1_Z=1.tif"],
        ["--W00001--P00001--Z00000--T00000--DAPI.tif", "--W00001--P00001--Z00001--T00000--DAPI.tif"],
    ],
)
def test_planes_of_one_stack_are_not_so_many_fields(names):
    alone = "plate/overview.tif"
    (error, kept), left_out = fields_of([*(f"plate/{name}" for name in names), alone])
    assert kept == alone and not left_out
    assert isinstance(error, ImageError) and "planes" in error.finding and "plate/*" in error.remedy
    # One plane of each field is what a screen has.
    others = [names[0], names[0].replace("1", "2", 1)]
    assert fields_of(others) == (others, {})


@pytest.mark.parametrize("kind", FIELDS)
def test_files_that_are_fields_all_stay(kind):
    assert fields_of(FIELDS[kind]) == (FIELDS[kind], {})


def test_files_of_the_microscope_say_which_channel_is_dna(tmp_path):
    ixm, harmony = tmp_path / "ixm", tmp_path / "harmony"
    for folder, kind in ((ixm, "ImageXpress"), (harmony, "Opera, Operetta")):
        folder.mkdir()
        for name in UNSAID[kind]:
            (folder / name).touch()
    (ixm / "p.HTD").write_text('"NWavelengths", 2\n"WaveName1", "FITC"\n"WaveName2", "DAPI"\n')
    entry = "<Entry ChannelID='{}'><ImageSizeX>1080</ImageSizeX><ChannelName>{}</ChannelName></Entry>".replace("'", '"')
    (harmony / "Index.idx.xml").write_text(entry.format(1, "HOECHST 33342") + entry.format(2, "Alexa 488"))
    told = []
    names = [file.rsplit("/")[-1] for file in expand([ixm, harmony], told.append)]
    assert names == [*UNSAID["ImageXpress"][1::2], *UNSAID["Opera, Operetta"][::2]]
    assert told == ["left out: 4 files of other channels"]


def test_thumbnails_are_left_out_and_counted_but_not_if_they_are_all(tmp_path):
    thumbs = ["p_w1_thumb7F.tif", f"p_w1_thumb{GUID}7.tif", "x_thumb.png", "thumbnail_1.tif"]
    (tmp_path / "Thumbs").mkdir()
    for name in ["p_w1.tif", "Thumbs/p.tif", *thumbs]:
        (tmp_path / name).touch()
    told = []
    assert expand([tmp_path], told.append) == [str(tmp_path / "p_w1.tif")]
    assert told == ["left out: 5 thumbnails"]
    assert expand([tmp_path / thumbs[0]]) == [str(tmp_path / thumbs[0])]


def test_errors_keep_their_place_and_one_file_of_several_spellings_stands_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).touch()
    first, error, last = expand(["a.tif", "./a.tif", "*.png", tmp_path / "a.tif", "b.tif"])
    assert (first, error.subject, last) == ("a.tif", "*.png", "b.tif")

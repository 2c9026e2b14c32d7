"""Of many files the fields are taken: no thumbnails or copies, no other stains; what is left out is named."""

import time

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
    "a short name": (["A01_Hoe.tif", "A01_GFP.tif", "A02_HOE33342.tif", "A02_GFP.tif", "hoeing_1.tif"], [0, 2, 4]),
    "named": (["f1_DAPI.tif", "f1_GFP.tif", "f2_DAPI.tif", "f2_GFP.tif"], [0, 2]),
    "numbered and named": (["f1_w1_Hoechst.tif", "f1_w2_mCherry.tif"], [0]),
    "histone": (["f1_H2B.tif", "f1_Cy5.tif"], [0]),
    "markers": ([f"A01_{s}.tif" for s in (
        "DAPI", "Ki67", "LaminB1", "gH2AX", "DsRed", "tdTomato", "mKO2", "Cy2", "mScarlet", "iRFP", "EdU647", "WGA",
        "ConA", "Mito", "far-red", "p21", "pH3", "CD4", "S100", "488", "561nm", "merge",
    )], [0]),
    "words": ([f"s1_{s}.tif" for s in ("TL Brightfield", "Hoechst 33342", "Alexa Fluor 488", "p-Rb (S807)")], [1]),
    "marker first": (["pRb_01.tif", "DAPI_01.tif", "CyclinB1_01.tif"], [1]),
    "marker without a field of DNA": (["A01_DAPI.tif", "A01_Ki67.tif", "B05_Ki67.tif"], [0]),
    "another format": (["A01_Ki67.png", "A01_DAPI.tif"], [1]),
    "no space": (["A01DAPI.tif", "A01GFP.tif", "a02dapi.tif", "a02ki67.tif"], [0, 2]),
    "denied": (["A01_DAPI.tif", "A02_no_DAPI.tif", "A02_DAPI.tif", "A02_DAPI_background.tif"], [0, 2]),
    "large and small letters": (["f1_dapi.tif", "f1_gfp.TIF", "f2_DAPI.tif"], [0, 2]),
    "Cytation": ([f"A{w}_01_{k}_1_{s}_00{f}.tif" for w in (1, 2) for f in (1, 2)
                  for k, s in ((1, "DAPI"), (2, "GFP"), (3, "Texas Red"), (4, "Ki67"))], [0, 4, 8, 12]),
    "Cytation, stitched": (
        [f"A1_-1_{k}_1_Stitched[{s}]_001.tif" for k, s in ((1, "DAPI 377,447"), (2, "GFP 469,525"))], [0]),
    "Nikon": ([f"WellA0{w}_Channel{s}_Seq000{2 * w + k}.tif" for w in (1, 2)
               for k, s in enumerate(("GFP", "DAPI", "Ki67"))], [1, 4]),
    "Nikon, folders": ([f"WellA0{w}/Channel{s}_Seq000{2 * w + k}.tif" for w in (1, 2)
                        for k, s in enumerate(("GFP", "DAPI", "Ki67"))], [1, 4]),
    "numbered by hand": (["Image_c1_GFP.tif", "Image_c2_DAPI.tif", "Image_c3_Ki67.tif"], [1]),
    "Micro-Manager": ([f"img_000000000_{s}_000.tif" for s in ("Default", "DAPI")], [1]),
    "Pathway": ([f"Well A0{w}/{s} - n000000.tif" for w in (1, 2) for s in ("FITC", "Hoechst")], [1, 3]),
    "lasers": (["s1_405.tif", "s1_488.tif", "s1_561.tif", "s2_405.tif", "s2_561.tif"], [0, 3]),
    "laser and protein": (["s1_405nm.tif", "s1_GFP.tif"], [0]),
    "folders": (["DAPI/001.tif", "GFP/001.tif", "DAPI/002.tif", "GFP/002.tif", "GFP/003.tif"], [0, 2]),
    "folders, marker": (["ex/DAPI/a.tif", "ex/Ki67/a.tif"], [0]),
    "folders, field": (["A01_DAPI/img.tif", "A01_Ki67/img.tif"], [0]),
    "colours of Incucyte": ([f"VID1_{s}_A1_1_00d00h00m.tif" for s in ("Phase", "Red", "NIR", "DAPI", "Violet")], [3]),
    "colours of others": ([f"A1_{s}.tif" for s in ("Near IR", "Deep Red", "Cy5.5", "HMC", "iRFP670", "DAPI")], [5]),
    "folders, lasers": (["405 nm/a.tif", "488 nm/a.tif"], [0]),
    "folders, both": (["DAPI/p1/A01_DAPI.tif", "GFP/p1/A01_GFP.tif"], [0]),
    "stains in folders of wells": ([f"w{k}/{s}.tif" for k in (1, 2) for s in ("GFP", "DAPI")], [1, 3]),
    "now capitals, now none": (["DAPI/A01.tif", "GFP/a01.tif", "b02_DAPI.tif", "B02_GFP.tif"], [0, 2]),
    "stains alone in folders": ([f"A0{w}/{s}.tif" for w in (1, 2) for s in ("Ki67", "DAPI")], [1, 3]),
    "cells that are called like a stain": (["GFP_DAPI.tif", "GFP_mCherry.tif"], [0]),
    "stains of DNA in other wells": ([f"{s}.tif" for s in ("A01_DAPI", "A01_GFP", "B01_Hoechst", "B01_GFP")], [0, 2]),
}  # fmt: skip
UNSAID = {
    "ImageXpress": ["p_A01_s1_w1.tif", "p_A01_s1_w2.tif", "p_A01_s2_w1.tif", "p_A01_s2_w2.tif"],
    "ImageXpress, GUIDs": [f"p_A01_s1_w{k}{GUID}{k}.tif" for k in (1, 2)],
    "Opera, Operetta": [f"r01c01f0{f}p01-ch{k}sk1fk1fl1.tiff" for f in (1, 2) for k in (1, 2)],
    "CellVoyager": [f"AS_A01_T0001F001L01A01Z01C0{k}.tif" for k in (1, 2)],
    "Incucyte": [f"VID1_{s}_A1_1_00d00h00m.tif" for s in ("Phase", "Red", "NIR")],
    "ArrayScan": [f"M_A01f00d{k}.TIF" for k in (0, 1)],
    "Leica": [f"x_ch0{k}.tif" for k in (0, 1)],
    "ImageJ": ["C1-x.tif", "C2-x.tif"],
    "Bio-Formats": ["f1_C=0.tif", "f1_C=1.tif"],
    "colours": ["f1_blue.tif", "f1_green.tif"],
    "Micro-Manager": [f"img_channel00{k}_position000_time000000000_z000.tif" for k in (0, 1)],
    "ZEN": [f"Exp-01_s{s}c{k}_ORG.tif" for s in (1, 2) for k in (1, 2)],
    "ZEN, no end": [f"Exp-01_s{s}c{k}.tif" for s in (1, 2) for k in (1, 2)],
    "Nikon": ["wellA1xy1c1.tif", "wellA1xy1c2.tif"],
    "Olympus": ["s_C001Z001.tif", "s_C002Z001.tif"],
    "Leica's screens": [f"image--L0000--X00--Y00--Z00--C0{k}.ome.tif" for k in (0, 1)],
    "lone numbers": ["Image_c1.tif", "Image_c2.tif"],
    "numbers beside wells": [f"A0{w}_C{k}.tif" for w in (1, 2) for k in (1, 2, 3)],
    "no laser of DNA": ["s1_488.tif", "s1_561.tif"],
    "Cytation": ["A1_01_1_1_CY5_001.tif", "A1_01_2_1_GFP_001.tif"],
    "folders w": ["w1/001.tif", "w2/001.tif"],
    "folders ch": ["ch00/001.tif", "ch01/001.tif"],
    "folders channel": ["channel 1/001.tif", "channel 2/001.tif"],
    "folders without DNA": ["GFP/001.tif", "RFP/001.tif"],
    "no DNA": ["f1_GFP.tif", "f1_RFP.tif"],
    "two of DNA": ["f1_DAPI.tif", "f1_Hoechst.tif"],
}
FIELDS = {
    "plain": ["f1.tif", "f2.tif", "image_405.tif", "G1_c01.tif", "r01c01f01.tif", "r01c02f01.tif", "thumbelina.tif"],
    "one channel": ["p_A01_s1_w1.tif", "p_A01_s2_w1.tif"],
    "wells of other stains": ["a_DAPI.tif", "b_GFP.tif"],
    "numbered wells of other stains": ["A01_DAPI.tif", "A02_GFP.tif", "1_DAPI.tif", "2_GFP.tif"],
    "not the place of a stain": ["DAPI.tif", "control.tif"],
    "numbers in the place of a stain": ["e_DAPI.tif", "e_1.tif", "e_f2.tif", "e_B02.tif", "e_control.tif"],
    "numbers behind a stain": ["DAPI1.tif", "DAPI2.tif", "DAPI 3.tif"],
    "cells before a stain": ["HeLa_DAPI_1.tif", "U2OS_DAPI_1.tif", "siGFP_DAPI_1.tif"],
    "wells C": ["x_C01.tif", "x_C02.tif", "C1.tif", "C2.tif"],
    "small wells": ["x_a1.tif", "x_b1.tif", "x_c1.tif", "x_c2.tif"],
    "conditions": [f"x_c{k}.tif" for k in range(1, 7)],
    "doses called like projections": ["min_drug.tif", "med_drug.tif", "max_drug.tif"],
    "a corrected line": [f"LRRK2{of}_{k}.tif" for of in ("", "_corr") for k in (1, 2)],
    "dated": ["2023-11-28--DAPI_ctrl.tif", "2023-11-28--DAPI_HU.tif"],
    "days": [f"{a}_2023_d{k}.tif" for a in ("ctrl", "HU") for k in (1, 3)],
    "names that capitals tell apart": ["Ctrl.tif", "ctrl.tif", "a_DAPI.tif", "A_DAPI.tif"],
    "days of one stain": [f"DAPI_ctrl_2023_d{k}.tif" for k in (1, 2, 3)],
    "patients at times": ["CRC001T001.tif", "CRC002T001.tif"],
    "conditions of one stain": [f"{a}_DAPI_c{k}.tif" for a in "ab" for k in (1, 2)],
    "fields in hundreds": [f"img_{k}.tif" for k in range(400, 650)],
    "folders of fields": [f"w{k}/1.tif" for k in range(1, 13)],
    "folders of conditions": ["WT/DAPI.tif", "KO/DAPI.tif", "p1/001.tif", "p2/001.tif"],
    "folders of other names": ["DAPI/1.tif", "other/2.tif"],
    "numbers of copies": ["s1.tif", "s1 (1).tif", "s1 (2).tif"],
    "all made alike": ["s1_8bit.tif", "s2_8bit.tif", "max.tif", "small.tif"],
}
# Names of a folder of which the first is kept.
COPIES = {
    "formats": ["s1.tif", "s1.png", "s1.jpg"],
    "made from it": ["s1_DAPI.tif", *(f"s1_DAPI_{made}" for made in (
        "8bit.png", "preview.jpg", "MIP.tif", "overlay.png", "RAW.tif", "flat.tif", "copy.tif",
        "IllumCorr.tif", "shading_corrected.tif",
    ))],
    "in the middle, before": ["s1_ch00.tif", "s1_RAW_ch00.tif", "MAX_s1_ch00.tif", "s1_ch00 - Copy.tif",
                              "s1_ch00 (copy).tif"],
    "of desktops": ["s1.tif", *(f"s1 {said}.tif" for said in (
        "(copy 2)", "(another copy)", "(3rd copy)", "(Copy 12)", "- Copy (10)",
    )), "Copy of s1.tif", "Copy (2) of s1.tif"],
    "in German and French": ["s1.tif", "s1 - Kopie (2).tif", "Kopie von s1.tif", "s1_copie.tif", "s1_Vorschau.tif"],
    "none is plain": ["s1_RAW.tif", "s1.jpg", "s1_8bit.tif", "s1_preview.tif"],
    "folders": ["s1.tif", "8bit/s1.tif", "previews/s1.jpg", "png/s1.png"],
    "OME": ["s1.ome.tif", "s1.png"],
}  # fmt: skip
# Stems of a folder, parted by "|"; those that are fields of DNA begin with "+".
CELLS = [
    # The name of the cells holds a marker or dye.
    "+H2B-GFP_DAPI_1|H2B-GFP_GFP_1",
    "+HeLa_H2B-GFP_01_DAPI|HeLa_H2B-GFP_01_GFP|HeLa_H2B-GFP_01_Cy5",
    "+H2B-mCherry_siCtrl_DAPI_1|H2B-mCherry_siCtrl_GFP_1",
    "+H2B-GFP_DAPI|H2B-GFP_tubulin",
    "+GFP-H2B_DAPI_1|GFP-H2B_GFP_1",
    "+DAPI_H2B-GFP_1|GFP_H2B-GFP_1",
    "+RPE1 H2B-GFP ch1_DAPI|RPE1 H2B-GFP ch2_GFP",
    "+H2B-GFP_DAPI_1|H2B-GFP_Ki67_1",
    "+H2B_DAPI|H2B_pRb",
    "+GFP_DAPI|GFP_488",
    # Each field is judged alone.
    "+WT_DAPI_1|WT_GFP_1|+GFP_DAPI_1|GFP_GFP_1",
    "+ctrl_DAPI|ctrl_EdU|+EdU_DAPI|EdU_EdU",
    "+ctrl_DAPI|ctrl_EdU|+EdU_neg_DAPI|EdU_neg_EdU",
    "+DMSO_DAPI_1|DMSO_EdU_1|+BrdU_DAPI_1|BrdU_EdU_1",
    "+EdU_DAPI_1|EdU_EdU_1|+BrdU_DAPI_1|BrdU_EdU_1",
    "+WT_1_DAPI|WT_1_Cy5|+H2B-mCherry_1_DAPI|H2B-mCherry_1_Cy5",
    "+parental_DAPI|parental_GFP|+H2B-RFP_DAPI|H2B-RFP_GFP",
    "+si-ctrl_DAPI|si-ctrl_GFP|+si-actin_DAPI|si-actin_GFP",
    "+H2B-GFP_DAPI_1|H2B-GFP_TRITC_1|+WT_DAPI_1|WT_TRITC_1",
    "+red_DAPI_1|red_GFP_1|+blue_DAPI_1|blue_GFP_1",
    "+1_DAPI_GFP|+1_DAPI_H2B|1_Ki67_GFP|1_Ki67_H2B",
    "+WT_DAPI|WT_Ki67|+GFP_DAPI|GFP_Ki67",
    "+A01_DAPI|A01_H2B-GFP|B01_H2B-GFP|B01_Cy5",
    # Other stains hold a word that is known, or stand beside an exposure.
    *(f"+ctrl_DAPI|ctrl_{stain}" for stain in (
        "F-actin", "a-tubulin", "alpha-tubulin", "acetylated tubulin", "tubulin-AF488", "Ki67-GFP", "Ki67-Cy5",
        "PCNA-mCherry", "GFP-Geminin", "EdU-Alexa647", "p21 Alexa 647", "Click-iT EdU", "H2B-GFP",
    )),
    "+s1_DAPI|s1_Phalloidin-647",
    "+s1_DAPI|s1_WGA-488",
    "+A01_s1_DAPI|A01_s1_Ki67_Cy5",
    "+s1_DAPI_50ms|s1_GFP_200ms",
    "+s1_DAPI_100ms_1|s1_Ki67_500ms_1",
    # Nuclei, dyes and lamps.
    "+s1_nuclei|s1_actin",
    "+nuclei/1|actin/1",
    "+Nuclei_A01|Mito_A01",
    "s1_nuclei|+s1_DAPI|s1_actin",
    "+ctrl_SiR-DNA_1|ctrl_GFP-tubulin_1",
    "+NucBlue_1|Tomato_1",
    "+s_385|s_475|s_555|s_630",
    "+395|470|555|640",
]  # fmt: skip
# Stems that all are fields: slices of tissue, cell lines, conditions, weeks, chambers.
CONDITIONS = [
    "mouse1_slice1|mouse1_slice2|mouse2_slice1",
    "mouse1_slice1_DAPI|mouse1_slice2_DAPI",
    "slice1/a|slice2/a",
    "HeLa-GFP_1|HeLa-RFP_1",
    "H2B-GFP_1|H2B-mCherry_1",
    "GFP-p53_1|mCherry-p53_1",
    "EV_1|GFP_1|mCherry_1",
    "si-GFP_1|si-actin_1|si-tubulin_1",
    "KO actin_1|KO tubulin_1",
    "group red 1|group blue 1",
    "red_DAPI_1|blue_DAPI_1",
    "ctrl_w1|ctrl_w2|ctrl_w3",
    "mouse1_w1|mouse1_w2|mouse1_w4|mouse1_w8|mouse1_w12",
    "mouse1_DAPI_w1|mouse1_DAPI_w2",
    "|".join(f"chamber_ch{k}" for k in range(1, 9)),
    "s1_nuclei|s1_cells",
    "nuclei_1|nuclei_2",
    "cell_50ms|cell_100ms",
    "colon_1|colon_small_1",
    "tumor|tumor_small",
    "HeLa_DAPI|HeLa_nocodazole|HeLa_thymidine",
    "HeLa_DAPI|HeLa_RO3306|HeLa_palbociclib 1uM|HeLa_STLC",
    "DAPI_1|Nocodazole_1|DMSO_1",
]
CHANNELS = [
    "x_GFP_1|x_RFP_1|x_Cy5_1",
    "x_red|x_green|x_blue",
    "x (red)|x (green)|x (blue)",
    "x.tif (red)|x.tif (green)|x.tif (blue)",
    "M_A01f00d0|M_A01f00d2",
    "x_0001_d0|x_0001_d2",
    "s1_w1|s1_w2",
    "A01_w1|A01_w2",
    "Well1_w1|Well1_w2",
    "ch1|ch2",
    "Image_XY01_CH1|Image_XY01_CH2",
]


@pytest.mark.parametrize("stems", CELLS)
def test_of_every_field_the_file_of_dna_is_taken_whatever_the_cells_are_called(stems):
    names = [f"{stem}.tif" for stem in stems.split("|")]
    dna, others = [name[1:] for name in names if name[0] == "+"], [name for name in names if name[0] != "+"]
    assert fields_of([name.lstrip("+") for name in names]) == (dna, {"files of other channels": others})


@pytest.mark.parametrize("stems", CONDITIONS)
def test_names_of_cells_and_conditions_that_might_be_channels_stay_fields(stems):
    names = [f"{stem}.tif" for stem in stems.split("|")]
    assert fields_of(names) == (names, {})


@pytest.mark.parametrize("stems", CHANNELS)
def test_names_that_only_channels_have_are_refused_without_dna(stems):
    (error,), left_out = fields_of([f"{stem}.tif" for stem in stems.split("|")])
    assert isinstance(error, ImageError) and "channels" in error.finding and not left_out


def test_only_the_field_with_two_stains_of_dna_is_refused():
    (error, kept), left_out = fields_of(["f1_DAPI.tif", "f1_Hoechst.tif", "f2_DAPI.tif", "f2_GFP.tif"])
    assert "DAPI, Hoechst" in error.finding
    assert (kept, left_out) == ("f2_DAPI.tif", {"files of other channels": ["f2_GFP.tif"]})


def test_a_merged_picture_beside_its_channels_is_a_copy():
    names = ["rep1_DAPI_EdU_merge.tif", "rep1_DAPI.tif", "rep1_EdU.tif", "rep2_DAPI_EdU_merge.tif"]
    left_out = {"files of other channels": names[2:3], "copies": names[:1]}
    assert fields_of(names) == (names[1::2], left_out)
    (error,), left_out = fields_of([f"Image_XY01_{kind}.tif" for kind in ("CH1", "CH2", "Overlay")])
    assert "CH1, CH2 of" in error.finding and left_out == {"copies": ["Image_XY01_Overlay.tif"]}


TILES = {
    "Cytation": (["B2_01_1_1_DAPI_001", "B2_02_1_1_DAPI_001"], "B2_-1_1_1_Stitched[DAPI 377,447]_001"),
    "of a channel": (["B2_01_1_1_DAPI_001"], "B2_-1_1_1_Stitched[DAPI 377,447]_001"),
    "wells": (["P1_B02_01", "P1_B02_02", "P1_B03_01"], "P1_B2_montage"),
    "names": (["s1_01_DAPI", "s1_02_DAPI"], "s1_DAPI_stitched"),
    "ZEN": (["slide 3"], "slide 3-Stitching-01"),
    "folders": (["Tiles/B2_1", "Tiles/B2_2"], "Stitched/B2"),
    "no name": (["01", "02"], "Stitched"),
    "overview": (["A01_f1", "A01_f2"], "A01_overview"),
}
NO_TILES = {
    "alone": ["B2_-1_1_1_Stitched[DAPI 377,447]_001", "B3_-1_1_1_Stitched[DAPI 377,447]_001"],
    "of another well": ["B2_-1_1_1_Stitched[DAPI 377,447]_001", "B3_01_1_1_DAPI_001"],
    "of another sample": ["s1_stitched", "s2_01", "s2_02", "s10_1"],
    "a word": ["wing_stitched", "wing_ctrl"],
    "overviews alone": ["s1_overview", "s2_overview"],
}


@pytest.mark.parametrize("kind", TILES)
def test_a_stitched_picture_beside_its_tiles_is_a_copy(kind):
    *tiles, stitched = (f"{stem}.tif" for stem in (*TILES[kind][0], TILES[kind][1]))
    assert fields_of([stitched, *tiles]) == (tiles, {"copies": [stitched]})


@pytest.mark.parametrize("kind", NO_TILES)
def test_a_stitched_picture_without_its_tiles_is_a_field(kind):
    names = [f"{stem}.tif" for stem in NO_TILES[kind]]
    assert fields_of(names) == (names, {})


def test_a_small_picture_is_a_copy_only_if_its_file_is_smaller(tmp_path):
    large, small, tumor = (str(tmp_path / name) for name in ("s1.tif", "s1_small.tif", "s1_small_1.tif"))
    for file, size in ((large, 100), (small, 20), (tumor, 20)):
        (tmp_path / file).write_bytes(bytes(size))
    assert fields_of([large, small, tumor]) == ([large, tumor], {"copies": [small]})
    (tmp_path / small).write_bytes(bytes(90))
    assert fields_of([large, small]) == ([large, small], {})


@pytest.mark.parametrize("kind", SAID)
def test_the_files_of_the_dna_stain_are_taken_where_it_is_said(kind):
    names, fields = SAID[kind]
    others = [name for k, name in enumerate(names) if k not in fields]
    assert fields_of(names) == ([names[k] for k in fields], {"files of other channels": others})


@pytest.mark.parametrize("kind", UNSAID)
def test_channels_of_which_none_is_said_to_be_dna_are_refused_with_the_way_out(kind):
    (error,), left_out = fields_of([f"plate/{name}" for name in UNSAID[kind]])
    assert isinstance(error, ImageError) and error.subject == "plate" and not left_out
    assert "channels" in error.finding and "plate/" in error.remedy and "*'" in error.remedy


@pytest.mark.parametrize(
    "names",
    [
        ["r01c01f01p01-ch1sk1fk1fl1.tiff", "r01c01f01p02-ch1sk1fk1fl1.tiff"],
        ["p_A01_T0001F001L01A01Z01C01.tif", "p_A01_T0001F001L01A01Z02C01.tif"],
        ["A01_f1_z0.tif", "A01_f1_z1.tif", "A01_f1_z2.tif", "A01_f2_z0.tif"],
        ["img1_Z=0.tif", "img1_Z=1.tif"],
        ["A01_DAPIz1.tif", "A01_DAPIz2.tif"],
        ["A01_dapiz1.tif", "A01_dapiz2.tif"],
        ["A01-z slice003.tif", "A01-z slice004.tif"],
        ["1_DAPI_plane 1.tif", "1_DAPI_plane 2.tif"],
        ["--W00001--P00001--Z00000--T00000--DAPI.tif", "--W00001--P00001--Z00001--T00000--DAPI.tif"],
    ],
)
def test_planes_of_one_stack_are_not_so_many_fields(names):
    alone = "plate/alone.tif"
    (error, kept), left_out = fields_of([*(f"plate/{name}" for name in names), alone])
    assert kept == alone and not left_out
    assert isinstance(error, ImageError) and "planes" in error.finding and "plate/" in error.remedy
    # One plane of each field is what a screen has.
    others = [names[0], names[0].replace("1", "2", 1)]
    assert fields_of(others) == (others, {})


@pytest.mark.parametrize("names", [["s_C001Z001.tif", "s_C001Z002.tif"], ["z1/001.tif", "z2/001.tif"]])
def test_planes_by_makers_and_in_folders_are_refused(names):
    (error,), left_out = fields_of([f"plate/{name}" for name in names])
    assert isinstance(error, ImageError) and "planes" in error.finding and not left_out


@pytest.mark.parametrize("kind", COPIES)
def test_of_copies_the_most_faithful_stays_and_the_others_are_named(kind):
    first, *others = COPIES[kind]
    assert fields_of([*others, first]) == ([first], {"copies": others})
    assert fields_of([*others, first, "s2.tif"]) == ([first, "s2.tif"], {"copies": others})


@pytest.mark.parametrize("kind", FIELDS)
def test_files_that_are_fields_all_stay(kind):
    assert fields_of(FIELDS[kind]) == (FIELDS[kind], {})


def test_files_of_the_microscope_say_which_channel_is_dna(tmp_path):
    ixm, harmony = tmp_path / "ixm", tmp_path / "harmony"
    for folder, kind in ((ixm, "ImageXpress"), (harmony, "Opera, Operetta")):
        folder.mkdir()
        for name in UNSAID[kind]:
            (folder / name).touch()
    stated = '"NWavelengths", 2\n"WaveName1", "FITC"\n"WaveName2", "DAPI"\n'
    (ixm / "p.HTD").write_text(stated)
    entry = "<Entry ChannelID='{}'><ImageSizeX>1080</ImageSizeX><ChannelName>{}</ChannelName></Entry>".replace("'", '"')
    (harmony / "Index.idx.xml").write_text(entry.format(1, "HOECHST 33342") + entry.format(2, "Alexa 488"))
    told = []
    names = [file.rsplit("/")[-1] for file in expand([ixm, harmony], told.append)]
    assert names == [*UNSAID["ImageXpress"][1::2], *UNSAID["Opera, Operetta"][::2]]
    others = ", ".join(
        [*(f"ixm/{name}" for name in UNSAID["ImageXpress"][::2]), f"harmony/{UNSAID['Opera, Operetta'][1]}"]
    )
    assert told == [f"left out: 4 files of other channels ({others}, ...)"]
    # The software itself writes the images into folders of times and planes.
    for above in ("TimePoint_1", "TimePoint_1/ZStep_1"):
        below = [str(ixm / above / name) for name in UNSAID["ImageXpress"]]
        assert fields_of(below)[0] == below[1::2]
    (ixm / "p.HTD").rename(ixm / "q.HTD")
    assert isinstance(fields_of(below)[0][0], ImageError), "another plate says nothing of this one"


def test_thumbnails_are_left_out_and_counted_but_not_if_they_are_all(tmp_path):
    thumbs = ["p_w1_thumb7F.tif", f"p_w1_thumb{GUID}7.tif", "x_thumb.png", "thumbnail_1.tif"]
    (tmp_path / "Thumbs").mkdir()
    for name in ["p_w1.tif", "Thumbs/p.tif", *thumbs]:
        (tmp_path / name).touch()
    told = []
    assert expand([tmp_path], told.append) == [str(tmp_path / "p_w1.tif")]
    assert told == [f"left out: 5 thumbnails (Thumbs/p.tif, p_w1_thumb{GUID}7.tif, p_w1_thumb7F.tif, ...)"]
    assert expand([tmp_path / thumbs[0]]) == [str(tmp_path / thumbs[0])]


def test_errors_keep_their_place_and_one_file_of_several_spellings_stands_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).touch()
    first, error, last = expand(["a.tif", "./a.tif", "*.png", tmp_path / "a.tif", "b.tif"])
    assert (first, error.subject, last) == ("a.tif", "*.png", "b.tif")


def test_what_is_left_out_is_named_whoever_named_it(tmp_path):
    names = ["A01_DAPI.tif", "A01_GFP.tif", "A01_Ki67.tif", "A02_DAPI.tif", "A02_DAPI.png"]
    for name in names:
        (tmp_path / name).touch()
    said = "left out: 2 files of other channels (A01_GFP.tif, A01_Ki67.tif), 1 copy (A02_DAPI.png)"
    for paths in ([tmp_path], [tmp_path / "*"], [tmp_path / name for name in names]):
        told = []
        assert expand(paths, told.append) == [str(tmp_path / names[0]), str(tmp_path / names[3])]
        assert told == [said]


@pytest.mark.slow
def test_a_plate_of_many_files_is_listed_in_seconds():
    names = [f"{w}_f{f}_{s}.tif" for w in range(96) for f in range(20) for s in ("DAPI", "Ki67")]
    start = time.perf_counter()
    fields, left_out = fields_of(names)
    assert fields == names[::2] and left_out == {"files of other channels": names[1::2]}
    assert time.perf_counter() - start < 10

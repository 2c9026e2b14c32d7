"""Names of files as programs of microscopes and people write them: which are channels, which are fields."""

import re

import pytest

from cellcycle.errors import ImageError
from cellcycle.images import expand
from cellcycle.images.plates import fields_of

# A name a line, without its ending: # is the field, 1 and 2; between < and > stands what else tells files apart.
# The first between these is the stain of DNA.
TAKEN = """
exp_w<1DAPI|2FITC>_s#_t1
exp_w<1CSU405|2CSU488|3CSU561>_s#
exp_w<1spd-405|2spd-488>_s#
Snap-10#_c<1_DAPI|2_EGFP>_ORG
exp00#<DAPI|FITC>
WellA0#_Point000#_Channel<DAPI|GFP>_Seq000#
Pos#/img_000000000_<DAPI|FITC>_000
img_channel<DAPI|GFP>_position00#_time000000000_z000
exp_#_MMStack_Pos0_Channel:<DAPI|GFP>
exp_000#_<DAPI|GFP>
A#_01_<1_1_DAPI|2_1_GFP>_001
A#_-1_<1_1_Stitched[DAPI 377,447]|2_1_Stitched[GFP 469,525]>_001
A#_<1_DAPI 377,447|2_GFP 469,525>_001
A#_<DAPI 377,447|Texas Red 586,647>
s_#_<CH1_DAPI|CH2_Alexa Fluor 488>
Image_0#_<DAPI|FITC>
Image_#.vsi - <C405|C488>
A - #(fld 1 wv <DAPI - DAPI|FITC - FITC>)
A - #(fld 1 wv <UV - DAPI|Blue - FITC>)
Well A00#/<Hoechst|FITC> - n000000
A1--W0000#--P00001--Z00000--T00000--<DAPI|GFP>
A0#_01_<Hoechst|ER|RNA>
A#_0_0_Fluorescence_<405|488>_nm_Ex
B#_1_0_<Fluorescence_405_nm_Ex|BF_LED_matrix_full>
exp_s#_w<1-DAPI|2-GFP>
exp_#_<DAPI|FITC>_Z1
slide#-<DAPI|FITC>
slide# - <DAPI|FITC>
A0#_wv<405|488>
A0#_wl<405|488>
A0#_w<405|488>
A0#_ch<405|488>
A0#_c<405|488>
A0#_laser<405|488>
A0#_<405|488>nm
x#_<405|488> nm
x#_<405|488>-nm
x#_<405|488>_nm
x#_ex<405|488>
x#_Ex_<405|488>
x#_<405-450|488-525>
x#_<ex405em450|ex488em525>
x#_EX<405|488>_EM450
x#_lambda<405|488>
x#_λ<405|488>
x#_Laser <405|488>
x#_<405|488> laser
x#_<405|488>laser
x#_Confocal - <405|488>
x#_<H33342|GFP>
A0#_<H33342|AF488>
x#_<H33258|Ki67>
x#_<Ho33342|GFP>
x#_<Höchst|GFP>
x#_<Hoescht|GFP>
x#_<Hoechest|GFP>
x#_<Hoecht|GFP>
x#_<Dapi|Gfp>
x#-<DAPI|GFP>
x#_<nuc|gfp>
x#_<Nuclei|GFP>
x#_<DNA|GFP>
样品#_<DAPI|GFP>
样品#<DAPI|GFP>
样品<DAPI|GFP>#
wv<405|488>/#
<405|488>nm/#
Laser <405|488>/#
<H33342|GFP>/#
"""
# Channels of which none is said to be DNA.
REFUSED = """
r01c0#f01p01-ch<1|2>sk1fk1fl1
00#001000.flex.ch<1|2>
Plate_A01_s#_w<1|2>
Plate_A0#_w<1|2>
MFGTMP_150_A0#f00d<0|1>
VID1_<green|red>_A#_1_2020y01m02d_03h04m
AS_A0#_T0001F001L01A01Z01C0<1|2>
W000#F0001T0001Z001C<1|2>
W#F001T0001Z00C<1|2>
Exp-0#_c<1|2>
Exp-0#_c<1|2>_ORG
Snap-10#_s1c<1|2>_ORG
Exp-0#_<AF405|AF488>
Exp_h0t0z0c<0|1>m#_ORG
Project_Series00#_ch0<0|1>
Project_Series00#_z00_ch0<0|1>
Image00#_RAW_ch0<0|1>
Position #_ch0<0|1>
image--L0000--S00--U00--V0#--J20--E00--O00--X00--Y00--T0000--Z00--C0<0|1>.ome
exp00#c<1|2>
exp00#xy01c<1|2>
exp_xy0#c<1|2>
exp_t01xy0#c<1|2>
exp - 00# - c<1|2>
exp_00#_lambda<1|2>
WellA0#_ChannelDAPI,GFP_Seq000#_C<0|1>
img_channel00<0|1>_position00#_time000000000_z000
Pos#/img_000000000_<Cy5|FITC>_000
exp_#_Channel:<0|1>
scan_Plate_0_R_000#_d<0|1>
scan_Plate_R_p00_0_A0#f00d<0|1>
IMG00#_CH<1|2>
Image_XY0#_CH<1|4>
#_00001_CH<1|2>
XY0#_00001_Z001_CH<1|2>
Image_T0001_XY0#_Z001_CH<1|2>
s_#_C00<1|2>Z001T001
s_#_C00<1|2>T001
A - #(fld 1 wv <390 - Blue|473 - Green1>)
C<1|2>-exp_#
C<1|2>-MAX_exp_#
C<1|2>-exp_#.tif
exp_#_t1_z1_c<1|2>
exp_#_z0001_c000<1|2>
exp_#_C<0|1>
Channel<1|2>-01-A-0#
Week1_220#_B02_s1_w<1|2>_1
G10_s#_w<1|2>ABCDEF00-1234-1234-1234-ABCDEF012345
IXMtest_A0#_s1_w<1|2>
AS_09125_05011800000#_A01f00d<0|1>.DIB
if_#_<blue|red|green|yellow>
slide#_<Channel 1|Channel 2>
Well_A0#_Ch<1|2>_1
Plate_A#_<Blue|Green>_Channel
00100#-1-00100100<1|2>
Capture #_C<0|1>
Capture # - Position 1_XY1_Z0_T0_C<0|1>
exp_#_C<0|1>_Z000
exp_#_c<0|1>x0-2752y0-2208
R1_F0#_<c1|c2>
reg001_X0#_Y01_Z001_C<1|2>
1_0000#_Z001_CH<1|2>
reg00#_X01_Y01_t001_z001_c00<1|2>
A0#_wave<1|2>
x#_wave<1|2>
A0#_wavelength<1|2>
x#_wavelength<1|2>
A0#_laser<1|2>
A0#_dye<1|2>
A0#_wl<1|2>
A0#_filter<1|2>
A0#_lambda<1|2>
A0#_chann<1|2>
x#_chann<1|2>
A0#_Ch_<1|2>
A0#_ch-<1|2>
x#_Channel-<1|2>
x#_wave-<1|2>
A0#_ch <1|2>
x#_Channel <1|2>
x#_wave <1|2>
A0#_ch_<1|2>
x#_Channel_<1|2>
x#_wave_<1|2>
A0#_ch=<1|2>
x#_Channel=<1|2>
x#_wave=<1|2>
A0#_ch:<1|2>
x#_Channel:<1|2>
x#_wave:<1|2>
A0#_ch.<1|2>
x#_Channel.<1|2>
x#_wave.<1|2>
ch<1|2>_A0#
A0#ch<1|2>
x#_<Blue|Green|Red>
A0#_canal<1|2>
A0#_canal_<1|2>
A0#_Canal<1|2>
A0#_Kanal<1|2>
A0#_kanał<1|2>
A0#_канал<1|2>
A0#_канал <1|2>
A0#_チャンネル<1|2>
A0#_チャネル<1|2>
A0#_通道<1|2>
A0#_채널<1|2>
A0#_canale<1|2>
A0#_kanál<1|2>
A0#_csatorna<1|2>
A0#_kanaal<1|2>
A0#_kanal<1|2>
A0#_频道<1|2>
A0#_kanava<1|2>
A0#_kênh<1|2>
A0#_κανάλι<1|2>
A0#_قناة<1|2>
A0#_ערוץ<1|2>
通道<1|2>_A0#
A0#_第<1|2>通道
wave<1|2>/#
Channel <1|2>/A0#
通道<1|2>/#
канал <1|2>/#
<chip_channel1_001|chip_channel1_002|chip_channel2_001|chip_channel2_002>
"""
FIELDS = """
<ctrl_t1|ctrl_t2|ctrl_t3>
<A01_T0001|A01_T0002>
<mouse1_w1|mouse1_w2|mouse1_w4>
<mouse1_week1|mouse1_week2>
<plate_A01|plate_A02|plate_C01|plate_C02>
<a1|b1|c1|c2>
<A01_s1|A01_s2>
<ctrl_rep1|ctrl_rep2>
<ctrl_rep1|ctrl_rep2|HU_rep1|HU_rep2>
<20240501_ctrl|20240502_ctrl>
<ctrl_2024-05-01|ctrl_2024-05-02>
<donor1_ctrl|donor2_ctrl>
<HU_100nM|HU_500nM>
<noc_1uM|noc_2uM>
<cpd_405|cpd_406>
<x_405-001|x_405-002>
<x_405-450|x_405-455>
<cell line 1_1|cell line 1_2|cell line 2_1|cell line 2_2>
<line1_1|line1_2|line2_1|line2_2>
<clone1_1|clone1_2|clone2_1|clone2_2>
<laser1_1|laser1_2|laser2_1|laser2_2>
<laser1J_1|laser1J_2|laser2J_1|laser2J_2>
<filter1_1|filter1_2|filter2_1|filter2_2>
<filter_3um_1|filter_3um_2|filter_8um_1|filter_8um_2>
<chamber1_1|chamber1_2|chamber2_1|chamber2_2>
<microchannel1_001|microchannel1_002|microchannel2_001|microchannel2_002>
<HeLa_p5_1|HeLa_p6_1>
<ctrl_d1|ctrl_d3>
<slide1_1|slide1_2|slide2_1|slide2_2>
<brain_sec1|brain_sec2>
<CH101_biopsy|CH102_biopsy>
<H33341_1|H33343_1>
<H1299_1|H460_1|H358_1>
<H33342_1|H33342_2>
<HeLa_H33342_1|U2OS_H33342_1>
<gel_band1|gel_band2>
<probe1_1|probe1_2|probe2_1|probe2_2>
<stain1_1|stain1_2|stain2_1|stain2_2>
<dye_1ug_1|dye_1ug_2|dye_2ug_1|dye_2ug_2>
<dye1_1|dye1_2|dye2_1|dye2_2>
<marker1|marker2>
<x_50ms|x_100ms>
<x_20x|x_40x>
<1|2|3>
<IMG_001|IMG_002|IMG_003>
<Image (1)|Image (2)|Image (3)>
<Wurzelkanal1|Wurzelkanal2>
<siGFP_1|siGFP_2|siLuc_1|siLuc_2>
<cam1_1|cam1_2|cam2_1|cam2_2>
<sample405|sample488>
<sample_405_1|sample_406_1|sample_488_1>
<batch1_A01|batch2_A01>
<round1_A01|round2_A01>
<cycle1_A01|cycle2_A01>
<slide_scene1|slide_scene2>
<样品1|样品2>
<視野1|視野2>
<поле1|поле2>
plate_c<001|002|003>
HeLa<024c1|048c1|024c2>
r00#c<1|2>
mouse1_<w2-DMSO|w2-HU|w4-DMSO|w4-HU>
mouse1_w<2|4>-1
ctrl_w<1|2>-#
host_#
Höchst_#
WL<1|2>_1
ctrl_wl<1|2>
dish_dye<1|2>
ctrl_filter<1|2>
laser<1|2>_ctrl
ctrl_laser<1|2>_#
p_z01_C0<1|2>
C<405|406>_1
<nuclear|cyto>_GFP_1
nuclear_#
mouse_<365|730>
双通道#
<2|3>通道
样品#_双通道
shockwave<1|2>
microwave_<1|2>
DAPI_<33341|33342|33343>
IMG001_chip<1|2>
CH-0<1|2>_1
CH_<1|2>_a
canal_<A|B>
phage_lambda<1|2>
"""
# These may be fields as well: what shows the same nuclei is flagged when the pictures are read (same_field).
OPEN = """
MFGTMP_150_A0#f00o<0|1>
Exp_<Phase|NuclightRed>_B#_1_00d00h00m
s_#_C00<1|2>
exp_#_c000<1|2>
exp_# (<blue|green>)
A#_02_<1|2>_p00_0_A01f00d0
exp_#_<w0000|w0001>
x#_laser<1|2>
x#_dye<1|2>
x#_wl<1|2>
x#_filter<1|2>
x#_lambda<1|2>
A0#_stain<1|2>
A0#_marker<1|2>
A0#_fluor<1|2>
A0#_band<1|2>
A0#_cam<1|2>
A0#_camera<1|2>
A0#_LED<1|2>
A0#_exc<1|2>
x#_Ch_<1|2>
A0#_emission<1|2>
A0#_fluo<1|2>
A0#_color<1|2>
A0#_colour<1|2>
A0#_detector<1|2>
A0#_PMT<1|2>
A0#_cube<1|2>
A0#_line<1|2>
A0#_probe<1|2>
A0#_ch<A|B>
A0#_channel<A|B>
A0#_<1|2>ch
img#ch<1|2>
x#_nm<405|488>
x#_em<450|525>
x#_<405lp|488lp>
x#_<365|488>nm
x#_<365|488>
x#_<358|488>
x#_<390|475>
x#_Confocal - <Blue|Green>
x#_<33342|GFP>
x#_<Ho|GFP>
x#_<Hst|GFP>
x#_<NuclearStain|GFP>
x#_<OrigDNA|OrigER|OrigAGP>
x#_<UV|GFP>
x#_<B|G|R>
A0#_<1|2>通道
проба#_<ДАПИ|ГФП>
проба#_<Хёхст|GFP>
样品#_<蓝|绿>
試料#_<青|緑>
проба#_<синий|зелёный>
x#_<azul|vermelho>
x#_<niebieski|zielony>
laser<1|2>/#
"""


def written(line: str) -> list[str]:
    """Return the names of files that a line stands for, of each field those that are told apart together."""
    before, told, after = re.fullmatch(r"([^<]*)<?([^>]*)>?(.*)", line).groups()
    names = [f"{before}{one}{after}.tif" for one in told.split("|")]
    return [name.replace("#", field) for field in ("12" if "#" in line else "1") for name in names]


def lines(text: str) -> list[str]:
    return text.strip().split("\n")


@pytest.mark.parametrize("line", lines(TAKEN))
def test_the_first_is_taken_and_the_others_are_left_out(line):
    names = written(line)
    dna = names[:: len(names) // 2]
    others = [name for name in names if name not in dna]
    assert fields_of(names) == (dna, {"files of other channels": others})


@pytest.mark.parametrize("line", lines(REFUSED))
def test_channels_are_refused(line):
    found, left_out = fields_of([f"plate/{name}" for name in written(line)])
    assert not left_out and all(isinstance(error, ImageError) and "channels" in error.finding for error in found)


@pytest.mark.parametrize("line", lines(FIELDS) + lines(OPEN))
def test_each_is_a_field(line):
    assert fields_of(written(line)) == (written(line), {})


def test_a_name_that_a_mac_spells_otherwise_is_a_copy_only_of_the_same_bytes(tmp_path):
    names = ["caf\u00e9.tif", "cafe\u0301.tif"]
    for content, n in ((b"same", 1), (b"else", 2)):
        for name, of in zip(names, (b"same", content), strict=True):
            (tmp_path / name).write_bytes(of)
        if len(list(tmp_path.iterdir())) == 2:  # a file system may take both for one
            assert len(expand([str(tmp_path)])) == n

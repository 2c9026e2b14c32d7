"""Every number the simulator uses: its value, unit, meaning and source."""

from dataclasses import dataclass, fields
from numbers import Integral, Real
from sys import float_info

from cellcycle.errors import SettingError

VERSION = "1.2"  # bumped whenever the same seed gives other pixels

STUDY_COUNTS: dict[str, int] = {"G1": 257, "S": 166, "G2": 49, "M": 21}
NAGAO_COUNTS: dict[str, int] = {"G1": 165, "S": 110, "G2": 300, "M": 25}

SUBPHASES = ("prophase", "prometaphase", "metaphase", "anaphase", "telophase")


# Endings of the names of parameters that must be above 0, and of those that must not exceed 1; none may be negative.
_ABOVE_0 = (
    "_h", "_min", "_um2", "_electrons", "pixel_size_um", "field_of_view_um", "camera_field_um", "nucleolus_um",
    "replication_shape", "flatness", "export_gamma",
)  # fmt: skip
_TO_1 = ("_fraction", "shading", "timing_correlation", "nucleolus_depth", "camera_offset", "export_clipped")
# Parameters that appear in `repr` only if they differ from their defaults.
_ASKED_FOR = (
    "lagging_fraction", "rounded_fraction", "dying_fraction", "section_um", "export_gamma", "export_clipped",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class SimulationParameters:
    """Everything that shapes a simulated image.

    The defaults describe an adherent human cell line, fixed and stained with DAPI, seen by a widefield
    microscope with a 0.75 NA objective. Change a few with `dataclasses.replace`. Behind each stand its unit,
    meaning and source, as in the table of `data/README.md`.
    """

    # The cell cycle
    g1_h: float = 11.0  # h | duration of G1 | Cooper 2000
    s_h: float = 8.0  # h | duration of S | Cooper 2000
    g2_h: float = 4.0  # h | duration of G2 | Cooper 2000
    m_h: float = 1.0  # h | duration of M | Cooper 2000
    prophase_min: float = 14.0  # min | visible prophase, up to nuclear envelope breakdown | rest of m_h
    prometaphase_min: float = 14.0  # min | prometaphase | Meraldi 2004
    metaphase_min: float = 12.0  # min | metaphase | Meraldi 2004
    anaphase_min: float = 8.0  # min | anaphase | rest of m_h
    telophase_min: float = 12.0  # min | telophase, until the daughters look like G1 | rest of m_h
    replication_shape: float = 1.4  # 1 | 1: steady replication through S; above 1: slower at both ends | Dolbeare 1983
    # Size and shape
    g1_area_um2: float = 200.0  # um2 | median nuclear area in the middle of G1 | RPE-1, about 200 (PMC12053632)
    area_growth: float = 0.67  # 1 | log2 of the growth in area, mid G1 to end of G2 | 2/3: volume doubles (PMC3127093)
    area_cv: float = 0.16  # 1 | spread of the area between cells of one age | measured: rpe1, jurkat
    daughter_area: float = 0.7  # 1 | area at the start of G1, relative to the grown | estimate, G1 areas in rpe1
    daughter_growth_h: float = 1.0  # h | time constant of the daughters' expansion | estimate
    aspect_ratio: float = 1.36  # 1 | median ratio of long to short axis | measured: rpe1, mitocheck
    aspect_ratio_cv: float = 0.12  # 1 | spread of the aspect ratio | measured: rpe1, mitocheck
    outline_roughness: float = 0.022  # 1 | size of the outline's waves, relative to the radius | measured: solidity
    dented_fraction: float = 0.12  # 1 | nuclei with a dent in the outline | estimate
    thickness_um: float = 5.0  # um | height of an interphase nucleus | estimate, adherent cells
    mitotic_thickness_um: float = 12.0  # um | height of a rounded cell's DNA | an upright plate is as high as wide
    flatness: float = 4.0  # 1 | 2: a round dome; larger: flat top with a steep edge | estimate, adherent cells
    # Chromatin
    chromatin_contrast: float = 0.2  # 1 | spread (log) of local DNA density in G1 | measured: texture, mitocheck
    chromatin_contrast_cv: float = 0.18  # 1 | spread of that contrast between cells | measured: texture
    g2_contrast_gain: float = 0.35  # 1 | relative rise of the contrast by the end of G2 | estimate
    focus_size_um: float = 0.35  # um | size (Gaussian sigma) of heterochromatin foci | estimate
    domain_size_um: float = 1.5  # um | size (Gaussian sigma) of chromatin domains | estimate
    timing_correlation: float = 0.5  # 1 | of late replication with dense chromatin | estimate; order: Dimitrova 2002
    rim_strength: float = 0.12  # 1 | extra density of heterochromatin under the envelope | estimate
    n_nucleoli: float = 2.6  # 1 | mean number of nucleoli | 2 to 3 in MCF10A (Farley-Barnes 2018)
    nucleolus_um: float = 1.25  # um | median radius of a nucleolus | estimate, 1 to 3 um wide
    nucleolus_depth: float = 0.5  # 1 | share of the signal missing over a nucleolus | estimate
    n_chromocentres: float = 0.0  # 1 | mean number of bright chromocentres (mouse cells) | none in human cells
    # Mitosis
    n_chromosomes: int = 46  # 1 | chromosomes of a diploid cell | Alberts 2015
    chromosome_width_um: float = 1.4  # um | width of a condensed chromosome | Alberts 2015, two chromatids
    plate_radius_um: float = 6.6  # um | radius of the metaphase plate | measured: mitocheck, fields; blur removed
    plate_thickness_um: float = 4.4  # um | thickness of the metaphase plate | measured: mitocheck, fields; blur removed
    anaphase_distance_um: float = 11.0  # um | distance of the sets when anaphase ends | estimate, by eye on fields
    polar_view_fraction: float = 0.15  # 1 | mitoses seen along the spindle | estimate; most lie flat (Toyoshima 2007)
    lagging_fraction: float = 0.0  # 1 | of anaphases and telophases with chromosomes left behind | few in healthy cells
    # Cells that look like mitoses and are none
    rounded_fraction: float = 0.0  # 1 | of interphase cells rounded up: small, high, bright nuclei | few in a culture
    dying_fraction: float = 0.0  # 1 | of interphase cells whose chromatin has shrunk to dense balls | few in a culture
    # Stain
    stain_cv: float = 0.11  # 1 | spread of stain uptake between cells of one slide | measured: G1 peak, rpe1, jurkat
    slide_cv: float = 0.1  # 1 | spread of stain uptake between slides | estimate
    n_slides: int = 20  # 1 | slides that the cells come from | choice
    # The scene
    field_of_view_um: float = 32.4  # um | side of a single-nucleus crop | 300 px of 6.5 um at 60x
    pixel_size_um: float = 0.325  # um | pixel of a whole field | 6.5 um camera pixel at 20x
    neighbours_per_mm2: float = 1200.0  # 1/mm2 | density of nuclei around a crop's own | estimate, half confluent
    debris_fraction: float = 0.03  # 1 | crops with a bright fragment | estimate
    defocused_fraction: float = 0.03  # 1 | nuclei out of focus by `defocus_um` | estimate
    defocus_um: float = 4.0  # um | how far those lie from the focal plane | choice
    # Light and camera
    numerical_aperture: float = 0.75  # 1 | of the objective | 20x/0.75 air objective
    emission_um: float = 0.461  # um | emission maximum of DAPI on DNA | Kapuscinski 1995
    refractive_index: float = 1.33  # 1 | of the sample | water
    focus_spread_um: float = 0.6  # um | spread of the focal plane between cells | estimate
    section_um: float = 0.0  # um | full width at half height of a confocal's section; 0: widefield | choice
    shading: float = 0.15  # 1 | loss of light from the field's bright centre to its corner | estimate
    camera_field_um: float = 333.0  # um | side of the camera's whole field | 1024 px of 0.325 um
    background: float = 0.012  # full scale | light that comes from no nucleus | estimate
    g1_level: float = 0.08  # full scale | brightness of a G1 nucleus of median area | choice: mitosis not saturated
    full_scale_electrons: float = 6000.0  # e- | photo-electrons at full scale | choice: short exposure
    read_noise_electrons: float = 2.0  # e- | camera read noise | sCMOS data sheets
    camera_offset: float = 0.005  # full scale | camera's dark level | camera data sheets
    bits: int = 12  # bit | depth of the camera's numbers: 8, 12 or 16 | cameras
    export_gamma: float = 1.0  # 1 | exponent of the display curve that an export went through | 1: none
    export_clipped: float = 0.0  # 1 | pixels cut at either end where an export stretched contrast | 0: none

    def __repr__(self) -> str:
        """Return all parameters without unused optional ones: this text identifies the data of records."""
        told = (f for f in fields(self) if f.name not in _ASKED_FOR or getattr(self, f.name) != f.default)
        return f"SimulationParameters({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in told)})"

    def __post_init__(self):
        if self.bits not in (8, 12, 16):
            raise SettingError("bits", f"{self.bits} is not a camera depth", "choose 8, 12 or 16")
        if not 0 < self.numerical_aperture < self.refractive_index:
            remedy = f"choose a number above 0 and below the refractive index {self.refractive_index}"
            raise SettingError("numerical_aperture", f"{self.numerical_aperture} is impossible", remedy)
        for f in fields(self):
            value, is_whole = getattr(self, f.name), f.type is int
            is_above, most = is_whole or f.name.endswith(_ABOVE_0), 1 if f.name.endswith(_TO_1) else float_info.max
            is_number = isinstance(value, Integral if is_whole else Real)
            if not is_number or not 0 <= float(value) <= most or (is_above and value == 0):
                remedy = f"choose a {'whole ' * is_whole}number {'above' if is_above else 'from'} 0"
                raise SettingError(f.name, f"{value!r} is impossible", remedy + " to 1" * (most == 1))

    @property
    def full_scale(self) -> int:
        """Largest value of the camera, e.g. 4095 at 12 bits."""
        return 2**self.bits - 1

    @property
    def cycle_h(self) -> float:
        """Duration of the whole cycle in hours."""
        return self.g1_h + self.s_h + self.g2_h + self.m_h

    @property
    def subphase_min(self) -> dict[str, float]:
        """Duration of each part of mitosis in minutes, in the order of `SUBPHASES`."""
        return {name: getattr(self, f"{name}_min") for name in SUBPHASES}


# Another cell line (smaller, rounder HeLa nuclei with more and larger nucleoli), a sharper objective,
# a tighter crop, a fainter stain and a noisier camera: what Nagao et al. (2020) photographed.
NAGAO_PARAMETERS = SimulationParameters(
    g1_h=9.0,
    s_h=8.5,
    g1_area_um2=140.0,
    area_cv=0.20,
    aspect_ratio=1.12,
    outline_roughness=0.035,
    dented_fraction=0.3,
    chromatin_contrast=0.28,
    n_nucleoli=4.0,
    nucleolus_um=1.0,
    thickness_um=6.5,
    stain_cv=0.12,
    slide_cv=0.18,
    n_slides=15,
    field_of_view_um=27.0,
    numerical_aperture=0.95,
    neighbours_per_mm2=1800.0,
    shading=0.25,
    background=0.03,
    g1_level=0.18,
    full_scale_electrons=2500.0,
    n_chromosomes=68,
    plate_radius_um=7.2,
    bits=8,
)

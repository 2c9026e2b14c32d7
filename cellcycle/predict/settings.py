"""How images are read and nuclei found."""

from dataclasses import dataclass
from math import isfinite, nan

from cellcycle.errors import SettingError
from cellcycle.nuclei import Anchor
from cellcycle.segmentation.fields import BACKENDS

KINDS = ("auto", "field", "nucleus")


@dataclass(frozen=True)
class Settings:
    """How images are read and nuclei found.

    Parameters
    ----------
    kind : {"auto", "field", "nucleus"}
        What the images are; "auto" decides for each by a stated rule.
    channel : int or str, optional
        DNA channel, by index from 0 or name.
    plane : int, optional
        Time point or z plane; z-stacks are projected without it.
    pixel_size_um : float, optional
        Edge of a pixel in the sample; overrides what the files say.
    backend : str
        Segmentation of fields: "classical", "cellpose" or "stardist".
    g1_position : float, optional
        Integrated DNA of a G1 nucleus on this slide, where it is not to be fitted to each field.
    g1_quality : float, optional
        Of the fit that gave it, see `cellcycle.dna_content.G1Peak`.
    g1_area_px : float, optional
        Median area of this slide's nuclei with the DNA of G1.

    Raises
    ------
    SettingError
        A name is unknown, or a size is not a number above 0.
    """

    kind: str = "auto"
    channel: int | str | None = None
    plane: int | None = None
    pixel_size_um: float | None = None
    backend: str = "classical"
    g1_position: float | None = None
    g1_quality: float = nan
    g1_area_px: float | None = None

    def __post_init__(self):
        for option, allowed in (("kind", KINDS), ("backend", BACKENDS)):
            value = getattr(self, option)
            if value not in allowed:
                raise SettingError(option, f"{value!r} is unknown", f"use one of {', '.join(allowed)}")
        for option in ("pixel_size_um", "g1_position", "g1_area_px"):
            value = getattr(self, option)
            if value is not None and not (isfinite(value) and value > 0):
                raise SettingError(option, f"{value} is not a size", "give a number above 0")
        if self.pixel_size_um is not None and not 1e-3 <= self.pixel_size_um <= 1e3:
            finding = f"{self.pixel_size_um:g} um is the size of no pixel"
            raise SettingError("pixel_size_um", finding, "give micrometres, from 0.001 to 1000")
        if isinstance(self.channel, str) and not 0 < len(self.channel) <= 200:
            raise SettingError("channel", f"{len(self.channel)} letters are no name", "give an index or a name")

    @property
    def anchor(self) -> Anchor | None:
        """What was given of the slide's G1 peak."""
        return None if self.g1_position is None else Anchor(self.g1_position, self.g1_quality, self.g1_area_px)

"""How images are read, nuclei found, and calls made."""

from dataclasses import dataclass
from math import nan

from cellcycle.errors import SettingError, check_choice, check_size, check_whole
from cellcycle.nuclei import Anchor
from cellcycle.predict.priors import PRIORS
from cellcycle.segmentation.fields import BACKENDS

KINDS = ("auto", "field", "nucleus")


@dataclass(frozen=True)
class Settings:
    """How images are read and nuclei found; an unknown name or a size that cannot be is a `SettingError`.

    Parameters
    ----------
    kind
        "auto", "field" or "nucleus": what the images are; "auto" decides by a stated rule.
    channel
        DNA channel, by index from 0 or name.
    plane
        Time point or z plane; z-stacks are projected without it.
    pixel_size_um
        Edge of a pixel in the sample; overrides what the files say.
    backend
        Segmentation of fields: "trained", "classical", "cellpose" or "stardist".
    g1_position, g1_quality, g1_area_px
        The `Anchor` of the slide, where it is not to be fitted to each field.
    prior
        What is taken to be known of phases beforehand, see `cellcycle.predict.priors`; "auto" takes "culture" for
        fields and "equal" for single nuclei.
    """

    kind: str = "auto"
    channel: int | str | None = None
    plane: int | None = None
    pixel_size_um: float | None = None
    backend: str = "trained"
    g1_position: float | None = None
    g1_quality: float = nan
    g1_area_px: float | None = None
    prior: str = "auto"

    def __post_init__(self):
        # Named by words that a user of the command line, of the page and of Python knows.
        check_choice("kind", self.kind, KINDS)
        check_choice("segmentation", self.backend, BACKENDS)
        check_choice("prior", self.prior, ("auto", *PRIORS))
        sizes = {"pixel size": self.pixel_size_um, "G1 position": self.g1_position, "G1 area": self.g1_area_px}
        for option, value in sizes.items():
            if value is not None:
                check_size(option, value)
        if self.pixel_size_um is not None and not 1e-3 <= self.pixel_size_um <= 1e3:
            finding = f"{self.pixel_size_um:g} um is the size of no pixel"
            raise SettingError("pixel size", finding, "give micrometres, from 0.001 to 1000")
        for option, value in {"channel": self.channel, "plane": self.plane}.items():
            if value is not None and not (option == "channel" and isinstance(value, str)):
                check_whole(option, value)
        if isinstance(self.channel, str) and not 0 < len(self.channel) <= 200:
            raise SettingError("channel", f"{len(self.channel)} letters are no name", "give an index or a name")

    @property
    def anchor(self) -> Anchor | None:
        """What was given of the slide's G1 peak."""
        return None if self.g1_position is None else Anchor(self.g1_position, self.g1_quality, self.g1_area_px)

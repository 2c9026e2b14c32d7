"""Which model looks at an image: the one that was named, or by a stated rule.

`model="auto"` takes the model that is anchored to the G1 peak wherever that peak is known: fitted to the nuclei of
the field with at least `LEAST_QUALITY`, fitted to the whole slide, or given. Everything else, one nucleus
or a field without a clear peak, gets the model that needs nothing but the picture.
"""

from dataclasses import dataclass
from functools import cached_property

from cellcycle.checkpoint import ANCHORED, DEFAULT, Checkpoint, load_checkpoint
from cellcycle.dna_content import G1Peak

AUTO = "auto"
# Down to this quality the anchored model was measured to do better than the picture alone, on simulated slides with
# usable peaks (benchmarks/g1_quality.py, data/results/g1_quality.csv); fainter peaks were not met there.
LEAST_QUALITY = 0.1


@dataclass(frozen=True)
class ModelChoice:
    """The models among which images are shared out.

    Parameters
    ----------
    default : Checkpoint
        The named model, or under "auto" the one for images without a G1 peak; nuclei are found at its scale.
    is_auto : bool
    """

    default: Checkpoint
    is_auto: bool

    @classmethod
    def of(cls, model) -> "ModelChoice":
        """Return the choice for "auto", a name or folder of a checkpoint, a Checkpoint, or a choice made before."""
        if isinstance(model, cls):
            return model
        if isinstance(model, Checkpoint):
            return cls(model, False)
        is_auto = str(model).lower() == AUTO
        return cls(load_checkpoint(DEFAULT if is_auto else model), is_auto)

    @cached_property
    def anchored(self) -> Checkpoint:
        """The model for images with a G1 peak, under "auto"; read when it is first needed."""
        return load_checkpoint(ANCHORED)

    def take(self, kind: str, g1_is_given: bool, peak: G1Peak | None) -> tuple[Checkpoint, str]:
        """Return the model for an image, and why for the column `model_reason`: "" for one that was named.

        Parameters
        ----------
        kind : {"field", "nucleus"}
        g1_is_given : bool
            The G1 peak comes from the slide or the user.
        peak : G1Peak or None
            Fitted to the image's own nuclei, for a field.
        """
        if not self.is_auto:
            return self.default, ""
        if g1_is_given:
            return self.anchored, "G1 peak of the slide"
        if peak is not None and peak.is_usable and peak.quality >= LEAST_QUALITY:
            return self.anchored, "G1 peak of the field"
        return self.default, "one nucleus" if kind == "nucleus" else "no clear G1 peak"

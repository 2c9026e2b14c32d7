"""The G1 peak of a whole slide: fitted to the nuclei of all its images together."""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from cellcycle.checkpoint import Checkpoint
from cellcycle.dna_content import G1Peak
from cellcycle.errors import CellCycleError, SettingError
from cellcycle.predict.nuclei import g1_peak_of
from cellcycle.predict.stream import Predictor, Settings, as_plane


def slide_peak(images: Iterable, checkpoint: Checkpoint, settings: Settings) -> G1Peak:
    """Fit the G1 peak of images that share stain and exposure: many small fields, or crops of single nuclei.

    Parameters
    ----------
    images : iterable
        As `cellcycle.predict.predict_each` takes them; those that cannot be read are left out.
    checkpoint : Checkpoint
    settings : Settings

    Returns
    -------
    G1Peak
        Its `quality` says how clear it is.

    Raises
    ------
    SettingError
        No usable peak, with the reason.
    """
    predictor, parts = Predictor(checkpoint, settings), []
    for image in images:
        try:
            if not isinstance(image, CellCycleError):
                parts.append(predictor.find(as_plane(image, settings)).table[["integrated_dna", "flags"]])
        except CellCycleError:
            # The second pass says what is wrong with it.
            continue
    empty = pd.DataFrame({"integrated_dna": [], "flags": []})
    peak = g1_peak_of(pd.concat(parts) if parts else empty)
    if not peak.is_usable:
        raise SettingError("--slide", peak.reason, "give more images of one slide, or predict without --slide")
    return peak


def on_slide(images: list, checkpoint: Checkpoint, settings: Settings) -> Settings:
    """Return the settings with the G1 peak of the slide in them; parameters are those of `slide_peak`."""
    peak = slide_peak(images, checkpoint, settings)
    return replace(settings, g1_position=peak.position, g1_quality=peak.quality)

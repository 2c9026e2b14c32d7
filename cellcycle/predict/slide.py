"""The G1 peak of a whole slide: fitted to the nuclei of all its images together."""

from collections.abc import Iterable
from dataclasses import replace

from cellcycle.errors import ImageError, SettingError
from cellcycle.nuclei import Nuclei, fit_anchor
from cellcycle.predict.choice import LEAST_QUALITY, ModelChoice
from cellcycle.predict.predictor import Predictor, as_plane
from cellcycle.predict.settings import Settings


def on_slide(images: Iterable, model, settings: Settings) -> Settings:
    """Return the settings with the G1 peak of a slide: many small fields, or crops, of one stain and exposure.

    Under "auto" a slide without a clear peak keeps its settings, and each image is then judged by itself.

    Parameters
    ----------
    images : iterable
        As `cellcycle.predict.predict_each` takes them; those that cannot be read are left out.
    model : str, Path or Checkpoint
    settings : Settings

    Returns
    -------
    Settings

    Raises
    ------
    SettingError
        A model that needs the peak was named, and there is none, with the reason.
    """
    predictor, choice, found = Predictor(model, settings), ModelChoice.of(model), []
    for image in images:
        try:
            if not isinstance(image, ImageError):
                # The labels are as large as the image; only the measurements are kept.
                found.append(replace(predictor.find(as_plane(image, settings)), labels=None))
        except ImageError:
            # The second pass says what is wrong with it.
            continue
    return with_g1_peak(found, choice.is_auto, settings)


def with_g1_peak(found: list[Nuclei], is_auto: bool, settings: Settings) -> Settings:
    """Return the settings with the G1 peak of the nuclei of a slide, by the rules of `on_slide`.

    Parameters
    ----------
    found : list of Nuclei
        Of its images.
    is_auto : bool
        The model is chosen by whether there is a clear peak; otherwise a model that needs one was named.
    settings : Settings
    """
    anchor, peak = fit_anchor(found)
    if anchor is not None and (anchor.quality >= LEAST_QUALITY or not is_auto):
        return replace(settings, g1_position=anchor.position, g1_quality=anchor.quality, g1_area_px=anchor.area_px)
    if is_auto:
        return settings
    raise SettingError("--slide", peak.reason, "give more images of one slide, or predict without --slide")

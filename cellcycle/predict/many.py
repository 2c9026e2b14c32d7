"""Many images in, their predictions out: the one loop of command line, page and notebooks, with flat memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cellcycle import tasks
from cellcycle.errors import CellCycleError, ImageError, SettingError
from cellcycle.images import expand
from cellcycle.nuclei import Nuclei, fit_anchor
from cellcycle.predict.choice import AUTO, LEAST_QUALITY, ModelChoice
from cellcycle.predict.predictor import ImagePrediction, Predictor, as_plane
from cellcycle.predict.settings import Settings


def predict(images, model=AUTO, *, is_slide: bool = False, **settings):
    """Predict the phases of all nuclei of one or many images.

    Parameters
    ----------
    images : path, Plane, array (H, W), or a list of them
        A path may be a file, a folder or a pattern like "plate/*.tif".
    model : str, Path or Checkpoint, optional
        Name or folder of a checkpoint; "auto" chooses for each image, see `cellcycle.predict.choice`.
    is_slide : bool, optional
        All images are of one slide: its G1 peak is fitted to all their nuclei first.
    **settings
        Of `Settings`: kind, channel, plane, pixel_size_um, backend, g1_position.

    Returns
    -------
    pandas.DataFrame
        One row a nucleus, in the columns of `table_columns`.

    Raises
    ------
    CellCycleError
        The only image cannot be read, or a name or setting is wrong. Of several images, those that cannot be
        read are rows with the flag "unreadable" and the reason in the column "error".
    """
    import pandas as pd

    images = list(images) if isinstance(images, list | tuple) else [images]
    listed = [item for image in images for item in (expand([image]) if isinstance(image, str | Path) else [image])]
    if not listed:
        raise SettingError("images", "the list is empty", "name at least one image")
    choice, chosen = ModelChoice.of(model), Settings(**settings)
    if is_slide:
        chosen = on_slide(listed, choice, chosen)
    found = []
    for prediction in predict_each(listed, choice, chosen):
        if prediction.error is not None and len(listed) == 1:
            raise prediction.error
        found.append(prediction.table)
    return pd.concat(found, ignore_index=True)


def predict_each(images: Iterable, model=AUTO, settings: Settings | None = None) -> Iterator[ImagePrediction]:
    """Predict image after image; memory holds one at a time.

    Parameters
    ----------
    images : iterable
        Paths, `Plane`s or arrays (H, W).
    model : str, Path or Checkpoint, optional
        Name or folder of a checkpoint; "auto" chooses for each image, see `cellcycle.predict.choice`.
    settings : Settings, optional

    Yields
    ------
    ImagePrediction
        In the order of the images; one that cannot be read gives its error instead of stopping the rest.

    Raises
    ------
    SettingError, CheckpointError
        The model is unknown or damaged.
    """
    return tasks.run(Predictor.predict, images, start=Predictor, start_arguments=(model, settings))


def run_batch(
    images: Sequence,
    model,
    settings: Settings,
    overlay: Path | None = None,
    n_jobs: int = 1,
    only: Sequence[int] | None = None,
) -> Iterator[ImagePrediction]:
    """Predict images and draw their overlays; yield tables in the order of the images.

    Parameters
    ----------
    images : sequence of path or ImageError
    model : str, Path or Checkpoint
    settings : Settings
    overlay : Path, optional
        Existing folder for one PNG an image.
    n_jobs : int, optional
        Processes; the tables do not depend on it.
    only : sequence of int, optional
        Which of the images, by their place; all without it.

    Yields
    ------
    ImagePrediction
        Without its pixels.

    Raises
    ------
    SettingError
        A process was ended from outside, as by a system that is out of memory.
    """
    targets = [None] * len(images)
    if overlay is not None:
        from cellcycle.predict.overlay import overlay_names

        targets = overlay_names(images, overlay)
    named = [(images[k], targets[k]) for k in (range(len(images)) if only is None else only)]
    return tasks.run(_predict_one, named, n_jobs, start=Predictor, start_arguments=(model, settings))


def _predict_one(predictor: Predictor, named: tuple) -> ImagePrediction:
    image, target = named
    prediction = predictor.predict(image)
    if target is not None and prediction.nuclei is not None:
        from cellcycle.predict.overlay import write_overlay

        try:
            write_overlay(target, prediction, predictor.checkpoint.classes)
        except (CellCycleError, OSError, MemoryError) as error:
            # A picture that cannot be written costs no row.
            prediction = replace(prediction, note=f"no overlay: {error}")
    return replace(prediction, nuclei=None, plane=None)


def on_slide(images: Iterable, model, settings: Settings, n_jobs: int = 1) -> Settings:
    """Return the settings with the G1 peak of a slide: many small fields, or crops, of one stain and exposure.

    Under "auto" a slide without a clear peak keeps its settings, and each image is then judged by itself.

    Parameters
    ----------
    images : iterable
        As `cellcycle.predict.predict_each` takes them; those that cannot be read are left out.
    model : str, Path or Checkpoint
    settings : Settings
    n_jobs : int, optional

    Returns
    -------
    Settings

    Raises
    ------
    SettingError
        A model that needs the peak was named, and there is none, with the reason.
    """
    choice = ModelChoice.of(model)
    found = tasks.run(_found, images, n_jobs, start=Predictor, start_arguments=(choice, settings))
    return with_g1_peak([nuclei for nuclei in found if nuclei is not None], choice.is_auto, settings)


def _found(predictor: Predictor, image) -> Nuclei | None:
    """Find the nuclei of an image; None where it cannot be read, of which the second pass says why."""
    try:
        if isinstance(image, ImageError):
            return None
        # The labels are as large as the image; only the measurements are kept.
        return replace(predictor.find(as_plane(image, predictor.settings)), labels=None)
    except SettingError:
        raise
    except (CellCycleError, MemoryError, ValueError, ArithmeticError):
        return None


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

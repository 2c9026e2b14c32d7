"""Many images in, their predictions out: the one loop of command line, page and notebooks, with flat memory."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cellcycle import tasks
from cellcycle.errors import CellCycleError, ImageError, SettingError
from cellcycle.images import expand
from cellcycle.nuclei import Nuclei, fit_anchor
from cellcycle.predict.extras import Extras
from cellcycle.predict.pairs import with_masks
from cellcycle.predict.predictor import (
    AUTO,
    LEAST_QUALITY,
    ImagePrediction,
    ModelChoice,
    Predictor,
    Settings,
    as_plane,
)


def predict(images, model=AUTO, *, is_slide: bool = False, masks=None, **settings):
    """Predict the phases of all nuclei of one or many images.

    Parameters
    ----------
    images : path, Plane, array (H, W), or a list of them
        A path may be a file, a folder or a pattern like "plate/*.tif".
    model : str, Path or Checkpoint, optional
        Name or folder of a checkpoint; "auto" chooses for each image, see `cellcycle.predict.predictor`.
    is_slide : bool, optional
        All images are of one slide: its G1 peak is fitted to all their nuclei first.
    masks : folder or list, optional
        Outlines of your own, see `cellcycle.masks`: the folder of the label images, found by the names of the images,
        or one file or array (H, W) for each image. A number in them is the `nucleus_id`.
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
    if isinstance(masks, str | Path) and Path(masks).is_dir():
        listed, masks, _ = with_masks(listed, images, masks)
    elif masks is not None:
        masks = list(masks) if isinstance(masks, list | tuple) else [masks]
        if len(masks) != len(listed):
            raise SettingError("masks", f"{len(masks)} for {len(listed)} images", "give one an image, or their folder")
    if is_slide:
        chosen = on_slide(listed, choice, chosen, masks=masks)
    found = []
    for prediction in predict_each(listed, choice, chosen, masks):
        if prediction.remark:
            warnings.warn(f"mask of {prediction.image}: {prediction.remark}", stacklevel=2)
        if prediction.error is not None and len(listed) == 1:
            raise prediction.error
        found.append(prediction.table)
    return pd.concat(found, ignore_index=True)


def predict_each(
    images: Iterable, model=AUTO, settings: Settings | None = None, masks: Iterable | None = None
) -> Iterator[ImagePrediction]:
    """Predict image after image; memory holds one at a time.

    Parameters
    ----------
    images : iterable
        Paths, `Plane`s or arrays (H, W).
    model : str, Path or Checkpoint, optional
        Name or folder of a checkpoint; "auto" chooses for each image, see `cellcycle.predict.predictor`.
    settings : Settings, optional
    masks : iterable of path or array (H, W), optional
        One an image, which outlines its nuclei.

    Yields
    ------
    ImagePrediction
        In the order of the images; one that cannot be read gives its error instead of stopping the rest.

    Raises
    ------
    SettingError, CheckpointError
        The model is unknown or damaged.
    """
    return tasks.run(_predict_pair, _pairs(images, masks), start=Predictor, start_arguments=(model, settings))


def _pairs(images: Iterable, masks: Iterable | None) -> Iterator[tuple]:
    return ((image, None) for image in images) if masks is None else zip(images, masks, strict=True)


def _predict_pair(predictor: Predictor, pair: tuple) -> ImagePrediction:
    return predictor.predict(*pair)


def run_batch(
    images: Sequence,
    model,
    settings: Settings,
    extras: Extras | None = None,
    n_jobs: int = 1,
    only: Sequence[int] | None = None,
    masks: Sequence | None = None,
) -> Iterator[ImagePrediction]:
    """Predict images and write their extras; yield tables in the order of the images.

    Parameters
    ----------
    images : sequence of path or ImageError
    model : str, Path or Checkpoint
    settings : Settings
    extras : Extras, optional
        Files beside the rows; their folders exist.
    n_jobs : int, optional
        Processes; the tables do not depend on it.
    only : sequence of int, optional
        Which of the images, by their place; all without it.
    masks : sequence of path, ImageError or None, optional
        One an image.

    Yields
    ------
    ImagePrediction
        Without its pixels.

    Raises
    ------
    SettingError
        A process was ended from outside, as by a system that is out of memory.
    """
    extras, masks = extras or Extras(), masks or [None] * len(images)
    everything = list(zip(images, masks, extras.targets(images), strict=True))
    named = [(*everything[k], extras) for k in (range(len(images)) if only is None else only)]
    return tasks.run(_predict_one, named, n_jobs, start=Predictor, start_arguments=(model, settings))


def _predict_one(predictor: Predictor, named: tuple) -> ImagePrediction:
    image, mask, targets, extras = named
    prediction = predictor.predict(image, mask)
    note = "" if prediction.nuclei is None else extras.write(targets, prediction, predictor.checkpoint.classes)
    return replace(prediction, nuclei=None, plane=None, note=note)


def on_slide(images: Iterable, model, settings: Settings, n_jobs: int = 1, masks: Iterable | None = None) -> Settings:
    """Return the settings with the G1 peak of a slide: many small fields, or crops, of one stain and exposure.

    Under "auto" a slide without a clear peak keeps its settings, and each image is then judged by itself.

    Parameters
    ----------
    images : iterable
        As `cellcycle.predict.predict_each` takes them; those that cannot be read are left out.
    model : str, Path or Checkpoint
    settings : Settings
    n_jobs : int, optional
    masks : iterable, optional
        As there.

    Returns
    -------
    Settings

    Raises
    ------
    SettingError
        A model that needs the peak was named, and there is none, with the reason.
    """
    choice = ModelChoice.of(model)
    n_jobs = min(n_jobs, len(images)) if isinstance(images, Sequence) else n_jobs
    found = tasks.run(_found, _pairs(images, masks), n_jobs, start=Predictor, start_arguments=(choice, settings))
    return with_g1_peak([nuclei for nuclei in found if nuclei is not None], choice.is_auto, settings)


def _found(predictor: Predictor, pair: tuple) -> Nuclei | None:
    """Find the nuclei of an image; None where it cannot be read, of which the second pass says why."""
    image, mask = pair
    try:
        if isinstance(image, ImageError) or isinstance(mask, ImageError):
            return None
        # Labels and picture are as large as the image; only the measurements are kept.
        return replace(predictor.find(as_plane(image, predictor.settings), mask), labels=None, picture=None)
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

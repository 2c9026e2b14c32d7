"""Many images in, their predictions out: the one loop of command line, page and notebooks, with flat memory."""

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cellcycle import tasks
from cellcycle.errors import CellCycleError, ImageError, SettingError
from cellcycle.images import expand
from cellcycle.nuclei import Nuclei, fit_anchor
from cellcycle.predict.extras import Extras
from cellcycle.predict.kept import keep_if_possible
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

# Of a slide so much is kept on disk between its two steps, and no more than half of what is free; images beyond it
# are read and their nuclei found twice.
_MOST_KEPT_BYTES = 2 << 30


def predict(images, model=AUTO, *, is_slide: bool = False, masks=None, **settings):
    """Predict the phases of all nuclei of one or many images; return a `DataFrame` with the `table_columns`.

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
    (listed, masks), found = _with_masks(listed, images, masks), []
    with kept_folder(is_slide) as folder:
        if is_slide:
            chosen = on_slide(listed, choice, chosen, 1, masks, folder)
        for prediction in run_batch(listed, choice, chosen, masks=masks, folder=folder):
            if prediction.remark:
                warnings.warn(f"mask of {prediction.image}: {prediction.remark}", stacklevel=2)
            if prediction.plane_note:
                warnings.warn(f"{prediction.image}: {prediction.plane_note}", stacklevel=2)
            if prediction.error is not None and len(listed) == 1:
                raise prediction.error
            found.append(prediction.table)
    return pd.concat(found, ignore_index=True)


def _with_masks(images: list, named: list, masks) -> tuple[list, list]:
    """Return the images without those that are masks of others, and the mask of each or None."""
    if masks is None:
        return images, [None] * len(images)
    if isinstance(masks, str | Path) and Path(masks).is_dir():
        return with_masks(images, named, masks)[:2]
    masks = list(masks) if isinstance(masks, list | tuple) else [masks]
    if len(masks) != len(images):
        raise SettingError("masks", f"{len(masks)} for {len(images)} images", "give one an image, or their folder")
    return images, masks


def predict_each(images: Iterable, model=AUTO, settings: Settings | None = None) -> Iterator[ImagePrediction]:
    """Predict image after image, as `predict` takes them; memory holds one at a time.

    An image that cannot be read gives its error instead of stopping the rest.
    """
    return tasks.run(Predictor.predict, images, start=Predictor, start_arguments=(model, settings))


def run_batch(
    images: Sequence,
    model,
    settings: Settings,
    extras: Extras | None = None,
    n_jobs: int = 1,
    only: Sequence[int] | None = None,
    masks: Sequence | None = None,
    folder: Path | None = None,
) -> Iterator[ImagePrediction]:
    """Predict images and write their extras; yield predictions without pixels in the order of the images.

    Parameters
    ----------
    extras : Extras, optional
        Files beside the rows; their folders exist.
    n_jobs : int, optional
        Processes; the tables do not depend on it.
    only : sequence of int, optional
        Which of the images, by their place; all without it.
    masks : sequence of path, ImageError or None, optional
        One an image.
    folder : Path, optional
        Of what `on_slide` kept of the same images.
    """
    extras, masks = extras or Extras(), masks or [None] * len(images)
    everything = list(zip(images, masks, _files(folder, len(images)), extras.targets(images), strict=True))
    named = [(*everything[k], extras) for k in (range(len(images)) if only is None else only)]
    return tasks.run(_predict_one, named, n_jobs, start=Predictor, start_arguments=(model, settings))


def _predict_one(predictor: Predictor, named: tuple) -> ImagePrediction:
    image, mask, file, targets, extras = named
    prediction = predictor.predict(image, mask, file)
    note = "" if prediction.nuclei is None else extras.write(targets, prediction, predictor.checkpoint.classes)
    return replace(prediction, nuclei=None, plane=None, note=note)


def kept_folder(is_slide: bool) -> contextlib.AbstractContextManager:
    """Return a context with a folder for what is kept of a slide, None for other images."""
    return tempfile.TemporaryDirectory(prefix="cellcycle-") if is_slide else contextlib.nullcontext()


def _files(folder: Path | None, n_images: int) -> list[Path | None]:
    return [folder and Path(folder, f"{k}.npz") for k in range(n_images)]


def on_slide(
    images: Sequence,
    model,
    settings: Settings,
    n_jobs: int = 1,
    masks: Sequence | None = None,
    folder: Path | None = None,
) -> Settings:
    """Return the settings with the G1 peak of a slide: many small fields, or crops, of one stain and exposure.

    Under "auto" a slide without a clear peak keeps its settings, and each image is then judged by itself. Images
    that cannot be read are left out. What was read and found is kept in the folder, for `run_batch`.

    A `SettingError` says why there is no peak where a model that needs it was named.
    """
    choice, masks = ModelChoice.of(model), masks or [None] * len(images)
    files, found, room = _files(folder, len(images)), [], _MOST_KEPT_BYTES
    named = list(zip(images, masks, files, strict=True))
    if folder is not None:
        room = min(room, shutil.disk_usage(folder).free // 2)
    results = tasks.run(found_in, named, n_jobs, start=Predictor, start_arguments=(choice, settings))
    for nuclei, file in zip(results, files, strict=True):
        if nuclei is not None:
            found.append(nuclei)
        if file is not None and file.exists():
            room -= file.stat().st_size
            if room < 0:
                file.unlink()
    return with_g1_peak(found, choice.is_auto, settings)


def found_in(predictor: Predictor, named: tuple) -> Nuclei | None:
    """Find the nuclei of an image, mask and file to keep them in; None where it cannot be read: `predict` says why."""
    image, mask, file = named
    try:
        if isinstance(image, ImageError) or isinstance(mask, ImageError):
            return None
        plane = as_plane(image, predictor.settings)
        nuclei = predictor.find(plane, mask)
        if file is not None:
            keep_if_possible(file, plane, nuclei)
        # Labels and picture are as large as the image; only the measurements stay in memory.
        return replace(nuclei, labels=None, picture=None)
    except SettingError:
        raise
    except (CellCycleError, MemoryError, ValueError, ArithmeticError):
        return None


def with_g1_peak(found: list[Nuclei], is_auto: bool, settings: Settings) -> Settings:
    """Return the settings with the G1 peak of the nuclei of a slide, by the rules of `on_slide`."""
    anchor, peak = fit_anchor(found)
    if anchor is not None and (anchor.quality >= LEAST_QUALITY or not is_auto):
        return replace(settings, g1_position=anchor.position, g1_quality=anchor.quality, g1_area_px=anchor.area_px)
    if is_auto:
        return settings
    raise SettingError("--slide", peak.reason, "give more images of one slide, or predict without --slide")

"""Prediction of many images: the loop that command line, page and notebooks share, with constant memory."""

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from cellcycle import tasks
from cellcycle.checkpoint import shipped_names
from cellcycle.errors import SettingError, check_keywords
from cellcycle.files import scratch_folder
from cellcycle.images import expand
from cellcycle.nuclei import Nuclei
from cellcycle.predict import groups
from cellcycle.predict.extras import Extras
from cellcycle.predict.given import Given, Settings, Shared, as_images, as_list
from cellcycle.predict.kept import keep_if_possible, seen, slim
from cellcycle.predict.pairs import with_masks
from cellcycle.predict.predictor import AUTO, LEAST_QUALITY, ImagePrediction, ModelChoice, Predictor

# Greatest size of the disk cache of images that are read together, which takes at most half of the free space; the
# pixels of images beyond it are read twice.
_MOST_KEPT_BYTES = 2 << 30


def predict(
    images,
    model=AUTO,
    *,
    is_slide: bool = False,
    is_each: bool = False,
    plate_map=None,
    masks=None,
    n_jobs: int | None = 1,
    client=None,
    **settings,
):
    """Return the predicted phases of all nuclei of one or many images, a `DataFrame` with the `table_columns`.

    Several fields are read in groups by plate map, names or folders, see `cellcycle.predict.groups`. What the command
    line says of the groups stands in `attrs["notes"]` of the table.

    Parameters
    ----------
    images : path, Plane, array (H, W), or a list, column or generator of them
        A path is a file, a folder, a pattern like `plate/*.tif` or a URL. A file counts once; copies and files of other
        stains are left out of lists and folders. Several arrays have the names "array 1", "array 2" ...
    model : str, Path or Checkpoint, optional
        Name or folder of a checkpoint; "auto" selects a model per image, see `cellcycle.predict.predictor`.
    is_slide : bool, optional
        All images, crops too, are of one slide, and get the G1 peak of all their nuclei, without correction per well.
    is_each : bool, optional
        Each image is predicted by itself.
    plate_map : path, optional
        Table of slide, condition, dose ... of images or wells, see `cellcycle.predict.platemap`.
    masks : folder or list, optional
        Your own outlines, see `cellcycle.masks`: a folder of label images, matched to images by name, or one file or
        array (H, W) per image. Their numbers are the `nucleus_id`.
    n_jobs : int or None
        Number of processes, None for one per core; a script needs `if __name__ == "__main__":` to start them.
    client : distributed.Client, optional
        Use the workers of a cluster instead, which read the same paths or URLs; see `docs/how_to`.
    **settings
        Of `Settings`: kind, channel, plane, pixel_size_um, segmentation, g1_position, g1_quality, g1_area_px, prior.

    Raises
    ------
    CellCycleError
        A single image cannot be read, or a name or setting is wrong. Of several images, one that cannot be read is a
        row with the flag "unreadable" and the reason in the column "error".
    """
    import pandas as pd

    check_keywords(settings, predict, Settings)
    if is_slide and is_each:
        raise SettingError("is_each", "is_slide was given too", "choose one of them, or neither")
    if plate_map is not None and not isinstance(plate_map, str | Path):
        finding = f"a {type(plate_map).__name__} is not a path"
        raise SettingError("plate_map", finding, "save it as a CSV file, and give the path of that")
    named = as_images(images)
    listed = list(map(Given.of, expand(named, _tell, partial(groups.named_in, plate_map))))
    chosen, found = Settings(**settings), []
    choice, n_jobs = ModelChoice.of(model, chosen), min(tasks.jobs_of(n_jobs), len(listed))
    listed = _with_masks(listed, named, masks)
    columns, notes = groups.layout(listed, plate_map)
    how = "slide" if is_slide else "each" if is_each else "together"
    with scratch_folder() as folder, workers_of(choice, chosen, n_jobs, client) as do:
        notes += look_first(listed, choice, chosen, columns, how, do, folder)
        for prediction in run_batch(listed, do):
            if prediction.remark:
                warnings.warn(f"mask of {prediction.image}: {prediction.remark}", stacklevel=2)
            if prediction.plane_note:
                warnings.warn(f"{prediction.image}: {prediction.plane_note}", stacklevel=2)
            if prediction.error is not None and len(listed) == 1:
                raise prediction.error
            found.append(prediction.table)
    table = pd.concat(found, ignore_index=True)
    table.attrs["notes"] = notes
    return table


def _tell(said: str) -> None:
    warnings.warn(said, stacklevel=4)


def _with_masks(images: list[Given], named: list[str | Given], masks) -> list[Given]:
    """Return the images that are not masks of others, each with its mask.

    A list has one mask per image in `named`, also for those left out since; for folders, one per image in them.
    """
    if masks is None:
        return images
    if isinstance(masks, str | Path) and os.path.isdir(masks):
        return with_masks(images, named, masks)[0]
    masks, keys = as_list(masks), [image.path if image.is_file else image for image in images]
    is_each = {key for key, image in zip(keys, images, strict=True) if image.error is None} <= {*named}
    named = named if is_each else keys
    if len(masks) != len(named):
        raise SettingError("masks", f"{len(masks)} for {len(named)} images", "give one for each image, or their folder")
    # If a file is named twice, its first mask counts.
    mask_of = dict(reversed(list(zip(named, masks, strict=True))))
    for image, key in zip(images, keys, strict=True):
        image.mask = mask_of.get(key)
    return images


@contextlib.contextmanager
def workers_of(model, settings: Settings, n_jobs: int = 1, client=None) -> Iterator[Callable]:
    """Open processes, or a cluster, and yield `do`, by which `look_first` and `run_batch` use them."""
    with tasks.workers(n_jobs, start=Predictor, start_arguments=(model, settings), client=client) as do:
        # Workers of a cluster have other working folders.
        yield do if client is None else lambda function, items: do(function, ((i.from_root(), m) for i, m in items))


@np.errstate(under="ignore")
def look_first(
    images: list[Given],
    choice: ModelChoice,
    settings: Settings,
    columns: list[dict],
    how: str,
    do: Callable,
    folder: Path | None = None,
) -> list[str]:
    """Find the nuclei of images, and set what each is told by those read with it; return notes for the user.

    `how` is "together": fields share within groups, by the `columns` of `layout`; "slide": all images, crops too, have
    one G1 peak; or "each": nothing is shared. With the first two, crops without a possible pixel size get a common one,
    and channels of one field are refused. Without a clear peak, images are predicted by themselves; with "slide" and a
    named model, this is a `SettingError`. The nuclei found are kept in `folder`.
    """
    for k, (image, own) in enumerate(zip(images, columns, strict=True)):
        image.group, image.told = own["group"], Shared(own | {"group": ""})
        image.file = image.file if folder is None else folder / f"{k}.npz"
    rule, has_peak = choice.default.input_rule, settings.kind == "nucleus" or settings.g1_position is not None
    has_scale = settings.kind == "field" or rule.pixel_size_um is None
    # Whether size or exposure is unlike that of training is tested for all crops together.
    is_shipped = choice.default.name in shipped_names()
    are_compared = settings.kind != "field" and (is_shipped or max(rule.scale.area_px, rule.scale.brightest) > 0)
    if how == "each" or (how == "together" and (len(images) < 2 or (has_peak and has_scale and not are_compared))):
        return []
    _see(images, folder, do)
    pairs, notes, least_quality = groups.pairs_of_one_field(images), [], LEAST_QUALITY * choice.is_auto
    groups.refuse_other_light(pairs)
    if how == "slide":
        notes = groups.share_as_slide(images, least_quality, must=rule.needs_anchor and not choice.is_auto)
    elif not has_peak:
        notes = groups.share(images, rule.scale, least_quality)
    if not has_scale:
        notes += groups.at_one_scale(images, rule.scale)
    if are_compared:
        groups.compare_with_training(images, rule, is_shipped)
    notes += groups.tell_apart(pairs)
    for image in images:
        image.seen = None
    return notes


def _see(images: list[Given], folder: Path | None, do: Callable) -> None:
    """Find the nuclei of all images, and keep them in `folder`, with their pixels as long as there is room."""
    room = 0 if folder is None else min(_MOST_KEPT_BYTES, shutil.disk_usage(folder).free // 2)
    # A generator: each item is made when a process is free, when the remaining room is known.
    items = ((image, room > 0) for image in images)
    for image, image.seen in zip(images, do(found_in, items), strict=True):
        if folder is not None and image.file.exists():
            room -= image.file.stat().st_size


def found_in(predictor: Predictor, item: tuple[Given, bool]) -> Nuclei | None:
    """Return the nuclei of an image, from its cache file, or found and then kept there, perhaps with pixels.

    None if the image cannot be read: `predict` reports the reason.
    """
    image, with_pixels = item
    if image.file is not None and image.file.exists():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, BadZipFile):
            return seen(image.file)
    try:
        plane, nuclei = predictor.look(replace(image, file=None))
    except SettingError:
        raise
    except Exception:
        return None
    if image.file is not None:
        keep_if_possible(image.file, plane, nuclei, with_pixels)
    return slim(nuclei)


def run_batch(images: list[Given], do: Callable, extras: Extras | None = None) -> Iterator[ImagePrediction]:
    """Predict images and write their extras; yield predictions without pixels, in order. `do`: see `workers_of`."""
    return do(_predict_one, [(image, extras or Extras()) for image in images])


def _predict_one(predictor: Predictor, item: tuple[Given, Extras]) -> ImagePrediction:
    image, extras = item
    prediction = predictor.predict(image)
    note = "" if prediction.nuclei is None else extras.write(image.targets, prediction, predictor.checkpoint.classes)
    return replace(prediction, nuclei=None, plane=None, note=note)

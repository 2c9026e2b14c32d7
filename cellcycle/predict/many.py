"""Many images in, their predictions out: the one loop of command line, page and notebooks, with flat memory."""

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from cellcycle import tasks
from cellcycle.checkpoint import shipped_names
from cellcycle.errors import ImageError, SettingError, check_keywords
from cellcycle.files import scratch_folder
from cellcycle.images import expand
from cellcycle.images.wells import whole_path
from cellcycle.light import fit_in_even_light
from cellcycle.predict import groups
from cellcycle.predict.extras import Extras
from cellcycle.predict.given import as_images, as_list, as_plane, image_name
from cellcycle.predict.groups import Seen, Shared
from cellcycle.predict.kept import keep_if_possible, seen
from cellcycle.predict.pairs import with_masks
from cellcycle.predict.predictor import AUTO, LEAST_QUALITY, ImagePrediction, ModelChoice, Predictor, Settings
from cellcycle.predict.priors import one_peak_flag

# Of images that are read together so much is kept on disk between the two steps, and no more than half of what is
# free; the pixels of images beyond it are read twice.
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
    """Predict the phases of all nuclei of one or many images; return a `DataFrame` with the `table_columns`.

    Several fields are read together, see `cellcycle.predict.groups`: by their plate map, their names, or their folder.

    Parameters
    ----------
    images : path, Plane, array (H, W), or a list, column or generator of them
        A path may be a file, a folder or a pattern like `plate/*.tif`. A file counts once; of a list, as of a folder,
        copies and files of other stains are left out. Several arrays are called "array 1", "array 2" ...
    model : str, Path or Checkpoint, optional
        Name or folder of a checkpoint; "auto" chooses for each image, see `cellcycle.predict.predictor`.
    is_slide : bool, optional
        All images, crops too, are of one slide: they have the G1 peak of all their nuclei, as it is.
    is_each : bool, optional
        Each image is judged by itself.
    plate_map : path, optional
        Table that says which slide, condition, dose ... images or wells are, see `cellcycle.predict.platemap`.
    masks : folder or list, optional
        Outlines of your own, see `cellcycle.masks`: the folder of the label images, found by the names of the images,
        or one file or array (H, W) for each image. A number in them is the `nucleus_id`.
    n_jobs : int or None
        Processes that share the images, None one a core; a script begins them below `if __name__ == "__main__":`.
    client : distributed.Client, optional
        The workers of a cluster instead, which read the images by the same paths or URLs; see `docs/how_to`.
    **settings
        Of `Settings`: kind, channel, plane, pixel_size_um, segmentation, g1_position, g1_quality, g1_area_px, prior.

    Raises
    ------
    CellCycleError
        The only image cannot be read, or a name or setting is wrong. Of several images, those that cannot be
        read are rows with the flag "unreadable" and the reason in the column "error".
    """
    import pandas as pd

    check_keywords(settings, predict, Settings)
    if is_slide and is_each:
        raise SettingError("is_each", "is_slide was given too", "choose one of them, or neither")
    if plate_map is not None and not isinstance(plate_map, str | Path):
        finding = f"a {type(plate_map).__name__} is no path"
        raise SettingError("plate_map", finding, "save it as a CSV file, and give the path of that")
    images = as_images(images)
    listed = expand(images, _tell, partial(groups.named_in, plate_map))
    chosen = Settings(**settings)
    choice, n_jobs = ModelChoice.of(model, chosen), min(tasks.jobs_of(n_jobs), len(listed))
    (listed, masks), found = _with_masks(listed, images, masks), []
    columns, _ = groups.layout(listed, plate_map)
    how = "slide" if is_slide else "each" if is_each else "together"
    with scratch_folder() as folder, workers_of(choice, chosen, n_jobs, client) as do:
        shared, _ = look_first(listed, choice, chosen, columns, how, masks, folder, do)
        for prediction in run_batch(listed, choice, chosen, do=do, masks=masks, folder=folder, shared=shared):
            if prediction.remark:
                warnings.warn(f"mask of {prediction.image}: {prediction.remark}", stacklevel=2)
            if prediction.plane_note:
                warnings.warn(f"{prediction.image}: {prediction.plane_note}", stacklevel=2)
            if prediction.error is not None and len(listed) == 1:
                raise prediction.error
            found.append(prediction.table)
    return pd.concat(found, ignore_index=True)


def _tell(said: str) -> None:
    warnings.warn(said, stacklevel=4)


def _with_masks(images: list, named: list, masks) -> tuple[list, list]:
    """Return the images without those that are masks of others, and the mask of each or None.

    A mask is given for each image as `named`, of which some were left out, or where folders are named for each in them.
    """
    if masks is None:
        return images, [None] * len(images)
    if isinstance(masks, str | Path) and os.path.isdir(masks):
        return with_masks(images, named, masks)[:2]
    masks = as_list(masks)
    named = [str(image) if isinstance(image, Path) else image for image in named]
    mask_of = dict.fromkeys(named)
    is_each = all(isinstance(image, ImageError) or image in mask_of for image in images)
    n_images = len(named if is_each else images)
    if len(masks) != n_images:
        raise SettingError("masks", f"{len(masks)} for {n_images} images", "give one an image, or their folder")
    if not is_each:
        return images, masks
    # Of a file that is named twice the first.
    mask_of |= reversed(list(zip(named, masks, strict=True)))
    return images, [mask_of.get(image) for image in images]


def run_batch(
    images: Sequence,
    model,
    settings: Settings,
    extras: Extras | None = None,
    do: Callable | None = None,
    only: Sequence[int] | None = None,
    masks: Sequence | None = None,
    folder: Path | None = None,
    shared: Sequence[Shared] | None = None,
) -> Iterator[ImagePrediction]:
    """Predict images and write their extras; yield predictions without pixels in the order of the images.

    `do`, of `workers_of`, says who does it; `only` are the places of the images that are wanted, all without it;
    `masks` has one, an ImageError or None for each. What `look_first` kept lies in the `folder`, it says `shared`.
    """
    n, extras = len(images), extras or Extras()
    given = (images, masks or [None] * n, _files(folder, n), shared or [None] * n, extras.targets(images))
    everything = list(zip(*given, strict=True))
    named = [((*paths, targets), told, extras, image_name(paths[0]))
             for *paths, told, targets in (everything[k] for k in (range(n) if only is None else only))]  # fmt: skip
    return (do or _alone(model, settings))(_predict_one, named)


@contextlib.contextmanager
def workers_of(model, settings: Settings, n_jobs: int = 1, client=None) -> Iterator[Callable]:
    """Open processes, or a cluster, that find and then predict: `do` of `look_first` and `run_batch`."""
    with tasks.workers(n_jobs, start=Predictor, start_arguments=(model, settings), client=client) as do:
        # The workers of a cluster have working folders of their own.
        yield do if client is None else lambda function, items: do(function, ((_whole(i[0]), *i[1:]) for i in items))


def _whole(given):
    """Return what is given of an image with all paths from the root."""
    if isinstance(given, tuple):
        return tuple(map(_whole, given))
    if isinstance(given, dict):
        return {what: _whole(path) for what, path in given.items()}
    return type(given)(whole_path(given)) if isinstance(given, str | Path) else given


def _alone(model, settings: Settings) -> Callable:
    return partial(tasks.run, start=Predictor, start_arguments=(model, settings))


def _predict_one(predictor: Predictor, named: tuple) -> ImagePrediction:
    (*given, targets), told, extras, name = named
    prediction = predictor.predict(*given, told, name)
    note = "" if prediction.nuclei is None else extras.write(targets, prediction, predictor.checkpoint.classes)
    return replace(prediction, nuclei=None, plane=None, note=note)


def _files(folder: Path | None, n_images: int) -> list[Path | None]:
    return [folder and Path(folder, f"{k}.npz") for k in range(n_images)]


@np.errstate(under="ignore")
def look_first(
    images: Sequence,
    choice: ModelChoice,
    settings: Settings,
    columns: list[dict],
    how: str = "together",
    masks: Sequence | None = None,
    folder: Path | None = None,
    do: Callable | None = None,
) -> tuple[list[Shared], list[str]]:
    """Return what each image is told by those that are read with it, and notes for the user.

    "together" has fields share by their groups, the `columns` of `layout`; "slide" takes all images for one, crops too,
    with one G1 peak; by both, crops without a pixel size that can be get one scale; "each" looks at none beforehand.
    Without a clear peak images are judged by themselves; under "slide" a `SettingError` says why there is none where a
    model that needs it was named. Channels of one field are refused. What was found is kept in the folder.
    """
    shared, notes = [Shared({**own, "group": ""}) for own in columns], []
    rule, has_peak = choice.default.input_rule, settings.kind == "nucleus" or settings.g1_position is not None
    has_scale = settings.kind == "field" or rule.pixel_size_um is None
    # Whether they are of other sizes or exposure than those of the training, crops tell together.
    is_shipped = choice.default.name in shipped_names()
    are_compared = settings.kind != "field" and (is_shipped or max(rule.scale.area_px, rule.scale.brightest) > 0)
    if how == "each" or (how == "together" and (len(images) < 2 or (has_peak and has_scale and not are_compared))):
        return shared, []
    found = list(_seen(images, masks, folder, do or _alone(choice, settings)))
    names, pairs = [image_name(image) for image in images], groups.pairs_of_one_field(found)
    refused = groups.in_other_light(names, found, pairs)
    found = [None if k in refused else one for k, one in enumerate(found)]
    fields = [one if one is not None and one.nuclei.kind == "field" else None for one in found]
    if how == "slide":
        told = _of_slide([one for one in found if one is not None], choice.is_auto)
        # Crops were picked: that they are alike says nothing of a culture.
        shared = [replace(told, columns=own.columns, flag=told.flag * (field is not None))
                  for own, field in zip(shared, fields, strict=True)]  # fmt: skip
        quality = f"quality {told.anchor.quality:.2f} of 1" if told.anchor else "none that is clear"
        notes = [f"G1 peak of the slide: {quality}"]
    elif not has_peak:
        shared, notes = groups.share(columns, fields, rule.scale, LEAST_QUALITY * choice.is_auto)
    if not has_scale:
        shared, said = groups.at_one_scale(shared, found, rule.scale)
        notes = [*notes, *said]
    if are_compared:
        shared = groups.of_crops_unlike_training(shared, found, rule, is_shipped)
    shared, said = groups.told_apart(names, [pair for pair in pairs if refused.keys().isdisjoint(pair)], shared)
    return [replace(one, refusal=refused.get(k, "")) for k, one in enumerate(shared)], [*notes, *said]


def _seen(images, masks, folder, do: Callable) -> Iterator[Seen | None]:
    """Find the nuclei of all images, and keep them in the folder, with pixels as far as there is room."""
    files, room = _files(folder, len(images)), _MOST_KEPT_BYTES
    if folder is not None:
        room = min(room, shutil.disk_usage(folder).free // 2)
    named = zip(images, masks or [None] * len(images), files, strict=True)
    # Taken as processes are free: by then it is known how much room there is.
    items = ((one, room > 0) for one in named)
    for one, file in zip(do(found_in, items), files, strict=True):
        if file is not None and file.exists():
            room -= file.stat().st_size
        yield one


def found_in(predictor: Predictor, named: tuple) -> Seen | None:
    """Find the nuclei of an image; None where it cannot be read: `predict` says why.

    `named` are the image, its mask, and the file to keep them in or in which they stand, and whether with their pixels.
    """
    (image, mask, file), with_pixels = named
    if file is not None and file.exists():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, BadZipFile):
            return seen(file)
    try:
        if isinstance(image, ImageError) or isinstance(mask, ImageError):
            return None
        plane = as_plane(image, predictor.settings)
        nuclei = predictor.find(plane, mask)
        if file is not None:
            keep_if_possible(file, plane, nuclei, with_pixels)
        return Seen(groups.slim(nuclei), plane.bit_depth, plane.pixels.shape)
    except SettingError:
        raise
    except Exception:
        return None


def _of_slide(found: list[Seen], is_auto: bool) -> Shared:
    """Return what the nuclei of a slide tell its images, by the rules of `look_first`."""
    _, anchor, peak, light = fit_in_even_light([one.nuclei for one in found], [one.shape for one in found])
    if anchor is not None and (anchor.quality >= LEAST_QUALITY or not is_auto):
        return Shared(anchor=anchor, light=light)
    if is_auto:
        return Shared(flag="" if anchor else one_peak_flag(peak))
    raise SettingError("is_slide", peak.reason, "give more images of one slide, or predict without is_slide=True")

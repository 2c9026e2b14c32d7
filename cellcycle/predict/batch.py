"""Many images, in one process or several, in their order and with flat memory."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cellcycle import tasks
from cellcycle.errors import CellCycleError
from cellcycle.predict.predictor import ImagePrediction, Predictor
from cellcycle.predict.settings import Settings


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
    yield from tasks.run(_predict_one, named, n_jobs, start=Predictor, start_arguments=(model, settings))


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

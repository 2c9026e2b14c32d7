"""Many images, in one process or several, in their order and with flat memory."""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cellcycle.errors import CellCycleError, SettingError
from cellcycle.predict.predictor import ImagePrediction, Predictor
from cellcycle.predict.settings import Settings

_worker: Predictor | None = None


def run_batch(
    images: Sequence, model, settings: Settings, overlay: Path | None = None, n_jobs: int = 1
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

    Yields
    ------
    ImagePrediction
        Without its pixels.

    Raises
    ------
    SettingError
        A process was ended from outside, as by a system that is out of memory.
    """
    named = [(image, None) for image in images]
    if overlay is not None:
        from cellcycle.predict.overlay import overlay_names

        named = list(zip(images, overlay_names(images, overlay), strict=True))
    if n_jobs == 1:
        predictor = Predictor(model, settings)
        for image, target in named:
            yield _predict_one(predictor, image, target)
        return
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # "spawn": a forked copy of ONNX Runtime's threads would wait for ever.
    pool = ProcessPoolExecutor(n_jobs, get_context("spawn"), _start, (model, settings))
    try:
        waiting: deque = deque()
        for image, target in named:
            waiting.append(pool.submit(_work, image, target))
            if len(waiting) > 2 * n_jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise SettingError("--jobs", "a process was ended, probably for lack of memory", "use fewer jobs") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(model, settings: Settings) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C reaches every process of a terminal; the parent decides what comes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = Predictor(model, settings)


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, even by SIGKILL."""
    from multiprocessing import parent_process

    parent_process().join()
    os._exit(1)


def _work(image, target: Path | None) -> ImagePrediction:
    return _predict_one(_worker, image, target)


def _predict_one(predictor: Predictor, image, target: Path | None) -> ImagePrediction:
    prediction = predictor.predict(image)
    if target is not None and prediction.nuclei is not None:
        from cellcycle.predict.overlay import write_overlay

        try:
            write_overlay(target, prediction, predictor.checkpoint.classes)
        except (CellCycleError, OSError, MemoryError) as error:
            # A picture that cannot be written costs no row.
            prediction = replace(prediction, note=f"no overlay: {error}")
    return replace(prediction, nuclei=None, plane=None)

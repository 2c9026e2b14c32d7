"""What the commands `cellcycle predict`, `cellcycle models` and `cnncc` do."""

import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from cellcycle.checkpoint import DEFAULT, Checkpoint, load_checkpoint, shipped_names
from cellcycle.errors import SettingError
from cellcycle.phases import class_colours
from cellcycle.predict.batch import run_batch
from cellcycle.predict.output import format_of, row_writer, whole_file
from cellcycle.predict.paths import expand
from cellcycle.predict.report import Tally, image_line, models_report, nucleus_report
from cellcycle.predict.slide import on_slide
from cellcycle.predict.stream import ImagePrediction, Settings

_BAR_FROM = 4
# Below this, starting processes costs more than they save.
_ALL_CORES_FROM = 200


def run_predict(
    paths: list[str],
    model: str = DEFAULT,
    settings: Settings | None = None,
    format_name: str | None = None,
    output: Path | None = None,
    overlay: Path | None = None,
    n_jobs: int | None = None,
    is_slide: bool = False,
) -> int:
    """Predict, print and write; return the exit code.

    Parameters
    ----------
    paths : list of str
        Files, folders, patterns.
    model : str
        Name or folder of a checkpoint.
    settings : Settings, optional
    format_name : {"table", "csv", "json", "parquet"}, optional
        By default what the output file is called, or a table.
    output : Path, optional
        File for the rows; they go to standard output without it.
    overlay : Path, optional
        Folder for pictures with outlines.
    n_jobs : int, optional
        Processes; by default one, and one a core from 200 images on.
    is_slide : bool, optional
        All images are of one slide: its G1 peak is fitted to all their nuclei first.

    Returns
    -------
    int
        0, or 1 where some images of several could not be read.

    Raises
    ------
    CellCycleError
        The model or an option is wrong, or the only image cannot be read: nothing was predicted.
    """
    name = format_of(format_name, output)
    if n_jobs is not None and n_jobs < 1:
        raise SettingError("--jobs", f"{n_jobs} is below 1", "give the number of processes, 1 or more")
    checkpoint = load_checkpoint(model)
    images = expand(paths)
    n_jobs = n_jobs or ((os.cpu_count() or 1) if len(images) >= _ALL_CORES_FROM else 1)
    if overlay is not None:
        _make_folder(overlay)
    settings = settings or Settings()
    if is_slide:
        settings = on_slide(images, checkpoint, settings)
        print(f"Note: G1 peak of the slide: quality {settings.g1_quality:.2f} of 1", file=sys.stderr)
    predictions = run_batch(images, checkpoint, settings, overlay, n_jobs)
    tally = Tally(checkpoint.classes)
    rows = nullcontext() if name == "table" else row_writer(name, output)
    words = whole_file(output) if name == "table" and output is not None else nullcontext()
    with words as unfinished, rows as write:
        stream = sys.stdout if unfinished is None else open(unfinished, "w", encoding="utf-8")  # noqa: SIM115
        with stream if unfinished is not None else nullcontext():
            for number, prediction in enumerate(_with_bar(predictions, len(images))):
                _refuse_or_warn(prediction, len(images), checkpoint, is_first=number == 0)
                tally.add(prediction.table)
                if write is not None:
                    write(prediction.table)
                elif len(images) > 1:
                    print(image_line(prediction.table, checkpoint.classes), file=stream)
            if name == "table" or output is not None:
                shown = _summary(prediction, tally, checkpoint, len(images))
                print(_coloured(shown, checkpoint.classes, stream), file=stream)
    return int(tally.n_unreadable > 0)


def _refuse_or_warn(prediction: ImagePrediction, n_images: int, checkpoint: Checkpoint, is_first: bool) -> None:
    """Say what is wrong with an image, and once what is to be known about the model; the only image is refused."""
    if prediction.error is not None and n_images == 1:
        raise prediction.error
    if is_first and checkpoint.warning:
        print(f"Note: {checkpoint.warning}", file=sys.stderr)
    if prediction.error is not None:
        print(f"Error: {prediction.error}", file=sys.stderr)


def _summary(prediction: ImagePrediction, tally: Tally, checkpoint: Checkpoint, n_images: int) -> str:
    if n_images == 1 and prediction.table["kind"].iloc[0] == "nucleus":
        return nucleus_report(prediction.table, checkpoint)
    shown = tally.report(checkpoint)
    if n_images > 1:
        rest = [(tally.n_empty, "without a nucleus"), (tally.n_unreadable, "not read")]
        told = "".join(f", {n} {what}" for n, what in rest if n)
        shown = f"\nImages: {n_images}{told}\n{shown}"
    return shown


def _coloured(text: str, classes: tuple[str, ...], stream) -> str:
    """Colour the phases at the head of lines, on a terminal only."""
    if not stream.isatty():
        return text
    colours = class_colours(classes)
    lines = []
    for line in text.split("\n"):
        name = line.split("|")[0].strip()
        if name in colours:
            red, green, blue = (int(colours[name][i : i + 2], 16) for i in (1, 3, 5))
            line = line.replace(name, f"\x1b[38;2;{red};{green};{blue}m{name}\x1b[0m", 1)
        lines.append(line)
    return "\n".join(lines)


def _with_bar(predictions: Iterator[ImagePrediction], n_images: int) -> Iterator[ImagePrediction]:
    if n_images < _BAR_FROM or not sys.stderr.isatty():
        return predictions
    from tqdm import tqdm

    return tqdm(predictions, total=n_images, unit="image", leave=False)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError("--overlay", f"{folder} cannot be made ({error.strerror})", "name a folder") from error


def list_models() -> str:
    """Return the shipped models with their scores, as text."""
    return models_report([load_checkpoint(name) for name in shipped_names()], DEFAULT)

"""The commands `cellcycle predict`, `cellcycle models` and `cnncc`."""

import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from cellcycle import tasks
from cellcycle.checkpoint import load_checkpoint
from cellcycle.errors import RANGES, ImageError, SettingError, check_whole, shown
from cellcycle.files import is_stream, scratch_folder, whole_file
from cellcycle.images import expand
from cellcycle.phases import class_colours, rgb
from cellcycle.predict.extras import Extras, is_extra
from cellcycle.predict.given import Given
from cellcycle.predict.groups import layout, named_in
from cellcycle.predict.journal import Journal, key_of
from cellcycle.predict.many import look_first, run_batch, workers_of
from cellcycle.predict.output import row_writer
from cellcycle.predict.overlay import is_overlay
from cellcycle.predict.pairs import with_masks
from cellcycle.predict.predictor import AUTO, ImagePrediction, ModelChoice, Settings
from cellcycle.predict.target import check_target, format_of, is_standard_output
from cellcycle.predict.words import Tally, card_report, counted, image_line, models_report, nucleus_report

# Below this number of images, and of their bytes, starting processes takes more time than they save.
_ALL_CORES_FROM, _ALL_CORES_FROM_BYTES = 200, 2 << 20


def run_predict(
    paths: list[str],
    model: str = AUTO,
    settings: Settings | None = None,
    format_name: str | None = None,
    output: Path | None = None,
    extras: Extras | None = None,
    n_jobs: int | None = None,
    is_slide: bool = False,
    use_masks: Path | None = None,
    is_each: bool = False,
    plate_map: Path | None = None,
    dask: str = "",
) -> int:
    """Predict, print and write; return 0, or 1 if some of several images could not be read, or extras not be written.

    The default format follows from the name of the output file, or is a table; without a file, rows go to standard
    output. Without `n_jobs` there is one process, or one per core for many or large images. `dask` is an address for
    `cellcycle.tasks.cluster`; `use_masks` is a folder of label images that replace segmentation. A wrong model or
    option, or a single image that cannot be read, raises a `CellCycleError`.
    """
    name = format_of(format_name, output)
    if output is not None and is_standard_output(output):
        output = None
    _check_options(paths, output, n_jobs, is_each, is_slide)
    settings = settings or Settings()
    choice, images = ModelChoice.of(model, settings), _to_predict(paths, plate_map)
    extras = extras or Extras()
    if use_masks is not None:
        images = _paired(images, paths, use_masks, settings, extras)
    if output is not None:
        check_target(output, images)
    columns, notes = layout(images, plate_map)
    _note(*notes)
    is_much = _is_much([image.path for image in images if image.error is None])
    n_workers = min(n_jobs or (is_much and os.cpu_count()) or 1, len(images))
    extras.prepare(images, output)
    told = _Told(choice, len(images))

    def predictions(only: list[int] | None = None) -> Iterator[ImagePrediction]:
        return run_batch(images if only is None else [images[k] for k in only], do, extras)

    with ExitStack() as stack:
        # SIGTERM, as sent by a queue or by `timeout`, ends the run like Ctrl-C: no unfinished file is left.
        stack.enter_context(tasks.handled(signal.SIGTERM, lambda number, _: sys.exit(128 + number)))
        how = "slide" if is_slide else "each" if is_each else "together"
        journal = folder = None
        if output is not None and len(images) > 1 and not is_stream(output):
            key = key_of(images, [image.mask for image in images], choice, settings, extras, (how, columns))
            journal = stack.enter_context(Journal(output, key, choice, [image.targets for image in images]))
            folder = journal.folder
        folder = folder or stack.enter_context(scratch_folder())
        client = stack.enter_context(tasks.cluster(dask, n_jobs))
        do = stack.enter_context(workers_of(choice, settings, n_workers, client))
        notes = look_first(images, choice, settings, columns, how, do, folder)
        made = predictions() if journal is None else journal.run(predictions)
        if journal is not None:
            journal.heed([image.told for image in images])
            if len(journal):
                _note(f"{len(journal)} of {len(images)} images were finished by an earlier run that was stopped")
        _note(*notes)
        write, words = stack.enter_context(_outputs(name, output))
        for prediction in tasks.with_bar(made, images, "image"):
            told.add(prediction)
            if write is not None:
                write(prediction.table)
            elif len(images) > 1:
                print(shown(image_line(prediction)), file=words)
        if words is not None:
            print(told.report(words), file=words)
    if words is None and output is not None and sys.stdout is not None:
        # The file is complete by now.
        print(told.report(sys.stdout))
    _note(*told.notes(settings))
    return int(told.tally.n["unreadable"] + told.tally.n["unwritten"] > 0)


class _Told:
    """The messages of a run: errors are printed at once, the rest after all images."""

    def __init__(self, choice: ModelChoice, n_images: int):
        self.choice, self.n_images, self.tally = choice, n_images, Tally(choice.default.classes)
        self.warnings, self.remarks = set(), defaultdict(list)

    def add(self, prediction: ImagePrediction) -> None:
        """Count one image and print its errors, and each model's warning once; raise the error of a single image."""
        if prediction.error is not None:
            if self.n_images == 1:
                raise prediction.error
            print(f"Error: {prediction.error}", file=sys.stderr)
        if prediction.note:
            print(f"Error: {shown(prediction.note)}", file=sys.stderr)
        warning = prediction.checkpoint.warning if prediction.checkpoint else ""
        if warning and warning not in self.warnings:
            self.warnings.add(warning)
            _note(warning)
        self.last = prediction
        self.tally.add(prediction)
        if prediction.remark:
            self.remarks["the mask of ", f" is {prediction.remark}"].append(prediction.image)
        if prediction.plane_note:
            self.remarks["", f": {prediction.plane_note}"].append(prediction.image)

    def report(self, stream) -> str:
        """Return the summary for a stream, in colour if the stream is a terminal with colours."""
        is_one = self.n_images == 1 and self.last.columns["kind"] == ["nucleus"]
        text = nucleus_report(self.last) if is_one else ("\n" if self.n_images > 1 else "") + self.tally.report()
        return _coloured(text, self.tally.classes, stream)

    def notes(self, settings: Settings) -> Iterator[str]:
        """Yield the remarks on images, options that were not used, and what was read by which models."""
        for (before, after), of in self.remarks.items():
            more = f" and {before and 'of '}{len(of) - 1} other image{'s' if len(of) > 2 else ''}"
            yield f"{before}{of[0]}{more if len(of) > 1 else ''}{after}"
        named = {f"--segmentation {settings.segmentation}": settings.segmentation != Settings().segmentation}
        named |= {"--prior slide": settings.prior == "slide"}
        for option in (option for option, is_named in named.items() if is_named and not self.tally.n["fields"]):
            yield f"{option} was not used: it is for fields, and all images are crops of one nucleus"
        if self.tally.taken:
            yield f"read {'; '.join(counted(self.tally.taken))}"
        if self.choice.is_auto and self.tally.models:
            yield f"model {'; '.join(counted(self.tally.models))}"


def _check_options(paths: list[str], output: Path | None, n_jobs: int | None, is_each: bool, is_slide: bool) -> None:
    if output is None and (sys.stdout is None or sys.stdout.closed):
        raise SettingError("standard output", "it is closed", "name a file with --output")
    if n_jobs is not None:
        check_whole("--jobs", n_jobs, *RANGES["n_jobs"])
    if is_each and is_slide:
        raise SettingError("--each", "--slide was given too", "choose one of them, or neither")
    if not all(path.strip() for path in paths):
        raise SettingError("PATH", "an empty name", "name image files, folders or patterns")


def _paired(images, paths: list[str], use_masks: Path, settings: Settings, extras: Extras) -> list[Given]:
    """Return the images that are not masks of others, each with its mask from the folder `use_masks`."""
    if extras.masks is not None and os.path.realpath(extras.masks) == os.path.realpath(use_masks):
        raise SettingError("--masks", "it is the folder of --use-masks", "name another folder")
    if settings.segmentation != Settings().segmentation:
        raise SettingError("--segmentation", "the nuclei come from --use-masks", "leave one of them out")
    images, unused = with_masks(images, paths, use_masks)
    if unused:
        more = f" and {len(unused) - 1} more masks belong" if len(unused) > 1 else " belongs"
        _note(f"the mask {unused[0]}{more} to none of the images")
    return images


def _is_much(paths: list[str]) -> bool:
    """Return whether images are worth one process per core: many, or large, as folders and URLs are taken to be."""
    sizes = (file.stat().st_size if file.is_file() else _ALL_CORES_FROM_BYTES for file in map(Path, paths))
    return len(paths) >= _ALL_CORES_FROM or (len(paths) > 1 and sum(sizes) >= _ALL_CORES_FROM_BYTES)


def _to_predict(paths: list[str], plate_map: Path | None) -> list[Given]:
    """Return the images that paths name; of folders and patterns, without the files that earlier runs wrote.

    The map decides where names leave open whether files are fields. An overlay that was named itself is replaced by an
    error.
    """
    named, kept = set(paths), []
    for image in expand(paths, _note, partial(named_in, plate_map)):
        if image in named and is_overlay(image):
            image = ImageError(image, "it is an overlay of cellcycle, not an image", "name the image it was drawn on")
        if image in named or isinstance(image, ImageError) or not is_extra(image):
            kept.append(image)
    nothing = ImageError(paths[0], "it holds only overlays and masks", "name the images they were made from")
    return list(map(Given.of, kept or [nothing]))


@contextmanager
def _outputs(name: str, output: Path | None) -> Iterator[tuple]:
    """Yield a writer of rows and None, or None and a stream for text; files appear if the block ends without error."""
    if name != "table":
        with row_writer(name, output) as write:
            yield write, None
    elif output is None:
        yield None, sys.stdout
    else:
        with whole_file(output) as unfinished, open(unfinished, "w", encoding="utf-8") as words:
            yield None, words


def _note(*texts: str) -> None:
    for text in texts:
        print(f"Note: {shown(text)}", file=sys.stderr)


def _coloured(text: str, classes: tuple[str, ...], stream) -> str:
    """Return text with phases at the start of lines coloured, for a terminal with colours (https://no-color.org)."""
    lines = [shown(line) for line in text.split("\n")]
    if stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        colours = class_colours(classes)
        for k, line in enumerate(lines):
            if (name := line.split("|")[0].strip()) in colours:
                red, green, blue = rgb(colours[name])
                lines[k] = line.replace(name, f"\x1b[38;2;{red};{green};{blue}m{name}\x1b[0m", 1)
    return "\n".join(lines)


def list_models(name: str = "") -> str:
    """Return as text the shipped models with their scores, or the card of one model, by name or folder."""
    return card_report(load_checkpoint(name)) if name else models_report()

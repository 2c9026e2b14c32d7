"""Journal of the finished images of a run, in a file beside its output, from which the same command resumes."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from cellcycle import files
from cellcycle.errors import SettingError
from cellcycle.images.remote import at_once, is_url, state_at
from cellcycle.predict.extras import Extras
from cellcycle.predict.given import Shared
from cellcycle.predict.predictor import ImagePrediction, ModelChoice, Settings


def key_of(
    images: Sequence, masks: Sequence, choice: ModelChoice, settings: Settings, extras: Extras, read_as: tuple = ()
) -> str:
    """Return a hash of all on which rows depend: images and masks as they are now, models, settings, extras, version.

    `read_as` says how the images are read together, in types of JSON.
    """
    models = [choice.default.card, *([choice.anchored.card] if choice.is_auto else [])]
    facts = [
        version("cellcycle"),
        at_once(_state, images),
        [model["card_sha256"] for model in models],
        asdict(settings),
        [_state(os.path.abspath(mask) if isinstance(mask, Path) else mask) for mask in masks],
        {what: os.path.abspath(path) for what, path in extras.chosen().items()},
        read_as,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _state(image) -> list:
    """Return a name and a hash of the sizes and times of its files, which changes if the image is replaced.

    If the server of a URL gives no such data, the state is different each time.
    """
    path = str(image)
    if is_url(path):
        return [path, *(state_at(path) or [secrets.token_hex()])]
    with contextlib.suppress(OSError, ValueError):
        # An OME-Zarr is a folder, whose own time stays when chunks are written; a new chunk may have an older time.
        inside = [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]
        found = [(file[len(path) :], os.stat(file)) for file in (path, *sorted(inside))]
        told = [(name, one.st_size, one.st_mtime_ns) for name, one in found]
        return [path, hashlib.sha256(repr(told).encode()).hexdigest()]
    return [path]


class Journal(contextlib.AbstractContextManager):
    """Finished images of one run; kept if the run is stopped or killed, removed when it is complete.

    Rows are in a file; nuclei of unfinished images are in the `folder` beside it. An image that could not be read or
    drawn is not kept: the next run tries it again. So it does if its `targets`, the files beside its row, were removed
    or changed since, or if it is told something else (`heed`). If no journal can be written, or a live run of the same
    output holds it, the run continues without, and `folder` is None. Each key of `key_of` has its own until a run of
    the output is complete.
    """

    def __init__(self, output: Path, key: str, choice: ModelChoice, targets: Sequence[dict[str, Path]]):
        output = Path(os.path.realpath(output))
        name = hashlib.sha256(os.fsencode(output.name)).hexdigest()[:12]
        self.path, self._all = output.with_name(f".cellcycle-{name}-{key[:12]}.partial"), f".cellcycle-{name}-*.partial"
        self._choice, self._targets, self._stream = choice, targets, None
        self.folder: Path | None = self.path.with_suffix(".found.partial")
        # Offset of the row of each finished image, and hashes of what images are and were told.
        self._at: dict[int, int] = {}
        self._told, self._told_then = [""] * len(targets), {}
        try:
            self._open(key)
        except OSError:
            # For example, the disk has room for the file but not for the folder: earlier rows stay for the next run.
            self._let_go()
            self._at.clear()
        if self._stream is None:
            self.folder = None

    def __len__(self) -> int:
        """Number of finished images."""
        return len(self._at)

    def _open(self, key: str) -> None:
        stream = open(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666), "r+b")  # noqa: SIM115
        is_mine = files.is_locked(stream.fileno())
        if not is_mine:
            stream.close()
            if is_mine is None and not self.path.stat().st_size:
                self.path.unlink()
            return
        self._stream = stream
        head = json.dumps(key).encode() + b"\n"
        if stream.readline() != head:
            shutil.rmtree(self.folder, ignore_errors=True)
            stream.seek(0)
            stream.truncate()
            stream.write(head)
        end = stream.tell()
        for line in iter(stream.readline, b""):
            # The last line may be incomplete if its run was killed.
            try:
                row = json.loads(line)
                if row["targets"] == self._written(row["index"]):
                    self._at[row["index"]], self._told_then[row["index"]] = end, row["told"]
            except (ValueError, KeyError, TypeError):
                break
            end += len(line)
        stream.seek(end)
        stream.truncate()
        stream.flush()
        self.folder.mkdir(exist_ok=True)

    def _written(self, index: int) -> dict[str, list]:
        """Return the state of the existing files beside the row of an image, independent of the spelling of paths."""
        return {what: _state(path)[1:] for what, path in self._targets[index].items() if os.path.exists(path)}

    def heed(self, shared: Sequence[Shared]) -> None:
        """Forget finished images that were told something else before: other images could not be read then, or now."""
        told = (json.dumps(asdict(one), default=str) for one in shared)
        self._told = [hashlib.sha256(one.encode()).hexdigest()[:12] for one in told]
        self._at = {index: at for index, at in self._at.items() if self._told_then[index] == self._told[index]}

    def run(self, predict: Callable[[list[int]], Generator[ImagePrediction]]) -> Iterator:
        """Yield the predictions of all images in order: finished ones from the journal, the others from `predict`."""
        finished, n_images = dict(self._at), len(self._targets)
        made = predict([index for index in range(n_images) if index not in finished])
        # A separate stream, which stays open when nothing more can be kept.
        with contextlib.closing(made), open(self.path, "rb") if finished else contextlib.nullcontext() as rows:
            for index in range(n_images):
                if index in finished:
                    yield self._read(rows, finished[index])
                else:
                    prediction = next(made)
                    self._keep(index, prediction)
                    yield prediction

    def _read(self, rows: BinaryIO, at: int) -> ImagePrediction:
        rows.seek(at)
        row = json.loads(rows.readline())
        model = getattr(self._choice, row["model"]) if row["model"] else None
        return ImagePrediction(row["image"], row["columns"], model, **row["remarks"])

    def _keep(self, index: int, prediction: ImagePrediction) -> None:
        if self._stream is None or prediction.error is not None or prediction.note:
            return
        found = prediction.checkpoint
        model = "" if found is None else "default" if found.folder == self._choice.default.folder else "anchored"
        row = {"index": index, "model": model, "image": prediction.image, "columns": prediction.columns}
        row |= {"told": self._told[index], "targets": self._written(index)}
        row["remarks"] = {"remark": prediction.remark, "plane_note": prediction.plane_note}
        try:
            self._at[index] = self._stream.tell()
            self._stream.write(json.dumps(row).encode() + b"\n")
            self._stream.flush()
        except OSError:
            # A disk that is too full for the journal may still have room for the table.
            self._at.clear()
            self._let_go()

    def done(self) -> None:
        """Remove the journal, and those of other stopped runs of the same output."""
        self._at.clear()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._let_go()
        for path in self.path.parent.glob(self._all):
            with contextlib.suppress(OSError), open(path, "rb") as stream:
                if files.is_locked(stream.fileno()):
                    shutil.rmtree(path.with_suffix(".found.partial"), ignore_errors=True)
                    path.unlink()

    def _let_go(self) -> None:
        """Close the file; remove it if nothing is finished and nothing was found."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                if not self._at and not (self.folder.is_dir() and any(self.folder.iterdir())):
                    shutil.rmtree(self.folder, ignore_errors=True)
                    self.path.unlink(missing_ok=True)
                self._stream.close()
            self._stream = None

    def __exit__(self, kind, *_) -> None:
        """Keep the journal if the run was stopped, but not if it was refused before any row: it would be so again."""
        if self.folder is not None and not self._at and kind is not None and issubclass(kind, SettingError):
            shutil.rmtree(self.folder, ignore_errors=True)
        self._let_go() if kind else self.done()

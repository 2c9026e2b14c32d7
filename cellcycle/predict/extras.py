"""Files that are written for each image beside its rows: overlay, label image, outlines for QuPath and ImageJ."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cellcycle.errors import CellCycleError, SettingError
from cellcycle.images.remote import is_url
from cellcycle.images.writing import origin_of
from cellcycle.masks import MASK_SUFFIX, is_mask, write_mask
from cellcycle.names import telling_names
from cellcycle.outlines import OUTLINES_SUFFIX, ROIS_SUFFIX, is_outlines, write_geojson, write_rois
from cellcycle.predict.given import Given
from cellcycle.predict.overlay import OVERLAY_SUFFIX, is_overlay, write_overlay
from cellcycle.predict.predictor import ImagePrediction
from cellcycle.predict.target import try_to_write

_SUFFIXES = {"overlay": OVERLAY_SUFFIX, "masks": MASK_SUFFIX, "outlines": OUTLINES_SUFFIX, "rois": ROIS_SUFFIX}
# For a single image, these may be a file instead of a folder.
_FILES = {"outlines": (OUTLINES_SUFFIX, ".json"), "rois": (ROIS_SUFFIX,)}
# Separates an image from the channel or plane that was read; it occurs in no name.
_READ = "\0"
# Suffixes of files, which a folder seldom has.
_NO_FOLDER = (OUTLINES_SUFFIX, ".json", ROIS_SUFFIX, ".roi", ".tif", ".tiff", ".png", ".csv", ".txt")


@dataclass(frozen=True)
class Extras:
    """Folders for one file per image: pictures with outlines, label images, GeoJSON for QuPath, ROIs for ImageJ.

    With one image, `outlines` (.geojson, .json) and `rois` (.zip) may be a file. Each file records its image, and the
    channel or plane that was asked for, `read`.
    """

    overlay: Path | None = None
    masks: Path | None = None
    outlines: Path | None = None
    rois: Path | None = None
    read: str = ""

    def chosen(self) -> dict[str, Path]:
        """Return the path of each kind of file that is wanted."""
        return {name: Path(path) for name in _SUFFIXES if (path := getattr(self, name)) is not None}

    def targets(self, images: Sequence) -> list[dict[str, Path]]:
        """Return the files of each image, by kind; files of images of equal name begin with what distinguishes them."""
        if not self.chosen():
            return [{}] * len(images)
        names = telling_names(map(str, images))
        return [{what: _target(what, path, name) for what, path in self.chosen().items()} for name in names]

    def prepare(self, images: Sequence, output: Path | None = None) -> None:
        """Raise a `SettingError`, before the work begins, for files and folders that cannot, or must not, be written.

        A file must be neither the table, at `output`, nor another of these, nor, in a folder, that of another image.
        Folders are removed again, because the run may still be refused; `write` makes them.
        """
        taken = {} if output is None else {os.path.realpath(output): "--output"}
        for image, image.targets in zip(map(Given.of, images), self.targets(images), strict=True):
            for what, path in image.targets.items():
                if not _is_file(what, self.chosen()[what]) and (other := self._other_origin(path, image)):
                    raise SettingError(f"--{what}", f"{path} was made from {other}", "name another folder")
                other = taken.setdefault(os.path.realpath(path), f"--{what}")
                if other != f"--{what}":
                    raise SettingError(f"--{what}", f"{other} writes {path}, too", "name another file")
        for what, path in self.chosen().items():
            option, folder, is_file = f"--{what}", path, _is_file(what, path)
            if not is_file and path.suffix.lower() in _NO_FOLDER and not path.is_dir():
                ending = f", or a file ending in {_FILES[what][0]}" if what in _FILES else ""
                raise SettingError(option, f"{path} is not the name of a folder", f"name a folder{ending}")
            if is_file:
                if len(images) > 1:
                    raise SettingError(option, f"{path} is one file, for {len(images)} images", "name a folder")
                if os.path.lexists(path) and not is_outlines(path):
                    raise SettingError(option, f"{path} exists and is not of an earlier run", "name a new file")
                folder = path.parent
            missing = [above for above in (folder, *folder.parents) if not os.path.lexists(above)]
            try:
                folder.mkdir(parents=True, exist_ok=True)
                try_to_write(path, folder)
            except OSError as error:
                raise SettingError(option, f"{path} cannot be written ({error.strerror})", "name another") from error
            finally:
                for above in missing:
                    with suppress(OSError):
                        above.rmdir()

    def write(self, targets: dict[str, Path], prediction: ImagePrediction, classes: tuple[str, ...]) -> str:
        """Write the files of an image; return what could not be written, "" for nothing. The rows stay."""
        problems = []
        for what, path in targets.items():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                origin = _origin(prediction.plane.path, path)
                origin += f"{_READ}{self.read}" if origin and self.read else ""
                _WRITERS[what](path, prediction, classes, origin)
            except (CellCycleError, OSError, MemoryError) as error:
                problems.append(f"no {what}: {error}")
        return "; ".join(problems)

    def _other_origin(self, path: Path, image: Given) -> str:
        """Return from which other image, or channel or plane of this one, a file was made; "" for this image."""
        told, _, read = origin_of(path).partition(_READ)
        if not told or image.error is not None:
            return ""
        if other := _other_origin(told, path, image.path):
            return other
        return "" if read == self.read else f"{image}, {f'read with {read}' if read else f'read without {self.read}'}"


def _is_file(what: str, path: Path) -> bool:
    return what in _FILES and path.suffix.lower() in _FILES[what] and not os.path.isdir(path)


def _target(what: str, path: Path, name: str) -> Path:
    return path if _is_file(what, path) else path / f"{name}{_SUFFIXES[what]}"


def _origin(image: str, target: Path) -> str:
    """Return the path of an image relative to the folder of the file made of it, so that both can be moved together.

    "" for an image that is no file.
    """
    if is_url(image):
        # The query of a URL may contain keys.
        return image.partition("?")[0]
    if not os.path.lexists(image):
        return ""
    whole = os.path.realpath(image)
    with suppress(ValueError):  # on another drive
        whole = os.path.relpath(whole, os.path.realpath(target.parent))
    return Path(whole).as_posix()


def _other_origin(told: str, path: Path, image: str) -> str:
    """Return from which other image a file was made, by its record; "" if it is this one, perhaps moved since.

    If no image is at the recorded place, the image or the file may have been moved alone. The image then still has its
    name, and the folders below the one common to both.
    """
    if told == _origin(image, path):
        return ""
    if is_url(told) or is_url(image):
        return told
    where, below = path.parent.resolve() / told, tuple(part for part in Path(told).parts if part != "..")
    if where.exists():
        return "" if os.path.exists(image) and where.samefile(image) else os.path.normpath(where)
    return "" if Path(os.path.realpath(image)).parts[-len(below) :] == below else "/".join(below)


def is_extra(path) -> bool:
    """Return whether an image file is an overlay or mask that was written here, and no image to predict."""
    return is_overlay(path) or is_mask(path)


def _write_mask(path: Path, prediction: ImagePrediction, classes, origin: str) -> None:
    nuclei = prediction.nuclei
    write_mask(path, nuclei.labels, prediction.ids, nuclei.pixel_size_um if nuclei.scale_is_known else None, origin)


_WRITERS: dict[str, Callable] = {
    "overlay": write_overlay,
    "masks": _write_mask,
    "outlines": lambda path, made, *more: write_geojson(path, made.nuclei.labels, made.columns, *more),
    "rois": lambda path, made, *more: write_rois(path, made.nuclei.labels, made.columns, *more),
}

"""A lossless cache on disk of planes and the nuclei found in them, so that nothing is read or segmented twice."""

import contextlib
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from cellcycle.errors import ImageError
from cellcycle.images import Plane
from cellcycle.nuclei import Nuclei
from cellcycle.segmentation.artefacts import Picture, look_over
from cellcycle.segmentation.regions import bands

# Prefix of text columns, which are saved as str: NumPy saves objects only by pickle.
_TEXT = "text "
_PICTURE = "painted picture"
# The greatest value of 16 bits; float32, like pixels.
_MOST = np.float32(65535)
_BOX = ("bbox_top_px", "bbox_left_px", "bbox_bottom_px", "bbox_right_px")
_SEEN = ("nucleus_id", "centroid_y_px", "centroid_x_px", *_BOX, "integrated_dna", "area_px", "flags")


def slim(nuclei: Nuclei) -> Nuclei:
    """Return nuclei without arrays as large as their image, to keep those of all images in memory."""
    return replace(nuclei, labels=None, picture=None, measured={name: nuclei.measured[name] for name in _SEEN})


def keep(file: Path, plane: Plane, nuclei: Nuclei | None = None, with_pixels: bool = True) -> None:
    """Write a plane, and its nuclei, as an .npz file, with 2 bytes per pixel if that is lossless, else 4.

    Without the pixels, which can be read again, the file is small.
    """
    about, arrays = {"plane": asdict(replace(plane, pixels=None))}, {}
    if with_pixels:
        arrays["pixels"] = _in_steps(plane.pixels)
    else:
        about["sum"] = zlib.crc32(np.ascontiguousarray(plane.pixels))
    if nuclei is not None:
        arrays["labels"] = smallest(nuclei.labels)
        for name, values in nuclei.measured.items():
            is_text = values.dtype == object
            arrays[f"{_TEXT * is_text}{name}"] = values.astype(str) if is_text else values
        if with_pixels and nuclei.picture is not None and nuclei.picture.painted:
            arrays[_PICTURE] = nuclei.picture.pixels
        about["nuclei"] = asdict(replace(nuclei, measured={}, labels=None, picture=None))
    (np.savez if with_pixels else np.savez_compressed)(file, about=json.dumps(about), **arrays)


def kept(file: Path, read: Callable[[], Plane] | None = None) -> tuple[Plane, Nuclei | None]:
    """Return what `keep` wrote; `read` reads the plane again if it was kept without its pixels.

    Raises an `ImageError` if its pixels have changed since, as while a microscope still writes.
    """
    with np.load(file, allow_pickle=False) as found:
        arrays = dict(found)
    about, pixels = json.loads(str(arrays.pop("about"))), arrays.pop("pixels", None)
    if pixels is None:
        plane = read()
        if zlib.crc32(np.ascontiguousarray(plane.pixels)) != about["sum"]:
            raise ImageError(plane.path, "it was altered after its nuclei were found", "predict it again")
    else:
        about["plane"] |= {"pixels": pixels / _MOST if pixels.dtype == np.uint16 else pixels}
        plane = Plane(**about["plane"] | {"channels": tuple(about["plane"]["channels"])})
    if "nuclei" not in about:
        return plane, None
    labels = arrays.pop("labels").astype(np.int32)
    picture = Picture(arrays.pop(_PICTURE)) if _PICTURE in arrays else None
    if pixels is None:
        picture = look_over(plane.pixels)
    measured = dict(map(_column, arrays, arrays.values()))
    return plane, _nuclei(about, labels, measured, picture)


def seen(file: Path) -> Nuclei:
    """Return the nuclei that `keep` wrote, as `slim` would, without reading arrays as large as their image."""
    with np.load(file, allow_pickle=False) as found:
        about = json.loads(str(found["about"]))
        columns = dict(_column(name, found[name]) for name in found if name.removeprefix(_TEXT) in _SEEN)
    return _nuclei(about, None, columns, None)


def _nuclei(about: dict, labels, measured: dict, picture: Picture | None) -> Nuclei:
    known = about["nuclei"] | {"shape": tuple(about["nuclei"]["shape"])}
    return Nuclei(**known | {"labels": labels, "measured": measured, "picture": picture})


def _column(name: str, values: np.ndarray) -> tuple[str, np.ndarray]:
    return (name.removeprefix(_TEXT), values.astype(object)) if name.startswith(_TEXT) else (name, values)


def keep_if_possible(file: Path, plane: Plane, nuclei: Nuclei, with_pixels: bool = True) -> None:
    """As `keep`; if the disk refuses the file, leave nothing changed."""
    unfinished = file.with_name(f".{file.name}")
    with contextlib.suppress(OSError):
        try:
            keep(unfinished, plane, nuclei, with_pixels)
            os.replace(unfinished, file)
        finally:
            unfinished.unlink(missing_ok=True)


def smallest(labels: np.ndarray) -> np.ndarray:
    """Return labels as uint16 if that is enough, else unchanged."""
    return labels.astype(np.uint16) if labels.max(initial=0) < 2**16 else labels


def _in_steps(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as uint16 if that is lossless, else unchanged."""
    steps = np.empty(pixels.shape, np.uint16)
    for band in bands(pixels):
        steps[band] = np.rint(pixels[band] * _MOST)
        if not np.array_equal(steps[band] / _MOST, pixels[band]):
            return pixels
    return steps

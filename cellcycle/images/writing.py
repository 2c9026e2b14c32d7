"""Write images whole or not at all, with marks that identify files written by this package."""

import os
import re
import zlib
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import numpy as np

from cellcycle.errors import ImageError, SettingError, check_size
from cellcycle.files import whole_file

# Bytes read at each end of a file to find a mark; enough for one with the longest path.
_MARKED_BYTES = 16_000
# Mark of figures beside tables, so that they are not read as images.
FIGURE = "cellcycle figure"


def write_image(path, array: np.ndarray, pixel_size_um: float | None = None, mark: str = "") -> None:
    """Write gray (H, W) or RGB (H, W, 3) pixels as uint8 or uint16, gray TIFF also uint32; the suffix is the format.

    The folder must exist. A TIFF also gets the pixel size. `mark` is Latin-1 text that `has_mark` finds.
    """
    path, array = Path(path), np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    check_size("pixel_size_um", pixel_size_um, or_none=True)
    is_label = array.dtype == np.uint32 and array.ndim == 2 and path.suffix.lower() != ".png"
    is_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if not (array.dtype in (np.uint8, np.uint16) or is_label) or not is_shape or not array.size:
        finding = f"cannot write pixels of type {array.dtype} and shape {array.shape}"
        raise ImageError(path, finding, "give uint8 or uint16, gray (H, W) or RGB (H, W, 3)")
    encoders = {".png": _write_png, ".tif": _write_tiff, ".tiff": _write_tiff}
    if path.suffix.lower() not in encoders:
        raise ImageError(path, "cannot write this format", "end the name in .png, .tif or .tiff")
    try:
        with whole_file(path) as work:
            encoders[path.suffix.lower()](work, array, pixel_size_um, mark)
    except SettingError as error:
        raise ImageError(error.subject, error.finding, error.remedy) from error


def has_mark(path, mark: str) -> bool:
    """Return whether a file has a mark at its beginning or end, that is, was written by this package."""
    return mark.encode("latin-1") in _ends(path)


def mark_of(mark: str, origin: str) -> str:
    """Return a mark with the path of the image that a file was made from, if not ""; `origin_of` reads it."""
    return f"{mark} of <{quote(os.fsencode(origin))}>" if origin else mark


def origin_of(path) -> str:
    """Return the path of the image that a file was made from according to its mark, "" if it has none."""
    found = re.search(rb"cellcycle \w+ of <([^<>\s]+)>", _ends(path))
    return os.fsdecode(unquote_to_bytes(found[1])) if found else ""


def _ends(path) -> bytes:
    """Return the beginning and the end of a file, b"" if it is no regular file or not readable."""
    # Reading a pipe would block.
    if os.path.isfile(path):
        with suppress(OSError, ValueError), open(path, "rb") as stream:
            head = stream.read(_MARKED_BYTES)
            stream.seek(-min(_MARKED_BYTES, os.path.getsize(path)), os.SEEK_END)
            return head + stream.read()
    return b""


def refuse_unmarked(path, mark: str, what: str, remedy: str) -> None:
    """Refuse to replace an existing path that does not have the mark; `what` and `remedy` go into the error."""
    if os.path.lexists(path) and not has_mark(path, mark):
        raise ImageError(path, f"another file, which is no {what}, has this name", remedy)


def _write_png(path: Path, array: np.ndarray, pixel_size_um: float | None, mark: str) -> None:
    # Pillow has no 16-bit RGB, so the encoder of imagecodecs writes every PNG.
    import imagecodecs

    encoded = imagecodecs.png_encode(array)
    if mark:
        chunk = b"tEXtDescription\0" + mark.encode("latin-1")
        framed = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        encoded = encoded[:-12] + framed + encoded[-12:]  # before the last chunk, IEND
    path.write_bytes(encoded)


def _write_tiff(path: Path, array: np.ndarray, pixel_size_um: float | None, mark: str) -> None:
    import tifffile

    scale = {}
    if pixel_size_um is not None:
        scale = {"resolution": (1e4 / float(pixel_size_um),) * 2, "resolutionunit": "CENTIMETER"}
    photometric = "minisblack" if array.ndim == 2 else "rgb"
    tifffile.imwrite(path, array, photometric=photometric, compression="zlib", predictor=True, metadata=None,
                     description=mark or None, **scale)  # fmt: skip

"""Write images whole or not at all, and marks by which what was written here is known again."""

import os
import re
import zlib
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import numpy as np

from cellcycle.errors import ImageError, SettingError, check_size
from cellcycle.files import whole_file

# Room for a mark with the longest path.
_MARKED_BYTES = 16_000
# Of figures that lie beside tables of images: they are no images themselves.
FIGURE = "cellcycle figure"


def write_image(path, array: np.ndarray, pixel_size_um: float | None = None, mark: str = "") -> None:
    """Write gray (H, W) or RGB (H, W, 3) pixels of 8 or 16 bits, gray TIFFs also of 32, as the suffix says.

    The folder must exist. The edge of a pixel is written into a TIFF, `mark` (Latin-1) as `has_mark` reads it.
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
    """Say whether a file bears a mark at its beginning or end, and so was written by this package."""
    return mark.encode("latin-1") in _ends(path)


def mark_of(mark: str, origin: str) -> str:
    """Return a mark that tells of which image a file was made, where that is not ""; `origin_of` reads it."""
    return f"{mark} of <{quote(os.fsencode(origin))}>" if origin else mark


def origin_of(path) -> str:
    """Return the image of which a file says that it was made, "" for none."""
    found = re.search(rb"cellcycle \w+ of <([^<>\s]+)>", _ends(path))
    return os.fsdecode(unquote_to_bytes(found[1])) if found else ""


def _ends(path) -> bytes:
    """Return the beginning and the end of a file, nothing of what is none."""
    # A pipe would be waited for.
    if os.path.isfile(path):
        with suppress(OSError, ValueError), open(path, "rb") as stream:
            head = stream.read(_MARKED_BYTES)
            stream.seek(-min(_MARKED_BYTES, os.path.getsize(path)), os.SEEK_END)
            return head + stream.read()
    return b""


def refuse_unmarked(path, mark: str, what: str, remedy: str) -> None:
    """Refuse to replace whatever has a name but does not bear the mark."""
    if os.path.lexists(path) and not has_mark(path, mark):
        raise ImageError(path, f"a file that is no {what} has this name", remedy)


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

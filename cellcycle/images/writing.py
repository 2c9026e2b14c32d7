"""Write images whole or not at all."""

import os
import tempfile
from pathlib import Path

import numpy as np

from cellcycle.errors import ImageError


def write_image(path, array: np.ndarray, pixel_size_um: float | None = None) -> None:
    """Write a PNG or TIFF file, chosen by the suffix.

    Parameters
    ----------
    path : str or Path
        Ends in .png, .tif or .tiff; the folder must exist.
    array : ndarray (H, W) or (H, W, 3), uint8 or uint16
        Gray or RGB pixels.
    pixel_size_um : float, optional
        Edge of a pixel in the sample, written into a TIFF.

    Raises
    ------
    ImageError
        Another suffix, type or shape, or a folder that cannot be written to.
    """
    path, array = Path(path), np.ascontiguousarray(array)
    if array.dtype not in (np.uint8, np.uint16) or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ImageError(
            path,
            f"cannot write pixels of type {array.dtype} and shape {array.shape}",
            "give uint8 or uint16, gray (H, W) or RGB (H, W, 3)",
        )
    encoders = {".png": _write_png, ".tif": _write_tiff, ".tiff": _write_tiff}
    if path.suffix.lower() not in encoders:
        raise ImageError(path, "cannot write this format", "end the name in .png, .tif or .tiff")
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(descriptor)
        encoders[path.suffix.lower()](temporary, array, pixel_size_um)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise ImageError(path, f"cannot be written ({error.strerror or error})", "check the folder") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _write_png(path: str, array: np.ndarray, pixel_size_um: float | None) -> None:
    # Pillow has no 16-bit RGB, so the encoder of imagecodecs writes every PNG.
    import imagecodecs

    Path(path).write_bytes(imagecodecs.png_encode(array))


def _write_tiff(path: str, array: np.ndarray, pixel_size_um: float | None) -> None:
    import tifffile

    scale = {}
    if pixel_size_um is not None:
        scale = {"resolution": (1e4 / pixel_size_um, 1e4 / pixel_size_um), "resolutionunit": "CENTIMETER"}
    photometric = "minisblack" if array.ndim == 2 else "rgb"
    tifffile.imwrite(path, array, photometric=photometric, compression="zlib", predictor=True, metadata=None, **scale)

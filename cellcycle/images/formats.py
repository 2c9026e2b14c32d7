"""Open any image file as a `Stack`; every way of failing becomes an `ImageError` of one line."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cellcycle.errors import CellCycleError, ImageError
from cellcycle.images.stacks import Stack, channel_names, refuse_oversize, stack_of_array
from cellcycle.images.tiff import open_tiff

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
VENDOR_SUFFIXES = (".czi", ".nd2", ".lif", ".oib", ".oif", ".dv", ".r3d", ".ims", ".sldy")
IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".tif",
    ".tiff",
    ".btf",
    ".tf8",
    ".stk",
    ".lsm",
    *VENDOR_SUFFIXES,
)
# The other vendor formats are read by bioio-bioformats, which brings Java.
_PLUGINS = {
    ".czi": "bioio-czi",
    ".nd2": "bioio-nd2",
    ".lif": "bioio-lif",
    ".dv": "bioio-dv",
    ".r3d": "bioio-dv",
    ".sldy": "bioio-sldy",
}
_PILLOW_FORMATS = ("PNG", "JPEG", "BMP")


@contextmanager
def open_stack(path) -> Iterator[Stack]:
    """Open an image file; what it is, is read from its first bytes, not from its name.

    Parameters
    ----------
    path : str or Path
        The file.

    Yields
    ------
    Stack
        Its planes can be loaded while the context is open.

    Raises
    ------
    ImageError
        The file is missing, empty, damaged, too large or of an unknown format.
    """
    path = Path(path)
    try:
        signature = _signature(path)
        if path.suffix.lower() in VENDOR_SUFFIXES:
            yield _open_vendor(path)
        elif signature in _TIFF_SIGNATURES:
            with open_tiff(path) as stack:
                yield stack
        else:
            yield _open_pillow(path)
    except CellCycleError:
        raise
    except MemoryError as error:
        raise ImageError(path, "it does not fit into memory", "cut it into smaller fields") from error
    except Exception as error:
        # Decoders raise whatever they like on damaged files: OSError, ValueError, struct.error, their own
        # classes.
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ImageError(path, f"it cannot be decoded ({reason})", "export the image again") from error


def _signature(path: Path) -> bytes:
    if path.is_dir():
        raise ImageError(path, "this is a folder, not an image", "name a file in it")
    if not path.exists():
        raise ImageError(path, "there is no such file", "check the path")
    with open(path, "rb") as file:
        signature = file.read(4)
    if not signature:
        raise ImageError(path, "the file is empty", "export the image again")
    return signature


def _open_pillow(path: Path) -> Stack:
    """Read PNG, JPEG or BMP without any of Pillow's conversions that lose intensities."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_PILLOW_FORMATS) as image:
                n_channels = len(image.getbands())
                refuse_oversize(
                    path,
                    image.height,
                    image.width,
                    image.height * image.width * n_channels,
                    path.stat().st_size,
                )
                return stack_of_array(str(path), _decode(path, image))
    except UnidentifiedImageError as error:
        raise ImageError(path, "this is no image in a known format", "give PNG, JPEG, BMP, TIFF or OME-TIFF") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            path,
            "its header announces more pixels than PNG, JPEG and BMP are read with here (179 million)",
            "save large images as TIFF, or export the image again if that size is wrong",
        ) from error


def _decode(path: Path, image) -> np.ndarray:
    """Return the pixels of an opened Pillow image as (H, W) or (H, W, channels)."""
    if image.format == "PNG" and _is_deep_colour(path):
        # Pillow cuts PNGs of 16 bits with several channels down to 8.
        import imagecodecs

        return imagecodecs.png_decode(path.read_bytes())
    if image.mode == "1":
        return np.asarray(image, dtype=bool)
    if image.mode == "P":
        return np.asarray(image.convert("RGBA"))
    if image.mode in ("CMYK", "YCbCr", "PA"):
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image)
    return pixels.astype(np.uint16) if image.format == "PNG" and pixels.dtype == np.int32 else pixels


def _is_deep_colour(path: Path) -> bool:
    """Say whether a PNG has 16 bits and more than one channel (bytes 24 and 25 of its header)."""
    with open(path, "rb") as file:
        header = file.read(26)
    return header[24] == 16 and header[25] != 0


def _open_vendor(path: Path) -> Stack:
    """Read a vendor's file through bioio, which has one plugin per format."""
    try:
        from bioio import BioImage
        from bioio_base.exceptions import UnsupportedFileFormatError
    except ImportError as error:
        raise _without_plugin(path, "this vendor format needs the package bioio") from error
    try:
        image = BioImage(path)
    except UnsupportedFileFormatError as error:
        raise _without_plugin(path, "no installed plugin of bioio reads it") from error
    if len(image.scenes) > 1:
        raise ImageError(path, f"it holds {len(image.scenes)} fields of view", "export one file per field")
    dims = image.dims
    refuse_oversize(path, dims.Y, dims.X, 0, path.stat().st_size)
    names = channel_names(dims.C, list(image.channel_names or []))
    return Stack(
        str(path),
        # bioio's own get_image_data would load all planes of the file for each of them.
        lambda t, c, z: np.asarray(image.get_image_dask_data("YX", T=t, C=c, Z=z).compute()),
        n_times=dims.T,
        n_channels=dims.C,
        n_z=dims.Z,
        channel_names=names,
        pixel_size_um=image.physical_pixel_sizes.X,
    )


def _without_plugin(path: Path, finding: str) -> ImageError:
    plugin = _PLUGINS.get(path.suffix.lower(), "bioio-bioformats")
    return ImageError(path, finding, f"run: pip install bioio {plugin}  (or export the image as OME-TIFF)")

"""Open any image file as a `Stack`; every failure becomes an `ImageError` of one line."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cellcycle.errors import ImageError, needing
from cellcycle.images.bounded import bytes_of, quiet
from cellcycle.images.judge import TIFF_SIGNATURES, VENDOR_SUFFIXES, one_line, signature_of
from cellcycle.images.omezarr import opened
from cellcycle.images.stacks import Stack, channel_names, refuse_oversize, stack_of_array, usable_size
from cellcycle.images.tiff import open_tiff

_TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".stk", ".lsm", ".flex", ".qptiff", ".svs", ".scn", ".gel",
                  ".ndpi")  # fmt: skip
_OTHERS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib")
IMAGE_SUFFIXES = (*_OTHERS, *_TIFF_SUFFIXES, *VENDOR_SUFFIXES)
# Images of kinds that are not read: the user is told that they were left out.
UNREAD_SUFFIXES = (".gif", ".webp", ".jp2", ".jxr", ".heic", ".avif", ".mrc", ".fits", ".psd", ".tif.gz", ".tiff.gz",
                   ".zarr.zip", ".ozx")  # fmt: skip
# The other vendor formats are read by bioio-bioformats, which brings Java.
_PLUGINS = {f".{name}": f"bioio-{name}" for name in ("czi", "nd2", "lif", "dv", "sldy")} | {".r3d": "bioio-dv"}
_PILLOW_FORMATS = ("PNG", "JPEG", "BMP")


@contextmanager
def open_stack(path, as_numbers: bool = False) -> Iterator[Stack]:
    """Open an image file as a `Stack` while the context is open; its first bytes tell the format, or a vendor's suffix.

    With `as_numbers` the stack gives the stored numbers: no palette is applied and "0 is white" is not inverted.
    """
    path = Path(path)
    with one_line(path), warnings.catch_warnings():
        # Warnings of decoders are hidden: either a file is read, or one error says why not.
        warnings.simplefilter("ignore")
        signature = signature_of(path)
        if not signature:
            yield opened(path, bytes_of(path))[0]
        elif path.suffix.lower() in VENDOR_SUFFIXES:
            yield _open_vendor(path)
        elif signature in TIFF_SIGNATURES:
            with open_tiff(path, as_numbers) as stack:
                yield stack
        elif signature == b"PK\3\4":
            raise ImageError(path, "it is a packed archive", "unpack it, and give the folder or file that was in it")
        else:
            yield _open_pillow(path, as_numbers)


def is_tiff(path: Path) -> bool:
    """Return whether `path` is a file that begins like a TIFF and has no suffix of a vendor format."""
    return path.is_file() and path.suffix.lower() not in VENDOR_SUFFIXES and signature_of(path) in TIFF_SIGNATURES


def _open_pillow(path: Path, as_numbers: bool) -> Stack:
    """Read PNG, JPEG or BMP without those conversions of Pillow that lose intensities."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_PILLOW_FORMATS) as image:
            n_bytes, n_pixels = path.stat().st_size, image.height * image.width
            n_channels = len(image.getbands())
            if image.format == "PNG" and (n_frames := getattr(image, "n_frames", 1)) > 1:
                raise ImageError(path, f"it is an animation of {n_frames} pictures", "save each as a file of its own")
            # Pillow expands palettes and colours to up to four channels.
            refuse_oversize(path, image.height, image.width, n_pixels * n_channels, n_bytes, 4 * n_pixels)
            return stack_of_array(str(path), _decode(path, image, as_numbers))
    except UnidentifiedImageError as error:
        raise ImageError(path, "this is no image in a known format", "give PNG, JPEG, BMP, TIFF or OME-TIFF") from error
    except Image.DecompressionBombError as error:
        finding = "its header announces more than 179 million pixels, the most that are read from PNG, JPEG and BMP"
        remedy = "save large images as TIFF, or export the image again if that size is wrong"
        raise ImageError(path, finding, remedy) from error


def _decode(path: Path, image, as_numbers: bool) -> np.ndarray:
    """Return the pixels of an opened Pillow image as (H, W) or (H, W, channels)."""
    if image.format == "PNG":
        with open(path, "rb") as file:
            bits, colours = file.read(26)[24:]
        # Pillow cuts PNGs of 16 bits with several channels down to 8.
        if bits == 16 and colours:
            import imagecodecs

            with quiet():
                return imagecodecs.png_decode(path.read_bytes())
    if image.mode == "P" and not as_numbers:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB") if image.mode == "CMYK" else image)


def _open_vendor(path: Path) -> Stack:
    """Read a vendor's file through bioio, which has one plugin per format."""
    plugin = _PLUGINS.get(path.suffix.lower(), "bioio-bioformats")
    remedy = f"run: pip install bioio {plugin}  (or export the image as OME-TIFF)"
    with needing(path, "this vendor format needs the package bioio", remedy, ImageError):
        from bioio import BioImage
        from bioio_base.exceptions import UnsupportedFileFormatError
    try:
        image = BioImage(path)
    except UnsupportedFileFormatError as error:
        raise ImageError(path, "no installed plugin of bioio reads it", remedy) from error
    if len(image.scenes) > 1:
        raise ImageError(path, f"it holds {len(image.scenes)} fields of view", "export one file per field")
    dims = image.dims
    refuse_oversize(path, dims.Y, dims.X, 0, path.stat().st_size)
    pixel_size_um, note = usable_size(image.physical_pixel_sizes.X, image.physical_pixel_sizes.Y)
    return Stack(
        str(path),
        # bioio's own get_image_data would load all planes of the file for each of them.
        lambda t, c, z: np.asarray(image.get_image_dask_data("YX", T=t, C=c, Z=z).compute()),
        n_times=dims.T,
        n_z=dims.Z,
        channel_names=channel_names(dims.C, list(image.channel_names or [])),
        pixel_size_um=pixel_size_um,
        note=note,
    )

"""What the page accepts: sizes that are checked before any pixel is unpacked."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from cellcycle.errors import ImageError, SettingError

# As browsers and Gradio count.
MB = 1 << 20
_MEGAPIXEL = 1_000_000


@dataclass(frozen=True)
class Limits:
    """How much one server takes; MB are of 1024 x 1024 bytes.

    Parameters
    ----------
    file_mb : float
        Largest file.
    megapixels : float
        Most pixels of one plane of an image, in millions.
    stack_megapixels : float
        Most pixels of all planes and channels of an image together, in millions.
    files : int
        Most images in one request.
    request_megapixels : float
        Most pixels of all images of one request, one plane each, in millions.
    request_mb : float
        Largest request, all its files together.
    at_once : int
        Images that are worked on at a time; further ones wait.
    waiting : int
        Requests that may wait; further ones are sent away.
    kept_mb : float
        Memory for results that visitors may still look at; the oldest make room.
    kept_s : float
        Time after which a result nobody looks at is forgotten.
    """

    file_mb: float = 200
    megapixels: float = 25
    stack_megapixels: float = 500
    files: int = 50
    request_megapixels: float = 100
    request_mb: float = 1000
    at_once: int = 2
    waiting: int = 200
    kept_mb: float = 1000
    kept_s: float = 3600

    def check_count(self, n_files: int) -> None:
        """Raise `SettingError` where one request has too many files."""
        if n_files > self.files:
            raise SettingError(
                "images", f"{n_files} are more than the {self.files} of one go", "give them in smaller parts"
            )

    def check_file(self, path: Path, name: str) -> float:
        """Return the pixels of one plane of a file, in millions, or raise `ImageError` where it is too large.

        Parameters
        ----------
        path : Path
            The file.
        name : str
            What its owner calls it.
        """
        megabytes = path.stat().st_size / MB
        if megabytes > self.file_mb:
            raise ImageError(
                name, f"it has {megabytes:.0f} MB, more than {self.file_mb:g}", "cut it into smaller fields"
            )
        plane, stack = (pixels / _MEGAPIXEL for pixels in announced_pixels(path))
        if plane > self.megapixels:
            raise ImageError(
                name,
                f"it has {plane:.0f} million pixels, more than the {self.megapixels:g} million of this page",
                "cut it into smaller fields, or use the command cellcycle predict",
            )
        if stack > self.stack_megapixels:
            raise ImageError(
                name,
                f"its planes have {stack:.0f} million pixels together, more than {self.stack_megapixels:g} million",
                "give one plane or a projection of it",
            )
        return plane


def announced_pixels(path: Path) -> tuple[int, int]:
    """Read from the head of an image file how many pixels one plane has, and all of them together.

    Parameters
    ----------
    path : Path

    Returns
    -------
    plane, all : int
        Both 0 for what is no image: reading it will say why.
    """
    with open(path, "rb") as file:
        head = file.read(4)
    try:
        if head[:2] in (b"II", b"MM"):
            import tifffile

            with tifffile.TiffFile(path) as tiff:
                shapes = [(series.shape, dict(zip(series.axes, series.shape, strict=True))) for series in tiff.series]
            planes = [sizes.get("Y", 0) * sizes.get("X", 0) for _, sizes in shapes]
            return max(planes, default=0), max((prod(shape) for shape, _ in shapes), default=0)
        from PIL import Image

        with Image.open(path, formats=("PNG", "JPEG", "BMP")) as image:
            return image.width * image.height, image.width * image.height * len(image.getbands())
    except Exception:
        # Whatever a decoder raises on a damaged head, `read_plane` will say in one line.
        return 0, 0

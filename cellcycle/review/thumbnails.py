"""Small pictures of single nuclei with what lies around them, out of the images that a prediction table names."""

import base64
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from cellcycle.errors import DataError, ImageError
from cellcycle.files import sha256_of
from cellcycle.images import read_plane
from cellcycle.names import shown_name

SIDE_PX = 128
# A picture shows this much of the surroundings of a typical nucleus, and of a large one at least the second.
_AROUND, _AROUND_LARGE = 2.4, 1.3
_LEAST_PX = 16
_QUALITY = 85


@dataclass(frozen=True)
class Thumbnail:
    """A nucleus for the eye.

    Attributes
    ----------
    row : int
        Position of its row in the table.
    jpeg : str
        Gray, `SIDE_PX` square, base64; stretched from the image's background to the brightest of this nucleus.
    box : list of float
        Left, top, width and height of the nucleus, in shares of the picture; empty where the image shows one nucleus.
    brightness : float
        Brightest of this picture over the brightest of its image: dims it to what its neighbours are shown at.
    side_um : float
        Width that the picture shows; NaN where the pixel size is not known.
    sha256 : str
        Of the file of the image, so that training can tell it from another of the same name.
    """

    row: int
    jpeg: str
    box: list[float]
    brightness: float
    side_um: float
    sha256: str


def thumbnails(table, rows, images, channel=None, plane=None) -> Iterator[Thumbnail | ImageError]:
    """Cut nuclei out of their images, one image in memory at a time.

    Parameters
    ----------
    table : pandas.DataFrame
        As `read_table` gives it.
    rows : sequence of int
        Positions of the nuclei.
    images : str or Path
        Folder that holds the images, at the paths of the table or anywhere under it.
    channel, plane : optional
        As `cellcycle.images.read_plane` takes them; those of the prediction.

    Yields
    ------
    Thumbnail or ImageError
        An error stands for all nuclei of an image that is gone, unreadable, or another one of the same name.
    """
    folder, part = _Folder(Path(images)), table.iloc[list(rows)].assign(row=list(rows))
    typical_px = _typical_side_px(table[table["nucleus_id"].notna()])
    for name, nuclei in part.groupby("image", sort=False):
        try:
            file = folder.find(name, _stated_hash(nuclei))
            sha256 = sha256_of(file)
            pixels = read_plane(file, channel, plane).pixels
            _check_place(name, file, nuclei, pixels.shape)
        except ImageError as error:
            yield error
            continue
        low, high = np.percentile(pixels[::4, ::4], [0.5, 99.8])
        for _, nucleus in nuclei.iterrows():
            yield _cut(pixels, nucleus, typical_px, float(low), float(high), sha256)


class _Folder:
    """The files under a folder, by name; listed when an image does not lie where the table says."""

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise DataError(folder, "there is no such folder", "name the folder of the images with --images")
        self._folder, self._files = folder, None

    def find(self, name: str, sha256: str) -> Path:
        """Return the file of an image, or raise an ImageError that says why there is none."""
        found = self._candidates(name)
        if sha256:
            same = [file for file in found if sha256_of(file) == sha256]
            if found and not same:
                finding = f"{found[0]} is another image of the same name (its content has changed)"
                raise ImageError(name, finding, "give the image that was predicted, or predict this one")
            found = same[:1]
        if not found:
            raise ImageError(name, f"no such image under {self._folder}", "name its folder with --images")
        if len(found) > 1:
            finding = f"{len(found)} images under {self._folder} could be it ({found[0]}, {found[1]})"
            raise ImageError(name, finding, "name a folder that holds one of them")
        return found[0]

    def _candidates(self, name: str) -> list[Path]:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if parts and ".." not in parts and "\0" not in name:
            exact = self._folder.joinpath(*(part for part in parts if part != "/"))
            for path in (exact, Path(name)):
                if path.is_file() and path.absolute().is_relative_to(self._folder.absolute()):
                    return [path]
        if self._files is None:
            self._files = {}
            for folder, _, files in os.walk(self._folder):
                for file in files:
                    # A table shows odd names (a tab, a backslash) in a way of its own.
                    for key in {file, _last_part(shown_name(file))}:
                        self._files.setdefault(key, []).append(Path(folder) / file)
        same = list({file for key in (*parts[-1:], _last_part(name)) for file in self._files.get(key, [])})
        shared = [_shared_end(file.parts, parts) for file in same]
        return sorted(f for f, n in zip(same, shared, strict=True) if n == max(shared))


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]


def _shared_end(one, other) -> int:
    """Return how many of the last parts of two paths agree."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _stated_hash(nuclei) -> str:
    return str(nuclei["image_sha256"].iloc[0]).lower() if "image_sha256" in nuclei else ""


def _check_place(name: str, file: Path, nuclei, shape: tuple[int, int]) -> None:
    """Refuse an image that is too small to hold the nuclei of the table."""
    bottom, right = (int(nuclei[f"bbox_{side}_px"].max()) for side in ("bottom", "right"))
    if bottom > shape[0] or right > shape[1]:
        finding = f"{file} is {shape[1]} x {shape[0]} px, but a nucleus lies at {right}, {bottom}: another image"
        raise ImageError(name, finding, "give the image that was predicted, or predict this one")


def _sides_px(nuclei) -> np.ndarray:
    high, wide = (nuclei[f"bbox_{b}_px"] - nuclei[f"bbox_{a}_px"] for a, b in (("top", "bottom"), ("left", "right")))
    return np.maximum(high, wide).to_numpy(dtype=float)


def _pixel_size(nuclei) -> np.ndarray:
    known = nuclei["pixel_size_um"] if "pixel_size_um" in nuclei else np.full(len(nuclei), np.nan)
    return np.asarray(known, dtype=float)


def _typical_side_px(nuclei) -> dict:
    """Return the side of the pictures in pixels of each image: the same in um, so that sizes can be compared."""
    size_um = np.where(np.isfinite(_pixel_size(nuclei)), _pixel_size(nuclei), 1.0)
    side_um = _AROUND * float(np.median(_sides_px(nuclei) * size_um))
    return dict(zip(nuclei["image"], side_um / size_um, strict=True))


def _cut(pixels: np.ndarray, nucleus, typical_px: dict, low: float, high: float, sha256: str) -> Thumbnail:
    from PIL import Image

    top, left, bottom, right = (int(nucleus[f"bbox_{side}_px"]) for side in ("top", "left", "bottom", "right"))
    if nucleus.get("kind") == "nucleus":
        (height, width), box = pixels.shape, None
        side, y, x = max(height, width), (height - max(height, width)) // 2, (width - max(height, width)) // 2
    else:
        side = int(max(typical_px[nucleus["image"]], _AROUND_LARGE * max(bottom - top, right - left), _LEAST_PX))
        y, x = (top + bottom - side) // 2, (left + right - side) // 2
        box = (left - x, top - y, right - left, bottom - top)
    window = np.full((side, side), low, np.float32)
    inside = pixels[max(y, 0) : y + side, max(x, 0) : x + side]
    window[max(-y, 0) :, max(-x, 0) :][: inside.shape[0], : inside.shape[1]] = inside
    own = window if box is None else window[box[1] : box[1] + box[3], box[0] : box[0] + box[2]]
    brightest = max(float(np.percentile(own, 99.8)), low + 1e-6)
    gray = np.clip((window - low) * (255 / (brightest - low)), 0, 255).astype(np.uint8)
    packed = io.BytesIO()
    resampling = Image.Resampling.BOX if side > SIDE_PX else Image.Resampling.BICUBIC
    Image.fromarray(gray).resize((SIDE_PX, SIDE_PX), resampling).save(packed, "JPEG", quality=_QUALITY)
    return Thumbnail(
        row=int(nucleus["row"]),
        jpeg=base64.b64encode(packed.getvalue()).decode(),
        box=[] if box is None else [round(v / side, 4) for v in box],
        brightness=round(min((brightest - low) / max(high - low, 1e-6), 1.0), 3),
        side_um=round(side * float(_pixel_size(nucleus.to_frame().T)[0]), 1),
        sha256=sha256,
    )

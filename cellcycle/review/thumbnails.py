"""Small pictures of single nuclei with what lies around them, out of the images that a prediction table names."""

import base64
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellcycle.cutting import window_of
from cellcycle.datasets.labels import READ_COLUMNS, read_stated, stated
from cellcycle.datasets.lookup import ImageFolder
from cellcycle.errors import DataError, ImageError
from cellcycle.files import sha256_of
from cellcycle.review.table import BOX_COLUMNS

SIDE_PX = 128
# A picture shows this much of the surroundings of a typical nucleus, and of a large one at least the second.
_AROUND, _AROUND_LARGE = 2.4, 1.3
_LEAST_PX = 16
_QUALITY = 85
# So much of the light of a nucleus, which fields hardly change, lies in its box in so many of them; where another image
# lies there, in half of them or fewer.
_LEAST_LIGHT, _LEAST_SHARE = 0.7, 0.75


@dataclass(frozen=True)
class Thumbnail:
    """A nucleus for the eye, of a `row` of the table.

    `jpeg` is gray, `SIDE_PX` square, base64; stretched from the image's background to the brightest of this nucleus.
    `box` is left, top, width and height of the nucleus, in shares of the picture; empty where the image shows one.
    `brightness`, that of this picture over the brightest of its image, dims it to what its neighbours are shown at.
    `side_um` is the width that it shows, NaN where the pixel size is not known; `sha256` that of the file of the image,
    so that training can tell it from another of the same name.
    """

    row: int
    jpeg: str
    box: list[float]
    brightness: float
    side_um: float
    sha256: str


def thumbnails(table, rows, images, channel=None, plane=None) -> Iterator[Thumbnail | ImageError]:
    """Cut nuclei, the given rows of a table, out of their images, one image in memory at a time.

    The images lie in a folder, at the paths of the table or anywhere under it. They are read as the table says that
    they were predicted, in its columns `channel` and `planes`, or in the `channel` and `plane` given here, which are
    those of `cellcycle.images.read_plane`; each channel and plane of an image is a picture of its own. An `ImageError`
    stands for all nuclei of a picture that is gone, unreadable, or another one of the same name.
    """
    folder = Path(images)
    if not os.path.isdir(folder):
        raise DataError(folder, "there is no such folder", "name the folder of the images")
    if "pixel_size_um" in table:
        is_size = table["pixel_size_um"].between(0, np.inf, inclusive="neither")
        table = table.assign(pixel_size_um=table["pixel_size_um"].where(is_size))
    part = table.iloc[list(rows)].assign(row=list(rows))
    found = ImageFolder(folder, False, table["image"].unique())
    part = part.assign(**stated(part))
    typical_um = _typical_side_um(table[table["nucleus_id"].notna()])
    for name, of_image in part.groupby("image", sort=False):
        try:
            file = found.find(name, str(of_image["image_sha256"].iloc[0]) if "image_sha256" in of_image else "")
            sha256 = sha256_of(file)
        except ImageError as error:
            yield error
            continue
        for said, nuclei in of_image.groupby(list(READ_COLUMNS), sort=False):
            try:
                pixels = read_stated(file, *said, channel, plane).pixels
                _check_place(name, file, nuclei, pixels.shape)
                if channel is None and plane is None:
                    _check_light(name, file, nuclei, pixels)
            except ImageError as error:
                yield error
                continue
            low, high = np.percentile(pixels[::4, ::4], [0.5, 99.8])
            for _, nucleus in nuclei.iterrows():
                yield _cut(pixels, nucleus, typical_um, float(low), float(high), sha256)


def _check_place(name: str, file: Path, nuclei, shape: tuple[int, int]) -> None:
    """Refuse an image that is too small to hold the nuclei of the table."""
    bottom, right = (int(nuclei[f"bbox_{side}_px"].max()) for side in ("bottom", "right"))
    if bottom > shape[0] or right > shape[1]:
        finding = f"{file} is {shape[1]} x {shape[0]} px, but a nucleus lies at {right}, {bottom}: another image"
        raise ImageError(name, finding, "give the image that was predicted, or predict this one")


def _check_light(name: str, file: Path, nuclei, pixels: np.ndarray) -> None:
    """Refuse an image that is dark where the table has nuclei: in the box of one is at least its own light."""
    if not {"mean_dna", "area_px", "background", "flags"} <= set(nuclei):
        return
    told = nuclei[["mean_dna", "area_px", "background"]].astype(float).assign(flags=nuclei["flags"].astype(str))
    # What even light would be is told, not what the picture holds.
    uneven = nuclei["light"].astype(float).fillna(1.0) if "light" in nuclei else 1.0
    boxes = nuclei[[*BOX_COLUMNS]].astype(int).itertuples(index=False, name=None)
    own = [pixels[top:bottom, left:right] for top, left, bottom, right in boxes]
    found = np.array([box.sum(dtype=float) for box in own]) - told["background"] * [box.size for box in own]
    share = (found / (told["mean_dna"] * told["area_px"] * uneven))[~told["flags"].str.contains("inverted")].dropna()
    if len(share) and (share > _LEAST_LIGHT).mean() < _LEAST_SHARE:
        finding = f"{file} is dark where the table has nuclei: another image, or another channel of it"
        raise ImageError(name, finding, "give the image that was predicted, or predict this one")


def _typical_side_um(nuclei) -> float:
    """Return the side of the pictures, the same for all in um so that sizes compare; unknown pixels count as 1 um."""
    high, wide = (nuclei[f"bbox_{b}_px"] - nuclei[f"bbox_{a}_px"] for a, b in (("top", "bottom"), ("left", "right")))
    known = np.asarray(nuclei.get("pixel_size_um", np.nan), dtype=float)
    return _AROUND * float(np.median(np.maximum(high, wide) * np.where(np.isfinite(known), known, 1.0)))


def _cut(pixels: np.ndarray, nucleus, typical_um: float, low: float, high: float, sha256: str) -> Thumbnail:
    from PIL import Image

    top, left, bottom, right = (int(nucleus[name]) for name in BOX_COLUMNS)
    size_um = float(nucleus.get("pixel_size_um", np.nan))
    if nucleus.get("kind") == "nucleus":
        side, box = max(pixels.shape), None
        y, x = ((length - side) // 2 for length in pixels.shape)
    else:
        typical_px = typical_um / (size_um if np.isfinite(size_um) else 1.0)
        side = int(max(typical_px, _AROUND_LARGE * max(bottom - top, right - left), _LEAST_PX))
        y, x = (top + bottom - side) // 2, (left + right - side) // 2
        box = (left - x, top - y, right - left, bottom - top)
    window = window_of(pixels, (y, x), side, low)
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
        side_um=round(side * size_um, 1),
        sha256=sha256,
    )

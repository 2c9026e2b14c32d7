"""Small pictures of single nuclei with their surroundings, cut from the images that a prediction table names."""

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
# Side of a picture relative to the median nucleus, and at least relative to the nucleus itself.
_AROUND, _AROUND_LARGE = 2.4, 1.3
_LEAST_PX = 16
_QUALITY = 85
# The right image has at least this fraction of a nucleus's recorded light in its box, for at least this fraction of the
# nuclei; in a wrong image half of them or fewer reach it.
_LEAST_LIGHT, _LEAST_SHARE = 0.7, 0.75


@dataclass(frozen=True)
class Thumbnail:
    """A picture of the nucleus in position `row` of the table.

    `jpeg` is gray, `SIDE_PX` square, base64; stretched from the image's background to the brightest of this nucleus.
    `box` is left, top, width and height of the nucleus as fractions of the picture; empty if the image is a crop.
    `brightness` (0 to 1) is this picture's maximum relative to its image's; it dims the picture to the common scale.
    `side_um` is the width that it shows, NaN if the pixel size is unknown; `sha256` is that of the image file, so that
    training can tell it from another of the same name.
    """

    row: int
    jpeg: str
    box: list[float]
    brightness: float
    side_um: float
    sha256: str


def thumbnails(table, rows, images, channel=None, plane=None) -> Iterator[Thumbnail | ImageError]:
    """Yield pictures of the nuclei at positions `rows` of a table, with one image in memory at a time.

    `images` is the folder of the images, which lie at the paths of the table or anywhere below. They are read in the
    table's `channel` and `planes`, or in the `channel` and `plane` given here (of `cellcycle.images.read_plane`); each
    channel and plane of an image is a picture of its own. One `ImageError` is yielded for all nuclei of a picture that
    is missing, unreadable, or another one of the same name. DataError if there is no such folder.
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
    """Raise ImageError if an image is too small to hold the nuclei of the table."""
    bottom, right = (int(nuclei[f"bbox_{side}_px"].max()) for side in ("bottom", "right"))
    if bottom > shape[0] or right > shape[1]:
        finding = f"{file} is {shape[1]} x {shape[0]} px, but a nucleus lies at {right}, {bottom}: it is another image"
        raise ImageError(name, finding, "give the image that was predicted, or predict this one")


def _check_light(name: str, file: Path, nuclei, pixels: np.ndarray) -> None:
    """Raise ImageError if an image is dark where the table has nuclei: boxes must hold most of their nuclei's light."""
    if not {"mean_dna", "area_px", "background", "flags"} <= set(nuclei):
        return
    told = nuclei[["mean_dna", "area_px", "background"]].astype(float).assign(flags=nuclei["flags"].astype(str))
    # The table's DNA is corrected for uneven light, the picture is not.
    uneven = nuclei["light"].astype(float).fillna(1.0) if "light" in nuclei else 1.0
    boxes = nuclei[[*BOX_COLUMNS]].astype(int).itertuples(index=False, name=None)
    own = [pixels[top:bottom, left:right] for top, left, bottom, right in boxes]
    found = np.array([box.sum(dtype=float) for box in own]) - told["background"] * [box.size for box in own]
    share = (found / (told["mean_dna"] * told["area_px"] * uneven))[~told["flags"].str.contains("inverted")].dropna()
    if len(share) and (share > _LEAST_LIGHT).mean() < _LEAST_SHARE:
        finding = f"{file} is dark where the table has nuclei: it is another image or channel"
        raise ImageError(name, finding, "give the image that was predicted, or predict this one")


def _typical_side_um(nuclei) -> float:
    """Return the side of all pictures in um, equal so that sizes compare; unknown pixel sizes count as 1 um."""
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

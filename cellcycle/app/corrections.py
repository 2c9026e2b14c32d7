"""Corrected calls become a labelled data set: pictures of single nuclei and a manifest to train from."""

import io
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from cellcycle.app.store import Result
from cellcycle.images import write_image
from cellcycle.paths import MANIFEST, slug
from cellcycle.predict import ImagePrediction

# Wider than the nucleus, so that its surroundings show whether it is one.
_MARGIN = 2.2
_LEAST_PX = 32
_KEPT = ("image", "nucleus_id", "centroid_y_px", "centroid_x_px", "call", "pixel_size_um", "model", "version")


def corrections_zip(result: Result) -> bytes:
    """Return the corrected nuclei as a ZIP file: 16-bit TIFF pictures and `manifest.csv`.

    The manifest has the columns `path, label, group` that `cellcycle.datasets.load_dataset` reads, where the
    group is the image a nucleus came from, then `call` (what the model said) and where the nucleus lies.
    Nuclei that were marked as none are left out.

    Parameters
    ----------
    result : Result

    Returns
    -------
    bytes
    """
    rows, packed = [], io.BytesIO()
    with TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w") as archive:
        for row, label in sorted(result.corrections.items()):
            if not label:
                continue
            index = result.image_of(row)
            nucleus = result.table.loc[row]
            name = f"{slug(label)}/{index + 1:03d}_{slug(Path(nucleus['image']).stem)}_{nucleus['nucleus_id']}.tif"
            file = Path(folder) / "nucleus.tif"
            picture = cut_nucleus(result.unpacked(index), nucleus)
            write_image(file, np.rint(picture * 65535).astype(np.uint16), _stated_size(nucleus))
            archive.write(file, name)
            rows.append({"path": name, "label": label, "group": nucleus["image"]} | nucleus[list(_KEPT)].to_dict())
        manifest = pd.DataFrame(rows, columns=["path", "label", "group", *_KEPT])
        archive.writestr(MANIFEST, manifest.to_csv(index=False, lineterminator="\n"))
    return packed.getvalue()


def cut_nucleus(prediction: ImagePrediction, nucleus: pd.Series) -> np.ndarray:
    """Cut the surroundings of a nucleus out of its image, as they are; an image of one nucleus stays whole.

    Parameters
    ----------
    prediction : ImagePrediction
    nucleus : pandas.Series
        Its row of the table.

    Returns
    -------
    ndarray (H, W) float32 in [0, 1]
        Smaller than a square where the nucleus lies at the edge of the image.
    """
    pixels = prediction.plane.pixels
    if prediction.nuclei.kind == "nucleus":
        return pixels
    top, left, bottom, right = window_of(nucleus, pixels.shape)
    return pixels[top:bottom, left:right]


def window_of(nucleus: pd.Series, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right (excluded) of the surroundings of a nucleus within its image."""
    box = [int(nucleus[f"bbox_{side}_px"]) for side in ("top", "left", "bottom", "right")]
    half = int(max(max(box[2] - box[0], box[3] - box[1]) * _MARGIN, _LEAST_PX) / 2)
    row, column = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    return max(row - half, 0), max(column - half, 0), min(row + half, shape[0]), min(column + half, shape[1])


def _stated_size(nucleus: pd.Series) -> float | None:
    """Return the pixel size where the image stated it, not where it was guessed from the nuclei."""
    return None if "scale_unknown" in nucleus["flags"].split(";") else float(nucleus["pixel_size_um"])

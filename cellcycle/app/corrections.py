"""Corrected calls become labelled data, a table and pictures to train from; and such a table corrections again."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cellcycle.app.asked import clean_name
from cellcycle.datasets.fields import nucleus_of
from cellcycle.files import MANIFEST, slug
from cellcycle.images import write_image
from cellcycle.predict import ImagePrediction
from cellcycle.review import BOX_COLUMNS, NONE, classes_of, csv_line, labelled_rows, labels_text, read_labels

# Wider than the nucleus, so that its surroundings show whether it is one.
_MARGIN = 2.2
_LEAST_PX = 32
_FOUND_BY = ("nucleus_id", "centroid_y_px", "centroid_x_px", "area_px")


def corrections_zip(images: list[tuple[ImagePrediction, dict[str, str]]]) -> bytes:
    """Return corrected nuclei as a ZIP file: `labels.csv`, and 16-bit TIFF pictures with `manifest.csv`.

    Given are predictions with what was said: number of a nucleus -> class. The table has a row for each corrected
    nucleus, its place in the image, and the class its owner gave or "none". The manifest has the columns
    `path, label, group` that `cellcycle.datasets.load_dataset` reads, where the group is the image a nucleus came from;
    what is no nucleus has no picture.
    """
    manifest, packed = [], io.BytesIO()
    with TemporaryDirectory(prefix="cellcycle-") as folder, zipfile.ZipFile(packed, "w") as archive:
        for index, (prediction, said) in enumerate(images, start=1):
            for k, row in labelled(prediction, said):
                if row["label"] == NONE:
                    continue
                name = f"{slug(row['label'])}/{index:03d}_{slug(Path(row['image']).stem)[:80]}_{row['nucleus_id']}.tif"
                file, size_um = Path(folder) / "nucleus.tif", row["pixel_size_um"]
                picture = np.rint(cut_nucleus(prediction, k) * 65535).astype(np.uint16)
                write_image(file, picture, size_um if np.isfinite(size_um) else None)
                archive.write(file, name)
                named = {"path": name, "label": row["label"], "group": row["image"]}
                manifest.append(named | {key: row[key] for key in ("call", "model", "version")})
        archive.writestr("labels.csv", labels_csv(images))
        names = list(manifest[0]) if manifest else ["path", "label", "group"]
        archive.writestr(MANIFEST, "".join(map(csv_line, [names, *(row.values() for row in manifest)])))
    return packed.getvalue()


def labels_csv(images: list[tuple[ImagePrediction, dict[str, str]]]) -> str:
    """Return the table of `corrections_zip` alone."""
    return labels_text([row for image in images for _, row in labelled(*image)])


def labelled(prediction: ImagePrediction, said: dict[str, str]) -> list[tuple[int, dict]]:
    """Return position and row of a labels table for each nucleus of which something was said."""
    numbers = prediction.columns["nucleus_id"]
    given = {k: said[str(int(n))] for k, n in enumerate(numbers) if np.isfinite(n) and str(int(n)) in said}
    return list(zip(given, labelled_rows(prediction.columns, given), strict=True))


def said_again(table: Path, images: list[ImagePrediction]) -> list[dict[str, str]]:
    """Return what a labels table says of the nuclei of each image: number -> class or "none".

    An image is known by the hash of its file where the table has it, else by its name; a nucleus as
    `cellcycle.datasets.fields.nucleus_of` finds it. Rows of other images, and of nuclei that are not there, say
    nothing. A `DataError` says that the file is no such table.
    """
    rows, _ = read_labels(table)
    hashes = rows["image_sha256"] if "image_sha256" in rows else rows["image"].map(lambda _: "")
    found = []
    for image in images:
        columns, said = image.columns, {}
        measured = {name: np.asarray(columns[name], float) for name in _FOUND_BY}
        nuclei = replace(image.nuclei, measured=measured)
        is_named = (hashes == "") & (rows["image"].map(clean_name) == image.image)
        for _, row in rows[is_named | (hashes == columns["image_sha256"][0])].iterrows():
            at = nucleus_of(nuclei, row)
            if at is not None and row["label"] in (*classes_of(columns), NONE):
                said[str(int(measured["nucleus_id"][at]))] = row["label"]
        found.append(said)
    return found


def cut_nucleus(prediction: ImagePrediction, row: int) -> np.ndarray:
    """Cut the surroundings of a nucleus, a row of the columns, out of its image: (H, W) float32 in [0, 1].

    An image of one nucleus stays whole; at the edge of an image the cut is smaller than a square.
    """
    pixels = prediction.plane.pixels
    if prediction.nuclei.kind == "nucleus":
        return pixels
    top, left, bottom, right = (int(prediction.columns[name][row]) for name in BOX_COLUMNS)
    half = int(max(max(bottom - top, right - left) * _MARGIN, _LEAST_PX) / 2)
    y, x = (top + bottom) // 2, (left + right) // 2
    return pixels[max(y - half, 0) : y + half, max(x - half, 0) : x + half]

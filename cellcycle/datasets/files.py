"""Labelled images from a folder with one sub-folder a class, or from a CSV manifest."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.datasets.nuclei import NucleusDataset
from cellcycle.datasets.simulated import is_simulated_folder
from cellcycle.errors import CellCycleError, DataError, ImageError
from cellcycle.images import list_images, read_plane, read_rgb
from cellcycle.paths import MANIFEST
from cellcycle.phases import PHASES
from cellcycle.splits import image_fingerprints, join_copies


def folder_entries(folder: Path) -> pd.DataFrame:
    """List the images of a folder with one sub-folder a class: path, label, sample_id."""
    rows = []
    for sub in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        rows += [(file, sub.name, f"{sub.name}/{file.name}") for file in list_images(sub)]
    entries = pd.DataFrame(rows, columns=["path", "label", "sample_id"])
    if entries.empty:
        raise DataError(
            folder, "no images in sub-folders", "put the images in one sub-folder a class, e.g. G1/ S/ G2/ M/"
        )
    return entries


def manifest_entries(file: Path) -> pd.DataFrame:
    """List the images of a CSV manifest: path, label, sample_id, and group where the file names any."""
    if file.is_dir():
        file = file / MANIFEST
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(
            file, f"not a readable CSV ({error})", "save it as UTF-8 CSV with the columns path,label[,group]"
        ) from error
    missing = {"path", "label"} - set(table.columns)
    if missing:
        raise DataError(file, f"no column {' and '.join(sorted(missing))}", "name the columns path,label[,group]")
    if table.empty:
        raise DataError(file, "no rows", "list one image a row")
    blank = table.index[(table["path"].str.strip() == "") | (table["label"].str.strip() == "")]
    if len(blank):
        raise DataError(file, f"line {blank[0] + 2} has no path or no label", "fill it in or delete the line")
    entries = pd.DataFrame({"path": [file.parent / p for p in table["path"]], "label": table["label"]})
    entries["sample_id"] = table["path"]
    if "group" in table and (table["group"] != "").any():
        # A nucleus without a group stands for itself.
        entries["group"] = np.where(table["group"] == "", "single:" + table["path"], table["group"])
    return entries


def _class_order(labels) -> tuple[str, ...]:
    names = sorted(set(labels))
    return tuple(p for p in PHASES if p in names) if set(names) <= set(PHASES) else tuple(names)


def load_files(source: Path, name: str, entries: pd.DataFrame, size_px, channels, resize, on_error) -> NucleusDataset:
    """Read listed images into one data set; parameters as `load_dataset` describes them."""
    planes, pixel_sizes, bad = [], [], []
    for path in entries["path"]:
        try:
            pixels, pixel_size_um = _read_pixels(path, channels)
            planes.append(pixels)
            pixel_sizes.append(pixel_size_um)
        except CellCycleError as error:
            planes.append(None)
            bad.append(error)
    if bad and (on_error == "raise" or len(bad) == len(entries)):
        listed = "; ".join(f"{e.subject} ({e.finding})" for e in bad[:5]) + (" ..." if len(bad) > 5 else "")
        raise DataError(
            source,
            f"{len(bad)} of {len(entries)} images cannot be read: {listed}",
            'mend or remove them, or leave them out: on_error="skip", --skip-unreadable',
        )
    good = np.array([p is not None for p in planes])
    entries = entries[good].reset_index(drop=True)
    planes = [p for p in planes if p is not None]
    classes = _class_order(entries["label"])
    if len(classes) < 2:
        raise DataError(source, f"only one class ({classes[0]})", "give images of two or more classes")
    images, scale = _to_one_size(planes, size_px, resize)
    folder = source if source.is_dir() else source.parent
    labels = entries["label"].map({c: k for k, c in enumerate(classes)}).to_numpy(np.int64)
    return _with_copies_grouped(
        NucleusDataset(
            name=name,
            images=images,
            labels=labels,
            classes=classes,
            sample_ids=entries["sample_id"].to_numpy(str),
            groups=entries["group"].to_numpy(str) if "group" in entries else None,
            identity=_pixel_identity(images, labels, classes),
            origin="simulated" if is_simulated_folder(folder) else "real",
            pixel_size_um=_common_pixel_size(np.array([s for s in pixel_sizes if s is not None]), len(good), scale),
            notes=tuple(f"skipped {error}" for error in bad),
        )
    )


def _with_copies_grouped(dataset: NucleusDataset) -> NucleusDataset:
    """Give exact copies (also turned or mirrored ones) one group, and say how many there are."""
    prints = image_fingerprints(dataset.images)
    n_copies = len(prints) - len(np.unique(prints))
    if not n_copies:
        return dataset
    note = f"{n_copies} images are copies of others; copies share a group, so no fold parts them"
    return replace(dataset, groups=join_copies(dataset.groups, prints), notes=(*dataset.notes, note))


def _read_pixels(path: Path, channels: int):
    """Return (C, H, W) float32 in [0, 1] and the pixel size of one file."""
    if not Path(path).is_file():
        raise ImageError(path, "no such file", "check the path")
    if channels == 3:
        return np.moveaxis(read_rgb(path), -1, 0), None
    plane = read_plane(path)
    return plane.pixels[None], plane.pixel_size_um


def _to_one_size(planes, size_px: int, resize: str):
    """Return (N, C, S, S) images and the scale factor (None where images were scaled differently)."""
    largest = max(max(p.shape[1:]) for p in planes)
    side = min(size_px, largest)
    if resize == "stretch":
        return np.stack([_scale(p, side) for p in planes]), None
    return np.stack([_scale(_pad(p, largest), side) for p in planes]), side / largest


def _pad(image: np.ndarray, side: int) -> np.ndarray:
    """Surround (C, H, W) with the median of its own border up to (C, side, side)."""
    channels, height, width = image.shape
    if height == side and width == side:
        return image
    border = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], axis=1)
    padded = np.empty((channels, side, side), np.float32)
    padded[:] = np.median(border, axis=1)[:, None, None]
    top, left = (side - height) // 2, (side - width) // 2
    padded[:, top : top + height, left : left + width] = image
    return padded


def _scale(image: np.ndarray, side: int) -> np.ndarray:
    if image.shape[1:] == (side, side):
        return image.astype(np.float32)
    from skimage.transform import resize as rescale

    return rescale(image, (image.shape[0], side, side), order=1, anti_aliasing=True).astype(np.float32)


def _common_pixel_size(sizes: np.ndarray, n_files: int, scale: float | None) -> float | None:
    """Return the pixel size after scaling, if every file names the same one."""
    if scale is None or len(sizes) != n_files or not np.allclose(sizes, sizes[0], rtol=0.01):
        return None
    return float(sizes[0] / scale)


def _pixel_identity(images, labels, classes) -> str:
    digest = hashlib.blake2b(digest_size=10)
    digest.update(repr((images.shape, classes)).encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    digest.update(labels.tobytes())
    return f"pixels-{digest.hexdigest()}"

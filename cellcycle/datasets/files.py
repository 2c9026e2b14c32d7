"""Files of labelled images become one data set: read, told apart, brought to one size."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.datasets.nuclei import NucleusDataset
from cellcycle.datasets.simulated import is_simulated_folder
from cellcycle.datasets.tables import clean_names
from cellcycle.errors import CellCycleError, DataError, ImageError
from cellcycle.images import read_plane, read_rgb
from cellcycle.phases import PHASES
from cellcycle.splits import image_fingerprints, join_copies

# A crop this many times wider than most is a whole field, or a slip; so is a pixel this many times larger.
_MOST_WIDER, _MOST_COARSER = 4, 8


def class_order(labels) -> tuple[str, ...]:
    """Return the classes of labels: phases in their order, else in the natural order of their names.

    Examples
    --------
    >>> class_order(["M", "G1"]), class_order(["stage 10", "stage 9"])
    (('G1', 'M'), ('stage 9', 'stage 10'))
    """
    names = set(labels)
    if names <= set(PHASES):
        return tuple(p for p in PHASES if p in names)
    return tuple(sorted(names, key=lambda name: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", name)]))


def clean_entries(source, entries: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return listed images with labels and groups of one spelling; refuse a list of one class."""
    entries, notes = entries.copy(), []
    for column in {"label", "group"} & set(entries.columns):
        entries[column], said = clean_names(entries[column], column, source)
        notes += said
    classes = class_order(entries["label"])
    if len(classes) < 2:
        raise DataError(source, f"only one class ({classes[0]})", "give images of two or more classes")
    return entries, notes


def load_files(source, name, entries, notes, size_px, channels, resize, on_error) -> NucleusDataset:
    """Read listed images into one data set; parameters as `load_dataset` describes them."""
    entries, said = clean_entries(source, entries)
    planes, sizes_um, depths, bad = [], [], [], []
    for path in entries["path"]:
        try:
            pixels, size_um, depth = _read_pixels(path, channels)
            depths.append(depth)
        except CellCycleError as error:
            bad.append(error)
            pixels, size_um = None, None
        planes.append(pixels)
        sizes_um.append(np.nan if size_um is None else size_um)
    if bad and (on_error == "raise" or len(bad) == len(entries)):
        listed = "; ".join(f"{e.subject} ({e.finding})" for e in bad[:5]) + (" ..." if len(bad) > 5 else "")
        raise DataError(
            source,
            f"{len(bad)} of {len(entries)} images cannot be read: {listed}",
            'mend or remove them, or leave them out: on_error="skip", --skip-unreadable',
        )
    good = np.array([p is not None for p in planes])
    odd = _odd_ones(planes, np.array(sizes_um), entries["sample_id"].to_numpy(str), good)
    if odd and on_error == "raise":
        finding = "; ".join(odd.values()) if len(odd) <= 2 else f"{next(iter(odd.values()))}; so {len(odd) - 1} others"
        remedy = "remove such pictures, cut them to single nuclei, or label the nuclei of whole fields in a table"
        raise DataError(source, finding, remedy)
    good[list(odd)] = False
    kept = entries[good].reset_index(drop=True)
    if kept["label"].nunique() < 2:
        raise DataError(source, "fewer than two classes are left without the bad images", "mend the images")
    planes = [p for p, is_good in zip(planes, good, strict=True) if is_good]
    notes = [*notes, *said, *(f"skipped {error}" for error in bad), *(f"skipped {text}" for text in odd.values())]
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    origin = "simulated" if is_simulated_folder(folder) else "real"
    as_read = _in_words(planes, depths)
    dataset = as_dataset(source, name, kept, planes, np.array(sizes_um)[good], notes, origin, size_px, resize, on_error)
    return replace(dataset, as_read=as_read)


def _in_words(planes, depths) -> str:
    """Say of which sizes and bit depths the files are."""
    sides = sorted({(p.shape[2], p.shape[1]) for p in planes})
    sizes = f"{sides[0][0]} x {sides[0][1]} px" + (f" to {sides[-1][0]} x {sides[-1][1]} px" if len(sides) > 1 else "")
    bits = " and ".join(f"{depth} bits ({depths.count(depth)})" for depth in sorted(set(depths)))
    return f"files: {sizes}, {bits}"


def as_dataset(source, name, entries, planes, sizes_um, notes, origin, size_px, resize, on_error) -> NucleusDataset:
    """Bring pictures (C, H, W) to one scale and size, and join them with what is known of them."""
    if resize == "pad":
        planes, sizes_um, said = _to_one_pixel_size(planes, sizes_um)
        notes = [*notes, *said]
    images, scale = _to_one_size(planes, size_px, resize)
    classes = class_order(entries["label"])
    labels = entries["label"].map({c: k for k, c in enumerate(classes)}).to_numpy(np.int64)
    dataset = NucleusDataset(
        name=name,
        images=images,
        labels=labels,
        classes=classes,
        sample_ids=entries["sample_id"].to_numpy(str),
        groups=entries["group"].to_numpy(str) if "group" in entries else None,
        identity=_pixel_identity(images, labels, classes),
        origin=origin,
        pixel_sizes_um=None if scale is None or np.isnan(sizes_um).all() else sizes_um / scale,
        notes=tuple(notes),
    )
    return _with_copies_grouped(source, dataset, on_error)


def _odd_ones(planes, sizes_um, names, good) -> dict[int, str]:
    """Say of each picture whose size is none of a crop, or whose pixel size is none of its neighbours'."""
    if not good.any():
        return {}
    sides = np.array([max(p.shape[1:]) if p is not None else 0 for p in planes])
    usual, known_um = np.quantile(sides[good], 0.25), sizes_um[np.isfinite(sizes_um)]
    usual_um = np.median(known_um) if len(known_um) else np.nan
    odd = {}
    for k in np.flatnonzero(good):
        if sides[k] > _MOST_WIDER * usual:
            height, width = planes[k].shape[1:]
            odd[k] = f"{names[k]} is {width} x {height} px among crops of {usual:.0f} px: a whole field?"
        elif not np.isnan(sizes_um[k]) and not 1 / _MOST_COARSER <= sizes_um[k] / usual_um <= _MOST_COARSER:
            odd[k] = f"{names[k]} says that a pixel is {sizes_um[k]:.3g} um wide, where others say {usual_um:.3g}"
    return odd


def _to_one_pixel_size(planes, sizes_um):
    """Resample pictures of different pixel sizes to the median one, if all say theirs; else leave them."""
    known = np.isfinite(sizes_um)
    if not known.any():
        return planes, sizes_um, []
    if np.allclose(sizes_um[known], sizes_um[known][0], rtol=0.01):
        note = f"{(~known).sum()} of {len(known)} files do not say their pixel size"
        return planes, sizes_um, [] if known.all() else [note]
    low, high = sizes_um[known].min(), sizes_um[known].max()
    if not known.all():
        said = (
            f"pixel sizes differ ({low:.3g} to {high:.3g} um) and {(~known).sum()} are not known: nothing is resampled"
        )
        return planes, sizes_um, [said]
    common = float(np.median(sizes_um))
    resampled = [
        _scale(p, *(max(1, round(n * size / common)) for n in p.shape[1:]))
        for p, size in zip(planes, sizes_um, strict=True)
    ]
    note = f"pixel sizes differ ({low:.3g} to {high:.3g} um): all images are resampled to {common:.3g} um"
    return resampled, np.full(len(planes), common), [note]


def _with_copies_grouped(source, dataset: NucleusDataset, on_error: str) -> NucleusDataset:
    """Give exact copies (also turned or mirrored ones) one group; refuse, or leave out, those whose labels differ."""
    prints = image_fingerprints(dataset.images)
    table = pd.DataFrame({"print": prints, "label": dataset.labels})
    doubtful = (table.groupby("print")["label"].transform("nunique") > 1).to_numpy()
    if doubtful.any():
        one, two = _contradiction(dataset, prints, np.flatnonzero(doubtful)[0])
        said = f"{one} and {two} are the same picture"
        if on_error == "raise":
            more = f" ({doubtful.sum()} images in all)" if doubtful.sum() > 2 else ""
            raise DataError(source, said + more, "keep the right one, or leave such images out: --skip-unreadable")
        note = f"skipped {doubtful.sum()} copies whose labels contradict each other: {said}"
        dataset = replace(dataset.select(~doubtful), notes=(*dataset.notes, note))
        prints = prints[~doubtful]
    n_copies = len(prints) - len(np.unique(prints))
    if not n_copies:
        return dataset
    note = f"{n_copies} images are copies of others; copies share a group, so no fold parts them"
    return replace(dataset, groups=join_copies(dataset.groups, prints), notes=(*dataset.notes, note))


def _contradiction(dataset: NucleusDataset, prints, at: int) -> list[str]:
    """Return an image and a copy of it that has another label, each with its label."""
    other = np.flatnonzero((prints == prints[at]) & (dataset.labels != dataset.labels[at]))[0]
    return [f"{dataset.sample_ids[k]} ({dataset.classes[dataset.labels[k]]})" for k in (at, other)]


def _read_pixels(path: Path, channels: int):
    """Return (C, H, W) float32 in [0, 1], the pixel size and the bit depth of one file."""
    if not Path(path).is_file():
        raise ImageError(path, "no such file", "check the path")
    if channels == 3:
        return np.moveaxis(read_rgb(path), -1, 0), None, 8
    plane = read_plane(path)
    return plane.pixels[None], plane.pixel_size_um, plane.bit_depth


def _to_one_size(planes, size_px: int | None, resize: str):
    """Return (N, C, S, S) images and the scale factor (None where images were scaled differently)."""
    largest = max(max(p.shape[1:]) for p in planes)
    side = min(size_px or largest, largest)
    if resize == "stretch":
        return np.stack([_scale(p, side, side) for p in planes]), None
    return np.stack([_scale(_pad(p, largest), side, side) for p in planes]), side / largest


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


def _scale(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[1:] == (height, width):
        return image.astype(np.float32)
    from skimage.transform import resize as rescale

    return rescale(image, (image.shape[0], height, width), order=1, anti_aliasing=True).astype(np.float32)


def _pixel_identity(images, labels, classes) -> str:
    digest = hashlib.blake2b(digest_size=10)
    digest.update(repr((images.shape, classes)).encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    digest.update(labels.tobytes())
    return f"pixels-{digest.hexdigest()}"

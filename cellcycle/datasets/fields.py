"""Whole fields with a table of labelled nuclei: every row of the table finds the nucleus that it means."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.datasets.files import as_dataset
from cellcycle.datasets.folders import OUTLINES
from cellcycle.datasets.labels import NONE, read_labels
from cellcycle.datasets.manifests import find_file, sample_id
from cellcycle.datasets.nuclei import NucleusDataset
from cellcycle.datasets.simulated import is_simulated_folder
from cellcycle.datasets.tables import clean_names, says_nothing
from cellcycle.errors import CellCycleError, DataError
from cellcycle.files import sha256_of
from cellcycle.images import list_images, read_plane
from cellcycle.names import shown_name
from cellcycle.nuclei import Nuclei, Scale, find_nuclei

# Only where an image states no pixel size: a nucleus of a common cell line, so that areas are of the right order.
_TYPICAL = Scale(200.0)
# Side of a crop over that of a nucleus, and the least.
_MARGIN, _LEAST_PX = 2.2, 32


@dataclass(frozen=True)
class LabelledField:
    """An image with the nuclei found in it, those without a label included: they belong to its DNA histogram.

    Parameters
    ----------
    image : str
        Its path, as seen from the table.
    pixels : ndarray (H, W) float32 in [0, 1]
    nuclei : Nuclei
    """

    image: str
    pixels: np.ndarray = field(repr=False)
    nuclei: Nuclei = field(repr=False)


def load_fields(file: Path, name: str, size_px: int | None, resize: str, on_error: str) -> NucleusDataset:
    """Read a table of labelled nuclei and the images it names, which lie beside it.

    Parameters
    ----------
    file : Path
        See `cellcycle.datasets.labels.read_labels`. Nuclei labelled `none` are left out. An image is looked for as its
        path says from the table's folder, then from the working directory, then by its name below the table's folder.
    on_error : {"raise", "skip"}
        What rows that find no nucleus do.

    Returns
    -------
    NucleusDataset
        With `fields` and `places`; `images` are crops, cut twice as wide as a nucleus. Groups are the table's, else
        the images.

    Raises
    ------
    DataError
        In one line: images that are gone, or have another content than those that were labelled; positions without a
        nucleus, numbers that do not exist; one nucleus with two labels; only one class.
    """
    table, notes = read_labels(file)
    files, bad = _files_of(file.parent, table)
    fields, rows = [], []
    for path, named in table.groupby(table["image"].map(files), sort=False):
        try:
            found = _read_field(file.parent, path, named)
        except CellCycleError as error:
            bad.append(f"{error.subject}: {error.finding}")
            continue
        meant: dict[int, dict[str, int]] = {}
        for line, row in named.iterrows():
            at = _nucleus_of(found.nuclei, row)
            if at is None:
                bad.append(f"line {line}: {_meant(row)} of {found.image} is not there")
                continue
            first = row["label"] not in meant.setdefault(at, {})
            meant[at].setdefault(row["label"], line)
            if first and row["label"] != NONE:
                group = found.image if says_nothing(row.get("group", "")) else row["group"]
                rows.append((len(fields), at, row["label"], group, f"{found.image}#{at + 1}"))
        for at, labels in meant.items():
            if len(labels) > 1:
                said = " and ".join(f"{label!r} in line {line}" for label, line in labels.items())
                bad.append(f"one nucleus of {found.image} is {said}")
                rows = [row for row in rows if row[:2] != (len(fields), at)]
        fields.append(found)
    if bad and (on_error == "raise" or not rows):
        more = f"; so {len(bad) - 1} others" if len(bad) > 1 else ""
        remedy = "put the images beside the table, mend the rows, or leave them out: --skip-unreadable"
        raise DataError(file, bad[0] + more, remedy)
    return _as_dataset(
        file, name, fields, rows, [*notes, *(f"skipped {text}" for text in bad)], size_px, resize, on_error
    )


def _as_dataset(file, name, fields, rows, notes, size_px, resize, on_error) -> NucleusDataset:
    entries = pd.DataFrame(rows, columns=["field", "at", "label", "group", "sample_id"])
    entries["group"], said = clean_names(entries["group"], "group", file)
    if entries["label"].nunique() < 2:
        only = "".join(f" ({label})" for label in entries["label"].unique())
        raise DataError(file, f"only one class{only}", "label nuclei of two or more classes")
    crops = [_crops(f, entries.loc[entries["field"] == k, "at"].to_numpy()) for k, f in enumerate(fields)]
    planes = [crop for of_field in crops for crop in of_field]
    sizes = [f.nuclei.pixel_size_um if f.nuclei.scale_is_known else np.nan for f in fields]
    sizes_um = np.array(sizes)[entries["field"]]
    origin = "simulated" if is_simulated_folder(file.parent) else "real"
    dataset = as_dataset(file, name, entries, planes, sizes_um, [*notes, *said], origin, size_px, resize, on_error)
    order = pd.Index(entries["sample_id"]).get_indexer(dataset.sample_ids)
    places = entries[["field", "at"]].to_numpy(np.int64)[order]
    shapes = sorted({f.pixels.shape for f in fields})
    as_read = f"fields: {len(fields)} of {' or '.join(f'{w} x {h} px' for h, w in shapes[:3])}"
    return replace(dataset, fields=tuple(fields), places=places, as_read=as_read)


def _files_of(folder: Path, table: pd.DataFrame) -> tuple[dict[str, Path], list[str]]:
    """Return the file of each image that a table names, and a line for each that has none."""
    files, bad, everything = {}, [], None
    for image, named in table.groupby("image", sort=False):
        hashes = {h.lower() for h in named.get("image_sha256", ()) if not says_nothing(h)}
        direct = [path for path in (find_file(at, image) for at in (folder, Path.cwd())) if path.is_file()]
        below, fitting = [], [path for path in direct if not hashes or {sha256_of(path)} == hashes]
        is_direct = bool(fitting)
        if not is_direct:
            everything = list_images(folder) if everything is None else everything
            below = [path for path in _named_so(folder, everything, image) if path not in direct]
            fitting = [path for path in below if not hashes or {sha256_of(path)} == hashes]
        if is_direct or len({path.resolve() for path in fitting}) == 1 or (fitting and hashes):
            files[image] = fitting[0].resolve()
        elif fitting:
            bad.append(f"{image}: {len(fitting)} images have this name, {fitting[0]} and {fitting[1]}")
        elif direct or below:
            bad.append(f"{image}: the labels are of another image of this name (its sha256 differs)")
        else:
            bad.append(f"{image}: no such image")
    return files, bad


def _named_so(folder: Path, everything: list[Path], image: str) -> list[Path]:
    """Return the images of a name below a folder, but for those among outlines, which often share it.

    A prediction table shows odd names (a tab, a backslash, bytes that are no text) in a way of its own.
    """
    names = {Path(image.replace("\\", "/")).name, image.rpartition("/")[2]}
    below = [p for p in everything if OUTLINES.isdisjoint(p.relative_to(folder).parts)]
    return [p for p in below if not names.isdisjoint({p.name.strip(), shown_name(p).rpartition("/")[2].strip()})]


def _read_field(folder: Path, path: Path, named: pd.DataFrame) -> LabelledField:
    """Read an image and find its nuclei, in pixels of the size that was stated when they were labelled."""
    plane = read_plane(path)
    stated = named["pixel_size_um"].dropna() if "pixel_size_um" in named else []
    size_um = float(stated.iloc[0]) if len(stated) else plane.pixel_size_um
    return LabelledField(sample_id(folder, path), plane.pixels, find_nuclei(plane.pixels, size_um, _TYPICAL))


def _nucleus_of(nuclei: Nuclei, row) -> int | None:
    """Return the index of the nucleus that a row means: by its place where it has one, else by its number."""
    ids = nuclei.measured["nucleus_id"]
    place = np.array([row["centroid_y_px"], row["centroid_x_px"]], float)
    if np.isnan(place).any():
        where = np.flatnonzero(ids == row["nucleus_id"])
        return int(where[0]) if len(where) else None
    y, x = np.rint(place).astype(int)
    if not len(ids) or not (0 <= y < nuclei.labels.shape[0] and 0 <= x < nuclei.labels.shape[1]):
        return None
    within = np.flatnonzero(ids == nuclei.labels[y, x])
    if len(within):
        return int(within[0])
    # Beside the outline, as the middle of a bent nucleus may lie: within half a nucleus of a centre.
    distance = np.hypot(*(nuclei.centres - place).T)
    nearest = int(distance.argmin())
    radius = np.sqrt(nuclei.measured["area_px"][nearest] / np.pi)
    return nearest if distance[nearest] <= radius else None


def _meant(row) -> str:
    if np.isnan(row["centroid_y_px"]) or np.isnan(row["centroid_x_px"]):
        return f"nucleus {row['nucleus_id']:g}"
    return f"a nucleus at y {row['centroid_y_px']:g}, x {row['centroid_x_px']:g}"


def _crops(found: LabelledField, indices) -> list[np.ndarray]:
    """Cut nuclei with their surroundings, (1, S, S) each; an image of one nucleus stays whole."""
    if not len(indices) or found.nuclei.kind == "nucleus":
        return [found.pixels[None]] * len(indices)
    side = np.sqrt(np.median(found.nuclei.measured["area_px"]) * 4 / np.pi) * _MARGIN
    half = int(np.ceil(max(side, _LEAST_PX) / 2))
    padded = np.pad(found.pixels, half, constant_values=float(np.median(found.pixels)))
    corners = np.rint(found.nuclei.centres[indices]).astype(int)
    return [padded[None, y : y + 2 * half, x : x + 2 * half] for y, x in corners]

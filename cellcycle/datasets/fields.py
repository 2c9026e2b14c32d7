"""Data sets from whole fields and a table of labelled nuclei: each row is matched to the nucleus that it means."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, maximum_position
from scipy.spatial import cKDTree

from cellcycle.datasets.files import as_dataset, counted
from cellcycle.datasets.labels import NONE, READ_COLUMNS, picture_names, read_labels, read_stated
from cellcycle.datasets.lookup import ImageFolder, sample_id
from cellcycle.datasets.nuclei import NucleusDataset
from cellcycle.datasets.spelling import clean_names, says_nothing
from cellcycle.errors import CellCycleError, DataError
from cellcycle.images import Plane
from cellcycle.images.wells import group_of, places_of, stated_places
from cellcycle.inputs import TYPICAL
from cellcycle.nuclei import ANY_CELLS_RATIO, Nuclei, find_nuclei, likely_pixel_size_um
from cellcycle.segmentation.same_field import are_bright_otherwise, same_fields

# Side of a crop relative to the diameter of a nucleus of median area, and its lowest value in pixels.
_MARGIN, _LEAST_PX = 2.2, 32
_SMOOTHED_PX = 3.0
_GIVE_PLACES = "give centroid_y_px, from the top, and centroid_x_px, from the left, in px"
# At least this many rows per picture are needed to decide whether their places belong to another picture.
_LEAST_ROWS = 10


@dataclass(frozen=True, eq=False)
class LabelledField:
    """A picture with all nuclei found in it; those without a label count in its DNA histogram.

    `image` is the path of its file relative to the table; `name` adds channel and planes if the table names several of
    that file. `pixels` are (H, W) float32 in [0, 1]; `channel` is "" if the file has only one; `well` is (plate, well),
    or () if it is not known.
    """

    image: str
    name: str
    pixels: np.ndarray = field(repr=False)
    nuclei: Nuclei = field(repr=False)
    channel: str = ""
    bit_depth: int = 16
    well: tuple = ()

    @property
    def recorded(self) -> tuple:
        """Channel, bit depth and pixel size: DNA is compared only between fields of a slide that agree in all three."""
        size_um = self.nuclei.stated_um if self.nuclei.scale_is_known else 0.0
        return self.channel, self.bit_depth, f"{size_um:.3g}"


def load_fields(file: Path, name: str, size_px: int | None, on_error: str) -> NucleusDataset:
    """Read a table of labelled nuclei (`labels.read_labels`) and the images that it names; return crops of the nuclei.

    Each channel and plane that the rows name of an image is a separate picture; if they name none, `read_plane`
    chooses. The data set has one of `fields` per picture, and `places`; its crops are `_MARGIN` times as wide as a
    nucleus. Groups come from the table, otherwise from the images, where images of the same nuclei share one. A nucleus
    without a stated group shares its G1 peak with the plate or folder with which `predict` would read its image. Nuclei
    labelled `none` are left out. A row is refused, or left out with `on_error` "skip", if its image is missing, differs
    from the labelled one or lacks the channel or plane, if it means no nucleus, or if rows contradict each other. The
    table is refused if a row has no place, if most rows mean no nucleus, if places belong to other pictures, or if they
    have x and y swapped, y from below or um.
    """
    table, notes = read_labels(file, on_error)
    is_bare = table[["centroid_y_px", "centroid_x_px"]].isna().any(axis=1)
    if is_bare.any():
        # Masks of other programs number the nuclei differently from the segmentation here.
        finding = f"line {is_bare.idxmax()} names a nucleus only by its number, but each mask has numbers of its own"
        raise DataError(file, finding, _GIVE_PLACES)
    if "group" in table:
        table["group"], said = clean_names(table["group"], "group", file)
        notes += said
    # Add to each row its file, its picture, and its nucleus there; `bad` describes the rows that have none.
    table, bad = _with_files(table, file.parent)
    table, planes, unread = _with_pictures(table)
    fields, together = _looked_at(file, table, planes)
    table["at"] = [nucleus_of(fields[row["picture"]].nuclei, row) for _, row in table.iterrows()]
    are_others = _are_of_others(file, fields, table)
    entries, said, wrong = _meant(table, fields)
    bad += unread + wrong
    if bad and (on_error == "raise" or are_others or not fields):
        more = f"; and {len(bad) - 1} more" if len(bad) > 1 else ""
        mend = "correct the rows (channel and planes say what is read of an image)"
        remedy = f"put the images beside the table, {mend}" + ', or leave them out: on_error="skip"' * bool(fields)
        raise DataError(file, bad[0] + more, _GIVE_PLACES if are_others else remedy)
    slides = _grouped(entries, fields, together, notes)
    sizes = [f.nuclei.pixel_size_um if f.nuclei.scale_is_known else np.nan for f in fields]
    entries["pixel_size_um"] = np.array(sizes)[entries["picture"]]
    cut = [pair for k, own in entries.groupby("picture") for pair in _crops(fields[k], own["at"].to_numpy())]
    notes += [f"skipped {text}" for text in bad]
    notes += counted(
        one for plane, f in zip(planes.values(), fields, strict=True) for one in (plane.note, f.nuclei.scale_note)
    )
    shapes = " or ".join(f"{w} x {h} px" for h, w in sorted({f.pixels.shape for f in fields})[:3])
    more = {"paths": [path for path, *_ in planes], "fields": tuple(fields), "slides": slides}
    more |= {"places": entries[["picture", "at"]].to_numpy(np.int64), "about": [about for _, about in cut]}
    more["as_read"] = f"fields: {len(fields)} of {shapes}"
    return as_dataset(file, name, entries, [crop for crop, _ in cut], notes + said, size_px, on_error, **more)


def _with_files(table: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows whose image exists, with columns `found` (its path) and `file` (resolved), and the errors."""
    images, found, bad = ImageFolder(folder, True, table["image"].unique()), {}, []
    table = table.assign(sha256=table.get("image_sha256", ""))
    for key, named in table.groupby(["image", "sha256"], sort=False):
        try:
            found |= dict.fromkeys(named.index, images.find(*key))
        except CellCycleError as error:
            bad.append(f"{error.subject}: {error.finding}")
    table = table[table.index.isin(found.keys())]
    # In a data store the path that is found may be a link to a file of another name, so both are kept.
    where = [found[line] for line in table.index]
    return table.assign(found=where, file=[path.resolve() for path in where]), bad


def _with_pictures(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[tuple, Plane], list[str]]:
    """Return the rows with a readable picture, sorted by its number in the new column `picture`; the `Plane` of each
    picture by (file, channel, planes); and a message for each picture that cannot be read.
    """
    planes, picture_of, bad = {}, {}, []
    table = table.assign(**{name: table.get(name, "") for name in READ_COLUMNS})
    for (path, *said), named in table.groupby(["file", *READ_COLUMNS], sort=False):
        try:
            plane = read_stated(path, *said)
        except CellCycleError as error:
            bad.append(f"{error.subject}: {error.finding} ({error.remedy})")
            continue
        # A row that names a channel and one that leaves it open may mean the same channel, so the channel as read is
        # the key; if channels share a name, only the index in the table identifies one.
        key = path, plane.channel if plane.channels.count(plane.channel) == 1 else said[0], plane.planes
        planes.setdefault(key, plane)
        picture_of |= dict.fromkeys(named.index, key)
    number_of = {key: k for k, key in enumerate(planes)}
    table = table.loc[list(picture_of)].assign(picture=[number_of[key] for key in picture_of.values()])
    return table.sort_values("picture", kind="stable"), planes, bad


def _looked_at(file: Path, table: pd.DataFrame, planes: dict) -> tuple[list[LabelledField], list[str]]:
    """Return the fields of the named pictures with their nuclei, and the plate or folder with which each is read."""
    as_found = table.drop_duplicates("file").set_index("file")["found"]
    keys = [(sample_id(file.parent, path), *of) for path, *of in planes]
    called, paths = picture_names(keys), [os.path.abspath(as_found[path]) for path, *_ in planes]
    places = stated_places(paths, places_of(paths))
    fields = [
        _found(file, key[0], called[key], plane, named, (place.plate, place.well) if place.well else ())
        for key, place, plane, (_, named) in zip(keys, places, planes.values(), table.groupby("picture"), strict=True)
    ]
    return fields, [group_of(os.path.dirname(path), asdict(at)) for path, at in zip(paths, places, strict=True)]


def _are_of_others(file: Path, fields: list[LabelledField], table: pd.DataFrame) -> bool:
    """Return whether the places belong to other pictures, judged by the number of rows that mean no nucleus."""
    counts = table["at"].isna().groupby(table["picture"]).agg(["size", "sum"])
    counts = counts.assign(near=_near_middles(file, fields, table)).to_numpy()
    # Places of another picture may also hit a nucleus, but rarely near its middle.
    judged = [counts.sum(axis=0), *counts[counts[:, 0] >= _LEAST_ROWS]]
    return 2 * judged[0][1] > judged[0][0] or any(5 * lost > n and 2 * near < n - lost for n, lost, near in judged)


def _grouped(entries: pd.DataFrame, fields: list[LabelledField], together: list[str], notes: list[str]) -> np.ndarray:
    """Fill empty cells of the column `group` from the images; return the names (N,) of what shares a G1 peak."""
    own, slides = (np.array(of)[entries["picture"]] for of in (_images_by_field(fields, notes), together))
    stated = entries["group"].to_numpy(str) if "group" in entries else np.full(len(entries), "")
    is_stated = ~np.array([says_nothing(name) for name in stated], bool)
    entries["group"], slides = np.where(is_stated, stated, own), np.where(is_stated, stated, slides)
    if is_stated.any() and not is_stated.all():
        n_bare = np.count_nonzero(~is_stated)
        notes.append(f"{n_bare} of {len(entries)} nuclei are of no group: those of one image make one")
    if len(set(entries["group"])) == 1 and len(set(own)) > 1:
        # A single group cannot be divided into folds, so the images become the groups.
        entries["group"] = own
        notes.append("all nuclei have one group: cells of one image are kept together instead")
    return slides


def _images_by_field(fields: list[LabelledField], notes: list[str]) -> list[str]:
    """Return the image of each picture, or the first image with the same nuclei (time points, planes of a field)."""
    images, found = [f.image for f in fields], [f.nuclei for f in fields]
    n_images, lit = len(set(images)), [(one.centres, one.measured["integrated_dna"]) for one in found]
    for i, j in same_fields([one.centres for one in found], [f.pixels.shape for f in fields]):
        # On a micropattern, nuclei of different fields lie at the same places but differ in brightness.
        if not are_bright_otherwise(lit[i], lit[j]):
            images = [images[i] if image == images[j] else image for image in images]
    if n_again := n_images - len(set(images)):
        notes.append(f"{n_again} of {n_images} images show nuclei of others, as times or planes do: they share a group")
    return images


def _found(file: Path, image: str, name: str, plane: Plane, named: pd.DataFrame, well: tuple) -> LabelledField:
    """Find the nuclei of a picture, with the pixel size that the table states, else that of the file."""
    stated = named.get("pixel_size_um", pd.Series(dtype=float))
    stated = stated[(stated > 0) & (stated < np.inf)]
    if len(stated) and stated.max() > 1.01 * stated.min():
        said = " and ".join(f"{stated[line]:g} um in line {line}" for line in (stated.idxmin(), stated.idxmax()))
        raise DataError(file, f"a pixel of {name} is {said}", "give one pixel_size_um for an image")
    size_um = next(iter(stated), plane.pixel_size_um)
    nuclei = find_nuclei(plane.pixels, size_um, TYPICAL)
    if len(nuclei):
        # A model learns the size of its cells from them, so the stated size is not checked against another model's.
        nuclei = nuclei.scaled(likely_pixel_size_um([nuclei], TYPICAL, ANY_CELLS_RATIO))
    channel = plane.channel if len(plane.channels) > 1 else ""
    return LabelledField(image, name, plane.pixels, nuclei, channel, plane.bit_depth, well)


def _meant(table: pd.DataFrame, fields: list[LabelledField]) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return one row per labelled nucleus, notes on doubtful rows, and messages on wrong ones.

    The column `at` of `table` is the index of the nucleus among those of its picture, NaN for none.
    """
    lost, table = table[table["at"].isna()], table[table["at"].notna()].astype({"at": int})
    places = lost[["picture", "centroid_y_px", "centroid_x_px"]].itertuples(name=None)
    bad = [f"line {line}: {fields[k].name} has no nucleus at y {y:g}, x {x:g}" for line, k, y, x in places]
    meant = list(zip(table["picture"], table["at"], strict=True))
    is_repeat = table.duplicated(["picture", "at", "label"])
    numbers = [fields[k].nuclei.measured["nucleus_id"][at] for k, at in meant]
    doubtful = {
        "mean the nucleus of another row, and are left out": is_repeat,
        "have another number than the nucleus at their place: the place counts":
            ~is_repeat & ((table["nucleus_id"] - numbers).abs() > 0),
    }  # fmt: skip
    notes = [f"{is_so.sum()} rows {said} (line {is_so.idxmax()})" for said, is_so in doubtful.items() if is_so.any()]
    table = table.assign(sample_id=[f"{fields[k].name}#{at + 1}" for k, at in meant])[~is_repeat]
    is_both = table.duplicated("sample_id", keep=False)
    for (k, _), rows in table[is_both].groupby(["picture", "at"], sort=False):
        said = " and ".join(f"{label!r} in line {line}" for line, label in rows["label"].items())
        bad.append(f"one nucleus of {fields[k].name} is {said}")
    return table[~is_both & (table["label"] != NONE)].reset_index(drop=True), notes, bad


def _near_middles(file: Path, fields: list[LabelledField], table: pd.DataFrame) -> list[int]:
    """Return for each picture the number of places within half a radius of the centre of a nucleus.

    Places are refused if more than half are near a centre (or the centre of the nucleus of their number) when x and y
    are swapped, they are read as um, or y runs from below, and fewer than half as many are as they stand.
    """
    hows, n_rows = ("", "with x and y swapped", "if they are in um", "if y runs from below"), 0
    n_near = np.zeros((len(fields), 2, len(hows)), int)
    for near, found, (_, named) in zip(n_near, fields, table.groupby("picture"), strict=True):
        if not len(found.nuclei):
            continue
        number, y, x = named[["nucleus_id", "centroid_y_px", "centroid_x_px"]].to_numpy(float).T
        um, below = found.nuclei.pixel_size_um, found.pixels.shape[0] - 1 - y
        half, ids = np.sqrt(found.nuclei.measured["area_px"] / np.pi) / 2, found.nuclei.measured["nucleus_id"]
        tree, n_rows = cKDTree(found.nuclei.centres), n_rows + len(named)
        for k, place in enumerate(((y, x), (x, y), (y / um, x / um), (below, x))):
            away, at = tree.query(np.nan_to_num(np.transpose(place), nan=-np.inf).clip(-1e9, 1e9))
            near[:, k] = (away <= half[at]).sum(), ((away <= half[at]) & (ids[at] == number)).sum()
    for n_of in n_near.sum(axis=0):
        k = n_of.argmax()
        if n_of[k] > max(2 * n_of[0], n_rows / 2):
            finding = f"{n_of[k]} of its {n_rows} places fit a nucleus {hows[k]}, but only {n_of[0]} as they are"
            raise DataError(file, finding, _GIVE_PLACES)
    return n_near[:, 0, 0].tolist()


def nucleus_of(nuclei: Nuclei, row) -> int | None:
    """Return the index of the nucleus that a row of `read_labels` means: by its place, else by its number, or None."""
    ids = nuclei.measured["nucleus_id"]
    place = np.array([row["centroid_y_px"], row["centroid_x_px"]], float)
    if np.isnan(place).any():
        where = np.flatnonzero(ids == row["nucleus_id"])
        return int(where[0]) if len(where) else None
    if not len(ids) or not ((place > -0.5) & (place < np.array(nuclei.labels.shape) - 0.5)).all():
        return None
    y, x = np.rint(place).astype(int)
    within = np.flatnonzero(ids == nuclei.labels[y, x])
    if len(within):
        return int(within[0])
    # The centre of a bent nucleus may lie outside its outline: accept a place within one radius of a centre.
    distance = np.hypot(*(nuclei.centres - place).T)
    nearest = int(distance.argmin())
    radius = np.sqrt(nuclei.measured["area_px"][nearest] / np.pi)
    return nearest if distance[nearest] <= radius else None


def _crops(found: LabelledField, indices) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each nucleus its crop (S, S) and a crop (S + 1, S + 1) that identifies it; pictures of one stay whole.

    The second crop is the same in a rotated or mirrored field, where outlines differ slightly: its centre is the
    brightest point of the smoothed picture.
    """
    if not len(indices) or found.nuclei.kind == "nucleus":
        return [(found.pixels, found.pixels)] * len(indices)
    nuclei = found.nuclei
    side = np.sqrt(np.median(nuclei.measured["area_px"]) * 4 / np.pi) * _MARGIN
    half = int(np.ceil(max(side, _LEAST_PX) / 2))
    padded = np.pad(found.pixels, half, constant_values=float(np.median(found.pixels)))
    smooth = gaussian_filter(found.pixels.astype(np.float64), _SMOOTHED_PX)
    brightest = maximum_position(smooth, nuclei.labels, nuclei.measured["nucleus_id"][indices])
    centres = np.rint(nuclei.centres[indices]).astype(int)
    return [
        (padded[y : y + 2 * half, x : x + 2 * half], padded[v : v + 2 * half + 1, u : u + 2 * half + 1])
        for (y, x), (v, u) in zip(centres, brightest, strict=True)
    ]

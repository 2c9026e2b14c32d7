"""Whole fields with a table of labelled nuclei: every row of the table finds the nucleus that it means."""

import os
from collections import defaultdict
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

# Side of a crop over that of a nucleus, and the least.
_MARGIN, _LEAST_PX = 2.2, 32
_SMOOTHED_PX = 3.0
_GIVE_PLACES = "give centroid_y_px, from the top, and centroid_x_px, from the left, in px"
# So many places of one picture tell whether they are those of another.
_LEAST_ROWS = 10
_OTHER_NUMBER = "have another number than the nucleus at their place, which is taken"


@dataclass(frozen=True, eq=False)
class LabelledField:
    """A picture with the nuclei found in it, those without a label included: they belong to its DNA histogram.

    `image` is the path of its file, as seen from the table; `name` adds channel and planes where the table names
    several of that file. `pixels` are (H, W) float32 in [0, 1], of a file of `bit_depth`; `channel` is theirs in a file
    of several, else ""; `well` is a plate and its well, () where it is not known.
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
        """What fields of one slide have in common whose DNA compares: stain, bits and pixel size."""
        size_um = self.nuclei.stated_um if self.nuclei.scale_is_known else 0.0
        return self.channel, self.bit_depth, f"{size_um:.3g}"


def load_fields(file: Path, name: str, size_px: int | None, on_error: str) -> NucleusDataset:
    """Read a table of labelled nuclei (`labels.read_labels`) and the images it names, which lie beside it.

    Each channel and plane that its rows name of an image is a picture of its own; where they name none, it is what
    `read_plane` takes by itself. The data set has `fields`, a picture each, and `places`; its images are crops, cut
    twice as wide as a nucleus. Groups are the table's, else the images; where the table says none, nuclei have one G1
    peak with all that `predict` would read them with. Nuclei labelled `none` are left out. Refused,
    or with `on_error` "skip" left out, are rows whose image is gone, has another content than the one that was
    labelled, or lacks the channel or plane, that mean no nucleus, or say two things of one. Refused in any case is a
    table that names nuclei by number alone, most of whose rows mean none, or whose places have x and y swapped, y from
    below, or are in um.
    """
    table, notes = read_labels(file, on_error)
    is_bare = table[["centroid_y_px", "centroid_x_px"]].isna().any(axis=1)
    if is_bare.any():
        # In a mask of another program nuclei have other numbers than those that are found here.
        finding = f"line {is_bare.idxmax()} names a nucleus by its number alone, and each mask has numbers of its own"
        raise DataError(file, finding, _GIVE_PLACES)
    if "group" in table:
        table["group"], said = clean_names(table["group"], "group", file)
        notes += said
    table["sha256"] = table.get("image_sha256", "")
    files, as_found, bad = _files_of(table, file.parent)
    pictures, unread = _pictures(table, files)
    planes, asked = [plane for plane, _ in pictures.values()], [named for _, named in pictures.values()]
    fields, together = _looked_at(file, pictures, as_found)
    rows, doubtful, lost, bad = [], defaultdict(list), [], bad + unread
    for k, (found, named) in enumerate(zip(fields, asked, strict=True)):
        meant, said = _meant(found, named, doubtful, lost)
        bad += said
        rows.append(meant.assign(field=k))
    are_others = _are_of_others(file, fields, asked, lost)
    if bad and (on_error == "raise" or are_others or not rows):
        more = f"; so {len(bad) - 1} others" if len(bad) > 1 else ""
        mend = "mend the rows (channel and planes say what is read of an image)"
        remedy = f"put the images beside the table, {mend}" + ', or leave them out: on_error="skip"' * bool(rows)
        raise DataError(file, bad[0] + more, _GIVE_PLACES if are_others else remedy)
    entries = pd.concat(rows, ignore_index=True)
    slides = _grouped(entries, fields, together, notes)
    sizes = [f.nuclei.pixel_size_um if f.nuclei.scale_is_known else np.nan for f in fields]
    entries["pixel_size_um"] = np.array(sizes)[entries["field"]]
    cut = [_crops(f, at["at"].to_numpy()) for at, f in zip(rows, fields, strict=True)]
    crops, about = ([one for of_field in parts for one in of_field] for parts in zip(*cut, strict=True))
    notes += [f"skipped {text}" for text in bad]
    notes += counted(
        said for plane, f in zip(planes, fields, strict=True) for said in (plane.note, f.nuclei.scale_note)
    )
    notes += [f"{len(lines)} rows {said} (line {lines[0]})" for said, lines in doubtful.items()]
    shapes = " or ".join(f"{w} x {h} px" for h, w in sorted({f.pixels.shape for f in fields})[:3])
    more = {"paths": [path for path, *_ in pictures], "fields": tuple(fields)}
    more |= {"places": entries[["field", "at"]].to_numpy(np.int64), "slides": slides}
    as_read = f"fields: {len(fields)} of {shapes}"
    return as_dataset(file, name, entries, crops, notes, size_px, on_error, about, as_read=as_read, **more)


def _files_of(table: pd.DataFrame, folder: Path) -> tuple[dict[int, Path], dict[Path, str], list[str]]:
    """Find the file of each row, by its line; each as it is called where it was found; and say which are not there."""
    images, files, as_found, bad = ImageFolder(folder, True, table["image"].unique()), {}, {}, []
    for key, named in table.groupby(["image", "sha256"], sort=False):
        try:
            found = images.find(*key)
            files |= dict.fromkeys(named.index, found.resolve())
            # In a store of data that is a link to a file of another name.
            as_found.setdefault(found.resolve(), os.path.abspath(found))
        except CellCycleError as error:
            bad.append(f"{error.subject}: {error.finding}")
    return files, as_found, bad


def _looked_at(file: Path, pictures: dict, as_found: dict[Path, str]) -> tuple[list[LabelledField], list[str]]:
    """Find the nuclei of the pictures that rows name; return also the plate or folder with which each is read."""
    keys = [(sample_id(file.parent, path), *of) for path, *of in pictures]
    called, paths = picture_names(keys), [as_found[path] for path, *_ in pictures]
    places = stated_places(paths, places_of(paths))
    fields = [
        _found(file, key[0], called[key], plane, named, (place.plate, place.well) if place.well else ())
        for key, place, (plane, named) in zip(keys, places, pictures.values(), strict=True)
    ]
    return fields, [group_of(os.path.dirname(path), asdict(at)) for path, at in zip(paths, places, strict=True)]


def _are_of_others(file: Path, fields: list[LabelledField], asked: list[pd.DataFrame], lost: list[int]) -> bool:
    """Say whether the places of a table are those of other pictures, by the rows that are `lost`."""
    n_near = _near_middles(file, list(zip(fields, asked, strict=True)))
    counts = [(len(named), named.index.isin(lost).sum(), n) for named, n in zip(asked, n_near, strict=True)]
    judged = [np.array(counts, int).reshape(-1, 3).sum(axis=0), *(of for of in counts if of[0] >= _LEAST_ROWS)]
    # Places of another picture mean a nucleus, too, though seldom its middle.
    return 2 * len(lost) > judged[0][0] or any(5 * n_lost > n and 2 * near < n - n_lost for n, n_lost, near in judged)


def _grouped(entries: pd.DataFrame, fields: list[LabelledField], together: list[str], notes: list[str]) -> np.ndarray:
    """Complete the column `group` of labelled nuclei by their images; return whose G1 peak each shares, (N,) str."""
    own, slides = (np.array(of)[entries["field"]] for of in ([f.image for f in fields], together))
    stated, is_stated = entries["group"].to_numpy(str), (entries["group"] != "").to_numpy()
    entries["group"], slides = np.where(is_stated, stated, own), np.where(is_stated, stated, slides)
    if len(set(entries["group"])) == 1 and len({f.image for f in fields}) > 1:
        # One for all keeps nothing apart: at least the cells of an image stay together.
        entries["group"] = own
        notes.append("all are of one group: cells of one image are kept together instead")
    return slides


def _pictures(table: pd.DataFrame, files: dict[int, Path]) -> tuple[dict, list[str]]:
    """Read each picture that rows name: (file, channel, planes) -> its plane and rows; and say what cannot be read.

    `files` has the file of each row, by its line, but for those that are gone.
    """
    pictures, bad = {}, []
    table = table.assign(**{name: table.get(name, "") for name in READ_COLUMNS})
    for (path, *said), named in table.groupby([table.index.map(files), *READ_COLUMNS], sort=False):
        try:
            plane = read_stated(path, *said)
        except CellCycleError as error:
            bad.append(f"{error.subject}: {error.finding} ({error.remedy})")
            continue
        # Rows that name a channel and rows that leave it to the rule may mean the same one; of channels of one name
        # only the index tells.
        channel = plane.channel if plane.channels.count(plane.channel) == 1 else said[0]
        key = path, channel, plane.planes
        known, rows = pictures.get(key, (plane, None))
        pictures[key] = known, named if rows is None else pd.concat([rows, named])
    return pictures, bad


def _found(file: Path, image: str, name: str, plane: Plane, named: pd.DataFrame, well: tuple) -> LabelledField:
    """Find the nuclei of a picture, in pixels of the size that was stated when they were labelled."""
    stated = named.get("pixel_size_um", pd.Series(dtype=float))
    stated = stated[(stated > 0) & (stated < np.inf)]
    if len(stated) and stated.max() > 1.01 * stated.min():
        said = " and ".join(f"{stated[line]:g} um in line {line}" for line in (stated.idxmin(), stated.idxmax()))
        raise DataError(file, f"a pixel of {name} is {said}", "give one pixel_size_um for an image")
    size_um = next(iter(stated), plane.pixel_size_um)
    nuclei = find_nuclei(plane.pixels, size_um, TYPICAL)
    if len(nuclei):
        # A model learns from them how large its cells are: no other model's cells speak against what was stated.
        nuclei = nuclei.scaled(likely_pixel_size_um([nuclei], TYPICAL, ANY_CELLS_RATIO))
    channel = plane.channel if len(plane.channels) > 1 else ""
    return LabelledField(image, name, plane.pixels, nuclei, channel, plane.bit_depth, well)


def _meant(found: LabelledField, named: pd.DataFrame, doubtful: dict, lost: list) -> tuple[pd.DataFrame, list[str]]:
    """Return the labelled nuclei of a field, a row each, and what is wrong with rows that were left out.

    The lines of rows that were understood, but may be meant otherwise, are added to `doubtful`, by what they do, those
    of rows that mean no nucleus to `lost`.
    """
    bad, rows, name = [], {}, found.name
    for line, row in named.iterrows():
        at = nucleus_of(found.nuclei, row)
        if at is not None:
            if rows.setdefault(at, {}).setdefault(row["label"], line) != line:
                doubtful["mean the nucleus of another row, and are left out"].append(line)
            elif abs(row["nucleus_id"] - found.nuclei.measured["nucleus_id"][at]) > 0:
                doubtful[_OTHER_NUMBER].append(line)
            continue
        lost.append(line)
        y, x = row["centroid_y_px"], row["centroid_x_px"]
        bad.append(f"line {line}: a nucleus at y {y:g}, x {x:g} of {name} is not there")
    meant = []
    for at, labels in rows.items():
        (label, line), *others = labels.items()
        if others:
            said = " and ".join(f"{label!r} in line {line}" for label, line in labels.items())
            bad.append(f"one nucleus of {name} is {said}")
        elif label != NONE:
            group = named.loc[line].get("group", "")
            meant.append((at, label, "" if says_nothing(group) else group, f"{name}#{at + 1}"))
    return pd.DataFrame(meant, columns=["at", "label", "group", "sample_id"]), bad


def _near_middles(file: Path, pictures) -> list[int]:
    """Return how many places of each of the pictures, (field, rows), lie near the middle of a nucleus.

    Refused are places of which most do, or most near that of their number, if they are read otherwise, and less than
    half so many as they are.
    """
    hows, n_rows = ("", "with x and y swapped", "if they are in um", "if y runs from below"), 0
    n_near = np.zeros((len(pictures), 2, len(hows)), int)
    for near, (found, named) in zip(n_near, pictures, strict=True):
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
            finding = f"{n_of[k]} of its {n_rows} places mean a nucleus {hows[k]}; as they are, {n_of[0]} do"
            raise DataError(file, finding, _GIVE_PLACES)
    return n_near[:, 0, 0].tolist()


def nucleus_of(nuclei: Nuclei, row) -> int | None:
    """Return the index of the nucleus that a row of `read_labels` means: by its place, or without one by its number."""
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
    # Beside the outline, as the middle of a bent nucleus may lie: within half a nucleus of a centre.
    distance = np.hypot(*(nuclei.centres - place).T)
    nearest = int(distance.argmin())
    radius = np.sqrt(nuclei.measured["area_px"][nearest] / np.pi)
    return nearest if distance[nearest] <= radius else None


def _crops(found: LabelledField, indices) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cut nuclei with their surroundings, (S, S) each, and again by what they are known; an image of one stays whole.

    The second ones, (S + 1, S + 1), are the same in a turned or mirrored field. There outlines lie a little elsewhere:
    their middle is where the smoothed picture is brightest.
    """
    if not len(indices) or found.nuclei.kind == "nucleus":
        return ([found.pixels] * len(indices),) * 2
    nuclei = found.nuclei
    side = np.sqrt(np.median(nuclei.measured["area_px"]) * 4 / np.pi) * _MARGIN
    half = int(np.ceil(max(side, _LEAST_PX) / 2))
    padded = np.pad(found.pixels, half, constant_values=float(np.median(found.pixels)))
    smooth = gaussian_filter(found.pixels.astype(np.float64), _SMOOTHED_PX)
    brightest = maximum_position(smooth, nuclei.labels, nuclei.measured["nucleus_id"][indices])
    centres = np.rint(nuclei.centres[indices]).astype(int)
    crops = [padded[y : y + 2 * half, x : x + 2 * half] for y, x in centres]
    return crops, [padded[y : y + 2 * half + 1, x : x + 2 * half + 1] for y, x in brightest]

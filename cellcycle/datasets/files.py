"""Files of labelled images become one data set: read, told apart, brought to one size."""

import hashlib
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from skimage.transform import resize

from cellcycle.cutting import fitted
from cellcycle.datasets.labels import read_stated, stated
from cellcycle.datasets.nuclei import NucleusDataset, difference
from cellcycle.datasets.spelling import clean_names, says_nothing
from cellcycle.errors import CellCycleError, DataError, ImageError
from cellcycle.files import MARKER
from cellcycle.images import Plane, read_plane
from cellcycle.nuclei import n_nuclei_shown
from cellcycle.phases import PHASES
from cellcycle.splits import joined, marks_of

# A crop this many times wider than most is a whole field, or a slip; so is a pixel this many times larger. Of one this
# much wider is told; one with fewer pixels a side shows no nucleus.
_MOST_WIDER, _MOST_COARSER, _MUCH_WIDER, _LEAST_PX = 4, 8, 2, 4
# So many pictures, of all classes, tell whether they are fields.
_LOOKED_AT = 8
_MOST_NOTES = 3
# What tables of an evaluation or a report count beside classes, and what the page shows beside them, is called so.
_TAKEN = {"all", "counted", "found", "chosen", "doubt", "said"}
_ONE_KIND = {".tiff": ".tif", ".jpeg": ".jpg"}
_MEND_FIELDS = (
    "cut them to single nuclei, or label the nuclei of whole fields in a table (centroid_y_px, centroid_x_px)"
)


def load_files(source, name, entries: pd.DataFrame, notes, size_px, on_error) -> NucleusDataset:
    """Read listed images (path, label, sample_id, perhaps group and channel, "" for none) into one data set."""
    entries, notes, planes, bad = entries.reset_index(drop=True), [*notes], {}, []
    for column in {"label", "group"} & set(entries.columns):
        entries[column], said = clean_names(entries[column], column, source)
        notes += said
    class_order(source, entries["label"])
    if "group" in entries:
        # A nucleus without a group stands for itself.
        is_single = entries["group"] == ""
        entries["group"] = entries["group"].where(~is_single, "single:" + entries["sample_id"])
        if is_single.any():
            notes.append(f"{is_single.sum()} of {len(entries)} images are of no group: each stands for itself")
    said = stated(entries)
    for k, path in enumerate(entries["path"]):
        try:
            if isinstance(path, CellCycleError):
                raise path
            planes[k] = _plane_of(path, said["channel"][k])
        except CellCycleError as error:
            bad.append(error)
    if bad and (on_error == "raise" or not planes):
        listed = "; ".join(f"{e.subject} ({e.finding})" for e in bad[:5]) + (" ..." if len(bad) > 5 else "")
        finding = f"{len(bad)} of {len(entries)} images cannot be read: {listed}"
        remedy = bad[0].remedy.replace(" (--channel on the command line)", "")
        remedy = remedy.replace("with channel=", "in a column channel of a table path,label")
        remedy += '; or leave such images out: on_error="skip"' * bool(planes)
        raise DataError(source, finding, remedy)
    odd = _odd_ones(planes, entries["sample_id"])
    if odd and (on_error == "raise" or len(odd) == len(planes)):
        finding = "; ".join(odd.values()) if len(odd) <= 2 else f"{next(iter(odd.values()))}; so {len(odd) - 1} others"
        raise DataError(source, finding, f"remove such pictures, {_MEND_FIELDS}")
    planes = {k: plane for k, plane in planes.items() if k not in odd}
    _refuse_fields(source, planes, entries["sample_id"])
    entries = entries.loc[list(planes)].assign(pixel_size_um=[plane.pixel_size_um for plane in planes.values()])
    notes += [f"skipped {one}" for one in (*bad, *odd.values())]
    notes += counted(plane.note for plane in planes.values())
    pictures = [plane.pixels for plane in planes.values()]
    notes += _much_wider(pictures, entries["sample_id"])
    sides = sorted({picture.shape[::-1] for picture in pictures})
    sizes = " to ".join(f"{width} x {height} px" for width, height in dict.fromkeys((sides[0], sides[-1])))
    depths = Counter(plane.bit_depth for plane in planes.values())
    as_read = f"files: {sizes}, {' and '.join(f'{bits} bits ({n})' for bits, n in sorted(depths.items()))}"
    told = differences(entries["label"], planes.values())
    more = {"as_read": as_read, "exported": told, "paths": entries["path"]}
    return as_dataset(source, name, entries, pictures, [*notes, *told], size_px, on_error, **more)


def _plane_of(path: Path, channel: str) -> Plane:
    """Read an image in the channel that its table names; of one with no other that is the name of its stain."""
    try:
        return read_stated(path, channel, "")
    except ImageError:
        if not channel or len((plane := read_plane(path)).channels) > 1:
            raise
        return plane


def class_order(source, labels) -> tuple[str, ...]:
    """Return the classes of labels: phases in their order, then others in the natural order of their names.

    Refused are names that say in a table that there is no class, or something else.

    Examples
    --------
    >>> class_order("cells", ["M", "debris", "G1"]), class_order("cells", ["stage 10", "stage 9"])
    (('G1', 'M', 'debris'), ('stage 9', 'stage 10'))
    """
    names = set(labels)
    if no_class := sorted(filter(says_nothing, names)):
        finding = f"{no_class[0]!r} is no name of a class: in tables it says that there is none"
        raise DataError(source, finding, "call the class otherwise, or leave its images out")
    if taken := sorted(names & _TAKEN):
        finding = f"{taken[0]!r} is no name of a class: tables and the page call something else so"
        raise DataError(source, finding, "call it otherwise")
    if not names:
        raise DataError(source, "nothing has a class", "give images of two or more classes")
    others = names - set(PHASES)
    others = sorted(others, key=lambda name: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", name)])
    return (*(phase for phase in PHASES if phase in names), *others)


def _odd_ones(planes: dict[int, Plane], names) -> dict[int, str]:
    """Say of each picture whose size is none of a crop, that is blank, or whose pixel size is none of the others'."""
    usual = np.quantile([max(plane.pixels.shape) for plane in planes.values()], 0.25)
    known_um = [plane.pixel_size_um for plane in planes.values() if plane.pixel_size_um is not None]
    usual_um, odd = np.median(known_um) if known_um else np.nan, {}
    for k, plane in planes.items():
        (height, width), size_um = plane.pixels.shape, plane.pixel_size_um
        if max(height, width) > _MOST_WIDER * usual:
            odd[k] = f"{names[k]} is {width} x {height} px among crops of {usual:.0f} px: a whole field?"
        elif max(height, width) < _LEAST_PX:
            odd[k] = f"{names[k]} is {width} x {height} px: too small for a nucleus"
        elif plane.pixels.min() == plane.pixels.max():
            odd[k] = f"{names[k]} is blank"
        elif size_um is not None and not 1 / _MOST_COARSER <= size_um / usual_um <= _MOST_COARSER:
            odd[k] = f"{names[k]} says that a pixel is {size_um:.3g} um wide, where others say {usual_um:.3g}"
    return odd


def _refuse_fields(source, planes: dict[int, Plane], names) -> None:
    """Refuse pictures most of which show more nuclei than a crop of one: no label says which of them it means."""
    some = list(planes)[:: -(-len(planes) // _LOOKED_AT)]
    shown = {k: n for k in some if (n := n_nuclei_shown(planes[k].pixels))}
    if 2 * len(shown) > len(some):
        k, n = next(iter(shown.items()))
        finding = f"{names[k]} shows {n} nuclei, and most others several: whole fields, not crops of one nucleus"
        raise DataError(source, finding, _MEND_FIELDS)


def _much_wider(pictures, names) -> list[str]:
    """Return a note on a picture that makes all others small."""
    widths = [max(picture.shape) for picture in pictures]
    widest, usual = int(np.argmax(widths)), np.median(widths)
    if widths[widest] <= _MUCH_WIDER * usual:
        return []
    said = f"{names.iloc[widest]} is {widths[widest]} px wide where most are {usual:.0f}"
    return [f"{said}: all are surrounded up to its width"]


def counted(said) -> list[str]:
    """Return notes of what is said of images, "" of most: the most frequent, with their numbers."""
    most = Counter(filter(None, said)).most_common(_MOST_NOTES)
    return [f"{n} image{'s' * (n > 1)}: {one}" for one, n in most]


def differences(labels, planes) -> tuple[str, ...]:
    """Return a sentence for each property of files that tells two classes apart; `labels` and `planes` are of cells.

    Told is only what half of a class has alone: crops cut tight round nuclei have a size each, and those of larger
    nuclei are larger.
    """
    properties = pd.DataFrame([_properties(plane) for plane in planes])
    return tuple(filter(None, (difference(labels, values, name) for name, values in properties.items())))


def _properties(plane: Plane) -> dict[str, str]:
    (height, width), suffix = plane.pixels.shape, Path(plane.path).suffix.casefold()
    return {
        "the kind of their files": _ONE_KIND.get(suffix, suffix),
        "bits": f"{plane.bit_depth}",
        "channels": f"{len(plane.channels)}",
        "pixel size": "none stated" if plane.pixel_size_um is None else f"{plane.pixel_size_um:.3g} um",
        "the size of their files": f"{width} x {height} px",
        # As where one class was masked, or each of its crops stretched to the whole range.
        "black pixels": "some" if plane.pixels.min() == 0 else "none",
        "pixels of the highest value": "some" if plane.pixels.max() == 1 else "none",
    }


def as_dataset(
    source, name, entries: pd.DataFrame, pictures, notes, size_px, on_error, about=None, paths=(), **more
) -> NucleusDataset:
    """Bring pictures (H, W) to one scale and size, and join them with what is known of them.

    `entries` has a row a picture: label, sample_id, pixel_size_um (NaN where it is not known), and perhaps group.
    Smaller pictures are surrounded with their own background and all are scaled by the same factor, which keeps sizes
    of nuclei comparable. `about` are the images by whose middles they are known again (`marks_of`), if others,
    `paths` their files. `more` goes into the data set.
    """
    classes = class_order(source, entries["label"])
    marks = marks_of(*([np.asarray(p, np.float32)[np.newaxis] for p in of] for of in (pictures, about or pictures)))
    stated_um = entries["pixel_size_um"].to_numpy(np.float64)
    pictures, sizes_um, said = _to_one_pixel_size(pictures, stated_um)
    largest = max(max(picture.shape) for picture in pictures)
    side = min(size_px or largest, largest)
    squares = [fitted(picture[np.newaxis, np.newaxis], largest)[0, 0] for picture in pictures]
    images = np.stack([_scale(square, side, side) for square in squares])[:, None]
    labels = entries["label"].map(classes.index).to_numpy(np.int64)
    digest = hashlib.blake2b(repr((images.shape, classes)).encode(), digest_size=10)
    digest.update(images.tobytes() + labels.tobytes())
    dataset = NucleusDataset(
        name=name,
        images=images,
        labels=labels,
        classes=classes,
        sample_ids=entries["sample_id"].to_numpy(str),
        groups=entries["group"].to_numpy(str) if "group" in entries else None,
        identity=f"pixels-{digest.hexdigest()}",
        origin=_origin(Path(source), paths),
        pixel_sizes_um=None if np.isnan(sizes_um).all() else sizes_um / (side / largest),
        stated_um=stated_um,
        notes=(*notes, *said),
        marks=marks,
        **more,
    )
    return _with_copies_grouped(source, dataset, on_error)


def _origin(source: Path, paths) -> str:
    """Return whether pictures are simulated: then `MARKER` lies above them, or beside their table."""
    if ((source if source.is_dir() else source.parent) / MARKER).is_file():
        return "simulated"
    folders = {Path(path).resolve().parent for path in paths}
    found = {any((at / MARKER).is_file() for at in (folder, folder.parent)) for folder in folders}
    return "simulated and real" if len(found) == 2 else "simulated" if True in found else "real"


def _to_one_pixel_size(pictures, sizes_um: np.ndarray):
    """Resample pictures of different pixel sizes to the median one, if all say theirs; else leave them."""
    known = sizes_um[np.isfinite(sizes_um)]
    n_unknown = len(sizes_um) - len(known)
    if not len(known):
        return pictures, sizes_um, []
    if np.allclose(known, known[0], rtol=0.01):
        note = f"{n_unknown} of {len(sizes_um)} files do not say their pixel size"
        return pictures, sizes_um, [note] if n_unknown else []
    differ = f"pixel sizes differ ({known.min():.3g} to {known.max():.3g} um)"
    if n_unknown:
        return pictures, sizes_um, [f"{differ} and {n_unknown} are not known: nothing is resampled"]
    common = float(np.median(sizes_um))
    resampled = [
        _scale(picture, *(max(1, round(n * size / common)) for n in picture.shape))
        for picture, size in zip(pictures, sizes_um, strict=True)
    ]
    return resampled, np.full(len(pictures), common), [f"{differ}: all images are resampled to {common:.3g} um"]


def _with_copies_grouped(source, dataset: NucleusDataset, on_error: str) -> NucleusDataset:
    """Give pictures of one nucleus (turned, mirrored, cut wider) a group; leave out, or refuse, those of two labels."""
    known = dataset.known_by()
    # Of crops of which the order of values alone is one, as of spots without noise, copies are likely, not certain.
    nucleus = joined(known if dataset.fields else known[:, :2])
    doubtful = (pd.Series(dataset.labels).groupby(nucleus).transform("nunique") > 1).to_numpy()
    if doubtful.any():
        first = np.flatnonzero(doubtful)[0]
        other = np.flatnonzero((nucleus == nucleus[first]) & (dataset.labels != dataset.labels[first]))[0]
        one, two = (f"{dataset.sample_ids[k]} ({dataset.classes[dataset.labels[k]]})" for k in (first, other))
        said = f"{one} and {two} are the same picture"
        if on_error == "raise":
            more = f" ({doubtful.sum()} images in all)" if doubtful.sum() > 2 else ""
            raise DataError(source, said + more, 'keep the right one, or leave such images out: on_error="skip"')
        note = f"skipped {doubtful.sum()} copies whose labels contradict each other: {said}"
        dataset = replace(dataset.select(~doubtful), notes=(*dataset.notes, note))
    nucleus = joined(dataset.known_by())
    n_copies = len(nucleus) - len(np.unique(nucleus))
    if not n_copies:
        return dataset
    note = f"{n_copies} images are copies of others; copies share a group, so no fold parts them"
    keys = dataset.known_by() if dataset.groups is None else np.column_stack([dataset.groups, nucleus.astype(str)])
    groups = {"groups": joined(keys), "groups_are_copies": dataset.groups is None}
    # Copies join what no fold may part, not the light of their slides.
    slides = dataset.groups if dataset.slides is None else dataset.slides
    return replace(dataset, **groups, slides=slides, notes=(*dataset.notes, note))


def _scale(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    if picture.shape == (height, width):
        return picture.astype(np.float32)
    return resize(picture[None], (1, height, width), order=1, anti_aliasing=True)[0].astype(np.float32)

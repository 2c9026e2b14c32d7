"""Turn files of labelled images into one data set: read them, check them, bring them to one size."""

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

# Refused as a field or a mistake: images wider than the lower quartile of widths by the first factor, and pixel sizes
# that differ from the median by more than the second. Wider than the median by the third: a note. Least side in px.
_MOST_WIDER, _MOST_COARSER, _MUCH_WIDER, _LEAST_PX = 4, 8, 2, 4
# At most this many pictures, spread over the list, are checked for being whole fields.
_LOOKED_AT = 8
_MOST_NOTES = 3
# Names of other rows and columns beside the classes, in tables of evaluations and reports and on the page.
_TAKEN = {"all", "counted", "found", "chosen", "doubt", "said"}
_ONE_KIND = {".tiff": ".tif", ".jpeg": ".jpg"}
_MEND_FIELDS = (
    "cut them to single nuclei, or label the nuclei of whole fields in a table (centroid_y_px, centroid_x_px)"
)


def load_files(source, name, entries: pd.DataFrame, notes, size_px, on_error) -> NucleusDataset:
    """Read listed images (path, label, sample_id, optionally group and channel, "" for none) into one data set."""
    entries, notes, planes, bad = entries.reset_index(drop=True), [*notes], {}, []
    for column in {"label", "group"} & set(entries.columns):
        entries[column], said = clean_names(entries[column], column, source)
        notes += said
    class_order(source, entries["label"])
    if "group" in entries:
        # A nucleus without a group forms a group of its own.
        is_single = entries["group"] == ""
        entries["group"] = entries["group"].where(~is_single, "single:" + entries["sample_id"])
        if is_single.any():
            notes.append(f"{is_single.sum()} of {len(entries)} images have no group: each is a group of its own")
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
        finding = "; ".join(odd.values()) if len(odd) <= 2 else f"{next(iter(odd.values()))}; and {len(odd) - 1} more"
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
    """Read the channel that the table names; if an image has only one, the name may be that of its stain."""
    try:
        return read_stated(path, channel, "")
    except ImageError:
        if not channel or len((plane := read_plane(path)).channels) > 1:
            raise
        return plane


def class_order(source, labels) -> tuple[str, ...]:
    """Return the classes of labels: phases in their order, then others in the natural order of their names.

    A name that means "no class" in a table, or that tables and the page use for something else, is a `DataError`.

    Examples
    --------
    >>> class_order("cells", ["M", "debris", "G1"]), class_order("cells", ["stage 10", "stage 9"])
    (('G1', 'M', 'debris'), ('stage 9', 'stage 10'))
    """
    names = set(labels)
    if no_class := sorted(filter(says_nothing, names)):
        finding = f"{no_class[0]!r} cannot be the name of a class: in tables it means that there is none"
        raise DataError(source, finding, "rename the class, or leave its images out")
    if taken := sorted(names & _TAKEN):
        finding = f"{taken[0]!r} cannot be the name of a class: tables and the page use it otherwise"
        raise DataError(source, finding, "rename the class")
    if not names:
        raise DataError(source, "nothing has a class", "give images of two or more classes")
    others = names - set(PHASES)
    others = sorted(others, key=lambda name: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", name)])
    return (*(phase for phase in PHASES if phase in names), *others)


def _odd_ones(planes: dict[int, Plane], names) -> dict[int, str]:
    """Return a message for each picture that is too large or small for a crop, is blank, or has an odd pixel size."""
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
    """Refuse pictures if most show several nuclei: their labels do not say which nucleus they mean."""
    some = list(planes)[:: -(-len(planes) // _LOOKED_AT)]
    shown = {k: n for k in some if (n := n_nuclei_shown(planes[k].pixels))}
    if 2 * len(shown) > len(some):
        k, n = next(iter(shown.items()))
        finding = f"{names[k]} shows {n} nuclei, and most others several: whole fields, not crops of one nucleus"
        raise DataError(source, finding, _MEND_FIELDS)


def _much_wider(pictures, names) -> list[str]:
    """Return a note on a picture so wide that all others are padded much to its width."""
    widths = [max(picture.shape) for picture in pictures]
    widest, usual = int(np.argmax(widths)), np.median(widths)
    if widths[widest] <= _MUCH_WIDER * usual:
        return []
    said = f"{names.iloc[widest]} is {widths[widest]} px wide where most are {usual:.0f}"
    return [f"{said}: all are padded to its width"]


def counted(said) -> list[str]:
    """Return the most frequent messages about images, each with its number of images; "" is no message."""
    most = Counter(filter(None, said)).most_common(_MOST_NOTES)
    return [f"{n} image{'s' * (n > 1)}: {one}" for one, n in most]


def differences(labels, planes) -> tuple[str, ...]:
    """Return a sentence for each file property that separates two classes; one of `labels` and `planes` per cell.

    A value counts only if at least half of a class has it: tightly cut crops have many sizes, larger for larger nuclei.
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
        # These differ if the crops of one class were masked or stretched to the full range.
        "black pixels": "some" if plane.pixels.min() == 0 else "none",
        "pixels of the highest value": "some" if plane.pixels.max() == 1 else "none",
    }


def as_dataset(
    source, name, entries: pd.DataFrame, pictures, notes, size_px, on_error, about=None, paths=(), **more
) -> NucleusDataset:
    """Bring pictures (H, W) to one pixel size and image size, and return them as a data set.

    `entries` has one row per picture: label, sample_id, pixel_size_um (NaN if unknown), and optionally group. Smaller
    pictures are padded with their own background and all are scaled by the same factor, so that sizes of nuclei stay
    comparable. `about` are other crops of the same nuclei, whose centres identify them (`marks_of`), `paths` the files
    of the pictures. `more` are further fields of the data set.
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
    """Return "simulated", "real" or both; simulated pictures have `MARKER` beside their table or above themselves."""
    if ((source if source.is_dir() else source.parent) / MARKER).is_file():
        return "simulated"
    folders = {Path(path).resolve().parent for path in paths}
    found = {any((at / MARKER).is_file() for at in (folder, folder.parent)) for folder in folders}
    return "simulated and real" if len(found) == 2 else "simulated" if True in found else "real"


def _to_one_pixel_size(pictures, sizes_um: np.ndarray):
    """Resample pictures to their median pixel size if sizes differ and all are known; return pictures, sizes, notes."""
    known = sizes_um[np.isfinite(sizes_um)]
    n_unknown = len(sizes_um) - len(known)
    if not len(known):
        return pictures, sizes_um, []
    if np.allclose(known, known[0], rtol=0.01):
        note = f"{n_unknown} of {len(sizes_um)} files do not state their pixel size"
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
    """Group copies of one nucleus (turned, mirrored, cut wider); leave out or refuse copies with different labels."""
    known = dataset.known_by()
    # Crops that share only the order of values (third mark), e.g. spots without noise, are likely, not certain copies.
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
    note = f"{n_copies} images are copies of others; copies share a group, so that no fold separates them"
    keys = dataset.known_by() if dataset.groups is None else np.column_stack([dataset.groups, nucleus.astype(str)])
    groups = {"groups": joined(keys), "groups_are_copies": dataset.groups is None}
    # Copies join groups that no fold may divide, but not slides: these still have G1 peaks of their own.
    slides = dataset.groups if dataset.slides is None else dataset.slides
    return replace(dataset, **groups, slides=slides, notes=(*dataset.notes, note))


def _scale(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    if picture.shape == (height, width):
        return picture.astype(np.float32)
    return resize(picture[None], (1, height, width), order=1, anti_aliasing=True)[0].astype(np.float32)

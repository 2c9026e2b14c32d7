"""Images that are read together: which ones, and what they lend each other.

Fields of one slide or plate are stained and exposed alike, so that where the G1 peak lies is fitted to all their
nuclei, and then to those of each well (`cellcycle.stain`); a sparse field, or one in which a drug has emptied G1, could
not tell.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cellcycle.confidence.assessment import BY_MARGIN, CHANGED
from cellcycle.errors import DataError, ImageError
from cellcycle.images import Plane
from cellcycle.images.channels import says_stain
from cellcycle.images.makers import ALONE
from cellcycle.images.remote import is_url
from cellcycle.images.wells import Place, folder_of, group_of, places_of, share_no_well, stated_places, whole_path
from cellcycle.inputs import InputRule
from cellcycle.light import Light, fit_in_even_light
from cellcycle.names import shown_name
from cellcycle.nuclei import Anchor, Nuclei, Scale, likely_pixel_size_um
from cellcycle.predict.priors import one_peak_flag
from cellcycle.predict.same_field import are_bright_otherwise, same_fields
from cellcycle.scale import are_stretched, is_of_other_exposure, is_of_other_size, of_one_scale
from cellcycle.stain import MOST_STAIN, own_anchors

# What is kept in memory of the nuclei of all images.
_BOX = ("bbox_top_px", "bbox_left_px", "bbox_bottom_px", "bbox_right_px")
SEEN_COLUMNS = ("nucleus_id", "centroid_y_px", "centroid_x_px", *_BOX, "integrated_dna", "area_px", "flags")
# Flags of nuclei, for `cellcycle.predict.reasons`.
OTHER_PEAK, SAME_FIELD = "other_g1_peak", "same_field"


@dataclass(frozen=True)
class Shared:
    """What an image is told: its place and group, for the table, what its group lends it, or why it is refused."""

    columns: dict = field(default_factory=dict)
    anchor: Anchor | None = None
    pixel_size_um: float | None = None
    flag: str = ""
    light: Light | None = None
    refusal: str = ""


@dataclass(frozen=True)
class Seen:
    """What is kept in memory of a field: how it was recorded, and its nuclei without labels and picture."""

    nuclei: Nuclei
    bit_depth: int
    shape: tuple[int, int]


def slim(nuclei: Nuclei) -> Nuclei:
    """Return nuclei without what is as large as their image."""
    measured = {name: nuclei.measured[name] for name in SEEN_COLUMNS}
    return replace(nuclei, labels=None, picture=None, measured=measured)


def layout(images: Sequence, plate_map: Path | None = None, has_files: bool = True) -> tuple[list[dict], list[str]]:
    """Return the columns of place and map of each image, by which they are grouped, and notes on how that is known.

    OME metadata are looked at where the names are those of files that may be read: `has_files`.
    """
    paths = [_path(image) for image in images]
    places = stated_places(paths, places_of([*map(whole_path, paths)])) if has_files else places_of(paths)
    rows, notes = [{}] * len(paths), []
    if plate_map is not None:
        rows, notes = _rows_of_map(plate_map, images, places, has_files)
        places = _as_mapped(places, rows)
    notes = _notes_on_wells(paths, places) + notes
    known = [{"plate": place.plate, "well": place.well} for place in places]
    # The same columns in every row, also where a map says nothing.
    columns = [row | own | {n: v for n, v in row.items() if v != ""} for own, row in zip(known, rows, strict=True)]
    called: dict[str, str] = {}  # one folder may be named in several ways
    folders = [called.setdefault(os.path.dirname(whole_path(path)), folder_of(path)) if has_files
               else os.path.dirname(path) for path in paths]  # fmt: skip
    of_map = "" if plate_map is None else Path(plate_map).stem
    groups = [group_of(folder, own, of_map) for folder, own in zip(folders, columns, strict=True)]
    notes += _on_plates_apart({place.plate: place.own for place, row in zip(places, rows, strict=True)
                               if place.own != place.plate and not row.get("plate")})  # fmt: skip
    slides = defaultdict(set)
    for row, group in zip(rows, groups, strict=True):
        if row.get("slide") and not row.get("plate"):
            slides[row["slide"]].add(group)
    notes += [f"slide {name} lies on {len(of)} plates, and is read as {len(of)}: {', '.join(sorted(of)[:3])}; where "
              "these are one, add a column plate" for name, of in slides.items() if len(of) > 1]  # fmt: skip
    is_said = any(row.get("plate") or row.get("slide") for row in rows)
    if not is_said and not any(place.is_stated and place.plate for place in places):
        units = defaultdict(set)
        for k, (own, group) in enumerate(zip(columns, groups, strict=True)):
            units[group].add(own["well"] or k)
        # Names and folders that share no well may be conditions of what the map has as one plate.
        if plate_map is not None and len(units) > 1 and share_no_well(units):
            groups = [shown_name(of_map)] * len(groups)
        elif len(units) > 1 and all(len(own) == 1 for own in units.values()):
            has_wells = any(place.well for place in places)
            what = "plates (by folders and names) have one well" if has_wells else "folders have one image"
            notes.append(f"{len(units)} {what} each, and are read each by itself: where they are of one plate, name it "
                         "in a map with a column plate")  # fmt: skip
    return [own | {"group": group} for own, group in zip(columns, groups, strict=True)], notes


def _as_mapped(places: list[Place], rows: list[dict]) -> list[Place]:
    """Return places without those of files called a1 and b2 in several folders, unless the map has wells or plates."""
    plates = {place.plate for place in places if place.rule == ALONE}
    if len(plates) < 2 or any(row.get("plate") or row.get("well") for row in rows):
        return places
    return [Place() if place.rule == ALONE else place for place in places]


def _notes_on_wells(paths: list[str], places: list[Place]) -> list[str]:
    """Return by what the wells of images are known, with an example, and how many have none."""
    by_rule, stray, notes = defaultdict(list), [], []
    for path, place in zip(paths, places, strict=True):
        if place.well:
            by_rule[place.rule].append((path, place))
        elif path:
            stray.append(path)
    for rule, known in by_rule.items():
        path, first = known[0]
        example = f"{rule.split(':')[0]}: {first.well} in {shown_name(Path(path).name)}"
        by, what = ("metadata", rule) if first.is_stated else ("names", example)
        notes.append(f"wells by the {by} of {len(known)} image{'s' * (len(known) > 1)} ({what})")
    if stray and any(place.rule and not (place.well and place.is_stated) for place in places):
        notes.append(f"{len(stray)} of {len(paths)} images have no well, such as {shown_name(stray[0])}")
    return notes


def _rows_of_map(
    plate_map: Path, images: Sequence, places: list[Place], has_files: bool
) -> tuple[list[dict], list[str]]:
    """Do as `read_map`, but of a map that does not fit say which image that was named is not there."""
    from cellcycle.predict.platemap import read_map

    try:
        return read_map(plate_map, list(images), places)
    except DataError as error:
        missing = [(image, why) for image in images if (why := _missing(image, has_files))]
        # Of these two it is not the map that is wrong. What a plate or a folder of several lacks, and cannot be had,
        # hides no fault of the map.
        named = (why for image, why in missing if why is not image or len(missing) == len(images))
        raise next(named, error) from None


def _on_plates_apart(own_names: dict[str, str]) -> list[str]:
    """Return the note on plates told from others of their own name, and how they are joined."""
    if not own_names:
        return []
    told, name = ", ".join([*own_names][:3]) + ", ..." * (len(own_names) > 3), next(iter(own_names.values()))
    note = f"plates of one name, and acquisitions, that share a well count each for itself: {told}; where they are one"
    return [f"{note}, a map with a column plate that says {name or 'one name'} joins them"]


def named_in(plate_map: Path | None, images: list) -> set[str]:
    """Return the images that rows of a map name."""
    if plate_map is None:
        return set()
    from cellcycle.predict.platemap import images_in

    return images_in(plate_map, images)


def _missing(image, has_files: bool) -> ImageError | None:
    """Return why an image that was named is not there, None where it is."""
    if isinstance(image, ImageError):
        return image
    is_there = not has_files or not isinstance(image, str | Path) or is_url(image) or os.path.exists(image)
    return None if is_there else ImageError(image, "there is no such file", "check the path")


def _path(image) -> str:
    if isinstance(image, ImageError):
        return image.subject
    return image.path if isinstance(image, Plane) else str(image) if isinstance(image, str | Path) else ""


def share(
    columns: list[dict], seen: list[Seen | None], scale: Scale, least_quality: float
) -> tuple[list[Shared], list[str]]:
    """Return what each image is told, from what was seen of all, and notes for the user.

    `seen` is None for what is no field, or could not be read: it is judged by itself. So is a group whose common G1
    peak has less than `least_quality`.
    """
    shared, members, notes = [Shared({**own, "group": ""}) for own in columns], defaultdict(list), []
    for k, one in enumerate(seen):
        if one is not None and len(one.nuclei):
            members[columns[k]["group"]].append(k)
    for group, ks in members.items():
        for name, part in _parts(group, ks, seen, notes).items():
            if len(part) > 1:
                found, note = _lend([seen[k] for k in part], [_unit(columns[k], k) for k in part], scale, least_quality)
                notes.append(f"{len(part)} fields of {name}: {note}")
                for k, lent in zip(part, found, strict=True):
                    # A group that lends nothing is none for the table, either.
                    shared[k] = replace(lent, columns=columns[k] | {"group": name if lent.anchor else ""})
    return shared, notes


def at_one_scale(shared: list[Shared], seen: list[Seen | None], scale: Scale) -> tuple[list[Shared], list[str]]:
    """Return what images are told, and notes for the user: crops without a pixel size, at which scale they all are."""
    ks = [k for k, one in enumerate(seen) if one is not None and one.nuclei.kind == "nucleus"]
    at, size_um = of_one_scale([seen[k].nuclei for k in ks], scale)
    told = list(shared)
    for i in at:
        told[ks[i]] = replace(told[ks[i]], pixel_size_um=size_um)
    note = f"{len(at)} crops state no pixel size that can be: {size_um:.3g} um, by which their nuclei are of usual size"
    return told, [note] * bool(at)


def of_crops_unlike_training(
    shared: list[Shared], seen: list[Seen | None], rule: InputRule, is_shipped: bool = False
) -> list[Shared]:
    """Return what images are told: crops, by what flags those of the call are together unlike those of training."""
    crops = {k: one.nuclei for k, one in enumerate(seen) if one and len(one.nuclei) and one.nuclei.kind == "nucleus"}
    is_so = dict(zip((BY_MARGIN, CHANGED), are_unlike_training([*crops.values()], rule), strict=True))
    # A shipped model learned from cells that lie any way.
    is_so[CHANGED] |= is_shipped and are_stretched([*crops.values()])
    flag = ";".join(filter(is_so.get, is_so))
    return [replace(one, flag=flag) if flag and k in crops else one for k, one in enumerate(shared)]


def are_unlike_training(nuclei: list[Nuclei], rule: InputRule) -> tuple[bool, bool]:
    """Say whether nuclei are of another size in pixels, where these tell the model sizes, and of another exposure."""
    in_px = [one for one in nuclei if rule.crop_side_px(one.pixel_size_um if one.scale_is_known else None) is None]
    return is_of_other_size(in_px, rule.scale), is_of_other_exposure(nuclei, rule.scale)


def pairs_of_one_field(seen: list[Seen | None]) -> list[tuple[int, int]]:
    """Return which images, i < j, show the same nuclei at the same places."""
    ks = [k for k, one in enumerate(seen) if one is not None and one.nuclei.kind == "field"]
    return [(ks[i], ks[j]) for i, j in same_fields([seen[k].nuclei.centres for k in ks], [seen[k].shape for k in ks])]


def in_other_light(names: Sequence[str], seen: list[Seen | None], pairs: list[tuple[int, int]]) -> dict[int, str]:
    """Return which images of `pairs` are channels of one field, and why: their nuclei are not bright alike.

    Whatever the files are called. That whose name alone says a stain of DNA is none of them.
    """
    found: dict[int, str] = {}
    for i, j in pairs:
        own = [(seen[k].nuclei.centres, seen[k].nuclei.measured["integrated_dna"]) for k in (i, j)]
        dna = [k for k in (i, j) if says_stain(os.path.basename(names[k]))]
        for k in (i, j) if are_bright_otherwise(*own) else ():
            said = f"it shows the nuclei of {names[i + j - k]} at the same places in another light, as a channel would"
            found |= {k: said} if dna != [k] else {}
    return found


def told_apart(names: Sequence[str], pairs: list[tuple[int, int]], shared: list[Shared]):
    """Return what images are told, and notes for the user: which ones show the nuclei of another once more."""
    if not pairs:
        return shared, []
    again, told = {k for pair in pairs for k in pair}, list(shared)
    for k in again:
        told[k] = replace(told[k], flag=f"{told[k].flag};{SAME_FIELD}".strip(";"))
    first, second = (names[k] for k in pairs[0])
    note = f"{len(again)} images show the nuclei of another at the same places, such as {first} and {second}: "
    note += f"planes, copies or times of one field? Each nucleus would count anew ({SAME_FIELD})"
    return told, [note]


def _unit(columns: dict, k: int):
    """Return what shares one stain: the well of an image, or where that is not known the image."""
    return (columns.get("plate"), columns["well"]) if columns.get("well") else k


def _parts(group: str, ks: list[int], seen: list[Seen], notes: list[str]) -> dict[str, list[int]]:
    """Return a group, taken apart where its images were recorded in ways in which DNA does not compare."""
    ways = defaultdict(list)
    # What can be true of one field can be of all that state it.
    sizes = {seen[k].nuclei.stated_um for k in ks if seen[k].nuclei.scale_is_known}
    for k in ks:
        nuclei = seen[k].nuclei
        size = f"{nuclei.stated_um:.3g} um a pixel" if nuclei.stated_um in sizes else "pixel size unknown"
        ways[f"{seen[k].bit_depth} bits, {size}"].append(k)
    if len(ways) == 1:
        return {group: ks}
    counted = "; ".join(f"{len(part)} of {way}" for way, part in ways.items())
    notes.append(f"{len(ks)} fields of {group} are of several kinds ({counted}): each kind is read by itself")
    return {f"{group} ({way})": part for way, part in ways.items()}


def _lend(fields: list[Seen], units: list, scale: Scale, least_quality: float) -> tuple[list[Shared], str]:
    """Return what the images of a group lend each other, and a note; nothing where they have no common G1 peak."""
    nuclei, anchor, peak, light = fit_in_even_light([one.nuclei for one in fields], [one.shape for one in fields])
    alone = [Shared(flag="" if anchor else one_peak_flag(peak))] * len(nuclei)
    if anchor is None or anchor.quality < least_quality:
        return alone, f"no common G1 peak ({peak.reason or 'it is faint'}), so each is judged by itself"
    own_anchor, shifts, elsewhere = own_anchors(nuclei, units, anchor, peak, least_quality)
    if not own_anchor:
        finding = f"{len(elsewhere)} of {len(set(units))} lie elsewhere, or nowhere that can be told"
        return alone, f"G1 peaks differ ({finding}), so each is judged by itself"
    size_um = likely_pixel_size_um(nuclei, scale)
    note = f"G1 peak of quality {anchor.quality:.2f} of 1"
    if len(own_anchor) > 1 and shifts:
        words = "wells" if any(isinstance(unit, tuple) for unit in units) else "images"
        note += f", that of single {words} {min(shifts.values()):.2f} to {max(shifts.values()):.2f} times as bright"
    note += f"; {light.note}" if light else ""
    moved = {unit: shift for unit, shift in shifts.items() if abs(np.log(shift)) > MOST_STAIN}
    for unit, ratio in (moved | elsewhere).items():
        note += f"; {unit[1] if isinstance(unit, tuple) else f'image {units.index(unit) + 1}'} "
        if unit in moved:
            note += f"is read by its own G1 and G2 peaks, {ratio:.2f} times as bright"
        elif np.isnan(ratio):
            note += "does not fit the common G1 peak, and has no own one, to tell a drug from another exposure"
        else:
            note += f"has its own peak at {ratio:.2f} times that: another exposure, or more copies of the genome"
    return [Shared({}, own_anchor[unit], size_um, OTHER_PEAK * (unit in elsewhere), light) for unit in units], note

"""Groups of images that are read together, and what they share: anchor, pixel size, light and flags.

Fields of one slide or plate are stained and exposed alike. So the G1 peak is fitted to all their nuclei, and then to
those of each well (`cellcycle.stain`). A sparse field, or one in which a drug has emptied G1, has no clear peak.
"""

import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from cellcycle.confidence.assessment import BY_MARGIN, CHANGED
from cellcycle.errors import DataError, ImageError, SettingError
from cellcycle.images.channels import DNA_ALONE, says_stain
from cellcycle.images.makers import ALONE, TIME
from cellcycle.images.remote import is_url
from cellcycle.images.wells import Place, folder_of, group_of, places_of, share_no_well, stated_places, whole_path
from cellcycle.inputs import InputRule
from cellcycle.light import fit_in_even_light
from cellcycle.names import shown_name
from cellcycle.nuclei import Nuclei, Scale, likely_pixel_size_um
from cellcycle.predict.given import Given, Shared
from cellcycle.predict.priors import one_peak_flag
from cellcycle.scale import are_stretched, is_of_other_exposure, is_of_other_size, of_one_scale
from cellcycle.segmentation.same_field import are_bright_otherwise, same_fields
from cellcycle.stain import MOST_STAIN, own_anchors

# Flags of nuclei, for `cellcycle.predict.reasons`.
OTHER_PEAK, SAME_FIELD = "other_g1_peak", "same_field"


def layout(images, plate_map: Path | None = None, has_files: bool = True) -> tuple[list[dict], list[str]]:
    """Return for each image its columns of place, map and group, and notes for the user on how these are known.

    With `has_files`, the names are those of files, whose OME metadata are read.
    """
    images = list(map(Given.of, images))
    paths = [image.path for image in images]
    places = stated_places(paths, places_of([*map(whole_path, paths)])) if has_files else places_of(paths)
    rows, notes = [{}] * len(paths), []
    if plate_map is not None:
        rows, notes = _rows_of_map(plate_map, images, places, has_files)
        places = _as_mapped(places, rows)
    notes = _notes_on_wells(paths, places) + notes
    known = [{"plate": place.plate, "well": place.well} for place in places]
    # All rows have the same columns, also where the map is blank.
    columns = [row | own | {n: v for n, v in row.items() if v != ""} for own, row in zip(known, rows, strict=True)]
    notes += _notes_on_times(paths, columns)
    called: dict[str, str] = {}  # one folder may be named in several ways
    folders = [called.setdefault(os.path.dirname(whole_path(path)), folder_of(path)) if has_files
               else os.path.dirname(path) for path in paths]  # fmt: skip
    of_map = "" if plate_map is None else Path(plate_map).stem
    groups = [group_of(folder, own, of_map) for folder, own in zip(folders, columns, strict=True)]
    notes += _on_plates_apart({place.plate: place.own for place, row in zip(places, rows, strict=True)
                               if place.own != place.plate and not row.get("plate")})  # fmt: skip
    notes += _notes_on_divided(columns, rows, folders, groups)
    is_said = any(row.get("plate") or row.get("slide") for row in rows)
    if not is_said and not any(place.is_stated and place.plate for place in places):
        units = defaultdict(set)
        for k, (own, group) in enumerate(zip(columns, groups, strict=True)):
            units[group].add(own["well"] or k)
        # Names and folders that share no well may be conditions on one plate of the map.
        if plate_map is not None and len(units) > 1 and share_no_well(units):
            groups = [shown_name(of_map)] * len(groups)
        elif len(units) > 1 and all(len(own) == 1 for own in units.values()):
            has_wells = any(place.well for place in places)
            what = "plates (by folders and names) have one well" if has_wells else "folders have one image"
            notes.append(f"{len(units)} {what} each, and each is read by itself: if they are of one plate, name it in "
                         "the column plate of a map")  # fmt: skip
    return [own | {"group": group} for own, group in zip(columns, groups, strict=True)], notes


def _as_mapped(places: list[Place], rows: list[dict]) -> list[Place]:
    """Return places without those by well alone (a1, b2) in several folders, unless the map has wells or plates."""
    plates = {place.plate for place in places if place.rule == ALONE}
    if len(plates) < 2 or any(row.get("plate") or row.get("well") for row in rows):
        return places
    return [Place() if place.rule == ALONE else place for place in places]


def _notes_on_wells(paths: list[str], places: list[Place]) -> list[str]:
    """Return notes on how the wells of images are known, with an example, and on how many have none."""
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
        notes.append(f"wells read from the {by} of {len(known)} image{'s' * (len(known) > 1)} ({what})")
    if stray and any(place.rule and not (place.well and place.is_stated) for place in places):
        notes.append(f"{len(stray)} of {len(paths)} images have no well, such as {shown_name(stray[0])}")
    return notes


def _notes_on_times(paths: list[str], columns: list[dict]) -> list[str]:
    """Return a note (or none) if images are times of one field by their names, and no map distinguishes them."""
    fields = defaultdict(set)
    for path, own in zip(paths, columns, strict=True):
        fields[TIME.sub("", path), repr(own)].add(path)
    again = [sorted(of) for of in fields.values() if len(of) > 1]
    note = f"{sum(map(len, again))} images are times of one field by their names, such as "
    remedy = "each nucleus counts once per time: give one time, or a map with a condition for each"
    return [f"{note}{' and '.join(map(shown_name, again[0][:2]))}: {remedy}"] if again else []


def _notes_on_divided(columns: list[dict], rows: list[dict], folders: list[str], groups: list[str]) -> list[str]:
    """Return notes on wells of a map that lie in several folders (one of them), and on slides on several plates."""
    wells, slides = defaultdict(set), defaultdict(set)
    for own, row, folder, group in zip(columns, rows, folders, groups, strict=True):
        if own["well"] and not (own["plate"] or own.get("slide")):
            wells[own["well"]].add(shown_name(folder or os.curdir))
        if row.get("slide") and not row.get("plate"):
            slides[row["slide"]].add(group)
    notes = [f"well {well} lies in {' and '.join(sorted(of)[:2])}, and is one well by the map: where they are of "
             "several plates, add a column plate" for well, of in wells.items() if len(of) > 1][:1]  # fmt: skip
    return notes + [f"slide {name} lies on {len(of)} plates, and is read as {len(of)} slides: "
                    f"{', '.join(sorted(of)[:3])}; if it is one slide, add a column plate"
                    for name, of in slides.items() if len(of) > 1]  # fmt: skip


def _rows_of_map(plate_map: Path, images: list[Given], places: list[Place], has_files: bool) -> tuple[list, list[str]]:
    """Return what `read_map` returns; if a map does not fit because an image does not exist, raise that error."""
    from cellcycle.predict.platemap import read_map

    try:
        return read_map(plate_map, images, places)
    except DataError as error:
        names = [image.path for image in images if has_files and image.is_file and not is_url(image.path)]
        if gone := [name for name in names if not os.path.exists(name)]:
            raise ImageError(gone[0], "there is no such file", "check the path") from None
        # If no image can be read, the map is not at fault. If only some of several cannot, an error of the map comes
        # first.
        raise (images[0].error if all(image.error for image in images) else error) from None


def _on_plates_apart(own_names: dict[str, str]) -> list[str]:
    """Return the note on plates that share a name with others, and on how to join them."""
    if not own_names:
        return []
    told, name = ", ".join([*own_names][:3]) + ", ..." * (len(own_names) > 3), next(iter(own_names.values()))
    note = f"plates (or acquisitions) of one name that share a well are kept apart: {told}; if they are one plate"
    return [f"{note}, join them by a map whose column plate says {name or 'one name'}"]


def named_in(plate_map: Path | None, images: list) -> set[str]:
    """Return the paths of the images that rows of a map name; empty without a map."""
    if plate_map is None:
        return set()
    from cellcycle.predict.platemap import images_in

    return images_in(plate_map, images)


def share(images: list[Given], scale: Scale, least_quality: float) -> list[str]:
    """Give fields what their groups share, by the nuclei seen in all; return notes for the user.

    Other images are predicted by themselves. So are groups whose common G1 peak has less than `least_quality`.
    """
    members, notes = defaultdict(list), []
    for image in images:
        if image.shows("field"):
            members[image.group].append(image)
    for group, own in members.items():
        for name, part in _parts(group, own, notes).items():
            if len(part) > 1:
                notes.append(f"{len(part)} fields of {name}: {_lend(name, part, scale, least_quality)}")
    return notes


def share_as_slide(images: list[Given], least_quality: float, must: bool) -> list[str]:
    """Give images, crops too, the G1 peak of all their nuclei; return notes for the user.

    Without a peak of `least_quality` each is predicted by itself; if there `must` be one, a `SettingError` says why
    not.
    """
    _, anchor, peak, light = _in_common([image for image in images if image.seen is not None], least_quality)
    if anchor is None and must:
        raise SettingError("is_slide", peak.reason, "give more images of one slide, or predict without is_slide=True")
    for image in images if anchor else ():
        image.told.anchor, image.told.light = anchor, light
    return [f"G1 peak of the slide: {f'quality {anchor.quality:.2f} of 1' if anchor else 'none that is clear'}"]


def at_one_scale(images: list[Given], scale: Scale) -> list[str]:
    """Give crops without a possible pixel size one that is common to all; return notes for the user."""
    crops = [image for image in images if image.shows("nucleus")]
    at, size_um = of_one_scale([image.seen for image in crops], scale)
    for k in at:
        crops[k].told.pixel_size_um = size_um
    note = f"{len(at)} crops state no plausible pixel size: {size_um:.3g} um is used, so that nuclei have usual sizes"
    return [note] * bool(at)


def compare_with_training(images: list[Given], rule: InputRule, is_shipped: bool = False) -> None:
    """Flag all crops of a prediction if together they are unlike the crops of training."""
    crops = [image for image in images if image.shows("nucleus")]
    nuclei = [image.seen for image in crops]
    is_of_other_margin, is_changed = are_unlike_training(nuclei, rule)
    # Shipped models learned from cells of random orientation.
    is_changed |= is_shipped and are_stretched(nuclei)
    for image in crops:
        image.told.doubt(BY_MARGIN * is_of_other_margin)
        image.told.doubt(CHANGED * is_changed)


def are_unlike_training(nuclei: list[Nuclei], rule: InputRule) -> tuple[bool, bool]:
    """Return whether nuclei have another size in pixels, if the model measures size in pixels, and another exposure."""
    in_px = [one for one in nuclei if rule.crop_side_px(one.pixel_size_um if one.scale_is_known else None) is None]
    return is_of_other_size(in_px, rule.scale), is_of_other_exposure(nuclei, rule.scale)


def pairs_of_one_field(images: list[Given]) -> list[tuple[Given, Given]]:
    """Return the pairs of fields that show the same nuclei at the same places."""
    fields = [image for image in images if image.shows("field")]
    found = same_fields([image.seen.centres for image in fields], [image.seen.shape for image in fields])
    return [(fields[i], fields[j]) for i, j in found]


def refuse_other_light(pairs: list[tuple[Given, Given]]) -> None:
    """Refuse images that are channels of one field, by the brightness of their nuclei; they share nothing with others.

    File names play no role, except that an image is kept if it is the only one of a pair whose name says a DNA stain.
    """
    for pair in pairs:
        own = [(image.seen.centres, image.seen.measured["integrated_dna"]) for image in pair]
        dna = [image for image in pair if says_stain(os.path.basename(image.name))]
        for image, other in (pair, pair[::-1]) if are_bright_otherwise(*own) else ():
            if dna != [image]:
                said = f"it shows the nuclei of {other.name} at the same places, but unequally bright: another channel?"
                image.told.refusal = said, DNA_ALONE
    for image in {image for pair in pairs for image in pair if image.told.refusal}:
        image.seen = None


def tell_apart(pairs: list[tuple[Given, Given]]) -> list[str]:
    """Flag images that show the same nuclei as another; return notes for the user."""
    pairs = [pair for pair in pairs if not any(image.told.refusal for image in pair)]
    again = {image for pair in pairs for image in pair}
    for image in again:
        image.told.doubt(SAME_FIELD)
    if not again:
        return []
    first, second = (image.name for image in pairs[0])
    note = f"{len(again)} images show the nuclei of another at the same places, such as {first} and {second}: "
    return [f"{note}planes, copies or times of one field? Each nucleus would count several times ({SAME_FIELD})"]


def _unit(columns: dict, k: int):
    """Return the key of what shares one stain: plate and well of an image, or its index if the well is unknown."""
    return (columns.get("plate"), columns["well"]) if columns.get("well") else k


def _parts(group: str, fields: list[Given], notes: list[str]) -> dict[str, list[Given]]:
    """Return a group by parts in which DNA is comparable: images of one bit depth and pixel size."""
    ways = defaultdict(list)
    # A pixel size that can be true for one field can be for all that state it.
    sizes = {image.seen.stated_um for image in fields if image.seen.scale_is_known}
    for image in fields:
        stated_um = image.seen.stated_um
        size = f"{stated_um:.3g} um a pixel" if stated_um in sizes else "pixel size unknown"
        ways[f"{image.seen.bit_depth} bits, {size}"].append(image)
    if len(ways) == 1:
        return {group: fields}
    counted = "; ".join(f"{len(part)} of {way}" for way, part in ways.items())
    notes.append(f"{len(fields)} fields of {group} are of several kinds ({counted}): each kind is read by itself")
    return {f"{group} ({way})": part for way, part in ways.items()}


def _in_common(images: list[Given], least_quality: float):
    """Return `fit_in_even_light` of images, without an anchor below `least_quality`; flag fields with one DNA peak."""
    nuclei, anchor, peak, light = fit_in_even_light([image.seen for image in images])
    for image in images if anchor is None else ():
        # Crops were selected, so that equal DNA says nothing about their culture.
        image.told.doubt(one_peak_flag(peak) * image.shows("field"))
    is_clear = anchor is not None and anchor.quality >= least_quality
    return nuclei, anchor if is_clear else None, peak, light


def _lend(name: str, fields: list[Given], scale: Scale, least_quality: float) -> str:
    """Give the images of a group what they share, nothing without a common G1 peak; return a note."""
    nuclei, anchor, peak, light = _in_common(fields, least_quality)
    units = [_unit(image.told.columns, k) for k, image in enumerate(fields)]
    if anchor is None:
        return f"no common G1 peak ({peak.reason or 'it is faint'}), so each is judged by itself"
    own_anchor, shifts, elsewhere = own_anchors(nuclei, units, anchor, peak, least_quality)
    if not own_anchor:
        finding = f"{len(elsewhere)} of {len(set(units))} lie elsewhere, or cannot be found"
        return f"G1 peaks differ ({finding}), so each is judged by itself"
    size_um = likely_pixel_size_um(nuclei, scale)
    for image, unit in zip(fields, units, strict=True):
        # The column `group` is filled only here, for groups that share something.
        columns, flag = image.told.columns | {"group": name}, OTHER_PEAK * (unit in elsewhere)
        image.told = Shared(columns, own_anchor[unit], size_um, flag, light)
    note = f"G1 peak of quality {anchor.quality:.2f} of 1"
    if len(own_anchor) > 1 and shifts:
        words = "wells" if any(isinstance(unit, tuple) for unit in units) else "images"
        note += f"; in single {words} it is {min(shifts.values()):.2f} to {max(shifts.values()):.2f} times as bright"
    note += f"; {light.note}" if light else ""
    moved = {unit: shift for unit, shift in shifts.items() if abs(np.log(shift)) > MOST_STAIN}
    for unit, ratio in (moved | elsewhere).items():
        note += f"; {unit[1] if isinstance(unit, tuple) else shown_name(fields[unit].name)} "
        if unit in moved:
            note += f"is read by its own G1 and G2 peaks, {ratio:.2f} times as bright"
        elif np.isnan(ratio):
            note += "does not fit the common G1 peak and has no other: drug, exposure and ploidy cannot be told apart"
        else:
            note += f"has its own peak at {ratio:.2f} times the common one: another exposure, or more genome copies"
    return note

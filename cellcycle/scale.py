"""Choose a common scale for pictures, and check whether they are like those that a model was trained on.

Crops without a pixel size share one scale: for a single crop, its margin would decide how large its nucleus seems.
"""

from collections import defaultdict

import numpy as np

from cellcycle.nuclei import (
    ANY_CELLS_RATIO,
    LEAST_FOR_SCALE,
    Nuclei,
    Scale,
    find_nuclei,
    likely_pixel_size_um,
    most_ratio,
    typical,
)

# Pixel sizes within this ratio may differ by rounding only.
_OTHER_PIXELS = 1.05
# Largest absolute mean of log(height / width): crops of Jurkat and mitocheck have less than 0.1, metaphases 0.17. In
# small sets it can be larger by chance, up to this many standard errors.
_STRETCHED, _CHANCE = 0.3, 3


def nuclei_of(dataset, scale: Scale) -> list[Nuclei]:
    """Return the nuclei of each field of a `NucleusDataset`, or of each crop if it has no fields.

    Crops share one scale, as in one call of `predict`; for a model that takes crops as they are each has its own.
    """
    if dataset.fields:
        known = [(f, f.nuclei.scale_is_known) for f in dataset.fields]
        return [f.nuclei if is_known else find_nuclei(f.pixels, None, scale, "field") for f, is_known in known]
    found = each_crop_of(dataset, scale)
    at, size_um = of_one_scale(found, scale) if np.isfinite(scale.field_of_view_um) else ([], np.nan)
    for k in at:
        found[k] = found[k].scaled(size_um)
    return found


def each_crop_of(dataset, scale: Scale) -> list[Nuclei]:
    """Return the nuclei of each crop of a `NucleusDataset`, each at its own scale."""
    sizes = np.full(len(dataset), np.nan) if dataset.pixel_sizes_um is None else dataset.pixel_sizes_um
    pairs = zip(dataset.images, sizes, strict=True)
    return [find_nuclei(image[0], float(size) if size > 0 else None, scale, "nucleus") for image, size in pairs]


def of_one_scale(crops: list[Nuclei], scale: Scale) -> tuple[list[int], float]:
    """Return the indices of crops without a plausible pixel size, and the one that gives them the model's median area.

    [] and NaN for few or unlike magnified crops. A size stated by 8 or more must be plausible for their median nucleus.
    """
    stated = defaultdict(list)
    for k, one in enumerate(crops):
        if len(one):
            stated[one.stated_um if one.scale_is_known else None].append(k)
    at = stated.pop(None, [])
    for size_um, own in stated.items():
        if len(own) >= LEAST_FOR_SCALE and likely_pixel_size_um([crops[k] for k in own], scale) != size_um:
            at = sorted([*at, *own])
    areas = [crops[k].measured["area_px"][0] for k in at]
    if len(at) < LEAST_FOR_SCALE or np.quantile(areas, 0.9) > ANY_CELLS_RATIO * np.quantile(areas, 0.1):
        return [], np.nan
    return at, likely_pixel_size_um([crops[k] for k in at], scale)


def is_of_other_size(nuclei: list[Nuclei], scale: Scale) -> bool:
    """Return whether the nuclei of a field, or of the crops of one call, differ in area (pixels) from the training."""
    if not (nuclei and scale.area_px):
        return False
    most = most_ratio(nuclei)
    return not 1 / most <= typical(nuclei) / scale.area_px <= most


def is_of_other_exposure(nuclei: list[Nuclei], scale: Scale) -> bool:
    """Return whether nuclei are clearly dimmer or brighter than all training pictures; False for one: it may be M."""
    if not scale.brightest or sum(map(len, nuclei)) < 2:
        return False
    most = np.sqrt(most_ratio(nuclei))
    return not scale.dimmest / most <= brightness(nuclei) <= scale.brightest * most


def is_of_other_pixels(nuclei: Nuclei, scale: Scale) -> bool:
    """Return whether the stated pixel size is outside the range of the training: noise and grain differ then."""
    if not nuclei.scale_is_known:
        return False
    is_finer = nuclei.pixel_size_um * _OTHER_PIXELS < scale.finest_um
    return is_finer or (scale.coarsest_um > 0 and nuclei.pixel_size_um > _OTHER_PIXELS * scale.coarsest_um)


def are_stretched(crops: list[Nuclei]) -> bool:
    """Return whether nuclei of crops are on average taller than wide or the reverse; real cells have no such bias."""
    names = [f"bbox_{end}_px" for end in ("top", "bottom", "left", "right")]
    ends = ([one.measured[name][one.is_sound] for one in crops] for name in names)
    top, bottom, left, right = (np.concatenate([np.empty(0), *of]) for of in ends)
    longer = np.log((bottom - top) / (right - left))
    if len(longer) < LEAST_FOR_SCALE:
        return False
    return bool(abs(longer.mean()) > max(_STRETCHED, _CHANCE * longer.std() / np.sqrt(len(longer))))


def brightness(nuclei: list[Nuclei]) -> float:
    """Return the median DNA per pixel of the nuclei."""
    return typical(nuclei, "integrated_dna", "area_px")

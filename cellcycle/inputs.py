"""Inputs of networks: image and measurements of each nucleus, prepared by one rule, once before any fold."""

from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from cellcycle.arrays import as_crops
from cellcycle.cutting import cut_nucleus, fitted
from cellcycle.errors import SettingError, check_choice, check_size, check_whole
from cellcycle.grain import GRAIN, GRAIN_AMOUNTS, grain_columns
from cellcycle.nuclei import Anchor, Nuclei, Scale, fit_anchor
from cellcycle.scale import nuclei_of
from cellcycle.segmentation.crops import measure_crops, stained
from cellcycle.segmentation.measurements import READABLE
from cellcycle.segmentation.regions import border_of
from cellcycle.stain import anchored

SURROUNDINGS = ("kept", "painted")
UNITS = ("full-range", "g1")
# Ratios of amounts to level or noise of the background, which do not depend on the exposure of a camera.
RATIOS = {
    "crop_dna_over_noise": ("crop_dna", "border_noise"),
    "crop_dna_over_background": ("crop_dna", "border_level"),
    "mean_dna_over_background": ("mean_dna", "border_level"),
    "crop_dna_over_background_noise": ("crop_dna", "background_noise"),
    "picture_dna_over_background": ("picture_dna", "border_level"),
}
# Measurements of whole crops, and of nuclei relative to their group, all of them amounts.
OTHERS = ("crop_dna", "dna_copies", "area_over_g1", *GRAIN_AMOUNTS)
# Measurements for a network that sees the shape of a nucleus: form, and amounts of DNA.
_FORM = ("area_px", "texture", "eccentricity", "solidity")
MEASURED = (*_FORM, "crop_dna_over_noise", "integrated_dna", "mean_dna", "crop_dna")
# The same for pictures that are scaled one by one: only measurements that do not depend on the exposure of a picture.
MEASURED_PER_IMAGE = (
    *_FORM, "crop_dna_over_background", "mean_dna_over_background", "crop_dna_over_background_noise"
)  # fmt: skip
# The scale if training images stated no pixel size: the nucleus of a common cell line.
TYPICAL = Scale(200.0)
# Fields of a `Scale` in cards: the first two always, the others if they are known.
_SIZES = ("median_area_um2", "g1_area_um2", "area_px", "dimmest", "brightest", "finest_um", "coarsest_um")
_LEAST = 1e-6
# Least and greatest side of a crop; greatest ratio of the width of training crops to that of a crop, or the reverse.
_SIDES_PX, _MOST_WIDER = (4, 4096), 4


@dataclass(frozen=True)
class InputRule:
    """The rule by which a nucleus becomes an input, stored in the card of a model.

    The image is a square of `size_px`, with pixels `pixel_size_um` wide in the sample (None: the crop without a scale,
    only resized). `surroundings` are "kept", or "painted": the local background is subtracted, and neighbours are
    painted over. `unit` is that of intensity 1: "full-range" of the file, or "g1", one genome copy per um2 by the G1
    peak of the nuclei's group. `measurements` are of `READABLE`, `OTHERS`, `RATIOS` and `GRAIN`; those of `GRAIN` are
    last. `scale` is that of the training nuclei. Training crops without a scale were `crop_px` wide, and `crop_um` in
    the sample if all stated it: others, and nuclei of fields, are cut to that width. Impossible values raise a
    `SettingError`.

    Examples
    --------
    >>> InputRule.from_dict(InputRule(measurements=["area_px"]).to_dict()).measurements
    ('area_px',)
    """

    size_px: int = 64
    pixel_size_um: float | None = None
    surroundings: str = "kept"
    unit: str = "full-range"
    measurements: tuple[str, ...] = ()
    scale: Scale = TYPICAL
    crop_px: int | None = None
    crop_um: float | None = None

    def __post_init__(self):
        check_whole("size_px", self.size_px)
        if self.crop_px is not None:
            check_whole("crop_px", self.crop_px, *_SIDES_PX)
        for name in ("pixel_size_um", "crop_um"):
            check_size(name, getattr(self, name), or_none=True)
        for name, allowed in (("surroundings", SURROUNDINGS), ("unit", UNITS)):
            check_choice(name, getattr(self, name), allowed)
        if not isinstance(self.measurements, list | tuple):
            raise SettingError("measurements", f"{self.measurements!r} is no list", "give a list of names")
        ours = (*OTHERS, *RATIOS, *GRAIN)
        if taken := READABLE.keys() & ours:
            raise SettingError("measurement", f"{min(taken)!r} is taken", "register it by another name")
        for name in self.measurements:
            check_choice("measurements", name, (*READABLE, *ours))
        object.__setattr__(self, "measurements", tuple(sorted(self.measurements, key=GRAIN.__contains__)))
        if self.pixel_size_um is None and (self.surroundings, self.unit) != ("kept", "full-range"):
            raise SettingError("pixel_size_um", "missing", "painted surroundings and the unit g1 need a pixel size")
        for name in _SIZES:
            if name == _SIZES[0] or getattr(self.scale, name) != 0:
                check_size(f"scale.{name}", getattr(self.scale, name))
        if self.pixel_size_um is not None:
            object.__setattr__(self, "scale", replace(self.scale, field_of_view_um=self.field_of_view_um))

    @property
    def needs_anchor(self) -> bool:
        """Whether inputs need the G1 peak of the group."""
        return self.unit == "g1"

    def crop_side_px(self, pixel_size_um: float | None) -> int | None:
        """Return the side of the training crops in pixels of a given size; None if either size is unknown."""
        if self.crop_um is None or not pixel_size_um:
            return None
        return int(np.clip(round(self.crop_um / pixel_size_um), *_SIDES_PX))

    @property
    def field_of_view_um(self) -> float:
        """Side of the image in the sample; NaN for crops without a scale."""
        return self.size_px * (np.nan if self.pixel_size_um is None else self.pixel_size_um)

    def to_dict(self) -> dict:
        """Return the rule as a dict of JSON types."""
        made = asdict(self, dict_factory=_plain)
        made["measurements"] = list(self.measurements)
        made["scale"] = {k: v for k, v in made["scale"].items() if k in _SIZES[:2] or (k in _SIZES and v)}
        return {k: v for k, v in made.items() if v is not None or k == "pixel_size_um"}

    @classmethod
    def from_dict(cls, stored: dict) -> "InputRule":
        """Return the rule of a card; an unknown key is a `SettingError`."""
        scale = stored.get("scale", {})
        if not isinstance(scale, dict):
            raise SettingError("scale", f"{scale!r} is unknown", "give named areas in um2")
        for given, known in ((stored, [f.name for f in fields(cls)]), (scale, _SIZES)):
            if unknown := set(given) - set(known):
                raise SettingError(min(unknown), "no part of an input rule", "leave it out")
        return cls(**stored | {"scale": Scale(**scale) if scale else TYPICAL})


def _plain(pairs) -> dict:
    # JSON accepts no NumPy numbers.
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in pairs}


@dataclass(frozen=True, eq=False)
class Inputs:
    """What networks read, indexable like an array, so that scikit-learn can split it.

    `images` (N, C, S, S) float32 are in the unit of the rule, NaN if that needs an anchor and the group has none;
    `measurements` (N, M) float32, NaN where missing, have `names`.
    """

    images: np.ndarray
    measurements: np.ndarray
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, given) -> "Inputs":
        """Return inputs unchanged, or plain images (N, C, S, S) float in [0, 1] as inputs without measurements."""
        is_prepared = isinstance(given, cls)
        images = as_crops(given.images if is_prepared else given, "X", most=np.inf if is_prepared else 1)
        if images.shape[2] != images.shape[3]:
            raise SettingError("X", f"shape {images.shape}", "give images as (N, C, H, W) with H equal to W")
        return replace(given, images=images) if isinstance(given, cls) else cls(images, np.empty((len(images), 0), "f"))

    def measured_by(self, names) -> "Inputs":
        """Return the inputs with only these measurements, in this order; a missing one is a `SettingError`."""
        if tuple(names) == self.names:
            return self
        if missing := [name for name in names if name not in self.names]:
            raise SettingError("X", f"no {' and '.join(missing)}", "prepare inputs with these")
        chosen = self.measurements[:, [self.names.index(name) for name in names]]
        return Inputs(self.images, chosen, tuple(names))

    @classmethod
    def joined(cls, parts) -> "Inputs":
        """Return the concatenated inputs of several sets made by one rule."""
        parts = list(parts)
        images = np.concatenate([p.images for p in parts])
        return cls(images, np.concatenate([p.measurements for p in parts]), parts[0].names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the images."""
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> "Inputs":
        index = index[0] if isinstance(index, tuple) else index
        return Inputs(self.images[index], self.measurements[index], self.names)

    @property
    def is_amount(self) -> list[bool]:
        """Whether each measurement is an amount, of which networks get the logarithm."""
        return [READABLE.get(name, name not in GRAIN) for name in self.names] or [False] * self.measurements.shape[1]

    @property
    def n_grain(self) -> int:
        """Number of measurements of `GRAIN`, which are the last ones."""
        return sum(name in GRAIN for name in self.names)


def chosen_measurements(columns, names, n: int) -> np.ndarray:
    """Return measurements (N, M) float32 by name from the columns of a table; NaN if a column is missing.

    Examples
    --------
    >>> chosen_measurements({"crop_dna": [4.0], "border_level": [0.5]}, ["crop_dna_over_background", "texture"], 1)
    array([[ 8., nan]], dtype=float32)
    """
    missing = np.full(n, np.nan)

    def column(name: str) -> np.ndarray:
        if name in RATIOS:
            above, below = map(column, RATIOS[name])
            return above / np.maximum(below, _LEAST)
        return np.asarray(columns.get(name, missing), dtype=np.float64)

    return np.column_stack([np.empty((n, 0)), *map(column, names)]).astype(np.float32)


def prepare(dataset, rule: InputRule, found: list[Nuclei] | None = None) -> Inputs:
    """Return the inputs of the nuclei of a `NucleusDataset`, (N, ...) in their order; no label enters.

    Each slide gets its own anchor, as in a prediction of all its images together. `found` is the result of `nuclei_of`
    of the dataset, if known.
    """
    if dataset.fields:
        return _of_fields(dataset, rule)
    if rule.pixel_size_um is None:
        return _of_crops(dataset.images, rule, dataset.pixel_size_um)
    found = nuclei_of(dataset, rule.scale) if found is None else found
    groups = dataset.anchored_by
    anchors = {g: fit_anchor([found[i] for i in np.flatnonzero(groups == g)])[0] for g in np.unique(groups)}
    rows = zip(dataset.images, found, groups, strict=True)
    return Inputs.joined(inputs_of(image[0], nuclei, rule, anchors[g]) for image, nuclei, g in rows)


def _of_fields(dataset, rule: InputRule) -> Inputs:
    """Return the inputs of nuclei labelled in whole fields; nuclei without a label also count for the anchor."""
    found, of_field = nuclei_of(dataset, rule.scale), dataset.places[:, 0]
    made: list = [None] * len(dataset)
    # Fields of one slide that were recorded differently have different intensities for the same DNA.
    keys = np.array([f"{g}\n{dataset.fields[i].recorded}" for g, i in zip(dataset.anchored_by, of_field, strict=True)])
    for key in np.unique(keys):
        rows = np.flatnonzero(keys == key)
        at = np.unique(of_field[rows])
        units = [dataset.fields[i].well or i for i in at]
        read = anchored([found[i] for i in at], units, rule.scale)
        for i, (nuclei, anchor) in zip(at, read, strict=True):
            mine = rows[of_field[rows] == i]
            inputs = inputs_of(dataset.fields[i].pixels, nuclei, rule, anchor, dataset.places[mine, 1])
            for k, row in enumerate(mine):
                made[row] = inputs[k : k + 1]
    return Inputs.joined(made)


def inputs_of(pixels: np.ndarray, nuclei: Nuclei, rule: InputRule, anchor: Anchor | None = None, rows=None) -> Inputs:
    """Return the inputs of the nuclei of a plane (H, W) float32 in [0, 1], or of some `rows` of them.

    If a crop has no nucleus, the whole crop is used, with its centre for the nucleus. Without the anchor of the group,
    a rule in the unit "g1" gives images of NaN, which no model can call.
    """
    pixels = pixels if nuclei.picture is None else nuclei.picture.pixels
    size_um = nuclei.pixel_size_um
    size_um = size_um if np.isfinite(size_um) else rule.field_of_view_um / max(pixels.shape)
    if not len(nuclei):
        columns, ids, backgrounds = {}, [1], [float(np.median(border_of(pixels)))]
        centres = [tuple((side - 1) / 2 for side in pixels.shape)]
    else:
        columns = dict(nuclei.measured) | ({} if anchor is None else anchor.relative(nuclei, rule.scale))
        rows = np.arange(len(nuclei)) if rows is None else np.asarray(rows)
        columns = {name: np.asarray(values)[rows] for name, values in columns.items()}
        ids, backgrounds = columns["nucleus_id"].astype(int).tolist(), columns["background"].tolist()
        centres = nuclei.centres[rows]
    if rule.pixel_size_um is None and nuclei.kind == "nucleus":
        return _of_crops(pixels[np.newaxis, np.newaxis], rule, size_um if nuclei.scale_is_known else None)
    # If a model does not say how wide its crops were, a window has as many pixels as its inputs.
    step, side = rule.pixel_size_um / size_um if rule.pixel_size_um else 1.0, rule.size_px
    as_crops = rule.pixel_size_um is None and rule.crop_px is not None
    if as_crops:
        side = rule.crop_side_px(size_um if nuclei.scale_is_known else None) or rule.crop_px
        # At whole pixels, as crops are cut: interpolation between pixels reduces noise.
        centres = [tuple(round(c - (side - 1) / 2) + (side - 1) / 2 for c in centre) for centre in centres]
    painted, which = rule.surroundings == "painted", zip(ids, centres, backgrounds, strict=True)
    cut = (cut_nucleus(pixels, nuclei.labels, *each, step, side, painted)[np.newaxis, np.newaxis] for each in which)
    # One by one, because windows may be many times as wide as the inputs.
    images = np.concatenate([fitted(window, rule.size_px) if as_crops else window for window in cut])
    if "light" in columns:
        # The column is NaN where no uneven light was corrected.
        light = np.nan_to_num(columns["light"].astype(np.float32), nan=1)
        images = images / light[:, np.newaxis, np.newaxis, np.newaxis]
    if as_crops:
        return prepare_images(images, rule.measurements)
    if rule.unit == "g1":
        images = images * np.float32(np.nan if anchor is None else 2 / (anchor.position * size_um**2))
    columns = dict(columns) | grain_columns(images[:, 0], rule.measurements)
    return Inputs(images, chosen_measurements(columns, rule.measurements, len(ids)), rule.measurements)


def _of_crops(images: np.ndarray, rule: InputRule, size_um: float | None) -> Inputs:
    """Return the inputs of crops (N, C, H, W), cut or padded to the width of training crops, if it is known."""
    height, width = images.shape[2:]
    wide = max(height, width)
    side = rule.crop_side_px(size_um)
    if side is None or not 1 / _MOST_WIDER <= side / wide <= _MOST_WIDER:
        side = max(wide, rule.crop_px or 0)
    # One pixel more or less makes no difference to the margin.
    if abs(side - wide) > 1:
        top, left = (max(n - side, 0) // 2 for n in (height, width))
        images = fitted(images[:, :, top : top + side, left : left + side], side)
    return prepare_images(fitted(images, rule.size_px), rule.measurements)


def prepare_images(images: np.ndarray, measurements=()) -> Inputs:
    """Return crops (N, C, S, S) unchanged as inputs, with their measurements."""
    measured = dict(measure_crops(images)) | grain_columns(stained(images), measurements) if measurements else {}
    return Inputs(images, chosen_measurements(measured, measurements, len(images)), tuple(measurements))

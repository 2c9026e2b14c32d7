"""Inputs: what a network reads of each nucleus, by one rule, prepared once before any fold."""

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
# Amounts over the level or the noise of the background: the same at any exposure of one camera.
RATIOS = {
    "crop_dna_over_noise": ("crop_dna", "border_noise"),
    "crop_dna_over_background": ("crop_dna", "border_level"),
    "mean_dna_over_background": ("mean_dna", "border_level"),
    "crop_dna_over_background_noise": ("crop_dna", "background_noise"),
    "picture_dna_over_background": ("picture_dna", "border_level"),
}
# What is measured of whole crops, and of nuclei relative to their group: amounts, too.
OTHERS = ("crop_dna", "dna_copies", "area_over_g1", *GRAIN_AMOUNTS)
# What is measured on a nucleus for a network that sees its shape: form, and amounts of DNA.
_FORM = ("area_px", "texture", "eccentricity", "solidity")
MEASURED = (*_FORM, "crop_dna_over_noise", "integrated_dna", "mean_dna", "crop_dna")
# The same for pictures scaled one by one: what another exposure of the single picture leaves as it is.
MEASURED_PER_IMAGE = (
    *_FORM, "crop_dna_over_background", "mean_dna_over_background", "crop_dna_over_background_noise"
)  # fmt: skip
# Only where the training images stated no pixel size: a nucleus of a common cell line.
TYPICAL = Scale(200.0)
# Of a `Scale`, as cards hold it: the first always, the others where they are known.
_SIZES = ("median_area_um2", "g1_area_um2", "area_px", "dimmest", "brightest", "finest_um", "coarsest_um")
_LEAST = 1e-6
# Sides that an image of one nucleus can have, and how many times wider or narrower than usual it can have been cut.
_SIDES_PX, _MOST_WIDER = (4, 4096), 4


@dataclass(frozen=True)
class InputRule:
    """How a nucleus becomes an input; stands in the card of a model.

    A square image of side `size_px`, whose pixels are `pixel_size_um` wide in the sample (None: the crop as it is, only
    resized). `surroundings` "painted": the local background is taken off, and neighbours are painted over; or "kept".
    `unit` is what intensity 1 is, the file's "full-range", or "g1": one genome copy a um2, by the G1 peak of the
    nuclei's group. `measurements` are of `READABLE`, `OTHERS`, `RATIOS` and `GRAIN`, those of `GRAIN` last; `scale` is
    that of the training nuclei. Crops as they are were `crop_px` wide in training, and `crop_um` in the sample where
    all stated it: others, and nuclei of fields, are cut as wide. What cannot be is a `SettingError`.

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
        """Whether the G1 peak of the group must be known."""
        return self.unit == "g1"

    def crop_side_px(self, pixel_size_um: float | None) -> int | None:
        """Return the side of the training crops in pixels of a known size; None where theirs was not known."""
        if self.crop_um is None or not pixel_size_um:
            return None
        return int(np.clip(round(self.crop_um / pixel_size_um), *_SIDES_PX))

    @property
    def field_of_view_um(self) -> float:
        """Side of the image in the sample; NaN for crops as they are."""
        return self.size_px * (np.nan if self.pixel_size_um is None else self.pixel_size_um)

    def to_dict(self) -> dict:
        """Return the rule as JSON takes it."""
        made = asdict(self, dict_factory=_plain)
        made["measurements"] = list(self.measurements)
        made["scale"] = {k: v for k, v in made["scale"].items() if k in _SIZES[:2] or (k in _SIZES and v)}
        return {k: v for k, v in made.items() if v is not None or k == "pixel_size_um"}

    @classmethod
    def from_dict(cls, stored: dict) -> "InputRule":
        """Return the rule of a card; an unknown key is refused."""
        scale = stored.get("scale", {})
        if not isinstance(scale, dict):
            raise SettingError("scale", f"{scale!r} is unknown", "give named areas in um2")
        for given, known in ((stored, [f.name for f in fields(cls)]), (scale, _SIZES)):
            if unknown := set(given) - set(known):
                raise SettingError(min(unknown), "no part of an input rule", "leave it out")
        return cls(**stored | {"scale": Scale(**scale) if scale else TYPICAL})


def _plain(pairs) -> dict:
    # JSON takes no number of NumPy.
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in pairs}


@dataclass(frozen=True, eq=False)
class Inputs:
    """What networks read, indexable like an array, so that scikit-learn splits it.

    `images` (N, C, S, S) float32 in the unit of the rule, NaN for a nucleus whose group has no anchor where the rule
    needs one; `measurements` (N, M) float32 as measured, NaN where missing, with their `names`.
    """

    images: np.ndarray
    measurements: np.ndarray
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, given) -> "Inputs":
        """Return inputs as they are, and plain images (N, C, S, S) of floats without measurements as inputs."""
        is_prepared = isinstance(given, cls)
        images = as_crops(given.images if is_prepared else given, "X", most=np.inf if is_prepared else 1)
        if images.shape[2] != images.shape[3]:
            raise SettingError("X", f"shape {images.shape}", "give images as (N, C, H, W) with H equal to W")
        return replace(given, images=images) if isinstance(given, cls) else cls(images, np.empty((len(images), 0), "f"))

    def measured_by(self, names) -> "Inputs":
        """Return the inputs with these measurements alone, in this order; a missing one is a `SettingError`."""
        if tuple(names) == self.names:
            return self
        if missing := [name for name in names if name not in self.names]:
            raise SettingError("X", f"no {' and '.join(missing)}", "prepare inputs with these")
        chosen = self.measurements[:, [self.names.index(name) for name in names]]
        return Inputs(self.images, chosen, tuple(names))

    @classmethod
    def joined(cls, parts) -> "Inputs":
        """Return the inputs of several sets, by one rule, one below the other."""
        parts = list(parts)
        images = np.concatenate([p.images for p in parts])
        return cls(images, np.concatenate([p.measurements for p in parts]), parts[0].names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the images."""
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> "Inputs":
        index = index[0] if isinstance(index, tuple) else index
        return Inputs(self.images[index], self.measurements[index], self.names)

    @property
    def is_amount(self) -> list[bool]:
        """Whether each measurement is an amount, of which networks see the logarithm."""
        return [READABLE.get(name, name not in GRAIN) for name in self.names] or [False] * self.measurements.shape[1]

    @property
    def n_grain(self) -> int:
        """Number of measurements of `GRAIN`, the last ones."""
        return sum(name in GRAIN for name in self.names)


def chosen_measurements(columns, names, n: int) -> np.ndarray:
    """Return measurements (N, M) float32 by name from columns of the table, NaN where a column is missing.

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

    Its slides are anchored one by one, as a prediction of all their images together would. `found` is what
    `nuclei_of` gives of it, where that is known.
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
    """Return the inputs of nuclei that were labelled in whole fields; those without a label help to anchor."""
    found, of_field = nuclei_of(dataset, rule.scale), dataset.places[:, 0]
    made: list = [None] * len(dataset)
    # Two stains of one slide are two amounts of light for one DNA.
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
    """Return the inputs of nuclei found in a plane (H, W) float32 in [0, 1], or of some `rows` of them.

    A crop in which none was found is taken as it is, its middle for the nucleus. Without the anchor of the group a rule
    in the unit "g1" gives images of NaN, to which no model has an answer.
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
    # Of a model that does not say how wide its crops were a window has as many pixels as its inputs.
    step, side = rule.pixel_size_um / size_um if rule.pixel_size_um else 1.0, rule.size_px
    as_crops = rule.pixel_size_um is None and rule.crop_px is not None
    if as_crops:
        side = rule.crop_side_px(size_um if nuclei.scale_is_known else None) or rule.crop_px
        # On whole pixels, as a crop is cut: what lies between two has less noise.
        centres = [tuple(round(c - (side - 1) / 2) + (side - 1) / 2 for c in centre) for centre in centres]
    painted, which = rule.surroundings == "painted", zip(ids, centres, backgrounds, strict=True)
    cut = (cut_nucleus(pixels, nuclei.labels, *each, step, side, painted)[np.newaxis, np.newaxis] for each in which)
    # One by one: windows may be many times as wide as what is kept.
    images = np.concatenate([fitted(window, rule.size_px) if as_crops else window for window in cut])
    if "light" in columns:
        # NaN in a table where nothing was taken out.
        light = np.nan_to_num(columns["light"].astype(np.float32), nan=1)
        images = images / light[:, np.newaxis, np.newaxis, np.newaxis]
    if as_crops:
        return prepare_images(images, rule.measurements)
    if rule.unit == "g1":
        images = images * np.float32(np.nan if anchor is None else 2 / (anchor.position * size_um**2))
    columns = dict(columns) | grain_columns(images[:, 0], rule.measurements)
    return Inputs(images, chosen_measurements(columns, rule.measurements, len(ids)), rule.measurements)


def _of_crops(images: np.ndarray, rule: InputRule, size_um: float | None) -> Inputs:
    """Return the inputs of crops (N, C, H, W), cut or filled up to be as wide as those of the training, where known."""
    height, width = images.shape[2:]
    wide = max(height, width)
    side = rule.crop_side_px(size_um)
    if side is None or not 1 / _MOST_WIDER <= side / wide <= _MOST_WIDER:
        side = max(wide, rule.crop_px or 0)
    # A pixel more or less is not another margin.
    if abs(side - wide) > 1:
        top, left = (max(n - side, 0) // 2 for n in (height, width))
        images = fitted(images[:, :, top : top + side, left : left + side], side)
    return prepare_images(fitted(images, rule.size_px), rule.measurements)


def prepare_images(images: np.ndarray, measurements=()) -> Inputs:
    """Return crops (N, C, S, S) as they are, with their measurements."""
    measured = dict(measure_crops(images)) | grain_columns(stained(images), measurements) if measurements else {}
    return Inputs(images, chosen_measurements(measured, measurements, len(images)), tuple(measurements))

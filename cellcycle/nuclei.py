"""The nuclei of one image: its kind (field or crop), their outlines and measurements, pixel size and G1 anchor.

Training and prediction both find nuclei here.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from cellcycle.arrays import as_labels, as_picture
from cellcycle.dna_content import G1Peak, fit_g1_peak
from cellcycle.errors import check_choice, check_size
from cellcycle.segmentation import find_in_crop, find_in_field, looks_like_nucleus_crop
from cellcycle.segmentation.artefacts import Picture, look_over
from cellcycle.segmentation.crops import crop_columns, others_in
from cellcycle.segmentation.fields import with_neighbours
from cellcycle.segmentation.flags import with_flags
from cellcycle.segmentation.ground import Ground, ground_of
from cellcycle.segmentation.measurements import measured_columns
from cellcycle.segmentation.regions import PLAIN_CROP_PX

KINDS = ("auto", "field", "nucleus")
# Greatest ratio of the area of a typical nucleus to the model's, or the reverse, for one nucleus; `_MOST_AREA_RATIOS`
# has those for more. Beyond it the scale is wrong, or the cells are of a kind whose size tells the model nothing.
ANY_CELLS_RATIO = 6.0
# At least this many nuclei are needed to estimate the scale from their sizes.
LEAST_FOR_SCALE = 8
_MOST_AREA_RATIOS = ((LEAST_FOR_SCALE, 2.0), (2, 4.0), (0, ANY_CELLS_RATIO))
# Crops are usually about as wide as those of training; if so, the area of the nucleus is within this factor of theirs.
_LIKELY_AREA_RATIO = 4.0
# A pixel size at which a typical nucleus has fewer pixels a side than this is implausible.
_LEAST_SEEN_PX = 4
# Greatest number of nuclei in a crop: its own and, as in `looks_like_nucleus_crop`, three neighbours.
_MOST_IN_CROP = 4
# Range of genome copies that are taken for G1.
_G1_COPIES = (1.6, 2.4)
OVEREXPOSED, _MOST_OVEREXPOSED = "saturated", 0.1
_SPOILT = {"edge", "clump", "debris", "out_of_focus", OVEREXPOSED}


@dataclass(frozen=True)
class Scale:
    """Typical sizes of the nuclei on which a model was trained, from which the scale of an image without one follows.

    Median area of all nuclei of a growing population, and of those with the DNA of G1 (0: not measured); side of a
    crop. The other fields identify pictures unlike those of training (0: not used): median area in pixels, `typical`
    DNA per pixel of the dimmest and the brightest picture, and the finest and the coarsest pixel size.
    """

    median_area_um2: float
    g1_area_um2: float = 0.0
    field_of_view_um: float = np.inf
    area_px: float = 0.0
    dimmest: float = 0.0
    brightest: float = 0.0
    finest_um: float = 0.0
    coarsest_um: float = 0.0


@dataclass(frozen=True)
class Anchor:
    """DNA and area of a G1 nucleus in a group of one stain and exposure: a field, a slide, a plate.

    `position` is its integrated DNA. `quality` in [0, 1] is that of the fit, see `cellcycle.dna_content.G1Peak`, NaN if
    the user gave none. `area_px` is the median area of the sound nuclei with the DNA of G1, None without. `n_by_dna`
    are the numbers of nuclei in G1, S and G2 by the DNA histogram of a field, well or slide, None if unknown.
    """

    position: float
    quality: float = np.nan
    area_px: float | None = None
    n_by_dna: tuple[float, float, float] | None = None

    def relative(self, nuclei: "Nuclei", scale: Scale) -> dict[str, np.ndarray]:
        """Return genome copies, and area relative to G1 (by `scale` without `area_px`, or NaN), each (N,)."""
        area_px = self.area_px
        if area_px is None and scale.g1_area_um2:
            area_px = scale.g1_area_um2 / nuclei.pixel_size_um**2
        return {
            "dna_copies": 2 * nuclei.measured["integrated_dna"] / self.position,
            "area_over_g1": nuclei.measured["area_px"] / (area_px or np.nan),
        }


@dataclass(frozen=True, eq=False)
class Nuclei:
    """The nuclei of one plane, whose `kind` is "field" or "nucleus" (crop of one).

    `measured` holds the columns (N,) of `cellcycle.segmentation.measure`. In `labels` (H, W) int32, 0 is background and
    k the nucleus with `nucleus_id` k. Other numbers are nuclei that are not called: in a crop 2 is all neighbours; in a
    field with a mask they are nuclei that it leaves out. `pixel_size_um` is the stated one if it can be true
    (`scale_is_known`), else it follows from the size of the nuclei; `stated_um` is what was stated, NaN for nothing.
    `remark` says how their mask was read. `n_shown` is the number of nuclei in a picture that was given as a crop of
    one and is none, else 0; `n_beside` that of other whole nuclei in a picture taken for a crop, which are not called;
    `n_bright` that of objects as large as nuclei, omitted as dirt because they are far brighter. `picture` is the plane
    with artefacts painted over, which networks see; None: the plane itself. `shape` and `bit_depth` are those of the
    plane.
    """

    kind: str
    measured: dict[str, np.ndarray] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    pixel_size_um: float
    scale_is_known: bool
    stated_um: float = np.nan
    remark: str = ""
    n_shown: int = 0
    n_beside: int = 0
    n_bright: int = 0
    picture: Picture | None = field(default=None, repr=False)
    shape: tuple[int, int] = (0, 0)
    bit_depth: int = 0

    def __len__(self) -> int:
        """Number of nuclei."""
        return len(self.measured["nucleus_id"])

    @property
    def centres(self) -> np.ndarray:
        """Row and column of the centroid of each nucleus, (N, 2)."""
        return np.column_stack([self.measured["centroid_y_px"], self.measured["centroid_x_px"]])

    @property
    def is_sound(self) -> np.ndarray:
        """Whether each nucleus, (N,), is free of flags that spoil its measurements."""
        # In a crop, halves of a division may be flagged as a clump. That asks for review, but must not change the
        # scale.
        spoilt = _SPOILT - {"clump"} if self.kind == "nucleus" else _SPOILT
        # Overexposed nuclei are the brightest: without them a field would seem to have no G2.
        return self.free_of(spoilt - {OVEREXPOSED} if self.is_overexposed else spoilt)

    @property
    def is_overexposed(self) -> bool:
        """Whether more than a tenth of the nuclei of a field are overexposed."""
        return self.kind == "field" and are_overexposed([self])

    def free_of(self, flags: set[str]) -> np.ndarray:
        """Return which nuclei (N,) have none of these flags."""
        return np.array([flags.isdisjoint(text.split(";")) for text in self.measured["flags"]], dtype=bool)

    def ground(self, pixels: np.ndarray) -> Ground:
        """Return how the plane of the nuclei, `pixels` (H, W), was changed."""
        return ground_of(pixels if self.picture is None else self.picture.pixels, self.labels)

    @property
    def scale_note(self) -> str:
        """A note if the stated pixel size cannot be true, else ""."""
        if self.scale_is_known or not np.isfinite(self.stated_um):
            return ""
        area_um2 = typical([self]) * self.stated_um**2
        area = f"{float(f'{area_um2:.3g}'):,.10g} um2"
        said = f"at {self.stated_um:.3g} um a pixel its nuclei would have {area}, unlike those of any model"
        return f"{said}: its scale counts as unknown"

    @property
    def crop_note(self) -> str:
        """A note if a picture that was given as, or taken for, a crop of one nucleus shows more, else ""."""
        if self.n_shown:
            return f"it shows {self.n_shown} nuclei, not one: predict it as a field"
        others = f"{self.n_beside} other whole nuclei" if self.n_beside > 1 else "another whole nucleus"
        said = f"it is read as a crop of one nucleus, but shows {others}: to call all, predict it as a field"
        return said if self.n_beside else ""

    def scaled(self, pixel_size_um: float) -> "Nuclei":
        """Return the same nuclei with another pixel size."""
        measured = self.measured | {"area_um2": self.measured["area_px"] * pixel_size_um**2}
        is_known = pixel_size_um == self.stated_um
        return replace(self, measured=measured, pixel_size_um=pixel_size_um, scale_is_known=is_known)


def find_nuclei(
    pixels: np.ndarray, pixel_size_um: float | None, scale: Scale, kind: str = "auto", segmentation: str = "trained"
) -> Nuclei:
    """Return the nuclei of an image, with the pixel size.

    "auto" takes an image for a crop of one nucleus by the rule of `looks_like_nucleus_crop`. If there is no pixel size,
    or the typical nucleus would differ from the model's by more than a factor in area (2 for 8 nuclei and more, 4 for 2
    to 7, 6 for one), the scale follows from the image: a crop has the model's field of view if its nucleus then has a
    likely area; otherwise the median nucleus gets the model's median area.

    `pixels` are (H, W) float in [0, 1], `scale` is that of the model that will be used, `kind` "auto", "field" or
    "nucleus"; `segmentation` is that of `segment`, for fields.
    """
    check_choice("kind", kind, KINDS)
    check_size("pixel_size_um", pixel_size_um, or_none=True)
    picture = look_over(as_picture(pixels))
    pixels = picture.pixels
    if kind == "nucleus" or (kind == "auto" and looks_like_nucleus_crop(pixels)):
        measured, labels = find_in_crop(pixels, pixel_size_um)
        found = _judged("nucleus", measured, labels, pixel_size_um, picture, scale)
        return replace(found, n_beside=others_in(labels)[1]) if kind == "auto" else found

    def found_by(told_um: float | None) -> Nuclei:
        labels = find_in_field(pixels, told_um, segmentation)
        measured = measured_columns(pixels, labels, pixel_size_um)
        return _judged("field", measured, labels, pixel_size_um, picture, scale)

    if pixel_size_um and np.sqrt(scale.median_area_um2) < _LEAST_SEEN_PX * pixel_size_um:
        # Probably the pixel size of the camera chip: a search for nuclei of two pixels would take long.
        found = found_by(None)
        if len(found) and found.scale_note:
            return found
    for told_um in dict.fromkeys((pixel_size_um, None)):
        found = found_by(told_um)
        if len(found) and not found.scale_note:
            break
        # A wrong pixel size also misleads the segmentation: repeat it without.
    return found


def outlined_nuclei(
    pixels: np.ndarray, labels: np.ndarray, pixel_size_um: float | None, scale: Scale, kind: str, remark: str = ""
) -> Nuclei:
    """Return the nuclei of a given label image (H, W) int32, with its numbers.

    The other arguments are those of `find_nuclei`, but `kind` is "field" or "nucleus".
    """
    check_choice("kind", kind, KINDS[1:])
    picture, own = look_over(as_picture(pixels)), as_labels(labels, np.asarray(pixels))
    labels = with_neighbours(picture.pixels, own, pixel_size_um) if kind == "field" else own
    measured = measured_columns(picture.pixels, labels, pixel_size_um)
    measured = {name: values[np.isin(measured["nucleus_id"], own)] for name, values in measured.items()}
    if kind == "nucleus" and len(measured["nucleus_id"]):
        measured |= crop_columns(picture.pixels[np.newaxis])
    return _judged(kind, measured, labels, pixel_size_um, picture, scale, remark)


def _judged(kind: str, measured, labels, stated_um: float | None, picture: Picture, scale: Scale, remark="") -> Nuclei:
    """Return nuclei with flags of artefacts that they touch, and with a pixel size that can be true."""
    flags = with_flags(measured["flags"], measured["nucleus_id"], picture.flags(labels))
    measured, is_known, size_um = measured | {"flags": flags}, stated_um is not None, stated_um or np.nan
    seen = {"n_bright": picture.n_bright(measured["area_px"]), "picture": picture, "shape": labels.shape}
    found = Nuclei(kind, measured, labels, size_um, is_known, size_um, remark, **seen)
    return _with_scale(found, scale) if len(found) else found


def n_nuclei_shown(pixels: np.ndarray) -> int:
    """Return the number of nuclei that a picture (H, W) shows, if it is more than a crop may show, else 0."""
    if max(pixels.shape) <= PLAIN_CROP_PX or looks_like_nucleus_crop(pixels := look_over(pixels).pixels):
        return 0
    n_shown = len(np.unique(find_in_field(pixels, None, "trained"))) - 1
    return n_shown if n_shown > _MOST_IN_CROP else 0


def _with_scale(found: Nuclei, scale: Scale) -> Nuclei:
    """Return nuclei with a pixel size that can be true, and areas in um2 by it."""
    size_um = scale.field_of_view_um / max(found.shape)
    is_crop = found.kind == "nucleus" and _can_be(size_um, [found], scale, _LIKELY_AREA_RATIO)
    is_told = is_crop and not _can_be(found.stated_um, [found], scale)
    return found.scaled(size_um if is_told else likely_pixel_size_um([found], scale))


def likely_pixel_size_um(nuclei: list[Nuclei], scale: Scale, most: float | None = None) -> float:
    """Return the pixel size that all images state, or, if it cannot be true, one that gives the model's median area.

    `most` is the greatest ratio of their typical area to the model's, or the reverse; by default by their number.
    """
    if len({found.stated_um for found in nuclei}) == 1 and _can_be(nuclei[0].stated_um, nuclei, scale, most):
        return nuclei[0].stated_um
    return float(np.sqrt(scale.median_area_um2 / typical(nuclei)))


def _can_be(size_um: float, nuclei: list[Nuclei], scale: Scale, most: float | None = None) -> bool:
    most = most or most_ratio(nuclei)
    return np.isfinite(size_um) and 1 / most <= typical(nuclei) * size_um**2 / scale.median_area_um2 <= most


def most_ratio(nuclei: list[Nuclei]) -> float:
    """Return the greatest ratio of the typical area of nuclei to the model's, or the reverse, by their number."""
    n_nuclei = sum(map(len, nuclei))
    return next(ratio for least, ratio in _MOST_AREA_RATIOS if n_nuclei >= least)


def typical(nuclei: list[Nuclei], name: str = "area_px", per: str | None = None) -> float:
    """Return the median of a measurement, or of its ratio to `per`, over sound nuclei; over all if none is sound."""
    values = [n.measured[name] / (n.measured[per] if per else 1) for n in nuclei]
    values, sound = np.concatenate(values), np.concatenate([n.is_sound for n in nuclei])
    return float(np.median(values[sound] if sound.any() else values))


def has_g1_dna(copies: np.ndarray) -> np.ndarray:
    """Return which genome copies (N,) are taken for G1.

    Examples
    --------
    >>> has_g1_dna(np.array([1.0, 2.1, 4.0])).tolist()
    [False, True, False]
    """
    return (copies > _G1_COPIES[0]) & (copies < _G1_COPIES[1])


def are_overexposed(nuclei) -> bool:
    """Return whether more than a tenth of the nuclei of images that have no other spoiling flag are overexposed."""
    sound, whole = (sum(own.free_of(flags).sum() for own in nuclei) for flags in (_SPOILT, _SPOILT - {OVEREXPOSED}))
    return bool(sound < (1 - _MOST_OVEREXPOSED) * whole)


def sound_dna(nuclei) -> np.ndarray:
    """Return the integrated DNA (N,) of the sound nuclei of images."""
    return np.concatenate([np.empty(0), *(own.measured["integrated_dna"][own.is_sound] for own in nuclei)])


def fit_anchor(nuclei) -> tuple[Anchor | None, G1Peak]:
    """Return the anchor and the fitted G1 peak of a group, the `Nuclei` of its images.

    The anchor is None if the peak is not usable. One peak of overexposed nuclei does not show an arrested culture.
    """
    nuclei = list(nuclei)
    peak = fit_g1_peak(sound_dna(nuclei))
    if not peak.is_usable:
        return None, replace(peak, is_arrested=peak.is_arrested and not are_overexposed(nuclei))
    n_by_dna = tuple(peak.n_nuclei * peak.fractions[phase] for phase in ("G1", "S", "G2"))
    return Anchor(peak.position, peak.quality, g1_area_px(nuclei, peak.position), n_by_dna), peak


def g1_area_px(nuclei, g1_position: float) -> float | None:
    """Return the median area in pixels of the sound nuclei with the DNA of G1; None where there is none."""
    copies = ((own, 2 * own.measured["integrated_dna"] / g1_position) for own in nuclei)
    areas = [own.measured["area_px"][has_g1_dna(n) & own.is_sound] for own, n in copies]
    return float(np.median(np.concatenate(areas))) if any(map(len, areas)) else None

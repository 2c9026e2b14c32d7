"""The nuclei of one image: is it a field or a crop, where are they, how large is a pixel, how much DNA has G1.

The one place where nuclei are found, for training and for prediction.
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
# A typical nucleus this many times larger or smaller than the model's shows that the scale is wrong, or that the cells
# are of a kind whose size tells the model nothing: one nucleus, a few, and the many of a field. Cells of any kind.
ANY_CELLS_RATIO = 6.0
# So many nuclei tell a scale.
LEAST_FOR_SCALE = 8
_MOST_AREA_RATIOS = ((LEAST_FOR_SCALE, 2.0), (2, 4.0), (0, ANY_CELLS_RATIO))
# Crops are usually cut about as wide as those of the training set; if so, the nucleus has a likely area.
_LIKELY_AREA_RATIO = 4.0
# No microscopist lets a usual nucleus have so few pixels a side.
_LEAST_SEEN_PX = 4
# A crop may show that many, its own and, as for `looks_like_nucleus_crop`, three neighbours.
_MOST_IN_CROP = 4
# Genome copies that are taken for G1.
_G1_COPIES = (1.6, 2.4)
OVEREXPOSED, _MOST_OVEREXPOSED = "saturated", 0.1
_SPOILT = {"edge", "clump", "debris", "out_of_focus", OVEREXPOSED}


@dataclass(frozen=True)
class Scale:
    """Typical sizes of the nuclei that a model was trained on; they stand in where an image tells no scale.

    Median area of all nuclei of a growing population, and of those with the DNA of G1, 0 where it was not measured;
    side of a crop. By the others new pictures are told that are unlike those of training, 0 where they are of no
    account: median area in pixels, DNA a pixel of the dimmest and the brightest picture, its `typical` one, and the
    finest and the coarsest pixel size.
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
    """What a nucleus in G1 looks like in a group of nuclei of one stain and exposure: a field, a slide, a plate.

    `position` is its integrated DNA; `quality` in [0, 1] that of the fit, see `cellcycle.dna_content.G1Peak`, NaN where
    it was given; `area_px` the median area of the sound nuclei with the DNA of G1, None where there is none; `n_by_dna`
    how many nuclei the DNA histogram of a field, well or slide has in G1, S and G2, None where it was not looked at.
    """

    position: float
    quality: float = np.nan
    area_px: float | None = None
    n_by_dna: tuple[float, float, float] | None = None

    def relative(self, nuclei: "Nuclei", scale: Scale) -> dict[str, np.ndarray]:
        """Return genome copies and area over that of G1, each (N,); without an area in G1 by that of `scale`."""
        area_px = self.area_px
        if area_px is None and scale.g1_area_um2:
            area_px = scale.g1_area_um2 / nuclei.pixel_size_um**2
        return {
            "dna_copies": 2 * nuclei.measured["integrated_dna"] / self.position,
            "area_over_g1": nuclei.measured["area_px"] / (area_px or np.nan),
        }


@dataclass(frozen=True, eq=False)
class Nuclei:
    """The nuclei that were found in one plane, which was taken for the `kind` "field" or "nucleus".

    `measured` holds what was measured on each, (N,): the columns of `cellcycle.segmentation.measure`. In `labels` (H,
    W) int32 0 is background, k the nucleus with `nucleus_id` k, and other numbers are nuclei that are not called: in a
    crop 2 is all neighbours; in a field that somebody else outlined what was left out. The pixel size is as stated, or
    as it follows from the size of the nuclei; `scale_is_known` says whether it was stated, and can be true; `stated_um`
    is what was stated, NaN for nothing. `remark` is what had to be understood in the mask that they are from. `n_shown`
    is the number of nuclei in a picture that was said to be a crop of one and is none, else 0; `n_beside` that of
    others that lie whole in a picture that was taken for a crop, and are not called; `n_bright` that of objects as
    large as nuclei that were left out as dirt, for they are far brighter. `picture` is the plane without what is no
    picture of nuclei, which networks look at; None: the plane itself. `shape` and `bit_depth` are those of the plane.
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
        """Row and column of the centre of each nucleus, (N, 2): that of its mass."""
        return np.column_stack([self.measured["centroid_y_px"], self.measured["centroid_x_px"]])

    @property
    def is_sound(self) -> np.ndarray:
        """Whether each nucleus, (N,), is free of flags that spoil its measurements."""
        # Halves of a division may pass for two nuclei in a crop: it is looked at, but moves no scale.
        spoilt = _SPOILT - {"clump"} if self.kind == "nucleus" else _SPOILT
        # Overexposed nuclei are the brightest: without them a field seems to hold no G2.
        return self.free_of(spoilt - {OVEREXPOSED} if self.is_overexposed else spoilt)

    @property
    def is_overexposed(self) -> bool:
        """Whether so many nuclei of a field are that their DNA is not as it was."""
        return self.kind == "field" and are_overexposed([self])

    def free_of(self, flags: set[str]) -> np.ndarray:
        """Say of each nucleus, (N,), whether it has none of these flags."""
        return np.array([flags.isdisjoint(text.split(";")) for text in self.measured["flags"]], dtype=bool)

    def ground(self, pixels: np.ndarray) -> Ground:
        """Return what was done to the plane (H, W) that they are from."""
        return ground_of(pixels if self.picture is None else self.picture.pixels, self.labels)

    @property
    def scale_note(self) -> str:
        """What cannot be in the pixel size that was stated; "" where there is nothing."""
        if self.scale_is_known or not np.isfinite(self.stated_um):
            return ""
        area_um2 = typical([self]) * self.stated_um**2
        area = f"{float(f'{area_um2:.3g}'):,.10g} um2"
        said = f"at {self.stated_um:.3g} um a pixel its nuclei would have {area}, unlike those of any model"
        return f"{said}: its scale counts as unknown"

    @property
    def crop_note(self) -> str:
        """What is wrong where a picture that was said to be a crop of one nucleus is none, or may be none."""
        if self.n_shown:
            return f"it shows {self.n_shown} nuclei, not one: predict it as a field"
        others = f"{self.n_beside} others lie" if self.n_beside > 1 else "another lies"
        said = f"it is read as a crop of one nucleus, and {others} whole in it: to call all say --field"
        return said if self.n_beside else ""

    def scaled(self, pixel_size_um: float) -> "Nuclei":
        """Return the same nuclei with another size of the pixels."""
        measured = self.measured | {"area_um2": self.measured["area_px"] * pixel_size_um**2}
        is_known = pixel_size_um == self.stated_um
        return replace(self, measured=measured, pixel_size_um=pixel_size_um, scale_is_known=is_known)


def find_nuclei(
    pixels: np.ndarray, pixel_size_um: float | None, scale: Scale, kind: str = "auto", segmentation: str = "trained"
) -> Nuclei:
    """Find the nuclei of an image and the size of its pixels.

    "auto" takes an image for a crop of one nucleus by the rule of `looks_like_nucleus_crop`. Without a pixel
    size, or with one by which nuclei would be far larger or smaller than the model's (in area twice for a field, six
    times for a crop), the scale follows from the image: a crop has the model's field of view if its nucleus then has
    a likely area; otherwise the median nucleus has the model's median area.

    `pixels` are (H, W) float32 in [0, 1], `scale` is that of the model that will look at them, `kind` "auto", "field"
    or "nucleus", `segmentation` one of `segment`, for fields.
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
        # The size of a pixel of the camera, most likely: to look for nuclei of two pixels would take long.
        found = found_by(None)
        if len(found) and found.scale_note:
            return found
    for told_um in dict.fromkeys((pixel_size_um, None)):
        found = found_by(told_um)
        if len(found) and not found.scale_note:
            break
        # A pixel size that cannot be true has misled the finder, too.
    return found


def outlined_nuclei(
    pixels: np.ndarray, labels: np.ndarray, pixel_size_um: float | None, scale: Scale, kind: str, remark: str = ""
) -> Nuclei:
    """Return the nuclei that somebody else has outlined, with the numbers of their labels (H, W) int32.

    The other arguments are those of `find_nuclei`, but for `kind`, which is "field" or "nucleus".
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
    """Return nuclei with flags where the picture was painted over, and with a pixel size that can be true."""
    flags = with_flags(measured["flags"], measured["nucleus_id"], picture.flags(labels))
    measured, is_known, size_um = measured | {"flags": flags}, stated_um is not None, stated_um or np.nan
    seen = {"n_bright": picture.n_bright(measured["area_px"]), "picture": picture, "shape": labels.shape}
    found = Nuclei(kind, measured, labels, size_um, is_known, size_um, remark, **seen)
    return _with_scale(found, scale) if len(found) else found


def n_nuclei_shown(pixels: np.ndarray) -> int:
    """Return how many nuclei a picture (H, W) shows where these are more than a crop of one may show, else 0."""
    if max(pixels.shape) <= PLAIN_CROP_PX or looks_like_nucleus_crop(pixels := look_over(pixels).pixels):
        return 0
    n_shown = len(np.unique(find_in_field(pixels, None, "trained"))) - 1
    return n_shown if n_shown > _MOST_IN_CROP else 0


def _with_scale(found: Nuclei, scale: Scale) -> Nuclei:
    """Return the nuclei with a pixel size that can be true, and areas by it."""
    size_um = scale.field_of_view_um / max(found.shape)
    is_crop = found.kind == "nucleus" and _can_be(size_um, [found], scale, _LIKELY_AREA_RATIO)
    is_told = is_crop and not _can_be(found.stated_um, [found], scale)
    return found.scaled(size_um if is_told else likely_pixel_size_um([found], scale))


def likely_pixel_size_um(nuclei: list[Nuclei], scale: Scale, most: float | None = None) -> float:
    """Return the pixel size of images: what all of them state, or one by which their nuclei are usual.

    `most`: how many times the area of the model's nuclei theirs may be, or the reverse; by default by their number.
    """
    if len({found.stated_um for found in nuclei}) == 1 and _can_be(nuclei[0].stated_um, nuclei, scale, most):
        return nuclei[0].stated_um
    return float(np.sqrt(scale.median_area_um2 / typical(nuclei)))


def _can_be(size_um: float, nuclei: list[Nuclei], scale: Scale, most: float | None = None) -> bool:
    most = most or most_ratio(nuclei)
    return np.isfinite(size_um) and 1 / most <= typical(nuclei) * size_um**2 / scale.median_area_um2 <= most


def most_ratio(nuclei: list[Nuclei]) -> float:
    """Return how many times the area of the model's nuclei that of so many can be, or the reverse."""
    n_nuclei = sum(map(len, nuclei))
    return next(ratio for least, ratio in _MOST_AREA_RATIOS if n_nuclei >= least)


def typical(nuclei: list[Nuclei], name: str = "area_px", per: str | None = None) -> float:
    """Return the median of a measurement, perhaps `per` another, over the sound nuclei; over all where none is."""
    values = [n.measured[name] / (n.measured[per] if per else 1) for n in nuclei]
    values, sound = np.concatenate(values), np.concatenate([n.is_sound for n in nuclei])
    return float(np.median(values[sound] if sound.any() else values))


def has_g1_dna(copies: np.ndarray) -> np.ndarray:
    """Say of genome copies, (N,), whether they are taken for G1.

    Examples
    --------
    >>> has_g1_dna(np.array([1.0, 2.1, 4.0])).tolist()
    [False, True, False]
    """
    return (copies > _G1_COPIES[0]) & (copies < _G1_COPIES[1])


def are_overexposed(nuclei) -> bool:
    """Say whether more than few of the nuclei of images that are otherwise free of flags are overexposed."""
    sound, whole = (sum(own.free_of(flags).sum() for own in nuclei) for flags in (_SPOILT, _SPOILT - {OVEREXPOSED}))
    return bool(sound < (1 - _MOST_OVEREXPOSED) * whole)


def sound_dna(nuclei) -> np.ndarray:
    """Return the integrated DNA (N,) of the sound nuclei of images."""
    return np.concatenate([np.empty(0), *(own.measured["integrated_dna"][own.is_sound] for own in nuclei)])


def fit_anchor(nuclei) -> tuple[Anchor | None, G1Peak]:
    """Fit the G1 peak of a group, the `Nuclei` of its images; return its anchor and the peak.

    There is no anchor where the peak is not to be trusted. Of overexposed nuclei one peak says nothing of the culture.
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

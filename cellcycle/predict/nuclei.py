"""Find the nuclei of one image: is it a field or a crop, where are they, how large is a pixel."""

from dataclasses import dataclass, field

import numpy as np

from cellcycle.checkpoint import InputRule
from cellcycle.dna_content import G1Peak, fit_g1_peak
from cellcycle.segmentation import find_in_crop, looks_like_nucleus_crop, segment
from cellcycle.segmentation.measurements import measured_columns

# A typical nucleus this many times larger or smaller than the model's shows that the scale is wrong.
_MOST_AREA_RATIO = 6.0
# Crops are usually cut about as wide as those of the training set; if so, the nucleus has a likely area.
_LIKELY_AREA_RATIO = 4.0
# Genome copies that are taken for G1.
_G1_COPIES = (1.6, 2.4)
_SPOILT = {"edge", "clump", "debris", "out_of_focus", "saturated"}


@dataclass(frozen=True)
class FoundNuclei:
    """The nuclei of one image.

    Parameters
    ----------
    kind : {"field", "nucleus"}
        What the image was taken for.
    measured : dict of str to ndarray (N,)
        What was measured on each: the columns of `cellcycle.segmentation.measure`.
    labels : ndarray (H, W) int32
        0 is background, k the nucleus with `nucleus_id` k; in a crop 1 is the nucleus, 2 its neighbours.
    pixel_size_um : float
        As stated, or as it follows from the size of the nuclei.
    scale_is_known : bool
        Whether the pixel size was stated.
    """

    kind: str
    measured: dict[str, np.ndarray] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    pixel_size_um: float
    scale_is_known: bool

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
        return np.array([_SPOILT.isdisjoint(text.split(";")) for text in self.measured["flags"]], dtype=bool)


def find_nuclei(
    pixels: np.ndarray, pixel_size_um: float | None, rule: InputRule, kind: str = "auto", backend: str = "classical"
) -> FoundNuclei:
    """Find the nuclei of an image and the size of its pixels.

    "auto" takes an image for a crop of one nucleus by the rule of `looks_like_nucleus_crop`. Without a pixel
    size, or with one by which nuclei would be six times larger or smaller than the model's, the scale follows
    from the image: a crop has the model's field of view if its nucleus then has a likely area; otherwise the
    median nucleus has the model's median area.

    Parameters
    ----------
    pixels : ndarray (H, W) float32 in [0, 1]
    pixel_size_um : float or None
    rule : InputRule
        Of the model that will look at them.
    kind : {"auto", "field", "nucleus"}, optional
    backend : str, optional
        Of `segment`, for fields.

    Returns
    -------
    FoundNuclei
        Of length 0 where there is no nucleus.
    """
    if kind == "auto":
        kind = "nucleus" if looks_like_nucleus_crop(pixels) else "field"
    if kind == "nucleus":
        measured, labels = find_in_crop(pixels, pixel_size_um)
    else:
        labels = segment(pixels, pixel_size_um, backend=backend)
        measured = measured_columns(pixels, labels, pixel_size_um)
    found = FoundNuclei(kind, measured, labels, pixel_size_um or np.nan, pixel_size_um is not None)
    return _with_scale(found, pixels.shape, rule) if len(found) else found


def _with_scale(found: FoundNuclei, shape: tuple[int, int], rule: InputRule) -> FoundNuclei:
    """Return the nuclei with a pixel size that can be true, and areas by it."""
    areas, sound = found.measured["area_px"], found.is_sound
    area_px = float(np.median(areas[sound] if sound.any() else areas))
    size_um, is_known = found.pixel_size_um, True
    if not (found.scale_is_known and _is_within(area_px * size_um**2, rule, _MOST_AREA_RATIO)):
        is_known = False
        size_um = rule.field_of_view_um / max(shape)
        if found.kind == "field" or not _is_within(area_px * size_um**2, rule, _LIKELY_AREA_RATIO):
            size_um = float(np.sqrt(rule.median_area_um2 / area_px))
    return FoundNuclei(found.kind, found.measured | {"area_um2": areas * size_um**2}, found.labels, size_um, is_known)


def _is_within(area_um2: float, rule: InputRule, most: float) -> bool:
    return 1 / most <= area_um2 / rule.median_area_um2 <= most


def g1_peak_of(nuclei) -> G1Peak:
    """Fit the G1 peak of the sound nuclei of a field, or of the images of a slide.

    Parameters
    ----------
    nuclei : iterable of FoundNuclei

    Returns
    -------
    G1Peak
        In the unit of `integrated_dna`; `is_usable` says whether to trust it.
    """
    return fit_g1_peak(np.concatenate([np.empty(0), *(n.measured["integrated_dna"][n.is_sound] for n in nuclei)]))


def has_g1_dna(copies: np.ndarray) -> np.ndarray:
    """Say of genome copies, (N,), whether they are taken for G1.

    Examples
    --------
    >>> has_g1_dna(np.array([1.0, 2.1, 4.0])).tolist()
    [False, True, False]
    """
    return (copies > _G1_COPIES[0]) & (copies < _G1_COPIES[1])


def g1_area_px(nuclei, g1_position: float) -> float | None:
    """Return the median area in pixels of the sound nuclei with the DNA of G1; None where there is none.

    Parameters
    ----------
    nuclei : iterable of FoundNuclei
        Of one field or slide.
    g1_position : float
        Integrated DNA of a G1 nucleus.
    """
    areas = [np.empty(0)]
    for found in nuclei:
        is_g1 = has_g1_dna(2 * found.measured["integrated_dna"] / g1_position) & found.is_sound
        areas.append(found.measured["area_px"][is_g1])
    areas = np.concatenate(areas)
    return float(np.median(areas)) if len(areas) else None

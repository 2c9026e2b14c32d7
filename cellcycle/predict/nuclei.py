"""Find the nuclei of one image: is it a field or a crop, where are they, how large is a pixel."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cellcycle.checkpoint import InputRule
from cellcycle.dna_content import G1Peak, fit_g1_peak
from cellcycle.segmentation import find_in_crop, looks_like_nucleus_crop, measure, segment

KINDS = ("auto", "field", "nucleus")
# A typical nucleus this many times larger or smaller than the model's shows that the scale is wrong.
_MOST_AREA_RATIO = 6.0
# Crops are usually cut about as wide as those of the training set; if so, the nucleus has a likely area.
_LIKELY_AREA_RATIO = 4.0
_SPOILT = ("edge", "clump", "debris", "out_of_focus", "saturated")


@dataclass(frozen=True)
class FoundNuclei:
    """The nuclei of one image.

    Parameters
    ----------
    kind : {"field", "nucleus"}
        What the image was taken for.
    table : pandas.DataFrame
        One row a nucleus: the columns of `cellcycle.segmentation.measure`.
    labels : ndarray (H, W) int32
        0 is background, k the nucleus with `nucleus_id` k; in a crop 1 is the nucleus, 2 its neighbours.
    pixel_size_um : float
        As stated, or as it follows from the size of the nuclei.
    scale_is_known : bool
        Whether the pixel size was stated.
    """

    kind: str
    table: pd.DataFrame = field(repr=False)
    labels: np.ndarray = field(repr=False)
    pixel_size_um: float
    scale_is_known: bool

    @property
    def centres(self) -> np.ndarray:
        """Row and column of the centre of each nucleus, (N, 2): that of its mass."""
        return np.column_stack([self.table["centroid_y_px"].to_numpy(), self.table["centroid_x_px"].to_numpy()])


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
        With an empty table where there is no nucleus.
    """
    if kind == "auto":
        kind = "nucleus" if looks_like_nucleus_crop(pixels) else "field"
    if kind == "nucleus":
        table, labels = find_in_crop(pixels, pixel_size_um)
        table = table.iloc[:0] if table["flags"].iloc[0] == "no_nucleus" else table
    else:
        labels = segment(pixels, pixel_size_um, backend=backend)
        table = measure(pixels, labels, pixel_size_um)
    if not len(table):
        return FoundNuclei(kind, table, labels, pixel_size_um or np.nan, pixel_size_um is not None)
    areas, sound = table["area_px"].to_numpy(), ~_has_any(table["flags"], _SPOILT)
    area_px = float(np.median(areas[sound] if sound.any() else areas))
    if pixel_size_um is not None and _is_within(area_px * pixel_size_um**2, rule, _MOST_AREA_RATIO):
        return FoundNuclei(kind, table, labels, pixel_size_um, True)
    by_view = rule.field_of_view_um / max(pixels.shape)
    if kind == "nucleus" and _is_within(area_px * by_view**2, rule, _LIKELY_AREA_RATIO):
        return FoundNuclei(kind, table, labels, by_view, False)
    return FoundNuclei(kind, table, labels, float(np.sqrt(rule.median_area_um2 / area_px)), False)


def _is_within(area_um2: float, rule: InputRule, most: float) -> bool:
    return 1 / most <= area_um2 / rule.median_area_um2 <= most


def _has_any(flags: pd.Series, which: tuple[str, ...]) -> np.ndarray:
    return np.array([not set(text.split(";")).isdisjoint(which) for text in flags], dtype=bool)


def g1_peak_of(table: pd.DataFrame) -> G1Peak:
    """Fit the G1 peak of the sound nuclei of a field or slide.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns integrated_dna and flags.

    Returns
    -------
    G1Peak
        In the unit of `integrated_dna`; `is_usable` says whether to trust it.
    """
    return fit_g1_peak(table["integrated_dna"].to_numpy()[~_has_any(table["flags"], _SPOILT)])

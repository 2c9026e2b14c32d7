"""Correct for the stain of wells that are read together: its intensity differs from well to well by a tenth.

The G1 peak of each well is fitted near the common one, with a weight that grows with its number of nuclei. If the fit
is farther away, cells that are in one part of S together may look like a brighter or fainter stain: the well is
corrected only if its histogram alone shows G1 and G2; otherwise it is reported. A peak still farther away is reported
too: it comes from biology or another exposure.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np

from cellcycle.dna_content import G1Peak, count_near, fit_g1_peak, fit_near
from cellcycle.light import fit_in_even_light
from cellcycle.nuclei import Anchor, Nuclei, Scale, g1_area_px, has_g1_dna, likely_pixel_size_um, sound_dna

# A well with fewer than 20 sound nuclei takes the common peak unchanged; from 6 on, some must be at that peak.
_LEAST_OWN, _LEAST_THERE = 20, 6
# Weight of the common G1 area, in nuclei, in the mean with a well's own G1 area.
_LENT_AREAS = 20
# Largest difference (log) in stain between wells of one plate, and in their ratio of G2 to G1 if both are peaks.
MOST_STAIN, _MOST_RATIO = 0.1, 0.1
# A clear peak this many times above or below the common one is not explained by stain.
_MOST_SHIFT = 1.3
# A well with a smaller fraction of nuclei in G1, or a larger one outside G1 to G2, is fitted alone.
_LEAST_G1, _MOST_OUTSIDE = 0.12, 0.35
# In 36 real fields (RPE-1, BBBC038) at most 0.08 of the nuclei, doublets and dying cells, exceed 2.6 times G1's DNA.
_ABOVE_G2, _MOST_ABOVE = 2.6, 0.1
# With a larger fraction of nuclei in wells whose peak is elsewhere, the fields are not treated as one group.
_MOST_ELSEWHERE = 1 / 3


def anchored(nuclei: list[Nuclei], units: list, scale: Scale) -> list[tuple[Nuclei, Anchor | None]]:
    """Return the nuclei of each field, corrected for uneven light, and the anchor of its unit of stain.

    Fields without a stated pixel size get a common scale. Without a common G1 peak each field is anchored by itself.
    """
    even, anchor, peak, _ = fit_in_even_light(nuclei)
    if len(even) == 1:
        return [(even[0], anchor)]
    own = own_anchors(even, units, anchor, peak)[0] if anchor is not None else {}
    if own:
        size_um = likely_pixel_size_um(even, scale)
        even = [one if one.scale_is_known else one.scaled(size_um) for one in even]
        return [(one, own[unit]) for one, unit in zip(even, units, strict=True)]
    return [alone for one in nuclei for alone in anchored([one], [None], scale)]


def hold_more_than_g2(dna: np.ndarray, position: float) -> bool:
    """Return whether many nuclei (`dna`: (N,)) have more DNA than G2: polyploid cells in G1 then look like G2."""
    n_more = np.count_nonzero(dna > _ABOVE_G2 * position)
    return bool(n_more >= _LEAST_THERE and n_more > _MOST_ABOVE * len(dna))


def own_anchors(
    nuclei: list[Nuclei], units: list, anchor: Anchor, peak: G1Peak, least_quality: float = 0.0
) -> tuple[dict, dict, dict]:
    """Return dicts by unit of stain, a well or a field: its anchor; its own G1 peak near the common one; one elsewhere.

    Peaks are relative to the common one, NaN if unknown. There are no anchors if too many nuclei have theirs elsewhere.
    """
    wells = defaultdict(list)
    for unit, own in zip(units, nuclei, strict=True):
        wells[unit].append(own)
    own_anchor, elsewhere, shifts = {}, {}, {}
    for unit, own in wells.items():
        found, ratio = _own_anchor(own, anchor, peak.g2_ratio, least_quality)
        n_by_dna = count_near(sound_dna(own), found.position, peak.g2_ratio)
        own_anchor[unit] = replace(found, n_by_dna=n_by_dna)
        # A well that takes the common peak unchanged has not been compared.
        shifts |= {} if found is anchor or ratio else {unit: found.position / anchor.position}
        elsewhere |= {unit: ratio} if ratio else {}
    sizes = {unit: sum(map(len, wells[unit])) for unit in elsewhere}
    n_elsewhere, n_told = sum(sizes.values()), sum(n for unit, n in sizes.items() if np.isfinite(elsewhere[unit]))
    # A drug may leave wells without a peak; if as many nuclei have a peak elsewhere, another exposure is likelier.
    if 0 < n_elsewhere <= 2 * n_told and n_elsewhere > _MOST_ELSEWHERE * sum(map(len, nuclei)):
        own_anchor = {}
    return own_anchor, shifts, elsewhere


def _own_anchor(
    nuclei: list[Nuclei], common: Anchor, g2_ratio: float, least_quality: float = 0.0
) -> tuple[Anchor, float | None]:
    """Return the anchor of a well, and the position of its own peak relative to the common one if it is elsewhere.

    That position is None if the peak is near or nuclei are few. It is NaN if the well shows no clear peak but fits
    better elsewhere, has few nuclei at the common peak, or many far below it; also if many have more DNA than G2.
    """
    dna = sound_dna(nuclei)
    is_there = has_g1_dna(2 * dna / common.position)
    # Cells blocked early in S still have the DNA of G1; no drug leaves many cells with less.
    has_less = np.count_nonzero(dna < common.position / _MOST_SHIFT) > _MOST_OUTSIDE * len(dna)
    if len(dna) < _LEAST_OWN:
        fits = is_there.any() and not has_less
        return common, None if fits or len(dna) < _LEAST_THERE else np.nan
    position, fractions = fit_near(dna, common.position, g2_ratio)
    is_far = abs(np.log(position / common.position)) > MOST_STAIN
    if is_far or fractions["G1"] < _LEAST_G1 or fractions["outliers"] > _MOST_OUTSIDE:
        peak = fit_g1_peak(dna)
        ratio = peak.position / common.position
        is_near = 1 / _MOST_SHIFT < ratio < _MOST_SHIFT
        if is_far and is_near:
            # Cells synchronized in S form a peak too, but at another ratio to G1 than G2.
            if peak.quality < least_quality or abs(np.log(peak.g2_ratio / g2_ratio)) > _MOST_RATIO:
                return common, np.nan
            position, fractions = peak.position, peak.fractions
        is_told = is_far or is_there.mean() < _LEAST_G1 or has_less
        if not is_near and (is_told or np.isfinite(ratio)):
            return common, ratio
    n_g1, area_px = fractions["G1"] * len(dna), common.area_px
    if area_px is not None and (own_px := g1_area_px(nuclei, position)) is not None:
        area_px = (n_g1 * own_px + _LENT_AREAS * area_px) / (n_g1 + _LENT_AREAS)
    found = replace(common, position=position, area_px=area_px)
    return found, np.nan if hold_more_than_g2(dna, position) else None

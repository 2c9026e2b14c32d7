"""The stain of fields that are read together: it differs from well to well, by a tenth.

Each well's own G1 peak is looked for near the common one, and counts as much as it has nuclei. Where the best place is
farther away, cells that are in one part of S together look like a brighter or fainter stain: the well is corrected only
if its histogram alone shows G1 and G2, else told, as is what lies farther off still: that is biology or another
exposure.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np

from cellcycle.dna_content import G1Peak, count_near, fit_g1_peak, fit_near
from cellcycle.light import fit_in_even_light
from cellcycle.nuclei import Anchor, Nuclei, Scale, g1_area_px, has_g1_dna, likely_pixel_size_um, sound_dna

# A well with fewer sound nuclei takes the peak of its group as it is; one with so many should show some of them there.
_LEAST_OWN, _LEAST_THERE = 20, 6
# So many nuclei of the group are added to those of a well before the area of G1 is taken.
_LENT_AREAS = 20
# So far (log) wells of one plate differ in stain; and in how far above G1 their G2 lies, where both are peaks.
MOST_STAIN, _MOST_RATIO = 0.1, 0.1
# A clear peak of its own so far from the common one is no matter of stain.
_MOST_SHIFT = 1.3
# Fewer of its nuclei in G1 than this, or more outside G1 to G2, and a well is looked at alone.
_LEAST_G1, _MOST_OUTSIDE = 0.12, 0.35
# So many times the DNA of G1 have at most 0.08 of the nuclei of 36 real fields (RPE-1, BBBC038): doublets, dying cells.
_ABOVE_G2, _MOST_ABOVE = 2.6, 0.1
# Groups with more nuclei in wells whose peak lies elsewhere are none.
_MOST_ELSEWHERE = 1 / 3


def anchored(nuclei: list[Nuclei], units: list, scale: Scale) -> list[tuple[Nuclei, Anchor | None]]:
    """Return the nuclei of fields that are read together as under even light, each with the anchor of its unit.

    Those that state no pixel size have one scale. Without a common G1 peak each field is judged by itself.
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
    """Say whether many nuclei (N,) have more DNA than G2: of cells with more genomes, which in G1 look like G2."""
    n_more = np.count_nonzero(dna > _ABOVE_G2 * position)
    return bool(n_more >= _LEAST_THERE and n_more > _MOST_ABOVE * len(dna))


def own_anchors(
    nuclei: list[Nuclei], units: list, anchor: Anchor, peak: G1Peak, least_quality: float = 0.0
) -> tuple[dict, dict, dict]:
    """Return of each unit of stain, a well or a field, its anchor, none where too many lie elsewhere than the common.

    Then where, in units of the common G1 peak, the own ones lie that were found near it, and those elsewhere.
    """
    wells = defaultdict(list)
    for unit, own in zip(units, nuclei, strict=True):
        wells[unit].append(own)
    own_anchor, elsewhere, shifts = {}, {}, {}
    for unit, own in wells.items():
        found, ratio = _own_anchor(own, anchor, peak.g2_ratio, least_quality)
        n_by_dna = count_near(sound_dna(own), found.position, peak.g2_ratio)
        own_anchor[unit] = replace(found, n_by_dna=n_by_dna)
        # A well that takes the common peak as it is has not been compared.
        shifts |= {} if found is anchor or ratio else {unit: found.position / anchor.position}
        elsewhere |= {unit: ratio} if ratio else {}
    sizes = {unit: sum(map(len, wells[unit])) for unit in elsewhere}
    n_elsewhere, n_told = sum(sizes.values()), sum(n for unit, n in sizes.items() if np.isfinite(elsewhere[unit]))
    # Wells without a peak are as a drug leaves them; where as many have their own, another exposure is likelier.
    if 0 < n_elsewhere <= 2 * n_told and n_elsewhere > _MOST_ELSEWHERE * sum(map(len, nuclei)):
        own_anchor = {}
    return own_anchor, shifts, elsewhere


def _own_anchor(
    nuclei: list[Nuclei], common: Anchor, g2_ratio: float, least_quality: float = 0.0
) -> tuple[Anchor, float | None]:
    """Return the anchor of a well, and where its own peak lies in units of the common one if that is elsewhere.

    NaN where its nuclei would fit another peak better than one near the common one, or hardly one lies there, or many
    far below it, and they show none of their own; or where many have more DNA than G2.
    """
    dna = sound_dna(nuclei)
    is_there = has_g1_dna(2 * dna / common.position)
    # Early in S a nucleus has the DNA of G1, so that a block in S is there; no drug leaves many with less.
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
            # Cells together in S are a peak, too, but not as far from G1 as G2 is.
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

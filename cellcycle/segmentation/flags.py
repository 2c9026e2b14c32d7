"""Quality flags of nuclei, by fixed rules.

- `edge`: the bounding box touches the border of the image, or the nucleus a filled part of it.
- `saturated`: more than 1 % of the pixels are at the top of the camera's range, so DNA content is too low.
- `hot_pixel`: pixels of it were hot, and are taken from those around.
- `out_of_focus`: the rim is wider than 40 % of the diameter and twice as wide as a sharp one; or that of nine in ten
  whole nuclei of a field is wider than 15 % and twice as wide as a sharp one, for then the field is.
- `uneven_ground`: the ground of a nucleus of a field is a slope, which over a diameter rises by more than 15 % of its
  brightness, so DNA content is a fifth too high or more.
- `debris`: DNA below 35 % of the field's median nucleus, less than any whole genome copy there can have, or below 60 %
  in chromatin half as dense again, as of a dying cell: even half of an anaphase has more; or it touches dirt, a fibre,
  a scale bar, a line or letters.
- `clump`: more than 1.6 times the field's median area with a concave outline (solidity below 0.9), or more
  than 3 times its median DNA and 2 times its area; or, like a doublet in cytometry, about twice the area and DNA of
  most nuclei and a long outline with a waist. Touching nuclei that were not parted.

What compares with the other whole nuclei needs at least 8 of them; of fewer, one with 3 times the median area and a
concave outline is a clump, or one of a heap, whose concave outline others share. The nucleus of a crop is one where two
round ones touch, or two round lobes.
"""

import numpy as np

FLAGS = ("edge", "clump", "debris", "out_of_focus", "saturated", "hot_pixel", "uneven_ground")
_LEAST_NUCLEI = 8
_SHARP_EDGE_PX = 4.0
# Rims over diameters of a field out of focus, and the share of its nuclei that have such: at most 0.88 of 325 fields of
# BBBC038, RPE-1 and simulated ones, of blurred ones (sigma of 4 px) 0.9 and more.
_WIDE, _MOST_WIDE = 0.15, 0.9
# Of 15,900 nuclei of BBBC038 and RPE-1 one in sixty lies on such a slope, most of them in clumps or at the border.
_STEEP = 0.15
# In a heap the outline is less solid than the first, and more of it than the second is shared.
_HEAPED, _SHARED = 0.93, 0.25
# An outline is waisted and long: solidity below the median of the field by the first, eccentricity above the second.
_WAIST, _LONG = 0.015, 0.75


# On a blank picture nothing is brighter than anything.
@np.errstate(divide="ignore", invalid="ignore")
def flag_nuclei(columns: dict[str, np.ndarray], shape: tuple[int, int], is_field: bool = True) -> list[str]:
    """Return the flags of every row, joined by ";", from measurements (N,) with those that only flags need.

    `shape` is that of the image (H, W); `is_field`: the rows are the nuclei of one field, to be compared with each
    other. Those of crops say by `is_pair` whether two round ones touch.
    """
    is_edge = (
        (columns["bbox_top_px"] == 0)
        | (columns["bbox_left_px"] == 0)
        | (columns["bbox_bottom_px"] == shape[0])
        | (columns["bbox_right_px"] == shape[1])
    )
    area, dna, width = columns["area_px"], columns["integrated_dna"], columns["edge_width_px"]
    diameter, is_wide = np.sqrt(area * 4 / np.pi), width > 2 * _SHARP_EDGE_PX
    raised = dict.fromkeys(FLAGS, np.zeros(len(area), dtype=bool)) | {
        "edge": is_edge,
        "out_of_focus": (width > 0.4 * diameter) & is_wide,
        "saturated": columns["saturated_share"] > 0.01,
        "uneven_ground": (columns["ground_slope"] > _STEEP) & is_field,
    }
    if is_field and (~is_edge).sum() >= _LEAST_NUCLEI:
        solidity, whole = columns["solidity"], ~is_edge
        is_waisted = (solidity < np.median(solidity[whole]) - _WAIST) & (columns["eccentricity"] > _LONG)
        is_pair = is_waisted & (area > 1.55 * _mode(area[whole])) & (dna > 1.55 * _mode(dna[whole]))
        area, dna, mean = (v / np.median(v[whole]) for v in (area, dna, columns["mean_dna"]))
        raised["clump"] = (area > 1.6) & (solidity < 0.9) | (area > 2) & (dna > 3) | is_pair
        raised["debris"] = ((dna < 0.35) | (dna < 0.6) & (mean > 1.5)) & ~is_edge
        raised["out_of_focus"] |= np.mean((is_wide & (width > _WIDE * diameter))[whole]) > _MOST_WIDE
    elif not is_field:
        raised["clump"] = columns["is_pair"] == 1
    else:
        usual = np.median(area[~is_edge]) if (~is_edge).sum() > 1 else np.inf
        is_heaped = (columns["solidity"] < _HEAPED) & (columns["touching_share"] > _SHARED) & ~is_edge
        raised["clump"] = (area > 3 * usual) & (columns["solidity"] < 0.95) | is_heaped
    by_row = np.column_stack([raised[flag] for flag in FLAGS])
    return [";".join(flag for flag, is_raised in zip(FLAGS, row, strict=True) if is_raised) for row in by_row]


def _mode(values: np.ndarray) -> float:
    """Return the value round which most of the lower half lie (G1 of a growing population): where they are densest."""
    values = np.sort(values[(values > 0) & (values <= np.median(values))])
    while len(values) > 3:
        half = (len(values) + 1) // 2
        start = int(np.argmin(np.log(values[half - 1 :] / values[: len(values) - half + 1])))
        values = values[start : start + half]
    return float(np.median(values)) if len(values) else np.nan


def with_flags(flags, ids, raised: dict[str, set[int]]) -> np.ndarray:
    """Return flags, (N,) str, with more of them raised for the nuclei of some ids."""
    made = []
    for text, nucleus_id in zip(flags, ids, strict=True):
        own = set(text.split(";")) | {flag for flag, of in raised.items() if int(nucleus_id) in of}
        made.append(";".join(flag for flag in FLAGS if flag in own))
    return np.array(made, dtype=object)

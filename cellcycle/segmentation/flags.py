"""Quality flags of nuclei, by fixed rules.

- `edge`: the bounding box touches the border of the image, or the nucleus touches a filled part of it.
- `saturated`: more than 1 % of the pixels are clipped at the top of the range, so DNA content is too low.
- `hot_pixel`: the nucleus has hot pixels, which are replaced by values of the pixels around.
- `out_of_focus`: the rim is wider than 40 % of the diameter and than twice a sharp one; or the whole field is out of
  focus: so is the rim, at 15 % of the diameter, in more than nine of ten whole nuclei.
- `uneven_ground`: in a field, the background of the nucleus is a slope that rises over a diameter by more than 15 % of
  the brightness of the nucleus, so DNA content is a fifth too high or more.
- `debris`: DNA below 35 % of the field's median nucleus, less than any whole genome there has; or below 60 % with more
  than 1.5 times the mean intensity, as in a dying cell: half of an anaphase has more. Or the nucleus touches dirt, a
  fibre, a scale bar, a line or letters.
- `clump`: more than 1.6 times the field's median area with a concave outline (solidity below 0.9), or more than 3 times
  its median DNA and 2 times its area; or, like a doublet in cytometry, more than 1.55 times the usual area and DNA in a
  long outline with a waist. A clump is touching nuclei that were not separated.

Flags that compare whole nuclei of a field need at least 8. Of fewer, a concave nucleus is a clump if it has more than 3
times the median area, or if more than a quarter of its outline borders on others. The nucleus of a crop is a clump if
it consists of two touching round nuclei or lobes.
"""

import numpy as np

FLAGS = ("edge", "clump", "debris", "out_of_focus", "saturated", "hot_pixel", "uneven_ground")
_LEAST_NUCLEI = 8
_SHARP_EDGE_PX = 4.0
# Field out of focus: rim over diameter, and the fraction of nuclei that exceed it. This is at most 0.88 in 325 fields
# of BBBC038, RPE-1 and simulated ones, 0.9 and more if blurred (sigma 4 px).
_WIDE, _MOST_WIDE = 0.15, 0.9
# Of 15,900 nuclei of BBBC038 and RPE-1, one in sixty lies on a steeper slope, mostly in clumps or at the border.
_STEEP = 0.15
# In a heap, solidity is below the first, and more than the second fraction of the outline borders on other nuclei.
_HEAPED, _SHARED = 0.93, 0.25
# A long outline with a waist: solidity below the field's median by the first, eccentricity above the second.
_WAIST, _LONG = 0.015, 0.75


# In a blank picture, medians of brightness are 0.
@np.errstate(divide="ignore", invalid="ignore")
def flag_nuclei(columns: dict[str, np.ndarray], shape: tuple[int, int], is_field: bool = True) -> list[str]:
    """Return the flags of each row, joined by ";", from the measurements (N,), including those that only flags need.

    `shape` is that of the image (H, W). With `is_field`, the rows are the nuclei of one field, which are compared with
    each other. For crops, the column `is_pair` says whether two round ones touch.
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
    """Return the value at which the lower half of values (N,) is densest: G1 of a growing population."""
    values = np.sort(values[(values > 0) & (values <= np.median(values))])
    while len(values) > 3:
        half = (len(values) + 1) // 2
        start = int(np.argmin(np.log(values[half - 1 :] / values[: len(values) - half + 1])))
        values = values[start : start + half]
    return float(np.median(values)) if len(values) else np.nan


def with_flags(flags, ids, raised: dict[str, set[int]]) -> np.ndarray:
    """Return flags (N,) str, with those of `raised` (ids per flag) added."""
    made = []
    for text, nucleus_id in zip(flags, ids, strict=True):
        own = set(text.split(";")) | {flag for flag, of in raised.items() if int(nucleus_id) in of}
        made.append(";".join(flag for flag in FLAGS if flag in own))
    return np.array(made, dtype=object)

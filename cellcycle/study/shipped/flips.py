"""Fraction of calls that change when the same nuclei are turned, mirrored or exposed half as long."""

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

from cellcycle.images import Plane
from cellcycle.nuclei import Nuclei
from cellcycle.predict import Predictor
from cellcycle.simulation import simulate_field

N_FIELDS, FIELD_PX, N_NUCLEI = 3, 640, 150
FIELD_SEED = 950
# A nucleus counts as the same one if its centre lies within this distance of the expected place.
_NEAR_PX = 5.0


def _half_exposed(pixels: np.ndarray) -> np.ndarray:
    counts = np.round(pixels * 65535).astype(np.uint16)
    return (counts // 2).astype(np.float32) / np.float32(65535)


# Change -> functions of pixels and of places (y, x) in a field: turned by 90 degrees, mirrored, half as bright.
CHANGES = {
    "turned": (np.rot90, lambda y, x: (FIELD_PX - 1 - x, y)),
    "mirrored": (np.fliplr, lambda y, x: (y, FIELD_PX - 1 - x)),
    "half_exposed": (_half_exposed, lambda y, x: (y, x)),
}


def changed(pixels: np.ndarray, change: str) -> np.ndarray:
    """Return pixels (H, W) of a 16-bit file, float in [0, 1], after one of `CHANGES`."""
    return np.ascontiguousarray(CHANGES[change][0](pixels))


def field_variants(find: Callable[[Plane], Nuclei], n_fields: int = N_FIELDS) -> list[dict]:
    """Simulate fields; return for each its (plane, nuclei), unchanged (key "") and after each of `CHANGES`."""
    fields = []
    for number in range(n_fields):
        made = simulate_field((FIELD_PX, FIELD_PX), N_NUCLEI, FIELD_SEED + number)
        pixels = (made.image / np.float32(65535)).astype(np.float32)
        variants = {"": pixels} | {change: changed(pixels, change) for change in CHANGES}
        planes = {change: Plane(p, 16, made.pixel_size_um, "field") for change, p in variants.items()}
        fields.append({change: (plane, find(plane)) for change, plane in planes.items()})
    return fields


def field_flips(fields: list[dict], predictor: Predictor) -> dict:
    """Return the fraction of called nuclei whose call changes after each of `CHANGES`, and their number (n).

    Each picture has its own G1 peak; a nucleus that is lost counts as changed. `fields` are those of `field_variants`.
    """
    counts, n = dict.fromkeys(CHANGES, 0), 0
    for field in fields:
        centres, calls = _called(predictor, *field[""])
        n += len(calls)
        for change, (_, moved) in CHANGES.items():
            there, again = _called(predictor, *field[change])
            away, nearest = cKDTree(there).query(np.column_stack(moved(*centres.T)))
            # The query of an empty tree gives index 0 and infinite distance: the appended "" keeps that index valid.
            is_same = (away < _NEAR_PX) & (np.append(again, "")[nearest] == calls)
            counts[change] += int((~is_same).sum())
    return {change: round(count / max(n, 1), 4) for change, count in counts.items()} | {"n": n}


def _called(predictor: Predictor, plane: Plane, nuclei: Nuclei) -> tuple[np.ndarray, np.ndarray]:
    """Return centres (N, 2), as (y, x) in pixels, and calls (N,) of the nuclei of a field that get a call."""
    columns = predictor.call(plane, nuclei).columns
    calls = np.array(columns["call"])
    centres = np.column_stack([columns["centroid_y_px"], columns["centroid_x_px"]])
    return centres[calls != ""], calls[calls != ""]

"""Measure whether uneven light is estimated correctly from one field's nuclei, without creating false G1 peaks.

    python -m benchmarks.light        # a quarter of an hour of one core; writes data/results/light.csv

Cultures are simulated as numbers, without images: DNA with a coefficient of variation of 6 to 13 %, some partial nuclei
and doublets, at random places of a field under a random quadratic light. One row per culture, number of nuclei and
unevenness (standard deviation of twice the five slopes): the fraction of fields with a G1 peak that `predict` accepts,
before and after the light correction, and the fraction whose peak is off by more than `_OFF`.
"""

from itertools import product

import numpy as np
import pandas as pd

from cellcycle import files
from cellcycle.light import Light, fit_in_even_light
from cellcycle.nuclei import Nuclei, fit_anchor
from cellcycle.predict.predictor import LEAST_QUALITY

RECORD = "data/results/light.csv"
N_FIELDS, SHAPE, G2 = 24, (1000, 1000), 1.95
COUNTS, UNEVEN = (80, 150, 300), (0.0, 0.15, 0.3)
# Shares of G1, S and G2; those of growing cultures vary from one to the next.
CULTURES = {
    "growing": (6.0, 3.6, 2.4),
    "all in G1": (0.97, 0.015, 0.015),
    "all in G2": (0.015, 0.015, 0.97),
    "no G1, little S": (0.0, 0.2, 0.8),
    "no G1, much S": (0.0, 0.7, 0.3),
}
# Allowed error of the peak's position, as a difference of natural logarithms: about a sixth.
_OFF = 0.17


def main() -> None:
    rows = [row_of(*one) for one in product(CULTURES, COUNTS, UNEVEN)]
    with files.whole_file(files.repository() / RECORD) as work:
        pd.DataFrame(rows).round(3).to_csv(work, index=False)


def row_of(culture: str, n_nuclei: int, uneven: float) -> dict:
    """Return the row of one kind of field."""
    fits = [fits_of(culture, n_nuclei, uneven, seed) for seed in range(N_FIELDS)]
    about = {"culture": culture, "nuclei": n_nuclei, "uneven": uneven, "fields": N_FIELDS}
    for name, own in zip(("before", "after"), zip(*fits, strict=True), strict=True):
        about[f"peak_{name}"] = np.mean([np.isfinite(position) for position in own])
        about[f"elsewhere_{name}"] = np.mean([abs(np.log(position)) > _OFF for position in own])
    print(about, flush=True)
    return about


def fits_of(culture: str, n_nuclei: int, uneven: float, seed: int) -> list[float]:
    """Return the position of a field's G1 peak (truly 1) before and after light correction; NaN if none is found."""
    rng = np.random.default_rng([seed, n_nuclei, round(100 * uneven), list(CULTURES).index(culture)])
    shares = rng.dirichlet(CULTURES[culture]) if culture == "growing" else CULTURES[culture]
    copies = np.choose(rng.choice(3, n_nuclei, p=shares), [1.0, 1 + (G2 - 1) * rng.random(n_nuclei), G2])
    dna = copies * np.exp(rng.normal(0, rng.uniform(0.06, 0.13), n_nuclei))
    is_part, is_two = rng.random((2, n_nuclei)) < [[rng.choice([0, 0.08])], [0.03]]
    dna *= np.where(is_part, rng.uniform(0.35, 1, n_nuclei), 1) * np.where(is_two, rng.uniform(1.3, 2.2, n_nuclei), 1)
    places = rng.uniform(0, SHAPE[0], (n_nuclei, 2))
    light = Light(tuple(rng.normal(0, uneven / 2, 5)), SHAPE)
    field = nuclei_of(dna * light.at(places), places)
    peaks = fit_anchor([field])[1], fit_in_even_light([field])[2]
    return [peak.position if peak.quality >= LEAST_QUALITY else np.nan for peak in peaks]


def nuclei_of(dna: np.ndarray, places: np.ndarray) -> Nuclei:
    """Return nuclei of one field with their DNA (N,) and places (N, 2)."""
    flags, ids = np.full(len(dna), "", object), np.arange(len(dna)) + 1.0
    y, x = places.T
    measured = {"nucleus_id": ids, "centroid_y_px": y, "centroid_x_px": x, "integrated_dna": dna, "flags": flags}
    return Nuclei("field", measured | {"area_px": np.full(len(dna), 100.0)}, None, np.nan, False, np.nan, shape=SHAPE)


if __name__ == "__main__":
    main()

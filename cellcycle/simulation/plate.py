"""A simulated plate: wells with drugs that prolong one phase, at several doses, and wells with typical defects."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.images import write_image
from cellcycle.phases import PHASES
from cellcycle.simulation.biology import phase_bounds, spread
from cellcycle.simulation.images import simulate_field
from cellcycle.simulation.parameters import SimulationParameters
from cellcycle.simulation.scene import make_slide

CONTROL = "vehicle"
# Each drug makes one phase longer, by this factor at saturating dose; at a dose of 1 the effect is half.
_DRUGS = {"G1 arrest": ("g1_h", 6.0), "S block": ("s_h", 6.0), "mitotic arrest": ("m_h", 16.0)}
_DOSES = (0.1, 1.0, 10.0)
_SHADING = 0.3
# Coefficient of variation of the stain between wells: less than between slides.
_WELL_CV = 0.03


@dataclass(frozen=True)
class Well:
    """Treatment and defects of a well: drug, dose, factor `crowd` for the number of nuclei, changed parameters."""

    condition: str = CONTROL
    dose: float = 0.0
    crowd: float = 1.0
    changes: dict = field(default_factory=dict)

    def parameters(self, usual: SimulationParameters) -> SimulationParameters:
        """Return the parameters of its cells, derived from the usual ones."""
        changes = dict(self.changes)
        if self.condition in _DRUGS:
            name, most = _DRUGS[self.condition]
            changes[name] = getattr(usual, name) * (1 + (most - 1) * self.dose / (1 + self.dose))
        if "m_h" in changes:
            # Cells are arrested in prometaphase, before their chromosomes separate.
            changes["prometaphase_min"] = usual.prometaphase_min + 60 * (changes["m_h"] - usual.m_h)
        return replace(usual, **changes)


_OUT_OF_FOCUS = {"defocused_fraction": 1.0, "defocus_um": 6.0}
# Rows of a plate, from A on: two replicates of each drug and dose; a control row with the defective wells.
PLATE = [
    *([Well(drug, dose) for dose in _DOSES for _ in range(2)] for drug in _DRUGS),
    [*(Well() for _ in range(3)), Well(crowd=0.0), Well(changes=_OUT_OF_FOCUS), Well(crowd=0.15)],
]


def expected_shares(parameters: SimulationParameters) -> dict[str, float]:
    """Return the share of each phase in a growing population, from which the cells of a field are drawn.

    A field holds fewer large cells, because cells that find no free place are left out, more of them in denser fields;
    a cell in M needs the room that it had in G2.

    Examples
    --------
    >>> round(expected_shares(SimulationParameters())["G1"], 2)
    0.54
    """
    young = 2.0 * 2.0 ** -phase_bounds(parameters)
    return dict(zip(PHASES, (young[:-1] - young[1:]).tolist(), strict=True))


def write_plate(
    folder: Path,
    fields: int,
    size_px: int,
    seed: int,
    parameters: SimulationParameters,
    plate: list[list[Well]] = PLATE,
) -> None:
    """Write the fields of a plate as `plate/A01_s1.tif`, its map, the truth of each nucleus, and that of each well.

    All wells are stained and exposed as one slide, up to a few per cent; light falls off towards the corners.
    Fields have consecutive seeds from seed x wells x fields + 1 on. A first field of `write_folder` with the same seed
    shows the same cells, except for drugs, light and stain: do not train on one and test on the other.
    """
    (folder / "plate").mkdir()
    usual, rng = replace(parameters, shading=_SHADING), np.random.default_rng([seed, 6271])
    slide, wells, nuclei = make_slide(seed, 0, usual), [], []
    n_nuclei = round(60 * (size_px / 512) ** 2)
    places = [(f"{'ABCDEFGH'[r]}{c + 1:02d}", well) for r, row in enumerate(plate) for c, well in enumerate(row)]
    for number, (name, well) in enumerate(places):
        own = well.parameters(usual)
        stained = replace(slide, stain_factor=slide.stain_factor * float(spread(rng, _WELL_CV)))
        shares = {f"share_{phase}": share for phase, share in expected_shares(own).items()}
        wells.append({"well": name, "condition": well.condition, "dose": well.dose} | shares)
        for site in range(1, fields + 1):
            number_of_field = (seed * len(places) + number) * fields + site
            made = simulate_field((size_px, size_px), round(well.crowd * n_nuclei), number_of_field, own, stained)
            file = f"{name}_s{site}.tif"
            write_image(folder / "plate" / file, made.image, made.pixel_size_um)
            made.truth.insert(0, "image", f"plate/{file}")
            nuclei.append(made.truth.assign(field=file, well=name))
    table = pd.DataFrame(wells)
    table[["well", "condition", "dose"]].to_csv(folder / "map.csv", index=False)
    table.to_csv(folder / "wells.csv", index=False)
    pd.concat(nuclei).to_csv(folder / "truth.csv", index=False)

"""Simulated DAPI images of nuclei in all phases of the cell cycle, from cell biology and optics.

`simulate_nuclei` makes crops of single nuclei, `simulate_field` whole fields, `write_folder` files of both.
`ceiling` is the best possible accuracy of phase calls; `validation` compares simulated nuclei with real ones.
"""

from cellcycle.simulation.folder import write_folder
from cellcycle.simulation.images import SimulatedNuclei, simulate_field, simulate_nuclei
from cellcycle.simulation.limits import ceiling, posterior
from cellcycle.simulation.parameters import (
    NAGAO_COUNTS,
    NAGAO_PARAMETERS,
    STUDY_COUNTS,
    SUBPHASES,
    VERSION,
    SimulationParameters,
)

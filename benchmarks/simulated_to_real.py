"""Train on simulated nuclei, test on real Jurkat cells, and the reverse, with and without a few real labels.

    CELLCYCLE_REAL_DATA=<folder with jurkat/> python benchmarks/simulated_to_real.py

Writes records to data/results/simulated_to_real and the table of data/README.md that follows from them.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellcycle import files
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.errors import DataError
from cellcycle.networks import VIEWS
from cellcycle.phases import PHASES
from cellcycle.segmentation import measure_crops
from cellcycle.simulation import VERSION, SimulationParameters, simulate_nuclei
from cellcycle.study import transfers
from cellcycle.study.data_card import refresh_card
from cellcycle.training.runs import Fit, Run, full_config, record_runs

NAGAO = {"model": "nagao6", "training_set": "D2", "epochs": 15}
FEW = (10, 50)
# A crop of a flow cytometer holds one cell; everything else of the simulator stays as it is.
ALONE = {"neighbours_per_mm2": 0.0, "debris_fraction": 0.0}


class DomainPair(NamedTuple):
    """Simulated and real nuclei brought to one scale without looking at a label."""

    simulated: NucleusDataset
    real: NucleusDataset


def match_domains(real: NucleusDataset, n_per_phase=500) -> DomainPair:
    """Simulate nuclei for real ones of the four phases: same image size, same median area, same median integrated DNA.

    Intensities of both are divided by the median integrated DNA of their own nuclei, and brought into [0, 1] by one
    common factor. DataError refuses other classes.
    """
    if real.classes != PHASES:
        raise DataError(real.name, f"classes {', '.join(real.classes)}", "give cells labelled G1, S, G2 and M")
    counts = dict.fromkeys(PHASES, n_per_phase)
    pilot = simulate_nuclei(counts, size_px=64, seed=0)
    area_um2 = measure_crops(pilot.images, pilot.pixel_size_um)["area_um2"].median()
    measured = measure_crops(real.images)
    pixel_um = float(np.sqrt(area_um2 / measured["area_px"].median()))
    parameters = replace(SimulationParameters(), field_of_view_um=round(pixel_um * real.size_px, 2), **ALONE)
    made = simulate_nuclei(counts, size_px=real.size_px, seed=0, parameters=parameters)
    simulated_dna = measure_crops(made.images)["integrated_dna"].median()
    images = [made.images / simulated_dna, real.images / measured["integrated_dna"].median()]
    top = max(i.max() for i in images)
    identity = f"simulated-{VERSION}-for-{real.identity}-{n_per_phase}-0"
    simulated = NucleusDataset(
        name=f"simulated-for-{real.name}",
        images=(images[0] / top).astype(np.float32),
        labels=made.labels,
        classes=PHASES,
        sample_ids=made.truth["sample_id"].to_numpy(str),
        identity=identity,
        origin="simulated",
    )
    return DomainPair(simulated, replace(real, images=(images[1] / top).astype(np.float32)))


def few_labels(pair: DomainPair, config: dict, n_labels: int, pretrain: bool, n_repeats=3) -> Run:
    """Return the run that trains a network on `n_labels` real nuclei a phase and tests on the other real ones.

    The labelled nuclei are drawn anew in each repeat; `pretrain` starts from a network trained on the simulated ones.
    """
    real = pair.real
    facts = {"experiment": "few-labels", "n_labels": n_labels, "pretrain": pretrain}
    facts["train"] = pair.simulated.identity if pretrain else ""

    def fits():
        start = transfers.trained_weights(config, pair.simulated, 0) if pretrain else None
        for repeat in range(n_repeats):
            rng = np.random.default_rng([0, repeat])
            members = [np.flatnonzero(real.labels == k) for k in range(len(PHASES))]
            chosen = np.concatenate([rng.choice(m, n_labels, replace=False) for m in members])
            # Few images make short epochs: train for about as many steps as on four hundred.
            epochs = max(config["epochs"], round(config["epochs"] * 400 / len(chosen)))
            drawn = {**config, "epochs": epochs, "pretrained": start}
            rest = np.setdiff1d(np.arange(len(real)), chosen)
            yield Fit(drawn, real, chosen, rest, seed=repeat, repeat=repeat)

    return Run(full_config(config, **facts, seed=0, n_folds=1, n_repeats=n_repeats), real, fits)


def main():
    root = files.repository() / "data" / "results" / "simulated_to_real"
    real = load_dataset(Path(os.environ["CELLCYCLE_REAL_DATA"]) / "jurkat")
    pair = match_domains(real)
    print(pair.simulated, pair.real, sep="\n")
    runs = []
    for train, test in ((pair.simulated, pair.real), (pair.real, pair.simulated)):
        configs = [{"model": "dna-content"}, *({**NAGAO, "views": (view,)} for view in VIEWS)]
        runs += [transfers.across(train, test, config) for config in configs]
    for n_labels in FEW:
        for pretrain in (False, True):
            runs.append(few_labels(pair, NAGAO, n_labels, pretrain))
    for record in record_runs(runs, root):
        print(record.folder.name, record.config, f"{record.run['train_s']} s", flush=True)
    refresh_card()


if __name__ == "__main__":
    main()

"""Does what is learned on simulated nuclei hold for real ones, and the reverse? With and without real labels."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import results
from cellcycle.datasets import NucleusDataset
from cellcycle.errors import DataError
from cellcycle.phases import PHASES
from cellcycle.segmentation import measure_crops
from cellcycle.training.crossval import defaults_of, find_or_say, full_config

# A crop of a flow cytometer holds one cell; everything else of the simulator stays as it is.
ALONE = {"neighbours_per_mm2": 0.0, "debris_fraction": 0.0}


@dataclass(frozen=True)
class DomainPair:
    """Simulated and real nuclei brought to one scale without looking at a label."""

    simulated: NucleusDataset
    real: NucleusDataset


def match_domains(real: NucleusDataset, n_per_phase=500, seed=0) -> DomainPair:
    """Simulate nuclei for a real data set: same image size, same median area, same median integrated DNA.

    Parameters
    ----------
    real : NucleusDataset
        With the four phases.
    n_per_phase : int
    seed : int

    Returns
    -------
    DomainPair
        Intensities of both are divided by the median integrated DNA of their own nuclei, and brought
        into [0, 1] by one common factor.

    Raises
    ------
    DataError
        If the real set has other classes than the four phases.
    """
    from cellcycle.simulation import VERSION, SimulationParameters, simulate_nuclei

    if real.classes != PHASES:
        raise DataError(real.name, f"classes {', '.join(real.classes)}", "give cells labelled G1, S, G2 and M")
    counts = dict.fromkeys(PHASES, n_per_phase)
    pilot = simulate_nuclei(counts, size_px=64, seed=seed)
    area_um2 = measure_crops(pilot.images, pilot.pixel_size_um)["area_um2"].median()
    measured = measure_crops(real.images)
    pixel_um = float(np.sqrt(area_um2 / measured["area_px"].median()))
    parameters = replace(SimulationParameters(), field_of_view_um=round(pixel_um * real.size_px, 2), **ALONE)
    made = simulate_nuclei(counts, size_px=real.size_px, seed=seed, parameters=parameters)
    simulated_dna = measure_crops(made.images)["integrated_dna"].median()
    images = [made.images / simulated_dna, real.images / measured["integrated_dna"].median()]
    top = max(i.max() for i in images)
    identity = f"simulated-{VERSION}-for-{real.identity}-{n_per_phase}-{seed}"
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


def across(train: NucleusDataset, test: NucleusDataset, config: dict, root, seed=0) -> results.Record:
    """Train on one domain, test on the other; the record is written once and found again."""
    facts = {"experiment": "across", "train": train.identity, "train_name": train.name}
    full = full_config(config, **facts, seed=seed, n_folds=1, n_repeats=1)
    found = find_or_say(root, full, test.identity)
    if found is not None:
        return found
    estimator, seconds = _fit(config, train.images, train.labels, seed)
    return _write(root, full, test, [(np.arange(len(test)), estimator, 0)], seconds)


def few_labels(pair: DomainPair, config: dict, n_labels: int, pretrain: bool, root, n_repeats=3, seed=0):
    """Train on `n_labels` real nuclei a phase, from scratch or after the simulated ones; test on the other real ones.

    Parameters
    ----------
    pair : DomainPair
    config : dict
        Of `cellcycle.training.make_estimator`; a network.
    n_labels : int
        Labelled real nuclei a phase, drawn anew in each repeat.
    pretrain : bool
        Start from a network that was trained on the simulated nuclei.
    root : path-like
    n_repeats, seed : int

    Returns
    -------
    Record
    """
    real = pair.real
    facts = {"experiment": "few-labels", "n_labels": n_labels, "pretrain": pretrain}
    facts |= {"train": pair.simulated.identity if pretrain else ""}
    full = full_config(config, **facts, seed=seed, n_folds=1, n_repeats=n_repeats)
    found = find_or_say(root, full, real.identity)
    if found is not None:
        return found
    parts, seconds = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        start = None
        if pretrain:
            first, seconds = _fit(config, pair.simulated.images, pair.simulated.labels, seed)
            start = first.save_network(Path(folder) / "simulated.safetensors")
        for repeat in range(n_repeats):
            rng = np.random.default_rng([seed, repeat])
            members = [np.flatnonzero(real.labels == k) for k in range(len(PHASES))]
            chosen = np.concatenate([rng.choice(m, n_labels, replace=False) for m in members])
            # Few images make short epochs: train for about as many steps as on four hundred.
            epochs = max(config["epochs"], round(config["epochs"] * 400 / len(chosen)))
            settings = {**config, "epochs": epochs, "pretrained": start}
            estimator, used = _fit(settings, real.images[chosen], real.labels[chosen], seed + repeat)
            seconds += used
            parts.append((np.setdiff1d(np.arange(len(real)), chosen), estimator, repeat))
        return _write(root, full, real, parts, seconds)


def _fit(config, images, labels, seed):
    from cellcycle.training import clock_for, make_estimator

    estimator, clock = make_estimator(**config), clock_for(config)
    if "seed" in estimator.get_params():
        estimator.set_params(seed=seed)
    started = clock()
    return estimator.fit(images, labels), clock() - started


def _write(root, full, test, parts, seconds) -> results.Record:
    from cellcycle.training import clock_for

    clock = clock_for(full)
    started = clock()
    truth = np.array(test.classes)[test.labels]
    tables = [
        results.prediction_table(
            test.sample_ids[at],
            None if test.groups is None else test.groups[at],
            truth[at],
            model.predict_proba(test.images[at]),
            test.classes,
            r,
        )
        for at, model, r in parts
    ]
    return results.write_run(
        root,
        full,
        test.describe(),
        pd.concat(tables, ignore_index=True),
        defaults=defaults_of(full["model"]),
        train_s=round(seconds, 2),
        predict_s=round(clock() - started, 3),
        n_parameters=getattr(parts[0][1], "n_parameters_", None),
    )

"""The ceiling as a record beside the models': the best that any classifier of the hidden state can do."""

import numpy as np
import pandas as pd

from cellcycle import results
from cellcycle.datasets import NucleusDataset
from cellcycle.phases import PHASES
from cellcycle.splits import stratified_folds
from cellcycle.study.profiles import Profile
from cellcycle.training.crossval import find_or_say

NAME = "ceiling"


def ceiling_record(profile: Profile, dataset: NucleusDataset) -> results.Record | None:
    """Return the record of `simulation.posterior` on the data set's own nuclei, in the models' folds.

    It knows DNA content (through the staining noise), nuclear area and chromatin contrast of every nucleus,
    and recognises mitosis without fail. Nothing is trained.

    Parameters
    ----------
    profile : Profile
    dataset : NucleusDataset

    Returns
    -------
    Record or None
        None where the hidden state is unknown: real cells, or classes other than the four phases.
    """
    if dataset.truth is None or dataset.classes != PHASES:
        return None
    config = {"model": NAME, "n_folds": profile.n_folds, "n_repeats": profile.n_repeats, "seed": profile.seed}
    found = find_or_say(profile.results_dir(), config, dataset.identity)
    if found is not None:
        return found
    from cellcycle.simulation import posterior

    scores = posterior(dataset.truth, counts=dict(dataset.counts()))
    truth = np.array(dataset.classes)[dataset.labels]
    folds = stratified_folds(dataset.labels, profile.n_folds, profile.n_repeats, profile.seed, dataset.groups)
    tables = [
        results.prediction_table(
            dataset.sample_ids[f.test], dataset.groups[f.test], truth[f.test], scores[f.test], PHASES, f.repeat, f.fold
        )
        for f in folds
    ]
    predictions = pd.concat(tables, ignore_index=True)
    return results.write_run(
        profile.results_dir(), config, dataset.describe(), predictions, train_s=0.0, predict_s=0.0, n_parameters=None
    )

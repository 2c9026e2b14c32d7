"""Score a model on whole simulated fields, from file to row: find, cut, call, and compare with the truth."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import results
from cellcycle.checkpoint import Checkpoint
from cellcycle.images import read_plane, write_image
from cellcycle.phases import PHASES
from cellcycle.predict import Predictor, Settings
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.simulation import simulate_field

N_FIELDS, FIELD_PX, N_NUCLEI, SEED = 6, 900, 260, 980
# A found nucleus matches a true one whose centre lies within this distance.
_NEAR_UM = 4.0


def found_fields(predictor: Predictor, n_fields: int = N_FIELDS) -> list[tuple]:
    """Write fields of the default microscope as files, read them and find their nuclei, once for all models.

    Returns for each field: name, `Plane`, `Nuclei`, and a DataFrame of the true nuclei that lie wholly inside.
    """
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(n_fields):
            field = simulate_field((FIELD_PX, FIELD_PX), N_NUCLEI, SEED + number)
            file = Path(folder) / f"field{number:02d}.tif"
            write_image(file, field.image, field.pixel_size_um)
            plane = read_plane(file)
            truth = field.truth[~field.truth["touches_border"]].reset_index(drop=True)
            made.append((file.stem, plane, predictor.find(plane), truth))
    return made


def score_fields(checkpoint: Checkpoint, fields: list[tuple], root: Path) -> tuple[results.Record, dict]:
    """Call the nuclei of fields under equal shares; return the record of those found and called, and the counts."""
    started, tables, n_truth, n_found = time.perf_counter(), [], 0, 0
    predictor, names = Predictor(checkpoint, Settings("field", prior="equal")), [f"p_{c}" for c in PHASES]
    for name, plane, nuclei, truth in fields:
        scores = predictor.call(plane, nuclei).table[names].to_numpy(float)
        wanted = truth[["centroid_y_px", "centroid_x_px"]].to_numpy(float)
        gaps = np.hypot(*(wanted[:, None] - nuclei.centres[None]).transpose(2, 0, 1)) * nuclei.pixel_size_um
        at = gaps.argmin(axis=1)
        is_found = gaps.min(axis=1) < _NEAR_UM
        # A found nucleus counts for one true nucleus only: the nearest, if two were joined.
        is_found &= gaps.argmin(axis=0)[at] == np.arange(len(truth))
        answered = is_found & np.isfinite(scores[at]).all(axis=1)
        n_truth, n_found = n_truth + len(truth), n_found + int(is_found.sum())
        ids = [f"{name}-{k}" for k in np.flatnonzero(answered)]
        phases = truth["phase"].to_numpy(str)[answered]
        tables.append(results.prediction_table(ids, [name] * len(ids), phases, scores[at][answered], PHASES))
    n_fields = len(fields)
    table = pd.concat(tables, ignore_index=True)
    config = {"experiment": "checkpoint", "model": checkpoint.name, "version": checkpoint.version, "test": "fields"}
    config |= {"weights": checkpoint.card["sha256"]["model.onnx"], "n_folds": 1, "n_repeats": 1}
    counts = [int((table["truth"] == phase).sum()) for phase in PHASES]
    identity = f"simulated-{SIMULATOR}-fields-{n_fields}-{FIELD_PX}-{N_NUCLEI}-{SEED}"
    data = {"name": "fields", "origin": "simulated", "identity": identity, "classes": list(PHASES), "counts": counts}
    data |= {"shape": [1, FIELD_PX, FIELD_PX], "groups": n_fields}
    seconds = round(time.perf_counter() - started, 2)
    record = results.write_run(root, config, data, table, train_s=0.0, predict_s=seconds, n_parameters=None)
    return record, {"n_nuclei": n_truth, "n_found": n_found, "n": len(table)}

"""The simulated data sets, made once and cached under `build/`."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import files
from cellcycle.card import as_json
from cellcycle.datasets.nuclei import NucleusDataset
from cellcycle.phases import PHASES

SIMULATED = ("simulated", "simulated-colour", "simulated-nagao")


def load_simulated(name: str, size_px: int, seed: int, most: int | None = None) -> NucleusDataset:
    """Return one of the `SIMULATED` sets, from the cache or newly made.

    With `most` it has about that many nuclei, the first of each phase in the set's proportions, at least 4 per phase.
    """
    from cellcycle import simulation

    is_nagao = name == "simulated-nagao"
    counts = simulation.NAGAO_COUNTS if is_nagao else simulation.STUDY_COUNTS
    if most is not None:
        share = min(1.0, most / sum(counts.values()))
        counts = {phase: min(n, max(4, round(n * share))) for phase, n in counts.items()}
    if is_nagao:
        nagao = make_simulated(name, counts, size_px, seed, simulation.NAGAO_PARAMETERS)
        return nagao.relabel({"G2": "G2", "G1": "not-G2", "S": "not-G2", "M": "not-G2"}, name)
    stain = "colour" if name == "simulated-colour" else "gray"
    return make_simulated(name, counts, size_px, seed, stain=stain)


def make_simulated(name, counts, size_px=64, seed=0, parameters=None, stain="gray") -> NucleusDataset:
    """Simulate a data set with `cellcycle.simulation.simulate_nuclei`, or read it from the cache under `build/`.

    Its groups are the slides.
    """
    from cellcycle import simulation

    parameters = parameters or simulation.SimulationParameters()
    key = json.dumps(as_json([simulation.VERSION, repr(parameters), counts, stain, size_px, seed]))
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    cache = files.build_dir() / "cache" / f"{files.slug(name)}-{size_px}px-seed{seed}-{digest}.npz"
    made = _read_cache(cache)
    if made is None:
        cells = simulation.simulate_nuclei(counts, size_px, seed, parameters, stain)
        made = (cells.images, cells.labels, cells.truth, cells.pixel_size_um)
        with files.told(cache.parent):
            cache.parent.mkdir(parents=True, exist_ok=True)
        with files.whole_file(cache) as work:
            known = {"labels": cells.labels, "truth": cells.truth.to_csv(index=False)}
            np.savez(work, images=cells.images, pixel_size_um=cells.pixel_size_um, **known)
    images, labels, truth, pixel_size_um = made
    return NucleusDataset(
        name=name,
        images=images,
        labels=labels,
        classes=PHASES,
        sample_ids=truth["sample_id"].to_numpy(str),
        # Each slide has its own staining, which a model must not know from training.
        groups=truth["slide"].to_numpy(str),
        identity=f"simulated-{simulation.VERSION}-{digest}",
        origin="simulated",
        pixel_sizes_um=np.full(len(labels), pixel_size_um),
        truth=truth,
    )


def _read_cache(cache: Path):
    """Return (images, labels, truth, pixel_size_um), or None if the cache is absent or damaged."""
    try:
        with np.load(cache, allow_pickle=False) as made:
            truth = pd.read_csv(io.StringIO(str(made["truth"])), dtype={"sample_id": str})
            return made["images"], made["labels"], truth, float(made["pixel_size_um"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None

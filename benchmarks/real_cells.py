"""Cross-validate the four models, the recipe `best` and the DNA-content method on real cells, and keep the records.

Usage: python benchmarks/real_cells.py REAL_DATA [--out data/results/real_cells]

REAL_DATA holds jurkat/{G1,S,G2,M}/*.tif. Every network is trained on D1 (the classes are nearly balanced) for the
epochs of the `study` profile, not shortened for the larger set, with absolute and with per-image intensities.
"""

import argparse
from pathlib import Path

from cellcycle.datasets import load_dataset
from cellcycle.inputs import MEASURED_PER_IMAGE
from cellcycle.study import experiments, load_profile
from cellcycle.training import cross_validate


def configs() -> list[dict]:
    """Return what is compared: the DNA-content method, then four models and `best`, absolute and per image."""
    profile = load_profile("study")
    networks = [
        {**experiments.settings(profile, model, "D1"), "epochs": profile.epochs_for(model, 1)}
        for model in experiments.TABLE_2_MODELS
    ]
    # Learning to tell late G2 from early M takes more epochs than the study's set allows.
    best = experiments.best(profile, training_set="D1", epochs=24)
    absolute = [*networks, best]
    # Of `best`, too: its measurements are then relative to the background of the same image.
    per_image = [{**config, "views": ("shape",)} for config in networks]
    per_image.append({**best, "measurements": MEASURED_PER_IMAGE})
    return [*experiments.baseline(profile), *absolute, *per_image]


def main() -> None:
    """Run what has no record yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real_data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("data/results/real_cells"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="model to run alone, e.g. nagao4")
    chosen = parser.parse_args()
    dataset = load_dataset(chosen.real_data / "jurkat")
    wanted = [config for config in configs() if chosen.only in ("", config["model"])]
    cross_validate(dataset, wanted, chosen.out, n_jobs=chosen.jobs)


if __name__ == "__main__":
    main()

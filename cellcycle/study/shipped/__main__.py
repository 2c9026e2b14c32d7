"""`python -m cellcycle.study.shipped [NAME ...]`: train, export and score the shipped models."""

import argparse
import os
from pathlib import Path

from cellcycle.checkpoint import load_checkpoint
from cellcycle.ending import guarded
from cellcycle.predict import Predictor, Settings
from cellcycle.study.shipped import scoring
from cellcycle.study.shipped.fields import found_fields
from cellcycle.study.shipped.flips import field_variants
from cellcycle.study.shipped.real import REAL, train_real
from cellcycle.study.shipped.training import RECIPES, train_shipped

# The network that finds nuclei; its weights are in `cellcycle/segmentation`.
FINDER = "finder"


def main() -> None:
    """Make the named models, or all."""
    parser = argparse.ArgumentParser(prog="python -m cellcycle.study.shipped", description=__doc__)
    known = [FINDER, *RECIPES, *REAL]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all without any")
    parser.add_argument("--score-only", action="store_true", help="calibrate and score the models that are there")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"{unknown[0]!r} is no recipe; there are {', '.join(known)}")
    learners = {FINDER, *REAL, *(name for name, recipe in RECIPES.items() if recipe.real)}
    real = os.environ.get("CELLCYCLE_REAL_DATA")
    if not real and set(arguments.names) & learners:
        parser.error(f"{', '.join(sorted(learners))} learn from real cells: name their folder in CELLCYCLE_REAL_DATA")
    wanted = arguments.names or [name for name in known if real or name not in learners]
    names = [name for name in wanted if name in RECIPES]
    folder = Path(real) if real else None
    if FINDER in wanted and not arguments.score_only:
        from cellcycle.training.finder import make_finder

        make_finder(folder)
    # Those of `REAL` first; their scores come from `train`, on held-out cells.
    for name in () if arguments.score_only else sorted(set(wanted) - {FINDER}, key=[*REAL, *wanted].index):
        print(f"trained {(train_real if name in REAL else train_shipped)(name, folder).folder}", flush=True)
    if not names:
        return
    slides = scoring.slides_of("calibration", scoring.N_CALIBRATION_SLIDES, scoring.CALIBRATION_SEED)
    slides += scoring.slides_of("other", scoring.N_CALIBRATION_SLIDES, scoring.CALIBRATION_SEED, is_wide=True)
    for name in names:
        temperature = scoring.calibrate(name, slides).confidence.temperature
        print(f"calibrated {name}: temperature {temperature:.2f}", flush=True)
    finder = Predictor(load_checkpoint(names[0]), Settings("field"))
    tests, fields = scoring.all_tests(folder), found_fields(finder)
    flipped = field_variants(finder.find)
    for name in names:
        scoring.score_checkpoint(name, tests, flipped, fields)


if __name__ == "__main__":
    guarded(main)

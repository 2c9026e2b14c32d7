"""Train the networks of Table II at the study's 300 px on a GPU, with the profile `paper`.

    python -m benchmarks.paper --minutes 9    # trains for 9 minutes; a further call continues
    python -m benchmarks.paper --record       # data/results/paper.csv and the text of docs, from what was trained

Many folds run at a time, because one fold of a small network leaves most of a GPU idle. Records are under `build`.
"""

import argparse
import os
import signal
import sys
import threading
from dataclasses import replace

import pandas as pd

from cellcycle import files
from cellcycle.errors import RecordError
from cellcycle.study import experiments, texts
from cellcycle.study.profiles import Profile, load_profile
from cellcycle.summaries import score_table

RECORD = files.repository() / "data" / "results" / "paper.csv"
# Folds at a time: a ResNet at full size needs some 10 GB of GPU memory per fold.
SMALL, LARGE = 14, 8


def parts(profile: Profile) -> list[tuple[str, list[dict], int]]:
    """Return the parts of the training: (name, settings, folds at a time)."""
    configs = experiments.table_2(profile)
    small = [config for config in configs if not config["model"].startswith("resnet")]
    return [
        ("Table II", small, SMALL),
        ("Table II, ResNets", [config for config in configs if config not in small], LARGE),
    ]


def train(profile: Profile) -> None:
    """Train all models that have no record yet."""
    dataset = profile.load_dataset()
    for _, configs, n_jobs in parts(profile):
        experiments.cross_validate(replace(profile, n_jobs=n_jobs), dataset, configs)


def scores(profile: Profile) -> pd.DataFrame:
    """Return the scores of each completely recorded part, with the seconds per fold while other folds ran beside it."""
    dataset, made = profile.load_dataset(), []
    for part, configs, n_jobs in parts(profile):
        try:
            records = experiments.recorded(profile, dataset, configs)
        except RecordError:
            continue
        table = score_table(records).assign(part=part, folds_at_a_time=n_jobs)
        made.append(table.assign(epochs=[record.config["epochs"] for record in records]))
    if not made:
        sys.exit(f"{profile.results_dir()}: nothing is trained yet: run without --record first")
    return pd.concat(made).drop(columns="ms_per_nucleus").round(6)


def main() -> None:
    """Train for the given minutes, or write the scores of what was trained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--profile", default="paper", help="smoke, to try this")
    asked = parser.parse_args()
    profile = load_profile(asked.profile)
    if not asked.record:
        end = threading.Timer(60 * asked.minutes, os.kill, (os.getpid(), signal.SIGINT))
        end.daemon = True
        end.start()
        try:
            train(profile)
        except KeyboardInterrupt:
            print("the time is over: what is recorded stays")
        return
    # Also without a GPU: the records name their device.
    with files.whole_file(RECORD) as work:
        scores(replace(profile, device="cuda")).rename_axis("model").to_csv(work)
    texts.refresh_texts()


if __name__ == "__main__":
    main()

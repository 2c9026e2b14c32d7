"""Update the committed records to the current code: names of settings, names of folders, format.

Usage: python benchmarks/migrate_records.py [data/results]

Run it after a setting of an estimator was renamed or its default changed; `migrated` defines the change.
Predictions do not change; a record that is up to date is not touched.
"""

import json
import os
import sys
from pathlib import Path

from cellcycle import results
from cellcycle.study import load_profile
from cellcycle.study.transfers import pretrained_network, transfer_source
from cellcycle.training.runs import defaults_of, full_config

# Experiments and models without an estimator here: their recorded settings are complete.
ELSEWHERE, NO_ESTIMATORS = ("checkpoint", "confidence", "evidence"), ("ceiling", "nearest-pixels")


def migrated(config: dict) -> dict:
    """Return the whole configuration of a record with the names and defaults of the current code."""
    config = dict(config)
    if config.get("experiment") in ELSEWHERE or config["model"] in NO_ESTIMATORS:
        return config
    if config.get("pretrained"):
        profile = load_profile("study", "simulated")
        source = transfer_source(profile, profile.load_dataset())
        config["pretrained"] = pretrained_network(profile, source, train=False).stem
    return full_config({"model": config["model"]}, **config)


def migrate(folder: Path) -> Path:
    """Rewrite `run.json` of one record and rename its folder; return the new path."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    run |= {"format": results.FORMAT, "config": migrated(run["config"])}
    results.write_facts(folder, run)
    key = results.key_of(run["config"], defaults_of(run["config"]["model"]))
    target = folder.with_name(results.run_id(key, run["data"]["identity"]))
    if target != folder:
        assert not target.exists(), f"{folder} and {target} would be one record"
        os.rename(folder, target)
    return target


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "data/results")
    for file in sorted(root.rglob("run.json")):
        print(file.parent, "->", results.read_run(migrate(file.parent)).folder.name)

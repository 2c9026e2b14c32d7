"""Train on simulated nuclei, test on real Jurkat cells, and the reverse, with and without a few real labels.

    CELLCYCLE_REAL_DATA=<folder with jurkat/> python benchmarks/simulated_to_real.py

Writes records to data/results/simulated_to_real and the table of data/README.md that follows from them.
"""

import os
from pathlib import Path

from cellcycle import paths
from cellcycle.datasets import load_dataset
from cellcycle.study import domains
from cellcycle.study.blocks import refresh_card

NAGAO = {"model": "nagao6", "training_set": "D2", "epochs": 15}
INTENSITIES = ("absolute", "per-image")
FEW = (10, 50)


def main():
    root = paths.repository() / "data" / "results" / "simulated_to_real"
    real = load_dataset(Path(os.environ["CELLCYCLE_REAL_DATA"]) / "jurkat")
    pair = domains.match_domains(real)
    print(pair.simulated, pair.real, sep="\n")
    for train, test in ((pair.simulated, pair.real), (pair.real, pair.simulated)):
        report(domains.across(train, test, {"model": "dna-content"}, root))
        for intensity in INTENSITIES:
            report(domains.across(train, test, {**NAGAO, "intensity": intensity}, root))
    for n_labels in FEW:
        for pretrain in (False, True):
            report(domains.few_labels(pair, {**NAGAO, "intensity": "absolute"}, n_labels, pretrain, root))
    refresh_card()


def report(record):
    print(record.folder.name, record.config, f"{record.run['train_s']} s", flush=True)


if __name__ == "__main__":
    main()

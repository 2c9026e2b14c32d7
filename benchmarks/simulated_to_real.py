"""Train on simulated nuclei, test on real Jurkat cells, and the reverse, with and without a few real labels.

    CELLCYCLE_REAL_DATA=<folder with jurkat/> python benchmarks/simulated_to_real.py

Writes records to data/results/simulated_to_real and the table of data/README.md that follows from them.
"""

import os
from pathlib import Path

from cellcycle import files
from cellcycle.datasets import load_dataset
from cellcycle.networks import VIEWS
from cellcycle.study import transfers
from cellcycle.study.texts import refresh_card
from cellcycle.training.runs import record_runs

NAGAO = {"model": "nagao6", "training_set": "D2", "epochs": 15}
FEW = (10, 50)


def main():
    root = files.repository() / "data" / "results" / "simulated_to_real"
    real = load_dataset(Path(os.environ["CELLCYCLE_REAL_DATA"]) / "jurkat")
    pair = transfers.match_domains(real)
    print(pair.simulated, pair.real, sep="\n")
    runs = []
    for train, test in ((pair.simulated, pair.real), (pair.real, pair.simulated)):
        configs = [{"model": "dna-content"}, *({**NAGAO, "views": (view,)} for view in VIEWS)]
        runs += [transfers.across(train, test, config) for config in configs]
    for n_labels in FEW:
        for pretrain in (False, True):
            runs.append(transfers.few_labels(pair, NAGAO, n_labels, pretrain))
    for record in record_runs(runs, root):
        print(record.folder.name, record.config, f"{record.run['train_s']} s", flush=True)
    refresh_card()


if __name__ == "__main__":
    main()

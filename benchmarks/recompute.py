"""Recompute the table of docs/results.md from the committed CSV files, with numpy and pandas alone.

    python benchmarks/recompute.py

Nothing of the library is imported: what agrees here was computed twice. The rows are the runs that stand in the
records under several seeds, and the ceiling. Calls are made as that page says: for accuracy the most probable class
under the shares of the tested cells, for balanced accuracy under equal shares, for macro F1 under the shares raised to
the power that served the other folds best. Prints each score, the printed one beside it, and ends with status 1 where
two differ.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
NAMES = {"logistic": "LR", "nn": "NN", "resnet8": "ResNet 8", "nagao6": "Nagao 6", "nagao4": "best"}
NAMES |= {"dna-content": "DNA content", "ceiling": "ceiling"}
SCORES = ("accuracy", "balanced accuracy", "macro F1")
DRAWS = 1000
# Values are printed with two digits; intervals depend on the draws too.
VALUE_TOLERANCE, INTERVAL_TOLERANCE = 0.0051, 0.02


def headline_runs() -> dict[str, tuple[dict, pd.DataFrame]]:
    """Return settings and predictions of the models that were run under several seeds, and of the ceiling."""
    same = {}
    for file in sorted((ROOT / "data" / "results" / "study").glob("*/run.json")):
        run = json.loads(file.read_text(encoding="utf-8"))
        key = json.dumps([{**run["config"], "seed": 0}, run["data"]["identity"]], sort_keys=True)
        same.setdefault(key, []).append((run["config"], pd.read_csv(file.parent / "predictions.csv")))
    found = {}
    for runs in same.values():
        settings = runs[0][0]
        if len(runs) > 1 or settings["model"] == "ceiling":
            found[NAMES[settings["model"]]] = settings, pd.concat([t.assign(run=i) for i, (_, t) in enumerate(runs)])
    return found


def score(truth: pd.Series, call: pd.Series) -> tuple[float, float, float]:
    """Return accuracy, balanced accuracy and macro F1 of calls."""
    recalls, f1 = [], []
    for phase in sorted(truth.unique()):
        is_it, called = truth == phase, call == phase
        both = (is_it & called).sum()
        recalls.append(both / is_it.sum())
        f1.append(2 * both / (is_it.sum() + called.sum()))
    return float((truth == call).mean()), float(np.mean(recalls)), float(np.mean(f1))


def called(table: pd.DataFrame, settings: dict) -> dict[str, pd.Series]:
    """Return the calls of a run for each score."""
    phases = [c[2:] for c in table if c.startswith("p_")]
    shares = np.array([(table["truth"] == phase).mean() for phase in phases])
    is_balanced = settings.get("training_set") == "D3"
    evidence = table[[f"p_{phase}" for phase in phases]].to_numpy() / (1.0 if is_balanced else shares)

    def most_probable(power):
        return pd.Series(np.array(phases)[(evidence * shares**power).argmax(axis=1)])

    by_power = [most_probable(i / 10) for i in range(11)]
    made, rest = by_power[0].copy(), table.reset_index(drop=True)
    for _, part in rest.groupby(["run", "fold"]):
        others = rest.index[(rest["run"] == part["run"].iloc[0]) & (rest["fold"] != part["fold"].iloc[0])]
        reached = [score(rest["truth"][others], calls[others])[2] for calls in by_power]
        made[part.index] = by_power[int(np.argmax(reached))][part.index]
    return dict(zip(SCORES, (by_power[10], by_power[0], made), strict=True))


def estimate(table: pd.DataFrame, call: pd.Series, which: int, rng) -> tuple[float, float, float]:
    """Return a score with the interval that holds the middle 95 % of draws of whole slides."""
    truth = table["truth"].reset_index(drop=True)
    phases = sorted(truth.unique())
    counts = pd.crosstab([table["group"].to_numpy(), truth.to_numpy()], call.to_numpy())
    slides = counts.index.levels[0]
    cube = np.array([counts.loc[s].reindex(index=phases, columns=phases, fill_value=0).to_numpy() for s in slides])
    drawn = np.array([cube[rng.integers(0, len(cube), len(cube))].sum(axis=0) for _ in range(DRAWS)], dtype=float)
    right, true, calls = np.diagonal(drawn, axis1=1, axis2=2), drawn.sum(axis=2), drawn.sum(axis=1)
    values = (
        right.sum(axis=1) / true.sum(axis=1),
        (right / true).mean(axis=1),
        (2 * right / (true + calls)).mean(axis=1),
    )
    return score(truth, call)[which], *np.quantile(values[which], (0.025, 0.975))


def printed_table() -> dict[str, dict[str, list[float]]]:
    """Return value, low and high of each model and score as the page prints them."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    block = text.split("<!-- RESULTS -->")[1].split("<!-- /RESULTS -->")[0]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().splitlines())
    places = {s: header.index(f"{s} (simulated)") for s in SCORES}
    return {r[0]: {s: [float(x) for x in re.findall(r"\d\.\d+", r[i])] for s, i in places.items()} for r in rows}


def main() -> int:
    printed, rng, worst = printed_table(), np.random.default_rng(1), 0
    runs = headline_runs()
    if set(runs) != set(printed):
        print(f"the table has the rows {sorted(printed)}, the records hold {sorted(runs)}")
        return 1
    for name, (settings, table) in runs.items():
        for which, (what, call) in enumerate(called(table, settings).items()):
            found, kept = estimate(table, call, which, rng), printed[name][what]
            apart = np.abs(np.subtract(found, kept))
            is_same = apart[0] <= VALUE_TOLERANCE and apart[1:].max() <= INTERVAL_TOLERANCE
            worst |= not is_same
            shown = "{:.3f} [{:.3f}, {:.3f}]".format(*found)
            print(f"{name:12} {what:18} {shown}  printed {kept}{'' if is_same else '  DIFFERS'}")
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())

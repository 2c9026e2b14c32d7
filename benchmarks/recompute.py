"""Recompute the table of docs/results.md from the committed CSV files, with numpy, pandas and quantiles of scipy.

    python benchmarks/recompute.py

Nothing of the library is imported, so agreement confirms the numbers independently. The rows are the models recorded
under several seeds, and the ceiling. Calls are made as described on that page: for accuracy the most probable class
under the shares of the tested cells, for balanced accuracy under equal shares, for macro F1 under the shares raised to
the middle of the powers that are best on the other folds within a standard error. Intervals cover slides and trainings:
each is drawn alone, their variances are added, and the variance of cells, which is in both, is subtracted once. Prints
each score beside the one on the page, each model's paired difference to DNA content, and what remains of it after
correction for many comparisons; ends with status 1 if any differ.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, t

ROOT = Path(__file__).resolve().parents[1]
NAMES = {"logistic": "LR", "nn": "NN", "resnet8-plain": "ResNet 8, plain", "resnet8": "ResNet 8", "nagao6": "Nagao 6"}
NAMES |= {"nagao4": "best", "dna-content": "DNA content", "ceiling": "ceiling"}
SCORES = ("accuracy", "balanced accuracy", "macro F1")
DRAWS, MANY_DRAWS = 1000, 20_000
# The page shows values with two digits; intervals also depend on the random draws.
VALUE_TOLERANCE, INTERVAL_TOLERANCE = 0.0051, 0.02
# A verdict may differ if a bound is this near to 0, and a corrected one if it is within this fraction of its limit.
NEAR, NEAR_LIMIT = 0.005, 0.02
EDGE = 0.05


def headline_runs() -> dict[str, tuple[dict, pd.DataFrame]]:
    """Return settings and predictions of the models that were run under several seeds, and of the ceiling."""
    same = {}
    for file in sorted((ROOT / "data" / "results" / "study").glob("*/run.json")):
        run = json.loads(file.read_text(encoding="utf-8"))
        key = json.dumps([{**run["config"], "seed": 0}, run["data"]["identity"]], sort_keys=True)
        same.setdefault(key, []).append((run["config"], file.parent / "predictions.csv"))
    found = {}
    for runs in same.values():
        # Sorted by seed, so that runs with the same number in two tables have the same folds.
        runs.sort(key=lambda run: run[0]["seed"])
        settings = runs[0][0]
        if settings["model"] in NAMES and (len(runs) > 1 or settings["model"] == "ceiling"):
            tables = [pd.read_csv(file).assign(run=i) for i, (_, file) in enumerate(runs)]
            found[NAMES[settings["model"]]] = settings, pd.concat(tables)
    return found


def score(truth: np.ndarray, call: np.ndarray) -> tuple[float, float, float]:
    """Return accuracy, balanced accuracy and macro F1 of calls; calls and truth are class names."""
    recalls, f1 = [], []
    for phase in sorted(set(truth)):
        is_it, called = truth == phase, call == phase
        both = (is_it & called).sum()
        recalls.append(both / is_it.sum())
        f1.append(2 * both / (is_it.sum() + called.sum()))
    return float((truth == call).mean()), float(np.mean(recalls)), float(np.mean(f1))


def called(table: pd.DataFrame, settings: dict) -> dict[str, np.ndarray]:
    """Return the calls of a run for each score."""
    phases, truth = [c[2:] for c in table if c.startswith("p_")], table["truth"].to_numpy(object)
    shares = np.array([(truth == phase).mean() for phase in phases])
    is_balanced = settings.get("training_set") == "D3"
    evidence = table[[f"p_{phase}" for phase in phases]].to_numpy() / (1.0 if is_balanced else shares)
    by_power = [np.array(phases, object)[(evidence * shares ** (i / 10)).argmax(axis=1)] for i in range(11)]
    made, run, fold = by_power[0].copy(), table["run"].to_numpy(), table["fold"].to_numpy()

    def macro_f1(rows):
        return [score(truth[rows], calls[rows])[2] for calls in by_power]

    for r, f in table[["run", "fold"]].drop_duplicates().itertuples(index=False):
        others = (run == r) & (fold != f)
        whole = np.array(macro_f1(others))
        singly = np.array([macro_f1((run == r) & (fold == one)) for one in np.unique(fold[others])])
        behind = singly[:, [whole.argmax()]] - singly
        is_near = whole.max() - whole <= behind.std(axis=0, ddof=1) / np.sqrt(len(behind))
        rows = (run == r) & (fold == f)
        made[rows] = by_power[round(np.flatnonzero(is_near).mean())][rows]
    return dict(zip(SCORES, (by_power[10], by_power[0], made), strict=True))


def estimate(parts: list[tuple], which: int, seed: int, n_draws: int = DRAWS) -> tuple[float, float, float]:
    """Return a score, or the difference of two, with its 95 % interval; `parts` are (table, calls, sign).

    Two tables must be of the same cells, folds and seeds; they are drawn together.
    """
    assert len({tuple(t[["run", "fold", "sample_id"]].itertuples(index=False)) for t, *_ in parts}) == 1
    value, samples, number = 0.0, {}, {}
    for table, call, sign in parts:
        truth = table["truth"].to_numpy(object)
        training = table["run"].astype(str) + "/" + table["fold"].astype(str)
        drawn = {"slide": table["group"].astype(str), "training": training}
        drawn["cell"] = drawn["slide"] + " " + drawn["training"]
        value += sign * score(truth, call)[which]
        rng = np.random.default_rng(seed)
        for name, of in drawn.items():
            more = sign * redrawn(of.to_numpy(), truth, call, which, rng, n_draws)
            samples[name], number[name] = samples.get(name, 0) + more, of.nunique()
    unbiased = {name: np.var(s) * number[name] / (number[name] - 1) for name, s in samples.items()}
    slides, trainings = unbiased["slide"], unbiased["training"]
    variance = max(slides, trainings, slides + trainings - unbiased["cell"])
    weight = slides**2 / (number["slide"] - 1) + trainings**2 / (number["training"] - 1)
    away = samples["slide"] + samples["training"] - 2 * value
    away *= np.sqrt(variance / np.var(away)) * t.ppf(0.975, (slides + trainings) ** 2 / weight) / norm.ppf(0.975)
    low, high = value + np.quantile(away, (0.025, 0.975))
    return (value, low, high) if len(parts) > 1 else (value, *np.clip([low, high], 0, 1))


def redrawn(of: np.ndarray, truth: np.ndarray, call: np.ndarray, which: int, rng, n_draws: int) -> np.ndarray:
    """Return the score of each of `n_draws` draws of whole slides, trainings or cells (`of`), with replacement."""
    phases, true = np.unique(truth, return_inverse=True)
    units, unit = np.unique(of, return_inverse=True)
    cube = np.zeros((len(units), len(phases), len(phases)))
    np.add.at(cube, (unit, true, np.searchsorted(phases, call)), 1)
    times = rng.multinomial(len(cube), np.full(len(cube), 1 / len(cube)), size=n_draws)
    drawn = np.tensordot(times.astype(float), cube, axes=1)
    right, true, calls = np.diagonal(drawn, axis1=1, axis2=2), drawn.sum(axis=2), drawn.sum(axis=1)
    if which == 0:
        return right.sum(axis=1) / true.sum(axis=1)
    return (right / true if which == 1 else 2 * right / (true + calls)).mean(axis=1)


def printed_table() -> dict[str, dict[str, list[float]]]:
    """Return [value, low, high] of each model and score on the page."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    block = text.split("<!-- RESULTS -->")[1].split("<!-- /RESULTS -->")[0]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().splitlines())
    places = {s: header.index(f"{s} (simulated)") for s in SCORES}
    return {r[0]: {s: [float(x) for x in re.findall(r"\d\.\d+", r[i])] for s, i in places.items()} for r in rows}


def printed_verdicts() -> dict[str, dict[str, str]]:
    """Return the page's verdicts on each model compared with DNA content: score -> model -> verdict."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    # A sentence may continue in an indented line.
    lines = text.split("<!-- FINDINGS -->")[1].split("<!-- /FINDINGS -->")[0].replace("\n  ", " ").splitlines()
    found = {}
    for line in (line for line in lines if ", compared with DNA content: " in line):
        what, told = line.removeprefix("- ").rstrip(".").split(", compared with DNA content: ")
        of = {v: told.split(f"{v}: ")[1].split(";")[0] for v in ("better", "worse", "undecided")}
        what = next(s for s in SCORES if s.lower() == what.lower())
        of = {v: names.replace("8, plain", "8 plain").split(", ") for v, names in of.items()}
        found[what] = {n.replace("8 plain", "8, plain"): v for v, names in of.items() for n in names if n != "none"}
    return found


def printed_as_one_of_many() -> dict[str, dict[str, list[str]]]:
    """Return the page's verdicts after correction for many comparisons: verdict -> model -> scores."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").split("<!-- FINDINGS -->")[1]
    told = " ".join(re.search(r"\(Bonferroni\), (.*?)\.\n", text, re.S)[1].split())
    found = {}
    for said in (part for part in told.split("; ") if ": " in part):
        verdict, models = said.split(": ")
        named = re.findall(r"([^()]+) \(([^)]+)\)", models)
        found[verdict] = {model.strip(", "): scores.split(", ") for model, scores in named}
    return found


def main() -> int:
    printed, verdicts, worst = printed_table(), printed_verdicts(), 0
    runs = headline_runs()
    if set(runs) != set(printed):
        print(f"the table has the rows {sorted(printed)}, the records hold {sorted(runs)}")
        return 1
    calls = {name: called(table, settings) for name, (settings, table) in runs.items()}
    for name, (_, table) in runs.items():
        for which, what in enumerate(SCORES):
            found, kept = estimate([(table, calls[name][what], 1)], which, 1), printed[name][what]
            apart = np.abs(np.subtract(found, kept))
            is_same = apart[0] <= VALUE_TOLERANCE and apart[1:].max() <= INTERVAL_TOLERANCE
            worst |= not is_same
            shown = "{:.3f} [{:.3f}, {:.3f}]".format(*found)
            print(f"{name:15} {what:18} {shown}  printed {kept}{'' if is_same else '  DIFFERS'}")
    classical = runs["DNA content"][1]
    for what, models in verdicts.items():
        for name, verdict in models.items():
            parts = [(runs[name][1], calls[name][what], 1), (classical, calls["DNA content"][what], -1)]
            value, low, high = estimate(parts, SCORES.index(what), 1)
            # A bound near 0 may lie on either side of it, depending on the random draws.
            may_be = {_verdict(low + shift, high + shift) for shift in (-NEAR, 0, NEAR)}
            worst |= verdict not in may_be
            is_same = "" if verdict in may_be else "  DIFFERS"
            shown = f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
            print(f"{name:15} {what:18} minus DNA content {shown}  printed {verdict}{is_same}")
    return int(worst | _differs_as_one_of_many(runs, calls))


def _differs_as_one_of_many(runs, calls) -> bool:
    """Print each difference to DNA content relative to its corrected limit; return whether a verdict differs."""
    dna, printed, differs = runs["DNA content"][1], printed_as_one_of_many(), False
    compared = [name for name in runs if name not in ("DNA content", "ceiling")]
    n, freedom = len(compared) * len(SCORES), dna["group"].nunique() - 1
    wider = t.ppf(1 - 0.025 / n, freedom) / t.ppf(0.975, freedom)
    for name in compared:
        for which, what in enumerate(SCORES):
            parts = [(runs[name][1], calls[name][what], 1), (dna, calls["DNA content"][what], -1)]
            value, low, high = estimate(parts, which, 1, MANY_DRAWS)
            reached = 2 * value / (high - low) / wider
            said = next((v for v, of in printed.items() if what in of.get(name, [])), "none")
            may_be = {_as_one_of_many(reached * (1 + shift)) for shift in (-NEAR_LIMIT, 0, NEAR_LIMIT)}
            differs |= said not in may_be
            print(f"{name:15} {what:18} {reached:+.3f} of what one of {n} must reach  printed {said}")
    return differs


def _as_one_of_many(reached: float) -> str:
    if abs(abs(reached) - 1) < EDGE:
        return "on the edge"
    return "none" if abs(reached) < 1 else "better" if reached > 0 else "worse"


def _verdict(low: float, high: float) -> str:
    return "better" if low > 0 else "worse" if high < 0 else "undecided"


if __name__ == "__main__":
    sys.exit(main())

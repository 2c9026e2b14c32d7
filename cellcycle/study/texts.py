"""Computed tables, sentences and the picture of README and docs, from records, model cards and models."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from cellcycle import comparisons, files, results, summaries
from cellcycle.errors import RecordError
from cellcycle.images import read_plane, write_image
from cellcycle.metrics import Estimate, no_narrower, wilson
from cellcycle.predict import Predictor
from cellcycle.predict.overlay import draw_overlay
from cellcycle.predict.words import shipped_table
from cellcycle.results import Record
from cellcycle.segmentation import finder, matching
from cellcycle.study import costs, data_card, experiments
from cellcycle.study.blocks import markdown_table, refresh
from cellcycle.study.profiles import load_profile
from cellcycle.study.shipped.scoring import records_dir

# Names of the computed blocks in each text.
TEXTS = {
    "README.md": ["PICTURE", "HEADLINE"],
    "docs/results.md": ["RESULTS", "FINDINGS", "TRAINING", "PAPER", "REAL_CELLS"],
    "docs/predict.md": ["ALTERED", "MODELS", "TRUST"],
    "docs/finders.md": ["FINDERS", "FINDERS_REAL", "FINDERS_CROWDED", "FINDERS_COST", "FINDERS_SIMULATED"],
    "docs/how_to/label_and_train.md": ["TRAINED"],
    "docs/ethics.md": ["ENERGY"],
}
FIELD_PICTURE = "docs/images/field_001_phases.png"
# In the order of the columns; `metrics.SCORES` holds how they are computed.
SHOWN_SCORES = ("accuracy", "balanced_accuracy", "macro_f1")
# Record of how often altered fields are flagged, by `benchmarks/altered.py`.
ALTERED = Path("data", "results", "altered.csv")
# Tests of the shipped models -> their titles. All are simulated, of slides that no model learned from.
TRUSTED = {"fields": "whole fields", "slides": "crops", "laboratories": "crops, unusual cells and cameras"}
# Record of `benchmarks/segmentation_fields.py`: all finders, compared.
FINDERS = Path("data", "results", "finders.json")
# Records of models trained on real cells, as `make evidence` makes them.
TRAINED = Path("data", "results", "evidence", "trained")
# Bootstrap draws for corrected intervals, whose limits lie in the tails; within this fraction of one is "on the edge".
_MANY_DRAWS, _EDGE = 20_000, 0.05
_COMPARED = (*experiments.TABLE_2_MODELS.values(), "best")
# Model in the configuration of a record on real cells -> its name in tables.
_REAL_NAMES = experiments.TABLE_2_MODELS | {experiments.BEST["model"]: "best"} | experiments.BASELINE


def refresh_texts() -> None:
    """Write all computed texts: the blocks of README, docs and data card, and README's picture."""
    for file, blocks in (text_blocks() | {"data/README.md": data_card.card_blocks()}).items():
        refresh(files.repository() / file, blocks)
    write_image(files.repository() / FIELD_PICTURE, field_picture())


def text_blocks() -> dict[str, dict[str, str]]:
    """Return the computed blocks of each text, by its path in the repository, from the committed records and cards."""
    profile = load_profile("study", "simulated")
    dataset = profile.load_dataset()
    recorded = experiments.headline_records(profile, dataset, experiments.recorded)
    simulated, real = headline_table(recorded), real_table(real_records())
    columns = [c for c in simulated if not c.startswith(("recall", "parameters", "ms"))]
    tables = {"RESULTS": simulated[columns], "REAL_CELLS": real, "TRAINED": trained_table()}
    own = {backend: _finder_scores(scores) for backend, scores in finder.read_card()["scores"].items()}
    tables |= {"MODELS": shipped_table(), "TRUST": trust_table(), "ALTERED": altered_table()}
    tables |= {"FINDERS": _by_finder(own)} | finders_beside()
    made = {name: markdown_table(table) for name, table in tables.items()}
    beside, still = beside_dna_content(recorded)
    told = findings(beside, still, beside_print_best(recorded))
    made |= {"HEADLINE": headline(simulated, beside, still, real), "FINDINGS": told}
    made |= {"PICTURE": data_card.picture_block(), "ENERGY": costs.energy_block(), "TRAINING": costs.training_block()}
    made["PAPER"] = costs.paper_block(experiments.recorded(profile, dataset, experiments.table_2(profile)))
    return {text: {name: made[name] for name in names} for text, names in TEXTS.items()}


def headline(simulated: pd.DataFrame, told: pd.DataFrame, still: str, real: pd.DataFrame) -> str:
    """Return README's table of scores on simulated cells, and three sentences on these and on real cells."""
    names = [comparisons.readable(score) for score in SHOWN_SCORES]
    table = simulated[[f"{name} (simulated)" for name in names]].set_axis(names, axis=1)
    verdicts = told.map(lambda text: text.split()[-1])
    worse = ", ".join(verdicts.index[verdicts.eq("worse").any(axis=1)]) or "none"
    ahead = [
        f"{name} ({score} {told.loc[name, score].removesuffix(' better')})"
        for score in told
        for name in told.index[verdicts[score] == "better"]
    ]
    absolute, scaled = (real[real["intensities"] == kind]["balanced accuracy"] for kind in ("absolute", "per image"))
    networks, others = scaled.drop("best"), absolute.drop(["best", "DNA content"])
    sentences = (
        f"Worse than DNA content on at least one score: {worse}. Better on one: {', '.join(ahead) or 'none'}. "
        f"Corrected for {told.size} comparisons (Bonferroni), {still}. *best* was designed with such cells in view.",
        f"Trained on real cells (Jurkat; G1, S and G2 are gates on this channel), *best* reaches a balanced accuracy "
        f"of {absolute['best']}, the study's networks {others.min()} to {others.max()}, DNA content "
        f"{absolute['DNA content']}.",
        f"With every picture scaled by itself, *best*, which still measures DNA against the background, reaches "
        f"{scaled['best']}; the study's networks, which see only the picture, {networks.min()} to {networks.max()}.",
    )
    lines = (textwrap.fill(f"- {sentence}", 120, subsequent_indent="  ") for sentence in sentences)
    return "\n".join([f"{markdown_table(table)}\n", *lines])


def trust_table() -> pd.DataFrame:
    """Return, per shipped model, mean confidence and fraction of correct calls on each simulated test in `TRUSTED`."""
    rows: dict[str, dict] = {}
    for record in results.load_runs(records_dir()):
        name, test = record.config["model"], record.data["name"]
        if test in TRUSTED:
            says, is_right = record.probabilities.max(axis=1).mean(), (record.predicted == record.labels).mean()
            row = rows.setdefault(name, {})
            row[f"{TRUSTED[test]}: says, is right"] = f"{says:.2f}, {is_right:.2f}"
            if test == "fields":
                row["fields, nuclei in M"] = f"{len(set(record.units))}, {(record.predictions['truth'] == 'M').sum()}"
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model").sort_index()
    return table[["fields, nuclei in M", *(f"{title}: says, is right" for title in TRUSTED.values())]]


def altered_table() -> pd.DataFrame:
    """Return, per kind of change, the fraction of altered real fields that is flagged, with 95 % Wilson intervals."""
    rows = pd.read_csv(files.repository() / ALTERED)
    shares = rows["told"] / rows["fields"]
    ends = zip(shares, *wilson(shares.to_numpy(), rows["fields"].to_numpy()), strict=True)
    shown = pd.DataFrame({"fields": rows["fields"].astype(str), "flagged": [str(Estimate(*of)) for of in ends]})
    return shown.set_axis(rows["change"]).rename_axis("change")


def field_picture() -> np.ndarray:
    """Return the sample field with its calls, as README shows it."""
    predicted = Predictor().predict(read_plane(files.repository() / "data/sample/fields/fields/field_001.tif"))
    return draw_overlay(predicted, predicted.checkpoint.classes)


def finders_beside() -> dict[str, pd.DataFrame]:
    """Return the tables that compare the finders, from the record of `benchmarks/segmentation_fields.py`."""
    record = json.loads((files.repository() / FINDERS).read_text(encoding="utf-8"))
    widths = {"simulated": "width of the G1 peak, simulated slide", "rpe1": "width of the G1 peak, RPE-1"}
    spent = {"times_plain": "time, over that of the plain script", "memory_mb": "memory of the process, MB"}
    real, simulated, cost = {}, {}, {}
    for name, one in record["finders"].items():
        jpeg = {"F1 at IoU 0.5, as JPEG": str(Estimate(*one["jpeg"]["f1_0.5"]))}
        peaks = {title: one["g1"][source] for source, title in widths.items()}
        g1 = {title: f"{Estimate(*of['cv'])}{' (not usable)' if of['reason'] else ''}" for title, of in peaks.items()}
        real[name] = _finder_scores(one["real"], record["n_real"]) | jpeg
        simulated[name] = _finder_scores(one["simulated"], record["n_simulated"]) | g1
        cost[name] = {title: f"{one[column]:g}" for column, title in spent.items()}
    crowded = {name: _counted(counts) for name, counts in record["crowded"].items()}
    tables = {"REAL": real, "SIMULATED": simulated, "CROWDED": crowded, "COST": cost}
    return {f"FINDERS_{name}": _by_finder(rows) for name, rows in tables.items()}


def _finder_scores(scores: dict, n_fields: int = 0) -> dict[str, str]:
    """Return a finder's scores as text, by title; with `n_fields` the last interval is no narrower than Wilson's."""
    columns = {f"f1_{iou}": f"F1 at IoU {iou}" for iou in matching.IOUS}
    columns |= {"ap_0.5": "average precision at IoU 0.5", "below_0.8": "share of fields with F1 below 0.8"}
    found = {name: Estimate(*scores[name]) for name in columns}
    if n_fields:
        found["below_0.8"] = no_narrower(found["below_0.8"], n_fields)
    return {title: str(found[name]) for name, title in columns.items()}


def _counted(counts: dict[str, list[int]]) -> dict[str, str]:
    """Return the numbers of right, surplus and missed nuclei at the lowest IoU, and F1 at every IoU, of one image."""
    least = counts[str(min(matching.IOUS))]
    shown = {name: str(n) for name, n in zip(("right", "surplus", "missed"), least, strict=True)}
    f1 = {iou: 2 * n[0] / (2 * n[0] + n[1] + n[2]) for iou, n in counts.items()}
    return shown | {f"F1 at IoU {iou}": f"{value:.2f}" for iou, value in f1.items()}


def _by_finder(rows: dict[str, dict]) -> pd.DataFrame:
    rows = {"a plain script" if name == "plain" else f"`--segmentation {name}`": row for name, row in rows.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("nuclei found by")


def findings(table: pd.DataFrame, still: str, of_print: str) -> str:
    """Return a list: for each score, which models differ decidedly from DNA content, paired; then `of_print`."""
    lines = [f"- *best* minus DNA content, paired: {comparisons.told(table.loc[['best']])[0].removeprefix('best: ')}"]
    for score in table:
        # Names are joined by commas, so they must not contain one.
        verdicts = table[score].str.split().str[-1].rename(lambda name: name.replace(",", ""))
        said = [f"{v}: {', '.join(verdicts.index[verdicts == v]) or 'none'}" for v in ("better", "worse", "undecided")]
        lines.append(f"- {score[0].upper()}{score[1:]}, compared with DNA content: {'; '.join(said)}.")
    by_chance = f"- Of these {table.size} comparisons one in twenty is decided by chance alone"
    lines.append(f"{by_chance}; corrected for that (Bonferroni), {still}.")
    lines.append(f"- {of_print}")
    return "\n".join(textwrap.fill(line, 120, subsequent_indent="  ") for line in lines)


def beside_print_best(records: dict[str, Record]) -> str:
    """Return a sentence that compares the model with the highest published macro F1 with the other published models.

    The choice rests on the publication, not on our runs, so no lucky winner of ours is compared. Calls are made in two
    ways, as published and for each score as in our tables, because a difference may depend on that alone.
    """
    best = summaries.published("table2_models").set_index("model")["macro_f1"].idxmax()
    others = {name: records[name] for name in experiments.TABLE_2_MODELS.values() if name != best}
    pairs, said = {name: (records[best], own) for name, own in others.items()}, []
    for how, as_trained in {"as trained, like the print": True, "for the score": False}.items():
        table = comparisons.differences(pairs, as_trained)
        for verdict in ("better", "worse"):
            # Names are joined by commas, so they must not contain one.
            scores = {n.replace(",", ""): comparisons.decided(row, verdict) for n, row in table.iterrows()}
            named = [f"{name} ({score})" for name, score in scores.items() if score != "no score"]
            called = f"called {how}, it is " if verdict == "better" else ""
            said.append(f"{called}decidedly {verdict} than {', '.join(named) or 'none'}")
    by_chance = f"Of {table.size} comparisons each way one in twenty is decided by chance alone."
    return f"{best} is the best in print by macro F1. Here, {'; '.join(said)}. {by_chance}"


def beside_dna_content(records: dict[str, Record]) -> tuple[pd.DataFrame, str]:
    """Return the paired differences of the headline runs to DNA content, and a text: which remain after correction.

    "On the edge" are differences within 5 % of the corrected limit: other bootstrap draws could reverse them.
    """
    dna = records["DNA content"]
    against = {name: (record, dna) for name, record in records.items() if name in _COMPARED}
    table, freedom = comparisons.differences(against), len(np.unique(dna.units)) - 1
    # Bonferroni: the error of 5 % is divided by the number of comparisons; degrees of freedom are slides minus one.
    wider = stdtrit(freedom, 1 - 0.025 / table.size) / stdtrit(freedom, 0.975)
    many = {"n_samples": _MANY_DRAWS}
    found = {n: {s: comparisons.compare(*pair, s, **many) for s in SHOWN_SCORES} for n, pair in against.items()}
    reached = pd.DataFrame(found).map(lambda e: 2 * e.value / (wider * (e.high - e.low)))
    kept = {
        "better": reached >= 1 + _EDGE,
        "worse": reached <= -1 - _EDGE,
        "on the edge": (reached.abs() - 1).abs() < _EDGE,
    }
    said = {verdict: ", ".join(_named(is_so)) for verdict, is_so in kept.items() if is_so.to_numpy().any()}
    lead = [] if "better" in said else ["no lead is left"]
    return table, "; ".join([*lead, *(f"{verdict}: {named}" for verdict, named in said.items())])


def _named(is_so: pd.DataFrame) -> list[str]:
    """Return e.g. "LR (accuracy, macro F1)" for each model (column) that is True for some scores (rows)."""
    found = {name: [comparisons.readable(score) for score in of.index[of]] for name, of in is_so.items()}
    return [f"{name} ({', '.join(scores)})" for name, scores in found.items() if scores]


def headline_table(records: dict[str, Record]) -> pd.DataFrame:
    """Return one row per model: scores with 95 % intervals, recalls, cost, and the published scores on D3."""
    scores = summaries.score_table(records.values(), list(records))
    origin = next(iter(records.values())).data["origin"]
    # The study's ResNet 8 has no skip paths; its published scores stand beside both of ours.
    rows = [name.removesuffix(", plain") for name in scores.index]
    printed = summaries.published("table2_models").set_index("model").reindex(rows).set_axis(scores.index)
    names = {comparisons.readable(score): f"{comparisons.readable(score)} ({origin})" for score in SHOWN_SCORES}
    names["prediction, ms a nucleus"] = "ms a nucleus"
    shown = summaries.show_scores(scores, SHOWN_SCORES, costs=True).drop(columns="training set").rename(columns=names)
    for name, column in {"accuracy": "accuracy_d3", "macro F1": "macro_f1"}.items():
        shown[f"{name} (published)"] = printed[column].map("{:.2f}".format, na_action="ignore")
    return shown.fillna("")


def trained_records() -> list[dict]:
    """Return the committed records of `cellcycle train` on real cells."""
    found = sorted((files.repository() / TRAINED).glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in found]


def trained_table() -> pd.DataFrame:
    """Return one row per run of `cellcycle train`: scores on held-out cells, with 95 % intervals, and recalls."""
    rows = {}
    for record in trained_records():
        found = record["held_out"]
        estimates = {name: Estimate(found[name], *found["intervals"][name]) for name in SHOWN_SCORES}
        row = {comparisons.readable(name): str(estimate) for name, estimate in estimates.items()}
        row["recall"] = ", ".join(f"{name} {recall:.2f}" for name, recall in found["recall"].items())
        rows[f"`{record['command']}`"] = {"cells": str(found["n"]), **row}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("command")


def real_records() -> list[Record]:
    """Return the committed records of the study's models trained on real cells; RecordError if there are none."""
    root = files.repository() / TRAINED
    records = results.load_runs(root)
    if not records:
        raise RecordError(root, "no records of real cells", "run `make evidence`")
    order = list(_REAL_NAMES)
    return sorted(records, key=lambda r: (experiments.intensities_of(r.config), order.index(r.config["model"])))


def real_table(records) -> pd.DataFrame:
    """Return one row per model and kind of intensities: scores with 95 % intervals, recalls and training time."""
    scores = summaries.score_table(records, [_REAL_NAMES[r.config["model"]] for r in records])
    shown = summaries.show_scores(scores, SHOWN_SCORES, costs=True)
    shown["training set"] = [experiments.intensities_of(r.config).replace("-", " ") for r in records]
    shown = shown.rename(columns={"training set": "intensities"})
    return shown.drop(columns=["parameters", "prediction, ms a nucleus"])


def distances(fresh: dict[str, Record], committed: dict[str, Record]) -> pd.DataFrame:
    """Return the committed headline scores with 95 % intervals beside those of a fresh run, called as trained.

    Index `model`; for each of `SHOWN_SCORES` the columns `{score}`, `{score}_low`, `{score}_high`, `{score}_fresh`.
    """
    made, kept = (summaries.score_table(r.values(), list(r), as_trained=True) for r in (fresh, committed))
    both = [name for name in kept.index if name in made.index]
    columns = {}
    for score in SHOWN_SCORES:
        columns |= {f"{score}{end}": kept.loc[both, f"{score}{end}"] for end in ("", "_low", "_high")}
        columns[f"{score}_fresh"] = made.loc[both, score]
    return pd.DataFrame(columns)


def show_distances(found: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `distances` as text: committed score with its interval, and fresh minus committed."""
    shown = summaries.with_intervals(found, SHOWN_SCORES)
    moved = [found[f"{score}_fresh"] - found[score] for score in SHOWN_SCORES]
    return shown + pd.concat(moved, axis=1, keys=shown.columns).map("  {:+.4f}".format)


def second_run() -> pd.DataFrame:
    """Return the committed `distances` of a complete fresh run on another processor type than that of the records."""
    return pd.read_csv(files.repository() / "data" / "results" / "second_run.csv", index_col="model")

"""The headline rows: repeated on simulated cells, cross-validated on real ones; as tables and for the README."""

from pathlib import Path

import pandas as pd

from cellcycle import metrics, paths, results
from cellcycle.errors import RecordError
from cellcycle.phases import PHASES
from cellcycle.predict.shipped import shipped_table
from cellcycle.results import Record
from cellcycle.study import experiments
from cellcycle.study.blocks import markdown_table, refresh
from cellcycle.study.ceiling import ceiling_record
from cellcycle.study.energy import refresh_ethics
from cellcycle.study.profiles import Profile, load_profile
from cellcycle.summaries import published, score_table

# How the real cells' networks are called in tables, by the model's name in their configuration.
_REAL_NAMES = experiments.TABLE_2_MODELS | {experiments.BEST["model"]: "best"} | experiments.BASELINE
# In the order of the columns; `summaries.SCORES` holds how they are computed.
SHOWN_SCORES = ("accuracy", "balanced_accuracy", "macro_f1")
_INTENSITIES = {"absolute": "absolute", "measured": "absolute", "per-image": "per image"}


def headline_records(profile: Profile, dataset, train: bool = True) -> dict[str, Record]:
    """Return the repeated runs of `experiments.headline` by name, and the ceiling where it is known."""
    configs = experiments.headline(profile)
    records = dict(zip(configs, profile.repeat(dataset, configs.values(), train), strict=True))
    ceiling = ceiling_record(profile, dataset)
    return records if ceiling is None else records | {"ceiling": ceiling}


def headline_table(records: dict[str, Record]) -> pd.DataFrame:
    """Return one row a model: scores with 95 % intervals, recalls, cost, and what the study printed for D3."""
    scores = score_table(records.values(), list(records))
    origin = next(iter(records.values())).data["origin"]
    printed = published("table2_models").set_index("model").reindex(scores.index)
    shown = pd.DataFrame(index=scores.index)
    for name in SHOWN_SCORES:
        shown[f"{name.replace('_', ' ').replace('f1', 'F1')} ({origin})"] = _with_interval(scores, name)
    for phase in [c.removeprefix("recall_") for c in scores if c.startswith("recall_")]:
        shown[f"recall {phase}"] = scores[f"recall_{phase}"].map("{:.2f}".format)
    shown["parameters"] = ["" if pd.isna(n) else f"{int(n):,}" for n in scores["n_parameters"]]
    shown["training, s a fold"] = scores["train_s"].map("{:.1f}".format)
    shown["ms a nucleus"] = scores["ms_per_nucleus"].map("{:.2f}".format)
    shown["accuracy (published)"] = printed["accuracy_d3"].map("{:.2f}".format, na_action="ignore")
    shown["macro F1 (published)"] = printed["macro_f1"].map("{:.2f}".format, na_action="ignore")
    return shown.fillna("").rename_axis("model")


def real_records(root: Path | None = None) -> list[Record]:
    """Return the committed records of the models on real cells (`benchmarks/real_cells.py` makes them).

    Raises
    ------
    RecordError
        If there are none.
    """
    root = root or paths.repository() / "data" / "results" / "real_cells"
    records = results.load_runs(root)
    if not records:
        raise RecordError(root, "no records of real cells", "run benchmarks/real_cells.py REAL_DATA")
    order = [*experiments.TABLE_2_MODELS, experiments.BEST["model"], *experiments.BASELINE]
    return sorted(records, key=lambda r: (_INTENSITIES[_intensity(r)] == "per image", order.index(r.config["model"])))


def real_table(records) -> pd.DataFrame:
    """Return one row a model and kind of intensities: scores with 95 % intervals, recalls and cost."""
    scores = score_table(records, [_REAL_NAMES[r.config["model"]] for r in records])
    shown = pd.DataFrame(index=scores.index)
    shown["intensities"] = [_INTENSITIES[_intensity(r)] for r in records]
    for name in ("balanced_accuracy", "macro_f1"):
        shown[name.replace("_", " ").replace("f1", "F1")] = _with_interval(scores, name)
    for phase in PHASES:
        shown[f"recall {phase}"] = scores[f"recall_{phase}"].map("{:.2f}".format)
    shown["training, s a fold"] = scores["train_s"].map("{:.1f}".format)
    return shown.rename_axis("model")


def _intensity(record: Record) -> str:
    return record.config.get("intensity", "absolute")


def readme_blocks() -> dict[str, str]:
    """Return the README's computed tables, from the committed records and cards.

    RESULTS: simulated cells; REAL_CELLS: Jurkat cells; MODELS: the shipped models.
    """
    profile = load_profile("study", "simulated")
    simulated = headline_table(headline_records(profile, profile.load_dataset(), train=False))
    columns = [c for c in simulated if not c.startswith(("recall", "parameters", "ms"))]
    return {
        "RESULTS": markdown_table(simulated[columns]),
        "REAL_CELLS": markdown_table(real_table(real_records())),
        "MODELS": markdown_table(shipped_table()),
    }


def refresh_texts() -> None:
    """Write every computed block that follows from the records of the study: README and ethics."""
    refresh(paths.repository() / "README.md", readme_blocks())
    refresh_ethics()


def distances(fresh: dict[str, Record], committed: dict[str, Record]) -> pd.DataFrame:
    """Return each headline number as committed, with its 95 % interval, and as a fresh run has it.

    Returns
    -------
    DataFrame
        Index `model`; for each of `SHOWN_SCORES` the columns `{score}`, `{score}_low`, `{score}_high`,
        `{score}_fresh`.
    """
    made, kept = (score_table(records.values(), list(records)) for records in (fresh, committed))
    both = [name for name in kept.index if name in made.index]
    columns = {}
    for score in SHOWN_SCORES:
        columns |= {f"{score}{end}": kept.loc[both, f"{score}{end}"] for end in ("", "_low", "_high")}
        columns[f"{score}_fresh"] = made.loc[both, score]
    return pd.DataFrame(columns).rename_axis("model")


def show_distances(found: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `distances` for a reader: committed number, its interval, fresh minus committed."""
    shown = pd.DataFrame(index=found.index)
    for score in SHOWN_SCORES:
        moved = found[f"{score}_fresh"] - found[score]
        pairs = zip(_with_interval(found, score), moved, strict=True)
        shown[score.replace("_", " ").replace("f1", "F1")] = [f"{kept}  {by:+.4f}" for kept, by in pairs]
    return shown


def second_run() -> pd.DataFrame:
    """Return the committed `distances` of a whole fresh run on another type of processor than that of the records."""
    return pd.read_csv(paths.repository() / "data" / "results" / "second_run.csv", index_col="model")


def _with_interval(scores: pd.DataFrame, name: str) -> list[str]:
    values = scores[[name, f"{name}_low", f"{name}_high"]].to_numpy()
    return [f"{metrics.Estimate(*row)}" for row in values]

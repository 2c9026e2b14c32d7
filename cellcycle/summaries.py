"""Tables and sentences computed from run records; no number in them is typed by hand."""

from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import files, metrics
from cellcycle.comparisons import calls, estimate, readable
from cellcycle.errors import DataError, check_whole
from cellcycle.results import Record

_BLOCKS = {"": "Residual", "plain": "NonResidual", "identity": "Identity"}


def score_table(records, names=None, as_trained=False) -> pd.DataFrame:
    """Return the scores of runs, one row per run, by name (by default its model), with 95 % intervals.

    Columns: training_set; `metrics.SCORES` (each from the calls made for it) and recall_<class> (from those made for
    balanced accuracy), each with `_low` and `_high`; n_parameters; train_s (seconds for training one fold) and
    ms_per_nucleus (prediction), both as CPU time if a CPU was used. `as_trained` as in `comparisons.calls`.
    """
    rows, records = [], list(records)
    for record in records:
        row = {"training_set": _training_set(record)}
        for name in (*metrics.SCORES, *(f"recall_{c}" for c in record.classes)):
            row |= estimate(record, name, as_trained).columns(name)
        row["n_parameters"] = record.run["n_parameters"]
        row["train_s"] = record.run["train_s"] / (record.config["n_folds"] * record.config["n_repeats"])
        row["ms_per_nucleus"] = 1000 * record.run["predict_s"] / len(record.labels)
        rows.append(row)
    index = list(names) if names is not None else [r.config["model"] for r in records]
    return pd.DataFrame(rows, index=pd.Index(index, name="model"))


def _training_set(record) -> str:
    """Return the training set of a run, "" without one: D2 with no copies is D1."""
    config = record.config
    return "D1" if (config.get("training_set"), config.get("copies")) == ("D2", 0) else config.get("training_set", "")


def with_intervals(table: pd.DataFrame, names) -> pd.DataFrame:
    """Return the named columns of a score table as text: two digits, intervals in brackets."""
    shown = {
        readable(name): [f"{metrics.Estimate(*v)}" for v in table[[name, f"{name}_low", f"{name}_high"]].to_numpy()]
        for name in names
    }
    return pd.DataFrame(shown, index=table.index)


def show_scores(table: pd.DataFrame, scores=None, costs=False) -> pd.DataFrame:
    """Return a `score_table` as text, see `with_intervals`; with `costs` also number of weights, and times.

    `scores` are all of `metrics.SCORES` by default.
    """
    shown = with_intervals(table, [*(scores or metrics.SCORES), *recalls_in(table)])
    shown.insert(0, "training set", table["training_set"])
    if not costs:
        return shown
    shown["parameters"] = ["" if pd.isna(n) else f"{int(n):,}" for n in table["n_parameters"]]
    shown["training, s a fold"] = table["train_s"].map("{:.1f}".format)
    shown["prediction, ms a nucleus"] = table["ms_per_nucleus"].map("{:.2f}".format)
    return shown


def recalls_in(table: pd.DataFrame) -> list[str]:
    """Return the names of the recall columns of a score table, without those of their intervals."""
    return [c for c in table if c.startswith("recall_") and f"{c}_low" in table]


def confusion(record: Record, score: str = "") -> pd.DataFrame:
    """Return the confusion counts of a run's calls, truth in rows: as trained, or for a score as `comparisons.calls`.

    Runs that were trained with different class shares are comparable only if called for the same score.
    """
    called = calls(record, score, as_trained=not score)
    matrix = metrics.confusion_matrix(record.labels, called, len(record.classes))
    names, how = list(record.classes), f"call for {readable(score)}" if score else "call, as trained"
    return pd.DataFrame(matrix, index=pd.Index(names, name="truth"), columns=pd.Index(names, name=how))


def majority_accuracy(record: Record) -> float:
    """Return the accuracy of always calling the most frequent class."""
    return float(np.bincount(record.labels).max() / len(record.labels))


def worst_mistakes(record: Record, n: int = 8) -> pd.DataFrame:
    """Return the n wrong calls with the highest probability: sample_id, truth, call, probability."""
    table = record.predictions[["sample_id", "truth"]].copy()
    table["call"] = np.array(record.classes)[record.predicted]
    table["probability"] = record.probabilities.max(axis=1)
    wrong = table[table["truth"] != table["call"]].sort_values("probability", ascending=False, kind="stable")
    return wrong.drop_duplicates("sample_id").head(n).reset_index(drop=True)


def sentence(record: Record, name: str) -> str:
    """Return one plain sentence with a run's scores and recalls, each with its interval, all from its record."""
    shown = with_intervals(table := score_table([record]), [*metrics.SCORES, *recalls_in(table)]).iloc[0]
    scores = ", ".join(f"{readable(score)} {shown[readable(score)]}" for score in metrics.SCORES)
    recalls = ", ".join(f"{c} {shown[f'recall {c}']}" for c in record.classes)
    training_set = _training_set(record) or "no training set of its own"
    return (
        f"{name} ({training_set}, {record.data['origin']} cells): {scores}; recall {recalls}. "
        f"Always calling the largest class: accuracy {majority_accuracy(record):.2f}."
    )


def dna_relative(measured: pd.DataFrame, labels, classes) -> tuple[pd.Series, str]:
    """Return integrated DNA of `segmentation.measure_crops` divided by the median of G1, and the name of that unit.

    Without a class G1 it is divided by the median of all nuclei.
    """
    dna = measured["integrated_dna"]
    if "G1" in classes:
        return dna / dna[np.asarray(labels) == classes.index("G1")].median(), "DNA content (median of G1 is 1)"
    return dna / dna.median(), "DNA content (median of all is 1)"


def rarest_class(dataset, n_folds: int) -> str:
    """Return one sentence on the smallest class and its number of images per test fold."""
    n_folds, counts = check_whole("n_folds", n_folds), dataset.counts()
    name, n = counts.idxmin(), int(counts.min())
    return (
        f"The smallest class, {name}, has {n} of {len(dataset)} images, so one more or less moves its recall by "
        f"{1 / n:.2f}; a test fold has about {n / n_folds:.0f} of them."
    )


def table_1(dataset) -> pd.DataFrame:
    """Return Table I: images per class of this data set, beside the printed counts of the study."""
    counts = dataset.counts()
    printed = published("table1_phases").set_index("phase")["images"]
    shares = (printed / printed.sum()).reindex(counts.index)
    return pd.DataFrame(
        {
            f"{dataset.origin}: images": counts,
            f"{dataset.origin}: share": (counts / counts.sum()).map("{:.1%}".format),
            "published: images": printed.reindex(counts.index).astype("Int64"),
            "published: share": shares.map("{:.1%}".format, na_action="ignore"),
        }
    ).rename_axis("phase")


def table_2(records_by_model: dict[str, list[Record]]) -> pd.DataFrame:
    """Return Table II: accuracy on D1, D2, D3, recall and macro F1 (D3), beside the printed numbers.

    Each model, by its name in the printed table, has three records, on D1, D2 and D3. One row per model and score;
    columns: the records' origin "as trained" (as the study called), the same "for the score" (as `comparisons.calls`),
    "published". The study does not say for which training set it printed recalls and F1; here it is D3.
    """
    printed = published("table2_models").set_index("model")
    blocks = {}
    for model, records in records_by_model.items():
        here = records[2].data["origin"]
        ways = {f"{here}, as trained": True, f"{here}, for the score": False}
        # The printed row of ResNet 8 may correspond to either variant here.
        row = printed.loc[model.partition(",")[0]]
        block = pd.DataFrame({way: _table_2_column(records, as_trained) for way, as_trained in ways.items()})
        names = [name.removesuffix(" (D3)").lower().replace(" ", "_") for name in block.index]
        blocks[model] = block.assign(published=row.reindex(names).to_numpy())
    return pd.concat(blocks, names=["model", "score"]).astype(float).round(2)


def _table_2_column(records, as_trained: bool) -> dict[str, float]:
    scores = score_table(records, ["D1", "D2", "D3"], as_trained)
    found = {f"accuracy {name}": scores.loc[name, "accuracy"] for name in scores.index}
    found |= {f"recall {c} (D3)": scores.loc["D3", f"recall_{c}"] for c in records[2].classes}
    return found | {"macro F1 (D3)": scores.loc["D3", "macro_f1"]}


def table_3(records) -> pd.DataFrame:
    """Return Table III: ResNets by depth and block type, called as trained, beside the printed numbers.

    `records` are those that `experiments.table_3` lists. The skip path of a block is a convolution ("Residual"), none
    ("NonResidual") or the identity ("Identity"), which the study does not have.
    """
    scores, here = score_table(records, as_trained=True), records[0].data["origin"]
    depths = [int("".join(filter(str.isdigit, name))) for name in scores.index]
    blocks = [_BLOCKS[name.partition("-")[2]] for name in scores.index]
    scores.index = pd.MultiIndex.from_arrays([depths, blocks], names=["depth", "block"])
    names = {"accuracy": f"{here}: accuracy", "macro_f1": f"{here}: macro F1", "train_s": "training, s a fold"}
    printed = published("table3_resnet").set_index(["depth", "block"]).add_prefix("published: ")
    printed = printed.rename(columns={"published: macro_f1": "published: macro F1"})
    return scores[[*names]].rename(columns=names).join(printed).round(2)


def published(table: str) -> pd.DataFrame:
    """Return one of the study's printed tables, as fractions of 1, by the name of its file in `data/published`."""
    folder = (files.repository() or Path()) / "data" / "published"
    file = folder / f"{table}.csv"
    if not file.is_file():
        known = ", ".join(sorted(f.stem for f in folder.glob("*.csv")))
        raise DataError(file, "no such published table", f"use one of {known or 'those of the checkout'}")
    return pd.read_csv(file)

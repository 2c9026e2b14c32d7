"""Tables and sentences computed from run records; nothing in them is typed in."""

from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import metrics, paths
from cellcycle.errors import DataError
from cellcycle.results import Record

SCORES = {
    "accuracy": metrics.accuracy,
    "macro_f1": metrics.macro_f1,
    "balanced_accuracy": metrics.balanced_accuracy,
}


def score_table(records, names=None) -> pd.DataFrame:
    """Return the scores of runs, one row a run, with 95 % bootstrap intervals.

    Parameters
    ----------
    records : sequence of Record
    names : sequence of str, optional
        Row labels; by default the run's model.

    Returns
    -------
    DataFrame
        Columns: training_set, `<score>`, `<score>_low`, `<score>_high` for accuracy, macro_f1 and
        balanced_accuracy, recall_<class>, n_parameters, train_s (seconds a training run of one fold),
        ms_per_nucleus (prediction).
    """
    rows = []
    for record in records:
        n_classes = len(record.classes)
        row = {"training_set": record.config.get("training_set", "")}
        for name, score in SCORES.items():
            found = metrics.estimate(score, record.labels, record.predicted, n_classes, record.units)
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        matrix = metrics.confusion_matrix(record.labels, record.predicted, n_classes)
        recalls = metrics.recall(matrix)
        row |= {f"recall_{c}": r for c, r in zip(record.classes, recalls, strict=True)}
        n_fits = record.config["n_folds"] * record.config["n_repeats"]
        row["n_parameters"] = record.run["n_parameters"]
        row["train_s"] = record.run["train_s"] / n_fits
        row["ms_per_nucleus"] = 1000 * record.run["predict_s"] / len(record.labels)
        rows.append(row)
    index = list(names) if names is not None else [r.config["model"] for r in records]
    return pd.DataFrame(rows, index=pd.Index(index, name="model"))


def show_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return a score table for reading: two digits, intervals in brackets.

    Parameters
    ----------
    table : DataFrame
        As `score_table` gives it.
    """
    shown = pd.DataFrame({"training set": table["training_set"]}, index=table.index)
    for name in SCORES:
        shown[name.replace("_", " ")] = [
            f"{metrics.Estimate(*values)}" for values in table[[name, f"{name}_low", f"{name}_high"]].to_numpy()
        ]
    for column in table.columns[table.columns.str.startswith("recall_")]:
        shown[column.replace("_", " ")] = table[column].map("{:.2f}".format)
    shown["parameters"] = ["" if pd.isna(n) else f"{int(n):,}" for n in table["n_parameters"]]
    shown["training, s a fold"] = table["train_s"].map("{:.1f}".format)
    return shown


def compare(better: Record, worse: Record, score: str = "balanced_accuracy") -> metrics.Estimate:
    """Return score(better) - score(worse) on the same test images, with a paired bootstrap interval.

    Raises
    ------
    DataError
        If the two runs did not predict the same images in the same folds.
    """
    keys = ["sample_id", "repeat", "fold", "truth"]
    a, b = better.predictions, worse.predictions
    if len(a) != len(b) or not a[keys].equals(b[keys]):
        raise DataError(
            better.folder, f"not the same test folds as {worse.folder.name}", "compare runs of one data set"
        )
    return metrics.estimate_difference(
        SCORES[score], better.labels, better.predicted, worse.predicted, len(better.classes), better.units
    )


def confusion(record: Record) -> pd.DataFrame:
    """Return the confusion counts of a run: truth in rows, call in columns, summed over folds and repeats."""
    matrix = metrics.confusion_matrix(record.labels, record.predicted, len(record.classes))
    names = list(record.classes)
    return pd.DataFrame(matrix, index=pd.Index(names, name="truth"), columns=pd.Index(names, name="call"))


def majority_accuracy(record: Record) -> float:
    """Return the accuracy of always calling the most frequent class."""
    return float(np.bincount(record.labels).max() / len(record.labels))


def worst_mistakes(record: Record, n: int = 8) -> pd.DataFrame:
    """Return the n wrong calls with the highest probability: sample_id, truth, call, probability."""
    table = record.predictions[["sample_id", "truth"]].copy()
    table["call"] = np.array(record.classes)[record.predicted]
    table["probability"] = record.scores.max(axis=1)
    wrong = table[table["truth"] != table["call"]].sort_values("probability", ascending=False, kind="stable")
    return wrong.drop_duplicates("sample_id").head(n).reset_index(drop=True)


def sentence(record: Record, name: str) -> str:
    """Return one plain sentence with a run's accuracy, macro F1 and recalls, all computed from its record."""
    row = score_table([record]).iloc[0]
    recalls = ", ".join(f"{c} {row[f'recall_{c}']:.2f}" for c in record.classes)
    accuracy = metrics.Estimate(row["accuracy"], row["accuracy_low"], row["accuracy_high"])
    macro_f1 = metrics.Estimate(row["macro_f1"], row["macro_f1_low"], row["macro_f1_high"])
    return (
        f"{name} ({row['training_set'] or 'no training set of its own'}, {record.data['origin']} cells): "
        f"accuracy {accuracy}, macro F1 {macro_f1}; recall {recalls}. "
        f"Always calling the largest class: accuracy {majority_accuracy(record):.2f}."
    )


def published(table: str) -> pd.DataFrame:
    """Return one of the study's printed tables, as fractions of 1.

    Parameters
    ----------
    table : str
        "table1_phases", "table2_models", "table3_resnet" or "text_claims".

    Raises
    ------
    DataError
        If there is no such table.
    """
    folder = (paths.repository() or Path()) / "data" / "published"
    file = folder / f"{table}.csv"
    if not file.is_file():
        known = ", ".join(sorted(f.stem for f in folder.glob("*.csv")))
        raise DataError(file, "no such published table", f"use one of {known or 'those of the checkout'}")
    return pd.read_csv(file)

"""Tables and sentences computed from run records; nothing in them is typed in."""

from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import files, metrics
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
        ms_per_nucleus (prediction); both in computing time of one core, where a CPU was used.
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
    shown["prediction, ms a nucleus"] = table["ms_per_nucleus"].map("{:.2f}".format)
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


def references(records: dict[str, Record], score: str = "accuracy") -> dict[str, float]:
    """Return one score of named runs, to be drawn as lines beside others; the first is the largest class.

    Parameters
    ----------
    records : dict of str to Record
    score : str
        One of `SCORES`.
    """
    first = next(iter(records.values()))
    always = np.zeros((len(first.classes),) * 2)
    always[:, 0] = np.sort(np.bincount(first.labels, minlength=len(first.classes)))[::-1]
    lines = {"largest class": float(SCORES[score](always))}
    for name, record in records.items():
        matrix = metrics.confusion_matrix(record.labels, record.predicted, len(record.classes))
        lines[name] = float(SCORES[score](matrix))
    return lines


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
    table["probability"] = record.probabilities.max(axis=1)
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


def differences(pairs: dict, score: str = "balanced_accuracy") -> pd.DataFrame:
    """Return the paired difference of each run to its reference, with what its interval allows to say.

    Parameters
    ----------
    pairs : dict of str to (Record, Record)
        A row's name -> the run and its reference, which predict the same test images in the same folds.
    score : str
        A key of `SCORES`.

    Returns
    -------
    DataFrame
        Columns: difference (text with its 95 % interval) and verdict ("better", "worse" or "undecided":
        the interval holds 0).
    """
    rows = []
    for record, reference in pairs.values():
        found = compare(record, reference, score)
        verdict = "better" if found.low > 0 else "worse" if found.high < 0 else "undecided"
        rows.append({"difference": f"{found:+.2f}", "verdict": verdict})
    return pd.DataFrame(rows, index=pd.Index(pairs, name="model"))


def dna_relative(measured: pd.DataFrame, labels, classes) -> tuple[pd.Series, str]:
    """Return integrated DNA in units of the G1 median, and the words for that unit.

    Without a class G1 the unit is the median of all nuclei.

    Parameters
    ----------
    measured : DataFrame
        As `cellcycle.segmentation.measure_crops` gives it, one row an image.
    labels : (N,) int
    classes : tuple of str
    """
    dna = measured["integrated_dna"]
    if "G1" in classes:
        return dna / dna[np.asarray(labels) == classes.index("G1")].median(), "DNA content (median of G1 is 1)"
    return dna / dna.median(), "DNA content (median of all is 1)"


def rarest_class(dataset, n_folds: int) -> str:
    """Return one sentence on the smallest class and what it leaves in one test fold."""
    counts = dataset.counts()
    name, n = counts.idxmin(), int(counts.min())
    return (
        f"The smallest class, {name}, has {n} of {len(dataset)} images: on average {n / n_folds:.0f} in each of "
        f"the {n_folds} test folds, so one image more or less moves its recall by {1 / n:.2f}."
    )


def chosen_without_fold(records, score: str = "balanced_accuracy") -> metrics.Estimate:
    """Return the score of choosing a run on all folds but one and scoring the choice on that one.

    Parameters
    ----------
    records : sequence of Record
        Candidates, which predict the same test images in the same folds.
    score : str
        A key of `SCORES`.

    Notes
    -----
    Cheaper and weaker than nested cross-validation: the models that are compared on the other folds have
    the images of the left-out fold among their training images.
    """
    n_classes = len(records[0].classes)
    part = records[0].predictions[["repeat", "fold"]].apply(tuple, axis=1)
    chosen = np.empty(len(part), dtype=np.int64)
    for left_out in part.unique():
        inside = (part == left_out).to_numpy()
        values = [
            SCORES[score](metrics.confusion_matrix(r.labels[~inside], r.predicted[~inside], n_classes)) for r in records
        ]
        chosen[inside] = records[int(np.argmax(values))].predicted[inside]
    return metrics.estimate(SCORES[score], records[0].labels, chosen, n_classes, records[0].units)


def table_1(dataset) -> pd.DataFrame:
    """Return Table I: images a class of this data set, beside the printed counts of the study."""
    counts = dataset.counts()
    printed = published("table1_phases").set_index("phase")["images"]
    return pd.DataFrame(
        {
            f"{dataset.origin}: images": counts,
            f"{dataset.origin}: share": (counts / counts.sum()).map("{:.1%}".format),
            "published: images": printed.reindex(counts.index).astype("Int64"),
            "published: share": (printed / printed.sum())
            .reindex(counts.index)
            .map("{:.1%}".format, na_action="ignore"),
        }
    ).rename_axis("phase")


def table_2(records_by_model: dict[str, list[Record]]) -> pd.DataFrame:
    """Return Table II: accuracy on D1, D2, D3, recall and macro F1 (D3), beside the printed numbers.

    Parameters
    ----------
    records_by_model : dict
        The model's name in the printed table -> its three records, on D1, D2 and D3.

    Returns
    -------
    DataFrame
        One row a model and score, with columns for the records' origin and "published". The study does
        not say on which training set it took the recalls and F1; here it is D3.
    """
    printed = published("table2_models").set_index("model")
    blocks = []
    for model, records in records_by_model.items():
        scores = score_table(records, ["D1", "D2", "D3"])
        ours = {f"accuracy {name}": scores.loc[name, "accuracy"] for name in scores.index}
        ours |= {f"recall {c} (D3)": scores.loc["D3", f"recall_{c}"] for c in records[2].classes}
        ours["macro F1 (D3)"] = scores.loc["D3", "macro_f1"]
        theirs = {name: printed.loc[model].get(name.removesuffix(" (D3)").lower().replace(" ", "_")) for name in ours}
        blocks.append(pd.DataFrame({f"{records[2].data['origin']}, here": ours, "published": theirs}))
    return pd.concat(blocks, keys=records_by_model, names=["model", "score"]).astype(float).round(2)


def table_3(records, reference_runs=None) -> pd.DataFrame:
    """Return Table III: ResNets by depth and block type, beside the printed numbers.

    Parameters
    ----------
    records : sequence of Record
        As `experiments.table_3` lists them.
    reference_runs : dict of str to Record, optional
        Further runs below, by name, e.g. the DNA-content method and the ceiling.
    """
    printed = published("table3_resnet")
    scores = score_table(records)
    here = records[0].data["origin"]
    table = pd.DataFrame(
        {
            "depth": [int("".join(filter(str.isdigit, name))) for name in scores.index],
            "block": ["NonResidual" if name.endswith("plain") else "Residual" for name in scores.index],
            f"{here}: accuracy": scores["accuracy"].to_numpy(),
            f"{here}: macro F1": scores["macro_f1"].to_numpy(),
            "training, s a fold": scores["train_s"].to_numpy(),
        }
    )
    printed = printed.rename(columns={"accuracy": "published: accuracy", "macro_f1": "published: macro F1"})
    table = table.merge(printed, on=["depth", "block"], how="left")
    for name, record in (reference_runs or {}).items():
        row = score_table([record]).iloc[0]
        ours = {"depth": "", "block": name, f"{here}: accuracy": row["accuracy"], f"{here}: macro F1": row["macro_f1"]}
        ours["training, s a fold"] = row["train_s"]
        table = pd.concat([table, pd.DataFrame([ours])], ignore_index=True)
    return table.set_index(["depth", "block"]).round(2)


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
    folder = (files.repository() or Path()) / "data" / "published"
    file = folder / f"{table}.csv"
    if not file.is_file():
        known = ", ".join(sorted(f.stem for f in folder.glob("*.csv")))
        raise DataError(file, "no such published table", f"use one of {known or 'those of the checkout'}")
    return pd.read_csv(file)

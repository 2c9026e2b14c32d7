"""The study's tables, ours beside the printed ones."""

from pathlib import Path

import pandas as pd

from cellcycle import paths
from cellcycle.errors import DataError
from cellcycle.results import Record
from cellcycle.summaries.scores import score_table


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
    folder = (paths.repository() or Path()) / "data" / "published"
    file = folder / f"{table}.csv"
    if not file.is_file():
        known = ", ".join(sorted(f.stem for f in folder.glob("*.csv")))
        raise DataError(file, "no such published table", f"use one of {known or 'those of the checkout'}")
    return pd.read_csv(file)

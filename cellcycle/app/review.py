"""Which nuclei a person should look at, in what order, and the table that lists them."""

import numpy as np
import pandas as pd

from cellcycle.app.store import Result
from cellcycle.app.words import UNCERTAIN, UNTYPICAL, either, in_words
from cellcycle.confidence import PRICE

# Of a model without a confidence of its own: below this probability asking costs less than the call.
_SURE = 1 - PRICE
# A browser's table stays quick up to here; the file has all rows.
MOST_ROWS = 2000
ALL, DOUBTFUL, CORRECTED = "All nuclei", "To look at", "Corrected by you"
DOUBTFUL_FIRST, AS_NUMBERED, MOST_DNA, LARGEST = "Doubtful first", "As numbered", "Most DNA first", "Largest first"
ORDERS = (DOUBTFUL_FIRST, AS_NUMBERED, MOST_DNA, LARGEST)


def reasons(table: pd.DataFrame) -> list[str]:
    """Return why a person should look at each row, "" where there is no reason.

    A model that knows its confidence says so in the column `review`; for any other the reasons are a probability
    below 60 % and the quality flags.

    Parameters
    ----------
    table : pandas.DataFrame
        A prediction table.

    Returns
    -------
    list of str
    """
    found = []
    knows = table["confidence"].notna() if "confidence" in table else np.zeros(len(table), dtype=bool)
    columns = (table["call"], highest_probability(table), table["flags"], _two_likeliest(table), knows)
    said = table["review"].fillna("") if "review" in table else [""] * len(table)
    for call, share, flags, pair, is_known, own in zip(*columns, said, strict=True):
        if not is_known:
            own = ";".join(filter(None, [UNCERTAIN if call and share < _SURE else "", flags]))
        text = in_words(own).replace(UNCERTAIN, f"unsure whether {pair}")
        found.append(text.replace(UNTYPICAL, f"unusual for {call}"))
    return found


def _two_likeliest(table: pd.DataFrame) -> list[str]:
    """Return the two likeliest classes of each row, as "G1 or S"."""
    names = np.array([name[2:] for name in table.columns if name.startswith("p_")])
    return [either(names[order[:2]]) for order in np.argsort(-_scores(table), axis=1)]


def highest_probability(table: pd.DataFrame) -> np.ndarray:
    """Return the probability of each call: the model's confidence in it, or the highest score where it has none."""
    surest = _scores(table).max(axis=1)
    if "confidence" not in table:
        return surest
    return table["confidence"].fillna(pd.Series(surest, table.index)).to_numpy(dtype=float)


def _scores(table: pd.DataFrame) -> np.ndarray:
    return table[[name for name in table.columns if name.startswith("p_")]].to_numpy(dtype=float)


def review_order(table: pd.DataFrame) -> np.ndarray:
    """Return the rows that hold a nucleus: those with a reason to look first, within each the least sure first."""
    surest = np.nan_to_num(highest_probability(table), nan=0.0)
    has_reason = np.array([bool(reason) for reason in reasons(table)], dtype=bool)
    order = np.lexsort((surest, ~has_reason))
    return order[table["nucleus_id"].notna().to_numpy()[order]]


def listed_rows(result: Result, wanted: str = ALL, order: str = DOUBTFUL_FIRST) -> list[int]:
    """Return the rows of a result's table that the page lists, in the order it lists them.

    Parameters
    ----------
    result : Result
    wanted : str, optional
        `ALL`, `DOUBTFUL`, `CORRECTED` or the name of a class.
    order : str, optional
        One of `ORDERS`.
    """
    table, why = result.table, reasons(result.table)
    keep = {
        ALL: lambda row: True,
        DOUBTFUL: lambda row: bool(why[row]),
        CORRECTED: lambda row: row in result.corrections,
    }.get(wanted, lambda row: table["call"].iloc[row] == wanted)
    rows = review_order(table)
    if order != DOUBTFUL_FIRST:
        dna = table["dna_copies"] if table["dna_copies"].notna().any() else table["integrated_dna"]
        most = {AS_NUMBERED: -table.index.to_series(), MOST_DNA: dna, LARGEST: table["area_um2"]}[order]
        rows = rows[np.argsort(-most.fillna(-np.inf).to_numpy(dtype=float)[rows], kind="stable")]
    return [row for row in rows.tolist() if keep(row)]


def shown_table(result: Result, wanted: str = ALL, order: str = DOUBTFUL_FIRST) -> pd.DataFrame:
    """Return the table of the page: few columns, in plain words; parameters are those of `listed_rows`.

    Returns
    -------
    pandas.DataFrame
        Its first column leads back to a row by `row_of_line`; at most `MOST_ROWS` rows.
    """
    rows = listed_rows(result, wanted, order)[:MOST_ROWS]
    part = result.table.iloc[rows]
    ids = part["nucleus_id"].astype(int).to_list()
    if len(result.images) > 1:
        columns = {"Row": [row + 1 for row in rows], "Image": part["image"].to_list(), "Nucleus": ids}
    else:
        columns = {"Nucleus": ids}
    columns["Phase"] = [call or "no call" for call in part["call"]]
    if result.table.get("prediction_set", pd.Series(dtype=str)).astype(bool).any():
        columns["Could be"] = [either(names.split(";")) for names in part["prediction_set"]]
    columns["Sure %"] = np.round(100 * highest_probability(part)).tolist()
    columns["You said"] = [_said(result, row) for row in rows]
    if result.table["dna_copies"].notna().any():
        columns["DNA N"] = part["dna_copies"].round(1).to_list()
    columns["Area µm²"] = part["area_um2"].round().to_list()
    # The longest stands last, where a narrow screen cuts it: the nucleus says it too.
    columns["Look at it because"] = reasons(part)
    return pd.DataFrame(columns)


def row_of_line(result: Result, first_cell) -> int:
    """Return the row of a result's table that a line of `shown_table` stands for."""
    number = int(float(first_cell))
    return number - 1 if len(result.images) > 1 else result.row_of(0, number)


def _said(result: Result, row: int) -> str:
    return (result.corrections[row] or "no nucleus") if row in result.corrections else ""

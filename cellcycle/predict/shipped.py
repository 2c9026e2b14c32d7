"""The shipped models as one table: their scores and how honest their probabilities are, from their cards."""

import pandas as pd

from cellcycle.checkpoint import load_checkpoint, shipped_names
from cellcycle.confidence import COVERAGE
from cellcycle.metrics import Estimate

# Tests of a card, by the words of the table.
_TESTS = {"slides": "simulated", "jurkat": "Jurkat"}


def shipped_table() -> pd.DataFrame:
    """Return one row a model: on unseen simulated microscopes and on Jurkat cells, as text.

    Returns
    -------
    DataFrame
        Index: the model's name. Columns, for each test of `_TESTS` that the card holds: balanced accuracy and
        expected calibration error with 95 % intervals, coverage of the prediction sets; "" where the card lacks them.
    """
    rows = {}
    for name in shipped_names():
        scores = load_checkpoint(name).card.get("scores", {})
        rows[name] = row = {}
        for test, words in _TESTS.items():
            entry = scores.get(test, {})
            row[f"balanced accuracy ({words})"] = _with_interval(entry.get("balanced_accuracy"))
            row[f"calibration error ({words})"] = _with_interval(entry.get("calibration_error"))
            covered = entry.get("coverage", {}).get("all")
            row[f"{100 * COVERAGE:.0f} % sets hold the phase ({words})"] = "" if covered is None else f"{covered:.2f}"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _with_interval(found: dict | None) -> str:
    return "" if found is None else str(Estimate(**found))

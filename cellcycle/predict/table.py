"""The columns of a prediction table, and how it is made from plain columns.

Columns stay plain lists until a `pandas.DataFrame` is needed: importing pandas takes longer than predicting one
nucleus.
"""

import numpy as np

from cellcycle.errors import SettingError
from cellcycle.segmentation.measurements import NUCLEUS_COLUMNS

_FIRST = ["image", "nucleus_id", "centroid_y_px", "centroid_x_px", "call"]
_LAST = [
    "light", "dna_copies", "area_over_g1", "g1_quality", "pixel_size_um", "channel", "planes", "kind",
    "confidence", "prediction_set", "review", "model", "model_reason", "version", "prior", "error", "group",
    "plate", "well",
]  # fmt: skip
# Columns that a plate map adds at the end.
TEXTS_OF_MAP = ("slide", "condition", "replicate", "time", "donor", "cell_line")
NUMBERS_OF_MAP = frozenset({"dose"})
TEXT_COLUMNS = {
    "image", "call", "flags", "channel", "planes", "kind", "prediction_set", "review", "model", "model_reason",
    "version", "prior", "error", "group", "plate", "well", *TEXTS_OF_MAP,
}  # fmt: skip


def table_columns(classes: tuple[str, ...]) -> list[str]:
    """Return the columns of a prediction table, in order.

    Examples
    --------
    >>> table_columns(("G1", "S"))[:8]
    ['image', 'nucleus_id', 'centroid_y_px', 'centroid_x_px', 'call', 'p_G1', 'p_S', 'flags']
    """
    # Checked at each call, because measurements may have been registered since.
    for name in NUCLEUS_COLUMNS:
        if name in (*_LAST, "image", "call", *TEXTS_OF_MAP, *NUMBERS_OF_MAP) or name.startswith("p_"):
            raise SettingError("measurement", f"{name!r} is a column of every table", "register it by another name")
    measured = [c for c in NUCLEUS_COLUMNS if c not in (*_FIRST, "flags")]
    return [*_FIRST, *(f"p_{c}" for c in classes), "flags", *measured, *_LAST]


def full_columns(values: dict, classes: tuple[str, ...], n_rows: int) -> dict[str, list]:
    """Return all columns in order; a scalar value is repeated for all rows (n_rows,), a missing one is empty.

    Texts are str ("" is empty), numbers float (NaN is empty).
    """
    columns = {}
    for name in [*table_columns(classes), *(n for n in (*TEXTS_OF_MAP, *NUMBERS_OF_MAP) if n in values)]:
        value = values.get(name, "" if name in TEXT_COLUMNS else np.nan)
        value = np.asarray(value).tolist() if np.ndim(value) else [value] * n_rows
        columns[name] = value if name in TEXT_COLUMNS else [float(v) for v in value]
    return columns


def as_frame(columns: dict[str, list]):
    """Return columns of `full_columns` as a `pandas.DataFrame`; `nucleus_id` is a whole number or missing."""
    import pandas as pd

    made = {}
    for name, values in columns.items():
        if name in TEXT_COLUMNS:
            made[name] = pd.array(values, dtype="str")
        elif name == "nucleus_id":
            made[name] = pd.array([pd.NA if np.isnan(v) else int(v) for v in values], dtype="Int64")
        else:
            made[name] = np.array(values, dtype=np.float64)
    return pd.DataFrame(made, copy=False)

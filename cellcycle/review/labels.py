"""Makes tables of labelled nuclei from a person's labels of rows of a prediction table."""

import csv
import io
import math
from collections.abc import Mapping

from cellcycle.datasets.labels import LABEL_COLUMNS, MORE_COLUMNS
from cellcycle.errors import DataError
from cellcycle.files import whole_file
from cellcycle.names import guarded


def labelled_rows(columns, said: Mapping[int, str]) -> list[dict]:
    """Return the rows of a labels table, in the order of the prediction table `columns`.

    `said` maps the position of a row to its class or `NONE`; "" is left out. The keys of a row are "label" and those of
    `LABEL_COLUMNS` and `MORE_COLUMNS` that the table has. DataError if there is no such row.
    """
    kept = [name for name in (*LABEL_COLUMNS, *MORE_COLUMNS) if name == "label" or name in columns]
    values = {name: list(columns[name]) for name in {*kept, "flags"} - {"label"} if name in columns}
    rows, n_rows = [], len(values["image"])
    for k, label in sorted(said.items()):
        if not label:
            continue
        if not 0 <= k < n_rows:
            # A negative position would mean another nucleus, from the end.
            raise DataError("labels", f"row {k} of {n_rows} is said to be {label}", "give positions of rows, from 0")
        row = {name: label if name == "label" else values[name][k] for name in kept}
        row["nucleus_id"] = int(row["nucleus_id"])
        if "pixel_size_um" in row and "scale_unknown" in values.get("flags", [""] * (k + 1))[k].split(";"):
            row["pixel_size_um"] = math.nan  # it was estimated from the nuclei; the image does not state it
        rows.append(row)
    return rows


def labels_text(rows: list[dict]) -> str:
    """Return rows of `labelled_rows` as CSV."""
    names = list(rows[0]) if rows else list(LABEL_COLUMNS)
    return "".join(map(csv_line, [names, *(row.values() for row in rows)]))


def csv_line(cells) -> str:
    r"""Return one line of CSV; a missing number is empty, and text that a spreadsheet takes for a formula is guarded.

    Examples
    --------
    >>> csv_line(["a, b.tif", 3, 1.5, float("nan"), "+EdU"])
    '"a, b.tif",3,1.5,,\'+EdU\n'
    """
    line = io.StringIO()
    # NaN becomes empty; numpy's numbers are written like Python's.
    plain = (c.item() if hasattr(c, "item") else c for c in cells)
    cells = ("" if c is None or c != c else guarded(c) if isinstance(c, str) else c for c in plain)
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def rounded(value, digits: int) -> float | None:
    """Return a rounded number for JSON; None if it is not finite."""
    return round(float(value), digits) if math.isfinite(value) else None


def write_labels(path, rows: list[dict]) -> None:
    """Write rows of `labelled_rows` as a labels table (CSV), atomically."""
    with whole_file(path) as unfinished:
        unfinished.write_text(labels_text(rows), encoding="utf-8", newline="")

"""Lists of labelled images: a table with the columns path, label and optionally group."""

from pathlib import Path

import pandas as pd

from cellcycle.datasets.lookup import find_file, sample_id
from cellcycle.datasets.tables import CLASSES, FILES, drop_repeats, read_table, says_nothing
from cellcycle.errors import DataError

COLUMNS = {"path": (*FILES, "image"), "label": CLASSES, "group": ()}


def manifest_entries(file: Path, on_error: str = "raise") -> tuple[pd.DataFrame, list[str]]:
    """List the images of a manifest: path, label, sample_id (the path from its folder), and group where it names any.

    With `on_error` "skip", rows without a path or a label are left out, and the notes say so.
    """
    table, notes = read_table(file, COLUMNS, ("path", "label"))
    empty = table["path"].map(says_nothing) | table["label"].map(says_nothing)
    if empty.any():
        line = table.index[empty][0]
        where = f"line {line} has no path or no label ({table.loc[line, 'path']!r}, {table.loc[line, 'label']!r})"
        if on_error == "raise" or empty.all():
            finding = where + (f", nor have {empty.sum() - 1} others" if empty.sum() > 1 else "")
            raise DataError(file, finding, "fill it in, delete the row, or leave such rows out: --skip-unreadable")
        notes.append(f"{empty.sum()} rows without a path or a label are left out: {where}")
        table = table[~empty]
    entries = table.assign(path=[find_file(file.parent, text) for text in table["path"]])
    entries["sample_id"] = [sample_id(file.parent, path) for path in entries["path"]]
    # A nucleus without a group stands for itself.
    has_group = ~entries["group"].map(says_nothing) if "group" in entries else pd.Series(False, entries.index)
    entries["group"] = entries["group"].where(has_group, "") if has_group.any() else ""
    kept = drop_repeats(file, entries, entries["path"].map(Path.resolve), ("label", "group"), entries["sample_id"])
    if len(kept) < len(entries):
        notes.append(f"{len(entries) - len(kept)} rows repeat another and are left out")
    if not has_group.any():
        return kept.drop(columns="group"), notes
    return kept.assign(group=kept["group"].where(kept["group"] != "", "single:" + kept["sample_id"])), notes

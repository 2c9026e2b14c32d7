"""Rows as AnnData (`.h5ad`), which scanpy and related packages read, by the specification of its format on disk.

The package `anndata` itself, up to 0.12, cannot be installed beside pandas 3.
"""

import contextlib
import io
from pathlib import Path

import numpy as np

# Measurements of nuclei are X, their positions `obsm["spatial"]`; all other columns are in `obs`.
_MEASURED = (
    "area_px", "area_um2", "integrated_dna", "mean_dna", "background", "texture", "skewness", "eccentricity",
    "solidity", "edge_width_px", "dna_copies", "area_over_g1",
)  # fmt: skip
_PLACE = ["centroid_x_px", "centroid_y_px"]
_WRITER = "cellcycle predict"


@contextlib.contextmanager
def h5ad_rows(path: Path):
    """As `row_writer`, but in memory until the last row, because the format stores whole columns."""
    import pandas as pd

    tables: list = []
    yield tables.append
    if tables:
        _write(path, pd.concat(tables, ignore_index=True))


def was_written_here(path: Path) -> bool:
    """Return whether `cellcycle predict` wrote a file last; others who saved it may have added results."""
    import h5py

    with contextlib.suppress(OSError), h5py.File(path) as file:
        return file.attrs.get("writer") == _WRITER
    return False


def _write(path: Path, table) -> None:
    import h5py
    import pandas as pd

    measured = [name for name in _MEASURED if name in table]
    about = table.drop(columns=[*measured, *_PLACE])
    about.columns = _without_slashes(list(about))
    # In memory first, because the library aborts the process if the disk is full.
    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0", "writer": _WRITER})
        _array(file, "X", table[measured].to_numpy(np.float32))
        _frame(file, "obs", about, map(str, range(len(table))))
        _frame(file, "var", pd.DataFrame(index=measured), measured)
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            _group(file, name, "dict")
        _array(file["obsm"], "spatial", table[_PLACE].to_numpy(np.float64))
    path.write_bytes(made.getbuffer())


def _without_slashes(names: list[str]) -> list[str]:
    """Return column names with "_" for "/", which separates groups in HDF5; they stay distinct."""
    made: list[str] = []
    for name in names:
        plain = name.replace("/", "_")
        while plain != name and plain in (*names, *made):
            plain += "_"
        made.append(plain)
    return made


def _frame(file, name: str, table, index) -> None:
    import h5py

    frame = _group(file, name, "dataframe", "0.2.0", _index="_index")
    # The type of an empty list would be undefined.
    frame.attrs["column-order"] = np.array(list(table), dtype=h5py.string_dtype())
    _texts(frame, "_index", index)
    for column, values in table.items():
        if values.dtype.kind in "biufc":
            _array(frame, column, values.to_numpy(np.float64, na_value=np.nan))
        else:
            kinds = values.astype("category").cat
            group = _group(frame, column, "categorical", "0.2.0", ordered=False)
            _array(group, "codes", kinds.codes.to_numpy())
            _texts(group, "categories", kinds.categories)


def _group(parent, name: str, kind: str, version: str = "0.1.0", **attributes):
    group = parent.create_group(name)
    group.attrs.update({"encoding-type": kind, "encoding-version": version, **attributes})
    return group


def _array(parent, name: str, values: np.ndarray, kind: str = "array") -> None:
    data = parent.create_dataset(name, data=values)
    data.attrs.update({"encoding-type": kind, "encoding-version": "0.2.0"})


def _texts(parent, name: str, texts) -> None:
    import h5py

    _array(parent, name, np.array(list(texts), dtype=h5py.string_dtype()), "string-array")

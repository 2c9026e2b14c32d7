"""One type for every labelled set of nuclei, and the ways to get one: simulated, a folder, a table, a public set."""

import os
from pathlib import Path

from cellcycle.datasets.nuclei import NucleusDataset
from cellcycle.datasets.simulated import SIMULATED, load_simulated, make_simulated
from cellcycle.errors import DataError, SettingError, check_choice, check_whole
from cellcycle.files import MANIFEST

__all__ = ["SIMULATED", "NucleusDataset", "is_named", "load_dataset", "make_simulated", "source_kind", "source_name"]

# Names of public sets; a part of one follows after a slash (nagao2020/HeLa_Hoechst-EB1, bbbc048/7).
_PUBLIC = ("nagao2020", "bbbc048", "bbbc039")
_TABLES = (".csv", ".tsv", ".txt")


def load_dataset(data="simulated", size_px: int | None = 64, seed: int = 0, on_error="raise") -> NucleusDataset:
    """Load labelled nuclei by name, from a folder, or from a table.

    A name is "simulated" (493 nuclei, the study's counts), "simulated-colour" (the same in RGB, each nucleus in an
    artificial stain colour), "simulated-nagao" (another cell line, G2 / not-G2), or a public set that is downloaded
    once its licence was agreed to, "nagao2020" or "bbbc048" (see `cellcycle.datasets.public`). A table or data set at
    the path of that name takes precedence. A folder has one sub-folder per class; folders above the classes (slides,
    wells), or folders of the same name below several classes, are groups. A table has the columns path (relative to
    the table), label and optionally group and channel; a table of nuclei labelled in whole fields has the columns
    image, centroid_y_px, centroid_x_px and label.

    The images returned are square. Their side is `size_px`, or that of the largest file if that is smaller or `size_px`
    is None; simulated images have `size_px`, by default 64. `seed` is used for simulated sets only. With `on_error`
    "skip", unreadable files among good ones are left out and listed in `notes`; otherwise the set is refused.
    """
    check_choice("on_error", on_error, ("raise", "skip"))
    seed, size_px = check_whole("seed", seed), None if size_px is None else check_whole("size_px", size_px)
    kind = source_kind(data)
    if kind == "simulated":
        return load_simulated(str(data), size_px or 64, seed)
    if kind == "public":
        from cellcycle.datasets.public import load_public

        return load_public(str(data), size_px)
    from cellcycle.datasets import fields, files, folders

    path = Path(data).expanduser()
    if kind == "fields":
        return fields.load_fields(path, source_name(path), size_px, on_error)
    if kind == "folder":
        entries, notes = folders.folder_entries(path)
    else:
        entries, notes = folders.manifest_entries(path / MANIFEST if path.is_dir() else path, on_error)
    if str(data) in (*SIMULATED, *_PUBLIC):
        notes.append(f"{data} is read from the path of this name, and is not the data set {data}")
    return files.load_files(path, source_name(path), entries, notes, size_px, on_error)


def source_name(data) -> str:
    """Return the name of a data set in records and file names.

    Examples
    --------
    >>> source_name("cells/plate_1"), source_name("cells/plate_1.csv"), source_name("cells/manifest.csv")
    ('plate_1', 'plate_1', 'cells')
    """
    if is_named(data):
        return str(data).replace("/", "-")
    path = Path(data).expanduser().resolve()
    if path.name == MANIFEST:
        return path.parent.name
    return path.stem if path.suffix.lower() in _TABLES else path.name


def is_named(data) -> bool:
    """Return whether `data` is the name of a data set and not a path; a table or data set at that path comes first."""
    name, path = str(data), Path(str(data))
    is_data = os.path.isfile(path) or (
        os.path.isdir(path) and any(path.iterdir()) and not (path / "model.json").exists()
    )
    return (name in SIMULATED or name.partition("/")[0] in _PUBLIC) and not is_data


def source_kind(data) -> str:
    """Return "simulated", "public", "folder", "manifest" or "fields", without reading any image.

    A folder that contains a `manifest.csv` is a manifest, because that table may name the groups. A table that says
    which nucleus of an image is meant belongs to whole fields.
    """
    if not os.fspath(data):
        raise SettingError("data", "the path is empty", "name a data set, folder or table")
    if is_named(data):
        return "simulated" if str(data) in SIMULATED else "public"
    path = Path(data).expanduser()
    if os.path.isdir(path):
        return "manifest" if (path / MANIFEST).is_file() else "folder"
    if os.path.isfile(path) and path.suffix.lower() in _TABLES:
        from cellcycle.datasets.labels import names_nuclei

        return "fields" if names_nuclei(path) else "manifest"
    if os.path.exists(path):
        remedy = "give the folder with one sub-folder per class, or a table"
        raise DataError(path, "neither a folder nor a table (.csv, .tsv)", remedy)
    known = ", ".join((*SIMULATED, *_PUBLIC))
    raise SettingError(data, "no such data set, folder or file", f"use a path or one of {known}")

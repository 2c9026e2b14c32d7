"""One type for every labelled set of nuclei, and the ways to get one: simulated, a folder, a table, a public set."""

from pathlib import Path

from cellcycle.datasets.nuclei import NucleusDataset
from cellcycle.datasets.simulated import SIMULATED, load_simulated, make_simulated
from cellcycle.errors import DataError, SettingError
from cellcycle.files import MANIFEST

__all__ = ["SIMULATED", "NucleusDataset", "is_named", "load_dataset", "make_simulated", "source_kind", "source_name"]

# Names of public sets; a part of one follows after a slash (nagao2020/HeLa_Hoechst-EB1, bbbc048/7).
_PUBLIC = ("nagao2020", "bbbc048", "bbbc039")
_TABLES = (".csv", ".tsv", ".txt")


def load_dataset(
    source="simulated", size_px=64, seed=0, channels=None, resize="pad", on_error="raise"
) -> NucleusDataset:
    """Load labelled nuclei by name, from a folder, or from a table.

    Parameters
    ----------
    source : str or path-like
        A name: "simulated" (493 nuclei, the study's counts), "simulated-colour" (the same, each in an artificial
        stain colour, RGB), "simulated-nagao" (another cell line, G2 / not-G2), or a public set that is downloaded
        once its licence was agreed to, "nagao2020" or "bbbc048" (see `cellcycle.datasets.public`).
        A folder with one sub-folder a class; folders above the classes (slides, wells) are groups.
        A table with the columns path, label and optionally group, paths as seen from the file.
        A table of labelled nuclei of whole fields: image, nucleus_id or centroid_y_px and centroid_x_px, label.
    size_px : int or None
        Side of the images returned. Larger files are scaled down; smaller ones are never scaled up, none with None.
    seed : int
        Seed of a simulated set; without effect on files.
    channels : 1, 3 or None
        1: the DNA channel alone; 3: RGB. None: what a named set has by itself; 1 for files.
    resize : {"pad", "stretch"}
        How files of mixed sizes become one size. "pad" surrounds smaller images with their own background
        and scales all by the same factor, which keeps sizes of nuclei comparable; "stretch" scales each
        image to the square by itself, as the study did.
    on_error : {"raise", "skip"}
        What an unreadable file among good ones does: refuse the set and list every such file, or leave
        those files out and list them in `notes`.

    Returns
    -------
    NucleusDataset

    Raises
    ------
    DataError
        If there are no images, only one class, or unreadable files.
    SettingError
        If `source` is neither a known name nor an existing path, or an option is unknown.
    """
    for option, value, allowed in (("resize", resize, ("pad", "stretch")), ("on_error", on_error, ("raise", "skip"))):
        if value not in allowed:
            raise SettingError(option, f"{value!r} is unknown", f"use one of {', '.join(allowed)}")
    if channels not in (None, 1, 3):
        raise SettingError("channels", f"{channels!r} is unknown", "use 1 (DNA stain) or 3 (RGB)")
    kind = source_kind(source)
    if kind in _NAMED:
        return _NAMED[kind](str(source), size_px, seed)
    from cellcycle.datasets import fields, files, folders, manifests

    path = Path(source).expanduser()
    if kind == "fields":
        return fields.load_fields(path, source_name(path), size_px, resize, on_error)
    if kind == "folder":
        entries, notes = folders.folder_entries(path)
    else:
        entries, notes = manifests.manifest_entries(path / MANIFEST if path.is_dir() else path, on_error)
    return files.load_files(path, source_name(path), entries, notes, size_px, channels or 1, resize, on_error)


def _load_public(name: str, size_px: int | None, seed: int) -> NucleusDataset:
    from cellcycle.datasets.public import load_public

    return load_public(name, size_px)


# Kinds of source that need no path.
_NAMED = {"simulated": load_simulated, "public": _load_public}


def source_name(source) -> str:
    """Return what a data set is called in records and file names.

    Examples
    --------
    >>> source_name("cells/plate_1"), source_name("cells/plate_1.csv"), source_name("cells/manifest.csv")
    ('plate_1', 'plate_1', 'cells')
    """
    if is_named(source):
        return str(source).replace("/", "-")
    path = Path(source).expanduser().resolve()
    if path.name == MANIFEST:
        return path.parent.name
    return path.stem if path.suffix.lower() in _TABLES else path.name


def is_named(source) -> bool:
    """Tell whether a source is a name, not a path."""
    name = str(source)
    return name in SIMULATED or (name.partition("/")[0] in _PUBLIC and not Path(name).exists())


def source_kind(source) -> str:
    """Return "simulated", "public", "folder", "manifest" or "fields", without reading any image.

    A folder with a `manifest.csv` in it counts as that, which may know the groups; a table that says which nucleus
    of an image is meant is one of whole fields.

    Raises
    ------
    SettingError
        If `source` is neither a known name nor an existing path.
    DataError
        If it is a file that is no table.
    """
    if is_named(source):
        return "simulated" if str(source) in SIMULATED else "public"
    path = Path(source).expanduser()
    if path.is_dir():
        return "manifest" if (path / MANIFEST).is_file() else "folder"
    if path.is_file() and path.suffix.lower() in _TABLES:
        from cellcycle.datasets.labels import names_nuclei

        return "fields" if names_nuclei(path) else "manifest"
    if path.exists():
        remedy = "give the folder with one sub-folder a class, or a table"
        raise DataError(path, "neither a folder nor a table (.csv, .tsv)", remedy)
    known = ", ".join((*SIMULATED, *_PUBLIC))
    raise SettingError(source, "no such data set, folder or file", f"use a path or one of {known}")

"""One type for every labelled set of nuclei, and the ways to get one: simulated, a folder, a table, a public set."""

from pathlib import Path

from cellcycle.datasets.nuclei import NucleusDataset
from cellcycle.datasets.simulated import SIMULATED, load_simulated, make_simulated
from cellcycle.errors import DataError, SettingError
from cellcycle.paths import MANIFEST

__all__ = ["SIMULATED", "NucleusDataset", "load_dataset", "make_simulated", "source_kind", "source_name"]

# A name to what loads it: a function of (name, size_px, seed).
NAMED = dict.fromkeys(SIMULATED, load_simulated)
_TABLES = (".csv", ".tsv", ".txt")


def load_dataset(
    source="simulated", size_px=64, seed=0, channels=None, resize="pad", on_error="raise"
) -> NucleusDataset:
    """Load labelled nuclei by name, from a folder with one sub-folder a class, or from a CSV manifest.

    Parameters
    ----------
    source : str or path-like
        "simulated" (493 nuclei, the study's counts), "simulated-colour" (the same, each in an artificial
        stain colour, RGB), "simulated-nagao" (another cell line, G2 / not-G2); or a folder; or a .csv file
        with the columns path, label and optionally group (paths relative to the file).
    size_px : int
        Side of the images returned. Larger files are scaled down; smaller ones are never scaled up.
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
    if kind == "simulated":
        return load_simulated(str(source), size_px, seed)
    from cellcycle.datasets import files, folders, manifests

    path = Path(source).expanduser()
    if kind == "folder":
        entries, notes = folders.folder_entries(path)
    else:
        entries, notes = manifests.manifest_entries(path / MANIFEST if path.is_dir() else path, on_error)
    return files.load_files(path, source_name(path), entries, notes, size_px, channels or 1, resize, on_error)


def source_name(source) -> str:
    """Return what a data set is called in records and file names.

    Examples
    --------
    >>> source_name("cells/plate_1"), source_name("cells/plate_1.csv"), source_name("cells/manifest.csv")
    ('plate_1', 'plate_1', 'cells')
    """
    if str(source) in SIMULATED:
        return str(source)
    path = Path(source).expanduser().resolve()
    if path.name == MANIFEST:
        return path.parent.name
    return path.stem if path.suffix.lower() == ".csv" else path.name


def source_kind(source) -> str:
    """Return "simulated", "folder" or "manifest", without reading any image.

    A folder with a `manifest.csv` in it counts as that, which may know the groups.

    Raises
    ------
    SettingError
        If `source` is neither a known name nor an existing path.
    DataError
        If it is a file that is no table.
    """
    if str(source) in SIMULATED:
        return "simulated"
    path = Path(source).expanduser()
    if path.is_dir():
        return "manifest" if (path / MANIFEST).is_file() else "folder"
    if path.is_file() and path.suffix.lower() in _TABLES:
        return "manifest"
    if path.exists():
        raise DataError(
            path, "neither a folder nor a table (.csv, .tsv)", "give the folder with one sub-folder a class"
        )
    raise SettingError(source, "no such data set, folder or file", f"use a path or one of {', '.join(SIMULATED)}")

"""Where files go: every path of the project comes from here, so nothing depends on the working directory."""

import os
import re
from pathlib import Path

# What `cellcycle data simulate` writes beside its images: the marker tells that no microscope made them.
MARKER, MANIFEST = "simulated.json", "manifest.csv"

_REPOSITORY = Path(__file__).resolve().parent.parent


def repository() -> Path | None:
    """Return the checkout that holds the notebooks, or None when the package is installed without one."""
    return _REPOSITORY if (_REPOSITORY / "notebooks").is_dir() else None


def build_dir() -> Path:
    """Return the folder for caches and throw-away output (created when missing).

    It is $CELLCYCLE_OUTPUT if that is set, else `build/` of the checkout, else the user's cache folder.
    """
    chosen = os.environ.get("CELLCYCLE_OUTPUT")
    if chosen:
        folder = Path(chosen)
    elif repository():
        folder = repository() / "build"
    else:
        from platformdirs import user_cache_path

        folder = user_cache_path("cellcycle")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def results_dir(profile: str, data_name: str) -> Path:
    """Return the folder that holds the run records of one profile on one data set.

    The `study` profile on the simulated cells is the recorded study and is committed
    (`data/results/study`); everything else is output of this machine and goes to `build_dir()`.
    """
    recorded = profile == "study" and data_name == "simulated"
    if recorded and repository() and not os.environ.get("CELLCYCLE_OUTPUT"):
        return repository() / "data" / "results" / "study"
    return build_dir() / "results" / profile / slug(data_name)


def figures_dir(profile: str, data_name: str) -> Path:
    """Return the folder of the finished figures of one profile on one data set.

    Those of the recorded study (profile `study`, simulated cells) belong to the checkout; everything else
    is output of this machine and goes to `build_dir()`.
    """
    recorded = profile == "study" and data_name == "simulated"
    if recorded and repository() and not os.environ.get("CELLCYCLE_OUTPUT"):
        return repository() / "figures"
    return build_dir() / "figures" / profile / slug(data_name)


def slug(text: str) -> str:
    """Return `text` as a file name: letters, digits, dots and dashes.

    Examples
    --------
    >>> slug("my cells/2026, plate 1")
    'my-cells-2026-plate-1'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "data"

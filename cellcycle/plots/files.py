"""Figures as files."""

import os
from pathlib import Path


def save_figures(figures, folder, dpi: int = 100) -> list[Path]:
    """Write figures as `<name>.png`, each whole or not at all, and return their paths.

    Parameters
    ----------
    figures : dict of str to matplotlib.figure.Figure
    folder : path-like
        Created when missing.
    dpi : int
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures.items():
        work = folder / f".unfinished-{name}.png"
        # Without the name of the software, the same figure gives the same bytes under any version of it.
        figure.savefig(work, dpi=dpi, metadata={"Software": None})
        os.replace(work, folder / f"{name}.png")
        written.append(folder / f"{name}.png")
    return written

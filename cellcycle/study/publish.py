"""Bring an executed notebook into the form that is committed: outputs kept, run metadata dropped."""

import os
from pathlib import Path

import nbformat


def clean(notebook):
    """Drop what differs from run to run without meaning: timestamps, papermill's notes, versions.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Changed in place, and returned.
    """
    notebook.metadata = nbformat.NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.NotebookNode(tags=tags) if tags else nbformat.NotebookNode()
    return notebook


def publish_notebook(executed, target) -> None:
    """Write the cleaned copy of an executed notebook to `target`, whole or not at all."""
    notebook = clean(nbformat.read(executed, as_version=4))
    target = Path(target)
    work = target.with_name(f".unfinished-{target.name}")
    nbformat.write(notebook, work)
    os.replace(work, target)

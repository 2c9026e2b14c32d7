"""Bring what was run into the form that is committed: executed notebooks, and tables in texts."""

import os
from pathlib import Path

import nbformat

from cellcycle import metrics, paths, results, summaries
from cellcycle.errors import RecordError
from cellcycle.phases import PHASES


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


def replace_block(text: str, name: str, content: str) -> str:
    """Return `text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced.

    Raises
    ------
    RecordError
        If the text has no such block.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in text or end not in text:
        raise RecordError(name, "no such block in the text", f"put {start} and {end} where it belongs")
    before, after = text.split(start)[0], text.split(end)[1]
    return f"{before}{start}\n{content.strip()}\n{end}{after}"


def transfer_block(root=None) -> str:
    """Return the table of the experiment between simulated and real cells, computed from its records."""
    root = root or paths.repository() / "data" / "results" / "simulated_to_real"
    lines = [
        "| trained on | tested on | model | intensities | accuracy | balanced accuracy | recall G1 | S | G2 | M |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = []
    for record in results.load_runs(root):
        config, row = record.config, summaries.score_table([record]).iloc[0]
        if config["experiment"] == "across":
            trained, order = f"{config['train_name']}", 0
        else:
            trained = f"{'simulated, then ' if config['pretrain'] else ''}{config['n_labels']} real a phase"
            order = config["n_labels"]
        scores = [
            f"{metrics.Estimate(row[s], row[f'{s}_low'], row[f'{s}_high'])}" for s in ("accuracy", "balanced_accuracy")
        ]
        recalls = [f"{row[f'recall_{phase}']:.2f}" for phase in PHASES]
        cells = [trained, record.data["name"], config["model"], config.get("intensity", "absolute"), *scores, *recalls]
        rows.append(((order, record.data["origin"], trained, config["model"]), f"| {' | '.join(cells)} |"))
    return "\n".join(lines + [line for _, line in sorted(rows)])


def refresh_transfer_block() -> None:
    """Write the table of `transfer_block` into the data card."""
    card = paths.repository() / "data" / "README.md"
    card.write_text(replace_block(card.read_text(encoding="utf-8"), "TRANSFER", transfer_block()), encoding="utf-8")

"""Run all or some notebooks with papermill, under one profile, on one data set; publish them; rerun without records."""

import ast
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pandas as pd

from cellcycle import files, tasks
from cellcycle.datasets import is_named, source_kind, source_name
from cellcycle.errors import SettingError
from cellcycle.splits import stratified_folds
from cellcycle.study.profiles import Profile, load_profile
from cellcycle.study.status import StatusLine

# This notebook reads the records of all others, so it runs after them.
LAST = "13_figures"
_TIME = re.compile(r"(?<=\*\*It takes\*\* )about \d+ minutes? to read(?: and \d+ to run)?(?: \(\d+ [^)]*\))?")
_WORDS_A_MINUTE = 150
# Run time of each notebook in seconds, from records and with all trainings, measured by `benchmarks/minutes.py`.
MINUTES = Path("data", "results", "minutes.csv")


class Outcome(NamedTuple):
    """One executed notebook: its executed copy, its run time, its error if it failed, and notes to print."""

    name: str
    copy: Path
    seconds: float
    error: str | None = None
    notes: tuple[str, ...] = ()


def run_study(
    profile="study", data="simulated", only=(), parameters=None, workers=None, skip_unreadable=False, output=None
) -> list[Outcome]:
    """Execute the notebooks and print a line for each that is done; return their outcomes, sorted by name.

    Executed copies are under `build/notebooks/<profile>/<data>/`. A `study` run on the simulated cells without
    `parameters` and `output` also updates the notebooks of the checkout. Unknown notebooks or parameters and an
    unusable data set raise SettingError or DataError before any notebook runs.

    `data` is what `load_dataset` takes; `only` are numbers or names of notebooks, e.g. ("07",), empty for all;
    `parameters` replace the notebooks' own values. `workers` notebooks run at a time: by default 2, so that one trains
    while the other draws, and 1 on a GPU. `skip_unreadable` leaves out unreadable images, and the notebooks say so,
    instead of an error. `output` is a folder for records, figures and executed copies, instead of the usual places.
    """
    source = notebooks_dir()
    data = str(data) if is_named(data) else str(Path(data).expanduser().resolve())
    on_error = "skip" if skip_unreadable else "raise"
    settings = replace(load_profile(profile, data), on_error=on_error, output=str(output or ""))
    chosen = select_notebooks(only)
    parameters = parameters or {}
    check_parameters(chosen, parameters)
    if source_kind(data) != "simulated":
        dataset = settings.load_dataset()
        stratified_folds(dataset.labels, settings.n_folds, groups=dataset.groups, classes=dataset.classes)
    print(records_found(settings), file=sys.stderr, flush=True)
    target = Path(output or files.build_dir()).absolute() / "notebooks" / profile / files.slug(source_name(data))
    target.mkdir(parents=True, exist_ok=True)
    workers = workers or (2 if settings.device == "cpu" else 1)
    clock = target / "seconds.json"
    status = StatusLine(chosen, target / "progress", _earlier_seconds(clock), workers)
    execute = partial(execute_notebook, target=target, environment=_environment(settings), parameters=parameters)
    outcomes = []
    for names in ([name for name in chosen if name != LAST], [name for name in chosen if name == LAST]):
        with status.watching():
            for outcome in tasks.run(execute, [source / f"{name}.ipynb" for name in names], workers):
                outcomes.append(outcome)
                status.finished(outcome)
    took_s = {o.name: round(o.seconds, 1) for o in outcomes if o.error is None}
    clock.write_text(json.dumps(_earlier_seconds(clock) | took_s, indent=1))
    if settings.is_recorded and not parameters:
        _publish(outcomes, source, complete=not only)
    return sorted(outcomes, key=lambda o: o.name)


def named_value(pair: str) -> tuple[str, object]:
    """Split NAME=VALUE into name and value; a Python literal is evaluated, any other value stays text."""
    name, equals, value = pair.partition("=")
    if not equals:
        raise SettingError("--parameter", f"{pair!r} has no value", "write NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def records_found(profile: Profile) -> str:
    """Return a sentence: the number of recorded runs, which are not trained again, and their core-hours of training."""
    folder = profile.results_dir()
    runs = []
    for file in folder.glob("[!.]*/run.json"):
        # Skip damaged records here: the code that makes the run again reports them.
        with contextlib.suppress(ValueError):
            runs.append(json.loads(file.read_text(encoding="utf-8")))
    hours = sum(run.get("train_s") or 0 for run in runs) / 3600
    if not runs:
        return f"No records in {folder} yet: every model is trained."
    anew = "; FRESH=1 (--fresh) trains all of it anew" if profile.is_recorded else ""
    return f"{len(runs)} records found in {folder} ({hours:.1f} core-hours of training), not trained again{anew}."


def run_fresh() -> tuple[list[Outcome], pd.DataFrame | None]:
    """Run the whole `study` profile on simulated cells without the committed records, under `build/fresh/`.

    A stopped run is resumed, a finished one starts anew; no committed file changes. Returns the outcomes, and the
    table of headline numbers beside the committed ones (`texts.distances`, also written to `distances.csv`), or None
    if a notebook failed.
    """
    from cellcycle.study import experiments, texts

    profile = load_profile("study", "simulated")
    dataset = profile.load_dataset()
    committed = experiments.headline_records(profile, dataset, experiments.recorded)
    folder = files.build_dir() / "fresh"
    done = folder / "done"
    if done.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = run_study("study", "simulated", output=folder)
    if any(outcome.error for outcome in outcomes):
        return outcomes, None
    made = experiments.headline_records(replace(profile, output=str(folder)), dataset, experiments.recorded)
    found = texts.distances(made, committed)
    found.round(5).to_csv(folder / "distances.csv")
    done.touch()
    return outcomes, found


def notebooks_dir() -> Path:
    """Return the folder of the notebooks; SettingError if the package is installed without its checkout."""
    if files.repository() is None:
        raise SettingError("notebooks", "not part of an installed package", "clone the repository and run make study")
    return files.repository() / "notebooks"


def select_notebooks(only=()) -> list[str]:
    """Return the notebooks whose names begin with one of `only` (empty: all); SettingError if one matches none."""
    names = sorted(file.stem for file in notebooks_dir().glob("[0-9]*.ipynb"))
    for wanted in only:
        if not any(name.startswith(wanted) for name in names):
            raise SettingError("--only", f"no notebook {wanted!r}", f"use one of {', '.join(names)}")
    return [name for name in names if not only or name.startswith(tuple(only))]


def check_parameters(names, parameters: dict) -> None:
    """Raise SettingError if a notebook lacks one of the parameters; papermill itself would only warn."""
    if not parameters:
        return
    from papermill import inspect_notebook

    for name in names:
        known = inspect_notebook(str(notebooks_dir() / f"{name}.ipynb"))
        for parameter in parameters:
            if parameter not in known:
                raise SettingError(parameter, f"no parameter of {name}", f"use one of {', '.join(known)}")


def _environment(profile: Profile) -> dict[str, str]:
    """Return variables that pass the profile to a kernel, a process in another folder; "" counts as unset."""
    output = profile.output or os.environ.get("CELLCYCLE_OUTPUT")
    return {
        "CELLCYCLE_PROFILE": profile.name,
        "CELLCYCLE_DATA": profile.data,
        "CELLCYCLE_SKIP_UNREADABLE": "1" if profile.on_error == "skip" else "",
        # Folds run in parallel processes; several threads in each would compete for the same cores.
        "OMP_NUM_THREADS": "1",
    } | ({"CELLCYCLE_OUTPUT": os.path.abspath(output)} if output else {})


def execute_notebook(source: Path, target: Path, environment: dict[str, str], parameters: dict) -> Outcome:
    """Execute one notebook and write its copy into `target`; an error of a cell or kernel is returned, not raised."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    copy, progress = target / source.name, target / f"progress-{source.stem}.json"
    said = progress.with_suffix(".txt")
    said.unlink(missing_ok=True)
    started, error = time.perf_counter(), None
    private = tempfile.TemporaryDirectory(prefix="cellcycle-", ignore_cleanup_errors=True)
    try:
        with private as sockets, patch.dict(os.environ, environment, CELLCYCLE_PROGRESS_FILE=str(progress)):
            options = {"kernel_name": "python3", "cwd": str(source.parent), "config": _kernel_config(sockets)}
            # Write the copy once at the end: writing it after each cell takes a tenth of the run time.
            options |= {"progress_bar": False, "request_save_on_cell_execute": False}
            papermill.execute_notebook(str(source), str(copy), parameters, **options)
    except PapermillExecutionError as failure:
        error = f"cell {failure.exec_count}: {failure.ename}: {failure.evalue}"
    except RuntimeError as failure:
        # The kernel did not start, or something killed it, e.g. the system when memory ran out.
        error = str(failure)
    finally:
        progress.unlink(missing_ok=True)
    notes = tuple(said.read_text(encoding="utf-8").splitlines()) if said.exists() else ()
    said.unlink(missing_ok=True)
    return Outcome(source.stem, copy, time.perf_counter() - started, error, notes)


def _kernel_config(sockets: str):
    """Return a configuration by which the kernel uses Unix sockets in a folder of this user, where the system can."""
    from traitlets.config import Config

    if os.name != "posix":
        return Config()
    return Config({"KernelManager": {"transport": "ipc", "ip": os.path.join(sockets, "kernel")}})


def _earlier_seconds(clock: Path) -> dict[str, float]:
    """Return the seconds of each notebook in earlier runs; empty if the file is missing or damaged."""
    try:
        return {str(name): float(seconds) for name, seconds in json.loads(clock.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _publish(outcomes, source: Path, complete: bool) -> None:
    """Update the notebooks of the checkout, and after a complete run the texts computed from its records."""
    from cellcycle.study.texts import refresh_texts

    for outcome in outcomes:
        if outcome.error is None:
            publish_notebook(outcome.copy, source / f"{outcome.name}.ipynb")
    if complete and not any(outcome.error for outcome in outcomes):
        refresh_texts()


def publish_notebook(executed, target) -> None:
    """Write the cleaned copy of an executed notebook to `target`, atomically."""
    import nbformat

    notebook = clean(nbformat.read(executed, as_version=4))
    opening = notebook.cells[0]
    opening.source = _TIME.sub(times(Path(target).stem, notebook), opening.source)
    with files.whole_file(target) as work:
        nbformat.write(notebook, work)


def reading_minutes(sources: list[str]) -> int:
    """Return the minutes to read cells (their sources) up to the questions: words of text and code."""
    end = next((i for i, source in enumerate(sources) if source.startswith("## Questions")), len(sources))
    return max(1, round(sum(len(source.split()) for source in sources[:end]) / _WORDS_A_MINUTE))


def times(name: str, notebook) -> str:
    """Return the text of a notebook's opening on its minutes: to read, and to run if `MINUTES` has them."""
    ran = pd.read_csv(files.repository() / MINUTES, index_col="notebook")
    reading = reading_minutes([cell.source for cell in notebook.cells])
    if name not in ran.index:
        return f"about {reading} minutes to read"
    found, anew = (max(1, round(ran.loc[name, kind] / 60)) for kind in ("from_records_s", "anew_s"))
    trained = f" ({anew} where all is trained anew)" if anew > found else ""
    return f"about {reading} minutes to read and {found} to run{trained}"


def contents() -> pd.DataFrame:
    """Return one row per notebook, indexed by number: file, title, question, and minutes to read."""
    rows = {}
    for name in select_notebooks():
        # As JSON: to import nbformat takes a second and a half, and it checks all outputs.
        cells = json.loads((notebooks_dir() / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells]
        title, question = re.match(r"# (.+?)\n.*?\*\*Question\.\*\* (.+?)\n", sources[0], re.S).groups()
        row = {"file": f"{name}.ipynb", "title": title, "question": question}
        rows[name[:2]] = row | {"minutes": reading_minutes(sources)}
    return pd.DataFrame.from_dict(rows, orient="index")


def clean(notebook):
    """Remove from a notebook what differs between runs without meaning; return it, changed in place.

    Solutions are marked as folded, for programs that can fold cells.
    """
    import nbformat

    notebook.metadata = nbformat.NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.NotebookNode(tags=tags) if tags else nbformat.NotebookNode()
        for output in cell.get("outputs", []):
            # A slider works only while its kernel runs; its picture stays.
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        if "solution" in tags and cell.cell_type == "code":
            cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
    return notebook

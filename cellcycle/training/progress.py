"""Progress of long work: a bar on a terminal, and a file that `cellcycle study` reads from its notebooks."""

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from cellcycle.files import replace_json

# Set by `cellcycle study` for the notebooks it runs, whose own output must stay free of progress bars.
PROGRESS_FILE = "CELLCYCLE_PROGRESS_FILE"


def say(line: str) -> None:
    """Tell whoever waits for the work: on standard error, or by `cellcycle study`, not in its notebooks."""
    file = os.environ.get(PROGRESS_FILE)
    if not file:
        print(line, file=sys.stderr, flush=True)
        return
    with Path(file).with_suffix(".txt").open("a", encoding="utf-8") as notes:
        notes.write(f"{line}\n")


def with_progress(steps: Iterable, total: int, title: str) -> Iterator:
    """Hand on steps as they are finished, and show how many are: on a terminal, or to `cellcycle study`."""
    file = os.environ.get(PROGRESS_FILE)
    visible = not file and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    with tqdm(total=total, desc=title, unit="fold", disable=not visible, leave=False) as bar:
        for done, step in enumerate(chain([None], steps)):
            if file:
                replace_json(Path(file), {"title": title, "done": done, "total": total})
            if done:
                bar.update()
                yield step

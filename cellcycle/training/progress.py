"""Progress of long work: a bar on a terminal, and a file that `cellcycle study` reads from its notebooks."""

import json
import os
import sys
from pathlib import Path

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


class Progress:
    """Count finished steps and show them."""

    def __init__(self, total: int, title: str, enabled: bool = True):
        from tqdm import tqdm

        self.total, self.done, self.title = total, 0, title
        self.file = os.environ.get(PROGRESS_FILE)
        visible = enabled and not self.file and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self.bar = tqdm(total=total, desc=title, unit="fold", disable=not visible, leave=False)
        self._report()

    def advance(self, what: str) -> None:
        """Count one finished step."""
        self.done += 1
        self.bar.set_postfix_str(what)
        self.bar.update()
        self._report()

    def close(self) -> None:
        """Take the bar off the screen."""
        self.bar.close()

    def _report(self) -> None:
        if self.file:
            work = Path(self.file + ".new")
            work.write_text(json.dumps({"title": self.title, "done": self.done, "total": self.total}))
            work.replace(self.file)

"""Progress output of `cellcycle study`: one line per notebook, and on a terminal a status line that is overwritten."""

import contextlib
import json
import sys
import threading
import time
from pathlib import Path


class StatusLine:
    """Print finished notebooks; on a terminal also show the folds of running notebooks and the time left.

    The notebooks write progress files `<prefix>-<notebook>.json`. The time left is estimated from the seconds that
    each notebook took in an earlier run, with `workers` of them at a time.
    """

    def __init__(self, names, prefix: Path, earlier_s: dict[str, float] | None = None, workers: int = 1):
        self.names, self.prefix, self.earlier_s, self.workers = list(names), prefix, earlier_s or {}, workers
        self.took_s: dict[str, float] = {}
        self.first_seen: dict[str, tuple[float, int]] = {}
        self.terminal = sys.stderr.isatty()
        for stale in self._files():
            stale.unlink(missing_ok=True)

    def finished(self, outcome) -> None:
        """Print the line of one finished notebook."""
        self.took_s[outcome.name] = outcome.seconds
        self._show()
        state = f"{outcome.seconds:5.0f} s" if outcome.error is None else f"FAILED  {outcome.error}"
        left = self.left_s()
        left = "" if left is None or outcome.error else f", about {max(1, round(left / 60))} min left in all"
        print(f"[{len(self.took_s):2d}/{len(self.names)}] {outcome.name:28s} {state}{left}", flush=True)
        for note in outcome.notes:
            print(f"        {note}", flush=True)

    def left_s(self) -> float | None:
        """Return the estimated seconds for the remaining notebooks, at the pace of the finished; None if unknown."""
        waiting = [name for name in self.names if name not in self.took_s]
        known = [name for name in self.took_s if self.earlier_s.get(name)]
        if not waiting or not known or any(name not in self.earlier_s for name in waiting):
            return None
        pace = sum(self.took_s[n] for n in known) / sum(self.earlier_s[n] for n in known)
        return pace * sum(self.earlier_s[name] for name in waiting) / min(self.workers, len(waiting))

    @contextlib.contextmanager
    def watching(self):
        """Show the progress of the notebooks that run inside this context."""
        if not self.terminal:
            yield
            return
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            self._show()

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(1):
            self._show("  ".join(filter(None, map(self._describe, self._files()))))

    def _describe(self, file: Path) -> str:
        """Return the progress of one notebook, e.g. `07_nagao 3/15 folds, about 2 min left`; "" if unreadable."""
        try:
            report = json.loads(file.read_text())
        except (OSError, ValueError):
            return ""
        name = file.stem.removeprefix(f"{self.prefix.name}-")
        done, total = report["done"], report["total"]
        started, before = self.first_seen.setdefault(f"{name}{report['title']}{total}", (time.monotonic(), done))
        left = ""
        if done > before:
            seconds = (time.monotonic() - started) / (done - before) * (total - done)
            left = f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"
        return f"{name} {done}/{total} folds{left}"

    def _files(self) -> list[Path]:
        return sorted(self.prefix.parent.glob(f"{self.prefix.name}-*.json"))

    def _show(self, text: str = "") -> None:
        """Overwrite the status line."""
        if self.terminal:
            sys.stderr.write(f"\r\033[K{text[:118]}")
            sys.stderr.flush()

"""Use the website in a browser as a biologist does: count actions and seconds, to compare with other programs.

    python -m benchmarks.workbench            # prints the record
    python -m benchmarks.workbench --record   # and keeps it as data/results/workbench.json, and in docs/how_to/serve.md

An action is a click, a key, or a drop of files. Seconds are the wall time of a step on this computer; the processor
time of the server and its child processes varies less on a busy computer.
"""

import json
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import numpy as np
import psutil
from playwright.sync_api import sync_playwright

from benchmarks.page import ROOT, kept, wants_record, website, where
from cellcycle.images import write_image
from cellcycle.predict import predict
from cellcycle.simulation import simulate_field
from tests.app_states import VIEWPORTS, launch, upload

RECORD, DOCUMENT = ROOT / "data" / "results" / "workbench.json", ROOT / "docs" / "how_to" / "serve.md"
N_IMAGES, N_LABELS, N_NUCLEI, N_STARTS = 200, 100, 150, 5
FIELD_PX, LARGE_PX = 400, 10_000
# A slow mobile connection: bytes per second, and latency in milliseconds.
SLOW = {"offline": False, "latency": 300, "downloadThroughput": 125_000, "uploadThroughput": 125_000}
STEPS = {
    "phases": "(a) see the phases of a field",
    "doubtful": "(b) find the ten most doubtful",
    "labelled": "(c) correct 100",
    "trained": "(d) retrain and see the change",
    "handed": "(e) hand the result to a colleague",
}


def simulated(folder: Path) -> tuple[Path, dict[int, str]]:
    """Write a simulated field of 1,040 px; return its path, and the true phase of each nucleus found in it."""
    field = simulate_field((1040, 1040), N_NUCLEI, seed=21)
    write_image(folder / "field.tif", field.image, field.pixel_size_um)
    truth, found = field.truth.set_index("nucleus_id")["phase"], predict(folder / "field.tif")
    at = [field.labels[int(y), int(x)] for y, x in zip(found["centroid_y_px"], found["centroid_x_px"], strict=True)]
    return folder / "field.tif", {int(n): truth.get(k, "none") for n, k in zip(found["nucleus_id"], at, strict=True)}


@contextmanager
def visit(browser, address: str):
    """Load the page as a new visitor."""
    page = browser.new_context(viewport=VIEWPORTS["desk"], accept_downloads=True).new_page()
    page.set_default_timeout(600_000)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    yield page
    page.context.close()


class Hand:
    """Counts the actions of a visitor, and measures the time of steps."""

    def __init__(self, process):
        self._process, self._n, self.steps = process, 0, {}

    def __call__(self, act, *arguments):
        """Do one action, and count it."""
        self._n += 1
        return act(*arguments)

    @contextmanager
    def step(self, name: str):
        """Measure actions, seconds and processor time of the block as one step."""
        self._n, wall, cpu = 0, time.perf_counter(), processor_s(self._process)
        yield
        wall, cpu = time.perf_counter() - wall, processor_s(self._process) - cpu
        self.steps[name] = {"actions": self._n, "wall_s": round(wall, 1), "cpu_s": round(cpu, 1)}


def processor_s(process) -> float:
    """Return the processor seconds of a process and all its children, including those that ended."""
    times = [one.cpu_times() for one in [process, *process.children(recursive=True)]]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def loop(page, process, field: Path, truth: dict[int, str]) -> dict:
    """Do all steps from a field to a trained model; return the measurements."""
    hand = Hand(process)
    with hand.step("phases"):
        hand(upload, page, field)
    with hand.step("doubtful"):  # they come first in the list
        rows = page.locator("#table tbody tr[aria-rowindex]").all_inner_texts()[:10]
        assert len(rows) and page.locator("#order").input_value() == "doubt"
    with hand.step("labelled"):
        for _ in range(N_LABELS):
            number = int(page.locator("#nucleus .name").inner_text().split()[1])
            hand(page.keyboard.press, {"G1": "1", "S": "2", "G2": "3", "M": "4"}.get(truth[number], "x"))
    assert f"{N_LABELS} labelled (" in page.locator("#told").inner_text()
    with hand.step("trained"):
        hand(page.locator("#open-corrections").click)
        hand(page.locator("#train").click)
        page.locator("#trained .call", has_text="Right before").wait_for()
        hand(page.locator("#call-own").click)
        page.locator("#note", has_text="corrected-").wait_for()
    with hand.step("handed"):
        for link in ("#save-table", "#save-picture"):
            with page.expect_download() as download:
                hand(page.locator(link).click)
            assert Path(download.value.path()).stat().st_size > 1000
    return hand.steps


def many(page, process, folder: Path) -> dict:
    """Upload as many fields as a visitor may keep, cancel, upload the rest; count those that are shown."""
    made = simulate_field((FIELD_PX * 3, FIELD_PX * 3), 300, seed=22)
    counts = made.image * 16
    paths = [folder / f"field {k:03d}.tif" for k in range(N_IMAGES)]
    for k, path in enumerate(paths):
        # Each field is another part of one large field.
        write_image(path, np.roll(counts, (61 * k, 97 * k), (0, 1))[:FIELD_PX, :FIELD_PX].copy(), made.pixel_size_um)
    hand = Hand(process)
    with hand.step("given"):
        page.set_input_files("#files", paths)
        page.locator("#progress-words", has_text=f"20 of {N_IMAGES} done").wait_for()
        assert "left" in page.locator("#progress-words").inner_text()
        hand(page.locator("#cancel").click)
        page.locator("#problems", has_text="were not done").wait_for()
        done = {text.partition(" - ")[2] for text in page.locator("#image option").all_inner_texts()}
        hand(upload, page, *(path for path in paths if path.name not in done))
    shown, n_nuclei = page.locator("#image option").count(), counted(page)
    started = time.perf_counter()
    page.reload()
    page.wait_for_selector("body[data-ready]")
    megabytes = sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) // 1_000_000
    found = {"given": N_IMAGES, "done_when_cancelled": len(done), "shown": shown, "n_nuclei": n_nuclei}
    return hand.steps["given"] | found | {"reloaded_s": round(time.perf_counter() - started, 1), "megabytes": megabytes}


def counted(page) -> int:
    """Return the number of nuclei in the list."""
    return int(page.locator("#counted").inner_text().split()[0])


def large(browser, address: str, process, folder: Path) -> dict:
    """Upload one field of 10,000 px with some 20,000 nuclei; return the times of actions on it, and peak memory."""
    made = simulate_field((LARGE_PX // 10, LARGE_PX // 10), 215, seed=3)
    counts = np.tile(made.image * 16, (10, 10))
    write_image(folder / "large.tif", counts, made.pixel_size_um)
    took, watch = {}, Watch(process)

    def timed(name: str, act, *arguments):
        started = time.perf_counter()
        act(*arguments)
        # After two animation frames all effects of the action are drawn.
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        took[name] = round(time.perf_counter() - started, 2)

    with visit(browser, address) as page, watch:
        timed("answered_s", upload, page, folder / "large.tif")
        n_nuclei, bar = counted(page), page.locator("#plot").bounding_box()
        timed("bar_s", page.mouse.click, bar["x"] + bar["width"] / 3, bar["y"] + bar["height"] - 40)
        timed("table_end_s", lambda: (page.locator("#table").focus(), page.keyboard.press("End")))
        timed("gallery_s", page.locator("#as-gallery").click)
        timed("gallery_end_s", lambda: (page.locator("#gallery").focus(), page.keyboard.press("End")))
        timed("label_s", page.keyboard.press, "3")
        assert page.locator(".tile.here", has_text="G2 ✓").count() == 1
        assert page.locator(".tile.here").get_attribute("aria-posinset") == str(n_nuclei)
    return {"side_px": LARGE_PX, "n_nuclei": n_nuclei, "megabytes": watch.most_mb} | took


class Watch:
    """Records the peak memory of a process and its children, sampled twice a second."""

    def __init__(self, process):
        self._process, self._ended, self.most_mb = process, Event(), 0

    def _look(self):
        while not self._ended.wait(0.5):
            with suppress(psutil.Error):
                held = [one.memory_info().rss for one in [self._process, *self._process.children(recursive=True)]]
                self.most_mb = max(self.most_mb, sum(held) // 1_000_000)

    def __enter__(self):
        self._thread = Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


def starts() -> list[tuple[float, float]]:
    """Start the server several times; return the seconds until each announced itself, and until it answered."""
    found = []
    for _ in range(N_STARTS):
        with website() as (_, _, said_s, answered_s):
            found.append((round(said_s, 2), round(answered_s, 2)))
    return found


def slow(browser, address: str, field: Path) -> dict:
    """Load the page and upload a field over a slow connection; return the times."""
    with visit(browser, address) as page:
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", SLOW)
        took = {}
        for name, act in (("loaded_s", page.reload), ("answered_s", lambda: upload(page, field))):
            started = time.perf_counter()
            act()
            page.wait_for_selector("body[data-ready]")
            took[name] = round(time.perf_counter() - started, 1)
    return took | {"megabytes": round(field.stat().st_size / 1e6, 1), "megabits_a_second": 1, "latency_ms": 300}


def measured(record: dict) -> str:
    """Return the text of docs/how_to/serve.md on the record."""
    steps, given, network, big = record["steps"], record["many"], record["slow"], record["large"]
    said, later = [a for a, _ in record["starts_s"]], [b - a for a, b in record["starts_s"]]
    rows = [
        f"| {words} | {steps[name]['actions']} | {steps[name]['wall_s']} | {steps[name]['cpu_s']} |"
        for name, words in STEPS.items()
    ]
    return "\n".join([
        f"Measured on {record['machine']}, {record['date']}, at a load of {record['load']} beside other work,",
        "by `python -m benchmarks.workbench`; recorded in `data/results/workbench.json`. The field is a simulated one",
        f"of 1,040 px with {record['n_nuclei']} nuclei:",
        "",
        "| | actions | seconds | of processor |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        f"In {len(said)} starts the server reported itself ready after {min(said)} to {max(said)} s, and answered at",
        f"most {max(later):.2f} s later. One drop of {given['given']} whole fields of {FIELD_PX} px was cancelled when",
        f"{given['done_when_cancelled']} were done, and the rest given again: {given['shown']} were shown after",
        f"{given['wall_s']:.0f} s ({given['cpu_s']:.0f} s of processor; {given['n_nuclei']:,} nuclei), and again",
        f"{given['reloaded_s']} s after a reload. Server and workers then took {given['megabytes']} MB. Over",
        f"{network['megabits_a_second']} Mbit/s and {network['latency_ms']} ms the page was usable after",
        f"{network['loaded_s']} s, and a field of {network['megabytes']} MB answered after {network['answered_s']} s.",
        "",
        f"A field of {big['side_px']:,} px with {big['n_nuclei']:,} nuclei was answered after {big['answered_s']:.0f}",
        f"s, with at most {big['megabytes']:,} MB in use. Then choosing a bar of the histogram took {big['bar_s']} s,",
        f"going to the end of the table {big['table_end_s']} s, opening the gallery {big['gallery_s']} s, going to its",
        f"end {big['gallery_end_s']} s and labelling the last nucleus {big['label_s']} s, drawing included.",
    ])  # fmt: skip


def main() -> None:
    keep = wants_record(__doc__)
    with TemporaryDirectory() as made, website() as (address, process, *_), sync_playwright() as tool:
        field, truth = simulated(Path(made))
        browser = launch(tool, "chromium")
        with visit(browser, address) as page:
            steps = loop(page, process, field, truth)
        record = where() | {
            "load": round(os.getloadavg()[1], 1),
            "n_nuclei": len(truth),
            "starts_s": starts(),
            "steps": steps,
            "slow": slow(browser, address, field),
        }
        with visit(browser, address) as page:
            record["many"] = many(page, process, Path(made))
        record["large"] = large(browser, address, process, Path(made))
    print(json.dumps(record, indent=1))
    if keep:
        kept(record, RECORD, DOCUMENT, measured(record))


if __name__ == "__main__":
    main()

"""Use the website in a browser as a biologist does: count actions and seconds, and set them beside other programs.

    python -m benchmarks.workbench            # prints the record
    python -m benchmarks.workbench --record   # and keeps it as data/results/workbench.json, and in docs/how_to/serve.md

An action is a click, a key, or a drop of files. Seconds are those of the whole step on this computer; seconds of
processor time, of the server and all it started, are the steadier figure on a busy one.
"""

import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from benchmarks.page import NUCLEI, ROOT, kept, wants_record, website, where
from cellcycle.images import write_image
from cellcycle.predict import predict
from cellcycle.simulation import simulate_field
from tests.app_states import VIEWPORTS, launch, upload

RECORD, DOCUMENT = ROOT / "data" / "results" / "workbench.json", ROOT / "docs" / "how_to" / "serve.md"
N_IMAGES, N_LABELS, N_NUCLEI = 200, 100, 150
# A phone in a cellar: bytes a second, and milliseconds until the first of them.
SLOW = {"offline": False, "latency": 300, "downloadThroughput": 125_000, "uploadThroughput": 125_000}
STEPS = {
    "phases": "(a) see the phases of a field",
    "doubtful": "(b) find the ten most doubtful",
    "labelled": "(c) correct 100",
    "trained": "(d) retrain and see the change",
    "handed": "(e) hand the result to a colleague",
}


def simulated(folder: Path) -> tuple[Path, dict[int, str]]:
    """Write a simulated field of 1,040 px; return it, and the true phase of each nucleus that is found in it."""
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
    """What a visitor does, counted; and what it takes."""

    def __init__(self, process):
        self._process, self._n, self.steps = process, 0, {}

    def __call__(self, act, *arguments):
        """Do one thing, and count it."""
        self._n += 1
        return act(*arguments)

    @contextmanager
    def step(self, name: str):
        """Measure a step."""
        self._n, wall, cpu = 0, time.perf_counter(), processor_s(self._process)
        yield
        wall, cpu = time.perf_counter() - wall, processor_s(self._process) - cpu
        self.steps[name] = {"actions": self._n, "wall_s": round(wall, 1), "cpu_s": round(cpu, 1)}


def processor_s(process) -> float:
    """Return the seconds of processor that a process and all it started have taken, those that ended included."""
    times = [one.cpu_times() for one in [process, *process.children(recursive=True)]]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def loop(page, process, field: Path, truth: dict[int, str]) -> dict:
    """Go the whole way from a field to a model of one's own."""
    hand = Hand(process)
    with hand.step("phases"):
        hand(upload, page, field)
    with hand.step("doubtful"):  # they are on top
        rows = page.locator("#table tbody tr[aria-rowindex]").all_inner_texts()[:10]
        assert len(rows) and page.locator("#order").input_value() == "doubt"
    with hand.step("labelled"):
        for _ in range(N_LABELS):
            number = int(page.locator("#nucleus .name").inner_text().split()[1])
            hand(page.keyboard.press, {"G1": "1", "S": "2", "G2": "3", "M": "4"}.get(truth[number], "x"))
    assert f"{N_LABELS} corrected by you" in page.locator("#told").inner_text()
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
    """Give as many images as a visitor may keep; count those that are shown."""
    paths = [folder / f"nucleus {k:03d}.png" for k in range(N_IMAGES)]
    for k, path in enumerate(paths):
        shutil.copyfile(NUCLEI[k % len(NUCLEI)], path)
    hand = Hand(process)
    with hand.step("given"):
        hand(upload, page, *paths)
    shown = page.locator("#image option").count()
    started = time.perf_counter()
    page.reload()
    page.wait_for_selector("body[data-ready]")
    megabytes = sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) // 1_000_000
    seconds = {"reloaded_s": round(time.perf_counter() - started, 1), "megabytes": megabytes}
    return hand.steps["given"] | {"given": N_IMAGES, "shown": shown} | seconds


def slow(browser, address: str, field: Path) -> dict:
    """Load the page and give a field over a slow connection."""
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
    """Return the record as the lines of docs/how_to/serve.md."""
    steps, given, network = record["steps"], record["many"], record["slow"]
    rows = [
        f"| {words} | {steps[name]['actions']} | {steps[name]['wall_s']} | {steps[name]['cpu_s']} |"
        for name, words in STEPS.items()
    ]
    return "\n".join([
        f"On {record['machine']}, {record['date']}, load {record['load']} beside other work; by `python -m",
        "benchmarks.workbench`, recorded in `data/results/workbench.json`; a simulated field of 1,040 px with",
        f"{record['n_nuclei']} nuclei:",
        "",
        "| | actions | seconds | of processor |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        f"The server answered {record['start_s']} s after its start ({record['start_cpu_s']} s of processor). Of",
        f"{given['given']} images in one drop {given['shown']} were shown after {given['wall_s']} s",
        f"({given['cpu_s']} s of processor), again {given['reloaded_s']} s after a reload; server and workers then",
        f"took {given['megabytes']} MB. Over {network['megabits_a_second']} Mbit/s and {network['latency_ms']} ms",
        f"the page was usable after {network['loaded_s']} s, a field of {network['megabytes']} MB answered after",
        f"{network['answered_s']} s.",
    ])  # fmt: skip


def main() -> None:
    """Measure, print, and keep where asked."""
    keep = wants_record(__doc__)
    with TemporaryDirectory() as made, website() as (address, process, start_s), sync_playwright() as tool:
        start_cpu_s = process.cpu_times().user + process.cpu_times().system
        field, truth = simulated(Path(made))
        browser = launch(tool, "chromium")
        with visit(browser, address) as page:
            steps = loop(page, process, field, truth)
        record = where() | {
            "load": round(os.getloadavg()[1], 1),
            "n_nuclei": len(truth),
            "start_s": round(start_s, 1),
            "start_cpu_s": round(start_cpu_s, 1),
            "steps": steps,
            "slow": slow(browser, address, field),
        }
        with visit(browser, address) as page:
            record["many"] = many(page, process, Path(made))
    print(json.dumps(record, indent=1))
    if keep:
        kept(record, RECORD, DOCUMENT, measured(record))


if __name__ == "__main__":
    main()

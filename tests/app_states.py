"""Every state of the website, one after the other, in a browser: for its tests, and as pictures for a visual check.

python -m tests.app_states FOLDER    # writes a picture of each, light and dark, at a desk and on a phone
"""

import json
import shutil
import sys
from pathlib import Path

from cellcycle.images import write_image

# Without a sandbox, Chromium also runs as root in a container; it opens only pages of this project. Firefox is that of
# the system, driven by WebDriver BiDi.
BROWSERS = {
    "chromium": (("chromium", "chromium-browser", "google-chrome"), {"args": ["--no-sandbox"]}),
    "firefox": (("firefox-esr", "firefox"), {"channel": "moz-firefox"}),
}
VIEWPORTS = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
WORKED = """() => {
    const progress = document.getElementById('progress');
    new MutationObserver((_, observer) => {
        if (!progress.hidden) return;
        observer.disconnect();
        document.body.dataset.worked = 'yes';
    }).observe(progress, {attributes: true, attributeFilter: ['hidden']});
    delete document.body.dataset.worked;
}"""
# State of a training as the server reports it (see `cellcycle.app.training`), and text that the page then shows;
# `test_app_loop` runs a real training.
_MODEL = {"name": "nagao6-g1-corrected-60", "from": "nagao6-g1", "n": 60, "n_images": 2,
          "counts": {"G1": 31, "S": 9, "G2": 14, "M": 6}, "before": 0.61, "after": 0.7, "gain": [-0.02, 0.19],
          "notes": ["Folds are nuclei, not images: fewer than 5 groups were labelled."], "card": None}  # fmt: skip
_NOTHING = {"missing": "", "running": None, "waiting": None, "problem": "", "model": None}
TRAININGS = {
    "queued": (_NOTHING | {"waiting": 2}, "2 come before yours"),
    "training": (_NOTHING | {"running": [14, 60]}, "14 of 60 rounds"),
    "trained": (_NOTHING | {"model": _MODEL}, "Right before"),
    "not-trained": (_NOTHING | {"problem": "the training took longer than 900 s"}, "longer than"),
}


def launch(tool, kind: str):
    """Start a browser of this computer; return None if it has none of that kind."""
    names, options = BROWSERS[kind]
    program = next(filter(None, map(shutil.which, names)), None)
    return program and getattr(tool, kind).launch(executable_path=program, **options)


def upload(page, *files):
    """Upload files when the page is idle, and wait until they are processed."""
    # The progress is hidden before and after the work, so wait until it is hidden again; and begin only when the page
    # is idle, else the end of earlier work would count.
    page.locator("#progress").wait_for(state="hidden")
    page.evaluate(WORKED)
    page.set_input_files("#files", files)
    page.locator("body[data-worked]").wait_for()


def plate(folder: Path, pixels, side_px: int = 200) -> list[Path]:
    """Write one field for each of two wells, and their plate map; return the paths."""
    folder.mkdir(exist_ok=True)
    for name, part in (("A01_s1.tif", pixels[:side_px, :side_px]), ("A02_s1.tif", pixels[300:][:side_px, :side_px])):
        write_image(folder / name, part, 0.325)
    (folder / "map.csv").write_text("well,condition\nA01,control\nA02,drug\n")
    return sorted(folder.iterdir())


def _answer(told: dict):
    return lambda route: route.fulfill(body=json.dumps(told))


def states(page, fields: list[Path], no_image: Path):
    """Drive a page that was just loaded from state to state; yield the name of each when it is shown.

    `fields` are those of `plate`.
    """
    yield "start"
    for name in ("settings", "about"):
        page.locator(f"#open-{name}").click()
        yield name
        page.keyboard.press("Escape")
    page.evaluate("document.body.classList.add('over')")
    yield "dropping"
    page.evaluate("document.body.classList.remove('over')")
    held = []
    page.route("**/api/images?*", lambda route: held.append(route) or (len(held) == 1 and route.continue_()))
    page.set_input_files("#files", [no_image, *fields[:2]])
    page.locator("#progress-words", has_text="1 of 3").wait_for()
    yield "working"
    page.locator("#cancel").click()
    page.locator("#problems", has_text="were not done").wait_for()
    yield "error"
    page.unroute_all(behavior="ignoreErrors")
    upload(page, fields[0])
    page.locator("#table").focus()
    page.keyboard.press("End")  # the first nucleus in the list may have no call
    yield "field"
    page.locator("#explain").click()
    page.locator("#nucleus figure").nth(1).wait_for()
    yield "explained"
    page.locator("#plot").focus()
    for _ in range(6):
        page.keyboard.press("Shift+ArrowRight")
    yield "selection"
    page.locator("#plot-kind").select_option("points")
    page.locator("#as-gallery").click()
    yield "gallery"
    page.locator("#gallery").focus()
    page.keyboard.press("Home")
    for key in "2x14":
        page.keyboard.press(key)
    yield "labelled"
    page.locator("#as-table").click()
    page.context.set_offline(True)
    page.keyboard.press("2")
    page.locator("#unsaved").wait_for()
    yield "lost"
    page.context.set_offline(False)
    page.locator("#unsaved").wait_for(state="hidden")
    page.locator("#open-corrections").click()
    yield "corrections"
    page.keyboard.press("Escape")
    for name, (told, words) in TRAININGS.items():
        page.route("**/api/training", _answer(told))
        page.locator("#open-corrections").click()
        page.locator("#corrections", has_text=words).wait_for()
        yield name
        page.keyboard.press("Escape")
        page.unroute("**/api/training")
    upload(page, *fields[1:])
    page.locator("#open-experiment").click()
    page.locator("#shares table").wait_for()
    yield "compare"
    page.keyboard.press("Escape")
    yield "two-fields"
    page.locator("#forget").click()
    page.locator("body:not([inert]) #drop").wait_for()
    yield "forgotten"


def main(folder: Path) -> None:
    """Write a picture of each state."""
    from tempfile import TemporaryDirectory

    import tifffile
    from playwright.sync_api import sync_playwright

    from tests.test_app import FIELD, running

    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as made, running(Path(made) / "page") as address, sync_playwright() as tool:
        (Path(made) / "broken.png").write_bytes(b"x")
        fields = plate(Path(made) / "plate", tifffile.imread(FIELD), 300)
        browser = launch(tool, "chromium")
        for place, viewport in VIEWPORTS.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport=viewport, color_scheme=scheme)
                page.set_default_timeout(120_000)
                page.on("dialog", lambda dialog: dialog.accept())
                page.goto(address)
                page.wait_for_selector("body[data-ready]")
                for number, state in enumerate(states(page, fields, Path(made) / "broken.png")):
                    # Longer than a transition of the page.
                    page.wait_for_timeout(300)
                    page.screenshot(path=folder / f"{place}-{scheme}-{number:02d}-{state}.png")
                page.context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The website in a real browser: what a visitor does with it, at a desk and with a phone."""

import io
import os
import re
import shutil
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("gradio", reason="the extra `app` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from cellcycle.predict import predict  # noqa: E402
from cellcycle.predict.command import run_predict  # noqa: E402
from tests.test_app import LIMITS, NUCLEI, field_file, png, running, watched_predictor  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]
__all__ = ["field_file"]
NUCLEUS_IS_IN_SIGHT = """() => {
    const place = document.querySelector('#nucleus .name').getBoundingClientRect();
    return place.top >= 0 && place.bottom <= window.innerHeight;
}"""
ALL_LINES_SAY_EDGE = """() => {
    const lines = [...document.querySelectorAll('#table .virtual-row')];
    return lines.length > 0 && lines.every(line => line.innerText.includes('edge'));
}"""


@pytest.fixture(scope="module")
def address():
    with running() as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as tool:
        # Without a sandbox it also runs as root in a container; it opens no page but this project's own.
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address, request):
    """A visitor's page, loaded; see `visitor`."""
    with visitor(browser, address, **getattr(request, "param", {})) as page:
        yield page


@contextmanager
def visitor(browser, address, **options):
    """Load the page for a visitor; fails where it asked another server for anything or met a script error."""
    options = {"viewport": {"width": 1280, "height": 900}} | options
    context = browser.new_context(accept_downloads=True, **options)
    page, outside, errors = context.new_page(), [], []
    page.set_default_timeout(60_000)
    page.on("request", lambda r: outside.append(r.url) if r.url.startswith("http") and address not in r.url else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#upload input[type=file]", state="attached")
    yield page
    context.close()
    assert outside == [] and errors == []


def upload(page, *files):
    """Give files; wait until the page has answered."""
    before = page.locator("#message").inner_text()
    page.set_input_files("#upload input[type=file]", files)
    page.wait_for_function("before => document.querySelector('#message').innerText !== before", arg=before)


def wait_for_text(page, selector, text):
    page.locator(selector, has_text=text).first.wait_for()


def choose(page, box, option):
    page.locator(f"{box} input").first.click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_visitor_chooses_a_model_and_sees_the_phase_of_a_nucleus(page):
    wait_for_text(page, "#card", "Its limits")
    wait_for_text(page, "#card", "Trained on simulated nuclei")
    choose(page, "#model", "LR (lr)")
    page.locator("#card p", has_text="LR: version").wait_for()
    upload(page, NUCLEI[0])
    expected = predict(NUCLEI[0], "lr").iloc[0]
    wait_for_text(page, "#nucleus .call", expected["call"])
    shares = {name: f"{100 * expected[f'p_{name}']:.0f} %".replace(" ", "") for name in ("G1", "S", "G2", "M")}
    rows = [text.split("\t") for text in page.locator("#nucleus table.bars tr").all_inner_texts()]
    assert {name.strip(): share.replace(" ", "") for name, *_, share in rows} == shares
    assert page.locator("#nucleus img").first.get_attribute("alt")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Pixel size in").fill("0.4")
    page.get_by_role("button", name="Predict again").click()
    area_um2 = predict(NUCLEI[0], "lr", pixel_size_um=0.4).iloc[0]["area_um2"]
    wait_for_text(page, "#nucleus", f"Area {area_um2:.0f} µm²")
    assert page.locator("#message [role=alert]").count() == 0
    assert page.locator("#overlay img").get_attribute("alt")


def test_a_field_is_counted_listed_clicked_corrected_and_saved(page, field_file, tmp_path, monkeypatch):
    upload(page, field_file)
    table = table_of_command(monkeypatch, tmp_path, field_file)
    expected = pd.read_csv(io.BytesIO(table), keep_default_na=False)
    wait_for_text(page, "#message", f"{field_file.name}: {len(expected)} nuclei")
    assert not list(Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*.tif"))
    assert saved_table(page) == table and expected["confidence"].astype(float).notna().all()

    wait_for_text(page, "#counts", f"{len(expected)} nuclei in")
    page.locator("#histogram canvas, #histogram svg.marks").first.wait_for()
    chosen = page.get_by_test_id("cell-2-0").inner_text().strip()
    page.get_by_test_id("cell-2-1").click()
    wait_for_text(page, "#nucleus", f"Nucleus {chosen} of")
    is_open = expected["review"].str.contains("uncertain") & (expected["prediction_set"].str.count(";") == 1)
    nucleus = expected[is_open].iloc[-1]
    picture = page.locator("#overlay img")
    scale = picture.bounding_box()["width"] / 300
    picture.click(position={"x": scale * nucleus["centroid_x_px"], "y": scale * nucleus["centroid_y_px"]})
    wait_for_text(page, "#nucleus", f"Nucleus {nucleus['nucleus_id']} of")
    could_be = nucleus["prediction_set"].split(";")
    wait_for_text(page, ".sure", f"{100 * nucleus['confidence']:.0f} % sure, could be {' or '.join(could_be)}")
    wait_for_text(page, "#nucleus .warning", f"unsure whether {nucleus['call']} or")

    page.locator("#explain").click()
    page.locator("#nucleus figure").nth(1).wait_for()
    page.locator("#said").get_by_label("M", exact=True).check()
    link = page.get_by_role("link", name="1 correction to train from")
    link.wait_for()
    with page.expect_download() as download:
        link.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        manifest = pd.read_csv(io.BytesIO(archive.read("manifest.csv")))
    assert manifest[["label", "nucleus_id"]].to_numpy().tolist() == [["M", nucleus["nucleus_id"]]]
    choose(page, "#wanted", "Corrected by you")
    page.wait_for_function("document.querySelectorAll('#table [role=row].virtual-row').length === 1")
    assert page.get_by_test_id("cell-0-0").inner_text().strip() == str(nucleus["nucleus_id"])


def test_the_table_is_sorted_and_searched_and_a_click_still_shows_the_right_nucleus(page, field_file):
    upload(page, field_file)
    expected = predict(field_file).set_index("nucleus_id")
    page.get_by_test_id("cell-0-0").wait_for()
    doubtful_first = shown_nuclei(page)
    surest = expected["confidence"][doubtful_first].to_numpy()
    is_doubtful = (expected["review"] != "")[doubtful_first].to_numpy()
    assert sorted(is_doubtful, reverse=True) == is_doubtful.tolist() and is_doubtful.any() and not is_doubtful.all()
    assert np.all(np.diff(surest[is_doubtful]) >= 0) and np.all(np.diff(surest[~is_doubtful]) >= 0)

    heading = page.locator("#table").get_by_role("columnheader", name="Area")
    for turn in (1, -1):
        heading.click()
        page.locator(f"#table [data-order={'rising' if turn > 0 else 'falling'}]").wait_for()
        page.locator("#table .sort-indicator").wait_for()
        first_number = "() => document.querySelector('#table .virtual-row [role=gridcell]').innerText.trim()"
        page.wait_for_function(f"first => ({first_number})() !== first", arg=str(doubtful_first[0]))
        by_area = shown_nuclei(page)
        assert np.all(turn * np.diff(expected["area_um2"][by_area].round()) >= 0) and by_area != doubtful_first
    lines = page.locator("#table .virtual-row")
    lines.nth(1).get_by_role("gridcell").nth(1).click()
    wait_for_text(page, "#nucleus .name", f"Nucleus {by_area[1]} of")
    page.get_by_title("Enter text to search").fill("edge")
    page.wait_for_function(ALL_LINES_SAY_EDGE)
    at_edge = shown_nuclei(page)
    assert 3 <= len(at_edge) < len(expected) and expected["flags"][at_edge].str.contains("edge").all()
    assert np.all(np.diff(expected["area_um2"][at_edge].round()) <= 0)
    lines.nth(2).get_by_role("gridcell").nth(1).click()
    wait_for_text(page, "#nucleus .name", f"Nucleus {at_edge[2]} of")
    page.get_by_title("Enter text to search").fill("")

    choose(page, "#order", "Most DNA first")
    page.locator("#table .sort-indicator").wait_for(state="detached")
    by_dna = expected["integrated_dna"].sort_values(ascending=False).index.tolist()
    wait_for_text(page, "#table .virtual-row >> nth=0", str(by_dna[0]))
    assert shown_nuclei(page) == by_dna[: len(shown_nuclei(page))]
    page.get_by_test_id("cell-0-1").click()
    wait_for_text(page, "#nucleus .name", f"Nucleus {by_dna[0]} of")
    page.get_by_role("button", name="Next nucleus").click()
    wait_for_text(page, "#nucleus .name", f"Nucleus {by_dna[1]} of")


def shown_nuclei(page) -> list[int]:
    """Return the numbers of the nuclei that the table lists, from the top."""
    lines = page.locator("#table .virtual-row").all()
    return [int(line.get_by_role("gridcell").first.inner_text()) for line in lines]


def test_broken_and_too_large_files_are_named_and_the_rest_is_shown(page, tmp_path):
    files = {
        "broken.png": NUCLEI[0].read_bytes()[:200],
        "large.png": png(1500, 1500),
        "good.png": NUCLEI[1].read_bytes(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    upload(page, *(tmp_path / name for name in files))
    problems = page.locator("#message [role=alert]").inner_text()
    assert "broken.png: it cannot be decoded" in problems and "large.png: it has 2 million pixels" in problems
    wait_for_text(page, "#nucleus", "of good.png")
    (tmp_path / "huge.tif").write_bytes(bytes(3 << 20))
    page.set_input_files("#upload input[type=file]", tmp_path / "huge.tif")
    page.get_by_text("exceed the maximum allowed size").wait_for()


def saved_table(page) -> bytes:
    """Return the file of all nuclei that the page gives to save."""
    with page.expect_download() as download:
        page.get_by_role("link", name="Table of all nuclei (CSV)").click()
    return Path(download.value.path()).read_bytes()


def table_of_command(monkeypatch, tmp_path, *paths, model="auto") -> bytes:
    """Return the file that `cellcycle predict --output` writes of images, called by their bare names."""
    for path in paths:
        shutil.copyfile(path, tmp_path / path.name)
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        run_predict([path.name for path in paths], model, output=Path("nuclei.csv"))
    return (tmp_path / "nuclei.csv").read_bytes()


def test_fifty_files_at_once_are_all_called_rightly_while_another_visitor_gets_theirs(
    browser, address, page, tmp_path, monkeypatch
):
    chosen, other = NUCLEI[:50], NUCLEI[-1]
    with watched_predictor(monkeypatch) as watched, visitor(browser, address) as second:
        page.set_input_files("#upload input[type=file]", chosen)
        upload(second, other)
        saved_by_other = saved_table(second)
        page.get_by_text(f"{len(chosen)} images: {len(chosen)} nuclei").wait_for()
    assert page.locator("#message [role=alert]").count() == 0
    assert 1 <= watched["at_once"] <= LIMITS.at_once and watched["most_bytes"] < 400e6
    assert saved_table(page) == table_of_command(monkeypatch, tmp_path, *chosen)
    assert saved_by_other == table_of_command(monkeypatch, tmp_path, other)
    assert not list(Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*.png"))


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}], indirect=True
)
def test_a_phone_shows_everything_without_scrolling_sideways(page):
    page.get_by_role("button", name="Try a simulated field").tap()
    page.locator("#nucleus .call").wait_for()
    page.get_by_test_id("cell-0-0").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_test_id("cell-0-0").tap()
    page.wait_for_function(NUCLEUS_IS_IN_SIGHT)
    assert page.evaluate("document.body.classList.contains('dark')")
    page.locator("#dark").tap()
    assert not page.evaluate("document.body.classList.contains('dark')")


def test_one_nucleus_is_shown_without_a_list(page):
    table, following = page.get_by_role("grid", name="Nuclei"), page.get_by_role("button", name="Next nucleus")
    for example, is_listed in (("nucleus", False), ("field", True), ("nucleus", False)):
        page.get_by_role("button", name=f"Try a simulated {example}").click()
        playwright.expect(table).to_be_visible(visible=is_listed)
        playwright.expect(following).to_be_visible(visible=is_listed)
        page.locator("#nucleus .call").wait_for()


def test_everything_can_be_named_and_reached_by_keyboard(page):
    page.get_by_role("button", name="Try a simulated field").focus()
    page.keyboard.press("Enter")
    page.locator("#nucleus .call").wait_for()
    named = [
        page.get_by_role("button", name="Click to upload or drop files"),
        page.get_by_role("combobox", name="2. Model"),
        page.get_by_role("region", name=re.compile(r"Nucleus \d+ of field_001")),
        page.get_by_role("slider", name="Brightness of the picture"),
        page.get_by_role("navigation", name="Downloads").get_by_role("link", name="Table of all nuclei (CSV)"),
        page.get_by_role("group", name="Is the call right?").get_by_role("radio", name="Not a nucleus"),
        page.get_by_role("button", name="What is the call based on?"),
        page.get_by_role("combobox", name="Order"),
        page.get_by_role("grid", name="Nuclei"),
        page.get_by_role("columnheader", name="Could be"),
        page.get_by_role("gridcell", name="unsure whether").first,
    ]
    for part in named:
        playwright.expect(part).to_have_count(1)
    page.locator("#next").focus()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea, a[href]')]
        .filter(e => e.checkVisibility() && !(e.innerText || e.ariaLabel || e.title || e.placeholder
            || e.getAttribute('aria-labelledby') || e.labels?.length || e.querySelector('img')?.alt))
        .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('[id]:not([id^=component])')?.id"))
    assert {"upload", "model", "next", "explain", "said", "table", "wanted"} <= reached
    assert np.all([page.locator("h1").count() == 1, page.locator("[role=status]").count() >= 1])

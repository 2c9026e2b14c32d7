"""The website in a real browser: what a visitor does with it, at a desk and with a phone."""

import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("gradio", reason="the extra `app` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from cellcycle.predict import predict  # noqa: E402
from cellcycle.predict.command import run_predict  # noqa: E402
from tests.test_app import NUCLEI, field_file, png, running  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")
__all__ = ["field_file"]


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
    """A visitor's page, loaded; the test fails where it asked another server for anything or met a script error."""
    options = {"viewport": {"width": 1280, "height": 900}} | getattr(request, "param", {})
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


def test_a_field_is_counted_listed_clicked_corrected_and_saved(page, field_file, tmp_path):
    upload(page, field_file)
    run_predict([str(field_file)], format_name="csv", output=tmp_path / "nuclei.csv")
    expected = pd.read_csv(tmp_path / "nuclei.csv")
    wait_for_text(page, "#message", f"{field_file.name}: {len(expected)} nuclei")
    assert not list(Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*.tif"))
    with page.expect_download() as download:
        page.get_by_role("link", name="Table of all nuclei (CSV)").click()
    saved = pd.read_csv(download.value.path())
    pd.testing.assert_frame_equal(saved.drop(columns="image"), expected.drop(columns="image"), check_exact=True)
    assert set(saved["image"]) == {field_file.name}

    wait_for_text(page, "#counts", f"{len(expected)} nuclei in")
    page.locator("#histogram canvas, #histogram svg.marks").first.wait_for()
    chosen = page.get_by_test_id("cell-2-0").inner_text().strip()
    page.get_by_test_id("cell-2-1").click()
    wait_for_text(page, "#nucleus", f"Nucleus {chosen} of")
    nucleus = expected.iloc[9]
    picture = page.locator("#overlay img")
    scale = picture.bounding_box()["width"] / 300
    picture.click(position={"x": scale * nucleus["centroid_x_px"], "y": scale * nucleus["centroid_y_px"]})
    wait_for_text(page, "#nucleus", f"Nucleus {nucleus['nucleus_id']} of")

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


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}], indirect=True
)
def test_a_phone_shows_everything_without_scrolling_sideways(page):
    page.get_by_role("button", name="Try a simulated nucleus").tap()
    page.locator("#nucleus .call").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.body.classList.contains('dark')")
    page.locator("#dark").tap()
    assert not page.evaluate("document.body.classList.contains('dark')")


def test_everything_can_be_named_and_reached_by_keyboard(page):
    page.get_by_role("button", name="Try a simulated nucleus").focus()
    page.keyboard.press("Enter")
    page.locator("#nucleus .call").wait_for()
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
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('[id]:not([id^=component])')?.id"))
    assert {"upload", "model", "next", "explain", "said", "table", "wanted"} <= reached
    assert np.all([page.locator("h1").count() == 1, page.locator("[role=status]").count() >= 1])

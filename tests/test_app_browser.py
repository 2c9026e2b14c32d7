"""The website in a real browser: what a visitor does with it, at a desk, by keyboard alone and with a phone."""

import io
import re
import shutil
import time
import zipfile
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("starlette", reason="the extra `app` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import tifffile  # noqa: E402

from cellcycle.app import fine_tune, worker  # noqa: E402
from cellcycle.images import write_image  # noqa: E402
from cellcycle.predict import predict  # noqa: E402
from cellcycle.predict.command import run_predict  # noqa: E402
from tests import in_child  # noqa: E402
from tests.app_states import BROWSERS, VIEWPORTS, WORKED, launch, plate, states, upload  # noqa: E402
from tests.test_app import ALONE, FIELD, NUCLEI, as_by_command, field_file, png, running  # noqa: E402

pytestmark = pytest.mark.slow
both = pytest.mark.parametrize("browser", BROWSERS, indirect=True)
__all__ = ["field_file"]
# A number and its sign are not parted by the end of a line.
PERCENT = "\N{NO-BREAK SPACE}%"
BRIGHTEST = """() => {
    const {width, height} = document.getElementById('photo');
    const {data} = document.getElementById('photo').getContext('2d').getImageData(0, 0, width, height);
    return data.reduce((most, value, k) => (k % 4 < 3 ? Math.max(most, value) : most), 0);
}"""
N_CORRECTIONS = """() => fetch('/api/visit', {method: 'POST'}).then(answer => answer.json())
    .then(({images}) => Object.keys(images[0].corrections).length)"""
HANDED_ON = """() => {
    const make = URL.createObjectURL.bind(URL);
    window.handed = new Promise((hand) => {
        URL.createObjectURL = (file) => (file.arrayBuffer().then((all) => hand([...new Uint8Array(all)])), make(file));
    });
}"""
# Where the words at the scale end, and the ground under them; drawn anew for that.
SCALE = """() => new Promise((tell) => {
    const drawing = CanvasRenderingContext2D.prototype, {fillRect, fillText} = drawing;
    let ground = 0;
    drawing.fillRect = function (x, y, width, height) {
        if (height === 32) ground = x + width;
        fillRect.call(this, x, y, width, height);
    };
    drawing.fillText = function (words, x, y) {
        if (words.includes('µm (')) tell([x + this.measureText(words).width, ground]);
        fillText.call(this, words, x, y);
    };
    document.getElementById('outlines').click();
})"""
LINES = """cells => cells.map((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return new Set([...range.getClientRects()].map(line => line.top)).size;
})"""
NAMELESS = """() => [...document.querySelectorAll('button, input, select, textarea, a[href], canvas[tabindex]')]
    .filter(e => e.checkVisibility() && !(e.innerText || e.ariaLabel || e.title || e.labels?.length))
    .map(e => e.outerHTML.slice(0, 200))"""


def await_told(page, script, least):
    """Wait until a script tells more than `least`: the page lets no text be run that `wait_for_function` polls with."""
    for _ in range(1200):
        if page.evaluate(script) > least:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"no more than {least} after a minute: {script}")


@pytest.fixture(scope="module")
def site_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("site") / "page"


@pytest.fixture(scope="module")
def address(site_folder):
    with running(site_folder, ALONE) as address:
        yield address


@pytest.fixture(scope="module")
def browsers():
    """Browsers by their kind, each started by the first test that asks for it, or None."""
    with playwright.sync_playwright() as tool, ExitStack() as started:

        @cache
        def browser_of(kind):
            browser = launch(tool, kind)
            return browser and started.enter_context(browser)

        yield browser_of


@pytest.fixture
def browser(browsers, request):
    kind = getattr(request, "param", "chromium")
    return browsers(kind) or pytest.skip(f"no {kind} is installed (Debian: apt-get install {BROWSERS[kind][0][0]})")


@pytest.fixture(scope="module")
def window(browsers):
    """A window of Chromium that stays open: to open one takes longer than all that most tests do."""
    with browsers("chromium").new_context(accept_downloads=True, viewport=VIEWPORTS["desk"]) as context:
        context.new_page()
        yield context


@pytest.fixture
def page(browser, address, request):
    """A visitor's page, loaded; see `visitor`."""
    options, is_chromium = getattr(request, "param", {}), browser.browser_type.name == "chromium"
    window = request.getfixturevalue("window") if is_chromium and not options else None
    with visitor(browser, address, window, **options) as page:
        yield page


@contextmanager
def visitor(browser, address, window=None, **options):
    """Load the page for a visitor; fails where it asked another server for anything or met an error.

    In a `window`, of which nothing is left for the next visitor, or in one of its own.
    """
    context = window or browser.new_context(accept_downloads=True, **{"viewport": VIEWPORTS["desk"]} | options)
    page, outside, errors = context.new_page(), [], []

    def accept(dialog):
        dialog.accept()

    # Reached by what fails alone: a busy computer is no fault of the page.
    page.set_default_timeout(60_000)
    page.on("request", lambda r: outside.append(r.url) if r.url.startswith("http") and address not in r.url else None)
    context.on("dialog", accept)
    page.on("pageerror", lambda error: errors.append(str(error)))
    # Also what the policy of the page forbids is told here.
    page.on(
        "console", lambda m: errors.append(m.text) if m.type == "error" and "Failed to load" not in m.text else None
    )
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    yield page
    if window is None:
        context.close()
    else:
        first, *tabs = context.pages
        for tab in tabs:
            tab.close()
        context.remove_listener("dialog", accept)
        context.set_offline(False)
        context.clear_cookies()
        everything = {"origin": address, "storageTypes": "all"}
        context.new_cdp_session(first).send("Storage.clearDataForOrigin", everything)
    assert outside == [] and errors == []


def listed(page) -> list[int]:
    """Return the numbers of the nuclei that the table shows, from the top."""
    return [int(text) for text in page.locator("#table tbody tr[aria-rowindex] td:first-child").all_inner_texts()]


def chosen(page) -> list[int]:
    return [int(text) for text in page.locator("#table tr.chosen td:first-child").all_inner_texts()]


def name_of(page) -> str:
    return page.locator("#nucleus .name").inner_text()


@both
def test_a_visitor_sees_the_phase_of_a_nucleus_and_what_the_model_is_good_for(page):
    page.get_by_role("button", name="About it").click()
    page.locator("#card", has_text="Its limits").wait_for()
    page.locator("#card", has_text="Trained on simulated nuclei").wait_for()
    page.keyboard.press("Escape")
    page.select_option("#model", "lr")
    upload(page, NUCLEI[0])
    expected = predict(NUCLEI[0], "lr").iloc[0]
    assert page.locator("#nucleus .call").inner_text().strip() == expected["call"]
    rows = [text.split("\t") for text in page.locator("#nucleus table.bars tr").all_inner_texts()]
    shown = {name.strip(): share.strip() for name, *_, share in rows}
    assert shown == {name: f"{100 * expected[f'p_{name}']:.0f}{PERCENT}" for name in ("G1", "S", "G2", "M")}
    page.locator("#nucleus", has_text="µm² (guessed)").wait_for()
    assert not re.search(r"\d (N|µm)", page.locator("#nucleus").text_content())  # parted by the end of a line
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Pixel size in").fill("0,4")
    page.get_by_role("button", name="Call the images again").click()
    area_um2 = predict(NUCLEI[0], "lr", pixel_size_um=0.4).iloc[0]["area_um2"]
    page.locator("#nucleus", has_text=f"Area {area_um2:.0f} µm²").wait_for()
    assert "guessed" not in page.locator("#nucleus").inner_text() + page.locator("#table").inner_text()


@both
def test_a_field_is_counted_clicked_and_saved(page, field_file, tmp_path, monkeypatch):
    upload(page, field_file)
    expected = predict(field_file)
    shares = [f"{name} {100 * (expected['call'] == name).mean():.0f}{PERCENT}" for name in ("G1", "S", "G2", "M")]
    if without := (expected["call"] == "").mean():
        shares.append(f"no call {100 * without:.0f}{PERCENT}")
    doubtful = (expected["review"] != "").sum()
    told = page.locator("#told").inner_text()
    assert told == f"{', '.join(shares)}; {doubtful} of {len(expected)} worth a look"
    nucleus = expected[expected["prediction_set"].str.count(";") == 1].iloc[-1]
    box, size = (
        page.locator("#viewer").bounding_box(),
        min(page.locator("#viewer").bounding_box()[k] for k in ("width", "height")),
    )
    left, top = box["x"] + (box["width"] - size) / 2, box["y"] + (box["height"] - size) / 2
    page.mouse.click(left + size / 300 * nucleus["centroid_x_px"], top + size / 300 * nucleus["centroid_y_px"])
    assert name_of(page) == f"Nucleus {nucleus['nucleus_id']} of {field_file.name}"
    assert chosen(page) == [nucleus["nucleus_id"]]
    could_be = nucleus["prediction_set"].replace(";", " or ")
    assert page.locator(".sure").inner_text() == f"{100 * nucleus['confidence']:.0f}{PERCENT} sure, could be {could_be}"
    page.locator("#table").focus()
    for _ in expected.index:
        page.keyboard.press("ArrowUp")
        told = page.locator("#nucleus").inner_text()
        assert "no other phase is likely" not in told or "Worth a look" not in told
    page.locator("#explain").click()
    page.locator("#nucleus figure").nth(1).wait_for()
    shutil.copyfile(field_file, tmp_path / field_file.name)
    monkeypatch.chdir(tmp_path)
    run_predict([field_file.name], output=Path("nuclei.csv"))
    assert as_by_command(saved(page, "#save-table").decode()) == (tmp_path / "nuclei.csv").read_text("utf-8")
    assert saved(page, "#save-picture")[:4] == b"\x89PNG"


def saved(page, link) -> bytes:
    if page.context.browser.browser_type.name == "firefox":
        # It saves what a page has fetched, but its driver does not tell: taken where the page hands it on.
        page.evaluate(HANDED_ON)
        page.locator(link).click()
        return bytes(page.evaluate("window.handed"))
    with page.expect_download() as download:
        page.locator(link).click()
    return Path(download.value.path()).read_bytes()


def test_histogram_picture_table_and_gallery_select_together(page, field_file):
    upload(page, field_file)
    expected = predict(field_file).set_index("nucleus_id")
    assert "Left and right select a bar, with shift several." in page.locator("#plot").get_attribute("aria-label")
    plot = page.locator("#plot").bounding_box()
    page.mouse.move(plot["x"] + 40, plot["y"] + 60)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * 0.5, plot["y"] + 90)
    page.mouse.up()
    words = page.locator("#plot-words").inner_text()
    page.select_option("#wanted", "chosen")
    picked = set(listed(page))
    assert f"{len(picked)} nuclei selected" in words and 2 <= len(picked) < len(expected)
    assert expected["integrated_dna"][list(picked)].max() < expected["integrated_dna"].drop(list(picked)).min()
    page.get_by_role("button", name="Gallery").click()
    assert page.locator(".tile[aria-selected=true]").count() == len(picked)
    page.locator("#wanted").select_option("all")
    page.locator(".tile").nth(2).click()
    page.get_by_role("button", name="Table").click()
    assert f"Nucleus {chosen(page)[0]} of" in name_of(page) and len(chosen(page)) == 1
    box = page.locator("#viewer").bounding_box()
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.select_option("#wanted", "chosen")
    assert expected["centroid_y_px"][listed(page)].max() < 170 and len(listed(page)) > 5


def test_the_list_is_ordered_and_filtered(page, field_file):
    upload(page, field_file)
    expected = predict(field_file).set_index("nucleus_id")
    first = listed(page)
    # A mitosis too many has probabilities, but no call to be sure of.
    sure = expected["confidence"].fillna(expected.filter(regex="^p_").max(axis=1)).fillna(0)
    surest, is_doubtful = sure[first].to_numpy(), (expected["review"] != "")[first].to_numpy()
    assert sorted(is_doubtful, reverse=True) == is_doubtful.tolist()
    assert np.all(np.diff(surest[is_doubtful]) >= -1e-4)
    for turn in (-1, 1):
        page.locator("#table th button", has_text="Area").click()
        assert np.all(turn * np.diff(expected["area_um2"][listed(page)].round(1)) >= 0)
    page.select_option("#order", "typical G1")
    assert expected["call"][listed(page)[0]] == "G1"
    page.select_option("#wanted", "S")
    assert set(expected["call"][listed(page)]) == {"S"}
    page.locator("#phases button", has_text="S ").click()
    assert page.locator("#phases button", has_text="S ").get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize(("browser", "most"), [("chromium", 30), ("firefox", 5)], indirect=["browser"])
def test_a_hundred_nuclei_are_labelled_by_keyboard_alone_and_survive_a_reload(page, most):
    page.get_by_role("button", name="Try a simulated field").focus()
    page.keyboard.press("Enter")
    page.locator("#nucleus .call").wait_for()
    n_nuclei = int(page.locator("#counted").inner_text().split()[0])
    assert n_nuclei >= 80
    # One stroke a nucleus, which leads on to the next.
    n_labelled = min(n_nuclei, most)
    for k in range(n_labelled):
        page.keyboard.press("1234x"[k % 5])
    assert f"{n_labelled} labelled (" in page.locator("#told").inner_text()
    page.keyboard.press("z")
    assert f"{n_labelled - 1} labelled (" in page.locator("#told").inner_text()
    # Many at a time: all of them in two strokes.
    page.locator("#table").focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("3")
    told = f"{n_nuclei} labelled ("
    assert told in page.locator("#told").inner_text()
    page.reload()  # at once: what was not yet sent goes first
    page.locator("#told", has_text=told).wait_for()
    page.keyboard.press("1")
    page.locator("#open-corrections").click()
    labels = pd.read_csv(io.BytesIO(saved(page, "#save-labels")))
    page.get_by_role("button", name="Close").click()
    assert len(labels) == n_nuclei and labels["label"].value_counts().to_dict() == {"G2": n_nuclei - 1, "G1": 1}
    page.get_by_role("button", name="Forget all").click()
    page.locator("#drop").wait_for()
    page.reload()
    page.locator("#drop").wait_for()


def test_corrections_train_a_model_that_calls_again_and_are_taken_again(
    page, site_folder, field_file, tmp_path, monkeypatch
):
    pytest.importorskip("torch")
    # How a model learns is asked in `test_app_loop`.
    monkeypatch.setattr(fine_tune, "start", worker.start)
    monkeypatch.setattr(fine_tune, "fine_tune", in_child.fine_tune_when_told)
    page.select_option("#model", "lr")
    upload(page, field_file)
    n_nuclei = len(listed(page))
    page.select_option("#order", "number")
    # Confirm and correct, half and half: enough of two phases.
    page.locator("#table").focus()
    page.keyboard.press("Home")
    for k in range(n_nuclei):
        page.keyboard.press("12"[k % 2])
    page.locator("#open-corrections").click()
    assert f"{n_nuclei} of {n_nuclei} nuclei: G1" in page.locator("#corrections-told").inner_text()
    table = tmp_path / "corrections.csv"
    table.write_bytes(saved(page, "#save-labels"))
    page.locator("#train").click()
    page.locator("#training").wait_for()
    page.locator("#stop").click()
    page.locator("#training").wait_for(state="hidden")
    page.locator("#train").click()
    page.locator("#training").wait_for()
    # It goes on while the page is loaded anew, and is found again.
    page.reload()
    page.wait_for_selector("body[data-ready]")
    while not (work := site_folder / ".training" / "work").exists():
        page.wait_for_timeout(20)
    (work / "go").touch()
    page.locator("#open-corrections").click()
    page.locator("#trained .call", has_text=f"Right before 50{PERCENT}, after 60{PERCENT}").wait_for()
    assert f"95{PERCENT} interval" in page.locator("#trained").inner_text()
    # The page fetches it: where it is refused, the page is not left.
    assert page.locator("a#save-model[download]").count() == 1
    with zipfile.ZipFile(io.BytesIO(saved(page, "#save-model"))) as archive:
        archive.extractall(tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    page.locator("#call-own").click()
    page.locator("#note", has_text=f"Model: {folder.name}").wait_for()
    expected = predict(field_file, folder)["call"]
    assert f"{n_nuclei} labelled (" in page.locator("#told").inner_text()
    rows = pd.read_csv(io.BytesIO(saved(page, "#save-table")), keep_default_na=False)
    assert rows["call"].tolist() == expected.tolist() != predict(field_file, "lr")["call"].tolist()
    page.get_by_role("button", name="Forget all").click()
    page.locator("#drop").wait_for()
    page.locator("body:not([inert]) #drop").wait_for()
    upload(page, field_file)
    assert page.locator("#open-corrections").is_hidden() and page.locator("#model option[value='/own']").count() == 0
    upload(page, table)
    page.locator("#told", has_text=f"{n_nuclei} labelled (").wait_for()


def test_everything_is_reached_by_keyboard_and_has_a_name(page, field_file):
    upload(page, field_file)
    # The first one to look at may be without a call, which nothing explains; the last one has one.
    page.locator("#table").focus()
    page.keyboard.press("End")
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(70):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"model", "open-about", "open-settings", "add", "save-table", "save-picture", "forget", "theme", "image",
            "brightness", "outlines", "viewer", "zoom-in", "explain", "plot", "plot-kind", "as-gallery", "wanted",
            "order", "select-all", "table"} <= reached  # fmt: skip
    page.locator("#plot").focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    assert "selected" in page.locator("#plot-words").inner_text()
    page.locator("#table").focus()
    page.keyboard.press("Home")
    before = name_of(page)
    page.keyboard.press("ArrowDown")
    assert name_of(page) != before
    page.locator("#viewer").focus()
    for key in ("+", "ArrowLeft", "-", "0"):
        page.keyboard.press(key)


def test_axe_finds_no_violation_in_any_state_and_all_has_a_name(page, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    (tmp_path / "broken.png").write_bytes(b"x")
    fields = plate(tmp_path / "plate", tifffile.imread(FIELD))
    # Put there by the tool, which the page's own policy does not let a stranger do; once, for it is long.
    page.evaluate(axe.axe_script)
    for state in states(page, fields, tmp_path / "broken.png"):
        # In the dark the colours alone are others.
        for scheme, rules in (("dark", {"runOnly": ["color-contrast"]}), ("light", {})):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("asked => axe.run(asked)", rules | {"resultTypes": ["violations"]})["violations"]
            told = [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in found]
            assert (state, scheme, told) == (state, scheme, [])
        assert (state, page.evaluate(NAMELESS)) == (state, [])
        if state == "training":
            # What cannot be pressed does not look as if it could.
            assert float(page.locator("#train").evaluate("button => getComputedStyle(button).opacity")) < 1


def test_a_gallery_makes_the_tiles_in_sight_and_reaches_its_last_by_key(page):
    page.set_viewport_size({"width": 420, "height": 400})
    upload(page, FIELD)
    page.locator("#as-gallery").click()
    gallery = page.locator("#gallery")
    gallery.focus()
    n_nuclei = int(page.locator("#counted").inner_text().split()[0])
    assert n_nuclei > 60 and page.locator(".tile").count() < n_nuclei / 2
    page.keyboard.press("End")
    last, room = page.locator(".tile.here"), gallery.bounding_box()
    assert last.get_attribute("aria-posinset") == last.get_attribute("aria-setsize") == str(n_nuclei)
    assert room["y"] <= last.bounding_box()["y"] <= room["y"] + room["height"] - last.bounding_box()["height"]
    page.keyboard.press("2")
    page.locator(".tile.here", has_text="✓ S").wait_for()
    page.keyboard.press("Home")
    assert page.locator(".tile.here").get_attribute("aria-posinset") == "1"
    gallery.evaluate("e => e.scrollTo(0, e.scrollHeight)")
    page.locator(".tile", has_text="✓ S").wait_for()


@pytest.fixture
def two(page, tmp_path):
    """Return the files of a field with nuclei and one without, and give the first."""
    pixels = tifffile.imread(FIELD)
    write_image(tmp_path / "some.tif", pixels[:300, :300], 0.325)
    write_image(tmp_path / "none.tif", np.random.default_rng(0).integers(300, 340, (200, 200)).astype(np.uint16), 0.325)
    upload(page, tmp_path / "some.tif")
    return tmp_path / "some.tif", tmp_path / "none.tif"


def test_what_is_shown_is_what_is_labelled(page, two):
    page.locator("#as-gallery").click()
    tiles = page.locator(".tile")
    for k, keys in ((0, []), (1, ["ControlOrMeta"]), (1, ["ControlOrMeta"])):
        tiles.nth(k).click(modifiers=keys)
    page.keyboard.press("2")
    assert tiles.nth(0).locator("span").inner_text() == "✓ S"
    # What a filter leaves out is no longer in focus, and the keys go by what is.
    page.locator("#gallery").focus()
    page.keyboard.press("End")
    before = name_of(page)
    page.select_option("#wanted", "said")
    assert page.locator("#counted").inner_text().startswith("1 listed") and name_of(page) != before
    assert page.locator(".tile.here").count() == 1


def test_a_range_begins_where_the_keys_or_the_last_click_went(page, two):
    page.locator("#as-gallery").click()
    tiles, chosen_ones = page.locator(".tile"), page.locator(".tile[aria-selected=true]")
    tiles.nth(0).click()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    tiles.nth(5).click(modifiers=["Shift"])
    assert chosen_ones.count() == 3
    tiles.nth(1).click(modifiers=["Shift"])
    assert chosen_ones.count() == 3
    page.select_option("#order", "number")
    page.keyboard.press("Escape")
    begin = int(page.locator(".tile.here").get_attribute("aria-posinset")) - 1
    tiles.nth(2).click(modifiers=["Shift"])
    assert chosen_ones.count() == abs(begin - 2) + 1 and tiles.nth(2).get_attribute("aria-selected") == "true"


def test_an_image_without_nuclei_is_shown_and_takes_nothing_from_the_others(page, two):
    bars = page.locator("#plot").get_attribute("aria-label")
    upload(page, two[1])
    assert page.locator("#plot").get_attribute("aria-label") == bars
    page.select_option("#image", label="none.tif (0 nuclei)")
    assert page.locator("#nucleus").inner_text() == "No nucleus."
    page.locator("#remove").click()
    page.locator("#image option").nth(1).wait_for(state="detached")
    page.locator("#forget").click()
    page.locator("body:not([inert]) #drop").wait_for()
    upload(page, two[1])
    assert page.locator("#image").input_value() and "null" not in page.locator("#save-picture").get_attribute("href")
    assert page.locator("#told").inner_text() == "No nucleus was found."
    assert page.locator("#counted").inner_text() == "0 listed"
    await_told(page, BRIGHTEST, 0)  # painted with the next frame


def test_without_a_connection_nothing_seems_forgotten(page, two):
    page.context.set_offline(True)
    page.locator("#forget").click()
    page.locator("#problems", has_text="Nothing was forgotten").wait_for()
    page.locator("#remove").click()
    page.locator("#problems li").nth(1).wait_for()
    assert page.locator("#image option").count() == 1 and page.locator("#bench").is_visible()
    page.context.set_offline(False)
    page.locator("#forget").click()
    page.locator("body:not([inert]) #drop").wait_for()


def test_a_picture_keeps_its_place_and_a_button_its_focus_while_nuclei_are_labelled(page, two):
    scale = "document.getElementById('photo').getContext('2d').getTransform().a"
    for _ in range(3):
        page.locator("#zoom-in").click()
    page.locator("#nucleus button", has_text="G2").focus()
    page.wait_for_timeout(100)
    zoomed = page.evaluate(scale)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.set_viewport_size({"width": 1240, "height": 800})
    page.wait_for_timeout(100)
    assert page.evaluate(scale) == zoomed
    assert page.evaluate("document.activeElement.textContent") == "3G2"
    assert "2 labelled (" in page.locator("#told").inner_text()


def test_a_file_that_fails_hides_no_other_and_hostile_names_are_text(page, tmp_path):
    evil = "<img src=x onerror=alert(1)>.png"
    files = {"broken.png": NUCLEI[0].read_bytes()[:200], "large.png": png(1500, 1500), evil: NUCLEI[1].read_bytes(),
             "=cmd|' C'!A0.png": b"x", "huge.tif": bytes(3 << 20)}  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    page.on("dialog", lambda _: pytest.fail("a name was run as a script"))
    upload(page, *(tmp_path / name for name in files))
    problems = page.locator("#problems li").all_inner_texts()
    assert len(problems) == 4 and any("huge.tif" in text for text in problems), problems
    assert any("large.png: it has 2 million pixels" in text for text in problems), problems
    assert name_of(page) == f"Nucleus 1 of {evil}" and page.locator("main img").count() == 0
    page.get_by_role("button", name="Gallery").click()
    page.locator(".tile").first.wait_for()
    assert evil in page.locator("#image").inner_text() and page.locator("main img").count() == 0


def test_a_plate_map_dropped_with_its_images_compares_conditions(page, tmp_path):
    upload(page, *plate(tmp_path, tifffile.imread(FIELD)))
    page.locator("#open-experiment").click()
    page.locator("#shares tr", has_text="drug").wait_for()
    noted = page.locator("#together").text_content()
    assert "2 fields of the plate map" in noted
    page.reload()
    page.locator("#together").wait_for()
    assert page.locator("#together").text_content() == noted
    page.locator("#open-experiment").click()
    page.locator("#shares tr", has_text="drug").wait_for()
    # Called again, an image keeps its picture.
    await_told(page, BRIGHTEST, 100)
    assert "Phases by condition" in page.locator("#experiment").inner_text()
    saved(page, "#save-report")  # compared with nothing
    page.select_option("#control", "control")
    with zipfile.ZipFile(io.BytesIO(saved(page, "#save-report"))) as archive:
        assert b"control" in archive.read("report.html")
    page.locator("#drop-map").click()
    page.reload()  # at once: what was under way is taken up again
    page.locator("#open-experiment").click()
    page.locator("#shares tr", has_text="A01").wait_for()
    assert "Phases by well or image" in page.locator("#experiment").inner_text()


def test_an_image_that_is_refused_beside_others_shows_no_nuclei_any_longer(page, two, tmp_path):
    shutil.copy(two[0], tmp_path / "A01_GFP.tif")
    write_image(tmp_path / "A01_DAPI.tif", tifffile.imread(FIELD)[400:, 400:], 0.325)
    upload(page, tmp_path / "A01_GFP.tif")
    upload(page, tmp_path / "A01_DAPI.tif")
    page.locator("#image option", has_text="A01_GFP.tif (0 nuclei)").wait_for(state="attached")
    words = "A01_GFP.tif: by its name it is a file of another channel; give the files of DNA alone"
    assert words in page.locator("#problems").inner_text() and words in page.locator("#note").inner_text()
    page.reload()
    page.locator("#note", has_text=words).wait_for()
    assert len(page.locator("#image option").all()) == 3


def test_a_plate_map_is_of_a_single_image_too(page, tmp_path):
    field, _, plate_map = plate(tmp_path, tifffile.imread(FIELD))
    upload(page, field, plate_map)
    assert set(pd.read_csv(io.BytesIO(saved(page, "#save-table")))["condition"]) == {"control"}


def test_many_images_come_one_by_one_and_can_be_cancelled(page):
    let = []
    # The fourth and all others never arrive.
    page.route("**/api/images?*", lambda route: let.append(route) or (len(let) < 4 and route.continue_()))
    page.set_input_files("#files", NUCLEI[:40])
    page.locator("#progress-words", has_text="3 of 40 done, about").wait_for()
    playwright.expect(page.locator("#image option")).to_have_count(3)
    page.get_by_role("button", name="Cancel").click()
    page.locator("#problems", has_text="37 of 40 were not done").wait_for()
    page.locator("#progress").wait_for(state="hidden")
    assert "of 3 in 3 images" in page.locator("#told").inner_text()
    page.get_by_role("button", name="Remove this image").click()
    playwright.expect(page.locator("#image option")).to_have_count(2)


def test_what_is_given_while_images_are_worked_on_comes_next_and_hides_no_problem_of_theirs(page, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"x")
    let = []
    page.route("**/api/images?*", lambda route: let.append(route) or (len(let) < 3 and route.continue_()))
    page.set_input_files("#files", [tmp_path / "broken.png", *NUCLEI[3:5]])
    page.locator("#problems", has_text="broken.png").wait_for()
    playwright.expect(page.locator("#image option")).to_have_count(1)
    page.set_input_files("#files", NUCLEI[1:3])
    page.locator("#due", has_text="2 more come next.").wait_for()
    # What calls all again would be of images that are still to come.
    page.select_option("#model", "nagao6")
    page.locator("#problems", has_text="Work is still under way").wait_for()
    page.locator("#cancel").click()
    page.locator("#problems", has_text="2 files given since were not begun").wait_for()
    page.locator("#progress").wait_for(state="hidden")
    assert "broken.png" in page.locator("#problems").inner_text() and page.locator("#due").inner_text() == ""
    page.set_input_files("#files", NUCLEI[0])
    page.set_input_files("#files", NUCLEI[1])
    page.locator("#due", has_text="1 more comes next.").wait_for()
    page.unroute_all()
    page.reload()
    names = f"{NUCLEI[0].name}, {NUCLEI[1].name}"
    page.locator("#problems", has_text=f"give these again: {names}").wait_for()
    page.route("**/api/images?*", lambda route: (time.sleep(1), route.continue_()))
    for file in NUCLEI[:2]:
        page.set_input_files("#files", file)
    playwright.expect(page.locator("#image option")).to_have_count(3)
    page.locator("#progress").wait_for(state="hidden")


def test_a_page_that_is_still_loading_takes_files_and_does_not_look_as_if_all_were_forgotten(page):
    """What was given before the page knew its visitor was refused; and it showed its start until all had come."""
    upload(page, NUCLEI[0])
    for count, address in enumerate(("**/api/visit", "**/nuclei.json"), start=2):
        page.route(address, lambda route: None)
        page.reload()
        if count == 3:
            page.locator("#progress", has_text="Getting ready").wait_for()
            assert page.locator("#start").is_hidden()
        page.set_input_files("#files", NUCLEI[count])
        page.locator("#due", has_text="1 more comes next.").wait_for()
        page.unroute(address)
        playwright.expect(page.locator("#image option")).to_have_count(count)
        page.locator("#progress").wait_for(state="hidden")
    page.route("**/api/visit", lambda route: route.abort())
    page.reload()
    page.locator("#problems", has_text="Load the page again when it is back").wait_for()


def test_where_all_images_are_gone_the_keyboard_is_at_the_first_step(page, two):
    for button in ("#remove", "#forget"):
        page.locator(button).focus()
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#choose")).to_be_focused()
        upload(page, two[0])


def test_a_page_that_may_not_run_says_so(browser, address):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(address)
        assert page.locator("noscript").is_visible()


def test_a_browser_that_keeps_nothing_is_told_why_the_page_does_not_begin(browser, address):
    with browser.new_context() as context:
        context.add_init_script("""Object.defineProperty(window, 'localStorage', {get() {
            throw new DOMException('denied', 'SecurityError');
        }})""")
        page = context.new_page()
        page.goto(address)
        page.locator("#problems", has_text="allow cookies and site data for this address").wait_for(timeout=20_000)


def test_what_is_said_of_twenty_thousand_nuclei_reaches_the_server(page):
    """A browser sends no large body once its page is left, and fails at once where it is asked to."""
    said = "Object.fromEntries(Array.from({length: 20000}, (_, k) => [k, 'none']))"
    sent = f"import('/static/api.js').then((api) => api.correct('x'.repeat(22), '', {said})).catch((e) => e.status)"
    assert page.evaluate(sent) == 404


def test_a_lost_connection_loses_nothing(page, field_file, tmp_path):
    """Images that are on their way, and what is said of nuclei, arrive when the server is there again."""
    lost = []
    # The answer is lost, not the image; then the connection itself.
    page.route("**/api/images?*", lambda route: (route.fetch(), route.abort()) if not lost else route.continue_())
    page.on("requestfailed", lambda request: lost.append(request.url))
    upload(page, field_file)
    assert len(lost) == 1 and page.locator("#image option").count() == 1 and page.locator("#problems").is_hidden()
    page.context.set_offline(True)
    page.keyboard.press("1")
    page.locator("#unsaved", has_text="Your corrections are not saved yet").wait_for()
    page.locator("#open-corrections").click()
    page.locator("#train").click()
    page.locator("#trained", has_text="not saved yet").wait_for()
    page.keyboard.press("Escape")
    page.context.set_offline(False)
    page.locator("#unsaved").wait_for(state="hidden")
    page.reload()
    page.locator("#told", has_text="1 labelled (").wait_for()


def test_a_proxy_may_have_the_page_in_a_folder(browser, address, field_file):
    """As `proxy_pass` of nginx does, the folder is taken off each address."""
    with visitor(browser, address) as page:
        page.context.route("**/*", lambda route: route.continue_(url=route.request.url.replace("/cells/", "/", 1))
                           if "/cells/" in route.request.url else route.abort())  # fmt: skip
        page.goto(f"{address}/cells/")
        page.wait_for_selector("body[data-ready]")
        upload(page, field_file)
        await_told(page, BRIGHTEST, 100)
        page.keyboard.press("1")
        page.locator("#open-corrections", has_text="1 correction").wait_for()
        with page.expect_download() as save:
            page.locator("#save-picture").click()
        assert save.value.suggested_filename.endswith("_phases.png")
        page.reload()
        page.locator("#told", has_text="1 labelled (").wait_for()


def test_a_lost_upload_is_not_taken_for_another_image_of_its_name(page, tmp_path):
    """Another tab gave one of the same name meanwhile."""
    again = page.context.new_page()
    again.goto(page.url)
    again.wait_for_selector("body[data-ready]")
    for folder, level in (("a", 300), ("b", 400)):
        (tmp_path / folder).mkdir()
        noise = np.random.default_rng(level).integers(level, level + 40, (200, 200))
        write_image(tmp_path / folder / "same.tif", noise.astype(np.uint16), 0.325)
    upload(page, tmp_path / "a" / "same.tif")
    lost = []
    again.route("**/api/images?*", lambda route: route.continue_() if lost else (lost.append(1), route.abort()))
    upload(again, tmp_path / "b" / "same.tif")
    assert again.locator("#image option").all_inner_texts() == ["same (2).tif (0 nuclei)"]


def test_settings_outlive_a_reload_and_a_removed_image_is_forgotten_by_the_others(page, two):
    page.select_option("#model", "nagao6")
    page.locator("#note", has_text="Model: nagao6").wait_for()
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.input_value("#model") == "nagao6"
    # It may have been left before the last image was called.
    page.locator("#progress").wait_for(state="hidden")
    upload(page, two[1])
    with page.expect_request("**/api/together?*") as asked:
        page.locator("#remove").click()
    assert "model=nagao6" in asked.value.url


def test_labels_of_another_model_are_set_aside_and_come_back_with_it(page, two):
    page.select_option("#order", "number")
    page.locator("#table").focus()
    for key in ("Home", *"3p112p1"):
        page.keyboard.press(key)
    page.locator("#told", has_text="3 labelled (").wait_for()
    page.select_option("#model", "mitocheck")
    page.locator("#aside", has_text="3 corrections do not fit this model").wait_for()
    page.locator("#progress").wait_for(state="hidden")
    assert "labelled" not in page.locator("#told").inner_text()
    # Nothing is undone that this model cannot say, and what it can say is kept.
    page.locator("#table").focus()
    page.keyboard.press("z")
    page.keyboard.press("1")
    page.locator("#told", has_text="; 1 labelled (").wait_for()
    rows = pd.read_csv(io.BytesIO(saved(page, "#save-table")), keep_default_na=False)
    assert list(filter(None, rows["corrected"])) == [page.locator("#phases button").first.get_attribute("data-key")]
    page.select_option("#model", "auto")
    page.locator("#told", has_text="3 labelled (").wait_for()
    page.locator("#aside", has_text="1 correction does").wait_for()
    page.locator("#progress").wait_for(state="hidden")
    # Called otherwise by another tab: of what is said here, one is none of its classes.
    key = page.locator("#image").input_value()
    page.evaluate("key => fetch(`/api/images/${key}/call?model=mitocheck`, {method: 'POST'})", key)
    page.locator("#table").focus()
    # What else was said is heard before the answer that tells how the image is called now.
    page.route("**/api/visit", lambda route: (time.sleep(0.5), route.continue_()))
    for key in ("End", "x", "p", "4"):
        page.keyboard.press(key)
    page.locator("#problems", has_text="its model has no such phase").wait_for()
    page.locator("#note", has_text="Model: mitocheck").wait_for()
    page.unroute("**/api/visit")
    page.locator("#told", has_text="2 labelled (").wait_for()
    # Found anew, nuclei have numbers that were those of others.
    page.locator("#open-settings").click()
    page.select_option("#kind", "nucleus")
    page.locator("#again").click()
    page.locator("#aside", has_text="corrections do").wait_for()
    page.locator("#progress").wait_for(state="hidden")
    aside = page.locator("#aside").inner_text().split()[0]
    for _ in range(8):
        page.keyboard.press("z")
        assert page.locator("#open-corrections").is_hidden()
    page.evaluate("window.confirm = (words) => (document.body.dataset.asked = words, false)")
    for button in ("#remove", "#forget"):
        page.locator(button).click()
        assert f"deletes {aside} corrections that do not fit" in page.locator("body").get_attribute("data-asked")
        page.evaluate("delete document.body.dataset.asked")


def test_a_page_that_is_left_asks_first_and_says_then_which_files_had_not_arrived(page):
    asked, full = [], '{"detail": "the disk of this server is full; try again in a minute"}'
    page.route("**/api/images?*", lambda route: route.fulfill(status=503, body=full))
    page.on("dialog", lambda dialog: asked.append(dialog.type))
    page.locator("#theme").click()  # a browser asks nobody who did nothing
    page.set_input_files("#files", NUCLEI[:3])
    page.locator("#progress-words", has_text="Trying again: the disk of this server is full").wait_for()
    page.reload()
    page.locator("#problems", has_text=", ".join(file.name for file in NUCLEI[:3])).wait_for()
    assert asked == ["beforeunload"]


def test_a_dropped_folder_gives_its_images_and_a_file_that_went_away_is_named(page, tmp_path):
    for k, name in enumerate(("10.png", "9.png", "below/8.png", ".hidden.png", "notes.txt", "map.xlsx",
                              "a.ome.zarr/0.png")):  # fmt: skip
        (tmp_path / "dropped" / name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copyfile(NUCLEI[k], tmp_path / "dropped" / name)
    page.evaluate(WORKED)
    tool = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(tmp_path / "dropped")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        tool.send("Input.dispatchDragEvent", {"type": kind, "x": 600, "y": 400, "data": data})
    page.locator("body[data-worked]").wait_for()
    assert page.locator("#problems li").all_inner_texts() == [
        "map.xlsx: only CSV tables are read; save it as CSV, and give that",
        "a.ome.zarr: OME-Zarr folders are read only by the command cellcycle predict",
    ]
    assert sorted(page.locator("#image option").all_inner_texts()) == [f"{k}.png (1 nucleus)" for k in (10, 8, 9)]
    gone = tmp_path / "gone.png"
    shutil.copyfile(NUCLEI[0], gone)
    tables = [tmp_path / name for name in ("gone.csv", "map.csv", "old.csv")]
    for table in tables:
        table.write_text("well,condition\nA01,drug\n")
    tables.append(tmp_path / "nuclei.csv")
    tables[-1].write_text("image,nucleus_id,call,well,condition,corrected\n8.png,1,G1,A01,drug,S\n")
    page.route(
        "**/api/images?*", lambda route: ([f.unlink(missing_ok=True) for f in (gone, tables[0])], route.continue_())
    )
    upload(page, *NUCLEI[5:7], gone, *tables)
    told = page.locator("#problems").inner_text()
    assert all(f"{name}: the browser cannot read it" in told for name in ("gone.png", "gone.csv"))
    assert "map.csv, old.csv: 2 tables could be the plate map; give one" in told
    assert "nuclei.csv: it is a table of calls, not of corrections: give the table saved under Corrections" in told
    assert not page.context.request.post(page.url + "api/visit", headers={"Origin": page.url.rstrip("/")}).json()[
        "has_map"
    ]
    assert page.locator("#image option").count() == 5


def test_two_tabs_label_the_same_image_and_neither_deletes_what_the_other_said(page, two):
    page.select_option("#order", "number")
    other = page.context.new_page()
    other.set_default_timeout(60_000)
    other.goto(page.url)
    other.wait_for_selector("body[data-ready]")
    other.select_option("#order", "number")
    for tab, key, keys in ((page, "Home", "222"), (other, "End", "3")):
        tab.locator("#table").focus()
        tab.keyboard.press(key)
        for stroke in keys:
            tab.keyboard.press(stroke)
        # It is sent by the time that the other tab speaks.
        await_told(tab, N_CORRECTIONS, len(keys) - 1)
    # Its own save tells a tab what the other said.
    other.locator("#told", has_text="4 labelled (").wait_for()
    page.reload()
    page.locator("#told", has_text="4 labelled (").wait_for()
    # Nothing is left to save: no file comes, and the page says why.
    other.locator("#forget").click()
    other.locator("body:not([inert]) #drop").wait_for()
    files = []
    page.on("download", lambda file: files.append(file.suggested_filename))
    for link, words in (("#save-table", "give the images again"), ("#save-picture", "give it again")):
        page.locator(link).click()
        page.locator("#problems li", has_text=words).wait_for()
    page.locator("#open-corrections").click()
    page.locator("#save-labels").click()
    page.locator("#problems li").nth(2).wait_for()
    assert not files and page.locator("dialog[open]").count() == 0


def test_what_was_said_of_images_that_the_server_lost_comes_back_when_they_are_given_again(page, two):
    upload(page, two[1])
    page.locator("#table").focus()
    page.keyboard.press("1")
    page.keyboard.press("x")
    page.locator("#told", has_text="2 labelled (").wait_for()
    for option in page.locator("#image option").all():
        page.evaluate("key => fetch(`/api/images/${key}`, {method: 'DELETE'})", option.get_attribute("value"))
    page.locator("#table").focus()
    page.keyboard.press("2")
    page.locator("#told", has_text="3 labelled (").wait_for()
    page.locator("#unsaved", has_text="give it again").wait_for()
    # No table comes that lacks them.
    page.locator("#save-table").click()
    page.locator("#problems", has_text="not saved yet").wait_for()
    page.select_option("#model", "nagao6")
    page.locator("#problems", has_text="nothing is kept for you any more").wait_for()
    page.select_option("#model", "auto")
    # The one first whose coming makes the page ask what the server has.
    upload(page, two[1])
    page.locator("#problems", has_text="some.tif: it is no longer kept").wait_for()
    upload(page, two[0])
    page.locator("#told", has_text="3 labelled (").wait_for()
    assert page.locator("#image option").count() == 2 and page.locator("#unsaved").is_hidden()
    page.reload()
    page.locator("#told", has_text="3 labelled (").wait_for()


def test_an_open_page_keeps_its_images(browser, address):
    with visitor(browser, address) as page:
        page.clock.install()
        page.reload()
        page.wait_for_selector("body[data-ready]")
        with page.expect_request("**/api/visit"):
            page.clock.fast_forward("15:00")


def test_a_tab_shows_what_it_saves_and_compares_though_another_called_otherwise(page, two):
    upload(page, two[1])
    other = page.context.new_page()
    asks = {"lr": lambda: saved(page, "#save-table"), "nagao6": page.locator("#open-experiment").click}
    for k, (model, ask) in enumerate(asks.items()):
        other.goto(page.url)
        other.wait_for_selector("body[data-ready]")
        other.select_option("#model", model)
        other.locator("#note", has_text=f"Model: {model}").wait_for()
        other.locator("#progress").wait_for(state="hidden")
        ask()
        page.locator("#problems li", has_text="Another tab called").nth(k).wait_for()
        assert page.locator("#note").inner_text() == other.locator("#note").inner_text()


def test_labels_that_no_table_has_are_deleted_only_when_that_is_confirmed(page, two):
    page.locator("#table").focus()
    page.keyboard.press("1")
    page.locator("#told", has_text="1 labelled (").wait_for()
    page.evaluate("window.confirm = (words) => (document.body.dataset.asked = words, false)")
    for button in ("#remove", "#forget"):
        page.locator(button).click()
        assert "deletes 1 correction that is not saved" in page.locator("body").get_attribute("data-asked")
        page.evaluate("delete document.body.dataset.asked")
    assert page.locator("#told").inner_text().count("1 labelled")
    page.locator("#open-corrections").click()
    saved(page, "#save-labels")
    page.keyboard.press("Escape")
    page.locator("#forget").click()
    page.locator("body:not([inert]) #drop").wait_for()
    assert page.locator("body").get_attribute("data-asked") is None


def test_a_nucleus_with_less_dna_than_none_stands_in_the_first_bar(page, two):
    def lessen(route):
        answer = route.fetch()
        shown = answer.json()
        route.fulfill(response=answer, json=shown | {"dna": [-0.4, *shown["dna"][1:]]})

    page.route("**/nuclei.json", lessen)
    page.reload()
    page.locator("body[data-ready]").wait_for()
    page.locator("#plot").focus()
    for _ in range(60):
        page.keyboard.press("ArrowLeft")
    page.locator("#plot-words", has_text="0.0 to").wait_for()
    assert "1" in [row.inner_text() for row in page.locator("#table tr.chosen td:nth-child(1)").all()]
    # Its colour is that of a phase, wherever in the first bar.
    painted = """() => {const plot = document.getElementById('plot'), ratio = plot.width / plot.clientWidth;
        const {data} = plot.getContext('2d').getImageData(35 * ratio, 8, 3, plot.height - 42 * ratio);
        return data.some((value, k) => k % 4 === 3 && value > 200);}"""
    assert page.evaluate(painted)


@pytest.mark.parametrize("page", [{"viewport": {"width": 1366, "height": 650}}], indirect=True)
def test_many_problems_take_no_room_from_what_is_called(page, two, tmp_path):
    broken = [tmp_path / f"broken_{k}.png" for k in range(8)]
    for file in broken:
        file.write_bytes(b"x")
    upload(page, *broken)
    call, foot = (page.locator(f"#nucleus .{name}").bounding_box() for name in ("sure", "foot"))
    assert call["y"] + call["height"] <= foot["y"]


def test_phases_are_told_apart_without_colours(page, two):
    page.locator("#table").focus()
    page.keyboard.press("Home")
    for key in "1234x":
        page.keyboard.press(key)
    page.locator("#phases button", has_text="no nucleus").wait_for()
    # What is drawn, without the colour in which.
    drawn = page.evaluate("""() => [...document.querySelectorAll('#phases .key')].map((key) => {
        const {data} = key.getContext('2d').getImageData(0, 0, key.width, key.height);
        return data.filter((_, k) => k % 4 === 3).join();
    })""")
    assert len(set(drawn)) == len(drawn) >= 5


@pytest.mark.parametrize("page", [{"forced_colors": "active"}], indirect=True)
def test_where_the_system_chooses_colours_phases_and_what_is_chosen_are_still_seen(page, two):
    page.locator("#select-all").click()
    backs = """(selector) => [...new Set([...document.querySelectorAll(selector)].map(
        (one) => getComputedStyle(one).backgroundColor))]"""
    assert len(page.evaluate(backs, "#nucleus .track div")) == 4
    for chosen, other in (
        (".segments [aria-pressed=true]", ".segments [aria-pressed=false]"),
        ("#table tr.chosen td", "#dna-pane"),
    ):
        assert page.evaluate(backs, chosen) != page.evaluate(backs, other)


def test_whoever_hears_the_page_is_told_which_nucleus_is_in_focus(page, two):
    page.locator("#table").focus()
    page.keyboard.press("ArrowDown")
    heard, called = page.locator("#heard"), page.locator("#nucleus .call").inner_text().strip()
    number = chosen(page)[0]
    assert re.match(rf"Nucleus {number} of \S+: {called}, \d+\s% sure", heard.inner_text())
    page.keyboard.press("x")
    assert f"Nucleus {chosen(page)[0]} of" in heard.inner_text()
    page.keyboard.press("p")
    assert heard.inner_text().startswith(f"Nucleus {number} of ") and ": no nucleus, as you say" in heard.inner_text()
    # Of the tile in focus the browser tells.
    page.locator("#as-gallery").click()
    page.locator("#gallery").focus()
    page.keyboard.press("ArrowRight")
    assert heard.inner_text() == ""


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}], indirect=True)
def test_all_rows_are_printed_dark_on_light(page):
    page.get_by_role("button", name="Try a simulated field").click()
    page.locator("#table tr[aria-rowindex]").first.wait_for()
    n_rows = int(page.locator("#counted").inner_text().split()[0])
    assert len(listed(page)) < n_rows
    page.locator("#table").press("Home")
    outline = "part => getComputedStyle(part).outlineStyle"
    assert page.locator("#table:focus-visible").evaluate(outline) == "solid"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("#table").evaluate(outline) == "none"
    assert len(listed(page)) == n_rows and page.locator("html[data-theme=light]").count() == 1
    assert page.locator("#list-pane").evaluate("pane => pane.scrollHeight <= pane.clientHeight")
    assert page.locator("#forget").is_hidden() and page.locator("#viewer").bounding_box()["height"] > 100
    # Of a head that is repeated on each page Chromium leaves out boxes of buttons; numbers stay beside their units.
    display = "buttons => buttons.map(button => getComputedStyle(button).display)"
    assert set(page.locator("#table th button").evaluate_all(display)) == {"contents"}
    page.set_viewport_size({"width": 500, "height": 900})
    assert max(page.locator("#table td", has_text="µm²").evaluate_all(LINES)) == 1
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(listed(page)) < n_rows and page.locator("html[data-theme=dark]").count() == 1


def test_pictures_that_are_not_there_are_not_printed_as_black_ones_and_come_with_the_next_print(page, two):
    upload(page, shutil.copyfile(two[0], two[0].with_name("more.tif")))
    page.locator("#together").wait_for()
    page.emulate_media(media="print")
    # The heading of words that are folded away would stand alone.
    assert not page.locator("#together").is_visible() and not page.locator("#unloaded").is_visible()
    held = []
    page.route("**/view.png", lambda route: held.append(route))
    page.reload()
    page.locator("#unloaded").wait_for()  # the picture, too, is missing
    page.emulate_media(media="screen")
    page.locator("#as-gallery").click()
    for is_there in (False, True):
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        n_shown = sum(canvas.is_visible() for canvas in page.locator(".tile canvas").all())
        n_tiles = int(page.locator("#counted").inner_text().split()[0])
        assert n_shown == (n_tiles if is_there else 0) and page.locator("#unloaded").is_visible() != is_there
        page.emulate_media(media="screen")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert not page.locator("#unloaded").is_visible()
        while held:
            held.pop().continue_()
        await_told(page, BRIGHTEST, 100)
        page.locator(".tile.drawn").nth(len(two)).wait_for()


def test_a_column_says_how_it_is_ordered_and_one_with_nothing_in_it_is_left_out(page, two):
    falling = {"Nucleus": False, "Area": True, "DNA": True}
    for name, is_falling in falling.items():
        head = page.locator("#table th", has_text=name)
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == ("descending" if is_falling else "ascending")
        assert head.inner_text().endswith("▾" if is_falling else "▴")
        shown = page.locator(f"#table tbody td:nth-child({1 + head.evaluate('head => head.cellIndex')})")
        values = [float(text.split()[0]) for text in shown.all_inner_texts() if text]
        assert len(values) > 9 and values == sorted(values, reverse=is_falling)
    # Without a G1 peak the DNA of two images does not compare.
    upload(page, two[0])
    assert "Area" in page.locator("#table th").all_inner_texts()
    assert not page.locator("#table th", has_text="DNA").count()


@pytest.mark.parametrize("page", [{"viewport": {"width": 1366, "height": 657}}], indirect=True)
def test_on_a_laptop_all_that_is_to_be_doubted_of_a_nucleus_is_in_sight(page, tmp_path):
    write_image(tmp_path / "a.tif", tifffile.imread(FIELD)[:300, :300])  # without a pixel size there is more to say
    upload(page, tmp_path / "a.tif")
    assert len(page.locator("#nucleus .warning").inner_text()) > 80
    assert page.locator("#nucleus").evaluate("pane => pane.scrollHeight <= pane.clientHeight")
    # The words at the scale stand on its ground, whatever the picture.
    assert "guessed" in page.locator("#note").inner_text()
    words, ground = page.evaluate(SCALE)
    assert 100 < words < ground


def test_long_names_leave_room_for_numbers(page, two, tmp_path):
    long = tmp_path / f"{'2026-11-20_RPE1_siCDK4_position_' * 3}.tif"
    shutil.copyfile(two[0], long)
    upload(page, long)
    page.locator("#open-experiment").click()
    page.locator("#shares table").wait_for()
    assert page.locator("#shares").evaluate("shares => shares.scrollWidth <= shares.clientWidth")
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 390, "height": 844})
    left = page.locator("#table").evaluate("""table => {
        table.scrollLeft = 200;
        const parts = [table, table.querySelector('tr[aria-rowindex] td')];
        const [whole, cell] = parts.map((part) => part.getBoundingClientRect());
        return [table.scrollLeft, cell.left - whole.left, cell.width];
    }""")
    assert left[0] == 200 and abs(left[1]) < 1 and left[2] < 195
    page.locator("#as-gallery").click()
    page.locator("#gallery").focus()
    page.keyboard.press("x")
    words = page.locator(".tile > span", has_text="✓ none")
    assert words.evaluate("words => words.scrollWidth <= words.clientWidth")


def test_what_was_labelled_is_no_longer_worth_a_look_and_calls_are_said_to_be_calls(page, two):
    expected = predict(two[0]).set_index("nucleus_id")
    doubtful = (expected["review"] != "").sum()
    page.select_option("#wanted", "doubt")
    assert len(listed(page)) == doubtful > 3
    page.locator("#table").focus()
    page.keyboard.press("Home")
    page.keyboard.press("1")
    page.keyboard.press("2")
    first, second = listed(page)[:2]
    changed = (expected["call"][first] != "G1") + (expected["call"][second] != "S")
    told = f"; {doubtful - 2} of {len(expected)} worth a look; 2 labelled ({changed} changed)"
    assert told in page.locator("#told").inner_text()
    page.select_option("#wanted", "all")
    page.select_option("#wanted", "doubt")
    assert len(listed(page)) == doubtful - 2
    upload(page, two[1])
    page.locator("#open-experiment").click()
    page.locator("#as-called", has_text="your 2 corrections are not counted").wait_for()


def test_a_pixel_size_that_overrides_that_of_the_file_is_told(page, two):
    page.locator("#open-settings").click()
    page.get_by_label("Pixel size in").fill("0,5")
    page.locator("#again").click()
    page.locator("#note", has_text="some.tif: it states 0.325 µm a pixel; 0.5 µm was asked for").wait_for()


def test_what_is_noted_of_many_images_in_other_numbers_is_told_once(page, two, tmp_path):
    """A pixel size that fits no image was a sentence for each: two hundred of them left no room for anything else."""
    pixels = tifffile.imread(FIELD)
    for k in range(3):
        write_image(tmp_path / f"{k}.tif", pixels[200 * k : 200 * k + 300, :300])
    page.locator("#open-settings").click()
    page.get_by_label("Pixel size in").fill("9")
    page.keyboard.press("Enter")
    page.locator("#settings").wait_for(state="hidden")
    upload(page, *(tmp_path / f"{k}.tif" for k in range(3)))
    note = page.locator("#note").inner_text()
    assert re.search(r"3 images, such as \d\.tif: at 9 µm a pixel its nuclei would have [0-9.,]+ µm², unlike", note)
    assert note.count("unlike those") == 1 and note.count("it states 0.325") == 1


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}], indirect=True
)
def test_a_phone_shows_everything_without_scrolling_sideways(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Try a simulated field").tap()
    page.locator("#nucleus .call").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    before = name_of(page)
    page.locator("#viewer").tap(position={"x": 180, "y": 150})
    page.locator("#table tr[aria-rowindex]").nth(3).tap()
    assert name_of(page) != before
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.locator("#theme").tap()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"

"""The page of a review: what it is made from, what it refuses, and what a person does on it in a real browser."""

import hashlib
import json
import os
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from cellcycle import cli, files, review
from cellcycle.datasets.lookup import ImageFolder
from cellcycle.errors import DataError, ImageError, SettingError
from cellcycle.images import read_plane, write_image
from cellcycle.phases import PHASES
from cellcycle.predict import predict
from cellcycle.review.thumbnails import thumbnails

FIELD = files.repository() / "data" / "sample" / "fields" / "fields" / "field_001.tif"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one field and its table, as `cellcycle predict` writes it there."""
    folder = tmp_path_factory.mktemp("plate")
    plane = read_plane(FIELD)
    counts = np.round(plane.pixels[:300, :300] * 65535).astype(np.uint16)
    write_image(folder / "a.tif", counts, plane.pixel_size_um)
    table = predict(folder / "a.tif").assign(image="a.tif")
    table.to_csv(folder / "table.csv", index=False)
    return folder


def sha256_of(file) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def table(folder):
    return review.read_table(folder / "table.csv")


def data_of(page) -> dict:
    """Return what a written page knows."""
    text = page.read_text()
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.tif", "table.csv", "link.html"])
def test_a_page_replaces_no_image_and_no_table(folder, table, name):
    if name == "link.html" and not (folder / name).is_symlink():
        (folder / name).symlink_to(folder / "a.tif")
    before = (folder / name).read_bytes()
    with pytest.raises(SettingError, match=r"this is not the name of a page; end the name in \.html"):
        review.write_sheet(folder / name, table, folder)
    assert (folder / name).read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report.html", "notes"])
def test_a_page_replaces_an_earlier_review_alone(folder, table, tmp_path, name):
    (tmp_path / name).write_text("<!doctype html><title>Report</title>")
    with pytest.raises(SettingError, match="it exists and is not an earlier review; move it away"):
        review.write_sheet(tmp_path / name, table, folder, most=1)
    (tmp_path / name).write_text("")
    for title in ("long " * 100, "t.csv"):
        review.write_sheet(tmp_path / name, table, folder, most=1, title=title)
    assert data_of(tmp_path / name)["about"]["title"] == "t.csv"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(DataError, match="this is a pipe or device"):
        review.read_table(tmp_path / "t.csv")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "t.parquet"])
def test_a_table_is_read_in_every_format(folder, table, tmp_path, name):
    path = tmp_path / name
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
        table.to_parquet(path)
    elif name.endswith("json"):
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        path.write_text(json.dumps(rows))
    else:
        table.to_csv(path, index=False, sep="\t" if name.endswith("tsv") else ",")
    pd.testing.assert_frame_equal(review.read_table(path), table)


def test_classes_and_files_may_be_called_na(table, tmp_path):
    named = table.rename(columns={"p_G1": "p_NA"}).assign(call="NA", image="NA")
    named.to_csv(tmp_path / "t.csv", index=False)
    found = review.read_table(tmp_path / "t.csv")
    assert set(found["call"]) == set(found["image"]) == {"NA"} and review.classes_of(found)[0] == "NA"


def test_cells_that_r_has_filled_with_na_are_empty(folder, table, tmp_path):
    cells = pd.read_csv(folder / "table.csv", dtype=str, keep_default_na=False)
    cells.replace("", "NA").to_csv(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(review.read_table(tmp_path / "t.csv")[list(table)], table)


def _many(table):
    return {
        "empty": (table.iloc[:0], "it has no rows"),
        "labels": (table[["image", "nucleus_id"]], "no columns image and call"),
        "older": (table.drop(columns="bbox_top_px"), "another version of cellcycle: no column bbox_top_px"),
        "one class": (table.drop(columns=["p_S", "p_G2", "p_M"]), "two classes or more"),
        "none": (table.rename(columns={"p_M": "p_none"}), "a class is called none"),
        "text": (table.astype(object).assign(p_S="much"), "p_S of row 1 is 'much'"),
        "twice": (pd.concat([table, table[:1]]), "nucleus 1 of a.tif is listed twice"),
        "upside down": (
            table.rename(columns={"bbox_top_px": "bbox_bottom_px", "bbox_bottom_px": "bbox_top_px"}),
            "row 1 does not say where",
        ),
        "placeless": (table.assign(centroid_y_px=np.nan), "row 1 does not say where"),
        "no box": (table.assign(bbox_right_px=table["bbox_left_px"]), "row 1 does not say where"),
        "endless": (table.assign(bbox_right_px=np.inf), "row 1 does not say where"),
        "unreadable": (
            table.loc[:1, ["image"]].reindex(columns=[*table]).assign(flags=["unreadable", "no_nucleus"]),
            "none of its rows holds a nucleus (1 unreadable, 1 no nucleus)",
        ),
    }


@pytest.mark.parametrize(
    "case",
    [
        "empty",
        "labels",
        "older",
        "one class",
        "none",
        "text",
        "twice",
        "upside down",
        "placeless",
        "no box",
        "endless",
        "unreadable",
    ],
)
def test_a_table_that_cannot_be_reviewed_is_refused_in_one_line(table, tmp_path, case):
    bad, finding = _many(table)[case]
    bad.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=re.escape(finding)) as error:
        review.read_table(tmp_path / "t.csv")
    assert str(error.value).startswith(str(tmp_path / "t.csv")) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", "{"),
        ("t.json", '{"a": 1}'),
        ("t.parquet", "x"),
        ("t.csv", ""),
        ("t.csv", 'image\n"a'),
        ("t.csv", None),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as error:
        review.read_table(tmp_path / name)
    assert "\n" not in str(error.value) and name in str(error.value)


@pytest.mark.slow
def test_the_page_holds_the_nuclei_in_the_order_of_doubt(folder, table, tmp_path):
    made = review.write_sheet(tmp_path / "r.html", table, folder)
    data = data_of(tmp_path / "r.html")
    assert [n["row"] for n in data["nuclei"]] == review.review_order(table).tolist()
    assert [n["why"] for n in data["nuclei"]] == [review.reasons(table)[n["row"]] for n in data["nuclei"]]
    assert made["shown"] == len(table) and made["doubtful"] == sum(bool(r) for r in review.reasons(table))
    assert made["problems"] == [] and made["left_out"] == 0
    read = pd.read_csv(folder / "table.csv")
    assert review.write_sheet(tmp_path / "read.html", read, folder) == made
    fewer = review.write_sheet(tmp_path / "few.html", table, folder, most=5)
    assert fewer["shown"] == 5 and fewer["left_out"] == len(table) - 5
    assert data_of(tmp_path / "few.html")["nuclei"] == data["nuclei"][:5]
    assert data_of(tmp_path / "few.html")["about"]["hash"] == data["about"]["hash"]
    review.write_sheet(tmp_path / "same.html", predict(folder / "a.tif").assign(image="a.tif"), folder)
    assert data_of(tmp_path / "same.html") == data
    # The file states its pixel size; without one areas and widths are guesses, and the page says so.
    assert not any(nucleus["guessed"] for nucleus in data["nuclei"])
    flags = "scale_unknown;" + table["flags"].fillna("")
    review.write_sheet(tmp_path / "guessed.html", table.assign(flags=flags), folder)
    assert all(nucleus["guessed"] for nucleus in data_of(tmp_path / "guessed.html")["nuclei"])
    with pytest.raises(SettingError, match=r"^most: "):
        review.write_sheet(tmp_path / "no.html", table, folder, most=0)
    assert not (tmp_path / "no.html").exists()


def test_a_picture_shows_the_nucleus_where_the_marker_says(folder, table):
    import base64
    import io

    from PIL import Image

    whole = table[table["flags"].eq("") & (table["area_px"] > 800)].index[:3]
    for found in thumbnails(table, whole, folder):
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.jpeg))), dtype=float)
        left, top, width, height = (round(128 * share) for share in found.box)
        inside = picture[top : top + height, left : left + width]
        assert picture.shape == (128, 128) and inside.shape[0] > 20
        assert inside[inside.shape[0] // 3 : -inside.shape[0] // 3].mean() > 80
        assert picture[top : top + height].max() > 200
        assert 20 < found.side_um < 80


def test_a_nucleus_at_the_corner_has_darkness_beside_the_image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 200, (60, 60)).astype(np.uint16)
    pixels[:14, :14] += 40000
    write_image(tmp_path / "a.tif", pixels, 0.5)
    box = {"bbox_top_px": [0], "bbox_left_px": [0], "bbox_bottom_px": [14], "bbox_right_px": [14]}
    table = pd.DataFrame({"image": "a.tif", "nucleus_id": 1, "kind": "field", "pixel_size_um": 0.5, **box})
    (found,) = thumbnails(table, [0], tmp_path)
    assert found.box[0] > 0.2 and found.box[2] == pytest.approx(14 / (2.4 * 14), rel=0.05)
    for size_um in (0.0, -1.0, np.inf):
        (unknown,) = thumbnails(table.assign(pixel_size_um=size_um), [0], tmp_path)
        assert unknown.box == found.box and np.isnan(unknown.side_um), "what is no size counts as unknown"


@pytest.mark.parametrize("stands", ["a.tif", "deep/er/a.tif"])
@pytest.mark.parametrize("named", ["a.tif", "er/a.tif", "C:\\scans\\er\\a.tif", "/gone/er/a.tif", "../er/a.tif"])
def test_images_are_found_wherever_they_lie_under_the_folder(folder, table, tmp_path, stands, named):
    (tmp_path / stands).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "a.tif", tmp_path / stands)
    assert review.write_sheet(tmp_path / "r.html", table.assign(image=named), tmp_path)["problems"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["=1+1.tif", "tab\there.tif", "back\\slash.tif", " blank .tif", "line\nbreak.tif"])
def test_images_of_odd_names_are_found_as_the_table_shows_them(folder, tmp_path, name):
    (tmp_path / "deep").mkdir()
    shutil.copyfile(folder / "a.tif", tmp_path / "deep" / name)
    predict(tmp_path / "deep" / name).to_csv(tmp_path / "t.csv", index=False)
    assert review.write_sheet(tmp_path / "r.html", review.read_table(tmp_path / "t.csv"), tmp_path)["problems"] == []


def test_nuclei_whose_image_is_gone_are_left_out_and_told(folder, table, tmp_path):
    both = pd.concat([table, table.assign(image="b.tif")], ignore_index=True)
    made = review.write_sheet(tmp_path / "r.html", both, folder)
    (problem,) = made["problems"]
    assert made["shown"] == len(table) and re.fullmatch(
        "b.tif: no such image .+; name the folder that it lies in", str(problem)
    )
    with pytest.raises(DataError, match="no such image under"):
        review.write_sheet(tmp_path / "none.html", table.assign(image="b.tif"), folder)
    with pytest.raises(DataError, match="there is no such folder"):
        review.write_sheet(tmp_path / "none.html", table, folder / "none")
    assert not (tmp_path / "none.html").exists()


def test_another_image_of_the_same_name_is_refused(folder, table, tmp_path):
    small = np.full((40, 40), 900, np.uint16)
    write_image(tmp_path / "a.tif", small)
    with pytest.raises(DataError, match=r"40 x 40 px, but a nucleus lies at .* another image"):
        review.write_sheet(tmp_path / "r.html", table, tmp_path)
    hashed = table.assign(image_sha256="0" * 64)
    with pytest.raises(DataError, match="another image of this name"):
        review.write_sheet(tmp_path / "r.html", hashed, folder)
    (tmp_path / "a.tif").write_text("no image")
    with pytest.raises(DataError, match=r"a\.tif"):
        review.write_sheet(tmp_path / "r.html", table, tmp_path)


def test_another_field_of_the_same_name_and_size_is_refused(folder, table, tmp_path):
    write_image(
        tmp_path / "a.tif", np.roll(np.asarray(read_plane(folder / "a.tif").pixels * 65535, np.uint16), 150, (0, 1))
    )
    with pytest.raises(DataError, match="is dark where the table has nuclei: it is another image"):
        review.write_sheet(tmp_path / "r.html", table, tmp_path)


def test_two_images_of_one_name_are_told_apart_by_their_hash_or_refused(folder, table, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copyfile(folder / "a.tif", tmp_path / name / "a.tif")
    with pytest.raises(DataError, match="2 images have this name"):
        review.write_sheet(tmp_path / "r.html", table, tmp_path)
    write_image(tmp_path / "one" / "a.tif", np.full((300, 300), 900, np.uint16))
    hashed = table.assign(image_sha256=sha256_of(folder / "a.tif"))
    assert review.write_sheet(tmp_path / "r.html", hashed, tmp_path)["shown"] == len(table)


def test_an_image_stands_for_that_name_of_a_table_which_tells_most_of_its_folders(tmp_path):
    def found(name, *names, folder=tmp_path):
        return ImageFolder(folder, False, names).find(name).relative_to(tmp_path).as_posix()

    (tmp_path / "moved" / "day2").mkdir(parents=True)
    write_image(tmp_path / "moved" / "day2" / "a.tif", np.zeros((9, 9), np.uint8))
    for name in ("day1/a.tif", "C:\\lab\\day2\\a.tif"):
        assert found(name, name) == "moved/day2/a.tif"
    for folder in (tmp_path, tmp_path / "moved" / "day2"):
        assert found("lab/day2/a.tif", "lab/day1/a.tif", "lab/day2/a.tif", folder=folder) == "moved/day2/a.tif"
        with pytest.raises(ImageError, match=r"the one of its name, .*day2/a.tif, is named by another row"):
            found("lab/day1/a.tif", "lab/day1/a.tif", "lab/day2/a.tif", folder=folder)
    # Of tables of two folders that lie in one, none says which folder it is of.
    for image in ("a.tif", "p/a.tif"):
        names = [f"out/{table}.csv: {image}" for table in ("d1", "d2")]
        for name in names:
            with pytest.raises(ImageError, match="no such image"):
                found(name, *names)


def test_crops_are_shown_whole_and_models_of_other_classes_work(tmp_path):
    rng = np.random.default_rng(0)
    write_image(tmp_path / "c.png", rng.integers(0, 200, (40, 50)).astype(np.uint8))
    row = {"image": "c.png", "nucleus_id": 1, "centroid_y_px": 20.0, "centroid_x_px": 25.0, "call": "interphase",
           "p_interphase": 0.5, "p_prophase": 0.5, "flags": "", "kind": "nucleus", "bbox_top_px": 5,
           "bbox_left_px": 5, "bbox_bottom_px": 30, "bbox_right_px": 40}  # fmt: skip
    review.write_sheet(tmp_path / "r.html", pd.DataFrame([row]), tmp_path)
    data = data_of(tmp_path / "r.html")
    assert data["about"]["classes"] == ["interphase", "prophase"] and data["nuclei"][0]["box"] == []
    assert data["nuclei"][0]["why"] == "unsure whether interphase or prophase"


def test_the_command_says_what_it_wrote_and_what_is_missing(folder, tmp_path, monkeypatch, capsys):
    table = review.read_table(folder / "table.csv")
    pd.concat([table, table[:1].assign(image="gone.tif")]).to_csv(tmp_path / "t.csv", index=False)
    page = tmp_path / "r.html"
    call = ["cellcycle", "review", tmp_path / "t.csv", "--images", folder, "--output", page, "--most", 12]
    monkeypatch.setattr(sys, "argv", list(map(str, call)))
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    shown = capsys.readouterr()
    assert f"{page}: " in shown.out and "less doubtful ones left out (--most)" in shown.out
    monkeypatch.setattr(sys, "argv", [*map(str, call[:3]), "--images", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert capsys.readouterr().err.count("\n") == 1


HOSTILE = "</script><img src=x onerror=alert(1)>{{DATA}}'\"&<!--.tif"


def test_nothing_of_the_table_can_become_markup(folder, table, tmp_path):
    hostile = table.assign(image="a.tif", model=HOSTILE, call=HOSTILE).rename(columns={"p_M": f"p_{HOSTILE}"})
    review.write_sheet(tmp_path / "r.html", hostile, folder, title=HOSTILE)
    text = (tmp_path / "r.html").read_text()
    assert "<img src=x" not in text and text.count("</script>") == 2
    assert data_of(tmp_path / "r.html")["about"]["title"] == HOSTILE


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as tool:
        # Without a sandbox it also runs as root in a container; it opens no page but this project's own.
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Return a function that opens a page from its file; fails where it asks for anything or meets an error."""
    contexts, troubles = [], []

    def opened(file, context=None, **options):
        if context is None:
            context = browser.new_context(
                accept_downloads=True, **{"viewport": {"width": 1280, "height": 860}} | options
            )
            contexts.append(context)
        page = context.new_page()
        asked = page.on
        asked(
            "request", lambda r: None if r.url.startswith(("data:", "blob:", file.as_uri())) else troubles.append(r.url)
        )
        asked("pageerror", lambda error: troubles.append(str(error)))
        asked("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.goto(file.as_uri())
        page.locator(".card[aria-selected=true]").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def saved(page) -> bytes:
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "labels.csv"
    with open(download.value.path(), "rb") as stream:
        return stream.read()


@pytest.mark.slow
def test_a_printed_page_is_dark_on_light_and_shows_its_nuclei(folder, table, tmp_path, visit):
    review.write_sheet(tmp_path / "review.html", table, folder)
    page = visit(tmp_path / "review.html", color_scheme="dark")
    page.keyboard.press("d")
    page.keyboard.press("d")  # chosen, not only preferred
    page.emulate_media(media="print", color_scheme="dark")
    style = "part => { const s = getComputedStyle(part); return [s.color, s.printColorAdjust, s.position]; }"
    assert page.locator("h1").evaluate(style)[0] == "rgb(22, 25, 29)"
    assert page.locator("header").evaluate(style)[2] == "static"
    # A browser that saves ink would paint the marker white, over its nucleus.
    assert page.locator(".card .mark").first.evaluate(style)[1] == "exact"
    # Nothing is chosen on paper: a card says itself which nucleus it is, and every reason in full.
    cards = page.locator(".card")
    said = cards.evaluate_all("cards => cards.map(card => getComputedStyle(card, '::after').content)")
    assert not page.locator(".card .why").first.is_visible() and len(said) == len(table)
    for nucleus, words in zip(data_of(tmp_path / "review.html")["nuclei"], said, strict=True):
        assert f"Nucleus {nucleus['id']} of a.tif: " in words and nucleus["why"] in words
    assert page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor") == "rgba(0, 0, 0, 0)"


@pytest.mark.slow
def test_no_call_is_said_to_be_certain(folder, table, tmp_path, visit):
    shown = table.copy()
    shown.loc[shown.index[0], ["p_G1", "p_S", "p_G2", "p_M", "confidence"]] = 0.997, 0.003, 0.0, 0.0, 0.997
    review.write_sheet(tmp_path / "review.html", shown, folder)
    page = visit(tmp_path / "review.html")
    page.select_option("#order", "table")
    page.keyboard.press("Home")
    assert page.locator("#bars .bar span:last-child").all_inner_texts() == [">99 %", "<1 %", "0 %", "0 %"]


@pytest.mark.slow
def test_ten_nuclei_are_labelled_by_keyboard_alone_and_read_back(folder, table, tmp_path, visit):
    review.write_sheet(tmp_path / "r.html", table, folder)
    order, page = review.review_order(table), visit(tmp_path / "r.html")
    page.keyboard.press("Enter")  # the first is passed over
    for key in "1234x1234":
        page.keyboard.press(key)
    page.keyboard.press("x")
    page.keyboard.press("z")
    page.keyboard.press("2")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    said = dict(zip(order[1:11].tolist(), [*PHASES, review.NONE, *PHASES, "S"], strict=True))
    corrected = sum(table["call"][row] != label for row, label in said.items())
    assert (
        page.locator("#progress").inner_text() == f"{corrected} of {len(table)} corrected, {10 - corrected} confirmed"
    )
    content = saved(page)
    with_hash = table.assign(image_sha256=sha256_of(folder / "a.tif"))
    review.write_labels(tmp_path / "expected.csv", review.labelled_rows(with_hash, said))
    assert content == (tmp_path / "expected.csv").read_bytes()
    (tmp_path / "labels.csv").write_bytes(content)
    found, _ = review.read_labels(tmp_path / "labels.csv")
    assert found["label"].tolist() == [said[row] for row in sorted(said)]
    assert found["nucleus_id"].tolist() == table["nucleus_id"][sorted(said)].tolist()

    again = visit(tmp_path / "r.html", page.context)  # the browser kept what was said
    assert saved(again) == content
    review.write_sheet(tmp_path / "fewer.html", table, folder, most=4)
    fewer = visit(tmp_path / "fewer.html", page.context)
    assert "7 labels that you gave earlier belong to nuclei" in fewer.locator("#note").inner_text()
    fewer.keyboard.press("1")
    assert "8 labels" not in visit(tmp_path / "r.html", page.context).locator("#note").inner_text()
    others = table.assign(call=np.roll(table["call"], 1))
    review.write_sheet(tmp_path / "other.html", others, folder)
    other = visit(tmp_path / "other.html", page.context)
    assert other.locator("#progress").inner_text().startswith("0 of ")


@pytest.mark.slow
def test_two_tabs_of_a_page_keep_what_was_said_in_either(folder, table, tmp_path, visit):
    review.write_sheet(tmp_path / "r.html", table, folder)
    one = visit(tmp_path / "r.html")
    two = visit(tmp_path / "r.html", one.context)
    for key in "123":
        one.keyboard.press(key)
    two.locator(".card.labelled").nth(2).wait_for()
    two.locator(".card").nth(4).click()
    two.keyboard.press("x")
    one.locator(".card.labelled").nth(3).wait_for()
    one.keyboard.press("z")
    assert saved(visit(tmp_path / "r.html", one.context)) == saved(one)
    assert saved(one).count(b"\n") == 1 + 3


@pytest.mark.slow
def test_nuclei_are_filtered_ordered_clicked_and_shown_alike(folder, table, tmp_path, visit):
    review.write_sheet(tmp_path / "r.html", table, folder)
    page = visit(tmp_path / "r.html")

    def shown():
        return [int(name[3:]) for name in page.eval_on_selector_all(".card", "cards => cards.map(card => card.id)")]

    page.select_option("#phase", label="S")
    assert sorted(shown()) == table.index[table["call"] == "S"].tolist()
    page.select_option("#phase", "any")
    page.select_option("#reason", "edge")
    assert sorted(shown()) == table.index[table["flags"].str.contains("edge")].tolist() != []
    page.select_option("#reason", "any")
    page.select_option("#order", "table")
    assert shown() == list(range(len(table)))
    page.locator("#row3").click()
    assert page.locator("#name").inner_text() == "Nucleus 4 of a.tif"
    page.get_by_role("group", name="What is it?").get_by_role("button", name="No nucleus").click()
    page.select_option("#state", "corrected")
    assert shown() == [3] and "now no nucleus" in page.locator("#row3").text_content()
    page.locator("#state").focus()
    page.keyboard.press("z")  # the list has the focus of a select: keys belong to it
    assert page.locator("#progress").inner_text().startswith("1 of")
    page.locator("#undo").click()
    assert page.locator("#progress").inner_text().startswith("0 of") and shown() == [3]
    page.locator("#same").click()
    assert "brightness" in page.locator("#row3 img").get_attribute("style")
    page.locator("#marks").click()
    assert not page.locator("#row3 .mark").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(folder, table, tmp_path, visit, scheme):
    review.write_sheet(tmp_path / "r.html", table, folder, title="a" * 80 + ".csv")
    page = visit(tmp_path / "r.html", viewport={"width": 360, "height": 740}, has_touch=True, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#row3").tap()
    page.get_by_role("button", name="G2").tap()
    # What a finger touched is not chosen for the nucleus that comes next.
    borders = "buttons => buttons.map(button => [button.ariaPressed, getComputedStyle(button).borderColor])"
    colours = page.locator("#answers button").evaluate_all(borders)
    assert len(set(map(tuple, colours))) == 1 and colours[0][0] == "false"
    assert page.locator("#row3").get_attribute("aria-label").endswith("you said G2")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 200) == (scheme == "dark")


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_that_keeps_anybody_out(folder, table, tmp_path, visit, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    review.write_sheet(tmp_path / "r.html", table, folder)
    page = visit(tmp_path / "r.html", viewport={"width": width, "height": 860})
    for key in "12x?":
        page.keyboard.press(key)
    # In the dark the colours alone are others.
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(page, options=rules | {"resultTypes": ["violations"]})
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.slow
def test_hostile_names_are_shown_as_text_in_the_browser(folder, table, tmp_path, visit):
    images = tmp_path / "images"
    images.mkdir()
    name = "<img src=x onerror=alert(1)>\n=cmd|'&quot;,.tif"
    shutil.copyfile(folder / "a.tif", images / name)
    hostile = table.assign(image=name).rename(columns={"p_M": f"p_{HOSTILE}"})
    review.write_sheet(tmp_path / "r.html", hostile, images, title=HOSTILE)
    page = visit(tmp_path / "r.html")
    assert page.locator("h1").inner_text() == f"Review of {HOSTILE}"
    assert page.locator("#name").text_content().endswith(f"of {name}")
    assert page.locator("img[onerror]").count() == 0
    row = int(page.locator(".card").first.get_attribute("id").removeprefix("row"))
    page.keyboard.press("4")
    (tmp_path / "labels.csv").write_bytes(saved(page))
    found, _ = review.read_labels(tmp_path / "labels.csv")
    assert found[["image", "label"]].to_numpy().tolist() == [[name, HOSTILE]]
    assert found["nucleus_id"].iloc[0] == hostile["nucleus_id"][row]


@pytest.mark.slow
def test_two_thousand_nuclei_stay_usable(folder, table, tmp_path, visit):
    names = [f"{k:03d}.tif" for k in range(2000 // len(table) + 1)]
    for name in names:
        (tmp_path / name).symlink_to(folder / "a.tif")
    many = pd.concat([table.assign(image=name) for name in names], ignore_index=True)
    made = review.write_sheet(tmp_path / "r.html", many, tmp_path)
    assert made["shown"] == 2000 and made["left_out"] == len(many) - 2000
    assert (tmp_path / "r.html").stat().st_size < 14e6
    page = visit(tmp_path / "r.html")
    assert page.locator(".card").count() == 2000
    page.keyboard.press("End")
    page.keyboard.press("1")
    assert page.locator("#progress").inner_text().split()[2] == "2000"
    # Pictures out of sight are not decoded.
    loaded = page.evaluate(
        "[...document.querySelectorAll('.card img')].filter(i => i.complete && i.naturalWidth).length"
    )
    assert loaded < 1000


def series_of(folder):
    """Write two time points and two channels of the field there, the second of each turned; return their tables."""
    import tifffile

    pixels = tifffile.imread(folder / "a.tif")
    planes = np.stack([pixels, np.rot90(pixels)])
    tifffile.imwrite(folder / "time.tif", planes, imagej=True, metadata={"axes": "TYX"})
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(folder / "two.ome.tif", planes, metadata=names)
    size = read_plane(folder / "a.tif").pixel_size_um
    times = [predict(folder / "time.tif", plane=k, pixel_size_um=size).assign(image="time.tif") for k in (0, 1)]
    return times, predict(folder / "two.ome.tif", channel="GFP", pixel_size_um=size).assign(image="two.ome.tif")


@pytest.mark.slow
def test_pictures_are_of_the_channel_and_plane_that_were_predicted(folder, tmp_path):
    shutil.copyfile(folder / "a.tif", tmp_path / "a.tif")
    (first, second), gfp = series_of(tmp_path)
    # The second time point and GFP are one picture.
    assert set(second["planes"]) == {"t 1"} and set(gfp["channel"]) == {"GFP"}
    shown = [[found.jpeg for found in thumbnails(table, [0, 1], tmp_path)] for table in (first, second, gfp)]
    assert shown[1] == shown[2] != shown[0]
    # What the command says goes before the table, and fills in what the table leaves open.
    asked = [found.jpeg for found in thumbnails(gfp, [0, 1], tmp_path, channel="DAPI")]
    assert asked != shown[2] and len(asked) == 2
    bare = second.drop(columns=["channel", "planes"])
    review.write_sheet(tmp_path / "bare.html", bare, tmp_path, plane=1)
    data = data_of(tmp_path / "bare.html")
    assert "planes" in data["about"]["header"] and data["nuclei"][0]["csv"][1].strip().endswith(",1")
    with pytest.raises(DataError, match="time series of 2 images"):
        review.write_sheet(tmp_path / "r.html", bare, tmp_path)
    with pytest.raises(DataError, match=r'no channel matches "CY5" \(its table says channel CY5\); choose one of 0'):
        review.write_sheet(tmp_path / "r.html", gfp.assign(channel="CY5"), tmp_path)


@pytest.mark.slow
def test_time_points_predicted_apart_and_joined_are_pictures_of_their_own(folder, tmp_path):
    shutil.copyfile(folder / "a.tif", tmp_path / "a.tif")
    times, _ = series_of(tmp_path)
    pd.concat(times).to_csv(tmp_path / "t.csv", index=False)
    joined = review.read_table(tmp_path / "t.csv")
    made = review.write_sheet(tmp_path / "r.html", joined, tmp_path)
    data = data_of(tmp_path / "r.html")
    assert made["shown"] == len(times[0]) + len(times[1]) and made["problems"] == []
    assert {nucleus["image"] for nucleus in data["nuclei"]} == {"time.tif (t 0)", "time.tif (t 1)"}
    assert data["about"]["header"].strip().endswith("channel,planes")
    pd.concat([*times, times[0][:1]]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="is listed twice"):
        review.read_table(tmp_path / "t.csv")

"""The website without a browser: its REST endpoint, its limits, and what its page is made of."""

import io
import json
import os
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("gradio", reason="the extra `app` is not installed")

import httpx
import psutil
from PIL import Image

from cellcycle.app import Limits, build_server, words
from cellcycle.app.api import rows_as
from cellcycle.app.corrections import corrections_zip
from cellcycle.app.limits import announced_pixels
from cellcycle.app.occlusion import occlusion_map
from cellcycle.app.review import (
    ALL,
    AS_NUMBERED,
    CORRECTED,
    DOUBTFUL,
    LARGEST,
    MOST_DNA,
    listed_rows,
    reasons,
    row_of_line,
    shown_table,
)
from cellcycle.app.service import Service
from cellcycle.app.store import Result, Store, pack, unpack
from cellcycle.datasets import load_dataset
from cellcycle.errors import CellCycleError, ImageError, SettingError
from cellcycle.images import write_image
from cellcycle.predict import Predictor, Settings, predict
from cellcycle.predict.command import run_predict

SAMPLE = Path(__file__).parent.parent / "data" / "sample"
FIELD = SAMPLE / "fields" / "fields" / "field_001.tif"
NUCLEI = sorted((SAMPLE / "nuclei").rglob("*.png"))
LIMITS = Limits(file_mb=2, megapixels=2, files=60, request_mb=8)


@contextmanager
def running(**options):
    """Serve the website on a free port of this computer; yield its address."""
    import uvicorn

    config = uvicorn.Config(
        build_server(LIMITS, **options), host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1
    )
    server, uploads = uvicorn.Server(config), Path(os.environ["GRADIO_TEMP_DIR"])
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
    assert not uploads.exists()


@pytest.fixture(scope="module")
def site():
    with running() as address, httpx.Client(base_url=address, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def field_file(tmp_path_factory):
    """A 16-bit field with its pixel size, small enough to be quick."""
    import tifffile

    file = tmp_path_factory.mktemp("field") / "field 1 (a).tif"
    write_image(file, tifffile.imread(FIELD)[:300, :300], 0.325)
    return file


@pytest.fixture(scope="module")
def field(field_file):
    return pack(Predictor("nagao6").predict(field_file))


def post(client, *files, **form):
    """Send files as (name, content) or paths."""
    named = [(f.name, f.read_bytes()) if isinstance(f, Path) else f for f in files]
    return client.post("/predict", files=[("images", file) for file in named], data=form)


def png(height, width, value=0):
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


# --- REST ---


@pytest.mark.parametrize("kinds", ["f", "n", "nfn"])
def test_the_endpoint_gives_exactly_what_the_command_line_gives(site, capsys, monkeypatch, tmp_path, field_file, kinds):
    paths = [field_file if kind == "f" else NUCLEI[k] for k, kind in enumerate(kinds)]
    for path in paths:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    run_predict([path.name for path in paths], format_name="json")
    answer = post(site, *paths)
    assert answer.text == capsys.readouterr().out
    assert all(row["confidence"] is not None and row["prediction_set"] is not None for row in answer.json())


def test_the_endpoint_takes_the_options_of_the_command_line(site, capsys, monkeypatch, field_file):
    monkeypatch.chdir(field_file.parent)
    run_predict([field_file.name], "lr", Settings("field", "0", 0, 0.4), format_name="json")
    answer = post(site, field_file, model="lr", kind="field", channel="0", plane=0, pixel_size_um=0.4)
    assert answer.text == capsys.readouterr().out
    assert answer.json()[0]["pixel_size_um"] == 0.4


def test_images_of_one_slide_are_judged_together(site, capsys, monkeypatch):
    monkeypatch.chdir(NUCLEI[0].parent)
    names = [path.name for path in NUCLEI if path.parent == NUCLEI[0].parent][:3]
    run_predict(names, format_name="json", is_slide=True)
    assert post(site, *(Path(name) for name in names), slide=True).text == capsys.readouterr().out
    assert post(site, NUCLEI[0], slide=True, model="nagao6-g1").status_code == 400


def test_health_and_description_tell_what_there_is(site):
    assert site.get("/health").json()["models"][:2] == ["auto", "nagao6"]
    described = site.get("/openapi.json").json()["paths"]
    assert set(described) == {"/health", "/predict"}


def test_an_unreadable_image_is_one_line_without_a_path_of_the_server(site):
    answer = post(site, ("cells 1.png", NUCLEI[0].read_bytes()[:200]))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("cells 1.png: ") and "/" not in answer.json()["detail"]
    several = post(site, ("a/b\\cells.tif", b"II*\0no image"), NUCLEI[0])
    assert several.json()[0]["flags"] == "unreadable"
    assert several.json()[0]["image"] == "cells.tif" and "/" not in several.json()[0]["error"]


@pytest.mark.parametrize(
    ("files", "form", "status", "words"),
    [
        ([("a.png", png(1500, 1500))], {}, 422, "million pixels"),
        ([("a.png", bytes(3 << 20))], {}, 422, "MB, more than 2"),
        ([("a.png", b"x")] * 61, {}, 400, "61 are more than the 60"),
        ([("a.png", bytes(2 << 20))] * 5, {}, 413, "larger than 8 MB"),
        ([NUCLEI[0]], {"model": str(SAMPLE)}, 400, "is unknown; there are auto"),
        ([NUCLEI[0]], {"kind": "cell"}, 400, "'cell' is unknown"),
        ([NUCLEI[0]], {"pixel_size_um": -1}, 400, "not a size"),
    ],
)
def test_what_is_too_large_or_unknown_is_refused_in_one_line(site, files, form, status, words):
    answer = post(site, *files, **form)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text


@pytest.mark.parametrize("path", ["/predict", "/gradio_api/upload"])
def test_a_body_of_unannounced_length_is_cut_off(site, path):
    def endless():
        yield b"--x\r\nContent-Disposition: form-data; name=images; filename=a.png\r\n\r\n"
        for _ in range(20):
            yield bytes(1 << 18)
            yield b"\r\n--x\r\nContent-Disposition: form-data; name=images; filename=b.png\r\n\r\n"
            yield bytes(1 << 19)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert site.post(path, content=endless(), headers=headers).status_code == 413


def test_where_too_many_wait_the_next_is_asked_to_come_back():
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from cellcycle.app.api import add_routes

    app = FastAPI()
    add_routes(app, Service(replace(LIMITS, waiting=0)), Store(1, 1))
    answer = post(TestClient(app), NUCLEI[0])
    assert answer.status_code == 503 and answer.headers["retry-after"]


@contextmanager
def watched_predictor(monkeypatch):
    """Note, while images are predicted, how many are worked on at a time and how much memory is taken for it."""
    found, lock, original = {"now": 0, "at_once": 0, "most_bytes": 0}, threading.Lock(), Predictor.predict
    before = psutil.Process().memory_info().rss

    def watched(self, image):
        with lock:
            found["now"] += 1
            found["at_once"] = max(found["at_once"], found["now"])
        try:
            return original(self, image)
        finally:
            with lock:
                found["now"] -= 1
                found["most_bytes"] = max(found["most_bytes"], psutil.Process().memory_info().rss - before)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict", watched)
        yield found


def test_fifty_uploads_at_once_are_all_answered_rightly_in_bounded_memory(site, monkeypatch):
    chosen = NUCLEI[:50]
    expected = predict(chosen).drop(columns="image")
    with watched_predictor(monkeypatch) as watched, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda path: post(site, path), chosen))
    assert 0 < watched["most_bytes"] < 400e6
    assert 1 <= watched["at_once"] <= LIMITS.at_once
    found = pd.DataFrame([answer.json()[0] for answer in answers])
    assert found["image"].tolist() == [path.name for path in chosen]
    columns = [name for name in expected if name.startswith("p_")]
    assert np.array_equal(found[columns].to_numpy(), expected[columns].to_numpy())
    assert found["call"].tolist() == expected["call"].tolist()


# --- the guard ---


def test_a_password_closes_everything_but_health():
    with running(password="wörd") as address, httpx.Client(base_url=address) as client:
        for path in ("/", "/config", "/openapi.json", "/result/x/nuclei.csv"):
            assert client.get(path).status_code == 401
            assert client.get(path, auth=("me", "word")).status_code == 401
            assert client.get(path, headers={"authorization": "Basic !"}).status_code == 401
        assert client.post("/predict").headers["www-authenticate"].startswith("Basic")
        assert client.get("/health").status_code == 200
        assert client.get("/", auth=httpx.BasicAuth("anybody", "wörd")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        f"/gradio_api/file={FIELD}",
        "/gradio_api/file=pyproject.toml",
        "/gradio_api/file=http://example.org/",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=https://example.org/",
        "/monitoring",
        "/docs",
        "/result/guess/nuclei.csv",
    ],
)
def test_no_file_of_the_server_and_no_other_site_can_be_reached(site, path):
    answer = site.get(path)
    assert answer.status_code in (403, 404, 405)
    assert str(Path.cwd()) not in answer.text.replace(path.rpartition("=")[2], "")


def test_the_browser_is_told_to_load_nothing_from_elsewhere(site):
    page = site.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy
    assert "fonts.googleapis" not in page.text and "cdn" not in page.text
    assert json.loads(site.get("/config").text)["analytics_enabled"] is False


# --- limits ---


def test_sizes_are_read_before_pixels_are_unpacked(tmp_path):
    import tifffile

    (tmp_path / "a.png").write_bytes(png(30, 20))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 2, 30, 20), np.uint16), metadata={"axes": "ZCYX"}, imagej=True)
    (tmp_path / "a.txt").write_text("no image")
    sizes = [announced_pixels(tmp_path / name) for name in ("a.png", "a.tif", "a.txt")]
    assert sizes == [(600, 600), (600, 3600), (0, 0)]
    with pytest.raises(ImageError, match="planes have 0 million pixels together"):
        replace(LIMITS, stack_megapixels=0.002).check_file(tmp_path / "a.tif", "a.tif")


# --- results that are kept ---


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_keeping_a_result_changes_no_pixel(tmp_path, dtype):
    import tifffile

    rng = np.random.default_rng(0)
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    tifffile.imwrite(tmp_path / "a.tif", (top * rng.random((64, 64))).astype(dtype))
    prediction = Predictor("lr").predict(tmp_path / "a.tif")
    packed = pack(prediction)
    assert np.array_equal(unpack(packed.plane).pixels, prediction.plane.pixels)
    assert np.array_equal(packed.nuclei.labels, prediction.nuclei.labels)
    assert packed.plane.pixels.itemsize == (4 if dtype == np.float32 else 2)


def test_old_results_make_room_and_are_forgotten(field):
    clock = [0.0]
    store = Store(most_mb=2.5 * Result((field,)).size_mb, most_s=100, clock=lambda: clock[0])
    keys = [store.put(Result((field,))) for _ in range(2)]
    store.get(keys[0])
    keys.append(store.put(Result((field,))))
    with pytest.raises(SettingError, match="no longer kept"):
        store.get(keys[1])
    assert store.get(keys[0]) and store.get(keys[2]) and len(set(keys)) == 3
    clock[0] = 101
    with pytest.raises(SettingError):
        store.get(keys[0])


@pytest.mark.parametrize("model", ["nagao6", "best"])
def test_a_download_is_the_file_of_the_command_line(field_file, tmp_path, model):
    settings = Settings(g1_position=1000.0)
    run_predict([str(field_file)], model, settings, format_name="csv", output=tmp_path / "nuclei.csv")
    found = Predictor(model, settings).predict(field_file).table
    assert rows_as("csv", [found]) == (tmp_path / "nuclei.csv").read_bytes()
    assert found["confidence"].between(0.25, 1).all() and found["review"].astype(bool).any()


# --- review and corrections ---


def test_doubtful_nuclei_come_first(field):
    result = Result((field,))
    rows, why = listed_rows(result), reasons(result.table)
    doubtful = [bool(why[row]) for row in rows]
    assert any(doubtful) and not all(doubtful) and doubtful == sorted(doubtful, reverse=True)
    surest = result.table[[f"p_{c}" for c in result.classes]].max(axis=1)
    assert surest[rows[: sum(doubtful)]].is_monotonic_increasing
    assert listed_rows(result, DOUBTFUL) == rows[: sum(doubtful)]
    assert all(result.table["call"][row] == "G1" for row in listed_rows(result, "G1"))
    line = shown_table(result).iloc[3]
    assert row_of_line(result, line.iloc[0]) == rows[3] and line["Phase"] == result.table["call"][rows[3]]


def test_the_models_own_doubts_decide_where_it_has_any(field):
    table = field.table.assign(review="", confidence=0.99, prediction_set="G1", flags="")
    table.loc[[7, 4], "review"] = ["uncertain", "untypical_of_its_phase;edge"]
    table.loc[4, "call"] = "G1"
    table.loc[[7, 4], "confidence"] = [0.9, 0.2]
    result = Result((field,))
    result.table = table
    assert listed_rows(result)[:2] == [4, 7] and listed_rows(result, DOUBTFUL) == [4, 7]
    assert reasons(table)[4] == "unusual for G1, cut by the image's edge"


@pytest.mark.parametrize(
    ("call", "given", "said"),
    [
        ("S", "S", "88 % sure, no other phase is likely"),
        ("S", "G1;S;G2", "88 % sure, could be G1, S or G2"),
        ("S", "", "88 % sure, but looks like a typical nucleus of no phase"),
        ("", "", None),
    ],
)
def test_a_nucleus_says_in_words_how_sure_the_call_is_and_what_else_it_could_be(field, call, given, said):
    row = field.table.iloc[0].copy()
    row["call"], row["confidence"], row["prediction_set"] = call, 0.876 if call else np.nan, given
    shown = words.nucleus_card(row, ("G1", "S", "G2", "M"), {}, "")
    assert ("class='sure'" in shown) == (said is not None) and (said is None or f">{said}<" in shown)


def test_a_card_says_once_what_sure_and_could_be_mean(field):
    card = words.model_card((field.checkpoint, field.checkpoint))
    assert card.count("How sure it is was measured on") == 1
    assert f"in {100 * field.checkpoint.confidence.coverage:.0f} % of cases" in card
    unfitted = replace(field.checkpoint, card=field.checkpoint.card | {"confidence": None})
    assert "How sure" not in words.model_card((unfitted,))


def test_the_table_can_be_put_in_other_orders(field):
    other = pack(Predictor("nagao6").predict(NUCLEI[0]))
    result = Result((field, other))
    assert listed_rows(result, ALL, AS_NUMBERED) == list(range(len(result.table)))
    for order, column in ((MOST_DNA, "integrated_dna"), (LARGEST, "area_um2")):
        assert result.table[column][listed_rows(result, ALL, order)].is_monotonic_decreasing
        assert set(listed_rows(result, DOUBTFUL, order)) == set(listed_rows(result, DOUBTFUL))
    assert set(shown_table(result)["Could be"]) >= {"G1", "S or G2"}


def test_a_model_without_confidence_is_doubted_below_60_percent(field):
    columns = {"call": ["S", "S", ""], "p_G1": [0.45, 0.3, np.nan], "p_S": [0.55, 0.7, np.nan]}
    table = pd.DataFrame(columns | {"flags": ["edge", "scale_unknown", "no_g1_peak"]})
    expected = ["unsure whether S or G1, cut by the image's edge", "", "too few nuclei to calibrate DNA content"]
    for given in (table, table.assign(confidence=np.nan, review="")):
        assert [said.partition(", so")[0] for said in reasons(given)] == expected


@pytest.mark.parametrize(("text", "said"), [("0.5x", "pixel size: '0.5x' is no such number"), ("-1", "not a size")])
def test_a_setting_that_is_no_number_is_told(handlers, tmp_path, text, said):
    (tmp_path / "a.png").write_bytes(NUCLEI[0].read_bytes())
    key, _, message, *_ = upload(handlers, [(str(tmp_path / "a.png"), "a.png")], pixel_size_um=text)
    assert key is None and said in message.replace("&#x27;", "'") and list(tmp_path.iterdir()) == []


def test_corrections_are_a_data_set_to_train_from(field, tmp_path):
    result = Result((field, pack(Predictor("nagao6").predict(NUCLEI[0]))))
    n_field = len(field.table)
    result.corrections.update({3: "M", 5: "", 8: "S", n_field: "G2"})
    with zipfile.ZipFile(io.BytesIO(corrections_zip(result))) as archive:
        archive.extractall(tmp_path)
    manifest = pd.read_csv(tmp_path / "manifest.csv")
    assert manifest["label"].tolist() == ["M", "S", "G2"]
    assert manifest["nucleus_id"].tolist() == [4, 9, 1] and manifest["call"].tolist()[0] == field.table["call"][3]
    data = load_dataset(tmp_path / "manifest.csv")
    assert [data.classes[k] for k in data.labels] == ["M", "S", "G2"]
    assert data.groups[0] == data.groups[1] != data.groups[2]
    assert set(listed_rows(result, CORRECTED)) == {3, 5, 8, n_field}
    assert list(shown_table(result, CORRECTED)["You said"].sort_values()) == ["G2", "M", "S", "no nucleus"]
    assert len(shown_table(result, ALL)) == n_field + 1


def test_what_a_visitor_calls_a_file_is_only_text_on_the_page(field):
    evil = "<script>alert(1)</script>.png"
    row = field.table.iloc[0].copy()
    row["image"] = evil
    shown = words.nucleus_card(row, ("G1", "S", "G2", "M"), {}, evil) + words.message([evil], [evil])
    assert "<script" not in shown and "&lt;script" in shown


def test_an_occlusion_map_blames_the_nucleus_and_not_the_background(field):
    row = int(field.table["p_G2"].argmax())
    picture, fall = occlusion_map(replace(field, plane=unpack(field.plane)), row)
    assert picture.shape == fall.shape and np.isfinite(fall).all()
    inside = picture > 0.3 * picture.max()
    assert np.abs(fall[inside]).mean() > 3 * np.abs(fall[0]).mean()


def test_occlusion_changes_the_picture_and_keeps_the_measurements(field_file, monkeypatch):
    from cellcycle.confidence.calibration import with_temperature
    from cellcycle.predict.pictures import normalise_measurements
    from cellcycle.predict.runtime import Runtime

    dna = predict(field_file, "lr")["integrated_dna"]
    found = Predictor("best", Settings(g1_position=float(dna.median()))).predict(field_file)
    rule, row, given = found.checkpoint.input_rule, 9, {}
    original = Runtime.probabilities

    def noted(self, pictures, measurements=None):
        given.update(pictures=pictures, measurements=measurements, scores=original(self, pictures, measurements))
        return given["scores"]

    monkeypatch.setattr(Runtime, "probabilities", noted)
    picture, fall = occlusion_map(found, row)
    assert np.ptp(fall) > 0 and picture.shape == (rule.size_px, rule.size_px)
    own = normalise_measurements(found.columns, rule)[row]
    assert np.array_equal(given["measurements"], np.tile(own, (len(given["pictures"]), 1)))
    assert np.abs(given["pictures"] - given["pictures"][-1]).max(axis=(1, 2, 3))[:-1].max() > 0
    shown = with_temperature(given["scores"][-1:], found.checkpoint.confidence.temperature)[0]
    assert shown == pytest.approx(found.table[[f"p_{name}" for name in found.checkpoint.classes]].iloc[row].to_numpy())


# --- what the buttons do ---


@pytest.fixture
def handlers():
    from cellcycle.app.handlers import Handlers

    return Handlers(Service(LIMITS), Store(100, 100))


def upload(handlers, files, key=None, **settings):
    """Upload files as (path, name); return what `_keep` gives."""
    given = {
        "model": "nagao6",
        "kind": "auto",
        "pixel_size_um": "",
        "channel": "",
        "plane": "",
        "slide": False,
    } | settings
    return handlers.upload(files, *given.values(), key, progress=lambda *_: None)[1:]


def test_uploads_are_deleted_and_broken_ones_named(handlers, tmp_path):
    files = []
    for name, content in {"a.png": NUCLEI[0].read_bytes(), "b.png": b"text", "c.png": png(1500, 1500)}.items():
        (tmp_path / f"upload-{name}").write_bytes(content)
        files.append((str(tmp_path / f"upload-{name}"), name))
    key, row, message, *_ = upload(handlers, files, model="auto")
    assert list(tmp_path.iterdir()) == [] and str(tmp_path) not in message
    assert "Model: nagao6 (auto: one nucleus)." in message
    assert "a.png: " in message and "b.png: " in message and "c.png: it has 2 million pixels" in message
    assert len(handlers.store.get(key).images) == 3 and row == 0


def test_uploads_are_deleted_where_they_are_refused(handlers, tmp_path):
    files = []
    for k in range(61):
        (tmp_path / f"{k}.png").write_bytes(NUCLEI[0].read_bytes())
        files.append((str(tmp_path / f"{k}.png"), "a.png"))
    key, _, message, *_ = upload(handlers, files)
    assert key is None and "61 are more than the 60" in message and list(tmp_path.iterdir()) == []


def test_images_beyond_the_memory_of_a_request_are_left_out(tmp_path):
    from cellcycle.app.handlers import Handlers

    handlers, files = Handlers(Service(replace(LIMITS, request_megapixels=0.005)), Store(100, 100)), []
    for k in range(4):
        (tmp_path / f"{k}.png").write_bytes(NUCLEI[k].read_bytes())
        files.append((str(tmp_path / f"{k}.png"), f"{k}.png"))
    key, _, message, *_ = upload(handlers, files)
    assert len(handlers.store.get(key).images) == 2 and "2 images were left out" in message
    assert list(tmp_path.iterdir()) == []


def test_another_model_looks_at_the_very_same_pixels(handlers, tmp_path, field_file):
    (tmp_path / "f.tif").write_bytes(field_file.read_bytes())
    key, *_ = upload(handlers, [(str(tmp_path / "f.tif"), "f.tif")])
    new, *_ = handlers.again("resnet8", "auto", "0,4", "", "", False, key, progress=lambda *_: None)
    expected = predict(field_file, "resnet8", pixel_size_um=0.4)
    pd.testing.assert_frame_equal(handlers.store.get(new).table.drop(columns="image"), expected.drop(columns="image"))
    with pytest.raises(SettingError):
        handlers.store.get(key)


def test_a_click_on_the_overlay_finds_its_nucleus(handlers, field):
    from types import SimpleNamespace

    key = handlers.store.put(Result((field,)))
    x, y = field.table["centroid_x_px"][9], field.table["centroid_y_px"][9]
    assert handlers.choose_point(key, 3, 0, SimpleNamespace(index=(x, y))) == 9
    assert handlers.choose_point(key, 3, 0, SimpleNamespace(index=(x, 305))) == 3


def test_two_models_of_one_name_and_a_damaged_one_are_refused(tmp_path):
    with pytest.raises(SettingError, match="two models are called 'lr'"):
        Service(folders=["lr"])
    with pytest.raises(CellCycleError):
        Service(folders=[tmp_path])


def test_a_gray_image_without_nuclei_is_no_error(handlers, tmp_path):
    write_image(tmp_path / "empty.png", np.full((64, 64), 9, np.uint8))
    key, row, message, *_ = upload(handlers, [(str(tmp_path / "empty.png"), "empty.png")])
    assert row is None and "no nucleus found" in message
    assert len(shown_table(handlers.store.get(key))) == 0
    assert len(handlers.look(key, None, 0, 1)) == 6


# --- the command ---


def test_the_command_serves_with_its_options(monkeypatch):
    from typer.testing import CliRunner

    from cellcycle.cli import app

    given = []
    monkeypatch.setattr("cellcycle.app.serve", lambda *arguments: given.append(arguments))
    runner = CliRunner()
    assert runner.invoke(app, ["app"]).exit_code == 0
    assert runner.invoke(app, ["app", "--host", "::1", "--port", "80", "--model", "a", "--model", "b"]).exit_code == 0
    assert given == [("127.0.0.1", 7860, ()), ("::1", 80, (Path("a"), Path("b")))]


def test_an_address_in_use_or_a_missing_gradio_is_one_line(monkeypatch):
    import socket
    import sys

    from cellcycle.app import serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingError, match="cannot be listened at"):
            serve(port=taken.getsockname()[1])
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SettingError, match="needs the package gradio"):
        serve()

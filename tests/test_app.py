"""The website without a browser: its addresses, what it keeps and forgets, and what it does with hostile requests."""

import ast
import asyncio
import base64
import csv
import io
import json
import os
import re
import shutil
import socket
import threading
import time
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("starlette", reason="the extra `app` is not installed")

import httpx
from PIL import Image
from starlette.requests import Request
from starlette.responses import JSONResponse

from cellcycle import app
from cellcycle.app import experiment, groups, page, server_options, worker
from cellcycle.app.asked import settings_of
from cellcycle.app.guard import Guard, Guesses, Refusal
from cellcycle.app.limits import Limits
from cellcycle.app.models import model_card, model_table
from cellcycle.app.server import build_server
from cellcycle.app.site import COOKIE, OWN_NAME
from cellcycle.app.store import Store, new_id
from cellcycle.app.words import in_page_words
from cellcycle.app.work import Work
from cellcycle.datasets import load_dataset
from cellcycle.errors import CellCycleError, ImageError, SettingError
from cellcycle.images import read_numbers, write_image
from cellcycle.images.writing import origin_of
from cellcycle.names import clean_name
from cellcycle.predict import Settings, predict
from cellcycle.predict.command import run_predict
from cellcycle.predict.extras import Extras
from cellcycle.predict.overlay import is_overlay
from cellcycle.review import read_labels
from cellcycle.simulation import simulate_field
from tests import in_child

pytestmark = pytest.mark.slow
SAMPLE = Path(__file__).parent.parent / "data" / "sample"
FIELD = SAMPLE / "fields" / "fields" / "field_001.tif"
NUCLEI = sorted((SAMPLE / "nuclei").rglob("*.png"))
LIMITS = Limits(
    file_mb=2, megapixels=2, files=60, request_mb=8, images=60, read_s=20, work_s=20, work_mb=2000, guesses=3
)
# Of a server that one visitor uses: each worker loads all models first, in seconds.
ALONE = replace(LIMITS, at_once=1)
# A busy computer is not to be taken for a slow visitor: for those alone who are one.
IMPATIENT = replace(LIMITS, head_s=1, body_s=1, at_once=1)
EVIL = "https://evil.example"


@contextmanager
def running(folder, limits=ALONE, **options):
    """Serve the website on a free port of this computer; yield its address."""
    import uvicorn

    app = build_server(limits, storage=folder, **options)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, **server_options(limits) | {"log_level": "critical"})
    server = uvicorn.Server(config)
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
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("site") / "page"


@pytest.fixture(scope="module")
def site(folder):
    with running(folder, LIMITS) as address, httpx.Client(base_url=address, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """As `site`, with little patience for slow connections."""
    with (
        running(tmp_path_factory.mktemp("impatient") / "page", IMPATIENT) as address,
        httpx.Client(base_url=address) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def field_file(tmp_path_factory):
    """A 16-bit field with its pixel size, small enough to be quick."""
    import tifffile

    file = tmp_path_factory.mktemp("field") / "field 1 (a).tif"
    write_image(file, tifffile.imread(FIELD)[:300, :300], 0.325)
    return file


@contextmanager
def visitor(site):
    """A client with a cookie of its own; what it gave is forgotten at the end."""
    # No certificate is asked for here, and to load those of the system takes longer than most requests.
    with httpx.Client(base_url=site.base_url, timeout=120, verify=False) as client:
        client.post("/api/visit").raise_for_status()
        yield client
        client.delete("/api/images")


def cookie_of(folder: Path) -> str:
    """Return the name of the cookie of a server that keeps its things in a folder."""
    return COOKIE.format(json.loads((folder / OWN_NAME).read_text("utf-8")))


def post(client, *files, **form):
    """Send files as (name, content) or paths to /predict."""
    named = [(f.name, f.read_bytes()) if isinstance(f, Path) else f for f in files]
    return client.post("/predict", files=[("images", file) for file in named], data=form)


def give(client, file, name=None, **settings):
    content = file.read_bytes() if isinstance(file, Path) else file
    return client.post("/api/images", params={"name": name or file.name} | settings, content=content)


def png(height, width, value=0):
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def as_by_command(table: str) -> str:
    """Return a table of the page without its last column, which is empty where nothing was said."""
    head, *rows = table.splitlines()
    assert head.endswith(",corrected") and all(row.endswith(",") for row in rows)
    return "".join(f"{line.rpartition(',')[0]}\n" for line in (head, *rows))


def raw(site, request: bytes, pause_s=0.0, timeout_s=60.0) -> bytes:
    """Send bytes as they are; return what comes until the server ends the connection."""
    with socket.create_connection((site.base_url.host, site.base_url.port), timeout=timeout_s) as wire:
        for part in (request[k : k + 1] for k in range(len(request))) if pause_s else [request]:
            try:
                wire.sendall(part)
            except OSError:
                break
            time.sleep(pause_s)
        found = b""
        try:
            while part := wire.recv(1 << 16):
                found += part
        except ConnectionError:
            pass
    return found


# --- for programs ---


@pytest.mark.parametrize("kinds", ["f", "n", "nfn"])
def test_the_endpoint_gives_exactly_what_the_command_line_gives(site, capsys, monkeypatch, tmp_path, field_file, kinds):
    paths = [field_file if kind == "f" else NUCLEI[k] for k, kind in enumerate(kinds)]
    for path in paths:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    run_predict([path.name for path in paths], format_name="json")
    answer = post(site, *paths)
    assert answer.text == capsys.readouterr().out
    for row in answer.json():
        # Where a call is withheld nothing speaks of one, and a reason is given.
        is_called = bool(row["call"])
        assert (row["confidence"] is not None) == bool(row["prediction_set"]) == is_called
        assert is_called or row["review"]


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


def test_fields_are_read_together_as_by_the_command_line_unless_each_is_wanted(
    site, capsys, monkeypatch, tmp_path, halves, found_once
):
    monkeypatch.chdir(halves[0].parent)
    for how in ({}, {"is_each": True}):
        run_predict([path.name for path in halves], format_name="json", **how)
        form = {name.removeprefix("is_"): True for name in how}
        # The page is given no folder, which names the plate here.
        assert post(site, *halves, **form).text == capsys.readouterr().out.replace(halves[0].parent.name, "")
    assert post(site, *halves, slide=True, each=True).status_code == 400


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Two fields of one slide, the second fainter than its own nuclei can tell."""
    import tifffile

    folder, pixels = tmp_path_factory.mktemp("halves"), tifffile.imread(FIELD)
    for name, part in (("A01_s1.tif", pixels[:400]), ("A02_s1.tif", pixels[400:])):
        write_image(folder / name, part, 0.325)
    return sorted(folder.glob("*.tif"))


def test_images_of_the_page_are_read_together_and_called_by_their_map(site, halves, monkeypatch, tmp_path, found_once):
    plate_map = tmp_path / "map.csv"
    plate_map.write_text("well,condition\nA01,control\nA02,drug\n")
    monkeypatch.chdir(halves[0].parent)
    with visitor(site) as client:
        keys = [give(client, path).json()["id"] for path in halves]
        for how, given in (({}, None), ({"each": True}, None), ({"slide": True}, None), ({}, plate_map)):
            if given:
                assert client.post("/api/map", content=given.read_bytes()).status_code == 200
            for key in client.post("/api/together", params=how).raise_for_status().json()["changed"]:
                client.post(f"/api/images/{key}/call").raise_for_status()
            # Nothing more is to be told.
            assert client.post("/api/together", params=how).json()["changed"] == []
            options = {f"is_{name}": value for name, value in how.items()}
            run_predict([path.name for path in halves], output=tmp_path / "cli.csv", plate_map=given, **options)
            by_command = (tmp_path / "cli.csv").read_text().replace(halves[0].parent.name, "")
            assert as_by_command(client.get("/api/nuclei.csv").text) == by_command
        arms = {arm["arm"]: arm for arm in client.get("/api/summary.json").json()}
        assert set(arms) == {"control", "drug"}
        assert sum(value for value, *_ in arms["drug"]["shares"].values()) == pytest.approx(1, abs=1e-3)
        packed = client.get("/api/report.zip", params={"control": "control"})
        with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
            assert {"report.html", "report_numbers.csv", "nuclei.csv"} == set(archive.namelist())
            assert b"drug" in archive.read("report.html")
        assert client.get("/api/summary.json", params={"control": "x"}).status_code == 400
        with visitor(site) as other:
            assert other.post("/api/together").json() == {"changed": [], "notes": []}
            assert other.post("/api/visit").json()["has_map"] is False
        assert client.request("DELETE", "/api/map").status_code == 200
        assert sorted(client.post("/api/together").json()["changed"]) == sorted(keys)


def test_an_image_that_is_refused_beside_others_is_counted_no_more(site, tmp_path):
    made, light = simulate_field((420, 420), 45, seed=21), np.random.default_rng(0)
    other = light.normal(400, 25, made.image.shape)
    for nucleus in made.truth.itertuples():
        other[made.labels == nucleus.nucleus_id] += 9000 if nucleus.phase == "S" else 1000
    for name, pixels in (("x_DAPI.tif", made.image), ("x_EdU.tif", np.rint(other).astype(np.uint16))):
        write_image(tmp_path / name, pixels, made.pixel_size_um)
    with visitor(site) as client:
        _, second = (give(client, tmp_path / name).json()["id"] for name in ("x_DAPI.tif", "x_EdU.tif"))
        rows = lambda: pd.read_csv(io.StringIO(client.get("/api/nuclei.csv").text))  # noqa: E731
        before = rows()["image"].value_counts()
        assert before["x_EdU.tif"] > 20 and second in client.post("/api/together").json()["changed"]
        assert "give the files of DNA alone" in client.post(f"/api/images/{second}/call").text
        table = rows()
        assert table.loc[table["image"] == "x_EdU.tif", "flags"].tolist() == ["unreadable"]
        assert len(table) == before["x_DAPI.tif"] + 1
        # Nor is it shown as it was called before, here or in another tab.
        assert [about["n"] for about in client.post("/api/visit").json()["images"]] == [before["x_DAPI.tif"], 0]
        shown, outlines = (client.get(f"/api/images/{second}/{name}") for name in ("nuclei.json", "outlines.zip"))
        assert shown.json()["id"] == [] and outlines.status_code == 200
        assert [arm["arm"] for arm in client.get("/api/summary.json").json()] == ["x_DAPI.tif"]
        # By itself it is no channel.
        assert client.post("/api/together", params={"each": True}).json()["changed"] == [second]
        client.post(f"/api/images/{second}/call", params={"each": True}).raise_for_status()
        assert rows()["image"].value_counts().equals(before)


def test_what_the_command_leaves_out_by_its_name_is_no_field_of_endpoint_or_page(site, tmp_path, monkeypatch):
    import tifffile

    monkeypatch.chdir(tmp_path)
    # Other nuclei in each: nothing but its name says that a picture is no field.
    corners = [tifffile.imread(FIELD)[y : y + 200, x : x + 200] for y in (0, 210, 420) for x in (0, 210, 420)]
    kinds = {
        "a.tif a_prob.tif": None,
        "A01_DAPI.tif A01_GFP.tif A02_DAPI.tif A02_Ki67.tif A01_DAPI_preview.tif": "image,condition\nA01_DAPI.tif,x\n"
        "A02_DAPI.tif,y\n",
        "b.tif b_thumb.tif": None,
    }
    for names, plate_map in kinds.items():
        names = names.split()
        for name, corner in zip(names, corners, strict=False):
            write_image(tmp_path / name, corner, 0.325)
        with pytest.warns(match="left out"):
            by_command = predict(names)
        rows = pd.DataFrame(post(site, *map(Path, names)).json())
        assert dict(rows["image"].value_counts()) == dict.fromkeys(names, 1) | dict(by_command["image"].value_counts())
        fields = rows[rows["image"].isin(by_command["image"])].reset_index(drop=True)
        assert fields["p_G1"].tolist() == pytest.approx(by_command["p_G1"].tolist(), abs=1e-4)
        others = rows[~rows["image"].isin(by_command["image"])]
        assert set(others["flags"]) == {"unreadable"} and others["error"].str.startswith("by its name it is a").all()
        with visitor(site) as client:
            for name in names:
                give(client, Path(name)).raise_for_status()
            if plate_map:
                client.post("/api/map", content=plate_map).raise_for_status()
            for key in client.post("/api/together").json()["changed"]:
                client.post(f"/api/images/{key}/call")
            table = pd.read_csv(io.StringIO(client.get("/api/nuclei.csv").text))
            assert table["call"].fillna("").tolist() == rows["call"].tolist()
    # As of the command, an error stands in place of what is not clear; what is judged by itself is no other's channel.
    for names in (("D01_ch1.tif", "D01_ch2.tif"), ("B01_z1.tif", "B01_z2.tif")):
        for name, corner in zip(names, corners, strict=False):
            write_image(tmp_path / name, corner, 0.325)
        rows = post(site, *map(Path, names)).json()
        assert [row["flags"] for row in rows] == ["unreadable"] * 2 and "its files are the" in rows[0]["error"]
        assert os.devnull not in str(rows)
        assert len(post(site, *map(Path, names), each=True).json()) > 10


def test_wells_of_images_of_one_name_are_told_to_count_as_one_unless_a_map_parts_them(site, halves):
    with visitor(site) as client:
        for file in (*halves, *halves):
            give(client, file)
        noted = lambda: [n for n in client.post("/api/together").json()["notes"] if "their wells count as one" in n]  # noqa: E731
        assert len(noted()) == 1 and noted()[0].startswith("2 images have the name of another, such as A01_s1 (2).tif")
        rows = [f"{file.stem}{copy}.tif,{plate}" for file in halves for copy, plate in (("", "p"), (" (2)", "q"))]
        client.post("/api/map", content="\n".join(["image,plate", *rows])).raise_for_status()
        assert noted() == []


@pytest.mark.parametrize("table", [b"", b"\0\xff", b"PK\x03\x04", b"well,condition\nZ99,a\n", b'"' * 9999,
                                   b"image,condition\n../../../etc/passwd,a\n",
                                   b"image,dose\nA01_s1.tif,1e999x\n"])  # fmt: skip
def test_what_is_no_plate_map_is_refused_in_one_line(site, folder, table):
    with visitor(site) as client:
        give(client, NUCLEI[0], name="A01_s1.tif")
        answer = client.post("/api/map", content=table)
        words = answer.json()["detail"]
        assert answer.status_code == 400 and "\n" not in words and str(folder) not in words and "map.csv" not in words
        assert client.post("/api/visit").json()["has_map"] is False
        assert client.post("/api/map", content=bytes(5 << 20)).status_code == 413


def test_what_is_noted_of_a_map_is_said_without_the_name_that_the_server_gives_it(site):
    with visitor(site) as client:
        give(client, NUCLEI[0], name="A01_s1.tif")
        table = "image,condition,tray\nA01_s1.tif,grün,1".encode("cp1252")
        answers = client.post("/api/map", content=table), client.post("/api/together")
        notes = [note for answer in answers for note in answer.json()["notes"]]
    assert "the plate map is not UTF-8: read as Windows-1252" in notes and "map.csv" not in str(notes), notes


def test_no_name_of_a_visitors_image_makes_the_server_read_its_own_file(site, halves, monkeypatch, tmp_path):
    from cellcycle.app import groups, worker

    # Run here, in the folder of a file of that name: what was found is gone, and nothing is found instead.
    monkeypatch.chdir(halves[0].parent)
    monkeypatch.setattr(worker, "_models", model_table())
    names, planes = [path.name for path in halves], [tmp_path / name for name in "ab"]
    for plane in planes:
        plane.mkdir()
    _, notes = groups.together([*planes, tmp_path / "gone"], [*names, "gone.tif"], "auto", Settings(), "together")
    told = [groups.told(plane, "auto", Settings())[0] for plane in planes]
    assert [one.anchor for one in told] == [None, None] and not any("quality" in note for note in notes)


def test_two_calls_at_once_may_clear_away_the_same_nuclei(monkeypatch, tmp_path):
    from cellcycle.app import worker

    found = []
    (tmp_path / "plane.npz").touch()
    monkeypatch.setattr(worker, "found_file", lambda *_: tmp_path / "found-new.npz")
    monkeypatch.setattr(worker, "_predictor", lambda *_: None)
    monkeypatch.setattr(worker, "kept", lambda file: (None, None))
    monkeypatch.setattr(worker, "found_in", lambda *given: found.append(given))
    # The other call has removed it since it was listed.
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [folder / "found-old.npz"])
    worker.find(tmp_path, "auto", Settings())
    assert len(found) == 1


def test_nuclei_are_found_once_however_often_they_are_called(monkeypatch, tmp_path, field_file):
    from cellcycle.app import worker
    from cellcycle.predict import predictor

    found, real = [], predictor.find_nuclei
    monkeypatch.setattr(predictor, "find_nuclei", lambda *given: (found.append(given), real(*given))[1])
    monkeypatch.setattr(worker, "_models", model_table())
    plane, settings = tmp_path / "plane", Settings("field")
    worker.read(field_file, "a.tif", settings, 25, plane)
    fresh = json.loads(worker.rows(plane, "auto", settings)[0])
    for model in ("auto", "nagao6", "auto"):
        worker.call(plane, model, settings, tmp_path / model)
    assert len(found) == 2 and json.loads(worker.rows(plane, "auto", settings)[0]) == fresh
    worker.call(plane, "auto", Settings("field", pixel_size_um=0.4), tmp_path / "other")
    assert len(found) == 3 and len(list(plane.glob("found-*"))) == 1


def test_health_and_description_tell_what_there_is(site):
    assert site.get("/health").json()["models"][:2] == ["auto", "nagao6"]
    described = site.get("/openapi.json").json()["paths"]
    assert set(described) == {"/health", "/predict"}
    form = described["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    given = {"model": "lr", "kind": "nucleus", "channel": "0", "plane": "0", "pixel_size_um": "0.3", "slide": "false",
             "each": "false"}  # fmt: skip
    assert set(form) == {"images", *given} and post(site, NUCLEI[0], **given).status_code == 200
    assert post(site, NUCLEI[0], colour="red").status_code == 400


def test_programs_are_told_what_the_command_notes(site, field_file):
    plain = post(site, field_file)
    assert "cellcycle-notes" not in plain.headers
    answer = post(site, field_file, ("b.tif", field_file.read_bytes()), pixel_size_um="20", each="true")
    assert answer.json()[0]["pixel_size_um"] == 0.325
    (note,) = json.loads(answer.headers["cellcycle-notes"])
    assert note.startswith(f"{field_file.name} and 1 more: it states 0.325 um a pixel; 20 um was asked for, but is not")


def test_a_group_without_a_name_is_called_by_what_a_visitor_gave(site, halves, tmp_path):
    import tifffile

    write_image(tmp_path / "8.tif", (tifffile.imread(halves[0]) >> 8).astype(np.uint8), 0.325)
    notes = json.loads(post(site, halves[1], tmp_path / "8.tif", each="false").headers["cellcycle-notes"])
    assert any(note.startswith("2 fields of your images are of several kinds") for note in notes), notes


def test_a_setting_that_cannot_be_is_told_by_its_name_on_the_page(site):
    with visitor(site) as client:
        answer = client.post("/api/images?name=a.png&pixel_size_um=abc", content=b"x")
        sizes = [client.post(f"/api/images?name=a.png&pixel_size_um={size}", content=b"x") for size in ("0", "1e-300")]
    assert answer.json()["detail"].startswith("Pixel size under Settings: 'abc' is not a valid number; give a number")
    words = "Pixel size under Settings: {} is not possible; give a number from 0.001 to 1000"
    assert [answer.json()["detail"] for answer in sizes] == [words.format(size) for size in ("0", "1e-300")]


def test_what_a_program_asks_twice_or_in_the_address_is_refused(site):
    files = [("images", (path.name, path.read_bytes())) for path in NUCLEI[:2]]
    answer = site.post("/predict", params={"model": "lr"}, files=files)
    assert answer.status_code == 400 and answer.json()["detail"].startswith("address: it has a query")
    twice = site.post("/predict", files=[*files, ("model", (None, "lr")), ("model", (None, "auto"))])
    with visitor(site) as client:
        on_page = client.post("/api/images?model=lr&model=auto&name=a.png", content=b"x")
    for answer in (twice, on_page):
        assert answer.status_code == 400
        assert answer.json()["detail"] == "model: it is given more than once; give it once"


def test_an_unreadable_image_is_one_line_without_a_path_of_the_server(site):
    answer = post(site, ("cells 1.png", NUCLEI[0].read_bytes()[:200]))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("cells 1.png: ") and "/" not in answer.json()["detail"]
    several = post(site, ("a/b\\cells.tif", b"II*\0no image"), NUCLEI[0])
    assert several.json()[0]["flags"] == "unreadable"
    assert several.json()[0]["image"] == "cells.tif" and "/" not in several.json()[0]["error"]
    assert "pip" not in post(site, ("x.czi", b"ZISRAWFILE" + bytes(600))).json()["detail"]


@pytest.mark.parametrize(
    ("files", "form", "status", "words"),
    [
        ([("a.png", png(1500, 1500))], {}, 422, "million pixels"),
        ([("a.png", bytes(3 << 20))], {}, 422, "MB, more than 2"),
        ([("a.png", b"x")] * 61, {}, 400, "number of files is 60"),
        ([("a.png", bytes(2 << 20))] * 5, {}, 413, "larger than the 8 MB"),
        ([NUCLEI[0]], {"model": str(SAMPLE)}, 400, "is unknown; there are auto"),
        ([NUCLEI[0]], {"kind": "cell"}, 400, "'cell' is unknown"),
        ([NUCLEI[0]], {"channel": "x" * 500}, 400, "not a short text"),
        ([NUCLEI[0]], {"slide": "maybe"}, 400, "neither true nor false"),
        ([], {"model": "auto"}, 400, "no file was given"),
    ],
)
def test_what_is_too_large_or_unknown_is_refused_in_one_line(site, files, form, status, words):
    answer = post(site, *files, **form)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text


@pytest.mark.parametrize("name", ["pixel_size_um", "plane"])
@pytest.mark.parametrize("value", ["1e300", "-1", "0x10", "nan", "inf", "1e-300", "9" * 100, "², ³", "\x00", "½"])
def test_numbers_that_cannot_be_are_one_sentence(site, name, value):
    answer = post(site, NUCLEI[0], **{name: value})
    assert answer.status_code == 400 and answer.json()["detail"].count("\n") == 0


@pytest.mark.parametrize(
    "name",
    [
        b"a." + b"b" * 300, b"a.p\\0ng", b"\x00.tif\x00", b"a\xff\xfe.png", b"=cmd|' C'!A0.png", b"\x1b[2J\x07.png",
        b"", b"..", b"/", b"../../../etc/passwd", b"C:\\x\\..\\a.png", b"a\xe2\x80\xaeb.png", b"\xed\xa0\x80.png",
        b"." * 2000, b"con.png", b"<img src=x onerror=alert(1)>.png", b"a.png\tx",
    ],
)  # fmt: skip
@pytest.mark.parametrize("charset", [b"", b"; charset=utf-7", b"; charset=unicode_escape", b"; charset=nonsense"])
def test_no_name_of_a_file_breaks_or_leads_anywhere(site, name, charset):
    body = b'--x\r\nContent-Disposition: form-data; name="images"; filename="' + name + b'"\r\n'
    body += b"Content-Type: image/png\r\n\r\n" + NUCLEI[0].read_bytes() + b"\r\n--x--\r\n"
    headers = {"content-type": (b"multipart/form-data; boundary=x" + charset).decode()}
    answer = site.post("/predict", content=body, headers=headers)
    assert answer.status_code in (200, 400, 422), answer.text
    if answer.status_code == 200:
        # A name that a spreadsheet would take for a formula is written as the path of a file.
        shown = answer.json()[0]["image"].removeprefix("./")
        assert shown and len(shown) <= 120 and shown.isprintable() and "/" not in shown and "\\" not in shown


@pytest.mark.parametrize("name", ["=cmd|' C'!A0.png", "+1.png", "-1.png", "@x.png"])
def test_no_cell_of_a_download_is_a_formula(site, name):
    with visitor(site) as client:
        key = give(client, NUCLEI[0], name).json()["id"]
        client.put(f"/api/images/{key}/corrections", json={"1": "S"})
        for text in (client.get("/api/corrections.csv").text, client.get("/api/nuclei.csv").text):
            cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
            assert any(name in cell for cell in cells)
            assert not [cell for cell in cells if cell[:1] in "=+-@" and not cell[1:2].isdigit() and cell]


@pytest.mark.parametrize(
    ("name", "kept"),
    [("a\nb.png", "ab.png"), ("\u202egnp.exe", "gnp.exe"), ("\ud800.tif", ".tif"), ("x" * 500 + ".tif", 120)],
)
def test_names_are_cleaned(name, kept):
    assert clean_name(name) == kept or len(clean_name(name)) == kept


@pytest.mark.parametrize(
    "body",
    [b"", b"--x", b"--x\r\n\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\nx\r\n--x--", b"\0" * 100,
     b"--x\r\nContent-Disposition: form-data; name=model; filename\r\n\r\n\r\n--x--\r\n"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "multipart/form-data", "application/json", "x"])
def test_a_broken_form_is_one_sentence(site, body, kind):
    answer = site.post("/predict", content=body, headers={"content-type": kind})
    assert answer.status_code == 400 and "\n" not in answer.json()["detail"]


def test_an_image_that_is_sent_as_it_is_is_no_field_of_a_form(site):
    kind = {"content-type": "application/x-www-form-urlencoded"}  # of curl --data-binary
    answer = site.post("/predict", content=NUCLEI[0].read_bytes(), headers=kind)
    assert answer.status_code == 400 and answer.json()["detail"].startswith("images: no file was given; give one")
    answer = site.post("/predict", files={"image": NUCLEI[0].read_bytes()})
    assert answer.status_code == 400 and "there is no field 'image'; use images" in answer.json()["detail"]


# --- many at once, and work that takes too much ---


@pytest.mark.slow
def test_fifty_visitors_with_one_file_or_each_their_own_all_get_theirs(site):
    # Half of them have the same file.
    paths = [*[NUCLEI[0]] * 25, *NUCLEI[:25]]

    def ask(path):
        with visitor(site) as client:
            about = give(client, path, name=path.name).raise_for_status().json()
            return about["name"], client.get("/api/nuclei.csv").text

    expected = {path: predict(path).assign(image=path.name).to_csv(index=False) for path in set(paths)}
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(ask, paths))
    assert [name for name, _ in found] == [path.name for path in paths]
    for path, (_, text) in zip(paths, found, strict=True):
        mine, theirs = (pd.read_csv(io.StringIO(t)) for t in (text, expected[path]))
        # A written probability has four decimals, another number six digits.
        pd.testing.assert_frame_equal(mine.drop(columns="corrected"), theirs, rtol=5e-6, atol=6e-5, check_dtype=False)


def test_fifty_programs_at_once_are_all_answered_rightly(site):
    # Each asks for itself: images of one run would tell each other their scale.
    expected = pd.concat([predict(path, is_each=True) for path in NUCLEI[:50]]).drop(columns="image")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda path: post(site, path), NUCLEI[:50]))
    found = pd.DataFrame([answer.json()[0] for answer in answers])
    assert found["image"].tolist() == [path.name for path in NUCLEI[:50]]
    columns = [name for name in expected if name.startswith("p_")]
    # A written probability has four decimals.
    np.testing.assert_allclose(found[columns].to_numpy(), expected[columns].to_numpy(), rtol=0, atol=6e-5)


def test_what_takes_too_long_or_too_much_is_one_line_and_hurts_nobody_else(tmp_path, monkeypatch):
    from cellcycle.app import worker

    limits = replace(LIMITS, read_s=3, work_mb=1000, at_once=1)
    with running(tmp_path, limits) as address, httpx.Client(base_url=address, timeout=60) as client:
        with monkeypatch.context() as patch:
            for spoiler in (in_child.sleep, in_child.fill, in_child.crash):
                patch.setattr(worker, "read", spoiler)
                answer = post(client, NUCLEI[0])
                assert answer.status_code == 422 and answer.json()["detail"].startswith(NUCLEI[0].name)
                assert client.get("/health").status_code == 200
        assert post(client, NUCLEI[0]).status_code == 200


async def _no_room(*_):
    in_child.full()


@pytest.mark.parametrize("where", ["site.received", "worker.read", "worker.call"])
def test_a_disk_that_others_filled_is_told_as_one_that_is_full(site, monkeypatch, where):
    monkeypatch.setattr(f"cellcycle.app.{where}", _no_room if where == "site.received" else in_child.full)
    with visitor(site) as client:
        for answer in (give(client, NUCLEI[0]), *([post(client, NUCLEI[0])] if where != "worker.call" else [])):
            assert answer.status_code == 503 and "the disk of this server is full" in answer.json()["detail"]
        assert client.post("/api/visit").json()["images"] == []


def test_where_too_many_wait_the_next_is_asked_to_come_back(tmp_path):
    with running(tmp_path, replace(ALONE, waiting=-2)) as address, httpx.Client(base_url=address) as client:
        client.post("/api/visit")
        for answer in (post(client, NUCLEI[0]), give(client, NUCLEI[0]), client.post("/api/corrections", content=b"x")):
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
        # Nor is anything left of what was refused, not even the folder of a visitor: cookies cost nothing.
        assert not [left for left in tmp_path.iterdir() if left.name not in (".work", OWN_NAME)]
    with running(tmp_path, replace(ALONE, disk_mb=0)) as address, httpx.Client(base_url=address) as client:
        assert post(client, NUCLEI[0]).status_code == 413  # it never will have room


@pytest.mark.parametrize("path", ["/predict", "/api/images?name=a.png", "/api/map", "/api/corrections"])
def test_what_would_be_sent_away_is_told_so_before_its_body_lies_on_the_disk(tmp_path, path):
    """A fifth upload of one visitor was written whole, and then refused."""
    with running(tmp_path, replace(ALONE, waiting=-2)) as address:
        host, port = address.removeprefix("http://").split(":")
        known = f"Host: localhost\r\nCookie: {cookie_of(tmp_path)}={new_id()}\r\n"
        head = f"POST {path} HTTP/1.1\r\n{known}Content-Length: 1000000\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=10) as wire:
            wire.sendall(head.encode() + bytes(100_000))
            assert wire.recv(1000).startswith(b"HTTP/1.1 503")
        assert not [file for file in tmp_path.glob("*/**/*") if file.is_file()]


# --- who may ask ---


def test_a_password_closes_everything_but_health(tmp_path):
    # Of a system that is not of UTF-8, as Python hands it on.
    foreign = Guard(None, LIMITS, password="w\udcf6rd")
    foreign._check_password("Basic " + base64.b64encode(b"me:w\xf6rd").decode(), "10.0.0.1")
    with pytest.raises(Refusal, match="missing or wrong"):
        foreign._check_password("", "10.0.0.1")
    with running(tmp_path, password="wörd") as address, httpx.Client(base_url=address) as client:
        for path in ("/", "/static/main.js", "/openapi.json", "/api/nuclei.csv", "/nothing"):
            assert client.get(path).status_code == 401
        for method in ("OPTIONS", "PUT", "DELETE", "TRACE", "HEAD"):
            assert client.request(method, "/api/images").status_code == 401
        assert client.post("/predict").headers["www-authenticate"].startswith("Basic")
        assert client.get("/health").status_code == 200
        assert client.get("/", auth=httpx.BasicAuth("anybody", "wörd")).status_code == 200
        for guess in ("Basic !", "Basic " + base64.b64encode(b"me:word").decode(), "Bearer wörd".encode()):
            assert client.get("/", headers={"authorization": guess}).status_code == 401
        locked = client.get("/", auth=httpx.BasicAuth("anybody", "wörd"))
        assert locked.status_code == 429 and int(locked.headers["retry-after"]) > 0
        forged = client.get("/", headers={"x-forwarded-for": "9.9.9.9", "authorization": "Basic !"})
        assert forged.status_code == 429 and client.get("/health").status_code == 200


def test_guesses_are_counted_by_network_forgotten_in_time_and_take_bounded_memory():
    now = [0.0]
    guesses = Guesses(2, 60, clock=lambda: now[0])
    for address in ("2001:db8::1", "2001:db8::2", "10.0.0.1"):
        guesses.note(address)
    assert guesses.wait_s("2001:db8::3") == 60 and guesses.wait_s("10.0.0.1") == 0 and guesses.wait_s("2001:db9::") == 0
    now[0] = 61
    assert guesses.wait_s("2001:db8::3") == 0
    for k in range(10_000):
        guesses.note(f"10.1.{k // 256}.{k % 256}")
    assert len(guesses._wrong) <= 4096


@pytest.mark.parametrize(
    "host", ["evil.example", "rebind.evil.example:7860", "", "localhost.evil.example", "127.0.0.1.nip.io", "127.0.0.2",
             "evil.example@localhost", "localhost/", "0.0.0.0", "[::2]", "2130706433"],
)  # fmt: skip
def test_another_name_for_this_server_is_refused(site, host):
    for path in ("/", "/health", "/api/nuclei.csv"):
        answer = raw(site, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert answer.split()[1] in (b"421", b"400")


def test_its_own_names_and_those_it_is_given_are_served(site, tmp_path):
    for name in ("localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:80"):
        assert site.get("/health", headers={"host": name}).status_code == 200
    assert raw(site, b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").split()[1] == b"400"
    assert raw(site, b"GET /health HTTP/1.0\r\n\r\n").split()[1] == b"421"
    with running(tmp_path, hosts=["lab-pc"]) as address:
        assert httpx.get(f"{address}/health", headers={"host": "lab-pc:7860"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": EVIL}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
     {"origin": "http://127.0.0.1:1"}],
)  # fmt: skip
def test_another_website_can_make_a_browser_do_nothing(site, headers):
    with visitor(site) as client:
        key = give(client, NUCLEI[0]).json()["id"]
        for method, path in [("POST", "/predict"), ("POST", "/api/visit"), *addresses_of(key)]:
            answer = client.request(method, path, headers=headers, content=b"{}" if method != "GET" else None)
            assert answer.status_code == 403 and "set-cookie" not in answer.headers
        assert len(client.post("/api/visit").json()["images"]) == 1
        preflight = client.options("/predict", headers=headers | {"access-control-request-method": "POST"})
        assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_behind_a_proxy_that_hands_on_another_name_the_page_says_what_is_wrong(site):
    """A browser loads modules with their origin: without them the page was dead, and said nothing."""
    headers = {"origin": "http://lab-pc"}
    assert site.get("/static/main.js", headers=headers).status_code == 200
    answer = site.post("/api/visit", headers=headers)
    assert answer.status_code == 403 and "a proxy before this server must hand on the name" in answer.json()["detail"]


def test_browsers_are_told_to_stay_here(site):
    page = site.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    with visitor(site) as client:
        key = give(client, NUCLEI[0]).json()["id"]
        answers = [page, site.get("/nothing"), site.post("/predict"), client.get(f"/api/images/{key}/nuclei.json")]
        assert answers[-1].headers["cache-control"] == "no-store"
        cookie = httpx.post(f"{site.base_url}/api/visit").headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff" and "server" not in answer.headers
        assert (
            answer.headers["referrer-policy"] == "no-referrer" and "access-control-allow-origin" not in answer.headers
        )


# --- whose images ---


def test_two_servers_of_one_host_do_not_forget_each_others_visitors(site, tmp_path):
    """To browsers, as to this client, a host's ports have their cookies in common."""
    with running(tmp_path) as address, visitor(site) as client:
        give(client, NUCLEI[0]).raise_for_status()
        assert client.post(f"{address}/api/visit").json()["images"] == []
        client.delete(f"{address}/api/images").raise_for_status()
        assert len(client.post("/api/visit").json()["images"]) == 1


def test_a_cookie_of_https_is_another_than_that_of_http(site):
    """One that HTTPS alone may send cannot be replaced by HTTP: a page that came so had none, for a day."""
    host = site.base_url.netloc.decode()

    def told_by(way, method, path, cookies=""):
        headers = {"origin": f"{way}://{host}", "cookie": cookies}
        return httpx.request(method, f"{site.base_url}{path}", headers=headers)

    plain, secure = (told_by(way, "POST", "/api/visit").headers["set-cookie"] for way in ("http", "https"))
    assert secure.startswith(f"__Host-{plain.partition('=')[0]}=") and "; Secure" in secure and "Secure" not in plain
    with visitor(site) as client:
        ((name, own),) = client.cookies.items()
        key = give(client, NUCLEI[0]).json()["id"]
        both = f"{name}={new_id()}; __Host-{name}={own}"
        for way in ("http", "https"):
            assert told_by(way, "GET", f"/api/images/{key}/nuclei.json", both).status_code == 200
            assert [about["id"] for about in told_by(way, "POST", "/api/visit", both).json()["images"]] == [key]
        gone = told_by("https", "DELETE", "/api/images", both).headers["set-cookie"]
        assert gone.startswith(f'__Host-{name}="";') and "; Secure" in gone
        assert client.post("/api/visit").json()["images"] == []


def addresses_of(key):
    """Return method and path of each address that a visitor has, of an image where it is of one."""
    return [(method, path.format(key=key, row=0)) for method, path in experiment.HANDLERS | page.HANDLERS]


def test_a_visitor_sees_only_what_they_gave(site):
    with visitor(site) as one, visitor(site) as other:
        key = give(one, NUCLEI[0]).json()["id"]
        assert len(key) == 22 and one.get(f"/api/images/{key}/view.png").status_code == 200
        for method, path in addresses_of(key):
            assert httpx.request(method, f"{site.base_url}{path}", content=b"{}").status_code == 403
            if key in path:
                assert other.request(method, path, content=b"{}").status_code == 404
        assert other.post("/api/visit").json()["images"] == [] and len(one.post("/api/visit").json()["images"]) == 1


@pytest.mark.parametrize("key", ["..", "%2e%2e", "..%2f..%2fetc", "%00", "a" * 22, "a" * 5000, "C:%5C", "%2e%2e%5c"])
def test_no_id_leads_to_a_file(site, key):
    with visitor(site) as client:
        for end in ("view.png", "nuclei.json", "overlay.png", "outlines.zip"):
            answer = client.get(f"/api/images/{key}/{end}")
            assert answer.status_code in (400, 404) and str(Path.cwd()) not in answer.text
        assert client.delete(f"/api/images/{key}").status_code in (400, 404, 405)


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd", "/static/", "/static",
             "//etc/passwd", "/docs", "/gradio_api/upload", "/gradio_api/file=/etc/passwd", "/static/..%5cserver.py",
             "/static/main.js/", "/api/images/", "/%00"],
)  # fmt: skip
def test_no_address_is_a_path_of_the_server(site, path):
    answer = raw(site, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] in (b"404", b"405", b"400") and b"Traceback" not in answer


@pytest.mark.parametrize("cookie", ["", "../../x", "a" * 22 + "/", "a" * 5000, "%2e%2e"])
def test_a_cookie_is_never_a_path(site, folder, cookie):
    before = sorted(folder.iterdir())
    answer = site.post("/api/images?name=a.png", content=b"x", headers={"cookie": f"{cookie_of(folder)}={cookie}"})
    assert answer.status_code == 403 and sorted(folder.iterdir()) == before


@pytest.mark.parametrize("named", ["{secret}", "/dev/zero", "../{secret}", "file://{secret}", "http://127.0.0.1/"])
def test_no_address_reads_keeps_or_deletes_a_file_of_the_server_that_is_named(site, tmp_path, named):
    """In every place where a name can stand, in JSON, too, as an earlier page took it."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(64, 64, 77))
    name = named.format(secret=secret)
    about = {"path": name, "url": name, "orig_name": "v.png", "is_stream": True, "meta": {"_type": "gradio.FileData"}}
    query = dict.fromkeys(("name", "path", "file", "example", "control", "channel"), name)
    with visitor(site) as client:
        for body in (json.dumps({"data": [[about]]}).encode(), f"image,condition\n{name},a\n".encode(), b""):
            for method, path in [("POST", "/predict"), ("POST", "/api/visit"), *addresses_of("a" * 22)]:
                answer = client.request(method, path, params=query, content=body)
                assert answer.status_code < 500 and secret.read_bytes()[:60] not in answer.content
                assert str(tmp_path) not in answer.text.replace(name, "")
                client.post("/api/visit")
        for form in (about, {"images": name}, {"images": name, "model": name}):
            assert client.post("/predict", data=form).status_code == 400
        assert client.post("/api/visit").json()["images"] == []
    assert secret.read_bytes() == png(64, 64, 77)


def test_uploads_are_deleted_and_what_was_made_of_them_is_forgotten(site, folder):
    with visitor(site) as client:
        known = set(folder.iterdir())
        first, second = (give(client, path).json()["id"] for path in NUCLEI[:2])
        mine = (set(folder.iterdir()) - known).pop()
        assert give(client, b"no image", "x.svg").status_code == 422
        assert {path.name for path in mine.iterdir()} == {first, second}
        assert not list(mine.rglob("upload*")) and oct(folder.stat().st_mode)[-3:] == "700"
        client.delete(f"/api/images/{first}")
        assert {path.name for path in mine.iterdir()} == {second}
        client.delete("/api/images")
        assert not mine.exists()


def test_what_a_killed_run_had_in_work_is_gone_at_the_next_start(tmp_path):
    store = Store(tmp_path / "page", LIMITS)
    with store.scratch() as folder:
        (folder / "0").mkdir()
        (folder / "0" / "upload").write_bytes(b"x")
        (store.folder / ".work").mkdir()
        (store.folder / ".work" / "rows").write_bytes(b"x")
        store.tidy()
        assert (folder / "0" / "upload").exists()
        # Another start, as after a kill: the folder was never closed.
        Store(tmp_path / "page", LIMITS)
        assert list(store.folder.iterdir()) == []
        folder.mkdir()


def test_a_folder_that_holds_other_things_keeps_them(tmp_path):
    """Of a folder `page` that CELLCYCLE_OUTPUT had already all was deleted, at the start or after an hour."""
    kept = [tmp_path / "page" / name for name in ("thesis/chapter/text.txt", ".git/config", "old/data.csv", "link/a/b")]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "link").symlink_to(tmp_path / "elsewhere")
    for file in kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    os.utime(tmp_path / "page" / "old", (0, 0))
    store = Store(tmp_path / "page", LIMITS)
    store.tidy()
    store.check_room()
    assert all(file.read_text() == "mine" for file in kept)


def test_a_second_server_leaves_the_work_of_the_first_alone(site, folder):
    uploading = folder / ".request-upload"
    uploading.mkdir()
    with pytest.raises(SettingError, match="another server keeps its images there; stop that one"):
        build_server(LIMITS, storage=folder)
    assert uploading.exists() and (folder / ".work").exists()
    uploading.rmdir()


def test_programs_leave_nothing_in_the_systems_temporary_folder(site, folder, field_file, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert post(site, field_file, NUCLEI[0]).status_code == 200
    assert list(tmp_path.iterdir()) == [] and {p.name for p in folder.glob(".*")} == {".work", OWN_NAME}
    assert list((folder / ".work").iterdir()) == []


def test_an_image_called_several_ways_at_once_is_called_each_way_in_turn(site, field_file):
    with visitor(site) as client:
        key = give(client, field_file).json()["id"]
        models = ["nagao6", "lr", "nn", "resnet8"]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda m: client.post(f"/api/images/{key}/call", params={"model": m}), models))
        assert [answer.status_code for answer in found] == [200] * 4
        assert [answer.json()["model"] for answer in found] == models
        shown = client.get(f"/api/images/{key}/nuclei.json").json()
        (last,) = client.post("/api/visit").json()["images"]
        assert shown["call"] == predict(field_file, last["model"])["call"].tolist()


def test_what_is_said_of_nuclei_while_they_are_called_again_is_kept(site, folder, field_file, monkeypatch):
    from cellcycle.app import worker

    with visitor(site) as client:
        key = give(client, field_file).json()["id"]
        monkeypatch.setattr(worker, "call", in_child.call_when_told)
        with ThreadPoolExecutor(1) as pool:
            again = pool.submit(client.post, f"/api/images/{key}/call", params={"model": "lr"})
            while not (begun := list(folder.glob(f"*/{key}/plane/begun"))):
                time.sleep(0.02)
            assert client.put(f"/api/images/{key}/corrections", json={"3": "M"}).status_code == 200
            begun[0].with_name("go").touch()
        assert again.result().json()["corrections"] == {"3": "M"}


@pytest.mark.parametrize("pause_s", [0.05, 0.2, 0.5, 0.8])
def test_an_image_deleted_under_the_hands_of_a_worker_stays_deleted(site, folder, field_file, pause_s):
    with visitor(site) as client:
        mine = lambda: [p for p in folder.glob("*/*") if not p.parent.name.startswith(".")]  # noqa: E731
        before = set(mine())
        with ThreadPoolExecutor(1) as pool:
            given = pool.submit(give, client, field_file)
            time.sleep(pause_s)
            assert client.delete("/api/images").status_code == 200
        assert given.result().status_code in (200, 404, 422)
        client.delete("/api/images")
        assert client.post("/api/visit").json()["images"] == [] and set(mine()) <= before


@pytest.mark.parametrize("row", ["9" * 5000, "\u0663", "-1", "1e3", "0x1", "00000000000000000001"])
def test_no_number_of_a_nucleus_is_an_error_of_the_server(site, field_file, row):
    with visitor(site) as client:
        key = give(client, field_file).json()["id"]
        assert client.get(f"/api/images/{key}/occlusion/{row}.png").status_code == 404


def test_what_an_absent_visitor_left_is_forgotten_and_a_present_one_keeps_theirs(tmp_path, monkeypatch):
    limits, now = replace(LIMITS, kept_s=100), [time.time()]
    store = Store(tmp_path / "page", limits)
    monkeypatch.setattr("cellcycle.app.store.time.time", lambda: now[0])
    gone, here = store.visitor("a" * 22), store.visitor("b" * 22)
    for one in (gone, here):
        image, _ = one.new_image("x")
        one.keep(image, {"name": "x", "n": 0})
    now[0] += 99
    assert len(store.visitor("b" * 22).images()) == 1
    now[0] += 50
    store.tidy()
    assert gone.images() == [] and len(here.images()) == 1
    # The next run of the server knows it, too, and when it was looked at.
    again = Store(tmp_path / "page", limits)
    again.tidy()
    assert len(again.visitor("b" * 22).images()) == 1
    now[0] += 101
    Store(tmp_path / "page", limits).tidy()
    assert not list((tmp_path / "page").iterdir())


def test_images_of_a_visitor_and_the_disk_of_all_are_limited(tmp_path):
    limits = replace(ALONE, images=2, disk_mb=0.5)
    with running(tmp_path, limits) as address, httpx.Client(base_url=address, timeout=60) as client:
        client.post("/api/visit")
        # A file of a few thousand bytes may hold a plane of millions; when its request ends that is gone.
        refused = post(client, *((name, png(1000, 1000)) for name in ("a.png", "b.png")))
        # It would be no better later.
        assert refused.status_code == 413 and "more than the 0.5 MB of disk" in refused.json()["detail"]
        assert post(client, ("a.png", b"x" * 600_000)).status_code == 413
        assert give(client, NUCLEI[0]).status_code == 200
        # A plate map is no image.
        plate_map = f"image,condition\n{NUCLEI[0].name},x\n".encode()
        assert client.post("/api/map", content=plate_map).status_code == 200
        assert [give(client, NUCLEI[0]).status_code for _ in range(2)] == [200, 409]
    with running(tmp_path, replace(ALONE, disk_mb=1)) as address, httpx.Client(base_url=address, timeout=60) as client:
        client.post("/api/visit")
        noise = np.random.default_rng(0).integers(0, 255, (200, 400), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(noise).save(stream, "PNG")
        key = give(client, stream.getvalue(), "a.png").json()["id"]
        # What lies on the disk until it was read shares that with what is kept there.
        assert post(client, ("b.png", b"x" * 700_000)).status_code == 503
        client.delete(f"/api/images/{key}")
        assert post(client, ("b.png", b"x" * 700_000)).status_code == 422
    with running(tmp_path, replace(ALONE, disk_mb=0.02)) as address, httpx.Client(base_url=address) as client:
        client.post("/api/visit")
        assert give(client, png(64, 64), "a.png").status_code == 503


# --- slow and broken connections ---


def test_a_slow_head_a_slow_body_and_an_unread_answer_end(impatient):
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "
    body = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n"
    asked = (head,), (head + b"x" * 400, 0.02), (body,), (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + head,)
    with ThreadPoolExecutor(4) as pool:
        silent, slow, cut, unended = pool.map(lambda given: raw(impatient, *given), asked)
    assert silent == slow == b"" and cut.split()[1] in (b"408", b"400")
    assert unended.count(b"HTTP/1.1 200") == 1
    refused = raw(impatient, b"POST /predict HTTP/1.1\r\nHost: evil\r\nContent-Length: 4000\r\n\r\nx")
    assert refused.split()[1] == b"421" and b"connection: close" in refused.lower()
    assert impatient.get("/health").status_code == 200


def test_an_answer_that_is_read_slowly_comes_whole_and_does_not_lie_in_memory():
    """The deadline of what nobody reads is one of each part, not of a picture of 16 MB."""
    content, sent = os.urandom(100_001), []

    async def answer(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": memoryview(content[:-1]), "more_body": True})
        await send({"type": "http.response.body", "body": content[-1:]})

    async def send(event):
        sent.append(event)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")], "client": None}
    asyncio.run(Guard(answer, replace(LIMITS, body_s=2, least_rate=10_000))(scope, None, send))
    parts = [event["body"] for event in sent[1:]]
    assert b"".join(parts) == content and max(map(len, parts)) == 20_000
    assert [event["more_body"] for event in sent[1:]] == [True] * (len(parts) - 1) + [False]


def test_whoever_sends_hears_why_it_is_refused_and_is_heard_out():
    """Firefox takes a connection that closes while it sends for a lost one, and tries again."""
    told, parts = (
        [],
        [{"type": "http.request", "body": bytes(50_000), "more_body": more} for more in (True, True, False)],
    )

    async def refuse(scope, receive, send):
        await JSONResponse({"detail": "no"}, 409)(scope, receive, send)

    async def receive():
        told.append("heard")
        return parts.pop(0)

    async def send(event):
        told.append(event.get("body", b"").decode())

    head = [(b"host", b"localhost"), (b"content-length", b"150000")]
    scope = {"type": "http", "method": "POST", "path": "/api/images", "headers": head, "client": None}
    asyncio.run(Guard(refuse, LIMITS)(scope, receive, send))
    assert told == ["", '{"detail":"no"}', "heard", "heard", "heard", ""]
    # A stranger is not.
    told.clear()
    asyncio.run(Guard(refuse, LIMITS)(scope | {"headers": [(b"host", b"evil"), head[1]]}, receive, send))
    assert "heard" not in told and len(told) == 2


def test_a_picture_that_many_read_slowly_is_not_in_memory_for_each(tmp_path):
    store = Store(tmp_path, LIMITS)
    visitor = store.visitor("x" * 22)
    image, _ = visitor.new_image("a.png")
    (image / "plane").mkdir()
    picture = image / "plane" / "view.png"
    picture.write_bytes(bytes(10_000_000))
    request = Request({"type": "http", "path": "/view.png", "headers": []})
    tracemalloc.start()
    answers = [asyncio.run(page._kept(None, visitor, request, image)) for _ in range(5)]
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    visitor.remove(image)
    assert all(bytes(answer.body) == bytes(10_000_000) for answer in answers)


def is_ended(wire, within_s: float) -> bool:
    """Say whether the server ends a connection within that time."""
    wire.settimeout(within_s)
    try:
        return wire.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_half_open_connections_end_while_the_page_answers(impatient):
    host, port = impatient.base_url.host, impatient.base_url.port
    wires = [socket.create_connection((host, port), timeout=60) for _ in range(100)]
    try:
        for wire in wires:
            wire.sendall(b"POST /predict HTTP/1.1\r\nHost: local")
        assert impatient.get("/health").status_code == 200
        assert all(is_ended(wire, 60) for wire in wires)
    finally:
        for wire in wires:
            wire.close()


def test_bodies_that_are_never_ended_keep_no_place_of_others(tmp_path):
    """Whoever sends nothing more is heard for half a minute: the places are for those whose images are here."""
    with running(tmp_path, replace(ALONE, waiting=1, body_s=60)) as address, httpx.Client(base_url=address) as client:
        client.timeout = 60
        client.post("/api/visit")
        host, port = address.removeprefix("http://").split(":")
        wires = []
        for path in ["/predict", "/api/images?name=a.png", "/api/map", "/api/corrections"] * 2:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n"
            cookie = f"Cookie: {cookie_of(tmp_path)}={new_id()}\r\n"
            wires.append(socket.create_connection((host, int(port)), timeout=60))
            wires[-1].sendall(f"{head}{cookie}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode())
        time.sleep(0.5)
        assert post(client, NUCLEI[0]).status_code == 200 and give(client, NUCLEI[0]).status_code == 200
        for wire in wires:
            wire.close()


@pytest.fixture
def open_parts(monkeypatch):
    """The most files of forms that are open at once, as a list that grows."""
    import starlette.formparsers

    real, is_open, seen = starlette.formparsers.SpooledTemporaryFile, [], []

    def opened(**options):
        file = real(**options)
        is_open.append(file)
        seen.append(sum(not one.closed for one in is_open))
        return file

    monkeypatch.setattr(starlette.formparsers, "SpooledTemporaryFile", opened)
    return seen


def test_forms_on_their_way_take_no_memory_and_no_open_file_for_each_image(tmp_path, open_parts):
    """A form of 50 images was 50 MB of memory, or 50 open files: 20 half-open ones took all files of a server."""
    part = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n' + bytes(50_000) + b"\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n"
    with running(tmp_path, ALONE) as address, httpx.Client(base_url=address, timeout=60) as client:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as wire:
            wire.sendall(head + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + 10 * part)
            deadline = time.time() + 20
            while sum(file.stat().st_size for file in tmp_path.glob(".*/form")) < 10 * len(part):
                assert time.time() < deadline
                time.sleep(0.02)
            assert open_parts == []
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: post(client, *NUCLEI[:3]), range(4)))
        assert all(answer.status_code == 200 and len(answer.json()) == 3 for answer in answers)
        assert max(open_parts) <= 3
        while left := [*tmp_path.glob(".*/form"), *tmp_path.glob(".*/*/upload")]:
            assert time.time() < deadline + 20, left
            time.sleep(0.02)


def test_images_of_a_program_that_has_left_are_not_worked_on(tmp_path, monkeypatch):
    real, left = Work.run, []

    async def late(work, function, *given, is_gone=None):
        await asyncio.sleep(1)
        left.append(await is_gone())
        return await real(work, function, *given, is_gone=is_gone)

    monkeypatch.setattr(Work, "run", late)
    request = httpx.Request("POST", "http://localhost/predict", files={"images": ("a.png", NUCLEI[0].read_bytes())})
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with running(tmp_path, ALONE) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as wire:
            wire.sendall(f"POST /predict HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            time.sleep(0.3)
        deadline = time.time() + 20
        while not left or [*tmp_path.glob(".*/0")]:
            assert time.time() < deadline
            time.sleep(0.02)
    assert left == [True]


def test_whoever_sent_much_does_not_keep_its_room_by_sending_nothing_more():
    heard = [{"type": "http.request", "body": bytes(1_000_000), "more_body": True}]

    async def take(scope, receive, send):
        while True:
            await receive()

    async def receive():
        return heard.pop() if heard else await asyncio.sleep(60)

    async def ask():
        told = []

        async def send(event):
            told.append(event)

        guard = Guard(take, replace(LIMITS, body_s=0.2, least_rate=1000))
        head = [(b"host", b"localhost"), (b"content-length", b"2000000")]
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": head, "client": None}
        await asyncio.wait_for(guard(scope, receive, send), 20)
        return told[0]["status"], guard.bytes_under_way

    assert asyncio.run(ask()) == (408, 0)


def test_each_connection_may_have_its_file(tmp_path):
    """Systems often begin with 1,024 open files, or 256: fewer than half-open uploads and their files."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    least = min(2000, before[1])
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], least - 1), before[1]))
        app._allow_open_files(500)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == least
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_file_that_is_removed_before_it_is_read_is_not_called_a_bad_image(tmp_path):
    from cellcycle.app import worker

    with pytest.raises(FileNotFoundError) as gone:
        worker.read(tmp_path / "upload", "a.png", Settings(), 25, tmp_path / "plane")
    assert gone.value.filename == str(tmp_path / "upload")


def test_a_plate_map_takes_the_place_of_the_last_also_where_it_stands_alone(tmp_path):
    visitor = Store(tmp_path / "page", LIMITS).visitor("x" * 22)
    image, _ = visitor.new_image("a.png")
    for text in ("first", "second"):
        file = tmp_path / text / "map.csv"
        file.parent.mkdir()
        file.write_text(text)
        visitor.take(file)
        visitor.remove(image)
        assert visitor.other("map.csv").read_text() == text
    visitor.drop("map.csv")
    assert list((tmp_path / "page").iterdir()) == []


def test_connections_above_the_limit_are_closed(tmp_path):
    with running(tmp_path, replace(ALONE, connections=5, head_s=60)) as address:
        host, port = address.removeprefix("http://").split(":")
        wires = [socket.create_connection((host, int(port)), timeout=60) for _ in range(9)]
        assert all(is_ended(wire, 60) for wire in wires[5:])
        assert not any(is_ended(wire, 0.1) for wire in wires[:5])
        for wire in wires:
            wire.close()


@pytest.mark.parametrize("path", ["/predict", "/api/images?name=a.png", "/api/map"])
def test_a_body_of_unannounced_length_is_cut_off(site, path):
    def endless():
        yield b"--x\r\nContent-Disposition: form-data; name=images; filename=a.png\r\n\r\n"
        for _ in range(20):
            yield bytes(1 << 19)

    with visitor(site) as client:
        answer = client.post(path, content=endless(), headers={"content-type": "multipart/form-data; boundary=x"})
        assert answer.status_code == 413
        assert client.post("/api/visit").json()["images"] == []


@pytest.mark.parametrize("length", ["-1", "1e9", "9" * 40, "0x10", "5, 6", "+5", ""])
def test_a_length_that_is_none_is_refused(site, length):
    answer = raw(site, f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nabcde".encode())
    assert answer == b"" or answer.split()[1] in (b"400", b"413")


def test_a_request_whose_end_is_told_in_two_ways_ends_its_connection(site):
    """Behind a proxy that reads it the other way its end would be the request of somebody else."""
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = raw(site, f"{head}0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400") and b"stated in two ways" in answer and answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[1]", b"{}", b'["..", "/"]', b"null", b"[" * 100_000, b"\xff", b'{"a": 1e999}']
)
def test_what_is_no_sound_json_is_refused(site, body):
    with visitor(site) as client:
        key = give(client, NUCLEI[0]).json()["id"]
        assert client.post("/api/map", content=body).status_code in (400, 404)
        answer = client.put(f"/api/images/{key}/corrections", content=body)
        assert answer.status_code == (200 if body == b"{}" else 400)
        for said in ({"1": "<script>"}, {"x": "M"}, {"1": 3}, {"1": "M", "2": "M"}, {"²": "M"}):
            assert client.put(f"/api/images/{key}/corrections", json=said).status_code == 400


# --- what a visitor does ---


def test_a_field_is_called_corrected_called_again_and_survives_a_restart(tmp_path, field_file):
    with running(tmp_path / "page", ALONE) as address, httpx.Client(base_url=address, timeout=60) as client:
        client.post("/api/visit")
        about = give(client, field_file).json()
        shown = client.get(f"/api/images/{about['id']}/nuclei.json").json()
        expected = predict(field_file)
        assert shown["call"] == expected["call"].tolist() and about["n"] == len(expected) == len(shown["outline"])
        assert about["counts"] == {name: shown["call"].count(name) for name in ("G1", "S", "G2", "M", "")}
        assert sum(map(bool, shown["why"])) == (expected["review"] != "").sum()
        said = {"3": "M", "5": "none", "9": "S"}
        assert client.put(f"/api/images/{about['id']}/corrections", json=said).status_code == 200
        cookies = dict(client.cookies)
    again = running(tmp_path / "page", ALONE)
    with again as address, httpx.Client(base_url=address, cookies=cookies, timeout=60) as client:
        (found,) = client.post("/api/visit").json()["images"]
        assert found["corrections"] == said and found["id"] == about["id"]
        again = client.post(f"/api/images/{found['id']}/call", params={"model": "lr"}).json()
        assert again["corrections"] == said and again["model"] == "lr" and again["number"] == found["number"]
        table = pd.read_csv(io.BytesIO(client.get("/api/nuclei.csv").content))
        assert table["call"].tolist() == predict(field_file, "lr")["call"].tolist()
        assert len(client.get(f"/api/images/{found['id']}/occlusion/2.png").content) > 1000
        assert client.get(f"/api/images/{found['id']}/occlusion/{about['n']}.png").status_code == 404
        (tmp_path / "corrections.csv").write_bytes(client.get("/api/corrections.csv").content)
    labels, _ = read_labels(tmp_path / "corrections.csv")
    assert labels[["image", "nucleus_id", "label"]].to_numpy().tolist() == [
        [field_file.name, int(number), label] for number, label in said.items()
    ]
    # Beside its images the table is what training takes.
    shutil.copyfile(field_file, tmp_path / field_file.name)
    data = load_dataset(tmp_path / "corrections.csv")
    assert sorted(data.classes[k] for k in data.labels) == ["M", "S"]


def test_a_download_is_the_file_of_the_command_line(site, field_file, tmp_path, monkeypatch):
    paths = [field_file, NUCLEI[0]]
    for path in paths:
        shutil.copyfile(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    extras = Extras(*map(Path, ("overlay", "outlines", "outlines", "outlines")))
    run_predict([path.name for path in paths], output=Path("nuclei.csv"), extras=extras)
    with visitor(site) as client:
        keys = [give(client, path).json()["id"] for path in paths]
        assert as_by_command(client.get("/api/nuclei.csv").text) == (tmp_path / "nuclei.csv").read_text("utf-8")
        picture = client.get(f"/api/images/{keys[0]}/overlay.png")
        assert "attachment" in picture.headers.get("content-disposition", ""), picture.text
        (written,) = (tmp_path / "overlay").glob("field*.png")
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.content))), np.asarray(Image.open(written)))
        # Saved beside its image it is known again, as that of the command: it is no image to predict.
        assert picture.headers["content-disposition"].endswith(quote(written.name))
        (tmp_path / written.name).write_bytes(picture.content)
        assert is_overlay(tmp_path / written.name) and not origin_of(tmp_path / written.name)
        saved = zipfile.ZipFile(io.BytesIO(client.get(f"/api/images/{keys[0]}/outlines.zip").content))
        stem = field_file.stem
        assert sorted(saved.namelist()) == [f"{stem}.geojson", f"{stem}.zip", f"{stem}_mask.tif"]
        saved.extractall(tmp_path / "saved")
        # Where its images lie a server tells nobody.
        assert not any(origin_of(file) for file in (tmp_path / "saved").iterdir())
        assert origin_of(tmp_path / "outlines" / f"{stem}.geojson") == f"../{field_file.name}"
        geojson, mask = f"{stem}.geojson", f"{stem}_mask.tif"
        of_command = re.sub(" of <[^>]+>", "", (tmp_path / "outlines" / geojson).read_text("utf-8"))
        assert saved.read(geojson).decode() == of_command
        masks = [read_numbers(folder / mask) for folder in (tmp_path / "saved", tmp_path / "outlines")]
        assert np.array_equal(*masks)
        rois, written = (zipfile.ZipFile(f) for f in (io.BytesIO(saved.read(f"{stem}.zip")), f"outlines/{stem}.zip"))
        assert {n: rois.read(n) for n in rois.namelist()} == {n: written.read(n) for n in written.namelist()}


def test_models_with_other_classes_stand_in_one_table(tmp_path):
    files = [tmp_path / str(k) for k in range(3)]
    for file, columns, row in zip(files, ("p_x", "p_x", "p_y"), ("1,2", "3,4", "5,6"), strict=True):
        file.write_text(f"nucleus_id,{columns}\n{row}\n")
    rows = list(csv.DictReader(io.StringIO(groups.table([(file, {"3": "M"}) for file in files]))))
    assert rows[1] == {"nucleus_id": "3", "p_x": "4", "p_y": "", "corrected": "M"}
    assert rows[2] == {"nucleus_id": "5", "p_x": "", "p_y": "6", "corrected": ""}


def test_a_gray_image_without_nuclei_is_no_error(site, tmp_path):
    write_image(tmp_path / "empty.png", np.full((64, 64), 9, np.uint8))
    with visitor(site) as client:
        about = give(client, tmp_path / "empty.png").json()
        assert about["n"] == 0 and client.get(f"/api/images/{about['id']}/nuclei.json").json()["id"] == []
        assert client.get(f"/api/images/{about['id']}/overlay.png").status_code == 200
        assert client.get("/api/nuclei.csv").text.count("no_nucleus") == 2  # a flag, and a reason to look


def test_a_card_says_what_a_model_is_good_for():
    models = model_table()
    for name in ("auto", "lr"):
        for told in (card := model_card(name, models[name]))["models"]:
            low, value, high = (told["scores"]["simulated"][k] for k in (1, 0, 2))
            assert 0 < low < value < high < 1 and told["limits"] and told["learned_from"]
        assert len(card["models"]) == (2 if name == "auto" else 1)


def test_two_models_of_one_name_and_a_damaged_one_are_refused(tmp_path):
    with pytest.raises(SettingError, match="two models are called 'lr'"):
        model_table(["lr"])
    with pytest.raises(CellCycleError):
        model_table([tmp_path])


# --- what was said stays, and is told ---


def cut(content: bytes, act):
    """Give a body in two parts, and do something in between."""
    yield content[:3]
    act()
    yield content[3:]


def test_what_was_said_stays_while_other_models_are_tried_and_returns_with_its_nuclei_and_classes(site, field_file):
    with visitor(site) as client:
        key = give(client, field_file).json()["id"]
        said = {"1": "G1", "2": "S", "3": "none"}
        correct = lambda changes: client.put(f"/api/images/{key}/corrections", json=changes).json()  # noqa: E731
        call = lambda **asked: client.post(f"/api/images/{key}/call", params=asked).json()  # noqa: E731
        assert correct(said)["corrections"] == said
        other = call(model="mitocheck")
        assert other["corrections"] == {"3": "none"} and other["aside"] == 2
        # What is said under another model takes nothing from the first.
        word = next(iter(other["counts"]))
        assert correct({"1": word})["corrections"] == {"1": word, "3": "none"}
        assert (back := call())["corrections"] == said and back["aside"] == 1
        others = call(kind="nucleus")
        assert others["found"] != back["found"] and others["corrections"] == {} and others["aside"] == 4
        assert call()["corrections"] == said and call(model="mitocheck")["corrections"]["1"] == word
        assert call() and correct(dict.fromkeys(said, ""))["corrections"] == {}


def test_what_two_tabs_say_is_put_together_and_only_of_nuclei_that_they_show(site, field_file):
    with visitor(site) as client:
        about = give(client, field_file).json()
        address = f"/api/images/{about['id']}/corrections"
        known = client.put(address, json={"1": "M", "2": "S"}, params={"found": about["found"]}).json()
        assert known["corrections"] == {"1": "M", "2": "S"}
        assert client.put(address, json={"9": "G2", "2": None}).json()["corrections"] == {"1": "M", "9": "G2"}
        for number in (about["n"] + 1, 0, "00001", "9" * 4000, "1.0", "\u0661", "x"):
            answer = client.put(address, json={"3": "M", str(number): "G1"})
            assert answer.status_code == 400 and "has no nucleus" in answer.text and len(answer.text) < 300
        assert client.put(address, json={"1": "S"}, params={"found": "0" * 64}).status_code == 409
        assert client.post("/api/visit").json()["images"][0]["corrections"] == {"1": "M", "9": "G2"}
        # One tab finds the nuclei anew; what the other says of those it shows is kept for them.
        again = f"/api/images/{about['id']}/call"
        others = client.post(again, params={"kind": "nucleus"}).json()
        assert others["found"] != about["found"]
        late = client.put(address, json={"2": "S"}, params={"found": about["found"]})
        assert late.status_code == 200 and late.json()["corrections"] == {} and late.json()["aside"] == 3
        unknown = client.put(address, json={str(about["n"] + 1): "S"}, params={"found": about["found"]})
        assert unknown.status_code == 400
        assert client.post(again).json()["corrections"] == {"1": "M", "2": "S", "9": "G2"}


def test_what_is_said_under_ever_other_settings_is_bounded(tmp_path):
    one = Store(tmp_path, LIMITS).visitor("a" * 22)
    image, name = one.new_image("x")
    about = {"name": name, "n": 1, "counts": {"G1": 1}}
    with pytest.raises(Refusal, match="too many settings"):
        for k in range(100):
            one.keep(image, about | {"found": str(k)})
            one.correct(image, {"1": "G1"})
    assert 5 < k < 50 and (one.about(image)["corrections"], one.about(image)["aside"]) == ({}, k)


def test_nuclei_that_were_found_under_ever_other_settings_leave_bounded_files(tmp_path):
    visitor = Store(tmp_path / "page", LIMITS).visitor("a" * 22)
    image, _ = visitor.new_image("a.png")
    for k in range(60):
        (image / f"call-{k}").mkdir()
        (image / f"call-{k}" / worker.NUMBERS).write_text("[1]")
        os.utime(image / f"call-{k}" / worker.NUMBERS, (k, k))
        visitor.keep(image, {"name": "a.png", "call": f"call-{k}", "found": str(k)})
    assert {*visitor.earlier(image)} == {str(k) for k in range(39, 59)}


def test_nothing_is_no_download(site, field_file):
    with visitor(site) as client:
        for path in ("nuclei.csv", "corrections.csv", "report.zip", "summary.json"):
            answer = client.get(f"/api/{path}")
            assert answer.status_code == 404 and "give the images again" in answer.text
        give(client, field_file)
        answer = client.get("/api/corrections.csv")
        assert answer.status_code == 404 and "not labelled any nucleus yet" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "removed"),
    [("PUT", "/api/images/{key}/corrections", "/{key}"), ("PUT", "/api/images/{key}/corrections", ""),
     ("POST", "/api/images?name=x.tif", ""), ("POST", "/api/map", "")],
)  # fmt: skip
def test_a_slow_request_that_meets_a_removal_is_told_of_it_and_keeps_nothing(site, field_file, method, path, removed):
    with visitor(site) as client:
        key = give(client, field_file).json()["id"]
        cookies = dict(client.cookies)
        gone = f"{site.base_url}/api/images{removed.format(key=key)}"
        body = b'{"1": "G1"}' if method == "PUT" else field_file.read_bytes()
        given = cut(body, lambda: httpx.delete(gone, cookies=cookies))
        answer = client.request(method, path.format(key=key), content=given)
        assert answer.status_code == (409 if path == "/api/map" else 404), answer.text
        seen = client.post("/api/visit").json()
        assert seen["images"] == [] and seen["has_map"] is False


def test_work_whose_images_are_removed_under_way_says_so_and_keeps_nothing(site, folder, field_file, monkeypatch):
    from cellcycle.app import fine_tune, groups

    table, plate_map = b"image,nucleus_id,label\na,1,M\n", b"image,condition\nfield 1 (a).tif,x\n"
    monkeypatch.setattr(fine_tune, "said_again", in_child.said_when_told)
    monkeypatch.setattr(groups, "lay_out", in_child.laid_out_when_told)
    for path, content, end in (("/api/corrections", table, "/{key}"), ("/api/map", plate_map, "")):
        with visitor(site) as client, ThreadPoolExecutor(1) as pool:
            key = give(client, field_file).json()["id"]
            cookies = dict(client.cookies)
            asked = pool.submit(client.post, path, content=content)
            while not (begun := [*folder.glob(".*/begun"), *folder.glob(".*/map/begun")]):
                time.sleep(0.02)
            httpx.delete(f"{site.base_url}/api/images{end.format(key=key)}", cookies=cookies).raise_for_status()
            begun[0].with_name("go").touch()
            assert asked.result().status_code == 404 and re.search("removed|images again", asked.result().text)
            assert client.post("/api/visit").json()["has_map"] is False


def test_table_picture_and_outlines_show_what_was_said_and_the_report_says_that_it_does_not(site, folder, field_file):
    with visitor(site) as client:
        about = give(client, field_file).json()
        address = f"/api/images/{about['id']}"
        picture, report = client.get(f"{address}/overlay.png").content, client.get("/api/report.zip").content
        said = {"1": "M", "2": "none", "3": "S"}
        client.put(f"{address}/corrections", json=said).raise_for_status()
        rows = pd.read_csv(io.BytesIO(client.get("/api/nuclei.csv").content), dtype=str, keep_default_na=False)
        assert rows.set_index("nucleus_id")["corrected"].to_dict() == dict.fromkeys(rows["nucleus_id"], "") | said
        assert rows["call"].tolist() == predict(field_file)["call"].tolist()
        assert client.get(f"{address}/overlay.png").content != picture
        with zipfile.ZipFile(io.BytesIO(client.get(f"{address}/outlines.zip").content)) as archive:
            drawn = json.loads(archive.read(f"{field_file.stem}.geojson"))["features"]
            mask = np.asarray(Image.open(io.BytesIO(archive.read(f"{field_file.stem}_mask.tif"))))
        classes = {one["properties"]["name"]: one["properties"]["classification"]["name"] for one in drawn[:2]}
        assert classes == {"1": "M", "3": "S"} and len(drawn) == about["n"] - 1 and 2 not in mask and 3 in mask
        told = b"the 3 corrections in the table nuclei.csv are not counted"
        for packed, is_there in ((report, False), (client.get("/api/report.zip").content, True)):
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                page = archive.read("report.html")
                assert (told in page) == is_there and b"<td>nuclei.csv, sha256" in page
                assert str(folder).encode() not in page and b"--images" not in page
        client.put(f"{address}/corrections", json={str(n): "none" for n in range(1, about["n"] + 1)}).raise_for_status()
        assert all(client.get(f"{address}/{name}").status_code == 200 for name in ("overlay.png", "outlines.zip"))


# --- words and numbers ---


def remedies():
    """Return every text below that may end an error and names an option, or a word of the command."""
    package = Path(experiment.__file__).parent.parent
    for file in [p for name in ("images", "predict", "report", "datasets") for p in (package / name).rglob("*.py")]:
        for part in ast.walk(ast.parse(file.read_text("utf-8"))):
            text = part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""
            # One of several lines is a docstring, one without a blank the name of an option alone.
            if "\n" not in text and " " in text and re.search(r"--[a-z]|\w=$", text):
                yield text


def test_no_remedy_names_an_option_of_the_command_to_a_visitor():
    found = [*remedies(), "leave it out, or give the images, and the folder of their masks with --use-masks"]
    assert len(found) > 20
    for text in found:
        said = in_page_words(ImageError("a.tif", "it is strange", text)).remedy
        assert "--" not in said and not re.search(r"\w=", said) and len(said) > 10, said


def test_a_mask_or_channels_without_a_name_are_refused_in_the_words_of_the_page(site, tmp_path):
    import tifffile

    labels = np.repeat(np.repeat(np.arange(64, dtype=np.uint16).reshape(8, 8), 16, 0), 16, 1)
    tifffile.imwrite(tmp_path / "mask.tif", np.where(labels % 2, labels, 0))
    noise = np.random.default_rng(0).integers(0, 4000, (2, 64, 64)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "two.tif", noise, imagej=True, metadata={"axes": "CYX"})
    with visitor(site) as client:
        for name, words in (("mask.tif", "no masks are taken here"), ("two.tif", "DNA channel under Settings")):
            answer = give(client, tmp_path / name)
            assert answer.status_code == 422 and words in answer.text and "--" not in answer.text, answer.text


def test_a_map_and_a_control_are_refused_in_the_words_of_the_page(site, field_file):
    with visitor(site) as client:
        asked = lambda text: client.post("/api/map", content=text.encode())  # noqa: E731
        assert "give the images first" in asked("well,condition\nA01,x\n").text
        for name in ("A01_s1.tif", "A02_s1.tif"):
            give(client, field_file, name, model="lr")
        assert "remove those images" in asked("image,condition\nA01_s1.tif,x\n").text
        rows = "image,condition\nA01_s1.tif,{}\nA02_s1.tif,{}\n"
        assert "has 121 letters, more than 120; shorten it" in asked(rows.format("c" * 121, "u")).text
        # The longest that is taken can be the control, its dose and the number of an image included.
        doses = rows.replace("condition", "condition,dose").format("c" * 120 + ",1234.56", "u,0")
        asked(doses).raise_for_status()
        for key in client.post("/api/together").json()["changed"]:
            client.post(f"/api/images/{key}/call").raise_for_status()
        for arm in client.get("/api/summary.json").json():
            assert client.get("/api/report.zip", params={"control": arm["arm"]}).status_code == 200
        words = client.get("/api/summary.json", params={"control": "nix"}).json()["detail"]
        assert words.startswith("Compare with: there is no condition, well or image 'nix'; use one of")


@pytest.mark.parametrize(
    ("name", "text"), [("pixel_size_um", "1_0"), ("pixel_size_um", "\u0663"), ("plane", "\u0661"), ("plane", "1_0"),
                       ("pixel_size_um", "."), ("plane", "+1")],
)  # fmt: skip
def test_numbers_are_plain_ones(name, text):
    with pytest.raises(SettingError, match="is not a valid number"):
        settings_of({name: text}, {"auto": ()})


@pytest.mark.parametrize("text", ["0.325", "0,325", ".325", "3.25e-1", "325E-3", "0.3250"])
def test_a_number_is_taken_as_its_schema_allows(text):
    assert settings_of({"pixel_size_um": text}, {"auto": ()})[1].pixel_size_um == 0.325


def test_a_table_of_corrections_may_be_as_large_as_a_file(tmp_path):
    with running(tmp_path, replace(ALONE, file_mb=8)) as address, httpx.Client(base_url=address, timeout=60) as client:
        client.post("/api/visit")
        # It is looked at, and is none.
        assert client.post("/api/corrections", content=bytes(7 << 20)).status_code == 400
        assert client.post("/api/corrections", content=bytes(9 << 20)).status_code == 413


# --- the command ---


def test_the_command_serves_with_its_options(monkeypatch):
    from typer.testing import CliRunner

    from cellcycle.cli import app

    given = []
    monkeypatch.setattr("cellcycle.app.serve", lambda *arguments: given.append(arguments))
    runner = CliRunner()
    assert runner.invoke(app, ["app"]).exit_code == 0
    options = ["--host", "::1", "--port", "80", "--model", "a", "--model", "b", "--allowed-host", "lab"]
    assert runner.invoke(app, ["app", *options]).exit_code == 0
    assert given == [("127.0.0.1", 7860, (), ()), ("::1", 80, (Path("a"), Path("b")), ("lab",))]


def test_an_address_in_use_or_a_missing_package_is_one_line(monkeypatch):
    import sys

    from cellcycle.app import serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingError, match="cannot listen there"):
            serve(port=taken.getsockname()[1])
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(SettingError, match="needs starlette"):
        serve()


def test_files_made_to_hang_or_swell_or_read_others_hurt_nobody(site, tmp_path):
    """Both workers are given such files, more of them than there are workers, and a normal image beside them."""
    import tifffile

    from tests.test_judge import INNER, OME, PIXELS, page, write_ifd

    write_ifd(tmp_path / "negative.tif", page(width=(6, 1, -3)))
    write_ifd(tmp_path / "circle.tif", page(), following="itself")
    swollen = INNER[7](4000)
    offset = 8 + 2 + 12 * 9 + 4
    write_ifd(tmp_path / "swollen.tif", page(compression=7, strips=offset, strip_bytes=len(swollen)), data=swollen)
    text = OME.format(c=1, t=500_000_000, px=1, rest="")
    tifffile.imwrite(tmp_path / "planes.tif", PIXELS, description=text, metadata=None)
    hostile = sorted(tmp_path.iterdir())
    secret = tmp_path / "secret.tif"
    write_image(secret, np.full((64, 64), 60_000, np.uint16))
    named = f'<TiffData IFD="0"><UUID FileName="{secret}">urn:uuid:2</UUID></TiffData>'
    tifffile.imwrite(
        tmp_path / "names.tif", 0 * PIXELS, description=OME.format(c=1, t=1, px=1, rest=named), metadata=None
    )
    with ThreadPoolExecutor(16) as pool:
        bad = [pool.submit(post, site, path) for path in hostile * 3]
        good = [pool.submit(post, site, NUCLEI[0]) for _ in range(4)]
        assert {answer.result().status_code for answer in bad} == {422}
        assert [answer.result().status_code for answer in good] == [200] * 4
    (row,) = post(site, tmp_path / "names.tif").json()
    assert row["flags"] == "no_nucleus"


def test_images_of_one_name_stay_apart_in_the_rows(site):
    files = [("images", ("image.png", NUCLEI[k].read_bytes(), "image/png")) for k in (0, 1)]
    rows = site.post("/predict", files=files, data={"model": "lr"}).json()
    assert [row["image"] for row in rows] == ["image.png", "image (2).png"]
    with visitor(site) as client:
        with ThreadPoolExecutor(2) as pool:
            given = list(pool.map(lambda k: give(client, NUCLEI[k], "image.png", model="lr"), (0, 1)))
        assert {answer.json()["name"] for answer in given} == {"image.png", "image (2).png"}
        arms = client.get("/api/summary.json").json()
        assert {arm["arm"] for arm in arms} == {"image.png", "image (2).png"}

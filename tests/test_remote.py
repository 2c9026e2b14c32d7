"""Images behind a URL are read as those here, from servers that these tests start; what fails is one line."""

import contextlib
import json
import os
import re
import shutil
import signal
import socketserver
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from cellcycle import tasks
from cellcycle.errors import DataError, ImageError
from cellcycle.images import expand, read_plane, remote
from cellcycle.predict import Settings, predict
from cellcycle.predict.extras import Extras
from cellcycle.predict.groups import layout
from cellcycle.predict.journal import key_of
from cellcycle.predict.predictor import ModelChoice
from cellcycle.simulation import simulate_field
from tests.test_omezarr import NAMED, PIXELS, bare_plate, changed, store

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")


class Files(SimpleHTTPRequestHandler):
    """Serves a folder and notes what was asked for; of a "half" store all ends half way, of a "cut" one each chunk."""

    asked: ClassVar[list[str]] = []

    def log_message(self, *_):
        self.asked.append(self.path)

    def copyfile(self, source, outputfile):
        content = source.read()
        stops = "half" in self.path or re.search(r"cut\.zarr/0/\d", self.path)
        outputfile.write(content[: len(content) // 2] if stops else content)


@contextlib.contextmanager
def serving(handler, server=ThreadingHTTPServer):
    with server(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{site.server_address[1]}"
        site.shutdown()


@pytest.fixture
def site(tmp_path):
    Files.asked.clear()
    with serving(partial(Files, directory=tmp_path)) as url:
        yield url


@pytest.fixture(scope="module")
def bucket():
    """An empty bucket of s3 on this machine, as a folder that can be written to with `fsspec`."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        fsspec.filesystem("s3").mkdir("plates")
        yield "s3://plates"
    server.stop()


def same(one, other) -> bool:
    np.testing.assert_array_equal(one.pixels, other.pixels)
    told = [(plane.channel, plane.planes, plane.pixel_size_um, plane.bit_depth) for plane in (one, other)]
    return told[0] == told[1]


KINDS = {"0.4": {"version": "0.4"}, "0.5": {"version": "0.5"}, "shards": {"version": "0.5", "shards": (1, 3, 64, 64)}}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_the_web_is_the_one_here_and_only_the_chunks_of_its_dna_come(site, tmp_path, kind):
    here = store(tmp_path / "a.zarr", chunks=(1, 1, 32, 32), **KINDS[kind])
    url = f"{site}/a.zarr"
    assert expand([url]) == [url]
    Files.asked.clear()
    plane = read_plane(url)
    assert plane.path == url and same(plane, read_plane(here)) and plane.channel == "DAPI"
    chunks = [found[1] for name in Files.asked if (found := re.search(r"a\.zarr/0/(?:c/)?(\d.*)", name))]
    assert chunks and all(name.startswith("1") for name in chunks)
    # Of the other level it is asked how large it is.
    of_other = [name for name in Files.asked if "a.zarr/1/" in name]
    assert all(name.endswith(("zarr.json", ".zarray")) for name in of_other)


@pytest.mark.slow
def test_all_channels_come_where_only_pixels_say_which_is_dna_and_absent_chunks_are_background(site, tmp_path):
    pixels = PIXELS[:, 0].copy()
    pixels[0] = 0
    here = store(tmp_path / "a.zarr", pixels, axes="cyx", names=("", ""), chunks=(1, 32, 32))
    plane = read_plane(f"{site}/a.zarr")
    assert same(plane, read_plane(here)) and plane.channel == "1"
    (tmp_path / "a.zarr" / "0" / "1.1.1").unlink()
    assert same(read_plane(f"{site}/a.zarr"), read_plane(here))
    assert not read_plane(f"{site}/a.zarr").pixels[32:, 32:].any()


def test_a_file_of_the_web_is_read_and_time_points_are_picked(site, tmp_path):
    shutil.copy(Path(__file__).parents[1] / "data/sample/fields/fields/field_001.tif", tmp_path / "f.tif")
    assert same(read_plane(f"{site}/f.tif"), read_plane(tmp_path / "f.tif"))
    store(tmp_path / "t.zarr", PIXELS[:, 0], axes="tyx", names=[])
    assert same(read_plane(f"{site}/t.zarr", plane=1), read_plane(tmp_path / "t.zarr", plane=1))
    with pytest.raises(ImageError, match="time series of 2") as found:
        read_plane(f"{site}/t.zarr")
    assert found.value.subject == f"{site}/t.zarr"


def plate(folder: Path) -> Path:
    """Write a plate of two wells with a field of few nuclei each."""
    fields = [simulate_field((320, 320), 6, seed=n).image.astype(np.uint16) * 16 for n in (1, 2)]
    wells = [{"path": f"A/{n}", "rowIndex": 0, "columnIndex": n - 1} for n in (1, 2)]
    for n, well in enumerate(wells):
        store(folder / well["path"] / "0", fields[n], axes="yx", names=[], scale=0.325, chunks=(256, 256))
        (folder / well["path"] / ".zattrs").write_text(json.dumps({"well": {"images": [{"path": "0"}]}}))
    told = {"name": "trial", "rows": [{"name": "A"}], "columns": [{"name": "1"}, {"name": "2"}], "wells": wells}
    (folder / ".zattrs").write_text(json.dumps({"plate": told}))
    return folder


@pytest.mark.slow
def test_a_plate_is_listed_well_by_well_and_read_as_the_one_here(site, tmp_path):
    here = plate(tmp_path / "p.zarr")
    images = expand([f"{site}/p.zarr/"])
    assert images == [f"{site}/p.zarr/A/{n}/0" for n in (1, 2)]
    assert expand([f"{site}/p.zarr/A/2"]) == images[1:]
    places = [{name: own[name] for name in ("plate", "well", "group")} for own in layout(images)[0]]
    assert places == [{"plate": "trial", "well": f"A0{n}", "group": "trial"} for n in (1, 2)]
    table, local = predict(f"{site}/p.zarr"), predict(str(here))
    assert list(table["image"].unique()) == images and len(table) > 4
    assert table.drop(columns="image").equals(local.drop(columns="image"))


@pytest.mark.slow
def test_a_store_in_s3_is_read(bucket, tmp_path):
    here = store(tmp_path / "a.zarr")
    plate(tmp_path / "p.zarr")
    files = fsspec.filesystem("s3")
    for name in ("a.zarr", "p.zarr"):
        files.put(str(tmp_path / name), f"plates/{name}", recursive=True)
    assert same(read_plane(f"{bucket}/a.zarr"), read_plane(here))
    assert expand([f"{bucket}/p.zarr"]) == [f"{bucket}/p.zarr/A/{n}/0" for n in (1, 2)]
    assert layout([f"{bucket}/p.zarr/A/2/0"])[0][0]["well"] == "A02"
    with pytest.raises(ImageError, match="there is neither an image nor an OME-Zarr"):
        read_plane(f"{bucket}/b.zarr")


class Busy(Files):
    """Answers with `status` to what is not there, and once to what holds the name `once`."""

    status, once = 403, "A/2/.zattrs"
    failed: ClassVar[set[str]] = set()

    def send_head(self):
        is_there = Path(self.translate_path(self.path)).is_file()
        if is_there and (self.once not in self.path or self.path in self.failed):
            return super().send_head()
        self.failed.add(self.path)
        return self.send_error(503 if is_there else self.status)


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, 404])
def test_a_plate_is_read_from_a_server_that_is_busy_or_refuses_what_it_has_not(tmp_path, monkeypatch, status):
    here = plate(tmp_path / "p.zarr")
    (here / "A/1/0/0/1.1").unlink()
    shutil.rmtree(here / "A/2/0/0")
    monkeypatch.setattr(Busy, "status", status)
    Busy.failed.clear()
    monkeypatch.setattr(remote, "_PAUSES", (0.0,))
    with serving(partial(Busy, directory=tmp_path)) as site:
        first, second = expand([f"{site}/p.zarr"])
        assert [first, second] == [f"{site}/p.zarr/A/{n}/0" for n in (1, 2)]
        # As of a copy here, it is told how many chunks are background.
        assert same(read_plane(first), read_plane(here / "A/1/0")) and "1 of 4 chunks" in read_plane(first).note
        with pytest.raises(ImageError, match="403" if status == 403 else "nor an OME-Zarr"):
            read_plane(second)
        (here / "A/2/.zattrs").unlink()
        listed, error = expand([f"{site}/p.zarr"])
        assert listed == first and error.subject == f"{site}/p.zarr/A/2"
        shutil.rmtree(here)
        (error,) = expand([f"{site}/p.zarr"])
        assert ("403" if status == 403 else "nor an OME-Zarr") in error.finding
        # A server that stays busy is told.
        monkeypatch.setattr(Busy, "status", 503)
        (error,) = expand([f"{site}/p.zarr"])
        assert "503" in error.finding


class Failing(Files):
    """Answers with `status` to what holds the name `fails`."""

    fails, status = "", 500

    def send_head(self):
        return self.send_error(self.status) if self.fails and self.fails in self.path else super().send_head()


@pytest.mark.parametrize("status", [500, 403])
def test_a_server_that_fails_or_refuses_when_asked_for_the_plate_leaves_no_field_without_its_well(
    tmp_path, monkeypatch, status
):
    monkeypatch.setattr(remote, "_PAUSES", ())
    monkeypatch.setattr(Failing, "status", status)
    bare_plate(tmp_path / "p.zarr", {"A/1": [0, 1]}, name="P", acquisitions=NAMED)
    with serving(partial(Failing, directory=tmp_path)) as site:
        images = expand([f"{site}/p.zarr"])
        assert [own["plate"] for own in layout(images)[0]] == ["P (day 1)", "P (day 2)"]
        for fails, of in {"p.zarr/.zattrs": "p.zarr", "A/1/.zattrs": "p.zarr/A/1"}.items():
            monkeypatch.setattr(Failing, "fails", fails)
            with pytest.raises(DataError, match=str(status)) as found:
                layout(images)
            assert found.value.subject == f"{site}/{of}"
        # An image in folders of other names is of no plate, whatever is refused above it.
        monkeypatch.setattr(Failing, "fails", "/.z")
        if status == 403:
            assert layout([f"{site}/bucket/trial/day/i.zarr"])[0][0]["well"] == ""
        # A file is of no such plate.
        Files.asked.clear()
        monkeypatch.setattr(Failing, "fails", "/")
        assert layout([f"{site}/a/b/c/d.png"])[0][0]["well"] == "" and not Files.asked


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_plate_that_was_listed_is_not_forgotten_where_its_server_then_refuses_it(tmp_path, monkeypatch, status):
    monkeypatch.setattr(Failing, "status", status)
    monkeypatch.setattr(Failing, "fails", "")
    # Of folders called so nothing but the plate says that they are those of a well.
    bare_plate(
        tmp_path / "p.zarr", {"top/left1": [None]}, name="P", rows=[{"name": "top"}], columns=[{"name": "left1"}]
    )
    with serving(partial(Failing, directory=tmp_path)) as site:
        images = expand([f"{site}/p.zarr"])
        assert [own["plate"] for own in layout(images)[0]] == ["P"]
        monkeypatch.setattr(Failing, "fails", "p.zarr/.z")
        with pytest.raises(DataError) as found:
            layout(images)
        assert found.value.subject == f"{site}/p.zarr"


def test_acquisitions_that_wells_alone_tell_of_are_told_apart_as_here(site, tmp_path):
    bare_plate(tmp_path / "p.zarr", {"A/1": [0, 1]}, name="P")
    assert [own["plate"] for own in layout(expand([f"{site}/p.zarr"]))[0]] == ["P (0)", "P (1)"]


def test_who_is_stopped_waits_for_no_server():
    ended, began = threading.Event(), time.monotonic()
    with tasks.handled(signal.SIGINT, signal.default_int_handler), pytest.raises(KeyboardInterrupt):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        remote.at_once(lambda _: ended.wait(10), range(20))
    ended.set()
    assert time.monotonic() - began < 5


class Terse(Files):
    """Says nothing by which an altered file is told."""

    def send_header(self, keyword, value):
        if keyword != "Last-Modified":
            super().send_header(keyword, value)


def test_an_image_of_the_web_is_another_one_when_it_was_altered_or_may_have_been(site, tmp_path):
    def key(where, name):
        return key_of([f"{where}/{name}"], [], ModelChoice.of("lr"), Settings(), Extras())

    (tmp_path / "a.zarr").mkdir()
    for name, file in {"a.tif": "a.tif", "a.zarr": "a.zarr/.zattrs"}.items():
        (tmp_path / file).write_bytes(b"12")
        before = key(site, name)
        assert key(site, name) == before
        os.utime(tmp_path / file, (1, 1))
        assert key(site, name) != before
        with serving(partial(Terse, directory=tmp_path)) as terse:
            assert key(terse, name) != key(terse, name)
    assert key(site, "gone.tif") != key(site, "gone.tif")


class Silent(socketserver.BaseRequestHandler):
    def handle(self):
        threading.Event().wait(1.5)


@pytest.mark.slow
def test_what_is_not_there_or_stops_half_way_is_one_line(site, tmp_path, monkeypatch):
    store(tmp_path / "a.zarr", PIXELS[0, 0], axes="yx", names=[])
    for name in ("half", "cut"):
        shutil.copytree(tmp_path / "a.zarr", tmp_path / f"{name}.zarr")
    (tmp_path / "page.zarr").mkdir()
    (tmp_path / "page.zarr" / "zarr.json").write_text("<html>")
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "gone.zarr")
    shutil.rmtree(tmp_path / "gone.zarr" / "0")
    monkeypatch.setattr(remote, "_SECONDS", 0.3)
    with serving(Silent, socketserver.ThreadingTCPServer) as silent:
        for url, finding in {
            f"{site}/b.zarr": "there is neither an image nor an OME-Zarr",
            f"{site}/b.tif": "there is no such file",
            f"{site}/half.zarr": "cannot be fetched",
            f"{site}/cut.zarr": "cannot be fetched",
            f"{site}/gone.zarr": "there is neither an image nor an OME-Zarr",
            f"{site}/page.zarr": "zarr.json is not readable",
            "http://127.0.0.1:1/a.zarr": "cannot be fetched",
            f"{silent}/a.zarr": "cannot be fetched",
        }.items():
            with pytest.raises(ImageError, match=finding) as found:
                read_plane(url)
            assert url in str(found.value) and "\n" not in str(found.value)
            (listed,) = expand([url])
            assert isinstance(listed, ImageError) or listed == url
    table = predict([f"{site}/b.zarr", f"{site}/a.zarr"])
    assert table["flags"].iloc[0] == "unreadable" and "nor an OME-Zarr" in table["error"].iloc[0]


@pytest.mark.parametrize("path", ["../../a.zarr/0", "/etc", "a/../../b"])
def test_a_description_from_the_web_leads_nowhere_else(site, tmp_path, path):
    store(tmp_path / "a.zarr", PIXELS[0, 0], axes="yx", names=[])
    changed(tmp_path / "a.zarr", ".zattrs", lambda said: said["multiscales"][0]["datasets"][0].update(path=path))
    with pytest.raises(ImageError, match="no folder in it"):
        read_plane(f"{site}/a.zarr")
    assert not any("0.0" in name for name in Files.asked)


def test_without_the_packages_the_extra_is_named(site, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(ImageError, match=r"pip install 'cellcycle\[remote\]'"):
        read_plane(f"{site}/a.zarr")

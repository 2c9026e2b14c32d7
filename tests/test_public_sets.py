"""Public sets, fetched from a server of this computer that holds small archives in the documented layout."""

import hashlib
import io
import json
import shutil
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from cellcycle.cli import main
from cellcycle.datasets import load_dataset, public
from cellcycle.datasets.download import fetch_file
from cellcycle.errors import CellCycleError, DataError


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; breaks off after `server.cut` bytes of a body where that is set."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start, tag = 0, f'"{hash(body)}"'
        wanted = self.headers.get("Range")
        if wanted and self.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(body[start : self.server.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve what tests put into `files`, with all sets' addresses on it and an empty cache."""
    monkeypatch.setenv("CELLCYCLE_OUTPUT", str(tmp_path / "out"))
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.files, made.asked, made.cut = {}, [], None
    made.root = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    sets = dict(public.PUBLIC)
    sets["nagao2020"] = replace(sets["nagao2020"], record=f"{made.root}/record")
    sets["bbbc048"] = replace(sets["bbbc048"], files={f"{made.root}/BBBC048v1.zip": None})
    monkeypatch.setattr(public, "PUBLIC", sets)
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def saved(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def nagao_members(n=6, n_test=5, folder="HeLa_Hoechst-GM130"):
    """Return arrays as the authors wrote them: in training every nucleus and three turned copies of it, blue first."""
    rng = np.random.default_rng(0)
    train = rng.integers(0, 255, (n, 24, 24, 3), np.uint8)
    copies = np.stack([np.roll(train, k, axis=1) for k in range(4)], axis=1).reshape(4 * n, 24, 24, 3)
    test = rng.integers(0, 255, (n_test, 24, 24, 3), np.uint8)
    return {
        f"{folder}/data/x_train.npy": saved(copies),
        f"{folder}/data/y_train.npy": saved(np.repeat(np.arange(n) % 2, 4)),
        f"{folder}/data/X_test.npy": saved(test),
        f"{folder}/data/Y_test.npy": saved(np.arange(n_test) % 2),
    }


def serve_nagao(server, archive):
    server.files["/files/data.zip"] = archive
    entry = {
        "key": "data.zip",
        "links": {"self": f"{server.root}/files/data.zip"},
        "checksum": f"md5:{hashlib.md5(archive).hexdigest()}",
    }
    server.files["/record"] = json.dumps(
        {"files": [entry, entry | {"key": "model.h5"}], "metadata": {"license": {"id": "cc-by-4.0"}}}
    ).encode()


def jpeg(seed) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (30, 30), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def bbbc048_archive() -> bytes:
    phases = ("G1", "S", "G2", "Prophase", "Metaphase", "Anaphase", "Telophase")
    names = [f"{p}/{i}_{c}" for p in phases for i in range(2) for c in ("Ch3.ome.jpg", "Ch4.ome.jpg", "merged.jpg")]
    inner = zipped({f"CellCycle/{name}": jpeg(k) for k, name in enumerate(names)})
    return zipped({"CellCycle.zip": inner, "readme.txt": np.random.default_rng(0).bytes(100_000)})


def refused(*, match, name="bbbc048"):
    with pytest.raises(DataError, match=match) as error:
        public.fetch(name, agree=True)
    assert len(str(error.value).splitlines()) == 1


def test_copies_of_a_nucleus_share_a_group_and_blue_is_the_stain(server):
    serve_nagao(server, zipped(nagao_members()))
    public.fetch("nagao2020", agree=True)
    dataset = load_dataset("nagao2020")
    assert dataset.classes == ("G2", "not-G2")
    assert len(dataset) == 4 * 6 + 5
    assert len(set(dataset.groups)) == 6 + 5
    assert all(len(set(dataset.groups[k : k + 4])) == 1 for k in range(0, 24, 4))
    assert dataset.images.shape[1:] == (1, 24, 24)
    stored = np.load(io.BytesIO(nagao_members()["HeLa_Hoechst-GM130/data/X_test.npy"]))
    np.testing.assert_allclose(dataset.images[-1, 0], stored[-1, :, :, 0] / 255, rtol=1e-6)


def test_the_licence_of_a_record_is_shown_and_its_list_is_read_once(server):
    serve_nagao(server, zipped(nagao_members()))
    assert "cc-by-4.0" in public.licence_of("nagao2020")
    folder, _ = public.fetch("nagao2020", agree=True)
    assert "cc-by-4.0" in (folder / "facts.json").read_text()
    server.asked.clear()
    assert len(load_dataset("nagao2020")) == 29
    assert server.asked == []


def test_another_layout_of_the_arrays_is_refused(server):
    for change, match in (
        ({"x_train.npy": saved(np.zeros((23, 24, 24, 3), np.uint8)), "y_train.npy": saved(np.zeros(23))}, "not .4 n"),
        ({"y_train.npy": saved(np.arange(24) % 2)}, "copies of a nucleus differ"),
        ({"x_train.npy": b"text"}, "no array"),
        ({"x_train.npy": saved(np.zeros(4))[:-20]}, "no array"),
        ({"x_train.npy": saved(np.array([{}], dtype=object))}, "no array"),
    ):
        members = nagao_members() | {f"HeLa_Hoechst-GM130/data/{name}": made for name, made in change.items()}
        serve_nagao(server, zipped(members))
        shutil.rmtree(public.public_dir(), ignore_errors=True)
        public.fetch("nagao2020", agree=True)
        with pytest.raises(DataError, match=match) as error:
            load_dataset("nagao2020")
        assert len(str(error.value).splitlines()) == 1


def test_other_parts_of_the_record_are_chosen_by_name(server):
    serve_nagao(server, zipped(nagao_members() | nagao_members(8, 3, "HeLa_Hoechst-EB1")))
    public.fetch("nagao2020", agree=True)
    assert len(load_dataset("nagao2020/HeLa_Hoechst-EB1")) == 35
    with pytest.raises(DataError, match="HeLa_Hoechst-EB1, HeLa_Hoechst-GM130"):
        load_dataset("nagao2020/NIH3T3")


def test_seven_phases_become_four_or_stay(server):
    server.files["/BBBC048v1.zip"] = bbbc048_archive()
    public.fetch("bbbc048", agree=True)
    assert dict(load_dataset("bbbc048").counts()) == {"G1": 2, "S": 2, "G2": 2, "M": 8}
    seven = load_dataset("bbbc048/7")
    assert len(seven.classes) == 7
    assert all("_Ch4" in name for name in seven.sample_ids)


def test_a_licence_is_agreed_to_once(server):
    server.files["/BBBC048v1.zip"] = bbbc048_archive()
    with pytest.raises(DataError, match=r"CC BY-NC-SA 3.0: no commercial use.*--agree"):
        load_dataset("bbbc048")
    assert server.asked == []
    public.fetch("bbbc048", agree=True)
    assert len(load_dataset("bbbc048")) == 14
    assert len(server.asked) == 1


def test_the_command_shows_licence_and_hash(server, monkeypatch, capsys):
    server.files["/BBBC048v1.zip"] = bbbc048_archive()
    for arguments, code in ((["data", "fetch", "bbbc048"], 2), (["data", "fetch", "bbbc048", "--agree"], 0)):
        monkeypatch.setattr("sys.argv", ["cellcycle", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == code
    shown = capsys.readouterr()
    assert "licence: CC BY-NC-SA 3.0" in shown.out
    assert "is recorded, and checked from now on" in shown.out
    assert len(shown.err.strip().splitlines()) == 1


def test_a_broken_download_goes_on_where_it_stopped(server):
    server.files["/BBBC048v1.zip"] = bbbc048_archive()
    server.cut = 50_000
    refused(match=r"run the command again: it continues")
    server.cut = None
    public.fetch("bbbc048", agree=True)
    (_, first), (_, second) = server.asked
    assert first is None
    assert 30_000 < int(second.removeprefix("bytes=").rstrip("-")) <= 50_000
    assert len(load_dataset("bbbc048")) == 14


def test_parts_of_two_editions_are_not_joined(server):
    server.files["/BBBC048v1.zip"] = zipped({"other": b"x" * 9000})
    server.cut = 60
    refused(match="continues")
    server.cut, server.files["/BBBC048v1.zip"] = None, bbbc048_archive()
    public.fetch("bbbc048", agree=True)
    assert len(load_dataset("bbbc048")) == 14


@pytest.mark.parametrize("length", [9000, 9500])
def test_a_part_as_long_as_the_file_or_longer_is_fetched_anew(server, tmp_path, length):
    server.files["/a.bin"] = content = b"x" * 9000
    (tmp_path / "a.bin.part").write_bytes(b"y" * length)
    fetch_file(f"{server.root}/a.bin", tmp_path / "a.bin", f"md5:{hashlib.md5(content).hexdigest()}", 10_000)
    assert (tmp_path / "a.bin").read_bytes() == content and len(server.asked) == 2


def test_a_recorded_hash_is_checked_ever_after(server):
    server.files["/BBBC048v1.zip"] = bbbc048_archive()
    folder, notes = public.fetch("bbbc048", agree=True)
    assert "sha256" in notes[0]
    assert public.fetch("bbbc048") == (folder, [])
    (folder / "BBBC048v1.zip").write_bytes(b"altered here")
    public.fetch("bbbc048")
    assert (folder / "BBBC048v1.zip").read_bytes() == server.files["/BBBC048v1.zip"]
    (folder / "BBBC048v1.zip").unlink()
    server.files["/BBBC048v1.zip"] = zipped({"altered": b"there"})
    refused(match="is not the one expected")


def test_a_pinned_hash_is_checked_at_the_first_download(server, monkeypatch):
    server.files["/images.zip"] = zipped({"images/a.tif": b"not these"})
    pinned = next(iter(public.PUBLIC["bbbc039"].files.values()))
    known = replace(public.PUBLIC["bbbc039"], files={f"{server.root}/images.zip": pinned})
    monkeypatch.setitem(public.PUBLIC, "bbbc039", known)
    refused(name="bbbc039", match="is not the one expected")


def link_member() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        link = zipfile.ZipInfo("G1/link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/hostname")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"<html>log in</html>", "no ZIP archive"),
        (bbbc048_archive()[:-300], "no ZIP archive"),
        (zipped({"../outside.txt": b"x"}), r"'../outside.txt' lies outside"),
        (zipped({"/outside.txt": b"x"}), "lies outside"),
        (zipped({"a/..\\..\\outside.txt": b"x"}), "lies outside"),
        (zipped({"bomb": bytes(300_000_000)}), "300000000 bytes in"),
        (link_member(), "is a link"),
        (bytes(bytearray(bbbc048_archive()[:2000]) + b"\0" * 500 + bbbc048_archive()[2500:]), "ZIP archive"),
        (zipped({"CellCycle.zip": b"not an archive"}), r"/BBBC048v1\.zip/CellCycle\.zip: no ZIP archive"),
    ],
    ids=["html", "truncated", "zip-slip", "absolute", "backslash", "bomb", "link", "altered", "inner"],
)
def test_an_archive_that_is_none_or_a_trap_is_refused_and_nothing_is_recorded(server, tmp_path, body, match):
    server.files["/BBBC048v1.zip"] = body
    refused(match=match)
    folder = public.public_dir() / "bbbc048"
    assert sorted(p.name for p in folder.iterdir()) == ["facts.json"]
    assert not list(tmp_path.rglob("outside.txt"))
    server.files["/BBBC048v1.zip"] = bbbc048_archive()
    public.fetch("bbbc048")


def test_more_bytes_than_can_be_are_cut_off(server, monkeypatch):
    server.files["/BBBC048v1.zip"] = bbbc048_archive()
    monkeypatch.setitem(public.PUBLIC, "bbbc048", replace(public.PUBLIC["bbbc048"], most_bytes=1000))
    refused(match="sends over 1000 bytes")


def test_without_a_network_the_steps_by_hand_are_named_and_work(server, monkeypatch):
    known = public.PUBLIC["bbbc048"]
    away = {"http://127.0.0.1:9/BBBC048v1.zip": None}
    monkeypatch.setitem(public.PUBLIC, "bbbc048", replace(known, files=away))
    refused(match=r"cannot be reached .*put it at .*BBBC048v1.zip, and run the command again")
    (public.public_dir() / "bbbc048" / "BBBC048v1.zip").write_bytes(bbbc048_archive())
    public.fetch("bbbc048")
    assert len(load_dataset("bbbc048")) == 14
    monkeypatch.setitem(public.PUBLIC, "nagao2020", replace(known, record="http://127.0.0.1:9/record", files={}))
    refused(name="nagao2020", match="download the archives from")
    (public.public_dir() / "nagao2020" / "by_hand.zip").write_bytes(zipped(nagao_members()))
    assert len(load_dataset("nagao2020")) == 29


def test_a_disk_without_room_is_one_line_and_leaves_nothing_half_unpacked(server, monkeypatch):
    server.files["/BBBC048v1.zip"] = bbbc048_archive()

    def full(source, copy, *_):
        copy.write(source.read(10))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfileobj", full)
        with pytest.raises(CellCycleError, match=r"the disk is full .No space left on device.") as error:
            public.fetch("bbbc048", agree=True)
        assert len(str(error.value).splitlines()) == 1
    assert not [p for p in (public.public_dir() / "bbbc048").iterdir() if p.is_dir()]
    public.fetch("bbbc048")
    assert len(load_dataset("bbbc048")) == 14


def test_a_folder_that_cannot_be_made_is_one_line(server, tmp_path):
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "public").write_text("a file where the folder would be")
    refused(match="cannot be made")


@pytest.mark.parametrize(
    "text", ["[]", "null", '{"agreed": "x", "sha256": []}', '{"agreed": "x", "files": {"a.zip": "b"}}']
)
def test_remembered_facts_that_are_none_are_one_line_and_the_archive_is_kept(server, text):
    server.files["/BBBC048v1.zip"] = bbbc048_archive()
    folder, _ = public.fetch("bbbc048", agree=True)
    (folder / "facts.json").write_text(text)
    refused(match=r"facts\.json: cannot be read .*; delete this file and fetch the set again")
    (folder / "facts.json").unlink()
    server.files.clear()
    public.fetch("bbbc048", agree=True)


def test_a_record_of_another_kind_is_one_line_without_escape_codes(server):
    server.files["/record"] = json.dumps(
        {"files": [{"key": 5, "links": {"self": "x"}, "checksum": ""}], "metadata": {"license": {"id": "\x1b[2Jmine"}}}
    ).encode()
    refused(name="nagao2020", match="lists no ZIP archive")
    assert public.licence_of("nagao2020") == "\\x1b[2Jmine, as its Zenodo record states"


def test_what_the_server_refuses_or_lacks_is_one_line(server):
    refused(match="the server answers 404")
    server.files["/record"] = b"[]"
    refused(name="nagao2020", match="cannot be read")
    with pytest.raises(DataError, match="bbbc039"):
        load_dataset("bbbc039")

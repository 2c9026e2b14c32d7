"""The loop of the website: corrections out and in again, a model trained on them, and what others cannot do to it."""

import asyncio
import errno
import io
import json
import os
import shutil
import threading
import time
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

pytest.importorskip("starlette", reason="the extra `app` is not installed")

import httpx
import numpy as np
import pandas as pd
import tifffile

from cellcycle.app import fine_tune, training
from cellcycle.card import check_words
from cellcycle.checkpoint import load_checkpoint
from cellcycle.errors import CheckpointError, LimitError
from cellcycle.predict import Settings, predict
from tests import in_child
from tests.test_app import ALONE, FIELD, NUCLEI, cookie_of, field_file, give, running, visitor

pytestmark = pytest.mark.slow
__all__ = ["field_file"]
SOON = replace(ALONE, train_s=60, train_mb=500)


@contextmanager
def at(folder, limits=SOON, **options):
    """A client of a server that keeps its things in a folder."""
    with running(folder / "page", limits, **options) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


@contextmanager
def corrected(client, file, **settings):
    """A visitor who gave a field and called every second of its nuclei S and G1 in turn, enough of each to train."""
    with visitor(client) as client:
        about = give(client, file, **settings).json()
        shown = client.get(f"/api/images/{about['id']}/nuclei.json").json()
        said = {str(n): ("S", "G1")[k % 2] for k, n in enumerate(shown["id"][::2])} | {str(shown["id"][1]): "none"}
        client.put(f"/api/images/{about['id']}/corrections", json=said).raise_for_status()
        yield client, about, said


def ended(client) -> dict:
    """Wait for the end of a visitor's training."""
    for _ in range(1200):
        state = client.get("/api/training").json()
        if not state["running"]:
            return state
        time.sleep(0.1)
    raise AssertionError(state)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def server(folder):
    with at(folder) as client:
        yield client


@pytest.fixture
def quick(server, monkeypatch):
    """A client of a server whose trainings are those of this file."""
    monkeypatch.setattr(fine_tune, "start", in_child.ready)
    monkeypatch.setattr(fine_tune, "fine_tune", in_child.train_for_ever)
    return server


def test_corrections_become_a_model_that_calls_again_and_can_be_taken_along(tmp_path, field_file):
    pytest.importorskip("torch")
    limits = replace(ALONE, work_mb=3000, train_s=300, train_epochs=1)
    # The smallest model is soon trained.
    with at(tmp_path, limits) as client, corrected(client, field_file, model="lr") as (client, about, said):
        key = about["id"]
        assert client.post("/api/training").status_code == 202
        # Others are answered while it runs.
        assert client.get("/health").status_code == 200 and client.get("/api/training").json()["running"] is not None
        state = ended(client)
        assert state["problem"] == "" and state["missing"] == ""
        model = state["model"]
        assert (
            model["from"] == about["model"].split()[0] and model["n"] == sum(model["counts"].values()) == len(said) - 1
        )
        assert 0 <= model["before"] <= 1 and model["gain"][0] <= model["gain"][1]
        assert any("fewer than 5 groups" in note for note in model["notes"])
        again = client.post(f"/api/images/{key}/call", params={"model": fine_tune.OWN}).json()
        assert again["model"] == model["name"] and again["corrections"] == said
        assert len(client.get(f"/api/images/{key}/occlusion/0.png").content) > 1000
        with zipfile.ZipFile(io.BytesIO(client.get("/api/model.zip").content)) as archive:
            archive.extractall(tmp_path)
        rows = client.get("/api/nuclei.csv").text
        with visitor(client) as other:
            assert other.get("/api/model.zip").status_code == 404
            assert other.get("/api/training").json()["model"] is None
            assert give(other, NUCLEI[0], model=fine_tune.OWN).status_code == 400
        cookies = dict(client.cookies)
        folder = tmp_path / model["name"]
        assert load_checkpoint(folder).card["training"]["from"] == model["from"]
        expected = predict(field_file, folder)
        assert [line.split(",")[4] for line in rows.splitlines()[1:]] == expected["call"].tolist()
        # Served with --model it has a card, too; and what was trained survives a restart.
        shutil.copytree(tmp_path / "page", tmp_path / "later" / "page")
        with at(tmp_path / "later", limits, folders=[folder]) as later:
            later.cookies.update(cookies)
            assert later.post("/api/visit").json()["models"][0]["name"] == model["name"]
            assert later.get("/api/training").json()["model"] == model
        client.delete("/api/images")
        assert not list((tmp_path / "page").glob("*/*/model"))


def test_no_model_of_the_server_is_called_as_that_of_a_visitor():
    with pytest.raises(CheckpointError, match="is a path"):
        check_words("card", {"name": fine_tune.OWN})


def test_labels_are_counted_also_where_the_old_weights_stay(monkeypatch, tmp_path, field_file):
    from cellcycle import train
    from cellcycle.app import worker
    from cellcycle.app.models import model_table

    kept = load_checkpoint("lr")
    card = kept.card | {"training": dict.fromkeys(("from", "before", "after", "gain"))}
    monkeypatch.setattr(worker, "_models", model_table())
    monkeypatch.setattr(train, "train", lambda *_, **__: replace(kept, card=card, folder=tmp_path / "made"))
    worker.read(field_file, "a.tif", Settings("field"), 25, tmp_path / "plane")
    worker.call(tmp_path / "plane", "lr", Settings("field"), tmp_path / "call")
    said = {str(n): ("S", "G1")[n % 2] for n in range(1, 13)}
    for name in ("made", "work"):
        (tmp_path / name).mkdir()
    fine_tune.fine_tune([(tmp_path / "plane", tmp_path / "call", said)], 1000, 1, tmp_path / "work")
    told = json.loads((tmp_path / "work" / fine_tune.MADE / fine_tune.TRAINED).read_text())
    assert {name: n for name, n in told["counts"].items() if n} == {"G1": 6, "S": 6} and told["n"] == 12


def test_a_saved_table_of_corrections_is_taken_again(quick, field_file):
    with corrected(quick, field_file, name="a.tif") as (client, about, said):
        table = client.get("/api/corrections.csv").content
        client.put(f"/api/images/{about['id']}/corrections", json={"2": "M"})
        other = give(client, NUCLEI[0]).json()
        found = client.post("/api/corrections", content=table).json()
        assert found["n"] == len(said)
        known = {image["id"]: image["corrections"] for image in found["images"]}
        assert known == {about["id"]: {"2": "M"} | said, other["id"]: {}}
        with visitor(quick) as second:
            # Its image has another name by now; the table knows its content.
            give(second, field_file, name="b.tif")
            assert second.post("/api/corrections", content=table).json()["images"][0]["corrections"] == said
        plain = b"image,nucleus_id,label\na.tif,1,M\na.tif,999999,G1\na.tif,2,nonsense\n/etc/passwd,1e999,S\n"
        client.put(f"/api/images/{about['id']}/corrections", json={})
        assert client.post("/api/corrections", content=plain).json()["n"] == 1


@pytest.mark.parametrize("name", ["-5 uM.png", "=1+1.png", "@a (1).png"])
def test_corrections_are_taken_by_a_name_that_a_spreadsheet_would_run(quick, name):
    with visitor(quick) as client:
        give(client, NUCLEI[0], name=name)
        for written in (name, f"./{name}", f"'{name}"):
            table = f"image,nucleus_id,label\n{written},1,M\n".encode()
            assert client.post("/api/corrections", content=table).json()["n"] == 1


def test_corrections_of_two_images_of_one_name_are_put_on_neither_unless_told_apart(quick):
    """Those of another folder would be put on whatever nuclei lie at the same places here."""
    with visitor(quick) as client:
        give(client, NUCLEI[0], name="s1.png")
        for other, status in (("B/s1.png", 400), ("B/s2.png", 200), ("A/./s1.png", 200)):
            table = f"image,nucleus_id,label\nA/s1.png,1,M\n{other},2,G1\n".encode()
            answer = client.post("/api/corrections", content=table)
            assert answer.status_code == status
            if status == 400:
                assert "its images A/s1.png and B/s1.png have one name" in answer.json()["detail"]
                assert not client.post("/api/visit").json()["images"][0]["corrections"]


def test_corrections_given_again_go_to_the_plane_of_which_they_were_said(quick, tmp_path):
    field = tifffile.imread(FIELD)[:300, :300]
    tifffile.imwrite(tmp_path / "movie.tif", np.stack([field, field]), imagej=True, metadata={"axes": "TYX"})
    with visitor(quick) as client:
        first, second = (give(client, tmp_path / "movie.tif", plane=plane).json() for plane in (0, 1))
        client.put(f"/api/images/{second['id']}/corrections", json={"2": "M"}).raise_for_status()
        table = client.get("/api/corrections.csv").content
        client.put(f"/api/images/{second['id']}/corrections", json={"2": ""})
        found = client.post("/api/corrections", content=table).json()
        assert found["n"] == 1
        known = {image["id"]: image["corrections"] for image in found["images"]}
        assert known == {first["id"]: {}, second["id"]: {"2": "M"}}
        # A table that does not say which plane means all of them.
        by_file = pd.read_csv(io.BytesIO(table)).drop(columns=["channel", "planes"]).to_csv(index=False)
        assert client.post("/api/corrections", content=by_file).json()["n"] == 2


@pytest.mark.parametrize(
    "table",
    [b"", b"\0\xff\xfe", b"PK\x03\x04" + bytes(500), b"image,label\n" * 5, b'"' * 99_999,
     b"image,nucleus_id,label\n,,\n", b"image,nucleus_id,label\n" + b"a,1,G1\nb,x,M\n" * 9],
)  # fmt: skip
def test_what_is_no_table_of_corrections_is_refused_in_one_line(quick, table):
    with visitor(quick) as client:
        give(client, NUCLEI[0])
        answer = client.post("/api/corrections", content=table)
        words = answer.json()["detail"]
        assert (
            answer.status_code == 400 and "\n" not in words and "/page" not in words and "corrections.csv" not in words
        )
        assert client.post("/api/corrections", content=bytes(5 << 20)).status_code == 413


def test_one_training_runs_at_a_time_and_no_visitor_keeps_the_place(quick, field_file):
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(corrected(quick, field_file))[0] for _ in range(3))
        begin = lambda client: client.post("/api/training").raise_for_status().json()  # noqa: E731
        state = lambda client: client.get("/api/training").json()  # noqa: E731
        end = lambda client: client.request("DELETE", "/api/training").raise_for_status().json()  # noqa: E731
        assert begin(first)["running"] and begin(second)["waiting"] == 1
        assert begin(third)["waiting"] == 2 and begin(second)["waiting"] == 1
        answer = first.post("/api/training")
        assert answer.status_code == 503 and "your training is running" in answer.text and answer.headers["retry-after"]
        while not state(first)["running"][1]:
            time.sleep(0.05)
        assert state(first)["running"] == [3, 10]
        # Another visitor ends nothing but their own turn.
        assert end(third)["waiting"] is None and state(first)["running"] and begin(third)["waiting"] == 2
        stopped = end(first)
        assert stopped["running"] is None and stopped["problem"] == ""
        # Who had the place comes last.
        assert begin(first)["waiting"] == 2 and state(second)["running"] and state(third)["waiting"] == 1
        third.delete("/api/images")
        assert state(first)["waiting"] == 1
        second.delete("/api/images")
        assert state(first)["running"] and state(first)["waiting"] is None


def test_of_trainings_no_more_wait_than_may_and_what_is_gone_at_its_turn_is_said(tmp_path, quick, field_file):
    with (
        at(tmp_path, replace(SOON, train_waiting=1)) as client,
        corrected(client, field_file) as (first, *_),
        corrected(client, field_file) as (second, about, said),
        corrected(client, field_file) as (third, *_),
    ):
        answers = [one.post("/api/training") for one in (first, second, third)]
        assert [answer.status_code for answer in answers] == [202, 202, 503]
        second.put(f"/api/images/{about['id']}/corrections", json=dict.fromkeys(said))
        first.request("DELETE", "/api/training")
        state = second.get("/api/training").json()
        assert state["running"] is state["waiting"] is None and "label more" in state["problem"]
        assert third.post("/api/training").json()["running"]


@pytest.mark.parametrize(
    ("spoiler", "words"),
    [
        (in_child.refuse, "too few; label more"),
        (in_child.fill, "more than 500 MB"),
        (in_child.crash, "ended the process"),
    ],
)
def test_a_training_that_fails_says_why_and_hurts_nobody(quick, folder, monkeypatch, field_file, spoiler, words):
    monkeypatch.setattr(fine_tune, "fine_tune", spoiler)
    with corrected(quick, field_file) as (client, about, _):
        client.post("/api/training").raise_for_status()
        state = ended(client)
        assert words in state["problem"] and state["model"] is None and str(folder) not in state["problem"]
        assert not list((folder / "page" / ".training").glob("work*"))
        assert client.post(f"/api/images/{about['id']}/call").status_code == 200


def test_a_training_that_takes_too_long_ends(tmp_path, monkeypatch, field_file):
    monkeypatch.setattr(fine_tune, "start", in_child.ready)
    monkeypatch.setattr(fine_tune, "fine_tune", in_child.train_for_ever)
    with at(tmp_path, replace(SOON, train_s=1)) as client, corrected(client, field_file) as (client, _, _):
        client.post("/api/training").raise_for_status()
        assert "longer than 1 s" in ended(client)["problem"]


def test_a_model_replaces_the_last_one_and_goes_with_its_visitor(quick, monkeypatch, field_file, folder):
    monkeypatch.setattr(fine_tune, "fine_tune", in_child.make_model)
    with corrected(quick, field_file) as (client, _, said):
        for _ in range(2):
            client.post("/api/training").raise_for_status()
            assert ended(client)["model"] == {"name": "模型 1", "n": len(said)}
            download = client.get("/api/model.zip").raise_for_status().headers["content-disposition"]
            assert unquote(download) == "attachment; filename*=utf-8''模型 1.zip"
            assert len(list((folder / "page").glob("*/*/model"))) == 1
        # A model is no image, though its folder has an id of the same kind.
        (model,) = (path.parent for path in (folder / "page").glob("*/*/model"))
        for address in (f"/api/images/{model.name}/view.png", f"/api/images/{model.name}/nuclei.json"):
            assert client.get(address).status_code == 404
        assert len(client.post("/api/visit").json()["images"]) == 1
        client.delete("/api/images")
        assert not model.exists() and client.post("/api/training").status_code == 403


def test_a_training_that_ended_with_the_server_is_told_by_the_next(tmp_path, monkeypatch, field_file):
    monkeypatch.setattr(fine_tune, "start", in_child.ready)
    monkeypatch.setattr(fine_tune, "fine_tune", in_child.train_for_ever)
    killed = tmp_path / "killed"
    with at(tmp_path) as client, ExitStack() as stack:
        visitors = [stack.enter_context(corrected(client, field_file))[0] for _ in range(3)]
        for one in visitors:
            one.post("/api/training").raise_for_status()
        visitors[2].request("DELETE", "/api/training").raise_for_status()
        # A server that is killed does nothing at its end.
        shutil.copytree(tmp_path / "page", killed / "page", ignore=shutil.ignore_patterns(".training"))
        keys = [one.cookies[cookie_of(tmp_path / "page")] for one in visitors]
    with at(killed) as client:
        known = [{"cookie": f"{cookie_of(killed / 'page')}={key}"} for key in keys]
        states = [client.get("/api/training", headers=one).json() for one in known]
        assert ["restarted" in state["problem"] for state in states] == [True, True, False]
        assert not any(state["running"] or state["waiting"] for state in states)
        again = client.post("/api/training", headers=known[0]).raise_for_status().json()
        assert again["running"] and again["problem"] == ""


def test_a_server_without_torch_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(fine_tune, "find_spec", lambda name: None if name == "torch" else True)
    with at(tmp_path) as client, visitor(client) as client:
        assert "torch is not installed" in client.get("/api/training").json()["missing"]
        answer = client.post("/api/training")
        assert answer.status_code == 501 and "torch" in answer.json()["detail"]


@pytest.mark.parametrize("cookie", ["", "x", "../../etc", "A" * 22])
def test_who_is_not_known_or_gave_nothing_trains_nothing(quick, folder, cookie):
    with httpx.Client(base_url=quick.base_url, cookies={cookie_of(folder / "page"): cookie}) as client:
        assert client.post("/api/training").status_code in (400, 403)
        assert client.get("/api/model.zip").status_code in (403, 404)
        for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert client.post("/api/training", headers=headers).status_code == 403
            assert client.post("/api/corrections", content=b"x", headers=headers).status_code == 403


def test_training_begins_where_the_system_has_no_priorities(monkeypatch, tmp_path):
    loaded = []
    monkeypatch.delattr(os, "nice", raising=False)
    monkeypatch.setattr(fine_tune.worker, "start", lambda *given: loaded.append(given))
    fine_tune.start((), tmp_path)
    assert loaded == [((), tmp_path)]


def test_who_ends_a_training_several_times_at_once_ends_none_that_is_begun_meanwhile(monkeypatch, tmp_path):
    """It would run on without its place, beside that of the next visitor."""

    class Child:
        def __init__(self, *_):
            self.is_over, self.n_ended = threading.Event(), 0

        def __call__(self, *_):
            self.is_over.wait()
            raise LimitError("", "it was ended", "")

        def close(self):
            self.n_ended += 1
            self.is_over.set()
            # Who asked first hears of it last.
            time.sleep(0.3 * (self.n_ended == 1))

    monkeypatch.setattr(training, "Confined", Child)
    monkeypatch.setattr(training, "_given", lambda visitor: [])
    one, other = (SimpleNamespace(key=key, trained=lambda: None) for key in ("one", "other"))

    async def run():
        trainings = training.Trainings(SOON, (), tmp_path / "training")
        trainings.missing = ""
        trainings.start(one)
        await asyncio.sleep(0.1)
        ending = asyncio.create_task(trainings.stop(one))
        while trainings.state(one)["running"]:
            await asyncio.sleep(0.01)
        trainings.start(one)
        await ending
        trainings.start(other)
        states = trainings.state(one), trainings.state(other)
        trainings.close()
        await trainings._task
        # The next run of the server tells them.
        assert json.loads((tmp_path / "training-queue.json").read_text()) == ["one", "other"]
        return states

    mine, waiting = asyncio.run(run())
    assert mine["running"] and waiting["waiting"] == 1


def test_trainings_stopped_before_they_began_leave_one_worker(monkeypatch, tmp_path):
    trainings, begun = training.Trainings(SOON, (), tmp_path / "training"), []
    trainings.missing, one = "", SimpleNamespace(key="one")

    async def train(of):
        begun.append(of)
        await asyncio.sleep(0.01)
        return ""

    async def run():
        trainings.start(one)
        await trainings.stop(one)
        trainings.start(one)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    monkeypatch.setattr(training, "_given", lambda visitor: [])
    monkeypatch.setattr(trainings, "_train", train)
    asyncio.run(run())
    assert len(begun) == 1


def test_a_full_disk_keeps_no_training_from_its_turn(monkeypatch, tmp_path):
    one, other, third = (SimpleNamespace(key=key) for key in ("one", "other", "third"))
    trainings, done = training.Trainings(SOON, (), tmp_path / "training"), []
    trainings.missing = ""

    def full(*_):
        raise OSError(errno.ENOSPC, "no space left")

    async def train(of):
        await asyncio.sleep(0.01)
        done.append(of.visitor.key)
        return ""

    async def run():
        trainings.start(one)
        trainings.start(other)
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(training, "replace_json", full)
            with pytest.raises(OSError, match="no space"):
                trainings.start(third)
            await trainings._task
        trainings.start(third)
        await trainings._task

    monkeypatch.setattr(training, "_given", lambda visitor: [])
    monkeypatch.setattr(trainings, "_train", train)
    asyncio.run(run())
    assert done == ["one", "other", "third"] and json.loads((tmp_path / "training-queue.json").read_text()) == []

"""Work on a cluster of `dask.distributed`: the same results in order, and one line where there is no such cluster."""

import ast
import gc
import inspect
import logging
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from cellcycle import cli, files, tasks, tuning
from cellcycle.checkpoint import load_checkpoint
from cellcycle.datasets import make_simulated
from cellcycle.errors import DataError, SettingError
from cellcycle.predict import predict

pytestmark = pytest.mark.slow

distributed = pytest.importorskip("distributed", reason="distributed is not installed")
dask = pytest.importorskip("dask")
Client, LocalCluster = distributed.Client, distributed.LocalCluster
MITOSES = files.repository() / "data" / "sample" / "nuclei" / "M"


def start(base):
    return 10 * base


def with_start(started, item):
    return started + item


def shout(item):
    raise DataError(item, "was given", "give another")


def wait_for(seconds):
    time.sleep(seconds)
    return seconds


def die_once(marker):
    if not marker.exists():
        marker.touch()
        os._exit(1)
    return marker.name


@pytest.fixture(scope="module")
def client():
    """A cluster of two workers on this machine."""
    with tasks.cluster("local", 2) as client:
        yield client


def test_a_cluster_gives_results_in_order_with_what_start_made(client):
    with tasks.workers(start=start, start_arguments=(7,), client=client) as do:
        assert list(do(with_start, range(5))) == [70, 71, 72, 73, 74]
        assert list(do(with_start, range(2))) == [70, 71]
    with pytest.raises(DataError, match="two: was given"):
        list(tasks.run(shout, ["two"], client=client))


def quietest():
    return logging.getLogger("distributed.worker").getEffectiveLevel()


def test_workers_on_this_machine_leave_ctrl_c_to_the_command_and_say_nothing_when_it_ends(client):
    assert set(client.run(signal.getsignal, signal.SIGINT).values()) == {signal.SIG_IGN}
    assert set(client.run(quietest).values()) == {logging.CRITICAL}


def test_a_worker_that_dies_loses_nothing_and_repeats_nothing(client, tmp_path):
    markers = [tmp_path / str(k) for k in range(6)]
    for marker in markers[:2] + markers[3:]:
        marker.touch()
    assert list(tasks.run(die_once, markers, client=client)) == list("012345")


def test_a_scheduler_that_dies_under_way_is_one_line():
    quick = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    own = LocalCluster(n_workers=1, processes=False, dashboard_address=None)
    with quick, own as cluster, Client(cluster) as client:
        done = tasks.run(wait_for, [0, 0, 2], client=client)
        assert next(done) == 0
        cluster.sync(cluster.scheduler.close)
        with pytest.raises(SettingError, match=r"--dask: the connection to its scheduler was lost; see that it runs"):
            list(done)


def test_the_table_of_a_cluster_is_that_of_one_process(client, tmp_path, monkeypatch):
    images = sorted(map(str, MITOSES.glob("*.png")))[:4]
    assert predict(images, is_slide=True, client=client).equals(predict(images, is_slide=True))
    for name, more in (("alone", []), ("shared", ["--dask", client.scheduler.address])):
        call = ["cellcycle", "predict", *images, "--slide", "--output", str(tmp_path / f"{name}.csv"), *more]
        monkeypatch.setattr("sys.argv", call)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
    assert Path(tmp_path, "shared.csv").read_bytes() == Path(tmp_path, "alone.csv").read_bytes()


def test_folds_and_trials_of_a_cluster_are_those_of_one_process(client, tmp_path):
    from cellcycle.train import train

    dataset = make_simulated("few", {"G1": 12, "S": 8, "G2": 8, "M": 8}, size_px=32, seed=1)
    settings = [{"model": "logistic", "training_set": "D1", "epochs": 2, "learning_rate": rate} for rate in (1e-3, 1)]
    found = [
        tuning.search(dataset, settings, ((1 / 2, 2), (1, 1)), tmp_path / name, n_folds=2, client=own)
        for name, own in (("alone", None), ("shared", client))
    ]
    assert found[0].trials.equals(found[1].trials)
    np.testing.assert_allclose(*(one.record.probabilities for one in found), atol=1e-6)
    for name, own in (("alone", None), ("shared", client)):
        train(dataset, tmp_path / f"model {name}", network="logistic", n_folds=2, epochs=1, size_px=32, client=own)
    scores = [load_checkpoint(tmp_path / f"model {name}").card["scores"]["held_out"] for name in ("alone", "shared")]
    assert scores[0] == scores[1]


def test_a_cluster_that_asks_for_certificates_is_reached_by_those_of_the_settings_of_dask(tmp_path, monkeypatch):
    pytest.importorskip("cryptography", reason="cryptography is not installed")
    from distributed import LocalCluster
    from distributed.security import Security

    monkeypatch.setattr(tasks, "_ANSWER_S", 5)
    made, files = Security.temporary(), {}
    for name, text in {
        "ca-file": made.tls_ca_file,
        "client.cert": made.tls_client_cert,
        "client.key": made.tls_client_key,
    }.items():
        (tmp_path / name).write_text(text)
        files[f"distributed.comm.tls.{name}"] = str(tmp_path / name)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, security=made) as own:
        with dask.config.set(files), tasks.cluster(own.scheduler_address) as client:
            assert list(tasks.run(abs, [-1, 2], client=client)) == [1, 2]
        with (
            pytest.raises(SettingError, match="no scheduler of this version answers"),
            tasks.cluster(own.scheduler_address),
        ):
            pass


SNIPPETS = re.findall(
    r"```python\n(.*?)```", (files.repository() / "docs/how_to/cluster.md").read_text("utf-8"), re.DOTALL
)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: text.split()[1])
def test_a_snippet_of_the_page_names_what_there_is(snippet):
    tree = ast.parse(snippet)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = pytest.importorskip(node.module, reason=f"{node.module} is not installed")
            names = {alias.name: getattr(module, alias.name) for alias in node.names}
            for call in ast.walk(tree):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") in names:
                    keywords = {k.arg: None for k in call.keywords}
                    inspect.signature(names[call.func.id]).bind(*call.args, **keywords)


def test_the_snippet_for_slurm_asks_for_what_it_says(monkeypatch, capsys):
    """Its script is made; no queue is at hand to hand it to."""
    SLURMCluster = pytest.importorskip("dask_jobqueue", reason="dask_jobqueue is not installed").SLURMCluster
    asked = []
    monkeypatch.setattr(SLURMCluster, "scale", lambda self, n=0, **jobs: asked.append((jobs, self.job_script())))
    (snippet,) = (text for text in SNIPPETS if "SLURM" in text)
    made: dict = {}
    exec(snippet, made)
    made["cluster"].close()
    (jobs, script), *_ = asked
    assert jobs == {"jobs": 10} and "--cpus-per-task=8" in script and "-t 02:00:00" in script
    assert capsys.readouterr().out.strip() in script


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "ftp://x"])
def test_a_scheduler_that_cannot_be_reached_is_one_line(address, monkeypatch):
    def clients():
        return {id(one) for one in gc.get_objects() if type(one) is Client}

    before = clients()
    monkeypatch.setattr(tasks, "_ANSWER_S", 1)
    with pytest.raises(SettingError, match="no scheduler of this version answers") as found, tasks.cluster(address):
        pass
    assert address in str(found.value) and "\n" not in str(found.value)
    # No half-made client is left, to be closed in the middle of something else.
    assert clients() <= before


def test_workers_that_are_missing_or_of_another_version_are_one_line():
    class Client:
        def __init__(self, answer):
            self.answer = answer

        def wait_for_workers(self, n, timeout):
            if self.answer is None:
                raise TimeoutError

        def run(self, function, package):
            if self.answer == "":
                raise ModuleNotFoundError(package)
            return {"tcp://worker": self.answer}

    said = {None: "no worker has joined", "": "does not say its version", "0": "distributed 0, here"}
    for answer, finding in said.items():
        with pytest.raises(SettingError, match=finding):
            tasks._check_workers(Client(answer), "tcp://somewhere")

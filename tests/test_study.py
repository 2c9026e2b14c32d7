import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest

from cellcycle import paths, results
from cellcycle.errors import DataError, RecordError, SettingError
from cellcycle.images import write_image
from cellcycle.study import load_profile, runner
from cellcycle.study.publish import clean, publish_notebook

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smoke(output_dir):
    """Run every notebook in the smoke profile, once for the tests of this file."""
    return runner.run_study("smoke")


def test_every_notebook_runs_in_smoke(smoke):
    assert [o.name for o in smoke] == runner.select_notebooks()
    assert not [f"{o.name}: {o.error}" for o in smoke if o.error]


def test_executed_copies_are_clean_of_noise(smoke):
    for outcome in smoke:
        for cell in nbformat.read(outcome.copy, as_version=4).cells:
            for output in cell.get("outputs", []):
                assert output.get("name") != "stderr", f"{outcome.name}: {output.get('text')}"


def test_smoke_writes_records_under_the_output_folder_alone(smoke, output_dir):
    records = results.load_runs(output_dir / "results" / "smoke" / "simulated")
    models = {r.config["model"] for r in records}
    assert {"dna-content", "logistic", "nn", "resnet8", "resnet20-plain", "nagao6"} <= models
    assert all(r.data["origin"] == "simulated" for r in records)


def test_figures_notebook_needs_the_records(smoke, tmp_path, monkeypatch):
    profile = load_profile("smoke")
    dataset = profile.load_dataset()
    monkeypatch.setenv("CELLCYCLE_OUTPUT", str(tmp_path))
    with pytest.raises(RecordError, match="no whole record of nagao6 D3"):
        profile.recorded(dataset, [profile.config("nagao6")])


def test_unknown_names_are_refused_before_anything_runs():
    with pytest.raises(SettingError, match="profile"):
        runner.run_study("quick")
    with pytest.raises(SettingError, match="no notebook '99'"):
        runner.run_study("smoke", only=("99",))
    with pytest.raises(SettingError, match=r"sede: no parameter of 04.*profile, data, seed"):
        runner.run_study("smoke", only=("04",), parameters={"sede": "1"})


def write_notebook(file, parameters, code):
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[tagged, nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, file)


def test_a_failing_notebook_is_reported_and_the_others_run(tmp_path, monkeypatch, capsys):
    for name, code in (("01_good", "1 + 1"), ("02_bad", "raise ValueError('broken cell')")):
        write_notebook(tmp_path / f"{name}.ipynb", "profile: str = ''", code)
    monkeypatch.setattr(runner, "notebooks_dir", lambda: tmp_path)
    good, bad = runner.run_study("smoke", workers=1)
    assert good.error is None
    assert "broken cell" in bad.error
    printed = capsys.readouterr().out
    assert "01_good" in printed
    assert "FAILED" in printed
    # Kernels leave nothing beside the notebooks.
    assert sorted(f.name for f in tmp_path.iterdir()) == ["01_good.ipynb", "02_bad.ipynb"]


def test_seed_parameter_reaches_the_notebook(tmp_path, monkeypatch):
    write_notebook(tmp_path / "01_seed.ipynb", "seed: int = 0", "print(seed)")
    monkeypatch.setattr(runner, "notebooks_dir", lambda: tmp_path)
    (outcome,) = runner.run_study("smoke", parameters={"seed": 7}, workers=1)
    assert nbformat.read(outcome.copy, as_version=4).cells[-1].outputs[0].text == "7\n"


def test_publishing_keeps_outputs_and_drops_run_metadata(tmp_path):
    cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text="1")])
    cell.metadata = nbformat.from_dict({"tags": ["a"], "papermill": {"duration": 1}, "execution": {"t": "1"}})
    injected = nbformat.v4.new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell, injected], metadata={"papermill": {"x": 1}})
    nbformat.write(notebook, tmp_path / "run.ipynb")
    publish_notebook(tmp_path / "run.ipynb", tmp_path / "clean.ipynb")
    made = nbformat.read(tmp_path / "clean.ipynb", as_version=4)
    assert "papermill" not in made.metadata
    (kept,) = made.cells
    assert kept.metadata == {"tags": ["a"]}
    assert kept.outputs[0].text == "1"
    assert clean(made) == made


def test_a_killed_study_goes_on_where_it_stopped(smoke, output_dir, tmp_path):
    """Kill the command while notebook 06 trains, run it again, and count what was not repeated."""
    shutil.copytree(output_dir / "cache", tmp_path / "cache")
    environment = os.environ | {"CELLCYCLE_OUTPUT": str(tmp_path)}
    command = [sys.executable, "-m", "cellcycle", "study", "--profile", "smoke", "--only", "06"]
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    records = tmp_path / "results" / "smoke" / "simulated"
    deadline = time.monotonic() + 120
    while len(list(records.glob("[!.]*/run.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    family = descendants(first.pid)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert family
    deadline = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.2)
    # Nothing goes on computing behind the back of whoever stopped it.
    assert not [pid for pid in family if psutil.pid_exists(pid)]
    done = {f: f.stat().st_mtime_ns for f in records.glob("[!.]*/run.json")}
    assert 2 <= len(done) < len(_records_of_06(output_dir))
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    after = {f: f.stat().st_mtime_ns for f in records.glob("[!.]*/run.json")}
    assert done.items() <= after.items()
    for file in _records_of_06(output_dir):
        again_file = records / file.parent.name / "predictions.csv"
        assert again_file.read_bytes() == (file.parent / "predictions.csv").read_bytes()


def descendants(pid):
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _records_of_06(output_dir: Path):
    folder = output_dir / "results" / "smoke" / "simulated"
    # Notebook 09 repeats some of them under other seeds.
    return [f for f in folder.glob("resnet*/run.json") if json.loads(f.read_text())["config"]["seed"] == 0]


def test_results_of_the_recorded_study_are_committed_and_others_are_not(monkeypatch):
    monkeypatch.delenv("CELLCYCLE_OUTPUT")
    assert paths.results_dir("study", "simulated") == paths.repository() / "data" / "results" / "study"
    assert paths.results_dir("study", "my cells") == paths.repository() / "build" / "results" / "study" / "my-cells"
    assert "build" in paths.results_dir("smoke", "simulated").parts


def test_data_that_cannot_be_used_is_refused_before_anything_runs(tmp_path):
    for phase, n in (("G1", 6), ("M", 1)):
        (tmp_path / "cells" / phase).mkdir(parents=True)
        for i in range(n):
            rng = np.random.default_rng([n, i])
            write_image(tmp_path / "cells" / phase / f"{i}.png", rng.integers(0, 255, (24, 24), dtype=np.uint8))
    with pytest.raises(DataError, match="class M: 1 images for 2 folds"):
        runner.run_study("smoke", tmp_path / "cells")
    (tmp_path / "cells" / "G1" / "0.png").write_text("damaged")
    with pytest.raises(DataError, match=r"1 of 7 images cannot be read.*--skip-unreadable"):
        runner.run_study("smoke", tmp_path / "cells")

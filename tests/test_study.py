import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest

from cellcycle import files, results, summaries
from cellcycle.errors import DataError, RecordError, SettingError
from cellcycle.images import write_image
from cellcycle.study import experiments, load_profile, notebooks, texts
from cellcycle.study.notebooks import clean, publish_notebook
from cellcycle.study.status import StatusLine
from tests.test_notebooks import CHECKED, code_cells

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smoke(output_dir):
    """Run every notebook in the smoke profile, once for the tests of this file."""
    # One more than cores: a notebook waits for its kernel, and they for nothing else.
    return notebooks.run_study("smoke", workers=3)


def test_every_notebook_runs_in_smoke(smoke):
    assert [o.name for o in smoke] == notebooks.select_notebooks()
    assert not [f"{o.name}: {o.error}" for o in smoke if o.error]


def test_executed_copies_are_clean_of_noise(smoke):
    for outcome in smoke:
        for cell in nbformat.read(outcome.copy, as_version=4).cells:
            for output in cell.get("outputs", []):
                assert output.get("name") != "stderr", f"{outcome.name}: {output.get('text')}"


def checked_outputs(file):
    cells = code_cells(nbformat.read(file, as_version=4))
    return {c.id: "".join(o.text for o in c.outputs) for c in cells if c.source.startswith(CHECKED)}


def test_a_checked_cell_prints_in_smoke_what_its_notebook_holds(smoke):
    for outcome in smoke:
        assert checked_outputs(outcome.copy) == checked_outputs(notebooks.notebooks_dir() / outcome.copy.name)


def test_smoke_writes_records_under_the_output_folder_alone(smoke, output_dir):
    records = results.load_runs(output_dir / "results" / "smoke" / "simulated")
    models = {r.config["model"] for r in records}
    assert {"dna-content", "logistic", "nn", "resnet8", "resnet20-plain", "nagao6"} <= models
    assert all(r.data["origin"] == "simulated" for r in records)


def test_the_executed_copies_say_what_the_records_say(smoke):
    profile = load_profile("smoke")
    dataset = profile.load_dataset()
    (logistic, baseline) = experiments.recorded(
        profile, dataset, [experiments.settings(profile, "logistic"), *experiments.baseline(profile)]
    )
    texts_of = {o.name[:2]: o.copy.read_text(encoding="utf-8") for o in smoke}
    assert summaries.sentence(logistic, "Logistic regression") in texts_of["04"]
    assert summaries.sentence(baseline, "DNA content and area") in texts_of["01"]
    assert (baseline.predicted == baseline.labels).mean() > summaries.majority_accuracy(baseline)


def test_figures_notebook_needs_the_records(smoke, own_output):
    profile = load_profile("smoke")
    dataset = profile.load_dataset()
    with pytest.raises(RecordError, match="no whole record of nagao6 D3"):
        experiments.recorded(profile, dataset, [experiments.settings(profile, "nagao6")])


def test_unknown_names_are_refused_before_anything_runs():
    with pytest.raises(SettingError, match="profile"):
        notebooks.run_study("quick")
    with pytest.raises(SettingError, match="no notebook '99'"):
        notebooks.run_study("smoke", only=("99",))
    with pytest.raises(SettingError, match=r"sede: no parameter of 04.*profile, data, seed"):
        notebooks.run_study("smoke", only=("04",), parameters={"sede": "1"})


def write_notebook(file, parameters, code):
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[tagged, nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, file)


def test_a_failing_notebook_is_reported_and_the_others_run(tmp_path, monkeypatch, capsys):
    ending = {"01_good": "1 + 1", "02_bad": "raise ValueError('broken cell')", "03_killed": "import os; os._exit(9)"}
    for name, code in ending.items():
        write_notebook(tmp_path / f"{name}.ipynb", "profile: str = ''", code)
    monkeypatch.setattr(notebooks, "notebooks_dir", lambda: tmp_path)
    good, bad, killed = notebooks.run_study("smoke", workers=1)
    assert good.error is None and killed.error == "Kernel died"
    assert "broken cell" in bad.error and "broken cell" in bad.copy.read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert "01_good" in printed
    assert "FAILED" in printed
    # Kernels leave nothing beside the notebooks.
    assert sorted(f.name for f in tmp_path.iterdir()) == [f"{name}.ipynb" for name in ending]


def test_seed_parameter_reaches_the_notebook(tmp_path, monkeypatch):
    write_notebook(tmp_path / "01_seed.ipynb", "seed: int = 0", "print(seed)")
    monkeypatch.setattr(notebooks, "notebooks_dir", lambda: tmp_path)
    (outcome,) = notebooks.run_study("smoke", parameters={"seed": 7}, workers=1)
    assert nbformat.read(outcome.copy, as_version=4).cells[-1].outputs[0].text == "7\n"


def test_output_of_notebooks_lies_where_the_command_was_run(tmp_path, monkeypatch):
    (tmp_path / "lessons").mkdir()
    code = "import os\nfrom pathlib import Path\nfrom cellcycle import files\nprint(files.build_dir().resolve(), "
    code += "Path(os.environ['CELLCYCLE_PROGRESS_FILE']).parent.is_dir())"
    write_notebook(tmp_path / "lessons" / "01_where.ipynb", "profile: str = ''", code)
    monkeypatch.setattr(notebooks, "notebooks_dir", lambda: tmp_path / "lessons")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELLCYCLE_OUTPUT", "made")
    (outcome,) = notebooks.run_study("smoke", workers=1)
    said = nbformat.read(outcome.copy, as_version=4).cells[-1].outputs[0].text
    assert said == f"{(tmp_path / 'made').resolve()} True\n"


def test_publishing_keeps_outputs_and_drops_run_metadata(tmp_path):
    cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text="1")])
    cell.metadata = nbformat.from_dict({"tags": ["solution"], "papermill": {"duration": 1}, "execution": {"t": "1"}})
    injected = nbformat.v4.new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell, injected], metadata={"papermill": {"x": 1}})
    nbformat.write(notebook, tmp_path / "run.ipynb")
    publish_notebook(tmp_path / "run.ipynb", tmp_path / "clean.ipynb")
    made = nbformat.read(tmp_path / "clean.ipynb", as_version=4)
    assert "papermill" not in made.metadata
    (kept,) = made.cells
    assert kept.metadata == {"tags": ["solution"], "jupyter": {"source_hidden": True, "outputs_hidden": True}}
    assert kept.outputs[0].text == "1"
    assert clean(made) == made


# A notebook as those of the course, which trains for a moment, for as long as it is told, and for another moment.
TRAINING = """
import os
from cellcycle.study import experiments, load_profile
cfg = load_profile()
first, *others = experiments.training_sets(cfg, "logistic")
models = [first, first | {"epochs": int(os.environ.get("EPOCHS", 1))}, *others]
experiments.cross_validate(cfg, cfg.load_dataset(), models)
"""


def test_a_damaged_record_is_made_again_and_the_command_says_so(smoke, output_dir, capsys, tmp_path, monkeypatch):
    profile = load_profile("smoke")
    dataset, model = profile.load_dataset(), [experiments.settings(profile, "logistic", "D2")]
    (record,) = experiments.recorded(profile, dataset, model)
    before = (record.folder / "predictions.csv").read_bytes()
    facts = (record.folder / "run.json").read_text(encoding="utf-8")
    (record.folder / "run.json").write_text(facts.replace('"train_s": ', '"train_s": 1'), encoding="utf-8")
    write_notebook(tmp_path / "01_training.ipynb", "profile: str = ''", TRAINING)
    monkeypatch.setattr(notebooks, "notebooks_dir", lambda: tmp_path)
    (outcome,) = notebooks.run_study("smoke")
    assert outcome.error is None
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "made again" in line]
    assert line.strip() == f"{record.folder / 'run.json'}: the file was changed after the run; the run is made again"
    # The command says it, not the notebook, which may be published.
    assert "made again" not in outcome.copy.read_text(encoding="utf-8")
    assert (record.folder / "predictions.csv").read_bytes() == before
    told, whole = notebooks.records_found(profile), (record.folder / "run.json").read_text(encoding="utf-8")
    (record.folder / "run.json").write_text(whole[:40], encoding="utf-8")
    assert notebooks.records_found(profile) != told
    (record.folder / "run.json").write_text(whole, encoding="utf-8")


# The command, with the notebooks of another folder.
STUDY = """
import sys
from pathlib import Path
from cellcycle import cli
from cellcycle.study import notebooks
folder = Path(sys.argv.pop())
notebooks.notebooks_dir = lambda: folder
cli.main()
"""


def test_a_killed_study_goes_on_where_it_stopped(smoke, output_dir, tmp_path):
    """Kill the command while a notebook trains, run it again, and count what was not repeated."""
    shutil.copytree(output_dir / "cache", tmp_path / "cache")
    (tmp_path / "lessons").mkdir()
    write_notebook(tmp_path / "lessons" / "01_training.ipynb", "profile: str = ''", TRAINING)
    environment = os.environ | {"CELLCYCLE_OUTPUT": str(tmp_path), "EPOCHS": "1000000"}
    command = [sys.executable, "-c", STUDY, "study", "--profile", "smoke", str(tmp_path / "lessons")]
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    records = tmp_path / "results" / "smoke" / "simulated"
    deadline = time.monotonic() + 120
    while not list(records.glob("[!.]*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
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
    assert done
    environment["EPOCHS"] = "1"
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    after = {f: f.stat().st_mtime_ns for f in records.glob("[!.]*/run.json")}
    assert done.items() < after.items()
    profile = load_profile("smoke")
    expected = experiments.recorded(profile, profile.load_dataset(), experiments.training_sets(profile, "logistic"))
    for record in expected:
        again_file = records / record.folder.name / "predictions.csv"
        assert again_file.read_bytes() == (record.folder / "predictions.csv").read_bytes()


def descendants(pid):
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def test_results_of_the_recorded_study_are_committed_and_others_are_not(monkeypatch):
    monkeypatch.delenv("CELLCYCLE_OUTPUT")
    recorded, others = load_profile("study", "simulated"), load_profile("study", "my cells")
    assert recorded.results_dir() == files.repository() / "data" / "results" / "study"
    assert recorded.figures_dir() == files.repository() / "figures"
    assert others.results_dir() == files.repository() / "build" / "results" / "study" / "my-cells"
    assert "build" in load_profile("smoke", "simulated").results_dir().parts
    assert replace(recorded, output="there").figures_dir() == Path("there") / "figures" / "study" / "simulated"


def test_data_that_cannot_be_used_is_refused_before_anything_runs(tmp_path):
    for phase, n in (("G1", 6), ("M", 1)):
        (tmp_path / "cells" / phase).mkdir(parents=True)
        for i in range(n):
            rng = np.random.default_rng([n, i])
            write_image(tmp_path / "cells" / phase / f"{i}.png", rng.integers(0, 255, (24, 24), dtype=np.uint8))
    with pytest.raises(DataError, match="class M: 1 images for 2 folds"):
        notebooks.run_study("smoke", tmp_path / "cells")
    (tmp_path / "cells" / "G1" / "0.png").write_text("damaged")
    with pytest.raises(DataError, match=r"1 of 7 images cannot be read.*on_error=.skip."):
        notebooks.run_study("smoke", tmp_path / "cells")


def test_the_time_left_follows_the_pace_of_the_finished_notebooks(tmp_path):
    status = StatusLine(["01", "02", "03"], tmp_path / "p", {"01": 10.0, "02": 20.0, "03": 30.0})
    assert status.left_s() is None
    status.took_s["01"] = 5.0
    assert status.left_s() == pytest.approx(25.0)
    status.workers = 2
    assert status.left_s() == pytest.approx(12.5)
    assert StatusLine(["01", "02"], tmp_path / "p").left_s() is None


@pytest.fixture
def quick(monkeypatch, own_output):
    """Make the whole study a stand-in that notes where its output would go."""
    went = []

    def run_study(_profile, _data, output):
        went.append(output)
        return [SimpleNamespace(error=went_wrong.pop() if went_wrong else None)]

    went_wrong = []
    monkeypatch.setattr(notebooks, "run_study", run_study)
    monkeypatch.setattr(notebooks, "load_profile", lambda *_: load_profile("smoke"))
    monkeypatch.setattr(experiments, "headline_records", lambda profile, *_: {"folder": profile.results_dir()})
    monkeypatch.setattr(texts, "distances", lambda made, kept: pd.DataFrame({"made": [made], "kept": [kept]}))
    return SimpleNamespace(went=went, went_wrong=went_wrong, output=own_output)


def test_a_fresh_run_leaves_the_record_alone_and_is_compared_with_it(quick):
    outcomes, found = notebooks.run_fresh()
    assert quick.went == [quick.output / "fresh"]
    assert found["kept"][0]["folder"] == quick.output / "results" / "smoke" / "simulated"
    assert found["made"][0]["folder"] == quick.output / "fresh" / "results" / "smoke" / "simulated"
    assert os.environ["CELLCYCLE_OUTPUT"] == str(quick.output)
    assert len(outcomes) == 1


def test_a_stopped_run_goes_on_and_a_finished_one_starts_anew(quick):
    quick.went_wrong.append("killed")
    _, found = notebooks.run_fresh()
    assert found is None
    (quick.output / "fresh" / "record").touch()
    notebooks.run_fresh()
    assert (quick.output / "fresh" / "record").exists()
    notebooks.run_fresh()
    assert not (quick.output / "fresh" / "record").exists()


def test_what_one_run_skips_the_next_does_not(tmp_path, monkeypatch):
    for phase in ("G1", "M"):
        (tmp_path / "cells" / phase).mkdir(parents=True)
        for i in range(6):
            rng = np.random.default_rng([len(phase), i])
            write_image(tmp_path / "cells" / phase / f"{i}.png", rng.integers(0, 255, (24, 24), dtype=np.uint8))
    (tmp_path / "cells" / "G1" / "0.png").write_text("damaged")
    code = "import os\nfrom cellcycle.study import load_profile\n"
    code += "print(load_profile().on_error, os.environ['CELLCYCLE_OUTPUT'])"
    write_notebook(tmp_path / "01_seen.ipynb", "profile: str = ''", code)
    monkeypatch.setattr(notebooks, "notebooks_dir", lambda: tmp_path)
    before, output = dict(os.environ), tmp_path / "output"
    (outcome,) = notebooks.run_study("smoke", tmp_path / "cells", skip_unreadable=True, output=output, workers=1)
    assert nbformat.read(outcome.copy, as_version=4).cells[-1].outputs[0].text == f"skip {output}\n"
    # Nothing of it stays in this process: the next run refuses the same folder, and writes where it always did.
    assert dict(os.environ) == before
    with pytest.raises(DataError, match="1 of 12 images cannot be read"):
        notebooks.run_study("smoke", tmp_path / "cells")

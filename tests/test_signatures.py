"""What the functions of the reference take: one name a thing, and of one name the same numbers."""

import ast
import importlib
import inspect
import re
from dataclasses import fields, replace

import numpy as np
import pytest

from cellcycle import files, metrics, tasks
from cellcycle.datasets import NucleusDataset
from cellcycle.ending import in_options
from cellcycle.errors import RANGES, ImageError, SettingError
from cellcycle.inputs import InputRule
from cellcycle.networks import NETWORKS, register_network
from cellcycle.predict import predict
from cellcycle.predict.predictor import Settings
from cellcycle.predict.table import table_columns
from cellcycle.segmentation import measurements
from cellcycle.study.profiles import load_profile
from cellcycle.training import NetworkClassifier, cross_validate, make_estimator
from cellcycle.training.runs import record_runs

# What a thing is not called, and what it is.
OTHER_WORDS = {
    "jobs": "n_jobs", "n_workers": "n_jobs", "folds": "n_folds", "n_epochs": "epochs", "size": "size_px",
    "backend": "segmentation", "configs": "settings", "out": "output", "architecture": "network",
    "random_state": "seed", "rates": "learning_rates", "batches": "batch_sizes", "tell": "say",
}  # fmt: skip
# What else a function must be given to come to the number in question; None for what is not named here.
GIVEN = {
    "bootstrap_matrices": {"labels": [0, 1], "predicted": [0, 1], "n_classes": 2},
    "estimate": {"score": metrics.accuracy, "labels": [0, 1], "predicted": [0, 1], "n_classes": 2},
    "build_network": {"name": "nagao6"},
    "draw_rate_and_batch": {"n_trials": 1, "learning_rates": (1e-3, 1e-2), "batch_sizes": (8,)},
}
NUMBERS = {*RANGES, "seed"}


def public():
    """Yield the functions and classes of the reference."""
    for page in sorted((files.repository() / "docs" / "reference").glob("*.rst")):
        for name, others in re.findall(r"automodule:: (\S+)\n( +:imported-members:)?", page.read_text("utf-8")):
            module = importlib.import_module(name)
            for member in map(vars(module).get, getattr(module, "__all__", vars(module))):
                is_ours = callable(member) and str(getattr(member, "__module__", "")).startswith("cellcycle.")
                if is_ours and not member.__name__.startswith("_") and (others or member.__module__ == name):
                    yield member


TAKERS = {f"{each.__name__}-{name}": (each, name) for each in public()
          for name in sorted(NUMBERS & inspect.signature(each).parameters.keys())}  # fmt: skip


def test_a_thing_has_one_name():
    taken = [(each.__name__, name) for each in public() for name in inspect.signature(each).parameters]
    assert len(taken) > 500 and not [(each, name, OTHER_WORDS[name]) for each, name in taken if name in OTHER_WORDS]


@pytest.mark.parametrize(("taker", "name"), TAKERS.values(), ids=TAKERS)
def test_a_number_of_one_name_is_the_same_wherever_it_is_given(tmp_path, taker, name):
    # 0 is a seed, and the epochs of a network that stays as it begins; fields of one folder have seeds far apart.
    zero = [] if name == "seed" or taker is NetworkClassifier else [0]
    large = [] if taker.__name__ == "simulate_field" else [2**40]
    for wrong in (True, 1.5, "2", -1, np.float64(2), b"2", *zero, *large):
        given = {p.name: None for p in inspect.signature(taker).parameters.values()
                 if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}  # fmt: skip
        given |= {"output": tmp_path / "x", "data": "nowhere"} if "output" in given else {}
        given |= GIVEN.get(taker.__name__, {}) | {name: wrong}
        given = {k: v for k, v in given.items() if k in inspect.signature(taker).parameters}
        with pytest.raises(SettingError, match=f"^{name}: .* is (out of range|not a plain whole number); give a whole"):
            made = taker(**given)
            if taker is NetworkClassifier:
                made.fit(np.zeros((4, 1, 8, 8), np.float32), [0, 1, 0, 1])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "2"])
def test_what_is_not_in_the_reference_takes_no_other_numbers(wrong):
    for call in (
        lambda: replace(load_profile("smoke"), n_jobs=wrong),
        lambda: record_runs([], ".", n_jobs=wrong),
        lambda: list(tasks.run(abs, [1], wrong)),
        lambda: list(tasks.run(abs, iter([1]), wrong)),
        lambda: tasks.cluster("local", wrong).__enter__(),
    ):
        with pytest.raises(SettingError, match=r"^n_jobs: .*; give a whole number from 1 to"):
            call()
    if wrong != 0 or isinstance(wrong, bool):
        with pytest.raises(SettingError, match=r"^seed: "):
            NucleusDataset.subsample(None, 1, wrong)


def test_all_cores_are_none_in_all_functions():
    assert tasks.jobs_of(None) >= 1 == tasks.jobs_of(None, "cuda") and list(tasks.run(abs, [-1], None)) == [1]


def test_a_misspelt_keyword_is_answered_with_all_that_there_are():
    with pytest.raises(SettingError, match=r"^keyword: 'is_salde' is unknown; did you mean 'is_slide'\? use ") as told:
        predict("none.png", is_salde=True)
    known = {*inspect.signature(predict).parameters} - {"settings"} | {each.name for each in fields(Settings)}
    assert set(str(told.value).partition("use one of ")[2].split(", ")) == known
    with pytest.raises(SettingError, match=r"^keyword: 'batch' is unknown; use one of images, model, is_slide, "):
        predict("none.png", batch=1)
    # What is allowed is what is described.
    (described,) = re.findall(r"Of `Settings`: (.*)\.\n", predict.__doc__)
    assert described.split(", ") == [each.name for each in fields(Settings)]
    assert all(re.search(rf"^    (\w+, )*{each.name}(, \w+)*$", Settings.__doc__, re.M) for each in fields(Settings))


@pytest.mark.parametrize("model", ["nagao6", "dna-content"])
def test_a_misspelt_setting_of_an_estimator_is_refused_before_any_data_are_read(tmp_path, model):
    with pytest.raises(SettingError, match=r"^keyword: 'epohcs' is unknown; .*use one of model"):
        make_estimator(model, epohcs=2)
    with pytest.raises(SettingError, match=r"^settings: 'epohcs' is unknown; .*train_share"):
        cross_validate(None, [{"model": model, "epohcs": 2}], tmp_path)


NO_NAMES = ["", " ", None, 3, ["a"], "a/b", "a\\b", "..", " a", "a ", "a\nb", "=1+1", "-x"]


@pytest.mark.parametrize("name", [*NO_NAMES, "dna-content", "nagao6", "nn"])
def test_a_network_is_registered_by_no_name_that_cannot_be_used(name):
    before = dict(NETWORKS)
    with pytest.raises(SettingError, match=f"^network: .* is {'not a valid name' if name in NO_NAMES else 'taken'}; "):
        register_network(name, lambda channels, size_px: None)
    assert before == NETWORKS


@pytest.mark.parametrize("name", [*NO_NAMES, "area_px", "flags", "saturated_share"])
def test_a_measurement_is_registered_by_no_name_that_cannot_be_used(name):
    before = list(measurements.NUCLEUS_COLUMNS), list(measurements.READABLE)
    said = "not a valid name" if name in NO_NAMES else "taken"
    with pytest.raises(SettingError, match=f"^measurement: .* is {said}; "):
        measurements.register_measurement(name, lambda pixels, outline: 0.0)
    assert before == (measurements.NUCLEUS_COLUMNS, list(measurements.READABLE))


@pytest.mark.parametrize("name", ["image", "call", "p_G1", "condition", "dose", "well"])
def test_a_measurement_by_the_name_of_a_column_that_every_table_has_is_refused(monkeypatch, name):
    monkeypatch.setattr("cellcycle.predict.table.NUCLEUS_COLUMNS", [*measurements.NUCLEUS_COLUMNS, name])
    with pytest.raises(SettingError, match=f"^measurement: '{name}' is a column of every table"):
        table_columns(("G1", "S"))


@pytest.mark.parametrize("name", ["crop_dna", "crop_dna_over_noise", "spot_1"])
def test_a_measurement_by_the_name_of_one_that_is_read_otherwise_is_refused(monkeypatch, name):
    monkeypatch.setitem(measurements.READABLE, name, True)
    with pytest.raises(SettingError, match=f"^measurement: '{name}' is taken"):
        InputRule()


def test_errors_of_functions_name_arguments_and_those_of_the_command_line_options():
    # What an image is refused for stands in rows of tables as well, which are read by both.
    aside = {"app", "study", "cli.py", "cnncc.py", "ending.py", "tasks.py", "command.py", "extras.py", "overlay.py",
             "target.py"}  # fmt: skip
    package = files.repository() / "cellcycle"
    for file in (file for file in package.rglob("*.py") if aside.isdisjoint(file.relative_to(package).parts)):
        for raised in (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Raise)):
            # A whole command is one wherever it is read.
            said = re.sub(r"cellcycle [^;]*", "", ast.unparse(raised))
            assert "ImageError" in said or not re.search(r"--[a-z]", said), said
    told = 'give more, or resume=True, or leave them out: on_error="skip"; not n_folds: or a=True'
    said = "--folds: 1 is none; give more, or --resume, or leave them out: --skip-unreadable; not n_folds: or a=True"
    assert in_options(SettingError("n_folds", "1 is none", told)) == said


def test_a_file_or_folder_is_not_told_as_an_option_because_it_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "masks").mkdir()
    called = [ImageError("control", "there is no such file", "check the path"),
              ImageError("day/control=1/force=True/a.tif", "the file is empty", "export it again"),
              SettingError("masks", "it is no folder of masks", "name another")]  # fmt: skip
    assert [in_options(error) for error in called] == [str(error) for error in called]

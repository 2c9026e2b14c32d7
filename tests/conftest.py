import os
import sys
from copy import deepcopy
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"

# The same examples each time, without a database of earlier ones; `--hypothesis-profile more` tries more.
settings.register_profile("few", max_examples=6, derandomize=True, database=None, deadline=None)
settings.register_profile("more", settings.get_profile("few"), max_examples=9)
settings.load_profile("few")


@pytest.fixture(scope="session", autouse=True)
def output_dir(tmp_path_factory):
    """Keep caches and records of the tests out of the checkout, unless $CELLCYCLE_OUTPUT is set."""
    if "CELLCYCLE_OUTPUT" not in os.environ:
        os.environ["CELLCYCLE_OUTPUT"] = str(tmp_path_factory.mktemp("output"))
    return Path(os.environ["CELLCYCLE_OUTPUT"])


@pytest.fixture
def own_output(output_dir, tmp_path, monkeypatch):
    """Give one test its own output folder, which shares the cache of simulated nuclei with all tests."""
    (output_dir / "cache").mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache").symlink_to(output_dir / "cache")
    monkeypatch.setenv("CELLCYCLE_OUTPUT", str(tmp_path))
    return tmp_path


def pytest_ignore_collect(collection_path, config):
    """Skip modules that are marked slow as a whole if slow tests are deselected, because importing them takes long."""
    if config.option.markexpr == "not slow" and collection_path.name.startswith("test_"):
        return "\npytestmark = pytest.mark.slow\n" in collection_path.read_text(encoding="utf-8") or None
    return None


# Modules that take longest, longest first.
LONG = (
    *("study", "app_browser", "report", "app", "train", "outputs", "texts", "predict", "properties", "cluster"),
    *("app_loop", "review_sheet", "labelled_fields", "artefacts", "finder", "book", "segmentation", "predict_command"),
    *("shipped_real", "groups", "confidence", "checkpoint", "masks", "fuzz", "training", "labelled_data", "evidence"),
    *("priors", "datasets", "00_why_phases"),
)


def pytest_collection_modifyitems(items):
    """Start with the longest modules: as the last ones they would keep one processor idle for minutes.

    pytest-xdist starts with modules of most tests instead, unless `--no-loadscope-reorder` is given.
    """
    place = {name: k for k, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem.removeprefix("test_"), len(LONG)))


def pytest_runtest_setup():
    """Cache the table of operators for all ONNX exports of a process: torch builds it for each, in a second."""
    table = getattr(sys.modules.get("torch.onnx._internal.exporter._registration"), "ONNXRegistry", None)
    if table is not None and not hasattr(table.from_torchlib, "cache_info"):
        table.from_torchlib = staticmethod(cache(table.from_torchlib))


_found: dict = {}


@pytest.fixture
def found_once(monkeypatch):
    """Cache the nuclei found and measured in the same pixels, for tests of later steps."""
    from cellcycle import nuclei

    def once(function):
        def find(*given):
            seen = (sha256(a.tobytes() + repr((a.shape, a.dtype)).encode()).digest() if hasattr(a, "dtype") else a
                    for a in given)  # fmt: skip
            key = function.__name__, *seen
            if key not in _found:
                _found[key] = function(*given)
            return deepcopy(_found[key])

        return find

    for name in ("find_in_field", "measured_columns"):
        monkeypatch.setattr(nuclei, name, once(getattr(nuclei, name)))


@pytest.fixture
def real_data():
    """Folder of real cells; tests that use it are marked `realdata`."""
    folder = os.environ.get("CELLCYCLE_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CELLCYCLE_REAL_DATA names no folder")
    return Path(folder)


def make_blobs():
    """Return a toy problem that any model can learn: disks of four sizes, (images, labels)."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 24)
    y, x = np.mgrid[:32, :32]
    images = np.empty((len(labels), 1, 32, 32), np.float32)
    for i, label in enumerate(labels):
        cy, cx = 15.5 + rng.uniform(-2, 2, 2)
        disk = np.hypot(y - cy, x - cx) < 3 + 3 * label
        images[i, 0] = np.clip(0.1 + 0.6 * disk + rng.normal(0, 0.03, (32, 32)), 0, 1)
    return images, labels.astype(np.int64)


# Arguments of `train` for a training that takes seconds.
QUICK = {"network": "logistic", "epochs": 2, "n_folds": 2, "size_px": 32, "device": "cpu"}


@pytest.fixture(scope="module")
def cells():
    """Return the images of `make_blobs` as a data set of four phases."""
    from cellcycle.datasets import NucleusDataset

    images, labels = make_blobs()
    ids = np.array([f"cell{i:03d}" for i in range(len(labels))])
    return NucleusDataset("toy", images, labels, ("G1", "S", "G2", "M"), ids, "toy-1", "simulated")


@pytest.fixture
def blobs():
    """Return (images, labels) of `make_blobs`."""
    return make_blobs()


@pytest.fixture
def make_record(tmp_path):
    """Return a function that writes and returns a record of 100 nuclei with about the given accuracy."""
    from cellcycle import results
    from cellcycle.phases import PHASES

    def make(accuracy, seed=0, name="toy", history=None):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(4), [50, 30, 12, 8])
        calls = np.where(rng.random(100) < accuracy, labels, (labels + 1) % 4)
        scores = np.full((100, 4), 0.1)
        scores[np.arange(100), calls] = 0.7
        ids = [f"cell{i:03d}" for i in range(100)]
        table = results.prediction_table(ids, None, np.array(PHASES)[labels], scores, PHASES)
        config = {"model": name, "training_set": "D1", "seed": seed, "n_folds": 1, "n_repeats": 1, "a": accuracy}
        data = {"name": "toy", "origin": "simulated", "identity": "toy", "classes": list(PHASES), "counts": []}
        return results.write_run(tmp_path, config, data, table, history, train_s=2.0, predict_s=0.1, n_parameters=10)

    return make

"""Run records: one folder per run, written completely or not at all, and found by settings and data.

A record holds `run.json` (all settings, the data, versions, times, and a hash of itself), `predictions.csv` (one row
per test image, fold and repeat) and `history.csv` (one row per epoch, for models that train by epochs). Its name comes
from its data and the settings that differ from their defaults, so that old records are found after a setting is added.
"""

import contextlib
import hashlib
import json
import os
import platform
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.card import as_json
from cellcycle.errors import RecordError, SettingError
from cellcycle.files import sha256_of, whole_folder

FORMAT = 2
# Settings that are in the name of a record even at their defaults, in the order of the folder's name.
NAMED = ("model", "training_set")
_PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy", "torch", "torchvision")


@dataclass(frozen=True)
class Record:
    """A finished run, read from its folder; or several runs (`parts`) of one model with different seeds, read as one.

    With `rows` it holds only these rows of its predictions.
    """

    folder: Path
    run: dict
    parts: tuple["Record", ...] = ()
    rows: np.ndarray | None = field(default=None, compare=False)

    @property
    def config(self) -> dict:
        """All settings of the run: model, training set, seed, folds and others."""
        return self.run["config"]

    @property
    def data(self) -> dict:
        """Its data: name, origin, identity, classes and counts."""
        return self.run["data"]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probability columns."""
        return tuple(self.run["data"]["classes"])

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per test image, fold and repeat: sample_id, group, repeat, fold, truth, p_<class>..."""
        if self.parts:
            return _numbered(part.predictions for part in self.parts)
        words = dict.fromkeys(("sample_id", "group", "truth"), str)
        table = pd.read_csv(self.folder / "predictions.csv", dtype=words, keep_default_na=False)
        return table if self.rows is None else table.iloc[self.rows].reset_index(drop=True)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per repeat, fold and epoch; empty for a model that does not train by epochs."""
        if self.parts:
            return _numbered(part.history for part in self.parts)
        file = self.folder / "history.csv"
        return pd.read_csv(file) if file.exists() else pd.DataFrame()

    @cached_property
    def labels(self) -> np.ndarray:
        """True classes, (rows,) int64."""
        return _fixed(self.predictions["truth"].map({c: k for k, c in enumerate(self.classes)}).to_numpy(np.int64))

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probability of each class, (rows, K) float64."""
        return _fixed(self.predictions[[f"p_{c}" for c in self.classes]].to_numpy())

    @cached_property
    def predicted(self) -> np.ndarray:
        """Called classes, (rows,) int64."""
        return _fixed(self.probabilities.argmax(axis=1))

    @cached_property
    def units(self) -> np.ndarray:
        """Units of the bootstrap: the group of each row if it has one, else the image, (rows,) str."""
        table = self.predictions
        return _fixed(np.where(table["group"] != "", "group " + table["group"], table["sample_id"]))

    @cached_property
    def trainings(self) -> np.ndarray:
        """Number of the training (repeat and fold) that called each row, (rows,) int64."""
        return _fixed(self.predictions.groupby(["repeat", "fold"]).ngroup().to_numpy())


def _fixed(array: np.ndarray) -> np.ndarray:
    """Return a read-only view, because the cached array is shared by all callers."""
    array = array.view()
    array.flags.writeable = False
    return array


def _numbered(tables) -> pd.DataFrame:
    """Return the concatenated tables with their number in the column repeat."""
    return pd.concat([table.assign(repeat=i) for i, table in enumerate(tables)], ignore_index=True)


def join_repeats(records) -> Record:
    """Return runs of one model with different seeds as one record of repeated cross-validation.

    A `RecordError` is raised if they differ in more than the seed, or are already repeated.
    """
    first = records[0]
    for record in records:
        same = {**record.config, "seed": 0} == {**first.config, "seed": 0} and record.data == first.data
        if not same or record.config["n_repeats"] != 1:
            raise RecordError(record.folder, f"not a repeat of {first.folder.name}", "join runs that differ by seed")
    seconds = {name: sum(r.run[name] for r in records) for name in ("train_s", "predict_s")}
    run = {**first.run, **seconds, "config": {**first.config, "n_repeats": len(records)}}
    return Record(first.folder, run, tuple(records))


def prediction_table(sample_ids, groups, truth, probabilities, classes, repeat=0, fold=0) -> pd.DataFrame:
    """Return test predictions in the columns of `predictions.csv`.

    `sample_ids` and `truth` (N,) are names; `probabilities` (N, K) are in the order of `classes`.
    """
    # Converted to arrays, because pandas would align columns of other tables by their index, not by their order.
    probabilities = np.asarray(probabilities, dtype=np.float64)
    table = pd.DataFrame({"sample_id": np.asarray(sample_ids)})
    table["group"] = "" if groups is None else [str(g) for g in groups]
    table["repeat"], table["fold"], table["truth"] = repeat, fold, np.asarray(truth)
    for k, name in enumerate(classes):
        table[f"p_{name}"] = np.round(probabilities[:, k], 6)
    return table


def key_of(config: dict, defaults: dict | None = None) -> dict:
    """Return the settings that identify a record: those of `config` that differ from or are not in `defaults`.

    Examples
    --------
    >>> key_of({"model": "nagao6", "epochs": 20, "seed": 0}, {"model": "nagao6", "epochs": 20})
    {'model': 'nagao6', 'seed': 0}
    """
    config, defaults = as_json(config), as_json(defaults or {})
    return {k: v for k, v in config.items() if k in NAMED or k not in defaults or v != defaults[k]}


def run_id(key: dict, data_identity: str) -> str:
    """Return the folder name of a run, readable and unique for every key and data set.

    Examples
    --------
    >>> run_id({"model": "nagao6", "training_set": "D3"}, "abc")
    'nagao6_D3_43cf0042d1'
    """
    # 1 was the format when names were introduced; it stays, because cards and texts contain these names.
    text = json.dumps(as_json([1, key, data_identity]), sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
    parts = [str(key[name]) for name in NAMED if key.get(name)]
    return "_".join([*parts, digest])


def write_run(root, config: dict, data: dict, predictions, history=None, defaults=None, **facts) -> Record:
    """Write the record of a run into a folder under `root` and return it; an intact record of these settings stays.

    `config` holds all settings of the run with the seed; those equal to `defaults` do not identify it. `data` is the
    result of `NucleusDataset.describe`, `predictions` a `prediction_table`; `facts` describe the run, e.g. `train_s`.
    """
    wanted = (root, config, data["identity"], defaults)
    if found := _whole(*wanted):
        return found
    final = Path(root) / run_id(key_of(config, defaults), data["identity"])
    try:
        with whole_folder(final, replace=final.exists()) as work:
            predictions.to_csv(work / "predictions.csv", index=False)
            if history is not None and len(history):
                history.to_csv(work / "history.csv", index=False, float_format="%.6g")
            hashes = {f.name: sha256_of(f) for f in sorted(work.glob("*.csv"))}
            run = {"format": FORMAT, "config": config, "data": data, "sha256": hashes, "versions": package_versions()}
            write_facts(work, run | facts)
    except SettingError:
        # Another process may have written the same run meanwhile; an intact record stays.
        if found := _whole(*wanted):
            return found
        raise
    return read_run(final)


def write_facts(folder: Path, run: dict) -> None:
    """Write `run.json` with the hash of its content."""
    run = as_json(run)
    text = json.dumps(run | {"facts_sha256": _facts_sha256(run)}, indent=1)
    (folder / "run.json").write_text(text + "\n", encoding="utf-8")


def read_run(folder) -> Record:
    """Return the record in a folder; a missing, damaged or altered file is a `RecordError`."""
    folder = Path(folder)

    def wrong(name: str, finding: str) -> RecordError:
        return RecordError(folder / name, finding, "delete the folder and run again")

    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise wrong("run.json", f"it cannot be read ({type(error).__name__})") from error
    if not isinstance(run, dict):
        raise wrong("run.json", f"a {type(run).__name__} instead of named facts")
    if run.get("format") != FORMAT:
        raise wrong("run.json", f"record format {run.get('format')}, this version reads {FORMAT}")
    if run.get("facts_sha256") != _facts_sha256(run):
        raise wrong("run.json", "the file was changed after the run")
    parts = [run.get(name) for name in ("config", "data", "sha256")]
    if not all(isinstance(part, dict) for part in parts) or not {"identity", "classes"} <= set(run["data"]):
        raise wrong("run.json", "it lacks settings, data or hashes")
    for name in {"predictions.csv", *(file.name for file in folder.glob("*.csv"))} - set(run["sha256"]):
        raise wrong(name, "the file is not of this record")
    for name, digest in run["sha256"].items():
        if not (folder / name).is_file():
            raise wrong(name, "the file is missing")
        if sha256_of(folder / name) != digest:
            raise wrong(name, "the file was changed after the run")
    return Record(folder, run)


def find_run(root, config: dict, data_identity: str, defaults: dict | None = None) -> Record | None:
    """Return the record of these settings and data under `root`; a damaged or altered one is a `RecordError`.

    None if there is none, or if a default has changed since the record was made, so that it is of another run.
    """
    folder = Path(root) / run_id(key_of(config, defaults), data_identity)
    if not os.path.isdir(folder):
        return None
    record, wanted = read_run(folder), as_json(config)
    same = all(wanted[k] == v for k, v in record.config.items() if k in wanted)
    return record if same and record.data["identity"] == data_identity else None


def load_runs(root) -> list[Record]:
    """Return all records under `root`, ordered by folder name; a damaged one is a `RecordError`."""
    return [read_run(file.parent) for file in sorted(Path(root).glob("[!.]*/run.json"))]


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of Python, cellcycle and the numerical packages, without importing them."""
    found = {"python": platform.python_version()}
    for name in ("cellcycle", *_PACKAGES):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _whole(root, config, data_identity, defaults) -> Record | None:
    try:
        return find_run(root, config, data_identity, defaults)
    except RecordError:
        return None


def _facts_sha256(run: dict) -> str:
    facts = {k: v for k, v in run.items() if k != "facts_sha256"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

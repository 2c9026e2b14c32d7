"""Run records: one folder a run, written whole or not at all, found again by settings and data.

A record holds `run.json` (all settings, the data, versions, times, and a hash of itself), `predictions.csv` (one row a
test image, fold and repeat) and `history.csv` (one row an epoch, for models that train by epochs). It is named by its
data and by those of its settings that differ from their defaults, so that a new setting orphans no record.
"""

import contextlib
import hashlib
import json
import os
import platform
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.card import as_json
from cellcycle.errors import RecordError, SettingError
from cellcycle.files import sha256_of, whole_folder

FORMAT = 2
# Settings that name a record whatever their value, in the order in which its folder's name shows them.
NAMED = ("model", "training_set")
_PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy", "torch", "torchvision")


@dataclass(frozen=True)
class Record:
    """A finished run, read from its folder; or runs of one model under several seeds, read as one: its `parts`.

    With `rows` it holds these of its predictions alone.
    """

    folder: Path
    run: dict
    parts: tuple["Record", ...] = ()
    rows: np.ndarray | None = field(default=None, compare=False)

    @property
    def config(self) -> dict:
        """What was run: model, training set, seed, folds and every other setting."""
        return self.run["config"]

    @property
    def data(self) -> dict:
        """On what: name, origin, identity, classes and counts."""
        return self.run["data"]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probability columns."""
        return tuple(self.run["data"]["classes"])

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row a test image, fold and repeat: sample_id, group, repeat, fold, truth, p_<class>..."""
        if self.parts:
            return _numbered(part.predictions for part in self.parts)
        words = dict.fromkeys(("sample_id", "group", "truth"), str)
        table = pd.read_csv(self.folder / "predictions.csv", dtype=words, keep_default_na=False)
        return table if self.rows is None else table.iloc[self.rows].reset_index(drop=True)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row a repeat, fold and epoch; empty for a model that does not train by epochs."""
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
        """What the model gave each class, (rows, K) float64."""
        return _fixed(self.predictions[[f"p_{c}" for c in self.classes]].to_numpy())

    @cached_property
    def predicted(self) -> np.ndarray:
        """Called classes, (rows,) int64."""
        return _fixed(self.probabilities.argmax(axis=1))

    @cached_property
    def units(self) -> np.ndarray:
        """What a bootstrap draws: the group where there is one, else the image, (rows,) str."""
        table = self.predictions
        return _fixed(np.where(table["group"] != "", "group " + table["group"], table["sample_id"]))

    @cached_property
    def trainings(self) -> np.ndarray:
        """Which training called each row, (rows,) int64: numbers of repeat and fold."""
        return _fixed(self.predictions.groupby(["repeat", "fold"]).ngroup().to_numpy())


def _fixed(array: np.ndarray) -> np.ndarray:
    """Return an array that is kept and given to all who ask: nobody writes into it."""
    array = array.view()
    array.flags.writeable = False
    return array


def _numbered(tables) -> pd.DataFrame:
    """Return tables one below the other, numbered by repeat."""
    return pd.concat([table.assign(repeat=i) for i, table in enumerate(tables)], ignore_index=True)


def join_repeats(records) -> Record:
    """Return runs of one model, each under a seed of its own, as one record of repeated cross-validation.

    RecordError says that they differ in more than the seed, or are repeated already.
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
    # As arrays: columns of other tables would be matched by their index, not by their order.
    probabilities = np.asarray(probabilities, dtype=np.float64)
    table = pd.DataFrame({"sample_id": np.asarray(sample_ids)})
    table["group"] = "" if groups is None else [str(g) for g in groups]
    table["repeat"], table["fold"], table["truth"] = repeat, fold, np.asarray(truth)
    for k, name in enumerate(classes):
        table[f"p_{name}"] = np.round(probabilities[:, k], 6)
    return table


def key_of(config: dict, defaults: dict | None = None) -> dict:
    """Return the settings that name a record: all of `config` that `defaults` does not hold with the same value.

    Examples
    --------
    >>> key_of({"model": "nagao6", "epochs": 20, "seed": 0}, {"model": "nagao6", "epochs": 20})
    {'model': 'nagao6', 'seed': 0}
    """
    config, defaults = as_json(config), as_json(defaults or {})
    return {k: v for k, v in config.items() if k in NAMED or k not in defaults or v != defaults[k]}


def run_id(key: dict, data_identity: str) -> str:
    """Return the folder name of a run: readable, and different for every key and data set.

    Examples
    --------
    >>> run_id({"model": "nagao6", "training_set": "D3"}, "abc")
    'nagao6_D3_43cf0042d1'
    """
    # The 1 stood for the format when the names were made; it stays, for they are written in cards and texts.
    text = json.dumps(as_json([1, key, data_identity]), sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
    parts = [str(key[name]) for name in NAMED if key.get(name)]
    return "_".join([*parts, digest])


def write_run(root, config: dict, data: dict, predictions, history=None, defaults=None, **facts) -> Record:
    """Write one run's record into a folder under `root`; a whole record of these settings that stands there stays.

    `config` is every setting of the run, seed included; those with their value in `defaults` do not name it. `data` is
    what `NucleusDataset.describe` gives, `predictions` a `prediction_table`, `facts` are of the run, e.g. `train_s`.
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
        # Another process may have written the same run meanwhile; a whole record stays.
        if found := _whole(*wanted):
            return found
        raise
    return read_run(final)


def write_facts(folder: Path, run: dict) -> None:
    """Write `run.json` with the hash of all that it says."""
    run = as_json(run)
    text = json.dumps(run | {"facts_sha256": _facts_sha256(run)}, indent=1)
    (folder / "run.json").write_text(text + "\n", encoding="utf-8")


def read_run(folder) -> Record:
    """Read a record; RecordError names a file that is missing, damaged or altered."""
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
    """Return the record of these settings and data under `root`; RecordError if it is damaged or altered.

    None where there is none, and where a default has changed since the record was made: it was another run.
    """
    folder = Path(root) / run_id(key_of(config, defaults), data_identity)
    if not os.path.isdir(folder):
        return None
    record, wanted = read_run(folder), as_json(config)
    same = all(wanted[k] == v for k, v in record.config.items() if k in wanted)
    return record if same and record.data["identity"] == data_identity else None


def load_runs(root) -> list[Record]:
    """Return all whole records under `root`, ordered by folder name; damaged ones raise RecordError."""
    return [read_run(file.parent) for file in sorted(Path(root).glob("[!.]*/run.json"))]


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

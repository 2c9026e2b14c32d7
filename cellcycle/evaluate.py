"""Evaluate a model on labelled nuclei, crops or fields: scores with intervals, by class, and its mistakes.

Calls assume equally frequent classes, as for balanced accuracy.
"""

import contextlib
import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import metrics
from cellcycle.checkpoint import Checkpoint, load_checkpoint
from cellcycle.confidence import prediction_sets, with_temperature
from cellcycle.confidence.evaluation import calibration_error, coverage_table
from cellcycle.datasets import NucleusDataset, is_named, load_dataset
from cellcycle.errors import CheckpointError, DataError, SettingError
from cellcycle.files import check_path, whole_file
from cellcycle.graphs import check_hash
from cellcycle.images.writing import FIGURE, has_mark
from cellcycle.inputs import prepare
from cellcycle.names import cell
from cellcycle.phases import PHASES
from cellcycle.predict.runtime import runtime_of

# File beside a model's card with the marks of its training images, one per line.
TRAINED_IMAGES = "trained_images.txt"
_MOST_MISTAKES = 24
# First columns of a table of predictions; those of probabilities follow.
_COLUMNS = ("sample_id", "group", "truth", "call")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Probabilities (N, K) of labelled nuclei, NaN if a model has no answer, and the scores from them.

    `thresholds` (K,), or (N, K), are those of prediction sets; `trained_on` the sample ids of known training images.
    """

    dataset: NucleusDataset
    classes: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    trained_on: tuple[str, ...] = ()
    thresholds: tuple[float, ...] | np.ndarray | None = None

    @property
    def answered(self) -> np.ndarray:
        """Whether the model has an answer for each nucleus, (N,) bool."""
        return np.isfinite(self.probabilities).all(axis=1)

    @property
    def called(self) -> np.ndarray:
        """Most probable class (n,) of each nucleus with an answer."""
        return self.probabilities[self.answered].argmax(axis=1)

    @property
    def confusion(self) -> pd.DataFrame:
        """Confusion counts of the nuclei with an answer, true classes in rows, called classes in columns."""
        matrix = metrics.confusion_matrix(self.labels[self.answered], self.called, len(self.classes))
        return pd.DataFrame(matrix, list(self.classes), list(self.classes)).rename_axis("truth")

    def predictions(self) -> pd.DataFrame:
        """Return one row per nucleus: sample_id, group, truth, call ("" without an answer) and probabilities."""
        data, names = self.dataset, np.array([*self.classes, ""])
        calls = np.full(len(data), len(self.classes))
        calls[self.answered] = self.called
        table = pd.DataFrame({"sample_id": data.sample_ids})
        table["group"] = "" if data.groups is None else data.groups.astype(str)
        table["truth"], table["call"] = names[self.labels], names[calls]
        return table.assign(**{f"p_{c}": self.probabilities[:, k].round(6) for k, c in enumerate(self.classes)})

    def scores(self) -> dict:
        """Return all scores as values for JSON; `drawn` says whether the bootstrap drew groups or cells."""
        is_in, n_classes = self.answered, len(self.classes)
        if not is_in.any():
            finding = "the model has no answer for any of its nuclei: no group of them shows a clear G1 peak"
            remedy = "evaluate a model that needs none, such as nagao6, or label nuclei of fuller fields"
            raise DataError(self.dataset.name, finding, remedy)
        labels, probabilities, calls = self.labels[is_in], self.probabilities[is_in], self.called
        groups = None if self.dataset.groups is None else self.dataset.groups[is_in]
        units = metrics.drawn_by(groups, labels)
        is_by_group = units is not None and self.dataset.has_stated_groups
        made: dict = {"n": int(is_in.sum()), "n_without_answer": int((~is_in).sum()), "intervals": {}}
        made["drawn"] = f"{len(np.unique(units))} groups" if is_by_group else "cells"
        confusion = metrics.confusion_matrix(labels, calls, n_classes)
        samples = metrics.bootstrap_matrices(labels, calls, n_classes, units)

        def n_units(of=slice(None)):
            # Intervals over single cells are widened by `no_narrower` instead.
            return np.inf if units is None else len(np.unique(units[of]))

        means = metrics.means_of_shares(confusion)
        for name, score in metrics.SCORES.items():
            spread = metrics.with_interval(score(confusion), score(samples), n_units(), metrics.SHARE)
            made[name] = _number(spread.value)
            if name in means:
                shares, n_of = means[name]
                spread = metrics.no_narrower(spread, n_of, shares)
            made["intervals"][name] = _ends(spread)
        # The recall of the transposed matrix is the precision, NaN in samples in which a class is never called.
        by_call = np.swapaxes(samples, -2, -1)
        for score, matrices, codes in ((metrics.recall, samples, labels), (metrics.precision, by_call, calls)):
            name, found = score.__name__, score(confusion)
            made[name] = {c: _number(v) for c, v in zip(self.classes, found, strict=True)}
            made["intervals"][name] = pairs = {}
            for k in np.unique(labels):
                of, again = codes == k, metrics.recall(matrices)[:, k]
                spread = metrics.with_interval(found[k], again, n_units(of), metrics.SHARE)
                pairs[self.classes[k]] = _ends(metrics.no_narrower(spread, np.sum(of), found[k]))
        error = calibration_error(probabilities, labels, units)
        made["calibration_error"], made["intervals"]["calibration_error"] = _number(error.value), _ends(error)
        if self.thresholds is not None:
            thresholds = np.broadcast_to(self.thresholds, self.probabilities.shape)[is_in]
            table = coverage_table(prediction_sets(probabilities, thresholds), labels, self.classes, units)
            made["coverage"] = {name: _number(value) for name, value in table["coverage"].items()}
        made["confusion"] = confusion.tolist()
        made["trained_on"] = list(self.trained_on)
        return made


def _ends(found: metrics.Estimate) -> list[float]:
    return [_number(found.low), _number(found.high)]


def compared(labels, before, after, units) -> dict:
    """Return the balanced accuracy of two tables of probabilities, and the 95 % interval of their difference."""
    calls, score = [table.argmax(axis=1) for table in (before, after)], metrics.balanced_accuracy
    n_classes = before.shape[1]
    old, new = (float(score(metrics.confusion_matrix(labels, called, n_classes))) for called in calls)
    gain = metrics.estimate(score, labels, calls[1], n_classes, units, minus=calls[0])
    return {"before": round(old, 4), "after": round(new, 4), "gain": [round(gain.low, 4), round(gain.high, 4)]}


def evaluate(model, data, output=None, on_error: str = "raise") -> Evaluation:
    """Return the evaluation of a model (name, folder or `Checkpoint`) on labelled nuclei, as `load_dataset` takes them.

    `output` is a .csv file for `write_evaluation`, outside a folder of `data`, new or of an earlier evaluation.
    """
    checkpoint = load_checkpoint(model)
    if output is not None:
        check_outside(Path(output), data)
    dataset = data if isinstance(data, NucleusDataset) else load_dataset(data, size_px=None, on_error=on_error)
    if not len(dataset):
        raise DataError(dataset.name, "it holds no nucleus", "give one or more")
    if output is not None:
        _check_output(Path(output), data, dataset)
    labels = codes_of(dataset, checkpoint.classes, checkpoint.name)
    probabilities, fitted, thresholds = called(checkpoint, dataset), checkpoint.confidence, None
    if fitted is not None:
        probabilities, thresholds = with_temperature(probabilities, fitted.temperature), fitted.thresholds
    known, seen = trained_images(checkpoint), ()
    if known:
        marks = np.column_stack([dataset.known_by(), dataset.fields_known_by()])
        seen = tuple(map(str, dataset.sample_ids[are_among(marks, known)]))
    found = Evaluation(dataset, checkpoint.classes, labels, probabilities, seen, thresholds)
    if output is not None:
        write_evaluation(found, Path(output))
    return found


def called(checkpoint: Checkpoint, dataset: NucleusDataset, found=None) -> np.ndarray:
    """Return the uncalibrated probabilities (N, K) of nuclei; NaN if the model needs a G1 peak and the group has none.

    `found` is the result of `nuclei_of` for them, if it is known.
    """
    inputs = prepare(dataset, checkpoint.input_rule, found)
    usable = np.isfinite(inputs.images).all(axis=(1, 2, 3))
    probabilities = np.full((len(dataset), len(checkpoint.classes)), np.nan)
    if usable.any():
        probabilities[usable] = runtime_of(checkpoint).probabilities(inputs[usable])
    return probabilities


def codes_of(dataset: NucleusDataset, classes, name: str) -> np.ndarray:
    """Return labels (N,) as indices into `classes`, those of the model `name`; an unknown class is a `DataError`."""
    if unknown := [c for c in dataset.classes if c not in classes]:
        finding = f"class {unknown[0]!r} is not known to {name}, which knows {', '.join(classes)}"
        raise DataError(dataset.name, finding, "rename the labels, leave them out, or train a model of these classes")
    return np.array([classes.index(c) for c in dataset.classes])[dataset.labels]


def check_outside(output: Path, data) -> None:
    """Refuse to write into a folder of labelled nuclei, where files would be read as classes and nuclei."""
    check_path(output)
    folder = _place_of(data)
    if folder is not None and folder.is_dir() and Path(os.path.realpath(output)).is_relative_to(folder):
        raise SettingError(output, f"it lies in the folder of the data, {data}", "name a place outside it")


def _place_of(data) -> Path | None:
    """Return the path of a folder or table of labelled nuclei, None for a `NucleusDataset` or the name of a set."""
    is_path = not (isinstance(data, NucleusDataset) or is_named(data))
    return Path(os.path.realpath(Path(data).expanduser())) if is_path else None


def _check_output(output: Path, data, dataset: NucleusDataset) -> None:
    """Refuse an output that would overwrite the data or files that are not of an evaluation."""
    # Imported here so that a missing package is reported before the work.
    from cellcycle import plots  # noqa: F401

    if Path(os.path.realpath(output)).suffix.lower() != ".csv":
        raise SettingError(output, "this is not the name of a table of predictions", "end the name in .csv")
    table, taken = _place_of(data), set()
    if table is not None:
        images = [f.image for f in dataset.fields] or dataset.sample_ids.tolist()
        taken = {table, *(table.parent / image for image in images)}
    for file in (output, *_beside(output).values()):
        if Path(os.path.realpath(file)) in taken:
            raise SettingError(output, f"{file} belongs to the data, and would be overwritten", "give another name")
        if file.is_file() and not _was_written_here(file):
            raise SettingError(output, f"{file} exists and is not of an evaluation", "give another name")
    # Test also before the work whether a file can be written there.
    with contextlib.suppress(_TriedError), whole_file(output):
        raise _TriedError


class _TriedError(Exception):
    """Ends a test of `whole_file` without writing the file."""


def _was_written_here(file: Path) -> bool:
    """Return whether a file is empty, or a figure or table of an evaluation without other columns."""
    if file.suffix == ".png":
        return has_mark(file, FIGURE)
    with open(file, encoding="utf-8", errors="replace") as stream:
        names = next(csv.reader([stream.readline(1 << 16)]), [])
    is_table = tuple(names[:4]) == _COLUMNS and all(name.startswith("p_") for name in names[4:])
    return not names or is_table or (file.name.endswith("_confusion.csv") and names[0] == "truth")


def _beside(table: Path) -> dict[str, Path]:
    """Return the files that an evaluation is written to beside its table of predictions."""
    names = ("confusion.csv", "confusion.png", "mistakes.png")
    return {name: table.with_name(f"{table.stem}_{name}") for name in names}


def write_evaluation(found: Evaluation, path: Path) -> None:
    """Write predictions, confusion matrix (CSV and PNG) and the worst mistakes (PNG); no file is left incomplete."""
    from cellcycle import plots

    rows, beside = found.predictions(), _beside(path)
    with whole_file(path) as work:
        rows.assign(**{name: rows[name].map(cell) for name in _COLUMNS}).to_csv(work, index=False)
    with whole_file(beside["confusion.csv"]) as work:
        found.confusion.rename(index=cell, columns=cell).to_csv(work)
    figures = {f"{path.stem}_confusion": plots.confusion_matrices([found.confusion], [found.dataset.name])}
    highest = found.probabilities.max(axis=1)
    wrong = np.flatnonzero(found.answered & (rows["truth"] != rows["call"]))
    wrong = wrong[np.argsort(-highest[wrong], kind="stable")][:_MOST_MISTAKES]
    if len(wrong):
        told = rows["truth"] + " as " + rows["call"]
        titles = [f"{told[i]}\n{highest[i]:.2f}" for i in wrong]
        figures[f"{path.stem}_mistakes"] = plots.image_grid(found.dataset.images[wrong], titles, shared_scale=False)
    else:
        beside["mistakes.png"].unlink(missing_ok=True)
    plots.save_figures(figures, path.parent, FIGURE)


def are_among(marks: np.ndarray, known: set[str]) -> np.ndarray:
    """Return which images (N,) bool, of `marks` (N, K), a model was trained on; `known` are its `trained_images`."""
    return np.isin(marks, list(known)).any(axis=1)


def write_trained_images(folder: Path, marks) -> None:
    """Write the `marks` of the training images of a model, as from `splits.marks_of`, beside its card."""
    (folder / TRAINED_IMAGES).write_text("\n".join(sorted({*marks} - {""})) + "\n", encoding="utf-8")


def trained_images(checkpoint: Checkpoint) -> set[str]:
    """Return the marks of the training images of a model; an empty set if its card lists no such file."""
    file = checkpoint.folder / TRAINED_IMAGES
    if not file.is_file():
        if TRAINED_IMAGES in checkpoint.card["sha256"]:
            finding = "the file is missing, so that nobody can tell which images the model has learned from"
            raise CheckpointError(file, finding, "put it back: it came with the model")
        return set()
    check_hash(file, checkpoint.card)
    return set(file.read_text().split())


def _number(value) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def report(found: Evaluation) -> str:
    """Return the scores as text."""
    scores, lines = found.scores(), []
    for name in metrics.SCORES:
        low, high = scores["intervals"][name]
        lines.append(f"{name.replace('_', ' '):<20}{scores[name]:.3f}  ({low:.3f} to {high:.3f})")
    for c in found.classes:
        shown = ["  -  " if v is None else f"{v:.3f}" for v in (scores["recall"][c], scores["precision"][c])]
        lines.append(f"  {c:<18}recall {shown[0]}   precision {shown[1]}")
    if absent := [c for c, value in scores["recall"].items() if value is None]:
        lines.append(f"No nucleus is of {', '.join(absent)}: the scores are of the other classes.")
    lines.append(f"{'calibration error':<20}{scores['calibration_error']:.3f}")
    lines.append(f"95 % intervals are computed over {scores['drawn']}.")
    if scores["n_without_answer"]:
        lines.append(f"{scores['n_without_answer']} nuclei without an answer")
    if found.dataset.fields and set(PHASES) <= set(found.classes):
        lines.append("Calls assume equally frequent phases; for fields, predict does so with --prior equal.")
    if found.trained_on:
        what = "nuclei, or others of their images" if found.dataset.fields else "images"
        lines.append(f"The model was trained on {len(found.trained_on)} of these {what}: its scores are too high.")
    return "\n".join([f"{scores['n']} nuclei of {found.dataset.name}", *lines])

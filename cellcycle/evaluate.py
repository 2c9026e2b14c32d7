"""How right a model is on labelled nuclei, crops or fields alike: scores with intervals, by class, and its mistakes.

Calls are those of equally frequent classes, as balanced accuracy weighs them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import metrics
from cellcycle.checkpoint import Checkpoint, load_checkpoint
from cellcycle.confidence import prediction_sets, with_temperature
from cellcycle.confidence.evaluation import calibration_error, coverage_table
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.errors import DataError
from cellcycle.files import whole_file
from cellcycle.graphs import check_hash
from cellcycle.inputs import prepare
from cellcycle.phases import PHASES
from cellcycle.predict.runtime import Runtime

# Beside a model's card: what was it trained on? One fingerprint of pixels a line.
TRAINED_IMAGES = "trained_images.txt"
_MOST_MISTAKES = 24


@dataclass(frozen=True)
class Evaluation:
    """Probabilities (N, K) of labelled nuclei, NaN where a model has no answer, and what follows from them."""

    dataset: NucleusDataset
    classes: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    trained_on: tuple[str, ...] = ()
    thresholds: tuple[float, ...] | None = None

    @property
    def answered(self) -> np.ndarray:
        """Nuclei (N,) to which the model has an answer."""
        return np.isfinite(self.probabilities).all(axis=1)

    @property
    def called(self) -> np.ndarray:
        """Most probable classes (n,) of those answered."""
        return self.probabilities[self.answered].argmax(axis=1)

    @property
    def confusion(self) -> pd.DataFrame:
        """True classes down, called classes across."""
        matrix = metrics.confusion_matrix(self.labels[self.answered], self.called, len(self.classes))
        return pd.DataFrame(matrix, list(self.classes), list(self.classes)).rename_axis("truth")

    def predictions(self) -> pd.DataFrame:
        """Return one row a nucleus: sample_id, group, truth, call and probabilities."""
        data, names = self.dataset, np.array([*self.classes, ""])
        calls = np.full(len(data), len(self.classes))
        calls[self.answered] = self.called
        table = pd.DataFrame({"sample_id": data.sample_ids})
        table["group"] = "" if data.groups is None else data.groups.astype(str)
        table["truth"], table["call"] = names[self.labels], names[calls]
        return table.assign(**{f"p_{c}": self.probabilities[:, k].round(6) for k, c in enumerate(self.classes)})

    def scores(self) -> dict:
        """Return all scores as JSON takes them; intervals are over groups where there are several, else over images."""
        is_in, n_classes = self.answered, len(self.classes)
        if not is_in.any():
            finding = "the model has no answer to any of its nuclei: no group of them shows a clear G1 peak"
            remedy = "evaluate a model that needs none, such as nagao6, or label nuclei of fuller fields"
            raise DataError(self.dataset.name, finding, remedy)
        labels, probabilities, calls = self.labels[is_in], self.probabilities[is_in], self.called
        units = None if self.dataset.groups is None else self.dataset.groups[is_in]
        if units is not None and len(np.unique(units)) < 2:
            units = None  # drawn again it is the same, which is no certainty
        made: dict = {"n": int(is_in.sum()), "n_without_answer": int((~is_in).sum()), "intervals": {}}
        present = np.unique(labels)
        for name, score in metrics.SCORES.items():
            found = metrics.estimate(score, labels, calls, n_classes, units)
            made[name], made["intervals"][name] = _number(found.value), [_number(found.low), _number(found.high)]
        for name, score in (("recall", metrics.recall), ("precision", metrics.precision)):
            confusion = metrics.confusion_matrix(labels, calls, n_classes)
            values, n_of = score(confusion), confusion.sum(axis=int(name == "recall"))
            made[name] = {c: _number(v) for c, v in zip(self.classes, values, strict=True)}
            made["intervals"][name] = pairs = {}
            for k in present:
                spread = metrics.estimate(lambda m, k=k, s=score: s(m)[..., k], labels, calls, n_classes, units)
                # Of a few cells, all of them right, the bootstrap is sure.
                low, high = metrics.wilson(values[k], n_of[k])
                pairs[self.classes[k]] = [_number(min(spread.low, low)), _number(max(spread.high, high))]
            if name == "recall":
                # Their mean varies as they do.
                ends = np.array(metrics.wilson(values[present], n_of[present])) - values[present]
                low, high = np.array([-1, 1]) * np.sqrt((ends**2).sum(axis=1)) / len(present) + values[present].mean()
                least, most = made["intervals"]["balanced_accuracy"]
                made["intervals"]["balanced_accuracy"] = [_number(min(least, low)), _number(max(most, high))]
        error = calibration_error(probabilities, labels, units)
        made["calibration_error"] = _number(error.value)
        made["intervals"]["calibration_error"] = [_number(error.low), _number(error.high)]
        if self.thresholds is not None:
            table = coverage_table(prediction_sets(probabilities, self.thresholds), labels, self.classes, units)
            made["coverage"] = {name: _number(value) for name, value in table["coverage"].items()}
        made["confusion"] = self.confusion.to_numpy().tolist()
        made["trained_on"] = list(self.trained_on)
        return made


def evaluate(model, data, output=None) -> Evaluation:
    """Let a model (name, folder or `Checkpoint`) call labelled nuclei, as `load_dataset` takes them, and compare.

    `output` is a .csv file for the predictions; beside it go the confusion matrix and the worst mistakes, as pictures.
    """
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
    dataset = data if isinstance(data, NucleusDataset) else load_dataset(data, size_px=None)
    labels = codes_of(dataset, checkpoint.classes, checkpoint.name)
    probabilities, fitted, thresholds = called(checkpoint, dataset), checkpoint.confidence, None
    if fitted is not None:
        probabilities, thresholds = with_temperature(probabilities, fitted.temperature), fitted.thresholds
    known = trained_images(checkpoint)
    seen = tuple(map(str, dataset.sample_ids[are_among(dataset.known_by(), known)])) if known else ()
    found = Evaluation(dataset, checkpoint.classes, labels, probabilities, seen, thresholds)
    if output is not None:
        write_evaluation(found, Path(output))
    return found


def called(checkpoint: Checkpoint, dataset: NucleusDataset, found=None) -> np.ndarray:
    """Return what the network says of nuclei, not calibrated, (N, K); NaN where their group has no clear G1 peak.

    `found` is what `nuclei_of` gives of them, where that is known.
    """
    inputs = prepare(dataset, checkpoint.input_rule, found)
    usable = np.isfinite(inputs.images).all(axis=(1, 2, 3))
    probabilities = np.full((len(dataset), len(checkpoint.classes)), np.nan)
    if usable.any():
        probabilities[usable] = Runtime(checkpoint).probabilities(inputs[usable])
    return probabilities


def codes_of(dataset: NucleusDataset, classes, name: str) -> np.ndarray:
    """Return labels (N,) as places in a model's classes; classes that it does not know are refused."""
    unknown = [c for c in dataset.classes if c not in classes]
    if unknown:
        raise DataError(
            dataset.name,
            f"class {unknown[0]!r} is not known to {name}, which knows {', '.join(classes)}",
            "rename the labels, leave them out, or train a model of these classes",
        )
    return np.array([classes.index(c) for c in dataset.classes])[dataset.labels]


def write_evaluation(found: Evaluation, table: Path) -> None:
    """Write predictions, confusion matrix (CSV and PNG) and the worst mistakes (PNG), each whole or not at all."""
    from cellcycle import plots

    with whole_file(table) as work:
        found.predictions().to_csv(work, index=False)
    with whole_file(table.with_name(f"{table.stem}_confusion.csv")) as work:
        found.confusion.to_csv(work)
    figures = {f"{table.stem}_confusion": plots.confusion_matrices([found.confusion], [found.dataset.name])}
    at = np.flatnonzero(found.answered)
    wrong = at[found.called != found.labels[at]]
    wrong = wrong[np.argsort(-found.probabilities[wrong].max(axis=1), kind="stable")][:_MOST_MISTAKES]
    if len(wrong):
        calls = found.probabilities[wrong].argmax(axis=1)
        titles = [
            f"{found.classes[found.labels[i]]} as {found.classes[call]}\n{found.probabilities[i, call]:.2f}"
            for i, call in zip(wrong, calls, strict=True)
        ]
        figures[f"{table.stem}_mistakes"] = plots.image_grid(found.dataset.images[wrong], titles, shared_scale=False)
    plots.save_figures(figures, table.parent)


def are_among(marks: np.ndarray, known: set[str]) -> np.ndarray:
    """Return which images (N,) bool of `marks_of` a model has learned from, whose list is `known`."""
    return np.isin(marks, list(known)).any(axis=1)


def write_trained_images(folder: Path, fingerprints) -> None:
    """Write beside a model's card which images it learned from, by fingerprints of `cellcycle.splits`."""
    (folder / TRAINED_IMAGES).write_text("\n".join(fingerprints) + "\n", encoding="utf-8")


def trained_images(checkpoint: Checkpoint) -> set[str]:
    """Return the fingerprints of the images that a model learned from; none where no list is beside its card."""
    file = checkpoint.folder / TRAINED_IMAGES
    if not file.is_file():
        return set()
    check_hash(file, checkpoint.card)
    return set(file.read_text().split())


def _number(value) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def report(found: Evaluation) -> str:
    """Return the scores in words."""
    scores, lines = found.scores(), []
    for name in metrics.SCORES:
        low, high = scores["intervals"][name]
        lines.append(f"{name.replace('_', ' '):<20}{scores[name]:.3f}  ({low:.3f} to {high:.3f})")
    for c in found.classes:
        recall, precision = scores["recall"][c], scores["precision"][c]
        shown = ["  -  " if v is None else f"{v:.3f}" for v in (recall, precision)]
        lines.append(f"  {c:<18}recall {shown[0]}   precision {shown[1]}")
    lines.append(f"{'calibration error':<20}{scores['calibration_error']:.3f}")
    if scores["n_without_answer"]:
        lines.append(f"{scores['n_without_answer']} nuclei without an answer")
    if found.dataset.fields and tuple(found.classes) == PHASES:
        lines.append("Called as if phases were equally frequent: predict calls fields so with --prior equal.")
    if found.trained_on:
        lines.append(f"The model was trained on {len(found.trained_on)} of these images: its scores flatter it.")
    return "\n".join([f"{scores['n']} nuclei of {found.dataset.name}", *lines])


def as_json(found: Evaluation) -> str:
    """Return the scores as JSON."""
    return json.dumps(found.scores(), indent=1)

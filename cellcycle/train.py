"""From labelled nuclei to a judged model: cross-validate, fit confidence to what was held out, train on all, save."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cellcycle.checkpoint import NETWORK_SETTINGS, Checkpoint, load_checkpoint, save_checkpoint
from cellcycle.confidence import fit_confidence, softmax, with_temperature
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.errors import DataError, SettingError
from cellcycle.evaluate import TRAINED_IMAGES, Evaluation, codes_of, write_evaluation
from cellcycle.inputs import MEASURED, MEASURED_PER_IMAGE, InputRule, Inputs, prepare
from cellcycle.nuclei import Scale
from cellcycle.splits import check_no_leak, image_fingerprints, join_copies, stratified_folds

# The recipe that notebook 09 arrives at; balanced by repetition.
SETTINGS = {
    "network": "nagao4",
    "width": 16,
    "dropout": 0.3,
    "batch_norm": True,
    "views": ("shape", "shape"),
    "turns": True,
    "schedule": "cosine",
    "weight_decay": 1e-2,
    "learning_rate": 1e-3,
    "batch_size": 32,
    "training_set": "D3",
    "copies": 0,
    "epochs": 24,
}
INTENSITIES = ("absolute", "per-image")
# In a field the border of a crop is no background; amounts are known by the nucleus' own surroundings.
FIELD_MEASURED = (*MEASURED[:4], "integrated_dna", "mean_dna", "dna_copies", "area_over_g1")
LEAST_IMAGES, FEW_IMAGES = 5, 20
# Side of the window about a nucleus of a field, in diameters of a typical one.
_MARGIN = 2.2


def train(
    data,
    output,
    *,
    network: str | None = None,
    from_model=None,
    folds: int = 5,
    epochs: int | None = None,
    size: int = 64,
    intensity: str = "absolute",
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Checkpoint:
    """Train a model and write its folder, with scores of cells that were held out.

    Parameters
    ----------
    data : str, Path or NucleusDataset
        As `load_dataset` takes it: crops, or fields with a table of labels.
    output : path-like
        The model's folder.
    network : str, optional
        A name of `cellcycle.networks.NETWORKS`; the measured best by default.
    from_model : str or Path, optional
        A model to train further; it is kept where it was better on the cells that were held out.
    folds, epochs, size, seed : int
        `size` is the side of the inputs in pixels.
    intensity : {"absolute", "per-image"}
        Whether amounts of DNA are compared between images, which one exposure allows, or within each alone.
    device : {"auto", "cpu", "cuda"}
    resume : bool
        Go on with a training of the same arguments that was stopped.
    say : callable, optional
        Takes lines of progress.

    Raises
    ------
    DataError, SettingError, CheckpointError
        In one line, before the work.
    """
    if intensity not in INTENSITIES:
        raise SettingError("intensity", f"{intensity!r} is unknown", f"use one of {', '.join(INTENSITIES)}")
    for name, value, least in (("folds", folds, 2), ("epochs", epochs or 1, 1)):
        if value < least:
            raise SettingError(name, f"{value} is too few", f"give at least {least}")
    output = Path(output)
    if output.exists() and not (output / "model.json").is_file() and (output.is_file() or any(output.iterdir())):
        raise SettingError(output, "it is there and holds no model", "name another folder")
    start = None if from_model is None else load_checkpoint(from_model)
    dataset = data if isinstance(data, NucleusDataset) else load_dataset(data, size_px=None)
    for note in (*dataset.notes, *_checked(dataset, start)):
        say(note)
    classes = dataset.classes if start is None else start.classes
    labels = dataset.labels if start is None else codes_of(dataset, classes, start.name)
    rule = input_rule(dataset, size, intensity) if start is None else start.input_rule
    inputs = prepare(dataset, rule)
    usable = np.flatnonzero(np.isfinite(inputs.images).all(axis=(1, 2, 3)))
    if len(usable) < len(dataset):
        say(f"{len(dataset) - len(usable)} nuclei are left out: their group shows no clear G1 peak")
        dataset, labels, inputs = dataset.select(usable), labels[usable], inputs[usable]
        _checked(dataset, start)
    settings = _settings(network, epochs, device, start)
    facts = {"settings": settings, "data": dataset.identity, "folds": folds, "seed": seed, "rule": rule.to_dict()}
    facts["from"] = None if start is None else start.card["card_sha256"]
    state = _state_folder(output, facts, resume)
    groups, prints = dataset.groups, image_fingerprints(dataset.images)
    if (
        groups is not None
        and min(len(np.unique(groups[dataset.labels == k])) for k in np.unique(dataset.labels)) < folds
    ):
        say(f"a class lies in fewer than {folds} groups: cells of one group are tested on, and the scores may flatter")
        groups = None
    groups = join_copies(groups, prints)
    parts = stratified_folds(dataset.labels, folds, 1, seed, groups, dataset.classes)
    for fold in parts:
        check_no_leak(fold, prints, groups)
    clock = _Clock(say, (folds + 1) * settings["epochs"] * len(settings["views"]))
    held_out = np.full((len(dataset), len(classes)), np.nan)
    for k, fold in enumerate(parts):
        fitted = _fit(settings, inputs[fold.train], labels[fold.train], seed + k, start, state / f"fold{k}", clock)
        held_out[fold.test] = 0
        held_out[np.ix_(fold.test, fitted.classes_)] = fitted.predict_proba(inputs[fold.test])
    final, comparison = None, {}
    if start is not None:
        before = softmax(start.classifier().logits(inputs).astype(np.float64))
        old, new = (_evaluation(dataset, classes, labels, p) for p in (before, held_out))
        comparison = {"before": old.scores()["balanced_accuracy"], "after": new.scores()["balanced_accuracy"]}
        say(f"balanced accuracy on the same cells, before {comparison['before']:.3f}, after {comparison['after']:.3f}")
        if comparison["before"] >= comparison["after"]:
            say("the model was not worse before: its weights are kept")
            final, held_out = start.classifier(), before
    if final is None:
        final = _fit(settings, inputs, labels, seed + folds, start, state / "all", clock)
    where = np.zeros(len(dataset))
    for fold in parts:
        where[fold.test] = fold.fold
    confidence = fit_confidence(held_out, labels, where, fitted_on=f"{len(dataset)} nuclei of {dataset.name}, held out")
    calibrated = with_temperature(held_out, confidence.temperature)
    judged = _evaluation(dataset, classes, labels, calibrated, confidence.thresholds)
    about = _about(output, dataset, classes, settings, seed, start, comparison)
    about |= {"confidence": confidence.to_dict(), "scores": {"held_out": judged.scores()}}
    checkpoint = save_checkpoint(output, final, rule, about)
    write_evaluation(judged, output / "held_out.csv")
    (output / TRAINED_IMAGES).write_text("\n".join(prints) + "\n", encoding="utf-8")
    shutil.rmtree(state, ignore_errors=True)
    return checkpoint


def input_rule(dataset: NucleusDataset, size: int, intensity: str) -> InputRule:
    """Return how nuclei of a data set become inputs: crops as they are, nuclei of fields cut at one scale."""
    per_image = intensity == "per-image"
    if not dataset.fields:
        # Smaller crops keep their size.
        return InputRule(min(size, dataset.size_px), measurements=MEASURED_PER_IMAGE if per_image else MEASURED)
    areas = np.concatenate([f.nuclei.measured["area_um2"] for f in dataset.fields])
    median = float(np.median(areas[np.isfinite(areas)]))
    view_um = _MARGIN * np.sqrt(4 * median / np.pi)
    measurements = MEASURED[:4] if per_image else FIELD_MEASURED
    return InputRule(size, round(float(view_um / size), 5), "painted", measurements=measurements, scale=Scale(median))


def _checked(dataset: NucleusDataset, start: Checkpoint | None) -> list[str]:
    """Return what the reader should know; refuse what cannot be learned from."""
    counts, notes = dataset.counts(), []
    if len(counts) < 2 and start is None:
        raise DataError(dataset.name, "one class only", "give images of two classes or more")
    for name, n in counts.items():
        if n < LEAST_IMAGES:
            raise DataError(dataset.name, f"class {name} has {n} images", f"give at least {LEAST_IMAGES} a class")
        if n < FEW_IMAGES:
            notes.append(f"class {name} has only {n} images: its scores are uncertain")
    if dataset.groups is None:
        notes.append("no groups are known: if several images show one slide, the scores may flatter")
    return notes


def _settings(network, epochs, device: str, start: Checkpoint | None) -> dict:
    """Return the arguments of the classifier."""
    made = dict(SETTINGS)
    if start is not None:
        if network not in (None, start.card["network"]["network"]):
            raise SettingError("network", f"{start.name} is a {start.card['network']['network']}", "leave it out")
        # Gentler than from scratch: what was learned is to be kept where the new cells do not speak against it.
        made |= {k: start.card["network"][k] for k in NETWORK_SETTINGS} | {"learning_rate": 2e-4, "epochs": 10}
    elif network is not None and network != made["network"]:
        made |= {"network": network, "width": None, "dropout": None, "batch_norm": False}
        from cellcycle.networks import build_network

        build_network(network)
    made["epochs"], made["device"] = epochs or made["epochs"], _device(device)
    return made | {"transforms": ()}


def _device(name: str) -> str:
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise SettingError("device", f"{name!r} is unknown", "use auto, cpu or cuda")
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise SettingError("device", "there is no GPU that torch can use", "use auto or cpu")
    return "cuda" if has_gpu and name != "cpu" else "cpu"


def _fit(settings, inputs: Inputs, labels, seed: int, start, state: Path, clock):
    from cellcycle.training import NetworkClassifier

    classifier = NetworkClassifier(**settings, seed=seed)
    return classifier.fit(inputs, labels, start and start.classifier(), state, clock.epoch_done)


def _state_folder(output: Path, facts: dict, resume: bool) -> Path:
    """Return the folder of a training under way; one of other arguments, or not to be resumed, is emptied."""
    folder = output.parent / f".{output.name}.training"
    file, text = folder / "arguments.json", json.dumps(facts, sort_keys=True, default=list)
    if not (resume and file.is_file() and file.read_text(encoding="utf-8") == text):
        if resume and folder.exists():
            raise SettingError("--resume", "the training that was stopped had other arguments or data", "leave it out")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SettingError(output, f"it cannot be written ({error.strerror})", "name another folder") from error
    return folder


def _evaluation(dataset, classes, labels, probabilities, thresholds=None) -> Evaluation:
    return Evaluation(dataset, tuple(classes), labels, probabilities, (), thresholds)


def _about(output: Path, dataset, classes, settings, seed, start, comparison) -> dict:
    counts = dataset.counts()
    trained_on = {
        "origin": dataset.origin,
        "description": f"{len(dataset)} nuclei of {dataset.name}",
        "counts": {c: int(counts.get(c, 0)) for c in classes},
        "seed": seed,
        "identity": dataset.identity,
    }
    limits = ["Holds for cells, stain and microscope like those it was trained on; scores are of such cells, held out."]
    if dataset.groups is None:
        limits.append("No groups were known: if several images show one slide, the scores flatter.")
    training = {k: v for k, v in settings.items() if k not in NETWORK_SETTINGS}
    if start is not None:
        training |= {"from": start.name, "from_version": start.version, **comparison}
    digest = hashlib.sha256(np.ascontiguousarray(dataset.images)).hexdigest()
    return {
        "title": output.name,
        "version": "1",
        "classes": list(classes),
        "training": training,
        "trained_on": trained_on,
        "licence": "that of its training images",
        "limits": limits,
        "data": {"images_sha256": digest, "identity": dataset.identity},
    }


class _Clock:
    """Says how far a training is and how long the rest will take."""

    def __init__(self, say: Callable[[str], None], total: int):
        self.say, self.total, self.done, self.started, self.told = say, total, 0, time.monotonic(), 0.0

    def epoch_done(self, _: int) -> None:
        """Count an epoch."""
        self.done += 1
        now = time.monotonic()
        if now - self.told > 10:
            left = (now - self.started) / self.done * (self.total - self.done)
            self.say(f"{self.done} of {self.total} epochs, about {max(1, round(left / 60))} min left")
            self.told = now

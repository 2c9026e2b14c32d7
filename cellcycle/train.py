"""From labelled nuclei to a judged model: cross-validate, fit confidence to what was held out, train on all, save."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cellcycle.card import check_words
from cellcycle.checkpoint import NETWORK_SETTINGS, Checkpoint, load_checkpoint, save_checkpoint
from cellcycle.confidence import fit_confidence, measured_nuclei, softmax
from cellcycle.confidence.records import cross_fit
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.datasets.nuclei import FEWEST
from cellcycle.errors import CheckpointError, DataError, SettingError, check_choice, check_whole
from cellcycle.evaluate import (
    Evaluation,
    are_among,
    check_outside,
    codes_of,
    compared,
    trained_images,
    write_evaluation,
    write_trained_images,
)  # fmt: skip
from cellcycle.inputs import InputRule, prepare
from cellcycle.metrics import drawn_by
from cellcycle.networks import build_network
from cellcycle.nuclei import nuclei_of
from cellcycle.splits import check_no_leak, joined, overlapping, stratified_folds
from cellcycle.training.baseline import DNA_CONTENT
from cellcycle.training.parts import Clock, Trainings, device_of, jobs_of, state_of
from cellcycle.training.recipes import BEST, INTENSITIES, input_rule

_LIMIT = "Holds for cells, stain and microscope like those it was trained on; scores are of such cells, held out."
# Where a training on real cells differs from the study's: one network, seen longer, of nuclei that are varied.
_EPOCHS, _MOST_EPOCHS, _SEEN = 45, 60, 35_000


def train(
    data,
    output,
    *,
    network: str | None = None,
    from_model=None,
    folds: int = 5,
    epochs: int | None = None,
    size: int | None = None,
    intensity: str | None = None,
    seed: int = 0,
    device: str = "auto",
    jobs: int | None = 1,
    resume: bool = False,
    force: bool = False,
    on_error: str = "raise",
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] | None = None,
    client=None,
) -> Checkpoint:
    """Train a model and write its folder, with scores of cells that were held out.

    Parameters
    ----------
    data : str, Path or NucleusDataset
        As `load_dataset` takes it: crops, or fields with a table of labels.
    output : path-like
        The model's folder, which appears whole or not at all. A model of the same data that is there is replaced, and
        what else lies beside it stays. It lies outside a folder of `data`.
    network : str, optional
        A name of `cellcycle.networks.NETWORKS`, the measured best by default; or "dna-content", the classical gates.
    from_model : str or Path, optional
        A model to train further; it is kept where it was better on the cells that were held out.
    folds, epochs, size, seed : int
        `size` is the side of the inputs in pixels, 64 by default, or that of `from_model`.
    intensity : {"absolute", "per-image"}
        Whether amounts of DNA are compared between images, which one exposure allows, or within each alone; the first
        by default, or as `from_model` does.
    device : {"auto", "cpu", "cuda"}
    jobs : int or None
        Processes that train folds, each importing this program's main module anew; None: one a core.
    resume : bool
        Go on with a training of the same arguments that was stopped.
    force : bool
        Replace a model of other data, too.
    on_error : {"raise", "skip"}
        As `load_dataset` takes it.
    say : callable, optional
        Takes lines of progress.
    progress : callable, optional
        Takes, once a second, the epochs done of all trainings and how many there are.
    client : distributed.Client, optional
        Its workers train instead; they reach the folder of `output` by the same path.

    Raises
    ------
    DataError, SettingError, CheckpointError
        In one line, before the work.
    """
    for name, value, least in (("folds", folds, 2), ("epochs", epochs or 1, 1), ("seed", seed, 0), ("size", size, 4)):
        if value is not None:
            check_whole(name, value, least)
    # The names . and .. are no name of a model.
    output = Path(output) if Path(output).name.strip(".") else Path(output).resolve()
    check_words(output, {"name": output.name}, "name another folder", SettingError)
    check_outside(output, data)
    start = None if from_model is None else load_checkpoint(from_model)
    size, intensity = _as_asked(size, intensity, start)
    dataset = data if isinstance(data, NucleusDataset) else load_dataset(data, size_px=None, on_error=on_error)
    identity = dataset.identity
    if _check_output(output, identity, force):
        say(f"{output}: the model that is there is replaced when the new one is complete")
    for note in (*dataset.notes, *dataset.check_for_training()):
        say(note)
    check_words(dataset.name, {"classes": list(dataset.classes)}, "rename the class", DataError)
    classes = dataset.classes if start is None else start.classes
    labels = dataset.labels if start is None else codes_of(dataset, classes, start.name)
    rule = input_rule(dataset, size, intensity, network) if start is None else start.input_rule
    inputs = prepare(dataset, rule)
    usable = np.flatnonzero(np.isfinite(inputs.images).all(axis=(1, 2, 3)))
    if len(usable) < len(dataset):
        say(f"{len(dataset) - len(usable)} nuclei are left out: their group shows no clear G1 peak")
        dataset, labels, inputs = dataset.select(usable), labels[usable], inputs[usable]
        _check_anchored(dataset, start)
    settings = _settings(network, epochs, device, start, len(dataset))
    jobs = jobs_of(jobs, settings["device"])
    marks, known = dataset.known_by(), set() if start is None else trained_images(start)
    learned = {*marks.ravel(), *known}
    # What the model to train further has learned from is held out of nothing.
    scored = _new_to(start, dataset, ~are_among(marks, known), say)
    parts, limits = _parts(dataset, marks, folds, seed)
    fold_of = np.zeros(len(dataset), np.int64)
    for part in parts:
        fold_of[part.test] = part.fold
    # In the order in which what differs is named: the later follow from the earlier.
    facts = {"data": dataset.identity, "--from": None if start is None else start.card["card_sha256"], "--size": size}
    facts |= {"--intensity": intensity, "--folds": folds, "--seed": seed} | {f"--{k}": v for k, v in settings.items()}
    facts |= {"groups": hashlib.sha256(repr((fold_of.tolist(), scored.tolist())).encode()).hexdigest()}
    if len(scored) < len(dataset):
        limits.append(f"{start.name} had learned from {len(dataset) - len(scored)} of these nuclei: no score has them.")
    for limit in limits if dataset.has_stated_groups else ():
        say(limit)
    items = [(f"fold{k}", seed + k, part.train, part.test) for k, part in enumerate(parts)]
    if start is None:
        items.append(("all", seed + folds, np.arange(len(dataset)), np.arange(0)))
    held_out, final, comparison = np.empty((len(dataset), len(classes))), None, {}
    with state_of(output, facts | {"version of cellcycle": rule.to_dict()}, resume, say) as state:
        trainings = Trainings(settings, inputs, labels, len(classes), state, start and start.classifier)
        with Clock(say, state, (folds + 1) * settings["epochs"] * len(settings["views"]), progress):
            for part, called in zip(parts, list(trainings.run(items, jobs, client)), strict=False):
                held_out[part.test] = called
            if start is not None:
                before = softmax(start.classifier().logits(inputs).astype(np.float64))
                groups = None if dataset.groups is None else dataset.groups[scored]
                units = drawn_by(groups, labels[scored], folds)
                comparison = compared(labels[scored], before[scored], held_out[scored], units)
                say(
                    "balanced accuracy on the same cells, all classes weighing alike, before {before:.3f}, after "
                    "{after:.3f}, by {gain[0]:+.3f} to {gain[1]:+.3f} in 95 % of such samples".format(**comparison)
                )
                if comparison["before"] >= comparison["after"]:
                    say("the model was not worse before: its weights are kept")
                    final, held_out, learned = start.classifier(), before, known
            if final is None:
                # Found finished in its state, unless a fine-tuned model was still to prove better.
                final = trainings.fit("all", seed + folds)
        new, held_out, labels, fold_of = dataset.select(scored), held_out[scored], labels[scored], fold_of[scored]
        confidence = _confidence(new, rule, held_out, labels, fold_of, limits)
        calibrated, thresholds, _ = cross_fit(held_out, labels, fold_of)
        judged = Evaluation(new, tuple(classes), labels, calibrated, (), thresholds, folds)
        about = _about(output, dataset, identity, classes, settings, seed, start, comparison, limits)
        if learned is known:
            # The weights are those that were there: these nuclei judged them alone.
            about["trained_on"] = start.card["trained_on"]
            about["limits"] += [f"Its weights are those of {start.name}: {len(new)} nuclei of {new.name} judged them."]
        about |= {"confidence": confidence.to_dict(), "scores": {"held_out": judged.scores()}}

        def write_more(work: Path) -> None:
            write_evaluation(judged, work / "held_out.csv")
            write_trained_images(work, learned)

        # Another may have been put there in the meantime.
        _check_output(output, identity, force)
        return save_checkpoint(output, final, rule, about, more=write_more)


def _as_asked(size, intensity, start: Checkpoint | None) -> tuple[int, str]:
    """Return side and intensity of the inputs; of a model to train further they are its own, others are refused."""
    own = {"size": 64, "intensity": INTENSITIES[0]}
    if start is not None:
        amounts = start.input_rule.measurements
        # Without measurements it sees the brightness of the picture.
        is_absolute = not amounts or not {"mean_dna", "dna_copies"}.isdisjoint(amounts)
        own = {"size": start.input_rule.size_px, "intensity": INTENSITIES[0 if is_absolute else 1]}
    check_choice("intensity", intensity or own["intensity"], INTENSITIES)
    for name, value in (("size", size), ("intensity", intensity)):
        if start is not None and value not in (None, own[name]):
            raise SettingError(name, f"that of {start.name} is {own[name]}, not {value}", "leave it out")
    return size or own["size"], intensity or own["intensity"]


def _check_anchored(dataset: NucleusDataset, start: Checkpoint) -> None:
    """Refuse what is left of nuclei when those without a clear G1 peak are left out, if that is too few."""
    try:
        dataset.check_for_training()
    except DataError as error:
        finding = f"without the groups that show no clear G1 peak, which {start.name} needs: {error.finding}"
        raise DataError(dataset.name, finding, "train from a model that needs none, such as nagao6") from error


def _check_output(output: Path, identity: str, force: bool) -> bool:
    """Say whether a model is there; anything else is refused, one of other data is replaced by force only."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    try:
        found = load_checkpoint(output).card.get("data", {}).get("identity")
    except (CheckpointError, SettingError) as error:
        raise SettingError(output, "it is there and holds no model, or a damaged one", "name another folder") from error
    if found != identity and not force:
        remedy = "name another folder, or let it be replaced: --force"
        raise SettingError(output, "it holds a model of other data", remedy)
    return True


def _parts(dataset: NucleusDataset, marks, folds: int, seed: int):
    """Return folds that part no copies, nor groups where each class has enough of these, and what that limits.

    Crops of no known groups that overlap stay together, too.
    """
    groups, labels, limits = dataset.groups if dataset.has_stated_groups else None, dataset.labels, []
    if groups is None:
        limits.append("No groups were known: if several images show one slide, the scores flatter.")
    elif drawn_by(groups, labels, folds) is None:
        limits.append(f"A class lies in fewer than {folds} groups: cells of one were tested on, scores may flatter.")
        groups = None
    if groups is None and not dataset.fields:
        pieces = overlapping(dataset.images)
        if drawn_by(pieces, labels, folds) is not None:
            groups = pieces if len(np.unique(pieces)) < len(pieces) else None
        else:
            limits.append("Crops overlap so much that folds part some that share pixels: the scores flatter.")
    # Numbers of one length keep their order as texts.
    numbers = np.char.zfill(np.unique(groups, return_inverse=True)[1].astype(str), 9) if groups is not None else None
    units = joined(marks if numbers is None else np.column_stack([numbers, marks]))
    is_single = groups is None and len(np.unique(units)) == len(units)
    parts = stratified_folds(labels, folds, 1, seed, None if is_single else units, dataset.classes)
    for part in parts:
        check_no_leak(part, units)
    return parts, limits


def _settings(network, epochs, device: str, start: Checkpoint | None, n: int) -> dict:
    """Return the arguments of the classifier: the study's recipe, changed for n real cells."""
    epochs_of = max(_EPOCHS, min(_MOST_EPOCHS, _SEEN // n))
    made = BEST | {"views": ("shape",), "moves": True, "epochs": epochs_of}
    if DNA_CONTENT in (network, start and start.card["network"]["network"]):
        if start is not None:
            raise SettingError("from_model", f"{DNA_CONTENT} is fitted at once, not trained further", "train it anew")
        return {"network": network, "views": ("measured",), "epochs": 1, "device": "cpu"}
    if start is not None:
        if network not in (None, start.card["network"]["network"]):
            raise SettingError("network", f"{start.name} is a {start.card['network']['network']}", "leave it out")
        # Gentler than from scratch: what was learned is to be kept where the new cells do not speak against it.
        made |= {k: start.card["network"][k] for k in NETWORK_SETTINGS} | {"learning_rate": 2e-4, "epochs": 10}
    elif network is not None and network != made["network"]:
        made |= {"network": network, "width": None, "dropout": None, "batch_norm": False}
        build_network(network)
    made["epochs"], made["device"] = epochs or made["epochs"], device_of(device)
    return made | {"transforms": ()}


def _new_to(start: Checkpoint | None, dataset: NucleusDataset, is_new: np.ndarray, say) -> np.ndarray:
    """Return which nuclei a model to train further has not learned from, of each class enough to judge by."""
    n_of = np.bincount(dataset.labels, minlength=len(dataset.classes))
    n_new = np.bincount(dataset.labels[is_new], minlength=len(dataset.classes))
    if not is_new.all():
        told = f"{start.name} has learned from {np.count_nonzero(~is_new)} of these {len(is_new)} nuclei"
        few = [f"{name} {n}" for name, n, all_of in zip(dataset.classes, n_new, n_of, strict=True)
               if n < min(all_of, FEWEST)]  # fmt: skip
        if few:
            finding = f"{told}; new to it are too few to judge by: {', '.join(few)}"
            raise DataError(dataset.name, finding, "train anew on all of them, without --from, or give more new ones")
        say(f"{told}: they are trained on, and in no score")
    return np.flatnonzero(is_new)


def _confidence(dataset: NucleusDataset, rule: InputRule, held_out, labels, fold_of, limits: list[str]):
    """Fit how far calls can be trusted, and what usual nuclei are like where enough of them can be measured."""
    fitted_on = f"{len(dataset)} nuclei of {dataset.name}, held out"
    measured = measured_nuclei(nuclei_of(dataset, rule.scale), dataset.places)
    try:
        return fit_confidence(held_out, labels, fold_of, measured, fitted_on=fitted_on)
    except DataError:
        limits.append("Too few nuclei were measured to tell which others are unlike them.")
        return fit_confidence(held_out, labels, fold_of, fitted_on=fitted_on)


def _about(output: Path, dataset, identity: str, classes, settings, seed, start, comparison, limits) -> dict:
    counts = dataset.counts()
    trained_on = {
        "origin": dataset.origin,
        "description": f"{len(dataset)} nuclei of {dataset.name}",
        "counts": {c: int(counts.get(c, 0)) for c in classes},
        "seed": seed,
        "identity": dataset.identity,
    }
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
        "limits": [_LIMIT, *dataset.exported, *dataset.told_by_groups, *limits],
        "data": {"images_sha256": digest, "identity": identity},
    }

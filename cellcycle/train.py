"""Train a model on labelled nuclei: cross-validate, fit the confidence on held-out nuclei, train on all, save."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellcycle.card import NETWORK_SETTINGS, check_words
from cellcycle.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, shipped_name
from cellcycle.confidence import fit_confidence, measured_nuclei, softmax
from cellcycle.confidence.records import cross_fit
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.datasets.nuclei import FEWEST
from cellcycle.errors import CheckpointError, DataError, SettingError, check_whole
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
from cellcycle.inputs import InputRule, Inputs, prepare
from cellcycle.metrics import drawn_by
from cellcycle.scale import nuclei_of
from cellcycle.splits import Fold, share_alike
from cellcycle.tasks import jobs_of
from cellcycle.training.parts import Clock, Trainings, folds_of, state_of
from cellcycle.training.recipes import as_seen, input_rule, inputs_asked, settings_asked

# Highest usual share of look-alikes across folds: 1 in 50 to 1 in 6 (crops of 12 px) of cells that are no copies.
_MOST_ALIKE = 0.2
_LIMIT = "Holds for cells, stain and microscope like those it was trained on; scores are of such cells, held out."
# Least and most epochs, and about how many images are seen in all: more than in the study, as nuclei are augmented.
_EPOCHS, _MOST_EPOCHS, _SEEN = 45, 60, 35_000


def train(
    data,
    output,
    *,
    network: str | None = None,
    from_model=None,
    n_folds: int = 5,
    epochs: int | None = None,
    size_px: int | None = None,
    intensity: str | None = None,
    seed: int = 0,
    device: str = "auto",
    n_jobs: int | None = 1,
    resume: bool = False,
    force: bool = False,
    on_error: str = "raise",
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] | None = None,
    client=None,
) -> Checkpoint:
    """Train a model and write its folder, with scores on held-out cells; return its `Checkpoint`.

    Parameters
    ----------
    data : str, Path or NucleusDataset
        As `load_dataset` takes it: crops, or fields with a table of labels.
    output : path-like
        The model's folder, written completely or not at all. An existing model of the same data is replaced; other
        files in the folder stay. It must lie outside a folder of `data`.
    network : str, optional
        A name of `cellcycle.networks.NETWORKS`, by default that of `recipes.BEST`; or "dna-content", the gates.
    from_model : str, Path or Checkpoint, optional
        A model to train further; its weights are kept unless the new ones are better on held-out cells.
    n_folds, epochs, size_px, seed : int
        `size_px` is the side of the inputs in pixels, 64 by default, or that of `from_model`.
    intensity : {"absolute", "per-image"}
        Whether amounts of DNA are compared between images, which needs one exposure, or only within each image; by
        default the first, or that of `from_model`.
    device : {"auto", "cpu", "cuda"}
    n_jobs : int or None
        Number of processes that train folds, each of which imports this program's main module; None: one per core.
    resume : bool
        Resume a stopped training with the same arguments.
    force : bool
        Replace a model of other data, too.
    on_error : {"raise", "skip"}
        As `load_dataset` takes it.
    say : callable, optional
        Called with lines of progress.
    progress : callable, optional
        Called once a second with the number of epochs done in all trainings and their total.
    client : distributed.Client, optional
        Its workers train instead; they must reach the folder of `output` by the same path.

    Raises
    ------
    DataError, SettingError, CheckpointError
        In one line, before the training starts.
    """
    n_folds, seed = check_whole("n_folds", n_folds), check_whole("seed", seed)
    named = {"epochs": epochs, "size_px": size_px}.items()
    epochs, size_px = (number if number is None else check_whole(name, number) for name, number in named)
    output = _target(output, data)
    start = None if from_model is None else load_checkpoint(from_model)
    size_px, intensity = inputs_asked(size_px, intensity, start)
    settings = settings_asked(network, epochs, device, start)
    n_jobs = jobs_of(n_jobs, settings["device"])
    dataset = data if isinstance(data, NucleusDataset) else load_dataset(data, size_px=None, on_error=on_error)
    identity = dataset.identity
    if _is_there(output, identity, force):
        say(f"{output}: the model that is there is replaced when the new one is complete")
    cells = _given(dataset, start, size_px, intensity, network, say)
    settings["epochs"] = settings["epochs"] or max(_EPOCHS, min(_MOST_EPOCHS, _SEEN // len(cells.labels)))
    plan = _planned(cells, start, n_folds, seed, say)
    # Ordered so that the first fact that differs is the cause: later facts follow from earlier ones.
    facts = {"data": cells.dataset.identity, "--from": None if start is None else start.card["card_sha256"]}
    facts |= {"--size": size_px, "--intensity": intensity, "--folds": n_folds, "--seed": seed}
    facts |= {f"--{k}": v for k, v in settings.items()}
    facts |= {"groups": hashlib.sha256(repr((plan.fold_of.tolist(), plan.scored.tolist())).encode()).hexdigest()}
    facts |= {"version of cellcycle": cells.rule.to_dict()}
    with state_of(output, facts, resume, say) as state:
        begin = start and start.classifier
        trainings = Trainings(settings, cells.inputs, cells.labels, len(cells.classes), state, begin)
        with Clock(say, state, (n_folds + 1) * settings["epochs"] * len(settings["views"]), progress):
            held_out, comparison = trainings.called(plan.parts, seed, n_jobs, client), {}
            if start is not None:
                before = softmax(start.classifier().logits(cells.inputs).astype(np.float64))
                comparison = _compared(cells, plan.scored, before, held_out, say)
            if is_kept := start is not None and comparison["before"] >= comparison["after"]:
                say("training did not improve the model: its old weights are kept")
                held_out = before
            # Without `start` this training already ran beside the folds and is only read from its state.
            final = start.classifier() if is_kept else trainings.fit("all", seed + n_folds)
        judged, confidence = _judged(cells, plan, held_out)
        about = _about(output.name, cells, identity, settings | {"seed": seed} | comparison, start, is_kept, plan)
        # The version distinguishes models of the same name with other data or settings in tables.
        about["version"] = f"v{hashlib.sha256(repr(facts).encode()).hexdigest()[:8]}"
        about |= {"confidence": confidence.to_dict(), "scores": {"held_out": judged.scores()}}

        def write_more(work: Path) -> None:
            write_evaluation(judged, work / "held_out.csv")
            write_trained_images(work, plan.known if is_kept else plan.learned)

        # Checked again, because another model may have been written there in the meantime.
        _is_there(output, identity, force)
        return save_checkpoint(output, final, cells.rule, about, more=write_more)


@dataclass(frozen=True)
class _Cells:
    """Labelled nuclei with the inputs of a model; `labels` are indices into its `classes`."""

    dataset: NucleusDataset
    classes: tuple[str, ...]
    labels: np.ndarray
    rule: InputRule
    inputs: Inputs


@dataclass(frozen=True)
class _Plan:
    """The folds (`parts`, and the fold of each nucleus), the indices of scored nuclei, and limits of the scores.

    Limits `of_training` do not hold if the weights of `from_model` are kept.
    """

    parts: list[Fold]
    fold_of: np.ndarray
    scored: np.ndarray
    of_training: list[str]
    limits: list[str]
    known: set[str]  # marks of the images of `from_model`
    learned: set[str]  # these, and those of all nuclei


def _given(dataset: NucleusDataset, start: Checkpoint | None, size_px: int, intensity: str, network, say) -> _Cells:
    """Return the nuclei to train on; if the model needs a G1 peak, nuclei of groups without one are left out."""
    for note in (*dataset.notes, *dataset.check_for_training()):
        say(note)
    check_words(dataset.name, {"classes": list(dataset.classes)}, "rename the class", DataError)
    classes = dataset.classes if start is None else start.classes
    labels = dataset.labels if start is None else codes_of(dataset, classes, start.name)
    rule = input_rule(dataset, size_px, intensity, network) if start is None else start.input_rule
    inputs = prepare(dataset, rule)
    usable = np.flatnonzero(np.isfinite(inputs.images).all(axis=(1, 2, 3)))
    if len(usable) < len(dataset):
        say(f"{len(dataset) - len(usable)} nuclei are left out: their group shows no clear G1 peak")
        dataset, labels, inputs = dataset.select(usable), labels[usable], inputs[usable]
        try:
            dataset.check_for_training()
        except DataError as error:
            finding = f"without the groups that show no clear G1 peak, which {start.name} needs: {error.finding}"
            raise DataError(dataset.name, finding, "train from a model that needs none, such as nagao6") from error
    return _Cells(dataset, tuple(classes), labels, as_seen(rule, dataset, inputs), inputs)


def _planned(cells: _Cells, start: Checkpoint | None, n_folds: int, seed: int, say) -> _Plan:
    """Return the folds; nuclei on which `start` was trained are not scored."""
    marks, fields = cells.dataset.known_by(), cells.dataset.fields_known_by()
    known = set() if start is None else trained_images(start)
    scored = _new_to(start, cells.dataset, ~are_among(marks, known), say)
    (parts, of_training), limits = folds_of(cells.dataset, marks, n_folds, seed), []
    if len(scored) < len(marks):
        limits.append(f"{start.name} had learned from {len(marks) - len(scored)} of these nuclei: no score uses them.")
    if not known.isdisjoint(fields[scored]):
        limits.append(f"{start.name} had learned from other nuclei of the same images: the scores are too high.")
    fold_of = np.zeros(len(marks), np.int64)
    for part in parts:
        fold_of[part.test] = part.fold
    if absent := [name for k, name in enumerate(cells.classes) if k not in cells.labels]:
        of_training.append(f"No nucleus is labelled {', '.join(absent)}: training on others forgets these calls.")
    if (share := share_alike(cells.dataset.images, fold_of)) > _MOST_ALIKE:
        of_training.append(
            f"{share:.0%} of the nuclei look like one of another fold: if these are copies saved or turned "
            "differently, or one cell at two times, the scores are too high; give all pictures of a cell one group."
        )
    # The first limit, that no groups are known, was already said by `check_for_training`.
    for limit in [*of_training[not cells.dataset.has_stated_groups :], *limits]:
        say(limit)
    return _Plan(parts, fold_of, scored, of_training, limits, known, known.union(*marks, fields))


def _target(output, data) -> Path:
    """Return the folder of a model; refuse an invalid or shipped name, a place inside its data, and a file."""
    output = Path(output) if Path(output).name.strip(".") else Path(output).resolve()
    check_words(output, {"name": output.name}, "name another folder", SettingError)
    if shipped_name(output.name) or output.name.lower() == "auto":
        raise SettingError(output, "a model of cellcycle has this name", "name another folder")
    check_outside(output, data)
    if output.is_file():
        raise SettingError(output, "this is a file", "name a folder")
    return output


def _is_there(output: Path, identity: str, force: bool) -> bool:
    """Return whether a model is there; refuse anything else, and a model of other data without `force`."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    try:
        found = load_checkpoint(output).card.get("data", {}).get("identity")
    except (CheckpointError, SettingError) as error:
        raise SettingError(output, "it exists and holds no model, or a damaged one", "name another folder") from error
    if found != identity and not force:
        raise SettingError(output, "it holds a model of other data", "name another folder, or replace it: force=True")
    return True


def _compared(cells: _Cells, scored: np.ndarray, before, held_out, say) -> dict:
    """Compare the calls of a model before further training with those for the same nuclei held out; return scores."""
    labels, groups = cells.labels[scored], cells.dataset.groups
    units = drawn_by(None if groups is None else groups[scored], labels)
    comparison = compared(labels, before[scored], held_out[scored], units)
    told = "balanced accuracy on the same cells: {before:.3f} before, {after:.3f} after; difference, 95 % interval: "
    say((told + "{gain[0]:+.3f} to {gain[1]:+.3f}").format(**comparison))
    return comparison


def _judged(cells: _Cells, plan: _Plan, held_out: np.ndarray):
    """Return the evaluation of the held-out predictions, and the confidence fitted to them."""
    dataset, labels = cells.dataset.select(plan.scored), cells.labels[plan.scored]
    held_out, fold_of = held_out[plan.scored], plan.fold_of[plan.scored]
    confidence = _confidence(dataset, cells.rule, held_out, labels, fold_of, plan.limits)
    calibrated, thresholds, _ = cross_fit(held_out, labels, fold_of)
    return Evaluation(dataset, cells.classes, labels, calibrated, (), thresholds), confidence


def _new_to(start: Checkpoint | None, dataset: NucleusDataset, is_new: np.ndarray, say) -> np.ndarray:
    """Return the indices of nuclei on which `start` was not trained; refuse too few of a class for scores."""
    n_of = np.bincount(dataset.labels, minlength=len(dataset.classes))
    n_new = np.bincount(dataset.labels[is_new], minlength=len(dataset.classes))
    if not is_new.all():
        told = f"{start.name} has learned from {np.count_nonzero(~is_new)} of these {len(is_new)} nuclei"
        few = [f"{name} {n}" for name, n, all_of in zip(dataset.classes, n_new, n_of, strict=True)
               if n < min(all_of, FEWEST)]  # fmt: skip
        if few:
            finding = f"{told}; too few are new to it to judge it by: {', '.join(few)}"
            raise DataError(dataset.name, finding, "train anew on all, without from_model=, or give more new ones")
        say(f"{told}: they are used for training, but in no score")
    return np.flatnonzero(is_new)


def _confidence(dataset: NucleusDataset, rule: InputRule, held_out, labels, fold_of, limits: list[str]):
    """Fit the confidence on held-out predictions, with strangeness if enough nuclei can be measured."""
    fitted_on = f"{len(dataset)} nuclei of {dataset.name}, held out"
    measured = measured_nuclei(nuclei_of(dataset, rule.scale), dataset.places)
    try:
        return fit_confidence(held_out, labels, fold_of, measured, fitted_on=fitted_on)
    except DataError:
        limits.append("Too few nuclei were measured to tell which others are unlike them.")
        return fit_confidence(held_out, labels, fold_of, fitted_on=fitted_on)


def _about(name: str, cells: _Cells, identity: str, settings: dict, start, is_kept: bool, plan: _Plan) -> dict:
    """Return the entries of a card about a training; if the weights of `start` are kept, its nuclei only test them."""
    dataset, counts = cells.dataset, cells.dataset.counts()
    trained_on = {
        "origin": dataset.origin,
        "description": f"{len(dataset)} nuclei of {dataset.name}",
        "counts": {c: int(counts.get(c, 0)) for c in cells.classes},
        "seed": settings["seed"],
        "identity": dataset.identity,
    }
    limits = [_LIMIT, *dataset.exported, *dataset.told_by_groups, *plan.of_training, *plan.limits]
    if is_kept:
        trained_on, n = start.card["trained_on"], len(plan.scored)
        kept = f"Its weights are those of {start.name}, tested on {n} nuclei of {dataset.name}."
        limits = [_LIMIT, *plan.limits, kept]
    own = {} if start is None else {"from": start.name, "from_version": start.version}
    digest = hashlib.sha256(np.ascontiguousarray(dataset.images)).hexdigest()
    return {
        "title": name,
        "classes": list(cells.classes),
        "training": {k: v for k, v in settings.items() if k not in (*NETWORK_SETTINGS, "seed")} | own,
        "trained_on": trained_on,
        "licence": "that of its training images",
        "limits": limits,
        "data": {"images_sha256": digest, "identity": identity},
    }

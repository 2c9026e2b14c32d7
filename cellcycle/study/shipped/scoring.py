"""Score a checkpoint through the whole path of prediction, and write the scores into its card."""

import shutil
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cellcycle import files, results
from cellcycle.checkpoint import DEFAULT, Checkpoint, load_checkpoint, write_card
from cellcycle.confidence import prediction_sets
from cellcycle.confidence.evaluation import calibration_error, coverage_table
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.errors import SettingError
from cellcycle.images import Plane
from cellcycle.inputs import InputRule
from cellcycle.metrics import SCORES
from cellcycle.nuclei import Nuclei, find_nuclei
from cellcycle.phases import PHASES
from cellcycle.predict import AUTO, Predictor, Settings
from cellcycle.predict.many import with_g1_peak
from cellcycle.segmentation import measure_crops
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.simulation import SimulatedNuclei, simulate_nuclei
from cellcycle.study.shipped.fields import fields_entry, found_fields
from cellcycle.study.shipped.flips import CHANGES, changed, crop_flips, field_flips
from cellcycle.study.shipped.training import TEST_SEED, microscope
from cellcycle.summaries import score_table

N_TEST_PER_PHASE = 250
N_TEST_SLIDES = 16
# About the shares of a growing population, with more of the rare phases, so that each has nuclei to score.
SLIDE_COUNTS = {"G1": 50, "S": 35, "G2": 30, "M": 15}
N_FLIPPED = 250
JURKAT = "Jurkat cells, propidium iodide, imaging flow cytometry (Blasi et al. 2016; part of BBBC048)"


@dataclass(frozen=True)
class Slide:
    """Labelled crops of one slide, each found and measured once for all models."""

    dataset: NucleusDataset
    pixel_size_um: float
    rule: InputRule

    def found(self, images) -> list[tuple[Plane, Nuclei]]:
        """Return planes (H, W) with their nuclei."""
        planes = [Plane(pixels, 16, self.pixel_size_um, "crop") for pixels in images]
        return [(plane, find_nuclei(plane.pixels, self.pixel_size_um, self.rule.scale, "nucleus")) for plane in planes]

    @cached_property
    def crops(self) -> list[tuple[Plane, Nuclei]]:
        """The crops with their nuclei."""
        return self.found(self.dataset.images[:, 0])

    @cached_property
    def variants(self) -> dict[str, list]:
        """About `N_FLIPPED` of the crops, as they are ("") and after each change of `flips.CHANGES`."""
        every = max(1, len(self.dataset) // N_FLIPPED)
        chosen = self.dataset.images[::every, 0]
        return {"": self.crops[::every]} | {c: self.found([changed(p, c) for p in chosen]) for c in CHANGES}


@dataclass(frozen=True)
class HeldOut:
    """A test on nuclei that no model was trained on, slide by slide."""

    name: str
    source: str
    slides: tuple[Slide, ...]

    def describe(self) -> dict:
        """Return the facts for the records: those of the slides together."""
        facts = [slide.dataset.describe() for slide in self.slides]
        counts = np.sum([f["counts"] for f in facts], axis=0).tolist()
        n_groups = len(facts) if len(facts) > 1 else facts[0]["groups"]
        return facts[0] | {"name": self.name, "counts": counts, "groups": n_groups}


def records_dir() -> Path:
    """Return the folder of the records of the shipped models' scores."""
    return (files.repository() or files.build_dir()) / "data" / "results" / "checkpoints"


def all_tests(real: Path | None, rule: InputRule) -> list[HeldOut]:
    """Return the tests of the shipped models.

    Parameters
    ----------
    real : Path or None
        Folder with `jurkat/`; without it there is no test on real cells.
    rule : InputRule
        The scale at which nuclei are found; that of all shipped models.
    """
    simulator = f"cellcycle.simulation {SIMULATOR}"
    counts = dict.fromkeys(PHASES, N_TEST_PER_PHASE)
    slides = []
    for number in range(N_TEST_SLIDES):
        parameters, size_px = microscope(number, TEST_SEED)
        made = simulate_nuclei(SLIDE_COUNTS, size_px, TEST_SEED + 1 + number, parameters)
        slides.append(simulated_slide(f"slide{number}", made, rule))
    default = simulated_slide("simulated", simulate_nuclei(counts, 64, TEST_SEED), rule)
    tests = [
        HeldOut("simulated", f"held-out nuclei of {simulator}, default microscope", (default,)),
        HeldOut("slides", f"{simulator}, {N_TEST_SLIDES} microscopes that no model was trained on", tuple(slides)),
    ]
    return tests if real is None else [*tests, HeldOut("jurkat", JURKAT, (jurkat_slide(real, rule),))]


def simulated_slide(name: str, made: SimulatedNuclei, rule: InputRule) -> Slide:
    """Return simulated nuclei as one slide, found at the scale of a rule."""
    identity = f"simulated-{SIMULATOR}-checkpoint-{name}-{len(made.labels)}-{TEST_SEED}"
    ids = np.array([f"{name}-{sample}" for sample in made.truth["sample_id"]])
    dataset = NucleusDataset(name, made.images, made.labels, PHASES, ids, identity, "simulated")
    return Slide(dataset, made.pixel_size_um, rule)


def jurkat_slide(folder: Path, rule: InputRule) -> Slide:
    """Return the Jurkat cells, with the pixel size by which their median nucleus has the models' median area.

    The cells are smaller than those the models know; no label is looked at.
    """
    dataset = load_dataset(folder / "jurkat")
    area_px = measure_crops(dataset.images)["area_px"].median()
    return Slide(dataset, float(np.sqrt(rule.scale.median_area_um2 / area_px)), rule)


def settings_for(checkpoint: Checkpoint, slide: Slide) -> Settings | None:
    """Return the settings for crops of a slide, with its G1 peak, fitted without labels, where the model needs it.

    None where that peak is not usable.
    """
    settings = Settings("nucleus", pixel_size_um=slide.pixel_size_um)
    if not checkpoint.input_rule.needs_anchor:
        return settings
    try:
        return with_g1_peak([nuclei for _, nuclei in slide.crops], False, settings)
    except SettingError as error:
        print(f"{checkpoint.name} on {slide.dataset.name}: {error.finding}", flush=True)
        return None


def predict_slide(checkpoint: Checkpoint, slide: Slide) -> np.ndarray:
    """Return probabilities (N, K) of the crops of a slide; NaN where no nucleus is found or no answer is given."""
    settings = settings_for(checkpoint, slide)
    if settings is None:
        return np.full((len(slide.dataset), len(checkpoint.classes)), np.nan)
    predictor, names = Predictor(checkpoint, settings), [f"p_{c}" for c in checkpoint.classes]
    found = (predictor.call(*crop).columns for crop in slide.crops)
    return np.array([[columns[name][0] for name in names] for columns in found])


def score(checkpoint: Checkpoint, test: HeldOut, root: Path) -> dict:
    """Predict a test, record it, and return the card's entry."""
    started = time.perf_counter()
    scores = np.concatenate([predict_slide(checkpoint, slide) for slide in test.slides])
    seconds = time.perf_counter() - started
    answered = np.isfinite(scores).all(axis=1)
    datasets = [slide.dataset for slide in test.slides]
    truth = np.array(PHASES)[np.concatenate([d.labels for d in datasets])]
    ids = np.concatenate([d.sample_ids for d in datasets])
    groups = np.concatenate([np.full(len(d), d.name) for d in datasets])[answered] if len(datasets) > 1 else None
    table = results.prediction_table(ids[answered], groups, truth[answered], scores[answered], PHASES)
    sizes = [round(slide.pixel_size_um, 5) for slide in test.slides]
    config = {"experiment": "checkpoint", "model": checkpoint.name, "version": checkpoint.version}
    config |= {"weights": checkpoint.card["sha256"]["weights.safetensors"], "pixel_size_um": sizes}
    config |= {"n_folds": 1, "n_repeats": 1}
    facts = {"train_s": 0.0, "predict_s": round(seconds, 2), "n_parameters": None}
    record = results.write_run(root, config, test.describe(), table, **facts)
    return {
        "source": test.source,
        "record": record.folder.name,
        "n": int(answered.sum()),
        "n_without_answer": int((~answered).sum()),
        "pixel_size_um": sizes if len(sizes) > 1 else sizes[0],
        **card_scores(record),
        **card_trust(checkpoint, scores[answered], record.labels, groups),
    }


def card_trust(checkpoint: Checkpoint, scores, labels, groups=None) -> dict:
    """Return how honest calibrated probabilities (N, K) are on cells (N,): calibration error, coverage of the sets."""
    if checkpoint.confidence is None:
        return {}
    sets = prediction_sets(scores, checkpoint.confidence.thresholds)
    covered = coverage_table(sets, labels, checkpoint.classes, groups)["coverage"]
    error = calibration_error(scores, labels, groups)
    return {
        "calibration_error": _rounded(error.value, error.low, error.high),
        "coverage": {name: round(float(value), 4) for name, value in covered.items()},
    }


def _rounded(value, low, high) -> dict:
    return {"value": round(float(value), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def card_scores(record: results.Record) -> dict:
    """Return accuracy, macro F1 and balanced accuracy with intervals, and the recalls, from a record."""
    row = score_table([record], as_trained=True).iloc[0]
    made = {name: _rounded(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in SCORES}
    return made | {"recall": {c: round(float(row[f"recall_{c}"]), 4) for c in record.classes}}


def flip_rates(checkpoint: Checkpoint, tests: list[HeldOut], fields: list[dict]) -> dict:
    """Return how often calls change on simulated fields and on the crops of each test of one slide.

    The default model also tells how often they change where the model of each field is chosen by "auto".
    """
    flips = {"fields": field_flips(fields, Predictor(checkpoint, Settings("field")))}
    if checkpoint.name == DEFAULT:
        flips["fields_auto"] = field_flips(fields, Predictor(AUTO, Settings("field")))
    for test in tests:
        if len(test.slides) > 1:
            continue
        (slide,) = test.slides
        settings = settings_for(checkpoint, slide)
        # Half the light halves the slide's G1 peak too.
        g1 = settings.g1_position and settings.g1_position / 2
        predictor, dimmer = (Predictor(checkpoint, s) for s in (settings, replace(settings, g1_position=g1)))
        flips[test.name] = crop_flips(slide.variants[""], slide.variants, predictor, dimmer)
    return flips


def score_checkpoint(name: str, tests: list[HeldOut], fields: list[dict], root: Path | None = None) -> Checkpoint:
    """Measure scores and flip rates of a shipped model, and write them into its card.

    Parameters
    ----------
    name : str
        Name or folder of the model.
    tests : list of HeldOut
        As `all_tests` gives them.
    fields : list of dict
        As `flips.field_variants` gives them.
    root : Path, optional
        Folder of the records.

    Returns
    -------
    Checkpoint
        Loaded again.
    """
    checkpoint, root = load_checkpoint(name), root or records_dir()
    for record in results.load_runs(root) if root.is_dir() else []:
        if record.config["model"] == checkpoint.name:
            shutil.rmtree(record.folder)
    scores = {test.name: score(checkpoint, test, root) for test in tests}
    scores["fields"] = fields_entry(checkpoint, found_fields(Predictor(checkpoint, Settings("field"))), root)
    flips = flip_rates(checkpoint, tests, fields)
    for test, entry in scores.items():
        print(f"{checkpoint.name} on {test}: balanced accuracy {entry['balanced_accuracy']['value']}", flush=True)
    print(f"{checkpoint.name} flips: {flips}", flush=True)
    write_card(checkpoint.folder, checkpoint.card | {"scores": scores, "flip_rates": flips})
    return load_checkpoint(checkpoint.folder)

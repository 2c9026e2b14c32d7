"""Calibrate and score a checkpoint on slides that it was not trained on, and write the results into its card."""

import shutil
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cellcycle import files, results
from cellcycle.checkpoint import DEFAULT, Checkpoint, load_checkpoint, write_card
from cellcycle.confidence import fit_confidence, measured_nuclei, prediction_sets, with_temperature
from cellcycle.confidence.evaluation import calibration_error, coverage_table
from cellcycle.datasets import NucleusDataset
from cellcycle.evaluate import called
from cellcycle.metrics import Estimate, drawn_by, means_of_shares, no_narrower
from cellcycle.nuclei import Nuclei
from cellcycle.phases import PHASES
from cellcycle.predict import AUTO, Predictor, Settings
from cellcycle.scale import each_crop_of
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.study.shipped import cells
from cellcycle.study.shipped.fields import score_fields
from cellcycle.study.shipped.flips import CHANGES, changed, field_flips
from cellcycle.summaries import confusion, score_table

N_TEST_PER_PHASE = 250
N_TEST_SLIDES = 16
# Number of calibration slides (of each kind) and their seed: microscopes that neither training nor scoring uses.
N_CALIBRATION_SLIDES, CALIBRATION_SEED = 20, 700
# Crops for flip rates. Fewer Jurkat cells show no G1 peak, without which anchored models give no call.
N_FLIPPED = 500
JURKAT = "Jurkat cells that no model learned from, propidium iodide, imaging flow cytometry (part of BBBC048)"


@dataclass(frozen=True)
class Slide:
    """Labelled crops of one slide; their nuclei are found once for all models."""

    dataset: NucleusDataset

    @cached_property
    def nuclei(self) -> list[Nuclei]:
        """The nuclei, one `Nuclei` per crop."""
        return each_crop_of(self.dataset, cells.SCALE)

    @cached_property
    def variants(self) -> dict[str, "Slide"]:
        """About `N_FLIPPED` of the crops, unchanged (key "") and after each of `flips.CHANGES`."""
        chosen = self.dataset.select(np.arange(0, len(self.dataset), max(1, len(self.dataset) // N_FLIPPED)))
        made = {c: np.stack([changed(image[0], c) for image in chosen.images])[:, None] for c in CHANGES}
        return {"": Slide(chosen)} | {c: Slide(replace(chosen, images=images)) for c, images in made.items()}

    def probabilities(self, checkpoint: Checkpoint, calibrated: bool = True) -> np.ndarray:
        """Return a model's probabilities (N, K); NaN if it needs a clear G1 peak and the slide has none."""
        said = called(checkpoint, self.dataset, self.nuclei)
        is_fitted = calibrated and checkpoint.confidence is not None
        return with_temperature(said, checkpoint.confidence.temperature) if is_fitted else said


@dataclass(frozen=True)
class HeldOut:
    """A test on nuclei that no model was trained on, slide by slide."""

    name: str
    source: str
    slides: tuple[Slide, ...]

    def describe(self) -> dict:
        """Return the facts on the data for the record, over all slides."""
        facts = [slide.dataset.describe() for slide in self.slides]
        counts = np.sum([f["counts"] for f in facts], axis=0).tolist()
        n_groups = len(facts) if len(facts) > 1 else facts[0]["groups"]
        return facts[0] | {"name": self.name, "counts": counts, "groups": n_groups}


def records_dir() -> Path:
    """Return the folder of the records of the shipped models' scores."""
    return (files.repository() or files.build_dir()) / "data" / "results" / "checkpoints"


def slides_of(name: str, n_slides: int, seed: int, counts=None, is_wide: bool = False) -> list[Slide]:
    """Return slides of simulated microscopes; by default about with the shares of a growing population.

    `is_wide` draws them from `cells.other_laboratory` instead of `cells.microscope`.
    """
    made, counts = [], counts or cells.SLIDE_COUNTS
    for number in range(n_slides):
        parameters, size_px = (cells.other_laboratory if is_wide else cells.microscope)(number, seed)
        made.append(Slide(cells.simulated_slide(f"{name}{number}", counts, size_px, seed + 1 + number, parameters)))
    return made


def all_tests(real: Path | None) -> list[HeldOut]:
    """Return the tests of the shipped models; one on real cells only if `real`, a folder with `jurkat/`, is given."""
    simulator = f"cellcycle.simulation {SIMULATOR}"
    default = Slide(cells.simulated_slide("simulated", dict.fromkeys(PHASES, N_TEST_PER_PHASE), 64, cells.TEST_SEED))
    others = tuple(slides_of("slide", N_TEST_SLIDES, cells.TEST_SEED))
    wide = tuple(slides_of("laboratory", N_TEST_SLIDES, cells.TEST_SEED, is_wide=True))
    tests = [
        HeldOut("simulated", f"held-out nuclei of {simulator}, default microscope", (default,)),
        HeldOut("slides", f"{simulator}, {N_TEST_SLIDES} microscopes that no model was trained on", others),
        HeldOut(
            "laboratories", f"{simulator}, {N_TEST_SLIDES} other laboratories: few pixels, round or mouse cells", wide
        ),
    ]
    if real is not None:
        jurkat = cells.at_our_size(cells.real_cells("jurkat", real, is_held_out=True))
        tests.append(HeldOut("jurkat", JURKAT, (Slide(jurkat),)))
    return tests


def calibrate(name, slides: list[Slide]) -> Checkpoint:
    """Fit the confidence of a shipped model, write it into its card, and return the model, loaded again."""
    checkpoint = load_checkpoint(name)
    said = np.concatenate([slide.probabilities(checkpoint, calibrated=False) for slide in slides])
    labels = np.concatenate([slide.dataset.labels for slide in slides])
    parts = np.repeat(np.arange(len(slides)), [len(slide.dataset) for slide in slides])
    measured = measured_nuclei([nuclei for slide in slides for nuclei in slide.nuclei])
    answered = np.isfinite(said).all(axis=1)
    measured = {name: values[answered] for name, values in measured.items()}
    source = f"nuclei of cellcycle.simulation {SIMULATOR}, microscopes of their own (seed {CALIBRATION_SEED})"
    fitted = fit_confidence(said[answered], labels[answered], parts[answered], measured, fitted_on=source)
    write_card(checkpoint.folder, checkpoint.card | {"confidence": fitted.to_dict()})
    return load_checkpoint(checkpoint.folder)


def score(checkpoint: Checkpoint, test: HeldOut, root: Path) -> dict:
    """Predict a test, write its record, and return the entry for the card."""
    started = time.perf_counter()
    said = np.concatenate([slide.probabilities(checkpoint) for slide in test.slides])
    seconds = time.perf_counter() - started
    answered = np.isfinite(said).all(axis=1)
    datasets = [slide.dataset for slide in test.slides]
    truth = np.array(PHASES)[np.concatenate([d.labels for d in datasets])]
    ids = np.concatenate([d.sample_ids for d in datasets])
    groups = np.concatenate([np.full(len(d), d.name) for d in datasets])[answered] if len(datasets) > 1 else None
    table = results.prediction_table(ids[answered], groups, truth[answered], said[answered], PHASES)
    sizes = [round(float(d.pixel_sizes_um[0]), 5) for d in datasets]
    config = {"experiment": "checkpoint", "model": checkpoint.name, "version": checkpoint.version}
    config |= {"weights": checkpoint.card["sha256"]["model.onnx"], "pixel_size_um": sizes}
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
        **card_trust(checkpoint, said[answered], record.labels, groups),
    }


def card_trust(checkpoint: Checkpoint, probabilities, labels, groups=None) -> dict:
    """Return calibration error and coverage of the prediction sets for calibrated probabilities (N, K), labels (N,)."""
    if checkpoint.confidence is None:
        return {}
    sets = prediction_sets(probabilities, checkpoint.confidence.thresholds)
    covered = coverage_table(sets, labels, checkpoint.classes, groups)["coverage"]
    error = _rounded(calibration_error(probabilities, labels, drawn_by(groups, labels)))
    return {"calibration_error": error, "coverage": {name: round(float(of), 4) for name, of in covered.items()}}


def _rounded(found: Estimate) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in vars(found).items()}


def card_scores(record: results.Record) -> dict:
    """Return accuracy, macro F1 and balanced accuracy with 95 % intervals, and the recalls, from a record.

    Some records have only six groups, so no interval is made narrower than Wilson's over nuclei.
    """
    row = score_table([record], as_trained=True).iloc[0]
    made = {}
    for name, (shares, n_of) in means_of_shares(confusion(record).to_numpy()).items():
        found = Estimate(*row[[name, f"{name}_low", f"{name}_high"]])
        made[name] = _rounded(no_narrower(found, n_of, shares))
    return made | {"recall": {c: round(float(row[f"recall_{c}"]), 4) for c in record.classes}}


def crop_flips(checkpoint: Checkpoint, variants: dict[str, Slide]) -> dict:
    """Return the fraction of cropped nuclei whose call changes after each of `CHANGES`, and their number (n)."""
    first = variants[""].probabilities(checkpoint)
    answered = np.isfinite(first).all(axis=1)
    if not answered.any():
        # No G1 peak can be fitted to so few crops, so there are no calls.
        return {"n": 0}
    flips: dict = {}
    for change in CHANGES:
        again = variants[change].probabilities(checkpoint)
        is_same = np.isfinite(again).all(axis=1) & (again.argmax(axis=1) == first.argmax(axis=1))
        flips[change] = round(float(1 - is_same[answered].mean()), 4)
    return flips | {"n": int(answered.sum())}


def score_checkpoint(name, tests: list[HeldOut], flipped: list[dict], found: list[tuple], root: Path | None = None):
    """Write scores and flip rates of a shipped model into its card, and return it, loaded again.

    `tests` come from `all_tests`, `flipped` from `flips.field_variants`, `found` from `fields.found_fields`; `root` is
    the folder of the records, in which those of this model are replaced.
    """
    checkpoint, root = load_checkpoint(name), root or records_dir()
    for record in results.load_runs(root):
        if record.config["model"] == checkpoint.name:
            shutil.rmtree(record.folder)
    scores = {test.name: score(checkpoint, test, root) for test in tests}
    record, counts = score_fields(checkpoint, found, root)
    source = f"{len(found)} whole fields of cellcycle.simulation {SIMULATOR}, from file to row; nuclei that were found"
    scores["fields"] = {"source": source, "record": record.folder.name, **counts, **card_scores(record)}
    scores["fields"] |= card_trust(checkpoint, record.probabilities, record.labels, record.units)
    flips = {"fields": field_flips(flipped, Predictor(checkpoint, Settings("field")))}
    if checkpoint.name == DEFAULT:
        flips["fields_auto"] = field_flips(flipped, Predictor(AUTO, Settings("field")))
    flips |= {t.name: crop_flips(checkpoint, t.slides[0].variants) for t in tests if len(t.slides) == 1}
    for test, entry in scores.items():
        print(f"{checkpoint.name} on {test}: balanced accuracy {entry['balanced_accuracy']['value']}", flush=True)
    print(f"{checkpoint.name} flips: {flips}", flush=True)
    write_card(checkpoint.folder, checkpoint.card | {"scores": scores, "flip_rates": flips})
    return load_checkpoint(checkpoint.folder)

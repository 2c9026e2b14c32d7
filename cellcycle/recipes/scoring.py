"""Score a checkpoint through the whole path of prediction, and write the scores into its card."""

import shutil
import time
from pathlib import Path

import numpy as np

from cellcycle import paths, results
from cellcycle.checkpoint import Checkpoint, load_checkpoint, write_card
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.dna_content import fit_g1_peak
from cellcycle.images import Plane
from cellcycle.phases import PHASES
from cellcycle.predict import Predictor, Settings
from cellcycle.recipes.training import TEST_SEED
from cellcycle.segmentation import measure_crops
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.simulation import simulate_nuclei
from cellcycle.summaries import SCORES, score_table

N_TEST_PER_PHASE = 250
N_FLIPPED = 250
JURKAT = "Jurkat cells, propidium iodide, imaging flow cytometry (Blasi et al. 2016; part of BBBC048)"


def records_dir() -> Path:
    """Return the folder of the records of the shipped models' scores."""
    return (paths.repository() or paths.build_dir()) / "data" / "results" / "checkpoints"


def simulated_test(n_per_phase: int = N_TEST_PER_PHASE) -> tuple[NucleusDataset, float]:
    """Return held-out simulated nuclei of the default microscope, and their pixel size in um."""
    made = simulate_nuclei(dict.fromkeys(PHASES, n_per_phase), 64, TEST_SEED)
    identity = f"simulated-{SIMULATOR}-checkpoint-test-{n_per_phase}-{TEST_SEED}"
    names = made.truth["sample_id"].to_numpy(str)
    dataset = NucleusDataset("held-out simulated", made.images, made.labels, PHASES, names, identity, "simulated")
    return dataset, made.pixel_size_um


def real_test(folder: Path, median_area_um2: float) -> tuple[NucleusDataset, float]:
    """Return the Jurkat cells, and the pixel size by which their median nucleus has the model's median area.

    The cells are smaller than those the models know; no label is looked at.
    """
    dataset = load_dataset(folder / "jurkat")
    area_px = measure_crops(dataset.images)["area_px"].median()
    return dataset, float(np.sqrt(median_area_um2 / area_px))


def predictor_for(checkpoint: Checkpoint, dataset: NucleusDataset, pixel_size_um: float) -> Predictor:
    """Return a predictor for crops of one slide; its G1 peak is fitted without labels where the model needs it."""
    g1 = None
    if checkpoint.input_rule.intensity == "g1-peak":
        peak = fit_g1_peak(measure_crops(dataset.images)["integrated_dna"].to_numpy())
        if not peak.is_usable:
            raise ValueError(f"{dataset.name}: {peak.reason}")
        g1 = peak.position
    return Predictor(checkpoint, Settings("nucleus", pixel_size_um=pixel_size_um, g1_position=g1))


def predict_crops(predictor: Predictor, images: np.ndarray) -> np.ndarray:
    """Return probabilities (N, K) of crops (N, 1, H, W), each by itself; NaN where no nucleus is found."""
    columns = [f"p_{c}" for c in predictor.checkpoint.classes]
    tables = [predictor.predict(Plane(image[0], 16, None, "crop")).table for image in images]
    return np.stack([table[columns].to_numpy(float)[0] for table in tables])


def score(checkpoint: Checkpoint, dataset: NucleusDataset, pixel_size_um: float, source: str, root: Path) -> dict:
    """Predict a labelled data set, record it, and return the card's entry."""
    predictor = predictor_for(checkpoint, dataset, pixel_size_um)
    started = time.perf_counter()
    scores = predict_crops(predictor, dataset.images)
    seconds = time.perf_counter() - started
    found = np.isfinite(scores).all(axis=1)
    truth = np.array(dataset.classes)[dataset.labels]
    table = results.prediction_table(dataset.sample_ids[found], None, truth[found], scores[found], dataset.classes)
    config = {"experiment": "checkpoint", "model": checkpoint.name, "version": checkpoint.version}
    config |= {"weights": checkpoint.card["sha256"]["weights.safetensors"], "pixel_size_um": round(pixel_size_um, 5)}
    config |= {"n_folds": 1, "n_repeats": 1}
    facts = {"train_s": 0.0, "predict_s": round(seconds, 2), "n_parameters": None}
    record = results.write_run(root, config, dataset.describe(), table, **facts)
    return {
        "source": source,
        "record": record.folder.name,
        "n": int(found.sum()),
        "n_without_nucleus": int((~found).sum()),
        "pixel_size_um": round(pixel_size_um, 4),
        **card_scores(record),
    }


def card_scores(record: results.Record) -> dict:
    """Return accuracy, macro F1 and balanced accuracy with intervals, and the recalls, from a record."""
    row = score_table([record]).iloc[0]
    made = {
        name: {
            key: round(float(row[name + end]), 4) for key, end in (("value", ""), ("low", "_low"), ("high", "_high"))
        }
        for name in SCORES
    }
    return made | {"recall": {c: round(float(row[f"recall_{c}"]), 4) for c in record.classes}}


def flip_rates(checkpoint: Checkpoint, images: np.ndarray, predictor: Predictor) -> dict:
    """Return the share of nuclei whose call changes when the crop is turned, mirrored or exposed half as long.

    Parameters
    ----------
    checkpoint : Checkpoint
    images : ndarray (N, 1, H, W) float32 in [0, 1]
        Of 16-bit files.
    predictor : Predictor
        As `predictor_for` gives it.

    Returns
    -------
    dict
        turned (90 degrees), mirrored, half_exposed: shares in [0, 1]; a nucleus that is lost counts as flipped.
    """

    def calls(variant, who=predictor):
        scores = predict_crops(who, variant)
        return np.where(np.isfinite(scores[:, 0]), scores.argmax(axis=1), -1)

    counts = np.round(images * 65535).astype(np.uint16)
    halved = (counts // 2).astype(np.float32) / 65535
    dimmer = predictor
    if predictor.settings.g1_position:
        g1 = predictor.settings.g1_position / 2
        settings = Settings("nucleus", pixel_size_um=predictor.settings.pixel_size_um, g1_position=g1)
        dimmer = Predictor(checkpoint, settings)
    first = calls(images)
    found = first >= 0
    variants = {
        "turned": calls(np.rot90(images, axes=(2, 3))),
        "mirrored": calls(images[..., ::-1]),
        "half_exposed": calls(halved, dimmer),
    }
    return {name: round(float((made != first)[found].mean()), 4) for name, made in variants.items()} | {
        "n": int(found.sum())
    }


def score_checkpoint(name: str, real: Path | None, root: Path | None = None) -> Checkpoint:
    """Measure scores and flip rates of a shipped model, and write them into its card.

    Parameters
    ----------
    name : str
        Name or folder of the model.
    real : Path or None
        Folder with `jurkat/`; without it the card has no scores on real cells.
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
    tests = {
        "simulated": (*simulated_test(), f"held-out nuclei of cellcycle.simulation {SIMULATOR}, default microscope")
    }
    if real is not None:
        tests["jurkat"] = (*real_test(real, checkpoint.input_rule.median_area_um2), JURKAT)
    scores, flips = {}, {}
    for key, (dataset, pixel_size_um, source) in tests.items():
        scores[key] = score(checkpoint, dataset, pixel_size_um, source, root)
        predictor = predictor_for(checkpoint, dataset, pixel_size_um)
        every = max(1, len(dataset) // N_FLIPPED)
        flips[key] = flip_rates(checkpoint, dataset.images[::every], predictor)
        print(f"{checkpoint.name} on {key}: {scores[key]['balanced_accuracy']}, flips {flips[key]}", flush=True)
    write_card(checkpoint.folder, checkpoint.card | {"scores": scores, "flip_rates": flips})
    return load_checkpoint(checkpoint.folder)

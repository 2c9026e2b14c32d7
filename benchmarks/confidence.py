"""Evaluate confidence: calibration, coverage, risk, errors caught, strangeness, position in the cycle.

    CELLCYCLE_REAL_DATA=<folder with jurkat/ and mitocheck/> python benchmarks/confidence.py [PART ...]

Parts: real (from the committed records), simulated, strangeness (also of real cells, if given). Writes records of the
predictions and one CSV per question to data/results/confidence, numbers with their 95 % intervals.
Calibration, sets and strangeness are always fitted on other folds or microscopes than those on which they are tested.
"""

import argparse
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from cellcycle import files, results
from cellcycle.checkpoint import ANCHORED, DEFAULT, load_checkpoint
from cellcycle.confidence import (
    COVERAGE,
    LEAST_P_VALUE,
    cycle_positions,
    fit_strangeness,
    prediction_sets,
    shape_features,
)
from cellcycle.confidence.records import Judged, calibration_row, judge
from cellcycle.datasets import NucleusDataset, load_dataset
from cellcycle.datasets.simulated import make_simulated
from cellcycle.metrics import Estimate, bootstrap
from cellcycle.phases import PHASES
from cellcycle.segmentation import measure_crops
from cellcycle.simulation import NAGAO_PARAMETERS, SimulationParameters, simulate_nuclei
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.simulation.scene import Scene, expose, light_per_n, make_slide, sample
from cellcycle.study import experiments
from cellcycle.study.evidence.scores import auc_of
from cellcycle.study.shipped.cells import SLIDE_COUNTS, microscope
from cellcycle.study.shipped.scoring import Slide, records_dir
from cellcycle.study.texts import real_records

# Number and seed of microscopes that neither training nor calibration of the shipped models used.
N_MICROSCOPES, SEED = 12, 5000
KEPT, LEVEL, N_STRANGE = np.round(np.arange(0.5, 1.01, 0.05), 2), 0.9, 150
LATE_M, BASE = ("anaphase", "telophase"), SimulationParameters()


def folder() -> Path:
    """Return the folder for all results: in the checkout's data, or in $CELLCYCLE_OUTPUT."""
    chosen = os.environ.get("CELLCYCLE_OUTPUT")
    return (Path(chosen) if chosen else files.repository() / "data") / "results" / "confidence"


def write(name: str, table: pd.DataFrame, key: tuple[str, ...] = ("cells", "model")) -> None:
    """Write a CSV; existing rows with other values in the columns `key` are kept."""
    file = folder() / f"{name}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        before = pd.read_csv(file)
        is_new = pd.MultiIndex.from_frame(before[list(key)]).isin(pd.MultiIndex.from_frame(table[list(key)]))
        table = pd.concat([before[~is_new], table])
    with files.whole_file(file) as work:
        table.round(4).to_csv(work, index=False)
    print(f"{name}\n{table.round(3).to_string(index=False)}", flush=True)


def mean_of(values, units) -> Estimate:
    """Return the mean of values (N,) with its interval; the bootstrap draws their units (N,)."""
    return bootstrap(lambda weights: np.average(values.astype(float), weights=weights), len(values), units)


def write_judgement(who: dict, judged: Judged) -> None:
    """Write calibration, coverage and risk of one set of predictions to the CSVs."""
    write("calibration", pd.DataFrame([{**who, **calibration_row(judged)}]))
    covered = judged.coverage.reset_index()
    write("coverage", pd.concat([pd.DataFrame([who] * len(covered)), covered.assign(asked=COVERAGE)], axis=1))
    order, units, rows = np.argsort(-judged.sure, kind="stable"), judged.record.units, []
    for share in KEPT:
        kept = order[: round(share * len(order))]
        rows.append({**who, "kept": share, **mean_of(~judged.right[kept], units[kept]).columns("risk")})
    write("risk_coverage", pd.DataFrame(rows))


def real_part() -> None:
    """Evaluate the recorded recipe `best` on Jurkat cells, cross-validated; calibration leaves out one fold each."""
    for record in real_records():
        if record.config["model"] == experiments.BEST["model"]:
            intensity = experiments.intensities_of(record.config).replace("-", " ")
            who = {"cells": "jurkat", "origin": "real", "model": f"best ({intensity}), trained on jurkat"}
            write_judgement(who, judge(record))


def shipped_on_real_part() -> None:
    """Evaluate the shipped models, which were calibrated on simulated nuclei, on Jurkat cells."""
    for model in dict.fromkeys((DEFAULT, ANCHORED)):
        checkpoint = load_checkpoint(model)
        scored = checkpoint.card["scores"].get("jurkat")
        if scored is not None and checkpoint.confidence is not None:
            # The recorded probabilities come from `predict`, so they are calibrated.
            record, fitted = results.read_run(records_dir() / scored["record"]), checkpoint.confidence
            sets = prediction_sets(record.probabilities, fitted.thresholds)
            who = {"cells": "jurkat", "origin": "real", "model": f"{model}, calibrated on simulated nuclei"}
            write_judgement(who, Judged(record, record.probabilities, sets, fitted.temperature))


def unseen_microscope(number: int) -> NucleusDataset:
    """Return nuclei of one simulated microscope, with their truth; simulated once and cached."""
    parameters, size_px = microscope(number, SEED)
    name = f"microscope{number}"
    made = make_simulated(name, SLIDE_COUNTS, size_px, SEED + number, parameters)
    names = np.array([f"{name}_{sample_id}" for sample_id in made.sample_ids])
    return replace(made, sample_ids=names, groups=np.full(len(names), name))


def predictions_of(model: str, slides: list[Slide]) -> results.Record:
    """Predict the nuclei of all microscopes with a shipped model, by all steps of a prediction; return the record."""
    checkpoint = load_checkpoint(model)
    config = {"experiment": "confidence", "model": model, "weights": checkpoint.card["sha256"]["model.onnx"]}
    config |= {"n_folds": 1, "n_repeats": 1}
    records = folder() / "records"
    described = slides[0].dataset.describe() | {"name": "unseen simulated microscopes", "groups": N_MICROSCOPES}
    described |= {"identity": f"simulated-{SIMULATOR}-confidence-{N_MICROSCOPES}-{SEED}"}
    described |= {"counts": [SLIDE_COUNTS[phase] * N_MICROSCOPES for phase in PHASES], "shape": "various"}
    found = results.find_run(records, config, described["identity"])
    if found is not None:
        return found
    for old in results.load_runs(records) if records.is_dir() else []:
        if old.config["model"] == model:
            shutil.rmtree(old.folder)
    tables = []
    for slide in slides:
        dataset, scores = slide.dataset, slide.probabilities(checkpoint, calibrated=False)
        seen = np.isfinite(scores).all(axis=1)
        truth = np.array(PHASES)[dataset.labels]
        parts = (dataset.sample_ids, dataset.groups, truth, scores)
        tables.append(results.prediction_table(*(part[seen] for part in parts), PHASES))
        print(f"{model} on {dataset.name}", flush=True)
    facts = {"train_s": 0.0, "predict_s": 0.0, "n_parameters": None}
    return results.write_run(records, config, described, pd.concat(tables, ignore_index=True), **facts)


def simulated_part(sets) -> None:
    """Evaluate the shipped models, and estimated positions in the cycle, on nuclei of unseen simulated microscopes."""
    truth = pd.concat([d.truth.assign(sample_id=d.sample_ids) for d in sets], ignore_index=True)
    truth["dna_copies"] = np.concatenate([_dna_copies(d) for d in sets])
    truth = truth.set_index("sample_id")
    slides = [Slide(d) for d in sets]
    for model in dict.fromkeys((DEFAULT, ANCHORED)):
        record = predictions_of(model, slides)
        who = {"cells": "unseen simulated microscopes", "origin": "simulated", "model": model}
        judged = judge(record, parts=record.predictions["group"])
        write_judgement(who, judged)
        judge_positions(who, judged.probabilities, truth.loc[record.predictions["sample_id"]], record)


def _dna_copies(dataset: NucleusDataset) -> np.ndarray:
    dna = measure_crops(dataset.images)["integrated_dna"].to_numpy()
    return 2 * dna / np.nanmedian(dna[dataset.labels == PHASES.index("G1")])


def judge_positions(who: dict, scores, truth: pd.DataFrame, record: results.Record) -> None:
    """Write the errors of estimated positions: with DNA content, without it, and by the call alone."""
    rows, in_s = [], record.labels == PHASES.index("S")
    calls = np.eye(len(PHASES))[scores.argmax(axis=1)]
    kinds = {
        "phases and DNA": (scores, truth["dna_copies"].to_numpy()),
        "phases": (scores, None),
        "call alone": (calls, None),
    }
    position, replicated = truth["cycle_position"].to_numpy(), truth["dna_content"].to_numpy() / 2 - 1
    for kind, (given, copies) in kinds.items():
        found = cycle_positions(given, copies, level=LEVEL)
        off = np.abs(found["position"] - position).to_numpy()
        held = ((found["position_low"] <= position) & (position <= found["position_high"])).to_numpy()
        copied = np.abs(found["replicated"] - replicated).to_numpy()
        row = {**who, "from": kind, "n": len(off), "asked": LEVEL}
        for name, values, of in (
            ("mean_error", off, slice(None)),
            ("interval_holds_truth", held, slice(None)),
            ("replicated_error_in_s", copied, in_s),
        ):
            row |= mean_of(values[of], record.units[of]).columns(name)
        row["correlation"] = np.corrcoef(found["position"], position)[0, 1]
        rows.append(row)
    write("position", pd.DataFrame(rows))


def without_nucleus(kind: str, seed: int) -> np.ndarray:
    """Return crops (N, 1, 64, 64) of the default microscope that show debris or nothing."""
    n_px, size_px = round(BASE.field_of_view_um / 0.2), 64
    images = []
    for k in range(N_STRANGE):
        rng, slide = np.random.default_rng([seed, k]), make_slide(seed, k % BASE.n_slides, BASE)
        scene = Scene((n_px, n_px), BASE, focus_step_um=0.1)
        if kind == "debris":
            unit = light_per_n(BASE, BASE.field_of_view_um / size_px) * slide.stain_factor
            scene.place_debris(rng, BASE.field_of_view_um / 2 + rng.normal(0, 0.25, 2), unit)
        light = sample(scene.light(), (size_px, size_px)) + slide.background
        images.append(expose(light, rng, BASE) / np.float32(BASE.full_scale))
    return np.stack(images)[:, None].astype(np.float32)


def features_of(images, pixel_size_um: float) -> np.ndarray:
    """Return the features of strangeness (N, F); NaN, which counts as strange, for a crop without a nucleus."""
    return shape_features(measure_crops(images, pixel_size_um))


def strange_simulated() -> dict[str, np.ndarray]:
    """Return features of simulated pictures that differ from the training nuclei, by kind."""
    counts, made = dict.fromkeys(PHASES, N_STRANGE // 4), {}
    kinds = {"another cell type (HeLa-like, simulated)": NAGAO_PARAMETERS}
    for away_um in (4.0, 6.0, 10.0):
        kinds[f"out of focus by {away_um:.0f} um"] = replace(BASE, defocused_fraction=1.0, defocus_um=away_um)
    for name, parameters in kinds.items():
        nuclei = simulate_nuclei(counts, 64, 79, parameters)
        made[name] = features_of(nuclei.images, nuclei.pixel_size_um)
    for kind in ("debris", "empty"):
        made[kind] = features_of(without_nucleus(kind, 80), BASE.field_of_view_um / 64)
    return made


def strangeness_part(sets, real: Path | None) -> None:
    """Evaluate strangeness: pictures that should be strange against usual nuclei on which it was not fitted."""
    features = np.concatenate([features_of(d.images, d.pixel_size_um) for d in sets])
    labels, parts = (np.concatenate([getattr(d, name) for d in sets]) for name in ("labels", "groups"))
    late = np.concatenate([d.truth["subphase"].isin(LATE_M) for d in sets])
    named = strange_simulated()
    if real is not None:
        named |= real_at_model_scale(real, sets)
    rows = against_usual("simulated", features, labels, parts, late, named)
    if real is not None:
        rows += strange_for_jurkat(real)
    write("strangeness", pd.DataFrame(rows), ("usual", "strange"))


def against_usual(usual: str, features, labels, parts, late, named: dict) -> list[dict]:
    """Return one row per kind of strange picture, and one for late mitoses if none of them were learned."""
    names = np.unique(parts)
    fit, test = np.isin(parts, names[::2]), np.isin(parts, names[1::2])
    learned = fit_strangeness(features[fit], labels[fit], parts[fit])
    rows = [_row(usual, name, learned, strange, features[test]) for name, strange in named.items()]
    early = fit_strangeness(features[fit & ~late], labels[fit & ~late], parts[fit & ~late])
    name = "M of an unseen kind (anaphase, telophase)"
    return [*rows, _row(usual, name, early, features[test & late], features[test & ~late])]


def _row(usual: str, name: str, learned, strange, others) -> dict:
    features, is_strange = np.concatenate([strange, others]), np.arange(len(strange) + len(others)) < len(strange)
    # AUC: the fraction of pairs in which the strange cell is farther from the training cells than the usual one.
    found = bootstrap(auc_of(is_strange, learned.distances(features)), len(features))
    is_flagged = learned.p_values(features) < LEAST_P_VALUE
    shares = {"flagged_strange": is_flagged[is_strange].mean(), "flagged_usual": is_flagged[~is_strange].mean()}
    counts = {"n_strange": len(strange), "n_usual": len(others)}
    return {"usual": usual, "strange": name, **counts, **found.columns("auroc"), **shares}


def real_at_model_scale(real: Path, sets) -> dict[str, np.ndarray]:
    """Return features of real cells, scaled so that their median nucleus has the area of a simulated one."""
    area_um2 = np.nanmedian(np.concatenate([measure_crops(d.images, d.pixel_size_um)["area_um2"] for d in sets]))
    made = {}
    for name in ("jurkat", "mitocheck"):
        dataset = load_dataset(real / name)
        size_um = float(np.sqrt(area_um2 / measure_crops(dataset.images)["area_px"].median()))
        kinds = {"": np.ones(len(dataset), bool)}
        if name == "mitocheck":
            between = dataset.labels == dataset.classes.index("Interphase")
            kinds = {", interphase": between, ", mitosis": ~between}
        made |= {f"real cells ({name}{kind})": features_of(dataset.images[of], size_um) for kind, of in kinds.items()}
    return made


def strange_for_jurkat(real: Path) -> list[dict]:
    """Return rows on pictures that should be strange to a model of real Jurkat cells."""
    jurkat, other = load_dataset(real / "jurkat"), load_dataset(real / "mitocheck")
    late = np.array([any(kind in str(name) for kind in LATE_M) for name in jurkat.sample_ids])
    parts = np.random.default_rng(0).permutation(np.arange(len(jurkat)) % 4)
    # HeLa nuclei are scaled to the size of Jurkat nuclei, so that size alone cannot identify them.
    ratio = measure_crops(jurkat.images)["area_px"].median() / measure_crops(other.images)["area_px"].median()
    rng = np.random.default_rng(1)
    border = np.concatenate([jurkat.images[:, 0, :2].ravel(), jurkat.images[:, 0, -2:].ravel()])
    blurred = ndimage.gaussian_filter(jurkat.images[::10], (0, 0, 3, 3))
    named = {
        "another cell type (mitocheck, HeLa)": features_of(other.images, float(np.sqrt(ratio))),
        "out of focus (blurred by 3 px)": features_of(blurred, 1.0),
        "empty (pixels of the border)": features_of(rng.choice(border, (N_STRANGE, 1, 40, 40)), 1.0),
    }
    return against_usual("jurkat (real)", features_of(jurkat.images, 1.0), jurkat.labels, parts, late, named)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="real, simulated, strangeness; all without any")
    chosen = parser.parse_args().parts or ["real", "simulated", "strangeness"]
    real = Path(os.environ["CELLCYCLE_REAL_DATA"]) if os.environ.get("CELLCYCLE_REAL_DATA") else None
    if "real" in chosen:
        real_part()
        shipped_on_real_part()
    sets = [unseen_microscope(k) for k in range(N_MICROSCOPES)] if {"simulated", "strangeness"} & set(chosen) else []
    if "simulated" in chosen:
        simulated_part(sets)
    if "strangeness" in chosen:
        strangeness_part(sets, real)


if __name__ == "__main__":
    main()

"""Run the shipped models on real cells, as a user would, and write a record of each run."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import files, results
from cellcycle.checkpoint import ANCHORED, DEFAULT, load_checkpoint, shipped_names
from cellcycle.dna_content import phase_likelihoods
from cellcycle.evaluate import are_among, trained_images
from cellcycle.images import read_plane
from cellcycle.phases import PHASES
from cellcycle.predict import AUTO, Settings
from cellcycle.predict.given import Given
from cellcycle.predict.groups import layout
from cellcycle.predict.many import look_first, run_batch, workers_of
from cellcycle.predict.predictor import ModelChoice
from cellcycle.report.numbers import is_spoilt, without_prior
from cellcycle.segmentation import VERSION as SEGMENTATION
from cellcycle.segmentation.finder import DIAMETER_PX, read_card
from cellcycle.splits import marks_of, overlapping
from cellcycle.study.evidence import product as products
from cellcycle.study.evidence.sources import SOURCES, Source, classes_of, pixel_size_um, with_truth
from cellcycle.study.shipped.real import REAL

ROOT = Path("data", "results", "evidence")
# The supervised reference: a random forest that learns from the labels, with the same measurements.
FOREST = "forest"
_SHAPE = ("area_px", "texture", "skewness", "eccentricity", "solidity", "edge_width_px")
_AMOUNTS = ("integrated_dna", "mean_dna")
# Candidates that combine the DNA histogram with the model for pictures: see `product`.
PRODUCTS = {f"product_{which}": which for which in products.PRODUCTS}
_KEPT = ("sample_id", "group", "truth", "call", "prediction_set", "dna_copies", "edu")


def run_board(real: Path, root: Path, fresh: bool = False) -> None:
    """Make the missing record of every source, model and way; remove those made with other settings or weights."""
    for name, source in SOURCES.items():
        images, n_learned = unlearned(source, source.images(real))
        identity = f"{name}-{hashlib.sha256(''.join(map(files.sha256_of, images)).encode()).hexdigest()[:12]}"
        with tempfile.TemporaryDirectory(prefix="cellcycle-") as folder:
            cells = Cells(name, source, images, Path(folder))
            for model, way in ((m, w) for m in (AUTO, *shipped_names(), FOREST, *PRODUCTS) for w in source.ways):
                config = _config(name, model, way)
                if (model == FOREST and not classes_of(name)) or model == name or (model in PRODUCTS and way == "each"):
                    continue
                if not fresh and results.find_run(root, config, identity):
                    continue
                for record in results.load_runs(root):
                    if all(record.config[key] == config[key] for key in ("source", "model", "way")):
                        shutil.rmtree(record.folder)
                table = cells.answers(model, way)
                data = {"name": name, "identity": identity, "classes": list(classes_of(name)), "origin": "real"}
                facts = {"n_images": len(images), "n_learned": n_learned}
                results.write_run(root, config, data, table, **facts)
                print(f"{name}: {model}, {way}: {len(table)} nuclei", flush=True)


def unlearned(source: Source, images: list[Path]) -> tuple[list[Path], int]:
    """Return the images from which no shipped model of the phases learned, and the number of images left out.

    Training images are recognised by their marks, and images that overlap one of them by their pixels. So all models
    are tested on the same cells; a model that learned from all of a source (`REAL`) is not tested there. Fields are
    all returned: only the network that finds nuclei learned from them.
    """
    if source.kind == "field":
        return images, 0
    known = set().union(*(trained_images(load_checkpoint(name)) for name in shipped_names() if name not in REAL))
    pictures = [read_plane(path).pixels[np.newaxis] for path in images]
    part_of, is_known = overlapping(pictures), are_among(marks_of(pictures), known)
    is_out = np.isin(part_of, part_of[is_known])
    return [path for path, out in zip(images, is_out, strict=True) if not out], int(is_out.sum())


def _config(name: str, model: str, way: str) -> dict:
    """Return the settings that identify a record: weights, fitted confidence, and version of the segmentation."""
    names = {AUTO: (DEFAULT, ANCHORED), FOREST: ()}.get(model, (DEFAULT if model in PRODUCTS else model,))
    cards = [load_checkpoint(one).card for one in names]
    trust = hashlib.sha256(json.dumps([card.get("confidence") for card in cards]).encode()).hexdigest()[:12]
    config = {"experiment": "evidence", "source": name, "model": model, "way": way, "confidence": trust}
    config |= {"weights": [card["sha256"]["model.onnx"][:12] for card in cards], "n_folds": 1, "n_repeats": 1}
    config |= {"segmentation": SEGMENTATION, "finder": read_card()["sha256"]["model.onnx"][:12]}
    return config | ({"diameter_px": DIAMETER_PX} if SOURCES[name].kind == "field" else {})


@dataclass(frozen=True)
class Cells:
    """The images of a source. Their nuclei are found once for all models with one scale, and cached in `folder`."""

    name: str
    source: Source
    images: list[Path]
    folder: Path

    @cached_property
    def size_um(self) -> float | None:
        """Side of a pixel in micrometres, if a user would have to state it, else None."""
        return pixel_size_um(self.name, self.images)

    def rows(self, model: str, way: str) -> pd.DataFrame:
        """Return the prediction table of all images, one row per nucleus, with the truth."""
        choice = ModelChoice.of(model)
        settings = Settings(self.source.kind, pixel_size_um=self.size_um)
        scale = choice.default.input_rule.scale
        kept = self.folder / hashlib.sha256(repr(scale).encode()).hexdigest()[:12]
        kept.mkdir(exist_ok=True)
        images = list(map(Given.of, self.images))
        columns, _ = layout(images)
        with workers_of(choice, settings) as do:
            look_first(images, choice, settings, columns, way, do, kept)
            table = pd.concat([prediction.table for prediction in run_batch(images, do)], ignore_index=True)
        return with_truth(self.name, table[table["nucleus_id"].notna()].reset_index(drop=True))

    def answers(self, model: str, way: str) -> pd.DataFrame:
        """Return the columns of a model's, the forest's or a product's predictions that the record keeps."""
        if model == FOREST or model in PRODUCTS:
            return self.forest(way) if model == FOREST else self.product(PRODUCTS[model], way)
        table = self.rows(model, way)
        scores = [column for column in table if column.startswith("p_")]
        return table[[*(c for c in _KEPT if c in table), *scores]].round(4)

    def product(self, which: str, way: str) -> pd.DataFrame:
        """Return the predictions of a product, with the flags that are needed to fit shares."""
        table = without_prior(self.rows(DEFAULT, way))
        copies, is_sound = table["dna_copies"].to_numpy(), ~table["flags"].map(is_spoilt).to_numpy()
        pictured = table[[f"l_{phase}" for phase in PHASES]].to_numpy()
        said = products.product(phase_likelihoods(copies, 2.0, is_sound), pictured, which)
        made = table[["sample_id", "group", "truth", *({"edu"} & {*table}), "dna_copies", "flags"]].copy()
        made["call"] = np.where(said.any(axis=1), np.array(PHASES)[said.argmax(axis=1)], "")
        said = np.where(said.any(axis=1, keepdims=True), said, np.nan)
        return made.assign(**{f"p_{phase}": said[:, k] for k, phase in enumerate(PHASES)}).round(4)

    def forest(self, way: str) -> pd.DataFrame:
        """Return out-of-fold predictions of a random forest that learns from labels, in five stratified folds."""
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        table, classes = self.rows(DEFAULT, way), classes_of(self.name)
        # A single crop has no reference for its amount of DNA.
        columns = [*_SHAPE, *(() if (self.source.kind, way) == ("nucleus", "each") else _AMOUNTS)]
        model = RandomForestClassifier(400, min_samples_leaf=2, class_weight="balanced", random_state=0)
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        codes = table["truth"].map(classes.index)
        said = cross_val_predict(model, table[columns].fillna(-1), codes, cv=folds, method="predict_proba")
        made = table[[c for c in ("sample_id", "group", "truth", "edu") if c in table]].copy()
        made["call"] = np.array(classes)[said.argmax(axis=1)]
        return made.assign(**{f"p_{c}": said[:, k].round(4) for k, c in enumerate(classes)})

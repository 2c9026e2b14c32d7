"""Shipped models that learned from real cells alone: made by `cellcycle train`, as a lab makes its own."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from cellcycle.card import scores_of
from cellcycle.checkpoint import FILES, Checkpoint, load_checkpoint, shipped_dir, write_card
from cellcycle.evaluate import TRAINED_IMAGES
from cellcycle.study.shipped.cells import SOURCES
from cellcycle.train import train

# Folder of classes below the real cells -> arguments of `train`, and facts for the card that no file contains.
REAL = {
    "mitocheck": {
        "arguments": {"intensity": "per-image"},
        "title": "Mitosis by shape",
        "version": "3",
        "source": SOURCES["mitocheck"],
        "licence": "CC BY 4.0, as its training images",
        "limits": (
            "Learned from HeLa cells with H2B-GFP in widefield time-lapse: another cell line, stain or microscope may "
            "fare worse.",
            "Tells interphase from prometaphase, metaphase and anaphase only: no G1, S or G2, and no prophase.",
            "Learned from pictures 64 pixels wide with neighbours in view; other scales are not resampled in fields.",
        ),
    }
}


def train_real(name: str, real: Path, folder: Path | None = None) -> Checkpoint:
    """Train a model of `REAL` on the cells below `real`, and ship it."""
    with tempfile.TemporaryDirectory() as work:
        arguments = {"n_jobs": None, "say": partial(print, flush=True)} | REAL[name]["arguments"]
        made = train(real / name, Path(work) / "made", **arguments)
        return ship(name, made, folder)


def ship(name: str, made: Checkpoint, folder: Path | None = None) -> Checkpoint:
    """Copy a model made by `train` to the shipped ones; add source, licence and limits to its card; return it."""
    known, card, target = REAL[name], made.card, (folder or shipped_dir()) / name
    trained_on = {**card["trained_on"], "origin": "real", "source": known["source"]}
    trained_on["description"] = f"{sum(trained_on['counts'].values())} nuclei: {known['source']}"
    limits = [*known["limits"], *card["limits"]]
    about = {"name": name, "licence": known["licence"], "limits": limits} | {k: known[k] for k in ("title", "version")}
    target.mkdir(parents=True, exist_ok=True)
    for file in (*FILES, TRAINED_IMAGES):
        shutil.copyfile(made.folder / file, target / file)
    held_out = card["scores"]["held_out"]
    source = "the cells it learned from, each called by a model that had not seen it"
    scores = {"held_out": held_out | scores_of(held_out) | {"source": source}}
    write_card(target, card | about | {"trained_on": trained_on, "scores": scores})
    return load_checkpoint(target)

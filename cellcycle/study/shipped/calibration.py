"""Fit how far a checkpoint's calls can be trusted, on slides that neither training nor scoring uses."""

from dataclasses import replace

import numpy as np

from cellcycle.checkpoint import Checkpoint, load_checkpoint, write_card
from cellcycle.confidence import fit_confidence, measured_nuclei
from cellcycle.inputs import InputRule
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.simulation import simulate_nuclei
from cellcycle.study.shipped.scoring import SLIDE_COUNTS, Slide, predict_slide, simulated_slide
from cellcycle.study.shipped.training import microscope

CALIBRATION_SEED = 700
N_SLIDES = 20


def calibration_slides(rule: InputRule, n_slides: int = N_SLIDES, counts=None) -> list[Slide]:
    """Return labelled nuclei of simulated microscopes of their own.

    Parameters
    ----------
    rule : InputRule
        The scale at which nuclei are found; that of all shipped models.
    n_slides : int, optional
    counts : dict of str to int, optional
        Nuclei a phase on each slide; about the shares of a growing population by default.
    """
    slides = []
    for number in range(n_slides):
        parameters, size_px = microscope(number, CALIBRATION_SEED)
        made = simulate_nuclei(counts or SLIDE_COUNTS, size_px, CALIBRATION_SEED + 1 + number, parameters)
        slides.append(simulated_slide(f"calibration{number}", made, rule))
    return slides


def without_confidence(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint that gives the probabilities of its network as they are."""
    return replace(checkpoint, card={k: v for k, v in checkpoint.card.items() if k != "confidence"})


def calibrate(name, slides: list[Slide]) -> Checkpoint:
    """Fit temperature, set thresholds and strangeness of a shipped model, and write them into its card.

    Parameters
    ----------
    name : str
        Name or folder of the model.
    slides : list of Slide
        As `calibration_slides` gives them.

    Returns
    -------
    Checkpoint
        Loaded again.
    """
    checkpoint = load_checkpoint(name)
    raw = without_confidence(checkpoint)
    scores = np.concatenate([predict_slide(raw, slide) for slide in slides])
    labels = np.concatenate([slide.dataset.labels for slide in slides])
    parts = np.repeat(np.arange(len(slides)), [len(slide.dataset) for slide in slides])
    measured = measured_nuclei([nuclei for slide in slides for _, nuclei in slide.crops])
    answered = np.isfinite(scores).all(axis=1)
    fitted = fit_confidence(
        scores[answered],
        labels[answered],
        parts[answered],
        {name: values[answered] for name, values in measured.items()},
        fitted_on=f"nuclei of cellcycle.simulation {SIMULATOR}, microscopes of their own (seed {CALIBRATION_SEED})",
    )
    write_card(checkpoint.folder, checkpoint.card | {"confidence": fitted.to_dict()})
    return load_checkpoint(checkpoint.folder)

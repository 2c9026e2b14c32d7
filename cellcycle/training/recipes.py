"""The recipe `best` of notebook 09, on which `cellcycle train` is based, and the input rules of models."""

from dataclasses import replace

import numpy as np

from cellcycle.card import NETWORK_SETTINGS
from cellcycle.errors import SettingError, check_choice
from cellcycle.grain import GRAIN, GRAIN_AMOUNTS
from cellcycle.inputs import MEASURED, MEASURED_PER_IMAGE, TYPICAL, InputRule, Inputs
from cellcycle.networks import DNA_CONTENT, UPRIGHT, build_network
from cellcycle.nuclei import LEAST_FOR_SCALE, Scale
from cellcycle.scale import brightness
from cellcycle.training.baseline import MEASUREMENTS
from cellcycle.training.parts import device_of

# Arguments of `NetworkClassifier`; notebook 09 measures what each adds. Nuclei of rare classes are repeated, without
# augmentation, until classes are equal. The input rule names the measurements; the study sets its own epochs.
BEST = {
    "network": "nagao4",
    "width": 16,
    "dropout": 0.3,
    "batch_norm": True,
    "views": ("shape", "shape"),
    "turns": UPRIGHT,
    "schedule": "cosine",
    "weight_decay": 1e-2,
    "learning_rate": 1e-3,
    "batch_size": 32,
    "training_set": "D3",
    "copies": 0,
    "epochs": 24,
}
INTENSITIES = ("absolute", "per-image")
# In a field, the border of a crop may not be background, so amounts are measured against the surroundings of a nucleus.
FIELD_MEASURED = (*MEASURED[:4], "integrated_dna", "mean_dna", "dna_copies", "area_over_g1")
# Side of the crop around a nucleus of a field, in diameters of a nucleus of median area.
_MARGIN = 2.2


def inputs_asked(size_px, intensity, start) -> tuple[int, str]:
    """Return side and intensity of the inputs; those of `start`, if a checkpoint is trained further, cannot change."""
    own = {"size_px": 64, "intensity": INTENSITIES[0]}
    if start is not None:
        amounts = start.input_rule.measurements
        # A model without measurements sees absolute intensities.
        is_absolute = not amounts or not {"mean_dna", "dna_copies"}.isdisjoint(amounts)
        own = {"size_px": start.input_rule.size_px, "intensity": INTENSITIES[0 if is_absolute else 1]}
    check_choice("intensity", intensity or own["intensity"], INTENSITIES)
    for name, value in (("size_px", size_px), ("intensity", intensity)):
        if start is not None and value not in (None, own[name]):
            raise SettingError(name, f"{start.name} uses {own[name]}, not {value}", "leave it out")
    return size_px or own["size_px"], intensity or own["intensity"]


def settings_asked(network, epochs, device: str, start) -> dict:
    """Return the arguments of the classifier: `BEST`, changed for real cells; the caller sets epochs that are None."""
    made = BEST | {"views": ("shape",), "moves": True, "epochs": None}
    if DNA_CONTENT in (network, start and start.card["network"]["network"]):
        if start is not None:
            raise SettingError("from_model", f"{DNA_CONTENT} cannot be trained further", "train it anew")
        return {"network": network, "views": ("measured",), "epochs": 1, "device": "cpu"}
    if start is not None:
        if network not in (None, start.card["network"]["network"]):
            raise SettingError("network", f"{start.name} is a {start.card['network']['network']}", "leave it out")
        # A lower learning rate than from scratch keeps what was learned unless the new cells contradict it.
        made |= {k: start.card["network"][k] for k in NETWORK_SETTINGS} | {"learning_rate": 2e-4, "epochs": 10}
    elif network is not None and network != made["network"]:
        made |= {"network": network, "width": None, "dropout": None, "batch_norm": False}
        build_network(network)
    made["epochs"], made["device"] = epochs or made["epochs"], device_of(device)
    return made | {"transforms": ()}


def input_rule(dataset, size_px: int, intensity: str, network: str | None = None) -> InputRule:
    """Return the input rule for a `NucleusDataset`: crops as they are, nuclei of fields cut at one scale."""
    per_image, by_dna = intensity == "per-image", network == DNA_CONTENT
    if by_dna and per_image:
        raise SettingError("intensity", "dna-content compares amounts between images", "leave per-image out")
    # The gates do not read the grain, so pixel sizes do not matter to them.
    finest_um, coarsest_um = (0.0, 0.0) if by_dna else _pixel_sizes(dataset)
    if not dataset.fields:
        measured = (*MEASURED_PER_IMAGE, "picture_dna_over_background") if per_image else (*MEASURED, *GRAIN_AMOUNTS)
        measured = MEASUREMENTS[0] if by_dna else (*measured, *GRAIN)
        side, size_um = dataset.size_px, dataset.pixel_size_um
        crop_um = None if size_um is None else round(side * size_um, 4)
        # Only coarser pixels are a limit: finer ones are resampled, coarser ones lack detail that training showed.
        scale = replace(TYPICAL, coarsest_um=coarsest_um)
        # Crops smaller than `size_px` keep their size.
        return InputRule(min(size_px, side), measurements=measured, scale=scale, crop_px=side, crop_um=crop_um)
    areas = np.concatenate([f.nuclei.measured["area_um2"] for f in dataset.fields])
    median = float(np.median(areas[np.isfinite(areas)]))
    view_um = _MARGIN * np.sqrt(4 * median / np.pi)
    measured = MEASUREMENTS[1] if by_dna else (*(MEASURED[:4] if per_image else FIELD_MEASURED), *GRAIN)
    scale = Scale(median, finest_um=finest_um, coarsest_um=coarsest_um)
    return InputRule(size_px, round(float(view_um / size_px), 5), "painted", measurements=measured, scale=scale)


def as_seen(rule: InputRule, dataset, inputs: Inputs) -> InputRule:
    """Return the rule of a model with the area, brightness and pixel sizes of its training pictures in `scale`.

    `inputs` are those of the rule. The area in px is set for crops as they are; brightness if DNA is compared between
    pictures: its range over fields, or slides of crops, of `LEAST_FOR_SCALE` nuclei or more, else of all nuclei.
    """
    of = dict(zip(inputs.names, inputs.measurements.T, strict=True))
    scale = replace(rule.scale, area_px=0.0, dimmest=0.0, brightest=0.0)
    if scale.coarsest_um and any(more_um := _pixel_sizes(dataset)):
        # A model that is trained further has seen the pixel sizes of both trainings; if its own are unknown, keep that.
        finest_um = min(scale.finest_um, more_um[0])
        scale = replace(scale, finest_um=finest_um, coarsest_um=max(scale.coarsest_um, more_um[1]))
    if rule.crop_px and "area_px" in of:
        # The area was measured at the size of the inputs, so it is scaled to that of the crops.
        scale = replace(scale, area_px=_quantile(of["area_px"], 0.5) * (rule.crop_px / rule.size_px) ** 2)
    if not {"integrated_dna", "area_px"} <= of.keys():
        return replace(rule, scale=scale)
    if found := [f.nuclei for f in dataset.fields]:
        levels = [brightness([own]) for own in found if len(own) >= LEAST_FOR_SCALE] or [brightness(found)]
        return replace(rule, scale=replace(scale, dimmest=min(levels), brightest=max(levels)))
    dna_px, slides, n_of = of["integrated_dna"] / of["area_px"], *np.unique(dataset.anchored_by, return_counts=True)
    parts = [dna_px[dataset.anchored_by == slide] for slide in slides[n_of >= LEAST_FOR_SCALE]] or [dna_px]
    # Picked crops have more bright mitoses and tighter outlines than fields, whose nuclei are dimmer: allow for these.
    low, high = (min(_quantile(part, 0.25) for part in parts), max(_quantile(part, 0.5) for part in parts))
    return replace(rule, scale=replace(scale, dimmest=low, brightest=high))


def _pixel_sizes(dataset) -> tuple[float, float]:
    """Return the finest and the coarsest stated pixel size in um, (0, 0) if no picture states one."""
    stated = dataset.pixel_sizes_um if dataset.stated_um is None else dataset.stated_um
    known = np.empty(0) if stated is None else stated[np.isfinite(stated)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)


def _quantile(values: np.ndarray, share: float) -> float:
    """Return a quantile of the finite values, 0 if there are none."""
    measured = values[np.isfinite(values)]
    return float(np.quantile(measured, share)) if len(measured) else 0.0

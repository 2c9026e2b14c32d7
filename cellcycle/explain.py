"""Explain the calls of a network: saliency maps with the checks that they need, and the measurements behind the calls.

A plausible map proves nothing, because some methods draw the outline of any image. Each map can therefore be compared
with that of a network with random weights, or trained on shuffled labels, with that of another method, and with images
in which the relevant place is known.

Sources: Selvaraju RR et al. Grad-CAM. ICCV (2017); Zeiler MD, Fergus R. Visualizing and understanding
convolutional networks. ECCV (2014), occlusion; Adebayo J et al. Sanity checks for saliency maps. NeurIPS (2018).
Maps of Grad-CAM and occlusion are computed by captum (the extra "study").
"""

import copy
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from sklearn.utils.validation import check_is_fitted
from torch import nn

from cellcycle import metrics
from cellcycle.errors import SettingError, check_choice, check_whole, needing
from cellcycle.inputs import Inputs
from cellcycle.networks import positions_of
from cellcycle.training.augmentation import border_level
from cellcycle.training.classifier import of_shape
from cellcycle.training.loop import seeded

# Side in px of the smallest maps that still show where in a nucleus something lies.
LEAST_MAP_PX = 8
# Largest decrease of a probability that may be only rounding in a network's sums.
_ROUNDING = 1e-5


def grad_cam(classifier, inputs, classes=None) -> np.ndarray:
    """Return Grad-CAM maps (N, H, W): where each image supports a class (N, by default the network's call).

    A map is the positive part of the sum of activations in the deepest layer at least 8 px wide, weighted by their
    gradients on the class's logit; for a network without convolutions, of gradient times input. Maps are scaled to a
    maximum of 1, or all 0. `inputs` are `Inputs` or images (N, C, H, W) for a fitted `NetworkClassifier`.
    """
    attr = _captum()
    given, classes = _checked(classifier, inputs, classes)
    layer_of = {id(network): _map_layer(network, given.shape[2:]) for network in classifier.networks_}

    def of_view(network, inputs, measured):
        layer = layer_of[id(network)]
        options = {"target": classes, "additional_forward_args": (measured,)}
        if layer is None:
            return attr.InputXGradient(network).attribute(inputs.requires_grad_(), **options).sum(dim=1, keepdim=True)
        found = attr.LayerGradCam(network, layer).attribute(inputs, **options)
        return attr.LayerAttribution.interpolate(found, tuple(inputs.shape[2:]), "bilinear")

    return _normalised(_over_views(classifier, given, of_view))


def occlusion(classifier, inputs, classes=None, window_px: int | None = None) -> np.ndarray:
    """Return maps of how much the probability of a class falls if a patch of the image is covered with background.

    Maps and arguments are as in `grad_cam`; a map is 0 where covering raises the probability, and everywhere if no
    patch lowers it by more than rounding. The patch, by default an eighth of the image wide, moves by half its side.
    """
    attr = _captum()
    given, classes = _checked(classifier, inputs, classes)
    widest = given.shape[-1]
    side = max(2, widest // 8) if window_px is None else check_whole("window_px", window_px, 1, widest)

    def of_view(network, inputs, measured):
        def probability(x, m):
            return torch.softmax(network(x, m), dim=1)

        with torch.inference_mode():
            found = attr.Occlusion(probability).attribute(
                inputs,
                sliding_window_shapes=(inputs.shape[1], side, side),
                strides=(inputs.shape[1], max(1, side // 2), max(1, side // 2)),
                baselines=border_level(inputs).expand_as(inputs).contiguous(),
                target=classes,
                additional_forward_args=(measured,),
            )
        return found.mean(dim=1, keepdim=True)

    return _normalised(_over_views(classifier, given, of_view), least=_ROUNDING)


def with_random_weights(classifier, part: str = "all", seed: int = 0):
    """Return a copy of a classifier with random weights in all layers, or only the last (`part` "all" or "head")."""
    check_choice("part", part, ("head", "all"))
    seed = check_whole("seed", seed)
    made = copy.deepcopy(classifier)
    with seeded(seed):
        for network in made.networks_:
            for module in (network.head if part == "head" else network).modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
    return made


def similarity(maps, others) -> np.ndarray:
    """Return the rank correlation (N,) of two maps (N, H, W) per image: 1 for the same order of pixels, 0 for none.

    A constant map gives 0.

    Examples
    --------
    >>> a = np.arange(9.0).reshape(1, 3, 3)
    >>> similarity(a, a**2).tolist(), similarity(a, 0 * a).tolist()
    ([1.0], [0.0])
    """
    ranks = [rankdata(np.reshape(m, (len(m), -1)), axis=1) for m in (maps, others)]
    a, b = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.round(np.divide((a * b).sum(axis=1), spread, out=np.zeros(len(a)), where=spread > 0), 12)


def share_inside(maps, regions) -> np.ndarray:
    """Return the fraction (N,) of the sum of each map (N, H, W) in a region (N, H, W) bool; NaN for an empty map.

    Examples
    --------
    >>> share_inside(np.array([[[3.0, 1.0]]]), np.array([[[True, False]]])).tolist()
    [0.75]
    """
    maps, regions = np.asarray(maps, dtype=np.float64), np.asarray(regions, dtype=bool)
    total = maps.sum(axis=(1, 2))
    inside = (maps * regions).sum(axis=(1, 2))
    return np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)


def plant_marks(images, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images with a small bright spot beside a random half of the nuclei, so that the relevant place is known.

    The half does not depend on phases, so a network can separate it only by the spot. Returns images (N, C, H, W),
    labels (N,), 1 with a spot, and regions (N, H, W) bool: the spot, or its place in images without, and its
    surroundings, a quarter of the side wide.
    """
    rng, (n, _, height, width) = np.random.default_rng(check_whole("seed", seed)), np.shape(images)
    labels = rng.permutation(np.arange(n) % 2).astype(np.int64)
    angle = rng.uniform(0, 2 * np.pi, n)
    centre = np.array([height, width]) / 2 + 0.3 * height * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y[None] - centre[:, 0, None, None], x[None] - centre[:, 1, None, None])
    level = np.quantile(images, 0.99)
    spots = level * np.exp(-((distance / (0.035 * height)) ** 2) / 2) * labels[:, None, None]
    marked = np.clip(images + spots[:, None], 0, 1).astype(np.float32)
    return marked, labels, distance <= 0.125 * height


def what_explains(measured: pd.DataFrame, calls, groups: dict[str, list[str]], units=None, seed=0) -> pd.DataFrame:
    """Return how well groups of measurements reproduce a network's calls, each alone and all without it.

    A random forest learns the calls (not the truth) from the measurements, and is tested on held-out nuclei. `groups`
    maps names to columns of `measured`; missing values become the median. Nuclei of one of the `units` (N,), such as
    slides, stay together in folds and intervals.

    One row per group, and "all": `alone`, the fraction of calls reproduced, and `lost_without`, the decrease without
    the group, each with `_low` and `_high` (95 % interval); for "all" relative to always the most frequent call.
    """
    seed, calls = check_whole("seed", seed), np.unique(np.asarray(calls), return_inverse=True)[1]
    every = [c for columns in groups.values() for c in columns]
    filled = measured[every].fillna(measured[every].median())
    n_classes = calls.max() + 1
    units = np.arange(len(calls)) if units is None else np.asarray(units)
    full = _learned(filled, calls, units, seed)
    most = np.full_like(calls, np.bincount(calls).argmax())
    rows = {}
    for name, columns in {**groups, "all": every}.items():
        alone = full if name == "all" else _learned(filled[columns], calls, units, seed)
        rest = [c for c in every if c not in columns]
        without = _learned(filled[rest], calls, units, seed) if rest else most
        kept = metrics.estimate(metrics.accuracy, calls, alone, n_classes, units)
        lost = metrics.estimate(metrics.accuracy, calls, full, n_classes, units, minus=without)
        rows[name] = kept.columns("alone") | lost.columns("lost_without")
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("measured")


def _learned(table, calls, units, seed: int) -> np.ndarray:
    """Return the calls (N,) of random forests for nuclei on which they were not trained."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GroupKFold, cross_val_predict

    forest = RandomForestClassifier(40, min_samples_leaf=3, random_state=seed)
    folds = GroupKFold(min(3, len(np.unique(units))), shuffle=True, random_state=seed)
    return cross_val_predict(forest, table.to_numpy(), calls, groups=units, cv=folds)


def _captum():
    """Return the module `captum.attr`, imported without its warning that a notebook has no widgets."""
    remedy = "run: pip install 'cellcycle[study]'"
    with needing("maps", "captum is not installed", remedy), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum import attr
    return attr


def _checked(classifier, inputs, classes):
    check_is_fitted(classifier)
    inputs, n_classes = of_shape(classifier, inputs).measured_by(classifier.measurements_), len(classifier.classes_)
    if not len(inputs):
        raise SettingError("inputs", "they hold no image", "give at least one")
    classes = np.asarray(classifier.logits(inputs).argmax(axis=1) if classes is None else classes)
    outside = np.setdiff1d(classes, np.arange(n_classes))
    if outside.size or classes.size not in (1, len(inputs)):
        finding = f"{classes.size} of them for {len(inputs)} images, such as {(*outside, *classes.flat)[0]}"
        raise SettingError("classes", finding, f"give places, 0 to {n_classes - 1}, in the order of `classes_`")
    return inputs, torch.as_tensor(classes.astype(np.int64))


def _over_views(classifier, inputs: Inputs, of_view: Callable) -> np.ndarray:
    """Return the mean (N, H, W) of the maps of all members and of all positions in which the model sees images."""
    model, maps = classifier.model_, []
    given = (inputs.images, inputs.measurements)
    images, measured = (torch.from_numpy(np.require(v, requirements="CW")) for v in given)
    ramps = None if model.encoding is None else model.encoding(measured)
    for position in positions_of(images, model.turns):
        laid = position.upright(images)
        for network, scaling in zip(model.members, model.scalings, strict=True):
            maps.append(position.back(of_view(network, scaling(laid).clone(), ramps).detach()))
    return torch.stack(maps).mean(dim=0)[:, 0].float().numpy()


def _map_layer(network, shape) -> nn.Module | None:
    """Return the deepest layer with maps of at least `LEAST_MAP_PX`, else the first; None without convolutions."""
    if not any(isinstance(module, nn.Conv2d) for module in network.body.modules()):
        return None
    x, found = torch.zeros(1, next(network.parameters()).shape[1], *shape), None
    with torch.inference_mode():
        for layer in network.body:
            x = layer(x)
            if x.ndim == 4 and (found is None or min(x.shape[2:]) >= LEAST_MAP_PX):
                found = layer
    return found


def _normalised(maps: np.ndarray, least: float = 0.0) -> np.ndarray:
    maps = np.maximum(maps, 0)
    top = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, top, out=np.zeros_like(maps), where=top > least)

"""A network with its training recipe as a scikit-learn classifier."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    check_scalar,
    column_or_1d,
)
from torch import nn

from cellcycle.errors import SettingError, check_choice, check_whole
from cellcycle.files import whole_file
from cellcycle.inputs import InputRule, Inputs
from cellcycle.networks import TURNS, Encoding, Model, Network, Scaling, build_network, n_parameters
from cellcycle.training.augmentation import STUDY_TRANSFORMS
from cellcycle.training.balancing import DrawnSet, make_training_set, training_source
from cellcycle.training.loop import Batches, check_device, one_thread, seeded, train_network, under

# Above this size, training images are copied and scaled batch by batch, not all at the start.
_LARGE_BYTES = 2**28
# At most about this many held-out inputs are used for the loss curve during training.
_WATCHED = 1000

SCHEDULES = ("constant", "cosine")


@dataclass(eq=False, repr=False)
class NetworkClassifier(ClassifierMixin, BaseEstimator):
    """Train networks on inputs and labels, and predict class probabilities.

    After `fit` it has `classes_` (K,); `model_`, the `cellcycle.networks.Model` from inputs to logits; `measurements_`,
    the names of the measurements that it reads, by which it finds them in inputs; and `history_`, one row per epoch and
    member: epoch, train_loss, held_out_loss, seconds.

    Parameters
    ----------
    network : str
        A name of `cellcycle.networks.NETWORKS`, built with `width`, `dropout`, `stem_stride` and `batch_norm`.
    views : sequence of {"scaled", "shape"}
        One member per view; their logits are averaged. "scaled": images standardised by the mean and deviation of the
        training set, which keeps DNA content. "shape": each image standardised by its own, which does not depend on
        exposure; the measurements of the inputs join this view.
    training_set : {"D1", "D2", "D3"}
        The given images raw, augmented by `copies` of each with the `transforms`
        (`cellcycle.training.augmentation.STUDY_TRANSFORMS`), or balanced and augmented.
    learning_rate, batch_size, weight_decay
        Of the AdamW optimiser (decoupled weight decay). The defaults are those of the study.
    epochs : int
        One epoch draws as many images as `fit` was given (whole batches), for every training set, so that D1, D2 and
        D3 are compared at the same number of steps. With 0 the weights keep their initial values.
    schedule : {"constant", "cosine"}
    turns : {False, True, "upright"}
        If not False, turn and mirror batches at random in training. Prediction averages the logits of all eight
        positions (True) or lays each image upright, in an eighth of the time: calls do not depend on the orientation.
    moves : bool
        Turn by up to 45 degrees, zoom by up to 10 % and shift by up to 3 % each image at random in training.
    pretrained : path-like or None
        File of `save_network`, of a model with the same body: the initial weights of all layers but the head.
    device : {"cpu", "cuda"}
        "cpu" is the reference.
    seed : int
        Decides weights, augmentation, dropout and the order of images; member k uses `seed` + 1000 k.
    """

    network: str = "nagao6"
    views: tuple[str, ...] = ("scaled",)
    training_set: str = "D3"
    transforms: tuple[str, ...] = STUDY_TRANSFORMS
    copies: int = 3
    learning_rate: float = 5e-4
    batch_size: int = 16
    epochs: int = 20
    weight_decay: float = 0.0
    schedule: str = "constant"
    turns: bool | str = False
    moves: bool = False
    width: int | None = None
    dropout: float | None = None
    stem_stride: int = 1
    batch_norm: bool = False
    pretrained: str | Path | None = None
    device: str = "cpu"
    seed: int = 0

    def fit(self, X, y, start=None, state=None, after_epoch=None, held_out=None, possible=None):
        """Train on `Inputs` (or images (N, C, H, W) float32) with labels `y (N,)`; return self.

        `start` is a fitted classifier of the same network and views: training begins with its scaling and weights, and
        with its head if it knows all classes. `state` is a folder in which the training is saved after each epoch, and
        from which a stopped one is resumed; `after_epoch` is called with the number of epochs done in all members.
        `held_out` are other inputs and their labels: their loss is recorded in the history but decides nothing.
        `possible` (N, K) bool says which of `classes_` each label may stand for, if labels such as "interphase" mean
        one of several; `y` then holds one of them.

        Non-finite pixels and labels and infinite measurements are refused; missing measurements are NaN.
        """
        self._check_settings()
        X = Inputs.of(X)
        y = checked_labels(X, y, possible)
        assert_all_finite(X.images, input_name="X")
        assert_all_finite(X.measurements, input_name="X.measurements", allow_nan=True)
        self.channels_, self.size_px_ = X.shape[1], X.shape[-1]
        self.classes_, codes = np.unique(y, return_inverse=True)
        if start is None:
            scalings, encoding = [Scaling.of(view, X.images) for view in self.views], None
            if X.measurements.shape[1] and "shape" in self.views:
                encoding = Encoding.of(X.measurements, X.is_amount, n_grain=X.n_grain)
            self.measurements_ = () if encoding is None else X.names
        else:
            if self.classes_.dtype.kind != start.classes_.dtype.kind:
                raise SettingError("y", "its classes are not called as those of `start` are", f"use {start.classes_}")
            if np.isin(self.classes_, start.classes_).all():
                # A few corrected cells may lack some of the classes that the model knows.
                self.classes_, codes = start.classes_, np.searchsorted(start.classes_, y)
            scalings, encoding, self.measurements_ = start.model_.scalings, start.model_.encoding, start.measurements_
        X = X.measured_by(self.measurements_)
        members, rows = [], []
        for number, scaling in enumerate(scalings):
            seed, own = self.seed + 1000 * number, encoding if scaling.view == "shape" else None
            with seeded(seed):
                network = self._begin(X.shape[-1], own, start, number)
                batches = self._batches(X, codes, scaling, own, seed, possible)
                rows += train_network(
                    network,
                    batches,
                    self.epochs,
                    self.learning_rate,
                    self.weight_decay,
                    self.schedule,
                    self.device,
                    None if state is None else Path(state) / f"member{number}.safetensors",
                    after_epoch and (lambda epoch, done=number * self.epochs: after_epoch(done + epoch)),
                    held_out and self._watch(held_out, scaling, own, batches.labels),
                )
            members.append(network.cpu())
        self.model_ = Model(members, copy.deepcopy(list(scalings)), copy.deepcopy(encoding), self.turns).eval()
        self.history_ = pd.DataFrame(rows, columns=["epoch", "train_loss", "held_out_loss", "seconds"])
        return self

    def _check_settings(self) -> None:
        check_choice("schedule", self.schedule, SCHEDULES)
        check_scalar(self.views, "views", (tuple, list))
        check_scalar(len(self.views), "the number of views", int, min_val=1)
        for name in ("learning_rate", "weight_decay"):
            check_scalar(getattr(self, name), name, (int, float, np.number), min_val=0)
        # No larger seed, because folds add to it.
        for name, *ends in (("epochs", 0), ("batch_size", 1), ("copies", 0), ("seed", 0, 2**32 - 1)):
            check_whole(name, getattr(self, name), *ends)
        check_choice("turns", self.turns, TURNS)
        check_device(self.device)
        for name in ("moves", "batch_norm"):  # any non-empty text would count as True
            check_scalar(getattr(self, name), name, (bool, np.bool_))

    def restore(self, weights: dict, channels: int, rule: InputRule, n_classes: int):
        """Restore a fitted classifier from weights by name (others are ignored), for labels 0 to K - 1; return self."""
        self._check_settings()
        self.channels_, self.size_px_, self.classes_ = channels, rule.size_px, np.arange(n_classes)
        edges = weights.get("encoding.edges")
        stored = [weights.get(f"encoding.{name}", torch.empty(0)) for name in ("is_amount", "mean", "deviation")]
        encoding = None if edges is None else Encoding(edges.numpy(), *(values.numpy() for values in stored))
        self.measurements_ = () if encoding is None else rule.measurements
        members = [self._network(encoding if view == "shape" else None, rule.size_px) for view in self.views]
        model = Model(members, [Scaling(view) for view in self.views], encoding, self.turns)
        kept = {name: weights[name] for name in model.state_dict()}
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in kept.items()})
        self.model_ = model.eval()
        return self

    def _network(self, encoding: Encoding | None, size_px: int) -> Network:
        """Return the untrained network of a member; `encoding` is that of its measurements, or None."""
        options = {name: getattr(self, name) for name in ("width", "dropout", "stem_stride", "batch_norm")}
        options["n_measurements"] = 0 if encoding is None else encoding.n_outputs
        return build_network(self.network, len(self.classes_), self.channels_, size_px, **options)

    def _begin(self, size_px: int, encoding, start, number: int) -> Network:
        """Return the network of a member before its first step."""
        network = self._network(encoding, size_px)
        if start is not None:
            weights = start.model_.members[number].state_dict()
            if list(start.classes_) != list(self.classes_):
                weights = {k: v for k, v in weights.items() if not k.startswith("head.")}
            network.load_state_dict(weights, strict=False)
        elif self.pretrained is not None:
            _load_body(network, Path(self.pretrained))
        # Channels-last makes the convolutions of a CPU about a quarter faster.
        return network.to(memory_format=torch.channels_last)

    def _batches(self, X: Inputs, codes, scaling, encoding, seed: int, possible=None) -> Batches:
        """Return the batches of a member: the training set in its view, scaled and encoded once for all epochs."""
        if self.device == "cpu" and X.images.nbytes > _LARGE_BYTES:
            source = training_source(codes, self.training_set, self.copies, np.random.default_rng([seed, 3]))
            images = DrawnSet(X.images, source, self.transforms, scaling, seed)
        else:
            made = make_training_set(X.images, codes, self.training_set, self.transforms, self.copies, seed)
            source, images = made.source, scaling(torch.from_numpy(made.images))
        labels = torch.from_numpy(codes[source].astype(np.int64) if possible is None else possible[source])
        ramps = None if encoding is None else encoding(torch.from_numpy(X.measurements[source]))
        # On a GPU all images are copied at once: batches are then drawn, turned and moved there.
        tensors = [None if t is None else t.to(self.device) for t in (images, ramps, labels)]
        n_batches = -(-len(X) // self.batch_size)
        rng = np.random.default_rng([seed, 7])
        return Batches(tensors, self.batch_size, n_batches, rng, bool(self.turns), self.moves)

    def _watch(self, held_out, scaling, encoding, trained_on):
        """Return a function from network to held-out loss, classes weighted as in training; None if no input counts."""
        X, y = of_shape(self, held_out[0]).measured_by(self.measurements_), np.asarray(held_out[1])
        rows = np.flatnonzero(np.isin(y, self.classes_))
        rows = rows[:: -(-len(rows) // _WATCHED) or 1]
        X, codes = X[rows], np.searchsorted(self.classes_, y[rows])
        trained_on = trained_on.cpu().numpy()
        shares = trained_on.sum(0) if trained_on.ndim > 1 else np.bincount(trained_on, minlength=len(self.classes_))
        weights = (shares / np.maximum(np.bincount(codes, minlength=len(shares)), 1))[codes]
        if not weights.any():
            return None
        images = scaling(torch.from_numpy(X.images)).contiguous(memory_format=torch.channels_last)
        truth = torch.from_numpy(codes)
        ramps = None if encoding is None else encoding(torch.from_numpy(X.measurements))
        given = [tensor.split(128) for tensor in (images, ramps) if tensor is not None]

        def loss(network) -> float:
            with torch.inference_mode():
                parts = [network(*(t.to(self.device) for t in part)).float().cpu() for part in zip(*given, strict=True)]
            losses = nn.functional.cross_entropy(torch.cat(parts), truth, reduction="none")
            return float(np.average(losses, weights=weights))

        return loss

    @property
    def networks_(self) -> list[Network]:
        """The trained networks, one per member."""
        check_is_fitted(self)
        return list(self.model_.members)

    def logits(self, X, batch_size: int = 128) -> np.ndarray:
        """Return logits (N, K) float32 of `Inputs` or images (N, C, H, W), of the shape that `fit` was given."""
        check_is_fitted(self)
        X, model = of_shape(self, X).measured_by(self.measurements_), self.model_.to(self.device)
        made = np.empty((len(X), len(self.classes_)), np.float32)
        with one_thread(), torch.inference_mode():
            for begin in range(0, len(X), batch_size):
                part = X[begin : begin + batch_size]
                given = (torch.from_numpy(np.require(v, requirements="CW")) for v in (part.images, part.measurements))
                called = model(*(tensor.to(self.device) for tensor in given))
                made[begin : begin + batch_size] = called.float().cpu().numpy()
        return made

    def predict_proba(self, X) -> np.ndarray:
        """Return probabilities (N, K) float32, columns as `classes_`; NaN for an image with NaN."""
        return torch.softmax(torch.from_numpy(self.logits(X)), dim=1).numpy()

    def predict_log_proba(self, X) -> np.ndarray:
        """Return the logarithms of `predict_proba`."""
        return torch.log_softmax(torch.from_numpy(self.logits(X)), dim=1).numpy()

    def predict(self, X) -> np.ndarray:
        """Return the most probable class (N,) of `Inputs` or images (N, C, H, W), which must be finite."""
        X = Inputs.of(X)
        assert_all_finite(X.images, input_name="X")
        called = self.predict_proba(X).argmax(axis=1)
        return self.classes_[called]

    @property
    def n_parameters_(self) -> int:
        """Number of trained weights."""
        return sum(n_parameters(network) for network in self.networks_)

    def save_network(self, path) -> Path:
        """Write the weights of the whole model as safetensors, for `pretrained`; return the path."""
        from safetensors.torch import save

        check_is_fitted(self)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as work:
            work.write_bytes(save({k: v.contiguous().cpu() for k, v in self.model_.state_dict().items()}))
        return path


def of_shape(fitted, X) -> Inputs:
    """Return `X` as `Inputs`; images of another shape than in training are a `SettingError`."""
    X, expected = Inputs.of(X), (fitted.channels_, fitted.size_px_, fitted.size_px_)
    if X.shape[1:] != expected:
        raise SettingError("X", f"images of shape {X.shape[1:]}", f"give them as in training, {expected}")
    return X


def checked_labels(X: Inputs, y, possible=None) -> np.ndarray:
    """Return labels (N,); refuse empty inputs, another number of labels, and labels that are not finite classes."""
    if not len(X):
        raise SettingError("X", "it holds no images", "give at least one")
    check_consistent_length(X, y, possible)
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    return y


def _load_body(network: Network, file: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise SettingError(file, "not a readable .safetensors file", "give the file that save_network wrote") from error
    try:
        network.body.load_state_dict(under("members.0.body.", weights))
    except RuntimeError as error:
        raise SettingError(file, "weights of another network", "use the same network, width, channels, size") from error

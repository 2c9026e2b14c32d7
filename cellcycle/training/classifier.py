"""A network with its training recipe as a scikit-learn classifier, trained by skorch."""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler

from cellcycle.augmentation import STUDY_TRANSFORMS
from cellcycle.balancing import make_training_set
from cellcycle.errors import SettingError
from cellcycle.images import DatasetScale, standardise
from cellcycle.models import Network, build_network, n_parameters
from cellcycle.segmentation import PiecewiseLinear, nucleus_features
from cellcycle.training.batches import BatchStream, turned

INTENSITIES = ("absolute", "per-image", "measured")
SCHEDULES = ("constant", "cosine")


class NetworkClassifier(ClassifierMixin, BaseEstimator):
    """Train one network on images and labels, and predict phase probabilities.

    Parameters
    ----------
    model : str
        A name of `cellcycle.models.NETWORKS`.
    training_set : {"D1", "D2", "D3"}
        What `fit` makes of the images it is given: raw, augmented, or balanced and augmented.
    transforms : sequence of str
        Transforms of augmented copies; see `cellcycle.augmentation.STUDY_TRANSFORMS`.
    copies : int
        Augmented copies of each image in D2; D3 follows from it.
    intensity : {"absolute", "per-image", "measured"}
        How intensities are standardised: by one mean and spread of all training images, or each image
        by its own. Absolute intensities carry DNA content; per-image ones survive a change of exposure.
        "measured" standardises each image by its own and leaves absolute intensities to the measurements.
    learning_rate : float
        Of the Adam optimiser. Default as the study found it.
    batch_size : int
        Default as the study chose it.
    epochs : int
        One epoch draws as many images as `fit` was given, whatever the training set, so that D1, D2 and
        D3 are compared at the same number of steps.
    weight_decay : float
        Decoupled weight decay (AdamW); 0 is plain Adam.
    schedule : {"constant", "cosine"}
        Of the learning rate over the epochs.
    turns : bool
        Turn and mirror batches at random in training, and average the logits of all eight positions in
        prediction: the call of a nucleus then does not depend on how it lay under the microscope.
    measurements : bool
        Give the head, beside the features of the body, what is measured on the nucleus: area, texture,
        eccentricity, solidity, integrated DNA and brightness, the last two relative to the image's own background
        if the intensity is "per-image"; see `cellcycle.segmentation.nucleus_features`.
    members : int
        Networks trained with different seeds, whose logits are averaged.
    width, dropout, stem_stride, batch_norm
        Passed to `cellcycle.models.build_network`.
    pretrained : path-like or None
        A `.safetensors` file of a network with the same body: its weights start the training, all but
        the head.
    device : str
        "cpu" is the reference; "cuda" where there is a GPU.
    seed : int
        Decides weights, augmentation, dropout and the order of images.

    Attributes
    ----------
    classes_ : (K,) array
    intensity_scale_ : cellcycle.images.DatasetScale
        Of the training images; only under "absolute".
    measurement_encoding_ : cellcycle.segmentation.PiecewiseLinear
        Fitted to the training nuclei.
    networks_ : list of cellcycle.models.Network
        The trained networks, one a member, in evaluation mode.
    history_ : DataFrame
        One row an epoch: epoch, train_loss, seconds.
    """

    def __init__(
        self,
        model="nagao6",
        training_set="D3",
        transforms=STUDY_TRANSFORMS,
        copies=3,
        intensity="absolute",
        learning_rate=5e-4,
        batch_size=16,
        epochs=20,
        weight_decay=0.0,
        schedule="constant",
        turns=False,
        measurements=False,
        members=1,
        width=None,
        dropout=None,
        stem_stride=1,
        batch_norm=False,
        pretrained=None,
        device="cpu",
        seed=0,
    ):
        self.model = model
        self.training_set = training_set
        self.transforms = transforms
        self.copies = copies
        self.intensity = intensity
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.turns = turns
        self.measurements = measurements
        self.members = members
        self.width = width
        self.dropout = dropout
        self.stem_stride = stem_stride
        self.batch_norm = batch_norm
        self.pretrained = pretrained
        self.device = device
        self.seed = seed

    def fit(self, X, y):
        """Train on images `X (N, C, H, W)` float32 in [0, 1] with labels `y (N,)`; return self."""
        self._check_settings()
        X = _checked_images(X)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        if self.intensity == "absolute":
            self.intensity_scale_ = DatasetScale.of(X)
        measured = self.measure(X)
        self.measurement_encoding_ = PiecewiseLinear.of(measured)
        trained = [self._fit_member(X, codes, measured, self.seed + 1000 * m) for m in range(self.members)]
        self.networks_ = [network for network, _ in trained]
        self.history_ = pd.concat([history for _, history in trained], ignore_index=True)
        return self

    def _fit_member(self, X, codes, measured, seed: int):
        """Train one network; return it with its history."""
        made = make_training_set(X, codes, self.training_set, self.transforms, self.copies, seed)
        inputs = self.inputs(made.images, measured[made.source])
        with _one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._build(X.shape[1:], len(self.classes_), inputs["measurements"].shape[1])
            trainer = self._trainer(network, n_batches=-(-len(X) // self.batch_size), seed=seed)
            trainer.fit(inputs, made.labels.astype(np.int64))
        rows = [(row["epoch"], row["train_loss"], row["dur"]) for row in trainer.history]
        return trainer.module_.eval(), pd.DataFrame(rows, columns=["epoch", "train_loss", "seconds"])

    @property
    def network_(self) -> Network:
        """The trained network (the first, where there are several members)."""
        check_is_fitted(self)
        return self.networks_[0]

    def logits(self, X, batch_size: int = 128) -> np.ndarray:
        """Return logits (N, K) float32 of images `X (N, C, H, W)` float32 in [0, 1]."""
        check_is_fitted(self)
        X = _checked_images(X)
        made = np.empty((len(X), len(self.classes_)), np.float32)
        positions = range(8) if self.turns else range(1)
        with _one_thread(), torch.inference_mode():
            for start in range(0, len(X), batch_size):
                part = slice(start, start + batch_size)
                made_of = self.inputs(X[part], self.measure(X[part]))
                images, measured = (torch.from_numpy(made_of[k]).to(self.device) for k in ("images", "measurements"))
                views = [network(turned(images, p), measured) for network in self.networks_ for p in positions]
                made[part] = torch.stack(views).mean(dim=0).float().cpu().numpy()
        return made

    def predict_proba(self, X) -> np.ndarray:
        """Return probabilities (N, K) float32 of images `X (N, C, H, W)`, columns as `classes_`."""
        return torch.softmax(torch.from_numpy(self.logits(X)), dim=1).numpy()

    def predict(self, X) -> np.ndarray:
        """Return the most probable class (N,) of images `X (N, C, H, W)`."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def measure(self, X) -> np.ndarray:
        """Return measurements (N, F) float32 of the nuclei on images `X (N, C, H, W)`; F is 0 without them."""
        if not self.measurements:
            return np.empty((len(X), 0), np.float32)
        return nucleus_features(X, "per-image" if self.intensity == "per-image" else "absolute")

    def inputs(self, images, measured) -> dict[str, np.ndarray]:
        """Return what the networks take: standardised "images" (N, C, H, W), encoded "measurements" (N, F * B)."""
        scaled = self.intensity_scale_.apply(images) if self.intensity == "absolute" else standardise(images)
        return {"images": scaled, "measurements": self.measurement_encoding_.apply(measured)}

    @property
    def n_parameters_(self) -> int:
        """Number of trained weights."""
        check_is_fitted(self)
        return sum(n_parameters(network) for network in self.networks_)

    def save_network(self, file) -> Path:
        """Write the trained weights as safetensors, for `pretrained`; return the path."""
        from safetensors.torch import save_file

        check_is_fitted(self)
        file = Path(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        work = file.with_name(f".unfinished-{file.name}")
        weights = {k: v.contiguous().cpu() for k, v in self.network_.state_dict().items()}
        save_file(weights, work)
        work.replace(file)
        return file

    def _check_settings(self) -> None:
        for option, allowed in (("intensity", INTENSITIES), ("schedule", SCHEDULES)):
            value = getattr(self, option)
            if value not in allowed:
                raise SettingError(option, f"{value!r} is unknown", f"use one of {', '.join(allowed)}")

    def _build(self, shape, n_classes: int, n_measurements: int) -> Network:
        channels, _, size_px = shape
        network = build_network(
            self.model,
            n_classes,
            channels,
            size_px,
            width=self.width,
            dropout=self.dropout,
            stem_stride=self.stem_stride,
            n_measurements=n_measurements,
            batch_norm=self.batch_norm,
        )
        if self.pretrained is not None:
            _load_body(network, Path(self.pretrained))
        # Channels-last makes the convolutions of a CPU about a quarter faster.
        return network.to(memory_format=torch.channels_last)

    def _trainer(self, network: Network, n_batches: int, seed: int) -> NeuralNetClassifier:
        callbacks = []
        if self.schedule == "cosine":
            policy = torch.optim.lr_scheduler.CosineAnnealingLR
            callbacks.append(("schedule", LRScheduler(policy, T_max=self.epochs)))
        return NeuralNetClassifier(
            network,
            criterion=torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=self.weight_decay,
            lr=self.learning_rate,
            batch_size=self.batch_size,
            max_epochs=self.epochs,
            iterator_train=BatchStream,
            iterator_train__n_batches=n_batches,
            iterator_train__rng=np.random.default_rng([seed, 7]),
            iterator_train__turn=self.turns,
            train_split=None,
            callbacks=callbacks,
            callbacks__valid_acc=None,
            callbacks__print_log=None,
            device=self.device,
            verbose=0,
        )


def _checked_images(X) -> np.ndarray:
    X = np.asarray(X, dtype=np.float32)
    if X.ndim != 4 or X.shape[2] != X.shape[3]:
        raise SettingError("X", f"shape {X.shape}", "give images as (N, C, H, W) with H equal to W")
    return X


def _load_body(network: Network, file: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise SettingError(file, "not a readable .safetensors file", "give the file that save_network wrote") from error
    body = {k.removeprefix("body."): v for k, v in weights.items() if k.startswith("body.")}
    try:
        network.body.load_state_dict(body)
    except RuntimeError as error:
        raise SettingError(
            file, "weights of another network", "use the same model, width, channels and size"
        ) from error


@contextlib.contextmanager
def _one_thread():
    """Compute with one thread: sums come out the same on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

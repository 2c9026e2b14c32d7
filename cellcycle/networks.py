"""Networks by name, and the model made of them: everything between an input and its logits.

A network is a `body` that ends in a feature vector and a linear `head` that gives one logit a class, so that
fine-tuning, feature distances and explanation need no special case. A `Model` is one or more trained networks with
the scaling of what they see, the encoding of measurements and the eight positions inside it: they are stored with
its weights and exported with its graph, and nothing is scaled twice in two languages.
"""

import difflib
import re
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from cellcycle.errors import SettingError

RESNET_DEPTHS = (8, 14, 20)
MAX_STAGES = 7
NETWORKS: list[str] = [
    "logistic",
    "nn",
    *(f"resnet{depth}{block}" for depth in RESNET_DEPTHS for block in ("", "-plain")),
    *(f"nagao{stages}" for stages in range(1, MAX_STAGES + 1)),
]
# "scaled": by one mean and deviation of the training images, so that amounts of DNA are seen. "shape": each image by
# its own, which shows form and texture at any exposure; the measurements, which tell amounts, join this view.
VIEWS = ("scaled", "shape")
N_POSITIONS = 8
_LEAST = 1e-6
_REGISTERED: dict[str, Callable] = {}


def register_network(name: str, build: Callable) -> None:
    """Make a network of your own known by name, for training and for loading what was trained.

    Parameters
    ----------
    name : str
    build : callable
        Takes `channels`, `size_px` and the options of `build_network` by keyword; returns the body, a module from
        images (N, channels, size_px, size_px) to features (N, F), and F.

    Examples
    --------
    >>> def tiny(channels, size_px, **options):
    ...     return nn.Sequential(nn.AvgPool2d(size_px // 4), nn.Flatten()), channels * 16
    >>> register_network("tiny", tiny)
    >>> build_network("tiny", n_classes=2)(torch.zeros(3, 1, 64, 64)).shape
    torch.Size([3, 2])
    """
    if name in NETWORKS and name not in _REGISTERED:
        raise SettingError("network", f"{name!r} is taken", "choose another name")
    _REGISTERED[name] = build
    if name not in NETWORKS:
        NETWORKS.append(name)


class Network(nn.Module):
    """A body that turns images (N, C, H, W) into features (N, F), and a linear head: logits (N, K).

    Encoded measurements (N, M) of the nuclei, where the network takes any, pass a hidden layer and join the
    features before the head.
    """

    n_side = 64

    def __init__(self, body: nn.Module, n_features: int, n_classes: int, n_measurements: int = 0):
        super().__init__()
        self.body = body
        self.side = nn.Sequential(nn.Linear(n_measurements, self.n_side), nn.ReLU()) if n_measurements else None
        self.head = nn.Linear(n_features + (self.n_side if n_measurements else 0), n_classes)

    def forward(self, images: torch.Tensor, measurements: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits (N, K) of standardised images (N, C, H, W) and encoded measurements (N, M)."""
        features = self.body(images)
        if self.side is not None:
            features = torch.cat([features, self.side(measurements)], dim=1)
        return self.head(features)


class Scaling(nn.Module):
    """Brings images (N, C, H, W) into a view of `VIEWS`."""

    def __init__(self, view: str, mean: float = 0.0, deviation: float = 1.0):
        super().__init__()
        if view not in VIEWS:
            raise SettingError("views", f"{view!r} is unknown", f"use any of {', '.join(VIEWS)}")
        self.view = view
        if view == "scaled":
            self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
            self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32))

    @classmethod
    def of(cls, view: str, images: np.ndarray) -> "Scaling":
        """Return the view, measured on training images (N, C, H, W); constant images have deviation 1."""
        deviation = float(np.std(images, dtype=np.float64))
        return cls(view, float(np.mean(images, dtype=np.float64)), deviation if deviation > 0 else 1.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return images of the same shape; one without contrast becomes zeros in the view "shape"."""
        if self.view == "scaled":
            return (images - self.mean) / self.deviation
        exact = images.double()
        mean = exact.mean(dim=(1, 2, 3), keepdim=True)
        deviation = (exact - mean).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        # Rounding gives a constant image a deviation of about 1e-9 of its level; that is not contrast.
        is_constant = deviation <= 1e-7 * mean.abs()
        scaled = (exact - mean) / torch.where(is_constant, torch.ones_like(deviation), deviation)
        return torch.where(is_constant, torch.zeros_like(scaled), scaled).float()


class Encoding(nn.Module):
    """Each measurement as a staircase of ramps between its quantiles, so that a network can draw a sharp line anywhere.

    Source: Gorishniy Y, Rubachev I, Babenko A. On Embeddings for Numerical Features in Tabular Deep Learning.
    NeurIPS (2022). A ramp is -1 below its bin and 1 above it; a missing measurement (NaN) counts as the median of the
    training nuclei. Of amounts the logarithm is encoded.

    Parameters
    ----------
    edges : (B + 1, M) float
        Of the bins, the lowest first.
    is_amount : (M,) bool
    """

    def __init__(self, edges, is_amount):
        super().__init__()
        self.register_buffer("edges", torch.as_tensor(np.asarray(edges, dtype=np.float32)))
        self.register_buffer("is_amount", torch.as_tensor(np.asarray(is_amount, dtype=bool)))

    @classmethod
    def of(cls, values: np.ndarray, is_amount, n_bins: int = 16) -> "Encoding":
        """Return the encoding of measurements (N, M), NaN left out, with `n_bins` ramps each.

        Examples
        --------
        >>> encoding = Encoding.of(np.array([[0.0], [1.0], [2.0]], dtype=np.float32), [False], n_bins=2)
        >>> encoding(torch.tensor([[0.5], [2.0], [torch.nan]])).tolist()
        [[0.0, -1.0], [1.0, 1.0], [1.0, -1.0]]
        """
        bare = cls(np.zeros((2, values.shape[1])), is_amount)
        known = bare.logarithms(torch.from_numpy(np.asarray(values, np.float32))).numpy()
        levels = np.linspace(0, 1, n_bins + 1)
        edges = [np.nanquantile(c, levels) if np.isfinite(c).any() else levels for c in known.T]
        return cls(np.array(edges, dtype=np.float32).reshape(-1, n_bins + 1).T, is_amount)

    @property
    def n_outputs(self) -> int:
        """Columns after the encoding."""
        return (self.edges.shape[0] - 1) * self.edges.shape[1]

    def logarithms(self, values: torch.Tensor) -> torch.Tensor:
        """Return measurements (N, M) with amounts as logarithms."""
        return torch.where(self.is_amount, values.double().clamp(min=_LEAST).log().float(), values)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return measurements (N, M) as ramps (N, M * B) in [-1, 1]."""
        low, high, middle = self.edges[:-1], self.edges[1:], self.edges[self.edges.shape[0] // 2]
        known = torch.where(torch.isnan(values), middle, self.logarithms(values))
        ramps = ((known[:, None] - low) / (high - low).clamp(min=_LEAST)).clamp(0, 1) * 2 - 1
        return ramps.transpose(1, 2).flatten(1)


class Model(nn.Module):
    """Trained networks with all that stands between an input and its logits, which are the mean of the members'.

    Parameters
    ----------
    members : sequence of Network
    scalings : sequence of Scaling
        What each member sees.
    encoding : Encoding or None
        Of the measurements, for the members that see the view "shape".
    turns : bool
        Average the logits of all eight positions: the call then does not depend on how a nucleus lay.
    """

    def __init__(self, members, scalings, encoding: Encoding | None = None, turns: bool = False):
        super().__init__()
        self.members, self.scalings = nn.ModuleList(members), nn.ModuleList(scalings)
        self.encoding, self.turns = encoding, turns

    def forward(self, images: torch.Tensor, measurements: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits (N, K) of images (N, C, H, W) in the unit of the input rule and raw measurements (N, M)."""
        ramps = None if self.encoding is None else self.encoding(measurements)
        n_positions = N_POSITIONS if self.turns else 1
        logits = []
        for member, scaling in zip(self.members, self.scalings, strict=True):
            seen = scaling(images)
            views = torch.cat([turned(seen, p) for p in range(n_positions)])
            again = None if ramps is None else ramps.repeat(n_positions, 1)
            logits.append(member(views, again).reshape(n_positions, -1, member.head.out_features).mean(dim=0))
        return torch.stack(logits).mean(dim=0)


def turned(images: torch.Tensor, which: int) -> torch.Tensor:
    """Return images (N, C, H, W) in one of the eight positions of a square: 0 to 3 turned, 4 to 7 mirrored too."""
    made = torch.rot90(images, which % 4, dims=(2, 3))
    return made.flip(3) if which >= 4 else made


def build_network(
    name,
    n_classes=4,
    channels=1,
    size_px=64,
    width=None,
    dropout=None,
    stem_stride=1,
    n_measurements=0,
    batch_norm=False,
) -> Network:
    """Build a network with random weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`: "logistic", "nn", "resnet8" (14, 20; "-plain" without skip paths), "nagao6" (any number of
        stages from 1 to 7), or a registered one.
    n_classes, channels, size_px : int
        Images are (channels, size_px, size_px).
    width : int, optional
        Channels of the first stage (ResNet 16, Nagao 8 by default) or units of the hidden layer (nn: 256).
    dropout : float in [0, 1), optional
        Before the head of "nn" (0 by default) and Nagao (0.5 by default).
    stem_stride : int
        Stride of a ResNet's first convolution; 2 quarters its cost.
    n_measurements : int
        Measurements of each nucleus that join the features before the head.
    batch_norm : bool
        Normalise the channels of a Nagao network over the batch after each convolution; ResNets always do.

    Raises
    ------
    SettingError
        If the name is unknown.
    """
    if name in _REGISTERED:
        options = {"width": width, "dropout": dropout, "stem_stride": stem_stride, "batch_norm": batch_norm}
        body, n_features = _REGISTERED[name](channels=channels, size_px=size_px, **options)
    elif name == "logistic":
        body, n_features = nn.Flatten(), channels * size_px**2
    elif name == "nn":
        body, n_features = _simple(channels * size_px**2, width or 256, dropout or 0.0)
    elif name in NETWORKS and name.startswith("resnet"):
        depth = int(re.search(r"\d+", name).group())
        body, n_features = _resnet(depth, not name.endswith("-plain"), channels, width or 16, stem_stride)
    elif name in NETWORKS:
        body, n_features = _nagao(
            int(name[5:]), channels, size_px, width or 8, 0.5 if dropout is None else dropout, batch_norm
        )
    else:
        near = difflib.get_close_matches(str(name), NETWORKS, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(NETWORKS)}"
        raise SettingError("network", f"{name!r} is unknown", remedy)
    return Network(body, n_features, n_classes, n_measurements)


def _simple(n_inputs: int, width: int, dropout: float) -> tuple[nn.Module, int]:
    hidden = [nn.Linear(n_inputs, width), nn.ReLU(), nn.Linear(width, width // 4), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Dropout(dropout)), width // 4


class _Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation; the skip path, if any, has a 3x3 convolution too."""

    def __init__(self, n_in: int, n_out: int, stride: int, residual: bool):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.skip = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False) if residual else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.main(x)
        return torch.relu(made if self.skip is None else made + self.skip(x))


def _resnet(depth: int, residual: bool, channels: int, width: int, stem_stride: int) -> tuple[nn.Module, int]:
    """Build the CIFAR layout of He et al. (2016): 6n + 2 layers in three stages of width w, 2w, 4w."""
    layers = [nn.Conv2d(channels, width, 3, stem_stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    n_in = width
    for stage in range(3):
        n_out = width * 2**stage
        for block in range((depth - 2) // 6):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(_Block(n_in, n_out, stride, residual))
            n_in = n_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), n_in


def _nagao(
    stages: int, channels: int, size_px: int, width: int, dropout: float, batch_norm: bool
) -> tuple[nn.Module, int]:
    """Build the network of Nagao et al. (2020): stages of convolution, ReLU and pooling, width doubling."""
    # Pooling rounds up, so that no border is lost and small images allow as many stages as large ones.
    side = -(-size_px // 2**stages)
    layers, n_in = [], channels
    for stage in range(stages):
        n_out = width * 2**stage
        layers.append(nn.Conv2d(n_in, n_out, 3, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(n_out)] if batch_norm else []
        layers += [nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        n_in = n_out
    n_hidden = width * 2**stages
    layers += [nn.Flatten(), nn.Linear(n_in * side**2, n_hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers), n_hidden


def n_parameters(network: nn.Module) -> int:
    """Return the number of trained weights of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)

"""Networks by name: logistic regression, a simple neural network, ResNets, Nagao's network, and your own.

A network is a `body` that returns a feature vector and a linear `head` that returns one logit per class, so that
fine-tuning, feature distances and explanation need no special case.
"""

from collections.abc import Callable
from functools import partial
from inspect import signature
from numbers import Real

import torch
from torch import nn

from cellcycle.errors import SettingError, check_choice, check_name, check_whole

# The classical gates: no network, but chosen by name like one.
DNA_CONTENT = "dna-content"
RESNET_DEPTHS = (8, 14, 20)
# Kinds of ResNet blocks: the skip path is a convolution, absent, or the identity.
BLOCKS = ("", "-plain", "-identity")


def register_network(name: str, build: Callable) -> None:
    """Register your own network under a name, for training and for loading trained models.

    `build` takes by keyword those of `channels`, `size_px` and the options of `build_network` that it names. It
    returns the body, a module from images (N, channels, size_px, size_px) to features (N, F), and F. To be saved, the
    body must treat every image alike, with operations that `torch.export` knows.

    Examples
    --------
    >>> def tiny(channels, size_px, **options):
    ...     return nn.Sequential(nn.AvgPool2d(size_px // 4), nn.Flatten()), channels * 16
    >>> register_network("tiny", tiny)
    >>> build_network("tiny", n_classes=2)(torch.zeros(3, 1, 64, 64)).shape
    torch.Size([3, 2])
    """
    check_name("network", name, (*_OURS, DNA_CONTENT))
    NETWORKS[name] = build


class Network(nn.Module):
    """A body that turns images (N, C, H, W) into features (N, F), and a linear head: logits (N, K).

    If the network takes measurements, these, encoded (N, M), pass a hidden layer and join the features before the head.
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


def build_network(
    name: str,
    n_classes: int = 4,
    channels: int = 1,
    size_px: int = 64,
    width: int | None = None,
    dropout: float | None = None,
    stem_stride: int = 1,
    n_measurements: int = 0,
    batch_norm: bool = False,
) -> Network:
    """Build a network with random weights, for images (channels, size_px, size_px).

    The name is one of `NETWORKS`: "logistic", "nn", "resnet8" (14, 20; "-plain" without skip paths, "-identity" with
    skip paths that have no weights), "nagao6" (any number of stages from 1 to 7), or a registered one. `width` is the
    number of channels of the first stage (default: ResNet 16, Nagao 8) or of units of the first hidden layer (nn: 256).
    `dropout` is applied before the head of "nn" (default 0) and Nagao (0.5). A `stem_stride` of 2 reduces the cost of a
    ResNet to a quarter. `n_measurements` of each nucleus join the features before the head. `batch_norm` adds batch
    normalisation after each convolution of a Nagao network; ResNets always have it. An option that a network does not
    take, or an invalid value, is a `SettingError`.
    """
    check_choice("network", name, NETWORKS)
    options = {"width": width, "dropout": dropout, "stem_stride": stem_stride, "batch_norm": batch_norm}
    options = _taken(name, {"channels": channels, "size_px": size_px} | options)
    body, n_features = NETWORKS[name](**options)
    if name not in _OURS:
        _check_body(body, n_features, torch.zeros(2, channels, size_px, size_px))
    # float32, also if torch's default dtype is another.
    return Network(body, n_features, n_classes, n_measurements).float()


def _check_body(body: nn.Module, n_features: int, images: torch.Tensor) -> None:
    """Refuse a body that does not return `n_features` per image."""
    with torch.no_grad():
        found = body.eval()(images)
    body.train()
    if tuple(found.shape) != (len(images), n_features):
        finding = f"its body makes {tuple(found.shape)} of {len(images)} images, and names {n_features} features"
        raise SettingError("network", finding, "return a body that gives (N, F), and F")


def _taken(name: str, options: dict) -> dict:
    """Return the options that a network takes; refuse invalid values, and options that are set but not taken."""
    width, dropout = options["width"], options["dropout"]
    check_whole("size_px", options["size_px"])
    check_whole("width", 1 if width is None else width, 1)
    check_whole("stem_stride", options["stem_stride"], 1)
    if dropout is not None and (not isinstance(dropout, Real) or not 0 <= dropout < 1):
        raise SettingError("dropout", f"{dropout!r} is no share to leave out", "give a number from 0 to below 1")
    if options["batch_norm"] not in (False, True):
        raise SettingError("batch_norm", f"{options['batch_norm']!r} is unknown", "use False or True")
    parameters = signature(NETWORKS[name]).parameters
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for option, default in {"width": None, "dropout": None, "stem_stride": 1, "batch_norm": False}.items():
        if not takes_all and option not in parameters and options[option] != default:
            raise SettingError(option, f"{name} does not take it", "leave it out")
    return {option: value for option, value in options.items() if takes_all or option in parameters}


def _logistic(channels: int, size_px: int) -> tuple[nn.Module, int]:
    return nn.Flatten(), channels * size_px**2


def _simple(channels: int, size_px: int, width: int | None, dropout: float | None) -> tuple[nn.Module, int]:
    width = width or 256
    n_last = max(1, width // 4)
    hidden = [nn.Linear(channels * size_px**2, width), nn.ReLU(), nn.Linear(width, n_last), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Dropout(dropout or 0.0)), n_last


class _Identity(nn.Module):
    """The identity as a skip path; with a stride it takes every other pixel, and added channels are zeros.

    Source: He et al., Deep residual learning for image recognition, CVPR (2016): option A.
    """

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.stride, self.n_new = stride, n_out - n_in

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.n_new))


class _Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation; the skip path is a 3x3 convolution, none, or the identity."""

    def __init__(self, n_in: int, n_out: int, stride: int, kind: str):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.skip = {
            "": lambda: nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
            "identity": lambda: _Identity(n_in, n_out, stride),
            "plain": lambda: None,
        }[kind]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.main(x)
        return torch.relu(made if self.skip is None else made + self.skip(x))


def _resnet(depth, kind: str, channels: int, width: int | None, stem_stride: int) -> tuple[nn.Module, int]:
    """Build the CIFAR layout of He et al. (2016): 6n + 2 layers in three stages of width w, 2w, 4w; `kind` of skip."""
    width = width or 16
    layers = [nn.Conv2d(channels, width, 3, stem_stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    n_in = width
    for stage in range(3):
        n_out = width * 2**stage
        for block in range((depth - 2) // 6):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(_Block(n_in, n_out, stride, kind))
            n_in = n_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), n_in


def _nagao(stages, channels: int, size_px: int, width, dropout, batch_norm: bool) -> tuple[nn.Module, int]:
    """Build the network of Nagao et al. (2020): stages of convolution, ReLU and pooling, width doubling."""
    width, dropout = width or 8, 0.5 if dropout is None else dropout
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


# Functions that build the body of a network, by name; see `register_network`.
NETWORKS: dict[str, Callable] = {
    "logistic": _logistic,
    "nn": _simple,
    **{f"resnet{depth}{block}": partial(_resnet, depth, block[1:]) for depth in RESNET_DEPTHS for block in BLOCKS},
    **{f"nagao{stages}": partial(_nagao, stages) for stages in range(1, 8)},
}
_OURS = tuple(NETWORKS)


def n_parameters(network: nn.Module) -> int:
    """Return the number of trained weights of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)

"""Networks by name: logistic regression, a simple neural network, ResNets, and Nagao's network.

Every network is a `body` that ends in a feature vector and a linear `head` that gives one logit a class,
so that fine-tuning, feature distances and explanation need no special case.
"""

import difflib
import re

import torch
from torch import nn

from cellcycle.errors import SettingError

RESNET_DEPTHS = (8, 14, 20)
MAX_STAGES = 7
NETWORKS: tuple[str, ...] = (
    "logistic",
    "nn",
    *(f"resnet{depth}{block}" for depth in RESNET_DEPTHS for block in ("", "-plain")),
    *(f"nagao{stages}" for stages in range(1, MAX_STAGES + 1)),
)


class Network(nn.Module):
    """A body that turns images (N, C, H, W) into features (N, F), and a linear head: logits (N, K)."""

    def __init__(self, body: nn.Module, n_features: int, n_classes: int):
        super().__init__()
        self.body = body
        self.head = nn.Linear(n_features, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K) of standardised images (N, C, H, W)."""
        return self.head(self.body(images))


def build_network(name, n_classes=4, channels=1, size_px=64, width=None, dropout=None, stem_stride=1) -> Network:
    """Build a network with random weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`: "logistic", "nn", "resnet8" (14, 20; "-plain" without skip paths), "nagao6"
        (any number of stages from 1 to 7).
    n_classes, channels, size_px : int
        Images are (channels, size_px, size_px).
    width : int, optional
        Channels of the first stage (ResNet 16, Nagao 8 by default) or units of the hidden layer (nn: 256).
    dropout : float in [0, 1), optional
        Before the head of "nn" (0 by default) and Nagao (0.5 by default).
    stem_stride : int
        Stride of a ResNet's first convolution; 2 quarters its cost.

    Returns
    -------
    Network

    Raises
    ------
    SettingError
        If the name is unknown.
    """
    if name == "logistic":
        return Network(nn.Flatten(), channels * size_px**2, n_classes)
    if name == "nn":
        return _simple(channels * size_px**2, n_classes, width or 256, dropout or 0.0)
    if name in NETWORKS and name.startswith("resnet"):
        depth = int(re.search(r"\d+", name).group())
        return _resnet(depth, not name.endswith("-plain"), n_classes, channels, width or 16, stem_stride)
    if name in NETWORKS:
        return _nagao(int(name[5:]), n_classes, channels, size_px, width or 8, 0.5 if dropout is None else dropout)
    near = difflib.get_close_matches(str(name), NETWORKS, n=1)
    raise SettingError(
        "model", f"{name!r} is unknown", f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(NETWORKS)}"
    )


def _simple(n_inputs: int, n_classes: int, width: int, dropout: float) -> Network:
    body = nn.Sequential(
        nn.Flatten(),
        nn.Linear(n_inputs, width),
        nn.ReLU(),
        nn.Linear(width, width // 4),
        nn.ReLU(),
        nn.Dropout(dropout),
    )
    return Network(body, width // 4, n_classes)


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


def _resnet(depth: int, residual: bool, n_classes: int, channels: int, width: int, stem_stride: int) -> Network:
    """Build the CIFAR layout of He et al. (2016): 6n + 2 layers in three stages of width w, 2w, 4w."""
    layers = [
        nn.Conv2d(channels, width, 3, stem_stride, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    n_in = width
    for stage in range(3):
        n_out = width * 2**stage
        for block in range((depth - 2) // 6):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(_Block(n_in, n_out, stride, residual))
            n_in = n_out
    return Network(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), n_in, n_classes)


def _nagao(stages: int, n_classes: int, channels: int, size_px: int, width: int, dropout: float) -> Network:
    """Build the network of Nagao et al. (2020): stages of convolution, ReLU and pooling, width doubling."""
    # Pooling rounds up, so that no border is lost and small images allow as many stages as large ones.
    side = -(-size_px // 2**stages)
    layers, n_in = [], channels
    for stage in range(stages):
        n_out = width * 2**stage
        layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        n_in = n_out
    n_hidden = width * 2**stages
    layers += [nn.Flatten(), nn.Linear(n_in * side**2, n_hidden), nn.ReLU(), nn.Dropout(dropout)]
    return Network(nn.Sequential(*layers), n_hidden, n_classes)


def n_parameters(network: nn.Module) -> int:
    """Return the number of trained weights of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)

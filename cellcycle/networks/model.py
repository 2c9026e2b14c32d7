"""The model made of trained networks: all computations from an input to its logits.

Image scaling, encoding of measurements and the eight positions are part of the model. They are stored with its weights
and exported with its graph, so that prediction without torch does not repeat them in other code.
"""

import numpy as np
import torch
from torch import nn

from cellcycle.errors import SettingError
from cellcycle.networks.positions import positions_of

# "scaled": standardised by the mean and deviation of the training images, which keeps amounts of DNA. "shape": each
# image standardised by its own, which shows form and texture at any exposure; measurements, with amounts, join it.
VIEWS = ("scaled", "shape")
_LEAST = 1e-6


class Scaling(nn.Module):
    """Standardises images (N, C, H, W) for one of the `VIEWS`."""

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
        """Return the scaling for a view, fitted to training images (N, C, H, W); a deviation of 0 becomes 1."""
        if view != "scaled":
            return cls(view)
        # In parts, because float64 copies of a large set take twice its memory.
        parts = np.array_split(images, -(-images.nbytes // 2**28) or 1)
        mean = sum(part.sum(dtype=np.float64) for part in parts) / images.size
        deviation = float(np.sqrt(sum(np.square(part - mean).sum() for part in parts) / images.size))
        return cls(view, float(mean), deviation if deviation > 0 else 1.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return images of the same shape; one without contrast becomes zeros in the view "shape"."""
        if self.view == "scaled":
            return (images - self.mean) / self.deviation
        exact = images.double()
        mean = exact.mean(dim=(1, 2, 3), keepdim=True)
        deviation = (exact - mean).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        # Rounding gives a constant image a deviation of about 1e-9 of its level, which is not contrast.
        is_constant = deviation <= 1e-7 * mean.abs()
        scaled = (exact - mean) / torch.where(is_constant, torch.ones_like(deviation), deviation)
        return torch.where(is_constant, torch.zeros_like(scaled), scaled).float()


class Encoding(nn.Module):
    """Piecewise linear encoding of measurements: ramps between quantiles let a network use a sharp threshold anywhere.

    The last G measurements, of the picture's grain, need no sharp threshold: they are standardised by the training
    nuclei and clipped to 3 deviations.

    Source: Gorishniy Y, Rubachev I, Babenko A. On Embeddings for Numerical Features in Tabular Deep Learning.
    NeurIPS (2022). A ramp is -1 below its bin and 1 above it; a missing measurement (NaN) is replaced by the median of
    the training nuclei, one of the grain by their mean. Amounts, `is_amount` (M,) bool, are encoded as logarithms.
    `edges` (B + 1, M) are those of the bins, the lowest first; `mean` and `deviation` (G,) those of the grain.
    """

    def __init__(self, edges, is_amount, mean=(), deviation=()):
        super().__init__()
        if len(mean):
            self.register_buffer("mean", torch.as_tensor(np.asarray(mean, dtype=np.float32)))
            self.register_buffer("deviation", torch.as_tensor(np.asarray(deviation, dtype=np.float32)))
        self.n_grain = len(mean)
        self.register_buffer("edges", torch.as_tensor(np.asarray(edges, dtype=np.float32)))
        self.register_buffer("is_amount", torch.as_tensor(np.asarray(is_amount, dtype=bool)))

    @classmethod
    def of(cls, values: np.ndarray, is_amount, n_bins: int = 16, n_grain: int = 0) -> "Encoding":
        """Return the encoding fitted to measurements (N, M + G), with `n_bins` ramps for each of M, ignoring their NaN.

        Examples
        --------
        >>> encoding = Encoding.of(np.array([[0.0], [1.0], [2.0]], dtype=np.float32), [False], n_bins=2)
        >>> encoding(torch.tensor([[0.5], [2.0], [torch.nan]])).tolist()
        [[0.0, -1.0], [1.0, 1.0], [1.0, -1.0]]
        """
        values, grain = np.split(values, [values.shape[1] - n_grain], axis=1)
        is_amount = is_amount[: values.shape[1]]
        bare = cls(np.zeros((2, values.shape[1])), is_amount)
        known = bare.logarithms(torch.from_numpy(np.asarray(values, np.float32))).numpy()
        levels = np.linspace(0, 1, n_bins + 1)
        edges = [np.nanquantile(c, levels) if np.isfinite(c).any() else levels for c in known.T]
        deviation = np.maximum(np.nanstd(grain, axis=0, dtype=np.float64), _LEAST)
        edges = np.array(edges, dtype=np.float32).reshape(-1, n_bins + 1).T
        return cls(edges, is_amount, np.nanmean(grain, axis=0, dtype=np.float64), deviation)

    @property
    def n_outputs(self) -> int:
        """Number of columns after the encoding."""
        return (self.edges.shape[0] - 1) * self.edges.shape[1] + self.n_grain

    def logarithms(self, values: torch.Tensor) -> torch.Tensor:
        """Return measurements (N, M) with amounts replaced by their logarithms."""
        return torch.where(self.is_amount, values.double().clamp(min=_LEAST).log().float(), values)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return measurements (N, M + G) as ramps in [-1, 1] and grain in [-3, 3], (N, M * B + G)."""
        values, grain = values[:, : self.edges.shape[1]], values[:, self.edges.shape[1] :]
        low, high, middle = self.edges[:-1], self.edges[1:], self.edges[self.edges.shape[0] // 2]
        known = torch.where(torch.isnan(values), middle, self.logarithms(values))
        ramps = ((known[:, None] - low) / (high - low).clamp(min=_LEAST)).clamp(0, 1) * 2 - 1
        ramps = ramps.transpose(1, 2).flatten(1)
        if not self.n_grain:
            return ramps
        grain = torch.where(torch.isnan(grain), self.mean, grain)
        return torch.cat([ramps, ((grain - self.mean) / self.deviation).clamp(-3, 3)], dim=1)


class Model(nn.Module):
    """Trained networks (members) with their scaling and encoding; the logits are the mean over members.

    Each member sees images through its `Scaling`; members with the view "shape" also take the encoded measurements.
    With `turns` True or "upright" calls do not depend on the orientation of a nucleus: True averages the logits of all
    eight positions, which takes eight times as long as laying images "upright".
    """

    def __init__(self, members, scalings, encoding: Encoding | None = None, turns: bool | str = False):
        super().__init__()
        self.members, self.scalings = nn.ModuleList(members), nn.ModuleList(scalings)
        self.encoding, self.turns = encoding, turns

    @property
    def reads_measurements(self) -> bool:
        """Whether any member reads measurements."""
        return self.encoding is not None

    def forward(self, images: torch.Tensor, measurements: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits (N, K) of images (N, C, H, W) in the unit of the input rule and raw measurements (N, M)."""
        ramps = None if self.encoding is None else self.encoding(measurements)
        positions = positions_of(images, self.turns)
        again = None if ramps is None else ramps.repeat(len(positions), 1)
        logits = []
        for member, scaling in zip(self.members, self.scalings, strict=True):
            seen = scaling(images)
            found = member(torch.cat([position.upright(seen) for position in positions]), again)
            logits.append(found.reshape(len(positions), -1, found.shape[1]).mean(dim=0))
        return torch.stack(logits).mean(dim=0)

    def reorder(self, order) -> None:
        """Put the classes in another order (K,)."""
        for member in self.members:
            for values in member.head.parameters():
                values.data = values.data[order]

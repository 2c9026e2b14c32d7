"""The model made of trained networks: everything between an input and its logits.

The scaling of what the networks see, the encoding of measurements and the eight positions are inside it: stored with
its weights and exported with its graph, so that nothing is scaled twice in two languages.
"""

import numpy as np
import torch
from torch import nn

from cellcycle.errors import SettingError
from cellcycle.networks.positions import positions_of

# "scaled": by one mean and deviation of the training images, so that amounts of DNA are seen. "shape": each image by
# its own, which shows form and texture at any exposure; the measurements, which tell amounts, join this view.
VIEWS = ("scaled", "shape")
_LEAST = 1e-6


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
        if view != "scaled":
            return cls(view)
        # In parts, since the numbers of a large set are twice as long here as they are on disk.
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
        # Rounding gives a constant image a deviation of about 1e-9 of its level; that is not contrast.
        is_constant = deviation <= 1e-7 * mean.abs()
        scaled = (exact - mean) / torch.where(is_constant, torch.ones_like(deviation), deviation)
        return torch.where(is_constant, torch.zeros_like(scaled), scaled).float()


class Encoding(nn.Module):
    """Each measurement as a staircase of ramps between its quantiles, so that a network can draw a sharp line anywhere.

    The last ones, of the picture's grain, are many and tell no sharp line: each is its distance from the mean of the
    training nuclei in deviations, at most 3.

    Source: Gorishniy Y, Rubachev I, Babenko A. On Embeddings for Numerical Features in Tabular Deep Learning.
    NeurIPS (2022). A ramp is -1 below its bin and 1 above it; a missing measurement (NaN) counts as the median of the
    training nuclei. Of amounts, `is_amount` (M,) bool, the logarithm is encoded. `edges` (B + 1, M) are those of the
    bins, the lowest first; `mean` and `deviation` (G,) those of the grain.
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
        """Return the encoding of measurements (N, M + G), NaN left out, with `n_bins` ramps each.

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
        deviation = np.maximum(grain.std(axis=0, dtype=np.float64), _LEAST)
        edges = np.array(edges, dtype=np.float32).reshape(-1, n_bins + 1).T
        return cls(edges, is_amount, grain.mean(axis=0, dtype=np.float64), deviation)

    @property
    def n_outputs(self) -> int:
        """Columns after the encoding."""
        return (self.edges.shape[0] - 1) * self.edges.shape[1] + self.n_grain

    def logarithms(self, values: torch.Tensor) -> torch.Tensor:
        """Return measurements (N, M) with amounts as logarithms."""
        return torch.where(self.is_amount, values.double().clamp(min=_LEAST).log().float(), values)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return measurements (N, M + G) as ramps (N, M * B) in [-1, 1] and deviations (N, G)."""
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
    """Trained networks with all that stands between an input and its logits, which are the mean of the members'.

    Each member sees images by its `Scaling`; those that see the view "shape" take the encoded measurements, too. By
    `turns`, one of `positions.TURNS`, calls do not depend on how a nucleus lay: to average the logits of all positions
    (True) takes eight times as long as to lay images "upright".
    """

    def __init__(self, members, scalings, encoding: Encoding | None = None, turns: bool | str = False):
        super().__init__()
        self.members, self.scalings = nn.ModuleList(members), nn.ModuleList(scalings)
        self.encoding, self.turns = encoding, turns

    @property
    def reads_measurements(self) -> bool:
        """Whether any member does."""
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

"""The eight positions of a square: how an image lies, and how it is laid before a model calls it."""

from itertools import product
from typing import NamedTuple

import torch

# What a model does about how a nucleus lay: nothing, call it in all positions and average, or lay it upright first.
UPRIGHT = "upright"
TURNS = (False, True, UPRIGHT)


class Position(NamedTuple):
    """A position: each a bool, or of N images bool (N, 1, 1, 1); of an upright image all are False.

    Upright is an image that is no longer across than down, and whose light trails off more upwards and to the left than
    downwards and to the right: by its second and third moments, in which a pixel counts by the square of what it has
    above the darkest. An image, turned by a right angle or mirrored or not, so becomes the same; one that half a turn
    leaves as it is has no tails, and may become its mirror image instead.
    """

    is_across: bool | torch.Tensor
    is_upside_down: bool | torch.Tensor
    is_mirrored: bool | torch.Tensor

    @classmethod
    def of(cls, images: torch.Tensor) -> "Position":
        """Return how each image (N, C, S, S) lies."""
        light = images.double()
        light = (light - light.amin(dim=(1, 2, 3), keepdim=True)).square().sum(dim=1, keepdim=True)
        down, tail_down = _moments(light.sum(3, keepdim=True))
        across, tail_across = _moments(light.sum(2, keepdim=True).transpose(2, 3))
        is_across = across > down
        first, second = (torch.where(is_across, a, b) for a, b in ((tail_across, tail_down), (tail_down, tail_across)))
        return cls(is_across, first > 0, second > 0)

    def upright(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (N, C, S, S) that lie so upright."""
        images = _changed(images, self.is_across, images.transpose(2, 3))
        images = _changed(images, self.is_upside_down, images.flip(2))
        return _changed(images, self.is_mirrored, images.flip(3))

    def back(self, images: torch.Tensor) -> torch.Tensor:
        """Return upright images (N, C, S, S) as they lay."""
        images = _changed(images, self.is_mirrored, images.flip(3))
        images = _changed(images, self.is_upside_down, images.flip(2))
        return _changed(images, self.is_across, images.transpose(2, 3))


def positions_of(images: torch.Tensor, turns: bool | str) -> list[Position]:
    """Return the positions in which images (N, C, S, S) are called and averaged, by one of `TURNS`."""
    if turns == UPRIGHT:
        return [Position.of(images)]
    return [Position(*way) for way in product((False, True) if turns else (False,), repeat=3)]


def _changed(images: torch.Tensor, is_so: bool | torch.Tensor, into: torch.Tensor) -> torch.Tensor:
    if isinstance(is_so, bool):
        return into if is_so else images
    return torch.where(is_so, into, images)


def _moments(light: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return second and third central moments (N, 1, 1, 1) of profiles (N, 1, S, 1); NaN where all is dark."""
    share = light / light.sum(2, keepdim=True)
    at = torch.arange(light.shape[2], dtype=light.dtype, device=light.device)[:, None]
    away = at - (share * at).sum(2, keepdim=True)
    return (share * away**2).sum(2, keepdim=True), (share * away**3).sum(2, keepdim=True)

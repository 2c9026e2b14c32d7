"""The eight orientations of a square image, and turning images to a standard orientation before a model calls them."""

from itertools import product
from typing import NamedTuple

import torch

# How a model treats the orientation of a nucleus: ignore it, average over all eight, or turn the image upright first.
UPRIGHT = "upright"
TURNS = (False, True, UPRIGHT)


class Position(NamedTuple):
    """The orientation of an image as three flags, each a bool, or bool (N, 1, 1, 1) for N images; upright: all False.

    An image is upright if its light spreads no more horizontally than vertically, and has its longer tails upwards and
    to the left: by second and third moments, with pixels weighted by the square of their intensity above the darkest.
    All right-angle turns and mirror images of an image give the same upright image. An image that a half turn leaves
    unchanged has no tails; it may give its mirror image instead.
    """

    is_across: bool | torch.Tensor
    is_upside_down: bool | torch.Tensor
    is_mirrored: bool | torch.Tensor

    @classmethod
    def of(cls, images: torch.Tensor) -> "Position":
        """Return the orientation of each image (N, C, S, S)."""
        light = images.double()
        light = (light - light.amin(dim=(1, 2, 3), keepdim=True)).square().sum(dim=1, keepdim=True)
        down, tail_down = _moments(light.sum(3, keepdim=True))
        across, tail_across = _moments(light.sum(2, keepdim=True).transpose(2, 3))
        is_across = across > down
        first, second = (torch.where(is_across, a, b) for a, b in ((tail_across, tail_down), (tail_down, tail_across)))
        return cls(is_across, first > 0, second > 0)

    def upright(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (N, C, S, S) in this orientation turned upright."""
        images = _changed(images, self.is_across, images.transpose(2, 3))
        images = _changed(images, self.is_upside_down, images.flip(2))
        return _changed(images, self.is_mirrored, images.flip(3))

    def back(self, images: torch.Tensor) -> torch.Tensor:
        """Return upright images (N, C, S, S) turned back to this orientation."""
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
    """Return second and third central moments (N, 1, 1, 1) of profiles (N, 1, S, 1); NaN if a profile is zero."""
    share = light / light.sum(2, keepdim=True)
    at = torch.arange(light.shape[2], dtype=light.dtype, device=light.device)[:, None]
    away = at - (share * at).sum(2, keepdim=True)
    return (share * away**2).sum(2, keepdim=True), (share * away**3).sum(2, keepdim=True)

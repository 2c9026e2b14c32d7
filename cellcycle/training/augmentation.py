"""The study's five image transforms, for a whole batch at once, with random parameters per image.

Rotation, flips, Gaussian blur, colour jitter and grayscale; no zoom and no crop, because the size of a nucleus tells
its phase. Source: section II-A of the study. A test compares each with torchvision's transform of the same name.
"""

import numpy as np
import torch
from torch import nn

from cellcycle.errors import check_choice

STUDY_TRANSFORMS: tuple[str, ...] = ("rotation", "flips", "blur", "jitter", "grayscale")

# Number of pixels that are altered at once: few enough to stay in the processor's cache.
_PART_PIXELS = 2**19


def warped(images: torch.Tensor, angle, zoom=1.0, shift=0.0, padding_mode: str = "zeros") -> torch.Tensor:
    """Return images (N, C, S, S) turned by `angle (N,)` in radians, then shrunk `zoom` times and shifted.

    Interpolation is bilinear. `zoom` is (N,) or a number, `shift` (N, 2) or a number, in units of half a side.
    """
    side = images.shape[-1]
    matrix = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1) * np.reshape(zoom, (-1, 1))
    matrix = torch.from_numpy(matrix.astype(np.float32).reshape(-1, 2, 2)).to(images.device)
    move = torch.from_numpy(np.broadcast_to(shift, (len(matrix), 2)).astype(np.float32)).to(images.device)
    middles = (2 * torch.arange(side, device=images.device) + 1) / side - 1
    grid = images.new_empty(len(images), side, side, 2)
    for k in (0, 1):
        # Gives the same as `affine_grid` in a tenth of the time.
        across, down = matrix[:, k, :1] * middles, matrix[:, k, 1:] * middles + move[:, k, None]
        torch.add(across[:, None, :], down[:, :, None], out=grid[..., k])
    return nn.functional.grid_sample(images, grid, padding_mode=padding_mode, align_corners=False)


def rotated(images: torch.Tensor, angle) -> torch.Tensor:
    """Return images (N, C, S, S) in [0, 1] turned by `angle (N,)` radians, uncovered corners filled with background.

    The background is the median of an image's border pixels. It is subtracted before the rotation and added again,
    because filling the corners later would leave a dark seam at the old border.
    """
    level = border_level(images)
    return warped(images - level, angle).add_(level).clamp_(0, 1)


def border_level(images: torch.Tensor) -> torch.Tensor:
    """Return the median of the border pixels of images (N, C, H, W): (N, C, 1, 1)."""
    border = torch.cat([images[:, :, 0], images[:, :, -1], images[..., 0], images[..., -1]], dim=2)
    return border.median(dim=2).values[..., None, None]


def blurred(images: torch.Tensor, sigma) -> torch.Tensor:
    """Return images (N, C, H, W) blurred by a Gaussian kernel of 5 x 5 pixels with `sigma (N,)` pixels."""
    weights = np.exp(-0.5 * (np.arange(3)[:, None] / np.asarray(sigma)) ** 2)
    weights /= weights[0] + 2 * weights[1] + 2 * weights[2]
    centre, near, far = torch.from_numpy(weights.astype(np.float32))[:, :, None, None, None]
    images = nn.functional.pad(images, (2, 2, 2, 2), mode="reflect")
    for axis in (2, 3):
        at = [images.narrow(axis, start, images.shape[axis] - 4) for start in range(5)]
        images = (centre * at[2]).addcmul_(near, at[1] + at[3]).addcmul_(far, at[0] + at[4])
    return images


def jittered(images: torch.Tensor, brightness, contrast, saturation, hue) -> torch.Tensor:
    """Return images with brightness, contrast and saturation multiplied by factors, and hue shifted, (N,) each.

    The stain's colour is artificial, so any hue is allowed; brightness carries DNA content and changes little. In
    images of one channel, only brightness and contrast change.
    """
    factors = [torch.from_numpy(np.float32(v))[:, None, None, None] for v in (brightness, contrast, saturation)]
    images = (images * factors[0]).clamp_(0, 1)
    mean = _gray(images).mean(dim=(1, 2, 3), keepdim=True)
    images = mean.lerp(images, factors[1]).clamp_(0, 1)
    if images.shape[1] != 3:
        return images
    # Imported here because it takes as long as torch, and only colour images need it.
    from torchvision.transforms.v2.functional import adjust_hue

    images = _gray(images).lerp(images, factors[2]).clamp_(0, 1)
    return torch.stack([adjust_hue(image, h) for image, h in zip(images, hue, strict=True)])


def _gray(images: torch.Tensor) -> torch.Tensor:
    """Return RGB images as luminance (N, 1, H, W), ITU-R BT.601; images of one channel as they are."""
    if images.shape[1] != 3:
        return images
    red, green, blue = images.split(1, dim=1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def altered(images: torch.Tensor, transforms, rng: np.random.Generator) -> torch.Tensor:
    """Return one random variant of each image (N, C, S, S) float32 in [0, 1], by the named transforms in their order.

    An unknown name is a `SettingError`.
    """
    for name in transforms:
        check_choice("transforms", name, STUDY_TRANSFORMS)
    n, images = len(images), images.clone()
    if "rotation" in transforms:
        images = rotated(images, rng.uniform(-np.pi, np.pi, n))
    for axis in (2, 3) if "flips" in transforms else ():
        chosen = rng.random(n) < 0.5
        images[chosen] = images[chosen].flip(axis)
    if "blur" in transforms:
        chosen = rng.random(n) < 0.5
        images[chosen] = blurred(images[chosen], rng.uniform(0.2, 1.0, chosen.sum()))
    if "jitter" in transforms:
        amounts = [(0.9, 1.1), (0.9, 1.1), (0.7, 1.3), (-0.5, 0.5)]
        images = jittered(images, *(rng.uniform(low, high, n) for low, high in amounts))
    if "grayscale" in transforms:
        chosen = rng.random(n) < 0.5
        images[chosen] = _gray(images[chosen]).expand_as(images[chosen])
    return images


def augment(images, transforms=STUDY_TRANSFORMS, seed: int = 0) -> np.ndarray:
    """Return one random variant of each image (N, C, S, S) float32 in [0, 1]; the same seed gives the same variants."""
    varied = np.array(images, dtype=np.float32)
    augment_rows(varied, np.arange(len(varied)), transforms, seed)
    return varied


def augment_rows(images: np.ndarray, rows: np.ndarray, transforms=STUDY_TRANSFORMS, seed: int = 0) -> None:
    """Replace the images at `rows` (M,) by random variants; `images` are (N, C, S, S) float32 in [0, 1]."""
    rng, step = np.random.default_rng(seed), max(1, _PART_PIXELS // max(1, images[:1].size))
    for begin in range(0, len(rows), step):
        part = rows[begin : begin + step]
        images[part] = altered(torch.from_numpy(images[part]), transforms, rng).numpy()

"""The study's five image transforms, by torchvision.

Rotation, flips, Gaussian blur, colour jitter and grayscale; no zoom and no crop, because the size of a
nucleus tells its phase. Source: section II-A of the study.
"""

import numpy as np
import torch
from torchvision.transforms import v2

from cellcycle.errors import SettingError

STUDY_TRANSFORMS: tuple[str, ...] = ("rotation", "flips", "blur", "jitter", "grayscale")


class RotationOnBackground(torch.nn.Module):
    """Turn an image by any angle; the corners that this uncovers get the image's own background.

    The image is turned above a background of zero: torchvision's own `fill` leaves a dark seam at the old border.
    """

    def __init__(self):
        super().__init__()
        self.rotation = v2.RandomRotation(180, interpolation=v2.InterpolationMode.BILINEAR)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the turned image (C, H, W); the background is the median of the border pixels."""
        border = torch.cat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], dim=1)
        level = border.median(dim=1).values[:, None, None]
        return (self.rotation(image - level) + level).clamp(0, 1)


def compose(transforms=STUDY_TRANSFORMS) -> v2.Compose:
    """Return the named transforms, in the order of `STUDY_TRANSFORMS`, as one; an unknown name is a `SettingError`.

    It takes and gives one float image (C, H, W) in [0, 1].
    """
    unknown = [t for t in transforms if t not in STUDY_TRANSFORMS]
    if unknown:
        raise SettingError("transforms", f"{unknown[0]!r} is unknown", f"use any of {', '.join(STUDY_TRANSFORMS)}")
    made = {
        "rotation": [RotationOnBackground()],
        "flips": [v2.RandomHorizontalFlip(0.5), v2.RandomVerticalFlip(0.5)],
        "blur": [v2.RandomApply([v2.GaussianBlur(kernel_size=5, sigma=(0.2, 1.0))], p=0.5)],
        # The stain colour is artificial, so hue may become anything; brightness carries DNA content and
        # moves little. On one-channel images only brightness and contrast change.
        "jitter": [v2.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.3, hue=0.5)],
        "grayscale": [v2.RandomGrayscale(p=0.5)],
    }
    chosen = [step for name in STUDY_TRANSFORMS if name in transforms for step in made[name]]
    return v2.Compose(chosen or [v2.Identity()])


def augment(images, transforms=STUDY_TRANSFORMS, seed: int = 0) -> np.ndarray:
    """Return one random variant of each image (N, C, H, W) float32 in [0, 1]; the same seed gives the same variants."""
    images = np.asarray(images, dtype=np.float32)
    varied = np.empty_like(images)
    transform = compose(transforms)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for i, image in enumerate(images):
            varied[i] = transform(torch.from_numpy(image)).numpy()
    return varied

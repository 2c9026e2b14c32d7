"""Fields with outlined nuclei for training the network that finds nuclei, and random distorted crops of them."""

import math
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage.transform import resize
from torch.nn import functional

from cellcycle.images import list_images, read_plane
from cellcycle.segmentation.finder import SCALES, resampled, typical_diameter
from cellcycle.segmentation.regions import boxes_of
from cellcycle.simulation import SimulationParameters, simulate_field

CROP_PX = 128
# Diameter in px of a typical nucleus in training; crops vary around it in size, which includes `finder.DIAMETER_PX`.
TRAINED_PX = 15.0
N_SIMULATED, N_DRAWN, SIMULATED_SHARE, SEED = 160, 60, 0.2, 5000
# Range of random zoom factors of crops: the estimate of the size of nuclei, by which fields are scaled, may be wrong.
_SIZES = (0.58, 1.7)
_Y, _X = torch.meshgrid(*2 * [torch.arange(CROP_PX) - CROP_PX / 2 + 0.5], indexing="ij")


@dataclass(frozen=True, eq=False)
class OutlinedField:
    """A field with its nuclei: pixels (H, W) float32, labels (H, W) int with 0 for background, and its kind."""

    name: str
    kind: str
    pixels: np.ndarray
    labels: np.ndarray


def real_fields(root: Path) -> list[OutlinedField]:
    """Read `fields` and `fields_more` of the real data; similar fields, e.g. of one slide, get the same kind."""
    import tifffile

    made = []
    for folder in (root / "fields", root / "fields_more"):
        for file in list_images(folder / "images"):
            labels = tifffile.imread(folder / "labels" / f"{file.stem}.tif").astype(np.int32)
            made.append(OutlinedField(file.stem, "", read_plane(file).pixels.astype(np.float32), labels))
    return [replace(field, kind=f"kind{k:02d}") for field, k in zip(made, _kinds(made), strict=True)]


def _kinds(fields: list[OutlinedField]) -> np.ndarray:
    """Return a cluster number (N,) of each field, by its size, brightness and noise, and size and number of nuclei."""
    from sklearn.cluster import AgglomerativeClustering

    rows = []
    for field in fields:
        outside = field.labels == 0
        noise = (field.pixels - ndimage.gaussian_filter(field.pixels, 1))[outside].std()
        levels = [np.log1p(255 * np.median(field.pixels[part])) for part in (outside, ~outside)]
        areas = np.bincount(field.labels.ravel())[1:]
        areas = areas[areas > 0]
        size, crowding = 1.5 * np.log(np.median(np.sqrt(4 / np.pi * areas))), 0.5 * len(areas) ** 0.25
        rows.append([10 * np.log(outside.size), size, *levels, np.log(255 * noise + 0.2), crowding])
    return AgglomerativeClustering(None, distance_threshold=0.42, linkage="average").fit_predict(np.array(rows))


def simulated_fields(n: int = N_SIMULATED, first: int = 0) -> list[OutlinedField]:
    """Simulate fields that differ in pixel size, crowding, sharpness, noise, debris and evenness of light."""
    return [_simulated(number) for number in range(first, first + n)]


def _simulated(number: int) -> OutlinedField:
    rng, base = np.random.default_rng([77, number]), SimulationParameters()
    pixel_um = math.exp(rng.uniform(math.log(0.2), math.log(1.1)))
    side = int(min(420, 220 / pixel_um**0.7 + 80))
    per_mm2 = math.exp(rng.uniform(math.log(300), math.log(3500)))
    parameters = replace(
        base,
        pixel_size_um=pixel_um,
        camera_field_um=side * pixel_um,
        numerical_aperture=rng.uniform(0.35, 1.1),
        background=rng.uniform(0.005, 0.08),
        g1_level=rng.uniform(0.04, 0.25),
        full_scale_electrons=math.exp(rng.uniform(math.log(500), math.log(20000))),
        debris_fraction=rng.uniform(0, 0.15),
        shading=rng.uniform(0, 0.5),
        aspect_ratio=rng.uniform(1.05, 1.5),
        chromatin_contrast=base.chromatin_contrast * rng.uniform(0.6, 1.8),
        bits=int(rng.choice([8, 16])),
    )
    n_nuclei = int(per_mm2 * (side * pixel_um) ** 2 / 1e6) + 3
    field = simulate_field((side, side), n_nuclei, SEED + number, parameters)
    pixels = field.image.astype(np.float32) / np.iinfo(field.image.dtype).max
    return OutlinedField(f"simulated{number}", "simulated", pixels, field.labels)


def drawn_fields() -> list[OutlinedField]:
    """Draw fields of ellipses, smooth or grained, sharp or blurred, on uneven light, like overexposed pictures."""
    return [_drawn(number) for number in range(N_DRAWN)]


def _drawn(number: int) -> OutlinedField:
    rng = np.random.default_rng([78, number])
    side, diameter = 240, rng.uniform(12, 40)
    spacing, noise = diameter * rng.uniform(0.9, 3), rng.uniform(0.002, 0.03)
    labels, pixels = np.zeros((side, side), np.int32), np.zeros((side, side))
    y, x = np.indices((side, side))
    for index, (row, column) in enumerate(product(np.arange(spacing / 2, side, spacing), repeat=2)):
        down, right = (at + rng.uniform(-0.3, 0.3) * spacing for at in (row, column))
        angle, (a, b) = rng.uniform(0, math.pi), diameter / 2 * rng.uniform(0.75, 1.25, 2)
        u = (x - right) * math.cos(angle) + (y - down) * math.sin(angle)
        v = (y - down) * math.cos(angle) - (x - right) * math.sin(angle)
        inside = ((u / a) ** 2 + (v / b) ** 2 <= 1) & (labels == 0)
        labels[inside], pixels[inside] = index + 1, rng.uniform(0.2, 0.6)
    grain = ndimage.gaussian_filter(rng.standard_normal((side, side)), diameter / 10)
    pixels *= 1 + rng.choice([0, 0.15]) * grain / grain.std()
    pixels = ndimage.gaussian_filter(pixels, rng.uniform(0, 1.5)) + np.linspace(0, rng.uniform(0, 0.1), side)
    pixels = np.clip(pixels + 0.05 + rng.normal(0, noise, pixels.shape), 0, 1).astype(np.float32)
    return OutlinedField(f"drawn{number}", "simulated", pixels, labels)


def targets(field: OutlinedField) -> torch.Tensor:
    """Return the scaled field and the targets of the network per pixel, (4, h, w) float32.

    The channels are intensity; nucleus (1) or background (0); distance to the outside, relative to its maximum in the
    nucleus; and whether two nuclei lie within 2 px.
    """
    scale = float(np.clip(TRAINED_PX / typical_diameter(field.labels), *SCALES))
    image = resampled(field.pixels, scale, *np.percentile(field.pixels, [1, 99.8]))
    labels = resize(field.labels, image.shape, order=0, preserve_range=True, anti_aliasing=False).astype(np.int32)
    nucleus, depth = _nucleus_and_depth(field.labels if scale < 1 else labels)
    if scale < 1:
        nucleus, depth = (resize(m, image.shape, order=1, anti_aliasing=True) for m in (nucleus, depth))
    return torch.from_numpy(np.stack([image, nucleus, depth, _touching(labels)]).astype(np.float32))


def _nucleus_and_depth(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    depth = np.zeros(labels.shape, np.float32)
    for index, box in boxes_of(labels):
        inside = np.pad(labels[box] == index, 1)
        distance = ndimage.distance_transform_edt(inside)
        depth[box][inside[1:-1, 1:-1]] = (distance / distance.max())[inside]
    return (labels > 0).astype(np.float32), depth


def _touching(labels: np.ndarray) -> np.ndarray:
    none = np.iinfo(np.int32).max
    least = ndimage.minimum_filter(np.where(labels > 0, labels, none), 5)
    return (least < none) & (least != ndimage.maximum_filter(labels, 5))


class Atlas:
    """The targets (4, h, w) of many fields in one tensor, from which crops of many fields are sampled at once."""

    def __init__(self, targets: list[torch.Tensor], device: str = "cpu"):
        flat = [made.reshape(len(made), -1).half() for made in targets]
        self.values = torch.cat(flat, dim=1).T.contiguous().to(device)
        self.shapes = torch.tensor([made.shape[1:] for made in targets], device=device)
        sizes = self.shapes.prod(dim=1)
        self.starts = sizes.cumsum(0) - sizes

    def at(self, fields: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the values (N, 4, S, S) of fields (N,) at points (N, S, S), bilinear, mirrored beyond the borders."""
        height, width = self.shapes[fields].T[..., None, None]
        y, x = _mirrored(y, height), _mirrored(x, width)
        top, left = y.floor().long(), x.floor().long()
        bottom, right = torch.minimum(top + 1, height - 1), torch.minimum(left + 1, width - 1)
        down, along = (y - top)[..., None], (x - left)[..., None]
        start = self.starts[fields][:, None, None]
        corners = [self.values[start + row * width + side].float() for row in (top, bottom) for side in (left, right)]
        above, below = torch.lerp(*corners[:2], along), torch.lerp(*corners[2:], along)
        return torch.lerp(above, below, down).permute(0, 3, 1, 2)


def _mirrored(place: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
    place = torch.remainder(place + 0.5, 2 * side)
    return (torch.minimum(place, 2 * side - place) - 0.5).clamp(min=0).minimum(side - 1.0)


def random_crops(atlas: Atlas, fields: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (N, 1, S, S) and targets (N, 3, S, S): one random crop per field, turned, scaled and distorted."""
    device, n = atlas.values.device, len(fields)

    def numbers(values) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=device).view(n, 1, 1)

    fields = torch.as_tensor(fields, device=device)
    zoom, stretch = np.exp(rng.uniform(*np.log(_SIZES), n)), np.exp(rng.normal(0, 0.05, n))
    angle, mirror = rng.uniform(0, 2 * math.pi, n), rng.choice([-1, 1], n)
    reach = torch.as_tensor((0.35 * CROP_PX / zoom)[:, None], device=device)
    sides = atlas.shapes[fields].double()
    least, most = torch.minimum(reach, sides / 2), torch.maximum(sides - reach, sides / 2)
    middle = least + (most - least) * torch.as_tensor(rng.random((n, 2)), device=device)
    row, column = _Y.to(device), _X.to(device)
    down, right = row * numbers(stretch / zoom), column * numbers(mirror / stretch / zoom)
    cosine, sine = numbers(np.cos(angle)), numbers(np.sin(angle))
    y = cosine * down - sine * right + middle[:, 0].float()[:, None, None]
    x = sine * down + cosine * right + middle[:, 1].float()[:, None, None]
    found = atlas.at(fields, y, x)
    images, truth = _exposed(found[:, 0].clamp(min=-0.05), rng, numbers), found[:, 1:]
    # Add to 5 % of the crops a fibre far brighter than nuclei, which is background.
    where, angle = rng.uniform(-CROP_PX / 2, CROP_PX / 2, (2, n)), rng.uniform(0, math.pi, n)
    across = (row - numbers(where[0])) * numbers(np.cos(angle)) + (column - numbers(where[1])) * numbers(np.sin(angle))
    fibre = (across.abs() < numbers(rng.uniform(0.7, 2.5, n))) & (numbers(rng.random(n)) < 0.05)
    images = torch.where(fibre, images.amax((1, 2), keepdim=True) * numbers(rng.uniform(4, 12, n)), images)
    return images[:, None], torch.where(fibre[:, None], 0.0, truth)


def _exposed(images: torch.Tensor, rng: np.random.Generator, numbers) -> torch.Tensor:
    """Return images (N, S, S) with random changes of gamma, sharpness, illumination, brightness and noise."""
    n, down, right = len(images), _Y.to(images.device) / CROP_PX, _X.to(images.device) / CROP_PX

    def sometimes(share: float) -> np.ndarray:
        return rng.random(n) < share

    gamma = np.exp(np.where(sometimes(0.5), rng.uniform(-0.5, 0.5, n), 0))
    images = images.sign() * images.abs() ** torch.where(images > 0, numbers(gamma), 1.0)
    images = _blurred(images, numbers(np.where(sometimes(0.3), rng.uniform(0.3, 1.3, n), 0.05)))
    uneven = sometimes(0.25)
    shade, haze = np.where(uneven, rng.normal(0, 0.25, (2, n)), 0), rng.normal(0, 0.5, (2, n))
    images = images * (1 + numbers(shade[0]) * down + numbers(shade[1]) * right)
    glow = numbers(np.where(uneven, rng.uniform(0, 0.15, n), 0))
    images = images + glow * (1 + numbers(haze[0]) * down + numbers(haze[1]) * right)
    # Nuclei of one field differ in brightness.
    relief = torch.as_tensor(rng.normal(0, 1, (n, 1, 6, 6)).astype(np.float32), device=images.device)
    relief = functional.interpolate(relief, images.shape[1:], mode="bicubic", align_corners=False)[:, 0]
    images = images * torch.exp(relief * numbers(np.where(sometimes(0.3), rng.uniform(0, 0.6, n), 0)))
    # Brighter or darker; or much darker, as if something far brighter than any nucleus sets the levels.
    kind, dark = rng.random(n), rng.uniform(math.log(0.03), 0, n)
    gain = np.where(kind < 0.5, rng.uniform(-0.6, 0.5, n), np.where(kind < 0.65, dark, 0))
    images = images * numbers(np.exp(gain))
    source = torch.Generator(images.device).manual_seed(int(rng.integers(2**31)))
    noise = torch.randn(images.shape, generator=source, device=images.device)
    strength = numbers(np.where(sometimes(0.4), rng.uniform(0, 0.35, n), 0))
    images = images + noise * images.std((1, 2), keepdim=True) * strength
    # Overexposed nuclei are flat and still nuclei.
    most = np.where(sometimes(0.25), np.exp(rng.uniform(math.log(0.12), math.log(0.9), n)), 1)
    images = images.minimum(images.amax((1, 2), keepdim=True) * numbers(most))
    return images + numbers(np.where(sometimes(0.2), rng.uniform(-0.02, 0.1, n), 0))


def _blurred(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return images (N, S, S), each blurred by its own Gaussian of sigma (N, 1, 1) px."""
    kernel = torch.exp(-(torch.arange(-4, 5, device=images.device) ** 2) / (2 * sigma**2))
    kernel = kernel / kernel.sum(-1, keepdim=True)
    padded = functional.pad(images[None], (4, 4, 4, 4), mode="reflect")
    once = functional.conv2d(padded, kernel[:, None], groups=len(images))
    return functional.conv2d(once, kernel[..., None], groups=len(images))[0]

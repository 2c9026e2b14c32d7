"""Fields whose nuclei are outlined, as the network that finds nuclei is trained on: turned, scaled, dimmed, spoilt."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from cellcycle.images import list_images, read_plane
from cellcycle.segmentation.finder import DIAMETER_PX, SCALES, resampled, typical_diameter
from cellcycle.simulation import SimulationParameters, simulate_field

CROP_PX = 128
N_SIMULATED, N_DRAWN, SIMULATED_SHARE, SEED = 60, 40, 0.2, 5000
# Nuclei of crops are so much smaller or larger than the network expects, as a guess of their size may be off.
_SIZES = (0.58, 1.7)
_Y, _X = torch.meshgrid(*2 * [torch.arange(CROP_PX) - CROP_PX / 2 + 0.5], indexing="ij")


@dataclass(frozen=True)
class OutlinedField:
    """A field with its nuclei: pixels (H, W) float32, labels (H, W) int with 0 for background, the kind it is of."""

    name: str
    kind: str
    pixels: np.ndarray
    labels: np.ndarray


def real_fields(root: Path) -> list[OutlinedField]:
    """Read `fields` and `fields_more` of the real data; look-alikes, as of one slide, are of one kind."""
    import tifffile

    made = []
    for folder in (root / "fields", root / "fields_more"):
        for file in list_images(folder / "images"):
            labels = tifffile.imread(folder / "labels" / f"{file.stem}.tif").astype(np.int32)
            made.append(OutlinedField(file.stem, "", read_plane(file).pixels.astype(np.float32), labels))
    return [replace(field, kind=f"kind{k:02d}") for field, k in zip(made, _kinds(made), strict=True)]


def _kinds(fields: list[OutlinedField]) -> np.ndarray:
    """Group fields by size, size of nuclei, brightness of background and nuclei, and noise."""
    from scipy import ndimage
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


def simulated_fields(n: int = N_SIMULATED) -> list[OutlinedField]:
    """Simulate fields that differ in pixel size, crowding, sharpness, noise, debris and evenness of light."""
    made, base = [], SimulationParameters()
    for number in range(n):
        rng = np.random.default_rng([77, number])
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
        made.append(OutlinedField(f"simulated{number}", "simulated", pixels, field.labels))
    return made


def drawn_fields(n: int = N_DRAWN) -> list[OutlinedField]:
    """Draw fields of ellipses, even or grained, sharp or blurred, on uneven light: overexposed or plain pictures."""
    from scipy import ndimage

    made = []
    for number in range(n):
        rng = np.random.default_rng([78, number])
        side, diameter = 240, rng.uniform(12, 40)
        spacing, noise = diameter * rng.uniform(0.9, 3), rng.uniform(0.002, 0.03)
        labels, pixels = np.zeros((side, side), np.int32), np.zeros((side, side))
        y, x = np.indices((side, side))
        places = np.arange(spacing / 2, side, spacing)
        for index, (row, column) in enumerate((row, column) for row in places for column in places):
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
        made.append(OutlinedField(f"drawn{number}", "simulated", pixels, labels))
    return made


def targets(field: OutlinedField) -> torch.Tensor:
    """Return the field as the network sees it and what it is to say of each pixel, (1, 4, h, w) float32.

    Intensity; whether it is nucleus; depth inside, 1 at the place of a nucleus farthest from its outside; whether
    two nuclei lie within 2 px.
    """
    from skimage.transform import resize

    scale = float(np.clip(DIAMETER_PX / typical_diameter(field.labels), *SCALES))
    image = resampled(field.pixels, scale, *np.percentile(field.pixels, [1, 99.8]))
    labels = resize(field.labels, image.shape, order=0, preserve_range=True, anti_aliasing=False).astype(np.int32)
    nucleus, depth = _nucleus_and_depth(field.labels if scale < 1 else labels)
    if scale < 1:
        nucleus, depth = (resize(m, image.shape, order=1, anti_aliasing=True) for m in (nucleus, depth))
    return torch.from_numpy(np.stack([image, nucleus, depth, _touching(labels)]).astype(np.float32))[None]


def _nucleus_and_depth(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy import ndimage

    depth = np.zeros(labels.shape, np.float32)
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            inside = np.pad(labels[box] == index, 1)
            distance = ndimage.distance_transform_edt(inside)
            depth[box][inside[1:-1, 1:-1]] = (distance / distance.max())[inside]
    return (labels > 0).astype(np.float32), depth


def _touching(labels: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    none = np.iinfo(np.int32).max
    least = ndimage.minimum_filter(np.where(labels > 0, labels, none), 5)
    return (least < none) & (least != ndimage.maximum_filter(labels, 5))


def random_crop(field: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return image (1, S, S) and targets (3, S, S) of a place of a field: turned, mirrored, scaled and spoilt."""
    height, width = field.shape[2:]
    zoom, stretch = math.exp(rng.uniform(*np.log(_SIZES))), math.exp(rng.normal(0, 0.05))
    angle, mirror = rng.uniform(0, 2 * math.pi), rng.choice([-1, 1])
    reach = 0.35 * CROP_PX / zoom
    middle = [rng.uniform(min(reach, side / 2), max(side - reach, side / 2)) for side in (height, width)]
    down, right = _Y * stretch / zoom, _X * mirror / stretch / zoom
    y = math.cos(angle) * down - math.sin(angle) * right + middle[0]
    x = math.sin(angle) * down + math.cos(angle) * right + middle[1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)[None]
    found = functional.grid_sample(field, grid, padding_mode="reflection", align_corners=False)[0]
    image, truth = _exposed(found[:1].clamp(min=-0.05), rng), found[1:]
    if rng.random() < 0.05:
        spot = _fibre(rng)
        image = torch.where(spot, image.max() * rng.uniform(4, 12), image)
        truth = torch.where(spot, torch.zeros(()), truth)
    return image, truth


def _exposed(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return an image of another contrast, sharpness, light, brightness and noise."""
    if rng.random() < 0.5:
        image = image.clamp(min=0) ** math.exp(rng.uniform(-0.5, 0.5))
    if rng.random() < 0.3:
        kernel = torch.exp(-(torch.arange(-4, 5) ** 2) / (2 * rng.uniform(0.3, 1.3) ** 2))
        kernel = (kernel / kernel.sum()).view(1, 1, 9, 1)
        padded = functional.pad(image[None], (4, 4, 4, 4), mode="reflect")
        image = functional.conv2d(functional.conv2d(padded, kernel), kernel.transpose(2, 3))[0]
    if rng.random() < 0.25:
        down, right = _Y / CROP_PX, _X / CROP_PX
        shade, haze = rng.normal(0, 0.25, 2), rng.normal(0, 0.5, 2)
        image = image * (1 + shade[0] * down + shade[1] * right)
        image = image + rng.uniform(0, 0.15) * (1 + haze[0] * down + haze[1] * right)
    kind = rng.random()
    if kind < 0.5:
        image = image * math.exp(rng.uniform(-0.6, 0.5))
    elif kind < 0.65:
        # As where something far brighter than any nucleus sets the levels.
        image = image * math.exp(rng.uniform(math.log(0.03), 0))
    if rng.random() < 0.4:
        noise = torch.from_numpy(rng.standard_normal(image.shape).astype(np.float32))
        image = image + noise * float(image.std()) * rng.uniform(0, 0.35)
    if rng.random() < 0.25:
        # Overexposed: flat, and still a nucleus.
        image = image.clamp(max=float(image.max()) * math.exp(rng.uniform(math.log(0.12), math.log(0.9))))
    return image + rng.uniform(-0.02, 0.1) if rng.random() < 0.2 else image


def _fibre(rng: np.random.Generator) -> torch.Tensor:
    """Return where a fibre lies."""
    y, x = rng.uniform(-CROP_PX / 2, CROP_PX / 2, 2)
    angle = rng.uniform(0, math.pi)
    return (((_Y - y) * math.cos(angle) + (_X - x) * math.sin(angle)).abs() < rng.uniform(0.7, 2.5))[None]

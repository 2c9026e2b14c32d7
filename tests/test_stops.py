"""Areas of noise that are no picture of nuclei are painted over, and flag the nuclei that they cut."""

import io
from functools import cache

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cellcycle.nuclei import Scale, find_nuclei
from cellcycle.segmentation.stops import stopped
from cellcycle.simulation import simulate_field

pytestmark = pytest.mark.slow
Y, X = np.indices((480, 480))
ROUND = np.hypot(Y - 240, X - 240) > 226
TILE = (abs(Y - 240) < 58) & (abs(X - 255) < 58)
CORNERS = (Y < 134) & (X < 158) | (Y > 360) & (X > 288)
GROUND, NOISE = 60, 8


@cache
def field():
    """Return camera counts of a field on a ground of some 60 counts, which no test changes."""
    return simulate_field((480, 480), 60, seed=10).image.astype(float)


def noise(level, deviation):
    return level + np.random.default_rng(0).normal(0, deviation, Y.shape)


def filled_with(values, mask, soft_px=0):
    share = ndimage.gaussian_filter(mask.astype(float), soft_px) if soft_px else mask
    return field() * (1 - share) + values * share


def turned(value):
    return ndimage.rotate(field(), 11, reshape=False, order=1, cval=value)


TURNED = ndimage.rotate(np.ones(Y.shape), 11, reshape=False, order=1) < 0.5
AREAS = {
    "a round stop with noise": (lambda: filled_with(noise(27, 4), ROUND), ROUND),
    "a round stop with noise about black": (lambda: filled_with(abs(noise(0, 4)), ROUND), ROUND),
    "a soft round stop with noise": (lambda: filled_with(noise(27, 4), ROUND, 2), ROUND),
    "a missing tile with noise": (lambda: filled_with(noise(27, 5), TILE), TILE),
    "a checkered tile": (lambda: filled_with(27 + NOISE * ((X + Y) % 2 * 2 - 1), TILE), TILE),
    "dithered corners": (lambda: filled_with(27 + NOISE * (noise(0, 1) > 0), CORNERS), CORNERS),
    "soft corners": (lambda: filled_with(27, CORNERS, 2), CORNERS),
    "corners at the mean, with noise": (lambda: filled_with(noise(field().mean(), 8), CORNERS), CORNERS),
    "a turned picture amid its mean": (lambda: turned(field().mean()), TURNED),
    "a turned picture amid half of its ground": (lambda: turned(27), TURNED),
}


def as_tiff(pixels):
    return np.rint(np.clip(pixels, 0, 4095)) / 4095


def as_jpeg(pixels, quality=75):
    stream = io.BytesIO()
    grays = np.rint(np.clip(pixels / np.percentile(pixels, 99.9) * 240, 0, 255))
    Image.fromarray(grays.astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)) / 255


def found(pixels):
    return find_nuclei(pixels.astype(np.float32), 0.325, Scale(200.0))


@cache
def whole_of(saved, is_turned):
    return found(saved(turned(GROUND) if is_turned else field()))


@pytest.mark.parametrize("saved", [as_tiff, as_jpeg])
@pytest.mark.parametrize("name", AREAS)
def test_nuclei_that_an_area_of_noise_cuts_are_at_its_edge_and_the_others_stay(name, saved):
    make, mask = AREAS[name]
    whole = whole_of(saved, mask is TURNED)
    cut = found(saved(make()))
    # What lies in the whole field and in none of the area, nor near it, is found as it was.
    near = ndimage.binary_dilation(mask, iterations=6)
    for number in whole.measured["nucleus_id"].astype(int):
        own = whole.labels == number
        if not (own & near).any():
            now = np.bincount(cut.labels[own], minlength=2)[1:].argmax() + 1
            both = own & (cut.labels == now)
            assert both.sum() > 0.8 * (own | (cut.labels == now)).sum()
            assert ("edge" in cut.measured["flags"][now - 1]) == ("edge" in whole.measured["flags"][number - 1])
    # What touches the rim says so, and nothing is found within.
    rim = ndimage.binary_dilation(mask, iterations=2)
    touching = [k for k in cut.measured["nucleus_id"].astype(int) if (rim & (cut.labels == k)).any()]
    assert len(touching) >= 2 and all("edge" in cut.measured["flags"][k - 1] for k in touching)
    assert all(mask[cut.labels == k].mean() < 0.5 for k in touching)


@cache
def ordinary():
    """Pictures in which nothing is filled in, however uneven, empty or crowded."""
    y, x = np.mgrid[-1:1:480j, -1:1:480j]
    counts, top = field(), np.percentile(field(), 99.9)
    sparse = simulate_field((480, 480), 4, seed=3).image.astype(float)
    crowd = simulate_field((480, 480), 400, seed=4).image.astype(float)
    half = 1 / (1 + np.exp(-20 * x))
    return {
        "even light": counts,
        "vignetting": counts * (1 - 0.45 * (x**2 + y**2)),
        "a slope of light": counts * (1 + 0.8 * x),
        "haze": counts + 0.2 * top * np.exp(-(x**2 + y**2) / 0.1),
        "an empty half": GROUND + (counts - GROUND) * (x < 0),
        "haze over one half": counts + 0.1 * top * half,
        "a crowd beside dark ground": crowd * half + GROUND * (1 - half) + noise(0, NOISE) * (1 - half),
        "few nuclei": sparse,
        "many nuclei": crowd,
        "a ground that was cut off": np.maximum(counts, GROUND + 10),
        "overexposed": np.minimum(counts, 0.3 * top),
        "out of focus": ndimage.gaussian_filter(counts, 3),
    }


@pytest.mark.parametrize("saved", [as_tiff, as_jpeg, lambda pixels: as_jpeg(pixels, 40)], ids=["TIFF", "JPEG", "worse"])
def test_ordinary_pictures_have_no_area_of_noise(saved):
    assert not [name for name, pixels in ordinary().items() if stopped(saved(pixels).astype(np.float32)) is not None]


def test_large_nuclei_in_a_small_picture_are_no_area():
    large = ndimage.zoom(field()[:120, :120], 3, order=1)
    assert stopped(as_tiff(large).astype(np.float32)) is None

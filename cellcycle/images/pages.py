"""Decide whether pages look like one z-stack: stains, fields or time points with moving cells must not be projected."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter

MOST_PAGES = 400
_CENTRE, _BLOCK = 1024, 4
# A page with less contrast than this fraction of the strongest may be above or below the cells.
_FAINT = 0.15
# Least correlation of neighbours in focus. With fewer than 5 pages it is higher: these are more often stains.
_ALIKE, _ALIKE_OF_FEW, _FEW = 0.85, 0.95, 5
# Least correlation of neighbours in a z-stack at distance 0. It falls linearly with distance, to 0 at the height of
# nuclei (um).
_SHARED, _HIGH_UM = 0.75, 5.0
# Moving objects leave a trail in the maximum projection, which then covers more than this times any one page.
_MOST_SPREAD = 1.15
# Nuclei are wider than noise and narrower than uneven light (sigmas in blocks). An out-of-focus page has more blur.
_FINE, _COARSE, _BLURS = 1.0, 12.0, (0, 1, 2, 4, 8)
# Variance of white noise at the width of nuclei, relative to finer noise. Noise that is slightly blurred, as after
# compression, has more: objects must exceed this many standard deviations.
_PASSED, _MOST_NOISE = 0.1, 8.0
# Anything fainter than this fraction of the strongest page is rounding: a quarter of a grey level of 8 bits.
_NOTHING = 0.001


def look_like_one_stack(pages: Iterable[np.ndarray]) -> bool:
    """Return whether pages (H, W) change little from one to the next, and their maximum shows no more than one page.

    Pages of little contrast may only be at the start or end, and must show the others blurred, or nothing.
    """
    pages = [_binned(page) for page in pages]
    heights = np.array([np.percentile(page, 99.5) - np.median(page) for page in pages])
    if heights.max() <= 0:
        return True
    shown = np.flatnonzero(heights >= _FAINT * heights.max())
    least = _ALIKE_OF_FEW if len(pages) < _FEW else _ALIKE
    for a, b in pairwise(shown):
        if b - a > 1 or np.corrcoef(pages[a].ravel(), pages[b].ravel())[0, 1] < least:
            return False
    strongest = pages[int(heights.argmax())]
    level = np.median(strongest) + heights.max() / 3
    covered = np.maximum.reduce([pages[k] for k in shown]) > level
    if covered.sum() > _MOST_SPREAD * max((pages[k] > level).sum() for k in shown):
        return False
    nothing = _NOTHING * heights.max()
    return all(_fades(side, least, nothing) for side in (pages[shown[0] :: -1], pages[shown[-1] :]))


def share_nuclei(planes: Iterable[np.ndarray], z_um: float) -> bool:
    """Return whether of every two neighbouring z planes (H, W) one shows the objects of the other, perhaps blurred.

    This test is weak: it is for pages that are stated to be a z-stack. `z_um` is their distance; NaN counts as 0.
    """
    least = _SHARED * (1 - (abs(z_um) / _HIGH_UM if np.isfinite(z_um) else 0))
    return least <= 0 or all(
        _shows_no_more(a, b, least, 0.0) or _shows_no_more(b, a, least, 0.0) for a, b in pairwise(map(_binned, planes))
    )


def is_shrunken(small: np.ndarray, pages: Iterable[np.ndarray]) -> bool:
    """Return whether a small page (H, W) is empty, or shows what one of the larger pages or their maximum shows."""
    large = [_shrunken(page, small.shape) for page in pages]
    large.append(np.maximum.reduce(large))
    nothing = 0.25 if small.dtype.kind in "iu" else 0.0
    small = _binned(small, 64)
    return any(_shows_no_more(small, _binned(page, 64), _ALIKE, nothing) for page in large)


def _fades(pages: list[np.ndarray], least: float, nothing: float) -> bool:
    """Return whether each page shows the one before it blurred, or nothing."""
    # Blur keeps the total light of a page; a brighter page would hide it in the maximum projection.
    most = pages[0].mean() + np.ptp(pages[0]) / 3
    return all(b.mean() <= most and _shows_no_more(b, a, least, nothing) for a, b in pairwise(pages))


def _shows_no_more(page: np.ndarray, other: np.ndarray, least: float, nothing: float) -> bool:
    """Return whether all objects of a page above its noise, and above `nothing`, are visible in the other page too."""
    found = _objects(page)
    noise = _PASSED * (np.median(np.abs(page - gaussian_filter(page, _FINE))) / 0.6745) ** 2
    if np.percentile(np.abs(found), 99.5) <= max(nothing, _MOST_NOISE * noise**0.5):
        return True
    # Noise differs from page to page, so it lowers the correlation that can be expected.
    least *= max(0.0, 1 - noise / found.var()) ** 0.5
    return any(_correlation(found, _objects(gaussian_filter(other, blur))) >= least for blur in _BLURS)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return np.corrcoef(a.ravel(), b.ravel())[0, 1] if a.std() and b.std() else 0.0


def _objects(page: np.ndarray) -> np.ndarray:
    """Return a page without structures finer or coarser than nuclei."""
    return gaussian_filter(page, _FINE) - gaussian_filter(page, _COARSE)


def _shrunken(page: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a page reduced to `shape`, as the means of equal parts."""
    for axis, n in enumerate(shape):
        starts = np.arange(n) * page.shape[axis] // n
        sums = np.add.reduceat(page.astype(np.float32), starts, axis=axis)
        counts = np.diff(np.append(starts, page.shape[axis]))
        page = sums / (counts[:, None] if axis == 0 else counts)
    return page


def _binned(page: np.ndarray, least: int = 16) -> np.ndarray:
    """Return the centre of a page as means of small blocks, at least `least` per side, to reduce noise."""
    page = page[tuple(slice((n - min(n, _CENTRE)) // 2, (n + min(n, _CENTRE)) // 2) for n in page.shape)]
    block = min(_BLOCK, *(max(1, n // least) for n in page.shape))
    height, width = (n // block for n in page.shape)
    cut = page[: height * block, : width * block].astype(np.float32)
    # NaN and infinite pixels are refused later, when intensities are scaled.
    cut[~np.isfinite(cut)] = 0
    return cut.reshape(height, block, width, block).mean(axis=(1, 3))

"""Do pages look like one z-stack? Stains, fields, and times in which cells move must not be projected."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter

MOST_PAGES = 400
_CENTRE, _BLOCK = 1024, 4
# A page with less contrast than this share of the strongest may lie above or below the cells.
_FAINT = 0.15
# Neighbours in focus are alike; of few pages more so, for few pages are stains more often than a stack.
_ALIKE, _ALIKE_OF_FEW, _FEW = 0.85, 0.95, 5
# Of what one z plane shows the next one shows most, less where they are further apart, and nothing need be shared where
# they are as far apart (um) as nuclei are high.
_SHARED, _HIGH_UM = 0.75, 5.0
# What moves leaves a trail in the maximum, which then covers more than any one page.
_MOST_SPREAD = 1.15
# Nuclei are wider than noise, and narrower than uneven light (sigmas in blocks); a page out of focus is blurred more.
_FINE, _COARSE, _BLURS = 1.0, 12.0, (0, 1, 2, 4, 8)
# So much of the variance of white noise is as wide as nuclei, for one of what is finer. Of noise that is blurred a
# little, as that of a packed picture is, some is wider: what stands out reaches beyond so many deviations.
_PASSED, _MOST_NOISE = 0.1, 8.0
# What is so much fainter than the strongest page is rounding: a quarter of a step of 8 bits.
_NOTHING = 0.001


def look_like_one_stack(pages: Iterable[np.ndarray]) -> bool:
    """Say whether pages (H, W) change little from one to the next, and show in their maximum what one of them shows.

    Pages of little contrast count if they lie before or after the others and show these blurred, or nothing.
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
    """Say whether of every two neighbours among z planes (H, W), so far apart, one shows the other, if blurred.

    Only what is said to be a z-stack is asked so little. A distance that is NaN counts as none.
    """
    least = _SHARED * (1 - (abs(z_um) / _HIGH_UM if np.isfinite(z_um) else 0))
    return least <= 0 or all(
        _shows_no_more(a, b, least, 0.0) or _shows_no_more(b, a, least, 0.0) for a, b in pairwise(map(_binned, planes))
    )


def is_shrunken(small: np.ndarray, pages: Iterable[np.ndarray]) -> bool:
    """Say whether a small page (H, W) shows nothing, or what one of larger pages shows, or their maximum."""
    large = [_shrunken(page, small.shape) for page in pages]
    large.append(np.maximum.reduce(large))
    nothing = 0.25 if small.dtype.kind in "iu" else 0.0
    small = _binned(small, 64)
    return any(_shows_no_more(small, _binned(page, 64), _ALIKE, nothing) for page in large)


def _fades(pages: list[np.ndarray], least: float, nothing: float) -> bool:
    """Say whether each page shows the one before it blurred, or nothing."""
    # Blur keeps the light of a page; what is brighter would hide it in the maximum.
    most = pages[0].mean() + np.ptp(pages[0]) / 3
    return all(b.mean() <= most and _shows_no_more(b, a, least, nothing) for a, b in pairwise(pages))


def _shows_no_more(page: np.ndarray, other: np.ndarray, least: float, nothing: float) -> bool:
    """Say whether all that stands out of the noise of a page, and is not `nothing`, is seen in the other one, too."""
    found = _objects(page)
    noise = _PASSED * (np.median(np.abs(page - gaussian_filter(page, _FINE))) / 0.6745) ** 2
    if np.percentile(np.abs(found), 99.5) <= max(nothing, _MOST_NOISE * noise**0.5):
        return True
    # Noise is alike in no two pages.
    least *= max(0.0, 1 - noise / found.var()) ** 0.5
    return any(_correlation(found, _objects(gaussian_filter(other, blur))) >= least for blur in _BLURS)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return np.corrcoef(a.ravel(), b.ravel())[0, 1] if a.std() and b.std() else 0.0


def _objects(page: np.ndarray) -> np.ndarray:
    """Return a page without what is finer or coarser than nuclei."""
    return gaussian_filter(page, _FINE) - gaussian_filter(page, _COARSE)


def _shrunken(page: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the means of as many parts of a page."""
    for axis, n in enumerate(shape):
        starts = np.arange(n) * page.shape[axis] // n
        sums = np.add.reduceat(page.astype(np.float32), starts, axis=axis)
        counts = np.diff(np.append(starts, page.shape[axis]))
        page = sums / (counts[:, None] if axis == 0 else counts)
    return page


def _binned(page: np.ndarray, least: int = 16) -> np.ndarray:
    """Return the centre of a page in means of small blocks, at least so many a side, which noise hardly changes."""
    page = page[tuple(slice((n - min(n, _CENTRE)) // 2, (n + min(n, _CENTRE)) // 2) for n in page.shape)]
    block = min(_BLOCK, *(max(1, n // least) for n in page.shape))
    height, width = (n // block for n in page.shape)
    cut = page[: height * block, : width * block].astype(np.float32)
    # What is no number is refused where it is read.
    cut[~np.isfinite(cut)] = 0
    return cut.reshape(height, block, width, block).mean(axis=(1, 3))

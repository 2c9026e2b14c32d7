"""Do pages without a label look like one z-stack? Stains, and times in which cells move, must not be projected."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

MOST_PAGES = 400
_CENTRE, _BLOCK = 1024, 4
# A page with less contrast than this share of the strongest lies above or below the cells.
_FAINT = 0.15
# Neighbours in focus are alike; of few pages more so, for few pages are stains more often than a stack.
_ALIKE, _ALIKE_OF_FEW, _FEW = 0.85, 0.95, 5
# What moves leaves a trail in the maximum, which then covers more than any one page.
_MOST_SPREAD = 1.15


def look_like_one_stack(pages: Iterable[np.ndarray]) -> bool:
    """Say whether pages (H, W) change little from one to the next, and show in their maximum what one of them shows."""
    pages = [_binned(page) for page in pages]
    heights = np.array([np.percentile(page, 99.5) - np.median(page) for page in pages])
    if heights.max() <= 0:
        return True
    shown = np.flatnonzero(heights >= _FAINT * heights.max())
    least = _ALIKE_OF_FEW if len(pages) < _FEW else _ALIKE
    if any(b - a > 1 for a, b in pairwise(shown)):
        return False
    for a, b in pairwise(shown):
        if np.corrcoef(pages[a].ravel(), pages[b].ravel())[0, 1] < least:
            return False
    strongest = pages[int(heights.argmax())]
    level = np.median(strongest) + heights.max() / 3
    covered = np.maximum.reduce([pages[k] for k in shown]) > level
    return covered.sum() <= _MOST_SPREAD * max((pages[k] > level).sum() for k in shown)


def _binned(page: np.ndarray) -> np.ndarray:
    """Return the centre of a page in means of small blocks, which noise hardly changes."""
    page = page[tuple(slice((n - min(n, _CENTRE)) // 2, (n + min(n, _CENTRE)) // 2) for n in page.shape)]
    block = min(_BLOCK, *(max(1, n // 16) for n in page.shape))
    height, width = (n // block for n in page.shape)
    cut = page[: height * block, : width * block].astype(np.float32)
    return cut.reshape(height, block, width, block).mean(axis=(1, 3))

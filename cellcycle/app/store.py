"""Results that visitors look at: kept in memory, few and for a while, under names that cannot be guessed."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from cellcycle.app.limits import MB
from cellcycle.errors import SettingError
from cellcycle.images import Plane
from cellcycle.predict import ImagePrediction


@dataclass
class Result:
    """Predictions of one request, and what their owner says about them.

    Parameters
    ----------
    images : tuple of ImagePrediction
        One an uploaded image, packed by `pack`.
    corrections : dict of int to str
        Row of `table` -> class given by the owner, or "" for what is no nucleus.
    """

    images: tuple[ImagePrediction, ...]
    corrections: dict[int, str] = field(default_factory=dict)

    def __post_init__(self):
        self.table = pd.concat([image.table for image in self.images], ignore_index=True)
        self.first_rows = np.cumsum([0, *(len(image.table) for image in self.images)]).tolist()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in score order."""
        return tuple(name[2:] for name in self.table.columns if name.startswith("p_"))

    @property
    def size_mb(self) -> float:
        """Memory that the pixels and labels take."""
        arrays = [a for image in self.images if image.plane for a in (image.plane.pixels, image.nuclei.labels)]
        return sum(array.nbytes for array in arrays) / MB

    def image_of(self, row: int) -> int:
        """Return which image a row of `table` belongs to."""
        return int(np.searchsorted(self.first_rows, row, side="right")) - 1

    def unpacked(self, index: int) -> ImagePrediction:
        """Return one prediction with its pixels as they were read."""
        image = self.images[index]
        return image if image.plane is None else replace(image, plane=unpack(image.plane))

    def row_of(self, index: int, nucleus_id: int) -> int | None:
        """Return the row of a nucleus of an image, or None for a label without one."""
        ids = self.images[index].table["nucleus_id"]
        found = np.flatnonzero((ids == nucleus_id).fillna(False).to_numpy(dtype=bool))
        return self.first_rows[index] + int(found[0]) if len(found) else None


def pack(prediction: ImagePrediction) -> ImagePrediction:
    """Halve the memory of a prediction without changing what it says.

    Pixels that are whole steps of 16 bits (as from all 8- and 16-bit files) are kept as such, labels as uint16
    where they fit.
    """
    if prediction.plane is None:
        return prediction
    steps = np.rint(prediction.plane.pixels * np.float32(65535)).astype(np.uint16)
    plane = replace(prediction.plane, pixels=steps)
    if not np.array_equal(unpack(plane).pixels, prediction.plane.pixels):
        plane = prediction.plane
    labels = prediction.nuclei.labels
    small = labels.astype(np.uint16) if labels.max(initial=0) < 2**16 else labels
    return replace(prediction, plane=plane, nuclei=replace(prediction.nuclei, labels=small))


def unpack(plane: Plane) -> Plane:
    """Return a plane with float32 pixels in [0, 1]."""
    if plane.pixels.dtype != np.uint16:
        return plane
    return replace(plane, pixels=plane.pixels.astype(np.float32) / np.float32(65535))


class Store:
    """The results that visitors may still look at.

    Parameters
    ----------
    most_mb : float
        Memory for all of them; the one that was not looked at for longest makes room.
    most_s : float
        Time after which one that nobody looks at is forgotten.
    clock : callable, optional
        Gives the time in seconds.
    """

    def __init__(self, most_mb: float, most_s: float, clock: Callable[[], float] = time.monotonic):
        self._most_mb, self._most_s, self._clock = most_mb, most_s, clock
        self._kept: OrderedDict[str, tuple[float, Result]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, result: Result) -> str:
        """Keep a result and return the key to it."""
        key = secrets.token_urlsafe(24)
        with self._lock:
            self._kept[key] = self._clock(), result
            self._make_room()
        return key

    def get(self, key: str | None) -> Result:
        """Return a result by its key, or raise `SettingError` where it is no longer kept."""
        with self._lock:
            self._make_room()
            if key not in self._kept:
                raise SettingError("result", "it is no longer kept on the server", "give the images again")
            result = self._kept[key][1]
            self._kept[key] = self._clock(), result
            self._kept.move_to_end(key)
            return result

    def drop(self, key: str | None) -> None:
        """Forget a result."""
        with self._lock:
            self._kept.pop(key, None)

    def tidy(self) -> None:
        """Forget what is too old."""
        with self._lock:
            self._make_room()

    def _make_room(self) -> None:
        """Forget results that are too old, and the oldest while all together are too large; the newest stays."""
        now = self._clock()
        while self._kept:
            used, _ = next(iter(self._kept.values()))
            size_mb = sum(result.size_mb for _, result in self._kept.values())
            if now - used <= self._most_s and (size_mb <= self._most_mb or len(self._kept) == 1):
                return
            self._kept.popitem(last=False)

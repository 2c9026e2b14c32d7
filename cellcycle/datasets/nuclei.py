"""`NucleusDataset`: labelled images of single nuclei, wherever they come from."""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class NucleusDataset:
    """Labelled images of single nuclei.

    Attributes
    ----------
    name : str
        What the set is called in records and figures.
    images : (N, C, H, W) float32 in [0, 1]
        C is 1 (DNA stain) or 3 (RGB, artificial stain colour). Integer files are divided by the full range
        of their type (255 or 65535), so intensities of different images stay comparable.
    labels : (N,) int64
        Index into `classes`.
    classes : tuple of str, length K
        Phases in the order G1, S, G2, M; other classes in the order of their names.
    sample_ids : (N,) str
    groups : (N,) or None
        Images of one group (field, well, copies of one nucleus) are never parted by a split.
    identity : str
        Tells data sets apart in records: from the pixels, or for simulated sets from the simulator's
        version, parameters and seed.
    origin : str
        "simulated" or "real".
    pixel_size_um : float or None
    truth : DataFrame or None
        What the simulator knows of each nucleus, one row an image.
    notes : tuple of str
        What the reader should know, e.g. which files were skipped.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    sample_ids: np.ndarray
    identity: str
    origin: str
    groups: np.ndarray | None = None
    pixel_size_um: float | None = None
    truth: pd.DataFrame | None = None
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {n}" for name, n in self.counts().items())
        n_groups = "" if self.groups is None else f", {len(np.unique(self.groups))} groups"
        _, n_channels, height, width = self.images.shape
        shape = f"{n_channels} x {height} x {width} px"
        return f"<{self.name} ({self.origin}): {len(self)} nuclei, {shape}; {counts}{n_groups}>"

    @property
    def size_px(self) -> int:
        """Side of the square images."""
        return self.images.shape[-1]

    def counts(self) -> pd.Series:
        """Return the number of images of each class, in class order."""
        n = np.bincount(self.labels, minlength=len(self.classes))
        return pd.Series(n, index=list(self.classes), name="images")

    def select(self, indices) -> "NucleusDataset":
        """Return the images at `indices` ((M,) int or bool), keeping name and classes."""
        indices = np.arange(len(self))[indices]
        digest = hashlib.blake2b(indices.astype("<i8").tobytes(), digest_size=5).hexdigest()
        return replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            sample_ids=self.sample_ids[indices],
            groups=None if self.groups is None else self.groups[indices],
            truth=None if self.truth is None else self.truth.iloc[indices].reset_index(drop=True),
            identity=self.identity if len(indices) == len(self) else f"{self.identity}[{digest}]",
        )

    def subsample(self, n_images: int, seed: int = 0, at_least: int = 4) -> "NucleusDataset":
        """Return about `n_images` images drawn at random, classes in their proportions.

        Parameters
        ----------
        n_images : int
            The whole set is returned when it has no more than that.
        at_least : int
            A rare class keeps this many (or all it has), so that every fold can see it.
        """
        if n_images >= len(self):
            return self
        rng = np.random.default_rng(seed)
        kept = []
        for k, n in enumerate(self.counts()):
            wanted = min(n, max(at_least, round(n * n_images / len(self))))
            kept.append(rng.choice(np.flatnonzero(self.labels == k), wanted, replace=False))
        return self.select(np.sort(np.concatenate(kept)))

    def relabel(self, rule: dict[str, str], name: str) -> "NucleusDataset":
        """Return the set with its classes renamed or merged, e.g. {"G1": "not-G2", ..., "G2": "G2"}.

        Parameters
        ----------
        rule : dict
            New class of every old class; new classes are ordered by first appearance in the rule's values.
        name : str
            Name of the new set.
        """
        classes = tuple(dict.fromkeys(rule.values()))
        lookup = np.array([classes.index(rule[c]) for c in self.classes], dtype=np.int64)
        return replace(
            self, name=name, labels=lookup[self.labels], classes=classes, identity=f"{self.identity}>{classes}"
        )

    def describe(self) -> dict:
        """Return the facts that a run record keeps of its data (JSON-able)."""
        return {
            "name": self.name,
            "origin": self.origin,
            "identity": self.identity,
            "classes": list(self.classes),
            "counts": [int(n) for n in self.counts()],
            "shape": list(self.images.shape[1:]),
            "groups": 0 if self.groups is None else len(np.unique(self.groups)),
        }

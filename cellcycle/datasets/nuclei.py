"""`NucleusDataset`: labelled images of single nuclei, wherever they come from."""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from cellcycle.errors import DataError

# Images of a class below which a model cannot be trained and judged, and below which its scores say little.
FEWEST, FEW = 5, 20


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
    pixel_sizes_um : (N,) float64 or None
        Edge of a pixel of each image in the sample; NaN where its file does not say.
    fields : tuple of LabelledField
        Of nuclei that were labelled in whole fields: the fields they lie in, with all nuclei found there.
    places : (N, 2) int64 or None
        With `fields`: the index of each nucleus' field, and its index among the nuclei of that field.
    as_read : str
        Sizes and bit depths of the files, in words.
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
    pixel_sizes_um: np.ndarray | None = None
    fields: tuple = field(default=(), repr=False)
    places: np.ndarray | None = None
    as_read: str = ""
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

    @property
    def pixel_size_um(self) -> float | None:
        """Pixel size of all images; None where one is not known or another."""
        sizes = self.pixel_sizes_um
        if sizes is None or not len(sizes) or not np.allclose(sizes, sizes[0], rtol=0.01):
            return None
        return float(sizes[0])

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
            pixel_sizes_um=None if self.pixel_sizes_um is None else self.pixel_sizes_um[indices],
            places=None if self.places is None else self.places[indices],
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

    def check_for_training(self) -> tuple[str, ...]:
        """Refuse a set that no model can be trained on, and say what its scores will suffer from.

        Returns
        -------
        tuple of str
            A sentence each: classes of fewer than 20 images, and no groups.

        Raises
        ------
        DataError
            There are fewer than two classes, or fewer than 5 images of a class.
        """
        counts = self.counts()
        if len(counts) < 2:
            raise DataError(self.name, f"only one class ({counts.index[0]})", "give images of two or more classes")
        if counts.min() < FEWEST:
            missing = ", ".join(f"{name} has {n}" for name, n in counts[counts < FEWEST].items())
            raise DataError(
                self.name,
                f"too few images to train on: {missing} where {FEWEST} are needed",
                "add images, or leave the class out",
            )
        few = ", ".join(f"{name} {n}" for name, n in counts[counts < FEW].items())
        said = [f"classes of fewer than {FEW} images, whose scores say little: {few}"] if few else []
        if self.groups is None:
            said.append(
                "no groups are known: cells of one slide may be trained on and tested on, so that scores may flatter; "
                "name the slides in a column group, or in folders above the classes"
            )
        return tuple(said)

    def report(self) -> str:
        """Return what the set holds, for a person: images, counts by class and group, sizes, and what was noticed."""
        table = pd.DataFrame({"images": self.counts()})
        if self.groups is not None and len(np.unique(self.groups)) <= 20:
            table = table.join(pd.crosstab(np.array(self.classes)[self.labels], self.groups))
        size_um = "not known" if self.pixel_size_um is None else f"{self.pixel_size_um:.4g} um"
        notes = list(self.notes)
        try:
            notes += self.check_for_training()
        except DataError as error:
            notes.append(str(error))
        lines = [repr(self), table.to_string(), *filter(None, [self.as_read]), f"pixel size: {size_um}"]
        return "\n".join(lines + [f"note: {note}" for note in notes])

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

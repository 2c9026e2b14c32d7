"""`NucleusDataset`: labelled images of single nuclei, wherever they come from."""

import hashlib
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import pandas as pd

from cellcycle.arrays import as_crops
from cellcycle.errors import DataError, check_whole
from cellcycle.segmentation.regions import border_of

# Images per class: least number to train and test a model, and number below which scores are unreliable.
FEWEST, FEW = 5, 20
# Least ratio of the median light of G2 to that of G1. Measured: 1.4 to 2.1 for simulated cells and Jurkat cells, also
# if each crop is stretched by itself; about 1 for random labels.
_LEAST_OF_G1 = 0.8
# Fields with one entry per nucleus, besides the labels.
_OF_EACH = ("images", "sample_ids", "groups", "slides", "pixel_sizes_um", "stated_um", "places", "marks")


@dataclass(frozen=True, eq=False)
class NucleusDataset:
    """Labelled images of single nuclei.

    `images` (N, C, H, W) float32 in [0, 1] have one channel, the DNA stain, or three, RGB in artificial stain colours.
    Integer files are divided by the full range of their type, so intensities of different images stay comparable.
    `labels` (N,) int64 index `classes`: phases in the order G1, S, G2, M, then other classes in the order of their
    names. A split never divides one of the `groups` (N,) (field, well, copies of one nucleus); `groups_are_copies` says
    that only copies are known. `slides` (N,) name what was stained and exposed alike and so shares a G1 peak, if that
    differs from the groups. `identity` identifies the data set in records; `origin` is "simulated", "real" or
    "simulated and real". `pixel_sizes_um` (N,) are those of `images`, NaN if the file states none, `stated_um` (N,)
    those before resampling. Nuclei labelled in whole fields have these `fields` (`LabelledField`), and in `places`
    (N, 2) the index of their field and their index among the nuclei found there. `marks` (N, K) are those of
    `splits.marks_of`, taken before resampling. `as_read` describes the files, `truth` is the hidden state of simulated
    nuclei, one row per image. `notes` say what was corrected or left out; those in `exported` say how the files of two
    classes differ. Fields of another length than the labels, and a label of no class, are a `DataError`.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    sample_ids: np.ndarray
    identity: str
    origin: str
    groups: np.ndarray | None = None
    groups_are_copies: bool = False
    slides: np.ndarray | None = None
    pixel_sizes_um: np.ndarray | None = None
    stated_um: np.ndarray | None = None
    fields: tuple = field(default=(), repr=False)
    places: np.ndarray | None = None
    marks: np.ndarray | None = field(default=None, repr=False)
    as_read: str = ""
    truth: pd.DataFrame | None = None
    notes: tuple[str, ...] = field(default=())
    exported: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "images", as_crops(self.images, self.name, DataError))
        for name in ("labels", *_OF_EACH):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name)))
                if len(getattr(self, name)) != self.labels.size:
                    finding = f"{len(getattr(self, name))} {name} for {self.labels.size} labels"
                    raise DataError(self.name, finding, "give one a nucleus")
        outside = np.setdiff1d(self.labels, np.arange(len(self.classes)))
        if self.labels.size and (outside.size or self.labels.ndim != 1 or self.labels.dtype.kind not in "iu"):
            finding = f"labels of {self.labels.dtype}, such as {(*outside, *self.labels)[0]}"
            raise DataError(self.name, finding, f"give places in its {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {n}" for name, n in self.counts().items())
        n_groups = f", {len(np.unique(self.groups))} groups" if self.has_stated_groups else ""
        _, n_channels, height, width = self.images.shape
        shape = f"{n_channels} x {height} x {width} px"
        return f"<{self.name} ({self.origin}): {len(self)} nuclei, {shape}; {counts}{n_groups}>"

    @property
    def has_stated_groups(self) -> bool:
        """Whether `groups` say which nuclei lie together, and not only which are copies."""
        return self.groups is not None and not self.groups_are_copies

    @property
    def anchored_by(self) -> np.ndarray:
        """Name (N,) of what shares one G1 peak: the slide, else the group, else one for all nuclei."""
        stated = self.groups if self.has_stated_groups else np.zeros(len(self))
        return stated if self.slides is None else self.slides

    @property
    def size_px(self) -> int:
        """Side of the square images."""
        return self.images.shape[-1]

    @property
    def pixel_size_um(self) -> float | None:
        """Pixel size of all images in um; None if one is unknown or they differ by more than 1 %."""
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
            **{name: getattr(self, name)[indices] for name in ("labels", *_OF_EACH) if getattr(self, name) is not None},
            truth=None if self.truth is None else self.truth.iloc[indices].reset_index(drop=True),
            identity=self.identity if len(indices) == len(self) else f"{self.identity}[{digest}]",
        )

    def known_by(self) -> np.ndarray:
        """Return fingerprints (N, K) of each image, by which copies are found also in other data sets: its `marks`."""
        if self.marks is not None:
            return self.marks
        # Imported here because it is slow to import.
        from cellcycle.splits import marks_of

        return marks_of(self.images)

    def fields_known_by(self) -> np.ndarray:
        """Return the fingerprint (N,) of the field of each nucleus; "" for crops."""
        from cellcycle.splits import image_fingerprints

        if not self.fields:
            return np.full(len(self), "")
        return image_fingerprints([one.pixels[np.newaxis] for one in self.fields])[self.places[:, 0]]

    def subsample(self, n_images: int, seed: int = 0, least: int = 4) -> "NucleusDataset":
        """Return about `n_images` images drawn at random, classes in their proportions.

        A rare class keeps at least `least` images (or all it has), so that every fold can see it.
        """
        rng = np.random.default_rng(check_whole("seed", seed))
        if n_images >= len(self):
            return self
        kept = []
        for k, n in enumerate(self.counts()):
            wanted = min(n, max(least, round(n * n_images / len(self))))
            kept.append(rng.choice(np.flatnonzero(self.labels == k), wanted, replace=False))
        return self.select(np.sort(np.concatenate(kept)))

    def relabel(self, rule: dict[str, str], name: str) -> "NucleusDataset":
        """Return the set with classes renamed or merged by `rule` (old name to new), in the order of its values."""
        classes = tuple(dict.fromkeys(rule.values()))
        lookup = np.array([classes.index(rule[c]) for c in self.classes], dtype=np.int64)
        return replace(
            self, name=name, labels=lookup[self.labels], classes=classes, identity=f"{self.identity}>{classes}"
        )

    def check_for_training(self) -> tuple[str, ...]:
        """Refuse a set on which no model can be trained; return sentences on what makes its scores unreliable."""
        counts = self.counts()
        if len(counts) < 2:
            raise DataError(self.name, f"only one class ({counts.index[0]})", "give images of two or more classes")
        if counts.min() < FEWEST:
            missing = [f"{name} has {n}" for name, n in counts[counts < FEWEST].items()]
            shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
            finding = f"too few images to train on: {shown} where {FEWEST} are needed"
            raise DataError(self.name, finding, "add images, or leave the class out")
        few = ", ".join(f"{name} {n}" for name, n in counts[counts < FEW].items())
        said = [f"classes of fewer than {FEW} images, whose scores say little: {few}"] if few else []
        if not self.has_stated_groups:
            said.append(
                "no groups are known: cells of one slide may be in training and test, so that scores may be too high; "
                "name the slides in a column group, or in folders above the classes"
            )
        return (*said, *self.told_by_groups, *self._told_by_light())

    def _told_by_light(self) -> tuple[str, ...]:
        """Return a sentence if nuclei called G2 have clearly less integrated intensity than those called G1."""
        if not {"G1", "G2"} <= set(self.classes):
            return ()
        planes = (image.mean(axis=0) for image in self.images)
        light = np.array([(plane - np.median(border_of(plane))).sum() for plane in planes])
        one, two = (np.median(light[self.labels == self.classes.index(name)]) for name in ("G1", "G2"))
        if one <= 0 or two >= _LEAST_OF_G1 * one:
            return ()
        said = f"nuclei labelled G2 have {two / one:.2f} times the light of G1, but should have twice as much"
        return (f"{said}: are the labels mixed up?",)

    @property
    def told_by_groups(self) -> tuple[str, ...]:
        """A sentence if stated groups separate two classes, for example if each class has its own slide.

        Any difference between groups, such as stain or exposure, then separates these classes.
        """
        names = np.array(self.classes)[self.labels]
        # Least share 0, because a class may have many groups.
        said = difference(names, self.groups, "group", 0) if self.has_stated_groups else ""
        return (said,) if said else ()

    def report(self) -> str:
        """Return a text that describes the set: images, counts by class and group, pixel size, and notes."""
        table = pd.DataFrame({"images": self.counts()})
        if self.has_stated_groups and len(np.unique(self.groups)) <= 20:
            table = table.join(pd.crosstab(np.array(self.classes)[self.labels], self.groups))
        size_um = "not known" if self.pixel_size_um is None else f"{self.pixel_size_um:.4g} um"
        if self.pixel_size_um is not None and self.fields:
            # Those of the fields: crops may have been scaled.
            sizes = sorted(f.nuclei.pixel_size_um for f in self.fields)
            size_um = " to ".join(dict.fromkeys(f"{size:.4g}" for size in (sizes[0], sizes[-1]))) + " um"
        elif self.pixel_size_um is not None and self.as_read:
            size_um += f" in images of {self.size_px} x {self.size_px} px"
        notes = list(self.notes)
        try:
            notes += self.check_for_training()
        except DataError as error:
            notes.append(str(error))
        lines = [repr(self), table.to_string(), *filter(None, [self.as_read]), f"pixel size: {size_um}"]
        return "\n".join(lines + [f"note: {note}" for note in notes])

    def describe(self) -> dict:
        """Return the facts that a run record keeps of its data."""
        return {
            "name": self.name,
            "origin": self.origin,
            "identity": self.identity,
            "classes": list(self.classes),
            "counts": [int(n) for n in self.counts()],
            "shape": list(self.images.shape[1:]),
            "groups": 0 if self.groups is None else len(np.unique(self.groups)),
        }


def difference(labels, values, name: str, least_share: float = 0.5) -> str:
    """Return a sentence if a property with one value per cell separates two classes, else ""."""
    counts = pd.crosstab(pd.Series(list(values)), pd.Series(list(labels)))
    # Smaller classes allow no conclusion; labels that differ in each row (a dragged table cell) make too many pairs.
    counts = counts.loc[:, counts.sum() >= FEWEST]
    told = [(pair, of) for pair in combinations(counts, 2) if _tells(of := counts[list(pair)], least_share)]
    if not told:
        return ""
    pair, of = told[0]
    more = {1: "", 2: ", and so does 1 more pair"}.get(len(told), f", and so do {len(told) - 1} more pairs")
    return f"{' and '.join(pair)} differ in {name} ({', '.join(of.idxmax())}){more}: a model can tell them apart by it"


def _tells(counts: pd.DataFrame, least_share: float) -> bool:
    """Return whether a property separates two classes, by the counts (V, 2) of its values in these.

    It does if naming the larger class of each value leaves less than half of the errors of always naming the larger
    class. Values rarer than `FEWEST` cells and `least_share` of the cells in both classes count as one value.
    """
    n_cells = counts.sum()
    is_usual = ((counts >= FEWEST) & (counts >= n_cells * least_share)).any(axis=1)
    n_wrong = counts[is_usual].min(axis=1).sum() + counts[~is_usual].sum().min()
    return 2 * n_wrong < n_cells.min()

"""Profiles: the size of a run of the study, and the settings that depend on it."""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from cellcycle import files
from cellcycle.datasets import NucleusDataset, load_dataset, source_kind, source_name
from cellcycle.datasets.simulated import load_simulated
from cellcycle.errors import check_choice, check_whole
from cellcycle.tasks import jobs_of

# Images of the study, on which the epochs of the profiles were chosen.
STUDY_IMAGES = 493


@dataclass(frozen=True)
class Profile:
    """Settings of the study at one size."""

    name: str
    data: str = "simulated"
    # Data set on which the transfer notebook pretrains its network.
    source: str = "simulated-nagao"
    seed: int = 0
    # What to do with unreadable files of the data set: "raise" or "skip".
    on_error: str = "raise"
    # Side of the images in pixels; smaller images keep their size.
    size_px: int = 64
    # A larger data set is sampled down to about this number of images, with the same shares of classes.
    max_images: int | None = None
    n_folds: int = 5
    n_repeats: int = 1
    # Epochs per kind of model ("best" is the recipe) on a set of the study's size; larger ones get fewer
    # (`epochs_for`). Doubling them should not help (`transfers.has_settled`); notebook 09 shows where it would.
    epochs: dict[str, int] = field(default_factory=dict)
    # Augmented copies of each image in D2.
    copies: int = 3
    # Stride of the first convolution of a ResNet.
    stem_stride: int = 2
    # The design space of the Nagao network.
    nagao_stages: tuple[int, ...] = (6,)
    nagao_widths: tuple[int, ...] = (8,)
    # What the tuning notebook searches: the range of learning rates, the batch sizes, the number of settings, and the
    # rounds: in each, the fraction of the epochs that a setting gets, and the number of settings that remain.
    learning_rates: tuple[float, float] = (1e-4, 5e-3)
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64)
    n_trials: int = 9
    rounds: tuple[tuple[float, int], ...] = ((1 / 6, 3), (1 / 2, 1))
    # Number of seeds under which the headline models are cross-validated.
    n_seeds: int = 3
    # Numbers of simulated training images in the learning curves; fractions of the labels in the transfer notebook.
    learning_sizes: tuple[int, ...] = (100, 493, 1480, 4930)
    label_shares: tuple[float, ...] = (0.05, 0.1, 0.25, 1.0)
    # Number of processes of a cross-validation.
    n_jobs: int = 1
    device: str = "cpu"
    # Folder for records and figures, instead of the usual places.
    output: str = ""

    def __post_init__(self):
        for name in ("seed", "size_px", "n_folds", "n_repeats"):
            check_whole(name, getattr(self, name))
        jobs_of(self.n_jobs)

    @property
    def folds(self) -> dict[str, int]:
        """The settings of the cross-validation, with the names that they have in a record."""
        return {"n_folds": self.n_folds, "n_repeats": self.n_repeats, "seed": self.seed}

    @property
    def study_labels(self) -> int:
        """The one of `learning_sizes` nearest to `STUDY_IMAGES`, without the last (largest) one."""
        return min(self.learning_sizes[:-1], key=lambda n: abs(n - STUDY_IMAGES))

    def table(self, *names: str, epochs=()) -> pd.DataFrame:
        """Return a table of profile, data set, seed, the settings `names`, and the epochs of the kinds in `epochs`."""
        shown = {"profile": self.name} | {name: getattr(self, name) for name in ("data", "seed", *names)}
        shown |= {f"epochs of {kind}": self.epochs[kind] for kind in epochs}
        rounded = {n: re.sub(r"\d\.\d{5,}", lambda found: f"{float(found[0]):.2g}", str(v)) for n, v in shown.items()}
        return pd.DataFrame({"setting": rounded})

    def load_dataset(self, name: str | None = None, size_px: int | None = None) -> NucleusDataset:
        """Return the profile's data set (or a named one), with at most about `max_images` images."""
        name, size_px = name or self.data, size_px or self.size_px
        if source_kind(name) == "simulated":  # only as many as needed: simulating takes longer than training
            return load_simulated(name, size_px, self.seed, self.max_images)
        dataset = load_dataset(name, size_px=size_px, seed=self.seed, on_error=self.on_error)
        return dataset if self.max_images is None else dataset.subsample(self.max_images, self.seed)

    @property
    def is_recorded(self) -> bool:
        """Whether records and figures go into the checkout; otherwise they go to `output` or the build folder."""
        is_elsewhere = self.output or os.environ.get("CELLCYCLE_OUTPUT") or not files.repository()
        is_usual = (self.name, self.data, self.source) == ("study", "simulated", Profile.source)
        return is_usual and not is_elsewhere

    def results_dir(self) -> Path:
        """Return the folder of this profile's run records on its data set."""
        return files.repository() / "data" / "results" / "study" if self.is_recorded else self._output("results")

    def figures_dir(self) -> Path:
        """Return the folder of this profile's figures."""
        return files.repository() / "figures" if self.is_recorded else self._output("figures")

    def _output(self, kind: str) -> Path:
        return Path(self.output or files.build_dir()) / kind / self.name / files.slug(source_name(self.data))

    def epochs_for(self, network: str, n_images: int, epochs: int | None = None) -> int:
        """Return the number of epochs on a data set of `n_images`, if a set of the study's size gets `epochs`.

        Above the study's size, epochs fall with the square root of the size: the number of steps still grows, but
        training takes an evening instead of a night. `epochs` are the profile's by default.
        """
        kind = next((kind for kind in ("resnet", "nagao") if network.startswith(kind)), network)
        shrink = min(1.0, (STUDY_IMAGES / n_images) ** 0.5)
        return max(1, round((epochs or self.epochs[kind]) * shrink))


PROFILES = {
    "smoke": Profile(
        name="smoke",
        size_px=32,
        max_images=64,
        n_folds=2,
        epochs={"logistic": 2, "nn": 2, "resnet": 1, "nagao": 2, "best": 2},
        copies=1,
        nagao_stages=(3, 6),
        nagao_widths=(4,),
        n_trials=2,
        rounds=((1 / 2, 1),),
        n_seeds=2,
        learning_sizes=(32, 48),
        label_shares=(0.5, 1.0),
    ),
    "study": Profile(
        name="study",
        epochs={"logistic": 40, "nn": 30, "resnet": 32, "nagao": 24, "best": 12},
        copies=2,
        nagao_stages=(2, 3, 4, 5, 6, 7),
        nagao_widths=(4, 8),
        n_jobs=2,
    ),
    "paper": Profile(
        name="paper",
        size_px=300,
        stem_stride=1,
        epochs={"logistic": 60, "nn": 60, "resnet": 60, "nagao": 60, "best": 60},
        nagao_stages=(2, 3, 4, 5, 6, 7),
        nagao_widths=(4, 8, 16, 32),
        learning_rates=(5e-5, 5e-3),
        batch_sizes=(4, 8, 16, 32, 64, 100),
        n_trials=54,
        rounds=((1 / 9, 18), (1 / 3, 6), (1, 1)),
        device="cuda",
    ),
}


def load_profile(name: str = "", data: str = "", seed: int = 0, source: str = "") -> Profile:
    """Return a profile by name (empty: $CELLCYCLE_PROFILE, else "study"), for a data set and a seed.

    `data` is what `load_dataset` takes; empty: $CELLCYCLE_DATA, else "simulated". `source` is the set on which the
    transfer notebook pretrains; empty: $CELLCYCLE_SOURCE, else "simulated-nagao". A GPU is used only if there is one.
    """
    name = name or os.environ.get("CELLCYCLE_PROFILE") or "study"
    data = data or os.environ.get("CELLCYCLE_DATA") or "simulated"
    check_choice("profile", name, PROFILES)
    on_error = "skip" if os.environ.get("CELLCYCLE_SKIP_UNREADABLE") else "raise"
    source = source or os.environ.get("CELLCYCLE_SOURCE") or Profile.source
    profile = replace(PROFILES[name], data=data, seed=seed, on_error=on_error, source=source)
    if profile.device == "cuda":
        import torch

        profile = replace(profile, device="cuda" if torch.cuda.is_available() else "cpu")
    return profile

"""What lies in the archives of the public sets, in the layouts that their authors document."""

from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.datasets.files import as_dataset, load_files
from cellcycle.datasets.nuclei import NucleusDataset
from cellcycle.errors import DataError
from cellcycle.images import list_images

_MITOSIS = ("Prophase", "Metaphase", "Anaphase", "Telophase")


def nagao(name: str, part: str, folder: Path, notes, size_px: int | None) -> NucleusDataset:
    """G2 or not, by nucleus: the authors' copies of a nucleus, which stand in fours, share a group."""
    found = {file.parent: file for file in sorted(folder.rglob("x_train.npy"))}
    named = [at for at in found if (part or "HeLa_Hoechst-GM130") in at.relative_to(folder).parts]
    chosen = named or ([] if part or len(found) != 1 else list(found))
    if not chosen:
        there = sorted({at.parent.name if at.name == "data" else at.name for at in found}) or ["no x_train.npy"]
        raise DataError(name, f"its archives hold {', '.join(there)}", "name one of them: nagao2020/NAME")
    pictures, rows, changed = [], [], "the layout has changed; leave the set out"
    for side, x, y in (("train", "x_train.npy", "y_train.npy"), ("test", "X_test.npy", "Y_test.npy")):
        images, labels = _array(chosen[0] / x), _array(chosen[0] / y)
        labels = labels.argmax(axis=1) if labels.ndim == 2 and labels.shape[1] == 2 else labels.reshape(-1)
        copies = 4 if side == "train" else 1
        nucleus = np.arange(len(labels)) // copies
        fits = images.ndim == 4 and images.shape[3] == 3 and images.dtype == np.uint8 and len(images) == len(labels)
        if not fits or len(labels) % copies or not np.isin(labels, (0, 1)).all():
            finding = f"array {images.shape} of {images.dtype} with {len(labels)} labels, not (4 n, H, W, 3) of uint8"
            raise DataError(chosen[0] / x, finding, changed)
        if any((labels[k::copies] != labels[::copies]).any() for k in range(copies)):
            raise DataError(chosen[0] / y, "copies of a nucleus differ in label", changed)
        # OpenCV wrote blue first, which is Hoechst.
        pictures += [image[:, :, 0].astype(np.float32) / 255 for image in images]
        for k, (label, n) in enumerate(zip(labels, nucleus, strict=True)):
            rows.append((f"{side}/{n:04d}/{k % copies}", "not-G2" if label else "G2", f"{side}/{n:04d}"))
    entries = pd.DataFrame(rows, columns=["sample_id", "label", "group"]).assign(pixel_size_um=np.nan)
    notes = [*notes, "every nucleus of the training array stands with three copies, turned or shifted: one group"]
    return as_dataset(chosen[0], name, entries, pictures, notes, size_px, "skip")


def _array(file: Path) -> np.ndarray:
    """Read an array as long as its header says, and nothing that would be run."""
    try:
        # Mapped, so that a header cannot ask for more memory than the file has.
        return np.array(np.load(file, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(file, f"no array ({error})", "delete its folder and fetch the set again") from error


def bbbc048(name: str, part: str, folder: Path, notes, size_px: int | None) -> NucleusDataset:
    """Jurkat cells by phase: four phases, or the seven of the set with "bbbc048/7"."""
    root = next((p.parent for p in sorted(folder.rglob("G1")) if p.is_dir()), None)
    if root is None or part not in ("", "7"):
        found = "no folder G1 in its archive" if root is None else f"no version {part!r}"
        raise DataError(name, found, "use bbbc048 (four phases) or bbbc048/7 (all seven)")
    rows = []
    for phase in ("G1", "S", "G2", *_MITOSIS):
        files = list_images(root / phase) if (root / phase).is_dir() else []
        # Channel 4 is propidium iodide, the DNA; `_merged` holds all channels in one picture.
        dna = [f for f in files if "_ch4" in f.name.lower()] or [f for f in files if "_ch" not in f.name.lower()]
        rows += [(f, phase if part or phase not in _MITOSIS else "M", f"{phase}/{f.name}") for f in dna]
    entries = pd.DataFrame(rows, columns=["path", "label", "sample_id"])
    if entries.empty:
        raise DataError(root, "no images", "delete the folder and fetch the set again")
    return load_files(root, name, entries, notes, size_px, "skip")

"""Public sets of labelled nuclei: the user downloads them once, under their licences; none is part of this package.

Known hashes are listed here. An unknown hash is recorded at the first download and checked at later ones.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import requests
from platformdirs import user_cache_path

from cellcycle import files
from cellcycle.datasets.download import fetch_file, unpack
from cellcycle.datasets.files import as_dataset, load_files
from cellcycle.datasets.nuclei import NucleusDataset
from cellcycle.errors import DataError, SettingError, shown
from cellcycle.images import list_images

_BROAD = "https://data.broadinstitute.org/bbbc"
_MITOSIS = ("Prophase", "Metaphase", "Anaphase", "Telophase")


@dataclass(frozen=True)
class PublicSet:
    """What is known of a public set before the download.

    `page` describes the set for people. `files` are the URLs of its archives, each with its hash ("sha256:...") or
    None if unknown; otherwise `record` is the URL of a Zenodo record's description, which lists the archives.
    """

    title: str
    licence: str
    page: str
    files: dict[str, str | None] = field(default_factory=dict)
    record: str = ""
    most_bytes: int = 8_000_000_000


PUBLIC = {
    "nagao2020": PublicSet(
        "HeLa cells, Hoechst, G2 or not (Nagao et al. 2020)",
        "the one that its Zenodo record states",
        "https://doi.org/10.5281/zenodo.3745864",
        record="https://zenodo.org/api/records/3745864",
    ),
    "bbbc048": PublicSet(
        "32,266 Jurkat cells of imaging flow cytometry, seven phases (Eulenberg et al. 2017)",
        "CC BY-NC-SA 3.0: no commercial use, and what is made from it is shared alike",
        "https://bbbc.broadinstitute.org/BBBC048",
        {f"{_BROAD}/BBBC048/BBBC048v1.zip": None},
    ),
    "bbbc039": PublicSet(
        "200 fields of U2OS nuclei, Hoechst, with outlines and without phases (Caicedo et al. 2019)",
        "CC0: free for any use",
        "https://bbbc.broadinstitute.org/BBBC039",
        {
            f"{_BROAD}/BBBC039/images.zip": "sha256:6f30a5d4fe38c928ded972704f085975f8dc0d65d9aa366df00e5a9d449fddd7",
            f"{_BROAD}/BBBC039/masks.zip": "sha256:f9e6043d8ca56344a4886f96a700d804d6ee982f31e2b2cd3194af2a053c2710",
            f"{_BROAD}/BBBC039/metadata.zip": "sha256:a2c1f900bed9ba92a99553efd4c2ae98598433691c7401d818653ab61110deb2",
        },
    ),
}


def fetch(name: str, agree: bool = False) -> tuple[Path, list[str]]:
    """Download and unpack the missing parts of a public set, once the user agreed to its licence.

    Returns the folder with the archives and their unpacked folders, and notes on the hashes that were recorded.
    """
    known, folder = of_name(name), public_dir() / name
    facts = _facts(folder)
    if "agreed" not in facts:
        facts["agreed"] = licence_of(name)
        if not agree:
            finding = f"its licence is {facts['agreed']}; nobody has agreed to it here"
            raise DataError(name, finding, f"read {known.page}, then: cellcycle data fetch {name} --agree")
    _write_facts(folder, facts)
    notes = []
    for file, (url, expected) in _archives(known, folder, facts).items():
        notes += _fetch_archive(folder / file, url, expected, known, facts)
        _write_facts(folder, facts)
    return folder, notes


def _fetch_archive(archive: Path, url: str, expected: str | None, known: PublicSet, facts: dict) -> list[str]:
    """Fetch, check and unpack one archive; its hash is recorded only after it could be unpacked. Return notes."""
    recorded = facts.setdefault("sha256", {}).get(archive.name)
    fetch_file(url, archive, f"sha256:{recorded}" if recorded else expected, known.most_bytes)
    unpacked = archive.with_suffix("")
    if not recorded or not unpacked.is_dir():
        try:
            unpack(archive, unpacked)
        except DataError:
            archive.unlink(missing_ok=True)
            raise
    if recorded:
        return []
    facts["sha256"][archive.name] = pooch.file_hash(str(archive))
    if expected:
        return []
    said = f"the hash of {archive.name} was not known before: sha256 {facts['sha256'][archive.name]}"
    return [f"{said} is recorded, and checked from now on"]


def of_name(name: str) -> PublicSet:
    """Return the `PublicSet` of a name."""
    if name not in PUBLIC:
        raise SettingError(name, "no such public set", f"use one of {', '.join(PUBLIC)}")
    return PUBLIC[name]


def has_agreed(name: str) -> bool:
    """Return whether a user of this computer agreed to the licence of a set."""
    return "agreed" in _facts(public_dir() / name)


def public_dir() -> Path:
    """Return the download folder: in $CELLCYCLE_OUTPUT if that is set, else in the user's cache."""
    if os.environ.get("CELLCYCLE_OUTPUT"):
        return files.build_dir() / "public"
    return user_cache_path("cellcycle") / "public"


def _facts(folder: Path) -> dict:
    """Return the stored facts of a set: the licence agreed to, the hashes of its archives, the files of its record."""
    file = folder / "facts.json"
    try:
        facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        parts = (facts, facts.get("sha256", {}), facts.get("files", {}))
        if not all(isinstance(part, dict) for part in parts) or any(len(pair) != 2 for pair in parts[2].values()):
            raise ValueError("it holds something else")
        return facts
    except (OSError, ValueError, AttributeError, TypeError) as error:
        # Archives in the same folder are used again after that.
        raise DataError(file, f"cannot be read ({error})", "delete this file and fetch the set again") from error


def _write_facts(folder: Path, facts: dict) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(folder, f"cannot be made ({error.strerror})", "check the folder above it") from error
    with files.whole_file(folder / "facts.json") as unfinished:
        unfinished.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _archives(known: PublicSet, folder: Path, facts: dict) -> dict[str, tuple[str, str | None]]:
    """Return the URL and hash of each archive; if a Zenodo record cannot be read, of the archives already there."""
    if not known.record:
        return {url.rsplit("/", 1)[1]: (url, sha256) for url, sha256 in known.files.items()}
    if "files" not in facts:
        try:
            listed = {str(f["key"]): (f["links"]["self"], f["checksum"]) for f in _record(known)["files"]}
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            at_hand = sorted(folder.glob("*.zip"))
            if at_hand:
                return {file.name: (known.record, None) for file in at_hand}
            finding = f"the list of its files cannot be read ({type(error).__name__})"
            remedy = f"check the network, or download the archives from {known.page} elsewhere into {folder}"
            raise DataError(known.record, finding, remedy) from error
        archives = {name: entry for name, entry in listed.items() if name.endswith(".zip") and Path(name).name == name}
        if not archives:
            raise DataError(known.record, f"lists no ZIP archive ({', '.join(listed)})", f"look at {known.page}")
        facts["files"] = archives
    return facts["files"]


def _record(known: PublicSet) -> dict:
    answer = requests.get(known.record, timeout=(20, 60))
    answer.raise_for_status()
    return answer.json()


def licence_of(name: str) -> str:
    """Return the licence of a set in words; for a Zenodo record the one that it states, if it can be read."""
    known = of_name(name)
    if known.record:
        with suppress(requests.RequestException, ValueError, KeyError, TypeError):
            return f"{shown(_record(known)['metadata']['license']['id'])}, as its Zenodo record states"
    return known.licence


def load_public(name: str, size_px: int | None):
    """Load a public set for `load_dataset`; fetch it if its licence was agreed to."""
    base, _, part = name.partition("/")
    folder, notes = fetch(base)
    load = {"nagao2020": _nagao, "bbbc048": _bbbc048}.get(base)
    if load is None:
        remedy = f"use its fields: cellcycle predict {folder / 'images'}"
        raise DataError(name, "whole fields without phases: nothing to train on", remedy)
    return load(name, part, folder, notes, size_px)


def _nagao(name: str, part: str, folder: Path, notes, size_px: int | None) -> NucleusDataset:
    """Load G2 / not-G2 nuclei of Nagao et al.; the four consecutive copies of a training nucleus share a group."""
    found = [file.parent for file in sorted(folder.rglob("x_train.npy"))]
    named = [at for at in found if (part or "HeLa_Hoechst-GM130") in at.relative_to(folder).parts]
    chosen = named or ([] if part or len(found) != 1 else found)
    if not chosen:
        there = sorted({at.parent.name if at.name == "data" else at.name for at in found}) or ["no x_train.npy"]
        raise DataError(name, f"its archives hold {', '.join(there)}", "name one of them: nagao2020/NAME")
    pictures, rows, changed = [], [], "the layout has changed; leave the set out"
    for side, x, y in (("train", "x_train.npy", "y_train.npy"), ("test", "X_test.npy", "Y_test.npy")):
        images, labels = _array(chosen[0] / x), _array(chosen[0] / y)
        labels = labels.argmax(axis=1) if labels.ndim == 2 and labels.shape[1] == 2 else labels.reshape(-1)
        copies = 4 if side == "train" else 1
        fits = images.ndim == 4 and images.shape[3] == 3 and images.dtype == np.uint8 and len(images) == len(labels)
        if not fits or len(labels) % copies or not np.isin(labels, (0, 1)).all():
            finding = f"array {images.shape} of {images.dtype} with {len(labels)} labels, not (4 n, H, W, 3) of uint8"
            raise DataError(chosen[0] / x, finding, changed)
        if (labels.reshape(-1, copies) != labels[::copies, None]).any():
            raise DataError(chosen[0] / y, "copies of a nucleus differ in label", changed)
        # OpenCV wrote the blue channel first; it holds the Hoechst stain.
        pictures += [image[:, :, 0].astype(np.float32) / 255 for image in images]
        for k, label in enumerate(labels):
            nucleus = f"{side}/{k // copies:04d}"
            rows.append((f"{nucleus}/{k % copies}", "not-G2" if label else "G2", nucleus))
    entries = pd.DataFrame(rows, columns=["sample_id", "label", "group"]).assign(pixel_size_um=np.nan)
    notes = [*notes, "every nucleus of the training array has three copies, turned or shifted: one group"]
    return as_dataset(chosen[0], name, entries, pictures, notes, size_px, "skip")


def _array(file: Path) -> np.ndarray:
    """Read a NumPy array from a file, without pickled objects, which could run code."""
    try:
        # Memory-mapped, so that a wrong header cannot request more memory than the file has bytes.
        return np.array(np.load(file, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(file, f"no array ({error})", "delete its folder and fetch the set again") from error


def _bbbc048(name: str, part: str, folder: Path, notes, size_px: int | None) -> NucleusDataset:
    """Load Jurkat cells by phase: four phases, or all seven of the set with "bbbc048/7"."""
    root = next((p.parent for p in sorted(folder.rglob("G1")) if p.is_dir()), None)
    if root is None or part not in ("", "7"):
        found = "no folder G1 in its archive" if root is None else f"no version {part!r}"
        raise DataError(name, found, "use bbbc048 (four phases) or bbbc048/7 (all seven)")
    rows = []
    for phase in ("G1", "S", "G2", *_MITOSIS):
        there = list_images(root / phase) if (root / phase).is_dir() else []
        # Channel 4 is propidium iodide, the DNA; `_merged` holds all channels in one picture.
        dna = [f for f in there if "_ch4" in f.name.lower()] or [f for f in there if "_ch" not in f.name.lower()]
        rows += [(f, phase if part or phase not in _MITOSIS else "M", f"{phase}/{f.name}") for f in dna]
    entries = pd.DataFrame(rows, columns=["path", "label", "sample_id"])
    if entries.empty:
        raise DataError(root, "no images", "delete the folder and fetch the set again")
    return load_files(root, name, entries, notes, size_px, "skip")

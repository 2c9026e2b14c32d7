"""The visitors' data on disk: one folder per visitor, in it one per image, under names that the server made.

No text of a client becomes part of a path, except an id, which must have the form of `new_id` and exist in the
visitor's folder. An image's folder contains `upload` until it is read, then `plane/`, `call-<token>/` and `about.json`,
which names the current call, so that files of two calls never mix. The visitor's labels are in `said.json`: hash of the
nuclei found -> number of a nucleus -> labels. They survive other settings; the last label that is a class of the model
counts. Numbers of nuclei found under earlier settings are in `numbers-<hash>.json`. The folder of a model trained on
corrections contains `model/` and `trained.json`, that of a plate map `map.csv`.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from weakref import WeakValueDictionary

from cellcycle.app.fine_tune import MODEL, TRAINED
from cellcycle.app.guard import DISK_FULL, Refusal, busy
from cellcycle.app.limits import MB, Limits
from cellcycle.app.worker import NUMBERS
from cellcycle.files import replace_json
from cellcycle.names import apart
from cellcycle.review import NONE

PLATE_MAP = "map.csv"
NOTHING_KEPT = "nothing is kept for you any more; give the images again"
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
# Patterns of what a server creates in its folder; it deletes nothing else there.
WORK, TRAINING, _REQUESTS, _VISITORS = ".work", ".training", ".request-", 32 * "[0-9a-f]"
_NAME, _ABOUT, _SAID = "name", "about.json", "said.json"
# Most segmentations of one image for which labels are kept.
_MOST_WAYS = 20
# A folder is complete if it contains one of these.
_WHOLE = (_ABOUT, TRAINED, PLATE_MAP)


def new_id() -> str:
    """Return 128 random bits as text."""
    return secrets.token_urlsafe(16)


def is_id(text: str) -> bool:
    """Return whether a text has the form of an id of `new_id`."""
    return _ID.fullmatch(text) is not None


def labels_of(about: dict) -> set[str]:
    """Return the labels that nuclei of an image may get: the classes of its model, and "none"."""
    return {*about.get("counts", ()), NONE} - {""}


class Store:
    """The images and results of all visitors, in a folder that only its owner can read, also those of earlier runs."""

    def __init__(self, folder: Path, limits: Limits):
        self.folder, self._limits = folder, limits
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        # Delete incomplete work of a killed run.
        made = (WORK, TRAINING, f"{_REQUESTS}*", f"{_VISITORS}/*")
        for left in [path for name in made for path in folder.glob(name)]:
            if left.is_dir() and not any((left / name).exists() for name in _WHOLE):
                shutil.rmtree(left, ignore_errors=True)
        self._sizes: dict[Path, int] = {}
        for image in folder.glob(f"{_VISITORS}/*"):
            self.measure(image)
        # Locks of images that are called again: two calls at once would delete each other's results.
        self.locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    def visitor(self, cookie: str) -> "Visitor":
        """Return the visitor of a cookie; refuse one that is not of the form of `new_id`."""
        if not is_id(cookie):
            raise Refusal(403, "the page was not loaded from here, or its cookie is missing; load it again")
        folder = self.folder / hashlib.sha256(cookie.encode()).hexdigest()[:32]
        with contextlib.suppress(FileNotFoundError):
            # The time of the last request is kept in the file system, so that the next run knows it too.
            os.utime(folder, (time.time(), time.time()))
        return Visitor(self, folder, self._limits)

    @contextlib.contextmanager
    def scratch(self):
        """Yield a folder for one request, inside this store, so that the next run deletes what a killed run left."""
        with tempfile.TemporaryDirectory(prefix=_REQUESTS, dir=self.folder) as folder:
            try:
                yield Path(folder)
            finally:
                self._forget_sizes(Path(folder))

    def check_room(self, part: Path | None = None) -> None:
        """Refuse if the allowed disk space is full: 413 if the request of `part` alone needs more, else 503."""
        self.tidy()
        most = self._limits.disk_mb
        if self.n_bytes <= most * MB:
            return
        is_request = part is not None and part.parent.name.startswith(_REQUESTS)  # see `scratch`
        own = sum(size for path, size in self._sizes.items() if is_request and path.parent == part.parent)
        if own > most * MB:
            raise Refusal(413, f"its images need more than the {most:g} MB of disk that this server has; give fewer")
        raise busy(DISK_FULL)

    @property
    def n_bytes(self) -> int:
        """Bytes on disk of all measured folders."""
        return sum(self._sizes.values())

    def measure(self, image: Path) -> None:
        """Record the disk space of an image's folder, or a part of a request's folder, or that it is gone."""
        self._sizes.pop(image, None)
        # If a worker removes a file meanwhile, the size is recorded the next time.
        with contextlib.suppress(FileNotFoundError):
            self._sizes[image] = sum(path.stat().st_size for path in [image, *image.rglob("*")])

    def tidy(self) -> None:
        """Delete the data of visitors who made no request for longer than `kept_s`."""
        for folder in self.folder.glob(_VISITORS):
            if time.time() - folder.stat().st_mtime > self._limits.kept_s:
                shutil.rmtree(folder, ignore_errors=True)
                self._forget_sizes(folder)

    def _forget_sizes(self, folder: Path) -> None:
        self._sizes = {path: size for path, size in self._sizes.items() if path.parent != folder}


class Visitor:
    """One visitor's images, in the order in which they were given, plate map, and own model."""

    def __init__(self, store: Store, folder: Path, limits: Limits):
        self._store, self._folder, self._limits, self.key = store, folder, limits, folder.name
        self.check_room = store.check_room

    def new_image(self, name: str) -> tuple[Path, str]:
        """Create the folder of a new image, named by its id; return it, and a unique name of the image."""
        names = list(self._folder.glob(f"*/{_NAME}"))
        if len(names) >= self._limits.images:
            raise Refusal(409, f"{self._limits.images} images are kept for you; remove some before you give more")
        self.check_room()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        image = self._folder / new_id()
        # Rows of images are distinguished by name, so names must be unique, also if several arrive at once.
        name = apart([*(file.read_text("utf-8") for file in names), name])[-1]
        image.mkdir(mode=0o700)
        (image / _NAME).write_text(name, "utf-8")
        return image, name

    def image(self, key: str) -> Path:
        """Return the folder of an image by its id; refuse (404) an unknown one."""
        if not is_id(key) or not (self._folder / key / _ABOUT).is_file():
            raise Refusal(404, "this image is no longer kept on the server; give it again")
        return self._folder / key

    def images(self) -> list[dict]:
        """Return the data on each image, see `about`."""
        found = [self.about(path.parent) for path in self._folder.glob(f"*/{_ABOUT}")]
        return sorted(found, key=lambda about: about["number"])

    def about(self, image: Path) -> dict:
        """Return the data on an image, with the `corrections` of its nuclei: number -> class or "none".

        `aside` is the number of labels that belong to other nuclei found earlier, or are no class of the model.
        """
        about = json.loads((image / _ABOUT).read_text("utf-8"))
        kept, found, allowed = _said(image), about.get("found"), labels_of(about)
        here = {n: [label for label in labels if label in allowed] for n, labels in kept.get(found, {}).items()}
        n_kept = sum(len(labels) for said in kept.values() for labels in said.values())
        corrections = {number: labels[-1] for number, labels in here.items() if labels}
        return about | {"id": image.name, "corrections": corrections, "aside": n_kept - sum(map(len, here.values()))}

    def keep(self, image: Path, about: dict) -> dict:
        """Write the data on an image, delete its older calls, and return the data as `about` does."""
        old = self.about(image) if (image / _ABOUT).exists() else {"number": time.time_ns()}
        replace_json(image / _ABOUT, about | {"number": old["number"]})
        if old.get("found") != about.get("found") and "call" in old:
            # A page that still shows the old nuclei may yet send labels of them.
            with contextlib.suppress(FileNotFoundError):
                os.replace(image / old["call"] / NUMBERS, image / f"numbers-{old['found']}.json")
            # Calls do not check disk space, so the number of these files is limited.
            for file in sorted(self.earlier(image).values(), key=lambda file: file.stat().st_mtime_ns)[:-_MOST_WAYS]:
                file.unlink()
        for folder in image.glob("call-*"):
            if folder.name != about.get("call"):
                shutil.rmtree(folder, ignore_errors=True)
        self._store.measure(image)
        return self.about(image)

    def earlier(self, image: Path) -> dict[str, Path]:
        """Return the files of numbers of nuclei found under earlier settings, by the hash of the nuclei."""
        return {file.stem.removeprefix("numbers-"): file for file in image.glob("numbers-*.json")}

    def correct(self, image: Path, changes: dict[str, str | None], found: str | None = None) -> dict:
        """Store labels of some nuclei; return the data on the image.

        `changes` are number -> one of `labels_of`, or "" or None to remove a label; `found` is the hash of the nuclei
        that are meant, by default the current ones.
        """
        about, kept = self.about(image), _said(image)
        said, allowed = kept.setdefault(found or about["found"], {}), labels_of(about)
        if len(kept) > _MOST_WAYS:
            raise Refusal(409, "its nuclei were corrected under too many settings; remove the image and give it again")
        for number, label in changes.items():
            # Keep labels that are classes of another model only.
            said[number] = [old for old in said.get(number, []) if old not in allowed] + [label] * bool(label)
        kept = {found: {n: labels for n, labels in one.items() if labels} for found, one in kept.items()}
        replace_json(image / _SAID, {found: one for found, one in kept.items() if one})
        self._store.measure(image)
        return self.about(image)

    def corrected(self) -> list[tuple[Path, Path, dict[str, str]]]:
        """Return (plane folder, call folder, corrections) of each image with corrections."""
        images = [(self._folder / about["id"], about) for about in self.images() if about["corrections"]]
        return [(image / "plane", image / about["call"], about["corrections"]) for image, about in images]

    def tables(self) -> list[tuple[Path, dict[str, str]]]:
        """Return (file of rows, corrections) of each image."""
        return [(self._folder / a["id"] / a["call"] / "rows.csv", a["corrections"]) for a in self.images()]

    def other(self, name: str) -> Path | None:
        """Return the path of the file `PLATE_MAP`, or `TRAINED` beside a model; None if there is none."""
        return next(self._folder.glob(f"*/{name}"), None)

    def trained(self) -> tuple[Path, dict] | None:
        """Return the folder of the model trained on this visitor's corrections, and its data; None if there is none."""
        known = self.other(TRAINED)
        return None if known is None else (known.with_name(MODEL), json.loads(known.read_text("utf-8")))

    def take(self, file: Path) -> None:
        """Move the folder of a plate map or model here, in place of the last; refuse if the visitor was deleted."""
        if not self._folder.exists():
            raise Refusal(404, NOTHING_KEPT)
        self.drop(file.name)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        kept = self._folder / new_id()
        os.replace(file.parent, kept)
        self._store.measure(kept)

    def drop(self, name: str) -> None:
        """Delete the plate map (`PLATE_MAP`) or the model (`TRAINED`)."""
        known = self.other(name)
        if known is not None:
            self.remove(known.parent)

    def remove(self, image: Path) -> None:
        """Delete an image and everything made from it, even while a worker uses it."""
        for name in _WHOLE:
            (image / name).unlink(missing_ok=True)
        # Rename first: what a worker writes under the old name now fails, and leaves nothing behind.
        gone = image.with_name(new_id())
        with contextlib.suppress(OSError):
            os.replace(image, gone)
        shutil.rmtree(gone, ignore_errors=True)
        self._store.measure(image)
        # Anyone can make cookies, so an empty folder must not remain for each.
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def remove_all(self) -> None:
        """Delete everything of this visitor."""
        for image in self._folder.glob("*"):
            self.remove(image)
        shutil.rmtree(self._folder, ignore_errors=True)


def _said(image: Path) -> dict[str, dict[str, list[str]]]:
    file = image / _SAID
    return json.loads(file.read_text("utf-8")) if file.exists() else {}

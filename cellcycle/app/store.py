"""What visitors look at: on disk, a folder a visitor and in it one an image, under names that the server made.

Nothing that a client sends becomes a part of a path: an id is looked up among those of its visitor. An image's
folder holds `upload` until it was read, then `plane/`, `call-<token>/` and `about.json`, which names the call that
is meant; a file that is being replaced therefore never mixes with an older one. What its owner said of nuclei stands in
`said.json` under the hash of the nuclei that were found, and stays whatever is called: hash -> number -> labels, the
last of those that a model knows counting under it; the numbers of nuclei that were since found otherwise stand in
`numbers-<hash>.json`. The folder of a model that was trained on corrections holds `model/`
and `trained.json`, that of a plate map `map.csv`.
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
# What a server makes in its folder, as patterns; whatever else stands there is not its own to delete.
WORK, TRAINING, _REQUESTS, _VISITORS = ".work", ".training", ".request-", 32 * "[0-9a-f]"
_NAME, _ABOUT, _SAID = "name", "about.json", "said.json"
# Ways to find the nuclei of one image under which something may be said of them.
_MOST_WAYS = 20
# One of these makes a folder whole.
_WHOLE = (_ABOUT, TRAINED, PLATE_MAP)


def new_id() -> str:
    """Return 128 random bits as text."""
    return secrets.token_urlsafe(16)


def is_id(text: str) -> bool:
    """Say whether a text could be an id of `new_id`."""
    return _ID.fullmatch(text) is not None


def labels_of(about: dict) -> set[str]:
    """Return what can be said of a nucleus of an image: the classes of its model, or "none"."""
    return {*about.get("counts", ()), NONE} - {""}


class Store:
    """The images and results of all visitors, in a folder for its owner alone; what an earlier run left is known."""

    def __init__(self, folder: Path, limits: Limits):
        self.folder, self._limits = folder, limits
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        # Work of a run that was killed.
        made = (WORK, TRAINING, f"{_REQUESTS}*", f"{_VISITORS}/*")
        for left in [path for name in made for path in folder.glob(name)]:
            if left.is_dir() and not any((left / name).exists() for name in _WHOLE):
                shutil.rmtree(left, ignore_errors=True)
        self._sizes: dict[Path, int] = {}
        for image in folder.glob(f"{_VISITORS}/*"):
            self.measure(image)
        # Of images that are called again, since two calls at once would clear each other's away; each with its holders.
        self.locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    def visitor(self, cookie: str) -> "Visitor":
        """Return what belongs to a cookie that `new_id` made, or refuse another."""
        if not is_id(cookie):
            raise Refusal(403, "the page was not loaded from here, or its cookie is missing; load it again")
        folder = self.folder / hashlib.sha256(cookie.encode()).hexdigest()[:32]
        with contextlib.suppress(FileNotFoundError):
            # Known to the next run of the server, too.
            os.utime(folder, (time.time(), time.time()))
        return Visitor(self, folder, self._limits)

    @contextlib.contextmanager
    def scratch(self):
        """Give a folder for one request: not in the system's, where what a killed run left would stay for ever."""
        with tempfile.TemporaryDirectory(prefix=_REQUESTS, dir=self.folder) as folder:
            try:
                yield Path(folder)
            finally:
                self._forget_sizes(Path(folder))

    def check_room(self, part: Path | None = None) -> None:
        """Refuse where the disk that may be used is full; for good where the request of a `part` filled it alone."""
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
        """How much disk all that was measured takes."""
        return sum(self._sizes.values())

    def measure(self, image: Path) -> None:
        """Note how much disk an image, or the part of a request's folder, takes, or that it is gone."""
        self._sizes.pop(image, None)
        # What a worker takes away meanwhile is counted the next time.
        with contextlib.suppress(FileNotFoundError):
            self._sizes[image] = sum(path.stat().st_size for path in [image, *image.rglob("*")])

    def tidy(self) -> None:
        """Forget visitors who have not come back for too long."""
        for folder in self.folder.glob(_VISITORS):
            if time.time() - folder.stat().st_mtime > self._limits.kept_s:
                shutil.rmtree(folder, ignore_errors=True)
                self._forget_sizes(folder)

    def _forget_sizes(self, folder: Path) -> None:
        self._sizes = {path: size for path, size in self._sizes.items() if path.parent != folder}


class Visitor:
    """One visitor's images, in the order they were given; and a plate map, and a model of their own."""

    def __init__(self, store: Store, folder: Path, limits: Limits):
        self._store, self._folder, self._limits, self.key = store, folder, limits, folder.name
        self.check_room = store.check_room

    def new_image(self, name: str) -> tuple[Path, str]:
        """Make the folder of a new image, whose name is its id; return it, and a name that no other image has."""
        if len(list(self._folder.glob("*"))) >= self._limits.images:
            raise Refusal(409, f"{self._limits.images} images are kept for you; remove some before you give more")
        self.check_room()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        image = self._folder / new_id()
        # By the names of images their rows are told apart; several arrive at once.
        name = apart([*(file.read_text("utf-8") for file in self._folder.glob(f"*/{_NAME}")), name])[-1]
        image.mkdir(mode=0o700)
        (image / _NAME).write_text(name, "utf-8")
        return image, name

    def image(self, key: str) -> Path:
        """Return the folder of an image by its id."""
        if not is_id(key) or not (self._folder / key / _ABOUT).is_file():
            raise Refusal(404, "this image is no longer kept on the server; give it again")
        return self._folder / key

    def images(self) -> list[dict]:
        """Return what is known about each image, with its corrections."""
        found = [self.about(path.parent) for path in self._folder.glob(f"*/{_ABOUT}")]
        return sorted(found, key=lambda about: about["number"])

    def about(self, image: Path) -> dict:
        """Return what is known about an image, and the `corrections` of its nuclei: number -> class or "none".

        Those that do not fit the nuclei that were found, or the model's classes, are `aside`, so many.
        """
        about = json.loads((image / _ABOUT).read_text("utf-8"))
        kept, found, allowed = _said(image), about.get("found"), labels_of(about)
        here = {n: [label for label in labels if label in allowed] for n, labels in kept.get(found, {}).items()}
        n_kept = sum(len(labels) for said in kept.values() for labels in said.values())
        corrections = {number: labels[-1] for number, labels in here.items() if labels}
        return about | {"id": image.name, "corrections": corrections, "aside": n_kept - sum(map(len, here.values()))}

    def keep(self, image: Path, about: dict) -> dict:
        """Write what is known about an image; an older call of it goes."""
        old = self.about(image) if (image / _ABOUT).exists() else {"number": time.time_ns()}
        replace_json(image / _ABOUT, about | {"number": old["number"]})
        if old.get("found") != about.get("found") and "call" in old:
            # A page that shows those nuclei may still say something of them.
            with contextlib.suppress(FileNotFoundError):
                os.replace(image / old["call"] / NUMBERS, image / f"numbers-{old['found']}.json")
            # Under ever other settings they would fill the disk, which a call does not ask for room.
            for file in sorted(self.earlier(image).values(), key=lambda file: file.stat().st_mtime_ns)[:-_MOST_WAYS]:
                file.unlink()
        for folder in image.glob("call-*"):
            if folder.name != about.get("call"):
                shutil.rmtree(folder, ignore_errors=True)
        self._store.measure(image)
        return self.about(image)

    def earlier(self, image: Path) -> dict[str, Path]:
        """Return the file of the numbers of nuclei that were since found otherwise, by their hash."""
        return {file.stem.removeprefix("numbers-"): file for file in image.glob("numbers-*.json")}

    def correct(self, image: Path, changes: dict[str, str | None], found: str | None = None) -> dict:
        """Keep what the owner says of nuclei beside what was said of others; return what is known then.

        `changes` are number -> one of `labels_of`, or "" or None where it is taken back; `found` is the hash of the
        nuclei that are meant, without it those of now.
        """
        about, kept = self.about(image), _said(image)
        said, allowed = kept.setdefault(found or about["found"], {}), labels_of(about)
        if len(kept) > _MOST_WAYS:
            raise Refusal(409, "its nuclei were corrected under too many settings; remove the image and give it again")
        for number, label in changes.items():
            # What another model knows stays for that one.
            said[number] = [old for old in said.get(number, []) if old not in allowed] + [label] * bool(label)
        kept = {found: {n: labels for n, labels in one.items() if labels} for found, one in kept.items()}
        replace_json(image / _SAID, {found: one for found, one in kept.items() if one})
        self._store.measure(image)
        return self.about(image)

    def corrected(self) -> list[tuple[Path, Path, dict[str, str]]]:
        """Return plane, call and what was said, of each image with corrections."""
        images = [(self._folder / about["id"], about) for about in self.images() if about["corrections"]]
        return [(image / "plane", image / about["call"], about["corrections"]) for image, about in images]

    def tables(self) -> list[tuple[Path, dict[str, str]]]:
        """Return the file of the rows of each image, and what was said of its nuclei."""
        return [(self._folder / a["id"] / a["call"] / "rows.csv", a["corrections"]) for a in self.images()]

    def other(self, name: str) -> Path | None:
        """Return the file `PLATE_MAP`, or `TRAINED` beside a model, if there is one."""
        return next(self._folder.glob(f"*/{name}"), None)

    def trained(self) -> tuple[Path, dict] | None:
        """Return the folder of the model trained on this visitor's corrections, and what is known of it."""
        known = self.other(TRAINED)
        return None if known is None else (known.with_name(MODEL), json.loads(known.read_text("utf-8")))

    def take(self, file: Path) -> None:
        """Take over the folder of such a file in place of the last one; its visitor may be forgotten by now."""
        if not self._folder.exists():
            raise Refusal(404, NOTHING_KEPT)
        self.drop(file.name)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        kept = self._folder / new_id()
        os.replace(file.parent, kept)
        self._store.measure(kept)

    def drop(self, name: str) -> None:
        """Forget the plate map, or the model."""
        known = self.other(name)
        if known is not None:
            self.remove(known.parent)

    def remove(self, image: Path) -> None:
        """Delete an image and everything made from it, under the hands of a worker too."""
        for name in _WHOLE:
            (image / name).unlink(missing_ok=True)
        # Under its old name nothing can be written any more: what a worker adds now fails, and cannot stay behind.
        gone = image.with_name(new_id())
        with contextlib.suppress(OSError):
            os.replace(image, gone)
        shutil.rmtree(gone, ignore_errors=True)
        self._store.measure(image)
        # Cookies cost nothing: of each that gave only what was refused a folder would stay.
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

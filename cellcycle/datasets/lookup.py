"""Find the file that a table means by the name of an image."""

import contextlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from cellcycle.datasets.spelling import clean, says_nothing
from cellcycle.errors import ImageError, shown
from cellcycle.files import sha256_of
from cellcycle.images import list_images
from cellcycle.images.maps import OUTLINES
from cellcycle.images.omezarr import is_ome_zarr
from cellcycle.names import shown_name

_NUMBER = re.compile(r" \(\d+\)(?=\.[^.]*$|$)")


def is_outlines(name: str) -> bool:
    """Return whether a folder of this name, or a file whose name ends so, holds masks or outlines, not pictures."""
    return bool(OUTLINES.fullmatch(word(name)))


def word(name: str) -> str:
    """Return a name in lower case, with blanks instead of underscores and dashes."""
    return re.sub(r"[\s_-]+", " ", clean(name).casefold()).strip()


def find_file(folder: Path, text: str) -> Path:
    """Return the file that a cell of a table means, relative to a folder.

    Variants of backslashes, outer blanks, quotes, file://, case of the suffix and Unicode form of accents are tried; if
    none exists, the path is returned without outer blanks and quotes.
    """
    plain = text.strip().strip("\"'")
    if plain.lower().startswith("file:"):
        plain = unquote(urlsplit(plain).path)
    forms = [text, plain, clean(plain), unicodedata.normalize("NFC", plain), unicodedata.normalize("NFD", plain)]
    stem, dot, suffix = plain.rpartition(".")
    forms += [stem + dot + suffix.lower(), stem + dot + suffix.upper()]
    for form in forms + [form.replace("\\", "/") for form in forms]:
        with contextlib.suppress(RuntimeError):  # ~name of an unknown user
            path = folder / Path(form).expanduser()
            if _is_image(path):
                return path
    return folder / plain


def _is_image(path: Path) -> bool:
    return os.path.isfile(path) or is_ome_zarr(path)


def _key(name: str) -> str:
    """Return the name of a file without outer blanks, its suffix in lower case."""
    stem, dot, suffix = name.strip().rpartition(".")
    return stem + dot + suffix.lower()


def _parts(name) -> tuple[str, ...]:
    """Return the folders and the file name in a path or a cell of a table."""
    *folders, last = PurePosixPath(str(name).strip().strip("\"'").replace("\\", "/")).parts or ("",)
    return *folders, _key(last)


def _agreement(path: Path, parts: tuple[str, ...]) -> int:
    """Return the number of parts, counted from the end, in which a path and a name agree."""
    pairs = zip(reversed(_parts(os.path.abspath(path))), reversed(parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def sample_id(folder: Path, path: Path) -> str:
    """Return the path relative to a folder, or the path as it is if the file lies outside."""
    try:
        return shown(path.resolve().relative_to(folder.resolve()).as_posix())
    except ValueError:
        return shown(path.as_posix())


class ImageFolder:
    """The images below a folder, found by their path in a table, or by their file name anywhere below the folder.

    `names` are all image names of the table: if several could find one image by its file name, only the one that agrees
    with most of its folders does, and none if they tie. `is_open` says whether a path may lead out of the folder.
    """

    def __init__(self, folder: Path, is_open: bool, names: Iterable[str] = ()):
        self.folder, self.is_open, self._named = folder, is_open, None
        self._called: dict[str, set[tuple]] = defaultdict(set)
        for parts in map(_parts, names):
            self._called[parts[-1]].add(parts)

    def find(self, name: str, sha256: str = "") -> Path:
        """Return the file of an image, with the given hash if any, or raise an `ImageError` that says why not."""
        sha256 = "" if says_nothing(sha256) else sha256.strip().lower()
        others, taken = [], []
        # The website appends numbers to images of the same name; the hash identifies the image.
        first = _NUMBER.sub("", name) if sha256 else name
        below, here = [(self._by_name, name), (self._by_name, first)], [(self._from_here, name)]
        # `predict` writes paths relative to the working folder: for names with folders try it before the file name.
        for look, called in [(self._by_path, name), *(here + below if re.search(r"[\\/]", name) else below + here)]:
            found = look(called)
            if look == self._by_name and not sha256 and len(found) == 1 and self._is_anothers(found[0], called):
                taken, found = found, []
            fitting = [path for path in found if sha256 in ("", sha256_of(path))]
            if len(fitting) > 1 and not sha256 and look == self._by_name:
                finding = f"{len(fitting)} images have this name, {fitting[0]} and {fitting[1]}"
                raise ImageError(name, finding, "name a folder that holds one of them")
            if fitting:
                return fitting[0]
            others += found
        if others:
            finding = f"{others[0]} is another image of this name (its sha256 differs)"
            raise ImageError(name, finding, "give the image that was meant")
        if taken:
            finding = f"no such image: the one of its name, {taken[0]}, is named by another row"
            raise ImageError(name, finding, "put it where the table says")
        remedy = "put it where the table says" if self.is_open else "name the folder that it lies in"
        raise ImageError(name, f"no such image under {self.folder}", remedy)

    def _by_path(self, name: str, root: Path | None = None) -> list[Path]:
        path, inside = find_file(root or self.folder, name), os.path.abspath(self.folder)
        is_allowed = self.is_open or Path(os.path.abspath(path)).is_relative_to(inside)
        return [path] if is_allowed and _is_image(path) else []

    def _from_here(self, name: str) -> list[Path]:
        return self._by_path(name, Path.cwd())

    def _by_name(self, name: str) -> list[Path]:
        """Return the images with a file name, without masks; of several, those whose folders agree best.

        The list is empty if the folder in `name` exists: then the image was removed, not moved.
        """
        parts = _parts(name)
        if len(parts) > 1 and os.path.isdir(self.folder.joinpath(*parts[:-1])):
            return []
        if self._named is None:
            self._named = {}
            for path in list_images(self.folder):
                if not any(map(is_outlines, path.relative_to(self.folder).parts[:-1])):
                    # A prediction table escapes odd characters in names (tab, backslash, undecodable bytes).
                    for key in {_key(path.name), _key(shown_name(path).rpartition("/")[2])}:
                        self._named.setdefault(key, []).append(path)
        keys = {parts[-1], _key(name.rpartition("/")[2])}
        found = {path.resolve(): path for key in keys for path in self._named.get(key, [])}.values()
        shared = [_agreement(path, parts) for path in found]
        return sorted(path for path, n in zip(found, shared, strict=True) if n == max(shared))

    def _is_anothers(self, path: Path, name: str) -> bool:
        """Return whether another name of the table agrees with at least as many folders of an image as this one."""
        parts = _parts(name)
        least = max(_agreement(path, parts), 1)
        return any(_agreement(path, other) >= least for other in self._called[parts[-1]] - {parts})

"""Which file a table means by what it calls an image."""

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
    """Tell whether a folder of this name, or a file whose name ends so, holds outlines instead of nuclei."""
    return bool(OUTLINES.fullmatch(word(name)))


def word(name: str) -> str:
    """Return a name in small letters, with blanks for underscores and dashes."""
    return re.sub(r"[\s_-]+", " ", clean(name).casefold()).strip()


def find_file(folder: Path, text: str) -> Path:
    """Return the file that a cell of a table means, as seen from a folder.

    Backslashes, blanks at the ends, quotes, file://, the case of the suffix and the two ways to write an accent are
    mended where the file is found so; otherwise the path is returned as it stands.
    """
    plain = text.strip().strip("\"'")
    if plain.lower().startswith("file:"):
        plain = unquote(urlsplit(plain).path)
    forms = [text, plain, clean(plain), unicodedata.normalize("NFC", plain), unicodedata.normalize("NFD", plain)]
    stem, dot, suffix = plain.rpartition(".")
    forms += [stem + dot + suffix.lower(), stem + dot + suffix.upper()]
    for form in forms + [form.replace("\\", "/") for form in forms]:
        with contextlib.suppress(RuntimeError):  # ~name of a user who is not there
            path = folder / Path(form).expanduser()
            if _is_image(path):
                return path
    return folder / plain


def _is_image(path: Path) -> bool:
    return os.path.isfile(path) or is_ome_zarr(path)


def _key(name: str) -> str:
    """Return the name of a file without blanks at its ends, its suffix in small letters."""
    stem, dot, suffix = name.strip().rpartition(".")
    return stem + dot + suffix.lower()


def _parts(name) -> tuple[str, ...]:
    """Return the folders and the name that a path, or a cell of a table, tells."""
    *folders, last = PurePosixPath(str(name).strip().strip("\"'").replace("\\", "/")).parts or ("",)
    return *folders, _key(last)


def _agreement(path: Path, parts: tuple[str, ...]) -> int:
    """Return how many of the parts of a name, from its end, are those of a path."""
    pairs = zip(reversed(_parts(os.path.abspath(path))), reversed(parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def sample_id(folder: Path, path: Path) -> str:
    """Return the path from a folder, or the whole path of a file outside it."""
    try:
        return shown(path.resolve().relative_to(folder.resolve()).as_posix())
    except ValueError:
        return shown(path.as_posix())


class ImageFolder:
    """The images below a folder, found by what a table calls them: their path, or their name anywhere below it.

    `names` are all that the table calls so: one image is found by its name for one of them, that which tells most of
    its folders. `is_open` says whether a path may lead out of the folder.
    """

    def __init__(self, folder: Path, is_open: bool, names: Iterable[str] = ()):
        self.folder, self.is_open, self._named = folder, is_open, None
        self._called: dict[str, set[tuple]] = defaultdict(set)
        for parts in map(_parts, names):
            self._called[parts[-1]].add(parts)

    def find(self, name: str, sha256: str = "") -> Path:
        """Return the file of an image, of that hash where one is stated, or raise an ImageError that says why none."""
        sha256 = "" if says_nothing(sha256) else sha256.strip().lower()
        others, taken = [], []
        # The website numbers images of one name; the hash tells which of them is meant.
        first = _NUMBER.sub("", name) if sha256 else name
        below, here = [(self._by_name, name), (self._by_name, first)], [(self._from_here, name)]
        # A name with folders is as `predict` wrote it, seen from here; a name alone says nothing of where it lies.
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
        """Return the images of a name, but for outlines; of several those whose folders agree best.

        None where the folder that the name tells is there: then the image is not elsewhere, but gone.
        """
        parts = _parts(name)
        if len(parts) > 1 and os.path.isdir(self.folder.joinpath(*parts[:-1])):
            return []
        if self._named is None:
            self._named = {}
            for path in list_images(self.folder):
                if not any(map(is_outlines, path.relative_to(self.folder).parts[:-1])):
                    # A prediction table shows odd names (a tab, a backslash, no text) in a way of its own.
                    for key in {_key(path.name), _key(shown_name(path).rpartition("/")[2])}:
                        self._named.setdefault(key, []).append(path)
        keys = {parts[-1], _key(name.rpartition("/")[2])}
        found = {path.resolve(): path for key in keys for path in self._named.get(key, [])}.values()
        shared = [_agreement(path, parts) for path in found]
        return sorted(path for path, n in zip(found, shared, strict=True) if n == max(shared))

    def _is_anothers(self, path: Path, name: str) -> bool:
        """Say whether another name of the table tells as much of where an image lies as this one, or more."""
        parts = _parts(name)
        least = max(_agreement(path, parts), 1)
        return any(_agreement(path, other) >= least for other in self._called[parts[-1]] - {parts})

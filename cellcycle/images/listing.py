"""Expand files, folders, patterns and URLs to a list of image files."""

import glob
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import chain
from pathlib import Path

from cellcycle.errors import ImageError
from cellcycle.images.channels import DNA_ALONE
from cellcycle.images.formats import IMAGE_SUFFIXES, UNREAD_SUFFIXES, one_line
from cellcycle.images.maps import masks_among
from cellcycle.images.naming import folders_below
from cellcycle.images.omezarr import is_ome_zarr, parts_of, told_in
from cellcycle.images.plates import fields_of, no_fields
from cellcycle.images.remote import images_at, is_url
from cellcycle.images.writing import FIGURE, has_mark

# Number of left-out files that a message names.
_MOST_NAMES = 3
_MASKS = "masks of other images, or maps made from them"
_UNREAD = "files of formats that are not read"
_ONE = {"thumbnails": "thumbnail", "files of other channels": "file of another channel", "copies": "copy",
        "links to others": "link to another", _MASKS: "mask of another image, or map made from one",
        _UNREAD: "file of a format that is not read"}  # fmt: skip
_SYSTEM_NAMES = {
    "thumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "lost+found", "@eadir",
}  # fmt: skip


def list_images(
    folder, suffixes: tuple[str, ...] = IMAGE_SUFFIXES, absent: list[ImageError] | None = None
) -> list[Path]:
    """Return the files with an image suffix and the OME-Zarr images below a folder, also in linked folders, sorted.

    Hidden and system files are left out, and the figures that `train` and `evaluate` write beside a table. A broken
    link is listed, as is a .zarr without a description or images: reading it raises the error. Errors of unreadable
    folders (raised if `absent` is None), and of images that an OME-Zarr plate or well lists and has not, join `absent`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(folder, "there is no such folder", "check the path")
    # Links are followed last, so that a file in the folder itself is listed there and not under a link.
    found, seen, told, waiting, bare = [], set(), {}, [folder], []

    def refuse(error: OSError) -> None:
        refused = ImageError(error.filename, f"it cannot be opened ({error.strerror})", "check its permissions")
        if absent is None:
            raise refused from error
        absent.append(refused)

    for root, folders, names in chain.from_iterable(os.walk(above, onerror=refuse) for above in waiting):
        status = os.stat(root)
        # A linked folder may lead back to a folder that was visited before.
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        said = told_in(root)
        if "multiscales" in said:
            folders.clear()
            found.append(Path(root))
            continue
        if absent is not None and said.keys() & {"plate", "well"}:
            with suppress(ImageError), one_line(root):
                told[Path(root)] = [Path(root, name) for name in parts_of(said)]
        bare += [Path(root)] * (root.lower().endswith(".zarr") and not said)
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        waiting += [path for path in (Path(root, name) for name in folders) if path.is_symlink()]
        found += [Path(root, name) for name in names if not _is_hidden(name) and name.lower().endswith(suffixes)]
    found = [path for path in found if path.is_file() or path.is_symlink() or is_ome_zarr(path)]
    found += [store for store in bare if not any(path.is_relative_to(store) for path in (*found, *told))]
    if told:
        # A well may list no image.
        there = {*told, *found, *(above for path in found for above in path.parents)}
        absent += (ImageError(path, "its plate lists it, but has no such image", "copy it again")
                   for path in sorted(set().union(*told.values()) - there))  # fmt: skip
    return sorted(path for path in found if not (path.suffix == ".png" and has_mark(path, FIGURE)))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM_NAMES


def expand(
    paths, say: Callable[[str], None] | None = None, settle: Callable[[list], Collection[str]] = lambda files: ()
) -> list[str | ImageError]:
    """Return the image files that paths name: files (missing ones fail when they are read), folders with all folders
    below, patterns with `*`, `?` or `**`, or URLs.

    Each file is listed once, in the order of the paths, sorted within a folder or pattern; an item that is no path,
    such as a `Plane`, stays in its place. If there are several files, thumbnails, copies, masks and files of other
    stains are left out, even if named one by one: a shell expands a pattern to names. `say` is called with a line that
    names them. Files in `settle(files)` are never copies or masks, and are fields if their names leave that open. An
    `ImageError` stands for a folder without images, a pattern without match, a missing image of a plate or a path that
    cannot exist, so that the others can still be read.
    """
    found: dict[str | ImageError, None] = {}
    unread: list[str] = []
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            found[path] = None
            continue
        path = str(path)
        try:
            found |= dict.fromkeys(_expand_one(path, unread))
        except ImageError as error:
            found[error] = None
        except (OSError, ValueError) as error:
            # The path is too long for the file system, has a NUL byte, or its folder is not readable.
            reason = getattr(error, "strerror", None) or str(error)
            found[ImageError(path[:200], f"it cannot be looked up ({reason})", "check the path")] = None
    # One file may have several paths or links.
    once, links = {}, {}
    for path in found:
        key = _file_of(path) if isinstance(path, str) else path
        first = once.setdefault(key, path)
        if first is not path and os.path.abspath(first) != os.path.abspath(path):
            if os.path.islink(first) and not os.path.islink(path):
                once[key], path = path, first
            links[os.path.abspath(path)] = path
    settled = settle(list(once.values())) if len(once) > 1 else set()
    paths = [file for file in once.values() if isinstance(file, str)]
    masks = dict.fromkeys(file for file in masks_among(paths) if file not in settled)
    files, left_out = [file for file in once.values() if file not in masks], {}
    if len(files) > 1:
        files, left_out = fields_of(files, settled)
    left_out |= {_MASKS: list(masks), "links to others": list(links.values()), _UNREAD: unread}
    if any(left_out.values()) and say is not None:
        below = folders_below(file for file in [*found, *unread] if isinstance(file, str))
        say(f"left out: {', '.join(_told(what, of, below) for what, of in left_out.items() if of)}")
    return files


def refused_by_name(names: list[str], settled: Collection[str] = ()) -> dict[str, tuple[str, str]]:
    """Return, for each file name of one folder that `expand` would leave out, why: finding and remedy.

    Only the names are used; no file is read. Names in `settled` are fields.
    """
    given = {os.path.join(os.devnull, name): name for name in names}
    settled = {file for file, name in given.items() if name in settled}
    out = dict.fromkeys((file for file in masks_among(given) if file not in settled), _MASKS)
    out |= no_fields([file for file in given if file not in out], settled)
    why = {}
    for file, what in out.items():
        told = isinstance(what, ImageError)
        remedy = what.remedy.replace(os.path.join(os.devnull, ""), "") if told else DNA_ALONE
        why[given[file]] = what.finding if told else f"by its name it is a {_ONE[what]}", remedy
    return why


def _file_of(path: str):
    """Return a key that is equal for all paths of one file: device and inode, else the absolute path."""
    with suppress(OSError, ValueError):
        found = os.stat(path)
        if found.st_ino:
            return found.st_dev, found.st_ino
    return os.path.abspath(path)


def _told(what: str, files: list[str], below: dict[str, list[str]]) -> str:
    """Return a phrase with the number of files left out as `what` and the names of the first ones."""
    names = ["/".join([*below[file], os.path.basename(file)]).removeprefix("/") for file in files[:_MOST_NAMES]]
    more = ", ..." if len(files) > _MOST_NAMES else ""
    return f"{len(files)} {_ONE[what] if len(files) == 1 else what} ({', '.join(names)}{more})"


def _expand_one(path: str, unread: list[str]) -> list[str | ImageError]:
    """Return the images that one path names; image files of unread kinds in its folder are appended to `unread`."""
    if not path.strip():
        return [ImageError("''", "the path is empty", "name a file, a folder or a pattern")]
    if is_url(path):
        return images_at(path)
    if Path(path).is_dir():
        missing = ImageError(path, "the folder holds no image", "name a folder with PNG, JPEG, BMP or TIFF files")
        return _inside(path, unread) or [path if path.rstrip(os.sep).endswith(".zarr") else missing]
    if Path(path).exists() or not glob.has_magic(path):
        return [path]
    named = {os.path.normpath(file): file for file in glob.glob(path, recursive=True) if os.path.exists(file)}
    # Matches inside a folder that matches too are listed with that folder.
    outer = sorted(file for key, file in named.items() if named.keys().isdisjoint(map(str, Path(key).parents)))
    files = [image for file in outer for image in (_inside(file, unread) if os.path.isdir(file) else [file])]
    return files or [ImageError(path, "no file matches this pattern", "check the path")]


def _inside(folder: str, unread: list[str]) -> list[str | ImageError]:
    absent: list[ImageError] = []
    listed = [str(file) for file in list_images(folder, (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES), absent)]
    unread += (file for file in listed if file.lower().endswith(UNREAD_SUFFIXES))
    return [*(file for file in listed if not file.lower().endswith(UNREAD_SUFFIXES)), *absent]

"""Copy images from a URL; of an OME-Zarr only the chunks that are needed. Then they are checked and read like any file.

`fsspec` implements the protocols; it takes keys for s3 and its other settings from the environment.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path
from urllib.parse import urlsplit

from cellcycle.errors import DataError, ImageError, reason_of
from cellcycle.files import scratch_folder
from cellcycle.images.formats import IMAGE_SUFFIXES, one_line
from cellcycle.images.omezarr import (
    MOST_LEVELS,
    OF_ARRAY,
    OF_GROUP,
    described,
    full_level,
    is_below,
    opened,
    parts_of,
    told_in,
)
from cellcycle.images.stacks import Stack

_URL = re.compile(r"(?:https?|s3)://[^/\s]", re.IGNORECASE)
# Seconds without a byte after which a server counts as dead; number of small chunks fetched at the same time.
_SECONDS, _AT_ONCE = 60.0, 8
# Seconds to wait before a busy server is asked again.
_PAUSES = (0.5, 2.0)
# Metadata of servers that change when a file changes; its size may stay the same.
_STATES = ("ETag", "Last-Modified", "LastModified", "Content-MD5", "Digest")
# Plates and wells that were listed before, so their metadata are known to exist.
_listed_at: set[str] = set()


def is_url(path) -> bool:
    """Return whether a text is a URL (http, https or s3).

    Examples
    --------
    >>> is_url("s3://bucket/plate.zarr"), is_url("plate.zarr"), is_url("file:///plate.zarr")
    (True, False, False)
    """
    return isinstance(path, str) and bool(_URL.match(path))


def at_once(function: Callable, items: Iterable) -> list:
    """Return the results of a function for all items, in order, several in parallel: most time is spent waiting.

    If it is interrupted, as by Ctrl-C, it does not wait for a server.
    """
    with ThreadPool(_AT_ONCE) as pool:
        try:
            return list(pool.imap(function, items))
        except Exception:
            # Wait for copies under way: their folder is removed after this.
            pool.terminate()
            pool.join()
            raise


@contextmanager
def copied(url: str, wanted: Callable[[Stack], dict[str, range]]) -> Iterator[Path]:
    """Yield the path of a local copy of an image at a URL while the context is open; errors about it name the URL.

    For an OME-Zarr, `wanted(stack)` returns the needed indices of the axes t, c, z before any pixel is copied.
    """
    with scratch_folder() as folder, _named(url):
        # The copy gets a name of ours: the name in the URL may be unsafe, such as "..".
        path = folder / f"image{_suffix(url) if is_of_file(url) else '.zarr'}"
        if not is_of_file(url):
            _copy_description(url, path, OF_GROUP)
            _copy_level(url, path, wanted)
        elif not _copy(url, path):
            raise ImageError(url, "there is no such file", "check the address")
        yield path


def images_at(url: str) -> list[str | ImageError]:
    """Return the images of an OME-Zarr plate or well, or the URL itself if it is one image.

    If a well of a plate cannot be listed, its `ImageError` stands in its place.
    """
    url = url.rstrip("/")
    if is_of_file(url):
        return [url]
    told = told_at(url)
    parts = _listed(told, url)
    if "plate" not in told:
        return parts or [url]
    return [image for images in at_once(_images_of, parts) for image in images]


def _images_of(well: str) -> list[str | ImageError]:
    try:
        return _listed(told_at(well), well)
    except ImageError as error:
        return [error]


def told_at(url: str) -> dict:
    """Return the OME metadata of an OME-Zarr image, well or plate at a URL."""
    with scratch_folder() as folder, _named(url):
        _copy_description(url, folder, OF_GROUP)
        return described(folder)[0]


def told_above(url: str, is_called_so: bool) -> dict:
    """Return the OME metadata, as `told_at`, of the plate or well of an image; {} if it has none.

    A `DataError` says that a server may have them but does not give them, so that plate and well are unknown. A refusal
    (403) means this only if the folders have names of a well (`is_called_so`); at a URL listed before any failure does.
    """
    with scratch_folder() as folder:
        try:
            _copy_description(url, folder, OF_GROUP)
        except ImageError as error:
            refusal = error.__cause__
            status = getattr(refusal, "status", 403 if isinstance(refusal, PermissionError) else 500)
            is_unsure = status == 429 or (status == 403 and is_called_so)
            if url not in _listed_at and (refusal is None or (status < 500 and not is_unsure)):
                return {}
            raise DataError(url, error.finding, error.remedy) from error
        return told_in(folder)


def state_at(url: str) -> list[str]:
    """Return what a server states about the version of an image (ETag and such), for an OME-Zarr of its description.

    Empty if it states nothing or cannot be reached.
    """
    for file in [url] if is_of_file(url) else [f"{url}/{name}" for name in OF_GROUP]:
        with suppress(Exception):  # networks raise exceptions of any type
            import fsspec

            system, name = fsspec.url_to_fs(file, **_options(file))
            told = system.info(name)
            return [f"{what} {told[what]}" for what in _STATES if told.get(what)]
    return []


def is_of_file(url: str) -> bool:
    """Return whether a URL is that of an image file, not of an OME-Zarr."""
    return _suffix(url) in IMAGE_SUFFIXES


def _suffix(url: str) -> str:
    return Path(urlsplit(url).path).suffix.lower()


def _listed(told: dict, url: str) -> list[str]:
    with one_line(url):
        _listed_at.add(url)
        return [f"{url}/{name}" for name in parts_of(told)]


@contextmanager
def _named(url: str) -> Iterator[None]:
    """Make an `ImageError` about the copy name the URL instead."""
    try:
        yield
    except ImageError as error:
        raise ImageError(url, error.finding, error.remedy) from error


def _copy_description(url: str, path: Path, names: tuple[str, ...]) -> None:
    """Copy the first of some files that exists; refusals of others are ignored: some servers refuse missing files."""
    refusals = []
    for name in names:
        try:
            if _copy(f"{url}/{name}", path / name):
                return
        except ImageError as error:
            refusals.append(error)
    raise refusals[0] if refusals else ImageError(url, "there is neither an image nor an OME-Zarr", "check the address")


def _copy_level(url: str, path: Path, wanted) -> None:
    """Copy the full resolution of an OME-Zarr image: descriptions of all levels, and chunks of the needed planes."""
    with one_line(url):
        told = described(path)[0]
        levels = told["multiscales"][0]["datasets"][:MOST_LEVELS] if "multiscales" in told else []
        first, *others = [str(level["path"]) for level in levels] or [""]
        if first and is_below(first):
            _copy_description(f"{url}/{first}", path / first, OF_ARRAY)
        for name in filter(is_below, others):
            any(_copy(f"{url}/{name}/{file}", path / name / file, is_open=True) for file in OF_ARRAY)
        level = full_level(path, levels)["path"] if levels else ""
        # Errors in the description are raised here, before many chunks are fetched.
        stack, keys_of = opened(path)
    keys = keys_of(wanted(stack))
    # A chunk that does not exist has the fill value only.
    at_once(lambda key: _copy(f"{url}/{level}/{key}", path / level / key, is_open=True), keys)


def _copy(url: str, path: Path, is_open: bool = False) -> bool:
    """Copy one file; return whether it exists. If the store `is_open` (readable), a refusal means that it does not."""
    try:
        import fsspec

        path.parent.mkdir(parents=True, exist_ok=True)
        system, name = fsspec.url_to_fs(url, **_options(url))
        _fetch(system, name, path)
    except ImportError as error:
        raise ImageError(url, "a URL needs further packages", "run: pip install 'cellcycle[remote]'") from error
    except Exception as error:  # networks raise exceptions of any type
        path.unlink(missing_ok=True)
        is_refused = isinstance(error, PermissionError) or getattr(error, "status", 0) == 403
        if isinstance(error, FileNotFoundError) or (is_open and is_refused):
            return False
        is_keyless = type(error).__name__ == "NoCredentialsError"
        remedy = "for a public bucket set FSSPEC_S3_ANON=1" if is_keyless else "try again, or copy it here first"
        raise ImageError(url, f"it cannot be fetched ({reason_of(error)})", remedy) from error
    return True


def _fetch(system, name: str, path: Path) -> None:
    for pause in (*_PAUSES, None):
        try:
            return system.get_file(name, str(path))
        except Exception as error:
            status = getattr(error, "status", 0)
            if pause is None or not (status == 429 or status >= 500):
                raise
        time.sleep(pause)


def _options(url: str) -> dict:
    if not url.lower().startswith("http"):
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SECONDS, sock_read=_SECONDS)
    return {"client_kwargs": {"timeout": timeout}}

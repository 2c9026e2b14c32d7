"""Locations of output that do not depend on the working directory, and writing of files whole or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cellcycle.errors import ImageError, SettingError

try:
    import fcntl
except ImportError:  # Windows: nothing tells there whether a leftover is still being written, so it stays
    fcntl = None

# Files that `cellcycle data simulate` writes beside its images; the marker shows that they are simulated.
MARKER, MANIFEST = "simulated.json", "manifest.csv"

_UNFINISHED = re.compile(r"\.unfinished-[0-9a-f]{12}(\.\w{1,9})?")
# Error numbers of a full disk, quota or file.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_cleared: set[str] = set()

_REPOSITORY = Path(__file__).resolve().parent.parent


def repository() -> Path | None:
    """Return the checkout that holds the notebooks, or None when the package is installed without one."""
    return _REPOSITORY if (_REPOSITORY / "notebooks").is_dir() else None


def build_dir() -> Path:
    """Return the folder for caches and throw-away output (created when missing).

    It is $CELLCYCLE_OUTPUT if that is set, else `build/` of the checkout, else the user's cache folder.
    """
    if chosen := os.environ.get("CELLCYCLE_OUTPUT"):
        folder = Path(chosen)
    elif checkout := repository():
        folder = checkout / "build"
    else:
        from platformdirs import user_cache_path

        folder = user_cache_path("cellcycle")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(folder, f"cannot be made ({error.strerror})", "name another in CELLCYCLE_OUTPUT") from error
    return folder


def slug(text: str) -> str:
    """Return `text` as a file name: letters, digits, dots and dashes.

    Examples
    --------
    >>> slug("my cells/2026, plate 1")
    'my-cells-2026-plate-1'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "data"


def sha256_of(path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; for a folder, that of the names and hashes of its files."""
    if os.path.isdir(path):
        files = sorted(file for file in Path(path).rglob("*") if file.is_file())
        sums = "".join(f"{sha256_of(file)} {file.relative_to(path).as_posix()}\n" for file in files)
        return hashlib.sha256(os.fsencode(sums)).hexdigest()
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def replace_json(path: Path, content) -> None:
    """Write a small JSON file in one step, so that no reader sees half of it, without the checks of `whole_file`."""
    unfinished = path.with_name(f".unfinished-{secrets.token_hex(6)}")
    unfinished.write_text(json.dumps(content), "utf-8")
    os.replace(unfinished, path)


@contextlib.contextmanager
def whole_file(path) -> Iterator[Path]:
    """Yield a temporary file that is renamed to `path` if the block succeeds; otherwise nothing is changed.

    An existing file is replaced and its mode kept; a new file has the mode left by the umask. A symbolic link stays and
    its target is written. A device, a pipe or standard output is written to, never replaced. Unfinished files of killed
    runs in the folder are removed. A `SettingError` is raised before the block if `path` is a folder, or if its folder
    is missing, read-only or full; in or after the block if the disk is full.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with told(path):
            final, is_open = Path(os.path.realpath(path)), is_stream(path)
            if final.is_dir():
                raise SettingError(path, "this is a folder", "name a file")
            if is_open:
                work = Path(stack.enter_context(tempfile.TemporaryDirectory())) / f"whole{path.suffix}"
                work.touch()
            else:
                mode = stat.S_IMODE(final.stat().st_mode) if final.exists() else None
                work = stack.enter_context(_locked(final, is_folder=False))
                # Test that the disk is not full before any work is done.
                with open(work, "wb", buffering=0) as stream:
                    stream.write(bytes(4096))
                    stream.truncate(0)
        with told(path, FULL):
            yield work
        with told(path):
            if is_open:
                sys.stdout.flush()
                with open(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as out, open(work, "rb") as content:
                    shutil.copyfileobj(content, out)
                return
            if mode is not None:
                os.chmod(work, mode)
            os.replace(work, final)


@contextlib.contextmanager
def whole_folder(path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `path` if the block succeeds; otherwise nothing is changed.

    Parent folders are created. With `replace`, an existing folder with content is replaced; without, it is refused. A
    `SettingError` also refuses an existing file, a parent folder that is not writable, and a full disk.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with told(path):
            final = Path(os.path.realpath(path))
            final.parent.mkdir(parents=True, exist_ok=True)
            _refuse_taken(path, final, replace)
            work = stack.enter_context(_locked(final, is_folder=True))
        try:
            with told(path, FULL):
                yield work
        except (SettingError, ImageError) as error:
            # An error about a file inside names `path` instead: users do not know the temporary name.
            if not Path(error.subject).is_relative_to(work):
                raise
            raise SettingError(path, error.finding, error.remedy) from error
        with told(path):
            _refuse_taken(path, final, replace)
            # Under a name that no later run clears: it is the only one there until the new folder is in its place.
            old = final.with_name(f"{final.name}.old-{secrets.token_hex(3)}")
            if final.exists():
                os.replace(final, old)
            try:
                os.replace(work, final)
            finally:
                # The old folder is removed with `work`, or comes back where the new one could not take its place.
                if old.exists():
                    os.replace(old, work if final.exists() else final)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder that is deleted after the block; those of killed runs are deleted too."""
    with _locked(Path(tempfile.gettempdir(), "cellcycle"), is_folder=True) as work:
        yield work


def clear_leftovers(folder) -> None:
    """Remove unfinished files and folders of killed runs in a folder; those of running processes stay.

    A running process holds a lock on its own, which the system releases when the process ends in any way.
    """
    with contextlib.suppress(OSError):
        for work in [Path(folder, name) for name in os.listdir(folder) if _UNFINISHED.fullmatch(name)]:
            with contextlib.suppress(OSError):
                lock = hold(work, getattr(os, "O_NOFOLLOW", 0))
                if lock is not None:
                    _remove(work)
                    os.close(lock)


@contextlib.contextmanager
def _locked(final: Path, is_folder: bool) -> Iterator[Path]:
    """Yield a temporary file or folder beside `final`, locked against `clear_leftovers`; it is removed at the end."""
    if str(final.parent) not in _cleared:
        _cleared.add(str(final.parent))
        clear_leftovers(final.parent)
    suffix = final.suffix if re.fullmatch(r"\.\w{1,9}", final.suffix) and not is_folder else ""
    while True:
        work = final.parent / f".unfinished-{secrets.token_hex(6)}{suffix}"
        if is_folder:
            work.mkdir()
        else:
            os.close(os.open(work, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
        lock = None
        # Before it is locked, another run may take it for a leftover and remove it; then it is made again.
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            lock = hold(work)
        if os.path.lexists(work):
            break
        if lock is not None:
            os.close(lock)
    try:
        yield work
    finally:
        _remove(work)
        if lock is not None:
            os.close(lock)


@contextlib.contextmanager
def held_folder(folder: Path, output) -> Iterator[None]:
    """Create the working folder of `output`, and lock it against other processes until the block or process ends.

    A `SettingError` says that it cannot be created or that another process holds it. Systems without locks take none.
    """
    with contextlib.ExitStack() as stack:
        with told(Path(output)):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                handle = hold(folder)
                if handle is not None:
                    stack.callback(os.close, handle)
                # The process that held it until now may have removed it.
                is_held = handle is None or (folder.is_dir() and os.path.samestat(os.fstat(handle), os.stat(folder)))
            except BlockingIOError:
                is_held = False
            if not is_held:
                finding = f"another run is writing it, and holds {folder}"
                raise SettingError(output, finding, "wait until that has ended, or name another folder")
        yield


def is_locked(handle: int) -> bool | None:
    """Lock an open file until it is closed or its process ends; False if another holds it, None if it cannot lock."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return None


def hold(folder: Path, flags: int = 0) -> int | None:
    """Lock a folder or file until the returned descriptor is closed, or this process ends in any way.

    None if the system cannot lock; a `BlockingIOError` if another process holds it.
    """
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY | flags)
    is_mine = is_locked(handle)
    if is_mine:
        return handle
    os.close(handle)
    if is_mine is False:
        raise BlockingIOError
    return None


def _remove(work: Path) -> None:
    if work.is_dir() and not work.is_symlink():
        shutil.rmtree(work, ignore_errors=True)
    else:
        work.unlink(missing_ok=True)


def refuse_other(path, mark: str, what: str) -> None:
    """Refuse to replace a file with content unless its beginning has `mark`, as earlier files of this kind (`what`)."""
    if Path(path).is_file():
        with Path(path).open(encoding="utf-8-sig", errors="replace") as stream:
            # A spreadsheet may have saved the table with another delimiter.
            head = stream.read(500).replace(";", ",").replace("\t", ",")
        if head and mark not in head:
            raise SettingError(path, f"it exists and is not an earlier {what}", "move it away, or name another output")


def _refuse_taken(path: Path, final: Path, replace: bool) -> None:
    if final.exists() and not (final.is_dir() and (replace or not any(final.iterdir()))):
        raise SettingError(path, "exists and is not an empty folder", "name a new folder")


def check_path(path) -> None:
    """Refuse a path that cannot exist: below a file, with a name that is too long, or with invalid characters."""
    with told(path), contextlib.suppress(FileNotFoundError):
        os.lstat(path)


def is_stream(path: Path) -> bool:
    """Return whether a path must be written in place: a device, a pipe, or the file of standard output or error."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            return True
        if re.match(r"/dev/(fd/|std)|/proc/", os.path.abspath(path)):
            return True
        return stat.S_ISREG(found.st_mode) and any(os.path.samestat(found, os.fstat(number)) for number in (1, 2))
    return False


@contextlib.contextmanager
def told(path: Path, numbers=None) -> Iterator[None]:
    """Turn an OSError in the block into a `SettingError` of one line about `path`; only those in `numbers` if given."""
    try:
        yield
    except ValueError as error:  # a NUL or a lone surrogate in the name
        if numbers is not None:
            raise
        raise SettingError(path, f"cannot be written ({error})", "give it another name") from error
    except OSError as error:
        if isinstance(error, BrokenPipeError) or (numbers is not None and error.errno not in numbers):
            raise
        if error.errno in FULL:
            raise SettingError(path, f"the disk is full ({error.strerror})", "make room, then run it again") from error
        raise SettingError(path, f"cannot be written ({error.strerror or error})", "check its folder") from error

"""Large files from the web: resumed where they stopped, checked by their hash, unpacked without harm."""

import os
import shutil
import stat
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from cellcycle.errors import DataError

# Files that an archive may hold, and how many times its packed size they may take: more is a trap.
_MOST_MEMBERS, _MOST_SWELLING = 500_000, 200
_CHUNK = 1 << 20


def fetch_file(url: str, target: Path, known_hash: str | None, most_bytes: int) -> Path:
    """Download a file through pooch, going on where an earlier attempt stopped.

    Parameters
    ----------
    url : str
    target : Path
        A file that is there and has the hash is not asked for again.
    known_hash : str or None
        "sha256:..." or "md5:...", as pooch takes it.
    most_bytes : int
        A server that sends more is cut off.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    DataError
        One line: no network, an answer that is no file, too few or too many bytes, another hash.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    by_hand = f"or download it elsewhere, put it at {target}, and run the command again"
    try:
        pooch.retrieve(
            url, known_hash, target.name, target.parent, downloader=_Resuming(target, known_hash, most_bytes)
        )
    except requests.HTTPError as error:
        raise DataError(url, f"the server answers {error.response.status_code}", f"try later, {by_hand}") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise DataError(
            url, "the connection broke off", "run the command again: it goes on where it stopped"
        ) from error
    except requests.RequestException as error:
        finding = f"it cannot be reached ({type(error).__name__})"
        raise DataError(url, finding, f"check the network, {by_hand}") from error
    except ValueError as error:
        raise DataError(url, f"the file is not the one expected ({error})", f"try again, {by_hand}") from error
    except OSError as error:
        raise DataError(target, f"cannot be written ({error.strerror})", "make room, or check the folder") from error
    return target


class _Resuming:
    """What pooch calls to download: keeps what came in `<target>.part`, and asks for the rest of the same file."""

    def __init__(self, target: Path, known_hash: str | None, most_bytes: int):
        self.part = target.with_name(target.name + ".part")
        self.tag = target.with_name(target.name + ".tag")
        self.is_known, self.most_bytes = known_hash is not None, most_bytes

    def __call__(self, url: str, output_file, _pooch) -> None:
        import requests

        have = self.part.stat().st_size if self.part.is_file() else 0
        tag = self.tag.read_text(encoding="utf-8") if self.tag.is_file() else ""
        headers = {"Accept-Encoding": "identity"}
        # Parts of two editions of a file are not joined: the server is asked for the same one, or a hash will tell.
        if have and (tag or self.is_known):
            headers |= {"Range": f"bytes={have}-"} | ({"If-Range": tag} if tag else {})
        with requests.get(url, headers=headers, stream=True, timeout=(20, 60)) as answer:
            if answer.status_code == 416:  # nothing is left to send, or the part is longer than the file
                self.part.unlink()
                return self(url, output_file, _pooch)
            answer.raise_for_status()
            have = have if answer.status_code == 206 else 0
            total = have + int(answer.headers.get("Content-Length", 0))
            self._refuse(url, total)
            tag = answer.headers.get("ETag", "")
            self.tag.write_text("" if tag.startswith("W/") else tag, encoding="utf-8")
            with open(self.part, "ab" if have else "wb") as file, _bar(self.part.stem, have, total) as bar:
                # Small pieces: what is in hand of the last one is lost when the connection breaks.
                for chunk in answer.iter_content(1 << 14):
                    file.write(chunk)
                    bar.update(len(chunk))
                    self._refuse(url, file.tell())
        came = self.part.stat().st_size
        if total > have and came != total:
            finding = f"{came} of {total} bytes came"
            raise DataError(url, finding, "run the command again: it goes on where it stopped")
        os.replace(self.part, output_file)
        self.tag.unlink()

    def _refuse(self, url: str, n_bytes: int) -> None:
        if n_bytes > self.most_bytes:
            self.part.unlink(missing_ok=True)
            raise DataError(url, f"more than {self.most_bytes} bytes come", "look at the address: it is another file")


def _bar(name: str, have: int, total: int):
    from tqdm import tqdm

    is_shown = sys.stderr.isatty()
    return tqdm(desc=name, initial=have, total=total or None, unit="B", unit_scale=True, disable=not is_shown)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a ZIP archive, and archives in it, into a new folder: all of it or nothing.

    Raises
    ------
    DataError
        It is no ZIP archive, is damaged, would write outside of the folder, or swells beyond measure.
    """
    unfinished = folder.with_name(f".{os.getpid()}-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        _unpack_into(archive, unfinished)
        for inner in sorted(unfinished.rglob("*.zip")):
            _unpack_into(inner, inner.with_suffix(""))
            inner.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(unfinished, folder)
    except OSError as error:
        raise DataError(folder, f"cannot be written ({error.strerror})", "make room, or check the folder") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unpack_into(archive: Path, folder: Path) -> None:
    remedy = f"delete {archive} and fetch it again"
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [m for m in packed.infolist() if not m.is_dir()]
            _refuse_traps(archive, members)
            for member in members:
                target = folder / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(member) as source, open(target, "wb") as copy:
                    shutil.copyfileobj(source, copy, _CHUNK)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, ValueError) as error:
        raise DataError(archive, f"no ZIP archive, or a damaged one ({error})", remedy) from error
    except zlib.error as error:
        raise DataError(archive, f"a damaged ZIP archive ({error})", remedy) from error


def _refuse_traps(archive: Path, members) -> None:
    """Refuse members that would be written elsewhere, links, and archives that are small only when packed."""
    for member in members:
        path = PurePosixPath(member.filename)
        outside = path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename
        if outside or stat.S_ISLNK(member.external_attr >> 16):
            kind = "lies outside of the folder" if outside else "is a link"
            raise DataError(archive, f"its member {member.filename!r} {kind}", "do not use this archive")
    unpacked, packed = sum(m.file_size for m in members), archive.stat().st_size
    if len(members) > _MOST_MEMBERS or unpacked > _MOST_SWELLING * max(packed, _CHUNK):
        finding = f"{len(members)} files of {unpacked} bytes in {packed} bytes"
        raise DataError(archive, finding, "do not use this archive")

"""Download large files: resume an interrupted download, check the hash, unpack the archive safely."""

import os
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import pooch
import requests
from tqdm import tqdm

from cellcycle.errors import DataError
from cellcycle.files import whole_folder

# Highest number of files in an archive, and highest ratio of unpacked to packed size: more is a decompression bomb.
_MOST_MEMBERS, _MOST_SWELLING = 500_000, 200
_AGAIN = "run the command again: it continues where it stopped"


def fetch_file(url: str, target: Path, known_hash: str | None, most_bytes: int) -> None:
    """Download a file with pooch, and resume an interrupted download.

    A file that is already there with this hash ("sha256:..." or "md5:...") is not downloaded again. A download of more
    than `most_bytes` is stopped and refused.
    """
    pooch.get_logger().setLevel("WARNING")
    by_hand = f"or download it elsewhere, put it at {target}, and run the command again"

    def download(url: str, output_file, _pooch) -> None:
        _download(url, target, known_hash is not None, most_bytes)
        os.replace(_part(target), output_file)

    try:
        pooch.retrieve(url, known_hash, target.name, target.parent, downloader=download)
    except requests.HTTPError as error:
        raise DataError(url, f"the server answers {error.response.status_code}", f"try later, {by_hand}") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise DataError(url, "the connection broke off", _AGAIN) from error
    except requests.RequestException as error:
        finding = f"it cannot be reached ({type(error).__name__})"
        raise DataError(url, finding, f"check the network, {by_hand}") from error
    except ValueError as error:
        raise DataError(url, f"the file is not the one expected ({error})", f"try again, {by_hand}") from error
    except OSError as error:
        raise DataError(target, f"cannot be written ({error.strerror})", "make room, or check the folder") from error


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _download(url: str, target: Path, is_known: bool, most_bytes: int) -> None:
    """Download into `<target>.part`; if a part is there already, request only the rest of the same file."""
    part, tag_file = _part(target), target.with_name(target.name + ".tag")
    have = part.stat().st_size if part.is_file() else 0
    tag = tag_file.read_text(encoding="utf-8") if tag_file.is_file() else ""
    headers = {"Accept-Encoding": "identity"}
    # Parts of two versions of a file must not be joined: If-Range asks for the same version, or the hash detects it.
    if have and (tag or is_known):
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": tag} if tag else {})
    with requests.get(url, headers=headers, stream=True, timeout=(20, 60)) as answer:
        if answer.status_code == 416:  # nothing is left to send, or the part is longer than the file
            part.unlink()
            return _download(url, target, is_known, most_bytes)
        answer.raise_for_status()
        have = have if answer.status_code == 206 else 0
        total = have + int(answer.headers.get("Content-Length", 0))
        tag = answer.headers.get("ETag", "")
        tag_file.write_text("" if tag.startswith("W/") else tag, encoding="utf-8")
        # disable=None shows the bar on terminals only.
        bar = tqdm(desc=target.name, initial=have, total=total or None, unit="B", unit_scale=True, disable=None)
        came = have
        with open(part, "ab" if have else "wb") as file, bar:
            # Small chunks, because an unfinished chunk is lost when the connection breaks.
            for chunk in answer.iter_content(1 << 14):
                came += file.write(chunk)
                bar.update(len(chunk))
                if max(came, total) > most_bytes:
                    break
    if max(came, total) > most_bytes:
        part.unlink()
        raise DataError(url, f"the server sends over {most_bytes} bytes", "look at the address: it is another file")
    if total > have and came != total:
        raise DataError(url, f"only {came} of {total} bytes arrived", _AGAIN)
    tag_file.unlink()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a ZIP archive and the archives in it into a new folder, completely or not at all."""
    with whole_folder(folder, replace=True) as unfinished:
        _unpack_into(archive, unfinished, archive)
        for inner in sorted(unfinished.rglob("*.zip")):
            _unpack_into(inner, inner.with_suffix(""), archive / inner.relative_to(unfinished))
            inner.unlink()


def _unpack_into(archive: Path, folder: Path, name: Path) -> None:
    """Unpack an archive, `name` in errors; refuse members outside of the folder, links, and decompression bombs."""
    try:
        with zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            for member in members:
                path, called = PurePosixPath(member.filename), member.filename
                outside = path.is_absolute() or ".." in path.parts or "\\" in called or ":" in called
                if outside or stat.S_ISLNK(member.external_attr >> 16):
                    kind = "lies outside of the folder" if outside else "is a link"
                    raise DataError(name, f"its member {called!r} {kind}", "do not use this archive")
            size, packed_size = sum(member.file_size for member in members), archive.stat().st_size
            if len(members) > _MOST_MEMBERS or size > _MOST_SWELLING * max(packed_size, 1 << 20):
                finding = f"{len(members)} files of {size} bytes in {packed_size} bytes"
                raise DataError(name, finding, "do not use this archive")
            packed.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(name, f"no ZIP archive, or a damaged one ({error})", "fetch the set again") from error

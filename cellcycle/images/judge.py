"""Check the structure of a file before decoding: the sizes that it announces must fit its bytes.

`tifffile` trusts a TIFF: it follows circular chains of directories, counts backwards from negative sizes and
allocates lists as long as a number in a header. So the directories are walked here first, in bounded steps.
"""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

from cellcycle.errors import CellCycleError, ImageError, reason_of
from cellcycle.images.codestreams import is_jpeg, stated_size
from cellcycle.images.descriptions import check_description
from cellcycle.images.stacks import DAMAGED, refuse_oversize

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# A .vsi begins like a TIFF, but it holds only an overview: its planes are in other files beside it.
VENDOR_SUFFIXES = (".czi", ".nd2", ".lif", ".oib", ".oif", ".oir", ".vsi", ".zvi", ".dv", ".r3d", ".ims", ".sldy")
MOST_PAGES = 20_000
# Smaller sizes of pages (SubIFDs): tifffile reads each of them whole.
MOST_SMALLER = 4_000
MOST_SEGMENTS = 100_000
# tifffile compares each kind of page (size or type) with all others.
MOST_KINDS = 300
# Scans times pixels of a progressive JPEG: with more, a small file takes minutes to decode.
MOST_SCANNED = 4_000_000_000
_MOST_TAGS = 4_096
# TIFF type number -> bytes per value.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNSIGNED = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _DESCRIPTION, _SAMPLES, _ROWS = 256, 257, 258, 259, 270, 277, 278
_STRIPS, _STRIP_BYTES, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 273, 279, 284, 322, 323, 324, 325
_SUB_IFDS, _DEPTH, _TILE_DEPTH = 330, 32997, 32998
_DEFAULTS = {_WIDTH: 0, _HEIGHT: 0, _COMPRESSION: 1, _SAMPLES: 1, _PLANAR: 1, _DEPTH: 1, _ROWS: 2**32 - 1}
_SINGLE = {_WIDTH, _HEIGHT, _COMPRESSION, _SAMPLES, _ROWS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _DEPTH, _TILE_DEPTH}
_NUMBERS = _SINGLE | {_BITS, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _SUB_IFDS}
# Tags by which tifffile distinguishes kinds of page; also fill order, photometric, predictor, extra samples and format.
_KIND = _SINGLE - {_ROWS} | {_BITS, 262, 266, 317, 338, 339}
# Compressions of plain bytes of the page's size, streams with a header that states its own size, and others.
_PLAIN = {1, 5, 8, 32773, 32946, 34925, 34926, 50000}
_STREAMS = {7, 33003, 33004, 33005, 34712, 22610, 34934, 34927, 50001, 34933}
_OTHER = {50002, 34887}


@contextmanager
def one_line(path) -> Iterator[None]:
    """Turn any exception in the block into an `ImageError`: on damaged files decoders raise exceptions of any type."""
    try:
        yield
    except CellCycleError:
        raise
    except MemoryError as error:
        raise ImageError(path, "it does not fit into memory", "cut it into smaller fields") from error
    except Exception as error:
        raise ImageError(path, f"it cannot be decoded ({reason_of(error)})", "export the image again") from error


def signature_of(path: Path) -> bytes:
    """Return the first four bytes of a file, none for a folder; refuse pipes and devices, as reading them may block."""
    try:
        if os.path.isdir(path):
            return b""
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageError(path, "this is a pipe or device, not a file", "save the image as a file")
        with open(path, "rb") as file:
            signature = file.read(4)
    except FileNotFoundError:
        raise ImageError(path, "there is no such file", "check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(str(path)[:200], f"it cannot be opened ({reason})", "check path and permissions") from error
    if not signature:
        raise ImageError(path, "the file is empty", "export the image again")
    return signature


def judge(path) -> bool:
    """Check what a file announces against its bytes; return whether it can be decoded in this process.

    It can if the compression is plain or JPEG, whose cost follows from the size; folders and vendor formats cannot.
    """
    path = Path(path)
    with one_line(path):
        signature = signature_of(path)
        # The description of a folder is checked when it is opened; its codecs are complex.
        if not signature or path.suffix.lower() in VENDOR_SUFFIXES:
            return False
        if signature in TIFF_SIGNATURES:
            return _judge_tiff(path)
        if is_jpeg(signature):
            _refuse_many_scans(path, path.read_bytes())
        if signature == b"\x89PNG":
            _refuse_cut_png(path)
        return True


def _refuse_cut_png(path: Path) -> None:
    """Refuse a PNG with a chunk that reaches beyond the end of the file: the decoder would allocate all of it."""
    n_bytes, place, name = path.stat().st_size, 8, b""
    with open(path, "rb") as file:
        while place + 8 <= n_bytes and name != b"IEND":
            file.seek(place)
            size, name = struct.unpack(">I4s", file.read(8))
            if place + 8 + size > n_bytes:
                raise ImageError(path, "it is cut off, or one of its chunks states a wrong length", "copy it again")
            place += 12 + size


@dataclass
class _Reader:
    """The bytes of a TIFF with its byte order and the width of its offsets."""

    file: object
    path: Path
    n_bytes: int
    order: str = "<"
    is_big: bool = False

    def at(self, offset: int, n: int) -> bytes:
        if offset < 0 or n < 0 or offset + n > self.n_bytes:
            raise self.wrong(f"it points {offset + n - self.n_bytes:,} bytes beyond its end")
        self.file.seek(offset)
        return self.file.read(n)

    def unpack(self, form: str, offset: int) -> tuple:
        form = self.order + form
        return struct.unpack(form, self.at(offset, struct.calcsize(form)))

    def wrong(self, finding: str, remedy: str = DAMAGED) -> ImageError:
        return ImageError(self.path, finding, remedy)


def _judge_tiff(path: Path) -> bool:
    """Check all directories of a TIFF or BigTIFF, refuse circles; return whether its compression is plain or JPEG."""
    with open(path, "rb") as file:
        reader = _Reader(file, path, path.stat().st_size)
        reader.order = "<" if reader.at(0, 2) == b"II" else ">"
        reader.is_big = reader.unpack("H", 2) == (43,)
        (first,) = reader.unpack("Q", 8) if reader.is_big else reader.unpack("I", 4)
        is_plain, n_pages, waiting, seen, named, kinds = True, 0, [first], set(), set(), set()
        while waiting:
            offset, chain = waiting.pop(), set()
            while offset and (offset not in seen or offset in chain):
                if offset in chain:
                    raise reader.wrong("its pages follow each other in a circle")
                chain.add(offset)
                seen.add(offset)
                page, offset = _directory(reader, offset)
                n_pages += 1
                subs = [sub for sub in page.get(_SUB_IFDS, ()) if sub]
                if not named.isdisjoint(subs) or len(set(subs)) < len(subs):
                    raise reader.wrong("it names the same smaller picture twice")
                named.update(subs)
                if n_pages > MOST_PAGES:
                    raise reader.wrong(f"it has more than {MOST_PAGES:,} pages", "export fewer planes a file")
                if len(named) > MOST_SMALLER:
                    raise reader.wrong(f"it has more than {MOST_SMALLER:,} smaller pictures", "export it without them")
                is_plain &= _judge_page(reader, page)
                kinds.add(page["kind"])
                if len(kinds) > MOST_KINDS:
                    raise reader.wrong(f"it has pages of more than {MOST_KINDS} sizes or types", "export fewer a file")
                waiting += subs
        if not n_pages:
            raise reader.wrong("it holds no image")
        return is_plain


def _directory(reader: _Reader, offset: int) -> tuple[dict, int]:
    """Return the tags of a directory that are checked, as tuples of numbers, and the offset of the next directory."""
    of_tags, pointer, inline = ("Q", "Q", 8) if reader.is_big else ("H", "I", 4)
    (n_tags,) = reader.unpack(of_tags, offset)
    start, width = offset + struct.calcsize(of_tags), 4 + 2 * inline
    if not 0 < n_tags <= _MOST_TAGS:
        raise reader.wrong(f"a page has {n_tags:,} entries")
    table = reader.at(start, n_tags * width)
    page: dict = {"kind": b""}
    for i, (code, kind, count, where) in enumerate(struct.iter_unpack(f"{reader.order}HH{pointer}{pointer}", table)):
        size = _SIZES.get(kind, 1) * count
        if size <= inline:
            where = start + (i + 1) * width - inline
            page["kind"] += table[i * width : (i + 1) * width] if code in _KIND else b""
        elif where + size > reader.n_bytes:
            raise reader.wrong(f"its entry {code} reaches beyond the end of the file")
        if code in _SINGLE and count != 1:
            raise reader.wrong(f"its entry {code} has {count:,} values instead of one")
        if code == _DESCRIPTION:
            page[code] = reader.at(where, size)
        elif code in _NUMBERS:
            if kind not in _UNSIGNED:
                raise reader.wrong(f"its entry {code} is no positive whole number")
            # One more than allowed is enough to see that there are too many.
            n = min(count, MOST_SEGMENTS + 1)
            page[code] = reader.unpack(f"{n}{_UNSIGNED[kind]}", where)
    (following,) = reader.unpack(pointer, start + n_tags * width)
    return page, following


def _judge_page(reader: _Reader, page: dict) -> bool:
    """Check the size that one page announces against the file; return whether its compression is plain or JPEG."""
    if _DESCRIPTION in page:
        check_description(reader.path, page[_DESCRIPTION])
    if _WIDTH not in page or _HEIGHT not in page:
        # A directory without width or height (such as EXIF) has no picture; tifffile skips it.
        return True
    one = {code: page.get(code, (default,))[0] for code, default in _DEFAULTS.items()}
    bits, n_samples, depth = page.get(_BITS, (1,)), one[_SAMPLES], one[_DEPTH]
    # Complex numbers have up to 128 bits; they are refused later, when the pixels are read.
    if min(n_samples, depth, *bits) < 1 or max(bits) > 128 or n_samples > 1_000:
        raise reader.wrong(f"a page has {n_samples:,} samples of {max(bits):,} bits a pixel")
    n_bytes = one[_HEIGHT] * one[_WIDTH] * n_samples * depth * -(-max(bits) // 8)
    refuse_oversize(reader.path, one[_HEIGHT], one[_WIDTH], n_bytes, reader.n_bytes, n_bytes)
    is_tiled = _TILE_WIDTH in page or _TILES in page
    height, width = _segment_shape(reader, page, one, is_tiled)
    return _judge_segments(reader, page, one[_COMPRESSION], is_tiled, height, width)


def _segment_shape(reader: _Reader, page: dict, one: dict, is_tiled: bool) -> tuple[int, int]:
    """Return the height and width of a tile or strip; refuse tiles far larger than the page, and too many pieces."""
    if not is_tiled:
        height, width = min(max(one[_ROWS], 1), one[_HEIGHT]), one[_WIDTH]
        n_segments = -(-one[_HEIGHT] // height)
    else:
        height, width = (page.get(code, (0,))[0] for code in (_TILE_HEIGHT, _TILE_WIDTH))
        if not (height and width) or height * width > max(4 * one[_HEIGHT] * one[_WIDTH], 1 << 22):
            raise reader.wrong(f"a page of {one[_HEIGHT]} x {one[_WIDTH]} pixels has tiles of {height} x {width}")
        n_segments = -(-one[_HEIGHT] // height) * -(-one[_WIDTH] // width)
    n_segments *= one[_DEPTH] * (one[_SAMPLES] if one[_PLANAR] == 2 else 1)
    if n_segments > MOST_SEGMENTS:
        raise reader.wrong(f"a page is cut into {n_segments:,} pieces", "export it with larger tiles or strips")
    return height, width


def _judge_segments(reader: _Reader, page: dict, compression: int, is_tiled, height: int, width: int) -> bool:
    """Check place and stated size of each tile or strip; return whether the compression is plain or JPEG."""
    if compression not in _PLAIN | _STREAMS | _OTHER:
        raise reader.wrong(f"its compression ({compression}) is not read", "export it uncompressed or with deflate")
    offsets = page.get(_TILES if is_tiled else _STRIPS, ())
    counts = page.get(_TILE_BYTES if is_tiled else _STRIP_BYTES, ())
    if len(offsets) > MOST_SEGMENTS:
        raise reader.wrong(f"a page is cut into {len(offsets):,} pieces", "export it with larger tiles or strips")
    for offset, count in zip(offsets, counts, strict=False):
        if offset + count > reader.n_bytes:
            raise reader.wrong("its pixels reach beyond its end", "the file is cut off: copy or export it again")
        if compression in _STREAMS and count:
            data = reader.at(offset, count)
            size = stated_size(data)
            if size is None:
                raise reader.wrong("a compressed picture in it has no readable size")
            # Encoders pad the last strip or the edge of a tile to whole blocks.
            if not (0 < size[0] <= height + 64 and 0 < size[1] <= width + 64):
                own = f"{size[0]} x {size[1]}"
                raise reader.wrong(f"a picture of {own} pixels lies in a piece of {height} x {width}")
            _refuse_many_scans(reader.path, data)
    return compression in _PLAIN or compression == 7


def _refuse_many_scans(path: Path, data: bytes) -> None:
    """Refuse a progressive JPEG with far more scans over its pixels than any encoder writes."""
    # In compressed data every 0xFF is followed by 0 or a restart marker, so each FF DA starts a scan.
    n_scans = data.count(b"\xff\xda") if is_jpeg(data) else 0
    if n_scans > 100 and n_scans * prod(stated_size(data) or ()) > MOST_SCANNED // 100:
        raise ImageError(path, f"its JPEG data has {n_scans:,} scans", "save it again, best as TIFF or PNG")

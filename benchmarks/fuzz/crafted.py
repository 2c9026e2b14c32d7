"""Files crafted by hand: small on disk, but endless, huge or pointing elsewhere when they are read."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.fuzz.crafted_pages import pages, sizes
from benchmarks.fuzz.crafted_streams import bmps, jpegs, odd, pngs, streams
from benchmarks.fuzz.crafted_texts import FAR, omes, texts
from benchmarks.fuzz.seeds import ome, picture, written
from benchmarks.fuzz.tiff import ASCII, build, described


def lay_traps(folder: Path) -> Path:
    """Create and return a folder for the files to read, with the targets that hostile files name in and above it."""
    given = folder / "given"
    given.mkdir()
    for place in (folder, given):
        (place / "secret.tif").write_bytes(written(picture(np.uint16)))
        if hasattr(os, "mkfifo"):
            os.mkfifo(place / "pipe.tif")
    return given


def crafted(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, suffix, bytes) of every file; `folder` is the one in which they will be read."""
    for make in (pages, sizes, streams, texts, omes, pngs, jpegs, bmps, odd):
        for name, data in make():
            is_tiff = data[:2] in (b"II", b"MM")
            suffix = ".ome.tif" if name.startswith("ome") else ".tif" if is_tiff else f".{make.__name__[:-1]}"
            yield name, suffix, data
    for name, target in (
        ("absolute", folder.parent / "secret.tif"),
        ("up", "../secret.tif"),
        ("around", folder / ".." / "secret.tif"),
        ("beside", "secret.tif"),
        ("pipe", folder.parent / "pipe.tif"),
        ("pipe beside", "pipe.tif"),
        ("link to home", "~/secret.tif"),
        ("device", "/dev/zero"),
        ("passwords", "/etc/passwd"),
        ("terminal", "/dev/tty"),
        ("share", r"\\127.0.0.1\share\secret.tif"),
        ("address", "http://127.0.0.1:9/secret.tif"),
        ("address of a file", f"file://{folder.parent}/secret.tif"),
    ):
        named = f'<UUID FileName="{target}">urn:uuid:2</UUID>'
        yield f"ome names {name}", ".ome.tif", ome(other=named)
        # The first plane is in this file, the second in the other, as microscopes write sets of files.
        yield f"ome names {name} for a plane", ".ome.tif", ome('SizeT="2"', plane='IFD="0" FirstT="1"', other=named)
    yield "ome binary only", ".ome.tif", _binary_only(str(folder.parent / "secret.tif"))
    yield "ome binary only beside", ".ome.tif", _binary_only("secret.tif")
    yield "micro-manager names files", ".tif", _micromanager(str(folder.parent / "secret.tif"))


def _binary_only(target: str) -> bytes:
    xml = ('<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
           f'<BinaryOnly MetadataFile="{target}" UUID="urn:uuid:2"/></OME>')  # fmt: skip
    return build(described(xml))


def _micromanager(target: str) -> bytes:
    """Return a file with Micro-Manager's tag and a description that names another file."""
    named = f'{{"FileName": "{target}", "Frames": {FAR}}}\0'
    return build(described("ImageJ=1.5\nimages=9\n", _51123=(ASCII, named.encode())))

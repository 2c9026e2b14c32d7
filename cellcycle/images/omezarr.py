"""Open OME-Zarr images (0.4 and 0.5) in folders, after a check of their description against their files.

An untrusted store may name any codec (one unpickles), link to places outside its folder and announce any size.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from math import inf, prod
from pathlib import Path

import numpy as np

from cellcycle.errors import DataError, ImageError, needing, reason_of
from cellcycle.images.bounded import MOST_FILES, bytes_of
from cellcycle.images.judge import MOST_SEGMENTS
from cellcycle.images.stacks import Stack, channel_names, refuse_oversize, um_of, usable_size

OF_ARRAY, OF_GROUP = ("zarr.json", ".zarray"), ("zarr.json", ".zattrs")
_DESCRIPTIONS = (*OF_ARRAY, ".zattrs")
# At most this many resolution levels of an image are examined.
MOST_LEVELS = 30
_MOST_BYTES = 8_000_000
_CODECS = {
    2: {"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "shuffle", "delta"},
    3: {"bytes", "transpose", "blosc", "gzip", "zstd", "crc32c", "sharding_indexed"},
}
_TYPE = {2: re.compile(r"[<>|]([uif][1248]|b1)"), 3: re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)")}
PLATE_REMEDY = "export the plate again, or copy the images out of it"
_REMEDY = "export the image again, or as OME-TIFF"


def is_ome_zarr(folder) -> bool:
    """Return whether a folder is an OME-Zarr image, not a plate or collection of images."""
    return "multiscales" in told_in(folder)


def opened(path: Path, n_bytes: float = inf) -> tuple[Stack, Callable[[Mapping[str, Sequence[int]]], list[str]]]:
    """Return the `Stack` of an image, and a function: indices by axis (all if not given) -> keys of their chunks.

    `n_bytes` is the size of the image; without it, only the description is checked and chunks may be missing.
    """
    told, version = described(path)
    if "multiscales" not in told:
        what = "a plate, whose images lie in its wells" if "plate" in told else "no OME-Zarr image"
        raise ImageError(path, f"it is {what}", "name the folder of an image in it, which describes multiscales")
    match told["multiscales"]:
        case [{"datasets": [{"path": str()}, *_]} as image]:
            pass
        case _:
            raise ImageError(path, "its multiscales are not those of one image", "name the folder of one image")
    axes, units = _axes(path, image)
    level = full_level(path, image["datasets"])
    folder = _inside(path, level["path"])
    about = sum(file.stat().st_size for file in folder.glob("*") if file.name in _DESCRIPTIONS)
    if n_bytes < inf and bytes_of(folder) <= about:
        raise ImageError(path, f"{level['path']} in it holds no pixels: its chunks were not copied", "copy it again")
    shape = _judge_array(path, folder, version, axes, n_bytes)
    sizes = dict(zip(axes, shape, strict=True))
    remedy = "run: pip install 'cellcycle[zarr]'  (or export it as OME-TIFF)"
    with needing(path, "OME-Zarr needs the package zarr", remedy, ImageError):
        import zarr
        from zarr.storage import LocalStore
    array = zarr.open_array(LocalStore(folder, read_only=True), mode="r", zarr_format=version)

    def load(t: int, c: int, z: int) -> np.ndarray:
        at = {"t": t, "c": c, "z": z}
        pixels = np.asarray(array[tuple(at.get(axis, slice(None)) for axis in axes)])
        return pixels if axes.index("y") < axes.index("x") else pixels.T

    keys_of = partial(_chunk_keys, path, array, axes)
    labels = [channel.get("label") for channel in (told.get("omero") or {}).get("channels") or []]
    pixel_size_um, note = usable_size(*(_edge_um(image, level, axes.index(a), units[a]) for a in "xy"))
    stack = Stack(
        str(path),
        load,
        n_times=sizes.get("t", 1),
        n_z=sizes.get("z", 1),
        channel_names=channel_names(sizes.get("c", 1), labels),
        pixel_size_um=pixel_size_um,
        z_um=(_edge_um(image, level, axes.index("z"), units["z"]) if "z" in axes else None) or np.nan,
        note=note,
        missing=lambda t, c, z: _missing(folder, array.fill_value, keys_of({"t": [t], "c": [c], "z": z}), len(z)),
    )
    return stack, keys_of


def full_level(path: Path, levels: list[dict]) -> dict:
    """Return the resolution level with most pixels; the first one if it is as large or is not described."""

    def n_pixels(level: dict) -> int:
        try:
            folder = path / level["path"]
            files = [folder / name for name in OF_ARRAY if is_below(level["path"]) and (folder / name).is_file()]
            return prod(map(int, _json(files[0])["shape"])) if files else 0
        except (ImageError, KeyError, TypeError, ValueError):
            # If this level is read in the end, the error is raised then.
            return 0

    return max(levels[:MOST_LEVELS], key=n_pixels) if n_pixels(levels[0]) else levels[0]


def _chunk_keys(path: Path, array, axes: str, wanted: Mapping[str, Sequence[int]]) -> list[str]:
    at = []
    for axis, size, piece in zip(axes, array.shape, array.shards or array.chunks, strict=True):
        indices = wanted.get(axis, range(size))
        at.append(range(indices[0] // piece, indices[-1] // piece + 1))
    if (n_chunks := prod(map(len, at))) > MOST_FILES:
        raise ImageError(path, f"it lies in {n_chunks:,} chunks", "export it with larger chunks")
    return list(map(array.metadata.encode_chunk_key, product(*at)))


def _missing(folder: Path, filled: float, keys: list[str], n_planes: int) -> str:
    """Return a note on chunks that are not stored, "" if all are: empty ones need not be, but a copy may be partial."""
    # A copy to a full disk leaves empty files; zarr reads an empty shard as nothing.
    n_missing = sum(not ((folder / key).is_file() and (folder / key).stat().st_size) for key in keys)
    if not n_missing:
        return ""
    planes = "planes" if n_planes > 1 else "plane"
    return f"{n_missing} of {len(keys)} chunks of the {planes} are not stored: they are read as {filled or 0:g}"


def _json(path: Path) -> dict:
    with open(path, "rb") as file:
        text = file.read(_MOST_BYTES + 1)
    try:
        found = json.loads(text) if len(text) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ImageError(path.parent, f"its {path.name} is not readable", _REMEDY)
    return found


def described(path: Path) -> tuple[dict, int]:
    """Return the OME metadata of a folder and its Zarr version (2 or 3); refuse a folder without."""
    for name, version in zip(OF_GROUP, (3, 2), strict=True):
        if (path / name).is_file():
            found = _json(path / name)
            for key in ("attributes", "ome") if version == 3 else ():
                found = found.get(key) if isinstance(found, dict) else None
            return (found if isinstance(found, dict) else {}), version
    raise ImageError(path, "this is a folder, not an image", "name a file in it")


def told_in(folder) -> dict:
    """Return the OME metadata of a folder, {} if it is no OME-Zarr image, well or plate, or damaged."""
    with suppress(ImageError, OSError):
        return described(Path(folder))[0]
    return {}


def parts_of(told: dict) -> list[str]:
    """Return the folders that OME metadata list: the wells of a plate, the images of a well, else none."""
    kind, parts = ("plate", "wells") if "plate" in told else ("well", "images")
    return [str(part["path"]).strip("/") for part in told.get(kind, {}).get(parts, ())]


def wells_told(path, plate: dict) -> dict[str, str]:
    """Return the name ROW/COLUMN of each well of a plate by its path; a `DataError` about `path` if unreadable."""
    try:
        # Before 0.4, only the path identifies the well.
        return {
            at["path"]: f"{plate['rows'][at['rowIndex']]['name']}/{plate['columns'][at['columnIndex']]['name']}"
            if "rowIndex" in at
            else at["path"]
            for at in plate.get("wells", ())
        }
    except (AttributeError, LookupError, TypeError) as error:
        finding = f"what its plate says of its wells cannot be read ({reason_of(error)})"
        raise DataError(path, finding, PLATE_REMEDY) from error


def _axes(path: Path, image: dict) -> tuple[str, dict[str, str]]:
    """Return the axes as letters in their order, and the unit of each; before 0.3 they were always t, c, z, y, x."""
    said = image.get("axes", "tczyx")
    said = said if isinstance(said, list | str) else [said]
    listed = [axis if isinstance(axis, dict) and "name" in axis else {"name": axis} for axis in said]
    units = {str(axis["name"]).lower(): str(axis.get("unit", "")).lower() for axis in listed}
    axes = "".join(units)
    if not len(axes) == len(units) == len(listed) or not {"y", "x"} <= set(axes) <= set("tczyx"):
        raise ImageError(path, f"its axes are {', '.join(str(a['name']) for a in listed)[:80]}", "export t, c, z, y, x")
    return axes, units


def is_below(name: str) -> bool:
    """Return whether a relative path cannot lead outside its folder."""
    return not os.path.isabs(name) and ".." not in Path(name).parts


def _inside(path: Path, name) -> Path:
    if not is_below(str(name)) or not (path / str(name)).is_dir():
        raise ImageError(path, f"its pixels should lie in {str(name)[:80]!r}, which is no folder in it", _REMEDY)
    return path / str(name)


def _judge_array(path: Path, folder: Path, version: int, axes: str, n_bytes: float) -> tuple[int, ...]:
    """Check the array of a level, as announced, against the size of the files; return its shape."""
    said = _json(folder / ("zarr.json" if version == 3 else ".zarray"))
    if version == 3:
        grid, kind = said["chunk_grid"], said["data_type"]
        pieces, codecs = grid["configuration"]["chunk_shape"], _codecs(said["codecs"])
        if grid["name"] != "regular" or said.get("storage_transformers"):
            raise ImageError(path, "the layout of its chunks is not supported", _REMEDY)
    else:
        kind, pieces = said["dtype"], said["chunks"]
        codecs = [codec["id"] for codec in (said.get("compressor"), *(said.get("filters") or [])) if codec]
    unknown = [str(codec)[:40] for codec in codecs if codec not in _CODECS[version]]
    if unknown:
        raise ImageError(path, f"its codec {unknown[0]!r} is not read", "export it with blosc, zstd or gzip")
    if not isinstance(kind, str) or not _TYPE[version].fullmatch(kind):
        raise ImageError(path, f"its pixels are of type {str(kind)[:40]}", "export it as 8-bit, 16-bit or float")
    shape = said["shape"]
    whole = [*shape, *pieces]
    if not len(shape) == len(pieces) == len(axes) or not all(isinstance(n, int) and 0 < n < 2**40 for n in whole):
        raise ImageError(path, f"its shape {str(shape)[:60]} in pieces of {str(pieces)[:60]} is impossible", _REMEDY)
    item = np.dtype(kind).itemsize
    height, width = shape[axes.index("y")], shape[axes.index("x")]
    n_pieces = prod(-(-n // piece) for axis, n, piece in zip(axes, shape, pieces, strict=True) if axis in "yx")
    # A chunk is always decoded whole.
    refuse_oversize(path, height, width, prod(shape) * item, n_bytes, n_pieces * prod(pieces) * item)
    if n_pieces > MOST_SEGMENTS:
        finding = f"a plane is cut into more than {MOST_SEGMENTS:,} pieces"
        raise ImageError(path, finding, "export it with larger chunks")
    return tuple(shape)


def _codecs(listed: list) -> list[str]:
    """Return the names of codecs, also inside shards; inner chunks without pixels are named as an unknown codec."""
    names = []
    for codec in listed:
        inner = codec.get("configuration") or {}
        names.append(codec["name"])
        if codec["name"] == "sharding_indexed":
            names += _codecs([*inner["codecs"], *inner.get("index_codecs", [])])
            if not all(isinstance(n, int) and n > 0 for n in inner["chunk_shape"]):
                names.append("shards without pixels")
    return names


def _edge_um(image: dict, level: dict, axis: int, unit: str) -> float | None:
    """Return the pixel size along an axis in um, NaN if it is not a number, None without a size or known unit."""
    try:
        steps = (*level.get("coordinateTransformations", []), *image.get("coordinateTransformations", []))
        scales = [float(step["scale"][axis]) for step in steps if step.get("type") == "scale"]
    except (AttributeError, LookupError, TypeError, ValueError):
        return np.nan
    return um_of(prod(scales) if scales else None, unit)

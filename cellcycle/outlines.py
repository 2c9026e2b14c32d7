"""Convert nuclei to polygons, and write them with their phases to files for QuPath and ImageJ.

Points are x, y in pixels; 0, 0 is the outer corner of the first pixel, as in QuPath and in ImageJ.
"""

import json
import math
import zipfile
from pathlib import Path

import numpy as np
from skimage.measure import find_contours

from cellcycle.errors import SettingError
from cellcycle.files import whole_file
from cellcycle.images.writing import has_mark, mark_of, refuse_unmarked
from cellcycle.phases import NO_CALL_COLOUR, class_colours, rgb
from cellcycle.segmentation.regions import boxes_of, without_holes

OUTLINES_SUFFIX, ROIS_SUFFIX = ".geojson", ".zip"
# Mark in every file written here.
_MARK = "cellcycle outlines"
# Measurements that QuPath shows beside the probabilities.
_MEASURED = ("nucleus_id", "confidence", "area_um2", "integrated_dna", "dna_copies")
_TEXTS = ("flags", "prediction_set", "review")
_MOVE, _LINE, _CLOSE = 0, 1, 4


def outlines_of(labels: np.ndarray, ids) -> list[list[np.ndarray]]:
    """Return the outline of each nucleus: a closed ring (n, 2) of x, y for each of its parts; holes are filled.

    A ring runs midway between the pixels of the nucleus and those outside, so exactly the pixels of the nucleus have
    their centres inside. `ids` are the numbers of the nuclei in `labels` (H, W) int; a `SettingError` says that one is
    missing.

    Examples
    --------
    >>> outlines_of(np.array([[0, 7, 7]]), [7])[0][0].tolist()
    [[2.5, 1.0], [1.5, 1.0], [1.0, 0.5], [1.5, 0.0], [2.5, 0.0], [3.0, 0.5], [2.5, 1.0]]
    """
    labels = np.asarray(labels)
    boxes, found = dict(boxes_of(labels)), []
    for number in ids:
        box = boxes.get(number)
        if box is None:
            raise SettingError("ids", f"no nucleus has the number {number}", "give numbers that the labels hold")
        nucleus = np.pad(without_holes(labels[box] == number), 1)
        rings = find_contours(nucleus.astype(np.float32), 0.5, fully_connected="high")
        corner = np.array([box[1].start, box[0].start]) - 0.5
        found.append([_corners(ring[:, ::-1] + corner) for ring in rings])
    return found


def _corners(ring: np.ndarray) -> np.ndarray:
    """Return a closed ring without the points that lie on a straight line between their neighbours."""
    steps = np.diff(ring, axis=0)
    before = np.roll(steps, 1, axis=0)
    is_corner = before[:, 0] * steps[:, 1] != before[:, 1] * steps[:, 0]
    kept = ring[:-1][is_corner]
    return np.concatenate([kept, kept[:1]])


def write_geojson(
    path: Path, labels: np.ndarray, columns: dict[str, list], classes: tuple[str, ...], origin: str = ""
) -> None:
    """Write nuclei as GeoJSON for QuPath: a FeatureCollection of detections with the phase as class.

    The format is that of `PathObjectTypeAdapter` in QuPath 0.4 and later (`qupath.lib.io.QuPathTypeAdapters`). A
    nucleus without a call has no class. Only an earlier such file is replaced; `origin` is as in `write_mask`.
    """
    rows, rings = _rows_and_rings(path, labels, columns)
    colours = {name: list(rgb(colour)) for name, colour in class_colours(classes).items()}
    with whole_file(path) as work, open(work, "w", encoding="utf-8") as stream:
        stream.write(f'{{"type": "FeatureCollection", "generator": "{mark_of(_MARK, origin)}", "features": [')
        for k, (row, parts) in enumerate(zip(rows, rings, strict=True)):
            stream.write(",\n" if k else "\n")
            json.dump(_feature(row, parts, colours), stream, ensure_ascii=False)
        stream.write("\n]}\n")


def _feature(row: dict, parts: list[np.ndarray], colours: dict[str, list[int]]) -> dict:
    polygons = [[ring.tolist()] for ring in parts]
    names = [*_MEASURED, *(name for name in row if name.startswith("p_"))]
    properties = {
        "objectType": "detection",
        "name": str(int(row["nucleus_id"])),
        "measurements": {name: round(row[name], 4) for name in names if math.isfinite(row[name])},
        "metadata": {name: row[name] for name in _TEXTS if row[name]},
    }
    if row["call"]:
        colour = colours.get(row["call"], list(rgb(NO_CALL_COLOUR)))
        properties["classification"] = {"name": row["call"], "color": colour}
    kind, places = ("Polygon", polygons[0]) if len(polygons) == 1 else ("MultiPolygon", polygons)
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": places}, "properties": properties}


def write_rois(
    path: Path, labels: np.ndarray, columns: dict[str, list], classes: tuple[str, ...], origin: str = ""
) -> None:
    """Write nuclei as a ROI set for ImageJ's ROI Manager, named NUMBER-PHASE, in the colour and group of the phase.

    Groups number the classes from 1; 0 is no call. A nucleus in several parts is one composite ROI. Only an earlier
    such file is replaced; `origin` is as in `write_mask`.
    """
    rows, rings = _rows_and_rings(path, labels, columns)
    colours = class_colours(classes)
    with whole_file(path) as work, zipfile.ZipFile(work, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = mark_of(_MARK, origin).encode()
        for row, parts in zip(rows, rings, strict=True):
            roi = _roi(parts)
            roi.name = f"{int(row['nucleus_id']):05d}-{row['call'] or 'no call'}"
            roi.group = classes.index(row["call"]) + 1 if row["call"] in classes else 0
            roi.stroke_color = bytes((255, *rgb(colours.get(row["call"], NO_CALL_COLOUR))))
            # The name of an entry is a path, and the name of a class may have a slash.
            entry = zipfile.ZipInfo(f"{roi.name.replace('/', '_')}.roi")
            entry.external_attr = 0o600 << 16
            # `ZipInfo` has a fixed date, so equal contents give equal files.
            archive.writestr(entry, roi.tobytes(), zipfile.ZIP_DEFLATED)


def _roi(parts: list[np.ndarray]):
    from roifile import ROI_TYPE, ImagejRoi

    if len(parts) == 1:
        roi = ImagejRoi.frompoints(parts[0][:-1].astype(np.float32))
        roi.roitype = ROI_TYPE.POLYGON
        return roi
    every = np.concatenate(parts)
    path = [[[_MOVE, *ring[0]], *([_LINE, *point] for point in ring[1:-1]), [_CLOSE]] for ring in parts]
    numbers = np.array([n for part in path for step in part for n in step], np.float32)
    roi = ImagejRoi(roitype=ROI_TYPE.RECT, multi_coordinates=numbers, shape_roi_size=len(numbers))
    roi.left, roi.top = np.floor(every.min(axis=0)).astype(int).tolist()
    roi.right, roi.bottom = np.ceil(every.max(axis=0)).astype(int).tolist()
    return roi


def _rows_and_rings(path: Path, labels: np.ndarray, columns: dict[str, list]) -> tuple[list[dict], list]:
    """Return the rows of a table that have a nucleus, and their outlines; refuse to replace a file of another kind."""
    refuse_unmarked(path, _MARK, "set of outlines of an earlier run", "name another")
    columns = {**columns, "nucleus_id": np.asarray(columns["nucleus_id"], dtype=float)}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    rows = [row for row in rows if math.isfinite(row["nucleus_id"])]
    return rows, outlines_of(labels, [int(row["nucleus_id"]) for row in rows])


def is_outlines(path) -> bool:
    """Return whether a file was written by `write_geojson` or `write_rois`, so that it may be replaced."""
    return has_mark(path, _MARK)

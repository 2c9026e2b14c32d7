"""Work on images, done in child processes, so that a file that takes too long or too much memory harms no one else.

Functions take and return plain values and folders of `cellcycle.app.store`; none knows visitors or requests.
"""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import compress
from pathlib import Path

import numpy as np
from scipy.linalg import inv

from cellcycle.app.models import model_table
from cellcycle.checkpoint import Checkpoint, load_checkpoint
from cellcycle.confidence import shape_features
from cellcycle.errors import CellCycleError, DataError, ImageError
from cellcycle.files import sha256_of
from cellcycle.images import read_plane
from cellcycle.nuclei import Nuclei
from cellcycle.outlines import outlines_of
from cellcycle.phases import class_colours
from cellcycle.predict import AUTO, ImagePrediction, Predictor, Settings
from cellcycle.predict.extras import Extras
from cellcycle.predict.given import Given
from cellcycle.predict.kept import keep, kept, smallest
from cellcycle.predict.many import found_in
from cellcycle.predict.occlusion import coloured, occlusion_map
from cellcycle.predict.output import text_rows
from cellcycle.predict.overlay import draw_overlay, stretched
from cellcycle.predict.words import model_taken
from cellcycle.review import BOX_COLUMNS, NONE, classes_of, reasons, rounded, sureness

# Longest side of a picture for the screen; the browser draws outlines over it at any zoom.
_VIEW_PX = 4096
_SHORT_OF_PACKAGE = "this server cannot read this kind of file", "export it as OME-TIFF or TIFF and give that"
_PLANE, _HASH = "plane.npz", "sha256"
# File in the folder of a call with the numbers of its nuclei.
NUMBERS = "numbers.json"
_models: dict = {}


def start(folders, scratch: Path) -> None:
    """Load the models and all that a call needs, once per process, before its memory is limited.

    What is loaded later would count towards the limit of a call; and OpenBLAS hangs if its first allocation fails.
    """
    import cellcycle.app.fine_tune  # noqa: F401

    scratch.mkdir(mode=0o700, exist_ok=True)
    tempfile.tempdir = str(scratch)
    inv(np.eye(2))
    _models.update(model_table(folders))
    y, x = np.mgrid[-32:32, -32:32] / 12
    prediction = _predictor(next(iter(_models)), Settings("nucleus")).predict(np.exp(-(y**2) - x**2))
    draw_overlay(prediction, classes_of(prediction.columns))
    _shown(prediction)
    # Arrow, which pandas uses for tables, reserves a gigabyte of address space at once.
    _rows_as("csv", prediction)


@lru_cache(maxsize=2)
def _predictor(model: str, settings: Settings) -> Predictor:
    return Predictor(AUTO if model == AUTO else checkpoint_of(model), settings)


def checkpoint_of(model: str) -> Checkpoint:
    """Return a model of this server by its name, or one that was trained on corrections by its folder."""
    return _named().get(model) or load_checkpoint(model)


def begun_from(model: str) -> str:
    """Return the name of the server's model that a model is, or was trained from; "" if there is none."""
    return max((n for n in _named() if model == n or model.startswith(f"{n}-corrected-")), key=len, default="")


def _named() -> dict[str, Checkpoint]:
    return {checkpoint.name: checkpoint for checkpoints in _models.values() for checkpoint in checkpoints}


def read(path: Path, name: str, settings: Settings, megapixels: float, folder: Path) -> None:
    """Read a file; write its plane without loss, its hash, and a picture for the screen into a folder.

    The file is not deleted. An `ImageError` names the file as its visitor does, without a path of this server.
    """
    try:
        plane = replace(read_plane(path, settings.channel, settings.plane), path=name)
    except CellCycleError as error:
        path.stat()  # raises FileNotFoundError if the file was removed meanwhile
        remedy, finding = error.remedy, str(error.finding).replace(str(path), name).replace(str(path.parent), "")
        if "pip install" in f"{finding} {remedy}":
            finding, remedy = _SHORT_OF_PACKAGE
        raise ImageError(name, finding, remedy) from None
    size = plane.pixels.size / 1e6
    if size > megapixels:
        finding = f"it has {size:.0f} million pixels, more than the {megapixels:g} million of this page"
        raise ImageError(name, finding, "cut it into smaller fields, or use the command cellcycle predict")
    folder.mkdir(exist_ok=True)
    keep(folder / _PLANE, plane)
    (folder / _HASH).write_text(sha256_of(path))
    step = -(-max(plane.pixels.shape) // _VIEW_PX)
    (folder / "view.png").write_bytes(png(stretched(plane.pixels[::step, ::step])))


def found_file(plane: Path, model: str, settings: Settings) -> Path:
    """Return the file for the nuclei of a plane; its name depends on the settings that affect segmentation."""
    scale = _predictor(model, settings).checkpoint.input_rule.scale
    way = hashlib.sha256(repr((settings.kind, settings.pixel_size_um, settings.segmentation, scale)).encode())
    return plane / f"found-{way.hexdigest()[:16]}.npz"


def find(plane: Path, model: str, settings: Settings) -> None:
    """Find and store the nuclei of a plane, unless stored already; `call` reports errors."""
    file = found_file(plane, model, settings)
    if not file.exists() and (plane / _PLANE).exists():
        for older in plane.glob("found-*"):
            older.unlink(missing_ok=True)
        found_in(_predictor(model, settings), (Given.of(kept(plane / _PLANE)[0], file=file), False))


def rows(plane: Path, model: str, settings: Settings, error: ImageError | None = None) -> tuple[str, str]:
    """Return the rows of a plane, or of an unreadable image, as `cellcycle predict --format json`; and its note."""
    prediction, _ = _predicted(plane, model, settings, error)
    return _rows_as("json", prediction), prediction.plane_note


def _predicted(plane: Path, model: str, settings: Settings, error=None) -> tuple[ImagePrediction, str]:
    from cellcycle.app.groups import told

    file = None if error is not None else found_file(plane, model, settings)
    shared, way = told(plane, model, settings)
    image = Given.of(error or kept(plane / _PLANE)[0], file=file, told=shared)
    return _predictor(model, settings).predict(image), way


def call(plane: Path, model: str, settings: Settings, folder: Path, error: ImageError | None = None) -> dict:
    """Call the nuclei of a plane; write all that the page shows into `folder`, and return the summary.

    With the `error` of an earlier call the image has no nuclei; its empty `way` makes the page call it again.
    """
    if error is None:
        find(plane, model, settings)
    prediction, way = _predicted(plane, model, settings, error)
    if error is not None:
        shown_plane = kept(plane / _PLANE)[0]
        none = Nuclei("", {}, np.zeros(shown_plane.pixels.shape, np.int32), np.nan, False)
        note = f"{error.finding}; {error.remedy}"
        prediction, way = replace(prediction, plane=shown_plane, nuclei=none, plane_note=note), ""
    elif prediction.error is not None:
        raise prediction.error
    folder.mkdir(exist_ok=True)
    np.save(folder / "labels.npy", smallest(prediction.nuclei.labels))
    (folder / "rows.csv").write_text(_rows_as("csv", prediction), "utf-8", newline="")
    shown = _shown(prediction)
    (folder / NUMBERS).write_text(json.dumps(shown["id"]), "utf-8")
    (folder / "nuclei.json").write_text(json.dumps(shown), "utf-8")
    used = prediction.checkpoint
    stored = {
        "image": prediction.image,
        "model": model if used is None or model not in _models else used.name,
        "scale_is_known": prediction.nuclei.scale_is_known,
        "columns": prediction.columns,
    }
    (folder / "columns.json").write_text(json.dumps(stored), "utf-8")
    calls = shown["call"]
    return {
        "way": way,
        "found": hashlib.sha256(prediction.nuclei.labels.tobytes()).hexdigest(),
        "n": len(calls),
        "counts": {name: calls.count(name) for name in [*shown["classes"], ""]},
        "model": model_taken(prediction.columns["model"][0], prediction.columns["model_reason"][0]),
        "warning": used.warning if used is not None else "",
        "note": prediction.plane_note,
    }


def overlay(plane: Path, folder: Path, said: dict[str, str]) -> bytes:
    """Return the file of `cellcycle predict --overlay`, with the corrections `said`."""
    with _written(plane, folder, said, "overlay") as (picture,):
        return picture.read_bytes()


def outlines(plane: Path, folder: Path, said: dict[str, str]) -> bytes:
    """Return the files of `cellcycle predict --masks --outlines --rois`, with the corrections `said`, zipped."""
    with _written(plane, folder, said, "masks", "outlines", "rois") as files:
        return zipped(files)


@contextmanager
def _written(plane: Path, folder: Path, said: dict[str, str], *extras: str) -> Iterator[list[Path]]:
    prediction = as_said(stored(plane, folder), said)
    # Do not show visitors a path of this server.
    prediction = replace(prediction, plane=replace(prediction.plane, path=""))
    with tempfile.TemporaryDirectory() as made:
        wanted = Extras(**dict.fromkeys(extras, made))
        (targets,) = wanted.targets([prediction.image])
        problem = wanted.write(targets, prediction, classes_of(prediction.columns))
        if problem:
            raise ImageError(prediction.image, problem, "try it again")
        yield sorted(targets.values())


def zipped(files, folder: str = "") -> bytes:
    """Return files as a ZIP file; their names are prefixed by `folder`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, folder + file.name)
    return stream.getvalue()


def occlusion(plane: Path, folder: Path, row: int) -> bytes:
    """Return the occlusion map of a nucleus as PNG, see `cellcycle.predict.occlusion`."""
    prediction = stored(plane, folder)
    if prediction.checkpoint is None:
        raise ImageError(prediction.image, "the model of its calls is no longer kept", "call the image again")
    return png(coloured(*occlusion_map(prediction, row)))


@contextmanager
def told_as(name: str, path: Path | None, it: str = "it") -> Iterator[None]:
    """Turn an error of the block into a `DataError` with `name` or `it` in place of `path`, a path of this server."""
    try:
        yield
    except CellCycleError as error:
        path, words = path or "\0", ((error.subject, name), (error.finding, it), (error.remedy, it))
        raise DataError(*(str(text).replace(str(path), word) for text, word in words)) from None


def stored(plane: Path, folder: Path) -> ImagePrediction:
    """Return the prediction that `call` wrote; without a checkpoint if that is no longer kept."""
    known = json.loads((folder / "columns.json").read_text("utf-8"))
    columns, plane_kept = known["columns"], kept(plane / _PLANE)[0]
    labels = np.load(folder / "labels.npy", allow_pickle=False).astype(np.int32)
    size_um, kind = (next(iter(columns[name]), None) for name in ("pixel_size_um", "kind"))
    nuclei = Nuclei(kind, {}, labels, size_um, known["scale_is_known"])
    try:
        checkpoint = None if known["model"] == AUTO else checkpoint_of(known["model"])
    except CellCycleError:
        checkpoint = None
    columns["image_sha256"] = [(plane / _HASH).read_text()] * len(columns["call"])
    return ImagePrediction(known["image"], columns, checkpoint, nuclei, plane_kept)


def as_said(prediction: ImagePrediction, said: dict[str, str]) -> ImagePrediction:
    """Return the prediction with the labels `said` (number -> class) as calls, without nuclei labelled "none"."""
    columns = prediction.columns
    numbers = [str(int(number)) if np.isfinite(number) else "" for number in columns["nucleus_id"]]
    columns = columns | {"call": list(map(said.get, numbers, columns["call"]))}
    keep = [k for k, label in enumerate(columns["call"]) if label != NONE]
    return replace(prediction, columns={name: [values[k] for k in keep] for name, values in columns.items()})


def _rows_as(name: str, prediction: ImagePrediction) -> str:
    stream = io.StringIO(newline="")
    with text_rows(name, stream) as write:
        write(prediction.table)
    return stream.getvalue()


def _shown(prediction: ImagePrediction) -> dict:
    """Return the page's data on the nuclei, as lists in the order of the nuclei."""
    plane, nuclei = prediction.plane, prediction.nuclei
    is_nucleus = np.isfinite(prediction.columns["nucleus_id"])
    columns = {name: list(compress(values, is_nucleus)) for name, values in prediction.columns.items()}

    def column(name, digits=3):
        return [rounded(value, digits) for value in columns[name]]

    classes, ids = classes_of(columns), list(map(int, columns["nucleus_id"]))
    dna, unit = column("dna_copies"), "N"
    if ids and dna.count(None) == len(dna):
        # Without a G1 peak, DNA is given relative to the median nucleus.
        amounts = np.array(columns["integrated_dna"], float)
        dna, unit = [rounded(amount, 3) for amount in amounts / np.nanmedian(amounts)], "median"
    strange, known = np.zeros(len(ids)), prediction.checkpoint and prediction.checkpoint.confidence
    if known and known.strangeness:
        # Dissimilarity to the training cells, 0 to 1, by the model's own measure.
        strange = 1 - known.strangeness.p_values(shape_features(columns))
    return {
        "image": prediction.image,
        "shape": list(plane.pixels.shape),
        "kind": nuclei.kind,
        "pixel_size_um": rounded(nuclei.pixel_size_um, 6),
        "scale_is_known": bool(nuclei.scale_is_known),
        "classes": list(classes),
        "colours": class_colours(classes),
        "dna_unit": unit,
        "id": ids,
        "y": column("centroid_y_px", 1),
        "x": column("centroid_x_px", 1),
        "box": [list(map(int, box)) for box in zip(*(columns[name] for name in BOX_COLUMNS), strict=True)],
        "call": columns["call"],
        "p": list(zip(*(column(f"p_{name}", 4) for name in classes), strict=True)),
        "sure": [rounded(sure, 4) for sure in sureness(columns)],
        "could_be": columns["prediction_set"],
        "why": reasons(columns),
        "dna": dna,
        "area": column("area_um2", 1),
        "strange": [rounded(share, 4) for share in strange],
        # The part of each outline with most points, as x, y, x, y, ...
        "outline": [max(parts, key=len).ravel().tolist() for parts in outlines_of(nuclei.labels, ids)],
    }


def png(picture: np.ndarray) -> bytes:
    """Return a picture as PNG."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", compress_level=3)
    return stream.getvalue()

"""Images in, one table an image out: the one path of command line, page and notebooks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.checkpoint import DEFAULT, Checkpoint, load_checkpoint
from cellcycle.errors import CellCycleError, SettingError
from cellcycle.images import Plane, read_plane
from cellcycle.predict.nuclei import KINDS, FoundNuclei, find_nuclei, g1_peak_of
from cellcycle.predict.pictures import cut_picture, normalise
from cellcycle.predict.runtime import Runtime
from cellcycle.segmentation.measurements import NUCLEUS_COLUMNS

_FIRST = ["image", "nucleus_id", "centroid_y_px", "centroid_x_px", "call"]
_MEASURED = [c for c in NUCLEUS_COLUMNS if c not in (*_FIRST, "flags")]
_LAST = ["dna_copies", "g1_quality", "pixel_size_um", "kind", "model", "version", "error"]
# Nuclei that are cut and scored at a time.
_BATCH = 256
_TEXT = {"image", "call", "flags", "kind", "model", "version", "error"}


@dataclass(frozen=True)
class Settings:
    """How images are read and nuclei found.

    Parameters
    ----------
    kind : {"auto", "field", "nucleus"}
        What the images are; "auto" decides for each by a stated rule.
    channel : int or str, optional
        DNA channel, by index from 0 or name.
    plane : int, optional
        Time point or z plane; z-stacks are projected without it.
    pixel_size_um : float, optional
        Edge of a pixel in the sample; overrides what the files say.
    backend : str
        Segmentation of fields: "classical", "cellpose" or "stardist".
    g1_position : float, optional
        Integrated DNA of a G1 nucleus on this slide, where it is not to be fitted to each field.
    g1_quality : float, optional
        Of the fit that gave it, see `cellcycle.dna_content.G1Peak`.
    """

    kind: str = "auto"
    channel: int | str | None = None
    plane: int | None = None
    pixel_size_um: float | None = None
    backend: str = "classical"
    g1_position: float | None = None
    g1_quality: float = float("nan")

    def __post_init__(self):
        if self.kind not in KINDS:
            raise SettingError("kind", f"{self.kind!r} is unknown", f"use one of {', '.join(KINDS)}")
        for option in ("pixel_size_um", "g1_position"):
            value = getattr(self, option)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise SettingError(option, f"{value} is not a size", "give a number above 0")


@dataclass(frozen=True)
class ImagePrediction:
    """What was found in one image.

    Parameters
    ----------
    image : str
        Its path or name.
    table : pandas.DataFrame
        One row a nucleus, in the columns of `table_columns`; one row without a call where the image holds no
        nucleus or cannot be read.
    nuclei : FoundNuclei or None
        Where they lie; None for an image that cannot be read.
    plane : Plane or None
        The pixels they were found in.
    error : CellCycleError or None
        Why the image cannot be read.
    """

    image: str
    table: pd.DataFrame = field(repr=False)
    nuclei: FoundNuclei | None = field(default=None, repr=False)
    plane: Plane | None = field(default=None, repr=False)
    error: CellCycleError | None = None

    @property
    def n_nuclei(self) -> int:
        """Nuclei in the image."""
        return int(self.table["nucleus_id"].notna().sum())


class Predictor:
    """A model ready to look at images.

    Parameters
    ----------
    model : str, Path or Checkpoint
        Name or folder of a checkpoint.
    settings : Settings, optional
    """

    def __init__(self, model=DEFAULT, settings: Settings | None = None):
        self.checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        self.settings = settings or Settings()
        self._runtime = Runtime(self.checkpoint)

    def predict(self, image) -> ImagePrediction:
        """Predict one image: a path, a `Plane`, or an array (H, W) with intensities in [0, 1]."""
        name = image_name(image)
        try:
            if isinstance(image, CellCycleError):
                raise image
            plane = as_plane(image, self.settings)
            nuclei = self.find(plane)
        except CellCycleError as error:
            table = _row_without_call(name, self.checkpoint, "", "unreadable", f"{error.finding}; {error.remedy}")
            return ImagePrediction(name, table, error=error)
        if not len(nuclei.table):
            table = _row_without_call(name, self.checkpoint, nuclei.kind, "no_nucleus", "")
        else:
            table = self._called(name, plane, nuclei)
        return ImagePrediction(name, table, nuclei, plane)

    def find(self, plane: Plane) -> FoundNuclei:
        """Find the nuclei of an image without calling them."""
        pixel_size_um = self.settings.pixel_size_um or plane.pixel_size_um
        rule = self.checkpoint.input_rule
        return find_nuclei(plane.pixels, pixel_size_um, rule, self.settings.kind, self.settings.backend)

    def _called(self, name: str, plane: Plane, nuclei: FoundNuclei) -> pd.DataFrame:
        rule, classes, table = self.checkpoint.input_rule, self.checkpoint.classes, nuclei.table
        is_fitted = nuclei.kind == "field" and self.settings.g1_position is None
        peak = g1_peak_of(table) if is_fitted else None
        g1 = self.settings.g1_position or (peak.position if peak is not None and peak.is_usable else None)
        if rule.intensity == "g1-peak" and g1 is None:
            # Without the anchor the numbers would mean nothing to this model: no answer is the honest one.
            scores, calls, extra = np.full((len(table), len(classes)), np.nan), [""] * len(table), ["no_g1_peak"]
        else:
            scores = self._scores(plane, nuclei, g1)
            calls, extra = [classes[k] for k in scores.argmax(axis=1)], []
        extra += [] if nuclei.scale_is_known else ["scale_unknown"]
        found = {name: table[name].to_numpy() for name in NUCLEUS_COLUMNS}
        found |= {f"p_{c}": scores[:, k] for k, c in enumerate(classes)}
        return _as_table(
            found
            | {
                "image": name,
                "call": calls,
                "flags": [";".join(filter(None, [flags, *extra])) for flags in table["flags"]],
                "area_um2": found["area_px"] * nuclei.pixel_size_um**2,
                "dna_copies": np.nan if g1 is None else 2 * found["integrated_dna"] / g1,
                "g1_quality": self.settings.g1_quality if peak is None else peak.quality,
                "pixel_size_um": nuclei.pixel_size_um,
                "kind": nuclei.kind,
                "model": self.checkpoint.name,
                "version": self.checkpoint.version,
                "error": "",
            },
            classes,
            len(table),
        )

    def _scores(self, plane: Plane, nuclei: FoundNuclei, g1_position: float | None) -> np.ndarray:
        rule, size_um = self.checkpoint.input_rule, nuclei.pixel_size_um
        ids, backgrounds = (nuclei.table[name].to_list() for name in ("nucleus_id", "background"))
        rows = list(zip(map(int, ids), nuclei.centres, backgrounds, strict=True))
        scores = []
        for start in range(0, len(rows), _BATCH):
            pictures = [
                cut_picture(plane.pixels, nuclei.labels, label, centre, background, size_um, rule)
                for label, centre, background in rows[start : start + _BATCH]
            ]
            scores.append(self._runtime.probabilities(normalise(np.stack(pictures), rule, size_um, g1_position)))
        return np.concatenate(scores)


def image_name(image) -> str:
    """Return what a table calls an image: its path, or "array"."""
    if isinstance(image, CellCycleError):
        return image.subject
    if isinstance(image, Plane):
        return image.path
    return str(image) if isinstance(image, str | Path) else "array"


def as_plane(image, settings: Settings) -> Plane:
    """Return an image as a `Plane`: read from its file, or made of an array (H, W) float in [0, 1]."""
    if isinstance(image, Plane):
        return image
    if isinstance(image, str | Path):
        return read_plane(image, settings.channel, settings.plane)
    from cellcycle.images.planes import scale_to_unit

    pixels = np.asarray(image)
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise SettingError("array", f"its shape is {pixels.shape}", "give one gray image (H, W)")
    return Plane(scale_to_unit(pixels, "array"), 8 * pixels.dtype.itemsize, None, "array")


def table_columns(classes: tuple[str, ...]) -> list[str]:
    """Return the columns of a prediction table, in order.

    Examples
    --------
    >>> table_columns(("G1", "S"))[:8]
    ['image', 'nucleus_id', 'centroid_y_px', 'centroid_x_px', 'call', 'p_G1', 'p_S', 'flags']
    """
    return [*_FIRST, *(f"p_{c}" for c in classes), "flags", *_MEASURED, *_LAST]


def _as_table(values: dict, classes: tuple[str, ...], n_rows: int) -> pd.DataFrame:
    """Return a prediction table of columns given as arrays or as one value for all rows."""
    columns = {}
    for name in table_columns(classes):
        value = values.get(name, np.nan)
        value = list(value) if np.ndim(value) else [value] * n_rows
        if name in _TEXT:
            columns[name] = pd.array(value, dtype="str")
        elif name == "nucleus_id":
            columns[name] = pd.array([pd.NA if np.isnan(v) else int(v) for v in value], dtype="Int64")
        else:
            columns[name] = np.array(value, dtype=np.float64)
    return pd.DataFrame(columns, copy=False)


def _row_without_call(image: str, checkpoint: Checkpoint, kind: str, flag: str, error: str) -> pd.DataFrame:
    row = dict.fromkeys(_TEXT, "") | {"image": image, "flags": flag, "kind": kind, "error": error}
    row |= {"model": checkpoint.name, "version": checkpoint.version}
    return _as_table(row, checkpoint.classes, 1)


def predict_each(images: Iterable, model=DEFAULT, settings: Settings | None = None) -> Iterator[ImagePrediction]:
    """Predict image after image; memory holds one at a time.

    Parameters
    ----------
    images : iterable
        Paths, `Plane`s or arrays (H, W).
    model : str, Path or Checkpoint, optional
        Name or folder of a checkpoint.
    settings : Settings, optional

    Yields
    ------
    ImagePrediction
        In the order of the images; one that cannot be read gives its error instead of stopping the rest.

    Raises
    ------
    SettingError, CheckpointError
        The model is unknown or damaged.
    """
    predictor = Predictor(model, settings)
    for image in images:
        yield predictor.predict(image)


def predict(images, model=DEFAULT, **settings) -> pd.DataFrame:
    """Predict the phases of all nuclei of one or many images.

    Parameters
    ----------
    images : path, Plane, array (H, W), or a list of them
        A path may be a file, a folder or a pattern like "plate/*.tif".
    model : str, Path or Checkpoint, optional
        Name or folder of a checkpoint.
    **settings
        Of `Settings`: kind, channel, plane, pixel_size_um, backend, g1_position.

    Returns
    -------
    pandas.DataFrame
        One row a nucleus, in the columns of `table_columns`.

    Raises
    ------
    CellCycleError
        The only image cannot be read, or a name or setting is wrong. Of several images, those that cannot be
        read are rows with the flag "unreadable" and the reason in the column "error".
    """
    from cellcycle.predict.paths import expand

    images = list(images) if isinstance(images, list | tuple) else [images]
    listed = [item for image in images for item in (expand([image]) if isinstance(image, str | Path) else [image])]
    found = []
    for prediction in predict_each(listed, model, Settings(**settings)):
        if prediction.error is not None and len(listed) == 1:
            raise prediction.error
        found.append(prediction.table)
    return pd.concat(found, ignore_index=True)

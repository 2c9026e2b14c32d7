"""One image in, its nuclei with their phases out."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from cellcycle.checkpoint import Checkpoint
from cellcycle.errors import CellCycleError, CheckpointError, ImageError, SettingError, shown
from cellcycle.images import Plane, read_plane
from cellcycle.inputs import inputs_of
from cellcycle.masks import read_mask
from cellcycle.names import shown_name
from cellcycle.nuclei import Anchor, Nuclei, find_nuclei, fit_anchor, outlined_nuclei
from cellcycle.predict.choice import AUTO, ModelChoice
from cellcycle.predict.runtime import Runtime
from cellcycle.predict.settings import Settings
from cellcycle.predict.table import as_frame, full_columns
from cellcycle.segmentation import looks_like_nucleus_crop

# Nuclei that are cut and scored at a time.
_BATCH = 256


@dataclass(frozen=True)
class ImagePrediction:
    """What was found in one image.

    Parameters
    ----------
    image : str
        Its path or name.
    columns : dict of str to list
        One entry a nucleus, in the columns of `table_columns`; one entry without a call where the image
        holds no nucleus or cannot be read.
    checkpoint : Checkpoint or None
        The model that looked at it; None where nothing was looked at.
    nuclei : Nuclei or None
        Where they lie; None for an image that cannot be read.
    plane : Plane or None
        The pixels they were found in.
    error : ImageError or None
        Why the image cannot be read.
    note : str
        What else went wrong.
    remark : str
        What had to be understood in its mask.
    """

    image: str
    columns: dict[str, list] = field(repr=False)
    checkpoint: Checkpoint | None = field(default=None, repr=False)
    nuclei: Nuclei | None = field(default=None, repr=False)
    plane: Plane | None = field(default=None, repr=False)
    error: ImageError | None = None
    note: str = ""
    remark: str = ""

    @cached_property
    def table(self):
        """The columns as a `pandas.DataFrame`, one row a nucleus."""
        return as_frame(self.columns)

    @property
    def ids(self) -> list[int]:
        """Numbers of the nuclei in the image."""
        return [int(number) for number in self.columns["nucleus_id"] if np.isfinite(number)]

    @property
    def n_nuclei(self) -> int:
        """Nuclei in the image."""
        return len(self.ids)


class Predictor:
    """A model ready to look at images.

    Parameters
    ----------
    model : str, Path or Checkpoint
        Name or folder of a checkpoint; "auto" chooses for each image, see `cellcycle.predict.choice`.
    settings : Settings, optional

    Attributes
    ----------
    checkpoint : Checkpoint
        The named model; under "auto" that for images without a G1 peak.

    Raises
    ------
    SettingError, CheckpointError
        The model is unknown or damaged.
    """

    def __init__(self, model=AUTO, settings: Settings | None = None):
        self.settings = settings or Settings()
        self._choice = ModelChoice.of(model)
        self.checkpoint = self._choice.default
        self._runtimes: dict[Path, Runtime] = {}

    def predict(self, image, mask=None) -> ImagePrediction:
        """Predict one image: a path, a `Plane`, or an array (H, W) with intensities in [0, 1].

        A mask, a path or array (H, W) of whole numbers, outlines its nuclei; without it they are found.
        An image that cannot be read gives a prediction with its `error`; a setting that no image can satisfy,
        such as a segmentation whose package is missing, is raised as `SettingError`.
        """
        name = image_name(image)
        try:
            if isinstance(image, ImageError):
                raise image
            if isinstance(mask, ImageError):
                raise mask
            plane = as_plane(image, self.settings)
            return self.call(plane, self.find(plane, mask), name)
        except MemoryError:
            error = ImageError(name, "there is not enough memory for it", "cut it into smaller fields")
        except (SettingError, CheckpointError):
            raise
        except CellCycleError as found:
            error = ImageError(found.subject, found.finding, found.remedy)
        except Exception as found:
            # Whatever a strange file sets off: one row and one line, and the other images go on.
            error = ImageError(name, f"it cannot be predicted ({type(found).__name__}: {found})", "export it again")
        reason = shown(f"{error.finding}; {error.remedy}")
        return ImagePrediction(name, self._without_call(name, "", "unreadable", reason), error=error)

    def find(self, plane: Plane, mask=None) -> Nuclei:
        """Find the nuclei of an image, or take them from its mask, without calling them."""
        pixel_size_um = self.settings.pixel_size_um or plane.pixel_size_um
        scale, kind = self.checkpoint.input_rule.scale, self.settings.kind
        if mask is None:
            return find_nuclei(plane.pixels, pixel_size_um, scale, kind, self.settings.backend)
        if kind == "auto":
            kind = "nucleus" if looks_like_nucleus_crop(plane.pixels) else "field"
        labels, remark = read_mask(mask, plane.pixels, kind == "nucleus")
        n_nuclei = np.count_nonzero(np.bincount(labels.ravel())[1:])
        if n_nuclei > 1 and self.settings.kind == "nucleus":
            raise ImageError(plane.path, f"its mask shows {n_nuclei} nuclei, not one", "predict it without --nucleus")
        kind = "field" if n_nuclei > 1 else kind
        return outlined_nuclei(plane.pixels, labels, pixel_size_um, scale, kind, remark)

    def call(self, plane: Plane, nuclei: Nuclei, name: str | None = None) -> ImagePrediction:
        """Predict nuclei that were found before.

        Parameters
        ----------
        plane : Plane
        nuclei : Nuclei
            As `find` gives them for the plane.
        name : str, optional
            For the table; by default the path of the plane.
        """
        name = shown_name(plane.path) if name is None else name
        if not len(nuclei):
            return ImagePrediction(name, self._without_call(name, nuclei.kind, "no_nucleus"), None, nuclei, plane,
                                   remark=nuclei.remark)  # fmt: skip
        given, peak = self.settings.anchor, None
        anchor = given
        if anchor is None and nuclei.kind == "field":
            anchor, peak = fit_anchor([nuclei])
        checkpoint, reason = self._choice.take(nuclei.kind, given is not None, peak)
        values = {} if anchor is None else anchor.relative(nuclei, checkpoint.input_rule.scale)
        values |= self._scored(checkpoint, plane, nuclei, anchor) | {
            "g1_quality": peak.quality if peak else given.quality if given else np.nan,
            "pixel_size_um": nuclei.pixel_size_um,
            "kind": nuclei.kind,
            "image": name,
            "model": checkpoint.name,
            "model_reason": reason,
            "version": checkpoint.version,
        }
        columns = full_columns(nuclei.measured | values, checkpoint.classes, len(nuclei))
        return ImagePrediction(name, columns, checkpoint, nuclei, plane, remark=nuclei.remark)

    def _scored(self, checkpoint: Checkpoint, plane: Plane, nuclei: Nuclei, anchor: Anchor | None):
        """Return the columns that depend on the model: call, probabilities, flags, and how far to trust them."""
        extra = [] if nuclei.scale_is_known else ["scale_unknown"]
        if checkpoint.input_rule.needs_anchor and anchor is None:
            # Without the anchor the numbers would mean nothing to this model: no answer is the honest one.
            scores = np.full((len(nuclei), len(checkpoint.classes)), np.nan)
            extra.insert(0, "no_g1_peak")
        else:
            scores = self._probabilities(checkpoint, plane, nuclei, anchor)
        flags = [";".join(filter(None, [flags, *extra])) for flags in nuclei.measured["flags"]]
        values, calls = {"flags": flags}, scores.argmax(axis=1)
        if checkpoint.confidence is not None:
            found = checkpoint.confidence.assess(scores, flags, checkpoint.classes, nuclei.measured)
            scores, calls = found.probabilities, found.call
            values |= {"confidence": found.confidence, "prediction_set": found.sets, "review": found.review}
        names = np.where(np.isfinite(scores[:, 0]), np.array(checkpoint.classes)[calls], "")
        return values | {"call": names} | {f"p_{c}": scores[:, k] for k, c in enumerate(checkpoint.classes)}

    def _probabilities(self, checkpoint: Checkpoint, plane: Plane, nuclei: Nuclei, anchor) -> np.ndarray:
        rows, runtime = np.arange(len(nuclei)), self._runtime(checkpoint)
        parts = (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))
        inputs = (inputs_of(plane.pixels, nuclei, checkpoint.input_rule, anchor, part) for part in parts)
        return np.concatenate([runtime.probabilities(part) for part in inputs])

    def _runtime(self, checkpoint: Checkpoint) -> Runtime:
        if checkpoint.folder not in self._runtimes:
            self._runtimes[checkpoint.folder] = Runtime(checkpoint)
        return self._runtimes[checkpoint.folder]

    def _without_call(self, image: str, kind: str, flag: str, error: str = "") -> dict[str, list]:
        """Return the one row of an image in which no nucleus was called; under "auto" no model was chosen."""
        model = {} if self._choice.is_auto else {"model": self.checkpoint.name, "version": self.checkpoint.version}
        row = {"image": image, "flags": flag, "review": flag, "kind": kind, "error": error} | model
        return full_columns(row, self.checkpoint.classes, 1)


def image_name(image) -> str:
    """Return what a table calls an image: its path, or "array"."""
    if isinstance(image, ImageError):
        return shown_name(image.subject)
    if isinstance(image, Plane):
        return shown_name(image.path)
    return shown_name(image) if isinstance(image, str | Path) else "array"


def as_plane(image, settings: Settings) -> Plane:
    """Return an image as a `Plane`: read from its file, or made of an array (H, W) float in [0, 1]."""
    if isinstance(image, Plane):
        return image
    if isinstance(image, str | Path):
        return read_plane(image, settings.channel, settings.plane)
    from cellcycle.images.planes import scale_to_unit

    pixels = np.asarray(image)
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise ImageError("array", f"its shape is {pixels.shape}", "give one gray image (H, W)")
    return Plane(scale_to_unit(pixels, "array"), 8 * pixels.dtype.itemsize, None, "array")

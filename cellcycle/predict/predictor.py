"""Prediction of one image: it is read, its nuclei are found, a model is chosen, and their phases are predicted.

`model="auto"` takes the model that is anchored to the G1 peak if the peak is known: fitted with at least
`LEAST_QUALITY` to the nuclei of the field, or of all fields that are read with it, or given. All other images, crops of
one nucleus and fields without a clear peak, get the model that needs only the picture.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from cellcycle.checkpoint import ANCHORED, DEFAULT, Checkpoint, load_checkpoint, shipped_dir, shipped_names
from cellcycle.confidence import with_weights
from cellcycle.confidence.assessment import BY_FEW, BY_GUESS, BY_MARGIN, CHANGED, CLIPPED, FINE, NOISY, SEVERAL
from cellcycle.dna_content import G1Peak
from cellcycle.errors import CellCycleError, CheckpointError, ImageError, SettingError, shown
from cellcycle.images import Plane
from cellcycle.inputs import inputs_of
from cellcycle.light import fit_in_even_light
from cellcycle.masks import read_mask
from cellcycle.nuclei import LEAST_FOR_SCALE, Anchor, Nuclei, find_nuclei, n_nuclei_shown, outlined_nuclei, sound_dna
from cellcycle.phases import PHASES
from cellcycle.predict.given import Given, Settings, Shared
from cellcycle.predict.groups import OTHER_PEAK, SAME_FIELD, are_unlike_training
from cellcycle.predict.kept import kept
from cellcycle.predict.priors import left_open, one_peak_flag, prior_of, prior_text, weights_of
from cellcycle.predict.runtime import runtime_of
from cellcycle.predict.table import as_frame, full_columns
from cellcycle.scale import is_of_other_pixels
from cellcycle.segmentation import looks_inverted, looks_like_nucleus_crop
from cellcycle.segmentation.artefacts import look_over
from cellcycle.segmentation.same_field import shows_twice
from cellcycle.stain import hold_more_than_g2

AUTO = "auto"
# Down to this quality of the G1 peak, the anchored model does better than the picture alone, on simulated slides with
# usable peaks (benchmarks/g1_quality.py, data/results/g1_quality.csv); fainter peaks did not occur there.
LEAST_QUALITY = 0.1
INVERTED = "it shows dark objects on a bright background; if those are nuclei, invert it (in ImageJ: Edit > Invert)"
# The same text for every image, so that one line reports many.
EVEN_LIGHT = "uneven light, estimated from its own nuclei, is removed from their DNA (column light)"
BRIGHT = "objects as large as its nuclei and far brighter, left out as dirt: {}"
# Pixels finer than this, in um, have less light each than in any training image of the shipped models.
_FINEST_UM = 0.3
# Greatest median width in um of the edges of nuclei: in focus 3.4 and less in simulated fields and crops with pixels of
# 0.3 to 1 um; 3.6 and more where blur, or pixels of 1.3 um, spoil half of the calls by the picture alone.
_WIDEST_RIM_UM = 3.5
# Pixel sizes that differ by less than this factor are equal but for rounding.
_SAME_SIZE = 1.02
# Number of nuclei that are cut and predicted at a time.
_BATCH = 256


@dataclass(frozen=True)
class ModelChoice:
    """The models among which one is chosen for each image.

    `default` is the named model, or under "auto" that for images without a G1 peak; it sets the scale of nuclei.
    """

    default: Checkpoint
    is_auto: bool

    @classmethod
    def of(cls, model, settings: Settings | None = None) -> "ModelChoice":
        """Return the choice for "auto", a name or folder of a checkpoint, a `Checkpoint`, or an earlier choice.

        Raises a `SettingError` if the model lacks a class that the prior of the settings weighs.
        """
        if isinstance(model, cls):
            return model
        is_auto = str(model).lower() == AUTO
        found = load_checkpoint(shipped_dir() / DEFAULT if is_auto else model)
        if settings and settings.prior not in ("auto", "equal") and not set(PHASES) <= set(found.classes):
            finding = f"{settings.prior} weighs {', '.join(PHASES)}, but {found.name} lacks some of these classes"
            raise SettingError("prior", finding, "leave it out")
        return cls(found, is_auto)

    @cached_property
    def anchored(self) -> Checkpoint:
        """The model for images with a G1 peak, under "auto"; read when it is first needed."""
        return load_checkpoint(shipped_dir() / ANCHORED)

    def take(self, kind: str, giver: str, peak: G1Peak | None) -> tuple[Checkpoint, str]:
        """Return the model for an image, and the text of the column `model_reason`, "" for a named model.

        `giver` names the source of a given G1 peak, "group" or "slide"; if "", `peak` was fitted to the image's own
        nuclei.
        """
        if not self.is_auto:
            return self.default, ""
        if giver:
            return self.anchored, f"G1 peak of the {giver}"
        if peak is not None and peak.is_usable and peak.quality >= LEAST_QUALITY:
            return self.anchored, "G1 peak of the field"
        return self.default, "one nucleus" if kind == "nucleus" else "no clear G1 peak"


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """The prediction of one image, by its path or name.

    `columns`, those of `table_columns`, have one entry per nucleus, or one without a call if the image has no nucleus
    or cannot be read. `checkpoint` is the model that was used, None for none; `nuclei` are those found in the `plane`,
    None for an image that cannot be read. `error` is the reason for that, `note` what else failed, `remark` how its
    mask was read, `plane_note` remarks on file, scale, light and omitted objects.
    """

    image: str
    columns: dict[str, list] = field(repr=False)
    checkpoint: Checkpoint | None = field(default=None, repr=False)
    nuclei: Nuclei | None = field(default=None, repr=False)
    plane: Plane | None = field(default=None, repr=False)
    error: ImageError | None = None
    note: str = ""
    remark: str = ""
    plane_note: str = ""

    @cached_property
    def table(self):
        """The columns as a `pandas.DataFrame`, one row per nucleus."""
        return as_frame(self.columns)

    @property
    def ids(self) -> list[int]:
        """The `nucleus_id` of each nucleus in the image."""
        return [int(number) for number in self.columns["nucleus_id"] if np.isfinite(number)]

    @property
    def n_nuclei(self) -> int:
        """Number of nuclei in the image."""
        return len(self.ids)


class Predictor:
    """A model ready to predict images; its `checkpoint` is the named one, under "auto" that for no G1 peak."""

    def __init__(self, model=AUTO, settings: Settings | None = None):
        self.settings = settings or Settings()
        self._choice = ModelChoice.of(model, self.settings)
        self.checkpoint = self._choice.default

    def predict(self, image, mask=None) -> ImagePrediction:
        """Predict one image: a path, a `Plane`, or an array (H, W) with intensities in [0, 1].

        A mask, a path or array (H, W) of whole numbers, outlines its nuclei; without one they are segmented. For an
        image that cannot be read, the prediction has an `error`; errors of settings and models are raised.
        """
        image = Given.of(image)
        if mask is not None:
            image = replace(image, mask=mask)
        name, told = image.name, image.told
        try:
            if told.refusal:
                raise ImageError(name, *told.refusal)
            return self.call(*self.look(image), name, told)
        except MemoryError:
            error = ImageError(name, "there is not enough memory for it", "cut it into smaller fields")
        except (SettingError, CheckpointError):
            raise
        except CellCycleError as found:
            error = ImageError(found.subject, found.finding, found.remedy)
        except OSError as found:
            error = ImageError(name, f"it cannot be read ({found.strerror or found})", "check the path")
        except Exception as found:
            # Any exception by a strange file becomes one row and one message, and the other images are predicted.
            error = ImageError(name, f"it cannot be predicted ({type(found).__name__}: {found})", "export it again")
        known = told.columns | {"error": shown(f"{error.finding}; {error.remedy}")}
        return ImagePrediction(name, self._without_call(name, "", "unreadable", known), error=error)

    def look(self, image: Given) -> tuple[Plane, Nuclei]:
        """Return the plane of an image and its nuclei, from the cache as far as they are kept, else read and found."""
        file, read = image.file, partial(image.read, self.settings)
        plane, nuclei = kept(file, read) if file is not None and file.exists() else (read(), None)
        if isinstance(image.mask, ImageError):
            raise image.mask
        return plane, self.find(plane, image.mask) if nuclei is None else nuclei

    # Underflow is no error, also if a caller has set NumPy to raise it.
    @np.errstate(under="ignore")
    def find(self, plane: Plane, mask=None) -> Nuclei:
        """Return the nuclei of an image, segmented or taken from its mask, without calls."""
        asked, stated = self.settings.pixel_size_um, plane.pixel_size_um
        found = self._found(plane, mask, asked or stated)
        if asked and stated and len(found) and found.scale_note:
            own = self._found(plane, mask, stated)
            found = found if own.scale_note else own
        if mask is None and self.settings.kind == "nucleus":
            found = replace(found, n_shown=n_nuclei_shown(plane.pixels))
        return replace(found, bit_depth=plane.bit_depth)

    def _found(self, plane: Plane, mask, pixel_size_um: float | None) -> Nuclei:
        scale, kind = self.checkpoint.input_rule.scale, self.settings.kind
        if mask is None:
            return find_nuclei(plane.pixels, pixel_size_um, scale, kind, self.settings.segmentation)
        if kind == "auto":
            kind = "nucleus" if looks_like_nucleus_crop(look_over(plane.pixels).pixels) else "field"
        labels, remark = read_mask(mask, plane.pixels, kind == "nucleus")
        n_nuclei = np.count_nonzero(np.bincount(labels.ravel())[1:])
        if n_nuclei > 1 and self.settings.kind == "nucleus":
            raise ImageError(plane.path, f"its mask shows {n_nuclei} nuclei, not one", "predict it without --nucleus")
        kind = "field" if n_nuclei > 1 else kind
        return outlined_nuclei(plane.pixels, labels, pixel_size_um, scale, kind, remark)

    @np.errstate(under="ignore")
    def call(self, plane: Plane, nuclei: Nuclei, name: str = "", shared: Shared | None = None) -> ImagePrediction:
        """Predict the nuclei that `find` found in a plane; `name` is its name in the table, by default its path."""
        name, shared = name or Given.of(plane).name, shared or Shared()
        if not len(nuclei):
            known = shared.columns | {"channel": plane.channel, "planes": plane.planes}
            is_inverted = not nuclei.remark and looks_inverted(plane.pixels)
            flags = {"no_nucleus": True, "inverted": is_inverted, SEVERAL: nuclei.n_shown}
            # A changed picture may have nuclei that cannot be found any more, unless a mask says that there are none.
            flags[CHANGED] = not (nuclei.remark or is_inverted) and any(nuclei.ground(plane.pixels)[1:])
            columns = self._without_call(name, nuclei.kind, ";".join(filter(flags.get, flags)), known)
            note = "; ".join(filter(None, (plane.note, INVERTED * is_inverted, nuclei.crop_note)))
            return ImagePrediction(name, columns, None, nuclei, plane, remark=nuclei.remark, plane_note=note)
        given, peak = shared.anchor or self.settings.anchor, None
        # The column `group` is filled if the group's peak is used.
        giver = "" if given is None else "group" if shared.columns.get("group") else "slide"
        anchor, nuclei = given, nuclei if shared.pixel_size_um is None else nuclei.scaled(shared.pixel_size_um)
        light = shared.light
        if light is not None:
            nuclei = light.taken_out(nuclei)
        elif anchor is None and nuclei.kind == "field":
            (nuclei,), anchor, peak, light = fit_in_even_light([nuclei])
        checkpoint, reason = self._choice.take(nuclei.kind, giver, peak)
        doubts = [*shared.flag.split(";"), "" if anchor else one_peak_flag(peak)]
        doubts += self._doubts(checkpoint, plane, nuclei, shared)
        doubts += [OTHER_PEAK] * (anchor is not None and hold_more_than_g2(sound_dna([nuclei]), anchor.position))
        flag = ";".join(filter(None, dict.fromkeys(doubts)))
        values = {} if anchor is None else anchor.relative(nuclei, checkpoint.input_rule.scale)
        values |= shared.columns | self._scored(checkpoint, plane, nuclei, anchor, flag)
        values |= {"image": name, "kind": nuclei.kind, "channel": plane.channel, "planes": plane.planes}
        values |= {"model": checkpoint.name, "model_reason": reason, "version": checkpoint.version}
        values |= {"pixel_size_um": nuclei.pixel_size_um}
        values |= {"g1_quality": peak.quality if peak else given.quality if given else np.nan}
        columns = full_columns(nuclei.measured | values, checkpoint.classes, len(nuclei))
        size, even = self._size_note(plane, nuclei), EVEN_LIGHT if peak and light else ""
        bright = BRIGHT.format(nuclei.n_bright) if nuclei.n_bright else ""
        note = "; ".join(filter(None, (plane.note, nuclei.crop_note, size, nuclei.scale_note, even, bright)))
        return ImagePrediction(name, columns, checkpoint, nuclei, plane, remark=nuclei.remark, plane_note=note)

    def _size_note(self, plane: Plane, nuclei: Nuclei) -> str:
        """Return a note on a pixel size in the settings that differs from the file's, "" without."""
        stated, asked = plane.pixel_size_um, self.settings.pixel_size_um
        if not (stated and asked) or 1 / _SAME_SIZE < asked / stated < _SAME_SIZE:
            return ""
        end = ", but is not plausible" if nuclei.scale_note else " and is used"
        end = end if nuclei.stated_um == asked else ", but is not plausible: the stated one is used"
        return f"it states {stated:.3g} um a pixel; {asked:.3g} um was asked for{end}"

    def _doubts(self, checkpoint: Checkpoint, plane: Plane, nuclei: Nuclei, shared: Shared) -> list[str]:
        """Return the flags of a whole picture: what the model does not know of it, or may misjudge."""
        rule, is_guess, is_crop = checkpoint.input_rule, not nuclei.scale_is_known, nuclei.kind == "nucleus"
        is_guess &= shared.pixel_size_um is None and rule.pixel_size_um is not None
        # A model of crops without a scale cannot distinguish a wider margin from finer pixels.
        is_guess |= is_crop and not nuclei.scale_is_known and (rule.crop_px or np.inf) < max(plane.pixels.shape)
        is_other_size, is_other_exposure = are_unlike_training([nuclei], rule)
        is_guess |= is_other_size
        is_few, is_of_field = len(nuclei) < LEAST_FOR_SCALE, is_guess and not is_crop
        doubts = {BY_MARGIN: is_guess and is_crop, BY_FEW: is_of_field and is_few}
        doubts |= {BY_GUESS: is_of_field and not is_few and not rule.needs_anchor, SEVERAL: nuclei.n_shown > 0}
        doubts[SAME_FIELD] = not is_crop and shows_twice(nuclei.centres, plane.pixels.shape)
        # A user's own model may have learned from such pictures.
        if checkpoint.name in shipped_names():
            ground, is_by_noise = nuclei.ground(plane.pixels), not rule.needs_anchor
            is_changed = not is_crop and (ground.is_bent or (ground.is_smooth and is_by_noise))
            is_changed |= ground.is_combed
            # The maximum of several planes has less noise than any of them.
            is_changed |= is_by_noise and (plane.n_planes > 1 or nuclei.is_overexposed)
            # A crop may be padded with values above its darkest, too.
            is_cut = ground.is_cut or (is_crop and nuclei.measured["border_noise"][0] == 0)
            doubts |= {CLIPPED: is_cut and is_by_noise, CHANGED: is_changed, NOISY: ground.is_noisy and is_by_noise}
            is_by_um = is_by_noise and rule.pixel_size_um is not None
            doubts[FINE] = is_by_um and nuclei.pixel_size_um < _FINEST_UM
            rim_um = np.median(np.nan_to_num(nuclei.measured["edge_width_px"])) * nuclei.pixel_size_um
            doubts["out_of_focus"] = is_by_um and nuclei.scale_is_known and rim_um > _WIDEST_RIM_UM
        doubts[CHANGED] = doubts.get(CHANGED, False) or is_other_exposure or is_of_other_pixels(nuclei, rule.scale)
        return [flag for flag, is_raised in doubts.items() if is_raised]

    def _scored(self, checkpoint: Checkpoint, plane: Plane, nuclei: Nuclei, anchor: Anchor | None, flag: str):
        """Return the columns that depend on the model: call, probabilities, flags, and confidence."""
        extra = [flag] if nuclei.scale_is_known else [flag, "scale_unknown"]
        if checkpoint.input_rule.needs_anchor and anchor is None:
            # Without the anchor, this model would get wrong intensities, so there is no call.
            scores = np.full((len(nuclei), len(checkpoint.classes)), np.nan)
            extra.insert(0, "no_g1_peak")
        else:
            parts = np.split(np.arange(len(nuclei)), range(_BATCH, len(nuclei), _BATCH))
            inputs = (inputs_of(plane.pixels, nuclei, checkpoint.input_rule, anchor, part) for part in parts)
            scores = np.concatenate([runtime_of(checkpoint).probabilities(part) for part in inputs])
        told = (";".join([own, *extra]).split(";") for own in nuclei.measured["flags"])
        flags = [";".join(dict.fromkeys(filter(None, of))) for of in told]
        prior, classes = prior_of(self.settings.prior, nuclei.kind, anchor), checkpoint.classes
        weights = weights_of(prior, classes, nuclei, anchor)
        if checkpoint.confidence is None:
            scores, values = with_weights(scores, weights), {"flags": flags}
            calls = scores.argmax(axis=1)
        else:
            found = checkpoint.confidence.assess(scores, flags, classes, nuclei.measured, weights)
            scores, calls, values = found.probabilities, found.call, {"flags": flags}
            values |= {"confidence": found.confidence, "prediction_set": found.sets, "review": found.review}
        names = np.where(np.isfinite(scores[:, 0]), np.array(classes)[calls], "")
        values |= {f"p_{c}": scores[:, k] for k, c in enumerate(classes)}
        values |= {"call": names, "prior": prior_text(prior, weights)}
        return left_open(values, prior, flag, weights, classes)

    def _without_call(self, image: str, kind: str, flag: str, known: dict) -> dict:
        """Return the one row of an image in which no nucleus was called; under "auto" without a model."""
        model = {} if self._choice.is_auto else {"model": self.checkpoint.name, "version": self.checkpoint.version}
        row = {"image": image, "flags": flag, "review": flag, "kind": kind} | model | known
        return full_columns(row, self.checkpoint.classes, 1)

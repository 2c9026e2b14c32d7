"""Uploads in, predictions out: the models of a server, and a bounded number of images at a time."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from cellcycle.app.limits import Limits
from cellcycle.app.store import unpack
from cellcycle.checkpoint import ANCHORED, DEFAULT, Checkpoint, load_checkpoint, shipped_names
from cellcycle.errors import ImageError, SettingError
from cellcycle.images import Plane, read_plane
from cellcycle.predict import AUTO, ImagePrediction, Predictor, Settings
from cellcycle.predict.slide import on_slide


@dataclass(frozen=True)
class Upload:
    """A file that a visitor gave: where the server keeps it, which no result tells, and what its owner calls it."""

    path: Path
    name: str


class Service:
    """What page and REST endpoint share.

    Parameters
    ----------
    limits : Limits, optional
    folders : sequence of str or Path, optional
        Model folders of your own; the first is the default instead of "auto".

    Attributes
    ----------
    models : dict of str to tuple of Checkpoint
        What visitors may choose -> the checkpoint, or those among which "auto" chooses.
    default : str

    Raises
    ------
    CheckpointError, SettingError
        A model folder is not usable, or two models have one name.
    """

    def __init__(self, limits: Limits | None = None, folders=()):
        self.limits = limits or Limits()
        self.models: dict[str, tuple[Checkpoint, ...]] = {AUTO: (load_checkpoint(ANCHORED), load_checkpoint(DEFAULT))}
        for name in [*folders, *shipped_names()]:
            checkpoint = load_checkpoint(name)
            if checkpoint.name in self.models:
                raise SettingError("--model", f"two models are called {checkpoint.name!r}", "rename one of them")
            self.models[checkpoint.name] = (checkpoint,)
        self.default = load_checkpoint(folders[0]).name if folders else AUTO
        self._turns = threading.BoundedSemaphore(self.limits.at_once)
        self._predictor = lru_cache(maxsize=16)(self._new_predictor)

    def predict_all(self, images, model: str, settings: Settings, is_slide: bool = False) -> Iterator[ImagePrediction]:
        """Predict images one after the other; each waits for its turn.

        Parameters
        ----------
        images : list of Upload, Plane or ImageError
            Uploaded files; or what was read before, pixels packed or not.
        model : str
            One of `models`; names of folders are not taken from visitors.
        settings : Settings
        is_slide : bool, optional
            All images are of one slide: its G1 peak is fitted to all their nuclei first.

        Yields
        ------
        ImagePrediction
            What `cellcycle.predict.Predictor` gives for the image, under its owner's name.

        Raises
        ------
        SettingError
            There is no such model, or the slide has no G1 peak for a model that needs it.
        """
        if model not in self.models:
            raise SettingError("model", f"{model!r} is unknown", f"there are {', '.join(self.models)}")
        if is_slide:
            with self._turns:
                chosen = AUTO if model == AUTO else self.models[model][0]
                settings = on_slide((self._read(image, settings) for image in images), chosen, settings)
        for image in images:
            with self._turns:
                prediction = self._predictor(model, settings).predict(self._read(image, settings))
            yield prediction

    def _read(self, image, settings: Settings) -> Plane | ImageError:
        if not isinstance(image, Upload):
            return image if isinstance(image, ImageError) else unpack(image)
        try:
            self.limits.check_file(image.path, image.name)
            return replace(read_plane(image.path, settings.channel, settings.plane), path=image.name)
        except ImageError as error:
            return ImageError(image.name, _without_path(error.finding, image.path, image.name), error.remedy)

    def _new_predictor(self, model: str, settings: Settings) -> Predictor:
        return Predictor(AUTO if model == AUTO else self.models[model][0], settings)


def _without_path(text: str, path: Path, name: str) -> str:
    """Put the owner's name where a decoder's message names the server's file.

    Examples
    --------
    >>> _without_path("cannot open '/tmp/x/a.png'", Path("/tmp/x/a.png"), "a.png")
    "cannot open 'a.png'"
    """
    return text.replace(str(path), name).replace(str(path.parent), "")

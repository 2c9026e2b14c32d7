"""Images in, tables out: the one path of command line, page and notebooks."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from cellcycle.errors import SettingError
from cellcycle.images import expand
from cellcycle.predict.choice import AUTO
from cellcycle.predict.predictor import ImagePrediction, Predictor
from cellcycle.predict.settings import Settings
from cellcycle.predict.slide import on_slide


def predict_each(images: Iterable, model=AUTO, settings: Settings | None = None) -> Iterator[ImagePrediction]:
    """Predict image after image; memory holds one at a time.

    Parameters
    ----------
    images : iterable
        Paths, `Plane`s or arrays (H, W).
    model : str, Path or Checkpoint, optional
        Name or folder of a checkpoint; "auto" chooses for each image, see `cellcycle.predict.choice`.
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


def predict(images, model=AUTO, *, is_slide: bool = False, **settings):
    """Predict the phases of all nuclei of one or many images.

    Parameters
    ----------
    images : path, Plane, array (H, W), or a list of them
        A path may be a file, a folder or a pattern like "plate/*.tif".
    model : str, Path or Checkpoint, optional
        Name or folder of a checkpoint; "auto" chooses for each image, see `cellcycle.predict.choice`.
    is_slide : bool, optional
        All images are of one slide: its G1 peak is fitted to all their nuclei first.
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
    import pandas as pd

    images = list(images) if isinstance(images, list | tuple) else [images]
    listed = [item for image in images for item in (expand([image]) if isinstance(image, str | Path) else [image])]
    if not listed:
        raise SettingError("images", "the list is empty", "name at least one image")
    chosen = Settings(**settings)
    if is_slide:
        chosen = on_slide(listed, model, chosen)
    found = []
    for prediction in predict_each(listed, model, chosen):
        if prediction.error is not None and len(listed) == 1:
            raise prediction.error
        found.append(prediction.table)
    return pd.concat(found, ignore_index=True)

"""The pretrained network of the transfer experiment, trained once and kept."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from cellcycle import paths
from cellcycle.datasets import NucleusDataset
from cellcycle.study.profiles import Profile


def transfer_source(profile: Profile, dataset: NucleusDataset) -> NucleusDataset:
    """Return the simulated G2 / not-G2 set in the image size and number of channels of `dataset`."""
    source = profile.load_dataset("simulated-nagao", size_px=dataset.size_px)
    channels = dataset.images.shape[1]
    if source.images.shape[1] == channels:
        return source
    images = np.repeat(source.images[:, :1], channels, axis=1)
    return replace(source, images=images, identity=f"{source.identity}x{channels}")


def pretrained_file(profile: Profile, source: NucleusDataset, model: str = "nagao6") -> Path:
    """Return where the weights of a network trained on all images of a source data set are kept, or will be.

    Under `build/`, named by configuration and data.
    """
    config = _config(profile, source, model)
    key = hashlib.blake2b(json.dumps([config, source.identity]).encode(), digest_size=5).hexdigest()
    return paths.build_dir() / "pretrained" / f"{paths.slug(source.name)}-{model}-{key}.safetensors"


def pretrained_network(profile: Profile, source: NucleusDataset, model: str = "nagao6") -> Path:
    """Train a network on all images of a source data set, and return the file of its weights.

    Parameters
    ----------
    profile : Profile
    source : NucleusDataset
        Its images have the size and channels of those to be fine-tuned on.
    model : str
        A name of `cellcycle.models.NETWORKS`.

    Returns
    -------
    Path
        A `.safetensors` file, see `pretrained_file`: trained once for each configuration and data set.
    """
    from cellcycle.training import make_estimator

    file = pretrained_file(profile, source, model)
    if not file.exists():
        config = _config(profile, source, model)
        make_estimator(**config).fit(source.images, source.labels).save_network(file)
    return file


def _config(profile: Profile, source: NucleusDataset, model: str) -> dict:
    return profile.completed(source, profile.config(model)) | {"seed": profile.seed}

"""The networks of the shipped checkpoints: one or more members, each with its view of a nucleus.

- "given": the picture as the input rule makes it.
- "shape": the same picture standardised by itself, which shows form and texture but no amount of DNA, and beside it
  the measurements of the input rule, which do.
"""

import numpy as np

from cellcycle.checkpoint import Checkpoint

# Keeps an empty picture from being divided by 0.
_LEAST_DEVIATION = 1e-6


def build(arguments: dict, views: tuple[str, ...]):
    """Return the untrained network of a checkpoint.

    Parameters
    ----------
    arguments : dict
        "model", and the other arguments of `cellcycle.models.build_network`, for every member.
    views : sequence of {"given", "shape"}
        Of each member.

    Returns
    -------
    torch.nn.Module
        Takes images (N, 1, H, W), and measurements (N, M) where there is a "shape"; gives the mean of the members'
        logits (N, K). Its `members` are `cellcycle.models.Network`.
    """
    from torch import nn

    from cellcycle.models import build_network

    rest = dict(arguments)
    model, n_measurements = rest.pop("model"), rest.pop("n_measurements", 0)

    class Members(nn.Module):
        def __init__(self):
            super().__init__()
            self.members = nn.ModuleList(
                build_network(model, **rest, n_measurements=n_measurements if view == "shape" else 0) for view in views
            )

        def forward(self, images, measurements=None):
            logits = [
                member(_standardised(images), measurements) if view == "shape" else member(images)
                for member, view in zip(self.members, views, strict=True)
            ]
            return sum(logits) / len(logits)

    return Members()


def _standardised(images):
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    deviation = (images - mean).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return (images - mean) / (deviation + _LEAST_DEVIATION)


def train_member(network: dict, settings: dict, view: str, images, measured, labels, seed: int):
    """Train one member on prepared inputs.

    Parameters
    ----------
    network, settings : dict
        Of `cellcycle.training.NetworkClassifier`.
    view : {"given", "shape"}
    images : ndarray (N, 1, H, W) float32
        By the input rule of the checkpoint.
    measured : ndarray (N, M) float32 or None
        Likewise, for a "shape".
    labels : ndarray (N,) of int
    seed : int

    Returns
    -------
    cellcycle.models.Network
        In evaluation mode.
    """
    import torch

    from cellcycle.training import NetworkClassifier

    if view == "shape":
        images = _standardised(torch.from_numpy(images)).numpy()
    else:
        measured = np.empty((len(images), 0), np.float32)

    class PreparedInputs(NetworkClassifier):
        """The inputs come by the checkpoint's rule; nothing is measured or scaled again."""

        def measure(self, X):
            return measured

        def inputs(self, images, measured):
            return {"images": images, "measurements": measured}

    return PreparedInputs(**network, **settings, seed=seed).fit(images, labels).network_


def trained_network(checkpoint: Checkpoint):
    """Return the network of a checkpoint with its weights, to explain it or to train it further.

    Parameters
    ----------
    checkpoint : Checkpoint

    Returns
    -------
    torch.nn.Module
        As `build` gives it, in evaluation mode; its logits are those of `model.onnx`.
    """
    from safetensors.torch import load_file

    arguments = dict(checkpoint.card["network"])
    views = arguments.pop("views")
    network = build(arguments, views)
    network.load_state_dict(load_file(checkpoint.folder / "weights.safetensors"))
    return network.eval()

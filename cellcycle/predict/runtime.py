"""Inference of a checkpoint's graph by ONNX Runtime."""

from functools import lru_cache

import numpy as np

from cellcycle.card import REMEDY
from cellcycle.checkpoint import Checkpoint
from cellcycle.confidence.calibration import softmax
from cellcycle.errors import CheckpointError
from cellcycle.graphs import open_graph
from cellcycle.inputs import Inputs

# Number of inputs per run: with all their rotations they fit a cache, and take a quarter of the memory of 32.
_BATCH = 8


class Runtime:
    """A loaded model: inputs in, probabilities out.

    Raises a `CheckpointError` for a graph that ONNX Runtime refuses, or whose inputs or outputs do not match the card.
    """

    def __init__(self, checkpoint: Checkpoint):
        self._graph, self._n_classes, rule = checkpoint.graph, len(checkpoint.classes), checkpoint.input_rule
        self._session = open_graph(self._graph)
        self._takes = {i.name: i.shape[1:] for i in self._session.get_inputs()}
        wanted = {"images": [checkpoint.card["network"].get("channels"), rule.size_px, rule.size_px]}
        if "measurements" in self._takes:
            wanted["measurements"] = [len(rule.measurements)]
        if self._takes != wanted:
            raise CheckpointError(self._graph, "its inputs are not those of the card", REMEDY)
        try:
            logits = self._logits({name: np.zeros((2, *shape), np.float32) for name, shape in wanted.items()}, 2)
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(self._graph, "ONNX Runtime cannot run it", REMEDY) from error
        if not np.isfinite(logits).all():
            raise CheckpointError(self._graph, "it gives numbers that are not finite", REMEDY)

    def probabilities(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities (N, K) float64 of inputs; rows add up to 1."""
        logits = []
        for start in range(0, len(inputs), _BATCH):
            part = inputs[start : start + _BATCH]
            images = part.images
            if images.shape[1] == 1:
                # A gray image becomes equal red, green and blue channels.
                images = np.repeat(images, self._takes["images"][0], axis=1)
            given = {"images": images, "measurements": part.measurements}
            logits.append(self._logits({name: given[name] for name in self._takes}, len(part)))
        return softmax(np.concatenate(logits))

    def _logits(self, given: dict, n: int) -> np.ndarray:
        (found,) = self._session.run(None, given)
        if found.shape != (n, self._n_classes) or found.dtype.kind != "f":
            raise CheckpointError(self._graph, "it does not give one number a class and nucleus", REMEDY)
        return found.astype(np.float64)


@lru_cache(maxsize=4)
def runtime_of(checkpoint: Checkpoint) -> Runtime:
    """Return the loaded model of a checkpoint; the last four stay loaded: loading takes longer than predicting."""
    return Runtime(checkpoint)

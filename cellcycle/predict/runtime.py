"""Run a checkpoint's graph by ONNX Runtime."""

import numpy as np

from cellcycle.checkpoint import Checkpoint
from cellcycle.confidence.calibration import softmax
from cellcycle.errors import CheckpointError
from cellcycle.inputs import Inputs

_REMEDY = "install the model again, or ask who made it"
_BATCH = 32


class Runtime:
    """A loaded model: inputs in, probabilities out.

    Parameters
    ----------
    checkpoint : Checkpoint
        Verified by `load_checkpoint`.

    Raises
    ------
    CheckpointError
        ONNX Runtime refuses the graph.
    """

    def __init__(self, checkpoint: Checkpoint):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # One thread: sums come out the same on every machine, and several processes do not wait for each other.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(checkpoint.graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise CheckpointError(
                checkpoint.graph, "ONNX Runtime cannot load it", "update onnxruntime, or install the model again"
            ) from error

        self._check_shapes(checkpoint)

    def _check_shapes(self, checkpoint: Checkpoint) -> None:
        """Refuse a graph that takes or gives something else than the card says."""
        given = {i.name: list(i.shape[1:]) for i in self._session.get_inputs()}
        (logits, *more), rule = self._session.get_outputs(), checkpoint.input_rule
        wanted = {"images": [checkpoint.card["network"].get("channels"), rule.size_px, rule.size_px]}
        if "measurements" in given:
            wanted["measurements"] = [len(rule.measurements)]
        self._takes = tuple(given)
        if given != wanted or more or list(logits.shape[1:]) != [len(checkpoint.classes)]:
            raise CheckpointError(checkpoint.graph, "its inputs and outputs are not those of the card", _REMEDY)

    def probabilities(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities (N, K) float64 of inputs; rows add up to 1."""
        logits = []
        for start in range(0, len(inputs), _BATCH):
            part = inputs[start : start + _BATCH]
            given = {"images": self._channels(part.images), "measurements": part.measurements}
            (found,) = self._session.run(None, {name: given[name] for name in self._takes})
            logits.append(found.astype(np.float64))
        return softmax(np.concatenate(logits))

    def _channels(self, images: np.ndarray) -> np.ndarray:
        """Return images with as many channels as the model takes: a gray one as red, green and blue alike."""
        wanted = self._session.get_inputs()[0].shape[1]
        return np.repeat(images, wanted, axis=1) if images.shape[1] == 1 and wanted != 1 else images

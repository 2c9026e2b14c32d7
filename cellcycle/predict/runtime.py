"""Run a checkpoint's graph by ONNX Runtime."""

import numpy as np

from cellcycle.checkpoint import Checkpoint
from cellcycle.confidence.calibration import softmax
from cellcycle.errors import CheckpointError

POSITIONS = 8
_BATCH = 32


class Runtime:
    """A loaded network: prepared pictures and measurements in, probabilities out.

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

    def probabilities(self, pictures: np.ndarray, measurements: np.ndarray | None = None) -> np.ndarray:
        """Return the probabilities of each picture, logits averaged over its eight turned and mirrored positions.

        Parameters
        ----------
        pictures : ndarray (N, 1, H, H) float32
            As `pictures.normalise` gives them.
        measurements : ndarray (N, M) float32, optional
            As `pictures.normalise_measurements` gives them; for a model that takes any.

        Returns
        -------
        ndarray (N, K) float64
            Rows add up to 1; the same for a nucleus turned by 90 degrees or mirrored.
        """
        logits = []
        for start in range(0, len(pictures), _BATCH):
            part = slice(start, start + _BATCH)
            logits.append(self._logits(pictures[part], None if measurements is None else measurements[part]))
        return softmax(np.concatenate(logits))

    def _logits(self, pictures: np.ndarray, measurements: np.ndarray | None) -> np.ndarray:
        views = [np.rot90(pictures, turn, axes=(2, 3)) for turn in range(4)]
        views += [view[..., ::-1] for view in views]
        inputs = {"images": np.concatenate(views)}
        if measurements is not None:
            inputs["measurements"] = np.tile(measurements, (POSITIONS, 1))
        (logits,) = self._session.run(None, inputs)
        return logits.astype(np.float64).reshape(POSITIONS, len(pictures), -1).mean(axis=0)

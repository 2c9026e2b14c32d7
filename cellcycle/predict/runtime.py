"""Run a checkpoint's graph by ONNX Runtime."""

import numpy as np

from cellcycle.checkpoint import Checkpoint
from cellcycle.errors import CheckpointError

POSITIONS = 8
_BATCH = 32


class Runtime:
    """A loaded network: standardised pictures in, probabilities out.

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

    def probabilities(self, pictures: np.ndarray) -> np.ndarray:
        """Return the probabilities of each picture, logits averaged over its eight turned and mirrored positions.

        Parameters
        ----------
        pictures : ndarray (N, 1, H, H) float32
            As `pictures.normalise` gives them.

        Returns
        -------
        ndarray (N, K) float64
            Rows add up to 1; the same for a nucleus turned by 90 degrees or mirrored.
        """
        logits = [self._logits(pictures[start : start + _BATCH]) for start in range(0, len(pictures), _BATCH)]
        return softmax(np.concatenate(logits))

    def _logits(self, pictures: np.ndarray) -> np.ndarray:
        views = [np.rot90(pictures, turn, axes=(2, 3)) for turn in range(4)]
        views += [view[..., ::-1] for view in views]
        (logits,) = self._session.run(None, {"images": np.concatenate(views)})
        return logits.astype(np.float64).reshape(POSITIONS, len(pictures), -1).mean(axis=0)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities of logits (N, K).

    Examples
    --------
    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)

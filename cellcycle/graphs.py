"""Open ONNX graphs, all with the same settings."""

import contextlib
from pathlib import Path

from cellcycle.errors import CheckpointError
from cellcycle.files import sha256_of


def check_hash(path: Path, card: dict) -> None:
    """Raise a `CheckpointError` if a file of a model does not have the hash in the model's card."""
    if sha256_of(path) != card["sha256"].get(path.name):
        finding = "it is damaged or altered (its hash is not that of the card)"
        raise CheckpointError(path, finding, "install the model again")


def giving_back():
    """Return run options with which a session releases its memory after the run."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def open_graph(path: Path, plans_memory: bool = True):
    """Return an ONNX Runtime session for a graph; a `CheckpointError` says that ONNX Runtime cannot load it.

    `plans_memory`: allocate all memory of a run at once: faster for many small inputs; slower and more for a large one.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread: sums are the same on every machine, and several processes do not compete.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = plans_memory
    # Log fatal errors only: an error of ours says what is wrong with a graph.
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    try:
        with contextlib.suppress(Exception):
            return onnxruntime.InferenceSession(str(path), options, providers=providers)
        # Versions before 1.24 fail to fuse operations of an 8-bit graph; without that optimization they run it.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        remedy = "update onnxruntime, or install the model again"
        raise CheckpointError(path, "ONNX Runtime cannot load it", remedy) from error

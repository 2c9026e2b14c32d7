"""A network as an ONNX graph, and the graph in whole numbers."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import torch


def onnx_graph(model, examples: dict, output: str, dynamic_shapes):
    """Return the graph (onnx.ModelProto) of a network, freed of everything that tells where it was made.

    `examples` are tensors by the names of the inputs, `dynamic_shapes` those of `torch.onnx.export`.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            tuple(examples.values()),
            input_names=list(examples),
            output_names=[output],
            dynamic_shapes=dynamic_shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    graph = program.model_proto
    for part in (graph, graph.graph, *graph.graph.node, *graph.graph.value_info, *graph.graph.input,
                 *graph.graph.output, *graph.graph.initializer):  # fmt: skip
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return graph


def in_eight_bits(graph, examples: Iterable[dict[str, np.ndarray]]):
    """Return a graph (onnx.ModelProto) whose convolutions count in 8 bits, scaled to what they see of the examples.

    On a processor that multiplies such numbers it takes about half the time. Weights have 7 bits, so that older
    processors, which add two products in 16 bits, come to the same sums.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    left = iter(examples)
    with TemporaryDirectory() as folder:
        plain, prepared, made = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "made"))
        onnx.save(graph, plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            made,
            SimpleNamespace(get_next=lambda: next(left, None)),
            op_types_to_quantize=["Conv", "Relu", "MaxPool", "Concat", "Resize"],
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
        )
        return onnx.load(made)

"""A network as an ONNX graph."""

import logging
import warnings

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

"""Write a network as an ONNX graph, read its weights back from it, and quantise a graph to 8 bits."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import torch

from cellcycle.errors import SettingError, reason_of

# Suffixes of tensor names: stored in half precision (only if exact and of at least `_LEAST_HALVED` values), and factors
# by which a filter is multiplied in the graph, e.g. those of a batch normalisation.
_HALF, _FACTORS, _LEAST_HALVED = ".half", ".factors", 1000


def onnx_graph(model, examples: dict, output: str, dynamic_shapes):
    """Return the graph (onnx.ModelProto) of a network, without metadata about the machine and code that made it.

    `examples` are tensors by the names of the inputs, `dynamic_shapes` those of `torch.onnx.export`. A network that
    cannot be exported is a `SettingError`.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
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
        except torch.onnx.OnnxExporterError as error:
            finding = f"it cannot be written as a graph ({reason_of(error.__cause__ or error)})"
            remedy = "let its body do the same with every image, by operations that torch.export knows"
            raise SettingError("network", finding, remedy) from error
    graph = program.model_proto
    for part in (graph, graph.graph, *graph.graph.node, *graph.graph.value_info, *graph.graph.input,
                 *graph.graph.output, *graph.graph.initializer):  # fmt: skip
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return graph


def in_eight_bits(graph, examples: Iterable[dict[str, np.ndarray]]):
    """Return a graph (onnx.ModelProto) whose convolutions compute in 8 bits, calibrated on the examples.

    On a processor with 8-bit multiplication it takes about half of the time. Weights have 7 bits, so that older
    processors, which add two products in 16 bits, do not overflow and get the same sums.
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


def not_held(graph, trained: dict) -> dict:
    """Return the trained tensors that a graph does not hold; for filters that it holds scaled, only the factors."""
    held, rest = _held_in(graph), {}
    for name, values in trained.items():
        own, wanted = held.get(name), values.numpy()
        if own is None or own.shape != wanted.shape:
            rest[name] = values.contiguous()
        elif not np.array_equal(own, wanted):
            factors = _factors(own, wanted)
            # A filter that is multiplied by zero, or nearly, cannot be recovered.
            is_there = factors is not None and factors.all() and np.allclose(own / factors, wanted, rtol=1e-5, atol=0)
            rest |= {name + _FACTORS: torch.from_numpy(factors)} if is_there else {name: values.contiguous()}
    return rest


def weights_of(graph, rest: dict) -> dict:
    """Return the trained tensors of a network by name, from its graph and the `rest` that `not_held` returned."""
    weights = {name: torch.from_numpy(values) for name, values in _held_in(graph).items()}
    factors = {name: rest.pop(name + _FACTORS) for name in weights if name + _FACTORS in rest}
    return weights | {name: weights[name] / factor for name, factor in factors.items()} | rest


def _held_in(model) -> dict:
    """Return the tensors of an ONNX graph by name, those in half precision as float32."""
    from onnx.numpy_helper import to_array

    held = {i.name.removesuffix(_HALF): to_array(i) for i in model.graph.initializer}
    return {name: v.astype(np.float32) if v.dtype == np.float16 else v.copy() for name, v in held.items()}


def store_in_half(graph, trained: dict) -> None:
    """Store weights in half precision as they were `trained`, if that is exact; the graph converts them to float32.

    If the graph holds a filter multiplied by the factors of its batch normalisation, it stores both and multiplies them
    when it runs, so that training can go on from the stored weights.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes = []
    for i in list(graph.initializer):
        name, values = i.name, numpy_helper.to_array(i)
        weight = trained.get(name, values)
        if values.dtype != np.float32 or values.size < _LEAST_HALVED or weight.shape != values.shape:
            continue
        half, is_same = weight.astype(np.float16), np.array_equal(weight, values)
        factors = _factors(values, weight)
        if factors is None or not np.array_equal(half.astype(np.float32), weight):
            continue
        i.CopyFrom(numpy_helper.from_array(half, name + _HALF))
        wide = name if is_same else f"{name}.wide"
        nodes.append(helper.make_node("Cast", [i.name], [wide], to=TensorProto.FLOAT))
        if not is_same:
            graph.initializer.append(numpy_helper.from_array(factors, name + _FACTORS))
            nodes.append(helper.make_node("Mul", [wide, name + _FACTORS], [name]))
    for at, node in enumerate(nodes):
        graph.node.insert(at, node)


def _factors(values: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    """Return the factor (N, 1, ...) of each filter from `weight` to `values`; None if they are not proportional."""
    inner = tuple(range(1, values.ndim))
    factors = (values * weight).sum(inner, keepdims=True) / np.maximum((weight**2).sum(inner, keepdims=True), 1e-30)
    return factors if np.allclose(weight * factors, values, rtol=1e-5, atol=1e-9) else None

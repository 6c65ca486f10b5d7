"""`vision.onnx` in fp32 → the graph that TensorRT gets: products in bfloat16, the rest in fp32.

TensorRT's strongly typed networks compute in the types of the graph. Norms, softmax, rotary
positions and the residual stream stay in fp32, as their sums need it; every matrix product takes
bfloat16 and gives it, with fp32 sums inside, as tensor cores do. The patch embedding alone stays in
fp32: it holds the subtraction of the mean, which bfloat16 would make of two large numbers.
"""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir

_PRODUCTS = ("Gemm", "MatMul")
_PLUGIN_ATTRIBUTES: dict[str, str | int] = {
    "plugin_namespace": "cxr",
    "plugin_version": "1",
    "aot": 1,
}


def write_bf16(source: Path, target: Path, *, with_plugins: bool) -> None:
    """Rewrite a vision model.

    Args:
        source: `vision.onnx` in fp32, of the `onnx` backend's export.
        target: File to write; its weights go beside it.
        with_plugins: Put the nodes `projector_fc1` and `projector_fc2` of `plugins` in the place
            of the projector. Only TensorRT knows them.
    """
    model = ir.load(source)
    graph = model.graph
    if with_plugins:
        _insert_projector(graph)
    products = [node for node in graph if node.op_type in _PRODUCTS]
    for node in products:
        if node.inputs[1] is graph.initializers.get("patch_embed.weight"):
            continue
        _convert_product(graph, node)
    for name in [name for name, value in graph.initializers.items() if not value.uses()]:
        del graph.initializers[name]
    ir.save(model, target, external_data=f"{target.name}.data")


def _convert_product(graph: ir.Graph, node: ir.Node) -> None:
    for index, value in enumerate(node.inputs):
        if value is not None:
            node.replace_input_with(index, _as_bf16(graph, value))
    _cast_output(graph, node)


def _insert_projector(graph: ir.Graph) -> None:
    fc1 = _find_consumer(graph, "merger.mlp.0.weight")
    fc2 = _find_consumer(graph, "merger.mlp.2.weight")
    norm = _find_consumer(graph, "merger.ln_q.weight")  # (x * rsqrt) * weight
    scaled, norm_weight = norm.inputs
    assert scaled is not None
    scale = scaled.producer()
    assert scale is not None
    x = scale.inputs[0]
    gather = graph.outputs[0].producer()
    assert gather is not None
    (merge_order,) = (value for value in graph.inputs if value.name == "merge_order")

    def plugin(name: str, inputs: list[ir.Value], num_outputs: int) -> ir.Node:
        new = ir.node(
            name,
            inputs,
            attributes=_PLUGIN_ATTRIBUTES,
            domain="cxr",
            num_outputs=num_outputs,
            name=name,
        )
        for index, output in enumerate(new.outputs):
            output.name = f"{name}_{index}"
        graph.insert_before(gather, new)
        return new

    def cast(value: ir.Value | None) -> ir.Value:
        assert value is not None
        return _as_bf16(graph, value)

    first = plugin(
        "projector_fc1",
        [cast(x), cast(norm_weight), cast(fc1.inputs[1]), cast(fc1.inputs[2]), merge_order],
        2,
    )
    second = plugin(
        "projector_fc2",
        [first.outputs[0], cast(fc2.inputs[1]), cast(fc2.inputs[2]), first.outputs[1]],
        1,
    )
    old = graph.outputs[0]
    result_name, old.name = old.name or "", "replaced"
    cast_back = _make_cast(second.outputs[0], ir.DataType.FLOAT, result_name)
    cast_back.outputs[0].shape = old.shape
    graph.insert_before(gather, cast_back)
    graph.outputs[0] = cast_back.outputs[0]
    _remove_unused(graph)
    graph.opset_imports["cxr"] = 1


def _find_consumer(graph: ir.Graph, initializer: str) -> ir.Node:
    (node,) = (use.node for use in graph.initializers[initializer].uses())
    return node


def _remove_unused(graph: ir.Graph) -> None:
    for node in reversed(list(graph)):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)


def _as_bf16(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """Return a value rounded to bfloat16; a weight is stored so, any other value cast once."""
    name = f"{value.name}_bf16"
    if name in graph.initializers:
        return graph.initializers[name]
    if value.is_initializer():
        assert value.const_value is not None
        array = value.const_value.numpy().astype(np.float32).astype(ml_dtypes.bfloat16)
        rounded = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        rounded.shape, rounded.type = value.shape, ir.TensorType(ir.DataType.BFLOAT16)
        graph.register_initializer(rounded)
        return rounded
    for use in value.uses():
        if use.node.outputs[0].name == name:
            return use.node.outputs[0]
    cast = _make_cast(value, ir.DataType.BFLOAT16, name)
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], cast)
    else:
        graph.insert_after(producer, cast)
    return cast.outputs[0]


def _make_cast(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    cast = ir.node("Cast", [value], attributes={"to": dtype}, name=name)
    output = cast.outputs[0]
    output.name, output.shape, output.type = name, value.shape, ir.TensorType(dtype)
    return cast


def _cast_output(graph: ir.Graph, node: ir.Node) -> None:
    output = node.outputs[0]
    cast = _make_cast(output, ir.DataType.FLOAT, f"{output.name}_fp32")
    output.type = ir.TensorType(ir.DataType.BFLOAT16)
    for use in list(output.uses()):
        if use.node is not cast:
            use.node.replace_input_with(use.idx, cast.outputs[0])
    graph.insert_after(node, cast)

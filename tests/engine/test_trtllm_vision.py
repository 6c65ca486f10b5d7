"""The graph that TensorRT gets for the vision engine, run on ONNX Runtime, and its profile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.base import Array, Engine
from cxr_reason.engine.onnx.export_vision import export_vision
from cxr_reason.engine.plan import read_shape
from cxr_reason.engine.positions import plan_vision
from cxr_reason.engine.reference.engine import ReferenceEngine
from cxr_reason.engine.trtllm.build_vision import profile_shapes
from cxr_reason.engine.trtllm.mixed_precision import write_bf16
from cxr_reason.engine.vision_input import VISUAL_TOKENS, make_vision_feeds, plan_feeds
from cxr_reason.kernels.preprocess import PixelBudget, fit_grid
from cxr_reason.kernels.projector.reference import projector_reference

GRIDS = [(12, 10), (10, 24), (34, 34)]


@pytest.fixture(scope="module")
def vision_dir(nano: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vision")
    export_vision(nano, folder)
    for name, with_plugins in (("bf16.onnx", False), ("plugins.onnx", True)):
        write_bf16(folder / "vision.onnx", folder / name, with_plugins=with_plugins)
    return folder


@pytest.fixture(scope="module")
def in_bf16(nano: Checkpoint) -> Iterator[Engine]:
    """Transformers in bfloat16."""
    with ReferenceEngine(nano, dtype=torch.bfloat16) as engine:
        yield engine


def make_feeds(checkpoint: Checkpoint, grid: tuple[int, int]) -> tuple[dict[str, Any], Array]:
    random = np.random.default_rng(grid[0])
    patches = random.random((grid[0] * grid[1], 196), np.float32)
    return make_vision_feeds(patches, grid, read_shape(checkpoint)), patches


def make_cast(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    cast = ir.node("Cast", [value], attributes={"to": dtype}, name=name)
    cast.outputs[0].name, cast.outputs[0].type = name, ir.TensorType(dtype)
    return cast


def run_on_cpu(model: ir.Model, feeds: dict[str, Any], folder: Path) -> list[Any]:
    """Run a graph with bfloat16 products; ONNX Runtime has none on the CPU.

    Each product gets its rounded inputs and rounds its result, with fp32 sums in between: what
    tensor cores compute.
    """
    graph = model.graph
    for node in [node for node in graph if node.op_type in ("Gemm", "MatMul")]:
        if node.outputs[0].dtype != ir.DataType.BFLOAT16:
            continue
        for index, value in enumerate(node.inputs):
            assert value is not None
            wide = make_cast(value, ir.DataType.FLOAT, f"{node.name}_{index}_wide")
            graph.insert_before(node, wide)
            node.replace_input_with(index, wide.outputs[0])
        output = node.outputs[0]
        uses = list(output.uses())
        narrow = make_cast(output, ir.DataType.BFLOAT16, f"{node.name}_narrow")
        graph.insert_after(node, narrow)
        for use in uses:
            use.node.replace_input_with(use.idx, narrow.outputs[0])
        output.type = ir.TensorType(ir.DataType.FLOAT)
    ir.save(model, folder / "cpu.onnx", external_data="cpu.onnx.data")
    session = ort.InferenceSession(folder / "cpu.onnx", providers=["CPUExecutionProvider"])
    wanted = {value.name for value in graph.inputs}
    outputs: list[Any] = session.run(
        None, {name: array for name, array in feeds.items() if name in wanted}
    )
    return outputs


def relative_error(got: Array, expected: Array) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_graph_agrees_with_transformers(
    vision_dir: Path,
    nano: Checkpoint,
    reference: Engine,
    in_bf16: Engine,
    tmp_path: Path,
    grid: tuple[int, int],
) -> None:
    feeds, patches = make_feeds(nano, grid)
    (tokens,) = run_on_cpu(ir.load(vision_dir / "bf16.onnx"), feeds, tmp_path)
    expected = reference.encode(patches, grid).tokens
    assert tokens.dtype == np.float32
    # Not further off than transformers itself in bfloat16, which also rounds what stays fp32 here.
    limit = relative_error(in_bf16.encode(patches, grid).tokens, expected)
    assert 1e-4 < relative_error(tokens, expected) < limit


@pytest.mark.parametrize("grid", GRIDS[:1], ids=str)
def test_the_plugins_stand_where_the_projector_was(
    vision_dir: Path,
    nano: Checkpoint,
    reference: Engine,
    in_bf16: Engine,
    tmp_path: Path,
    grid: tuple[int, int],
) -> None:
    """What goes into the plugin nodes, given to the reference of the kernels, is the result."""
    model = ir.load(vision_dir / "plugins.onnx")
    graph = model.graph
    fc1, fc2 = (node for node in graph if node.domain == "cxr")
    assert [node.op_type for node in (fc1, fc2)] == ["projector_fc1", "projector_fc2"]
    assert {name: value.value for name, value in fc1.attributes.items()} == {
        "plugin_namespace": "cxr",
        "plugin_version": "1",
        "aot": 1,
    }
    assert fc1.inputs[4] is not None and fc1.inputs[4].name == "merge_order"
    assert fc2.inputs[0] is fc1.outputs[0] and fc2.inputs[3] is fc1.outputs[1]
    assert [value.name for value in graph.outputs] == [VISUAL_TOKENS]
    weights = [
        torch.from_numpy(value.const_value.numpy().astype(np.float32))
        for value in (*fc1.inputs[1:4], *fc2.inputs[1:3])
        if value is not None and value.const_value is not None
    ]
    # The graph up to the plugins.
    (x,) = [value for value in fc1.inputs[:1] if value is not None]
    wide = make_cast(x, ir.DataType.FLOAT, "x_wide")
    graph.insert_before(fc1, wide)
    graph.outputs[0] = wide.outputs[0]
    for node in reversed(list(graph)):
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            graph.remove(node, safe=True)
    for value in [value for value in graph.inputs if not value.uses()]:
        graph.inputs.remove(value)
    feeds, patches = make_feeds(nano, grid)
    (tower,) = run_on_cpu(model, feeds, tmp_path)
    tokens = projector_reference(
        torch.from_numpy(tower), *weights, merge_order=torch.from_numpy(feeds["merge_order"])
    )
    expected = reference.encode(patches, grid).tokens
    limit = relative_error(in_bf16.encode(patches, grid).tokens, expected)
    assert relative_error(tokens.numpy(), expected) < limit


def test_only_products_are_in_bfloat16(vision_dir: Path) -> None:
    graph = ir.load(vision_dir / "bf16.onnx").graph
    for node in graph:
        names = [value.name for value in node.inputs if value is not None]
        is_product = node.op_type in ("Gemm", "MatMul") and "patch_embed.weight" not in names
        for value in node.inputs:
            is_bf16 = value is not None and value.dtype == ir.DataType.BFLOAT16
            assert is_bf16 == is_product or node.op_type == "Cast"
    products = [node for node in graph if node.op_type in ("Gemm", "MatMul")]
    assert len(products) == 45
    stored = {value.dtype for name, value in graph.initializers.items() if ".weight" in name}
    assert stored == {ir.DataType.BFLOAT16, ir.DataType.FLOAT}, "products and norms"
    assert not [name for name in graph.initializers if f"{name}_bf16" in graph.initializers]


@pytest.mark.parametrize("max_pixels", [476 * 476, 200 * 200])
def test_every_film_fits_the_profile(max_pixels: int) -> None:
    budget = PixelBudget(max_pixels=max_pixels)
    shapes = profile_shapes(budget, window_size_px=112, head_dim=80)
    for least, common, most in shapes.values():
        assert all(a <= b <= c for a, b, c in zip(least, common, most, strict=True))
    for height, width in [(3056, 2544), (1024, 1024), (4000, 200), (90, 9000), (30, 6000)]:
        grid = fit_grid(height, width, budget)
        if grid.height * grid.width * 196 > max_pixels:
            continue  # `encode` refuses it: so long and thin that the least side is too much
        plan = plan_vision((grid.height, grid.width), window_size_px=112, head_dim=80)
        for name, array in plan_feeds(plan).items():
            least, _, most = shapes[name]
            assert all(a <= n <= c for a, n, c in zip(least, array.shape, most, strict=True)), name

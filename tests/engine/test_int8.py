"""Integer products against the same arithmetic in NumPy, and what they cost in accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime as ort
import pytest
from support.made_once import MadeOnce

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.data.phantoms import make_phantom, phantom_seeds
from cxr_reason.engine.base import Array, Engine, GenerationRequest, SamplingParams
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.onnx.decoder import OnnxDecoder
from cxr_reason.engine.onnx.int8 import Int8Writer, quantize_channels
from cxr_reason.engine.onnx.rewrite import save_model
from cxr_reason.engine.onnx.session import open_session
from cxr_reason.engine.plan import read_budget
from cxr_reason.engine.registry import load_engine
from cxr_reason.kernels.preprocess import fit_grid, preprocess
from cxr_reason.prompts import parse_prompt

Film = tuple[Array, tuple[int, int]]


def compile_product(
    folder: Path, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]
) -> ort.InferenceSession:
    """Return x @ weight.T + bias, twice over one input, rewritten."""
    x = ir.Value(
        name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["m", weight.shape[1]])
    )
    w = ir.Value(name="w", const_value=ir.tensor(weight, name="w"))
    b = ir.Value(name="b", const_value=ir.tensor(bias, name="b"))
    nodes = [
        ir.node("Gemm", [x, w, b], attributes={"transB": 1}, name=f"gemm{k}") for k in range(2)
    ]
    total = ir.node("Add", [node.outputs[0] for node in nodes])
    total.outputs[0].name = "y"
    total.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [x], total.outputs, nodes=[*nodes, total], initializers=[w, b], opset_imports={"": 20}
    )
    writer = Int8Writer(graph)
    for node in nodes:
        writer.replace(node, weight, b)
    assert [node.op_type for node in graph].count("QuantizeLinear") == 1, "rows are made once"
    path = folder / "product.onnx"
    save_model(ir.Model(graph, ir_version=10), path)
    return open_session(path, EngineConfig())


def expect(x: Array, weight: Array, bias: Array) -> npt.NDArray[np.float64]:
    """Return the product by the definition in `int8`."""
    integers, steps = quantize_channels(weight)
    scales = np.maximum(np.abs(x).max(axis=1, keepdims=True), np.float32(1e-20)) * np.float32(
        1 / 127
    )
    rows = np.clip(np.rint(x / scales), -128, 127).astype(np.int64)
    return 2 * ((rows @ integers.astype(np.int64)) * steps.astype(np.float64) * scales + bias)


@pytest.mark.parametrize("num_rows", [1, 7, 64])
def test_product_is_that_of_its_definition(tmp_path: Path, num_rows: int) -> None:
    random = np.random.default_rng()
    weight = random.normal(size=(96, 80)).astype(np.float32)
    weight[5] = 0.0
    bias = random.normal(size=96).astype(np.float32)
    x = random.normal(size=(num_rows, 80)) * np.exp(3.0 * random.normal(size=(num_rows, 1)))
    x[0] = 0.0
    x = x.astype(np.float32)
    product = compile_product(tmp_path, weight, bias).run(None, {"x": x})[0]
    # The integers are exact; only the scaling is rounded, in float32.
    expected = expect(x, weight, bias)
    np.testing.assert_allclose(product, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_a_row_does_not_depend_on_the_rows_beside_it(tmp_path: Path) -> None:
    random = np.random.default_rng()
    weight = random.normal(size=(96, 80)).astype(np.float32)
    session = compile_product(tmp_path, weight, np.zeros(96, np.float32))
    x = random.normal(size=(33, 80)).astype(np.float32)
    x[20] *= 1e4
    whole = session.run(None, {"x": x})[0]
    for index in (0, 20, 32):
        assert np.array_equal(session.run(None, {"x": x[index : index + 1]})[0][0], whole[index])


def test_largest_values_do_not_overflow(tmp_path: Path) -> None:
    """Processors without VNNI add two products of a uint8 and a weight in 16 bits."""
    weight = np.ones((16, 64), np.float32)
    integers, _ = quantize_channels(weight)
    assert 2 * 255 * int(np.abs(integers).max()) <= np.iinfo(np.int16).max
    session = compile_product(tmp_path, weight, np.zeros(16, np.float32))
    x = np.ones((3, 64), np.float32)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], 128.0, rtol=1e-6)


def relative_error(value: Array, exact: Array) -> float:
    return float(np.linalg.norm(value - exact) / np.linalg.norm(exact))


@pytest.fixture(scope="module")
def pair(
    made_once: MadeOnce, trained: Checkpoint, trained_engine_dir: Path
) -> Iterator[tuple[Engine, Engine]]:
    """The trained checkpoint in fp32 and in int8."""
    in_integers = made_once.engine("trained", trained, "int8")
    with load_engine(trained_engine_dir) as exact, load_engine(in_integers) as own:
        yield exact, own


def test_visual_tokens_are_near_those_of_fp32(
    pair: tuple[Engine, Engine], trained: Checkpoint
) -> None:
    exact, own = pair
    for seed in phantom_seeds("validation", 8):
        film = make_phantom(seed)
        grid = fit_grid(*film.pixels.shape, read_budget(trained))
        patches = preprocess(film.pixels, film.display_table, grid)
        size = (grid.height, grid.width)
        error = relative_error(own.encode(patches, size).tokens, exact.encode(patches, size).tokens)
        # 0.005 in the middle of 100 films (docs/performance.md). One scale a tensor gives 0.03.
        assert error < 0.01


def test_prefill_in_int8_gives_nearly_the_keys_and_values_of_fp32(
    pair: tuple[Engine, Engine], trained: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_phantom(phantom_seeds("validation", 1)[0])
    grid = fit_grid(*film.pixels.shape, read_budget(trained))
    visual = pair[0].encode(
        preprocess(film.pixels, film.display_table, grid), (grid.height, grid.width)
    )
    saved: list[dict[str, Array]] = []
    save = OnnxDecoder.save

    def spy(self: OnnxDecoder, slot: int, start: int, end: int) -> dict[str, Array]:
        saved.append(save(self, slot, start, end))
        return saved[-1]

    monkeypatch.setattr(OnnxDecoder, "save", spy)
    request = GenerationRequest(parse_prompt("Read it."), visual, SamplingParams(max_tokens=1))
    for engine in pair:
        list(engine.submit(request))
    exact, own = saved[0], saved[2]  # each has two segments; the first ends with the film
    for name, value in exact.items():
        # The first layer's error is that of one product, 0.5 %; it grows from layer to layer.
        assert 0.0 < relative_error(own[name], value) < 0.05, name

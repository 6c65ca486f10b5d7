"""The int4 decoder against transformers with the very same rounded weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import numpy_helper

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine import sequence
from cxr_reason.engine.base import (
    Array,
    Engine,
    GenerationRequest,
    SamplingParams,
    VisualInput,
)
from cxr_reason.engine.onnx import decoder
from cxr_reason.engine.onnx.int4 import pack, search_blocks
from cxr_reason.engine.reference.engine import ReferenceEngine
from cxr_reason.engine.registry import load_engine
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt

Film = tuple[Array, tuple[int, int]]


def read_rounded_weights(folder: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weight `[out, in]` of every int4 product of `decoder.onnx`, by its node's name."""
    graph = onnx.load(folder / "decoder.onnx").graph
    initializers = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    weights = {}
    for node in graph.node:
        if node.op_type == "MatMulNBits":
            packed, scales = (initializers[name] for name in node.input[1:3])
            # Two values a byte, the low half first, around a zero point of 8.
            values = np.stack([packed & 15, packed >> 4], axis=-1).astype(np.float32) - 8
            scales = scales.reshape(len(packed), -1, 1)
            columns = next(item.i for item in node.attribute if item.name == "K")
            blocks = values.reshape(*scales.shape[:2], -1) * scales
            weights[node.name] = blocks.reshape(len(packed), -1)[:, :columns]
    return weights


def first_logits(engine: Engine, film: VisualInput) -> Array:
    """Return the logits of the first token: what the sampler of a request is given."""
    seen: list[Array] = []

    class Spy(sequence.Sampler):
        def choose(self, logits: Array) -> int:
            seen.append(logits.copy())
            return super().choose(logits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence, "Sampler", Spy)
        request = GenerationRequest(
            parse_prompt(FIND_ABNORMALITIES), film, SamplingParams(max_tokens=1)
        )
        list(engine.submit(request))
    return seen[0]


def test_int4_logits_are_those_of_the_rounded_weights(
    engine_dirs: dict[str, Path],
    nano: Checkpoint,
    films: list[Film],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = read_rounded_weights(engine_dirs["int4"])
    assert len(weights) == 6 * 7 + 1
    # The int4 weights do the prefill too: what int8 does to it is tested by itself.
    monkeypatch.setattr(decoder, "PREFILL_MODEL", "none.onnx")
    with ReferenceEngine(nano) as rounded, load_engine(engine_dirs["int4"]) as engine:
        encoded = [rounded.encode(*film) for film in films]
        exact = [first_logits(rounded, film) for film in encoded]
        model = rounded._model
        with torch.no_grad():
            # Embeddings keep their precision; only the output layer that they are tied to is int4.
            head = torch.nn.Linear(model.config.text_config.hidden_size, 1, bias=False)
            head.weight = torch.nn.Parameter(torch.from_numpy(weights.pop("/lm_head/MatMul_Q4")))
            model.lm_head = head
            for name, weight in weights.items():
                layer = name.removeprefix("/model/").removesuffix("/MatMul_Q4")
                path = layer.replace("attn", "self_attn").replace("/", ".")
                module = model.model.language_model.get_submodule(path)
                module.weight.copy_(torch.from_numpy(weight))
        for film, unrounded in zip(encoded, exact, strict=True):
            expected, logits = first_logits(rounded, film), first_logits(engine, film)
            # Accuracy level 4 also rounds each block of activations to int8, about 0.5 % a
            # product; rounding the weights changes the logits far more than that.
            assert cosine(logits, expected) > 0.99
            assert cosine(logits, expected) > cosine(logits, unrounded)


@pytest.mark.parametrize("columns", [256, 200], ids=["whole-blocks", "short-block"])
def test_searched_scales_are_nearer_than_those_of_the_largest_value(columns: int) -> None:
    weight = torch.randn(64, columns, generator=torch.Generator().manual_seed(columns))
    weight[3] = 0.0
    weight[5, 7] = 100.0
    integers, steps = search_blocks(weight, 128)
    assert integers.shape == (64, 2, 128) and steps.shape == (64, 2)
    assert integers.min() >= -8 and integers.max() <= 7
    found = (integers * steps[..., None]).reshape(64, -1)[:, :columns]
    plain = round_to_largest(weight, 128)
    error, plain_error = (
        np.square(value - weight.numpy()).sum(1) for value in (found, plain.numpy())
    )
    assert (error <= plain_error + 1e-6).all()
    assert error.sum() < 0.95 * plain_error.sum()
    assert not found[3].any()


def round_to_largest(weight: torch.Tensor, block_size: int) -> torch.Tensor:
    """Round as onnxruntime does: the value of the largest magnitude becomes -8."""
    columns = weight.shape[1]
    blocks = torch.nn.functional.pad(weight, (0, -columns % block_size)).reshape(-1, block_size)
    step = blocks.gather(1, blocks.abs().argmax(1, keepdim=True)) / -8.0
    step[step == 0.0] = 1.0
    rounded = (blocks / step).round().clamp(-8, 7) * step
    return rounded.reshape(len(weight), -1)[:, :columns]


def test_packed_values_come_low_half_first() -> None:
    integers = np.array([[[-8, 7, 0, 1]]], np.int8)
    assert pack(integers).tolist() == [[[0xF0, 0x98]]]


def cosine(a: Array, b: Array) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

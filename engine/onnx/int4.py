"""int4 weights whose scales are searched for the least error, in place of the builder's.

The builder takes each block's scale from its largest value. Here each block tries scales around
that one, takes for each the best factor for the integers that it gives, and keeps the pair with the
least squared error. Blocks of 128 come out as near to the weights as the builder's blocks of 32,
and are read faster (`docs/performance.md`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import Tensor

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.onnx.decoder import DECODER_MODEL
from cxr_reason.engine.onnx.decoder_weights import load_weight
from cxr_reason.engine.onnx.rewrite import replace_model

# What the largest value of a block is rounded to: from clipped to short of the range's end at -8.
_LARGEST = tuple(-9.0 + 0.25 * step for step in range(13))
_ZERO_POINT = 8  # of the packed values, 0 to 15
_CHUNK_VALUES = 2**19  # 2 MiB in fp32: what is searched at a time stays in the cache
_LEAST = 1e-20  # for a block of zeros


def refine_int4(checkpoint: Checkpoint, folder: Path) -> None:
    """Rewrite the int4 weights of `decoder.onnx` from the checkpoint.

    Args:
        checkpoint: The source of the weights.
        folder: With `decoder.onnx` and its weights from the builder.
    """
    path = folder / DECODER_MODEL
    model = ir.load(path)
    for node in model.graph:
        if node.op_type == "MatMulNBits":
            _, packed, scales = node.inputs[:3]
            assert packed is not None
            assert scales is not None
            weight = load_weight(checkpoint, node.name or "")
            integers, steps = search_blocks(weight, int(node.attributes["block_size"].as_int()))
            _put(packed, pack(integers))
            _put(scales, steps)
    replace_model(model, path)


def search_blocks(
    weight: Tensor, block_size: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round a weight to 4 bits with one step for each block of a row.

    Args:
        weight: float32 `[N, K]`.
        block_size: Values of a row that share a step; the last block may be short.

    Returns:
        int8 `[N, blocks, block_size]` in -8..7, zeros where a block is short, and the steps,
        float32 `[N, blocks]`.
    """
    rows, columns = weight.shape
    weight = torch.nn.functional.pad(weight, (0, -columns % block_size))
    blocks = weight.reshape(-1, block_size)
    integers = torch.empty(blocks.shape, dtype=torch.int8)
    steps = torch.empty(len(blocks))
    chunk = max(1, _CHUNK_VALUES // block_size)
    for start in range(0, len(blocks), chunk):
        part = slice(start, start + chunk)
        integers[part], steps[part] = _search(blocks[part])
    shape = (rows, -1, block_size)
    return integers.reshape(shape).numpy(), steps.reshape(rows, -1).numpy()


def pack(integers: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Return two values a byte, the first in the low half, as MatMulNBits reads them."""
    shifted = (integers + _ZERO_POINT).astype(np.uint8)
    return np.bitwise_or(shifted[..., 0::2], shifted[..., 1::2] << np.uint8(4))


def _search(blocks: Tensor) -> tuple[Tensor, Tensor]:
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    best_gain = torch.full((len(blocks),), -1.0)
    best_values = torch.zeros_like(blocks)
    best_steps = torch.full((len(blocks),), _LEAST)
    for end in _LARGEST:
        inverse = end / torch.where(largest.abs() < _LEAST, torch.inf, largest)
        values = (blocks * inverse).round_().clamp_(-8.0, 7.0)
        # The step s with the least |x - s q|² is x·q / q·q; it takes (x·q)² / q·q off |x|².
        along, length = (blocks * values).sum(1), values.square().sum(1).clamp_(min=_LEAST)
        gain = along.square() / length
        is_better = gain > best_gain
        best_gain = torch.where(is_better, gain, best_gain)
        best_values = torch.where(is_better[:, None], values, best_values)
        best_steps = torch.where(is_better, along / length, best_steps)
    return best_values.to(torch.int8), best_steps


def _put(initializer: ir.Value, array: npt.NDArray[np.generic]) -> None:
    old = initializer.const_value
    assert old is not None
    initializer.const_value = ir.tensor(array.reshape(old.shape.numpy()), name=initializer.name)

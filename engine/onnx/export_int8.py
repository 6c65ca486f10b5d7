"""The parts that see many rows at once, in int8: vision tower, and the decoder's prefill.

With one row at a time, reading the weights takes most of the time, and int4 is faster. With many
rows, the multiplications do, and int8 is faster.
"""

from __future__ import annotations

import re
from pathlib import Path

import onnx_ir as ir

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.onnx.decoder import DECODER_MODEL, PREFILL_MODEL
from cxr_reason.engine.onnx.decoder_weights import is_layer_product, load_weight
from cxr_reason.engine.onnx.int8 import Int8Writer
from cxr_reason.engine.onnx.rewrite import replace_model, save_model
from cxr_reason.engine.onnx.vision import VISION_MODEL

_VISION_LAYER = re.compile(r"blocks\.\d+\.")


def quantize_vision(folder: Path) -> None:
    """Rewrite `vision.onnx` with the products of its blocks in int8.

    Patch embedding and projector stay in fp32: a hundredth of the work, and everything
    the model sees passes through them.

    Args:
        folder: With `vision.onnx` in fp32 and its weights.
    """
    path = folder / VISION_MODEL
    model = ir.load(path)
    writer = Int8Writer(model.graph)
    for node in [node for node in model.graph if node.op_type == "Gemm"]:
        _, weight, bias = node.inputs
        assert weight is not None
        assert weight.const_value is not None
        if _VISION_LAYER.match(weight.name or ""):
            writer.replace(node, weight.const_value.numpy(), bias)  # [N, K]: the export's transB
    replace_model(model, path)


def write_prefill(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `prefill.onnx`: `decoder.onnx` with int8 weights from the checkpoint, without logits.

    What is not needed is removed: the output layer, and the last layer after its keys and values.

    Args:
        checkpoint: The source of the weights.
        folder: With `decoder.onnx`; gets `prefill.onnx` and `prefill.onnx.data`.
    """
    model = ir.load(folder / DECODER_MODEL)
    graph = model.graph
    graph.outputs[:] = [value for value in graph.outputs if value.name != "logits"]
    writer = Int8Writer(graph)
    for node in list(graph):
        if is_layer_product(node.name):
            writer.replace(node, load_weight(checkpoint, node.name or "").numpy())
    save_model(model, folder / PREFILL_MODEL)

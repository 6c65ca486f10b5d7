"""Which tensor of the checkpoint a product of the builder's decoder graph multiplies with."""

from __future__ import annotations

import re

from torch import Tensor

from cxr_reason.checkpoint import Checkpoint

_LAYER = re.compile(r"/model/layers\.(\d+)/(attn|mlp)/(\w+_proj)/MatMul")
_HEAD = "/lm_head/MatMul"
_PARTS = {"attn": "self_attn", "mlp": "mlp"}


def is_layer_product(node_name: str | None) -> bool:
    """Return whether a node is a product of a layer; the output layer is in none."""
    return _LAYER.match(node_name or "") is not None


def load_weight(checkpoint: Checkpoint, node_name: str) -> Tensor:
    """Return the weight of a product, float32 `[N, K]`.

    Args:
        checkpoint: The source.
        node_name: Of a layer's product, or of the output layer's.

    Raises:
        CheckpointError: The weights do not hold it.
    """
    layer = _LAYER.match(node_name)
    if layer is not None:
        number, part, projection = layer.groups()
        name = f"layers.{number}.{_PARTS[part]}.{projection}.weight"
    else:
        assert node_name.startswith(_HEAD), node_name
        is_tied = "lm_head.weight" not in checkpoint.tensor_files
        name = "embed_tokens.weight" if is_tied else "lm_head.weight"
    return checkpoint.load_tensor(name).float()

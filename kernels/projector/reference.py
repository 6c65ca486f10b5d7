"""The op in plain torch, in float32: what the kernels are tested against."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

EPS = 1e-6  # of the norm, in Qwen2.5-VL
PATCHES_PER_TOKEN = 4


def projector_reference(
    x: Tensor,  # [N, D]
    norm_weight: Tensor,  # [D]
    fc1_weight: Tensor,  # [4 D, 4 D]
    fc1_bias: Tensor,  # [4 D]
    fc2_weight: Tensor,  # [out, 4 D]
    fc2_bias: Tensor,  # [out]
    *,
    merge_order: Tensor | None = None,  # [N / 4]
) -> Tensor:  # [N / 4, out]
    """Same as `cxr_reason.kernels.projector.projector`, unchecked; any floating dtype."""
    wide = x.float()
    rstd = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + EPS)
    merged = (wide * rstd * norm_weight.float()).reshape(
        x.shape[0] // PATCHES_PER_TOKEN, PATCHES_PER_TOKEN * x.shape[1]
    )
    hidden = F.gelu(F.linear(merged, fc1_weight.float(), fc1_bias.float()))
    tokens = F.linear(hidden, fc2_weight.float(), fc2_bias.float()).to(x.dtype)
    return tokens if merge_order is None else tokens[merge_order]

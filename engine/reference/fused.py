"""Our kernels in place of transformers' own modules."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cxr_reason.errors import EngineError
from cxr_reason.kernels.projector import find_obstacle, projector

Kernels = Literal["auto", "triton", "torch"]

logger = logging.getLogger(__name__)


class FusedMerger(nn.Module):
    """`Qwen2_5_VLPatchMerger` with the parameters of one, run by `cxr::projector`.

    Args:
        merger: The module it replaces, in bfloat16 or float16.
    """

    def __init__(self, merger: Any) -> None:
        super().__init__()
        self.ln_q: Any = merger.ln_q
        self.mlp: Any = merger.mlp

    def forward(self, x: Tensor) -> Tensor:  # [N, D] -> [N / 4, out]
        """Project; the order of tokens stays, the tower puts it right after this module."""
        fc1, _, fc2 = self.mlp
        return projector(
            x.contiguous(),
            self.ln_q.weight,
            fc1.weight,
            fc1.bias,
            fc2.weight,
            fc2.bias,
            backend="triton",
        )


def decide_kernels(
    kernels: Kernels, device: torch.device, dtype: torch.dtype, *, size: int, out_size: int
) -> bool:
    """Return whether our Triton kernels run, and log why.

    Args:
        kernels: "triton" or "torch" is a demand; "auto" takes triton on CUDA where it can.
        device: Of the model.
        dtype: Of the model.
        size: Width of a patch.
        out_size: Width of a visual token.

    Raises:
        EngineError: "triton" cannot run, or the name is unknown.
    """
    if kernels not in ("auto", "triton", "torch"):
        raise EngineError(f"kernels: {kernels!r}; must be auto, triton or torch")
    if kernels == "torch":
        return False
    obstacle = find_obstacle(device, dtype, size=size, out_size=out_size)
    if kernels == "triton":
        if obstacle:
            raise EngineError(f"kernels: 'triton' cannot run: {obstacle}, or pass kernels='auto'")
        return True
    # In the interpreter nothing hinders them, but they are for tests there.
    if obstacle is None and device.type == "cuda":
        logger.info("reference: triton kernels run, on %s in %s", device, dtype)
        return True
    logger.info("reference: plain torch runs, not the triton kernels: %s", obstacle or "no GPU")
    return False

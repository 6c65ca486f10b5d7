"""Tower output to visual tokens: norm, 2x2 concat, two Linears. README.md has the derivation."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from os import environ

import torch
from torch import Tensor

from cxr_reason.errors import EngineError
from cxr_reason.kernels.projector.reference import PATCHES_PER_TOKEN, projector_reference
from cxr_reason.kernels.projector.tuning import load_tuning, save_tuning

__all__ = ["BACKENDS", "find_obstacle", "load_tuning", "projector", "save_tuning"]

BACKENDS = ("auto", "triton", "torch")

logger = logging.getLogger(__name__)

_KERNEL_DTYPES = (torch.bfloat16, torch.float16)
_OLDEST_CAPABILITY = (8, 0)
_MAX_ELEMENTS = 2**31
_HAS_TRITON = find_spec("triton") is not None
_logged: set[str] = set()


def projector(
    x: Tensor,
    norm_weight: Tensor,
    fc1_weight: Tensor,
    fc1_bias: Tensor,
    fc2_weight: Tensor,
    fc2_bias: Tensor,
    *,
    merge_order: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Project the vision tower's output to visual tokens: the patch merger of Qwen2.5-VL.

    `fc2(gelu(fc1(rms_norm(x) with four patches side by side)))[merge_order]`, as
    `Qwen2_5_VLPatchMerger` in transformers `models/qwen2_5_vl/modeling_qwen2_5_vl.py`, with the
    exact GELU. All tensors have one dtype and device and are contiguous. For inference: the
    kernel has no gradient.

    Args:
        x: `[N, D]`, N a positive multiple of 4: patches in window order, the four of a token in
            a row.
        norm_weight: `[D]`.
        fc1_weight: `[4 D, 4 D]`, as `torch.nn.Linear` keeps it.
        fc1_bias: `[4 D]`.
        fc2_weight: `[out, 4 D]`.
        fc2_bias: `[out]`.
        merge_order: int32 or int64 `[N / 4]`, a permutation: row i of the result is token
            `merge_order[i]` of window order (`VisionPlan.merge_order`). None keeps window order.
            Values are not checked, which would wait for the device; the kernel leaves rows
            undefined that a wrong order does not name.
        backend: "triton" for the kernels (bfloat16 or float16, D a multiple of 32, out of 64),
            "torch" for plain torch in float32, "auto" for the kernels where they can run.

    Returns:
        `[N / 4, out]`, contiguous, in the dtype of x. Sums are in float32.

    Raises:
        TypeError: Dtypes or devices that differ, or an order that is not of integers.
        ValueError: Shapes or strides other than the above, or an unknown backend.
        EngineError: The backend "triton" cannot run these tensors here.
    """
    weights = (norm_weight, fc1_weight, fc1_bias, fc2_weight, fc2_bias)
    _check(x, weights, merge_order)
    if backend not in BACKENDS:
        raise ValueError(f"backend: {backend!r}; must be one of {', '.join(BACKENDS)}")
    if backend != "torch":
        obstacle = find_obstacle(x.device, x.dtype, size=x.shape[1], out_size=fc2_bias.shape[0])
        if backend == "triton" and obstacle:
            raise EngineError(f"projector: the triton kernels cannot run: {obstacle}")
        # The interpreter runs only if it is asked for.
        if backend == "triton" or (obstacle is None and x.is_cuda):
            _log_once("projector: the triton kernels run")
            return torch.ops.cxr.projector(x, *weights, merge_order)
        _log_once(f"projector: plain torch runs: {obstacle or 'triton is interpreted'}")
    return projector_reference(x, *weights, merge_order=merge_order)


def find_obstacle(
    device: torch.device, dtype: torch.dtype, *, size: int, out_size: int
) -> str | None:
    """Say what keeps the Triton kernels from running, and what to do; None if nothing does.

    Args:
        device: Where the tensors are.
        dtype: Theirs.
        size: Width of a patch.
        out_size: Width of a visual token.
    """
    if dtype not in _KERNEL_DTYPES:
        return f"they take bfloat16 or float16, not {dtype}; convert the model"
    if size % 32 or out_size % 64:
        return f"{size} → {out_size}: need a patch width in 32s and a token width in 64s; use torch"
    if not _HAS_TRITON:
        return "triton is not installed; pip install triton"
    if device.type != "cuda":
        if environ.get("TRITON_INTERPRET") == "1":
            return None
        return f"they need an NVIDIA GPU, the tensors are on {device.type}; use torch"
    if torch.compiler.is_compiling():  # the first eager call has checked
        return None
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST_CAPABILITY:
        return f"they need compute capability 8.0, this GPU has {capability}; use torch"
    return None


@torch.library.custom_op("cxr::projector", mutates_args=())
def _projector(
    x: Tensor,
    norm_weight: Tensor,
    fc1_weight: Tensor,
    fc1_bias: Tensor,
    fc2_weight: Tensor,
    fc2_bias: Tensor,
    merge_order: Tensor | None,
) -> Tensor:
    # Triton decides at import whether kernels are compiled or interpreted: import on first use.
    from cxr_reason.kernels.projector.triton_kernel import projector_triton

    return projector_triton(x, norm_weight, fc1_weight, fc1_bias, fc2_weight, fc2_bias, merge_order)


@_projector.register_fake
def _(
    x: Tensor,
    norm_weight: Tensor,
    fc1_weight: Tensor,
    fc1_bias: Tensor,
    fc2_weight: Tensor,
    fc2_bias: Tensor,
    merge_order: Tensor | None,
) -> Tensor:
    return x.new_empty((x.shape[0] // PATCHES_PER_TOKEN, fc2_weight.shape[0]))


def _check(x: Tensor, weights: tuple[Tensor, ...], merge_order: Tensor | None) -> None:
    if any(w.dtype != x.dtype or w.device != x.device for w in weights):
        raise TypeError(f"weights must have the dtype and device of x: {x.dtype} on {x.device}")
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[0] % PATCHES_PER_TOKEN:
        raise ValueError(f"x must be [N, D], N a positive multiple of 4, got {tuple(x.shape)}")
    size, width = x.shape[1], PATCHES_PER_TOKEN * x.shape[1]
    out = weights[-1].shape[0]
    expected = ((size,), (width, width), (width,), (out, width), (out,))
    shapes = tuple(tuple(w.shape) for w in weights)
    if shapes != expected:
        raise ValueError(f"weights must be {expected}, got {shapes}")
    if not all(tensor.is_contiguous() for tensor in (x, *weights)):
        raise ValueError("x and weights must be contiguous")
    if max(x.numel(), x.shape[0] // PATCHES_PER_TOKEN * out) >= _MAX_ELEMENTS:
        raise ValueError(
            f"x has {x.shape[0]} patches: over 2^31 elements; send fewer films at once"
        )
    if merge_order is None:
        return
    if merge_order.dtype not in (torch.int32, torch.int64) or merge_order.device != x.device:
        raise TypeError(f"merge_order must be int32 or int64 on {x.device}")
    if merge_order.shape != (x.shape[0] // PATCHES_PER_TOKEN,) or not merge_order.is_contiguous():
        raise ValueError(
            f"merge_order must be [{x.shape[0] // PATCHES_PER_TOKEN}] and contiguous, "
            f"got {tuple(merge_order.shape)}"
        )


def _log_once(message: str) -> None:
    if torch.compiler.is_compiling() or message in _logged:
        return
    _logged.add(message)
    logger.info(message)

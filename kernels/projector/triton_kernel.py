"""The projector in the Triton language: two launches, float32 sums. README.md has the derivation.

Names in kernels: `b_` a block of values, `p_` pointers, `i_` an index, `o_` offsets, `m_` a mask;
capitals are sizes. T is the number of tokens, D the width of a patch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.errors import OutOfResources

from cxr_reason.kernels.aot.variants import KernelVariant
from cxr_reason.kernels.interpreter import correct_bfloat16, is_interpreted
from cxr_reason.kernels.projector.reference import EPS, PATCHES_PER_TOKEN
from cxr_reason.kernels.projector.tuning import (
    BlockConfig,
    Problem,
    bucket_tokens,
    choose_config,
)

if is_interpreted():
    correct_bfloat16()

# Few tokens leave a GPU short of blocks, so there are narrow tiles; many re-read the weights from
# L2 once for each row of tiles, so there are tall ones. fc1 keeps two sums (segment and total):
# 128 x 128 is what registers hold. All fit into the 99 KiB of shared memory of sm_86, 89 and 120,
# and the defaults, which are compiled ahead of time, spill no registers on any architecture.
FC1_CONFIGS = (
    BlockConfig(16, 64, 128, 4, 4),
    BlockConfig(16, 128, 64, 4, 4),
    BlockConfig(32, 64, 64, 4, 4),
    BlockConfig(32, 128, 64, 4, 4),
    BlockConfig(64, 64, 64, 4, 4),
    BlockConfig(64, 128, 32, 4, 4),
    BlockConfig(64, 128, 64, 8, 4),
    BlockConfig(128, 64, 32, 4, 4),
    BlockConfig(128, 128, 32, 8, 4),
    BlockConfig(128, 128, 64, 8, 3),
)
FC1_DEFAULT = BlockConfig(64, 128, 32, 4, 4)
FC2_CONFIGS = (
    BlockConfig(16, 64, 128, 4, 4),
    BlockConfig(32, 64, 128, 4, 3),
    BlockConfig(32, 64, 64, 4, 4),
    BlockConfig(64, 64, 64, 4, 4),
    BlockConfig(64, 64, 128, 4, 3),
    BlockConfig(64, 128, 64, 4, 4),
    BlockConfig(128, 64, 64, 4, 4),
    BlockConfig(128, 128, 64, 8, 3),
)
FC2_DEFAULT = BlockConfig(64, 64, 64, 4, 4)
CONFIGS = {"fc1": (FC1_CONFIGS, FC1_DEFAULT), "fc2": (FC2_CONFIGS, FC2_DEFAULT)}
# Patch width and columns must be multiples of these; the defaults' blocks divide them.
SIZE_MULTIPLE = 32
COLUMNS_MULTIPLE = 64


@triton.jit
def projector_fc1_kernel(
    x,  # [4 T, D]
    norm_weight,  # [D]
    weight,  # [4 D, 4 D]
    bias,  # [4 D]
    merge_order,  # [T], or None
    hidden,  # [T, 4 D], written
    inverse_order,  # [T] int32, written; None with merge_order
    T,
    D: tl.constexpr,
    EPSILON: tl.constexpr,
    BT: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """First launch: hidden = gelu(merge(rms_norm(x)) @ weight^T + bias), and the inverse order.

    With r(t, s) the reciprocal root mean square of patch s of token t,

        hidden[t, n] = gelu(bias[n] + sum_s r(t, s) * sum_k x[4t + s, k] g[k] W[n, s D + k])
        r(t, s)      = (sum_k x[4t + s, k]^2 / D + EPSILON)^-1/2

    The inner sums of a segment s, over products and over squares, are taken in one pass over x;
    r is known at the segment's end and scales the whole partial sum.

    References:
        Zhang and Sennrich 2019, arXiv 1910.07467 (the norm).
        transformers v5, models/qwen2_5_vl/modeling_qwen2_5_vl.py, `Qwen2_5_VLPatchMerger`.
    """
    H: tl.constexpr = 4 * D
    STEPS: tl.constexpr = D // BK
    i_t, i_n = tl.program_id(0), tl.program_id(1)
    o_t = i_t * BT + tl.arange(0, BT)
    o_n = i_n * BN + tl.arange(0, BN)
    o_k = tl.arange(0, BK)
    m_t = o_t < T

    if merge_order is not None:  # noqa: SIM102, the compiler knows the one, not the other
        if i_n == 0:
            b_from = tl.load(merge_order + o_t, mask=m_t, other=0)
            tl.store(inverse_order + b_from, o_t, mask=m_t & (b_from >= 0) & (b_from < T))

    # x * g may leave the range of float16 although the normalised r * x * g does not; r takes the
    # factor back. That is exact but for subnormal products, whose error times r is below 2^-11.
    SHRINK: tl.constexpr = 0.0625 if x.dtype.element_ty == tl.float16 else 1.0

    # The four patches of a token lie side by side, so x is [T, 4 D] too.
    p_x = x + o_t[:, None] * H + o_k[None, :]
    p_w = weight + o_n[None, :] * H + o_k[:, None]
    # Squares are summed by a product with ones: as a reduction they would need x in a second
    # register layout, and two layouts cost the shared tile its swizzle (README.md, Squares).
    b_ones = tl.full([BK, 16], 1.0, tl.float32).to(tl.bfloat16)
    b_hidden = tl.zeros([BT, BN], tl.float32)
    b_segment = tl.zeros([BT, BN], tl.float32)
    b_squares = tl.zeros([BT, 16], tl.float32)
    # One loop for all segments: loads of the next segment start before this one ends.
    for i in range(4 * STEPS):
        i_step = i % STEPS
        b_x = tl.load(p_x + i * BK, mask=m_t[:, None], other=0.0).to(tl.float32)
        b_w = tl.load(p_w + i * BK)
        b_g = tl.load(norm_weight + i_step * BK + o_k).to(tl.float32) * SHRINK
        b_squares = tl.dot((b_x * b_x).to(tl.bfloat16), b_ones, b_squares)
        b_segment = tl.dot((b_x * b_g[None, :]).to(b_w.dtype), b_w, b_segment)
        if i_step == STEPS - 1:
            b_mean = tl.max(b_squares, axis=1) / D  # all 16 columns are alike
            b_hidden += b_segment * (tl.rsqrt(b_mean + EPSILON) / SHRINK)[:, None]
            # Not tl.zeros: that becomes a select of every step's sums, which on sm_90 the tensor
            # cores still write then (README.md, Reset).
            b_squares *= 0.0
            b_segment *= 0.0

    b_hidden += tl.load(bias + o_n).to(tl.float32)[None, :]
    b_hidden = 0.5 * b_hidden * (1.0 + tl.erf(b_hidden * 0.7071067811865476))  # 1 / sqrt(2)
    p_hidden = hidden + o_t[:, None] * H + o_n[None, :]
    tl.store(p_hidden, b_hidden.to(hidden.dtype.element_ty), mask=m_t[:, None])


@triton.jit
def projector_fc2_kernel(
    hidden,  # [T, H]
    weight,  # [OUT, H]
    bias,  # [OUT]
    inverse_order,  # [T] int32, or None
    out,  # [T, OUT], written
    T,
    H: tl.constexpr,
    OUT: tl.constexpr,
    BT: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """Second launch: out[inverse_order[t]] = hidden[t] @ weight^T + bias.

    So row i of `out` is token merge_order[i] of window order.

    References:
        transformers v5, models/qwen2_5_vl/modeling_qwen2_5_vl.py: `reverse_indices` in
        `Qwen2_5_VisionTransformerPretrainedModel.forward`.
    """
    i_t, i_n = tl.program_id(0), tl.program_id(1)
    o_t = i_t * BT + tl.arange(0, BT)
    o_n = i_n * BN + tl.arange(0, BN)
    o_k = tl.arange(0, BK)
    m_t = o_t < T

    p_h = hidden + o_t[:, None] * H + o_k[None, :]
    p_w = weight + o_n[None, :] * H + o_k[:, None]
    b_out = tl.zeros([BT, BN], tl.float32)
    for i_k in range(0, H, BK):
        b_h = tl.load(p_h + i_k, mask=m_t[:, None], other=0.0)
        b_w = tl.load(p_w + i_k)
        b_out = tl.dot(b_h, b_w, b_out)
    b_out += tl.load(bias + o_n).to(tl.float32)[None, :]

    o_to = o_t
    if inverse_order is not None:
        o_to = tl.load(inverse_order + o_t, mask=m_t, other=0)
        # An order that is no permutation leaves rows of the inverse unwritten: stay inside `out`.
        m_t = m_t & (o_to >= 0) & (o_to < T)
    p_out = out + o_to[:, None] * OUT + o_n[None, :]
    tl.store(p_out, b_out.to(out.dtype.element_ty), mask=m_t[:, None])


def projector_triton(
    x: Tensor,
    norm_weight: Tensor,
    fc1_weight: Tensor,
    fc1_bias: Tensor,
    fc2_weight: Tensor,
    fc2_bias: Tensor,
    merge_order: Tensor | None,
) -> Tensor:
    """Same as `cxr_reason.kernels.projector.projector`, unchecked."""
    with torch.cuda.device_of(x):  # Triton launches on the current device
        hidden, inverse_order = fc1(x, norm_weight, fc1_weight, fc1_bias, merge_order)
        return fc2(hidden, fc2_weight, fc2_bias, inverse_order)


def fc1(
    x: Tensor,
    norm_weight: Tensor,
    weight: Tensor,
    bias: Tensor,
    merge_order: Tensor | None,
    config: BlockConfig | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Norm, concat, Linear, GELU.

    Args:
        x: `[4 T, D]`, contiguous.
        norm_weight: `[D]`.
        weight: `[4 D, 4 D]`, contiguous.
        bias: `[4 D]`.
        merge_order: `[T]`, a permutation, or None.
        config: Block sizes; None for the tuned ones.

    Returns:
        Hidden activations `[T, 4 D]` in the dtype of x, and the inverse of `merge_order`, int32.
    """
    tokens, size = x.shape[0] // PATCHES_PER_TOKEN, x.shape[1]
    width = weight.shape[0]
    hidden = torch.empty((tokens, width), dtype=x.dtype, device=x.device)
    inverse_order = None
    if merge_order is not None:
        inverse_order = torch.empty(tokens, dtype=torch.int32, device=x.device)

    def launch(config: BlockConfig) -> None:
        grid = (triton.cdiv(tokens, config.block_t), width // config.block_n)
        projector_fc1_kernel[grid](
            x, norm_weight, weight, bias, merge_order, hidden, inverse_order, tokens,
            D=size, EPSILON=EPS, **_block_sizes(config),
            num_warps=config.num_warps, num_stages=config.num_stages,
        )  # fmt: skip

    launch(config or _choose("fc1", x, size, width, tokens, launch))
    return hidden, inverse_order


def fc2(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    inverse_order: Tensor | None,
    config: BlockConfig | None = None,
) -> Tensor:
    """Linear, and each row to its place.

    Args:
        hidden: `[T, H]`, contiguous.
        weight: `[out, H]`, contiguous.
        bias: `[out]`.
        inverse_order: int32 `[T]`, the place of each row in the result, or None.
        config: Block sizes; None for the tuned ones.

    Returns:
        `[T, out]` in the dtype of hidden.
    """
    tokens, width = hidden.shape
    columns = weight.shape[0]
    out = torch.empty((tokens, columns), dtype=hidden.dtype, device=hidden.device)

    def launch(config: BlockConfig) -> None:
        grid = (triton.cdiv(tokens, config.block_t), columns // config.block_n)
        projector_fc2_kernel[grid](
            hidden, weight, bias, inverse_order, out, tokens,
            H=width, OUT=columns, **_block_sizes(config),
            num_warps=config.num_warps, num_stages=config.num_stages,
        )  # fmt: skip

    launch(config or _choose("fc2", hidden, width, columns, tokens, launch))
    return out


def fitting_configs(
    configs: Sequence[BlockConfig], depth: int, columns: int
) -> tuple[BlockConfig, ...]:
    """Return the configurations whose blocks divide sum and columns: kernels mask rows only."""
    return tuple(
        config
        for config in configs
        if depth % config.block_k == 0 and columns % config.block_n == 0
    )


def _choose(
    kernel: str,
    x: Tensor,
    depth: int,
    columns: int,
    tokens: int,
    launch: Callable[[BlockConfig], None],
) -> BlockConfig:
    configs, default = CONFIGS[kernel]
    problem = Problem(
        kernel=kernel,
        device=_device_name(x.device),
        dtype=str(x.dtype).removeprefix("torch."),
        depth=depth,
        columns=columns,
        tokens=bucket_tokens(tokens),
    )
    measure = _timer(launch) if _can_measure(x) else None
    return choose_config(problem, fitting_configs(configs, depth, columns), default, measure)


def _can_measure(x: Tensor) -> bool:
    return x.is_cuda and not torch.cuda.is_current_stream_capturing()


def _timer(launch: Callable[[BlockConfig], None]) -> Callable[[BlockConfig], float]:
    def measure(config: BlockConfig) -> float:
        try:
            # It empties the L2 cache between runs, as the tower and the decoder do in service.
            return float(
                triton.testing.do_bench(
                    lambda: launch(config), warmup=5, rep=30, return_mode="median"
                )
            )
        except OutOfResources:
            return math.inf

    return measure


def _make_variants() -> tuple[KernelVariant, ...]:
    """List both kernels for each dtype, at the shapes of the 3B model and of nano."""
    variants = []
    for dtype in ("bf16", "fp16"):
        tensor = f"*{dtype}"
        for shape, size, columns in (("3b", 1280, 2048), ("nano", 192, 256)):
            sizes = {"BT": "constexpr", "BN": "constexpr", "BK": "constexpr"}
            variants.append(
                KernelVariant(
                    name=f"projector_fc1_{shape}_{dtype}",
                    fn=projector_fc1_kernel,
                    signature={
                        **dict.fromkeys(("x", "norm_weight", "weight", "bias"), tensor),
                        "merge_order": "*i64", "hidden": tensor, "inverse_order": "*i32",
                        "T": "i32", "D": "constexpr", "EPSILON": "constexpr", **sizes,
                    },
                    constexprs={"D": size, "EPSILON": EPS, **_block_sizes(FC1_DEFAULT)},
                    num_warps=FC1_DEFAULT.num_warps,
                    num_stages=FC1_DEFAULT.num_stages,
                    grid_rule="cdiv(T, BT), 4 * D // BN, 1",
                    aligned=("x", "norm_weight", "weight", "bias", "hidden"),
                )
            )  # fmt: skip
            variants.append(
                KernelVariant(
                    name=f"projector_fc2_{shape}_{dtype}",
                    fn=projector_fc2_kernel,
                    signature={
                        **dict.fromkeys(("hidden", "weight", "bias"), tensor),
                        "inverse_order": "*i32", "out": tensor,
                        "T": "i32", "H": "constexpr", "OUT": "constexpr", **sizes,
                    },
                    constexprs={"H": 4 * size, "OUT": columns, **_block_sizes(FC2_DEFAULT)},
                    num_warps=FC2_DEFAULT.num_warps,
                    num_stages=FC2_DEFAULT.num_stages,
                    grid_rule="cdiv(T, BT), OUT // BN, 1",
                    aligned=("hidden", "weight", "bias", "out"),
                )
            )  # fmt: skip
    return tuple(variants)


def _block_sizes(config: BlockConfig) -> dict[str, int]:
    return {"BT": config.block_t, "BN": config.block_n, "BK": config.block_k}


AOT_VARIANTS = _make_variants()


@lru_cache
def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

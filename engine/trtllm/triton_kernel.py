"""Our kernels with their arguments in the order in which TensorRT passes them.

That order is: input pointers, integers, output pointers. Compiled, each of these is the kernel it
calls and nothing else.
"""

from __future__ import annotations

import triton
import triton.language as tl

from cxr_reason.kernels.preprocess.triton_kernel import preprocess_kernel
from cxr_reason.kernels.projector.triton_kernel import projector_fc1_kernel, projector_fc2_kernel


@triton.jit
def preprocess_plugin_kernel(
    pixels_ptr,
    table_ptr,
    row_starts_ptr,
    row_weights_ptr,
    column_starts_ptr,
    column_weights_ptr,
    slots_ptr,
    width,
    entries,
    row_taps,
    column_taps,
    grid_height,
    grid_width,
    patches_ptr,
    HAS_SLOTS: tl.constexpr,
    SPLIT_LIGHT: tl.constexpr,
    TILE_H: tl.constexpr,
    TILE_W: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """See `preprocess_kernel`; rows follow each other without a gap."""
    preprocess_kernel(
        pixels_ptr,
        table_ptr,
        row_starts_ptr,
        row_weights_ptr,
        column_starts_ptr,
        column_weights_ptr,
        slots_ptr,
        patches_ptr,
        width,
        width.to(tl.int64),
        entries,
        row_taps,
        column_taps,
        grid_height,
        grid_width,
        HAS_SLOTS,
        SPLIT_LIGHT,
        TILE_H,
        TILE_W,
        BLOCK_R,
        BLOCK_C,
    )


@triton.jit
def fc1_plugin_kernel(
    x,
    norm_weight,
    weight,
    bias,
    merge_order,
    T,
    hidden,
    inverse_order,
    D: tl.constexpr,
    EPSILON: tl.constexpr,
    BT: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """See `projector_fc1_kernel`."""
    projector_fc1_kernel(
        x, norm_weight, weight, bias, merge_order, hidden, inverse_order, T, D, EPSILON, BT, BN, BK
    )


@triton.jit
def fc2_plugin_kernel(
    hidden,
    weight,
    bias,
    inverse_order,
    T,
    out,
    H: tl.constexpr,
    OUT: tl.constexpr,
    BT: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """See `projector_fc2_kernel`."""
    projector_fc2_kernel(hidden, weight, bias, inverse_order, out, T, H, OUT, BT, BN, BK)

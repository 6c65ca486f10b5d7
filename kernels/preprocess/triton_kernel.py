"""The op as one Triton kernel. README.md has the derivation, `triton_op.py` the call from PyTorch.

Names: `b_` a block of values, `p_` pointers, `i_` an index, `o_` offsets; capitals are constants.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from cxr_reason.kernels.aot.variants import KernelVariant
from cxr_reason.kernels.interpreter import correct_bfloat16, is_interpreted
from cxr_reason.kernels.preprocess.geometry import MERGE_SIZE, PATCH_SIZE
from cxr_reason.kernels.preprocess.taps import WEIGHT_SCALE

PATCH = tl.constexpr(PATCH_SIZE)
MERGE = tl.constexpr(MERGE_SIZE)
UNSCALE = tl.constexpr(1.0 / WEIGHT_SCALE)

if is_interpreted():
    correct_bfloat16()


@triton.jit
def split(x):
    """Return float16 high and low parts of a float32 block: together 22 of its 24 bits."""
    high = x.to(tl.float16)
    return high, (x - high.to(tl.float32)).to(tl.float16)


@triton.jit
def unpack(pair):
    """Return the float16 high and low parts in an int32 block of `pack_weights`."""
    high = pair.to(tl.int16).to(tl.float16, bitcast=True)
    return high, (pair >> 16).to(tl.int16).to(tl.float16, bitcast=True)


@triton.jit
def load_stored(pixels_ptr, o_row, o_column, i_row_end, i_column_end, row_stride):
    """Load stored values `[rows, columns]`; past the end the last row, and 0."""
    # 64 bits: a view may have a row stride of any size.
    p_rows = pixels_ptr + tl.minimum(o_row, i_row_end - 1).to(tl.int64)[:, None] * row_stride
    # Tiles share pixels through L2; L1 is left to the table.
    is_inside = (o_column < i_column_end)[None, :]
    return tl.load(p_rows + o_column[None, :], mask=is_inside, other=0, cache_modifier=".cg")


@triton.jit
def preprocess_kernel(
    pixels_ptr,
    table_ptr,
    row_starts_ptr,
    row_weights_ptr,
    column_starts_ptr,
    column_weights_ptr,
    slots_ptr,
    patches_ptr,
    width,
    row_stride,
    entries,
    row_taps,
    column_taps,
    grid_height,
    grid_width,
    HAS_SLOTS: tl.constexpr,
    SPLIT_LIGHT: tl.constexpr,
    TILE_H: tl.constexpr,
    TILE_W: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Make a tile of the result: `TILE_H // PATCH` patches down and `TILE_W // PATCH` across.

    out[y, x] = clamp(Σ_c (Σ_r down[y, r] · table[pixels[r, c]]) · across[x, c], 0, 1)

    The inner sum comes first because its factor, the looked-up block, is used as it arrives.
    A product of float32 is three of float16 parts (high · high + high · low + low · high) on
    tensor cores, within 2^-22, with float32 sums. Without SPLIT_LIGHT intensities are rounded to
    float16, which costs as much as rounding the result does.

    The filter is `precompute_coeffs` and `ImagingResample*` of Pillow:
    https://github.com/python-pillow/Pillow/blob/11.0.0/src/libImaging/Resample.c
    """
    DOWN: tl.constexpr = TILE_H // PATCH
    ACROSS: tl.constexpr = TILE_W // PATCH
    o_y = tl.program_id(1) * (DOWN * PATCH) + tl.arange(0, TILE_H)
    o_x = tl.program_id(0) * (ACROSS * PATCH) + tl.arange(0, TILE_W)
    i_y = tl.program_id(1) * (DOWN * PATCH)
    i_x = tl.program_id(0) * (ACROSS * PATCH)
    i_y_end = tl.minimum(i_y + DOWN * PATCH, grid_height * PATCH)
    i_x_end = tl.minimum(i_x + ACROSS * PATCH, grid_width * PATCH)
    # The last rows and columns of a tile, beyond whole patches, have weight 0 and are not stored.
    b_has_y = o_y < i_y_end
    b_has_x = o_x < i_x_end
    b_row_starts = tl.load(row_starts_ptr + o_y, mask=b_has_y, other=0)
    b_column_starts = tl.load(column_starts_ptr + o_x, mask=b_has_x, other=0)
    i_row_begin = tl.load(row_starts_ptr + i_y)
    i_row_end = tl.load(row_starts_ptr + i_y_end - 1) + row_taps
    # Multiples of 8 pixels, so that loads are 16 bytes wide where the film's rows allow it.
    i_column_begin = tl.load(column_starts_ptr + i_x) // 8 * 8
    i_column_end = tl.load(column_starts_ptr + i_x_end - 1) + column_taps
    i_column_end = tl.minimum((i_column_end + 7) // 8 * 8, width)

    b_out = tl.zeros([TILE_H, TILE_W], dtype=tl.float32)
    for i_column in range(i_column_begin, i_column_end, BLOCK_C):
        o_column = i_column + tl.arange(0, BLOCK_C)
        b_sum = tl.zeros([TILE_H, BLOCK_C], dtype=tl.float32)
        # One block ahead in registers: its latency passes while the block before is looked up.
        o_row = i_row_begin + tl.arange(0, BLOCK_R)
        b_next = load_stored(pixels_ptr, o_row, o_column, i_row_end, i_column_end, row_stride)
        for i_row in range(i_row_begin, i_row_end, BLOCK_R):
            o_row = i_row + tl.arange(0, BLOCK_R)
            b_stored = b_next
            b_next = load_stored(
                pixels_ptr, o_row + BLOCK_R, o_column, i_row_end, i_column_end, row_stride
            )
            # The last entry for a value that the table lacks: no read outside of it.
            b_index = tl.minimum(b_stored.to(tl.int32), entries - 1)
            b_light = tl.load(table_ptr + b_index)  # [BLOCK_R, BLOCK_C]
            o_row_tap = o_row[None, :] - b_row_starts[:, None]
            b_down = tl.load(
                row_weights_ptr + (o_y[:, None] * row_taps + o_row_tap),
                mask=b_has_y[:, None] & (o_row_tap >= 0) & (o_row_tap < row_taps),
                other=0,
            )  # [TILE_H, BLOCK_R]
            b_down_high, b_down_low = unpack(b_down)
            if SPLIT_LIGHT:
                b_light_high, b_light_low = split(b_light)
                b_sum = tl.dot(b_down_high, b_light_low, b_sum)
            else:
                b_light_high = b_light.to(tl.float16)
            b_sum = tl.dot(b_down_low, b_light_high, b_sum)
            b_sum = tl.dot(b_down_high, b_light_high, b_sum)
        o_column_tap = o_column[:, None] - b_column_starts[None, :]
        b_across = tl.load(
            column_weights_ptr + (o_x[None, :] * column_taps + o_column_tap),
            mask=b_has_x[None, :] & (o_column_tap >= 0) & (o_column_tap < column_taps),
            other=0,
        )  # [BLOCK_C, TILE_W]
        b_across_high, b_across_low = unpack(b_across)
        b_sum_high, b_sum_low = split(b_sum * UNSCALE)
        b_out = tl.dot(b_sum_low, b_across_high, b_out)
        b_out = tl.dot(b_sum_high, b_across_low, b_out)
        b_out = tl.dot(b_sum_high, b_across_high, b_out)
    b_out = tl.minimum(tl.maximum(b_out * UNSCALE, 0.0), 1.0)

    # Merge order: blocks of MERGE x MERGE patches row by row, and in a block row by row.
    o_patch_y = o_y // PATCH
    o_patch_x = o_x // PATCH
    b_slots = (o_patch_y // MERGE * (grid_width * MERGE) + o_patch_y % MERGE * MERGE)[:, None] + (
        o_patch_x // MERGE * (MERGE * MERGE) + o_patch_x % MERGE
    )[None, :]  # [TILE_H, TILE_W]
    b_is_stored = b_has_y[:, None] & b_has_x[None, :]
    if HAS_SLOTS:
        b_slots = tl.load(slots_ptr + b_slots, mask=b_is_stored, other=-1)
        b_is_stored = b_slots >= 0
    o_in_patch = (o_y % PATCH * PATCH)[:, None] + (o_x % PATCH)[None, :]
    p_patches = patches_ptr + b_slots.to(tl.int64) * (PATCH * PATCH) + o_in_patch
    tl.store(p_patches, b_out.to(patches_ptr.dtype.element_ty), mask=b_is_stored)


class Blocks(NamedTuple):
    """How the kernel is cut up.

    Attributes:
        tile_h: Rows of a program's result, a power of two; whole patches of them are used.
        tile_w: Columns of it.
        rows: Rows of pixels looked up at a time, at least 16 (a tensor core's depth).
        columns: Columns of pixels looked up at a time.
        num_warps: Warps of a program.
    """

    tile_h: int
    tile_w: int
    rows: int
    columns: int
    num_warps: int

    @property
    def constexprs(self) -> dict[str, int]:
        """The kernel's arguments of this choice."""
        return {
            "TILE_H": self.tile_h,
            "TILE_W": self.tile_w,
            "BLOCK_R": self.rows,
            "BLOCK_C": self.columns,
        }


# The default first, then what a GPU should be asked to compare. A tile needs 14 · scale pixels for
# each patch and 3 · scale more in all, so large tiles read fewer pixels twice; but 132 processors
# want some 500 programs to be evenly busy. The default spills no register on any architecture and
# leaves room for four programs on a processor of an H100.
BLOCKS = (
    Blocks(tile_h=32, tile_w=16, rows=16, columns=64, num_warps=4),
    Blocks(tile_h=32, tile_w=16, rows=16, columns=64, num_warps=2),
    Blocks(tile_h=32, tile_w=16, rows=16, columns=32, num_warps=2),
    Blocks(tile_h=32, tile_w=32, rows=16, columns=64, num_warps=4),
    Blocks(tile_h=32, tile_w=16, rows=16, columns=128, num_warps=4),
    Blocks(tile_h=32, tile_w=16, rows=16, columns=128, num_warps=2),
    Blocks(tile_h=32, tile_w=16, rows=32, columns=128, num_warps=4),
    Blocks(tile_h=64, tile_w=16, rows=16, columns=64, num_warps=4),
    Blocks(tile_h=64, tile_w=16, rows=16, columns=128, num_warps=4),
    Blocks(tile_h=16, tile_w=16, rows=16, columns=128, num_warps=4),
    Blocks(tile_h=16, tile_w=32, rows=16, columns=128, num_warps=4),
)
# The loop prefetches by itself. Triton's pipeline would copy what it looked up to shared memory
# in float32 and cost 25 % more instructions (sm_90).
NUM_STAGES = 1


def _make_variant(dtype: str, *, aligned: bool) -> KernelVariant:
    pointers = {
        "pixels_ptr": "*u16",
        "table_ptr": "*fp32",
        "row_starts_ptr": "*i32",
        "row_weights_ptr": "*i32",
        "column_starts_ptr": "*i32",
        "column_weights_ptr": "*i32",
        "slots_ptr": "*i32",
        "patches_ptr": f"*{dtype}",
    }
    sizes = ("width", "row_stride", "entries", "row_taps", "column_taps")
    integers = dict.fromkeys((*sizes, "grid_height", "grid_width"), "i32") | {"row_stride": "i64"}
    constexprs = {"HAS_SLOTS": True, "SPLIT_LIGHT": dtype == "fp32", **BLOCKS[0].constexprs}
    return KernelVariant(
        name=f"preprocess_{dtype}_{'aligned' if aligned else 'any'}",
        fn=preprocess_kernel,
        signature={**pointers, **integers, **dict.fromkeys(constexprs, "constexpr")},
        constexprs=constexprs,
        num_warps=BLOCKS[0].num_warps,
        num_stages=NUM_STAGES,
        grid_rule=f"cdiv(grid_width, TILE_W // {PATCH_SIZE}), "
        f"cdiv(grid_height, TILE_H // {PATCH_SIZE}), 1",
        aligned=(*pointers, "width", "row_stride") if aligned else (),
    )


# Merge order is a `slots_ptr` that counts up. "aligned" takes films whose width and row stride are
# multiples of 16 pixels and loads 8 pixels at a time; "any" takes every film.
AOT_VARIANTS = tuple(
    _make_variant(dtype, aligned=aligned)
    for dtype in ("fp32", "fp16", "bf16")
    for aligned in (True, False)
)

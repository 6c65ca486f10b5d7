"""The Triton kernel as an operator of PyTorch, `cxr::preprocess`."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton

from cxr_reason.kernels.interpreter import is_interpreted
from cxr_reason.kernels.preprocess.geometry import MERGE_SIZE, PATCH_SIZE, Grid, has_whole_blocks
from cxr_reason.kernels.preprocess.taps import filter_taps, pack_weights
from cxr_reason.kernels.preprocess.triton_kernel import (
    BLOCKS,
    NUM_STAGES,
    Blocks,
    preprocess_kernel,
)

# Decided when the kernel's module was imported.
_IS_INTERPRETED = is_interpreted()

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def preprocess_triton(
    pixels: torch.Tensor,
    display_table: torch.Tensor,
    grid: Grid,
    *,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """`cxr_reason.kernels.preprocess.preprocess` on the device that holds the film.

    One launch. The filter of a new pair of sizes
    is computed on the host and stays on the device: run once before capturing a CUDA graph.

    Args:
        pixels: uint16 `[H, W]`, stored values; copied if columns are not adjacent. Rows that start
            at multiples of 16 pixels are read fastest.
        display_table: float32 `[entries]`, intensity 0..1 of each stored value. Values that it
            lacks get its last entry: to check them would read the film twice.
        grid: Size of the result in patches, both sides even, from `fit_grid`.
        dtype: float32, float16 or bfloat16, of the result. For the last two, intensities are
            rounded to float16 when looked up.

    Returns:
        `[N, 196]` with N = grid.height * grid.width, 0..1, contiguous. Sums are in float32.

    Raises:
        TypeError: A dtype other than the above.
        ValueError: A shape other than the above, an empty film or table, an odd or empty grid,
            tensors on different devices, or on the CPU without TRITON_INTERPRET=1.
    """
    _check(pixels, display_table, grid, dtype)
    patches: torch.Tensor = torch.ops.cxr.preprocess(pixels, display_table, grid[0], grid[1], dtype)
    return patches


def _check(
    pixels: torch.Tensor,
    display_table: torch.Tensor,
    grid: Grid,
    dtype: torch.dtype,
) -> None:
    if pixels.dtype != torch.uint16 or display_table.dtype != torch.float32:
        raise TypeError(
            "pixels must be uint16 and display_table float32, "
            f"got {pixels.dtype} and {display_table.dtype}"
        )
    if dtype not in DTYPES:
        raise TypeError(f"dtype must be one of {[str(kind) for kind in DTYPES]}, got {dtype}")
    if pixels.ndim != 2 or 0 in pixels.shape or display_table.ndim != 1 or not len(display_table):
        raise ValueError(
            "pixels must be [H, W] with at least one pixel and display_table [entries], "
            f"got shapes {tuple(pixels.shape)} and {tuple(display_table.shape)}"
        )
    if not has_whole_blocks(grid):
        raise ValueError(
            f"grid sides must be positive multiples of {MERGE_SIZE} patches, got {tuple(grid)}"
        )
    if display_table.device != pixels.device:
        raise ValueError(f"display_table must be on the film's device, {pixels.device}")
    if pixels.device.type != "cuda" and not (pixels.device.type == "cpu" and _IS_INTERPRETED):
        raise ValueError(
            f"pixels are on {pixels.device}: move them to a CUDA device, or call "
            "cxr_reason.kernels.preprocess.preprocess (Triton's interpreter runs on the CPU when "
            "TRITON_INTERPRET=1 is set before triton is imported)"
        )


@torch.library.custom_op("cxr::preprocess", mutates_args=())
def _preprocess_op(
    pixels: torch.Tensor,
    display_table: torch.Tensor,
    grid_height: int,
    grid_width: int,
    dtype: torch.dtype,
) -> torch.Tensor:
    count = grid_height * grid_width
    patches = torch.empty((count, PATCH_SIZE**2), dtype=dtype, device=pixels.device)
    launch(pixels, display_table, Grid(grid_height, grid_width), None, patches, BLOCKS[0])
    return patches


@_preprocess_op.register_fake
def _(
    pixels: torch.Tensor,
    display_table: torch.Tensor,
    grid_height: int,
    grid_width: int,
    dtype: torch.dtype,
) -> torch.Tensor:
    return pixels.new_empty((grid_height * grid_width, PATCH_SIZE**2), dtype=dtype)


def launch(
    pixels: torch.Tensor,
    display_table: torch.Tensor,
    grid: Grid,
    slots: torch.Tensor | None,
    patches: torch.Tensor,
    blocks: Blocks,
) -> None:
    """Launch the kernel, unchecked.

    Args:
        pixels: uint16 `[H, W]`.
        display_table: float32 `[entries]`, contiguous.
        grid: Size of the result in patches.
        slots: int32 `[N]`, row of the result for each patch in merge order; -1 leaves it out.
            None: merge order itself. The plugin of TensorRT gives them.
        patches: `[N, 196]`, contiguous: the result.
        blocks: How to cut it up.
    """
    if pixels.stride(1) != 1:
        pixels = pixels.contiguous()
    height, width = pixels.shape
    row_starts, row_weights = _filter(height, grid.height * PATCH_SIZE, pixels.device)
    column_starts, column_weights = _filter(width, grid.width * PATCH_SIZE, pixels.device)
    programs = (
        triton.cdiv(grid.width, blocks.tile_w // PATCH_SIZE),
        triton.cdiv(grid.height, blocks.tile_h // PATCH_SIZE),
    )
    with torch.cuda.device_of(pixels):
        preprocess_kernel[programs](
            pixels,
            display_table.contiguous(),
            row_starts,
            row_weights,
            column_starts,
            column_weights,
            slots,
            patches,
            width,
            pixels.stride(0),
            len(display_table),
            row_weights.shape[1],
            column_weights.shape[1],
            grid.height,
            grid.width,
            HAS_SLOTS=slots is not None,
            SPLIT_LIGHT=patches.dtype == torch.float32,
            num_warps=blocks.num_warps,
            num_stages=NUM_STAGES,
            **blocks.constexprs,
        )


@lru_cache(maxsize=256)
def _filter(size: int, new_size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    starts, weights = filter_taps(size, new_size)
    return (
        torch.from_numpy(starts).to(device),
        torch.from_numpy(pack_weights(weights)).to(device),
    )

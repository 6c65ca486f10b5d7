"""Stored pixels to gray patches: the vision tower's input. README.md has the derivation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_reason.kernels.preprocess.geometry import (
    MERGE_SIZE,
    PATCH_SIZE,
    Grid,
    PixelBudget,
    fit_grid,
)
from cxr_reason.kernels.preprocess.reference import preprocess_reference

__all__ = ["MERGE_SIZE", "PATCH_SIZE", "Grid", "PixelBudget", "fit_grid", "preprocess"]


def preprocess(
    pixels: NDArray[np.uint16], display_table: NDArray[np.float32], grid: Grid
) -> NDArray[np.float32]:
    """Look up, resize and cut a film into the patches of Qwen2.5-VL.

    Patches are in the order of the processor in transformers
    (`models/qwen2_vl/image_processing_qwen2_vl.py`, `patchify`): blocks of 2x2 patches row by row,
    and inside a block row by row. A patch is its 14x14 intensities row by row. They are neither
    normalized nor repeated for channels and time: the patch embedding holds that.

    Args:
        pixels: uint16 `[H, W]`, stored values; any strides.
        display_table: float32 `[entries]`, intensity 0..1 of each stored value; every value in
            `pixels` is below `entries`.
        grid: Size of the result in patches, both sides even, from `fit_grid`.

    Returns:
        float32 `[grid.height * grid.width, 196]`, 0..1, contiguous. Sums are in float32.

    Raises:
        TypeError: A dtype other than the above.
        ValueError: A shape other than the above, an empty film, an odd or empty grid, or a stored
            value that the table lacks.
    """
    if pixels.dtype != np.uint16 or display_table.dtype != np.float32:
        raise TypeError(
            "pixels must be uint16 and display_table float32, "
            f"got {pixels.dtype} and {display_table.dtype}"
        )
    if pixels.ndim != 2 or pixels.size == 0 or display_table.ndim != 1:
        raise ValueError(
            "pixels must be [H, W] with at least one pixel and display_table [entries], "
            f"got shapes {pixels.shape} and {display_table.shape}"
        )
    if min(grid) < MERGE_SIZE or grid[0] % MERGE_SIZE or grid[1] % MERGE_SIZE:
        raise ValueError(
            f"grid sides must be positive multiples of {MERGE_SIZE} patches, got {tuple(grid)}"
        )
    if int(pixels.max()) >= len(display_table):
        raise ValueError(
            f"display_table has {len(display_table)} entries, too few for the values in pixels"
        )
    return preprocess_reference(pixels, display_table, grid)

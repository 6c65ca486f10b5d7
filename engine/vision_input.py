"""The check of what a vision model gets, the same on every backend."""

from __future__ import annotations

import numpy as np

from cxr_reason.engine.base import Array
from cxr_reason.errors import BadRequestError
from cxr_reason.kernels.preprocess.geometry import PATCH_SIZE


def check_patches(patches: Array, grid: tuple[int, int], *, max_pixels: int) -> None:
    """Check the inputs of `Engine.encode`.

    Args:
        patches: float32 `[grid_h * grid_w, 196]`.
        grid: Rows and columns of patches.
        max_pixels: Upper end of the engine's pixel budget.

    Raises:
        BadRequestError: An odd or empty grid, one over the budget, or patches that do not match.
    """
    rows, columns = grid
    if rows < 2 or columns < 2 or rows % 2 or columns % 2:
        raise BadRequestError(f"grid: {rows} x {columns}; both must be even and at least 2")
    pixels = rows * columns * PATCH_SIZE**2
    if pixels > max_pixels:
        raise BadRequestError(
            f"grid: {rows} x {columns} is {pixels} pixels; this engine takes {max_pixels}"
        )
    if patches.shape != (rows * columns, PATCH_SIZE**2) or patches.dtype != np.float32:
        raise BadRequestError(
            f"patches: {patches.dtype} {list(patches.shape)}; the grid asks for float32 "
            f"[{rows * columns}, {PATCH_SIZE**2}]"
        )

"""What the vision graph gets and gives, the same on every backend."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cxr_reason.engine.artifact import ModelShape
from cxr_reason.engine.base import Array
from cxr_reason.engine.positions import VisionPlan, plan_vision
from cxr_reason.errors import BadRequestError
from cxr_reason.kernels.preprocess.geometry import PATCH_SIZE, has_whole_blocks

PATCHES = "patches"
# Besides the patches: fields of `positions.VisionPlan`, in the order of the graph's inputs.
PLAN_INPUTS = (
    "rotary_cos",
    "rotary_sin",
    "window_slots",
    "window_bias",
    "patch_slots",
    "merge_order",
)
VISUAL_TOKENS = "visual_tokens"  # the output


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
    if not has_whole_blocks(grid):
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


def make_vision_feeds(
    patches: Array, grid: tuple[int, int], shape: ModelShape
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the inputs of the vision graph for one film.

    Args:
        patches: float32 `[grid_h * grid_w, 196]`, row by row.
        grid: Rows and columns of patches.
        shape: Of the engine.

    Returns:
        The patches in window order, and where everything stands (`positions.VisionPlan`), by name.
    """
    plan = plan_vision(
        grid,
        window_size_px=shape.window_size_px,
        head_dim=shape.vision_hidden_size // shape.vision_num_heads,
    )
    return {PATCHES: patches[plan.window_order], **plan_feeds(plan)}


def plan_feeds(plan: VisionPlan) -> dict[str, npt.NDArray[np.generic]]:
    """Return the inputs of the vision graph besides the patches, by name."""
    return {name: getattr(plan, name) for name in PLAN_INPUTS}

"""Positions and windows of Qwen2.5-VL, computed once for all backends, in NumPy.

Everything here depends on the grid and the prompt only, so compiled models take it as input.
Source: `get_rope_index` in transformers `modeling_qwen2_5_vl.py`, and `get_vision_position_ids`
and `get_vision_window_index` in transformers `vision_utils.py` (compared in the tests).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cxr_reason.errors import BadRequestError
from cxr_reason.kernels.preprocess.geometry import MERGE_SIZE, PATCH_SIZE

# Added to the scores of the padding in a window: its softmax weight is exactly 0 in fp32 and bf16.
PADDING_BIAS = np.float32(-30_000.0)
_ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class VisionPlan:
    """Inputs of the vision tower that follow from the grid alone.

    N is the number of patches, W the number of windows, S the patches of a full window.
    "Window order" is the order of patches in which each window is contiguous.

    Attributes:
        window_order: int64 `[N]`, patches in merge order → patches in window order.
        rotary_cos: float32 `[N, head_dim]`, in window order.
        rotary_sin: float32 `[N, head_dim]`, in window order.
        window_slots: int64 `[W, S]`, patch (window order) in each slot; 0 in padding.
        window_bias: float32 `[W, 1, 1, S]`, 0 for a patch, `PADDING_BIAS` for padding.
        patch_slots: int64 `[N]`, slot in `[W * S]` of each patch in window order.
        merge_order: int64 `[N / 4]`, merged tokens in window order → merge order.
    """

    window_order: npt.NDArray[np.int64]
    rotary_cos: npt.NDArray[np.float32]
    rotary_sin: npt.NDArray[np.float32]
    window_slots: npt.NDArray[np.int64]
    window_bias: npt.NDArray[np.float32]
    patch_slots: npt.NDArray[np.int64]
    merge_order: npt.NDArray[np.int64]


@lru_cache(maxsize=64)
def plan_vision(grid: tuple[int, int], *, window_size_px: int, head_dim: int) -> VisionPlan:
    """Plan one film of `grid` rows and columns of patches.

    Args:
        grid: Rows and columns of patches, both even.
        window_size_px: Side of an attention window, 112 in Qwen2.5-VL.
        head_dim: Width of an attention head of the tower.
    """
    merged_order, window_lengths = _order_windows(grid, window_size_px)
    patches_per_token = MERGE_SIZE**2
    window_order = (
        merged_order[:, None] * patches_per_token + np.arange(patches_per_token)
    ).reshape(-1)
    rotary_cos, rotary_sin = _rotate(grid, head_dim)
    lengths = window_lengths * patches_per_token
    capacity = (window_size_px // PATCH_SIZE) ** 2
    is_patch = np.arange(capacity) < lengths[:, None]  # [W, S]
    window_slots = np.zeros(is_patch.shape, np.int64)
    window_slots[is_patch] = np.arange(len(window_order))
    return VisionPlan(
        window_order=window_order,
        rotary_cos=rotary_cos[window_order],
        rotary_sin=rotary_sin[window_order],
        window_slots=window_slots,
        window_bias=np.where(is_patch, np.float32(0), PADDING_BIAS)[:, None, None, :],
        patch_slots=np.flatnonzero(is_patch),
        merge_order=np.argsort(merged_order),
    )


def _order_windows(
    grid: tuple[int, int], window_size_px: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return merged tokens window by window, and the number of them in each window."""
    rows, columns = grid[0] // MERGE_SIZE, grid[1] // MERGE_SIZE
    side = window_size_px // MERGE_SIZE // PATCH_SIZE
    tokens = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
    windows = [
        tokens[row : row + side, column : column + side].reshape(-1)
        for row in range(0, rows, side)
        for column in range(0, columns, side)
    ]
    return np.concatenate(windows), np.array([len(window) for window in windows], np.int64)


def _rotate(
    grid: tuple[int, int], head_dim: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return cosine and sine `[N, head_dim]` in merge order: a quarter each for row and column."""
    rows, columns = np.indices(grid, dtype=np.float32)
    blocks = (grid[0] // MERGE_SIZE, MERGE_SIZE, grid[1] // MERGE_SIZE, MERGE_SIZE)
    positions = np.stack(
        [axis.reshape(blocks).transpose(0, 2, 1, 3).reshape(-1) for axis in (rows, columns)], axis=1
    )  # [N, 2]
    exponents = np.arange(0, head_dim // 2, 2, dtype=np.float32) / np.float32(head_dim // 2)
    frequencies = (1.0 / _ROTARY_BASE**exponents).astype(np.float32)
    angles = (positions[:, :, None] * frequencies).reshape(len(positions), -1)  # [N, head_dim / 2]
    angles = np.concatenate([angles, angles], axis=1)
    return np.cos(angles), np.sin(angles)


def place_tokens(
    prompt_ids: npt.NDArray[np.int64], *, image_token_id: int, grid: tuple[int, int] | None
) -> npt.NDArray[np.int64]:
    """Return the M-RoPE positions of a prompt: time, row and column, int64 `[3, T]`.

    Text counts up on all three axes. A film keeps its start on the time axis and counts rows and
    columns of merged tokens from there; text continues after the largest of them.

    Args:
        prompt_ids: int64 `[T]`, with one `image_token_id` for each visual token, in one run.
        image_token_id: Token that stands for a visual token.
        grid: Rows and columns of patches, or None without a film.

    Raises:
        BadRequestError: The run of image tokens is not as long as the grid asks for.
    """
    is_image = prompt_ids == image_token_id
    rows, columns = (grid[0] // MERGE_SIZE, grid[1] // MERGE_SIZE) if grid else (0, 0)
    count = rows * columns
    start = int(is_image.argmax()) if count else 0
    if is_image.sum() != count or not is_image[start : start + count].all():
        raise BadRequestError(
            f"prompt: holds {int(is_image.sum())} image tokens, the film has {count}; "
            "the prompt must not contain image tokens of its own"
        )
    text_before = np.arange(start)
    places = np.stack(
        [np.zeros(count, np.int64), *np.indices((rows, columns)).reshape(2, -1)], axis=0
    )
    resume = start + max(rows, columns)
    text_after = resume + np.arange(len(prompt_ids) - start - count)
    return np.concatenate(
        [np.tile(text_before, (3, 1)), start + places, np.tile(text_after, (3, 1))], axis=1
    ).astype(np.int64)

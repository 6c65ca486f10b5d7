"""The op in plain NumPy: what every kernel of it is tested against."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cxr_reason.kernels.preprocess.geometry import MERGE_SIZE, PATCH_SIZE, Grid

_CUBIC_SUPPORT = 2.0  # pixels, at scale 1


class TableTooShortError(ValueError):
    """A film holds a value that its display table lacks.

    Args:
        entries: Of the table.
    """

    def __init__(self, entries: int) -> None:
        super().__init__(f"display_table has {entries} entries, too few for the values in pixels")


def preprocess_reference(
    pixels: NDArray[np.uint16],
    display_table: NDArray[np.float32],
    grid: Grid,
    *,
    num_threads: int = 1,
) -> NDArray[np.float32]:
    """Same as `cxr_reason.kernels.preprocess.preprocess`, which checks the tensors.

    Args:
        pixels: See there.
        display_table: See there.
        grid: See there.
        num_threads: No effect: NumPy's matrix products have their own setting.

    Raises:
        TableTooShortError: `pixels` holds a value that `display_table` lacks.
    """
    if int(pixels.max()) >= len(display_table):
        raise TableTooShortError(len(display_table))
    intensity = display_table[pixels]  # [H, W]
    resized = resize(intensity, grid.height * PATCH_SIZE, grid.width * PATCH_SIZE)
    return patchify(np.clip(resized, 0.0, 1.0), grid)


def resize(image: NDArray[np.float32], height_px: int, width_px: int) -> NDArray[np.float32]:
    """Resize with Pillow's antialiased bicubic filter, without its rounding to 8 bits.

    Args:
        image: float32 `[H, W]`.
        height_px: Rows of the result.
        width_px: Columns of the result.

    Returns:
        float32 `[height_px, width_px]`; overshoots the range of `image` at edges.
    """
    across = resize_weights(image.shape[1], width_px)
    down = resize_weights(image.shape[0], height_px)
    return down @ (image @ across.T)


def resize_weights(size: int, new_size: int) -> NDArray[np.float32]:
    """Weights of one axis (Pillow `src/libImaging/Resample.c`, `precompute_coeffs`).

    Pillow sums only pixels between two rounded bounds. Outside of them the filter is zero, so
    the dense row below has the same entries.

    Returns:
        float32 `[new_size, size]`; each row sums to 1.
    """
    scale = size / new_size
    # Shrinking widens the filter, so that every pixel counts; enlarging does not narrow it.
    stretch = max(scale, 1.0)
    centers = (np.arange(new_size, dtype=np.float64) + 0.5) * scale
    distance = np.arange(size, dtype=np.float64) + 0.5 - centers[:, None]  # [new_size, size]
    weights = cubic(distance / stretch)
    # At the film's edge a part of the filter falls outside; the rest is scaled up to 1.
    weights /= weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32)


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5, of any shape."""
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < _CUBIC_SUPPORT, far, 0.0))


def patchify(image: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Cut `[grid.height * 14, grid.width * 14]` into `[grid.height * grid.width, 196]`."""
    blocks = image.reshape(
        grid.height // MERGE_SIZE, MERGE_SIZE, PATCH_SIZE,
        grid.width // MERGE_SIZE, MERGE_SIZE, PATCH_SIZE,
    )  # fmt: skip
    ordered = blocks.transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(ordered).reshape(math.prod(grid), PATCH_SIZE * PATCH_SIZE)


def unpatchify(patches: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Put the image together again: the inverse of `patchify`.

    Args:
        patches: float32 `[grid_h * grid_w, 196]` in merge order, or the same values in that order
            in any other shape.
        grid: Rows and columns of patches, both even.

    Returns:
        float32 `[grid_h * 14, grid_w * 14]`, contiguous.
    """
    height, width = grid
    blocks = patches.reshape(
        height // MERGE_SIZE, width // MERGE_SIZE, MERGE_SIZE, MERGE_SIZE, PATCH_SIZE, PATCH_SIZE
    )
    ordered = blocks.transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(ordered).reshape(height * PATCH_SIZE, width * PATCH_SIZE)

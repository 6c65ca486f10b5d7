"""Stored pixels to gray patches: the vision tower's input. README.md has the derivation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxr_reason.kernels.preprocess.geometry import (
    MERGE_SIZE,
    PATCH_SIZE,
    Grid,
    PixelBudget,
    fit_grid,
    has_whole_blocks,
)
from cxr_reason.kernels.preprocess.reference import preprocess_reference

__all__ = ["MERGE_SIZE", "PATCH_SIZE", "Backend", "Grid", "PixelBudget", "fit_grid", "preprocess"]

Backend = Literal["auto", "native", "reference"]

_logger = logging.getLogger(__name__)


def preprocess(
    pixels: NDArray[np.uint16],
    display_table: NDArray[np.float32],
    grid: Grid,
    *,
    num_threads: int = 1,
    backend: Backend = "auto",
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
        num_threads: Threads of `native`. The result is the same, bit by bit, for any number.
        backend: `native` is compiled code, `reference` NumPy. `auto` takes `native`, or `reference`
            where the extension cannot be loaded, and logs why.

    Returns:
        float32 `[grid.height * grid.width, 196]`, 0..1, contiguous. Sums are in float32.

    Raises:
        TypeError: A dtype other than the above.
        ValueError: A shape other than the above, an empty film, an odd or empty grid, a stored
            value that the table lacks, no thread, or an unknown backend.
        ImportError: `native` was asked for and the extension cannot be loaded.
    """
    _check(pixels, display_table, grid, num_threads)
    run = _choose(backend)
    return run(pixels, display_table, grid, num_threads=num_threads)


@cache
def _choose(backend: Backend) -> Callable[..., NDArray[np.float32]]:
    if backend not in ("auto", "native", "reference"):
        raise ValueError(f"backend {backend!r}: must be auto, native or reference")
    if backend == "reference":
        return preprocess_reference
    try:
        from cxr_reason.kernels.preprocess.native import preprocess_native
    except ImportError as error:
        if backend == "native":
            raise ImportError(
                f"backend native of preprocess: its extension cannot be loaded ({error}); "
                "install cxr-reason with a C++ compiler, or choose auto or reference"
            ) from error
        _logger.info("preprocess runs in NumPy: the native extension cannot be loaded (%s)", error)
        return preprocess_reference
    return preprocess_native


def _check(
    pixels: NDArray[np.uint16],
    display_table: NDArray[np.float32],
    grid: Grid,
    num_threads: int,
) -> None:
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
    if not has_whole_blocks(grid):
        raise ValueError(
            f"grid sides must be positive multiples of {MERGE_SIZE} patches, got {tuple(grid)}"
        )
    if num_threads < 1:
        raise ValueError(f"num_threads must be at least 1, got {num_threads}")

"""The op in C++: what servers without a GPU run. native.cpp holds the code, README.md the order."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cxr_reason.kernels.preprocess._native import has_avx2
from cxr_reason.kernels.preprocess._native import preprocess as _preprocess
from cxr_reason.kernels.preprocess.geometry import PATCH_SIZE, Grid
from cxr_reason.kernels.preprocess.reference import TableTooShortError

__all__ = ["has_avx2", "preprocess_native"]


def preprocess_native(
    pixels: NDArray[np.uint16],
    display_table: NDArray[np.float32],
    grid: Grid,
    *,
    num_threads: int = 1,
    portable: bool = False,
) -> NDArray[np.float32]:
    """Same as `cxr_reason.kernels.preprocess.preprocess`, which checks the tensors.

    Releases the GIL while it works.

    Args:
        pixels: See there.
        display_table: See there; copied if it is not contiguous.
        grid: See there.
        num_threads: See there.
        portable: Run the code for processors without AVX2 and FMA.

    Raises:
        TableTooShortError: `pixels` holds a value that `display_table` lacks.
    """
    patches = np.empty((math.prod(grid), PATCH_SIZE * PATCH_SIZE), np.float32)
    complete = _preprocess(
        np.require(pixels, requirements="A"),
        np.ascontiguousarray(display_table),
        grid.height,
        grid.width,
        patches,
        num_threads,
        portable,
    )
    if not complete:
        raise TableTooShortError(len(display_table))
    return patches

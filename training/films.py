"""A film as training sees it: 8-bit gray at exactly the size that the model's patches have.

The processor of transformers then resizes nothing, and what it gets is what serving's
preprocessing (`kernels.preprocess`) makes of the film, rounded to 8 bits: half a gray level at
most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_reason.kernels.preprocess import MERGE_SIZE, PATCH_SIZE, PixelBudget
from cxr_reason.reader.encoder import FilmPreprocessor

Picture = NDArray[np.uint8]


def render_film(
    pixels: NDArray[np.uint16], display_table: NDArray[np.float32], budget: PixelBudget
) -> Picture:
    """Return the film within the pixel budget, uint8 `[height, width]`, sides multiples of 28."""
    patches, grid = FilmPreprocessor(budget).resize(pixels, display_table)
    blocks = patches.reshape(
        grid.height // MERGE_SIZE,
        grid.width // MERGE_SIZE,
        MERGE_SIZE,
        MERGE_SIZE,
        PATCH_SIZE,
        PATCH_SIZE,
    )
    rows = blocks.transpose(0, 2, 4, 1, 3, 5)
    picture = rows.reshape(grid.height * PATCH_SIZE, grid.width * PATCH_SIZE)
    return np.asarray(np.rint(picture * 255.0), dtype=np.uint8)

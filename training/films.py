"""A film as training sees it: 8-bit gray at exactly the size that the model's patches have.

The processor of transformers then resizes nothing, and what it gets is what serving's
preprocessing (`kernels.preprocess`) makes of the film, rounded to 8 bits: half a gray level at
most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.kernels.preprocess.reference import unpatchify
from cxr_reason.reader.encoder import FilmPreprocessor

Picture = NDArray[np.uint8]


def render_film(
    pixels: NDArray[np.uint16],
    display_table: NDArray[np.float32],
    budget: PixelBudget,
    pixel_aspect: float = 1.0,
) -> Picture:
    """Return the film within the pixel budget, uint8 `[height, width]`, sides multiples of 28."""
    patches, grid = FilmPreprocessor(budget).resize(pixels, display_table, pixel_aspect)
    picture = unpatchify(patches, grid)
    return np.asarray(np.rint(picture * 255.0), dtype=np.uint8)

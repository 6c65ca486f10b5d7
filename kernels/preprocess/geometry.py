"""How large the model sees a film: sides in patches, within a pixel budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from cxr_reason.errors import BadRequestError, UnsupportedObjectError

PATCH_SIZE = 14  # px, side of a patch
MERGE_SIZE = 2  # patches, side of the block that becomes one visual token
_FACTOR_PX = PATCH_SIZE * MERGE_SIZE
_MAX_ASPECT_RATIO = 200


@dataclass(frozen=True)
class PixelBudget:
    """Bounds on the area of the resized film, in pixels.

    The defaults are what the model was trained on: 128x128 to 476x476.

    Raises:
        BadRequestError: Not 1 <= min_pixels <= max_pixels, or max_pixels below one 28x28 block.
    """

    min_pixels: int = 128 * 128
    max_pixels: int = 476 * 476

    def __post_init__(self) -> None:
        if not (1 <= self.min_pixels <= self.max_pixels and self.max_pixels >= _FACTOR_PX**2):
            raise BadRequestError(
                f"pixel budget {self.min_pixels} to {self.max_pixels}: needs "
                f"1 <= min_pixels <= max_pixels and max_pixels >= {_FACTOR_PX**2}"
            )


class Grid(NamedTuple):
    """A size in patches of 14x14 pixels. Both sides are even."""

    height: int
    width: int


def has_whole_blocks(grid: tuple[int, int]) -> bool:
    """Return whether both sides are positive and even, so that 2x2 patches make one token."""
    return min(grid) >= MERGE_SIZE and not any(side % MERGE_SIZE for side in grid)


def fit_grid(height_px: int, width_px: int, budget: PixelBudget, pixel_aspect: float = 1.0) -> Grid:
    """Choose the size a film is resized to: near its aspect ratio, within the budget.

    Gives the sizes of `smart_resize` with factor 28 in transformers
    (`models/qwen2_vl/image_processing_qwen2_vl.py`), its banker's rounding included.

    Args:
        height_px: Rows of the film.
        width_px: Columns of the film.
        budget: Bounds on the resized area.
        pixel_aspect: Spacing of rows over that of columns. The side along which pixels lie further
            apart counts as the number of pixels that the other spacing makes of it: resized to the
            grid, pixels are square, and no side loses any for it.

    Raises:
        UnsupportedObjectError: A side of no pixels, or one side over 200 times the other.
    """
    height = height_px * max(pixel_aspect, 1.0)
    width = width_px * max(1.0 / pixel_aspect, 1.0)
    shorter, longer = sorted((height, width))
    if shorter < 1 or longer / shorter > _MAX_ASPECT_RATIO:
        shape = "" if pixel_aspect == 1 else f" of aspect {pixel_aspect:g}"
        raise UnsupportedObjectError(
            f"image of {height_px} x {width_px} pixels{shape}: sides must be at least 1 pixel and "
            f"at most {_MAX_ASPECT_RATIO} times each other; send a whole film"
        )
    rows = round(height / _FACTOR_PX) * _FACTOR_PX
    columns = round(width / _FACTOR_PX) * _FACTOR_PX
    if rows * columns > budget.max_pixels:
        shrink = math.sqrt((height * width) / budget.max_pixels)
        rows = max(_FACTOR_PX, math.floor(height / shrink / _FACTOR_PX) * _FACTOR_PX)
        columns = max(_FACTOR_PX, math.floor(width / shrink / _FACTOR_PX) * _FACTOR_PX)
    elif rows * columns < budget.min_pixels:
        grow = math.sqrt(budget.min_pixels / (height * width))
        rows = math.ceil(height * grow / _FACTOR_PX) * _FACTOR_PX
        columns = math.ceil(width * grow / _FACTOR_PX) * _FACTOR_PX
    return Grid(rows // PATCH_SIZE, columns // PATCH_SIZE)

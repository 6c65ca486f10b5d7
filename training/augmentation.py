"""Small changes to a picture that leave every finding, its side and its zone unchanged."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

_MAX_SHIFT = 0.05  # of the side
_MAX_LOG_GAMMA = 0.3
_MAX_LOG_CONTRAST = 0.15

_Number = TypeVar("_Number", bound=np.generic)


def vary(
    picture: Image.Image, marks: NDArray[np.uint16] | None = None
) -> tuple[Image.Image, NDArray[np.uint16] | None]:
    """Shift the film, bend its gray scale, and move its marks along.

    Never mirrored: left is not right. Uses torch's global generator, which data loaders seed.

    Args:
        picture: 8-bit gray.
        marks: `[side, side]` over the film; it is shifted by whole cells of them.
    """
    right, down, gamma, contrast = (2.0 * torch.rand(4, dtype=torch.float64) - 1.0).tolist()
    gray = np.asarray(picture.convert("L"), dtype=np.float32) / 255.0
    shift = np.array([down, right]) * _MAX_SHIFT  # shares of the film
    if marks is not None:
        cells = np.rint(shift * marks.shape[0])
        shift = cells / marks.shape[0]
        marks = _shifted(marks, cells.astype(int))
    gray = _shifted(gray, np.rint(shift * gray.shape).astype(int))
    gray = gray ** np.float32(np.exp(gamma * _MAX_LOG_GAMMA))
    gray = (gray - 0.5) * np.float32(np.exp(contrast * _MAX_LOG_CONTRAST)) + 0.5
    varied = np.rint(np.clip(gray, 0.0, 1.0) * 255.0).astype(np.uint8)
    return Image.fromarray(varied), marks


def _shifted(plane: NDArray[_Number], shift: NDArray[np.int_]) -> NDArray[_Number]:
    """Move what is shown down and right; what comes in repeats the edge."""
    rows, columns = (
        np.clip(np.arange(size) - by, 0, size - 1)
        for size, by in zip(plane.shape, shift, strict=True)
    )
    return plane[rows[:, None], columns]

"""Small changes to a picture that leave every finding, its side and its zone as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

_MAX_SHIFT = 0.05  # of the side
_MAX_LOG_GAMMA = 0.3
_MAX_LOG_CONTRAST = 0.15


def vary(
    picture: Image.Image, boxes: Sequence[Sequence[float]]
) -> tuple[Image.Image, list[list[float]]]:
    """Shift the film, bend its gray scale, and move its boxes along.

    Never mirrored: left is not right. Uses torch's global generator, which data loaders seed.

    Args:
        picture: 8-bit gray.
        boxes: left, top, right, bottom as shares of the film, and whatever follows.
    """
    right, down, gamma, contrast = (2.0 * torch.rand(4, dtype=torch.float64) - 1.0).tolist()
    gray = np.asarray(picture.convert("L"), dtype=np.float32) / 255.0
    shift_x, shift_y = (
        round(right * _MAX_SHIFT * gray.shape[1]),
        round(down * _MAX_SHIFT * gray.shape[0]),
    )
    rows = np.clip(np.arange(gray.shape[0]) - shift_y, 0, gray.shape[0] - 1)
    columns = np.clip(np.arange(gray.shape[1]) - shift_x, 0, gray.shape[1] - 1)
    gray = gray[rows[:, None], columns] ** np.float32(np.exp(gamma * _MAX_LOG_GAMMA))
    gray = (gray - 0.5) * np.float32(np.exp(contrast * _MAX_LOG_CONTRAST)) + 0.5
    varied = Image.fromarray(np.rint(np.clip(gray, 0.0, 1.0) * 255.0).astype(np.uint8))
    x, y = shift_x / gray.shape[1], shift_y / gray.shape[0]
    moved = [[box[0] + x, box[1] + y, box[2] + x, box[3] + y, *box[4:]] for box in boxes]
    return varied, moved

"""The resize filter of one axis without its zeros, for kernels that read weights from memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cxr_reason.kernels.preprocess.reference import cubic

_SUPPORT = 2.0  # pixels on either side of a center, of `cubic` at scale 1
# Keeps low parts of weights above 2^-24, the smallest float16, and high ones far from overflow.
WEIGHT_SCALE = 256.0


def filter_taps(size: int, new_size: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Compute the entries of `resize_weights` that are not zero, row by row.

    Args:
        size: Pixels of the axis.
        new_size: Pixels it is resized to.

    Returns:
        starts: int32 `[new_size]`, pixel of the first weight of each result pixel, never falling.
        weights: float32 `[new_size, taps]`; `start + taps <= size`. Zeros fill rows up at the end.
    """
    scale = size / new_size
    support = _SUPPORT * max(scale, 1.0)
    centers = (np.arange(new_size, dtype=np.float64) + 0.5) * scale
    # Of the pixels i with |i + 1/2 - center| < support there are at most ⌈2 · support⌉; one more
    # forgives rounding in the first of them.
    taps = min(size, math.ceil(2 * support) + 1)
    starts = np.clip(np.ceil(centers - support - 0.5), 0, size - taps).astype(np.int32)
    pixels = starts[:, None] + np.arange(taps)  # [new_size, taps]
    weights = cubic((pixels + 0.5 - centers[:, None]) * (_SUPPORT / support))
    weights /= weights.sum(axis=1, keepdims=True)
    return starts, weights.astype(np.float32)


def pack_weights(weights: NDArray[np.float32]) -> NDArray[np.int32]:
    """Pack each weight times `WEIGHT_SCALE` as two float16: high part below, low part above.

    Their sum has 22 of float32's 24 bits. A kernel for tensor cores reads both at once and
    needs not split them.
    """
    scaled = weights * np.float32(WEIGHT_SCALE)
    high = scaled.astype(np.float16)
    low = (scaled - high.astype(np.float32)).astype(np.float16)
    return np.stack([high, low], axis=-1).view(np.int32)[..., 0]

"""How a film reaches the decoder. This module alone decides, from TensorRT-LLM's release.

Release 1.2 takes no visual tokens from outside for this model: its own vision tower encodes the
film, which it gets as pixels. From 1.3 on visual tokens of our vision engine may be given
(`multi_modal_embeddings`), but with one limit of that release: it does not take their grid. It
works the grid out from the number of tokens (the factor pair nearest to a square, rows first), and
for any other grid its M-RoPE positions would be wrong, without an error. So a film goes as visual
tokens only where that guess is right, else as pixels.

Source: TensorRT-LLM main, `tensorrt_llm/_torch/models/modeling_qwen2vl.py`,
`_attach_multimodal_embeddings_impl` and `_infer_image_grid_thw`; in 1.2
`tensorrt_llm/inputs/registry.py`, `attach_multimodal_embeddings` raises NotImplementedError.

A film as pixels is passed between the served models in the tensor of the visual tokens: one row for
each 2 x 2 block of patches, the 4 x 196 intensities of the block.
"""

from __future__ import annotations

import math

from cxr_reason.engine.base import Array
from cxr_reason.kernels.preprocess.geometry import MERGE_SIZE, PATCH_SIZE

FIRST_WITH_EMBEDDINGS = (1, 3)
PIXEL_ROW = (MERGE_SIZE * PATCH_SIZE) ** 2


def needs_vision_engine(release: tuple[int, int]) -> bool:
    """Return whether any film is encoded by our vision engine under this release."""
    return release >= FIRST_WITH_EMBEDDINGS


def goes_as_tokens(release: tuple[int, int], grid: tuple[int, int]) -> bool:
    """Return whether this film is given as visual tokens; else it is given as pixels.

    Args:
        release: Major and minor version of TensorRT-LLM.
        grid: Rows and columns of patches.
    """
    merged = (grid[0] // MERGE_SIZE, grid[1] // MERGE_SIZE)
    return needs_vision_engine(release) and merged == guess_grid(merged[0] * merged[1])


def guess_grid(num_tokens: int) -> tuple[int, int]:
    """Return the rows and columns of tokens that TensorRT-LLM assumes for `num_tokens`."""
    rows = max(n for n in range(1, math.isqrt(num_tokens) + 1) if num_tokens % n == 0)
    return rows, num_tokens // rows


def pack_pixels(patches: Array) -> Array:
    """Return gray patches `[N, 196]` in merge order as rows `[N / 4, 784]`.

    `unpatchify` makes the film of them again. Its sides are multiples of 28 within the pixel
    budget, so the processor of the model leaves its size as it is.
    """
    return patches.reshape(-1, PIXEL_ROW)

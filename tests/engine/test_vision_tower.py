"""The gray folding against the colour convolution it replaces."""

from __future__ import annotations

import torch

from cxr_reason.engine.vision_tower import fold_patch_embedding

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def test_folded_patch_embedding_equals_the_convolution_of_three_gray_channels() -> None:
    weight = torch.randn(64, 3, 2, 14, 14)
    gray = torch.rand(50, 14, 14)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    colour = ((gray[:, None] - mean) / std)[:, :, None].repeat(1, 1, 2, 1, 1)
    expected = torch.nn.functional.conv3d(colour, weight).flatten(1)
    folded, bias = fold_patch_embedding(weight, MEAN, STD)
    result = gray.flatten(1) @ folded.T + bias
    # 1,176 fp32 products of size one each: sums differ in rounding only
    torch.testing.assert_close(result, expected, atol=2e-4, rtol=1e-5)

"""Positions and windows against transformers' own functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    Qwen2_5_VLModel,
)
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from cxr_reason.engine.positions import PADDING_BIAS, place_tokens, plan_vision
from cxr_reason.errors import BadRequestError

GRIDS = [(34, 34), (36, 30), (2, 2), (2, 40), (8, 8), (16, 24), (10, 6), (40, 2)]
IMAGE_TOKEN = 7


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_windows_are_those_of_transformers(grid: tuple[int, int]) -> None:
    plan = plan_vision(grid, window_size_px=112, head_dim=16)
    index, lengths = get_vision_window_index(torch.tensor([[1, *grid]]), 2, 112, 14)
    patches = (index.numpy()[:, None] * 4 + np.arange(4)).reshape(-1)
    np.testing.assert_array_equal(plan.window_order, patches)
    np.testing.assert_array_equal(plan.merge_order, np.argsort(index.numpy()))
    expected = np.diff(np.unique(lengths.numpy()))
    np.testing.assert_array_equal((plan.window_bias == 0).sum(axis=(1, 2, 3)), expected)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_slots_lead_to_every_patch_and_back(grid: tuple[int, int]) -> None:
    plan = plan_vision(grid, window_size_px=112, head_dim=16)
    count = grid[0] * grid[1]
    np.testing.assert_array_equal(plan.window_slots.reshape(-1)[plan.patch_slots], np.arange(count))
    is_padding = np.ones(plan.window_slots.size, bool)
    is_padding[plan.patch_slots] = False
    bias = plan.window_bias.reshape(-1)
    assert (bias[is_padding] == PADDING_BIAS).all()
    assert (bias[~is_padding] == 0).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_rotary_angles_are_those_of_transformers(grid: tuple[int, int]) -> None:
    config = Qwen2_5_VLConfig(
        vision_config={"hidden_size": 64, "num_heads": 4, "depth": 1, "out_hidden_size": 64}
    ).vision_config
    tower = Qwen2_5_VisionTransformerPretrainedModel(config)
    places = get_vision_position_ids(torch.tensor([[1, *grid]]), 2)
    cos, sin = tower.rotary_pos_emb(torch.zeros(1), places)
    plan = plan_vision(grid, window_size_px=112, head_dim=16)
    # fp32 cosines of the same fp32 angles, up to 40: a few units in the last place of the angle
    np.testing.assert_allclose(plan.rotary_cos, cos.numpy()[plan.window_order], atol=5e-6)
    np.testing.assert_allclose(plan.rotary_sin, sin.numpy()[plan.window_order], atol=5e-6)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0), (15, 20)])
def test_token_positions_are_those_of_transformers(
    grid: tuple[int, int], before: int, after: int
) -> None:
    ids = np.array([1] * before + [IMAGE_TOKEN] * (grid[0] * grid[1] // 4) + [2] * after)
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 1, "intermediate_size": 32, "vocab_size": 16,
        },
        vision_config={"hidden_size": 32, "num_heads": 2, "depth": 1, "out_hidden_size": 32},
    )  # fmt: skip
    model = Qwen2_5_VLModel(config)
    batch = torch.from_numpy(ids)[None]
    expected, _ = model.get_rope_index(
        batch, (batch == IMAGE_TOKEN).int(), image_grid_thw=torch.tensor([[1, *grid]])
    )
    places = place_tokens(ids, image_token_id=IMAGE_TOKEN, grid=grid)
    np.testing.assert_array_equal(places, expected[:, 0].numpy())


def test_text_counts_up_on_all_axes() -> None:
    places = place_tokens(np.arange(5) + 100, image_token_id=IMAGE_TOKEN, grid=None)
    np.testing.assert_array_equal(places, np.tile(np.arange(5), (3, 1)))


@pytest.mark.parametrize(
    "ids",
    [[1, 7, 7, 7, 2], [1, 7, 7, 7, 7, 7, 2], [1, 7, 7, 3, 7, 7, 2], [1, 2]],
    ids=["too few", "too many", "two runs", "none"],
)
def test_image_tokens_that_do_not_fit_the_film_are_refused(ids: list[int]) -> None:
    with pytest.raises(BadRequestError, match="image tokens"):
        place_tokens(np.array(ids), image_token_id=IMAGE_TOKEN, grid=(4, 4))


def test_image_tokens_without_a_film_are_refused() -> None:
    with pytest.raises(BadRequestError, match="image tokens"):
        place_tokens(np.array([1, 7, 2]), image_token_id=IMAGE_TOKEN, grid=None)

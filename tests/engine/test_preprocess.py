"""The preprocessing op against the processors of transformers and against Pillow."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxr_reason.errors import BadRequestError, InputError, UnsupportedObjectError
from cxr_reason.film.display_table import identity_table
from cxr_reason.kernels.preprocess import Grid, PixelBudget, fit_grid, preprocess
from cxr_reason.kernels.preprocess.reference import resize, resize_weights

BUDGET = PixelBudget()
TABLE_8 = identity_table(8)

# Height and width: odd sides, 1:3, enlarging, one axis unchanged, sides below one patch.
AWKWARD = [
    (1023, 977),
    (300, 900),
    (901, 301),
    (37, 41),
    (476, 300),
    (61, 476),
    (5, 90),
    (2000, 11),
]


def noise_film(height: int, width: int, levels: int = 256) -> np.ndarray:
    """Smooth shapes with hard edges and noise, uint16: all that a resize can get wrong."""
    rng = np.random.default_rng(height * 7919 + width)
    y, x = np.mgrid[:height, :width]
    smooth = 0.5 + 0.3 * np.sin(x / 17.0) * np.cos(y / 23.0) + 0.2 * ((x // 40 + y // 30) % 2)
    film = np.clip(smooth + rng.normal(0, 0.05, (height, width)), 0, 1)
    return np.rint(film * (levels - 1)).astype(np.uint16)


@pytest.fixture(scope="module", params=["torchvision", "pillow"])
def processor(request: pytest.FixtureRequest) -> Any:
    from transformers.models.qwen2_vl import image_processing_pil_qwen2_vl as pil
    from transformers.models.qwen2_vl import image_processing_qwen2_vl as torchvision

    kinds = {
        "torchvision": torchvision.Qwen2VLImageProcessor,
        "pillow": pil.Qwen2VLImageProcessorPil,
    }
    return kinds[request.param](min_pixels=BUDGET.min_pixels, max_pixels=BUDGET.max_pixels)


def processed(processor: Any, film: np.ndarray) -> tuple[np.ndarray, Grid]:
    """Run transformers' processor on an 8-bit film; return [patches, 3, 2, 196] and the grid."""
    image = Image.fromarray(film.astype(np.uint8)).convert("RGB")
    out = processor(images=image, return_tensors="pt")
    _, height, width = out["image_grid_thw"][0].tolist()
    patches = out["pixel_values"].numpy().astype(np.float64).reshape(height * width, 3, 2, 196)
    return patches, Grid(height, width)


def undo_normalization(processor: Any, patches: np.ndarray) -> np.ndarray:
    mean = np.array(processor.image_mean)[:, None, None]
    std = np.array(processor.image_std)[:, None, None]
    return patches * std + mean


def to_8_bits(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255)


def test_sizes_are_those_of_smart_resize() -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    rng = random.Random(0)
    for _ in range(5000):
        top = rng.choice([30, 600, 5000])
        height, width = rng.randint(1, top), rng.randint(1, top)
        try:
            expected = smart_resize(height, width, 28, BUDGET.min_pixels, BUDGET.max_pixels)
        except ValueError:
            with pytest.raises(UnsupportedObjectError):
                fit_grid(height, width, BUDGET)
            continue
        grid = fit_grid(height, width, BUDGET)
        assert (grid.height * 14, grid.width * 14) == expected, (height, width)
        assert grid.height % 2 == 0 and grid.width % 2 == 0


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-1, 5), (1, 201), (40201, 200)])
def test_impossible_shapes_are_refused(height: int, width: int) -> None:
    with pytest.raises(InputError, match="sides must be"):
        fit_grid(height, width, BUDGET)


@pytest.mark.parametrize("budget", [(0, 1000), (1000, 999), (1, 783)])
def test_impossible_budgets_are_refused(budget: tuple[int, int]) -> None:
    with pytest.raises(BadRequestError, match="pixel budget"):
        PixelBudget(*budget)


def test_layout_is_that_of_transformers(processor: Any) -> None:
    film = noise_film(140, 308)  # a size that needs no resize
    theirs, grid = processed(processor, film)
    assert grid == fit_grid(140, 308, BUDGET) == Grid(10, 22)
    ours = preprocess(film, TABLE_8, grid)
    gray = undo_normalization(processor, theirs)
    # All three channels and both temporal copies hold the one gray patch.
    for channel in range(3):
        np.testing.assert_array_equal(theirs[:, channel, 0], theirs[:, channel, 1])
        # Bit for bit on the 8-bit values; float32 rounding is far below half a level.
        np.testing.assert_array_equal(
            np.rint(gray[:, channel, 0] * 255), np.rint(ours.astype(np.float64) * 255)
        )
        np.testing.assert_allclose(gray[:, channel, 0], ours, atol=5e-7)


@pytest.mark.parametrize("shape", AWKWARD, ids=str)
def test_resize_is_pillows_in_float(shape: tuple[int, int]) -> None:
    """Pillow in mode "F" does the same sums without rounding to 8 bits: 1e-5 is float32."""
    film = noise_film(*shape)
    grid = fit_grid(*shape, BUDGET)
    height, width = grid.height * 14, grid.width * 14
    image = Image.fromarray(TABLE_8[film])
    expected = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(resize(TABLE_8[film], height, width), expected, atol=1e-5)


@pytest.mark.parametrize("shape", AWKWARD, ids=str)
def test_values_are_those_of_transformers(processor: Any, shape: tuple[int, int]) -> None:
    """Within what rounding to 8 bits costs the processors, in gray levels.

    One pass is rounded once: half a level. Two passes: the first one's half level times the sum of
    absolute weights of the second, and half a level for the second. Torchvision has 16-bit weights
    in addition: 0.02. The film stays clear of black and white, where the processors clamp between
    the passes too; the next test shows that this is all that remains.
    """
    film = np.rint(60 + noise_film(*shape) * (135 / 255)).astype(np.uint16)
    theirs, grid = processed(processor, film)
    ours = preprocess(film, TABLE_8, grid).astype(np.float64)
    levels = np.abs(undo_normalization(processor, theirs)[:, 0, 0] - ours) * 255
    height, width = grid.height * 14, grid.width * 14
    axes = zip(shape, (height, width), strict=True)
    spread = max(np.abs(resize_weights(*axis)).sum(axis=1).max() for axis in axes)
    bound = 0.5 if height == shape[0] or width == shape[1] else 0.5 + 0.5 * spread
    assert levels.max() <= bound + 0.02
    # A difference in filter or alignment would show in the mean: two roundings give 0.3.
    assert levels.mean() <= 0.32


@pytest.mark.parametrize("shape", AWKWARD, ids=str)
def test_rounding_between_the_passes_is_all_that_differs_from_8_bits(
    shape: tuple[int, int],
) -> None:
    """With Pillow's rounding and clamping put in, our weights give its 8-bit result."""
    film = noise_film(*shape)
    grid = fit_grid(*shape, BUDGET)
    height, width = grid.height * 14, grid.width * 14
    across, down = resize_weights(shape[1], width), resize_weights(shape[0], height)
    image = Image.fromarray(film.astype(np.uint8))
    expected = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    # Pillow may take the cheaper pass first, which 8-bit rounding can tell.
    orders = (down @ to_8_bits(film @ across.T), to_8_bits(down @ film) @ across.T)
    differs = min((np.abs(to_8_bits(out) - expected) for out in orders), key=np.max)
    # Ties round either way: Pillow rounds half up, NumPy half to even.
    assert differs.max() <= 1 and (differs > 0).mean() < 0.003


def test_all_of_a_16_bit_range_is_used() -> None:
    ramp = np.linspace(0, 65535, 392 * 392).astype(np.uint16).reshape(392, 392)
    patches = preprocess(ramp, identity_table(16), Grid(28, 28))
    assert len(np.unique(patches)) > 60000
    narrow = preprocess(ramp // 256 + 30000, identity_table(16), Grid(20, 20))
    assert len(np.unique(np.rint(narrow * 65535))) >= 250  # all within 1 level of 8 bits


def test_overshoot_is_clamped() -> None:
    step = np.zeros((56, 60), np.uint16)
    step[:, 30:] = 255
    patches = preprocess(step, TABLE_8, Grid(4, 8))
    assert patches.min() == 0.0 and patches.max() == 1.0


def test_strides_do_not_matter() -> None:
    film = noise_film(200, 300)
    grid = Grid(10, 14)
    turned = np.asfortranarray(film)
    strided = np.repeat(film, 2, axis=1)[:, ::2]
    expected = preprocess(film, TABLE_8, grid)
    assert expected.flags.c_contiguous and expected.dtype == np.float32
    for view in (turned, strided):
        np.testing.assert_array_equal(preprocess(view, TABLE_8, grid), expected)


def test_input_is_not_changed() -> None:
    film, table = noise_film(64, 64), TABLE_8.copy()
    film.setflags(write=False)
    table.setflags(write=False)
    preprocess(film, table, Grid(4, 4))


GOOD = (np.zeros((30, 30), np.uint16), TABLE_8, Grid(2, 2))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((GOOD[0].astype(np.uint8), *GOOD[1:]), TypeError),
        ((GOOD[0], GOOD[1].astype(np.float64), GOOD[2]), TypeError),
        ((GOOD[0][0], *GOOD[1:]), ValueError),
        ((GOOD[0][:0], *GOOD[1:]), ValueError),
        ((GOOD[0], GOOD[1][None], GOOD[2]), ValueError),
        ((GOOD[0], GOOD[1], Grid(3, 2)), ValueError),
        ((GOOD[0], GOOD[1], Grid(0, 2)), ValueError),
        ((GOOD[0] + np.uint16(256), *GOOD[1:]), ValueError),
    ],
)
def test_wrong_tensors_are_refused(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        preprocess(*arguments)


def test_folded_patch_embedding_is_the_processors_patch_times_the_full_one() -> None:
    """README.md's folding, on a random embedding in float64."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 3, 2, 196))
    mean, std = np.array([0.48, 0.46, 0.41]), np.array([0.27, 0.26, 0.28])
    gray = rng.random((5, 196))
    full = (gray[:, None, None, :] - mean[:, None, None]) / std[:, None, None]
    full = np.broadcast_to(full, (5, 3, 2, 196))
    expected = np.einsum("nctp,octp->no", full, weight)
    folded = np.einsum("octp,c->op", weight, 1 / std)
    bias = -np.einsum("octp,c->o", weight, mean / std)
    np.testing.assert_allclose(gray @ folded.T + bias, expected, atol=1e-12)

"""The preprocess kernel against the op in NumPy, on a GPU or in Triton's interpreter.

Whether kernels are interpreted is decided when Triton is imported, so without a GPU these tests
run in a process of their own: `test_kernel_in_the_interpreter` in test_preprocess_triton.py.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if IS_INTERPRETED else "cuda"
if not IS_INTERPRETED and not torch.cuda.is_available():
    pytest.skip(
        "no GPU here; test_preprocess_triton.py runs these in the interpreter",
        allow_module_level=True,
    )

from cxr_reason.kernels.preprocess import Grid, preprocess  # noqa: E402
from cxr_reason.kernels.preprocess.triton_kernel import BLOCKS, Blocks  # noqa: E402
from cxr_reason.kernels.preprocess.triton_op import launch, preprocess_triton  # noqa: E402

logger = logging.getLogger(__name__)

# float32: products of float16 parts lose 2^-22 of 1.6 (sums of absolute weights on both axes),
# three times, and the reference rounds its own float32 sums: 1e-6. Tensor cores cut sums off
# instead of rounding them, 2^-24 for each of up to 20 steps that are not zero on each axis: 2.4e-6.
# float16: its rounding below 1 is 2^-12, that of the intensities 1.6 · 2^-12.
# bfloat16: 2^-9 and 1.6 · 2^-12.
TOLERANCES = {
    torch.float32: 4e-6,
    torch.float16: 2.6 * 2**-12,
    torch.bfloat16: 2**-9 + 1.6 * 2**-12,
}
dtypes = pytest.mark.parametrize(
    ("dtype", "tolerance"), TOLERANCES.items(), ids=lambda value: str(value).removeprefix("torch.")
)

# Name → height, width, bits, grid.
FILMS: dict[str, tuple[int, int, int, Grid]] = {
    "odd sides": (61, 47, 12, Grid(4, 2)),
    "one pixel": (1, 1, 8, Grid(2, 2)),
    "one row": (1, 60, 10, Grid(2, 12)),
    "one column": (60, 1, 9, Grid(12, 2)),
    "1 to 3": (131, 390, 14, Grid(4, 12)),
    "3 to 1": (390, 131, 11, Grid(12, 4)),
    "same size": (56, 84, 16, Grid(4, 6)),
    "enlarged": (5, 9, 8, Grid(4, 6)),
    "enlarged down, shrunk across": (9, 401, 13, Grid(4, 4)),
    "scale 20": (563, 543, 15, Grid(2, 2)),
    "multiples of 16": (96, 160, 16, Grid(4, 6)),
}


@pytest.fixture(autouse=True)
def rng() -> np.random.Generator:
    """Other inputs in each run; pytest shows the seed when a test fails."""
    seed = secrets.randbits(32)
    logger.warning("seed %d", seed)
    return np.random.default_rng(seed)


@pytest.fixture(autouse=True)
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill new memory with NaN, or -1: an element that the kernel never writes fails the test."""
    empty = torch.empty

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = empty(*args, **kwargs)
        return tensor.fill_(torch.nan if tensor.is_floating_point() else -1)

    monkeypatch.setattr(torch, "empty", poisoned)


def make_film(
    rng: np.random.Generator, height: int, width: int, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Noise, the hardest film: no error cancels between neighbours. The table is no ramp."""
    pixels = rng.integers(0, 2**bits, (height, width), dtype=np.uint16)
    return pixels, rng.random(2**bits, dtype=np.float32)


def run(
    pixels: np.ndarray | torch.Tensor, table: np.ndarray, grid: Grid, **options: Any
) -> torch.Tensor:
    film = torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels
    return preprocess_triton(film.to(DEVICE), torch.from_numpy(table).to(DEVICE), grid, **options)


def assert_near(patches: torch.Tensor, expected: np.ndarray, tolerance: float) -> None:
    assert patches.shape == expected.shape and patches.is_contiguous()
    actual = patches.cpu().to(torch.float64).numpy()
    missing = np.argwhere(np.isnan(actual))
    assert not len(missing), f"patches: {len(missing)} not written, the first at {missing[0]}"
    error = np.abs(actual - expected)
    worst = np.unravel_index(error.argmax(), error.shape)
    assert error[worst] <= tolerance, (
        f"patches: off by {error[worst]:.3g} at {worst}, allowed {tolerance:.3g}: "
        f"{actual[worst]}, expected {expected[worst]}"
    )
    assert actual.min() >= 0.0 and actual.max() <= 1.0


@dtypes
@pytest.mark.parametrize("film", FILMS)
def test_patches_are_those_of_the_reference(
    film: str, dtype: torch.dtype, tolerance: float, rng: np.random.Generator
) -> None:
    height, width, bits, grid = FILMS[film]
    pixels, table = make_film(rng, height, width, bits)
    patches = run(pixels, table, grid, dtype=dtype)
    assert patches.dtype == dtype
    assert_near(patches, preprocess(pixels, table, grid, backend="reference"), tolerance)


def run_in_blocks(
    pixels: np.ndarray, table: np.ndarray, grid: Grid, blocks: Blocks
) -> torch.Tensor:
    film, lookup = torch.from_numpy(pixels).to(DEVICE), torch.from_numpy(table).to(DEVICE)
    patches = torch.empty((grid.height * grid.width, 196), device=DEVICE)
    launch(film, lookup, grid, None, patches, blocks)
    return patches


def test_largest_grid(rng: np.random.Generator) -> None:
    pixels, table = make_film(rng, 517, 489, 12)
    grid = Grid(34, 34)
    # The interpreter's time is per block: there they are such as no GPU could hold.
    blocks = Blocks(128, 64, 64, 128, 4) if IS_INTERPRETED else BLOCKS[0]
    expected = preprocess(pixels, table, grid, backend="reference")
    assert_near(run_in_blocks(pixels, table, grid, blocks), expected, TOLERANCES[torch.float32])


@pytest.mark.parametrize("blocks", BLOCKS, ids=str)
def test_every_block_size(blocks: Blocks, rng: np.random.Generator) -> None:
    pixels, table = make_film(rng, 131, 103, 10)
    grid = Grid(6, 6)  # no multiple of a tile in either direction
    patches = run_in_blocks(pixels, table, grid, blocks)
    expected = preprocess(pixels, table, grid, backend="reference")
    assert_near(patches, expected, TOLERANCES[torch.float32])


def test_hard_edges_are_clamped() -> None:
    step = np.zeros((56, 61), np.uint16)
    step[:, 30:] = 255
    patches = run(step, np.linspace(0, 1, 256, dtype=np.float32), Grid(4, 8))
    assert patches.min() == 0.0 and patches.max() == 1.0


def run_in_slots(
    pixels: np.ndarray, table: np.ndarray, grid: Grid, slots: np.ndarray
) -> torch.Tensor:
    """Run the variant with a row for each patch, as TensorRT's plugin does, into NaN."""
    patches = torch.full((len(slots), 196), torch.nan, device=DEVICE)
    film, lut = torch.from_numpy(pixels).to(DEVICE), torch.from_numpy(table).to(DEVICE)
    places = torch.from_numpy(slots.astype(np.int32)).to(DEVICE)
    launch(film, lut, grid, places, patches, BLOCKS[0])
    return patches


def test_patches_go_to_the_rows_that_are_given(rng: np.random.Generator) -> None:
    pixels, table = make_film(rng, 123, 77, 12)
    grid = Grid(4, 10)
    merged = run(pixels, table, grid)
    slots = rng.permutation(40)
    assert torch.equal(run_in_slots(pixels, table, grid, slots)[slots], merged)


def test_a_patch_without_a_row_is_left_out(rng: np.random.Generator) -> None:
    pixels, table = make_film(rng, 30, 30, 8)
    patches = run_in_slots(pixels, table, Grid(2, 2), np.array([0, -1, 1, 3]))
    assert torch.equal(patches[[0, 1, 3]], run(pixels, table, Grid(2, 2))[[0, 2, 3]])
    assert patches[2].isnan().all()


@pytest.mark.parametrize(
    "view",
    [
        lambda film: film[3:50, 5:48],
        lambda film: film[:, ::2],
        lambda film: film[::3],
        lambda film: film.T,
    ],
    ids=["cut", "every second column", "every third row", "turned"],
)
def test_strides_do_not_matter(
    view: Callable[[torch.Tensor], torch.Tensor], rng: np.random.Generator
) -> None:
    pixels, table = make_film(rng, 64, 70, 12)
    film = view(torch.from_numpy(pixels).to(DEVICE))
    expected = preprocess(film.cpu().numpy(), table, Grid(2, 4), backend="reference")
    assert_near(run(film, table, Grid(2, 4)), expected, TOLERANCES[torch.float32])


def test_rows_may_be_more_than_32_bits_apart(rng: np.random.Generator, tmp_path: Path) -> None:
    stride, shape = 2**31 + 5, (2, 33)
    if IS_INTERPRETED:  # a file with a hole takes no memory
        memory = np.memmap(tmp_path / "film", np.uint16, "w+", shape=(stride + 33,))
        film = torch.from_numpy(memory).as_strided(shape, (stride, 1))
    else:
        storage = torch.zeros(stride + 33, dtype=torch.uint16, device=DEVICE)
        film = storage.as_strided(shape, (stride, 1))
    pixels, table = make_film(rng, *shape, 12)
    film.copy_(torch.from_numpy(pixels))
    expected = preprocess(pixels, table, Grid(2, 2), backend="reference")
    assert_near(run(film, table, Grid(2, 2)), expected, TOLERANCES[torch.float32])


def test_values_beyond_the_table_get_its_last_entry(rng: np.random.Generator) -> None:
    pixels, _ = make_film(rng, 40, 40, 16)
    table = rng.random(300, dtype=np.float32)
    expected = preprocess(np.minimum(pixels, 299), table, Grid(2, 2), backend="reference")
    assert_near(run(pixels, table, Grid(2, 2)), expected, TOLERANCES[torch.float32])


def test_input_is_not_changed(rng: np.random.Generator) -> None:
    pixels, table = make_film(rng, 40, 40, 8)
    film, lookup = torch.from_numpy(pixels.copy()), torch.from_numpy(table.copy())
    preprocess_triton(film.to(DEVICE), lookup.to(DEVICE), Grid(2, 2))
    assert np.array_equal(film, pixels) and np.array_equal(lookup, table)


def op_arguments(rng: np.random.Generator, dtype: torch.dtype) -> tuple[Any, ...]:
    pixels, table = make_film(rng, 40, 40, 8)
    return (
        torch.from_numpy(pixels).to(DEVICE),
        torch.from_numpy(table).to(DEVICE),
        *(2, 4, dtype),
    )


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_op_keeps_the_rules_of_torch(dtype: torch.dtype, rng: np.random.Generator) -> None:
    torch.library.opcheck(torch.ops.cxr.preprocess.default, op_arguments(rng, dtype))


def test_compiled_by_torch(rng: np.random.Generator) -> None:
    pixels, table, *_ = op_arguments(rng, torch.float32)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def embed(pixels: torch.Tensor, table: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        patches = preprocess_triton(pixels, table, Grid(2, 4), dtype=torch.float16)
        return patches.float() @ weight

    weight = torch.rand(196, 3, device=DEVICE)
    patches = preprocess_triton(pixels, table, Grid(2, 4), dtype=torch.float16)
    assert torch.equal(embed(pixels, table, weight), patches.float() @ weight)

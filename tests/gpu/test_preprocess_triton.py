"""What surrounds the preprocess kernel: its weights, its refusals, and its tests' interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cxr_reason.kernels.preprocess import Grid
from cxr_reason.kernels.preprocess.reference import resize_weights
from cxr_reason.kernels.preprocess.taps import WEIGHT_SCALE, filter_taps, pack_weights
from cxr_reason.kernels.preprocess.triton_op import preprocess_triton

SIZES = [(1, 28), (2, 28), (27, 28), (28, 28), (29, 28), (57, 28), (977, 448), (3056, 504)]


@pytest.mark.parametrize(("size", "new_size"), SIZES)
def test_taps_are_all_of_the_filter(size: int, new_size: int) -> None:
    starts, weights = filter_taps(size, new_size)
    taps = weights.shape[1]
    assert starts[0] >= 0 and starts[-1] + taps <= size and (np.diff(starts) >= 0).all()
    dense = np.zeros((new_size, size), np.float32)
    np.put_along_axis(dense, starts[:, None] + np.arange(taps), weights, axis=1)
    # The sum that a row is divided by has its terms in another order.
    np.testing.assert_allclose(dense, resize_weights(size, new_size), rtol=1e-6, atol=1e-9)
    assert taps <= 4 * max(size / new_size, 1.0) + 2


@pytest.mark.parametrize(("size", "new_size"), SIZES)
def test_packed_weights_have_22_bits(size: int, new_size: int) -> None:
    _, weights = filter_taps(size, new_size)
    packed = pack_weights(weights)
    assert packed.dtype == np.int32 and packed.shape == weights.shape
    high = (packed & 0xFFFF).astype(np.uint16).view(np.float16)
    low = (packed >> 16).astype(np.uint16).view(np.float16)
    sums = high.astype(np.float64) + low.astype(np.float64)
    # Where the low part is below float16's normal numbers, half of their spacing remains.
    bound = np.abs(weights) * 2.0**-22 + 2.0**-25 / WEIGHT_SCALE
    assert (np.abs(sums / WEIGHT_SCALE - weights) <= bound).all()


FILM = torch.zeros((30, 30), dtype=torch.uint16)
TABLE = torch.zeros(256)
GRID = Grid(2, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((FILM.to(torch.int32), TABLE, GRID), {}, TypeError, "pixels must be uint16"),
        ((FILM, TABLE.double(), GRID), {}, TypeError, "display_table float32"),
        ((FILM, TABLE, GRID), {"dtype": torch.float64}, TypeError, "dtype must be one of"),
        ((FILM[0], TABLE, GRID), {}, ValueError, "at least one pixel"),
        ((FILM[:0], TABLE, GRID), {}, ValueError, "at least one pixel"),
        ((FILM, TABLE[:0], GRID), {}, ValueError, "at least one pixel"),
        ((FILM, TABLE[None], GRID), {}, ValueError, "at least one pixel"),
        ((FILM, TABLE, Grid(3, 2)), {}, ValueError, "positive multiples of 2"),
        ((FILM, TABLE, Grid(2, 0)), {}, ValueError, "positive multiples of 2"),
        ((FILM, TABLE.to("meta"), GRID), {}, ValueError, "must be on the film's device, cpu"),
    ],
)
def test_wrong_tensors_are_refused(
    arguments: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        preprocess_triton(*arguments, **options)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="then it runs on the CPU")
def test_films_on_the_cpu_are_refused() -> None:
    with pytest.raises(ValueError, match=r"are on cpu: move them .* or call .*TRITON_INTERPRET=1"):
        preprocess_triton(FILM, TABLE, GRID)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_shape_is_known_without_a_gpu(dtype: torch.dtype) -> None:
    """`register_fake`: what torch.compile and torch.export trace with."""
    with FakeTensorMode():
        film = torch.empty((300, 200), dtype=torch.uint16, device="cuda")
        table = torch.empty(4096, device="cuda")
        patches = torch.ops.cxr.preprocess(film, table, 30, 20, dtype)
    assert patches.shape == (600, 196) and patches.dtype == dtype
    assert patches.device.type == "cuda" and patches.is_contiguous()


@pytest.mark.skipif(torch.cuda.is_available(), reason="test_preprocess_kernel.py runs on the GPU")
def test_kernel_in_the_interpreter() -> None:
    file = Path(__file__).with_name("test_preprocess_kernel.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]

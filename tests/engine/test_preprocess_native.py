"""The native preprocessing op against the NumPy reference, on its two code paths."""

from __future__ import annotations

import logging
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cxr_reason.kernels import preprocess as op
from cxr_reason.kernels.preprocess import Grid, PixelBudget, fit_grid, preprocess
from cxr_reason.kernels.preprocess.reference import (
    TableTooShortError,
    preprocess_reference,
    resize_weights,
)

native = pytest.importorskip(
    "cxr_reason.kernels.preprocess.native", reason="the extension is not built"
)

_logger = logging.getLogger(__name__)

# What the ramp that stands for a linear table may differ from it (native_ramp.h).
RAMP_TOLERANCE = 2.4e-7

SHAPES = [
    (1023, 977),  # odd sides
    (900, 301),  # 3:1
    (301, 900),  # 1:3
    (1, 150),  # one row
    (150, 1),  # one column
    (37, 41),  # enlarged
    (5, 90),  # sides below one patch
    (476, 301),  # one axis as it is
    (17, 2000),  # enlarged down, shrunk across
    (2999, 16),  # the other way round
]


@pytest.fixture
def rng() -> np.random.Generator:
    """Another film each run; pytest shows the seed of a failure."""
    seed = secrets.randbits(32)
    _logger.warning("seed %d", seed)
    return np.random.default_rng(seed)


@pytest.fixture(autouse=True)
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill new arrays with NaN: an element that is never written fails the comparison."""

    def poisoned(*arguments: Any) -> np.ndarray:
        array = np.empty(*arguments)
        array.fill(np.nan)
        return array

    monkeypatch.setattr(native, "np", SimpleNamespace(**{**vars(np), "empty": poisoned}))


@pytest.fixture(params=["avx2", "portable"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., np.ndarray]]:
    portable = request.param == "portable"
    if not portable and not native.has_avx2():
        pytest.skip("this processor has no AVX2")

    def call(*arguments: Any, **options: Any) -> np.ndarray:
        return native.preprocess_native(*arguments, portable=portable, **options)

    yield call


def random_film(rng: np.random.Generator, shape: tuple[int, int], bits: int) -> np.ndarray:
    return rng.integers(0, 2**bits, shape, dtype=np.uint16)


def window(bits: int, low: float, high: float) -> np.ndarray:
    """A table that is 0 up to `low`, 1 from `high` on, and straight between."""
    return np.clip((np.arange(2**bits) - low) / (high - low), 0, 1).astype(np.float32)


def tolerance(shape: tuple[int, int], grid: Grid) -> float:
    """What the order of sums can change, on the two sides together.

    A float32 sum of n products is off by at most n · 2^-24 times the sum of their sizes. The sizes
    are at most the sum of absolute weights; the second pass has the first one's error as well.
    """
    axes = zip(shape, (grid.height * 14, grid.width * 14), strict=True)
    weights = [np.abs(resize_weights(*axis)) for axis in axes]
    num_terms = sum(int((rows > 0).sum(axis=1).max()) + 2 for rows in weights)
    spread = float(np.prod([rows.sum(axis=1).max() for rows in weights]))
    return spread * (2 * num_terms * 2.0**-24 + RAMP_TOLERANCE)


def assert_same(ours: np.ndarray, expected: np.ndarray, limit: float) -> None:
    assert ours.dtype == np.float32 and ours.flags.c_contiguous
    error = np.abs(ours.astype(np.float64) - expected)
    place = np.unravel_index(np.nanargmax(error), error.shape)
    assert not np.isnan(ours).any(), "patches: an element was never written"
    assert error[place] <= limit, f"patches{place}: off by {error[place]:.3g}, allowed {limit:.3g}"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["window", "any"])
def test_equals_the_reference(
    run: Callable[..., np.ndarray], rng: np.random.Generator, shape: tuple[int, int], kind: str
) -> None:
    bits = int(rng.integers(8, 17))
    film = random_film(rng, shape, bits)
    low, high = np.sort(rng.uniform(-0.2, 1.2, 2)) * 2**bits
    table = window(bits, low, high) if kind == "window" else rng.random(2**bits, np.float32)
    height, width = (int(side) * 2 for side in rng.integers(1, 14, 2))
    for grid in (
        fit_grid(*shape, PixelBudget()) if max(shape) < 1000 else None,
        Grid(height, width),
    ):
        if grid is not None:
            expected = preprocess_reference(film, table, grid)
            assert_same(run(film, table, grid), expected, tolerance(shape, grid))


@pytest.mark.parametrize("bits", range(8, 17))
def test_full_size_film(
    run: Callable[..., np.ndarray], rng: np.random.Generator, bits: int
) -> None:
    shape = (3056, 2544)
    film = random_film(rng, shape, bits)
    table = (
        window(bits, 0.1 * 2**bits, 0.9 * 2**bits)
        if bits % 2
        else np.sqrt(window(bits, 0, 2**bits))
    )
    grid = fit_grid(*shape, PixelBudget())
    expected = preprocess_reference(film, table, grid)
    assert_same(run(film, table, grid), expected, tolerance(shape, grid))


@pytest.mark.parametrize(
    "table",
    [
        window(12, 1000, 1003),  # steep, far from 0
        window(12, 4000, 100),  # falling
        window(12, 2047.5, 2047.6),  # a step
        np.full(4096, 0.25, np.float32),
        window(12, 0, 4095) ** 2,
        window(16, 60_000, 60_100),
        np.ones(1, np.float32),
        np.array([0.2, 0.7], np.float32),
        np.array([0.2, 0.7, 0.3], np.float32),
    ],
    ids=[
        "steep",
        "falling",
        "step",
        "constant",
        "square",
        "far",
        "1 entry",
        "2 entries",
        "3 entries",
    ],
)
def test_tables(
    run: Callable[..., np.ndarray], rng: np.random.Generator, table: np.ndarray
) -> None:
    """Linear or not, steep or flat: the table's own entries are what counts."""
    shape, grid = (230, 190), Grid(8, 6)
    film = rng.integers(0, len(table), shape, dtype=np.uint16)
    expected = preprocess_reference(film, table, grid)
    assert_same(run(film, table, grid), expected, tolerance(shape, grid))


@pytest.mark.parametrize(
    "view",
    [
        lambda film: np.asfortranarray(film),
        lambda film: film[::-1, ::-1],
        lambda film: film[:, ::2],
        lambda film: film[1::3, 5:],
        lambda film: film.T,
        lambda film: np.broadcast_to(film[:1], film.shape),
    ],
    ids=["fortran", "reversed", "every second column", "part", "transposed", "repeated row"],
)
@pytest.mark.parametrize("width", [300, 304, 777])
def test_strides(
    run: Callable[..., np.ndarray],
    rng: np.random.Generator,
    view: Callable[[np.ndarray], np.ndarray],
    width: int,
) -> None:
    film = view(random_film(rng, (280, width), 12))
    for table in (window(12, 100, 4000), rng.random(4096, np.float32)):
        packed = np.ascontiguousarray(film)
        np.testing.assert_array_equal(run(film, table, Grid(8, 6)), run(packed, table, Grid(8, 6)))


def test_film_that_is_not_aligned(rng: np.random.Generator) -> None:
    film = random_film(rng, (90, 80), 12)
    raw = np.zeros(film.nbytes + 1, np.uint8)
    shifted = raw[1:].view(np.uint16).reshape(film.shape)
    shifted[:] = film
    table = window(12, 0, 4095)
    expected = native.preprocess_native(film, table, Grid(4, 4))
    np.testing.assert_array_equal(native.preprocess_native(shifted, table, Grid(4, 4)), expected)


@pytest.mark.parametrize("shape", [(1023, 977), (37, 41), (1, 150), (2, 60_000)], ids=str)
def test_threads_do_not_change_a_bit(
    run: Callable[..., np.ndarray], rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    film, table = random_film(rng, shape, 12), rng.random(4096, np.float32)
    grid = Grid(10, 10)
    alone = run(film, table, grid)
    assert_same(alone, preprocess_reference(film, table, grid), tolerance(shape, grid))
    for num_threads in (2, 3, 1000):
        np.testing.assert_array_equal(run(film, table, grid, num_threads=num_threads), alone)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_value_over_the_table(run: Callable[..., np.ndarray], num_threads: int) -> None:
    film = np.zeros((301, 203), np.uint16)
    for table in (window(8, 0, 255), np.sqrt(window(8, 0, 255))):
        for place in ((0, 0), (300, 202), (150, 101)):
            film[place] = 256
            with pytest.raises(TableTooShortError, match="256 entries"):
                run(film, table, Grid(4, 4), num_threads=num_threads)
            film[place] = 255
            run(film, table, Grid(4, 4), num_threads=num_threads)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_threads": 0}, ValueError),
        ({"backend": "gpu"}, ValueError),
    ],
)
def test_wrong_options_are_refused(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        preprocess(np.zeros((30, 30), np.uint16), window(8, 0, 255), Grid(2, 2), **options)


def test_extension_refuses_tensors_that_do_not_fit() -> None:
    """It checks its arguments itself, so that no call reads or writes outside of a tensor."""
    film, table = np.zeros((9, 9), np.uint16), np.zeros(256, np.float32)
    out = np.zeros((4, 196), np.float32)
    good = (film, table, 2, 2, out, 1, False)
    extension = native._preprocess
    assert extension(*good)
    for index, wrong in (
        (0, film[:0]),
        (2, 4),
        (3, 3),
        (2, -2),
        (4, out[:3]),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            extension(*good[:index], wrong, *good[index + 1 :])


def test_gil_is_released() -> None:
    """While one thread preprocesses, another runs Python."""
    film = np.zeros((4000, 4000), np.uint16)
    table = np.sqrt(window(8, 0, 255))
    stamps: list[float] = []
    done = threading.Event()

    def count() -> None:
        while not done.is_set():
            stamps.append(time.perf_counter())

    other = threading.Thread(target=count)
    other.start()
    try:
        for _ in range(20):
            stamps.clear()
            start = time.perf_counter()
            native.preprocess_native(film, table, Grid(34, 34))
            third = (time.perf_counter() - start) / 3
            if any(start + third < stamp < start + 2 * third for stamp in list(stamps)):
                return
    finally:
        done.set()
        other.join()
    pytest.fail("the other thread stood still in the middle of every call")


def test_largest_film_needs_little_memory() -> None:
    """100 megapixels: the rows of accumulators, not an image."""
    code = """
import resource
import numpy as np
from cxr_reason.kernels.preprocess import Grid
from cxr_reason.kernels.preprocess.native import preprocess_native
row = np.arange(10_000, dtype=np.uint16)[None]
table = np.sqrt(np.linspace(0, 1, 10_000, dtype=np.float32))
one = preprocess_native(row, table, Grid(34, 34))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
film = np.broadcast_to(row, (10_000, 10_000))
many = preprocess_native(film, table, Grid(34, 34))
grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert np.abs(one - many).max() < 1e-5
assert grown_kib < 4096, grown_kib
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.fixture
def without_extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    op._choose.cache_clear()
    monkeypatch.setitem(sys.modules, "cxr_reason.kernels.preprocess.native", None)
    yield
    op._choose.cache_clear()


@pytest.mark.usefixtures("without_extension")
def test_missing_extension(caplog: pytest.LogCaptureFixture) -> None:
    good = (np.zeros((30, 30), np.uint16), window(8, 0, 255), Grid(2, 2))
    with caplog.at_level(logging.INFO, logger=op.__name__):
        for _ in range(3):
            preprocess(*good)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "extension cannot be loaded" in caplog.text
    with pytest.raises(ImportError, match="C\\+\\+ compiler"):
        preprocess(*good, backend="native")

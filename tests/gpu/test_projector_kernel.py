"""The projector's Triton kernels against the op in float32, on a GPU or in the interpreter.

Whether kernels are interpreted is decided when Triton is imported, so without a GPU these tests
run in a process of their own: `test_kernels_in_the_interpreter` in test_projector.py starts it.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if IS_INTERPRETED else "cuda"
if not IS_INTERPRETED and not torch.cuda.is_available():
    pytest.skip(
        "no GPU here; test_projector.py runs these in the interpreter", allow_module_level=True
    )

from cxr_reason.checkpoint import Checkpoint  # noqa: E402, after the skip
from cxr_reason.kernels.projector import projector  # noqa: E402
from cxr_reason.kernels.projector import triton_kernel as kernel  # noqa: E402
from cxr_reason.kernels.projector.reference import projector_reference  # noqa: E402
from cxr_reason.kernels.projector.tuning import (  # noqa: E402
    BlockConfig,
    Problem,
    choose_config,
    load_tuning,
    reset_tuning,
    save_tuning,
)
from cxr_reason.kernels.projector.verification import (  # noqa: E402
    ROUNDING,
    SHAPES,
    compute_exact,
    find_error,
    make_inputs,
)

logger = logging.getLogger(__name__)

# The tolerance of each is in `find_error`, from the rounding of the dtype.
dtypes = pytest.mark.parametrize(
    "dtype", ROUNDING, ids=lambda dtype: str(dtype).removeprefix("torch.")
)


@pytest.fixture
def seed() -> int:
    value = secrets.randbits(32)
    logger.warning("seed %d", value)  # pytest shows it when the test fails
    return value


@pytest.fixture(autouse=True)
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill new memory with NaN, or -1: an element that no kernel writes fails the test."""
    empty = torch.empty

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = empty(*args, **kwargs)
        return tensor.fill_(torch.nan if tensor.is_floating_point() else -1)

    monkeypatch.setattr(torch, "empty", poisoned)


@pytest.fixture(autouse=True)
def fresh_tuning() -> Iterator[None]:
    reset_tuning()
    yield
    reset_tuning()


def make(num_patches: int, shape: str, dtype: torch.dtype, seed: int) -> dict[str, torch.Tensor]:
    return make_inputs(num_patches, *SHAPES[shape], dtype, seed=seed, device=DEVICE)


def choose_large_blocks(dtype: torch.dtype) -> None:
    """Tune the 3B shapes to blocks that no GPU could hold: the interpreter's time is per block."""
    size, out_size = SHAPES["3b"]
    for name, depth, columns in (("fc1", size, 4 * size), ("fc2", 4 * size, out_size)):
        kind = str(dtype).removeprefix("torch.")
        problem = Problem(name, "cpu", kind, depth, columns, tokens=16)
        large = BlockConfig(16, 512, 256, 4, 1)
        assert choose_config(problem, [large], large, lambda config: 1.0) == large


@dtypes
@pytest.mark.parametrize(
    ("shape", "num_patches"),
    # One token; three; a block and one; the largest film.
    [("nano", 4), ("nano", 12), ("nano", 64 * 4 + 4), ("nano", 1156), ("3b", 12)],
    ids=lambda value: f"{value}",
)
def test_kernel_is_the_op(shape: str, num_patches: int, dtype: torch.dtype, seed: int) -> None:
    inputs = make(num_patches, shape, dtype, seed)
    if IS_INTERPRETED and shape == "3b":
        choose_large_blocks(dtype)
    result = projector(**inputs, backend="triton")
    assert result.dtype == dtype
    assert find_error(result, compute_exact(inputs)) is None, f"seed {seed}"


@pytest.mark.skipif(IS_INTERPRETED, reason="too slow in the interpreter")
@dtypes
@pytest.mark.parametrize("num_patches", [4, 68, 288, 1156, 8 * 1156])
def test_kernel_is_the_op_at_3b_shapes(num_patches: int, dtype: torch.dtype, seed: int) -> None:
    inputs = make(num_patches, "3b", dtype, seed)
    result = projector(**inputs, backend="triton")
    assert find_error(result, compute_exact(inputs)) is None, f"seed {seed}"


@dtypes
@pytest.mark.parametrize("kind", [None, torch.int32, torch.int64], ids=str)
def test_merge_order(kind: torch.dtype | None, dtype: torch.dtype, seed: int) -> None:
    inputs = make(100, "nano", dtype, seed)
    order = inputs.pop("merge_order")
    in_window_order = projector(**inputs, backend="triton")
    if kind is None:
        assert find_error(in_window_order, compute_exact(inputs)) is None, f"seed {seed}"
        return
    result = projector(**inputs, merge_order=order.to(kind), backend="triton")
    # The order moves rows, it computes nothing.
    assert torch.equal(result, in_window_order[order]), f"seed {seed}"


def test_an_invalid_order_writes_nothing_outside(seed: int) -> None:
    inputs = make(16, "nano", torch.float16, seed)
    inputs["merge_order"] = torch.tensor([0, 7, -3, 2], device=DEVICE)
    result = projector(**inputs, backend="triton")
    inputs["merge_order"] = torch.arange(4, device=DEVICE)
    expected = projector(**inputs, backend="triton")
    assert torch.equal(result[[0, 3]], expected[[0, 2]])
    assert result[[1, 2]].isnan().all(), "rows that the order does not name stay as they were"


@dtypes
@pytest.mark.parametrize("launch", ["fc1", "fc2"])
def test_every_configuration(launch: str, dtype: torch.dtype, seed: int) -> None:
    # Narrow, for the interpreter; every block divides these sizes, most of them more than once.
    inputs = make_inputs(4 * 70, 128, 256, dtype, seed=seed, device=DEVICE)
    exact = compute_exact(inputs)
    x, norm_weight, fc1_weight, fc1_bias, fc2_weight, fc2_bias, order = inputs.values()
    columns = fc1_weight.shape[0] if launch == "fc1" else fc2_weight.shape[0]
    depth = x.shape[1] if launch == "fc1" else fc2_weight.shape[1]
    configs = kernel.fitting_configs(kernel.CONFIGS[launch][0], depth, columns)
    assert len(configs) == len(kernel.CONFIGS[launch][0])
    hidden, inverse = kernel.fc1(x, norm_weight, fc1_weight, fc1_bias, order)
    for config in configs:
        if launch == "fc1":
            hidden, inverse = kernel.fc1(x, norm_weight, fc1_weight, fc1_bias, order, config)
            result = kernel.fc2(hidden, fc2_weight, fc2_bias, inverse)
        else:
            result = kernel.fc2(hidden, fc2_weight, fc2_bias, inverse, config)
        assert find_error(result, exact) is None, f"{config}, seed {seed}"


@dtypes
def test_rows_of_equal_squares(dtype: torch.dtype, seed: int) -> None:
    """Squares are summed rounded to bfloat16: the worst that may do is when all round alike."""
    inputs = make(16, "nano", dtype, seed)
    worst = 1 + 2.0**-4 + 2.0**-5  # its square is far from a bfloat16
    inputs["x"] = torch.full_like(inputs["x"], worst) * inputs["x"].sign()
    result, exact = projector(**inputs, backend="triton").float(), compute_exact(inputs)
    error = (result - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    # Half of a rounding of bfloat16 in the root, on top of the usual.
    assert error <= 1.25 * ROUNDING[dtype] + 2.0**-9, f"seed {seed}"


def test_float16_does_not_overflow_before_the_norm(seed: int) -> None:
    inputs = make(16, "nano", torch.float16, seed)
    inputs["x"] = inputs["x"].sign() * 6e4
    inputs["norm_weight"] = inputs["norm_weight"].abs() * 8
    inputs["fc1_weight"] /= 8
    result = projector(**inputs, backend="triton")
    exact = compute_exact(inputs)
    error = (result.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert error <= 1.25 * ROUNDING[torch.float16] + 2.0**-9, f"seed {seed}"


@dtypes
def test_zero_and_tiny_rows(dtype: torch.dtype, seed: int) -> None:
    """Below the norm's epsilon; float16 products are subnormal here."""
    inputs = make(16, "nano", dtype, seed)
    inputs["x"] = (inputs["x"].float().clamp(-1, 1) * 1e-3).to(dtype)
    inputs["x"][5] = 0
    result, exact = projector(**inputs, backend="triton").float(), compute_exact(inputs)
    error = (result - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    # Subnormal products add up to 2^-11 of a normalised row.
    assert error <= 1.25 * ROUNDING[dtype] + 2.0**-11, f"seed {seed}"


def test_kernel_is_at_least_as_near_as_transformers_own_rounding(seed: int) -> None:
    """Transformers rounds to the dtype after each of five steps, the kernel after three."""
    inputs = make(256, "nano", torch.bfloat16, seed)
    exact = compute_exact(inputs)
    x, norm_weight, fc1_weight, fc1_bias, fc2_weight, fc2_bias, order = inputs.values()
    wide = x.float()
    rstd = torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)
    merged = (norm_weight * (wide * rstd).to(x.dtype)).view(64, -1)
    hidden = torch.nn.functional.gelu(torch.nn.functional.linear(merged, fc1_weight, fc1_bias))
    eager = torch.nn.functional.linear(hidden, fc2_weight, fc2_bias)[order]
    own = projector(**inputs, backend="triton")
    assert (own - exact).square().mean() <= (eager - exact).square().mean(), f"seed {seed}"


def test_torch_library_contract(seed: int) -> None:
    inputs = tuple(make(16, "nano", torch.bfloat16, seed).values())
    torch.library.opcheck(torch.ops.cxr.projector, inputs)
    torch.library.opcheck(torch.ops.cxr.projector, (*inputs[:-1], None))


def test_torch_compile_keeps_one_graph(seed: int) -> None:
    inputs = make(16, "nano", torch.bfloat16, seed)

    def twice(**tensors: torch.Tensor) -> torch.Tensor:
        return 2 * projector(**tensors, backend="triton")

    compiled = torch.compile(twice, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(**inputs), twice(**inputs)), f"seed {seed}"


def test_fake_tensors_have_the_shape_of_real_ones() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        inputs = [torch.zeros(8, 192, dtype=torch.float16), torch.zeros(192, dtype=torch.float16)]
        inputs += [torch.zeros(768, 768), torch.zeros(768), torch.zeros(256, 768)]
        result = torch.ops.cxr.projector(*inputs, torch.zeros(256), None)
    assert result.shape == (2, 256) and result.dtype == torch.float16


def test_tuning_file_is_used_and_nothing_is_measured(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = make(80, "nano", torch.float16, seed)  # 20 tokens: bucket 32
    measured: list[BlockConfig] = []
    used: list[BlockConfig] = []

    def fake_timer(launch: Any) -> Any:
        def measure(config: BlockConfig) -> float:
            measured.append(config)
            return float(config.block_t * config.num_stages)

        return measure

    class Watched:
        def __getitem__(self, grid: Any) -> Any:
            def launch(*args: Any, num_warps: int, num_stages: int, **sizes: int) -> None:
                blocks = sizes["BT"], sizes["BN"], sizes["BK"]
                used.append(BlockConfig(*blocks, num_warps, num_stages))

            return launch

    monkeypatch.setattr(kernel, "_timer", fake_timer)
    monkeypatch.setattr(kernel, "_can_measure", lambda x: True)
    monkeypatch.setattr(kernel, "projector_fc1_kernel", Watched())
    monkeypatch.setattr(kernel, "projector_fc2_kernel", Watched())

    projector(**inputs, backend="triton")
    assert measured
    best = min(measured[:3], key=lambda config: config.block_t)
    assert used[0].block_t == best.block_t == 16
    tuned = list(used)
    save_tuning(tmp_path / "tuning.json")

    reset_tuning()
    measured.clear()
    used.clear()
    load_tuning(tmp_path / "tuning.json")
    projector(**inputs, backend="triton")
    assert used == tuned and not measured

    # Another bucket: the defaults, and one line in the log for each launch.
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            projector(**make(400, "nano", torch.float16, seed), backend="triton")
    assert used[2:4] == [kernel.FC1_DEFAULT, kernel.FC2_DEFAULT] and not measured
    assert caplog.text.count("no tuned choice") == 2


def test_patches_of_the_wrong_width_are_refused() -> None:
    inputs = make_inputs(8, 40, 64, torch.float16, seed=0, device=DEVICE)
    from cxr_reason.errors import EngineError

    with pytest.raises(EngineError, match="patch width in 32s"):
        projector(**inputs, backend="triton")
    order = inputs.pop("merge_order")
    assert torch.equal(
        projector(**inputs, merge_order=order), projector_reference(**inputs, merge_order=order)
    )


def test_reference_engine_with_kernels(nano: Checkpoint, seed: int) -> None:
    """Pixels to visual tokens in bfloat16, with our kernels and with transformers' modules."""
    from cxr_reason.engine.reference.engine import ReferenceEngine
    from cxr_reason.kernels.preprocess import Grid

    pixels = torch.randint(0, 4096, (190, 150), generator=torch.Generator().manual_seed(seed))
    table = torch.linspace(0, 1, 4096).numpy()
    film = (pixels.numpy().astype("uint16"), table, Grid(12, 10))
    tokens = {}
    for name, dtype, kernels in (
        ("exact", torch.float32, "torch"),
        ("torch", torch.bfloat16, "torch"),
        ("triton", torch.bfloat16, "triton"),
    ):
        with ReferenceEngine(nano, device=DEVICE, dtype=dtype, kernels=kernels) as engine:
            assert engine.is_fused == (kernels == "triton")
            tokens[name] = torch.from_numpy(engine.encode_pixels(*film).tokens)
    typical = tokens["exact"].square().mean().sqrt()
    error = {
        name: (t - tokens["exact"]).square().mean().sqrt() / typical for name, t in tokens.items()
    }
    # The tower's own rounding dominates and differs by chance; the kernels must not add to it.
    assert error["triton"] <= 1.1 * error["torch"] < 0.1, f"seed {seed}"

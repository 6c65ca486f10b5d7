"""The kernels on one device: their correctness, and their times beside floors and baselines."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
import triton
from numpy.typing import NDArray
from torch import Tensor

from cxr_reason.kernels.preprocess import Grid, PixelBudget, fit_grid
from cxr_reason.kernels.preprocess.reference import preprocess_reference
from cxr_reason.kernels.preprocess.triton_op import preprocess_triton
from cxr_reason.kernels.projector import projector
from cxr_reason.kernels.projector import triton_kernel as projector_kernels
from cxr_reason.kernels.projector.verification import (
    ROUNDING,
    SHAPES,
    compute_exact,
    find_error,
    make_inputs,
)

Run = Callable[[], Any]


class Timing(NamedTuple):
    """Median time and the number of runs it is of."""

    ms: float
    runs: int


@dataclass(frozen=True)
class Scope:
    """What is run, on what.

    Attributes:
        device: "cuda", or "cpu" for a dry run in the interpreter.
        films: Name → rows and columns of films to time.
        patches: Patches of projector inputs to time, at `shape`.
        shape: Of `SHAPES`.
        odd_films: Films that are only checked.
        seed: Of all inputs.
    """

    device: str
    films: dict[str, tuple[int, int]]
    patches: tuple[int, ...]
    shape: str
    odd_films: tuple[tuple[int, int], ...]
    seed: int

    @property
    def is_dry(self) -> bool:
        """Nothing here is a measurement."""
        return self.device == "cpu"


FULL = partial(
    Scope,
    device="cuda",
    films={"film 3056x2544": (3056, 2544), "film 1955x1841 (RG1)": (1955, 1841)},
    patches=(288, 1156, 8 * 1156),
    shape="3b",
    odd_films=((1, 90), (131, 393), (501, 499), (4096, 4096)),
)
DRY = partial(
    Scope,
    device="cpu",
    films={"film 90x70": (90, 70)},
    patches=(16,),
    shape="nano",
    odd_films=((31, 93),),
)


def make_film(
    shape: tuple[int, int], seed: int
) -> tuple[NDArray[np.uint16], NDArray[np.float32], Grid]:
    """Draw a 12-bit film with a curved display table."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 4096, shape, dtype=np.uint16)
    table = np.sort(generator.random(4096, dtype=np.float32))
    return pixels, table, fit_grid(*shape, PixelBudget())


def check_preprocess(shape: tuple[int, int], scope: Scope) -> str | None:
    """Compare with the NumPy reference; None if they agree."""
    pixels, table, grid = make_film(shape, scope.seed)
    film, device_table = (torch.from_numpy(array).to(scope.device) for array in (pixels, table))
    result = preprocess_triton(film, device_table, grid).cpu().numpy()
    error = np.abs(result - preprocess_reference(pixels, table, grid)).max()
    # The tests allow 4e-6 and derive it; the sums of the largest films here have more terms.
    return None if error <= 5e-6 else f"off by {error:.1e} of full scale; 5e-6 are allowed"


def check_projector(num_patches: int, dtype: torch.dtype, scope: Scope) -> str | None:
    """Compare the public op, default blocks, with the op in float32; None if they agree."""
    inputs = make_inputs(
        num_patches, *SHAPES[scope.shape], dtype, seed=scope.seed, device=scope.device
    )
    return find_error(projector(**inputs, backend="triton"), compute_exact(inputs))


def check_candidates(dtype: torch.dtype, scope: Scope) -> str | None:
    """Compare every candidate that the tuning may choose; None if all agree."""
    size, out_size = SHAPES[scope.shape]
    inputs = make_inputs(4 * 70, size, out_size, dtype, seed=scope.seed, device=scope.device)
    exact = compute_exact(inputs)
    x, norm, weight1, bias1, weight2, bias2, order = inputs.values()
    for name, depth, columns in (("fc1", size, 4 * size), ("fc2", 4 * size, out_size)):
        configs, default = projector_kernels.CONFIGS[name]
        candidates = projector_kernels.fitting_configs(configs, depth, columns)
        for config in candidates[:1] if scope.is_dry else candidates:
            first, second = (config, None) if name == "fc1" else (None, config)
            try:
                hidden, inverse = projector_kernels.fc1(x, norm, weight1, bias1, order, first)
                result = projector_kernels.fc2(hidden, weight2, bias2, inverse, second)
            except triton.runtime.errors.OutOfResources:
                if config == default:
                    raise
                continue  # the tuning skips it too
            if error := find_error(result, exact):
                return f"{name}, {config}: {error}"
    return None


def checks(scope: Scope) -> Iterator[tuple[str, Callable[[], str | None]]]:
    """Yield what to check, by the name of the op that a failure marks as wrong."""
    for shape in (*scope.films.values(), *scope.odd_films):
        yield "preprocess", partial(check_preprocess, shape, scope)
    for dtype in ROUNDING:
        yield "projector", partial(check_candidates, dtype, scope)
        for num_patches in (4, 12, *scope.patches):
            yield "projector", partial(check_projector, num_patches, dtype, scope)


def measure(run: Run, scope: Scope) -> Timing:
    """Time on the device, caches cold, without the cost of launching.

    A CUDA graph holds the launches, so that a slow host does not count. `do_bench` empties the L2
    cache before each run and takes the time between two events.
    """
    if scope.is_dry:
        start = time.perf_counter()
        run()
        return Timing((time.perf_counter() - start) * 1e3, 1)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # compiles and tunes
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        run()
    times_ms = triton.testing.do_bench(graph.replay, warmup=50, rep=200, return_mode="all")
    return Timing(statistics.median(times_ms), len(times_ms))


def measure_ceilings(scope: Scope) -> tuple[float, float]:
    """Return bytes a second of a copy (read and written) and bf16 operations a second of a GEMM."""
    size, side = (2**24, 256) if scope.is_dry else (2**31, 8192)
    source = torch.zeros(size, dtype=torch.uint8, device=scope.device)
    target = torch.empty_like(source)
    copy = measure(lambda: target.copy_(source), scope)
    a, b = (torch.randn(side, side, device=scope.device).bfloat16() for _ in range(2))
    product = measure(lambda: a @ b, scope)
    return 2 * size / copy.ms * 1e3, 2 * side**3 / product.ms * 1e3


def eager_preprocess(pixels: Tensor, table: Tensor, grid: Grid) -> Tensor:
    """The op as one would write it in torch."""
    light = table[pixels.int()]
    size = (grid.height * 14, grid.width * 14)
    resized = F.interpolate(light[None, None], size, mode="bicubic", antialias=True)[0, 0]
    blocks = resized.clamp(0, 1).reshape(grid.height // 2, 2, 14, grid.width // 2, 2, 14)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(-1, 196)


def eager_projector(
    x: Tensor,
    norm_weight: Tensor,
    fc1_weight: Tensor,
    fc1_bias: Tensor,
    fc2_weight: Tensor,
    fc2_bias: Tensor,
    merge_order: Tensor,
) -> Tensor:
    """The op as transformers runs it, in the dtype of the model."""
    wide = x.float()
    normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)
    merged = (norm_weight * normed.to(x.dtype)).view(-1, 4 * x.shape[1])
    hidden = F.gelu(F.linear(merged, fc1_weight, fc1_bias))
    return F.linear(hidden, fc2_weight, fc2_bias)[merge_order]


def time_preprocess(scope: Scope, bandwidth: float) -> Iterator[dict[str, Any]]:
    """Time each film against reading it once, torch, and torch.compile."""
    for name, shape in scope.films.items():
        pixels, table, grid = make_film(shape, scope.seed)
        film, light = (torch.from_numpy(array).to(scope.device) for array in (pixels, table))
        case = f"preprocess, {name}"
        ours = measure(partial(preprocess_triton, film, light, grid), scope)
        yield make_row(case, ours, "reading the film once", pixels.nbytes / bandwidth * 1e3)
        yield from compare(case, ours, partial(eager_preprocess, film, light, grid), scope)


def time_projector(scope: Scope, bandwidth: float, flops: float) -> Iterator[dict[str, Any]]:
    """Time each size in bf16 against the floor, torch, and torch.compile."""
    size, out_size = SHAPES[scope.shape]
    width = 4 * size
    for num_patches in scope.patches:
        inputs = make_inputs(
            num_patches, size, out_size, torch.bfloat16, seed=scope.seed, device=scope.device
        )
        tokens = num_patches // 4
        num_bytes = 2 * (width + tokens) * (width + out_size)
        operations = 2 * tokens * width * (width + out_size)
        floor_ms = max(num_bytes / bandwidth, operations / flops) * 1e3
        case = f"projector {scope.shape} bf16, {num_patches} patches"
        ours = measure(partial(projector, **inputs, backend="triton"), scope)
        yield make_row(case, ours, "weights read once, or bf16 GEMM peak", floor_ms)
        yield from compare(case, ours, partial(eager_projector, **inputs), scope)


def compare(
    case: str, ours: Timing, eager: partial[Tensor], scope: Scope
) -> Iterator[dict[str, Any]]:
    """Time the op written in torch, as it is and compiled.

    In a dry run it is only traced, which needs no compiler.
    """
    inductor = "eager" if scope.is_dry else "inductor"
    compiled = torch.compile(eager.func, dynamic=False, backend=inductor)
    runs = {"torch": eager, "torch.compile": partial(compiled, *eager.args, **eager.keywords)}
    for baseline, run in runs.items():
        try:
            value_ms = measure(run, scope).ms
        except Exception as error:  # a baseline that cannot run here does not make ours wrong
            print(f"{case}: {baseline} cannot run: {type(error).__name__}: {error}")
        else:
            yield make_row(case, ours, baseline, value_ms)


def make_row(case: str, ours: Timing, baseline: str, value_ms: float) -> dict[str, Any]:
    """Return one row of the report; a ratio above 1 means that we are ahead."""
    return {
        "case": case,
        "metric": "time on the device",
        "unit": "ms",
        "ours": ours.ms,
        "baseline": baseline,
        "baseline_value": value_ms,
        "ratio": value_ms / ours.ms,
        "runs": ours.runs,
    }

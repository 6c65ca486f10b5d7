"""Times preprocessing beside its baselines; `cxr-reason bench kernels` runs it.

Every op is compared with the reference first, and a wrong one gets no time. Then all take turns,
so that other load on the machine affects all of them. Times are medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from cxr_reason.benchmarks.baselines import compositions, usual_pipelines
from cxr_reason.benchmarks.kernel_cases import KernelCase, make_cases
from cxr_reason.evaluation.result_line import describe_machine, make_report
from cxr_reason.kernels.preprocess import preprocess

PACKAGES = ("numpy", "torch", "torchvision", "transformers", "pillow", "pydicom",
            "opencv-python-headless")  # fmt: skip

_WARM_UPS = 2
# Order of float32 sums; kernels/preprocess/README.md has the bound for the sizes measured.
_FLOAT_TOLERANCE = 1e-5
# Gray levels of 255: two roundings to 8 bits are 0.3 off on average; other filters, more than 1.
_MEAN_LEVELS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, measure and print; return 1 if an op gave a wrong result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console(width=110)
    console.print(f"machine: {describe_machine()}; load {os.getloadavg()[0]:.1f}", highlight=False)
    if importlib.util.find_spec("cv2") is None:
        console.print("note: without OpenCV 5 the fastest composition known is not measured")
    results: list[dict[str, Any]] = []
    all_right = True
    cases = make_cases()
    if not any(case.name.startswith("RG1") for case in cases):
        console.print("note: without the package pydicom-data there is no RG1")
    for case in cases:
        ops, wrong = _check(case)
        all_right = all_right and not wrong
        times_ms = _measure(ops, options.runs)
        _print_case(console, case, times_ms, wrong)
        results += _make_rows(case, times_ms, options.runs)
    if options.json:
        console.print(make_report("kernels", PACKAGES, results), soft_wrap=True, highlight=False)
    return 0 if all_right else 1


class _Op:
    """A way to preprocess; `group` says what it stands for: ours, usual or composed."""

    def __init__(self, name: str, group: str, run: Callable[[], Any]) -> None:
        self.name, self.group, self.run = name, group, run


def _check(case: KernelCase) -> tuple[list[_Op], list[str]]:
    """Return the ops whose result is right, and what is wrong with the others."""
    expected = preprocess(case.pixels, case.display_table, case.grid, backend="reference")
    ops, wrong = [], []

    def judge(op: _Op, gray: NDArray[np.float32], *, is_8_bit: bool) -> None:
        error = np.abs(gray - expected)
        off = float(error.mean() * 255 if is_8_bit else error.max())
        if off <= (_MEAN_LEVELS if is_8_bit else _FLOAT_TOLERANCE):
            ops.append(op)
        else:
            wrong.append(f"{op.name}: off by {off:.2g}{' gray levels' if is_8_bit else ''}")

    for num_threads in sorted({1, os.cpu_count() or 1}):
        op = _Op(_name_ours(num_threads), "ours", _bind(case, num_threads))
        judge(op, op.run(), is_8_bit=False)
    for group, baselines in (("usual", usual_pipelines(case)), ("composed", compositions(case))):
        for baseline in baselines:
            op = _Op(baseline.name, group, baseline.run)
            judge(op, baseline.to_gray(op.run()), is_8_bit=baseline.is_8_bit)
    return ops, wrong


def _name_ours(num_threads: int) -> str:
    return f"ours, {num_threads} thread{'s' if num_threads > 1 else ''}"


def _bind(case: KernelCase, num_threads: int) -> Callable[[], NDArray[np.float32]]:
    return lambda: preprocess(
        case.pixels, case.display_table, case.grid, num_threads=num_threads, backend="native"
    )


def _measure(ops: list[_Op], runs: int) -> dict[_Op, float]:
    times_ms: dict[_Op, list[float]] = {op: [] for op in ops}
    for index in range(_WARM_UPS + runs):
        for op in ops:
            start = time.perf_counter()
            op.run()
            if index >= _WARM_UPS:
                times_ms[op].append((time.perf_counter() - start) * 1e3)
    return {op: statistics.median(values) for op, values in times_ms.items()}


def _find_ours(times_ms: dict[_Op, float]) -> float | None:
    ours = _name_ours(1)
    return next((value for op, value in times_ms.items() if op.name == ours), None)


def _print_case(
    console: Console, case: KernelCase, times_ms: dict[_Op, float], wrong: list[str]
) -> None:
    ours_ms = _find_ours(times_ms)
    table = Table(title=f"{case.name} → {tuple(case.grid)} patches", title_justify="left")
    table.add_column("one thread unless it says more")
    table.add_column("ms", justify="right")
    table.add_column("times ours", justify="right")
    for op, value in times_ms.items():
        ratio = f"{value / ours_ms:.1f}" if ours_ms else ""
        table.add_row(op.name, f"{value:.2f}", ratio)
    console.print(table)
    for line in wrong:
        console.print(f"[red]wrong result, not timed: {line}[/red]")


def _make_rows(case: KernelCase, times_ms: dict[_Op, float], runs: int) -> list[dict[str, Any]]:
    """Compare with the usual pipelines and the fastest composition; all cores with one."""
    ours_ms = _find_ours(times_ms)
    if ours_ms is None:
        return []
    composed = sorted((op for op in times_ms if op.group == "composed"), key=times_ms.__getitem__)
    baselines = [*(op for op in times_ms if op.group == "usual"), *composed[:1]]
    pairs = [("one thread", ours_ms, op.name, times_ms[op]) for op in baselines]
    pairs += [
        (op.name, value, _name_ours(1), ours_ms)
        for op, value in times_ms.items()
        if op.group == "ours" and op.name != _name_ours(1)
    ]
    return [
        {
            "case": case.name,
            "metric": f"preprocess, {metric}",
            "unit": "ms",
            "ours": round(value, 3),
            "baseline": baseline,
            "baseline_value": round(baseline_value, 3),
            "ratio": round(baseline_value / value, 2),
            "runs": runs,
        }
        for metric, value, baseline, baseline_value in pairs
    ]


if __name__ == "__main__":
    sys.exit(main())

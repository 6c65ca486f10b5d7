"""Shows on a machine with an NVIDIA GPU that the kernels are right, and how fast they are.

    PYTHONPATH=src python -m cxr_reason.benchmarks.gpu_acceptance

takes at most 8 minutes and no network. `--quick` runs the same steps, tiny, on a CPU;
`--tensorrt-llm ENGINE…` the backend tensorrt-llm instead, where it is installed.

Needs torch, triton, transformers and numpy only. In order: all kernels against their references;
bandwidth and bf16 rate of this GPU; times of the kernels beside these ceilings, torch and
torch.compile; the `reference` backend at 3B shapes with and without the kernels. No speed is
given for an op whose check failed. The last line is JSON. Exit status: 0 all right, 1 a check or
step failed, 2 no CUDA. A quick run interprets the kernels: its times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

TIME_LIMIT_S = 8 * 60
# A step that starts later may not end in time: compiling and tuning take most of it.
LAST_START_S = {"preprocess": 240, "projector": 300, "engine": 390}
PACKAGES = ("torch", "triton", "transformers", "numpy")


def check_all(checks: Iterable[tuple[str, Callable[[], str | None]]]) -> set[str]:
    """Run checks, print a line for each op, and return the ops that failed one."""
    counts: dict[str, int] = {}
    failed: set[str] = set()
    for name, check in checks:
        counts[name] = counts.get(name, 0) + 1
        try:
            error = check()
        except Exception:  # any failure on this device: the others still run
            error = traceback.format_exc()
        if error:
            failed.add(name)
            print(f"check {name}: FAILED: {error}")
    for name, count in counts.items():
        print(f"check {name}: {'FAILED' if name in failed else 'right'}, {count} comparisons")
    return failed


def run(quick: bool, seed: int) -> int:
    """Run all steps; return the exit status."""
    start = time.monotonic()
    import torch

    # Triton decides at import whether it interprets: all that imports it comes after `main`.
    from cxr_reason.benchmarks.gpu_engine import time_engine
    from cxr_reason.benchmarks.gpu_kernels import (
        DRY,
        FULL,
        checks,
        measure_ceilings,
        time_preprocess,
        time_projector,
    )
    from cxr_reason.evaluation.result_line import describe_machine, make_report
    from cxr_reason.kernels.projector.tuning import load_tuning, reset_tuning

    scope = (DRY if quick else FULL)(seed=seed)
    device = "interpreter, not a measurement" if quick else torch.cuda.get_device_name()
    print(f"machine: {device}; {describe_machine()}\nseed: {seed}")

    with tempfile.TemporaryDirectory() as folder:
        # Checks run every candidate on purpose; what else they run need not be tuned first.
        empty = Path(folder) / "tuning.json"
        empty.write_text('{"format": 1, "choices": []}', encoding="utf-8")
        load_tuning(empty)
        failed = check_all(checks(scope))
    reset_tuning()

    bandwidth, flops = measure_ceilings(scope)
    print(f"copy {bandwidth / 1e9:.0f} GB/s, bf16 GEMM {flops / 1e12:.1f} TFLOP/s")
    steps: dict[str, tuple[set[str], Callable[[], Iterable[dict[str, Any]]]]] = {
        "preprocess": ({"preprocess"}, lambda: time_preprocess(scope, bandwidth)),
        "projector": ({"projector"}, lambda: time_projector(scope, bandwidth, flops)),
        "engine": ({"preprocess", "projector"}, lambda: time_engine(scope)),
    }
    results: list[dict[str, Any]] = []
    is_complete = not failed
    for name, (needed, step) in steps.items():
        elapsed_s = time.monotonic() - start
        if needed & failed:
            print(f"{name}: not timed, a check of {', '.join(sorted(needed & failed))} failed")
        elif elapsed_s > LAST_START_S[name]:
            print(f"{name}: not timed, {elapsed_s:.0f} s of {TIME_LIMIT_S} s are gone")
            is_complete = False
        else:
            try:
                for row in step():
                    print_row(row)
                    results.append(row)
            except Exception:  # the other steps still run
                print(f"{name}: FAILED\n{traceback.format_exc()}")
                is_complete = False
    print(f"took {time.monotonic() - start:.0f} s")
    for metric, unit, value in (
        ("copy bandwidth", "B/s", bandwidth),
        ("bf16 GEMM rate", "FLOP/s", flops),
    ):
        row = dict.fromkeys(("baseline", "baseline_value", "ratio", "runs"))
        results.append({"case": "ceiling", "metric": metric, "unit": unit, "ours": value, **row})
    report = json.loads(make_report("gpu_acceptance", PACKAGES, results))
    print(json.dumps({**report, "machine": f"{device}; {report['machine']}"}))
    return 0 if is_complete else 1


def run_tensorrt_llm(engines: list[Path], seed: int, *, data: str, num_films: int) -> int:
    """Run the steps of `gpu_trtllm`; return the exit status."""
    import torch

    from cxr_reason.benchmarks import gpu_trtllm
    from cxr_reason.benchmarks.gpu_kernels import FULL, measure_ceilings
    from cxr_reason.evaluation.result_line import describe_machine, make_report

    device = torch.cuda.get_device_name()
    print(f"machine: {device}; {describe_machine()}")
    problems = gpu_trtllm.check_signatures()
    for problem in problems:
        print(f"signatures: {problem}")
    bandwidth, _ = measure_ceilings(FULL(seed=seed))
    print(f"signatures: {len(problems)} problems; copy {bandwidth / 1e9:.0f} GB/s")
    results: list[dict[str, Any]] = []
    is_complete = not problems
    for name, step in gpu_trtllm.run_steps(engines, bandwidth, data=data, num_films=num_films):
        try:
            rows = step()
        except Exception:  # the other steps still run
            print(f"{name}: FAILED\n{traceback.format_exc()}")
            is_complete = False
            continue
        for row in rows:
            print(json.dumps(row), flush=True)
        results += rows
    report = json.loads(make_report("gpu_trtllm", gpu_trtllm.PACKAGES, results))
    print(json.dumps({**report, "machine": f"{device}; {report['machine']}"}))
    return 0 if is_complete else 1


def print_row(row: dict[str, Any]) -> None:
    """Print one row of the table."""
    print(
        f"{row['case']:52} {row['metric']:20} {row['ours']:10.4f} {row['unit']:9}"
        f"{row['baseline_value']:11.4f}  x{row['ratio']:<7.2f} {row['baseline']}",
        flush=True,
    )


def main() -> int:
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="interpret tiny shapes on the CPU")
    parser.add_argument("--seed", type=int, default=secrets.randbits(31))
    parser.add_argument(
        "--tensorrt-llm",
        type=Path,
        nargs="+",
        metavar="ENGINE",
        help="engines of that backend, one for each precision; the first, in bf16, runs all steps",
    )
    parser.add_argument(
        "--data", default="phantoms", help="what accuracy is measured on: cxr-reason evaluate"
    )
    parser.add_argument("--films", type=int, default=500, help="films of it")
    arguments = parser.parse_args()
    if arguments.quick:
        os.environ["TRITON_INTERPRET"] = "1"
    else:
        import torch

        if not torch.cuda.is_available():
            print("gpu_acceptance: no CUDA device here, nothing was run; --quick needs none")
            return 2
    if arguments.tensorrt_llm is not None:
        return run_tensorrt_llm(
            arguments.tensorrt_llm, arguments.seed, data=arguments.data, num_films=arguments.films
        )
    return run(arguments.quick, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())

"""The acceptance run for machines with a GPU: its steps, on a CPU with tiny shapes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROW = {"case", "metric", "unit", "ours", "baseline", "baseline_value", "ratio", "runs"}


def run_script(repository: Path, *arguments: str, change: str = "") -> tuple[int, list[str]]:
    """Run it in a process of its own, after a change to its modules; return status and lines."""
    code = f"""
import os, sys
sys.argv = ["gpu_acceptance", *{arguments!r}]
if "--quick" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"
{change}
from cxr_reason.benchmarks import gpu_acceptance
sys.exit(gpu_acceptance.main())
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository,
        env={name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout, run.stderr
    return run.returncode, run.stdout.splitlines()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_does_nothing(repository: Path) -> None:
    status, lines = run_script(repository)
    assert status == 2
    assert len(lines) == 1 and "no CUDA device" in lines[0]


def test_every_step_runs_and_the_last_line_is_json(repository: Path) -> None:
    status, lines = run_script(repository, "--quick", "--seed", "7")
    assert status == 0, "\n".join(lines)
    assert "check preprocess: right, 2 comparisons" in lines
    assert "check projector: right, 8 comparisons" in lines
    report = json.loads(lines[-1])
    assert report["benchmark"] == "gpu_acceptance"
    assert "not a measurement" in report["machine"]
    assert all(row.keys() == ROW for row in report["results"])
    rows = [row for row in report["results"] if row["case"] != "ceiling"]
    baselines = [(row["case"].split()[0].rstrip(","), row["baseline"]) for row in rows]
    for kernel in ("preprocess", "projector"):
        mine = [baseline for case, baseline in baselines if case == kernel]
        assert len(mine) == 3 and {"torch", "torch.compile"} < set(mine)
    metrics = [row["metric"] for row in rows if row["case"].startswith("reference")]
    assert metrics == ["time to first token", "tokens per second"]


def test_no_speed_for_an_op_that_is_wrong(repository: Path) -> None:
    change = """
from cxr_reason.benchmarks import gpu_kernels
gpu_kernels.check_projector = lambda *arguments: "off by one"
gpu_kernels.check_candidates = lambda *arguments: None  # slow, and the other test runs it
"""
    status, lines = run_script(repository, "--quick", change=change)
    assert status == 1
    assert "check projector: FAILED: off by one" in lines
    cases = {row["case"].split()[0].rstrip(",") for row in json.loads(lines[-1])["results"]}
    assert cases == {"preprocess", "ceiling"}


def test_a_step_that_fails_does_not_stop_the_others(repository: Path) -> None:
    change = """
from cxr_reason.benchmarks import gpu_kernels
def fail(*arguments):
    raise RuntimeError("out of something")
gpu_kernels.time_preprocess = fail
gpu_kernels.checks = lambda scope: ()  # slow, and the other test runs them
"""
    status, lines = run_script(repository, "--quick", change=change)
    assert status == 1
    assert "preprocess: FAILED" in lines and any("out of something" in line for line in lines)
    cases = {row["case"].split()[0] for row in json.loads(lines[-1])["results"]}
    assert cases == {"projector", "reference", "ceiling"}

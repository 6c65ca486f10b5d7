"""What a benchmark ran on, and the form of its last line."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def describe_machine() -> str:
    """Return processor, cores and memory in one line."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory_gib:.0f} GiB"


def make_report(benchmark: str, packages: Sequence[str], results: list[dict[str, Any]]) -> str:
    """Return the one line of JSON that a benchmark ends with.

    Args:
        benchmark: Its name.
        packages: Distributions whose versions belong to the numbers; those that are not installed
            are left out.
        results: Rows with case, metric, unit, ours, baseline, baseline_value, ratio, runs.
    """
    return json.dumps(
        {
            "benchmark": benchmark,
            "machine": describe_machine(),
            "commit": _read_commit(),
            "versions": {
                name: importlib.metadata.version(name) for name in packages if _is_installed(name)
            },
            "results": results,
        }
    )


def _is_installed(package: str) -> bool:
    return bool(list(importlib.metadata.distributions(name=package)))


def _read_commit() -> str:
    """Return the commit of the clone that holds this package; empty if it is not in a clone."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

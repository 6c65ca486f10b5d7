"""The statement labeller against two data sets labelled by people, by its benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest


@cache
def run_benchmark(
    repository: Path, data: Path
) -> tuple[str, dict[tuple[str, str], dict[str, Any]]]:
    """Return what the benchmark prints, and its rows by case and metric."""
    run = subprocess.run(
        [sys.executable, "benchmarks/labeller.py", str(data)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    table, _, line = run.stdout.strip().rpartition("\n")
    return table, {(row["case"], row["metric"]): row for row in json.loads(line)["results"]}


@pytest.mark.parametrize("split", ["all", "test split"])
def test_agrees_with_people_on_reports(repository: Path, data_dir: Path, split: str) -> None:
    table, rows = run_benchmark(repository, data_dir)
    row = rows[f"Open-I {split}, all 14 findings", "F1"]
    assert row["ours"] >= 0.90, table
    assert row["runs"] == {"all": 3851, "test split": 771}[split]


def test_agrees_with_people_on_negation(repository: Path, data_dir: Path) -> None:
    table, rows = run_benchmark(repository, data_dir)
    row = rows["NegEx, negated or affirmed", "accuracy"]
    assert row["ours"] >= 0.90, table
    assert row["runs"] == 2376

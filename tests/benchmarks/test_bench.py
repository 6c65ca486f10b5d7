"""The benchmark's own logic. It measures no time here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from typer.testing import CliRunner

from cxr_reason.benchmarks import baselines, preprocess
from cxr_reason.benchmarks.kernel_cases import KernelCase
from cxr_reason.cli.main import app
from cxr_reason.film.display_table import GrayscaleSteps, Window, build_display_table
from cxr_reason.kernels.preprocess import PixelBudget, fit_grid


@pytest.fixture
def case() -> KernelCase:
    """A small MONOCHROME1 film, smooth enough for the two roundings of 8-bit pipelines."""
    y, x = np.mgrid[:300, :240]
    pixels = np.rint((0.5 + 0.3 * np.sin(x / 17) * np.cos(y / 23)) * 4095).astype(np.uint16)
    header = Dataset()
    header.PhotometricInterpretation = "MONOCHROME1"
    header.BitsStored, header.PixelRepresentation = 12, 0
    header.WindowCenter, header.WindowWidth = 2048, 3500
    steps = GrayscaleSteps(12, inverted=True, window=Window(2048, 3500))
    table = build_display_table(pixels, steps)
    return KernelCase("small", pixels, table, fit_grid(300, 240, PixelBudget()), header)


def test_all_ops_agree_with_the_reference(case: KernelCase) -> None:
    ops, wrong = preprocess._check(case)
    assert not wrong
    assert {op.group for op in ops} == {"ours", "usual", "composed"}
    assert sum(op.group == "usual" for op in ops) == 2


def test_no_time_for_a_wrong_op(case: KernelCase, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_patchify(image: Any, grid: Any) -> np.ndarray:
        return np.zeros((grid.height * grid.width, 196), np.float32)

    monkeypatch.setattr(baselines, "patchify", wrong_patchify)
    ops, wrong = preprocess._check(case)
    assert {op.group for op in ops} == {"ours", "usual"}
    assert wrong and all("off by" in line for line in wrong)


def test_rows_compare_with_the_fastest_composition(case: KernelCase) -> None:
    names = [("ours, 1 thread", "ours"), ("ours, 2 threads", "ours"), ("usual", "usual")]
    names += [("slow", "composed"), ("fast", "composed")]
    ops = [preprocess._Op(name, group, lambda: None) for name, group in names]
    times_ms = dict(zip(ops, (2.0, 1.0, 60.0, 9.0, 8.0), strict=True))
    rows = preprocess._make_rows(case, times_ms, runs=9)
    assert [(row["baseline"], row["ratio"]) for row in rows] == [
        ("usual", 30.0),
        ("fast", 4.0),
        ("ours, 1 thread", 2.0),
    ]
    del times_ms[ops[0]]
    assert preprocess._make_rows(case, times_ms, runs=9) == []


def test_command() -> None:
    result = CliRunner().invoke(app, ["bench", "kernels", "--help"])
    assert result.exit_code == 0 and "--json" in result.output

"""The 3B shapes: `scripts/test -m full_size` (24 GB of memory, 40 GB of disk, 20 minutes)."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.base import Array, Engine, GenerationRequest, SamplingParams, VisualInput
from cxr_reason.engine.build import plan_build, run_build
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.registry import find_backend, load_engine
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt

Film = tuple[Array, tuple[int, int]]

pytestmark = [pytest.mark.full_size, pytest.mark.timeout(3600)]

NUM_TOKENS = 64


@pytest.fixture(scope="module")
def checkpoint(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    """Random weights in the shapes of Qwen2.5-VL-3B."""
    folder = tmp_path_factory.mktemp("full") / "checkpoint"
    script = repository / "scripts" / "make_checkpoint.py"
    subprocess.run([sys.executable, str(script), "3b", str(folder)], check=True)
    yield Checkpoint(folder)
    for file in folder.iterdir():
        file.unlink()


def generate(engine: Engine, visual: VisualInput, copies: int = 1) -> list[list[int]]:
    params = SamplingParams(max_tokens=NUM_TOKENS)
    request = GenerationRequest(parse_prompt(FIND_ABNORMALITIES), visual, params)
    generations = [engine.submit(request) for _ in range(copies)]
    return [[event.token_id for event in generation] for generation in generations]


def test_fp32_equals_transformers(checkpoint: Checkpoint, rg1: Film, tmp_path: Path) -> None:
    from cxr_reason.engine.reference.engine import ReferenceEngine

    output = tmp_path / "engine"
    plan = plan_build(checkpoint, backend="onnx", precision="fp32", output=output)
    run_build(plan, lambda step, part: None)
    # One model in memory at a time: each takes more than half of it.
    with load_engine(output, EngineConfig(max_batch=1, context_length=1024)) as engine:
        visual = engine.encode(*rg1)
        (tokens,) = generate(engine, visual)
    del engine
    gc.collect()
    with ReferenceEngine(checkpoint) as reference:
        expected = reference.encode(*rg1)
        (expected_tokens,) = generate(reference, expected)
    error = np.linalg.norm(visual.tokens - expected.tokens) / np.linalg.norm(expected.tokens)
    assert error < 1e-3
    assert tokens == expected_tokens
    assert len(set(expected_tokens)) > 10, "not one token for ever"


def test_int4_builds_and_batches(checkpoint: Checkpoint, rg1: Film, tmp_path: Path) -> None:
    output = tmp_path / "engine"
    plan = plan_build(checkpoint, backend="onnx", precision="int4", output=output)
    manifest = run_build(plan, lambda step, part: None)
    size = sum(record.size_bytes for record in manifest.files.values())
    # The estimate decides whether the disk has room: it must be near, and not below.
    assert size <= find_backend(plan.backend).estimate_bytes(plan) < 1.3 * size
    with load_engine(output, EngineConfig(max_batch=2, context_length=1024)) as engine:
        visual = engine.encode(*rg1)
        (alone,) = generate(engine, visual)
        assert generate(engine, visual, copies=2) == [alone, alone]
    assert len(set(alone)) > 10, "not one token for ever"
